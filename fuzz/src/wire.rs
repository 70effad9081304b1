//! The promise of what reads a peer's bytes: it returns, takes no more memory than what came, and what it accepts is a message
//! that comes through again as it is.

use tiding_engine::wire::{BULK_HEADER, BulkHeader, Frames, WireError, decode, encode};

/// Control frames, whole and in two parts.
pub fn frames(bytes: &[u8]) {
    let (whole, parts) = (read([bytes, &[]]), read(bytes.split_at(bytes.len() / 3).into()));
    assert_eq!(whole, parts, "it matters in which parts it arrives");
    for message in whole.0 {
        assert_eq!(decode(&encode(&message)).as_ref(), Ok(&message), "it does not come through again");
    }
}

/// The messages before the end or the first fault, and whether there was one.
fn read(parts: [&[u8]; 2]) -> (Vec<tiding_engine::door::Message>, bool) {
    let (mut frames, mut messages) = (Frames::new(), Vec::new());
    for part in parts {
        frames.push(part);
        loop {
            match frames.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// What stands before a payload.
pub fn bulk(bytes: &[u8]) {
    let Some(header) = bytes.first_chunk::<BULK_HEADER>() else { return };
    match BulkHeader::decode(header) {
        Ok(read) => assert_eq!(read.encode(), *header),
        Err(WireError::UnknownBulk(_) | WireError::PayloadTooLong(_)) => {}
        Err(other) => panic!("{other}"),
    }
}
