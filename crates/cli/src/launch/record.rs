//! What is remembered of versions of this program that were started here: which one does well, which one is being tried, and which ones
//! failed. Every start of a version on trial is on disk before it happens, so no crash and no cut of power makes a trial endless.
//!
//! It stands beside the releases, as JSON in which unknown words are skipped: versions before and after this one read it too. A record that
//! cannot be read counts as none, and then versions are tried again.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How often a version is started before it has failed.
pub(crate) const TRIES: u32 = 3;
/// How many that failed are remembered, newest last.
const FAILED: usize = 16;
/// How many that did well are, newest last.
const GOOD: usize = 8;

/// The symlink to the version that is to run.
pub(crate) const CURRENT: &str = "current";
/// The file that this is.
const NAME: &str = "launch.json";

/// A process, told from a later one with the same number by when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since the machine started.
    pub(crate) since: u64,
    /// Which start of the machine that was, as the kernel names it: services begin with the same numbers in the same ticks each time.
    /// Nothing in what versions before this one wrote.
    #[serde(default)]
    boot: String,
}

/// A version that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) release: String,
    /// In words.
    pub(crate) why: String,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// Releases that were settled here, newest last.
    good: Vec<String>,
    /// The release that is being tried, and how often it was started.
    trying: Option<String>,
    starts: u32,
    failed: Vec<Failed>,
    /// How often in a row releases that were settled here ended before they were ready.
    early: BTreeMap<String, u32>,
    /// What is supervised now, and who supervises.
    pub(crate) agent: Option<Process>,
    pub(crate) launcher: Option<Process>,
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A release that has not done well here yet.
    Trial(String),
    /// A release that has.
    Proven(String),
    /// The program that was installed, which is this one.
    Installed,
}

impl Record {
    /// Reads it; what cannot be read is none, and why is said.
    pub(crate) fn read(software: &Path) -> (Self, Option<String>) {
        let path = software.join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => return (Self::default(), Some(format!("{}: {error}", path.display()))),
        };
        match serde_json::from_slice(&text) {
            Ok(record) => (record, None),
            Err(error) => (Self::default(), Some(format!("{}: {error}", path.display()))),
        }
    }

    /// Writes it, durably, whole or not at all.
    pub(crate) fn write(&self, software: &Path) -> io::Result<()> {
        let (path, new) = (software.join(NAME), software.join("launch.new"));
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(software)?.sync_all()
    }

    /// What to start when the symlink leads to `current`: that, unless it failed here or does not become ready any more; else the last one
    /// that did well, does still, and is there; else what was installed.
    pub(crate) fn choose(&self, current: Option<&str>, is_there: impl Fn(&str) -> bool) -> Choice {
        let is_early = |release: &str| self.early.get(release).is_some_and(|ends| *ends >= TRIES);
        let usable = |release: &&str| self.why_failed(release).is_none() && !is_early(release) && is_there(release);
        if let Some(current) = current.filter(usable) {
            let chosen = if self.is_good(current) { Choice::Proven } else { Choice::Trial };
            return chosen(current.to_owned());
        }
        let former = self.good.iter().rev().map(String::as_str).find(usable).filter(|_| current.is_some());
        former.map_or(Choice::Installed, |former| Choice::Proven(former.to_owned()))
    }

    /// Whether a release was settled here.
    pub(crate) fn is_good(&self, release: &str) -> bool {
        self.good.iter().any(|good| good == release)
    }

    /// A release that was settled here ended before it was ready, for the how manieth time in a row.
    pub(crate) fn ended_early(&mut self, release: &str) -> u32 {
        let ends = self.early.entry(release.to_owned()).or_default();
        *ends = ends.saturating_add(1);
        *ends
    }

    /// Something became ready here, or nothing does: all of them may be tried again. Whether there was anything to forget.
    pub(crate) fn forgive(&mut self) -> bool {
        !std::mem::take(&mut self.early).is_empty()
    }

    /// Why a release failed here, if it did.
    pub(crate) fn why_failed(&self, release: &str) -> Option<&str> {
        self.failed.iter().find(|failed| failed.release == release).map(|failed| failed.why.as_str())
    }

    /// A release on trial is about to be started, for the how manieth time.
    pub(crate) fn begin(&mut self, release: &str) -> u32 {
        if self.trying.as_deref() != Some(release) {
            (self.trying, self.starts) = (Some(release.to_owned()), 0);
        }
        self.starts += 1;
        self.starts
    }

    /// Whether it may not be started once more.
    pub(crate) fn is_used_up(&self, release: &str) -> bool {
        self.trying.as_deref() == Some(release) && self.starts >= TRIES
    }

    /// It is not started again.
    pub(crate) fn give_up(&mut self, release: &str, why: String) {
        (self.trying, self.starts) = (None, 0);
        self.failed.push(Failed { release: release.to_owned(), why });
        self.failed.drain(..self.failed.len().saturating_sub(FAILED));
    }

    /// It did well.
    pub(crate) fn settle(&mut self, release: &str) {
        (self.trying, self.starts) = (None, 0);
        self.good.retain(|good| good != release);
        self.good.push(release.to_owned());
        self.good.drain(..self.good.len().saturating_sub(GOOD));
        self.early.retain(|release, _| self.good.contains(release));
    }
}

/// The release to which the symlink beside the record leads.
pub(crate) fn current(link: &Path) -> Option<String> {
    let to = fs::read_link(link).ok()?;
    Some(to.file_name()?.to_str()?.to_owned())
}

/// Where a release is laid out.
pub(crate) fn laid_out(software: &Path, release: &str) -> PathBuf {
    software.join(format!(".{CURRENT}.tiding")).join(release)
}

impl Process {
    /// The process with this number, if there is one.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { pid, since: field(pid, 22)?, boot })
    }

    /// Whether it still runs: one that has ended and was not waited for does not, and none of another start of the machine does.
    pub(crate) fn runs(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self) && state(self.pid) != Some('Z')
    }

    /// This, as one of this start of the machine, where a version before this one did not write which start it was. That is enough to
    /// ask it for something, and not enough to end it.
    pub(crate) fn or_of_this_boot(mut self) -> Self {
        if self.boot.is_empty()
            && let Some(now) = Self::of(self.pid)
        {
            self.boot = now.boot;
        }
        self
    }
}

/// What `/proc/PID/stat` says behind the name, which may hold anything; fields count from 1 as in proc(5).
fn stat(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.to_owned())
}

fn field(pid: i32, number: usize) -> Option<u64> {
    stat(pid)?.split(' ').nth(number.checked_sub(3)?)?.trim().parse().ok()
}

fn state(pid: i32) -> Option<char> {
    stat(pid)?.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(record: &Record, current: &str) -> Choice {
        record.choose(Some(current), |_| true)
    }

    #[test]
    fn a_version_that_fails_is_left_for_the_last_one_that_did_well_and_without_one_for_what_was_installed() {
        let mut record = Record::default();
        assert_eq!(record.choose(None, |_| true), Choice::Installed);
        assert_eq!(choose(&record, "one"), Choice::Trial("one".into()));
        assert_eq!([1, 2, 3].map(|_| record.begin("one")), [1, 2, 3]);
        assert!(record.is_used_up("one"));
        record.give_up("one", "it crashes".to_owned());
        assert_eq!(choose(&record, "one"), Choice::Installed);
        assert_eq!(record.why_failed("one"), Some("it crashes"));

        record.begin("two");
        record.settle("two");
        assert_eq!(choose(&record, "two"), Choice::Proven("two".into()));
        assert_eq!((record.begin("three"), record.is_used_up("three")), (1, false));
        assert_eq!(record.begin("four"), 1, "each is counted by itself");
        record.give_up("four", "it hangs".to_owned());
        assert_eq!(choose(&record, "four"), Choice::Proven("two".into()));
        assert_eq!(record.choose(Some("four"), |release| release != "two"), Choice::Installed);
        assert_eq!(record.choose(None, |_| true), Choice::Installed, "nothing is ordered any more");
    }

    #[test]
    fn a_version_that_did_well_and_does_not_become_ready_any_more_is_left_until_something_does() {
        let mut record = Record::default();
        ["one", "two"].into_iter().for_each(|release| record.settle(release));
        assert_eq!([1, 2].map(|_| record.ended_early("two")), [1, 2]);
        assert_eq!(choose(&record, "two"), Choice::Proven("two".into()), "it may have been anything");
        assert_eq!(record.ended_early("two"), TRIES);
        assert_eq!(choose(&record, "two"), Choice::Proven("one".into()));
        let temp = tempfile::tempdir().expect("a temporary directory");
        record.write(temp.path()).expect("written");
        let (mut record, _) = Record::read(temp.path());
        assert_eq!([1, 2, 3].map(|_| record.ended_early("one")), [1, 2, 3]);
        assert_eq!(choose(&record, "two"), Choice::Installed);
        assert!(record.forgive() && !record.forgive());
        assert_eq!(choose(&record, "two"), Choice::Proven("two".into()));
    }

    #[test]
    fn what_is_written_is_read_and_a_damaged_record_is_none() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(Record::read(temp.path()), (Record::default(), None));
        let mut record = Record { agent: Process::of(std::process::id() as i32), ..Record::default() };
        (0..40).for_each(|number| record.give_up(&number.to_string(), "x".into()));
        (0..40).for_each(|number| record.settle(&number.to_string()));
        record.write(temp.path()).expect("written");
        assert_eq!(Record::read(temp.path()), (record.clone(), None));
        assert_eq!((record.failed.len(), record.good.len()), (FAILED, GOOD));
        fs::write(temp.path().join(NAME), r#"{"starts":2,"trying":"a","of a later version":1}"#).expect("written");
        assert!(Record::read(temp.path()).0.starts == 2);
        fs::write(temp.path().join(NAME), "{").expect("written");
        assert!(matches!(Record::read(temp.path()), (record, Some(_)) if record == Record::default()));
    }

    #[test]
    fn a_process_is_known_by_its_number_and_its_beginning() {
        let me = Process::of(std::process::id() as i32).expect("this process");
        assert!(me.runs() && !Process { since: me.since + 1, ..me.clone() }.runs());
        assert_eq!(Process::of(0), None);
    }

    #[test]
    fn a_process_of_another_start_of_the_machine_does_not_run_whatever_its_number() {
        let me = Process::of(std::process::id() as i32).expect("this process");
        assert!(!Process { boot: "a start of this machine before".to_owned(), ..me.clone() }.runs());
        let old = format!(r#"{{"agent":{{"pid":{},"since":{}}}}}"#, me.pid, me.since);
        let old = serde_json::from_str::<Record>(&old).expect("it is read").agent.expect("there is one");
        assert!(!old.runs(), "nobody knows of which start it is, and it is not ended");
        assert_eq!(old.or_of_this_boot(), me, "it may be asked");
    }
}
