//! The directory of a playground: everything it writes is below it, and nothing that was there before is touched.
//!
//! ```text
//! D/operator            the operator's keys
//! D/origin, D/node-1 …  homes of nodes
//! D/node-1/root         what the node sees as /
//! D/node-1/log          what it said
//! ```

use crate::failure::{Failure, Kind};
use crate::homes;
use crate::speak;
use crate::stop::{Stopped, stop as stop_node};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Marks a directory as a playground's, so that `stop` stops no one else.
const MARK: &str = ".tiding-playground";

/// A playground's directory, removed at the end when nobody named it.
pub(crate) struct Place {
    dir: PathBuf,
    temporary: bool,
}

impl Place {
    /// Takes the directory that was named, or a temporary one.
    pub(crate) fn make(named: Option<&Path>, keep: bool) -> Result<Self, Failure> {
        let place = match named {
            Some(dir) => Self { dir: homes::absolute(dir)?, temporary: false },
            None => Self { dir: temporary_dir()?, temporary: !keep },
        };
        place.take()?;
        Ok(place)
    }

    fn take(&self) -> Result<(), Failure> {
        let cannot = |error| cannot_write(&self.dir).because(error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(cannot)?;
        if fs::read_dir(&self.dir).map_err(cannot)?.next().is_some() {
            return Err(Failure::new(Kind::Refused, format!("{} is not empty", self.dir.display()))
                .next("name a directory that is new or empty with --dir, or leave --dir out"));
        }
        fs::write(self.dir.join(MARK), "a tiding playground; stop it with `tiding playground stop`\n").map_err(cannot)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the operator's keys are.
    pub(crate) fn operator_home(&self) -> PathBuf {
        self.dir.join("operator")
    }

    /// The home of a node.
    pub(crate) fn home(&self, node: &str) -> PathBuf {
        self.dir.join(node)
    }

    /// What a node sees as `/`.
    pub(crate) fn root(&self, node: &str) -> PathBuf {
        self.home(node).join("root")
    }

    /// Leaves the directory where it is.
    pub(crate) fn keep(&mut self) {
        self.temporary = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = remove(&self.dir)
        {
            speak::warning(format!("{} is still there: {error}", self.dir.display()));
        }
    }
}

fn temporary_dir() -> Result<PathBuf, Failure> {
    let dir = tempfile::Builder::new().prefix("tiding-playground-").tempdir();
    dir.map(tempfile::TempDir::keep).map_err(|error| cannot_write(&std::env::temp_dir()).because(error))
}

/// Removes a tree in which directories may be read-only, as published ones may be.
fn remove(dir: &Path) -> std::io::Result<()> {
    make_writable(dir)?;
    fs::remove_dir_all(dir)
}

fn make_writable(dir: &Path) -> std::io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

fn cannot_write(dir: &Path) -> Failure {
    Failure::new(Kind::Failed, format!("cannot write the playground to {}", dir.display()))
        .next("name a directory that you can write, on a disk with room, with --dir")
}

/// Stops every node of a playground that was kept.
pub(crate) fn stop(dir: &Path) -> Result<(), Failure> {
    const WAIT: Duration = Duration::from_secs(30);
    let dir = homes::absolute(dir)?;
    if !dir.join(MARK).is_file() {
        return Err(Failure::new(Kind::Usage, format!("{} is no playground", dir.display()))
            .next("name the directory that was given to `tiding playground --dir`"));
    }
    let entries = fs::read_dir(&dir).map_err(|error| cannot_write(&dir).because(error))?;
    let homes: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|home| home.join("store/lock").is_file()).collect();
    let mut stopped = 0;
    for home in &homes {
        stopped += usize::from(stop_node(home, WAIT)? == Stopped::Now);
    }
    speak::result(format!("{} stopped; {} can be removed", crate::words::count(stopped, "node"), dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_something_in_it_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("mine"), "x").expect("a file");
        let refused = Place::make(Some(dir.path()), false).map(|_| ()).map_err(|failure| failure.kind);
        assert_eq!(refused, Err(Kind::Refused));
        assert_eq!(fs::read(dir.path().join("mine")).expect("it is still there"), b"x");
    }

    #[test]
    fn a_temporary_place_goes_with_its_read_only_directories() {
        let place = Place::make(None, false).expect("a place");
        let dir = place.dir().to_owned();
        let inner = dir.join("node-1/ro");
        fs::create_dir_all(&inner).expect("directories");
        fs::write(inner.join("x"), "x").expect("a file");
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o500)).expect("a mode");
        drop(place);
        assert!(!dir.exists());
    }

    #[test]
    fn only_a_playground_is_stopped() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(stop(dir.path()).map_err(|failure| failure.kind), Err(Kind::Usage));
    }
}
