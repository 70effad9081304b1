//! What a flock is made of, what it is given to spread, and what goes wrong.

use super::member::Manner;
use super::model::Model;
use content::cut::FINE_BELOW;
use std::time::Duration;

/// A flock and its day.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How many agents; one origin comes on top, with the publisher on its machine.
    pub agents: u32,
    /// What each link carries in a second towards its machine, in bytes.
    pub rate: u64,
    /// And away from it.
    pub rate_up: u64,
    /// What is published, in bytes.
    pub bytes: u64,
    /// The length of its pieces.
    pub piece_bytes: u64,
    /// What everything costs.
    pub model: Model,
    /// Racks: of so many machines, whose common uplink carries so many bytes in a second, either way.
    pub racks: Option<(u32, u64)>,
    /// How many agents stand in a rack, ten racks being a zone, as their labels say; without it they have none.
    pub places: Option<u32>,
    /// How many neighbours the tracker gives.
    pub neighbours: usize,
    /// Payload bytes that may be under way to one node.
    pub window_bytes: u64,
    /// Within what time the agents start.
    pub joining: Duration,
    /// Whether agents are enrolled when they start, with a token, as the first time.
    pub enrols: bool,
    /// How many releases of that length went out before the one that is measured, a minute apart.
    pub before: u32,
    /// What goes wrong.
    pub mishaps: Vec<Mishap>,
    /// When it is given up.
    pub limit: Duration,
}

impl Plan {
    /// So many agents on links of so many bits in a second, and so many bytes in pieces as they are cut: of 64 KiB in the mean,
    /// of 32 in short contents.
    pub fn new(agents: u32, bits: u64, bytes: u64) -> Self {
        Self {
            agents,
            rate: bits / 8,
            rate_up: bits / 8,
            bytes,
            piece_bytes: if bytes <= FINE_BELOW { 16 << 10 } else { 64 << 10 },
            model: Model::DATACENTER,
            racks: None,
            places: None,
            neighbours: 16,
            window_bytes: 8 << 20,
            joining: Duration::from_millis(500 + u64::from(agents)),
            enrols: false,
            before: 0,
            mishaps: Vec::new(),
            limit: Duration::from_secs(60) + Duration::from_secs(20 * 8 * bytes / bits),
        }
    }

    /// One unicast of the content at full rate, without any overhead: at that of the slower direction, since every machine has to
    /// send as much as it gets.
    pub fn unicast(&self) -> Duration {
        Duration::from_secs_f64(self.bytes as f64 / self.rate.min(self.rate_up) as f64)
    }

    /// The bound for equal links: a unicast, and what the pipeline takes to fill, in pieces of 64 KiB.
    pub fn bound(&self) -> Duration {
        let pieces = (self.bytes as f64 / 65_536.0).max(1.0);
        let depth = f64::from(self.agents + 1).log2().ceil();
        self.unicast().mul_f64(1.0 + (depth - 1.0) / pieces)
    }
}

/// Something that goes wrong, or is not as with the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mishap {
    /// So many agents have links so many times slower.
    Slow {
        /// How many.
        agents: u32,
        /// How much slower.
        times: u64,
    },
    /// So many agents are not honest.
    Bad {
        /// How many.
        agents: u32,
        /// In which way.
        manner: Manner,
    },
    /// So many agents die, so long after the publication.
    Die {
        /// How many.
        agents: u32,
        /// When.
        after: Duration,
        /// Whether their machines lose their power: then nobody is told.
        power: bool,
    },
    /// So many agents start only after the publication, within that time. They must arrive as well.
    Late {
        /// How many.
        agents: u32,
        /// Within what time.
        within: Duration,
    },
    /// Every agent's processor does something else now and then, while its links go on.
    Hiccups {
        /// How long there is none, on average.
        every: Duration,
        /// How long one lasts.
        lasts: Duration,
    },
    /// The origin dies at the first moment at which that may do no harm: when the last piece has come to some agent.
    OriginDies {
        /// Whether its machine loses its power: then nobody is told.
        power: bool,
    },
}
