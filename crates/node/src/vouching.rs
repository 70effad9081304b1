//! Which CAs vouch for members: those that the newest trust root names, remembered beside a member's certificate; and at an origin, their keys.
//!
//! A root that names two CAs lets the members of both in, and the last one makes certificates: so everyone can change over while everything
//! runs. An origin shows its old certificate as long as the old CA is named, since who was away believes nothing else yet. Each step can be
//! the last one before a crash: what the root says is done again at the next start.

use crate::api::Refusal;
use crate::home;
use crate::identity::{self, Authority, Identity, IdentityError, malformed, pin_of, wall_clock};
use crate::life;
use crate::tls::Tls;
use content::Digest;
use rustls::pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Notify, watch};

/// The CAs of which an origin has the keys.
pub(crate) struct Authorities {
    /// Where they are.
    directory: PathBuf,
    known: RwLock<Known>,
}

struct Known {
    all: Vec<Arc<Authority>>,
    /// The one that makes certificates, whether its key is here or not.
    newest: Digest,
}

impl Authorities {
    /// One that is here.
    #[cfg(test)]
    pub(crate) fn of(authority: Authority) -> Self {
        let newest = pin_of(authority.certificate());
        Self { directory: PathBuf::new(), known: RwLock::new(Known { all: vec![Arc::new(authority)], newest }) }
    }

    /// Those in an origin's home. One that cannot be read is not here: without it an origin makes no certificates, and does all else.
    pub(crate) fn load(home: &Path, newest: &CertificateDer<'_>) -> Self {
        let directory = home::authority(home);
        let all = read_all(&directory);
        Self { directory, known: RwLock::new(Known { all, newest: pin_of(newest) }) }
    }

    fn known<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The one that makes certificates.
    pub(crate) fn issuing(&self) -> Option<Arc<Authority>> {
        self.known(|known| known.of(known.newest))
    }

    /// The same for somebody who asks for a certificate.
    pub(crate) fn require_issuing(&self) -> Result<Arc<Authority>, Refusal> {
        let why = "this origin has not got the key of the fleet's CA, so nobody joins or renews; put it back from a backup, or make a new \
                   CA with `tiding ca rotate --lost`";
        self.issuing().ok_or_else(|| Refusal::Failed { why: why.to_owned() })
    }

    /// The pin of the one that makes certificates.
    pub(crate) fn newest(&self) -> Digest {
        self.known(|known| known.newest)
    }

    /// The one with this pin.
    pub(crate) fn with_pin(&self, pin: Digest) -> Option<Arc<Authority>> {
        self.known(|known| known.of(pin))
    }

    /// The certificate of the CA that the next trust root is to name: one that waits for it already, or a new one. While a change is under
    /// way it is the one to which the fleet changes.
    pub(crate) fn prepare(&self, named: usize, is_lost: bool) -> Result<CertificateDer<'static>, Refusal> {
        let failed = |error: IdentityError| Refusal::Failed { why: error.to_string() };
        match self.issuing() {
            Some(issuing) if named > 1 => return Ok(issuing.certificate().clone()),
            None if !is_lost => {
                let why = "the key of the fleet's CA is not on this origin; if it is lost for good, say --lost";
                return Err(Refusal::NotAllowed { why: why.to_owned() });
            }
            _ => {}
        }
        let path = self.directory.join(home::NEXT_CA);
        let next = match path.exists() {
            true => Authority::load_file(&path).map_err(failed)?,
            false => {
                let made = Authority::create().map_err(failed)?;
                let disk = |error: home::FileError| failed(error.into());
                home::at(&self.directory, home::private_dirs(&self.directory)).map_err(disk)?;
                home::replace(&path, &made.to_file()).map_err(disk)?;
                made
            }
        };
        let certificate = next.certificate().clone();
        self.learn();
        Ok(certificate)
    }

    /// Reads again what is there.
    fn learn(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).all = read_all(&self.directory);
    }

    /// The newest trust root names these: what waited for that is one of them from now on.
    fn follow(&self, named: &[CertificateDer<'_>]) -> Result<(), IdentityError> {
        let waits = self.directory.join(home::NEXT_CA);
        if waits.exists() {
            let pin = pin_of(Authority::load_file(&waits)?.certificate());
            if named.iter().any(|ca| pin_of(ca) == pin) {
                home::at(&waits, std::fs::rename(&waits, self.directory.join(file_name(pin))))?;
                home::at(&self.directory, std::fs::File::open(&self.directory).and_then(|at| at.sync_all()))?;
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.all = read_all(&self.directory);
        known.newest = named.last().map_or(known.newest, pin_of);
        Ok(())
    }

    /// Removes the keys of those that were given up, once the one that makes certificates is here.
    fn forget_others(&self, named: &[CertificateDer<'_>]) {
        if self.issuing().is_none() {
            return;
        }
        let is_named = |authority: &Authority| named.contains(authority.certificate());
        let given_up: Vec<Arc<Authority>> =
            self.known(|known| known.all.iter().filter(|known| !is_named(known)).cloned().collect());
        for authority in given_up {
            let pin = pin_of(authority.certificate());
            let is_first = Authority::load(&self.directory).is_ok_and(|first| pin_of(first.certificate()) == pin);
            let files =
                if is_first { vec![home::KEY.to_owned(), home::CERTIFICATE.to_owned()] } else { vec![file_name(pin)] };
            for file in files {
                match std::fs::remove_file(self.directory.join(&file)) {
                    // One that waits for its root has another name.
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(file, %error, "the key of a CA that was given up cannot be removed");
                    }
                    _ => {}
                }
            }
        }
        self.learn();
    }
}

impl Known {
    fn of(&self, pin: Digest) -> Option<Arc<Authority>> {
        self.all.iter().find(|authority| pin_of(authority.certificate()) == pin).cloned()
    }
}

/// Where the key of a CA is that a trust root names.
fn file_name(pin: Digest) -> String {
    format!("{}.pem", &pin.to_string()[..16])
}

fn read_all(directory: &Path) -> Vec<Arc<Authority>> {
    let mut all = Vec::new();
    let mut take = |file: &Path, read: Result<Authority, IdentityError>| match read {
        Ok(authority) => all.push(Arc::new(authority)),
        Err(error) => tracing::warn!(file = %file.display(), %error, "a CA cannot be read"),
    };
    if directory.join(home::CERTIFICATE).exists() {
        take(directory, Authority::load(directory));
    }
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".pem") && !name.starts_with('.') && name != home::KEY && name != home::CERTIFICATE
    };
    let mut files: Vec<PathBuf> = names.filter(is_one).collect();
    files.sort();
    files.iter().for_each(|file| take(file, Authority::load_file(file)));
    all
}

/// Whether the home of an origin lacks the key of the CA that makes certificates.
pub fn lacks_the_ca(home: &Path) -> bool {
    let Ok(own) = Identity::load(&home::identity(home)) else { return false };
    own.role == content::Role::Origin && Authorities::load(home, own.newest()).issuing().is_none()
}

/// Brings a member in line with the CAs that the newest trust root names.
pub(crate) struct Follower {
    /// Where its certificate is.
    pub(crate) directory: PathBuf,
    /// What speaks with it.
    pub(crate) tls: Arc<Tls>,
    /// At an origin: their keys.
    pub(crate) authorities: Option<Arc<Authorities>>,
    /// Told when other CAs are believed.
    pub(crate) changed: Arc<Notify>,
}

impl Follower {
    /// Believes these CAs and no others from now on; none says nothing about them.
    pub(crate) fn follow(&self, named: &[Vec<u8>]) -> Result<(), IdentityError> {
        let named: Vec<CertificateDer<'static>> = named.iter().cloned().map(CertificateDer::from).collect();
        if named.is_empty() {
            return Ok(());
        }
        if !named.iter().all(identity::is_authority) {
            return Err(malformed("trust root", "what it names as a CA is none; the CAs of before are believed"));
        }
        let before = Identity::load(&self.directory)?;
        if before.believed() != named {
            identity::keep_authorities(&self.directory, &named)?;
        }
        if let Some(authorities) = &self.authorities {
            authorities.follow(&named)?;
            match authorities.issuing() {
                Some(issuing) if !named.contains(before.ca()) => {
                    life::change(&self.directory, &issuing, wall_clock())?;
                }
                _ => {}
            }
        }
        self.tls.replace(&Identity::load(&self.directory)?).map_err(|error| malformed("certificate", error))?;
        self.authorities.iter().for_each(|authorities| authorities.forget_others(&named));
        self.changed.notify_one();
        Ok(())
    }

    /// Follows whatever comes into force. Never ends before whoever tells it.
    pub(crate) async fn run(self, mut rooted: watch::Receiver<Vec<Vec<u8>>>) {
        let follower = Arc::new(self);
        while rooted.changed().await.is_ok() {
            let (named, follower) = (rooted.borrow_and_update().clone(), follower.clone());
            let followed = tokio::task::spawn_blocking(move || follower.follow(&named)).await;
            match followed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the CAs that the trust root names are not followed"),
                Err(error) => tracing::error!(%error, "the CAs that the trust root names are not followed"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::new_key;
    use crate::testing::Guest;
    use crate::tls::Door;
    use content::Role;

    /// A member's directory with a certificate of a CA.
    fn member(at: &Path, authority: &Authority, role: Role) {
        let key = new_key();
        let leaf = authority.issue_own(&key, role, wall_clock()).expect("a certificate");
        home::write_set(at, &Identity::to_files(&key, &leaf, authority.certificate())).expect("written");
    }

    fn follower(at: &Path, authorities: Option<Arc<Authorities>>) -> Follower {
        let tls = Arc::new(Tls::new(&Identity::load(at).expect("read")).expect("it fits"));
        Follower { directory: at.to_owned(), tls, authorities, changed: Arc::default() }
    }

    fn named(all: &[&Authority]) -> Vec<Vec<u8>> {
        all.iter().map(|authority| authority.certificate().to_vec()).collect()
    }

    /// Whether one is let in by the other, and lets it in.
    async fn talk(from: &Follower, to: &Follower) -> bool {
        let guest = Guest::listen(to.tls.clone()).await;
        let (dialled, (accepted, _)) = tokio::join!(from.tls.dial(guest.address, Door::Control, None), guest.accept());
        dialled.is_ok() && accepted.is_ok()
    }

    #[tokio::test]
    async fn h7_members_of_both_cas_talk_while_both_are_named_and_those_of_the_old_one_do_not_afterwards() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (old, new) = (Authority::create().expect("a CA"), Authority::create().expect("a CA"));
        let [a, b, c] = ["a", "b", "c"].map(|name| temp.path().join(name));
        member(&a, &old, Role::Agent);
        member(&b, &new, Role::Agent);
        member(&c, &old, Role::Agent);
        let [a, b, c] = [a, b, c].map(|at| follower(&at, None));
        assert!(talk(&a, &c).await && !talk(&a, &b).await && !talk(&b, &a).await);
        for one in [&a, &b, &c] {
            one.follow(&named(&[&old, &new])).expect("followed");
        }
        assert!(talk(&a, &b).await && talk(&b, &a).await && talk(&a, &c).await);
        let open = tokio::spawn({
            let (tls, ca) = (b.tls.clone(), pin_of(old.certificate()));
            async move { tls.given_up(Some(ca)).await }
        });
        for one in [&a, &b, &c] {
            one.follow(&named(&[&new])).expect("followed");
        }
        assert!(!talk(&a, &b).await && !talk(&b, &a).await && !talk(&a, &c).await);
        open.await.expect("what was open is to be closed");
        // What is believed is remembered, and that the own certificate is of no use.
        let again = Identity::load(&a.directory).expect("read");
        assert!(again.is_superseded() && again.believed() == [new.certificate().clone()]);
        assert!(!Identity::load(&b.directory).expect("read").is_superseded());
    }

    #[tokio::test]
    async fn h7_what_is_no_ca_changes_nothing_and_none_says_nothing() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (old, at) = (Authority::create().expect("a CA"), temp.path().join("a"));
        member(&at, &old, Role::Agent);
        let one = follower(&at, None);
        let leaf = old.issue_own(&new_key(), Role::Agent, wall_clock()).expect("a certificate").to_vec();
        for bad in [b"no certificate".to_vec(), leaf, [&named(&[&old])[0][..], b"x"].concat()] {
            assert!(one.follow(&[named(&[&old]), vec![bad]].concat()).is_err());
        }
        one.follow(&[]).expect("nothing is said");
        assert_eq!(one.tls.believed(), [pin_of(old.certificate())]);
        assert!(!at.join(home::AUTHORITIES).exists());
    }

    fn origin(at: &Path) -> (Follower, Arc<Authorities>) {
        let own = Identity::load(&home::identity(at)).expect("read");
        let authorities = Arc::new(Authorities::load(at, own.newest()));
        (follower(&home::identity(at), Some(authorities.clone())), authorities)
    }

    /// Each step is done by a process of its own, as if the one before had been killed right after it.
    #[test]
    fn h7_an_origin_that_is_killed_between_two_steps_goes_on_and_loses_no_key() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (at, old) = (temp.path(), Authority::create().expect("a CA"));
        home::write_set(&home::authority(at), &old.to_files()).expect("written");
        member(&home::identity(at), &old, Role::Origin);
        let pins = |at: &Path| {
            let (follower, authorities) = origin(at);
            (authorities.issuing().map(|one| pin_of(one.certificate())), follower.tls.shows())
        };
        let before = pin_of(old.certificate());
        assert!(origin(at).1.prepare(1, false).is_ok());
        let made = origin(at).1.prepare(1, false).expect("the same again");
        let new = pin_of(&made);
        assert_eq!(pins(at), (Some(before), before), "nothing names it");
        let both = [old.certificate().to_vec(), made.to_vec()];
        for _ in 0..2 {
            origin(at).0.follow(&both).expect("followed");
            assert_eq!(pins(at), (Some(new), before), "it makes the new ones, and shows the old one");
            assert_eq!(origin(at).1.prepare(2, false).expect("it is under way"), made);
        }
        // It was killed after it had written down what is believed.
        identity::keep_authorities(&home::identity(at), std::slice::from_ref(&made)).expect("written");
        for _ in 0..2 {
            origin(at).0.follow(&both[1..]).expect("followed");
            assert_eq!(pins(at), (Some(new), new));
            assert!(!home::authority(at).join(home::KEY).exists(), "the old key is gone");
        }
        let third = origin(at).1.prepare(1, false).expect("another change");
        assert!(third != made && pins(at) == (Some(new), new));
    }

    #[test]
    fn h7_without_its_key_an_origin_makes_nothing_until_it_is_told_that_it_is_lost() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (at, old) = (temp.path(), Authority::create().expect("a CA"));
        member(&home::identity(at), &old, Role::Origin);
        let (follower, authorities) = origin(at);
        assert!(lacks_the_ca(at) && authorities.require_issuing().is_err());
        assert!(authorities.prepare(1, false).is_err_and(|why| why.to_string().contains("--lost")));
        let made = authorities.prepare(1, true).expect("made");
        follower.follow(&[old.certificate().to_vec(), made.to_vec()]).expect("followed");
        assert!(authorities.require_issuing().is_ok() && !lacks_the_ca(at));
        assert_eq!(follower.tls.shows(), pin_of(old.certificate()));
    }
}
