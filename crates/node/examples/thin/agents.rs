//! Some of the agents of the storm, in one process: each asks to join at its moment, runs, and says how far it is.
//!
//! A line for each step: the word, the agent's number, and the milliseconds since the storm began.

use crate::Failure;
use engine::door::{Event, Phase};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tiding_node::daemon::{self, Options, Running};
use tiding_node::join::{self, JoinLine};
use tokio::io::{AsyncReadExt, stdin};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

/// When who was not let in asks again, as a service manager would have it.
const AGAIN: Duration = Duration::from_secs(2);

/// What all agents of a process know.
#[derive(Clone)]
struct Storm {
    dir: PathBuf,
    line: JoinLine,
    origin: String,
    /// In milliseconds since 1970, so that processes agree.
    start: u64,
    seconds: u64,
}

/// Milliseconds since 1970.
pub(crate) fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Runs agents until standard input ends.
pub(crate) async fn run(
    dir: &Path,
    [line, origin]: [&str; 2],
    [first, count, start, seconds]: [&str; 4],
) -> Result<(), Failure> {
    let storm = Storm {
        dir: dir.to_owned(),
        line: JoinLine::from_str(line)?,
        origin: origin.to_owned(),
        start: start.parse()?,
        seconds: seconds.parse()?,
    };
    let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
    let mut agents: JoinSet<()> = (first..first + count).map(|number| one(storm.clone(), number)).collect();
    let (mut nothing, mut stdin) = ([0], stdin());
    tokio::select! {
        // Only its end matters.
        _ = stdin.read(&mut nothing) => {}
        () = async { while agents.join_next().await.is_some() {} } => {}
    }
    Ok(())
}

impl Storm {
    fn say(&self, word: &str, number: u64) {
        println!("{word} {number} {}", clock().saturating_sub(self.start));
    }

    /// When an agent asks: spread over the storm, each at its own moment.
    fn moment(&self, number: u64) -> Duration {
        let drawn = number.wrapping_mul(2_654_435_761) & 0xffff_ffff;
        Duration::from_millis((self.start + ((drawn * self.seconds * 1000) >> 32)).saturating_sub(clock()))
    }
}

async fn one(storm: Storm, number: u64) {
    if let Err(failure) = live(&storm, number).await {
        println!("broken {number} 0 {failure}");
    }
}

async fn live(storm: &Storm, number: u64) -> Result<(), Failure> {
    let home = storm.dir.join(format!("agent-{number}"));
    let mut moments = interval_at(Instant::now() + storm.moment(number), AGAIN);
    moments.tick().await;
    storm.say("asked", number);
    while let Err(error) = join::join(&storm.line, &home, Some(&format!("agent-{number}"))).await {
        println!("again {number} {} {error}", clock().saturating_sub(storm.start));
        moments.reset();
        moments.tick().await;
    }
    storm.say("joined", number);
    let targets = storm.dir.join(format!("agent-{number}-root"));
    std::fs::create_dir_all(targets.join("srv"))?;
    let options =
        Options { home, targets, listen: ([127, 0, 0, 1], 0).into(), limit: None, policy: Default::default() };
    watch(storm, number, daemon::start(options).await?).await
}

/// Says when it reaches its origin and when it has switched, and goes on running.
async fn watch(storm: &Storm, number: u64, mut running: Running) -> Result<(), Failure> {
    let mut events = running.events();
    let mut is_up = false;
    let mut at_origin = |is_new: bool| match (std::mem::replace(&mut is_up, true), is_new) {
        (false, _) => storm.say("up", number),
        (true, true) => storm.say("back", number),
        (true, false) => {}
    };
    loop {
        let event = tokio::select! {
            why = running.failed() => return Err(format!("the node broke off: {why:?}").into()),
            event = events.recv() => event,
        };
        // Whoever hears of anything hears it from the origin, which may have been there before this listened.
        at_origin(matches!(&event, Ok(Event::PeerUp { peer }) if peer.to_string() == storm.origin));
        match event {
            Ok(Event::PeerDown { peer }) if peer.to_string() == storm.origin => storm.say("down", number),
            Ok(Event::Phase { phase: Phase::Confirmed, .. }) => storm.say("live", number),
            Ok(Event::Convicted { .. }) => storm.say("convicted", number),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => storm.say("lagged", number),
            Err(RecvError::Closed) => return Err("its engine is gone".into()),
        }
    }
}
