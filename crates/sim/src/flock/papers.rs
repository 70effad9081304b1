//! The documents of a deploy: signed as everywhere, of contents that exist in number only.

use content::order::Wave;
use content::release::Instructions;
use content::root::Operator;
use content::{
    AppName, BlobRef, ContentSpec, Digest, FleetId, Order, PayloadKind, Release, ReleaseId, Root, Signed, SigningKey,
    UnixTime,
};

/// Bytes of the manifest for each piece and each file.
const NAMED: u64 = 36;

/// All that is signed in a flock's life, and the contents that it is about.
#[derive(Debug)]
pub(super) struct Papers {
    pub(super) fleet: FleetId,
    pub(super) root: Signed,
    pub(super) release: Signed,
    pub(super) order: Signed,
    /// What is spread: the tree, and the attributes of its files.
    pub(super) contents: [ContentSpec; 2],
}

impl Papers {
    /// The papers of a release of `bytes` bytes in pieces of `piece_bytes`.
    pub(super) fn of(bytes: u64, piece_bytes: u64) -> Self {
        let operator = SigningKey::from_secret(&[1; 32]);
        let root = root(&operator);
        let fleet = FleetId(root.payload_digest());
        let contents = contents(bytes, piece_bytes);
        let release = release(fleet, contents);
        let release = operator.sign(PayloadKind::Release, release.encode());
        let order = operator.sign(PayloadKind::Order, order(fleet, &release).encode());
        Self { fleet, root, release, order, contents }
    }

    /// Which of the contents this is.
    pub(super) fn number(&self, content: content::ContentId) -> u8 {
        u8::from(content != self.contents[0].id())
    }

    /// The length of a piece of a content.
    pub(super) fn len(&self, content: u8, piece: u32) -> u32 {
        let spec = &self.contents[usize::from(content)];
        let (shape, pages) = (spec.blob.shape(), spec.pages());
        if piece < pages {
            return shape.page_len(piece) as u32;
        }
        let whole = spec.bytes.div_ceil(u64::from(spec.pieces.max(1)));
        (spec.bytes.saturating_sub(whole * u64::from(piece - pages)).min(whole)).max(1) as u32
    }
}

fn app() -> AppName {
    AppName::new("web").expect("a plain name")
}

fn root(operator: &SigningKey) -> Signed {
    let keeper = SigningKey::from_secret(&[9; 32]);
    let root = Root {
        version: 1,
        nonce: [3; 16],
        created: UnixTime(1),
        root_keys: vec![keeper.public()],
        root_threshold: 1,
        operators: vec![Operator { name: "alice".to_owned(), key: operator.public(), powers: Default::default() }],
        operator_threshold: 1,
    };
    keeper.sign(PayloadKind::Root, root.encode())
}

fn contents(bytes: u64, piece_bytes: u64) -> [ContentSpec; 2] {
    let pieces = bytes.div_ceil(piece_bytes) as u32;
    let blob = |name: &str, len| BlobRef { root: Digest::of(name.as_bytes()), len };
    let tree = ContentSpec { blob: blob("tree", 200 + u64::from(pieces) * NAMED), pieces, bytes };
    [tree, ContentSpec { blob: blob("attributes", 200), pieces: 0, bytes: 0 }]
}

fn release(fleet: FleetId, [content, attributes]: [ContentSpec; 2]) -> Release {
    Release {
        fleet,
        app: app(),
        version: "v1".to_owned(),
        created: UnixTime(2),
        content,
        attributes: Some(attributes),
        entries: 1,
        size: content.bytes,
        instructions: Instructions::plain(b"/srv/web", 1000, 2),
    }
}

fn order(fleet: FleetId, release: &Signed) -> Order {
    Order {
        fleet,
        app: app(),
        epoch: 1,
        release: ReleaseId(release.payload_digest()),
        fallback: None,
        selector: content::Selector::default(),
        unreachable: content::order::Unreachable::Skip,
        waves: vec![Wave::PerMille(1000)],
        budget: u32::MAX,
        restraint: content::order::Restraint::default(),
        created: UnixTime(3),
        message: "a scenario".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_as_long_as_the_content() {
        let papers = Papers::of(1_000_001, 65_536);
        let spec = papers.contents[0];
        let lens = (spec.pages()..spec.total()).map(|piece| u64::from(papers.len(0, piece)));
        assert_eq!(lens.sum::<u64>(), spec.bytes);
        assert!(spec.is_plausible());
    }
}
