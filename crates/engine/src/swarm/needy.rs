//! Who would like to be pushed something, the neediest first: so that a source with a hundred thousand neighbours does not
//! look at each of them for every piece.

use super::partner::Partner;
use content::NodeId;
use std::collections::BTreeSet;

/// How needy a partner is, and who it is: the least is served first.
type Rank = ((u32, u32, u64), NodeId);

/// Where a partner stands; `None` when it takes no pushes.
pub(super) type Place = Option<(bool, (u32, u32, u64))>;

/// The partners that take pushes.
#[derive(Debug, Default)]
pub(super) struct Needy {
    /// Those that hold all pages, and so can verify any data piece.
    ready: BTreeSet<Rank>,
    /// Those that do not.
    behind: BTreeSet<Rank>,
}

impl Needy {
    /// A partner has changed.
    pub(super) fn moved(&mut self, peer: NodeId, before: Place, after: Place) {
        if before == after {
            return;
        }
        if let Some((is_ready, need)) = before {
            self.half(is_ready).remove(&(need, peer));
        }
        if let Some((is_ready, need)) = after {
            self.half(is_ready).insert((need, peer));
        }
    }

    fn half(&mut self, is_ready: bool) -> &mut BTreeSet<Rank> {
        if is_ready { &mut self.ready } else { &mut self.behind }
    }

    /// Who needs a data piece most.
    pub(super) fn ready(&self) -> Option<NodeId> {
        self.ready.first().map(|(_, peer)| *peer)
    }

    /// Those that lack pages, the neediest first.
    pub(super) fn behind(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.behind.iter().map(|(_, peer)| *peer)
    }
}

impl Partner {
    /// Where it stands among the needy, of a content of so many pages.
    pub(super) fn place(&self, pages: u32) -> Place {
        self.takes_pushes().then(|| (self.pages == pages, self.need()))
    }
}
