//! A real browser without a window, steered over its DevTools protocol. It is spoken to through a pipe, so that it opens no port.
//!
//! Every wait is bounded, and says what was waited for. The process and its directory are gone when this is dropped.

#![allow(dead_code, unreachable_pub, reason = "each file uses its part of it")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take before the test gives up; never how long it should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its names on the systems we know.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// A browser with one tab.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    asked: u64,
    session: Option<String>,
    /// What it told without being asked.
    pub events: Vec<Value>,
    profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts it, if one is installed.
    pub fn start() -> Option<Self> {
        let there = |name: &&&str| {
            let asked = Command::new(name).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
            asked.is_ok_and(|output| output.status.success())
        };
        let program = NAMES.iter().find(there)?;
        let profile = tempfile::tempdir().expect("a temporary directory");
        // It reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args(["--disable-extensions", "--disable-sync", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let (to, out) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (tell, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { child, to, from, asked: 0, session: None, events: Vec::new(), profile };
        browser.open_tab();
        Some(browser)
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn open_tab(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Page", "Network", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Asks for something and gives the result.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same where it may be that a page makes room for the next, and nobody is there to answer.
    #[track_caller]
    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let bytes = [message.to_string().as_bytes(), &[0]].concat();
        self.to.write_all(&bytes).and_then(|()| self.to.flush()).expect("the browser reads");
        let give_up = Instant::now() + PATIENCE;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let Ok(message) = self.from.recv_timeout(left) else {
                panic!("gave up waiting for the browser: {method} {parameters}; it told {:#?}", self.complaints());
            };
            match message["id"].as_u64() {
                Some(id) if id == self.asked => {
                    return message.get("error").map_or(Ok(message["result"].clone()), |error| Err(error.clone()));
                }
                Some(_) => {}
                None => self.events.push(message),
            }
        }
    }

    /// Opens an address.
    #[track_caller]
    pub fn go(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
    }

    /// What an expression is on the page; a promise is waited for.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        let give_up = Instant::now() + PATIENCE;
        let look = format!(
            "new Promise((done) => setTimeout(() => {{ try {{ done(Boolean({expression})); }} catch {{ done(false); }} }}, 20))"
        );
        let look = json!({ "expression": look, "awaitPromise": true, "returnByValue": true });
        while !self
            .try_call("Runtime.evaluate", look.clone())
            .is_ok_and(|answer| answer["result"]["value"] == json!(true))
        {
            if Instant::now() > give_up {
                let shown = self.value("document.body.innerText");
                panic!("gave up waiting until {expression}; the page shows\n{shown}\n{:#?}", self.complaints());
            }
        }
    }

    /// Presses a key, with modifiers by the protocol's number (8 is shift).
    pub fn press(&mut self, key: &str, modifiers: u32) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            "End" => (35, ""),
            other => panic!("which key is {other}?"),
        };
        let mut event = json!({ "type": "keyDown", "key": key, "code": key, "modifiers": modifiers, "windowsVirtualKeyCode": code });
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event);
    }

    /// Writes where the focus is.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses Tab until the focus is on the element with this id.
    #[track_caller]
    pub fn tab_to(&mut self, id: &str) {
        for _ in 0..80 {
            if self.value("document.activeElement?.id ?? ''") == json!(id) {
                return;
            }
            self.press("Tab", 0);
        }
        panic!("#{id} cannot be reached with the Tab key");
    }

    /// A window of this size, light or dark.
    pub fn look(&mut self, (wide, high): (u32, u32), scale: u32, scheme: &str) {
        let size = json!({ "width": wide, "height": high, "deviceScaleFactor": scale, "mobile": wide < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!([{ "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": scheme }));
    }

    /// Writes what is seen now into a file.
    pub fn picture(&mut self, file: &Path) {
        // Two frames later everything that was changed has been drawn.
        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))");
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = data_encoding::BASE64.decode(taken["data"].as_str().unwrap_or_default().as_bytes());
        std::fs::write(file, bytes.expect("a picture in base64")).expect("it can be written");
    }

    /// Everything that went wrong on the page, as the browser sees it.
    pub fn complaints(&self) -> Vec<&Value> {
        let is_bad = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => matches!(event["params"]["type"].as_str(), Some("error" | "warning")),
            "Log.entryAdded" => matches!(event["params"]["entry"]["level"].as_str(), Some("error" | "warning")),
            _ => false,
        };
        self.events.iter().filter(is_bad).collect()
    }

    /// Every address that was asked for.
    pub fn asked_for(&self) -> Vec<&str> {
        let requests = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        requests.filter_map(|event| event["params"]["request"]["url"].as_str()).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        let left = || give_up.saturating_duration_since(Instant::now());
        // Asked to, it ends with all of its processes, the last of which closes the pipe; one that does not is killed.
        let close = json!({ "id": self.asked + 1, "method": "Browser.close" }).to_string();
        let _asked = self.to.write_all(&[close.as_bytes(), &[0]].concat()).and_then(|()| self.to.flush());
        while self.from.recv_timeout(left()).is_ok() {}
        let _ended = (self.child.kill(), self.child.wait());
        // A process of it that ends this moment may still write there.
        while self.profile.path().exists() && !left().is_zero() {
            let _gone = std::fs::remove_dir_all(self.profile.path());
        }
    }
}
