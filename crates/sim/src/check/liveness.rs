//! When faults stop, all arrive: every healthy selected node confirms the newest ordered release, or its fallback.

use crate::truth::Truth;
use content::{Fact, Labels, Order, OrderId, ReleaseId};
use std::time::Duration;

/// How long after the last fault all must have arrived.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// What the journal says shall run.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    newest: Option<(OrderId, u64)>,
    fell_back: bool,
}

impl Wanted {
    /// The fleet's journal, in order.
    pub(crate) fn noted(&mut self, truth: &Truth, fact: &Fact) {
        match fact {
            Fact::Ordered { order } => {
                let id = OrderId(order.payload_digest());
                let epoch = truth.orders.get(&id).map_or(0, |order| order.epoch);
                if self.newest.is_none_or(|(_, newest)| epoch > newest) {
                    *self = Self { newest: Some((id, epoch)), fell_back: false };
                }
            }
            Fact::Halted { order, .. } | Fact::FellBack { order, .. } if self.is_newest(*order) => {
                self.fell_back = true
            }
            _ => (),
        }
    }

    fn is_newest(&self, order: OrderId) -> bool {
        self.newest.is_some_and(|(newest, _)| newest == order)
    }

    /// The newest order in the journal.
    pub(crate) fn newest(&self) -> Option<OrderId> {
        self.newest.map(|(order, _)| order)
    }

    /// The newest epoch in the journal.
    pub(crate) fn epoch(&self) -> u64 {
        self.newest.map_or(0, |(_, epoch)| epoch)
    }

    /// The newest order.
    pub(crate) fn order<'a>(&self, truth: &'a Truth) -> Option<&'a Order> {
        truth.orders.get(&self.newest?.0)
    }

    /// Whether its rollout was halted.
    pub(crate) fn is_halted(&self) -> bool {
        self.fell_back
    }

    /// What a node with these labels must run and have confirmed; `None` when it may run anything.
    pub(crate) fn of(&self, truth: &Truth, labels: &Labels) -> Option<ReleaseId> {
        let order = self.order(truth)?;
        if !order.selector.matches(labels) {
            return None;
        }
        if self.fell_back { order.fallback } else { Some(order.release) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::Wish;
    use content::Digest;

    #[test]
    fn the_newest_order_is_wanted_and_its_fallback_when_it_halts() {
        let mut truth = Truth::new(1);
        let (a, b) = (ReleaseId(Digest::of(b"a")), ReleaseId(Digest::of(b"b")));
        let wish = Wish {
            epoch: 2,
            release: b,
            fallback: Some(a),
            selector: content::Selector::default(),
            waves: vec![content::order::Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            message: "m".into(),
        };
        let order = truth.order(&wish);
        let mut wanted = Wanted::default();
        assert_eq!(wanted.of(&truth, &Labels::new()), None);
        wanted.noted(&truth, &Fact::Ordered { order: order.clone() });
        assert_eq!(wanted.of(&truth, &Labels::new()), Some(b));
        let halted = Fact::Halted { app: truth.app.clone(), order: OrderId(order.payload_digest()), why: "w".into() };
        wanted.noted(&truth, &halted);
        assert_eq!(wanted.of(&truth, &Labels::new()), Some(a));
    }
}
