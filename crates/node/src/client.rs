//! Asking an origin: the operator's side of the control API.
//!
//! Whoever answers must have an origin's certificate of the fleet's CA. Nothing here is retried: whoever asks knows better
//! whether to ask again.

use crate::api::{
    self, AuthorityMade, AuthorityRequest, CountersignRequest, DirectiveRequest, DismissRequest, FleetStatus,
    JournalPage, LimitRequest, OperatorCertificate, OperatorRequest, OrderRequest, Ordered, Refusal, RootRequest,
    TokenIssued, TokenRequest, Verification, labels_to_text,
};
use crate::audit::{Head, Journals};
use crate::founding;
use crate::home::{self, FleetFile};
use crate::identity::{ANY_NODE, Identity, wall_clock};
use crate::join::{BadJoinLine, JoinLine, JoinTerms};
use crate::life::{Age, Life};
use crate::renewal;
use crate::tls::{Door, Tls};
use crate::vouching::Follower;
use content::blob::PAGE;
use content::cut::MAX_PIECE;
use content::fact::{Entry, JournalName};
use content::{AppName, ContentId, Digest, FleetId, Label, NodeId, PieceNo, ReleaseId, Role, Signed, TokenId};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Why an origin could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The operator's home is missing or makes no sense.
    #[error("{0}")]
    Home(String),
    /// No origin answers.
    #[error("no origin answers: {0}; check that it runs and that its port is open")]
    Unreachable(String),
    /// The origin refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer makes no sense.
    #[error("the origin's answer makes no sense: {0}")]
    Protocol(String),
}

/// The longest answer that is taken, in bytes.
const MAX_ANSWER: usize = 256 << 20;
/// The longest signed release that is taken, in bytes.
const MAX_RELEASE: usize = 1 << 20;
/// How long an origin may take to answer; verifying reads everything that is live, and may take longer.
const PATIENCE: Duration = Duration::from_secs(60);
const VERIFYING: Duration = Duration::from_secs(3600);
/// Lines of a watch that may wait for their reader.
const LINES: usize = 4;

/// An operator's way to the fleet's origins. Each call dials anew; clones are cheap.
#[derive(Clone)]
pub struct Client {
    tls: Arc<Tls>,
    origins: Vec<SocketAddr>,
    patience: Duration,
    renewal: Option<Arc<Renewal>>,
}

/// Where the certificate of the operator lies, and whether it was tried to renew it, and to learn which CAs are believed.
struct Renewal {
    home: PathBuf,
    fleet: FleetId,
    tried: AtomicBool,
    heeded: Mutex<String>,
}

type Connection = http1::SendRequest<Full<Bytes>>;

impl Client {
    /// Reads the keys and addresses in an operator's home.
    pub fn open(operator_home: &Path) -> Result<Self, ClientError> {
        let keys = OperatorKeys::read(operator_home)?;
        let (home, fleet) = (operator_home.to_owned(), keys.id);
        let renewal = Renewal { home, fleet, tried: AtomicBool::new(false), heeded: Mutex::default() };
        let renewal = Some(Arc::new(renewal));
        Ok(Self { tls: keys.tls, origins: keys.fleet.origins, patience: PATIENCE, renewal })
    }

    /// A client with keys that are here.
    #[cfg(test)]
    pub(crate) fn of(tls: Arc<Tls>, origins: Vec<SocketAddr>) -> Self {
        Self { tls, origins, patience: PATIENCE, renewal: None }
    }

    /// That the operator's certificate ends soon, when it does.
    pub fn notice(&self) -> Option<String> {
        self.tls.life().and_then(|life| life.notice(wall_clock()))
    }

    /// Where everything stands.
    pub async fn status(&self) -> Result<FleetStatus, ClientError> {
        self.ask(Method::GET, "/v1/status", None::<&()>, self.patience).await
    }

    /// The status now and whenever it changes, at most every 100 ms. Ends with an error when the connection does; watch
    /// again then.
    pub async fn watch(&self) -> Result<mpsc::Receiver<Result<FleetStatus, ClientError>>, ClientError> {
        let (connection, body) = within(self.patience, self.begin_watch()).await?;
        let (to, lines) = mpsc::channel(LINES);
        tokio::spawn(async move {
            let end = read_lines(body, &to).await;
            // A reader that has gone needs no reason.
            to.send(Err(end)).await.ok();
            drop(connection);
        });
        Ok(lines)
    }

    async fn begin_watch(&self) -> Result<(Connection, Incoming), ClientError> {
        let mut connection = self.connect().await?;
        let answered = send(&mut connection, Method::GET, "/v1/watch", Bytes::new()).await?;
        Ok((connection, accepted(answered).await?.into_body()))
    }

    /// A connection over which pieces are read, one after another.
    pub(crate) async fn reader(&self) -> Result<Reader, ClientError> {
        let connection = within(self.patience, self.connect()).await?;
        Ok(Reader { connection, patience: self.patience })
    }

    /// Has every node read again what is live.
    pub async fn verify(&self, app: &str) -> Result<Verification, ClientError> {
        let app = AppName::new(app).map_err(|bad| Refusal::Invalid { why: bad.to_string() })?;
        self.ask(Method::POST, &format!("/v1/verify/{app}"), None::<&()>, VERIFYING).await
    }

    /// Has every node read again what is live, and lay out anew what differs.
    pub async fn repair(&self, app: &str) -> Result<Verification, ClientError> {
        let app = AppName::new(app).map_err(|bad| Refusal::Invalid { why: bad.to_string() })?;
        self.ask(Method::POST, &format!("/v1/repair/{app}"), None::<&()>, VERIFYING).await
    }

    /// All that stands in the journals of the fleet and of the origin's datacenter.
    pub async fn journals(&self) -> Result<Journals, ClientError> {
        let datacenter = Label::new(&self.status().await?.datacenter).map_err(protocol)?;
        let here = self.journal("datacenter").await?;
        // Last, so that every order is there which the other one names.
        let fleet = self.journal("fleet").await?;
        Ok(Journals { fleet, datacenter: Some((JournalName::Datacenter(datacenter), here)) })
    }

    async fn journal(&self, journal: &str) -> Result<Vec<Entry>, ClientError> {
        let (mut entries, mut from) = (Vec::new(), api::Position { generation: 1, index: 0 });
        loop {
            let path = format!("/v1/journal/{journal}/{}/{}", from.generation, from.index);
            let page: JournalPage = self.ask(Method::GET, &path, None::<&()>, self.patience).await?;
            let Some(last) = page.entries.last().map(|entry| entry.at) else { return Ok(entries) };
            from = api::Position { index: last.index + 1, ..last };
            for entry in page.entries {
                let newer = |why: String| protocol(format!("a fact of its journal: {why}"));
                entries.push(entry.try_into().map_err(newer)?);
            }
            if from == page.stands {
                return Ok(entries);
            }
        }
    }

    /// Brings a signed order for a release that is known already.
    pub async fn order(&self, order: &Signed) -> Result<Ordered, ClientError> {
        let request = OrderRequest { order: data_encoding::BASE64.encode(&order.encode()) };
        self.ask(Method::POST, "/v1/orders", Some(&request), self.patience).await
    }

    /// Brings a signed directive about a rollout that is under way.
    pub async fn direct(&self, directive: &Signed) -> Result<(), ClientError> {
        let request = DirectiveRequest { directive: data_encoding::BASE64.encode(&directive.encode()) };
        self.ask(Method::POST, "/v1/directives", Some(&request), self.patience).await
    }

    /// Has a join line made.
    pub async fn issue_join_line(&self, terms: &JoinTerms) -> Result<JoinLine, ClientError> {
        let request = TokenRequest {
            uses: terms.uses,
            valid_seconds: terms.valid.as_secs(),
            role: terms.role.into(),
            labels: labels_to_text(&terms.labels),
        };
        let issued: TokenIssued = self.ask(Method::POST, "/v1/tokens", Some(&request), self.patience).await?;
        issued.line.parse().map_err(|bad: BadJoinLine| ClientError::Protocol(bad.to_string()))
    }

    /// Takes a join line back.
    pub async fn revoke_token(&self, token: TokenId) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/v1/tokens/{token}"), None::<&()>, self.patience).await
    }

    /// Brings the next trust root.
    pub async fn root(&self, root: &Signed) -> Result<(), ClientError> {
        let request = RootRequest { root: data_encoding::BASE64.encode(&root.encode()) };
        self.ask(Method::POST, "/v1/roots", Some(&request), self.patience).await
    }

    /// Brings documents that are known with more signatures.
    pub async fn countersign(&self, documents: &[Signed]) -> Result<(), ClientError> {
        let text = |document: &Signed| data_encoding::BASE64.encode(&document.encode());
        let request = CountersignRequest { documents: documents.iter().map(text).collect() };
        self.ask(Method::POST, "/v1/countersigned", Some(&request), self.patience).await
    }

    /// Has a certificate made for an operator's key.
    pub(crate) async fn certify(&self, request: &OperatorRequest) -> Result<Vec<u8>, ClientError> {
        let made: OperatorCertificate = self.ask(Method::POST, "/v1/operators", Some(request), self.patience).await?;
        data_encoding::BASE64.decode(made.certificate.as_bytes()).map_err(protocol)
    }

    /// Has an operator let in no more whom the newest root does not name.
    pub(crate) async fn dismiss(&self, name: &str) -> Result<(), ClientError> {
        let request = DismissRequest { name: name.to_owned() };
        self.ask(Method::POST, "/v1/dismissals", Some(&request), self.patience).await
    }

    /// Bounds how fast pieces move, from now on.
    pub async fn limit(&self, request: &LimitRequest) -> Result<(), ClientError> {
        self.ask(Method::POST, "/v1/limits", Some(request), self.patience).await
    }

    /// Has an agent forgotten that is gone for good: it is let in no more.
    pub async fn forget(&self, node: NodeId) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/v1/nodes/{node}"), None::<&()>, self.patience).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(protocol)?,
            None => Vec::new(),
        };
        let asked = async {
            let mut connection = self.connect().await?;
            let answer = accepted(send(&mut connection, method, path, body.into()).await?).await?;
            let believed = answer.headers().get(BELIEVED).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let bytes = collect(answer.into_body()).await?;
            Ok((serde_json::from_slice(&bytes).map_err(protocol)?, believed))
        };
        let (answer, believed) = within(patience, asked).await?;
        if let Some(believed) = believed {
            Box::pin(self.heed(believed)).await;
        }
        Ok(answer)
    }

    /// An origin believes other CAs than this operator does: what the trust roots say of them is followed, and the certificate renewed, once.
    /// Who cannot goes on with what is there.
    async fn heed(&self, believed: String) {
        let Some(renewal) = self.renewal.as_ref().filter(|_| believed != mark(&self.tls.believed())) else { return };
        let before =
            std::mem::replace(&mut *renewal.heeded.lock().unwrap_or_else(PoisonError::into_inner), believed.clone());
        if before == believed {
            return;
        }
        if let Err(why) = self.follow_authorities(renewal).await {
            tracing::error!("the fleet changes its CA, and these keys do not follow yet: {why}");
        }
    }

    async fn follow_authorities(&self, renewal: &Renewal) -> Result<(), String> {
        let journals = self.journals().await.map_err(|error| error.to_string())?;
        let roots = journals.roots(renewal.fleet).map_err(|error| error.to_string())?;
        let path = renewal.home.join(home::ROOTS);
        let seen: Vec<String> =
            if path.exists() { home::read_json(&path).map_err(|error| error.to_string())? } else { Vec::new() };
        let named = roots.last().filter(|_| seen.len() <= roots.len()).map(|root| root.authorities.clone());
        let follower = Follower {
            directory: renewal.home.clone(),
            tls: self.tls.clone(),
            authorities: None,
            changed: Arc::default(),
        };
        follower.follow(&named.unwrap_or_default()).map_err(|error| error.to_string())?;
        let is_superseded = Identity::load(&renewal.home).map_err(|error| error.to_string())?.is_superseded();
        if is_superseded {
            renewal::renew(&renewal.home, &self.tls, &self.origins).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Has an origin make a CA to which the fleet is to change; gives its certificate.
    pub(crate) async fn prepare_authority(&self, lost: bool) -> Result<Vec<u8>, ClientError> {
        let request = AuthorityRequest { lost };
        let made: AuthorityMade = self.ask(Method::POST, "/v1/authorities", Some(&request), self.patience).await?;
        data_encoding::BASE64.decode(made.certificate.as_bytes()).map_err(protocol)
    }

    /// Renews this operator's certificate when it is time, once; who cannot goes on with the one that is there.
    async fn renew(&self) {
        let Some(renewal) = &self.renewal else { return };
        let is_young = |life: Life| matches!(life.age(Role::Operator, wall_clock()), Age::Young(_));
        if self.tls.life().is_none_or(is_young) || renewal.tried.swap(true, Ordering::Relaxed) {
            return;
        }
        match renewal::renew(&renewal.home, &self.tls, &self.origins).await {
            Ok(heard) => heard.skew.iter().for_each(|skew| tracing::warn!("this machine's clock is {skew}; set it")),
            Err(error) => tracing::debug!(%error, "the operator's certificate cannot be renewed now"),
        }
    }

    /// A connection to the first origin that answers.
    async fn connect(&self) -> Result<Connection, ClientError> {
        self.renew().await;
        let mut failed = "the operator's home names no origin".to_owned();
        for &address in &self.origins {
            match self.tls.dial_origin(address, Door::Api).await {
                Ok((stream, _)) => {
                    let (connection, driving) = http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
                    tokio::spawn(async move {
                        if let Err(error) = driving.await {
                            tracing::debug!(%error, "an API connection broke");
                        }
                    });
                    return Ok(connection);
                }
                Err(error) => failed = format!("{address}: {error}"),
            }
        }
        Err(ClientError::Unreachable(failed))
    }
}

/// Reads releases and pieces from an origin. Nothing that it gives is verified.
pub(crate) struct Reader {
    connection: Connection,
    patience: Duration,
}

impl Reader {
    /// A signed release.
    pub(crate) async fn release(&mut self, release: ReleaseId) -> Result<Signed, ClientError> {
        let bytes = self.get(&format!("/v1/releases/{release}"), MAX_RELEASE).await?;
        Signed::decode(&bytes).map_err(protocol)
    }

    /// A page or a piece.
    pub(crate) async fn piece(&mut self, content: ContentId, piece: PieceNo) -> Result<Bytes, ClientError> {
        self.get(&format!("/v1/contents/{content}/{}", piece.0), MAX_PIECE.max(PAGE)).await
    }

    async fn get(&mut self, path: &str, most: usize) -> Result<Bytes, ClientError> {
        let asked = async {
            self.connection.ready().await.map_err(|error| ClientError::Unreachable(error.to_string()))?;
            let answer = accepted(send(&mut self.connection, Method::GET, path, Bytes::new()).await?).await?;
            Ok(Limited::new(answer.into_body(), most).collect().await.map_err(protocol)?.to_bytes())
        };
        within(self.patience, asked).await
    }
}

/// What an origin says of the CAs that it believes, with each answer.
pub(crate) const BELIEVED: &str = "tiding-authorities";

/// These CAs in one word.
pub(crate) fn mark(believed: &[Digest]) -> String {
    let all: Vec<u8> = believed.iter().flat_map(|pin| *pin.as_bytes()).collect();
    Digest::of(&all).to_string()
}

/// What comes in time, or the reason why nothing is waited for any more.
async fn within<T>(patience: Duration, asked: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let slow = || ClientError::Unreachable(format!("no answer within {} s", patience.as_secs()));
    timeout(patience, asked).await.map_err(|_| slow())?
}

fn protocol(why: impl std::fmt::Display) -> ClientError {
    ClientError::Protocol(why.to_string())
}

async fn send(
    connection: &mut Connection,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, ClientError> {
    let request = Request::builder().method(method).uri(path).header("host", ANY_NODE);
    let request = request.header("content-type", "application/json").body(Full::new(body)).map_err(protocol)?;
    connection.send_request(request).await.map_err(|error| ClientError::Unreachable(error.to_string()))
}

async fn collect(body: Incoming) -> Result<Bytes, ClientError> {
    Ok(Limited::new(body, MAX_ANSWER).collect().await.map_err(protocol)?.to_bytes())
}

/// An answer that is not a refusal.
async fn accepted(answer: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let bytes = collect(answer.into_body()).await?;
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => Err(refusal.into()),
        Err(_) => Err(protocol(status)),
    }
}

/// Passes on line after line; gives the reason why there are no more.
async fn read_lines(mut body: Incoming, to: &mpsc::Sender<Result<FleetStatus, ClientError>>) -> ClientError {
    let mut waiting = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = to.closed() => return ClientError::Unreachable("nobody watches any more".to_owned()),
        };
        match frame {
            None => return ClientError::Unreachable("the origin closed the connection".to_owned()),
            Some(Err(error)) => return ClientError::Unreachable(error.to_string()),
            Some(Ok(frame)) => waiting.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes)),
        }
        if waiting.len() > MAX_ANSWER {
            return protocol("a line is too long");
        }
        while let Some(end) = waiting.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            let Ok(status) = serde_json::from_slice(&line) else { return protocol("a line is no status") };
            if to.send(Ok(status)).await.is_err() {
                return ClientError::Unreachable("nobody watches any more".to_owned());
            }
        }
    }
}

/// The fleet of an operator's home, and how far that operator has seen its journals.
pub fn seen(operator_home: &Path) -> Result<(FleetId, Vec<Head>), ClientError> {
    let bad = |error: home::FileError| ClientError::Home(error.to_string());
    let (_, fleet, _) = founding::read_root(operator_home).map_err(bad)?;
    let path = operator_home.join(home::AUDIT);
    let heads = if path.exists() { home::read_json(&path).map_err(bad)? } else { Vec::new() };
    Ok((fleet, heads))
}

/// Remembers how far an operator has seen the journals.
pub fn remember(operator_home: &Path, heads: &[Head]) -> Result<(), ClientError> {
    let path = operator_home.join(home::AUDIT);
    home::replace(&path, &home::to_json(&heads)).map_err(|error| ClientError::Home(error.to_string()))
}

/// Everything in an operator's home but the signing keys, which are read when something is signed.
pub(crate) struct OperatorKeys {
    pub(crate) tls: Arc<Tls>,
    pub(crate) node: NodeId,
    pub(crate) fleet: FleetFile,
    pub(crate) root: Signed,
    pub(crate) id: FleetId,
}

impl OperatorKeys {
    pub(crate) fn read(home: &Path) -> Result<Self, ClientError> {
        let bad = |why: &dyn std::fmt::Display| match home::moved_to(home) {
            Some(to) => ClientError::Home(format!("the keys in {} were moved to {}", home.display(), to.display())),
            None => {
                let next = "give the directory that `tiding up` made with --operator-home";
                ClientError::Home(format!("{} is no operator's home ({why}); {next}", home.display()))
            }
        };
        let fleet = home::read_json(&home.join(home::FLEET)).map_err(|error| bad(&error))?;
        let identity = Identity::load(home).map_err(|error| bad(&error))?;
        let (root, id, _) = founding::read_root(home).map_err(|error| bad(&error))?;
        let tls = Arc::new(Tls::new(&identity).map_err(|error| bad(&error))?);
        Ok(Self { tls, node: identity.node, fleet, root, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fleet, Guest};

    #[tokio::test]
    async fn an_origin_that_accepts_and_says_nothing_is_not_waited_for_for_ever() {
        let fleet = Fleet::new();
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let client = Client::of(fleet.tls(Role::Operator), vec![guest.address]);
        let client = Client { patience: Duration::from_millis(500), ..client };
        let (watched, _silent) = tokio::join!(timeout(PATIENCE / 2, client.watch()), guest.accept());
        let watched = watched.expect("it ends by itself").map(drop);
        assert!(matches!(watched, Err(ClientError::Unreachable(_))), "{watched:?}");
    }
}
