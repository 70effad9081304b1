//! A manifest's canonical bytes, and back again.

use super::table::{self, Header, PIECE_LEN, WHAT};
use super::{Entry, Extent, Kind, MAX_LINK, MAX_PATH, Manifest, rules};
use crate::encoding::{Decoder, Encode, Encoder, Malformed};

/// The fewest bytes of an entry: the root's empty path, its kind and mode.
const MIN_ENTRY: usize = 3;
/// The fewest bytes of an extent: its sort and one number.
const MIN_EXTENT: usize = 2;

impl Manifest {
    /// The canonical bytes. The piece table stands at their end, so that it can be read without the entries.
    pub fn encode(&self) -> Vec<u8> {
        let mut entries = Encoder::new();
        self.entries.iter().for_each(|entry| entry.put(&mut entries));
        let entries = entries.finish();
        let header = Header {
            entries: self.entries.len() as u32,
            pieces: self.pieces.len() as u32,
            entries_len: entries.len() as u64,
        };
        let mut to = Encoder::new();
        header.put(&mut to);
        to.raw(&entries);
        self.pieces.iter().for_each(|piece| table::put_piece(&mut to, piece));
        to.finish()
    }

    /// Reads canonical bytes, refusing anything else, with memory bounded by their length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let header = Header::decode(bytes)?;
        if header.encoded_len() != bytes.len() as u64 {
            let found = bytes.len();
            return Err(Malformed::new(WHAT, format!("it has {found} bytes, and declares {}", header.encoded_len())));
        }
        let (entries, pieces) = bytes[Header::LEN..].split_at(header.entries_len as usize);
        let manifest = Self { entries: take_entries(entries, header.entries)?, pieces: take_pieces(pieces)? };
        manifest.check()?;
        Ok(manifest)
    }

    /// Refuses a manifest that no tree of ours has, or that is not in its one form; decoding asks by itself.
    pub fn check(&self) -> Result<(), Malformed> {
        rules::check(self)
    }
}

fn take_entries(bytes: &[u8], count: u32) -> Result<Vec<Entry>, Malformed> {
    let mut from = Decoder::new(WHAT, bytes);
    if bytes.len() / MIN_ENTRY < count as usize {
        return Err(from.wrong(format!("{count} entries are declared, and too few bytes follow for so many")));
    }
    let entries = (0..count).map(|_| Entry::take(&mut from)).collect::<Result<_, _>>()?;
    from.finish()?;
    Ok(entries)
}

fn take_pieces(bytes: &[u8]) -> Result<Vec<crate::Piece>, Malformed> {
    bytes.chunks(PIECE_LEN).map(table::piece_at).collect()
}

impl Encode for Entry {
    const WHAT: &'static str = "manifest entry";

    fn put(&self, to: &mut Encoder) {
        to.bytes(&self.path).value(&self.kind);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { path: from.bytes("a path", MAX_PATH)?.to_vec(), kind: from.value()? })
    }
}

impl Encode for Kind {
    const WHAT: &'static str = "kind of entry";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Directory { mode } => to.byte(1).number(*mode),
            Self::File { mode, len, extents } => to.byte(2).number(*mode).number(*len).list(extents.iter()),
            Self::Symlink { target } => to.byte(3).bytes(target),
            Self::HardLink { to: index } => to.byte(4).number(*index),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte()? {
            1 => Self::Directory { mode: take_mode(from)? },
            2 => Self::File {
                mode: take_mode(from)?,
                len: from.number()?,
                extents: from.list("the number of extents", u32::MAX as usize, MIN_EXTENT)?,
            },
            3 => Self::Symlink { target: from.bytes("a link's target", MAX_LINK)?.to_vec() },
            4 => Self::HardLink { to: from.number32("a link's entry")? },
            other => return Err(from.wrong(format!("there is no kind of entry {other}"))),
        })
    }
}

fn take_mode(from: &mut Decoder<'_>) -> Result<u16, Malformed> {
    from.within("a mode", 0..=0o777).map(|mode| mode as u16)
}

impl Encode for Extent {
    const WHAT: &'static str = "extent";

    fn put(&self, to: &mut Encoder) {
        match *self {
            Self::Pieces { first, count } => to.byte(1).number(first).number(count),
            Self::Part { piece, offset, len } => to.byte(2).number(piece).number(offset).number(len),
            Self::Hole { len } => to.byte(3).number(len),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let number = |from: &mut Decoder<'_>| from.number32("an extent's number");
        Ok(match from.byte()? {
            1 => Self::Pieces { first: number(from)?, count: number(from)? },
            2 => Self::Part { piece: number(from)?, offset: number(from)?, len: number(from)? },
            3 => Self::Hole { len: from.number()? },
            other => return Err(from.wrong(format!("there is no sort of extent {other}"))),
        })
    }
}
