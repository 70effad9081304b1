//! The fleet's status as it changes, through every loss of the connection: who looks sees the newest, and how old it is.

use crate::api::FleetStatus;
use crate::client::{Client, ClientError};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long until a lost connection is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// After so long without a word an origin is asked whether it is still so, and may take as long to answer.
const SILENT: Duration = Duration::from_secs(4);

/// What is known now.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The newest status.
    pub status: Option<Arc<FleetStatus>>,
    /// When an origin last said that it is so.
    pub checked: Option<Instant>,
    /// Since when no origin answers, and why.
    pub lost: Option<(Instant, String)>,
}

impl Seen {
    /// What an origin has just said.
    pub fn now(status: FleetStatus) -> Self {
        Self { status: Some(Arc::new(status)), checked: Some(Instant::now()), lost: None }
    }
}

/// How it is watched.
#[derive(Debug, Clone, Copy, Default)]
struct Manner {
    /// After so long without a word an origin is asked.
    silent: Option<Duration>,
    /// How long nothing is taken after something was.
    rest: Duration,
}

/// A subscription that ends when it is dropped.
pub struct Watching {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Begins to watch: a connection that stays open and says nothing is believed.
    pub fn start(client: Client) -> Self {
        Self::begin(client, Manner::default())
    }

    /// Begins to watch, and asks an origin that says nothing: one whose machine has died closes no connection.
    pub fn start_checking(client: Client) -> Self {
        Self::begin(client, Manner { silent: Some(SILENT), rest: Duration::ZERO })
    }

    /// Does the same, and takes another status only after a rest: what comes meanwhile waits at the origin, which then makes no more
    /// than are taken. What is seen may be older by some rests while much changes.
    pub fn start_resting(client: Client, rest: Duration) -> Self {
        Self::begin(client, Manner { silent: Some(SILENT), rest })
    }

    fn begin(client: Client, manner: Manner) -> Self {
        let (tell, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move { keep_watching(&client, manner, &tell).await });
        Self { seen, task }
    }

    /// What is known now.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Where what is known can be followed, as long as this subscription lives.
    pub fn follow(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    /// Resolves when something has changed, and every so often, so that waiting can end.
    pub async fn changed(&mut self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(250);
        let _either = tokio::time::timeout(LOOK_AGAIN, self.seen.changed()).await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_watching(client: &Client, manner: Manner, tell: &watch::Sender<Seen>) {
    loop {
        let Err(error) = watch_once(client, manner, tell).await;
        tell.send_modify(|seen| {
            seen.lost.get_or_insert_with(|| (Instant::now(), error.to_string()));
        });
        tokio::time::sleep(AGAIN).await;
    }
}

/// Tells what comes over one connection, until it ends or nobody answers behind it.
async fn watch_once(client: &Client, manner: Manner, tell: &watch::Sender<Seen>) -> Result<Infallible, ClientError> {
    let mut updates = client.watch().await?;
    loop {
        let update = tokio::time::timeout(manner.silent.unwrap_or(Duration::MAX), updates.recv()).await;
        let status = match update {
            Ok(Some(update)) => update?,
            Ok(None) => return Err(ClientError::Unreachable("the connection has ended".to_owned())),
            Err(_) => tokio::time::timeout(SILENT, client.status()).await.map_err(|_| mute())??,
        };
        tell.send_replace(Seen::now(status));
        tokio::time::sleep(manner.rest).await;
    }
}

fn mute() -> ClientError {
    ClientError::Unreachable(format!("the origin's machine says nothing for {} s", 2 * SILENT.as_secs()))
}
