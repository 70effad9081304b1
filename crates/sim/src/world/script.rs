//! The operators: they publish, order, go back, deploy two things at once, and hand in again what was not answered.

use crate::check::Promise;
use crate::dice::Dice;
use crate::net::Nr;
use crate::plan::{Illness, ORIGIN, Step};
use crate::strikes::Strike;
use crate::tree::Tree;
use crate::truth::{TARGET, Wish};
use crate::world::{Happening, World};
use content::fact::{JournalName, Position};
use content::order::Wave;
use content::release::Instructions;
use content::{Fact, OrderId, ReleaseId, Signed, UnixTime};
use engine::door::{Answer, ClientId, Input, Refusal, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use store::disk::Name;
use store::import::Found;

/// What an operator wants done, until it is answered.
#[derive(Debug)]
struct Deployment {
    /// The machine that has the tree; `None` for an order about an older release.
    publisher: Option<Nr>,
    /// The release and the order as signed last.
    documents: Option<(Option<Signed>, Signed)>,
    wish: Option<Wish>,
    state: State,
    /// The start of the machine that was asked last.
    asked: Option<u64>,
    /// Which of the planned times to ask is the one that counts.
    turn: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Ordered,
    /// It was refused for good.
    GaveUp,
}

/// What operators want, and how far it is.
#[derive(Debug)]
pub(crate) struct Script {
    dice: Dice,
    deployments: Vec<Deployment>,
    clients: BTreeMap<ClientId, Asker>,
    next_client: u64,
    tree: Option<Rc<Tree>>,
    versions: u64,
    steps_to_come: usize,
    ordered: Vec<(OrderId, ReleaseId)>,
    /// Gates that operators know to wait.
    gates: BTreeSet<(OrderId, u8)>,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
enum Asker {
    Operator(usize),
    /// Who has said that a gate may open, and looks at the journal for whether it did.
    Keeper,
    Joiner(Nr, u64),
}

/// How long an operator waits before asking again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long until an operator takes silence for a lost request.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a publisher stays after its answer.
const STAYS: Duration = Duration::from_millis(200);

impl Script {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            dice,
            deployments: Vec::new(),
            clients: BTreeMap::new(),
            next_client: 0,
            tree: None,
            versions: 0,
            steps_to_come: usize::MAX,
            ordered: Vec::new(),
            gates: BTreeSet::new(),
        }
    }

    /// What has no answer yet, in words.
    pub(crate) fn unanswered(&self) -> Option<String> {
        if self.steps_to_come > 0 {
            return Some("the operators are not done".to_owned());
        }
        let waiting = self.deployments.iter().position(|deployment| deployment.state == State::Waiting);
        waiting.map(|nth| format!("deploy {nth} has no answer: {:?}", self.deployments[nth].wish))
    }

    fn client(&mut self, asker: Asker) -> ClientId {
        self.next_client += 1;
        let client = ClientId(self.next_client);
        self.clients.insert(client, asker);
        client
    }

    /// The first order that was answered as ordered and is not in the journal, in words.
    pub(crate) fn missing_from(&self, facts: &[(JournalName, Position, Fact)]) -> Option<String> {
        let stands = |wanted: &OrderId| {
            facts.iter().any(
                |(_, _, fact)| matches!(fact, Fact::Ordered { order } if OrderId(order.payload_digest()) == *wanted),
            )
        };
        let missing = self.ordered.iter().find(|(order, _)| !stands(order))?;
        Some(format!("an operator was told that {:?} is ordered, and the journal does not hold it", missing.0))
    }
}

impl World {
    /// An operator begins something.
    pub(crate) fn step(&mut self, nth: usize) {
        let (_, step) = self.blueprint.steps[nth];
        self.script.steps_to_come = self.blueprint.steps.len() - nth - 1;
        match step {
            Step::Deploy { twice } => {
                if twice {
                    self.strikes.add(Strike::TwoAtOnce);
                }
                (0..step.publishers()).for_each(|_| self.begin_deploy());
            }
            Step::RollBack => self.begin_rollback(),
        }
    }

    fn begin_deploy(&mut self) {
        let publishers = self.script.deployments.iter().filter(|deployment| deployment.publisher.is_some()).count();
        let nr = 1 + self.blueprint.agents + publishers;
        let before = self.script.tree.clone().filter(|_| self.blueprint.wish.is_some() && nr.is_multiple_of(2));
        let tree = Rc::new(match &self.script.tree {
            Some(tree) => tree.next_version(&mut self.script.dice),
            None => Tree::draw(&mut self.script.dice, self.blueprint.tree_bytes),
        });
        self.script.tree = Some(tree.clone());
        let (disk, root) = self.hosts[nr].platter.boot();
        let plant = |tree: &Tree, at: &str| tree.plant(&disk, &root, &Name::new(at).expect("a plain name"));
        // Some have what was deployed before at hand, and bring a patch from that.
        let planted = plant(&tree, "build").and_then(|()| before.map_or(Ok(()), |before| plant(&before, "before")));
        self.judge(Promise::Liveness, planted.err().map(|why| format!("a tree could not be planted: {why}")));
        self.hosts[nr].publishes = Some(tree);
        let state = State::Waiting;
        self.script.deployments.push(Deployment {
            publisher: Some(nr),
            documents: None,
            wish: None,
            state,
            asked: None,
            turn: 0,
        });
        self.boot(nr);
    }

    /// A publisher has read its tree: it signs, once, and hands in.
    pub(crate) fn hand_in(&mut self, nr: Nr, found: &Found) {
        let Some(nth) = self.script.deployments.iter().position(|it| it.publisher == Some(nr)) else { return };
        if self.script.deployments[nth].documents.is_none() {
            let Some(tree) = self.hosts[nr].publishes.clone() else { return };
            self.script.versions += 1;
            let version = format!("v{}", self.script.versions);
            let how = self.how(self.script.versions as usize - 1);
            let signed = self.truth.publish(&version, found, tree, how);
            let release = ReleaseId(signed.payload_digest());
            self.sign_order(nth, Some(signed), release, 0);
        } else {
            self.strikes.add(Strike::Resubmission);
        }
        self.ask(nth);
    }

    /// How the release is switched to that is published so manieth, and how it does.
    fn how(&self, nth: usize) -> (Instructions, Illness) {
        let window = self.blueprint.health_window_ms;
        match &self.blueprint.caution {
            None => (Instructions::plain(TARGET, window, 2), Illness::Well),
            Some(caution) => {
                let (hooks, health) = caution.care();
                let plain = Instructions::plain(TARGET, caution.window_ms, 2);
                (Instructions { hooks, health, ..plain }, caution.illness(nth))
            }
        }
    }

    /// Signs an order for what is next, above `floor`.
    fn sign_order(&mut self, nth: usize, signed: Option<Signed>, release: ReleaseId, floor: u64) {
        let running = self.wanted.order(&self.truth);
        let fallback =
            running.and_then(|order| if self.wanted.is_halted() { order.fallback } else { Some(order.release) });
        let caution = self.blueprint.caution.as_ref();
        let selector = self.blueprint.selector.parse().expect("a selector");
        let wish = Wish {
            epoch: self.wanted.epoch().max(floor) + 1,
            release,
            fallback: fallback.filter(|fallback| *fallback != release),
            selector,
            waves: caution.map_or_else(|| vec![Wave::PerMille(1000)], |caution| caution.waves.clone()),
            budget: caution.map_or(self.blueprint.budget, |caution| caution.budget),
            restraint: caution.map(|caution| caution.restraint.clone()).unwrap_or_default(),
            message: format!("deployment {nth}"),
        };
        let order = self.truth.order(&wish);
        self.script.deployments[nth].wish = Some(wish);
        self.script.deployments[nth].documents = Some((signed, order));
    }

    fn begin_rollback(&mut self) {
        let newest = self.wanted.order(&self.truth).map(|order| order.release);
        let mut older =
            self.script.ordered.iter().map(|(_, release)| *release).filter(|release| Some(*release) != newest);
        let Some(release) = older.next_back() else { return };
        let nth = self.script.deployments.len();
        let state = State::Waiting;
        self.script.deployments.push(Deployment {
            publisher: None,
            documents: None,
            wish: None,
            state,
            asked: None,
            turn: 0,
        });
        self.sign_order(nth, None, release, 0);
        self.ask(nth);
    }

    /// Plans when to ask; what was planned before does not count any more.
    fn ask_after(&mut self, wait: Duration, nth: usize) {
        let deployment = &mut self.script.deployments[nth];
        deployment.turn += 1;
        let turn = deployment.turn;
        self.after(wait, Happening::Ask(nth, turn));
    }

    /// The planned time has come.
    pub(crate) fn ask_in_turn(&mut self, nth: usize, turn: u64) {
        if self.script.deployments[nth].turn == turn {
            self.ask(nth);
        }
    }

    /// Asks (again), unless an answer came meanwhile or the same machine still has the question.
    pub(crate) fn ask(&mut self, nth: usize) {
        let deployment = &self.script.deployments[nth];
        let whom = deployment.publisher.unwrap_or(ORIGIN);
        let Some((release, order)) = deployment.documents.clone() else { return };
        if deployment.state != State::Waiting {
            return;
        }
        if self.hosts[whom].run.is_some() && deployment.asked != Some(self.hosts[whom].starts) {
            if deployment.asked.is_some() && deployment.publisher.is_none() {
                self.strikes.add(Strike::Resubmission);
            }
            self.script.deployments[nth].asked = Some(self.hosts[whom].starts);
            let client = self.script.client(Asker::Operator(nth));
            let request = match release {
                Some(release) => Request::Deploy { release, order, wish: self.blueprint.wish.unwrap_or_default() },
                None => Request::Order { order },
            };
            self.input(whom, Input::Request { client, by: None, request });
        }
        self.ask_after(PATIENCE, nth);
    }

    /// An engine answers a client.
    pub(crate) fn answered(&mut self, nr: Nr, client: ClientId, answer: Answer) {
        match self.script.clients.remove(&client) {
            Some(Asker::Operator(nth)) => self.operator_answered(nr, nth, answer),
            Some(Asker::Keeper) => (),
            Some(Asker::Joiner(joiner, life)) => self.joiner_answered(joiner, life, &answer),
            None => self.breaks(Promise::Bounds, format!("node {nr} answers {client:?}, who did not ask (any more)")),
        }
    }

    fn operator_answered(&mut self, nr: Nr, nth: usize, answer: Answer) {
        self.script.deployments[nth].asked = None;
        match answer {
            Answer::Ordered { order, epoch } => self.deploy_ordered(nr, nth, order, epoch),
            Answer::Refused(Refusal::Conflict { epoch, .. }) => self.conflict(nth, epoch),
            Answer::Refused(Refusal::Failed(_)) => self.ask_after(AGAIN, nth),
            // What nobody needs is collected: an operator who goes back too far is told so.
            Answer::Refused(Refusal::Unknown(_)) if nr == ORIGIN => self.script.deployments[nth].state = State::GaveUp,
            other => {
                self.script.deployments[nth].state = State::GaveUp;
                self.breaks(Promise::Liveness, format!("an honest deploy was answered {other:?}"));
            }
        }
    }

    fn deploy_ordered(&mut self, nr: Nr, nth: usize, order: OrderId, epoch: u64) {
        let deployment = &mut self.script.deployments[nth];
        deployment.state = State::Ordered;
        let Some(wish) = &deployment.wish else { return };
        let right = deployment.documents.as_ref().is_some_and(|(_, mine)| OrderId(mine.payload_digest()) == order);
        let words = format!("epoch {} was asked for, and the answer says {order:?} of epoch {epoch}", wish.epoch);
        self.script.ordered.push((order, wish.release));
        if !right || self.script.deployments[nth].wish.as_ref().is_none_or(|wish| wish.epoch != epoch) {
            self.breaks(Promise::Orders, words);
        }
        if nr != ORIGIN {
            self.after(STAYS, Happening::Retire(nr));
        }
    }

    /// Another order came first: look what is there now, sign anew, ask again.
    fn conflict(&mut self, nth: usize, epoch: u64) {
        self.strikes.add(Strike::Conflict);
        let wait = AGAIN + Duration::from_millis(self.script.dice.below(300));
        let deployment = &self.script.deployments[nth];
        let Some((signed, order)) = deployment.documents.clone() else { return };
        let release = deployment.wish.as_ref().map(|wish| wish.release);
        let mine = OrderId(order.payload_digest());
        if self.wanted.order(&self.truth) == self.truth.orders.get(&mine) {
            return self.ask_after(wait, nth);
        }
        if let Some(release) = release {
            self.sign_order(nth, signed, release, epoch);
        }
        self.ask_after(wait, nth);
    }

    // Gates.

    /// A gate waits: an operator says the word in a while, or, where a deadline ends it, nobody does.
    pub(crate) fn gate_waits(&mut self, order: OrderId, wave: u8) {
        if !self.script.gates.insert((order, wave)) {
            return;
        }
        self.strikes.add(Strike::GateWaited);
        let is_bounded = self.truth.orders.get(&order).is_some_and(|order| order.restraint.deadline_s.is_some());
        if is_bounded && self.script.dice.chance(1, 2) {
            return;
        }
        let wait = Duration::from_millis(self.script.dice.within(50..4000));
        self.after(wait, Happening::Promote(order, wave));
    }

    /// An operator says that a gate may open, again and again until it is open or of no interest any more.
    pub(crate) fn promote(&mut self, order: OrderId, wave: u8) {
        let is_over = self.wanted.newest() != Some(order) || self.wanted.is_halted();
        if is_over || self.rollouts.has_opened(order, wave + 1) {
            return;
        }
        if self.hosts[ORIGIN].run.is_some() {
            self.rollouts.promoted(order, wave);
            let client = self.script.client(Asker::Keeper);
            let directive = self.truth.promote(order, wave, UnixTime(self.now / 1_000_000_000));
            self.input(ORIGIN, Input::Request { client, by: None, request: Request::Direct { directive } });
        }
        self.after(PATIENCE, Happening::Promote(order, wave));
    }

    // Joining again.

    /// A machine without identity asks the origin to be enrolled.
    pub(crate) fn ask_to_join(&mut self, nr: Nr) {
        self.hosts[nr].retired = true;
        let client = self.script.client(Asker::Joiner(nr, self.hosts[nr].lives));
        if self.hosts[ORIGIN].run.is_none() {
            return self.after(AGAIN, Happening::Join(nr));
        }
        let request = Request::Enrol {
            token: self.truth.token,
            secret: self.truth.secret,
            node: self.hosts[nr].id,
            name: self.hosts[nr].name.clone(),
            now: UnixTime(1_700_000_100),
        };
        self.input(ORIGIN, Input::Request { client, by: None, request });
        self.after(PATIENCE, Happening::Join(nr));
    }

    fn joiner_answered(&mut self, nr: Nr, life: u64, answer: &Answer) {
        if self.hosts[nr].lives != life || !self.hosts[nr].retired {
            return;
        }
        match answer {
            Answer::Enrolled { labels, name, .. } => {
                self.hosts[nr].name.clone_from(name);
                self.hosts[nr].labels.clone_from(labels);
                self.after(Duration::ZERO, Happening::Joined(nr));
            }
            Answer::Refused(Refusal::Failed(_)) => (),
            other => self.breaks(Promise::Liveness, format!("a machine that joins again is answered {other:?}")),
        }
    }

    /// The joiner asks again when it was not answered.
    pub(crate) fn join_again(&mut self, nr: Nr) {
        if self.hosts[nr].retired && self.hosts[nr].run.is_none() {
            self.ask_to_join(nr);
        }
    }
}
