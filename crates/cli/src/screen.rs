//! Progress on standard error: one line that changes on a terminal, a plain line now and then elsewhere.

use crate::speak;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// How often a plain line may say how far something is.
const PLAIN: Duration = Duration::from_secs(2);

/// Where progress is shown.
pub(crate) struct Screen {
    bar: Option<ProgressBar>,
    said: Instant,
    last: String,
}

impl Screen {
    /// The terminal, if there is one.
    pub(crate) fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, said: Instant::now(), last: String::new() }
    }

    /// Says how far something is; the next call replaces it.
    pub(crate) fn update(&mut self, line: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(line);
        } else if self.said.elapsed() >= PLAIN && self.last != line {
            speak::note(&line);
            self.said = Instant::now();
            self.last = line;
        }
    }

    /// Says something that stays.
    pub(crate) fn keep(&mut self, line: impl std::fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| speak::note(line)),
            None => speak::note(line),
        }
        self.said = Instant::now();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
