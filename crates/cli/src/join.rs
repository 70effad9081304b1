//! `tiding join LINE`: makes this machine part of a fleet, once, and runs it.

use crate::failure::{Failure, Kind};
use crate::homes;
use crate::running::{self, Place};
use crate::settings::Settings;
use crate::speak;
use clap::Args;
use node::founding;
use node::join::{self as joining, JoinError, JoinLine};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Joins a fleet (once), and runs.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding join tiding1.…\n  tiding join tiding1.… --limit 50Mbit\n  echo tiding1.… | tiding join -      keeps the secret out of the \
    list of processes\n\nLater starts: `tiding run`, or the same line again, which does not join twice."
)]
pub(crate) struct Join {
    /// The line that `tiding up` or `tiding token` printed; `-` reads it from standard input
    line: String,
    #[command(flatten)]
    pub(crate) place: Place,
    /// What this node is called [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// Be the network half of a node: what changes this machine is done by the root half (`tiding hands`) behind this socket
    #[arg(long, value_name = "PATH")]
    pub(crate) hands: Option<PathBuf>,
}

impl Join {
    /// Runs until it is stopped.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let line = self.read_line()?;
        let home = settings.home(self.place.home.as_ref())?;
        let joined = !founding::is_founded(&home);
        if joined {
            let name = settings.name(self.name.as_ref()).or_else(homes::host_name);
            joining::join(&line, &home, name.as_deref()).await.map_err(|error| cannot_join(&home, &error))?;
        } else {
            speak::note(format!("{} belongs to a fleet already: not joining again, only running", home.display()));
        }
        let how = if joined { "joined" } else { "running" };
        running::start_agent(&self.place, settings, self.hands.as_ref(), how).await
    }

    fn read_line(&self) -> Result<JoinLine, Failure> {
        let text = match self.line.as_str() {
            "-" => first_line_of_stdin()?,
            line => line.to_owned(),
        };
        text.trim().parse().map_err(|bad| Failure::new(Kind::Usage, "this is no join line").because_and_next(bad))
    }
}

fn first_line_of_stdin() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| {
        Failure::new(Kind::Usage, "cannot read the join line from standard input")
            .because(error)
            .next("give it as an argument, or as one line of text: echo LINE | tiding join -")
    })?;
    Ok(line)
}

fn cannot_join(home: &Path, error: &JoinError) -> Failure {
    let what = format!("cannot join with {}", home.display());
    let failure = |kind| Failure::new(kind, &what);
    match error {
        JoinError::Unreachable(_) => failure(Kind::Unreachable).because_and_next(error),
        JoinError::NotTheFleet { .. } => failure(Kind::Refused).because(error).next(
            "make a new line with `tiding token`: one of before the fleet changed its CA leads nowhere; if it is right, something stands between you and the origin",
        ),
        JoinError::Refused(refusal) => {
            let refused = failure(Kind::Refused).because_and_next(refusal);
            match refused.next {
                Some(_) => refused,
                None => refused.next("make a new line with `tiding token` on the operator's machine"),
            }
        }
        JoinError::AlreadyJoined(_) => failure(Kind::Refused).because_and_next(error),
        JoinError::Clock(_) | JoinError::Protocol(_) | JoinError::Disk { .. } => {
            failure(Kind::Failed).because_and_next(error)
        }
    }
}
