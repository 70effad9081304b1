//! Publishing: a tree is cut, hashed and signed where it is, and served until the origin holds it durably.

use crate::client::ClientError;
use content::order::Wave;
use content::{Label, OrderId, ReleaseId};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to deploy where, and how carefully.
#[derive(Debug, Clone)]
pub struct DeployOptions {
    /// The application's name.
    pub app: String,
    /// The absolute path of the symlink that is swung on every node.
    pub path: PathBuf,
    /// What people call this version; made from the clock and the content when absent.
    pub version: Option<String>,
    /// Why, in the operator's words.
    pub message: String,
    /// How long a node must stay healthy before it is confirmed.
    pub health_window: Duration,
    /// How many nodes may fail before the rollout halts.
    pub budget: u32,
    /// How many laid-out releases a node keeps besides the live one.
    pub keep: u8,
    /// The waves; the last is everyone.
    pub waves: Vec<Wave>,
    /// Which nodes: all of these labels must match.
    pub selector: Vec<(Label, Label)>,
}

impl DeployOptions {
    /// The usual: one wave, a short health window, two releases kept.
    pub fn new(app: &str, path: &Path) -> Self {
        Self {
            app: app.to_owned(),
            path: path.to_owned(),
            version: None,
            message: String::new(),
            health_window: Duration::from_secs(1),
            budget: 0,
            keep: 2,
            waves: vec![Wave::PerMille(1000)],
            selector: Vec::new(),
        }
    }
}

/// How far a deploy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The tree is being read.
    Reading {
        /// Bytes read so far.
        bytes: u64,
    },
    /// The tree was read; nothing was sent yet.
    Found {
        /// Entries of the manifest.
        entries: u32,
        /// The sum of the files' lengths.
        bytes: u64,
        /// Things that are not carried and that people may want to know.
        notes: Vec<String>,
    },
    /// Signed; the origin is being dialled.
    Submitted {
        /// The release.
        release: ReleaseId,
        /// Its version.
        version: String,
    },
    /// The origin takes it, and agents stage it.
    Spreading {
        /// Payload bytes that this publisher has sent.
        sent: u64,
        /// Bytes of the content in all.
        total: u64,
    },
    /// The order stands in the journal: the publisher may go.
    Ordered {
        /// The order's epoch.
        epoch: u64,
        /// The order.
        order: OrderId,
    },
}

/// What was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The application.
    pub app: String,
    /// The release.
    pub release: ReleaseId,
    /// What people call it.
    pub version: String,
    /// The order.
    pub order: OrderId,
    /// Its epoch.
    pub epoch: u64,
}

/// Why a deploy did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The options make no sense.
    #[error("{0}")]
    Invalid(String),
    /// The tree cannot be published.
    #[error(transparent)]
    Import(#[from] store::import::ImportError),
    /// The origin could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The source cannot be opened.
    #[error("{path}: {source}")]
    Source {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads `source` (a directory or a file), signs it, and serves it until its order stands in the fleet's journal.
pub async fn deploy(
    _operator_home: &Path,
    _source: &Path,
    _options: &DeployOptions,
    _progress: impl FnMut(Progress),
) -> Result<Deployed, DeployError> {
    todo!()
}

/// Orders an application back to a release that was published before: `to` is a version or a release id, or the one before
/// the present one when absent.
pub async fn rollback(
    _operator_home: &Path,
    _app: &str,
    _to: Option<&str>,
    _message: &str,
) -> Result<Deployed, DeployError> {
    todo!()
}
