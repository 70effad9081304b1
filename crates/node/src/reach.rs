//! Where others reach this node: what it was told, else where it listens, else the address by which it goes out.
//!
//! An address that leads nowhere (`0.0.0.0`, `::`, port 0) is never among them; when nothing else is known, there is none, and
//! who wants to tell others has to be told first.

use crate::join::MAX_ADDRESSES;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Whether others could dial this at all.
pub fn leads_somewhere(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_unspecified() && address.port() != 0
}

/// The addresses to give to others, when `told` is what was said and `listening` where connections are accepted.
pub(crate) fn addresses(told: &[SocketAddr], listening: SocketAddr) -> Vec<SocketAddr> {
    addresses_by(told, listening, outward)
}

fn addresses_by(
    told: &[SocketAddr],
    listening: SocketAddr,
    outward: impl FnOnce(IpAddr) -> Option<IpAddr>,
) -> Vec<SocketAddr> {
    let known = match (told.is_empty(), listening.ip().is_unspecified()) {
        (false, _) => told.to_vec(),
        (true, false) => vec![listening],
        (true, true) => outward(listening.ip()).map(|ip| SocketAddr::new(ip, listening.port())).into_iter().collect(),
    };
    known.into_iter().filter(leads_somewhere).take(MAX_ADDRESSES).collect()
}

/// The address of this machine on its way out; nothing is sent.
fn outward(listening: IpAddr) -> Option<IpAddr> {
    let (any, far) = match listening {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn what_was_told_comes_before_what_is_found_and_nothing_that_leads_nowhere_comes_at_all() {
        let found = |_| Some([10, 0, 0, 7].into());
        let given = |told: &[&str], listening: &str| addresses_by(&all(told), all(&[listening])[0], found);
        assert_eq!(given(&["203.0.113.7:1"], "0.0.0.0:7443"), all(&["203.0.113.7:1"]));
        assert_eq!(given(&[], "10.0.0.5:7443"), all(&["10.0.0.5:7443"]));
        assert_eq!(given(&[], "0.0.0.0:7443"), all(&["10.0.0.7:7443"]));
        assert_eq!(given(&["0.0.0.0:7443", "[::]:1", "10.0.0.5:0"], "10.0.0.5:7443"), []);
        assert_eq!(addresses_by(&[], all(&["0.0.0.0:7443"])[0], |_| None), []);
        assert_eq!(addresses_by(&[], all(&["0.0.0.0:7443"])[0], Some), [], "the way out is no address either");
    }
}
