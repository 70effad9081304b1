//! `tiding page` with a real fleet: what is pressed there happens, signed with the operator's keys.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, PATIENCE, TIDING, tree, until};
use rustix::process::{Pid, Signal, kill_process};
use said::expect;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A page that is served by a process of its own, and a browser's side of it.
struct Page {
    child: Child,
    enter: ChildStdin,
    lines: BufReader<std::process::ChildStdout>,
    address: String,
    session: String,
}

impl Page {
    fn open(lab: &Lab) -> Self {
        let mut command = Command::new(&*TIDING);
        command.args(["page", "--json", "--operator-home"]).arg(lab.dir().join("operator"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let enter = child.stdin.take().expect("piped");
        let mut page = Self { child, enter, lines, address: String::new(), session: String::new() };
        let (address, token) = page.link();
        page.address = address;
        let welcome = page.ask(&format!("GET /?token={token}"), &[], "");
        let cookie = welcome.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session").to_owned();
        let key = welcome.split("url=/#").nth(1).and_then(|rest| rest.split('"').next()).expect("a key");
        page.session = format!("{}\r\nX-Tiding-Key: {key}", cookie.split(';').next().expect("a value"));
        page
    }

    /// The next link that it prints: where, and the token.
    fn link(&mut self) -> (String, String) {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints a link");
        let link: Value = serde_json::from_str(&line).expect("a line of JSON");
        let link = link["link"].as_str().and_then(|link| link.strip_prefix("http://")).expect("a link").to_owned();
        let (address, token) = link.split_once("/?token=").expect("a link with a token");
        (address.to_owned(), token.to_owned())
    }

    fn ask(&self, first: &str, headers: &[String], body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        let head =
            format!("{first} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nConnection: close", self.address, self.session);
        let head = [&[head], headers, &[format!("Content-Length: {}", body.len())]].concat().join("\r\n");
        write!(stream, "{head}\r\n\r\n{body}").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// The first event of the feed in which the application is shown as an operator would want to see it.
    fn until_app(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        write!(stream, "GET /feed HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n", self.address, self.session)
            .expect("it reads");
        for line in BufReader::new(stream).lines() {
            let line = line.expect("the feed goes on");
            let Some(event) = line.strip_prefix("data: ") else { continue };
            let event: Value = serde_json::from_str(event).expect("an event is JSON");
            if let Some(app) = event["apps"].as_array().into_iter().flatten().find(|app| wanted(app)) {
                return app.clone();
            }
        }
        panic!("the feed has ended");
    }

    /// Presses a button.
    fn press(&self, deed: &str, app: &Value, message: &str) -> String {
        let offers = app["offers"].as_array().expect("offers");
        let offer = offers.iter().find(|offer| offer["deed"] == deed).expect("it is offered");
        let body = json!({ "deed": deed, "app": app["app"], "order": app["order"], "wave": app["wave"], "to": offer["to"], "message": message });
        let headers = [format!("Origin: http://{}", self.address), "Content-Type: application/json".to_owned()];
        self.ask("POST /act", &headers, &body.to_string())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn what_is_pressed_on_the_page_happens() {
    let lab = Lab::new();
    let _agents = ["node-1", "node-2"].map(|name| lab.agent(name));
    let (one, two) = (lab.dir().join("one"), lab.dir().join("two"));
    tree(&one, 20_000, 1);
    tree(&two, 20_000, 2);
    expect(&said::deploy(&lab, &one, &["--version", "one"]), 0, "one is confirmed on 2 of 2 nodes");
    let mut page = Page::open(&lab);
    page.until_app(|app| app["is"] == "finished" && app["version"] == "one");

    // A release that is never well enough to be confirmed in this test's time: its first wave stays open.
    let source = two.to_string_lossy().into_owned();
    let words =
        ["deploy", &source, "--to", "/srv/app", "--version", "two", "--waves", "1,100%", "--health-window", "1h"];
    let mut deploying = lab.operator_command(&words);
    let mut deploying = deploying.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let rolling = page.until_app(|app| app["version"] == "two" && app["is"] == "rolling" && app["reach"]["live"] == 1);
    let wave = |at: usize, of: &str| rolling["waves"][at][of].as_u64();
    for at in [0, 1] {
        assert_eq!(["nodes", "confirmed", "failed"].map(|of| wave(at, of)), [Some(1), Some(0), Some(0)], "{rolling}");
    }
    assert_eq!([wave(0, "live"), wave(1, "live"), wave(2, "nodes")], [Some(1), Some(0), None], "{rolling}");

    let done = page.press("pause", &rolling, "the error rate rises");
    assert!(done.starts_with("HTTP/1.1 200"), "{done}");
    until("the origin says that it is paused, by whom and why", || {
        let state = lab.status().map(|status| status["apps"][0]["state"].clone()).unwrap_or_default();
        state["is"] == "paused" && state["why"] == "the error rate rises"
    });
    let paused = page.until_app(|app| app["is"] == "paused");
    assert!(paused["state"].as_str().is_some_and(|state| state.ends_with(": the error rate rises")), "{paused}");

    assert!(page.press("resume", &paused, "").starts_with("HTTP/1.1 200"));
    let rolling = page.until_app(|app| app["is"] == "rolling");
    assert!(page.press("promote", &rolling, "").starts_with("HTTP/1.1 200"));
    let promoted = page.until_app(|app| app["wave"] == 1 && app["reach"]["live"] == 2);
    let stale = page.press("promote", &rolling, "");
    assert!(stale.starts_with("HTTP/1.1 409") && stale.contains("last wave is open already"), "{stale}");
    let done = page.press("rollback", &promoted, "the login is broken");
    assert!(done.starts_with("HTTP/1.1 200") && done.contains("app is ordered back to one"), "{done}");
    page.until_app(|app| app["is"] == "finished" && app["version"] == "one" && app["message"] == "the login is broken");
    // Its order was overtaken, which it says.
    assert!(!deploying.wait().expect("a child can be waited for").success());

    page.enter.write_all(b"\n").expect("it reads");
    let (_, token) = page.link();
    assert!(page.ask(&format!("GET /?token={token}"), &[], "").starts_with("HTTP/1.1 200"), "another link");
    kill_process(Pid::from_child(&page.child), Signal::INT).expect("it runs");
    assert!(page.child.wait().expect("a child can be waited for").success());
    assert!(TcpStream::connect(&page.address).is_err(), "its session ends with it");
}
