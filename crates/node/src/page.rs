//! The page on which an operator watches a fleet, and steers its rollouts: a small server for one person's browser.
//!
//! It listens on loopback alone and lives in the operator's own process, because pausing, going back and the like are signed with the operator's key,
//! which no origin holds. It knows no network: what it shows comes from a subscription, what it does goes through an
//! [`Operator`]. Whoever comes without this page's session gets words and nothing of the fleet.
//!
//! * `door` is the HTTP: who may ask, what is answered; `session` are one-time tokens and what they are exchanged for.
//! * `board` is what is shown, with a version for each line, so that a reader gets what changed since it looked last; `feed` sends it.
//! * `past` is what the journals tell; `marks` says how a node stands, `deeds` what may be done with a rollout now, and what would happen.
//! * `assets` are the files that a browser loads. Nothing is loaded from elsewhere.

mod assets;
mod board;
mod deeds;
mod door;
mod feed;
mod marks;
mod past;
#[cfg(test)]
pub(crate) mod pretend;
mod session;

pub use marks::number;

use crate::audit::Told;
use crate::exchange;
use crate::publish::Sight;
use crate::watching::Seen;
use board::Board;
use content::directive::Verb;
use door::Door;
use past::Past;
use serde::Serialize;
use session::Sessions;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// What an operator can do from the page. The one who signs stands behind it, or a test.
pub trait Operator: Send + Sync {
    /// Does it, and says what was done.
    fn act(&self, deed: Deed) -> Acting;

    /// Everything that is told in the journals, the oldest first.
    fn history(&self) -> Recalling;
}

/// A deed that is being done.
pub type Acting = Pin<Box<dyn Future<Output = Result<String, Trouble>> + Send>>;

/// Journals that are being read.
pub type Recalling = Pin<Box<dyn Future<Output = Result<Vec<Told>, Trouble>> + Send>>;

/// What is to be done with a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// The rollout as it was seen by the one who pressed the button: of another one it means nothing.
    pub sight: Sight,
    /// What.
    pub act: Act,
    /// Why, in the operator's words.
    pub message: String,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A directive inside the order.
    Direct(Verb),
    /// A newer order for that release.
    Rollback {
        /// The release's id.
        to: String,
    },
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    /// What did not happen.
    pub what: String,
    /// Why, as far as it is known.
    pub why: Option<String>,
    /// What to do next.
    pub next: Option<String>,
}

/// The lines change at most this often, whatever the fleet does.
const PACE: Duration = Duration::from_millis(100);
/// How many connections there may be at once; a browser opens half a dozen.
const CONNECTIONS: usize = 32;

/// A server that is bound and serves when it is told to.
pub struct Page {
    listener: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
    seen: watch::Receiver<Seen>,
}

impl Page {
    /// Binds a port of 127.0.0.1 (0 is a free one).
    pub async fn open(port: u16, seen: watch::Receiver<Seen>, operator: Arc<dyn Operator>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (changed, _) = watch::channel(0);
        let (board, sessions) = (Mutex::new(Board::default()), Mutex::new(Sessions::default()));
        let door = Door { port: address.port(), board, changed, sessions, operator, past: Past::default() };
        Ok(Self { listener, address, door: Arc::new(door), seen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What makes links to it while it serves.
    pub fn links(&self) -> Links {
        Links(self.door.clone())
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        let Self { listener, door, seen, .. } = self;
        let accept = exchange::accept(&listener, CONNECTIONS, |stream| door::serve(door.clone(), stream));
        tokio::join!(keep_board(&door, seen), accept);
    }
}

/// Makes links that open the page.
#[derive(Clone)]
pub struct Links(Arc<Door>);

impl Links {
    /// A link that opens the page once. The one that was made before opens nothing any more.
    pub fn make(&self) -> String {
        let token = self.0.sessions.lock().expect("nothing panics with it").issue();
        format!("http://127.0.0.1:{}/?token={token}", self.0.port)
    }
}

/// Keeps the lines as new as the subscription, at most so often.
async fn keep_board(door: &Door, mut seen: watch::Receiver<Seen>) {
    loop {
        let now = seen.borrow_and_update().clone();
        let next = Instant::now() + PACE;
        let version = door.board().learn(&now, Instant::now().into_std(), crate::identity::wall_clock().0);
        door.changed.send_replace(version);
        if seen.changed().await.is_err() {
            // Nobody watches for us any more; what was seen grows old, and says so.
            return std::future::pending().await;
        }
        tokio::time::sleep_until(next).await;
    }
}
