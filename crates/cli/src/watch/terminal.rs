//! The terminal: painted in place, and left as it was, however it ends.
//!
//! The picture is on the alternate screen, so that what was there before is there again. Letters are not echoed meanwhile and come one by
//! one; Ctrl-C stays a signal, Ctrl-Z does nothing, because a shell would come back to a screen that is not its own.

use super::picture::{Ink, Line};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{IsTerminal, Write, stdin, stdout};
use tokio::io::AsyncReadExt;

/// The alternate screen, without a cursor, without lines that go on in the next one; and back.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A picture is shown when it is whole, where terminals know that.
const HOLD: &str = "\x1b[?2026h\x1b[H";
const SHOW: &str = "\x1b[J\x1b[?2026l";

/// A terminal that is being painted.
pub(crate) struct Terminal {
    before: Option<Termios>,
    colours: bool,
    /// What stands there.
    painted: String,
}

impl Terminal {
    /// The terminal, if standard output is one that can be painted.
    pub(crate) fn open() -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if !stdout().is_terminal() || is_dumb {
            return None;
        }
        let colours = std::env::var_os("NO_COLOR").is_none_or(|said| said.is_empty());
        let terminal = Self { before: quiet(), colours, painted: String::new() };
        write(BEGIN);
        Some(terminal)
    }

    /// Columns and lines.
    pub(crate) fn size(&self) -> (usize, usize) {
        let usual = (80, 24);
        tcgetwinsize(stdout()).map_or(usual, |size| match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => usual,
            (columns, rows) => (usize::from(columns), usize::from(rows)),
        })
    }

    /// Paints these lines, if they are not what stands there.
    pub(crate) fn paint(&mut self, lines: &[Line]) {
        let rows: Vec<String> = lines.iter().map(|line| inked(line, self.colours)).collect();
        // Each line is cleared to its end; the last one ends without a step down, which would scroll.
        let picture = format!("{HOLD}{}\x1b[K{SHOW}", rows.join("\x1b[K\r\n"));
        if picture != self.painted {
            write(&picture);
            self.painted = picture;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write(END);
        if let Some(before) = &self.before {
            // A terminal that is gone cannot be put back.
            tcsetattr(stdin(), OptionalActions::Now, before).ok();
        }
    }
}

/// Letters come one by one and unseen; what was before, if standard input is a terminal.
fn quiet() -> Option<Termios> {
    let before = tcgetattr(stdin()).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    // No key suspends.
    quiet.special_codes[SpecialCodeIndex::VSUSP] = 0;
    tcsetattr(stdin(), OptionalActions::Now, &quiet).ok()?;
    Some(before)
}

fn write(text: &str) {
    let mut out = stdout().lock();
    let _unheard = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Resolves when somebody presses `q`.
pub(crate) async fn enough() {
    let mut keys = [0; 16];
    while let Ok(read @ 1..) = tokio::io::stdin().read(&mut keys).await {
        if keys[..read].iter().any(|key| matches!(key, b'q' | b'Q')) {
            return;
        }
    }
    // Nobody can press anything.
    std::future::pending().await
}

fn inked(line: &Line, colours: bool) -> String {
    let part = |(ink, text): &(Ink, String)| match code(*ink).filter(|_| colours) {
        Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
        None => text.clone(),
    };
    line.parts().iter().map(part).collect()
}

fn code(ink: Ink) -> Option<&'static str> {
    match ink {
        Ink::Plain => None,
        Ink::Strong => Some("1"),
        Ink::Faint => Some("2"),
        Ink::Good => Some("32"),
        Ink::Busy => Some("36"),
        Ink::Warn => Some("33"),
        Ink::Bad => Some("1;31"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_is_only_text() {
        let line = Line::of(Ink::Bad, "failed").and(Ink::Plain, " 3");
        assert_eq!(inked(&line, false), "failed 3");
        assert_eq!(inked(&line, true), "\x1b[1;31mfailed\x1b[0m 3");
    }
}
