//! Damage that single machines must notice: bits that flip on the way and on a disk, and a store that two processes want.
//! Each test is named after the fault it survives, and asserts that the fault really struck and that somebody noticed.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/proxy.rs"]
mod proxy;

use lab::{Lab, Node, TIDING, until};
use proxy::FlippingProxy;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

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
    assert!(agents.iter().all(|agent| agent.shows(&source)));
    let noticed = |agent: &Node| agent.log().contains("cannot decrypt peer's message");
    assert!(agents.iter().any(noticed), "nobody noticed:\n{}", agents.each_ref().map(Node::log).join("\n"));
    nobody_is_blamed(&[&lab.origin, &agents[0], &agents[1]]);
}

/// A fault of a disk or of the way is nobody's misbehaviour: nobody may be convicted of it.
fn nobody_is_blamed(nodes: &[&Node]) {
    for node in nodes {
        let log = node.log();
        assert!(!log.contains("Convicted") && !log.contains("Distrusted"), "{}:\n{log}", node.home.display());
    }
}

/// The files in which an agent keeps the pieces of complete contents.
fn blobs(agent: &Node) -> Vec<PathBuf> {
    let entries = fs::read_dir(agent.home.join("store/blobs")).expect("an agent has blobs");
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|ext| ext == "pieces")).collect()
}

#[test]
fn a9_rot_on_a_holders_disk_is_found_before_a_peer_uses_it_and_repaired_and_nobody_is_blamed() {
    let lab = Lab::new();
    let holder = lab.agent("node-1");
    let source = lab.dir().join("source");
    // Fewer pieces than a peer may claim without having them: more of them, and it is taken for a liar.
    lab::tree(&source, 256 << 10, 2);
    lab.deploy(&source);
    let [blob] = &blobs(&holder)[..] else { panic!("one content was deployed") };
    let good = fs::read(blob).expect("a blob can be read");
    let mut rotten = good.clone();
    rotten.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    fs::write(blob, &rotten).expect("a blob can be damaged");
    let late = lab.agent("node-2");
    until("the newcomer shows the release", || late.shows(&source));
    // What nobody asks for is not read; what was asked for is found and fetched again.
    until("the holder repairs what it was asked for", || fs::read(blob).is_ok_and(|bytes| bytes != rotten));
    let log = holder.log();
    assert!(log.contains("the piece was damaged on disk"), "the holder found nothing:\n{log}");
    nobody_is_blamed(&[&lab.origin, &holder, &late]);
}

#[test]
fn a14_a_second_process_on_one_store_is_refused_and_told_who_has_it() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let output = Command::new(&*TIDING)
        .args(["run", "--listen", "127.0.0.1:0", "--home"])
        .arg(&agent.home)
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("locked by process") && said.contains(&agent.pid().to_string()), "{said}");
}
