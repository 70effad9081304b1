//! One content that is here, whole or in part: what of it is here, and its two files.
//!
//! What is always kept is small: the declaration and a bit per piece. File handles, the table of pieces and the pages
//! above the lowest level are kept only while a content is in use, and found again from the disk.
//!
//! Invariant: the lock is never held across a call of the disk, and a bit is set only when the bytes were verified and
//! written through the file that is current ([`Holding::arrived`] tells a file that was thrown away meanwhile).

use crate::places::Places;
use content::blob::Shape;
use content::{Bitmap, ContentId, ContentSpec, PieceNo};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which of a content's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All pages of its blob, one after another.
    Pages,
    /// The pieces that the blob names.
    Pieces,
}

impl Part {
    pub(crate) const ALL: [Self; 2] = [Self::Pages, Self::Pieces];

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Pieces => "pieces",
        }
    }
}

/// A content that is here, whole or in part.
pub(crate) struct Holding<F> {
    pub(crate) spec: ContentSpec,
    pub(crate) shape: Shape,
    /// Whether its files are another store's.
    lent: bool,
    inner: Mutex<Inner<F>>,
}

/// What changes.
pub(crate) struct Inner<F> {
    pub(crate) have: Bitmap,
    pub(crate) complete: bool,
    pub(crate) indexed: bool,
    /// Payload bytes that were written since the last checkpoint.
    pub(crate) unsynced: u64,
    /// Rises when a file is thrown away, so that what was under way into it does not count.
    pub(crate) epoch: u64,
    /// Set when the content is not kept any more: what is still written into its files is lost with them.
    pub(crate) is_forgotten: bool,
    /// Set when a failed sync could not be written into the state: nothing is believed until it is.
    pub(crate) spoilt: Option<Part>,
    pub(crate) pages: Option<Arc<F>>,
    pub(crate) pieces: Option<Arc<F>>,
    pub(crate) places: Option<Arc<Places>>,
    pub(crate) parents: BTreeMap<u32, Arc<Vec<u8>>>,
    /// Pages of the table of pieces that were read last, the latest first.
    tables: Vec<(u32, Arc<Vec<u8>>)>,
}

/// How many pages of the table of pieces are kept: four are some seven thousand digests.
const TABLES: usize = 4;

impl<F> Inner<F> {
    pub(crate) fn file(&mut self, part: Part) -> &mut Option<Arc<F>> {
        match part {
            Part::Pages => &mut self.pages,
            Part::Pieces => &mut self.pieces,
        }
    }
}

impl<F> Holding<F> {
    pub(crate) fn new(spec: ContentSpec, have: Bitmap, indexed: bool, complete: bool) -> Self {
        let inner = Inner {
            have,
            complete,
            indexed,
            unsynced: 0,
            epoch: 0,
            is_forgotten: false,
            spoilt: None,
            pages: None,
            pieces: None,
            places: None,
            parents: BTreeMap::new(),
            tables: Vec::new(),
        };
        Self { shape: spec.blob.shape(), spec, lent: false, inner: Mutex::new(inner) }
    }

    /// A content that another store says that it has whole.
    pub(crate) fn lent(spec: ContentSpec) -> Self {
        Self { lent: true, ..Self::new(spec, Bitmap::full(spec.total()), true, true) }
    }

    /// Whether whoever keeps its files is somebody else, who may change them at any moment.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> ContentId {
        self.spec.id()
    }

    pub(crate) fn pages(&self) -> u32 {
        self.shape.pages()
    }

    /// Which file a piece stands in.
    pub(crate) fn part(&self, piece: PieceNo) -> Part {
        if piece.0 < self.pages() { Part::Pages } else { Part::Pieces }
    }

    /// The pieces that stand in a file.
    pub(crate) fn numbers(&self, part: Part) -> std::ops::Range<u32> {
        match part {
            Part::Pages => 0..self.pages(),
            Part::Pieces => self.pages()..self.spec.total(),
        }
    }

    /// The length of the file of all pages.
    pub(crate) fn pages_len(&self) -> u64 {
        self.shape.offset(u32::MAX)
    }

    pub(crate) fn has(&self, piece: PieceNo) -> bool {
        self.lock().have.contains(piece)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.lock().complete
    }

    /// The pieces that are not here.
    pub(crate) fn lacking(&self) -> Vec<PieceNo> {
        let inner = self.lock();
        (0..self.spec.total()).map(PieceNo).filter(|piece| !inner.have.contains(*piece)).collect()
    }

    /// A piece was written while the files were those of `epoch`; false when one was thrown away meanwhile, or all of it.
    pub(crate) fn arrived(&self, piece: PieceNo, len: u64, epoch: u64) -> bool {
        let mut inner = self.lock();
        if inner.epoch != epoch || inner.is_forgotten {
            return false;
        }
        inner.have.insert(piece);
        inner.unsynced += len;
        true
    }

    /// A piece turned out to be damaged: it is not here any more, and the content is not complete.
    pub(crate) fn lose(&self, piece: PieceNo) {
        let mut inner = self.lock();
        inner.have.remove(piece);
        inner.complete = false;
        inner.parents.remove(&piece.0);
        inner.tables.retain(|(page, _)| *page != piece.0);
    }

    /// A page of the table of pieces, if it was read lately.
    pub(crate) fn table(&self, page: u32) -> Option<Arc<Vec<u8>>> {
        let tables = &mut self.lock().tables;
        let at = tables.iter().position(|(known, _)| *known == page)?;
        tables[..=at].rotate_right(1);
        Some(tables[0].1.clone())
    }

    /// Keeps a page of it that was just read.
    pub(crate) fn keep_table(&self, page: u32, bytes: Arc<Vec<u8>>) {
        let tables = &mut self.lock().tables;
        tables.retain(|(known, _)| *known != page);
        tables.insert(0, (page, bytes));
        tables.truncate(TABLES);
    }

    /// Forgets what can be found again from the disk.
    pub(crate) fn rest(&self) {
        let mut inner = self.lock();
        (inner.pages, inner.pieces, inner.places) = (None, None, None);
        inner.parents.clear();
        inner.tables.clear();
    }
}
