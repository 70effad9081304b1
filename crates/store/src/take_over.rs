//! Reading a content's pages as its manifest, and taking over pieces that other contents hold, so that they need not be fetched.

use crate::disk::Disk;
use crate::holding::Part;
use crate::keep::{no_manifest, refused, unread};
use crate::places::Places;
use crate::shelves::{Held, Shelves, locked};
use content::{Digest, Digested, Manifest};
use engine::door::JobError;
use std::sync::Arc;

impl<D: Disk> Shelves<D> {
    /// Reads the pages as a manifest, holds it against the declaration, and takes over what other contents have of it.
    pub(crate) fn index(&self, holding: &Held<D>) -> Result<(), JobError> {
        if holding.spec.pieces == 0 {
            return Ok(());
        }
        let manifest = self.outline(holding).map_err(|why| no_manifest(holding, why))?;
        if manifest.spec(holding.spec.blob) != holding.spec {
            return Err(refused("the manifest names other pieces than the release declares"));
        }
        let places = Arc::new(Places::of(&manifest));
        self.make_pieces(holding, &places)?;
        self.take_over(holding, &places)
    }

    /// Makes the file of pieces once, whoever else reads the same manifest meanwhile.
    fn make_pieces(&self, holding: &Held<D>, places: &Arc<Places>) -> Result<(), JobError> {
        let _alone = locked(&self.indexing);
        if !holding.lock().indexed {
            self.make_room(holding, Part::Pieces, places.len())?;
        }
        let mut inner = holding.lock();
        (inner.indexed, inner.places) = (true, Some(places.clone()));
        Ok(())
    }

    /// Copies every piece that `holding` lacks and a complete content has. One content after another is looked at, so
    /// memory is bounded by what is wanted, sixteen bytes a piece; whatever cannot be read there is simply fetched.
    pub(crate) fn take_over(&self, holding: &Held<D>, places: &Places) -> Result<(), JobError> {
        let is_of_use = |other: &Held<D>| other.id() != holding.id() && other.spec.pieces > 0 && other.is_complete();
        let others: Vec<_> = self.all().into_iter().filter(|other| is_of_use(other)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut wanted = self.wanted(holding, places)?;
        for other in others {
            if wanted.is_empty() {
                break;
            }
            self.take_from(&other, (holding, places), &mut wanted)?;
        }
        Ok(())
    }

    /// What is lacking: the beginnings of the digests, rising, and the indices.
    fn wanted(&self, holding: &Held<D>, places: &Places) -> Result<Vec<(u64, u32)>, JobError> {
        let mut wanted = Vec::new();
        for index in 0..places.count() {
            if !holding.has(Manifest::piece_no(holding.pages(), index)) {
                let digest = self.piece_digest(holding, places, index).map_err(|why| unread(holding, why))?;
                wanted.push((beginning(&digest), index));
            }
        }
        wanted.sort_unstable();
        Ok(wanted)
    }

    fn take_from(
        &self,
        other: &Held<D>,
        (to, places): (&Held<D>, &Places),
        wanted: &mut Vec<(u64, u32)>,
    ) -> Result<(), JobError> {
        let Ok(theirs) = self.places(other) else { return Ok(()) };
        for index in 0..theirs.count() {
            let Ok(digest) = self.piece_digest(other, &theirs, index) else { continue };
            let same = |&(_, mine): &(u64, u32)| self.piece_digest(to, places, mine) == Ok(digest);
            let begins = beginning(&digest);
            let first = wanted.partition_point(|(known, _)| *known < begins);
            let alike = wanted[first..].iter().take_while(|(known, _)| *known == begins);
            let Some(&(_, mine)) = alike.clone().find(|one| same(one)) else { continue };
            if let Ok(bytes) = self.read_piece(other, index) {
                self.write(to.id(), Manifest::piece_no(to.pages(), mine), &Digested::new(bytes))?;
            }
        }
        wanted.retain(|(_, index)| !to.has(Manifest::piece_no(to.pages(), *index)));
        Ok(())
    }
}

/// The first bytes of a digest: hardly ever those of two, which are then told apart by the rest.
fn beginning(digest: &Digest) -> u64 {
    u64::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest is longer"))
}
