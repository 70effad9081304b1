//! Stores in trouble while their node runs: read-only, removed, damaged, slow, out of names, out of descriptors.

#[path = "support/lab.rs"]
mod lab;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#[path = "support/mount.rs"]
mod mount;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/strace.rs"]
mod strace;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, Node, until};
use mount::Mount;
use skip::skipped;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use strace::Strace;
use watched::Watched;

/// What a node says is in the way.
fn trouble(lab: &Lab, name: &str) -> String {
    let trouble = lab.status_of(name).and_then(|status| Some(status["trouble"].as_str()?.to_owned()));
    trouble.unwrap_or_default()
}

/// Whether a node is connected.
fn is_up(lab: &Lab, name: &str) -> bool {
    let status = lab.status().expect("the origin answers");
    let nodes = status["nodes"].as_array().expect("nodes");
    nodes.iter().any(|node| node["name"] == name && node["up"] == true)
}

/// Two trees that differ.
fn trees(lab: &Lab, large: usize) -> (PathBuf, PathBuf) {
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&old, 1 << 20, 1);
    lab::tree(&new, large, 2);
    (old, new)
}

/// Calls that change a file system, besides those that make files: they open them, too.
const CHANGES: &str = "pwrite64,ftruncate,fdatasync,fsync,syncfs,renameat,renameat2,mkdirat,unlinkat,symlinkat,linkat";

#[test]
fn a6_a_disk_that_turns_read_only_degrades_its_node_which_goes_on_when_it_is_writable_again() {
    let lab = Lab::new();
    let (mut struck, other) = (lab.agent("node-1"), lab.agent("node-2"));
    let (old, new) = trees(&lab, 4 << 20);
    lab.deploy(&old);
    let trace = lab.dir().join("trace");
    let Some(strace) = Strace::attach(struck.pid(), &trace, CHANGES, &format!("{CHANGES}:error=EROFS")) else {
        return skipped("a6_a_disk_that_turns_read_only...", "strace is not installed, or not allowed to trace");
    };
    until("it says so before anyone wants anything of it", || {
        let why = trouble(&lab, "node-1");
        why.starts_with("DEGRADED: ") && why.contains("Read-only file system") && why.contains("mounted for writing")
    });
    let mut deploy = Watched::start(lab.deploy_command(&new));
    until("the other one shows the new release", || other.shows(&new));
    let late = lab.agent("node-3");
    until("whoever comes now does so, too", || late.shows(&new));
    assert!(
        struck.runs() && struck.shows(&old) && is_up(&lab, "node-1"),
        "the old release stays, and so does the node"
    );
    assert!(trouble(&lab, "node-1").starts_with("DEGRADED: "));
    let calls = strace.detach();
    assert!(calls.iter().any(|call| call.contains("INJECTED")), "nothing was read-only:\n{}", calls.join("\n"));
    assert!(deploy.end().success(), "{}", deploy.said);
    assert!(struck.runs() && struck.shows(&new), "it went on by itself");
    until("it says that it is well", || trouble(&lab, "node-1").is_empty());
}

#[test]
fn a13_a_store_that_is_removed_under_a_running_agent_is_made_anew_and_what_is_live_runs_on() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let (old, new) = trees(&lab, 4 << 20);
    lab.deploy(&old);
    let (store, pid) = (agent.home.join("store"), agent.pid());
    fs::remove_dir_all(&store).expect("a store can be removed");
    until("it is made anew", || store.join("state.redb").exists());
    assert!(agent.log().contains("begins again with an empty store"), "{}", agent.log());
    until("it has what it runs again", || lab.status_of("node-1").is_some_and(|app| app["phase"] == "confirmed"));
    assert!(agent.runs() && agent.pid() == pid && agent.shows(&old));
    lab.deploy(&new);
    assert!(agent.runs() && agent.shows(&new));
    let verified = lab.operator(&["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn a13_an_origin_whose_store_is_removed_does_not_begin_as_if_there_had_been_none() {
    let mut lab = Lab::new();
    let agent = lab.agent("node-1");
    let (old, _) = trees(&lab, 1 << 20);
    lab.deploy(&old);
    fs::remove_dir_all(lab.origin.home.join("store")).expect("a store can be removed");
    assert!(lab.origin.wait());
    let log = lab.origin.log();
    assert!(log.contains("this origin has lost its journals") && log.contains("tiding restore"), "{log}");
    let again = Command::new(&*lab::TIDING)
        .args(["run", "--listen", "127.0.0.1:0", "--home"])
        .arg(&lab.origin.home)
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("this origin has lost its journals"), "{said}");
    assert!(agent.shows(&old));
}

#[test]
fn a12_an_agent_whose_state_is_damaged_or_gone_says_so_and_needs_nothing_again() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let (old, new) = trees(&lab, 4 << 20);
    lab.deploy(&old);
    let state = agent.home.join("store/state.redb");
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 3] = [
        (|state| overwrite(state, |bytes| bytes.iter_mut().step_by(4099).for_each(|byte| *byte ^= 0x40)), "DAMAGED"),
        (|state| overwrite(state, |bytes| bytes.truncate(bytes.len() / 2)), "DAMAGED"),
        (|state| fs::remove_file(state).expect("a file can be removed"), "MISSING"),
    ];
    for (damage, word) in damages {
        agent.kill();
        let before = agent.log().len();
        damage(&state);
        agent = lab.agent("node-1");
        let said = format!("THE STATE FILE WAS {word}");
        assert!(agent.log()[before..].contains(&said), "`{said}` was not said:\n{}", &agent.log()[before..]);
        assert!(agent.shows(&old));
        // What it said before it was killed stands until it says something else: that it had fetched all of it.
        until("its origin has told it again, and nothing was fetched again", || {
            let app = lab.status_of("node-1").unwrap_or_default();
            app["phase"] == "confirmed" && app["from_origin"] == 0 && app["from_peers"] == 0
        });
    }
    lab.deploy(&new);
    assert!(agent.shows(&new));
}

fn overwrite(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file can be read");
    change(&mut bytes);
    fs::write(file, bytes).expect("a file can be written");
}

#[test]
fn a12_an_origin_whose_state_is_damaged_does_not_start_and_says_what_to_do() {
    let mut lab = Lab::new();
    let (old, _) = trees(&lab, 1 << 20);
    let agent = lab.agent("node-1");
    lab.deploy(&old);
    lab.origin.kill();
    overwrite(&lab.origin.home.join("store/state.redb"), |bytes| bytes.truncate(5000));
    for _ in 0..2 {
        let again = Command::new(&*lab::TIDING)
            .args(["run", "--listen", "127.0.0.1:0", "--home"])
            .arg(&lab.origin.home)
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(!again.status.success(), "{said}");
        assert!(said.contains("this origin has lost its journals") && said.contains("DAMAGED"), "{said}");
    }
    assert!(agent.shows(&old));
}

#[test]
fn a16_a_node_without_descriptors_turns_strangers_away_and_goes_on_with_its_own() {
    const MOST: usize = 64;
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let (old, new) = trees(&lab, 4 << 20);
    lab.deploy(&old);
    let limit = format!("--nofile={MOST}:{MOST}");
    let limited = Command::new("prlimit").args(["--pid", &agent.pid().to_string(), &limit]).status();
    if !limited.is_ok_and(|done| done.success()) {
        return skipped("a16_a_node_without_descriptors...", "prlimit is not installed");
    }
    let mut strangers = Vec::new();
    until("it turns strangers away", || {
        strangers.extend(TcpStream::connect(agent.address));
        agent.log().contains("too many files are open")
    });
    assert!(strangers.len() < 2 * MOST, "{} strangers", strangers.len());
    let mut deploy = Watched::start(lab.deploy_command(&new));
    // Whoever is let go makes room for the next one: there are always as many as there may be.
    until("it shows the new release", || {
        strangers.extend(TcpStream::connect(agent.address));
        agent.shows(&new)
    });
    assert!(deploy.end().success(), "{}", deploy.said);
    assert!(agent.runs() && is_up(&lab, "node-1"));
    assert!(!agent.log().contains("OriginSilent"), "it lost its origin:\n{}", agent.log());
}

/// The most memory that a process has had so far, in bytes.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn a15_a_slow_disk_slows_its_node_only_takes_no_memory_and_stops_no_heartbeat() {
    // A queue of all that came would be of this length, beside the forty that a node takes at work.
    const LARGE: usize = 64 << 20;
    const MOST: u64 = 72 << 20;
    let lab = Lab::new();
    let (mut slow, quick) = (lab.agent("node-1"), lab.agent("node-2"));
    let (old, new) = trees(&lab, LARGE);
    lab.deploy(&old);
    // Each piece takes a tenth of a second.
    let inject = "pwrite64:delay_enter=100000";
    let Some(strace) = Strace::attach(slow.pid(), &lab.dir().join("trace"), "pwrite64", inject) else {
        return skipped("a15_a_slow_disk...", "strace is not installed, or not allowed to trace");
    };
    let mut deploy = Watched::start(lab.deploy_command(&new));
    until("the quick one shows the new release", || {
        assert!(is_up(&lab, "node-1"), "its connection was lost");
        quick.shows(&new)
    });
    let have = || lab.status_of("node-1").and_then(|app| app["have"].as_u64()).unwrap_or_default();
    let then = have();
    until("the slow one still writes", || have() > then);
    assert!(slow.shows(&old) && is_up(&lab, "node-1"));
    let peak = peak(slow.pid());
    assert!(peak < MOST, "it took {peak} bytes");
    strace.detach();
    assert!(deploy.end().success(), "{}", deploy.said);
    assert!(slow.runs() && slow.shows(&new));
}

/// Makes empty files until there can be no more.
fn use_up_inodes(at: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(at).expect("a directory can be made");
    let names = (0..).map(|number| at.join(number.to_string()));
    names.take_while(|name| File::create(name).is_ok()).collect()
}

#[test]
fn a5_where_no_file_can_be_made_the_download_waits_and_says_that_it_is_not_bytes_that_lack() {
    let lab = Lab::new();
    let (image, home) = (lab.dir().join("node-1.img"), lab.dir().join("node-1"));
    let arguments = ["-o", "loop", &image.to_string_lossy()].map(str::to_owned);
    let is_made = mount::ext4_with(&image, 300, &["-N", "400"]);
    let Some(_small) = is_made.then(|| Mount::new(&home, &arguments.each_ref().map(String::as_str))).flatten() else {
        return skipped("a5_where_no_file_can_be_made...", "it needs mkfs.ext4, and root for loop mounts");
    };
    let mut agent = lab.agent("node-1");
    let (old, new) = trees(&lab, 4 << 20);
    lab.deploy(&old);
    let ballast = use_up_inodes(&home.join("ballast"));
    assert!(ballast.len() > 10, "only {} files were free", ballast.len());
    let mut deploy = Watched::start(lab.deploy_command(&new));
    until("it says so", || {
        let why = trouble(&lab, "node-1");
        why.contains("new files (inodes), have 0, on ") && !why.contains("bytes")
    });
    assert!(agent.runs() && agent.shows(&old), "the old release stays");
    fs::remove_dir_all(home.join("ballast")).expect("files can be removed");
    assert!(deploy.end().success(), "{}", deploy.said);
    assert!(agent.runs() && agent.shows(&new), "it went on by itself");
}

/// What an agent has laid out at its path.
#[allow(dead_code, reason = "for the next row")]
fn side(agent: &Node) -> PathBuf {
    agent.root.join("srv/.app.tiding")
}
