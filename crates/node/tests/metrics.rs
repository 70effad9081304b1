//! What a real origin and a real agent serve, and that the page, the alerts and the board speak of nothing else.

use tiding_node as node;

#[path = "support/fleet.rs"]
mod fleet;

use fleet::{Fleet, in_time, tree};
use node::daemon::Running;
use node::metrics::{Door, FAMILIES, Family, Kind, Who};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PAGE: &str = include_str!("../../../docs/metrics.md");
const RULES: &str = include_str!("../../../dist/prometheus/tiding.rules.yml");
const BOARD: &str = include_str!("../../../dist/grafana/tiding.json");

async fn opened(node: &mut Running) -> SocketAddr {
    let door = Door::open(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = door.address();
    node.serve_metrics(door);
    address
}

async fn scraped(address: SocketAddr) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream
            .write_all(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
            .await
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers and closes");
        answer
    };
    in_time("scraping", asking).await
}

/// The value of a line, if there is one.
fn value(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|said| said.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
}

/// The names that a text serves.
fn served(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_is_seen_in_the_figures_of_both_sides() {
    let mut fleet = Fleet::new(2).await;
    let origin = opened(&mut fleet.origin).await;
    let agent = opened(&mut fleet.agents[0]).await;
    let source = fleet.path("source");
    tree(&source, "one");
    let deployed = in_time("deploying", fleet.deploy(&source)).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;

    let (of_origin, of_agent) =
        (in_time("a new sheet", until(origin, is_over)).await, in_time("a new sheet", until(agent, is_done)).await);
    for (text, who) in [(&of_origin, Who::Origin), (&of_agent, Who::Agent)] {
        let listed = FAMILIES.iter().filter(|family| [Who::Node, who].contains(&family.who));
        assert_eq!(served(text), listed.map(|family| family.name).collect());
    }
    assert_eq!(value(&of_origin, "tiding_origin_nodes{state=\"up\"}"), Some(2.0));
    assert_eq!(value(&of_origin, "tiding_origin_joins_total"), Some(2.0));
    assert_eq!(value(&of_origin, "tiding_origin_submission_duration_seconds_count"), Some(1.0));
    assert_eq!(value(&of_origin, "tiding_origin_node_confirmed_seconds_count"), Some(2.0));
    assert_eq!(value(&of_origin, "tiding_origin_rollout_nodes{app=\"app\",standing=\"confirmed\"}"), Some(2.0));
    assert!(
        value(&of_origin, "tiding_sent_bytes_total{to=\"agent\"}").is_some_and(|bytes| bytes > 100_000.0),
        "{of_origin}"
    );
    assert!(value(&of_origin, "tiding_received_bytes_total{from=\"operator\"}").is_some_and(|bytes| bytes > 100_000.0));
    assert!(value(&of_origin, "tiding_journal_facts{journal=\"datacenter\"}").is_some_and(|facts| facts > 4.0));
    assert!(value(&of_origin, "tiding_origin_rollout_state_age_seconds{app=\"app\"}").is_some(), "it saw how it ended");
    assert_eq!(value(&of_agent, "tiding_switch_duration_seconds_count"), Some(1.0));
    assert_eq!(value(&of_agent, "tiding_peers{role=\"origin\"}"), Some(1.0));
    assert!(
        value(&of_agent, "tiding_app_confirmed_timestamp_seconds{app=\"app\"}").is_some_and(|at| at > 1e9),
        "{of_agent}"
    );
    assert!(value(&of_agent, "tiding_certificate_expiry_timestamp_seconds{of=\"node\"}").is_some_and(|at| at > 1e9));
    assert!(value(&of_agent, "tiding_store_bytes").is_some_and(|bytes| bytes > 100_000.0), "{of_agent}");
    for name in ["web-0", "web-1", "alice"] {
        assert!(!of_origin.contains(name), "{name} is among the figures");
    }
    fleet.stop().await;
}

fn is_over(text: &str) -> bool {
    value(text, "tiding_origin_rollout_state{app=\"app\",state=\"finished\"}") == Some(1.0)
}

fn is_done(text: &str) -> bool {
    value(text, "tiding_app_phase{app=\"app\",phase=\"confirmed\"}") == Some(1.0)
}

/// Asks until the figures are so.
async fn until(address: SocketAddr, is_so: fn(&str) -> bool) -> String {
    loop {
        let text = scraped(address).await;
        if is_so(&text) {
            return text;
        }
    }
}

/// The page's table of a kind of node.
fn table(who: Who) -> String {
    let row = |family: &&Family| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |\n", family.name, family.kind.word(), labels.join(", "), family.help)
    };
    let rows = FAMILIES.iter().copied().filter(|family| family.who == who);
    format!(
        "| name | kind | labels | what it says |\n|---|---|---|---|\n{}",
        rows.map(|family| row(&family)).collect::<String>()
    )
}

#[test]
fn the_page_lists_every_metric_as_it_is() {
    for who in [Who::Node, Who::Agent, Who::Origin] {
        let table = table(who);
        assert!(PAGE.contains(&table), "docs/metrics.md should hold, for {}:\n\n{table}", who.word());
    }
}

/// The names of metrics in a text, without what a histogram adds.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("tiding_") || word.starts_with("process_"));
    ours.map(without_suffix).collect()
}

fn without_suffix(word: &str) -> String {
    let is_histogram = |name: &str| FAMILIES.iter().any(|family| family.name == name && family.kind == Kind::Histogram);
    let suffixes = ["_bucket", "_sum", "_count"].into_iter();
    let base = suffixes.filter_map(|suffix| word.strip_suffix(suffix)).find(|base| is_histogram(base));
    base.unwrap_or(word).to_owned()
}

fn is_served(name: &str) -> bool {
    FAMILIES.iter().any(|family| family.name == name)
}

/// The alerts: of each its fields. The file is of the plainest YAML: a key and its value in a line, and texts between quotes.
fn alerts() -> Vec<Vec<(&'static str, String)>> {
    let mut alerts: Vec<Vec<(&str, String)>> = Vec::new();
    for line in RULES.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("`{line}` is no key and value"));
        let value = value.trim();
        if let Some(alert) = key.strip_prefix("- ").filter(|key| *key == "alert") {
            alerts.push(vec![(alert, value.to_owned())]);
        } else if let Some(alert) = alerts.last_mut() {
            let quotes = value.chars().filter(|c| *c == '\'').count();
            assert!(
                value.is_empty()
                    || !value.contains(": ")
                    || (value.starts_with('\'') && value.ends_with('\'') && quotes == 2),
                "{line}"
            );
            alert.push((key, value.trim_matches('\'').to_owned()));
        }
    }
    alerts
}

#[test]
fn each_alert_is_about_what_is_served_and_says_what_next() {
    let alerts = alerts();
    assert!(alerts.len() >= 9, "{} alerts", alerts.len());
    for alert in &alerts {
        let of = |key: &str| {
            alert.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let (name, expression) = (of("alert"), of("expr"));
        let names = named(expression);
        assert!(!names.is_empty() || expression.contains("up{"), "{name}: {expression}");
        names.iter().for_each(|metric| assert!(is_served(metric), "{name}: nobody serves {metric}"));
        assert!(["page", "ticket"].contains(&of("severity")), "{name} says how urgent it is");
        assert!(of("summary").contains("; "), "{name} says what is, and what next: {}", of("summary"));
        for (open, close) in [('(', ')'), ('{', '}')] {
            let count = |c: char| expression.chars().filter(|other| *other == c).count();
            assert_eq!(count(open), count(close), "{name}: {expression}");
        }
    }
}

#[test]
fn the_board_shows_only_what_is_served() {
    let board: Value = serde_json::from_str(BOARD).expect("the board is JSON");
    let panels = board["panels"].as_array().expect("panels");
    assert!(panels.len() >= 8);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "two panels have the id {}", panel["id"]);
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(!targets.is_empty() || panel["type"] == "row", "{} shows nothing", panel["title"]);
        for target in targets {
            let names = named(target["expr"].as_str().expect("an expression"));
            assert!(!names.is_empty(), "{target}");
            names.iter().for_each(|metric| assert!(is_served(metric), "{}: nobody serves {metric}", panel["title"]));
        }
    }
}
