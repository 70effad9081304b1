//! Joining a fleet, lines that join nobody, and joining again, with the real binary.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;

use content::Digest;
use content::encoding::Decoder;
use data_encoding::BASE64URL_NOPAD;
use lab::{Lab, TIDING, until};
use said::{expect, live, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Joins with a line into a home, and does not come back when that goes well.
fn join(line: &str, home: &Path) -> Command {
    let mut command = Command::new(&*TIDING);
    command.args(["join", line, "--listen", "127.0.0.1:0", "--name", "stranger", "--home"]).arg(home);
    command
}

/// The same for a line that lets nobody in.
fn refused(line: &str, home: &Path) -> Output {
    fs::create_dir_all(home.join("root")).expect("a directory can be made");
    let mut child = join(line, home).stderr(Stdio::piped()).spawn().expect("the binary starts");
    until("it is refused, or in", || {
        home.join("identity").exists() || child.try_wait().expect("a child can be waited for").is_some()
    });
    if home.join("identity").exists() {
        child.kill().expect("a child that was not waited for can be killed");
    }
    let output = child.wait_with_output().expect("a child can be waited for");
    expect(&output, output.status.code().unwrap_or(-1), "next:");
    assert!(!home.join("identity").exists(), "nothing is left of a join that failed: {}", text(&output.stderr));
    output
}

/// A new line, and its token's id.
fn token(lab: &Lab, more: &[&str]) -> (String, String) {
    let made = lab.operator(&[&["token", "--json"], more].concat());
    let made: Value = serde_json::from_slice(&made.stdout).expect("a token as JSON");
    let word = |key: &str| made[key].as_str().expect("it is in there").to_owned();
    (word("line"), word("token"))
}

#[test]
fn a_node_is_called_as_its_machine_is_unless_it_is_told_another_name() {
    let lab = Lab::new();
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("a machine has a name").trim().to_lowercase();
    let fitting = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let machine: String = machine.chars().map(|c| if fitting(c) { c } else { '-' }).take(64).collect();
    let mut command = Command::new(&*TIDING);
    command.args(["join", lab.origin.join.as_deref().expect("a join line"), "--listen", "127.0.0.1:0", "--no-run"]);
    let output = command.arg("--home").arg(lab.dir().join("unnamed")).output().expect("the binary runs");
    expect(&output, 0, "");
    let said = text(&[output.stdout, output.stderr].concat());
    assert!(said.contains(&format!("joined as {}", machine.trim_start_matches(['.', '_', '-']))), "{said}");
}

#[test]
fn h2_a_join_line_that_is_mistyped_cut_off_or_revoked_joins_nobody() {
    let lab = Lab::new();
    let home = lab.dir().join("stranger");
    let line = lab.origin.join.clone().expect("a join line");
    let mut mistyped = line.clone().into_bytes();
    let middle = mistyped.len() / 2;
    mistyped[middle] = if mistyped[middle] == b'a' { b'b' } else { b'a' };
    expect(&refused(&text(&mistyped), &home), 2, "the join line was mistyped or cut off");
    expect(&refused(&line[..line.len() - 3], &home), 2, "the join line was mistyped or cut off");
    expect(&refused("hello", &home), 2, "tiding1.");
    let (line, id) = token(&lab, &["--uses", "1"]);
    expect(&lab.operator(&["token", "revoke", &id]), 0, "revoked");
    let revoked = refused(&line, &home);
    expect(&revoked, 3, "the join line was taken back");
    expect(&revoked, 3, "tiding token");
    expect(&lab.operator(&["token", "--uses", "0"]), 2, "next:");
    expect(&lab.operator(&["token", "--uses", "1", "--valid", "0s"]), 2, "next:");
}

#[test]
fn h2_a_line_for_one_is_used_up_by_one_and_replayed_by_nobody() {
    let mut lab = Lab::new();
    lab.origin.join = Some(token(&lab, &["--uses", "1"]).0);
    let agent = lab.agent("node-1");
    let line = lab.origin.join.clone().expect("a join line");
    for home in ["another", "a-third"].map(|name| lab.dir().join(name)) {
        expect(&refused(&line, &home), 3, "the join line is used up");
    }
    // An origin that was killed still knows.
    lab.origin.kill();
    lab.restart_origin();
    expect(&refused(&line, &lab.dir().join("another")), 3, "the join line is used up");
    drop(agent);
    let nodes = lab.status().expect("the origin answers")["nodes"].clone();
    let names: Vec<&str> = nodes.as_array().expect("nodes").iter().filter_map(|node| node["name"].as_str()).collect();
    assert!(names.contains(&"node-1") && !names.contains(&"stranger"), "{names:?}");
}

/// A line as its printer makes it, but with another secret: what somebody writes who saw a token's id and guesses.
fn forged(line: &str) -> String {
    const CHECKSUM: usize = 4;
    let word = line.trim().strip_prefix("tiding1.").expect("a join line of this version");
    let mut bytes = BASE64URL_NOPAD.decode(word.as_bytes()).expect("a join line is base64");
    bytes.truncate(bytes.len() - CHECKSUM);
    let mut from = Decoder::new("join line", &bytes);
    for _ in 0..from.number().expect("how many addresses there are") {
        from.text("an address", 64).expect("an address");
    }
    from.raw(32 + 32 + 16).expect("the digests of CA and fleet, and the token");
    let secret = bytes.len() - from.remaining();
    bytes[secret + 15] ^= 1;
    let checksum = Digest::of(&bytes);
    bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM]);
    format!("tiding1.{}", BASE64URL_NOPAD.encode(&bytes))
}

#[test]
fn h2_a_line_with_a_guessed_secret_is_refused_and_uses_nothing_up() {
    const WRONG: &str = "no such token was issued here";
    let mut lab = Lab::new();
    let (line, id) = token(&lab, &["--uses", "1"]);
    let guess = forged(&line);
    let home = lab.dir().join("stranger");
    for _ in 0..3 {
        let output = refused(&guess, &home);
        expect(&output, 3, WRONG);
        expect(&output, 3, "next: copy the whole line again");
        assert!(!text(&output.stderr).contains(&id), "it is told which token it guessed at");
    }
    lab.origin.join = Some(line);
    assert!(lab.agent("node-1").runs(), "the one use is still there for who has the secret");
    expect(&refused(&guess, &lab.dir().join("another")), 3, WRONG);
}

#[test]
fn h2_an_expired_line_joins_nobody() {
    let lab = Lab::new();
    let (line, _) = token(&lab, &["--uses", "1000", "--valid", "1s"]);
    // Every try is another machine. Those that come in time are let in, and ended.
    let mut tries = 0;
    until("the line expires", || {
        tries += 1;
        let home = lab.dir().join(format!("stranger-{tries}"));
        fs::create_dir_all(home.join("root")).expect("a directory can be made");
        let mut command = join(&line, &home);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        until("it is in or refused", || {
            home.join("identity").exists() || child.try_wait().expect("a child can be waited for").is_some()
        });
        if home.join("identity").exists() {
            child.kill().expect("a child that was not waited for can be killed");
            child.wait().expect("a child can be waited for");
            return false;
        }
        let output = child.wait_with_output().expect("a child can be waited for");
        expect(&output, 3, "the join line has expired");
        true
    });
}

#[test]
fn a_node_whose_store_and_identity_were_deleted_joins_again_and_converges_alone() {
    let lab = Lab::new();
    let mut lost = lab.agent("node-1");
    let _other = lab.agent("node-2");
    let source = lab.dir().join("source");
    lab::tree(&source, 2 << 20, 1);
    lab.deploy(&source);
    let identity_of = |name: &str| {
        let status = lab.status().expect("the origin answers");
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let up = nodes.into_iter().filter(|node| node["up"] == true);
        up.filter(|node| node["name"].as_str().is_some_and(|its| its.starts_with(name)))
            .find_map(|node| node["node"].as_str().map(str::to_owned))
    };
    let before = identity_of("node-1").expect("it was there");
    lost.kill();
    fs::remove_dir_all(&lost.home).expect("a home can be deleted");
    let again = lab.agent("node-1");
    until("the tree is live again, and nobody did anything", || lab::same(&source, &live(&again)));
    let now = identity_of("node-1").expect("it is there again");
    assert_ne!(now, before, "its identity was deleted, so it has a new one");
    let verified = lab.operator(&["verify", "--json"]);
    let verified: Value = serde_json::from_slice(&verified.stdout).expect("what was found as JSON");
    let its = verified["nodes"].as_array().into_iter().flatten().find(|node| node["node"] == now);
    let report = &its.unwrap_or_else(|| panic!("it has not looked: {verified}"))["report"];
    assert_eq!(report["differing"], 0, "{verified}");
    assert!(report["entries"].as_u64().is_some_and(|entries| entries > 20), "{verified}");
}

#[test]
fn the_keys_of_one_fleet_are_not_taken_for_another() {
    let lab = Lab::new();
    let operator = lab.dir().join("operator");
    let before = fs::read(operator.join("fleet.json")).expect("the keys are there");
    let second = Command::new(&*TIDING)
        .args(["up", "--listen", "127.0.0.1:0", "--home"])
        .arg(lab.dir().join("second"))
        .arg("--operator-home")
        .arg(&operator)
        .output()
        .expect("the binary runs");
    expect(&second, 3, "--operator-home");
    assert_eq!(fs::read(operator.join("fleet.json")).expect("the keys are there"), before);
    assert!(!lab.dir().join("second/identity").exists());
}

/// Runs a test of this file once more in a network namespace of its own; false when this machine or user cannot.
fn again_alone(test: &str) -> bool {
    let inside = "ip link set lo up && exec \"$0\" --exact \"$1\"";
    let this = std::env::current_exe().expect("a test runs from a file");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", inside]).arg(this).arg(test).env("TIDING_ALONE", "1");
    let probe = Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        skip::skipped(test, "the network namespace: unshare --net and ip want root and iproute2");
        return false;
    }
    let output = command.output().expect("it was just there");
    let passed = output.status.success() && text(&output.stdout).contains("1 passed");
    assert!(passed, "{}{}", text(&output.stdout), text(&output.stderr));
    true
}

/// Whoever sits at the address of a line (here the origin of another fleet, with a true certificate of its own) is not
/// believed, and learns nothing with which it could join the line's fleet.
#[test]
fn h5_whoever_answers_in_the_place_of_the_origin_is_found_out() {
    if std::env::var_os("TIDING_ALONE").is_none()
        && again_alone("h5_whoever_answers_in_the_place_of_the_origin_is_found_out")
    {
        return;
    }
    let mut lab = Lab::new();
    let (line, address) = (lab.origin.join.clone().expect("a join line"), lab.origin.address);
    let home = lab.dir().join("stranger");
    lab.origin.kill();
    let between = Lab::listening(&address.to_string(), &[]);
    assert_eq!(between.origin.address, address, "it sits where the line leads");
    expect(&refused(&line, &home), 3, "not the fleet");
    let said = between.origin.log();
    assert!(!said.contains("token") && !said.contains("refused"), "it was shown something: {said}");
    drop(between);
    lab.restart_origin();
    let fresh = lab.dir().join("fresh");
    fs::create_dir_all(fresh.join("root")).expect("a directory can be made");
    assert!(lab.agent_in("newcomer", &fresh).runs(), "the line still joins its own fleet");
}
