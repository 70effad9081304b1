//! A fleet of real processes on loopback, started by the release binary as a user would.

use crate::process;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One origin and some agents, idle, knowing nothing of what will be deployed.
pub(crate) struct Fleet {
    tiding: PathBuf,
    dir: PathBuf,
}

/// What one deploy cost.
pub(crate) struct Deploy {
    /// From the command's start to its end: read, hash, spread, lay out, switch, confirm.
    pub(crate) wall: Duration,
    /// User and system time of every process of the fleet and of the command, in seconds.
    pub(crate) cpu: f64,
}

/// Resident memory of the agents in KiB.
pub(crate) struct Memory {
    /// The largest now.
    pub(crate) now: u64,
    /// The largest that ever was.
    pub(crate) peak: u64,
}

impl Fleet {
    /// Starts `agents` agents below `dir`, with a first tiny release so that everything is warm.
    pub(crate) fn start(tiding: &Path, agents: usize, dir: &Path) -> Result<Self> {
        let first = dir.join("first");
        fs::create_dir_all(&first)?;
        fs::write(first.join("hello"), "news\n")?;
        let fleet = Self { tiding: tiding.to_owned(), dir: dir.join("fleet") };
        let status = Command::new(tiding)
            .args(["playground", "--keep", "--nodes", &agents.to_string(), "--dir"])
            .arg(&fleet.dir)
            .arg(&first)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("cannot run {}", tiding.display()))?;
        ensure!(status.success(), "the playground did not come up: {status}");
        Ok(fleet)
    }

    /// Deploys `source` as another application and waits until every agent has confirmed it.
    pub(crate) fn deploy(&self, source: &Path, to: &str) -> Result<Deploy> {
        let before = self.cpu() + process::waited_children_cpu_seconds().unwrap_or(0.0);
        let start = Instant::now();
        let output = Command::new(&self.tiding)
            .arg("deploy")
            .arg(source)
            .args(["--to", to, "--json", "--operator-home"])
            .arg(self.dir.join("operator"))
            .output()?;
        let wall = start.elapsed();
        ensure!(output.status.success(), "deploy failed: {}", String::from_utf8_lossy(&output.stderr));
        let cpu = self.cpu() + process::waited_children_cpu_seconds().unwrap_or(0.0) - before;
        Ok(Deploy { wall, cpu })
    }

    /// The memory of the agents.
    pub(crate) fn memory(&self) -> Memory {
        let of_all: Vec<(u64, u64)> = self.agents().into_iter().filter_map(process::memory_kib).collect();
        Memory {
            now: of_all.iter().map(|(now, _)| *now).max().unwrap_or(0),
            peak: of_all.iter().map(|(_, peak)| *peak).max().unwrap_or(0),
        }
    }

    fn cpu(&self) -> f64 {
        process::mentioning(&self.dir.to_string_lossy()).into_iter().filter_map(process::cpu_seconds).sum()
    }

    fn agents(&self) -> Vec<u32> {
        process::mentioning(&self.dir.join("node-").to_string_lossy())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let stopped = Command::new(&self.tiding)
            .args(["playground", "stop", "--dir"])
            .arg(&self.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("the fleet below {} could not be stopped in order", self.dir.display());
        }
    }
}
