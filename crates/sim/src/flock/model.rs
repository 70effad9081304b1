//! What the pretend machines and their network cost: every number of the model, in one place.
//!
//! **Links.** Each machine has one link up and one down. A payload goes through them, and through what racks share, as through
//! pipes in a row: each carries one thing at a time at full rate, in order, and the next begins while the one before is still
//! under way (cut-through), so a payload has come when the slowest of them is through. Bytes on a link are payload times
//! [`Model::wire_ppm`]. A sender fills its link from the socket buffers of all its connections; a connection whose way is
//! backed up by more than [`Model::queue_bytes`] waits, and holds up no other. A piece counts as sent when at most
//! [`Model::kernel_bytes`] of its connection have not left. Messages have connections of their own: they never wait in a
//! socket behind payloads, but behind what stands in the queue of a link (at most `queue_bytes`).
//!
//! **TCP.** After [`Model::idle`] a connection begins again with [`Model::first_window`], doubling each round trip. Loss caps a
//! connection's rate at 1.22 MSS / (RTT sqrt p) (Mathis et al., CCR 1997) and delays one message in 1/p by
//! [`Model::retransmit`].
//!
//! **Machines.** One processor decides, in order; payloads cost it less the more [`Model::cores`] there are. Writes go to the
//! disk one after the other; another thread takes the steps that change names or state, in order: what must be durable costs
//! [`Model::sync`] there, and holds up what comes after it.

use std::fmt;
use std::time::Duration;

/// The costs of a pretend world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// One way between two machines.
    pub delay: Duration,
    /// Bytes on a link for a million bytes of payload: TCP/IP and Ethernet (1,514 for 1,448) and TLS records.
    pub wire_ppm: u64,
    /// What may stand in the queue before a link.
    pub queue_bytes: u64,
    /// What a kernel takes of one connection before the sender has to wait.
    pub kernel_bytes: u64,
    /// After what silence a connection starts slowly again.
    pub idle: Duration,
    /// What it sends in the first round trip then.
    pub first_window: u64,
    /// Packets of a million that are lost.
    pub loss_ppm: u64,
    /// After what time a lost message is sent again.
    pub retransmit: Duration,
    /// Processor: deciding on one input.
    pub cpu_input: Duration,
    /// Processor: one payload byte that comes (TLS, copies, digest), in picoseconds.
    pub cpu_byte_in_ps: u64,
    /// Processor: one payload byte that goes (TLS, copies), in picoseconds.
    pub cpu_byte_out_ps: u64,
    /// Processors that share the work on payloads.
    pub cores: u64,
    /// Processor, at both sides: both handshakes of a new pair of connections.
    pub cpu_handshake: Duration,
    /// Disk: any job.
    pub job: Duration,
    /// Disk: one byte that is written or laid out, in picoseconds.
    pub disk_byte_ps: u64,
    /// Disk: making something durable.
    pub sync: Duration,
    /// Messages: bytes of the smallest, with its share of packet and record headers.
    pub message_bytes: u64,
}

impl Model {
    /// A datacenter: 0.2 ms apart, ordinary servers and disks.
    pub const DATACENTER: Self = Self {
        delay: Duration::from_micros(200),
        wire_ppm: 1_047_000,
        queue_bytes: 256 << 10,
        kernel_bytes: 48 << 10,
        idle: Duration::from_millis(200),
        first_window: 14_480,
        loss_ppm: 0,
        retransmit: Duration::from_millis(5),
        cpu_input: Duration::from_micros(5),
        cpu_byte_in_ps: 900,
        cpu_byte_out_ps: 400,
        cores: 4,
        cpu_handshake: Duration::from_millis(1),
        job: Duration::from_micros(50),
        disk_byte_ps: 500,
        sync: Duration::from_millis(4),
        message_bytes: 120,
    };

    /// The laboratory of shaped network namespaces on one machine: memory for disks, no distance, queues of 512 KiB.
    pub const LABORATORY: Self = Self {
        delay: Duration::from_micros(50),
        queue_bytes: 512 << 10,
        cpu_input: Duration::from_micros(30),
        cpu_byte_in_ps: 2_500,
        cpu_byte_out_ps: 1_500,
        cores: 1,
        cpu_handshake: Duration::from_millis(3),
        job: Duration::from_micros(200),
        sync: Duration::from_micros(500),
        ..Self::DATACENTER
    };
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "delay {:?}, wire {:.4}, queue {} KiB, kernel {} KiB, slow start of {} B after {:?}, loss {} ppm (again after {:?}), \
             cpu {:?} an input and {}/{} ps a byte in/out on {} cores and {:?} a handshake, \
             disk {:?} a job and {} ps a byte and {:?} a sync, messages of {} B",
            self.delay,
            self.wire_ppm as f64 / 1e6,
            self.queue_bytes >> 10,
            self.kernel_bytes >> 10,
            self.first_window,
            self.idle,
            self.loss_ppm,
            self.retransmit,
            self.cpu_input,
            self.cpu_byte_in_ps,
            self.cpu_byte_out_ps,
            self.cores,
            self.cpu_handshake,
            self.job,
            self.disk_byte_ps,
            self.sync,
            self.message_bytes
        )
    }
}
