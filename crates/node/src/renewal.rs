//! Renewing certificates: a member shows its key at an origin's door for that, and is given the next certificate for the same key.
//!
//! The origin says first what time it is; the member asks with a request of which nothing but the proven key counts, and it must be the key
//! of the connection; the origin answers with a certificate of the role that the member has, unless it was revoked. A certificate that has
//! ended opens this door for 90 days more and no other. Three frames, bounded and timed, as at the join door.

use crate::api::Refusal;
use crate::clock;
use crate::desk::Desk;
use crate::home;
use crate::identity::{self, Identity, IdentityError, RequestedKey, pin_of, wall_clock};
use crate::join::{Greeting, MAX_DER, hear, say};
use crate::life::{self, Age, Life};
use crate::tls::{Door, Peer, Stream, Tls, TlsError};
use crate::vouching::Authorities;
use content::UnixTime;
use content::encoding::{Decoder, Encode, Encoder, Malformed};
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How long one at the door may take for all of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a node looks whether it is time, at the least; what is due is done some time within this, so that those who came at once do
/// not come back at once.
const LOOK: Duration = Duration::from_secs(6 * 3600);
/// How soon after its start a node hears what time it is.
const SOON: Duration = Duration::from_secs(4);
/// How soon what is urgent is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Why there is no other certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    /// No origin answers at that door.
    #[error("no origin renews certificates: {0}")]
    Unreachable(String),
    /// It refused.
    #[error("the origin refused: {0}")]
    Refused(String),
    /// What it gave is of no use: the one that is there is kept.
    #[error("the origin's answer is of no use: {0}")]
    Useless(String),
    /// This machine, an origin, would make one that is older than what is there.
    #[error("it begins later than now by this machine's clock; set the clock")]
    Behind,
    /// This machine, an origin, has not got the key of the CA that made its certificate.
    #[error(
        "the key of the fleet's CA is not here; put it back from a backup, or make a new CA with `tiding ca rotate --lost`"
    )]
    NoKey,
    /// A file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What was heard at the door.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// By how much this machine's clock is off, in words.
    pub(crate) skew: Option<String>,
}

/// The member's word.
struct Asked {
    request: Vec<u8>,
}

/// The origin's.
enum Answered {
    Renewed(Vec<u8>),
    Refused(String),
}

impl Encode for Asked {
    const WHAT: &'static str = "request to renew";

    fn put(&self, to: &mut Encoder) {
        to.bytes(&self.request);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { request: from.bytes("the certificate request", MAX_DER)?.to_vec() })
    }
}

impl Encode for Answered {
    const WHAT: &'static str = "answer of the door for renewals";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Refused(why) => to.byte(0).text(why),
            Self::Renewed(leaf) => to.byte(1).bytes(leaf),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            0 => Ok(Self::Refused(from.text("the reason", 1024)?)),
            1 => Ok(Self::Renewed(from.bytes("the certificate", MAX_DER)?.to_vec())),
            other => Err(from.wrong(format!("there is no answer {other}"))),
        }
    }
}

// At an origin.

/// Serves one member that came to renew.
pub(crate) async fn serve(desk: &Desk, peer: Peer, mut stream: Stream) -> io::Result<()> {
    let served = async {
        say(&mut stream, &Greeting { now: wall_clock() }).await?;
        let asked: Asked = hear(&mut stream).await?;
        let answered = match renewed(desk, peer, &asked.request).await {
            Ok(leaf) => Answered::Renewed(leaf),
            Err(refusal) => Answered::Refused(refusal.to_string().chars().take(300).collect()),
        };
        say(&mut stream, &answered).await?;
        stream.shutdown().await
    };
    timeout(PATIENCE, served).await?
}

/// The next certificate of a member, who has shown its key in the handshake.
async fn renewed(desk: &Desk, peer: Peer, request: &[u8]) -> Result<Vec<u8>, Refusal> {
    let invalid = |why: String| Refusal::Invalid { why };
    let authority = desk.authority()?;
    let key = RequestedKey::of_request(request).map_err(|error| invalid(error.to_string()))?;
    if key.node() != peer.node {
        return Err(invalid("the request is for another key than that of the certificate".to_owned()));
    }
    let asks = desk.for_member(peer.node);
    asks.require_admission().await?;
    asks.require_vouched(peer).await?;
    let failed = |error: IdentityError| Refusal::Failed { why: error.to_string() };
    let begins = Life::of(authority.certificate()).map_err(failed)?.begins;
    // An origin whose clock was reset makes none that has ended before it began.
    let now = wall_clock().max(begins);
    let leaf = authority.reissue(&key, peer.role, now, life::term(peer.role)).map_err(failed)?;
    tracing::info!(node = %peer.node.0.short(), role = ?peer.role, "renewed a certificate");
    Ok(leaf.to_vec())
}

// At a member.

/// Has the certificate in a directory renewed by the first origin that answers, and speaks with the new one from now on.
pub(crate) async fn renew(directory: &Path, tls: &Tls, origins: &[SocketAddr]) -> Result<Heard, RenewError> {
    let mut failed = "no address of one is known".to_owned();
    for &address in origins {
        match tls.dial_origin(address, Door::Renew).await {
            Ok((stream, _)) => return exchange(directory, tls, stream).await,
            Err(error) => failed = format!("{address}: {error}"),
        }
    }
    Err(RenewError::Unreachable(failed))
}

async fn exchange(directory: &Path, tls: &Tls, mut stream: Stream) -> Result<Heard, RenewError> {
    let broken = |error: io::Error| RenewError::Unreachable(error.to_string());
    let greeting: Greeting = hear(&mut stream).await.map_err(broken)?;
    // A word of an origin, whoever has it now: it judges certificates by it, and nothing else.
    tls.clock().hear(greeting.now);
    let identity = Identity::load(directory)?;
    let key = life::key_of(directory, &identity)?;
    let request = identity::request_for(&key)?;
    say(&mut stream, &Asked { request }).await.map_err(broken)?;
    match hear(&mut stream).await.map_err(broken)? {
        Answered::Refused(why) => Err(RenewError::Refused(why)),
        Answered::Renewed(leaf) => {
            let leaf = CertificateDer::from(leaf);
            require_useful(&identity, &leaf, [greeting.now, wall_clock()])?;
            let unknown = "a CA made it that is not known here; is it the fleet's, and was this machine away for long?";
            let ca = tls.maker_of(&leaf).ok_or_else(|| RenewError::Useless(unknown.to_owned()))?;
            life::keep(directory, &key, &leaf, &ca)?;
            let fits = |error: TlsError| RenewError::Useless(error.to_string());
            tls.replace(&Identity::load(directory)?).map_err(fits)?;
            Ok(Heard { skew: clock::skew(wall_clock(), greeting.now) })
        }
    }
}

/// Hears from an origin what time it is; gives by how much this machine's clock is off.
async fn listen(tls: &Tls, origins: &[SocketAddr]) -> Option<String> {
    for &address in origins {
        match tls.dial_origin(address, Door::Renew).await {
            Ok((mut stream, _)) => {
                if let Ok(greeting) = hear::<Greeting>(&mut stream).await {
                    tls.clock().hear(greeting.now);
                    return clock::skew(wall_clock(), greeting.now);
                }
            }
            Err(error) if is_of_another_ca(&error) => tracing::warn!(
                %address,
                "what answers there has a certificate of a CA that this node does not know; if the fleet has given up the CA of before                  while this machine was away, it must join anew: stop it, move `identity` in its home away, and join with a new line from                  `tiding token`"
            ),
            Err(_) => {}
        }
    }
    None
}

/// Whether somebody answered with a certificate that no believed CA has made.
fn is_of_another_ca(error: &TlsError) -> bool {
    let TlsError::Io(error) = error else { return false };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    use rustls::CertificateError::{BadSignature, UnknownIssuer};
    matches!(inner, Some(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)))
}

/// Refuses what would be worse than what is there: for another key or role, or older, as an origin whose clock is far behind makes it.
fn require_useful(identity: &Identity, leaf: &CertificateDer<'_>, clocks: [UnixTime; 2]) -> Result<(), RenewError> {
    let useless = |why: &str| Err(RenewError::Useless(why.to_owned()));
    match identity::who(leaf) {
        Ok((node, role)) if (node, role) == (identity.node, identity.role) => {}
        _ => return useless("the certificate is for another key or role"),
    }
    let (next, present) = (Life::of(leaf)?, Life::of(&identity.chain[0])?);
    if next.begins < present.begins && !is_from_the_future(present, Life::of(identity.ca())?, clocks) {
        return useless("the certificate is older than the one that is here; is the origin's clock right?");
    }
    Ok(())
}

/// Whether a certificate was made by a clock that was far ahead. An origin's word alone does not show it, since it may be the origin that
/// is behind now: this machine's clock must say the same, and neither may say that the CA is yet to be made.
fn is_from_the_future(present: Life, ca: Life, clocks: [UnixTime; 2]) -> bool {
    clocks.iter().all(|now| present.is_ahead_of(*now) && *now >= ca.begins)
}

/// Keeps a node's certificate young for as long as the node runs.
pub(crate) struct Keeper {
    /// Where the certificate is.
    pub(crate) directory: PathBuf,
    /// What speaks with it.
    pub(crate) tls: Arc<Tls>,
    /// Where origins answer.
    pub(crate) origins: Vec<SocketAddr>,
    /// At an origin: what makes certificates.
    pub(crate) authorities: Option<Arc<Authorities>>,
    /// Tells that other CAs are believed.
    pub(crate) changed: Arc<Notify>,
}

impl Keeper {
    /// Never ends.
    pub(crate) async fn run(self) {
        sleep(some_of(SOON)).await;
        self.listen().await;
        let mut is_first = true;
        loop {
            let age = match self.age() {
                Ok(age) => age,
                Err(error) => {
                    // It may be for a moment only, as when too many files are open.
                    tracing::warn!(%error, "this node's certificate cannot be read; trying again");
                    sleep(some_of(AGAIN)).await;
                    continue;
                }
            };
            match age {
                Age::Young(left) => {
                    if self.rest(left.min(LOOK)).await {
                        self.listen().await;
                    }
                }
                Age::Due if is_first => drop(self.rest(LOOK).await),
                Age::Due | Age::Urgent => {
                    let outcome = self.renew().await;
                    self.tell(&outcome);
                    let is_pressing = age == Age::Urgent && !matches!(outcome, Err(RenewError::Refused(_)));
                    self.rest(if is_pressing && outcome.is_err() { AGAIN } else { LOOK }).await;
                }
            }
            is_first = false;
        }
    }

    /// Waits for about so long; false when other CAs are believed before that, and what made this node's certificate may be given up soon.
    async fn rest(&self, wait: Duration) -> bool {
        tokio::select! {
            () = sleep(some_of(wait)) => true,
            () = self.changed.notified() => {
                sleep(some_of(SOON)).await;
                false
            }
        }
    }

    async fn listen(&self) {
        listen(&self.tls, &self.origins).await.iter().for_each(|skew| off(skew));
    }

    fn age(&self) -> Result<Age, IdentityError> {
        let identity = Identity::load(&self.directory)?;
        // An origin shows the old one as long as there may be members that believe no other.
        if self.authorities.is_none() && identity.is_superseded() {
            return Ok(Age::Urgent);
        }
        Ok(Life::of(&identity.chain[0])?.age(identity.role, self.tls.clock().believed(wall_clock())))
    }

    async fn renew(&self) -> Result<Heard, RenewError> {
        let Some(authorities) = &self.authorities else {
            let heard = renew(&self.directory, &self.tls, &self.origins).await?;
            // It is shown at once, so that the origin knows that it was kept.
            self.listen().await;
            return Ok(heard);
        };
        let own = Identity::load(&self.directory)?;
        let authority = authorities.with_pin(pin_of(own.ca())).ok_or(RenewError::NoKey)?;
        if !life::renew(&self.directory, &authority, wall_clock())? {
            return Err(RenewError::Behind);
        }
        let fits = |error: TlsError| RenewError::Useless(error.to_string());
        self.tls.replace(&Identity::load(&self.directory)?).map_err(fits)?;
        Ok(Heard { skew: None })
    }

    fn is_superseded(&self) -> bool {
        Identity::load(&self.directory).is_ok_and(|identity| identity.is_superseded())
    }

    fn tell(&self, outcome: &Result<Heard, RenewError>) {
        let ends = || self.tls.life().and_then(|life| life.notice(wall_clock()));
        match outcome {
            Ok(heard) => {
                tracing::info!("this node's certificate is renewed");
                heard.skew.iter().for_each(|skew| off(skew));
            }
            Err(error @ (RenewError::Behind | RenewError::NoKey)) => {
                tracing::warn!(%error, "this origin's certificate cannot be renewed")
            }
            Err(error) if self.authorities.is_none() && self.is_superseded() => tracing::warn!(
                %error,
                "this node's certificate is of a CA that the fleet gives up, and cannot be renewed yet; if the fleet has given it up \
                 already, it must join anew: stop it, move `identity` in its home away, and join with a new line from `tiding token`"
            ),
            Err(error) => match ends() {
                Some(notice) => tracing::warn!(%error, "this node's certificate {notice}, and cannot be renewed"),
                None => tracing::debug!(%error, "this node's certificate cannot be renewed now"),
            },
        }
    }
}

fn off(skew: &str) {
    tracing::warn!("this machine's clock is {skew}; set it");
}

/// Between the half and all of it.
fn some_of(wait: Duration) -> Duration {
    wait / 2 + wait / 2 * u32::from(identity::random::<1>()[0]) / u32::from(u8::MAX)
}

/// Until when the certificate of a node or an operator is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// In seconds since 1970.
    pub at: u64,
    /// What to say about it when that is near.
    pub notice: Option<String>,
}

/// Until when the certificate of the node in a home is good, if there is one.
pub fn of_node(home: &Path) -> Option<Ends> {
    of(&home::identity(home))
}

/// The same of an operator.
pub fn of_operator(operator_home: &Path) -> Option<Ends> {
    of(operator_home)
}

fn of(directory: &Path) -> Option<Ends> {
    let life = Life::of(&Identity::load(directory).ok()?.chain[0]).ok()?;
    Some(Ends { at: life.ends.0, notice: life.notice(wall_clock()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::identity::new_key;
    use crate::testing::{Fleet, Guest, answering, desk};
    use content::Role;
    use engine::door::{self, Answer};

    const DAY: u64 = 24 * 3600;

    /// A member's directory with a certificate that was made so many days ago.
    fn member(fleet: &Fleet, role: Role, days: u64) -> tempfile::TempDir {
        let (key, temp) = (new_key(), tempfile::tempdir().expect("a temporary directory"));
        let made = UnixTime(wall_clock().0 - days * DAY);
        let leaf = fleet.authority.issue_own(&key, role, made).expect("a certificate");
        let files = Identity::to_files(&key, &leaf, fleet.authority.certificate());
        home::write_set(&temp.path().join("me"), &files).expect("written");
        temp
    }

    /// A member of another clock asks; an engine answers as it is told to.
    async fn asked(temp: &tempfile::TempDir, fleet: Fleet, clock: Clock, says: Answer) -> Result<Heard, RenewError> {
        let (directory, guest) = (temp.path().join("me"), Guest::listen(fleet.tls(Role::Origin)).await);
        let tls = Tls::at(&Identity::load(&directory).expect("read"), clock).expect("it fits");
        let (handle, _touch) = answering(move |_| says.clone());
        let desk = Desk { authorities: Some(Arc::new(Authorities::of(fleet.authority))), ..desk(handle) };
        let origins = [guest.address];
        let (renewed, ()) = tokio::join!(renew(&directory, &tls, &origins), async {
            if let (Ok(accepted), _) = guest.accept().await {
                assert_eq!(accepted.door, Door::Renew);
                serve(&desk, accepted.peer.expect("a member"), accepted.stream).await.ok();
            }
        });
        renewed
    }

    fn admitted() -> Answer {
        let stands = content::fact::Position { generation: 1, index: 0 };
        Answer::Journal { entries: Vec::new(), stands }
    }

    fn now() -> Clock {
        Clock::new(wall_clock())
    }

    fn ends(temp: &tempfile::TempDir) -> u64 {
        of(&temp.path().join("me")).expect("a certificate").at
    }

    #[tokio::test]
    async fn h6_whoever_has_ended_renews_with_its_key_for_ninety_days_more() {
        for (days, role, is_renewed) in [
            (1, Role::Agent, true),
            (397 + 89, Role::Agent, true),
            (397 + 92, Role::Agent, false),
            (420, Role::Operator, true),
        ] {
            let fleet = Fleet::new();
            let temp = member(&fleet, role, days);
            let before = Identity::load(&temp.path().join("me")).expect("read");
            let renewed = asked(&temp, fleet, now(), admitted()).await;
            assert_eq!(renewed.is_ok(), is_renewed, "{days} days, {role:?}: {renewed:?}");
            let after = Identity::load(&temp.path().join("me")).expect("read");
            assert_eq!((after.node, after.role), (before.node, before.role));
            let left = ends(&temp).saturating_sub(wall_clock().0);
            assert_eq!(left.abs_diff(life::term(role).as_secs()) < DAY, is_renewed, "{left}");
        }
    }

    #[tokio::test]
    async fn h6_who_has_ended_comes_in_by_no_other_door() {
        let fleet = Fleet::new();
        let temp = member(&fleet, Role::Agent, 400);
        let tls = Tls::new(&Identity::load(&temp.path().join("me")).expect("read")).expect("it fits");
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        for door in [Door::Control, Door::Bulk, Door::Api] {
            let (_dialled, (accepted, _)) = tokio::join!(tls.dial(guest.address, door, None), guest.accept());
            assert!(accepted.is_err(), "{door:?}");
        }
        // Nor at an agent, which makes no certificates.
        let agent = Guest::listen(fleet.tls(Role::Agent)).await;
        let (_dialled, (accepted, _)) = tokio::join!(tls.dial(agent.address, Door::Renew, None), agent.accept());
        assert!(accepted.is_err());
    }

    #[tokio::test]
    async fn h6_g13_whoever_was_revoked_gets_none_and_keeps_what_it_had() {
        let fleet = Fleet::new();
        let temp = member(&fleet, Role::Agent, 100);
        let before = ends(&temp);
        let refusal = door::Refusal::NotAllowed("this certificate was revoked".to_owned());
        let refused = asked(&temp, fleet, now(), Answer::Refused(refusal)).await;
        assert!(matches!(&refused, Err(RenewError::Refused(why)) if why.contains("revoked")), "{refused:?}");
        assert_eq!(ends(&temp), before);
    }

    #[tokio::test]
    async fn h3_nobody_gets_a_certificate_for_another_key_than_the_one_it_has_shown() {
        let fleet = Fleet::new();
        let (handle, _touch) = answering(|_| admitted());
        let peer = Peer { node: content::NodeId(content::Digest::of(b"me")), role: Role::Agent, ca: Some(fleet.pin()) };
        let desk = Desk { authorities: Some(Arc::new(Authorities::of(fleet.authority))), ..desk(handle) };
        let theirs = identity::request_for(&new_key()).expect("a request");
        assert!(matches!(renewed(&desk, peer, &theirs).await, Err(Refusal::Invalid { .. })));
    }

    /// A clock that is a year and more off, either way, at the machine that asks.
    #[tokio::test]
    async fn d23_a_member_whose_clock_is_far_off_reaches_its_origin_and_hears_what_time_it_is() {
        for off in [-800_i64, 800] {
            let fleet = Fleet::new();
            let temp = member(&fleet, Role::Agent, 10);
            let wrong = UnixTime(wall_clock().0.saturating_add_signed(off * DAY as i64));
            let tls = Tls::at(&Identity::load(&temp.path().join("me")).expect("read"), Clock::new(wrong));
            let tls = tls.expect("it fits");
            let guest = Guest::listen(fleet.tls(Role::Origin)).await;
            let greet = async {
                let mut accepted = guest.accept().await.0.expect("its certificate is good");
                say(&mut accepted.stream, &Greeting { now: wall_clock() }).await.expect("said");
            };
            let (skew, ()) = tokio::join!(listen(&tls, std::slice::from_ref(&guest.address)), greet);
            assert_eq!(skew, None, "the wall clock of this test is right");
            assert!(tls.clock().believed(wrong).0.abs_diff(wall_clock().0) <= DAY, "{off} days");
            let (dialled, (accepted, _)) = tokio::join!(tls.dial(guest.address, Door::Control, None), guest.accept());
            assert!(dialled.is_ok() && accepted.is_ok(), "{off} days: from then on it talks to all");
        }
    }

    #[tokio::test]
    async fn d24_what_an_origin_makes_whose_clock_is_far_off_replaces_nothing() {
        let fleet = Fleet::new();
        let temp = member(&fleet, Role::Agent, 10);
        let identity = Identity::load(&temp.path().join("me")).expect("read");
        let key = life::key_of(&temp.path().join("me"), &identity).expect("a key");
        let made = |days: i64| {
            let then = UnixTime(wall_clock().0.saturating_add_signed(days * DAY as i64));
            fleet.authority.reissue_own(&key, Role::Agent, then, life::term(Role::Agent)).expect("a certificate")
        };
        let useful = |days| require_useful(&identity, &made(days), [wall_clock(); 2]);
        assert!(useful(-365).is_err_and(|why| why.to_string().contains("clock")));
        assert!(useful(-40).is_err() && useful(0).is_ok());
        // One from the future is good wherever clocks are right, too.
        assert!(useful(365).is_ok());
        let other = fleet.authority.issue_own(&new_key(), Role::Agent, wall_clock()).expect("a certificate");
        assert!(require_useful(&identity, &other, [wall_clock(); 2]).is_err());
        life::keep(&temp.path().join("me"), &key, &made(365), identity.ca()).expect("kept");
        let early = Tls::at(&Identity::load(&temp.path().join("me")).expect("read"), now()).expect("it fits");
        let guest = Guest::listen(fleet.tls(Role::Agent)).await;
        let (dialled, (accepted, _)) = tokio::join!(early.dial(guest.address, Door::Control, None), guest.accept());
        assert!(dialled.is_err() || accepted.is_ok(), "a certificate that is not valid yet is believed");
        assert!(accepted.is_ok());
        assert!(early.clock().judged(wall_clock()) <= wall_clock(), "and makes nobody else's end sooner");
    }
    #[test]
    fn d24_a_certificate_from_the_future_is_exchanged_for_one_of_now_when_two_clocks_say_so() {
        let fleet = Fleet::new();
        let (now, year) = (wall_clock(), 365 * DAY);
        let key = new_key();
        let at = |then: UnixTime| {
            fleet.authority.reissue_own(&key, Role::Agent, then, life::term(Role::Agent)).expect("a certificate")
        };
        let useful = |present: UnixTime, next: UnixTime, clocks: [UnixTime; 2]| {
            let temp = tempfile::tempdir().expect("a temporary directory");
            let files = Identity::to_files(&key, &at(present), fleet.authority.certificate());
            home::write_set(&temp.path().join("me"), &files).expect("written");
            require_useful(&Identity::load(&temp.path().join("me")).expect("read"), &at(next), clocks).is_ok()
        };
        let [future, near, past] = [now.0 + year, now.0 + 3600, now.0 - year].map(UnixTime);
        assert!(useful(future, now, [now; 2]));
        assert!(!useful(near, now, [now; 2]), "clocks differ");
        // It may be the origin that is wrong, or this machine.
        assert!(!useful(now, past, [past, now]) && !useful(future, now, [now, future]));
        assert!(!useful(now, past, [past; 2]), "before the CA was made it cannot be");
    }

    #[tokio::test(start_paused = true)]
    async fn h6_a_node_that_could_not_read_its_certificate_for_a_while_renews_it_afterwards() {
        let fleet = Fleet::new();
        let temp = member(&fleet, Role::Origin, 390);
        let (directory, away) = (temp.path().join("me"), temp.path().join("away"));
        let tls = Arc::new(Tls::new(&Identity::load(&directory).expect("read")).expect("it fits"));
        std::fs::rename(&directory, &away).expect("renamed");
        let authorities = Some(Arc::new(Authorities::of(fleet.authority)));
        let (origins, changed) = (Vec::new(), Arc::default());
        let keeper = Keeper { directory: directory.clone(), tls: tls.clone(), origins, authorities, changed };
        let before = tls.life().expect("a certificate");
        let keeping = tokio::spawn(keeper.run());
        // Time stands still but for the keeper's waiting.
        sleep(10 * AGAIN).await;
        assert!(!keeping.is_finished() && tls.life() == Some(before));
        std::fs::rename(&away, &directory).expect("renamed");
        sleep(10 * AGAIN).await;
        assert!(tls.life().is_some_and(|life| life.ends > before.ends));
        keeping.abort();
    }

    #[tokio::test]
    async fn d23_a_node_hears_what_time_it_is_soon_after_its_start() {
        let fleet = Fleet::new();
        let temp = member(&fleet, Role::Agent, 10);
        let identity = Identity::load(&temp.path().join("me")).expect("read");
        let wrong = UnixTime(wall_clock().0 + 800 * DAY);
        let tls = Arc::new(Tls::at(&identity, Clock::new(wrong)).expect("it fits"));
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let (directory, origins) = (temp.path().join("me"), vec![guest.address]);
        let keeping = tokio::spawn(
            Keeper { directory, tls: tls.clone(), origins, authorities: None, changed: Arc::default() }.run(),
        );
        let greet = async {
            let mut accepted = guest.accept().await.0.expect("its certificate is good");
            say(&mut accepted.stream, &Greeting { now: wall_clock() }).await.expect("said");
            accepted
        };
        let _accepted = timeout(Duration::from_secs(60), greet).await.expect("it comes within seconds, not hours");
        let heard = async {
            while tls.clock().believed(wrong) == wrong {
                tokio::task::yield_now().await
            }
        };
        timeout(Duration::from_secs(60), heard).await.expect("it hears");
        assert!(tls.clock().believed(wrong).0.abs_diff(wall_clock().0) <= DAY);
        keeping.abort();
    }
}
