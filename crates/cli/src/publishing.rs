//! A deploy from reading a tree to its end on every node, on the screen, with a Ctrl-C that says what stands.

use crate::failure::{Failure, Kind};
use crate::follow::{AWAY, Ended, follow, waiting};
use crate::keeper::Keeper;
use crate::report::Story;
use crate::rollout::{Goal, Judge};
use crate::screen::Screen;
use crate::words;
use node::client::Client;
use node::escape::escape_lines;
use node::gate::GateCommand;
use node::publish::{self, DeployError, DeployOptions, Deployed, ImportError, LeftOut, Progress};
use node::selection::{BadSelection, WhenAway};
use node::watching::{Seen, Watching};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinError;

/// A deploy to carry out.
pub(crate) struct Publishing {
    /// Where the keys are.
    pub(crate) operator_home: PathBuf,
    /// The directory or file.
    pub(crate) source: PathBuf,
    /// What to do with it.
    pub(crate) options: DeployOptions,
    /// How long a node that does not move is waited for.
    pub(crate) patience: Duration,
    /// What answers its gates, if not a person.
    pub(crate) gate: Option<GateCommand>,
}

/// How far a deploy is, which says what a Ctrl-C leaves behind.
enum Stage {
    Reading,
    Submitted,
    Ordered,
}

/// What is going on while a deploy is carried out.
struct Scene {
    stage: Stage,
    began: Instant,
    story: Story,
    judge: Judge,
    screen: Screen,
    agents_seen: bool,
    /// Whether there is a patch from what was deployed before.
    has_patch: bool,
}

impl Publishing {
    /// Publishes, then follows the rollout to its end.
    pub(crate) async fn carry_out(self) -> Result<Ended, Failure> {
        let client = Client::open(&self.operator_home).map_err(|error| Failure::asking(self.what(), &error))?;
        let mut scene = Scene::new(&self.options, self.patience);
        let what = self.what();
        tokio::select! {
            ended = scene.play(self, client) => return ended,
            interrupted = tokio::signal::ctrl_c() => interrupted
                .map_err(|error| Failure::new(Kind::Failed, "cannot listen for Ctrl-C").because(error))?,
        }
        Err(scene.interrupted(&what))
    }

    fn what(&self) -> String {
        format!("cannot deploy {}", self.source.display())
    }
}

impl Scene {
    fn new(options: &DeployOptions, patience: Duration) -> Self {
        let waits = options.when_away == WhenAway::Wait;
        let goal = Goal { app: options.app.clone(), selector: options.selector.clone(), waits, ..Goal::default() };
        Self {
            stage: Stage::Reading,
            began: Instant::now(),
            story: Story::new(0),
            judge: Judge::new(goal, patience + options.longest_switch()),
            screen: Screen::new(),
            agents_seen: false,
            has_patch: false,
        }
    }

    async fn play(&mut self, publishing: Publishing, client: Client) -> Result<Ended, Failure> {
        let what = publishing.what();
        let mut watching = Watching::start(client);
        let (say, mut said) = mpsc::unbounded_channel();
        let Publishing { operator_home, source, options, gate, .. } = publishing;
        let mut keeper = Keeper::with(gate, operator_home.clone());
        let mut work = Aborting(tokio::spawn(async move {
            publish::deploy(&operator_home, &source, &options, |progress| drop(say.send(progress))).await
        }));
        let deployed = loop {
            tokio::select! {
                biased;
                Some(progress) = said.recv() => self.hear(progress),
                outcome = &mut work.0 => break concluded(&what, outcome)?,
                () = watching.changed(), if matches!(self.stage, Stage::Submitted | Stage::Ordered) => {
                    self.look(&watching);
                    if matches!(self.stage, Stage::Submitted) {
                        not_away(&what, &watching.seen(), Instant::now())?;
                    }
                }
            }
        };
        self.stage = Stage::Ordered;
        follow(deployed, &mut self.judge, &mut self.story, &mut watching, (&mut self.screen, &mut keeper)).await
    }

    fn hear(&mut self, progress: Progress) {
        let took = self.began.elapsed();
        match progress {
            Progress::Reading { bytes } => {
                let rate = words::rate(bytes, took);
                self.screen.update(format!("reading    {}, {rate}", words::size(bytes)));
            }
            Progress::Selected(selection) => self.screen.keep(format!("to         {selection}")),
            Progress::Found { entries, bytes, notes, left_out } => {
                self.found(entries as usize, bytes, &notes);
                lines_left_out(&left_out).into_iter().for_each(|line| self.screen.keep(line));
            }
            Progress::Patching => self.screen.update("patch      is being made".to_owned()),
            Progress::Patch { bytes: Some(bytes) } => {
                self.has_patch = true;
                self.screen.keep(format!("patch      {}, for an origin that has its base", words::size(bytes)));
            }
            Progress::Patch { bytes: None } => {
                self.screen.keep("patch      none: it is the same, or a patch would be no shorter".to_owned());
            }
            Progress::Submitted { release, version } => {
                self.judge.goal.release = release.to_string();
                self.stage = Stage::Submitted;
                self.screen.keep(format!("submitted  {version}, release {}", words::short(&release.to_string())));
            }
            // Once the origin tells of agents, how far those are says more.
            Progress::Spreading { .. } if self.agents_seen => {}
            Progress::Spreading { sent, total } => self.screen.update(format!(
                "spreading  {} of {} have left this machine",
                words::size(sent),
                words::size(total)
            )),
            Progress::Ordered { epoch, sent, .. } => {
                self.stage = Stage::Ordered;
                if self.has_patch {
                    self.screen.keep(format!("sent       {}", words::size(sent)));
                }
                self.screen.keep(format!("ordered    epoch {epoch}; from here it goes on by itself"));
            }
        }
    }

    fn found(&mut self, entries: usize, bytes: u64, notes: &[String]) {
        let entries = format!("{entries} {}", if entries == 1 { "entry" } else { "entries" });
        let took = self.began.elapsed();
        let (rate, took) = (words::rate(bytes, took), words::duration(took));
        self.screen.keep(format!("read       {entries}, {} in {took} ({rate})", words::size(bytes)));
        for note in notes {
            self.screen.keep(format!("           note: {}", escape_lines(note)));
        }
        self.story = Story::new(bytes);
    }

    fn look(&mut self, watching: &Watching) {
        let seen = watching.seen();
        if let Some((since, _)) = &seen.lost {
            self.screen.update(waiting(since.elapsed()));
        } else if let Some(status) = seen.status
            && self.judge.rollout(&status).is_some()
        {
            let standings = self.judge.judge(&status, Instant::now());
            self.agents_seen |= !standings.is_empty();
            self.story.tell(&standings, &mut self.screen);
        }
    }

    fn interrupted(self, what: &str) -> Failure {
        let (why, next) = match self.stage {
            Stage::Reading => ("interrupted before anything was submitted: nothing has happened", "give it again"),
            Stage::Submitted => (
                "interrupted before the order was confirmed: it was given wholly or not at all",
                "`tiding status` tells; giving it again resumes with the pieces that have arrived",
            ),
            Stage::Ordered => (
                "interrupted after the order was given: the rollout goes on by itself",
                "`tiding status` shows it; `tiding rollback` takes it back",
            ),
        };
        let what = if matches!(self.stage, Stage::Ordered) { "not waiting for the end" } else { what };
        Failure::new(Kind::Interrupted, what).because(why).next(next)
    }
}

/// Fails once no origin has answered for too long: without one, a deploy would wait for ever.
fn not_away(what: &str, seen: &Seen, now: Instant) -> Result<(), Failure> {
    match &seen.lost {
        Some((since, why)) if now.saturating_duration_since(*since) > AWAY => {
            Err(Failure::new(Kind::Unreachable, what)
                .because(format!(
                    "no origin has answered for more than {}, and nothing was ordered before that ({why})",
                    words::duration(AWAY)
                ))
                .next("the same command may be repeated as soon as an origin answers: what has arrived is kept there"))
        }
        _ => Ok(()),
    }
}

/// Work that ends when nobody waits for it any more.
struct Aborting<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn concluded(what: &str, outcome: Result<Result<Deployed, DeployError>, JoinError>) -> Result<Deployed, Failure> {
    match outcome {
        Ok(result) => result.map_err(|error| cannot_deploy(what, &error)),
        Err(panicked) => Err(Failure::new(Kind::Failed, what)
            .because(panicked)
            .next("`tiding status` tells whether it was ordered; if not, give it again")),
    }
}

/// What to do about a selection that was refused.
fn next_of(bad: &BadSelection) -> &'static str {
    match bad {
        BadSelection::Nobody { .. } => "nothing was published; `tiding status` lists agents and their labels",
        BadSelection::Surprising { .. } => {
            "nothing was published; say --yes if all of them are meant, or --on for some, for example --on role=web"
        }
        BadSelection::Unreadable { .. } => {
            "nothing was published; upgrade them first with `tiding upgrade`, choose others with --on, or deploy without these"
        }
        BadSelection::TooOld { .. } => {
            "nothing was published; upgrade them first with `tiding upgrade`, or choose others with --on"
        }
        BadSelection::Away { .. } => "nothing was published; --unreachable skip goes on without them",
    }
}

/// Puts into words why a deploy or a rollback did not happen.
pub(crate) fn cannot_deploy(what: &str, error: &DeployError) -> Failure {
    match error {
        DeployError::Invalid(why) => Failure::new(Kind::Usage, what).because_and_next(why),
        DeployError::Client(error) => Failure::asking(what, error),
        DeployError::Import(error @ ImportError::Empty(_)) => Failure::new(Kind::Refused, what)
            .because(error)
            .next("correct the patterns there, or say --no-ignore to publish everything; nothing was published"),
        DeployError::Import(error) => {
            let changed = error.to_string().ends_with("changed while it was read");
            let next = match changed {
                true => "deploy again when nothing writes there any more",
                false => "change or remove what is named above and deploy again; nothing was published",
            };
            let kind = if changed { Kind::Failed } else { Kind::Refused };
            Failure::new(kind, what).because(error).next(next)
        }
        DeployError::Selection(bad) => Failure::new(Kind::Refused, what).because(bad).next(next_of(bad)),
        DeployError::Unusual { now, before } => Failure::new(Kind::Refused, what)
            .because(format!("it has {}, and the release before has {}", words::size(*now), words::size(*before)))
            .next("nothing was published; look at the directory, and say --yes-size if that is what you mean"),
        DeployError::Powerless { .. } => Failure::new(Kind::Refused, what)
            .because(error)
            .next("nothing was published; leave --gate-command out and have somebody else say `tiding promote`, or have it allowed"),
        DeployError::Busy(_) => Failure::new(Kind::Refused, what).because_and_next(error),
        DeployError::Base { .. } => {
            Failure::new(Kind::Failed, what).because(error).next("name what was deployed before, or leave --base out")
        }
        DeployError::Source { .. } => Failure::new(Kind::Failed, what).because(error).next("check the path"),
    }
}

/// What was left out, and by which file of patterns: a line for each.
pub(crate) fn lines_left_out(left_out: &[LeftOut]) -> Vec<String> {
    let line = |LeftOut { by, entries }: &LeftOut| {
        let entries = format!("{entries} {}", if *entries == 1 { "entry" } else { "entries" });
        format!("left out   {entries} by {}", escape_lines(by))
    };
    left_out.iter().map(line).collect()
}

/// Refuses a path that no release may have, before anything is read.
pub(crate) fn check_target(path: &Path) -> Result<(), Failure> {
    let wrong = |why: &str| {
        Err(Failure::new(Kind::Usage, format!("cannot deploy to {}", path.display()))
            .because(why)
            .next("give an absolute path below which nothing else lives, for example --to /srv/app"))
    };
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    match (path.is_absolute(), climbs, path.file_name()) {
        (false, _, _) => wrong("the path is relative, and servers have no working directory"),
        (_, true, _) => wrong("the path climbs with `..`"),
        (_, _, None) => wrong("the path names no place of its own"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_stays_away_while_it_is_published_ends_the_deploy() {
        let since = Instant::now();
        let lost = Seen { lost: Some((since, "connection refused".to_owned())), ..Seen::default() };
        assert!(not_away("it", &lost, since + AWAY).is_ok(), "it may come back");
        let gone = not_away("it", &lost, since + AWAY + Duration::from_secs(1)).expect_err("it did not");
        assert_eq!(gone.kind, Kind::Unreachable);
        assert!(gone.why.is_some_and(|why| why.contains("nothing was ordered") && why.contains("refused")));
        assert!(gone.next.is_some_and(|next| next.contains("repeated")));
        assert!(not_away("it", &Seen::default(), since + AWAY * 2).is_ok(), "it was never lost");
    }

    #[test]
    fn a_target_is_absolute_does_not_climb_and_has_a_name() {
        assert!(check_target(Path::new("/srv/app")).is_ok());
        for wrong in ["srv/app", "/srv/../etc", "/", "/srv/.."] {
            assert_eq!(check_target(Path::new(wrong)).map_err(|failure| failure.kind), Err(Kind::Usage), "{wrong}");
        }
    }
}
