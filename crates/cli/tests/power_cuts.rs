//! Power cuts: file systems that lose what was not synced.

#[allow(unreachable_pub, reason = "each test file uses its part of it")]
#[path = "support/blobs.rs"]
mod blobs;
#[path = "support/lab.rs"]
mod lab;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#[path = "support/mount.rs"]
mod mount;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, Node, until};
use mount::Mount;
use skip::skipped;
use std::fs;
use std::path::Path;
use watched::Watched;

/// What stands on disk when the power is cut at this moment of a deploy.
type Moment = fn(&Node) -> bool;

#[test]
fn a2_a_power_cut_leaves_the_old_release_or_the_new_one_and_never_a_mix() {
    if !MOMENTS.iter().all(|moment| cut_power(*moment, "loop")) {
        skipped("a2_a_power_cut...", "it needs mkfs.ext4, and root for loop mounts");
    }
}

#[test]
fn a3_a_power_cut_does_no_more_on_a_file_system_that_promises_less() {
    for options in ["loop,noauto_da_alloc", "loop,noauto_da_alloc,data=writeback"] {
        if !MOMENTS.iter().all(|moment| cut_power(*moment, options)) {
            return skipped("a3_a_power_cut...", "it needs mkfs.ext4, and root for loop mounts");
        }
    }
}

/// While pieces come, while a release is laid out, and after the switch.
const MOMENTS: [Moment; 3] = [
    |agent| entries(&agent.home.join("store/staging")) > 0,
    |agent| entries(&agent.root.join("srv/.app.tiding")) > 2,
    |agent| fs::read_link(agent.root.join("srv/app")).is_ok_and(|to| to != first_target(agent)),
];

/// Deploys twice to an agent on an ext4 of its own, and cuts its power in the second deploy; false where that cannot be done.
fn cut_power(moment: Moment, options: &str) -> bool {
    let lab = Lab::new();
    let (image, home) = (lab.dir().join("node-1.img"), lab.dir().join("node-1"));
    let arguments = |image: &Path| ["-o".to_owned(), options.to_owned(), image.to_string_lossy().into_owned()];
    let mount = |image: &Path| Mount::new(&home, &arguments(image).each_ref().map(String::as_str));
    if !mount::ext4(&image, 300) {
        return false;
    }
    let Some(before) = mount(&image) else { return false };
    let mut agent = lab.agent("node-1");
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&old, 1 << 20, 1);
    lab::tree(&new, 24 << 20, 2);
    lab.deploy(&old);
    let to = fs::read_link(agent.root.join("srv/app")).expect("the first release is live");
    fs::write(agent.root.join("first"), to.to_string_lossy().as_bytes()).expect("a note can be written");
    let mut deploy = Watched::start(lab.deploy_command(&new));
    until("the moment comes", || moment(&agent));
    // What is only in the page cache is not in the image: copying it is a power cut. The copy is no single moment, so nothing
    // may go on meanwhile: a sync that came between the copying of its data and of its journal would look like a broken one.
    agent.kill();
    let copy = image.with_extension("cut");
    fs::copy(&image, &copy).expect("an image can be copied");
    drop((agent, before));
    let _after = mount(&copy).expect("the cut image can be mounted like the first");
    let live = home.join("root/srv/app");
    assert!(lab::same(&live, &old) || lab::same(&live, &new), "neither the old release nor the new one");
    assert!(blobs::hash_all(&home.join("store/blobs")) > 0, "the old release, which was confirmed, is not there");
    let agent = lab.agent("node-1");
    assert!(deploy.end().success(), "{}", deploy.said);
    assert!(agent.shows(&new));
    let verified = lab.operator(&["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    true
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

fn first_target(agent: &Node) -> std::path::PathBuf {
    fs::read_to_string(agent.root.join("first")).unwrap_or_default().into()
}
