//! What came here lately, in one list for all partners, and how far each of them has been told of it: so a piece that comes
//! touches this list and not a dozen partners.

use super::partner::Partner;
use super::transfer::Transfer;
use content::{NodeId, PieceNo, Role};

/// What came lately. What was told to all is forgotten.
#[derive(Debug, Default)]
pub(super) struct News {
    came: Vec<PieceNo>,
    /// How many came before these.
    before: u64,
}

/// How far a partner has been told.
#[derive(Debug, Default)]
pub(super) struct Told {
    until: u64,
    /// What it was passed since: it need not hear of that.
    given: Vec<PieceNo>,
    /// What it must hear of besides.
    besides: Vec<PieceNo>,
}

impl News {
    fn end(&self) -> u64 {
        self.before + self.came.len() as u64
    }

    fn since(&self, until: u64) -> &[PieceNo] {
        &self.came[(until.saturating_sub(self.before) as usize).min(self.came.len())..]
    }

    /// Forgets what came before that.
    fn forget(&mut self, until: u64) {
        let known = until.saturating_sub(self.before).min(self.came.len() as u64);
        self.came.drain(..known as usize);
        self.before += known;
    }
}

impl Told {
    /// It hears of a piece with the next news, whatever else is the case.
    pub(super) fn add(&mut self, piece: PieceNo) {
        self.besides.push(piece);
    }

    /// Says nothing more of what it has by now.
    pub(super) fn skip(&mut self, has: impl Fn(PieceNo) -> bool) {
        self.besides.retain(|piece| !has(*piece));
    }
}

impl Partner {
    /// What it should hear of: also of what it has, since it judges by what we hold whether we are behind.
    fn take_news(&mut self, news: &News, hears: bool) -> Vec<PieceNo> {
        let Told { until, given, besides } = std::mem::take(&mut self.told);
        self.told.until = news.end();
        let mut pieces = besides;
        if hears {
            // What it was given came in the same order.
            let mut given = given.into_iter().peekable();
            let is_new = |piece: &&PieceNo| given.next_if_eq(*piece).is_none();
            pieces.extend(news.since(until).iter().filter(is_new));
        }
        pieces
    }
}

impl Transfer {
    /// A piece is here: notes it for everyone who should hear of it. Whether a neighbour may have to, and how many news wait for a
    /// source.
    pub(super) fn note_news(&mut self, piece: PieceNo, given: &[NodeId]) -> (bool, usize) {
        if self.push.is_some() {
            // Only a source pushes; it has no source of its own, and says what it holds only to those who asked.
            let mut near = false;
            for peer in &self.askers {
                if let Some(partner) = self.partners.get_mut(peer).filter(|partner| !partner.have.contains(piece)) {
                    partner.told.add(piece);
                    near = true;
                }
            }
            return (near, 0);
        }
        self.news.came.push(piece);
        for peer in given {
            self.partners.entry(*peer).and_modify(|partner| partner.told.given.push(piece));
        }
        (self.agents > 0, self.news_for_sources())
    }

    fn news_for_sources(&self) -> usize {
        let is_known = self.order.is_known();
        let origins = self.sources.iter().filter_map(|peer| self.partners.get(peer));
        let hearing = origins.filter(|partner| partner.hears(is_known));
        hearing.map(|partner| self.news.since(partner.told.until).len()).max().unwrap_or(0)
    }

    /// What a partner should hear of now.
    pub(super) fn take_news(&mut self, peer: NodeId) -> Vec<PieceNo> {
        let is_known = self.order.is_known();
        let Some(partner) = self.partners.get_mut(&peer) else { return Vec::new() };
        let hears = self.push.is_none() && partner.hears(is_known);
        partner.take_news(&self.news, hears)
    }

    /// What all of some roles should hear of now.
    pub(super) fn take_all_news(&mut self, to: fn(Role) -> bool) -> Vec<(NodeId, Vec<PieceNo>)> {
        let is_known = self.order.is_known();
        let mut least = self.news.end();
        let mut all = Vec::new();
        for (peer, partner) in &mut self.partners {
            if to(partner.role) {
                let pieces = partner.take_news(&self.news, partner.hears(is_known));
                if !pieces.is_empty() {
                    all.push((*peer, pieces));
                }
            } else if partner.role != Role::Operator {
                least = least.min(partner.told.until);
            }
        }
        self.news.forget(least);
        all
    }

    /// A partner is told all that is here.
    pub(super) fn told_all(&mut self, peer: NodeId) {
        let until = self.news.end();
        self.partners.entry(peer).and_modify(|partner| partner.told = Told { until, ..Told::default() });
    }

    /// How far a partner was told that comes now.
    pub(super) fn told_nothing(&self) -> Told {
        Told { until: self.news.end(), ..Told::default() }
    }
}

impl Partner {
    /// Whether it should hear of pieces. A source that has everything needs to while it gives out what it has, and so does one
    /// that told only us.
    fn hears(&self, is_order_known: bool) -> bool {
        match self.role {
            Role::Agent => self.wants,
            Role::Origin => is_order_known || !self.have.is_full(),
            Role::Operator => false,
        }
    }
}
