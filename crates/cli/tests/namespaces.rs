//! What networks do to real processes: machines in namespaces around a bridge, cut, renumbered, slowed down. Needs root, iproute2 and,
//! where packets are lost or counted, nftables.

#[path = "support/arrivals.rs"]
mod arrivals;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/watched.rs"]
mod watched;

use arrivals::{Arrivals, hold_jointly};
use lab::{Lab, Node, until};
use netns::{Net, PORT};
use rustix::process::Signal;
use said::{deploy_words, expect, live, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use watched::Watched;

/// A fleet with its origin on machine 0 and an agent on each other one; `None`, said loudly, where there can be none.
fn fleet(test: &str, machines: u8) -> Option<(Net, Lab, Vec<Node>)> {
    let Some(net) = Net::new(machines) else {
        skip::skipped(test, "network namespaces with a bridge cannot be made here: that takes root and iproute2");
        return None;
    };
    let (lab, agents) = fleet_on(&net, machines);
    Some((net, lab, agents))
}

fn fleet_on(net: &Net, machines: u8) -> (Lab, Vec<Node>) {
    let lab = Lab::on(net.on(0), &format!("{}:{PORT}", net.address(0)), &[]);
    let any = format!("0.0.0.0:{PORT}");
    let agents = (1..machines).map(|nr| lab.agent_on(&net.on(nr), &format!("node-{nr}"), &any)).collect();
    (lab, agents)
}

fn source(lab: &Lab, name: &str, bytes: usize, seed: u64) -> PathBuf {
    let at = lab.dir().join(name);
    lab::tree(&at, bytes, seed);
    at
}

fn all_show(agents: &[Node], source: &Path) -> bool {
    agents.iter().all(|agent| lab::same(source, &live(agent)))
}

fn is_up(lab: &Lab, name: &str) -> bool {
    let status = lab.status().unwrap_or(Value::Null);
    status["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(|node| node["name"] == name && node["up"] == true))
}

fn agents_known(lab: &Lab) -> usize {
    let status = lab.status().unwrap_or(Value::Null);
    status["nodes"].as_array().map_or(0, |nodes| nodes.iter().filter(|node| node["role"] == "agent").count())
}

#[test]
fn b2_a_machine_whose_cable_is_pulled_is_missed_and_comes_back_by_itself() {
    let Some((net, lab, agents)) = fleet("b2_a_machine_whose_cable_is_pulled...", 4) else { return };
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", 1 << 20, 2));
    lab.deploy(&first);
    assert!(net.reaches(1, 3));
    net.unplug(3);
    assert!(!net.reaches(1, 3), "the cable is still in");
    until("the machine is missed", || !is_up(&lab, "node-3"));
    let deployed = lab.operator(&[&deploy_words(&second)[..], &["--patience", "1s"]].concat());
    expect(&deployed, 0, "node-3: unreachable");
    assert!(all_show(&agents[..2], &second) && all_show(&agents[2..], &first));
    net.plug_in(3);
    until("it has what was deployed meanwhile", || all_show(&agents, &second));
}

#[test]
fn b2_a_machine_that_vanishes_in_the_middle_of_a_download_keeps_nothing_from_the_others() {
    const LARGE: u64 = 16 << 20;
    let test = "b2_a_machine_that_vanishes_in_the_middle...";
    let Some((net, lab, agents)) = fleet(test, 4) else { return };
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", LARGE as usize, 2));
    lab.deploy(&first);
    if !(0..4).all(|nr| net.shape(nr, "40mbit")) {
        return skip::skipped(test, "tc cannot shape here");
    }
    let (others, vanishing) = agents.split_at(2);
    let (theirs, its) =
        ([0, 1].map(|nr| Arrivals::from_now_on(&[&others[nr]])), Arrivals::from_now_on(&[&vanishing[0]]));
    let words = [&deploy_words(&second)[..], &["--patience", "1s"]].concat();
    let mut deploying = Watched::start(lab.operator_command(&words));
    until("it has a part of it", || its.bytes() > LARGE / 8);
    net.unplug(3);
    assert!(!its.are_complete() && theirs.iter().all(|theirs| !theirs.are_complete()), "it vanished too late");
    assert!(is_up(&lab, "node-3"), "it was missed before it was gone");
    until("the others have it", || all_show(others, &second));
    let ended = deploying.end();
    assert_eq!(ended.code(), Some(5), "{}", deploying.said);
    let is_said = |words: &str| deploying.said.contains(words);
    assert!(is_said("1 of 3 nodes did not confirm") && is_said("node-3: "), "{}", deploying.said);
    until("the machine is missed", || !is_up(&lab, "node-3"));
    expect(&lab.operator(&["status"]), 0, "NOT, for");
    assert!(all_show(vanishing, &first) && !its.are_complete(), "something came to it");
    net.plug_in(3);
    until("it has it too", || all_show(&agents, &second) && is_up(&lab, "node-3"));
    assert_eq!(agents_known(&lab), 3);
}

/// Bytes that came to the connections of a node and that it has not read.
fn unread(node: &Node) -> u64 {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", node.pid())).expect("it runs");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let established = lines.filter(|words| words.get(3) == Some(&ESTABLISHED));
    let waiting = established.filter_map(|words| words.get(4)?.split_once(':').map(|(_, read)| read.to_owned()));
    waiting.map(|bytes| u64::from_str_radix(&bytes, 16).expect("a number of the kernel")).sum()
}

#[test]
fn b3_an_agent_that_takes_everything_and_never_answers_holds_nobody_else_up() {
    const LARGE: u64 = 16 << 20;
    let Some((net, lab, agents)) = fleet("b3_an_agent_that_takes_everything...", 7) else { return };
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", LARGE as usize, 2));
    lab.deploy(&first);
    if !(0..7).all(|nr| net.shape(nr, "40mbit")) {
        return skip::skipped("b3_an_agent_that_takes_everything...", "tc cannot shape here");
    }
    let mut deploying =
        Watched::start(lab.operator_command(&[&deploy_words(&second)[..], &["--patience", "6s"]].concat()));
    // Whoever has most from the origin is the one who has most to pass on.
    let from_origin =
        |nr: usize| lab.status_of(&format!("node-{nr}")).map_or(0, |app| app["from_origin"].as_u64().unwrap_or(0));
    let mut mute = 0;
    until("somebody has a part of it from the origin", || {
        mute = (1..7).max_by_key(|nr| from_origin(*nr)).expect("there are six");
        from_origin(mute) > LARGE / 16
    });
    let (mute, its_name) = (&agents[mute - 1], format!("node-{mute}"));
    mute.signal(Signal::STOP);
    let others = || agents.iter().filter(|agent| agent.pid() != mute.pid());
    assert!(others().all(|agent| !lab::same(&second, &live(agent))), "it was stopped too late to hold anybody up");
    let held = unread(mute);
    until("the others have it", || others().all(|agent| lab::same(&second, &live(agent))));
    assert!(unread(mute) > held, "nobody wanted anything of it");
    let ended = deploying.end();
    assert_eq!(ended.code(), Some(5), "{}", deploying.said);
    let one = format!("{its_name}: ");
    assert!(
        deploying.said.contains("1 of 6 nodes did not confirm") && deploying.said.contains(&one),
        "{}",
        deploying.said
    );
    assert!(lab::same(&first, &live(mute)));
    mute.signal(Signal::CONT);
    until("it has it too", || all_show(&agents, &second) && is_up(&lab, &its_name));
    assert_eq!(agents_known(&lab), 6);
}

#[test]
fn b4_an_agent_that_sends_a_kilobyte_a_second_holds_nobody_else_up() {
    let Some((net, lab, agents)) = fleet("b4_an_agent_that_sends...", 4) else { return };
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", 4 << 20, 2));
    lab.deploy(&first);
    if !net.shape(3, "8kbit") {
        return skip::skipped("b4_an_agent_that_sends...", "tc cannot shape here");
    }
    // What the shaper lets through at once is used up, wherever the slow one stands and whatever it has to pass on.
    use_up(&net, 3, 2);
    let mut deploying = Watched::start(lab.operator_command(&deploy_words(&second)));
    until("the others have it", || all_show(&agents[..2], &second));
    assert!(net.was_shaped(3), "the shaper held nothing back");
    assert!(net.shape(3, "1gbit"));
    until("so has the slow one once it is not slow any more", || all_show(&agents, &second));
    let ended = deploying.end();
    assert!(ended.code().is_some_and(|code| code == 0 || code == 5), "{ended}\n{}", deploying.said);
}

/// Sends 64 KB from one machine to where nobody listens on another.
fn use_up(net: &Net, from: u8, to: u8) {
    let all = format!("for i in $(seq 64); do head -c 1000 /dev/zero >/dev/udp/{}/9; done; true", net.address(to));
    let sent = std::process::Command::new("ip").args(["netns", "exec", &net.space(from), "bash", "-c", &all]).output();
    assert!(sent.expect("bash runs").status.success());
}

/// Memory that a process has now, in KiB.
fn resident_kib(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Opens connections in a namespace, begins a handshake on each and says no more; dropped, it ends.
struct Silent {
    child: std::process::Child,
    /// How many there are: this machine may not let one process have as many as were asked for.
    count: usize,
}

impl Silent {
    fn begin(net: &Net, from: u8, to: u8, count: usize) -> Self {
        let target = format!("/dev/tcp/{}/{PORT}", net.address(to));
        let each = format!("exec {{fd}}<>{target} && printf '\\x16\\x03\\x01' >&$fd");
        let all = format!(
            "trap '' PIPE; ulimit -n 65536 || ulimit -n $(ulimit -Hn); most=$(($(ulimit -n) - 100)); \
             count=$(({count} < most ? {count} : most)); for i in $(seq $count); do {each}; done; echo $count; read"
        );
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", &net.space(from), "bash", "-c", &all]);
        let (stdin, stdout, stderr) =
            (std::process::Stdio::piped(), std::process::Stdio::piped(), std::process::Stdio::null());
        let mut child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("bash runs");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("readable");
        let count = line.trim().parse().expect("it says how many it has opened");
        Self { child, count }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = (self.child.kill(), self.child.wait());
    }
}

/// How many connections from a machine a node has.
fn connections_from(node: &Node, net: &Net, nr: u8) -> usize {
    const ESTABLISHED: &str = "01";
    let far = format!("{:08X}:", u32::from_ne_bytes(net.address(nr).octets()));
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", node.pid())).expect("it runs");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_from = |words: &Vec<&str>| words.get(2).is_some_and(|remote| remote.starts_with(&far));
    lines.filter(|words| is_from(words) && words.get(3) == Some(&ESTABLISHED)).count()
}

#[test]
fn b5_ten_thousand_silent_connections_cost_little_and_keep_nobody_out() {
    const SILENT: usize = 10_000;
    /// As many as one network may have at once.
    const SHARE: usize = 32;
    let test = "b5_ten_thousand_silent_connections...";
    let Some(net) = Net::new(4) else { return skip::skipped(test, "namespaces take root and iproute2") };
    let lab = Lab::on(talkative(&net, 0), &format!("{}:{PORT}", net.address(0)), &[]);
    let any = format!("0.0.0.0:{PORT}");
    let first = lab.agent_on(&net.on(1), "node-1", &any);
    let before = resident_kib(&lab.origin);
    let silent = Silent::begin(&net, 2, 0, SILENT);
    if silent.count < SILENT {
        skip::skipped(
            test,
            &format!("only {} of {SILENT} connections may be open here; it goes on with those", silent.count),
        );
    }
    let held = || connections_from(&lab.origin, &net, 2);
    assert!(held() > 0, "none of them is there any more");
    expect(&lab.operator(&["status"]), 0, "1 of 1 agent up");
    // Another stranger comes to join in the meantime, from an address of its own.
    let agents = [first, lab.agent_on(&net.on(3), "node-2", &any)];
    let source = source(&lab, "source", 1 << 20, 1);
    lab.deploy(&source);
    assert!(all_show(&agents, &source));
    let more = resident_kib(&lab.origin).saturating_sub(before);
    assert!(more < 64 * 1024, "they take {more} KiB");
    until("no more are held than one network may have", || held() <= SHARE);
    let from = format!("from={}:", net.address(2));
    until("each was let go", || lines_with(&lab.origin, &["was not let in", &from]) == silent.count);
    let refused = lines_with(&lab.origin, &["too many strangers", &from]);
    eprintln!("b5: {refused} of {} refused at once", silent.count);
    // A share may have been held by several, one after the other, while others came.
    assert!(refused > silent.count * 9 / 10, "only {refused} of {} were refused at once", silent.count);
}

#[test]
fn b6_what_goes_one_way_only_between_two_agents_stops_neither() {
    let Some((net, lab, agents)) = fleet("b6_what_goes_one_way_only...", 4) else { return };
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", 8 << 20, 2));
    lab.deploy(&first);
    net.cut(1, 2);
    assert!(!net.reaches(1, 2) && net.reaches(1, 3), "only that way is cut");
    lab.deploy(&second);
    assert!(all_show(&agents, &second));
}

#[test]
fn b7_agents_that_reach_only_their_origin_get_everything_from_it() {
    let Some(net) = Net::new(3) else {
        return skip::skipped("b7_agents_that_reach_only_their_origin...", "namespaces take root and iproute2");
    };
    let lab = Lab::on(net.on(0), &format!("{}:{PORT}", net.address(0)), &[]);
    net.cut(1, 2);
    net.cut(2, 1);
    let any = format!("0.0.0.0:{PORT}");
    let agents: Vec<Node> = (1..3).map(|nr| lab.agent_on(&net.on(nr), &format!("node-{nr}"), &any)).collect();
    assert!(!net.reaches(1, 2) && !net.reaches(2, 1) && net.reaches(1, 0));
    let source = source(&lab, "source", 4 << 20, 1);
    lab.deploy(&source);
    assert!(all_show(&agents, &source));
    for name in ["node-1", "node-2"] {
        let app = lab.status_of(name).expect("the origin knows it");
        assert_eq!(app["from_peers"], 0, "{app}");
    }
    for agent in &agents {
        let mut said: BTreeMap<String, usize> = BTreeMap::new();
        let log = agent.log();
        let words = |line: &str| Some(line.split_once("PlainRoad { content: ")?.1.split_once(',')?.0.to_owned());
        log.lines().filter_map(words).for_each(|content| *said.entry(content).or_default() += 1);
        // Once when nothing comes from the other, and again when nothing came from the origin for as long either.
        assert!(!said.is_empty() && said.values().all(|times| *times <= 3), "{said:?}\n{log}");
    }
}

#[test]
fn b8_a_fleet_cut_off_from_its_origin_finishes_what_it_holds_and_hears_of_the_rest_later() {
    let Some((net, lab, agents)) = fleet("b8_a_fleet_cut_off...", 4) else { return };
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", 1 << 20, 2));
    lab.deploy(&first);
    net.unplug(0);
    assert!(!net.reaches(1, 0) && net.reaches(1, 2));
    until("the origin misses everyone", || (1..4).all(|nr| !is_up(&lab, &format!("node-{nr}"))));
    let status = lab.operator(&["status"]);
    expect(&status, 0, "NOT, for");
    let deployed = lab.operator(&[&deploy_words(&second)[..], &["--patience", "1s"]].concat());
    assert!(!deployed.status.success() && all_show(&agents, &first), "nobody can have heard of it");
    net.plug_in(0);
    until("everyone has what was ordered meanwhile", || all_show(&agents, &second));
}

#[test]
fn b8_a_fleet_cut_off_in_the_middle_of_a_download_finishes_what_no_member_of_it_holds_alone() {
    const LARGE: u64 = 8 << 20;
    let test = "b8_a_fleet_cut_off_in_the_middle...";
    let Some((net, lab, agents)) = fleet(test, 4) else { return };
    if !net.shape(0, "10mbit") {
        return skip::skipped(test, "tc cannot shape here");
    }
    let source = source(&lab, "source", LARGE as usize, 1);
    let pairs = [(1, 2), (1, 3), (2, 3), (2, 1), (3, 1), (3, 2)];
    // Each has what the origin sent it, and nothing else.
    pairs.into_iter().for_each(|(from, to)| net.cut(from, to));
    let its: Vec<Arrivals> = agents.iter().map(|agent| Arrivals::from_now_on(&[agent])).collect();
    let words = [&deploy_words(&source)[..], &["--patience", "120s"]].concat();
    let mut deploying = Watched::start(lab.operator_command(&words));
    assert!(deploying.reads("ordered"), "{}", deploying.said);
    let members: Vec<&Node> = agents.iter().collect();
    until("every piece is with one of them", || hold_jointly(&members, &lab.origin));
    net.unplug(0);
    let had: Vec<u64> = its.iter().map(Arrivals::bytes).collect();
    assert!(its.iter().all(|its| !its.are_complete()), "it was cut off too late to show anything: {had:?}");
    pairs.into_iter().for_each(|(from, to)| net.heal(from, to));
    until("all are complete without an origin", || its.iter().all(Arrivals::are_complete));
    assert!(!net.reaches(1, 0) && deploying.runs(), "the origin was not cut off, or the rollout was over without it");
    net.plug_in(0);
    let ended = deploying.end();
    assert!(ended.success() && all_show(&agents, &source), "{ended}\n{}", deploying.said);
}

#[test]
fn b10_a_machine_with_another_address_is_the_same_node() {
    let Some((net, lab, agents)) = fleet("b10_a_machine_with_another_address...", 3) else { return };
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", 1 << 20, 2));
    lab.deploy(&first);
    net.renumber(2, 99);
    assert!(!net.reaches(1, 2), "nobody is at the old address");
    until("the machine is missed or back", || {
        let deployed = lab.operator(&[&deploy_words(&second)[..], &["--patience", "1s"]].concat());
        deployed.status.success() || all_show(&agents, &second)
    });
    until("it is there", || is_up(&lab, "node-2") && all_show(&agents, &second));
    assert_eq!(agents_known(&lab), 2, "and nobody else");
}

#[test]
fn b10_where_packets_of_full_size_vanish_one_machine_is_missed_and_it_comes_back_by_itself() {
    const MACHINES: u8 = 5;
    let Some(net) = Net::new(MACHINES) else {
        return skip::skipped("b10_where_packets_of_full_size_vanish...", "namespaces take root and iproute2");
    };
    net.packets_one_by_one();
    let (lab, agents) = fleet_on(&net, MACHINES);
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", 4 << 20, 2));
    lab.deploy(&first);
    until("packets of full size pass", || net.carries(1440, 1, 4));
    net.narrow(4, 1400);
    until("small packets pass", || net.carries(1300, 1, 4) && net.carries(1300, 4, 1));
    assert!(!net.carries(1440, 1, 4) && !net.carries(1440, 4, 1), "packets of full size still pass");
    assert!(net.carries(1440, 1, 3), "the others' cables are as they were");
    let words = [&deploy_words(&second)[..], &["--patience", "3s"]].concat();
    let mut deploying = Watched::start(lab.operator_command(&words));
    until("the others have it", || all_show(&agents[..3], &second));
    // Words that fit into a small packet still pass: it may look as if it were there all the while.
    let ended = deploying.end();
    assert_eq!(ended.code(), Some(5), "{}", deploying.said);
    let is_said = |words: &str| deploying.said.contains(words);
    assert!(is_said("1 of 4 nodes did not confirm") && is_said("node-4: "), "{}", deploying.said);
    assert!(lab::same(&first, &live(&agents[3])));
    net.narrow(4, 1500);
    until("the machine has it too", || all_show(&agents, &second) && is_up(&lab, "node-4"));
    assert_eq!(agents_known(&lab), 4, "and nobody else");
}

#[test]
fn b11_on_a_link_of_one_megabit_words_go_before_pieces_and_the_deploy_ends() {
    const LARGE: usize = 1_000_000;
    /// What nobody should have to wait for, on however slow a machine.
    const GUARD: Duration = Duration::from_secs(5);
    let test = "b11_on_a_link_of_one_megabit...";
    let Some((net, lab, agents)) = fleet(test, 3) else { return };
    if !net.shape(0, "1mbit") {
        return skip::skipped(test, "tc cannot shape here");
    }
    let source = source(&lab, "source", LARGE, 1);
    let its: Vec<Arrivals> = agents.iter().map(|agent| Arrivals::from_now_on(&[agent])).collect();
    let here = || its.iter().map(Arrivals::bytes).collect::<Vec<_>>();
    let are_complete = || its.iter().all(Arrivals::are_complete);
    let mut deploying = Watched::start(lab.operator_command(&deploy_words(&source)));
    let (mut waits, mut halfway) = (Vec::new(), None);
    until("everyone has everything", || {
        let (before, begun) = (here(), Instant::now());
        // Whoever asks is at the far end of that link, where the pieces go.
        let status = lab.operator_command_on(&net.on(1), &["status"]).output().expect("the binary runs");
        let took = begun.elapsed();
        if before.iter().sum::<u64>() > 0 && !are_complete() {
            // A connection that is lost in the queue of the shaper may come too late: that is no answer in time either.
            let is_seen = status.status.success() && text(&status.stdout).contains("2 of 2 agents up");
            waits.push(if is_seen { took } else { took.max(GUARD) });
        }
        if before.iter().any(|bytes| *bytes > LARGE as u64 / 2) {
            halfway.get_or_insert(before);
        }
        are_complete()
    });
    waits.sort();
    assert!(!waits.is_empty(), "nothing was asked while pieces went over the link");
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    let halfway = halfway.expect("somebody was halfway");
    let answers = waits.len();
    eprintln!(
        "b11: {answers} answers while pieces went, half within {median:?}, all within {longest:?}; halfway {halfway:?}"
    );
    assert!(median < GUARD, "answers took {waits:?}");
    let (least, most) = (halfway.iter().min(), halfway.iter().max());
    assert!(
        least.zip(most).is_some_and(|(least, most)| 2 * least >= *most),
        "one had much more than the other: {halfway:?}"
    );
    let ended = deploying.end();
    assert!(ended.success() && all_show(&agents, &source), "{ended}\n{}", deploying.said);
    assert!(net.was_shaped(0), "the shaper held nothing back");
}

/// Deploys a source, sees it live everywhere, and says how long that took.
fn timed_deploy(lab: &Lab, agents: &[Node], source: &Path) -> Duration {
    let begun = Instant::now();
    lab.deploy(source);
    assert!(all_show(agents, source));
    begun.elapsed()
}

#[test]
fn b1_packets_lost_by_every_machine_delay_a_deploy_and_no_more() {
    const MACHINES: u8 = 4;
    let Some(net) = Net::new(MACHINES) else {
        return skip::skipped("b1_packets_lost...", "namespaces take root and iproute2");
    };
    net.packets_one_by_one();
    let (lab, agents) = fleet_on(&net, MACHINES);
    let sources = (1..).zip(["whole", "two", "ten"]).map(|(seed, name)| source(&lab, name, 4 << 20, seed));
    let sources: Vec<PathBuf> = sources.collect();
    let clean = timed_deploy(&lab, &agents, &sources[0]);
    let lost = || (0..MACHINES).map(|nr| net.lost(nr)).collect::<Vec<_>>();
    for (percent, source) in [2, 10].into_iter().zip(&sources[1..]) {
        if !(0..MACHINES).all(|nr| net.lose(nr, percent)) {
            return skip::skipped("b1_packets_lost...", "nothing here drops packets: that takes nft and numgen");
        }
        let before = lost();
        let took = timed_deploy(&lab, &agents, source);
        let times: Vec<u64> = lost().into_iter().zip(before).map(|(now, before)| now - before).collect();
        // To the origin hardly more than acknowledgements come.
        assert!(times[1..].iter().all(|lost| *lost > 0), "at {percent} % not every agent lost something: {times:?}");
        let ratio = took.as_secs_f64() / clean.as_secs_f64();
        eprintln!("b1: at {percent} % {took:?}, {ratio:.1} times as long as without loss; lost packets {times:?}");
    }
}

/// What runs a program on a machine so that a node tells everything in its log.
fn talkative(net: &Net, nr: u8) -> Vec<String> {
    [net.on(nr), ["env", "TIDING_LOG=debug"].map(str::to_owned).into()].concat()
}

/// How many lines of a node's log have all of these words.
fn lines_with(node: &Node, words: &[&str]) -> usize {
    node.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// The identity of a node, as the origin knows it.
fn id_of(lab: &Lab, name: &str) -> String {
    let status = lab.status().expect("the origin answers");
    let mut nodes = status["nodes"].as_array().into_iter().flatten();
    let node = nodes.find(|node| node["name"] == name).expect("the origin knows it");
    node["node"].as_str().expect("an identity is text").to_owned()
}

#[test]
fn b9_where_no_name_is_resolved_a_stranger_at_the_address_of_a_neighbour_is_refused_and_the_deploy_arrives() {
    const STRANGER: u8 = 4;
    let test = "b9_where_no_name_is_resolved...";
    let Some(net) = Net::new(5) else { return skip::skipped(test, "namespaces take root and iproute2") };
    if !(0..5).all(|nr| net.count_questions(nr)) {
        return skip::skipped(test, "questions to resolvers cannot be counted: that takes nft");
    }
    assert!((0..5).all(|nr| net.without_resolver(nr)));
    assert!(!net.resolves(1, "tiding.example.com"), "names are resolved");
    assert!(net.questions(1) > 0, "the question was not counted");
    let asked = || (0..5).map(|nr| net.questions(nr)).collect::<Vec<_>>();
    let before = asked();
    // Each goes on naming the address at which it was told to listen, wherever it is.
    let lab = Lab::on(net.on(0), &format!("{}:{PORT}", net.address(0)), &[]);
    let join =
        |nr: u8| lab.agent_on(&talkative(&net, nr), &format!("node-{nr}"), &format!("{}:{PORT}", net.address(nr)));
    let agents: Vec<Node> = (1..4).map(join).collect();
    let (first, second) = (source(&lab, "first", 1 << 20, 1), source(&lab, "second", 4 << 20, 2));
    lab.deploy(&first);
    // Of two that are to meet the one with the lower identity dials: everyone else dials this one.
    let moved = (1..4).max_by_key(|nr| id_of(&lab, &format!("node-{nr}"))).expect("there are three");
    let dialled = format!("{}:{PORT}", net.address(moved));
    let last = net.address(moved).octets()[3];
    net.renumber(moved, 99);
    net.renumber(STRANGER, last);
    let stranger = Lab::on(talkative(&net, STRANGER), &dialled, &[]);
    net.forget_where(last);
    let others: Vec<&Node> =
        agents.iter().enumerate().filter(|(nr, _)| nr + 1 != usize::from(moved)).map(|(_, node)| node).collect();
    let refusals = |node: &Node| lines_with(node, &["no peer answers there", &dialled, "invalid peer certificate"]);
    until("everyone else has refused the stranger", || others.iter().all(|node| refusals(node) > 0));
    assert!(lines_with(&stranger.origin, &["was not let in"]) > 0, "the stranger has let somebody in");
    until("the machine that moved is back", || is_up(&lab, &format!("node-{moved}")));
    lab.deploy(&second);
    // Whoever was told to be up by a connection that had ended already comes a moment later.
    until("everyone shows it", || all_show(&agents, &second));
    let from_peers = (1..4).filter_map(|nr| lab.status_of(&format!("node-{nr}"))?["from_peers"].as_u64());
    assert!(from_peers.sum::<u64>() > 0, "nothing came from peers");
    assert!(stranger.status().is_some(), "the stranger does not answer");
    assert_eq!((agents_known(&lab), agents_known(&stranger)), (3, 0), "somebody changed sides");
    assert_eq!(asked(), before, "a name was looked up");
}
