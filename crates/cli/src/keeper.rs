//! Who keeps the gates of a rollout while somebody waits for its end: says that they wait, and has their command answer them.

use crate::words;
use node::api::RolloutStatus;
use node::escape::escape;
use node::gate::{Answered, GateCommand};
use node::publish::{DeployError, Sight};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Keeps the gates of one rollout.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// The command that answers, and whose keys sign what it comes to.
    command: Option<(GateCommand, PathBuf)>,
    seen: BTreeSet<u8>,
    /// The command that runs now, and for which wave; it is killed when nobody waits for it any more.
    running: Option<(u8, Running)>,
}

/// A command that ends with whoever waits for it.
#[derive(Debug)]
struct Running(JoinHandle<Result<Answered, DeployError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    /// One that has this command answer, with the keys of this home.
    pub(crate) fn with(command: Option<GateCommand>, home: PathBuf) -> Self {
        Self { command: command.map(|command| (command, home)), ..Self::default() }
    }

    /// Looks whether a gate waits that did not before; what there is to say about it.
    pub(crate) fn look(&mut self, rollout: &RolloutStatus) -> Option<String> {
        let awaits = rollout.restraint.awaits.as_ref()?;
        // Without a wave that is open, as while it is paused, nothing can be said.
        let sight = Sight::of(rollout).filter(|sight| sight.wave == Some(awaits.wave))?;
        if !self.seen.insert(awaits.wave) {
            return None;
        }
        let nth = u32::from(awaits.wave) + 1;
        let left = rollout.restraint.deadline.and_then(|deadline| deadline.left_us);
        let left = left.map_or_else(String::new, |left| {
            format!("; without a word it halts in {}", words::duration(Duration::from_micros(left)))
        });
        Some(match self.command.clone() {
            Some((command, home)) => {
                let line = format!("gate       wave {nth} is confirmed; running `{}`", escape(&command.line));
                let rollout = rollout.clone();
                let running = tokio::spawn(async move { command.answer(&home, &sight, &rollout).await });
                self.running = Some((nth as u8, Running(running)));
                line
            }
            None => format!("gate       wave {nth} is confirmed and waits for `{}`{left}", escape(&awaits.say)),
        })
    }

    /// Waits for the end of the command that runs; for ever if none does.
    pub(crate) async fn answered(&mut self) -> String {
        let Some((nth, running)) = &mut self.running else { return std::future::pending().await };
        let (nth, ended) = (*nth, (&mut running.0).await);
        self.running = None;
        match ended {
            Ok(Ok(Answered { verb: content::directive::Verb::Promote, .. })) => {
                format!("gate       wave {nth}: the command ended well, and the next wave opens")
            }
            Ok(Ok(Answered { why, .. })) => format!("gate       wave {nth}: aborted, as {}", escape(&why)),
            Ok(Err(error)) => {
                format!(
                    "gate       wave {nth}: what the command came to could not be said: {}",
                    escape(&error.to_string())
                )
            }
            Err(broken) => format!("gate       wave {nth}: {broken}; say `tiding promote` or `tiding abort`"),
        }
    }
}
