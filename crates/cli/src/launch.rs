//! `tiding launch`: runs the version of this program that the fleet's operators ordered, and the one before it when that one fails.
//!
//! It is the small part that stays when agents are upgraded. An agent lays a new version out and swings a symlink to it, as with any
//! release; this starts what the symlink leads to, counts its starts until it says that it is settled, and leaves it for the version before
//! it, or for the installed one, when it ends, hangs, or never settles. It opens no store, no configuration and no connection, so nothing
//! that a new version does to those keeps it from going back. See ADR 23.

mod agent;
mod own;
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
    /// How long to wait before a version that ended too early is started again
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = parse::duration, hide = true)]
    pause: Duration,
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
    /// Whether the record on disk is not this one.
    is_unsaved: bool,
    /// Releases that cannot be started now, for reasons that may pass; until another order comes.
    unfit: Vec<String>,
    ears: Ears,
    /// Who supervises this, and how often it hears that this turns.
    above: Option<Notifier>,
    beats: Interval,
}

impl Launch {
    /// Runs until it is asked to stop, or until what it runs ends, was ready and is not on trial.
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let cannot = |error: std::io::Error| {
            let failure = Failure::new(Kind::Failed, "cannot launch").because(error);
            failure.next(format!("is {} writable? name another directory with --software", self.software.display()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        if let Err(error) = make_private(&self.software) {
            speak::warning(format!(
                "launch: {}: {error}; the installed version runs without it",
                self.software.display()
            ));
        }
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
        Ok(Self { terms, record, is_unsaved: false, unfit: Vec::new(), ears, above, beats })
    }

    async fn run(mut self) -> std::io::Result<ExitCode> {
        if let Some(stray) = self.record.agent.take().filter(Process::runs) {
            speak::note(format!("launch: ending process {}, which its launcher left behind", stray.pid));
            end_stray(&stray, self.terms.stop_within).await;
        }
        loop {
            let choice = self.choose();
            let (agent, choice) = match self.start(choice).await? {
                Ok(started) => started,
                // It is not chosen again.
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
        self.record.choose(ordered.as_deref(), |release| self.is_fit(release))
    }

    fn is_fit(&self, release: &str) -> bool {
        let is_unfit = self.unfit.iter().any(|unfit| unfit == release);
        !is_unfit && laid_out(&self.terms.software, release).is_file()
    }

    /// Starts what was chosen; the count of a trial is on disk before that. An inner error is of a version that is left.
    async fn start(&mut self, choice: Choice) -> std::io::Result<Result<(Agent, Choice), String>> {
        let Launch { words, software, silence, .. } = self.terms;
        let program = match &choice {
            Choice::Trial(release) => match self.count(release) {
                Ok(program) => program,
                Err(left) => return Ok(Err(left)),
            },
            Choice::Proven(release) => laid_out(software, release),
            Choice::Installed => PathBuf::from(INSTALLED),
        };
        let allowed = if choice == Choice::Installed { Ok(()) } else { own::check(software, &program) };
        let started = allowed.and_then(|()| Agent::start(&program, words, software, *silence));
        let agent = match (started, &choice) {
            (Ok(agent), _) => agent,
            (Err(error), Choice::Trial(release)) => {
                return Ok(Err(self.give_up(release, format!("it cannot be started: {error}"))));
            }
            (Err(error), Choice::Proven(release)) => return Ok(Err(self.pass_over(release, error))),
            (Err(error), Choice::Installed) => return Err(error),
        };
        (self.record.agent, self.record.launcher) = (agent.process(), Process::of(std::process::id() as i32));
        self.save();
        Ok(Ok((agent, choice)))
    }

    /// Counts a start of a release on trial, durably: what cannot be counted could be started for ever, and is not started at all.
    fn count(&mut self, release: &str) -> Result<PathBuf, String> {
        let software = &self.terms.software;
        if self.record.is_used_up(release) {
            return Err(self.give_up(release, "this machine stopped each time it was started".to_owned()));
        }
        let before = self.record.clone();
        let start = self.record.begin(release);
        if let Err(error) = self.record.write(software) {
            self.record = before;
            let why = format!("its start cannot be counted in {}: {error}", software.display());
            return Err(self.pass_over(release, why));
        }
        speak::note(format!("launch: trying {} ({start} of {TRIES})", short(release)));
        Ok(laid_out(software, release))
    }

    /// Leaves a version for now; what to say.
    fn pass_over(&mut self, release: &str, why: impl std::fmt::Display) -> String {
        self.unfit.push(release.to_owned());
        format!("launch: {} is not started now, and the one before it is: {why}", short(release))
    }

    /// Supervises a process to its end; the code to leave with, or nothing when another one is to be started.
    async fn see_through(&mut self, mut agent: Agent, choice: &Choice) -> std::io::Result<Option<ExitCode>> {
        let end = self.watch(&mut agent, choice).await?;
        self.make_gone(&mut agent, &end).await;
        let (why, code) = match end {
            End::Asked | End::Done => return Ok(Some(ExitCode::SUCCESS)),
            End::Swap => {
                self.unfit.clear();
                return Ok(None);
            }
            End::Ended(status) => (format!("it ended ({status})"), code_of(status)),
            End::Hangs(why) => (why, ExitCode::FAILURE),
            End::Unsettled(why) => {
                let Choice::Trial(release) = choice else { return Ok(None) };
                speak::warning(self.give_up(release, why));
                return Ok(None);
            }
        };
        match choice {
            Choice::Trial(release) if !self.is_settled(release) => {
                speak::warning(format!("{}: {why}", short(release)));
                if self.record.is_used_up(release) {
                    let why = format!("it was started {TRIES} times; the last time {why}");
                    speak::warning(self.give_up(release, why));
                    return Ok(None);
                }
                Ok(self.pause().await)
            }
            // What has done well is started again by who started this, who also says that it ended.
            Choice::Proven(release) if !agent.is_ready => {
                speak::warning(format!("{}: {why}, before it was ready", short(release)));
                if self.record.ended_early(release) >= TRIES {
                    let left = format!("launch: {} did not become ready {TRIES} times in a row", short(release));
                    speak::warning(format!("{left}; another version that did well is started, or the installed one"));
                }
                self.save();
                Ok(self.pause().await)
            }
            choice => {
                speak::warning(format!("launch: {why}"));
                // Where not even the installed one becomes ready it may be all of them, and the ordered one is the first again.
                if *choice == Choice::Installed && !agent.is_ready && self.record.forgive() {
                    self.save();
                }
                Ok(Some(code))
            }
        }
    }

    /// Waits before the next start, so that a cause that passes may pass; the code to leave with, if that is asked for meanwhile.
    async fn pause(&mut self) -> Option<ExitCode> {
        let until = Instant::now() + self.terms.pause;
        loop {
            tokio::select! {
                end = self.ears.hear() => return matches!(end, End::Asked).then_some(ExitCode::SUCCESS),
                () = tokio::time::sleep_until(until) => return None,
                _ = self.beats.tick() => self.tell(&[Word::Alive]),
            }
        }
    }

    /// Ends a process that has not ended by itself. One that is gone is not remembered: its number may be another's tomorrow.
    async fn make_gone(&mut self, agent: &mut Agent, end: &End) {
        match end {
            End::Asked => self.tell(&[Word::Stopping]),
            End::Swap => speak::note("launch: the ordered version is started instead"),
            _ => {}
        }
        let is_gone = match end {
            End::Done | End::Ended(_) => true,
            End::Hangs(_) => agent.kill().await,
            End::Asked | End::Swap | End::Unsettled(_) => agent.end(self.terms.stop_within).await,
        };
        if is_gone {
            self.record.agent = None;
            self.save();
        }
    }

    /// Whether a start could be counted now: else what runs goes on, and whoever asked for another version goes back.
    fn can_remember(&self) -> bool {
        let written = self.record.write(&self.terms.software);
        written.inspect_err(|error| speak::warning(format!("launch: no other version is started now: {error}"))).is_ok()
    }

    /// Writes the record where going on matters more than remembering: what cannot be written is said once, and tried again.
    fn save(&mut self) {
        let written = self.record.write(&self.terms.software);
        if let (Err(error), false) = (&written, self.is_unsaved) {
            let at = self.terms.software.display();
            speak::warning(format!(
                "launch: {at}: {error}; this goes on, and remembers what it knows when that is mended"
            ));
        }
        self.is_unsaved = written.is_err();
    }

    fn is_settled(&self, release: &str) -> bool {
        self.record.is_good(release)
    }

    /// Listens until the process ends, must end, or is to end.
    async fn watch(&mut self, agent: &mut Agent, choice: &Choice) -> std::io::Result<End> {
        loop {
            let (due, end) = self.deadline(agent, choice);
            let words = tokio::select! {
                biased;
                end = self.ears.hear() => match end {
                    End::Swap if !self.can_remember() => Vec::new(),
                    end => return Ok(end),
                },
                () = tokio::time::sleep_until(due) => {
                    let words = agent.hear_the_rest();
                    if self.deadline(agent, choice).0 <= due {
                        return Ok(end);
                    }
                    words
                }
                _ = self.beats.tick() => {
                    self.tell(&[Word::Alive]);
                    if self.is_unsaved {
                        self.save();
                    }
                    Vec::new()
                }
                heard = agent.hear() => match heard? {
                    Heard::Words(words) => words,
                    Heard::End(status) => return Ok(self.ended(agent, status, choice)),
                },
            };
            self.heed(agent, &words, choice);
        }
    }

    /// Passes on what the process said, and remembers that it is settled.
    fn heed(&mut self, agent: &Agent, words: &[Word], choice: &Choice) {
        self.pass_on(words);
        if words.contains(&Word::Ready) && self.record.forgive() {
            self.save();
        }
        if let Choice::Trial(release) = choice
            && agent.is_settled
            && !self.is_settled(release)
        {
            self.record.settle(release);
            speak::note(format!("launch: {} is settled", short(release)));
            self.save();
        }
    }

    /// What the end of a process means. One on trial that just ends has failed, whatever it says of itself, unless it was asked to; so
    /// has one that did well and just ends before it is ready.
    fn ended(&mut self, agent: &mut Agent, status: ExitStatus, choice: &Choice) -> End {
        let words = agent.hear_the_rest();
        self.heed(agent, &words, choice);
        let was_asked = match choice {
            Choice::Trial(_) => agent.is_stopping,
            Choice::Proven(_) => agent.is_stopping || agent.is_ready,
            Choice::Installed => true,
        };
        if status.success() && was_asked { End::Done } else { End::Ended(status) }
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

    /// Leaves a version for good; what to say.
    fn give_up(&mut self, release: &str, why: String) -> String {
        let said = format!("launch: {} has failed here and is not started again: {why}", short(release));
        self.record.give_up(release, why);
        self.save();
        said
    }
}

fn short(release: &str) -> String {
    format!("version {}", release.chars().take(10).collect::<String>())
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0);
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms with a directory of versions of its own, in which a release is ordered and laid out.
    fn terms(software: &Path, release: &str) -> Launch {
        let program = laid_out(software, release);
        make_private(program.parent().expect("a directory")).expect("made");
        script(&program, "exec sleep 1000");
        std::os::unix::fs::symlink(&program, software.join(CURRENT)).expect("a link");
        let second = Duration::from_secs(1);
        Launch {
            software: software.to_owned(),
            start_within: second,
            settle_within: second,
            silence: second,
            stop_within: second,
            pause: Duration::ZERO,
            words: Vec::new(),
        }
    }

    /// A program. Another process writes it: one that is open to be written somewhere cannot be started, and tests beside this one fork.
    fn script(at: &Path, line: &str) {
        let text = r#"printf '#!/bin/sh\n%s\n' "$0" > "$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1""#;
        let written = std::process::Command::new("sh").args(["-c", text, line]).arg(at).status();
        assert!(written.is_ok_and(|status| status.success()), "{} is written", at.display());
    }

    #[tokio::test]
    async fn a_trial_that_cannot_be_counted_is_not_started_and_the_version_before_it_is() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let terms = terms(temp.path(), "new");
        script(&laid_out(temp.path(), "old"), "exec sleep 1000");
        let mut launcher = Launcher::new(&terms).expect("it can listen");
        launcher.record.settle("old");
        // As on a full disk: nothing can be written where the record is made, not even by root.
        std::fs::create_dir(temp.path().join("launch.new")).expect("made");
        assert_eq!(launcher.choose(), Choice::Trial("new".into()));
        let left = launcher.start(Choice::Trial("new".into())).await.expect("it goes on");
        assert!(left.err().is_some_and(|why| why.contains("cannot be counted")));
        assert_eq!(launcher.record.why_failed("new"), None, "it is tried when there is room");
        assert_eq!(launcher.choose(), Choice::Proven("old".into()));
        assert!(!launcher.can_remember(), "and no agent is ended for it");
        let started = launcher.start(Choice::Proven("old".into())).await.expect("it goes on");
        let (mut agent, _) = started.unwrap_or_else(|why| panic!("it starts: {why}"));
        assert!(agent.kill().await);
        assert!(launcher.is_unsaved);
        std::fs::remove_dir(temp.path().join("launch.new")).expect("there is room again");
        launcher.save();
        assert!(!launcher.is_unsaved && Record::read(temp.path()).0 == launcher.record);
    }

    #[tokio::test]
    async fn a_version_that_did_well_and_ends_before_it_is_ready_is_left_after_three_times() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let terms = terms(temp.path(), "new");
        ["old", "new"].into_iter().for_each(|release| script(&laid_out(temp.path(), release), "exit 0"));
        let mut launcher = Launcher::new(&terms).expect("it can listen");
        ["old", "new"].into_iter().for_each(|release| launcher.record.settle(release));
        for expected in ["new", "new", "new", "old", "old", "old"] {
            let choice = launcher.choose();
            assert_eq!(choice, Choice::Proven(expected.into()));
            let started = launcher.start(choice).await.expect("it goes on");
            let (agent, choice) = started.unwrap_or_else(|why| panic!("it starts: {why}"));
            assert_eq!(launcher.see_through(agent, &choice).await.expect("it goes on"), None);
            assert_eq!(launcher.record.agent, None, "it has ended");
        }
        assert_eq!(launcher.choose(), Choice::Installed);
        assert_eq!(Record::read(temp.path()).0, launcher.record, "the next launcher knows it as well");
    }

    #[tokio::test]
    async fn a_program_hears_where_to_speak_also_where_no_socket_can_be_made_beside_it() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let terms = terms(temp.path(), "new");
        std::fs::create_dir_all(temp.path().join("notify/in the way")).expect("made");
        let program = laid_out(temp.path(), "new");
        script(&program, r#"[ -S "$NOTIFY_SOCKET" ] && exit 7"#);
        let mut agent = Agent::start(&program, &terms.words, temp.path(), terms.silence).expect("it starts");
        assert!(matches!(agent.hear().await, Ok(Heard::End(status)) if status.code() == Some(7)));
    }
}
