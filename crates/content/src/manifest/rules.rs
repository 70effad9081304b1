//! What a manifest must be besides well encoded: a tree, with its pieces, in its one form.
//!
//! Time is linear in the encoded length, whatever the bytes: the length of a run of pieces comes from sums made once.

use super::path::{check_path, compare_paths, parent};
use super::table::WHAT;
use super::{Entry, Extent, Kind, MAX_ENTRIES, MAX_LINK, MAX_SIZE, Manifest};
use crate::cut::MAX_PIECE;
use crate::encoding::Malformed;
use crate::{ContentSpec, Piece};
use std::cmp::Ordering;

pub(super) fn check(manifest: &Manifest) -> Result<(), Malformed> {
    let wrong = |why: &str| Err(Malformed::new(WHAT, why));
    if manifest.entries.len() > MAX_ENTRIES as usize || manifest.pieces.len() > ContentSpec::MAX_PIECES as usize {
        return wrong("it has too many entries or pieces");
    }
    check_root(&manifest.entries)?;
    check_tree(&manifest.entries)?;
    check_table(&manifest.pieces)?;
    check_files(manifest)
}

fn refuse<T>(entry: &Entry, why: impl std::fmt::Display) -> Result<T, Malformed> {
    let shown: Vec<u8> = entry.path.iter().copied().take(200).collect();
    Err(Malformed::new(WHAT, format!("entry \"{}\": {why}", shown.escape_ascii())))
}

fn check_root(entries: &[Entry]) -> Result<(), Malformed> {
    let Some(root) = entries.first() else { return Err(Malformed::new(WHAT, "it has no entries")) };
    match root.kind {
        _ if !root.path.is_empty() => refuse(root, "it stands where the root must"),
        Kind::Directory { .. } => Ok(()),
        Kind::File { .. } if entries.len() == 1 => Ok(()),
        Kind::File { .. } => refuse(root, "the root is a file, and others follow"),
        Kind::Symlink { .. } | Kind::HardLink { .. } => refuse(root, "the root is neither a directory nor a file"),
    }
}

/// Paths are allowed and rise, and each stands in a directory that stands there.
fn check_tree(entries: &[Entry]) -> Result<(), Malformed> {
    // The directories that the entries so far end in, outermost first: in this order, only they can have more in them.
    let mut open: Vec<&[u8]> = Vec::new();
    let mut last: Option<&[u8]> = None;
    for (index, entry) in entries.iter().enumerate() {
        check_kind(entries, index)?;
        if let Some(last) = last {
            if let Err(bad) = check_path(&entry.path) {
                return refuse(entry, bad);
            }
            check_order(last, entry)?;
            let parent = parent(&entry.path).unwrap_or_default();
            while open.last().is_some_and(|directory| *directory != parent) {
                open.pop();
            }
            if open.is_empty() {
                return refuse(entry, "what it stands in is no directory of this manifest");
            }
        }
        if matches!(entry.kind, Kind::Directory { .. }) {
            open.push(&entry.path);
        }
        last = Some(&entry.path);
    }
    Ok(())
}

fn check_order(last: &[u8], entry: &Entry) -> Result<(), Malformed> {
    match compare_paths(last, &entry.path) {
        Ordering::Less => Ok(()),
        Ordering::Equal => refuse(entry, "this path stands there twice"),
        Ordering::Greater => refuse(entry, "it is not in path order"),
    }
}

fn check_kind(entries: &[Entry], index: usize) -> Result<(), Malformed> {
    let entry = &entries[index];
    match &entry.kind {
        Kind::Directory { mode } | Kind::File { mode, .. } if *mode > 0o777 => {
            refuse(entry, format!("mode {mode:o} has more than permission bits"))
        }
        Kind::Symlink { target } if !(1..=MAX_LINK).contains(&target.len()) || target.contains(&0) => {
            refuse(entry, "a link's target must have 1 to 4095 bytes, none of them NUL")
        }
        Kind::HardLink { to } => match entries[..index].get(*to as usize).map(|target| &target.kind) {
            Some(Kind::File { .. }) => Ok(()),
            _ => refuse(entry, "a hard link must name an earlier regular file"),
        },
        _ => Ok(()),
    }
}

fn check_table(pieces: &[Piece]) -> Result<(), Malformed> {
    if let Some(piece) = pieces.iter().find(|piece| !(1..=MAX_PIECE as u32).contains(&piece.len)) {
        return Err(Malformed::new(WHAT, format!("piece {:?} is {} bytes long", piece.digest, piece.len)));
    }
    let mut digests: Vec<_> = pieces.iter().map(|piece| piece.digest).collect();
    digests.sort_unstable();
    match digests.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Malformed::new(WHAT, format!("piece {:?} stands there twice", pair[0]))),
        None => Ok(()),
    }
}

fn check_files(manifest: &Manifest) -> Result<(), Malformed> {
    let mut pieces = Pieces::new(&manifest.pieces);
    let mut size = 0;
    for entry in &manifest.entries {
        if let Kind::File { len, extents, .. } = &entry.kind {
            if let Err(why) = check_extents(&mut pieces, *len, extents) {
                return refuse(entry, why);
            }
            size += len;
            if size > MAX_SIZE {
                return refuse(entry, "the files are too long together");
            }
        }
    }
    match pieces.used as usize == manifest.pieces.len() {
        true => Ok(()),
        false => Err(Malformed::new(WHAT, "it has pieces that no file uses")),
    }
}

fn check_extents(pieces: &mut Pieces, len: u64, extents: &[Extent]) -> Result<(), &'static str> {
    if extents.windows(2).any(|pair| super::builder::merged(pair[0], pair[1]).is_some()) {
        return Err("two of its extents should be one");
    }
    let mut sum = 0u64;
    for extent in extents {
        sum += pieces.use_extent(extent)?;
        if sum > MAX_SIZE {
            return Err("it is too long");
        }
    }
    if sum == len { Ok(()) } else { Err("its extents do not add up to its length") }
}

/// The lengths of all pieces, and how many were used so far.
struct Pieces {
    /// The sums of the lengths of the pieces before each, and of all.
    sums: Vec<u64>,
    used: u32,
}

impl Pieces {
    fn new(pieces: &[Piece]) -> Self {
        let sums = pieces.iter().scan(0, |sum, piece| {
            *sum += u64::from(piece.len);
            Some(*sum)
        });
        Self { sums: std::iter::once(0).chain(sums).collect(), used: 0 }
    }

    /// The length of an extent, after checking it.
    fn use_extent(&mut self, extent: &Extent) -> Result<u64, &'static str> {
        match *extent {
            Extent::Pieces { first, count } => self.use_run(first, count),
            Extent::Part { piece, offset, len } => {
                let whole = self.use_run(piece, 1)?;
                let fits = len > 0 && u64::from(offset) + u64::from(len) <= whole && u64::from(len) < whole;
                if fits { Ok(len.into()) } else { Err("a part is empty, or all of its piece, or beyond it") }
            }
            Extent::Hole { len: 0 } => Err("a hole is empty"),
            // Bounded here, so that the sum of two lengths cannot overflow.
            Extent::Hole { len } => Ok(len.min(MAX_SIZE + 1)),
        }
    }

    fn use_run(&mut self, first: u32, count: u32) -> Result<u64, &'static str> {
        let end = first.checked_add(count).ok_or("an extent names pieces that do not exist")?;
        let after = *self.sums.get(end as usize).ok_or("an extent names pieces that do not exist")?;
        if count == 0 {
            return Err("a run of pieces is empty");
        }
        if first > self.used {
            return Err("pieces are not in the order of their first use");
        }
        self.used = self.used.max(end);
        Ok(after - self.sums[first as usize])
    }
}
