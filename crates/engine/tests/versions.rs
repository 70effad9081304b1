//! Members of different versions: who follows which root, who reads which order.

mod fleet;

use content::order::Restraint;
use content::root::Operator;
use content::*;
use fleet::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tiding_engine::door::*;
use tiding_engine::wire::{ADOPTIONS, FOLLOWS, PROTOCOL, REPAIRS, RESTRAINTS};

fn carol() -> SigningKey {
    SigningKey::from_secret(&[5; 32])
}

fn signed_root(version: u64, operators: &[(&str, SigningKey)]) -> Signed {
    let named = |(name, key): &(&str, SigningKey)| Operator {
        name: (*name).to_owned(),
        key: key.public(),
        powers: Powers::default(),
    };
    let operators = operators.iter().map(named).collect();
    let root = Root { version, operators, ..Root::decode(&root().payload).expect("a root") };
    root_key().sign(PayloadKind::Root, root.encode())
}

/// Alice and Carol, and later Carol alone.
fn chain() -> [Signed; 2] {
    [signed_root(2, &[("alice", alice()), ("carol", carol())]), signed_root(3, &[("carol", carol())])]
}

fn follow(fleet: &mut Fleet, root: Signed) {
    fleet.request(ORIGIN, 900, Request::Root { root });
    fleet.run_for(Duration::from_millis(50));
    assert_eq!(fleet.answer(ORIGIN, 900), Some(&Answer::Noted));
}

/// A member whose words are the test's, at the origin.
struct Stranger(NodeId);

impl Stranger {
    fn up(fleet: &mut Fleet, name: &str, speaks: u16) -> (Self, Vec<Output>) {
        let me = Self(NodeId(Digest::of(name.as_bytes())));
        let seen = IpAddr::from([10, 9, 9, 9]);
        let mut said = me.gives(fleet, Input::PeerUp { peer: me.0, role: Role::Agent, seen, dialled: None });
        let hello = Hello {
            versions: (PROTOCOL.0, speaks),
            fleet: fleet::fleet(),
            software: "another".to_owned(),
            name: name.to_owned(),
            labels: Labels::new(),
            listen: Some(SocketAddr::from(([10, 9, 9, 9], 7400))),
            floors: Vec::new(),
        };
        said.extend(me.says(fleet, Message::Hello(Box::new(hello))));
        (me, said)
    }

    fn says(&self, fleet: &mut Fleet, message: Message) -> Vec<Output> {
        self.gives(fleet, Input::Message { from: self.0, message })
    }

    /// What the origin puts out then, of which nothing is carried out.
    fn gives(&self, fleet: &mut Fleet, input: Input) -> Vec<Output> {
        let engine = fleet.nodes[ORIGIN].engine.as_mut().expect("it runs");
        engine.handle(Time(fleet.now), input);
        std::iter::from_fn(|| engine.poll()).collect()
    }

    fn goes(&self, fleet: &mut Fleet) {
        self.gives(fleet, Input::PeerDown { peer: self.0, why: DownReason::Closed });
    }
}

/// The versions of the roots that are said.
fn told(said: &[Output]) -> Vec<u64> {
    let roots = said.iter().filter_map(|output| match output {
        Output::Send { message: Message::Roots { roots }, .. } => Some(roots),
        _ => None,
    });
    let version = |signed: &Signed| Root::decode(&signed.payload).expect("a root").version;
    roots.flatten().map(version).collect()
}

fn messages(said: &[Output]) -> usize {
    said.iter()
        .filter(|output| matches!(output, Output::Send { message, .. } if !matches!(message, Message::Hello(_))))
        .count()
}

fn convicts(said: &[Output]) -> bool {
    said.iter().any(|output| matches!(output, Output::Event(Event::Convicted { .. })))
}

fn events(fleet: &Fleet, which: impl Fn(&Event) -> bool) -> usize {
    fleet.nodes.iter().flat_map(|node| &node.events).filter(|event| which(event)).count()
}

fn version(fleet: &Fleet, nr: usize) -> Option<u64> {
    let root = fleet.nodes[nr].disk.root.as_ref()?;
    Root::decode(&root.payload).ok().map(|root| root.version)
}

#[test]
fn whoever_connects_is_told_the_roots_that_it_lacks_before_anything_else_and_no_others() {
    let mut fleet = Fleet::new(1, 1);
    chain().into_iter().for_each(|root| follow(&mut fleet, root));
    for (follows, lacks) in [(1, vec![2, 3]), (2, vec![3]), (3, vec![]), (0, vec![2, 3])] {
        let (stranger, said) = Stranger::up(&mut fleet, "new", FOLLOWS);
        assert_eq!(messages(&said), 0, "nothing before it says what it follows: {said:?}");
        let said = stranger.says(&mut fleet, Message::Follows { root: follows });
        assert_eq!(told(&said), lacks);
        let is_send = |output: &&Output| matches!(output, Output::Send { .. });
        let first = said.iter().find(is_send);
        let is_roots = matches!(first, Some(Output::Send { message: Message::Roots { .. }, .. }));
        assert!(is_roots || lacks.is_empty(), "{said:?}");
        assert!(messages(&said) > 0, "and then all else");
        stranger.goes(&mut fleet);
    }
    // Software of before is told all, at once; and so is who says something else first.
    let (old, said) = Stranger::up(&mut fleet, "old", FOLLOWS - 1);
    assert_eq!(told(&said), [2, 3]);
    old.goes(&mut fleet);
    let (rude, _) = Stranger::up(&mut fleet, "rude", FOLLOWS);
    assert_eq!(told(&rude.says(&mut fleet, Message::Ping)), [2, 3]);
}

#[test]
fn d3_an_origin_that_lost_roots_gets_them_back_from_its_agents_and_both_say_so() {
    let mut fleet = Fleet::new(3, 2);
    let [second, third] = chain();
    let backup = fleet.nodes[ORIGIN].disk.clone();
    follow(&mut fleet, second.clone());
    follow(&mut fleet, third.clone());
    // Agents begin anew as well: they remember more than the newest one.
    (0..4).for_each(|nr| fleet.stop(nr));
    fleet.nodes[ORIGIN].disk = backup;
    (0..4).for_each(|nr| fleet.start(nr));
    fleet.run_until("it knows them again", |fleet| version(fleet, ORIGIN) == Some(3));
    let roots: Vec<Fact> = fleet.facts().into_iter().filter(|fact| matches!(fact, Fact::Rooted { .. })).collect();
    assert_eq!(roots, [second, third].map(|root| Fact::Rooted { root }), "each once, in their order");
    assert!(
        events(&fleet, |event| matches!(event, Event::RootBehind { theirs: 1, ours: 3, is_handed: true, .. })) >= 1
    );
    assert_eq!(events(&fleet, |event| matches!(event, Event::RootsHanded { version: 3, .. })), 1);
    assert_eq!(events(&fleet, |event| matches!(event, Event::Convicted { .. })), 0);
    // It stands in its journal: it knows them after the next start, too.
    fleet.stop(ORIGIN);
    fleet.start(ORIGIN);
    fleet.run_for(Duration::from_secs(8));
    let by_carol = release("v1", 30);
    let signed = carol().sign(PayloadKind::Release, by_carol.encode());
    let order = carol().sign(PayloadKind::Order, order(1, &signed, None).encode());
    let publisher = fleet.publisher(&by_carol);
    fleet.request(publisher, 1, Request::Deploy { release: signed.clone(), order, wish: Wish::default() });
    fleet.run_until("Carol's release", |fleet| fleet.all_confirmed(id_of(&signed)));
}

#[test]
fn whoever_was_away_for_several_roots_keeps_each_of_them() {
    let mut fleet = Fleet::new(1, 4);
    fleet.stop(1);
    chain().into_iter().for_each(|root| follow(&mut fleet, root));
    fleet.start(1);
    fleet.run_until("it follows the newest", |fleet| version(fleet, 1) == Some(3));
    fleet.run_for(Duration::from_millis(50));
    let [second, third] = chain();
    let kept = &fleet.nodes[1].disk.roots;
    assert!(kept.ends_with(&[second, third]), "{kept:?}");
}

#[test]
fn d3_an_agent_that_remembers_the_newest_root_alone_says_so_and_hands_over_nothing() {
    let mut fleet = Fleet::new(1, 3);
    let backup = fleet.nodes[ORIGIN].disk.clone();
    chain().into_iter().for_each(|root| follow(&mut fleet, root));
    (0..2).for_each(|nr| fleet.stop(nr));
    fleet.nodes[ORIGIN].disk = backup;
    fleet.nodes[1].disk.roots.clear();
    (0..2).for_each(|nr| fleet.start(nr));
    fleet.run_for(Duration::from_secs(8));
    assert_eq!(version(&fleet, ORIGIN), None, "a gap is not followed");
    assert!(events(&fleet, |event| matches!(event, Event::RootBehind { is_handed: false, .. })) >= 1);
    assert_eq!(events(&fleet, |event| matches!(event, Event::Convicted { .. })), 0);
}

#[test]
fn d3_what_stands_and_is_believed_no_more_under_roots_that_came_back_is_told_to_nobody() {
    let mut fleet = Fleet::new(2, 4);
    let v1 = release("v1", 30);
    let first = sign_release(&v1);
    fleet.deploy(&v1, &order(1, &first, None));
    fleet.run_until("v1", |fleet| fleet.all_confirmed(id_of(&first)));
    fleet.run_for(Duration::from_secs(1));
    let backup = fleet.nodes[ORIGIN].disk.clone();
    let [second, third] = chain();
    follow(&mut fleet, second);
    let (mut known, mut standing) = (first.clone(), sign_order(&order(1, &first, None)));
    [&mut known, &mut standing].into_iter().for_each(|document| carol().co_sign(document));
    fleet.request(ORIGIN, 901, Request::Countersign { documents: vec![known, standing] });
    fleet.run_for(Duration::from_millis(50));
    follow(&mut fleet, third);
    (0..3).for_each(|nr| fleet.stop(nr));
    fleet.nodes[ORIGIN].disk = backup;
    (0..3).for_each(|nr| fleet.start(nr));
    fleet.run_until("it knows them again", |fleet| version(fleet, ORIGIN) == Some(3));
    let new = fleet.add(Role::Agent);
    fleet.start(new);
    fleet.run_for(Duration::from_secs(8));
    assert_eq!(version(&fleet, new), Some(3));
    assert_eq!(fleet.confirmed(new), None, "nobody who may has signed it");
    assert_eq!(events(&fleet, |event| matches!(event, Event::Convicted { .. })), 0, "and nobody is blamed for it");
    fleet.request(ORIGIN, 902, Request::Status);
    let Some(Answer::Status(status)) = fleet.answer(ORIGIN, 902) else { panic!("no status") };
    let said = status.nodes.iter().flat_map(|node| &node.apps).filter_map(|app| app.trouble.as_ref());
    assert!(said.into_iter().any(|trouble| trouble.contains("who may no more")), "{status:?}");
    // A deploy by who may is for all.
    let v2 = release("v2", 30);
    let signed = carol().sign(PayloadKind::Release, v2.encode());
    let order = carol().sign(PayloadKind::Order, order(2, &signed, None).encode());
    let publisher = fleet.publisher(&v2);
    fleet.request(publisher, 1, Request::Deploy { release: signed.clone(), order, wish: Wish::default() });
    fleet.run_until("v2", |fleet| fleet.all_confirmed(id_of(&signed)));
}

#[test]
fn g12_roots_that_do_not_follow_are_not_taken_from_agents_and_cost_them_their_connection() {
    let mut fleet = Fleet::new(1, 5);
    let facts = fleet.facts().len();
    let mallory = SigningKey::from_secret(&[66; 32]);
    let forged = Root { version: 2, ..Root::decode(&chain()[0].payload).expect("a root") };
    let [second, third] = chain();
    for (name, roots) in [
        ("forges", vec![mallory.sign(PayloadKind::Root, forged.encode())]),
        ("gap", vec![third.clone()]),
        (
            "half",
            vec![
                second.clone(),
                mallory.sign(PayloadKind::Root, Root::decode(&third.payload).expect("a root").encode()),
            ],
        ),
        ("garbage", vec![Signed { payload: b"tdgT".to_vec(), ..second.clone() }]),
    ] {
        let (stranger, _) = Stranger::up(&mut fleet, name, PROTOCOL.1);
        let asked = stranger.says(&mut fleet, Message::Follows { root: u64::MAX });
        let is_asked = |output: &Output| matches!(output, Output::Send { message: Message::Follows { root: 1 }, .. });
        assert!(asked.iter().any(is_asked), "{asked:?}");
        assert!(convicts(&stranger.says(&mut fleet, Message::Roots { roots })), "{name}");
    }
    fleet.run_for(Duration::from_secs(1));
    assert_eq!((version(&fleet, ORIGIN), fleet.facts().len()), (None, facts));
    // Many bring the same: it is looked at once, and written once.
    let strangers: Vec<Stranger> = (0..3).map(|nr| Stranger::up(&mut fleet, &format!("n{nr}"), PROTOCOL.1).0).collect();
    let roots = chain().to_vec();
    let appends = |said: Vec<Output>| said.iter().filter(|output| matches!(output, Output::Append { .. })).count();
    let all: usize =
        strangers.iter().map(|one| appends(one.says(&mut fleet, Message::Roots { roots: roots.clone() }))).sum();
    assert_eq!(all, 1);
}

/// An order with a gate, on these.
fn gated(epoch: u64, release: &Signed, on: Selector) -> Order {
    let waves = vec![content::order::Wave::Count(1), content::order::Wave::PerMille(1000)];
    let restraint = Restraint { gates: vec![0], ..Restraint::default() };
    Order { waves, restraint, selector: on, ..order(epoch, release, None) }
}

#[test]
fn d20_a_restrained_order_is_refused_while_an_agent_that_it_selects_could_not_read_it() {
    let label = |text: &str| Label::new(text).expect("a plain label");
    let role = |nr: usize| label(if nr == 3 { "db" } else { "web" });
    let mut fleet = Fleet::enrolled(3, 6, |nr| Labels::from([(label("role"), role(nr))]));
    let v1 = release("v1", 30);
    let signed = sign_release(&v1);
    fleet.stop(3);
    fleet.nodes[3].speaks = (1, RESTRAINTS - 1);
    fleet.start(3);
    fleet.run_for(Duration::from_secs(1));
    let bring = |fleet: &mut Fleet, order: &Order| {
        let publisher = fleet.publisher(&v1);
        fleet.request(
            publisher,
            1,
            Request::Deploy { release: signed.clone(), order: sign_order(order), wish: Wish::default() },
        );
        fleet.run_until("an answer", |fleet| fleet.answer(publisher, 1).is_some());
        fleet.answer(publisher, 1).cloned().expect("an answer")
    };
    let refused = bring(&mut fleet, &gated(1, &signed, Selector::default()));
    let Answer::Refused(Refusal::Invalid(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("protocol 6 or newer, and node-3 would not read it; upgrade them first"), "{why}");
    let web: Selector = "role=web".parse().expect("a selector");
    let taken = bring(&mut fleet, &gated(1, &signed, web));
    assert!(matches!(taken, Answer::Ordered { .. }), "it is for others: {taken:?}");
    let plain = bring(&mut fleet, &order(2, &signed, None));
    assert!(matches!(plain, Answer::Ordered { .. }), "all read this one: {plain:?}");
    fleet.stop(3);
    fleet.run_for(Duration::from_secs(1));
    let taken = bring(&mut fleet, &gated(3, &signed, Selector::default()));
    assert!(matches!(taken, Answer::Ordered { .. }), "it is gone, and would say so itself: {taken:?}");
}

#[test]
fn d20_a_deploy_serves_agents_of_the_version_before_of_this_one_and_of_the_next() {
    let mut fleet = Fleet::enrolled(6, 7, |_| Labels::new());
    for (nr, speaks) in
        [(1, (1, PROTOCOL.1 - 1)), (2, (1, REPAIRS - 1)), (3, (2, PROTOCOL.1 + 1)), (4, (2, PROTOCOL.1 + 1))]
    {
        fleet.stop(nr);
        fleet.nodes[nr].speaks = speaks;
        fleet.start(nr);
    }
    // Also where a root came since, which the version before reads as well.
    follow(&mut fleet, chain()[0].clone());
    let v1 = release("v1", 60);
    let signed = sign_release(&v1);
    fleet.deploy(&v1, &order(1, &signed, None));
    fleet.run_until("all confirm", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert!((0..=6).all(|nr| version(&fleet, nr) == Some(2)));
    // One of them is revoked: only who reads that is told.
    fleet.request(ORIGIN, 1, Request::Forget { node: fleet.nodes[5].id });
    fleet.run_for(Duration::from_secs(1));
    assert!(!fleet.is_connected(ORIGIN, 5));
    // What nobody of an older version could do is said for each by its name, and done by the others.
    fleet.request(ORIGIN, 2, Request::Repair { app: app() });
    fleet.run_until("an answer", |fleet| fleet.answer(ORIGIN, 2).is_some());
    let Some(Answer::Verified { nodes }) = fleet.answer(ORIGIN, 2) else { panic!("another answer") };
    let old: Vec<&str> =
        nodes.iter().filter(|(_, _, found)| found.is_err()).map(|(_, name, _)| name.as_str()).collect();
    assert_eq!((old, nodes.len()), (vec!["node-2"], 5), "{nodes:?}");
    assert_eq!(events(&fleet, |event| matches!(event, Event::Convicted { .. })), 0);
}

#[test]
fn d20_a_version_that_shares_no_protocol_with_the_others_is_left_and_nobody_else_is_disturbed() {
    let mut fleet = Fleet::new(3, 8);
    fleet.stop(2);
    fleet.nodes[2].speaks = (PROTOCOL.1 + 1, PROTOCOL.1 + 2);
    fleet.start(2);
    let v1 = release("v1", 30);
    let signed = sign_release(&v1);
    fleet.deploy(&v1, &order(1, &signed, None));
    fleet.run_until("the others", |fleet| [1, 3].into_iter().all(|nr| fleet.confirmed(nr) == Some(id_of(&signed))));
    assert_eq!((fleet.confirmed(2), events(&fleet, |event| matches!(event, Event::Convicted { .. }))), (None, 0));
}

#[test]
fn g17_a_release_that_wants_newer_agents_is_refused_for_older_ones_by_the_origin_and_by_themselves() {
    let mut fleet = Fleet::new(3, 9);
    for (nr, software) in [(1, "0.1.9"), (2, "0.2.0"), (3, "0.10.0")] {
        fleet.stop(nr);
        fleet.nodes[nr].software = software.to_owned();
        fleet.start(nr);
    }
    fleet.run_for(Duration::from_secs(1));
    let mut v1 = release("v1", 30);
    v1.instructions.min_agent = Some(SoftwareVersion(0, 2, 0));
    let signed = sign_release(&v1);
    let lenient = Order { budget: 1, ..order(1, &signed, None) };
    let bring = |fleet: &mut Fleet| {
        let publisher = fleet.publisher(&v1);
        fleet.request(
            publisher,
            1,
            Request::Deploy { release: signed.clone(), order: sign_order(&lenient), wish: Wish::default() },
        );
        fleet.run_until("an answer", |fleet| fleet.answer(publisher, 1).is_some());
        fleet.answer(publisher, 1).cloned().expect("an answer")
    };
    let refused = bring(&mut fleet);
    let Answer::Refused(Refusal::Invalid(why)) = refused else { panic!("{refused:?}") };
    assert!(why.starts_with("v1 wants 0.2.0 of tiding or newer, and node-1 runs an older one; upgrade"), "{why}");
    // It was away, and comes back as it was; or it was put back to that version later.
    fleet.stop(1);
    fleet.run_for(Duration::from_secs(1));
    assert!(matches!(bring(&mut fleet), Answer::Ordered { .. }));
    fleet.start(1);
    let at = |fleet: &Fleet, nr: usize| fleet.confirmed(nr) == Some(id_of(&signed));
    fleet.run_until("the others", |fleet| at(fleet, 2) && at(fleet, 3));
    let said = |event: &Event| matches!(event, Event::JobFailed { why } if why.contains("this node runs 0.1.9"));
    fleet.run_until("it says so", |fleet| fleet.nodes[1].events.iter().any(said));
    fleet.run_for(Duration::from_secs(30));
    assert!(!at(&fleet, 1));
    fleet.request(ORIGIN, 3, Request::Status);
    let Some(Answer::Status(status)) = fleet.answer(ORIGIN, 3) else { panic!("no status") };
    let troubles: Vec<&String> =
        status.nodes.iter().flat_map(|node| &node.apps).filter_map(|app| app.trouble.as_ref()).collect();
    assert!(troubles.iter().any(|why| why.contains("v1 wants 0.2.0 of tiding or newer")), "{troubles:?}");
    // Once it is new enough it is brought to it.
    fleet.stop(1);
    fleet.nodes[1].software = "0.2.1".to_owned();
    fleet.start(1);
    fleet.run_until("it follows", |fleet| at(fleet, 1));
}

#[test]
fn d20_a_release_that_agents_of_before_cannot_read_is_refused_while_one_is_selected() {
    let mut fleet = Fleet::new(2, 10);
    fleet.stop(2);
    fleet.nodes[2].speaks = (1, ADOPTIONS - 1);
    fleet.start(2);
    fleet.run_for(Duration::from_secs(1));
    let mut v1 = release("v1", 30);
    v1.instructions.adopts = true;
    let signed = sign_release(&v1);
    let publisher = fleet.publisher(&v1);
    let order = sign_order(&order(1, &signed, None));
    fleet.request(publisher, 1, Request::Deploy { release: signed, order, wish: Wish::default() });
    fleet.run_until("an answer", |fleet| fleet.answer(publisher, 1).is_some());
    let Some(Answer::Refused(Refusal::Invalid(why))) = fleet.answer(publisher, 1) else { panic!("it was taken") };
    assert!(why.contains("and node-2 would not read it; upgrade them first"), "{why}");
}
