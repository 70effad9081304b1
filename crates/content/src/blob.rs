//! One byte string of any length, named by 32 bytes and checked page by page.
//!
//! The bytes are cut into pages of [`PAGE`] bytes. The digests of those pages, concatenated, are cut into pages again, and
//! so on until one page is left: the root. Only the length decides the shape, so page numbers mean the same everywhere, and
//! each page can be checked as soon as its parent is there. Pages are numbered from the root down, level by level.

use crate::Digest;
use crate::encoding::{Decoder, Encode, Encoder, Malformed};
use std::ops::Range;

/// Bytes in a full page: 64 KiB, that is 2,048 digests.
pub const PAGE: usize = 64 * 1024;

/// Digests in a full page.
const FAN_OUT: usize = PAGE / Digest::LEN;

/// The name and length of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobRef {
    /// The digest of the root page.
    pub root: Digest,
    /// The length of the bytes (of the lowest level); at most [`BlobRef::MAX_LEN`].
    pub len: u64,
}

impl BlobRef {
    /// The longest blob, in bytes: 32 TiB, so that page numbers stay far below 2^32.
    pub const MAX_LEN: u64 = 1 << 45;

    /// How a blob of this length is cut.
    pub fn shape(&self) -> Shape {
        Shape::of(self.len)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }
}

impl Encode for BlobRef {
    const WHAT: &'static str = "blob reference";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.root).number(self.len);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { root: from.value()?, len: from.within("the length of a blob", 0..=Self::MAX_LEN)? })
    }
}

/// How a blob of some length is cut into levels and pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Root first; those from `depth` on are not used.
    levels: [Level; MAX_DEPTH],
    /// How many levels there are; at least one.
    depth: usize,
}

/// The levels of the longest blob.
const MAX_DEPTH: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Level {
    /// The number of its first page.
    first: u32,
    /// How many pages it has; at least one.
    pages: u32,
    /// The length of all its pages, in bytes.
    len: u64,
    /// The offset of its first page in the file of all pages.
    offset: u64,
}

impl Level {
    fn range(&self) -> Range<u32> {
        self.first..self.first + self.pages
    }

    fn page_len(&self, page: u32) -> u64 {
        (self.len - self.start(page)).min(PAGE as u64)
    }

    /// Where in the level a page of it begins, in bytes.
    fn start(&self, page: u32) -> u64 {
        u64::from(page - self.first) * PAGE as u64
    }
}

/// Where the digest of a page is found: in which page, and at which slot of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The page that holds the digest.
    pub page: u32,
    /// Which of its digests.
    pub slot: u32,
}

/// Asked about a page number that does not exist, a shape answers as about an empty page without parent or children.
impl Shape {
    /// The shape of a blob of `len` bytes. An empty blob has one empty page.
    ///
    /// # Panics
    ///
    /// When `len` is above [`BlobRef::MAX_LEN`], which every decoder of a [`BlobRef`] refuses.
    pub fn of(len: u64) -> Self {
        assert!(len <= BlobRef::MAX_LEN, "a blob of {len} bytes was let in, and {} are the most", BlobRef::MAX_LEN);
        let mut shape = Self { levels: [Level::default(); MAX_DEPTH], depth: 0 };
        let mut above = Some(len);
        while let Some(len) = above {
            let pages = len.div_ceil(PAGE as u64).max(1);
            shape.levels[shape.depth] = Level { pages: pages as u32, len, ..Level::default() };
            shape.depth += 1;
            above = (pages > 1).then_some(pages * Digest::LEN as u64);
        }
        shape.levels[..shape.depth].reverse();
        shape.number();
        shape
    }

    /// Gives every level its first page's number and offset.
    fn number(&mut self) {
        let (mut first, mut offset) = (0, 0);
        for level in &mut self.levels[..self.depth] {
            (level.first, level.offset) = (first, offset);
            (first, offset) = (first + level.pages, offset + level.len);
        }
    }

    fn levels(&self) -> &[Level] {
        &self.levels[..self.depth]
    }

    /// How many pages there are on all levels.
    pub fn pages(&self) -> u32 {
        self.leaves().end
    }

    /// The length of a page in bytes.
    pub fn page_len(&self, page: u32) -> usize {
        self.level(page).map_or(0, |level| self.levels[level].page_len(page) as usize)
    }

    /// Where the digest of a page stands; `None` for the root page.
    pub fn parent(&self, page: u32) -> Option<Parent> {
        let level = self.level(page)?;
        let above = self.levels[level.checked_sub(1)?];
        let nth = page - self.levels[level].first;
        Some(Parent { page: above.first + nth / FAN_OUT as u32, slot: nth % FAN_OUT as u32 })
    }

    /// The pages whose digests stand in `page`; empty for a page of the lowest level.
    pub fn children(&self, page: u32) -> Range<u32> {
        let below = self.level(page).and_then(|level| Some((self.levels[level], self.levels().get(level + 1)?)));
        let Some((level, below)) = below else { return 0..0 };
        let first = below.first + (page - level.first) * FAN_OUT as u32;
        first..first + (level.page_len(page) / Digest::LEN as u64) as u32
    }

    /// The pages of the lowest level: the bytes themselves.
    pub fn leaves(&self) -> Range<u32> {
        self.levels[self.depth - 1].range()
    }

    /// The offset of a page, were all pages written one after another by number (used by stores for their files).
    pub fn offset(&self, page: u32) -> u64 {
        match self.level(page) {
            Some(level) => self.levels[level].offset + self.levels[level].start(page),
            None => self.levels().iter().map(|level| level.len).sum(),
        }
    }

    fn level(&self, page: u32) -> Option<usize> {
        self.levels().iter().position(|level| level.range().contains(&page))
    }
}

/// Why bytes are not a certain page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPage {
    /// The blob has fewer pages.
    #[error("there is no page with this number")]
    Number,
    /// The page has another length.
    #[error("the page has another length")]
    Length,
    /// The page has another digest.
    #[error("the page has another digest")]
    Digest,
}

/// Whether `bytes` are the page with this number and digest; nothing is hashed when the length is wrong already.
pub fn check_page(shape: &Shape, page: u32, bytes: &[u8], digest: Digest) -> Result<(), BadPage> {
    if page >= shape.pages() {
        return Err(BadPage::Number);
    }
    if bytes.len() != shape.page_len(page) {
        return Err(BadPage::Length);
    }
    if Digest::of(bytes) == digest { Ok(()) } else { Err(BadPage::Digest) }
}

/// The digest at `slot` of a page above the lowest level; `None` when the page ends before.
pub fn digest_at(page: &[u8], slot: u32) -> Option<Digest> {
    page.as_chunks().0.get(slot as usize).copied().map(Digest::from_bytes)
}

/// Cuts `bytes`: the reference, and every page by number.
pub fn build(bytes: &[u8]) -> (BlobRef, Vec<Vec<u8>>) {
    let mut levels: Vec<Vec<Vec<u8>>> = vec![pages_of(bytes)];
    while let Some(below) = levels.last().filter(|level| level.len() > 1) {
        let digests: Vec<u8> = below.iter().flat_map(|page| *Digest::of(page).as_bytes()).collect();
        levels.push(pages_of(&digests));
    }
    let pages: Vec<Vec<u8>> = levels.into_iter().rev().flatten().collect();
    (BlobRef { root: Digest::of(&pages[0]), len: bytes.len() as u64 }, pages)
}

fn pages_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    match bytes {
        [] => vec![Vec::new()],
        _ => bytes.chunks(PAGE).map(<[u8]>::to_vec).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const P: u64 = PAGE as u64;
    /// What one page of digests covers: 128 MiB.
    const ONE_LEVEL: u64 = P * FAN_OUT as u64;

    fn check_shape(len: u64) {
        let shape = Shape::of(len);
        let mut offset = 0;
        for page in 0..shape.pages() {
            let bytes = shape.page_len(page);
            assert!(bytes <= PAGE && (bytes > 0 || len == 0));
            assert_eq!(shape.offset(page), offset);
            offset += bytes as u64;
            for child in shape.children(page) {
                let slot = child - shape.children(page).start;
                assert_eq!(shape.parent(child), Some(Parent { page, slot }));
            }
        }
        assert_eq!(shape.offset(shape.pages()), offset, "beyond the last page");
        assert_eq!(shape.leaves().map(|page| shape.page_len(page) as u64).sum::<u64>(), len);
        assert!(shape.leaves().all(|page| shape.children(page).is_empty()));
        assert!((1..shape.pages()).all(|page| {
            shape.parent(page).is_some_and(|parent| parent.page < page && shape.children(parent.page).contains(&page))
        }));
        assert_eq!((shape.parent(0), shape.leaves().end), (None, shape.pages()));
    }

    #[test]
    fn shapes_at_the_edges() {
        let levels = |len| Shape::of(len).levels().iter().map(|level| level.pages).collect::<Vec<_>>();
        assert_eq!(levels(0), [1]);
        assert_eq!(levels(1), [1]);
        assert_eq!(levels(P), [1]);
        assert_eq!(levels(P + 1), [1, 2]);
        assert_eq!(levels(ONE_LEVEL), [1, 2048]);
        assert_eq!(levels(ONE_LEVEL + 1), [1, 2, 2049]);
        assert_eq!(levels(ONE_LEVEL * FAN_OUT as u64), [1, 2048, 2048 * 2048]);
        assert_eq!(levels(BlobRef::MAX_LEN), [1, 128, 1 << 18, 1 << 29]);
        for near in [0, P, 2 * P, ONE_LEVEL - P, ONE_LEVEL, ONE_LEVEL + P, 3 * ONE_LEVEL] {
            (near.saturating_sub(2)..near + 3).for_each(check_shape);
        }
    }

    #[test]
    fn a_page_that_does_not_exist_is_empty() {
        let shape = Shape::of(P + 1);
        for page in [3, 4, u32::MAX] {
            assert_eq!((shape.page_len(page), shape.parent(page), shape.children(page)), (0, None, 0..0));
            assert_eq!(check_page(&shape, page, b"", Digest::of(b"")), Err(BadPage::Number));
        }
    }

    #[test]
    fn f11_a_blob_longer_than_any_is_refused_when_it_is_declared() {
        let declared = |len| BlobRef::decode(&BlobRef { root: Digest::of(b""), len }.encode());
        assert!(declared(BlobRef::MAX_LEN).is_ok());
        assert!(declared(BlobRef::MAX_LEN + 1).is_err());
        assert!(declared(u64::MAX).is_err());
    }

    #[test]
    fn c7_every_page_is_checked_against_its_parent() {
        let bytes: Vec<u8> = (0..3 * PAGE + 5).map(|n| (n / 7) as u8).collect();
        let (blob, pages) = build(&bytes);
        let shape = blob.shape();
        assert_eq!(pages.len(), shape.pages() as usize);
        assert_eq!(check_page(&shape, 0, &pages[0], blob.root), Ok(()));
        for page in 1..shape.pages() {
            let Parent { page: above, slot } = shape.parent(page).expect("only the root has none");
            let digest = digest_at(&pages[above as usize], slot).expect("a digest for every child");
            let mut bytes = pages[page as usize].clone();
            assert_eq!(check_page(&shape, page, &bytes, digest), Ok(()));
            bytes[4] ^= 1;
            assert_eq!(check_page(&shape, page, &bytes, digest), Err(BadPage::Digest));
            bytes.push(0);
            assert_eq!(check_page(&shape, page, &bytes, digest), Err(BadPage::Length));
        }
        assert_eq!(digest_at(&pages[0], 4), None);
    }

    proptest! {
        #[test]
        fn any_length_has_a_shape(len in 0..4 * ONE_LEVEL) {
            check_shape(len);
        }

        #[test]
        fn the_leaves_are_the_bytes(len in prop_oneof![0..300usize, PAGE - 2..PAGE + 3, 2 * PAGE - 2..4 * PAGE], salt: u8) {
            let bytes: Vec<u8> = (0..len).map(|n| (n as u8).wrapping_mul(31) ^ salt).collect();
            let (blob, pages) = build(&bytes);
            let shape = blob.shape();
            prop_assert_eq!(pages.len(), shape.pages() as usize);
            let lens_match = (0..shape.pages()).zip(&pages).all(|(page, bytes)| shape.page_len(page) == bytes.len());
            prop_assert!(lens_match);
            prop_assert_eq!(pages[shape.leaves().start as usize..].concat(), bytes);
            prop_assert_eq!(Digest::of(&pages[0]), blob.root);
        }
    }
}
