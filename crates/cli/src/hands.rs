//! `tiding hands`: the root half of a node whose network half is not root.

use crate::failure::{Failure, Kind};
use crate::homes;
use crate::running::stop_signal;
use crate::settings::Settings;
use crate::speak;
use crate::supervised::{Wanted, notifier};
use clap::Args;
use node::halves::confine::{self, Confined};
use node::halves::{self, HandsError, HandsOptions};
use node::notify::Word;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Does what must be root for a node that is not: lays out, switches, runs commands, and verifies all of it again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding hands\n  tiding hands --whose tiding --of /var/lib/tiding --socket /run/tiding-hands/socket\n\n\
    Beside it, as that user: tiding run --home /var/lib/tiding --hands /run/tiding-hands/socket"
)]
pub(crate) struct HandsArguments {
    /// Where this half keeps what it remembers; root's alone
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tiding-hands")]
    home: PathBuf,
    /// The home of the other half, which talks to the network
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tiding")]
    of: PathBuf,
    /// The socket on which the other half speaks
    #[arg(long, value_name = "PATH", default_value = "/run/tiding-hands/socket")]
    socket: PathBuf,
    /// The user as whom the other half runs, by name or number: nobody else is heard
    #[arg(long, value_name = "USER", default_value = "tiding")]
    whose: String,
    /// The directory inside which the paths of releases are resolved [default: /]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print a line of JSON on standard output once it runs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct ReadyJson<'a> {
    socket: &'a Path,
}

impl HandsArguments {
    /// Runs until it is stopped.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let options = HandsOptions {
            home: homes::absolute(&self.home)?,
            other: homes::absolute(&self.of)?,
            targets: settings.root(self.root.as_ref())?,
            socket: homes::absolute(&self.socket)?,
            user: user(&self.whose)?,
            hooks_user: settings.policy(None)?.hooks_user,
        };
        let mut hands = halves::start(options).await.map_err(|error| self.cannot_start(&error))?;
        if let Some(above) = Wanted::here().and_then(|wanted| notifier(&wanted.address)) {
            let status = format!("the root half of the node in {}", self.of.display());
            above.tell(&[Word::Ready, Word::Status(status)]);
        }
        match self.json {
            true => speak::json(&ReadyJson { socket: &self.socket }),
            false => speak::result(format!("the root half listens on {}", self.socket.display())),
        }
        tokio::select! {
            why = hands.failed() => Err(Failure::new(Kind::Failed, "the root half cannot go on").because_and_next(why)),
            signal = stop_signal(false) => {
                speak::note(format!("stopping: {}", signal?));
                hands.stop().await;
                Ok(())
            }
        }
    }

    fn cannot_start(&self, error: &HandsError) -> Failure {
        let failure = Failure::new(Kind::Failed, format!("cannot run the root half in {}", self.home.display()));
        match error {
            HandsError::Home(_) => {
                failure.because(error).next("give the other half's home with --of, and this one's with --home")
            }
            HandsError::Store(_) | HandsError::Socket { .. } => failure.because_and_next(error),
        }
    }
}

/// A user's number, from a number or a name of this machine's own list.
fn user(text: &str) -> Result<u32, Failure> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    number_of(text, &list).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("there is no user {text} in /etc/passwd"))
            .next(format!("make one: useradd --system --home /var/lib/tiding {text}; or give its number with --whose"))
    })
}

fn number_of(name: &str, list: &str) -> Option<u32> {
    let mut users = list.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users.find(|user| user.first() == Some(&name))?.get(2)?.parse().ok()
}

/// Makes this process a network half, which must be done before it has threads; says how far that went.
pub(crate) fn confine(home: &Path) {
    match confine::network_half(home) {
        Confined::Wholly => speak::note("this half writes in its home alone, and executes nothing"),
        Confined::Partly => speak::warning("this half is confined to its home only as far as this kernel can"),
        Confined::Not(why) => speak::warning(format!("this half is confined by nothing but its user: {why}")),
    }
    if rustix::process::geteuid().is_root() {
        speak::warning("this half runs as root, which the split is there to avoid; run it as a user of its own");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_numbers_or_names() {
        let list = "root:x:0:0::/root:/bin/sh\ntiding:x:987:987::/var/lib/tiding:/usr/sbin/nologin\nbroken\n";
        assert_eq!(number_of("tiding", list), Some(987));
        assert_eq!(number_of("tid", list), None);
        assert_eq!(number_of("broken", list), None);
        assert_eq!(user("65534").expect("a number"), 65534);
        assert_eq!(user("no such user").map_err(|failure| failure.kind).err(), Some(Kind::Usage));
    }
}
