//! Releases with a real small web service: its restart by a command, its health by probes, and what happens when it is not well.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;

use lab::{Lab, Node, until};
use rustix::process::{Pid, Signal, kill_process};
use said::{deploy, expect, text};
use skip::skipped;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A web service that answers `/health` as the file beside it says, and ends when its home is gone.
const SERVE: &str = r#"
import http.server, os, sys, threading, time
home, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
version, state = (open(os.path.join(here, name)).read().strip() for name in ("version", "state"))
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if state == "well" else 500)
        self.end_headers()
        self.wfile.write(version.encode())
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
open(os.path.join(home, "seen"), "a").write(version + "\n")
open(os.path.join(home, "port.new"), "w").write(str(server.server_port))
open(os.path.join(home, "pid"), "w").write(str(os.getpid()))
os.rename(os.path.join(home, "port.new"), os.path.join(home, "port"))
threading.Thread(target=server.serve_forever, daemon=True).start()
while os.path.exists(os.path.join(home, "pid")) and open(os.path.join(home, "pid")).read() == str(os.getpid()):
    time.sleep(0.05)
"#;

/// Ends the service that runs, and starts the one of the release that is live now.
const RESTART: &str = r#"
home="$1/$TIDING_NODE"
mkdir -p "$home"
rm -f "$home/pid" "$home/port"
test "$(cat "$TIDING_DIR/state")" = broken && { echo "cannot bind its port"; exit 3; }
setsid python3 "$TIDING_DIR/serve" "$home" >/dev/null 2>&1 </dev/null &
"#;

/// Asks the service of this node.
const ASK: &str = r#"
import sys, urllib.request
port = int(open(sys.argv[1] + "/port").read())
print(urllib.request.urlopen("http://127.0.0.1:%d/health" % port, timeout=5).read().decode())
"#;

fn release(lab: &Lab, version: &str, state: &str) -> PathBuf {
    let at = lab.dir().join(version);
    fs::create_dir_all(&at).expect("a directory");
    let files = [("serve", SERVE), ("restart", RESTART), ("ask", ASK), ("version", version), ("state", state)];
    files.into_iter().for_each(|(name, text)| fs::write(at.join(name), text).expect("a file"));
    at
}

fn homes(lab: &Lab) -> PathBuf {
    lab.dir().join("services")
}

/// What a deploy of the service says.
fn words(lab: &Lab, version: &str, waves: &str, window: &str) -> Vec<String> {
    let homes = homes(lab).display().to_string();
    let words = [
        ("--version", version.to_owned()),
        ("--waves", waves.to_owned()),
        ("--after", format!("sh \"$TIDING_DIR/restart\" {homes}")),
        ("--health", format!("sh:python3 \"$TIDING_DIR/ask\" {homes}/\"$TIDING_NODE\"")),
        ("--health-every", "200ms".to_owned()),
        ("--health-window", window.to_owned()),
    ];
    words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

fn deploy_service(lab: &Lab, version: &str, state: &str) -> Output {
    let words = words(lab, version, "1,100%", "1500ms");
    deploy(lab, &release(lab, version, state), &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What the service of a node answers now.
fn answers(lab: &Lab, name: &str) -> Option<String> {
    let home = homes(lab).join(name);
    let ask = lab.dir().join("ask");
    fs::write(&ask, ASK).expect("a file");
    let asked = Command::new("python3").arg(ask).arg(home).output().expect("python runs");
    asked.status.success().then(|| text(&asked.stdout).trim().to_owned())
}

fn seen(lab: &Lab, name: &str, version: &str) -> bool {
    fs::read_to_string(homes(lab).join(name).join("seen")).unwrap_or_default().lines().any(|line| line == version)
}

fn runs_everywhere(lab: &Lab, agents: &[Node], names: &[&str], version: &str) {
    for (agent, name) in agents.iter().zip(names) {
        let live = || fs::read_to_string(agent.live().join("version")).unwrap_or_default();
        until(&format!("{name} runs {version}"), || {
            live() == version && answers(lab, name).as_deref() == Some(version)
        });
    }
}

fn has_python(test: &str) -> bool {
    let there = Command::new("python3").arg("-V").output().is_ok_and(|output| output.status.success());
    if !there {
        skipped(test, "python3 is not installed");
    }
    there
}

fn not_all(output: &Output, said: &str) {
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success() && all.contains(said), "`{said}` was not said:\n{all}");
}

const NAMES: [&str; 3] = ["node-1", "node-2", "node-3"];

fn fleet(lab: &Lab) -> Vec<Node> {
    NAMES.iter().map(|name| lab.agent(name)).collect()
}

#[test]
fn d16_a_bad_release_stops_at_its_first_wave_and_is_gone_by_itself() {
    if !has_python("d16_a_bad_release_stops_at_its_first_wave_and_is_gone_by_itself") {
        return;
    }
    let lab = Lab::new();
    let agents = fleet(&lab);
    expect(&deploy_service(&lab, "one", "well"), 0, "one is confirmed on 3 of 3 nodes");
    runs_everywhere(&lab, &agents, &NAMES, "one");

    not_all(&deploy_service(&lab, "two", "sick"), "HTTP Error 500");
    runs_everywhere(&lab, &agents, &NAMES, "one");
    let reached = NAMES.iter().filter(|name| seen(&lab, name, "two")).count();
    assert_eq!(reached, 1, "the first wave is one node");

    not_all(&deploy_service(&lab, "three", "broken"), "cannot bind its port");
    runs_everywhere(&lab, &agents, &NAMES, "one");

    expect(&deploy_service(&lab, "four", "well"), 0, "four is confirmed on 3 of 3 nodes");
    runs_everywhere(&lab, &agents, &NAMES, "four");
    expect(&lab.operator(&["rollback"]), 0, "one is confirmed on 3 of 3 nodes");
    runs_everywhere(&lab, &agents, &NAMES, "one");
}

#[test]
fn d17_an_agent_that_is_killed_in_its_window_ends_at_the_release_and_tries_no_failed_one_again() {
    if !has_python("d17_an_agent_that_is_killed_in_its_window_ends_at_the_release_and_tries_no_failed_one_again") {
        return;
    }
    let lab = Lab::new();
    let mut agents = fleet(&lab);
    expect(&deploy_service(&lab, "one", "well"), 0, "one is confirmed on 3 of 3 nodes");

    let source = release(&lab, "two", "well");
    let mut command = lab.deploy_command(&source);
    let mut deploying = command.args(words(&lab, "two", "100%", "4s")).spawn().expect("the binary runs");
    until("it runs two", || seen(&lab, NAMES[0], "two"));
    agents[0].kill();
    agents[0] = lab.agent(NAMES[0]);
    assert!(deploying.wait().expect("a child").success(), "it is confirmed after its restart");
    runs_everywhere(&lab, &agents, &NAMES, "two");

    not_all(&deploy_service(&lab, "three", "sick"), "HTTP Error 500");
    runs_everywhere(&lab, &agents, &NAMES, "two");
    let failed = NAMES.iter().position(|name| seen(&lab, name, "three")).expect("one ran it");
    let times = |lab: &Lab| fs::read_to_string(homes(lab).join(NAMES[failed]).join("seen")).unwrap_or_default();
    let before = times(&lab).matches("three").count();
    agents[failed].kill();
    agents[failed] = lab.agent(NAMES[failed]);
    until("it is back", || lab.status_of(NAMES[failed]).is_some_and(|app| app["phase"] == "fell-back"));
    assert_eq!(times(&lab).matches("three").count(), before, "a failed release is not tried again");
    assert!(live_is(&agents[failed], "two"));
}

/// The machine restarts: its agent and all that runs on it are gone at once.
fn reboot(lab: &Lab, agent: &mut Node, name: &str) {
    agent.kill();
    fs::remove_file(homes(lab).join(name).join("pid")).ok();
    until(&format!("the service of {name} has ended"), || answers(lab, name).is_none());
    *agent = lab.agent(name);
}

/// Starts a deploy of the service, and says how it may be told things while it runs.
fn deploying(lab: &Lab, version: &str) -> std::process::Child {
    let source = release(lab, version, "well");
    let mut command = lab.deploy_command(&source);
    command.args(words(lab, version, "1,100%", "1500ms")).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

#[test]
fn d6_d8_reboots_ctrl_c_and_a_rollback_in_the_middle_of_rollouts_leave_one_release_that_runs_everywhere() {
    if !has_python(
        "d6_d8_reboots_ctrl_c_and_a_rollback_in_the_middle_of_rollouts_leave_one_release_that_runs_everywhere",
    ) {
        return;
    }
    let lab = Lab::new();
    let mut agents = fleet(&lab);
    expect(&deploy_service(&lab, "one", "well"), 0, "one is confirmed on 3 of 3 nodes");
    let first_with = |version: &str| NAMES.iter().position(|name| seen(&lab, name, version));

    let mut rollout = deploying(&lab, "two");
    until("a first node runs two", || first_with("two").is_some());
    let first = first_with("two").expect("it was just seen");
    reboot(&lab, &mut agents[first], NAMES[first]);
    let other = (first + 1) % NAMES.len();
    reboot(&lab, &mut agents[other], NAMES[other]);
    rollout.wait().expect("a child");
    // The one whose machine restarted before it had switched has nothing to start its service by but the release.
    runs_everywhere(&lab, &agents, &NAMES, "two");

    // Interrupted after so many of its lines: it was ordered wholly or not at all, and the next one finds nothing in its way.
    for (nth, lines) in [0, 2, 3, 4, 5].into_iter().enumerate() {
        let mut rollout = deploying(&lab, &format!("interrupted-{nth}"));
        let mut said = BufReader::new(rollout.stderr.take().expect("it is piped")).lines();
        said.by_ref().take(lines).for_each(|line| drop(line.expect("it is text")));
        // It may have ended by now.
        kill_process(Pid::from_child(&rollout), Signal::INT).ok();
        said.for_each(drop);
        let code = rollout.wait().expect("a child").code();
        assert!(matches!(code, None | Some(0 | 130)), "{lines}: {code:?}");
    }
    until("nothing is in the way of the next", || deploy_service(&lab, "three", "well").status.code() == Some(0));
    runs_everywhere(&lab, &agents, &NAMES, "three");

    let mut rollout = deploying(&lab, "four");
    until("a first node runs four", || first_with("four").is_some());
    expect(&lab.operator(&["rollback", "--to", "three"]), 0, "three is confirmed on 3 of 3 nodes");
    rollout.wait().expect("a child");
    runs_everywhere(&lab, &agents, &NAMES, "three");
}

fn live_is(agent: &Node, version: &str) -> bool {
    fs::read_to_string(agent.live().join("version")).is_ok_and(|live| live == version)
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_read() {
    let lab = Lab::new();
    for (words, said) in [
        (["--health", "https://127.0.0.1/"], "plain http"),
        (["--health", "127.0.0.1:80"], "tcp://HOST:PORT"),
        (["--health-need", "4/3"], "2/3"),
        (["--waves", "10%,101%"], "100%"),
        (["--waves", "1,10%"], "everyone"),
        (["--waves", "50%,10%,100%"], "smaller"),
    ] {
        let refused = deploy(&lab, Path::new("/usr/share/doc/none-of-this-is-read"), &words);
        let all = text(&refused.stdout) + &text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && all.contains(said), "{words:?}: `{said}` in\n{all}");
    }
}
