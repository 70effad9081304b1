//! What outlives releases: beside them, in the directory `kept`, and never removed.
//!
//! Everything on the way to such a place must be a directory of ours into which nobody else may write, so nobody can put a link there
//! through which we, or the release, would be led elsewhere; and nothing is opened through one. What is made is made under another name and
//! renamed, so it is there with its mode and owner or not at all. What is there already is left as it is.

use crate::Store;
use crate::disk::{Disk, FileKind, Meta, Name};
use crate::ground::{Ground, if_there, make_dir, ours};
use crate::keep::refused;
use crate::tree;
use crate::words;
use content::kept::{DIRECTORY, KeptKind, KeptPath};
use content::manifest::{Kind, Outline, compare_paths};
use engine::door::JobError;

/// Under which name a directory is made before it gets its own.
const DRAFT: &str = "staging-kept";

impl<D: Disk> Store<D> {
    /// Makes what lacks of what outlives a release, durably, and refuses what is not as it should be.
    pub(crate) fn ready(&self, side: &Ground<D>, kept: &KeptPath) -> Result<(), JobError> {
        let disk = &self.shelves.disk;
        let (dir, last, shown) = self.way_to_kept(side, kept)?;
        let there = if_there(disk.metadata(&dir, &last)).map_err(side.failed(format!("looking at {shown}"), 0))?;
        match (there.map(|meta| meta.kind), kept.kind) {
            (Some(FileKind::Directory), KeptKind::Directory { .. }) | (None, KeptKind::File) => Ok(()),
            (Some(FileKind::File | FileKind::Other(_)), KeptKind::File) => Ok(()),
            (Some(kind), _) => Err(refused(foreign_words(&shown, kind, kept.kind))),
            (None, KeptKind::Directory { mode, owner }) => {
                self.make(side, (&dir, &last), mode, owner).map_err(side.failed(format!("making {shown}"), 4096))
            }
        }
    }

    /// The directory in which something stands that outlives releases, made durably where it lacks; its name there, and what people call it.
    pub(crate) fn way_to_kept(&self, side: &Ground<D>, kept: &KeptPath) -> Result<(D::Dir, Name, String), JobError> {
        let disk = &self.shelves.disk;
        let mut names = vec![ours(DIRECTORY)];
        for name in kept.path.split(|&byte| byte == b'/') {
            names.push(Name::new(name).map_err(|bad| refused(bad.to_string()))?);
        }
        let last = names.pop().ok_or_else(|| refused("a path to keep names nothing"))?;
        let (mut dir, mut so_far) = (side.dir().clone(), side.name().to_owned());
        for name in names {
            so_far = format!("{so_far}/{}", words::name(name.as_bytes()));
            let failed = || side.failed(format!("making {so_far}"), 4096);
            let before = if_there(disk.metadata(&dir, &name)).map_err(failed())?;
            before.map_or(Ok(()), |meta| self.refuse_foreign(&so_far, &meta))?;
            let next = make_dir(&**disk, &dir, &name, 0o755).map_err(failed())?;
            disk.sync_dir(&dir).map_err(failed())?;
            // What was opened decides, whatever stood there when it was looked at.
            self.refuse_foreign(&so_far, &disk.dir_metadata(&next).map_err(failed())?)?;
            dir = next;
        }
        let shown = format!("{so_far}/{}", words::name(last.as_bytes()));
        Ok((dir, last, shown))
    }

    /// Makes a directory with its mode and owner, or none.
    fn make(
        &self,
        side: &Ground<D>,
        (dir, name): (&D::Dir, &Name),
        mode: u16,
        owner: Option<(u32, u32)>,
    ) -> std::io::Result<()> {
        let (disk, draft) = (&self.shelves.disk, ours(DRAFT));
        // Nothing but an empty directory ever stood there.
        tree::remove(&**disk, side.dir(), &draft)?;
        disk.create_dir(side.dir(), &draft, 0o700)?;
        if let Some((uid, gid)) = owner.filter(|_| self.shelves.options.apply_owners) {
            disk.set_owner(side.dir(), &draft, uid, gid)?;
        }
        disk.set_mode(side.dir(), &draft, mode)?;
        disk.sync_all(side.dir())?;
        disk.rename(side.dir(), &draft, dir, name)?;
        disk.sync_dir(dir)?;
        disk.sync_dir(side.dir())
    }

    /// Refuses what others could put something into on the way.
    fn refuse_foreign(&self, shown: &str, meta: &Meta) -> Result<(), JobError> {
        let why = match meta.kind {
            FileKind::Directory if meta.uid != self.uid => format!("is owned by user {}", meta.uid),
            FileKind::Directory if meta.mode & 0o022 != 0 => format!("may be written by others (mode {:o})", meta.mode),
            FileKind::Directory => return Ok(()),
            _ => "is no directory".to_owned(),
        };
        Err(refused(format!(
            "{shown} {why}, and a path that outlives releases leads through it: it must be a directory of user {} into which nobody \
             else may write",
            self.uid
        )))
    }
}

fn foreign_words(shown: &str, found: FileKind, kind: KeptKind) -> String {
    let found = match found {
        FileKind::Symlink => "a symbolic link, which is not followed",
        FileKind::Directory => "a directory",
        FileKind::File => "a file",
        FileKind::Other(what) => what,
    };
    let wanted = if kind == KeptKind::File { "a file" } else { "a directory" };
    format!(
        "{shown} is {found}, and should be {wanted} that outlives releases; move it away, or mount there what should be reached"
    )
}

/// Refuses a tree that has no link where something outlives the release: programs would write into the release.
pub(crate) fn check_links(manifest: &Outline, kept: &[KeptPath]) -> Result<(), JobError> {
    for path in kept {
        let found = manifest.entries.binary_search_by(|entry| compare_paths(&entry.path, &path.path));
        let leads = found.is_ok_and(
            |index| matches!(&manifest.entries[index].kind, Kind::Symlink { target } if *target == path.link()),
        );
        if !leads {
            return Err(refused(format!(
                "the release's tree has no link to what outlives it at {}",
                words::name(&path.path)
            )));
        }
    }
    Ok(())
}
