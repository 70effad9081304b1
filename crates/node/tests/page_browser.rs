//! The page in a real browser: five thousand nodes, hostile names, the keyboard alone, light and dark, large and small.
//!
//! Pictures of it lie in the target directory's `tmp` afterwards, for people to look at.

use tiding_node as node;

#[path = "support/chromium.rs"]
mod chromium;
#[path = "support/made_up.rs"]
mod made_up;

use chromium::Chromium;
use content::directive::Verb;
use made_up::{MadeUp, Pretender, Stage};
use node::api::RolloutState;
use node::page::{Act, Links, Page, Trouble};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// A page that is served while this lives.
struct Served {
    stage: Arc<Stage>,
    links: Links,
    address: String,
    _runtime: Runtime,
}

fn serve(fleet: MadeUp) -> Served {
    let (runtime, stage) = (Runtime::new().expect("threads"), Stage::new(fleet));
    let operator = Arc::new(Pretender(stage.clone()));
    let page = runtime.block_on(Page::open(0, stage.tell.subscribe(), operator)).expect("a free port");
    let (links, address) = (page.links(), format!("http://{}/", page.address()));
    runtime.spawn(page.serve());
    Served { stage, links, address, _runtime: runtime }
}

/// A browser, or a loud word that there is none. What is written to standard error directly is shown of tests that pass, too.
fn browser(test: &str) -> Option<Chromium> {
    let browser = Chromium::start();
    if browser.is_none() {
        let why = "no chromium is installed (Debian: apt-get install chromium)";
        writeln!(std::io::stderr(), "!!! SKIPPED {test}: {why}").expect("standard error takes a line");
    }
    browser
}

const DESKTOP: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

fn open(browser: &mut Chromium, served: &Served) {
    browser.look(DESKTOP, 1, "dark");
    browser.go(&served.links.make());
    let shown = "document.querySelector('#legend b') && document.querySelector('#history-list li')";
    browser.until(&format!("document.body.dataset.fresh === 'fresh' && {shown}"));
}

/// Nothing went wrong, and nothing was asked of anybody else.
fn is_clean(browser: &Chromium, served: &Served) {
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    let elsewhere = |address: &&&str| !address.starts_with(&served.address) && !address.starts_with("data:");
    let elsewhere: Vec<_> = browser.asked_for().into_iter().filter(|address| elsewhere(&address)).collect();
    assert!(elsewhere.iter().all(|address| *address == "about:blank"), "{elsewhere:?}");
    assert!(browser.asked_for().len() > 8, "the page and its parts were asked for");
}

fn picture(browser: &mut Chromium, name: &str) {
    browser.picture(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png")));
}

#[test]
fn five_thousand_nodes_are_shown_and_nobody_else_is_asked() {
    let Some(mut browser) = browser("five_thousand_nodes_are_shown_and_nobody_else_is_asked") else { return };
    let served = serve(MadeUp::midway(5000));
    open(&mut browser, &served);
    browser.until("document.querySelector('#fleet').textContent.includes('of 5,000 agents connected')");
    for (scheme, size, name) in [
        ("dark", DESKTOP, "dark"),
        ("light", DESKTOP, "light"),
        ("light", PHONE, "phone-light"),
        ("dark", PHONE, "phone-dark"),
    ] {
        browser.look(size, if size == PHONE { 2 } else { 1 }, scheme);
        browser.until(&format!("document.documentElement.clientWidth === {}", size.0));
        picture(&mut browser, name);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert!(wide.as_u64() <= Some(size.0.into()), "{name}: nothing is wider than the window, but {wide}");
    }
    browser.look(DESKTOP, 1, "light");
    browser.value("document.querySelector('#as-table').click()");
    browser.until("document.querySelectorAll('#rows tr').length === 100");
    picture(&mut browser, "table");
    browser.value("document.querySelector('#as-flock').click()");
    browser.value("document.querySelector('#worst-list button').click()");
    browser.until("!document.querySelector('#node').hidden");
    picture(&mut browser, "node");
    browser.value("document.querySelector('#node-close').click(); document.querySelector('#do-rollback').click()");
    browser.until("document.querySelector('#ask').open");
    picture(&mut browser, "ask");
    is_clean(&browser, &served);
}

#[test]
fn few_nodes_are_large_and_carry_letters() {
    let Some(mut browser) = browser("few_nodes_are_large_and_carry_letters") else { return };
    let served = serve(MadeUp::midway(120));
    open(&mut browser, &served);
    browser.until("document.body.classList.contains('has-letters')");
    picture(&mut browser, "few-dark");
    is_clean(&browser, &served);
}

#[test]
fn h12_w4_hostile_names_are_text() {
    let Some(mut browser) = browser("h12_w4_hostile_names_are_text") else { return };
    let mut fleet = MadeUp::midway(40);
    let evil = "<img src=x onerror=\"document.title='owned'\">";
    fleet.status.origin_name = evil.into();
    fleet.web().version = "<script>document.title='owned'</script>".into();
    fleet.web().message = format!("{evil}\u{202e}");
    fleet.web().by = evil.into();
    fleet.web().state = RolloutState::Halted { why: evil.into() };
    for node in &mut fleet.status.nodes {
        node.name = format!("{evil}{}\u{1b}[2J", node.name);
        node.labels.insert("zone".into(), "<b>bold</b>".into());
        node.software = evil.into();
        for on in &mut node.apps {
            on.trouble = Some(format!("</li><svg onload=\"document.title='owned'\">{evil}"));
        }
    }
    let served = serve(fleet);
    open(&mut browser, &served);
    for words in ["#fleet", "#rollout-name", "#rollout-state", "#rollout-who", "#worst-list"] {
        browser.until(&format!("document.querySelector('{words}').textContent.match(/<(img|script)/)"));
    }
    browser.until("document.querySelector('#worst-list').textContent.includes('</li><svg onload')");
    browser.value("document.querySelector('#worst-list button').click()");
    browser.until("document.querySelector('#node-name').textContent.includes('\\\\u{1b}[2J')");
    browser.value("document.querySelector('#as-table').click()");
    browser.until("document.querySelector('#rows').textContent.includes('<img src=x')");
    let made = "document.querySelectorAll('img, svg, main script, #side b b').length";
    assert_eq!((browser.value("document.title"), browser.value(made)), (json!("tiding"), json!(0)));
    is_clean(&browser, &served);
}

#[test]
fn the_keyboard_is_enough() {
    let Some(mut browser) = browser("the_keyboard_is_enough") else { return };
    let served = serve(MadeUp::midway(120));
    open(&mut browser, &served);
    browser.tab_to("flock");
    for key in ["ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"] {
        browser.press(key, 0);
    }
    browser.until("document.querySelector('#said').textContent.match(/web-1, zone fra-a, rack r01/)");
    browser.press("Enter", 0);
    browser
        .until("document.querySelector('#node-name').textContent === 'web-1' && document.activeElement.id === 'node'");
    browser.press("Escape", 0);
    browser.until("document.querySelector('#node').hidden && document.activeElement.id === 'flock'");

    // Back to the top, where the buttons are, and pause.
    browser.value("document.activeElement.blur()");
    browser.tab_to("do-pause");
    browser.press("Enter", 0);
    browser.until("document.querySelector('#ask').open && document.activeElement.id === 'ask-message'");
    browser.press("Escape", 0);
    browser.until("!document.querySelector('#ask').open && document.activeElement.id === 'do-pause'");
    assert!(served.stage.deeds.lock().expect("nothing panics with it").is_empty(), "nothing was done");
    browser.press("Enter", 0);
    browser.until("document.querySelector('#ask-says').textContent.includes('Nobody else switches to 2.41.0')");
    browser.write("the error rate rises");
    browser.tab_to("ask-yes");
    browser.press("Enter", 0);
    browser.until("document.querySelector('#rollout-state').textContent.startsWith('paused at wave 3 of 4 by bob: the error rate rises')");
    browser.until("!document.querySelector('#ask').open");
    browser.until("document.querySelector('#said').textContent.includes('paused at wave 3 of 4')");
    {
        let deeds = served.stage.deeds.lock().expect("nothing panics with it");
        assert_eq!(
            (deeds.len(), &deeds[0].act, &*deeds[0].message),
            (1, &Act::Direct(Verb::Pause), "the error rate rises")
        );
    }
    browser.until("document.querySelector('#nots').textContent.includes('Promote: it is paused; resume it first')");
    browser.tab_to("do-promote");
    browser.press("Enter", 0);
    browser.until("document.querySelector('#said').textContent.includes('resume it first')");
    assert_eq!(browser.value("document.querySelector('#ask').open"), json!(false));
    is_clean(&browser, &served);
}

#[test]
fn what_an_origin_refuses_is_shown_where_it_was_pressed() {
    let Some(mut browser) = browser("what_an_origin_refuses_is_shown_where_it_was_pressed") else { return };
    let served = serve(MadeUp::midway(40));
    let (why, next) = (Some("no origin answers".to_owned()), Some("check that it runs".to_owned()));
    *served.stage.trouble.lock().expect("nothing panics with it") =
        Some(Trouble { what: "cannot abort web".into(), why, next });
    open(&mut browser, &served);
    browser.value("document.querySelector('#do-abort').click()");
    browser.value("document.querySelector('#ask-yes').click()");
    browser.until("document.querySelector('#ask-trouble').innerText.includes('Not done: cannot abort web')");
    let said = browser.value("document.querySelector('#ask-trouble').innerText");
    assert!(
        said.as_str().is_some_and(|said| said.contains("no origin answers") && said.contains("check that it runs"))
    );
    // A refusal is told by its status, which a browser writes down as a failed load.
    let others = browser.complaints().into_iter().filter(|of| !of.to_string().contains("409"));
    assert_eq!(others.count(), 0, "{:#?}", browser.complaints());
}

#[test]
fn what_is_old_is_never_shown_as_fresh() {
    let Some(mut browser) = browser("what_is_old_is_never_shown_as_fresh") else { return };
    let served = serve(MadeUp::midway(40));
    open(&mut browser, &served);
    served.stage.tell.send_modify(|seen| seen.lost = Some((Instant::now(), "connection refused".into())));
    browser.until("document.querySelector('#alarm').textContent.match(/No origin answers since .*connection refused/)");
    browser.until("document.querySelector('#do-pause').getAttribute('aria-disabled') === 'true'");
    picture(&mut browser, "lost");
    served.stage.change(|_| {});
    browser.until("document.body.dataset.fresh === 'fresh' && document.querySelector('#alarm').hidden");
    browser.until("document.querySelector('#do-pause').getAttribute('aria-disabled') === 'false'");
    // The server is gone, as after Ctrl-C.
    drop(served);
    browser.until("document.querySelector('#alarm').textContent.includes('tiding page does not answer since')");
    assert_eq!(browser.value("document.querySelector('#do-pause').getAttribute('aria-disabled')"), json!("true"));
}
