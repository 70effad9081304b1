//! A backup of an origin: what it takes to be that origin again on another machine. No pieces: its fleet holds those.
//!
//! ```text
//! header | when | files: (name, bytes) ... | root | journals: (name, entries: (position, fact, stamp) ...) ... | digest of all before
//! ```
//!
//! It holds the origin's private keys: whoever reads it can be that origin, which may delay a fleet and cannot choose what it runs.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, require};
use crate::fact::{Entry, JournalName, Position, Stamp};
use crate::{Digest, Fact, Signed, UnixTime};

/// What an origin needs to be itself again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// When it was made.
    pub made: UnixTime,
    /// Small files of its home, by their path in it: two plain names with a slash between them.
    pub files: Vec<(String, Vec<u8>)>,
    /// The trust root that it knows.
    pub root: Signed,
    /// Its journals, each from its first fact on.
    pub journals: Vec<(JournalName, Vec<Entry>)>,
}

impl Backup {
    /// The longest file, in bytes, and how many there may be.
    const MAX_FILE: usize = 64 << 10;
    const MAX_FILES: usize = 32;
    const MAX_JOURNALS: usize = 256;
    const MAX_FACTS: usize = 1 << 24;
    const MAX_PATH: usize = 128;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Encode::encode(self);
        bytes.extend_from_slice(Digest::of(&bytes).as_bytes());
        bytes
    }

    /// Reads canonical bytes, refusing anything else; first of all what is cut or has rotted.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let at = bytes.len().saturating_sub(32);
        let (all, digest) = bytes.split_at(at);
        require(digest == Digest::of(all).as_bytes(), Self::WHAT, "it is cut, or not what was written")?;
        Encode::decode(all)
    }
}

/// Whether a path is two plain names: it can lead nowhere else.
fn is_plain(path: &str) -> bool {
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(fits)
    };
    path.split_once('/').is_some_and(|(directory, file)| is_name(directory) && is_name(file))
}

impl Encode for Entry {
    const WHAT: &'static str = "entry of a journal";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.at).bytes(&self.fact.encode()).option(self.stamp.as_ref());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let at: Position = from.value()?;
        let fact = Fact::decode(from.bytes("a fact", 4 << 20)?)?;
        Ok(Self { at, fact, stamp: from.option::<Stamp>()? })
    }
}

impl Encode for Backup {
    const WHAT: &'static str = "backup";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Backup).value(&self.made).count(self.files.len());
        for (path, bytes) in &self.files {
            to.text(path).bytes(bytes);
        }
        to.value(&self.root).count(self.journals.len());
        for (journal, entries) in &self.journals {
            to.value(journal).list(entries.iter());
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Backup)?;
        let made = from.value()?;
        let mut files = Vec::new();
        for _ in 0..from.count("the number of files", Self::MAX_FILES, 2)? {
            let path = from.text("a path", Self::MAX_PATH)?;
            require(is_plain(&path), Self::WHAT, "a path in it leads elsewhere")?;
            files.push((path, from.bytes("a file", Self::MAX_FILE)?.to_vec()));
        }
        let root = from.value()?;
        let mut journals = Vec::new();
        for _ in 0..from.count("the number of journals", Self::MAX_JOURNALS, 2)? {
            journals.push((from.value()?, from.list("the number of facts", Self::MAX_FACTS, 4)?));
        }
        Ok(Self { made, files, root, journals })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Chain, Noted};
    use crate::{NodeId, PayloadKind, SigningKey};

    fn backup() -> Backup {
        let journal = JournalName::Fleet;
        let (at, fact) = (Position { generation: 1, index: 0 }, Fact::Revoked { node: NodeId(Digest::of(b"one")) });
        let noted = Noted { written: UnixTime(7), by: None };
        let chain = Chain::beginning(&journal).after(at, noted, &fact);
        let entries = vec![Entry { at, fact, stamp: Some(Stamp { noted, chain }) }];
        let root = SigningKey::from_secret(&[1; 32]).sign(PayloadKind::Root, b"root".to_vec());
        let files = vec![("identity/key.pem".to_owned(), b"secret".to_vec())];
        Backup { made: UnixTime(9), files, root, journals: vec![(journal, entries)] }
    }

    #[test]
    fn it_comes_back_and_any_other_bytes_do_not() {
        let bytes = backup().encode();
        assert_eq!(Backup::decode(&bytes), Ok(backup()));
        for at in 0..bytes.len() {
            assert!(Backup::decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut rotten = bytes.clone();
            rotten[at] ^= 1;
            assert!(Backup::decode(&rotten).is_err(), "byte {at}");
        }
        assert!(Backup::decode(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn f1_a_path_in_it_leads_nowhere_else() {
        for path in
            ["/etc/passwd", "../key", "identity/../key", "identity", "identity/a/b", "a/.ssh", "", "a/", "/b", "a/b\0"]
        {
            let bad = Backup { files: vec![(path.to_owned(), Vec::new())], ..backup() };
            assert!(Backup::decode(&bad.encode()).is_err(), "{path}");
        }
    }
}
