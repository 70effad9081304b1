//! One network half that is connected: its jobs are taken in their order, and answered as they end.

use super::alarm::Voice;
use super::frames;
use super::keeper::Keeper;
use super::words::{Asked, LONGEST_ASKED, SOFTWARE, Told, UNDER_WAY};
use engine::door::{JobDone, JobError};
use std::io;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a network half may take to greet, and to take what it is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves a network half until it closes, or says what makes no sense. What it has begun to run ends with it.
pub(super) async fn serve(stream: UnixStream, keeper: &Keeper, voice: Voice) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let software = greeted(&mut from, &mut to).await?;
    if voice == Voice::Aloud {
        tracing::info!(software, "the network half is connected");
    }
    welcome(&mut to, keeper).await?;
    let (done, outcomes) = mpsc::channel(UNDER_WAY);
    let mut jobs = JoinSet::new();
    tokio::select! {
        ended = tell(to, outcomes) => ended,
        ended = take(&mut from, keeper, &mut jobs, &done) => ended,
    }
}

/// Hears the greeting. Whoever greets in a way that is not known here is told so in the one word that all versions understand, as it may be
/// the half of another version of the program.
async fn greeted(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<String> {
    let heard = timeout(PATIENCE, frames::read(from, LONGEST_ASKED)).await.map_err(|_| silent())?;
    match heard {
        Ok(Some(Asked::Greeting { software })) => Ok(software),
        Ok(_) => Err(senseless("it did not greet")),
        Err(error) => {
            if error.kind() == io::ErrorKind::InvalidData {
                let why = format!("{error}; this half is of version {SOFTWARE}: restart both halves of this node");
                timeout(PATIENCE, frames::write(to, &Told::Unwelcome { why })).await.ok();
            }
            Err(error)
        }
    }
}

async fn welcome(to: &mut OwnedWriteHalf, keeper: &Keeper) -> io::Result<()> {
    let (_, records) = keeper.records().await.ok_or_else(|| senseless("the store has stopped"))?;
    let welcome = Told::Welcome { software: SOFTWARE.to_owned(), records };
    timeout(PATIENCE, frames::write(to, &welcome)).await.map_err(|_| silent())?
}

/// Says no, in words, to whoever has just connected.
pub(super) async fn turn_away(mut stream: UnixStream, why: String) {
    // Whoever does not listen is not told.
    timeout(PATIENCE, frames::write(&mut stream, &Told::Unwelcome { why })).await.ok();
}

async fn take(
    from: &mut OwnedReadHalf,
    keeper: &Keeper,
    jobs: &mut JoinSet<()>,
    done: &mpsc::Sender<(u64, Result<JobDone, JobError>)>,
) -> io::Result<()> {
    while let Some(asked) = frames::read(from, LONGEST_ASKED).await? {
        let Asked::Job { number, job } = asked else { return Err(senseless("it greeted twice")) };
        while jobs.try_join_next().is_some() {}
        // Twice as many: a job of which it has heard may not have quite ended here.
        if jobs.len() >= 2 * UNDER_WAY {
            return Err(senseless("it asks for more at once than it may"));
        }
        let (doing, done) = (keeper.perform(job), done.clone());
        jobs.spawn(async move {
            let outcome = doing.await;
            // Who has gone is not told.
            done.send((number, outcome)).await.ok();
        });
    }
    Ok(())
}

async fn tell(
    mut to: OwnedWriteHalf,
    mut outcomes: mpsc::Receiver<(u64, Result<JobDone, JobError>)>,
) -> io::Result<()> {
    while let Some((number, outcome)) = outcomes.recv().await {
        let told = Told::Done { number, outcome };
        timeout(PATIENCE, frames::write(&mut to, &told)).await.map_err(|_| silent())??;
    }
    Ok(())
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not speak, or does not listen")
}

fn senseless(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
