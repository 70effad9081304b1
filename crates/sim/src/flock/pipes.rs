//! The network of a flock: pipes in a row, and the connections that go through them.
//!
//! See [`super::model`] for what is modelled. Everything here is arithmetic on the times at which pipes become free; what a
//! payload is, and what happens when it comes, is the world's affair.

use super::model::Model;
use crate::dice::Dice;

/// Something that carries one thing at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pipe {
    /// Bytes in a second.
    rate: u64,
    /// What goes at once after a silence, as the time that it would take.
    burst: u64,
    free: u64,
    /// When the last message is through.
    said: u64,
}

impl Pipe {
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, burst: 0, free: 0, said: 0 }
    }

    /// One that lets so many bytes through at once when it was silent for long enough.
    fn bucket(rate: u64, burst_bytes: u64) -> Self {
        let pipe = Self::new(rate);
        Self { burst: pipe.takes(burst_bytes), ..pipe }
    }

    pub(super) fn takes(&self, bytes: u64) -> u64 {
        bytes * 1_000_000_000 / self.rate.max(1)
    }

    /// Carries something that begins to come at `from`; when it is through.
    fn carry(&mut self, bytes: u64, from: u64) -> u64 {
        self.free = self.free.max(from.saturating_sub(self.burst)) + self.takes(bytes);
        self.free.max(from)
    }

    pub(super) fn free_at(&self) -> u64 {
        self.free
    }

    /// Carries a message: it waits for those before it, and for no more of the payloads than may stand in the queue; when its turn
    /// is.
    fn say(&mut self, bytes: u64, from: u64, queue_bytes: u64) -> u64 {
        let turn = self.said.max(from + self.wait(from, queue_bytes));
        self.said = turn + self.takes(bytes);
        self.carry(bytes, from);
        turn
    }

    /// How long something waits in its queue that comes now, when so many bytes may stand there.
    fn wait(&self, now: u64, queue_bytes: u64) -> u64 {
        self.free.saturating_sub(now).min(self.takes(queue_bytes))
    }
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) is_up: bool,
    /// Both ends are on one machine.
    is_local: bool,
    /// Pieces that were given to the kernel and have not left.
    pub(super) in_kernel: u16,
    /// Until when its way is backed up.
    pub(super) held_until: u64,
    /// When the last payload arrives, and the last message.
    last_payload: u64,
    last_message: u64,
    /// When the last packet with messages leaves the sender, where processors are shared.
    pub(super) packed_until: u64,
    /// What TCP sends in a round trip, and when it sent last.
    window: u64,
    sent_at: u64,
    /// When its own rate lets the next payload begin.
    paced: u64,
}

/// The number of a rack; all are in one when there are no racks.
type Rack = u32;

/// All links, racks and connections.
#[derive(Debug)]
pub(super) struct Pipes {
    model: Model,
    up: Vec<Pipe>,
    down: Vec<Pipe>,
    racks: Vec<[Pipe; 2]>,
    per_rack: u32,
    pub(super) lanes: Vec<Lane>,
    dice: Dice,
}

impl Pipes {
    pub(super) fn new(model: Model, dice: Dice) -> Self {
        Self { model, up: Vec::new(), down: Vec::new(), racks: Vec::new(), per_rack: u32::MAX, lanes: Vec::new(), dice }
    }

    /// Lets so many machines in a row share an uplink.
    pub(super) fn share(&mut self, per_rack: u32, rate: u64, machines: u32) {
        self.per_rack = per_rack.max(1);
        self.racks = vec![[Pipe::new(rate); 2]; machines.div_ceil(self.per_rack) as usize];
    }

    /// One more machine.
    pub(super) fn plug(&mut self, up: u64, down: u64) {
        self.up.push(Pipe::bucket(up, self.model.burst_bytes));
        self.down.push(Pipe::bucket(down, self.model.burst_bytes));
    }

    fn rack(&self, node: u32) -> Rack {
        node / self.per_rack
    }

    pub(super) fn connect(&mut self, a: u32, b: u32, is_local: bool) -> u32 {
        let lane = |from, to| Lane {
            from,
            to,
            is_up: true,
            is_local,
            in_kernel: 0,
            held_until: 0,
            last_payload: 0,
            last_message: 0,
            packed_until: 0,
            window: 0,
            sent_at: 0,
            paced: 0,
        };
        let first = self.lanes.len() as u32;
        self.lanes.extend([lane(a, b), lane(b, a)]);
        first
    }

    /// How long something travels between two machines; nothing does within one.
    pub(super) fn delay(&self) -> u64 {
        nanos(self.model.delay)
    }

    pub(super) fn up_free(&self, node: u32) -> u64 {
        self.up[node as usize].free_at()
    }

    /// Sends a payload whose turn it is on its sender's link; when it arrives.
    pub(super) fn payload(&mut self, now: u64, number: u32, payload: u64) -> u64 {
        let model = self.model;
        let bytes = payload * model.wire_ppm / 1_000_000;
        let lane = self.lanes[number as usize];
        let (from, to, delay) = (lane.from as usize, lane.to as usize, nanos(model.delay));
        if lane.is_local {
            return self.up[from].carry(payload, now);
        }
        let slow = self.slow_start(now, number, bytes);
        let left = self.up[from].carry(bytes, now);
        let mut held = 0;
        let mut through = left;
        let (near, far) = (self.rack(lane.from) as usize, self.rack(lane.to) as usize);
        let shared = if near == far { [None, None] } else { [Some((near, 0)), Some((far, 1))] };
        for (rack, way) in shared.into_iter().flatten() {
            let pipe = &mut self.racks[rack][way];
            through = through.max(pipe.carry(bytes, now));
            held = held.max(pipe.free.saturating_sub(pipe.takes(model.queue_bytes)));
        }
        let down = &mut self.down[to];
        through = through.max(down.carry(bytes, now + delay).saturating_sub(delay));
        held = held.max(down.free.saturating_sub(down.takes(model.queue_bytes)));
        let lane = &mut self.lanes[number as usize];
        if model.loss_ppm > 0 {
            lane.paced = lane.paced.max(now) + bytes * 1_000_000_000 / mathis(&model);
            through = through.max(lane.paced);
            held = held.max(lane.paced.saturating_sub(2 * delay));
        }
        lane.held_until = held;
        lane.sent_at = left;
        lane.last_payload = (through + delay + slow).max(lane.last_payload);
        lane.last_payload
    }

    /// What the round trips cost that a connection needs to find its rate (again).
    fn slow_start(&mut self, now: u64, number: u32, bytes: u64) -> u64 {
        let (model, lane) = (self.model, &mut self.lanes[number as usize]);
        if lane.window == 0 || now > lane.sent_at + nanos(model.idle) {
            lane.window = model.first_window;
        }
        let (mut rounds, mut sent) = (0, lane.window);
        while sent < bytes {
            lane.window *= 2;
            sent += lane.window;
            rounds += 1;
        }
        lane.window = (lane.window + bytes).min(16 << 20);
        rounds * 2 * nanos(model.delay)
    }

    /// Sends a message; when it arrives.
    pub(super) fn message(&mut self, now: u64, number: u32, bytes: u64) -> u64 {
        let model = self.model;
        let lane = self.lanes[number as usize];
        if lane.is_local {
            return now + LOCAL;
        }
        let (up, down) = (&mut self.up[lane.from as usize], &mut self.down[lane.to as usize]);
        let mut at = up.say(bytes, now, model.queue_bytes) + up.takes(bytes) + nanos(model.delay);
        at = down.say(bytes, at, model.queue_bytes);
        if model.loss_ppm > 0 && self.dice.chance(model.loss_ppm, 1_000_000) {
            at += nanos(model.retransmit);
        }
        let lane = &mut self.lanes[number as usize];
        lane.last_message = at.max(lane.last_message + 1);
        lane.last_message
    }
}

/// How long a message takes to another process of the same machine.
const LOCAL: u64 = 20_000;

/// What a connection carries when packets are lost: bytes in a second.
fn mathis(model: &Model) -> u64 {
    let rtt = (2.0 * model.delay.as_secs_f64()).max(100e-6);
    (1.22 * 1448.0 / (rtt * (model.loss_ppm as f64 / 1e6).sqrt())) as u64
}

pub(super) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Links of a megabyte in a second, without overhead or slow start.
    fn pipes(model: Model) -> Pipes {
        let mut pipes = Pipes::new(Model { wire_ppm: 1_000_000, first_window: 1 << 20, ..model }, Dice::new(1));
        (0..4).for_each(|_| pipes.plug(1_000_000, 1_000_000));
        pipes
    }

    #[test]
    fn links_in_a_row_carry_at_the_same_time() {
        let mut pipes = pipes(Model { delay: Duration::from_millis(1), ..Model::DATACENTER });
        let lane = pipes.connect(0, 1, false);
        assert_eq!(pipes.payload(0, lane, 10_000), 11_000_000);
        assert_eq!(pipes.up_free(0), 10_000_000);
    }

    #[test]
    fn messages_stand_behind_each_other_and_not_behind_all_payloads() {
        let mut pipes = pipes(Model { queue_bytes: 10_000, delay: Duration::ZERO, ..Model::DATACENTER });
        let (lane, other) = (pipes.connect(0, 1, false), pipes.connect(2, 3, false));
        let last = (0..100).map(|_| pipes.message(0, lane, 1000)).last();
        assert_eq!(last, Some(100_000_000));
        pipes.payload(0, other, 100_000);
        assert_eq!(pipes.message(0, other, 1000), 21_000_000, "two full queues and its own time");
    }

    #[test]
    fn a_slow_receiver_holds_back_its_own_connection_only() {
        let mut pipes = pipes(Model { queue_bytes: 10_000, ..Model::DATACENTER });
        pipes.plug(1_000_000, 100_000);
        let (slow, fast) = (pipes.connect(0, 4, false), pipes.connect(0, 1, false));
        pipes.payload(0, slow, 20_000);
        pipes.payload(20_000_000, fast, 20_000);
        assert!(pipes.lanes[slow as usize].held_until >= 100_000_000);
        assert!(pipes.lanes[fast as usize].held_until <= 40_000_000);
        assert_eq!(pipes.up_free(0), 40_000_000);
    }

    #[test]
    fn a_bucket_lets_a_burst_through_after_a_silence() {
        let mut pipe = Pipe::bucket(1_000_000, 10_000);
        assert_eq!(pipe.carry(15_000, 1_000_000_000), 1_005_000_000);
        assert_eq!(pipe.carry(10_000, 1_005_000_000), 1_015_000_000);
        assert_eq!(pipe.carry(10_000, 1_025_000_000), 1_025_000_000);
    }

    #[test]
    fn racks_share_a_link() {
        let mut pipes = pipes(Model::DATACENTER);
        pipes.share(2, 500_000, 4);
        let (across, within) = (pipes.connect(0, 2, false), pipes.connect(0, 1, false));
        let far = pipes.payload(0, across, 10_000);
        let near = pipes.payload(10_000_000, within, 10_000);
        assert!(far >= 20_000_000 && near < 21_000_000, "{far} {near}");
    }

    #[test]
    fn a_connection_that_was_silent_starts_slowly() {
        let mut pipes = pipes(Model::DATACENTER);
        pipes.model.first_window = 10_000;
        let lane = pipes.connect(0, 1, false);
        let first = pipes.payload(0, lane, 40_000);
        let next = pipes.payload(first, lane, 40_000) - first;
        let idle = pipes.payload(10_000_000_000, lane, 40_000) - 10_000_000_000;
        assert!(first > next && idle == first, "{first} {next} {idle}");
    }

    #[test]
    fn loss_makes_a_connection_slow_and_not_its_machine() {
        let mut pipes = pipes(Model { loss_ppm: 20_000, delay: Duration::from_millis(25), ..Model::DATACENTER });
        let (lossy, lane) = (pipes.connect(0, 1, false), pipes.connect(0, 2, false));
        let first = pipes.payload(0, lossy, 100_000);
        assert!(first > 400_000_000, "{first}");
        assert_eq!(pipes.up_free(0), 100_000_000);
        assert_eq!(pipes.lanes[lane as usize].held_until, 0);
    }
}
