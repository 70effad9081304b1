//! What a deploy is of and whom it goes to: by labels, by groups of the configuration, by revisions, and not by mistake.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, Node, until};
use said::{deploy, expect, live, text};
use std::fs;
use std::process::Command;

/// Two web servers in two zones and a database without one.
fn fleet(lab: &Lab) -> [Node; 3] {
    let of = |name, labels: &[&str]| lab.labelled_agent(name, labels);
    [of("web-a", &["role=web", "zone=a"]), of("web-b", &["role=web", "zone=b"]), of("db-1", &["role=db"])]
}

fn shown(agents: &[Node]) -> Vec<bool> {
    agents.iter().map(|agent| live(agent).exists()).collect()
}

#[test]
fn a_deploy_goes_to_those_it_selects_and_says_who_they_are() {
    let lab = Lab::new();
    let agents = fleet(&lab);
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    let deployed = deploy(&lab, &source, &["--on", "role=web,zone!=b"]);
    expect(&deployed, 0, "to         1 of 3 agents, role=web,zone!=b");
    assert_eq!(shown(&agents), [true, false, false]);
    expect(&lab.operator(&["status"]), 0, "live on 1 of 1 agent, role=web,zone!=b");

    expect(&deploy(&lab, &source, &["--on", "!zone"]), 0, "to         1 of 3 agents, !zone");
    assert_eq!(shown(&agents), [true, false, true]);
    expect(&deploy(&lab, &source, &["--on", "role=web", "--on", "zone=b|c"]), 0, "1 of 3 agents, role=web,zone=b|c");
    assert_eq!(shown(&agents), [true, true, true]);

    // A name for it, so that nobody has to remember.
    let config = lab.dir().join("tiding.toml");
    fs::write(&config, "[groups]\nfrontends = 'role=web'\n").expect("a file");
    fs::write(source.join("new"), "x").expect("a file");
    let group = |group: &str| {
        let mut command = lab.deploy_command(&source);
        command.args(["--on", group]).env("TIDING_CONFIG", &config).output().expect("the binary runs")
    };
    expect(&group("@frontends"), 0, "2 of 3 agents, role=web");
    assert_eq!(agents.iter().map(|agent| live(agent).join("new").exists()).collect::<Vec<_>>(), [true, true, false]);
    expect(&group("@backends"), 2, "the configuration has frontends");
}

#[test]
fn d26_a_selection_of_nobody_of_too_many_or_of_the_unreachable_is_refused_before_anything_is_sent() {
    let lab = Lab::new();
    let mut agents = Vec::from(fleet(&lab));
    agents.extend(["web-c", "web-d"].map(|name| lab.labelled_agent(name, &["role=web"])));
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    expect(
        &deploy(&lab, &source, &["--on", "role=wep"]),
        3,
        "no agent of 5 is role=wep; they are role=db|web, zone=a|b",
    );
    expect(&deploy(&lab, &source, &["--on", "role=Web"]), 2, "1 to 64 of a-z 0-9");
    expect(&deploy(&lab, &source, &["--on", "role=db"]), 0, "1 of 5 agents, role=db");
    // The second time the flag was forgotten.
    fs::write(source.join("new"), "x").expect("a file");
    let forgotten = deploy(&lab, &source, &[]);
    expect(&forgotten, 3, "it would go to 5 agents, and until now this application goes to 1");
    assert!(text(&forgotten.stderr).contains("--yes"), "{}", text(&forgotten.stderr));
    assert_eq!(shown(&agents), [false, false, true, false, false], "nothing was sent");
    expect(&deploy(&lab, &source, &["--yes"]), 0, "all 5 agents");
    assert_eq!(shown(&agents), [true; 5]);

    agents[1].kill();
    let is_down = |status: serde_json::Value| {
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["name"] == "web-b" && node["up"] == false)
    };
    until("the origin sees that it is gone", || lab.status().is_some_and(is_down));
    fs::write(source.join("newer"), "x").expect("a file");
    let refused = deploy(&lab, &source, &["--unreachable", "fail"]);
    expect(&refused, 3, "1 of 5 selected agents are not connected: web-b");
    assert!(!live(&agents[0]).join("newer").exists(), "nothing was sent");
    let without = deploy(&lab, &source, &["--unreachable", "skip"]);
    expect(&without, 0, "all 5 agents; 1 not connected: web-b");
    assert!(live(&agents[0]).join("newer").exists() && !live(&agents[1]).join("newer").exists());
    expect(&lab.operator(&["status"]), 0, "live on 4 of 5 agents; 1 not connected, for ");
    // It converges by itself when it comes back.
    let back = lab.agent("web-b");
    until("it has what it missed", || live(&back).join("newer").exists());
}

#[test]
fn d25_a_tree_that_has_lost_nearly_everything_is_refused_unless_it_is_meant() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 1 << 20, 1);
    lab.deploy(&source);
    // The build failed, and left an empty directory.
    let empty = lab.dir().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let refused = deploy(&lab, &empty, &[]);
    expect(&refused, 3, "and the release before has ");
    assert!(text(&refused.stderr).contains("--yes-size"), "{}", text(&refused.stderr));
    assert!(lab::same(&source, &live(&agent)), "nothing was published");
    expect(&deploy(&lab, &empty, &["--yes"]), 3, "--yes-size");
    expect(&deploy(&lab, &empty, &["--yes-size"]), 0, "live       1 of 1 node");
    assert!(lab::same(&empty, &live(&agent)));
}

#[test]
fn a_dry_run_says_what_would_be_done_and_a_revision_is_deployed_as_it_was_committed() {
    let lab = Lab::new();
    let agents = fleet(&lab);
    let work = lab.dir().join("work");
    fs::create_dir(&work).expect("a directory");
    let git = |words: &[&str]| {
        let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        let done = Command::new("git").arg("-C").arg(&work).args(who).args(words).status().expect("git runs");
        assert!(done.success(), "{words:?}");
    };
    git(&["init", "-q"]);
    fs::write(work.join("page"), "as it was committed").expect("a file");
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "says it better"]);
    git(&["tag", "v2.1"]);
    fs::write(work.join("page"), "half written").expect("a file");
    let deploy = |more: &[&str]| {
        let mut command = lab.operator_command(&["deploy", "git:v2.1", "--to", "/srv/app", "--waves", "1,100%"]);
        command.args(more).current_dir(&work).output().expect("the binary runs")
    };
    let rehearsed = deploy(&["--dry-run", "--on", "role=web"]);
    for said in ["to         2 of 3 agents, role=web", "waves      1, 2 of 2 agents", "nothing was published"] {
        expect(&rehearsed, 0, said);
    }
    assert_eq!(shown(&agents), [false; 3]);
    expect(&deploy(&["--dry-run", "--on", "role=wep"]), 3, "no agent of 3 is role=wep");
    expect(&deploy(&["--on", "role=web"]), 0, "v2.1");
    assert_eq!(fs::read(live(&agents[0]).join("page")).expect("it is live"), b"as it was committed");
    expect(&lab.operator(&["status"]), 0, "says it better");
    expect(&deploy(&["--dry-run", "--on", "role=web"]), 0, "they go back to v2.1");
}
