//! Whether what a patch made is the new file or tree, byte by byte; of trees also names, modes and where links lead.

use super::tools::Form;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The first difference, in words.
pub(crate) fn difference(wanted: &Path, made: &Path, form: Form) -> Result<Option<String>> {
    match form {
        Form::File => of_files(wanted, made),
        Form::Tree => of_trees(wanted, made),
    }
}

fn of_files(wanted: &Path, made: &Path) -> Result<Option<String>> {
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        Ok::<_, anyhow::Error>(BufReader::with_capacity(1 << 16, file))
    };
    let (mut wanted, mut made, mut at) = (open(wanted)?, open(made)?, 0);
    loop {
        let (a, b) = (wanted.fill_buf()?, made.fill_buf()?);
        let len = a.len().min(b.len());
        if let Some(within) = (0..len).find(|&within| a[within] != b[within]) {
            return Ok(Some(format!("byte {}", at + within)));
        }
        if len == 0 {
            return Ok((a.len() != b.len()).then(|| format!("its length, from {at}")));
        }
        at += len;
        wanted.consume(len);
        made.consume(len);
    }
}

fn of_trees(wanted: &Path, made: &Path) -> Result<Option<String>> {
    let (there, here) = (listing(wanted)?, listing(made)?);
    let other = |(name, what): (&PathBuf, &String), others: &BTreeMap<PathBuf, String>| {
        (others.get(name) != Some(what)).then(|| format!("{}: {what} on one side", name.display()))
    };
    if let Some(found) = there.iter().find_map(|entry| other(entry, &here)) {
        return Ok(Some(found));
    }
    if let Some(found) = here.iter().find_map(|entry| other(entry, &there)) {
        return Ok(Some(found));
    }
    for name in there.keys().filter(|name| wanted.join(name).symlink_metadata().is_ok_and(|found| found.is_file())) {
        if let Some(found) = of_files(&wanted.join(name), &made.join(name))? {
            return Ok(Some(format!("{}: {found}", name.display())));
        }
    }
    Ok(None)
}

/// Everything below a directory: its kind, its mode and where it leads.
fn listing(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(inside) = open.pop() {
        let directory = root.join(&inside);
        for entry in fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))? {
            let entry = entry?;
            let (name, metadata) = (inside.join(entry.file_name()), entry.metadata()?);
            let what = match metadata.file_type() {
                kind if kind.is_symlink() => format!("link to {}", fs::read_link(entry.path())?.display()),
                kind => format!("{kind:?} {:o}", metadata.permissions().mode() & 0o7777),
            };
            if metadata.is_dir() {
                open.push(name.clone());
            }
            found.insert(name, what);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tiding-sameness-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    #[test]
    fn one_byte_a_length_a_mode_and_a_name_are_seen() {
        let (a, b) = (dir("a"), dir("b"));
        let put = |dir: &Path, name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).expect("a file");
        for dir in [&a, &b] {
            put(dir, "long", &vec![7; 100_000]);
        }
        assert_eq!(difference(&a, &b, Form::Tree).expect("both are there"), None);
        let mut other = vec![7; 100_000];
        other[99_999] = 8;
        put(&b, "long", &other);
        let said = difference(&a.join("long"), &b.join("long"), Form::File).expect("both are there");
        assert_eq!(said.as_deref(), Some("byte 99999"));
        assert!(difference(&a, &b, Form::Tree).expect("both are there").is_some());
        put(&b, "long", &[7; 99_999]);
        assert!(difference(&a.join("long"), &b.join("long"), Form::File).expect("both are there").is_some());
        put(&b, "long", &vec![7; 100_000]);
        fs::set_permissions(b.join("long"), fs::Permissions::from_mode(0o600)).expect("a mode");
        assert!(difference(&a, &b, Form::Tree).expect("both are there").is_some(), "its mode");
        fs::remove_file(b.join("long")).expect("it is there");
        assert!(difference(&a, &b, Form::Tree).expect("both are there").is_some(), "it is not there");
        assert!(difference(&b, &a, Form::Tree).expect("both are there").is_some(), "it is there, too");
        for dir in [a, b] {
            fs::remove_dir_all(dir).expect("it was made");
        }
    }
}
