//! A table of what the pretend disk promises, a line each.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).expect("a plain name")
}

fn disk(seed: u64) -> (Platter, SimDisk, SimDir) {
    let platter = Platter::new(seed, 1 << 20, false);
    let (disk, root) = platter.boot();
    (platter, disk, root)
}

/// In how many of 64 seeds `holds` is true after the power went.
fn surviving(prepare: impl Fn(&SimDisk, &SimDir), holds: impl Fn(&Platter) -> bool) -> u32 {
    (0..64)
        .map(|seed| {
            let (platter, disk, root) = disk(seed);
            prepare(&disk, &root);
            platter.power_off();
            u32::from(holds(&platter))
        })
        .sum()
}

fn put(disk: &SimDisk, at: &SimDir, called: &str, bytes: &[u8]) -> SimFile {
    let file = disk.create(at, &name(called), 0o644).expect("created");
    disk.write_at(&file, bytes, 0).expect("written");
    file
}

fn holds(platter: &Platter, path: &str, bytes: &[u8]) -> bool {
    matches!(platter.look(path.as_bytes()), Some(Seen::File(_, found, _)) if found == bytes)
}

#[test]
fn unsynced_bytes_may_go_and_synced_ones_stay() {
    let unsynced = surviving(
        |disk, root| {
            put(disk, root, "f", &[7; 8192]);
            disk.sync_dir(root).expect("synced");
        },
        |platter| holds(platter, "f", &[7; 8192]),
    );
    assert!((1..64).contains(&unsynced), "{unsynced} of 64");
    let synced = surviving(
        |disk, root| {
            let file = put(disk, root, "f", &[7; 8192]);
            disk.sync(&file).and_then(|()| disk.sync_dir(root)).expect("synced");
        },
        |platter| holds(platter, "f", &[7; 8192]),
    );
    assert_eq!(synced, 64);
}

#[test]
fn unsynced_names_may_go_each_on_its_own() {
    let prepare = |disk: &SimDisk, root: &SimDir| {
        for called in ["a", "b"] {
            disk.sync(&put(disk, root, called, b"x")).expect("synced");
        }
    };
    let one = surviving(prepare, |platter| platter.look(b"a").is_some() != platter.look(b"b").is_some());
    let both = surviving(prepare, |platter| platter.look(b"a").is_some() && platter.look(b"b").is_some());
    assert!(one > 4 && both > 8, "{one} and {both} of 64");
}

#[test]
fn a_rename_is_kept_or_forgotten_as_a_whole() {
    let prepare = |disk: &SimDisk, root: &SimDir| {
        for called in ["new", "old"] {
            disk.sync(&put(disk, root, called, called.as_bytes())).expect("synced");
        }
        disk.sync_dir(root).expect("synced");
        disk.rename(root, &name("new"), root, &name("old")).expect("renamed");
    };
    let kept = surviving(prepare, |platter| holds(platter, "old", b"new") && platter.look(b"new").is_none());
    let forgotten = surviving(prepare, |platter| holds(platter, "old", b"old") && holds(platter, "new", b"new"));
    assert_eq!(kept + forgotten, 64);
    assert!(kept > 8 && forgotten > 8, "{kept} and {forgotten} of 64");
}

#[test]
fn a_sync_of_the_target_directory_keeps_a_rename_and_sync_all_keeps_everything() {
    let across = |all: bool| {
        surviving(
            |disk, root| {
                disk.create_dir(root, &name("to"), 0o755).expect("created");
                disk.sync_dir(root).expect("synced");
                let to = disk.open_dir(root, &name("to")).expect("opened");
                let file = put(disk, root, "f", b"x");
                disk.rename(root, &name("f"), &to, &name("g")).expect("renamed");
                match all {
                    true => disk.sync_all(root).expect("synced"),
                    false => disk.sync(&file).and_then(|()| disk.sync_dir(&to)).expect("synced"),
                }
            },
            |platter| holds(platter, "to/g", b"x") && platter.look(b"f").is_none(),
        )
    };
    assert_eq!((across(true), across(false)), (64, 64));
}

#[test]
fn a_removal_and_a_mode_may_be_forgotten() {
    let removed = surviving(
        |disk, root| {
            disk.sync(&put(disk, root, "f", b"x")).and_then(|()| disk.sync_dir(root)).expect("synced");
            disk.remove_file(root, &name("f")).expect("removed");
        },
        |platter| platter.look(b"f").is_none(),
    );
    assert!((1..64).contains(&removed), "{removed} of 64");
    let mode = surviving(
        |disk, root| {
            disk.sync(&put(disk, root, "f", b"x")).and_then(|()| disk.sync_dir(root)).expect("synced");
            disk.set_mode(root, &name("f"), 0o600).expect("set");
        },
        |platter| matches!(platter.look(b"f"), Some(Seen::File(0o600, ..))),
    );
    assert_eq!(mode, 0);
}

#[test]
fn after_a_failed_sync_a_later_one_proves_nothing() {
    let lucky = (0..64).filter(|seed| {
        let (platter, disk, root) = disk(*seed);
        let file = put(&disk, &root, "f", &[5; 4096]);
        disk.sync_dir(&root).expect("synced");
        platter.fail_syncs(1);
        assert_eq!(disk.sync(&file).expect_err("fails once").raw_os_error(), Some(EIO));
        disk.sync(&file).expect("is believed clean");
        platter.power_off();
        holds(&platter, "f", &[5; 4096])
    });
    assert!(lucky.count() < 8);
}

#[test]
fn a_full_disk_refuses_and_serves_what_it_has() {
    let (platter, disk, root) = disk(1);
    let file = put(&disk, &root, "f", &[1; 4096]);
    platter.set_free(0);
    let refused = disk.write_at(&file, &[1; 4096], 4096).expect_err("no room");
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    disk.write_at(&file, &[2; 4096], 0).expect("takes no more room");
    assert_eq!(platter.struck().full, 1);
    disk.remove_file(&root, &name("f")).expect("removed");
    put(&disk, &root, "g", &[1; 4096]);
}

#[test]
fn the_power_goes_in_the_nth_call_and_no_later_call_succeeds() {
    let (platter, disk, root) = disk(3);
    platter.crash_after(3);
    let file = put(&disk, &root, "f", b"x");
    assert!(disk.sync(&file).is_err() && disk.list(&root).is_err() && !platter.is_on());
    let (again, root_again) = platter.boot();
    assert!(again.list(&root_again).is_ok());
    assert!(disk.list(&root).is_err() && again.list(&root).is_err() && disk.read_at(&file, &mut [0], 0).is_err());
}

#[test]
fn a_lock_ends_with_its_handle_and_with_its_incarnation() {
    let (platter, disk, root) = disk(1);
    let (first, second) = (put(&disk, &root, "lock", b""), disk.open(&root, &name("lock")).expect("opened"));
    disk.sync_all(&root).expect("synced");
    disk.lock(&first).expect("free");
    assert_eq!(disk.lock(&second).expect_err("taken").kind(), io::ErrorKind::WouldBlock);
    drop(first);
    disk.lock(&second).expect("free again");
    let (disk, root) = platter.boot();
    let third = disk.open(&root, &name("lock")).expect("opened");
    disk.lock(&third).expect("free after a crash");
}

#[test]
fn symlinks_are_never_followed() {
    let (_platter, disk, root) = disk(1);
    disk.symlink(&root, &name("s"), b"f").expect("made");
    assert_eq!(disk.open(&root, &name("s")).expect_err("refused").raw_os_error(), Some(ELOOP));
    assert_eq!(disk.open_dir(&root, &name("s")).expect_err("refused").raw_os_error(), Some(ELOOP));
    assert_eq!(disk.read_link(&root, &name("s")).expect("read"), b"f");
    assert_eq!(disk.metadata(&root, &name("s")).expect("seen").kind, FileKind::Symlink);
}

#[test]
fn rot_flips_one_bit_and_stays_over_a_crash() {
    let (platter, disk, root) = disk(1);
    disk.sync(&put(&disk, &root, "f", &[0; 4096])).and_then(|()| disk.sync_dir(&root)).expect("synced");
    assert_eq!(platter.rot(|path| path == b"f"), Some(b"f".to_vec()));
    platter.power_off();
    let Some(Seen::File(_, bytes, _)) = platter.look(b"f") else { panic!("the file is gone") };
    assert_eq!(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
}

#[test]
fn hard_links_share_bytes_and_links_are_counted() {
    let (_platter, disk, root) = disk(1);
    let file = put(&disk, &root, "a", b"x");
    disk.link(&root, &name("a"), &root, &name("b")).expect("linked");
    disk.write_at(&file, b"y", 0).expect("written");
    assert_eq!(disk.metadata(&root, &name("b")).expect("seen").links, 2);
    disk.remove_file(&root, &name("a")).expect("removed");
    let mut byte = [0];
    disk.read_at(&disk.open(&root, &name("b")).expect("opened"), &mut byte, 0).expect("read");
    assert_eq!((&byte, disk.metadata(&root, &name("b")).expect("seen").links), (b"y", 1));
}

#[test]
fn reflinks_share_whole_pages_where_the_disk_has_them() {
    let platter = Platter::new(1, 1 << 20, true);
    let (disk, root) = platter.boot();
    let (from, to) = (put(&disk, &root, "a", &[9; 5000]), put(&disk, &root, "b", b""));
    assert!(disk.share_range(&from, 1, &to, 0, 4096).is_err());
    disk.share_range(&from, 0, &to, 0, 5000).expect("shared");
    disk.write_at(&from, &[1; 10], 0).expect("written");
    assert!(holds(&platter, "b", &[9; 5000]));
}
