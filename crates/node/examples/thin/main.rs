//! Many real agents on one machine: `cargo run --release -p tiding-node --example thin -- [--agents N] [--each N] [--seconds S] [--page TIDING]`.
//!
//! An origin in a process of its own, and N agents by the hundred in others: real TLS, sockets on loopback, stores on a RAM disk.
//! They ask to join within S seconds, and meanwhile a release of 1 MiB is deployed to all. Prints what all of that took.
//! With `--page` and a program the deploy waits until all are there, and is watched: by that program's page in a real browser, and by its
//! `status --watch` on a terminal and in a pipe. `--pictures DIR` keeps two pictures of the page.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod agents;
#[path = "../../tests/support/chromium.rs"]
mod chromium;
mod eyes;
mod figures;
mod origin;
mod storm;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What went wrong, in words.
type Failure = Box<dyn Error + Send + Sync>;

/// The word after a flag.
fn after<'a>(words: &'a [String], flag: &str) -> Option<&'a String> {
    words.iter().skip_while(|word| *word != flag).nth(1)
}

/// The number after a flag.
fn number(words: &[String], flag: &str, otherwise: u64) -> u64 {
    after(words, flag).and_then(|word| word.parse().ok()).unwrap_or(otherwise)
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let text: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match text[..] {
        ["origin", dir, agents] => origin::run(Path::new(dir), agents).await,
        ["agents", dir, line, origin, first, count, start, seconds] => {
            agents::run(Path::new(dir), [line, origin], [first, count, start, seconds]).await
        }
        _ => {
            let plan = storm::Plan {
                agents: number(&words, "--agents", 2000) as usize,
                each: number(&words, "--each", 250).max(1) as usize,
                storm: Duration::from_secs(number(&words, "--seconds", 10).max(1)),
                patience: Duration::from_secs(number(&words, "--patience", 600)),
                sights: after(&words, "--page").map(|tiding| eyes::Sights {
                    tiding: tiding.into(),
                    pictures: after(&words, "--pictures").map(Into::into),
                }),
            };
            storm::run(&plan).await
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("failed: {failure}");
            ExitCode::FAILURE
        }
    }
}
