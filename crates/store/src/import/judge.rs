//! What may be published, and what is only noted: judged by metadata and names, before anything is read.

use crate::disk::{FileKind, Meta};
use crate::words;
use content::manifest::{check_path, compare_paths};
use std::collections::BTreeMap;

/// Attributes that change what a file may do; leaving them out silently would change what runs.
const REFUSED: [&[u8]; 3] = [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"];

/// Why an entry may not be published, if it may not.
pub(super) fn refuse(path: &[u8], meta: &Meta) -> Option<String> {
    if let FileKind::Other(what) = meta.kind {
        return Some(format!("is a {what}; only files, directories and links can be published"));
    }
    if !path.is_empty()
        && let Err(bad) = check_path(path)
    {
        return Some(bad.to_string());
    }
    match meta.kind {
        FileKind::Symlink => None,
        _ => refuse_mode(meta.mode),
    }
}

fn refuse_mode(mode: u16) -> Option<String> {
    let special = [(0o4000, "setuid"), (0o2000, "setgid"), (0o1000, "sticky")];
    let set: Vec<&str> = special.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, name)| *name).collect();
    (!set.is_empty()).then(|| format!("is {} (mode {mode:o}), which is not carried: chmod u-s,g-s,-t", set.join(", ")))
}

/// Why an entry with this extended attribute may not be published, if it may not.
pub(super) fn refuse_attribute(name: &[u8]) -> Option<String> {
    let refused = REFUSED.contains(&name);
    refused.then(|| format!("has the attribute {}, which is not carried and would be missed", words::name(name)))
}

/// Extended attributes that are not carried, each with how often it was seen and the first path.
#[derive(Debug, Default)]
pub(super) struct Attributes(BTreeMap<Vec<u8>, (u64, Vec<u8>)>);

impl Attributes {
    pub(super) fn note(&mut self, name: Vec<u8>, path: &[u8]) {
        let (count, first) = self.0.entry(name).or_insert_with(|| (0, path.to_vec()));
        *count += 1;
        if compare_paths(path, first).is_lt() {
            *first = path.to_vec();
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let note = |(name, (count, first)): (&Vec<u8>, &(u64, Vec<u8>))| {
            let (name, first) = (words::name(name), shown(first));
            format!("the attribute {name} is not carried ({count} entries, the first is {first})")
        };
        self.0.iter().map(note).collect()
    }
}

/// A path in words; the root is `.`.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { words::name(path) }
}
