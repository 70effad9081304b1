//! Telling a supervisor how a node does, when one asked for it in the environment as systemd does; nothing otherwise.

use crate::speak;
use node::daemon::Running;
use node::notify::{Notifier, Word};
use node::vitals::Rhythm;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What a supervisor wants to hear.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) address: OsString,
    pub(crate) rhythm: Rhythm,
}

/// A supervisor that is told how a node does.
pub(crate) struct Supervised {
    notifier: Arc<Notifier>,
    telling: JoinHandle<()>,
}

impl Wanted {
    /// What the environment of this process says.
    pub(crate) fn here() -> Option<Self> {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, me: u32) -> Option<Self> {
        let address = variable("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        // Signs of life may be wanted of another process of the same service.
        let is_meant = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(me.into());
        let patience = number("WATCHDOG_USEC").filter(|patience| is_meant && *patience > 0);
        let rhythm = patience.map_or(Rhythm::Leisurely, |patience| Rhythm::Watched(Duration::from_micros(patience)));
        Some(Self { address, rhythm })
    }
}

impl Supervised {
    /// Begins to tell, if anybody wants to hear it.
    pub(crate) fn begin(running: &mut Running) -> Option<Self> {
        let (wanted, vitals) = (Wanted::here()?, running.vitals()?);
        let notifier = Arc::new(notifier(&wanted.address)?);
        let to = notifier.clone();
        let telling = tokio::spawn(async move { vitals.tell(&to, wanted.rhythm).await });
        Some(Self { notifier, telling })
    }

    /// Tells that the node stops, and nothing more.
    pub(crate) fn stopping(self) {
        self.telling.abort();
        self.notifier.tell(&[Word::Stopping]);
    }
}

/// A node that is gone is spoken for no more.
impl Drop for Supervised {
    fn drop(&mut self) {
        self.telling.abort();
    }
}

/// The way to a supervisor; one that cannot be reached is said, and does without.
pub(crate) fn notifier(address: &OsStr) -> Option<Notifier> {
    let notifier = Notifier::to(address);
    notifier.inspect_err(|error| speak::warning(format!("NOTIFY_SOCKET is {}: {error}", address.display()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(variables: &[(&str, &str)]) -> Option<Rhythm> {
        let of = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
        Wanted::of(of, 7).map(|wanted| wanted.rhythm)
    }

    #[test]
    fn nobody_is_told_who_did_not_ask_and_the_watchdog_of_another_process_is_not_ours() {
        let (socket, time) = (("NOTIFY_SOCKET", "/run/notify"), ("WATCHDOG_USEC", "2000000"));
        let watched = Some(Rhythm::Watched(Duration::from_secs(2)));
        assert_eq!(wanted(&[]), None);
        assert_eq!(wanted(&[("NOTIFY_SOCKET", ""), time]), None);
        assert_eq!(wanted(&[socket]), Some(Rhythm::Leisurely));
        assert_eq!(wanted(&[socket, time]), watched);
        assert_eq!(wanted(&[socket, time, ("WATCHDOG_PID", "7")]), watched);
        for other in ["8", "x", ""] {
            assert_eq!(wanted(&[socket, time, ("WATCHDOG_PID", other)]), Some(Rhythm::Leisurely), "{other}");
        }
        assert_eq!(wanted(&[socket, ("WATCHDOG_USEC", "0")]), Some(Rhythm::Leisurely));
    }
}
