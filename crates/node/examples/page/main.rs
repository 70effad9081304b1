//! The page with a fleet that was made up and lives: for whoever designs it, and to measure what its server takes.
//!
//! `cargo xtask page --nodes 5000`: prints a link, and every five seconds what the process took of a processor and of memory.
//! With `--unserved` that is what the made-up fleet itself costs, which is to be taken off.

#[path = "../../tests/support/made_up.rs"]
mod made_up;

use made_up::{MadeUp, Pretender, Stage};
use std::sync::Arc;
use std::time::Duration;
use tiding_node as node;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::time::{Instant, interval};

const HELP: &str = "cargo xtask page [--nodes 5000] [--moves 300] [--port 0]
  --nodes N   so many agents
  --moves N   so many of them change, ten times a second
  --port N    where the page listens on 127.0.0.1 [default: a free port]
  --unserved  the fleet lives, and nobody serves it";

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let (nodes, moves, port) =
        (flag(&words, "--nodes", 5000)?, flag(&words, "--moves", 300)?, flag(&words, "--port", 0)?);
    let stage = Stage::new(MadeUp::midway(nodes));
    let operator = Arc::new(Pretender(stage.clone()));
    let page = node::page::Page::open(port.try_into()?, stage.tell.subscribe(), operator).await?;
    let links = page.links();
    println!("{}\nPress Enter for another link.", links.make());
    let is_served = !words.iter().any(|word| word == "--unserved");
    let serving = async { if is_served { page.serve().await } else { std::future::pending().await } };
    tokio::select! {
        () = serving => {}
        () = live(&stage, moves) => {}
        () = measure() => {}
        () = more_links(&links) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

fn flag(words: &[String], name: &str, usual: usize) -> Result<usize, Failure> {
    let Some(at) = words.iter().position(|word| word == name) else { return Ok(usual) };
    Ok(words.get(at + 1).ok_or_else(|| format!("{name} wants a number\n{HELP}"))?.parse()?)
}

async fn live(stage: &Stage, moves: usize) {
    let mut tick = interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        stage.change(|fleet| fleet.step(moves));
    }
}

async fn more_links(links: &node::page::Links) {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        println!("{}", links.make());
    }
    // Nobody presses anything any more.
    std::future::pending().await
}

/// Says what this process takes.
async fn measure() {
    let mut tick = interval(Duration::from_secs(5));
    tick.tick().await;
    let (mut began, mut before) = (Instant::now(), used());
    loop {
        tick.tick().await;
        let (took, now) = (began.elapsed().as_secs_f64(), used());
        println!("{:.1} % of a processor, {} MiB resident", 100.0 * (now - before) / took, resident());
        (began, before) = (Instant::now(), now);
    }
}

/// Processor seconds of this process.
fn used() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<f64> = after.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
    // Clock ticks are hundredths of a second on every Linux that we know of.
    fields.get(11..13).map_or(0.0, |ticks| (ticks[0] + ticks[1]) / 100.0)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}
