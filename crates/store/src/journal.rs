//! The journals: facts in their order, appended if the journal still stands where the writer believes.

use crate::Store;
use crate::disk::Disk;
use crate::record::Change;
use crate::record::Records;
use content::fact::{Chain, Entry, JournalName, Noted, Position, Stamp};
use content::{Fact, UnixTime};
use engine::door::{AppendError, JobDone, JobError};
use std::collections::BTreeMap;

/// How many facts are read at once at most.
const MOST: u32 = 1000;

/// Where a journal without facts stands.
const BEGINNING: Position = Position { generation: 1, index: 0 };

impl<D: Disk> Store<D> {
    pub(crate) fn append_facts(
        &mut self,
        journal: &JournalName,
        expect: Position,
        facts: &[Fact],
        noted: Noted,
    ) -> Result<Position, AppendError> {
        let stands = self.positions.get(journal).copied().unwrap_or(BEGINNING);
        if stands != expect {
            return Err(AppendError::Conflict(stands));
        }
        let at = |nth: usize| Position { index: stands.index + nth as u64, ..stands };
        let mut chain = self.chains.get(journal).copied().unwrap_or_else(|| Chain::beginning(journal));
        let mut changes = Vec::with_capacity(2 * facts.len() + 1);
        for (nth, fact) in facts.iter().enumerate() {
            chain = chain.after(at(nth), noted, fact);
            changes.push(Change::fact(journal, at(nth), fact));
            changes.push(Change::stamp(journal, at(nth), &Stamp { noted, chain }));
        }
        let next = at(facts.len());
        self.written(journal, changes, next, chain).map(|()| next)
    }

    pub(crate) fn take_over_facts(&mut self, journal: &JournalName, entries: &[Entry]) -> Result<(), AppendError> {
        if let Some(stands) = self.positions.get(journal) {
            return Err(AppendError::Conflict(*stands));
        }
        let Some(last) = entries.last() else { return Ok(()) };
        // What was written after the backup was made is written by another generation: no position is used twice.
        let next = Position { generation: last.at.generation + 1, index: last.at.index + 1 };
        let mut chain = Chain::beginning(journal);
        let mut changes = Vec::with_capacity(2 * entries.len() + 1);
        for Entry { at, fact, stamp } in entries {
            chain = stamp.map_or_else(|| chain.after(*at, Noted::NOTHING, fact), |stamp| stamp.chain);
            changes.push(Change::fact(journal, *at, fact));
            changes.extend(stamp.map(|stamp| Change::stamp(journal, *at, &stamp)));
        }
        self.written(journal, changes, next, chain)
    }

    /// Makes facts durable, and with them where their journal stands.
    fn written(
        &mut self,
        journal: &JournalName,
        mut changes: Vec<Change>,
        next: Position,
        chain: Chain,
    ) -> Result<(), AppendError> {
        changes.push(Change::position(journal, next));
        self.commit(&changes).map_err(|error| AppendError::Unavailable(in_words(error)))?;
        self.positions.insert(journal.clone(), next);
        self.chains.insert(journal.clone(), chain);
        Ok(())
    }

    /// Facts of a journal as they stand there, in their order, at most so many from a position on.
    pub(crate) fn read_journal(
        &mut self,
        journal: &JournalName,
        from: Position,
        most: u32,
    ) -> Result<JobDone, JobError> {
        let disk = |error: std::io::Error| JobError::Disk { why: format!("the journal cannot be read: {error}") };
        let stands = self.positions.get(journal).copied().unwrap_or(BEGINNING);
        let mut entries = self.state.entries(journal, from, most.min(MOST)).map_err(disk)?;
        // What nobody was told of is not there.
        entries.retain(|entry| entry.at < stands);
        Ok(JobDone::Journal { entries, stands })
    }
}

/// The chains that journals have after their last facts. What is noted beside the last one is believed; whoever wants to know whether
/// it follows from all the others computes them again.
pub(crate) fn chains(records: &Records) -> BTreeMap<JournalName, Chain> {
    let mut chains = BTreeMap::new();
    for (journal, at, fact) in &records.facts {
        let before = chains.get(journal).copied().unwrap_or_else(|| Chain::beginning(journal));
        let noted = records.stamps.get(&(journal.clone(), *at));
        let chain = noted.map_or_else(|| before.after(*at, Noted::NOTHING, fact), |stamp| stamp.chain);
        chains.insert(journal.clone(), chain);
    }
    chains
}

/// When the facts about rollouts were written, where that is noted.
pub(crate) fn written(records: &Records) -> BTreeMap<(JournalName, Position), UnixTime> {
    let is_of_rollout = |fact: &Fact| {
        matches!(
            fact,
            Fact::WaveOpened { .. }
                | Fact::Awaited { .. }
                | Fact::Halted { .. }
                | Fact::FellBack { .. }
                | Fact::Directed { .. }
                | Fact::Finished { .. }
        )
    };
    let of_rollouts = records.facts.iter().filter(|(_, _, fact)| is_of_rollout(fact));
    let places = of_rollouts.map(|(journal, at, _)| (journal.clone(), *at));
    places.filter_map(|place| Some((place.clone(), records.stamps.get(&place)?.noted.written))).collect()
}

/// What people are told of a job that failed for want of a disk.
fn in_words(error: JobError) -> String {
    match error {
        JobError::NoSpace { why } | JobError::Stuck { why } | JobError::Refused { why } | JobError::Disk { why } => why,
        JobError::Corrupt | JobError::Missing { .. } => "the state cannot be written".to_owned(),
    }
}
