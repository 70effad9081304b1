//! Saying things: results to standard output, everything else to standard error. Nobody listening is no failure.

use crate::failure::Failure;
use node::escape::{escape_lines, is_steering};
use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};

/// A line of the result.
pub(crate) fn result(line: impl Display) {
    let mut out = stdout().lock();
    let _unheard = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line of a result that goes on and on: whether anybody may still hear it.
pub(crate) fn heard(line: impl Display) -> bool {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// A value of the result, as one line of JSON.
pub(crate) fn json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => result(unsteered(&line)),
        Err(error) => note(format!("error: the result cannot be written as JSON: {error}")),
    }
}

/// JSON that says the same, without a character that steers a terminal: all such stand in strings, where they may be written as numbers.
fn unsteered(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        match is_steering(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| line.push_str(&format!("\\u{unit:04x}"))),
            false => line.push(c),
        }
    }
    line
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f19_json_steers_no_terminal_and_says_the_same() {
        let evil = "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}\n\"ä";
        let line = unsteered(&serde_json::to_string(evil).expect("a string"));
        assert!(!line.chars().any(is_steering), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), evil);
    }
}
