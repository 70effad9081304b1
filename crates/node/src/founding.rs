//! Making a fleet: its CA, its trust root, its first origin and its first operator.
//!
//! The operator's keys go to the operator's home and nowhere else: the service cannot sign what runs. Nothing listens yet;
//! the origin is started by [`crate::daemon::start`], which writes the first facts when its journal is empty.

use crate::home::{self, FileError, FleetFile, NodeFile};
use crate::identity::{self, Authority, Identity, IdentityError, new_key, node_of_key, random, wall_clock};
use crate::vouching::Authorities;
use crate::{life, reach};
use content::root::Operator;
use content::{FleetId, Label, NodeId, PayloadKind, Powers, Role, Root, Signed, SigningKey, UnixTime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What a new fleet begins with.
#[derive(Debug, Clone)]
pub struct FoundOptions {
    /// Where the first origin keeps everything.
    pub home: PathBuf,
    /// Where the first operator keeps the keys: a directory the service cannot read.
    pub operator_home: PathBuf,
    /// Where the origin accepts connections.
    pub listen: SocketAddr,
    /// The addresses at which others reach it; empty means what is found out at each start.
    pub advertise: Vec<SocketAddr>,
    /// The origin's name.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// The first operator's name.
    pub operator: String,
}

/// Why a fleet cannot be founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// There is one already.
    #[error("{0} belongs to a fleet already; start it with `tiding up`, or give another directory with --home")]
    AlreadyFounded(PathBuf),
    /// A name breaks its rule.
    #[error(transparent)]
    BadName(#[from] content::BadName),
    /// A key, certificate or root could not be made.
    #[error("{0}")]
    Failed(String),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes a fleet: first the operator's keys, then the CA, then the first origin's identity, by which it is founded.
pub fn found(options: &FoundOptions) -> Result<(), FoundError> {
    Label::new(&options.datacenter)?;
    for home in [home::identity(&options.home), home::authority(&options.home), options.operator_home.clone()] {
        refuse_used(&home)?;
    }
    let now = wall_clock();
    let authority = Authority::create()?;
    let (root_key, operator_key) = (random::<32>(), random::<32>());
    let root = sign_root(&options.operator, now, &root_key, &operator_key)?;
    let operator = new_key();
    let operator_node = node_of_key(&operator);
    let keys = [(home::OPERATOR_KEY, hex(&operator_key)), (home::ROOT_KEY, hex(&root_key))];
    let fleet = [(home::ROOT, root.clone()), (home::FLEET, home::to_json(&fleet_file(options)))];
    let certified = certify(&authority, &operator, Role::Operator, now)?;
    home::write_set(&options.operator_home, &[&certified[..], &keys, &fleet].concat())?;
    home::write_set(&home::authority(&options.home), &authority.to_files())?;
    let certified = certify(&authority, &new_key(), Role::Origin, now)?;
    let node = [(home::ROOT, root), (home::NODE, home::to_json(&node_file(options, operator_node)))];
    Ok(home::write_set(&home::identity(&options.home), &[&certified[..], &node].concat())?)
}

/// Whether a node's home belongs to a fleet: it was founded or has joined.
pub fn is_founded(home: &Path) -> bool {
    home::identity(home).join(home::NODE).exists()
}

/// Tells an operator's home where the fleet's origins are now.
pub fn set_origins(operator_home: &Path, origins: &[SocketAddr]) -> Result<(), FoundError> {
    let path = operator_home.join(home::FLEET);
    let mut fleet: FleetFile = home::read_json(&path)?;
    fleet.origins = origins.to_vec();
    Ok(home::replace(&path, &home::to_json(&fleet))?)
}

/// Tells an origin's home at which addresses others reach it from its next start on.
pub fn set_advertised(home: &Path, advertise: &[SocketAddr]) -> Result<(), FoundError> {
    let path = home::identity(home).join(home::NODE);
    let mut node: NodeFile = home::read_json(&path)?;
    if node.operator.is_none() || node.advertise == advertise {
        return Ok(());
    }
    node.advertise = advertise.to_vec();
    Ok(home::replace(&path, &home::to_json(&node))?)
}

/// Renews an operator's certificate when it is old, by the CA in the home of an origin of the same fleet. Says whether it did.
pub fn renew_operator(operator_home: &Path, home: &Path) -> Result<bool, FoundError> {
    let own = Identity::load(&home::identity(home))?;
    let Some(authority) = Authorities::load(home, own.newest()).issuing() else {
        return Err(FoundError::Failed("the key of the fleet's CA is not in this origin's home".to_owned()));
    };
    let operator = Identity::load(operator_home)?;
    if operator.believed() == own.believed() && !operator.is_superseded() {
        return Ok(life::renew(operator_home, &authority, wall_clock())?);
    }
    if read_root(operator_home)?.1 != read_root(&home::identity(home))?.1 {
        return Err(FoundError::Failed("the operator's keys are another fleet's".to_owned()));
    }
    identity::keep_authorities(operator_home, own.believed())?;
    Ok(life::change(operator_home, &authority, wall_clock())?)
}

fn refuse_used(directory: &Path) -> Result<(), FoundError> {
    match std::fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(FoundError::AlreadyFounded(directory.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FoundError::Disk { path: directory.to_owned(), source }),
    }
}

/// The first trust root: one root key, one operator, both thresholds one.
fn sign_root(operator: &str, now: UnixTime, root: &[u8; 32], key: &[u8; 32]) -> Result<Vec<u8>, FoundError> {
    let (root_key, operator_key) = (SigningKey::from_secret(root), SigningKey::from_secret(key));
    let root = Root {
        version: 1,
        nonce: random(),
        created: now,
        root_keys: vec![root_key.public()],
        root_threshold: 1,
        operators: vec![Operator { name: operator.to_owned(), key: operator_key.public(), powers: Powers::default() }],
        operator_threshold: 1,
        authorities: Vec::new(),
    };
    root.check().map_err(|bad| FoundError::Failed(bad.to_string()))?;
    Ok(root_key.sign(PayloadKind::Root, root.encode()).encode())
}

fn certify(
    authority: &Authority,
    key: &rcgen::KeyPair,
    role: Role,
    now: UnixTime,
) -> Result<Vec<(&'static str, Vec<u8>)>, FoundError> {
    let leaf = authority.issue_own(key, role, now)?;
    Ok(Identity::to_files(key, &leaf, authority.certificate()))
}

fn advertised(options: &FoundOptions) -> Vec<SocketAddr> {
    let told = if options.advertise.is_empty() { &[options.listen][..] } else { &options.advertise };
    told.iter().copied().filter(reach::leads_somewhere).collect()
}

fn fleet_file(options: &FoundOptions) -> FleetFile {
    FleetFile {
        operator: options.operator.clone(),
        datacenter: options.datacenter.clone(),
        origins: advertised(options),
    }
}

fn node_file(options: &FoundOptions, operator: NodeId) -> NodeFile {
    NodeFile {
        name: options.name.clone(),
        datacenter: options.datacenter.clone(),
        labels: BTreeMap::new(),
        origins: Vec::new(),
        advertise: options.advertise.clone(),
        operator: Some(operator.to_string()),
    }
}

pub(crate) fn hex(secret: &[u8; 32]) -> Vec<u8> {
    (data_encoding::HEXLOWER.encode(secret) + "\n").into_bytes()
}

/// A signing key from its file.
pub(crate) fn read_signing_key(path: &Path) -> Result<SigningKey, FileError> {
    let text = home::at(path, std::fs::read(path))?;
    let bad = || std::io::Error::new(std::io::ErrorKind::InvalidData, "a signing key is 64 hexadecimal digits");
    let secret = data_encoding::HEXLOWER.decode(text.trim_ascii()).ok().and_then(|bytes| bytes.try_into().ok());
    home::at(path, secret.map(|secret| SigningKey::from_secret(&secret)).ok_or_else(bad))
}

/// A home's signed trust root, verified, with the fleet's id.
pub(crate) fn read_root(directory: &Path) -> Result<(Signed, FleetId, Root), FileError> {
    let path = directory.join(home::ROOT);
    let bytes = home::at(&path, std::fs::read(&path))?;
    let bad = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    let signed = home::at(&path, Signed::decode(&bytes).map_err(|error| bad(error.to_string())))?;
    let (fleet, root) = home::at(&path, Root::verify_first(&signed).map_err(|error| bad(error.to_string())))?;
    Ok((signed, fleet, root))
}

impl From<FileError> for FoundError {
    fn from(error: FileError) -> Self {
        Self::Disk { path: error.path, source: error.source }
    }
}

impl From<IdentityError> for FoundError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::File(error) => error.into(),
            IdentityError::Malformed(why) => Self::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn options(temp: &Path) -> FoundOptions {
        FoundOptions {
            home: temp.join("home"),
            operator_home: temp.join("operator"),
            listen: ([127, 0, 0, 1], 7443).into(),
            advertise: Vec::new(),
            name: "first".to_owned(),
            datacenter: "here".to_owned(),
            operator: "alice".to_owned(),
        }
    }

    #[test]
    fn a_fleet_is_founded_once_and_its_keys_are_private() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let options = options(temp.path());
        assert!(!is_founded(&options.home));
        found(&options).expect("founded");
        assert!(is_founded(&options.home));
        assert!(matches!(found(&options), Err(FoundError::AlreadyFounded(_))));
        for file in ["operator/operator.key", "operator/root.key", "operator/key.pem", "home/ca/key.pem"] {
            let mode = std::fs::metadata(temp.path().join(file)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{file}");
        }
        let (_, fleet, root) = read_root(&options.operator_home).expect("a root");
        assert_eq!(read_root(&home::identity(&options.home)).expect("a root").1, fleet);
        let key = read_signing_key(&options.operator_home.join(home::OPERATOR_KEY)).expect("a key");
        assert_eq!(root.operator_name(key.public().id()), Some("alice"));
    }

    #[test]
    fn the_operators_keys_are_not_in_the_service_s_home() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let options = options(temp.path());
        found(&options).expect("founded");
        let names: Vec<_> = ["identity", "ca"]
            .iter()
            .flat_map(|part| std::fs::read_dir(options.home.join(part)).expect("it is there"))
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        assert!(names.iter().all(|name| name != home::OPERATOR_KEY && name != home::ROOT_KEY), "{names:?}");
    }
}
