//! Bad days of whole file systems: full ones, and ones that lose what was not synced when the power goes.

#[path = "support/lab.rs"]
mod lab;
#[allow(unreachable_pub, reason = "each test file uses its part of the lab")]
#[path = "support/mount.rs"]
mod mount;

use lab::{Lab, Node, until};
use mount::Mount;
use std::fs;
use std::path::Path;
use std::process::Stdio;

fn shows(agent: &Node, source: &Path) -> bool {
    lab::same(&agent.root.join("srv/app"), source)
}

#[test]
fn a4_a_full_disk_says_so_keeps_the_old_release_and_resumes_when_there_is_room() {
    let lab = Lab::new();
    let Some(small) = Mount::new(&lab.dir().join("node-1"), &["-t", "tmpfs", "-o", "size=110m", "tmpfs"]) else {
        return;
    };
    let (full, other) = (lab.agent("node-1"), lab.agent("node-2"));
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&old, 1 << 20, 1);
    lab::tree(&new, 64 << 20, 2);
    lab.deploy(&old);
    let mut deploy = lab.operator_command(&["deploy", &new.to_string_lossy(), "--to", "/srv/app"]);
    let mut deploy = deploy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    until("the other node shows the new release", || shows(&other, &new));
    until("the full node says so", || {
        lab.status().is_some_and(|status| status.to_string().contains("disk full: need"))
    });
    assert!(shows(&full, &old), "the old release stays");
    small.remount("size=600m");
    until("the full node shows the new release", || shows(&full, &new));
    deploy.wait().expect("the deploy ends");
}

/// What stands on disk when the power is cut at this moment of a deploy.
type Moment = fn(&Node) -> bool;

#[test]
fn a2_a_power_cut_leaves_the_old_release_or_the_new_one_and_never_a_mix() {
    let moments: [(Moment, &str); 3] = [
        (|agent| entries(&agent.home.join("store/staging")) > 0, "loop"),
        (|agent| entries(&agent.root.join("srv/.app.tiding")) > 2, "loop,noauto_da_alloc,data=writeback"),
        (|agent| fs::read_link(agent.root.join("srv/app")).is_ok_and(|to| to != first_target(agent)), "loop"),
    ];
    let lab = Lab::new();
    for (number, (moment, options)) in moments.into_iter().enumerate() {
        if !cut_power(&lab, &format!("node-{number}"), moment, options) {
            return;
        }
    }
}

/// Deploys twice to an agent on an ext4 of its own, and cuts its power in the second deploy; false where that cannot be done.
fn cut_power(lab: &Lab, name: &str, moment: Moment, options: &str) -> bool {
    let (image, home) = (lab.dir().join(format!("{name}.img")), lab.dir().join(name));
    let arguments = |image: &Path| ["-o".to_owned(), options.to_owned(), image.to_string_lossy().into_owned()];
    let mount = |image: &Path| Mount::new(&home, &arguments(image).each_ref().map(String::as_str));
    if !mount::ext4(&image, 300) {
        return false;
    }
    let Some(before) = mount(&image) else { return false };
    let mut agent = lab.agent(name);
    let (old, new) = (lab.dir().join(format!("{name}-old")), lab.dir().join(format!("{name}-new")));
    lab::tree(&old, 1 << 20, 1);
    lab::tree(&new, 24 << 20, 2);
    lab.deploy(&old);
    let to = fs::read_link(agent.root.join("srv/app")).expect("the first release is live");
    fs::write(agent.root.join("first"), to.to_string_lossy().as_bytes()).expect("a note can be written");
    let mut deploy = lab.operator_command(&["deploy", &new.to_string_lossy(), "--to", "/srv/app"]);
    let mut deploy = deploy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    until("the moment comes", || moment(&agent));
    // What is only in the page cache is not in the image: copying it is a power cut. The copy is no single moment, so nothing
    // may go on meanwhile: a sync that came between the copying of its data and of its journal would look like a broken one.
    agent.kill();
    let copy = image.with_extension("cut");
    fs::copy(&image, &copy).expect("an image can be copied");
    drop((agent, before));
    let _after = mount(&copy).expect("the cut image can be mounted like the first");
    let live = home.join("root/srv/app");
    assert!(lab::same(&live, &old) || lab::same(&live, &new), "{name}: neither the old release nor the new one");
    let agent = lab.agent(name);
    until("the agent shows the new release", || shows(&agent, &new));
    deploy.wait().expect("the deploy ends");
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
