//! Serving what was published, from the tree itself, verified every time.

use super::{Found, LeftOut};
use crate::disk::{Disk, Name};
use crate::tree::Tree;
use crate::{PieceSource, ReadError};
use content::attributes::Attributes;
use content::{ContentId, ContentSpec, Digest, Digested, Manifest, Piece, PieceNo, blob};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many files stay open between pieces.
const OPEN: usize = 32;

/// Where the bytes of a piece stand.
#[derive(Debug, Clone)]
pub(super) enum Spot {
    /// In one file, by its entry, from an offset on.
    File { entry: u32, offset: u64 },
    /// In whole small files, one after another: their entries and lengths.
    Pack(Box<[(u32, u32)]>),
}

/// A tree that was read.
pub(super) struct Read {
    pub(super) manifest: Manifest,
    pub(super) attributes: Attributes,
    pub(super) spots: BTreeMap<Digest, Spot>,
    /// The paths of the entries.
    pub(super) paths: Vec<Box<[u8]>>,
    pub(super) notes: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
}

/// A tree that was read, and from which its pieces are served.
pub struct Source<D: Disk> {
    disk: Arc<D>,
    parent: D::Dir,
    name: Name,
    content: ContentId,
    attributes: ContentId,
    manifest_pages: Vec<Vec<u8>>,
    attribute_pages: Vec<Vec<u8>>,
    pieces: Vec<(Piece, Spot)>,
    paths: Vec<Box<[u8]>>,
    /// The files read last, the latest last.
    open: Mutex<VecDeque<(u32, Arc<D::File>)>>,
    /// The directories through which small files were read last; whoever reads has it.
    tree: Mutex<Option<Tree<D>>>,
}

pub(super) fn make<D: Disk>(disk: Arc<D>, parent: D::Dir, name: Name, read: Read) -> (Found, Source<D>) {
    let Read { manifest, attributes, mut spots, paths, notes, left_out } = read;
    let (blob, manifest_pages) = blob::build(&manifest.encode());
    let (attributes, attribute_pages) = blob::build(&attributes.encode());
    let (content, totals) = (manifest.spec(blob), manifest.totals());
    let attributes = ContentSpec { blob: attributes, pieces: 0, bytes: 0 };
    let mut spot =
        |piece: &Piece| spots.remove(&piece.digest).expect("every piece was cut from somewhere, and stands once");
    let pieces = manifest.pieces.iter().map(|piece| (*piece, spot(piece))).collect();
    let found = Found { content, attributes, entries: totals.entries, size: totals.size, notes, left_out };
    let source = Source {
        disk,
        parent,
        name,
        content: content.id(),
        attributes: attributes.id(),
        manifest_pages,
        attribute_pages,
        pieces,
        paths,
        open: Mutex::default(),
        tree: Mutex::new(None),
    };
    (found, source)
}

impl<D: Disk> Source<D> {
    /// Reads a page or a piece, and says the digest by which it was verified, so that nobody hashes it again who is in this process.
    pub fn read_digested(&self, content: ContentId, piece: PieceNo) -> Result<Digested, ReadError> {
        let page = |pages: &[Vec<u8>]| pages.get(piece.0 as usize).cloned().map(Digested::new);
        // An empty tree's two blobs could be one; pages of either are the same bytes then.
        if content == self.attributes {
            return page(&self.attribute_pages).ok_or(ReadError::Missing);
        }
        if content != self.content {
            return Err(ReadError::Missing);
        }
        match page(&self.manifest_pages) {
            Some(page) => Ok(page),
            None => self.read_piece(piece.0 as usize - self.manifest_pages.len()),
        }
    }

    fn read_piece(&self, index: usize) -> Result<Digested, ReadError> {
        let (piece, spot) = self.pieces.get(index).ok_or(ReadError::Missing)?;
        let read = match spot {
            Spot::File { entry, offset } => {
                self.file(*entry).and_then(|file| self.read_file(&file, *offset, piece.len as usize))
            }
            Spot::Pack(files) => return self.read_pack(files, piece),
        };
        verified(read, piece)
    }

    /// Reads the small files of a pack: neighbours, mostly, so directories stay open from one pack to the next. What was opened
    /// earlier may stand elsewhere by now; then it is looked up from the beginning.
    fn read_pack(&self, files: &[(u32, u32)], piece: &Piece) -> Result<Digested, ReadError> {
        let earlier = self.tree().take();
        if let Some(mut tree) = earlier
            && let Ok(found) = verified(self.read_files(&mut tree, files), piece)
        {
            *self.tree() = Some(tree);
            return Ok(found);
        }
        let mut tree = Tree::new(self.disk.clone(), self.parent.clone(), self.name.clone());
        let found = verified(self.read_files(&mut tree, files), piece);
        *self.tree() = Some(tree);
        found
    }

    fn tree(&self) -> MutexGuard<'_, Option<Tree<D>>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_files(&self, tree: &mut Tree<D>, files: &[(u32, u32)]) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; files.iter().map(|(_, len)| *len as usize).sum()];
        let mut rest = &mut bytes[..];
        for &(entry, len) in files {
            let (dir, name) = tree.place(&self.paths[entry as usize])?;
            let file = self.disk.open(&dir, &name)?;
            let (these, others) = rest.split_at_mut(len as usize);
            if self.disk.read_at(&file, these, 0)? < these.len() {
                return Err(io::ErrorKind::NotFound.into());
            }
            rest = others;
        }
        Ok(bytes)
    }

    fn read_file(&self, file: &D::File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = self.disk.read_at(file, &mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn file(&self, entry: u32) -> io::Result<Arc<D::File>> {
        let open = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = open().iter().find(|(other, _)| *other == entry) {
            return Ok(file.clone());
        }
        let mut tree = Tree::new(self.disk.clone(), self.parent.clone(), self.name.clone());
        let (dir, name) = tree.place(&self.paths[entry as usize])?;
        let file = Arc::new(self.disk.open(&dir, &name)?);
        let mut open = open();
        open.push_back((entry, file.clone()));
        if open.len() > OPEN {
            open.pop_front();
        }
        Ok(file)
    }
}

/// What was read, if it is still what was published.
fn verified(read: io::Result<Vec<u8>>, piece: &Piece) -> Result<Digested, ReadError> {
    match read.map(Digested::new) {
        Ok(found) if found.bytes().len() == piece.len as usize && found.digest() == piece.digest => Ok(found),
        Ok(_) => Err(ReadError::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReadError::Damaged),
        Err(error) => Err(ReadError::Disk(format!("reading what is published: {error}"))),
    }
}

impl<D: Disk> PieceSource for Source<D> {
    /// Reads a page or a piece. A piece whose bytes are no longer what was published is [`ReadError::Damaged`].
    fn read(&self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ReadError> {
        let found = self.read_digested(content, piece)?;
        Ok(Arc::unwrap_or_clone(found.into_bytes()))
    }
}
