//! What a node is and does, in figures, for a Prometheus that comes and asks: `GET /metrics`.
//!
//! It is off unless an address was given. It shows names of applications and how large a fleet is, and asks nobody who they are: so
//! the address is one of this machine alone, unless whoever runs the node says otherwise. No secrets are among the figures, and no
//! names of nodes or people. Whoever asks gets one answer in one connection, of a sheet that is made once a second at most; heads, times
//! and connections are bounded, so that no visitor costs the node more than that.
//!
//! * `families` lists every metric; `sheet` fills in their values, `text` writes them, `machine` looks at process and disk.

mod families;
mod machine;
mod sheet;
mod text;

pub use families::{FAMILIES, Family, Kind, Who};

use crate::api::Position;
use crate::desk::Desk;
use crate::exchange::{self, Answer, whole};
use crate::identity::wall_clock;
use content::{Role, UnixTime};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use machine::{LastStore, Machine};
use sheet::Facts;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Connections at once; one Prometheus needs one.
const CONNECTIONS: usize = 8;
/// How long a sheet is as good as a new one.
const LASTS: Duration = Duration::from_secs(1);

/// The type of the text, with the format's version.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const WORDS: &str = "text/plain; charset=utf-8";

/// An address that is taken, at which nobody is answered yet.
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Takes an address; port 0 is any that is free.
    pub async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Which it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for ever.
    pub(crate) async fn serve(self, node: Observed) {
        let asked = Arc::new(Asked { node, is_local: self.address.ip().is_loopback(), last: Mutex::default() });
        let serve = |stream| {
            let asked = asked.clone();
            async move { exchange::serve_once(stream, |request| answer(&asked, request)).await }
        };
        exchange::accept(&self.listener, CONNECTIONS, serve).await;
    }
}

/// Connections that came to a node's port, and those of them that were not let in.
pub(crate) type Came = Box<dyn Fn() -> (u64, u64) + Send + Sync>;

/// The node whose figures are shown.
pub(crate) struct Observed {
    pub(crate) desk: Arc<Desk>,
    pub(crate) home: PathBuf,
    pub(crate) started: UnixTime,
    pub(crate) came: Came,
}

struct Asked {
    node: Observed,
    is_local: bool,
    last: Mutex<Last>,
}

/// The last sheet, and when it was made.
#[derive(Default)]
struct Last {
    sheet: Option<(Instant, Bytes)>,
    store: LastStore,
}

async fn answer(asked: &Asked, request: Request<Incoming>) -> Answer {
    let say = |status, words: &'static str| whole(status, WORDS, words);
    if asked.is_local && !is_by_number(request.headers()) {
        let words = "Ask by a number or as localhost: no other name leads to this machine alone.\n";
        return say(StatusCode::FORBIDDEN, words);
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match asked.sheet().await {
            Some(sheet) => whole(StatusCode::OK, TEXT, sheet),
            None => say(StatusCode::SERVICE_UNAVAILABLE, "The node is stopping.\n"),
        },
        (&Method::GET, "/") => say(StatusCode::OK, "The metrics of this node are at /metrics.\n"),
        (&Method::GET, _) => say(StatusCode::NOT_FOUND, "There is nothing here but /metrics.\n"),
        _ => say(StatusCode::METHOD_NOT_ALLOWED, "There is nothing to do here; GET /metrics.\n"),
    }
}

/// Whether we were asked by an address, or as `localhost`: a name of somebody else's that leads here would let a page in a browser on
/// this machine read.
fn is_by_number(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

impl Asked {
    /// The sheet of this second; nothing when the node is stopping.
    async fn sheet(&self) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        if let Some((made, sheet)) = &last.sheet
            && made.elapsed() < LASTS
        {
            return Some(sheet.clone());
        }
        let sheet = Bytes::from(self.facts(&mut last.store).await?.sheet());
        last.sheet = Some((Instant::now(), sheet.clone()));
        Some(sheet)
    }

    async fn facts(&self, store: &mut LastStore) -> Option<Facts> {
        let Observed { desk, home, started, came } = &self.node;
        let (tally, now) = desk.handle.tally().await.ok()?;
        let status = desk.status().await.ok()?;
        let journals = journals(desk).await;
        let (home, mut last) = (home.clone(), store.take());
        let look = move || (Machine::look(&home, &mut last), last);
        let (machine, last) = tokio::task::spawn_blocking(look).await.ok()?;
        *store = last;
        let (role, wall, started, came) = (desk.role, wall_clock(), *started, came());
        Some(Facts { role, status, tally, now, wall, started, machine, journals, came })
    }
}

/// Where an origin's journals stand; agents have none.
async fn journals(desk: &Desk) -> Vec<(&'static str, Position)> {
    let mut stand = Vec::new();
    if desk.role == Role::Origin {
        for journal in ["fleet", "datacenter"] {
            stand.extend(desk.stands(journal).await.ok().map(|at| (journal, at)));
        }
    }
    stand
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answering, desk};
    use engine::door;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::watch;

    /// A node whose engine counts how often it is asked where everything stands.
    fn observed() -> (Asked, Arc<AtomicU64>, watch::Sender<u64>) {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let stands = content::fact::Position { generation: 1, index: 5 };
        let (handle, touch) = answering(move |request| match request {
            door::Request::Status => {
                counted.fetch_add(1, Ordering::Relaxed);
                door::Answer::Status(Box::default())
            }
            _ => door::Answer::Journal { entries: Vec::new(), stands },
        });
        let desk = Arc::new(desk(handle));
        let node = Observed { desk, home: "/nowhere".into(), started: UnixTime(1), came: Box::new(|| (0, 0)) };
        (Asked { node, is_local: true, last: Mutex::default() }, count, touch)
    }

    /// The same behind a door.
    async fn serve() -> (SocketAddr, Arc<AtomicU64>) {
        let (asked, count, touch) = observed();
        let door = Door::open(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = door.address();
        tokio::spawn(async move {
            door.serve(asked.node).await;
            drop(touch);
        });
        (address, count)
    }

    /// Sends these bytes, and reads until the other side closes.
    async fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // Who refuses may close before it has read everything.
        stream.write_all(request).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(address: SocketAddr, host: &str) -> String {
        exchange(address, format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_answer() {
        let (address, asked) = serve().await;
        let first = get(address, "127.0.0.1:9723").await;
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains(TEXT), "{first}");
        assert!(first.contains("tiding_journal_facts{journal=\"fleet\"} 5\n"), "{first}");
        for host in ["localhost", "localhost:1", "[::1]:9723", "10.0.0.5"] {
            assert!(get(address, host).await.starts_with("HTTP/1.1 200"), "{host}");
        }
        assert!(asked.load(Ordering::Relaxed) > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn w6_a_sheet_is_made_once_a_second_whoever_asks() {
        let (asked, count, _touch) = observed();
        for _ in 0..20 {
            assert!(asked.sheet().await.is_some());
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        tokio::time::advance(LASTS).await;
        asked.sheet().await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn w6_a_name_of_somebody_elses_and_what_is_not_asked_for_get_words() {
        let (address, asked) = serve().await;
        for name in ["evil.example", "evil.example:9723", "localhost.evil.example", "127.0.0.1.evil.example", ":"] {
            let refused = get(address, name).await;
            assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("tiding_"), "{name}: {refused}");
        }
        for (line, status) in [("GET /x", "404"), ("POST /metrics", "405"), ("GET /", "200")] {
            let said = exchange(address, format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
            assert!(said.starts_with(&format!("HTTP/1.1 {status}")) && !said.contains("tiding_"), "{line}: {said}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn w6_endless_heads_and_silent_visitors_are_let_go() {
        let (address, _) = serve().await;
        let endless = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 200_000]].concat();
        let many = [b"GET /metrics HTTP/1.1\r\n".as_slice(), &b"X: y\r\n".repeat(1000), b"\r\n"].concat();
        for request in [endless, many] {
            let answer = exchange(address, &request).await;
            assert!(!answer.contains("tiding_"), "{answer}");
        }
        // All places are taken by those who say nothing: one more is closed at once, and gets nothing.
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.expect("it listens"));
        }
        while !get(address, "localhost").await.is_empty() {}
        // When their time is over others are answered again.
        tokio::time::pause();
        for stream in &mut silent {
            let mut nothing = Vec::new();
            stream.read_to_end(&mut nothing).await.ok();
            assert!(!String::from_utf8_lossy(&nothing).contains("tiding_"));
        }
        tokio::time::resume();
        while get(address, "localhost").await.is_empty() {}
    }
}
