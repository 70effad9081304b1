//! A machine that leaves: what goes, what stays, and what is refused.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::Lab;
use said::{deploy, expect, live, text};
use std::fs;

#[test]
fn an_agent_leaves_and_what_is_live_stays() {
    let lab = Lab::new();
    let mut agent = lab.agent("one");
    let source = lab.dir().join("source");
    lab::tree(&source, 100_000, 1);
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 1 of 1 node (epoch 1)");
    let home = lab.dir().join("one");
    let words = |more: &[&'static str]| -> Vec<String> {
        let home = ["uninstall", "--home", home.to_str().expect("a plain name")].map(str::to_owned);
        home.into_iter().chain(more.iter().map(|&word| word.to_owned())).collect()
    };
    let uninstall = |more: &[&'static str]| {
        let words = words(more);
        lab.operator_less(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let said = uninstall(&["--dry-run"]);
    expect(&said, 0, "stays: what is live");
    assert!(text(&said.stdout).contains(&format!("removes {}", home.join("identity").display())));
    expect(&uninstall(&[]), 3, "there is nobody to ask");
    assert!(agent.runs() && home.join("identity").is_dir(), "nothing was done so far");
    expect(&uninstall(&["--yes"]), 0, "uninstalled");
    assert!(agent.wait(), "it ended in order");
    assert!(!home.join("identity").exists() && !home.join("store").exists());
    assert!(live(&agent).is_dir() && agent.shows(&source), "what is live is live");
    expect(&uninstall(&["--yes"]), 2, "is no node's home");
}

#[test]
fn an_origin_does_not_leave_with_the_only_keys_unless_that_is_said_or_there_is_a_backup() {
    let lab = Lab::new();
    let other = Lab::new();
    let home = lab.dir().join("origin");
    let (home_word, file) = (home.to_str().expect("plain"), lab.dir().join("origin.tiding"));
    let file_word = file.to_str().expect("plain");
    let uninstall =
        |more: &[&str]| lab.operator_less(&[&["uninstall", "--yes", "--home", home_word][..], more].concat());
    expect(&uninstall(&[]), 3, "there and nowhere else");
    expect(&uninstall(&["--backed-up", file_word]), 1, "No such file");
    let others = other.dir().join("origin");
    let of_other = other.operator(&["backup", file_word, "--home", others.to_str().expect("plain")]);
    expect(&of_other, 0, "facts");
    expect(&uninstall(&["--backed-up", file_word]), 2, "is a backup of another origin");
    assert!(home.join("ca").is_dir() && home.join("store").is_dir(), "nothing was done so far");
    expect(&lab.operator(&["backup", file_word, "--home", home_word]), 0, "facts");
    expect(&uninstall(&["--backed-up", file_word]), 0, "uninstalled");
    assert!(!home.join("ca").exists() && lab.dir().join("operator/operator.key").is_file(), "operators' keys stay");
    fs::remove_dir_all(&home).expect("what else this test keeps there");
    expect(&lab.operator_less(&["restore", file_word, "--home", home_word]), 0, "`tiding up` starts it");
    expect(&uninstall(&["--including-keys"]), 0, "THE FLEET'S CA AND JOURNALS GO FOR GOOD");
    assert!(!home.join("ca").exists());
}
