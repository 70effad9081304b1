//! Nodes of two processes under two users: everything arrives, bad releases go, and either half may die at any moment.

#[path = "support/lab.rs"]
mod lab;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#[path = "support/mount.rs"]
mod mount;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, TIDING, same, tree, until};
use mount::Mount;
use said::{deploy, deploy_words, expect, text};
use skip::skipped;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use watched::Watched;

/// As whom network halves run where the tests run as root.
const NOBODY: u32 = 65534;

/// A process that is killed when it is not needed any more.
struct Process(Child);

impl Process {
    fn start(mut command: Command, log: &Path) -> Self {
        let log = fs::File::options().create(true).append(true).open(log).expect("a log can be made");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it can be read");
        assert!(line.starts_with('{'), "it said {line:?}");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().expect("a child that runs can be killed");
        self.0.wait().expect("a child that was killed can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ended = (self.0.kill(), self.0.wait());
    }
}

/// A machine whose node is two halves.
struct Machine {
    at: PathBuf,
    hands: Process,
    network: Process,
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn user() -> u32 {
    if is_root() { NOBODY } else { rustix::process::geteuid().as_raw() }
}

impl Machine {
    fn new(lab: &Lab, name: &str) -> Self {
        let at = lab.dir().join(name);
        fs::create_dir_all(at.join("root/srv")).expect("a directory can be made");
        fs::create_dir_all(at.join("home")).expect("a directory can be made");
        for open in [lab.dir(), &at] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        if is_root() {
            chown(at.join("home"), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let hands = hands(&at);
        let line = lab.origin.join.as_deref().expect("the origin printed a join line");
        let network = network(&at, &["join", line, "--name", name]);
        Self { at, hands, network }
    }

    fn kill_and_restart(&mut self, half: Half) {
        match half {
            Half::Root => {
                self.hands.kill();
                self.hands = hands(&self.at);
            }
            Half::Network => {
                self.network.kill();
                self.network = network(&self.at, &["run"]);
            }
        }
    }

    fn live(&self) -> PathBuf {
        self.at.join("root/srv/app")
    }

    fn log(&self, of: &str) -> String {
        fs::read_to_string(self.at.join(of)).expect("there is a log")
    }

    fn names(&self, below: &str) -> usize {
        fs::read_dir(self.at.join(below)).map_or(0, Iterator::count)
    }
}

fn hands(at: &Path) -> Process {
    let mut command = Command::new(&*TIDING);
    command.args(["hands", "--json", "--whose", &user().to_string(), "--home"]).arg(at.join("hands"));
    command.arg("--of").arg(at.join("home")).arg("--socket").arg(at.join("socket")).arg("--root").arg(at.join("root"));
    Process::start(command, &at.join("hands.log"))
}

fn network(at: &Path, words: &[&str]) -> Process {
    let mut command = Command::new(&*TIDING);
    command.args(words).args(["--json", "--listen", "127.0.0.1:0", "--home"]).arg(at.join("home"));
    command.arg("--hands").arg(at.join("socket"));
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    Process::start(command, &at.join("network.log"))
}

#[test]
fn a_node_of_two_halves_is_uninstalled_as_one() {
    let lab = Lab::new();
    let mut machine = Machine::new(&lab, "node-1");
    let source = source(&lab, 1);
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 1 of 1 node");
    let (home, hands) = (machine.at.join("home"), machine.at.join("hands"));
    let words = |hands: &Path| {
        let paths = [&*home, hands].map(|path| path.to_str().expect("a plain name").to_owned());
        let [home, hands] = paths;
        ["uninstall", "--home", &home, "--hands-home", &hands].map(str::to_owned)
    };
    let uninstall = |hands: &Path, more: &str| {
        let words = words(hands);
        let words: Vec<&str> = words.iter().map(String::as_str).chain([more]).collect();
        lab.operator_less(&words)
    };
    let said = uninstall(&hands, "--dry-run");
    expect(&said, 0, "stays: what is live");
    let said = text(&said.stdout);
    for part in [home.join("identity"), hands.join("store"), hands.join("pinned")] {
        assert!(said.contains(&format!("removes {}", part.display())), "{said}");
    }
    expect(&uninstall(&source, "--yes"), 2, "is no root half's home");
    assert!(home.join("identity").is_dir() && hands.join("pinned").exists(), "nothing was done so far");
    expect(&uninstall(&hands, "--yes"), 0, "its root half has stopped");
    for half in [&mut machine.network, &mut machine.hands] {
        assert!(half.0.wait().expect("it is ours").success(), "it ended in order");
    }
    assert!(leaves_nothing(&home, "identity") && leaves_nothing(&hands, "pinned"));
    assert!(same(&machine.live(), &source), "what is live is live");
}

/// Whether a home, if it is there, has neither a store nor this.
fn leaves_nothing(home: &Path, part: &str) -> bool {
    !home.join("store").exists() && !home.join(part).exists()
}

#[derive(Debug, Clone, Copy)]
enum Half {
    Root,
    Network,
}

fn fleet(lab: &Lab) -> Vec<Machine> {
    ["node-1", "node-2"].map(|name| Machine::new(lab, name)).into()
}

fn show(machines: &[Machine], source: &Path) {
    for machine in machines {
        until("it is live", || same(&machine.live(), source));
    }
}

fn source(lab: &Lab, seed: u64) -> PathBuf {
    let at = lab.dir().join(format!("source-{seed}"));
    tree(&at, 3 << 20, seed);
    at
}

#[test]
fn h14_nodes_of_two_halves_deploy_go_back_from_what_is_bad_and_roll_back() {
    if !is_root() {
        skipped("h14_nodes_of_two_halves..., a part of it", "only root can run the halves as two users");
    }
    let lab = Lab::new();
    let machines = fleet(&lab);
    let (one, two, three) = (source(&lab, 1), source(&lab, 2), source(&lab, 3));
    expect(&deploy(&lab, &one, &["--version", "one"]), 0, "one is confirmed on 2 of 2 nodes");
    show(&machines, &one);
    let ran = lab.dir().join("ran");
    let after = format!("echo \"$TIDING_MOMENT $(id -u)\" >> {}", ran.display());
    let words = ["--version", "two", "--after", &after, "--health", "sh:true", "--health-window", "500ms"];
    expect(&deploy(&lab, &two, &words), 0, "two is confirmed on 2 of 2 nodes");
    show(&machines, &two);
    let by = format!("after {}\n", rustix::process::geteuid().as_raw());
    assert_eq!(fs::read_to_string(&ran).expect("it ran"), by.repeat(2), "commands run as the root half");
    let bad = deploy(&lab, &three, &["--version", "three", "--after", "echo cannot start; exit 3"]);
    assert!(!bad.status.success() && text(&bad.stderr).contains("cannot start"), "{}", text(&bad.stderr));
    show(&machines, &two);
    expect(&lab.operator(&["rollback"]), 0, "two is confirmed on 2 of 2 nodes");
    show(&machines, &two);
    expect(&lab.operator(&["verify"]), 0, "");
    for machine in &machines {
        let (hands, network) = (machine.log("hands.log"), machine.log("network.log"));
        assert!(!hands.contains("refused") && !network.contains("the root half refuses"), "{hands}\n{network}");
        assert!(machine.names("hands/store/blobs") == 0, "the root half keeps no content");
    }
}

#[test]
fn h14_either_half_is_killed_at_any_step_of_a_deploy_and_everything_arrives() {
    let lab = Lab::new();
    let mut machines = fleet(&lab);
    type Moment = fn(&Machine, usize) -> bool;
    let moments: [Moment; 4] = [
        |_, _| true,
        |machine, _| machine.names("home/store/staging") > 0,
        |machine, before| machine.names("root/srv/.app.tiding") > before,
        |machine, _| fs::read_to_string(machine.at.join("ran")).is_ok(),
    ];
    let mut seed = 0;
    for moment in moments {
        for half in [Half::Root, Half::Network] {
            seed += 1;
            let tree = source(&lab, seed);
            let before = machines[0].names("root/srv/.app.tiding");
            let ran = machines[0].at.join("ran");
            fs::remove_file(&ran).or_else(|error| if ran.exists() { Err(error) } else { Ok(()) }).expect("it is ours");
            let mut command = lab.operator_command(&deploy_words(&tree));
            let after = format!("echo \"$TIDING_NODE\" > {}/\"$TIDING_NODE\"/ran", lab.dir().display());
            command.args(["--after", &after, "--health", "sh:true", "--health-window", "300ms"]);
            let mut deploy = Watched::start(command);
            until("that moment, or the end", || moment(&machines[0], before) || !deploy.runs());
            machines[0].kill_and_restart(half);
            assert!(deploy.end().success(), "{half:?} {seed}: {}", deploy.said);
            show(&machines, &tree);
        }
    }
    let hands = machines[0].log("hands.log");
    assert!(!hands.contains("the root half refused"), "{hands}");
}

#[test]
fn d17_a_root_half_that_is_alone_goes_back_from_what_is_not_well() {
    let lab = Lab::new();
    let mut machine = Machine::new(&lab, "node-1");
    let (one, two) = (source(&lab, 1), source(&lab, 2));
    expect(&deploy(&lab, &one, &["--version", "one"]), 0, "one is confirmed on 1 of 1 node");
    let mut command = lab.operator_command(&deploy_words(&two));
    command.args(["--health", "sh:false", "--health-every", "100ms", "--health-window", "5s"]);
    let mut deploying = Watched::start(command);
    until("it runs two", || same(&machine.live(), &two) || !deploying.runs());
    machine.network.kill();
    // Nobody is there who could tell it to: the rest of the window, and then the way back.
    until("it is back", || same(&machine.live(), &one));
    drop(deploying);
}

#[test]
fn a_network_half_that_begins_anew_hears_that_it_is_to_stop() {
    let lab = Lab::new();
    let mut machine = Machine::new(&lab, "node-1");
    machine.hands.kill();
    until("it begins anew", || machine.log("network.log").contains("beginning anew"));
    let pid = rustix::process::Pid::from_child(&machine.network.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let mut ended = None;
    until("it ends", || {
        ended = machine.network.0.try_wait().expect("a child can be asked");
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", machine.log("network.log"));
}

/// What the node says is in the way.
fn trouble(lab: &Lab) -> Option<String> {
    Some(lab.status_of("node-1")?["trouble"].as_str()?.to_owned())
}

fn tmpfs(at: &Path, size: &str) -> Option<Mount> {
    Mount::new(at, &["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs"])
}

#[test]
fn a4_a_disk_too_small_for_what_the_root_half_lays_out_is_said_and_room_is_noticed() {
    let lab = Lab::new();
    let Some(small) = tmpfs(&lab.dir().join("node-1/root"), "40m") else {
        return skipped("a4_a_disk_too_small_for_what_the_root_half...", "only root may mount a tmpfs");
    };
    let machine = Machine::new(&lab, "node-1");
    let one = source(&lab, 1);
    let mut deploying = Watched::start(lab.operator_command(&deploy_words(&one)));
    until("it says so", || trouble(&lab).is_some_and(|why| why.starts_with("disk full: need ")));
    assert!(!machine.live().exists(), "nothing is switched to");
    small.remount("size=400m");
    assert!(deploying.end().success(), "{}", deploying.said);
    show(&[machine], &one);
}

#[test]
fn a4_a_root_half_that_can_remember_nothing_switches_to_nothing_until_it_can() {
    let lab = Lab::new();
    let Some(_small) = tmpfs(&lab.dir().join("node-1/hands"), "16m") else {
        return skipped("a4_a_root_half_that_can_remember_nothing...", "only root may mount a tmpfs");
    };
    let machine = Machine::new(&lab, "node-1");
    let ballast = machine.at.join("hands/ballast");
    fill(&ballast);
    let one = source(&lab, 1);
    let mut deploying = Watched::start(lab.operator_command(&deploy_words(&one)));
    until("something is in the way, or the end", || trouble(&lab).is_some() || !deploying.runs());
    fs::remove_file(ballast).expect("it is ours");
    assert!(deploying.end().success(), "{}\n{}", deploying.said, machine.log("hands.log"));
    show(&[machine], &one);
}

/// Takes all the room that there is.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).expect("a file can be made");
    let bytes = [7; 4096];
    while std::io::Write::write_all(&mut file, &bytes).is_ok() {}
}
