//! Reading the files that a walk has seen, some at a time: whoever has hands free reads, cuts and hashes; the results are
//! taken in path order, so what is published does not depend on who was faster.
//!
//! Memory is bounded by one batch of small files, and by one window of a file for each hand.

use super::ImportError;
use super::cutter::{Block, Cut, Cutter, Reading};
use super::cutting::{Chunk, Cutting};
use super::judge::shown;
use super::walk::{Seen, Sort, failed, unchanged, vanished};
use crate::disk::{Disk, Meta, Name};
use crate::hands::{Hands, each};
use crate::tree::Tree;
use content::cut::{Grain, is_zero};
use content::{Digest, Piece};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// How much of a file is read at once, in bytes; files that are longer are read one at a time.
const WINDOW: usize = 1 << 20;
/// The same where hashing one window goes on while the next is read: a round should be much longer than it takes to begin it.
const WIDE_WINDOW: usize = 4 << 20;
/// How many entries, and bytes of files, are read in one round.
const BATCH: (usize, u64) = (1024, 8 << 20);
/// How many neighbours one hand reads before it asks for more.
const NEIGHBOURS: usize = 32;
/// How many pieces one hand hashes before it asks for more.
const PIECES: usize = 8;

/// The files of a tree, being read.
pub(super) struct Reader<'a, D: Disk> {
    pub(super) disk: &'a Arc<D>,
    pub(super) parent: &'a D::Dir,
    pub(super) name: &'a Name,
    pub(super) hands: &'a dyn Hands,
    /// How fine the files are cut.
    pub(super) grain: Grain,
    /// Called with the bytes read so far.
    pub(super) progress: &'a mut dyn FnMut(u64),
    /// That many.
    pub(super) read: u64,
}

/// What was found in a file.
pub(super) struct Looked {
    /// The names of its attributes.
    pub(super) attributes: Vec<Vec<u8>>,
    pub(super) bytes: Bytes,
}

/// The bytes of a file, as far as they are needed.
pub(super) enum Bytes {
    /// It is empty, or was only looked at.
    None,
    /// A small file.
    Small(Vec<u8>),
    /// A file that was cut, and its length.
    Cut(Vec<Chunk>),
    /// It may not be read by us.
    Denied,
}

impl<D: Disk> Reader<'_, D> {
    /// The end of the batch that begins at `begin`: a long file is a batch of its own.
    pub(super) fn batch(&self, seen: &[Seen], begin: usize) -> Range<usize> {
        let (entries, bytes) = BATCH;
        let (mut end, mut sum) = (begin, 0);
        while end < seen.len() && end - begin < entries && sum < bytes {
            let len = seen[end].len();
            if len > WINDOW as u64 && end > begin {
                break;
            }
            (end, sum) = (end + 1, sum + len);
        }
        begin..end
    }

    /// Looks into the files of a batch, by as many hands as there are; with `bytes`, reads them too.
    pub(super) fn look(&mut self, batch: &[Seen], bytes: bool) -> Result<Vec<Looked>, ImportError> {
        let parts: Vec<&[Seen]> = batch.chunks(NEIGHBOURS).collect();
        let grain = self.grain;
        let looked = each(self.hands, parts.len(), |part| {
            let mut tree = Tree::new(self.disk.clone(), self.parent.clone(), self.name.clone());
            parts[part]
                .iter()
                .map(|seen| look(&**self.disk, &mut tree, seen, bytes.then_some(grain)))
                .collect::<Vec<_>>()
        });
        let looked = looked.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
        self.tell(if bytes { batch.iter().map(Seen::len).filter(|len| *len <= WINDOW as u64).sum() } else { 0 });
        Ok(looked)
    }

    fn tell(&mut self, more: u64) {
        if more > 0 {
            self.read += more;
            (self.progress)(self.read);
        }
    }

    /// Cuts a long file: its next window is read and cut while the last one is hashed.
    pub(super) fn long(&mut self, seen: &Seen, entry: u32, cutting: &mut Cutting) -> Result<(), ImportError> {
        if seen.len() <= WINDOW as u64 {
            return Ok(());
        }
        let mut tree = Tree::new(self.disk.clone(), self.parent.clone(), self.name.clone());
        let (dir, name) = tree.place(&seen.path).map_err(vanished(&seen.path))?;
        let (file, meta) = self.disk.open_and_look(&dir, &name).map_err(vanished(&seen.path))?;
        same(seen, &meta)?;
        let disk = self.disk.clone();
        let reading = Reading { disk: &*disk, file: &file, len: meta.len };
        self.windows(&reading, entry, cutting).map_err(unread(&seen.path))?;
        same(seen, &disk.file_metadata(&file).map_err(failed(&seen.path))?)
    }

    fn windows(&mut self, reading: &Reading<'_, D>, entry: u32, cutting: &mut Cutting) -> io::Result<()> {
        let window = if self.hands.count() > 1 { WIDE_WINDOW } else { WINDOW };
        let mut cutter = Cutter::new(self.grain, window);
        let mut block = cutter.next(reading, Vec::new())?;
        let mut room = Vec::new();
        loop {
            self.tell(block.read);
            let (chunks, next) = hash_and_go_on(self.hands, reading, &mut cutter, &block, room);
            cutting.chunks(entry, &chunks);
            match next {
                None => return Ok(()),
                Some(next) => room = std::mem::replace(&mut block, next?).bytes,
            }
        }
    }
}

/// Hashes the pieces of a block while the next one, if there is one, is read and cut.
fn hash_and_go_on<D: Disk>(
    hands: &dyn Hands,
    reading: &Reading<'_, D>,
    cutter: &mut Cutter,
    block: &Block,
    room: Vec<u8>,
) -> (Vec<Chunk>, Option<io::Result<Block>>) {
    let groups: Vec<&[Cut]> = block.cuts.chunks(PIECES).collect();
    let ahead = Mutex::new((!block.is_last).then_some((cutter, room)));
    let next = Mutex::new(None);
    let hashed = each(hands, groups.len() + 1, |job| {
        let Some(group) = job.checked_sub(1) else {
            let ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
            let found = ahead.map(|(cutter, room)| cutter.next(reading, room));
            *next.lock().unwrap_or_else(PoisonError::into_inner) = found;
            return Vec::new();
        };
        groups[group].iter().map(|cut| hash(cut, &block.bytes)).collect()
    });
    (hashed.concat(), next.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn hash(cut: &Cut, bytes: &[u8]) -> Chunk {
    match cut {
        Cut::Hole(len) => Chunk::Hole(*len),
        Cut::Piece(at, range) => {
            Chunk::Piece(*at, Piece { digest: Digest::of(&bytes[range.clone()]), len: range.len() as u32 })
        }
    }
}

/// Opens a file, names its attributes and reads it if it is told how to cut it, unless it is a long one.
fn look<D: Disk>(disk: &D, tree: &mut Tree<D>, seen: &Seen, grain: Option<Grain>) -> Result<Looked, ImportError> {
    let path = &seen.path;
    if !matches!(seen.sort, Sort::File) {
        return Ok(Looked { attributes: Vec::new(), bytes: Bytes::None });
    }
    let (dir, name) = tree.place(path).map_err(vanished(path))?;
    let (file, meta) = match disk.open_and_look(&dir, &name) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Looked { attributes: Vec::new(), bytes: Bytes::Denied });
        }
        Err(error) => return Err(vanished(path)(error)),
    };
    same(seen, &meta)?;
    let attributes = disk.attribute_names_of(&file).map_err(failed(path))?;
    let reading = Reading { disk, file: &file, len: meta.len };
    let bytes = match (meta.len, grain) {
        (0, _) | (_, None) => Bytes::None,
        (len, _) if len > WINDOW as u64 => Bytes::None,
        (len, Some(grain)) if grain.packs(len) => small(&reading).map_err(unread(path))?,
        (_, Some(grain)) => Bytes::Cut(cut(grain, &reading).map_err(unread(path))?),
    };
    Ok(Looked { attributes, bytes })
}

fn small<D: Disk>(reading: &Reading<'_, D>) -> io::Result<Bytes> {
    let mut bytes = vec![0; reading.len as usize];
    reading.read(&mut bytes, 0)?;
    Ok(if is_zero(&bytes) { Bytes::Cut(vec![Chunk::Hole(reading.len)]) } else { Bytes::Small(bytes) })
}

fn cut<D: Disk>(grain: Grain, reading: &Reading<'_, D>) -> io::Result<Vec<Chunk>> {
    let mut cutter = Cutter::new(grain, reading.len.min(WINDOW as u64) as usize);
    let (mut chunks, mut room) = (Vec::new(), Vec::new());
    loop {
        let block = cutter.next(reading, room)?;
        chunks.extend(block.cuts.iter().map(|cut| hash(cut, &block.bytes)));
        if block.is_last {
            return Ok(chunks);
        }
        room = block.bytes;
    }
}

/// Whether what is open is what was seen; the look at the whole tree that follows tells what changes from now on.
fn same(seen: &Seen, found: &Meta) -> Result<(), ImportError> {
    if unchanged(&seen.meta, found) { Ok(()) } else { Err(ImportError::Changed(shown(&seen.path))) }
}

fn unread(path: &[u8]) -> impl FnOnce(io::Error) -> ImportError + '_ {
    move |error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ImportError::Changed(shown(path)),
        _ => failed(path)(error),
    }
}
