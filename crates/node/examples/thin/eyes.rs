//! Those who look while a release comes: the page in a real browser, `tiding status --watch` on a terminal and in a pipe.
//!
//! What they see is held against what the agents say of themselves: all of them read the same clock.

use crate::Failure;
use crate::agents::clock;
use crate::chromium::Chromium;
use crate::figures::{Cost, shares};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, interval, interval_at};

/// How long all is left alone before anything is counted, so that nobody pays for a beginning.
const SETTLING: Duration = Duration::from_secs(3);

/// With what program is looked, and where pictures go.
#[derive(Clone)]
pub(crate) struct Sights {
    pub(crate) tiding: PathBuf,
    pub(crate) pictures: Option<PathBuf>,
}

/// Everyone who looks, and what each had cost before the deploy.
pub(crate) struct Eyes {
    page: Child,
    pipe: Child,
    terminal: Child,
    terminal_pid: u32,
    said: PathBuf,
    lines: JoinHandle<usize>,
    browser: JoinHandle<Glimpse>,
    browser_pid: u32,
    /// Of the page, the pipe, the terminal and the browser.
    before: [Cost; 4],
}

/// What a browser saw: when each node was confirmed there, how far its frames were apart, and how many frames of the feed came.
#[derive(Default)]
struct Glimpse {
    confirmed: BTreeMap<String, u64>,
    gaps: Vec<u64>,
    frames: u64,
    cost: Cost,
}

/// Begins to note what the page shows. It is told after the page's own parts have drawn.
const NOTE: &str = "import('/fleet.js').then(({ fleet }) => {
  const [seen, gaps] = [{}, []];
  Object.assign(window, { seen, gaps, told: 0 });
  fleet.addEventListener('changed', () => {
    window.told += 1;
    for (const node of fleet.agents()) {
      if (fleet.mark(node).is === 'confirmed') seen[node.who.name] ??= Date.now();
    }
  });
  let last = performance.now();
  const frame = (now) => { gaps.push(Math.round(now - last)); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  return true;
})";

impl Eyes {
    /// Opens them, and waits until all of them see every agent.
    pub(crate) async fn open(sights: &Sights, dir: &Path, agents: usize) -> Result<Self, Failure> {
        let operator = dir.join("operator");
        let tiding = |words: &[&str]| {
            let mut command = Command::new(&sights.tiding);
            command.args(words).arg("--operator-home").arg(&operator).stderr(Stdio::null()).kill_on_drop(true);
            command
        };
        let mut page = tiding(&["page", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = page.stdout.take().ok_or("the page says nothing")?;
        let link = BufReader::new(said).lines().next_line().await?.ok_or("the page has ended")?;
        let link = serde_json::from_str::<Value>(&link)?["link"].as_str().ok_or("no link")?.to_owned();
        let (tell, told) = tokio::sync::oneshot::channel();
        let sights = sights.clone();
        let browser = spawn_blocking(move || look(&sights, &link, agents, tell));
        let mut pipe = tiding(&["status", "--watch"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut words = BufReader::new(pipe.stdout.take().ok_or("it says nothing")?).lines();
        let lines = tokio::spawn(async move {
            let mut count = 0;
            while let Ok(Some(_)) = words.next_line().await {
                count += 1;
            }
            count
        });
        let (terminal, terminal_pid, said) = on_a_terminal(dir, tiding(&["status", "--watch"])).await?;
        let browser_pid = told.await?;
        interval_at(Instant::now() + SETTLING, SETTLING).tick().await;
        let mut eyes =
            Self { page, pipe, terminal, terminal_pid, said, lines, browser, browser_pid, before: Default::default() };
        std::fs::write(&eyes.said, "")?;
        eyes.before = eyes.costs();
        Ok(eyes)
    }

    fn costs(&self) -> [Cost; 4] {
        let of = |child: &Child| child.id().map(Cost::of).unwrap_or_default();
        [of(&self.page), of(&self.pipe), Cost::of(self.terminal_pid), Cost::of_all(self.browser_pid)]
    }

    /// Closes them when the browser has seen the end; says what was seen, how late, and what looking took.
    pub(crate) async fn tell(mut self, live: &BTreeMap<usize, u64>, begin: u64) -> Result<(), Failure> {
        let glimpse = (&mut self.browser).await?;
        let now = [&self.costs()[..3], &[glimpse.cost]].concat();
        let late: Vec<u64> = live
            .iter()
            .filter_map(|(number, &at)| {
                Some(glimpse.confirmed.get(&format!("agent-{number}"))?.saturating_sub(begin + at))
            })
            .collect();
        println!("the page shows {} confirmed, after they are: {}", late.len(), shares(late));
        println!("the browser's frames are apart: {}; the feed sent {} times", shares(glimpse.gaps), glimpse.frames);
        let names =
            ["tiding page", "status --watch in a pipe", "status --watch on a terminal", "the browser, all of it"];
        for ((name, now), before) in names.iter().zip(now).zip(self.before) {
            println!(
                "{name}: {:.2} s of CPU meanwhile, memory {} MiB (peak {})",
                now.cpu - before.cpu,
                now.memory,
                now.peak
            );
        }
        let painted = std::fs::read(&self.said)?;
        let pictures = painted.windows(8).filter(|window| window == b"\x1b[?2026h").count();
        println!("the terminal was painted {pictures} times, {} bytes", painted.len());
        for child in [&mut self.page, &mut self.pipe, &mut self.terminal] {
            child.kill().await?;
        }
        println!("the pipe had {} lines", self.lines.await?);
        Ok(())
    }
}

/// Has a command on a terminal of its own, whose output is written down. Gives the process that holds the terminal, the command's, and the file.
async fn on_a_terminal(dir: &Path, command: Command) -> Result<(Child, u32, PathBuf), Failure> {
    let (said, pid) = (dir.join("terminal"), dir.join("terminal.pid"));
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let line = format!("stty cols 120 rows 40; echo $$ > '{}'; exec {}", pid.display(), words.join(" "));
    let mut script = Command::new("script");
    script.args(["-q", "-f", "--append", "-c", &line]).arg(&said).env("TERM", "xterm-256color").kill_on_drop(true);
    let child = script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let (late, mut looks) = (clock() + 10_000, interval(Duration::from_millis(20)));
    while clock() < late {
        if let Some(pid) = std::fs::read_to_string(&pid).ok().and_then(|text| text.trim().parse().ok()) {
            return Ok((child, pid, said));
        }
        looks.tick().await;
    }
    Err("`script` starts nothing on a terminal".into())
}

/// Opens the page, says which process looks, and looks until all are confirmed.
fn look(sights: &Sights, link: &str, agents: usize, tell: tokio::sync::oneshot::Sender<u32>) -> Glimpse {
    let mut browser = Chromium::start().expect("chromium is installed");
    browser.look((1280, 800), 1, "dark");
    browser.go(link);
    let number = tiding_node::page::number(agents);
    browser.until(&format!(
        "document.querySelector('#fleet').textContent.includes('{number} of {number} agents connected')"
    ));
    browser.value(NOTE);
    let Ok(()) = tell.send(browser.pid()) else { return Glimpse::default() };
    let picture = |browser: &mut Chromium, name: &str| {
        sights.pictures.as_ref().map(|dir| browser.picture(&dir.join(format!("thin-{name}.png"))))
    };
    browser.until(&format!("Object.keys(window.seen).length * 3 >= {agents}"));
    picture(&mut browser, "midway");
    browser.until(&format!("Object.keys(window.seen).length >= {agents}"));
    picture(&mut browser, "end");
    let number = |value: &Value| value.as_f64().unwrap_or_default() as u64;
    let (seen, gaps) = (browser.value("window.seen"), browser.value("window.gaps"));
    Glimpse {
        confirmed: seen.as_object().into_iter().flatten().map(|(name, at)| (name.clone(), number(at))).collect(),
        gaps: gaps.as_array().into_iter().flatten().map(number).collect(),
        frames: number(&browser.value("window.told")),
        cost: Cost::of_all(browser.pid()),
    }
}
