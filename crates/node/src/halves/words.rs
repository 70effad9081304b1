//! What the halves of a node say to each other, and how it is written: versioned, canonical, bounded.
//!
//! A message is a number of bytes, little-endian in four bytes, and then those bytes in the encoding of everything at rest. The network half
//! begins with a greeting; the root half welcomes it with what it remembers, or says why not and closes. Then come jobs and
//! their outcomes, in any order, each with its number.
//!
//! There is no word for a path, a URL, a command or a payload: what a job does stands in documents that operators have signed.

use content::encoding::{Decoder, Encode, Encoder, Malformed};
use content::{AppName, ContentId, OrderId, PieceNo, ReleaseId, Signed};
use engine::door::{AppRecord, Job, JobDone, JobError, Moment};

/// The version of this language. While a machine is upgraded its halves may be of two versions of the program for a moment: those that
/// speak the same language understand each other, the others say so. So what a greeting and a welcome begin with, and the word
/// that turns away, stay as they are in every version.
const VERSION: u8 = 1;
/// The version of the program, for people.
pub(super) const SOFTWARE: &str = env!("CARGO_PKG_VERSION");
/// The longest message of the network half, in bytes: two signed documents fit into it.
pub(crate) const LONGEST_ASKED: usize = 256 << 10;
/// The longest message of the root half: all that it remembers fits into it.
pub(crate) const LONGEST_TOLD: usize = 16 << 20;
/// How many jobs may be under way at once.
pub(crate) const UNDER_WAY: usize = 64;
/// How many pieces an outcome names at most; what else is missing comes out at the next try.
const MOST_PIECES: usize = 4096;
/// How many releases a list holds at most.
const MOST_RELEASES: usize = 4096;
/// How many applications a root half speaks of at most.
const MOST_APPS: usize = 4096;
/// How many differences are named at most.
const MOST_NAMED: usize = 64;
/// The longest text, in bytes.
const LONGEST_TEXT: usize = 4096;

/// What the network half says.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Who it is; first of all.
    Greeting {
        /// The version of the program, for people.
        software: String,
    },
    /// Do this; one of those of which `is_for_root` says so.
    Job {
        /// Returned with the outcome.
        number: u64,
        /// What to do.
        job: Job,
    },
}

/// What the root half says.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Go on: this is what is remembered.
    Welcome {
        /// The version of the program, for people.
        software: String,
        /// Each application.
        records: Vec<AppRecord>,
    },
    /// Not now; nothing follows.
    Unwelcome {
        /// In words.
        why: String,
    },
    /// How a job went.
    Done {
        /// Which.
        number: u64,
        /// How.
        outcome: Result<JobDone, JobError>,
    },
}

/// Whether a job changes the machine, and is the root half's.
pub(crate) fn is_for_root(job: &Job) -> bool {
    match job {
        Job::Assemble { .. } | Job::Accept { .. } | Job::Switch { .. } | Job::Hook { .. } | Job::Probe { .. } => true,
        Job::GiveUp { .. } | Job::Confirm { .. } | Job::Verify { .. } | Job::Collect { .. } | Job::Root { .. } => true,
        Job::Restore { .. } | Job::Repair { .. } => true,
        Job::Open { .. } | Job::Write { .. } | Job::Index { .. } | Job::Complete { .. } => false,
        Job::Shun { .. } | Job::Journal { .. } | Job::Diff { .. } | Job::Patch { .. } => false,
    }
}

impl Encode for Asked {
    const WHAT: &'static str = "message of a network half";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Greeting { software } => {
                to.byte(1).byte(VERSION).text(&shown(software));
            }
            Self::Job { number, job } => {
                to.byte(2).number(*number);
                put_job(to, job);
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => {
                take_version(from)?;
                Ok(Self::Greeting { software: from.text("the software", LONGEST_TEXT)? })
            }
            2 => Ok(Self::Job { number: from.number()?, job: take_job(from)? }),
            other => Err(from.wrong(format!("there is no word {other}"))),
        }
    }
}

fn take_version(from: &mut Decoder<'_>) -> Result<(), Malformed> {
    match from.byte()? {
        VERSION => Ok(()),
        other => Err(from.wrong(format!("it speaks version {other}, and this half speaks {VERSION}"))),
    }
}

fn put_job(to: &mut Encoder, job: &Job) {
    match job {
        Job::Assemble { release } => to.byte(1).value(release),
        Job::Accept { order } => to.byte(2).value(order),
        Job::Switch { app, release } => to.byte(3).value(app).value(release),
        Job::Confirm { app, release } => to.byte(4).value(app).value(release),
        Job::GiveUp { app, order, why } => to.byte(5).value(app).value(order).text(&shown(why)),
        Job::Hook { release, moment, other } => {
            to.byte(6).value(release).byte(moment_byte(*moment)).option(other.as_ref())
        }
        Job::Probe { release } => to.byte(7).value(release),
        Job::Verify { app } => to.byte(8).value(app),
        // Contents are the network half's own.
        Job::Collect { releases, .. } => to.byte(9).list(releases.iter()),
        Job::Root { root } => to.byte(10).value(root),
        Job::Restore { app, release } => to.byte(11).value(app).value(release),
        Job::Repair { app } => to.byte(12).value(app),
        Job::Open { .. } | Job::Write { .. } | Job::Index { .. } | Job::Complete { .. } => unreachable!("is_for_root"),
        Job::Shun { .. } | Job::Journal { .. } | Job::Diff { .. } | Job::Patch { .. } => unreachable!("is_for_root"),
    };
}

fn take_job(from: &mut Decoder<'_>) -> Result<Job, Malformed> {
    Ok(match from.byte()? {
        1 => Job::Assemble { release: from.value()? },
        2 => Job::Accept { order: from.value()? },
        3 => Job::Switch { app: from.value()?, release: from.value()? },
        4 => Job::Confirm { app: from.value()?, release: from.value()? },
        5 => Job::GiveUp { app: from.value()?, order: from.value()?, why: from.text("why", LONGEST_TEXT)? },
        6 => Job::Hook { release: from.value()?, moment: take_moment(from)?, other: from.option()? },
        7 => Job::Probe { release: from.value()? },
        8 => Job::Verify { app: from.value()? },
        9 => {
            let releases = from.list("the releases", MOST_RELEASES, 32)?;
            Job::Collect { contents: Vec::new(), releases }
        }
        10 => Job::Root { root: from.value()? },
        11 => Job::Restore { app: from.value()?, release: from.value()? },
        12 => Job::Repair { app: from.value()? },
        other => return Err(from.wrong(format!("there is no job {other}"))),
    })
}

fn moment_byte(moment: Moment) -> u8 {
    match moment {
        Moment::Before => 1,
        Moment::After => 2,
        Moment::Back => 3,
    }
}

fn take_moment(from: &mut Decoder<'_>) -> Result<Moment, Malformed> {
    match from.byte()? {
        1 => Ok(Moment::Before),
        2 => Ok(Moment::After),
        3 => Ok(Moment::Back),
        other => Err(from.wrong(format!("there is no moment {other}"))),
    }
}

impl Encode for Told {
    const WHAT: &'static str = "message of a root half";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Welcome { software, records } => {
                to.byte(1).byte(VERSION).text(&shown(software)).count(records.len());
                records.iter().for_each(|record| put_record(to, record));
            }
            Self::Unwelcome { why } => {
                to.byte(2).text(&shown(why));
            }
            Self::Done { number, outcome } => {
                to.byte(3).number(*number);
                put_outcome(to, outcome);
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => {
                take_version(from)?;
                let software = from.text("the software", LONGEST_TEXT)?;
                let count = from.count("the applications", MOST_APPS, 8)?;
                let records = (0..count).map(|_| take_record(from)).collect::<Result<_, _>>()?;
                Ok(Self::Welcome { software, records })
            }
            2 => Ok(Self::Unwelcome { why: from.text("why", LONGEST_TEXT)? }),
            3 => Ok(Self::Done { number: from.number()?, outcome: take_outcome(from)? }),
            other => Err(from.wrong(format!("there is no word {other}"))),
        }
    }
}

fn put_record(to: &mut Encoder, record: &AppRecord) {
    let AppRecord { app, order, laid_out, live, confirmed, intent, begun, given_up } = record;
    to.value(app).option(order.as_ref()).list(laid_out.iter());
    to.option(live.as_ref()).option(confirmed.as_ref()).option(intent.as_ref()).number(*begun);
    match given_up {
        None => to.byte(0),
        Some((order, why)) => to.byte(1).value(order).text(&shown(why)),
    };
}

fn take_record(from: &mut Decoder<'_>) -> Result<AppRecord, Malformed> {
    let (app, order): (AppName, Option<Signed>) = (from.value()?, from.option()?);
    let laid_out = from.list("the laid-out releases", MOST_RELEASES, 8)?;
    let (live, confirmed, intent): (Option<ReleaseId>, _, _) = (from.option()?, from.option()?, from.option()?);
    let begun = from.number32("the tries")?;
    let given_up = match from.byte()? {
        0 => None,
        1 => Some((from.value::<OrderId>()?, from.text("why", LONGEST_TEXT)?)),
        other => return Err(from.wrong(format!("an option is marked {other}"))),
    };
    Ok(AppRecord { app, order, laid_out, live, confirmed, intent, begun, given_up })
}

fn put_outcome(to: &mut Encoder, outcome: &Result<JobDone, JobError>) {
    match outcome {
        Ok(done) => put_done(to, done),
        Err(error) => put_error(to, error),
    }
}

fn put_done(to: &mut Encoder, done: &JobDone) {
    match done {
        JobDone::Assembled => to.byte(1),
        JobDone::Accepted => to.byte(2),
        JobDone::Switched { previous } => to.byte(3).option(previous.as_ref()),
        JobDone::Ran => to.byte(4),
        JobDone::GivenUp => to.byte(5),
        JobDone::Confirmed => to.byte(6),
        JobDone::Verified { entries, bytes, differing, first } => {
            to.byte(7).number(*entries).number(*bytes).number(*differing).count(first.len().min(MOST_NAMED));
            first.iter().take(MOST_NAMED).fold(to, |to, one| to.text(&shown(one)))
        }
        JobDone::Collected { freed } => to.byte(8).number(*freed),
        JobDone::Rooted => to.byte(9),
        JobDone::Restored => to.byte(10),
        JobDone::Opened { .. } | JobDone::Written | JobDone::Indexed { .. } => unreachable!("is_for_root"),
        JobDone::Diffed { .. } | JobDone::Patched { .. } => unreachable!("is_for_root"),
        JobDone::Completed | JobDone::Shunned | JobDone::Journal { .. } => unreachable!("is_for_root"),
    };
}

fn put_error(to: &mut Encoder, error: &JobError) {
    match error {
        JobError::NoSpace { why } => to.byte(101).text(&shown(why)),
        JobError::Missing { content, pieces } => {
            to.byte(102).value(content).count(pieces.len().min(MOST_PIECES));
            pieces.iter().take(MOST_PIECES).fold(to, |to, piece| to.number(piece.0))
        }
        JobError::Refused { why } => to.byte(103).text(&shown(why)),
        JobError::Disk { why } => to.byte(104).text(&shown(why)),
        JobError::Corrupt => to.byte(105),
        JobError::Stuck { why } => to.byte(106).text(&shown(why)),
    };
}

fn take_outcome(from: &mut Decoder<'_>) -> Result<Result<JobDone, JobError>, Malformed> {
    let why = |from: &mut Decoder<'_>| from.text("why", LONGEST_TEXT);
    Ok(match from.byte()? {
        1 => Ok(JobDone::Assembled),
        2 => Ok(JobDone::Accepted),
        3 => Ok(JobDone::Switched { previous: from.option()? }),
        4 => Ok(JobDone::Ran),
        5 => Ok(JobDone::GivenUp),
        6 => Ok(JobDone::Confirmed),
        7 => Ok(take_verified(from)?),
        8 => Ok(JobDone::Collected { freed: from.number()? }),
        9 => Ok(JobDone::Rooted),
        10 => Ok(JobDone::Restored),
        101 => Err(JobError::NoSpace { why: why(from)? }),
        102 => Err(take_missing(from)?),
        103 => Err(JobError::Refused { why: why(from)? }),
        104 => Err(JobError::Disk { why: why(from)? }),
        105 => Err(JobError::Corrupt),
        106 => Err(JobError::Stuck { why: why(from)? }),
        other => return Err(from.wrong(format!("there is no outcome {other}"))),
    })
}

fn take_verified(from: &mut Decoder<'_>) -> Result<JobDone, Malformed> {
    let (entries, bytes) = (from.number32("the entries")?, from.number()?);
    let differing = from.number32("the differences")?;
    let count = from.count("the named differences", MOST_NAMED, 1)?;
    let first = (0..count).map(|_| from.text("a difference", LONGEST_TEXT)).collect::<Result<_, _>>()?;
    Ok(JobDone::Verified { entries, bytes, differing, first })
}

fn take_missing(from: &mut Decoder<'_>) -> Result<JobError, Malformed> {
    let content: ContentId = from.value()?;
    let count = from.count("the pieces", MOST_PIECES, 1)?;
    let pieces = (0..count).map(|_| from.number32("a piece").map(PieceNo)).collect::<Result<_, _>>()?;
    Ok(JobError::Missing { content, pieces })
}

/// Text as it may be written: short, and without what steers a terminal.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT).rev().find(|&at| shown.is_char_boundary(at)).unwrap_or(0);
        shown.truncate(end);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{Digest, PayloadKind, SigningKey};

    fn signed(text: &str) -> Signed {
        SigningKey::from_secret(&[1; 32]).sign(PayloadKind::Release, text.as_bytes().to_vec())
    }

    fn app() -> AppName {
        AppName::new("web").expect("a plain name")
    }

    fn release(text: &str) -> ReleaseId {
        ReleaseId(Digest::of(text.as_bytes()))
    }

    fn jobs() -> Vec<Job> {
        let (order, why) = (OrderId(Digest::of(b"order")), "not well".to_owned());
        vec![
            Job::Assemble { release: signed("a") },
            Job::Accept { order: signed("b") },
            Job::Switch { app: app(), release: release("a") },
            Job::Confirm { app: app(), release: release("a") },
            Job::GiveUp { app: app(), order, why },
            Job::Hook { release: signed("a"), moment: Moment::Back, other: Some(release("b")) },
            Job::Probe { release: signed("a") },
            Job::Verify { app: app() },
            Job::Collect { contents: Vec::new(), releases: vec![release("a"), release("b")] },
            Job::Root { root: signed("root") },
            Job::Restore { app: app(), release: release("a") },
            Job::Repair { app: app() },
        ]
    }

    fn outcomes() -> Vec<Result<JobDone, JobError>> {
        let why = || "a reason".to_owned();
        let (content, pieces) = (ContentId(Digest::of(b"c")), vec![PieceNo(3), PieceNo(70_000)]);
        vec![
            Ok(JobDone::Assembled),
            Ok(JobDone::Accepted),
            Ok(JobDone::Switched { previous: Some(release("a")) }),
            Ok(JobDone::Ran),
            Ok(JobDone::GivenUp),
            Ok(JobDone::Confirmed),
            Ok(JobDone::Verified { entries: 3, bytes: 4, differing: 1, first: vec![why()] }),
            Ok(JobDone::Collected { freed: 1 << 40 }),
            Ok(JobDone::Rooted),
            Ok(JobDone::Restored),
            Err(JobError::NoSpace { why: why() }),
            Err(JobError::Missing { content, pieces }),
            Err(JobError::Refused { why: why() }),
            Err(JobError::Disk { why: why() }),
            Err(JobError::Corrupt),
            Err(JobError::Stuck { why: why() }),
        ]
    }

    fn record() -> AppRecord {
        AppRecord {
            app: app(),
            order: Some(signed("o")),
            laid_out: vec![signed("a"), signed("b")],
            live: Some(release("a")),
            confirmed: None,
            intent: Some(release("a")),
            begun: 2,
            given_up: Some((OrderId(Digest::of(b"order")), "why".to_owned())),
        }
    }

    #[test]
    fn what_is_said_is_heard() {
        let all = [Asked::Greeting { software: "1.2".to_owned() }];
        let all = all.into_iter().chain(jobs().into_iter().map(|job| Asked::Job { number: 7, job }));
        for asked in all {
            assert!(asked.encode().len() <= LONGEST_ASKED);
            assert_eq!(Asked::decode(&asked.encode()).as_ref(), Ok(&asked));
        }
        let welcome = Told::Welcome { software: "1.2".to_owned(), records: vec![record()] };
        let all = [welcome, Told::Unwelcome { why: "no".to_owned() }];
        let all = all.into_iter().chain(outcomes().into_iter().map(|outcome| Told::Done { number: 7, outcome }));
        for told in all {
            assert_eq!(Told::decode(&told.encode()).as_ref(), Ok(&told));
        }
    }

    #[test]
    fn h14_no_message_that_is_cut_stretched_or_changed_is_heard_as_another_sort_of_thing() {
        for job in jobs() {
            let bytes = Asked::Job { number: 7, job }.encode();
            for end in 0..bytes.len() {
                assert!(Asked::decode(&bytes[..end]).is_err());
            }
            assert!(Asked::decode(&[&bytes[..], &[0]].concat()).is_err());
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 0x81;
                // Whatever is heard is what was said, byte for byte.
                assert!(!Asked::decode(&other).is_ok_and(|asked| asked.encode() != other));
            }
        }
        assert!(Asked::decode(&[1, VERSION + 1, 0]).is_err(), "another version");
        let many = [&[2, 7, 9][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        assert!(Asked::decode(&many).is_err(), "a list that is longer than the message");
    }

    #[test]
    fn text_is_cut_and_steers_nothing() {
        assert_eq!(shown("a\nb\x1b[2J"), "a b [2J");
        let long = shown(&"ä".repeat(LONGEST_TEXT));
        assert!(long.len() <= LONGEST_TEXT && long.len() > LONGEST_TEXT - 2);
    }
}
