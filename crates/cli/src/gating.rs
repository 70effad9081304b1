//! Flags that hold a rollout back: gates, a command that opens them, a deadline, and how many nodes switch at once.

use crate::failure::{Failure, Kind};
use crate::parse::{self, Gate};
use clap::Args;
use content::order::{AtOnce, Restraint, Wave};
use node::gate::GateCommand;
use node::publish::{DeployOptions, Steers};
use std::time::Duration;

/// What holds waves back besides the confirmations of their nodes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Holding back")]
pub(crate) struct Gating {
    /// After these waves, counted from 1, the next one opens only when somebody says `tiding promote`: 1,2 or all
    #[arg(long, value_name = "WAVES", value_delimiter = ',', value_parser = parse::gate)]
    gate: Vec<Gate>,
    /// Run by /bin/sh here, while this command waits, after each wave with a gate [default: after every wave but the last]; ends it well,
    /// the next wave opens, else the rollout is aborted. It is told TIDING_APP, TIDING_RELEASE, TIDING_PREVIOUS, TIDING_WAVE, TIDING_NODES …
    #[arg(long, value_name = "LINE")]
    gate_command: Option<String>,
    /// After so long that command is killed, and has failed
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse::duration, requires = "gate_command")]
    gate_timeout: Duration,
    /// A wave that is not confirmed, or not promoted at its gate, so long after it opened halts the rollout, and all go back; time for
    /// which it is paused does not count [default: none]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wave_deadline: Option<Duration>,
    /// How many nodes may be switching at the same time: 50 or 10% of all, rack=1 of those with the same label `rack`; may be given
    /// several times [default: all of a wave]
    #[arg(long, value_name = "LIMIT", value_delimiter = ',', value_parser = parse::at_once)]
    at_once: Vec<AtOnce>,
    /// All nodes in one wave, however many fail: for when the fire is elsewhere already; `tiding history` says so
    #[arg(long, conflicts_with_all = ["waves", "budget", "gate", "gate_command", "at_once"])]
    all_at_once: bool,
}

impl Gating {
    /// Says all of it in the options of a deploy.
    pub(crate) fn say(&self, options: DeployOptions) -> Result<DeployOptions, Failure> {
        if self.all_at_once {
            let restraint = Restraint { deadline_s: self.deadline()?, ..Restraint::default() };
            return Ok(DeployOptions { waves: vec![Wave::PerMille(1000)], budget: u32::MAX, restraint, ..options });
        }
        let mut at_once = self.at_once.clone();
        at_once.sort_by(|a, b| a.by.cmp(&b.by));
        let restraint = Restraint { gates: self.gates(options.waves.len())?, deadline_s: self.deadline()?, at_once };
        let steers = if self.gate_command.is_some() { Steers::ByCommand } else { Steers::No };
        Ok(DeployOptions { restraint, steers, ..options })
    }

    /// The command that opens gates, if one was given.
    pub(crate) fn command(&self) -> Option<GateCommand> {
        let line = self.gate_command.clone()?;
        Some(GateCommand { line, timeout: self.gate_timeout })
    }

    /// The waves, from 0, that have a gate.
    fn gates(&self, waves: usize) -> Result<Vec<u8>, Failure> {
        let every = || (0..waves.saturating_sub(1)).filter_map(|wave| u8::try_from(wave).ok());
        let is_every = self.gate.contains(&Gate::All) || self.gate.is_empty() && self.gate_command.is_some();
        if is_every && waves < 2 {
            return Err(wrong("there is one wave only, and no other that a gate could hold back"));
        }
        if is_every {
            return Ok(every().collect());
        }
        let named = self.gate.iter().filter_map(|gate| if let Gate::After(wave) = gate { Some(*wave) } else { None });
        let mut gates: Vec<u8> = named.map(|wave| wave - 1).collect();
        gates.sort_unstable();
        gates.dedup();
        match gates.iter().find(|gate| usize::from(**gate) + 1 >= waves) {
            Some(gate) if waves < 2 => Err(wrong(&format!("wave {} is the only one; --gate counts waves", gate + 1))),
            Some(gate) => Err(wrong(&format!(
                "after wave {} of {waves} there is none that a gate could hold back; --gate counts waves, not nodes",
                gate + 1
            ))),
            None => Ok(gates),
        }
    }

    fn deadline(&self) -> Result<Option<u32>, Failure> {
        let seconds = self.wave_deadline.map(|deadline| u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX));
        match seconds {
            Some(0) => Err(wrong("a deadline of less than a second is over before anything can happen")),
            seconds => Ok(seconds),
        }
    }
}

fn wrong(why: &str) -> Failure {
    Failure::new(Kind::Usage, "this cannot be deployed")
        .because(why)
        .next("for example --waves 1,10%,100% --gate 1,2 --wave-deadline 30m; `tiding deploy --help` explains each")
}

/// What holds the rollout of these options back, in words for people; nothing if nothing does.
pub(crate) fn words(restraint: &Restraint) -> Vec<String> {
    let mut words = Vec::new();
    if !restraint.gates.is_empty() {
        let waves: Vec<String> = restraint.gates.iter().map(|wave| (u32::from(*wave) + 1).to_string()).collect();
        words.push(format!("gates      after wave {} it waits for `tiding promote`", waves.join(", ")));
    }
    if !restraint.at_once.is_empty() {
        let limits: Vec<String> = restraint.at_once.iter().map(ToString::to_string).collect();
        words.push(format!("at once    {} may be switching at the same time", limits.join(" and ")));
    }
    if let Some(deadline) = restraint.deadline() {
        let deadline = crate::words::duration(deadline);
        words.push(format!(
            "deadline   a wave that is not through {deadline} after it opened halts it, and all go back"
        ));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::path::Path;

    #[derive(Debug, Parser)]
    struct Flags {
        #[arg(long, value_delimiter = ',', value_parser = parse::wave, default_value = "100%")]
        waves: Vec<Wave>,
        #[arg(long, default_value_t = 0)]
        budget: u32,
        #[command(flatten)]
        gating: Gating,
    }

    fn said(flags: &str) -> Result<DeployOptions, String> {
        let flags = std::iter::once("deploy").chain(flags.split_whitespace());
        let flags = Flags::try_parse_from(flags).map_err(|error| error.to_string())?;
        let options = DeployOptions { waves: flags.waves, ..DeployOptions::new("web", Path::new("/srv/web")) };
        let options = flags.gating.say(options).map_err(|failure| failure.why.unwrap_or_default())?;
        options.check().map(|()| options).map_err(|bad| bad.to_string())
    }

    #[test]
    fn gates_are_counted_from_one_and_need_a_wave_to_hold_back() {
        let gates = |flags: &str| said(flags).map(|options| options.restraint.gates);
        assert_eq!(gates("--waves 1,10%,100% --gate 2,1,2"), Ok(vec![0, 1]));
        assert_eq!(gates("--waves 1,10%,100% --gate all"), Ok(vec![0, 1]));
        assert_eq!(gates("--waves 1,10%,100%"), Ok(Vec::new()));
        for wrong in
            ["--waves 1,100% --gate 2", "--gate 1", "--gate all", "--gate-command true", "--gate 0", "--gate x"]
        {
            assert!(gates(wrong).is_err(), "{wrong}");
        }
        let why = gates("--waves 1,10%,100% --gate 10").expect_err("there are three");
        assert!(why.contains("not nodes"), "{why}");
    }

    #[test]
    fn a_command_gates_every_wave_but_the_last_and_takes_a_power() {
        let options = said("--waves 1,10%,100% --gate-command true").expect("it makes sense");
        assert_eq!((options.restraint.gates, options.steers), (vec![0, 1], Steers::ByCommand));
        let one = said("--waves 1,10%,100% --gate 1 --gate-command true").expect("it makes sense");
        assert_eq!(one.restraint.gates, [0]);
        assert_eq!(said("--waves 1,100% --gate 1").expect("it makes sense").steers, Steers::No);
    }

    #[test]
    fn limits_are_of_a_label_or_of_all_and_each_is_given_once() {
        let limits =
            |flags: &str| said(flags).map(|options| options.restraint.at_once.iter().map(AtOnce::to_string).collect());
        assert_eq!(limits("--at-once rack=1,50"), Ok(vec!["50".to_owned(), "rack=1".to_owned()]));
        assert_eq!(limits("--at-once zone=12.5% --at-once 10%"), Ok(vec!["10%".to_owned(), "zone=12.5%".to_owned()]));
        for wrong in ["rack=0", "0", "rack=", "=1", "rack=1,rack=2", "rack=101%", "10,20%"] {
            assert!(limits(&format!("--at-once {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_at_once_is_one_wave_whatever_fails_and_nothing_else() {
        let options = said("--all-at-once").expect("it makes sense");
        assert_eq!((&options.waves[..], options.budget), (&[Wave::PerMille(1000)][..], u32::MAX));
        assert!(options.restraint.is_none());
        assert!(said("--all-at-once --waves 1,100%").is_err() && said("--all-at-once --at-once 3").is_err());
    }

    #[test]
    fn there_is_no_deadline_by_default() {
        assert_eq!(said("").map(|options| options.restraint), Ok(Restraint::default()));
        assert_eq!(said("--wave-deadline 30m").map(|options| options.restraint.deadline_s), Ok(Some(1800)));
        assert!(said("--wave-deadline 20ms").is_err() && said("--wave-deadline 400d").is_err());
    }
}
