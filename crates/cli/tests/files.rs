//! Files as applications need them: what is left out of a tree.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::Lab;
use said::{deploy, expect, live};
use std::fs;

#[test]
fn what_tidingignore_names_stays_here_and_its_mistakes_are_named() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    fs::write(source.join("debug.log"), "x").expect("a file");
    fs::write(source.join(".tidingignore"), "*.log\n[a\n").expect("a file");
    let refused = deploy(&lab, &source, &[]);
    expect(&refused, 3, ".tidingignore: line 2, \"[a\": unclosed character class");
    assert!(!live(&agent).exists(), "nothing was sent");

    fs::write(source.join(".tidingignore"), "*.log\n/sub/empty/\n").expect("a file");
    expect(&deploy(&lab, &source, &["--dry-run"]), 0, "left out   2 entries by .tidingignore");
    expect(&deploy(&lab, &source, &[]), 0, "left out   2 entries by .tidingignore");
    let there = |name: &str| live(&agent).join(name).exists();
    assert_eq!(["large", "debug.log", ".tidingignore", "sub/empty"].map(there), [true, false, false, false]);

    expect(&deploy(&lab, &source, &["--no-ignore"]), 0, "confirmed");
    assert!(agent.shows(&source), "everything, the patterns too");
    fs::write(source.join(".tidingignore"), "*\n").expect("a file");
    expect(&deploy(&lab, &source, &[]), 3, "all that is in it is left out, by .tidingignore");
}
