//! Whole fleets over loopback: real nodes, sockets, disks and clocks in one process. Everything waits for what the origin
//! says has happened, never for time.

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use node::api::FleetStatus;
use node::client::ClientError;
use node::daemon;
use node::founding;
use node::join::{self, JoinError, JoinTerms};
use node::publish::{self, DeployError, DeployOptions, Progress};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use support::{ANY_PORT, Fleet, in_time, listing, options, start, tree};

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_goes_live_everywhere_and_back() {
    let fleet = Fleet::new(3).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let mut seen = Vec::new();
    let options = DeployOptions { health_window: Duration::ZERO, ..DeployOptions::new("app", Path::new("/srv/app")) };
    let operator = fleet.operator();
    let deploying = publish::deploy(&operator, &source, &options, |progress| seen.push(progress));
    let first = in_time("deploying", deploying).await.expect("deployed");
    assert!(seen.iter().any(|progress| matches!(progress, Progress::Found { entries: 8, .. })), "{seen:?}");
    assert!(matches!(seen.last(), Some(Progress::Ordered { epoch: 1, .. })), "{seen:?}");
    fleet.until_confirmed(&first.release.to_string()).await;
    let one = listing(&source);
    for agent in 0..3 {
        assert_eq!(listing(&fleet.live(agent)), one, "agent {agent}");
    }

    tree(&source, "two");
    let second = fleet.deploy(&source).await.expect("deployed");
    assert_eq!(second.epoch, 2);
    let status = fleet.until_confirmed(&second.release.to_string()).await;
    let two = listing(&source);
    assert_ne!(one, two);
    assert_eq!(listing(&fleet.live(2)), two);
    let sent: u64 = status.apps.iter().map(|app| app.origin_sent).sum();
    let whole = status.apps[0].content_bytes;
    assert!(sent <= whole * 13 / 10 + 200_000, "the origin sent {sent} of {whole} bytes");

    let verified = in_time("verifying", fleet.client().verify("app")).await.expect("verified");
    assert_eq!(verified.nodes.len(), 3);
    for node in &verified.nodes {
        let report = node.report.as_ref().unwrap_or_else(|| panic!("{}: {:?}", node.name, node.error));
        assert_eq!((report.differing, report.release.as_str()), (0, second.release.to_string().as_str()));
    }

    let back = publish::rollback(&operator, "app", None, "two is bad");
    let back = in_time("rolling back", back).await.expect("ordered");
    assert_eq!((back.release, back.epoch), (first.release, 3));
    fleet.until_confirmed(&first.release.to_string()).await;
    assert_eq!(listing(&fleet.live(0)), one);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_was_changed_in_a_live_tree() {
    let fleet = Fleet::new(2).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    std::fs::write(fleet.live(1).join("bin/run"), b"#!/bin/sh\nrm -rf /\n").expect("written");
    let verified = in_time("verifying", fleet.client().verify("app")).await.expect("verified");
    let differing: BTreeMap<&str, u32> = (verified.nodes.iter())
        .map(|node| (node.name.as_str(), node.report.as_ref().expect("a report").differing))
        .collect();
    assert_eq!(differing, BTreeMap::from([("web-0", 0), ("web-1", 1)]));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_file_can_be_deployed() {
    let fleet = Fleet::new(1).await;
    let source = fleet.path("config.txt");
    std::fs::write(&source, b"port = 80\n").expect("written");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(std::fs::read(fleet.live(0)).expect("readable"), b"port = 80\n");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_wrong_used_up_and_revoked_lines_let_nobody_in() {
    let fleet = Fleet::new(0).await;
    let refused = async |line: &join::JoinLine, name: &str| {
        let joined = in_time("joining", join::join(line, &fleet.path(name), None)).await;
        assert!(!founding::is_founded(&fleet.path(name)), "{name} has joined");
        match joined {
            Err(JoinError::Refused(refusal)) => refusal.to_string(),
            other => panic!("{name}: {other:?}"),
        }
    };
    let once = JoinTerms { uses: 1, ..JoinTerms::default() };
    let line = fleet.origin.issue_join_line(once.clone()).await.expect("a line");
    in_time("joining", join::join(&line, &fleet.path("first"), Some("first"))).await.expect("joined");
    refused(&line, "second").await;

    let line = fleet.client().issue_join_line(&once).await.expect("a line");
    fleet.client().revoke_token(line.token_id()).await.expect("revoked");
    refused(&line, "third").await;

    // A token that was never issued; the secret of one line does not open another.
    let other = Fleet::new(0).await;
    let mut foreign = other.origin.issue_join_line(once).await.expect("a line");
    foreign.addresses = vec![fleet.origin.address()];
    let joined = in_time("joining", join::join(&foreign, &fleet.path("fourth"), None)).await;
    assert!(matches!(joined, Err(JoinError::NotTheFleet { .. })), "{joined:?}");
    let good = fleet.origin.issue_join_line(JoinTerms::default()).await.expect("a line");
    (foreign.ca, foreign.fleet) = (good.ca, good.fleet);
    refused(&foreign, "fifth").await;
    other.stop().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_reached_elsewhere_now_says_so_in_its_lines_and_to_those_who_join() {
    let Fleet { temp, origin, .. } = Fleet::new(0).await;
    in_time("stopping", origin.stop()).await;
    let elsewhere: std::net::SocketAddr = ([203, 0, 113, 7], 7443).into();
    founding::set_advertised(&temp.path().join("origin"), &[elsewhere]).expect("written");
    let origin = start(temp.path(), "origin", ANY_PORT.into()).await;
    assert_eq!(origin.reached(), [elsewhere]);
    let mut line = origin.issue_join_line(JoinTerms::default()).await.expect("a line");
    assert_eq!(line.addresses, [elsewhere]);
    line.addresses = vec![origin.address()];
    let home = temp.path().join("web");
    in_time("joining", join::join(&line, &home, Some("web"))).await.expect("joined");
    let node = std::fs::read_to_string(home.join("identity/node.json")).expect("readable");
    assert!(node.contains("203.0.113.7:7443"), "{node}");
    let before = std::fs::read(home.join("identity/node.json")).expect("readable");
    founding::set_advertised(&home, &[elsewhere]).expect("nothing to do");
    assert_eq!(
        std::fs::read(home.join("identity/node.json")).expect("readable"),
        before,
        "an agent advertises nothing"
    );
    in_time("stopping", origin.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_an_expired_line_lets_nobody_in_and_says_what_to_do() {
    let fleet = Fleet::new(0).await;
    // Lines are dated in whole seconds: this one is valid until the second in which it is made, which is over.
    let over = JoinTerms { valid: Duration::from_millis(1), ..JoinTerms::default() };
    let line = fleet.origin.issue_join_line(over).await.expect("a line");
    let joined = in_time("joining", join::join(&line, &fleet.path("late"), Some("late"))).await;
    assert_eq!(
        joined.expect_err("it has expired").to_string(),
        "the origin refused: not allowed: the join line has expired; ask for a new one with `tiding token`"
    );
    assert!(!founding::is_founded(&fleet.path("late")));
    let status = in_time("asking", fleet.client().status()).await.expect("a status");
    assert!(status.nodes.iter().all(|node| node.name != "late"), "{:?}", status.nodes);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_a_used_up_line_lets_nobody_in_and_joining_again_eats_no_use() {
    let fleet = Fleet::new(0).await;
    let twice = JoinTerms { uses: 2, ..JoinTerms::default() };
    let line = fleet.client().issue_join_line(&twice).await.expect("a line");
    let join = async |name: &str| in_time("joining", join::join(&line, &fleet.path(name), Some(name))).await;
    join("first").await.expect("joined");
    for _ in 0..3 {
        let again = join("first").await;
        assert!(matches!(&again, Err(JoinError::AlreadyJoined(home)) if *home == fleet.path("first")), "{again:?}");
    }
    join("second").await.expect("there is a use left");
    assert_eq!(
        join("third").await.expect_err("none is left").to_string(),
        "the origin refused: not allowed: the join line is used up; ask for a new one with `tiding token`"
    );
    assert!(!founding::is_founded(&fleet.path("third")));
    // The ones that are in stay in.
    let under = fleet.temp.path().to_owned();
    let first = start(&under, "first", ANY_PORT.into()).await;
    fleet.until("coming", |status| status.nodes.iter().any(|node| node.up && node.name == "first")).await;
    in_time("stopping", first.stop()).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_where_the_deploys_went_and_nowhere_else() {
    let mut fleet = Fleet::new(1).await;
    let zone = || (label("zone"), label("b"));
    let terms = JoinTerms { labels: [zone()].into(), ..JoinTerms::default() };
    let line = fleet.client().issue_join_line(&terms).await.expect("a line");
    in_time("joining", join::join(&line, &fleet.path("web-1"), Some("web-1"))).await.expect("joined");
    fleet.agents.push(start(fleet.temp.path(), "web-1", ANY_PORT.into()).await);
    let source = fleet.path("build");
    let options = DeployOptions {
        health_window: Duration::ZERO,
        selector: "zone=b".parse().expect("a selector"),
        ..DeployOptions::new("app", Path::new("/srv/app"))
    };
    let mut releases = Vec::new();
    for words in ["one", "two"] {
        tree(&source, words);
        let operator = fleet.operator();
        let deploying = publish::deploy(&operator, &source, &options, |_| {});
        releases.push(in_time("deploying", deploying).await.expect("deployed").release.to_string());
        confirmed_by(&fleet, 1, releases.last().expect("it was pushed")).await;
    }
    in_time("rolling back", publish::rollback(&fleet.operator(), "app", None, "")).await.expect("ordered");
    confirmed_by(&fleet, 1, &releases[0]).await;
    assert!(fleet.live(1).exists() && !fleet.live(0).exists(), "it went where no deploy went");
    fleet.stop().await;
}

fn label(text: &str) -> content::Label {
    content::Label::new(text).expect("a label")
}

/// Waits until the rollout is over and so many agents run the release.
async fn confirmed_by(fleet: &Fleet, agents: usize, release: &str) {
    fleet
        .until("confirming", |status| {
            let live =
                status.nodes.iter().flat_map(|node| &node.apps).filter(|app| app.live.as_deref() == Some(release));
            let is_over = status.apps.iter().all(|app| app.state == node::api::RolloutState::Finished);
            is_over && live.count() == agents && status.apps[0].release == release
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_for_good_is_forgotten_and_let_in_no_more() {
    let mut fleet = Fleet::new(2).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let first = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&first.release.to_string()).await;
    in_time("stopping", fleet.agents.remove(1).stop()).await;
    let is_away = |status: &FleetStatus| status.nodes.iter().any(|node| node.name == "web-1" && !node.up);
    let status = fleet.until("going", is_away).await;
    let verified = in_time("verifying", fleet.client().verify("app")).await.expect("verified");
    assert_eq!(verified.nodes.iter().filter(|node| node.error.is_some()).count(), 1, "who is away is named");

    let gone = status.nodes.iter().find(|node| node.name == "web-1").expect("it was there");
    let gone = gone.node.parse().expect("an id");
    for _ in 0..2 {
        in_time("forgetting", fleet.client().forget(gone)).await.expect("forgotten, or forgotten before");
    }
    let stranger = fleet.client().forget(content::NodeId(content::Digest::of(b"nobody"))).await;
    assert!(stranger.expect_err("nobody is called so").to_string().contains("no such node"));
    let verified = in_time("verifying", fleet.client().verify("app")).await.expect("verified");
    assert_eq!(verified.nodes.len(), 1);
    let again = start(fleet.temp.path(), "web-1", ANY_PORT.into()).await;
    tree(&source, "two");
    let second = fleet.deploy(&source).await.expect("deployed");
    let status = fleet.until_confirmed(&second.release.to_string()).await;
    assert!(status.nodes.iter().all(|node| node.name != "web-1"), "{status:?}");
    in_time("stopping", again.stop()).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_whose_journals_are_lost_says_so_and_an_agent_is_told_again() {
    let mut fleet = Fleet::new(1).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    let under = fleet.temp.path().to_owned();
    let damage =
        |node: &str| std::fs::write(under.join(node).join("store/state.redb"), b"no database").expect("written");

    in_time("stopping", fleet.agents.remove(0).stop()).await;
    damage("web-0");
    fleet.agents.push(start(&under, "web-0", ANY_PORT.into()).await);
    fleet.until_confirmed(&deployed.release.to_string()).await;

    let address = fleet.origin.address();
    in_time("stopping", fleet.origin.stop()).await;
    damage("origin");
    for _ in 0..2 {
        let refused = in_time("starting", daemon::start(support::options(&under, "origin", address))).await;
        let why = refused.err().expect("it must not begin anew").to_string();
        assert!(why.contains("lost its journals") && why.contains("backup"), "{why}");
    }
    std::fs::remove_file(under.join("origin/store/state.lost")).expect("the loss is accepted");
    fleet.origin = start(&under, "origin", address).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_was_cut_off_after_the_origin_agreed_eats_no_second_use() {
    let fleet = Fleet::new(0).await;
    let line = fleet.client().issue_join_line(&JoinTerms { uses: 1, ..JoinTerms::default() }).await.expect("a line");
    let home = fleet.path("first");
    in_time("joining", join::join(&line, &home, Some("first"))).await.expect("joined");
    assert!(!home.join("joining.pem").exists(), "the key has found its place");
    // As if the process had ended between the answer and the disk: the key is there, the certificate is not.
    std::fs::rename(home.join("identity/key.pem"), home.join("joining.pem")).expect("a key");
    std::fs::remove_dir_all(home.join("identity")).expect("an identity");
    in_time("joining again", join::join(&line, &home, Some("first"))).await.expect("it is the same node");
    let status = fleet.client().status().await.expect("a status");
    assert_eq!(status.nodes.iter().filter(|node| node.name == "first").count(), 1);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_back_after_a_restart_of_either_side() {
    let mut fleet = Fleet::new(2).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;

    let (address, under) = (fleet.origin.address(), fleet.temp.path().to_owned());
    in_time("stopping", fleet.origin.stop()).await;
    fleet.origin = start(&under, "origin", address).await;
    let agents =
        |status: &FleetStatus| status.nodes.iter().filter(|node| node.up && node.name.starts_with("web")).count();
    fleet.until("coming back", |status| agents(status) == 2).await;

    in_time("stopping", fleet.agents.remove(1).stop()).await;
    fleet.until("going", |status| agents(status) == 1).await;
    tree(&source, "two");
    let second = fleet.deploy(&source).await.expect("deployed");
    fleet.agents.push(start(&under, "web-1", ANY_PORT.into()).await);
    fleet.until_confirmed(&second.release.to_string()).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_converges_without_an_operator() {
    let mut fleet = Fleet::new(1).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    let line = fleet.client().issue_join_line(&JoinTerms::default()).await.expect("a line");
    in_time("joining", join::join(&line, &fleet.path("web-1"), Some("web-1"))).await.expect("joined");
    let under = fleet.temp.path().to_owned();
    fleet.agents.push(start(&under, "web-1", ANY_PORT.into()).await);
    fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_a_second_process_on_one_store_is_refused() {
    let fleet = Fleet::new(0).await;
    let options = options(fleet.temp.path(), "origin", ANY_PORT.into());
    let why = daemon::start(options).await.map(drop).expect_err("locked").to_string();
    assert!(why.contains(&format!("locked by process {}", std::process::id())), "{why}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_away_is_said_before_anything_is_signed() {
    let fleet = Fleet::new(0).await;
    let (operator, source) = (fleet.operator(), fleet.path("build"));
    tree(&source, "one");
    let Fleet { temp: _temp, origin, .. } = fleet;
    in_time("stopping", origin.stop()).await;
    let options = DeployOptions::new("app", Path::new("/srv/app"));
    // It is asked while the tree is read.
    let is_early = |progress: &Progress| matches!(progress, Progress::Reading { .. });
    let mut later = 0;
    let count = |progress: Progress| later += u32::from(!is_early(&progress));
    let deployed = in_time("deploying", publish::deploy(&operator, &source, &options, count)).await;
    assert!(matches!(deployed, Err(DeployError::Client(ClientError::Unreachable(_)))), "{deployed:?}");
    assert_eq!(later, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn d6_a_publisher_that_is_cut_off_has_deployed_nothing_and_may_try_again() {
    let fleet = Fleet::new(2).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let large: Vec<u8> =
        (0..10_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(7).to_le_bytes()).collect();
    std::fs::write(source.join("larger"), large).expect("written");
    let (operator, (cut, cut_off)) = (fleet.operator(), tokio::sync::oneshot::channel());
    let mut cut = Some(cut);
    let options = DeployOptions::new("app", Path::new("/srv/app"));
    let deploying = publish::deploy(&operator, &source, &options, |progress| {
        if matches!(progress, Progress::Spreading { .. })
            && let Some(cut) = cut.take()
        {
            cut.send(()).expect("somebody waits");
        }
    });
    tokio::select! {
        deployed = deploying => panic!("it was not cut off: {deployed:?}"),
        _ = cut_off => {}
    }
    let status = in_time("asking", fleet.client().status()).await.expect("a status");
    assert!(status.apps.iter().all(|app| app.order.is_none()), "{:?}", status.apps);
    assert!(!fleet.live(0).exists());
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    fleet.stop().await;
}
