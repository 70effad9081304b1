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
fn a10_rot_in_what_is_live_is_found_and_laid_out_anew_from_the_store_or_from_others() {
    let lab = Lab::new();
    let (mut agent, other) = (lab.agent("node-1"), lab.agent("node-2"));
    let source = lab.dir().join("source");
    lab::tree(&source, 256 << 10, 2);
    lab.deploy(&source);
    let live = agent.live().join("large");
    let damage = |file: &std::path::Path| {
        let mut bytes = fs::read(file).expect("it can be read");
        bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
        fs::write(file, bytes).expect("it can be damaged");
    };
    let said = |words: &[&str]| {
        let output = lab.operator(words);
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    damage(&live);
    fs::write(agent.live().join("sub/app.pid"), "1").expect("a file can be made");
    let (code, text) = said(&["verify"]);
    assert!(code == Some(5) && text.contains("large has other bytes") && text.contains("--repair"), "{text}");
    fs::remove_file(agent.live().join("sub/app.pid")).expect("it is there");
    let (code, text) = said(&["verify", "--repair"]);
    assert!(code == Some(0) && text.contains("repaired") && text.contains("large has other bytes"), "{text}");
    assert!(agent.runs() && agent.shows(&source) && other.shows(&source));
    assert_eq!(said(&["verify"]).0, Some(0));
    // With its own pieces damaged, too, they come from the others first.
    damage(&live);
    let [blob] = &blobs(&agent)[..] else { panic!("one content was deployed") };
    damage(blob);
    let (_, text) = said(&["verify", "--repair"]);
    assert!(text.contains("fetched again") || text.contains("repaired"), "{text}");
    until("it is repaired", || said(&["verify", "--repair"]).0 == Some(0));
    assert!(agent.runs() && agent.shows(&source));
    nobody_is_blamed(&[&lab.origin, &agent, &other]);
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

#[test]
fn d11_a_machine_that_is_replaced_under_its_name_in_a_rollout_is_another_node_and_gets_what_its_place_demands() {
    let lab = Lab::new();
    let (mut gone, other) = (lab.agent("node-1"), lab.agent("node-2"));
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&old, 1 << 20, 1);
    lab::tree(&new, 1 << 20, 2);
    lab.deploy(&old);
    gone.kill();
    until("it is missed", || lab.status().is_some_and(|status| nodes_called(&status, "node-1") == [false]));
    lab.deploy(&new);
    assert!(other.shows(&new));
    let forgotten = lab.operator(&["forget", "node-1"]);
    assert!(forgotten.status.success(), "{}", String::from_utf8_lossy(&forgotten.stderr));
    let anew = lab.agent_in("node-1", &lab.dir().join("node-1-anew"));
    until("the machine in its place shows what is ordered", || anew.shows(&new));
    // The old one comes back with its key, its name and what it believed: nobody lets it in.
    let old_one = lab.agent("node-1");
    until("it hears that it is not one of us", || {
        let log = old_one.log();
        log.contains("Revoked") || log.contains("OriginSilent") || log.contains("revoked")
    });
    let status = lab.status().expect("the origin answers");
    assert_eq!(nodes_called(&status, "node-1"), [true], "there is one of that name, and it is up");
    assert!(old_one.shows(&old), "what it runs it runs on");
}

/// Whether each node of a name is connected.
fn nodes_called(status: &serde_json::Value, name: &str) -> Vec<bool> {
    let nodes = status["nodes"].as_array().expect("nodes").iter();
    nodes.filter(|node| node["name"] == name).map(|node| node["up"] == true).collect()
}

/// What would steer a terminal, or the eye of whoever reads it.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[test]
fn f19_nothing_that_others_named_steers_the_terminal_of_any_command() {
    const EVIL: &str = "evil\u{1b}[2J\u{9b}31m\u{202e}txt\u{200b}";
    // No document has control characters; names of files may.
    const SOFT: &str = "because\u{202e}of\u{200b}it";
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    for (tree, seed) in [(&old, 1), (&new, 2)] {
        lab::tree(tree, 100_000, seed);
        fs::write(tree.join(EVIL), seed.to_string()).expect("a file can have any name");
        std::os::unix::fs::symlink(EVIL, tree.join("to-it")).expect("a link can lead anywhere");
    }
    let [old, new] = [&old, &new].map(|tree| tree.to_str().expect("a plain name").to_owned());
    let socket = lab.dir().join("socket");
    fs::create_dir(&socket).expect("a directory can be made");
    let _listens = std::os::unix::net::UnixListener::bind(socket.join(EVIL)).expect("a socket can have any name");
    let socket = socket.to_str().expect("a plain name").to_owned();
    let commands: Vec<Vec<&str>> = vec![
        vec!["deploy", &old, "--to", "/srv/app", "-m", EVIL],
        vec!["deploy", &old, "--to", "/srv/app", "-m", SOFT],
        vec!["diff", &new],
        vec!["diff", &new, "--json"],
        vec!["deploy", &new, "--to", "/srv/app"],
        vec!["deploy", &socket, "--to", "/srv/app"],
        vec!["rollback", "-m", SOFT],
        vec!["rollback", "--to", EVIL],
        vec!["verify"],
        vec!["verify", "--json"],
        vec!["verify", "--repair"],
        vec!["status"],
        vec!["status", "--json"],
        vec!["history"],
        vec!["history", "--json"],
        vec!["audit", "verify"],
        vec!["operator", "list"],
        vec!["limit"],
        vec!["forget", EVIL],
    ];
    for words in commands {
        if words[0] == "verify" {
            let damaged = agent.live().join(EVIL);
            fs::write(damaged, "other").expect("a file can be damaged");
        }
        let output = lab.operator(&words);
        for (stream, bytes) in [("out", output.stdout), ("err", output.stderr)] {
            let text = String::from_utf8(bytes).expect("it speaks UTF-8");
            let found = text.chars().find(|c| steers(*c));
            assert_eq!(found, None, "{words:?} lets something through on {stream}:\n{text:?}");
        }
    }
}
