//! What a tree is: its entries in path order, and the pieces that its files are made of.
//!
//! Names, kinds, permission bits, link targets, lengths and pieces are part of a manifest; modification times and owners
//! are not ([`crate::attributes`]): a fresh checkout is not a new content. Encoding and decoding refuse what no tree of
//! ours may contain, so that whoever holds a `Manifest` need not check again.

use crate::encoding::Malformed;
use crate::{Piece, PieceNo};

/// The longest path within a tree, in bytes.
pub const MAX_PATH: usize = 4096;
/// The longest name of one component, in bytes.
pub const MAX_NAME: usize = 255;
/// The deepest path, in components.
pub const MAX_DEPTH: usize = 128;

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

impl Manifest {
    /// The canonical bytes. The piece table stands at their end, so that it can be read without the entries.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads canonical bytes, refusing anything else, with memory bounded by their length.
    pub fn decode(_bytes: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }

    /// The number within a content of `pages` pages of the piece with this index.
    pub fn piece_no(pages: u32, index: u32) -> PieceNo {
        PieceNo(pages + index)
    }
}

/// Why a path or name may not stand in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Empty component, `.` or `..`.
    #[error("it has an empty, `.` or `..` component")]
    Climbs,
    /// It starts with `/`.
    #[error("it is absolute")]
    Absolute,
    /// A NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
    /// A component over 255 bytes, or all of it over 4,096 bytes, or over 128 deep.
    #[error("it is too long or too deep")]
    TooLong,
}

/// Checks a relative path (not the root's empty one).
pub fn check_path(_path: &[u8]) -> Result<(), BadPath> {
    todo!()
}
