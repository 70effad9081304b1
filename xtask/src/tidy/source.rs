//! The repository as the checks see it: Rust files with comments and strings masked, and what Cargo says of the crates.

use super::Finding;
use crate::step::{cargo, output, root};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// All that is checked.
pub(crate) struct Tree {
    /// Rust files, by path.
    pub(crate) files: Vec<Source>,
    /// Every other text file, by path: documents, configuration, scripts.
    pub(crate) texts: Vec<Source>,
    /// `cargo metadata --no-deps`.
    pub(crate) metadata: Value,
}

/// A file.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// With comments, strings and characters masked by blanks; lines stay lines.
    pub(crate) code: String,
    /// How many lines of `code` come before the tests at the bottom.
    product_lines: usize,
}

impl Tree {
    /// Reads the repository.
    pub(crate) fn read() -> Result<Self> {
        let metadata = output("cargo metadata", cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
        let (mut files, mut texts) = (Vec::new(), Vec::new());
        collect(&root(), "", &mut |path, text| match path.ends_with(".rs") {
            true => files.push(Source::new(path, text)),
            false => texts.push(Source::new(path, text)),
        })?;
        Ok(Self { files, texts, metadata })
    }

    /// A tree of a few files, for the tests of checks.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| Source::new(path, (*text).to_owned())).collect();
        Self { files, texts: Vec::new(), metadata: Value::Null }
    }

    /// Files of one crate's `src`, and what their path is inside it.
    pub(crate) fn of_crate<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a Source, &'a str)> + use<'a> {
        let prefix = format!("crates/{name}/src/");
        self.files.iter().filter_map(move |file| Some((file, file.path.strip_prefix(&prefix)?)))
    }
}

impl Source {
    /// A file; `path` is from the root of the repository.
    pub(crate) fn new(path: &str, text: String) -> Self {
        let code = masked(&text);
        let tests = ["#[cfg(test)]\nmod ", "#[cfg(test)]\npub(crate) mod "];
        let end = tests.iter().filter_map(|start| code.find(start)).filter(|&at| is_block(&code[at..])).min();
        let product_lines = end.map_or(usize::MAX, |at| code[..at].lines().count());
        Self { path: path.to_owned(), text, code, product_lines }
    }

    /// Whether the whole file is for tests, examples, measuring or automation.
    pub(crate) fn is_support(&self) -> bool {
        let folder =
            |name: &str| self.path.contains(&format!("/{name}/")) || self.path.starts_with(&format!("{name}/"));
        ["tests", "examples", "benches", "fuzz", "bench", "xtask"].into_iter().any(folder)
            || self.path.ends_with("/tests.rs")
    }

    /// The crate in `crates/` that it belongs to.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Lines of code that are no tests, with their numbers from 1. Comments and strings are blank.
    pub(crate) fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = if self.is_support() { 0 } else { self.product_lines };
        self.code.lines().take(lines).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines of tests: the module at the bottom, or all of a file of tests.
    pub(crate) fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let skipped = if self.is_support() { 0 } else { self.product_lines };
        self.code.lines().enumerate().skip(skipped).map(|(index, line)| (index + 1, line))
    }

    /// A finding in this file.
    pub(crate) fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { place: format!("{}:{line}", self.path), what: what.into() }
    }

    /// The lines of `lines` in which one of `words` stands, not as a part of a longer word.
    pub(crate) fn mentions<'a>(
        &self,
        lines: impl Iterator<Item = (usize, &'a str)>,
        words: &[&str],
        why: &str,
    ) -> Vec<Finding> {
        lines
            .flat_map(|(line, text)| {
                words.iter().filter(move |word| has_word(text, word)).map(move |word| (line, word))
            })
            .map(|(line, word)| self.finding(line, format!("`{word}`: {why}")))
            .collect()
    }
}

/// Whether `word` stands in `text` and is not a part of a longer identifier.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let free = |beside: Option<char>, edge: Option<char>| !(beside.is_some_and(part) && edge.is_some_and(part));
    text.match_indices(word).any(|(at, _)| {
        free(text[..at].chars().next_back(), word.chars().next())
            && free(text[at + word.len()..].chars().next(), word.chars().next_back())
    })
}

fn is_block(item: &str) -> bool {
    match (item.find('{'), item.find(';')) {
        (Some(open), Some(end)) => open < end,
        (open, _) => open.is_some(),
    }
}

fn collect(dir: &Path, prefix: &str, found: &mut dyn FnMut(&str, String)) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with("target") && name != ".git" && name != "corpus" {
            collect(&entry.path(), &format!("{path}/"), found)?;
        } else if kind.is_file()
            // In a second working tree `.git` is a file that says where the first one is.
            && name != ".git"
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found(&path, text);
        }
    }
    Ok(())
}

/// Rust with comments, strings and characters replaced by blanks; every line stays where it is.
fn masked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let len = hidden(rest, before).unwrap_or(0);
        let taken = if len == 0 { first.len_utf8() } else { len };
        match len {
            0 => code.push(first),
            _ => code.extend(rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        before = first;
        rest = &rest[taken..];
    }
    code
}

/// The length of the comment, string or character that `rest` begins with.
fn hidden(rest: &str, before: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let in_word = before.is_alphanumeric() || before == '_';
    if !in_word && let Some(len) = raw_string(rest) {
        return Some(len);
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    character(rest)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let step = match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth = depth.saturating_add_signed(step.0);
        at += step.1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|&b| b == b'#').count();
    let start = rest.len() - after.len() + hashes + 1;
    if !after[hashes..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character, and not a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let mut chars = inside.chars();
    match (chars.next()?, chars.next()) {
        ('\\', _) => Some(quoted(rest, '\'')),
        (c, Some('\'')) => Some(2 + c.len_utf8()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blank_and_lines_stay() {
        let text = "let a = \"print!\\\"\"; // print!\n/* print! /* */ print! */ b('\\'', '\"', 'x', r#\"print!\"#);\nfn f<'a>() {}";
        let code = masked(text);
        assert!(!code.contains("print!"), "{code}");
        assert!(code.contains("fn f<'a>() {}"), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn tests_at_the_bottom_are_no_product() {
        let file = Source::new("crates/x/src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n".into());
        assert_eq!(file.product().map(|(line, _)| line).collect::<Vec<_>>(), [1]);
        assert_eq!(file.tests().next().map(|(line, _)| line), Some(2));
        let elsewhere = Source::new("crates/x/src/a.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n".into());
        assert_eq!(elsewhere.product().count(), 3);
    }

    #[test]
    fn a_word_is_whole() {
        assert!(has_word("std::fs::read(x)", "std::fs"));
        assert!(!has_word("eprintln!(x)", "println!"));
        assert!(!has_word("unsafe_code", "unsafe"));
    }
}
