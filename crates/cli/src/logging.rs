//! The log, to standard error: nodes tell what happens, commands only what is odd.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts it. `TIDING_LOG` chooses what is told (`debug`, `node=trace`, ...).
pub(crate) fn start(a_node: bool) {
    let usual = if a_node { "info" } else { "error" };
    let filter = EnvFilter::try_from_env("TIDING_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // What cannot be written would be complained about by a macro that panics when it cannot write either: a node whose
        // log lies on a full disk must live.
        .log_internal_errors(false);
    // A second subscriber in one process is a test's business and no failure.
    let _second = log.try_init();
}
