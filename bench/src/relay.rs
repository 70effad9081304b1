//! The yardstick: a bare chain of relays that receive, store and forward, without hashing, TLS or any decision.
//!
//! Nobody would deploy with it (it never ends when one host dies), but nothing that stores and forwards can cost less.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes that a relay reads at once.
const BUFFER: usize = 64 * 1024;

/// What a relay process does: takes one connection, stores what comes, and forwards it to `next` if there is one. Prints
/// its port first and `done` last.
pub(crate) fn run_relay(out: &Path, next: Option<u16>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    println!("{}", listener.local_addr()?.port());
    let mut next = next.map(|port| TcpStream::connect(("127.0.0.1", port))).transpose()?;
    let (mut from, _) = listener.accept()?;
    let mut file = File::create(out)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        file.write_all(&buffer[..len])?;
        if let Some(next) = &mut next {
            next.write_all(&buffer[..len])?;
        }
    }
    drop(next);
    println!("done");
    Ok(())
}

/// What one broadcast cost.
pub(crate) struct Cost {
    /// From the first byte sent to the last receiver's last byte.
    pub(crate) wall: Duration,
    /// User and system time of every process that took part, in seconds.
    pub(crate) cpu: f64,
}

/// Sends `payload` through a chain of `hosts` relay processes that write below `dir`.
pub(crate) fn broadcast(payload: &Path, hosts: usize, dir: &Path) -> Result<Cost> {
    let before = children_cpu() + own_cpu();
    let mut next = None;
    let mut relays = Vec::new();
    for host in (0..hosts).rev() {
        let (child, port) = spawn(&dir.join(format!("relay-{host}")), next)?;
        relays.push(child);
        next = Some(port);
    }
    let start = Instant::now();
    let mut to = TcpStream::connect(("127.0.0.1", next.context("a chain has at least one host")?))?;
    std::io::copy(&mut File::open(payload)?, &mut to)?;
    drop(to);
    for relay in &mut relays {
        let mut rest = String::new();
        relay.stdout.as_mut().context("a relay's output is piped")?.read_to_string(&mut rest)?;
        ensure!(rest.trim() == "done", "a relay ended early: {rest:?}");
    }
    let wall = start.elapsed();
    for mut relay in relays {
        relay.wait()?;
    }
    Ok(Cost { wall, cpu: children_cpu() + own_cpu() - before })
}

fn spawn(out: &Path, next: Option<u16>) -> Result<(Child, u16)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("relay").arg(out).stdout(Stdio::piped());
    if let Some(port) = next {
        command.arg(port.to_string());
    }
    let mut child = command.spawn()?;
    let stdout = child.stdout.as_mut().context("a relay's output is piped")?;
    let mut line = Vec::new();
    let mut byte = [0];
    while stdout.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok((child, String::from_utf8(line)?.parse()?))
}

fn own_cpu() -> f64 {
    crate::process::cpu_seconds(std::process::id()).unwrap_or(0.0)
}

/// CPU seconds of all children that have been waited for.
fn children_cpu() -> f64 {
    crate::process::waited_children_cpu_seconds().unwrap_or(0.0)
}
