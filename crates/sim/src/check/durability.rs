//! What was called complete, published, ordered, laid out, switched or confirmed is there after any crash.
//!
//! For each node this remembers what its store said, and compares that with what the next start finds. What was asked for
//! and not answered when the power went may have happened or not; what rotted may be gone, but never wrong.

use crate::net::Nr;
use crate::truth::Truth;
use content::fact::{JournalName, Position};
use content::{ContentId, Digest, Fact, PieceNo, ReleaseId};
use engine::door::{AppRecord, Held, Job, JobDone, JobError, Recovered};
use std::collections::{BTreeMap, BTreeSet};
use store::{PieceSource, ReadError};

/// What one node's store has said.
#[derive(Debug, Default, Clone)]
struct Said {
    complete: BTreeSet<ContentId>,
    laid_out: BTreeSet<ReleaseId>,
    live: Option<ReleaseId>,
    confirmed: Option<ReleaseId>,
    /// Jobs of which the outcome is not known.
    maybe_live: BTreeSet<ReleaseId>,
    maybe_confirmed: BTreeSet<ReleaseId>,
    facts: BTreeMap<JournalName, Vec<Fact>>,
    maybe_facts: Vec<(JournalName, Vec<Fact>)>,
    /// Contents in which a bit was flipped.
    rotten: BTreeSet<ContentId>,
}

/// What every store has said.
#[derive(Debug, Default)]
pub(crate) struct Durability(BTreeMap<Nr, Said>);

impl Durability {
    /// A job begins.
    pub(crate) fn begins(&mut self, nr: Nr, job: &Job) {
        let said = self.0.entry(nr).or_default();
        match job {
            Job::Switch { release, .. } => {
                said.maybe_live.insert(*release);
            }
            Job::Confirm { release, .. } => {
                said.maybe_confirmed.insert(*release);
            }
            Job::Collect { contents, releases } => {
                said.complete.retain(|content| contents.contains(content));
                said.laid_out.retain(|release| releases.contains(release));
            }
            _ => (),
        }
    }

    /// A job ended; what is wrong with how it ended.
    pub(crate) fn ended(&mut self, nr: Nr, job: &Job, result: &Result<JobDone, JobError>) -> Option<String> {
        let said = self.0.entry(nr).or_default();
        match (job, result) {
            (Job::Complete { content }, Ok(JobDone::Completed)) => {
                said.complete.insert(*content);
            }
            (Job::Open { content }, Ok(JobDone::Opened { complete: true, .. })) => {
                said.complete.insert(content.id());
            }
            (Job::Diff { .. }, Ok(JobDone::Diffed { patch: Some(patch) })) => {
                said.complete.insert(patch.id());
            }
            (Job::Assemble { release }, Ok(JobDone::Assembled)) => {
                said.laid_out.insert(ReleaseId(release.payload_digest()));
            }
            (Job::Switch { release, .. }, Ok(JobDone::Switched { .. })) => {
                said.live = Some(*release);
                said.maybe_live.clear();
            }
            (Job::Confirm { release, .. }, Ok(JobDone::Confirmed)) => {
                said.confirmed = Some(*release);
                said.maybe_confirmed.clear();
            }
            (_, Err(JobError::Missing { content, .. })) => return said.lost(nr, *content),
            _ => (),
        }
        None
    }

    /// An append begins.
    pub(crate) fn appends(&mut self, nr: Nr, journal: &JournalName, facts: &[Fact]) {
        self.0.entry(nr).or_default().maybe_facts.push((journal.clone(), facts.to_vec()));
    }

    /// An append ended.
    pub(crate) fn appended(&mut self, nr: Nr, journal: &JournalName, facts: &[Fact], fine: bool) {
        let said = self.0.entry(nr).or_default();
        if fine {
            // What failed may stand there all the same, until an append succeeds.
            said.maybe_facts.clear();
            said.facts.entry(journal.clone()).or_default().extend_from_slice(facts);
        }
    }

    /// A piece could not be read while the node was up.
    pub(crate) fn unread(&mut self, nr: Nr, content: ContentId, why: &ReadError) -> Option<String> {
        let said = self.0.entry(nr).or_default();
        if matches!(why, ReadError::Disk(_)) || !said.complete.contains(&content) {
            None
        } else {
            said.lost(nr, content)
        }
    }

    /// On how many other nodes this content is complete and did not rot.
    pub(crate) fn whole_elsewhere(&self, nr: Nr, content: ContentId) -> usize {
        let whole = |said: &Said| said.complete.contains(&content) && !said.rotten.contains(&content);
        self.0.iter().filter(|(other, said)| **other != nr && whole(said)).count()
    }

    /// A bit was flipped in a file of this content.
    pub(crate) fn rotted(&mut self, nr: Nr, content: ContentId) {
        let said = self.0.entry(nr).or_default();
        said.rotten.insert(content);
    }

    /// Whether nobody can have a content any more: it rotted on one node when others had it, and they have collected it since, or are
    /// evil, and left by everyone.
    pub(crate) fn is_gone(&self, content: ContentId, is_evil: impl Fn(Nr) -> bool) -> bool {
        let has_it = |said: &Said| said.complete.contains(&content) && !said.rotten.contains(&content);
        let rotted = self.0.values().any(|said| said.rotten.contains(&content));
        rotted && !self.0.iter().any(|(nr, said)| has_it(said) && !is_evil(*nr))
    }

    /// Whether a bit was flipped in this content.
    pub(crate) fn is_rotten(&self, nr: Nr, content: ContentId) -> bool {
        self.0.get(&nr).is_some_and(|said| said.rotten.contains(&content))
    }

    /// A node was made anew: it has said nothing.
    pub(crate) fn wiped(&mut self, nr: Nr) {
        self.0.remove(&nr);
    }

    /// What a node is known to run, if its store is to be believed.
    pub(crate) fn live(&self, nr: Nr) -> Option<ReleaseId> {
        self.0.get(&nr).and_then(|said| said.live)
    }

    /// What a node is known to have confirmed last.
    pub(crate) fn confirmed(&self, nr: Nr) -> Option<ReleaseId> {
        self.0.get(&nr).and_then(|said| said.confirmed)
    }

    /// A node was started again and found this.
    pub(crate) fn started(
        &mut self,
        truth: &Truth,
        nr: Nr,
        recovered: &Recovered,
        pieces: Option<&dyn PieceSource>,
    ) -> Vec<String> {
        let said = self.0.entry(nr).or_default();
        let mut wrong = said.compare_facts(nr, &recovered.facts);
        wrong.extend(said.compare_app(nr, recovered.apps.iter().find(|record| record.app == truth.app)));
        wrong.extend(said.compare_contents(nr, truth, &recovered.held, pieces));
        wrong
    }
}

impl Said {
    fn lost(&mut self, nr: Nr, content: ContentId) -> Option<String> {
        let promised = self.complete.remove(&content) && !self.rotten.contains(&content);
        promised
            .then(|| format!("node {nr} misses pieces of {content:?}, which it called complete and which did not rot"))
    }

    fn compare_facts(&mut self, nr: Nr, found: &[(JournalName, Position, Fact)]) -> Vec<String> {
        let mut by_journal: BTreeMap<JournalName, Vec<Fact>> = BTreeMap::new();
        found.iter().for_each(|(journal, _, fact)| by_journal.entry(journal.clone()).or_default().push(fact.clone()));
        for (journal, facts) in std::mem::take(&mut self.maybe_facts) {
            let acked = self.facts.entry(journal.clone()).or_default();
            let more = by_journal.get(&journal).and_then(|found| found.strip_prefix(acked.as_slice()));
            if more == Some(&facts) {
                acked.extend(facts);
            }
        }
        let wrong = (self.facts.iter())
            .filter(|(journal, acked)| by_journal.get(journal).map_or(&[][..], Vec::as_slice) != acked.as_slice())
            .map(|(journal, acked)| {
                let found = by_journal.get(journal).map_or(0, Vec::len);
                format!("node {nr} acknowledged {} facts in {journal:?} and finds {found} (or others)", acked.len())
            })
            .collect();
        self.facts = by_journal;
        wrong
    }

    fn compare_app(&mut self, nr: Nr, found: Option<&AppRecord>) -> Vec<String> {
        let (live, confirmed) = (found.and_then(|app| app.live), found.and_then(|app| app.confirmed));
        let mut wrong = Vec::new();
        if live != self.live && !live.is_some_and(|live| self.maybe_live.contains(&live)) {
            wrong.push(format!("node {nr} said {:?} is live and finds {live:?} after a crash", self.live));
        }
        if confirmed != self.confirmed && !confirmed.is_some_and(|it| self.maybe_confirmed.contains(&it)) {
            wrong.push(format!("node {nr} confirmed {:?} and finds {confirmed:?} after a crash", self.confirmed));
        }
        let ids: BTreeSet<ReleaseId> = found
            .into_iter()
            .flat_map(|app| &app.laid_out)
            .map(|release| ReleaseId(release.payload_digest()))
            .collect();
        wrong.extend(
            (self.laid_out.iter().find(|id| !ids.contains(id))).map(|id| format!("node {nr} had laid out {id:?}")),
        );
        (self.live, self.confirmed, self.laid_out) = (live, confirmed, ids);
        self.maybe_live.clear();
        self.maybe_confirmed.clear();
        wrong
    }

    fn compare_contents(
        &mut self,
        nr: Nr,
        truth: &Truth,
        held: &[Held],
        pieces: Option<&dyn PieceSource>,
    ) -> Vec<String> {
        let complete: BTreeSet<ContentId> =
            held.iter().filter(|held| held.complete).map(|held| held.content.id()).collect();
        let mut wrong: Vec<String> = (self.complete.iter())
            .filter(|content| !complete.contains(content) && !self.rotten.contains(content))
            .map(|content| format!("node {nr} called {content:?} complete and does not have it so after a crash"))
            .collect();
        if let Some(pieces) = pieces {
            for held in held {
                let all = (0..held.content.total()).map(PieceNo).filter(|piece| held.have.contains(*piece));
                let bad = all.filter_map(|piece| self.misread(truth, held, piece, pieces)).next();
                wrong.extend(bad.map(|why| format!("node {nr} {why}")));
            }
        }
        self.complete = complete;
        wrong
    }

    /// What is wrong with a piece that is said to be here.
    fn misread(&self, truth: &Truth, held: &Held, piece: PieceNo, pieces: &dyn PieceSource) -> Option<String> {
        let content = held.content.id();
        let right = truth.pieces.get(&content)?.get(piece.0 as usize)?;
        match pieces.read(content, piece) {
            Ok(bytes) if Digest::of(&bytes) == *right => None,
            Ok(_) => Some(format!("reads wrong bytes as {piece:?} of {content:?}")),
            Err(_) if !held.complete || self.rotten.contains(&content) => None,
            Err(ReadError::Disk(_)) => None,
            Err(why) => Some(format!("cannot read {piece:?} of {content:?}, which is complete: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rotted_is_gone_when_those_who_had_it_have_collected_it() {
        let content = ContentId(Digest::of(b"content"));
        let mut durability = Durability::default();
        for nr in 0..3 {
            assert_eq!(durability.ended(nr, &Job::Complete { content }, &Ok(JobDone::Completed)), None);
        }
        assert!(!durability.is_gone(content, |_| false));
        durability.rotted(0, content);
        assert!(!durability.is_gone(content, |_| false), "two others have it");
        assert!(durability.is_gone(content, |nr| nr > 0), "both are evil");
        for nr in 1..3 {
            durability.begins(nr, &Job::Collect { contents: Vec::new(), releases: Vec::new() });
        }
        assert!(durability.is_gone(content, |_| false));
    }
}
