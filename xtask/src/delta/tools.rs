//! The tools, ours among them: how each makes a patch and applies one.

use crate::step::installed;
use std::path::Path;
use std::process::{Command, Stdio};

/// Ours, with the effort that the promises about patch bytes are about.
pub(crate) const BEST: &str = "tiding best";
/// Ours, quickly.
pub(crate) const FAST: &str = "tiding fast";
pub(crate) const BSDIFF: &str = "bsdiff";
pub(crate) const ZSTD: &str = "zstd";
pub(crate) const HDIFFPATCH: &str = "HDiffPatch";
/// All of them, in the order of the tables.
pub(crate) const ALL: [&str; 6] = [BEST, FAST, BSDIFF, "xdelta3", ZSTD, HDIFFPATCH];

/// HDiffPatch as its module for Python has it, with the settings that make its smallest patches.
const MAKES: &str = "import sys, hdiffpatch as h
old, new, patch = sys.argv[1:]
packed = h.Lzma2Config(level=9, window=26)
open(patch, 'wb').write(h.diff(open(old, 'rb').read(), open(new, 'rb').read(), packed, validate=False))";
const APPLIES: &str = "import sys, hdiffpatch as h
old, patch, made = sys.argv[1:]
open(made, 'wb').write(h.apply(open(old, 'rb').read(), open(patch, 'rb').read()))";

/// Whether a patch is between two files or two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    File,
    Tree,
}

/// Something that makes patches.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// Trees are given to it as they are; to the others as canonical tars.
    pub(crate) takes_trees: bool,
    /// Words with OLD, NEW and PATCH in them.
    diff: Vec<String>,
    /// Words with OLD, PATCH and MADE in them.
    apply: Vec<String>,
}

impl Tool {
    fn new(name: &'static str, diff: &[&str], apply: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { name, takes_trees: false, diff: owned(diff), apply: owned(apply) }
    }

    fn ours(name: &'static str, binary: &Path, effort: &str) -> Self {
        let binary = &binary.to_string_lossy();
        let diff = [binary, "diff", "OLD", "NEW", "-o", "PATCH", "--effort", effort];
        Self { takes_trees: true, ..Self::new(name, &diff, &[binary, "patch", "OLD", "PATCH", "-o", "MADE"]) }
    }

    /// The words that make a patch.
    pub(crate) fn diff(&self, old: &str, new: &str, patch: &str) -> Vec<String> {
        filled(&self.diff, &[("OLD", old), ("NEW", new), ("PATCH", patch)])
    }

    /// The words that apply one.
    pub(crate) fn apply(&self, old: &str, patch: &str, made: &str) -> Vec<String> {
        filled(&self.apply, &[("OLD", old), ("PATCH", patch), ("MADE", made)])
    }
}

fn filled(words: &[String], names: &[(&str, &str)]) -> Vec<String> {
    let fill = |word: &String| {
        let (option, last) = word.rsplit_once('=').map_or(("", word.as_str()), |(option, last)| (option, last));
        let name = names.iter().find(|(name, _)| *name == last);
        match name {
            Some((_, path)) if option.is_empty() => (*path).to_owned(),
            Some((_, path)) => format!("{option}={path}"),
            None => word.clone(),
        }
    };
    words.iter().map(fill).collect()
}

/// Those that this machine has; what is missing is said loudly.
pub(crate) fn present(binary: &Path) -> Vec<Tool> {
    let mut tools = vec![Tool::ours(BEST, binary, "best"), Tool::ours(FAST, binary, "fast")];
    let mut take = |tool: Tool, is_here: bool, package: &str| match is_here {
        true => tools.push(tool),
        false => eprintln!("!!! {} is MISSING and will not be measured: install {package}", tool.name),
    };
    take(bsdiff(), installed("bsdiff") && installed("bspatch"), "bsdiff");
    take(xdelta3(), installed("xdelta3"), "xdelta3");
    take(zstd(), installed("zstd"), "zstd");
    let hint = "it from PyPI (python3 -m pip install hdiffpatch); where it was measured once, that figure is shown";
    take(hdiffpatch(), has_module("hdiffpatch"), hint);
    tools
}

fn bsdiff() -> Tool {
    Tool::new(BSDIFF, &["bsdiff", "OLD", "NEW", "PATCH"], &["bspatch", "OLD", "MADE", "PATCH"])
}

fn xdelta3() -> Tool {
    const WINDOW: [&str; 2] = ["-B", "1073741824"];
    let diff = [&["xdelta3", "-q", "-f", "-e", "-9", "-S", "lzma"], &WINDOW[..], &["-s", "OLD", "NEW", "PATCH"]];
    let apply = [&["xdelta3", "-q", "-f", "-d"], &WINDOW[..], &["-s", "OLD", "PATCH", "MADE"]];
    Tool::new("xdelta3", &diff.concat(), &apply.concat())
}

fn zstd() -> Tool {
    let diff = ["zstd", "-q", "-f", "-19", "--long=31", "-T1", "--patch-from=OLD", "NEW", "-o", "PATCH"];
    Tool::new(ZSTD, &diff, &["zstd", "-q", "-d", "-f", "--long=31", "--patch-from=OLD", "PATCH", "-o", "MADE"])
}

fn hdiffpatch() -> Tool {
    let diff = ["python3", "-c", MAKES, "OLD", "NEW", "PATCH"];
    Tool::new(HDIFFPATCH, &diff, &["python3", "-c", APPLIES, "OLD", "PATCH", "MADE"])
}

fn has_module(name: &str) -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", &format!("import {name}")]).stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_where_they_belong() {
        let words = zstd().diff("/a/b=c", "n", "p");
        assert!(words.contains(&"--patch-from=/a/b=c".to_owned()), "{words:?}");
        assert_eq!(words[words.len() - 3..], ["n", "-o", "p"].map(String::from));
        assert_eq!(bsdiff().apply("o", "p", "m"), ["bspatch", "o", "m", "p"].map(String::from));
        let scripted = hdiffpatch().apply("o", "p", "m");
        assert_eq!((scripted[2].as_str(), scripted.len()), (APPLIES, 6), "a script is not a path");
    }

    #[test]
    fn every_tool_has_its_place_in_the_tables() {
        let ours = Tool::ours(BEST, Path::new("tiding"), "best");
        assert!([ours, bsdiff(), xdelta3(), zstd(), hdiffpatch()].iter().all(|tool| ALL.contains(&tool.name)));
    }
}
