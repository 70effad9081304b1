//! Keys where they should not be, keys that were stolen, and who may read what.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;

use data_encoding::{BASE64, HEXLOWER};
use lab::{Lab, Node, until};
use said::{expect, text};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A command of the operator whose machine is the origin's.
fn at_origin(lab: &Lab, keys: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(&*lab::TIDING);
    command.env("TIDING_HOME", &lab.origin.home).args(words).arg("--operator-home").arg(keys);
    command.output().expect("the binary runs")
}

#[test]
fn g12_keys_are_moved_away_from_the_origin_and_work_from_there() {
    let lab = Lab::new();
    let agent = lab.agent("one");
    let (keys, word) = (lab.dir().join("operator"), |path: &Path| path.to_string_lossy().into_owned());
    expect(&at_origin(&lab, &keys, &["status"]), 0, "the operator's keys lie on the origin's machine");
    expect(&at_origin(&lab, &keys, &["doctor"]), 0, "the operator's keys lie on the origin's machine");
    assert!(!text(&lab.operator(&["status"]).stderr).contains("lie on"), "on another machine nobody nags");

    // The root key goes into a drawer of its own, and is used from there.
    let (drawer, bob) = (lab.dir().join("drawer"), lab.dir().join("bob"));
    expect(&at_origin(&lab, &keys, &["key", "move", &word(&drawer), "--root"]), 0, "moved to");
    assert!(!keys.join("root.key").exists());
    expect(&lab.operator(&["operator", "add", "bob", "--out", &word(&bob)]), 3, "say where the fleet's root key is");
    let add = ["operator", "add", "bob", "--may", "steer", "--out", &word(&bob), "--root-key", &word(&drawer)];
    expect(&lab.operator(&add), 0, "trust root 2");

    let stick = tempfile::tempdir_in("/dev/shm").expect("a directory on another disk");
    let to = stick.path().join("tiding");
    expect(&at_origin(&lab, &keys, &["key", "move", &word(&bob)]), 3, "name a directory that is not there yet");
    expect(&at_origin(&lab, &keys, &["key", "move", "/nowhere/at/all"]), 3, "mount it, or make it first");
    expect(&at_origin(&lab, &keys, &["key", "move", &word(&to)]), 0, "moved to");
    let left: Vec<_> = fs::read_dir(&keys).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["moved.json"]);
    for name in ["operator.key", "key.pem"] {
        assert_eq!(fs::metadata(to.join(name)).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
    expect(&at_origin(&lab, &keys, &["status"]), 1, "were moved to");
    expect(&at_origin(&lab, &keys, &["key", "move", &word(&to)]), 3, "were moved to");
    if device(stick.path()) != device(&lab.origin.home) {
        let told = at_origin(&lab, &to, &["status"]);
        assert!(told.status.success() && !text(&told.stderr).contains("lie on"), "{}", text(&told.stderr));
    }
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    expect(&at_origin(&lab, &to, &["deploy", &word(&source), "--to", "/srv/app"]), 0, "is confirmed on 1 of 1 node");
    assert!(agent.shows(&source));
    let doctor = at_origin(&lab, &keys, &["doctor"]);
    assert!(text(&doctor.stdout).contains("the operator's keys moved away from here"), "{}", text(&doctor.stdout));
}

fn device(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").dev()
}

/// The ports on the other side of a process's connections that are up.
fn talks_to(node: &Node) -> BTreeSet<u16> {
    let proc = format!("/proc/{}", node.pid());
    let fds = fs::read_dir(format!("{proc}/fd")).expect("a process has descriptors").flatten();
    let sockets: BTreeSet<String> = fds
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("{proc}/net/tcp")).unwrap_or_default();
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let up = rows.filter(|row| row.get(3) == Some(&"01") && row.get(9).is_some_and(|inode| sockets.contains(*inode)));
    up.filter_map(|row| u16::from_str_radix(row[2].rsplit_once(':')?.1, 16).ok()).collect()
}

fn talk(one: &Node, two: &Node) -> bool {
    talks_to(one).contains(&two.address.port()) || talks_to(two).contains(&one.address.port())
}

#[test]
fn g13_c10_a_machine_that_is_forgotten_is_left_by_the_origin_and_by_the_other_agents() {
    let mut lab = Lab::new();
    let [one, two, three] = ["one", "two", "three"].map(|name| lab.agent(name));
    until("all talk", || talk(&one, &two) && talk(&one, &three) && talk(&three, &lab.origin));
    expect(&lab.operator(&["forget", "three", "--force"]), 0, "lets nobody in any more");
    let is_alone = |lab: &Lab| ![&one, &two, &lab.origin].into_iter().any(|node| talk(node, &three));
    until("it is alone, while it still runs and dials", || is_alone(&lab));
    assert!(talk(&one, &two) && talk(&one, &lab.origin));
    let source = lab.dir().join("source");
    lab::tree(&source, 100_000, 1);
    let told = lab.deploy(&source);
    assert!(told.contains("confirmed on 2 of 2 nodes"), "{told}");
    assert!(!three.live().exists());
    // An origin that starts again has not forgotten it.
    lab.origin.kill();
    lab.restart_origin();
    until("the others are back", || text(&lab.operator(&["status"]).stdout).contains("2 of 2 agents up"));
    fs::write(source.join("more"), "x").expect("a file");
    assert!(lab.deploy(&source).contains("confirmed on 2 of 2 nodes"));
    until("it is alone again", || is_alone(&lab));
    assert!(!three.live().exists());
}

/// Every file that holds a secret.
fn secret_files(lab: &Lab, agents: &[&Node]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        ["operator.key", "root.key", "key.pem"].iter().map(|name| lab.dir().join("operator").join(name)).collect();
    files.extend(["identity/key.pem", "ca/key.pem"].map(|name| lab.origin.home.join(name)));
    files.extend(agents.iter().map(|agent| agent.home.join("identity/key.pem")));
    files
}

/// The ways in which a secret may be written: as it stands in its file, and its bytes as hexadecimal digits and base64.
fn spellings(file: &Path) -> Vec<Vec<u8>> {
    let whole = fs::read_to_string(file).expect("a text");
    let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with("-----") && line.len() >= 32).collect();
    let mut all: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    let raw = match whole.starts_with("-----") {
        true => BASE64.decode(lines.concat().as_bytes()).ok(),
        false => HEXLOWER.decode(whole.trim().as_bytes()).ok(),
    };
    for bytes in raw.iter().flat_map(|raw| raw.windows(32).step_by(8)) {
        all.extend([bytes.to_vec(), HEXLOWER.encode(bytes).into_bytes(), format!("{bytes:?}").into_bytes()]);
    }
    all.extend(raw.iter().map(|raw| BASE64.encode(raw).into_bytes()));
    assert!(all.len() >= 3, "{} holds no secret", file.display());
    all
}

fn holds(text: &[u8], secret: &[u8]) -> bool {
    text.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn h13_h8_no_secret_is_in_any_output_log_argument_or_environment() {
    let lab = Lab::new();
    let agents = ["one", "two"].map(|name| lab.agent(name));
    let source = lab.dir().join("source");
    lab::tree(&source, 50_000, 1);
    let path = source.to_string_lossy().into_owned();
    let out = |name: &str| lab.dir().join(name).to_string_lossy().into_owned();
    let home = lab.origin.home.to_string_lossy().into_owned();
    let commands: Vec<Vec<&str>> = vec![
        vec!["deploy", &path, "--to", "/srv/app", "-m", "why"],
        vec!["status"],
        vec!["status", "--json"],
        vec!["doctor", "--home", &home],
        vec!["doctor", "--json", "--home", &home],
        vec!["operator", "list", "--json"],
        vec!["history", "--all", "--json"],
        vec!["audit", "verify", "--json"],
        vec!["verify"],
        vec!["limit", "20Mbit", "--total"],
        vec!["diff", &path],
        vec!["forget", "nobody"],
        vec!["rollback", "no-such-app"],
        vec!["pause"],
    ];
    let mut said: Vec<(String, Vec<u8>)> = Vec::new();
    let mut note = |what: String, output: Output| said.push((what, [output.stdout, output.stderr].concat()));
    for words in commands {
        let mut command = lab.operator_command(&words);
        note(words.join(" "), command.env("TIDING_LOG", "trace").output().expect("the binary runs"));
    }
    let (bob, backup) = (out("bob"), out("origin.tiding"));
    note("operator add".to_owned(), lab.operator(&["operator", "add", "bob", "--out", &bob]));
    note("backup".to_owned(), lab.operator(&["backup", &backup, "--home", &home]));
    // Failures say much: keys that are damaged, or of another fleet.
    fs::copy(lab.dir().join("operator/root.key"), lab.dir().join("bob/operator.key")).expect("a file");
    let mut as_bob = Command::new(&*lab::TIDING);
    as_bob.args(["deploy", &path, "--to", "/srv/app", "--operator-home", &bob]).env("TIDING_LOG", "trace");
    note("wrong keys".to_owned(), as_bob.output().expect("the binary runs"));
    note("key move".to_owned(), lab.operator(&["key", "move", &bob]));
    for node in [&lab.origin, &agents[0], &agents[1]] {
        said.push((format!("log of {}", node.home.display()), node.log().into_bytes()));
        for part in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{}/{part}", node.pid())).expect("it runs");
            said.push((format!("{part} of {}", node.home.display()), bytes));
        }
    }
    let secrets = secret_files(&lab, &[&agents[0], &agents[1]]);
    for file in &secrets {
        for secret in spellings(file) {
            for (what, text) in &said {
                assert!(!holds(text, &secret), "{} is in what was said: {what}", file.display());
            }
        }
    }
    // The test can find one.
    let found = fs::read(&secrets[0]).expect("a key");
    assert!(spellings(&secrets[0]).iter().any(|secret| holds(&found, secret)));
}

#[test]
fn h8_another_user_of_the_machine_reads_no_key_and_a_line_on_standard_input_is_in_no_list_of_processes() {
    let lab = Lab::new();
    let line = lab.origin.join.clone().expect("a line");
    let home = lab.dir().join("quiet");
    let mut command = Command::new(&*lab::TIDING);
    command.args(["join", "-", "--json", "--name", "quiet", "--listen", "127.0.0.1:0", "--root"]);
    command.arg(lab.dir()).arg("--home").arg(&home).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    until("it is there", || text(&lab.operator(&["status"]).stdout).contains("1 of 1 agent up"));
    for part in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{}/{part}", child.id())).expect("it runs");
        assert!(!holds(&bytes, b"tiding1."), "{part}");
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    if fs::metadata("/proc/self").expect("it is there").uid() != 0 {
        return skip::skipped("h8", "reading as another user needs root");
    }
    // Even where everyone may look into the directory that they are in.
    for directory in lab.dir().ancestors().take_while(|at| *at != Path::new("/tmp") && *at != Path::new("/")) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let read = |file: &Path| Command::new("cat").arg(file).uid(65_534).gid(65_534).output().expect("cat runs");
    fs::write(lab.dir().join("open"), "x").expect("a file");
    assert!(read(&lab.dir().join("open")).status.success(), "this user can read what is open");
    let mut secrets = secret_files(&lab, &[]);
    secrets.extend([
        home.join("identity/key.pem"),
        home.join("store/state.redb"),
        lab.origin.home.join("store/state.redb"),
    ]);
    for file in secrets {
        assert!(file.exists(), "{}", file.display());
        assert!(!read(&file).status.success(), "{} can be read by others", file.display());
    }
}

/// Takes posts, and gives what was said in each.
fn receiver() -> (u16, std::sync::mpsc::Receiver<serde_json::Value>) {
    use std::io::{BufRead, BufReader, Read};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let (mut length, mut line) = (0, String::new());
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                    length = said.trim().parse().expect("a number");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            let _gone = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            if tell.send(serde_json::from_slice(&body).expect("JSON")).is_err() {
                return;
            }
        }
    });
    (port, told)
}

#[test]
fn what_happens_is_posted_to_where_the_configuration_of_the_origin_says() {
    let (port, told) = receiver();
    let temp = tempfile::tempdir().expect("a temporary directory");
    let config = temp.path().join("tiding.toml");
    fs::write(&config, format!("[webhooks.chat]\nurl = 'http://127.0.0.1:{port}/x'\n")).expect("a file");
    let lab = Lab::listening("127.0.0.1:0", &["--config", config.to_str().expect("plain")]);
    let _agent = lab.agent("one");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    expect(&said::deploy(&lab, &source, &["-m", "it is time"]), 0, "is confirmed on 1 of 1 node");
    let next = |event: &str| {
        let body = told.recv_timeout(lab::PATIENCE).expect("it is posted");
        assert_eq!(body["event"], event, "{body}");
        assert_eq!((body["app"].as_str(), body["origin"].as_str()), (Some("app"), Some("origin")), "{body}");
        body
    };
    assert_eq!(next("ordered")["why"], "it is time");
    assert_eq!(next("wave-opened")["wave"], 1);
    let finished = next("finished");
    assert_eq!(finished["epoch"], 1, "{finished}");
    assert!(!lab.origin.log().contains(&format!(":{port}/x")), "the address may hold a secret");
}
