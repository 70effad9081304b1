//! `tiding diff OLD NEW -o PATCH` and `tiding patch OLD PATCH -o NEW`: patches between two files or two directories, made and applied
//! here.
//!
//! Nothing of a fleet is needed or asked. What is written comes under its name whole or not at all.

use crate::failure::{Failure, Kind};
use crate::{parse, speak, words};
use clap::{Args, ValueEnum};
use content::Digest;
use delta::{ApplyError, Budget, Declared, Effort, Heap, Lent, Room};
use node::scratch::{Unnamed, copied, scratch};
use node::trees::{self, Summary, TreesError, is_tree_patch};
use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How hard to look for a small patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trouble {
    /// Some seconds for each ten megabytes, and ten times their memory
    Best,
    /// Tens of megabytes in a second; the patch is larger
    Fast,
}

/// What a patch is made of, and where it is written.
pub(crate) struct Making<'a> {
    /// The file or directory that others have.
    pub(crate) old: &'a Path,
    /// The file or directory that they shall have.
    pub(crate) new: &'a Path,
    /// Where the patch is written.
    pub(crate) patch: &'a Path,
    /// How hard to look.
    pub(crate) trouble: Trouble,
}

impl Making<'_> {
    /// Makes the patch and says how large it is.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let what = format!("no patch was made of {}", self.new.display());
        if self.old.is_dir() && self.new.is_dir() {
            return self.run_trees(&what);
        }
        let (old, new) = (read(self.old, &what)?, read(self.new, &what)?);
        let patch = delta::diff(&old, &new, self.effort());
        write(self.patch, &patch, 0o666, &what)?;
        let (size, of) = (words::size(patch.len() as u64), words::size(new.len() as u64));
        speak::result(format!("{}: {size} instead of {of}; it makes {}", self.patch.display(), Digest::of(&new)));
        Ok(())
    }

    /// The same for two directories.
    fn run_trees(&self, what: &str) -> Result<(), Failure> {
        let (patch, summary) =
            trees::diff(self.old, self.new, self.effort()).map_err(|error| not_made(what, &error, self.patch))?;
        write(self.patch, &patch, 0o666, what)?;
        let (size, of) = (words::size(patch.len() as u64), words::size(summary.size));
        speak::result(format!("{}: {size} instead of {of}; {}", self.patch.display(), in_words(&summary)));
        Ok(())
    }

    fn effort(&self) -> Effort {
        match self.trouble {
            Trouble::Best => Effort::Best,
            Trouble::Fast => Effort::Fast,
        }
    }
}

/// Makes the new file of the old one and a patch, or the new directory of the old one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tiding patch app-1.0 app.patch -o app-2.0\n\n\
    A patch says how long the old file is, and no more of it: of another file of the same length it makes rubbish. So the digest of \
    what was made is printed; `tiding diff` printed the one that it must be.\n\n\
    The patch of a directory says which directory it is for and which one it makes, and both are compared: what comes under NEW is what it says, or nothing does. \
    Names, bytes, links and modes come with it; times and owners do not.")]
pub(crate) struct Patch {
    /// The file or directory that the patch was made against
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The patch, as `tiding diff OLD NEW -o PATCH` wrote it
    #[arg(value_name = "PATCH")]
    patch: PathBuf,
    /// Where to write the new file, which gets the mode of OLD, or make the new directory, which must not be there
    #[arg(short, long, value_name = "NEW")]
    output: PathBuf,
    /// Refuse a patch that makes more than this, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 30)]
    at_most: u64,
    /// Refuse a patch of a file that takes more memory than this, such as 64MiB, beside what it keeps on the disk of NEW
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    memory: Option<u64>,
}

/// A directory on whose disk there is room: two to three times what OLD and NEW take, in files that have no name and are gone in the end.
struct Disk<'a> {
    directory: &'a Path,
    /// When there is none, the heap lends.
    or_heap: bool,
}

/// Files that are smaller are not worth the calls.
const SMALL: u64 = 1 << 20;

impl Room for Disk<'_> {
    fn take(&self, len: usize) -> Option<Lent> {
        match scratch(self.directory, len) {
            Ok(bytes) => {
                let mut lent = Lent::new(bytes);
                lent.truncate(len);
                Some(lent)
            }
            Err(_) if self.or_heap => Heap.take(len),
            Err(_) => None,
        }
    }
}

impl Disk<'_> {
    /// A file's bytes, where they may be changed.
    fn copy_of(&self, path: &Path, what: &str) -> Result<Lent, Failure> {
        let copy = std::fs::File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            let len =
                if metadata.is_file() { metadata.len() as usize } else { return Err(ErrorKind::InvalidInput.into()) };
            let mut lent = Lent::new(copied(self.directory, &file, len)?);
            lent.truncate(len);
            Ok(lent)
        });
        // Whoever is to say why not, or has it on the heap, does so.
        copy.or_else(|_| read_into(self, path, what))
    }
}

/// What the program takes that has nothing to do with what it is applied to.
const ITSELF: u64 = 8 << 20;

impl Patch {
    /// Applies it and prints what was made.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let what = format!("{} was not made", self.output.display());
        let disk = Disk { directory: beside(&self.output), or_heap: self.memory.is_none() };
        let is_small = [&self.old, &self.patch].iter().all(|path| path.metadata().is_ok_and(|path| path.len() < SMALL));
        let room: &dyn Room = if is_small && self.memory.is_none() { &Heap } else { &disk };
        let patch = read_into(room, &self.patch, &what)?;
        if is_tree_patch(&patch) {
            return self.run_trees(&what, &patch);
        }
        let refused = |error: ApplyError| self.refused(&what, &error);
        let declared = Declared::of(&patch).map_err(|error| refused(error.into()))?;
        let budget = Budget { output: self.at_most, ..Budget::for_output(declared.new_len.min(self.at_most)) };
        let memory = self.memory.map_or(budget.memory, |memory| memory.saturating_sub(ITSELF));
        let budget = Budget { memory, ..budget };
        let mode = self.old.metadata().map_or(0o666, |metadata| metadata.permissions().mode() & 0o777);
        let old = match is_small {
            true => read_into(room, &self.old, &what)?,
            false => disk.copy_of(&self.old, &what)?,
        };
        // What is large is made where it stays.
        let len = usize::try_from(declared.new_len.min(self.at_most)).unwrap_or(usize::MAX);
        let digest = match (!is_small).then(|| Unnamed::new(beside(&self.output), len, mode)) {
            Some(Ok(mut made)) => {
                delta::apply_onto(made.bytes(), room, old, &patch, budget).map_err(refused)?;
                let digest = Digest::of(made.bytes());
                put(&self.output, &what, || made.name(&self.output))?;
                digest
            }
            _ => {
                let new = delta::apply_in(room, old, &patch, budget).map_err(refused)?;
                write(&self.output, &new, mode, &what)?;
                Digest::of(&new)
            }
        };
        speak::result(format!("{}: {}, {digest}", self.output.display(), words::size(declared.new_len)));
        Ok(())
    }

    /// The same for two directories.
    fn run_trees(&self, what: &str, patch: &[u8]) -> Result<(), Failure> {
        let summary = trees::patch(&self.old, patch, &self.output, self.at_most).map_err(|error| match &error {
            TreesError::Apply(error) => self.refused(what, error),
            _ => not_made(what, &error, &self.patch),
        })?;
        let size = words::size(summary.size);
        speak::result(format!(
            "{}: {size} of {}; {}",
            self.output.display(),
            words::size(patch.len() as u64),
            in_words(&summary)
        ));
        Ok(())
    }

    fn refused(&self, what: &str, error: &ApplyError) -> Failure {
        let failure = Failure::new(Kind::Usage, what).because(error);
        match error {
            ApplyError::Malformed(_) => {
                failure.next(format!("look whether {} came whole, and from `tiding diff`", self.patch.display()))
            }
            ApplyError::WrongBase { .. } => failure.next("give the file that the patch was made against as OLD"),
            ApplyError::OverBudget { of: "memory", .. } if self.memory.is_some() => {
                failure.next("`--memory SIZE` allows more; leave it out to take what is needed")
            }
            ApplyError::OverBudget { of: "room", .. } => {
                failure.next(format!("make room on the disk of {}", self.output.display()))
            }
            ApplyError::OverBudget { .. } => {
                failure.next("`--at-most BYTES` allows more, if you trust who made the patch")
            }
        }
    }
}

fn in_words(summary: &Summary) -> String {
    let Summary { unchanged, renamed, changed, added, .. } = summary;
    format!("files: {unchanged} unchanged, {renamed} renamed or copied, {changed} changed, {added} new")
}

fn not_made(what: &str, error: &TreesError, patch: &Path) -> Failure {
    let (kind, next) = match error {
        TreesError::Disk { .. } => return Failure::new(Kind::Failed, what).because(error),
        TreesError::Import(_) => (Kind::Failed, "take out, or make readable, what is named".to_owned()),
        TreesError::Unread(_) => (Kind::Failed, "try again when nobody writes there".to_owned()),
        TreesError::OneFile => (Kind::Usage, "give two files or two directories".to_owned()),
        TreesError::WrongBase { .. } => {
            (Kind::Usage, "give the directory that the patch was made against as OLD, as it was then".to_owned())
        }
        TreesError::Exists => (Kind::Usage, "name a directory that is to be made".to_owned()),
        TreesError::Version(_) => (Kind::Usage, "use the version of tiding that made it, or a newer one".to_owned()),
        TreesError::Manifest(_) | TreesError::Differs { .. } | TreesError::Apply(_) => {
            (Kind::Usage, format!("look whether {} came whole, and from `tiding diff`", patch.display()))
        }
    };
    Failure::new(kind, what).because(error).next(next)
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    if path.is_dir() {
        return Err(Failure::new(Kind::Usage, what)
            .because(format!("{} is a directory, and patches are between two files or two directories", path.display()))
            .next("give two of the same kind, and with `tiding patch` a patch that was made of such"));
    }
    std::fs::read(path).map_err(|error| {
        Failure::new(Kind::Failed, what).because(format!("{} cannot be read: {error}", path.display()))
    })
}

/// The same, into room that somebody has.
fn read_into(room: &dyn Room, path: &Path, what: &str) -> Result<Lent, Failure> {
    let failed = |why: String| Failure::new(Kind::Failed, what).because(why);
    let unread = |error: std::io::Error| failed(format!("{} cannot be read: {error}", path.display()));
    if !path.is_file() {
        // A directory, a pipe, or nothing at all: what is said of it does not depend on where it is read to.
        return read(path, what).map(Lent::from);
    }
    let mut file = std::fs::File::open(path).map_err(unread)?;
    let len = file.metadata().map_err(unread)?.len();
    let lent = usize::try_from(len).ok().and_then(|len| room.take(len));
    let mut lent =
        lent.ok_or_else(|| failed(format!("there is no room for the {} of {}", words::size(len), path.display())))?;
    file.read_exact(&mut lent).map_err(unread)?;
    Ok(lent)
}

/// The directory of a file.
fn beside(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file whole: under another name beside it first. What is there and is no file (a device, a pipe, a link to one) is not put
/// away for it.
fn write(path: &Path, bytes: &[u8], mode: u32, what: &str) -> Result<(), Failure> {
    put(path, what, || {
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(beside(path))?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    })
}

/// Puts a file where none is, or in place of one.
fn put(path: &Path, what: &str, put: impl FnOnce() -> std::io::Result<()>) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
        return Err(Failure::new(Kind::Usage, what)
            .because(format!("{} is there and is no file, which would be replaced", path.display()))
            .next("name a file that is to be made"));
    }
    put().map_err(|error| {
        Failure::new(Kind::Failed, what).because(format!("{} cannot be written: {error}", path.display()))
    })
}
