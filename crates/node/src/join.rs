//! Joining a fleet: the line that says where and whom to believe, and the exchange that follows.
//!
//! The line pins the digests of the fleet's CA and trust root. The joiner checks the CA inside the TLS handshake, before it
//! says a word; only then does it show the secret and ask for a certificate for its key. What it becomes was decided when
//! the line was made; nothing it asks for changes that. The exchange is three frames, each bounded and timed.

use crate::api::{Refusal, labels_to_text};
use crate::clock;
use crate::driver::Handle;
use crate::home::{self, NodeFile};
use crate::identity::{self, Identity, RequestedKey, new_key, node_of_key, random, wall_clock};
use crate::shares::Shares;
use crate::tls::{self, Pinned, Stream, TlsError};
use crate::vouching::Authorities;
use content::encoding::{Decoder, Encode, Encoder, Malformed};
use content::{Digest, FleetId, Label, Labels, Role, Root, Signed, TokenId, UnixTime};
use data_encoding::BASE64URL_NOPAD;
use engine::door::{Answer, Request};
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// What a join line allows.
#[derive(Debug, Clone)]
pub struct JoinTerms {
    /// How many nodes may join with it.
    pub uses: u32,
    /// For how long.
    pub valid: Duration,
    /// What those nodes become.
    pub role: Role,
    /// What is said of them.
    pub labels: Labels,
}

impl Default for JoinTerms {
    fn default() -> Self {
        Self { uses: 100, valid: Duration::from_secs(3600), role: Role::Agent, labels: Labels::new() }
    }
}

/// A join line: one word that a person carries from an origin to a new machine. It holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinLine {
    /// Where origins answer.
    pub addresses: Vec<SocketAddr>,
    /// The digest of the CA's certificate.
    pub ca: Digest,
    /// The fleet: the digest of its first trust root.
    pub fleet: FleetId,
    /// The token's public half.
    pub token: [u8; 16],
    /// The token's secret half.
    pub(crate) secret: [u8; 16],
    /// Until when it may be used.
    pub expires: UnixTime,
    /// How many nodes may join with it.
    pub uses: u32,
    /// What they become.
    pub role: Role,
    /// What is said of them.
    pub labels: Labels,
}

/// Text that is no join line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJoinLine {
    /// It does not begin like one.
    #[error("a join line begins with `tiding1.`; copy it again from `tiding up` or `tiding token`")]
    NotALine,
    /// It is of a later version.
    #[error("this join line was made by a newer tiding; install that version here")]
    Newer,
    /// It is cut off, or a character of it was changed.
    #[error("the join line was mistyped or cut off; copy it again, whole")]
    Damaged,
}

/// What a join line begins with: a word and the version of what follows.
const PREFIX: &str = "tiding1.";
/// How many bytes of a digest guard against mistyping.
const CHECKSUM: usize = 4;
/// The most addresses a line or an answer holds.
pub(crate) const MAX_ADDRESSES: usize = 16;
/// The longest address as text.
const MAX_ADDRESS: usize = 64;

impl JoinLine {
    /// A line with a new token.
    pub(crate) fn new(
        terms: &JoinTerms,
        addresses: Vec<SocketAddr>,
        ca: Digest,
        fleet: FleetId,
        now: UnixTime,
    ) -> Self {
        Self {
            addresses,
            ca,
            fleet,
            token: random(),
            secret: random(),
            expires: UnixTime(now.0.saturating_add(terms.valid.as_secs())),
            uses: terms.uses,
            role: terms.role,
            labels: terms.labels.clone(),
        }
    }

    /// The id of its token.
    pub fn token_id(&self) -> TokenId {
        TokenId(Digest::of(&self.token))
    }

    /// What the origin keeps of the secret.
    pub(crate) fn secret_hash(&self) -> Digest {
        hash_secret(self.token_id(), &self.secret)
    }
}

/// The keyed hash by which a secret is stored and compared: useless to whoever reads it, and different for every token.
fn hash_secret(token: TokenId, secret: &[u8; 16]) -> Digest {
    Digest::from_bytes(*blake3::keyed_hash(token.0.as_bytes(), secret).as_bytes())
}

impl Encode for JoinLine {
    const WHAT: &'static str = "join line";

    fn put(&self, to: &mut Encoder) {
        put_addresses(&self.addresses, to);
        to.value(&self.ca).value(&self.fleet).raw(&self.token).raw(&self.secret);
        to.value(&self.expires).number(self.uses).value(&self.role).value(&self.labels);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            addresses: take_addresses(from)?,
            ca: from.value()?,
            fleet: from.value()?,
            token: from.array()?,
            secret: from.array()?,
            expires: from.value()?,
            uses: from.number32("the number of uses")?,
            role: from.value()?,
            labels: from.value()?,
        })
    }
}

fn put_addresses(addresses: &[SocketAddr], to: &mut Encoder) {
    to.count(addresses.len());
    for address in addresses {
        to.text(&address.to_string());
    }
}

fn take_addresses(from: &mut Decoder<'_>) -> Result<Vec<SocketAddr>, Malformed> {
    let count = from.count("the number of addresses", MAX_ADDRESSES, 1)?;
    let one = |from: &mut Decoder<'_>| {
        let text = from.text("an address", MAX_ADDRESS)?;
        text.parse().map_err(|_| from.wrong("an address is no IP address and port"))
    };
    (0..count).map(|_| one(from)).collect()
}

impl fmt::Display for JoinLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.encode();
        bytes.extend_from_slice(&Digest::of(&bytes).as_bytes()[..CHECKSUM]);
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl fmt::Debug for JoinLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinLine").field("addresses", &self.addresses).field("uses", &self.uses).finish_non_exhaustive()
    }
}

impl FromStr for JoinLine {
    type Err = BadJoinLine;

    fn from_str(text: &str) -> Result<Self, BadJoinLine> {
        let text = text.trim();
        let word = match text.strip_prefix(PREFIX) {
            Some(word) => word,
            None if is_newer(text) => return Err(BadJoinLine::Newer),
            None => return Err(BadJoinLine::NotALine),
        };
        let bytes = BASE64URL_NOPAD.decode(word.as_bytes()).map_err(|_| BadJoinLine::Damaged)?;
        let (line, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(BadJoinLine::Damaged)?;
        if Digest::of(line).as_bytes()[..CHECKSUM] != checksum[..] {
            return Err(BadJoinLine::Damaged);
        }
        Self::decode(line).map_err(|_| BadJoinLine::Damaged)
    }
}

/// Whether text looks like a join line of another version.
fn is_newer(text: &str) -> bool {
    let version = text.strip_prefix("tiding").and_then(|rest| rest.split_once('.')).map(|(version, _)| version);
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Why a machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// This home belongs to a fleet already.
    #[error("{0} belongs to a fleet already; start it with `tiding run`, or give another directory with --home")]
    AlreadyJoined(std::path::PathBuf),
    /// No address of the line answers.
    #[error("no origin answers: {0}; check that the port is open and the origin runs")]
    Unreachable(String),
    /// What answers is not the fleet of the line. The secret was not sent.
    #[error("what answers at {address} is not the fleet of this join line ({why}); the secret was not sent")]
    NotTheFleet {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// The clocks differ too much for certificates to make sense. The secret was not sent.
    #[error("your clock is {0}; set it (for example with `timedatectl set-ntp true`) and join again")]
    Clock(String),
    /// The origin refused: the line is wrong, expired, used up or taken back.
    #[error("the origin refused: {0}")]
    Refused(crate::api::Refusal),
    /// The origin's answer makes no sense.
    #[error("the origin's answer makes no sense: {0}")]
    Protocol(String),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The longest frame of the exchange.
const MAX_FRAME: usize = 64 * 1024;
/// How long each step of the exchange may take.
const STEP: Duration = Duration::from_secs(20);
/// How long an origin that lets nobody more in at the moment is tried again, and after how long: each time twice as long, up to
/// the longest.
const CROWDED: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(4);
/// The longest certificate or request, in bytes.
pub(crate) const MAX_DER: usize = 8 * 1024;

/// The origin's first word: what time it is. (Which CA it has, TLS has said.)
pub(crate) struct Greeting {
    pub(crate) now: UnixTime,
}

/// The joiner's word: the token, and the key that wants a certificate.
struct Plea {
    token: TokenId,
    secret: [u8; 16],
    request: Vec<u8>,
    name: String,
}

/// The origin's answer.
enum Verdict {
    Welcome(Box<Welcome>),
    Refused(String),
}

/// Everything a new node is given.
struct Welcome {
    leaf: Vec<u8>,
    root: Signed,
    origins: Vec<SocketAddr>,
    name: String,
    labels: Labels,
    datacenter: Label,
}

impl Encode for Greeting {
    const WHAT: &'static str = "greeting of the join door";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.now);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { now: from.value()? })
    }
}

impl Encode for Plea {
    const WHAT: &'static str = "request to join";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.token).raw(&self.secret).bytes(&self.request).text(&self.name);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            token: from.value()?,
            secret: from.array()?,
            request: from.bytes("the certificate request", MAX_DER)?.to_vec(),
            name: from.text("the name", content::Fact::MAX_NAME)?,
        })
    }
}

impl Encode for Verdict {
    const WHAT: &'static str = "answer of the join door";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Refused(why) => to.byte(0).text(why),
            Self::Welcome(welcome) => to.byte(1).value(&**welcome),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            0 => Ok(Self::Refused(from.text("the reason", 1024)?)),
            1 => Ok(Self::Welcome(Box::new(from.value()?))),
            other => Err(from.wrong(format!("there is no answer {other}"))),
        }
    }
}

impl Encode for Welcome {
    const WHAT: &'static str = "welcome";

    fn put(&self, to: &mut Encoder) {
        to.bytes(&self.leaf).value(&self.root);
        put_addresses(&self.origins, to);
        to.text(&self.name).value(&self.labels).value(&self.datacenter);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            leaf: from.bytes("the certificate", MAX_DER)?.to_vec(),
            root: from.value()?,
            origins: take_addresses(from)?,
            name: from.text("the name", content::Fact::MAX_NAME)?,
            labels: from.value()?,
            datacenter: from.value()?,
        })
    }
}

/// Sends one frame: its length, then its bytes.
pub(crate) async fn say(stream: &mut Stream, word: &impl Encode) -> io::Result<()> {
    let bytes = word.encode();
    let len = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&[&len.to_le_bytes(), &bytes[..]].concat()).await?;
    stream.flush().await
}

/// Reads one frame; its length is bounded before memory is taken.
pub(crate) async fn hear<T: Encode>(stream: &mut Stream) -> io::Result<T> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let read = async {
        let len = stream.read_u32_le().await? as usize;
        if len > MAX_FRAME {
            return Err(invalid(format!("a frame of {len} bytes is too long")));
        }
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).await?;
        T::decode(&bytes).map_err(|error| invalid(error.to_string()))
    };
    timeout(STEP, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Joins the fleet of `line`: makes a key, pins the fleet's CA, shows the secret, and keeps what it is given in `home`.
pub async fn join(line: &JoinLine, home: &Path, name: Option<&str>) -> Result<(), JoinError> {
    let into = home::identity(home);
    if into.exists() {
        return Err(JoinError::AlreadyJoined(home.to_owned()));
    }
    let greeted = greeted(line).await?;
    let address = greeted.address;
    let kept = home.join(home::JOINING);
    let key = joining_key(&kept)?;
    let (welcome, ca) = exchange(line, greeted, &key, name).await?;
    let protocol = |why: String| JoinError::Protocol(why);
    let (fleet, _) = Root::verify_first(&welcome.root).map_err(|error| protocol(error.to_string()))?;
    if fleet != line.fleet {
        return Err(JoinError::NotTheFleet { address, why: "its trust root is another one".to_owned() });
    }
    let leaf = CertificateDer::from(welcome.leaf.clone());
    match identity::who(&leaf) {
        Ok((node, role)) if node == node_of_key(&key) && role == line.role => {}
        _ => return Err(protocol("the certificate is not the one that was asked for".to_owned())),
    }
    let mut welcome = *welcome;
    if welcome.origins.is_empty() {
        // The origin does not know how it is reached; we do.
        welcome.origins.push(address);
    }
    keep(&into, &key, &leaf, &ca, welcome)?;
    // The identity stands; a key that could not be removed is of no use to anyone else, and of none to us.
    match std::fs::remove_file(&kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", kept.display());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The key to join with: kept before the fleet hears of it, so that a join that was cut off and is tried again is the same
/// node, and eats no second use of its line.
fn joining_key(kept: &Path) -> Result<rcgen::KeyPair, JoinError> {
    let disk = |error: home::FileError| JoinError::Disk { path: error.path, source: error.source };
    let parsed = std::fs::read_to_string(kept).ok().and_then(|text| rcgen::KeyPair::from_pem(&text).ok());
    if let Some(key) = parsed {
        return Ok(key);
    }
    let key = new_key();
    let parent = kept.parent().unwrap_or(Path::new("."));
    home::at(parent, home::private_dirs(parent)).map_err(disk)?;
    home::replace(kept, key.serialize_pem().as_bytes()).map_err(disk)?;
    Ok(key)
}

/// An origin that answers and has time for us.
struct Greeted {
    address: SocketAddr,
    stream: Stream,
    pinned: Pinned,
    greeting: Greeting,
}

/// The first address at which the line's fleet greets; one that is busy with others who join is waited for.
async fn greeted(line: &JoinLine) -> Result<Greeted, JoinError> {
    let (since, mut wait) = (Instant::now(), AGAIN);
    loop {
        match greeted_once(line).await {
            Err((error, true)) if since.elapsed() < CROWDED => {
                tracing::info!(%error, "the origin lets nobody more in now; it is tried again");
                tokio::time::sleep(jittered(wait)).await;
                wait = (wait * 2).min(LONGEST);
            }
            outcome => return outcome.map_err(|(error, _)| error),
        }
    }
}

/// Between the half and all of it, so that those who came at once do not come back at once.
fn jittered(wait: Duration) -> Duration {
    wait / 2 + wait / 2 * u32::from(random::<1>()[0]) / u32::from(u8::MAX)
}

/// A failure, and whether an origin let us go without a word, as one does that has too many strangers.
type NotGreeted = (JoinError, bool);

async fn greeted_once(line: &JoinLine) -> Result<Greeted, NotGreeted> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
    let mut busy = false;
    let mut failed = JoinError::Unreachable("the line names no address".to_owned());
    let let_go = |error: &io::Error| matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe);
    for &address in &line.addresses {
        match tls::dial_join(address, line.ca).await {
            Ok((mut stream, pinned)) => match hear::<Greeting>(&mut stream).await {
                Ok(greeting) => return Ok(Greeted { address, stream, pinned, greeting }),
                Err(error) => {
                    // It is the fleet, so whatever keeps it from speaking passes.
                    busy |= let_go(&error) || error.kind() == TimedOut;
                    failed = JoinError::Unreachable(format!("{address}: {error}"));
                }
            },
            Err(TlsError::Io(error)) if error.kind() == InvalidData => {
                failed = JoinError::NotTheFleet { address, why: error.to_string() };
            }
            Err(error) => {
                busy |= matches!(&error, TlsError::Io(error) if let_go(error));
                failed = JoinError::Unreachable(format!("{address}: {error}"));
            }
        }
    }
    Err((failed, busy))
}

/// The exchange itself. The CA is pinned already; clocks are compared before the secret leaves.
async fn exchange(
    line: &JoinLine,
    greeted: Greeted,
    key: &rcgen::KeyPair,
    name: Option<&str>,
) -> Result<(Box<Welcome>, CertificateDer<'static>), JoinError> {
    let Greeted { address, mut stream, pinned, greeting } = greeted;
    let broken = |error: io::Error| JoinError::Unreachable(format!("{address}: {error}"));
    let not_the_fleet = |why: String| JoinError::NotTheFleet { address, why };
    let ca = pinned.ca().ok_or_else(|| not_the_fleet("it did not show the CA".to_owned()))?;
    compare_clocks(wall_clock(), greeting.now)?;
    pinned.recheck().map_err(|error| not_the_fleet(error.to_string()))?;
    let request = identity::request_for(key).map_err(|error| JoinError::Protocol(error.to_string()))?;
    let name = name.unwrap_or_default().to_owned();
    let plea = Plea { token: line.token_id(), secret: line.secret, request, name };
    say(&mut stream, &plea).await.map_err(broken)?;
    match hear(&mut stream).await.map_err(broken)? {
        Verdict::Welcome(welcome) => Ok((welcome, ca)),
        Verdict::Refused(why) => Err(JoinError::Refused(Refusal::NotAllowed { why })),
    }
}

/// Refuses clocks that differ so much that certificates would make no sense (to either side).
fn compare_clocks(here: UnixTime, there: UnixTime) -> Result<(), JoinError> {
    clock::skew(here, there).map_or(Ok(()), |skew| Err(JoinError::Clock(skew)))
}

fn keep(
    into: &Path,
    key: &rcgen::KeyPair,
    leaf: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
    welcome: Welcome,
) -> Result<(), JoinError> {
    let node = NodeFile {
        name: welcome.name,
        datacenter: welcome.datacenter.as_str().to_owned(),
        labels: labels_to_text(&welcome.labels),
        origins: welcome.origins,
        advertise: Vec::new(),
        operator: None,
    };
    let mut files = Identity::to_files(key, leaf, ca);
    files.extend([(home::ROOT, welcome.root.encode()), (home::NODE, home::to_json(&node))]);
    home::write_set(into, &files).map_err(|error| JoinError::Disk { path: error.path, source: error.source })
}

/// The origin's side of the join door.
pub(crate) struct Porter {
    /// What makes certificates.
    pub(crate) authorities: Arc<Authorities>,
    /// Asks the engine.
    pub(crate) handle: Handle,
    /// The fleet's signed root.
    pub(crate) root: Signed,
    /// Where origins answer.
    pub(crate) origins: Vec<SocketAddr>,
    /// The datacenter that new nodes join.
    pub(crate) datacenter: Label,
    /// Who is served now.
    pub(crate) turns: Arc<Shares>,
    /// How long one may have a turn without saying what it wants, and without taking the answer.
    pub(crate) patience: Duration,
}

impl Porter {
    /// Enough for a machine at the other end of the world; silence keeps others waiting no longer.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

    /// How many are served at once, of one network no more than a quarter; a flood waits, and those who wait too long are
    /// let go.
    pub(crate) fn turns() -> Arc<Shares> {
        const AT_ONCE: usize = 16;
        Arc::new(Shares::new(AT_ONCE, AT_ONCE / 4))
    }

    /// Serves one who came to join.
    pub(crate) async fn serve(&self, mut stream: Stream, from: IpAddr) -> io::Result<()> {
        let Ok(_turn) = timeout(STEP, self.turns.wait(from)).await else { return Ok(()) };
        let plea = async {
            say(&mut stream, &Greeting { now: wall_clock() }).await?;
            hear::<Plea>(&mut stream).await
        };
        let plea = timeout(self.patience, plea).await??;
        let verdict = match self.decide(plea).await {
            Ok(welcome) => Verdict::Welcome(Box::new(welcome)),
            Err(why) => Verdict::Refused(why.chars().take(300).collect()),
        };
        let answer = async {
            say(&mut stream, &verdict).await?;
            stream.shutdown().await
        };
        timeout(self.patience, answer).await?
    }

    /// The engine decides by the token; of the request, only the key is used.
    async fn decide(&self, plea: Plea) -> Result<Welcome, String> {
        let key = RequestedKey::of_request(&plea.request).map_err(|error| error.to_string())?;
        let authority = self.authorities.require_issuing().map_err(|refusal| refusal.to_string())?;
        let now = wall_clock();
        let secret = hash_secret(plea.token, &plea.secret);
        let enrol = Request::Enrol { token: plea.token, secret, node: key.node(), name: plea.name, now };
        match self.handle.ask(enrol).await {
            Ok(Answer::Enrolled { role, name, labels }) => {
                let leaf = authority.issue(&key, role, now).map_err(|error| error.to_string())?;
                let (root, origins) = (self.root.clone(), self.origins.clone());
                Ok(Welcome { leaf: leaf.to_vec(), root, origins, name, labels, datacenter: self.datacenter.clone() })
            }
            Ok(Answer::Refused(refusal)) => Err(plain_words(refusal)),
            Ok(_) => Err("the origin is confused".to_owned()),
            Err(gone) => Err(gone.to_string()),
        }
    }
}

/// What a refusal says, without its kind: who joins wants to know what to do.
fn plain_words(refusal: engine::door::Refusal) -> String {
    use engine::door::Refusal::{Conflict, Failed, Invalid, NotAllowed, NotBelieved, Unknown};
    match refusal {
        Conflict { what, .. } => what,
        NotBelieved(why) | Unknown(why) | Invalid(why) | NotAllowed(why) | Failed(why) => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> JoinLine {
        let terms = JoinTerms { uses: 3, ..JoinTerms::default() };
        let addresses = vec![([127, 0, 0, 1], 7443).into(), "[::1]:9".parse().expect("an address")];
        JoinLine::new(&terms, addresses, Digest::of(b"ca"), FleetId(Digest::of(b"root")), UnixTime(1_000))
    }

    #[test]
    fn a_line_round_trips_as_one_word() {
        let (line, text) = (line(), line().to_string());
        assert_ne!(line.to_string(), text, "every line has its own token");
        assert!(!text.contains(char::is_whitespace));
        let text = line.to_string();
        assert_eq!(format!("  {text}\n").parse(), Ok(line));
    }

    #[test]
    fn a_mistyped_or_cut_off_line_is_recognised() {
        let text = line().to_string();
        for cut in PREFIX.len()..text.len() {
            assert_eq!(text[..cut].parse::<JoinLine>(), Err(BadJoinLine::Damaged), "cut at {cut}");
        }
        for at in PREFIX.len()..text.len() {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let wrong = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(wrong.parse::<JoinLine>(), Err(BadJoinLine::Damaged), "changed at {at}");
        }
        assert_eq!("tiding2.AAAA".parse::<JoinLine>(), Err(BadJoinLine::Newer));
        assert_eq!("docker swarm join".parse::<JoinLine>(), Err(BadJoinLine::NotALine));
    }

    #[test]
    fn h2_the_secret_is_not_printed_and_its_hash_belongs_to_its_token() {
        let line = line();
        let secret = data_encoding::HEXLOWER.encode(&line.secret);
        assert!(!format!("{line:?}").contains(&secret));
        assert_ne!(hash_secret(TokenId(Digest::of(b"other")), &line.secret), line.secret_hash());
    }

    #[test]
    fn d23_clocks_that_differ_are_named_with_their_side() {
        let compare = |here, there| compare_clocks(UnixTime(here), UnixTime(there)).map_err(|error| error.to_string());
        assert_eq!(compare(1_000_000, 1_000_299), Ok(()));
        assert!(compare(1_000_000 + 23 * 3600, 1_000_000).is_err_and(|why| why.contains("your clock is 23 h ahead")));
        assert!(compare(1_000_000, 1_000_000 + 600).is_err_and(|why| why.contains("your clock is 10 min behind")));
    }

    #[test]
    fn words_of_the_exchange_are_bounded() {
        let plea =
            Plea { token: line().token_id(), secret: [7; 16], request: vec![0; MAX_DER + 1], name: String::new() };
        assert!(Plea::decode(&plea.encode()).is_err());
        let many = vec![SocketAddr::from(([127, 0, 0, 1], 1)); MAX_ADDRESSES + 1];
        assert!(JoinLine::decode(&JoinLine { addresses: many, ..line() }.encode()).is_err());
    }

    use crate::testing::{Fleet, Guest, answering, signed_root};
    use engine::door;
    use std::sync::Mutex;

    fn line_to(address: SocketAddr, ca: Digest, fleet: FleetId) -> JoinLine {
        JoinLine::new(&JoinTerms::default(), vec![address], ca, fleet, wall_clock())
    }

    fn porter(fleet: Fleet, root: Signed, handle: Handle) -> Porter {
        let (origins, turns, patience) = (vec![([127, 0, 0, 1], 1).into()], Porter::turns(), Porter::PATIENCE);
        let datacenter = Label::new("here").expect("a label");
        Porter {
            authorities: Arc::new(Authorities::of(fleet.authority)),
            handle,
            root,
            origins,
            datacenter,
            turns,
            patience,
        }
    }

    #[tokio::test]
    async fn a_machine_joins_and_keeps_what_it_was_given() {
        let (fleet, (root, id)) = (Fleet::new(), signed_root());
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let line = line_to(guest.address, fleet.pin(), id);
        let (expected, token) = (line.secret_hash(), line.token_id());
        let (handle, _touch) = answering(move |request| match request {
            Request::Enrol { token: shown, secret, name, .. } => {
                assert_eq!((shown, secret, name.as_str()), (token, expected, "web-1"));
                Answer::Enrolled { role: Role::Agent, name: "web-1-2".to_owned(), labels: Labels::new() }
            }
            other => panic!("{other:?}"),
        });
        let porter = Porter { origins: Vec::new(), ..porter(fleet, root, handle) };
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (joined, ()) = tokio::join!(join(&line, temp.path(), Some("web-1")), async {
            let (accepted, from) = guest.accept().await;
            porter.serve(accepted.expect("let in").stream, from.ip()).await.expect("served");
        });
        joined.expect("joined");
        let identity = Identity::load(&home::identity(temp.path())).expect("an identity");
        assert_eq!(identity.role, Role::Agent);
        let node: NodeFile = home::read_json(&home::identity(temp.path()).join(home::NODE)).expect("a node file");
        assert_eq!((node.name.as_str(), node.datacenter.as_str()), ("web-1-2", "here"));
        assert_eq!(node.origins, line.addresses, "where the origin answered, when it does not know how it is reached");
        let again = join(&line, temp.path(), None).await;
        assert!(matches!(again, Err(JoinError::AlreadyJoined(_))));
    }

    #[tokio::test]
    async fn h2_a_refusal_is_told_and_nothing_is_kept() {
        let (fleet, (root, id)) = (Fleet::new(), signed_root());
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let line = line_to(guest.address, fleet.pin(), id);
        let (handle, _touch) =
            answering(|_| Answer::Refused(door::Refusal::NotAllowed("this join line is used up".to_owned())));
        let porter = porter(fleet, root, handle);
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (joined, ()) = tokio::join!(join(&line, temp.path(), None), async {
            let (accepted, from) = guest.accept().await;
            porter.serve(accepted.expect("let in").stream, from.ip()).await.expect("served");
        });
        let why = joined.expect_err("refused").to_string();
        assert!(why.contains("used up"), "{why}");
        assert!(!home::identity(temp.path()).exists());
    }

    #[tokio::test]
    async fn h5_a_man_in_the_middle_never_sees_the_secret() {
        let (ours, theirs, (_, id)) = (Fleet::new(), Fleet::new(), signed_root());
        let guest = Guest::listen(theirs.tls(Role::Origin)).await;
        let line = line_to(guest.address, ours.pin(), id);
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (joined, heard) = tokio::join!(join(&line, temp.path(), None), overhear(&guest, wall_clock()));
        assert!(matches!(joined, Err(JoinError::NotTheFleet { .. })), "{joined:?}");
        assert_eq!(heard, b"", "something was said to a stranger");
    }

    #[tokio::test]
    async fn d23_the_secret_is_kept_back_when_clocks_differ() {
        let (fleet, (_, id)) = (Fleet::new(), signed_root());
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let line = line_to(guest.address, fleet.pin(), id);
        let temp = tempfile::tempdir().expect("a temporary directory");
        let yesterday = UnixTime(wall_clock().0 - 23 * 3600);
        let (joined, heard) = tokio::join!(join(&line, temp.path(), None), overhear(&guest, yesterday));
        assert!(joined.is_err_and(|error| error.to_string().contains("your clock is 23 h ahead")));
        assert_eq!(heard, b"", "the secret was sent in spite of the clock");
    }

    #[tokio::test]
    async fn an_origin_that_is_busy_with_others_is_tried_again() {
        let (fleet, listener) = (Fleet::new(), tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port"));
        let line = line_to(listener.local_addr().expect("bound"), fleet.pin(), signed_root().1);
        let tls = fleet.tls(Role::Origin);
        let (greeted, ()) = tokio::join!(greeted(&line), async {
            drop(listener.accept().await.expect("a connection"));
            let (tcp, from) = listener.accept().await.expect("it comes again");
            // One that waits for its turn in vain is let go as well.
            drop(tls.accept(tcp, from).await.expect("let in"));
            let (tcp, from) = listener.accept().await.expect("it comes again");
            let mut accepted = tls.accept(tcp, from).await.expect("let in");
            say(&mut accepted.stream, &Greeting { now: wall_clock() }).await.expect("said");
        });
        assert!(greeted.is_ok());
    }

    #[test]
    fn d21_those_who_came_at_once_do_not_come_back_at_once() {
        let mut waits: Vec<Duration> = (0..64).map(|_| jittered(LONGEST)).collect();
        assert!(waits.iter().all(|wait| (LONGEST / 2..=LONGEST).contains(wait)), "{waits:?}");
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 16, "{waits:?}");
    }

    #[tokio::test]
    async fn b5_who_says_nothing_loses_its_turn_and_has_only_its_networks_share() {
        let (fleet, (root, _)) = (Fleet::new(), signed_root());
        let (pin, guest) = (fleet.pin(), Guest::listen(fleet.tls(Role::Origin)).await);
        let (handle, _touch) = answering(|request| panic!("{request:?}"));
        let porter = Porter { patience: Duration::from_millis(20), ..porter(fleet, root, handle) };
        let (silent, (accepted, _)) = tokio::join!(tls::dial_join(guest.address, pin), guest.accept());
        let (silent, accepted) = (silent.expect("it answers"), accepted.expect("let in"));
        let (from, other) = ([203, 0, 113, 1].into(), [203, 0, 113, 2].into());
        let serving = timeout(STEP / 2, porter.serve(accepted.stream, from)).await;
        let served = serving.expect("silence is not waited for as long as a step of a join may take");
        assert_eq!(served.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        let held: Vec<_> = std::iter::from_fn(|| porter.turns.take(from)).collect();
        assert!(!held.is_empty() && porter.turns.take(other).is_some(), "one network has all {} turns", held.len());
        drop(silent);
    }

    /// Lets someone in, greets, and takes down every byte that is said.
    async fn overhear(guest: &Guest, now: UnixTime) -> Vec<u8> {
        let mut heard = Vec::new();
        if let (Ok(accepted), _) = guest.accept().await {
            let mut stream = accepted.stream;
            say(&mut stream, &Greeting { now }).await.ok();
            stream.read_to_end(&mut heard).await.ok();
        }
        heard
    }

    #[tokio::test]
    async fn a_root_of_another_fleet_is_not_kept() {
        let (fleet, (root, _), (_, wanted)) = (Fleet::new(), signed_root(), signed_root());
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let line = line_to(guest.address, fleet.pin(), wanted);
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        let (handle, _touch) = answering(move |_| {
            *count.lock().expect("not poisoned") += 1;
            Answer::Enrolled { role: Role::Agent, name: "a".to_owned(), labels: Labels::new() }
        });
        let porter = porter(fleet, root, handle);
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (joined, ()) = tokio::join!(join(&line, temp.path(), None), async {
            let (accepted, from) = guest.accept().await;
            porter.serve(accepted.expect("let in").stream, from.ip()).await.expect("served");
        });
        assert_eq!(*asked.lock().expect("not poisoned"), 1);
        assert!(matches!(joined, Err(JoinError::NotTheFleet { .. })), "{joined:?}");
        assert!(!home::identity(temp.path()).exists());
    }
}
