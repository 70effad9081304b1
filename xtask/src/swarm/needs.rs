//! What the laboratory needs of this machine, and what to do about what is missing.

use crate::missing::is_root;
use crate::step::installed;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Interpreters in the order in which they are tried: a system's own one sees the system's packages, and may not be the first.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];
/// Where programs for root are, that are not always in the path.
const FOR_ROOT: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Tools, the programs that each needs, and the package they come in.
const TOOLS: [(&str, &[&str], &str); 6] = [
    ("tiding", &[], ""),
    ("chain", &[], ""),
    ("libtorrent", &[], "python3-libtorrent"),
    ("curl", &["nginx", "curl"], "nginx-light curl"),
    ("rsync", &["rsync"], "rsync"),
    ("uftp", &["uftp", "uftpd"], "uftp"),
];

/// The names of all tools.
pub(crate) fn tools() -> Vec<&'static str> {
    TOOLS.iter().map(|(name, ..)| *name).collect()
}

/// An interpreter that runs the laboratory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Python {
    program: &'static str,
    has_libtorrent: bool,
}

impl Python {
    pub(crate) fn program(&self) -> &'static str {
        self.program
    }

    /// The first interpreter that has libtorrent, or else the first that is new enough.
    fn find() -> Option<Self> {
        let runs = |program: &str, line: &str| {
            let mut command = Command::new(program);
            command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let new = |program: &&str| runs(program, "import sys; sys.exit(sys.version_info < (3, 9))");
        let found: Vec<Self> = PYTHONS
            .into_iter()
            .filter(new)
            .map(|program| Self { program, has_libtorrent: runs(program, "import libtorrent") })
            .collect();
        found.iter().find(|python| python.has_libtorrent).or(found.first()).copied()
    }
}

/// What this machine has.
struct Machine<'a> {
    is_root: bool,
    python: Option<Python>,
    has: &'a dyn Fn(&str) -> bool,
}

/// The interpreter to use; or an error that names all that is missing.
pub(crate) fn check(tools: &[String]) -> Result<Python> {
    let has = |program: &str| installed(program) || FOR_ROOT.iter().any(|dir| Path::new(dir).join(program).is_file());
    let machine = Machine { is_root: is_root(), python: Python::find(), has: &has };
    let missing = missing(&machine, tools);
    match machine.python {
        Some(python) if missing.is_empty() => Ok(python),
        _ => bail!("the laboratory cannot run here. What is missing, why, and what next:\n{}", missing.join("\n")),
    }
}

/// What, why, and what next, a line for each thing that is missing.
fn missing(machine: &Machine<'_>, tools: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut need = |is_there: bool, what: &str, why: &str, next: &str| {
        if !is_there {
            lines.push(format!("  {what}: {why}; {next}"));
        }
    };
    let apt = |package: &str| format!("apt-get install {package}, or bench/swarmlab/setup.sh for everything");
    need(machine.is_root, "root", "only root may make network namespaces and limit links", "run it with sudo");
    for program in ["ip", "tc"] {
        need((machine.has)(program), program, "it makes the hosts and their links", &apt("iproute2"));
    }
    need((machine.has)("cc"), "cc", "it builds the bare relay", &apt("gcc libc6-dev"));
    need(machine.python.is_some(), "python3, 3.9 or newer", "the laboratory is written in it", &apt("python3"));
    let without = |tool: &str, package: &str| {
        format!("{}; or leave it out with --tools {}", apt(package), others(tools, tool).join(","))
    };
    for (tool, programs, package) in TOOLS.iter().filter(|(tool, ..)| tools.iter().any(|wanted| wanted == tool)) {
        for program in programs.iter().filter(|program| !(machine.has)(program)) {
            need(false, program, &format!("the column {tool} is measured with it"), &without(tool, package));
        }
    }
    if tools.iter().any(|tool| tool == "libtorrent") && machine.python.is_some_and(|python| !python.has_libtorrent) {
        let next = without("libtorrent", "python3-libtorrent");
        need(false, "libtorrent for python3", "the column libtorrent is measured with it", &next);
    }
    lines
}

fn others<'a>(tools: &'a [String], tool: &str) -> Vec<&'a str> {
    tools.iter().map(String::as_str).filter(|other| *other != tool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_on(is_root: bool, python: Option<Python>, programs: &[&str], tools: &[&str]) -> Vec<String> {
        let has = |program: &str| programs.contains(&program);
        let tools: Vec<String> = tools.iter().map(|tool| (*tool).to_owned()).collect();
        missing(&Machine { is_root, python, has: &has }, &tools)
    }

    const PROGRAMS: [&str; 3] = ["ip", "tc", "cc"];
    const PYTHON: Option<Python> = Some(Python { program: "python3", has_libtorrent: false });

    #[test]
    fn nothing_is_missing_where_all_is_there() {
        assert!(missing_on(true, PYTHON, &PROGRAMS, &["tiding", "chain"]).is_empty());
    }

    #[test]
    fn whoever_is_not_root_is_told_why_and_what_next() {
        let lines = missing_on(false, PYTHON, &PROGRAMS, &["tiding"]);
        assert_eq!(lines, ["  root: only root may make network namespaces and limit links; run it with sudo"]);
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let lines = missing_on(false, None, &[], &["tiding", "curl"]).join("\n");
        for what in ["root", "ip:", "tc:", "cc:", "python3", "nginx", "iproute2", "--tools tiding\n"] {
            assert!(format!("{lines}\n").contains(what), "{what} in\n{lines}");
        }
    }

    #[test]
    fn a_tool_without_its_library_can_be_left_out() {
        let lines = missing_on(true, PYTHON, &PROGRAMS, &["tiding", "libtorrent", "chain"]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("python3-libtorrent") && lines[0].ends_with("--tools tiding,chain"), "{}", lines[0]);
    }
}
