//! The first thing a new user runs, with the real binary and real processes.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/watched.rs"]
mod watched;

use lab::{TIDING, until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};
use watched::Watched;

fn playground(arguments: &[&str], source: &Path) -> Output {
    Command::new(&*TIDING).arg("playground").arg(source).args(arguments).output().expect("the binary runs")
}

fn source(dir: &Path) -> std::path::PathBuf {
    let source = dir.join("My App");
    lab::tree(&source, 3 << 20, 7);
    source
}

fn stop(dir: &Path) -> Output {
    Command::new(&*TIDING).args(["playground", "stop", "--dir"]).arg(dir).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_kept_playground_prints_an_object_per_node_and_stops_when_asked() {
    let held = tempfile::tempdir().expect("a temporary directory");
    let (source, dir) = (source(held.path()), held.path().join("fleet"));
    let output = playground(&["--nodes", "3", "--json", "--keep", "--dir", &dir.to_string_lossy()], &source);
    assert!(output.status.success(), "{}\n{}", output.status, text(&output.stderr));
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in &lines {
        let live = Path::new(line["live"].as_str().expect("a live path"));
        assert!(live.is_absolute() && live.is_symlink(), "{line}");
        assert!(lab::same(live, &source), "{line}");
        assert!(line["live_ms"].as_f64().is_some() && line["confirmed"] == true, "{line}");
    }
    let sum = |key: &str| lines.iter().filter_map(|line| line[key].as_u64()).sum::<u64>();
    assert!(sum("bytes_from_peers") > sum("bytes_from_origin"), "{lines:?}");
    let stopped = stop(&dir);
    assert!(text(&stopped.stdout).starts_with("4 nodes stopped"), "{stopped:?}");
    assert!(text(&stop(&dir).stdout).starts_with("0 nodes stopped"), "a second time there is nothing to stop");
}

#[test]
fn a_playground_that_is_not_kept_leaves_nothing_behind() {
    let held = tempfile::tempdir().expect("a temporary directory");
    let source = source(held.path());
    let temporary = held.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let mut command = Command::new(&*TIDING);
    command.args(["playground", "--nodes", "2"]).arg(source.join("large")).env("TMPDIR", &temporary);
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}\n{}", output.status, text(&output.stderr));
    assert!(text(&output.stdout).contains("node-2"), "{}", text(&output.stdout));
    assert_eq!(fs::read_dir(&temporary).expect("a directory").count(), 0);
}

#[test]
fn the_nodes_end_with_a_playground_that_is_killed() {
    let held = tempfile::tempdir().expect("a temporary directory");
    let (source, dir) = (source(held.path()), held.path().join("fleet"));
    let mut command = Command::new(&*TIDING);
    command.args(["playground", "--nodes", "2", "--dir"]).arg(&dir).arg(&source);
    let mut playground = Watched::start(command);
    assert!(playground.reads("up "), "{}", playground.said);
    let locks: Vec<File> = ["origin", "node-1", "node-2"]
        .map(|node| File::open(dir.join(node).join("store/lock")).expect("a node that is up has a lock"))
        .into();
    assert!(locks.iter().all(|lock| lock.try_lock().is_err()), "the nodes run");
    playground.signal(Signal::KILL);
    until("the locks are free", || locks.iter().all(|lock| lock.try_lock().is_ok()));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_started() {
    let held = tempfile::tempdir().expect("a temporary directory");
    let missing = playground(&[], &held.path().join("missing"));
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing.stderr));
    let used = held.path().join("used");
    fs::create_dir(&used).expect("a directory");
    fs::write(used.join("mine"), "x").expect("a file");
    let refused = playground(&["--dir", &used.to_string_lossy()], held.path());
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("next:"), "{}", text(&refused.stderr));
    assert_eq!(stop(&used).status.code(), Some(2));
    assert_eq!(fs::read_dir(&used).expect("a directory").count(), 1, "nothing was written there");
}
