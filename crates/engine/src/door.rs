//! The doors: everything that comes into an engine and everything that goes out, and nothing else.
//!
//! This is vocabulary only. It holds no payload bytes, no paths, no file formats and no sockets: pieces are numbers,
//! payloads are [`BufferId`]s that only the driver can resolve, and addresses are told, compared and passed on, never used.

use content::fact::{Entry, JournalName, Offer, Position};
use content::order::Restraint;
use content::{
    AppName, Bitmap, ContentId, ContentSpec, Digest, Fact, FleetId, KeyId, Label, Labels, NodeId, OrderId, PieceNo,
    Rate, ReleaseId, Role, Scope, Selector, Signed, TokenId, UnixTime,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A moment on the driver's monotonic clock: nanoseconds since some fixed start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// This moment and a duration.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A payload that the driver holds for the engine until a [`Job::Write`] or [`Output::Drop`] names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u64);

/// A job that was given to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A request of a client that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// An append that waits for its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// What an engine is and how it behaves. Everything is public knowledge; no secrets.
#[derive(Debug, Clone)]
pub struct Config {
    /// The fleet.
    pub fleet: FleetId,
    /// What this node's certificate says it is. [`Role::Operator`] is a publisher: it serves what it publishes.
    pub role: Role,
    /// Its name for people.
    pub name: String,
    /// What is said of it.
    pub labels: Labels,
    /// Its datacenter, which names its journal.
    pub datacenter: Label,
    /// Where it accepts peers; `None` for a publisher, which only dials. An unspecified address means "as you see me".
    pub listen: Option<SocketAddr>,
    /// The version of the software, for people.
    pub software: String,
    /// The origins it knows from joining; an agent dials them, an origin none.
    pub origins: Vec<SocketAddr>,
    /// How many neighbours the tracker gives a node (16).
    pub neighbours: usize,
    /// Payload bytes that may be under way to this node at once, from all senders (8 MiB).
    pub window_bytes: u64,
    /// How long a piece may take before it is asked for elsewhere, when no rate is known yet (1 s).
    pub patience: Duration,
    /// How long until a lost connection is dialled again at first; doubles up to 5 s, with jitter (50 ms).
    pub redial: Duration,
    /// At an origin: whether agents are told from whom each stripe comes and to whom to pass it on. It brings a
    /// broadcast near the bound; without it everyone asks everyone.
    pub given_order: bool,
    /// What this machine may send, and receive, at most, whatever operators say. `None` is without limit.
    pub limit: Option<Rate>,
    /// The oldest and the newest version of the protocol that it speaks: [`crate::wire::PROTOCOL`]. Tests of fleets of mixed versions say
    /// others.
    pub speaks: (u16, u16),
    /// Formats of patches that the store of this node applies, the newest last, which is also the one that it makes; empty: none.
    pub reads: Vec<u8>,
}

/// How many offers of patches one message holds at most: an origin makes few for each release.
pub const MAX_OFFERS: usize = 16;

/// How many releases on the way to another one message names at most.
pub const MAX_STEPS: usize = 4;

/// How many trust roots one message holds at most; more go in several.
pub const MAX_ROOTS: usize = 256;
/// How many revoked members one message names at most: those that were revoked last.
pub const MAX_REVOKED: usize = 1024;

/// How many peers a node remembers at most that it does not deal with.
pub const SHUNNED: usize = 64;

/// What the store and the journal remembered.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The newest trust root, already verified by whoever pinned it.
    pub root: Option<Signed>,
    /// The trust roots after the first, as far as they are remembered: each was verified when it was followed.
    pub roots: Vec<Signed>,
    /// What is known of each application.
    pub apps: Vec<AppRecord>,
    /// Contents that are here, whole or in part.
    pub held: Vec<Held>,
    /// Patches among them that make what is published of what an origin may have (publishers only).
    pub offers: Vec<Offer>,
    /// The journals' facts in order (origins only).
    pub facts: Vec<(JournalName, Position, Fact)>,
    /// When facts about rollouts were written, by the wall clock of the process that did, as far as anyone noted it (origins only).
    pub written: BTreeMap<(JournalName, Position), UnixTime>,
    /// What that clock shows now (origins only).
    pub clock: UnixTime,
    /// The peers that are not to be dealt with, as the last [`Job::Shun`] named them.
    pub shunned: Vec<NodeId>,
}

/// What a node durably remembers of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRecord {
    /// The application.
    pub app: AppName,
    /// The newest order that was accepted; its epoch is the floor.
    pub order: Option<Signed>,
    /// The releases that are laid out here.
    pub laid_out: Vec<Signed>,
    /// Where the path points.
    pub live: Option<ReleaseId>,
    /// The last release that was confirmed healthy.
    pub confirmed: Option<ReleaseId>,
    /// A switch that was begun and not finished, decided again at start.
    pub intent: Option<ReleaseId>,
    /// How often that switch was begun: the first time, and after each restart before it was confirmed.
    pub begun: u32,
    /// The order that was given up here, and why.
    pub given_up: Option<(OrderId, String)>,
}

/// A content that is here, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub content: ContentSpec,
    /// The pieces that are verified and readable.
    pub have: Bitmap,
    /// Whether it is complete, which means durable.
    pub complete: bool,
}

/// Something comes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// It is now later: a deadline may have passed. Every input carries the time; this one nothing else.
    Tick,
    /// Both connections to a peer are up, and TLS says who it is. A later `PeerUp` of the same peer replaces the first.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// What its certificate lets it be.
        role: Role,
        /// From where it is seen.
        seen: IpAddr,
        /// The address that was dialled; `None` when it dialled us.
        dialled: Option<SocketAddr>,
    },
    /// The connections to a peer are gone; all that was under way with them is lost.
    PeerDown {
        /// Who.
        peer: NodeId,
        /// Why.
        why: DownReason,
    },
    /// An address that was asked for with [`Output::Connect`] could not be reached.
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// Why, in words.
        why: String,
    },
    /// A control message.
    Message {
        /// From whom.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// The payload of a piece has come whole, and is not verified yet.
    Piece {
        /// From whom.
        from: NodeId,
        /// Of which content.
        content: ContentId,
        /// Which piece.
        piece: PieceNo,
        /// Where the driver keeps it.
        buffer: BufferId,
        /// Its length in bytes.
        len: u32,
    },
    /// A piece that [`Output::SendPiece`] asked for has left to the kernel.
    Sent {
        /// To whom.
        to: NodeId,
        /// Of which content.
        content: ContentId,
        /// Which piece.
        piece: PieceNo,
        /// Its length in bytes; 0 when it could not be read or the peer is gone.
        bytes: u32,
        /// How long it took from the moment it was first in line.
        took: Duration,
    },
    /// A piece that we believed to have cannot be read, or is not what it was: it is quarantined.
    Lost {
        /// Of which content.
        content: ContentId,
        /// Which piece.
        piece: PieceNo,
    },
    /// The host has looked whether it can work: what is in the way of everything it is asked for, or that nothing is (any more).
    Degraded {
        /// In words.
        why: Option<String>,
    },
    /// A job is done.
    Done {
        /// Which.
        job: JobId,
        /// How it went.
        result: Result<JobDone, JobError>,
    },
    /// A client asks.
    Request {
        /// Which client, for the answer.
        client: ClientId,
        /// Whose certificate asks; `None` is this program itself.
        by: Option<NodeId>,
        /// What it asks.
        request: Request,
    },
    /// An append has an outcome.
    Appended {
        /// Which.
        append: AppendId,
        /// The position after it, durable; or what stood in the way.
        outcome: Result<Position, AppendError>,
    },
}

/// Why connections ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// The other side closed in order. This is no fault.
    Closed,
    /// It broke: reset, timeout, or the peer's bytes made no sense. In words.
    Broken(String),
    /// We closed it, as [`Output::Close`] asked.
    Asked,
}

/// Something goes out.
#[derive(Debug, Clone)]
pub enum Output {
    /// Dial this address; the answer is `PeerUp` or `Unreachable`. When `expect` is set another identity is refused.
    Connect {
        /// Where.
        address: SocketAddr,
        /// Who must answer.
        expect: Option<NodeId>,
    },
    /// Close the connections to a peer.
    Close {
        /// Who.
        peer: NodeId,
        /// Why.
        why: CloseReason,
    },
    /// Send a control message.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Read a piece and send it on the bulk connection, after those asked for before; answered by `Sent`.
    SendPiece {
        /// To whom.
        to: NodeId,
        /// Of which content.
        content: ContentId,
        /// Which piece.
        piece: PieceNo,
    },
    /// Forget a payload that nobody wants.
    Drop {
        /// Which.
        buffer: BufferId,
    },
    /// Do a job; answered by `Done`.
    Job {
        /// Its number.
        id: JobId,
        /// What to do.
        job: Job,
    },
    /// Answer a client.
    Answer {
        /// Which.
        client: ClientId,
        /// With what.
        answer: Answer,
    },
    /// Append facts to a journal if nothing came in between; answered by `Appended`.
    Append {
        /// Its number.
        id: AppendId,
        /// Which journal.
        journal: JournalName,
        /// The position that must still be the journal's.
        expect: Position,
        /// What to append, all or nothing.
        facts: Vec<Fact>,
        /// Whose request it follows, if anyone's: it is noted beside the facts who that is.
        client: Option<ClientId>,
    },
    /// From now on pieces are sent and received at most so fast; messages are not held up.
    Limit(Allowed),
    /// Something that people or metrics want to know.
    Event(Event),
}

/// How fast a node may move pieces: `None` is without limit, a rate of zero is not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// All that it sends, to whomever.
    pub sending: Option<Rate>,
    /// All that it receives.
    pub receiving: Option<Rate>,
}

/// Why we close a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// It is of another fleet.
    OtherFleet,
    /// It speaks no version of the protocol that we speak: theirs is in the words.
    OtherProtocol {
        /// The versions the peer speaks.
        theirs: (u16, u16),
    },
    /// It was revoked.
    Revoked,
    /// It misbehaved.
    Misbehaved(Misbehaviour),
    /// Nothing came from it for long, although it was asked whether it is there.
    Silent,
    /// Nothing is left to do with it.
    NotNeeded,
}

/// What a peer did that no honest peer does. A name each, so that a test can ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misbehaviour {
    /// It sent a piece whose digest is wrong.
    CorruptPiece,
    /// It sent a piece of the wrong length.
    WrongLength,
    /// It sent a piece that nobody asked it for, again and again.
    UnaskedPieces,
    /// It named a piece number at or above the content's total.
    NoSuchPiece,
    /// It claimed pieces that it then could not send, again and again.
    FalseHaves,
    /// It sent something that its role may not send.
    NotItsRole,
    /// It sent a document whose signature does not hold, or as an origin a trust root that does not follow.
    BadSignature,
    /// It sent more messages than any honest peer, or asked for more at once than any does.
    Flood,
}

/// A job for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Make room for a content and say what of it is here. Answered by [`JobDone::Opened`].
    Open {
        /// Which.
        content: ContentSpec,
    },
    /// Verify a payload and write it into staging. Answered by [`JobDone::Written`], or [`JobError::Corrupt`].
    Write {
        /// Of which content.
        content: ContentId,
        /// Which piece. A page is only given when its parent page is there, a data piece only after `Index`.
        piece: PieceNo,
        /// The payload; the driver forgets it afterwards (it may keep it cached for sending).
        buffer: BufferId,
    },
    /// All pages are here: read them as a manifest, hold it against the content's declaration, and take over pieces that
    /// other contents hold. Answered by [`JobDone::Indexed`].
    Index {
        /// Of which content.
        content: ContentId,
    },
    /// Make a patch from a complete content to another one, with low priority, and keep it as a content of plain bytes. Answered by
    /// [`JobDone::Diffed`].
    Diff {
        /// What nodes have.
        base: ContentId,
        /// What they are to have.
        target: ContentId,
        /// How much work it is worth.
        effort: Effort,
        /// A patch that is not shorter than this is of no use, in bytes.
        below: u64,
    },
    /// Make what a content lacks from a complete base and a complete patch: pages and pieces, each verified like any that comes. The target was
    /// opened. Answered by [`JobDone::Patched`].
    Patch {
        /// What the patch was made from.
        base: ContentId,
        /// What to make.
        target: ContentId,
        /// The patch, a content of plain bytes.
        patch: ContentId,
    },
    /// All pieces are here: make the content durable. Answered by [`JobDone::Completed`].
    Complete {
        /// Which.
        content: ContentId,
    },
    /// Lay a release out beside its path, durably, not live; remembers the signed release. Answered by `Assembled`.
    Assemble {
        /// The signed release; its contents are complete.
        release: Signed,
    },
    /// Remember an order, durably, before anything follows from it. Answered by [`JobDone::Accepted`].
    Accept {
        /// The signed order.
        order: Signed,
    },
    /// Swing the path to a laid-out release: durable intent, rename, sync. Answered by [`JobDone::Switched`].
    Switch {
        /// The application.
        app: AppName,
        /// To which release.
        release: ReleaseId,
    },
    /// Put back the directory whose place a live release took: nothing of the application is live then. Answered by
    /// [`JobDone::Restored`], or [`JobError::Refused`] where it took no directory's place.
    Restore {
        /// The application.
        app: AppName,
        /// The release that is to go.
        release: ReleaseId,
    },
    /// Run a command of a release. Answered by [`JobDone::Ran`], or [`JobError::Refused`] with what it said last.
    Hook {
        /// The signed release, whose command it is.
        release: Signed,
        /// Which command.
        moment: Moment,
        /// The release that was live before, or that is left.
        other: Option<ReleaseId>,
    },
    /// Make one round of a release's probes. Answered by [`JobDone::Ran`], or [`JobError::Refused`] with what did not go well.
    Probe {
        /// The signed release.
        release: Signed,
    },
    /// Remember that an order has failed here, durably: whatever happens, its release is not tried again. Answered by
    /// [`JobDone::GivenUp`].
    GiveUp {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
        /// Why, for people.
        why: String,
    },
    /// Remember that the live release is healthy, durably, and end the intent. Answered by [`JobDone::Confirmed`].
    Confirm {
        /// The application.
        app: AppName,
        /// Which release.
        release: ReleaseId,
    },
    /// Read what is live again and hold it against its manifest. Answered by [`JobDone::Verified`].
    Verify {
        /// The application.
        app: AppName,
    },
    /// The same, and what differs of it is laid out anew, in the place of what stands there. Answered by [`JobDone::Verified`]: what
    /// still differs, or else, when nothing does, what did before.
    Repair {
        /// The application.
        app: AppName,
    },
    /// Forget every content and laid-out release that is not among these. Answered by [`JobDone::Collected`].
    Collect {
        /// Contents to keep.
        contents: Vec<ContentId>,
        /// Releases to keep laid out.
        releases: Vec<ReleaseId>,
    },
    /// Remember, durably, that these peers are not to be dealt with, and no others. Answered by [`JobDone::Shunned`].
    Shun {
        /// Who, the oldest verdict first; [`SHUNNED`] of them at most.
        peers: Vec<NodeId>,
    },
    /// Remember the newest trust root, durably, and forget none of those before. Answered by [`JobDone::Rooted`].
    Root {
        /// The signed root, which was verified.
        root: Signed,
    },
    /// Read facts of a journal as they stand there. Answered by [`JobDone::Journal`].
    Journal {
        /// Which.
        journal: JournalName,
        /// From where on.
        from: Position,
        /// How many at most.
        most: u32,
    },
}

/// How much work a patch is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// Megabytes a second: for links that are not much slower.
    Fast,
    /// As small as can be.
    Best,
}

/// Whether whoever deploys wants patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Wish {
    /// Where they bring the bytes to where they go sooner, by an estimate.
    #[default]
    Auto,
    /// Yes, and with so much work.
    Patches(Effort),
    /// No.
    Whole,
}

/// When a command of a release runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the path is swung to the release.
    Before,
    /// After it was swung to it.
    After,
    /// After it was swung back from it.
    Back,
}

/// How a job went when it went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobDone {
    /// What was here already.
    Opened {
        /// The pieces that are verified and readable.
        have: Bitmap,
        /// Whether the pages are all here and were read as a manifest already (or the content names no pieces).
        indexed: bool,
        /// Whether it is complete and durable already.
        complete: bool,
    },
    /// The piece is verified and readable.
    Written,
    /// The manifest is what was declared; these pieces are here now (pages included).
    Indexed {
        /// The pieces that are verified and readable.
        have: Bitmap,
    },
    /// The patch is here, complete and durable, unless there is none that is short enough.
    Diffed {
        /// The patch's content.
        patch: Option<ContentSpec>,
    },
    /// The target is indexed; these of its pieces are here now (pages included): all of them, if base and patch are what they should be.
    Patched {
        /// The pieces that are verified and readable.
        have: Bitmap,
    },
    /// The content is durable.
    Completed,
    /// The release is laid out, durably.
    Assembled,
    /// The order is remembered, durably.
    Accepted,
    /// The path points to the release, durably.
    Switched {
        /// Where it pointed before.
        previous: Option<ReleaseId>,
    },
    /// What stood at the path before any release stands there again, durably.
    Restored,
    /// A command ended well, or a round of probes did.
    Ran,
    /// The failure is remembered, durably.
    GivenUp,
    /// The confirmation is remembered, durably.
    Confirmed,
    /// What is live was read again.
    Verified {
        /// How many entries were compared.
        entries: u32,
        /// How many bytes were hashed.
        bytes: u64,
        /// How many entries differ.
        differing: u32,
        /// The first few of them, escaped for people, each with what differs.
        first: Vec<String>,
    },
    /// What was not needed is gone.
    Collected {
        /// Bytes that were freed.
        freed: u64,
    },
    /// Those peers are remembered, durably.
    Shunned,
    /// The root is remembered, durably.
    Rooted,
    /// Facts of a journal.
    Journal {
        /// In their order.
        entries: Vec<Entry>,
        /// Where the journal stands: the position of the next fact that it will hold.
        stands: Position,
    },
}

/// How a job failed, by what the engine can do about it. The words are for people: what, why and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// The payload is not the piece: its sender is convicted.
    Corrupt,
    /// The disk (or its inodes, or a quota) is full: wait for room and try again.
    NoSpace {
        /// In words, with what is needed and what is free.
        why: String,
    },
    /// Nothing can be done here for now, and somebody else has to mend it (the disk is read-only, too many files are open): wait
    /// and try again.
    Stuck {
        /// In words, with what is in the way.
        why: String,
    },
    /// Something that was believed to be here is not, or was damaged: these pieces must be fetched again.
    Missing {
        /// The content.
        content: ContentId,
        /// Its pieces.
        pieces: Vec<PieceNo>,
    },
    /// It must not be done (the target is not ours, the content is not what was declared): never try again.
    Refused {
        /// In words, with the next command.
        why: String,
    },
    /// The disk failed, this time.
    Disk {
        /// In words.
        why: String,
    },
}

impl JobError {
    /// What people are told; nothing of what repairs itself.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::NoSpace { why } | Self::Stuck { why } | Self::Refused { why } | Self::Disk { why } => Some(why),
            Self::Corrupt | Self::Missing { .. } => None,
        }
    }
}

/// Why an append was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendError {
    /// Something else was appended first: the journal stands here.
    Conflict(Position),
    /// The journal cannot be written now; in words.
    Unavailable(String),
}

/// A release that lies between what an agent has and what it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The release: only what an operator signed is made.
    pub release: Signed,
    /// The patch that makes its content.
    pub patch: Offer,
}

/// A control message between peers. No variant has a field for a path, a URL or a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message on every connection, both ways.
    Hello(Box<Hello>),
    /// Origin to agent: the fleet's trust roots, each following the one before; said before anything that is signed under them.
    /// Protocol 5. Agent to origin, since protocol 6: those that its origin lacks, as it has just said.
    Roots {
        /// The signed roots, at most [`MAX_ROOTS`] in one message.
        roots: Vec<Signed>,
    },
    /// Agent to origin, before all else: the trust root that it follows, so that it is told those after it and no others. Origin to agent,
    /// in answer: it follows an older one, and asks for what came after. Protocol 6.
    Follows {
        /// The root's version.
        root: u64,
    },
    /// Agent to origin, before all else: the formats of patches that it applies. Protocol 7.
    Reads {
        /// By number.
        formats: BTreeSet<u8>,
    },
    /// Origin to agent: the patches that make a content. Replaces what it said before of that content; protocol 7. Publisher to origin, before the
    /// release is submitted: the patches of it that it brings; protocol 9.
    Offers {
        /// What they make.
        target: ContentId,
        /// At most [`MAX_OFFERS`].
        offers: Vec<Offer>,
        /// Whether one more is being made, from what this agent runs: it is worth waiting for, and the origin says how it ends.
        is_awaited: bool,
    },
    /// Origin to agent, before the offers of the same content: releases that bases of those offers are, each with a patch that makes it, so
    /// that two patches in a row make the content. Replaces what it said before of that content; protocol 8.
    Steps {
        /// What comes of both patches.
        target: ContentId,
        /// At most [`MAX_STEPS`].
        steps: Vec<Step>,
    },
    /// Publisher to origin, before it submits them: whether a release and its order are worth patches. Protocol 7.
    Wishes {
        /// The order.
        order: OrderId,
        /// Whether.
        wish: Wish,
    },
    /// Origin to agent: these are let in no more, whatever their certificates say. Adds to what it said before; protocol 6.
    Revoked {
        /// Who, at most [`MAX_REVOKED`] in one message.
        nodes: Vec<NodeId>,
    },
    /// Origin to agent: meet these.
    Introduce {
        /// Who and where.
        peers: Vec<Introduction>,
    },
    /// Origin to agent: from whom each stripe of every content comes, and to whom to pass it on, unasked. Replaces what it
    /// said before.
    Relay {
        /// One for each stripe.
        stripes: [Stripe; STRIPES],
    },
    /// Agent to origin: a stripe does not come from whom it should, although others have it.
    Lags {
        /// Of which content.
        content: ContentId,
        /// Which stripe.
        stripe: u8,
    },
    /// Origin to agent: stage this release; orders for it may follow. Publisher to origin: see `Submit`.
    Announce {
        /// The signed release.
        release: Signed,
    },
    /// Origin to agent, and agent to agent: what is being brought to the fleet, in its operators' words, which whoever hears them
    /// checks itself. It is fetched and passed on; what it may do says only a `Command`. Protocol 4.
    Pass {
        /// The signed release.
        release: Signed,
        /// The signed order that will name it, if it comes to that.
        order: Signed,
    },
    /// Origin to agent: an order, and what it may do now.
    Command {
        /// The signed order.
        order: Signed,
        /// What the conductor allows.
        gate: Gate,
    },
    /// Origin to agent: how far the fleet journal is and what time it is, from which an agent knows that it is stale.
    Head {
        /// The fleet journal's position.
        position: Position,
        /// The origin's time.
        time: UnixTime,
    },
    /// Origin to agent: read what is live again.
    Verify {
        /// Returned with the report.
        request: u64,
        /// The application.
        app: AppName,
    },
    /// Origin to agent: read what is live again, and lay out anew what differs. Protocol 6.
    Repair {
        /// Returned with the report.
        request: u64,
        /// The application.
        app: AppName,
    },
    /// Agent to origin: what a `Verify` found, or a `Repair` left.
    Verified {
        /// As asked.
        request: u64,
        /// What was found, or why not.
        outcome: Result<VerifyReport, String>,
    },
    /// Agent to origin: where it stands; coalesced, at most one per 100 ms and application, plus one at each change of phase.
    Status(Box<AppStatus>),
    /// Origin to agent: how fast it may move pieces. Replaces what it said before; protocol 2.
    Limit(Allotment),
    /// Origin to agent: collect news for an origin for so long, as there are many who have some. Replaces what it said before;
    /// protocol 3.
    Pace {
        /// How long; nothing for those of whom it wants to hear at once.
        news: Duration,
    },
    /// Agent to origin: whether it has pieces to send, for which it needs a share of the fleet's total; protocol 2.
    Sends {
        /// Whether it has; a share is held until it has not.
        is_active: bool,
        /// The limit that its machine has of its own, for people.
        own: Option<Rate>,
    },
    /// Publisher to origin: take this release and order; the publisher holds the content.
    Submit {
        /// The signed release.
        release: Signed,
        /// The signed order.
        order: Signed,
    },
    /// Origin to publisher: how the submission went.
    Verdict {
        /// Which order it is about: the same one twice is one submission.
        order: OrderId,
        /// How it went.
        outcome: Result<Submitted, Refusal>,
    },
    /// Swarm: what I hold of a content that we both want or have. Sent once when both are interested.
    Holding {
        /// Which content.
        content: ContentId,
        /// The pieces; `None` is all of them.
        have: Option<Bitmap>,
        /// Whether I want pieces that I lack.
        wants: bool,
    },
    /// Swarm: I hold these too, now.
    Have {
        /// Of which content.
        content: ContentId,
        /// Which.
        pieces: Vec<PieceNo>,
    },
    /// Swarm: send me these, in this order.
    Want {
        /// Of which content.
        content: ContentId,
        /// Which.
        pieces: Vec<PieceNo>,
    },
    /// Swarm: do not send me this any more.
    Cancel {
        /// Of which content.
        content: ContentId,
        /// Which.
        piece: PieceNo,
    },
    /// Swarm: I cannot send this.
    Cannot {
        /// Of which content.
        content: ContentId,
        /// Which.
        piece: PieceNo,
    },
    /// Swarm: I am no longer here for this content.
    Leave {
        /// Which content.
        content: ContentId,
    },
    /// Are you there? Sent when a connection was silent for some seconds.
    Ping,
    /// I am.
    Pong,
}

/// What an origin lets a node do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allotment {
    /// The lowest limit that applies to the node by itself, for each direction.
    pub cap: Option<Rate>,
    /// Its share of what all may send together, if that is limited.
    pub share: Option<Share>,
}

/// A node's share of what all may send together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// What it may send now; zero until it has said that it has something to send.
    pub now: Rate,
    /// What it may send while no origin can be asked.
    pub alone: Rate,
}

/// The first message on every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest and the newest version of the protocol that the sender speaks.
    pub versions: (u16, u16),
    /// The fleet.
    pub fleet: FleetId,
    /// The software's version, for people.
    pub software: String,
    /// The sender's name, for people.
    pub name: String,
    /// What is said of it.
    pub labels: Labels,
    /// Where it accepts peers. An unspecified address means "as you see me".
    pub listen: Option<SocketAddr>,
    /// The highest epoch it has accepted of each application.
    pub floors: Vec<(AppName, u64)>,
}

/// The pieces of every content are dealt out to so many stripes, by their number; each has a given order of its own.
pub const STRIPES: usize = 2;

/// A node's part in the given order of a stripe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stripe {
    /// From whom it comes; `None` is the origin. From the node itself: from nobody, it is to be asked for.
    pub from: Option<NodeId>,
    /// To whom it is passed on.
    pub to: Vec<NodeId>,
}

/// A peer and where to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduction {
    /// Who.
    pub node: NodeId,
    /// Where.
    pub address: SocketAddr,
}

/// What the conductor allows a node to do with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Stage, and wait.
    Hold,
    /// Switch as soon as it is staged.
    Open,
    /// Go back to the order's fallback.
    FallBack,
}

/// How far a node is with the newest release of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It knows of it.
    Told,
    /// Pieces are coming.
    Fetching,
    /// Every piece is here, durably.
    Complete,
    /// It is laid out and waits for its wave.
    Staged,
    /// The path points to it.
    Live,
    /// It was healthy for its window.
    Confirmed,
    /// It cannot go on; `trouble` says why.
    Failed,
    /// The node runs the order's fallback again.
    FellBack,
}

/// Where a node stands with an application. Soft: never journaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStatus {
    /// The application.
    pub app: AppName,
    /// The release it works on, or runs.
    pub release: ReleaseId,
    /// The order it has accepted last.
    pub order: Option<OrderId>,
    /// How far it is.
    pub phase: Phase,
    /// Pieces that are here.
    pub have: u32,
    /// Pieces in all.
    pub total: u32,
    /// Payload bytes that came from an origin for this release.
    pub from_origin: u64,
    /// Payload bytes that came from peers.
    pub from_peers: u64,
    /// Bytes that were here already.
    pub had: u64,
    /// When what happened.
    pub timeline: Timeline,
    /// The release its path points to.
    pub live: Option<ReleaseId>,
    /// The release it confirmed last.
    pub confirmed: Option<ReleaseId>,
    /// What is in the way, in words.
    pub trouble: Option<String>,
}

/// When a node got how far, as durations since it was told of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeline {
    /// The first payload byte of a data piece or page.
    pub first_byte: Option<Duration>,
    /// Every piece, verified.
    pub last_byte: Option<Duration>,
    /// Every piece, durable.
    pub complete: Option<Duration>,
    /// Laid out.
    pub staged: Option<Duration>,
    /// Switched.
    pub live: Option<Duration>,
    /// Confirmed.
    pub confirmed: Option<Duration>,
}

/// What reading the live tree again found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// The release that is live.
    pub release: ReleaseId,
    /// How many entries were compared.
    pub entries: u32,
    /// How many bytes were hashed.
    pub bytes: u64,
    /// How many entries differ.
    pub differing: u32,
    /// The first few of them, for people.
    pub first: Vec<String>,
}

/// How far a submission is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Submitted {
    /// Taken: the origin fetches the content and agents stage it; nothing is promised yet.
    Spreading,
    /// The release is durable at the origin and the order stands in the journal: the publisher may go.
    Ordered,
}

/// Why a request is refused, by what the asker can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another order came first, or a deploy of this application is under way.
    Conflict {
        /// The newest epoch; the next order needs a higher one.
        epoch: u64,
        /// Whose it is: an operator's name.
        by: String,
        /// What is going on, in words.
        what: String,
    },
    /// A signature does not hold, or the document is for another fleet.
    NotBelieved(String),
    /// The thing asked for is not known here.
    Unknown(String),
    /// The request makes no sense; in words.
    Invalid(String),
    /// The asker's role may not ask this, or this node's role cannot answer it.
    NotAllowed(String),
    /// It failed here for now; in words.
    Failed(String),
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Publisher's own engine: bring this to the origin. Answered when it is ordered, or refused.
    Deploy {
        /// The signed release, whose contents are held here.
        release: Signed,
        /// The signed order.
        order: Signed,
        /// Whether it is worth patches: an origin's choice, so nobody signs it.
        wish: Wish,
    },
    /// Origin: take an order for a release that was published before (a rollback, a repeat).
    Order {
        /// The signed order.
        order: Signed,
    },
    /// Origin: do something with a rollout that is under way.
    Direct {
        /// The signed directive.
        directive: Signed,
    },
    /// Where everything stands.
    Status,
    /// Origin: what stands in a journal, as it stands there.
    Journal {
        /// Which.
        journal: JournalName,
        /// From where on.
        from: Position,
        /// How many facts at most; it may be fewer.
        most: u32,
    },
    /// Origin: a signed release that was published here.
    Release {
        /// Which.
        release: ReleaseId,
    },
    /// Origin: have every selected node read what is live again.
    Verify {
        /// The application.
        app: AppName,
    },
    /// Origin: have every selected node read what is live again, and lay out anew what differs.
    Repair {
        /// The application.
        app: AppName,
    },
    /// Origin: remember a new join token.
    IssueToken {
        /// Its public half.
        token: TokenId,
        /// The keyed hash of its secret half.
        secret: Digest,
        /// How many nodes may join with it.
        uses: u32,
        /// Until when.
        expires: UnixTime,
        /// What those nodes become.
        role: Role,
        /// What is said of them.
        labels: Labels,
    },
    /// Origin: take a join token back.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// Origin: this agent is gone for good; whoever has its key is not let in any more.
    Forget {
        /// Which.
        node: NodeId,
    },
    /// Origin: follow this trust root from now on, which follows the newest one.
    Root {
        /// The signed root.
        root: Signed,
    },
    /// Origin: these are documents that are known, with more signatures; nothing that runs changes.
    Countersign {
        /// Signed releases, and newest orders.
        documents: Vec<Signed>,
    },
    /// Origin: let this node in as an operator of that name. What it may do says the trust root: nothing but read, as long as that does
    /// not name it. The driver makes the certificate.
    EnrolOperator {
        /// Its key's id.
        node: NodeId,
        /// The operator's name.
        name: String,
    },
    /// Origin: whoever has a certificate of this operator, whom the newest root names no more, is not let in any more.
    Dismiss {
        /// The operator's name.
        name: String,
    },
    /// Origin: was this node let in as this, and not revoked since? Answered by [`Answer::Noted`].
    Vouch {
        /// Which.
        node: NodeId,
        /// As what.
        role: Role,
    },
    /// Origin: from now on nodes move pieces at most so fast.
    Limit {
        /// Whom it bounds.
        scope: Scope,
        /// How fast; `None` takes the limit back.
        rate: Option<Rate>,
    },
    /// Origin: may this node join? The driver has the secret's keyed hash from the joiner and makes the certificate.
    Enrol {
        /// The token's public half.
        token: TokenId,
        /// The keyed hash of the secret that the joiner showed.
        secret: Digest,
        /// The joiner.
        node: NodeId,
        /// The name it would like.
        name: String,
        /// The wall clock.
        now: UnixTime,
    },
}

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Deploy` and `Order`: the order stands in the journal.
    Ordered {
        /// The order.
        order: OrderId,
        /// Its epoch.
        epoch: u64,
    },
    /// To `Status`.
    Status(Box<FleetStatus>),
    /// To `Journal`.
    Journal {
        /// In their order.
        entries: Vec<Entry>,
        /// Where the journal stands.
        stands: Position,
    },
    /// To `Release`: as it was signed.
    Release(Signed),
    /// To `Verify`: what every node found.
    Verified {
        /// By node: its name, and what it found or why not.
        nodes: Vec<(NodeId, String, Result<VerifyReport, String>)>,
    },
    /// To `Vouch`: so it is. To `Direct`, `IssueToken`, `RevokeToken`, `Forget`, `Limit`, `Root`, `Countersign`, `Dismiss`: it stands in the journal.
    Noted,
    /// To `Enrol` and `EnrolOperator`: it stands in the journal; make the certificate.
    Enrolled {
        /// As what.
        role: Role,
        /// The name it was given.
        name: String,
        /// What is said of it.
        labels: Labels,
    },
    /// Refused.
    Refused(Refusal),
}

/// Where a fleet stands, as its origin knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FleetStatus {
    /// The applications.
    pub apps: Vec<RolloutStatus>,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
    /// The fleet journal's position.
    pub position: Option<Position>,
    /// How fast pieces may move.
    pub limits: LimitStatus,
    /// Applications of which agents have accepted newer orders than stand in the origin's journal: its state was lost, or is an old copy.
    pub ahead: Vec<Ahead>,
}

/// Orders that agents have accepted and the origin does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Of which application.
    pub app: AppName,
    /// The highest epoch that any of them has accepted, as far as it may come next: a new order needs a higher one.
    pub epoch: u64,
    /// How many agents say so.
    pub agents: u32,
}

/// How fast pieces may move in a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitStatus {
    /// What operators said.
    pub set: Vec<(Scope, Rate)>,
    /// What holds for the origin that answers, of its own and by what operators said.
    pub origin: Option<Rate>,
    /// What each of those that send now may send, if the total is limited.
    pub share: Option<Rate>,
    /// How many send now, as far as that matters: only a total makes nodes say so.
    pub senders: u32,
}

/// Where an application stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutStatus {
    /// The application.
    pub app: AppName,
    /// The newest order.
    pub order: Option<OrderId>,
    /// Its epoch.
    pub epoch: u64,
    /// The release that it wants, or that is being spread.
    pub release: ReleaseId,
    /// What people call that release.
    pub version: String,
    /// Who gave the order.
    pub by: String,
    /// Why, in their words.
    pub message: String,
    /// How the rollout goes.
    pub state: RolloutState,
    /// Pieces of the content that the origin itself has, and in all.
    pub origin_have: (u32, u32),
    /// The length of the content (pieces and manifest) in bytes.
    pub content_bytes: u64,
    /// Payload bytes the origin has sent of it.
    pub origin_sent: u64,
    /// Which agents the newest order selects.
    pub selector: Selector,
    /// Releases that an order may name, newest last: id, version, when made, whether a node runs it.
    pub releases: Vec<(ReleaseId, String, UnixTime)>,
    /// Those of them with which a rollout was finished.
    pub proven: Vec<ReleaseId>,
    /// When the order was given, by its operator's clock.
    pub created: UnixTime,
    /// What it goes back to when it fails.
    pub fallback: Option<ReleaseId>,
    /// How many nodes may fail.
    pub budget: u32,
    /// Its waves, in order; empty while the release spreads, as nobody has a place in them before.
    pub waves: Vec<WaveStatus>,
    /// What holds its waves back, as its order says.
    pub restraint: Restraint,
    /// The wave, from 0, that is confirmed and waits for an operator's word, and for how long it has waited.
    pub awaits: Option<(u8, Duration)>,
    /// How much time its open wave has left, if it has a deadline; it stands still while it is paused.
    pub left: Option<Duration>,
    /// For how long it has been in that state, with that wave open, if the origin has seen it begin in this life.
    pub since: Option<Duration>,
    /// How the release comes to nodes, as this origin decided in this life.
    pub roads: Vec<RoadStatus>,
}

/// How a release comes to nodes that run the same one before it, or to all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoadStatus {
    /// What they run, as people call it; `None` for nodes from whose releases no patch was thought of.
    pub base: Option<String>,
    /// How many ran it when that was decided.
    pub nodes: u32,
    /// The bytes of the patch, once it is there.
    pub patch: Option<u64>,
    /// The bytes of all that they would be sent without it, as far as this origin knows.
    pub whole: u64,
    /// Why it comes as it does, in words.
    pub why: String,
}

/// How a wave does. Each node is counted once: who is in none of the counts has still to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WaveStatus {
    /// How many nodes it is for, without those of earlier waves.
    pub nodes: u32,
    /// How many of them have confirmed the release.
    pub confirmed: u32,
    /// How many of them have failed or gone back.
    pub failed: u32,
    /// How many of the others have been away for long.
    pub away: u32,
    /// How many run it and are not confirmed.
    pub live: u32,
    /// How many have it laid out and wait.
    pub staged: u32,
    /// How many are bringing it in, or laying it out.
    pub fetching: u32,
}

/// How a rollout goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutState {
    /// The release spreads; it is not ordered yet.
    Spreading,
    /// A wave is open.
    Rolling {
        /// Which, from 0.
        wave: u8,
    },
    /// An operator has paused it: nobody switches.
    Paused {
        /// Which wave is open, from 0.
        wave: Option<u8>,
        /// Who.
        by: String,
        /// Why, in their words.
        why: String,
    },
    /// It stopped, and why; nodes go back to the fallback if there is one.
    Halted {
        /// Why.
        why: String,
    },
    /// Every selected node that is known is confirmed.
    Finished,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Who.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What is said of it.
    pub labels: Labels,
    /// Whether it is connected.
    pub up: bool,
    /// For how long it has been up or down, as far as this origin knows.
    pub since: Duration,
    /// Its software's version.
    pub software: String,
    /// The lowest limit that applies to it by itself.
    pub limit: Option<Rate>,
    /// Whether it would obey one; software of before does not.
    pub obeys_limits: bool,
    /// The newest version of the protocol that it speaks; 0 while it is not connected.
    pub speaks: u16,
    /// Its applications.
    pub apps: Vec<AppStatus>,
}

/// Something that people or metrics want to know. Drivers log and count these, so log, metric and page agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node is connected.
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// A node is not connected any more.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A peer did what no honest peer does, and is left.
    Convicted {
        /// Who.
        peer: NodeId,
        /// Of what.
        of: Misbehaviour,
    },
    /// A peer that was convicted, in this life or an earlier one, came or was introduced again, and is not dealt with.
    Shunned {
        /// Who.
        peer: NodeId,
    },
    /// A node's software cannot follow trust roots: it is told nothing that is signed under a later one than the first.
    TooOld {
        /// Who.
        peer: NodeId,
    },
    /// A trust root is in force from now on.
    Rooted {
        /// Its version.
        version: u64,
        /// The certificates of the CAs that it names, if it names any; the last one's makes certificates.
        authorities: Vec<Vec<u8>>,
    },
    /// An origin follows an older trust root than this agent, which hands it those that came after. It may have been made anew from a
    /// backup that is older than they are.
    RootBehind {
        /// Which origin.
        peer: NodeId,
        /// The version that it follows.
        theirs: u64,
        /// The version that this node follows.
        ours: u64,
        /// Whether this node still has all roots between, so that it can.
        is_handed: bool,
    },
    /// An agent handed this origin trust roots that it did not know, and they follow the one that was in force.
    RootsHanded {
        /// Which agent.
        from: NodeId,
        /// The version that is in force now.
        version: u64,
    },
    /// A document was refused, and why.
    Distrusted {
        /// From whom it came.
        from: NodeId,
        /// Why.
        why: String,
    },
    /// The phase of a release on this node changed.
    Phase {
        /// The application.
        app: AppName,
        /// The release.
        release: ReleaseId,
        /// Now.
        phase: Phase,
    },
    /// A piece did not come in time, and was asked for elsewhere.
    Late {
        /// From whom it did not come.
        from: NodeId,
        /// Of which content.
        content: ContentId,
        /// Which.
        piece: PieceNo,
    },
    /// A stripe does not come as it should, and is pulled from any neighbour that has it; or comes by itself again.
    Mending {
        /// Which content.
        content: ContentId,
        /// Which stripe.
        stripe: usize,
        /// Whether it is pulled now; false when it comes by itself again.
        is_pulled: bool,
        /// How many pieces of it some neighbour has more.
        lag: u32,
    },
    /// A node passes on too little, and has no part in the given order for a while.
    Benched {
        /// Which.
        node: NodeId,
    },
    /// Peers are of no help: the origin is asked directly. Why, in words.
    PlainRoad {
        /// For which content.
        content: ContentId,
        /// Why.
        why: String,
    },
    /// At an origin: whether a content goes out as a patch to those who run its base, and why.
    Road {
        /// What they are to get.
        target: ContentId,
        /// In words.
        why: String,
    },
    /// At an origin: a patch is there and offered.
    PatchMade {
        /// From what.
        base: ContentId,
        /// Of what.
        target: ContentId,
        /// Its bytes.
        bytes: u64,
        /// The bytes of what it makes.
        whole: u64,
    },
    /// A content was made from another one and a patch.
    Patched {
        /// From what.
        base: ContentId,
        /// What.
        target: ContentId,
        /// The bytes of the patch.
        bytes: u64,
        /// The bytes that need not be sent because of it.
        saved: u64,
    },
    /// A content does not come by a patch after all, or a patch could not be made; and why.
    PatchFailed {
        /// What should have been made.
        target: ContentId,
        /// In words.
        why: String,
    },
    /// A piece on our own disk was damaged, and is fetched again.
    Quarantined {
        /// Of which content.
        content: ContentId,
        /// Which.
        piece: PieceNo,
    },
    /// A job failed and is tried again, or cannot be.
    JobFailed {
        /// In words.
        why: String,
    },
    /// At an origin: a node said for the first time that it is so far with the newest order of an application.
    Reached {
        /// Who.
        node: NodeId,
        /// The application.
        app: AppName,
        /// How far.
        phase: Phase,
        /// How long after it was told of the release, as it says.
        after: Option<Duration>,
    },
    /// A journal has a new fact.
    Appended {
        /// Which journal.
        journal: JournalName,
        /// Its position now.
        position: Position,
    },
    /// An order with the epoch of another one, or a lower one, was refused.
    StaleOrder {
        /// The application.
        app: AppName,
        /// The epoch that was refused.
        epoch: u64,
        /// The floor.
        floor: u64,
        /// Who signed it, as far as it is signed.
        by: Option<KeyId>,
    },
    /// No origin is connected; what is under way goes on between the members.
    OriginSilent,
}
