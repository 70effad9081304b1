//! Taking over pieces that other contents hold, so that they need not be fetched.

use crate::Store;
use crate::disk::Disk;
use crate::keep::unread;
use crate::places::Places;
use crate::shelves::Held;
use content::{Digest, Digested, Manifest};
use engine::door::JobError;

impl<D: Disk> Store<D> {
    /// Copies every piece that `holding` lacks and a complete content has. One content after another is looked at, so
    /// memory is bounded by what is wanted, sixteen bytes a piece; whatever cannot be read there is simply fetched.
    pub(crate) fn take_over(&self, holding: &Held<D>, places: &Places) -> Result<(), JobError> {
        let is_of_use = |other: &Held<D>| other.id() != holding.id() && other.spec.pieces > 0 && other.is_complete();
        let others: Vec<_> = self.shelves.all().into_iter().filter(|other| is_of_use(other)).collect();
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
                let digest = self.shelves.piece_digest(holding, places, index).map_err(|why| unread(holding, why))?;
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
        let Ok(theirs) = self.shelves.places(other) else { return Ok(()) };
        for index in 0..theirs.count() {
            let Ok(digest) = self.shelves.piece_digest(other, &theirs, index) else { continue };
            let same = |&(_, mine): &(u64, u32)| self.shelves.piece_digest(to, places, mine) == Ok(digest);
            let begins = beginning(&digest);
            let first = wanted.partition_point(|(known, _)| *known < begins);
            let alike = wanted[first..].iter().take_while(|(known, _)| *known == begins);
            let Some(&(_, mine)) = alike.clone().find(|one| same(one)) else { continue };
            if let Ok(bytes) = self.shelves.read_piece(other, index) {
                self.shelves.write(to.id(), Manifest::piece_no(to.pages(), mine), &Digested::new(bytes))?;
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
