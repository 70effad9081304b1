//! `.tidingignore`: which entries of a tree are left out when it is published, in the syntax of gitignore.
//!
//! A file of patterns stands in the directory that it speaks of, and speaks of all below it; one further down is asked first, and
//! within a file the last pattern that matches decides. A directory that is left out is not looked into, so nothing in it can be
//! taken back by a `!`. Patterns are bytes of the tree and nothing else: no setting of a machine or a user has a say, so the same tree
//! with the same patterns is the same content everywhere. Agents never see any of it.

use crate::disk::{Disk, FileKind, Meta};
use crate::ground::{if_there, ours};
use crate::tree::{Tree, holds};
use crate::words;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a file of patterns is called.
pub const IGNORE_FILE: &str = ".tidingignore";
/// The longest file of patterns, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Whether a tree's own patterns are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patterns {
    /// What they name is left out, and so are the files that they stand in.
    #[default]
    Honoured,
    /// Everything is published, the files of patterns as well.
    Overlooked,
}

/// How many entries a file of patterns left out; a directory with all that is in it is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The path of the file in the tree, escaped.
    pub by: String,
    /// How many.
    pub entries: u64,
}

/// The patterns that hold where a walk is, and what they have left out.
pub(super) struct Ignoring {
    patterns: Patterns,
    /// Outermost first; each stands in a directory above the path that was asked for last.
    open: Vec<Rules>,
    left_out: BTreeMap<Vec<u8>, u64>,
    /// The files that were read, by the directory that each stands in.
    read: Vec<(Vec<u8>, Meta)>,
}

struct Rules {
    directory: Vec<u8>,
    matcher: Gitignore,
}

impl Ignoring {
    pub(super) fn new(patterns: Patterns) -> Self {
        Self { patterns, open: Vec::new(), left_out: BTreeMap::new(), read: Vec::new() }
    }

    /// Whether a name in a directory is that of patterns, which are not published.
    pub(super) fn is_patterns(&self, name: &[u8]) -> bool {
        self.patterns == Patterns::Honoured && name == IGNORE_FILE.as_bytes()
    }

    /// Whether an entry is left out; if so it is counted. Entries are asked for in path order, and none below one that is left out.
    pub(super) fn leaves_out(&mut self, path: &[u8], is_directory: bool) -> bool {
        self.close(path);
        for rules in self.open.iter().rev() {
            match rules.matcher.matched(below(&rules.directory, path), is_directory) {
                Match::None => {}
                Match::Whitelist(_) => return false,
                Match::Ignore(_) => {
                    *self.left_out.entry(rules.directory.clone()).or_default() += 1;
                    return true;
                }
            }
        }
        false
    }

    /// Reads the patterns that stand in a directory; what is wrong with them is said line by line.
    pub(super) fn enter<D: Disk>(
        &mut self,
        disk: &D,
        tree: &mut Tree<D>,
        directory: &[u8],
    ) -> io::Result<Result<(), Vec<String>>> {
        self.close(directory);
        let (dir, name) = (tree.directory(directory)?, ours(IGNORE_FILE));
        let Some(meta) = if_there(disk.metadata(&dir, &name))? else { return Ok(Ok(())) };
        let wrong = |why: &str| Ok(Err(vec![format!("{}: {why}", file_in(directory))]));
        if meta.kind != FileKind::File {
            return wrong("is no file; patterns are read from a file, not through a link");
        }
        if meta.len > LONGEST {
            return wrong(&format!(
                "has {}, and patterns have {} at most",
                words::size(meta.len),
                words::size(LONGEST)
            ));
        }
        let file = match disk.open(&dir, &name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return wrong("cannot be read: permission denied");
            }
            opened => opened?,
        };
        let mut bytes = vec![0; meta.len as usize];
        let read = disk.read_at(&file, &mut bytes, 0)?;
        self.read.push((directory.to_vec(), meta));
        Ok(self.take(directory, &bytes[..read]))
    }

    /// Takes the lines of a file.
    fn take(&mut self, directory: &[u8], bytes: &[u8]) -> Result<(), Vec<String>> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        let mut wrong = Vec::new();
        // As git does, which some editors need.
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Err(why) = add(&mut builder, line) {
                wrong.push(format!("{}: line {number}, \"{}\": {why}", file_in(directory), words::name(line)));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let built = builder.build().map_err(|error| vec![format!("{}: {error}", file_in(directory))]);
        self.open.push(Rules { directory: directory.to_vec(), matcher: built? });
        Ok(())
    }

    /// Forgets the patterns of directories that the walk has left.
    fn close(&mut self, path: &[u8]) {
        while self.open.last().is_some_and(|rules| !holds(&rules.directory, path)) {
            self.open.pop();
        }
    }

    /// The files that were read, by the directory that each stands in.
    pub(super) fn read(&self) -> &[(Vec<u8>, Meta)] {
        &self.read
    }

    /// Which file left out how much.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.iter().map(|(by, entries)| LeftOut { by: file_in(by), entries: *entries }).collect()
    }
}

/// The path of a directory's patterns, escaped.
fn file_in(directory: &[u8]) -> String {
    if directory.is_empty() { IGNORE_FILE.to_owned() } else { format!("{}/{IGNORE_FILE}", words::name(directory)) }
}

/// A path as those patterns see it.
fn below<'a>(directory: &[u8], path: &'a [u8]) -> &'a Path {
    let begin = if directory.is_empty() { 0 } else { directory.len() + 1 };
    Path::new(OsStr::from_bytes(&path[begin..]))
}

/// Adds a line, unless it could not do what whoever wrote it must have meant.
fn add(builder: &mut GitignoreBuilder, line: &[u8]) -> Result<(), String> {
    let line = str::from_utf8(line).map_err(|_| "it is not UTF-8; * and ? stand for any bytes".to_owned())?;
    if !line.starts_with('#') && !line.trim_end().is_empty() {
        refuse(line.trim_end())?;
    }
    let said = |error: ignore::Error| match error {
        ignore::Error::Glob { err, .. } => err,
        other => other.to_string(),
    };
    builder.add_line(None, line).map(drop).map_err(said)
}

/// Patterns that would never match, or that this matcher reads in another way than git does.
fn refuse(line: &str) -> Result<(), String> {
    let pattern = line.strip_prefix('!').unwrap_or(line);
    let names: Vec<&str> = pattern.trim_matches('/').split('/').collect();
    if names == [""] {
        return Err("it names nothing".to_owned());
    }
    if names.iter().any(|name| matches!(*name, "." | ".." | "")) {
        return Err("it has a `.`, a `..` or nothing between slashes, and so never matches; begin with / for this \
                    directory itself"
            .to_owned());
    }
    let mut escaped = false;
    for byte in pattern.bytes() {
        if !escaped && matches!(byte, b'{' | b'}') {
            return Err(
                "braces mean nothing to gitignore; write a line for each, or \\{ for the brace itself".to_owned()
            );
        }
        escaped = byte == b'\\' && !escaped;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignoring(files: &[(&str, &str)]) -> Ignoring {
        let mut ignoring = Ignoring::new(Patterns::Honoured);
        for (directory, lines) in files {
            ignoring.take(directory.as_bytes(), lines.as_bytes()).expect("they make sense");
        }
        ignoring
    }

    /// Each row: a pattern, a path, whether that is a directory, whether it is left out.
    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let rows: &[(&str, &str, bool, bool)] = &[
            ("*.log", "a.log", false, true),
            ("*.log", "x/y/a.log", false, true),
            ("*.log", "a.logs", false, false),
            ("/a", "a", false, true),
            ("/a", "x/a", false, false),
            ("x/a", "x/a", false, true),
            ("x/a", "y/x/a", false, false),
            ("a/", "a", true, true),
            ("a/", "x/a", true, true),
            ("a/", "a", false, false),
            ("**/a", "x/y/a", false, true),
            ("a/**", "a/b", false, true),
            ("a/**", "a", true, false),
            ("a/**/b", "a/b", false, true),
            ("a/**/b", "a/x/y/b", false, true),
            ("a?c", "abc", false, true),
            ("a?c", "a/c", false, false),
            ("a*c", "ab/c", false, false),
            ("[ab]", "b", false, true),
            ("[!ab]", "b", false, false),
            ("# a", "# a", false, false),
            ("\\#a", "#a", false, true),
            ("\\!a", "!a", false, true),
            ("a  ", "a", false, true),
            ("a\\ ", "a ", false, true),
            ("a\r", "a", false, true),
            ("\u{feff}a", "a", false, true),
            ("*.log\n!keep.log", "keep.log", false, false),
            ("!keep.log\n*.log", "keep.log", false, true),
            ("*\n!*/", "d", true, false),
            ("\\{a\\}", "{a}", false, true),
            ("\n\n", "a", false, false),
        ];
        for (lines, path, is_directory, is_left_out) in rows {
            let found = ignoring(&[("", lines)]).leaves_out(path.as_bytes(), *is_directory);
            assert_eq!(found, *is_left_out, "{lines:?} {path}");
        }
    }

    #[test]
    fn a_file_further_down_is_asked_first_and_speaks_of_nothing_beside_it() {
        let new = || ignoring(&[("", "*.log"), ("x", "!a.log\n/b")]);
        let rows = [("x/a.log", false), ("x/c.log", true), ("x/b", true), ("x/y/b", false)];
        for (path, is_left_out) in rows {
            assert_eq!(new().leaves_out(path.as_bytes(), false), is_left_out, "{path}");
        }
        let mut left = new();
        assert!(!left.leaves_out(b"xb", false), "it has left the directory");
        assert!(left.leaves_out(b"y/a.log", false));
        assert_eq!(left.left_out(), [LeftOut { by: ".tidingignore".to_owned(), entries: 1 }]);
    }

    #[test]
    fn a_name_that_is_no_text_is_matched_by_its_bytes() {
        assert!(ignoring(&[("", "a*z")]).leaves_out(b"a\xff\xfez", false));
        assert!(!ignoring(&[("", "a*z")]).leaves_out(b"\xff", false));
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_refused_with_its_line_and_the_reason() {
        let rows: &[(&[u8], &str)] = &[
            (b"[ab", "unclosed character class"),
            (b"[b-a]", "invalid range"),
            (b"a\\", "dangling"),
            (b"!", "names nothing"),
            (b"/", "names nothing"),
            (b"!//", "names nothing"),
            (b"./a", "never matches"),
            (b"../a", "never matches"),
            (b"a/../b", "never matches"),
            (b"a//b", "never matches"),
            (b"{a,b}", "braces"),
            (b"a}", "braces"),
            (b"a\xff", "not UTF-8"),
        ];
        for (pattern, why) in rows {
            let wrong = Ignoring::new(Patterns::Honoured).take(b"x", &[b"fine\n", *pattern].concat());
            let [wrong] = &wrong.expect_err("it makes no sense")[..] else { panic!("{why}") };
            assert!(wrong.starts_with("x/.tidingignore: line 2, \"") && wrong.contains(why), "{wrong}");
        }
    }
}
