//! What people have complained about in other tools that deploy, as tests with real processes; each is named after its complaint.
//!
//! capistrano#351 and #514: a rollback leads to a release that is half there, or to another one than ran before. capistrano#985: between the
//! two steps of a switch there is no release at all. mender#485: a device that cannot reach its server turns in a circle. murder#10: processes
//! that nobody waits for stay behind.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, Node, until};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::Signal;
use said::{deploy, deploy_words, expect, live};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// A child that does not outlive its test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = (self.0.kill(), self.0.wait());
    }
}

/// A deploy that runs on its own.
fn deploying(lab: &Lab, source: &Path, more: &[&str]) -> Ends {
    let mut command = lab.operator_command(&[&deploy_words(source)[..], more].concat());
    Ends(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs"))
}

/// A tree in whose every file its version stands.
fn versioned(lab: &Lab, version: &str) -> PathBuf {
    let at = lab.dir().join(version);
    fs::create_dir_all(at.join("sub/deeper")).expect("a directory");
    for name in ["one", "sub/two", "sub/deeper/three"] {
        fs::write(at.join(name), format!("{version}\n").repeat(5000)).expect("a file");
    }
    at
}

fn lines(file: &Path, line: &str) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().filter(|found| *found == line).count()
}

/// The process whose number stands in a file, if it does.
fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Whether a process runs; one that has ended and that nobody has waited for does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Kills a deploy when the origin has all of its words, and far from all of its bytes.
fn deploy_that_dies(lab: &Lab, agent: &mut Node, source: &Path) {
    lab::tree(source, 6 << 20, 99);
    let mut dying = deploying(lab, source, &["--version", "dead", "--limit", "2Mbit"]);
    let mut said = BufReader::new(dying.0.stderr.take().expect("it is piped")).lines();
    assert!(said.any(|line| line.expect("it is text").contains("submitted")), "it was never submitted");
    agent.kill();
    dying.0.kill().expect("it runs");
    dying.0.wait().expect("a child");
}

#[test]
fn capistrano_351_a_deploy_that_died_is_never_what_a_rollback_leads_to() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let [one, two, four] = ["one", "two", "four"].map(|version| versioned(&lab, version));
    expect(&deploy(&lab, &one, &["--version", "one"]), 0, "confirmed");
    expect(&deploy(&lab, &two, &["--version", "two"]), 0, "confirmed");
    deploy_that_dies(&lab, &mut agent, &lab.dir().join("dead"));
    agent = lab.agent("node-1");
    assert!(agent.shows(&two));
    expect(&lab.operator(&["rollback"]), 0, "one is confirmed on 1 of 1 node");
    assert!(agent.shows(&one), "all of it, and nothing of what died");
    expect(&deploy(&lab, &four, &["--version", "four"]), 0, "confirmed");
    expect(&lab.operator(&["rollback"]), 0, "is confirmed on 1 of 1 node");
    assert!(agent.shows(&two), "the newest before it that did well");
    expect(&lab.operator(&["verify"]), 0, "as published");
}

#[test]
fn capistrano_514_what_fails_leads_back_to_what_ran_before_and_no_further() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let [one, two, bad] = ["one", "two", "bad"].map(|version| versioned(&lab, version));
    expect(&deploy(&lab, &one, &["--version", "one"]), 0, "confirmed");
    expect(&deploy(&lab, &two, &["--version", "two"]), 0, "confirmed");
    for version in ["bad", "worse"] {
        let failed = deploy(&lab, &bad, &["--version", version, "--after", "exit 7"]);
        expect(&failed, 5, "status 7");
        until("it is back", || agent.shows(&two));
        expect(&lab.operator(&["rollback"]), 0, "two is confirmed on 1 of 1 node");
        assert!(agent.shows(&two), "not to the one before it");
    }
    expect(&lab.operator(&["rollback"]), 0, "one is confirmed on 1 of 1 node");
    assert!(agent.shows(&one));
}

/// Reads a whole file below an open directory.
fn read_below(dir: impl AsFd, name: &str) -> String {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("it is there");
    let mut text = String::new();
    fs::File::from(file).read_to_string(&mut text).expect("it is text");
    text
}

/// The one version that stands in a file, which is whole.
fn version_of(text: &str) -> String {
    let version = text.lines().next().unwrap_or_default();
    assert_eq!(text, format!("{version}\n").repeat(5000), "a file of more than one version, or half of one");
    version.to_owned()
}

/// Whoever takes the directory once sees one release, whole.
fn read_through_a_handle(live: &Path) -> String {
    let dir = openat(CWD, live, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("there is always a release");
    let versions = ["one", "sub/two", "sub/deeper/three"].map(|name| version_of(&read_below(&dir, name)));
    assert!(versions.iter().all(|version| *version == versions[0]), "a mixture: {versions:?}");
    versions[0].clone()
}

/// Whoever resolves the path anew each time finds each file each time.
fn read_anew(live: &Path) -> String {
    let texts =
        ["one", "sub/two", "sub/deeper/three"].map(|name| fs::read_to_string(live.join(name)).expect("it is there"));
    texts.map(|text| version_of(&text))[0].clone()
}

#[test]
fn capistrano_985_a_reader_in_a_tight_loop_never_finds_nothing_or_a_mixture() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let versions = ["v1", "v2", "v3"];
    expect(&deploy(&lab, &versioned(&lab, "v1"), &["--version", "v1"]), 0, "confirmed");
    let (path, is_over) = (live(&agent), AtomicBool::new(false));
    let reader = |read: fn(&Path) -> String| {
        let (mut seen, mut times) = (BTreeSet::new(), 0u64);
        while !is_over.load(Ordering::Relaxed) {
            seen.insert(read(&path));
            times += 1;
        }
        (seen, times)
    };
    std::thread::scope(|scope| {
        let readers = [read_through_a_handle, read_anew].map(|read| scope.spawn(move || reader(read)));
        // Whatever fails in between must not leave the readers turning.
        let switched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in &versions[1..] {
                expect(&deploy(&lab, &versioned(&lab, version), &["--version", version]), 0, "confirmed");
            }
            for to in ["v1", "v3", "v2", "v1", "v2", "v3", "v1", "v3"] {
                expect(&lab.operator(&["rollback", "--to", to]), 0, "confirmed");
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        for reader in readers {
            let (seen, times) = reader.join().expect("it never missed anything");
            assert_eq!(seen, BTreeSet::from(versions.map(str::to_owned)), "of {times} looks");
        }
        switched.expect("all went well");
    });
}

#[test]
fn mender_485_a_bad_release_is_left_once_and_not_tried_again_while_the_origin_is_away() {
    let mut lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let (log, [one, two]) = (lab.dir().join("ran"), ["one", "two"].map(|version| versioned(&lab, version)));
    let after = format!("echo $TIDING_VERSION >> {}", log.display());
    expect(&deploy(&lab, &one, &["--version", "one", "--after", &after]), 0, "confirmed");
    let sick = ["--health", "sh:false", "--health-every", "100ms", "--health-window", "2s"];
    let _waits = deploying(&lab, &two, &[&["--version", "two", "--after", &after], &sick[..]].concat());
    until("it runs two", || lines(&log, "two") == 1);
    lab.origin.kill();
    until("it is back by itself", || lines(&log, "one") == 2 && agent.shows(&one));
    for _ in 0..5 {
        agent.kill();
        agent = lab.agent("node-1");
        assert!(agent.shows(&one));
    }
    lab.restart_origin();
    until("the origin hears of it", || lab.status_of("node-1").is_some_and(|app| app["phase"] == "fell-back"));
    assert!(agent.shows(&one));
    assert_eq!(lines(&log, "two"), 1, "it was tried again");
    expect(&deploy(&lab, &one, &["--version", "three", "--after", &after]), 0, "confirmed");
}

#[test]
fn mender_485_an_agent_that_is_killed_again_and_again_in_its_window_goes_back_at_last_and_stays() {
    let mut lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let (log, [one, two]) = (lab.dir().join("ran"), ["one", "two"].map(|version| versioned(&lab, version)));
    let after = format!("echo $TIDING_VERSION >> {}", log.display());
    expect(&deploy(&lab, &one, &["--version", "one", "--after", &after]), 0, "confirmed");
    let _waits = deploying(&lab, &two, &["--version", "two", "--after", &after, "--health-window", "1h"]);
    until("it runs two", || lines(&log, "two") == 1);
    lab.origin.kill();
    for nth in 2..=4 {
        agent.kill();
        agent = lab.agent("node-1");
        until("it begins anew", || lines(&log, "two") == nth);
    }
    agent.kill();
    agent = lab.agent("node-1");
    until("it has had enough", || agent.shows(&one) && lines(&log, "one") == 2);
    agent.kill();
    agent = lab.agent("node-1");
    lab.restart_origin();
    until("the origin hears of it", || lab.status_of("node-1").is_some_and(|app| app["phase"] == "fell-back"));
    assert!(agent.shows(&one));
    assert_eq!(lines(&log, "two"), 4, "four begins, and no more");
}

#[test]
fn murder_10_no_command_outlives_its_agent_and_a_service_that_was_meant_to_does() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let source = versioned(&lab, "one");
    let [service, child] = ["service", "child"].map(|name| lab.dir().join(name));
    let starts = format!("sleep 5000 >/dev/null 2>&1 & echo $! > {}", service.display());
    expect(&deploy(&lab, &source, &["--version", "one", "--after", &starts]), 0, "confirmed");
    let service = pid_in(&service).expect("it was started");

    let fails = format!("sleep 5001 >/dev/null 2>&1 & echo $! > {}; exit 3", child.display());
    expect(&deploy(&lab, &source, &["--version", "fails", "--after", &fails]), 5, "status 3");
    let stray = pid_in(&child).expect("it was started");
    until("what a failed command began is gone", || !runs(stray));

    fs::remove_file(&child).expect("a file");
    let hangs = format!("trap '' TERM; sleep 5002 & echo $! > {}.new; mv {0}.new {0}; wait; wait", child.display());
    let hanging = ["--version", "hangs", "--before", &hangs, "--hook-timeout", "50m"];
    let _waits = deploying(&lab, &source, &hanging);
    until("it hangs", || pid_in(&child).is_some());
    let strays = [pid_in(&child).expect("it was started"), parent_of(&child)];
    agent.kill();
    until("nobody is left by an agent that was killed", || !strays.into_iter().any(runs));

    fs::remove_file(&child).expect("a file");
    agent = lab.agent("node-1");
    until("it hangs again", || pid_in(&child).is_some());
    let strays = [pid_in(&child).expect("it was started"), parent_of(&child)];
    agent.signal(Signal::TERM);
    agent.wait();
    until("nobody is left by an agent that was stopped", || !strays.into_iter().any(runs));
    assert!(runs(service), "what was started on purpose stays");
    rustix::process::kill_process(rustix::process::Pid::from_raw(service as i32).expect("a process"), Signal::KILL)
        .expect("it runs");
}

/// The shell that started the process whose number stands in a file.
fn parent_of(file: &Path) -> u32 {
    let pid = pid_in(file).expect("it was started");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("a line of /proc");
    rest.split(' ').nth(1).and_then(|parent| parent.parse().ok()).expect("its parent")
}
