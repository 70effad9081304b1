//! `tiding launch`: runs the version of this program that the fleet's operators ordered, and the one before it when that one fails.
//!
//! It is the small part that stays when agents are upgraded. An agent lays a new version out and swings a symlink to it, as with any
//! release; this starts what the symlink leads to, counts its starts until it says that it is settled, and leaves it for the version before
//! it, or for the installed one, when it ends, hangs, or never settles. It opens no store, no configuration and no connection, so nothing
//! that a new version does to those keeps it from going back. See ADR 23.

mod agent;
pub(crate) mod record;

use crate::failure::{Failure, Kind};
use crate::{parse, speak, supervised};
use agent::{Agent, Heard, end_stray};
use clap::Args;
use node::notify::{Notifier, Word};
use record::{CURRENT, Choice, Process, Record, TRIES, current, laid_out};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Runs the version of this program that the fleet runs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tiding launch\n  tiding launch -- run --home /var/lib/tiding --limit 200Mbit\n\n\
    The service of the package starts this. `tiding upgrade` brings a new version; whoever sends SIGUSR1 has the ordered one started.")]
pub(crate) struct Launch {
    /// Where agents lay versions of this program out
    #[arg(long, value_name = "DIR", default_value = SOFTWARE)]
    software: PathBuf,
    /// How long a version on trial may take to start
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = parse::duration)]
    start_within: Duration,
    /// How long it may take from its start until it is confirmed
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse::duration)]
    settle_within: Duration,
    /// How long any version may be silent once it runs
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse::duration)]
    silence: Duration,
    /// How long it may take to stop in order
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse::duration)]
    stop_within: Duration,
    /// What it is started with
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS", default_value = "run")]
    words: Vec<OsString>,
}

/// Where versions are laid out when nobody says where: on every node the same, since it stands in the signed release.
pub(crate) const SOFTWARE: &str = "/var/lib/tiding/software";

/// The program that was installed: this one, also when its file was replaced meanwhile.
const INSTALLED: &str = "/proc/self/exe";

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a supervised process came to its end, or why it must.
enum End {
    /// This was asked to stop.
    Asked,
    /// The version that is ordered now is to be started.
    Swap,
    /// It stopped in order by itself, or for somebody else.
    Done,
    /// It ended.
    Ended(ExitStatus),
    /// It is to be killed: in words.
    Hangs(String),
    /// It runs, and did not become what it should: in words.
    Unsettled(String),
}

/// What this hears.
struct Ears {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    swap: Signal,
}

/// A supervisor at work.
struct Launcher<'a> {
    terms: &'a Launch,
    record: Record,
    ears: Ears,
    /// Who supervises this, and how often it hears that this turns.
    above: Option<Notifier>,
    beats: Interval,
}

impl Launch {
    /// Runs until it is asked to stop, or until what it runs ends and is not on trial.
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let cannot = |error: std::io::Error| {
            let failure = Failure::new(Kind::Failed, "cannot launch").because(error);
            failure.next(format!("is {} writable? name another directory with --software", self.software.display()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        make_private(&self.software).map_err(cannot)?;
        runtime.block_on(async { Launcher::new(self)?.run().await }).map_err(cannot)
    }
}

/// Makes the directory of versions: nobody else may say what runs.
fn make_private(software: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(software)
}

impl Ears {
    fn open() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            swap: signal(SignalKind::user_defined1())?,
        })
    }

    async fn hear(&mut self) -> End {
        tokio::select! {
            _ = self.terminate.recv() => End::Asked,
            _ = self.interrupt.recv() => End::Asked,
            _ = self.hangup.recv() => End::Asked,
            _ = self.swap.recv() => End::Swap,
        }
    }
}

impl<'a> Launcher<'a> {
    fn new(terms: &'a Launch) -> std::io::Result<Self> {
        let ears = Ears::open()?;
        let above = supervised::Wanted::here().and_then(|wanted| supervised::notifier(&wanted.address));
        let mut beats = interval(Duration::from_secs(5));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (record, unreadable) = Record::read(&terms.software);
        if let Some(why) = unreadable {
            speak::warning(format!("{why}; it counts as none, and versions are tried again"));
        }
        Ok(Self { terms, record, ears, above, beats })
    }

    async fn run(mut self) -> std::io::Result<ExitCode> {
        if let Some(stray) = self.record.agent.filter(|stray| stray.runs()) {
            speak::note(format!("launch: ending process {}, which its launcher left behind", stray.pid));
            end_stray(stray, self.terms.stop_within).await;
        }
        loop {
            let choice = self.choose();
            let (agent, choice) = match self.start(choice).await? {
                Ok(started) => started,
                // It failed for good and is not chosen again.
                Err(why) => {
                    speak::warning(why);
                    continue;
                }
            };
            if let Some(code) = self.see_through(agent, &choice).await? {
                return Ok(code);
            }
        }
    }

    fn choose(&self) -> Choice {
        let ordered = current(&self.terms.software.join(CURRENT));
        self.record.choose(ordered.as_deref(), |release| laid_out(&self.terms.software, release).is_file())
    }

    /// Starts what was chosen; the count of a trial is on disk before that. An inner error is of a version that is left.
    async fn start(&mut self, choice: Choice) -> std::io::Result<Result<(Agent, Choice), String>> {
        let program = match &choice {
            Choice::Trial(release) => {
                if self.record.is_used_up(release) {
                    return self.give_up(release, "this machine stopped each time it was started".to_owned()).map(Err);
                }
                let start = self.record.begin(release);
                self.record.write(&self.terms.software)?;
                speak::note(format!("launch: trying {} ({start} of {TRIES})", short(release)));
                laid_out(&self.terms.software, release)
            }
            Choice::Proven(release) => laid_out(&self.terms.software, release),
            Choice::Installed => PathBuf::from(INSTALLED),
        };
        let Launch { words, software, silence, .. } = self.terms;
        let (agent, choice) = match (Agent::start(&program, words, software, *silence), choice) {
            (Ok(agent), choice) => (agent, choice),
            (Err(error), Choice::Trial(release)) => {
                return self.give_up(&release, format!("it cannot be started: {error}")).map(Err);
            }
            (Err(error), Choice::Proven(release)) => {
                speak::warning(format!("{} cannot be started ({error}); the installed one is", short(&release)));
                (Agent::start(Path::new(INSTALLED), words, software, *silence)?, Choice::Installed)
            }
            (Err(error), Choice::Installed) => return Err(error),
        };
        (self.record.agent, self.record.launcher) = (agent.process(), Process::of(std::process::id() as i32));
        self.record.write(software)?;
        Ok(Ok((agent, choice)))
    }

    /// Supervises a process to its end; the code to leave with, or nothing when another one is to be started.
    async fn see_through(&mut self, mut agent: Agent, choice: &Choice) -> std::io::Result<Option<ExitCode>> {
        let end = self.watch(&mut agent, choice).await?;
        let patience = self.terms.stop_within;
        let (why, code) = match end {
            End::Asked => {
                self.tell(&[Word::Stopping]);
                agent.end(patience).await;
                return Ok(Some(ExitCode::SUCCESS));
            }
            End::Swap => {
                speak::note("launch: the ordered version is started instead");
                agent.end(patience).await;
                return Ok(None);
            }
            End::Done => return Ok(Some(ExitCode::SUCCESS)),
            End::Ended(status) => (format!("it ended ({status})"), code_of(status)),
            End::Hangs(why) => {
                agent.kill().await;
                (why, ExitCode::FAILURE)
            }
            End::Unsettled(why) => {
                agent.end(patience).await;
                let Choice::Trial(release) = choice else { return Ok(None) };
                speak::warning(self.give_up(release, why)?);
                return Ok(None);
            }
        };
        match choice {
            Choice::Trial(release) if !self.is_settled(release) => {
                speak::warning(format!("{}: {why}", short(release)));
                if self.record.is_used_up(release) {
                    speak::warning(
                        self.give_up(release, format!("it was started {TRIES} times; the last time {why}"))?,
                    );
                }
                Ok(None)
            }
            // What has done well is started again by who started this, who also says that it ended.
            _ => {
                speak::warning(format!("launch: {why}"));
                Ok(Some(code))
            }
        }
    }

    fn is_settled(&self, release: &str) -> bool {
        self.record.choose(Some(release), |_| true) == Choice::Proven(release.to_owned())
    }

    /// Listens until the process ends, must end, or is to end.
    async fn watch(&mut self, agent: &mut Agent, choice: &Choice) -> std::io::Result<End> {
        loop {
            let (due, end) = self.deadline(agent, choice);
            let words = tokio::select! {
                biased;
                end = self.ears.hear() => return Ok(end),
                () = tokio::time::sleep_until(due) => {
                    let words = agent.hear_the_rest();
                    if self.deadline(agent, choice).0 <= due {
                        return Ok(end);
                    }
                    words
                }
                _ = self.beats.tick() => {
                    self.tell(&[Word::Alive]);
                    Vec::new()
                }
                heard = agent.hear() => match heard? {
                    Heard::Words(words) => words,
                    Heard::End(status) => return self.ended(agent, status, choice),
                },
            };
            self.heed(agent, &words, choice)?;
        }
    }

    /// Passes on what the process said, and remembers that it is settled.
    fn heed(&mut self, agent: &Agent, words: &[Word], choice: &Choice) -> std::io::Result<()> {
        self.pass_on(words);
        match choice {
            Choice::Trial(release) if agent.is_settled && !self.is_settled(release) => {
                self.record.settle(release);
                speak::note(format!("launch: {} is settled", short(release)));
                self.record.write(&self.terms.software)
            }
            _ => Ok(()),
        }
    }

    /// What the end of a process means. One on trial that just ends has failed, whatever it says of itself, unless it was asked to.
    fn ended(&mut self, agent: &mut Agent, status: ExitStatus, choice: &Choice) -> std::io::Result<End> {
        let words = agent.hear_the_rest();
        self.heed(agent, &words, choice)?;
        let was_asked = agent.is_stopping || !matches!(choice, Choice::Trial(_));
        Ok(if status.success() && was_asked { End::Done } else { End::Ended(status) })
    }

    /// Until when something must come, and what it means when it has not.
    fn deadline(&self, agent: &Agent, choice: &Choice) -> (Instant, End) {
        let Launch { start_within, settle_within, silence, .. } = self.terms;
        let on_trial = matches!(choice, Choice::Trial(release) if !self.is_settled(release));
        let settle = agent.started + *settle_within;
        let silent = agent.alive + *silence;
        match (agent.is_ready, on_trial) {
            (false, true) => {
                (agent.started + *start_within, End::Hangs(format!("it was not ready within {start_within:?}")))
            }
            // Reading a large store again takes as long as it takes; who supervises this may have a bound.
            (false, false) => (agent.started + A_YEAR, End::Hangs("it was not ready within a year".to_owned())),
            (true, true) if settle < silent => {
                (settle, End::Unsettled(format!("it was not confirmed within {settle_within:?}")))
            }
            (true, _) => (silent, End::Hangs(format!("it said nothing for {silence:?}"))),
        }
    }

    /// Tells who supervises this what the process says: only that it turns is this one's own to say.
    fn pass_on(&self, words: &[Word]) {
        let passed = words.iter().filter(|word| matches!(word, Word::Ready | Word::Status(_))).cloned();
        self.tell(&passed.collect::<Vec<_>>());
    }

    fn tell(&self, words: &[Word]) {
        if let Some(above) = &self.above {
            above.tell(words);
        }
    }

    /// Leaves a version for good, durably; what to say.
    fn give_up(&mut self, release: &str, why: String) -> std::io::Result<String> {
        let said = format!("launch: {} has failed here and is not started again: {why}", short(release));
        self.record.give_up(release, why);
        self.record.write(&self.terms.software)?;
        Ok(said)
    }
}

fn short(release: &str) -> String {
    format!("version {}", release.chars().take(10).collect::<String>())
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0);
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
