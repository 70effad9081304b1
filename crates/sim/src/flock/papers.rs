//! The documents of a deploy: signed as everywhere, of contents that exist in number only.

use content::directive::Verb;
use content::order::{Restraint, Wave};
use content::release::Instructions;
use content::root::Operator;
use content::{
    AppName, BlobRef, ContentSpec, Digest, Directive, FleetId, Order, OrderId, PayloadKind, Release, ReleaseId, Root,
    Signed, SigningKey, UnixTime,
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
    /// What is spread: the tree, and the attributes of its files; then those of later releases.
    pub(super) contents: Vec<ContentSpec>,
    /// The first release's id.
    pub(super) first: ReleaseId,
    operator: SigningKey,
}

/// What an order says besides its release.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) epoch: u64,
    pub(super) fallback: Option<ReleaseId>,
    pub(super) waves: Vec<Wave>,
    pub(super) restraint: Restraint,
    pub(super) budget: u32,
    pub(super) created: UnixTime,
    pub(super) message: String,
}

impl Papers {
    /// The papers of a release of `bytes` bytes in pieces of `piece_bytes`.
    pub(super) fn of(bytes: u64, piece_bytes: u64) -> Self {
        let operator = SigningKey::from_secret(&[1; 32]);
        let root = root(&operator);
        let fleet = FleetId(root.payload_digest());
        let contents = contents("", bytes, piece_bytes);
        let release = release(fleet, contents, "v1", UnixTime(2));
        let release = operator.sign(PayloadKind::Release, release.encode());
        let order = operator.sign(PayloadKind::Order, order(fleet, &release, first_terms()).encode());
        let first = ReleaseId(release.payload_digest());
        Self { fleet, root, release, order, contents: contents.to_vec(), first, operator }
    }

    /// A later release of as many bytes is the newest from now on.
    pub(super) fn renew(&mut self, version: &str, bytes: u64, piece_bytes: u64, created: UnixTime) {
        let contents = contents(version, bytes, piece_bytes);
        let release = release(self.fleet, contents, version, created);
        self.release = self.operator.sign(PayloadKind::Release, release.encode());
        self.contents.extend(contents);
    }

    /// The newest release's id.
    pub(super) fn newest_release(&self) -> ReleaseId {
        ReleaseId(self.release.payload_digest())
    }

    /// The newest release is ordered for all, in an order of that epoch.
    pub(super) fn order_newest(&mut self, epoch: u64, created: UnixTime) {
        let terms = Terms { epoch, created, ..first_terms() };
        self.order = self.order_for(self.newest_release(), terms);
    }

    /// An order for a release.
    pub(super) fn order_for(&self, release: ReleaseId, terms: Terms) -> Signed {
        let order = Order { release, ..order(self.fleet, &self.release, terms) };
        self.operator.sign(PayloadKind::Order, order.encode())
    }

    /// What an operator says about an order's rollout.
    pub(super) fn directive(
        &self,
        order: OrderId,
        verb: Verb,
        wave: Option<u8>,
        created: UnixTime,
        message: &str,
    ) -> Signed {
        let message = message.to_owned();
        let directive = Directive { fleet: self.fleet, app: app(), order, verb, wave, created, message };
        self.operator.sign(PayloadKind::Directive, directive.encode())
    }

    /// The contents of the newest release.
    pub(super) fn newest_contents(&self) -> &[ContentSpec] {
        &self.contents[self.contents.len() - 2..]
    }

    /// Which of the contents this is.
    pub(super) fn number(&self, content: content::ContentId) -> u8 {
        self.contents.iter().position(|spec| spec.id() == content).unwrap_or(1) as u8
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
        authorities: Vec::new(),
    };
    keeper.sign(PayloadKind::Root, root.encode())
}

fn contents(version: &str, bytes: u64, piece_bytes: u64) -> [ContentSpec; 2] {
    let pieces = bytes.div_ceil(piece_bytes) as u32;
    let blob = |name: &str, len| BlobRef { root: Digest::of(format!("{name}{version}").as_bytes()), len };
    let tree = ContentSpec { blob: blob("tree", 200 + u64::from(pieces) * NAMED), pieces, bytes };
    [tree, ContentSpec { blob: blob("attributes", 200), pieces: 0, bytes: 0 }]
}

fn release(fleet: FleetId, [content, attributes]: [ContentSpec; 2], version: &str, created: UnixTime) -> Release {
    Release {
        fleet,
        app: app(),
        version: version.to_owned(),
        created,
        content,
        attributes: Some(attributes),
        entries: 1,
        size: content.bytes,
        instructions: Instructions::plain(b"/srv/web", 1000, 2),
    }
}

/// All at once, whatever fails.
fn first_terms() -> Terms {
    Terms {
        epoch: 1,
        fallback: None,
        waves: vec![Wave::PerMille(1000)],
        restraint: Restraint::default(),
        budget: u32::MAX,
        created: UnixTime(3),
        message: "a scenario".to_owned(),
    }
}

fn order(fleet: FleetId, release: &Signed, terms: Terms) -> Order {
    let Terms { epoch, fallback, waves, restraint, budget, created, message } = terms;
    Order {
        fleet,
        app: app(),
        epoch,
        release: ReleaseId(release.payload_digest()),
        fallback,
        selector: content::Selector::default(),
        unreachable: content::order::Unreachable::Skip,
        waves,
        budget,
        restraint,
        created,
        message,
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
