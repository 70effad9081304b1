//! Saying things: results to standard output, everything else to standard error. Nobody listening is no failure.

use crate::failure::Failure;
use node::escape::escape_lines;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};

/// A line of the result.
pub(crate) fn result(line: impl Display) {
    let mut out = stdout().lock();
    let _unheard = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A value of the result, as one line of JSON.
pub(crate) fn json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => result(line),
        Err(error) => note(format!("error: the result cannot be written as JSON: {error}")),
    }
}

/// A line beside the result.
pub(crate) fn note(line: impl Display) {
    let _unheard = writeln!(stderr().lock(), "{line}");
}

/// A line that should not be overlooked.
pub(crate) fn warning(line: impl Display) {
    note(format!("{} {line}", painted("warning:", YELLOW)));
}

/// What failed, why and what next.
pub(crate) fn failure(failure: &Failure) {
    note(format!("{} {}", painted("error:", RED), escape_lines(&failure.what)));
    for (head, text) in [("why", &failure.why), ("next", &failure.next)] {
        if let Some(text) = text {
            note(format!("  {head}: {}", escape_lines(text).replace('\n', "\n       ")));
        }
    }
}

const RED: u8 = 31;
const YELLOW: u8 = 33;

fn painted(text: &str, colour: u8) -> String {
    match stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[1;{colour}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}
