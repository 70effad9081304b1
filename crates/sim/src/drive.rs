//! The driver of a pretend machine: carries what engines put out to disks and network, and back.
//!
//! This is what the real driver does with sockets and threads. Every control message passes through the engine's wire
//! encoding; every payload is read from a real store and written to one.

use crate::check::Promise;
use crate::dice::Dice;
use crate::host::{Bulk, Evil, Host, WRITERS, Work, Write};
use crate::net::{ConnId, Fate, Lane, Nr};
use crate::plan::{Illness, ORIGIN};
use crate::strikes::Strike;
use crate::truth::Truth;
use crate::world::{Happening, Leaving, Parcel, Worked, World, nanos};
use content::fact::Noted;
use content::{ContentId, Digested, Fact, NodeId, OrderId, PieceNo, ReleaseId, Role, Signed, UnixTime};
use engine::door::{
    AppendError, CloseReason, DownReason, Event, Input, Job, JobDone, JobError, JobId, Message, Moment, Output, Time,
};
use std::net::SocketAddr;
use std::time::Duration;
use store::ReadError;

/// Bytes that a control message costs on the wire besides its own.
const FRAME: u64 = 60;
/// How long it takes to find out that nobody answers.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// What a TLS handshake costs besides its round trips.
const HANDSHAKE: Duration = Duration::from_micros(800);

impl World {
    /// Gives an engine an input, and does what it asks for.
    pub(crate) fn input(&mut self, nr: Nr, input: Input) {
        let now = Time(self.now);
        self.note(nr, &input);
        let Some(run) = self.hosts[nr].run.as_mut() else { return };
        run.engine.handle(now, input);
        self.drain(nr);
    }

    /// Does what an engine asks for.
    pub(crate) fn drain(&mut self, nr: Nr) {
        let start = self.hosts[nr].starts;
        while self.is_alive(nr, start)
            && let Some(output) = self.hosts[nr].run.as_mut().and_then(|run| run.engine.poll())
        {
            self.note(nr, &output);
            self.output(nr, output);
        }
        self.set_tick(nr);
    }

    fn set_tick(&mut self, nr: Nr) {
        let (now, start) = (self.now, self.hosts[nr].starts);
        let Some(run) = self.hosts[nr].run.as_mut() else { return };
        let Some(Time(deadline)) = run.engine.deadline() else { return };
        let at = deadline.max(now);
        if run.tick.is_none_or(|tick| at < tick) {
            run.tick = Some(at);
            self.at(at, Happening::Tick { nr, start });
        }
    }

    pub(crate) fn tick(&mut self, nr: Nr) {
        let now = self.now;
        let Some(run) = self.hosts[nr].run.as_mut() else { return };
        if run.tick.is_none_or(|tick| tick > now) {
            return;
        }
        run.tick = None;
        match run.engine.deadline() {
            Some(deadline) if deadline.0 <= now => self.input(nr, Input::Tick),
            _ => self.set_tick(nr),
        }
    }

    fn output(&mut self, nr: Nr, output: Output) {
        match output {
            Output::Connect { address, expect } => self.dial(nr, address, expect),
            Output::Close { peer, why } => {
                self.strikes.add_times(Strike::LeftForSilence, u64::from(why == CloseReason::Silent));
                self.close(nr, peer);
            }
            Output::Send { to, message } => self.send(nr, to, message),
            Output::SendPiece { to, content, piece } => self.queue_piece(nr, to, content, piece),
            Output::Drop { buffer } => {
                let run = self.hosts[nr].run.as_mut();
                if let Some(run) = run {
                    run.buffers.remove(&buffer);
                }
            }
            Output::Job { id, job: Job::Write { content, piece, buffer } } => {
                let run = self.hosts[nr].run.as_mut();
                if let Some(run) = run {
                    run.writes.push_back(Write { job: id, content, piece, buffer });
                }
                self.start_writes(nr);
            }
            Output::Job { id, job } => self.queue_work(nr, Work::Job(id, job)),
            Output::Append { id, journal, expect, facts, client: _ } => {
                let noted = Noted { written: UnixTime(self.now / 1_000_000_000), by: None };
                self.queue_work(nr, Work::Append { id, journal, expect, facts, noted });
            }
            Output::Answer { client, answer } => self.answered(nr, client, answer),
            Output::Limit(allowed) => {
                self.net.limit_up(nr, allowed.sending.map(|rate| rate.0));
                self.pump(nr);
            }
            Output::Event(event) => self.observe(nr, &event),
        }
    }

    fn observe(&mut self, nr: Nr, event: &Event) {
        let start = self.hosts[nr].starts;
        match event {
            Event::Convicted { peer, .. } => {
                self.strikes.add(Strike::Convicted);
                let role = self.by_id.get(peer).map(|peer| self.hosts[*peer].role);
                if role == Some(Role::Agent) {
                    let wrong = self.convictions.convicted(nr, start, *peer);
                    self.judge(Promise::Convictions, wrong);
                }
            }
            Event::Shunned { peer } if !self.convictions.is_of_life(nr, start, *peer) => {
                self.strikes.add(Strike::ShunnedAfterRestart);
            }
            Event::Patched { .. } if nr == ORIGIN => self.strikes.add(Strike::Brought),
            Event::Patched { .. } => self.strikes.add(Strike::Patched),
            Event::PatchFailed { .. } => self.strikes.add(Strike::PatchFailed),
            _ => {}
        }
    }

    // Connections.

    fn dial(&mut self, from: Nr, address: SocketAddr, expect: Option<NodeId>) {
        let start = self.hosts[from].starts;
        let to = Host::at(address).filter(|to| *to < self.hosts.len() && *to != from);
        let cut = to.is_some_and(|to| self.net.is_cut(from, to) || self.net.is_cut(to, from));
        let wait = match (to, cut) {
            (_, true) => DIAL_TIMEOUT,
            (Some(to), _) => HANDSHAKE + Duration::from_nanos(6 * self.net.delay(from, to)),
            (None, _) => HANDSHAKE,
        };
        self.after(wait, Happening::Dialled { from, start, address, expect });
    }

    pub(crate) fn dialled(&mut self, from: Nr, address: SocketAddr, expect: Option<NodeId>) {
        let to = Host::at(address).filter(|to| *to < self.hosts.len() && *to != from);
        let why = match to {
            None => "nobody is there",
            Some(to) if self.hosts[to].run.is_none() => "connection refused",
            Some(to) if self.net.is_cut(from, to) || self.net.is_cut(to, from) => "timed out",
            Some(to) if expect.is_some_and(|id| id != self.hosts[to].id) => "another node answers there",
            Some(to) => return self.connected(from, to, address),
        };
        self.input(from, Input::Unreachable { address, why: why.to_owned() });
    }

    fn connected(&mut self, from: Nr, to: Nr, address: SocketAddr) {
        self.net.connect(from, to);
        self.peer_up(to, from, None);
        self.peer_up(from, to, Some(address));
    }

    fn peer_up(&mut self, nr: Nr, peer: Nr, dialled: Option<SocketAddr>) {
        let Host { id, role, address, .. } = self.hosts[peer];
        self.input(nr, Input::PeerUp { peer: id, role, seen: address.ip(), dialled });
    }

    fn close(&mut self, nr: Nr, peer: NodeId) {
        let Some(&peer) = self.by_id.get(&peer) else { return };
        // A goodbye does not get through a cut, nor to a machine without power: the other side finds out for itself.
        let is_heard = !self.net.is_cut(nr, peer) && self.hosts[peer].run.is_some();
        if self.net.disconnect(nr, peer) {
            self.tell_down(nr, peer, DownReason::Asked, Duration::ZERO);
            if !is_heard {
                return;
            }
            let delay = Duration::from_nanos(self.net.delay(nr, peer));
            self.tell_down(peer, nr, DownReason::Closed, delay);
        }
    }

    /// Breaks a connection: both sides notice.
    pub(crate) fn break_connection(&mut self, a: Nr, b: Nr, why: &str) {
        if self.net.disconnect(a, b) {
            let delay = Duration::from_nanos(self.net.delay(a, b));
            self.tell_down(a, b, DownReason::Broken(why.to_owned()), delay);
            self.tell_down(b, a, DownReason::Broken(why.to_owned()), delay);
        }
    }

    fn tell_down(&mut self, nr: Nr, peer: Nr, why: DownReason, wait: Duration) {
        let start = self.hosts[nr].starts;
        let input = Box::new(Input::PeerDown { peer: self.hosts[peer].id, why });
        self.after(wait, Happening::Down { nr, start, peer, input });
    }

    // Control.

    fn send(&mut self, nr: Nr, to: NodeId, message: Message) {
        let Some(&to) = self.by_id.get(&to) else { return };
        let message = self.bend(nr, message);
        let frame = engine::wire::encode(&message);
        self.remember(nr, to, &message, &frame);
        let left = self.net.carry_up(nr, Lane::Control, frame.len() as u64 + FRAME, self.now);
        self.ship(nr, to, Lane::Control, left, Parcel::Control(frame));
    }

    /// What an evil machine says instead.
    fn bend(&mut self, nr: Nr, message: Message) -> Message {
        match (self.hosts[nr].evil, message) {
            (Some(Evil::Lies), Message::Holding { content, have: Some(_), wants }) => {
                self.strikes.add(Strike::Lie);
                Message::Holding { content, have: None, wants }
            }
            (_, message) => message,
        }
    }

    /// Sends a parcel that leaves its sender's link at `left`.
    pub(crate) fn ship(&mut self, from: Nr, to: Nr, lane: Lane, left: u64, parcel: Parcel) {
        let bytes = match &parcel {
            Parcel::Control(frame) => frame.len() as u64 + FRAME,
            Parcel::Piece(_, _, payload) => payload.len() as u64 + FRAME,
        };
        match self.net.send((from, to), lane, bytes, left, parcel) {
            Fate::Arrives(at, conn, parcel) => self.at(at, Happening::Arrive { conn, from, to, parcel }),
            Fate::Held => {
                let one_way = !self.net.is_cut(to, from);
                self.strikes.add(if one_way { Strike::OneWayPartition } else { Strike::Partition });
            }
            Fate::Lost => (),
        }
    }

    pub(crate) fn arrive(&mut self, conn: ConnId, from: Nr, to: Nr, parcel: Parcel) {
        if self.net.connection(from, to) != Some(conn) {
            return;
        }
        let sender = self.hosts[from].id;
        match parcel {
            Parcel::Control(frame) => match engine::wire::decode(&frame) {
                Ok(message) => {
                    if let Message::Hello(_) = message {
                        self.repeat_old_messages(from, to);
                    }
                    self.input(to, Input::Message { from: sender, message });
                }
                Err(why) => self.break_connection(from, to, &why.to_string()),
            },
            Parcel::Piece(content, piece, payload) => {
                let len = payload.len() as u32;
                self.sent_once.came(to, content, len.into());
                let Some(run) = self.hosts[to].run.as_mut() else { return };
                let buffer = run.keep(payload);
                self.input(to, Input::Piece { from: sender, content, piece, buffer, len });
            }
        }
    }

    // Payloads.

    fn queue_piece(&mut self, nr: Nr, peer: NodeId, content: ContentId, piece: PieceNo) {
        let to = self.by_id.get(&peer).copied();
        let conn = to.and_then(|to| Some((to, self.net.connection(nr, to)?)));
        match (conn, self.hosts[nr].run.as_mut()) {
            (Some((to, conn)), Some(run)) => run.bulk.push_back(Bulk { to, conn, peer, content, piece }),
            _ => self.not_sent(nr, peer, content, piece),
        }
        self.pump(nr);
    }

    /// A piece cannot be sent. A driver finds that out when it finds out that the connection is gone, not before.
    fn not_sent(&mut self, nr: Nr, to: NodeId, content: ContentId, piece: PieceNo) {
        let input = Box::new(Input::Sent { to, content, piece, bytes: 0, took: Duration::ZERO });
        let (start, peer) = (self.hosts[nr].starts, self.by_id.get(&to).copied());
        let wait = peer.map_or(0, |peer| self.net.delay(nr, peer));
        self.after(Duration::from_nanos(wait), Happening::Input { nr, start, input });
    }

    /// Puts the next piece on the link, if the link is free.
    pub(crate) fn pump(&mut self, nr: Nr) {
        while let Some(bulk) = self.next_bulk(nr) {
            if self.net.connection(nr, bulk.to) != Some(bulk.conn) {
                self.not_sent(nr, bulk.peer, bulk.content, bulk.piece);
                continue;
            }
            if self.put_on_link(nr, bulk) {
                return;
            }
        }
    }

    /// The first piece whose connection is not stuck in a cut.
    fn next_bulk(&mut self, nr: Nr) -> Option<Bulk> {
        let net = &self.net;
        let run = self.hosts[nr].run.as_mut().filter(|run| !run.sending && net.may_send(nr))?;
        let moves = |bulk: &Bulk| net.connection(nr, bulk.to) != Some(bulk.conn) || !net.is_cut(nr, bulk.to);
        let at = run.bulk.iter().position(moves)?;
        run.bulk.remove(at)
    }

    /// Reads a piece and begins to send it; false when it cannot be sent.
    fn put_on_link(&mut self, nr: Nr, bulk: Bulk) -> bool {
        let Bulk { to, conn, peer, content, piece } = bulk;
        let Some(source) = self.hosts[nr].run.as_ref().map(|run| run.source.clone()) else { return false };
        let read = source.read(content, piece);
        if self.crashed_in_call(nr) {
            return false;
        }
        let took = self.hosts[nr].took();
        match read {
            Ok(payload) => {
                let payload = self.spoil(nr, payload);
                let left = self.net.carry_up(nr, Lane::Bulk, payload.len() as u64, self.now + nanos(took));
                let took = Duration::from_nanos(left - self.now);
                let leaving = Box::new(Leaving { to, conn, peer, content, piece, payload, took });
                let start = self.hosts[nr].starts;
                self.at(left, Happening::Left { nr, start, leaving });
                self.hosts[nr].run.as_mut().map(|run| run.sending = true).is_some()
            }
            Err(why) => {
                self.could_not_read(nr, bulk, &why);
                false
            }
        }
    }

    fn could_not_read(&mut self, nr: Nr, bulk: Bulk, why: &ReadError) {
        let Bulk { peer, content, piece, .. } = bulk;
        let wrong = self.durability.unread(nr, content, why);
        self.judge(Promise::Durability, wrong);
        if !matches!(why, ReadError::Disk(_)) {
            self.lost(nr, content, piece);
        }
        self.not_sent(nr, peer, content, piece);
    }

    fn lost(&mut self, nr: Nr, content: ContentId, piece: PieceNo) {
        if self.durability.is_rotten(nr, content) {
            self.strikes.add(Strike::RotNoticed);
        }
        let (start, input) = (self.hosts[nr].starts, Box::new(Input::Lost { content, piece }));
        self.after(Duration::ZERO, Happening::Input { nr, start, input });
    }

    /// What an evil machine sends instead.
    fn spoil(&mut self, nr: Nr, mut payload: Vec<u8>) -> Vec<u8> {
        match self.hosts[nr].evil {
            Some(Evil::Corrupts(every)) if self.dice.chance(1, every) && !payload.is_empty() => {
                let at = self.dice.below(payload.len() as u64) as usize;
                payload[at] ^= 1 << self.dice.below(8);
                self.strikes.add(Strike::CorruptPiece);
            }
            Some(Evil::WrongLength(every)) if self.dice.chance(1, every) => {
                let len = if self.dice.chance(1, 2) { payload.len() / 2 } else { payload.len() + 7 };
                payload.resize(len, 0);
                self.strikes.add(Strike::WrongLength);
            }
            _ => (),
        }
        payload
    }

    pub(crate) fn left(&mut self, nr: Nr, leaving: Leaving) {
        let Leaving { to, conn, peer, content, piece, payload, took } = leaving;
        if let Some(run) = self.hosts[nr].run.as_mut() {
            run.sending = false;
        }
        let bytes = payload.len() as u32;
        if nr == ORIGIN {
            self.sent_once.sent(content, bytes.into());
        }
        if self.net.connection(nr, to) == Some(conn) {
            self.ship(nr, to, Lane::Bulk, self.now, Parcel::Piece(content, piece, payload));
        }
        self.input(nr, Input::Sent { to: peer, content, piece, bytes, took });
        self.pump(nr);
    }

    // Writes: several at once.

    fn start_writes(&mut self, nr: Nr) {
        loop {
            let Some(run) = self.hosts[nr].run.as_mut().filter(|run| run.writing < WRITERS) else { return };
            let Some(write) = run.writes.pop_front() else { return };
            run.writing += 1;
            if !self.write(nr, write) {
                return;
            }
        }
    }

    fn write(&mut self, nr: Nr, write: Write) -> bool {
        let Some(run) = self.hosts[nr].run.as_mut() else { return false };
        let payload = run.buffers.remove(&write.buffer);
        let result = match (&run.pieces, payload) {
            (Some(pieces), Some(payload)) => pieces.write(write.content, write.piece, &Digested::new(payload)),
            (None, _) => Err(JobError::Refused { why: "a publisher writes nothing".to_owned() }),
            (_, None) => return self.no_such_payload(nr, write),
        };
        let due = run.pieces.as_ref().is_some_and(|pieces| pieces.checkpoint_due());
        if self.crashed_in_call(nr) {
            return false;
        }
        if due && !self.has_checkpoint_waiting(nr) {
            self.queue_work(nr, Work::Checkpoint);
        }
        let (wait, start) = (self.hosts[nr].took(), self.hosts[nr].starts);
        self.after(wait, Happening::Wrote { nr, start, job: write.job, result });
        true
    }

    fn no_such_payload(&mut self, nr: Nr, write: Write) -> bool {
        self.breaks(Promise::Bounds, format!("node {nr} writes a payload twice, or one it dropped: {write:?}"));
        false
    }

    pub(crate) fn wrote(&mut self, nr: Nr, job: JobId, result: Result<JobDone, JobError>) {
        if let Some(run) = self.hosts[nr].run.as_mut() {
            run.writing -= 1;
        }
        self.input(nr, Input::Done { job, result });
        self.start_writes(nr);
    }

    // Work: one thing at a time.

    pub(crate) fn queue_work(&mut self, nr: Nr, work: Work) {
        let run = self.hosts[nr].run.as_mut();
        if let Some(run) = run {
            run.work.push_back(work);
        }
        self.start_work(nr);
    }

    fn start_work(&mut self, nr: Nr) {
        let Some(run) = self.hosts[nr].run.as_mut().filter(|run| !run.working) else { return };
        let Some(work) = run.work.pop_front() else { return };
        run.working = true;
        let worked = match work {
            Work::Job(id, job) => self.work_job(nr, id, &job),
            Work::Append { id, journal, expect, facts, noted } => {
                self.durability.appends(nr, &journal, &facts);
                let run = self.hosts[nr].run.as_mut();
                let store = run.and_then(|run| run.store.as_mut());
                let outcome = match store {
                    Some(store) => store.append(&journal, expect, &facts, noted),
                    None => Err(AppendError::Unavailable("a publisher has no journal".to_owned())),
                };
                if !self.hosts[nr].platter.is_on() {
                    self.crashed_in_call(nr);
                    return;
                }
                self.durability.appended(nr, &journal, &facts, outcome.is_ok());
                self.note_facts(nr, &facts, outcome.is_ok());
                Worked::Append(id, outcome)
            }
            Work::Checkpoint => Worked::Checkpoint(self.work_checkpoint(nr)),
        };
        if self.crashed_in_call(nr) {
            return;
        }
        let (wait, start) = (self.hosts[nr].took(), self.hosts[nr].starts);
        self.after(wait, Happening::Worked { nr, start, worked });
    }

    fn note_facts(&mut self, nr: Nr, facts: &[Fact], fine: bool) {
        if nr != ORIGIN || !fine {
            return;
        }
        for fact in facts {
            let wrong = self.orders.noted(&self.truth, fact);
            self.judge(Promise::Orders, wrong);
            let wrong = self.rollouts.noted(&self.truth, fact);
            self.judge(Promise::Rollouts, wrong);
            self.wanted.noted(&self.truth, fact);
            match fact {
                Fact::Halted { why, .. } => {
                    self.strikes.add(Strike::FellBack);
                    self.strikes.add_times(Strike::WaveLate, u64::from(why.contains("deadline")));
                }
                Fact::Awaited { order, wave, .. } => self.gate_waits(*order, *wave),
                _ => {}
            }
        }
    }

    fn work_checkpoint(&mut self, nr: Nr) -> Vec<(ContentId, PieceNo)> {
        let store = self.hosts[nr].run.as_mut().and_then(|run| run.store.as_mut());
        store.map_or_else(Vec::new, |store| store.checkpoint().unwrap_or_default())
    }

    fn work_job(&mut self, nr: Nr, id: JobId, job: &Job) -> Worked {
        self.durability.begins(nr, job);
        self.before_job(nr, job);
        let store = self.hosts[nr].run.as_mut().and_then(|run| run.store.as_mut());
        let result = match store {
            Some(store) => match job {
                Job::Hook { release, moment, .. } => ails(&self.truth, nr, release, Some(*moment), &mut self.health),
                Job::Probe { release } => ails(&self.truth, nr, release, None, &mut self.health),
                _ => store.run(job),
            },
            None => Err(JobError::Refused { why: "a publisher stores nothing".to_owned() }),
        };
        if let (Ok(JobDone::Diffed { patch: Some(patch) }), Some(run)) = (&result, &self.hosts[nr].run)
            && let Some(pieces) = &run.pieces
        {
            self.truth.learn_pieces(patch, pieces);
        }
        if self.hosts[nr].platter.is_on() {
            self.after_job(nr, job, &result);
        }
        Worked::Job(id, result)
    }

    fn after_job(&mut self, nr: Nr, job: &Job, result: &Result<JobDone, JobError>) {
        let wrong = self.durability.ended(nr, job, result);
        self.judge(Promise::Durability, wrong);
        if let Err(JobError::Missing { content, .. }) = result
            && self.durability.is_rotten(nr, *content)
        {
            self.strikes.add(Strike::RotNoticed);
        }
        if self.blueprint.occupied == Some(nr) && matches!(result, Err(JobError::Refused { .. })) {
            self.strikes.add(Strike::Occupied);
        }
        if self.hosts[nr].slowness > 1 {
            self.strikes.add(Strike::SlowNode);
        }
        if let (Job::Shun { peers }, Ok(_)) = (job, result) {
            self.convictions.remembers(nr, peers);
        }
        self.watch_rollout(nr, job, result);
        let wrong = match (job, result) {
            (Job::Accept { order }, Ok(JobDone::Accepted)) => self.orders.accepted(&self.truth, nr, order),
            (Job::Switch { release, .. }, Ok(JobDone::Switched { .. })) => {
                self.look_at_path(nr);
                self.orders.switched(&self.truth, nr, *release, self.durability.confirmed(nr))
            }
            _ => None,
        };
        self.judge(Promise::Orders, wrong);
    }

    /// What a step of a switch says of its rollout.
    fn watch_rollout(&mut self, nr: Nr, job: &Job, result: &Result<JobDone, JobError>) {
        if result.is_err() {
            self.rollouts.failed(nr);
        }
        let wrong = match (job, result) {
            (Job::Accept { order }, Ok(JobDone::Accepted)) => {
                self.rollouts.follows(nr, OrderId(order.payload_digest()));
                None
            }
            (Job::Switch { release, .. }, Ok(JobDone::Switched { .. })) => {
                if self.truth.releases.get(release).is_some_and(|known| known.illness != Illness::Well) {
                    self.strikes.add(Strike::IllRelease);
                }
                let wrong = self.rollouts.switched(&self.truth, nr, *release);
                self.strikes.add_times(Strike::GroupFull, self.rollouts.take_full());
                wrong
            }
            (Job::Confirm { release, .. }, Ok(JobDone::Confirmed)) => {
                self.rollouts.confirmed(&self.truth, nr, *release)
            }
            (Job::GiveUp { order, .. }, Ok(JobDone::GivenUp)) => {
                self.strikes.add(Strike::GaveUp);
                self.rollouts.gave_up(nr, *order);
                None
            }
            _ => None,
        };
        self.judge(Promise::Rollouts, wrong);
    }

    pub(crate) fn worked(&mut self, nr: Nr, worked: Worked) {
        if let Some(run) = self.hosts[nr].run.as_mut() {
            run.working = false;
        }
        match worked {
            Worked::Job(job, result) => self.input(nr, Input::Done { job, result }),
            Worked::Append(append, outcome) => self.input(nr, Input::Appended { append, outcome }),
            Worked::Checkpoint(lost) => lost.into_iter().for_each(|(content, piece)| self.lost(nr, content, piece)),
        }
        self.start_work(nr);
    }
}

/// How a command of a release, or a round of its probes, goes on a machine.
fn ails(
    truth: &Truth,
    nr: Nr,
    release: &Signed,
    moment: Option<Moment>,
    chance: &mut Dice,
) -> Result<JobDone, JobError> {
    let known = truth.releases.get(&ReleaseId(release.payload_digest()));
    let fails = match known.map_or(Illness::Well, |known| known.illness) {
        Illness::Well => false,
        Illness::Sick => moment.is_none(),
        Illness::SomeSick => moment.is_none() && nr.is_multiple_of(3),
        Illness::Flaps => moment.is_none() && chance.chance(1, 2),
        Illness::Breaks => moment == Some(Moment::After),
    };
    if fails { Err(JobError::Refused { why: "it does not do well".to_owned() }) } else { Ok(JobDone::Ran) }
}
