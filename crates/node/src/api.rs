//! What the control API says: JSON shapes of the engine's answers, for operators and their tools.
//!
//! Digests are hexadecimal, durations whole microseconds (fields that end in `_us`), wall-clock times seconds since 1970.
//! Nothing is decided here; the shapes mirror [`engine::door`] so that a web page, a script and the command line read the
//! same words.

use content::fact;
use engine::door;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where a fleet stands, as the origin that was asked knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FleetStatus {
    /// The fleet's id.
    pub fleet: String,
    /// The id of the origin that answers.
    pub origin: String,
    /// That origin's name.
    pub origin_name: String,
    /// The datacenter it speaks for.
    pub datacenter: String,
    /// The version of its software.
    pub software: String,
    /// What time it is there, in seconds since 1970; software of before does not say.
    #[serde(default)]
    pub now: Option<u64>,
    /// The applications.
    pub apps: Vec<RolloutStatus>,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
    /// The fleet journal's position.
    pub position: Option<Position>,
    /// How fast pieces may move.
    #[serde(default)]
    pub limits: Limits,
    /// Applications of which agents have accepted newer orders than this origin knows: its state was lost, or is an old copy.
    #[serde(default)]
    pub ahead: Vec<Ahead>,
    /// Who vouches for members; origins of before do not say.
    #[serde(default)]
    pub vouching: Option<Vouching>,
}

/// Who vouches for members, and how far a change of that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouching {
    /// The pin of the CA that makes certificates.
    pub newest: String,
    /// How many CAs are believed: more than one while the fleet changes over.
    pub named: usize,
    /// Whether the origin lacks the key of the one that makes certificates.
    pub lacks_key: bool,
    /// The agents that have not shown a certificate of the newest one here since the origin started, while the fleet changes over.
    pub left: Vec<String>,
}

/// Has a CA made to which the fleet is to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRequest {
    /// Whether the key of the present one is lost.
    pub lost: bool,
}

/// That CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityMade {
    /// Its certificate (DER), base64.
    pub certificate: String,
}

/// Orders that agents have accepted and the origin does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Of which application.
    pub app: String,
    /// The highest epoch that any of them has accepted.
    pub epoch: u64,
    /// How many agents have.
    pub agents: u32,
}

impl FleetStatus {
    /// The highest epoch of an application that anyone is known to have accepted; a new order needs a higher one.
    pub fn epoch_of(&self, app: &str) -> u64 {
        let ordered = self.apps.iter().filter(|rollout| rollout.app == app).map(|rollout| rollout.epoch);
        let ahead = self.ahead.iter().filter(|ahead| ahead.app == app).map(|ahead| ahead.epoch);
        ordered.chain(ahead).max().unwrap_or(0)
    }
}

/// How fast pieces may move in a fleet, in bytes per second.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// What operators said.
    pub set: Vec<Limit>,
    /// What holds for the origin that answers, of its own and by what operators said.
    pub origin: Option<u64>,
    /// What each of those that send now may send, if the total is limited.
    pub share: Option<u64>,
    /// How many nodes send now; known only where the total is limited.
    pub senders: u32,
}

/// A limit that operators set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Whom it bounds.
    pub scope: Scope,
    /// Bytes per second, in each direction.
    pub rate: u64,
}

/// Whom a limit bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "of")]
pub enum Scope {
    /// One node.
    Node {
        /// Its id.
        node: String,
    },
    /// Each node with all of these labels; every node when there are none.
    Labels {
        /// Which.
        labels: BTreeMap<String, String>,
    },
    /// What all nodes send together.
    Total,
}

/// A limit to set or to take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRequest {
    /// Whom it bounds.
    pub scope: Scope,
    /// Bytes per second, in each direction; `null` takes the limit back.
    pub rate: Option<u64>,
}

/// Where a fact stands in its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The writer's generation.
    pub generation: u64,
    /// How many facts stand before.
    pub index: u64,
}

/// Where an application stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The application.
    pub app: String,
    /// The newest order.
    pub order: Option<String>,
    /// Its epoch; the next order needs a higher one.
    pub epoch: u64,
    /// The release that it wants, or that is being spread.
    pub release: String,
    /// What people call that release.
    pub version: String,
    /// Who gave the order.
    pub by: String,
    /// Why, in their words.
    pub message: String,
    /// How the rollout goes.
    pub state: RolloutState,
    /// Pieces of the content that the origin has.
    pub origin_have: u32,
    /// Pieces of the content in all.
    pub origin_total: u32,
    /// The length of the content in bytes.
    pub content_bytes: u64,
    /// Payload bytes the origin has sent of it.
    pub origin_sent: u64,
    /// Which agents the newest order selects: `role=web,zone!=b`; empty for all of them.
    pub selector: String,
    /// Releases that an order may name, newest last.
    pub releases: Vec<ReleaseStatus>,
    /// When the order was given, in seconds since 1970 by its operator's clock.
    #[serde(default)]
    pub created: u64,
    /// The release that it goes back to when it fails.
    #[serde(default)]
    pub fallback: Option<String>,
    /// How many nodes may fail before it halts.
    #[serde(default)]
    pub budget: u32,
    /// Its waves, in order; empty while the release spreads.
    #[serde(default)]
    pub waves: Vec<WaveStatus>,
    /// What holds its waves back besides the confirmations of its nodes.
    #[serde(default)]
    pub restraint: Restraint,
    /// For how long it has been in that state, with that wave open, if the origin has seen it begin.
    #[serde(default)]
    pub since_us: Option<u64>,
    /// How the release comes to nodes that ran the same one before it, as the origin decided when it was brought.
    #[serde(default)]
    pub roads: Vec<RoadStatus>,
}

/// How a release comes to nodes that ran the same one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoadStatus {
    /// What they ran, as people call it.
    pub base: Option<String>,
    /// How many.
    pub nodes: u32,
    /// The bytes of the patch, if there is one.
    pub patch_bytes: Option<u64>,
    /// The bytes that each would be sent without it.
    pub whole_bytes: u64,
    /// Why it comes so.
    pub why: String,
}

/// What holds the waves of a rollout back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restraint {
    /// Waves, from 0, after which the next one opens only when an operator says so.
    pub gates: Vec<u8>,
    /// The gate that waits for a word now.
    pub awaits: Option<Awaits>,
    /// The time that a wave may take.
    pub deadline: Option<Deadline>,
    /// How many nodes may be switching at once: `50`, `10%`, `rack=1`.
    pub at_once: Vec<String>,
}

/// A gate that waits for a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaits {
    /// The wave that is confirmed, from 0.
    pub wave: u8,
    /// For how long it has waited.
    pub since_us: u64,
    /// The command that says the word.
    pub say: String,
}

/// The time that a wave may take until it is confirmed and, if it has a gate, has its word; then everyone falls back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// How long it is.
    pub of_us: u64,
    /// What the open wave has left of it; it stands still while the rollout is paused.
    pub left_us: Option<u64>,
}

/// How a wave does. Each node is counted once: who is in none of the counts has still to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WaveStatus {
    /// How many nodes it is for, without those of earlier waves.
    pub nodes: u32,
    /// How many of them have confirmed the release.
    pub confirmed: u32,
    /// How many of them have failed or gone back.
    pub failed: u32,
    /// How many of the others have been away for long.
    #[serde(default)]
    pub away: u32,
    /// How many run it and are not confirmed.
    #[serde(default)]
    pub live: u32,
    /// How many have it laid out and wait.
    #[serde(default)]
    pub staged: u32,
    /// How many are bringing it in, or laying it out.
    #[serde(default)]
    pub fetching: u32,
}

/// A release that an order may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// Its id.
    pub release: String,
    /// What people call it.
    pub version: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Whether it is live on a node.
    pub runs: bool,
    /// Whether a rollout of it was finished: it did well everywhere once.
    #[serde(default)]
    pub proven: bool,
}

/// How a rollout goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
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
    /// It stopped.
    Halted {
        /// Why.
        why: String,
    },
    /// Every selected node that is known is confirmed.
    Finished,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub node: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What is said of it.
    pub labels: BTreeMap<String, String>,
    /// Whether it is connected.
    pub up: bool,
    /// For how long it has been up or down.
    pub since_us: u64,
    /// Its software's version.
    pub software: String,
    /// The lowest limit that applies to it by itself, in bytes per second.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Whether it obeys limits that operators set; software of before them does not.
    #[serde(default)]
    pub obeys_limits: bool,
    /// The newest version of the protocol that it speaks; 0 while it is not connected, or where an origin of before does not tell.
    #[serde(default)]
    pub speaks: u16,
    /// Its applications.
    pub apps: Vec<AppStatus>,
}

impl NodeStatus {
    /// Whether a selector chooses it, by its labels.
    pub fn is_selected(&self, selector: &content::Selector) -> bool {
        labels_from_text(&self.labels).is_ok_and(|labels| selector.matches(&labels))
    }
}

/// What a certificate lets its holder be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Receives and deploys.
    Agent,
    /// Holds the truth of its datacenter.
    Origin,
    /// Publishes and gives orders.
    Operator,
}

/// How far a node is with the newest release of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// Where a node stands with an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// The application.
    pub app: String,
    /// The release it works on, or runs.
    pub release: String,
    /// The order it has accepted last.
    pub order: Option<String>,
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
    pub live: Option<String>,
    /// The release it confirmed last.
    pub confirmed: Option<String>,
    /// What is in the way, in words.
    pub trouble: Option<String>,
}

/// When a node got how far, in microseconds since it was told of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// The first payload byte.
    pub first_byte_us: Option<u64>,
    /// Every piece, verified.
    pub last_byte_us: Option<u64>,
    /// Every piece, durable.
    pub complete_us: Option<u64>,
    /// Laid out.
    pub staged_us: Option<u64>,
    /// Switched.
    pub live_us: Option<u64>,
    /// Confirmed.
    pub confirmed_us: Option<u64>,
}

/// What a verification found, node by node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The nodes that were asked.
    pub nodes: Vec<NodeVerification>,
}

/// What one node found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeVerification {
    /// Its id.
    pub node: String,
    /// Its name.
    pub name: String,
    /// What it found; absent when it could not look.
    pub report: Option<VerifyReport>,
    /// Why it could not look.
    pub error: Option<String>,
}

/// What reading a live tree again found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The release that is live.
    pub release: String,
    /// How many entries were compared.
    pub entries: u32,
    /// How many bytes were hashed.
    pub bytes: u64,
    /// How many entries differ.
    pub differing: u32,
    /// The first few of them, for people.
    pub first: Vec<String>,
}

/// An order to take: its signed bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// The encoded signed order, in base64.
    pub order: String,
}

/// What to do with a rollout: the signed bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectiveRequest {
    /// The encoded signed directive, in base64.
    pub directive: String,
}

/// A trust root to follow from now on: its signed bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootRequest {
    /// The encoded signed root, in base64.
    pub root: String,
}

/// Documents that are known, with more signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountersignRequest {
    /// The encoded signed releases and orders, in base64.
    pub documents: Vec<String>,
}

/// A key that asks for an operator's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorRequest {
    /// The operator's name, as the trust root has it, or will.
    pub name: String,
    /// The certificate request (PKCS #10), in base64; of it only the key is used.
    pub request: String,
}

/// An operator's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorCertificate {
    /// The certificate (X.509), in base64.
    pub certificate: String,
}

/// An operator who is one no more, and is let in no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DismissRequest {
    /// The operator's name.
    pub name: String,
}

/// An order that stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The order.
    pub order: String,
    /// Its epoch.
    pub epoch: u64,
}

/// Part of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    /// The facts, in their order.
    pub entries: Vec<JournalEntry>,
    /// Where the journal stands: the position that its next fact will have.
    pub stands: Position,
}

/// A fact as it stands in its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Where.
    pub at: Position,
    /// The encoded fact, in base64.
    pub fact: String,
    /// The encoded stamp, in base64: when it was written, for whom, and the chain after it.
    pub stamp: Option<String>,
}

impl From<fact::Entry> for JournalEntry {
    fn from(entry: fact::Entry) -> Self {
        let text = |bytes: Vec<u8>| data_encoding::BASE64.encode(&bytes);
        let stamp = entry.stamp.map(|stamp| text(stamp.encode()));
        Self { at: entry.at.into(), fact: text(entry.fact.encode()), stamp }
    }
}

impl TryFrom<JournalEntry> for fact::Entry {
    type Error = String;

    fn try_from(entry: JournalEntry) -> Result<Self, String> {
        let bytes = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).map_err(|bad| bad.to_string());
        let stamp = entry.stamp.map(|stamp| fact::Stamp::decode(&bytes(&stamp)?).map_err(|bad| bad.to_string()));
        let fact = content::Fact::decode(&bytes(&entry.fact)?).map_err(|bad| bad.to_string())?;
        Ok(Self { at: entry.at.into(), fact, stamp: stamp.transpose()? })
    }
}

/// A join line to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// How many nodes may join with it.
    pub uses: u32,
    /// For how long, in seconds.
    pub valid_seconds: u64,
    /// What those nodes become.
    pub role: Role,
    /// What is said of them.
    pub labels: BTreeMap<String, String>,
}

/// A join line that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenIssued {
    /// The token's id, by which it can be taken back.
    pub token: String,
    /// The line, which holds a secret.
    pub line: String,
}

impl std::fmt::Debug for TokenIssued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssued").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Why a request is refused, by what the asker can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "refused")]
pub enum Refusal {
    /// Another order came first, or a deploy of this application is under way.
    #[error("conflict: {what} (epoch {epoch} is by {by})")]
    Conflict {
        /// The newest epoch.
        epoch: u64,
        /// Whose it is.
        by: String,
        /// What is going on.
        what: String,
    },
    /// A signature does not hold, or the document is for another fleet.
    #[error("not believed: {why}")]
    NotBelieved {
        /// In words.
        why: String,
    },
    /// The thing asked for is not known there.
    #[error("unknown: {why}")]
    Unknown {
        /// In words.
        why: String,
    },
    /// The request makes no sense.
    #[error("invalid: {why}")]
    Invalid {
        /// In words.
        why: String,
    },
    /// The asker's role may not ask this, or the node's role cannot answer it.
    #[error("not allowed: {why}")]
    NotAllowed {
        /// In words.
        why: String,
    },
    /// It failed there for now.
    #[error("failed: {why}")]
    Failed {
        /// In words.
        why: String,
    },
}

/// Something that happened, as a line of the event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Its kind, as the engine names it.
    pub event: String,
    /// All of it, for people.
    pub text: String,
    /// How many events were left out before this one because the reader was slow.
    pub missed: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<fact::Position> for Position {
    fn from(position: fact::Position) -> Self {
        Self { generation: position.generation, index: position.index }
    }
}

impl From<Position> for fact::Position {
    fn from(position: Position) -> Self {
        Self { generation: position.generation, index: position.index }
    }
}

impl From<content::Role> for Role {
    fn from(role: content::Role) -> Self {
        match role {
            content::Role::Agent => Self::Agent,
            content::Role::Origin => Self::Origin,
            content::Role::Operator => Self::Operator,
        }
    }
}

impl From<Role> for content::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Agent => Self::Agent,
            Role::Origin => Self::Origin,
            Role::Operator => Self::Operator,
        }
    }
}

impl From<door::Phase> for Phase {
    fn from(phase: door::Phase) -> Self {
        match phase {
            door::Phase::Told => Self::Told,
            door::Phase::Fetching => Self::Fetching,
            door::Phase::Complete => Self::Complete,
            door::Phase::Staged => Self::Staged,
            door::Phase::Live => Self::Live,
            door::Phase::Confirmed => Self::Confirmed,
            door::Phase::Failed => Self::Failed,
            door::Phase::FellBack => Self::FellBack,
        }
    }
}

impl From<door::RolloutState> for RolloutState {
    fn from(state: door::RolloutState) -> Self {
        match state {
            door::RolloutState::Spreading => Self::Spreading,
            door::RolloutState::Rolling { wave } => Self::Rolling { wave },
            door::RolloutState::Paused { wave, by, why } => Self::Paused { wave, by, why },
            door::RolloutState::Halted { why } => Self::Halted { why },
            door::RolloutState::Finished => Self::Finished,
        }
    }
}

impl From<door::RolloutStatus> for RolloutStatus {
    fn from(status: door::RolloutStatus) -> Self {
        let proven = status.proven;
        let restraint = Restraint::of(&status.app, &status.restraint, status.awaits, status.left);
        let release = |(release, version, created): (content::ReleaseId, String, content::UnixTime)| ReleaseStatus {
            release: release.to_string(),
            version,
            created: created.0,
            runs: false,
            proven: proven.contains(&release),
        };
        Self {
            app: status.app.to_string(),
            order: status.order.map(|order| order.to_string()),
            epoch: status.epoch,
            release: status.release.to_string(),
            version: status.version,
            by: status.by,
            message: status.message,
            state: status.state.into(),
            origin_have: status.origin_have.0,
            origin_total: status.origin_have.1,
            content_bytes: status.content_bytes,
            origin_sent: status.origin_sent,
            selector: status.selector.to_string(),
            releases: status.releases.into_iter().map(release).collect(),
            created: status.created.0,
            fallback: status.fallback.map(|release| release.to_string()),
            budget: status.budget,
            waves: status.waves.into_iter().map(Into::into).collect(),
            restraint,
            since_us: status.since.map(micros),
            roads: status.roads.into_iter().map(Into::into).collect(),
        }
    }
}

impl Restraint {
    fn of(
        app: &content::AppName,
        order: &content::order::Restraint,
        awaits: Option<(u8, Duration)>,
        left: Option<Duration>,
    ) -> Self {
        let say = format!("tiding promote {app}");
        let awaits = awaits.map(|(wave, since)| Awaits { wave, since_us: micros(since), say });
        let deadline = |of: Duration| Deadline { of_us: micros(of), left_us: left.map(micros) };
        Self {
            gates: order.gates.clone(),
            awaits,
            deadline: order.deadline().map(deadline),
            at_once: order.at_once.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<door::RoadStatus> for RoadStatus {
    fn from(road: door::RoadStatus) -> Self {
        let door::RoadStatus { base, nodes, patch, whole, why } = road;
        Self { base, nodes, patch_bytes: patch, whole_bytes: whole, why }
    }
}

impl From<door::WaveStatus> for WaveStatus {
    fn from(wave: door::WaveStatus) -> Self {
        Self {
            nodes: wave.nodes,
            confirmed: wave.confirmed,
            failed: wave.failed,
            away: wave.away,
            live: wave.live,
            staged: wave.staged,
            fetching: wave.fetching,
        }
    }
}

/// Labels as text.
pub(crate) fn labels_to_text(labels: &content::Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().to_owned())).collect()
}

/// Labels from text, refused when a key or value breaks the rule for names.
pub(crate) fn labels_from_text(labels: &BTreeMap<String, String>) -> Result<content::Labels, content::BadName> {
    labels.iter().map(|(key, value)| Ok((content::Label::new(key)?, content::Label::new(value)?))).collect()
}

impl From<door::NodeStatus> for NodeStatus {
    fn from(status: door::NodeStatus) -> Self {
        Self {
            node: status.node.to_string(),
            name: status.name,
            role: status.role.into(),
            labels: labels_to_text(&status.labels),
            up: status.up,
            since_us: micros(status.since),
            software: status.software,
            limit: status.limit.map(|rate| rate.0),
            obeys_limits: status.obeys_limits,
            speaks: status.speaks,
            apps: status.apps.into_iter().map(Into::into).collect(),
        }
    }
}

impl FleetStatus {
    /// The engine's answer, said by the origin that `me` describes: a real one, or one that is simulated.
    pub fn of(status: door::FleetStatus, me: &FleetStatus) -> Self {
        let nodes: Vec<NodeStatus> = status.nodes.into_iter().map(Into::into).collect();
        let mut apps: Vec<RolloutStatus> = status.apps.into_iter().map(Into::into).collect();
        let live: BTreeSet<&String> =
            nodes.iter().flat_map(|node| &node.apps).filter_map(|app| app.live.as_ref()).collect();
        for release in apps.iter_mut().flat_map(|app| &mut app.releases) {
            release.runs = live.contains(&release.release);
        }
        let limits = status.limits.into();
        let ahead = |door::Ahead { app, epoch, agents }| Ahead { app: app.to_string(), epoch, agents };
        let ahead = status.ahead.into_iter().map(ahead).collect();
        Self { apps, nodes, position: status.position.map(Into::into), limits, ahead, ..me.clone() }
    }
}

impl From<door::LimitStatus> for Limits {
    fn from(status: door::LimitStatus) -> Self {
        let limit = |(scope, rate): (content::Scope, content::Rate)| Limit { scope: scope.into(), rate: rate.0 };
        Self {
            set: status.set.into_iter().map(limit).collect(),
            origin: status.origin.map(|rate| rate.0),
            share: status.share.map(|rate| rate.0),
            senders: status.senders,
        }
    }
}

impl From<content::Scope> for Scope {
    fn from(scope: content::Scope) -> Self {
        match scope {
            content::Scope::Node(node) => Self::Node { node: node.to_string() },
            content::Scope::Selected(labels) => Self::Labels { labels: labels_to_text(&labels) },
            content::Scope::Total => Self::Total,
        }
    }
}

/// A scope from text; in words why it is none.
pub(crate) fn scope_from_text(scope: &Scope) -> Result<content::Scope, String> {
    Ok(match scope {
        Scope::Node { node } => {
            content::Scope::Node(node.parse().map_err(|_| format!("{node} is no node's id; see `tiding status`"))?)
        }
        Scope::Labels { labels } => content::Scope::Selected(labels_from_text(labels).map_err(|bad| bad.to_string())?),
        Scope::Total => content::Scope::Total,
    })
}

impl From<door::Timeline> for Timeline {
    fn from(timeline: door::Timeline) -> Self {
        Self {
            first_byte_us: timeline.first_byte.map(micros),
            last_byte_us: timeline.last_byte.map(micros),
            complete_us: timeline.complete.map(micros),
            staged_us: timeline.staged.map(micros),
            live_us: timeline.live.map(micros),
            confirmed_us: timeline.confirmed.map(micros),
        }
    }
}

impl From<door::AppStatus> for AppStatus {
    fn from(status: door::AppStatus) -> Self {
        Self {
            app: status.app.to_string(),
            release: status.release.to_string(),
            order: status.order.map(|order| order.to_string()),
            phase: status.phase.into(),
            have: status.have,
            total: status.total,
            from_origin: status.from_origin,
            from_peers: status.from_peers,
            had: status.had,
            timeline: status.timeline.into(),
            live: status.live.map(|release| release.to_string()),
            confirmed: status.confirmed.map(|release| release.to_string()),
            trouble: status.trouble,
        }
    }
}

impl From<door::VerifyReport> for VerifyReport {
    fn from(report: door::VerifyReport) -> Self {
        Self {
            release: report.release.to_string(),
            entries: report.entries,
            bytes: report.bytes,
            differing: report.differing,
            first: report.first,
        }
    }
}

impl From<(content::NodeId, String, Result<door::VerifyReport, String>)> for NodeVerification {
    fn from((node, name, outcome): (content::NodeId, String, Result<door::VerifyReport, String>)) -> Self {
        let (report, error) = match outcome {
            Ok(report) => (Some(report.into()), None),
            Err(error) => (None, Some(error)),
        };
        Self { node: node.to_string(), name, report, error }
    }
}

impl From<door::Refusal> for Refusal {
    fn from(refusal: door::Refusal) -> Self {
        match refusal {
            door::Refusal::Conflict { epoch, by, what } => Self::Conflict { epoch, by, what },
            door::Refusal::NotBelieved(why) => Self::NotBelieved { why },
            door::Refusal::Unknown(why) => Self::Unknown { why },
            door::Refusal::Invalid(why) => Self::Invalid { why },
            door::Refusal::NotAllowed(why) => Self::NotAllowed { why },
            door::Refusal::Failed(why) => Self::Failed { why },
        }
    }
}

impl From<door::Event> for EventLine {
    fn from(event: door::Event) -> Self {
        let text = format!("{event:?}");
        let name = text.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
        Self { event: name, text, missed: 0 }
    }
}
