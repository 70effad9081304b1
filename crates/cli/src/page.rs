//! `tiding page`.

use crate::failure::{Failure, Kind};
use crate::publishing::cannot_deploy;
use crate::running::stop_signal;
use crate::settings::Settings;
use crate::simulated::Simulated;
use crate::speak;
use crate::words;
use clap::Args;
use node::audit::Told;
use node::client::Client;
use node::escape::escape;
use node::page::{Act, Acting, Deed, Links, Operator, Page, Recalling, Trouble};
use node::publish::{self, DeployError};
use node::watching::{Seen, Watching};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

/// Shows the fleet, its rollouts and what may be done with them on a page in a browser.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding page --open\n  tiding page --port 8443\n  ssh -L 8443:127.0.0.1:8443 admin tiding page --port 8443\n  tiding page --simulate 2000 --open\n\n\
    It listens on 127.0.0.1 of this machine, nowhere else, and is gone when this command ends. The link opens it once; press \
    Enter for another one. What is pressed there is signed with the operator's keys here, as `tiding pause` and `tiding \
    rollback` do. With --simulate it is a fleet that exists in this process alone: the same decisions, pretended machines; no key is \
    read and nothing is asked of anybody."
)]
pub(crate) struct PageArguments {
    /// The port on 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Open the link in this machine's browser
    #[arg(long)]
    open: bool,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Show a simulated fleet of so many agents instead, to get to know the page
    #[arg(long, value_name = "AGENTS", conflicts_with = "operator_home", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    simulate: Option<u32>,
    /// Print each link as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

/// A link, for programs.
#[derive(Serialize)]
struct Link {
    link: String,
}

impl PageArguments {
    /// Serves until it is interrupted.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        if let Some(agents) = self.simulate {
            let simulated = Simulated::start(agents);
            return self.show(simulated.follow(), Arc::new(simulated)).await;
        }
        let what = "cannot show the page";
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(what, &error))?;
        if let Some(notice) = client.notice() {
            speak::warning(format!(
                "the operator's certificate {notice}; `tiding up` on the origin's machine renews it"
            ));
        }
        let watching = Watching::start_checking(client);
        self.show(watching.follow(), Arc::new(Keys(operator_home))).await
    }

    /// Shows what is seen, and has it steered by that operator.
    async fn show(&self, seen: watch::Receiver<Seen>, operator: Arc<dyn Operator>) -> Result<(), Failure> {
        let page = Page::open(self.port, seen, operator).await;
        let page = page.map_err(|error| self.cannot_listen(&error))?;
        let links = page.links();
        let link = self.say(&links);
        let _leads_there = self.open.then(|| open_browser(&link));
        tokio::select! {
            () = page.serve() => {}
            () = self.make_more(&links) => {}
            reason = stop_signal(false) => speak::note(format!("the page is gone: {}", reason?)),
        }
        Ok(())
    }

    fn cannot_listen(&self, error: &std::io::Error) -> Failure {
        Failure::new(Kind::Failed, "cannot show the page")
            .because(format!("127.0.0.1:{}: {error}", self.port))
            .next("give another --port, or none for a free one")
    }

    fn say(&self, links: &Links) -> String {
        let link = links.make();
        match self.json {
            true => speak::json(&Link { link: link.clone() }),
            false => {
                speak::result(&link);
                speak::note("It opens the page once. Enter makes another link, Ctrl-C ends the page.");
            }
        }
        link
    }

    /// A link for each Enter, until nobody can press it any more.
    async fn make_more(&self, links: &Links) {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(_)) = lines.next_line().await {
            self.say(links);
        }
        std::future::pending().await
    }
}

/// Opens a browser, and says when there is none. Its own words are nobody's business here.
///
/// The link goes through a file that only this user can read: the words of a process, everyone on this machine can.
fn open_browser(link: &str) -> Option<NamedTempFile> {
    let start = |file: &NamedTempFile| {
        let mut browser = Command::new("xdg-open");
        browser.arg(file.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let opened = leading_to(link).and_then(|file| start(&file).map(|_browser| file));
    opened.map_err(|error| speak::warning(format!("cannot open a browser ({error}); open the link by hand"))).ok()
}

fn leading_to(link: &str) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("tiding-").suffix(".html").tempfile()?;
    write!(file, "<!doctype html><meta http-equiv=refresh content=\"0;url={link}\">")?;
    file.flush()?;
    Ok(file)
}

/// The operator whose keys lie here.
struct Keys(PathBuf);

impl Operator for Keys {
    fn act(&self, deed: Deed) -> Acting {
        let home = self.0.clone();
        Box::pin(async move { act(&home, &deed).await })
    }

    fn history(&self) -> Recalling {
        let home = self.0.clone();
        Box::pin(async move { history(&home).await })
    }
}

async fn act(home: &Path, deed: &Deed) -> Result<String, Trouble> {
    let Deed { sight, act, message } = deed;
    let app = escape(&sight.app);
    match act {
        Act::Direct(verb) => {
            let (word, done) = words::directed(*verb);
            let directed = publish::direct_seen(home, sight, *verb, message).await;
            directed.map(|()| format!("{app} {done}")).map_err(|error| trouble(&format!("cannot {word} {app}"), &error))
        }
        Act::Rollback { to } => {
            let ordered = publish::rollback_from(home, sight, to, message).await;
            let done = ordered.map(|back| format!("{app} is ordered back to {}", escape(&back.version)));
            done.map_err(|error| trouble(&format!("cannot roll back {app}"), &error))
        }
    }
}

async fn history(home: &Path) -> Result<Vec<Told>, Trouble> {
    let asking = |error| in_words(Failure::asking("cannot read the journals", &error));
    let journals = Client::open(home).map_err(asking)?.journals().await.map_err(asking)?;
    Ok(journals.tell())
}

/// The same words as on the terminal.
fn trouble(what: &str, error: &DeployError) -> Trouble {
    in_words(cannot_deploy(what, error))
}

fn in_words(failure: Failure) -> Trouble {
    let Failure { what, why, next, .. } = failure;
    Trouble { what, why, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn w1_what_leads_a_browser_to_the_link_only_its_user_can_read() {
        let file = leading_to("http://127.0.0.1:1/?token=00").expect("written");
        let mode = file.as_file().metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0);
        assert!(
            std::fs::read_to_string(file.path()).is_ok_and(|text| text.contains("url=http://127.0.0.1:1/?token=00"))
        );
    }
}
