//! Bad days of single machines, with the real binary, real files and real signals. Each test is named after the fault it
//! survives, and asserts that the fault really struck. What needs a program that is not installed says so, loudly.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/proxy.rs"]
mod proxy;

use lab::{Lab, Node, TIDING, until};
use proxy::FlippingProxy;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Calls that change a disk.
const WRITES: &str = "pwrite64,write,fsync,fdatasync,syncfs,renameat,renameat2,linkat,symlinkat,mkdirat,ftruncate";

fn live(agent: &Node) -> PathBuf {
    agent.root.join("srv/app")
}

fn shows(agent: &Node, source: &Path) -> bool {
    lab::same(&live(agent), source)
}

/// Whether a program is there; if not, says what is not tested.
fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("!!! SKIPPED: {program} is not installed");
    }
    there
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address")
}

#[test]
fn a_bit_flipped_on_the_way_is_caught_and_the_deploy_goes_on() {
    let address = free_address();
    let proxy = FlippingProxy::start(address, 2_500_000).expect("a proxy can listen");
    let lab = Lab::listening(&address.to_string(), &["--advertise", &proxy.address().to_string()]);
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let source = lab.dir().join("source");
    lab::tree(&source, 8 << 20, 1);
    lab.deploy(&source);
    assert!(proxy.struck(), "the bit was not flipped: too few bytes went through the proxy");
    assert!(agents.iter().all(|agent| shows(agent, &source)));
}

/// The files in which an agent keeps the pieces of complete contents.
fn blobs(agent: &Node) -> Vec<PathBuf> {
    let entries = fs::read_dir(agent.home.join("store/blobs")).expect("an agent has blobs");
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|ext| ext == "pieces")).collect()
}

#[test]
fn a9_rot_on_a_holders_disk_is_found_before_a_peer_uses_it_and_repaired() {
    let lab = Lab::new();
    let holder = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 4 << 20, 2);
    lab.deploy(&source);
    let [blob] = &blobs(&holder)[..] else { panic!("one content was deployed") };
    let good = fs::read(blob).expect("a blob can be read");
    let mut rotten = good.clone();
    rotten.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    fs::write(blob, &rotten).expect("a blob can be damaged");
    let late = lab.agent("node-2");
    until("the newcomer shows the release", || shows(&late, &source));
    // What nobody asks for is not read; what was asked for is found and fetched again.
    until("the holder repairs what it was asked for", || fs::read(blob).is_ok_and(|bytes| bytes != rotten));
}

#[test]
fn a14_a_second_process_on_one_store_is_refused_and_told_who_has_it() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let output = Command::new(TIDING)
        .args(["run", "--listen", "127.0.0.1:0", "--home"])
        .arg(&agent.home)
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("locked by process") && said.contains(&agent.pid().to_string()), "{said}");
}

/// Deploys to an agent that is killed, or whose calls fail, as `inject` says; returns whether that struck.
fn deploy_with(lab: &Lab, inject: &str, seed: u64, must_die: bool) -> bool {
    let name = format!("node-{seed}");
    let mut agent = lab.agent(&name);
    agent.kill();
    let trace = lab.dir().join(format!("trace-{seed}"));
    let trace_arg = trace.to_string_lossy().into_owned();
    let calls = format!("trace={WRITES}");
    let strace = ["strace", "-f", "-qq", "-o", &trace_arg, "-e", &calls, "-e", inject];
    let mut agent = lab.agent_under(&name, &strace);
    let source = lab.dir().join(format!("source-{seed}"));
    lab::tree(&source, 3 << 20, seed);
    let mut deploy = lab.operator_command(&["deploy", &source.to_string_lossy(), "--to", "/srv/app"]);
    let mut deploy = deploy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    until("the agent dies, or shows the release", || agent.as_mut().is_none_or(|a| !a.runs() || shows(a, &source)));
    let died = agent.as_mut().is_none_or(|agent| !agent.runs());
    let agent = if died { lab.agent(&name) } else { agent.expect("an agent that did not die is there") };
    until("the agent shows the release", || shows(&agent, &source));
    deploy.wait().expect("the deploy ends");
    let struck = fs::read_to_string(&trace).is_ok_and(|trace| trace.contains("INJECTED") || trace.contains("SIGKILL"));
    assert!(died || !must_die || !struck, "{inject}: it should have died");
    struck
}

#[test]
fn a1_killed_at_a_write_of_any_kind_an_agent_resumes_by_itself() {
    if !have("strace") {
        return;
    }
    let lab = Lab::new();
    let mut struck = 0;
    for (seed, when) in [1, 3, 8, 21, 55].into_iter().enumerate() {
        let inject = format!("inject={WRITES}:signal=KILL:when={when}");
        struck += u32::from(deploy_with(&lab, &inject, seed as u64 + 1, true));
    }
    assert!(struck >= 3, "only {struck} of 5 kills struck");
}

#[test]
fn a7_a_sync_that_fails_once_is_never_believed_and_the_agent_converges() {
    if !have("strace") {
        return;
    }
    let lab = Lab::new();
    let mut struck = 0;
    for (seed, when) in [2, 5, 9].into_iter().enumerate() {
        let inject = format!("inject=fsync,fdatasync,syncfs:error=EIO:when={when}");
        struck += u32::from(deploy_with(&lab, &inject, seed as u64 + 1, false));
    }
    assert!(struck >= 1, "no sync failed");
}

#[test]
fn a4_a_write_without_room_pauses_the_download_and_nothing_else() {
    if !have("strace") {
        return;
    }
    let lab = Lab::new();
    assert!(deploy_with(&lab, "inject=pwrite64:error=ENOSPC:when=4..12", 1, false), "no write failed");
}
