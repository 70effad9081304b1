//! What strangers find: which ports are open, and what whoever has no certificate of the fleet hears there.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, Node};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use said::expect;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

const JOIN: &[u8] = b"tiding-join/1";
/// Everything else a stranger may ask for, and nothing at all.
const OTHER_DOORS: [&[u8]; 5] = [b"tiding-control/1", b"tiding-bulk/1", b"tiding-renew/1", b"http/1.1", b""];

/// Believes whoever answers: a stranger wants to hear as much as there is.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

type Stranger = StreamOwned<ClientConnection, TcpStream>;

/// Knocks at a door, with the certificate of another fleet if there is one.
fn knock(address: SocketAddr, door: &[u8], papers: Option<&Path>) -> Stranger {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder =
        builder.expect("the default versions").dangerous().with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match papers {
        None => builder.with_no_client_auth(),
        Some(home) => {
            let chain = CertificateDer::from_pem_file(home.join("cert.pem")).expect("a certificate");
            let key = PrivateKeyDer::from_pem_file(home.join("key.pem")).expect("a key");
            builder.with_client_auth_cert(vec![chain], key).expect("they belong together")
        }
    };
    config.alpn_protocols = Some(door.to_vec()).filter(|door| !door.is_empty()).into_iter().collect();
    let name = ServerName::try_from("somebody").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let tcp = TcpStream::connect(address).expect("the port is open");
    tcp.set_read_timeout(Some(lab::PATIENCE)).expect("only so that a test that hangs ends");
    StreamOwned::new(connection, tcp)
}

/// All that is heard of a door until it closes: what is said, and the certificates that are shown.
fn hear(mut stranger: Stranger) -> (Vec<u8>, io::Result<usize>) {
    let mut heard = Vec::new();
    // The other side may have hung up already.
    let _asked = stranger.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n");
    let end = stranger.read_to_end(&mut heard);
    let shown = stranger.conn.peer_certificates().into_iter().flatten();
    heard.extend(shown.flat_map(|certificate| certificate.to_vec()));
    (heard, end)
}

/// The ports at which a process listens, from what the kernel says.
fn listening(node: &Node) -> BTreeSet<u16> {
    let proc = format!("/proc/{}", node.pid());
    let fds = fs::read_dir(format!("{proc}/fd")).expect("a process has descriptors").flatten();
    let sockets: BTreeSet<String> = fds
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    // TCP that listens is in state 0A; UDP that is bound to a port in 07.
    let tables = [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];
    let rows = tables.into_iter().flat_map(|(table, state)| {
        let text = fs::read_to_string(format!("{proc}/net/{table}")).unwrap_or_default();
        let rows = text.lines().map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        rows.filter(move |row| row.get(3).is_some_and(|its| its == state)).collect::<Vec<_>>()
    });
    let own = rows.filter(|row| row.get(9).is_some_and(|inode| sockets.contains(inode)));
    own.filter_map(|row| u16::from_str_radix(row[1].rsplit_once(':')?.1, 16).ok()).collect()
}

#[track_caller]
fn assert_silent(heard: &[u8], secrets: &[String]) {
    let text = String::from_utf8_lossy(heard);
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "`{secret}` was told to a stranger: {text:?}");
    }
}

#[test]
fn h1_a_stranger_finds_one_port_where_only_the_join_door_answers() {
    let (lab, other) = (Lab::new(), Lab::new());
    let agent = lab.agent("blue-whale");
    let status = lab.status().expect("the origin answers");
    let fleet = status["fleet"].as_str().expect("a fleet has an id").to_owned();
    let secrets = [fleet, "blue-whale".to_owned(), env!("CARGO_PKG_VERSION").to_owned()];
    let theirs = other.dir().join("operator");
    for node in [&lab.origin, &agent] {
        assert_eq!(listening(node), BTreeSet::from([node.address.port()]));
        for door in OTHER_DOORS {
            for papers in [None, Some(theirs.as_path())] {
                let (heard, end) = hear(knock(node.address, door, papers));
                assert_silent(&heard, &secrets);
                assert!(end.is_err(), "{}: a stranger was let in", String::from_utf8_lossy(door));
            }
        }
        let mut plain = TcpStream::connect(node.address).expect("the port is open");
        plain.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n\0\xff garbage").expect("there is room");
        let mut heard = Vec::new();
        // A reset is as good an end as any.
        let _end = plain.read_to_end(&mut heard);
        assert!(heard.len() < 16, "an alert, and nothing else: {heard:?}");
    }
    let (heard, _) = hear(knock(lab.origin.address, b"http/1.1", Some(&lab.dir().join("operator"))));
    assert!(heard.starts_with(b"HTTP/1.1 "), "the same knock with papers of this fleet is answered");
    let mut greeting = [0; 4];
    let mut joiner = knock(lab.origin.address, JOIN, None);
    joiner.read_exact(&mut greeting).expect("the join door answers");
    let shown = joiner.conn.peer_certificates().into_iter().flatten();
    assert_silent(&shown.flat_map(|certificate| certificate.to_vec()).collect::<Vec<_>>(), &secrets);
    assert!(knock(agent.address, JOIN, None).read_exact(&mut greeting).is_err(), "an agent lets nobody join");
}

#[test]
fn h1_idle_strangers_at_the_join_door_do_not_stop_the_fleet() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let mut greeting = [0; 4];
    // As many as are served at once, and as many again that wait behind them.
    let mut served: Vec<Stranger> = (0..16).map(|_| knock(lab.origin.address, JOIN, None)).collect();
    for stranger in &mut served {
        stranger.read_exact(&mut greeting).expect("it is served");
    }
    let mut waiting: Vec<Stranger> = (0..16).map(|_| knock(lab.origin.address, JOIN, None)).collect();
    for stranger in &mut waiting {
        stranger.conn.complete_io(&mut stranger.sock).expect("a handshake is not a turn");
    }
    let source = lab.dir().join("source");
    lab::tree(&source, 100_000, 1);
    lab.deploy(&source);
    assert!(lab::same(&source, &said::live(&agent)));
    expect(&lab.operator(&["token"]), 0, "tiding1.");
    drop((served, waiting));
    lab.agent("node-2");
}
