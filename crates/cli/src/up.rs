//! `tiding up`: founds a fleet if there is none, runs its origin, and says how others join.

use crate::failure::{Failure, Kind};
use crate::homes;
use crate::running::{self, Place, Ready};
use crate::settings::Settings;
use crate::speak;
use clap::Args;
use node::daemon::{IssueError, Running};
use node::founding::{self, FoundError, FoundOptions};
use node::join::JoinTerms;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// Founds a fleet on this machine (once), and runs its origin.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding up\n  tiding up --advertise 203.0.113.7:7443 --datacenter fra1\n\n\
    The operator's keys, which say what may run, are put into --operator-home. Whoever has them can deploy.")]
pub(crate) struct Up {
    #[command(flatten)]
    place: Place,
    /// Where the operator's keys are kept [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// An address at which other machines reach this one; may be given several times [default: where it listens]
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
        let founded = !founding::is_founded(&home);
        if founded {
            self.found(settings, &home, &operator_home)?;
        }
        let running = running::start(&self.place, settings).await?;
        let reached = self.reached(settings, running.address());
        if is_of_this_fleet(&operator_home, &home) {
            founding::set_origins(&operator_home, &reached).map_err(|error| cannot_found(&operator_home, &error))?;
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
            advertise: self.advertised(settings, listen),
            name,
            datacenter: settings.datacenter(self.datacenter.as_ref()),
            operator: homes::user_name(),
        };
        founding::found(&options).map_err(|error| cannot_found(home, &error))
    }

    /// What others are told before the port is known: nothing, where it is clear or not known yet.
    fn advertised(&self, settings: &Settings, listen: SocketAddr) -> Vec<SocketAddr> {
        let named = settings.advertise(&self.advertise);
        match named.is_empty() && listen.ip().is_unspecified() && listen.port() != 0 {
            true => outward(listen.ip()).map(|ip| SocketAddr::new(ip, listen.port())).into_iter().collect(),
            false => named,
        }
    }

    /// Where the operator's commands on this machine reach the origin.
    fn reached(&self, settings: &Settings, address: SocketAddr) -> Vec<SocketAddr> {
        let mut reached = settings.advertise(&self.advertise);
        if reached.is_empty() {
            let ip = if address.ip().is_unspecified() { outward(address.ip()) } else { Some(address.ip()) };
            reached.extend(ip.map(|ip| SocketAddr::new(ip, address.port())));
        }
        reached
    }

    fn say(&self, running: &Running, line: &str, keys: Option<&PathBuf>) {
        if let Some(keys) = keys {
            speak::warning(format!(
                "the operator's keys, which say what may run, lie in {} on the origin's machine. Whoever takes this \
                 machine can deploy: move that directory to where you work, and point to it with --operator-home.",
                keys.display()
            ));
        }
        let (node, address) = (running.name(), running.address());
        if self.place.json {
            let join = Some(line.to_owned());
            return speak::json(&Ready { node, id: running.node().to_string(), address, join });
        }
        speak::result(format!("origin {} is up on {address}", crate::escape::escape(node)));
        speak::result("\nOn every other machine, within the hour (it holds a secret; it is good for 100 agents):\n");
        speak::result(format!("  tiding join {line}\n"));
        speak::result("Then, here:\n\n  tiding deploy ./build --to /srv/app\n  tiding status\n");
    }
}

/// The address of this machine on its way out; nothing is sent.
fn outward(listening: IpAddr) -> Option<IpAddr> {
    let (any, far) = match listening {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
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
        IssueError::Refused(refusal) => Failure::refused(what, &refusal).next(
            "is this an agent's home? `tiding run` starts it, and `tiding up --home DIR` founds a fleet elsewhere",
        ),
        IssueError::Failed(why) => Failure::new(Kind::Failed, what).because(why),
    }
}
