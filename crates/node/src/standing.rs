//! How a node stands with an application, in one word: what the page, the terminal and the metrics show.
//!
//! It is about the newest order and its release: whoever has confirmed an earlier one waits.

use crate::api::{AppStatus, NodeStatus, Phase, RolloutStatus};
use serde::Serialize;

/// One word for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It runs the release, and was well for its window.
    Confirmed,
    /// It runs the release.
    Live,
    /// It has the release laid out, and waits for its wave.
    Staged,
    /// Pieces are coming.
    Fetching,
    /// It has not begun.
    Waiting,
    /// It cannot go on.
    Failed,
    /// It went back.
    FellBack,
    /// It is not connected.
    Away,
    /// The order is not for it.
    Apart,
}

impl Standing {
    /// Those of nodes for which the order is.
    pub const CHOSEN: [Self; 8] = [
        Self::Confirmed,
        Self::Live,
        Self::Staged,
        Self::Fetching,
        Self::Waiting,
        Self::Failed,
        Self::FellBack,
        Self::Away,
    ];

    /// How a node stands; `is_chosen` says whether the order selects it.
    pub fn of(node: &NodeStatus, rollout: &RolloutStatus, is_chosen: bool) -> Self {
        match with_release(node, rollout) {
            _ if !is_chosen => Self::Apart,
            _ if !node.up => Self::Away,
            Some(status) => by_phase(status, rollout),
            None => Self::Waiting,
        }
    }

    /// In a word, as metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Live => "live",
            Self::Staged => "staged",
            Self::Fetching => "fetching",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::FellBack => "fell_back",
            Self::Away => "away",
            Self::Apart => "apart",
        }
    }
}

/// The status of one application on a node.
pub fn of_app<'a>(node: &'a NodeStatus, app: &str) -> Option<&'a AppStatus> {
    node.apps.iter().find(|status| status.app == app)
}

/// The same, if it is about the rollout's release.
pub fn with_release<'a>(node: &'a NodeStatus, rollout: &RolloutStatus) -> Option<&'a AppStatus> {
    of_app(node, &rollout.app).filter(|status| status.release == rollout.release)
}

fn by_phase(status: &AppStatus, rollout: &RolloutStatus) -> Standing {
    match status.phase {
        // A confirmation under an earlier order of the same release says nothing of this one.
        Phase::Live | Phase::Confirmed if status.order != rollout.order => Standing::Waiting,
        Phase::Told => Standing::Waiting,
        Phase::Fetching | Phase::Complete => Standing::Fetching,
        Phase::Staged => Standing::Staged,
        Phase::Live => Standing::Live,
        Phase::Confirmed => Standing::Confirmed,
        Phase::Failed => Standing::Failed,
        Phase::FellBack => Standing::FellBack,
    }
}
