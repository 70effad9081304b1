//! An order: which release of an application shall run where, signed by operators, with a rising epoch.

use crate::encoding::Malformed;
use crate::{AppName, FleetId, Label, ReleaseId, UnixTime};

/// The payload of a signed order: a plan inside which origins may open, halt or fall back, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The fleet it is for; any other refuses it.
    pub fleet: FleetId,
    /// The application.
    pub app: AppName,
    /// Rises with every order for this application, by 1 to 2^20; going back to an older release is a newer order.
    pub epoch: u64,
    /// The release to run.
    pub release: ReleaseId,
    /// The release to fall back to when this one fails; `None` when there was none before.
    pub fallback: Option<ReleaseId>,
    /// Which nodes: all of these labels must match; none selects every agent.
    pub selector: Vec<(Label, Label)>,
    /// The waves, each a share of the selected nodes that is cumulative; the last is everyone.
    pub waves: Vec<Wave>,
    /// How many nodes may fail before the rollout halts and falls back.
    pub budget: u32,
    /// When it was given.
    pub created: UnixTime,
    /// Why, in the operator's words; at most 1,024 bytes of UTF-8 without control characters.
    pub message: String,
}

/// One wave of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// This many nodes.
    Count(u32),
    /// This many per thousand of the selected nodes, rounded up.
    PerMille(u16),
}

impl Order {
    /// By how much an epoch may rise at once, so that no one can exhaust it.
    pub const MAX_EPOCH_STEP: u64 = 1 << 20;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(_bytes: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }
}
