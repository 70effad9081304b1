//! Operators come and go: the root key signs the next trust root, and an origin brings it to everyone.
//!
//! Whatever happens between two steps, there is either no such operator or a whole one, and the same command again goes on: the new
//! home is complete, certificate and all, before a root names its key, for as long as no root does its certificate opens nothing but
//! reading; and whoever is removed is named by no root any more before the certificate is revoked. What stands is co-signed first, so
//! that nodes that come later can follow it still.

use crate::api::{FleetStatus, OperatorRequest, Refusal};
use crate::audit::Journals;
use crate::client::{Client, ClientError, OperatorKeys};
use crate::founding;
use crate::home::{self, FileError, FleetFile};
use crate::identity::{self, Identity, IdentityError, new_key, node_of_key, random, wall_clock};
use content::root::Operator;
use content::{PayloadKind, Powers, PublicKey, Release, ReleaseId, Role, Root, Signed, SigningKey};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An operator to make.
#[derive(Debug, Clone)]
pub struct AddOptions {
    /// The name, one of its kind in the fleet.
    pub name: String,
    /// Where its home is made; not there yet, or empty, or what the same command left behind.
    pub out: PathBuf,
    /// What it may do.
    pub powers: Powers,
    /// Where the fleet's root key is: its file, or a directory with it in it. The operator's home, if nothing is said.
    pub root_key: Option<PathBuf>,
}

/// What was done about an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The version of the trust root that is in force now.
    pub root: u64,
    /// What was co-signed, in words.
    pub countersigned: Vec<String>,
}

/// An operator, as the newest root has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub name: String,
    /// The id of its key.
    pub key: String,
    /// What it may do, in words.
    pub powers: String,
    /// The version of the root that named this key first, of those since which it is there.
    pub since: u64,
}

/// Why no operator was made or removed.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The root key is elsewhere.
    #[error("{0} has no root.key; say where the fleet's root key is with --root-key")]
    NoRootKey(PathBuf),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It may not be done.
    #[error("{0}")]
    Refused(String),
    /// The origin could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<FileError> for PeopleError {
    fn from(error: FileError) -> Self {
        Self::Disk { path: error.path, source: error.source }
    }
}

impl From<IdentityError> for PeopleError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::File(error) => error.into(),
            IdentityError::Malformed(why) => Self::Invalid(why),
        }
    }
}

/// Bytes of documents in one request, and what each takes besides its payload.
const AT_ONCE: usize = 256 << 10;
const AROUND: usize = 512;

/// Everything that one who makes trust roots works with.
pub(crate) struct Desk {
    pub(crate) home: PathBuf,
    root_key: PathBuf,
    pub(crate) client: Client,
    keys: OperatorKeys,
    journals: Journals,
    roots: Vec<Root>,
}

impl Desk {
    pub(crate) async fn open(operator_home: &Path, root_key: Option<&Path>) -> Result<Self, PeopleError> {
        let (client, keys) = (Client::open(operator_home)?, OperatorKeys::read(operator_home)?);
        let journals = client.journals().await?;
        let bad = |why: String| PeopleError::Refused(format!("the origin's journal has no trust root to go by: {why}"));
        let roots = journals.roots(keys.id).map_err(|error| bad(error.to_string()))?;
        if roots.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        // Nothing is signed because an origin says that it stands: only what operators have signed, in journals that follow.
        if let Some(finding) = journals.check(keys.id, &[]).findings.first() {
            let (journal, index, what) = (&finding.journal, finding.index, &finding.what);
            let why = format!("{journal} fact {index} of the origin's journals: {what}; look at `tiding audit verify`");
            return Err(PeopleError::Refused(why));
        }
        let root_key = root_key.unwrap_or(operator_home).to_owned();
        let desk = Self { home: operator_home.to_owned(), root_key, client, keys, journals, roots };
        desk.remember_roots().await?;
        Ok(desk)
    }

    /// Holds the roots that the origin shows against those that this operator has seen: who hides the newest would have it signed anew, with
    /// operators who were removed. One that has lost roots, from a backup that is older, is given them back.
    async fn remember_roots(&self) -> Result<(), PeopleError> {
        let path = self.home.join(home::ROOTS);
        let known: Vec<String> = if path.exists() { home::read_json(&path)? } else { Vec::new() };
        let shown: Vec<String> = self.journals.signed_roots().map(to_text).collect();
        if known.iter().zip(&shown).any(|(known, shown)| known != shown) {
            let why = "its trust roots are others than you have seen: somebody else signed with the root key, or this origin lies";
            return Err(PeopleError::Refused(why.to_owned()));
        }
        for lost in known.iter().skip(shown.len()) {
            self.client.root(&from_text(lost)?).await?;
        }
        if known.len() > shown.len() {
            let lost = known.len() - shown.len();
            let roots = if lost == 1 { "root" } else { "roots" };
            let why =
                format!("the origin had lost {lost} newer trust {roots}, and has got back what it lost; do it again");
            return Err(PeopleError::Refused(why));
        }
        Ok(home::replace(&path, &home::to_json(&shown))?)
    }

    /// Brings a root, and remembers it once it stands.
    pub(crate) async fn bring(&self, signed: &Signed) -> Result<(), PeopleError> {
        self.client.root(signed).await?;
        let all: Vec<String> = self.journals.signed_roots().chain([signed]).map(to_text).collect();
        Ok(home::replace(&self.home.join(home::ROOTS), &home::to_json(&all))?)
    }

    pub(crate) fn newest(&self) -> &Root {
        self.roots.last().expect("it was opened with one")
    }

    /// The root that follows, with other operators, signed; before anything is done for it.
    fn next(&self, operators: Vec<Operator>) -> Result<(Root, Signed), PeopleError> {
        self.following(Root { operators, ..self.newest().clone() })
    }

    /// The root that follows, with what this one says.
    pub(crate) fn following(&self, root: Root) -> Result<(Root, Signed), PeopleError> {
        let key = root_key(&self.root_key)?;
        let newest = self.newest();
        let root = Root { version: newest.version + 1, created: wall_clock(), ..root };
        root.check().map_err(|bad| PeopleError::Invalid(bad.to_string()))?;
        let signed = key.sign(PayloadKind::Root, root.encode());
        if signed.payload.len() > Signed::MAX_PAYLOAD {
            let why =
                "so many operators with so many powers do not fit into a trust root; name fewer applications or labels";
            return Err(PeopleError::Invalid(why.to_owned()));
        }
        newest.verify_next(&signed).map_err(|bad| {
            PeopleError::Refused(format!(
                "the root key in {} cannot sign for this fleet: {bad}",
                self.root_key.display()
            ))
        })?;
        Ok((root, signed))
    }
}

/// The root key in a file, or in a directory.
pub(crate) fn root_key(at: &Path) -> Result<SigningKey, PeopleError> {
    let path = if at.is_file() { at.to_owned() } else { at.join(home::ROOT_KEY) };
    match path.exists() {
        true => Ok(founding::read_signing_key(&path)?),
        false => Err(PeopleError::NoRootKey(at.to_owned())),
    }
}

/// The operators, as the newest root has them.
pub async fn list(operator_home: &Path) -> Result<Vec<Known>, PeopleError> {
    let desk = Desk::open(operator_home, None).await?;
    let since = |key: &PublicKey| {
        let names_it = |root: &&Root| root.operators.iter().any(|operator| operator.key == *key);
        desk.roots.iter().rev().take_while(names_it).last().map_or(0, |root| root.version)
    };
    let known = |operator: &Operator| Known {
        name: operator.name.clone(),
        key: operator.key.id().to_string(),
        powers: operator.powers.to_string(),
        since: since(&operator.key),
    };
    Ok(desk.newest().operators.iter().map(known).collect())
}

/// Makes an operator: keys and certificate in a home of its own, then the root that names it.
pub async fn add(operator_home: &Path, options: &AddOptions) -> Result<Changed, PeopleError> {
    // First, so that nothing was asked or made where it cannot be ended.
    let key_at = options.root_key.as_deref();
    root_key(key_at.unwrap_or(operator_home))?;
    let desk = Desk::open(operator_home, key_at).await?;
    let known = desk.newest().operator(&options.name).cloned();
    let begun = begun(options, &desk)?;
    match (known, begun) {
        (Some(known), Some(key)) if known.key == key && known.powers == options.powers => {
            Ok(Changed { root: desk.newest().version, countersigned: Vec::new() })
        }
        (Some(known), _) => Err(PeopleError::Refused(format!(
            "there is an operator {} already, who may do: {}; take another name, or remove that one first",
            known.name, known.powers
        ))),
        (None, begun) => {
            // Whether that root can be made is known before anything is.
            let key = match begun {
                Some(key) => key,
                None => {
                    desk.next(with(&desk, options, SigningKey::from_secret(&random()).public()))?;
                    make_home(&desk, options).await?
                }
            };
            let (root, signed) = desk.next(with(&desk, options, key))?;
            desk.bring(&signed).await?;
            Ok(Changed { root: root.version, countersigned: Vec::new() })
        }
    }
}

fn with(desk: &Desk, options: &AddOptions, key: PublicKey) -> Vec<Operator> {
    let mut operators = desk.newest().operators.clone();
    operators.push(Operator { name: options.name.clone(), key, powers: options.powers.clone() });
    operators
}

/// The key in a home that the same command has made before, if it has.
fn begun(options: &AddOptions, desk: &Desk) -> Result<Option<PublicKey>, PeopleError> {
    let out = &options.out;
    let is_empty = std::fs::read_dir(out).map(|mut entries| entries.next().is_none());
    match is_empty {
        Ok(true) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PeopleError::Disk { path: out.clone(), source }),
        Ok(false) => {}
    }
    let fleet: Option<FleetFile> = home::read_json(&out.join(home::FLEET)).ok();
    let is_ours = fleet.is_some_and(|file| file.operator == options.name)
        && founding::read_root(out).is_ok_and(|(_, fleet, _)| fleet == desk.keys.id);
    if !is_ours {
        let why = format!("{} is not empty; give another directory with --out", out.display());
        return Err(PeopleError::Refused(why));
    }
    Ok(Some(founding::read_signing_key(&out.join(home::OPERATOR_KEY))?.public()))
}

/// An operator's home with keys, and a certificate that opens nothing but reading before a root names the operator.
async fn make_home(desk: &Desk, options: &AddOptions) -> Result<PublicKey, PeopleError> {
    let (key, secret) = (new_key(), random::<32>());
    let request = data_encoding::BASE64.encode(&identity::request_for(&key)?);
    let leaf = desk.client.certify(&OperatorRequest { name: options.name.clone(), request }).await?;
    let leaf = CertificateDer::from(leaf);
    match identity::who(&leaf) {
        Ok((node, Role::Operator)) if node == node_of_key(&key) => {}
        _ => return Err(ClientError::Protocol("the certificate is not the one that was asked for".to_owned()).into()),
    }
    let mine = Identity::load(&desk.home)?;
    let fleet = FleetFile { operator: options.name.clone(), ..desk.keys.fleet.clone() };
    let ca = mine.believed().iter().find(|ca| identity::is_made_by(&leaf, ca)).unwrap_or(mine.ca());
    let mut files = Identity::to_files(&key, &leaf, ca);
    if desk.home.join(home::AUTHORITIES).exists() {
        files.push((home::AUTHORITIES, identity::authorities_file(mine.believed())));
    }
    files.extend([
        (home::OPERATOR_KEY, founding::hex(&secret)),
        (home::ROOT, desk.keys.root.encode()),
        (home::FLEET, home::to_json(&fleet)),
    ]);
    home::write_set(&options.out, &files)?;
    Ok(SigningKey::from_secret(&secret).public())
}

/// Removes an operator: co-signs what they ordered and what stands, brings the root without them, and has their certificate revoked.
/// The root key is in the operator's home unless it is said where.
pub async fn remove(operator_home: &Path, name: &str, key_at: Option<&Path>) -> Result<Changed, PeopleError> {
    root_key(key_at.unwrap_or(operator_home))?;
    let desk = Desk::open(operator_home, key_at).await?;
    let mut changed = Changed { root: desk.newest().version, countersigned: Vec::new() };
    if name == desk.keys.fleet.operator {
        let why = "nobody removes themselves; have another operator with the root key do it";
        return Err(PeopleError::Refused(why.to_owned()));
    }
    if desk.newest().operator(name).is_some() {
        let stay: Vec<Operator> =
            desk.newest().operators.iter().filter(|operator| operator.name != name).cloned().collect();
        if stay.is_empty() {
            let why =
                format!("{name} is the last operator, and a fleet without one is nobody's; add another one first");
            return Err(PeopleError::Refused(why));
        }
        let (root, signed) = desk.next(stay)?;
        let status = desk.client.status().await?;
        let (documents, words) = countersigned(&desk, &root, &status)?;
        for documents in in_requests(&documents) {
            desk.client.countersign(documents).await?;
        }
        desk.bring(&signed).await?;
        changed = Changed { root: root.version, countersigned: words };
    } else if !desk.roots.iter().any(|root| root.operator(name).is_some()) {
        let why = format!("no operator is called {name}; `tiding operator list` shows them");
        return Err(ClientError::from(Refusal::Unknown { why }).into());
    }
    desk.client.dismiss(name).await?;
    Ok(changed)
}

/// What stands, or is kept, and would not be believed under the next root: with the signature of whoever asks, and in words.
fn countersigned(desk: &Desk, next: &Root, status: &FleetStatus) -> Result<(Vec<Signed>, Vec<String>), PeopleError> {
    let key = founding::read_signing_key(&desk.home.join(home::OPERATOR_KEY))?;
    let fleet = desk.keys.id;
    let orders = desk.journals.newest_orders();
    let kept = status.apps.iter().flat_map(|app| &app.releases).filter_map(|release| release.release.parse().ok());
    let named = orders.iter().flat_map(|(_, order)| [Some(order.release), order.fallback].into_iter().flatten());
    let wanted: BTreeSet<ReleaseId> = kept.chain(named).collect();
    let mut releases = desk.journals.releases();
    let (mut documents, mut words) = (Vec::new(), Vec::new());
    let lacking = |what: &str, why: &content::root::Refused| {
        let why = format!("{what} would be believed no more, and your signature does not change that: {why}");
        PeopleError::Refused(why)
    };
    for mut signed in wanted.iter().filter_map(|id| releases.remove(id)) {
        if is_due((desk.newest(), next), |root| root.verify_release(fleet, &signed).is_ok()) {
            co_sign(desk, &key, &mut signed);
            let version = Release::decode(&signed.payload).map_or_else(|_| String::new(), |release| release.version);
            next.verify_release(fleet, &signed).map_err(|why| lacking(&version, &why))?;
            words.push(format!("release {version}"));
            documents.push(signed);
        }
    }
    for (mut signed, order) in orders {
        if is_due((desk.newest(), next), |root| root.verify_order(fleet, &signed).is_ok()) {
            co_sign(desk, &key, &mut signed);
            let what = format!("epoch {} of {}", order.epoch, order.app);
            next.verify_order(fleet, &signed).map_err(|why| lacking(&what, &why))?;
            words.push(what);
            documents.push(signed);
        }
    }
    Ok((documents, words))
}

/// Whether a document is to be countersigned: it is believed today, and would not be under the next root. What nobody follows today is not
/// signed for tomorrow, whatever an origin says that stands.
fn is_due((newest, next): (&Root, &Root), is_believed: impl Fn(&Root) -> bool) -> bool {
    is_believed(newest) && !is_believed(next)
}

/// Documents in parts that an origin takes at once.
fn in_requests(documents: &[Signed]) -> Vec<&[Signed]> {
    let (mut parts, mut rest) = (Vec::new(), documents);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |document: &&Signed| {
            bytes += document.payload.len() + AROUND;
            bytes <= AT_ONCE
        };
        let (part, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        parts.push(part);
        rest = later;
    }
    parts
}

fn to_text(signed: &Signed) -> String {
    data_encoding::BASE64.encode(&signed.encode())
}

fn from_text(text: &str) -> Result<Signed, PeopleError> {
    let bytes = data_encoding::BASE64.decode(text.as_bytes()).ok();
    let signed = bytes.and_then(|bytes| Signed::decode(&bytes).ok());
    signed.ok_or_else(|| PeopleError::Invalid(format!("{} holds no trust roots; remove it", home::ROOTS)))
}

/// Adds a signature; those of operators who are gone for long make room, as a document has few.
fn co_sign(desk: &Desk, key: &SigningKey, signed: &mut Signed) {
    signed.signatures.retain(|signature| desk.newest().operator_name(signature.key).is_some());
    key.co_sign(signed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{AppName, FleetId, UnixTime};

    fn root(version: u64, operators: &[u8]) -> Root {
        let operator = |nr: &u8| Operator {
            name: format!("operator {nr}"),
            key: SigningKey::from_secret(&[*nr; 32]).public(),
            powers: Default::default(),
        };
        Root {
            version,
            nonce: [7; 16],
            created: UnixTime(1),
            root_keys: vec![SigningKey::from_secret(&[1; 32]).public()],
            root_threshold: 1,
            operators: operators.iter().map(operator).collect(),
            operator_threshold: 1,
            authorities: Vec::new(),
        }
    }

    #[test]
    fn g12_nothing_is_signed_because_an_origin_says_that_it_stands() {
        let (newest, next) = (root(2, &[4, 5]), root(3, &[4]));
        let fleet = FleetId(content::Digest::of(b"fleet"));
        let order = content::Order {
            fleet,
            app: AppName::new("web").expect("a plain name"),
            epoch: 1,
            release: ReleaseId(content::Digest::of(b"release")),
            fallback: None,
            selector: Default::default(),
            unreachable: Default::default(),
            waves: vec![content::order::Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            created: UnixTime(3),
            message: String::new(),
        };
        let by = |nr: u8| SigningKey::from_secret(&[nr; 32]).sign(PayloadKind::Order, order.encode());
        let due = |signed: &Signed| is_due((&newest, &next), |root| root.verify_order(fleet, signed).is_ok());
        assert!(due(&by(5)), "who is removed has ordered it");
        assert!(!due(&by(4)), "who stays has");
        assert!(!due(&by(9)), "a stranger has: an origin made it up");
        assert!(!due(&Signed { signatures: Vec::new(), ..by(5) }), "nobody has");
    }

    #[test]
    fn documents_go_in_parts_that_are_taken_and_none_is_left_out() {
        let document = |bytes: usize| {
            let payload = vec![bytes as u8; bytes];
            Signed { kind: PayloadKind::Release, payload, signatures: Vec::new() }
        };
        let documents: Vec<Signed> =
            (0..3000).map(|nr| document(1000 + nr % 7)).chain([document(AT_ONCE * 2)]).collect();
        let parts = in_requests(&documents);
        assert_eq!(parts.concat(), documents);
        let size = |part: &&&[Signed]| part.iter().map(|one| one.payload.len() + AROUND).sum::<usize>() <= AT_ONCE;
        assert_eq!(parts.iter().filter(|part| !size(part)).count(), 1, "what is too long by itself goes alone");
        assert_eq!(in_requests(&[]).len(), 0);
    }
}
