//! Making a fleet: its CA, its trust root, its first origin and its first operator.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What a new fleet begins with.
#[derive(Debug, Clone)]
pub struct FoundOptions {
    /// Where the first origin keeps everything.
    pub home: PathBuf,
    /// Where the first operator keeps the keys: a directory the service cannot read.
    pub operator_home: PathBuf,
    /// Where the origin accepts connections.
    pub listen: SocketAddr,
    /// The addresses at which others reach it; empty means `listen`.
    pub advertise: Vec<SocketAddr>,
    /// The origin's name.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// The first operator's name.
    pub operator: String,
}

/// Why a fleet cannot be founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// There is one already.
    #[error("{0} belongs to a fleet already; start it with `tiding up`, or give another directory with --home")]
    AlreadyFounded(PathBuf),
    /// A name breaks its rule.
    #[error(transparent)]
    BadName(#[from] content::BadName),
    /// A key, certificate or root could not be made.
    #[error("{0}")]
    Failed(String),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes a fleet.
pub fn found(_options: &FoundOptions) -> Result<(), FoundError> {
    todo!()
}

/// Whether a node's home belongs to a fleet: it was founded or has joined.
pub fn is_founded(_home: &Path) -> bool {
    todo!()
}

/// Tells an operator's home where the fleet's origins are now.
pub fn set_origins(_operator_home: &Path, _origins: &[SocketAddr]) -> Result<(), FoundError> {
    todo!()
}
