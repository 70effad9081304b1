//! What a seed decides before a world begins: machines, links, the operators' script, and the bad days.

use crate::dice::Dice;
use crate::host::Evil;
use crate::net::{Link, Nr};
use content::Label;
use content::care::{Health, Hook, Hooks, Probe};
use content::order::{AtOnce, Restraint, Wave};
use engine::door::{Effort, Wish};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What worlds are drawn from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The fewest and the most agents of a world.
    pub agents: (u64, u64),
    /// How many kinds of fault a world has; none in one world of eight.
    pub kinds: (u64, u64),
    /// The bytes of a tree, fewest and most.
    pub tree_bytes: (u64, u64),
    /// Kinds that every world has, besides the drawn ones.
    pub always: Vec<Kind>,
    /// Whether every deploy is asked for twice at once, by two operators.
    pub rivals: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { agents: (4, 7), kinds: (3, 6), tree_bytes: (150_000, 1_200_000), always: Vec::new(), rivals: false }
    }
}

/// A kind of fault that a world may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The power of agents goes.
    CrashAgents,
    /// The power of the origin goes.
    CrashOrigin,
    /// The power of a publisher goes.
    CrashPublisher,
    /// The power of an agent goes while it switches.
    CrashAtSwitch,
    /// Some nodes are cut off from the others.
    Partition,
    /// Nothing from some nodes reaches the others.
    OneWay,
    /// A node is cut off when it switches.
    PartitionAtSwitch,
    /// Connections break.
    Resets,
    /// A disk and a link are slow.
    Slow,
    /// A disk is full.
    Full,
    /// A stored piece rots.
    Rot,
    /// Syncs fail.
    SyncFails,
    /// An agent sends corrupt pieces.
    Corrupter,
    /// An agent says that it has everything.
    Liar,
    /// An agent sends pieces of the wrong length.
    WrongLength,
    /// Store and identity of an agent are deleted.
    Wipe,
    /// Old orders are sent again.
    Replay,
    /// Documents are sent that no operator signed.
    Forgery,
    /// Messages arrive again, over new connections.
    Duplicates,
    /// Something that is not ours stands at the path.
    Occupied,
}

const KINDS: [Kind; 20] = [
    Kind::CrashAgents,
    Kind::CrashOrigin,
    Kind::CrashPublisher,
    Kind::CrashAtSwitch,
    Kind::Partition,
    Kind::OneWay,
    Kind::PartitionAtSwitch,
    Kind::Resets,
    Kind::Slow,
    Kind::Full,
    Kind::Rot,
    Kind::SyncFails,
    Kind::Corrupter,
    Kind::Liar,
    Kind::WrongLength,
    Kind::Wipe,
    Kind::Replay,
    Kind::Forgery,
    Kind::Duplicates,
    Kind::Occupied,
];

/// Something bad that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes now.
    Crash(Nr),
    /// The power goes in the n-th call of the disk from now.
    CrashInCall(Nr, u64),
    /// The power goes in the n-th call of the disk after the next switch begins.
    CrashAtSwitch(Nr, u64),
    /// These are cut off from the others.
    CutOff(Vec<Nr>, Duration),
    /// Nothing from these reaches the others.
    OneWay(Vec<Nr>, Duration),
    /// When the node switches next, it is cut off.
    CutAtSwitch(Nr, Duration),
    /// Some connections break.
    Reset(u64),
    /// Disk and link of a node become slow.
    Slow(Nr, u64, Duration),
    /// Only this many bytes are left on a disk.
    Full(Nr, u64, Duration),
    /// A stored piece rots.
    Rot(Nr),
    /// The next syncs fail.
    SyncFails(Nr, u32),
    /// Store and identity are deleted.
    Wipe(Nr),
    /// Someone sends an old order to a node.
    Replay(Nr),
    /// Someone sends documents that no operator signed to a node.
    Forgery(Nr),
}

/// Something that an operator does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Publishes the next version and orders it; twice at once if so drawn.
    Deploy { twice: bool },
    /// Orders an older release.
    RollBack,
}

/// What orders may select by: half of the nodes, in several ways of saying it, or all.
const SELECTORS: [&str; 4] = ["rack=a", "rack!=a", "rack=a|c,!gpu", "rack"];

/// How a release does on the machines of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Illness {
    /// Well.
    Well,
    /// Its probes never go well.
    Sick,
    /// Its command after the switch fails.
    Breaks,
    /// Each round of probes goes well or not, by chance.
    Flaps,
    /// It is sick on every third machine.
    SomeSick,
}

/// How carefully releases are rolled out, and how they do.
#[derive(Debug, Clone)]
pub(crate) struct Caution {
    pub(crate) waves: Vec<Wave>,
    pub(crate) budget: u32,
    /// What else holds waves back.
    pub(crate) restraint: Restraint,
    pub(crate) every_ms: u32,
    pub(crate) window_ms: u32,
    /// By the order in which they are published, over and over.
    pub(crate) illnesses: Vec<Illness>,
}

impl Caution {
    fn draw(dice: &mut Dice) -> Self {
        use Illness::{Breaks, Flaps, Sick, SomeSick, Well};
        let half = Wave::PerMille(500);
        let waves = if dice.chance(1, 2) { vec![Wave::Count(1), half] } else { vec![Wave::Count(1)] };
        let waves: Vec<Wave> = waves.into_iter().chain([Wave::PerMille(1000)]).collect();
        let illnesses = (0..4).map(|_| *dice.pick(&[Well, Well, Well, Sick, Breaks, Flaps, SomeSick])).collect();
        Self {
            budget: dice.below(3) as u32,
            restraint: draw_restraint(dice, waves.len() as u8),
            waves,
            every_ms: dice.within(10..60) as u32,
            window_ms: dice.within(60..400) as u32,
            illnesses,
        }
    }

    /// How the release does that is published so manieth, from 0.
    pub(crate) fn illness(&self, nth: usize) -> Illness {
        self.illnesses[nth % self.illnesses.len()]
    }

    /// What a release says of its own switch.
    pub(crate) fn care(&self) -> (Hooks, Health) {
        let hook = Hook { line: "restart".to_owned(), user: None, timeout_ms: 1000 };
        let health =
            Health { probes: vec![Probe::Unit("app.service".to_owned())], every_ms: self.every_ms, need: 2, of: 3 };
        (Hooks { after: Some(hook), ..Hooks::default() }, health)
    }
}

/// Gates, deadlines and limits of how many at once; none of it in two worlds of five.
fn draw_restraint(dice: &mut Dice, waves: u8) -> Restraint {
    if dice.chance(2, 5) {
        return Restraint::default();
    }
    let gates = (0..waves - 1).filter(|_| dice.chance(1, 2)).collect();
    let deadline_s = dice.chance(1, 2).then(|| dice.within(4..40) as u32);
    let by = dice.chance(2, 3).then(|| Label::new("rack").expect("a plain label"));
    let most = Wave::Count(dice.within(1..3) as u32);
    let at_once = if dice.chance(1, 2) { vec![AtOnce { by, most }] } else { Vec::new() };
    Restraint { gates, deadline_s, at_once }
}

/// Everything that is drawn before a world begins.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) agents: usize,
    pub(crate) links: Vec<Link>,
    pub(crate) reflinks: bool,
    pub(crate) loss_per_mille: u64,
    pub(crate) jitter: Duration,
    pub(crate) tree_bytes: u64,
    pub(crate) health_window_ms: u32,
    pub(crate) budget: u32,
    /// Which nodes orders select.
    pub(crate) selector: &'static str,
    pub(crate) steps: Vec<(Duration, Step)>,
    pub(crate) faults: Vec<(Duration, Fault)>,
    pub(crate) evil: BTreeMap<Nr, Evil>,
    pub(crate) duplicates: bool,
    /// A machine where something that is not ours stands at the path: it can never switch.
    pub(crate) occupied: Option<Nr>,
    /// Waves, commands and probes, and releases that are ill; in some worlds.
    pub(crate) caution: Option<Caution>,
    /// What deploys wish for, in worlds whose nodes apply patches.
    pub(crate) wish: Option<Wish>,
    /// When faults stop.
    pub(crate) calm_at: Duration,
    /// Whether there are no faults at all.
    pub(crate) is_calm: bool,
    /// How many kinds of fault were drawn.
    pub(crate) kinds: usize,
}

/// The number of the one origin.
pub(crate) const ORIGIN: Nr = 0;

impl Blueprint {
    pub(crate) fn draw(plan: &Plan, dice: &mut Dice) -> Self {
        let agents = dice.within(plan.agents.0..plan.agents.1 + 1) as usize;
        let mut steps = draw_steps(dice);
        if plan.rivals {
            let deploys = steps.iter_mut().filter(|(_, step)| matches!(step, Step::Deploy { .. }));
            deploys.for_each(|(_, step)| *step = Step::Deploy { twice: true });
        }
        let publishers: usize = steps.iter().map(|(_, step)| step.publishers()).sum();
        let is_calm = dice.chance(1, 8) && plan.always.is_empty() && !plan.rivals;
        let last = steps.last().map_or(Duration::ZERO, |(at, _)| *at);
        let mut drawn = Self {
            agents,
            links: draw_links(dice, 1 + agents + publishers),
            reflinks: dice.chance(1, 2),
            loss_per_mille: if is_calm { 0 } else { *dice.pick(&[0, 1, 10, 30]) },
            jitter: Duration::from_micros(dice.within(0..1000)),
            tree_bytes: dice.within(plan.tree_bytes.0..plan.tree_bytes.1),
            health_window_ms: *dice.pick(&[0, 50, 300]),
            budget: if dice.chance(1, 8) { 0 } else { agents as u32 },
            selector: if dice.chance(1, 6) { *dice.pick(&SELECTORS) } else { "" },
            steps,
            faults: Vec::new(),
            evil: BTreeMap::new(),
            duplicates: false,
            occupied: None,
            caution: None,
            wish: None,
            calm_at: last + Duration::from_secs(4),
            is_calm,
            kinds: 0,
        };
        if !is_calm {
            drawn.kinds = dice.within(plan.kinds.0..plan.kinds.1 + 1) as usize;
            drawn.add_kinds(dice, drawn.kinds, &plan.always);
            drawn.kinds += plan.always.len();
        }
        // A machine that is made anew is another node, and the old one, or one that everyone has left, may be all of a wave. And who
        // speaks for an origin can say to everyone that a wave is open.
        let unsteady = |(_, fault): &(Duration, Fault)| matches!(fault, Fault::Wipe(_) | Fault::Replay(_));
        let is_steady = drawn.evil.is_empty() && !drawn.faults.iter().any(unsteady);
        drawn.caution = (is_steady && dice.chance(1, 2)).then(|| Caution::draw(dice));
        // Who repeats what an origin said before its restart can say that a node may switch, too.
        if let Some(caution) = drawn.caution.as_mut().filter(|_| drawn.duplicates) {
            caution.restraint.at_once.clear();
        }
        let (fast, best) = (Wish::Patches(Effort::Fast), Wish::Patches(Effort::Best));
        drawn.wish = dice.chance(1, 3).then(|| *dice.pick(&[fast, fast, fast, best]));
        drawn
    }

    fn add_kinds(&mut self, dice: &mut Dice, count: usize, always: &[Kind]) {
        let mut kinds = KINDS;
        dice.shuffle(&mut kinds);
        for kind in kinds.into_iter().take(count).chain(always.iter().copied()) {
            for _ in 0..dice.within(1..4) {
                let at = self.bad_moment(dice);
                self.add(dice, kind, at);
            }
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    /// A moment soon after an operator did something, while much is under way.
    fn bad_moment(&self, dice: &mut Dice) -> Duration {
        let (step, _) = dice.pick(&self.steps);
        let within = *dice.pick(&[30, 300, 1500]);
        (*step + Duration::from_millis(dice.within(0..within))).min(self.calm_at)
    }

    fn add(&mut self, dice: &mut Dice, kind: Kind, at: Duration) {
        let agent = 1 + dice.below(self.agents as u64) as usize;
        let anyone = dice.below(1 + self.agents as u64) as usize;
        let a_while = Duration::from_millis(dice.within(50..3000));
        // Now and then for longer than engines bear silence.
        let cut = if dice.chance(1, 8) { Duration::from_millis(dice.within(26_000..32_000)) } else { a_while };
        let fault = match kind {
            Kind::CrashAgents if dice.chance(1, 4) => Fault::Crash(agent),
            Kind::CrashAgents => Fault::CrashInCall(agent, dice.within(1..120)),
            Kind::CrashOrigin if dice.chance(1, 2) => Fault::Crash(ORIGIN),
            Kind::CrashOrigin => Fault::CrashInCall(ORIGIN, dice.within(1..200)),
            Kind::CrashPublisher => Fault::Crash(self.publisher(dice)),
            Kind::CrashAtSwitch => Fault::CrashAtSwitch(agent, dice.within(1..90)),
            Kind::Partition => Fault::CutOff(self.some(dice), cut),
            Kind::OneWay => Fault::OneWay(self.some(dice), cut),
            Kind::PartitionAtSwitch => Fault::CutAtSwitch(agent, a_while),
            Kind::Resets => Fault::Reset(dice.within(1..6)),
            Kind::Slow => Fault::Slow(anyone, dice.within(10..200), a_while * 2),
            Kind::Full => Fault::Full(anyone, dice.below(self.tree_bytes), a_while),
            Kind::Rot => Fault::Rot(anyone),
            Kind::SyncFails => Fault::SyncFails(anyone, dice.within(1..4) as u32),
            Kind::Wipe => Fault::Wipe(agent),
            Kind::Replay => Fault::Replay(agent),
            Kind::Forgery => Fault::Forgery(agent),
            Kind::Corrupter => return self.turn(agent, Evil::Corrupts(dice.within(1..4))),
            Kind::WrongLength => return self.turn(agent, Evil::WrongLength(dice.within(1..4))),
            Kind::Liar => return self.turn(agent, Evil::Lies),
            Kind::Duplicates => return self.duplicate(dice, at),
            Kind::Occupied => return self.occupy(dice, agent),
        };
        if let Fault::CutOff(_, lasts) | Fault::OneWay(_, lasts) = &fault {
            self.calm_at = self.calm_at.max(at + *lasts);
        }
        self.faults.push((at, fault));
    }

    /// Two honest agents at least stay in every world.
    fn turn(&mut self, agent: Nr, evil: Evil) {
        if self.evil.len() + 2 < self.agents {
            self.evil.insert(agent, evil);
        }
    }

    /// A node that fails for good, in a rollout that may end there.
    fn occupy(&mut self, dice: &mut Dice, agent: Nr) {
        self.occupied = Some(agent);
        if dice.chance(1, 2) {
            self.budget = 0;
        }
    }

    /// Duplicates arrive over new connections, so there must be some.
    fn duplicate(&mut self, dice: &mut Dice, at: Duration) {
        self.duplicates = true;
        self.faults.push((at, Fault::Reset(dice.within(1..6))));
    }

    fn publisher(&self, dice: &mut Dice) -> Nr {
        let first = 1 + self.agents;
        first + dice.below((self.links.len() - first) as u64) as usize
    }

    /// Some of the nodes, at least one and not all.
    fn some(&self, dice: &mut Dice) -> Vec<Nr> {
        let all = 1 + self.agents as u64;
        let some: BTreeSet<Nr> = (0..dice.within(1..all / 2 + 1)).map(|_| dice.below(all) as usize).collect();
        some.into_iter().collect()
    }
}

impl Step {
    pub(crate) fn publishers(self) -> usize {
        match self {
            Self::Deploy { twice: true } => 2,
            Self::Deploy { twice: false } => 1,
            Self::RollBack => 0,
        }
    }
}

fn draw_steps(dice: &mut Dice) -> Vec<(Duration, Step)> {
    let mut at = Duration::from_millis(dice.within(0..300));
    let mut steps = Vec::new();
    for nth in 0..dice.within(1..4) {
        let back = nth >= 2 || (nth == 1 && dice.chance(1, 4));
        let step = if back && dice.chance(1, 2) { Step::RollBack } else { Step::Deploy { twice: dice.chance(1, 5) } };
        steps.push((at, step));
        at += Duration::from_millis(dice.within(500..4000));
    }
    steps
}

/// Links of 4 to 60 MB/s: slow enough that small trees take a while, so that faults find something under way.
fn draw_links(dice: &mut Dice, nodes: usize) -> Vec<Link> {
    let base = dice.within(4..40) * 1_000_000;
    let link = |dice: &mut Dice| Link {
        up: base + dice.below(base / 2),
        down: base + dice.below(base / 2),
        delay: Duration::from_micros(dice.within(20..1000)),
    };
    (0..nodes).map(|_| link(dice)).collect()
}
