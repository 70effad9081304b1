//! Which patches an origin makes, of what, with how much work; who waits for one, and how long; what it has to offer.
//!
//! A patch pays when it brings bytes to where they go sooner than they would come without it: making, sending and applying it take time
//! as well. It decides only: what nodes run and how fast links are it is told, and making is a job of the host. Invariants: one patch is made
//! at a time; nobody waits beyond a deadline.

mod measured;

use crate::door::{Effort, RoadStatus, Time, Wish};
use content::fact::Offer;
use content::{AppName, ContentId, ContentSpec, NodeId, Rate};
pub(crate) use measured::Came;
use measured::Measured;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From how many releases patches are made, those that most nodes run.
pub(crate) const BASES: usize = 3;
/// What a link without a limit brings: 1 Gbit/s.
pub(crate) const USUAL: Rate = Rate(125_000_000);
/// How many bytes of a target go through in a second when a patch is made fast, when it is made as well as can be, and when it is applied,
/// before anyone has measured it.
const FAST: u64 = 20_000_000;
const BEST: u64 = 1_500_000;
const APPLIED: u64 = 100_000_000;
/// Whoever comes later does with two patches in a row that have less than one in so many of the bytes that are lacking.
const IN_A_ROW: u64 = 2;
/// What part of what is lacking a patch has, before anyone knows: one in so many.
const FAST_IS: u64 = 5;
const BEST_IS: u64 = 10;
/// A patch may take so many times what was estimated for it and for the way without it, and at least so long.
const LATE: u32 = 4;
const LEAST: Duration = Duration::from_secs(30);

/// Nodes that run the same release.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) content: ContentId,
    /// What people call it.
    pub(crate) name: String,
    pub(crate) nodes: BTreeSet<NodeId>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Its turn has not come.
    Waits,
    Making,
    /// There is one, of so many bytes.
    Made(u64),
    /// There are two in a row that bring it, of so many bytes together.
    InARow(u64),
    /// There is none, and why.
    None(String),
}

impl Base {
    pub(crate) fn new(content: ContentId, name: String, nodes: BTreeSet<NodeId>) -> Self {
        Self { content, name, nodes, state: State::Waits }
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Waits | State::Making)
    }
}

/// By what it is estimated how long roads take.
#[derive(Debug, Clone, Copy)]
struct Paces {
    /// The bytes of links, and of targets of which patches are made with either work, in a second.
    link: Rate,
    fast: u64,
    best: u64,
    /// Whether they were measured: links, and making with either work.
    is_measured: (bool, [bool; 2]),
}

impl Paces {
    fn making(&self, effort: Effort) -> (u64, bool) {
        match effort {
            Effort::Fast => (self.fast, self.is_measured.1[0]),
            Effort::Best => (self.best, self.is_measured.1[1]),
        }
    }

    /// What was measured of what a decision goes by, in words.
    fn words(&self, effort: Effort) -> String {
        let speed = |rate: u64| format!("{:.1} MB/s", rate as f64 / 1e6);
        let link = self.is_measured.0.then(|| format!("; the last release came at {}", speed(self.link.0)));
        let making = Some(self.making(effort)).filter(|(_, is_measured)| *is_measured);
        let making = making.map(|(rate, _)| format!("; the last patches were made at {}", speed(rate)));
        [link, making].into_iter().flatten().collect()
    }
}

/// What is wanted for the newest release of an application.
#[derive(Debug)]
struct Plan {
    target: ContentSpec,
    wish: Wish,
    paces: Paces,
    /// When it was begun to be brought, and how long that took.
    begun: Time,
    took: Option<Duration>,
    /// The work that is put into its patches; `None` when none are made, or only for whoever comes later.
    effort: Option<Effort>,
    bases: Vec<Base>,
    /// What a node lacks of the target, as far as is known.
    lacks: u64,
    /// Whether the target is whole here.
    is_ready: bool,
    /// Whether nodes wait for their patches.
    is_awaited: bool,
    /// Whether nodes have ever waited for them.
    was_awaited: bool,
    why: String,
}

/// A patch that is being made.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    target: ContentId,
    base: ContentId,
    effort: Effort,
    bytes: u64,
    begun: Time,
}

/// A patch that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Making {
    pub(crate) base: ContentId,
    pub(crate) target: ContentId,
    pub(crate) effort: Effort,
    pub(crate) below: u64,
}

/// Everything that an origin makes and offers.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    plans: BTreeMap<AppName, Plan>,
    under_way: Option<UnderWay>,
    measured: Measured,
    /// By what they make, and from what.
    offers: BTreeMap<(ContentId, ContentId), Offer>,
}

fn time(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX))
}

/// How long it takes until the last nodes have a content by patches from so many bases.
fn by_patches(bytes: u64, lacks: u64, paces: &Paces, (effort, bases): (Effort, u32)) -> Duration {
    let part = if effort == Effort::Fast { FAST_IS } else { BEST_IS };
    time(bytes, paces.making(effort).0) * bases + time(lacks / part, paces.link.0) + time(bytes, APPLIED)
}

/// With how much work patches are made, or why nobody waits for any.
fn judge(wish: Wish, bytes: u64, lacks: u64, paces: &Paces, bases: u32) -> Result<(Effort, String), String> {
    let effort = match wish {
        Wish::Whole => return Err("no patch is wished for".to_owned()),
        Wish::Patches(effort) => return Ok((effort, "a patch is wished for".to_owned())),
        Wish::Auto => [Effort::Fast, Effort::Best],
    };
    let whole = time(lacks, paces.link.0);
    let took = |effort: &Effort| by_patches(bytes, lacks, paces, (*effort, bases));
    let best = effort.into_iter().min_by_key(took).unwrap_or(Effort::Fast);
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let (with, without, by) = (seconds(took(&best)), seconds(whole), paces.words(best));
    match took(&best) < whole {
        true => Ok((best, format!("with patches it takes about {with}, without {without}{by}"))),
        false => {
            let fast = if paces.link.0 >= USUAL.0 { "links are fast: " } else { "" };
            Err(format!("{fast}without a patch it takes about {without}, with one {with}{by}"))
        }
    }
}

impl Patches {
    /// How the newest release of an application came to nodes, piece by piece: the links of the next one may be like that.
    pub(crate) fn came(&mut self, now: Time, app: &AppName, came: impl Fn(ContentId) -> Vec<(NodeId, Came)>) {
        let Some(plan) = self.plans.get(app).filter(|plan| !plan.was_awaited) else { return };
        let Some(took) = plan.took else { return };
        came(plan.target.id()).into_iter().for_each(|(node, came)| self.measured.came(now, node, came, took));
    }

    /// A release is being brought: which nodes wait for a patch. `rate` is what limits leave of links.
    pub(crate) fn plan(
        &mut self,
        now: Time,
        app: &AppName,
        target: ContentSpec,
        (wish, rate): (Wish, Rate),
        bases: Vec<Base>,
    ) -> BTreeSet<NodeId> {
        let lacks = target.bytes + target.blob.len;
        let nodes = bases.iter().flat_map(|base| base.nodes.iter().copied()).collect();
        let plan = Plan {
            target,
            wish,
            paces: self.paces(now, rate, &nodes),
            begun: now,
            took: None,
            effort: None,
            bases,
            lacks,
            is_ready: false,
            is_awaited: false,
            was_awaited: false,
            why: String::new(),
        };
        let plan = self.plans.entry(app.clone()).insert_entry(plan).into_mut();
        plan.judge();
        plan.waiting()
    }

    fn paces(&mut self, now: Time, rate: Rate, nodes: &BTreeSet<NodeId>) -> Paces {
        let link = self.measured.link(now, nodes).filter(|link| *link < rate);
        let making = [Effort::Fast, Effort::Best].map(|effort| self.measured.making(now, effort));
        // A limit that is lower holds now, whatever came before it.
        Paces {
            link: link.unwrap_or(rate),
            fast: making[0].unwrap_or(FAST),
            best: making[1].unwrap_or(BEST),
            is_measured: (link.is_some(), making.map(|rate| rate.is_some())),
        }
    }

    /// All of a target is here, and so many of its bytes were not here before: who waits in vain, and for how long the others do.
    pub(crate) fn ready(
        &mut self,
        now: Time,
        target: ContentId,
        lacked: u64,
    ) -> Option<(AppName, BTreeSet<NodeId>, Duration)> {
        let (app, plan) = self.plans.iter_mut().find(|(_, plan)| plan.target.id() == target && !plan.is_ready)?;
        let before = plan.waiting();
        (plan.is_ready, plan.lacks, plan.took) = (true, lacked, Some(now.since(plan.begun)));
        if plan.is_awaited {
            plan.judge();
        }
        let after = plan.waiting();
        let gone = before.into_iter().filter(|node| !after.contains(node)).collect();
        Some((app.clone(), gone, plan.patience()))
    }

    /// The rollout is over: whoever comes later may still have use for patches, now that nobody waits for this machine.
    pub(crate) fn for_stragglers(&mut self, app: &AppName, bases: Vec<Base>) {
        let Some(plan) = self.plans.get(app).filter(|plan| plan.is_ready && plan.wish != Wish::Whole) else { return };
        let (target, lacks) = (plan.target.id(), plan.lacks);
        let in_a_row = |base: &Base| self.in_a_row(base.content, target).filter(|bytes| *bytes < lacks / IN_A_ROW);
        let rows: Vec<Option<u64>> = bases.iter().map(in_a_row).collect();
        let Some(plan) = self.plans.get_mut(app) else { return };
        let had_patches = plan.effort.is_some();
        if !had_patches {
            plan.effort = Some(if let Wish::Patches(effort) = plan.wish { effort } else { Effort::Fast });
            let why = plan.why.clone();
            plan.bases.iter_mut().for_each(|base| base.state = State::None(why.clone()));
        }
        for (base, row) in bases.into_iter().zip(rows) {
            if had_patches && plan.bases.iter().any(|known| known.content == base.content) {
                continue;
            }
            plan.bases.retain(|known| known.content != base.content);
            let state = row.map_or(State::Waits, State::InARow);
            plan.bases.push(Base { state, ..base });
        }
    }

    /// The fewest bytes of two patches in a row that make one content of another.
    fn in_a_row(&self, base: ContentId, target: ContentId) -> Option<u64> {
        let both = self.offers_of(target).filter_map(|then| {
            let first = self.offers.get(&(then.base, base))?;
            Some(first.patch.blob.len + then.patch.blob.len)
        });
        both.min()
    }

    /// A patch was brought with its release: whether it is of use to anyone. Then it is as one that is being made, until it is told that it is.
    pub(crate) fn takes(&mut self, target: ContentId, base: ContentId) -> bool {
        let plans = self.plans.values_mut().filter(|plan| plan.target.id() == target && plan.effort.is_some());
        let mut is_of_use = false;
        for known in plans.flat_map(|plan| &mut plan.bases).filter(|known| known.content == base && known.is_open()) {
            known.state = State::Making;
            is_of_use = true;
        }
        is_of_use
    }

    /// The next patch that is to be made, if none is; it counts as begun.
    pub(crate) fn next(&mut self, now: Time) -> Option<Making> {
        if self.under_way.is_some() {
            return None;
        }
        let ready = self.plans.values_mut().filter(|plan| plan.is_ready);
        let (plan, effort) = ready.filter_map(|plan| plan.effort.map(|effort| (plan, effort))).find(|(plan, _)| {
            let waits = |base: &Base| base.state == State::Waits;
            plan.bases.iter().any(waits)
        })?;
        let target = plan.target.id();
        let base = plan.bases.iter_mut().find(|base| base.state == State::Waits)?;
        base.state = State::Making;
        let bytes = plan.target.bytes + plan.target.blob.len;
        self.under_way = Some(UnderWay { target, base: base.content, effort, bytes, begun: now });
        Some(Making { base: base.content, target, effort, below: plan.lacks })
    }

    /// The work for a patch is done, whether it is of use or not: how fast that went.
    pub(crate) fn worked(&mut self, now: Time, target: ContentId, base: ContentId) {
        if let Some(done) = self.under_way.filter(|made| (made.target, made.base) == (target, base)) {
            self.measured.made(now, done.effort, done.bytes, now.since(done.begun));
        }
    }

    /// A patch was made, of so many bytes, or was not: who waited for that.
    pub(crate) fn made(
        &mut self,
        target: ContentId,
        base: ContentId,
        outcome: Result<u64, String>,
    ) -> BTreeSet<NodeId> {
        let of_base = |base: &Base| base.is_open().then(|| base.nodes.clone());
        self.under_way = self.under_way.filter(|made| (made.target, made.base) != (target, base));
        let mut waited = BTreeSet::new();
        for plan in self.plans.values_mut().filter(|plan| plan.target.id() == target) {
            let is_awaited = plan.is_awaited;
            for known in plan.bases.iter_mut().filter(|known| known.content == base) {
                waited.extend(of_base(known).filter(|_| is_awaited).unwrap_or_default());
                known.state = outcome.clone().map_or_else(State::None, State::Made);
            }
        }
        waited
    }

    /// Who waits has waited long enough; who that is.
    pub(crate) fn late(&mut self, app: &AppName) -> BTreeSet<NodeId> {
        let Some(plan) = self.plans.get_mut(app) else { return BTreeSet::new() };
        let waited = plan.waiting();
        plan.is_awaited = false;
        if !waited.is_empty() {
            plan.why = "making the patch takes too long".to_owned();
        }
        waited
    }

    /// What was to be brought is not brought; who waited for it.
    pub(crate) fn end(&mut self, app: &AppName) -> BTreeSet<NodeId> {
        self.plans.remove(app).map(|plan| plan.waiting()).unwrap_or_default()
    }

    /// What is planned for an application.
    pub(crate) fn target(&self, app: &AppName) -> Option<ContentId> {
        self.plans.get(app).map(|plan| plan.target.id())
    }

    /// Whether a node waits for a patch of a content.
    pub(crate) fn awaits(&self, target: ContentId, node: NodeId) -> bool {
        let waits =
            |plan: &Plan| plan.is_awaited && plan.bases.iter().any(|base| base.is_open() && base.nodes.contains(&node));
        self.plans.values().any(|plan| plan.target.id() == target && waits(plan))
    }

    /// Who waits for patches of the content of an application.
    pub(crate) fn waiting(&self, app: &AppName, target: ContentId) -> BTreeSet<NodeId> {
        let plan = self.plans.get(app).filter(|plan| plan.target.id() == target);
        plan.map(Plan::waiting).unwrap_or_default()
    }

    /// Why the newest release of an application goes out as it does.
    pub(crate) fn why(&self, app: &AppName) -> Option<(ContentId, String)> {
        self.plans.get(app).filter(|plan| !plan.bases.is_empty()).map(|plan| (plan.target.id(), plan.why.clone()))
    }

    /// Whether there is nothing to tell anyone.
    pub(crate) fn is_empty(&self) -> bool {
        self.plans.is_empty() && self.offers.is_empty()
    }

    // Offers.

    /// There is a patch.
    pub(crate) fn learn(&mut self, offer: Offer) {
        self.offers.insert((offer.target, offer.base), offer);
    }

    /// Forgets the offers that are of no use any more.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&Offer) -> bool) {
        self.offers.retain(|_, offer| is_kept(offer));
    }

    /// The offers that stand, of all contents or of one.
    pub(crate) fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values()
    }

    pub(crate) fn offers_of(&self, target: ContentId) -> impl Iterator<Item = &Offer> {
        self.offers.values().filter(move |offer| offer.target == target)
    }

    /// How a release comes to nodes, for people.
    pub(crate) fn roads(&self, app: &AppName, target: ContentId) -> Vec<RoadStatus> {
        let Some(plan) = self.plans.get(app).filter(|plan| plan.target.id() == target) else { return Vec::new() };
        let of_base = |base: &Base| RoadStatus {
            base: Some(base.name.clone()),
            nodes: base.nodes.len() as u32,
            patch: if let State::Made(bytes) | State::InARow(bytes) = base.state { Some(bytes) } else { None },
            whole: plan.lacks,
            why: match &base.state {
                State::None(why) => why.clone(),
                State::InARow(_) => "two patches in a row bring it".to_owned(),
                State::Making if plan.is_awaited => format!("{}; it is being made", plan.why),
                _ => plan.why.clone(),
            },
        };
        plan.bases.iter().map(of_base).collect()
    }
}

impl Plan {
    /// Whether it is worth to wait for patches, by what is known now.
    fn judge(&mut self) {
        let bytes = self.target.bytes + self.target.blob.len;
        let judged = match self.bases.len() as u32 {
            0 => Err("nobody runs anything of which a patch could be made".to_owned()),
            bases => judge(self.wish, bytes, self.lacks, &self.paces, bases),
        };
        (self.effort, self.is_awaited) = (judged.as_ref().ok().map(|(effort, _)| *effort), judged.is_ok());
        self.was_awaited |= self.is_awaited;
        self.why = judged.map_or_else(|why| why, |(_, why)| why);
    }

    fn waiting(&self) -> BTreeSet<NodeId> {
        let open = self.bases.iter().filter(|base| self.is_awaited && base.is_open());
        open.flat_map(|base| base.nodes.iter().copied()).collect()
    }

    /// How long nodes wait for patches.
    fn patience(&self) -> Duration {
        let bytes = self.target.bytes + self.target.blob.len;
        let effort = self.effort.unwrap_or(Effort::Fast);
        let all = by_patches(bytes, self.lacks, &self.paces, (effort, self.bases.len() as u32));
        ((all + time(self.lacks, self.paces.link.0)) * LATE).max(LEAST)
    }
}

/// When whoever waits has waited long enough.
pub(crate) fn deadline(now: Time, patience: Duration) -> Time {
    now.after(patience)
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{BlobRef, Digest};

    const MB: u64 = 1_000_000;
    const SLOW: Rate = Rate(MB);

    fn guessed(link: Rate) -> Paces {
        Paces { link, fast: FAST, best: BEST, is_measured: (false, [false; 2]) }
    }

    fn app() -> AppName {
        AppName::new("web").expect("a plain name")
    }

    fn target() -> ContentSpec {
        ContentSpec { blob: BlobRef { root: Digest::of(b"new"), len: MB / 10 }, pieces: 1500, bytes: 100 * MB }
    }

    fn content(name: &str) -> ContentId {
        ContentId(Digest::of(name.as_bytes()))
    }

    fn node(nr: u8) -> NodeId {
        NodeId(Digest::of(&[nr]))
    }

    fn base(name: &str, nodes: &[u8]) -> Base {
        Base::new(content(name), name.to_owned(), nodes.iter().map(|nr| node(*nr)).collect())
    }

    #[test]
    fn auto_makes_patches_where_they_arrive_sooner_and_says_why() {
        let why = judge(Wish::Auto, 100 * MB, 100 * MB, &guessed(USUAL), 1).expect_err("a gigabit is fast");
        assert_eq!(why, "links are fast: without a patch it takes about 0.8 s, with one 6.2 s");
        let (effort, why) = judge(Wish::Auto, 100 * MB, 100 * MB, &guessed(SLOW), 1).expect("8 Mbit/s is slow");
        assert_eq!((effort, why.as_str()), (Effort::Fast, "with patches it takes about 26.0 s, without 100.0 s"));
        assert_eq!(judge(Wish::Auto, 100 * MB, 100 * MB, &guessed(Rate(MB / 50)), 1).map(|of| of.0), Ok(Effort::Best));
        assert!(judge(Wish::Auto, 100 * MB, MB, &guessed(SLOW), 1).is_err(), "hardly anything is lacking");
        assert!(judge(Wish::Whole, 100 * MB, 100 * MB, &guessed(SLOW), 1).is_err());
        assert!(
            judge(Wish::Patches(Effort::Best), 100 * MB, 100 * MB, &guessed(USUAL), 1).is_ok(),
            "what is wished for is done"
        );
    }

    #[test]
    fn what_was_measured_counts_instead_of_a_guess_and_is_said() {
        let slow = Paces { fast: MB / 2, is_measured: (false, [true, false]), ..guessed(SLOW) };
        let (effort, why) = judge(Wish::Auto, 100 * MB, 100 * MB, &slow, 1).expect("the best are quicker by now");
        assert_eq!((effort, why.as_str()), (Effort::Best, "with patches it takes about 77.7 s, without 100.0 s"));
        let both = Paces { best: MB, is_measured: (true, [true; 2]), ..slow };
        let why = judge(Wish::Auto, 100 * MB, 100 * MB, &both, 1).expect_err("and then they are not either");
        let by = "the last release came at 1.0 MB/s; the last patches were made at 1.0 MB/s";
        assert_eq!(why, format!("without a patch it takes about 100.0 s, with one 111.0 s; {by}"));
        let fast = Paces { fast: 200 * MB, is_measured: (false, [true, false]), ..guessed(SLOW) };
        let (_, why) = judge(Wish::Auto, 100 * MB, 100 * MB, &fast, 1).expect("it is quick");
        assert!(why.ends_with("without 100.0 s; the last patches were made at 200.0 MB/s"), "{why}");
    }

    #[test]
    fn a_patch_that_is_done_says_how_fast_the_next_one_is_made() {
        let mut patches = Patches::default();
        patches.plan(Time(0), &app(), target(), (Wish::Patches(Effort::Best), SLOW), vec![base("v41", &[1])]);
        patches.ready(Time(0), target().id(), 100 * MB);
        patches.next(Time(1_000_000_000));
        let (end, id) = (Time(11_000_000_000), target().id());
        patches.worked(end, id, content("v40"));
        assert_eq!(patches.measured.making(end, Effort::Best), None, "that is another one");
        patches.worked(end, id, content("v41"));
        let bytes = 100 * MB + MB / 10;
        assert_eq!(patches.measured.making(end, Effort::Best), Some(bytes / 10));
        let link = |patches: &mut Patches, rate| patches.paces(end, rate, &BTreeSet::from([node(1)])).link;
        patches.came(end, &app(), |_| panic!("who waited shows nothing of a link"));
        patches.plan(end, &app(), target(), (Wish::Whole, SLOW), vec![base("v41", &[1])]);
        patches.came(end, &app(), |_| panic!("it is not here"));
        patches.ready(end, id, 100 * MB);
        let came = Came { bytes: 10 * MB, of: 10 * MB, took: Duration::from_secs(20) };
        patches.came(end, &app(), |_| vec![(node(1), came)]);
        assert_eq!(link(&mut patches, USUAL), Rate(MB / 2));
        assert_eq!(link(&mut patches, Rate(7)), Rate(7), "a limit that is lower holds now");
    }

    #[test]
    fn nodes_wait_for_their_own_patch_and_no_longer_than_it_takes() {
        let mut patches = Patches::default();
        let bases = vec![base("v41", &[1, 2]), base("v40", &[3])];
        let wish = Wish::Patches(Effort::Best);
        let waiting = patches.plan(Time(0), &app(), target(), (wish, USUAL), bases);
        assert_eq!(waiting, BTreeSet::from([node(1), node(2), node(3)]));
        assert_eq!(patches.next(Time(0)), None, "it is not here yet");
        let id = target().id();
        assert_eq!(patches.ready(Time(0), id, 70 * MB).map(|(_, gone, _)| gone), Some(BTreeSet::new()));
        let making = |base| Making { base: content(base), target: id, effort: Effort::Best, below: 70 * MB };
        assert_eq!(patches.next(Time(0)), Some(making("v41")));
        assert_eq!(patches.next(Time(0)), None, "one after the other");
        assert_eq!(patches.made(id, content("v41"), Ok(MB)), BTreeSet::from([node(1), node(2)]));
        assert!(!patches.awaits(id, node(1)) && patches.awaits(id, node(3)), "the first do not wait for the second");
        assert_eq!(patches.next(Time(0)), Some(making("v40")));
        assert_eq!(patches.late(&app()), BTreeSet::from([node(3)]));
        assert!(!patches.awaits(id, node(3)));
        assert_eq!(patches.made(id, content("v40"), Ok(2 * MB)), BTreeSet::new(), "nobody waits any more");
        let roads = patches.roads(&app(), id);
        let seen: Vec<_> = roads.iter().map(|road| (road.nodes, road.patch, road.whole)).collect();
        assert_eq!(seen, [(2, Some(MB), 70 * MB), (1, Some(2 * MB), 70 * MB)]);
    }

    #[test]
    fn whoever_waited_for_a_patch_that_hardly_saves_anything_waits_no_more() {
        let mut patches = Patches::default();
        let waiting = patches.plan(Time(0), &app(), target(), (Wish::Auto, SLOW), vec![base("v41", &[1])]);
        assert_eq!(waiting, BTreeSet::from([node(1)]));
        let gone = patches.ready(Time(0), target().id(), MB).map(|(_, gone, _)| gone);
        assert_eq!(gone, Some(BTreeSet::from([node(1)])), "most of it was here before");
        assert_eq!(patches.next(Time(0)), None);
        patches.for_stragglers(&app(), vec![base("v40", &[7])]);
        assert_eq!(patches.next(Time(0)).map(|making| making.base), Some(content("v40")), "for whoever comes later");
        assert!(!patches.awaits(target().id(), node(7)));
    }

    #[test]
    fn whoever_comes_later_gets_a_patch_too_unless_two_in_a_row_are_short() {
        let id = target().id();
        let offer = |base, target, len| {
            let patch = ContentSpec { blob: BlobRef { root: Digest::of(b"patch"), len }, pieces: 0, bytes: 0 };
            Offer { base, target, patch, format: 1 }
        };
        for (first, is_made) in [(60 * MB, true), (MB, false)] {
            let mut patches = Patches::default();
            patches.plan(Time(0), &app(), target(), (Wish::Patches(Effort::Best), USUAL), vec![base("v41", &[1])]);
            patches.ready(Time(0), id, 100 * MB);
            patches.learn(offer(content("v40"), content("v41"), first));
            patches.learn(offer(content("v41"), id, 2 * MB));
            assert_eq!(patches.next(Time(0)).map(|making| making.base), Some(content("v41")));
            patches.made(id, content("v41"), Ok(2 * MB));
            patches.for_stragglers(&app(), vec![base("v41", &[1]), base("v40", &[7])]);
            let next = patches.next(Time(0)).map(|making| making.base);
            assert_eq!(next, is_made.then(|| content("v40")));
            let roads = patches.roads(&app(), id);
            let seen: Vec<_> = roads.iter().map(|road| (road.base.as_deref(), road.patch)).collect();
            assert_eq!(seen, [(Some("v41"), Some(2 * MB)), (Some("v40"), (!is_made).then_some(3 * MB))]);
        }
    }

    #[test]
    fn a_patch_that_could_not_be_made_lets_its_nodes_go_on() {
        let mut patches = Patches::default();
        patches.plan(Time(0), &app(), target(), (Wish::Patches(Effort::Fast), USUAL), vec![base("v41", &[1])]);
        patches.ready(Time(0), target().id(), 50 * MB);
        patches.next(Time(0));
        let waited = patches.made(target().id(), content("v41"), Err("no patch is shorter".to_owned()));
        assert_eq!(waited, BTreeSet::from([node(1)]));
        assert_eq!(patches.roads(&app(), target().id())[0].why, "no patch is shorter");
        assert_eq!(patches.end(&app()), BTreeSet::new());
    }
}
