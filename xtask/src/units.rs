//! `cargo xtask units`: the package and its units under a real systemd, on two machines that are booted, restarted and taken apart.
//!
//! The machines are containers of Debian, made by `debootstrap` and booted by `systemd-nspawn`, each in a network namespace of its own; one
//! cable joins them. What is done in them is what `docs/operations.md` says, word for word, by root's hands. It needs root, both
//! programs and a Debian mirror, and takes a minute or two; `.ci/run` does not call it.

mod machine;

use crate::missing::is_root;
use crate::step::{self, cargo, installed, target};
use anyhow::{Context, Result, bail, ensure};
use machine::{Machine, Wire};
use std::fs;
use std::path::PathBuf;

const HELP: &str = "cargo xtask units [--deb FILE] [--mirror URL]";

/// A unit of a release, which tells what it runs.
const APP: &str = "[Service]\nExecStart=/bin/sh -c 'while :; do cat /srv/app/version > /run/app.version; sleep 0.1; done'\nRestart=always\n\
                   [Install]\nWantedBy=multi-user.target\n";
const DEPLOY: [&str; 10] = [
    "tiding",
    "deploy",
    "/opt/build",
    "--to",
    "/srv/app",
    "--after",
    "systemctl enable --now app && systemctl restart app",
    "--health",
    "unit:app",
    "--health-window=1s",
];

/// `cargo xtask units`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let (mut deb, mut mirror) = (None, "http://deb.debian.org/debian".to_owned());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value; {HELP}"))?;
        match word.as_str() {
            "--deb" => deb = Some(PathBuf::from(value)),
            "--mirror" => mirror.clone_from(value),
            other => bail!("unknown argument {other}; {HELP}"),
        }
    }
    ensure!(is_root(), "containers and network namespaces need root");
    for program in ["debootstrap", "systemd-nspawn", "nsenter", "ip"] {
        ensure!(
            installed(program),
            "{program} is not installed: apt install debootstrap systemd-container util-linux iproute2"
        );
    }
    let deb = deb.map_or_else(package, Ok)?;
    let base = machine::base(&target().join("units"), &mirror)?;
    let wire = Wire::lay()?;
    let origin = Machine::make("tiding-one", &base, &deb)?;
    let agent = Machine::make("tiding-two", &base, &deb)?;
    origin.boot(&wire, "10.77.0.1/24")?;
    agent.boot(&wire, "10.77.0.2/24")?;
    lives(&origin, &agent)?;
    survives(&agent)?;
    halves(&origin, &agent)?;
    hardens(&origin, &agent)?;
    goes(&agent)
}

/// The package of this tree's release binary.
fn package() -> Result<PathBuf> {
    step::run("release build", cargo(["build", "--release", "--package", "tiding-cli"]))?;
    let out = target().join("units").join("packages");
    let mut dist = cargo(["run", "--quiet", "--package", "xtask", "--", "dist", "--binary"]);
    dist.arg(step::release_binary()).arg("--out").arg(&out);
    step::run("package", dist)?;
    let made = fs::read_dir(&out)?.filter_map(|entry| Some(entry.ok()?.path()));
    made.filter(|path| path.extension().is_some_and(|end| end == "deb")).max().context("no .deb was made")
}

fn said(what: &str) {
    println!("ok  {what}");
}

/// Installed into an image, found a fleet, joined, deployed to.
fn lives(origin: &Machine, agent: &Machine) -> Result<()> {
    for machine in [origin, agent] {
        machine.expect("systemctl is-enabled tiding", "enabled")?;
        machine.expect("systemctl is-active tiding || true", "inactive")?;
    }
    said("installed into an image: enabled, and waits for a fleet");
    let line = origin.sh("tiding up --advertise 10.77.0.1:7443 --no-run")?;
    let line = line.split_whitespace().find(|word| word.starts_with("tiding1.")).context("no join line was printed")?;
    origin.sh("systemctl start tiding")?;
    agent.sh(&format!("tiding join {line} --no-run && systemctl start tiding"))?;
    agent.until("systemctl show tiding -p StatusText", "connected to its origin")?;
    agent.expect("systemctl is-active tiding", "active")?;
    ensure!(origin.sh("tiding status")?.contains(agent.name()), "the agent is not called what its machine is called");
    said("joined: ready for systemd, called as its machine, connected");
    agent.write("etc/systemd/system/app.service", APP)?;
    agent.sh("systemctl daemon-reload")?;
    deploy(origin, agent, "v1")?;
    said("deployed: a unit of the release runs it, and its state is the probe");
    Ok(())
}

fn deploy(origin: &Machine, agent: &Machine, version: &str) -> Result<()> {
    origin.write("opt/build/version", version)?;
    origin.run(&DEPLOY)?;
    agent.until("cat /run/app.version", version)
}

/// The agent, its launcher and the machine end in all the ways that nobody asked for.
fn survives(agent: &Machine) -> Result<()> {
    let main = "systemctl show tiding -p MainPID --value";
    let of_agent = format!("pgrep -P $({main})");
    let app = agent.sh("systemctl show app -p MainPID --value")?;
    for who in [of_agent.as_str(), main] {
        let before = agent.sh(&of_agent)?;
        agent.sh(&format!("kill -9 $({who} | head -1)"))?;
        agent.until(
            &format!("[ \"$({of_agent})\" != \"{}\" ] && systemctl is-active tiding", before.trim()),
            "active",
        )?;
        agent.until("systemctl show tiding -p StatusText", "connected to its origin")?;
    }
    ensure!(
        agent.sh("systemctl show app -p MainPID --value")? == app,
        "the release's unit was restarted with the agent"
    );
    said("agent killed, launcher killed: both come back, what the release runs goes on");
    agent.unplug()?;
    agent.reboot()?;
    agent.until("cat /run/app.version", "v1")?;
    agent.until("systemctl show tiding -p StatusText", "what was confirmed last runs")?;
    agent.plug()?;
    agent.until("systemctl show tiding -p StatusText", "connected to its origin")?;
    said("started anew without a network: what was confirmed runs, the agent is ready; then it is connected");
    Ok(())
}

/// The lines of `docs/operations.md`, and a deploy through both halves.
fn halves(origin: &Machine, agent: &Machine) -> Result<()> {
    for line in steps()? {
        agent.sh(&line)?;
    }
    agent.until("systemctl show tiding -p StatusText", "connected to its origin")?;
    agent.expect("systemctl is-active tiding tiding-hands | sort -u", "active")?;
    agent.expect("ps -o user= -C tiding | sort | uniq -c | awk '{print $2}' | tr '\\n' ' '", "root tiding")?;
    agent.until("journalctl -b -u tiding", "writes in its home alone, and executes nothing")?;
    deploy(origin, agent, "v2")?;
    said(
        "two halves, by the lines of docs/operations.md: one is not root, is confined, and a deploy goes through both",
    );
    agent.sh("dpkg -i /opt/tiding.deb && sleep 1")?;
    agent.until("systemctl show tiding -p StatusText", "connected to its origin")?;
    agent.expect("systemctl is-active tiding tiding-hands app | sort -u", "active")?;
    said("the package installed again: both halves are started again, the release goes on");
    Ok(())
}

/// The commands that the page for operators gives for a node of two processes.
fn steps() -> Result<Vec<String>> {
    let page = fs::read_to_string(step::root().join("docs/operations.md"))?;
    let block = page.split("```").find(|block| block.contains("hands.conf") && block.contains("# useradd"));
    let lines = block.context("docs/operations.md has no such steps any more")?.lines();
    Ok(lines.filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect())
}

fn hardens(origin: &Machine, agent: &Machine) -> Result<()> {
    origin.sh("install -D -t /etc/systemd/system/tiding.service.d /usr/share/doc/tiding/origin-hardening.conf")?;
    origin.sh("systemctl daemon-reload && systemctl restart tiding")?;
    agent.until("systemctl show tiding -p StatusText", "connected to its origin")?;
    origin.run(&["tiding", "rollback", "app"])?;
    agent.until("cat /run/app.version", "v1")?;
    said("a hardened origin orders the release before");
    Ok(())
}

fn goes(agent: &Machine) -> Result<()> {
    agent.sh("dpkg -P tiding")?;
    agent.expect("ls -d /var/lib/tiding /var/lib/tiding-hands 2>/dev/null | wc -l", "0")?;
    agent.expect("systemctl is-active app", "active")?;
    agent.expect("cat /srv/app/version", "v1")?;
    said("purged: its state is gone, what is live stays and runs");
    Ok(())
}
