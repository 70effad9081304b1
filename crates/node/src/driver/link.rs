//! A pair of connections to one peer: the tasks that read and write them, and how two connections become a pair.
//!
//! Messages go on one connection and payloads on the other, so that no message ever waits behind a payload. Reading waits for
//! the engine (a full inbox stops reading, and TCP stops the peer); writing never makes the engine wait. Payloads are sent one
//! at a time in the order in which they were asked for, and both ways wait for the node's throttles, part by part.

use super::inbox::{FromLink, Inbox, Incoming, LinkId, NewLink};
use super::shelf::Shelf;
use super::throttle::{Throttle, Throttles};
use crate::freshness::InContact;
use crate::gulp::Hints;
use crate::tls::{Door, Peer, Stream, Tls, TlsError};
use bytes::BufMut;
use content::{ContentId, Digested, NodeId, PieceNo, Role};
use engine::door::{DownReason, Message};
use engine::wire::{self, BULK_HEADER, BulkHeader, Frames, WireError};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::ReadError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Messages that may wait for a peer that does not read.
const MESSAGES_WAITING: usize = 32 * 1024;
/// How long a peer may take to accept the rest of what was written before its connection closes.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the second connection of a pair may take to come.
const PAIRING: Duration = Duration::from_secs(10);
/// How many half pairs one peer may have.
const HALVES: usize = 8;
/// How many bytes are read from a control connection at once.
const READ: usize = 16 * 1024;

/// Bytes that went over a pair of connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Payload bytes that came.
    pub(crate) received: AtomicU64,
    /// Payload bytes that left.
    pub(crate) sent: AtomicU64,
}

/// A pair of connections whose tasks run. Dropping it closes both in order, without waiting.
pub(crate) struct Link {
    /// Which.
    pub(crate) id: LinkId,
    /// Since when.
    pub(crate) since: Instant,
    /// Whether this side dialled.
    pub(crate) dialled: bool,
    /// What went over it.
    pub(crate) traffic: Arc<Traffic>,
    /// What the peer may be.
    pub(crate) role: Role,
    /// Of an origin that has greeted.
    pub(crate) contact: Option<InContact>,
    messages: mpsc::Sender<Message>,
    pieces: mpsc::UnboundedSender<(ContentId, PieceNo)>,
    readers: Vec<JoinHandle<()>>,
    writers: Vec<JoinHandle<()>>,
}

/// What the tasks of a pair work with.
pub(crate) struct Means {
    /// Where payloads come from.
    pub(crate) shelf: Shelf,
    /// How fast they may go.
    pub(crate) throttles: Arc<Throttles>,
    /// Who says whose certificates are believed.
    pub(crate) tls: Arc<Tls>,
}

impl Link {
    /// Starts the tasks of a new pair.
    pub(crate) fn start(id: LinkId, mut new: NewLink, means: Means, inbox: Inbox) -> Self {
        let Means { shelf, throttles, tls } = means;
        let ca = new.peer.ca;
        let hints = new.bulk.get_mut().0.widen();
        let (dialled, role) = (new.dialled.is_some(), new.peer.role);
        let tell = Tell { link: id, peer: new.peer.node, inbox };
        let traffic = Arc::new(Traffic::default());
        let (control_in, control_out) = split(new.control);
        let (bulk_in, bulk_out) = split(new.bulk);
        let (messages, to_write) = mpsc::channel(MESSAGES_WAITING);
        let (pieces, to_send) = mpsc::unbounded_channel();
        let bulk = Bulk { tell: tell.clone(), traffic: traffic.clone(), throttles };
        let readers = vec![
            tokio::spawn(tell.clone().until_down(read_messages(control_in, tell.clone()))),
            tokio::spawn(tell.clone().until_down(read_payloads(bulk_in, hints.clone(), bulk.clone()))),
            tokio::spawn(tell.clone().until_down(async move {
                tls.given_up(ca).await;
                Err(io::Error::other("the fleet has given up the CA that made its certificate"))
            })),
        ];
        let writers = vec![
            tokio::spawn(tell.clone().until_broken(write_messages(control_out, to_write))),
            tokio::spawn(tell.until_broken(write_payloads(bulk_out, to_send, hints, shelf, bulk))),
        ];
        let (since, contact) = (Instant::now(), None);
        Self { id, since, dialled, traffic, role, contact, messages, pieces, readers, writers }
    }

    /// Queues a message. False when the peer does not read: its connections are to be closed.
    pub(crate) fn send(&self, message: Message) -> bool {
        !matches!(self.messages.try_send(message), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Queues a piece. False when the connection is gone.
    pub(crate) fn send_piece(&self, content: ContentId, piece: PieceNo) -> bool {
        self.pieces.send((content, piece)).is_ok()
    }

    /// Closes both connections in order and waits until they are.
    pub(crate) async fn close(mut self) {
        let writers = std::mem::take(&mut self.writers);
        drop(self);
        end(writers).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.readers.iter().for_each(JoinHandle::abort);
        let writers = std::mem::take(&mut self.writers);
        if !writers.is_empty() {
            tokio::spawn(end(writers));
        }
    }
}

/// Lets writers finish what is queued, but not for ever: a peer that does not read would keep its connection open.
async fn end(writers: Vec<JoinHandle<()>>) {
    for mut writer in writers {
        if timeout(FAREWELL, &mut writer).await.is_err() {
            writer.abort();
        }
    }
}

/// Speaks to the driver for one link.
#[derive(Clone)]
struct Tell {
    link: LinkId,
    peer: NodeId,
    inbox: Inbox,
}

impl Tell {
    /// False when the driver is gone.
    async fn tell(&self, what: FromLink) -> bool {
        self.inbox.send(Incoming::From { link: self.link, peer: self.peer, what }).await.is_ok()
    }

    /// A reader's end is the link's end, however it comes.
    async fn until_down(self, read: impl Future<Output = io::Result<()>>) {
        let why = match read.await {
            Ok(()) => DownReason::Closed,
            Err(error) => DownReason::Broken(error.to_string()),
        };
        self.tell(FromLink::Down(why)).await;
    }

    /// A writer's end is the link's end only when it failed.
    async fn until_broken(self, write: impl Future<Output = io::Result<()>>) {
        if let Err(error) = write.await {
            self.tell(FromLink::Down(DownReason::Broken(error.to_string()))).await;
        }
    }
}

/// What both directions of payloads need.
#[derive(Clone)]
struct Bulk {
    tell: Tell,
    traffic: Arc<Traffic>,
    throttles: Arc<Throttles>,
}

/// What a peer sent makes no sense: its connection is of no use any more.
fn nonsense(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn read_messages(mut from: ReadHalf<Stream>, tell: Tell) -> io::Result<()> {
    let mut frames = Frames::new();
    let mut buffer = vec![0; READ];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        frames.push(&buffer[..read]);
        while let Some(message) = frames.next().map_err(nonsense)? {
            if !tell.tell(FromLink::Message(Box::new(message))).await {
                return Ok(());
            }
        }
    }
}

async fn write_messages(mut to: WriteHalf<Stream>, mut messages: mpsc::Receiver<Message>) -> io::Result<()> {
    let mut waiting = Vec::new();
    while messages.recv_many(&mut waiting, 64).await > 0 {
        let bytes: Vec<u8> = waiting.drain(..).flat_map(|message| wire::encode(&message)).collect();
        to.write_all(&bytes).await?;
        to.flush().await?;
    }
    farewell(to).await
}

/// Tells the other side that this is the end, if it listens.
async fn farewell(mut to: WriteHalf<Stream>) -> io::Result<()> {
    timeout(FAREWELL, to.shutdown()).await.unwrap_or(Ok(()))
}

async fn read_payloads(mut from: ReadHalf<Stream>, hints: Hints, bulk: Bulk) -> io::Result<()> {
    let mut header = [0; BULK_HEADER];
    while read_or_end(&mut from, &mut header).await? {
        let BulkHeader { content, piece, len } = BulkHeader::decode(&header).map_err(nonsense)?;
        let bytes = read_promised(&mut from, len as usize, &hints, &bulk.throttles.receiving).await?;
        bulk.traffic.received.fetch_add(u64::from(len), Ordering::Relaxed);
        // Hashed here and nowhere else: the bytes are in this core's cache now.
        let bytes = Digested::new(bytes);
        if !bulk.tell.tell(FromLink::Payload { content, piece, bytes }).await {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads so many bytes as fast as it may, and says all along how many are still to come. Memory that is about to be written is not cleared first.
async fn read_promised(
    from: &mut (impl AsyncRead + Unpin),
    len: usize,
    hints: &Hints,
    throttle: &Throttle,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let may = bytes.len() + throttle.pass(len - bytes.len()).await;
        while bytes.len() < may {
            hints.promise(len - bytes.len());
            let room = may - bytes.len();
            if from.read_buf(&mut (&mut bytes).limit(room)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    hints.promise(0);
    Ok(bytes)
}

/// Fills the buffer; false when the connection ended before its first byte.
async fn read_or_end(from: &mut ReadHalf<Stream>, buffer: &mut [u8]) -> io::Result<bool> {
    let first = from.read(buffer).await?;
    if first == 0 {
        return Ok(false);
    }
    from.read_exact(&mut buffer[first..]).await?;
    Ok(true)
}

async fn write_payloads(
    mut to: WriteHalf<Stream>,
    mut asked: mpsc::UnboundedReceiver<(ContentId, PieceNo)>,
    hints: Hints,
    shelf: Shelf,
    bulk: Bulk,
) -> io::Result<()> {
    let mut pace = Pace::Slow;
    hints.slow(true);
    while let Some((content, piece)) = asked.recv().await {
        let begun = Instant::now();
        // While it is read the kernel still has some of the one before to send: the link does not idle.
        let bytes = match shelf.get(content, piece).await {
            Ok(payload) => {
                let header = BulkHeader { content, piece, len: payload.len() as u32 };
                write_payload(&mut to, pace, &bulk.throttles.sending, header, &payload).await?
            }
            Err(error) => report_unreadable(&bulk.tell, content, piece, error).await,
        };
        pace = Pace::of(bytes, begun.elapsed());
        hints.slow(pace == Pace::Slow);
        bulk.traffic.sent.fetch_add(u64::from(bytes), Ordering::Relaxed);
        if !bulk.tell.tell(FromLink::Sent { content, piece, bytes, took: begun.elapsed() }).await {
            break;
        }
    }
    farewell(to).await
}

/// How fast a connection takes what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// A record at a time: bursts that exceed what a shaper or a small switch takes are cut up or lost there.
    Slow,
    /// All at once: fewer calls.
    Fast,
}

impl Pace {
    /// More than this many bytes in a microsecond (1 Gbit/s) are fast.
    const FAST: u128 = 125;
    /// The plain text of the largest TLS record.
    const RECORD: usize = 16 * 1024;

    fn of(bytes: u32, took: Duration) -> Self {
        if u128::from(bytes) > took.as_micros() * Self::FAST { Self::Fast } else { Self::Slow }
    }

    fn at_once(self) -> usize {
        match self {
            Self::Slow => Self::RECORD,
            Self::Fast => usize::MAX,
        }
    }
}

/// Writes a payload behind its header, a record at a time or what the throttle lets through, whichever is less.
async fn write_payload(
    to: &mut (impl AsyncWrite + Unpin),
    pace: Pace,
    throttle: &Throttle,
    header: BulkHeader,
    payload: &[u8],
) -> io::Result<u32> {
    let head = header.encode();
    let mut written = throttle.pass(payload.len().min(pace.at_once().saturating_sub(head.len()))).await;
    write_both(to, &head, &payload[..written]).await?;
    while written < payload.len() {
        let part = throttle.pass((payload.len() - written).min(pace.at_once())).await;
        to.write_all(&payload[written..written + part]).await?;
        written += part;
    }
    to.flush().await?;
    Ok(header.len)
}

/// Writes two byte strings as if they were one, without making them one.
async fn write_both(to: &mut (impl AsyncWrite + Unpin), first: &[u8], second: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < first.len() {
        let parts = [IoSlice::new(&first[written..]), IoSlice::new(second)];
        written += match to.write_vectored(&parts).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            more => more,
        };
    }
    to.write_all(&second[written - first.len()..]).await
}

/// A piece that cannot be read leaves with no bytes; one that is not here any more is to be fetched again.
async fn report_unreadable(tell: &Tell, content: ContentId, piece: PieceNo, error: ReadError) -> u32 {
    tracing::warn!(content = %content.0.short(), piece = piece.0, %error, "a piece that a peer wants cannot be read");
    if matches!(error, ReadError::Missing | ReadError::Damaged) {
        let lost = engine::door::Input::Lost { content, piece };
        // A driver that is gone needs no news.
        tell.inbox.send(Incoming::input(lost)).await.ok();
    }
    0
}

/// Sixteen random bytes that open both connections of a pair, so that the side that accepts can tell which belong together.
pub(crate) type PairKey = [u8; 16];

/// Dials both connections of a pair, at once: one after the other would be two round trips more before the first word.
pub(crate) async fn dial(tls: &Tls, address: SocketAddr, expect: Option<NodeId>) -> Result<NewLink, TlsError> {
    let key: PairKey = crate::identity::random();
    let ((control, peer), (bulk, other)) =
        tokio::try_join!(half(tls, address, Door::Control, expect, key), half(tls, address, Door::Bulk, expect, key))?;
    if other.node != peer.node {
        return Err(TlsError::AnotherNode { expected: peer.node, found: other.node });
    }
    Ok(NewLink { peer, seen: address.ip(), dialled: Some(address), control, bulk })
}

async fn half(
    tls: &Tls,
    address: SocketAddr,
    door: Door,
    expect: Option<NodeId>,
    key: PairKey,
) -> Result<(Stream, Peer), TlsError> {
    let (mut stream, peer) = tls.dial(address, door, expect).await?;
    stream.write_all(&key).await?;
    stream.flush().await?;
    Ok((stream, peer))
}

/// Halves of pairs that wait for their other half.
#[derive(Default)]
pub(crate) struct Pairing(Mutex<BTreeMap<(NodeId, PairKey), Half>>);

struct Half {
    door: Door,
    stream: Stream,
    since: Instant,
}

impl Pairing {
    /// Takes a connection that was let in; gives a pair when it is the second half of one.
    pub(crate) async fn take(
        &self,
        door: Door,
        peer: Peer,
        seen: SocketAddr,
        mut stream: Stream,
    ) -> Result<Option<NewLink>, TlsError> {
        let mut key: PairKey = [0; 16];
        timeout(PAIRING, stream.read_exact(&mut key)).await.map_err(|_| TlsError::Slow(PAIRING))??;
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        halves.retain(|_, half| half.since.elapsed() < PAIRING);
        let Some(first) = halves.remove(&(peer.node, key)) else {
            let theirs = halves.keys().filter(|(node, _)| *node == peer.node).count();
            if theirs >= HALVES {
                return Err(TlsError::Busy);
            }
            halves.insert((peer.node, key), Half { door, stream, since: Instant::now() });
            return Ok(None);
        };
        let (control, bulk) = match (first.door, door) {
            (Door::Control, Door::Bulk) => (first.stream, stream),
            (Door::Bulk, Door::Control) => (stream, first.stream),
            _ => return Err(TlsError::Unfit("two connections of one kind are no pair".to_owned())),
        };
        Ok(Some(NewLink { peer, seen: seen.ip(), dialled: None, control, bulk }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fleet, Guest};
    use content::Digest;
    use store::PieceSource;

    struct Echo;

    impl PieceSource for Echo {
        fn read(&self, _content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ReadError> {
            match piece.0 {
                0 => Err(ReadError::Damaged),
                n => Ok(vec![n as u8; n as usize * 1000]),
            }
        }
    }

    fn shelf() -> Shelf {
        Shelf::new(Arc::new(Echo))
    }

    async fn next(inbox: &mut mpsc::Receiver<Incoming>) -> FromLink {
        match inbox.recv().await {
            Some(Incoming::From { what, .. }) => what,
            _ => panic!("something else came"),
        }
    }

    /// Two nodes and a link between them, seen from both sides.
    async fn linked() -> (Link, Link, mpsc::Receiver<Incoming>, mpsc::Receiver<Incoming>) {
        let fleet = Fleet::new();
        let (server, client) = (fleet.tls(Role::Agent), fleet.tls(Role::Agent));
        let guest = Guest::listen(server).await;
        let (dialled, accepted) = tokio::join!(dial(&client, guest.address, None), async {
            let pairing = Pairing::default();
            loop {
                let (accepted, from) = guest.accept().await;
                let accepted = accepted.expect("let in");
                let peer = accepted.peer.expect("it has a certificate");
                match pairing.take(accepted.door, peer, from, accepted.stream).await.expect("it says its key") {
                    Some(pair) => return pair,
                    None => continue,
                }
            }
        });
        let dialled = dialled.expect("it answers");
        assert_eq!((accepted.dialled, dialled.dialled), (None, Some(guest.address)));
        let ((to_a, a), (to_b, b)) = (mpsc::channel(8), mpsc::channel(8));
        let means = || Means { shelf: shelf(), throttles: Arc::default(), tls: client.clone() };
        let start = |nr, new, to| Link::start(LinkId(nr), new, means(), to);
        (start(1, dialled, to_a), start(2, accepted, to_b), a, b)
    }

    #[tokio::test]
    async fn messages_and_pieces_cross_in_order() {
        let (a, _b, mut at_a, mut at_b) = linked().await;
        assert!(a.send(Message::Ping) && a.send(Message::Pong));
        for expected in [Message::Ping, Message::Pong] {
            assert!(matches!(next(&mut at_b).await, FromLink::Message(message) if *message == expected));
        }
        let content = ContentId(Digest::of(b"x"));
        for piece in [3, 1, 2] {
            assert!(a.send_piece(content, PieceNo(piece)));
        }
        for piece in [3, 1, 2] {
            let FromLink::Payload { piece: came, bytes, .. } = next(&mut at_b).await else { panic!("no payload") };
            assert_eq!((came.0, bytes.bytes().len()), (piece, piece as usize * 1000));
            let FromLink::Sent { piece: left, bytes, .. } = next(&mut at_a).await else { panic!("not sent") };
            assert_eq!((left.0, bytes), (piece, piece * 1000));
        }
    }

    #[tokio::test]
    async fn a9_a_damaged_piece_is_never_sent() {
        let (a, _b, mut at_a, mut at_b) = linked().await;
        let content = ContentId(Digest::of(b"x"));
        a.send_piece(content, PieceNo(0));
        a.send_piece(content, PieceNo(1));
        let lost = at_a.recv().await;
        let Some(Incoming::Input(lost)) = lost else { panic!("nothing was lost") };
        assert!(matches!(*lost, engine::door::Input::Lost { piece: PieceNo(0), .. }));
        assert!(matches!(next(&mut at_a).await, FromLink::Sent { piece: PieceNo(0), bytes: 0, .. }));
        assert!(matches!(next(&mut at_b).await, FromLink::Payload { piece: PieceNo(1), .. }));
    }

    #[tokio::test]
    async fn an_orderly_end_is_no_fault() {
        let (a, _b, _at_a, mut at_b) = linked().await;
        assert!(a.send(Message::Ping));
        a.close().await;
        assert!(matches!(next(&mut at_b).await, FromLink::Message(_)), "what was queued still arrives");
        assert!(matches!(next(&mut at_b).await, FromLink::Down(DownReason::Closed)));
    }

    #[tokio::test]
    async fn c3_a_payload_longer_than_any_piece_ends_the_link() {
        let fleet = Fleet::new();
        let (server, client) = (fleet.tls(Role::Agent), fleet.tls(Role::Agent));
        let guest = Guest::listen(server).await;
        let (dialled, accepted) = tokio::join!(client.dial(guest.address, Door::Bulk, None), guest.accept());
        let (mut liar, _) = dialled.expect("it answers");
        let honest = accepted.0.expect("let in");
        let header = BulkHeader { content: ContentId(Digest::of(b"x")), piece: PieceNo(0), len: u32::MAX };
        liar.write_all(&header.encode()).await.expect("written");
        liar.flush().await.expect("written");
        let (inbox, _at_honest) = mpsc::channel(8);
        let peer = honest.peer.expect("it has a certificate").node;
        let tell = Tell { link: LinkId(1), peer, inbox };
        let bulk = Bulk { tell, traffic: Arc::default(), throttles: Arc::default() };
        let read = read_payloads(split(honest.stream).0, Hints::default(), bulk).await;
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
    }

    /// Sends payloads over a pipe without limit of its own; gives how long that took in virtual time.
    async fn moved(pieces: u32, sending: &Throttle, receiving: &Throttle) -> Duration {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let start = tokio::time::Instant::now();
        let payload = vec![7; 60_000];
        let header = |piece| BulkHeader { content: ContentId(Digest::of(b"x")), piece: PieceNo(piece), len: 60_000 };
        let writing = async {
            for piece in 0..pieces {
                write_payload(&mut near, Pace::Fast, sending, header(piece), &payload).await.expect("a pipe");
            }
        };
        let reading = async {
            for _ in 0..pieces {
                let mut head = [0; BULK_HEADER];
                far.read_exact(&mut head).await.expect("a pipe");
                let bytes = read_promised(&mut far, 60_000, &Hints::default(), receiving).await.expect("a pipe");
                assert!(BulkHeader::decode(&head).is_ok() && bytes == payload);
            }
        };
        tokio::join!(writing, reading);
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn payloads_are_sent_and_received_no_faster_than_is_allowed() {
        let (free, slow) = (Throttle::default(), Throttle::default());
        assert_eq!(moved(50, &free, &free).await, Duration::ZERO);
        slow.set(Some(content::Rate(1_000_000)));
        for took in [moved(50, &slow, &free).await, moved(50, &free, &slow).await] {
            assert!((2.9..3.1).contains(&took.as_secs_f64()), "3 MB at 1 MB/s took {took:?}");
        }
    }
}
