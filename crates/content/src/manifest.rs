//! What a tree is: its entries in path order, and the pieces that its files are made of.
//!
//! Names, kinds, permission bits, link targets, lengths and pieces are part of a manifest; modification times and owners
//! are not ([`crate::attributes`]): a fresh checkout is not a new content. Encoding and decoding refuse what no tree of
//! ours may contain, so that whoever holds a `Manifest` need not check again.
//!
//! A manifest has exactly one form for a tree and the pieces of its files:
//!
//! * entries rise by [`compare_paths`], so a directory stands before what is in it, and every path's parent is a directory
//!   that stands there; a hard link names an earlier regular file by its index;
//! * pieces stand in the order of their first use, each once, none unused;
//! * extents are as long as they can be: neighbouring holes, runs of pieces with consecutive numbers, and parts of one
//!   piece that follow each other are one extent; a part that is the whole piece is a run of one piece.
//!
//! [`Builder`] makes manifests of this form from what an importer finds; encoded they look like this (numbers in the
//! header and the table are little-endian, those in entries LEB128):
//!
//! ```text
//! 0        5         9        13                 21               21 + E
//! +--------+---------+--------+------------------+----------------+-------------------------------------+
//! | tdgM v | entries | pieces | E: bytes of      | entries: path, | pieces: digest (32 bytes), length   |
//! | (5)    | (4)     | (4)    | the entries (8)  | kind, fields   | (4 bytes), each                     |
//! +--------+---------+--------+------------------+----------------+-------------------------------------+
//! ```

mod builder;
mod codec;
mod lengths;
mod outline;
mod path;
mod rules;
mod table;

pub use builder::{Builder, Pack};
pub use lengths::Lengths;
pub use outline::{Outline, OutlineReader};
pub use path::{BadPath, check_path, compare_paths};
pub use table::{Header, PIECE_LEN, piece_at};

use crate::{BlobRef, ContentSpec, Piece, PieceNo};

/// The longest path within a tree, in bytes.
pub const MAX_PATH: usize = 4096;
/// The longest name of one component, in bytes.
pub const MAX_NAME: usize = 255;
/// The deepest path, in components.
pub const MAX_DEPTH: usize = 128;
/// The longest target of a symbolic link, in bytes.
pub const MAX_LINK: usize = 4095;
/// How many entries a manifest may have: 16 million.
pub const MAX_ENTRIES: u32 = 1 << 24;
/// The longest encoded manifest, in bytes: 1 GiB.
pub const MAX_ENCODED: u64 = 1 << 30;
/// The longest a file, and the sum of all files of a manifest, may be, in bytes.
pub const MAX_SIZE: u64 = 1 << 60;

/// A tree, or a single file (one entry, the root, that is a file).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The entries, rising by path (bytewise by component); the first is the root, whose path is empty.
    pub entries: Vec<Entry>,
    /// The pieces, each once, in the order of their first use.
    pub pieces: Vec<Piece>,
}

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path relative to the root, `/` between components, bytes as on disk; empty for the root itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory with permission bits (0o777 at most).
    Directory {
        /// Permission bits.
        mode: u16,
    },
    /// A regular file.
    File {
        /// Permission bits (0o777 at most).
        mode: u16,
        /// Length in bytes: the sum of the extents' lengths.
        len: u64,
        /// What it is made of, in order.
        extents: Vec<Extent>,
    },
    /// A symbolic link; its target is data, and never followed by us.
    Symlink {
        /// The target's bytes, 1 to 4,095, no NUL.
        target: Vec<u8>,
    },
    /// Another name of a regular file that stands earlier in this manifest.
    HardLink {
        /// The index of that entry.
        to: u32,
    },
}

/// A run of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// `count` whole pieces with rising numbers (numbers among [`Manifest::pieces`], not [`PieceNo`]).
    Pieces {
        /// The first.
        first: u32,
        /// How many.
        count: u32,
    },
    /// A part of one piece: a small file in a pack.
    Part {
        /// The piece.
        piece: u32,
        /// Where in it the part begins, in bytes.
        offset: u32,
        /// The length of the part, in bytes.
        len: u32,
    },
    /// Zeros that need no piece.
    Hole {
        /// How many bytes.
        len: u64,
    },
}

impl Kind {
    /// Permission bits of a directory or regular file.
    pub fn mode(&self) -> Option<u16> {
        match self {
            Self::Directory { mode } | Self::File { mode, .. } => Some(*mode),
            Self::Symlink { .. } | Self::HardLink { .. } => None,
        }
    }
}

/// The sums that a release declares and a store reserves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// How many entries there are.
    pub entries: u32,
    /// The sum of the lengths of all regular files, in bytes; other names of a file do not count again.
    pub size: u64,
    /// How many pieces there are.
    pub pieces: u32,
    /// The sum of the lengths of all pieces, in bytes.
    pub bytes: u64,
}

impl Manifest {
    /// The sums over all entries and pieces.
    pub fn totals(&self) -> Totals {
        totals(&self.entries, &self.lengths())
    }

    /// The lengths of its pieces.
    pub fn lengths(&self) -> Lengths {
        self.pieces.iter().map(|piece| piece.len).collect()
    }

    /// What a swarm moves when it moves this manifest, whose encoded bytes are `blob`, and its pieces.
    pub fn spec(&self, blob: BlobRef) -> ContentSpec {
        let Totals { pieces, bytes, .. } = self.totals();
        ContentSpec { blob, pieces, bytes }
    }

    /// The number within a content of `pages` pages of the piece with this index.
    pub fn piece_no(pages: u32, index: u32) -> PieceNo {
        PieceNo(pages + index)
    }
}

fn totals(entries: &[Entry], lengths: &Lengths) -> Totals {
    let file_len = |entry: &Entry| if let Kind::File { len, .. } = entry.kind { len } else { 0 };
    Totals {
        entries: entries.len() as u32,
        size: entries.iter().map(file_len).sum(),
        pieces: lengths.count(),
        bytes: lengths.before(u32::MAX),
    }
}

/// Whether an encoded manifest of `len` bytes can name `pieces` pieces: told before it is fetched.
pub fn can_name(len: u64, pieces: u32) -> bool {
    let least = Header::LEN as u64 + u64::from(pieces) * PIECE_LEN as u64;
    (least..=MAX_ENCODED).contains(&len)
}
