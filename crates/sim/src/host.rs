//! One pretend machine: a disk, a link, and while it is up the real engine and the real store on them.
//!
//! It holds what a driver holds (payloads that wait for a write, jobs that wait for their turn) and nothing that decides.

use crate::disk::{Platter, SimDisk};
use content::fact::{JournalName, Noted, Position};
use content::{ContentId, Fact, Labels, NodeId, PieceNo, Role};
use engine::Engine;
use engine::door::{AppendId, BufferId, Job, JobId};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use store::{PieceSource, Pieces, Store};

use crate::disk::Cost;
use crate::net::{ConnId, Nr};
use crate::tree::Tree;

/// How many payloads a machine verifies and writes at once.
pub(crate) const WRITERS: usize = 4;

/// In which way a machine's owner is not honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evil {
    /// Flips a byte in every n-th piece it sends.
    Corrupts(u64),
    /// Sends every n-th piece shorter or longer than it is.
    WrongLength(u64),
    /// Says it has everything.
    Lies,
}

/// A machine, up or down.
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) labels: Labels,
    pub(crate) address: SocketAddr,
    pub(crate) platter: Platter,
    /// By what everything that its disk does takes longer.
    pub(crate) slowness: u64,
    pub(crate) evil: Option<Evil>,
    /// How often it was started: tells what belongs to an earlier life.
    pub(crate) starts: u64,
    /// How often it was made anew, with another identity.
    pub(crate) lives: u64,
    /// What a publisher brings, once it has read its tree.
    pub(crate) publishes: Option<Rc<Tree>>,
    /// A machine that shall not be started again.
    pub(crate) retired: bool,
    pub(crate) run: Option<Run>,
}

/// What a machine is while it is up.
pub(crate) struct Run {
    pub(crate) engine: Engine,
    pub(crate) store: Option<Store<SimDisk>>,
    pub(crate) pieces: Option<Pieces<SimDisk>>,
    pub(crate) source: Arc<dyn PieceSource>,
    pub(crate) buffers: BTreeMap<BufferId, Vec<u8>>,
    pub(crate) next_buffer: u64,
    pub(crate) work: VecDeque<Work>,
    pub(crate) working: bool,
    pub(crate) writes: VecDeque<Write>,
    pub(crate) writing: usize,
    pub(crate) bulk: VecDeque<Bulk>,
    pub(crate) sending: bool,
    pub(crate) tick: Option<u64>,
}

/// Something that the single thread of a store does.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Job(JobId, Job),
    Append { id: AppendId, journal: JournalName, expect: Position, facts: Vec<Fact>, noted: Noted },
    Checkpoint,
}

/// A payload that waits to be verified and written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) job: JobId,
    pub(crate) content: ContentId,
    pub(crate) piece: PieceNo,
    pub(crate) buffer: BufferId,
}

/// A piece that waits to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulk {
    pub(crate) to: Nr,
    pub(crate) conn: ConnId,
    pub(crate) peer: NodeId,
    pub(crate) content: ContentId,
    pub(crate) piece: PieceNo,
}

impl Run {
    pub(crate) fn new(
        engine: Engine,
        store: Option<Store<SimDisk>>,
        pieces: Option<Pieces<SimDisk>>,
        source: Arc<dyn PieceSource>,
    ) -> Self {
        Self {
            engine,
            store,
            pieces,
            source,
            buffers: BTreeMap::new(),
            next_buffer: 0,
            work: VecDeque::new(),
            working: false,
            writes: VecDeque::new(),
            writing: 0,
            bulk: VecDeque::new(),
            sending: false,
            tick: None,
        }
    }

    /// Keeps a payload until the engine says what to do with it.
    pub(crate) fn keep(&mut self, bytes: Vec<u8>) -> BufferId {
        self.next_buffer += 1;
        let buffer = BufferId(self.next_buffer);
        self.buffers.insert(buffer, bytes);
        buffer
    }

    /// Payload bytes that wait.
    pub(crate) fn buffered(&self) -> u64 {
        self.buffers.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Whether nothing waits (a job may just be done).
    pub(crate) fn is_idle(&self) -> bool {
        self.work.is_empty() && self.writes.is_empty() && self.writing == 0 && self.bulk.is_empty()
    }
}

impl Host {
    /// The address of the machine with this number.
    pub(crate) fn address(nr: Nr) -> SocketAddr {
        let nr = nr as u16;
        SocketAddr::new(IpAddr::from([10, 0, (nr >> 8) as u8, nr as u8 + 1]), 7400)
    }

    /// The number of the machine with this address.
    pub(crate) fn at(address: SocketAddr) -> Option<Nr> {
        match address.ip() {
            IpAddr::V4(ip) if ip.octets()[..2] == [10, 0] && ip.octets()[3] > 0 => {
                Some(Nr::from(ip.octets()[2]) << 8 | Nr::from(ip.octets()[3] - 1))
            }
            _ => None,
        }
    }

    /// How long the machine was busy with what its disk just did.
    ///
    /// A call takes 4 us, a byte 1 ns (1 GB/s: what a good disk and one core's hashing do together), a sync 400 us; all
    /// of it `slowness` times as long. The start of a job costs 20 us.
    pub(crate) fn took(&self) -> Duration {
        let Cost { calls, bytes, syncs } = self.platter.take_cost();
        let nanos = 20_000 + calls * 4_000 + bytes + syncs * 400_000;
        Duration::from_nanos(nanos.saturating_mul(self.slowness))
    }
}
