//! How long a certificate lives: when to make it anew, and from when on to say that it ends.
//!
//! Whoever has the CA renews its own; nobody else's is renewed, so their end is told while there is time. The clock comes in
//! as an argument.

use crate::home;
use crate::identity::{Authority, Identity, IdentityError, malformed, node_of_key};
use content::UnixTime;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};

/// From how many days before its end on a certificate's end is told.
const SOON: u64 = 60;
const DAY: u64 = 24 * 3600;

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    begins: UnixTime,
    ends: UnixTime,
}

impl Life {
    /// Of this certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = X509Certificate::from_der(certificate).map_err(|error| malformed("certificate", error))?;
        let validity = parsed.1.validity();
        let seconds = |time: i64| UnixTime(u64::try_from(time).unwrap_or_default());
        Ok(Self { begins: seconds(validity.not_before.timestamp()), ends: seconds(validity.not_after.timestamp()) })
    }

    /// Whether less than a third of it is left.
    fn is_old(self, now: UnixTime) -> bool {
        let whole = self.ends.0.saturating_sub(self.begins.0);
        self.ends.0.saturating_sub(now.0) < whole / 3
    }

    /// What to say about its end, when that is near.
    pub(crate) fn notice(self, now: UnixTime) -> Option<String> {
        if now >= self.ends {
            return Some("has ended".to_owned());
        }
        match (self.ends.0 - now.0) / DAY {
            SOON.. => None,
            0 => Some("ends within a day".to_owned()),
            1 => Some("ends in a day".to_owned()),
            days => Some(format!("ends in {days} days")),
        }
    }
}

/// Makes the certificate in this directory anew when it is old: for the same key and role, by the CA that made it. Says
/// whether it did.
pub(crate) fn renew(directory: &Path, authority: &Authority, now: UnixTime) -> Result<bool, IdentityError> {
    let identity = Identity::load(directory)?;
    if identity.ca() != authority.certificate() {
        return Err(malformed("certificate", "it was made by another CA"));
    }
    if !Life::of(&identity.chain[0])?.is_old(now) {
        return Ok(false);
    }
    let path = directory.join(home::KEY);
    let text = home::at(&path, std::fs::read_to_string(&path))?;
    let key = KeyPair::from_pem(&text).map_err(|error| malformed("private key", error))?;
    if node_of_key(&key) != identity.node {
        return Err(malformed("certificate", "it is not for the key beside it"));
    }
    let leaf = authority.issue_own(&key, identity.role, now)?;
    // The key stays as it is: only the certificate is replaced, whole or not at all.
    for (name, bytes) in Identity::to_files(&key, &leaf, authority.certificate()) {
        if name == home::CERTIFICATE {
            home::replace(&directory.join(name), &bytes)?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::new_key;
    use content::Role;

    const YEAR: u64 = 365 * DAY;

    /// A member whose certificate was made at `made`, in a directory.
    fn member(authority: &Authority, role: Role, made: UnixTime) -> tempfile::TempDir {
        let (key, temp) = (new_key(), tempfile::tempdir().expect("a temporary directory"));
        let leaf = authority.issue_own(&key, role, made).expect("a certificate");
        let files = Identity::to_files(&key, &leaf, authority.certificate());
        home::write_set(&temp.path().join("me"), &files).expect("written");
        temp
    }

    #[test]
    fn a_certificate_is_renewed_in_the_last_third_of_its_life_and_stays_the_same_member() {
        let (authority, made) = (Authority::create().expect("a CA"), UnixTime(1_000_000_000));
        for role in [Role::Origin, Role::Operator] {
            let temp = member(&authority, role, made);
            let at = temp.path().join("me");
            let before = Identity::load(&at).expect("read");
            assert!(!renew(&at, &authority, UnixTime(made.0 + YEAR / 2)).expect("young"));
            assert_eq!(Identity::load(&at).expect("read").chain, before.chain);
            let late = UnixTime(made.0 + YEAR - 30 * DAY);
            assert!(renew(&at, &authority, late).expect("old"));
            let after = Identity::load(&at).expect("read");
            assert_eq!((after.node, after.role), (before.node, before.role));
            let life = Life::of(&after.chain[0]).expect("a life");
            assert!(life.notice(late).is_none() && life.ends.0 > late.0 + YEAR, "{life:?}");
            assert!(!renew(&at, &authority, late).expect("young again"));
        }
    }

    #[test]
    fn another_fleets_certificate_is_left_alone() {
        let (ours, theirs) = (Authority::create().expect("a CA"), Authority::create().expect("a CA"));
        let temp = member(&theirs, Role::Operator, UnixTime(1_000_000_000));
        assert!(renew(&temp.path().join("me"), &ours, UnixTime(1_000_000_000 + YEAR)).is_err());
    }

    #[test]
    fn the_end_is_told_from_sixty_days_before() {
        let life = Life { begins: UnixTime(0), ends: UnixTime(397 * DAY) };
        let told = |before: u64| life.notice(UnixTime(397 * DAY - before));
        assert_eq!(told(61 * DAY), None);
        assert_eq!(told(59 * DAY + 5).as_deref(), Some("ends in 59 days"));
        assert_eq!(told(DAY + 5).as_deref(), Some("ends in a day"));
        assert_eq!(told(5).as_deref(), Some("ends within a day"));
        assert_eq!(told(0).as_deref(), Some("has ended"));
    }
}
