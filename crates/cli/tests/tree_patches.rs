//! Patches between two directories, made and applied by the program as it is, without any fleet.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
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

fn put(path: PathBuf, bytes: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Two trees: with what was kept, changed, renamed, copied, added and removed, links of both kinds, empty files, and a name that is no text.
fn trees(at: &Path) -> (PathBuf, PathBuf) {
    let (old, new) = (at.join("old"), at.join("new"));
    let (kept, changed, large) = (generated(9000, 1), generated(50_000, 2), generated(3_000_000, 3));
    put(old.join("kept"), &kept, 0o644);
    put(old.join("bin/app"), &changed, 0o755);
    put(old.join("lib/lib-abc1.dat"), &generated(40_000, 5), 0o600);
    put(old.join("lib/large"), &large, 0o644);
    put(old.join("gone"), b"gone", 0o644);
    put(new.join("kept"), &kept, 0o444);
    put(new.join("bin/app"), &[&changed[..20_000], b"more", &changed[20_000..]].concat(), 0o755);
    put(new.join("lib/lib-def2.dat"), &[&generated(40_000, 5)[..], b"end"].concat(), 0o600);
    put(new.join("lib/large renamed"), &large, 0o644);
    put(new.join("another/kept"), &kept, 0o644);
    put(new.join("empty"), b"", 0o644);
    put(new.join("fresh"), b"something else\n", 0o640);
    put(new.join(".tidingignore"), b"fresh\n", 0o644);
    symlink("../nowhere", new.join("bin/link")).expect("a link");
    fs::hard_link(new.join("bin/app"), new.join("bin/app too")).expect("a link");
    fs::set_permissions(new.join("another"), fs::Permissions::from_mode(0o555)).expect("a mode");
    (old, new)
}

/// All that a manifest knows of a tree: path, mode, link or bytes, and whether a file has several names.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>, bool)> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let mut bytes = Vec::new();
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        } else if meta.is_symlink() {
            bytes = fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes();
        } else {
            bytes = fs::read(&path).expect("a file");
        }
        let inside = path.strip_prefix(root).expect("it is inside").to_owned();
        all.insert(inside, (meta.mode(), bytes, meta.is_file() && meta.nlink() > 1));
    }
    all
}

/// Nothing is beside what a test made itself.
#[track_caller]
fn nothing_else(at: &Path, names: &[&str]) {
    let mut there: Vec<_> =
        fs::read_dir(at).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect();
    there.sort();
    assert_eq!(there, names);
}

#[test]
fn a_patch_makes_the_new_directory_of_the_old_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (old, new) = trees(directory.path());
    let (patch, made) = (path("patch"), path("made"));
    let word = Path::new;
    for effort in ["--effort=best", "--effort=fast"] {
        let said = "instead of 3.1 MB; files: 1 unchanged, 2 renamed or copied, 1 changed, 4 new";
        expect(&tiding(&[word("diff"), &old, &new, word("-o"), &patch, word(effort)]), 0, said);
        let len = fs::metadata(&patch).expect("a patch").len();
        assert!(len < 1500, "{len}");
        let before = snapshot(&old);
        expect(
            &tiding(&[word("patch"), &old, &patch, word("-o"), &made]),
            0,
            "1 unchanged, 2 renamed or copied, 1 changed, 4 new",
        );
        assert_eq!(snapshot(&made), snapshot(&new));
        assert_eq!(snapshot(&old), before);
        nothing_else(directory.path(), &["made", "new", "old", "patch"]);
        expect(&tiding(&[word("patch"), &old, &patch, word("-o"), &made]), 2, "it is there already");
        let again = path("patch again");
        expect(&tiding(&[word("diff"), &old, &new, word("-o"), &again, word(effort)]), 0, "instead of");
        assert_eq!(
            fs::read(&again).expect("a patch"),
            fs::read(&patch).expect("a patch"),
            "equal trees, equal patches"
        );
        fs::remove_file(again).expect("it was there");
        fs::set_permissions(made.join("another"), fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::remove_dir_all(&made).expect("it was there");
    }
}

#[test]
fn c11_what_is_not_as_the_patch_says_makes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (old, new) = trees(directory.path());
    let (patch, made) = (path("patch"), path("made"));
    let word = Path::new;
    expect(&tiding(&[word("diff"), &old, &new, word("-o"), &patch]), 0, "instead of");
    let apply = |from: &Path, patch: &Path| tiding(&[word("patch"), from, patch, word("-o"), &made]);
    expect(&apply(&new, &patch), 2, "the patch is for the tree");
    expect(&apply(&path("none"), &patch), 1, "none: No such file");
    expect(&apply(&patch, &patch), 2, "it is one file, and no directory");
    expect(
        &tiding(&[word("patch"), &old, &patch, word("-o"), &made, word("--at-most=3000000")]),
        2,
        "`--at-most BYTES` allows more",
    );
    fs::set_permissions(old.join("gone"), fs::Permissions::from_mode(0o600)).expect("a mode");
    expect(&apply(&old, &patch), 2, "the directory that the patch was made against");
    fs::set_permissions(old.join("gone"), fs::Permissions::from_mode(0o644)).expect("a mode");
    // Whatever byte is damaged, there is the right tree or none.
    let whole = fs::read(&patch).expect("a patch");
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(path("damaged"), &damaged).expect("a file");
        let output = apply(&old, &path("damaged"));
        assert!(matches!(output.status.code(), Some(1 | 2)), "byte {at}: {output:?}");
        nothing_else(directory.path(), &["damaged", "new", "old", "patch"]);
    }
    fs::write(path("damaged"), &whole[..whole.len() - 1]).expect("a file");
    expect(&apply(&old, &path("damaged")), 2, "came whole");
    expect(&apply(&old, &patch), 0, "unchanged");
}

#[test]
fn what_no_release_can_have_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let (old, new) = trees(directory.path());
    let patch = directory.path().join("patch");
    let word = Path::new;
    let diff = |new: &Path| tiding(&[word("diff"), &old, new, word("-o"), &patch]);
    expect(&diff(&new.join("fresh")), 2, "is a directory, and patches are between two files or two directories");
    expect(&diff(&directory.path().join("none")), 2, "is a directory, and patches are between");
    let _socket = std::os::unix::net::UnixListener::bind(new.join("control")).expect("a socket");
    expect(&diff(&new), 1, "control");
    assert!(!patch.exists());
}
