//! Releases that come to nodes as patches of what they run, with the real binary.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::Lab;
use said::{deploy, expect, live, text};
use std::fs;
use std::path::{Path, PathBuf};

/// A tree with one file of so many bytes that no packer makes smaller, of which one in some thousand is another in each version.
fn program(lab: &Lab, version: u8) -> PathBuf {
    let dir = lab.dir().join(format!("v{version}"));
    fs::create_dir(&dir).expect("a new directory");
    let mut state = 7_u64;
    let mut bytes: Vec<u8> = (0..1_500_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    bytes.iter_mut().step_by(9_973).for_each(|byte| *byte = byte.wrapping_add(version));
    fs::write(dir.join("program"), bytes).expect("a file can be written");
    dir
}

fn is_live(agents: &[lab::Node], source: &Path) -> bool {
    agents.iter().all(|agent| lab::same(source, &live(agent)))
}

#[test]
fn a_release_comes_as_a_patch_where_one_is_wished_for_and_the_deploy_says_what_that_saved() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let versions = [1, 2, 3, 4].map(|version| program(&lab, version));
    expect(&deploy(&lab, &versions[0], &["--version", "one"]), 0, "one is confirmed on 2 of 2 nodes");
    let patched = deploy(&lab, &versions[1], &["--version", "two", "--effort", "best"]);
    expect(&patched, 0, "two is confirmed on 2 of 2 nodes");
    expect(&patched, 0, "patch from one, 2 nodes: ");
    assert!(is_live(&agents, &versions[1]));
    let status = lab.operator(&["status"]);
    expect(&status, 0, "patch from one, 2 nodes: ");
    // On loopback nothing is as fast as the bytes themselves, and whoever wants none gets none.
    for (source, words, why) in
        [(&versions[2], ["--version", "three"].as_slice(), "whole"), (&versions[3], &["--effort", "none"], "whole")]
    {
        let whole = deploy(&lab, source, words);
        expect(&whole, 0, "on 2 of 2 nodes");
        assert!(
            text(&whole.stdout).contains(why) && !text(&whole.stdout).contains("patch from"),
            "{}",
            text(&whole.stdout)
        );
        assert!(is_live(&agents, source));
    }
}

#[test]
fn what_leaves_this_machine_is_a_patch_when_what_was_deployed_before_is_named() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let versions = [1, 2].map(|version| program(&lab, version));
    let base = |at: &Path| ["--base".to_owned(), at.display().to_string()];
    expect(&deploy(&lab, &versions[0], &["--version", "one"]), 0, "one is confirmed on 2 of 2 nodes");
    let nowhere = base(&lab.dir().join("nowhere"));
    let refused = deploy(&lab, &versions[1], &nowhere.each_ref().map(String::as_str));
    expect(&refused, 1, "nowhere");
    let brought = deploy(&lab, &versions[1], &base(&versions[0]).each_ref().map(String::as_str));
    expect(&brought, 0, "is confirmed on 2 of 2 nodes");
    let said = text(&brought.stderr);
    let sent = |what: &str| said.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{said}"));
    assert!(sent("patch ").contains(" kB, for an origin that has its base"), "{said}");
    assert!(sent("sent ").ends_with(" kB"), "of 1.5 MB: {said}");
    assert!(is_live(&agents, &versions[1]));
    let same = deploy(&lab, &versions[1], &base(&versions[1]).each_ref().map(String::as_str));
    expect(&same, 0, "patch      none");
}
