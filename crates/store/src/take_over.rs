//! Taking over pieces that other contents hold, so that they need not be fetched.

use crate::Store;
use crate::disk::Disk;
use crate::places::Places;
use crate::shelves::Held;
use content::{Digest, Digested, Manifest};
use engine::door::JobError;

impl<D: Disk> Store<D> {
    /// Copies every piece that `holding` lacks and a complete content has. One content after another is looked at, so
    /// memory is bounded by two tables of pieces; whatever cannot be read there is simply fetched.
    pub(crate) fn take_over(&self, holding: &Held<D>, places: &Places) -> Result<(), JobError> {
        let lacks = |index: u32| !holding.has(Manifest::piece_no(holding.pages(), index));
        let wanted = places.iter().zip(0..).filter(|(_, index)| lacks(*index));
        let mut wanted: Vec<(Digest, u32)> = wanted.map(|(place, index)| (place.digest, index)).collect();
        wanted.sort_unstable();
        for other in self.shelves.all() {
            if wanted.is_empty() {
                break;
            }
            if other.id() != holding.id() && other.spec.pieces > 0 && other.is_complete() {
                self.take_from(&other, holding, &mut wanted)?;
            }
        }
        Ok(())
    }

    fn take_from(&self, other: &Held<D>, to: &Held<D>, wanted: &mut Vec<(Digest, u32)>) -> Result<(), JobError> {
        let Ok(theirs) = self.shelves.places(other) else { return Ok(()) };
        let mut taken = Vec::new();
        for (place, index) in theirs.iter().zip(0..) {
            let Ok(found) = wanted.binary_search_by_key(&place.digest, |(digest, _)| *digest) else { continue };
            if let Ok(bytes) = self.shelves.read_piece(other, index) {
                self.shelves.write(to.id(), Manifest::piece_no(to.pages(), wanted[found].1), &Digested::new(bytes))?;
                taken.push(wanted[found].0);
            }
        }
        taken.sort_unstable();
        wanted.retain(|(digest, _)| taken.binary_search(digest).is_err());
        Ok(())
    }
}
