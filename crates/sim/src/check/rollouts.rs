//! A release that does not do well stays where it was tried, and is tried there once.
//!
//! Which releases are ill is the world's secret: nobody but the probes and commands of a node can tell.

use crate::net::Nr;
use crate::plan::Illness;
use crate::truth::Truth;
use content::order::Wave;
use content::{Fact, Order, OrderId, ReleaseId};
use std::collections::{BTreeMap, BTreeSet};

/// Which order each node follows, and what became of it there.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    follows: BTreeMap<Nr, OrderId>,
    /// Who swung to the release of an order, by that order.
    tried: BTreeMap<OrderId, BTreeSet<Nr>>,
    given_up: BTreeSet<(OrderId, Nr)>,
    confirmed: BTreeSet<ReleaseId>,
}

/// Whether a release does well nowhere.
fn is_hopeless(truth: &Truth, release: ReleaseId) -> bool {
    truth.releases.get(&release).is_some_and(|known| matches!(known.illness, Illness::Sick | Illness::Breaks))
}

impl Rollouts {
    /// A node follows an order from now on, or remembers that after its start.
    pub(crate) fn follows(&mut self, nr: Nr, order: OrderId) {
        self.follows.insert(nr, order);
    }

    /// The order that a node follows, if it is the one that names this release as its own.
    fn order_for<'a>(&self, truth: &'a Truth, nr: Nr, release: ReleaseId) -> Option<(OrderId, &'a Order)> {
        let id = *self.follows.get(&nr)?;
        truth.orders.get(&id).filter(|order| order.release == release).map(|order| (id, order))
    }

    /// A node swung its path.
    pub(crate) fn switched(&mut self, truth: &Truth, nr: Nr, release: ReleaseId) -> Option<String> {
        let (id, order) = self.order_for(truth, nr, release)?;
        if self.given_up.contains(&(id, nr)) {
            return Some(format!("node {nr} has given up {release:?} under {id:?} and swings to it again"));
        }
        let tried = self.tried.entry(id).or_default();
        tried.insert(nr);
        let Some(Wave::Count(first)) = order.waves.first() else { return None };
        let too_many = is_hopeless(truth, release) && tried.len() > *first as usize;
        too_many.then(|| {
            format!("{release:?} does well nowhere, and nodes {tried:?} swung to it; the first wave is {first}")
        })
    }

    /// A node has given an order up.
    pub(crate) fn gave_up(&mut self, nr: Nr, order: OrderId) {
        self.given_up.insert((order, nr));
    }

    /// Whether a node has given an order up: it runs what it ran before.
    pub(crate) fn has_given_up(&self, nr: Nr, order: OrderId) -> bool {
        self.given_up.contains(&(order, nr))
    }

    /// A node has confirmed a release.
    pub(crate) fn confirmed(&mut self, truth: &Truth, nr: Nr, release: ReleaseId) -> Option<String> {
        self.confirmed.insert(release);
        let (id, _) = self.order_for(truth, nr, release)?;
        let wrong = is_hopeless(truth, release);
        wrong.then(|| format!("node {nr} confirmed {release:?} under {id:?}, which does well nowhere"))
    }

    /// The origin's journal got a fact.
    pub(crate) fn noted(&self, truth: &Truth, fact: &Fact) -> Option<String> {
        let Fact::WaveOpened { order, wave: 1.., .. } = fact else { return None };
        let release = truth.orders.get(order)?.release;
        let unseen = !self.confirmed.contains(&release);
        unseen.then(|| format!("another wave of {order:?} opened, and nobody has confirmed {release:?}"))
    }

    /// A node was made anew.
    pub(crate) fn wiped(&mut self, nr: Nr) {
        self.follows.remove(&nr);
        self.given_up.retain(|(_, other)| *other != nr);
    }
}
