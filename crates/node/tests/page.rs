//! The page's server as whoever may come sees it: a browser with a session, a browser that another page misleads, a stranger.
//!
//! Requests are written byte for byte, because what a browser would never send is what matters most.

use tiding_node as node;

#[path = "support/made_up.rs"]
mod made_up;

use content::directive::Verb;
use made_up::{MadeUp, Pretender, Stage};
use node::api::RolloutState;
use node::page::{Act, Links, Page, Trouble};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What nothing here takes, however busy the machine is.
const HANG: Duration = Duration::from_secs(60);
/// Words that stand in everything that shows something of the fleet.
const FLEET: [&str; 3] = ["web-1", "fra-a", "origin-1"];

struct Served {
    stage: Arc<Stage>,
    links: Links,
    address: SocketAddr,
}

struct Answered {
    status: u16,
    head: String,
    body: String,
}

async fn serve(fleet: MadeUp) -> Served {
    let stage = Stage::new(fleet);
    let page = Page::open(0, stage.tell.subscribe(), Arc::new(Pretender(stage.clone()))).await.expect("a free port");
    let (links, address) = (page.links(), page.address());
    tokio::spawn(page.serve());
    Served { stage, links, address }
}

impl Served {
    fn host(&self) -> String {
        format!("Host: {}", self.address)
    }

    /// Sends a request and reads the whole answer.
    async fn ask(&self, first: &str, headers: &[&str], body: &str) -> Answered {
        timeout(HANG, self.asked(first, headers, body)).await.expect("an answer")
    }

    async fn asked(&self, first: &str, headers: &[&str], body: &str) -> Answered {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let head = [&[first][..], headers, &["Connection: close", ""]].concat().join("\r\n");
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let request = format!("{head}{length}\r\n{body}");
        // Who refuses may close before it has read everything.
        stream.write_all(request.as_bytes()).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answered { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn get(&self, path: &str, headers: &[&str]) -> Answered {
        self.ask(&format!("GET {path} HTTP/1.1"), &[&[&*self.host()], headers].concat(), "").await
    }

    fn token(&self) -> String {
        self.links.make().split_once("/?token=").expect("a link with a token").1.to_owned()
    }

    /// A session, as headers.
    async fn session(&self) -> String {
        let answer = self.get(&format!("/?token={}", self.token()), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let cookie =
            answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie").to_owned();
        assert!(cookie.ends_with("; httponly; samesite=strict; path=/"), "{cookie}");
        let key = answer.body.split("url=/#").nth(1).and_then(|rest| rest.split('"').next()).expect("a key");
        format!("Cookie: {}\r\nX-Tiding-Key: {key}", cookie.split(';').next().expect("a value"))
    }

    /// Presses a button as the page does, but for what `change` does to it.
    async fn press(&self, deed: &str, session: &str, change: impl FnOnce(&mut Value, &mut Vec<String>)) -> Answered {
        let mut body = self.pressed(deed);
        let mut headers = vec![
            self.host(),
            session.to_owned(),
            format!("Origin: http://{}", self.address),
            "Content-Type: application/json".to_owned(),
        ];
        change(&mut body, &mut headers);
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        self.ask("POST /act HTTP/1.1", &headers, &body.to_string()).await
    }

    /// What the page says when a button is pressed.
    fn pressed(&self, deed: &str) -> Value {
        let mut fleet = self.stage.fleet.lock().expect("nothing panics with it");
        let rollout = fleet.web();
        let wave = if let RolloutState::Rolling { wave } = rollout.state { Some(wave) } else { None };
        let mut body =
            json!({ "deed": deed, "app": "web", "order": rollout.order, "wave": wave, "message": "because" });
        if deed == "rollback" {
            body["to"] = json!(rollout.releases[0].release);
        }
        body
    }

    fn deeds(&self) -> usize {
        self.stage.deeds.lock().expect("nothing panics with it").len()
    }

    /// Begins to read the feed.
    async fn feed(&self, session: &str) -> Feed {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let request = format!("GET /feed HTTP/1.1\r\n{}\r\n{session}\r\n\r\n", self.host());
        stream.write_all(request.as_bytes()).await.expect("it reads");
        Feed(BufReader::new(stream))
    }
}

struct Feed(BufReader<TcpStream>);

impl Feed {
    /// The next event.
    async fn next(&mut self) -> Value {
        loop {
            let mut line = Vec::new();
            let read = timeout(HANG, self.0.read_until(b'\n', &mut line)).await.expect("the feed goes on");
            assert!(read.expect("it can be read") > 0, "the feed has ended");
            if let Some(json) = line.strip_prefix(b"data: ") {
                return serde_json::from_slice(json).expect("an event is JSON");
            }
        }
    }

    /// The next event that says something of a node.
    async fn next_of_nodes(&mut self) -> Value {
        loop {
            let event = self.next().await;
            if !event["nodes"].as_array().expect("nodes").is_empty() {
                return event;
            }
        }
    }
}

fn shows_nothing(answer: &Answered, status: u16) {
    assert_eq!(answer.status, status, "{}\n{}", answer.head, answer.body);
    for word in FLEET {
        assert!(!answer.body.contains(word), "{word} in {}", answer.body);
    }
}

#[tokio::test]
async fn h12_w1_a_link_opens_the_page_once() {
    let served = serve(MadeUp::midway(120)).await;
    assert!(served.address.ip().is_loopback());
    let token = served.token();
    assert_eq!(token.len(), 32, "128 bits");
    let first = served.get(&format!("/?token={token}"), &[]).await;
    assert_eq!(first.status, 200);
    let again = served.get(&format!("/?token={token}"), &[]).await;
    shows_nothing(&again, 403);
    assert!(again.body.contains("used already") && again.body.contains("Press Enter"), "{}", again.body);
    let session = served.session().await;
    let page = served.get("/", &[&session]).await;
    assert!(page.status == 200 && page.body.contains("<canvas"), "{}", page.body);
}

#[tokio::test]
async fn h12_w1_whoever_has_no_session_sees_nothing_of_the_fleet() {
    let served = serve(MadeUp::midway(120)).await;
    let session = served.session().await;
    let name = session.split('=').next().expect("a name");
    let forged = [format!("{name}={}", "0".repeat(32)), format!("{name}=")];
    for path in ["/", "/feed", "/node?slot=1", "/page.js", "/page.css", "/act", "/nothing"] {
        shows_nothing(&served.get(path, &[]).await, 403);
        for forged in &forged {
            shows_nothing(&served.get(path, &[forged]).await, 403);
        }
    }
    let acts = served.press("pause", &forged[0], |_, _| {}).await;
    shows_nothing(&acts, 403);
    assert_eq!(served.deeds(), 0);
    let known = served.get("/node?slot=1", &[&session]).await;
    assert!(known.status == 200 && known.body.contains("web-"), "{}", known.body);
}

#[tokio::test]
async fn h12_w1_a_cookie_that_another_port_has_seen_shows_nothing_and_does_nothing() {
    let served = serve(MadeUp::midway(120)).await;
    let (session, other) = (served.session().await, served.session().await);
    let (cookie, key) = session.split_once("\r\n").expect("two halves");
    let (_, others_key) = other.split_once("\r\n").expect("two halves");
    let crossed = format!("{cookie}\r\n{others_key}");
    for half in [cookie, key, &crossed] {
        for path in ["/feed", "/feed?key=", "/node?slot=1", "/act"] {
            shows_nothing(&served.get(path, &[half]).await, 403);
        }
        shows_nothing(&served.press("pause", half, |_, _| {}).await, 403);
    }
    assert_eq!((served.deeds(), served.get("/", &[cookie]).await.status), (0, 200));
}

#[tokio::test]
async fn h12_w2_another_name_that_leads_here_is_refused() {
    let served = serve(MadeUp::midway(120)).await;
    let (session, port) = (served.session().await, served.address.port());
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
    ] {
        let host = format!("Host: {host}");
        shows_nothing(&served.ask("GET /node?slot=1 HTTP/1.1", &[&host, &session], "").await, 403);
        let token = served.token();
        shows_nothing(&served.ask(&format!("GET /?token={token} HTTP/1.1"), &[&host], "").await, 403);
    }
    let localhost = format!("Host: localhost:{port}");
    assert_eq!(served.ask("GET /node?slot=1 HTTP/1.1", &[&localhost, &session], "").await.status, 200);
}

#[tokio::test]
async fn h12_w3_another_page_can_make_a_browser_do_nothing() {
    let served = serve(MadeUp::midway(120)).await;
    let session = served.session().await;
    let change = |name: &'static str, value: Option<&'static str>| {
        move |_: &mut Value, headers: &mut Vec<String>| {
            headers.retain(|header| !header.starts_with(name));
            headers.extend(value.map(|value| format!("{name}: {value}")));
        }
    };
    for (name, value) in [
        ("Origin", None),
        ("Origin", Some("null")),
        ("Origin", Some("http://evil.example")),
        ("Origin", Some("http://127.0.0.1:1")),
        ("Sec-Fetch-Site", Some("cross-site")),
        ("Sec-Fetch-Site", Some("same-site")),
    ] {
        shows_nothing(&served.press("pause", &session, change(name, value)).await, 403);
    }
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        shows_nothing(&served.press("pause", &session, change("Content-Type", kind)).await, 415);
    }
    for site in ["cross-site", "same-site"] {
        shows_nothing(&served.get("/node?slot=1", &[&session, &format!("Sec-Fetch-Site: {site}")]).await, 403);
    }
    assert_eq!(served.deeds(), 0);
    assert_eq!(served.get("/act", &[&session]).await.status, 404, "only what is posted acts");
    assert_eq!(served.press("pause", &session, |_, _| {}).await.status, 200);
    assert_eq!(served.deeds(), 1);
}

#[tokio::test]
async fn h12_w4_every_answer_says_that_nothing_is_kept_guessed_or_loaded_from_elsewhere() {
    let served = serve(MadeUp::midway(120)).await;
    let session = served.session().await;
    let token = served.token();
    for path in [&format!("/?token={token}"), "/", "/page.js", "/node?slot=1", "/nothing"] {
        for headers in [&[][..], &[&*session]] {
            let head = served.get(path, headers).await.head;
            for said in [
                "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                 frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
                "cache-control: no-store",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
            ] {
                assert!(head.contains(said), "{path}: `{said}` in\n{head}");
            }
        }
    }
}

#[tokio::test]
async fn w5_heads_bodies_and_connections_are_bounded() {
    let served = serve(MadeUp::midway(120)).await;
    let session = served.session().await;
    let long = format!("X-Long: {}", "x".repeat(64 * 1024));
    let many: Vec<String> = (0..100).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([&*session]).collect();
    for headers in [&[&*long, &*session][..], &many] {
        let answer = served.get("/", headers).await;
        assert!([0, 400, 431].contains(&answer.status), "{}", answer.status);
    }
    let large = served.press("pause", &session, |body, _| body["message"] = json!("x".repeat(20_000))).await;
    shows_nothing(&large, 413);
    assert_eq!(served.deeds(), 0);

    let mut held = Vec::new();
    let refused = loop {
        assert!(held.len() < 100, "there is an end to it");
        let mut feed = served.feed(&session).await;
        let mut line = Vec::new();
        match timeout(HANG, feed.0.read_until(b'\n', &mut line)).await.expect("an answer or an end") {
            Ok(read) if read > 0 => held.push(feed),
            _ => break held.len(),
        }
    };
    assert!(refused >= 16, "a browser has room: {refused}");
    held.clear();
    // What was held is let go of, and there is room again.
    let give_up = Instant::now() + HANG;
    while served.get("/", &[&session]).await.status != 200 {
        assert!(Instant::now() < give_up, "no room again");
    }
}

#[tokio::test]
async fn a_reader_gets_everything_once_and_then_what_changed() {
    let served = serve(MadeUp::new(500)).await;
    let session = served.session().await;
    let mut feed = served.feed(&session).await;
    let first = feed.next().await;
    assert_eq!((first["full"].clone(), first["nodes"].as_array().map(Vec::len)), (json!(true), Some(501)));
    assert_eq!(first["apps"].as_array().map(Vec::len), Some(2));
    served.stage.change(|fleet| fleet.status.nodes[7].up = false);
    let next = feed.next_of_nodes().await;
    let nodes = next["nodes"].as_array().expect("nodes");
    assert_eq!((next["full"].clone(), nodes.len()), (json!(false), 1), "{next}");
    assert!(nodes[0]["slot"] == 7 && nodes[0]["up"] == false && nodes[0].get("who").is_none(), "{next}");
    served.stage.change(|fleet| drop(fleet.status.nodes.remove(3)));
    let anew = feed.next_of_nodes().await;
    assert_eq!((anew["full"].clone(), anew["nodes"].as_array().map(Vec::len)), (json!(true), Some(500)), "one is gone");
}

#[tokio::test]
async fn h12_w4_what_others_named_comes_escaped() {
    let mut fleet = MadeUp::new(3);
    fleet.status.nodes[0].name = "a\u{1b}[2J\u{202e}b".into();
    fleet.web().message = "x\u{7}".into();
    let served = serve(fleet).await;
    let session = served.session().await;
    let event = served.feed(&session).await.next().await;
    assert_eq!(event["nodes"][0]["who"]["name"], "a\\u{1b}[2J\\u{202e}b");
    assert_eq!(event["apps"][1]["message"], "x\\u{7}");
    let node: Value = serde_json::from_str(&served.get("/node?slot=0", &[&session]).await.body).expect("JSON");
    assert_eq!(node["who"]["name"], "a\\u{1b}[2J\\u{202e}b");
}

#[tokio::test]
async fn an_origin_that_is_away_is_said_to_be_away_and_since_when() {
    let served = serve(MadeUp::new(3)).await;
    let session = served.session().await;
    let mut feed = served.feed(&session).await;
    assert_eq!(feed.next().await["lost"], Value::Null);
    served.stage.tell.send_modify(|seen| seen.lost = Some((Instant::now(), "connection\u{7} refused".into())));
    let lost = loop {
        let event = feed.next().await;
        if event["lost"] != Value::Null {
            break event;
        }
    };
    assert_eq!(lost["lost"]["why"], "connection\\u{7} refused");
    assert!(lost["lost"]["since"].as_u64().expect("a time").abs_diff(made_up::wall()) < 60, "{lost}");
    served.stage.change(|_| {});
    while feed.next().await["lost"] != Value::Null {}
}

#[tokio::test]
async fn a_button_does_what_was_seen_and_nothing_else() {
    let served = serve(MadeUp::midway(120)).await;
    let session = served.session().await;
    let mut feed = served.feed(&session).await;
    feed.next().await;
    let paused = served.press("pause", &session, |_, _| {}).await;
    assert_eq!((paused.status, served.deeds()), (200, 1), "{}", paused.body);
    {
        let deeds = served.stage.deeds.lock().expect("nothing panics with it");
        assert_eq!(
            (&deeds[0].act, &*deeds[0].message, &*deeds[0].sight.app),
            (&Act::Direct(Verb::Pause), "because", "web")
        );
    }
    while feed.next().await["apps"].as_array().is_none_or(|apps| apps.iter().all(|app| app["is"] != "paused")) {}
    let again = served.press("pause", &session, |_, _| {}).await;
    assert!(again.status == 409 && again.body.contains("paused already"), "{}", again.body);
    for (change, why) in [
        (json!({ "order": "0".repeat(64) }), "another order came since"),
        (json!({ "app": "nothing" }), "no such application"),
        (json!({ "deed": "delete" }), "no such thing"),
    ] {
        let merge = |body: &mut Value| {
            change.as_object().expect("one").iter().for_each(|(key, value)| body[key] = value.clone())
        };
        let refused = served.press("resume", &session, |body, _| merge(body)).await;
        assert!(refused.status == 409 && refused.body.contains(why), "{}", refused.body);
    }
    let back = served.press("rollback", &session, |body, _| body["to"] = json!("f".repeat(64))).await;
    assert!(back.status == 409 && back.body.contains("another release"), "{}", back.body);
    let unknown = served.press("resume", &session, |body, _| body["path"] = json!("/etc")).await;
    assert_eq!((unknown.status, served.deeds()), (400, 1), "{}", unknown.body);
}

#[tokio::test]
async fn what_an_origin_refuses_is_said_in_words() {
    let served = serve(MadeUp::midway(120)).await;
    let session = served.session().await;
    let trouble = Trouble {
        what: "cannot pause web".into(),
        why: Some("no origin answers\u{7}".into()),
        next: Some("check that it runs".into()),
    };
    *served.stage.trouble.lock().expect("nothing panics with it") = Some(trouble);
    let refused = served.press("pause", &session, |_, _| {}).await;
    let said: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(refused.status, 409);
    assert_eq!(
        said,
        json!({ "what": "cannot pause web", "why": "no origin answers\\u{7}", "next": "check that it runs" })
    );
}
