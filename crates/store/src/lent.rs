//! Contents that another store keeps: for a store that lays out what somebody else has fetched.
//!
//! Nothing there is believed. Files are opened to be read, by name in one directory, following nothing, and every page and piece is read into
//! memory and held against a digest that was itself verified, up to the release, before any of it is written anywhere: what whoever
//! keeps them changes meanwhile is a wrong digest. So nothing is shared with them by the file system either, as what is shared then is not what was
//! hashed before.
//!
//! Invariant: between jobs nothing lent is remembered, so that what was missing or damaged in one is looked for again in the next.

use crate::Store;
use crate::disk::Disk;
use crate::ground::if_there;
use crate::holding::{Holding, Part};
use crate::keep::{parts, refused};
use crate::shelves::{Held, file_name};
use content::{ContentSpec, PieceNo};
use engine::door::JobError;
use std::sync::Arc;

impl<D: Disk> Store<D> {
    /// From now on contents that are not here are read from the directory of complete contents of another store.
    pub fn borrow_from(&mut self, blobs: D::Dir) {
        self.lender = Some(blobs);
    }

    /// Opens a content of the other store for this job.
    pub(crate) fn borrow(&self, blobs: &D::Dir, spec: &ContentSpec) -> Result<Arc<Held<D>>, JobError> {
        let holding = Holding::lent(*spec);
        for part in parts(&holding) {
            let file = self.open_lent(blobs, spec, part)?;
            *holding.lock().file(part) = Some(Arc::new(file));
        }
        Ok(self.shelves.add(holding))
    }

    fn open_lent(&self, blobs: &D::Dir, spec: &ContentSpec, part: Part) -> Result<D::File, JobError> {
        let name = file_name(spec.id(), part);
        match if_there(self.shelves.disk.open(blobs, &name)) {
            Ok(Some(file)) => Ok(file),
            Ok(None) => {
                let pieces = (0..spec.total()).map(PieceNo).collect();
                Err(JobError::Missing { content: spec.id(), pieces })
            }
            Err(error) => {
                let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
                Err(refused(format!("what is offered as {name} is not read: {error}")))
            }
        }
    }

    /// Forgets what was lent for a job.
    pub(crate) fn give_back(&self) {
        for holding in self.shelves.all().into_iter().filter(|holding| holding.is_lent()) {
            self.shelves.forget(holding.id());
        }
    }
}
