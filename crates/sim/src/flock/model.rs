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
//!
//! **One computer.** Where all machines share processors ([`Shared`]), an input, a payload that goes, a message, a job of a disk and
//! a publisher's start each wait until a processor is free as well, in the order in which they come; syncs wait for nobody. What
//! the scheduler does besides, and who is interrupted by whose packets, is not modelled.

use std::fmt;
use std::time::Duration;

/// The costs of a pretend world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// One way between two machines.
    pub delay: Duration,
    /// Bytes on a link for a million bytes of payload: TCP/IP and Ethernet (1,514 for 1,448) and TLS records.
    pub wire_ppm: u64,
    /// What goes through a link at once after a silence: the burst of a shaper.
    pub burst_bytes: u64,
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
    /// Messages: what is around each: the headers of its packet (Ethernet, IP, TCP) and of its TLS record.
    pub message_bytes: u64,
    /// When all machines are one computer.
    pub shared: Option<Shared>,
}

/// What hosts cost that are processes of one computer. It adds to what [`Model`] says, which they spend on the same processors:
/// deciding, payload bytes, and the disk's jobs as well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shared {
    /// Processors of all hosts together.
    pub cores: u32,
    /// Processor, at each end: a packet from socket to socket and its acknowledgement, with the threads that wake up for them. A
    /// segment of a payload is one, and so are all messages to one peer that wait for the processor together.
    pub cpu_packet: Duration,
    /// What goes as one segment.
    pub segment_bytes: u64,
    /// Processor: each step of the store that changes names or state, on top of what any job costs.
    pub cpu_step: Duration,
    /// Processor: what a publisher does between its command and its order besides reading: its start, keys, and two handshakes.
    pub cpu_start: Duration,
    /// Processor: reading, cutting and hashing a byte of what is published, in picoseconds.
    pub cpu_byte_read_ps: u64,
    /// What whoever measures adds for each byte that came: a digest that is taken after the run, in picoseconds.
    pub digest_byte_ps: u64,
}

impl Model {
    /// A datacenter: 0.2 ms apart, ordinary servers and disks.
    pub const DATACENTER: Self = Self {
        delay: Duration::from_micros(200),
        wire_ppm: 1_047_000,
        burst_bytes: 0,
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
        message_bytes: 88,
        shared: None,
    };

    /// Hosts as those of the laboratory, each with a processor of its own: memory for disks, no distance, queues of 512 KiB.
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

    /// The laboratory as it is: shaped network namespaces of one computer with two processors.
    ///
    /// Known beforehand: the shaper's burst, and bytes on a link, where each TLS record of 16 KiB is a segment (12 packets with their
    /// headers, and one acknowledgement the other way). From profiles of 5.1 to 5.7 CPU s/GiB without limits: what a byte costs in,
    /// out and on a memory file, a job and an input (wake-ups and system calls are half of what a piece costs).
    pub const ONE_COMPUTER: Self = Self {
        wire_ppm: 1_054_000,
        burst_bytes: 32 << 10,
        cpu_input: Duration::from_micros(15),
        cpu_byte_in_ps: 900,
        cpu_byte_out_ps: 700,
        job: Duration::from_micros(80),
        disk_byte_ps: 400,
        shared: Some(Shared::SHAPED),
        ..Self::LABORATORY
    };

    /// The same without limits on its links.
    pub const ONE_COMPUTER_UNLIMITED: Self =
        Self { burst_bytes: 0, shared: Some(Shared::UNLIMITED), ..Self::ONE_COMPUTER };
}

impl Shared {
    /// Through two shapers, with a wake-up for each segment. What a packet costs was fitted: 16 hosts at 50 Mbit/s spend 16 to 20 CPU
    /// s/GiB. A step is a ninth of what an agent spends on 1 KiB. The publisher's start is what the last receiver's time has more than
    /// the deploy's own report (13 to 45 ms), reading is `bench files`, the digest was measured.
    pub const SHAPED: Self = Self {
        cores: 2,
        cpu_packet: Duration::from_micros(75),
        segment_bytes: 16 << 10,
        cpu_step: Duration::from_micros(500),
        cpu_start: Duration::from_millis(30),
        cpu_byte_read_ps: 1_000,
        digest_byte_ps: 900,
    };

    /// Nothing in the way, and segments as long as the kernel makes them: 1,200 messages cost 40 ms of a processor.
    pub const UNLIMITED: Self = Self { cpu_packet: Duration::from_micros(20), segment_bytes: 64 << 10, ..Self::SHAPED };
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "delay {:?}, wire {:.4}, bursts of {} KiB, queue {} KiB, kernel {} KiB, slow start of {} B after {:?}, \
             loss {} ppm (again after {:?}), cpu {:?} an input and {}/{} ps a byte in/out on {} cores and {:?} a handshake, \
             disk {:?} a job and {} ps a byte and {:?} a sync, {} B around a message",
            self.delay,
            self.wire_ppm as f64 / 1e6,
            self.burst_bytes >> 10,
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
        )?;
        self.shared.map_or(Ok(()), |shared| write!(f, ", {shared}"))
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "all on {} shared cores with {:?} a packet at each end and segments of {} KiB, {:?} a step, \
             {:?} and {} ps a byte to publish, {} ps a byte to check",
            self.cores,
            self.cpu_packet,
            self.segment_bytes >> 10,
            self.cpu_step,
            self.cpu_start,
            self.cpu_byte_read_ps,
            self.digest_byte_ps
        )
    }
}
