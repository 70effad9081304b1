//! Agents that are killed while they download: they resume by themselves, lose little, and pass nothing bad on.

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
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use strace::Strace;
use watched::Watched;

/// Which call of a kind is struck after this one.
type Next = fn(u32) -> u32;

/// The calls with which a download changes a disk, and the step in which their number rises: every call of a kind that
/// there are few of, every second, fourth, ... of a kind that there are many of.
const CALLS: [(&str, Next); 6] = [
    ("ftruncate", |when| when + 1),
    ("renameat", |when| when + 1),
    ("fsync", |when| when + 3),
    ("fdatasync", |when| when + 3),
    ("pwrite64", |when| when * 2),
    ("unlinkat", |when| when * 2),
];

/// Where a kill struck.
#[derive(Debug, Default)]
struct Strikes {
    /// While a content was under way.
    in_download: u32,
    /// After that, while it was laid out and switched to.
    later: u32,
}

#[test]
fn a1_killed_at_any_call_that_changes_its_disk_an_agent_resumes_by_itself() {
    let lab = Lab::new();
    let (witness, mut victim) = (lab.agent("witness"), lab.agent("victim"));
    let (mut seed, mut strikes) = (0, Strikes::default());
    for (call, next) in CALLS {
        let mut when = 1;
        loop {
            seed += 1;
            let source = lab.dir().join(format!("source-{seed}"));
            lab::tree(&source, 2 << 20, seed);
            let Some(strace) = kill_at(&victim, &lab.dir().join("trace"), call, when) else {
                return skipped("a1_killed_at_any_call...", "strace is not installed, or not allowed to trace");
            };
            let struck = deploy_through(&lab, &mut victim, strace, &source, &mut strikes);
            assert!(victim.shows(&source) && witness.shows(&source), "{call} {when}: another tree is live");
            match struck {
                true => when = next(when),
                false => break,
            }
        }
        assert!(when > 1, "no {call} was seen");
    }
    assert!(strikes.in_download >= 6 && strikes.later >= 5, "the kills struck elsewhere: {strikes:?}");
    for node in [&lab.origin, &witness, &victim] {
        assert!(!node.log().contains("Convicted"), "somebody served what is not right:\n{}", node.log());
    }
}

fn kill_at(victim: &Node, trace: &Path, call: &str, when: u32) -> Option<Strace> {
    Strace::attach(victim.pid(), trace, call, &format!("{call}:signal=KILL:when={when}"))
}

/// Deploys; starts the agent again when it was killed on the way. Whether it was.
fn deploy_through(lab: &Lab, victim: &mut Node, strace: Strace, source: &Path, strikes: &mut Strikes) -> bool {
    let mut deploy = Watched::start(lab.deploy_command(source));
    until("the agent dies, or the deploy ends", || !victim.runs() || !deploy.runs());
    let calls = strace.detach();
    let struck = calls.iter().any(|call| call.contains("killed by SIGKILL"));
    if struck {
        assert!(victim.wait(), "it was killed");
        match staged(victim) {
            0 => strikes.later += 1,
            _ => strikes.in_download += 1,
        }
        *victim = lab.agent("victim");
    }
    assert!(deploy.end().success(), "{}\n{calls:#?}", deploy.said);
    struck
}

/// How many bytes of contents under way are on an agent's disk.
fn staged(agent: &Node) -> u64 {
    let entries = fs::read_dir(agent.home.join("store/staging")).expect("an agent has staging");
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

#[test]
fn a1_a_kill_late_in_a_long_download_costs_no_more_than_64_mib() {
    const LONG: u64 = 144 << 20;
    const LATE: u64 = 120 << 20;
    const MOST: u64 = 64 << 20;
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    fs::write(&source, noise(LONG)).expect("a file can be written");
    let mut deploy = Watched::start(lab.deploy_command(&source));
    until("much of it is there", || staged(&agent) >= LATE || !deploy.runs());
    agent.kill();
    let before = staged(&agent);
    assert!((LATE..LONG).contains(&before), "{before} bytes had come when it was killed");
    let agent = lab.agent("node-1");
    assert!(deploy.end().success(), "{}", deploy.said);
    assert!(agent.shows(&source));
    let status = lab.status_of("node-1").expect("the origin knows the agent");
    let received = ["from_origin", "from_peers"].map(|from| status[from].as_u64().expect("a number of bytes"));
    let after: u64 = received.iter().sum();
    assert!(before + after >= LONG, "not all of it came: {before} bytes before the kill, {after} bytes after it");
    assert!(before + after <= LONG + MOST, "{} bytes came twice", before + after - LONG);
}

/// Bytes that nothing can be saved of.
fn noise(len: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = vec![0; len as usize];
    for word in bytes.as_chunks_mut::<8>().0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *word = state.to_le_bytes();
    }
    bytes
}
