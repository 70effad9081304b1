//! Running a node until somebody stops it: what `up`, `join` and `run` end in.

use crate::failure::{Failure, Kind};
use crate::parse::Limit;
use crate::settings::Settings;
use crate::speak;
use crate::supervised::Supervised;
use clap::Args;
use node::daemon::{self, Broken, Options, Running, StartError};
use node::escape::escape;
use node::metrics::Door;
use node::traces::Collector;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// Runs what this machine was made by `up` or `join`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding run\n  tiding run --home /var/lib/tiding --listen 10.0.0.7:7443 --limit 200Mbit\n  \
    tiding run --hands /run/tiding-hands/socket     as the user of `tiding hands --whose`"
)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Be the network half of a node: what changes this machine is done by the root half (`tiding hands`) behind this socket
    #[arg(long, value_name = "PATH")]
    pub(crate) hands: Option<PathBuf>,
}

/// The flags that every node has.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Where the node keeps everything [default: /var/lib/tiding for root, else ~/.local/share/tiding]
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The directory inside which the paths of releases are resolved [default: /]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Where to accept connections; port 0 takes any that is free [default: 0.0.0.0:7443]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// How fast pieces may leave this machine, and come to it, whatever `tiding limit` allows: 50Mbit, 6MB [default: none]
    #[arg(long, value_name = "RATE", value_parser = crate::parse::limit)]
    pub(crate) limit: Option<Limit>,
    /// Show figures for Prometheus at this address; one that others can reach needs the word `public:` before it [default: nowhere]
    #[arg(long, value_name = "ADDRESS", value_parser = crate::parse::metrics)]
    pub(crate) metrics: Option<SocketAddr>,
    /// Tell a collector of OpenTelemetry what rollouts did here and how long each step took, as OTLP over HTTP: http://127.0.0.1:4318; in builds
    /// with the feature `otel` [default: nobody]
    #[arg(long, value_name = "URL")]
    pub(crate) traces: Option<Collector>,
    /// Print a line of JSON on standard output once it runs
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop in order when standard input closes: when whoever started this is gone
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
    /// Stop as soon as it runs: for a machine on which a service runs it from then on
    #[arg(long)]
    pub(crate) no_run: bool,
    /// Ignore that the terminal closes
    #[arg(long, hide = true)]
    pub(crate) ignore_hangup: bool,
}

/// The port of tiding.
const PORT: u16 = 7443;

/// What is printed once a node runs, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Ready<'a> {
    /// Its name.
    pub(crate) node: &'a str,
    /// Its id.
    pub(crate) id: String,
    /// Where it accepts connections.
    pub(crate) address: SocketAddr,
    /// The line with which others join; origins only, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) join: Option<String>,
    /// Where its figures are shown, if anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<SocketAddr>,
}

impl Run {
    /// Runs until it is stopped.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        start_agent(&self.place, settings, self.hands.as_ref(), "running").await
    }
}

/// Runs what may be a network half until it is stopped; without its root half it begins anew, and waits for the next.
pub(crate) async fn start_agent(
    place: &Place,
    settings: &Settings,
    hands: Option<&PathBuf>,
    how: &str,
) -> Result<(), Failure> {
    let Some(hands) = settings.hands(hands) else {
        let running = start(place, settings).await?;
        say_ready(place, &running, how);
        return until_stopped(running, place).await;
    };
    let mut options = options(place, settings)?;
    let mut is_first = true;
    let mut asked = pin!(asked(place));
    loop {
        let started = tokio::select! {
            started = daemon::start_with_hands(options.clone(), &hands) => started,
            reason = &mut asked => return reason.map(|why| speak::note(format!("stopping: {why}"))),
        };
        let mut running = started.map_err(|error| cannot_start(&options.home, &error))?;
        // Whoever knows it by its address finds it again.
        options.listen = running.address();
        show_figures(&mut running, place, settings).await?;
        if std::mem::take(&mut is_first) {
            say_ready(place, &running, how);
        }
        let supervised = Supervised::begin(&mut running);
        match until_asked(&mut running, place, asked.as_mut()).await {
            Ok(reason) => {
                supervised.into_iter().for_each(Supervised::stopping);
                return stop(running, reason?).await;
            }
            Err(Broken::Off(why)) if !running.has_lost_its_root_half() => return Err(cannot_go_on(why)),
            Err(Broken::Off(why) | Broken::StoreGone(why)) => {
                speak::note(format!("beginning anew: {}", escape(&why)));
                running.stop().await;
            }
        }
    }
}

/// Starts the node of a home.
pub(crate) async fn start(place: &Place, settings: &Settings) -> Result<Running, Failure> {
    let options = options(place, settings)?;
    let home = options.home.clone();
    let started = daemon::start(options).await;
    let mut running = started.map_err(|error| cannot_start(&home, &error))?;
    show_figures(&mut running, place, settings).await?;
    Ok(running)
}

fn options(place: &Place, settings: &Settings) -> Result<Options, Failure> {
    let home = settings.home(place.home.as_ref())?;
    let targets = settings.root(place.root.as_ref())?;
    let (limit, policy) = (settings.limit(place.limit)?, settings.policy(place.traces.as_ref())?);
    Ok(Options { home, targets, listen: listen(place, settings), limit, policy })
}

async fn show_figures(running: &mut Running, place: &Place, settings: &Settings) -> Result<(), Failure> {
    if let Some(door) = metrics_door(place, settings).await? {
        speak::note(format!("figures for Prometheus are at http://{}/metrics", door.address()));
        running.serve_metrics(door);
    }
    Ok(())
}

/// The door to this node's figures, if there is to be one and its address is free: what only tells of a node must not keep it from running.
async fn metrics_door(place: &Place, settings: &Settings) -> Result<Option<Door>, Failure> {
    let Some(address) = settings.metrics(place.metrics)? else { return Ok(None) };
    let door = Door::open(address).await.inspect_err(|error| {
        speak::warning(format!(
            "figures are not shown at {address}: {error}; the node runs without them, until it is started again with another address \
             at --metrics, or with this one free"
        ));
    });
    Ok(door.ok())
}

/// Where this node accepts connections.
pub(crate) fn listen(place: &Place, settings: &Settings) -> SocketAddr {
    settings.listen(place.listen).unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], PORT)))
}

/// Says that an agent runs; origins say more.
pub(crate) fn say_ready(place: &Place, running: &Running, how: &str) {
    let address = running.address();
    match place.json {
        true => speak::json(&Ready {
            node: running.name(),
            id: running.node().to_string(),
            address,
            join: None,
            metrics: running.metrics(),
        }),
        false => speak::result(format!("{how} as {}, listening on {address}", escape(running.name()))),
    }
}

/// Runs until a signal, until standard input closes where that was asked for, or until the node fails; stops in order.
pub(crate) async fn until_stopped(mut running: Running, place: &Place) -> Result<(), Failure> {
    let mut asked = pin!(asked(place));
    loop {
        let supervised = Supervised::begin(&mut running);
        match until_asked(&mut running, place, asked.as_mut()).await {
            Ok(reason) => {
                supervised.into_iter().for_each(Supervised::stopping);
                return stop(running, reason?).await;
            }
            Err(Broken::StoreGone(why)) => running = begin_again(running, &why).await?,
            Err(Broken::Off(why)) => return Err(cannot_go_on(why)),
        }
    }
}

/// Runs until it is asked to stop, or cannot go on; why.
async fn until_asked(
    running: &mut Running,
    place: &Place,
    asked: Pin<&mut impl Future<Output = Result<&'static str, Failure>>>,
) -> Result<Result<&'static str, Failure>, Broken> {
    tokio::select! {
        why = running.failed() => Err(why),
        reason = asked => Ok(reason),
        () = at_once(place.no_run) => Ok(Ok("--no-run")),
    }
}

/// What asks this process to stop. One future for as long as the process lives: what is said while a node begins anew is heard after it.
async fn asked(place: &Place) -> Result<&'static str, Failure> {
    tokio::select! {
        signal = stop_signal(place.ignore_hangup) => signal,
        () = stdin_closed(place.until_stdin_closes) => Ok("standard input closed"),
    }
}

fn cannot_go_on(why: String) -> Failure {
    Failure::new(Kind::Failed, "the node cannot go on")
        .because(why)
        .next("start it again with `tiding run`: what was complete is still there")
}

async fn stop(running: Running, reason: &str) -> Result<(), Failure> {
    speak::note(format!("stopping: {reason}"));
    tokio::select! {
        () = running.stop() => speak::note("stopped"),
        _ = stop_signal(true) => speak::warning("stopped without waiting, as asked twice"),
    }
    Ok(())
}

/// Goes on with an empty store where it was removed.
async fn begin_again(running: Running, why: &str) -> Result<Running, Failure> {
    speak::warning(format!("{}; the node begins again with an empty store", escape(why)));
    running
        .again()
        .await
        .map_err(|error| Failure::new(Kind::Failed, "the node cannot go on without its store").because_and_next(error))
}

/// The first signal that asks to stop.
pub(crate) async fn stop_signal(ignore_hangup: bool) -> Result<&'static str, Failure> {
    let cannot = |error| Failure::new(Kind::Failed, "cannot listen for signals").because(error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok("interrupted"),
            _ = terminate.recv() => return Ok("asked to terminate"),
            _ = hangup.recv() => if !ignore_hangup { return Ok("the terminal closed") },
        }
    }
}

async fn at_once(asked: bool) {
    if !asked {
        std::future::pending().await
    }
}

async fn stdin_closed(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 64];
    while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

fn cannot_start(home: &Path, error: &StartError) -> Failure {
    let what = format!("cannot run the node in {}", home.display());
    match error {
        StartError::Store { source: store, .. } if is_locked(store) => Failure::new(Kind::Refused, what)
            .because(error)
            .next(format!("it runs already; stop it with `tiding stop --home {}`", home.display())),
        StartError::NotFounded(_) => Failure::new(Kind::Usage, what).because_and_next(error),
        StartError::Alone(_) | StartError::Listen { .. } | StartError::Store { .. } | StartError::Home(_) => {
            Failure::new(Kind::Failed, what).because_and_next(error)
        }
    }
}

/// Whether a store says that another process has it.
fn is_locked(error: &impl std::fmt::Display) -> bool {
    error.to_string().contains("locked by")
}
