//! Who may talk through which door: TLS 1.3 on one port, where ALPN names the door.
//!
//! Every door but *join* asks for a certificate of the fleet's CA, so a stranger gets a TLS alert and nothing else. Who the
//! other side is (its key) and what it may be (its role) come from its certificate after the handshake; addresses and names
//! prove nothing. What is said through a door is for others.
//!
//! Only the fleet's CA makes certificates, so one that is not valid yet is believed: some clock is wrong. One that has ended opens one
//! door for a while, where it is renewed.

use crate::clock::Clock;
use crate::gulp::Gulp;
use crate::identity::{self, ANY_NODE, Identity, pin_of, role_name};
use crate::life::{GRACE, Life};
use crate::shares::{Share, Shares};
use content::{Digest, NodeId, Role};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use socket2::TcpKeepalive;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, TlsStream};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long an address may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections at once of those who are nobody yet, and of one network: in a handshake, and (as many again, so that a crowd
/// at the join door keeps no member out) of those who come to join.
const STRANGERS: usize = 256;
const STRANGERS_PER_NETWORK: usize = 32;
/// After how long a silence the other machine is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(15);
/// What may wait in a kernel buffer unsent before a writer may add a TLS record to it: what waits there cannot be overtaken,
/// and two records together would pass shapers and small switches as a burst.
const NOTSENT_LOWAT: u32 = 15 * 1024;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// Messages between peers.
    Control,
    /// Payloads between peers.
    Bulk,
    /// The control API, HTTP.
    Api,
    /// Joining: the only door that answers a stranger.
    Join,
    /// Renewing: the only door for a member whose certificate has ended.
    Renew,
}

impl Door {
    const ALL: [Self; 5] = [Self::Control, Self::Bulk, Self::Api, Self::Join, Self::Renew];

    /// What stands in the ALPN extension.
    pub(crate) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Control => b"tiding-control/1",
            Self::Bulk => b"tiding-bulk/1",
            Self::Api => b"http/1.1",
            Self::Join => b"tiding-join/1",
            Self::Renew => b"tiding-renew/1",
        }
    }

    fn of_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|door| door.alpn() == alpn)
    }
}

/// Who is on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its key.
    pub(crate) node: NodeId,
    /// What it may be.
    pub(crate) role: Role,
    /// The CA that made its certificate.
    pub(crate) ca: Option<Digest>,
}

/// A connection through a door.
pub(crate) type Stream = TlsStream<Gulp>;

/// A connection that was let in.
pub(crate) struct Accepted {
    /// For what.
    pub(crate) door: Door,
    /// Who, unless it came to join.
    pub(crate) peer: Option<Peer>,
    /// The connection.
    pub(crate) stream: Stream,
    /// Who came to join is counted until this is dropped.
    pub(crate) visit: Option<Share>,
}

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// Nothing answers, or the connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Too slow.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// The certificates or protocols do not fit. In words.
    #[error("{0}")]
    Unfit(String),
    /// Another node answers than was expected.
    #[error("node {} answers there, not {}", found.0.short(), expected.0.short())]
    AnotherNode {
        /// Who was expected.
        expected: NodeId,
        /// Who answers.
        found: NodeId,
    },
    /// Too many who are nobody yet are connected.
    #[error("too many strangers are connected")]
    Busy,
}

fn unfit(why: impl std::fmt::Display) -> TlsError {
    TlsError::Unfit(why.to_string())
}

/// The cryptography, named explicitly so that no other choice in the program can change it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // AES-128 first: half the work of AES-256 and no less safe for what passes here.
    provider.cipher_suites = vec![
        rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        rustls::crypto::aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

pub(crate) const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn roots(believed: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in believed {
        roots.add(ca.clone()).map_err(unfit)?;
    }
    Ok(Arc::new(roots))
}

/// What is spoken with one certificate: a connection keeps those that it began with.
struct Sides {
    members: Arc<ServerConfig>,
    joiners: Arc<ServerConfig>,
    renewers: Arc<ServerConfig>,
    client: ClientConfig,
    /// How an origin is asked for another certificate, and what time it is, by whoever's own clock may be wrong.
    renewer: ClientConfig,
    life: Option<Life>,
    /// The CAs whose members are let in.
    believed: Vec<CertificateDer<'static>>,
    /// The CA that is shown with the certificate.
    shows: Digest,
}

impl Sides {
    fn new(identity: &Identity, clock: &Arc<Clock>) -> Result<Self, TlsError> {
        let roots = roots(identity.believed())?;
        let life = Life::of(&identity.chain[0]).ok();
        // Its certificate was made by the fleet's CA, so it is later than that.
        life.iter().for_each(|life| clock.not_before(life.begins));
        let joiners =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).map_err(unfit)?;
        let server = |builder: rustls::ConfigBuilder<ServerConfig, _>, doors: &[Door]| {
            let mut config = builder.with_single_cert(identity.chain.clone(), identity.key()).map_err(unfit)?;
            config.time_provider = clock.clone();
            Ok::<_, TlsError>(serving(config, doors))
        };
        Ok(Self {
            members: server(of_members(&roots, Duration::ZERO)?, &[Door::Control, Door::Bulk, Door::Api])?,
            joiners: server(joiners.with_no_client_auth(), &[Door::Join])?,
            renewers: server(of_members(&roots, GRACE)?, &[Door::Renew])?,
            client: client_of(identity, &roots, clock, Duration::ZERO)?,
            renewer: client_of(identity, &roots, clock, Duration::MAX)?,
            life,
            believed: identity.believed().to_vec(),
            shows: pin_of(identity.ca()),
        })
    }

    /// The CA that made a certificate which was let in.
    fn maker_of(&self, leaf: &CertificateDer<'_>) -> Option<Digest> {
        self.believed.iter().find(|ca| identity::is_made_by(leaf, ca)).map(pin_of)
    }

    fn pins(&self) -> Vec<Digest> {
        self.believed.iter().map(pin_of).collect()
    }
}

type Accepting = rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>;

/// The server's side for members; those whose certificates have ended no longer ago than `grace` are among them.
fn of_members(roots: &Arc<RootCertStore>, grace: Duration) -> Result<Accepting, TlsError> {
    let inner = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build().map_err(unfit)?;
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).map_err(unfit)?;
    Ok(builder.with_client_cert_verifier(Arc::new(Lenient { inner, grace })))
}

fn client_of(
    identity: &Identity,
    roots: &Arc<RootCertStore>,
    clock: &Arc<Clock>,
    grace: Duration,
) -> Result<ClientConfig, TlsError> {
    let inner = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build().map_err(unfit)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).map_err(unfit)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { inner, grace }));
    let mut config = builder.with_client_auth_cert(identity.chain.clone(), identity.key()).map_err(unfit)?;
    config.time_provider = clock.clone();
    Ok(config)
}

/// The usual check, whatever it is about, but for time: see [`Lenient::judge`].
#[derive(Debug)]
struct Lenient<V: ?Sized> {
    /// For how long after its end a certificate is believed.
    grace: Duration,
    inner: Arc<V>,
}

impl<V: ?Sized> Lenient<V> {
    /// Checks at `now`; a certificate that begins later is checked at its beginning, since who makes them makes none for later: some clock
    /// is wrong. One that has ended within the grace is checked at its end.
    fn judge<T>(
        &self,
        now: UnixTime,
        check: impl Fn(UnixTime) -> Result<T, rustls::Error>,
    ) -> Result<T, rustls::Error> {
        use rustls::CertificateError::{ExpiredContext, NotValidYetContext};
        match check(now) {
            Err(rustls::Error::InvalidCertificate(NotValidYetContext { not_before, .. })) => check(not_before),
            Err(rustls::Error::InvalidCertificate(ExpiredContext { not_after, .. }))
                if now.as_secs().saturating_sub(not_after.as_secs()) <= self.grace.as_secs() =>
            {
                check(not_after)
            }
            outcome => outcome,
        }
    }
}

impl ServerCertVerifier for Lenient<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(now, |now| self.inner.verify_server_cert(leaf, rest, name, ocsp, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Lenient<dyn ClientCertVerifier> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(now, |now| self.inner.verify_client_cert(leaf, rest, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The two sides of TLS for one member, whose certificate may be renewed meanwhile.
pub(crate) struct Tls {
    sides: RwLock<Arc<Sides>>,
    /// Whether strangers may come to join, and members to renew: only at an origin.
    greets: bool,
    clock: Arc<Clock>,
    strangers: Arc<Shares>,
    visitors: Arc<Shares>,
    /// The pins of the CAs that are believed, for whoever waits for one to be given up.
    believed: watch::Sender<Vec<Digest>>,
    /// At an origin: which CA made the certificate that a member showed last.
    shown: Mutex<BTreeMap<NodeId, Digest>>,
}

/// How many members it is remembered of.
const SHOWN: usize = 1 << 17;

impl Tls {
    /// Both sides, for a node or an operator.
    pub(crate) fn new(identity: &Identity) -> Result<Self, TlsError> {
        Self::at(identity, Clock::new(identity::wall_clock()))
    }

    /// The same by a clock of one's own.
    pub(crate) fn at(identity: &Identity, clock: Clock) -> Result<Self, TlsError> {
        let clock = Arc::new(clock);
        let sides = Arc::new(Sides::new(identity, &clock)?);
        Ok(Self {
            believed: watch::channel(sides.pins()).0,
            shown: Mutex::default(),
            sides: RwLock::new(sides),
            greets: identity.role == Role::Origin,
            clock,
            strangers: Arc::new(Shares::new(STRANGERS, STRANGERS_PER_NETWORK)),
            visitors: Arc::new(Shares::new(STRANGERS, STRANGERS_PER_NETWORK)),
        })
    }

    /// Speaks with another certificate of the same member from now on, and believes the CAs that it believes; connections that are there
    /// go on, but those of members of a CA that was given up.
    pub(crate) fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        let sides = Arc::new(Sides::new(identity, &self.clock)?);
        let pins = sides.pins();
        *self.sides.write().unwrap_or_else(PoisonError::into_inner) = sides;
        self.believed.send_if_modified(|before| std::mem::replace(before, pins.clone()) != pins);
        Ok(())
    }

    /// Ends when the CA that made this certificate is believed no more.
    pub(crate) async fn given_up(&self, ca: Option<Digest>) {
        let mut believed = self.believed.subscribe();
        let is_gone = |pins: &Vec<Digest>| ca.is_none_or(|ca| !pins.contains(&ca));
        if believed.wait_for(is_gone).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The pins of the CAs that are believed.
    pub(crate) fn believed(&self) -> Vec<Digest> {
        self.sides().pins()
    }

    /// The pin of the CA that is shown at the join door: the one that a join line must pin.
    pub(crate) fn shows(&self) -> Digest {
        self.sides().shows
    }

    /// The believed CA that made a certificate, if one did.
    pub(crate) fn maker_of(&self, leaf: &CertificateDer<'_>) -> Option<CertificateDer<'static>> {
        self.sides().believed.iter().find(|ca| identity::is_made_by(leaf, ca)).cloned()
    }

    /// Which CA made the certificate that a member showed here last, of those that are believed.
    pub(crate) fn shown_by(&self, node: NodeId) -> Option<Digest> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }

    fn remember(&self, peer: Peer) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ca) = peer.ca.filter(|_| self.greets && (shown.len() < SHOWN || shown.contains_key(&peer.node))) {
            shown.insert(peer.node, ca);
        }
    }

    /// How long the certificate lives, as far as it says.
    pub(crate) fn life(&self) -> Option<Life> {
        self.sides().life
    }

    /// The clock by which certificates are judged.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    fn sides(&self) -> Arc<Sides> {
        self.sides.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a connection in, or not. What it is for is the first thing it says; who it is, the last.
    pub(crate) async fn accept(&self, tcp: TcpStream, from: SocketAddr) -> Result<Accepted, TlsError> {
        let _stranger = self.strangers.take(from.ip()).ok_or(TlsError::Busy)?;
        tune(&tcp)?;
        timeout(HANDSHAKE, self.handshake(tcp, from)).await.map_err(|_| TlsError::Slow(HANDSHAKE))?
    }

    async fn handshake(&self, tcp: TcpStream, from: SocketAddr) -> Result<Accepted, TlsError> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), Gulp::new(tcp)).await?;
        let doors: Vec<Door> = match hello.client_hello().alpn() {
            Some(offered) => offered.filter_map(Door::of_alpn).collect(),
            None => Vec::new(),
        };
        // Whoever names no door of ours meets the strict side, and its alert.
        let joins = self.greets && doors == [Door::Join];
        // Before the costly part, so that turning a crowd away is cheap.
        let visit = if joins { Some(self.visitors.take(from.ip()).ok_or(TlsError::Busy)?) } else { None };
        let sides = self.sides();
        let config = match joins {
            true => &sides.joiners,
            false if self.greets && doors == [Door::Renew] => &sides.renewers,
            false => &sides.members,
        };
        let stream = hello.into_stream(config.clone()).await?;
        let door = stream.get_ref().1.alpn_protocol().and_then(Door::of_alpn);
        let door = door.ok_or_else(|| unfit("it names no door"))?;
        let peer = match stream.get_ref().1.peer_certificates() {
            Some([leaf, ..]) => Some(peer_of(leaf, &sides)?),
            _ if door == Door::Join => None,
            _ => return Err(unfit("it shows no certificate")),
        };
        peer.into_iter().for_each(|peer| self.remember(peer));
        Ok(Accepted { door, peer, stream: TlsStream::Server(stream), visit })
    }

    /// Connects to a node of the fleet; `expect` is who must answer, if that is known.
    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
        door: Door,
        expect: Option<NodeId>,
    ) -> Result<(Stream, Peer), TlsError> {
        self.dial_as(address, door, ANY_NODE.to_owned(), expect).await
    }

    /// Connects to an origin of the fleet.
    pub(crate) async fn dial_origin(&self, address: SocketAddr, door: Door) -> Result<(Stream, Peer), TlsError> {
        self.dial_as(address, door, role_name(Role::Origin), None).await
    }

    async fn dial_as(
        &self,
        address: SocketAddr,
        door: Door,
        name: String,
        expect: Option<NodeId>,
    ) -> Result<(Stream, Peer), TlsError> {
        let sides = self.sides();
        let mut config = if door == Door::Renew { sides.renewer.clone() } else { sides.client.clone() };
        config.alpn_protocols = vec![door.alpn().to_vec()];
        config.resumption = Resumption::disabled();
        let stream = connect(address, config, name).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = peer_of(leaf.ok_or_else(|| unfit("it shows no certificate"))?, &sides)?;
        self.remember(peer);
        match expect {
            Some(expected) if expected != peer.node => Err(TlsError::AnotherNode { expected, found: peer.node }),
            _ => Ok((stream, peer)),
        }
    }
}

fn serving(mut config: ServerConfig, doors: &[Door]) -> Arc<ServerConfig> {
    config.alpn_protocols = doors.iter().map(|door| door.alpn().to_vec()).collect();
    // Every connection proves its key anew, so that nobody is let in by a ticket of an earlier day.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

fn peer_of(leaf: &CertificateDer<'_>, sides: &Sides) -> Result<Peer, TlsError> {
    let (node, role) = identity::who(leaf).map_err(unfit)?;
    Ok(Peer { node, role, ca: sides.maker_of(leaf) })
}

async fn connect(address: SocketAddr, config: ClientConfig, name: String) -> Result<Stream, TlsError> {
    let name = ServerName::try_from(name).map_err(unfit)?;
    let tcp = timeout(CONNECT, TcpStream::connect(address)).await.map_err(|_| TlsError::Slow(CONNECT))??;
    tune(&tcp)?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, Gulp::new(tcp));
    let stream = timeout(HANDSHAKE, handshake).await.map_err(|_| TlsError::Slow(HANDSHAKE))??;
    Ok(TlsStream::Client(stream))
}

/// No waiting for fuller packets, no deep kernel buffer that later words would have to wait behind, and no waiting for a
/// machine that is gone without a word.
fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = socket2::SockRef::from(tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET).with_interval(QUIET / 3).with_retries(3))?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)
}

/// Connects to the join door of whoever has a certificate for an origin from the CA with this pin. The chain is checked
/// against the pinned CA inside the handshake: nothing is said to anyone else. Clocks are the caller's to compare; a
/// certificate that is out of date only by this machine's clock passes here and must be [`Pinned::recheck`]ed.
pub(crate) async fn dial_join(address: SocketAddr, pin: Digest) -> Result<(Stream, Pinned), TlsError> {
    let verifier = Arc::new(PinVerifier { pin, provider: provider() });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(unfit)?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![Door::Join.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    let stream = connect(address, config, role_name(Role::Origin)).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    Ok((stream, Pinned { verifier, chain }))
}

/// A chain that ends in the pinned CA.
pub(crate) struct Pinned {
    verifier: Arc<PinVerifier>,
    chain: Vec<CertificateDer<'static>>,
}

impl Pinned {
    /// The pinned CA itself.
    pub(crate) fn ca(&self) -> Option<CertificateDer<'static>> {
        self.chain.iter().find(|certificate| pin_of(certificate) == self.verifier.pin).cloned()
    }

    /// Whether the chain is valid now, by this machine's clock.
    pub(crate) fn recheck(&self) -> Result<(), TlsError> {
        let (leaf, rest) = self.chain.split_first().ok_or_else(|| unfit("it shows no certificate"))?;
        let name = ServerName::try_from(role_name(Role::Origin)).map_err(unfit)?;
        self.verifier.check(leaf, rest, &name, UnixTime::now()).map(drop).map_err(unfit)
    }
}

/// Believes exactly the CA with one digest, and of its certificates only origins'.
#[derive(Debug)]
struct PinVerifier {
    pin: Digest,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = rest.iter().find(|certificate| pin_of(certificate) == self.pin);
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let ca = pinned.ok_or(unknown)?.clone().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        webpki.verify_server_cert(leaf, &[], name, &[], now)
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{ExpiredContext, NotValidYetContext};
        match self.check(leaf, rest, name, now) {
            // Either the clock here is wrong or the certificate is old: who is right is found out before the secret is sent.
            Err(rustls::Error::InvalidCertificate(NotValidYetContext { not_before, .. })) => {
                self.check(leaf, rest, name, not_before)
            }
            Err(rustls::Error::InvalidCertificate(ExpiredContext { not_after, .. })) => {
                self.check(leaf, rest, name, not_after)
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fleet, Guest};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Someone without a certificate who believes anybody.
    fn stranger(alpn: Option<&[u8]>) -> ClientConfig {
        #[derive(Debug)]
        struct Credulous(PinVerifier);
        impl ServerCertVerifier for Credulous {
            fn verify_server_cert(
                &self,
                _leaf: &CertificateDer<'_>,
                _rest: &[CertificateDer<'_>],
                _name: &ServerName<'_>,
                _ocsp: &[u8],
                _now: UnixTime,
            ) -> Result<ServerCertVerified, rustls::Error> {
                Ok(ServerCertVerified::assertion())
            }
            fn verify_tls12_signature(
                &self,
                message: &[u8],
                cert: &CertificateDer<'_>,
                dss: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, rustls::Error> {
                self.0.verify_tls12_signature(message, cert, dss)
            }
            fn verify_tls13_signature(
                &self,
                message: &[u8],
                cert: &CertificateDer<'_>,
                dss: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, rustls::Error> {
                self.0.verify_tls13_signature(message, cert, dss)
            }
            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.0.supported_verify_schemes()
            }
        }
        let verifier = Credulous(PinVerifier { pin: Digest::of(b""), provider: provider() });
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("TLS 1.3 is known")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
        config
    }

    /// What a stranger gets to read before the connection ends.
    async fn read_all_as(config: ClientConfig, address: SocketAddr) -> Result<Vec<u8>, String> {
        let mut stream = connect(address, config, ANY_NODE.to_owned()).await.map_err(|error| error.to_string())?;
        // It may well speak first; nobody listens.
        stream.write_all(b"GET /v1/status HTTP/1.1\r\n\r\n").await.ok();
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes).await {
            Ok(_) => Ok(bytes),
            Err(error) if bytes.is_empty() => Err(error.to_string()),
            Err(_) => Ok(bytes),
        }
    }

    #[tokio::test]
    async fn h1_a_stranger_gets_an_alert_and_nothing_else() {
        let guest = Guest::listen(Fleet::new().tls(Role::Origin)).await;
        let doors = [Door::Control, Door::Bulk, Door::Api].map(|door| Some(door.alpn()));
        for alpn in doors.into_iter().chain([None, Some(&b"h2"[..]), Some(b"tiding-join/2"), Some(b"tiding-renew/1")]) {
            let (read, (accepted, _)) = tokio::join!(read_all_as(stranger(alpn), guest.address), guest.accept());
            let why = read.expect_err("no byte of ours");
            assert!(why.contains("alert"), "{alpn:?}: {why}");
            assert!(accepted.is_err(), "{alpn:?} was let in");
        }
    }

    #[tokio::test]
    async fn h1_plain_text_gets_an_alert() {
        let guest = Guest::listen(Fleet::new().tls(Role::Origin)).await;
        let plain = async {
            let mut tcp = TcpStream::connect(guest.address).await.expect("it listens");
            tcp.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
            let mut bytes = Vec::new();
            // It may be cut off while it still speaks.
            tcp.read_to_end(&mut bytes).await.ok();
            bytes
        };
        let (bytes, (accepted, _)) = tokio::join!(plain, guest.accept());
        assert!(accepted.is_err());
        // Nothing, or one TLS record of type alert: seven bytes that say only that.
        assert!(bytes.is_empty() || (bytes[0] == 21 && bytes.len() == 7), "{bytes:?}");
    }

    #[tokio::test]
    async fn h1_an_agent_greets_nobody() {
        let guest = Guest::listen(Fleet::new().tls(Role::Agent)).await;
        let config = stranger(Some(Door::Join.alpn()));
        let (read, (accepted, _)) = tokio::join!(read_all_as(config, guest.address), guest.accept());
        assert!(read.expect_err("no byte of ours").contains("alert"));
        assert!(accepted.is_err());
    }

    #[tokio::test]
    async fn h1_another_fleets_certificate_is_a_strangers() {
        let (ours, theirs) = (Fleet::new(), Fleet::new());
        let guest = Guest::listen(ours.tls(Role::Origin)).await;
        let mut config = theirs.tls(Role::Operator).sides().client.clone();
        // It believes us, so that only our own check is tried.
        config.dangerous().set_certificate_verifier(Arc::new(PinVerifier { pin: ours.pin(), provider: provider() }));
        config.alpn_protocols = vec![Door::Api.alpn().to_vec()];
        let dial = async {
            let mut stream =
                connect(guest.address, config, role_name(Role::Origin)).await.map_err(|e| e.to_string())?;
            stream.read_u8().await.map_err(|error| error.to_string())
        };
        let (read, (accepted, _)) = tokio::join!(dial, guest.accept());
        assert!(read.expect_err("no byte of ours").contains("alert"));
        assert!(accepted.is_err());
    }

    #[tokio::test]
    async fn a_member_is_known_by_its_key_and_role() {
        let fleet = Fleet::new();
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let agent = fleet.tls(Role::Agent);
        let (dialled, (accepted, _)) = tokio::join!(agent.dial(guest.address, Door::Control, None), guest.accept());
        let (accepted, (_, origin)) = (accepted.expect("let in"), dialled.expect("it answers"));
        assert_eq!((accepted.door, origin.role), (Door::Control, Role::Origin));
        assert_eq!(accepted.peer.map(|peer| peer.role), Some(Role::Agent));
        let expected = accepted.peer.map(|peer| peer.node);
        let (again, _) = tokio::join!(agent.dial(guest.address, Door::Control, expected), guest.accept());
        assert!(matches!(again, Err(TlsError::AnotherNode { .. })), "the origin is not the agent");
    }

    /// Addresses are all that is remembered, so no name can fail or lie; and whoever is at one must still be who is meant.
    #[tokio::test]
    async fn b9_whoever_else_answers_at_a_known_address_is_not_taken_for_the_one_that_was_there() {
        let fleet = Fleet::new();
        let (agent, others) = (fleet.tls(Role::Agent), [(Fleet::new(), Role::Origin), (Fleet::new(), Role::Agent)]);
        for (other, role) in others {
            let guest = Guest::listen(other.tls(role)).await;
            let dial = agent.dial(guest.address, Door::Control, None);
            let (dialled, (accepted, _)) = tokio::join!(dial, guest.accept());
            assert!(dialled.is_err() && accepted.is_err(), "another fleet's {role:?} moved to that address");
        }
        let (guest, meant) = (Guest::listen(fleet.tls(Role::Agent)).await, NodeId(content::Digest::of(b"moved away")));
        let (dialled, _) = tokio::join!(agent.dial(guest.address, Door::Control, Some(meant)), guest.accept());
        assert!(matches!(dialled, Err(TlsError::AnotherNode { expected, .. }) if expected == meant));
    }

    #[tokio::test]
    async fn an_agent_cannot_pose_as_an_origin_nor_an_operator_as_a_node() {
        let fleet = Fleet::new();
        for role in [Role::Agent, Role::Operator] {
            let guest = Guest::listen(fleet.tls(role)).await;
            let asker = fleet.tls(Role::Operator);
            let (dialled, _) = tokio::join!(asker.dial_origin(guest.address, Door::Api), guest.accept());
            assert!(dialled.is_err(), "{role:?} was believed to be an origin");
        }
        let guest = Guest::listen(fleet.tls(Role::Operator)).await;
        let agent = fleet.tls(Role::Agent);
        let (dialled, _) = tokio::join!(agent.dial(guest.address, Door::Control, None), guest.accept());
        assert!(dialled.is_err(), "an operator was believed to be a node");
    }

    #[tokio::test]
    async fn h5_only_the_pinned_ca_is_believed_at_the_join_door() {
        let (ours, theirs) = (Fleet::new(), Fleet::new());
        // An agent that greets is one that somebody has taken over.
        let mut rogue = Arc::into_inner(ours.tls(Role::Agent)).expect("nobody else has it");
        rogue.greets = true;
        for (tls, pin, believed) in [
            (ours.tls(Role::Origin), ours.pin(), true),
            (theirs.tls(Role::Origin), ours.pin(), false),
            (Arc::new(rogue), ours.pin(), false),
        ] {
            let guest = Guest::listen(tls).await;
            let (dialled, _) = tokio::join!(dial_join(guest.address, pin), guest.accept());
            assert_eq!(dialled.is_ok(), believed);
            if let Ok((_, pinned)) = dialled {
                assert_eq!(pinned.ca().map(|ca| pin_of(&ca)), Some(pin));
                assert!(pinned.recheck().is_ok());
            }
        }
    }

    #[tokio::test]
    async fn b5_who_came_to_join_is_counted_until_it_has_gone_and_a_member_only_while_it_shakes_hands() {
        let fleet = Fleet::new();
        let (tls, agent) = (fleet.tls(Role::Origin), fleet.tls(Role::Agent));
        let guest = Guest::listen(tls.clone()).await;
        let (dialled, (joining, _)) = tokio::join!(dial_join(guest.address, fleet.pin()), guest.accept());
        let joining = joining.expect("let in");
        let taken = || (tls.strangers.taken(), tls.visitors.taken());
        assert_eq!(taken(), (0, 1), "after its handshake it is a visitor");
        let (member, (accepted, _)) = tokio::join!(agent.dial(guest.address, Door::Control, None), guest.accept());
        let accepted = accepted.expect("let in");
        assert_eq!(taken(), (0, 1), "a member is no stranger");
        drop((dialled, joining));
        assert_eq!(taken(), (0, 0));
        drop((member, accepted));
    }

    #[tokio::test]
    async fn d21_a_crowd_at_the_join_door_keeps_no_member_out() {
        let fleet = Fleet::new();
        let (tls, agent) = (fleet.tls(Role::Origin), fleet.tls(Role::Agent));
        let guest = Guest::listen(tls.clone()).await;
        let crowd: Vec<Share> = std::iter::from_fn(|| tls.visitors.take(guest.address.ip())).collect();
        assert!(!crowd.is_empty());
        let (one_more, (turned_away, _)) = tokio::join!(dial_join(guest.address, fleet.pin()), guest.accept());
        assert!(one_more.is_err() && matches!(turned_away, Err(TlsError::Busy)));
        let (member, (accepted, _)) = tokio::join!(agent.dial(guest.address, Door::Control, None), guest.accept());
        assert!(member.is_ok() && accepted.is_ok());
        drop(crowd);
        let (one_more, (let_in, _)) = tokio::join!(dial_join(guest.address, fleet.pin()), guest.accept());
        assert!(one_more.is_ok() && let_in.is_ok());
    }
}
