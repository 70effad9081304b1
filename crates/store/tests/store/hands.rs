//! What comes out does not depend on who did what when.

use crate::memory::{Dir, Memory, name};
use crate::world::*;
use engine::door::{Job, JobDone};
use std::sync::Arc;
use store::Options;
use store::Store;
use store::disk::Disk;
use store::hands::{Hands, OneHand};
use store::import::{Terms, import_by};

/// Does everything in the order that is furthest from the usual one.
#[derive(Debug)]
struct Backwards;

impl Hands for Backwards {
    fn count(&self) -> usize {
        3
    }

    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..jobs).rev().for_each(work);
    }
}

/// One of everything, more small files than are read at once, files of several windows, and a file that all hands write.
fn large(disk: &Memory, tree: &Dir) {
    rich(disk, tree, 1);
    disk.create_dir(tree, &name("many"), 0o755).expect("a test's disk");
    let many = disk.open_dir(tree, &name("many")).expect("a test's disk");
    for nth in 0..1500_usize {
        disk.write_file(&many, &name(format!("{nth}")), 0o644, &noise(nth as u64, 100 + nth * 7 % 3000));
    }
    disk.write_file(tree, &name("middle"), 0o644, &noise(5, 700_000));
    disk.write_file(tree, &name("longer"), 0o644, &noise(6, 3_000_000));
    let largest = [noise(7, 5_500_000), vec![0; 4_000_000], noise(8, 17_000_000)].concat();
    disk.write_file(tree, &name("largest"), 0o600, &largest);
}

#[test]
fn what_is_published_does_not_depend_on_whose_hands_were_faster() {
    let disk = Memory::new();
    large(&disk, &disk.dir("tree"));
    let mut told = 0;
    let (one, _) =
        import_by(&OneHand, &Terms::default(), Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |bytes| {
            told = bytes
        })
        .expect("a good tree");
    let (many, _) =
        import_by(&Backwards, &Terms::default(), Arc::new(disk.clone()), disk.root(), &name("tree"), &mut |_| {})
            .expect("a good tree");
    assert_eq!((one.content, one.attributes), (many.content, many.attributes));
    assert!(told <= one.size && told + 8_000_000 > one.size, "{told} of {} bytes were read", one.size);
}

#[test]
fn what_is_laid_out_does_not_depend_on_whose_hands_were_faster() {
    let published = publish("1", large);
    for shares in [true, false] {
        let disk = new_disk();
        disk.set_shares(shares);
        let (home, root) = (disk.dir("home"), disk.dir("root"));
        let options = Options { hands: Arc::new(Backwards), ..options() };
        let (mut store, _) = Store::open(Arc::new(disk.clone()), home, root, "pid 1", options).expect("it opens");
        deploy(&mut store, &published, 1).expect("a good day");
        assert_eq!(live(&disk).as_ref(), Some(&published.listing));
        let verified = store.run(&Job::Verify { app: app() });
        assert!(matches!(verified, Ok(JobDone::Verified { differing: 0, .. })), "{verified:?}");
    }
}
