//! The promise of every decoder of content: it returns, and what it accepts has exactly these bytes.

use tiding_content::attributes::Attributes;
use tiding_content::encoding::Encode;
use tiding_content::manifest::OutlineReader;
use tiding_content::{Fact, Manifest, Order, Release, Root, Signed};

fn canonical<T: Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::decode(bytes).ok()?;
    assert_eq!(value.encode(), bytes, "another encoding of the same value was accepted");
    Some(value)
}

/// A manifest, and the sums and pieces that are read from one; read at once and page by page.
pub fn manifest(bytes: &[u8]) {
    let mut reader = OutlineReader::new();
    let outline = bytes.chunks(50).try_for_each(|part| reader.feed(part)).and_then(|()| reader.finish());
    let manifest = Manifest::decode(bytes);
    assert_eq!(outline.is_ok(), manifest.is_ok(), "one way to read a manifest accepts what the other refuses");
    if let (Ok(manifest), Ok(outline)) = (manifest, outline) {
        assert_eq!((outline.totals(), &outline.entries), (manifest.totals(), &manifest.entries));
        assert_eq!(manifest.encode(), bytes, "another encoding of the same manifest was accepted");
        let totals = manifest.totals();
        assert_eq!((totals.entries as usize, totals.pieces as usize), (manifest.entries.len(), manifest.pieces.len()));
        assert!(tiding_content::manifest::can_name(bytes.len() as u64, totals.pieces));
    }
}

/// A signed document and its payload, and the same bytes as a bare payload.
pub fn signed(bytes: &[u8]) {
    if let Some(signed) = canonical::<Signed>(bytes) {
        payload(&signed.payload);
    }
    payload(bytes);
}

fn payload(bytes: &[u8]) {
    canonical::<Release>(bytes);
    canonical::<Order>(bytes);
    canonical::<Root>(bytes);
}

/// A fact, as it stands in a journal.
pub fn fact(bytes: &[u8]) {
    canonical::<Fact>(bytes);
}

/// Times and owners.
pub fn attributes(bytes: &[u8]) {
    canonical::<Attributes>(bytes);
}
