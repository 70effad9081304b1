//! A release that does not do well stays where it was tried, and is tried there once; no more nodes switch at once than an order allows,
//! and no gate opens without a word.
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
    /// The order under which a node has swung and neither confirmed nor given up.
    switching: BTreeMap<Nr, OrderId>,
    /// Who is not counted among those: it was away for long, or a step failed there, so that it counts as failed and may try again.
    uncounted: BTreeSet<Nr>,
    /// How often somebody switched as the last that might.
    full: u64,
    opened: BTreeSet<(OrderId, u8)>,
    promoted: BTreeSet<(OrderId, u8)>,
}

/// The rack of a machine, as the world labels them.
fn rack(nr: Nr) -> usize {
    nr % 2
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
        self.switching.remove(&nr);
        let (id, order) = self.order_for(truth, nr, release)?;
        self.switching.insert(nr, id);
        if let Some(wrong) = self.too_many_at_once(nr, id, order) {
            return Some(wrong);
        }
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

    /// Whether more nodes of a group are switching than the order allows, now that this one is.
    fn too_many_at_once(&mut self, nr: Nr, id: OrderId, order: &Order) -> Option<String> {
        for limit in &order.restraint.at_once {
            let Wave::Count(most) = limit.most else { continue };
            let is_near = |other: &Nr| limit.by.is_none() || rack(*other) == rack(nr);
            let counts =
                |(other, of): &(&Nr, &OrderId)| **of == id && is_near(other) && !self.uncounted.contains(other);
            let now: Vec<Nr> = self.switching.iter().filter(counts).map(|(other, _)| *other).collect();
            self.full += u64::from(now.len() == most as usize);
            if now.len() > most as usize && !self.uncounted.contains(&nr) {
                return Some(format!("nodes {now:?} are switching at once under {id:?}, which allows {limit}"));
            }
        }
        None
    }

    /// How often somebody switched as the last that might, since this was asked last.
    pub(crate) fn take_full(&mut self) -> u64 {
        std::mem::take(&mut self.full)
    }

    /// A step failed on a node.
    pub(crate) fn failed(&mut self, nr: Nr) {
        self.uncounted.insert(nr);
    }

    /// A node is cut off for so long that nobody waits for it.
    pub(crate) fn lost_sight(&mut self, nr: Nr) {
        self.uncounted.insert(nr);
    }

    /// An operator said that the wave after this one may open.
    pub(crate) fn promoted(&mut self, order: OrderId, wave: u8) {
        self.promoted.insert((order, wave));
    }

    /// Whether a wave of an order is known to have opened.
    pub(crate) fn has_opened(&self, order: OrderId, wave: u8) -> bool {
        self.opened.contains(&(order, wave))
    }

    /// A node has given an order up.
    pub(crate) fn gave_up(&mut self, nr: Nr, order: OrderId) {
        self.switching.remove(&nr);
        self.given_up.insert((order, nr));
    }

    /// Whether a node has given an order up: it runs what it ran before.
    pub(crate) fn has_given_up(&self, nr: Nr, order: OrderId) -> bool {
        self.given_up.contains(&(order, nr))
    }

    /// A node has confirmed a release.
    pub(crate) fn confirmed(&mut self, truth: &Truth, nr: Nr, release: ReleaseId) -> Option<String> {
        self.confirmed.insert(release);
        self.switching.remove(&nr);
        let (id, _) = self.order_for(truth, nr, release)?;
        let wrong = is_hopeless(truth, release);
        wrong.then(|| format!("node {nr} confirmed {release:?} under {id:?}, which does well nowhere"))
    }

    /// The origin's journal got a fact.
    pub(crate) fn noted(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        let Fact::WaveOpened { order, wave, .. } = fact else { return None };
        self.opened.insert((*order, *wave));
        let before = wave.checked_sub(1)?;
        let of = truth.orders.get(order)?;
        if of.restraint.has_gate(before) && !self.promoted.contains(&(*order, before)) {
            return Some(format!("wave {wave} of {order:?} opened behind a gate, and nobody said the word"));
        }
        let release = of.release;
        let unseen = !self.confirmed.contains(&release);
        unseen.then(|| format!("another wave of {order:?} opened, and nobody has confirmed {release:?}"))
    }

    /// A node was made anew.
    pub(crate) fn wiped(&mut self, nr: Nr) {
        self.follows.remove(&nr);
        self.given_up.retain(|(_, other)| *other != nr);
    }
}
