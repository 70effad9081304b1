//! Messages to bytes and back: the only module that knows them.
//!
//! A control frame is its length (4 bytes, little-endian, of what follows), a kind byte and the fields in the canonical
//! encoding of `content`. A bulk frame is a header of [`BULK_HEADER`] bytes and the payload:
//!
//! ```text
//! control   len u32 | kind u8 | fields ...                        len <= MAX_CONTROL
//! bulk      1 u8 | content 32 bytes | piece u32 | len u32 | payload    len <= MAX_PAYLOAD
//! ```
//!
//! Reading never panics and never takes memory beyond a small multiple of what has arrived.

use crate::door::{
    Allotment, AppStatus, Effort, Gate, Hello, Introduction, MAX_OFFERS, MAX_REVOKED, MAX_ROOTS, MAX_STEPS, Message,
    Phase, Refusal, STRIPES, Share, Step, Stripe, Submitted, Timeline, VerifyReport, Wish,
};
use content::cut::MAX_PIECE;
use content::encoding::{Decoder, Encode, Encoder, Malformed};
use content::{AppName, Bitmap, ContentId, Digest, PieceNo};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The oldest and the newest version of the protocol that this program speaks.
pub const PROTOCOL: (u16, u16) = (1, 9);
/// The version that brought limits: whoever speaks an older one is sent no `Limit`, `Sends` or `Lags`, which it could not read.
pub const LIMITS: u16 = 2;
/// The version that brought paces: whoever speaks an older one is sent no `Pace`.
pub const PACES: u16 = 3;
/// The version that brought facts which agents pass on: whoever speaks an older one is sent no `Pass`, and hears all from its origin.
pub const FACTS: u16 = 4;
/// The version that brought trust roots after the first: whoever speaks an older one is sent no `Roots`, and once a second root is in
/// force no `Announce`, `Command` or `Pass` either: it could not judge them.
pub const ROOTS: u16 = 5;
/// The version that brought revocation among agents: whoever speaks an older one is sent no `Revoked`.
pub const REVOKED: u16 = 6;
/// The version that brought repairs: whoever speaks an older one is sent no `Repair`, and is said to be too old for one.
pub const REPAIRS: u16 = 6;
/// The version whose agents read orders that restrain their rollout (encoding version 3): none is taken while one that it selects speaks
/// an older one.
pub const RESTRAINTS: u16 = 6;
/// The version whose agents read releases of encoding version 4: that take a directory's place, have one owner, a command for starting
/// machines, or say which agents are too old for them.
pub const ADOPTIONS: u16 = 6;
/// The version in which agents say which trust root they follow: whoever speaks an older one is told all roots after the first, and is
/// asked for none.
pub const FOLLOWS: u16 = 6;
/// The version that brought patches: whoever speaks an older one is sent no `Reads`, `Offers` or `Wishes`, and gets pieces.
pub const PATCHES: u16 = 7;
/// The version that brought patches in a row: whoever speaks an older one is sent no `Steps`, and takes a patch of what it has or pieces.
pub const STEPS: u16 = 8;
/// The version whose origins take `Offers` from whoever brings a release: an older one is sent none by a publisher, and fetches pieces.
pub const BRINGS: u16 = 9;
/// The longest pace that an agent believes.
const MAX_PACE: Duration = Duration::from_secs(60);
/// The longest control frame behind its length, in bytes.
pub const MAX_CONTROL: usize = 4 << 20;
/// The longest payload of a bulk frame, in bytes.
pub const MAX_PAYLOAD: usize = MAX_PIECE;
/// Bytes of a bulk frame before its payload.
pub const BULK_HEADER: usize = 41;

const LENGTH: usize = 4;
const PIECE: u8 = 1;
const MAX_TEXT: usize = 4096;
const MAX_LIST: usize = 1 << 20;
/// To how many a node passes a stripe on at most.
const MAX_CHILDREN: usize = 16;

/// Why bytes are no message. The connection they came on is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A frame says that it is longer than any may be.
    #[error("a frame of {len} bytes is announced, and {MAX_CONTROL} are the most")]
    TooLong {
        /// The length that was announced.
        len: usize,
    },
    /// A frame of no bytes has no kind.
    #[error("a frame is empty")]
    Empty,
    /// There is no message of this kind.
    #[error("there is no message of kind {0}")]
    UnknownKind(u8),
    /// The fields are not what the kind says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Bytes follow the frame, or it is cut.
    #[error("a frame of {announced} bytes came as {came}")]
    WrongLength {
        /// The length that was announced.
        announced: usize,
        /// The bytes that came.
        came: usize,
    },
    /// A bulk header that announces something else than a piece.
    #[error("there is no bulk frame of kind {0}")]
    UnknownBulk(u8),
    /// A payload that is longer than any piece may be.
    #[error("a payload of {0} bytes is announced, and no piece is that long")]
    PayloadTooLong(u32),
}

/// The version of the protocol that brought a message. Nobody sends one to a peer that speaks an older one.
pub fn since(message: &Message) -> u16 {
    match message {
        Message::Limit(_) | Message::Sends { .. } | Message::Lags { .. } => LIMITS,
        Message::Pace { .. } => PACES,
        Message::Pass { .. } => FACTS,
        Message::Roots { .. } => ROOTS,
        Message::Revoked { .. } => REVOKED,
        Message::Repair { .. } => REPAIRS,
        Message::Follows { .. } => FOLLOWS,
        Message::Reads { .. } | Message::Offers { .. } | Message::Wishes { .. } => PATCHES,
        Message::Steps { .. } => STEPS,
        _ => PROTOCOL.0,
    }
}

/// The whole frame of a message.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut to = Encoder::new();
    put_message(&mut to, message);
    let body = to.finish();
    let mut frame = Vec::with_capacity(LENGTH + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// The message of one whole frame.
pub fn decode(frame: &[u8]) -> Result<Message, WireError> {
    let mut frames = Frames::new();
    frames.push(frame);
    let message = frames.next()?;
    let wrong = WireError::WrongLength { announced: frames.announced().unwrap_or(0), came: frame.len() };
    match (message, frames.waiting()) {
        (Some(message), 0) => Ok(message),
        _ => Err(wrong),
    }
}

/// Takes bytes as they arrive, in parts of any size, and gives messages.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    read: usize,
}

impl Frames {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 && self.read >= self.bytes.len() / 2 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, once all of it is here. After an error the connection is to be closed.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have to end, and this one goes on")]
    pub fn next(&mut self) -> Result<Option<Message>, WireError> {
        let Some(len) = self.announced() else { return Ok(None) };
        if len > MAX_CONTROL {
            return Err(WireError::TooLong { len });
        }
        let Some(body) = self.bytes[self.read + LENGTH..].get(..len) else { return Ok(None) };
        let message = decode_body(body)?;
        self.read += LENGTH + len;
        Ok(Some(message))
    }

    /// Bytes that arrived and are not yet part of a message.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.read
    }

    fn announced(&self) -> Option<usize> {
        let length: &[u8; LENGTH] = self.bytes.get(self.read..)?.first_chunk()?;
        Some(u32::from_le_bytes(*length) as usize)
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkHeader {
    /// Of which content.
    pub content: ContentId,
    /// Which piece.
    pub piece: PieceNo,
    /// The payload's length in bytes.
    pub len: u32,
}

impl BulkHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; BULK_HEADER] {
        let mut bytes = [PIECE; BULK_HEADER];
        bytes[1..33].copy_from_slice(self.content.0.as_bytes());
        bytes[33..37].copy_from_slice(&self.piece.0.to_le_bytes());
        bytes[37..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// Reads it; a payload that is too long is refused before anyone takes memory for it.
    pub fn decode(bytes: &[u8; BULK_HEADER]) -> Result<Self, WireError> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[1..33]);
        let (piece, len) = (PieceNo(number(33)), number(37));
        match (bytes[0], len as usize > MAX_PAYLOAD) {
            (PIECE, false) => Ok(Self { content: ContentId(Digest::from_bytes(digest)), piece, len }),
            (PIECE, true) => Err(WireError::PayloadTooLong(len)),
            (kind, _) => Err(WireError::UnknownBulk(kind)),
        }
    }
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const INTRODUCE: u8 = 2;
    pub(super) const ANNOUNCE: u8 = 3;
    pub(super) const COMMAND: u8 = 4;
    pub(super) const HEAD: u8 = 5;
    pub(super) const VERIFY: u8 = 6;
    pub(super) const VERIFIED: u8 = 7;
    pub(super) const STATUS: u8 = 8;
    pub(super) const SUBMIT: u8 = 9;
    pub(super) const VERDICT: u8 = 10;
    pub(super) const HOLDING: u8 = 11;
    pub(super) const HAVE: u8 = 12;
    pub(super) const WANT: u8 = 13;
    pub(super) const CANCEL: u8 = 14;
    pub(super) const CANNOT: u8 = 15;
    pub(super) const LEAVE: u8 = 16;
    pub(super) const PING: u8 = 17;
    pub(super) const PONG: u8 = 18;
    pub(super) const RELAY: u8 = 19;
    pub(super) const LIMIT: u8 = 20;
    pub(super) const SENDS: u8 = 21;
    pub(super) const LAGS: u8 = 22;
    pub(super) const PACE: u8 = 23;
    pub(super) const PASS: u8 = 24;
    pub(super) const ROOTS: u8 = 25;
    pub(super) const REVOKED: u8 = 26;
    pub(super) const REPAIR: u8 = 27;
    pub(super) const FOLLOWS: u8 = 28;
    pub(super) const READS: u8 = 29;
    pub(super) const OFFERS: u8 = 30;
    pub(super) const WISHES: u8 = 31;
    pub(super) const STEPS: u8 = 32;
}

fn put_message(to: &mut Encoder, message: &Message) {
    match message {
        Message::Hello(hello) => to.byte(kind::HELLO).value(&**hello),
        Message::Introduce { peers } => to.byte(kind::INTRODUCE).list(peers.iter()),
        Message::Relay { stripes } => to.byte(kind::RELAY).list(stripes.iter()),
        Message::Announce { release } => to.byte(kind::ANNOUNCE).value(release),
        Message::Pass { release, order } => to.byte(kind::PASS).value(release).value(order),
        Message::Roots { roots } => to.byte(kind::ROOTS).list(roots.iter()),
        Message::Revoked { nodes } => to.byte(kind::REVOKED).list(nodes.iter()),
        Message::Follows { root } => to.byte(kind::FOLLOWS).number(*root),
        Message::Reads { formats } => {
            to.byte(kind::READS).count(formats.len());
            formats.iter().fold(to, |to, format| to.byte(*format))
        }
        Message::Offers { target, offers, is_awaited } => {
            to.byte(kind::OFFERS).value(target).list(offers.iter()).byte((*is_awaited).into())
        }
        Message::Steps { target, steps } => to.byte(kind::STEPS).value(target).list(steps.iter()),
        Message::Wishes { order, wish } => to.byte(kind::WISHES).value(order).value(wish),
        Message::Command { order, gate } => to.byte(kind::COMMAND).value(order).value(gate),
        Message::Head { position, time } => to.byte(kind::HEAD).value(position).value(time),
        Message::Verify { request, app } => to.byte(kind::VERIFY).number(*request).value(app),
        Message::Repair { request, app } => to.byte(kind::REPAIR).number(*request).value(app),
        Message::Verified { request, outcome } => to.byte(kind::VERIFIED).number(*request).value(&Outcome(outcome)),
        Message::Status(status) => to.byte(kind::STATUS).value(&**status),
        Message::Limit(allotment) => to.byte(kind::LIMIT).value(allotment),
        Message::Sends { is_active, own } => to.byte(kind::SENDS).byte((*is_active).into()).option(own.as_ref()),
        Message::Submit { release, order } => to.byte(kind::SUBMIT).value(release).value(order),
        Message::Verdict { order, outcome } => {
            to.byte(kind::VERDICT).value(order);
            match outcome {
                Ok(submitted) => to.byte(1).value(submitted),
                Err(refusal) => to.byte(0).value(refusal),
            }
        }
        Message::Holding { content, have, wants } => {
            to.byte(kind::HOLDING).value(content).option(have.as_ref()).byte((*wants).into())
        }
        Message::Have { content, pieces } => put_pieces(to.byte(kind::HAVE).value(content), pieces),
        Message::Want { content, pieces } => put_pieces(to.byte(kind::WANT).value(content), pieces),
        Message::Cancel { content, piece } => to.byte(kind::CANCEL).value(content).number(piece.0),
        Message::Cannot { content, piece } => to.byte(kind::CANNOT).value(content).number(piece.0),
        Message::Lags { content, stripe } => to.byte(kind::LAGS).value(content).byte(*stripe),
        Message::Pace { news } => to.byte(kind::PACE).number(news.min(&MAX_PACE).as_millis() as u64),
        Message::Leave { content } => to.byte(kind::LEAVE).value(content),
        Message::Ping => to.byte(kind::PING),
        Message::Pong => to.byte(kind::PONG),
    };
}

fn put_pieces<'a>(to: &'a mut Encoder, pieces: &[PieceNo]) -> &'a mut Encoder {
    to.count(pieces.len());
    pieces.iter().fold(to, |to, piece| to.number(piece.0))
}

fn decode_body(body: &[u8]) -> Result<Message, WireError> {
    let (&sort, fields) = body.split_first().ok_or(WireError::Empty)?;
    let from = &mut Decoder::new("message", fields);
    let message = match sort {
        kind::HELLO => Message::Hello(Box::new(from.value()?)),
        kind::INTRODUCE => Message::Introduce { peers: from.list("the number of peers", MAX_LIST, 38)? },
        kind::RELAY => Message::Relay { stripes: take_stripes(from)? },
        kind::ANNOUNCE => Message::Announce { release: from.value()? },
        kind::PASS => Message::Pass { release: from.value()?, order: from.value()? },
        // A signed document has a header, its kind and two lengths at least.
        kind::ROOTS => Message::Roots { roots: from.list("the number of trust roots", MAX_ROOTS, 8)? },
        kind::REVOKED => Message::Revoked { nodes: from.list("the number of revoked members", MAX_REVOKED, 32)? },
        kind::FOLLOWS => Message::Follows { root: from.number()? },
        kind::READS => Message::Reads { formats: take_formats(from)? },
        kind::OFFERS => Message::Offers {
            target: from.value()?,
            // Two digests, a content of a digest and three numbers, and a format.
            offers: from.list("the number of offers", MAX_OFFERS, 100)?,
            is_awaited: take_flag(from)?,
        },
        kind::STEPS => Message::Steps {
            target: from.value()?,
            // A signed document of a header, its kind and two lengths at least, and an offer.
            steps: from.list("the number of steps", MAX_STEPS, 108)?,
        },
        kind::WISHES => Message::Wishes { order: from.value()?, wish: from.value()? },
        kind::COMMAND => Message::Command { order: from.value()?, gate: from.value()? },
        kind::HEAD => Message::Head { position: from.value()?, time: from.value()? },
        kind::VERIFY => Message::Verify { request: from.number()?, app: from.value()? },
        kind::REPAIR => Message::Repair { request: from.number()?, app: from.value()? },
        kind::VERIFIED => Message::Verified { request: from.number()?, outcome: take_outcome(from)? },
        kind::STATUS => Message::Status(Box::new(from.value()?)),
        kind::LIMIT => Message::Limit(from.value()?),
        kind::SENDS => Message::Sends { is_active: take_flag(from)?, own: from.option()? },
        kind::SUBMIT => Message::Submit { release: from.value()?, order: from.value()? },
        kind::VERDICT => Message::Verdict { order: from.value()?, outcome: take_verdict(from)? },
        kind::HOLDING => {
            Message::Holding { content: from.value()?, have: from.option::<Bitmap>()?, wants: take_flag(from)? }
        }
        kind::HAVE => Message::Have { content: from.value()?, pieces: take_pieces(from)? },
        kind::WANT => Message::Want { content: from.value()?, pieces: take_pieces(from)? },
        kind::CANCEL => Message::Cancel { content: from.value()?, piece: take_piece(from)? },
        kind::CANNOT => Message::Cannot { content: from.value()?, piece: take_piece(from)? },
        kind::LAGS => Message::Lags { content: from.value()?, stripe: take_stripe(from)? },
        kind::PACE => {
            let news = from.within("the time of a pace", 0..=MAX_PACE.as_millis() as u64)?;
            Message::Pace { news: Duration::from_millis(news) }
        }
        kind::LEAVE => Message::Leave { content: from.value()? },
        kind::PING => Message::Ping,
        kind::PONG => Message::Pong,
        other => return Err(WireError::UnknownKind(other)),
    };
    match from.remaining() {
        0 => Ok(message),
        stray => Err(from.wrong(format!("{stray} bytes follow its end")).into()),
    }
}

/// Each number once, in their order.
fn take_formats(from: &mut Decoder<'_>) -> Result<BTreeSet<u8>, Malformed> {
    let count = from.count("the number of formats", usize::from(u8::MAX) + 1, 1)?;
    let mut formats = BTreeSet::new();
    for _ in 0..count {
        let format = from.byte()?;
        match formats.last() < Some(&format) {
            true => formats.insert(format),
            false => return Err(from.wrong(format!("format {format} is not in its order"))),
        };
    }
    Ok(formats)
}

fn take_piece(from: &mut Decoder<'_>) -> Result<PieceNo, Malformed> {
    from.number32("the number of a piece").map(PieceNo)
}

fn take_pieces(from: &mut Decoder<'_>) -> Result<Vec<PieceNo>, Malformed> {
    let count = from.count("the number of pieces", MAX_LIST, 1)?;
    (0..count).map(|_| take_piece(from)).collect()
}

fn take_flag(from: &mut Decoder<'_>) -> Result<bool, Malformed> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(from.wrong(format!("a yes or no is {other}"))),
    }
}

fn take_choice<T: Copy, const N: usize>(from: &mut Decoder<'_>, choices: [T; N]) -> Result<T, Malformed> {
    let nth = from.byte()?;
    choices.get(usize::from(nth)).copied().ok_or_else(|| from.wrong(format!("there is no choice {nth}")))
}

fn take_verdict(from: &mut Decoder<'_>) -> Result<Result<Submitted, Refusal>, Malformed> {
    Ok(if take_flag(from)? { Ok(from.value()?) } else { Err(from.value()?) })
}

/// People's words may have any character; they are cut, never refused, so that they always travel.
fn put_words(to: &mut Encoder, words: &str) {
    let mut end = words.len().min(MAX_TEXT);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    to.bytes(&words.as_bytes()[..end]);
}

fn take_words(from: &mut Decoder<'_>) -> Result<String, Malformed> {
    let bytes = from.bytes("the words", MAX_TEXT)?;
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| from.wrong("words are not UTF-8"))
}

struct Outcome<'a>(&'a Result<VerifyReport, String>);

impl Encode for Outcome<'_> {
    const WHAT: &'static str = "outcome";

    fn put(&self, to: &mut Encoder) {
        match self.0 {
            Ok(report) => {
                to.byte(1).value(report);
            }
            Err(why) => put_words(to.byte(0), why),
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Err(from.wrong("an outcome is read where it stands"))
    }
}

fn take_outcome(from: &mut Decoder<'_>) -> Result<Result<VerifyReport, String>, Malformed> {
    Ok(if take_flag(from)? { Ok(from.value()?) } else { Err(take_words(from)?) })
}

impl Encode for VerifyReport {
    const WHAT: &'static str = "verify report";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.release).number(self.entries).number(self.bytes).number(self.differing);
        to.count(self.first.len());
        self.first.iter().for_each(|words| put_words(to, words));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            release: from.value()?,
            entries: from.number32("the number of entries")?,
            bytes: from.number()?,
            differing: from.number32("the number of differing entries")?,
            first: {
                let count = from.count("the number of differences", MAX_LIST, 1)?;
                (0..count).map(|_| take_words(from)).collect::<Result<_, _>>()?
            },
        })
    }
}

impl Encode for Hello {
    const WHAT: &'static str = "hello";

    fn put(&self, to: &mut Encoder) {
        to.number(self.versions.0).number(self.versions.1).value(&self.fleet);
        put_words(to, &self.software);
        put_words(to, &self.name);
        to.value(&self.labels).option(self.listen.map(Address).as_ref()).count(self.floors.len());
        self.floors.iter().for_each(|(app, epoch)| {
            to.value(app).number(*epoch);
        });
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let version = 0..=u64::from(u16::MAX);
        Ok(Self {
            versions: (
                from.within("the oldest version", version.clone())? as u16,
                from.within("the newest version", version)? as u16,
            ),
            fleet: from.value()?,
            software: take_words(from)?,
            name: take_words(from)?,
            labels: from.value()?,
            listen: from.option::<Address>()?.map(|address| address.0),
            floors: {
                let count = from.count("the number of floors", MAX_LIST, 3)?;
                (0..count).map(|_| Ok((from.value::<AppName>()?, from.number()?))).collect::<Result<_, Malformed>>()?
            },
        })
    }
}

struct Address(SocketAddr);

impl Encode for Address {
    const WHAT: &'static str = "address";

    fn put(&self, to: &mut Encoder) {
        match self.0.ip() {
            IpAddr::V4(ip) => to.byte(4).raw(&ip.octets()),
            IpAddr::V6(ip) => to.byte(6).raw(&ip.octets()),
        };
        to.number(self.0.port());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let ip = match from.byte()? {
            4 => IpAddr::V4(Ipv4Addr::from(from.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(from.array::<16>()?)),
            other => return Err(from.wrong(format!("there is no sort of address {other}"))),
        };
        let port = from.within("a port", 0..=u64::from(u16::MAX))? as u16;
        Ok(Self(SocketAddr::new(ip, port)))
    }
}

impl Encode for Introduction {
    const WHAT: &'static str = "introduction";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.node).value(&Address(self.address));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { node: from.value()?, address: from.value::<Address>()?.0 })
    }
}

impl Encode for Stripe {
    const WHAT: &'static str = "stripe";

    fn put(&self, to: &mut Encoder) {
        to.option(self.from.as_ref()).list(self.to.iter());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { from: from.option()?, to: from.list("the number of children", MAX_CHILDREN, 32)? })
    }
}

fn take_stripes(from: &mut Decoder<'_>) -> Result<[Stripe; STRIPES], Malformed> {
    let stripes: Vec<Stripe> = from.list("the number of stripes", STRIPES, 2)?;
    stripes.try_into().map_err(|other: Vec<Stripe>| from.wrong(format!("there are {} stripes", other.len())))
}

fn take_stripe(from: &mut Decoder<'_>) -> Result<u8, Malformed> {
    let stripe = from.byte()?;
    match usize::from(stripe) < STRIPES {
        true => Ok(stripe),
        false => Err(from.wrong(format!("there is no stripe {stripe}"))),
    }
}

impl Encode for Allotment {
    const WHAT: &'static str = "allotment";

    fn put(&self, to: &mut Encoder) {
        to.option(self.cap.as_ref()).option(self.share.as_ref());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { cap: from.option()?, share: from.option()? })
    }
}

impl Encode for Share {
    const WHAT: &'static str = "share";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.now).value(&self.alone);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { now: from.value()?, alone: from.value()? })
    }
}

impl Encode for Gate {
    const WHAT: &'static str = "gate";

    fn put(&self, to: &mut Encoder) {
        to.byte(*self as u8);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        take_choice(from, [Self::Hold, Self::Open, Self::FallBack])
    }
}

impl Encode for Step {
    const WHAT: &'static str = "step";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.release).value(&self.patch);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { release: from.value()?, patch: from.value()? })
    }
}

impl Encode for Wish {
    const WHAT: &'static str = "wish";

    fn put(&self, to: &mut Encoder) {
        to.byte(match self {
            Self::Auto => 0,
            Self::Patches(Effort::Fast) => 1,
            Self::Patches(Effort::Best) => 2,
            Self::Whole => 3,
        });
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        take_choice(from, [Self::Auto, Self::Patches(Effort::Fast), Self::Patches(Effort::Best), Self::Whole])
    }
}

impl Encode for Submitted {
    const WHAT: &'static str = "state of a submission";

    fn put(&self, to: &mut Encoder) {
        to.byte(*self as u8);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        take_choice(from, [Self::Spreading, Self::Ordered])
    }
}

impl Encode for Phase {
    const WHAT: &'static str = "phase";

    fn put(&self, to: &mut Encoder) {
        to.byte(*self as u8);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        use Phase::{Complete, Confirmed, Failed, FellBack, Fetching, Live, Staged, Told};
        take_choice(from, [Told, Fetching, Complete, Staged, Live, Confirmed, Failed, FellBack])
    }
}

impl Encode for Refusal {
    const WHAT: &'static str = "refusal";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Conflict { epoch, by, what } => {
                to.byte(0).number(*epoch);
                put_words(to, by);
                put_words(to, what);
            }
            Self::NotBelieved(why) => put_words(to.byte(1), why),
            Self::Unknown(why) => put_words(to.byte(2), why),
            Self::Invalid(why) => put_words(to.byte(3), why),
            Self::NotAllowed(why) => put_words(to.byte(4), why),
            Self::Failed(why) => put_words(to.byte(5), why),
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte()? {
            0 => Self::Conflict { epoch: from.number()?, by: take_words(from)?, what: take_words(from)? },
            1 => Self::NotBelieved(take_words(from)?),
            2 => Self::Unknown(take_words(from)?),
            3 => Self::Invalid(take_words(from)?),
            4 => Self::NotAllowed(take_words(from)?),
            5 => Self::Failed(take_words(from)?),
            other => return Err(from.wrong(format!("there is no sort of refusal {other}"))),
        })
    }
}

struct Lapse(Duration);

impl Encode for Lapse {
    const WHAT: &'static str = "duration";

    fn put(&self, to: &mut Encoder) {
        to.number(u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.number().map(|nanos| Self(Duration::from_nanos(nanos)))
    }
}

impl Encode for Timeline {
    const WHAT: &'static str = "timeline";

    fn put(&self, to: &mut Encoder) {
        let Self { first_byte, last_byte, complete, staged, live, confirmed } = *self;
        for moment in [first_byte, last_byte, complete, staged, live, confirmed] {
            to.option(moment.map(Lapse).as_ref());
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let mut moment = || from.option::<Lapse>().map(|lapse| lapse.map(|lapse| lapse.0));
        Ok(Self {
            first_byte: moment()?,
            last_byte: moment()?,
            complete: moment()?,
            staged: moment()?,
            live: moment()?,
            confirmed: moment()?,
        })
    }
}

impl Encode for AppStatus {
    const WHAT: &'static str = "status";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.app).value(&self.release).option(self.order.as_ref()).value(&self.phase);
        to.number(self.have).number(self.total).number(self.from_origin).number(self.from_peers).number(self.had);
        to.value(&self.timeline).option(self.live.as_ref()).option(self.confirmed.as_ref());
        match &self.trouble {
            None => {
                to.byte(0);
            }
            Some(trouble) => put_words(to.byte(1), trouble),
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            app: from.value()?,
            release: from.value()?,
            order: from.option()?,
            phase: from.value()?,
            have: from.number32("the pieces that are here")?,
            total: from.number32("the pieces in all")?,
            from_origin: from.number()?,
            from_peers: from.number()?,
            had: from.number()?,
            timeline: from.value()?,
            live: from.option()?,
            confirmed: from.option()?,
            trouble: if take_flag(from)? { Some(take_words(from)?) } else { None },
        })
    }
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
