//! What is asked for on the command line.

use super::cells::{self, Cell};
use super::needs;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;

/// What there is to say about it.
pub(crate) const HELP: &str = "\
cargo xtask bench swarm [CELL ...]   measures broadcasts in network namespaces; as root; all cells take about an hour

  --list             names the cells
  --runs N           runs of each tool in each cell (3)
  --tools A,B        tiding, chain, libtorrent, curl, rsync, uftp (tiding,chain,libtorrent)
  --out FILE         writes the tables there as well
  --from FILE        makes the tables of results that are there already, and runs nothing
  --no-model         does not ask the simulator
  --keep             leaves the files and logs of the last run where bench/swarmlab/README.md says
";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Wish {
    Help,
    List,
    Show(PathBuf, Arguments),
    Measure(Arguments),
}

/// How it is to be done.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) cells: Vec<Cell>,
    pub(crate) runs: usize,
    pub(crate) tools: Vec<String>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) model: bool,
    pub(crate) keep: bool,
}

/// Reads the words after `bench swarm`.
pub(crate) fn parse(words: &[String]) -> Result<Wish> {
    let tools = ["tiding", "chain", "libtorrent"].map(String::from).to_vec();
    let mut arguments = Arguments { cells: Vec::new(), runs: 3, tools, out: None, model: true, keep: false };
    let mut from = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(Wish::Help),
            "--list" => return Ok(Wish::List),
            "--runs" => arguments.runs = value()?.parse().context("--runs needs a number")?,
            "--tools" => arguments.tools = tools_of(value()?)?,
            "--out" => arguments.out = Some(value()?.into()),
            "--from" => from = Some(PathBuf::from(value()?)),
            "--no-model" => arguments.model = false,
            "--keep" => arguments.keep = true,
            flag if flag.starts_with('-') => bail!("bench swarm knows no {flag}\n\n{HELP}"),
            name => arguments.cells.push(cells::named(name)?),
        }
    }
    if arguments.cells.is_empty() {
        arguments.cells = cells::usual();
    }
    ensure!(arguments.runs > 0, "--runs 0 measures nothing");
    Ok(match from {
        Some(file) => Wish::Show(file, arguments),
        None => Wish::Measure(arguments),
    })
}

fn tools_of(list: &str) -> Result<Vec<String>> {
    let tools: Vec<String> = list.split(',').map(String::from).collect();
    for tool in &tools {
        let known = needs::tools();
        ensure!(known.contains(&tool.as_str()), "there is no tool {tool}; there are {}", known.join(", "));
    }
    Ok(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wish> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn cells_runs_and_tools_are_taken() {
        let wish = parsed("16-50 slow --runs 5 --tools tiding,chain").expect("it makes sense");
        let Wish::Measure(arguments) = wish else { panic!("it is to be measured") };
        assert_eq!(arguments.cells.iter().map(|cell| cell.name).collect::<Vec<_>>(), ["16-50", "slow"]);
        assert_eq!((arguments.runs, arguments.tools.len()), (5, 2));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            ("16-51", "16-51"),
            ("--tools tiding,bittorrent", "bittorrent"),
            ("--runs", "--runs"),
            ("--runs 0", "--runs 0"),
            ("--fast", "--fast"),
        ] {
            let said = parsed(line).expect_err(line).to_string();
            assert!(said.contains(named), "{line}: {said}");
        }
    }
}
