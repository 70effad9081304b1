//! Nobody runs what no order names, and epochs never fall.

use crate::net::Nr;
use crate::truth::Truth;
use content::{Fact, Order, OrderId, ReleaseId, Signed};
use std::collections::BTreeMap;

/// The epochs that nodes are known to have recorded, and the orders that stand in the journal.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    floors: BTreeMap<Nr, u64>,
    journal: BTreeMap<u64, OrderId>,
}

fn names(order: &Order, release: ReleaseId) -> bool {
    order.release == release || order.fallback == Some(release)
}

impl Orders {
    /// A node recorded an order.
    pub(crate) fn accepted(&mut self, truth: &Truth, nr: Nr, order: &Signed) -> Option<String> {
        let id = OrderId(order.payload_digest());
        let Some(order) = truth.orders.get(&id) else {
            return Some(format!("node {nr} accepted {id:?}, which no operator signed"));
        };
        let floor = self.floors.entry(nr).or_default();
        let before = *floor;
        *floor = before.max(order.epoch);
        (order.epoch < before).then(|| format!("node {nr} accepted epoch {} after epoch {before}", order.epoch))
    }

    /// A node swung its path; to what it had confirmed before it may go back by itself.
    pub(crate) fn switched(
        &self,
        truth: &Truth,
        nr: Nr,
        release: ReleaseId,
        confirmed: Option<ReleaseId>,
    ) -> Option<String> {
        if confirmed == Some(release) {
            return None;
        }
        let floor = self.floors.get(&nr).copied().unwrap_or(0);
        let named = truth.orders.values().any(|order| order.epoch >= floor && names(order, release));
        (!named)
            .then(|| format!("node {nr} switched to {release:?}, which no order at or above its epoch {floor} names"))
    }

    /// A node was started and remembers this order, and that this release is live.
    pub(crate) fn started(
        &mut self,
        truth: &Truth,
        nr: Nr,
        order: Option<&Signed>,
        live: Option<ReleaseId>,
    ) -> Option<String> {
        let floor = self.floors.get(&nr).copied().unwrap_or(0);
        let found = order.map(|order| OrderId(order.payload_digest()));
        let epoch = match found.map(|id| truth.orders.get(&id)) {
            None => 0,
            Some(Some(order)) => order.epoch,
            Some(None) => return Some(format!("node {nr} remembers an order that no operator signed")),
        };
        self.floors.insert(nr, epoch);
        if epoch < floor {
            return Some(format!("node {nr} recorded epoch {floor} and remembers epoch {epoch} after a crash"));
        }
        let stray = live.filter(|live| !truth.orders.values().any(|order| names(order, *live)));
        stray.map(|live| format!("node {nr} runs {live:?} after a crash, which no order names"))
    }

    /// The journal is read again from its beginning.
    pub(crate) fn begin_journal(&mut self) {
        self.journal.clear();
    }

    /// The journal got a fact.
    pub(crate) fn noted(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        let Fact::Ordered { order } = fact else { return None };
        let id = OrderId(order.payload_digest());
        let Some(order) = truth.orders.get(&id) else {
            return Some(format!("the journal holds {id:?}, which no operator signed"));
        };
        let highest = self.journal.last_key_value().map_or(0, |(epoch, _)| *epoch);
        self.journal.insert(order.epoch, id);
        (order.epoch <= highest).then(|| format!("the journal took epoch {} after epoch {highest}", order.epoch))
    }

    /// A node was made anew: what it recorded is gone.
    pub(crate) fn wiped(&mut self, nr: Nr) {
        self.floors.remove(&nr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::Wish;
    use content::Digest;

    #[test]
    fn epochs_may_not_fall_and_strangers_orders_are_noticed() {
        let mut truth = Truth::new(1);
        let release = ReleaseId(Digest::of(b"r"));
        let wish = |epoch| Wish {
            epoch,
            release,
            fallback: None,
            selector: content::Selector::default(),
            waves: vec![content::order::Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            message: "m".into(),
        };
        let (first, second) = (truth.order(&wish(1)), truth.order(&wish(2)));
        let mut orders = Orders::default();
        assert_eq!(orders.accepted(&truth, 1, &first), None);
        assert_eq!(orders.accepted(&truth, 1, &second), None);
        assert_eq!(orders.switched(&truth, 1, release, None), None);
        let other = ReleaseId(Digest::of(b"x"));
        assert!(orders.switched(&truth, 1, other, Some(release)).is_some());
        assert_eq!(orders.switched(&truth, 1, other, Some(other)), None, "it goes back to what did well");
        assert!(orders.accepted(&truth, 1, &first).is_some());
        assert!(orders.accepted(&truth, 2, &truth.forge(&wish(3))).is_some());
        assert!(orders.started(&truth, 1, Some(&first), None).is_some());
        assert_eq!(orders.noted(&truth, &Fact::Ordered { order: second.clone() }), None);
        assert!(orders.noted(&truth, &Fact::Ordered { order: second }).is_some());
    }
}
