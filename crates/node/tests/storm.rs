//! A site powers up: many real nodes join one origin at once, and a deploy goes on meanwhile. The same with thousands, and with
//! figures, is `cargo xtask thin`.

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use node::join::{self, JoinTerms};
use support::{ANY_PORT, Fleet, in_time, listing, start};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Who asks to join.
const AGENTS: usize = 50;
/// Of those, so many ask only when the deploy is ordered.
const LATE: usize = 10;
/// One connection to join and two to stay, and half as many again for whoever dials anew.
const MOST: u64 = 5 * AGENTS as u64;

#[tokio::test(flavor = "multi_thread")]
async fn d21_fifty_real_nodes_join_at_once_and_a_deploy_meanwhile_reaches_all() {
    let mut fleet = Fleet::new(0).await;
    let source = fleet.path("build");
    std::fs::create_dir(&source).expect("made");
    let bytes: Vec<u8> = (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(source.join("app"), bytes).expect("written");
    let terms = JoinTerms { uses: AGENTS as u32, ..JoinTerms::default() };
    let line = fleet.origin.issue_join_line(terms).await.expect("a line");
    let (order, ordered) = watch::channel(false);
    let (under, mut joining) = (fleet.temp.path().to_owned(), JoinSet::new());
    for number in 0..AGENTS {
        let (under, line, mut ordered) = (under.clone(), line.clone(), ordered.clone());
        joining.spawn(async move {
            if number >= AGENTS - LATE {
                ordered.wait_for(|ordered| *ordered).await.expect("somebody deploys");
            }
            let name = format!("web-{number}");
            in_time("joining", join::join(&line, &under.join(&name), Some(&name))).await.expect("joined");
            (number, start(&under, &name, ANY_PORT.into()).await)
        });
    }
    // Some have joined, most have not.
    let first = in_time("the first", joining.join_next()).await.expect("there are some").expect("it joined");
    let deployed = fleet.deploy(&source).await.expect("deployed in the midst of it");
    assert!(!joining.is_empty(), "the storm is not over");
    order.send_replace(true);
    let mut agents = vec![first];
    while let Some(agent) = in_time("the others", joining.join_next()).await {
        agents.push(agent.expect("it joined"));
    }
    agents.sort_by_key(|(number, _)| *number);
    fleet.agents.extend(agents.into_iter().map(|(_, agent)| agent));

    let status = fleet.until_confirmed(&deployed.release.to_string()).await;
    let is_agent = |name: &str| name.starts_with("web-");
    assert_eq!(status.nodes.iter().filter(|node| node.up && is_agent(&node.name)).count(), AGENTS);
    let one = listing(&source);
    (0..AGENTS).for_each(|agent| assert_eq!(listing(&fleet.live(agent)), one, "agent {agent}"));
    let came = fleet.origin.came().connections();
    assert!((3 * AGENTS as u64..=MOST).contains(&came), "{came} connections came to the origin");
    fleet.stop().await;
}
