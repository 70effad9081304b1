//! `tiding status --watch`: the fleet as it changes, until somebody has seen enough.
//!
//! What is known comes from a subscription that survives every loss of the connection. On a terminal it is a picture that is painted
//! anew in place; elsewhere a line for each change; with `--json` a whole status for each. Nothing is decided and nothing is kept here
//! but how fast pieces came in the last seconds.
//!
//! * `picture` is what is painted, a pure function; `glance` is what stands in it about each application and node.
//! * `terminal` paints, and leaves the terminal as it was; `news` are the lines for everybody else.

mod glance;
mod news;
mod picture;
#[cfg(test)]
mod pretend;
mod terminal;

use crate::failure::{Failure, Kind};
use crate::running::stop_signal;
use crate::speak;
use glance::agents_of;
use news::News;
use node::api::FleetStatus;
use node::client::Client;
use node::pace::{Pace, Progress};
use node::watching::{Seen, Watching};
use picture::View;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use terminal::Terminal;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long there is between two pictures, and between two statuses that are taken from the origin, at least: what comes meanwhile
/// waits there, and costs nobody anything.
const REST: Duration = Duration::from_millis(200);
/// A picture is painted anew after so long when nothing has changed but the time.
const BEAT: Duration = Duration::from_secs(1);

/// Watches until it is interrupted.
pub(crate) async fn run(client: Client, json: bool) -> Result<(), Failure> {
    let watching = Watching::start_resting(client, REST);
    let mut eye = Eye { seen: watching.follow(), paces: BTreeMap::new(), last: None };
    match Terminal::open().filter(|_| !json) {
        Some(terminal) => paint(&mut eye, terminal).await,
        None => tell(&mut eye, json).await,
    }
}

/// What is seen, and how fast it moved.
struct Eye {
    seen: watch::Receiver<Seen>,
    paces: BTreeMap<String, Pace>,
    last: Option<Arc<FleetStatus>>,
}

impl Eye {
    /// What is known now; whether its status is another one than before.
    fn look(&mut self) -> (Seen, bool) {
        let seen = self.seen.borrow_and_update().clone();
        let is_same = |status: &Arc<FleetStatus>| self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, status));
        let Some(status) = seen.status.clone().filter(|status| !is_same(status)) else { return (seen, false) };
        for rollout in &status.apps {
            let there = agents_of(&status, rollout).filter(|node| node.up);
            let pace = self.paces.entry(rollout.app.clone()).or_default();
            pace.learn(Instant::now(), &rollout.release, Progress::of(there, rollout));
        }
        self.last = Some(status);
        (seen, true)
    }

    fn view<'a>(&'a self, seen: &'a Seen) -> View<'a> {
        let age = |at: Instant| at.elapsed();
        View {
            status: seen.status.as_deref(),
            paces: &self.paces,
            age: seen.checked.map(age).unwrap_or_default(),
            lost: seen.lost.as_ref().map(|(since, why)| (since.elapsed(), why.as_str())),
            wall: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}

async fn paint(eye: &mut Eye, mut terminal: Terminal) -> Result<(), Failure> {
    let mut resized = window_changes()?;
    let (stopped, enough) = (stop_signal(false), terminal::enough());
    tokio::pin!(stopped, enough);
    loop {
        let (seen, _) = eye.look();
        let (width, height) = terminal.size();
        terminal.paint(&picture::lines(&eye.view(&seen), width, height));
        tokio::select! {
            reason = &mut stopped => return reason.map(drop),
            () = &mut enough => return Ok(()),
            _ = resized.recv() => {}
            () = changed(&mut eye.seen) => {}
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

/// Something has changed, and the last picture has stood for long enough.
async fn changed(seen: &mut watch::Receiver<Seen>) {
    tokio::time::sleep(REST).await;
    if seen.changed().await.is_err() {
        std::future::pending().await
    }
}

fn window_changes() -> Result<Signal, Failure> {
    let cannot = |error| Failure::new(Kind::Failed, "cannot listen for signals").because(error);
    signal(SignalKind::window_change()).map_err(cannot)
}

async fn tell(eye: &mut Eye, json: bool) -> Result<(), Failure> {
    let mut news = News::default();
    let stopped = stop_signal(false);
    tokio::pin!(stopped);
    loop {
        let (seen, is_new) = eye.look();
        let lines = match (json, &seen.status) {
            (true, Some(status)) if is_new => serde_json::to_string(&**status).into_iter().collect(),
            (true, _) => Vec::new(),
            (false, _) => news.of(&eye.view(&seen)),
        };
        if !lines.iter().all(speak::heard) {
            return Ok(());
        }
        tokio::select! {
            reason = &mut stopped => return reason.map(drop),
            () = changed(&mut eye.seen) => {}
        }
    }
}
