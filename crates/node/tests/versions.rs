//! A fleet of real nodes, of which one speaks an older version of the protocol than this one, and one a version more.

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use content::order::{Restraint, Wave};
use node::daemon;
use node::publish::{self, DeployError, DeployOptions};
use node::selection::BadSelection;
use std::path::Path;
use std::time::Duration;
use support::{ANY_PORT, Fleet, in_time, listing, options, tree};

const PROTOCOL: (u16, u16) = engine::wire::PROTOCOL;
/// One that does not read all orders and releases of today.
const OLD: u16 = engine::wire::RESTRAINTS - 1;

/// Starts an agent anew as if its software were another one.
async fn speaks(fleet: &mut Fleet, agent: usize, speaks: (u16, u16)) {
    in_time("stopping an agent", fleet.agents.remove(agent).stop()).await;
    let mut options = options(fleet.temp.path(), &format!("web-{agent}"), ANY_PORT.into());
    options.policy.speaks = Some(speaks);
    let started = in_time("starting", daemon::start(options)).await.expect("started");
    fleet.agents.insert(agent, started);
}

#[tokio::test(flavor = "multi_thread")]
async fn d20_one_deploy_reaches_real_nodes_of_the_version_before_of_this_one_and_of_the_next() {
    let mut fleet = Fleet::new(3).await;
    speaks(&mut fleet, 0, (PROTOCOL.0, OLD)).await;
    speaks(&mut fleet, 2, (PROTOCOL.0, PROTOCOL.1 + 1)).await;
    let of =
        |name: &str| [("web-0", OLD), ("web-1", PROTOCOL.1), ("web-2", PROTOCOL.1)].into_iter().find(|of| of.0 == name);
    let agents = |status: &node::api::FleetStatus| {
        status.nodes.iter().filter(|node| of(&node.name).is_some_and(|(_, speaks)| node.speaks == speaks)).count()
    };
    fleet.until("all are here, and known for what they speak", |status| agents(status) == 3).await;

    let source = fleet.path("build");
    tree(&source, "one");
    let first = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&first.release.to_string()).await;
    let one = listing(&source);
    assert!((0..3).all(|agent| listing(&fleet.live(agent)) == one));

    // What one of them could not read is refused before anything is sent, with its name.
    let gated = DeployOptions {
        waves: vec![Wave::Count(1), Wave::PerMille(1000)],
        restraint: Restraint { gates: vec![0], ..Restraint::default() },
        health_window: Duration::ZERO,
        ..DeployOptions::new("app", Path::new("/srv/app"))
    };
    tree(&source, "two");
    let refused = in_time("refusing", publish::deploy(&fleet.operator(), &source, &gated, |_| {})).await;
    let Err(DeployError::Selection(BadSelection::Unreadable { old, .. })) = refused else { panic!("{refused:?}") };
    assert_eq!(old, ["web-0"]);
    let owned = DeployOptions { owner: "0:0".parse().ok(), ..DeployOptions::new("app", Path::new("/srv/app")) };
    let refused = in_time("refusing", publish::deploy(&fleet.operator(), &source, &owned, |_| {})).await;
    assert!(matches!(refused, Err(DeployError::Selection(BadSelection::Unreadable { .. }))), "{refused:?}");

    // And what all read goes to all, whoever went away and came back as another version.
    speaks(&mut fleet, 0, PROTOCOL).await;
    speaks(&mut fleet, 1, (PROTOCOL.0, PROTOCOL.1 - 1)).await;
    let second = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&second.release.to_string()).await;
    let two = listing(&source);
    assert!((0..3).all(|agent| listing(&fleet.live(agent)) == two));
    fleet.stop().await;
}
