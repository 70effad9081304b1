//! A TCP proxy between two honest processes that flips one bit on the way, once.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// A proxy in front of one address; it ends with the test process.
pub struct FlippingProxy {
    address: SocketAddr,
    flipped: Arc<AtomicBool>,
}

impl FlippingProxy {
    /// Forwards every connection to `target`, and flips a bit in the byte number `at` of all that `target` sends.
    pub fn start(target: SocketAddr, at: i64) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (left, flipped) = (Arc::new(AtomicI64::new(at)), Arc::new(AtomicBool::new(false)));
        let done = flipped.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else { continue };
                let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { continue };
                std::thread::spawn(move || forward(client, server, |_| ()));
                let (left, flipped) = (left.clone(), flipped.clone());
                std::thread::spawn(move || forward(server_too, client_too, |bytes| flip(bytes, &left, &flipped)));
            }
        });
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

fn forward(mut from: TcpStream, mut to: TcpStream, mut touch: impl FnMut(&mut [u8])) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        touch(&mut buffer[..len]);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // Either end may be gone already: then there is nothing to shut down.
    let _gone = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}
