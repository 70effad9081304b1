//! Who a node is: its key, its certificate, and the fleet's CA that makes certificates.
//!
//! A node *is* its public key: [`NodeId`] is the digest of the key's DER SubjectPublicKeyInfo. What it may be is its role,
//! which stands in its certificate as the name `<role>.role.tiding.internal` and is read from nowhere else. The CA takes
//! from a request nothing but the public key: no name, extension or wish in it reaches the certificate.

use crate::home::{self, FileError};
use content::{Digest, NodeId, Role, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509CertificationRequest};

/// The name by which every node's certificate is checked.
pub(crate) const ANY_NODE: &str = "node.tiding.internal";
/// What follows the role in the name that says it.
const ROLE_SUFFIX: &str = ".role.tiding.internal";
/// How long a first certificate is valid: whoever gets it may be of older software, which renews nothing.
const LEAF_VALIDITY: Duration = Duration::from_secs(397 * 24 * 3600);
/// How long the CA's certificate is valid.
const CA_VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// How long before now a certificate begins to be valid, for clocks that differ a little.
pub(crate) const BACKDATE: Duration = Duration::from_secs(10 * 60);

/// Why a key or certificate cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key, certificate or request makes no sense. In words.
    #[error("{0}")]
    Malformed(String),
}

pub(crate) fn malformed(what: &str, why: impl std::fmt::Display) -> IdentityError {
    IdentityError::Malformed(format!("{what}: {why}"))
}

/// The wall clock.
pub(crate) fn wall_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(since.as_secs())
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has randomness, or nothing can be safe");
    bytes
}

/// The name that says a role.
pub(crate) fn role_name(role: Role) -> String {
    let word = match role {
        Role::Agent => "agent",
        Role::Origin => "origin",
        Role::Operator => "operator",
    };
    format!("{word}{ROLE_SUFFIX}")
}

/// A new private key for a certificate (ECDSA P-256).
pub(crate) fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key of a supported algorithm can be made")
}

/// Who has this key.
pub(crate) fn node_of_key(key: &KeyPair) -> NodeId {
    NodeId(Digest::of(&key.subject_public_key_info()))
}

/// A request for a certificate for `key`: it proves that the sender has the key, and says nothing else.
pub(crate) fn request_for(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(key).map_err(|error| malformed("certificate request", error))?;
    Ok(request.der().to_vec())
}

/// The public key of a certificate request, proven by its signature. Everything else in the request is ignored.
#[derive(Debug)]
pub(crate) struct RequestedKey(Vec<u8>);

impl RequestedKey {
    /// Checks a request's signature and takes its key.
    pub(crate) fn of_request(der: &[u8]) -> Result<Self, IdentityError> {
        let what = "certificate request";
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|error| malformed(what, error))?;
        if !rest.is_empty() {
            return Err(malformed(what, "bytes follow it"));
        }
        request.verify_signature().map_err(|_| malformed(what, "its signature does not hold"))?;
        let key = Self(request.certification_request_info.subject_pki.raw.to_vec());
        key.public()?;
        Ok(key)
    }

    /// The node that has this key.
    pub(crate) fn node(&self) -> NodeId {
        NodeId(Digest::of(&self.0))
    }

    fn public(&self) -> Result<SubjectPublicKeyInfo, IdentityError> {
        let key = SubjectPublicKeyInfo::from_der(&self.0).map_err(|error| malformed("public key", error))?;
        // The id is the digest of the very bytes that will stand in the certificate.
        match key.subject_public_key_info() == self.0 && key.algorithm() == &PKCS_ECDSA_P256_SHA256 {
            true => Ok(key),
            false => Err(malformed("public key", "only ECDSA P-256 in its canonical encoding is taken")),
        }
    }
}

/// The fleet's certificate authority, on an origin.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// Makes a new one.
    pub(crate) fn create() -> Result<Self, IdentityError> {
        let key = new_key();
        let params = authority_params(wall_clock());
        let made = params.self_signed(&key).map_err(|error| malformed("CA certificate", error))?;
        Ok(Self { issuer: Issuer::new(params, key), certificate: made.der().clone() })
    }

    /// All of it as one file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        [pem("CERTIFICATE", &self.certificate), self.issuer.key().serialize_pem().into_bytes()].concat()
    }

    /// Reads such a file.
    pub(crate) fn load_file(path: &Path) -> Result<Self, IdentityError> {
        let bytes = home::at(path, std::fs::read(path))?;
        let what = "CA certificate";
        let certificate = CertificateDer::from_pem_slice(&bytes).map_err(|error| malformed(what, error))?;
        Self::of(certificate, &String::from_utf8_lossy(&bytes))
    }

    /// Its files.
    pub(crate) fn to_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let key = self.issuer.key().serialize_pem().into_bytes();
        vec![(home::KEY, key), (home::CERTIFICATE, pem("CERTIFICATE", &self.certificate))]
    }

    /// Reads its files.
    pub(crate) fn load(directory: &Path) -> Result<Self, IdentityError> {
        let certificate = read_certificates(directory)?.into_iter().next();
        let certificate = certificate.ok_or_else(|| malformed("CA certificate", "the file holds none"))?;
        let path = directory.join(home::KEY);
        Self::of(certificate, &home::at(&path, std::fs::read_to_string(&path))?)
    }

    fn of(certificate: CertificateDer<'static>, text: &str) -> Result<Self, IdentityError> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| malformed("CA key", error))?;
        let key = KeyPair::try_from(&key).map_err(|error| malformed("CA key", error))?;
        if !is_made_with(&certificate, &key.subject_public_key_info()) {
            return Err(malformed("CA key", "it is not the key of the certificate beside it"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| malformed("CA certificate", error))?;
        Ok(Self { issuer, certificate })
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for a key that was asked for by a request.
    pub(crate) fn issue(
        &self,
        key: &RequestedKey,
        role: Role,
        now: UnixTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        self.sign(&key.public()?, role, now, LEAF_VALIDITY)
    }

    /// The next certificate of a member, for the same key and role.
    pub(crate) fn reissue(
        &self,
        key: &RequestedKey,
        role: Role,
        now: UnixTime,
        term: Duration,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        self.sign(&key.public()?, role, now, term)
    }

    /// A certificate for a key that is here.
    pub(crate) fn issue_own(
        &self,
        key: &KeyPair,
        role: Role,
        now: UnixTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        self.sign(key, role, now, LEAF_VALIDITY)
    }

    /// The next certificate for a key that is here.
    pub(crate) fn reissue_own(
        &self,
        key: &KeyPair,
        role: Role,
        now: UnixTime,
        term: Duration,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        self.sign(key, role, now, term)
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        role: Role,
        now: UnixTime,
        term: Duration,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let made = leaf_params(role, now, term)?.signed_by(key, &self.issuer);
        Ok(made.map_err(|error| malformed("certificate", error))?.der().clone())
    }
}

/// What every leaf says, all of it.
fn leaf_params(role: Role, now: UnixTime, term: Duration) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = validity(now, term);
    params.distinguished_name = subject("tiding node");
    for name in [ANY_NODE.to_owned(), role_name(role)] {
        let name = name.try_into().map_err(|error| malformed("certificate name", error))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match role {
        // An operator asks and is never asked: its certificate cannot pose as a server.
        Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Role::Agent | Role::Origin => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
    };
    Ok(params)
}

fn authority_params(now: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = validity(now, CA_VALIDITY);
    params.distinguished_name = subject("tiding fleet CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn validity(now: UnixTime, how_long: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(now.0);
    (now - BACKDATE, now + how_long)
}

/// A node's or operator's own key and certificate, and the CAs that it believes.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Who.
    pub(crate) node: NodeId,
    /// What its certificate lets it be.
    pub(crate) role: Role,
    /// Its certificate, then the CA's.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The CAs that the newest trust root names; none, where it names none.
    named: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Its files: `key`, and the certificate that was made for it.
    pub(crate) fn to_files(
        key: &KeyPair,
        leaf: &CertificateDer<'_>,
        ca: &CertificateDer<'_>,
    ) -> Vec<(&'static str, Vec<u8>)> {
        let certificates = [pem("CERTIFICATE", leaf), pem("CERTIFICATE", ca)].concat();
        vec![(home::KEY, key.serialize_pem().into_bytes()), (home::CERTIFICATE, certificates)]
    }

    /// Reads its files.
    pub(crate) fn load(directory: &Path) -> Result<Self, IdentityError> {
        let chain = read_certificates(directory)?;
        let [leaf, _ca] = &chain[..] else {
            return Err(malformed("certificate", "the file must hold the node's and the CA's"));
        };
        let path = directory.join(home::KEY);
        let bytes = home::at(&path, std::fs::read(&path))?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| malformed("private key", error))?;
        let (node, role) = who(leaf)?;
        let named = match directory.join(home::AUTHORITIES) {
            path if path.exists() => certificates_in(&path)?,
            _ => Vec::new(),
        };
        Ok(Self { node, role, chain, named, key })
    }

    /// The CA's certificate that is shown with its own.
    pub(crate) fn ca(&self) -> &CertificateDer<'static> {
        &self.chain[1]
    }

    /// The CAs that are believed: those that the newest trust root names, or the one that was pinned.
    pub(crate) fn believed(&self) -> &[CertificateDer<'static>] {
        if self.named.is_empty() { &self.chain[1..] } else { &self.named }
    }

    /// The CA that makes certificates now.
    pub(crate) fn newest(&self) -> &CertificateDer<'static> {
        self.believed().last().unwrap_or(&self.chain[1])
    }

    /// Whether its certificate is one of an earlier CA.
    pub(crate) fn is_superseded(&self) -> bool {
        !is_made_by(&self.chain[0], self.newest())
    }

    /// The private key.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

/// What a certificate says: whose key it holds and what its holder may be. Whether it is believed is for TLS to decide.
pub(crate) fn who(certificate: &CertificateDer<'_>) -> Result<(NodeId, Role), IdentityError> {
    let what = "certificate";
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| malformed(what, error))?;
    let node = NodeId(Digest::of(parsed.tbs_certificate.subject_pki.raw));
    let names = parsed.subject_alternative_name().map_err(|error| malformed(what, error))?;
    let names = names.map(|extension| &extension.value.general_names[..]).unwrap_or_default();
    let mut roles = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => name.strip_suffix(ROLE_SUFFIX),
        _ => None,
    });
    match (roles.next(), roles.next()) {
        (Some("agent"), None) => Ok((node, Role::Agent)),
        (Some("origin"), None) => Ok((node, Role::Origin)),
        (Some("operator"), None) => Ok((node, Role::Operator)),
        _ => Err(malformed(what, "it does not name exactly one role")),
    }
}

/// Whether a CA has made a certificate: whether its key has signed it.
pub(crate) fn is_made_by(certificate: &CertificateDer<'_>, ca: &CertificateDer<'_>) -> bool {
    let Ok((_, ca)) = X509Certificate::from_der(ca) else { return false };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    parsed.verify_signature(Some(ca.public_key())).is_ok()
}

/// Whether a certificate is for the key with this SubjectPublicKeyInfo.
fn is_made_with(certificate: &CertificateDer<'_>, key: &[u8]) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.tbs_certificate.subject_pki.raw == key)
}

/// Whether these bytes are a CA's certificate, as this software makes and believes them.
pub(crate) fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(rest, parsed)| rest.is_empty() && parsed.is_ca())
        && rustls::RootCertStore::empty().add(certificate.clone().into_owned()).is_ok()
}

/// Remembers in a member's directory the CAs that the newest trust root names.
pub(crate) fn keep_authorities(directory: &Path, named: &[CertificateDer<'_>]) -> Result<(), IdentityError> {
    Ok(home::replace(&directory.join(home::AUTHORITIES), &authorities_file(named))?)
}

/// The file of it.
pub(crate) fn authorities_file(named: &[CertificateDer<'_>]) -> Vec<u8> {
    named.iter().flat_map(|ca| pem("CERTIFICATE", ca)).collect()
}

/// The digest by which a join line pins a CA.
pub(crate) fn pin_of(ca: &CertificateDer<'_>) -> Digest {
    Digest::of(ca)
}

fn read_certificates(directory: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    certificates_in(&directory.join(home::CERTIFICATE))
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let bytes = home::at(path, std::fs::read(path))?;
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| malformed("certificate", error))
}

/// RFC 7468 text of some DER.
fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let body = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that asks for everything a node must not have.
    fn greedy_request(key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![
            "operator.role.tiding.internal".to_owned(),
            "other.example".to_owned(),
            "127.0.0.1".to_owned(),
        ])
        .expect("valid names");
        params.distinguished_name = subject("another node");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.serialize_request(key).expect("it can be made").der().to_vec()
    }

    #[test]
    fn h3_nothing_but_the_key_of_a_request_is_used() {
        let authority = Authority::create().expect("a CA");
        let key = new_key();
        let requested = RequestedKey::of_request(&greedy_request(&key)).expect("its signature holds");
        assert_eq!(requested.node(), node_of_key(&key));
        let made = authority.issue(&requested, Role::Agent, wall_clock()).expect("a certificate");
        assert_eq!(who(&made).expect("it says who"), (node_of_key(&key), Role::Agent));
        let (_, parsed) = X509Certificate::from_der(&made).expect("it parses");
        assert!(!parsed.is_ca());
        assert_eq!(parsed.subject().to_string(), "CN=tiding node");
        let names = parsed.subject_alternative_name().expect("it parses").expect("there are names");
        let names: Vec<String> = names.value.general_names.iter().map(|name| name.to_string()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(
            names.iter().any(|name| name.contains("agent.role")) && !names.iter().any(|name| name.contains("other"))
        );
        let usage = parsed.key_usage().expect("it parses").expect("there is one").value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        assert!(!parsed.extended_key_usage().expect("it parses").expect("there is one").value.code_signing);
    }

    #[test]
    fn h3_a_request_that_does_not_prove_its_key_is_refused() {
        let mut request = greedy_request(&new_key());
        let last = request.len() - 1;
        request[last] ^= 1;
        assert!(RequestedKey::of_request(&request).is_err());
        assert!(RequestedKey::of_request(b"\x30\x03junk").is_err());
    }

    #[test]
    fn files_round_trip() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::create().expect("a CA");
        home::write_set(&temp.path().join("ca"), &authority.to_files()).expect("written");
        let authority = Authority::load(&temp.path().join("ca")).expect("read");
        let key = new_key();
        let leaf = authority.issue_own(&key, Role::Origin, wall_clock()).expect("a certificate");
        let files = Identity::to_files(&key, &leaf, authority.certificate());
        home::write_set(&temp.path().join("me"), &files).expect("written");
        let identity = Identity::load(&temp.path().join("me")).expect("read");
        assert_eq!((identity.node, identity.role), (node_of_key(&key), Role::Origin));
        assert_eq!(pin_of(identity.ca()), pin_of(authority.certificate()));
    }
}
