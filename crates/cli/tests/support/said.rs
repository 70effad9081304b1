//! What most tests of commands need: the usual words of a deploy, and what came of it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use crate::lab::{Lab, Node};
use std::path::{Path, PathBuf};
use std::process::Output;

/// Where the application of these tests is live.
pub fn live(agent: &Node) -> PathBuf {
    agent.root.join("srv/app")
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Deploys, with more arguments.
pub fn deploy(lab: &Lab, source: &Path, more: &[&str]) -> Output {
    let words = ["deploy", &source.to_string_lossy(), "--to", "/srv/app"];
    lab.operator(&[&words[..], more].concat())
}

/// Asserts how a command ended and what it said.
#[track_caller]
pub fn expect(output: &Output, code: i32, said: &str) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    assert!(out.contains(said) || err.contains(said), "`{said}` was not said:\n{out}\n{err}");
}

/// The words of the usual deploy.
pub fn deploy_words(source: &Path) -> [&str; 4] {
    ["deploy", source.to_str().expect("a temporary directory has a plain name"), "--to", "/srv/app"]
}
