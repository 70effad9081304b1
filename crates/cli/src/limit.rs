//! `tiding limit`: how fast pieces may move, on one node, on some, on all, and of all together.

use crate::failure::{Failure, Kind};
use crate::parse::{self, Limit as Wanted};
use crate::settings::Settings;
use crate::speak;
use crate::words::{self, by_number};
use clap::Args;
use node::api::{FleetStatus, LimitRequest, NodeStatus, Role, Scope};
use node::client::Client;
use node::escape::escape;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Bounds how fast nodes send and receive pieces, from now on and while deploys run. Without a rate: shows what holds.
///
/// Orders, status and everything else but pieces is never held up. Every limit that applies to a node holds, so the lowest
/// one counts; a node's own `--limit` is one of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding limit 20Mbit                  each node, the origin too\n  \
    tiding limit 5Mbit --on zone=a       each node with that label\n  \
    tiding limit 6MB --on web-17         one node, by its name or the beginning of its id\n  \
    tiding limit 1Gbit --total           what all nodes send together\n  \
    tiding limit none --on zone=a        takes that one back; others stay\n  \
    tiding limit                         shows them")]
pub(crate) struct Limit {
    /// How fast, in each direction: 20Mbit, 2.5Gbit, 6MB; or `none`
    #[arg(value_name = "RATE", value_parser = parse::limit)]
    rate: Option<Wanted>,
    /// Only this node, or nodes with this label; a label may be given several times
    #[arg(long, value_name = "NODE|KEY=VALUE", requires = "rate")]
    on: Vec<String>,
    /// What all nodes send together, divided among those that send
    #[arg(long, conflicts_with = "on", requires = "rate")]
    total: bool,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Print what holds as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

const WHAT: &str = "cannot set the limit";

impl Limit {
    /// Sets or shows.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let asking = |error| Failure::asking(WHAT, &error);
        let client = Client::open(&operator_home).map_err(asking)?;
        let status = client.status().await.map_err(asking)?;
        let Some(Wanted(rate)) = self.rate else {
            self.show(&status);
            return Ok(());
        };
        let scope = self.scope(&status)?;
        let rate = rate.map(|rate| rate.0);
        client.limit(&LimitRequest { scope: scope.clone(), rate }).await.map_err(asking)?;
        let status = client.status().await.map_err(asking)?;
        if self.json {
            speak::json(&status.limits);
            return Ok(());
        }
        speak::result(said(&scope, rate, &status));
        deaf(&status).into_iter().for_each(speak::warning);
        Ok(())
    }

    fn show(&self, status: &FleetStatus) {
        match self.json {
            true => speak::json(&status.limits),
            false if status.limits.set.is_empty() => {
                speak::result("no limit is set; set one with: tiding limit 50Mbit")
            }
            false => lines(status).into_iter().filter(|line| !line.is_empty()).for_each(speak::result),
        }
    }

    fn scope(&self, status: &FleetStatus) -> Result<Scope, Failure> {
        if self.total {
            return Ok(Scope::Total);
        }
        match &self.on[..] {
            [one] if !one.contains('=') => Ok(Scope::Node { node: find(status, one)? }),
            labels => Ok(Scope::Labels { labels: labels_of(labels)? }),
        }
    }
}

fn labels_of(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let label = |text: &String| {
        let (key, value) = parse::label(text).map_err(|why| {
            let next = "say one node, or labels as key=value";
            Failure::new(Kind::Usage, WHAT).because(format!("{}: {why}", escape(text))).next(next)
        })?;
        Ok((key.as_str().to_owned(), value.as_str().to_owned()))
    };
    texts.iter().map(label).collect()
}

/// The id of the one node that is meant.
fn find(status: &FleetStatus, asked: &str) -> Result<String, Failure> {
    let is_meant = |name: &str, id: &str| name == asked || (asked.len() >= 8 && id.starts_with(asked));
    let agents = status.nodes.iter().filter(|node| node.role == Role::Agent);
    let agents = agents.filter(|node| is_meant(&node.name, &node.node)).map(|node| &node.node);
    let origin = Some(&status.origin).filter(|id| is_meant(&status.origin_name, id));
    let found: Vec<&String> = agents.chain(origin).collect();
    match found[..] {
        [node] => Ok(node.clone()),
        [] => Err(Failure::new(Kind::Refused, WHAT)
            .because(format!("no node is called {}", escape(asked)))
            .next("`tiding status` shows them all")),
        _ => Err(Failure::new(Kind::Refused, WHAT)
            .because(format!("{} nodes are called {}", found.len(), escape(asked)))
            .next("say the beginning of the id, as `tiding status --json` shows it")),
    }
}

/// Whom a limit bounds, in words.
fn whom(scope: &Scope, status: &FleetStatus) -> String {
    match scope {
        Scope::Total => "all nodes together".to_owned(),
        Scope::Labels { labels } if labels.is_empty() => "each node".to_owned(),
        Scope::Labels { labels } => {
            let labels = labels.iter().map(|(key, value)| escape(&format!("{key}={value}")));
            format!("each node with {}", labels.collect::<Vec<_>>().join(", "))
        }
        Scope::Node { node } if *node == status.origin => escape(&status.origin_name),
        Scope::Node { node } => {
            let known = status.nodes.iter().find(|known| known.node == *node);
            known.map_or_else(|| words::short(node), |known| escape(&known.name))
        }
    }
}

fn said(scope: &Scope, rate: Option<u64>, status: &FleetStatus) -> String {
    let verb = if *scope == Scope::Total { "send" } else { "sends, and receives," };
    match rate {
        Some(rate) => format!("from now on {} {verb} at most {}", whom(scope, status), words::bits(rate)),
        None => {
            format!("{} is not limited any more by that; `tiding limit` shows what still holds", whom(scope, status))
        }
    }
}

/// Who does not obey, in words.
fn deaf(status: &FleetStatus) -> Option<String> {
    let is_deaf = |node: &&NodeStatus| node.role == Role::Agent && node.up && !node.obeys_limits;
    let mut names: Vec<&str> = status.nodes.iter().filter(is_deaf).map(|node| node.name.as_str()).collect();
    names.sort_by_key(|name| by_number(name));
    let shown = names.iter().take(5).map(|name| escape(name)).collect::<Vec<_>>().join(", ");
    let more = if names.len() > 5 { ", ..." } else { "" };
    (!names.is_empty()).then(|| {
        format!(
            "{} with older software do not know limits and obey none: {shown}{more}",
            words::count(names.len(), "node")
        )
    })
}

/// What `tiding status` says of limits: nothing where there are none.
pub(crate) fn lines(status: &FleetStatus) -> Vec<String> {
    let limits = &status.limits;
    let mut lines: Vec<String> = limits
        .set
        .iter()
        .map(|limit| format!("limit: {} {}", whom(&limit.scope, status), words::bits(limit.rate)))
        .collect();
    if let Some(share) = limits.share {
        let senders = limits.senders as usize;
        let now = if senders == 1 { "sends" } else { "send" };
        lines.push(format!("  {} {now} now, {} each at most", words::count(senders, "node"), words::bits(share)));
    }
    let of_node = |node: &NodeStatus| node.limit.map(|rate| format!("{} {}", escape(&node.name), words::bits(rate)));
    let origin = limits.origin.map(|rate| format!("{} {}", escape(&status.origin_name), words::bits(rate)));
    let mut nodes: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.role == Role::Agent).collect();
    nodes.sort_by_key(|node| by_number(&node.name));
    let held: Vec<String> = origin.into_iter().chain(nodes.into_iter().filter_map(of_node)).collect();
    if !held.is_empty() {
        let (first, more) = (&held[..held.len().min(8)], held.len().saturating_sub(8));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("limited: {}{more}", first.join(", ")));
    }
    lines.extend(deaf(status).filter(|_| !limits.set.is_empty()));
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::api::{Limit, Limits};

    fn node(id: &str, name: &str, limit: Option<u64>, obeys_limits: bool) -> NodeStatus {
        NodeStatus {
            node: id.into(),
            name: name.into(),
            role: Role::Agent,
            labels: BTreeMap::new(),
            up: true,
            since_us: 0,
            software: String::new(),
            limit,
            obeys_limits,
            speaks: 6,
            apps: Vec::new(),
        }
    }

    fn status() -> FleetStatus {
        let nodes = vec![node("aaaaaaaa11", "web-1", Some(625_000), true), node("bbbbbbbb22", "web-2", None, false)];
        let every = Scope::Labels { labels: BTreeMap::new() };
        let set = vec![
            Limit { scope: every, rate: 6_250_000 },
            Limit { scope: Scope::Node { node: "aaaaaaaa11".into() }, rate: 625_000 },
            Limit { scope: Scope::Total, rate: 125_000_000 },
        ];
        let limits = Limits { set, origin: Some(6_250_000), share: Some(62_500_000), senders: 2 };
        let (origin, origin_name) = ("cccccccc33".to_owned(), "ori".to_owned());
        FleetStatus { nodes, limits, origin, origin_name, ..FleetStatus::default() }
    }

    #[test]
    fn what_holds_is_said_and_nothing_where_there_is_no_limit() {
        let said = lines(&status()).join("\n");
        for words in [
            "limit: each node 50 Mbit/s",
            "limit: web-1 5 Mbit/s",
            "limit: all nodes together 1 Gbit/s",
            "2 nodes send now, 500 Mbit/s each at most",
            "limited: ori 50 Mbit/s, web-1 5 Mbit/s",
            "1 node with older software do not know limits and obey none: web-2",
        ] {
            assert!(said.contains(words), "{words} is not in\n{said}");
        }
        assert_eq!(lines(&FleetStatus::default()), Vec::<String>::new());
    }

    #[test]
    fn a_node_an_origin_or_labels_can_be_meant() {
        let found = |asked: &str| find(&status(), asked).map_err(|failure| failure.kind);
        assert_eq!(found("web-1"), Ok("aaaaaaaa11".to_owned()));
        assert_eq!(found("bbbbbbbb"), Ok("bbbbbbbb22".to_owned()));
        assert_eq!(found("ori"), Ok("cccccccc33".to_owned()));
        assert_eq!(found("web"), Err(Kind::Refused));
        assert!(labels_of(&["zone=a".into(), "web-1".into()]).is_err());
    }
}
