//! What is being brought to a fleet of many is passed on from agent to agent: bare engines, asked what they say to whom.

mod fleet;

use content::{Digest, Label, Labels, NodeId, Role, Signed, SigningKey, UnixTime};
use fleet::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use tiding_engine::Engine;
use tiding_engine::door::*;
use tiding_engine::wire::{FOLLOWS, PROTOCOL};

const MILLI: u64 = 1_000_000;
const OLD: (u16, u16) = (1, 3);

fn node(nr: usize) -> NodeId {
    NodeId(Digest::of(format!("bare {nr}").as_bytes()))
}

/// One engine whose peers are words of the test.
struct Bare {
    role: Role,
    engine: Engine,
    now: u64,
}

impl Bare {
    fn new(role: Role) -> Self {
        let config = Config {
            fleet: fleet::fleet(),
            role,
            name: "bare".to_owned(),
            labels: Labels::new(),
            datacenter: Label::new("dc1").expect("a plain label"),
            listen: Some(SocketAddr::from(([10, 0, 0, 1], 7400))),
            software: "test".to_owned(),
            origins: Vec::new(),
            neighbours: 4,
            window_bytes: 8 << 20,
            patience: std::time::Duration::from_secs(1),
            redial: std::time::Duration::from_millis(50),
            given_order: true,
            speaks: PROTOCOL,
            reads: Vec::new(),
            limit: None,
        };
        let recovered = Recovered { root: Some(root()), ..Recovered::default() };
        Self { role, engine: Engine::new(node(9999), config, recovered, 7, Time(0)), now: 0 }
    }

    /// Takes an input; what it says then, and to whom. Contents are opened at once and nothing of them is here.
    fn takes(&mut self, input: Input) -> Vec<Output> {
        self.engine.handle(Time(self.now), input);
        let mut said = Vec::new();
        while let Some(output) = self.engine.poll() {
            if let Output::Job { id, job: Job::Open { content } } = &output {
                let have = content::Bitmap::empty(content.total());
                let result = Ok(JobDone::Opened { have, indexed: content.pieces == 0, complete: false });
                self.engine.handle(Time(self.now), Input::Done { job: *id, result });
            }
            said.push(output);
        }
        said
    }

    fn meets(&mut self, nr: usize, role: Role, versions: (u16, u16)) -> Vec<Output> {
        let listen = Some(SocketAddr::from(([10, 1, (nr / 250) as u8, (nr % 250) as u8], 7400)));
        self.takes(Input::PeerUp { peer: node(nr), role, seen: IpAddr::from([10, 1, 0, 1]), dialled: None });
        let hello = Hello {
            versions,
            fleet: fleet::fleet(),
            software: "test".to_owned(),
            name: format!("bare-{nr}"),
            labels: Labels::new(),
            listen,
            floors: Vec::new(),
        };
        let mut said = self.hears(nr, Message::Hello(Box::new(hello)));
        if self.role == Role::Origin && role == Role::Agent && versions.1 >= FOLLOWS {
            said.extend(self.hears(nr, Message::Follows { root: 1 }));
        }
        said
    }

    fn hears(&mut self, from: usize, message: Message) -> Vec<Output> {
        self.takes(Input::Message { from: node(from), message })
    }

    fn waits(&mut self, millis: u64) -> Vec<Output> {
        let end = self.now + millis * MILLI;
        let mut said = Vec::new();
        while let Some(due) = self.engine.deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            said.extend(self.takes(Input::Tick));
        }
        self.now = end;
        said
    }
}

/// To whom documents were passed on.
fn passed(said: &[Output]) -> BTreeSet<NodeId> {
    said.iter()
        .filter_map(|output| match output {
            Output::Send { to, message: Message::Pass { .. } } => Some(*to),
            _ => None,
        })
        .collect()
}

fn announced(said: &[Output]) -> BTreeSet<NodeId> {
    said.iter()
        .filter_map(|output| match output {
            Output::Send { to, message: Message::Announce { .. } } => Some(*to),
            _ => None,
        })
        .collect()
}

fn opens(said: &[Output]) -> bool {
    said.iter().any(|output| matches!(output, Output::Job { job: Job::Open { .. }, .. }))
}

fn convicts(said: &[Output]) -> bool {
    said.iter().any(|output| matches!(output, Output::Event(Event::Convicted { .. })))
}

fn papers(name: &str, epoch: u64, created: u64) -> (Signed, Signed) {
    let release = sign_release(&release(name, 20));
    let mut order = order(epoch, &release, None);
    order.created = UnixTime(created);
    (release, sign_order(&order))
}

fn pass((release, order): &(Signed, Signed)) -> Message {
    Message::Pass { release: release.clone(), order: order.clone() }
}

const ORIGIN_NR: usize = 0;
const BEFORE: usize = 1;
const CHILDREN: [usize; 2] = [2, 3];
const NEIGHBOUR: usize = 4;
const OLD_CHILD: usize = 5;

/// An agent between others.
fn agent() -> Bare {
    let mut bare = Bare::new(Role::Agent);
    bare.meets(ORIGIN_NR, Role::Origin, PROTOCOL);
    [BEFORE, CHILDREN[0], CHILDREN[1], NEIGHBOUR]
        .into_iter()
        .for_each(|nr| drop(bare.meets(nr, Role::Agent, PROTOCOL)));
    bare.meets(OLD_CHILD, Role::Agent, OLD);
    let to = [CHILDREN[0], CHILDREN[1], OLD_CHILD].map(node).to_vec();
    let first = Stripe { from: Some(node(BEFORE)), to };
    let stripes = [first, Stripe { from: Some(node(NEIGHBOUR)), to: Vec::new() }];
    bare.hears(ORIGIN_NR, Message::Relay { stripes });
    bare
}

#[test]
fn what_a_neighbour_says_is_fetched_and_passed_on_down_once_and_not_switched_to() {
    let (mut bare, papers) = (agent(), papers("v1", 1, 3));
    let said = bare.hears(BEFORE, pass(&papers));
    assert!(opens(&said));
    assert_eq!(passed(&said), CHILDREN.map(node).into(), "an old one would take it for misbehaviour");
    let again = bare.hears(CHILDREN[0], pass(&papers));
    assert!(passed(&again).is_empty() && !opens(&again) && !convicts(&again));
    let accepts = |output: &Output| matches!(output, Output::Job { job: Job::Accept { .. } | Job::Switch { .. }, .. });
    assert!(!bare.waits(2000).iter().any(accepts), "only an origin says what may be done");
}

#[test]
fn a_neighbour_that_shows_nothing_hears_it_a_while_later_from_whoever_knows() {
    for shows in [false, true] {
        let (mut bare, papers) = (agent(), papers("v1", 1, 3));
        bare.hears(BEFORE, pass(&papers));
        if shows {
            let content = release("v1", 20).content.id();
            bare.hears(NEIGHBOUR, Message::Holding { content, have: Some(spec_bits()), wants: true });
        }
        assert!(bare.waits(149).iter().all(|output| passed(std::slice::from_ref(output)).is_empty()));
        let told: BTreeSet<NodeId> = if shows { BTreeSet::new() } else { [node(NEIGHBOUR)].into() };
        assert_eq!(passed(&bare.waits(2)), told);
    }
}

fn spec_bits() -> content::Bitmap {
    content::Bitmap::empty(release("v1", 20).content.total())
}

#[test]
fn g1_what_is_passed_on_and_no_operator_signed_is_not_fetched_and_a_forgery_convicts() {
    let stranger = SigningKey::from_secret(&[77; 32]);
    let (release, order) = papers("v1", 1, 3);
    let (other, _) = papers("v2", 1, 3);
    let by_stranger = stranger.sign(content::PayloadKind::Release, release.payload.clone());
    let given = stranger.sign(content::PayloadKind::Order, order.payload.clone());
    // A stranger may be an operator by a root that has not come here yet: its neighbour is no liar.
    for unknown in [(by_stranger, order.clone()), (release.clone(), given)] {
        let mut bare = agent();
        let said = bare.hears(BEFORE, pass(&unknown));
        assert!(!convicts(&said) && !opens(&said) && passed(&said).is_empty());
        let mut bare = agent();
        assert!(convicts(&bare.hears(ORIGIN_NR, pass(&unknown))), "an origin says its roots first");
    }
    let (mut forged, mut unsigned) = (order.clone(), release.clone());
    forged.signatures[0].bytes[9] ^= 1;
    unsigned.signatures.clear();
    for lie in [(release, forged), (unsigned, order.clone()), (other, order)] {
        let mut bare = agent();
        let said = bare.hears(BEFORE, pass(&lie));
        assert!(convicts(&said) && !opens(&said) && passed(&said).is_empty());
    }
}

#[test]
fn g5_a_neighbour_brings_back_nothing_that_is_older_than_what_is_known() {
    let mut bare = agent();
    let (given_up, newest) = (papers("given up", 1, 3), papers("v1", 1, 4));
    assert!(opens(&bare.hears(BEFORE, pass(&newest))));
    let said = bare.hears(NEIGHBOUR, pass(&given_up));
    assert!(!opens(&said) && passed(&said).is_empty() && !convicts(&said), "it may just not have heard the newer one");
    // Once an order was accepted nothing up to it is news.
    bare.hears(ORIGIN_NR, Message::Announce { release: newest.0.clone() });
    let said = bare.hears(ORIGIN_NR, Message::Command { order: newest.1.clone(), gate: Gate::Hold });
    let accept = said.iter().find_map(|output| match output {
        Output::Job { id, job: Job::Accept { .. } } => Some(*id),
        _ => None,
    });
    bare.takes(Input::Done { job: accept.expect("it is made durable"), result: Ok(JobDone::Accepted) });
    for old in [given_up, newest] {
        let said = bare.hears(NEIGHBOUR, pass(&old));
        assert!(!opens(&said) && passed(&said).is_empty() && !convicts(&said));
    }
}

#[test]
fn whoever_an_order_does_not_select_fetches_nothing_that_a_neighbour_passes_on() {
    let release = sign_release(&release("v1", 20));
    let mut order = order(1, &release, None);
    order.selector = "zone=a".parse().expect("a selector");
    let mut bare = agent();
    let said = bare.hears(BEFORE, pass(&(release, sign_order(&order))));
    assert!(!opens(&said) && passed(&said).is_empty() && !convicts(&said));
}

#[test]
fn whoever_comes_after_another_now_hears_what_is_being_brought() {
    let (mut bare, papers) = (agent(), papers("v1", 1, 3));
    bare.hears(BEFORE, pass(&papers));
    let first = Stripe { from: Some(node(BEFORE)), to: vec![node(CHILDREN[0]), node(NEIGHBOUR), node(6)] };
    let said = bare.hears(ORIGIN_NR, Message::Relay { stripes: [first, Stripe::default()] });
    assert_eq!(passed(&said), [node(NEIGHBOUR)].into());
    assert_eq!(passed(&bare.meets(6, Role::Agent, PROTOCOL)), [node(6)].into(), "as soon as it is there");
    bare.takes(Input::PeerDown { peer: node(6), why: DownReason::Closed });
    assert_eq!(passed(&bare.meets(6, Role::Agent, PROTOCOL)), [node(6)].into(), "it may have forgotten");
}

/// An origin of so many agents, the first of which speak an older protocol; and whom it tells of a deploy at once.
fn origin(agents: usize, old: usize) -> (Bare, BTreeSet<NodeId>, BTreeSet<NodeId>) {
    let mut bare = Bare::new(Role::Origin);
    for nr in 1..=agents {
        bare.meets(nr, Role::Agent, if nr <= old { OLD } else { PROTOCOL });
    }
    bare.meets(9000, Role::Operator, PROTOCOL);
    let (release, order) = papers("v1", 1, 3);
    let said = bare.hears(9000, Message::Submit { release, order });
    (bare, passed(&said), announced(&said))
}

#[test]
fn an_origin_of_few_tells_all_and_one_of_many_those_at_the_top() {
    let (_, passed, announced) = origin(256, 0);
    assert_eq!((passed.len(), announced.len()), (256, 0));
    let (_, passed, announced) = origin(400, 3);
    assert!((15..=30).contains(&passed.len()), "{}", passed.len());
    assert_eq!(announced, (1..=3).map(node).collect(), "old ones hear all from their origin");
}

#[test]
fn an_origin_of_many_tells_in_the_end_whoever_has_shown_nothing() {
    let (mut bare, at_once, _) = origin(400, 0);
    let content = release("v1", 20).content.id();
    (5..=400).for_each(|nr| drop(bare.hears(nr, Message::Holding { content, have: Some(spec_bits()), wants: true })));
    let told = passed(&bare.waits(2000));
    let shown_nothing: BTreeSet<NodeId> = (1..5).map(node).collect();
    assert_eq!(told, shown_nothing, "{} had been told", at_once.len());
}

#[test]
fn a_fleet_of_many_confirms_although_some_keep_to_themselves_what_they_hear() {
    let mut fleet = Fleet::new(300, 5);
    let release = release("v1", 20);
    let signed = sign_release(&release);
    fleet.nodes[7].evil = Some(Evil::Stalls);
    // Its process hangs: it neither hears nor passes on.
    fleet.vanish(9);
    fleet.deploy(&release, &order(1, &signed, None));
    let others =
        |fleet: &Fleet| fleet.agents().into_iter().all(|nr| nr == 9 || fleet.confirmed(nr) == Some(id_of(&signed)));
    fleet.run_until("everyone else confirms", others);
    assert!(fleet.copies(release.content) < 1.5);
}

#[test]
fn agents_of_older_software_are_told_nothing_under_a_second_root_and_it_is_said() {
    let mut root = content::Root::decode(&root().payload).expect("a root");
    root.version = 2;
    let second = root_key().sign(content::PayloadKind::Root, root.encode());
    let mut bare = agent();
    bare.meets(OLD_CHILD, Role::Agent, (1, 4));
    bare.hears(ORIGIN_NR, Message::Roots { roots: vec![second.clone()] });
    bare.hears(ORIGIN_NR, pass(&papers("v1", 1, 3)));
    let told = passed(&bare.waits(500));
    assert!(!told.contains(&node(OLD_CHILD)), "it could not judge them");

    let mut origin = Bare::new(Role::Origin);
    origin.meets(1, Role::Agent, (1, 4));
    origin.takes(Input::Request { client: ClientId(1), by: None, request: Request::Root { root: second } });
    let outcome = Ok(content::fact::Position { generation: 1, index: 1 });
    let said = origin.takes(Input::Appended { append: AppendId(1), outcome });
    assert!(said.iter().any(|output| matches!(output, Output::Event(Event::TooOld { peer }) if *peer == node(1))));
    let said = origin.meets(2, Role::Agent, PROTOCOL);
    let is_hello = |message: &Message| matches!(message, Message::Hello(_));
    let to_node = |output: &&Output| matches!(output, Output::Send { message, .. } if !is_hello(message));
    let said: Vec<&Output> = said.iter().filter(to_node).collect();
    let is_roots =
        |output: &&Output| matches!(output, Output::Send { message: Message::Roots { roots }, .. } if roots.len() == 1);
    assert!(said.first().is_some_and(is_roots), "first of all: {said:?}");
    let said = origin.meets(3, Role::Agent, (1, 4));
    assert!(said.iter().any(|output| matches!(output, Output::Event(Event::TooOld { .. }))));
    assert!(!said.iter().any(|output| matches!(output, Output::Send { message: Message::Roots { .. }, .. })));
}
