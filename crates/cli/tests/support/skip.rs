//! A test that cannot be run here says so where everybody sees it.

#![allow(unreachable_pub, reason = "each test file uses its part of it")]

use std::io::Write;

/// Says that a test, or a part of it, was not run, and why. The test harness keeps what the printing macros say of tests
/// that pass to itself; what is written to standard error directly it does not.
pub fn skipped(test: &str, why: &str) {
    writeln!(std::io::stderr(), "!!! SKIPPED {test}: {why}").expect("standard error takes a line");
}
