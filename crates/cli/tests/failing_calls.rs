//! Agents whose system calls fail while they download: syncs that fail once, and writes for which there is no room.

#[allow(unreachable_pub, reason = "each test file uses its part of it")]
#[path = "support/blobs.rs"]
mod blobs;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/strace.rs"]
mod strace;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, Node, until};
use skip::skipped;
use std::collections::BTreeSet;
use std::fs;
use strace::{Strace, path_of};
use watched::Watched;

/// Syncs, and what makes a file or a name a new one.
const SYNCS: &str = "fsync,fdatasync,syncfs,openat,openat2,renameat,mkdirat";

#[test]
fn a7_a_sync_that_failed_is_not_made_again_and_believed_and_the_agent_converges() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let (mut seed, mut struck) = (0, BTreeSet::new());
    for call in ["fdatasync", "fsync", "syncfs"] {
        // Every sync of each kind that a deploy makes fails once, one in each deploy, until a deploy has fewer.
        for when in 1.. {
            seed += 1;
            let source = lab.dir().join(format!("source-{seed}"));
            lab::tree(&source, 1 << 20, seed);
            let inject = format!("{call}:error=EIO:when={when}");
            let Some(strace) = Strace::attach(agent.pid(), &lab.dir().join("trace"), SYNCS, &inject) else {
                return skipped("a7_a_sync_that_failed...", "strace is not installed, or not allowed to trace");
            };
            let mut deploy = Watched::start(lab.deploy_command(&source));
            assert!(deploy.end().success(), "{call} {when}: {}", deploy.said);
            assert!(agent.runs() && agent.shows(&source), "{call} {when}: it did not converge by itself");
            let calls = strace.detach();
            let failed = failed_syncs(&calls);
            if failed.is_empty() {
                break;
            }
            for (at, path) in failed {
                struck.insert(kind_of(path));
                if let Some(believed) = believed_later(&calls[at + 1..], path) {
                    panic!("{path} was synced again, and believed:\n{}", calls[at..=at + 1 + believed].join("\n"));
                }
            }
        }
    }
    let expected = BTreeSet::from(["blobs", "files of staging", "layout", "staging", "state"]);
    assert!(struck.is_superset(&expected), "only these syncs failed: {struck:?}");
}

/// The syncs that were made to fail: where in the trace, and of which path.
fn failed_syncs(calls: &[String]) -> Vec<(usize, &str)> {
    let failed = calls.iter().enumerate().filter(|(_, call)| call.contains("INJECTED"));
    failed.map(|(at, call)| (at, path_of(call).expect("a sync is of a descriptor"))).collect()
}

/// What was synced, in a word.
fn kind_of(path: &str) -> &'static str {
    match path {
        _ if path.ends_with("/store/staging") => "staging",
        _ if path.contains("/store/staging/") => "files of staging",
        _ if path.ends_with("/store/blobs") => "blobs",
        _ if path.contains("/store/state.redb") => "state",
        _ if path.contains("/srv") => "layout",
        _ => "something else",
    }
}

/// The next sync of this path, if it succeeded without anything having made it another one: the kernel forgets what it
/// could not write, and says so once.
fn believed_later(calls: &[String], path: &str) -> Option<usize> {
    let next = calls.iter().position(|call| call.contains("sync") && path_of(call) == Some(path))?;
    let is_new = calls[..next].iter().any(|call| renews(call, path));
    (calls[next].ends_with("= 0") && !is_new).then_some(next)
}

/// Whether a call gave the name a new file or directory, or the directory a new name.
fn renews(call: &str, path: &str) -> bool {
    let (dir, name) = path.rsplit_once('/').expect("a path has a parent");
    let makes = call.starts_with("renameat") || call.starts_with("mkdirat") || call.contains("O_CREAT");
    let in_it = call.contains(&format!("<{path}>"));
    makes && !call.contains("= -1") && (in_it || call.contains(&format!("<{dir}>, \"{name}\"")))
}

#[test]
fn a4_a_disk_without_room_for_pieces_or_for_the_state_pauses_the_download_and_nothing_else() {
    let lab = Lab::new();
    let scout = lab.agent("scout");
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&new, 4 << 20, 1);
    lab::tree(&old, 1 << 20, 2);
    lab.deploy(&new);
    let full =
        [("node-1", format!("store/staging/{}", pieces_file(&scout))), ("node-2", "store/state.redb".to_owned())];
    lab.deploy(&old);
    let mut agents = full.each_ref().map(|(name, _)| lab.agent(name));
    until("all show the old release", || agents.iter().all(|agent| agent.shows(&old)));
    let mut straces = Vec::new();
    for (agent, (name, file)) in agents.iter().zip(&full) {
        let (trace, path) = (lab.dir().join(format!("trace-{name}")), agent.home.join(file));
        let Some(strace) = Strace::attach_to_path(agent.pid(), &trace, &path, "pwrite64", "pwrite64:error=ENOSPC")
        else {
            return skipped("a4_a_disk_without_room...", "strace is not installed, or not allowed to trace");
        };
        straces.push(strace);
    }
    // What the fleet had before is wanted again: these two never had it.
    let mut back = Watched::start(lab.operator_command(&["rollback"]));
    for (agent, (name, _)) in agents.iter_mut().zip(&full) {
        let said = format!("on {}", agent.home.join("store").display());
        until("it says that its disk is full, and where", || {
            let trouble = lab.status_of(name).and_then(|status| Some(status["trouble"].as_str()?.to_owned()));
            trouble
                .is_some_and(|why| why.starts_with("disk full: need ") && why.contains("have ") && why.ends_with(&said))
        });
        assert!(agent.runs() && agent.shows(&old), "{name}: the old release stays");
    }
    until("the scout goes on", || scout.shows(&new));
    for (strace, (name, file)) in straces.into_iter().zip(&full) {
        let calls = strace.detach();
        let struck =
            |call: &String| call.contains("INJECTED") && path_of(call).is_some_and(|path| path.ends_with(file));
        assert!(calls.iter().any(struck), "{name}: no write of {file} failed:\n{}", calls.join("\n"));
    }
    assert!(back.end().success(), "{}", back.said);
    assert!(agents.iter_mut().all(|agent| agent.runs() && agent.shows(&new)), "they go on when there is room");
}

#[test]
fn a8_writes_that_are_interrupted_or_fail_and_closes_that_fail_commit_nothing_that_is_not_there() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let mut seed = 0;
    // Every so many writes of a deploy fail or are interrupted; and of all closes each says that something went wrong.
    for inject in [
        "pwrite64:error=EINTR:when=1+2",
        "pwrite64:error=EIO:when=3",
        "pwrite64:error=EIO:when=25",
        "close:error=EIO:when=1+1",
    ] {
        seed += 1;
        let source = lab.dir().join(format!("source-{seed}"));
        lab::tree(&source, 1 << 20, seed);
        let calls = inject.split(':').next().expect("a call");
        let Some(strace) = Strace::attach(agent.pid(), &lab.dir().join("trace"), calls, inject) else {
            return skipped("a8_writes_that_are_interrupted...", "strace is not installed, or not allowed to trace");
        };
        let mut deploy = Watched::start(lab.deploy_command(&source));
        assert!(deploy.end().success(), "{inject}: {}", deploy.said);
        assert!(agent.runs() && agent.shows(&source), "{inject}: it did not converge by itself");
        let calls = strace.detach();
        assert!(calls.iter().any(|call| call.contains("INJECTED")), "{inject}: nothing failed");
        let verified = lab.operator(&["verify"]);
        assert!(verified.status.success(), "{inject}: {}", String::from_utf8_lossy(&verified.stdout));
        assert!(blobs::hash_all(&agent.home.join("store/blobs")) > 0);
    }
}

/// The name of the file in which an agent has the pieces of its only release.
fn pieces_file(agent: &Node) -> String {
    let entries = fs::read_dir(agent.home.join("store/blobs")).expect("an agent has blobs");
    let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| name.ends_with(".pieces")).expect("a release was deployed")
}
