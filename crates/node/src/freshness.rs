//! Whether an agent hears from an origin, and since when it does not: after a day it says that it is STALE, and goes on running what runs.
//!
//! Who is cut off, or kept from the fleet by somebody in between, cannot know what it misses; people can be told. The last contact is
//! remembered over restarts. An origin that answers and keeps news back is not noticed here, but by the operator whose deploy does
//! not arrive.

use crate::home;
use crate::identity::wall_clock;
use crate::tls::Tls;
use content::UnixTime;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// After so long without an origin a node is stale, and says so again after as long.
const STALE: u64 = 24 * 3600;
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How often a contact that goes on is written down, in seconds.
const WRITE: u64 = 3600;

/// How many origins are connected and have greeted.
#[derive(Debug, Default)]
pub(crate) struct Contact(AtomicUsize);

/// Counts while it lives.
#[derive(Debug)]
pub(crate) struct InContact(Arc<Contact>);

impl Contact {
    /// One more, until this is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> InContact {
        self.0.fetch_add(1, Ordering::Relaxed);
        InContact(self.clone())
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for InContact {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct ContactFile {
    seen: u64,
}

/// What is to be done after a look.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Write(UnixTime),
    /// No origin was in contact for so many seconds.
    Say(u64),
}

/// When an origin was in contact last.
#[derive(Debug)]
struct Freshness {
    seen: UnixTime,
    written: UnixTime,
    said: Option<UnixTime>,
}

impl Freshness {
    fn new(seen: UnixTime) -> Self {
        Self { seen, written: UnixTime(0), said: None }
    }

    fn look(&mut self, now: UnixTime, is_there: bool) -> Next {
        if is_there {
            (self.seen, self.said) = (now, None);
            if now.0.abs_diff(self.written.0) < WRITE {
                return Next::Nothing;
            }
            self.written = now;
            return Next::Write(now);
        }
        let age = now.0.saturating_sub(self.seen.0);
        if age < STALE || self.said.is_some_and(|said| now.0.saturating_sub(said.0) < STALE) {
            return Next::Nothing;
        }
        self.said = Some(now);
        Next::Say(age)
    }
}

/// Looks after it for as long as a node runs.
pub(crate) struct Watcher {
    path: PathBuf,
    contact: Arc<Contact>,
    tls: Arc<Tls>,
}

impl Watcher {
    /// Of the node in a home.
    pub(crate) fn new(home: &Path, contact: Arc<Contact>, tls: Arc<Tls>) -> Self {
        Self { path: home.join(home::CONTACT), contact, tls }
    }

    /// Never ends.
    pub(crate) async fn run(self) {
        let mut freshness = Freshness::new(seen(&self.path).unwrap_or_else(|| self.now()));
        loop {
            sleep(LOOK).await;
            match freshness.look(self.now(), self.contact.is_there()) {
                Next::Nothing => {}
                Next::Write(seen) => {
                    if let Err(error) = home::replace(&self.path, &home::to_json(&ContactFile { seen: seen.0 })) {
                        tracing::debug!(%error, "the last contact cannot be written down");
                    }
                }
                Next::Say(age) => tracing::warn!(
                    hours = age / 3600,
                    "STALE: no origin was in contact for more than a day; what runs goes on, and nothing new comes"
                ),
            }
        }
    }

    fn now(&self) -> UnixTime {
        self.tls.clock().judged(wall_clock())
    }
}

fn seen(path: &Path) -> Option<UnixTime> {
    home::read_json::<ContactFile>(path).ok().map(|file| UnixTime(file.seen))
}

/// Since how many seconds the agent in a home has heard of no origin, if that is so long that it is stale; to the hour.
pub fn stale(home: &Path) -> Option<u64> {
    let seen = seen(&home.join(home::CONTACT))?;
    let age = wall_clock().0.saturating_sub(seen.0);
    (age >= STALE + WRITE).then_some(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    #[test]
    fn g3_a_node_without_an_origin_says_that_it_is_stale_after_a_day_and_again_each_day() {
        let mut freshness = Freshness::new(UnixTime(1000 * HOUR));
        let mut at = |hour: u64, is_there| freshness.look(UnixTime((1000 + hour) * HOUR), is_there);
        assert_eq!(at(0, true), Next::Write(UnixTime(1000 * HOUR)));
        assert_eq!(at(0, true), Next::Nothing, "not each minute");
        assert_eq!([at(1, false), at(23, false)], [Next::Nothing, Next::Nothing]);
        assert_eq!(at(24, false), Next::Say(24 * HOUR));
        assert_eq!(at(25, false), Next::Nothing);
        assert_eq!(at(48, false), Next::Say(48 * HOUR));
        assert_eq!(at(49, true), Next::Write(UnixTime(1049 * HOUR)), "fresh again");
        assert_eq!(at(72, false), Next::Nothing);
        assert_eq!(at(73, false), Next::Say(24 * HOUR));
    }

    #[test]
    fn g3_the_last_contact_is_remembered_and_a_restart_makes_nobody_fresh() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(stale(temp.path()), None, "it never ran");
        let write = |ago: u64| {
            let file = ContactFile { seen: wall_clock().0 - ago };
            home::replace(&temp.path().join(home::CONTACT), &home::to_json(&file)).expect("written");
        };
        write(30 * HOUR);
        assert!(stale(temp.path()).is_some_and(|age| age >= 30 * HOUR));
        let mut after = Freshness::new(seen(&temp.path().join(home::CONTACT)).expect("remembered"));
        assert!(matches!(after.look(wall_clock(), false), Next::Say(_)));
        write(2 * HOUR);
        assert_eq!(stale(temp.path()), None);
    }

    #[test]
    fn contact_lasts_as_long_as_any_origin_is_there() {
        let contact = Arc::new(Contact::default());
        let (one, two) = (contact.hold(), contact.hold());
        drop(one);
        assert!(contact.is_there());
        drop(two);
        assert!(!contact.is_there());
    }
}
