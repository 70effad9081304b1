//! TCP proxies between honest processes: one that flips a bit on the way, once, one that lets through as much as it is told,
//! and one that forgets connections as a NAT does.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use crate::lab::{Lab, Node};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// An agent that has joined, and reaches its origin only through a proxy from now on.
pub fn agent_behind(lab: &Lab, proxy: SocketAddr, name: &str) -> Node {
    let mut agent = lab.agent(name);
    agent.kill();
    lead_to(proxy, &agent.home.join("identity/node.json"));
    lab.agent(name)
}

/// Has the one whose file this is look for its origin at a proxy.
pub fn lead_to(proxy: SocketAddr, path: &Path) {
    let mut file: Value = serde_json::from_slice(&fs::read(path).expect("it is there")).expect("it is JSON");
    file["origins"] = vec![proxy.to_string()].into();
    fs::write(path, file.to_string()).expect("a file can be written");
}

/// What becomes of bytes that came to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    /// They are taken, and never arrive.
    Vanish,
    /// The connection ends here.
    End,
}

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
        let flips = move |bytes: &mut [u8]| {
            flip(bytes, &left, &flipped);
            Fate::Pass
        };
        let address = relay(target, move || (|_: &mut [u8]| Fate::Pass, flips.clone()))?;
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
    /// Bytes that have passed.
    passed: u64,
    is_cut: bool,
}

impl GatedProxy {
    /// Forwards every connection to `target`; of what `target` sends nothing passes yet.
    pub fn start(target: SocketAddr) -> std::io::Result<Self> {
        let gate: Arc<Gate> = Arc::default();
        let its = gate.clone();
        let passes = move |bytes: &mut [u8]| if its.pass(bytes.len() as u64) { Fate::Pass } else { Fate::End };
        let address = relay(target, move || (|_: &mut [u8]| Fate::Pass, passes.clone()))?;
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

    /// How many bytes have come back through it.
    pub fn passed(&self) -> u64 {
        self.gate.lock().passed
    }

    /// Cuts all connections off; what waits here never arrives.
    pub fn cut(&self) {
        let mut passage = self.gate.lock();
        (passage.credit, passage.is_cut) = (0, true);
        self.gate.changed.notify_all();
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        let mut passage = self.gate.lock();
        (passage.credit, passage.is_cut) = (u64::MAX, false);
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
        passage.passed += bytes;
        !passage.is_cut
    }
}

/// A proxy in front of one address that forgets all its connections when it is told; it ends with the test process.
pub struct ForgetfulProxy {
    address: SocketAddr,
    memory: Arc<Memory>,
}

#[derive(Default)]
struct Memory {
    /// How often everything was forgotten: connections of an earlier age are forgotten ones.
    age: AtomicU64,
    /// Bytes that came over forgotten connections.
    swallowed: AtomicU64,
}

impl ForgetfulProxy {
    /// Forwards every connection to `target`.
    pub fn start(target: SocketAddr) -> std::io::Result<Self> {
        let memory: Arc<Memory> = Arc::default();
        let its = memory.clone();
        let address = relay(target, move || {
            let (memory, age) = (its.clone(), its.age.load(Ordering::SeqCst));
            let fate = move |bytes: &mut [u8]| {
                if memory.age.load(Ordering::SeqCst) == age {
                    return Fate::Pass;
                }
                memory.swallowed.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                Fate::Vanish
            };
            (fate.clone(), fate)
        })?;
        Ok(Self { address, memory })
    }

    /// Where to connect instead.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the connections that are there swallow all that comes, and neither end is told; new ones pass.
    pub fn forget(&self) {
        self.memory.age.fetch_add(1, Ordering::SeqCst);
    }

    /// How many bytes came over connections that were forgotten.
    pub fn swallowed(&self) -> u64 {
        self.memory.swallowed.load(Ordering::SeqCst)
    }
}

/// Forwards every connection to `target`; what goes there and what comes back is touched, and fares as each touch says.
fn relay<There, Back>(
    target: SocketAddr,
    mut touches: impl FnMut() -> (There, Back) + Send + 'static,
) -> std::io::Result<SocketAddr>
where
    There: FnMut(&mut [u8]) -> Fate + Send + 'static,
    Back: FnMut(&mut [u8]) -> Fate + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(target) else { continue };
            let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { continue };
            let (there, back) = touches();
            std::thread::spawn(move || forward(client, server, there));
            std::thread::spawn(move || forward(server_too, client_too, back));
        }
    });
    Ok(address)
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut touch: impl FnMut(&mut [u8]) -> Fate) {
    let (mut buffer, mut fate) = (vec![0; 16 * 1024], Fate::Pass);
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        fate = touch(&mut buffer[..len]);
        if fate == Fate::End || fate == Fate::Pass && to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    if fate != Fate::Vanish {
        // Either end may be gone already: then there is nothing to shut down.
        let _gone = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
    }
}
