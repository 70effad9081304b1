//! `tiding history` and `tiding audit verify`.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use crate::table::Table;
use crate::words;
use clap::{Args, Subcommand};
use node::audit::{Report, Told};
use node::client::{self, Client};
use node::escape::escape;
use std::path::PathBuf;

/// Shows who did what, when and why, as it stands in the journals; the newest last.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding history\n  tiding history app -n 100\n  tiding history --all --json\n\n\
    `deploy`, `rollback`, `pause` and so on take the reason with -m. Times are UTC, by the origin's clock.")]
pub(crate) struct History {
    /// Only what is about this application
    app: Option<String>,
    /// How many at most
    #[arg(short, long, default_value_t = 20, conflicts_with = "all")]
    number: usize,
    /// Everything, from the beginning
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

impl History {
    /// Reads the journals and prints what they tell.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let what = "cannot read the journals";
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(what, &error))?;
        let journals = client.journals().await.map_err(|error| Failure::asking(what, &error))?;
        let told = self.choose(journals.tell());
        if self.json {
            speak::json(&told);
        } else if told.is_empty() {
            speak::note("nothing of that is in the journals");
        } else {
            table(&told).into_iter().for_each(speak::result);
        }
        Ok(())
    }

    fn choose(&self, told: Vec<Told>) -> Vec<Told> {
        let is_meant = |told: &Told| self.app.is_none() || told.app == self.app;
        let mut meant: Vec<Told> = told.into_iter().filter(is_meant).collect();
        let most = if self.all { meant.len() } else { self.number };
        meant.split_off(meant.len().saturating_sub(most))
    }
}

fn table(told: &[Told]) -> Vec<String> {
    let mut table = Table::new(&["when (UTC)", "who", "app", "what", "why"]);
    let or_none = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), escape);
    for told in told {
        let when = told.time.map_or("-".to_owned(), words::moment);
        let why = told.why.as_deref().map_or(String::new(), escape);
        table.row(vec![when, or_none(&told.who), or_none(&told.app), escape(&told.what), why]);
    }
    table.lines()
}

/// Finds out whether the journals are what was written into them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding audit verify")]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
enum AuditVerb {
    /// Check every signature, every chain, and that all of it continues what you have seen before
    Verify(Verify),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding audit verify\n  tiding audit verify --json\n\n\
    The origin writes the journals; what it cannot do is sign for an operator, or change what you have verified once: how far \
    that is, and its chain, is kept beside your keys. Verify now and then, and from more than one operator's machine.")]
struct Verify {
    /// Remember what is there now, whatever was seen before: after a restore from a backup, once you have looked at the findings
    #[arg(long)]
    accept: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

impl Audit {
    /// Does what is asked.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let AuditVerb::Verify(verify) = &self.verb;
        verify.run(settings).await
    }
}

impl Verify {
    async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let what = "cannot verify the journals";
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let asking = |error| Failure::asking(what, &error);
        let (fleet, heads) = client::seen(&operator_home).map_err(asking)?;
        let client = Client::open(&operator_home).map_err(asking)?;
        let report = client.journals().await.map_err(asking)?.check(fleet, &heads);
        if report.findings.is_empty() || self.accept {
            client::remember(&operator_home, &report.heads).map_err(asking)?;
        }
        match self.json {
            true => speak::json(&report),
            false => say(&report, heads.is_empty()),
        }
        match report.findings.len() {
            0 => Ok(()),
            _ if self.accept => {
                speak::note("what is there now is remembered; the findings above will not be told again where they are of before");
                Ok(())
            }
            found => Err(Failure::new(Kind::Refused, "the journals are not what was written into them")
                .because(format!("{} above", words::count(found, "finding")))
                .next(
                    "do not deploy through this origin; compare with `tiding audit verify` from another operator's machine, and \
                     with a backup of its state",
                )),
        }
    }
}

fn say(report: &Report, is_first: bool) {
    for finding in &report.findings {
        speak::result(format!("{} fact {}: {}", finding.journal, finding.index, escape(&finding.what)));
    }
    if report.unstamped > 0 {
        let older = words::count(report.unstamped, "fact");
        speak::note(format!("{older} of before stamps were kept: when, and for whom, is not known of these"));
    }
    if !report.findings.is_empty() {
        return;
    }
    let since =
        if is_first { "; from now on what you have seen is remembered" } else { ", and continue what you had seen" };
    speak::result(format!("{} follow from each other{since}", words::count(report.facts, "fact")));
    for head in &report.heads {
        speak::result(format!("{}: {} facts, chain {}", head.journal, head.index, words::short(&head.chain)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(app: Option<&str>, what: &str) -> Told {
        Told {
            time: Some(1_700_000_000),
            who: Some("alice\u{1b}[2J".to_owned()),
            app: app.map(str::to_owned),
            kind: "ordered".to_owned(),
            what: what.to_owned(),
            why: None,
            journal: "fleet".to_owned(),
            generation: 1,
            index: 0,
        }
    }

    #[test]
    fn the_newest_of_an_application_are_shown_and_nothing_of_it_moves_the_cursor() {
        let history = History { app: Some("web".to_owned()), number: 2, all: false, json: false, operator_home: None };
        let all = ["one", "two", "three"].map(|what| told(Some("web"), what)).to_vec();
        let chosen = history.choose([vec![told(None, "joined"), told(Some("db"), "db")], all].concat());
        assert_eq!(chosen.iter().map(|told| told.what.as_str()).collect::<Vec<_>>(), ["two", "three"]);
        let lines = table(&chosen);
        assert!(lines[1].starts_with("2023-11-14 22:13:20"), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:?}");
    }
}
