//! Flags that say what a node runs when it switches, how it finds out whether the release is well, and in which waves.

use crate::parse::{self, Asked};
use clap::Args;
use content::care::{Health, Hook, Hooks, Probe};
use content::order::Wave;
use node::publish::DeployOptions;
use std::time::Duration;

/// How long a node must stay healthy when it is asked for its health and nobody said how long.
const WINDOW: Duration = Duration::from_secs(10);

/// What a release says of its own switch.
#[derive(Debug, Args)]
#[command(next_help_heading = "Switching")]
pub(crate) struct Care {
    /// Run by /bin/sh on each node before it switches; when it fails, nothing changes there
    #[arg(long, value_name = "LINE")]
    before: Option<String>,
    /// Run by /bin/sh on each node after it switched; when it fails, the node goes back by itself
    #[arg(long, value_name = "LINE")]
    after: Option<String>,
    /// Run by /bin/sh on each node that went back [default: LINE of --after of the release that is live again]
    #[arg(long, value_name = "LINE")]
    back: Option<String>,
    /// Run by /bin/sh on each node where this release is confirmed, at the agent's first start after the machine was started anew; it
    /// needs no network of the agent's. The agent is ready after it: `systemctl start` of a unit that waits for the agent's needs
    /// `--no-block`
    #[arg(long, value_name = "LINE")]
    boot: Option<String>,
    /// As whom these run [default: as the agent does]
    #[arg(long, value_name = "USER")]
    hook_user: Option<String>,
    /// After so long they are killed, and have failed
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse::duration)]
    hook_timeout: Duration,
    /// What says on each node that the release is well: http://127.0.0.1:8080/health, tcp://127.0.0.1:5432, unit:web.service
    /// or sh:LINE; may be given several times
    #[arg(long, value_name = "PROBE", value_parser = parse::probe)]
    health: Vec<Asked>,
    /// How often that is asked
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse::duration)]
    health_every: Duration,
    /// How many of the last rounds must go well
    #[arg(long, value_name = "K/N", default_value = "2/3", value_parser = parse::share)]
    health_need: (u8, u8),
    /// After so long an answer has not come
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse::duration)]
    health_timeout: Duration,
    /// How long a node must stay healthy until it is confirmed [default: 10s with --health, else 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    health_window: Option<Duration>,
    /// How many nodes switch, wave after wave, each when the one before is confirmed: counts or shares, the last one 100%
    #[arg(long, value_name = "WAVES", default_value = "100%", value_delimiter = ',', value_parser = parse::wave)]
    waves: Vec<Wave>,
    /// How many nodes may fail before the rollout halts and all go back
    #[arg(long, value_name = "NODES", default_value_t = 0)]
    budget: u32,
}

impl Care {
    /// Says all of it in the options of a deploy.
    pub(crate) fn say(&self, options: DeployOptions) -> DeployOptions {
        let window = if self.health.is_empty() { Duration::ZERO } else { WINDOW };
        DeployOptions {
            hooks: self.hooks(),
            health: self.asked(),
            health_window: self.health_window.unwrap_or(window),
            waves: self.waves.clone(),
            budget: self.budget,
            ..options
        }
    }

    fn hooks(&self) -> Hooks {
        let hook = |line: &Option<String>| line.as_ref().map(|line| self.hook(line, self.hook_timeout));
        Hooks { before: hook(&self.before), after: hook(&self.after), back: hook(&self.back), boot: hook(&self.boot) }
    }

    fn hook(&self, line: &str, timeout: Duration) -> Hook {
        Hook { line: line.to_owned(), user: self.hook_user.clone(), timeout_ms: milliseconds(timeout) }
    }

    fn asked(&self) -> Health {
        if self.health.is_empty() {
            return Health::default();
        }
        let timeout_ms = milliseconds(self.health_timeout);
        let probe = |asked: &Asked| match asked.clone() {
            Asked::Shell(line) => Probe::Command(self.hook(&line, self.health_timeout)),
            Asked::Tcp { host, port } => Probe::Tcp { host, port, timeout_ms },
            Asked::Http { host, port, path } => Probe::Http { host, port, path, timeout_ms },
            Asked::Unit(name) => Probe::Unit(name),
        };
        let (need, of) = self.health_need;
        Health { probes: self.health.iter().map(probe).collect(), every_ms: milliseconds(self.health_every), need, of }
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
