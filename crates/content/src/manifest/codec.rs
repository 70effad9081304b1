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

pub(super) fn take_entries(bytes: &[u8], count: u32) -> Result<Vec<Entry>, Malformed> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Piece};

    fn manifest() -> Manifest {
        let piece = |n: u8| Piece { digest: Digest::of(&[n]), len: 100 + u32::from(n) };
        let extents = vec![Extent::Pieces { first: 0, count: 3 }];
        let file = Kind::File { mode: 0o600, len: 303, extents };
        Manifest { entries: vec![Entry { path: Vec::new(), kind: file }], pieces: (0..3).map(piece).collect() }
    }

    #[test]
    fn pieces_are_read_without_the_entries() {
        let (manifest, bytes) = (manifest(), manifest().encode());
        let header = Header::decode(&bytes[..Header::LEN]).expect("a header");
        assert_eq!((header.entries, header.pieces), (1, 3));
        assert_eq!(header.encoded_len(), bytes.len() as u64);
        for (index, piece) in manifest.pieces.iter().enumerate() {
            let at = header.piece_offset(index as u32) as usize;
            assert_eq!(table::piece_at(&bytes[at..at + PIECE_LEN]).as_ref(), Ok(piece));
        }
    }

    #[test]
    fn c3_what_the_header_declares_is_compared_with_what_is_there() {
        let refused = |why: &str, at: usize, declared: &[u8]| {
            let mut bytes = manifest().encode();
            bytes[at..at + declared.len()].copy_from_slice(declared);
            let error = Manifest::decode(&bytes).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("declares more than", 5, &u32::MAX.to_le_bytes());
        refused("too few bytes follow", 5, &(1u32 << 24).to_le_bytes());
        refused("bytes follow its end", 5, &0u32.to_le_bytes());
        refused("declares more than", 9, &u32::MAX.to_le_bytes());
        refused("and declares", 9, &(1u32 << 30).to_le_bytes());
        refused("and declares", 9, &2u32.to_le_bytes());
        refused("declares more than", 13, &u64::MAX.to_le_bytes());
        refused("and declares", 13, &(1u64 << 30).to_le_bytes());
        refused("it ends too early", 5, &2u32.to_le_bytes());
    }

    #[test]
    fn c4_a_manifest_of_another_version_is_refused_by_name() {
        let mut bytes = manifest().encode();
        bytes[4] = 2;
        let error = Manifest::decode(&bytes).expect_err("version 2").to_string();
        assert_eq!(
            error,
            "malformed manifest: it is in encoding version 2, and this program reads version 1; a newer program may read it"
        );
    }
}
