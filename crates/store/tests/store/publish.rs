//! Publishing: what is refused, what is noticed, and that what is read is what was there.

use crate::memory::{Bad, Dir, Memory, name};
use crate::world::*;
use content::PieceNo;
use std::sync::Arc;
use store::disk::Disk;
use store::hands::OneHand;
use store::import::{Found, ImportError, Patterns, Terms, import, import_by};
use store::{PieceSource, ReadError};

fn publish_tree(fill: impl FnOnce(&Memory, &Dir)) -> (Memory, Result<(), ImportError>) {
    let disk = Memory::new();
    fill(&disk, &disk.dir("tree"));
    let result = import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {}).map(drop);
    (disk, result)
}

fn refusals(fill: impl FnOnce(&Memory, &Dir)) -> Vec<String> {
    match publish_tree(fill).1 {
        Err(ImportError::Refused(all)) => all,
        other => panic!("{other:?}"),
    }
}

#[test]
fn f1_f6_f7_everything_that_may_not_be_published_is_named_at_once() {
    let all = refusals(|disk, tree| {
        disk.write_file(tree, &name("back\\slash"), 0o644, b"");
        disk.write_other(tree, &name("disk"), "block device");
        disk.write_other(tree, &name("pipe"), "fifo");
        disk.write_other(tree, &name("talk"), "socket");
        disk.write_file(tree, &name("su"), 0o4755, b"");
        disk.write_file(tree, &name("sg"), 0o2755, b"");
        disk.create_dir(tree, &name("tmp"), 0o1777).expect("a test's disk");
        disk.write_file(tree, &name("able\x1b[2J"), 0o755, b"");
        disk.name_attribute(tree, &name("able\x1b[2J"), b"security.capability");
        disk.write_file(tree, &name("shared"), 0o755, b"");
        disk.name_attribute(tree, &name("shared"), b"system.posix_acl_access");
        disk.write_file(tree, &name("fine"), 0o755, b"fine");
    });
    let begins = [
        "able\\u{1b}[2J: has the attribute security.capability",
        "back\\\\slash: it contains a backslash",
        "disk: is a block device",
        "pipe: is a fifo",
        "sg: is setgid (mode 2755)",
        "shared: has the attribute system.posix_acl_access",
        "su: is setuid (mode 4755)",
        "talk: is a socket",
        "tmp: is sticky (mode 1777)",
    ];
    assert_eq!(all.len(), begins.len(), "{all:#?}");
    assert!(all.iter().zip(begins).all(|(found, begin)| found.starts_with(begin)), "{all:#?}");
}

#[test]
fn a_path_that_is_too_long_is_refused() {
    let all = refusals(|disk, tree| {
        let mut at = tree.clone();
        for _ in 0..20 {
            disk.create_dir(&at, &name([b'd'; 250]), 0o755).expect("a test's disk");
            at = disk.open_dir(&at, &name([b'd'; 250])).expect("a test's disk");
        }
    });
    assert!(all.iter().all(|why| why.ends_with("it is too long or too deep")), "{all:?}");
}

/// Whoever runs this: a disk in memory denies root, too.
#[test]
fn a_file_or_directory_that_cannot_be_read_is_named_and_nothing_is_published() {
    let new = || {
        let disk = Memory::new();
        let tree = disk.dir("tree");
        disk.write_file(&tree, &name("a"), 0o644, &noise(1, 1000));
        disk.create_dir(&tree, &name("b"), 0o755).expect("a test's disk");
        disk.write_file(&disk.dir("tree/b"), &name("c"), 0o644, &noise(2, 1000));
        disk.take_log();
        disk
    };
    let read = |disk: &Memory| import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {}).map(drop);
    let trial = new();
    read(&trial).expect("a good tree");
    let calls = trial.take_log();
    let opened = |call: &&(usize, &String)| call.1 == "open";
    let nths: Vec<usize> = calls.iter().enumerate().filter(|call| opened(&call)).map(|(nth, _)| nth).collect();
    assert!(nths.len() >= 2, "{calls:?}");
    for (nth, path) in nths.into_iter().zip(["a", "b/c"]) {
        let disk = new();
        disk.plan(nth as u64, Bad::Error(13));
        match read(&disk) {
            Err(ImportError::Refused(all)) => assert_eq!(all, [format!("{path}: cannot be read: permission denied")]),
            other => panic!("{path}: {other:?}"),
        }
        assert!(disk.relieve(), "nothing was denied");
        read(&disk).expect("a good tree, now that it can be read");
    }
}

#[test]
fn other_attributes_are_noted_once_each() {
    let disk = Memory::new();
    let tree = disk.dir("tree");
    for file in ["a", "b"] {
        disk.write_file(&tree, &name(file), 0o644, b"bytes");
        disk.name_attribute(&tree, &name(file), b"user.mime");
    }
    let (found, _) = import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {}).expect("a good tree");
    assert_eq!(found.notes, ["the attribute user.mime is not carried (2 entries, the first is a)"]);
}

#[test]
fn a_symlink_is_not_published_in_the_place_of_what_it_points_to() {
    let disk = Memory::new();
    disk.symlink(&disk.root(), &name("tree"), b".tree.tiding/1").expect("a test's disk");
    match import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {}).map(drop) {
        Err(ImportError::Refused(all)) => assert!(all[0].starts_with("tree: is a symbolic link to .tree.tiding/1")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tree_that_changes_while_it_is_read_is_not_published() {
    type Change = fn(&Memory, &Dir);
    let changes: [(&str, Change); 4] = [
        ("a", |disk, tree| disk.rot(tree, &name("a"), |bytes| bytes.push(0))),
        ("a", |disk, tree| {
            let file = disk.open_write(tree, &name("a")).expect("a test's disk");
            disk.write_at(&file, b"x", 0).expect("a test's disk");
        }),
        (".", |disk, tree| disk.write_file(tree, &name("new"), 0o644, b"")),
        (".", |disk, tree| disk.remove_file(tree, &name("b")).expect("a test's disk")),
    ];
    for (changed, change) in changes {
        let disk = Memory::new();
        let tree = disk.dir("tree");
        disk.write_file(&tree, &name("a"), 0o644, &noise(1, 100_000));
        disk.write_file(&tree, &name("b"), 0o644, &noise(2, 100_000));
        let mut done = false;
        // The change comes when both files were begun: `a` was read and is not looked at until the end.
        let mut progress = |bytes| {
            if bytes > 100_000 && !std::mem::replace(&mut done, true) {
                change(&disk, &tree);
            }
        };
        match import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut progress).map(drop) {
            Err(ImportError::Changed(path)) => assert!(path == changed || path == "b", "{path}"),
            other => panic!("{changed}: {other:?}"),
        }
        assert!(done);
    }
}

#[test]
fn what_changes_after_it_was_published_is_not_served() {
    let disk = Memory::new();
    let tree = disk.dir("tree");
    disk.write_file(&tree, &name("large"), 0o644, &noise(1, 100_000));
    disk.write_file(&tree, &name("small"), 0o644, &noise(2, 1000));
    let (found, source) = import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {}).expect("a good tree");
    disk.rot(&tree, &name("small"), |bytes| bytes[10] ^= 1);
    let spec = found.content;
    let read = |nth| source.read(spec.id(), PieceNo(nth));
    let damaged: Vec<_> = (0..spec.total()).filter(|nth| read(*nth) == Err(ReadError::Damaged)).collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!(read(spec.total()), Err(ReadError::Missing));
}

#[test]
fn holes_are_skipped_and_cut_as_if_they_had_been_read() {
    let tree = |reads: bool| {
        let disk = Memory::new();
        let tree = disk.dir("tree");
        let file = disk.create(&tree, &name("sparse"), 0o644).expect("a test's disk");
        disk.write_at(&file, &noise(1, 100_001), 0).expect("a test's disk");
        disk.write_at(&file, &noise(2, 70_000), 9_000_123).expect("a test's disk");
        disk.set_len(&file, 20_000_000).expect("a test's disk");
        disk.set_holes(!reads);
        let mut read = 0;
        let (found, _) =
            import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |bytes| read = bytes).expect("a good tree");
        (found.content, read)
    };
    let ((slow, all), (fast, some)) = (tree(true), tree(false));
    assert_eq!(slow, fast);
    assert_eq!(all, 20_000_000);
    assert!(some < 4_000_000, "{some} bytes were read of 170,001 that are not zeros");
}

#[test]
fn what_is_published_does_not_depend_on_where_or_when() {
    let [one, two] = [1, 2].map(|_| publish("1", |disk, tree| rich(disk, tree, 1)));
    assert_eq!(one.found.content, two.found.content);
    let later = publish("1", |disk, tree| {
        rich(disk, tree, 1);
        disk.set_mtime(tree, &name("nothing"), 77, 7).expect("a test's disk");
    });
    assert_eq!(one.found.content, later.found.content, "a fresh checkout is not a new content");
    assert_ne!(one.found.attributes, later.found.attributes);
}

fn found(disk: &Memory, patterns: Patterns) -> Result<Found, ImportError> {
    let terms = Terms { patterns, ..Terms::default() };
    import_by(&OneHand, &terms, Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {}).map(|(found, _)| found)
}

/// A tree with things that nobody wants on a server.
fn littered() -> Memory {
    let disk = Memory::new();
    let tree = disk.dir("tree");
    disk.write_file(&tree, &name("app"), 0o755, &noise(1, 1000));
    disk.write_file(&tree, &name(".tidingignore"), 0o644, b"/cache/\n*.log\n!keep.log\n\xe2\x98\x83*\n");
    disk.write_file(&tree, &name("keep.log"), 0o644, b"kept");
    disk.write_file(&tree, &name("a.log"), 0o644, b"left out");
    disk.write_file(&disk.dir("tree/web"), &name("page"), 0o644, b"page");
    disk.write_file(&disk.dir("tree/web"), &name(".tidingignore"), 0o644, b"tmp*\n");
    disk.write_file(&disk.dir("tree/web"), &name([b"tmp".as_slice(), b"\xff"].concat()), 0o644, b"no text");
    disk.write_file(&disk.dir("tree/cache"), &name("back\\slash"), 0o4755, b"");
    disk.write_other(&disk.dir("tree/cache"), &name("talk"), "socket");
    disk
}

#[test]
fn what_patterns_name_is_left_out_and_neither_looked_into_nor_judged() {
    let disk = littered();
    disk.take_log();
    let published = found(&disk, Patterns::Honoured).expect("what is left is a good tree");
    assert_eq!(published.entries, 5, "the root, app, keep.log, web, web/page");
    let told: Vec<String> = published.left_out.iter().map(|one| format!("{} {}", one.entries, one.by)).collect();
    assert_eq!(told, ["2 .tidingignore", "1 web/.tidingignore"]);
    // As if nothing of it had ever been there.
    let clean = Memory::new();
    clean.write_file(&clean.dir("tree"), &name("app"), 0o755, &noise(1, 1000));
    clean.write_file(&clean.dir("tree"), &name("keep.log"), 0o644, b"kept");
    clean.write_file(&clean.dir("tree/web"), &name("page"), 0o644, b"page");
    assert_eq!(published.content, found(&clean, Patterns::Honoured).expect("a good tree").content);
    let Err(ImportError::Refused(all)) = found(&disk, Patterns::Overlooked) else {
        panic!("what is in cache is judged")
    };
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn without_patterns_everything_is_published_and_their_files_too() {
    let disk = littered();
    disk.remove_file(&disk.dir("tree/cache"), &name("back\\slash")).expect("a test's disk");
    disk.remove_file(&disk.dir("tree/cache"), &name("talk")).expect("a test's disk");
    let all = found(&disk, Patterns::Overlooked).expect("a good tree");
    assert_eq!((all.entries, all.left_out.len()), (10, 0));
}

#[test]
fn patterns_that_make_no_sense_are_all_named_and_nothing_is_published() {
    let all = refusals(|disk, tree| {
        disk.write_file(tree, &name("app"), 0o755, b"app");
        disk.write_file(tree, &name(".tidingignore"), 0o644, b"fine\n[a\n{b,c}\n");
        disk.write_file(&disk.dir("tree/long"), &name(".tidingignore"), 0o644, &vec![b'a'; 10 << 20]);
        disk.symlink(&disk.dir("tree/odd"), &name(".tidingignore"), b"/etc/passwd").expect("a test's disk");
        disk.write_file(&disk.dir("tree/raw"), &name(".tidingignore"), 0o644, b"\xff\n");
    });
    let begins = [
        ".tidingignore: line 2, \"[a\": unclosed character class",
        ".tidingignore: line 3, \"{b,c}\": braces",
        "long/.tidingignore: has 10.0 MiB, and patterns have 64.0 KiB at most",
        "odd/.tidingignore: is no file",
        "raw/.tidingignore: line 1, \"\\xff\": it is not UTF-8",
    ];
    assert_eq!(all.len(), begins.len(), "{all:#?}");
    assert!(all.iter().zip(begins).all(|(found, begin)| found.starts_with(begin)), "{all:#?}");
}

#[test]
fn a_tree_of_which_all_is_left_out_is_refused() {
    let (_, result) = publish_tree(|disk, tree| {
        disk.write_file(tree, &name("app"), 0o755, b"app");
        disk.write_file(tree, &name(".tidingignore"), 0o644, b"*\n");
    });
    assert!(matches!(&result, Err(ImportError::Empty(by)) if by == &[".tidingignore"]), "{result:?}");
    let (_, empty) = publish_tree(|_, _| {});
    assert!(empty.is_ok(), "a directory that is empty by itself is one");
}

#[test]
fn patterns_that_change_while_a_tree_is_read_are_noticed() {
    let disk = littered();
    let change = disk.clone();
    let mut progress = |_| {
        let tree = change.dir("tree");
        let file = change.open_write(&tree, &name(".tidingignore")).expect("a test's disk");
        change.write_at(&file, b"/app", 0).expect("a test's disk");
    };
    let read = import(Arc::new(disk.clone()), disk.root(), &name("tree"), &mut progress).map(drop);
    assert!(matches!(read, Err(ImportError::Changed(_))), "{read:?}");
}
