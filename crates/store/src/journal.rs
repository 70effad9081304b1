//! The journals: facts in their order, appended if the journal still stands where the writer believes.

use crate::Store;
use crate::disk::Disk;
use crate::record::Change;
use content::Fact;
use content::fact::{JournalName, Position};
use engine::door::{AppendError, JobError};

/// Where a journal without facts stands.
const BEGINNING: Position = Position { generation: 1, index: 0 };

impl<D: Disk> Store<D> {
    pub(crate) fn append_facts(
        &mut self,
        journal: &JournalName,
        expect: Position,
        facts: &[Fact],
    ) -> Result<Position, AppendError> {
        let stands = self.positions.get(journal).copied().unwrap_or(BEGINNING);
        if stands != expect {
            return Err(AppendError::Conflict(stands));
        }
        let at = |nth: usize| Position { index: stands.index + nth as u64, ..stands };
        let mut changes: Vec<Change> =
            facts.iter().enumerate().map(|(nth, fact)| Change::fact(journal, at(nth), fact)).collect();
        let next = at(facts.len());
        changes.push(Change::position(journal, next));
        self.commit(&changes).map_err(|error| AppendError::Unavailable(in_words(error)))?;
        self.positions.insert(journal.clone(), next);
        Ok(next)
    }
}

/// What people are told of a job that failed for want of a disk.
fn in_words(error: JobError) -> String {
    match error {
        JobError::NoSpace { why } | JobError::Refused { why } | JobError::Disk { why } => why,
        JobError::Corrupt | JobError::Missing { .. } => "the state cannot be written".to_owned(),
    }
}
