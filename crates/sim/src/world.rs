//! One pretend world: virtual time, a queue of what happens next, machines, and who watches them.
//!
//! Everything that happens is decided by the seed and the code under test. A job of a store happens as a whole at the
//! moment it begins, and its result arrives when it would have ended; so jobs, writes and reads of one machine interleave
//! at the grain of a job, while crashes fall between any two calls of a disk.
//!
//! The world is one thread. Its hash covers every input and output of every engine, in order.

mod faults;
mod script;

use crate::check::convictions::Convictions;
use crate::check::durability::Durability;
use crate::check::liveness::{WITHIN, Wanted};
use crate::check::orders::Orders;
use crate::check::rollouts::Rollouts;
use crate::check::sent_once::SentOnce;
use crate::check::{Broken, Promise, bounds, bytes};
use crate::dice::Dice;
use crate::disk::Seen;
use crate::host::{Host, Work};
use crate::net::{ConnId, Net, Nr};
use crate::plan::{Blueprint, Fault, ORIGIN, Plan};
use crate::strikes::{Strike, Strikes};
use crate::truth::{TARGET, THEIRS, Truth};
use content::fact::Position;
use content::{ContentId, Digest, Hasher, NodeId, OrderId, PieceNo};
use engine::door::{AppendError, Input, JobDone, JobError, JobId};
use faults::Armed;
use script::Script;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// What a world came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The hash of every input and output of every engine, in order.
    pub hash: Digest,
    /// Promises that were broken.
    pub broken: Vec<Broken>,
    /// What really struck.
    pub strikes: Strikes,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
    /// How many kinds of fault were drawn for it.
    pub kinds: usize,
    /// How many machines there were.
    pub nodes: usize,
    /// How many events happened.
    pub events: u64,
}

/// What travels between machines.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    /// A control message as it stands on the wire.
    Control(Vec<u8>),
    /// The payload of a piece.
    Piece(ContentId, PieceNo, Vec<u8>),
}

/// How a store's work ended.
#[derive(Debug)]
pub(crate) enum Worked {
    Job(JobId, Result<JobDone, JobError>),
    Append(engine::door::AppendId, Result<Position, AppendError>),
    Checkpoint(Vec<(ContentId, PieceNo)>),
}

/// A piece that is on its way up a link.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) to: Nr,
    pub(crate) conn: ConnId,
    pub(crate) peer: NodeId,
    pub(crate) content: ContentId,
    pub(crate) piece: PieceNo,
    pub(crate) payload: Vec<u8>,
    pub(crate) took: Duration,
}

/// What happens next. Where there is a `start`, it concerns only that life of the machine.
#[derive(Debug)]
pub(crate) enum Happening {
    Arrive {
        conn: ConnId,
        from: Nr,
        to: Nr,
        parcel: Parcel,
    },
    Left {
        nr: Nr,
        start: u64,
        leaving: Box<Leaving>,
    },
    Dialled {
        from: Nr,
        start: u64,
        address: SocketAddr,
        expect: Option<NodeId>,
    },
    Input {
        nr: Nr,
        start: u64,
        input: Box<Input>,
    },
    /// A machine learns that a connection has ended, unless there is a newer one.
    Down {
        nr: Nr,
        start: u64,
        peer: Nr,
        input: Box<Input>,
    },
    Worked {
        nr: Nr,
        start: u64,
        worked: Worked,
    },
    Wrote {
        nr: Nr,
        start: u64,
        job: JobId,
        result: Result<JobDone, JobError>,
    },
    Tick {
        nr: Nr,
        start: u64,
    },
    Boot(Nr),
    Retire(Nr),
    /// A machine without identity asks again.
    Join(Nr),
    /// A machine was enrolled.
    Joined(Nr),
    Step(usize),
    Ask(usize, u64),
    /// An operator says that the wave after this one may open.
    Promote(OrderId, u8),
    Fault(usize),
    Heal(Vec<(Nr, Nr)>),
    Undo(Fault),
    Watch,
}

/// A world, and everything that watches it.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    events: u64,
    pub(crate) blueprint: Blueprint,
    pub(crate) hosts: Vec<Host>,
    pub(crate) by_id: BTreeMap<NodeId, Nr>,
    pub(crate) net: Net<Parcel>,
    pub(crate) dice: Dice,
    pub(crate) truth: Truth,
    pub(crate) script: Script,
    pub(crate) armed: Armed,
    /// Control messages that may arrive once more over a later connection.
    pub(crate) memory: BTreeMap<(Nr, Nr), VecDeque<Vec<u8>>>,
    pub(crate) durability: Durability,
    pub(crate) orders: Orders,
    pub(crate) wanted: Wanted,
    pub(crate) sent_once: SentOnce,
    pub(crate) rollouts: Rollouts,
    /// How rounds of probes go where that is chance.
    pub(crate) health: Dice,
    pub(crate) convictions: Convictions,
    pub(crate) strikes: Strikes,
    pub(crate) broken: Vec<Broken>,
    hash: Hasher,
    quiet_since: Option<u64>,
    say: Option<fn(&str)>,
}

/// So many events mean that something runs in circles.
const MAX_EVENTS: u64 = 300_000;
/// How often it is looked whether all have arrived.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// How long after the last confirmation a world goes on at least, and for how long while something is left in queues: who
/// waits for a machine that vanished finds out only after a long silence.
const SETTLES: Duration = Duration::from_secs(3);
const SETTLES_AT_LAST: Duration = Duration::from_secs(40);
/// So many broken promises tell enough.
const MAX_BROKEN: usize = 20;

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    /// The world of a seed, before anything happened. `say` is told every input and output.
    pub(crate) fn new(seed: u64, plan: &Plan, say: Option<fn(&str)>) -> Self {
        let mut dice = Dice::new(seed);
        let blueprint = Blueprint::draw(plan, &mut dice.fork(1));
        let net = Net::new(blueprint.links.clone(), blueprint.loss_per_mille, blueprint.jitter, dice.fork(2));
        let mut world = Self {
            seed,
            now: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            events: 0,
            hosts: Vec::new(),
            by_id: BTreeMap::new(),
            net,
            truth: Truth::new(seed),
            script: Script::new(dice.fork(3)),
            armed: Armed::default(),
            memory: BTreeMap::new(),
            durability: Durability::default(),
            orders: Orders::default(),
            wanted: Wanted::default(),
            sent_once: SentOnce::default(),
            rollouts: Rollouts::default(),
            health: Dice::new(!seed),
            convictions: Convictions::default(),
            strikes: Strikes::default(),
            broken: Vec::new(),
            hash: Hasher::new(),
            quiet_since: None,
            say,
            blueprint,
            dice,
        };
        world.furnish();
        world.plan_ahead();
        world
    }

    fn plan_ahead(&mut self) {
        let steps: Vec<Duration> = self.blueprint.steps.iter().map(|(at, _)| *at).collect();
        steps.into_iter().enumerate().for_each(|(nth, at)| self.at(nanos(at), Happening::Step(nth)));
        let faults: Vec<Duration> = self.blueprint.faults.iter().map(|(at, _)| *at).collect();
        faults.into_iter().enumerate().for_each(|(nth, at)| self.at(nanos(at), Happening::Fault(nth)));
        self.at(nanos(WATCH_EVERY), Happening::Watch);
    }

    /// Runs until all have arrived, or should have.
    pub(crate) fn run(mut self) -> Outcome {
        while self.broken.len() < MAX_BROKEN
            && let Some(Reverse((at, number))) = self.queue.pop()
        {
            self.now = at.max(self.now);
            self.events += 1;
            let Some(happening) = self.happenings.remove(&number) else { continue };
            self.happen(happening);
            if self.events > MAX_EVENTS {
                self.breaks(Promise::Bounds, format!("{MAX_EVENTS} events and no end: something runs in circles"));
                break;
            }
            if self.is_over() {
                break;
            }
        }
        self.finish()
    }

    fn is_over(&self) -> bool {
        let late = self.now > nanos(self.blueprint.calm_at + WITHIN);
        let quiet_for = |time| self.quiet_since.is_some_and(|since| self.now > since + nanos(time));
        late || quiet_for(SETTLES_AT_LAST) || (quiet_for(SETTLES) && self.left_over().is_empty())
    }

    /// What is left in queues; who says that it holds what it lacks may wait in vain for that.
    fn left_over(&self) -> Vec<String> {
        let honest = self.hosts.iter().enumerate().filter(|(_, host)| host.evil.is_none());
        honest.filter_map(|(nr, host)| bounds::left(nr, host.run.as_ref()?)).collect()
    }

    /// The last power cut: everything that was ever said must be there.
    fn finish(mut self) -> Outcome {
        self.judge_the_end();
        for nr in 0..self.hosts.len() {
            self.final_crash(nr);
        }
        self.count_disks();
        Outcome {
            hash: self.hash.finish(),
            broken: self.broken,
            strikes: self.strikes,
            virtual_time: Duration::from_nanos(self.now),
            kinds: self.blueprint.kinds,
            nodes: 1 + self.blueprint.agents,
            events: self.events,
        }
    }

    fn judge_the_end(&mut self) {
        if !self.broken.is_empty() {
            return;
        }
        if self.quiet_since.is_none() {
            let words = self.who_is_missing().unwrap_or_else(|| "nobody is missing".to_owned());
            return self.breaks(Promise::Liveness, words);
        }
        self.left_over().into_iter().for_each(|words| self.breaks(Promise::Bounds, words));
        if self.blueprint.is_calm
            && let Some(words) = self.sent_once.wrong(&self.truth)
        {
            self.breaks(Promise::SentOnce, words);
        }
    }

    fn count_disks(&mut self) {
        for host in &self.hosts {
            let struck = host.platter.struck();
            self.strikes.add_times(Strike::CrashInCall, struck.crashes_in_calls);
            self.strikes.add_times(Strike::TornWrite, struck.torn_files);
            self.strikes.add_times(Strike::ForgottenName, struck.forgotten_names);
            self.strikes.add_times(Strike::DiskFull, struck.full);
            self.strikes.add_times(Strike::SyncFailed, struck.failed_syncs);
            self.strikes.add_times(Strike::BitRot, struck.rotten);
        }
        self.strikes.add_times(Strike::Loss, self.net.retransmits);
    }

    /// Lets something happen at a time.
    pub(crate) fn at(&mut self, at: u64, happening: Happening) {
        self.next += 1;
        self.queue.push(Reverse((at.max(self.now), self.next)));
        self.happenings.insert(self.next, happening);
    }

    /// Lets something happen after a while.
    pub(crate) fn after(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now + nanos(wait), happening);
    }

    /// After a while, but not later than when faults stop.
    pub(crate) fn before_calm(&mut self, wait: Duration, happening: Happening) {
        let at = (self.now + nanos(wait)).min(nanos(self.blueprint.calm_at));
        self.at(at, happening);
    }

    /// Writes a broken promise down.
    pub(crate) fn breaks(&mut self, promise: Promise, words: String) {
        self.broken.push(Broken { promise, at: Duration::from_nanos(self.now), words });
    }

    /// Writes it down if there is one.
    pub(crate) fn judge(&mut self, promise: Promise, wrong: Option<String>) {
        if let Some(words) = wrong {
            self.breaks(promise, words);
        }
    }

    /// Whether an event of an earlier life of a machine still concerns it.
    pub(crate) fn is_alive(&self, nr: Nr, start: u64) -> bool {
        self.hosts[nr].starts == start && self.hosts[nr].run.is_some()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { conn, from, to, parcel } => self.arrive(conn, from, to, parcel),
            Happening::Left { nr, start, leaving } if self.is_alive(nr, start) => self.left(nr, *leaving),
            Happening::Dialled { from, start, address, expect } if self.is_alive(from, start) => {
                self.dialled(from, address, expect);
            }
            Happening::Input { nr, start, input } if self.is_alive(nr, start) => self.input(nr, *input),
            Happening::Down { nr, start, peer, input }
                if self.is_alive(nr, start) && self.net.connection(nr, peer).is_none() =>
            {
                self.input(nr, *input);
            }
            Happening::Worked { nr, start, worked } if self.is_alive(nr, start) => self.worked(nr, worked),
            Happening::Wrote { nr, start, job, result } if self.is_alive(nr, start) => self.wrote(nr, job, result),
            Happening::Tick { nr, start } if self.is_alive(nr, start) => self.tick(nr),
            Happening::Boot(nr) => self.boot(nr),
            Happening::Retire(nr) => self.retire(nr),
            Happening::Join(nr) => self.join_again(nr),
            Happening::Joined(nr) => self.joined(nr),
            Happening::Step(nth) => self.step(nth),
            Happening::Ask(deployment, turn) => self.ask_in_turn(deployment, turn),
            Happening::Promote(order, wave) => self.promote(order, wave),
            Happening::Fault(nth) => self.strike(nth),
            Happening::Heal(cuts) => self.heal(&cuts),
            Happening::Undo(fault) => self.undo(&fault),
            Happening::Watch => self.watch(),
            _ => (),
        }
    }

    /// Looks whether all have arrived, and whether anything grows.
    fn watch(&mut self) {
        let patches = self.blueprint.wish.is_some();
        let wrong: Vec<String> = self
            .hosts
            .iter()
            .enumerate()
            .filter_map(|(nr, host)| bounds::wrong(nr, host.run.as_ref()?, patches))
            .collect();
        wrong.into_iter().for_each(|words| self.breaks(Promise::Bounds, words));
        if self.now >= nanos(self.blueprint.calm_at) && self.who_is_missing().is_none() {
            self.quiet_since.get_or_insert(self.now);
        } else {
            self.quiet_since = None;
        }
        self.after(WATCH_EVERY, Happening::Watch);
    }

    /// The first node that is not where it should be, or the first deploy without an answer, in words.
    pub(crate) fn who_is_missing(&self) -> Option<String> {
        let unanswered = self.script.unanswered();
        unanswered.or_else(|| (ORIGIN + 1..=self.blueprint.agents).find_map(|nr| self.is_missing(nr)))
    }

    fn is_missing(&self, nr: Nr) -> Option<String> {
        let host = &self.hosts[nr];
        if host.evil.is_some() || self.blueprint.occupied == Some(nr) {
            return None;
        }
        let wanted = self.wanted.of(&self.truth, &host.labels)?;
        if self.wanted.newest().is_some_and(|order| self.rollouts.has_given_up(nr, order)) {
            return None;
        }
        let release = self.truth.releases.get(&wanted).map(|published| &published.release);
        let contents = release.into_iter().flat_map(|release| [Some(release.content), release.attributes]);
        let is_evil = |nr: Nr| self.hosts[nr].evil.is_some();
        if contents.flatten().any(|content| self.durability.is_gone(content.id(), is_evil)) {
            return None;
        }
        let (live, confirmed) = (self.durability.live(nr), self.durability.confirmed(nr));
        let arrived = live == Some(wanted) && (confirmed == Some(wanted) || self.wanted.is_halted());
        (!arrived).then(|| {
            let up = if host.run.is_some() { "up" } else { "down" };
            let peers = self.net.peers(nr);
            format!(
                "node {nr} ({up}, connected to {peers:?}) must run {wanted:?}; live {live:?}, confirmed {confirmed:?}"
            )
        })
    }

    /// Looks at what a node's path shows, which must be this release.
    pub(crate) fn look_at_path(&mut self, nr: Nr) {
        if self.blueprint.occupied == Some(nr) {
            let theirs =
                matches!(self.hosts[nr].platter.look(TARGET), Some(Seen::File(_, bytes, _)) if bytes == THEIRS);
            return self.judge(Promise::Bytes, (!theirs).then(|| format!("node {nr}: what was not ours is gone")));
        }
        let live = self.durability.live(nr);
        let expected = live.and_then(|id| self.truth.releases.get_key_value(&id));
        let wrong = bytes::wrong(&self.hosts[nr].platter, expected);
        self.judge(Promise::Bytes, wrong.map(|words| format!("node {nr}: {words}")));
    }

    /// Adds what went through a door to the hash.
    pub(crate) fn note(&mut self, nr: Nr, what: &dyn std::fmt::Debug) {
        let mut line = String::new();
        let written = write!(line, "{} {nr} {what:?}", self.now);
        debug_assert!(written.is_ok(), "a string takes everything");
        self.hash.update(line.as_bytes());
        if let Some(say) = self.say {
            line.truncate(600);
            say(&line);
        }
    }

    /// What waits for a store's single thread.
    pub(crate) fn has_checkpoint_waiting(&self, nr: Nr) -> bool {
        let run = self.hosts[nr].run.as_ref();
        run.is_some_and(|run| run.work.iter().any(|work| matches!(work, Work::Checkpoint)))
    }
}
