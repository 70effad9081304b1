//! `tiding page --simulate` in a real browser: a fleet in virtual time is shown, and does what is pressed.

#[path = "../../node/tests/support/chromium.rs"]
mod chromium;

use chromium::Chromium;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A page that ends with this.
struct Page(Child, String);

impl Page {
    fn open(agents: &str) -> Self {
        let built = || env!("CARGO_BIN_EXE_tiding").into();
        let mut command = Command::new(std::env::var_os("TIDING_TESTED").unwrap_or_else(built));
        command.args(["page", "--json", "--simulate", agents]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it prints a link");
        let link: Value = serde_json::from_str(&line).expect("a line of JSON");
        Self(child, link["link"].as_str().expect("a link").to_owned())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ended = (self.0.kill(), self.0.wait());
    }
}

const STATE: &str = "document.querySelector('#rollout-state').textContent";

/// Presses a button, and says yes.
fn press(browser: &mut Chromium, button: &str) {
    browser.until(&format!("document.querySelector('#{button}').getAttribute('aria-disabled') === 'false' && !document.querySelector('#{button}').hidden"));
    browser.value(&format!("document.querySelector('#{button}').click()"));
    browser.until("document.querySelector('#ask').open");
    browser.value("document.querySelector('#ask-yes').click()");
    browser.until("!document.querySelector('#ask').open");
}

#[test]
fn a_simulated_fleet_is_shown_and_does_what_is_pressed() {
    let Some(mut browser) = Chromium::start() else {
        let why = "!!! SKIPPED a_simulated_fleet: no chromium is installed (Debian: apt-get install chromium)";
        return writeln!(std::io::stderr(), "{why}").expect("standard error takes a line");
    };
    let page = Page::open("60");
    browser.look((1280, 800), 1, "dark");
    browser.go(&page.1);
    browser.until("document.querySelector('#fleet').textContent.includes('60 of 60 agents connected')");
    browser.until("document.querySelector('#rollout-name').textContent.includes('v2')");
    press(&mut browser, "do-pause");
    browser.until(&format!("{STATE}.includes('paused')"));
    browser.until("document.querySelector('#history-list').textContent.includes('is paused')");
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-simulated.png");
    browser.picture(&picture);
    press(&mut browser, "do-resume");
    browser.until(&format!("{STATE}.includes('wave')"));
    press(&mut browser, "do-abort");
    browser.until(&format!("{STATE}.includes('halted') || {STATE}.includes('aborted')"));
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[test]
#[ignore = "half a minute of a processor; for people who look at its picture"]
fn two_thousand_are_shown_and_go_back() {
    let mut browser = Chromium::start().expect("chromium is installed");
    let page = Page::open("2000");
    browser.look((1280, 800), 1, "dark");
    browser.go(&page.1);
    browser.until("document.querySelector('#fleet').textContent.includes('2,000 of 2,000 agents connected')");
    browser.until("document.querySelector('#rollout-name').textContent.includes('v2')");
    browser.until(&format!("/wave [234]/.test({STATE})"));
    browser.picture(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-simulated-2000.png"));
    browser.until(&format!("{STATE}.includes('finished') || {STATE}.includes('confirmed')"));
    press(&mut browser, "do-rollback");
    browser.until("document.querySelector('#rollout-name').textContent.includes('v1')");
}
