//! A TCP stream that reads in large gulps once it carries payloads, and writes bursts no larger than the network likes.
//!
//! TLS asks its transport for four KiB at a time, and a slow link delivers a packet at a time; a system call and a wake-up for
//! each would cost more than the decryption. So a wide stream reads as much as there is, and sleeps until what is sure to
//! come has come: the rest of the present TLS record, or as much of the payload as its reader promised ([`Hints`]). The
//! buffer comes with the first payload: a connection on which nothing happened has none.
//!
//! A kernel that sends a lot at once hands segments of up to 64 KiB to the network card, which cuts them into packets at no
//! cost. Where a shaper is in the way (a container's, a cloud's) what exceeds its burst is cut before it, and from there on
//! each packet costs what the whole segment did, here, on the way and at the receiver: seven times the packets in the
//! laboratory. So on a link that is slow anyway every TLS record ends its segment (`MSG_EOR`).
//!
//! Invariant: the kernel is never told to wait for more than is sure to come, so nothing waits for bytes that nobody sends.

use crate::kernel;
use rustix::net::{SendFlags, send};
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How much is read at once: a piece, as a rule.
const GULP: usize = 64 * 1024;
/// The most that the kernel is told to wait for: a TLS record. More would let the sender's window run dry.
const MOST: usize = 16 * 1024 + 64;
/// Bytes before each TLS record: its type, two of version, two of length.
const HEADER: usize = 5;

/// What those who read and write a stream know of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hints(Arc<Hinted>);

#[derive(Debug, Default)]
struct Hinted {
    promised: AtomicUsize,
    is_slow: AtomicBool,
}

impl Hints {
    /// So many more bytes of plain text will come for sure.
    pub(crate) fn promise(&self, bytes: usize) {
        self.0.promised.store(bytes, Ordering::Relaxed);
    }

    /// Whether what is written leaves slowly, so that small segments cost nothing.
    pub(crate) fn slow(&self, is_slow: bool) {
        self.0.is_slow.store(is_slow, Ordering::Relaxed);
    }
}

/// Where in the stream of TLS records the bytes that were read end.
#[derive(Debug, Default)]
struct Records {
    header: [u8; HEADER],
    known: usize,
    left: usize,
}

impl Records {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.header[self.known] = first;
            self.known += 1;
            bytes = rest;
            if self.known == HEADER {
                self.known = 0;
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        }
    }

    /// How much is sure to come when `promised` bytes of plain text are.
    fn sure(&self, promised: usize) -> usize {
        match (self.left, self.known) {
            // A record is never shorter than the text in it.
            (0, 0) => promised,
            (0, known) => HEADER - known,
            (left, _) => left,
        }
    }
}

/// A TCP stream, and what was read from it and not asked for yet.
#[derive(Debug)]
pub(crate) struct Gulp {
    tcp: TcpStream,
    held: Vec<u8>,
    at: usize,
    end: usize,
    is_wide: bool,
    records: Records,
    hints: Hints,
    low_water: usize,
}

impl Gulp {
    /// A stream that reads what it is asked for.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            held: Vec::new(),
            at: 0,
            end: 0,
            is_wide: false,
            records: Records::default(),
            hints: Hints::default(),
            low_water: 1,
        }
    }

    /// From now on it reads as much as there is, and waits for what is promised.
    pub(crate) fn widen(&mut self) -> Hints {
        self.is_wide = true;
        self.hints.clone()
    }

    /// Writes a segment of its own. What the kernel takes only in part goes on in the next one.
    fn segment(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            let sent = self.tcp.try_io(Interest::WRITABLE, || {
                send(&self.tcp, bytes, SendFlags::EOR | SendFlags::NOSIGNAL).map_err(io::Error::from)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn narrow(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, to))?;
        self.records.pass(&to.filled()[before..]);
        Poll::Ready(Ok(()))
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            ready!(self.tcp.poll_read_ready(cx))?;
            self.held = vec![0; GULP];
        }
        self.wait_for_enough();
        let mut room = ReadBuf::new(&mut self.held);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut room))?;
        (self.at, self.end) = (0, room.filled().len());
        self.records.pass(&self.held[..self.end]);
        Poll::Ready(Ok(()))
    }

    /// Tells the kernel how much to wait for; what it says to that is of no consequence.
    fn wait_for_enough(&mut self) {
        let promised = self.hints.0.promised.load(Ordering::Relaxed);
        let enough = self.records.sure(promised).clamp(1, MOST);
        if enough != self.low_water && kernel::set_receive_low_water(self.tcp.as_fd(), enough as i32).is_ok() {
            self.low_water = enough;
        }
    }
}

impl AsyncRead for Gulp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.end {
            if !self.is_wide {
                return self.narrow(cx, to);
            }
            ready!(self.fill(cx))?;
        }
        let taken = to.remaining().min(self.end - self.at);
        let from = self.at;
        to.put_slice(&self.held[from..from + taken]);
        self.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gulp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match parts.iter().find(|part| !part.is_empty()) {
            Some(record) if self.hints.0.is_slow.load(Ordering::Relaxed) => self.segment(cx, record),
            _ => Pin::new(&mut self.tcp).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Bytes of a record, and where the last begins to end.
    const LEN: usize = 5000;
    const LAST: usize = 60 * (LEN + HEADER);

    /// Sixty records of five thousand bytes.
    fn records() -> Vec<u8> {
        let header = [23, 3, 3, (LEN >> 8) as u8, LEN as u8];
        let body = |record: usize| (0..LEN).map(move |n| ((n * 7 + record) % 251) as u8);
        (0..60).flat_map(|record| header.into_iter().chain(body(record))).collect()
    }

    #[test]
    fn what_is_sure_to_come_is_the_rest_of_the_record_or_the_promise() {
        let bytes = records();
        let mut at = Records::default();
        assert_eq!((at.sure(0), at.sure(70_000)), (0, 70_000));
        at.pass(&bytes[..3]);
        assert_eq!(at.sure(70_000), 2, "not even the length is known");
        at.pass(&bytes[3..5]);
        assert_eq!(at.sure(70_000), LEN);
        at.pass(&bytes[5..LEN]);
        assert_eq!(at.sure(0), 5);
        at.pass(&bytes[LEN..LAST]);
        assert_eq!((at.left, at.known), (0, 0));
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (dialled.expect("it listens"), accepted.expect("one came").0)
    }

    #[tokio::test]
    async fn a_slow_stream_sends_record_by_record_and_nothing_is_lost() {
        let (to, mut from) = pair().await;
        let mut to = Gulp::new(to);
        let hints = to.widen();
        let (first, second) = (vec![1; 3000], vec![2; 300]);
        let parts = [io::IoSlice::new(&[]), io::IoSlice::new(&first), io::IoSlice::new(&second)];
        assert_eq!(to.write_vectored(&parts).await.expect("it reads"), 3300, "a fast one sends all at once");
        hints.slow(true);
        assert_eq!(to.write_vectored(&parts).await.expect("it reads"), 3000, "a slow one the first record");
        // More than the kernel takes at once: it is to be waited for.
        let long = vec![3; 32 << 20];
        let writing = tokio::spawn(async move {
            let mut left = &long[..];
            while !left.is_empty() {
                let written = to.write_vectored(&[io::IoSlice::new(left)]).await.expect("it reads");
                left = &left[written..];
            }
            to.shutdown().await.expect("it reads");
        });
        let mut read = Vec::new();
        from.read_to_end(&mut read).await.expect("it is sent");
        writing.await.expect("it ends");
        let of = |byte| read.iter().filter(|&&read| read == byte).count();
        assert_eq!((of(1), of(2), of(3)), (6000, 300, 32 << 20));
    }

    #[tokio::test]
    async fn nothing_is_lost_between_narrow_and_wide_reads() {
        let (mut to, accepted) = pair().await;
        let sent = records();
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            to.write_all(&copy).await.expect("it reads");
            to.shutdown().await.expect("it reads");
        });
        let mut from = Gulp::new(accepted);
        let mut read = vec![0; 1000];
        from.read_exact(&mut read).await.expect("much comes");
        let hints = from.widen();
        let mut rest = [0; 4096];
        loop {
            match from.read(&mut rest).await.expect("more comes") {
                0 => break,
                more => read.extend_from_slice(&rest[..more]),
            }
            // All text but the last record's is promised: whoever waits for more than comes would wait for ever.
            hints.promise((LAST - LEN).saturating_sub(read.len()));
        }
        writing.await.expect("it ends");
        assert!(read == sent);
    }
}
