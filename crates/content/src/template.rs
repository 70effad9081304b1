//! Files of a release in which each node puts its own values: `{{node}}`, `{{app}}`, `{{version}}`, `{{release}}`, `{{label.zone}}`.
//!
//! There is nothing but names: no conditions, no loops, no defaults, so what a node runs is what was signed, with some words of its own. `{{{{` stands
//! for `{{`. A name that nobody knows is refused where the release is published; a label that a node has not, there.

use crate::encoding::{Malformed, require};
use crate::kept::is_or_holds;
use crate::manifest::{check_path, compare_paths};
use crate::{AppName, Label, Labels, ReleaseId};
use std::collections::BTreeSet;

/// The longest file with values, in bytes; also when they are put in.
pub const MAX_LEN: usize = 1 << 20;
/// How many such files a release may have.
pub const MOST: usize = 32;
/// The longest path of one, in bytes.
pub const MAX_PATH: usize = 255;

const OPEN: &[u8] = b"{{";
const CLOSE: &[u8] = b"}}";
const WHAT: &str = "path of a file with values";

/// What a node puts into such files.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// The application.
    pub app: &'a AppName,
    /// What people call the release.
    pub version: &'a str,
    /// The release.
    pub release: ReleaseId,
}

/// Why a file is no such file, or has no values here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadTemplate {
    /// Where, from 1 on.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// A value by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Node,
    App,
    Version,
    Release,
    Label(Label),
}

impl Value {
    fn of(name: &str) -> Result<Self, String> {
        match (name, name.strip_prefix("label.")) {
            ("node", _) => Ok(Self::Node),
            ("app", _) => Ok(Self::App),
            ("version", _) => Ok(Self::Version),
            ("release", _) => Ok(Self::Release),
            (_, Some(key)) => Label::new(key).map(Self::Label).map_err(|bad| format!("{{{{{name}}}}}: {bad}")),
            _ => Err(format!(
                "{{{{{}}}}} is no value; there are node, app, version, release and label.KEY, and {{{{{{{{ stands for {{{{",
                name.escape_default()
            )),
        }
    }

    fn in_words(&self, values: &Values<'_>) -> Result<String, String> {
        match self {
            Self::Node => Ok(values.node.to_owned()),
            Self::App => Ok(values.app.as_str().to_owned()),
            Self::Version => Ok(values.version.to_owned()),
            Self::Release => Ok(values.release.to_string()),
            Self::Label(key) => {
                let value = values.labels.get(key).map(|value| value.as_str().to_owned());
                value.ok_or_else(|| format!("this node has no label {}", key.as_str()))
            }
        }
    }
}

/// Refuses paths that no release may give values to: they rise, each once.
pub fn check_paths(paths: &[Vec<u8>]) -> Result<(), Malformed> {
    require(paths.len() <= MOST, WHAT, "there are more than 32 of them")?;
    for path in paths {
        let wrong = |why: &dyn std::fmt::Display| Malformed::new(WHAT, format!("\"{}\": {why}", path.escape_ascii()));
        check_path(path).map_err(|bad| wrong(&bad))?;
        if path.len() > MAX_PATH {
            return Err(wrong(&"it has more than 255 bytes"));
        }
    }
    let rise = |pair: &[Vec<u8>]| compare_paths(&pair[0], &pair[1]).is_lt() && !is_or_holds(&pair[0], &pair[1]);
    require(paths.windows(2).all(rise), WHAT, "they are not in path order, or one stands below another")
}

/// The labels that a node must have; refuses what no node can put values into.
pub fn labels(bytes: &[u8]) -> Result<BTreeSet<Label>, BadTemplate> {
    let mut labels = BTreeSet::new();
    walk(bytes, |_, value| {
        labels.extend(if let Some(Value::Label(key)) = value { Some(key) } else { None });
        Ok(())
    })?;
    Ok(labels)
}

/// The bytes with a node's values in them.
pub fn render(bytes: &[u8], values: &Values<'_>) -> Result<Vec<u8>, BadTemplate> {
    let mut rendered = Vec::with_capacity(bytes.len());
    walk(bytes, |text, value| {
        rendered.extend_from_slice(text);
        if let Some(value) = value {
            rendered.extend_from_slice(value.in_words(values)?.as_bytes());
        }
        if rendered.len() > MAX_LEN { Err("it becomes longer than 1 MiB".to_owned()) } else { Ok(()) }
    })?;
    Ok(rendered)
}

/// Gives every stretch of text, and the value that follows it, if one does.
fn walk(bytes: &[u8], mut take: impl FnMut(&[u8], Option<Value>) -> Result<(), String>) -> Result<(), BadTemplate> {
    let bad = |at: usize, why: String| {
        let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
        BadTemplate { line, why }
    };
    if bytes.len() > MAX_LEN {
        return Err(bad(0, "it is longer than 1 MiB".to_owned()));
    }
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], OPEN).map(|found| at + found) {
        let inside = found + OPEN.len();
        if bytes[inside..].starts_with(OPEN) {
            take(&bytes[at..inside], None).map_err(|why| bad(found, why))?;
            at = inside + OPEN.len();
            continue;
        }
        let line = bytes[inside..].split(|&byte| byte == b'\n').next().unwrap_or_default();
        let end = find(line, CLOSE).ok_or_else(|| bad(found, "{{ is not closed on its line".to_owned()))?;
        let name =
            str::from_utf8(&bytes[inside..inside + end]).map_err(|_| bad(found, "a name is no text".to_owned()))?;
        let value = Value::of(name.trim_matches(' ')).map_err(|why| bad(found, why))?;
        take(&bytes[at..found], Some(value)).map_err(|why| bad(found, why))?;
        at = inside + end + CLOSE.len();
    }
    take(&bytes[at..], None).map_err(|why| bad(at, why))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn rendered(text: &[u8]) -> Result<String, String> {
        let label = |text| Label::new(text).expect("a plain label");
        let labels = Labels::from([(label("zone"), label("a"))]);
        let app = AppName::new("web").expect("a plain name");
        let release = ReleaseId(Digest::of(b"release"));
        let values = Values { node: "web-3", labels: &labels, app: &app, version: "2.1", release };
        let done = render(text, &values).map_err(|bad| bad.to_string())?;
        assert!(super::labels(text).is_ok(), "what can be rendered can be published");
        Ok(String::from_utf8_lossy(&done).replace(&release.to_string(), "RELEASE"))
    }

    #[test]
    fn names_become_the_values_of_a_node() {
        let good = [
            ("", ""),
            ("plain } }} { \n", "plain } }} { \n"),
            ("{{node}}", "web-3"),
            ("a{{ app }}-{{version}}\n{{release}}.", "aweb-2.1\nRELEASE."),
            ("{{label.zone}}{{label.zone}}", "aa"),
            ("{{{{node}}", "{{node}}"),
            ("{{{{{{node}}}}", "{{web-3}}"),
        ];
        for (text, expected) in good {
            assert_eq!(rendered(text.as_bytes()).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(rendered(b"\xff{{node}}").as_deref(), Ok("\u{fffd}web-3"), "other bytes stay as they are");
    }

    #[test]
    fn what_nobody_knows_is_refused_with_its_line() {
        let bad = [
            (&b"a\nb {{host}}"[..], "line 2: {{host}} is no value"),
            (b"{{}}", "line 1: {{}} is no value"),
            (b"\n\n{{node\n}}", "line 3: {{ is not closed"),
            (b"{{label.}}", "line 1: {{label.}}: "),
            (b"{{label.A}}", "line 1: {{label.A}}: "),
            (b"{{\xff}}", "line 1: a name is no text"),
            (b"{{node\x1b[2J}}", "line 1: {{node\\u{1b}[2J}} is no value"),
        ];
        for (text, why) in bad {
            let found = labels(text).expect_err(why).to_string();
            assert!(found.starts_with(why), "{found}");
        }
        assert!(labels(&vec![b'x'; MAX_LEN + 1]).is_err());
        assert_eq!(rendered(b"\n{{label.rack}}"), Err("line 2: this node has no label rack".to_owned()));
        let needed =
            labels(b"{{label.rack}} {{label.zone}} {{node}} {{label.rack}}").expect("another node may have it");
        assert_eq!(needed.iter().map(Label::as_str).collect::<Vec<_>>(), ["rack", "zone"]);
        let long = [&vec![b'x'; MAX_LEN - 4][..], b"{{node}}"].concat();
        assert!(labels(&long).is_err());
    }

    #[test]
    fn f1_paths_that_climb_fall_or_stand_there_twice_are_refused() {
        let paths = |all: &[&str]| all.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>();
        for wrong in [&["../x"][..], &["/a"], &[""], &["b", "a"], &["a", "a"], &["a", "a/b"]] {
            assert!(check_paths(&paths(wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(check_paths(&paths(&["a/b", "a.conf", "b"])), Ok(()));
    }
}
