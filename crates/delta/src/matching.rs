//! Finds which runs of the new string are worth being taken from the old one, and from where.
//!
//! A run lies on a *diagonal*: the distance between where its symbols stand in old and in new. Symbols on it need not be
//! equal, those that differ are mended one by one. So for each new symbol there is a choice: written as it is (a
//! *literal*), or on some diagonal, where equal is free and different is dear; and to begin on another diagonal has a
//! price too. The cheapest way through all choices is what is wanted, found by dynamic programming along new, with
//! only a few diagonals in the running at a time (*lanes*): those that the longest exact matches here propose, and those
//! that were taken lately. A proposed diagonal is tried also before the match that proposed it, as far back as it fits.
//!
//! What pays is decided by [`Prices`] alone, so a run that costs more than it saves does not come about. Long equal runs
//! are walked through at the speed of comparing, and no search compares more than [`crate::suffix::REACH`] symbols, so the work is bounded for
//! zeros, periods and other self-similar strings.

use crate::suffix::{Suffixes, common_prefix};

/// A run of new symbols that is taken from old ones, then mended one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Equivalence {
    /// Where it begins in old.
    pub(crate) old: u32,
    /// Where it begins in new.
    pub(crate) new: u32,
    /// How many symbols it has.
    pub(crate) len: u32,
}

/// What it costs to say something in a patch, in sixteenths of a bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prices {
    /// To go on with the diagonal that was left last.
    pub(crate) resume: u32,
    /// To go back to one of the diagonals before that.
    pub(crate) recent: u32,
    /// To begin on any other diagonal; each bit of the distance between the two comes on top.
    pub(crate) jump: u32,
    /// A symbol that differs, after one that is equal.
    pub(crate) miss: u32,
    /// A symbol that differs, after one that differs.
    pub(crate) more: u32,
    /// A literal, by the byte that it is.
    pub(crate) literals: [u32; 256],
    /// A literal that is a token above all bytes; it costs as much to mend one.
    pub(crate) token: u32,
    /// The shortest exact match that proposes a diagonal.
    pub(crate) seed: usize,
}

const BIT: u32 = 16;

impl Prices {
    /// Prices for plain bytes, of which literals cost by how often they are in `new`.
    pub(crate) fn of_bytes(new: &[u8]) -> Self {
        let mut counts = [1u64; 256];
        new.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let total: u64 = counts.iter().sum();
        // The logarithm to base 2 in sixteenths, and a tenth less: a coder knows what came before.
        let literals = counts.map(|count| (sixteenths(total) - sixteenths(count)) * 9 / 10);
        let sum: u64 = counts.iter().zip(literals).map(|(count, price)| count * u64::from(price)).sum();
        let mean = (sum / total) as u32;
        let bits = |bits: u32| bits * BIT;
        Self {
            resume: bits(15),
            recent: bits(18),
            jump: bits(20),
            miss: mean + bits(3),
            more: mean + bits(3),
            literals,
            token: bits(14),
            seed: 9,
        }
    }
}

/// The logarithm to base 2 of a number that is not zero, in sixteenths, by a straight line between powers of two.
fn sixteenths(number: u64) -> u32 {
    let whole = number.ilog2();
    let rest = (number << (63 - whole) << 1) >> 60;
    whole * 16 + rest as u32
}

/// A symbol, and the byte by which exact matches of it are searched.
pub(crate) trait Symbol: Copy + Eq {
    /// Equal symbols have equal seeds; others should differ.
    fn seed(self) -> u8;

    /// What it costs as a literal.
    fn price(self, prices: &Prices) -> u64;

    /// What it costs to mend: after one that is equal, and after one that differs.
    fn mending(self, prices: &Prices) -> [u64; 2];
}

impl Symbol for u8 {
    fn seed(self) -> u8 {
        self
    }

    fn price(self, prices: &Prices) -> u64 {
        u64::from(prices.literals[usize::from(self)])
    }

    fn mending(self, prices: &Prices) -> [u64; 2] {
        [prices.miss, prices.more].map(u64::from)
    }
}

impl Symbol for u32 {
    fn seed(self) -> u8 {
        if self < 256 { self as u8 } else { (self.wrapping_mul(0x9e37_79b1) >> 24) as u8 }
    }

    fn price(self, prices: &Prices) -> u64 {
        u64::from(prices.literals.get(self as usize).copied().unwrap_or(prices.token))
    }

    fn mending(self, prices: &Prices) -> [u64; 2] {
        match self {
            0..256 => [prices.miss, prices.more].map(u64::from),
            _ => [prices.token + prices.miss - prices.more, prices.token].map(u64::from),
        }
    }
}

/// The equivalences of two token strings, each below 2 GiB: ascending in new, without overlaps in new. Bytes are tokens
/// below 256.
pub(crate) fn equivalences(old: &[u32], new: &[u32], prices: &Prices) -> Vec<Equivalence> {
    let seeds = |tokens: &[u32]| tokens.iter().map(|token| token.seed()).collect::<Vec<u8>>();
    cheapest(Strings { old, new }, &seeds(old), &seeds(new), prices)
}

/// The same for plain bytes.
pub(crate) fn equivalences_bytes(old: &[u8], new: &[u8], prices: &Prices) -> Vec<Equivalence> {
    cheapest(Strings { old, new }, old, new, prices)
}

fn cheapest<T: Symbol>(strings: Strings<'_, T>, old: &[u8], new: &[u8], prices: &Prices) -> Vec<Equivalence> {
    let suffixes = Suffixes::new(old);
    let mut way = Way::new(strings, prices);
    let (mut at, mut search) = (0, 0);
    while at < new.len() {
        let run = way.run_of_leader(at);
        if run >= WALK {
            way.walk(at, run);
            at += run;
            search = at;
            continue;
        }
        if at >= search {
            search = at + propose(&suffixes, &new[at..], at, run, &mut way);
        }
        way.step(at);
        at += 1;
    }
    way.equivalences()
}

/// Searches what begins at `at`, where the leading diagonal has an equal run of this length. Returns after how many
/// symbols to search again.
fn propose<T: Symbol>(suffixes: &Suffixes<'_>, new: &[u8], at: usize, run: usize, way: &mut Way<'_, T>) -> usize {
    let Some(found) = suffixes.longest(new, way.expected(at)) else { return run.max(1) };
    if found.len <= run {
        return run.max(1);
    }
    if found.len >= way.prices.seed {
        way.propose(at, found.old as i64 - at as i64);
    }
    (found.len / 4).max(1)
}

/// An equal run on the leading diagonal that is this long is walked through at once.
const WALK: usize = 32;

/// How many diagonals are in the running.
const LANES: usize = 16;

/// How far back a proposed diagonal is tried.
const BACK: usize = 1 << 10;

/// How much dearer than what is held a diagonal may become, while it is tried backwards, before it is given up.
const PATIENCE: u64 = 80 * BIT as u64;

const NOWHERE: u64 = u64::MAX / 2;

#[derive(Debug, Clone, Copy)]
struct Strings<'a, T> {
    old: &'a [T],
    new: &'a [T],
}

impl<T: Symbol> Strings<'_, T> {
    /// Whether the symbol is equal on this diagonal; nothing if the diagonal is outside old here.
    fn equal(&self, at: usize, diagonal: i64) -> Option<bool> {
        let old = self.old.get((at as i64 + diagonal) as usize)?;
        Some(*old == self.new[at])
    }

    fn old_from(&self, at: usize, diagonal: i64) -> &[T] {
        self.old.get((at as i64 + diagonal) as usize..).unwrap_or_default()
    }
}

/// A run that was begun: what came before it, and where.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The number of the step before.
    before: u32,
    /// Where in new that one ended.
    ended: u32,
    /// Where in new this one begins.
    start: u32,
    diagonal: i64,
}

/// The cheapest way to have said everything before some place: the last step of it, and where that ended.
#[derive(Debug, Clone, Copy)]
struct Head {
    cost: u64,
    step: u32,
    end: u32,
}

/// A diagonal in the running.
#[derive(Debug, Clone, Copy)]
struct Lane {
    /// The cost of having said everything before here, and being on this diagonal.
    cost: u64,
    /// How the way came on this diagonal.
    entry: Step,
    /// The number of `entry`, when something depends on it.
    step: Option<u32>,
    /// The price to come on this diagonal from the head.
    price: u64,
    /// The last symbol here differed.
    missed: bool,
}

impl Lane {
    /// Goes on by an equal symbol, after coming anew from the head if that is cheaper.
    fn hit(&mut self, head: Head, at: usize) {
        let entered = head.cost + self.price;
        if entered < self.cost {
            self.cost = entered;
            self.entry = Step { before: head.step, ended: head.end, start: at as u32, diagonal: self.entry.diagonal };
            self.step = None;
        }
        self.missed = false;
    }
}

/// Who is cheapest at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leader {
    Literals,
    Lane(usize),
}

/// The cheapest ways to here.
struct Way<'a, T> {
    strings: Strings<'a, T>,
    prices: &'a Prices,
    steps: Vec<Step>,
    lanes: Vec<Lane>,
    /// The cheapest way that ends in a literal.
    literals: Head,
    head: Head,
    leader: Leader,
    /// The heads of the last [`BACK`] places.
    past: Vec<Head>,
}

impl<'a, T: Symbol> Way<'a, T> {
    fn new(strings: Strings<'a, T>, prices: &'a Prices) -> Self {
        let head = Head { cost: 0, step: 0, end: 0 };
        let origin = Step { before: 0, ended: 0, start: 0, diagonal: 0 };
        let past = vec![head; BACK];
        let lanes = Vec::with_capacity(LANES);
        let mut way =
            Self { strings, prices, steps: vec![origin], lanes, literals: head, head, leader: Leader::Literals, past };
        way.propose(0, 0);
        way
    }

    /// Where in old one would go on.
    fn expected(&self, at: usize) -> usize {
        (at as i64 + self.steps[self.head.step as usize].diagonal).max(0) as usize
    }

    /// How long the leading diagonal is equal from here on.
    fn run_of_leader(&self, at: usize) -> usize {
        match self.leader {
            Leader::Literals => 0,
            Leader::Lane(lane) => {
                let old = self.strings.old_from(at, self.lanes[lane].entry.diagonal);
                common_prefix(old, &self.strings.new[at..])
            }
        }
    }

    /// Walks through an equal run of the leading diagonal. Nothing is cheaper there, so the others only count what they miss.
    fn walk(&mut self, at: usize, run: usize) {
        let end = at + run;
        for number in 0..self.lanes.len() {
            if self.leader != Leader::Lane(number) {
                self.lanes[number] = self.walked(self.lanes[number], at, end);
            }
        }
        for place in end.saturating_sub(BACK).max(at)..end {
            self.past[place % BACK] = Head { end: place as u32, ..self.head };
        }
        self.head.end = end as u32;
        self.literals = self.head;
    }

    /// A lane after a run on which the leader misses nothing: it is begun anew at the end, if its misses cost more than that.
    fn walked(&self, mut lane: Lane, at: usize, end: usize) -> Lane {
        let anew = self.head.cost + lane.price;
        let mut place = at;
        while place < end && lane.cost < anew {
            let until = (place + 64).min(end);
            lane.cost += self.mending(place, until, lane.entry.diagonal);
            place = until;
        }
        if lane.cost < anew {
            return lane;
        }
        let end = end as u32;
        let entry = Step { before: self.head.step, ended: end, start: end, diagonal: lane.entry.diagonal };
        Lane { cost: anew, entry, step: None, ..lane }
    }

    /// About what it costs to mend these places on a diagonal.
    fn mending(&self, place: usize, until: usize, diagonal: i64) -> u64 {
        let (new, old) = (&self.strings.new[place..until], self.strings.old_from(place, diagonal));
        let equal = new.iter().zip(old).filter(|(new, old)| new == old).count();
        (new.len() - equal) as u64 * u64::from(self.prices.more)
    }

    /// Goes on by the symbol at `at`.
    fn step(&mut self, at: usize) {
        self.past[at % BACK] = self.head;
        let literal = self.strings.new[at].price(self.prices);
        let missed = self.strings.new[at].mending(self.prices);
        for lane in &mut self.lanes {
            match self.strings.equal(at, lane.entry.diagonal) {
                Some(true) => lane.hit(self.head, at),
                Some(false) => {
                    lane.cost += missed[usize::from(lane.missed)];
                    lane.missed = true;
                }
                None => lane.cost = NOWHERE,
            }
        }
        if self.head.cost < self.literals.cost {
            self.literals = self.head;
        }
        self.literals.cost += literal;
        self.lead(at + 1);
    }

    /// Finds who leads at `at`.
    fn lead(&mut self, at: usize) {
        let (mut cost, mut leader) = (self.literals.cost, Leader::Literals);
        for (number, lane) in self.lanes.iter().enumerate() {
            if lane.cost < cost || lane.cost == cost && leader == Leader::Literals {
                (cost, leader) = (lane.cost, Leader::Lane(number));
            }
        }
        self.leader = leader;
        let before = self.head.step;
        self.head = match leader {
            Leader::Literals => self.literals,
            Leader::Lane(number) => Head { cost, step: self.number_of(number), end: at as u32 },
        };
        if self.head.step != before {
            self.price_lanes();
        }
    }

    /// The number of a lane's entry, which from now on somebody depends on.
    fn number_of(&mut self, lane: usize) -> u32 {
        let lane = &mut self.lanes[lane];
        *lane.step.get_or_insert_with(|| {
            self.steps.push(lane.entry);
            (self.steps.len() - 1) as u32
        })
    }

    fn price_lanes(&mut self) {
        let recent = self.recent(self.head.step);
        for lane in &mut self.lanes {
            lane.price = self.prices.to(lane.entry.diagonal, &recent);
        }
    }

    /// The last diagonals before the end of a step, its own first.
    fn recent(&self, step: u32) -> [i64; 4] {
        let mut step = self.steps[step as usize];
        [(); 4].map(|()| {
            let diagonal = step.diagonal;
            step = self.steps[step.before as usize];
            diagonal
        })
    }

    /// Takes a diagonal into the running at `at`, for the one that is least worth it.
    fn propose(&mut self, at: usize, diagonal: i64) {
        if self.lanes.iter().any(|lane| lane.entry.diagonal == diagonal) {
            return;
        }
        let lane = self.tried(at, diagonal);
        if self.lanes.len() < LANES {
            self.lanes.push(lane);
            return;
        }
        let recent = self.recent(self.head.step);
        let kept =
            |number: usize, lane: &Lane| self.leader == Leader::Lane(number) || recent.contains(&lane.entry.diagonal);
        let others = self.lanes.iter().enumerate().filter(|(number, lane)| !kept(*number, lane));
        if let Some((number, _)) = others.max_by_key(|(_, lane)| lane.cost) {
            self.lanes[number] = lane;
        }
    }

    /// A lane for a diagonal, begun where before `at` it would have been cheapest to.
    fn tried(&self, at: usize, diagonal: i64) -> Lane {
        let mut priced = (self.head.step, self.prices.to(diagonal, &self.recent(self.head.step)));
        let price = priced.1;
        let mut best = (self.head.cost + price, self.head, at);
        let (mut missed, mut mended) = (false, 0u64);
        for place in (at.saturating_sub(BACK)..at).rev() {
            let Some(equal) = self.strings.equal(place, diagonal) else { break };
            if equal {
                missed = false;
                let head = self.past[place % BACK];
                if priced.0 != head.step {
                    priced = (head.step, self.prices.to(diagonal, &self.recent(head.step)));
                }
                if head.cost + priced.1 + mended < best.0 {
                    best = (head.cost + priced.1 + mended, head, place);
                }
            } else if mended + self.past[place % BACK].cost > self.head.cost + PATIENCE {
                break;
            } else {
                mended += self.strings.new[place].mending(self.prices)[usize::from(missed)];
                missed = true;
            }
        }
        let (cost, head, start) = best;
        let entry = Step { before: head.step, ended: head.end, start: start as u32, diagonal };
        Lane { cost, entry, step: None, price, missed: false }
    }

    /// The runs of the cheapest way, from its end back to its beginning.
    fn equivalences(self) -> Vec<Equivalence> {
        let mut found = Vec::new();
        let (mut number, mut end) = (self.head.step, self.head.end);
        while number != 0 {
            let step = self.steps[number as usize];
            let old = (i64::from(step.start) + step.diagonal) as u32;
            found.push(Equivalence { old, new: step.start, len: end - step.start });
            (number, end) = (step.before, step.ended);
        }
        found.reverse();
        found.retain(|run| run.len > 0);
        found
    }
}

impl Prices {
    /// The price to come on a diagonal when these were the last ones, the last of all first.
    fn to(&self, diagonal: i64, recent: &[i64; 4]) -> u64 {
        let price = match recent.iter().position(|held| *held == diagonal) {
            Some(0) => self.resume,
            Some(_) => self.recent,
            None => {
                let distances = recent.map(|held| (diagonal.abs_diff(held) + 1).ilog2());
                self.jump + BIT * distances[0].min(1 + distances[1]).min(2 + distances[2]).min(3 + distances[3])
            }
        };
        u64::from(price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are the same in every run and have nothing in common with those of another seed.
    fn generated(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        next.take(len).collect()
    }

    fn found(old: &[u8], new: &[u8]) -> Vec<(u32, u32, u32)> {
        let found = equivalences_bytes(old, new, &Prices::of_bytes(new));
        found.into_iter().map(|run| (run.old, run.new, run.len)).collect()
    }

    #[test]
    fn what_did_not_change_is_one_run() {
        let old = generated(1, 5000);
        assert_eq!(found(&old, &old), [(0, 0, 5000)]);
        assert_eq!(found(&old, &[]), []);
        assert_eq!(found(&[], &old), []);
    }

    #[test]
    fn moved_parts_are_found_with_exact_bounds() {
        let old = generated(1, 9000);
        let new = [&old[6000..], &generated(2, 100), &old[..6000]].concat();
        assert_eq!(found(&old, &new), [(6000, 0, 3000), (0, 3100, 6000)]);
    }

    #[test]
    fn differences_inside_a_run_do_not_end_it() {
        let old = generated(1, 9000);
        let mut new = old.clone();
        new.iter_mut().step_by(20).for_each(|byte| *byte = byte.wrapping_add(1));
        assert_eq!(found(&old, &new)[0].2, 8999, "the last byte that is equal ends it");
    }

    #[test]
    fn a_run_begins_before_the_match_that_proposed_it() {
        let old = generated(1, 9000);
        let mut tail = old[5000..].to_vec();
        // Too little is equal in a row for a seed, until 200 bytes later.
        tail[..200].iter_mut().skip(5).step_by(6).for_each(|byte| *byte ^= 0x55);
        let new = [&generated(2, 300), &tail[..]].concat();
        assert_eq!(found(&old, &new), [(5000, 300, 4000)]);
    }

    #[test]
    fn a_run_that_does_not_pay_is_left_out() {
        let old = generated(1, 9000);
        let new = [&generated(2, 300), &old[4000..4004], &generated(3, 300)].concat();
        assert_eq!(found(&old, &new), []);
        let new = [&generated(2, 300), &old[4000..4030], &generated(3, 300)].concat();
        assert_eq!(found(&old, &new), [(4000, 300, 30)]);
    }

    #[test]
    fn runs_are_in_order_and_inside_both_strings() {
        for seed in 0..40 {
            let old: Vec<u8> = generated(seed, 3000).iter().map(|byte| byte % (2 + seed as u8)).collect();
            let new: Vec<u8> = generated(seed + 1, 3000).iter().map(|byte| byte % (2 + seed as u8)).collect();
            let new = [&new[..500], &old[100..900], &new[..], &old[700..2000]].concat();
            let mut end = 0;
            for run in equivalences_bytes(&old, &new, &Prices::of_bytes(&new)) {
                assert!(run.new >= end && run.len > 0 && (run.old + run.len) as usize <= old.len());
                end = run.new + run.len;
            }
            assert!(end as usize <= new.len());
        }
    }

    #[test]
    fn tokens_are_matched_by_what_they_are_and_not_by_their_seeds() {
        let bytes = generated(1, 4000);
        let tokens = |label: u32| -> Vec<u32> {
            let each = bytes.iter().enumerate();
            each.map(|(at, byte)| if at % 9 == 0 { label + at as u32 } else { u32::from(*byte) }).collect()
        };
        let old = tokens(1000);
        let prices = Prices::of_bytes(&bytes);
        let new = [&old[2000..], &old[..2000]].concat();
        let runs = equivalences(&old, &new, &prices);
        assert_eq!(runs.iter().map(|run| (run.old, run.len)).collect::<Vec<_>>(), [(2000, 2000), (0, 2000)]);
        let labels = |first: u32| (first..first + 4000).collect::<Vec<u32>>();
        assert_eq!(equivalences(&labels(1000), &labels(700_000), &prices), [], "seeds are equal here and there");
    }

    #[test]
    fn c12_self_similar_strings_take_bounded_work() {
        let len = 1 << 20;
        let (mut a, mut b) = (vec![0u8], vec![0u8, 1]);
        while b.len() < len {
            (a, b) = (b.clone(), [&b[..], &a[..]].concat());
        }
        let period: Vec<u8> = generated(3, 48).into_iter().cycle().take(len).collect();
        for old in [&vec![0; len], &period, &b] {
            for new in [&vec![0; len], &period, &b] {
                equivalences_bytes(old, &new[5..], &Prices::of_bytes(new));
            }
        }
    }
}
