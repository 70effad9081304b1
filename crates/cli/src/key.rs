//! `tiding key move`.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use clap::{Args, Subcommand};
use node::client::{Client, ClientError};
use node::moving::{self, MoveError, Moved, Placement, What};
use std::path::{Path, PathBuf};

/// Brings an operator's keys elsewhere, so that they do not lie on the origin's machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding key move /mnt/stick/tiding\n  tiding key move /mnt/drawer/root --root")]
pub(crate) struct Key {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Move them to a directory, make sure that they work from there, and remove them here
    Move(Move),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding key move /mnt/stick/tiding             everything: then say --operator-home /mnt/stick/tiding\n  \
    tiding key move /mnt/drawer/root --root       the fleet's root key alone; `operator add` takes it with --root-key\n\n\
    The copy is made and read again before anything is removed, nothing at DIR is ever replaced, and a move that was interrupted \
    is ended by the same command. What was here is overwritten, as far as a file system does that: flash, snapshots and backups may \
    keep what they had. If somebody else may have read the keys, make new ones with `tiding operator add`, and remove these."
)]
struct Move {
    /// The directory to make: on a stick, or one that you then bring to a machine of yours
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Only root.key, which says who the operators are and is needed for `tiding operator` alone
    #[arg(long)]
    root: bool,
    /// Where the keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

const WHAT: &str = "cannot move the keys";

impl Key {
    /// Does what was asked.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let Verb::Move(asked) = &self.verb;
        let from = settings.operator_home(asked.operator_home.as_ref())?;
        let to = crate::homes::absolute(&asked.to)?;
        let moved = match asked.root {
            true => moving::copy(&from, &to, What::RootKey).and_then(moving::Copied::remove).map_err(failed)?,
            false => everything(&from, &to).await?,
        };
        say(&moved, asked.root);
        Ok(())
    }
}

/// Moves a whole home; the origin, if it answers, must take the keys from there.
async fn everything(from: &Path, to: &Path) -> Result<Moved, Failure> {
    let copied = moving::copy(from, to, What::Everything).map_err(failed)?;
    match ask(copied.to()).await {
        Ok(()) => speak::note("the copy is whole, and the origin takes it"),
        Err(ClientError::Unreachable(why)) => {
            speak::warning(format!("the copy is whole; the origin could not be asked whether it takes it: {why}"));
        }
        Err(error) => return Err(failed(MoveError::NotTaken(error))),
    }
    copied.remove().map_err(failed)
}

async fn ask(operator_home: &Path) -> Result<(), ClientError> {
    Client::open(operator_home)?.status().await.map(drop)
}

fn say(moved: &Moved, is_root: bool) {
    let at = moved.to.display();
    speak::result(format!("moved to {at}: {}", moved.removed.join(", ")));
    if moved.is_open {
        speak::warning(format!("others can read {at}: on a stick without modes the mount decides who (umask=077)"));
    }
    if moved.is_same_disk {
        speak::warning(format!(
            "{at} is on the file system where they were: bring that directory to another machine, and remove it here"
        ));
    }
    speak::note(
        "what was here is overwritten and removed; what flash, snapshots or backups kept of it nobody can tell",
    );
    match is_root {
        true => speak::note(format!("  tiding operator add NAME --out DIR --root-key {at}")),
        false => speak::note(format!("  tiding status --operator-home {at}")),
    }
}

/// Says that the keys lie where they should not, as long as they do.
pub(crate) fn nag(operator_home: &Path, settings: &Settings) {
    let Ok(home) = settings.home(None) else { return };
    if let Some([what, next]) = Placement::look(operator_home, &home).notice() {
        speak::warning(format!("{what}; {next}"));
    }
}

fn failed(error: MoveError) -> Failure {
    match &error {
        MoveError::NotTaken(error) => Failure::asking(format!("{WHAT}; nothing was removed here"), error),
        MoveError::Nothing(_) | MoveError::Refused(_) => Failure::new(Kind::Refused, WHAT).because_and_next(error),
        MoveError::Useless(_) => Failure::new(Kind::Failed, WHAT).because_and_next(error),
        MoveError::Disk { .. } => Failure::new(Kind::Failed, WHAT)
            .because(error)
            .next("look at that place, and say the same command again: it goes on"),
    }
}
