//! A TCP stream that reads in large gulps once it carries payloads.
//!
//! TLS asks its transport for four KiB at a time; a system call for each would cost more than the decryption. Writing is
//! passed on as it is. The buffer comes with the first payload: a connection on which nothing happened has none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much is read at once: a piece, as a rule.
const GULP: usize = 64 * 1024;

/// A TCP stream, and what was read from it and not asked for yet.
#[derive(Debug)]
pub(crate) struct Gulp {
    tcp: TcpStream,
    held: Vec<u8>,
    at: usize,
    end: usize,
    is_wide: bool,
}

impl Gulp {
    /// A stream that reads what it is asked for.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, held: Vec::new(), at: 0, end: 0, is_wide: false }
    }

    /// From now on it reads as much as there is.
    pub(crate) fn widen(&mut self) {
        self.is_wide = true;
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            ready!(self.tcp.poll_read_ready(cx))?;
            self.held = vec![0; GULP];
        }
        let mut room = ReadBuf::new(&mut self.held);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut room))?;
        (self.at, self.end) = (0, room.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gulp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.end {
            if !self.is_wide || to.remaining() >= GULP {
                return Pin::new(&mut self.tcp).poll_read(cx, to);
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
        Pin::new(&mut self.tcp).poll_write_vectored(cx, parts)
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

    #[tokio::test]
    async fn nothing_is_lost_between_narrow_and_wide_reads() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let mut to = dialled.expect("it listens");
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            to.write_all(&copy).await.expect("it reads");
            to.shutdown().await.expect("it reads");
        });
        let mut from = Gulp::new(accepted.expect("one came").0);
        let mut read = vec![0; 1000];
        from.read_exact(&mut read).await.expect("much comes");
        from.widen();
        let mut rest = [0; 4096];
        loop {
            match from.read(&mut rest).await.expect("more comes") {
                0 => break,
                more => read.extend_from_slice(&rest[..more]),
            }
        }
        writing.await.expect("it ends");
        assert!(read == sent);
    }
}
