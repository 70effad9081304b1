//! What the state file holds, as keys and values: one letter and an id, and canonical bytes.
//!
//! ```text
//! R                                         the newest trust root
//! c content id                              a content that is here, whole or in part
//! a application name                        what is known of an application
//! l release id                              a signed release that is laid out
//! p journal name                            where a journal stands
//! s                                         the peers that are not to be dealt with
//! f journal name, generation, index         a fact (numbers big-endian, so that keys rise with them)
//! V                                         the version; stands there only once everything else does
//! n journal name, generation, index         what is noted beside that fact; in a table of its own, which older software does not open
//! r version                                 a trust root after the first (big-endian); in another such table
//! ```

use content::encoding::{Decoder, Encode, Encoder, Malformed};
use content::fact::{Entry, JournalName, Position, Stamp};
use content::{AppName, Bitmap, ContentId, ContentSpec, Fact, NodeId, OrderId, ReleaseId, Signed};
use engine::door::{AppRecord, SHUNNED};
use std::collections::BTreeMap;

/// One key of the state file and its new value; no value takes the key out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// A content that is here, whole or in part, as far as it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentRecord {
    pub(crate) spec: ContentSpec,
    /// Whether its pages were read as a manifest and held against the declaration.
    pub(crate) indexed: bool,
    /// The pieces that are durable; all of them when it is complete.
    pub(crate) have: Option<Bitmap>,
}

impl Encode for ContentRecord {
    const WHAT: &'static str = "record of a content";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.spec).byte(self.indexed.into()).option(self.have.as_ref());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (spec, indexed) = (from.value::<ContentSpec>()?, from.byte()?);
        let have: Option<Bitmap> = from.option()?;
        let fits = have.as_ref().is_none_or(|have| have.len() == spec.total());
        match indexed <= 1 && fits {
            true => Ok(Self { spec, indexed: indexed == 1, have }),
            false => Err(from.wrong("its flags or its pieces do not fit the content")),
        }
    }
}

/// What is known of an application, besides its releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppState {
    pub(crate) order: Option<Signed>,
    pub(crate) live: Option<ReleaseId>,
    pub(crate) confirmed: Option<ReleaseId>,
    pub(crate) intent: Option<ReleaseId>,
    /// How often the switch that is intended was begun.
    pub(crate) begun: u32,
    pub(crate) given_up: Option<GivenUp>,
}

/// An order that has failed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) order: OrderId,
    pub(crate) why: String,
}

impl Encode for GivenUp {
    const WHAT: &'static str = "record of a failure";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.order).text(&self.why);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { order: from.value()?, why: from.text("why", Self::MAX_WHY)? })
    }
}

impl GivenUp {
    pub(crate) const MAX_WHY: usize = 1024;
}

impl AppState {
    pub(crate) const NONE: Self =
        Self { order: None, live: None, confirmed: None, intent: None, begun: 0, given_up: None };

    /// The releases that must stay whatever anyone says.
    pub(crate) fn kept(&self) -> impl Iterator<Item = ReleaseId> {
        [self.live, self.confirmed, self.intent].into_iter().flatten()
    }

    pub(crate) fn record(self, app: AppName, laid_out: Vec<Signed>) -> AppRecord {
        let Self { order, live, confirmed, intent, begun, given_up } = self;
        let given_up = given_up.map(|of| (of.order, of.why));
        AppRecord { app, order, laid_out, live, confirmed, intent, begun, given_up }
    }
}

impl Encode for AppState {
    const WHAT: &'static str = "record of an application";

    fn put(&self, to: &mut Encoder) {
        to.option(self.order.as_ref()).option(self.live.as_ref());
        to.option(self.confirmed.as_ref()).option(self.intent.as_ref());
        // Only there while a switch is under way or has failed: an older program reads all others.
        if self.begun > 0 || self.given_up.is_some() {
            to.number(self.begun).option(self.given_up.as_ref());
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (order, live, confirmed) = (from.option()?, from.option()?, from.option()?);
        let plain = Self { order, live, confirmed, intent: from.option()?, ..Self::NONE };
        if from.remaining() == 0 {
            return Ok(plain);
        }
        let full = Self { begun: from.number32("the tries")?, given_up: from.option()?, ..plain };
        match full.begun > 0 || full.given_up.is_some() {
            true => Ok(full),
            false => Err(from.wrong("it says twice that nothing is under way")),
        }
    }
}

/// Everything that the state file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) root: Option<Signed>,
    /// The roots after the first, in their order.
    pub(crate) roots: Vec<Signed>,
    pub(crate) contents: Vec<ContentRecord>,
    pub(crate) apps: BTreeMap<AppName, AppState>,
    pub(crate) releases: BTreeMap<ReleaseId, Signed>,
    pub(crate) positions: BTreeMap<JournalName, Position>,
    pub(crate) facts: Vec<(JournalName, Position, Fact)>,
    pub(crate) stamps: BTreeMap<(JournalName, Position), Stamp>,
    pub(crate) shunned: Vec<NodeId>,
}

const WHAT: &str = "key of the state file";
/// The letter of what is noted beside facts.
pub(crate) const STAMP: u8 = b'n';
/// The letter of the trust roots after the first.
pub(crate) const ROOT: u8 = b'r';

impl Records {
    /// Takes in one key and its value.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let (&letter, id) = key.split_first().ok_or_else(|| Malformed::new(WHAT, "it is empty"))?;
        match letter {
            b'R' => self.root = Some(Signed::decode(value)?),
            b'c' => self.contents.push(ContentRecord::decode(value)?),
            b'a' => {
                self.apps.insert(AppName::decode(id)?, AppState::decode(value)?);
            }
            b'l' => {
                let release = Signed::decode(value)?;
                self.releases.insert(ReleaseId(release.payload_digest()), release);
            }
            b'p' => {
                self.positions.insert(JournalName::decode(id)?, Position::decode(value)?);
            }
            b'f' => {
                let (journal, position) = fact_key(id)?;
                self.facts.push((journal, position, Fact::decode(value)?));
            }
            STAMP => {
                self.stamps.insert(fact_key(id)?, Stamp::decode(value)?);
            }
            ROOT => self.roots.push(Signed::decode(value)?),
            b's' => self.shunned = shunned(value)?,
            b'V' => {}
            other => return Err(Malformed::new(WHAT, format!("there is no sort of record {other}"))),
        }
        Ok(())
    }

    /// Forgets the facts at or beyond where their journal stands: nobody was told that they were appended. Returns the
    /// changes that forget them on disk.
    pub(crate) fn forget_ghosts(&mut self) -> Vec<Change> {
        let stands = |journal: &JournalName| self.positions.get(journal).map_or((0, 0), |at| (at.generation, at.index));
        let is_ghost = |(journal, at, _): &(JournalName, Position, Fact)| (at.generation, at.index) >= stands(journal);
        let (ghosts, facts) = std::mem::take(&mut self.facts).into_iter().partition(is_ghost);
        self.facts = facts;
        let ghosts: Vec<(JournalName, Position, Fact)> = ghosts;
        let gone = |(journal, at, _): &(JournalName, Position, Fact)| {
            self.stamps.remove(&(journal.clone(), *at));
            [Change::no_fact(journal, *at), Change::no_stamp(journal, *at)]
        };
        ghosts.iter().flat_map(gone).collect()
    }
}

/// An entry of a journal, from its key, the fact and what is noted beside it.
pub(crate) fn entry(key: &[u8], fact: &[u8], stamp: Option<&[u8]>) -> Result<Entry, Malformed> {
    let (_, at) = fact_key(key.get(1..).unwrap_or_default())?;
    Ok(Entry { at, fact: Fact::decode(fact)?, stamp: stamp.map(Stamp::decode).transpose()? })
}

fn fact_key(id: &[u8]) -> Result<(JournalName, Position), Malformed> {
    let mut from = Decoder::new(WHAT, id);
    let journal = from.value()?;
    let position = Position { generation: u64::from_be_bytes(from.array()?), index: u64::from_be_bytes(from.array()?) };
    from.finish()?;
    Ok((journal, position))
}

fn shunned(value: &[u8]) -> Result<Vec<NodeId>, Malformed> {
    let mut from = Decoder::new("record of shunned peers", value);
    let peers = from.list("the peers", SHUNNED, 32)?;
    from.finish()?;
    Ok(peers)
}

impl Change {
    /// The key that says that the state is whole, and in which version.
    pub(crate) fn ready() -> Self {
        Self { key: b"V".to_vec(), value: Some(b"1".to_vec()) }
    }

    pub(crate) fn root(root: &Signed) -> Self {
        Self { key: b"R".to_vec(), value: Some(root.encode()) }
    }

    /// A root that stays when later ones come.
    pub(crate) fn rooted(version: u64, root: &Signed) -> Self {
        let mut key = vec![ROOT];
        key.extend_from_slice(&version.to_be_bytes());
        Self { key, value: Some(root.encode()) }
    }

    pub(crate) fn content(record: &ContentRecord) -> Self {
        Self { key: key(b'c', &record.spec.id()), value: Some(record.encode()) }
    }

    pub(crate) fn no_content(id: ContentId) -> Self {
        Self { key: key(b'c', &id), value: None }
    }

    pub(crate) fn app(app: &AppName, state: &AppState) -> Self {
        Self { key: key(b'a', app), value: Some(state.encode()) }
    }

    pub(crate) fn release(release: &Signed) -> Self {
        Self { key: key(b'l', &ReleaseId(release.payload_digest())), value: Some(release.encode()) }
    }

    pub(crate) fn no_release(id: ReleaseId) -> Self {
        Self { key: key(b'l', &id), value: None }
    }

    pub(crate) fn position(journal: &JournalName, position: Position) -> Self {
        Self { key: key(b'p', journal), value: Some(position.encode()) }
    }

    pub(crate) fn fact(journal: &JournalName, at: Position, fact: &Fact) -> Self {
        Self { value: Some(fact.encode()), ..Self::no_fact(journal, at) }
    }

    pub(crate) fn stamp(journal: &JournalName, at: Position, stamp: &Stamp) -> Self {
        Self { value: Some(stamp.encode()), ..Self::no_stamp(journal, at) }
    }

    pub(crate) fn no_stamp(journal: &JournalName, at: Position) -> Self {
        Self { key: placed(STAMP, journal, at), value: None }
    }

    pub(crate) fn shunned(peers: &[NodeId]) -> Self {
        let mut value = Encoder::new();
        value.list(peers.iter());
        Self { key: b"s".to_vec(), value: Some(value.finish()) }
    }

    pub(crate) fn no_fact(journal: &JournalName, at: Position) -> Self {
        Self { key: placed(b'f', journal, at), value: None }
    }
}

/// The key of a fact, and of what is noted beside it.
pub(crate) fn placed(letter: u8, journal: &JournalName, at: Position) -> Vec<u8> {
    let mut key = key(letter, journal);
    key.extend_from_slice(&at.generation.to_be_bytes());
    key.extend_from_slice(&at.index.to_be_bytes());
    key
}

fn key(letter: u8, id: &impl Encode) -> Vec<u8> {
    let mut to = Encoder::new();
    to.byte(letter).value(id);
    to.finish()
}
