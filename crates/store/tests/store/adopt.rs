//! Taking the place of a directory that stood at a path, and giving it back: cut at every call, there is always all of one of the two, and
//! what outlives releases is behind it.

use crate::memory::{Bad, Crash, Dir, Memory, name};
use crate::world::{Published, app, deploy, new_disk, open, opened, publish_as};
use content::kept::{KeptKind, KeptPath};
use content::release::Instructions;
use engine::door::{Job, JobDone, JobError};
use std::collections::VecDeque;
use store::disk::{Disk, FileKind};

/// Two that the directory has, and one that it has not.
fn kept() -> Vec<KeptPath> {
    let of = |path: &str, kind| KeptPath { path: path.into(), kind };
    let directory = KeptKind::Directory { mode: 0o750, owner: None };
    vec![of("etc/local", directory), of("secrets/key", KeptKind::File), of("uploads", directory)]
}

fn publish_with(version: &str, kept: Vec<KeptPath>, adopts: bool) -> Published {
    let disk = Memory::new();
    disk.write_file(&disk.dir("tree/etc"), &name("version"), 0o644, version.as_bytes());
    let instructions = Instructions { kept, adopts, ..Instructions::plain(b"/srv/app", 0, 2) };
    publish_as(&disk, &disk.root(), version, instructions)
}

fn adopting(version: &str) -> Published {
    publish_with(version, kept(), true)
}

/// A node on which a program lives at the path, with what it has written.
fn before_us() -> Memory {
    let disk = new_disk();
    for (dir, file, text) in [("", "program", "a program"), ("/uploads", "cat", "a cat"), ("/secrets", "key", "secret")]
    {
        disk.write_file(&disk.dir(&format!("root/srv/app{dir}")), &name(file), 0o640, text.as_bytes());
    }
    disk.crash(Crash::Keep)
}

/// What a program reads at a path below `/srv`, links followed.
fn read(disk: &Memory, path: &str) -> Option<String> {
    let mut left: VecDeque<String> = path.split('/').map(str::to_owned).collect();
    let (mut at, mut links) = (vec![disk.dir("root"), disk.dir("root/srv")], 0);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let dir = at.last().expect("nothing leads that far up");
        match disk.metadata(dir, &name(&part)).ok()?.kind {
            FileKind::Directory => at.push(disk.open_dir(dir, &name(&part)).ok()?),
            FileKind::Symlink if links < 40 => {
                links += 1;
                let target = String::from_utf8(disk.read_link(dir, &name(&part)).ok()?).expect("ours");
                target.split('/').rev().for_each(|part| left.push_front(part.to_owned()));
            }
            FileKind::File if left.is_empty() => return String::from_utf8(disk.read_file(dir, &name(&part))).ok(),
            _ => return None,
        }
    }
    None
}

fn kind(disk: &Memory, at: &str, last: &str) -> Option<FileKind> {
    disk.metadata(&disk.dir(at), &name(last)).ok().map(|meta| meta.kind)
}

/// Whether a release is live; all of one of the two must be, with what outlives releases.
fn is_live(disk: &Memory, version: &str, when: &str) -> bool {
    let text = |path: &str| read(disk, &format!("app/{path}"));
    assert_eq!(text("uploads/cat").as_deref(), Some("a cat"), "{when}");
    assert_eq!(text("secrets/key").as_deref(), Some("secret"), "{when}");
    match kind(disk, "root/srv", "app").unwrap_or_else(|| panic!("{when}: nothing stands at the path")) {
        FileKind::Directory => {
            assert_eq!((text("program").as_deref(), text("etc/version")), (Some("a program"), None), "{when}");
            false
        }
        _ => {
            assert_eq!((text("etc/version").as_deref(), text("program")), (Some(version), None), "{when}");
            true
        }
    }
}

/// That an adoption is over: the data are where they outlive releases, the directory has links to them, and nothing else is left.
fn check_adopted(disk: &Memory, by: &Published, when: &str) {
    let side = "root/srv/.app.tiding";
    assert!(is_live(disk, &by.release().version, when), "{when}");
    let adopted = format!("adopted-{}", by.id());
    for (at, last, expected) in [
        (format!("{side}/kept"), "uploads", FileKind::Directory),
        (format!("{side}/kept/secrets"), "key", FileKind::File),
        (format!("{side}/kept/etc"), "local", FileKind::Directory),
        (format!("{side}/{adopted}"), "uploads", FileKind::Symlink),
        (format!("{side}/{adopted}/secrets"), "key", FileKind::Symlink),
    ] {
        assert_eq!(kind(disk, &at, last), Some(expected), "{when}: {at}/{last}");
    }
    let of_adopted = |path: &str| read(disk, &format!(".app.tiding/{adopted}/{path}"));
    assert_eq!(of_adopted("program").as_deref(), Some("a program"), "{when}");
    assert_eq!(of_adopted("uploads/cat").as_deref(), Some("a cat"), "{when}");
    assert_eq!(kind(disk, side, "next"), None, "{when}");
}

/// That all is as before: no link of ours in the directory, none where things are kept.
fn check_put_back(disk: &Memory, by: &Published, when: &str) {
    assert!(!is_live(disk, &by.release().version, when), "{when}");
    assert_eq!(kind(disk, "root/srv/app", "uploads"), Some(FileKind::Directory), "{when}");
    assert_eq!(kind(disk, "root/srv/app/secrets", "key"), Some(FileKind::File), "{when}");
    let side = "root/srv/.app.tiding";
    assert_eq!(kind(disk, side, &format!("adopted-{}", by.id())), None, "{when}");
    assert_eq!(
        (kind(disk, &format!("{side}/kept"), "uploads"), kind(disk, &format!("{side}/kept/secrets"), "key")),
        (None, None),
        "{when}"
    );
}

fn restore(disk: &Memory, of: &Published) -> Result<JobDone, JobError> {
    opened(disk).run(&Job::Restore { app: app(), release: of.id() })
}

fn crashes(nth: u64) -> [Crash; 3] {
    [Crash::Forget, Crash::Keep, Crash::Tear(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))]
}

#[test]
fn a2_a_power_cut_at_any_call_of_an_adoption_leaves_all_of_the_directory_or_all_of_the_release() {
    let (start, new) = (before_us(), adopting("1"));
    let mut lives = [0, 0];
    for nth in 0.. {
        let disk = start.copy();
        disk.plan(nth, Bad::Cut);
        if let Ok((mut store, _)) = open(&disk) {
            drop(deploy(&mut store, &new, 1));
        }
        let is_over = !disk.relieve();
        for crash in crashes(nth) {
            let (disk, when) = (disk.crash(crash), format!("cut {nth}, {crash:?}"));
            lives[usize::from(is_live(&disk, "1", &when))] += 1;
            // One who changes his mind finds all as it was; one who goes on, what he wanted.
            let back = disk.copy();
            let (mut store, recovered) = open(&disk).expect(&when);
            assert_eq!(store.notes(), [""; 0], "{when}");
            deploy(&mut store, &new, 1).unwrap_or_else(|error| panic!("{when}: {error:?}"));
            drop(store);
            check_adopted(&disk, &new, &when);
            if recovered.apps.first().is_some_and(|app| app.live.is_some()) {
                assert_eq!(restore(&back, &new), Ok(JobDone::Restored), "{when}");
                check_put_back(&back, &new, &when);
            }
        }
        if is_over {
            break;
        }
    }
    assert!(lives[0] > 50 && lives[1] > 50, "{lives:?}");
}

#[test]
fn a2_a_power_cut_at_any_call_of_the_way_back_leaves_all_of_one_of_them_too() {
    let (start, new) = (before_us(), adopting("1"));
    deploy(&mut opened(&start), &new, 1).expect("a good day");
    let start = start.crash(Crash::Keep);
    let mut lives = [0, 0];
    for nth in 0.. {
        let disk = start.copy();
        disk.plan(nth, Bad::Cut);
        if let Ok((mut store, _)) = open(&disk) {
            drop(store.run(&Job::Restore { app: app(), release: new.id() }));
        }
        let is_over = !disk.relieve();
        for crash in crashes(nth) {
            let (disk, when) = (disk.crash(crash), format!("cut {nth}, {crash:?}"));
            let was_live = is_live(&disk, "1", &when);
            lives[usize::from(was_live)] += 1;
            let (mut store, recovered) = open(&disk).expect(&when);
            assert_eq!(store.notes(), [""; 0], "{when}");
            let expected = was_live.then_some(new.id());
            assert_eq!((recovered.apps[0].live, recovered.apps[0].confirmed), (expected, expected), "{when}");
            let again = disk.copy();
            if was_live {
                assert_eq!(store.run(&Job::Restore { app: app(), release: new.id() }), Ok(JobDone::Restored), "{when}");
                drop(store);
                check_put_back(&disk, &new, &when);
            }
            // The same release may be ordered again at any time.
            deploy(&mut opened(&again), &new, 2).unwrap_or_else(|error| panic!("{when}: {error:?}"));
            check_adopted(&again, &new, &when);
        }
        if is_over {
            break;
        }
    }
    assert!(lives[0] > 3 && lives[1] > 10, "{lives:?}");
}

#[test]
fn a_call_that_fails_once_is_made_good_by_the_next_try() {
    let (start, new) = (before_us(), adopting("1"));
    for nth in 0.. {
        let (disk, when) = (start.copy(), format!("call {nth} failed"));
        disk.plan(nth, Bad::Error(5));
        let mut store = open(&disk).ok().map(|(store, _)| store);
        store.iter_mut().for_each(|store| drop(deploy(store, &new, 1)));
        // From here on the calls are the test's own.
        let has_failed = disk.relieve();
        is_live(&disk, "1", &when);
        if let Some(mut store) = store {
            deploy(&mut store, &new, 1).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        }
        deploy(&mut opened(&disk), &new, 1).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        check_adopted(&disk, &new, &when);
        if !has_failed {
            return;
        }
    }
}

#[test]
fn later_releases_and_collections_leave_what_was_adopted_alone() {
    let (disk, new) = (before_us(), adopting("1"));
    let mut store = opened(&disk);
    deploy(&mut store, &new, 1).expect("a good day");
    for (epoch, version) in (2..).zip(["2", "3", "4"]) {
        deploy(&mut store, &publish_with(version, kept(), epoch == 3), epoch).expect("a good day");
    }
    store.run(&Job::Collect { contents: Vec::new(), releases: Vec::new() }).expect("there is garbage");
    drop(store);
    let disk = disk.crash(Crash::Keep);
    drop(opened(&disk));
    let adopted = format!(".app.tiding/adopted-{}", new.id());
    assert_eq!(read(&disk, &format!("{adopted}/program")).as_deref(), Some("a program"));
    assert!(is_live(&disk, "4", "after a restart"));
    assert!(matches!(restore(&disk, &new), Err(JobError::Refused { .. })), "what is live took no directory's place");
}

#[test]
fn what_took_nobodys_place_is_not_put_back_and_what_was_put_back_is_nothing_to_verify() {
    let (disk, new) = (new_disk(), adopting("1"));
    deploy(&mut opened(&disk), &new, 1).expect("there was nothing");
    assert!(matches!(restore(&disk, &new), Err(JobError::Refused { .. })));
    let disk = before_us();
    deploy(&mut opened(&disk), &new, 1).expect("a good day");
    assert_eq!(restore(&disk, &new), Ok(JobDone::Restored));
    check_put_back(&disk, &new, "put back");
    let why = refusal(opened(&disk).run(&Job::Verify { app: app() }));
    assert!(why.contains("the directory that stood there before"), "{why}");
}

#[test]
fn what_takes_a_labelled_directorys_place_has_its_label_on_everything() {
    const LABEL: &[u8] = b"security.selinux";
    let (disk, new, label) = (before_us(), adopting("1"), b"system_u:object_r:httpd_sys_content_t:s0\0");
    disk.set_attribute(&disk.dir("root/srv"), &name("app"), LABEL, label).expect("a test's disk");
    deploy(&mut opened(&disk), &new, 1).expect("a good day");
    let (side, release) = ("root/srv/.app.tiding", new.id().to_string());
    for (at, last) in [
        ("".to_owned(), release.as_str()),
        (release.clone(), "etc"),
        (format!("{release}/etc"), "version"),
        ("kept/etc".to_owned(), "local"),
    ] {
        let found = disk.attribute(&disk.dir(&format!("{side}/{at}")), &name(last), LABEL).expect("it is there");
        assert_eq!(found.as_deref(), Some(&label[..]), "{at}/{last}");
    }
    let plain = new_disk();
    deploy(&mut opened(&plain), &new, 1).expect("a good day");
    let found = plain.attribute(&plain.dir(side), &name(release), LABEL).expect("it is there");
    assert_eq!(found, None, "where there is none, none is made up");
}

fn refusal(done: Result<impl std::fmt::Debug, JobError>) -> String {
    match done {
        Err(JobError::Refused { why }) => why,
        other => panic!("{other:?}"),
    }
}

/// Why a directory is not adopted after something was done to it; nothing of it is moved.
fn refused(new: &Published, change: impl FnOnce(&Memory, &Dir)) -> String {
    let disk = before_us();
    change(&disk, &disk.dir("root/srv"));
    let why = refusal(deploy(&mut opened(&disk), new, 1));
    assert_eq!(read(&disk, "app/program").as_deref(), Some("a program"), "{why}");
    why
}

#[test]
fn f14_what_others_may_write_into_what_is_mounted_and_what_is_no_directory_is_not_adopted() {
    let new = adopting("1");
    let app_dir = |disk: &Memory| disk.dir("root/srv/app");
    let why = refused(&publish_with("1", kept(), false), |_, _| {});
    assert!(why.contains("deploy again with --adopt") && why.contains("mv /srv/app /srv/app.before"), "{why}");
    let why = refused(&new, |disk, srv| disk.set_mode(srv, &name("app"), 0o777).expect("a test's disk"));
    assert!(why.contains("may be written by everyone (mode 777, owner 7)"), "{why}");
    let why = refused(&new, |disk, srv| {
        disk.set_owner(srv, &name("app"), 1000, 1000).expect("a test's disk");
        disk.set_mode(&disk.dir("root"), &name("srv"), 0o1777).expect("a test's disk");
    });
    assert!(why.contains("belongs to user 1000"), "{why}");
    let why = refused(&new, |disk, srv| disk.mount(srv, &name("app")));
    assert!(why.contains("/srv/app is on another file system"), "{why}");
    let why = refused(&new, |disk, _| {
        disk.dir("root/srv/app/a/b");
        disk.mount(&disk.dir("root/srv/app/a"), &name("b"));
    });
    assert!(why.contains("/srv/app/a/b is on another file system"), "{why}");
    let why = refused(&new, |disk, _| {
        disk.rename(&app_dir(disk), &name("uploads"), &app_dir(disk), &name("u")).expect("a test's disk");
        disk.symlink(&app_dir(disk), &name("uploads"), b"/mnt/uploads").expect("a test's disk");
    });
    assert!(why.contains("/srv/app/uploads is to outlive releases, and is a symbolic link"), "{why}");
    let why = refused(&new, |disk, _| {
        disk.rename(&app_dir(disk), &name("secrets"), &app_dir(disk), &name("s")).expect("a test's disk");
        disk.symlink(&app_dir(disk), &name("secrets"), b"/etc").expect("a test's disk");
    });
    assert!(why.contains("secrets/key is to outlive releases, and what leads to it"), "{why}");
    let why = refused(&new, |disk, _| {
        disk.dir("root/srv/.app.tiding/kept/uploads");
    });
    assert!(why.contains("/srv/.app.tiding/kept/uploads is there already"), "{why}");
    for what in ["file", "link"] {
        let disk = new_disk();
        match what {
            "file" => disk.write_file(&disk.dir("root/srv"), &name("app"), 0o644, b"x"),
            _ => disk.symlink(&disk.dir("root/srv"), &name("app"), b"elsewhere").expect("a test's disk"),
        }
        let why = refusal(deploy(&mut opened(&disk), &new, 1));
        assert!(why.contains("will not replace what it did not make"), "{why}");
    }
}
