//! How long a certificate lives: when to make it anew, and from when on to say that it ends.
//!
//! Nodes' certificates are short and renewed long before they end; an operator's lies with keys that may be in a drawer for months, and
//! is longer. Who has ended may still renew for a while. The clock comes in as an argument.

use crate::home;
use crate::identity::{Authority, BACKDATE, Identity, IdentityError, is_made_by, malformed, node_of_key};
use content::{Role, UnixTime};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// From how many days before its end on a certificate's end is told: renewing must have failed for long.
const SOON: u64 = 20;
const DAY: u64 = 24 * 3600;
/// For how long after its end a certificate is good for one thing: another one.
pub(crate) const GRACE: Duration = Duration::from_secs(90 * DAY);

/// How long the certificates of a role live once they are renewed.
pub(crate) fn term(role: Role) -> Duration {
    Duration::from_secs(match role {
        Role::Agent | Role::Origin => 90 * DAY,
        Role::Operator => 397 * DAY,
    })
}

/// Whether it is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Not yet, and in how long.
    Young(Duration),
    /// Some time soon.
    Due,
    /// Now: little is left of it, or nothing.
    Urgent,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) begins: UnixTime,
    pub(crate) ends: UnixTime,
}

impl Life {
    /// Of this certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = X509Certificate::from_der(certificate).map_err(|error| malformed("certificate", error))?;
        let validity = parsed.1.validity();
        let seconds = |time: i64| UnixTime(u64::try_from(time).unwrap_or_default());
        Ok(Self { begins: seconds(validity.not_before.timestamp()), ends: seconds(validity.not_after.timestamp()) })
    }

    /// Whether it was made by a clock that was far ahead of this time.
    pub(crate) fn is_ahead_of(self, now: UnixTime) -> bool {
        self.begins.0 > now.0.saturating_add(DAY)
    }

    /// Whether it is to be renewed: when a third of it has gone, or when it is longer than such certificates are now, or from the future.
    pub(crate) fn age(self, role: Role, now: UnixTime) -> Age {
        let (term, left) = (term(role).as_secs(), self.ends.0.saturating_sub(now.0));
        let is_long = self.ends.0.saturating_sub(self.begins.0) > term + DAY;
        match left {
            left if left <= term / 3 => Age::Urgent,
            left if left <= term / 3 * 2 || is_long || self.is_ahead_of(now) => Age::Due,
            left => Age::Young(Duration::from_secs(left - term / 3 * 2)),
        }
    }

    /// When it is valid no more.
    pub(crate) fn ends(self) -> UnixTime {
        self.ends
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

/// The key in a directory, which must be that of the certificate beside it.
pub(crate) fn key_of(directory: &Path, identity: &Identity) -> Result<KeyPair, IdentityError> {
    let path = directory.join(home::KEY);
    let text = home::at(&path, std::fs::read_to_string(&path))?;
    let key = KeyPair::from_pem(&text).map_err(|error| malformed("private key", error))?;
    match node_of_key(&key) == identity.node {
        true => Ok(key),
        false => Err(malformed("certificate", "it is not for the key beside it")),
    }
}

/// Puts a member's next certificate into its directory. The key stays as it is: only the certificate is replaced, whole or not at all.
pub(crate) fn keep(
    directory: &Path,
    key: &KeyPair,
    leaf: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
) -> Result<(), IdentityError> {
    let files = Identity::to_files(key, leaf, ca);
    let certificates = files.iter().find(|(name, _)| *name == home::CERTIFICATE);
    let (name, bytes) = certificates.expect("an identity's files are its key and its certificates");
    Ok(home::replace(&directory.join(name), bytes)?)
}

/// Makes the certificate in this directory anew when it is time: for the same key and role, by the CA that made it. Says
/// whether it did; by a clock that is behind the certificate it never does, since what that clock makes may have ended already.
pub(crate) fn renew(directory: &Path, authority: &Authority, now: UnixTime) -> Result<bool, IdentityError> {
    let identity = Identity::load(directory)?;
    if identity.ca() != authority.certificate() {
        return Err(malformed("certificate", "it was made by another CA"));
    }
    renew_by(directory, &identity, authority, now)
}

/// The same by the CA that makes certificates now, if an earlier one made it.
pub(crate) fn change(directory: &Path, authority: &Authority, now: UnixTime) -> Result<bool, IdentityError> {
    let identity = Identity::load(directory)?;
    if is_made_by(&identity.chain[0], authority.certificate()) && identity.ca() == authority.certificate() {
        return Ok(false);
    }
    make_anew(directory, &identity, authority, now).map(|()| true)
}

fn renew_by(
    directory: &Path,
    identity: &Identity,
    authority: &Authority,
    now: UnixTime,
) -> Result<bool, IdentityError> {
    let life = Life::of(&identity.chain[0])?;
    if now < life.begins || matches!(life.age(identity.role, now), Age::Young(_)) {
        return Ok(false);
    }
    make_anew(directory, identity, authority, now).map(|()| true)
}

fn make_anew(directory: &Path, identity: &Identity, authority: &Authority, now: UnixTime) -> Result<(), IdentityError> {
    let earliest = Life::of(authority.certificate())?.begins.0 + BACKDATE.as_secs();
    let now = UnixTime(now.0.max(earliest));
    let key = key_of(directory, identity)?;
    let leaf = authority.reissue_own(&key, identity.role, now, term(identity.role))?;
    keep(directory, &key, &leaf, authority.certificate())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{new_key, wall_clock};

    /// A member whose certificate was made at `made`, in a directory.
    fn member(authority: &Authority, role: Role, made: UnixTime) -> tempfile::TempDir {
        let (key, temp) = (new_key(), tempfile::tempdir().expect("a temporary directory"));
        let leaf = authority.issue_own(&key, role, made).expect("a certificate");
        let files = Identity::to_files(&key, &leaf, authority.certificate());
        home::write_set(&temp.path().join("me"), &files).expect("written");
        temp
    }

    #[test]
    fn h6_a_certificate_is_renewed_when_a_third_has_gone_and_stays_the_same_member() {
        let (authority, made) = (Authority::create().expect("a CA"), wall_clock());
        for role in [Role::Agent, Role::Origin, Role::Operator] {
            let temp = member(&authority, role, made);
            let at = temp.path().join("me");
            let before = Identity::load(&at).expect("read");
            // A first one is long, also for those whose next ones are short.
            assert_eq!(renew(&at, &authority, made).expect("read"), role != Role::Operator, "{role:?}");
            let ends = Life::of(&Identity::load(&at).expect("read").chain[0]).expect("a life").ends;
            let late = UnixTime(ends.0 - term(role).as_secs() / 2);
            assert!(!renew(&at, &authority, UnixTime(ends.0 - term(role).as_secs() + DAY)).expect("young"));
            assert!(renew(&at, &authority, late).expect("a half has gone"));
            let after = Identity::load(&at).expect("read");
            assert_eq!((after.node, after.role), (before.node, before.role));
            let life = Life::of(&after.chain[0]).expect("a life");
            assert_eq!(life.ends.0, late.0 + term(role).as_secs());
            assert!(!renew(&at, &authority, late).expect("young again"));
        }
    }

    #[test]
    fn d24_an_origin_whose_clock_is_far_behind_keeps_its_certificate_and_none_begins_before_its_ca() {
        let authority = Authority::create().expect("a CA");
        let begin = Life::of(authority.certificate()).expect("a life").begins;
        let of = |at: &Path| Life::of(&Identity::load(at).expect("read").chain[0]).expect("a life");
        let temp = member(&authority, Role::Origin, wall_clock());
        let at = temp.path().join("me");
        let kept = || std::fs::read(at.join(home::CERTIFICATE)).expect("readable");
        let before = kept();
        for behind in [UnixTime(5), UnixTime(begin.0 - 300 * DAY), UnixTime(of(&at).begins.0 - 1)] {
            assert!(!renew(&at, &authority, behind).expect("read"));
        }
        assert_eq!(kept(), before);
        let temp = member(&authority, Role::Origin, UnixTime(begin.0 - 380 * DAY));
        let at = temp.path().join("me");
        assert!(renew(&at, &authority, UnixTime(begin.0 - 10 * DAY)).expect("it is old"));
        assert_eq!(of(&at).begins, begin);
    }

    #[test]
    fn another_fleets_certificate_is_left_alone() {
        let (ours, theirs) = (Authority::create().expect("a CA"), Authority::create().expect("a CA"));
        let temp = member(&theirs, Role::Operator, UnixTime(1_000_000_000));
        assert!(renew(&temp.path().join("me"), &ours, UnixTime(1_000_000_000 + 365 * DAY)).is_err());
    }

    #[test]
    fn h6_it_is_due_after_a_third_and_urgent_after_two() {
        let life = Life { begins: UnixTime(0), ends: UnixTime(90 * DAY) };
        let age = |day: u64| life.age(Role::Agent, UnixTime(day * DAY));
        assert_eq!(age(10), Age::Young(Duration::from_secs(20 * DAY)));
        assert_eq!([age(30), age(59)], [Age::Due; 2]);
        assert_eq!([age(60), age(90), age(900)], [Age::Urgent; 3]);
        let ahead = |by: u64| {
            Life { begins: UnixTime(DAY + by), ends: UnixTime(91 * DAY + by) }.age(Role::Agent, UnixTime(DAY))
        };
        assert!(matches!(ahead(DAY), Age::Young(_)), "clocks differ");
        assert_eq!([ahead(DAY + 1), ahead(900 * DAY)], [Age::Due; 2]);
        let long = Life { begins: UnixTime(0), ends: UnixTime(397 * DAY) };
        assert_eq!(long.age(Role::Agent, UnixTime(DAY)), Age::Due);
        assert!(matches!(long.age(Role::Operator, UnixTime(DAY)), Age::Young(_)));
    }

    #[test]
    fn the_end_is_told_from_twenty_days_before() {
        let life = Life { begins: UnixTime(0), ends: UnixTime(397 * DAY) };
        let told = |before: u64| life.notice(UnixTime(397 * DAY - before));
        assert_eq!(told(21 * DAY), None);
        assert_eq!(told(19 * DAY + 5).as_deref(), Some("ends in 19 days"));
        assert_eq!(told(DAY + 5).as_deref(), Some("ends in a day"));
        assert_eq!(told(5).as_deref(), Some("ends within a day"));
        assert_eq!(told(0).as_deref(), Some("has ended"));
    }
}
