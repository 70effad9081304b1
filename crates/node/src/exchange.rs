//! HTTP/1.1 with bounds: the one server under the API, the operator's page and the metrics.
//!
//! Heads, header lines, bodies, times and, where strangers may come, connections are bounded here, in one place. What is asked and
//! answered, and who may ask, is for those who use it to say.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(crate) type Body = BoxBody<Bytes, Infallible>;
pub(crate) type Answer = Response<Body>;

/// The longest head of a request, and the most header lines.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// How long a head or a body may take to come.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one whole visit of somebody may take who asks once.
const VISIT: Duration = Duration::from_secs(30);
/// How long to wait when the machine has no room for a connection.
const BREATH: Duration = Duration::from_millis(100);

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    builder
}

/// Answers what is asked over one connection until it ends.
pub(crate) async fn serve<F: Future<Output = Answer>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    run(builder(), stream, answer).await;
}

/// Answers one request, and closes; somebody who takes too long over it, reading or writing, is let go.
pub(crate) async fn serve_once<F: Future<Output = Answer>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    let mut once = builder();
    once.keep_alive(false);
    if timeout(VISIT, run(once, stream, answer)).await.is_err() {
        tracing::debug!("a visitor took too long");
    }
}

async fn run<F: Future<Output = Answer>>(
    builder: http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    let service = service_fn(|request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}

/// Takes connections for ever, so many at once at most: one too many is closed at once, and whoever holds the others has been given
/// little time to ask.
pub(crate) async fn accept<F>(listener: &TcpListener, most: usize, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (room, mut failing) = (Arc::new(Semaphore::new(most)), false);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                failing = false;
                if let Ok(place) = room.clone().try_acquire_owned() {
                    let serving = serve(stream);
                    tokio::spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                // Said once until it works again.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "no HTTP connection can be accepted now; it is tried again and again");
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBody {
    /// It did not come in time.
    #[error("the body took too long")]
    Slow,
    /// It is longer than may be, or broke off; in words.
    #[error("the body: {0}")]
    Long(String),
}

/// The body of a request, bounded in length and time.
pub(crate) async fn body(request: Request<Incoming>, most: usize) -> Result<Bytes, BadBody> {
    let read = timeout(PATIENCE, Limited::new(request.into_body(), most).collect()).await;
    let read = read.map_err(|_| BadBody::Slow)?.map_err(|error| BadBody::Long(error.to_string()))?;
    Ok(read.to_bytes())
}

/// An answer of bytes that are here.
pub(crate) fn whole(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    with_body(status, kind, Full::new(bytes.into()).boxed())
}

/// An answer with a body of some kind.
pub(crate) fn with_body(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
