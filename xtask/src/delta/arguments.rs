//! What is asked for on the command line.

use super::pairs::{self, Pair, Set};
use super::tools;
use crate::step::target;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;

/// What there is to say about it.
pub(crate) const HELP: &str = "\
cargo xtask bench delta [PAIR ...]   patches between versions of real software, beside other tools; all pairs take half an hour

  --corpus DIR       where bench/delta/fetch put the pairs (target/delta-corpus)
  --held-out         the pairs that nothing was tuned to, instead of the others
  --degenerate       zeros, periods and the like of 64 MiB, which are made here, beside an ordinary file; other options but --binary do not matter
  --runs N           runs of each tool for each pair (1); of times the median counts
  --tools A,B        only these (all that are installed)
  --binary FILE      measures this tiding, and builds none
  --out FILE         writes the tables there as well; between `<!-- bench delta: SET -->` and `<!-- end -->` where FILE has such lines
  --from FILE        makes the tables of results that are there already, and runs nothing; may be given several times

Other tools are measured where they are installed: bsdiff, xdelta3, zstd, and python3 with the module hdiffpatch.
";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Wish {
    Help,
    Show(Vec<PathBuf>, Arguments),
    Measure(Arguments),
    /// By this binary, or one that is built.
    Degenerate(Option<PathBuf>),
}

/// How it is to be done.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) set: Set,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) corpus: PathBuf,
    pub(crate) runs: usize,
    pub(crate) tools: Vec<String>,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) out: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn wants(&self, tool: &str) -> bool {
        self.tools.iter().any(|wanted| wanted == tool)
    }
}

/// Reads the words after `bench delta`.
pub(crate) fn parse(words: &[String]) -> Result<Wish> {
    let corpus = target().join("delta-corpus");
    let tools = tools::ALL.map(String::from).to_vec();
    let mut arguments = Arguments { set: Set::Dev, pairs: Vec::new(), corpus, runs: 1, tools, binary: None, out: None };
    let (mut from, mut names, mut degenerate) = (Vec::new(), Vec::new(), false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(Wish::Help),
            "--held-out" => arguments.set = Set::HeldOut,
            "--degenerate" => degenerate = true,
            "--corpus" => arguments.corpus = value()?.into(),
            "--runs" => arguments.runs = value()?.parse().context("--runs needs a number")?,
            "--tools" => arguments.tools = tools_of(value()?)?,
            "--binary" => arguments.binary = Some(std::path::absolute(value()?)?),
            "--out" => arguments.out = Some(value()?.into()),
            "--from" => from.push(PathBuf::from(value()?)),
            flag if flag.starts_with('-') => bail!("bench delta knows no {flag}\n\n{HELP}"),
            name => names.push(name),
        }
    }
    ensure!(arguments.runs > 0, "--runs 0 measures nothing");
    if degenerate {
        return Ok(Wish::Degenerate(arguments.binary));
    }
    arguments.pairs = pairs::named(arguments.set, &names)?;
    Ok(if from.is_empty() { Wish::Measure(arguments) } else { Wish::Show(from, arguments) })
}

fn tools_of(list: &str) -> Result<Vec<String>> {
    let tools: Vec<String> = list.split(',').map(String::from).collect();
    for tool in &tools {
        let known = tools::ALL;
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
    fn pairs_runs_and_places_are_taken() {
        let wish = parsed("esbuild-x64 --runs 3 --corpus somewhere").expect("it makes sense");
        let Wish::Measure(arguments) = wish else { panic!("it is to be measured") };
        assert_eq!(arguments.pairs.iter().map(|pair| pair.name.as_str()).collect::<Vec<_>>(), ["esbuild-x64"]);
        assert_eq!((arguments.runs, arguments.corpus), (3, PathBuf::from("somewhere")));
        let Wish::Measure(all) = parsed("--held-out").expect("it makes sense") else { panic!("it is to be measured") };
        assert!(all.pairs.len() >= 8 && all.pairs.iter().all(|pair| pair.set == Set::HeldOut));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            ("esbuild-x65", "esbuild-x65"),
            ("esbuild-x64 --held-out", "esbuild-x64"),
            ("--runs", "--runs"),
            ("--runs 0", "--runs 0"),
            ("--tools bsdiff,courgette", "courgette"),
            ("--fast", "--fast"),
        ] {
            let said = parsed(line).expect_err(line).to_string();
            assert!(said.contains(named), "{line}: {said}");
        }
    }
}
