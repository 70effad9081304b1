//! File systems of their own for single nodes: small ones, and ones whose power can be cut.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when dropped.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts; `None` where this process may not.
    pub fn new(at: &Path, arguments: &[&str]) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a mount point can be made");
        let done = run(Command::new("mount").args(arguments).arg(at));
        done.then(|| Self { at: at.to_owned() })
    }

    /// Changes its options.
    pub fn remount(&self, options: &str) {
        assert!(run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.at)));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

/// Makes an ext4 image of `mib` MiB; false where `mkfs.ext4` is missing.
pub fn ext4(image: &Path, mib: u64) -> bool {
    ext4_with(image, mib, &[])
}

/// The same with more arguments for `mkfs.ext4`.
pub fn ext4_with(image: &Path, mib: u64, more: &[&str]) -> bool {
    let file = std::fs::File::create(image).expect("an image can be made");
    file.set_len(mib << 20).expect("an image can be long");
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).args(more).arg(image))
}

/// Runs a program to its end, without a word; whether it went well.
fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
