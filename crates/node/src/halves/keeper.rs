//! The thread that owns the root half's store and its guard: it judges each job, does what is the store's, and gives back what is to be run.

use super::HandsError;
use super::alarm::Alarm;
use super::guard::{self, Allowed, Grounds, Guard, Objection};
use super::pinned::Pinned;
use crate::accounts::Machine;
use crate::boot;
use crate::disk::{Dir, RealDisk};
use crate::hands::Threads;
use crate::home;
use crate::runner::Runner;
use content::care::Health;
use content::{AppName, Labels, ReleaseId, Root, Signed};
use engine::door::{AppRecord, Job, JobDone, JobError, Moment, Recovered};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use store::Store;
use store::disk::{Disk, Name};
use tokio::sync::{oneshot, watch};

/// What the thread is asked.
enum Work {
    Job(Job, oneshot::Sender<Answer>),
    /// What was run has ended, and when: this thread may hear of it late, and whoever asked counts from then.
    Ended(Deed, Instant, bool),
    /// What is remembered; the network half's contents are looked for anew.
    Records(oneshot::Sender<(Signed, Vec<AppRecord>)>),
}

/// How a job goes on.
enum Answer {
    Done(Result<JobDone, JobError>),
    /// It is to be run, by whoever asked.
    Run(Deed),
}

/// Something to be run.
#[derive(Debug, Clone)]
struct Deed {
    app: AppName,
    release: Signed,
    /// A command; nothing is a round of probes.
    command: Option<(Moment, Option<ReleaseId>)>,
}

/// Who may be asked to do things, by anyone here, any number of them at once.
#[derive(Clone)]
pub(super) struct Keeper {
    work: Arc<mpsc::Sender<Work>>,
    runner: Runner,
    pub(super) pinned: Pinned,
}

/// Where the halves keep what they keep.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) home: PathBuf,
    pub(super) other: PathBuf,
    pub(super) targets: PathBuf,
    /// As whom commands of releases run here, and as nobody else, if this machine says so.
    pub(super) hooks_user: Option<String>,
}

impl Keeper {
    /// Opens the store and starts the thread. `failed` hears of it when the store breaks.
    pub(super) fn start(
        places: &Places,
        pinned: Pinned,
        failed: watch::Sender<Option<String>>,
    ) -> Result<Self, HandsError> {
        let (mut store, root) = open(places, &pinned)?;
        let in_force = Root::decode(&root.payload).map_err(HandsError::home)?;
        let guard = Guard::new(pinned.fleet, in_force, pinned.labels.clone(), grounds(places));
        let runner = Runner {
            node: pinned.node.clone(),
            labels: pinned.labels.clone(),
            targets: places.targets.clone(),
            hooks_user: places.hooks_user.clone(),
            warden: Arc::default(),
        };
        let (work, queue) = mpsc::channel();
        let other = places.other.clone();
        let thread = std::thread::Builder::new().name("tiding-keeper".to_owned()).spawn(move || {
            let mut desk = Desk { guard, root, other, alarm: Alarm::default(), noted: 0 };
            desk.say_notes(&store);
            let worked = catch_unwind(AssertUnwindSafe(|| queue.iter().for_each(|work| desk.take(&mut store, work))));
            if worked.is_err() {
                failed.send_replace(Some(
                    "the root half's store broke off in the middle of a job; start it again".to_owned(),
                ));
            }
            // The lock goes first: whoever waits for the end of this may open the store then.
            drop((desk, store, failed));
        });
        thread.map_err(HandsError::home)?;
        Ok(Self { work: Arc::new(work), runner, pinned })
    }

    /// Begins a job, after those that were begun before it; what is to be run runs in the future that is returned.
    pub(super) fn perform(&self, job: Job) -> impl Future<Output = Result<JobDone, JobError>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let (keeper, asked) = (self.clone(), self.work.send(Work::Job(job, answer)));
        async move {
            match answered.await {
                Ok(Answer::Done(outcome)) if asked.is_ok() => outcome,
                Ok(Answer::Run(deed)) => keeper.run(deed).await,
                _ => Err(JobError::Disk { why: "the root half is stopping".to_owned() }),
            }
        }
    }

    async fn run(&self, deed: Deed) -> Result<JobDone, JobError> {
        let (runner, release) = (self.runner.clone(), deed.release.clone());
        let outcome = match deed.command {
            Some((moment, other)) => runner.hook(release, moment, other).await,
            None => runner.probe(release).await,
        };
        // A keeper that is gone keeps nothing.
        self.work.send(Work::Ended(deed, Instant::now(), outcome.is_ok())).ok();
        outcome
    }

    /// Starts again what is confirmed, if the machine was started anew since this half was here last.
    pub(super) async fn start_again(&self, home: &Path) {
        if let Some((_, apps)) = self.records().await {
            boot::start_again(home, &Recovered { apps, ..Recovered::default() }, &self.runner).await;
        }
    }

    /// The root in force and what is remembered of each application.
    pub(super) async fn records(&self) -> Option<(Signed, Vec<AppRecord>)> {
        let (answer, answered) = oneshot::channel();
        self.work.send(Work::Records(answer)).ok()?;
        answered.await.ok()
    }
}

/// What the thread works with, besides the store.
struct Desk {
    guard: Guard,
    root: Signed,
    other: PathBuf,
    alarm: Alarm,
    /// So many of the store's notes were said.
    noted: usize,
}

impl Desk {
    fn take(&mut self, store: &mut Store<RealDisk>, work: Work) {
        self.do_work(store, work);
        self.say_notes(store);
    }

    fn say_notes(&mut self, store: &Store<RealDisk>) {
        for note in store.notes().get(self.noted..).unwrap_or_default() {
            tracing::warn!(note, "the root half's store");
        }
        self.noted = store.notes().len();
    }

    fn do_work(&mut self, store: &mut Store<RealDisk>, work: Work) {
        match work {
            // Whoever asked may have gone.
            Work::Job(job, answer) => drop(answer.send(self.job(store, job))),
            Work::Ended(deed, at, well) => self.ended(&deed, at, well),
            Work::Records(answer) => {
                match blobs(&self.other) {
                    Ok(blobs) => store.borrow_from(blobs),
                    Err(error) => tracing::warn!(%error, "the network half's contents cannot be looked for"),
                }
                drop(answer.send((self.root.clone(), store.records())));
            }
        }
    }

    fn job(&mut self, store: &mut Store<RealDisk>, job: Job) -> Answer {
        if let Job::Collect { releases, .. } = job {
            return Answer::Done(self.collect(store, releases));
        }
        let record = record_of(store, guard::app_of(&job));
        match self.guard.judge(Instant::now(), &record, &job) {
            Ok(Allowed::Nothing) => Answer::Done(Ok(done_already(&job))),
            Ok(Allowed::Store(jobs)) => Answer::Done(self.store(store, &record, &jobs)),
            Ok(Allowed::Hook { release, moment, other }) => {
                self.guard.runs(&record, ReleaseId(release.payload_digest()), moment);
                Answer::Run(Deed { app: record.app, release, command: Some((moment, other)) })
            }
            Ok(Allowed::Probe { release }) => Answer::Run(Deed { app: record.app, release, command: None }),
            Err(objection) => Answer::Done(Err(self.refuse(&job, &objection))),
        }
    }

    fn refuse(&mut self, job: &Job, objection: &Objection) -> JobError {
        self.alarm.refused(word(job), objection);
        JobError::Refused { why: format!("the root half refuses {}: {objection}", word(job)) }
    }

    fn store(&mut self, store: &mut Store<RealDisk>, before: &AppRecord, jobs: &[Job]) -> Result<JobDone, JobError> {
        let mut last = Err(JobError::Disk { why: "nothing was to be done".to_owned() });
        for job in jobs {
            last = store.run(job);
            match (&last, job) {
                (Err(JobError::Refused { why }), _) => self.alarm.refused(word(job), why),
                (Ok(_), Job::Switch { release, .. }) => self.guard.switched(Instant::now(), before, *release),
                (Ok(_), Job::Confirm { app, .. }) => self.guard.confirmed(app),
                (Ok(_), Job::Restore { app, release }) => self.guard.restored(app, *release),
                (Ok(_), Job::Root { root }) => {
                    self.guard.follow(root);
                    self.root = root.clone();
                }
                _ => {}
            }
            if last.is_err() {
                break;
            }
        }
        last
    }

    fn collect(&self, store: &mut Store<RealDisk>, mut releases: Vec<ReleaseId>) -> Result<JobDone, JobError> {
        releases.extend(guard::needed(&store.records()));
        store.run(&Job::Collect { contents: Vec::new(), releases })
    }

    fn ended(&mut self, deed: &Deed, at: Instant, well: bool) {
        let release = ReleaseId(deed.release.payload_digest());
        match deed.command {
            Some((moment, _)) => self.guard.ran(at, &deed.app, release, moment, well),
            None => {
                let health = guard::instructions(&deed.release).map_or_else(Health::default, |of| of.health);
                self.guard.probed(at, &deed.app, &health, release, well);
            }
        }
    }
}

/// What is remembered of an application; nothing of one that is new.
fn record_of(store: &Store<RealDisk>, app: Option<AppName>) -> AppRecord {
    let app = app.unwrap_or_else(|| AppName::new("unknown").expect("a plain name"));
    let known = store.records().into_iter().find(|record| record.app == app);
    known.unwrap_or(AppRecord {
        app,
        order: None,
        laid_out: Vec::new(),
        live: None,
        confirmed: None,
        intent: None,
        begun: 0,
        given_up: None,
    })
}

fn done_already(job: &Job) -> JobDone {
    if matches!(job, Job::Root { .. }) { JobDone::Rooted } else { JobDone::Accepted }
}

/// What a job is called in the log.
fn word(job: &Job) -> &'static str {
    match job {
        Job::Assemble { .. } => "laying a release out",
        Job::Accept { .. } => "an order",
        Job::Switch { .. } => "a switch",
        Job::Confirm { .. } => "a confirmation",
        Job::GiveUp { .. } => "giving an order up",
        Job::Hook { .. } => "a command",
        Job::Probe { .. } => "probes",
        Job::Verify { .. } => "reading what is live",
        Job::Repair { .. } => "repairing what is live",
        Job::Restore { .. } => "giving a directory back",
        Job::Collect { .. } => "removing old releases",
        Job::Root { .. } => "a trust root",
        _ => "something else",
    }
}

/// The network half's complete contents: nothing on the way from its home is reached through a link.
fn blobs(other: &Path) -> std::io::Result<Dir> {
    let disk = RealDisk::new();
    let mut dir = disk.open_path(other)?;
    for name in ["store", "blobs"] {
        dir = disk.open_dir(&dir, &Name::new(name).map_err(std::io::Error::other)?)?;
    }
    Ok(dir)
}

/// The homes of both halves belong to nobody else, by whatever way they are reached.
fn grounds(places: &Places) -> Grounds {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Grounds { targets: real(&places.targets), own: vec![real(&places.home), real(&places.other)] }
}

/// A store that was there and is not any more is made anew, and that is said: whatever was ordered before counts for nothing in it.
fn bear_removal(at: &Path, store: &Path) {
    if at.join(home::STORE_MADE).exists() && !store.join("state.redb").exists() {
        tracing::warn!(
            store = %store.display(),
            "THE ROOT HALF'S STORE WAS REMOVED and is made anew: until the origin says again what was ordered, an older order of the \
             same operators would be followed; what is live stays as it is"
        );
    }
}

/// Remembers that there is a store by now.
fn mark_made(at: &Path) -> Result<(), HandsError> {
    let text = "the store beside this file was made; whoever finds this and no store knows that it was removed\n";
    let made = at.join(home::STORE_MADE);
    if made.exists() { Ok(()) } else { home::replace(&made, text.as_bytes()).map_err(HandsError::home) }
}

fn open(places: &Places, pinned: &Pinned) -> Result<(Store<RealDisk>, Signed), HandsError> {
    let directory = home::store(&places.home);
    home::private_dirs(&directory).map_err(HandsError::home)?;
    bear_removal(&places.home, &directory);
    let disk = Arc::new(RealDisk::new());
    let at =
        |path: &Path| disk.open_path(path).map_err(|error| HandsError::home(format!("{}: {error}", path.display())));
    let (home, targets) = (at(&directory)?, at(&places.targets)?);
    let options = store::Options {
        apply_owners: rustix::process::geteuid().is_root(),
        home: directory.display().to_string(),
        hands: Arc::new(Threads::few()),
        node: pinned.node.clone(),
        labels: Labels::clone(&pinned.labels),
        accounts: Arc::new(Machine),
        ..store::Options::default()
    };
    let process = std::process::id().to_string();
    let (mut store, recovered) =
        Store::open(disk.clone(), home, targets, &process, options).map_err(HandsError::Store)?;
    mark_made(&places.home)?;
    if let Some(lost) = store.lost().map(str::to_owned) {
        tracing::warn!(lost, "the root half's store; its floors are told again, upward only");
        store.forget_loss().map_err(|error| HandsError::home(format!("{error:?}")))?;
    }
    match recovered.root {
        Some(root) => Ok((store, root)),
        None => {
            store.set_root(&pinned.root).map_err(|error| HandsError::home(format!("{error:?}")))?;
            Ok((store, pinned.root.clone()))
        }
    }
}
