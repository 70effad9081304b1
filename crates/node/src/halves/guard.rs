//! What the root half does when it is asked, and what not: judged by what operators have signed and by what it has seen itself.
//!
//! It does nothing and reads nothing; it is given what the store remembers of the application. It trusts no word of whoever asks,
//! so what is allowed here is all that an owned network half can bring about.
//!
//! Invariant: a release is confirmed only if this guard has seen it switched to, its command end well, its window pass, and in it as many rounds of
//! its probes go well as it wants; when in the window these are is for whoever asks.

use crate::own::ITSELF;
use content::care::Health;
use content::root::{BadRoot, Refused};
use content::{AppName, FleetId, Labels, Order, OrderId, Release, ReleaseId, Root, Signed, SoftwareVersion};
use engine::door::{AppRecord, Job, Moment};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The version of this program.
const OWN: &str = env!("CARGO_PKG_VERSION");
/// How often a command of a release may be run at one moment under one order: a machine that restarts begins its steps anew.
const RUNS: u32 = 8;

/// Why a job is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Objection {
    /// The document is not believed.
    #[error(transparent)]
    NotBelieved(#[from] Refused),
    /// The root does not follow.
    #[error(transparent)]
    BadRoot(#[from] BadRoot),
    /// The release is for newer software.
    #[error(
        "it wants {0} of tiding or newer, and this root half is {OWN}; bring a newer package and start both halves anew"
    )]
    TooOld(SoftwareVersion),
    /// The order is for other nodes.
    #[error("epoch {epoch} of {app} is for nodes that this one is not")]
    OtherNodes {
        /// Of which application.
        app: AppName,
        /// Its epoch.
        epoch: u64,
    },
    /// The order is older than one that was accepted.
    #[error("epoch {epoch} of {app} is not above {floor}, which was accepted here")]
    Stale {
        /// Of which application.
        app: AppName,
        /// Its epoch.
        epoch: u64,
        /// The highest that was accepted.
        floor: u64,
    },
    /// The order's epoch is too far above.
    #[error("epoch {epoch} of {app} is further above {floor} than an epoch may rise")]
    TooFar {
        /// Of which application.
        app: AppName,
        /// Its epoch.
        epoch: u64,
        /// The highest that was accepted.
        floor: u64,
    },
    /// No order names the release.
    #[error("no order that is followed here lets {app} run release {release}")]
    NotOrdered {
        /// The application.
        app: AppName,
        /// The release.
        release: ReleaseId,
    },
    /// The release is not laid out.
    #[error("release {0} is not laid out here")]
    NotLaidOut(ReleaseId),
    /// It is not the time for it.
    #[error("it is not the moment for {what} of release {release}")]
    NotNow {
        /// A command or a probe, in words.
        what: &'static str,
        /// The release.
        release: ReleaseId,
    },
    /// A command was run often enough.
    #[error("{what} of release {release} was run {RUNS} times under its order")]
    TooOften {
        /// Which command, in words.
        what: &'static str,
        /// The release.
        release: ReleaseId,
    },
    /// The release has not shown that it is well.
    #[error("release {release} is not known to be well: {why}")]
    NotProven {
        /// The release.
        release: ReleaseId,
        /// What lacks.
        why: &'static str,
    },
    /// The order is not the one that is followed.
    #[error("order {} of {app} is not the one that is followed here", .order.0.short())]
    OtherOrder {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
    },
    /// The release would stand in, or in the place of, a directory of this node's own.
    #[error(
        "releases of {app} go to {path}, which is this node's own: the network half could change there what root runs; \
         deploy them elsewhere"
    )]
    OwnGround {
        /// The application.
        app: AppName,
        /// Its path, escaped.
        path: String,
    },
    /// It is a version of this program.
    #[error(
        "versions of this program do not come to a node of two halves as releases: install the new package on this machine, and \
         restart tiding-hands and tiding"
    )]
    OwnProgram,
    /// It is no job of a root half.
    #[error("that is no work of the root half")]
    NotOurs,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Allowed {
    /// It is done already, or changes nothing.
    Nothing,
    /// These, one after the other; the outcome of the last one counts.
    Store(Vec<Job>),
    /// A command.
    Hook {
        /// The release as it was laid out.
        release: Signed,
        /// Which of its commands.
        moment: Moment,
        /// The other release of the switch.
        other: Option<ReleaseId>,
    },
    /// A round of probes.
    Probe {
        /// The release as it was laid out.
        release: Signed,
    },
}

/// What was seen since a path was swung.
#[derive(Debug)]
struct Trial {
    release: ReleaseId,
    /// What was left by it.
    left: Option<ReleaseId>,
    /// Whether this is the order's way, and not the way back.
    is_forward: bool,
    /// How its command ended, if it did.
    ran: Option<bool>,
    /// Since when it runs as it does: since the switch, or since its command ended.
    since: Instant,
    /// How the last rounds of probes went, and when the last one ended.
    rounds: VecDeque<bool>,
    probed: Option<Instant>,
}

/// How often each command was run.
type Runs = BTreeMap<(ReleaseId, Moment), u32>;

/// Where releases go, and where none goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Grounds {
    /// What stands for `/`.
    pub(super) targets: PathBuf,
    /// Directories of the node's own.
    pub(super) own: Vec<PathBuf>,
}

impl Grounds {
    /// Whether a release's path lies in a directory of the node's own, or would take the place of one.
    fn are_own_at(&self, path: &[u8]) -> bool {
        let path = self.targets.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)));
        self.own.iter().any(|own: &PathBuf| path.starts_with(own) || own.starts_with(&path))
    }
}

/// The judge.
#[derive(Debug)]
pub(super) struct Guard {
    fleet: FleetId,
    root: Root,
    labels: Labels,
    grounds: Grounds,
    trials: BTreeMap<AppName, Trial>,
    /// The release that has just given its path back to what stood there before: its command for that may run.
    put_back: BTreeMap<AppName, ReleaseId>,
    /// How often commands were run under the order that is followed, by application.
    runs: BTreeMap<AppName, (OrderId, Runs)>,
}

/// An application as it stands.
struct Standing<'a> {
    record: &'a AppRecord,
    order: Option<(OrderId, Order)>,
}

impl<'a> Standing<'a> {
    fn of(record: &'a AppRecord) -> Self {
        let order = record.order.as_ref();
        let order =
            order.and_then(|signed| Some((OrderId(signed.payload_digest()), Order::decode(&signed.payload).ok()?)));
        Self { record, order }
    }

    /// Whether the order that is followed has failed here.
    fn has_given_up(&self) -> bool {
        let failed = self.record.given_up.as_ref().map(|(order, _)| *order);
        failed.is_some() && failed == self.order.as_ref().map(|(id, _)| *id)
    }

    /// Whether a release is what the order wants.
    fn is_forward(&self, release: ReleaseId) -> bool {
        !self.has_given_up() && self.order.as_ref().is_some_and(|(_, order)| order.release == release)
    }

    /// Whether a release may be switched to.
    fn may_run(&self, release: ReleaseId) -> bool {
        let fallback = self.order.as_ref().and_then(|(_, order)| order.fallback);
        let is_behind = self.order.is_some() && self.record.confirmed == Some(release);
        self.is_forward(release) || fallback == Some(release) || is_behind
    }

    fn laid_out(&self, release: ReleaseId) -> Result<&'a Signed, Objection> {
        let found = self.record.laid_out.iter().find(|signed| ReleaseId(signed.payload_digest()) == release);
        found.ok_or(Objection::NotLaidOut(release))
    }
}

impl Guard {
    /// A guard that believes a root, for a node with these labels.
    pub(super) fn new(fleet: FleetId, root: Root, labels: Labels, grounds: Grounds) -> Self {
        let (trials, put_back, runs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { fleet, root, labels, grounds, trials, put_back, runs }
    }

    /// What is to be done for a job; `record` is what is remembered of the application of [`app_of`].
    pub(super) fn judge(&mut self, now: Instant, record: &AppRecord, job: &Job) -> Result<Allowed, Objection> {
        let standing = Standing::of(record);
        match job {
            Job::Root { root } => self.judge_root(root),
            Job::Assemble { release } => self.judge_release(&standing, release),
            Job::Accept { order } => self.judge_order(&standing, order),
            Job::Switch { app, release } => judge_switch(&standing, app, *release),
            Job::Hook { release, moment, .. } => {
                self.judge_hook(&standing, ReleaseId(release.payload_digest()), *moment)
            }
            Job::Probe { release } => self.judge_probe(now, &standing, ReleaseId(release.payload_digest())),
            Job::Confirm { app, release } => self.judge_confirmation(now, &standing, app, *release),
            Job::GiveUp { app, order, .. } => match &standing.order {
                Some((id, _)) if id == order => Ok(store(job)),
                _ => Err(Objection::OtherOrder { app: app.clone(), order: *order }),
            },
            // Both leave nothing but what was signed.
            Job::Verify { .. } | Job::Repair { .. } => Ok(store(job)),
            Job::Restore { app, release } => judge_restore(&standing, app, *release),
            _ => Err(Objection::NotOurs),
        }
    }

    fn judge_root(&self, signed: &Signed) -> Result<Allowed, Objection> {
        let said = Root::decode(&signed.payload).map_err(BadRoot::from)?;
        if said.version <= self.root.version {
            return Ok(Allowed::Nothing);
        }
        self.root.verify_next(signed)?;
        Ok(Allowed::Store(vec![Job::Root { root: signed.clone() }]))
    }

    /// A release that is laid out was believed when it was: who may sign by now does not undo it.
    fn judge_release(&self, standing: &Standing<'_>, signed: &Signed) -> Result<Allowed, Objection> {
        let known = standing.laid_out(ReleaseId(signed.payload_digest())).cloned();
        let release = match known {
            Ok(known) => known,
            Err(_) => {
                let release = self.root.verify_release(self.fleet, signed)?;
                self.judge_place(&release)?;
                judge_software(&release)?;
                signed.clone()
            }
        };
        Ok(Allowed::Store(vec![Job::Assemble { release }]))
    }

    /// Nothing that root lays out or runs stands where the network half may write.
    fn judge_place(&self, release: &Release) -> Result<(), Objection> {
        let path = &release.instructions.path;
        if release.app.as_str() == ITSELF {
            return Err(Objection::OwnProgram);
        }
        match self.grounds.are_own_at(path) {
            true => Err(Objection::OwnGround { app: release.app.clone(), path: path.escape_ascii().to_string() }),
            false => Ok(()),
        }
    }

    fn judge_order(&self, standing: &Standing<'_>, signed: &Signed) -> Result<Allowed, Objection> {
        let known = standing.order.as_ref();
        if known.is_some_and(|(id, _)| id.0 == signed.payload_digest()) {
            return Ok(Allowed::Nothing);
        }
        let order = self.root.verify_order(self.fleet, signed)?;
        let (app, epoch) = (order.app, order.epoch);
        if !order.selector.matches(&self.labels) {
            return Err(Objection::OtherNodes { app, epoch });
        }
        let Some(floor) = known.map(|(_, known)| known.epoch) else { return Ok(store_order(signed)) };
        match epoch {
            _ if epoch <= floor => Err(Objection::Stale { app, epoch, floor }),
            _ if epoch > floor.saturating_add(Order::MAX_EPOCH_STEP) => Err(Objection::TooFar { app, epoch, floor }),
            _ => Ok(store_order(signed)),
        }
    }

    /// A command runs at its moment: before a switch that is allowed, once it is done, or when a release was left.
    fn judge_hook(&self, standing: &Standing<'_>, release: ReleaseId, moment: Moment) -> Result<Allowed, Objection> {
        let signed = standing.laid_out(release)?;
        let trial = self.trials.get(&standing.record.app);
        let (live, ordered) = (standing.record.live, standing.order.as_ref().map(|(_, order)| order.release));
        let is_fresh = |trial: &&Trial| trial.ran.is_none() && live == Some(trial.release);
        let is_due = match (moment, trial.filter(is_fresh)) {
            (Moment::Before, _) => standing.is_forward(release) && live != Some(release),
            (Moment::After, trial) => trial.is_some_and(|trial| trial.release == release),
            (Moment::Back, None) => live.is_none() && self.put_back.get(&standing.record.app) == Some(&release),
            (Moment::Back, Some(trial)) => {
                let is_left = trial.left == Some(release) || ordered == Some(release);
                !trial.is_forward && trial.release != release && is_left
            }
        };
        let other = [ordered, live, standing.record.confirmed].into_iter().flatten().find(|other| *other != release);
        let what = word(moment);
        if !is_due {
            return Err(Objection::NotNow { what, release });
        }
        if self.runs_of(standing, release, moment) >= RUNS {
            return Err(Objection::TooOften { what, release });
        }
        Ok(Allowed::Hook { release: signed.clone(), moment, other })
    }

    fn runs_of(&self, standing: &Standing<'_>, release: ReleaseId, moment: Moment) -> u32 {
        let of =
            |(order, _): &(OrderId, Order)| self.runs.get(&standing.record.app).filter(|(known, _)| known == order);
        let counts = standing.order.as_ref().and_then(of);
        counts.and_then(|(_, counts)| counts.get(&(release, moment))).copied().unwrap_or_default()
    }

    /// What is live and on trial is asked, and not more often than its release says.
    fn judge_probe(&self, now: Instant, standing: &Standing<'_>, release: ReleaseId) -> Result<Allowed, Objection> {
        let signed = standing.laid_out(release)?;
        let every = instructions(signed).map_or(Duration::ZERO, |of| millis(of.health.every_ms));
        let trial = self.trials.get(&standing.record.app).filter(|trial| trial.release == release);
        let is_due = trial.is_some_and(|trial| {
            // Half of it: clocks of two processes are read at two moments.
            trial.probed.is_none_or(|last| now.saturating_duration_since(last) >= every / 2)
        });
        match is_due && standing.record.live == Some(release) {
            true => Ok(Allowed::Probe { release: signed.clone() }),
            false => Err(Objection::NotNow { what: "the probes", release }),
        }
    }

    fn judge_confirmation(
        &self,
        now: Instant,
        standing: &Standing<'_>,
        app: &AppName,
        release: ReleaseId,
    ) -> Result<Allowed, Objection> {
        let not_proven = |why| Objection::NotProven { release, why };
        let trial = self.trials.get(app).filter(|trial| trial.release == release);
        let trial = trial.ok_or(not_proven("nothing was seen of it since this half started"))?;
        if trial.is_forward {
            let signed = standing.laid_out(release)?;
            let of = instructions(signed).ok_or(not_proven("its instructions cannot be read"))?;
            trial.proves(now, &of).map_err(not_proven)?;
        }
        Ok(Allowed::Store(vec![Job::Confirm { app: app.clone(), release }]))
    }

    // What was done.

    /// A root was stored.
    pub(super) fn follow(&mut self, signed: &Signed) {
        if let Ok(next) = self.root.verify_next(signed) {
            self.root = next;
        }
    }

    /// A path was swung; `before` is what was remembered then.
    pub(super) fn switched(&mut self, now: Instant, before: &AppRecord, release: ReleaseId) {
        let is_forward = Standing::of(before).is_forward(release);
        let left = before.live.filter(|left| *left != release);
        let (rounds, ran, probed) = (VecDeque::new(), None, None);
        let trial = Trial { release, left, is_forward, ran, since: now, rounds, probed };
        self.trials.insert(before.app.clone(), trial);
        self.put_back.remove(&before.app);
    }

    /// What stood at a path before a release stands there again.
    pub(super) fn restored(&mut self, app: &AppName, release: ReleaseId) {
        self.trials.remove(app);
        self.put_back.insert(app.clone(), release);
    }

    /// A release was confirmed: its trial is over, and nothing of it is run or asked any more.
    pub(super) fn confirmed(&mut self, app: &AppName) {
        self.trials.remove(app);
    }

    /// A command is about to run.
    pub(super) fn runs(&mut self, record: &AppRecord, release: ReleaseId, moment: Moment) {
        let Some((order, _)) = Standing::of(record).order else { return };
        let counted = self.runs.entry(record.app.clone()).or_insert_with(|| (order, BTreeMap::new()));
        if counted.0 != order {
            *counted = (order, BTreeMap::new());
        }
        *counted.1.entry((release, moment)).or_default() += 1;
    }

    /// A command has ended.
    pub(super) fn ran(&mut self, now: Instant, app: &AppName, release: ReleaseId, moment: Moment, well: bool) {
        if moment == Moment::Back {
            self.put_back.remove(app);
        }
        let is_of_it = |trial: &&mut Trial| moment == Moment::Back || trial.release == release;
        if let Some(trial) = self.trials.get_mut(app).filter(|_| moment != Moment::Before).filter(is_of_it) {
            (trial.ran, trial.since) = (Some(well), now);
        }
    }

    /// A round of probes has ended.
    pub(super) fn probed(&mut self, now: Instant, app: &AppName, health: &Health, release: ReleaseId, well: bool) {
        if let Some(trial) = self.trials.get_mut(app).filter(|trial| trial.release == release) {
            trial.probed = Some(now);
            trial.rounds.push_back(well);
            while trial.rounds.len() > usize::from(health.of) {
                trial.rounds.pop_front();
            }
        }
    }
}

impl Trial {
    fn proves(&self, now: Instant, of: &content::release::Instructions) -> Result<(), &'static str> {
        if of.hooks.after.is_some() && self.ran != Some(true) {
            return Err("its command after the switch has not ended well");
        }
        if now.saturating_duration_since(self.since) < millis(of.health_window_ms) {
            return Err("its window is not over");
        }
        let well = self.rounds.iter().filter(|well| **well).count();
        match of.health.probes.is_empty() || well >= usize::from(of.health.need) {
            true => Ok(()),
            false => Err("its probes have not gone well"),
        }
    }
}

/// A root half lays out nothing that is for newer software than it is.
fn judge_software(release: &Release) -> Result<(), Objection> {
    let is_too_old = |least: &SoftwareVersion| OWN.parse::<SoftwareVersion>().map_or(true, |own| own < *least);
    release.instructions.min_agent.filter(is_too_old).map_or(Ok(()), |least| Err(Objection::TooOld(least)))
}

/// The application that a job is about, as far as its words tell.
pub(super) fn app_of(job: &Job) -> Option<AppName> {
    match job {
        Job::Assemble { release } | Job::Hook { release, .. } | Job::Probe { release } => {
            Release::decode(&release.payload).ok().map(|release| release.app)
        }
        Job::Accept { order } => Order::decode(&order.payload).ok().map(|order| order.app),
        Job::Switch { app, .. } | Job::Confirm { app, .. } | Job::GiveUp { app, .. } => Some(app.clone()),
        Job::Restore { app, .. } | Job::Verify { app } | Job::Repair { app } => Some(app.clone()),
        _ => None,
    }
}

/// What stays laid out whatever anyone says: what is ordered, and what to go back to.
pub(super) fn needed(records: &[AppRecord]) -> Vec<ReleaseId> {
    let of = |record: &AppRecord| {
        let order = Standing::of(record).order.map(|(_, order)| [Some(order.release), order.fallback]);
        order.into_iter().flatten().flatten().collect::<Vec<_>>()
    };
    records.iter().flat_map(of).collect()
}

/// A release that is left under its order is given up, durably, before anything is swung: nobody goes forward with it again.
fn judge_switch(standing: &Standing<'_>, app: &AppName, release: ReleaseId) -> Result<Allowed, Objection> {
    standing.laid_out(release)?;
    if !standing.may_run(release) {
        return Err(Objection::NotOrdered { app: app.clone(), release });
    }
    let mut jobs = Vec::new();
    if let Some((order, of)) = &standing.order
        && of.release != release
        && standing.record.live == Some(of.release)
        && !standing.has_given_up()
    {
        let why = "it was left for another release".to_owned();
        jobs.push(Job::GiveUp { app: app.clone(), order: *order, why });
    }
    jobs.push(Job::Switch { app: app.clone(), release });
    Ok(Allowed::Store(jobs))
}

/// What took a directory's place gives it back only under its own order, and is given up by that.
fn judge_restore(standing: &Standing<'_>, app: &AppName, release: ReleaseId) -> Result<Allowed, Objection> {
    standing.laid_out(release)?;
    let order = standing.order.as_ref().filter(|(_, order)| order.release == release && order.fallback.is_none());
    let Some((order, _)) = order else { return Err(Objection::NotOrdered { app: app.clone(), release }) };
    let mut jobs = Vec::new();
    if !standing.has_given_up() {
        let why = "it was left for what stood there before".to_owned();
        jobs.push(Job::GiveUp { app: app.clone(), order: *order, why });
    }
    jobs.push(Job::Restore { app: app.clone(), release });
    Ok(Allowed::Store(jobs))
}

fn store(job: &Job) -> Allowed {
    Allowed::Store(vec![job.clone()])
}

fn store_order(signed: &Signed) -> Allowed {
    Allowed::Store(vec![Job::Accept { order: signed.clone() }])
}

pub(super) fn instructions(signed: &Signed) -> Option<content::release::Instructions> {
    Release::decode(&signed.payload).ok().map(|release| release.instructions)
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

fn word(moment: Moment) -> &'static str {
    match moment {
        Moment::Before => "the command before a switch",
        Moment::After => "the command after a switch",
        Moment::Back => "the command after going back",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::care::{Hook, Hooks, Probe};
    use content::order::{Restraint, Unreachable, Wave};
    use content::release::Instructions;
    use content::root::Operator;
    use content::{BlobRef, ContentSpec, Digest, PayloadKind, Powers, Selector, SigningKey, UnixTime};

    fn operator() -> SigningKey {
        SigningKey::from_secret(&[1; 32])
    }

    fn app() -> AppName {
        AppName::new("web").expect("a plain name")
    }

    fn fleet() -> FleetId {
        FleetId(Digest::of(b"fleet"))
    }

    fn guard() -> Guard {
        let key = SigningKey::from_secret(&[2; 32]);
        let root = Root {
            version: 1,
            nonce: [0; 16],
            created: UnixTime(0),
            root_keys: vec![key.public()],
            root_threshold: 1,
            operators: vec![Operator { name: "alice".to_owned(), key: operator().public(), powers: Powers::default() }],
            operator_threshold: 1,
            authorities: Vec::new(),
        };
        let grounds =
            Grounds { targets: "/".into(), own: vec!["/var/lib/tiding".into(), "/var/lib/tiding-hands".into()] };
        Guard::new(fleet(), root, Labels::new(), grounds)
    }

    /// A release with commands, a window of a second, and probes every 100 ms of which one must go well.
    fn release(version: &str, path: &str) -> Signed {
        let hook = || Some(Hook { line: "true".to_owned(), user: None, timeout_ms: 1000 });
        let health = Health { probes: vec![Probe::Unit("web.service".to_owned())], every_ms: 100, need: 1, of: 1 };
        let hooks = Hooks { before: hook(), after: hook(), back: hook(), ..Hooks::default() };
        let release = Release {
            fleet: fleet(),
            app: app(),
            version: version.to_owned(),
            created: UnixTime(1),
            content: ContentSpec { blob: BlobRef { root: Digest::of(b"root"), len: 1000 }, pieces: 2, bytes: 100_000 },
            attributes: None,
            entries: 3,
            size: 120_000,
            instructions: Instructions { hooks, health, ..Instructions::plain(path.as_bytes(), 1000, 2) },
        };
        operator().sign(PayloadKind::Release, release.encode())
    }

    fn id(signed: &Signed) -> ReleaseId {
        ReleaseId(signed.payload_digest())
    }

    fn order(epoch: u64, release: &Signed) -> Signed {
        let order = Order {
            fleet: fleet(),
            app: app(),
            epoch,
            release: id(release),
            fallback: None,
            selector: Selector::default(),
            unreachable: Unreachable::Skip,
            waves: vec![Wave::PerMille(1000)],
            budget: 0,
            restraint: Restraint::default(),
            created: UnixTime(0),
            message: String::new(),
        };
        operator().sign(PayloadKind::Order, order.encode())
    }

    /// An application of which a release is ordered and laid out.
    fn ordered(release: &Signed) -> AppRecord {
        AppRecord {
            app: app(),
            order: Some(order(1, release)),
            laid_out: vec![release.clone()],
            live: None,
            confirmed: None,
            intent: None,
            begun: 0,
            given_up: None,
        }
    }

    fn hook(release: &Signed, moment: Moment) -> Job {
        Job::Hook { release: release.clone(), moment, other: None }
    }

    #[test]
    fn h15_a_command_runs_so_often_under_an_order_and_anew_under_the_next() {
        let (mut guard, one, now) = (guard(), release("one", "/srv/web"), Instant::now());
        let mut record = ordered(&one);
        for _ in 0..RUNS {
            assert!(matches!(guard.judge(now, &record, &hook(&one, Moment::Before)), Ok(Allowed::Hook { .. })));
            guard.runs(&record, id(&one), Moment::Before);
        }
        let refused = guard.judge(now, &record, &hook(&one, Moment::Before));
        assert!(matches!(refused, Err(Objection::TooOften { .. })), "{refused:?}");
        record.order = Some(order(2, &one));
        assert!(guard.judge(now, &record, &hook(&one, Moment::Before)).is_ok());
    }

    #[test]
    fn h15_a_confirmation_waits_for_the_command_the_window_and_the_probes() {
        let (mut guard, one, start) = (guard(), release("one", "/srv/web"), Instant::now());
        let mut record = ordered(&one);
        let at = |ms| start + Duration::from_millis(ms);
        let confirm = Job::Confirm { app: app(), release: id(&one) };
        let why = |guard: &mut Guard, record: &AppRecord, ms| match guard.judge(at(ms), record, &confirm) {
            Err(Objection::NotProven { why, .. }) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(&mut guard, &record, 0).contains("nothing was seen"));
        guard.switched(start, &record, id(&one));
        record.live = Some(id(&one));
        guard.probed(at(10), &app(), &Health { of: 1, need: 1, ..Health::default() }, id(&one), true);
        assert!(why(&mut guard, &record, 5000).contains("its command"));
        guard.ran(at(100), &app(), id(&one), Moment::After, false);
        assert!(why(&mut guard, &record, 5000).contains("its command"));
        guard.ran(at(100), &app(), id(&one), Moment::After, true);
        // From when the command ended, whenever that is heard.
        assert!(why(&mut guard, &record, 1099).contains("window"));
        assert!(guard.judge(at(1100), &record, &confirm).is_ok());
        guard.probed(at(1101), &app(), &Health { of: 1, need: 1, ..Health::default() }, id(&one), false);
        assert!(why(&mut guard, &record, 1102).contains("probes"));
    }

    #[test]
    fn h15_what_is_live_and_on_trial_is_probed_at_its_pace_and_nothing_else_is() {
        let (mut guard, one, start) = (guard(), release("one", "/srv/web"), Instant::now());
        let mut record = ordered(&one);
        let at = |ms| start + Duration::from_millis(ms);
        let probe = Job::Probe { release: one.clone() };
        assert!(guard.judge(start, &record, &probe).is_err(), "nothing was switched to");
        guard.switched(start, &record, id(&one));
        assert!(guard.judge(start, &record, &probe).is_err(), "it is not live");
        record.live = Some(id(&one));
        assert!(guard.judge(start, &record, &probe).is_ok());
        guard.probed(at(1000), &app(), &Health::default(), id(&one), true);
        assert!(guard.judge(at(1049), &record, &probe).is_err(), "too soon");
        assert!(guard.judge(at(1050), &record, &probe).is_ok());
        guard.confirmed(&app());
        assert!(guard.judge(at(2000), &record, &probe).is_err(), "its trial is over");
    }

    #[test]
    fn g17_a_root_half_lays_out_nothing_that_is_for_newer_software() {
        let (mut guard, now) = (guard(), Instant::now());
        let none = AppRecord { order: None, laid_out: Vec::new(), ..ordered(&release("one", "/srv/web")) };
        let mut judge = |least: Option<SoftwareVersion>| {
            let mut wants = Release::decode(&release("one", "/srv/web").payload).expect("a release");
            wants.instructions.min_agent = least;
            let release = operator().sign(PayloadKind::Release, wants.encode());
            guard.judge(now, &none, &Job::Assemble { release })
        };
        assert!(judge(None).is_ok() && judge(Some(SoftwareVersion(0, 0, 1))).is_ok());
        let newer = SoftwareVersion(u32::MAX, 0, 0);
        assert!(matches!(judge(Some(newer)), Err(Objection::TooOld(least)) if least == newer));
    }

    #[test]
    fn h14_releases_stand_on_no_ground_of_the_nodes_own() {
        let (mut guard, now) = (guard(), Instant::now());
        let none = AppRecord { order: None, laid_out: Vec::new(), ..ordered(&release("one", "/srv/web")) };
        let mut judge = |path: &str| guard.judge(now, &none, &Job::Assemble { release: release("one", path) });
        for path in ["/var/lib/tiding", "/var/lib/tiding/store/app", "/var/lib/tiding-hands/app", "/var/lib", "/var"] {
            let refused = judge(path);
            assert!(matches!(refused, Err(Objection::OwnGround { .. })), "{path}: {refused:?}");
        }
        for path in ["/srv/web", "/var/lib/tidings", "/var/libs"] {
            assert!(judge(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn h14_what_was_left_is_given_up_first_and_a_directory_is_given_back_under_its_own_order_alone() {
        let (mut guard, now) = (guard(), Instant::now());
        let (one, two) = (release("one", "/srv/web"), release("two", "/srv/web"));
        let mut record = AppRecord { live: Some(id(&one)), ..ordered(&one) };
        record.laid_out.push(two.clone());
        let given_up = |jobs: &[Job]| matches!(jobs, [Job::GiveUp { .. }, _]);
        let restore = |release: &Signed| Job::Restore { app: app(), release: id(release) };
        assert!(
            matches!(guard.judge(now, &record, &restore(&one)), Ok(Allowed::Store(jobs)) if given_up(&jobs)),
            "given up first"
        );
        assert!(matches!(guard.judge(now, &record, &restore(&two)), Err(Objection::NotOrdered { .. })));
        record.confirmed = Some(id(&two));
        let switch = Job::Switch { app: app(), release: id(&two) };
        assert!(matches!(guard.judge(now, &record, &switch), Ok(Allowed::Store(jobs)) if given_up(&jobs)));
        let back = hook(&one, Moment::Back);
        assert!(guard.judge(now, &record, &back).is_err());
        record.live = None;
        guard.restored(&app(), id(&one));
        assert!(guard.judge(now, &record, &back).is_ok());
        assert!(guard.judge(now, &record, &hook(&two, Moment::Back)).is_err(), "that one was not put back");
        guard.ran(now, &app(), id(&one), Moment::Back, false);
        assert!(guard.judge(now, &record, &back).is_err(), "once");
    }
}
