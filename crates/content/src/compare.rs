//! What is different between two trees, as far as their manifests tell.
//!
//! A manifest says of a file in which pieces its bytes stand, not what their digest is: of a small file in a pack, or of trees that are
//! cut more and less finely, it can say that the bytes are the same, and not that they are others. [`Difference::is_unsure`] marks
//! those, and whoever can read the bytes decides. Times are not compared: a fresh checkout is not a new release.

use crate::Digest;
use crate::attributes::Attributes;
use crate::cut::Grain;
use crate::manifest::{Entry, Extent, Kind, Manifest, compare_paths};
use std::cmp::Ordering;

/// A tree that is compared.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its entries and pieces.
    pub manifest: &'a Manifest,
    /// Owners of its entries, if they are known.
    pub attributes: Option<&'a Attributes>,
}

/// What of an entry has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// It is something else: a directory instead of a file, say.
    Kind,
    /// A file's bytes.
    Content,
    /// Permission bits.
    Mode,
    /// Where a link points, or of which file it is another name.
    Link,
    /// Owner or group.
    Owner,
}

/// An entry that is not the same in both trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its index in the old manifest, unless it was added.
    pub old: Option<u32>,
    /// Its index in the new one, unless it was removed.
    pub new: Option<u32>,
    /// What has changed of an entry that both have, rising.
    pub aspects: Vec<Aspect>,
    /// Whether its bytes may be others, which the manifests cannot tell.
    pub is_unsure: bool,
}

/// Where bytes of a file stand: in a piece with this index, from an offset on, or nowhere when they are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The piece; `None` for zeros.
    pub piece: Option<u32>,
    /// Where in the piece, in bytes.
    pub offset: u32,
    /// How many bytes.
    pub len: u64,
}

impl Manifest {
    /// Where the bytes of an entry stand, in order; nothing for what is no file.
    pub fn stretches(&self, index: u32) -> Vec<Stretch> {
        let Some(Kind::File { extents, .. }) = self.entries.get(index as usize).map(|entry| &entry.kind) else {
            return Vec::new();
        };
        let whole = |piece: u32| {
            let len = self.pieces.get(piece as usize).map_or(0, |piece| piece.len);
            Stretch { piece: Some(piece), offset: 0, len: len.into() }
        };
        let mut stretches = Vec::new();
        for extent in extents {
            match *extent {
                Extent::Pieces { first, count } => stretches.extend((first..first + count).map(whole)),
                Extent::Part { piece, offset, len } => {
                    stretches.push(Stretch { piece: Some(piece), offset, len: len.into() });
                }
                Extent::Hole { len } => stretches.push(Stretch { piece: None, offset: 0, len }),
            }
        }
        stretches
    }

    fn grain(&self) -> Grain {
        Grain::of(self.totals().size)
    }
}

/// Every entry that is not the same, in path order.
pub fn compare(old: Side<'_>, new: Side<'_>) -> Vec<Difference> {
    let grains = (old.manifest.grain(), new.manifest.grain());
    let comparison = Comparison { old, new, grain: (grains.0 == grains.1).then_some(grains.0) };
    let (before, after) = (&old.manifest.entries, &new.manifest.entries);
    let (mut at, mut differences) = ((0, 0), Vec::new());
    loop {
        let order = match (before.get(at.0), after.get(at.1)) {
            (None, None) => return differences,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => compare_paths(&one.path, &other.path),
        };
        let indices = (order.is_le().then_some(at.0 as u32), order.is_ge().then_some(at.1 as u32));
        differences.extend(comparison.difference(indices));
        at = (at.0 + usize::from(order.is_le()), at.1 + usize::from(order.is_ge()));
    }
}

struct Comparison<'a> {
    old: Side<'a>,
    new: Side<'a>,
    /// How finely both are cut, if equally.
    grain: Option<Grain>,
}

impl Comparison<'_> {
    fn difference(&self, indices: (Option<u32>, Option<u32>)) -> Option<Difference> {
        let (old, new) = indices;
        let (Some(before), Some(after)) = indices else {
            return Some(Difference { old, new, aspects: Vec::new(), is_unsure: false });
        };
        let mut aspects = Vec::new();
        let is_unsure = self.compare_entries(before, after, &mut aspects);
        if self.owner(&self.old, before) != self.owner(&self.new, after) {
            aspects.push(Aspect::Owner);
        }
        (is_unsure || !aspects.is_empty()).then_some(Difference { old, new, aspects, is_unsure })
    }

    /// Notes what is different for sure; whether the bytes may be, besides.
    fn compare_entries(&self, before: u32, after: u32, aspects: &mut Vec<Aspect>) -> bool {
        let (old, new) = (&self.old.manifest.entries[before as usize], &self.new.manifest.entries[after as usize]);
        let same_bytes = match (&old.kind, &new.kind) {
            (Kind::File { .. }, Kind::File { .. }) => self.same_bytes(before, after),
            (Kind::Directory { .. }, Kind::Directory { .. }) => Some(true),
            (Kind::Symlink { target: one }, Kind::Symlink { target: other }) if one == other => Some(true),
            (Kind::HardLink { to: one }, Kind::HardLink { to: other })
                if path(self.old, *one) == path(self.new, *other) =>
            {
                Some(true)
            }
            (Kind::Symlink { .. }, Kind::Symlink { .. }) | (Kind::HardLink { .. }, Kind::HardLink { .. }) => {
                aspects.push(Aspect::Link);
                Some(true)
            }
            _ => {
                aspects.push(Aspect::Kind);
                return false;
            }
        };
        if same_bytes == Some(false) {
            aspects.push(Aspect::Content);
        }
        if old.kind.mode() != new.kind.mode() {
            aspects.push(Aspect::Mode);
        }
        same_bytes.is_none()
    }

    /// Whether two files have the same bytes; `None` when that cannot be told.
    fn same_bytes(&self, before: u32, after: u32) -> Option<bool> {
        let len = len(&self.old.manifest.entries[before as usize]);
        if len != self::len(&self.new.manifest.entries[after as usize]) {
            return Some(false);
        }
        let (one, other) = (self.old.manifest.stretches(before), self.new.manifest.stretches(after));
        let named = |side: Side<'_>, stretches: &[Stretch]| {
            stretches.iter().map(|stretch| (digest(side, stretch), stretch.offset, stretch.len)).collect::<Vec<_>>()
        };
        if named(self.old, &one) == named(self.new, &other) {
            return Some(true);
        }
        // Files that are cut by themselves, and equally finely, are cut alike when they are the same.
        self.grain.is_some_and(|grain| !grain.packs(len)).then_some(false)
    }

    fn owner(&self, side: &Side<'_>, index: u32) -> Option<(u32, u32)> {
        // Compared only when both sides say.
        let known = self.old.attributes.is_some() && self.new.attributes.is_some();
        let attribute = side.attributes.filter(|_| known)?.0.get(index as usize)?;
        Some((attribute.uid, attribute.gid))
    }
}

fn path<'a>(side: Side<'a>, index: u32) -> Option<&'a [u8]> {
    side.manifest.entries.get(index as usize).map(|entry| entry.path.as_slice())
}

fn len(entry: &Entry) -> u64 {
    if let Kind::File { len, .. } = entry.kind { len } else { 0 }
}

fn digest(side: Side<'_>, stretch: &Stretch) -> Option<Digest> {
    side.manifest.pieces.get(stretch.piece? as usize).map(|piece| piece.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Piece;
    use crate::attributes::Attribute;
    use crate::manifest::Builder;

    fn piece_of(byte: u8, len: u32) -> Piece {
        Piece { digest: Digest::of(&[byte]), len }
    }

    /// The path of each difference, what changed, and a question mark where that is not sure.
    fn told(old: &Manifest, new: &Manifest) -> Vec<String> {
        let side = |manifest| Side { manifest, attributes: None };
        let word = |difference: Difference| {
            let name = |manifest: &Manifest, index: Option<u32>| {
                index.map(|index| String::from_utf8_lossy(&manifest.entries[index as usize].path).into_owned())
            };
            let (before, after) = (name(old, difference.old), name(new, difference.new));
            let doubt = if difference.is_unsure { "?" } else { "" };
            match (before, after) {
                (Some(path), None) => format!("-{path}"),
                (None, Some(path)) => format!("+{path}"),
                (_, path) => format!("{} {:?}{doubt}", path.unwrap_or_default(), difference.aspects),
            }
        };
        compare(side(old), side(new)).into_iter().map(word).collect()
    }

    fn built(fill: impl FnOnce(&mut Builder)) -> Manifest {
        let mut builder = Builder::new();
        builder.directory(b"", 0o755);
        fill(&mut builder);
        builder.finish().expect("a tree")
    }

    fn large(builder: &mut Builder, name: &[u8], mode: u16, first: u8) {
        builder.file(name, mode);
        (0..40).for_each(|nr| builder.piece(piece_of(first.wrapping_add(nr), 128 * 1024)));
    }

    #[test]
    fn every_sort_of_difference_is_named_in_path_order() {
        let old = built(|builder| {
            builder.directory(b"a", 0o755);
            builder.file(b"a/gone", 0o644);
            large(builder, b"b", 0o644, 0);
            builder.file(b"c", 0o644);
            builder.symlink(b"d", b"x");
            let first = builder.file(b"e", 0o600);
            builder.hard_link(b"f", first);
            builder.file(b"g", 0o644);
        });
        let new = built(|builder| {
            builder.directory(b"a", 0o700);
            large(builder, b"b", 0o755, 100);
            builder.directory(b"c", 0o644);
            builder.symlink(b"d", b"y");
            builder.file(b"e", 0o600);
            let other = builder.file(b"ee", 0o600);
            builder.hard_link(b"f", other);
            builder.file(b"g", 0o644);
        });
        let all = ["a [Mode]", "-a/gone", "b [Content, Mode]", "c [Kind]", "d [Link]", "+ee", "f [Link]"];
        assert_eq!(told(&old, &new), all);
        assert_eq!(told(&old, &old), [""; 0]);
        let empty = built(|_| {});
        assert_eq!(told(&empty, &new).len(), 8);
        assert!(told(&new, &empty).iter().all(|path| path.starts_with('-')));
    }

    #[test]
    fn of_files_in_packs_nothing_is_said_that_is_not_sure() {
        let packed = |piece: Piece, first: u32| {
            built(|builder| {
                let pack = builder.open();
                builder.file(b"a", 0o644);
                builder.part(pack, 0, first);
                builder.file(b"b", 0o644);
                builder.part(pack, first, 3);
                builder.close(pack, piece);
            })
        };
        let old = packed(piece_of(1, 5), 2);
        assert_eq!(told(&old, &packed(piece_of(1, 5), 2)), [""; 0]);
        assert_eq!(told(&old, &packed(piece_of(2, 5), 2)), ["a []?", "b []?"]);
        assert_eq!(told(&old, &packed(piece_of(2, 6), 3)), ["a [Content]", "b []?"], "another length is other bytes");
    }

    #[test]
    fn a_tree_that_is_cut_more_finely_is_not_another_one_for_that() {
        let one = |pieces: &[Piece]| {
            built(|builder| {
                builder.file(b"a", 0o644);
                pieces.iter().for_each(|piece| builder.piece(*piece));
            })
        };
        let long = |builder: &mut Builder| large(builder, b"b", 0o644, 50);
        let coarse = built(|builder| {
            builder.file(b"a", 0o644);
            builder.piece(piece_of(1, 100_000));
            long(builder);
        });
        let fine = one(&[piece_of(2, 50_000), piece_of(3, 50_000)]);
        assert_eq!(told(&coarse, &fine), ["a []?", "-b"]);
        assert_eq!(told(&one(&[piece_of(1, 100_000)]), &fine), ["a [Content]"], "cut alike, it would be cut alike");
    }

    #[test]
    fn owners_are_compared_where_both_are_known_and_times_are_not() {
        let manifest = built(|_| {});
        let of = |uid, seconds| Attributes(vec![Attribute { seconds, nanos: 0, uid, gid: 0 }]);
        let differ = |one: Option<&Attributes>, other: Option<&Attributes>| {
            let side = |attributes| Side { manifest: &manifest, attributes };
            compare(side(one), side(other)).into_iter().map(|one| one.aspects).collect::<Vec<_>>()
        };
        assert_eq!(differ(Some(&of(1, 0)), Some(&of(2, 0))), [vec![Aspect::Owner]]);
        assert!(differ(Some(&of(1, 0)), Some(&of(1, 9))).is_empty());
        assert!(differ(None, Some(&of(1, 0))).is_empty());
    }
}
