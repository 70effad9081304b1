//! `tiding forget NODE`.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use clap::Args;
use node::api::{FleetStatus, NodeStatus, Role};
use node::client::Client;
use node::escape::escape;
use std::path::PathBuf;

/// Takes a machine that is gone for good out of the fleet: it is counted no more, and its key lets nobody in any more.
///
/// What is live there stays. The machine may join again as a new node, with a new join line and an empty home.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding forget web-17\n  tiding forget 3f9a12cd    (the beginning of its id, of two with one name)"
)]
pub(crate) struct Forget {
    /// Its name, or at least eight digits of its id, as `tiding status --json` shows them
    node: String,
    /// Also when it is connected
    #[arg(long)]
    force: bool,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

const WHAT: &str = "cannot forget it";

impl Forget {
    /// Finds the node, has it forgotten, and says so.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(WHAT, &error))?;
        let status = client.status().await.map_err(|error| Failure::asking(WHAT, &error))?;
        let node = find(&status, &self.node)?;
        if node.up && !self.force {
            return Err(Failure::new(Kind::Refused, WHAT)
                .because(format!("{} is connected", escape(&node.name)))
                .next("stop it there with `tiding stop`, or say --force"));
        }
        let id = node.node.parse().map_err(|error| Failure::new(Kind::Failed, WHAT).because(error))?;
        client.forget(id).await.map_err(|error| Failure::asking(WHAT, &error))?;
        speak::result(format!("{} is forgotten: its key lets nobody in any more", escape(&node.name)));
        Ok(())
    }
}

/// The one agent that is meant.
fn find<'a>(status: &'a FleetStatus, asked: &str) -> Result<&'a NodeStatus, Failure> {
    let is_meant = |node: &&NodeStatus| {
        node.role == Role::Agent && (node.name == asked || (asked.len() >= 8 && node.node.starts_with(asked)))
    };
    let found: Vec<&NodeStatus> = status.nodes.iter().filter(is_meant).collect();
    match found[..] {
        [node] => Ok(node),
        [] => Err(Failure::new(Kind::Refused, WHAT)
            .because(format!("no agent is called {}", escape(asked)))
            .next("`tiding status` shows them all")),
        _ => {
            let ids: Vec<&str> = found.iter().map(|node| &node.node[..16.min(node.node.len())]).collect();
            Err(Failure::new(Kind::Refused, WHAT)
                .because(format!("{} agents are called {}: {}", found.len(), escape(asked), ids.join(", ")))
                .next("say the beginning of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn node(id: &str, name: &str, role: Role) -> NodeStatus {
        NodeStatus {
            node: id.into(),
            name: name.into(),
            role,
            labels: BTreeMap::new(),
            up: false,
            since_us: 0,
            software: String::new(),
            limit: None,
            obeys_limits: true,
            speaks: 6,
            apps: Vec::new(),
        }
    }

    #[test]
    fn only_one_agent_can_be_meant() {
        let nodes = vec![
            node("aaaaaaaa11", "web", Role::Agent),
            node("bbbbbbbb22", "web", Role::Agent),
            node("cccccccc33", "db", Role::Agent),
            node("dddddddd44", "origin", Role::Origin),
        ];
        let status = FleetStatus { nodes, ..FleetStatus::default() };
        let found = |asked| find(&status, asked).map(|node| node.node.as_str()).map_err(|failure| failure.kind);
        assert_eq!(found("db"), Ok("cccccccc33"));
        assert_eq!(found("bbbbbbbb"), Ok("bbbbbbbb22"));
        for refused in ["web", "bbbb", "origin", "dddddddd", "nobody"] {
            assert_eq!(found(refused), Err(Kind::Refused), "{refused}");
        }
    }
}
