//! Asking an origin: the operator's side of the control API.

use crate::api::{FleetStatus, Ordered, Refusal, Verification};
use crate::join::{JoinLine, JoinTerms};
use content::{Signed, TokenId};
use std::path::Path;
use tokio::sync::mpsc;

/// Why an origin could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The operator's home is missing or makes no sense.
    #[error("{0}")]
    Home(String),
    /// No origin answers.
    #[error("no origin answers: {0}; check that it runs and that its port is open")]
    Unreachable(String),
    /// The origin refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer makes no sense.
    #[error("the origin's answer makes no sense: {0}")]
    Protocol(String),
}

/// An operator's connection to the fleet's origins. Each call dials anew; clones are cheap.
#[derive(Clone)]
pub struct Client {}

impl Client {
    /// Reads the keys and addresses in an operator's home.
    pub fn open(_operator_home: &Path) -> Result<Self, ClientError> {
        todo!()
    }

    /// Where everything stands.
    pub async fn status(&self) -> Result<FleetStatus, ClientError> {
        todo!()
    }

    /// The status now and whenever it changes, at most every 100 ms. Ends with an error when the connection does; watch
    /// again then.
    pub async fn watch(&self) -> Result<mpsc::Receiver<Result<FleetStatus, ClientError>>, ClientError> {
        todo!()
    }

    /// Has every node read again what is live.
    pub async fn verify(&self, _app: &str) -> Result<Verification, ClientError> {
        todo!()
    }

    /// Brings a signed order for a release that is known already.
    pub async fn order(&self, _order: &Signed) -> Result<Ordered, ClientError> {
        todo!()
    }

    /// Has a join line made.
    pub async fn issue_join_line(&self, _terms: &JoinTerms) -> Result<JoinLine, ClientError> {
        todo!()
    }

    /// Takes a join line back.
    pub async fn revoke_token(&self, _token: TokenId) -> Result<(), ClientError> {
        todo!()
    }
}
