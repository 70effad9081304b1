//! Telling whoever started this process how it does, in the words of systemd's `sd_notify`(3): one datagram, lines of `NAME=value`.
//!
//! It knows the words and the two kinds of addresses (a path, or `@name` for an abstract one), and nothing of when to say what. A word
//! that cannot be delivered is dropped: a supervisor that is gone must not hold up what it supervises.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The longest status, in bytes.
const LONGEST: usize = 512;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It serves.
    Ready,
    /// How it does, in one line for people.
    Status(String),
    /// It still turns.
    Alive,
    /// It is about to end.
    Stopping,
    /// The version of this program that runs is the one that is to run: it was confirmed, or gone back to.
    Settled,
}

/// How a program says that it is settled; systemd leaves names with `X_` alone.
const SETTLED: &str = "X_TIDING_SETTLED=1";

impl Word {
    fn line(&self) -> String {
        match self {
            Self::Ready => "READY=1".to_owned(),
            Self::Status(text) => format!("STATUS={}", one_line(text)),
            Self::Alive => "WATCHDOG=1".to_owned(),
            Self::Stopping => "STOPPING=1".to_owned(),
            Self::Settled => SETTLED.to_owned(),
        }
    }

    fn of_line(line: &str) -> Option<Self> {
        match line {
            "READY=1" => Some(Self::Ready),
            "WATCHDOG=1" => Some(Self::Alive),
            "STOPPING=1" => Some(Self::Stopping),
            SETTLED => Some(Self::Settled),
            _ => line.strip_prefix("STATUS=").map(|text| Self::Status(one_line(text))),
        }
    }

    /// The words of a datagram; names that nobody here knows are skipped.
    pub fn all_of(datagram: &[u8]) -> Vec<Self> {
        String::from_utf8_lossy(datagram).lines().filter_map(Self::of_line).collect()
    }
}

/// What a line may hold, and no more of it than anyone reads.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain
        .scan(0, |len, c| {
            *len += c.len_utf8();
            (*len <= LONGEST).then_some(c)
        })
        .collect()
}

/// The way to a supervisor.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Notifier {
    /// To an address as `NOTIFY_SOCKET` says it: an absolute path, or `@` and an abstract name.
    pub fn to(address: &OsStr) -> io::Result<Self> {
        let to = address_of(address)?;
        let socket = UnixDatagram::unbound()?;
        // A supervisor that does not read must not hold up the one who tells it.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }

    /// Tells some words at once.
    pub fn tell(&self, words: &[Word]) {
        if words.is_empty() {
            return;
        }
        let lines: Vec<String> = words.iter().map(Word::line).collect();
        if let Err(error) = self.socket.send_to_addr(lines.join("\n").as_bytes(), &self.to) {
            tracing::debug!(%error, "whoever started this process does not hear how it does");
        }
    }
}

fn address_of(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(address),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no absolute path and no abstract name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 2048];
        let read = socket.recv(&mut buffer).expect("something was sent");
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }

    #[test]
    fn words_arrive_at_a_path_and_at_an_abstract_name() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("notify");
        let name = format!("@tiding-test-{}", std::process::id());
        for address in [path.as_os_str(), OsStr::new(&name)] {
            let socket = UnixDatagram::bind_addr(&address_of(address).expect("an address")).expect("bound");
            let notifier = Notifier::to(address).expect("an address");
            notifier.tell(&[Word::Ready, Word::Status("agent a\nREADY=0".to_owned())]);
            assert_eq!(heard(&socket), "READY=1\nSTATUS=agent a READY=0", "{address:?}");
            notifier.tell(&[Word::Alive]);
            assert_eq!(heard(&socket), "WATCHDOG=1");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_and_nobody_who_listens_is_no_failure() {
        for wrong in ["", "@", "notify", "vsock:2:3"] {
            assert!(Notifier::to(OsStr::new(wrong)).is_err(), "{wrong}");
        }
        Notifier::to(OsStr::new("@tiding-nobody-is-here")).expect("an address").tell(&[Word::Stopping]);
    }

    #[test]
    fn what_is_told_is_what_is_heard_and_strange_lines_are_skipped() {
        let words = [Word::Ready, Word::Alive, Word::Stopping, Word::Status("x".into()), Word::Settled];
        let lines: Vec<String> = words.iter().map(Word::line).collect();
        assert_eq!(Word::all_of(format!("MAINPID=1\n{}\nFDSTORE=1", lines.join("\n")).as_bytes()), words);
        let long = Word::Status("é".repeat(LONGEST)).line();
        assert_eq!(long.len(), "STATUS=".len() + LONGEST);
        assert_eq!(Word::all_of(b"\xff\0READY=1"), []);
    }
}
