//! What the root half does while no network half is there: what any agent does that reaches nobody.
//!
//! The same engine runs, with what the store remembers and without a peer. So a release on trial is seen to its end, or left for what ran before,
//! and nothing new begins. What it wants is judged by the same guard.

use super::keeper::Keeper;
use content::{Digest, Label, NodeId, Role};
use engine::Engine;
use engine::door::{Config, Event, Input, Job, JobDone, JobError, JobId, Output, Recovered, Time};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a network half may be away until nobody waits for it any more: it may just be started again.
const GRACE: Duration = Duration::from_secs(5);

type Outcome = (JobId, Result<JobDone, JobError>);

/// Goes on alone, after a moment, for ever: whoever connects ends it.
pub(super) async fn go_on(keeper: &Keeper) {
    tokio::time::sleep(GRACE).await;
    let Some((root, apps)) = keeper.records().await else { return std::future::pending().await };
    if let Some(on_trial) = apps.iter().find(|record| record.intent.is_some()) {
        tracing::warn!(app = %on_trial.app, "no network half is there: the root half goes on alone with what was begun");
    }
    let recovered = Recovered { root: Some(root), apps, ..Recovered::default() };
    let me = NodeId(Digest::of(b"a root half"));
    let engine = Engine::new(me, config(keeper), recovered, 0, Time(0));
    Alone { engine, start: Instant::now(), jobs: JoinSet::new(), inputs: VecDeque::from([Input::Tick]) }
        .run(keeper)
        .await;
}

struct Alone {
    engine: Engine,
    start: Instant,
    jobs: JoinSet<Outcome>,
    inputs: VecDeque<Input>,
}

impl Alone {
    async fn run(mut self, keeper: &Keeper) {
        loop {
            while let Some(input) = self.inputs.pop_front() {
                self.engine.handle(self.now(), input);
                while let Some(output) = self.engine.poll() {
                    self.carry_out(output, keeper);
                }
            }
            let input = self.wait().await;
            self.inputs.push_back(input);
        }
    }

    async fn wait(&mut self) -> Input {
        let deadline = self.engine.deadline().map(|at| self.start + Duration::from_nanos(at.0));
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => Input::Tick,
            Some(Ok((job, result))) = self.jobs.join_next() => Input::Done { job, result },
        }
    }

    fn carry_out(&mut self, output: Output, keeper: &Keeper) {
        match output {
            Output::Job { id, job } if super::words::is_for_root(&job) => {
                let doing = keeper.perform(without_contents(job));
                self.jobs.spawn(async move { (id, doing.await) });
            }
            Output::Job { id, .. } => {
                let why = "nobody is there who could fetch it".to_owned();
                self.inputs.push_back(Input::Done { job: id, result: Err(JobError::Disk { why }) });
            }
            Output::Event(Event::Phase { app, phase, .. }) => tracing::info!(%app, ?phase, "alone"),
            // There is nobody to speak with.
            _ => {}
        }
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Contents are the network half's.
fn without_contents(job: Job) -> Job {
    match job {
        Job::Collect { releases, .. } => Job::Collect { contents: Vec::new(), releases },
        job => job,
    }
}

fn config(keeper: &Keeper) -> Config {
    Config {
        fleet: keeper.pinned.fleet,
        role: Role::Agent,
        name: keeper.pinned.node.clone(),
        labels: keeper.pinned.labels.clone(),
        datacenter: Label::new("none").expect("a plain label"),
        listen: None,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        origins: Vec::new(),
        neighbours: 1,
        window_bytes: 1 << 20,
        patience: Duration::from_secs(1),
        redial: Duration::from_secs(1),
        given_order: false,
        limit: None,
        speaks: engine::wire::PROTOCOL,
        reads: Vec::new(),
    }
}
