//! Files with values of the node: what comes out, what is refused, and that the store and other releases keep the bytes that were published.

use crate::memory::{Bad, Crash, Memory, name};
use crate::world::{Listing, Published, app, check_blobs, deploy, list, new_disk, noise, options, publish_as};
use content::release::Instructions;
use content::{Label, Labels};
use engine::door::{Job, JobDone, JobError};
use std::sync::Arc;
use store::disk::Disk;
use store::{OpenError, Options, Store};

fn open_as(disk: &Memory, node: &str, zone: &str) -> Result<Store<Memory>, OpenError> {
    let label = |text| Label::new(text).expect("a plain label");
    let labels = Labels::from([(label("zone"), label(zone))]);
    let options = Options { node: node.to_owned(), labels, ..options() };
    Store::open(Arc::new(disk.clone()), disk.dir("home"), disk.dir("root"), "pid 1", options).map(|(store, _)| store)
}

fn opened(disk: &Memory) -> Store<Memory> {
    open_as(disk, "web-3", "a").expect("the store opens")
}

/// A release with a small file in a pack, a large one of pieces, one that nobody may write into, and another name of it.
fn published(version: &str, templates: &[&str], more: &[u8]) -> Published {
    let disk = Memory::new();
    let tree = disk.dir("tree");
    let text = [b"I am {{node}} in {{label.zone}}, {{version}}\n", more].concat();
    disk.write_file(&tree, &name("app.conf"), 0o640, &text);
    disk.write_file(&tree, &name("beside"), 0o644, b"{{node}} is not for you");
    disk.write_file(&tree, &name("large"), 0o644, &[plain_noise(200_000), b"{{app}}".to_vec()].concat());
    disk.write_file(&tree, &name("locked"), 0o444, b"{{node}}");
    disk.link(&tree, &name("locked"), &tree, &name("locked-too")).expect("a test's disk");
    let templates = templates.iter().map(|path| path.as_bytes().to_vec()).collect();
    let instructions = Instructions { templates, ..Instructions::plain(b"/srv/app", 0, 2) };
    publish_as(&disk, &disk.root(), version, instructions)
}

/// Bytes in which nothing asks for a value.
fn plain_noise(len: usize) -> Vec<u8> {
    noise(1, len).into_iter().map(|byte| if byte == b'{' { b'x' } else { byte }).collect()
}

const ALL: [&str; 3] = ["app.conf", "large", "locked"];

fn read(disk: &Memory, file: &str) -> Vec<u8> {
    let target = disk.read_link(&disk.dir("root/srv"), &name("app")).expect("something is live");
    let target = String::from_utf8(target).expect("ours");
    disk.read_file(&disk.dir(&format!("root/srv/{target}")), &name(file))
}

fn differing(store: &mut Store<Memory>) -> Vec<String> {
    match store.run(&Job::Verify { app: app() }) {
        Ok(JobDone::Verified { first, .. }) => first,
        other => panic!("{other:?}"),
    }
}

fn refusal(done: Result<(), JobError>) -> String {
    match done {
        Err(JobError::Refused { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_puts_its_values_into_those_files_and_no_others() {
    let disk = new_disk();
    let mut store = opened(&disk);
    deploy(&mut store, &published("1", &ALL, b""), 1).expect("a good day");
    assert_eq!(read(&disk, "app.conf"), b"I am web-3 in a, 1\n");
    assert_eq!(read(&disk, "beside"), b"{{node}} is not for you");
    assert!(read(&disk, "large").ends_with(b"shop"));
    assert_eq!((read(&disk, "locked"), read(&disk, "locked-too")), (b"web-3".to_vec(), b"web-3".to_vec()));
    assert_eq!(differing(&mut store), [""; 0]);
    check_blobs(&disk);
    // Another release of the same files, of which none has values: it has what was published, also where files may be shared.
    deploy(&mut store, &published("2", &[], b""), 2).expect("a good day");
    assert_eq!(
        (read(&disk, "locked"), read(&disk, "app.conf")),
        (b"{{node}}".to_vec(), b"I am {{node}} in {{label.zone}}, {{version}}\n".to_vec())
    );
    assert_eq!(differing(&mut store), [""; 0]);
    deploy(&mut store, &published("3", &ALL, b""), 3).expect("a good day");
    assert_eq!((read(&disk, "locked"), differing(&mut store).len()), (b"web-3".to_vec(), 0));
}

#[test]
fn what_somebody_wrote_into_such_a_file_and_values_that_have_changed_are_differences() {
    let disk = new_disk();
    deploy(&mut opened(&disk), &published("1", &ALL, b""), 1).expect("a good day");
    let mut moved = open_as(&disk, "web-3", "b").expect("the store opens");
    assert_eq!(differing(&mut moved), ["app.conf has other bytes than this node's values give"]);
    drop(moved);
    let mut longer = open_as(&disk, "web-33", "a").expect("the store opens");
    assert!(differing(&mut longer).iter().any(|why| why.starts_with("app.conf has 19 bytes, and should have 20")));
}

#[test]
fn what_a_node_cannot_give_is_refused_before_anything_is_laid_out() {
    for (templates, more, why) in [
        (&["app.conf"][..], &b"\n{{label.rack}}"[..], "app.conf: line 3: this node has no label rack"),
        (&["app.conf"], b"{{nobody}}", "app.conf: line 2: {{nobody}} is no value"),
        (&["app.conf", "missing"], b"", "missing is to be given values, and is no file"),
        (&["locked-too"], b"", "locked-too is to be given values, and is no file"),
    ] {
        let disk = new_disk();
        let mut store = opened(&disk);
        let found = refusal(deploy(&mut store, &published("1", templates, more), 1));
        assert!(found.starts_with(why), "{found}");
        assert!(disk.list(&disk.dir("root/srv")).expect("a test's disk").is_empty());
    }
    let disk = new_disk();
    let mut climbing = published("1", &[], b"");
    let mut release = climbing.release();
    release.instructions.templates = vec![b"../x".to_vec()];
    climbing.signed.payload = release.encode();
    assert!(refusal(deploy(&mut opened(&disk), &climbing, 1)).contains("`..` component"));
}

fn live(disk: &Memory) -> Listing {
    let target = String::from_utf8(disk.read_link(&disk.dir("root/srv"), &name("app")).expect("live")).expect("ours");
    let (side, release) = target.split_once('/').expect("ours");
    list(disk, &disk.dir(&format!("root/srv/{side}")), release)
}

#[test]
fn a2_a_power_cut_at_any_call_leaves_no_file_half_way_to_its_values() {
    let [old, new] = ["1", "2"].map(|version| published(version, &ALL, b""));
    let start = new_disk();
    deploy(&mut opened(&start), &old, 1).expect("a good day");
    let done = start.copy();
    deploy(&mut opened(&done), &new, 2).expect("a good day");
    let (before, after) = (live(&start), live(&done));
    let start = start.crash(Crash::Forget);
    for nth in 0.. {
        let disk = start.copy();
        disk.plan(nth, Bad::Cut);
        if let Ok(mut store) = open_as(&disk, "web-3", "a") {
            drop(deploy(&mut store, &new, 2));
        }
        let is_over = !disk.relieve();
        for crash in [Crash::Forget, Crash::Keep, Crash::Tear(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))] {
            let disk = disk.crash(crash);
            let seen = live(&disk);
            assert!(seen == before || seen == after, "cut {nth}, {crash:?}");
            deploy(&mut opened(&disk), &new, 2).unwrap_or_else(|error| panic!("cut {nth}, {crash:?}: {error:?}"));
            assert_eq!(live(&disk), after, "cut {nth}, {crash:?}");
        }
        if is_over {
            return;
        }
    }
}
