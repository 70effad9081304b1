//! The pieces of what is published, and of a patch that makes it: what a publisher serves that has what was deployed before.

use crate::{PieceSource, ReadError};
use content::{ContentId, ContentSpec, PieceNo, blob};

/// A patch as a content: a blob and nothing else.
pub struct Patch {
    spec: ContentSpec,
    pages: Vec<Vec<u8>>,
}

impl Patch {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let (blob, pages) = blob::build(bytes);
        Self { spec: ContentSpec { blob, pieces: 0, bytes: 0 }, pages }
    }

    /// What it is as a content.
    pub fn spec(&self) -> ContentSpec {
        self.spec
    }
}

/// A source, and a patch beside it.
pub struct Bringing<S> {
    source: S,
    patch: Option<Patch>,
}

impl<S: PieceSource> Bringing<S> {
    /// With a patch or without one.
    pub fn new(source: S, patch: Option<Patch>) -> Self {
        Self { source, patch }
    }
}

impl<S: PieceSource> PieceSource for Bringing<S> {
    fn read(&self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ReadError> {
        match &self.patch {
            Some(patch) if patch.spec.id() == content => {
                patch.pages.get(piece.0 as usize).cloned().ok_or(ReadError::Missing)
            }
            _ => self.source.read(content, piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl PieceSource for Nothing {
        fn read(&self, _: ContentId, _: PieceNo) -> Result<Vec<u8>, ReadError> {
            Err(ReadError::Damaged)
        }
    }

    #[test]
    fn pages_of_a_patch_are_served_beside_what_the_source_has() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let patch = Patch::of(&bytes);
        let spec = patch.spec();
        let bringing = Bringing::new(Nothing, Some(patch));
        let leaves = spec.blob.shape().leaves();
        let read = |page| bringing.read(spec.id(), PieceNo(page)).expect("it is there");
        assert_eq!(leaves.flat_map(read).collect::<Vec<u8>>(), bytes);
        assert!(matches!(bringing.read(spec.id(), PieceNo(spec.total())), Err(ReadError::Missing)));
        let other = ContentId(content::Digest::of(b"other"));
        assert!(matches!(bringing.read(other, PieceNo(0)), Err(ReadError::Damaged)), "the source is asked");
    }
}
