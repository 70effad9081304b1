//! So many at once and no more, and of one network only its share: what strangers may have of a scarce thing.
//!
//! Counts and nothing else: what is scarce, and for how long one has it, is for others to say. A network is an IPv4 address, or
//! an IPv6 /64, in which one machine may have any address it likes. This machine itself has half: several members may live
//! here (a playground), and still no local user locks out everyone else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Counts what is taken.
pub(crate) struct Shares {
    all: usize,
    each: usize,
    taken: Mutex<BTreeMap<IpAddr, usize>>,
    given_back: Notify,
}

/// One share, taken until this is dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    network: IpAddr,
}

impl Shares {
    /// `all` at once, and `each` of one network.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { all, each, taken: Mutex::default(), given_back: Notify::new() }
    }

    /// Takes one, if there is one for this address.
    pub(crate) fn take(self: &Arc<Self>, from: IpAddr) -> Option<Share> {
        let network = network(from);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&network).copied().unwrap_or_default();
        let each = if network.is_loopback() { self.all / 2 } else { self.each };
        (all < self.all && own < each).then(|| {
            taken.insert(network, own + 1);
            Share { shares: self.clone(), network }
        })
    }

    /// Takes one as soon as there is one for this address.
    pub(crate) async fn wait(self: &Arc<Self>, from: IpAddr) -> Share {
        loop {
            // Made before looking, so that nothing that is given back in between is missed.
            let given_back = self.given_back.notified();
            if let Some(share) = self.take(from) {
                return share;
            }
            given_back.await;
        }
    }

    /// How many are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().expect("not poisoned").values().sum()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.network) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.network)),
        }
        drop(taken);
        self.shares.given_back.notify_waiters();
    }
}

/// By what an address is counted.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        IpAddr::V4(address) if address.is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// As many as one address gets.
    fn all_of(shares: &Arc<Shares>, from: &str) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(address(from))).collect()
    }

    #[test]
    fn b5_a_network_has_no_more_than_its_share_and_gets_it_back() {
        let shares = Arc::new(Shares::new(10, 3));
        let held = all_of(&shares, "203.0.113.1");
        assert_eq!(held.len(), 3);
        assert!(shares.take(address("::ffff:203.0.113.1")).is_none(), "the same address, written otherwise");
        assert_eq!(all_of(&shares, "203.0.113.2").len(), 3, "another's share is its own");
        drop(held);
        assert_eq!(all_of(&shares, "203.0.113.1").len(), 3);
        assert!(shares.taken.lock().expect("not poisoned").is_empty(), "what is given back is forgotten");
    }

    #[test]
    fn b5_addresses_of_one_ipv6_network_have_one_share() {
        let shares = Arc::new(Shares::new(10, 3));
        let _held = all_of(&shares, "2001:db8:0:1::1");
        assert!(shares.take(address("2001:db8:0:1:ffff::2")).is_none());
        assert!(shares.take(address("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn b5_local_users_cannot_lock_everyone_out() {
        let shares = Arc::new(Shares::new(10, 3));
        let held = ["127.0.0.1", "127.0.0.2", "::1"].map(|local| all_of(&shares, local));
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), 5, "half of all, from however many local addresses");
        assert_eq!(all_of(&shares, "203.0.113.1").len(), 3);
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back() {
        let shares = Arc::new(Shares::new(10, 1));
        let from = address("203.0.113.1");
        let first = shares.wait(from).await;
        let waiting = tokio::spawn({
            let shares = shares.clone();
            async move { shares.wait(from).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.expect("it has its turn");
    }
}
