//! The root half, as the network half sees it: it takes jobs in their order and tells how they went.
//!
//! When it goes, whatever it was doing is told by nobody: those who wait wait on, and the node begins anew, as after a restart. To say that
//! something failed, because nobody is there who could do it, would be a lie that others act on.

use super::frames;
use super::words::{Asked, LONGEST_TOLD, SOFTWARE, Told, UNDER_WAY};
use engine::door::{AppRecord, Job, JobDone, JobError};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long a root half is waited for: both may just be starting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before it is looked for again.
const PAUSE: Duration = Duration::from_millis(100);

type Outcome = Result<JobDone, JobError>;
type Request = (Job, oneshot::Sender<Outcome>);

/// A root half that is connected.
#[derive(Debug, Clone)]
pub(crate) struct RootHalf {
    asked: mpsc::UnboundedSender<Request>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRootHalf {
    #[error("no root half answers at {path}: {source}; start it: tiding hands --socket {path}")]
    Silent { path: PathBuf, source: io::Error },
    #[error("this half and the root half do not come together: {0}")]
    Unwelcome(String),
}

impl RootHalf {
    /// Connects, and learns what is remembered. `gone` hears of it when the root half goes.
    pub(crate) async fn connect(
        path: &Path,
        gone: watch::Sender<Option<String>>,
    ) -> Result<(Self, Vec<AppRecord>), NoRootHalf> {
        let start = Instant::now();
        let (stream, records) = loop {
            match greeted(path).await {
                Ok(Ok(welcomed)) => break welcomed,
                Ok(Err(why)) => return Err(NoRootHalf::Unwelcome(why)),
                Err(source) if start.elapsed() > PATIENCE => {
                    return Err(NoRootHalf::Silent { path: path.to_owned(), source });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        let (asked, asks) = mpsc::unbounded_channel();
        let (from, to) = stream.into_split();
        tokio::spawn(async move {
            let why = match carry(from, to, asks).await {
                Ok(()) => return,
                Err(error) => format!("the root half (tiding hands) has gone: {error}"),
            };
            gone.send_replace(Some(why));
        });
        Ok((Self { asked }, records))
    }

    /// Asks for a job, after those that were asked for before; resolves with its outcome, or never.
    pub(crate) fn ask(&self, job: Job) -> impl Future<Output = Outcome> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        // Nobody who is gone is asked; see the head of this file.
        self.asked.send((job, answer)).ok();
        async move {
            match answered.await {
                Ok(outcome) => outcome,
                Err(_) => std::future::pending().await,
            }
        }
    }
}

async fn greeted(path: &Path) -> io::Result<Result<(UnixStream, Vec<AppRecord>), String>> {
    let mut stream = UnixStream::connect(path).await?;
    frames::write(&mut stream, &Asked::Greeting { software: SOFTWARE.to_owned() }).await?;
    match answer(&mut stream).await {
        Ok(Some(Told::Welcome { records, software })) => {
            if software != SOFTWARE {
                tracing::warn!(
                    root = software,
                    network = SOFTWARE,
                    "the halves of this node are of two versions; restart the older"
                );
            }
            Ok(Ok((stream, records)))
        }
        Ok(Some(Told::Unwelcome { why })) => Ok(Err(why)),
        Ok(Some(Told::Done { .. })) => Err(io::ErrorKind::InvalidData.into()),
        Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
        // Waiting helps nobody to understand it.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Err(format!("{error}; this half is of version {SOFTWARE}: restart both halves of this node")))
        }
        Err(error) => Err(error),
    }
}

/// The answer to a greeting. It may take as long as what the root half is doing, which is said, since nobody else sees it.
async fn answer(stream: &mut UnixStream) -> io::Result<Option<Told>> {
    let mut answer = std::pin::pin!(frames::read(stream, LONGEST_TOLD));
    loop {
        match timeout(PATIENCE, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) => {
                tracing::warn!("the root half has not answered yet: it is busy, or hangs (its log says more); waiting")
            }
        }
    }
}

/// Carries jobs there and outcomes back until one side goes: without an error if it is this one.
async fn carry(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut asks: mpsc::UnboundedReceiver<Request>,
) -> io::Result<()> {
    let mut waiting: BTreeMap<u64, oneshot::Sender<Outcome>> = BTreeMap::new();
    let (heard, mut outcomes) = mpsc::channel(UNDER_WAY);
    let listening = listen(from, heard);
    tokio::pin!(listening);
    let mut next = 0;
    loop {
        tokio::select! {
            ended = &mut listening => return Err(ended),
            Some((number, outcome)) = outcomes.recv() => {
                if let Some(answer) = waiting.remove(&number) {
                    // Whoever asked may have stopped.
                    drop(answer.send(outcome));
                }
            }
            asked = asks.recv(), if waiting.len() < UNDER_WAY => {
                let Some((job, answer)) = asked else { return Ok(()) };
                next += 1;
                waiting.insert(next, answer);
                frames::write(&mut to, &Asked::Job { number: next, job }).await?;
            }
        }
    }
}

/// Hears outcomes until there are no more; why.
async fn listen(mut from: OwnedReadHalf, heard: mpsc::Sender<(u64, Outcome)>) -> io::Error {
    loop {
        match frames::read(&mut from, LONGEST_TOLD).await {
            Ok(Some(Told::Done { number, outcome })) => {
                if heard.send((number, outcome)).await.is_err() {
                    return io::ErrorKind::BrokenPipe.into();
                }
            }
            Ok(Some(_)) => return io::Error::new(io::ErrorKind::InvalidData, "it said something else"),
            Ok(None) => return io::Error::new(io::ErrorKind::UnexpectedEof, "it closed"),
            Err(error) => return error,
        }
    }
}
