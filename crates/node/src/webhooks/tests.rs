//! A receiver on this machine, and journals that are a list.

use super::*;
use crate::testing::answering;
use content::fact::Noted;
use content::{AppName, Digest, NodeId, OrderId, ReleaseId, Role};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the receiver does with the next posts; with all others it is content.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Fails,
    Redirects,
    Hangs,
}

struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
    heard: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Receiver {
    /// The next posts meet these moods.
    async fn start(moods: Vec<Mood>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        let (got, (tell, heard)) = (Arc::new(Mutex::new(Vec::new())), tokio::sync::mpsc::unbounded_channel());
        let (kept, mut moods) = (got.clone(), moods.into_iter());
        let elsewhere = url.clone();
        tokio::spawn(async move {
            let mut hung = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (head, body) = read(&mut stream).await;
                let mood = moods.next();
                let answer = match mood {
                    Some(Mood::Hangs) => {
                        hung.push(stream);
                        tell.send(()).ok();
                        continue;
                    }
                    Some(Mood::Fails) => "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
                    Some(Mood::Redirects) => {
                        format!("HTTP/1.1 302 There\r\nlocation: {elsewhere}/other\r\ncontent-length: 0\r\n\r\n")
                    }
                    None => {
                        kept.lock().expect("whole").push((head.clone(), body));
                        "HTTP/1.1 204 Fine\r\n\r\n".to_owned()
                    }
                };
                assert!(head.starts_with("POST /hook HTTP/1.1"), "{head}");
                stream.write_all(answer.as_bytes()).await.ok();
                tell.send(()).ok();
            }
        });
        Self { url, got, heard }
    }

    /// What was taken, once there were so many posts.
    async fn after(&mut self, posts: usize) -> Vec<(String, serde_json::Value)> {
        for _ in 0..posts {
            self.heard.recv().await.expect("it lives");
        }
        self.got.lock().expect("whole").clone()
    }

    fn hook(&self) -> Webhook {
        Webhook {
            name: "chat".to_owned(),
            url: self.url.parse().expect("a URL"),
            secret: Some(b"between us".to_vec()),
            authorities: None,
        }
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> (String, serde_json::Value) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.expect("a length").parse::<usize>().expect("a number") {
                return (head.to_owned(), serde_json::from_str(body).expect("JSON"));
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.expect("it comes");
        assert!(read > 0, "it ends early: {text}");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

type Facts = Arc<Mutex<BTreeMap<String, Vec<(u64, Fact)>>>>;

/// An engine that answers from lists.
fn engine(facts: &Facts, failed: &Arc<Mutex<Vec<NodeStatus>>>) -> (Handle, watch::Sender<u64>) {
    let (facts, failed) = (facts.clone(), failed.clone());
    answering(move |request| match request {
        Request::Journal { journal, from, most } => {
            let facts = facts.lock().expect("whole");
            let all = facts.get(&words_of(&journal)).cloned().unwrap_or_default();
            let entry = |(index, (written, fact)): (usize, &(u64, Fact))| Entry {
                at: Position { generation: 1, index: index as u64 },
                fact: fact.clone(),
                stamp: Some(content::fact::Stamp {
                    noted: Noted { written: UnixTime(*written), by: None },
                    chain: content::fact::Chain(Digest::of(b"")),
                }),
            };
            let entries = all.iter().enumerate().skip(from.index as usize).take(most as usize).map(entry).collect();
            Answer::Journal { entries, stands: Position { generation: 1, index: all.len() as u64 } }
        }
        Request::Status => {
            let nodes = failed.lock().expect("whole").clone();
            Answer::Status(Box::new(FleetStatus { nodes, ..FleetStatus::default() }))
        }
        other => panic!("{other:?}"),
    })
}

fn app() -> AppName {
    AppName::new("web").expect("a name")
}

fn order() -> OrderId {
    OrderId(Digest::of(b"order"))
}

fn opened(wave: u8) -> Fact {
    Fact::WaveOpened { app: app(), order: order(), wave }
}

fn add(facts: &Facts, written: u64, fact: Fact) {
    let name = words_of(&JournalName::Datacenter(Label::new("here").expect("a label")));
    facts.lock().expect("whole").entry(name).or_default().push((written, fact));
}

fn teller(receiver: &Receiver, home: &Path, handle: &Handle) -> Teller {
    let names = ("fleet".to_owned(), "first".to_owned(), Label::new("here").expect("a label"));
    let mut teller = Teller::new(receiver.hook(), home, handle.clone(), names).expect("a teller");
    let millis = Duration::from_millis;
    teller.patience = Patience { again: millis(1), longest: millis(2), whole: Duration::from_secs(60) };
    teller
}

fn ids(got: &[(String, serde_json::Value)]) -> Vec<String> {
    got.iter().map(|(_, body)| body["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn facts_are_told_in_their_order_signed_and_from_the_beginning_of_the_webhook_on() {
    let (facts, failed, temp) = (Facts::default(), Arc::default(), tempfile::tempdir().expect("a directory"));
    let mut receiver = Receiver::start(Vec::new()).await;
    let (handle, touch) = engine(&facts, &failed);
    add(&facts, 1, opened(9));
    let mut first = teller(&receiver, temp.path(), &handle);
    first.begin().await.expect("it answers");
    add(&facts, 2, opened(0));
    add(&facts, 3, Fact::Halted { app: app(), order: order(), why: "3 nodes failed".to_owned() });
    add(&facts, 4, Fact::Revoked { node: NodeId(Digest::of(b"x")) });
    add(&facts, 4, Fact::FellBack { app: app(), order: order(), to: ReleaseId(Digest::of(b"v1")) });
    let running = tokio::spawn(first.run());
    let got = receiver.after(3).await;
    assert_eq!(ids(&got), ["datacenter-here/1/1", "datacenter-here/1/2", "datacenter-here/1/4"]);
    let kinds: Vec<&str> = got.iter().filter_map(|(_, body)| body["event"].as_str()).collect();
    assert_eq!(kinds, ["wave-opened", "halted", "fell-back"]);
    assert_eq!((got[0].1["wave"].as_u64(), got[1].1["why"].as_str()), (Some(1), Some("3 nodes failed")));
    assert!(
        got.iter().all(|(head, _)| head.contains("tiding-signature: t=") && head.contains("tiding-id: datacenter"))
    );
    // One more, while it waits for one.
    add(&facts, 5, Fact::Finished { app: app(), order: order() });
    let position = Position { generation: 1, index: 6 };
    let appended = Event::Appended { journal: JournalName::Fleet, position };
    handle.events.send(appended).expect("somebody listens");
    assert_eq!(ids(&receiver.after(1).await).last().map(String::as_str), Some("datacenter-here/1/5"));
    running.abort();
    drop(touch);
}

#[tokio::test]
async fn nothing_is_lost_over_a_restart_and_what_was_not_taken_is_told_again_with_its_id() {
    let (facts, failed, temp) = (Facts::default(), Arc::default(), tempfile::tempdir().expect("a directory"));
    let mut receiver = Receiver::start(vec![Mood::Hangs]).await;
    let (handle, _touch) = engine(&facts, &failed);
    teller(&receiver, temp.path(), &handle).begin().await.expect("it answers");
    (0..3).for_each(|wave| add(&facts, wave.into(), opened(wave)));
    let killed = tokio::spawn(teller(&receiver, temp.path(), &handle).run());
    assert_eq!(receiver.after(1).await, [], "it hangs in the first post");
    killed.abort();
    let running = tokio::spawn(teller(&receiver, temp.path(), &handle).run());
    let expected = ["datacenter-here/1/0", "datacenter-here/1/1", "datacenter-here/1/2"];
    assert_eq!(ids(&receiver.after(3).await), expected);
    running.abort();
    let told: Told = home::read_json(&temp.path().join("webhooks/chat.json")).expect("it is kept");
    assert!(told.0["datacenter-here"].1 >= 2, "{told:?}");
}

#[tokio::test]
async fn a_receiver_that_fails_redirects_or_is_slow_is_tried_again_and_nothing_overtakes() {
    let (facts, failed, temp) = (Facts::default(), Arc::default(), tempfile::tempdir().expect("a directory"));
    let moods = vec![Mood::Fails, Mood::Redirects, Mood::Hangs, Mood::Fails];
    let mut receiver = Receiver::start(moods).await;
    let (handle, _touch) = engine(&facts, &failed);
    let mut patient = teller(&receiver, temp.path(), &handle);
    patient.begin().await.expect("it answers");
    patient.poster = Poster::new(&receiver.hook()).expect("a poster").with_patience(Duration::from_millis(200));
    (0..2).for_each(|wave| add(&facts, wave.into(), opened(wave)));
    let running = tokio::spawn(patient.run());
    assert_eq!(ids(&receiver.after(6).await), ["datacenter-here/1/0", "datacenter-here/1/1"]);
    running.abort();
}

#[tokio::test]
async fn h9_a_redirect_leads_nowhere_and_what_is_never_taken_is_left_out_in_the_end() {
    let (facts, failed, temp) = (Facts::default(), Arc::default(), tempfile::tempdir().expect("a directory"));
    let mut receiver = Receiver::start(vec![Mood::Redirects]).await;
    let (handle, _touch) = engine(&facts, &failed);
    let mut hasty = teller(&receiver, temp.path(), &handle);
    hasty.begin().await.expect("it answers");
    hasty.patience.whole = Duration::ZERO;
    (0..2).for_each(|wave| add(&facts, wave.into(), opened(wave)));
    let running = tokio::spawn(hasty.run());
    assert_eq!(ids(&receiver.after(2).await), ["datacenter-here/1/1"], "the redirect was not followed either");
    running.abort();
}

#[tokio::test]
async fn a_node_that_failed_is_told_once() {
    let (facts, failed, temp) = (Facts::default(), Arc::default(), tempfile::tempdir().expect("a directory"));
    let mut receiver = Receiver::start(Vec::new()).await;
    let (handle, _touch) = engine(&facts, &failed);
    let mut teller = teller(&receiver, temp.path(), &handle);
    let app = engine::door::AppStatus {
        app: app(),
        release: ReleaseId(Digest::of(b"v2")),
        order: Some(order()),
        phase: Phase::Failed,
        have: 0,
        total: 0,
        from_origin: 0,
        from_peers: 0,
        had: 0,
        timeline: Default::default(),
        live: None,
        confirmed: None,
        trouble: Some("it answered 500".to_owned()),
    };
    let node = NodeStatus {
        node: NodeId(Digest::of(b"web-7")),
        name: "web-7".to_owned(),
        role: Role::Agent,
        labels: Default::default(),
        up: true,
        since: Duration::ZERO,
        software: String::new(),
        limit: None,
        obeys_limits: true,
        speaks: 6,
        apps: vec![app],
    };
    failed.lock().expect("whole").push(node);
    for _ in 0..3 {
        teller.looked = None;
        teller.tell_failures().await.expect("it answers");
    }
    let got = receiver.after(1).await;
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].1["node"].as_str(), got[0].1["why"].as_str()), (Some("web-7"), Some("it answered 500")));
    drop(facts);
}
