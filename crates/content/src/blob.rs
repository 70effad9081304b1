//! One byte string of any length, named by 32 bytes and checked page by page.
//!
//! The bytes are cut into pages of [`PAGE`] bytes. The digests of those pages, concatenated, are cut into pages again, and
//! so on until one page is left: the root. Only the length decides the shape, so page numbers mean the same everywhere, and
//! each page can be checked as soon as its parent is there. Pages are numbered from the root down, level by level.

use crate::Digest;

/// Bytes in a full page: 64 KiB, that is 2,048 digests.
pub const PAGE: usize = 64 * 1024;

/// The name and length of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobRef {
    /// The digest of the root page.
    pub root: Digest,
    /// The length of the bytes (of the lowest level).
    pub len: u64,
}

impl BlobRef {
    /// How a blob of this length is cut.
    pub fn shape(&self) -> Shape {
        Shape::of(self.len)
    }
}

/// How a blob of some length is cut into levels and pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Per level, root first: (number of its first page, how many pages, length of the level in bytes).
    levels: Vec<(u32, u32, u64)>,
}

/// Where the digest of a page is found: in which page, and at which slot of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The page that holds the digest.
    pub page: u32,
    /// Which of its digests.
    pub slot: u32,
}

impl Shape {
    /// The shape of a blob of `len` bytes. An empty blob has one empty page.
    pub fn of(_len: u64) -> Self {
        todo!()
    }

    /// How many pages there are on all levels.
    pub fn pages(&self) -> u32 {
        todo!()
    }

    /// The length of a page in bytes.
    pub fn page_len(&self, _page: u32) -> usize {
        todo!()
    }

    /// Where the digest of a page stands; `None` for the root page.
    pub fn parent(&self, _page: u32) -> Option<Parent> {
        todo!()
    }

    /// The pages whose digests stand in `page`; empty for a page of the lowest level.
    pub fn children(&self, _page: u32) -> std::ops::Range<u32> {
        todo!()
    }

    /// The pages of the lowest level: the bytes themselves.
    pub fn leaves(&self) -> std::ops::Range<u32> {
        todo!()
    }

    /// The offset of a page, were all pages written one after another by number (used by stores for their files).
    pub fn offset(&self, _page: u32) -> u64 {
        todo!()
    }
}

/// Cuts `bytes`: the reference, and every page by number.
pub fn build(_bytes: &[u8]) -> (BlobRef, Vec<Vec<u8>>) {
    todo!()
}
