//! Taking the place of a directory that stood at a path before any release, and giving it back.
//!
//! The directory and a symlink to the release change places in one step (`RENAME_EXCHANGE`), so there is no moment at which nothing stands at
//! the path; the directory then stands beside the releases, as `adopted-<the release that took its place>`, and nothing here ever removes
//! it. Giving it back is the same step the other way.
//!
//! What of it outlives releases has to move as well, and one step moves one name. So a link stands for the data on one side while they are
//! on the other:
//!
//! ```text
//!           kept/uploads                        adopted-<id>/uploads
//! before    -> ../adopted-<id>/uploads          the data             the path changes hands only in this state
//! after     the data                            -> ../kept/uploads
//! ```
//!
//! Whatever is cut in between, the release finds its data behind `kept/uploads`, and [`Adoption::settle`] finishes the move.

use crate::Store;
use crate::disk::{Disk, FileKind, Name};
use crate::ground::{Ground, if_there, ours};
use crate::keep::{decode_release, refused};
use crate::target::{Standing, Target};
use crate::tree::Tree;
use crate::words;
use content::kept::{DIRECTORY, KeptKind, KeptPath};
use content::{AppName, Release, ReleaseId};
use engine::door::{JobDone, JobError};
use std::io;
use std::sync::Arc;

const PREFIX: &str = "adopted-";
/// Under which name a link is made before it takes another one's place.
const NEXT: &str = "next";

/// What a release takes the place of at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    Release(ReleaseId),
    /// A directory that nobody laid out.
    Directory,
}

impl Before {
    pub(crate) fn release(self) -> Option<ReleaseId> {
        if let Self::Release(release) = self { Some(release) } else { None }
    }
}

/// A directory that stood at a path, and the release that takes its place.
struct Adoption<'a, D: Disk> {
    disk: &'a Arc<D>,
    side: &'a Ground<D>,
    id: ReleaseId,
    kept: &'a [KeptPath],
}

/// A name somewhere, and what stands there.
struct Spot<D: Disk> {
    dir: D::Dir,
    name: Name,
    found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Nothing,
    Data(FileKind),
    Link(Vec<u8>),
}

impl<D: Disk> Target<D> {
    /// What stands at the path, if a release may take its place.
    pub(crate) fn before(&self, release: &Release) -> Result<Before, JobError> {
        let standing = self.standing().map_err(self.parent.failed(format_args!("looking at {}", self.path), 0))?;
        if standing == Standing::Directory && release.instructions.adopts {
            return Ok(Before::Directory);
        }
        Ok(self.ours()?.map_or(Before::Nothing, Before::Release))
    }

    /// Refuses a directory that must not be moved: one that others may write into or made where everyone may, and one that is on another
    /// file system, or has one below it.
    fn check_directory(&self, disk: &D, uid: u32) -> Result<(), JobError> {
        let (path, parent) = (&self.path, &self.parent);
        let failed = || parent.failed(format!("looking at {path}"), 0);
        let meta = disk.metadata(parent.dir(), &self.name).map_err(failed())?;
        let above = disk.dir_metadata(parent.dir()).map_err(failed())?;
        if meta.mode & 0o002 != 0 {
            return Err(refused(format!(
                "{path} may be written by everyone (mode {:o}, owner {}), and is not adopted: chmod o-w {path}, then deploy again",
                meta.mode, meta.uid
            )));
        }
        if above.mode & 0o002 != 0 && meta.uid != uid {
            return Err(refused(format!(
                "{path} belongs to user {} and stands where everyone may make names, and is not adopted: chown it to user {uid}, or chmod \
                 o-w {}",
                meta.uid,
                parent.name()
            )));
        }
        match mounted_below(disk, parent.dir(), &self.name, above.inode.0).map_err(failed())? {
            None => Ok(()),
            Some(below) => Err(refused(format!(
                "{path}{below} is on another file system than {}, so {path} cannot be moved beside its releases: unmount it, or choose \
                 another path; what outlives releases can be mounted in {}/{DIRECTORY}",
                parent.name(),
                self.side_path()
            ))),
        }
    }
}

/// A directory that is looked through: what of it is left to look at, and how people call it.
struct Level<D: Disk> {
    dir: D::Dir,
    left: Vec<Name>,
    path: String,
}

/// The first thing at or below a name that is on another device, as it is called below it.
fn mounted_below<D: Disk>(disk: &D, at: &D::Dir, name: &Name, device: u64) -> io::Result<Option<String>> {
    if disk.metadata(at, name)?.inode.0 != device {
        return Ok(Some(String::new()));
    }
    // What is in use changes while it is looked at: what has gone, or is something else now, is not entered.
    let enter = |at: &D::Dir, name: &Name, path| match disk.open_dir(at, name) {
        Ok(dir) => Ok(Some(Level::<D> { left: disk.list(&dir)?, dir, path })),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    };
    let mut levels: Vec<Level<D>> = enter(at, name, String::new())?.into_iter().collect();
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.left.pop() else {
            levels.pop();
            continue;
        };
        let path = format!("{}/{}", level.path, words::name(name.as_bytes()));
        match if_there(disk.metadata(&level.dir, &name))? {
            Some(meta) if meta.inode.0 != device => return Ok(Some(path)),
            Some(meta) if meta.kind == FileKind::Directory => {
                let next = enter(&level.dir, &name, path)?;
                levels.extend(next);
            }
            _ => {}
        }
    }
    Ok(None)
}

impl<D: Disk> Store<D> {
    /// Refuses a directory whose place a release must not take, all of it looked at; has what is laid out look like it to SELinux.
    pub(crate) fn check_adoption(
        &self,
        (target, side): (&Target<D>, &Ground<D>),
        (id, release): (ReleaseId, &Release),
    ) -> Result<(), JobError> {
        target.check_directory(&self.shelves.disk, self.uid)?;
        target.label_like_path()?;
        let adoption = self.adoption(side, id, release);
        adoption.kept.iter().try_for_each(|kept| adoption.check_kept(target, kept))
    }

    /// Takes the place of a directory.
    pub(crate) fn adopt(
        &self,
        (target, side): (&Target<D>, &Ground<D>),
        (id, release): (ReleaseId, &Release),
    ) -> Result<(), JobError> {
        let adoption = self.adoption(side, id, release);
        let moves = adoption.moves(&target.parent, &target.name)?;
        adoption.point(target)?;
        for kept in moves {
            let (dir, name, shown) = self.way_to_kept(side, kept)?;
            let linked = adoption.link_kept((&dir, &name), kept);
            linked.map_err(side.failed(format_args!("making {shown}"), 4096))?;
        }
        adoption.take(target)
    }

    /// What outlives a release and does not come with the directory whose place it takes.
    pub(crate) fn kept_but_moved<'a>(
        &self,
        (target, side): (&Target<D>, &Ground<D>),
        (id, release): (ReleaseId, &'a Release),
    ) -> Result<Vec<&'a KeptPath>, JobError> {
        let moves = self.adoption(side, id, release).moves(&target.parent, &target.name)?;
        Ok(release.instructions.kept.iter().filter(|kept| !moves.contains(kept)).collect())
    }

    /// Finishes whatever was begun here with adopted directories and not ended.
    pub(crate) fn settle_adoptions(
        &self,
        side: &Ground<D>,
        (id, release): (ReleaseId, &Release),
    ) -> Result<(), JobError> {
        let names = self.shelves.disk.list(side.dir()).map_err(side.failed("looking for what was adopted", 0))?;
        for adopter in names.iter().filter_map(adopter) {
            let known = self.releases.get(&adopter).map(decode_release).transpose()?;
            let Some(release) = known.as_ref().or(Some(release).filter(|_| adopter == id)) else { continue };
            self.adoption(side, adopter, release)
                .settle()
                .map_err(side.failed("moving what outlives releases", 4096))?;
        }
        Ok(())
    }

    /// Puts back the directory whose place a release took. Refused where it took none.
    pub(crate) fn restore(&mut self, app: &AppName, id: ReleaseId) -> Result<JobDone, JobError> {
        let (target, release) = self.target_of(app, id)?;
        let side = target.beside()?;
        let was_live = self.apps.get(app).is_some_and(|state| state.live == Some(id));
        let adoption = self.adoption(&side, id, &release);
        let standing =
            target.standing().map_err(target.parent.failed(format_args!("looking at {}", target.path), 0))?;
        match standing {
            Standing::Ours(live) if live == id && adoption.is_taken().map_err(side.failed("looking for it", 0))? => {
                adoption.settle().map_err(side.failed("moving what outlives releases", 4096))?;
                let given = adoption.give_back(&target);
                given
                    .map_err(target.parent.failed(format_args!("putting back what stood at {}", target.path), 4096))?;
            }
            // A sync failed, or the word was not written, after the step itself.
            Standing::Directory if was_live || adoption.points().map_err(side.failed("looking for it", 0))? => {}
            _ => return Err(refused(format!("{} took nobody's place at {}", id.0.short(), target.path))),
        }
        self.update(app, |state| {
            (state.live, state.confirmed, state.intent, state.begun) = (None, None, None, 0);
        })?;
        let adoption = self.adoption(&side, id, &release);
        adoption.clear().map_err(side.failed("clearing what an adoption left", 0))?;
        Ok(JobDone::Restored)
    }

    fn adoption<'a>(&'a self, side: &'a Ground<D>, id: ReleaseId, release: &'a Release) -> Adoption<'a, D> {
        Adoption { disk: &self.shelves.disk, side, id, kept: &release.instructions.kept }
    }
}

impl<'a, D: Disk> Adoption<'a, D> {
    fn name(&self) -> Name {
        ours(&format!("{PREFIX}{}", self.id))
    }

    /// The link that stands in `kept` while the data are in the directory.
    fn link_to_directory(&self, kept: &KeptPath) -> Vec<u8> {
        let up = kept.path.iter().filter(|&&byte| byte == b'/').count() + 1;
        [&b"../".repeat(up), self.name().as_bytes(), b"/", &kept.path].concat()
    }

    /// What stands at a path of a tree; `None` where not even the directory above it is.
    fn spot(&self, (at, root): (&D::Dir, &Name), path: &[u8]) -> io::Result<Option<Spot<D>>> {
        let mut tree = Tree::new(self.disk.clone(), at.clone(), root.clone());
        let Some((dir, name)) = if_there(tree.place(path))? else { return Ok(None) };
        let found = match if_there(self.disk.metadata(&dir, &name))?.map(|meta| meta.kind) {
            None => Found::Nothing,
            Some(FileKind::Symlink) => Found::Link(self.disk.read_link(&dir, &name)?),
            Some(kind) => Found::Data(kind),
        };
        Ok(Some(Spot { dir, name, found }))
    }

    fn in_kept(&self, kept: &KeptPath) -> io::Result<Option<Spot<D>>> {
        self.spot((self.side.dir(), &ours(DIRECTORY)), &kept.path)
    }

    fn in_directory(&self, kept: &KeptPath) -> io::Result<Option<Spot<D>>> {
        self.spot((self.side.dir(), &self.name()), &kept.path)
    }

    /// What the directory at a name has of what outlives the release.
    fn moves(&self, at: &Ground<D>, name: &Name) -> Result<Vec<&'a KeptPath>, JobError> {
        let mut moves = Vec::new();
        for kept in self.kept {
            let spot = self.spot((at.dir(), name), &kept.path).map_err(|error| unreached(kept, &error))?;
            if spot.is_some_and(|spot| spot.found != Found::Nothing) {
                moves.push(kept);
            }
        }
        Ok(moves)
    }

    /// Refuses what cannot be moved to where it outlives releases.
    fn check_kept(&self, target: &Target<D>, kept: &KeptPath) -> Result<(), JobError> {
        let (path, shown) = (&target.path, words::name(&kept.path));
        let spot =
            self.spot((target.parent.dir(), &target.name), &kept.path).map_err(|error| unreached(kept, &error))?;
        match (spot.map_or(Found::Nothing, |spot| spot.found), kept.kind) {
            (Found::Nothing, _) => return Ok(()),
            (Found::Data(FileKind::Directory), KeptKind::Directory { .. })
            | (Found::Data(FileKind::File), KeptKind::File) => {}
            (found, _) => {
                let found = if matches!(found, Found::Link(_)) { "a symbolic link" } else { "of another kind" };
                return Err(refused(format!(
                    "{path}/{shown} is to outlive releases, and is {found}; make it what --keep-path and --keep-file say, then deploy again"
                )));
            }
        }
        let there = self.in_kept(kept).map_err(self.side.failed("looking at what outlives releases", 0))?;
        match there.map_or(Found::Nothing, |spot| spot.found) {
            Found::Nothing => Ok(()),
            Found::Link(link) if link == self.link_to_directory(kept) => Ok(()),
            _ => Err(refused(format!(
                "{path}/{shown} is to outlive releases, and {}/{DIRECTORY}/{shown} is there already; move one of them away, then deploy again",
                self.side.name()
            ))),
        }
    }

    /// Whether the directory stands beside the releases.
    fn is_taken(&self) -> io::Result<bool> {
        let found = if_there(self.disk.metadata(self.side.dir(), &self.name()))?;
        Ok(found.is_some_and(|meta| meta.kind == FileKind::Directory))
    }

    /// Makes the symlink that will change places with the directory.
    fn point(&self, target: &Target<D>) -> Result<(), JobError> {
        let failed = || self.side.failed("making a link", 4096);
        if self.is_taken().map_err(failed())? {
            let (side, name) = (self.side.name(), self.name());
            return Err(refused(format!(
                "{side}/{} is there already, from an earlier adoption; move it away, then deploy again",
                words::name(name.as_bytes())
            )));
        }
        let point = || {
            if_there(self.disk.remove_file(self.side.dir(), &self.name()))?;
            self.disk.symlink(self.side.dir(), &self.name(), &target.link_to(self.id))?;
            self.disk.sync_dir(self.side.dir())
        };
        point().map_err(failed())
    }

    /// Lets what outlives releases be found in the directory, from the moment on at which that stands beside them.
    fn link_kept(&self, (dir, name): (&D::Dir, &Name), kept: &KeptPath) -> io::Result<()> {
        if_there(self.disk.remove_file(dir, name))?;
        self.disk.symlink(dir, name, &self.link_to_directory(kept))?;
        self.disk.sync_dir(dir)
    }

    fn take(&self, target: &Target<D>) -> Result<(), JobError> {
        let exchanged = self.change_places(target);
        exchanged.map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => refused(format!("{} is a mount point, and is not adopted: unmount it", target.path)),
            io::ErrorKind::CrossesDevices => refused(format!("{} is on another file system, and is not adopted", target.path)),
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => refused(format!(
                "the file system of {0} cannot have two names change places in one step, so it is not adopted; move it away by hand, then \
                 deploy again: mv {0} {0}.before",
                target.path
            )),
            _ => target.parent.failed(format_args!("switching {}", target.path), 4096)(error),
        })
    }

    fn change_places(&self, target: &Target<D>) -> io::Result<()> {
        self.disk.exchange(self.side.dir(), &self.name(), target.parent.dir(), &target.name)?;
        self.disk.sync_dir(target.parent.dir())?;
        self.disk.sync_dir(self.side.dir())
    }

    /// Finishes the moves of what outlives releases, or takes back their beginnings where the directory is not here.
    fn settle(&self) -> io::Result<()> {
        if !self.is_taken()? {
            return self.clear();
        }
        self.kept.iter().try_for_each(|kept| self.settle_kept(kept))
    }

    fn settle_kept(&self, kept: &KeptPath) -> io::Result<()> {
        let (Some(mut data), Some(place)) = (self.in_directory(kept)?, self.in_kept(kept)?) else { return Ok(()) };
        let begun = Found::Link(self.link_to_directory(kept));
        if place.found == begun && matches!(data.found, Found::Data(_)) {
            self.disk.exchange(&data.dir, &data.name, &place.dir, &place.name)?;
            self.disk.sync_dir(&place.dir)?;
            self.disk.sync_dir(&data.dir)?;
            data.found = begun.clone();
        } else if place.found == begun {
            // Somebody took the data away: there is nothing that it could lead to.
            self.disk.remove_file(&place.dir, &place.name)?;
            self.disk.sync_dir(&place.dir)?;
        }
        // The link has moved to where the data were, and leads to itself there.
        if data.found == begun { self.replace(&data, &kept.link()) } else { Ok(()) }
    }

    /// Has another link stand where one stands.
    fn replace(&self, spot: &Spot<D>, link: &[u8]) -> io::Result<()> {
        let next = ours(NEXT);
        if_there(self.disk.remove_file(self.side.dir(), &next))?;
        self.disk.symlink(self.side.dir(), &next, link)?;
        self.disk.rename(self.side.dir(), &next, &spot.dir, &spot.name)?;
        self.disk.sync_dir(&spot.dir)?;
        self.disk.sync_dir(self.side.dir())
    }

    /// Gives the directory its data back, and then its place.
    fn give_back(&self, target: &Target<D>) -> io::Result<()> {
        for kept in self.kept {
            let (Some(link), Some(data)) = (self.in_directory(kept)?, self.in_kept(kept)?) else { continue };
            if link.found == Found::Link(kept.link()) && matches!(data.found, Found::Data(_)) {
                self.replace(&link, &self.link_to_directory(kept))?;
                self.disk.exchange(&link.dir, &link.name, &data.dir, &data.name)?;
                self.disk.sync_dir(&link.dir)?;
                self.disk.sync_dir(&data.dir)?;
            }
        }
        self.change_places(target)
    }

    /// Removes the links of an adoption whose directory is not here.
    fn clear(&self) -> io::Result<()> {
        for kept in self.kept {
            if let Some(spot) = self.in_kept(kept)?
                && spot.found == Found::Link(self.link_to_directory(kept))
            {
                self.disk.remove_file(&spot.dir, &spot.name)?;
                self.disk.sync_dir(&spot.dir)?;
            }
        }
        if self.points()? {
            self.disk.remove_file(self.side.dir(), &self.name())?;
            self.disk.sync_dir(self.side.dir())?;
        }
        Ok(())
    }

    /// Whether a link stands where the directory would.
    fn points(&self) -> io::Result<bool> {
        let found = if_there(self.disk.metadata(self.side.dir(), &self.name()))?;
        Ok(found.is_some_and(|meta| meta.kind == FileKind::Symlink))
    }
}

/// The release that a directory beside releases was adopted by.
fn adopter(name: &Name) -> Option<ReleaseId> {
    std::str::from_utf8(name.as_bytes()).ok()?.strip_prefix(PREFIX)?.parse().ok()
}

/// Whether a name beside releases is that of an adopted directory.
pub(crate) fn is_adopted(name: &Name, by: ReleaseId) -> bool {
    adopter(name) == Some(by)
}

fn unreached(kept: &KeptPath, error: &io::Error) -> JobError {
    refused(format!(
        "{} is to outlive releases, and what leads to it in the directory that stands there is no plain directory ({error})",
        words::name(&kept.path)
    ))
}
