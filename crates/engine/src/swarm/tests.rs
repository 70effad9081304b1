//! The swarm alone: what is pushed, asked for, answered and given up, one message at a time.

use super::*;
use content::{BlobRef, Digest};

pub(super) const NOW: Time = Time(1_000_000_000);

fn node(nr: u8) -> NodeId {
    NodeId(Digest::of(&[nr]))
}

fn spec(pieces: u32) -> ContentSpec {
    let blob = BlobRef { root: Digest::of(b"content"), len: 60_000 };
    ContentSpec { blob, pieces, bytes: u64::from(pieces) * 65_536 }
}

pub(super) fn actions(swarm: &mut Swarm) -> Vec<Action> {
    std::iter::from_fn(|| swarm.poll()).collect()
}

/// An agent that has the pages and lacks all data pieces, with neighbours that hold everything.
pub(super) fn fetching(pieces: u32, neighbours: u8) -> (Swarm, ContentId) {
    let settings = Settings { role: Role::Agent, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(pieces));
    swarm.want(NOW, spec);
    let mut have = Bitmap::empty(spec.total());
    have.insert(PieceNo(0));
    swarm.opened(NOW, spec.id(), Ok((have, true, false)));
    for nr in 0..neighbours {
        swarm.peer_up(NOW, node(nr), Role::Agent);
        swarm.message(NOW, node(nr), Message::Holding { content: spec.id(), have: None, wants: false });
    }
    (swarm, spec.id())
}

/// What is asked of whom.
pub(super) fn wants(actions: &[Action]) -> Vec<(NodeId, PieceNo)> {
    let want = |action: &Action| match action {
        Action::Send(to, Message::Want { pieces, .. }) => pieces.iter().map(|piece| (*to, *piece)).collect(),
        _ => Vec::new(),
    };
    actions.iter().flat_map(want).collect()
}

#[test]
fn a_piece_is_asked_of_one_holder_and_few_of_each() {
    let (mut swarm, _) = fetching(100, 5);
    let asked = wants(&actions(&mut swarm));
    assert_eq!(asked.len(), 20);
    let pieces: std::collections::BTreeSet<PieceNo> = asked.iter().map(|(_, piece)| *piece).collect();
    assert_eq!(pieces.len(), 20, "nothing is asked for twice");
}

#[test]
fn the_next_is_asked_for_when_one_comes_and_each_is_written_once() {
    let (mut swarm, content) = fetching(100, 2);
    let (from, piece) = wants(&actions(&mut swarm))[0];
    swarm.piece(NOW, from, content, piece, BufferId(1), 65_536);
    let then = actions(&mut swarm);
    assert!(then.contains(&Action::Write(content, piece, BufferId(1))));
    assert_eq!(wants(&then).len(), 1);
    swarm.piece(NOW, from, content, piece, BufferId(2), 65_536);
    assert!(actions(&mut swarm).contains(&Action::Drop(BufferId(2))));
}

#[test]
fn what_is_not_written_fills_the_window_and_no_more_is_asked_for_or_taken() {
    const WINDOW: usize = 128;
    let (mut swarm, content) = fetching(300, 10);
    let mut asked: VecDeque<_> = wants(&actions(&mut swarm)).into();
    let (mut writing, mut came) = (VecDeque::new(), 0);
    while let Some((from, piece)) = asked.pop_front() {
        came += 1;
        swarm.piece(NOW, from, content, piece, BufferId(came), 65_536);
        let then = actions(&mut swarm);
        assert!(then.contains(&Action::Write(content, piece, BufferId(came))));
        writing.push_back(piece);
        asked.extend(wants(&then));
        assert!(asked.len() + writing.len() <= WINDOW, "{} under way, {} unwritten", asked.len(), writing.len());
    }
    assert_eq!(writing.len(), WINDOW, "as much is asked for as may be unwritten");
    let source = node(99);
    swarm.peer_up(NOW, source, Role::Origin);
    actions(&mut swarm);
    let mut others = (1..=300).map(PieceNo).filter(|piece| !writing.contains(piece));
    let [last, piece] = [others.next(), others.next()].map(|piece| piece.expect("more than fit"));
    swarm.piece(NOW, source, content, last, BufferId(1000), 65_536);
    assert_eq!(actions(&mut swarm), [Action::Write(content, last, BufferId(1000))], "the window is not quite full");
    swarm.piece(NOW, source, content, piece, BufferId(1001), 65_536);
    let refused = [Action::Drop(BufferId(1001)), Action::Send(source, Message::Cannot { content, piece })];
    assert_eq!(actions(&mut swarm), refused, "nor is a push taken");
    [last, writing[0]].into_iter().for_each(|piece| swarm.written(NOW, content, piece, Ok(())));
    assert_eq!(wants(&actions(&mut swarm)).len(), 1, "what is written makes room for another");
}

#[test]
fn a_late_peer_is_left_and_its_pieces_are_asked_for_elsewhere() {
    let (mut swarm, _) = fetching(4, 2);
    let asked = wants(&actions(&mut swarm));
    let (late, _) = asked[0];
    let due = swarm.deadline().expect("something must come");
    assert_eq!(due, NOW.after(Duration::from_millis(250)), "nobody has answered yet");
    swarm.tick(due);
    let then = actions(&mut swarm);
    let lates = then.iter().filter(|a| matches!(a, Action::Event(Event::Late { from, .. }) if *from == late)).count();
    assert_eq!(lates, asked.len());
    let cancelled =
        then.iter().filter(|a| matches!(a, Action::Send(to, Message::Cancel { .. }) if *to == late)).count();
    assert_eq!(cancelled, asked.len());
    assert!(wants(&then).iter().all(|(to, _)| *to != late) && !wants(&then).is_empty());
}

#[test]
fn c1_c3_faulty_payloads_convict_their_sender() {
    let (mut swarm, content) = fetching(100, 1);
    let asked = wants(&actions(&mut swarm));
    let convicted = |actions: &[Action], of| actions.contains(&Action::Convict(node(0), of));
    swarm.piece(NOW, node(0), content, asked[0].1, BufferId(1), u32::MAX);
    assert!(convicted(&actions(&mut swarm), Misbehaviour::WrongLength));
    swarm.piece(NOW, node(0), content, PieceNo(101), BufferId(2), 1);
    assert!(convicted(&actions(&mut swarm), Misbehaviour::NoSuchPiece));
    swarm.piece(NOW, node(0), content, asked[1].1, BufferId(3), 65_536);
    swarm.written(NOW, content, asked[1].1, Err(JobError::Corrupt));
    assert!(convicted(&actions(&mut swarm), Misbehaviour::CorruptPiece));
    swarm.message(NOW, node(0), Message::Have { content, pieces: vec![PieceNo(u32::MAX)] });
    assert!(convicted(&actions(&mut swarm), Misbehaviour::NoSuchPiece));
}

#[test]
fn what_a_faulty_payload_stood_for_is_asked_of_the_others() {
    let (mut swarm, content) = fetching(1, 2);
    let asked = wants(&actions(&mut swarm));
    let [(liar, piece)] = asked[..] else { panic!("one piece is asked of one peer: {asked:?}") };
    swarm.piece(NOW, liar, content, piece, BufferId(1), u32::MAX);
    let then = actions(&mut swarm);
    assert!(then.contains(&Action::Convict(liar, Misbehaviour::WrongLength)));
    swarm.peer_down(NOW, liar);
    let again: Vec<_> = wants(&then).into_iter().chain(wants(&actions(&mut swarm))).collect();
    assert!(again.iter().any(|(to, what)| *to != liar && *what == piece), "{again:?}");
}

/// An agent that has just come: it lacks all of a content that its source holds, and neighbours may be on their way.
fn just_came(expects: bool) -> (Swarm, ContentId, Vec<Action>) {
    let settings = Settings { role: Role::Agent, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(100));
    let source = node(99);
    swarm.peer_up(NOW, source, Role::Origin);
    if expects {
        swarm.expect(NOW);
    }
    swarm.want(NOW, spec);
    swarm.opened(NOW, spec.id(), Ok((Bitmap::empty(spec.total()), false, false)));
    swarm.message(NOW, source, Message::Holding { content: spec.id(), have: None, wants: false });
    let then = actions(&mut swarm);
    (swarm, spec.id(), then)
}

#[test]
fn whoever_expects_neighbours_asks_them_and_its_source_only_when_none_comes() {
    assert!(!wants(&just_came(false).2).is_empty(), "whoever expects nobody asks its source at once");
    let (mut swarm, content, then) = just_came(true);
    assert!(wants(&then).is_empty(), "{then:?}");
    swarm.peer_up(NOW, node(1), Role::Agent);
    swarm.expect_no_more(NOW);
    swarm.message(NOW, node(1), Message::Holding { content, have: None, wants: false });
    assert!(wants(&actions(&mut swarm)).iter().all(|(to, _)| *to == node(1)));

    let (mut swarm, _, _) = just_came(true);
    swarm.expect_no_more(NOW);
    swarm.tick(NOW);
    assert!(wants(&actions(&mut swarm)).iter().any(|(to, _)| *to == node(99)), "nobody can be reached");
    let (mut swarm, _, _) = just_came(true);
    swarm.tick(NOW.after(Duration::from_secs(1)));
    assert!(wants(&actions(&mut swarm)).iter().any(|(to, _)| *to == node(99)), "nobody has come in time");
    let (mut swarm, _, _) = just_came(true);
    swarm.peer_up(NOW, node(1), Role::Agent);
    swarm.expect_no_more(NOW);
    swarm.tick(NOW.after(GREETING));
    assert!(wants(&actions(&mut swarm)).iter().any(|(to, _)| *to == node(99)), "who came has nothing");
}

#[test]
fn c8_whoever_asks_for_more_than_there_is_or_for_what_it_has_gets_one_piece_in_a_while() {
    let (mut swarm, spec) = (
        Swarm::new(
            Settings { role: Role::Agent, window_bytes: 8 << 20, patience: Duration::from_secs(1) },
            Chance::new(1),
        ),
        spec(100),
    );
    let (content, greedy) = (spec.id(), node(1));
    swarm.hold(spec, NOW);
    swarm.peer_up(NOW, greedy, Role::Agent);
    let asks = |swarm: &mut Swarm, now: Time| {
        let mut sent = 0;
        for piece in (1..=100).map(PieceNo) {
            swarm.message(now, greedy, Message::Want { content, pieces: vec![piece] });
            for action in actions(swarm) {
                assert!(!matches!(action, Action::Convict(..)));
                if let Action::SendPiece(to, content, piece) = action {
                    sent += 1;
                    swarm.sent(now, to, content, piece, 65_536);
                }
            }
        }
        sent
    };
    let sent: [u32; 4] = std::array::from_fn(|_| asks(&mut swarm, NOW));
    assert_eq!(sent[0], 100);
    assert_eq!(sent.iter().sum::<u32>(), 101 + 25 + 64, "{sent:?}");
    assert_eq!(asks(&mut swarm, NOW.after(Duration::from_secs(2))), 2, "a piece for each second");
    assert_eq!(asks(&mut swarm, NOW.after(Duration::from_secs(9))), 7, "those that it did not ask for as well");

    swarm.peer_up(NOW, greedy, Role::Agent);
    swarm.message(NOW, greedy, Message::Holding { content, have: None, wants: false });
    assert_eq!(asks(&mut swarm, NOW), 1, "it has everything by its own word");
}

#[test]
fn c5_false_claims_are_struck_off_and_too_many_convict() {
    let (mut swarm, content) = fetching(100, 1);
    let mut asked: VecDeque<_> = wants(&actions(&mut swarm)).into();
    for round in 1..=partner::STRIKES + 1 {
        let (from, piece) = asked.pop_front().expect("there is more to ask");
        swarm.message(NOW, from, Message::Cannot { content, piece });
        let then = actions(&mut swarm);
        let is_convicted = then.contains(&Action::Convict(from, Misbehaviour::FalseHaves));
        assert_eq!(is_convicted, round > partner::STRIKES);
        assert!(wants(&then).iter().all(|(_, again)| *again != piece));
        asked.extend(wants(&then));
    }
}

#[test]
fn whoever_passes_on_to_an_agent_that_knows_no_order_yet_is_not_convicted_at_once() {
    let (mut swarm, content) = fetching(1000, 2);
    let asked: Vec<PieceNo> = wants(&actions(&mut swarm)).into_iter().map(|(_, piece)| piece).collect();
    let unasked = (1..).map(PieceNo).filter(|piece| !asked.contains(piece));
    for (nth, piece) in (1..=partner::UNASKED + 1).zip(unasked) {
        swarm.piece(NOW, node(0), content, piece, BufferId(nth.into()), 65_536);
        let then = actions(&mut swarm);
        let is_convicted = then.contains(&Action::Convict(node(0), Misbehaviour::UnaskedPieces));
        assert_eq!(is_convicted, nth > partner::UNASKED, "after {nth}");
    }
}

#[test]
fn a9_a_holder_that_finds_its_disk_rotten_and_says_so_is_no_liar() {
    let (mut swarm, content) = fetching(200, 1);
    let mut asked: VecDeque<_> = wants(&actions(&mut swarm)).into();
    let mut lost = Vec::new();
    for _ in 0..partner::STRIKES * 3 {
        let (from, piece) = asked.pop_front().expect("there is more to ask");
        lost.push((from, piece));
        swarm.message(NOW, from, Message::Cannot { content, piece });
        asked.extend(wants(&actions(&mut swarm)));
        let mut have = Bitmap::full(200 + 1);
        lost.iter().filter(|(peer, _)| *peer == from).for_each(|(_, piece)| assert!(have.remove(*piece)));
        swarm.message(NOW, from, Message::Holding { content, have: Some(have), wants: true });
        let then = actions(&mut swarm);
        assert!(!then.iter().any(|action| matches!(action, Action::Convict(..))), "{then:?}");
        asked.extend(wants(&then));
    }
}

#[test]
fn a_source_sends_each_piece_once_to_those_who_can_take_it() {
    let settings = Settings { role: Role::Origin, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(50));
    let content = spec.id();
    swarm.hold(spec, NOW);
    let mut lacks = Bitmap::empty(spec.total());
    lacks.insert(PieceNo(0));
    for nr in 0..3 {
        swarm.peer_up(NOW, node(nr), Role::Agent);
        swarm.message(NOW, node(nr), Message::Holding { content, have: Some(lacks.clone()), wants: true });
    }
    let mut sent = BTreeMap::new();
    let mut is_told = false;
    let mut todo: VecDeque<Action> = actions(&mut swarm).into();
    while let Some(action) = todo.pop_front() {
        match action {
            Action::SendPiece(to, content, piece) => {
                assert!(!is_told, "it says what it holds when all has been out");
                *sent.entry(piece).or_insert(0) += 1;
                swarm.sent(NOW, to, content, piece, 65_536);
                swarm.message(NOW, to, Message::Have { content, pieces: vec![piece] });
            }
            Action::Send(_, Message::Holding { have: None, .. }) => is_told = true,
            _ => {}
        }
        todo.extend(actions(&mut swarm));
    }
    assert_eq!((sent.len(), sent.values().max()), (50, Some(&1)));
    assert!(is_told);
}

#[test]
fn what_the_first_to_speak_claims_to_hold_goes_out_all_the_same() {
    let settings = Settings { role: Role::Origin, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(50));
    let content = spec.id();
    swarm.hold(spec, NOW);
    let others = [node(1), node(2), node(3)];
    swarm.relay(NOW, std::array::from_fn(|_| Stripe { from: None, to: others.to_vec() }));
    swarm.peer_up(NOW, node(0), Role::Agent);
    swarm.message(NOW, node(0), Message::Holding { content, have: None, wants: false });
    let mut todo: VecDeque<Action> = actions(&mut swarm).into();
    for peer in others {
        swarm.peer_up(NOW, peer, Role::Agent);
        let have = Some(Bitmap::empty(spec.total()));
        swarm.message(NOW, peer, Message::Holding { content, have, wants: true });
    }
    let mut sent = std::collections::BTreeSet::new();
    todo.extend(actions(&mut swarm));
    while let Some(action) = todo.pop_front() {
        if let Action::SendPiece(to, content, piece) = action {
            sent.insert(piece);
            swarm.sent(NOW, to, content, piece, 65_536);
            swarm.message(NOW, to, Message::Have { content, pieces: vec![piece] });
            // What went to one shows up at the next.
            let next = others[(others.iter().position(|other| *other == to).unwrap_or(0) + 1) % 3];
            swarm.message(NOW, next, Message::Have { content, pieces: vec![piece] });
        }
        todo.extend(actions(&mut swarm));
    }
    assert_eq!(sent.len() as u32, spec.total(), "the one that has it all does not say the truth");
}

#[test]
fn what_is_claimed_and_asked_for_all_the_same_keeps_no_push_open() {
    let settings = Settings { role: Role::Origin, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(50));
    let content = spec.id();
    swarm.hold(spec, NOW);
    let nodes = [node(1), node(2), node(3)];
    swarm.relay(NOW, std::array::from_fn(|_| Stripe { from: None, to: nodes.to_vec() }));
    let lacking = Bitmap::empty(spec.total());
    nodes.iter().for_each(|peer| swarm.peer_up(NOW, *peer, Role::Agent));
    swarm.message(NOW, node(1), Message::Holding { content, have: None, wants: false });
    swarm.message(NOW, node(2), Message::Holding { content, have: None, wants: false });
    assert!(swarm.contents[&content].push.is_some(), "the third has not spoken");
    swarm.message(NOW, node(3), Message::Want { content, pieces: vec![PieceNo(7)] });
    actions(&mut swarm);
    swarm.sent(NOW, node(3), content, PieceNo(7), 65_536);
    let mut have = lacking;
    have.insert(PieceNo(7));
    swarm.message(NOW, node(3), Message::Holding { content, have: Some(have), wants: true });
    swarm.message(NOW, node(3), Message::Have { content, pieces: vec![PieceNo(7)] });
    assert!(swarm.contents[&content].push.is_none(), "two of three hold all");
}

#[test]
fn whoever_lost_what_it_had_is_told_once_who_has_it() {
    let settings = Settings { role: Role::Agent, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(3));
    let content = spec.id();
    swarm.hold(spec, NOW);
    swarm.peer_up(NOW, node(1), Role::Agent);
    swarm.message(NOW, node(1), Message::Holding { content, have: None, wants: false });
    actions(&mut swarm);
    let lost = Message::Holding { content, have: Some(Bitmap::empty(spec.total())), wants: true };
    swarm.message(NOW, node(1), lost.clone());
    let answer = Action::Send(node(1), Message::Holding { content, have: None, wants: false });
    assert_eq!(actions(&mut swarm), [answer]);
    swarm.message(NOW, node(1), lost);
    assert!(actions(&mut swarm).is_empty(), "two that answer each other would never end");
}

#[test]
fn a_push_that_did_not_arrive_goes_to_another() {
    let settings = Settings { role: Role::Origin, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(1));
    swarm.hold(spec, NOW);
    let mut lacks = Bitmap::empty(spec.total());
    lacks.insert(PieceNo(0));
    for nr in 0..2 {
        swarm.peer_up(NOW, node(nr), Role::Agent);
        let have = Some(lacks.clone());
        swarm.message(NOW, node(nr), Message::Holding { content: spec.id(), have, wants: true });
    }
    let sends = |actions: Vec<Action>| {
        actions
            .into_iter()
            .filter_map(|a| if let Action::SendPiece(to, ..) = a { Some(to) } else { None })
            .collect::<Vec<_>>()
    };
    let first = sends(actions(&mut swarm));
    assert_eq!(first.len(), 1);
    swarm.sent(NOW, first[0], spec.id(), PieceNo(1), 65_536);
    assert!(sends(actions(&mut swarm)).is_empty());
    swarm.peer_down(NOW, first[0]);
    let second = sends(actions(&mut swarm));
    assert!(second.len() == 1 && second != first);
}

/// A source of so many data pieces in a given order that begins with these, who have all pages; those and others are here.
fn giving(pieces: u32, roots: &[NodeId], others: &[NodeId]) -> (Swarm, ContentId) {
    giving_beside(pieces, &[], roots, others)
}

/// The same, when some said before that they had everything.
fn giving_beside(pieces: u32, boasters: &[NodeId], roots: &[NodeId], others: &[NodeId]) -> (Swarm, ContentId) {
    let settings = Settings { role: Role::Origin, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(pieces));
    swarm.hold(spec, NOW);
    swarm.relay(NOW, std::array::from_fn(|_| Stripe { from: None, to: roots.to_vec() }));
    for peer in boasters.iter().chain(roots).chain(others) {
        let mut have = Bitmap::empty(spec.total());
        let claims = if boasters.contains(peer) { spec.total() } else { 1 };
        (0..claims).for_each(|piece| {
            have.insert(PieceNo(piece));
        });
        swarm.peer_up(NOW, *peer, Role::Agent);
        swarm.message(NOW, *peer, Message::Holding { content: spec.id(), have: Some(have), wants: claims == 1 });
    }
    (swarm, spec.id())
}

#[test]
fn c5_what_only_those_hold_to_whom_it_was_sent_has_not_been_out() {
    let nodes = [node(1), node(2), node(3), node(4)];
    let (mut swarm, content) = giving(1, &nodes, &[node(5), node(6), node(7)]);
    let mut kept_by = Vec::new();
    for round in 0..3 {
        let now = NOW.after(Duration::from_millis(400) * round);
        swarm.tick(now);
        let sent = sends(&mut swarm);
        let (to, piece) = sent[0];
        assert!(sent.len() == 1 && !kept_by.contains(&to), "it goes to one after the other: {sent:?}");
        kept_by.push(to);
        swarm.sent(now, to, content, piece, 65_536);
        swarm.message(now, to, Message::Have { content, pieces: vec![piece] });
        assert!(swarm.contents[&content].push.is_some(), "kept by all of {}", kept_by.len());
    }
    let last = *nodes.iter().find(|node| !kept_by.contains(node)).expect("three of four were sent it");
    swarm.message(NOW.after(Duration::from_secs(1)), last, Message::Have { content, pieces: vec![PieceNo(1)] });
    assert!(swarm.contents[&content].push.is_none(), "someone has passed it on");
}

#[test]
fn c5_whoever_claims_all_does_not_make_a_piece_spread_that_was_kept() {
    let (roots, others) = ([node(1), node(2), node(3)], [node(5), node(6), node(7)]);
    let (mut swarm, content) = giving_beside(1, &[node(4)], &roots, &others);
    let (first, piece) = sends(&mut swarm)[0];
    swarm.sent(NOW, first, content, piece, 65_536);
    swarm.message(NOW, first, Message::Have { content, pieces: vec![piece] });
    assert!(swarm.contents[&content].push.is_some(), "it claimed that before anything was sent");
    swarm.tick(NOW.after(Duration::from_millis(400)));
    let again = sends(&mut swarm);
    assert!(again.len() == 1 && again[0].1 == piece && again[0].0 != first, "it goes to another: {again:?}");
}

#[test]
fn what_a_source_sent_to_all_of_a_few_is_out_at_once() {
    let nodes = [node(1), node(2), node(3)];
    let (mut swarm, content) = giving(6, &nodes, &[]);
    for peer in nodes {
        swarm.message(NOW, peer, Message::Want { content, pieces: (1..=6).map(PieceNo).collect() });
    }
    let mut under_way: VecDeque<(NodeId, PieceNo)> = sends(&mut swarm);
    let mut sent = 0;
    while let Some((to, piece)) = under_way.pop_front() {
        sent += 1;
        swarm.sent(NOW, to, content, piece, 65_536);
        swarm.message(NOW, to, Message::Have { content, pieces: vec![piece] });
        under_way.extend(sends(&mut swarm));
    }
    assert!(swarm.contents[&content].push.is_none(), "nobody is left to whom it was not sent");
    assert_eq!(sent, 18, "each got each once");
}

#[test]
fn while_a_source_gives_out_whoever_asks_waits_for_its_turn() {
    let (root, asker) = (node(1), node(2));
    let (mut swarm, content) = giving(200, &[root], &[asker]);
    swarm.message(NOW, asker, Message::Want { content, pieces: (101..160).map(PieceNo).collect() });
    let mut under_way: VecDeque<(NodeId, PieceNo)> = sends(&mut swarm);
    let mut given = BTreeMap::new();
    while let Some((to, piece)) = under_way.pop_front().filter(|_| given.values().sum::<u32>() < 60) {
        *given.entry(to).or_insert(0) += 1;
        swarm.sent(NOW, to, content, piece, 65_536);
        swarm.message(NOW, to, Message::Have { content, pieces: vec![piece] });
        under_way.extend(sends(&mut swarm));
    }
    // With one root every second turn finds nothing to give; without turns it would be every second send.
    assert!((10..=20).contains(&given[&asker]), "{given:?}");
}

/// A part in the given order: everything comes from one and goes to nobody.
fn comes_from(parent: NodeId) -> [Stripe; STRIPES] {
    std::array::from_fn(|_| Stripe { from: Some(parent), to: Vec::new() })
}

#[test]
fn a_source_that_has_everything_still_hears_what_came_in_the_given_order() {
    let (mut swarm, content) = fetching(100, 1);
    let source = node(99);
    swarm.peer_up(NOW, source, Role::Origin);
    swarm.message(NOW, source, Message::Holding { content, have: None, wants: false });
    swarm.relay(NOW, comes_from(node(0)));
    swarm.piece(NOW, node(0), content, PieceNo(7), BufferId(1), 65_536);
    swarm.written(NOW, content, PieceNo(7), Ok(()));
    actions(&mut swarm);
    swarm.tick(NOW.after(Duration::from_millis(50)));
    let news = Action::Send(source, Message::Have { content, pieces: vec![PieceNo(7)] });
    assert!(actions(&mut swarm).contains(&news), "it would wait for the word that this piece has arrived");
}

#[test]
fn only_neighbours_in_the_given_order_hear_at_once_what_is_opened_and_all_hear_soon() {
    let settings = Settings { role: Role::Agent, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(10));
    (0..3).for_each(|nr| swarm.peer_up(NOW, node(nr), Role::Agent));
    swarm.peer_up(NOW, node(99), Role::Origin);
    swarm.relay(NOW, comes_from(node(1)));
    swarm.want(NOW, spec);
    swarm.opened(NOW, spec.id(), Ok((Bitmap::empty(spec.total()), false, false)));
    let told = |actions: &[Action]| -> std::collections::BTreeSet<NodeId> {
        let told = |action: &Action| match action {
            Action::Send(to, Message::Holding { .. }) => Some(*to),
            _ => None,
        };
        actions.iter().filter_map(told).collect()
    };
    assert_eq!(told(&actions(&mut swarm)), [node(1), node(99)].into());
    swarm.tick(NOW.after(Duration::from_millis(99)));
    assert_eq!(told(&actions(&mut swarm)), [].into());
    swarm.tick(NOW.after(Duration::from_millis(100)));
    assert_eq!(told(&actions(&mut swarm)), [node(0), node(2)].into());
}

#[test]
fn whoever_has_a_pace_tells_a_source_in_its_turn_and_at_once_when_it_has_none_any_more() {
    let (mut swarm, content) = fetching(100, 1);
    let source = node(99);
    swarm.peer_up(NOW, source, Role::Origin);
    swarm.message(NOW, source, Message::Holding { content, have: None, wants: false });
    swarm.relay(NOW, comes_from(node(0)));
    swarm.set_pace(NOW, Duration::from_millis(100));
    let come = |swarm: &mut Swarm, now, piece| {
        swarm.piece(now, node(0), content, PieceNo(piece), BufferId(1), 65_536);
        swarm.written(now, content, PieceNo(piece), Ok(()));
    };
    let news = |swarm: &mut Swarm| -> Vec<Vec<PieceNo>> {
        let of = |action| match action {
            Action::Send(to, Message::Have { pieces, .. }) if to == source => Some(pieces),
            _ => None,
        };
        actions(swarm).into_iter().filter_map(of).collect()
    };
    (1..=70).for_each(|piece| come(&mut swarm, NOW, piece));
    assert!(news(&mut swarm).is_empty(), "many news are no reason");
    let turn = NOW.after(Duration::from_millis(100));
    swarm.tick(turn);
    assert_eq!(news(&mut swarm), [(1..=70).map(PieceNo).collect::<Vec<_>>()]);
    come(&mut swarm, turn, 71);
    swarm.tick(turn.after(Duration::from_millis(99)));
    assert!(news(&mut swarm).is_empty());
    swarm.set_pace(turn.after(Duration::from_millis(99)), Duration::ZERO);
    swarm.tick(turn.after(Duration::from_millis(99)));
    assert_eq!(news(&mut swarm), [vec![PieceNo(71)]]);
}

#[test]
fn whoever_was_passed_a_piece_is_not_told_of_it_and_the_others_are() {
    let (mut swarm, content) = fetching(100, 1);
    let (child, other) = (node(1), node(2));
    let lacks = Bitmap::empty(101);
    for peer in [child, other] {
        swarm.peer_up(NOW, peer, Role::Agent);
        swarm.message(NOW, peer, Message::Holding { content, have: Some(lacks.clone()), wants: true });
    }
    swarm.relay(NOW, std::array::from_fn(|_| Stripe { from: Some(node(0)), to: vec![child] }));
    swarm.piece(NOW, node(0), content, PieceNo(7), BufferId(1), 65_536);
    swarm.written(NOW, content, PieceNo(7), Ok(()));
    swarm.tick(NOW.after(Duration::from_millis(100)));
    let told = actions(&mut swarm).into_iter().filter_map(|action| match action {
        Action::Send(to, Message::Have { .. }) => Some(to),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [other]);
}

#[test]
fn what_a_slow_one_asks_a_source_for_goes_to_the_root_all_the_same() {
    let settings = Settings { role: Role::Origin, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(50));
    let content = spec.id();
    let (root, slow) = (node(0), node(1));
    swarm.hold(spec, NOW);
    swarm.relay(NOW, std::array::from_fn(|_| Stripe { from: None, to: vec![root] }));
    let mut lacks = Bitmap::empty(spec.total());
    lacks.insert(PieceNo(0));
    for peer in [root, slow] {
        swarm.peer_up(NOW, peer, Role::Agent);
        swarm.message(NOW, peer, Message::Holding { content, have: Some(lacks.clone()), wants: true });
    }
    swarm.message(NOW, slow, Message::Want { content, pieces: (1..=50).map(PieceNo).collect() });
    let mut todo: VecDeque<Action> = actions(&mut swarm).into();
    let mut at_root = std::collections::BTreeSet::new();
    while let Some(action) = todo.pop_front() {
        match action {
            Action::SendPiece(to, content, piece) if to == root => {
                at_root.insert(piece);
                swarm.sent(NOW, to, content, piece, 65_536);
                // The slow one has it from the root then; nothing of what it is sent itself arrives.
                for holder in [root, slow] {
                    swarm.message(NOW, holder, Message::Have { content, pieces: vec![piece] });
                }
            }
            _ => {}
        }
        todo.extend(actions(&mut swarm));
    }
    assert!(at_root.len() >= 49, "{} of 50 went out", at_root.len());
}

/// A source with three that lack all data: the first is the root of the even stripe, the second of the odd one, the third is next
/// to both.
fn pushing(pieces: u32) -> (Swarm, ContentId, VecDeque<(NodeId, PieceNo)>) {
    let settings = Settings { role: Role::Origin, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(pieces));
    swarm.hold(spec, NOW);
    swarm.relay(NOW, std::array::from_fn(|nr| Stripe { from: None, to: vec![node(nr as u8), node(2)] }));
    let mut lacks = Bitmap::empty(spec.total());
    lacks.insert(PieceNo(0));
    for nr in 0..3 {
        swarm.peer_up(NOW, node(nr), Role::Agent);
        let have = Some(lacks.clone());
        swarm.message(NOW, node(nr), Message::Holding { content: spec.id(), have, wants: true });
    }
    let sends = sends(&mut swarm);
    (swarm, spec.id(), sends)
}

fn sends(swarm: &mut Swarm) -> VecDeque<(NodeId, PieceNo)> {
    let send = |action| if let Action::SendPiece(to, _, piece) = action { Some((to, piece)) } else { None };
    actions(swarm).into_iter().filter_map(send).collect()
}

/// A piece left, arrived at its root and is at both of the others at once.
fn lands(swarm: &mut Swarm, now: Time, content: ContentId, (to, piece): (NodeId, PieceNo)) {
    swarm.sent(now, to, content, piece, 65_536);
    for at in std::iter::once(to).chain((0..3).map(node).filter(|other| *other != to)) {
        swarm.message(now, at, Message::Have { content, pieces: vec![piece] });
    }
}

#[test]
fn a_stripe_that_is_ahead_gives_way_to_the_other_for_a_while() {
    let (mut swarm, content, mut todo) = pushing(30);
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    while let Some((to, piece)) = todo.pop_front() {
        match to == node(0) {
            true => {
                even.push(piece);
                lands(&mut swarm, NOW, content, (to, piece));
            }
            false => odd.push(piece),
        }
        todo.extend(sends(&mut swarm));
    }
    assert_eq!((even.len(), odd.len()), (3, 1), "the link of the odd one is slow: {even:?} {odd:?}");
    let then = NOW.after(push::GIVES_WAY);
    lands(&mut swarm, then, content, (node(1), odd[0]));
    assert!(sends(&mut swarm).len() == 2, "it has caught up with the other");

    let (mut swarm, content, mut todo) = pushing(30);
    let (mut now, mut even) = (NOW, 0);
    for _ in 0..20 {
        while let Some(send) = todo.pop_front().filter(|(to, _)| *to != node(1)) {
            even += 1;
            lands(&mut swarm, now, content, send);
            todo.extend(sends(&mut swarm));
        }
        now = now.after(push::GIVES_WAY);
        swarm.tick(now);
        todo.extend(sends(&mut swarm));
    }
    assert!(even >= 15, "who takes nothing at all is not waited for: {even}");
}

/// How many pieces of a long content the even root takes while the odd one takes one every so many milliseconds, and the even one every
/// tenth, for two seconds: alone on the link it would be 200, and its half is 100.
fn taken_beside(slow: u64) -> usize {
    let (mut swarm, content, mut todo) = pushing(400);
    let (mut even, mut wire) = (0, BTreeMap::new());
    for ms in 0..2_000 {
        let now = NOW.after(Duration::from_millis(ms));
        for send in todo.drain(..) {
            let pace = if send.0 == node(1) { slow } else { 10 };
            let queue: &mut VecDeque<_> = wire.entry(send.0).or_default();
            queue.push_back((send.1, ms.max(queue.back().map_or(0, |(_, due)| *due)) + pace));
        }
        for (to, queue) in &mut wire {
            while let Some((piece, _)) = queue.pop_front_if(|(_, due)| *due <= ms) {
                even += usize::from(*to != node(1));
                lands(&mut swarm, now, content, (*to, piece));
            }
        }
        swarm.tick(now);
        todo.extend(sends(&mut swarm));
    }
    even
}

#[test]
fn a_root_of_a_long_content_that_is_slow_holds_up_nobody_but_itself() {
    let (alike, slower, far_slower) = (taken_beside(13), taken_beside(40), taken_beside(500));
    assert!((140..=170).contains(&alike), "who is nearly as fast is waited for: {alike}");
    assert!(slower >= 120 && far_slower >= 120, "a stripe has more than its half in any case: {slower}, {far_slower}");
}

#[test]
fn what_a_root_keeps_silent_about_goes_to_the_next_soon() {
    let (mut swarm, content, mut todo) = pushing(200);
    let mut now = NOW;
    let mut land = |swarm: &mut Swarm, now: &mut Time, is_well: &dyn Fn(NodeId, PieceNo) -> bool| {
        let mut again = Vec::new();
        for _ in 0..20 {
            let Some((to, piece)) = todo.pop_front() else { break };
            *now = now.after(Duration::from_millis(2));
            match is_well(to, piece) {
                true => lands(swarm, *now, content, (to, piece)),
                // Its host has no power any more: the kernel here takes it all the same.
                false => swarm.sent(*now, to, content, piece, 65_536),
            }
            again.push((to, piece));
            todo.extend(sends(swarm));
        }
        again
    };
    assert!(land(&mut swarm, &mut now, &|_, _| true).len() == 20);
    let sent = land(&mut swarm, &mut now, &|to, _| to != node(0));
    let lost: Vec<PieceNo> = sent.into_iter().filter(|(to, _)| *to == node(0)).map(|(_, piece)| piece).collect();
    assert!(!lost.is_empty());
    now = now.after(push::OVERDUE);
    swarm.tick(now);
    let again = sends(&mut swarm);
    assert!(again.iter().any(|(to, piece)| *to == node(2) && lost.contains(piece)), "{lost:?} {again:?}");
    todo.retain(|(to, _)| *to != node(0));
    todo.extend(again);
    for _ in 0..20 {
        let next = todo.pop_front().expect("there is more");
        assert_ne!(next.0, node(0), "and it gets no more");
        swarm.sent(now, next.0, content, next.1, 65_536);
        for at in [1, 2].map(node) {
            swarm.message(now, at, Message::Have { content, pieces: vec![next.1] });
        }
        todo.extend(sends(&mut swarm));
    }
}

#[test]
fn how_long_a_cut_network_took_is_not_how_long_a_source_is_not_asked() {
    let (mut swarm, content) = ordered(only_page(), only_page());
    let mut now = NOW;
    for piece in 1..=8 {
        now = now.after(Duration::from_secs(20));
        swarm.piece(now, node(piece as u8 % 2), content, PieceNo(piece), BufferId(piece.into()), 65_536);
        swarm.written(now, content, PieceNo(piece), Ok(()));
    }
    assert!(swarm.bears(content) <= Duration::from_secs(32), "{:?}", swarm.bears(content));
}

#[test]
fn what_was_in_vain_counts_no_more_when_something_comes() {
    let (mut swarm, content) = ordered(only_page(), only_page());
    let mut now = NOW;
    for _ in 0..10 {
        now = now.after(swarm.bears(content));
        swarm.stalled(now, content);
    }
    assert_eq!(swarm.bears(content), Duration::from_secs(32), "asking was in vain each time");
    now = now.after(Duration::from_millis(10));
    swarm.piece(now, node(1), content, PieceNo(1), BufferId(1), 65_536);
    assert_eq!(swarm.bears(content), Duration::from_secs(2), "the network is back");
}

/// An agent whose stripes come from the first two neighbours, which hold that, as does a third.
fn ordered(have: Bitmap, theirs: Bitmap) -> (Swarm, ContentId) {
    let settings = Settings { role: Role::Agent, window_bytes: 64 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec) = (Swarm::new(settings, Chance::new(1)), spec(have.len() - 1));
    let content = spec.id();
    swarm.relay(NOW, std::array::from_fn(|nr| Stripe { from: Some(node(nr as u8)), to: Vec::new() }));
    swarm.want(NOW, spec);
    let is_indexed = have.contains(PieceNo(0));
    swarm.opened(NOW, content, Ok((have, is_indexed, false)));
    for nr in 0..3 {
        swarm.peer_up(NOW, node(nr), Role::Agent);
        let holding = Message::Holding { content, have: Some(theirs.clone()), wants: true };
        swarm.message(NOW, node(nr), holding);
    }
    actions(&mut swarm);
    (swarm, content)
}

fn only_page() -> Bitmap {
    let mut have = Bitmap::empty(201);
    have.insert(PieceNo(0));
    have
}

/// Passes on a piece of the second stripe; what comes of it.
fn pass_on(swarm: &mut Swarm, content: ContentId, piece: u32) -> Vec<Action> {
    let now = NOW.after(Duration::from_millis(15));
    swarm.piece(now, node(1), content, PieceNo(piece), BufferId(1), 65_536);
    swarm.written(now, content, PieceNo(piece), Ok(()));
    actions(swarm)
}

#[test]
fn what_should_have_come_by_what_came_of_the_other_stripe_is_asked_for_and_no_more() {
    let mut all = Bitmap::full(201);
    all.remove(PieceNo(200));
    let (mut swarm, content) = ordered(only_page(), all);
    for piece in (1..59).step_by(2) {
        assert_eq!(wants(&pass_on(&mut swarm, content, piece)), [], "{piece}");
    }
    for piece in [59, 61] {
        let asked: Vec<PieceNo> =
            wants(&pass_on(&mut swarm, content, piece)).into_iter().map(|(_, piece)| piece).collect();
        assert_eq!(asked, [PieceNo(piece - 57)]);
    }
}

#[test]
fn a_few_are_asked_what_they_hold_when_nobody_is_known_to_hold_what_is_overdue() {
    let (mut swarm, content) = ordered(only_page(), only_page());
    let asks = |action: &Action| matches!(action, Action::Send(_, Message::Want { pieces, .. }) if pieces.is_empty());
    for piece in (1..59).step_by(2) {
        assert!(!pass_on(&mut swarm, content, piece).iter().any(asks), "{piece}");
    }
    assert_eq!(pass_on(&mut swarm, content, 59).into_iter().filter(asks).count(), 3);
    assert_eq!(pass_on(&mut swarm, content, 61).into_iter().filter(asks).count(), 0, "not at every piece");
}

#[test]
fn a_page_that_was_left_out_is_asked_of_whoever_passes_on_what_needs_it() {
    let (mut swarm, content) = ordered(Bitmap::empty(201), Bitmap::empty(201));
    for (piece, asked) in [(1, vec![]), (3, vec![]), (5, vec![(node(1), PieceNo(0))])] {
        swarm.piece(NOW, node(1), content, PieceNo(piece), BufferId(1), 65_536);
        assert_eq!(wants(&actions(&mut swarm)), asked);
    }
}

/// Lets time go by; when something is asked for, and of whom.
fn asked_next(swarm: &mut Swarm, from: u64) -> (u64, Vec<(NodeId, PieceNo)>) {
    let asked = |millis: u64| {
        swarm.tick(NOW.after(Duration::from_millis(millis)));
        Some((millis, wants(&actions(swarm)))).filter(|(_, asked)| !asked.is_empty())
    };
    (from..3000).find_map(asked).expect("it is asked for in the end")
}

/// All but these pieces.
fn all_but(pieces: &[u32]) -> Bitmap {
    let mut all = Bitmap::full(201);
    pieces.iter().for_each(|piece| assert!(all.remove(PieceNo(*piece))));
    all
}

#[test]
fn the_end_of_a_stripe_is_asked_for_soon_although_the_other_comes_from_someone_new() {
    let (mut swarm, _) = ordered(all_but(&[198]), all_but(&[0]));
    swarm.relay(NOW, std::array::from_fn(|nr| Stripe { from: Some(node(2 - nr as u8)), to: Vec::new() }));
    let asked = wants(&actions(&mut swarm));
    assert_eq!(asked, [], "it may still come");
    let (millis, asked) = asked_next(&mut swarm, 1);
    assert_eq!((millis, asked[0].1), (200, PieceNo(198)));
}

#[test]
fn what_does_not_come_when_neighbours_have_all_is_asked_for_soon() {
    let (mut swarm, _) = ordered(all_but(&[198]), all_but(&[]));
    let (millis, asked) = asked_next(&mut swarm, 0);
    assert_eq!((millis, asked.len()), (20, 1));
}

#[test]
fn the_last_pieces_are_asked_of_others_when_those_who_were_asked_take_long() {
    let (mut swarm, content) = ordered(all_but(&[198]), all_but(&[]));
    let (first, asked) = asked_next(&mut swarm, 0);
    let (slow, piece) = asked[0];
    let again = NOW.after(Duration::from_millis(first) + Duration::from_millis(50));
    swarm.tick(again);
    let then = actions(&mut swarm);
    assert!(then.contains(&Action::Send(slow, Message::Cancel { content, piece })));
    assert!(matches!(wants(&then)[..], [(other, of)] if other != slow && of == piece));
    swarm.tick(again.after(Duration::from_millis(99)));
    assert_eq!(wants(&actions(&mut swarm)), [], "the next has twice as long");
    swarm.tick(again.after(Duration::from_millis(199)));
    assert_eq!(wants(&actions(&mut swarm)).len(), 1);
}

#[test]
fn whoever_is_far_behind_in_every_stripe_asks_neighbours_however_little_the_stripes_differ() {
    let (mut swarm, content) = ordered(only_page(), only_page());
    let now = NOW.after(Duration::from_millis(10));
    swarm.message(now, node(2), Message::Have { content, pieces: (1..=140).map(PieceNo).collect() });
    assert_eq!(wants(&actions(&mut swarm)), [], "it may be for a moment only");
    let (millis, asked) = asked_next(&mut swarm, 11);
    assert_eq!((millis, asked[0].0), (110, node(2)));
}

#[test]
fn a6_a16_what_somebody_else_must_mend_is_waited_for_as_long_as_it_takes() {
    let settings = Settings { role: Role::Agent, window_bytes: 8 << 20, patience: Duration::from_secs(1) };
    let (mut swarm, spec, mut now) = (Swarm::new(settings, Chance::new(1)), spec(100), NOW);
    swarm.want(now, spec);
    let tries = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Open(_)));
    assert!(tries(&actions(&mut swarm)));
    for _ in 0..50 {
        swarm.opened(now, spec.id(), Err(JobError::Stuck { why: "read-only".to_owned() }));
        assert_eq!(actions(&mut swarm), [Action::Trouble(spec.id(), Some("read-only".to_owned()))]);
        now = now.after(Duration::from_secs(31));
        swarm.tick(now);
        assert!(tries(&actions(&mut swarm)), "it is not tried again");
    }
}
