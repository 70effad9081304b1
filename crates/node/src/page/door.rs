//! The page's HTTP: who may ask, and what is answered.
//!
//! | request | answer |
//! |---|---|
//! | `GET /?token=T` | a session, once: its cookie, and its key for the tab |
//! | `GET /`, `/page.css`, `/*.js` | the page, which says nothing of the fleet |
//! | `GET /feed?key=K` | server-sent events: everything once, then what changed |
//! | `GET /node?slot=N` | all that is known of one node |
//! | `GET /history` | the last of what the journals tell |
//! | `POST /act` | does what its JSON body says, answers in words |
//!
//! Everything but the first wants the session's cookie; what shows or does anything wants its key besides (in a header, or in the
//! query of the feed, where a browser sends no headers of ours). The host must be ours, by number or as `localhost`, so that no name of somebody else's
//! leads here; what another page makes a browser ask is refused; what acts wants our origin and JSON besides. Heads, bodies, times and
//! connections are bounded.

use super::assets::{Asset, WELCOME, asset};
use super::board::Board;
use super::past::Past;
use super::session::{Session, Sessions};
use super::{Act, Deed, Operator, Trouble, feed};
use crate::escape::escape;
use crate::exchange::{self, Answer, BadBody, whole, with_body};
use crate::publish::Sight;
use content::directive::Verb;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SET_COOKIE};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What every request meets.
pub(crate) struct Door {
    pub(crate) port: u16,
    pub(crate) board: Mutex<Board>,
    /// The board's version.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) operator: Arc<dyn Operator>,
    pub(crate) past: Past,
}

impl Door {
    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().expect("nothing panics with it")
    }
}

/// The longest body of a request.
const MAX_BODY: usize = 8 * 1024;

/// Nothing is loaded from elsewhere, nothing runs that is not a file of ours, nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("Open this page by the link that `tiding page` printed: it answers under no other name.")]
    WrongHost,
    #[error(
        "This link has been used already, or a newer one was made. Press Enter where `tiding page` runs to get a new one, \
         or start `tiding page` again."
    )]
    Spent,
    #[error(
        "This page needs a link that opens it once. Press Enter where `tiding page` runs to get one, or start `tiding page` \
         again."
    )]
    NoSession,
    #[error("Another page made your browser ask this. It is not done, and nothing is shown to it.")]
    Elsewhere,
    #[error("There is nothing here.")]
    NothingHere,
    #[error("Say it in JSON.")]
    NotJson,
    #[error("The body of the request took too long.")]
    Slow,
    #[error("The body of the request is too long, or broke off.")]
    Long,
    #[error("The body of the request is not what this page sends.")]
    Senseless,
    #[error(transparent)]
    NotDone(#[from] Trouble),
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::WrongHost | Refused::Spent | Refused::NoSession | Refused::Elsewhere => StatusCode::FORBIDDEN,
            Refused::NothingHere => StatusCode::NOT_FOUND,
            Refused::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::Slow => StatusCode::REQUEST_TIMEOUT,
            Refused::Long => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::Senseless => StatusCode::BAD_REQUEST,
            Refused::NotDone(trouble) => return json(StatusCode::CONFLICT, &shown(trouble)),
        };
        whole(status, "text/plain; charset=utf-8", format!("{refused}\n"))
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(door: Arc<Door>, stream: TcpStream) {
    exchange::serve(stream, |request| guarded(&door, request)).await;
}

/// The answer, with what stands at the head of every answer.
async fn guarded(door: &Arc<Door>, request: Request<Incoming>) -> Answer {
    let mut answer = answer(door, request).await.unwrap_or_else(Answer::from);
    for (name, value) in HEADERS {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

async fn answer(door: &Arc<Door>, request: Request<Incoming>) -> Result<Answer, Refused> {
    if !is_our_host(request.headers(), door.port) {
        return Err(Refused::WrongHost);
    }
    let query = request.uri().query().unwrap_or_default();
    if let (&Method::GET, "/", Some(token)) = (request.method(), request.uri().path(), query.strip_prefix("token=")) {
        return welcome(door, token);
    }
    let session = session(door, request.headers()).ok_or(Refused::NoSession)?;
    if is_from_elsewhere(request.headers()) {
        return Err(Refused::Elsewhere);
    }
    if let (&Method::GET, Some(page)) = (request.method(), asset(request.uri().path())) {
        return Ok(file(page));
    }
    if !session.has_key(key_of(&request)) {
        return Err(Refused::NoSession);
    }
    let events = |door: &Arc<Door>| feed::events(door.clone(), session.end);
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/feed") => Ok(with_body(StatusCode::OK, "text/event-stream", events(door))),
        (&Method::GET, "/node") => node(door, query),
        (&Method::GET, "/history") => Ok(json(StatusCode::OK, &door.past.lines(&*door.operator).await?)),
        (&Method::POST, "/act") => act(door, request).await,
        _ => Err(Refused::NothingHere),
    }
}

/// The tab's half of the session.
fn key_of<T>(request: &Request<T>) -> &str {
    let header = request.headers().get("x-tiding-key").and_then(|key| key.to_str().ok());
    let query = || request.uri().query().and_then(|query| query.strip_prefix("key="));
    header.or_else(query).unwrap_or_default()
}

/// Whether we were asked by our own name: another one that leads to loopback is somebody's trick.
fn is_our_host(headers: &HeaderMap, port: u16) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    host == format!("127.0.0.1:{port}") || host == format!("localhost:{port}")
}

/// Whether a browser says that something else than this page, or a person, made it ask.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// The cookie's name: cookies know no ports, and another page may run beside this one.
fn cookie_name(port: u16) -> String {
    format!("tiding-page-{port}")
}

fn session(door: &Door, headers: &HeaderMap) -> Option<Session> {
    let name = cookie_name(door.port);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut said = cookies.flat_map(|cookies| cookies.split("; ")).filter_map(|cookie| cookie.split_once('='));
    let (_, session) = said.find(|(cookie, _)| *cookie == name)?;
    door.sessions.lock().expect("nothing panics with it").of(session)
}

fn welcome(door: &Door, token: &str) -> Result<Answer, Refused> {
    let session = door.sessions.lock().expect("nothing panics with it").exchange(token).ok_or(Refused::Spent)?;
    let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", cookie_name(door.port), session.cookie);
    // The page is loaded in a second step, which nobody else's page began: only then does the browser send the cookie. What stands
    // behind the hash of an address is never sent.
    let words = WELCOME.text.replace("KEY", &session.key.to_string());
    let mut answer = whole(StatusCode::OK, WELCOME.kind, words);
    answer.headers_mut().insert(SET_COOKIE, HeaderValue::from_str(&cookie).expect("it is plain"));
    Ok(answer)
}

fn node(door: &Door, query: &str) -> Result<Answer, Refused> {
    let slot = query.strip_prefix("slot=").and_then(|slot| slot.parse().ok()).ok_or(Refused::NothingHere)?;
    let node = door.board().node(slot).ok_or(Refused::NothingHere)?;
    Ok(whole(StatusCode::OK, "application/json", node))
}

/// What a button says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pressed {
    deed: String,
    app: String,
    order: String,
    #[serde(default)]
    wave: Option<u8>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    message: String,
}

async fn act(door: &Arc<Door>, request: Request<Incoming>) -> Result<Answer, Refused> {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if headers.get(ORIGIN).is_none_or(|origin| origin != &format!("http://{host}")) {
        return Err(Refused::Elsewhere);
    }
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return Err(Refused::NotJson);
    }
    let pressed = pressed(request).await?;
    let done = door.operator.act(deed(door, pressed)?).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "done": escape(&done) })))
}

/// The body, bounded in length and time.
async fn pressed(request: Request<Incoming>) -> Result<Pressed, Refused> {
    let body = exchange::body(request, MAX_BODY).await.map_err(|bad| match bad {
        BadBody::Slow => Refused::Slow,
        BadBody::Long(_) => Refused::Long,
    })?;
    serde_json::from_slice(&body).map_err(|_| Refused::Senseless)
}

/// What is to be done, if it makes sense as things stand and means what the one who pressed saw.
fn deed(door: &Door, pressed: Pressed) -> Result<Deed, Trouble> {
    let Pressed { deed, app, order, wave, to, message } = pressed;
    let sight = Sight { app, order, wave };
    let refused = |why: &str| Trouble {
        what: format!("cannot {} {}", escape(&deed), escape(&sight.app)),
        why: Some(why.to_owned()),
        next: Some("look at how it stands now, and press again if it is still wanted".to_owned()),
    };
    let offer = door.board().offered(&sight, &deed).map_err(refused)?;
    let act = match (offer.deed, to) {
        ("pause", _) => Act::Direct(Verb::Pause),
        ("resume", _) => Act::Direct(Verb::Resume),
        ("promote", _) => Act::Direct(Verb::Promote),
        ("abort", _) => Act::Direct(Verb::Abort),
        // It goes back to what was shown, and to nothing else.
        (_, Some(to)) if offer.to.as_ref() == Some(&to) => Act::Rollback { to },
        _ => return Err(refused("another release is the one before by now")),
    };
    Ok(Deed { sight, act, message })
}

fn shown(trouble: &Trouble) -> Trouble {
    let words = |text: &Option<String>| text.as_deref().map(escape);
    Trouble { what: escape(&trouble.what), why: words(&trouble.why), next: words(&trouble.next) }
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).expect("text keys only");
    whole(status, "application/json", bytes)
}

fn file(asset: Asset) -> Answer {
    whole(StatusCode::OK, asset.kind, asset.text)
}
