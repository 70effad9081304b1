//! `tiding playground DIR`: an origin and agents as real processes on this machine, joined by the real join path over mTLS.
//!
//! It is a user of the other commands: it starts this very program with `up` and `join`, and publishes like `deploy`. The fleet
//! ends with it unless `--keep` was given.

mod child;
mod fleet;
mod outcome;
mod place;

use crate::failure::{Failure, Kind};
use crate::parse;
use crate::publishing::Publishing;
use crate::running::stop_signal;
use crate::speak;
use crate::words;
use clap::{Args, Subcommand};
use fleet::Fleet;
use node::publish::DeployOptions;
use outcome::Outcome;
use place::Place;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See it work: an origin and agents as real processes on this machine.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:\n  tiding playground ./some/dir\n  \
    tiding playground ./some/dir --nodes 16 --dir /tmp/fleet --keep\n  \
    tiding playground stop --dir /tmp/fleet\n\n\
    Exit code 1 when the origin sent more than 1.3 copies in all (and two pieces of 64 KiB, which tiny contents need),\n\
    5 when a node is not live. With --json, standard output has one object per node and line.")]
pub(crate) struct Playground {
    #[command(subcommand)]
    action: Option<Action>,
    /// The directory or file to bring to every node
    #[arg(value_name = "DIR", required = true)]
    source: Option<PathBuf>,
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=500))]
    nodes: u16,
    /// Where everything is written: an empty or new directory [default: a temporary one]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Leave the fleet running at the end
    #[arg(long)]
    keep: bool,
    /// Print one JSON object per node and line on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Stop a fleet that was kept
    #[command(after_help = "Example:\n  tiding playground stop --dir /tmp/fleet")]
    Stop {
        /// Where it was written
        #[arg(long, value_name = "D")]
        dir: PathBuf,
    },
}

/// Where the release goes, inside each node's root.
pub(crate) const TARGET: &str = "/srv/app";

/// How long a node that has trouble is waited for: all are on this machine.
const PATIENCE: Duration = Duration::from_secs(10);

impl Playground {
    /// Plays, or stops what was kept.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        match (&self.action, &self.source) {
            (Some(Action::Stop { dir }), _) => place::stop(dir),
            (None, Some(source)) => self.play(source).await,
            (None, None) => Err(Failure::new(Kind::Usage, "there is nothing to bring").next("tiding playground DIR")),
        }
    }

    async fn play(&self, source: &Path) -> Result<(), Failure> {
        if let Err(error) = std::fs::symlink_metadata(source) {
            let what = format!("cannot bring {}", source.display());
            return Err(Failure::new(Kind::Usage, what).because(error).next("name a directory or a file that exists"));
        }
        let mut place = Place::make(self.dir.as_deref(), self.keep)?;
        let mut fleet = Fleet::new(&place, self.keep);
        let outcome = tokio::select! {
            biased;
            outcome = self.bring(source, &place, &mut fleet) => outcome?,
            signal = stop_signal(false) => return Err(Failure::new(Kind::Interrupted, "the playground ends")
                .because(signal?)
                .next("nothing is left of it, but for what --dir named")),
        };
        outcome.print(self.json);
        if self.keep {
            fleet.leave();
            place.keep();
        } else {
            fleet.stop();
        }
        if !self.json {
            outcome.say_what_next(&place, self.keep);
        }
        outcome.verdict()
    }

    async fn bring(&self, source: &Path, place: &Place, fleet: &mut Fleet) -> Result<Outcome, Failure> {
        let nodes = words::count(usize::from(self.nodes), "agent");
        speak::note(format!(
            "starting   an origin and {nodes}, each a process of its own, in {}",
            place.dir().display()
        ));
        fleet.start(self.nodes).await?;
        speak::note(format!("up         {nodes} joined over mTLS"));
        let app = parse::name_from(&std::path::absolute(source).unwrap_or_else(|_| source.to_owned()));
        let app = app.unwrap_or_else(|| "app".to_owned());
        let publishing = Publishing {
            operator_home: place.operator_home(),
            source: source.to_owned(),
            options: DeployOptions { health_window: Duration::ZERO, ..DeployOptions::new(&app, Path::new(TARGET)) },
            patience: PATIENCE,
            gate: None,
        };
        let ended = tokio::select! {
            ended = publishing.carry_out() => ended?,
            died = fleet.died() => return Err(died),
        };
        Ok(Outcome::new(ended, place))
    }
}
