//! The storm itself: starts the origin and the agents, deploys meanwhile, waits until everyone has all, and says what it took.

use crate::Failure;
use crate::agents::clock;
use crate::eyes::{Eyes, Sights};
use crate::figures::{Cost, shares};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tiding_node::client::Client;
use tiding_node::publish::{self, DeployOptions, Deployed};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, interval_at};

/// How many, in how many processes, how fast, and how long they are waited for.
pub(crate) struct Plan {
    pub(crate) agents: usize,
    pub(crate) each: usize,
    pub(crate) storm: Duration,
    pub(crate) patience: Duration,
    /// With what the deploy is watched; it waits until all are there then.
    pub(crate) sights: Option<Sights>,
}

/// How long before the first agent asks, so that all processes are there.
const BEFORE: Duration = Duration::from_secs(2);
/// The length of what is deployed.
const BYTES: u32 = 1 << 20;

/// What agents have said: for each word, the time of each agent in milliseconds since the storm began.
#[derive(Default)]
struct Said {
    times: BTreeMap<String, BTreeMap<usize, u64>>,
    count: BTreeMap<String, usize>,
    reasons: BTreeMap<String, usize>,
}

/// Has the storm, and prints what it took.
pub(crate) async fn run(plan: &Plan) -> Result<(), Failure> {
    let temp = ram_dir()?;
    let mut origin = start(&["origin".into(), temp.path().display().to_string(), plan.agents.to_string()])?;
    let mut origin_says = lines(&mut origin)?;
    let hello = origin_says.next_line().await?.ok_or("the origin ended")?;
    let (line, id) = hello.split_once(' ').ok_or(format!("the origin says `{hello}`"))?;
    let begin = clock() + BEFORE.as_millis() as u64;
    let (to, mut said) = mpsc::unbounded_channel();
    let mut processes = Vec::new();
    for first in (0..plan.agents).step_by(plan.each) {
        let count = plan.each.min(plan.agents - first);
        let numbers = [first, count].map(|number| number.to_string());
        let times = [begin.to_string(), plan.storm.as_secs().to_string()];
        let words = ["agents".into(), temp.path().display().to_string(), line.to_owned(), id.to_owned()];
        let mut process = start(&[&words[..], &numbers[..], &times[..]].concat())?;
        tokio::spawn(pass_on(lines(&mut process)?, to.clone()));
        processes.push(process);
    }
    drop(to);
    let mut heard = Said::default();
    let mut eyes = None;
    if let Some(sights) = &plan.sights {
        heard.until_all(&["up"], plan, &mut said, begin).await?;
        eyes = Some(Eyes::open(sights, temp.path(), plan.agents).await?);
    }
    let after = if eyes.is_some() { BEFORE } else { BEFORE + plan.storm / 5 };
    let before = origin.id().map(Cost::of).unwrap_or_default();
    let deploying = deploy(temp.path(), after);
    let (deployed, arrived) = tokio::join!(deploying, heard.until_all(&["live", "up"], plan, &mut said, begin));
    if let (Some(eyes), Ok(())) = (eyes, &arrived) {
        let now = origin.id().map(Cost::of).unwrap_or_default();
        println!("origin: {:.2} s of CPU since before the deploy", now.cpu - before.cpu);
        eyes.tell(&heard.times["live"], begin).await?;
    }
    let (took, ordered) = match deployed {
        Ok((_, from, to)) => (from, to),
        Err(failure) => {
            println!("the deploy failed: {failure}");
            (begin, begin)
        }
    };
    heard.tell(plan, [took, ordered].map(|at| at.saturating_sub(begin)));
    tell_origin(temp.path(), &mut origin, &mut origin_says, plan).await?;
    let cost = processes.iter().filter_map(Child::id).map(Cost::of).fold(Cost::default(), |sum, cost| sum + cost);
    println!("agents, {} processes: {cost}", processes.len());
    for process in processes.iter_mut().chain([&mut origin]) {
        process.kill().await?;
    }
    arrived
}

/// A directory in memory where there is such a place.
fn ram_dir() -> Result<TempDir, Failure> {
    let shm = Path::new("/dev/shm");
    let builder = || tempfile::Builder::new().prefix("tiding-thin-").to_owned();
    Ok(if shm.is_dir() { builder().tempdir_in(shm)? } else { builder().tempdir()? })
}

/// Starts this program as something else. It ends with us.
fn start(words: &[String]) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command.spawn()?)
}

type Words = Lines<BufReader<ChildStdout>>;

fn lines(process: &mut Child) -> Result<Words, Failure> {
    Ok(BufReader::new(process.stdout.take().ok_or("it says nothing")?).lines())
}

async fn pass_on(mut lines: Words, to: mpsc::UnboundedSender<String>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if to.send(line).is_err() {
            return;
        }
    }
}

/// Deploys after a while; says when it began and when its order stood.
async fn deploy(dir: &Path, after: Duration) -> Result<(Deployed, u64, u64), Failure> {
    let source = dir.join("build");
    std::fs::create_dir(&source)?;
    let bytes: Vec<u8> =
        (0..BYTES / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(7).to_le_bytes()).collect();
    std::fs::write(source.join("app"), bytes)?;
    interval_at(Instant::now() + after, after).tick().await;
    let began = clock();
    // A budget that holds: a node that comes and goes must not halt what is measured.
    let options = DeployOptions {
        health_window: Duration::ZERO,
        budget: u32::MAX,
        ..DeployOptions::new("app", Path::new("/srv/app"))
    };
    let deployed = publish::deploy(&dir.join("operator"), &source, &options, |_| {}).await?;
    Ok((deployed, began, clock()))
}

impl Said {
    /// Listens until all have said each of these words; an error when they do not in time.
    async fn until_all(
        &mut self,
        words: &[&str],
        plan: &Plan,
        said: &mut mpsc::UnboundedReceiver<String>,
        begin: u64,
    ) -> Result<(), Failure> {
        let mut now_and_then = interval(Duration::from_secs(5));
        let late = begin + plan.patience.as_millis() as u64;
        while words.iter().any(|word| self.all(word) < plan.agents) {
            tokio::select! {
                line = said.recv() => self.take(&line.ok_or("all agents are gone")?),
                _ = now_and_then.tick() => {
                    let [asked, joined, up, live] = ["asked", "joined", "up", "live"].map(|word| self.all(word));
                    let after = clock() as i64 - begin as i64;
                    println!("{:>7.1} s: {asked} asked, {joined} joined, {up} up, {live} live", after as f64 / 1000.0);
                    if clock() > late {
                        let words = format!("{up} of {} are up, {live} live, and no more are waited for", plan.agents);
                        return Err(words.into());
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str) {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().unwrap_or_default();
        let (word, number, ms, why) = (next(), next(), next(), next());
        *self.count.entry(word.to_owned()).or_default() += 1;
        if let (Ok(number), Ok(ms)) = (number.parse(), ms.parse()) {
            self.times.entry(word.to_owned()).or_default().entry(number).or_insert(ms);
        }
        if !why.is_empty() {
            *self.reasons.entry(format!("{word}: {why}")).or_default() += 1;
        }
    }

    fn all(&self, word: &str) -> usize {
        self.times.get(word).map_or(0, BTreeMap::len)
    }

    /// How long each agent took from one word to another.
    fn between(&self, from: &str, to: &str) -> Vec<u64> {
        let empty = BTreeMap::new();
        let from = self.times.get(from).unwrap_or(&empty);
        let to = self.times.get(to).unwrap_or(&empty);
        to.iter().filter_map(|(number, &at)| Some(at.saturating_sub(*from.get(number)?))).collect()
    }

    fn tell(&self, plan: &Plan, [began, ordered]: [u64; 2]) {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        println!("{} agents that ask within {} s", plan.agents, plan.storm.as_secs());
        println!("joined (certificate) since each asked: {}", shares(self.between("asked", "joined")));
        println!("at the origin since each asked: {}", shares(self.between("asked", "up")));
        let up = self.times.get("up").and_then(|up| up.values().max()).copied().unwrap_or_default();
        println!("the last is at the origin {:.1} s after the first asked", seconds(up));
        let live: Vec<u64> = self.times.get("live").map(|live| live.values().copied().collect()).unwrap_or_default();
        let early = live.iter().filter(|&&at| at <= plan.storm.as_millis() as u64).count();
        println!(
            "deploy of {BYTES} bytes at {:.1} s: ordered after {:.2} s, {early} live before the last has asked",
            seconds(began),
            seconds(ordered.saturating_sub(began)),
        );
        let since: Vec<u64> = live.iter().map(|at| at.saturating_sub(began)).collect();
        println!("live since the deploy began: {}", shares(since));
        let counted = |word: &str| self.count.get(word).copied().unwrap_or_default();
        println!(
            "asked again {}, origin lost {} and found again {}, convictions {}, broken {}",
            counted("again"),
            counted("down"),
            counted("back"),
            counted("convicted"),
            counted("broken"),
        );
        self.reasons.iter().for_each(|(why, times)| println!("  {times} x {why}"));
    }
}

/// What the storm cost the origin.
async fn tell_origin(dir: &Path, origin: &mut Child, says: &mut Words, plan: &Plan) -> Result<(), Failure> {
    println!("origin: {}", Cost::of(origin.id().ok_or("the origin has ended")?));
    origin.stdin.as_mut().ok_or("it does not listen")?.write_all(b"how many\n").await?;
    let came = says.next_line().await?.ok_or("the origin ended")?;
    let (came, away) = came.split_once(' ').ok_or("the origin says something else")?;
    let each = came.parse::<f64>()? / plan.agents as f64;
    println!("connections at the origin: {came}, {each:.2} an agent (3 are needed); {away} turned away");
    let status = Client::open(&dir.join("operator"))?.status().await?;
    let up = status.nodes.iter().filter(|node| node.up && node.name.starts_with("agent-")).count();
    println!(
        "the origin knows {} agents, {up} up",
        status.nodes.iter().filter(|n| n.name.starts_with("agent-")).count()
    );
    for app in &status.apps {
        let copies = app.origin_sent as f64 / app.content_bytes.max(1) as f64;
        println!("the origin sent {copies:.2} copies ({} bytes); the rollout: {:?}", app.origin_sent, app.state);
    }
    Ok(())
}
