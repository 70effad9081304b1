//! Joining a fleet: the line that says where and whom to believe, and the exchange that follows.

use content::{Digest, FleetId, Labels, Role, UnixTime};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// What a join line allows.
#[derive(Debug, Clone)]
pub struct JoinTerms {
    /// How many nodes may join with it.
    pub uses: u32,
    /// For how long.
    pub valid: Duration,
    /// What those nodes become.
    pub role: Role,
    /// What is said of them.
    pub labels: Labels,
}

impl Default for JoinTerms {
    fn default() -> Self {
        Self { uses: 100, valid: Duration::from_secs(3600), role: Role::Agent, labels: Labels::new() }
    }
}

/// A join line: one word that a person carries from an origin to a new machine. It holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinLine {
    /// Where origins answer.
    pub addresses: Vec<SocketAddr>,
    /// The digest of the CA's certificate.
    pub ca: Digest,
    /// The fleet: the digest of its first trust root.
    pub fleet: FleetId,
    /// The token's public half.
    pub token: [u8; 16],
    /// The token's secret half.
    pub(crate) secret: [u8; 16],
    /// Until when it may be used.
    pub expires: UnixTime,
    /// How many nodes may join with it.
    pub uses: u32,
    /// What they become.
    pub role: Role,
    /// What is said of them.
    pub labels: Labels,
}

/// Text that is no join line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJoinLine {
    /// It does not begin like one.
    #[error("a join line begins with `tiding1.`; copy it again from `tiding up` or `tiding token new`")]
    NotALine,
    /// It is of a later version.
    #[error("this join line was made by a newer tiding; install that version here")]
    Newer,
    /// It is cut off, or a character of it was changed.
    #[error("the join line was mistyped or cut off; copy it again, whole")]
    Damaged,
}

impl fmt::Display for JoinLine {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl fmt::Debug for JoinLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinLine").field("addresses", &self.addresses).field("uses", &self.uses).finish_non_exhaustive()
    }
}

impl FromStr for JoinLine {
    type Err = BadJoinLine;

    fn from_str(_text: &str) -> Result<Self, BadJoinLine> {
        todo!()
    }
}

/// Why a machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// This home belongs to a fleet already.
    #[error("{0} belongs to a fleet already; start it with `tiding run`, or give another directory with --home")]
    AlreadyJoined(std::path::PathBuf),
    /// No address of the line answers.
    #[error("no origin answers: {0}; check that the port is open and the origin runs")]
    Unreachable(String),
    /// What answers is not the fleet of the line. The secret was not sent.
    #[error("what answers at {address} is not the fleet of this join line ({why}); the secret was not sent")]
    NotTheFleet {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// The clocks differ too much for certificates to make sense. The secret was not sent.
    #[error("your clock is {0}; set it (for example with `timedatectl set-ntp true`) and join again")]
    Clock(String),
    /// The origin refused: the line is wrong, expired, used up or taken back.
    #[error("the origin refused: {0}")]
    Refused(crate::api::Refusal),
    /// The origin's answer makes no sense.
    #[error("the origin's answer makes no sense: {0}")]
    Protocol(String),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Joins the fleet of `line`: makes a key, pins the fleet's CA, shows the secret, and keeps what it is given in `home`.
pub async fn join(_line: &JoinLine, _home: &Path, _name: Option<&str>) -> Result<(), JoinError> {
    todo!()
}
