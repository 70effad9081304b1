//! The CA of a fleet that is changed, that is lost, and that is stolen, with real processes.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, Node, until};
use said::{expect, text};
use std::fs;
use std::path::Path;
use std::process::Output;

/// How many CAs are believed, and who has not shown a certificate of the new one.
fn vouching(lab: &Lab) -> Option<(u64, usize)> {
    let status = lab.status()?;
    let vouching = &status["vouching"];
    Some((vouching["named"].as_u64()?, vouching["left"].as_array()?.len()))
}

fn deployed(lab: &Lab, source: &Path, what: &str, agents: &[&Node]) {
    fs::write(source.join("what"), what).expect("a file");
    lab.deploy(source);
    assert!(agents.iter().all(|agent| agent.shows(source)), "{what}");
}

fn rotate(lab: &Lab, more: &[&str]) -> Output {
    lab.operator(&[&["ca", "rotate"], more].concat())
}

fn certificate(home: &Path) -> Vec<u8> {
    fs::read(home.join("identity/cert.pem")).expect("a certificate")
}

fn source_of(lab: &Lab) -> std::path::PathBuf {
    let source = lab.dir().join("source");
    lab::tree(&source, 50_000, 1);
    source
}

#[test]
fn h7_a_fleet_changes_its_ca_while_it_deploys_and_the_old_one_lets_nobody_in_any_more() {
    let mut lab = Lab::new();
    let [one, mut two] = ["one", "two"].map(|name| lab.agent(name));
    let source = source_of(&lab);
    deployed(&lab, &source, "before", &[&one, &two]);
    expect(&rotate(&lab, &["--finish"]), 3, "the fleet has one CA");

    // One is away while it begins.
    two.kill();
    let before = certificate(&one.home);
    expect(&rotate(&lab, &[]), 0, "two CAs are believed");
    expect(&rotate(&lab, &[]), 0, "trust root 2");
    until("who is there has renewed", || vouching(&lab) == Some((2, 1)));
    assert_ne!(certificate(&one.home), before);
    expect(&rotate(&lab, &["--finish"]), 3, "1 would be left behind and had to join anew");
    expect(
        &lab.operator(&["doctor"]),
        0,
        "1 agent has not shown a certificate of the new one since the origin started: two",
    );
    // It is killed and goes on where it was, and a machine joins with a line of before.
    lab.origin.kill();
    lab.restart_origin();
    let mut two = lab.agent("two");
    let three = lab.agent("three");
    until("all have renewed", || vouching(&lab) == Some((2, 0)));
    deployed(&lab, &source, "between", &[&one, &two, &three]);

    two.kill();
    let old = certificate(&two.home);
    let two = lab.agent("two");
    assert_eq!(certificate(&two.home), old, "it has one of the new CA");
    expect(&rotate(&lab, &["--finish", "--leave", "2"]), 3, "--leave says 2");
    expect(&rotate(&lab, &["--finish"]), 0, "the old CA is given up");
    until("the key of the old one is gone", || !lab.origin.home.join("ca/key.pem").exists());
    until("all are back", || text(&lab.operator(&["status"]).stdout).contains("3 of 3 agents up"));
    deployed(&lab, &source, "after", &[&one, &two, &three]);
    expect(&rotate(&lab, &["--finish"]), 0, "trust root 3");
    let doctor = lab.operator(&["doctor"]);
    assert!(!text(&doctor.stdout).contains("CA"), "{}", text(&doctor.stdout));

    // Started anew, everything is as it was; lines of before lead nowhere, and new ones do.
    let line = lab.origin.join.clone().expect("a line");
    lab.origin.kill();
    lab.restart_origin();
    let home = lab.dir().join("late").to_string_lossy().into_owned();
    let late = lab.operator_less(&["join", &line, "--no-run", "--home", &home]);
    expect(&late, 3, "is not the fleet of this join line");
    let four = lab.agent("four");
    until("it is there", || text(&lab.operator(&["status"]).stdout).contains("4 of 4 agents up"));
    deployed(&lab, &source, "at last", &[&one, &two, &three, &four]);
}

#[test]
fn h7_a_fleet_whose_ca_key_is_lost_runs_on_and_gets_another_ca() {
    let mut lab = Lab::new();
    let one = lab.agent("one");
    let source = source_of(&lab);
    deployed(&lab, &source, "before", &[&one]);
    lab.origin.kill();
    fs::remove_file(lab.origin.home.join("ca/key.pem")).expect("there was one");
    // It starts, and says what it lacks; nobody joins.
    let mut command = std::process::Command::new(&*lab::TIDING);
    command.args(["run", "--json", "--listen", &lab.origin.address.to_string()]);
    lab.origin = lab::start(command, &lab.dir().join("origin"));
    assert!(lab.origin.log().contains("has not got the key of the fleet's CA"), "{}", lab.origin.log());
    until("its agent is back", || text(&lab.operator(&["status"]).stdout).contains("1 of 1 agent up"));
    expect(&lab.operator(&["status"]), 0, "the key of the fleet's CA is not on the origin");
    expect(&lab.operator(&["doctor"]), 0, "tiding ca rotate --lost");
    expect(&lab.operator(&["token"]), 1, "tiding ca rotate --lost");
    deployed(&lab, &source, "without", &[&one]);

    expect(&rotate(&lab, &[]), 3, "if it is lost for good, say --lost");
    expect(&rotate(&lab, &["--lost"]), 0, "two CAs are believed");
    until("it has renewed", || vouching(&lab) == Some((2, 0)));
    expect(&rotate(&lab, &["--lost"]), 0, "trust root 2");
    // Who joins now gets a certificate of the new one, with a line that pins what the origin shows still.
    let two = lab.labelled_agent("two", &[]);
    until("both are there", || {
        vouching(&lab) == Some((2, 0)) && text(&lab.operator(&["status"]).stdout).contains("2 of 2 agents up")
    });
    deployed(&lab, &source, "between", &[&one, &two]);
    expect(&rotate(&lab, &["--finish"]), 0, "the old CA is given up");
    until("both are back", || text(&lab.operator(&["status"]).stdout).contains("2 of 2 agents up"));
    let three = lab.labelled_agent("three", &[]);
    until("all are there", || text(&lab.operator(&["status"]).stdout).contains("3 of 3 agents up"));
    deployed(&lab, &source, "after", &[&one, &two, &three]);
}

/// An operator's home with keys of somebody else, and a certificate that the stolen CA of `lab` made for them.
fn forged(lab: &Lab, thief: &mut Lab) {
    let (ca, own) = (lab.origin.home.join("ca"), thief.origin.home.join("ca"));
    thief.origin.kill();
    for file in ["key.pem", "cert.pem"] {
        fs::copy(ca.join(file), own.join(file)).expect("stolen");
    }
    fs::copy(ca.join("cert.pem"), thief.origin.home.join("identity/authorities.pem")).expect("stolen");
    // The program makes certificates with whatever CA is there.
    thief.restart_origin();
    thief.origin.kill();
    for file in ["fleet.json", "root.signed"] {
        fs::copy(lab.dir().join("operator").join(file), thief.dir().join("operator").join(file)).expect("no secret");
    }
}

#[test]
fn h7_whoever_stole_the_ca_talks_until_it_is_given_up_and_orders_nothing_ever() {
    let lab = Lab::new();
    let one = lab.agent("one");
    let source = source_of(&lab);
    deployed(&lab, &source, "ours", &[&one]);
    let mut thief = Lab::new();
    forged(&lab, &mut thief);
    let evil = thief.dir().join("evil");
    lab::tree(&evil, 1000, 2);
    let orders_nothing = |thief: &Lab, what: &str| {
        let deployed = said::deploy(thief, &evil, &[]);
        assert!(!deployed.status.success(), "{what}: {}", text(&deployed.stdout));
        assert!(one.shows(&source), "{what}");
    };
    expect(&thief.operator(&["status"]), 0, "1 of 1 agent up");
    orders_nothing(&thief, "with a certificate that says operator");
    expect(&thief.operator(&["token"]), 3, "no operator by the newest trust root");

    expect(&rotate(&lab, &[]), 0, "two CAs are believed");
    until("it has renewed", || vouching(&lab) == Some((2, 0)));
    let at = thief.dir().join("operator/cert.pem");
    let before = fs::read(&at).expect("a certificate");
    expect(&thief.operator(&["status"]), 0, "nobody was let into this fleet with this key");
    assert_eq!(fs::read(&at).expect("a certificate"), before, "it gets none of the new CA");
    orders_nothing(&thief, "while both are believed");
    let watching = thief.operator_command(&["status", "--watch", "--json"]).stdout(std::process::Stdio::null()).spawn();
    let mut watching = watching.expect("the binary runs");
    expect(&rotate(&lab, &["--finish"]), 0, "the old CA is given up");
    until("what it had open is closed", || !thief.operator(&["status"]).status.success());
    watching.kill().expect("a child");
    watching.wait().expect("a child");
    orders_nothing(&thief, "afterwards");
    expect(&thief.operator(&["status"]), 4, "no origin answers");
    until("ours is back", || text(&lab.operator(&["status"]).stdout).contains("1 of 1 agent up"));
    deployed(&lab, &source, "still ours", &[&one]);
}
