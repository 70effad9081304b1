//! `tiding verify [APP]`.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use crate::status::choose_app;
use crate::table::Table;
use crate::words;
use clap::Args;
use node::api::{NodeVerification, Verification, VerifyReport};
use node::client::Client;
use node::escape::escape;
use std::path::PathBuf;

/// Has every node read again what is live.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding verify\n  tiding verify app --json\n  tiding verify --repair\n\n\
    Exit code 5 when a node differs, and still does after a repair, or cannot look.")]
pub(crate) struct Verify {
    /// The application; may be left out when there is only one
    app: Option<String>,
    /// Lay out anew what differs, file by file; nothing is restarted, and what is no part of the release stays where it is
    #[arg(long)]
    repair: bool,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Print what was found as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Asks, waits and prints.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let what = "cannot verify";
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(what, &error))?;
        let app = choose_app(&client, self.app.as_deref(), what).await?;
        let asked = if self.repair { client.repair(&app).await } else { client.verify(&app).await };
        let found = asked.map_err(|error| Failure::asking(what, &error))?;
        match self.json {
            true => speak::json(&found),
            false => lines(&found).into_iter().for_each(speak::result),
        }
        found.nodes.iter().filter_map(repaired).for_each(speak::note);
        verdict(&found)
    }
}

/// What was laid out anew on a node, and what is left to do there; `None` when nothing was.
fn repaired(node: &NodeVerification) -> Option<String> {
    let report = node.report.as_ref().filter(|report| was_repaired(report))?;
    let entries: Vec<String> = report.first.iter().map(|entry| escape(entry)).collect();
    Some(format!(
        "{}: laid out anew: {}; what runs there has the damaged files open until it is restarted",
        escape(&node.name),
        entries.join(", ")
    ))
}

/// Whether nothing differs any more of what did.
fn was_repaired(report: &VerifyReport) -> bool {
    report.differing == 0 && !report.first.is_empty()
}

fn lines(found: &Verification) -> Vec<String> {
    let mut table = Table::new(&["node", "found", "release", ">entries", ">hashed", ">differing"]);
    for node in &found.nodes {
        let cells = match &node.report {
            Some(report) => [
                match report.differing {
                    0 if was_repaired(report) => "repaired",
                    0 => "as published",
                    _ => "DIFFERS",
                }
                .to_owned(),
                words::short(&report.release),
                report.entries.to_string(),
                words::size(report.bytes),
                report.differing.to_string(),
            ],
            None => ["could not look", "-", "-", "-", "-"].map(str::to_owned),
        };
        table.row(std::iter::once(escape(&node.name)).chain(cells).collect());
    }
    table.lines()
}

fn verdict(found: &Verification) -> Result<(), Failure> {
    if found.nodes.is_empty() {
        return Err(Failure::new(Kind::Partial, "no node has looked")
            .because("no agent is selected by the application's order")
            .next("`tiding status` shows who is there"));
    }
    let wrong: Vec<String> = found.nodes.iter().filter_map(complaint).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let nodes = words::count(found.nodes.len(), "node");
    let silent = found.nodes.iter().filter(|node| node.report.is_none()).count();
    let (what, next) = match silent {
        0 => (format!("{} of {nodes} are not as published", wrong.len()), AGAIN),
        _ if silent == found.nodes.len() => ("no node has looked".to_owned(), LATER),
        _ if silent == wrong.len() => (format!("{silent} of {nodes} could not look"), LATER),
        _ => (format!("{} of {nodes} are not as published, {silent} could not look", wrong.len() - silent), AGAIN),
    };
    Err(Failure::new(Kind::Partial, what).because(wrong.join("\n")).next(next))
}

/// What to do about a difference, and about a node that is away.
const AGAIN: &str =
    "`tiding verify --repair` lays out anew what differs and is part of the release; look at the rest on that machine";
const LATER: &str = "`tiding status` shows who is connected, and what is live there; verify again when they have come back, or `tiding forget` who \
                     is gone for good";

/// What is wrong on a node; `None` when nothing is.
fn complaint(node: &NodeVerification) -> Option<String> {
    let name = escape(&node.name);
    match (&node.report, &node.error) {
        (Some(report), None) if report.differing == 0 => None,
        (Some(report), _) => {
            let first: Vec<String> = report.first.iter().map(|entry| escape(entry)).collect();
            Some(format!("{name}: {} differ: {}", report.differing, first.join(", ")))
        }
        (None, error) => Some(format!("{name}: {}", escape(error.as_deref().unwrap_or("it did not say why")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(report: Option<u32>, error: Option<&str>) -> NodeVerification {
        let report = report.map(|differing| VerifyReport {
            release: "r".into(),
            entries: 3,
            bytes: 9,
            differing,
            first: vec!["bin/app: bytes".into()],
        });
        NodeVerification { node: "n".into(), name: "n".into(), report, error: error.map(str::to_owned) }
    }

    #[test]
    fn a_difference_and_a_node_that_cannot_look_are_failures_of_some_nodes() {
        let kind = |node| verdict(&Verification { nodes: vec![node] }).map_err(|failure| failure.kind);
        assert_eq!(kind(node(Some(0), None)), Ok(()));
        assert_eq!(kind(node(Some(1), None)), Err(Kind::Partial));
        assert_eq!(kind(node(None, Some("it is down"))), Err(Kind::Partial));
        assert_eq!(kind(node(None, None)), Err(Kind::Partial));
        let nobody = verdict(&Verification { nodes: Vec::new() }).map_err(|failure| failure.kind);
        assert_eq!(nobody, Err(Kind::Partial), "what nobody has looked at is not verified");
    }
}
