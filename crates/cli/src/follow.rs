//! Following a rollout on the screen until nothing is left to wait for; how `deploy`, `rollback` and the playground end.

use crate::failure::{Failure, Kind};
use crate::keeper::Keeper;
use crate::report::{self, Story};
use crate::roads;
use crate::rollout::{Judge, Standing, Verdict};
use crate::screen::Screen;
use crate::speak;
use crate::words;
use node::api::{FleetStatus, RoadStatus, Role};
use node::escape::escape;
use node::publish::Deployed;
use node::watching::Watching;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an origin may be away before it is not waited for, by those who follow and those who still publish.
pub(crate) const AWAY: Duration = Duration::from_secs(60);

/// How a rollout ended.
pub(crate) struct Ended {
    /// What was deployed.
    pub(crate) deployed: Deployed,
    /// Where every node stands.
    pub(crate) standings: Vec<Standing>,
    /// The status in which it ended.
    pub(crate) status: Arc<FleetStatus>,
}

/// Follows until every node is confirmed or given up on, or a newer order comes.
pub(crate) async fn follow(
    deployed: Deployed,
    judge: &mut Judge,
    story: &mut Story,
    watching: &mut Watching,
    (screen, keeper): (&mut Screen, &mut Keeper),
) -> Result<Ended, Failure> {
    judge.goal.release = deployed.release.to_string();
    judge.goal.selector.clone_from(&deployed.selector);
    judge.goal.order = Some((deployed.order.to_string(), deployed.epoch));
    loop {
        let seen = watching.seen();
        if let Some((since, why)) = &seen.lost {
            screen.update(waiting(since.elapsed()));
            if since.elapsed() > AWAY {
                return Err(out_of_sight(why));
            }
        } else if let Some(status) = seen.status {
            if let Some(newer) = judge.superseded(&status) {
                return Err(Failure::new(Kind::Refused, "another order took the place of this one")
                    .because(newer)
                    .next("`tiding status` shows what it orders; give yours again if it is still wanted"));
            }
            if let Some(line) = judge.rollout(&status).and_then(|rollout| keeper.look(rollout)) {
                screen.keep(line);
            }
            let standings = judge.judge(&status, Instant::now());
            story.tell(&standings, screen);
            if standings.iter().all(|standing| standing.verdict != Verdict::Going) {
                return Ok(Ended { deployed, standings, status });
            }
        }
        tokio::select! {
            () = watching.changed() => {}
            line = keeper.answered() => screen.keep(line),
        }
    }
}

/// What is said while nothing can be seen: for whom it waits.
pub(crate) fn waiting(since: Duration) -> String {
    format!("waiting    no origin answers for {}", words::duration(since))
}

fn out_of_sight(why: &str) -> Failure {
    Failure::new(Kind::Unreachable, "cannot see how the rollout goes on; it was ordered, and goes on by itself")
        .because(why)
        .next("`tiding status` tells, as soon as an origin answers")
}

/// The end of a rollout, for programs.
#[derive(Debug, Serialize)]
struct EndedJson<'a> {
    app: &'a str,
    version: &'a str,
    release: String,
    order: String,
    epoch: u64,
    nodes: Vec<NodeJson<'a>>,
    roads: &'a [RoadStatus],
}

/// A node at the end of a rollout, for programs. Times are milliseconds since it was told.
#[derive(Debug, Serialize)]
struct NodeJson<'a> {
    node: &'a str,
    confirmed: bool,
    phase: Option<&'static str>,
    why: Option<&'a str>,
    first_byte_ms: Option<f64>,
    complete_ms: Option<f64>,
    live_ms: Option<f64>,
    confirmed_ms: Option<f64>,
    bytes_from_origin: u64,
    bytes_from_peers: u64,
    bytes_had: u64,
}

impl<'a> From<&'a Standing> for NodeJson<'a> {
    fn from(standing: &'a Standing) -> Self {
        let app = standing.app.as_ref();
        let time = |of: fn(&node::api::Timeline) -> Option<u64>| {
            app.and_then(|app| of(&app.timeline)).map(|micros| micros as f64 / 1000.0)
        };
        let why = match &standing.verdict {
            Verdict::GivenUp(why) | Verdict::Absent(why) => Some(why.as_str()),
            Verdict::Going | Verdict::Confirmed => None,
        };
        Self {
            node: &standing.name,
            confirmed: standing.verdict == Verdict::Confirmed,
            phase: app.map(|app| report::phase_word(app.phase)),
            why,
            first_byte_ms: time(|timeline| timeline.first_byte_us),
            complete_ms: time(|timeline| timeline.complete_us),
            live_ms: time(|timeline| timeline.live_us),
            confirmed_ms: time(|timeline| timeline.confirmed_us),
            bytes_from_origin: app.map_or(0, |app| app.from_origin),
            bytes_from_peers: app.map_or(0, |app| app.from_peers),
            bytes_had: app.map_or(0, |app| app.had),
        }
    }
}

impl Ended {
    /// Prints how it ended, and fails when some nodes did.
    pub(crate) fn conclude(&self, json: bool) -> Result<(), Failure> {
        if json {
            self.print_json()
        } else {
            self.print()
        }
        self.verdict()
    }

    fn print(&self) {
        let Deployed { app, version, epoch, .. } = &self.deployed;
        report::table(&self.standings).into_iter().for_each(speak::result);
        roads::lines(self.roads()).into_iter().for_each(speak::result);
        let confirmed = self.standings.iter().filter(|standing| standing.verdict == Verdict::Confirmed).count();
        let nodes = words::count(self.standings.len(), "node");
        speak::result(format!(
            "{} {} is confirmed on {confirmed} of {nodes} (epoch {epoch})",
            escape(app),
            escape(version)
        ));
        if self.standings.is_empty() {
            speak::note(match self.status.nodes.iter().any(|node| node.role == Role::Agent) {
                true => "no agent has these labels yet: each one that joins with them will get it",
                false => "no agent is there yet: each one that joins will get it",
            });
        }
    }

    fn roads(&self) -> &[RoadStatus] {
        let release = self.deployed.release.to_string();
        let rollout = self.status.apps.iter().find(|rollout| rollout.app == self.deployed.app);
        rollout.filter(|rollout| rollout.release == release).map_or(&[], |rollout| &rollout.roads)
    }

    fn print_json(&self) {
        let Deployed { app, version, release, order, epoch, .. } = &self.deployed;
        let nodes = self.standings.iter().map(NodeJson::from).collect();
        let (release, order) = (release.to_string(), order.to_string());
        speak::json(&EndedJson { app, version, release, order, epoch: *epoch, nodes, roads: self.roads() });
    }

    fn verdict(&self) -> Result<(), Failure> {
        let reasons = report::reasons(&self.standings).join("\n");
        let failed = self.standings.iter().filter(|standing| matches!(standing.verdict, Verdict::GivenUp(_))).count();
        if !self.standings.is_empty() && self.standings.iter().all(is_absent) {
            return Err(Failure::new(
                Kind::Partial,
                "no agent was reached; the order stands, and they get it when they come back",
            )
            .because(reasons)
            .next("check that the agents run and can reach the origin; `tiding status` shows when they do"));
        }
        if failed == 0 {
            if !reasons.is_empty() {
                speak::note(format!("not reached (they converge when they come back):\n{reasons}"));
            }
            return Ok(());
        }
        let what = format!("{} of {} did not confirm", failed, words::count(self.standings.len(), "node"));
        Err(Failure::new(Kind::Partial, what)
            .because(reasons)
            .next("`tiding status` shows them; nodes go on trying by themselves, `tiding rollback` takes all back"))
    }
}

fn is_absent(standing: &Standing) -> bool {
    matches!(standing.verdict, Verdict::Absent(_))
}
