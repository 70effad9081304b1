//! Posting one thing to one address: where it may lead, how it is signed, and what counts as taken.

use super::Webhook;
use crate::tls;
use aws_lc_rs::hmac;
use content::UnixTime;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a receiver may take for all of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where systems keep the certificates of those whom everyone believes.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where a webhook is. It may hold a secret, and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    path: String,
    is_tls: bool,
}

/// Text that is no address of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It is none.
    #[error("it is no URL; write for example https://hooks.example.com/tiding")]
    Malformed,
    /// It would be sent in the clear.
    #[error(
        "what happens is not told in the clear; write https:// (http:// is for this machine alone: http://127.0.0.1:PORT/)"
    )]
    Clear,
    /// It holds a name and a password.
    #[error("it holds a user's name; say a secret with secret-file, which signs each post")]
    User,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let uri: Uri = text.parse().map_err(|_| BadUrl::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BadUrl::Malformed);
        };
        if authority.as_str().contains('@') {
            return Err(BadUrl::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_here = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let is_tls = match scheme {
            "https" => true,
            "http" if is_here => false,
            "http" => return Err(BadUrl::Clear),
            _ => return Err(BadUrl::Malformed),
        };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if host.is_empty() { Err(BadUrl::Malformed) } else { Ok(Self { host, port, path, is_tls }) }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Url")
    }
}

/// One thing that is told.
pub(super) struct Letter {
    pub(super) id: String,
    pub(super) event: &'static str,
    pub(super) body: Vec<u8>,
}

/// Posts to one address.
pub(super) struct Poster {
    url: Url,
    key: Option<hmac::Key>,
    tls: Option<TlsConnector>,
    patience: Duration,
}

impl Poster {
    pub(super) fn new(hook: &Webhook) -> Result<Self, String> {
        let tls = if hook.url.is_tls { Some(connector(hook.authorities.as_deref())?) } else { None };
        let key = hook.secret.as_deref().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(Self { url: hook.url.clone(), key, tls, patience: PATIENCE })
    }

    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Posts once; says why it was not taken.
    pub(super) async fn post(&self, letter: &Letter, now: UnixTime) -> Result<(), String> {
        let slow = || format!("no answer within {} s", self.patience.as_secs());
        timeout(self.patience, self.try_post(letter, now)).await.map_err(|_| slow())?
    }

    async fn try_post(&self, letter: &Letter, now: UnixTime) -> Result<(), String> {
        let words = |error: &dyn fmt::Display| error.to_string();
        let tcp = TcpStream::connect((self.url.host.as_str(), self.url.port)).await.map_err(|error| words(&error))?;
        match &self.tls {
            None => self.speak(tcp, letter, now).await,
            Some(tls) => {
                let name = ServerName::try_from(self.url.host.clone()).map_err(|error| words(&error))?;
                let stream = tls.connect(name, tcp).await.map_err(|error| words(&error))?;
                self.speak(stream, letter, now).await
            }
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        letter: &Letter,
        now: UnixTime,
    ) -> Result<(), String> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let request = self.request(letter, now)?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200..300 => Ok(()),
            status @ 300..400 => Err(format!("it answered {status}, and redirects are not followed")),
            status => Err(format!("it answered {status}")),
        }
    }

    fn request(&self, letter: &Letter, now: UnixTime) -> Result<Request<Full<Bytes>>, String> {
        let request = Request::post(&self.url.path)
            .header(HOST, format!("{}:{}", self.url.host, self.url.port))
            .header(USER_AGENT, "tiding")
            .header(CONTENT_TYPE, "application/json")
            .header("tiding-event", letter.event)
            .header("tiding-id", &letter.id);
        let request = match &self.key {
            Some(key) => request.header("tiding-signature", signature(key, now, &letter.body)),
            None => request,
        };
        request.body(Full::new(letter.body.clone().into())).map_err(|error| error.to_string())
    }
}

/// `t=SECONDS,v1=HEX`: the HMAC-SHA256 of `SECONDS.BODY`, so that an old post cannot be played again later.
fn signature(key: &hmac::Key, now: UnixTime, body: &[u8]) -> String {
    let signed = [format!("{}.", now.0).as_bytes(), body].concat();
    format!("t={},v1={}", now.0, data_encoding::HEXLOWER.encode(hmac::sign(key, &signed).as_ref()))
}

/// Believes whom this machine believes, or whom its configuration names, for addresses outside the fleet.
fn connector(authorities: Option<&Path>) -> Result<TlsConnector, String> {
    let system = || SYSTEM.iter().map(PathBuf::from).find(|path| path.exists());
    let path = authorities.map(Path::to_owned).or_else(system);
    let path = path.ok_or("this machine has no list of certificate authorities; name one with ca-file")?;
    let bad = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| bad(&error))?;
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() {
        return Err(bad(&"there is no certificate in it"));
    }
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(tls::VERSIONS)
        .map_err(|error| bad(&error))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h10_addresses_in_the_clear_are_this_machines_alone() {
        let parse = |text: &str| text.parse::<Url>();
        let url = parse("https://hooks.example.com/a/b?c=d").expect("a URL");
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str(), url.is_tls),
            ("hooks.example.com", 443, "/a/b?c=d", true)
        );
        assert!(parse("http://127.0.0.1:8080/x").is_ok() && parse("http://[::1]:8080/x").is_ok());
        for clear in [
            "http://hooks.example.com/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest",
            "http://localhost.example/",
        ] {
            assert_eq!(parse(clear), Err(BadUrl::Clear), "{clear}");
        }
        assert_eq!(parse("https://me:secret@example.com/"), Err(BadUrl::User));
        for none in ["", "/x", "example.com", "file:///etc/passwd", "ftp://example.com/"] {
            assert_eq!(parse(none), Err(BadUrl::Malformed), "{none}");
        }
        assert_eq!(format!("{url:?}"), "Url", "a path may hold a secret");
    }

    #[test]
    fn a_post_is_signed_with_its_time() {
        // RFC 4231, test case 2, has this key and this text: here with the time before it.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let plain = hmac::sign(&key, b"what do ya want for nothing?");
        let vector = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(data_encoding::HEXLOWER.encode(plain.as_ref()), vector);
        let signed = signature(&key, UnixTime(7), b"{}");
        let expected = data_encoding::HEXLOWER.encode(hmac::sign(&key, b"7.{}").as_ref());
        assert_eq!(signed, format!("t=7,v1={expected}"));
        assert_ne!(signed, signature(&key, UnixTime(8), b"{}"));
    }
}
