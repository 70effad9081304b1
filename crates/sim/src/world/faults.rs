//! Bad days: what each drawn fault does to a world, and how it is undone when faults stop.

use crate::net::{Lane, Nr};
use crate::plan::{Fault, ORIGIN};
use crate::strikes::Strike;
use crate::truth::Wish;
use crate::world::{Happening, Parcel, World};
use content::{ContentId, Signed};
use engine::door::{Gate, Job, Message};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Faults that wait for a switch.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    crashes: BTreeMap<Nr, u64>,
    cuts: BTreeMap<Nr, Duration>,
}

/// Bytes on a disk whose bad day is over.
const PLENTY: u64 = 1 << 30;
/// By how much a link is slowed at most.
const MAX_LINK_FACTOR: u64 = 20;
/// Who is cut off for longer may be taken for gone.
const BORNE: Duration = Duration::from_secs(20);
/// How many old messages of a connection may come again.
const REMEMBERED: usize = 12;

impl World {
    /// The drawn fault comes.
    pub(crate) fn strike(&mut self, nth: usize) {
        let (_, fault) = self.blueprint.faults[nth].clone();
        match fault {
            Fault::Crash(nr) => self.crash(nr),
            Fault::CrashInCall(nr, calls) => self.hosts[nr].platter.crash_after(calls),
            Fault::CrashAtSwitch(nr, calls) => drop(self.armed.crashes.insert(nr, calls)),
            Fault::CutAtSwitch(nr, wait) => drop(self.armed.cuts.insert(nr, wait)),
            Fault::CutOff(ref some, wait) => self.cut_off(some, wait, false),
            Fault::OneWay(ref some, wait) => self.cut_off(some, wait, true),
            Fault::Reset(count) => self.reset(count),
            Fault::Slow(nr, factor, wait) => {
                self.slow_down(nr, factor);
                self.before_calm(wait, Happening::Undo(fault));
            }
            Fault::Full(nr, bytes, wait) => {
                self.hosts[nr].platter.set_free(bytes);
                self.before_calm(wait, Happening::Undo(fault));
            }
            Fault::Rot(nr) => self.rot(nr),
            Fault::SyncFails(nr, syncs) => self.hosts[nr].platter.fail_syncs(syncs),
            Fault::Wipe(nr) => self.wipe(nr),
            Fault::Replay(nr) => self.replay(nr),
            Fault::Forgery(nr) => self.forge(nr),
        }
    }

    /// A bad day is over.
    pub(crate) fn undo(&mut self, fault: &Fault) {
        match *fault {
            Fault::Slow(nr, ..) => {
                self.hosts[nr].slowness = 1;
                self.net.set_link(nr, self.blueprint.links[nr]);
            }
            Fault::Full(nr, ..) => self.hosts[nr].platter.set_free(PLENTY),
            _ => (),
        }
    }

    /// The disk by all of it, the link less: what was sent at a crawl would still be on its way when faults stop.
    fn slow_down(&mut self, nr: Nr, factor: u64) {
        self.hosts[nr].slowness = factor;
        let mut link = self.blueprint.links[nr];
        let less = factor.min(MAX_LINK_FACTOR);
        (link.up, link.down) = (link.up / less, link.down / less);
        self.net.set_link(nr, link);
    }

    /// Before a job begins: what waited for a switch comes now.
    pub(crate) fn before_job(&mut self, nr: Nr, job: &Job) {
        let Job::Switch { .. } = job else { return };
        if self.is_calm_now() {
            return;
        }
        if let Some(calls) = self.armed.crashes.remove(&nr) {
            self.hosts[nr].platter.crash_after(calls);
        }
        if let Some(wait) = self.armed.cuts.remove(&nr) {
            self.cut_off(&[nr], wait, false);
        }
        if self.net.cut_off().contains(&nr) {
            self.strikes.add(Strike::PartitionDuringSwitch);
        }
    }

    fn cut_off(&mut self, some: &[Nr], wait: Duration, one_way: bool) {
        let others: Vec<Nr> = (0..self.hosts.len()).filter(|nr| !some.contains(nr)).collect();
        let mut cuts: Vec<(Nr, Nr)> = some.iter().flat_map(|a| others.iter().map(|b| (*a, *b))).collect();
        if !one_way {
            cuts.extend(cuts.clone().into_iter().map(|(a, b)| (b, a)));
        }
        cuts.iter().for_each(|(from, to)| self.net.cut(*from, *to));
        if wait > BORNE {
            let is_lost = |nr: &Nr| some.contains(nr) || some.contains(&ORIGIN);
            (0..self.hosts.len()).filter(is_lost).for_each(|nr| self.rollouts.lost_sight(nr));
        }
        self.before_calm(wait, Happening::Heal(cuts));
    }

    /// Cuts heal: what they held back arrives.
    pub(crate) fn heal(&mut self, cuts: &[(Nr, Nr)]) {
        for &(from, to) in cuts {
            self.net.heal(from, to);
            if self.net.is_cut(from, to) {
                continue;
            }
            for (lane, _, parcel) in self.net.take_held(from, to) {
                self.ship(from, to, lane, self.now, parcel);
            }
        }
        (0..self.hosts.len()).for_each(|nr| self.pump(nr));
    }

    fn reset(&mut self, count: u64) {
        for _ in 0..count {
            let pairs = self.net.pairs();
            if pairs.is_empty() {
                return;
            }
            let (a, b) = *self.dice.pick(&pairs);
            self.strikes.add(Strike::Reset);
            self.break_connection(a, b, "reset by the network");
        }
    }

    /// Flips a bit in a content that stands complete on a disk, and whole on two others: what rots where nobody else has
    /// it is gone, and no program can bring it back.
    fn rot(&mut self, nr: Nr) {
        let durability = &self.durability;
        let stored = |path: &[u8]| path.starts_with(b"home/blobs/");
        let spare = |path: &[u8]| content_of(path).is_some_and(|content| durability.whole_elsewhere(nr, content) >= 2);
        let rotten = self.hosts[nr].platter.rot(|path| stored(path) && spare(path));
        if let Some(content) = rotten.and_then(|path| content_of(&path)) {
            self.durability.rotted(nr, content);
        }
    }

    // Messages that no honest machine sends.

    fn replay(&mut self, to: Nr) {
        let newest = self.wanted.epoch();
        let old: Vec<Signed> = self.truth.orders_below(newest);
        if old.is_empty() {
            return;
        }
        let order = self.dice.pick(&old).clone();
        let release = self.truth.release_of(&order);
        let from = self.some_sender(to);
        let announced = release.is_none_or(|release| self.inject(from, to, &Message::Announce { release }));
        if announced && self.inject(from, to, &Message::Command { order, gate: Gate::Open }) {
            self.strikes.add(Strike::ReplayedOrder);
        }
    }

    fn forge(&mut self, to: Nr) {
        let Some(real) = self.wanted.order(&self.truth).map(|order| order.release) else { return };
        let Some(forged) = self.truth.forge_release(real) else { return };
        let forges_release = self.dice.chance(1, 2);
        let release = if forges_release { content::ReleaseId(forged.payload_digest()) } else { real };
        let wish = Wish {
            epoch: self.wanted.epoch() + 1,
            release,
            fallback: None,
            selector: content::Selector::default(),
            waves: vec![content::order::Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            message: "forged".to_owned(),
        };
        let order = self.truth.forge(&wish);
        let from = self.some_sender(to);
        if forges_release {
            self.inject(from, to, &Message::Announce { release: forged });
        }
        if self.inject(from, to, &Message::Command { order, gate: Gate::Open }) {
            self.strikes.add(Strike::Forgery);
        }
    }

    /// An evil origin, mostly; else an evil peer, if there is one.
    fn some_sender(&mut self, to: Nr) -> Nr {
        let is_evil = |peer: &Nr| self.hosts[*peer].evil.is_some();
        let peers: Vec<Nr> = self.net.peers(to).into_iter().filter(is_evil).collect();
        if peers.is_empty() || self.dice.chance(2, 3) { ORIGIN } else { *self.dice.pick(&peers) }
    }

    /// Sends a message as if a machine had said it; false when they are not connected.
    fn inject(&mut self, from: Nr, to: Nr, message: &Message) -> bool {
        let connected = self.net.connection(from, to).is_some() && self.hosts[to].run.is_some();
        if connected {
            self.ship(from, to, Lane::Control, self.now, Parcel::Control(engine::wire::encode(message)));
        }
        connected
    }

    // Messages that come twice.

    /// Remembers what may come again over a later connection.
    pub(crate) fn remember(&mut self, from: Nr, to: Nr, message: &Message, frame: &[u8]) {
        let again = matches!(
            message,
            Message::Announce { .. }
                | Message::Pass { .. }
                | Message::Command { .. }
                | Message::Roots { .. }
                | Message::Revoked { .. }
                | Message::Introduce { .. }
                | Message::Head { .. }
                | Message::Status(_)
                | Message::Submit { .. }
                | Message::Have { .. }
        );
        if !again || !self.blueprint.duplicates || self.is_calm_now() {
            return;
        }
        let memory: &mut VecDeque<Vec<u8>> = self.memory.entry((from, to)).or_default();
        memory.push_back(frame.to_vec());
        if memory.len() > REMEMBERED {
            memory.pop_front();
        }
    }

    /// A new connection: some of what was said over an older one comes again, late.
    pub(crate) fn repeat_old_messages(&mut self, from: Nr, to: Nr) {
        let Some(conn) = self.net.connection(from, to) else { return };
        let old = self.memory.remove(&(from, to)).unwrap_or_default();
        for frame in old {
            if self.dice.chance(1, 3) {
                let wait = Duration::from_micros(self.dice.within(2_000..800_000));
                self.strikes.add(Strike::Duplicate);
                self.after(wait, Happening::Arrive { conn, from, to, parcel: Parcel::Control(frame) });
            }
        }
    }
}

/// The content that a file of a store belongs to, by its name.
fn content_of(path: &[u8]) -> Option<ContentId> {
    let file = path.rsplit(|byte| *byte == b'/').next()?;
    let stem = file.split(|byte| *byte == b'.').next()?;
    std::str::from_utf8(stem).ok()?.parse().ok()
}
