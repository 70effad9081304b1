//! Live trees that are not what was published any more, and are mended.

use crate::memory::{Bad, Crash, Dir, Memory, name};
use crate::world::*;
use engine::door::{Job, JobDone, JobError};
use store::Store;
use store::disk::Disk;

fn release() -> Published {
    publish("1", |disk, tree| rich(disk, tree, 1))
}

fn running(release: &Published) -> Memory {
    let disk = new_disk();
    deploy(&mut opened(&disk), release, 1).expect("a good day");
    disk.crash(Crash::Forget)
}

/// A directory of the live tree.
fn inside(disk: &Memory, release: &Published, path: &str) -> Dir {
    disk.dir(&format!("root/srv/.app.tiding/{}/{path}", release.id()))
}

fn run(store: &mut Store<Memory>, job: &Job) -> (u32, Vec<String>) {
    match store.run(job) {
        Ok(JobDone::Verified { differing, first, .. }) => (differing, first),
        other => panic!("{other:?}"),
    }
}

fn verify() -> Job {
    Job::Verify { app: app() }
}

fn repair() -> Job {
    Job::Repair { app: app() }
}

/// A listing without the times of directories, which change with the names in them.
fn without_times(listing: &Listing) -> Listing {
    let line = |what: &String| match what.starts_with("directory") {
        true => what.rsplit_once(' ').map_or(what.clone(), |(rest, _)| rest.to_owned()),
        false => what.clone(),
    };
    listing.iter().map(|(path, what)| (path.clone(), line(what))).collect()
}

#[test]
fn a10_whatever_differs_is_laid_out_anew_and_what_is_not_ours_is_left() {
    let release = release();
    let disk = running(&release);
    let [root, bin, etc] = ["", "bin", "etc"].map(|path| inside(&disk, &release, path));
    disk.rot(&bin, &name("server"), |bytes| bytes[100_000] ^= 1);
    disk.rot(&root, &name("zeros"), |bytes| bytes[3] = 7);
    disk.rot(&root, &name("sparse"), |bytes| bytes.truncate(1000));
    disk.remove_file(&etc, &name("conf-3")).expect("a test's disk");
    disk.set_mode(&etc, &name("conf-4"), 0o777).expect("a test's disk");
    disk.remove_file(&root, &name("current")).expect("a test's disk");
    disk.symlink(&root, &name("current"), b"/etc/shadow").expect("a test's disk");
    disk.remove_dir(&root, &name("empty")).expect("a test's disk");
    disk.set_mode(&root, &name("bin"), 0o700).expect("a test's disk");
    disk.write_file(&etc, &name("app.pid"), 0o644, b"77");
    let mut store = opened(&disk);
    let (differing, _) = run(&mut store, &verify());
    let (left, named) = run(&mut store, &repair());
    assert_eq!(left, 1, "{named:?}");
    assert_eq!(named, ["etc/app.pid is not part of the release"]);
    assert!(differing > 8, "{differing}");
    assert_eq!(disk.read_file(&etc, &name("app.pid")), b"77");
    disk.remove_file(&etc, &name("app.pid")).expect("a test's disk");
    disk.sync_dir(&etc).expect("a test's disk");
    let mended = live(&disk.crash(Crash::Forget)).expect("it is live");
    assert_eq!(without_times(&mended), without_times(&release.listing));
    assert_eq!(run(&mut store, &verify()), (0, Vec::new()));
    let side = disk.list(&disk.dir("root/srv/.app.tiding")).expect("a test's disk");
    assert_eq!(side.len(), 2, "something was left behind: {side:?}");
}

#[test]
fn a10_what_was_mended_is_named_and_what_stands_in_the_way_is_not_removed() {
    let release = release();
    let disk = running(&release);
    let (root, etc) = (inside(&disk, &release, ""), inside(&disk, &release, "etc"));
    disk.rot(&etc, &name("conf-5"), |bytes| bytes[0] ^= 1);
    let mut store = opened(&disk);
    let (left, named) = run(&mut store, &repair());
    assert_eq!((left, named.len()), (0, 1));
    assert!(named[0].starts_with("etc/conf-5 has other bytes"), "{named:?}");
    disk.remove_file(&root, &name("nothing")).expect("a test's disk");
    disk.write_file(&inside(&disk, &release, "nothing"), &name("precious"), 0o600, b"data");
    let (left, named) = run(&mut store, &repair());
    assert_eq!((left, named[0].as_str()), (1, "nothing is a directory, and should be a file"));
    assert_eq!(disk.read_file(&inside(&disk, &release, "nothing"), &name("precious")), b"data");
}

#[test]
fn a10_a_power_cut_at_any_call_of_a_repair_leaves_every_file_there() {
    let release = release();
    let start = running(&release);
    for path in ["server", "tool"] {
        start.rot(&inside(&start, &release, "bin"), &name(path), |bytes| bytes[70_000] ^= 1);
    }
    let names = |disk: &Memory| live(disk).expect("it is live").into_keys().collect::<Vec<_>>();
    let all = names(&start);
    for nth in 0.. {
        for crash in [Crash::Forget, Crash::Keep, Crash::Tear(nth + 1)] {
            let disk = start.copy();
            let mut store = opened(&disk);
            disk.plan(nth, Bad::Cut);
            let outcome = store.run(&repair());
            let struck = disk.relieve();
            let after = disk.crash(crash);
            assert_eq!(names(&after), all, "call {nth}, {crash:?}");
            if !struck {
                outcome.expect("nothing stood in the way");
                return;
            }
            let mut store = opened(&after);
            assert_eq!(run(&mut store, &repair()).0, 0, "call {nth}, {crash:?}");
        }
    }
}

#[test]
fn a10_what_is_damaged_in_the_store_too_is_fetched_first() {
    let release = release();
    let disk = running(&release);
    let spec = release.found.content;
    disk.rot(&inside(&disk, &release, "bin"), &name("server"), |bytes| bytes.fill(0));
    disk.rot(&disk.dir("home/blobs"), &name(format!("{}.pieces", spec.id())), |bytes| bytes[1000] ^= 1);
    let before = live(&disk);
    let mut store = opened(&disk);
    let missing = store.run(&repair());
    let Err(JobError::Missing { content, pieces }) = missing else { panic!("{missing:?}") };
    assert_eq!((content, pieces.len()), (spec.id(), 1));
    assert_eq!(live(&disk), before, "half of it was repaired");
    assert!(store.run(&repair()).is_err(), "what lacks is not made up");
    assert_eq!(fetch(&mut store, &release.source, spec), Ok(1));
    assert_eq!(run(&mut store, &repair()).0, 0);
}
