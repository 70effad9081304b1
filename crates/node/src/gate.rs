//! A command that opens a gate: it runs where its operator is, with all that is that operator's, and nobody else ever hears of it.
//!
//! What it comes to is signed with the operator's key like any word that a person says. It is no part of an order: whoever could bring a
//! command to other machines by an order would run it there.

use crate::api::RolloutStatus;
use crate::publish::{self, DeployError, Sight};
use crate::runner;
use content::Order;
use content::directive::Verb;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// A line for `/bin/sh`, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateCommand {
    /// The line.
    pub line: String,
    /// After so long it is killed with all that it started, and has failed.
    pub timeout: Duration,
}

/// What it was about, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Whether the next wave opens, or the rollout ends.
    pub verb: Verb,
    /// Why, as it was signed.
    pub why: String,
}

/// How often, and how often again, an origin that does not answer is told.
const AGAIN: Duration = Duration::from_secs(2);
const TRIES: u32 = 150;

impl GateCommand {
    /// Runs it for the wave of a rollout that was seen to wait for a word, and says what it comes to with the keys of this home.
    pub async fn answer(&self, home: &Path, sight: &Sight, rollout: &RolloutStatus) -> Result<Answered, DeployError> {
        let (verb, why) = match self.run(rollout, sight.wave.unwrap_or(0)).await {
            Ok(()) => (Verb::Promote, format!("`{}` ended well", runner::shorten(&self.line))),
            Err(why) => (Verb::Abort, why),
        };
        let why = cut(why.chars().filter(|c| !c.is_control()).collect());
        for _ in 1..TRIES {
            match publish::direct_seen(home, sight, verb, &why).await {
                Err(error) if error.is_passing() => tokio::time::sleep(AGAIN).await,
                outcome => return outcome.map(|()| Answered { verb, why }),
            }
        }
        publish::direct_seen(home, sight, verb, &why).await.map(|()| Answered { verb, why })
    }

    async fn run(&self, rollout: &RolloutStatus, wave: u8) -> Result<(), String> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.line).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        let (at, nodes) = (usize::from(wave), rollout.waves.iter().map(|wave| wave.nodes));
        let sum =
            |upto: usize, of: fn(&crate::api::WaveStatus) -> u32| rollout.waves.iter().take(upto).map(of).sum::<u32>();
        let (confirmed, failed) = (sum(at + 1, |wave| wave.confirmed), sum(at + 1, |wave| wave.failed));
        command.env("TIDING_APP", &rollout.app).env("TIDING_VERSION", &rollout.version);
        command.env("TIDING_RELEASE", &rollout.release);
        command.env("TIDING_PREVIOUS", rollout.fallback.as_deref().unwrap_or_default());
        command.env("TIDING_WAVE", (at + 1).to_string()).env("TIDING_WAVES", rollout.waves.len().to_string());
        command.env("TIDING_NODES", nodes.take(at + 1).sum::<u32>().to_string());
        command.env("TIDING_CONFIRMED", confirmed.to_string()).env("TIDING_FAILED", failed.to_string());
        runner::carry_out(command, &self.line, self.timeout, &Arc::default()).await
    }
}

/// No more than a directive may say.
fn cut(mut text: String) -> String {
    while text.len() > Order::MAX_MESSAGE {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RolloutState;
    use crate::page::pretend::rollout;

    async fn run(line: &str, ms: u64) -> Result<(), String> {
        let command = GateCommand { line: line.to_owned(), timeout: Duration::from_millis(ms) };
        command.run(&rollout(RolloutState::Rolling { wave: 1 }), 1).await
    }

    #[tokio::test]
    async fn it_is_told_what_it_is_about_and_has_what_its_operator_has() {
        let line = "test $TIDING_APP = web && test $TIDING_RELEASE = new && test $TIDING_PREVIOUS = old && \
                    test $TIDING_WAVE = 2 && test $TIDING_WAVES = 3 && test $TIDING_NODES = 3 && \
                    test $TIDING_CONFIRMED = 2 && test $TIDING_FAILED = 0 && test -n \"$PATH\" && test \"$PWD\" = \"$(pwd)\"";
        assert_eq!(run(line, 30_000).await, Ok(()));
    }

    #[tokio::test]
    async fn what_it_said_last_is_the_reason_and_one_that_hangs_is_killed() {
        let why = run("seq 100000; echo error rate 7 % >&2; exit 3", 30_000).await.expect_err("it fails");
        assert!(why.contains("status 3") && why.ends_with("error rate 7 %") && why.len() < 600, "{why}");
        let why = run("sleep 1000", 200).await.expect_err("it hangs");
        assert!(why.contains("did not end within"), "{why}");
    }
}
