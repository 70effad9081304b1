//! `tiding deploy DIR --to PATH`.

use crate::care::Care;
use crate::failure::{Failure, Kind};
use crate::parse;
use crate::publishing::{Publishing, check_target};
use crate::settings::Settings;
use clap::{Args, ValueEnum};
use node::publish::DeployOptions;
use node::selection::WhenAway;
use std::path::PathBuf;
use std::time::Duration;

/// Puts a directory or a file at a path on every node.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding deploy ./build --to /srv/app\n  \
    tiding deploy ./build --to /srv/app --version 2.1 -m 'fixes the login' --waves 1,10%,100% \\\n    \
    --after 'systemctl restart app' --health http://127.0.0.1:8080/health --health-window 30s\n  \
    tiding deploy ./motd --to /etc/motd.d/news --on 'role=web,zone!=b'\n\n\
    It ends when every reachable agent is confirmed, or says which is not and why (exit code 5). Ctrl-C is safe at any \
    moment: an order is given wholly or not at all, and once given, the rollout goes on by itself.\n\n\
    Owners are kept when root deploys; what anyone else deploys belongs to root on the servers, as with tar.")]
pub(crate) struct Deploy {
    /// The directory or file
    #[arg(value_name = "DIR")]
    source: PathBuf,
    /// Where it goes on every node: an absolute path, which becomes a symlink that is swung in one step
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// What the application is called [default: the last part of PATH]
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// What this version is called [default: made from the clock and the content]
    #[arg(long)]
    version: Option<String>,
    /// Why, for those who read `tiding status`
    #[arg(short, long, default_value = "")]
    message: String,
    /// Only these agents, by their labels: role=web,zone!=b or zone=a|b or gpu or !old, and groups of the configuration as @NAME;
    /// given several times all of it must hold
    #[arg(long, value_name = "WHICH")]
    on: Vec<String>,
    /// What to do about those of them that are not connected
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Unreachable::Skip)]
    unreachable: Unreachable,
    /// Yes, also to many more agents than this application went to before, and also a tree of a tenth of the size, or ten times it
    #[arg(long)]
    yes: bool,
    /// How long a node that has trouble, or is gone, is waited for
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse::duration)]
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
    #[command(flatten)]
    care: Care,
}

/// What is done about agents that are not connected.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unreachable {
    /// They hold nothing up, and get it when they come back
    Skip,
    /// Their wave is not done before they are back and well, or `tiding promote`
    Wait,
    /// Nothing is deployed
    Fail,
}

impl From<Unreachable> for WhenAway {
    fn from(policy: Unreachable) -> Self {
        match policy {
            Unreachable::Skip => Self::Skip,
            Unreachable::Wait => Self::Wait,
            Unreachable::Fail => Self::Fail,
        }
    }
}

impl Deploy {
    /// Deploys and waits for the end.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let publishing = Publishing {
            operator_home: settings.operator_home(self.operator_home.as_ref())?,
            source: self.source.clone(),
            options: self.options(settings)?,
            patience: self.patience,
        };
        publishing.carry_out().await?.conclude(self.json)
    }

    fn options(&self, settings: &Settings) -> Result<DeployOptions, Failure> {
        check_target(&self.to)?;
        let app = self.app.clone().or_else(|| parse::name_from(&self.to)).ok_or_else(|| {
            Failure::new(Kind::Usage, "the application has no name")
                .because("PATH ends in nothing a name can be made of")
                .next("give one with --app NAME")
        })?;
        let options = self.care.say(DeployOptions {
            version: self.version.clone(),
            message: self.message.clone(),
            selector: settings.select(&self.on)?,
            when_away: self.unreachable.into(),
            is_sure: self.yes,
            limit: settings.limit(self.limit)?,
            ..DeployOptions::new(&app, &self.to)
        });
        let makes_no_sense = |why| Failure::new(Kind::Usage, "this cannot be deployed").because(why);
        options.check().map_err(makes_no_sense)?;
        Ok(options)
    }
}
