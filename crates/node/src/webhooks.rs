//! Telling others what happens: an origin posts to the addresses that stand in its own configuration, and to no other.
//!
//! What is told are facts of the journals, which are on disk for good, so there is no queue that could overflow or be lost: beside each
//! address stands how far it was told, and after a restart it goes on from there. So each fact is told at least once, with an id that is
//! always the same, in the order of its journal. That a node failed is no fact; it is told with an id as well, and again after a restart.
//!
//! A receiver that does not answer, or not well, is tried again, ever more slowly, for a day; then that one thing is left out, and said so in
//! the log. Redirects are not followed. The address may hold a secret, so nothing but the name of the webhook is logged.

mod post;

pub use post::{BadUrl, Url};

use crate::driver::{Gone, Handle};
use crate::home;
use crate::identity::wall_clock;
use content::fact::{Entry, JournalName, Position};
use content::{Directive, Fact, Label, Order, Signed, UnixTime};
use engine::door::{Answer, Event, FleetStatus, NodeStatus, Phase, Request};
use post::{Letter, Poster};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep};

/// Where to post what happens.
#[derive(Clone)]
pub struct Webhook {
    /// What it is called in the configuration.
    pub name: String,
    /// Where to.
    pub url: Url,
    /// What posts are signed with.
    pub secret: Option<Vec<u8>>,
    /// The certificates of those who vouch for the receiver, if not the system's: a file of PEM.
    pub authorities: Option<PathBuf>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Facts that are read at once.
const PAGE: u32 = 100;
/// How often nodes are looked at for failures, at the most.
const LOOK: Duration = Duration::from_secs(5);

/// How long is waited, and how often it is tried.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until it is tried again the first time; each time twice as long.
    again: Duration,
    longest: Duration,
    /// Until one thing is left out.
    whole: Duration,
}

const PATIENCE: Patience = Patience {
    again: Duration::from_secs(1),
    longest: Duration::from_secs(300),
    whole: Duration::from_secs(24 * 3600),
};

/// How far a webhook was told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Told(BTreeMap<String, (u64, u64)>);

/// What is posted, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Body {
    /// The same whenever the same thing is told again.
    id: String,
    event: &'static str,
    fleet: String,
    origin: String,
    app: String,
    /// The order that it is about.
    order: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// What people call the release, while that order is the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Who gave the order, while it is the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Seconds since 1970, by the origin's clock.
    time: u64,
}

/// Tells one webhook for as long as an origin runs.
pub(crate) struct Teller {
    hook: Webhook,
    poster: Poster,
    handle: Handle,
    fleet: String,
    origin: String,
    journals: [JournalName; 2],
    path: PathBuf,
    told: Told,
    failures: BTreeSet<String>,
    looked: Option<Instant>,
    patience: Patience,
}

impl Teller {
    /// For the origin in a home. One that was never told anything begins with what happens from now on.
    pub(crate) fn new(
        hook: Webhook,
        home: &Path,
        handle: Handle,
        (fleet, origin, datacenter): (String, String, Label),
    ) -> Result<Self, String> {
        let poster = Poster::new(&hook)?;
        let path = home.join(home::WEBHOOKS).join(format!("{}.json", hook.name));
        let told = home::read_json(&path).unwrap_or_default();
        let journals = [JournalName::Fleet, JournalName::Datacenter(datacenter)];
        let (failures, looked, patience) = (BTreeSet::new(), None, PATIENCE);
        Ok(Self { hook, poster, handle, fleet, origin, journals, path, told, failures, looked, patience })
    }

    /// Ends with the node.
    pub(crate) async fn run(mut self) {
        let ended = self.tell_all().await;
        tracing::debug!(webhook = self.hook.name, ?ended, "ends");
    }

    async fn tell_all(&mut self) -> Result<(), Gone> {
        let (mut events, mut changed) = (self.handle.events.subscribe(), self.handle.changed.clone());
        self.begin().await?;
        loop {
            self.tell_facts().await?;
            self.tell_failures().await?;
            tokio::select! {
                () = appended(&mut events) => {}
                () = later(self.looked, &mut changed) => {}
            }
        }
    }

    /// A webhook that is new hears of nothing that was before it.
    async fn begin(&mut self) -> Result<(), Gone> {
        for journal in self.journals.clone() {
            if !self.told.0.contains_key(&words_of(&journal)) {
                let (_, stands) = self.read(&journal, Position { generation: 1, index: 0 }, 0).await?;
                self.note(&journal, stands);
            }
        }
        Ok(())
    }

    /// Tells what stands in the journals beyond what was told, the earlier first.
    async fn tell_facts(&mut self) -> Result<(), Gone> {
        loop {
            let mut next: Vec<(UnixTime, usize, Entry)> = Vec::new();
            for (nr, journal) in self.journals.clone().iter().enumerate() {
                let from = self.told.0.get(&words_of(journal)).copied().unwrap_or((1, 0));
                let (entries, _) = self.read(journal, Position { generation: from.0, index: from.1 }, PAGE).await?;
                next.extend(entries.into_iter().map(|entry| (entry.noted().written, nr, entry)));
            }
            if next.is_empty() {
                return Ok(());
            }
            // Stable, and each journal in its own order whatever its clock did.
            for (_, nr, entry) in in_order(next) {
                let journal = self.journals[nr].clone();
                if let Some(body) = self.body(&journal, &entry).await? {
                    self.deliver(body).await;
                }
                self.note(&journal, Position { index: entry.at.index + 1, ..entry.at });
            }
        }
    }

    async fn read(&self, journal: &JournalName, from: Position, most: u32) -> Result<(Vec<Entry>, Position), Gone> {
        match self.handle.ask(Request::Journal { journal: journal.clone(), from, most }).await? {
            Answer::Journal { entries, stands } => Ok((entries, stands)),
            _ => Err(Gone),
        }
    }

    /// Remembers how far it is, for good: before the next one is told.
    fn note(&mut self, journal: &JournalName, at: Position) {
        self.told.0.insert(words_of(journal), (at.generation, at.index));
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let kept = home::at(parent, home::private_dirs(parent))
            .and_then(|()| home::replace(&self.path, &home::to_json(&self.told)));
        if let Err(error) = kept {
            tracing::warn!(webhook = self.hook.name, %error, "how far it was told cannot be kept; some may be told again");
        }
    }

    /// What is told of a fact; nothing of most.
    async fn body(&self, journal: &JournalName, entry: &Entry) -> Result<Option<Body>, Gone> {
        let id = format!("{}/{}/{}", words_of(journal), entry.at.generation, entry.at.index);
        let time = entry.noted().written.0;
        let Some(body) = told_of(&entry.fact) else { return Ok(None) };
        let body = Body { id, time, fleet: self.fleet.clone(), origin: self.origin.clone(), ..body };
        Ok(Some(match self.handle.ask(Request::Status).await? {
            Answer::Status(status) => with_names(body, &status),
            _ => body,
        }))
    }

    /// Tells which nodes have failed since it was looked at last.
    async fn tell_failures(&mut self) -> Result<(), Gone> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let Answer::Status(status) = self.handle.ask(Request::Status).await? else { return Ok(()) };
        let failed: Vec<Body> = status.nodes.iter().flat_map(failures_of).collect();
        self.failures.retain(|id| failed.iter().any(|body| body.id == *id));
        for body in failed {
            if self.failures.insert(body.id.clone()) {
                let body = Body { fleet: self.fleet.clone(), origin: self.origin.clone(), ..with_names(body, &status) };
                self.deliver(body).await;
            }
        }
        Ok(())
    }

    /// Posts until it is taken, or its time is over.
    async fn deliver(&self, body: Body) {
        let letter = Letter {
            id: body.id.clone(),
            event: body.event,
            body: serde_json::to_vec(&body).expect("a body has only text keys and no failing serialisers"),
        };
        let (since, mut wait) = (Instant::now(), self.patience.again);
        loop {
            let Err(why) = self.poster.post(&letter, wall_clock()).await else { return };
            if since.elapsed() >= self.patience.whole {
                let (webhook, id) = (&self.hook.name, &letter.id);
                return tracing::warn!(webhook, id, why, "a webhook was not told of this in a day, and never will be");
            }
            tracing::info!(webhook = self.hook.name, id = letter.id, why, "a webhook was not told; it is tried again");
            sleep(wait).await;
            wait = (wait * 2).min(self.patience.longest);
        }
    }
}

/// The earlier first, by what is noted beside facts; the facts of one journal stay in their order.
fn in_order(mut next: Vec<(UnixTime, usize, Entry)>) -> Vec<(UnixTime, usize, Entry)> {
    let mut latest = [UnixTime(0); 2];
    for (time, nr, _) in &mut next {
        latest[*nr] = latest[*nr].max(*time);
        *time = latest[*nr];
    }
    next.sort_by_key(|(time, nr, _)| (*time, *nr));
    next
}

async fn appended(events: &mut broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Appended { .. }) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// When something has changed, and it was not looked for a while.
async fn later(looked: Option<Instant>, changed: &mut watch::Receiver<u64>) {
    if let Some(looked) = looked {
        tokio::time::sleep_until(looked + LOOK).await;
    }
    if changed.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn words_of(journal: &JournalName) -> String {
    match journal {
        JournalName::Fleet => "fleet".to_owned(),
        JournalName::Datacenter(name) => format!("datacenter-{}", name.as_str()),
    }
}

fn empty(event: &'static str, app: &str, order: &str) -> Body {
    Body {
        id: String::new(),
        event,
        fleet: String::new(),
        origin: String::new(),
        app: app.to_owned(),
        order: order.to_owned(),
        epoch: None,
        release: None,
        version: None,
        by: None,
        wave: None,
        node: None,
        why: None,
        time: 0,
    }
}

/// What is told of a fact, without what is known elsewhere.
fn told_of(fact: &Fact) -> Option<Body> {
    let about =
        |event, app: &content::AppName, order: &content::OrderId| empty(event, app.as_str(), &order.to_string());
    match fact {
        Fact::Ordered { order } => told_of_order(order),
        Fact::WaveOpened { app, order, wave } => {
            Some(Body { wave: Some(u32::from(*wave) + 1), ..about("wave-opened", app, order) })
        }
        Fact::Halted { app, order, why } => Some(Body { why: Some(why.clone()), ..about("halted", app, order) }),
        Fact::FellBack { app, order, to } => {
            Some(Body { release: Some(to.to_string()), ..about("fell-back", app, order) })
        }
        Fact::Finished { app, order } => Some(about("finished", app, order)),
        Fact::Directed { directive, .. } => {
            let told = Directive::decode(&directive.payload).ok()?;
            let why = format!("{:?}: {}", told.verb, told.message).to_lowercase();
            Some(Body { why: Some(why), ..about("directed", &told.app, &told.order) })
        }
        _ => None,
    }
}

fn told_of_order(signed: &Signed) -> Option<Body> {
    let order = Order::decode(&signed.payload).ok()?;
    Some(Body {
        epoch: Some(order.epoch),
        release: Some(order.release.to_string()),
        why: Some(order.message).filter(|why| !why.is_empty()),
        ..empty("ordered", order.app.as_str(), &signed.payload_digest().to_string())
    })
}

/// With what people call things, as far as the order is the newest.
fn with_names(body: Body, status: &FleetStatus) -> Body {
    let newest = status.apps.iter().find(|rollout| {
        rollout.app.as_str() == body.app && rollout.order.is_some_and(|order| order.to_string() == body.order)
    });
    let Some(newest) = newest else { return body };
    let ordered = newest.release.to_string();
    let release = body.release.unwrap_or_else(|| ordered.clone());
    let version = (release == ordered).then(|| newest.version.clone());
    Body { epoch: Some(newest.epoch), release: Some(release), version, by: Some(newest.by.clone()), ..body }
}

fn failures_of(node: &NodeStatus) -> impl Iterator<Item = Body> {
    let failed = node.apps.iter().filter(|app| app.phase == Phase::Failed);
    failed.filter_map(|app| {
        let order = app.order?.to_string();
        let id = format!("failed/{order}/{}", node.node);
        let (name, why) = (node.name.clone(), app.trouble.clone());
        let time = wall_clock().0;
        Some(Body { id, time, node: Some(name), why, ..empty("node-failed", app.app.as_str(), &order) })
    })
}

#[cfg(test)]
mod tests;
