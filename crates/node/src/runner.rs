//! Running what a signed release says: its commands, and rounds of its probes.
//!
//! A command gets a defined environment and nothing of the agent's own: no descriptors, no variables. It is a process group of its
//! own, killed as a whole when its time is over, when it fails, and with the agent, however that ends ([`crate::warden`]); of what it prints
//! the end is kept. One that ended well and leaves a child behind has started a service: that stays.

use crate::own::is_own;
use crate::warden::Warden;
use content::care::{Hook, Probe};
use content::{Labels, Release, ReleaseId, Signed};
use engine::door::{JobDone, JobError, Moment};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How much of the end of what a command prints is kept.
const KEPT: usize = 2048;
/// How long its output is waited for when it has ended.
const DREGS: Duration = Duration::from_millis(200);
/// How long one that was killed is waited for.
const KILLED: Duration = Duration::from_secs(5);
/// How long systemd may take to say how a unit does.
const UNIT: Duration = Duration::from_secs(10);
/// Where commands are found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What commands are told of the node that runs them.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    /// The node's name.
    pub(crate) node: String,
    /// What is said of it.
    pub(crate) labels: Labels,
    /// What stands for `/` where releases go.
    pub(crate) targets: PathBuf,
    /// As whom commands run here, and as nobody else, if this machine says so.
    pub(crate) hooks_user: Option<String>,
    /// Who sees to it that no command outlives the agent.
    pub(crate) warden: Arc<Warden>,
}

impl Runner {
    /// Runs a command of a release.
    pub(crate) async fn hook(
        self,
        release: Signed,
        moment: Moment,
        other: Option<ReleaseId>,
    ) -> Result<JobDone, JobError> {
        let (id, release) = opened(&release)?;
        let hooks = &release.instructions.hooks;
        let (hook, word) = match moment {
            Moment::Before => (&hooks.before, "before"),
            Moment::After => (&hooks.after, "after"),
            Moment::Back => (&hooks.back, "back"),
        };
        let hook = hook.as_ref().ok_or_else(|| refused(format!("the release has no command for {word} a switch")))?;
        let other = other.map_or_else(String::new, |other| other.to_string());
        let env = [("TIDING_MOMENT", word.to_owned()), ("TIDING_OTHER_RELEASE", other)];
        self.run(hook, id, &release, &env).await.map(|()| JobDone::Ran).map_err(refused)
    }

    /// Runs the command of a release for when the machine was started anew, if it has one; whether it has.
    pub(crate) async fn boot(&self, release: &Signed) -> Result<bool, String> {
        let (id, release) = opened(release).map_err(|error| error.words().unwrap_or_default().to_owned())?;
        let Some(hook) = &release.instructions.hooks.boot else { return Ok(false) };
        let env = [("TIDING_MOMENT", "boot".to_owned())];
        self.run(hook, id, &release, &env).await.map(|()| true)
    }

    /// Makes one round of a release's probes, all at once.
    pub(crate) async fn probe(self, release: Signed) -> Result<JobDone, JobError> {
        let (id, release) = opened(&release)?;
        let mut round = JoinSet::new();
        for probe in release.instructions.health.probes.clone() {
            let (runner, release) = (self.clone(), release.clone());
            round.spawn(async move { runner.ask(&probe, id, &release).await });
        }
        let mut bad: Vec<String> = round.join_all().await.into_iter().filter_map(Result::err).collect();
        bad.sort();
        match bad.into_iter().next() {
            None => Ok(JobDone::Ran),
            Some(why) => Err(refused(why)),
        }
    }

    async fn ask(&self, probe: &Probe, id: ReleaseId, release: &Release) -> Result<(), String> {
        match probe {
            Probe::Command(hook) => self.run(hook, id, release, &[("TIDING_MOMENT", "probe".to_owned())]).await,
            Probe::Tcp { host, port, timeout_ms } => {
                within(*timeout_ms, &format!("{host}:{port}"), connect(host, *port)).await.map(drop)
            }
            Probe::Http { host, port, path, timeout_ms } => {
                within(*timeout_ms, &format!("http://{host}:{port}{path}"), get(host, *port, path)).await
            }
            Probe::Unit(name) => self.unit_is_active(name).await,
        }
    }

    /// Runs a line, and waits for its end.
    async fn run(&self, hook: &Hook, id: ReleaseId, release: &Release, env: &[(&str, String)]) -> Result<(), String> {
        let policy = self.hooks_user.as_deref().filter(|_| !is_own(release.app.as_str(), &hook.line));
        let mut command = shell(hook, policy)?;
        let target = self.place(&release.instructions.path);
        let laid_out = self.place(&store::laid_out_at(&release.instructions.path, id));
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
        command.env("TIDING_APP", release.app.as_str()).env("TIDING_VERSION", &release.version);
        command.env("TIDING_RELEASE", id.to_string()).env("TIDING_NODE", &self.node);
        command.env("TIDING_PATH", &target).env("TIDING_DIR", &laid_out);
        for (key, value) in &self.labels {
            command.env(format!("TIDING_LABEL_{}", variable(key.as_str())), value.as_str());
        }
        command.envs(env.iter().map(|(key, value)| (key, value)));
        command.current_dir(if laid_out.is_dir() { &laid_out } else { Path::new("/") });
        carry_out(command, &hook.line, Duration::from_millis(hook.timeout_ms.into()), &self.warden).await
    }

    async fn unit_is_active(&self, name: &str) -> Result<(), String> {
        let mut command = Command::new("systemctl");
        command.args(["is-active", "--", name]).env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        let (status, said) = ended(command, UNIT, &self.warden).await.map_err(|why| format!("systemctl {why}"))?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the unit {name} is {}", one_line(said.trim()))),
        }
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.targets.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))
    }
}

fn opened(signed: &Signed) -> Result<(ReleaseId, Release), JobError> {
    let release = Release::decode(&signed.payload).map_err(|why| refused(why.to_string()))?;
    Ok((ReleaseId(signed.payload_digest()), release))
}

fn refused(why: String) -> JobError {
    JobError::Refused { why }
}

/// As whom a line runs: as this machine says, or where it says nothing as the release does. A release that names somebody else is not
/// run as another: what it does might be half done then.
fn user_of<'a>(hook: &'a Hook, policy: Option<&'a str>) -> Result<Option<&'a str>, String> {
    match (policy, hook.user.as_deref()) {
        (Some(policy), Some(asked)) if asked != policy => Err(format!(
            "is to run as {asked}, and this machine runs commands of releases as {policy} alone (hooks-user)"
        )),
        (policy, asked) => Ok(policy.or(asked)),
    }
}

/// Runs its first argument once a line comes, and nothing when none does: an agent that is killed before its warden knows of a command leaves
/// nobody who has begun it.
const GATED: &str = r#"read -r _ && exec </dev/null && exec /bin/sh -c "$1""#;

/// A shell that will run the line, as the user that it names, when it is let go.
fn shell(hook: &Hook, policy: Option<&str>) -> Result<Command, String> {
    let mut command = match user_of(hook, policy)? {
        None => Command::new("/bin/sh"),
        Some(user) if geteuid().is_root() => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--", "/bin/sh"]);
            command
        }
        Some(user) => return Err(format!("is to run as {user}, and this agent is not root")),
    };
    command.args(["-c", GATED, "sh"]).arg(&hook.line).stdin(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// The processes of a command that runs: they are killed with it, and when nobody waits for it any more.
struct Group {
    leader: Option<Pid>,
    warden: Arc<Warden>,
}

impl Group {
    fn of(leader: Option<Pid>, warden: &Arc<Warden>) -> Self {
        leader.into_iter().for_each(|leader| warden.begun(leader));
        Self { leader, warden: warden.clone() }
    }

    /// It has ended well: what it left running is meant to run.
    fn leave(mut self) {
        self.leader.take().into_iter().for_each(|leader| self.warden.ended(leader));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            kill_process_group(leader, Signal::KILL).ok();
            self.warden.ended(leader);
        }
    }
}

/// Runs a command, shown as its line, to its end or to the end of its time; why it did not end well, otherwise.
pub(crate) async fn carry_out(
    command: Command,
    line: &str,
    limit: Duration,
    warden: &Arc<Warden>,
) -> Result<(), String> {
    let shown = shorten(line);
    let (status, said) = ended(command, limit, warden).await.map_err(|why| format!("`{shown}` {why}"))?;
    if status.success() {
        return Ok(());
    }
    let said = said.trim();
    let said = if said.is_empty() { "it said nothing".to_owned() } else { format!("it said: {}", one_line(said)) };
    Err(format!("`{shown}` ended with {}; {said}", how(status)))
}

/// Runs a command to its end, or to the end of its time; gives the end of what it said.
async fn ended(mut command: Command, limit: Duration, warden: &Arc<Warden>) -> Result<(ExitStatus, String), String> {
    let failed = |error: std::io::Error| format!("cannot be started: {error}");
    // One pipe for all that it says: what it said last stands last, wherever it said it.
    let (from, to) = std::io::pipe().map_err(failed)?;
    command.stdout(to.try_clone().map_err(failed)?).stderr(to);
    let from = pipe::Receiver::from_owned_fd(from.into()).map_err(failed)?;
    let mut child = command.spawn().map_err(failed)?;
    // It holds the pipe as well, which would never end.
    drop(command);
    let group = Group::of(child.id().and_then(|id| Pid::from_raw(id as i32)), warden);
    // What was gated is let go: whoever kills what is left knows of it now.
    if let Some(mut gate) = child.stdin.take() {
        gate.write_all(b"\n").await.ok();
    }
    // Whoever it left running may go on printing into what nobody keeps, as long as this process lives.
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = kept.clone();
    let said = tokio::spawn(async move { keep_end(from, &keeping).await });
    let status = timeout(limit, child.wait()).await;
    match status {
        Ok(Ok(status)) if status.success() => group.leave(),
        _ => {
            drop(group);
            // What hangs in the kernel dies when it can; nobody waits for that.
            timeout(KILLED, child.wait()).await.ok();
        }
    }
    let status = match status {
        Ok(status) => status.map_err(|error| format!("cannot be waited for: {error}"))?,
        Err(_) => return Err(format!("did not end within {} ms, and was killed", limit.as_millis())),
    };
    timeout(DREGS, said).await.ok();
    let said = kept.lock().map(|kept| kept.clone()).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// Reads everything, and keeps the end.
async fn keep_end(mut from: pipe::Receiver, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Ok(mut kept) = kept.lock() else { return };
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

/// What must be there within a time; what is asked is named in what goes wrong.
async fn within<T>(ms: u32, what: &str, asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match timeout(Duration::from_millis(ms.into()), asked).await {
        Ok(outcome) => outcome.map_err(|why| format!("{what}: {why}")),
        Err(_) => Err(format!("{what}: no answer within {ms} ms")),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| error.to_string())
}

async fn get(host: &str, port: u16, path: &str) -> Result<(), String> {
    let stream = connect(host, port).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let request = hyper::Request::get(path).header("host", format!("{host}:{port}")).header("user-agent", "tiding");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    match answer.status().as_u16() {
        200..400 => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

/// The name of a label as part of a variable's.
fn variable(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// A line for people, not too long.
pub(crate) fn shorten(line: &str) -> String {
    match line.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// For people, in one line: the end is what counts.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown: String = lines.join(" / ").chars().filter(|c| !c.is_control()).collect();
    let surplus = shown.chars().count().saturating_sub(400);
    shown.chars().skip(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::care::{Health, Hooks};
    use content::release::Instructions;
    use content::{AppName, BlobRef, ContentSpec, Digest, FleetId, Label, PayloadKind, SigningKey, UnixTime};
    use std::time::Instant;
    use tokio::net::TcpListener;

    fn hook(line: &str, timeout_ms: u32) -> Hook {
        Hook { line: line.to_owned(), user: None, timeout_ms }
    }

    #[tokio::test]
    async fn murder_10_a_command_begins_nothing_before_it_is_let_go() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let made = home.path().join("made");
        let mut command =
            shell(&hook(&format!("touch {}", made.display()), 1000), None).expect("nobody else is asked for");
        let mut child = command.spawn().expect("a shell");
        drop(child.stdin.take());
        assert!(!child.wait().await.expect("it ends").success() && !made.exists(), "its agent was killed");
        carry_out(command, "touch", Duration::from_secs(60), &Arc::default()).await.expect("it is let go");
        assert!(made.exists());
    }

    fn signed(hooks: Hooks, probes: Vec<Probe>) -> Signed {
        let blob = BlobRef { root: Digest::of(b"root"), len: 1000 };
        let release = Release {
            fleet: FleetId(Digest::of(b"fleet")),
            app: AppName::new("web").expect("a plain name"),
            version: "1.2".to_owned(),
            created: UnixTime(1),
            content: ContentSpec { blob, pieces: 2, bytes: 100_000 },
            attributes: None,
            entries: 3,
            size: 120_000,
            instructions: Instructions {
                hooks,
                health: Health { probes, ..Health::default() },
                ..Instructions::plain(b"/srv/web", 0, 2)
            },
        };
        SigningKey::from_secret(&[1; 32]).sign(PayloadKind::Release, release.encode())
    }

    fn runner(targets: &Path) -> Runner {
        let label = |text| Label::new(text).expect("a plain label");
        let labels = Labels::from([(label("rack-nr"), label("7"))]);
        Runner {
            node: "node-3".to_owned(),
            labels,
            targets: targets.to_owned(),
            hooks_user: None,
            warden: Arc::default(),
        }
    }

    async fn after(targets: &Path, hook: Hook) -> Result<(), String> {
        let release = signed(Hooks { after: Some(hook), ..Hooks::default() }, Vec::new());
        let ran = runner(targets).hook(release, Moment::After, None).await;
        ran.map(drop).map_err(|error| error.words().unwrap_or_default().to_owned())
    }

    async fn probe(probe: Probe) -> Result<(), String> {
        let probed = runner(Path::new("/")).probe(signed(Hooks::default(), vec![probe])).await;
        probed.map(drop).map_err(|error| error.words().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn a_command_is_told_what_it_is_about_and_nothing_of_the_agents_own() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let line = format!("env | sort > {}/seen; pwd >> {0}/seen", home.path().display());
        after(home.path(), hook(&line, 5000)).await.expect("it ends well");
        let seen = std::fs::read_to_string(home.path().join("seen")).expect("it wrote");
        for part in ["TIDING_APP=web", "TIDING_MOMENT=after", "TIDING_NODE=node-3", "TIDING_LABEL_RACK_NR=7"] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        assert!(seen.contains(&format!("TIDING_PATH={}/srv/web", home.path().display())), "{seen}");
        assert!(!seen.contains("CARGO"), "{seen}");
    }

    #[test]
    fn h15_a_machine_that_says_as_whom_commands_run_runs_them_as_nobody_else() {
        let asks = |user: Option<&str>| Hook { user: user.map(str::to_owned), ..hook("true", 5000) };
        let of = |asked, policy| user_of(&asks(asked), policy).map(|user| user.map(str::to_owned));
        assert_eq!((of(None, None), of(Some("www"), None)), (Ok(None), Ok(Some("www".to_owned()))));
        assert_eq!(
            (of(None, Some("app")), of(Some("app"), Some("app"))),
            (Ok(Some("app".to_owned())), Ok(Some("app".to_owned())))
        );
        assert!(of(Some("root"), Some("app")).is_err_and(|why| why.contains("as app alone")));
    }

    #[tokio::test]
    async fn h15_a_command_runs_as_who_this_machine_says() {
        if !geteuid().is_root() {
            return eprintln!("skipped: this needs root");
        }
        let home = tempfile::tempdir().expect("a temporary directory");
        let runner = |user: &str| Runner { hooks_user: Some(user.to_owned()), ..runner(home.path()) };
        let run = async |user: &str, line: &str, asked: Option<&str>| {
            let hook = Hook { user: asked.map(str::to_owned), ..hook(line, 5000) };
            let release = signed(Hooks { after: Some(hook), ..Hooks::default() }, Vec::new());
            runner(user).hook(release, Moment::After, None).await.is_ok()
        };
        assert!(run("nobody", "test $(id -un) = nobody", None).await);
        assert!(!run("nobody", "true", Some("root")).await, "no release makes itself root");
    }

    #[tokio::test]
    async fn h9_a_probe_that_is_redirected_goes_nowhere_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let trap = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = trap.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a probe");
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.is_ok_and(|read| read > 0), "it asks");
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{to}/\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
        });
        let asked = Probe::Http { host: "127.0.0.1".to_owned(), port, path: "/".to_owned(), timeout_ms: 5000 };
        probe(asked).await.expect("a redirect is an answer");
        let came = tokio::select! { biased; _ = trap.accept() => true, () = std::future::ready(()) => false };
        assert!(!came, "it was followed");
    }

    #[tokio::test]
    async fn d14_what_a_command_said_last_is_what_people_are_told_and_no_more() {
        let home = Path::new("/");
        let why = after(home, hook("seq 100000; echo 'cannot bind port 80' >&2; exit 3", 20_000))
            .await
            .expect_err("it fails");
        assert!(why.contains("status 3") && why.ends_with("cannot bind port 80") && why.len() < 600, "{why}");
        let why = after(home, hook("kill -9 $$", 5000)).await.expect_err("it fails");
        assert!(why.contains("signal 9") && why.contains("said nothing"), "{why}");
        let nobody = Hook { user: Some("no-such-user".to_owned()), ..hook("true", 5000) };
        assert!(after(home, nobody).await.is_err());
    }

    #[tokio::test]
    async fn d14_a_command_that_does_not_end_is_killed_with_all_it_started_and_one_that_left_a_service_has_ended() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let held = home.path().join("held");
        rustix::fs::mknodat(rustix::fs::CWD, &held, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        let line = format!("sleep 1000 > {} & wait", held.display());
        // It ends when nobody holds the pipe open for writing any more.
        let ended = tokio::task::spawn_blocking(move || std::fs::read(held));
        let why = after(home.path(), hook(&line, 300)).await.expect_err("it does not end");
        assert!(why.contains("300 ms"), "{why}");
        ended.await.expect("no panic").expect("its child is gone as well");
        let began = Instant::now();
        let line = format!("(sleep 1; echo still here; echo yes > {}/alive) & echo started", home.path().display());
        after(home.path(), hook(&line, 30_000)).await.expect("the shell has ended");
        assert!(began.elapsed() < Duration::from_secs(15), "its child holds the pipe open");
        let lives = home.path().join("alive");
        let waiting = format!("until test -e {}; do sleep 0.1; done", lives.display());
        after(home.path(), hook(&waiting, 30_000)).await.expect("it can print after its shell has ended");
    }

    #[tokio::test]
    async fn probes_say_what_did_not_go_well() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let answer = match request[..read].starts_with(b"GET /well ") {
                    true => "HTTP/1.1 204 No Content\r\n\r\n",
                    false => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                };
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        let http =
            |path: &str| Probe::Http { host: "127.0.0.1".to_owned(), port, path: path.to_owned(), timeout_ms: 5000 };
        assert_eq!(probe(http("/well")).await, Ok(()));
        let why = probe(http("/ill")).await.expect_err("503 is not well");
        assert!(why.contains("/ill: it answered 503"), "{why}");
        assert_eq!(probe(Probe::Tcp { host: "127.0.0.1".to_owned(), port, timeout_ms: 5000 }).await, Ok(()));
        let why = probe(Probe::Tcp { host: "127.0.0.1".to_owned(), port: 1, timeout_ms: 5000 }).await;
        assert!(why.is_err_and(|why| why.contains("refused")));
        assert!(probe(Probe::Unit("no-such.service".to_owned())).await.is_err());
        assert_eq!(probe(Probe::Command(hook("test $TIDING_MOMENT = probe", 5000))).await, Ok(()));
    }

    #[tokio::test]
    async fn d14_a_service_that_takes_a_connection_and_says_nothing_is_not_well_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let silent = Probe::Http { host: "127.0.0.1".to_owned(), port, path: "/".to_owned(), timeout_ms: 100 };
        let why = probe(silent).await.expect_err("it says nothing");
        assert!(why.contains("no answer within 100 ms"), "{why}");
    }
}
