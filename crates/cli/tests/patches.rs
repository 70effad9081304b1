//! Patches between two files, made and applied by the program as it is, without any fleet.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn tiding(words: &[&Path]) -> Output {
    let binary = std::env::var_os("TIDING_TESTED").unwrap_or_else(|| env!("CARGO_BIN_EXE_tiding").into());
    Command::new(binary).args(words).output().expect("the binary runs")
}

#[track_caller]
fn expect(output: &Output, code: i32, said: &str) {
    let all = [&output.stdout[..], &output.stderr].concat();
    let all = String::from_utf8_lossy(&all);
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(all.contains(said), "`{said}` was not said:\n{all}");
}

fn generated(len: u32, seed: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_add(seed).wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

#[test]
fn a_patch_makes_the_new_file_of_the_old_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (old, new, patch, made) = (path("old"), path("new"), path("patch"), path("made"));
    let bytes = generated(100_000, 1);
    fs::write(&old, &bytes).expect("a file");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(&new, [&bytes[..60_000], b"more", &bytes[60_000..]].concat()).expect("a file");
    let word = Path::new;
    for effort in ["--effort=best", "--effort=fast"] {
        expect(&tiding(&[word("diff"), &old, &new, word("-o"), &patch, word(effort)]), 0, "instead of 100 kB");
        assert!(fs::metadata(&patch).expect("a patch").len() < 1000);
        expect(&tiding(&[word("patch"), &old, &patch, word("-o"), &made]), 0, "100 kB");
        assert_eq!(fs::read(&made).expect("it was made"), fs::read(&new).expect("a file"));
        assert_eq!(fs::metadata(&made).expect("it was made").permissions().mode() & 0o111, 0o111 & !umask());
    }
    expect(&tiding(&[word("patch"), &new, &patch, word("-o"), &made]), 2, "the file that the patch was made against");
    expect(&tiding(&[word("patch"), &old, &new, word("-o"), &made]), 2, "it does not begin like a patch");
    let few = [word("patch"), &old, &patch, word("-o"), &path("few"), word("--at-most=99999")];
    expect(&tiding(&few), 2, "`--at-most BYTES` allows more");
    assert!(!path("few").exists(), "what fails leaves nothing");
    expect(&tiding(&[word("diff"), directory.path(), &new, word("-o"), &patch]), 2, "is a directory");
    expect(&tiding(&[word("diff"), &path("none"), &new, word("-o"), &patch]), 1, "cannot be read");
    expect(&tiding(&[word("diff"), &old, &new]), 2, "--output");
}

#[test]
fn a_patch_keeps_to_the_memory_that_it_is_given_and_leaves_nothing_beside_the_new_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (old, new, patch, made) = (path("old"), path("new"), path("patch"), path("made"));
    let bytes = generated(3_000_000, 1);
    fs::write(&old, &bytes).expect("a file");
    fs::write(&new, [&bytes[..60_000], b"more", &bytes[60_000..]].concat()).expect("a file");
    let word = Path::new;
    for effort in ["--effort=best", "--effort=fast"] {
        expect(&tiding(&[word("diff"), &old, &new, word("-o"), &patch, word(effort)]), 0, "instead of 3.0 MB");
        for memory in [&["--memory=64MiB"][..], &[]] {
            let words = [word("patch"), &old, &patch, word("-o"), &made];
            let words: Vec<&Path> = words.into_iter().chain(memory.iter().map(Path::new)).collect();
            expect(&tiding(&words), 0, "3.0 MB");
            assert_eq!(fs::read(&made).expect("it was made"), fs::read(&new).expect("a file"));
            fs::remove_file(&made).expect("it was there");
        }
    }
    expect(&tiding(&[word("diff"), &old, &new, word("-o"), &patch, word("--effort=best")]), 0, "instead of 3.0 MB");
    let scant = [word("patch"), &old, &patch, word("-o"), &made, word("--memory=1kB")];
    expect(&tiding(&scant), 2, "`--memory SIZE` allows more");
    let unclear = [word("patch"), &old, &patch, word("-o"), &made, word("--memory=64M")];
    expect(&tiding(&unclear), 2, "write bytes as 64MiB");
    let nowhere = [word("patch"), &old, &patch, word("-o"), &path("no/such/made"), word("--memory=64MiB")];
    expect(&tiding(&nowhere), 1, "there is no room for");
    let names = fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(names, 3, "old, new and the patch");
}

#[test]
fn what_is_no_file_is_not_replaced_by_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (old, patch, link) = (path("old"), path("patch"), path("link"));
    fs::write(&old, generated(1000, 1)).expect("a file");
    // As /dev/stdout is, and what root would put away: a name in a directory that may be written.
    std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
    let word = Path::new;
    for out in [&link, &path(".")] {
        expect(&tiding(&[word("diff"), &old, &old, word("-o"), out]), 2, "is no file");
    }
    assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
    expect(&tiding(&[word("diff"), &old, &old, word("-o"), &patch]), 0, "instead of");
    expect(&tiding(&[word("patch"), &old, &patch, word("-o"), &link]), 2, "is no file");
    assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
}

/// What the process's mask takes away from executables.
fn umask() -> u32 {
    let probe = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o777)).tempfile().expect("a file");
    0o777 & !probe.as_file().metadata().expect("its mode").permissions().mode()
}
