//! What a manifest must be besides well encoded: a tree, with its pieces, in its one form.
//!
//! Time is linear in the encoded length, whatever the bytes: the length of a run of pieces comes from sums that are kept.

use super::path::{check_path, compare_paths, parent};
use super::table::WHAT;
use super::{Entry, Extent, Kind, Lengths, MAX_ENTRIES, MAX_LINK, MAX_SIZE, Manifest};
use crate::cut::MAX_PIECE;
use crate::encoding::Malformed;
use crate::{ContentSpec, Piece};
use std::cmp::Ordering;

pub(super) fn check(manifest: &Manifest) -> Result<(), Malformed> {
    check_table(&manifest.pieces)?;
    check_all(&manifest.entries, &manifest.lengths())
}

/// Everything but the digests.
pub(super) fn check_all(entries: &[Entry], lengths: &Lengths) -> Result<(), Malformed> {
    if entries.len() > MAX_ENTRIES as usize || lengths.count() > ContentSpec::MAX_PIECES {
        return Err(Malformed::new(WHAT, "it has too many entries or pieces"));
    }
    check_root(entries)?;
    check_tree(entries)?;
    check_files(entries, lengths)
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

fn check_files(entries: &[Entry], lengths: &Lengths) -> Result<(), Malformed> {
    let mut pieces = Pieces { lengths, used: 0 };
    let mut size = 0;
    for entry in entries {
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
    match pieces.used == lengths.count() {
        true => Ok(()),
        false => Err(Malformed::new(WHAT, "it has pieces that no file uses")),
    }
}

fn check_extents(pieces: &mut Pieces<'_>, len: u64, extents: &[Extent]) -> Result<(), &'static str> {
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
struct Pieces<'a> {
    lengths: &'a Lengths,
    used: u32,
}

impl Pieces<'_> {
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
        if end > self.lengths.count() {
            return Err("an extent names pieces that do not exist");
        }
        if count == 0 {
            return Err("a run of pieces is empty");
        }
        if first > self.used {
            return Err("pieces are not in the order of their first use");
        }
        self.used = self.used.max(end);
        Ok(self.lengths.before(end) - self.lengths.before(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: path.as_bytes().to_vec(), kind }
    }

    fn directory(path: &str) -> Entry {
        entry(path, Kind::Directory { mode: 0o755 })
    }

    fn file(path: &str, len: u64, extents: &[Extent]) -> Entry {
        entry(path, Kind::File { mode: 0o644, len, extents: extents.to_vec() })
    }

    fn empty(path: &str) -> Entry {
        file(path, 0, &[])
    }

    fn link(path: &str, target: &[u8]) -> Entry {
        entry(path, Kind::Symlink { target: target.to_vec() })
    }

    fn hard(path: &str, to: u32) -> Entry {
        entry(path, Kind::HardLink { to })
    }

    /// A manifest of the root directory and these entries, with pieces of 10, 20 and 30 bytes as far as they are used.
    fn manifest(pieces: usize, entries: &[Entry]) -> Manifest {
        let piece = |n: u32| Piece { digest: Digest::of(&[n as u8]), len: n * 10 };
        let entries = std::iter::once(directory("")).chain(entries.iter().cloned()).collect();
        Manifest { entries, pieces: (1..4).map(piece).take(pieces).collect() }
    }

    #[track_caller]
    fn accepted(manifest: &Manifest) {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(manifest));
    }

    #[track_caller]
    fn refused(why: &str, manifest: &Manifest) {
        let error = Manifest::decode(&manifest.encode()).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }

    const ONE: Extent = Extent::Pieces { first: 0, count: 1 };
    const TWO: Extent = Extent::Pieces { first: 1, count: 1 };

    fn part(piece: u32, offset: u32, len: u32) -> Extent {
        Extent::Part { piece, offset, len }
    }

    #[test]
    fn a_tree_of_everything_round_trips() {
        let name = Entry { path: b"z\xff\n".to_vec(), ..empty("") };
        let sparse = [Extent::Hole { len: 7 }, TWO, ONE, Extent::Hole { len: 1 << 40 }];
        accepted(&manifest(
            3,
            &[
                directory("a"),
                file("a/b", 10, &[ONE]),
                directory("a/empty"),
                file("a/sparse", 37 + (1 << 40), &sparse),
                link("a.link", b"/etc/../passwd"),
                hard("a.same", 2),
                file("small1", 12, &[part(2, 0, 12)]),
                file("small2", 18, &[part(2, 12, 18)]),
                name,
            ],
        ));
        accepted(&Manifest { entries: vec![file("", 10, &[ONE])], pieces: manifest(1, &[]).pieces });
        accepted(&manifest(0, &[]));
    }

    #[test]
    fn the_root_comes_first_and_is_a_directory_or_a_lone_file() {
        refused("no entries", &Manifest::default());
        let alone = |entry| Manifest { entries: vec![entry], pieces: Vec::new() };
        refused("where the root must", &alone(directory("a")));
        refused("neither", &alone(link("", b"x")));
        refused("neither", &alone(hard("", 0)));
        refused("others follow", &Manifest { entries: vec![empty(""), empty("a")], pieces: Vec::new() });
        refused("a//b", &manifest(0, &[empty("a//b")]));
    }

    #[test]
    fn f1_a_bad_name_condemns_the_whole_manifest_and_is_named() {
        for (path, named) in
            [("..", "entry \"..\""), ("/etc", "entry \"/etc\""), ("a\0", "entry \"a\\x00\""), ("", "entry \"\"")]
        {
            refused(named, &manifest(0, &[empty(path)]));
        }
        refused("backslash", &manifest(0, &[empty("a\\b")]));
        refused("too long", &manifest(0, &[empty(&"x".repeat(256))]));
        let longest = "x".repeat(MAX_LINK + 1);
        refused("a path has 4097 bytes", &manifest(0, &[empty(&(longest.clone() + "x"))]));
        refused("a link's target has 4096 bytes", &manifest(0, &[link("a", longest.as_bytes())]));
    }

    #[test]
    fn f2_nothing_stands_in_a_symlink() {
        refused("no directory", &manifest(0, &[link("a", b"/etc"), empty("a/passwd")]));
        refused("1 to 4095", &manifest(0, &[link("a", b"")]));
        refused("NUL", &manifest(0, &[link("a", b"x\0y")]));
    }

    #[test]
    fn f3_hard_links_name_earlier_regular_files_of_the_same_manifest() {
        accepted(&manifest(0, &[empty("a"), hard("b", 1), hard("c", 1)]));
        refused("hard link", &manifest(0, &[empty("a"), hard("b", 0)]));
        refused("hard link", &manifest(0, &[hard("a", 1)]));
        refused("hard link", &manifest(0, &[hard("a", 2), empty("b")]));
        refused("hard link", &manifest(0, &[link("a", b"/etc/shadow"), hard("b", 1)]));
        refused("hard link", &manifest(0, &[empty("a"), hard("b", 1), hard("c", 2)]));
        refused("hard link", &manifest(0, &[empty("a"), hard("b", u32::MAX)]));
    }

    #[test]
    fn f4_the_target_of_a_symlink_is_only_data() {
        accepted(&manifest(0, &[link("a", b"/"), link("b", b"../../.."), link("c", b"\\\xff\n")]));
    }

    #[test]
    fn f6_more_than_permission_bits_are_refused() {
        for mode in [0o1755, 0o2755, 0o4755, 0o7777, u16::MAX] {
            let why = "a mode is";
            refused(why, &manifest(0, &[entry("a", Kind::Directory { mode })]));
            let file = entry("a", Kind::File { mode, len: 0, extents: Vec::new() });
            refused(why, &manifest(0, std::slice::from_ref(&file)));
            assert!(manifest(0, &[file]).check().is_err(), "not only decoding refuses it");
        }
    }

    #[test]
    fn f9_duplicate_paths_and_parents_that_are_no_directories_are_refused() {
        refused("twice", &manifest(0, &[empty("a"), empty("a")]));
        refused("twice", &manifest(0, &[directory("a"), empty("a")]));
        refused("twice", &manifest(0, &[directory("a"), empty("a/b"), directory("a/b")]));
        refused("no directory", &manifest(0, &[empty("a"), empty("a/b")]));
        refused("no directory", &manifest(0, &[empty("a/b")]));
        refused("no directory", &manifest(0, &[directory("a"), empty("a/b/c")]));
        refused("no directory", &manifest(0, &[directory("a"), empty("b"), empty("c/b")]));
        refused("path order", &manifest(0, &[empty("b"), empty("a")]));
        refused("path order", &manifest(0, &[directory("a"), empty("a.txt"), empty("a/b")]));
        accepted(&manifest(0, &[directory("a"), directory("a/b"), empty("a/b/c"), empty("a/c"), empty("a.txt")]));
    }

    #[test]
    fn f15_paths_too_deep_are_refused() {
        let deep = |depth: usize| {
            let paths: Vec<String> = (1..=depth).map(|n| vec!["d"; n].join("/")).collect();
            manifest(0, &paths.iter().map(|path| directory(path)).collect::<Vec<_>>())
        };
        accepted(&deep(super::super::MAX_DEPTH));
        refused("too long or too deep", &deep(super::super::MAX_DEPTH + 1));
    }

    #[test]
    fn pieces_stand_once_in_the_order_of_first_use() {
        accepted(&manifest(2, &[file("a", 10, &[ONE]), file("b", 30, &[TWO, ONE]), file("c", 10, &[ONE])]));
        refused("first use", &manifest(2, &[file("a", 20, &[TWO]), file("b", 10, &[ONE])]));
        refused("no file uses", &manifest(2, &[file("a", 10, &[ONE])]));
        refused("do not exist", &manifest(1, &[file("a", 30, &[Extent::Pieces { first: 0, count: 2 }])]));
        refused("do not exist", &manifest(1, &[file("a", 10, &[ONE, Extent::Pieces { first: u32::MAX, count: 2 }])]));
        let mut twice = manifest(2, &[file("a", 30, &[Extent::Pieces { first: 0, count: 2 }])]);
        twice.pieces[1].digest = twice.pieces[0].digest;
        refused("stands there twice", &twice);
        for len in [0, MAX_PIECE as u32 + 1, u32::MAX] {
            let mut odd = manifest(1, &[file("a", len.into(), &[ONE])]);
            odd.pieces[0].len = len;
            refused("bytes long", &odd);
            assert!(odd.check().is_err(), "not only decoding refuses it");
        }
    }

    #[test]
    fn extents_have_one_form() {
        let one = |len, extents: &[Extent]| {
            manifest(2, &[file("a", 30, &[Extent::Pieces { first: 0, count: 2 }]), file("b", len, extents)])
        };
        accepted(&one(25, &[part(1, 0, 5), part(1, 10, 5), part(1, 3, 5), part(0, 0, 9), Extent::Hole { len: 1 }]));
        refused("should be one", &one(30, &[ONE, TWO]));
        refused("should be one", &one(9, &[Extent::Hole { len: 4 }, Extent::Hole { len: 5 }]));
        refused("should be one", &one(9, &[part(1, 2, 4), part(1, 6, 5)]));
        refused("a hole is empty", &one(0, &[Extent::Hole { len: 0 }]));
        refused("a run of pieces is empty", &one(0, &[Extent::Pieces { first: 0, count: 0 }]));
        refused("a part is empty", &one(0, &[part(0, 3, 0)]));
        refused("all of its piece", &one(10, &[part(0, 0, 10)]));
        refused("beyond it", &one(9, &[part(0, 2, 9)]));
        refused("beyond it", &one(5, &[part(0, u32::MAX, 5)]));
        refused("beyond it", &one(u32::MAX.into(), &[part(0, 1, u32::MAX)]));
        refused("do not exist", &one(5, &[part(2, 0, 5)]));
    }

    #[test]
    fn f13_lengths_that_lie_are_refused() {
        let hole = |len| Extent::Hole { len };
        refused("add up", &manifest(1, &[file("a", 11, &[ONE])]));
        refused("add up", &manifest(1, &[file("a", 9, &[ONE])]));
        refused("add up", &manifest(0, &[file("a", 1, &[])]));
        refused("too long", &manifest(1, &[file("a", 9, &[hole(u64::MAX), ONE])]));
        refused("too long", &manifest(0, &[file("a", u64::MAX, &[hole(u64::MAX)])]));
        let half = |path| file(path, MAX_SIZE / 2 + 1, &[hole(MAX_SIZE / 2 + 1)]);
        accepted(&manifest(0, &[half("a")]));
        refused("too long together", &manifest(0, &[half("a"), half("b")]));
    }

    #[test]
    fn f15_many_uses_of_many_pieces_take_linear_time() {
        // 4,000 files that each use all of 4,000 pieces: 16 million uses in 250 kB, and no loop over them.
        let pieces: Vec<Piece> = (0..4000u32).map(|n| Piece { digest: Digest::of(&n.to_le_bytes()), len: 1 }).collect();
        let all = [Extent::Pieces { first: 0, count: 4000 }];
        let files: Vec<Entry> = (1000..5000).map(|n| file(&n.to_string(), 4000, &all)).collect();
        accepted(&Manifest { pieces, ..manifest(0, &files) });
    }
}
