//! What this machine lacks, and what is not tested on it because of that.

use crate::step::{installed, root};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Programs that some tests need, and what is not tested without them.
const OPTIONAL: [(&str, &str); 10] = [
    ("rsync", "live trees are compared with their source by SHA-256 only"),
    ("strace", "the tests that kill at every system call or make calls fail"),
    ("mkfs.ext4", "the power-cut tests on a loop-mounted ext4"),
    ("python3", "what the laboratory decides without a network"),
    ("chromium", "the operator's page in a real browser (other names of it are tried as well)"),
    ("dpkg-deb", "the Debian package"),
    ("fakeroot", "that the Debian package unpacks"),
    ("lintian", "Debian's policy on it, which is only shown"),
    ("systemd-analyze", "that systemd understands the unit"),
    ("cargo-deny", "licences and advisories of dependencies"),
];

/// Says loudly what is not tested.
pub(crate) fn say() {
    for (program, lost) in OPTIONAL {
        if !installed(program) {
            eprintln!("!!! {program} is not installed. NOT TESTED: {lost}.");
        }
    }
    if installed("strace") && !goes_well(Command::new("strace").args(["-o", "/dev/null", "true"])) {
        eprintln!(
            "!!! strace may not trace here. NOT TESTED: the tests that kill at every system call or make calls fail."
        );
    }
    match is_root() {
        true => eprintln!("!!! This is root, who may read everything. NOT TESTED: a source file that cannot be read."),
        false => eprintln!("!!! This is not root. NOT TESTED: disks that are full, power cuts, owners of files."),
    }
    if is_root() && installed("mkfs.ext4") && !can_loop_mount() {
        eprintln!("!!! Cannot loop-mount an ext4. NOT TESTED: the power-cut tests.");
    }
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0)
}

/// Makes, mounts and unmounts a small image.
fn can_loop_mount() -> bool {
    let dir = std::env::temp_dir().join(format!("tiding-mount-{}", std::process::id()));
    let (image, at) = (dir.join("image"), dir.join("at"));
    let made = std::fs::create_dir_all(&at).and_then(|()| std::fs::File::create(&image)?.set_len(8 << 20)).is_ok();
    let mounted = made
        && goes_well(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
        && goes_well(Command::new("mount").args(["-o", "loop"]).args([&image, &at]));
    let clean = !mounted || goes_well(Command::new("umount").arg(&at));
    clean && std::fs::remove_dir_all(&dir).is_ok() && mounted
}

fn goes_well(command: &mut Command) -> bool {
    let command = command.current_dir(root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
