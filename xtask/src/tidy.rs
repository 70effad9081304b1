//! Rules that no compiler checks: the walls between crates and modules, and how files look.
//!
//! One check is one file with one idea and a test with a snippet that breaks it. `cargo xtask tidy` runs them all, and so does
//! `cargo test`. A check reads Rust as text with comments and strings masked; it is no parser and needs to be none.

mod circles;
mod dependencies;
mod disks;
mod encodings;
mod engine_blind;
mod environment;
mod heads;
mod names;
mod printing;
mod sleeps;
mod source;
mod store_door;
mod tables;
mod traces;
mod unsafe_code;

use anyhow::{Result, ensure};
use source::Tree;

/// A rule and what checks it.
struct Check {
    /// In a few words, for people.
    rule: &'static str,
    run: fn(&Tree) -> Vec<Finding>,
}

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    /// `path:line`, from the root of the repository.
    place: String,
    /// What is wrong there.
    what: String,
}

const CHECKS: [Check; 14] = [
    Check { rule: "crates depend downwards only", run: dependencies::check },
    Check { rule: "the modules of a crate form no import circle", run: circles::check },
    Check { rule: "store imports of the engine only its doors", run: store_door::check },
    Check { rule: "the engine knows no path, URL, socket or file format", run: engine_blind::check },
    Check { rule: "message bytes and bytes at rest are known in one module each", run: encodings::check },
    Check { rule: "only cli knows TOML, environment, colours and exit codes", run: environment::check },
    Check { rule: "only cli prints", run: printing::check },
    Check { rule: "the Disk is implemented by node, sim and test support only", run: disks::check },
    Check { rule: "no crate or module is called util, common, core, helpers or manager", run: names::check },
    Check { rule: "every file begins with what it is for", run: heads::check },
    Check { rule: "unsafe code is in named files only", run: unsafe_code::check },
    Check { rule: "tests wait for what happens, never for time to pass", run: sleeps::check },
    Check { rule: "large tables of the delta crate are listed with their origin", run: tables::check },
    Check { rule: "nothing names a directory of somebody's machine", run: traces::check },
];

/// `cargo xtask tidy`.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    let mut broken = 0;
    for check in &CHECKS {
        let findings = (check.run)(&tree);
        eprintln!("tidy: {} {}", if findings.is_empty() { "ok    " } else { "BROKEN" }, check.rule);
        for finding in &findings {
            eprintln!("        {}: {}", finding.place, finding.what);
        }
        broken += findings.len();
    }
    ensure!(broken == 0, "tidy: {broken} findings");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_walls_stand() {
        super::run().expect("every rule holds; the findings are above");
    }
}
