//! `tiding up`: founds a fleet if there is none, runs its origin, and says how others join.

use crate::failure::{Failure, Kind};
use crate::homes;
use crate::running::{self, Place, Ready};
use crate::settings::Settings;
use crate::speak;
use clap::Args;
use node::api::Refusal;
use node::daemon::{IssueError, Running};
use node::founding::{self, FoundError, FoundOptions};
use node::join::JoinTerms;
use node::reach;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Founds a fleet on this machine (once), and runs its origin.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding up\n  tiding up --advertise 203.0.113.7:7443 --datacenter fra1\n  \
    tiding up --limit 200Mbit\n\n\
    The operator's keys, which say what may run, are put into --operator-home. Whoever has them can deploy.")]
pub(crate) struct Up {
    #[command(flatten)]
    place: Place,
    /// Where the operator's keys are kept [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// An address at which other machines reach this one; may be given several times [default: where it listens, or
    /// the address by which this machine goes out]
    #[arg(long, value_name = "ADDRESS")]
    advertise: Vec<SocketAddr>,
    /// What the origin is called [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// What the datacenter is called [default: dc1]
    #[arg(long)]
    datacenter: Option<String>,
}

impl Up {
    /// Runs until it is stopped.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let home = settings.home(self.place.home.as_ref())?;
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let advertise = settings.advertise(&self.advertise);
        check_advertised(&advertise)?;
        let founded = !founding::is_founded(&home);
        if founded {
            self.found(settings, &home, &operator_home)?;
        } else if !advertise.is_empty() {
            founding::set_advertised(&home, &advertise).map_err(|error| cannot_found(&home, &error))?;
        }
        let running = running::start(&self.place, settings).await?;
        if !founded && is_of_this_fleet(&operator_home, &home) {
            renew(&operator_home, &home);
        }
        if is_of_this_fleet(&operator_home, &home) && !running.reached().is_empty() {
            founding::set_origins(&operator_home, running.reached())
                .map_err(|error| cannot_found(&operator_home, &error))?;
        }
        let line = running.issue_join_line(JoinTerms::default()).await.map_err(cannot_issue)?;
        self.say(&running, &line.to_string(), founded.then_some(&operator_home));
        running::until_stopped(running, &self.place).await
    }

    fn found(&self, settings: &Settings, home: &Path, operator_home: &Path) -> Result<(), Failure> {
        let listen = running::listen(&self.place, settings);
        let name = settings.name(self.name.as_ref()).or_else(homes::host_name).unwrap_or_else(|| "origin".to_owned());
        let options = FoundOptions {
            home: home.to_owned(),
            operator_home: operator_home.to_owned(),
            listen,
            advertise: settings.advertise(&self.advertise),
            name,
            datacenter: settings.datacenter(self.datacenter.as_ref()),
            operator: homes::user_name(),
        };
        founding::found(&options).map_err(|error| cannot_found(home, &error))
    }

    fn say(&self, running: &Running, line: &str, keys: Option<&PathBuf>) {
        if let Some(keys) = keys {
            speak::warning(format!(
                "the operator's keys, which say what may run, lie in {} on the origin's machine. Whoever takes this \
                 machine can deploy: `tiding key move DIR` brings them to a stick, or to a directory that you take to where you work.",
                keys.display()
            ));
        }
        let (node, address) = (running.name(), running.address());
        if self.place.json {
            let join = Some(line.to_owned());
            return speak::json(&Ready {
                node,
                id: running.node().to_string(),
                address,
                join,
                metrics: running.metrics(),
            });
        }
        speak::result(format!("origin {} is up on {address}", node::escape::escape(node)));
        speak::result("\nOn every other machine, within the hour (it holds a secret; it is good for 100 agents):\n");
        speak::result(format!("  tiding join {line}\n"));
        speak::result("Then, here:\n\n  tiding deploy ./build --to /srv/app\n  tiding status\n");
    }
}

/// Renews the operator's certificate when it is old; who cannot is told, and runs all the same.
fn renew(operator_home: &Path, home: &Path) {
    match founding::renew_operator(operator_home, home) {
        Ok(true) => {
            speak::note(format!("the operator's certificate in {} was old and is renewed", operator_home.display()))
        }
        Ok(false) => {}
        Err(error) => speak::warning(format!("the operator's certificate cannot be renewed: {error}")),
    }
}

/// Whether the keys there are of the fleet that this home belongs to: other fleets' keys are left as they are.
fn is_of_this_fleet(operator_home: &Path, home: &Path) -> bool {
    let root = |dir: &Path| std::fs::read(dir.join("root.signed")).ok();
    root(operator_home).is_some_and(|theirs| root(&home.join("identity")) == Some(theirs))
}

fn cannot_found(at: &Path, error: &FoundError) -> Failure {
    let failure = |kind| Failure::new(kind, format!("cannot found a fleet in {}", at.display()));
    match error {
        FoundError::AlreadyFounded(path) if path != at && !path.starts_with(at) => failure(Kind::Refused)
            .because(format!("{} holds an operator's keys already", path.display()))
            .next("name another directory with --operator-home: each fleet has keys of its own"),
        FoundError::AlreadyFounded(_) => failure(Kind::Refused).because_and_next(error),
        FoundError::BadName(_) => failure(Kind::Usage).because(error).next("name it with --name or --datacenter"),
        FoundError::Failed(_) | FoundError::Disk { .. } => failure(Kind::Failed).because_and_next(error),
    }
}

fn cannot_issue(error: IssueError) -> Failure {
    let what = "cannot make a join line";
    match error {
        IssueError::Refused(refusal @ Refusal::NotAllowed { .. }) => Failure::refused(what, &refusal).next(
            "is this an agent's home? `tiding run` starts it, and `tiding up --home DIR` founds a fleet elsewhere",
        ),
        IssueError::Refused(refusal) => Failure::refused(what, &refusal),
        IssueError::Failed(why) => Failure::new(Kind::Failed, what)
            .because(why)
            .next("give `tiding up` again: what was founded is still there"),
    }
}

/// Refuses addresses that lead nowhere before anything is founded with them.
fn check_advertised(advertise: &[SocketAddr]) -> Result<(), Failure> {
    match advertise.iter().find(|address| !reach::leads_somewhere(address)) {
        None => Ok(()),
        Some(address) => Err(Failure::new(Kind::Usage, format!("cannot advertise {address}"))
            .because("others cannot dial it: it names no machine, or no port")
            .next("give the address at which they reach this one: --advertise ADDRESS:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_leads_nowhere_is_not_advertised() {
        let checked = |text: &str| check_advertised(&[text.parse().expect("an address")]);
        assert!(checked("203.0.113.7:7443").is_ok());
        for nowhere in ["0.0.0.0:7443", "[::]:7443", "10.0.0.5:0"] {
            let failure = checked(nowhere).expect_err("it leads nowhere");
            assert!(failure.kind == Kind::Usage && failure.next.is_some(), "{nowhere}");
        }
    }

    #[test]
    fn what_to_do_about_an_origin_that_is_not_reached_is_said() {
        let refused = Refusal::Invalid { why: "nobody knows; start it with --advertise".to_owned() };
        assert_eq!(cannot_issue(IssueError::Refused(refused)).next.as_deref(), Some("start it with --advertise"));
    }
}
