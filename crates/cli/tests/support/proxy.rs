//! TCP proxies between honest processes: one that flips a bit on the way, once, and one that lets through as much as it is told.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A proxy in front of one address; it ends with the test process.
pub struct FlippingProxy {
    address: SocketAddr,
    flipped: Arc<AtomicBool>,
}

impl FlippingProxy {
    /// Forwards every connection to `target`, and flips a bit in the byte number `at` of all that `target` sends.
    pub fn start(target: SocketAddr, at: i64) -> std::io::Result<Self> {
        let (left, flipped) = (Arc::new(AtomicI64::new(at)), Arc::new(AtomicBool::new(false)));
        let done = flipped.clone();
        let address = relay(target, move |bytes| {
            flip(bytes, &left, &flipped);
            true
        })?;
        Ok(Self { address, flipped: done })
    }

    /// Where to connect instead.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the bit was flipped: whether the fault really struck.
    pub fn struck(&self) -> bool {
        self.flipped.load(Ordering::SeqCst)
    }
}

fn flip(bytes: &mut [u8], left: &AtomicI64, flipped: &AtomicBool) {
    let before = left.fetch_sub(bytes.len() as i64, Ordering::SeqCst);
    if let Ok(index) = usize::try_from(before)
        && index < bytes.len()
    {
        bytes[index] ^= 0x10;
        flipped.store(true, Ordering::SeqCst);
    }
}

/// A proxy in front of one address through which only so many bytes come back as it is told; it ends with the test process.
pub struct GatedProxy {
    address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    passage: Mutex<Passage>,
    changed: Condvar,
}

#[derive(Default)]
struct Passage {
    /// Bytes that may still pass.
    credit: u64,
    is_cut: bool,
}

impl GatedProxy {
    /// Forwards every connection to `target`; of what `target` sends nothing passes yet.
    pub fn start(target: SocketAddr) -> std::io::Result<Self> {
        let gate: Arc<Gate> = Arc::default();
        let its = gate.clone();
        let address = relay(target, move |bytes| its.pass(bytes.len() as u64))?;
        Ok(Self { address, gate })
    }

    /// Where to connect instead.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets through so many bytes more, if all that it was told before has passed.
    pub fn allow_when_used_up(&self, bytes: u64) -> bool {
        let mut passage = self.gate.lock();
        let used_up = passage.credit == 0;
        if used_up {
            passage.credit = bytes;
            self.gate.changed.notify_all();
        }
        used_up
    }

    /// Cuts all connections off; what waits here never arrives.
    pub fn cut(&self) {
        *self.gate.lock() = Passage { credit: 0, is_cut: true };
        self.gate.changed.notify_all();
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        *self.gate.lock() = Passage { credit: u64::MAX, is_cut: false };
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until bytes may pass; false when they never may.
    fn pass(&self, bytes: u64) -> bool {
        let waits = |passage: &mut Passage| passage.credit == 0 && !passage.is_cut;
        let waited = self.changed.wait_while(self.lock(), waits);
        let mut passage = waited.unwrap_or_else(PoisonError::into_inner);
        passage.credit = passage.credit.saturating_sub(bytes);
        !passage.is_cut
    }
}

/// Forwards every connection to `target`, and has what comes back touched; a touch that says false ends the connection.
fn relay(
    target: SocketAddr,
    touch: impl FnMut(&mut [u8]) -> bool + Clone + Send + 'static,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(target) else { continue };
            let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { continue };
            let touch = touch.clone();
            std::thread::spawn(move || forward(client, server, |_| true));
            std::thread::spawn(move || forward(server_too, client_too, touch));
        }
    });
    Ok(address)
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut touch: impl FnMut(&mut [u8]) -> bool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if !touch(&mut buffer[..len]) || to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // Either end may be gone already: then there is nothing to shut down.
    let _gone = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}
