//! Whether a program may be started: only what this very user has, and nobody else can change.
//!
//! A release says whose its files are and with which modes. A program that others may write would let them say what runs here with the
//! rights of the launcher, whoever signed it.

use rustix::fs::OFlags;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Refuses a program, or a directory on the way to it from that of all versions, which is another user's or which others may write.
pub(super) fn check(software: &Path, program: &Path) -> io::Result<()> {
    let me = rustix::process::geteuid().as_raw();
    check_one(software, &fs::metadata(software)?, me)?;
    if let Some(directory) = program.parent() {
        check_one(directory, &fs::symlink_metadata(directory)?, me)?;
    }
    let found = open(program)?.metadata()?;
    if !found.is_file() {
        return Err(refused(program, "is no file"));
    }
    check_one(program, &found, me)
}

/// Opens a file that is no symlink; what waits for somebody, like a pipe, is not waited for.
fn open(program: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(program)
}

fn check_one(path: &Path, found: &Metadata, me: u32) -> io::Result<()> {
    match (found.uid() == me, found.mode() & 0o022) {
        (false, _) => Err(refused(path, &format!("belongs to user {}, and this runs as user {me}", found.uid()))),
        (true, 0) => Ok(()),
        (true, _) => Err(refused(path, &format!("can be written by others (mode {:o})", found.mode() & 0o7777))),
    }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    #[test]
    fn only_a_program_that_nobody_else_can_change_is_started() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let directory = temp.path().join("versions");
        let program = directory.join("one");
        fs::create_dir(&directory).expect("made");
        fs::write(&program, "").expect("written");
        chmod(&directory, 0o755);
        chmod(&program, 0o755);
        check(temp.path(), &program).expect("it is ours");
        for (path, mode) in [(temp.path(), 0o770), (&directory, 0o757), (&program, 0o775), (&program, 0o757)] {
            let before = fs::metadata(path).expect("it is there").mode();
            chmod(path, mode);
            let why = check(temp.path(), &program).expect_err("others can change it").to_string();
            assert!(why.contains(&format!("{} can be written by others", path.display())), "{why}");
            chmod(path, before);
        }
        check(temp.path(), &program).expect("it is ours again");
        let link = directory.join("link");
        symlink(&program, &link).expect("a link");
        assert!(check(temp.path(), &link).is_err() && check(temp.path(), &directory).is_err());
    }

    #[test]
    fn a_program_of_another_user_is_not_started() {
        let found = fs::metadata("/proc/self/exe").expect("this program");
        let why = check_one(Path::new("/x"), &found, found.uid() + 1).expect_err("another one's").to_string();
        assert!(why.contains("belongs to user"), "{why}");
    }
}
