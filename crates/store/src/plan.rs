//! What a tree must be: a manifest and all that belongs to it, for whoever lays it out or holds a tree against it.

use crate::disk::Disk;
use crate::keep::unread;
use crate::places::Places;
use crate::shelves::{Held, Shelves};
use content::attributes::Attributes;
use content::manifest::Outline;
use engine::door::JobError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is laid out.
pub(crate) struct Plan<D: Disk> {
    pub(crate) holding: Arc<Held<D>>,
    pub(crate) manifest: Outline,
    pub(crate) places: Arc<Places>,
    pub(crate) attributes: Option<Attributes>,
    /// Files whose bytes are this node's own.
    pub(crate) rendered: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The piece that was read last for its parts.
#[derive(Default)]
pub(crate) struct Pack(Option<(u32, Vec<u8>)>);

impl Pack {
    /// Part of a piece; the piece is kept for the next call.
    pub(crate) fn part<D: Disk>(
        &mut self,
        shelves: &Shelves<D>,
        holding: &Held<D>,
        (piece, offset, len): (u32, u32, u32),
    ) -> Result<&[u8], JobError> {
        if self.0.as_ref().is_none_or(|(index, _)| *index != piece) {
            let bytes = shelves.read_piece(holding, piece).map_err(|why| unread(holding, why))?;
            self.0 = Some((piece, bytes));
        }
        let bytes = &self.0.as_ref().expect("it was just read").1;
        Ok(&bytes[offset as usize..(offset + len) as usize])
    }
}
