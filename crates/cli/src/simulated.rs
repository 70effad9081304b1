//! The fleet of `tiding page --simulate`: real engines on pretended machines, whose time goes as fast as ours, and an operator who steers it.
//!
//! It lives in a thread of its own and nowhere else: no keys, no network, no files. One release follows another; a hundredth of the agents
//! cannot run those that follow, which is what an operator wants to see. Where the machine is too slow, the fleet's time goes slower.

use crate::words;
use content::order::Wave;
use content::{OrderId, ReleaseId};
use node::api::{FleetStatus, Refusal, RolloutState};
use node::audit::Told;
use node::escape::escape;
use node::page::{Act, Acting, Deed, Operator, Recalling, Trouble};
use node::watching::Seen;
use sim::flock::{Plan, Said, Steered};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};

/// How often the fleet is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// So much passes at most between two looks, however late we are.
const MOST: Duration = Duration::from_millis(400);
/// How long a fleet is left alone before the next release comes.
const CALM: Duration = Duration::from_secs(20);
/// Links of 40 Mbit/s, and a release of 16 MiB: what takes a datacenter a moment takes as long here as one likes to look.
const BITS: u64 = 40_000_000;
const BYTES: u64 = 16 << 20;
/// The release that everyone runs when it begins, which has to be everywhere before anybody sees anything.
const FIRST: u64 = 64 << 10;
const PIECE: u64 = 128 << 10;
/// So many agents stand in a rack.
const RACK: u32 = 20;
const SEED: u64 = 1;

/// A deed, and where its outcome goes.
type Asked = (Deed, oneshot::Sender<Result<String, Trouble>>);

/// A fleet that lives as long as this does.
pub(crate) struct Simulated {
    ask: Sender<Asked>,
    seen: watch::Receiver<Seen>,
    past: Past,
}

/// What was done so far.
#[derive(Clone, Default)]
struct Past(Arc<Mutex<Vec<Told>>>);

impl Simulated {
    /// Begins one of so many agents.
    pub(crate) fn start(agents: u32) -> Self {
        let (ask, asked) = channel();
        let (tell, seen) = watch::channel(Seen::default());
        let past = Past::default();
        let noted = past.clone();
        std::thread::spawn(move || live(agents, &asked, &tell, &noted));
        Self { ask, seen, past }
    }

    /// Where its status can be followed.
    pub(crate) fn follow(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }
}

impl Operator for Simulated {
    fn act(&self, deed: Deed) -> Acting {
        let (tell, told) = oneshot::channel();
        let is_there = self.ask.send((deed, tell)).is_ok();
        Box::pin(async move {
            let gone = || trouble("nothing was done", "the simulated fleet has ended".to_owned());
            if is_there { told.await.map_err(|_| gone())? } else { Err(gone()) }
        })
    }

    fn history(&self) -> Recalling {
        let told = self.past.lock().clone();
        Box::pin(async move { Ok(told) })
    }
}

impl Past {
    fn lock(&self) -> MutexGuard<'_, Vec<Told>> {
        self.0.lock().expect("nothing panics with it")
    }

    fn note(&self, kind: &str, what: String, why: &str) {
        let mut told = self.lock();
        let index = told.len() as u64;
        told.push(Told {
            time: Some(wall()),
            who: Some("alice".to_owned()),
            app: Some("web".to_owned()),
            kind: kind.to_owned(),
            what,
            why: Some(why.to_owned()).filter(|why| !why.is_empty()),
            journal: "fleet".to_owned(),
            generation: 1,
            index,
        });
    }
}

/// Lives until nobody can ask any more.
fn live(agents: u32, asked: &Receiver<Asked>, tell: &watch::Sender<Seen>, past: &Past) {
    let plan = Plan { piece_bytes: PIECE, places: Some(RACK), ..Plan::new(agents, BITS, FIRST) };
    let mut fleet = Steered::new(&plan, SEED, wall(), agents / 100);
    let (mut before, mut calm_since, mut number) = (Instant::now(), Instant::now().checked_sub(CALM), 1);
    loop {
        match asked.recv_timeout(LOOK) {
            // Whoever asked may be gone.
            Ok((deed, answer)) => drop(answer.send(obey(&mut fleet, &deed, past))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        fleet.advance(before.elapsed().min(MOST));
        before = Instant::now();
        let status = FleetStatus::of(fleet.status(), &origin());
        let is_calm = status.apps.iter().all(|rollout| rollout.state == RolloutState::Finished);
        tell.send_replace(Seen::now(status));
        calm_since = if is_calm { calm_since.or(Some(before)) } else { None };
        if calm_since.is_some_and(|since| since.elapsed() >= CALM) {
            number += 1;
            calm_since = None;
            deploy(&mut fleet, number, agents, past);
        }
    }
}

/// What is true of a status from here, always.
fn origin() -> FleetStatus {
    FleetStatus {
        fleet: "simulated".to_owned(),
        origin: "simulated".to_owned(),
        origin_name: "node-0".to_owned(),
        datacenter: "dc1, which is pretended".to_owned(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        now: Some(wall()),
        ..FleetStatus::default()
    }
}

fn deploy(fleet: &mut Steered<'_>, number: u32, agents: u32, past: &Past) {
    let (version, message) = (format!("v{number}"), "the next one");
    let waves = vec![Wave::Count(1), Wave::PerMille(100), Wave::PerMille(500), Wave::PerMille(1000)];
    if fleet.deploy((&version, BYTES), waves, agents / 50, message) {
        past.note("ordered", format!("{version} published and ordered"), message);
    }
}

fn obey(fleet: &mut Steered<'_>, deed: &Deed, past: &Past) -> Result<String, Trouble> {
    let Deed { sight, act, message } = deed;
    let app = escape(&sight.app);
    let said = |order: OrderId| Said { order, wave: sight.wave, message: message.clone() };
    match act {
        Act::Direct(verb) => {
            let (word, done) = words::directed(*verb);
            let what = format!("cannot {word} {app}");
            fleet.direct(*verb, &said(parsed(&what, &sight.order)?)).map_err(|why| refused(&what, why.into()))?;
            past.note("directed", format!("{app} {done}"), message);
            Ok(format!("{app} {done}"))
        }
        Act::Rollback { to } => {
            let what = format!("cannot roll back {app}");
            let (order, to): (OrderId, ReleaseId) = (parsed(&what, &sight.order)?, parsed(&what, to)?);
            fleet.back_to(to, &said(order)).map_err(|why| refused(&what, why.into()))?;
            past.note("ordered", format!("{app} ordered back"), message);
            Ok(format!("{app} is ordered back"))
        }
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(what: &str, id: &str) -> Result<T, Trouble> {
    id.parse().map_err(|bad: T::Err| trouble(what, bad.to_string()))
}

fn refused(what: &str, refusal: Refusal) -> Trouble {
    trouble(what, refusal.to_string())
}

fn trouble(what: &str, why: String) -> Trouble {
    Trouble { what: what.to_owned(), why: Some(why), next: Some("look at how it stands now".to_owned()) }
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
