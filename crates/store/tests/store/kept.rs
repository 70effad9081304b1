//! What outlives releases: it is there with each of them, whatever is cut, collected or gone back to, and nobody is led elsewhere by it.

use crate::memory::{Bad, Crash, Dir, Memory, name};
use crate::world::{Published, app, deploy, list, new_disk, options, publish, publish_keeping, rich};
use content::kept::{KeptKind, KeptPath};
use engine::door::{Job, JobDone, JobError};
use std::sync::Arc;
use store::disk::{Disk, FileKind};
use store::hands::OneHand;
use store::import::{ImportError, Terms, import_by};
use store::{OpenError, Options, Store};

fn directory(path: &str) -> KeptPath {
    KeptPath { path: path.into(), kind: KeptKind::Directory { mode: 0o770, owner: Some((33, 34)) } }
}

fn file(path: &str) -> KeptPath {
    KeptPath { path: path.into(), kind: KeptKind::File }
}

/// As a node does that may give files to others.
fn open(disk: &Memory) -> Result<Store<Memory>, OpenError> {
    let (home, root) = (disk.dir("home"), disk.dir("root"));
    let options = Options { apply_owners: true, ..options() };
    Store::open(Arc::new(disk.clone()), home, root, "pid 1", options).map(|(store, _)| store)
}

fn opened(disk: &Memory) -> Store<Memory> {
    open(disk).expect("the store opens")
}

/// One directory below a directory that the tree has not, one beside others, and a file.
fn usual() -> [KeptPath; 3] {
    [directory("etc/local"), file("secrets/key"), directory("uploads")]
}

/// The same of little else: every call of its deploy is cut.
fn publish_little(version: &str, kept: &[KeptPath]) -> Published {
    let disk = Memory::new();
    disk.write_file(&disk.dir("tree/etc"), &name("version"), 0o644, version.as_bytes());
    publish_keeping(&disk, &disk.root(), ("/srv/app", version), kept)
}

fn publish_with(version: &str, seed: u64, kept: &[KeptPath]) -> Published {
    let disk = Memory::new();
    let tree = disk.dir("tree");
    rich(&disk, &tree, seed);
    publish_keeping(&disk, &disk.root(), ("/srv/app", version), kept)
}

fn beside(disk: &Memory, path: &str) -> Dir {
    disk.dir(&format!("root/srv/.app.tiding/{path}"))
}

fn write_kept(disk: &Memory) {
    disk.write_file(&beside(disk, "kept/uploads"), &name("cat.jpg"), 0o600, b"a cat");
}

/// The bytes that a program reads at `uploads/cat.jpg` of what is live, and what it reads of the links.
fn read_through(disk: &Memory) -> (Vec<u8>, Vec<Vec<u8>>) {
    let srv = disk.dir("root/srv");
    let target = String::from_utf8(disk.read_link(&srv, &name("app")).expect("it is live")).expect("ours");
    let at = |path: &str| disk.dir(&format!("root/srv/{target}{path}"));
    let link = |path: &str, last: &str| disk.read_link(&at(path), &name(last)).expect("a link");
    let links = vec![link("/etc", "local"), link("/secrets", "key"), link("", "uploads")];
    (disk.read_file(&beside(disk, "kept/uploads"), &name("cat.jpg")), links)
}

fn expected() -> (Vec<u8>, Vec<Vec<u8>>) {
    let links = [&b"../../kept/etc/local"[..], b"../../kept/secrets/key", b"../kept/uploads"];
    (b"a cat".to_vec(), links.map(<[u8]>::to_vec).to_vec())
}

fn verified(store: &mut Store<Memory>) -> u32 {
    match store.run(&Job::Verify { app: app() }) {
        Ok(JobDone::Verified { differing, .. }) => differing,
        other => panic!("{other:?}"),
    }
}

fn refusal(done: Result<impl std::fmt::Debug, JobError>) -> String {
    match done {
        Err(JobError::Refused { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_there_is_there_in_every_release_and_is_no_difference() {
    let disk = new_disk();
    let releases = [1, 2, 3, 4, 5].map(|seed| publish_with(&seed.to_string(), seed, &usual()));
    let mut store = opened(&disk);
    deploy(&mut store, &releases[0], 1).expect("a good day");
    let made = disk.metadata(&beside(&disk, "kept"), &name("uploads")).expect("it was made");
    assert_eq!((made.kind, made.mode, made.uid, made.gid), (FileKind::Directory, 0o770, 33, 34));
    assert_eq!(disk.list(&beside(&disk, "kept/secrets")).expect("the directory above a file"), []);
    write_kept(&disk);
    for (epoch, release) in (2..).zip(&releases[1..]) {
        deploy(&mut store, release, epoch).expect("a good day");
        assert_eq!((read_through(&disk), verified(&mut store)), (expected(), 0));
    }
    // Back, and everything collected that may be.
    store.run(&Job::Switch { app: app(), release: releases[3].id() }).expect("it is laid out");
    store.run(&Job::Confirm { app: app(), release: releases[3].id() }).expect("it is live");
    store.run(&Job::Collect { contents: Vec::new(), releases: Vec::new() }).expect("there is garbage");
    drop(store);
    let mut store = opened(&disk.crash(Crash::Keep));
    assert_eq!((read_through(&disk), verified(&mut store)), (expected(), 0));
    // Whoever puts a directory of the release's own there has changed the release.
    let release = disk.dir(&format!("root/srv/.app.tiding/{}", releases[3].id()));
    disk.remove_file(&release, &name("uploads")).expect("a link");
    assert_eq!(verified(&mut opened(&disk)), 1);
}

#[test]
fn a_mode_that_was_changed_there_is_left_as_it_is_and_what_was_removed_is_made_again() {
    let disk = new_disk();
    let [old, new] = [1, 2].map(|seed| publish_with(&seed.to_string(), seed, &usual()));
    let mut store = opened(&disk);
    deploy(&mut store, &old, 1).expect("a good day");
    disk.set_mode(&beside(&disk, "kept"), &name("uploads"), 0o700).expect("a test's disk");
    disk.remove_dir(&beside(&disk, "kept/etc"), &name("local")).expect("a test's disk");
    deploy(&mut store, &new, 2).expect("a good day");
    let mode = |at: &str, last: &str| disk.metadata(&beside(&disk, at), &name(last)).expect("it is there").mode;
    assert_eq!((mode("kept", "uploads"), mode("kept/etc", "local")), (0o700, 0o770));
    disk.remove_dir(&beside(&disk, "kept/etc"), &name("local")).expect("a test's disk");
    store.run(&Job::Switch { app: app(), release: old.id() }).expect("it is laid out");
    assert_eq!(mode("kept/etc", "local"), 0o770, "also for one that was laid out before");
}

#[test]
fn a2_a_power_cut_at_any_call_leaves_what_outlives_releases_alone_and_never_half_made() {
    let plain = publish_little("0", &[]);
    let first = publish_little("1", &usual());
    let more =
        publish_little("2", &[directory("data"), directory("etc/local"), file("secrets/key"), directory("uploads")]);
    let start = new_disk();
    deploy(&mut opened(&start), &plain, 1).expect("a good day");
    cut_everywhere(&start, &first, 2, |_| ());
    deploy(&mut opened(&start), &first, 2).expect("a good day");
    write_kept(&start);
    let start = start.crash(Crash::Keep);
    cut_everywhere(&start, &more, 3, |disk| {
        assert_eq!(disk.read_file(&beside(disk, "kept/uploads"), &name("cat.jpg")), b"a cat");
    });
}

/// Deploys `new`, cut at every call; after each cut what is live is whole, and the deploy can be repeated.
fn cut_everywhere(start: &Memory, new: &Published, epoch: u64, holds: impl Fn(&Memory)) {
    let mut made = [0, 0];
    for nth in 0.. {
        let disk = start.copy();
        disk.plan(nth, Bad::Cut);
        if let Ok(mut store) = open(&disk) {
            drop(deploy(&mut store, new, epoch));
        }
        let is_over = !disk.relieve();
        for crash in [Crash::Forget, Crash::Keep, Crash::Tear(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))] {
            let disk = disk.crash(crash);
            holds(&disk);
            let kept = &new.release().instructions.kept;
            let live = disk.read_link(&disk.dir("root/srv"), &name("app")).expect("something is live");
            let is_live = live.ends_with(new.id().to_string().as_bytes());
            made[usize::from(is_live)] += 1;
            let look = || kept.iter().for_each(|kept| check_made(&disk, kept));
            // Whatever is live has all that it needs, and what is there has its mode and owner.
            kept.iter().filter(|kept| is_live || is_made(&disk, kept)).for_each(|kept| check_made(&disk, kept));
            deploy(&mut opened(&disk), new, epoch).unwrap_or_else(|error| panic!("cut {nth}, {crash:?}: {error:?}"));
            look();
            let left = disk.list(&beside(&disk, "")).expect("a directory");
            assert!(!left.contains(&name("staging-kept")), "cut {nth}, {crash:?}");
        }
        if is_over {
            assert!(made[0] > 10 && made[1] > 10, "{made:?}");
            return;
        }
    }
}

/// Whether something stands at its place; nothing is made by looking.
fn is_made(disk: &Memory, kept: &KeptPath) -> bool {
    let names = kept.path.split(|&byte| byte == b'/').map(name);
    let side = disk.open_dir(&disk.dir("root/srv"), &name(".app.tiding"));
    let step = |at: Dir, part: store::disk::Name| disk.open_dir(&at, &part);
    side.and_then(|side| std::iter::once(name("kept")).chain(names).try_fold(side, step)).is_ok()
}

fn check_made(disk: &Memory, kept: &KeptPath) {
    let path = String::from_utf8(kept.path.clone()).expect("plain");
    let (at, last) = path.rsplit_once('/').unwrap_or(("", &path));
    let found = disk.metadata(&beside(disk, &format!("kept/{at}")), &name(last));
    match kept.kind {
        KeptKind::File => assert!(found.is_err()),
        KeptKind::Directory { mode, owner } => {
            let found = found.expect("it was made");
            assert_eq!((found.kind, found.mode), (FileKind::Directory, mode), "{path}");
            assert_eq!(Some((found.uid, found.gid)), owner, "{path}");
        }
    }
}

#[test]
fn f5_a_place_that_was_replaced_by_a_link_is_refused_and_what_it_leads_to_is_left_alone() {
    let [old, new] = [1, 2].map(|seed| publish_with(&seed.to_string(), seed, &usual()));
    for (at, last) in [("kept", "uploads"), ("kept", "etc"), ("", "kept"), ("kept/secrets", "key")] {
        let disk = new_disk();
        let mut store = opened(&disk);
        deploy(&mut store, &old, 1).expect("a good day");
        let outside = disk.dir("root/etc");
        disk.write_file(&outside, &name("passwd"), 0o644, b"root");
        let before = list(&disk, &disk.dir("root"), "etc");
        let aside = disk.dir("root/aside");
        if at == "kept/secrets" {
            disk.symlink(&beside(&disk, at), &name(last), b"/etc/passwd").expect("a test's disk");
        } else {
            disk.rename(&beside(&disk, at), &name(last), &aside, &name("old")).expect("a test's disk");
            disk.symlink(&beside(&disk, at), &name(last), b"/etc").expect("a test's disk");
        }
        let why = refusal(deploy(&mut store, &new, 2));
        let path = format!("/srv/.app.tiding/{at}/{last}").replace("//", "/");
        assert!(why.starts_with(&path), "{why}");
        // Also on the way back.
        assert!(refusal(store.run(&Job::Switch { app: app(), release: old.id() })).starts_with(&path));
        assert_eq!(list(&disk, &disk.dir("root"), "etc"), before, "{path}");
    }
}

#[test]
fn f14_a_directory_on_the_way_into_which_others_may_write_is_refused() {
    let [old, new] = [1, 2].map(|seed| publish_with(&seed.to_string(), seed, &usual()));
    let change: [fn(&Memory); 3] = [
        |disk| disk.set_mode(&beside(disk, ""), &name("kept"), 0o777).expect("a test's disk"),
        |disk| disk.set_mode(&beside(disk, "kept"), &name("etc"), 0o775).expect("a test's disk"),
        |disk| disk.set_owner(&beside(disk, "kept"), &name("etc"), 33, 33).expect("a test's disk"),
    ];
    for change in change {
        let disk = new_disk();
        let mut store = opened(&disk);
        deploy(&mut store, &old, 1).expect("a good day");
        change(&disk);
        let why = refusal(deploy(&mut store, &new, 2));
        assert!(why.contains("nobody else may write"), "{why}");
    }
}

#[test]
fn what_keeps_a_path_below_one_that_was_kept_before_does_not_go_into_what_belongs_to_a_service() {
    let [old, new] =
        [("1", directory("log")), ("2", directory("log/app"))].map(|(version, kept)| publish_with(version, 1, &[kept]));
    let disk = new_disk();
    let mut store = opened(&disk);
    deploy(&mut store, &old, 1).expect("a good day");
    let why = refusal(deploy(&mut store, &new, 2));
    assert!(why.contains("/srv/.app.tiding/kept/log is owned by user 33"), "{why}");
}

#[test]
fn a_release_whose_tree_has_no_link_to_what_it_keeps_is_refused() {
    let mut lying = publish("1", |disk, tree| rich(disk, tree, 1));
    let mut release = lying.release();
    release.instructions.kept = vec![directory("uploads")];
    lying.signed.payload = release.encode();
    let disk = new_disk();
    let why = refusal(deploy(&mut opened(&disk), &lying, 1));
    assert!(why.contains("no link to what outlives it at uploads"), "{why}");
    release.instructions.kept = vec![directory("../x")];
    lying.signed.payload = release.encode();
    assert!(refusal(deploy(&mut opened(&disk), &lying, 1)).contains("`..` component"));
    assert!(disk.list(&disk.dir("root/srv")).expect("a test's disk").is_empty());
}

fn refusals(kept: &[KeptPath], fill: impl FnOnce(&Memory, &Dir)) -> Result<u32, Vec<String>> {
    let disk = Memory::new();
    fill(&disk, &disk.dir("tree"));
    let terms = Terms { kept, ..Terms::default() };
    match import_by(&OneHand, &terms, Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {}) {
        Ok((found, _)) => Ok(found.entries),
        Err(ImportError::Refused(all)) => Err(all),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_a_tree_has_where_something_outlives_it_is_refused_unless_its_patterns_leave_it_out() {
    let kept = [directory("a/b/c"), directory("log"), directory("uploads")];
    let fill = |disk: &Memory, tree: &Dir| {
        disk.symlink(&disk.dir("tree/a"), &name("b"), b"/etc").expect("a test's disk");
        disk.write_file(tree, &name("log"), 0o644, b"");
        disk.write_file(&disk.dir("tree/uploads"), &name("cat.jpg"), 0o644, b"a cat");
    };
    let all = refusals(&kept, fill).expect_err("all three are there");
    let begins = ["a/b: is no directory, and something below", "log: is to outlive", "uploads: is to outlive"];
    assert!(all.len() == 3 && all.iter().zip(begins).all(|(found, begin)| found.starts_with(begin)), "{all:#?}");
    let left = refusals(&kept, |disk, tree| {
        fill(disk, tree);
        disk.write_file(tree, &name(".tidingignore"), 0o644, b"/a/b\n/log\n/uploads/\n");
    });
    assert_eq!(left, Ok(6), "the root, a, a/b, a/b/c, log, uploads");
    assert_eq!(refusals(&kept, |_, _| {}), Ok(6), "an empty tree has them as well");
    let tree_of_one = import_by(
        &OneHand,
        &Terms { kept: &kept, ..Terms::default() },
        Arc::new(one_file()),
        one_file().root(),
        &name("tree"),
        &mut |_| {},
    );
    assert!(tree_of_one.is_err(), "a file has no paths");
}

fn one_file() -> Memory {
    let disk = Memory::new();
    disk.write_file(&disk.root(), &name("tree"), 0o644, b"x");
    disk
}
