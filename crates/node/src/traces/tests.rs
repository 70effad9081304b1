//! Rollouts that facts make, a node's part of one, and a collector on this machine.

use super::Collector;
use super::spans::{Rollouts, Span, Works, part};
use super::telling::Teller;
use crate::testing::answering;
use content::fact::{Entry, JournalName, Position};
use content::order::Unreachable;
use content::{AppName, Digest, Fact, FleetId, NodeId, Order, OrderId, ReleaseId, Role, SigningKey, UnixTime};
use content::{Label, PayloadKind, Selector, Signed};
use engine::door::{Answer, AppStatus, Event, FleetStatus, NodeStatus, Phase, Request, Timeline};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn app() -> AppName {
    AppName::new("web").expect("a plain name")
}

fn release() -> ReleaseId {
    ReleaseId(Digest::of(b"release"))
}

fn ordered(epoch: u64) -> (OrderId, Fact) {
    let order = Order {
        fleet: FleetId(Digest::of(b"fleet")),
        app: app(),
        epoch,
        release: release(),
        fallback: None,
        selector: Selector::default(),
        unreachable: Unreachable::Wait,
        waves: vec![content::order::Wave::PerMille(1000)],
        budget: 0,
        restraint: content::order::Restraint::default(),
        created: UnixTime(1),
        message: "why not".to_owned(),
    };
    let signed: Signed = SigningKey::from_secret(&[7; 32]).sign(PayloadKind::Order, order.encode());
    (OrderId(signed.payload_digest()), Fact::Ordered { order: signed })
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn told(spans: &[Span]) -> Vec<(&'static str, u64, Option<&str>)> {
    let took = |span: &Span| span.end.duration_since(span.begin).expect("it ends after it began").as_secs();
    spans.iter().map(|span| (span.name, took(span), span.trouble.as_deref())).collect()
}

#[test]
fn a_rollout_and_its_waves_are_told_when_they_end_and_once() {
    let (order, fact) = ordered(1);
    let opened = |wave| Fact::WaveOpened { app: app(), order, wave };
    let mut rollouts = Rollouts::default();
    assert_eq!(rollouts.fact(at(0), &fact), []);
    assert_eq!(rollouts.fact(at(1), &opened(0)), []);
    let first = rollouts.fact(at(4), &opened(1));
    assert_eq!(told(&first), [("wave", 3, None)]);
    let last = rollouts.fact(at(9), &Fact::Finished { app: app(), order });
    assert_eq!(told(&last), [("wave", 5, None), ("rollout", 9, None)]);
    let whole = &last[1];
    assert!(first.iter().chain(&last[..1]).all(|wave| wave.parent == Some(whole.id) && wave.trace == whole.trace));
    assert_ne!(first[0].id, last[0].id);
    assert_eq!(rollouts.fact(at(10), &Fact::Finished { app: app(), order }), [], "it has ended");
}

#[test]
fn what_halts_falls_back_or_is_replaced_says_why() {
    let ((one, first), (_, second)) = (ordered(1), ordered(2));
    let mut rollouts = Rollouts::default();
    rollouts.fact(at(0), &first);
    rollouts.fact(at(1), &Fact::WaveOpened { app: app(), order: one, wave: 0 });
    let halted = rollouts.fact(at(3), &Fact::Halted { app: app(), order: one, why: "it is sick".to_owned() });
    assert_eq!(told(&halted), [("wave", 2, Some("it is sick"))]);
    let fallen = rollouts.fact(at(5), &Fact::FellBack { app: app(), order: one, to: release() });
    assert_eq!(told(&fallen), [("rollout", 5, Some("it is sick"))]);
    rollouts.fact(at(6), &first);
    assert_eq!(told(&rollouts.fact(at(8), &second)), [("rollout", 2, Some("another order came"))]);
    let other = Fact::Finished { app: app(), order: one };
    assert_eq!(rollouts.fact(at(9), &other), [], "an order that is not the newest ends nothing");
}

#[test]
fn a_nodes_part_begins_when_it_is_told_and_ends_with_the_last_phase() {
    let mut works = Works::default();
    let mut phase = |seconds, phase| works.phase(at(seconds), (&app(), release(), phase));
    assert_eq!(phase(1, Phase::Confirmed), None, "nobody saw it begin");
    for (seconds, before) in [(2, Phase::Told), (3, Phase::Fetching), (4, Phase::Live)] {
        assert_eq!(phase(seconds, before), None);
    }
    assert_eq!(phase(5, Phase::Confirmed), Some(at(2)));
    assert_eq!(phase(6, Phase::Confirmed), None, "it is told once");
}

fn status(order: OrderId, phase: Phase, timeline: Timeline) -> AppStatus {
    AppStatus {
        app: app(),
        release: release(),
        order: Some(order),
        phase,
        have: 1,
        total: 1,
        from_origin: 1000,
        from_peers: 0,
        had: 0,
        timeline,
        live: None,
        confirmed: None,
        trouble: (phase == Phase::Failed).then(|| "no space".to_owned()),
    }
}

fn until(seconds: [Option<u64>; 4]) -> Timeline {
    let [complete, staged, live, confirmed] = seconds.map(|seconds| seconds.map(Duration::from_secs));
    Timeline { complete, staged, live, confirmed, ..Timeline::default() }
}

#[test]
fn a_nodes_steps_follow_each_other_and_the_one_that_failed_says_why() {
    let node = NodeId(Digest::of(b"node"));
    let (order, fact) = ordered(1);
    let well = status(order, Phase::Confirmed, until([Some(2), Some(3), Some(7), Some(8)]));
    let spans = part(node, &well, (at(100), at(109)));
    let steps =
        [("fetch", 2, None), ("lay out", 1, None), ("wait for its wave", 4, None), ("watch its health", 1, None)];
    assert_eq!(told(&spans), [[("node", 9, None)].as_slice(), &steps].concat());
    assert!(spans[1..].iter().all(|step| step.parent == Some(spans[0].id)));
    let sick = status(order, Phase::Failed, until([Some(2), None, None, None]));
    let steps = [("node", 5, Some("no space")), ("fetch", 2, None), ("lay out", 3, Some("no space"))];
    assert_eq!(told(&part(node, &sick, (at(0), at(5)))), steps);
    // The rollout that an origin tells is what they are in.
    let mut rollouts = Rollouts::default();
    rollouts.fact(at(0), &fact);
    let whole = rollouts.fact(at(9), &Fact::Finished { app: app(), order });
    assert_eq!((spans[0].parent, spans[0].trace), (Some(whole[0].id), whole[0].trace));
    // Times that make no sense end somewhere.
    let absurd = status(order, Phase::Confirmed, until([Some(900), Some(3), Some(7), Some(8)]));
    assert_eq!(told(&part(node, &absurd, (at(0), at(5))))[1], ("fetch", 5, None));
}

/// A collector that notes what it is sent, and answers so.
async fn collector(status: &'static str) -> (Collector, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (tell, got) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            // One request in a connection: it closes it itself.
            while !is_whole(&bytes) && stream.read_buf(&mut bytes).await.is_ok_and(|more| more > 0) {}
            tell.send(bytes).ok();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    (format!("http://{address}").parse().expect("an address"), got)
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let words = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = words.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= head + 4 + length)
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[tokio::test]
async fn a_collector_is_told_over_http_and_one_that_takes_nothing_holds_nobody_up() {
    for answer in ["200 OK", "400 No"] {
        let (collector, mut got) = collector(answer).await;
        let node = NodeId(Digest::of(b"node"));
        let (order, fact) = ordered(1);
        let journal = Arc::new(Mutex::new(Vec::new()));
        let read = journal.clone();
        let (handle, _touch) = answering(move |request| match request {
            Request::Journal { from, most, .. } => {
                let entries: Vec<Entry> = read.lock().expect("whole").clone();
                let stands = Position { generation: 1, index: entries.len() as u64 };
                let new = entries.into_iter().filter(|entry| entry.at.index >= from.index).take(most as usize);
                Answer::Journal { entries: new.collect(), stands }
            }
            _ => {
                let apps = vec![status(order, Phase::Confirmed, until([Some(1), Some(1), Some(1), Some(1)]))];
                let own = NodeStatus {
                    node,
                    name: "web-1".to_owned(),
                    role: Role::Agent,
                    labels: content::Labels::new(),
                    up: true,
                    since: Duration::ZERO,
                    software: String::new(),
                    limit: None,
                    obeys_limits: true,
                    speaks: 7,
                    apps,
                };
                Answer::Status(Box::new(FleetStatus { nodes: vec![own], ..FleetStatus::default() }))
            }
        });
        let journals = vec![JournalName::Datacenter(Label::new("dc1").expect("a plain label"))];
        let teller =
            Teller::new(&collector, handle.clone(), (node, "web-1", Role::Agent), journals).expect("an address");
        let running = tokio::spawn(teller.run());
        // It has looked where the journal stands before it hears of anything.
        tokio::task::yield_now().await;
        for phase in [Phase::Told, Phase::Confirmed] {
            handle.events.send(Event::Phase { app: app(), release: release(), phase }).expect("it listens");
        }
        let first = got.recv().await.expect("it was told");
        for (index, fact) in [fact.clone(), Fact::Finished { app: app(), order }].into_iter().enumerate() {
            let position = Position { generation: 1, index: index as u64 };
            journal.lock().expect("whole").push(Entry { at: position, fact, stamp: None });
        }
        let journal = JournalName::Datacenter(Label::new("dc1").expect("a plain label"));
        handle
            .events
            .send(Event::Appended { journal, position: Position { generation: 1, index: 2 } })
            .expect("it listens");
        let got = [first, got.recv().await.expect("it was told")];
        assert!(got.iter().all(|post| post.starts_with(b"POST /v1/traces HTTP/1.1\r\n")));
        assert!(got.iter().all(|post| holds(post, &order.0.as_bytes()[..16])), "one trace");
        assert!([b"web-1".as_slice(), b"node", b"fetch", b"watch its health"].iter().all(|name| holds(&got[0], name)));
        assert!(
            holds(&got[1], b"rollout") && holds(&got[1], b"why not") && holds(&got[1], &order.0.as_bytes()[16..24])
        );
        running.abort();
    }
}
