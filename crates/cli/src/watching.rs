//! The fleet's status as it changes, through every loss of the connection: who looks sees the newest, and how old it is.

use node::api::FleetStatus;
use node::client::{Client, ClientError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long until a lost connection is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// What is known now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The newest status.
    pub(crate) status: Option<Arc<FleetStatus>>,
    /// Since when no origin answers, and why.
    pub(crate) lost: Option<(Instant, String)>,
}

/// A subscription that ends when it is dropped.
pub(crate) struct Watching {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Begins to watch.
    pub(crate) fn start(client: Client) -> Self {
        let (tell, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move { keep_watching(&client, &tell).await });
        Self { seen, task }
    }

    /// What is known now.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Resolves when something has changed, and every so often, so that waiting can end.
    pub(crate) async fn changed(&mut self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(250);
        let _either = tokio::time::timeout(LOOK_AGAIN, self.seen.changed()).await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_watching(client: &Client, tell: &watch::Sender<Seen>) {
    loop {
        let error = match client.watch().await {
            Ok(mut updates) => loop {
                match updates.recv().await {
                    Some(Ok(status)) => {
                        tell.send_replace(Seen { status: Some(Arc::new(status)), lost: None });
                    }
                    Some(Err(error)) => break error,
                    None => break ClientError::Unreachable("the connection has ended".to_owned()),
                }
            },
            Err(error) => error,
        };
        tell.send_modify(|seen| {
            seen.lost.get_or_insert_with(|| (Instant::now(), error.to_string()));
        });
        tokio::time::sleep(AGAIN).await;
    }
}
