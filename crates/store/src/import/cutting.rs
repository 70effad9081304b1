//! Cutting the bytes of files into pieces, and remembering where each piece stands.
//!
//! A window slides over a large file; only that much of it is in memory. Holes are not read: the piece that begins at least
//! [`MAX_PIECE`] zeros is as long as that of any other such window, so they are cut as if they had been read.

use super::source::Spot;
use crate::disk::Disk;
use content::cut::{self, MAX_PIECE, Packer, SMALL};
use content::manifest::{Builder, Pack};
use content::{Digest, Piece};
use std::collections::BTreeMap;
use std::io;

/// How much of a file is read at once, in bytes.
const WINDOW: usize = 1 << 20;

/// Everything that is known of the bytes so far.
pub(super) struct Cutting {
    pub(super) builder: Builder,
    /// Where the first of each piece stands.
    pub(super) spots: BTreeMap<Digest, Spot>,
    packer: Packer,
    pack: Option<OpenPack>,
    /// How long a piece of nothing but zeros is.
    zeros: u64,
    buffer: Vec<u8>,
}

struct OpenPack {
    pack: Pack,
    bytes: Vec<u8>,
    files: Vec<(u32, u32)>,
}

/// A file that is being read: its entry, its length, and what to call with how many bytes were read.
pub(super) struct Reading<'a, D: Disk> {
    pub(super) disk: &'a D,
    pub(super) file: &'a D::File,
    pub(super) entry: u32,
    pub(super) len: u64,
    pub(super) progress: &'a mut dyn FnMut(u64),
}

impl<D: Disk> Reading<'_, D> {
    fn read(&mut self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let read = self.disk.read_at(self.file, buffer, at)?;
        (self.progress)(read as u64);
        match read == buffer.len() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter")),
        }
    }

    /// How many zeros that need not be read begin at `at`.
    fn hole(&self, at: u64) -> io::Result<u64> {
        let data = self.disk.next_data(self.file, at)?;
        Ok(data.map_or(self.len, |data| data.start.min(self.len)).saturating_sub(at))
    }
}

impl Cutting {
    pub(super) fn new() -> Self {
        let zeros = cut::next_cut(&vec![0; MAX_PIECE]) as u64;
        let (builder, packer) = (Builder::new(), Packer::new());
        Self { builder, spots: BTreeMap::new(), packer, pack: None, zeros, buffer: Vec::new() }
    }

    /// Cuts a file whose entry was added last.
    pub(super) fn file<D: Disk>(&mut self, path: &[u8], mut reading: Reading<'_, D>) -> io::Result<()> {
        match reading.len {
            0 => Ok(()),
            len if len < SMALL as u64 => self.small(path, &mut reading),
            _ => self.large(&mut reading),
        }
    }

    fn small<D: Disk>(&mut self, path: &[u8], reading: &mut Reading<'_, D>) -> io::Result<()> {
        let mut bytes = vec![0; reading.len as usize];
        reading.read(&mut bytes, 0)?;
        if cut::is_zero(&bytes) {
            self.builder.hole(reading.len);
            return Ok(());
        }
        if self.packer.must_end_before(bytes.len()) {
            self.end_pack();
        }
        let builder = &mut self.builder;
        let open =
            self.pack.get_or_insert_with(|| OpenPack { pack: builder.open(), bytes: Vec::new(), files: Vec::new() });
        builder.part(open.pack, open.bytes.len() as u32, bytes.len() as u32);
        open.bytes.extend_from_slice(&bytes);
        open.files.push((reading.entry, bytes.len() as u32));
        if self.packer.add(path, bytes.len()) {
            self.end_pack();
        }
        Ok(())
    }

    /// Ends the open pack, if there is one.
    pub(super) fn end_pack(&mut self) {
        self.packer.begin();
        if let Some(OpenPack { pack, bytes, files }) = self.pack.take() {
            let piece = Piece { digest: Digest::of(&bytes), len: bytes.len() as u32 };
            self.builder.close(pack, piece);
            self.spots.entry(piece.digest).or_insert_with(|| Spot::Pack(files.into()));
        }
    }

    fn large<D: Disk>(&mut self, reading: &mut Reading<'_, D>) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        // The buffer holds the file's bytes from `at` on, beginning at `begin`.
        let mut begin = 0;
        buffer.clear();
        while at < reading.len {
            if buffer.len() - begin < MAX_PIECE {
                buffer.drain(..begin);
                begin = 0;
                let skipped = self.skip_hole(reading, at, &buffer)?;
                if skipped > 0 {
                    at += skipped;
                    buffer.clear();
                }
                fill(&mut buffer, reading, at)?;
            }
            let window = &buffer[begin..];
            if window.is_empty() {
                break;
            }
            let len = cut::next_cut(&window[..window.len().min(MAX_PIECE)]);
            self.piece(&window[..len], reading.entry, at);
            (begin, at) = (begin + len, at + len as u64);
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Takes pieces of zeros without reading them, as long as what is buffered is zeros too; returns their length.
    fn skip_hole<D: Disk>(&mut self, reading: &Reading<'_, D>, at: u64, buffered: &[u8]) -> io::Result<u64> {
        if !cut::is_zero(buffered) {
            return Ok(0);
        }
        let hole = buffered.len() as u64 + reading.hole(at + buffered.len() as u64)?;
        if hole < MAX_PIECE as u64 {
            return Ok(0);
        }
        // The last piece must still see MAX_PIECE zeros before it.
        let pieces = (hole - MAX_PIECE as u64) / self.zeros + 1;
        self.builder.hole(pieces * self.zeros);
        Ok(pieces * self.zeros)
    }

    fn piece(&mut self, bytes: &[u8], entry: u32, at: u64) {
        if cut::is_zero(bytes) {
            self.builder.hole(bytes.len() as u64);
            return;
        }
        let piece = Piece { digest: Digest::of(bytes), len: bytes.len() as u32 };
        self.builder.piece(piece);
        self.spots.entry(piece.digest).or_insert(Spot::File { entry, offset: at });
    }
}

/// Fills the buffer, which holds the file's bytes from `at` on, up to a window or the end of the file.
fn fill<D: Disk>(buffer: &mut Vec<u8>, reading: &mut Reading<'_, D>, at: u64) -> io::Result<()> {
    let held = buffer.len();
    let from = at + held as u64;
    let more = (reading.len - from.min(reading.len)).min((WINDOW - held) as u64) as usize;
    buffer.resize(held + more, 0);
    reading.read(&mut buffer[held..], from)
}
