//! How a playground ended: a table or JSON, what to try next, and whether the origin kept its promise.

use super::TARGET;
use super::place::Place;
use crate::failure::{Failure, Kind};
use crate::follow::Ended;
use crate::rollout::{Standing, Verdict};
use crate::table::Table;
use crate::{report, speak, words};
use node::escape::escape;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How much the origin may send: so many copies of the content ...
const COPIES: f64 = 1.3;
/// ... and so many bytes more: two pieces, since a content of a piece or two cannot be sent one and a third times.
const SPARE: u64 = 2 * 64 * 1024;

/// How a playground ended.
pub(crate) struct Outcome {
    nodes: Vec<Node>,
    standings: Vec<Standing>,
    sent: u64,
    content: u64,
    app: String,
    version: String,
}

/// A node at the end, for programs. Times are milliseconds since it was told of the release.
#[derive(Debug, Serialize)]
struct Node {
    node: String,
    live: PathBuf,
    confirmed: bool,
    first_byte_ms: Option<f64>,
    complete_ms: Option<f64>,
    live_ms: Option<f64>,
    confirmed_ms: Option<f64>,
    bytes_from_origin: u64,
    bytes_from_peers: u64,
}

impl Node {
    fn new(standing: &Standing, place: &Place) -> Self {
        let app = standing.app.as_ref();
        let timeline = app.map(|app| app.timeline).unwrap_or_default();
        let millis = |micros: Option<u64>| micros.map(|micros| micros as f64 / 1000.0);
        Self {
            live: place.root(&standing.name).join(TARGET.trim_start_matches('/')),
            node: standing.name.clone(),
            confirmed: standing.verdict == Verdict::Confirmed,
            first_byte_ms: millis(timeline.first_byte_us),
            complete_ms: millis(timeline.complete_us),
            live_ms: millis(timeline.live_us),
            confirmed_ms: millis(timeline.confirmed_us),
            bytes_from_origin: app.map_or(0, |app| app.from_origin),
            bytes_from_peers: app.map_or(0, |app| app.from_peers),
        }
    }
}

impl Outcome {
    /// From the end of its rollout.
    pub(crate) fn new(ended: Ended, place: &Place) -> Self {
        let release = ended.deployed.release.to_string();
        let rollout = ended.status.apps.iter().find(|rollout| rollout.release == release);
        let standings = ended.standings;
        let nodes: Vec<Node> = standings.iter().map(|standing| Node::new(standing, place)).collect();
        let received: u64 = nodes.iter().map(|node| node.bytes_from_origin).sum();
        Self {
            nodes,
            standings,
            sent: rollout.map_or(0, |rollout| rollout.origin_sent).max(received),
            content: rollout.map_or(0, |rollout| rollout.content_bytes),
            app: ended.deployed.app,
            version: ended.deployed.version,
        }
    }

    fn copies(&self) -> f64 {
        self.sent as f64 / self.content.max(1) as f64
    }

    /// Prints the nodes.
    pub(crate) fn print(&self, json: bool) {
        if json {
            self.nodes.iter().for_each(speak::json);
        } else {
            self.table().lines().into_iter().for_each(speak::result);
        }
        let line = format!(
            "the origin sent {} for {} of content to {}: {:.2} copies",
            words::size(self.sent),
            words::size(self.content),
            words::count(self.nodes.len(), "node"),
            self.copies()
        );
        if json { speak::note(line) } else { speak::result(format!("\n{line}")) }
    }

    fn table(&self) -> Table {
        let heads = ["node", "live at", ">first byte", ">complete", ">live ms", ">from origin", ">from peers"];
        let mut table = Table::new(&heads);
        for (node, standing) in self.nodes.iter().zip(&self.standings) {
            let timeline = standing.app.as_ref().map(|app| app.timeline).unwrap_or_default();
            let times = [timeline.first_byte_us, timeline.complete_us, timeline.live_us].map(words::millis);
            let bytes = [node.bytes_from_origin, node.bytes_from_peers].map(words::size);
            let head = [escape(&node.node), node.live.display().to_string()];
            table.row(head.into_iter().chain(times).chain(bytes).collect());
        }
        table
    }

    /// Commands to go on with.
    pub(crate) fn say_what_next(&self, place: &Place, kept: bool) {
        if !kept {
            let app = escape(&self.app);
            return speak::result(format!(
                "\n{app} {} was live on all of them; the fleet is stopped. With --keep it stays up to be tried:\n  \
                 status, a second deploy, rollback, verify.",
                escape(&self.version)
            ));
        }
        let tiding = this_program();
        let operator = format!("--operator-home {}", place.operator_home().display());
        speak::result(format!(
            "\nThe fleet is up. Try:\n\n  {tiding} status {operator}\n  \
             {tiding} deploy DIR --to {TARGET} --app {} {operator}\n  {tiding} rollback {operator}\n  \
             {tiding} verify {operator}\n  {tiding} playground stop --dir {}",
            escape(&self.app),
            place.dir().display()
        ));
    }

    /// Whether every node is live, and the origin sent what it should.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let missing = self.nodes.iter().filter(|node| !node.confirmed || !node.live.is_symlink()).count();
        if missing > 0 {
            let what = format!("{missing} of {} are not live", words::count(self.nodes.len(), "node"));
            return Err(Failure::new(Kind::Partial, what)
                .because(report::reasons(&self.standings).join("\n"))
                .next("run it again with --dir D --keep and read the nodes' logs in D"));
        }
        if self.sent > (self.content as f64 * COPIES) as u64 + SPARE {
            let why = format!("{:.2} copies; {COPIES} are allowed: peers should have carried the rest", self.copies());
            return Err(Failure::new(Kind::Failed, "the origin sent too much")
                .because(why)
                .next("run it again with TIDING_LOG=info and --dir D --keep: the nodes' logs in D say which peers did not answer"));
        }
        Ok(())
    }
}

/// This program as a person would write it here.
fn this_program() -> String {
    let Ok(program) = std::env::current_exe() else { return "tiding".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    let short = program.strip_prefix(&here).map_or(program.as_path(), Path::new);
    match short == program {
        true => program.display().to_string(),
        false => format!("./{}", short.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(content: u64, sent: u64) -> Outcome {
        let (app, version) = ("app".to_owned(), "1".to_owned());
        Outcome { nodes: Vec::new(), standings: Vec::new(), sent, content, app, version }
    }

    #[test]
    fn the_origin_may_send_a_third_of_a_copy_more_and_two_pieces() {
        let verdict = |content, sent| outcome(content, sent).verdict().map_err(|failure| failure.kind);
        assert_eq!(verdict(100_000_000, 130_000_000), Ok(()));
        assert_eq!(verdict(100_000_000, 130_200_000), Err(Kind::Failed));
        assert_eq!(verdict(5_000, 10_000), Ok(()), "a second copy of one piece");
        assert_eq!(verdict(5_000, 200_000), Err(Kind::Failed));
    }

    #[test]
    fn a_node_that_is_not_live_fails_the_playground() {
        let node = Node {
            node: "node-1".to_owned(),
            live: PathBuf::from("/nowhere"),
            confirmed: true,
            first_byte_ms: None,
            complete_ms: None,
            live_ms: None,
            confirmed_ms: None,
            bytes_from_origin: 0,
            bytes_from_peers: 0,
        };
        let missing = Outcome { nodes: vec![node], ..outcome(1, 1) };
        assert_eq!(missing.verdict().map_err(|failure| failure.kind), Err(Kind::Partial));
    }
}
