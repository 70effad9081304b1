//! The one application that is this program itself: what it is called, and the lines by which an agent looks at itself.
//!
//! A machine may say that commands of releases run as one user alone; these lines are no commands of a release's making: they run the program
//! that the agent is already, which speaks to its launcher and could not as anybody else.

/// The application that is this program itself.
pub const ITSELF: &str = "tiding";

/// What such a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// To have the launcher start what was switched to.
    Swap,
    /// To say whether that runs.
    Look,
}

impl Settle {
    /// The line: `$PPID` is the agent.
    pub fn line(self) -> String {
        let more = if self == Self::Look { " --look" } else { "" };
        format!("exec /proc/$PPID/exe settle --agent $PPID --software \"${{TIDING_PATH%/*}}\"{more}")
    }
}

/// Whether a line of an application is one of these, to the letter.
pub(crate) fn is_own(app: &str, line: &str) -> bool {
    app == ITSELF && [Settle::Swap, Settle::Look].iter().any(|settle| settle.line() == line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_counts_as_a_line_of_its_own() {
        assert!(is_own(ITSELF, &Settle::Swap.line()) && is_own(ITSELF, &Settle::Look.line()));
        assert!(!is_own("web", &Settle::Swap.line()));
        assert!(!is_own(ITSELF, &format!("{}; true", Settle::Swap.line())));
        assert!(!is_own(ITSELF, ""));
    }
}
