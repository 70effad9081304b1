//! Automates what people and CI do with this repository; it is no part of the program.
//!
//! `cargo xtask help` says what there is. Every command is a short file here, and `test` is made of the others.

mod bench;
mod delta;
mod dist;
mod fuzz;
mod hashes;
mod missing;
mod mutants;
mod page;
mod sim;
mod step;
mod swarm;
mod test;
mod thin;
mod tidy;
mod trees;
mod units;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND

  test [--quick]              everything CI runs; --quick leaves out the release build, the sweep and the mutants
  long                        the tests that take minutes: a million files, larger flocks
  tidy                        the walls between crates and modules, and other rules that no compiler checks
  sim [--seed N | --seeds N]  one world, or a sweep of worlds, in the simulator
  sim figures [NAME ...]      how fast broadcasts are there: median and worst beside what is promised (--large, --seeds N)
  sim --expect                rewrites the figures that the tests expect
  mutants [--all]             plants known faults and sees whether the sweep catches them
  hashes                      a seed gives the same events in two processes, in debug and in release
  trees [DIR ...]             real trees on eight agents, compared by rsync and sha256sum
  bench [...]                 measures beside a bare relay; arguments go to the bench program
  bench delta [PAIR ...]      patches between versions of real software, beside other tools (--help)
  bench swarm [CELL ...]      broadcasts over shaped network namespaces, beside other tools and the simulator (--help; as root)
  thin [--agents N] [--page]  N real agents (2000) join an origin within ten seconds and are deployed to, on this machine; --page: with the page open
  page [--nodes N]            the page of `tiding page` with a made-up fleet of N nodes (5000) that lives, and what its server takes
  dist [--binary FILE] [--out DIR]  the .deb, the .tar.gz and their sums, the same bytes each time
  units [--deb FILE]          the package and its units under a real systemd: two machines, joined, deployed to, killed, restarted, purged (as root)
  fuzz [SECONDS] [TARGET ...] every fuzz target for so long, or those, and what each came to (needs nightly Rust and cargo-fuzz)
  fuzz keep [TARGET ...]      packs what was found worth keeping into fuzz/kept/
  fuzz coverage [TARGET ...]  which parts of the crates that reaches, by file
";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rest = words.get(1..).unwrap_or_default();
    match words.first().map(String::as_str) {
        Some("test") => test::run(rest),
        Some("long") => test::long(),
        Some("tidy") => tidy::run(),
        Some("sim") => sim::run(rest),
        Some("mutants") => mutants::run(rest),
        Some("hashes") => hashes::run(),
        Some("bench") => bench::run(rest),
        Some("measured") => delta::measured(rest),
        Some("trees") => trees::run(rest),
        Some("thin") => thin::run(rest),
        Some("page") => page::run(rest),
        Some("dist") => dist::run(rest),
        Some("units") => units::run(rest),
        Some("fuzz") => fuzz::run(rest),
        None | Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("there is no `cargo xtask {other}`\n\n{HELP}"),
    }
}
