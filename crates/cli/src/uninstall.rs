//! `tiding uninstall`: stops this machine's node and removes what it has for itself, and the program where an archive brought it.
//!
//! What releases brought stays, and so do operators' keys. An origin's home holds what nobody else has: it goes only when that is said, or
//! when a backup of it is shown.

use crate::backup;
use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use crate::stop::{self, Stopped};
use crate::words;
use clap::Args;
use node::{founding, leaving};
use std::io::{BufRead, IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Stops the node of this machine and removes its identity, its store and the service; says before what goes and what stays.
///
/// What is live stays, and what runs goes on running. Operators' keys are never touched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding uninstall --dry-run\n  tiding uninstall --yes\n  \
    tiding backup /mnt/safe/origin.tiding && tiding uninstall --backed-up /mnt/safe/origin.tiding\n\n\
    Take the machine out of the fleet as well: `tiding forget NAME`, by an operator. A program that a package brought is removed \
    by that package's manager.")]
pub(crate) struct Uninstall {
    /// The node's home [default: /var/lib/tiding for root, else ~/.local/share/tiding]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The home of the root half of a node that is two processes [default: /var/lib/tiding-hands for the service's node, if it is there]
    #[arg(long, value_name = "DIR")]
    hands_home: Option<PathBuf>,
    /// Ask nothing
    #[arg(long)]
    yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// On an origin: a backup of it, without which its keys and journals would be gone for good
    #[arg(long, value_name = "FILE")]
    backed_up: Option<PathBuf>,
    /// On an origin: although its keys and journals are gone for good then
    #[arg(long)]
    including_keys: bool,
    /// How long to wait until the node has stopped
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::parse::duration)]
    wait: Duration,
}

const WHAT: &str = "cannot uninstall";
/// Where systemd is when it runs, where units lie that an administrator's hands made, and what ours is called.
const SYSTEMD: &str = "/run/systemd/system";
const UNITS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];
const UNIT: &str = "tiding.service";
const HANDS_UNIT: &str = "tiding-hands.service";
/// The home of the service's root half, where there is one.
const HANDS: &str = "/var/lib/tiding-hands";
/// The home of the service's node.
const SERVED: &str = "/var/lib/tiding";
/// What the package's manager knows of the package's files.
const PACKAGED: &str = "/var/lib/dpkg/info/tiding.list";

/// What there is to stop and to remove.
#[derive(Debug)]
struct Plan {
    home: PathBuf,
    parts: Vec<PathBuf>,
    /// The root half's home and what is in it, if there is a root half.
    hands: Option<(PathBuf, Vec<PathBuf>)>,
    /// The units that are stopped and disabled.
    units: Vec<&'static str>,
    program: Program,
}

/// How the program came to this machine.
#[derive(Debug, PartialEq, Eq)]
enum Program {
    /// By a package.
    Packaged,
    /// By an archive's `install.sh`, which put these files there.
    Installed(Vec<PathBuf>),
    /// By hand.
    ByHand(PathBuf),
}

impl Uninstall {
    /// Says what would go and what would stay, asks, and does it.
    pub(crate) fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let home = settings.home(self.home.as_ref())?;
        let hands = self.hands_home.clone().or_else(|| {
            let is_served = home == Path::new(SERVED) && Path::new(HANDS).exists();
            is_served.then(|| HANDS.into())
        });
        let plan = Plan::of(home, hands)?;
        let has_backup = self.check_keys(&plan)?;
        plan.tell(has_backup).iter().for_each(speak::result);
        if self.dry_run {
            return Ok(());
        }
        self.ask()?;
        for unit in &plan.units {
            systemctl(&["disable", "--now", unit]);
        }
        if founding::is_founded(&plan.home) && stop::stop(&plan.home, self.wait)? == Stopped::Now {
            speak::note("the node has stopped");
        }
        // A root half without a store has done nothing yet, and nobody's lock says that it runs.
        if let Some((hands, _)) = plan.hands.as_ref().filter(|(hands, _)| hands.join("store").join("lock").exists())
            && stop::stop(hands, self.wait)? == Stopped::Now
        {
            speak::note("its root half has stopped");
        }
        plan.remove()
    }

    /// Refuses to destroy what nobody else has. Says whether there is something to be warned of.
    fn check_keys(&self, plan: &Plan) -> Result<Keys, Failure> {
        if !leaving::is_origin(&plan.home) {
            return Ok(Keys::NoneAreHere);
        }
        match (&self.backed_up, self.including_keys) {
            (Some(file), _) => {
                let made = leaving::is_backup_of(file, &plan.home).map_err(|error| backup::failed(WHAT, &error))?;
                Ok(Keys::BackedUp { file: file.clone(), made })
            }
            (None, true) => Ok(Keys::GoForGood),
            (None, false) => Err(Failure::new(Kind::Refused, WHAT)
                .because(format!(
                    "{} is an origin's: the fleet's CA and journals are there and nowhere else, and without them nobody can join, \
                     and no agent finds an origin that it believes",
                    plan.home.display()
                ))
                .next("`tiding backup FILE`, then `tiding uninstall --backed-up FILE`; or say --including-keys")),
        }
    }

    fn ask(&self) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let not = |why: &str| {
            Failure::new(Kind::Refused, "nothing was removed").because(why).next("say --yes to be asked nothing")
        };
        if !stdin().is_terminal() {
            return Err(not("there is nobody to ask"));
        }
        speak::note("Do it? Type yes:");
        let mut line = String::new();
        let read = stdin().lock().read_line(&mut line);
        if read.is_ok() && line.trim() == "yes" { Ok(()) } else { Err(not("it was not confirmed")) }
    }
}

/// What becomes of what an origin alone has.
#[derive(Debug, PartialEq, Eq)]
enum Keys {
    /// It is no origin.
    NoneAreHere,
    /// They are in a backup.
    BackedUp { file: PathBuf, made: u64 },
    /// They go, and nothing brings them back.
    GoForGood,
}

impl Plan {
    fn of(home: PathBuf, hands: Option<PathBuf>) -> Result<Self, Failure> {
        let parts = leaving::parts(&home);
        let hands = hands.map(|hands| (leaving::parts_of_hands(&hands), hands)).map(|(parts, hands)| (hands, parts));
        if let Some((hands, _)) =
            hands.as_ref().filter(|(hands, parts)| parts.is_empty() && !hands.ends_with("tiding-hands"))
        {
            return Err(Failure::new(Kind::Usage, format!("{} is no root half's home", hands.display()))
                .next("say where it is with --hands-home DIR, as `tiding hands --home DIR` has it"));
        }
        if parts.is_empty() && home.exists() && !home.ends_with("tiding") {
            return Err(Failure::new(Kind::Usage, format!("{} is no node's home", home.display()))
                .next("say where it is with --home DIR"));
        }
        let is_served = home == Path::new(SERVED) && Path::new(SYSTEMD).is_dir();
        let is_there = |unit: &&str| UNITS.iter().any(|units| Path::new(units).join(unit).exists());
        // The one that acts goes second, so that nobody is told that it has gone.
        let ours = [UNIT, HANDS_UNIT].into_iter().take(if hands.is_some() { 2 } else { 1 });
        let units = ours.filter(|unit| is_served && is_there(unit)).collect();
        let program = std::env::current_exe().map_err(|error| Failure::new(Kind::Failed, WHAT).because(error))?;
        // The program of this machine belongs to its service's node, not to one in somebody's directory.
        let program = Program::at(program, Path::new(PACKAGED), home == Path::new(SERVED));
        Ok(Self { home, parts, hands, units, program })
    }

    /// What goes and what stays, a line for each.
    fn tell(&self, keys: Keys) -> Vec<String> {
        let mut said = Vec::new();
        said.extend(self.units.iter().map(|unit| format!("stops and disables {unit}")));
        let of_hands = self.hands.iter().flat_map(|(_, parts)| parts);
        said.extend(self.parts.iter().chain(of_hands).map(|part| format!("removes {}", part.display())));
        if self.parts.is_empty() {
            said.push(format!("nothing of a node is in {}", self.home.display()));
        }
        if let Program::Installed(files) = &self.program {
            said.extend(files.iter().map(|file| format!("removes {}", file.display())));
        }
        match keys {
            Keys::NoneAreHere => {}
            Keys::BackedUp { file, made } => said.push(format!(
                "the fleet's CA and journals go from here; the backup of {} UTC has them as they were: {}",
                words::moment(made),
                file.display()
            )),
            Keys::GoForGood => said.push("THE FLEET'S CA AND JOURNALS GO FOR GOOD: no backup was shown".to_owned()),
        }
        said.push("stays: what is live, the releases beside it and what outlives them: find / -xdev -path '*/.*.tiding/owner'".to_owned());
        said.push("stays: operators' keys (~/.config/tiding of whoever has them) and /etc/tiding".to_owned());
        match &self.program {
            Program::Packaged => said.push("stays: the program; `apt purge tiding` removes it".to_owned()),
            Program::ByHand(file) => said.push(format!("stays: the program, {}", file.display())),
            Program::Installed(_) => {}
        }
        said
    }

    fn remove(&self) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Failed, "it is not removed, or not all of it")
                .because(error)
                .next("run it again as root, or as the user whose files these are")
        };
        let node = (&self.home, &self.parts);
        for (home, parts) in [node].into_iter().chain(self.hands.iter().map(|(home, parts)| (home, parts))) {
            if !parts.is_empty() && !leaving::remove(home, parts).map_err(|error| failed(&error))? {
                speak::note(format!("{} stays: something else is in it", home.display()));
            }
        }
        if let Program::Installed(files) = &self.program {
            for file in files {
                std::fs::remove_file(file).map_err(|error| failed(&format!("{}: {error}", file.display())))?;
            }
            if !self.units.is_empty() {
                systemctl(&["daemon-reload"]);
            }
        }
        speak::result("uninstalled; take the machine out of the fleet with `tiding forget NAME`");
        Ok(())
    }
}

impl Program {
    /// How a program came to where it is.
    fn at(file: PathBuf, packaged: &Path, is_the_machines: bool) -> Self {
        let list = std::fs::read_to_string(packaged).unwrap_or_default();
        if list.lines().any(|line| Path::new(line) == file) {
            return Self::Packaged;
        }
        let prefix = file.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
        let files = prefix.map(installed).unwrap_or_default();
        let is_by_archive = files.iter().any(|file| file.ends_with("share/man/man1/tiding.1"));
        if is_by_archive && is_the_machines {
            Self::Installed([&[file][..], &files].concat())
        } else {
            Self::ByHand(file)
        }
    }
}

/// What `install.sh` put under a prefix besides the program, as far as it is there, and the unit that starts it.
fn installed(prefix: &Path) -> Vec<PathBuf> {
    let manual =
        std::fs::read_dir(prefix.join("share/man/man1")).into_iter().flatten().flatten().map(|page| page.path());
    let is_ours = |page: &PathBuf| {
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        name == "tiding.1" || (name.starts_with("tiding-") && name.ends_with(".1"))
    };
    let mut pages: Vec<PathBuf> = manual.filter(is_ours).collect();
    pages.sort();
    let others = [
        "share/bash-completion/completions/tiding",
        "share/zsh/site-functions/_tiding",
        "share/fish/vendor_completions.d/tiding.fish",
        "share/doc/tiding/origin-hardening.conf",
    ];
    let unit = Path::new(UNITS[0]).join(UNIT);
    let others = others.into_iter().map(|other| prefix.join(other)).chain([unit]);
    pages.into_iter().chain(others.filter(|file| file.is_file())).collect()
}

/// What systemd does not do is said by it; the node itself is stopped all the same.
fn systemctl(words: &[&str]) {
    if !Command::new("systemctl").args(words).status().is_ok_and(|status| status.success()) {
        speak::warning(format!("`systemctl {}` did not succeed", words.join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_a_package_brought_is_its_managers_and_what_an_archive_brought_goes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (program, page) = (dir.path().join("bin/tiding"), dir.path().join("share/man/man1/tiding.1"));
        for file in [&program, &page, &dir.path().join("share/man/man1/tidings.1"), &dir.path().join("list")] {
            fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
            fs::write(file, "").expect("a file");
        }
        let list = dir.path().join("list");
        let at = |is_the_machines| Program::at(program.clone(), &list, is_the_machines);
        let Program::Installed(files) = at(true) else { panic!("{:?}", at(true)) };
        let inside: Vec<&PathBuf> = files.iter().filter(|file| file.starts_with(dir.path())).collect();
        assert_eq!(inside, [&program, &page], "and nothing of anybody else");
        assert_eq!(
            at(false),
            Program::ByHand(program.clone()),
            "a node in somebody's directory takes no program with it"
        );
        fs::write(&list, format!("{}\n", program.display())).expect("a file");
        assert_eq!(at(true), Program::Packaged);
    }
}
