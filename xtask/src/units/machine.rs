//! A container that boots as a machine does, and the wire between two of them.

use crate::step;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a machine may take for anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a unit may ask of a kernel and a container does not allow by itself.
const CALLS: &str = "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self";

/// A small Debian in a directory, made once.
pub(super) fn base(dir: &Path, mirror: &str) -> Result<PathBuf> {
    let (base, partial) = (dir.join("base"), dir.join("base.partial"));
    if !base.is_dir() {
        fs::create_dir_all(dir)?;
        remove(&partial)?;
        let mut make = Command::new("debootstrap");
        make.args(["--variant=minbase", "--include=systemd,systemd-sysv,dbus,iproute2,procps", "stable"]);
        step::run("debian", {
            make.arg(&partial).arg(mirror);
            make
        })?;
        fs::rename(&partial, &base)?;
    }
    Ok(base)
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
    } else {
        Ok(())
    }
}

/// Two network namespaces and a cable between them; gone with this.
pub(super) struct Wire;

impl Wire {
    const ENDS: [&'static str; 2] = ["tiding-one", "tiding-two"];

    pub(super) fn lay() -> Result<Self> {
        Self::cut();
        let [one, two] = Self::ENDS;
        ip(&["netns", "add", one])?;
        ip(&["netns", "add", two])?;
        ip(&["link", "add", "wire", "netns", one, "type", "veth", "peer", "name", "wire", "netns", two])?;
        Ok(Self)
    }

    fn cut() {
        for end in Self::ENDS {
            let mut remove = Command::new("ip");
            // There is none to remove the first time.
            remove.args(["netns", "del", end]).stderr(Stdio::null()).status().ok();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        Self::cut();
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(words).status().context("cannot start ip")?;
    ensure!(status.success(), "ip {} failed", words.join(" "));
    Ok(())
}

/// A machine with the package installed; it is switched off and removed with this.
pub(super) struct Machine {
    name: &'static str,
    dir: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Machine {
    /// A copy of the base with the package installed into it, as images are made: nothing of it runs.
    pub(super) fn make(name: &'static str, base: &Path, deb: &Path) -> Result<Self> {
        let dir = base.with_file_name(name);
        remove(&dir)?;
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(base).arg(&dir);
        ensure!(copy.status()?.success(), "cannot copy {}", base.display());
        fs::write(dir.join("etc/hostname"), name)?;
        fs::write(dir.join("etc/machine-id"), "")?;
        fs::create_dir_all(dir.join("opt/home"))?;
        fs::copy(deb, dir.join("opt/tiding.deb")).with_context(|| format!("cannot copy {}", deb.display()))?;
        let mut install = Command::new("chroot");
        install.arg(&dir).args(["dpkg", "-i", "/opt/tiding.deb"]);
        step::output("install", install)?;
        Ok(Self { name, dir, running: Mutex::new(None) })
    }

    /// What the machine is called.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Switches it on at its end of the wire.
    pub(super) fn boot(&self, _wire: &Wire, address: &str) -> Result<()> {
        ip(&["-n", self.name, "link", "set", "lo", "up"])?;
        ip(&["-n", self.name, "addr", "add", address, "dev", "wire"])?;
        self.plug()?;
        self.start()
    }

    /// Takes the cable out.
    pub(super) fn unplug(&self) -> Result<()> {
        ip(&["-n", self.name, "link", "set", "wire", "down"])
    }

    /// Puts the cable in.
    pub(super) fn plug(&self) -> Result<()> {
        ip(&["-n", self.name, "link", "set", "wire", "up"])
    }

    fn start(&self) -> Result<()> {
        let log = File::create(self.dir.with_extension("log"))?;
        // Where this machine was not booted by systemd /run may be a disk, on which nspawn cannot keep what it mounts: it has one of its own.
        let prepare = "mkdir -p /run/systemd/nspawn && mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn && exec systemd-nspawn \"$@\"";
        let mut nspawn = Command::new("unshare");
        nspawn.args(["--mount", "sh", "-c", prepare, "systemd-nspawn"]);
        nspawn.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", CALLS, "--directory"]);
        nspawn.arg(&self.dir).arg(format!("--machine={}", self.name));
        nspawn.arg(format!("--network-namespace-path=/run/netns/{}", self.name));
        nspawn.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *self.running.lock().expect("nobody panics with it") =
            Some(nspawn.spawn().context("cannot start systemd-nspawn")?);
        self.until("systemctl is-system-running || true", "running")
    }

    /// Shuts it down in order, and switches it on again.
    pub(super) fn reboot(&self) -> Result<()> {
        // The shell that asks ends with the machine, one way or another.
        self.sh("systemctl poweroff").ok();
        self.ended()?;
        self.start()
    }

    fn ended(&self) -> Result<()> {
        if let Some(mut child) = self.running.lock().expect("nobody panics with it").take() {
            let deadline = Instant::now() + PATIENCE;
            while child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    child.kill()?;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// The process that is its first one, as this machine numbers it.
    fn first(&self) -> Result<String> {
        let running = self.running.lock().expect("nobody panics with it");
        let nspawn = running.as_ref().context("the machine is off")?.id();
        let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"))?;
        children.split_whitespace().next().map(str::to_owned).context("the machine has not begun")
    }

    /// Runs a command in it, as root; what it printed.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--wd=/opt", "--target"]).arg(self.first()?);
        command
            .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/opt/home"])
            .args(words)
            .stdin(Stdio::null());
        let out = command.output().context("cannot start nsenter")?;
        let printed = String::from_utf8_lossy(&out.stdout).into_owned();
        match out.status.success() {
            true => Ok(printed),
            false => {
                bail!("{}: {} failed: {printed}{}", self.name, words.join(" "), String::from_utf8_lossy(&out.stderr))
            }
        }
    }

    /// Runs a line of shell in it; what it printed.
    pub(super) fn sh(&self, line: &str) -> Result<String> {
        self.run(&["sh", "-c", line])
    }

    /// A line must print just this.
    pub(super) fn expect(&self, line: &str, wanted: &str) -> Result<()> {
        let printed = self.sh(line)?;
        ensure!(printed.trim() == wanted, "{}: `{line}` printed {printed:?} and not {wanted:?}", self.name);
        Ok(())
    }

    /// A line must come to print something with this in it.
    pub(super) fn until(&self, line: &str, wanted: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.sh(line);
            if printed.as_ref().is_ok_and(|printed| printed.contains(wanted)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = self.sh("journalctl -b -n 30 --no-pager").unwrap_or_default();
                bail!("{}: `{line}` gives {printed:?} and never {wanted:?}\n{log}", self.name);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Writes a file of it.
    pub(super) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        Ok(fs::write(path, text)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.sh("systemctl poweroff").ok();
        self.ended().ok();
        fs::remove_dir_all(&self.dir).ok();
    }
}
