//! A running node: an engine, a store and a port.

use crate::join::{JoinLine, JoinTerms};
use content::NodeId;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How to run a node.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it keeps everything.
    pub home: PathBuf,
    /// The directory inside which the paths of releases are resolved; `/` outside of tests and playgrounds.
    pub targets: PathBuf,
    /// Where it accepts connections; port 0 takes any that is free.
    pub listen: SocketAddr,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home belongs to no fleet.
    #[error("{0} belongs to no fleet yet; make one with `tiding up`, or join one with `tiding join LINE`")]
    NotFounded(PathBuf),
    /// The port cannot be taken.
    #[error("cannot listen on {address}: {source}; give another address with --listen")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("the store in {home}: {source}")]
    Store {
        /// Where.
        home: PathBuf,
        /// Why.
        source: store::OpenError,
    },
    /// A file of the home cannot be read or makes no sense.
    #[error("{0}")]
    Home(String),
}

/// Why a join line cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] crate::api::Refusal),
    /// The node is stopping, or cannot issue lines.
    #[error("{0}")]
    Failed(String),
}

/// A running node. Dropping it stops it without order; [`Running::stop`] does it in order.
pub struct Running {}

impl Running {
    /// The address it accepts connections on.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// Its id.
    pub fn node(&self) -> NodeId {
        todo!()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Stops in order: connections close, jobs that run end, the store closes.
    pub async fn stop(self) {
        todo!()
    }

    /// Resolves with the reason when the engine or the store dies; never otherwise.
    pub async fn failed(&mut self) -> String {
        todo!()
    }

    /// Makes a join line; origins only.
    pub async fn issue_join_line(&self, _terms: JoinTerms) -> Result<JoinLine, IssueError> {
        todo!()
    }
}

/// Starts a node.
pub async fn start(_options: Options) -> Result<Running, StartError> {
    todo!()
}
