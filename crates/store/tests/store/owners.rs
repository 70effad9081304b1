//! To whom a release belongs when it names somebody: looked up on the node, or refused there before anything is laid out.

use crate::memory::{Memory, name};
use crate::world::{Published, deploy, new_disk, options, publish_as, rich};
use content::release::Instructions;
use engine::door::JobError;
use std::io;
use std::sync::Arc;
use store::disk::Disk;
use store::owners::Accounts;
use store::{Options, Store};

/// A machine with one user, and one group besides that user's.
#[derive(Debug)]
struct Few;

impl Accounts for Few {
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        Ok((name == "app").then_some((1001, 1002)))
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        Ok((name == "www").then_some(33))
    }
}

fn opened(disk: &Memory, apply_owners: bool) -> Store<Memory> {
    let options = Options { apply_owners, accounts: Arc::new(Few), ..options() };
    Store::open(Arc::new(disk.clone()), disk.dir("home"), disk.dir("root"), "pid 1", options).expect("it opens").0
}

fn owned_by(owner: &str) -> Published {
    let disk = Memory::new();
    let tree = disk.dir("tree");
    rich(&disk, &tree, 1);
    let owner = Some(owner.parse().expect("an owner"));
    publish_as(&disk, &disk.root(), "1", Instructions { owner, ..Instructions::plain(b"/srv/app", 0, 2) })
}

#[test]
fn all_of_a_release_belongs_to_whom_it_names() {
    for (owner, expected) in [("app", (1001, 1002)), ("app:www", (1001, 33)), ("app:7", (1001, 7)), ("5:www", (5, 33))]
    {
        let (disk, published) = (new_disk(), owned_by(owner));
        deploy(&mut opened(&disk, true), &published, 1).expect("they are known here");
        let at = |path: &str| disk.dir(&format!("root/srv/.app.tiding/{path}"));
        let release = published.id().to_string();
        for (dir, last) in [("", release.as_str()), (&release, "nothing"), (&format!("{release}/etc"), "outside")] {
            let meta = disk.metadata(&at(dir), &name(last)).expect("it is laid out");
            assert_eq!((meta.uid, meta.gid), expected, "{owner}: {last}");
        }
    }
}

#[test]
fn a10_what_is_mended_belongs_to_whom_the_release_names() {
    let (disk, published) = (new_disk(), owned_by("app:www"));
    let mut store = opened(&disk, true);
    deploy(&mut store, &published, 1).expect("they are known here");
    let root = disk.dir(&format!("root/srv/.app.tiding/{}", published.id()));
    disk.remove_dir(&root, &name("empty")).expect("a test's disk");
    disk.remove_file(&root, &name("nothing")).expect("a test's disk");
    let repaired = store.run(&engine::door::Job::Repair { app: crate::world::app() });
    assert!(matches!(repaired, Ok(engine::door::JobDone::Verified { differing: 0, .. })), "{repaired:?}");
    for mended in ["empty", "nothing"] {
        let meta = disk.metadata(&root, &name(mended)).expect("it is there again");
        assert_eq!((meta.uid, meta.gid), (1001, 33), "{mended}");
    }
}

#[test]
fn whom_nobody_knows_here_and_who_cannot_be_given_anything_is_refused_before_anything_is_laid_out() {
    for (owner, is_root, said) in [
        ("web", true, "there is no user web here"),
        ("app:web", true, "there is no group web here"),
        ("app", false, "this agent runs as user 7, which cannot give files away"),
    ] {
        let disk = new_disk();
        match deploy(&mut opened(&disk, is_root), &owned_by(owner), 1) {
            Err(JobError::Refused { why }) => assert!(why.contains(said), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(disk.list(&disk.dir("root/srv")).expect("a directory"), [], "{owner}");
    }
    deploy(&mut opened(&new_disk(), false), &owned_by("7:7"), 1).expect("an agent may keep what is its own");
}
