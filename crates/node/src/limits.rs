//! How many descriptors this process may have: all that the system lets it have, and a word when those are few.
//!
//! A peer costs two (a connection for messages, one for payloads). Nothing is decided here about what to do without.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::RawFd;

/// Fewer than this are worth a warning: an origin with two thousand agents.
const FEW: u64 = 4096;

/// Raises the limit of descriptors as far as it may be raised without asking anyone.
pub(crate) fn raise_descriptors() {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, ..before };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let now = getrlimit(Resource::Nofile).current;
    tracing::info!(
        descriptors = now.map_or_else(|| "unlimited".to_owned(), |now| now.to_string()),
        "open files allowed"
    );
    if let Some(few) = too_few(now) {
        tracing::warn!("{few}");
    }
}

/// So many descriptors, and no more than a quarter of all, are kept from those who come to the port.
const RESERVED: u64 = 256;

/// Whether a descriptor is one of those that are for this node's own files, and for the origins and peers that it dials: whoever comes
/// and is given one of these is turned away.
pub(crate) fn is_reserved(descriptor: RawFd) -> bool {
    let allowed = getrlimit(Resource::Nofile).current;
    allowed.is_some_and(|allowed| is_among_the_last(descriptor, allowed))
}

fn is_among_the_last(descriptor: RawFd, allowed: u64) -> bool {
    let first = allowed - RESERVED.min(allowed / 4);
    u64::try_from(descriptor).is_ok_and(|descriptor| descriptor >= first)
}

/// What to say about a limit; nothing about one that suffices.
fn too_few(descriptors: Option<u64>) -> Option<String> {
    descriptors.filter(|&allowed| allowed < FEW).map(|allowed| {
        format!(
            "only {allowed} files may be open at once, which is enough for some {} peers (two each); raise the hard limit, \
             for example with LimitNOFILE=65536 in the service's unit",
            allowed.saturating_sub(64) / 2
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_the_last_descriptors_are_not_for_those_who_come() {
        let last = |allowed| (0..=1_000_000).find(|descriptor| is_among_the_last(*descriptor, allowed));
        assert_eq!([64, 1024, 20_000].map(last), [Some(48), Some(768), Some(19_744)]);
        assert!(!is_among_the_last(-1, 64));
    }

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        let before = getrlimit(Resource::Nofile);
        let lower = before.maximum.unwrap_or(1 << 20) - 1;
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), ..before }).expect("it may be lowered");
        raise_descriptors();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }

    #[test]
    fn few_descriptors_are_worth_a_word() {
        assert!(too_few(Some(1024)).is_some_and(|said| said.contains("480 peers")));
        assert_eq!(too_few(Some(65_536)), None);
        assert_eq!(too_few(None), None);
    }
}
