//! `tiding upgrade FILE`: a new version of this program for the agents, as a release like any other.
//!
//! What is special stands in the release: its path is where `tiding launch` looks, its command after the switch has that start the new
//! version, and its probe asks whether the agent that runs is that very file. An agent that cannot be it goes back by itself.

use crate::deploy::Unreachable;
use crate::failure::{Failure, Kind};
use crate::launch::SOFTWARE;
use crate::launch::record::CURRENT;
use crate::parse;
use crate::publishing::Publishing;
use crate::settings::Settings;
use clap::Args;
use content::care::{Health, Hook, Hooks, Probe};
use content::order::Wave;
use content::{Digest, Release};
use node::own::{ITSELF, Settle};
use node::publish::DeployOptions;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::process::Command;
use tokio::time::timeout;

/// Brings a new version of this program to the agents.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding upgrade ./tiding-0.2.0\n  tiding upgrade ./tiding-0.2.0 --waves 1,10%,100% --on zone=a\n  \
    tiding rollback tiding                    back to the version before\n\n\
    Agents must have been started by `tiding launch`, as the service of the package does. Origins and the machines of operators are \
    upgraded by their package: do them first."
)]
pub(crate) struct Upgrade {
    /// The new program, for machines like this one
    #[arg(value_name = "FILE")]
    program: PathBuf,
    /// How many nodes switch, wave after wave, each when the one before is confirmed: counts or shares, the last one 100%
    #[arg(long, value_name = "WAVES", default_value = "1,10%,100%", value_delimiter = ',', value_parser = parse::wave)]
    waves: Vec<Wave>,
    /// Only these agents, by their labels, as with `tiding deploy`
    #[arg(long, value_name = "WHICH")]
    on: Vec<String>,
    /// What to do about those of them that are not connected
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Unreachable::Skip)]
    unreachable: Unreachable,
    /// How many nodes may fail before the rollout halts and all go back
    #[arg(long, value_name = "NODES", default_value_t = 0)]
    budget: u32,
    /// How long an agent must run the new version until that is confirmed; the launcher waits for ten minutes
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse::duration)]
    health_window: Duration,
    /// Why, for those who read `tiding status`
    #[arg(short, long, default_value = "")]
    message: String,
    /// Yes, also to many more agents than before
    #[arg(long)]
    yes: bool,
    /// Yes, also a program of quite another size than the one before
    #[arg(long)]
    yes_size: bool,
    /// How long a node that has trouble, or is gone, is waited for
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse::duration)]
    patience: Duration,
    /// How fast pieces may leave this machine: 50Mbit, 6MB [default: as the configuration says, or none]
    #[arg(long, value_name = "RATE", value_parser = parse::limit)]
    limit: Option<parse::Limit>,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Print the end as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

/// How long the command after the switch may take: the agent stops in order in that time, and is killed with it.
const SWAP: Duration = Duration::from_secs(180);
/// The longest window: the launcher's patience, with room for the start.
const LONGEST: Duration = Duration::from_secs(8 * 60);
/// How long a program may take to say its version.
const SAYS: Duration = Duration::from_secs(10);

impl Upgrade {
    /// Looks at the program, deploys it and waits for the end.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        if self.health_window > LONGEST {
            return Err(self
                .refused("the window is longer than the launcher waits for a confirmation")
                .next("say --health-window 8m at most"));
        }
        let bytes = std::fs::read(&self.program).map_err(|error| self.refused(error).next("check the path"))?;
        let version = self.version(&bytes).await?;
        let options = self.options(settings, version)?;
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let copy = plain(&bytes).map_err(|error| self.refused(error).next("is there room for temporary files?"))?;
        let source = copy.path().to_owned();
        let publishing = Publishing { operator_home, source, options, patience: self.patience, gate: None };
        publishing.carry_out().await?.conclude(self.json)
    }

    fn options(&self, settings: &Settings, version: String) -> Result<DeployOptions, Failure> {
        let options = DeployOptions {
            version: Some(version),
            message: self.message.clone(),
            selector: settings.select(&self.on)?,
            when_away: self.unreachable.into(),
            is_sure: self.yes,
            is_resized: self.yes_size,
            limit: settings.limit(self.limit)?,
            hooks: hooks(),
            health: health(),
            health_window: self.health_window,
            waves: self.waves.clone(),
            budget: self.budget,
            ..DeployOptions::new(ITSELF, &Path::new(SOFTWARE).join(CURRENT))
        };
        options.check().map_err(|why| self.refused(why))?;
        Ok(options)
    }

    /// What the program says of itself, and which build it is; refuses what is no program for machines like this one.
    async fn version(&self, bytes: &[u8]) -> Result<String, Failure> {
        let mut mine = Vec::new();
        let read = File::open("/proc/self/exe").and_then(|me| me.take(HEAD as u64).read_to_end(&mut mine));
        read.map_err(|error| self.refused(error))?;
        if !is_like(bytes, &mine) {
            return Err(self
                .refused("it is no program for machines like this one")
                .next("give a build for this architecture"));
        }
        let said = self.says().await?;
        let version = said.trim().strip_prefix("tiding ").filter(|version| !version.contains(char::is_whitespace));
        let version = version.ok_or_else(|| {
            self.refused(format!("asked for its version it says `{}`", said.trim())).next("give a build of tiding")
        })?;
        let build: String = Digest::of(bytes).to_string().chars().take(10).collect();
        let room = Release::MAX_VERSION - build.len() - 1;
        Ok(format!("{}+{build}", version.chars().filter(char::is_ascii).take(room).collect::<String>()))
    }

    async fn says(&self) -> Result<String, Failure> {
        let program = std::path::absolute(&self.program).map_err(|error| self.refused(error))?;
        let mut asked = Command::new(program);
        asked.arg("--version").kill_on_drop(true);
        let next = "it must run here to be looked at; is it executable?";
        let answered = timeout(SAYS, asked.output()).await;
        let answered =
            answered.map_err(|_| self.refused(format!("it does not say its version within {SAYS:?}")).next(next))?;
        let output = answered.map_err(|error| self.refused(error).next(next))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(self.refused(format!("asked for its version it ends with {}", output.status)).next(next)),
        }
    }

    fn refused(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(Kind::Refused, format!("cannot upgrade to {}", self.program.display())).because(why)
    }
}

/// The program as it is published: the very bytes that were looked at, with the mode of a program, whatever the file has here; and of whoever
/// publishes, which is root where agents are root (what anyone else deploys belongs to root there).
fn plain(bytes: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut copy = NamedTempFile::new()?;
    copy.write_all(bytes)?;
    copy.as_file().set_permissions(Permissions::from_mode(0o755))?;
    copy.as_file().sync_all().map(|()| copy)
}

fn hook(line: String, timeout: Duration) -> Hook {
    Hook { line, user: None, timeout_ms: timeout.as_millis() as u32 }
}

fn hooks() -> Hooks {
    Hooks { after: Some(hook(Settle::Swap.line(), SWAP)), ..Hooks::default() }
}

fn health() -> Health {
    Health { probes: vec![Probe::Command(hook(Settle::Look.line(), SAYS))], ..Health::default() }
}

/// How much of a program says for which machines it is.
const HEAD: usize = 20;

/// Whether both begin as ELF programs of one class, byte order and machine (System V ABI, chapter 4: `e_ident`, `e_type`, `e_machine`).
fn is_like(program: &[u8], mine: &[u8]) -> bool {
    let machine = |bytes: &[u8]| -> Option<[u8; 4]> {
        let head = bytes.get(..HEAD).filter(|head| head.starts_with(b"\x7fELF"))?;
        let is_program = matches!(head[16].max(head[17]), 2 | 3);
        is_program.then(|| [head[4], head[5], head[18], head[19]])
    };
    machine(program).is_some_and(|of| machine(mine) == Some(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_other_machines_is_not_taken_for_one() {
        let me = std::fs::read("/proc/self/exe").expect("this program");
        assert!(is_like(&me, &me[..HEAD]));
        let mut other = me[..HEAD].to_vec();
        other[18] ^= 1;
        assert!(!is_like(&other, &me));
        assert!(!is_like(b"#!/bin/sh\nexit 0\n###", &me) && !is_like(&me[..HEAD - 1], &me) && !is_like(b"", b""));
    }

    #[test]
    fn what_is_published_has_the_mode_of_a_program_and_is_the_publishers() {
        let copy = plain(b"bytes").expect("copied");
        assert_eq!(std::fs::read(copy.path()).expect("it is there"), b"bytes");
        assert_eq!(copy.as_file().metadata().expect("it is there").permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn the_release_says_itself_how_it_is_started_and_when_it_is_well() {
        let after = hooks().after.expect("a command").line;
        assert!(after.starts_with("exec /proc/$PPID/exe settle --agent $PPID"));
        assert!(after.ends_with("\"${TIDING_PATH%/*}\""), "{after}");
        let Probe::Command(probe) = &health().probes[0] else { panic!("a command") };
        assert_eq!(probe.line, format!("{after} --look"));
    }
}
