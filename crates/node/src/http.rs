//! The control API: HTTP/1.1 and JSON, for operators only.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`crate::api::FleetStatus`] |
//! | `GET /v1/watch` | the same, a line now and one whenever it changed, at most each 100 ms |
//! | `GET /v1/events` | [`crate::api::EventLine`]s as they happen |
//! | `GET /v1/releases/ID` | the signed release, as its bytes |
//! | `GET /v1/contents/ID/N` | the bytes of a page or piece that this node holds; whoever asks verifies them |
//! | `POST /v1/orders` | takes a [`crate::api::OrderRequest`], answers [`crate::api::Ordered`] |
//! | `POST /v1/directives` | takes a [`crate::api::DirectiveRequest`], answers nothing |
//! | `GET /v1/journal/fleet/GENERATION/INDEX`, `.../datacenter/...` | [`crate::api::JournalPage`] |
//! | `POST /v1/verify/APP` | [`crate::api::Verification`] |
//! | `POST /v1/repair/APP` | the same, after what differed was laid out anew |
//! | `POST /v1/tokens` | takes a [`crate::api::TokenRequest`], answers [`crate::api::TokenIssued`] |
//! | `DELETE /v1/tokens/ID` | nothing |
//! | `DELETE /v1/nodes/ID` | nothing |
//! | `POST /v1/roots` | takes a [`crate::api::RootRequest`], answers nothing |
//! | `POST /v1/countersigned` | takes a [`crate::api::CountersignRequest`], answers nothing |
//! | `POST /v1/operators` | takes a [`crate::api::OperatorRequest`], answers [`crate::api::OperatorCertificate`] |
//! | `POST /v1/authorities` | takes a [`crate::api::AuthorityRequest`], answers [`crate::api::AuthorityMade`] |
//! | `POST /v1/dismissals` | takes a [`crate::api::DismissRequest`], answers nothing |
//! | `POST /v1/limits` | takes a [`crate::api::LimitRequest`], answers nothing |
//!
//! Each answer says in a header which CAs the origin believes, so that an operator's keys follow a change.
//! A refusal is a [`crate::api::Refusal`] with a status code that fits. TLS has said who asks; bodies, heads and times are bounded.

use crate::api::{EventLine, FleetStatus, Refusal};
use crate::client;
use crate::desk::Desk;
use crate::exchange::{self, Answer, whole, with_body};
use crate::tls::{Peer, Stream};
use content::Role;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The longest body of a request.
const MAX_BODY: usize = 1 << 20;
/// Status lines come at most this often.
const WATCH: Duration = Duration::from_millis(100);
/// Lines that may wait for a slow reader.
const LINES: usize = 4;

/// Serves one connection until it ends.
pub(crate) async fn serve(desk: Arc<Desk>, peer: Peer, stream: Stream) {
    let desk = Arc::new(desk.for_member(peer.node));
    exchange::serve(stream, |request| answer(&desk, peer, request)).await;
}

async fn answer(desk: &Arc<Desk>, peer: Peer, request: Request<Incoming>) -> Answer {
    if peer.role != Role::Operator {
        let why = "the control API is for operators".to_owned();
        return refused(&Refusal::NotAllowed { why });
    }
    let mut answer = route(desk, request).await.unwrap_or_else(|refusal| refused(&refusal));
    if let Ok(believed) = client::mark(&desk.tls.believed()).parse() {
        answer.headers_mut().insert(client::BELIEVED, believed);
    }
    answer
}

async fn route(desk: &Arc<Desk>, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (&method, &parts[..]) {
        (&Method::GET, ["v1", "status"]) => Ok(json(&desk.status().await?)),
        (&Method::GET, ["v1", "watch"]) => Ok(watch(desk.clone())),
        (&Method::GET, ["v1", "events"]) if desk.admits().await => Ok(events(desk)),
        (&Method::GET, ["v1", "journal", journal, generation, index]) => {
            Ok(json(&desk.journal(journal, [generation, index]).await?))
        }
        (&Method::GET, ["v1", "releases", id]) => Ok(octets(desk.release(id).await?.encode())),
        (&Method::GET, ["v1", "contents", id, piece]) => Ok(octets(desk.piece(id, piece).await?.to_vec())),
        (&Method::POST, ["v1", "orders"]) => Ok(json(&desk.order(&body(request).await?).await?)),
        (&Method::POST, ["v1", "verify", app]) => Ok(json(&desk.verify(app).await?)),
        (&Method::POST, ["v1", "repair", app]) => Ok(json(&desk.repair(app).await?)),
        (&Method::POST, ["v1", "tokens"]) => Ok(json(&desk.issue_asked(&body(request).await?).await?)),
        (&Method::DELETE, ["v1", "tokens", id]) => {
            desk.revoke(id).await?;
            Ok(json(&()))
        }
        (&Method::POST, ["v1", "directives"]) => {
            desk.direct(&body(request).await?).await?;
            Ok(json(&()))
        }
        (&Method::POST, ["v1", "operators"]) => Ok(json(&desk.certify(&body(request).await?).await?)),
        (&Method::POST, ["v1", "authorities"]) => Ok(json(&desk.prepare(&body(request).await?).await?)),
        (&Method::POST, ["v1", "roots"]) => {
            desk.root(&body(request).await?).await?;
            Ok(json(&()))
        }
        (&Method::POST, ["v1", "countersigned"]) => {
            desk.countersign(&body(request).await?).await?;
            Ok(json(&()))
        }
        (&Method::POST, ["v1", "dismissals"]) => {
            desk.dismiss(&body(request).await?).await?;
            Ok(json(&()))
        }
        (&Method::POST, ["v1", "limits"]) => {
            desk.limit(&body(request).await?).await?;
            Ok(json(&()))
        }
        (&Method::DELETE, ["v1", "nodes", id]) => {
            desk.forget(id).await?;
            Ok(json(&()))
        }
        (&Method::GET, ["v1", "events"]) => Err(Refusal::NotAllowed { why: "this certificate was revoked".to_owned() }),
        _ => Err(Refusal::Unknown { why: format!("there is no {method} {path}") }),
    }
}

/// The body of a request, bounded in length and time.
async fn body<T: for<'a> Deserialize<'a>>(request: Request<Incoming>) -> Result<T, Refusal> {
    let invalid = |why: String| Refusal::Invalid { why };
    let bytes = exchange::body(request, MAX_BODY).await.map_err(|bad| invalid(bad.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body: {error}")))
}

fn json(value: &impl Serialize) -> Answer {
    whole(StatusCode::OK, "application/json", to_line(value))
}

fn octets(bytes: Vec<u8>) -> Answer {
    whole(StatusCode::OK, "application/octet-stream", bytes)
}

/// A value as a line of JSON.
fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("the API's types have only text keys and no failing serialisers");
    line.push(b'\n');
    line
}

fn refused(refusal: &Refusal) -> Answer {
    let status = match refusal {
        Refusal::Conflict { .. } => StatusCode::CONFLICT,
        Refusal::NotBelieved { .. } | Refusal::NotAllowed { .. } => StatusCode::FORBIDDEN,
        Refusal::Unknown { .. } => StatusCode::NOT_FOUND,
        Refusal::Invalid { .. } => StatusCode::BAD_REQUEST,
        Refusal::Failed { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    whole(status, "application/json", to_line(refusal))
}

/// A body that is written line by line as there is something to say.
struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

/// A response whose lines `say` writes; it ends when either side does.
fn lines<F: Future<Output = ()> + Send + 'static>(say: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Answer {
    let (to, lines) = mpsc::channel(LINES);
    tokio::spawn(say(to));
    with_body(StatusCode::OK, "application/x-ndjson", BoxBody::new(Lines(lines)))
}

fn watch(desk: Arc<Desk>) -> Answer {
    lines(|to| async move {
        let (mut changed, mut last) = (desk.handle.changed.clone(), None);
        loop {
            // What changes while the status is made is seen the next time round.
            changed.mark_unchanged();
            let next = Instant::now() + WATCH;
            let Ok(status) = desk.status().await else { return };
            let said = without_clocks(&status);
            if last.as_ref() != Some(&said) && to.send(to_line(&status).into()).await.is_err() {
                return;
            }
            last = Some(said);
            tokio::select! {
                () = to.closed() => return,
                change = changed.changed() => match change {
                    // After a rest at once; else when it is time again.
                    Ok(()) => tokio::time::sleep_until(next).await,
                    Err(_) => return,
                },
            }
        }
    })
}

/// A status without what changes by the mere passing of time.
fn without_clocks(status: &FleetStatus) -> FleetStatus {
    let mut status = FleetStatus { now: None, ..status.clone() };
    status.nodes.iter_mut().for_each(|node| node.since_us = 0);
    status.apps.iter_mut().for_each(|app| app.since_us = None);
    status
}

fn events(desk: &Arc<Desk>) -> Answer {
    let mut happening = desk.handle.events.subscribe();
    let desk = desk.clone();
    lines(|to| async move {
        let mut missed = 0;
        loop {
            let event = tokio::select! {
                () = to.closed() => return,
                event = happening.recv() => event,
            };
            match event {
                // Whoever is let in no more hears nothing more.
                Ok(engine::door::Event::Appended { .. }) if !desk.admits().await => return,
                Ok(event) => {
                    let line = EventLine { missed, ..event.into() };
                    missed = 0;
                    if to.send(to_line(&line).into()).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(by)) => missed += by,
                Err(RecvError::Closed) => return,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;
    use crate::client::{Client, ClientError};
    use crate::join::JoinTerms;
    use crate::testing::{Fleet, Guest, answering, desk};
    use engine::door::{self, Answer, Request};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Serves one connection for a member with a role; what is asked comes from there too.
    async fn served<T>(
        asker: Role,
        engine: impl FnMut(Request) -> Answer + Send + 'static,
        ask: impl AsyncFnOnce(Client, tokio::sync::watch::Sender<u64>) -> T,
    ) -> T {
        let fleet = Fleet::new();
        let guest = Guest::listen(fleet.tls(Role::Origin)).await;
        let client = Client::of(fleet.tls(asker), vec![guest.address]);
        let (handle, touch) = answering(engine);
        let desk = Arc::new(desk(handle));
        let serving = async {
            let accepted = guest.accept().await.0.expect("let in");
            serve(desk, accepted.peer.expect("it has a certificate"), accepted.stream).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = ask(client, touch) => done,
            () = serving => unreachable!("it never ends"),
        }
    }

    #[tokio::test]
    async fn h1_only_operators_may_ask() {
        for role in [Role::Agent, Role::Origin] {
            let answer =
                served(role, |_| panic!("the engine was asked"), async |client, _| client.status().await).await;
            assert!(matches!(answer, Err(ClientError::Refused(Refusal::NotAllowed { .. }))), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_watch_says_what_changed_and_nothing_twice() {
        let position = Arc::new(AtomicU64::new(1));
        let seen = position.clone();
        let engine = move |_| {
            let index = seen.load(Ordering::Relaxed);
            let position = Some(content::fact::Position { generation: 1, index });
            Answer::Status(Box::new(door::FleetStatus { position, ..Default::default() }))
        };
        served(Role::Operator, engine, async |client, touch: tokio::sync::watch::Sender<u64>| {
            let mut watch = client.watch().await.expect("watching");
            let mut next = async || watch.recv().await.expect("a line").expect("a status").position.map(|at| at.index);
            assert_eq!(next().await, Some(1));
            touch.send_modify(|n| *n += 1);
            position.store(2, Ordering::Relaxed);
            touch.send_modify(|n| *n += 1);
            assert_eq!(next().await, Some(2));
        })
        .await;
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_kind_and_words() {
        let engine = |_| {
            let (by, what) = ("alice".to_owned(), "a deploy is under way".to_owned());
            Answer::Refused(door::Refusal::Conflict { epoch: 41, by, what })
        };
        let answer = served(Role::Operator, engine, async |client, _| client.verify("web").await).await;
        let Err(ClientError::Refused(refusal)) = answer else { panic!("{answer:?}") };
        assert!(matches!(&refusal, Refusal::Conflict { epoch: 41, by, .. } if by == "alice"), "{refusal}");
    }

    #[tokio::test]
    async fn h2_a_join_line_is_made_and_only_its_hash_reaches_the_engine() {
        let (tell, mut told) = mpsc::channel(1);
        let engine = move |request| {
            tell.try_send(request).expect("asked once");
            Answer::Noted
        };
        let line = served(Role::Operator, engine, async |client, _| {
            client.issue_join_line(&JoinTerms { uses: 7, ..JoinTerms::default() }).await
        });
        let line = line.await.expect("a line");
        let Some(Request::IssueToken { token, secret, uses, .. }) = told.recv().await else { panic!("not asked") };
        assert_eq!((token, secret, uses), (line.token_id(), line.secret_hash(), 7));
    }

    #[tokio::test]
    async fn no_line_makes_an_operator() {
        let terms = JoinTerms { role: Role::Operator, ..JoinTerms::default() };
        let answer = served(
            Role::Operator,
            |_| panic!("the engine was asked"),
            async |client, _| client.issue_join_line(&terms).await,
        );
        assert!(matches!(answer.await, Err(ClientError::Refused(Refusal::NotAllowed { .. }))));
    }

    #[tokio::test]
    async fn a_limit_reaches_the_engine_as_it_was_said() {
        let (tell, mut told) = mpsc::channel(1);
        let engine = move |request| {
            tell.try_send(request).expect("asked once");
            Answer::Noted
        };
        let scope = api::Scope::Labels { labels: [("zone".to_owned(), "a".to_owned())].into() };
        let request = api::LimitRequest { scope, rate: Some(6_000_000) };
        served(Role::Operator, engine, async |client, _| client.limit(&request).await).await.expect("noted");
        let Some(Request::Limit { scope, rate }) = told.recv().await else { panic!("not asked") };
        assert_eq!((api::Scope::from(scope), rate), (request.scope, Some(content::Rate(6_000_000))));
    }

    #[test]
    fn an_unknown_field_in_a_request_is_refused() {
        assert!(serde_json::from_str::<api::OrderRequest>(r#"{"order":"","path":"/etc"}"#).is_err());
    }
}
