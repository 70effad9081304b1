//! Where a release goes: the symlink of its path, the directory beside it that holds laid-out releases, and whose they are.
//!
//! For the path `/srv/app` that is, in `/srv`:
//!
//! ```text
//! app -> .app.tiding/3f0c...        the symlink that is swung
//! .app.tiding/                      ours; 0755, so that services can pass through
//!     owner                         which application of which fleet, as text
//!     kept/                         what outlives releases, by its path in them; never removed
//!     3f0c...                       a laid-out release, by its id
//!     staging-3f0c...               one that is being laid out; 0700
//!     removing-3f0c...              one that is being removed
//!     adopted-3f0c...               what stood at the path before a release took its place; never removed
//!     next                          a symlink that is about to be renamed over the path
//! ```
//!
//! No symlink is ever followed on the way: a path that leads through one is refused, with words.

use crate::disk::{Disk, FileKind, Meta, Name};
use crate::ground::{Ground, if_there, make_dir, ours, read_short, write_short};
use crate::keep::refused;
use crate::label;
use crate::words;
use content::{AppName, FleetId, Release, ReleaseId};
use engine::door::JobError;
use std::io;
use std::sync::Arc;

/// The path at which a release is laid out whose own path is this: absolute, as the release says it.
pub fn laid_out_at(path: &[u8], release: ReleaseId) -> Vec<u8> {
    let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = path.split_at(at);
    [parent, b".", name, b".tiding/", release.to_string().as_bytes()].concat()
}

/// Where releases of one path go.
pub(crate) struct Target<D: Disk> {
    disk: Arc<D>,
    /// The directory that the path stands in.
    pub(crate) parent: Ground<D>,
    /// The last component of the path.
    pub(crate) name: Name,
    /// The path in words.
    pub(crate) path: String,
    side: Name,
}

/// Whether directories that lack on the way to a path are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Make,
    Find,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Nothing,
    /// A symlink of ours, to this release.
    Ours(ReleaseId),
    /// A directory that nobody laid out.
    Directory,
    /// Something else; in words.
    Foreign(&'static str),
}

impl<D: Disk> Target<D> {
    /// Walks to the directory of an absolute path that was checked; `None` when it is not there.
    pub(crate) fn find(disk: &Arc<D>, targets: &D::Dir, path: &[u8], way: Way) -> Result<Option<Self>, JobError> {
        let shown = words::name(path);
        let mut names = components(path)?;
        let name = names.pop().ok_or_else(|| refused("a release's path names nothing"))?;
        let mut dir = Ground::new(disk.clone(), targets.clone(), "/");
        let mut so_far = Vec::new();
        for name in names {
            so_far.push(b'/');
            so_far.extend_from_slice(name.as_bytes());
            match step(disk, &dir, &name, &so_far, way)? {
                Some(next) => dir = next,
                None => return Ok(None),
            }
        }
        let side = [b".", name.as_bytes(), b".tiding"].concat();
        let side = Name::new(side).map_err(|_| refused(format!("{shown}: the last name of the path is too long")))?;
        Ok(Some(Self { disk: disk.clone(), parent: dir, name, path: shown, side }))
    }

    /// What stands at the path.
    pub(crate) fn standing(&self) -> io::Result<Standing> {
        let Some(meta) = if_there(self.disk.metadata(self.parent.dir(), &self.name))? else {
            return Ok(Standing::Nothing);
        };
        Ok(match meta.kind {
            FileKind::Directory => Standing::Directory,
            FileKind::File => Standing::Foreign("a file"),
            FileKind::Other(what) => Standing::Foreign(what),
            FileKind::Symlink => {
                let target = self.disk.read_link(self.parent.dir(), &self.name)?;
                self.release_of(&target).map_or(Standing::Foreign("a symbolic link that is not ours"), Standing::Ours)
            }
        })
    }

    /// Where the path points, unless what stands there is not ours: that is refused, saying how to adopt it.
    pub(crate) fn ours(&self) -> Result<Option<ReleaseId>, JobError> {
        let path = &self.path;
        match self.standing().map_err(self.parent.failed(format_args!("looking at {path}"), 0))? {
            Standing::Nothing => Ok(None),
            Standing::Ours(release) => Ok(Some(release)),
            Standing::Directory => Err(refused(format!(
                "{path} is a directory, and tiding will not replace what it did not make; deploy again with --adopt to have it kept beside \
                 the releases, or move it away: mv {path} {path}.before"
            ))),
            Standing::Foreign(what) => Err(refused(format!(
                "{path} is {what}, and tiding will not replace what it did not make; \
                 move it away, then deploy again: mv {path} {path}.before"
            ))),
        }
    }

    /// What the symlink says when it points to a release.
    pub(crate) fn link_to(&self, release: ReleaseId) -> Vec<u8> {
        [self.side.as_bytes(), b"/", release.to_string().as_bytes()].concat()
    }

    fn release_of(&self, link: &[u8]) -> Option<ReleaseId> {
        let hex = link.strip_prefix(self.side.as_bytes())?.strip_prefix(b"/")?;
        std::str::from_utf8(hex).ok()?.parse().ok()
    }

    /// The directory of laid-out releases, if it is there.
    pub(crate) fn side(&self) -> io::Result<Option<D::Dir>> {
        if_there(self.disk.open_dir(self.parent.dir(), &self.side))
    }

    /// Gives the directory of laid-out releases, and so what will be made in it, the label of what stands at the path.
    pub(crate) fn label_like_path(&self) -> Result<(), JobError> {
        let (parent, path) = (self.parent.dir(), &self.path);
        let copied = label::copy(&*self.disk, (parent, &self.name), (parent, &self.side));
        copied.map_err(self.parent.failed(format_args!("giving releases the label of {path}"), 0))
    }

    /// The path of the directory of laid-out releases, for people.
    pub(crate) fn side_path(&self) -> String {
        format!("{}/{}", self.parent.name().trim_end_matches('/'), words::name(self.side.as_bytes()))
    }

    /// Fails when the directory of laid-out releases, which records say was there, is not.
    pub(crate) fn refuse_without_side(&self) -> Result<(), JobError> {
        self.beside().map(drop)
    }

    /// The directory of laid-out releases, which records say was there.
    pub(crate) fn beside(&self) -> Result<Ground<D>, JobError> {
        let side = self.side().map_err(self.parent.failed(format_args!("opening {}", self.side_path()), 0))?;
        let side = side.ok_or_else(|| vanished(&self.side_path()))?;
        Ok(Ground::new(self.disk.clone(), side, self.side_path()))
    }

    /// The directory of laid-out releases of this application; made, durably, when it is not there, and refused when it
    /// is not ours. `uid` is who we are.
    pub(crate) fn claim(&self, release: &Release, uid: u32) -> Result<Ground<D>, JobError> {
        let parent = self.refuse_lax_parent()?;
        let shown = self.side_path();
        let failed = || self.parent.failed(format!("making {shown}"), 4096);
        if let Some(meta) = if_there(self.disk.metadata(self.parent.dir(), &self.side)).map_err(failed())? {
            refuse_foreign(&shown, &meta, uid)?;
            self.refuse_apart(&parent, &meta)?;
        }
        let dir = make_dir(&*self.disk, self.parent.dir(), &self.side, 0o755).map_err(failed())?;
        self.sign(&dir, &shown, &release.app, release.fleet)?;
        Ok(Ground::new(self.disk.clone(), dir, shown))
    }

    /// Reads whose the directory is; signs it when nobody has.
    fn sign(&self, dir: &D::Dir, shown: &str, app: &AppName, fleet: FleetId) -> Result<(), JobError> {
        let owner = ours("owner");
        let line = format!("tiding 1\napplication {app}\nfleet {fleet}\n");
        let failed = || self.parent.failed(format!("reading the owner of {shown}"), 4096);
        match if_there(read_short(&*self.disk, dir, &owner)).map_err(failed())? {
            Some(found) if found == line.as_bytes() => Ok(()),
            Some(found) => Err(refused(format!(
                "{shown} belongs to another application or fleet ({}); choose another path, or remove it if that one is \
                 gone",
                on_one_line(&found)
            ))),
            None => {
                write_short(&*self.disk, dir, &owner, line.as_bytes()).map_err(failed())?;
                self.disk.sync_dir(self.parent.dir()).map_err(failed())
            }
        }
    }

    /// Where anyone may rename what others made, nobody can promise what a path points to.
    fn refuse_lax_parent(&self) -> Result<Meta, JobError> {
        let meta = self.disk.dir_metadata(self.parent.dir()).map_err(self.parent.failed("looking at it", 0))?;
        let (lax, sticky) = (meta.mode & 0o002 != 0, meta.mode & 0o1000 != 0);
        match lax && !sticky {
            true => Err(refused(format!(
                "{} may be written by everyone (mode {:o}, owner {}); take that away first: chmod o-w {}",
                self.parent.name(),
                meta.mode,
                meta.uid,
                self.parent.name()
            ))),
            false => Ok(meta),
        }
    }

    /// A path is swung by renaming a symlink from the directory of releases over it, which no file system does with another.
    fn refuse_apart(&self, parent: &Meta, side: &Meta) -> Result<(), JobError> {
        match parent.inode.0 == side.inode.0 {
            true => Ok(()),
            false => Err(refused(format!(
                "{} is a file system of its own, and {} cannot be swung to a release on it; mount it at a directory above both, or \
                 unmount it",
                self.side_path(),
                self.path
            ))),
        }
    }
}

/// Releases were laid out at this path, and the directory that it stands in is not there.
pub(crate) fn without_side(path: &[u8]) -> JobError {
    let slash = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = path.split_at(slash);
    vanished(&words::name(&[parent, b".", name, b".tiding"].concat()))
}

fn vanished(side: &str) -> JobError {
    JobError::Disk {
        why: format!(
            "{side} is not there, and releases were laid out in it: is its file system not mounted? mount it, then deploy \
             again; if it was removed on purpose: mkdir -p {side} && chmod 755 {side}"
        ),
    }
}

fn refuse_foreign(shown: &str, meta: &Meta, uid: u32) -> Result<(), JobError> {
    let why = match meta.kind {
        FileKind::Directory if meta.uid != uid => format!("is owned by user {}, not by user {uid}", meta.uid),
        FileKind::Directory if meta.mode & 0o022 != 0 => {
            format!("may be written by others than its owner {} (mode {:o})", meta.uid, meta.mode)
        }
        FileKind::Directory => return Ok(()),
        _ => "is no directory".to_owned(),
    };
    Err(refused(format!(
        "{shown} {why}; tiding keeps releases there, and will not trust it: remove it, then deploy again"
    )))
}

fn components(path: &[u8]) -> Result<Vec<Name>, JobError> {
    let checked = content::release::check_target_path(path).map_err(|bad| refused(bad.to_string()));
    checked?;
    let names = path[1..].split(|&byte| byte == b'/').map(Name::new);
    names.collect::<Result<_, _>>().map_err(|bad| refused(bad.to_string()))
}

/// One directory further.
fn step<D: Disk>(
    disk: &Arc<D>,
    at: &Ground<D>,
    name: &Name,
    so_far: &[u8],
    way: Way,
) -> Result<Option<Ground<D>>, JobError> {
    let shown = words::name(so_far);
    let opened = match if_there(disk.open_dir(at.dir(), name)) {
        Ok(None) if way == Way::Make => make_durably(disk, at.dir(), name).map(Some),
        other => other,
    };
    match opened {
        Ok(dir) => Ok(dir.map(|dir| Ground::new(disk.clone(), dir, shown))),
        Err(error) => match disk.metadata(at.dir(), name).map(|meta| meta.kind) {
            Ok(FileKind::Symlink) => Err(refused(symlink_words(disk, at, name, &shown))),
            Ok(FileKind::File | FileKind::Other(_)) => Err(refused(format!("{shown} is no directory"))),
            _ => Err(at.failed(format_args!("opening {shown}"), 4096)(error)),
        },
    }
}

fn make_durably<D: Disk>(disk: &Arc<D>, at: &D::Dir, name: &Name) -> io::Result<D::Dir> {
    let dir = make_dir(&**disk, at, name, 0o755)?;
    disk.sync_dir(at)?;
    Ok(dir)
}

fn symlink_words<D: Disk>(disk: &Arc<D>, at: &Ground<D>, name: &Name, shown: &str) -> String {
    let target = disk.read_link(at.dir(), name).map_or_else(|_| "elsewhere".to_owned(), |target| words::name(&target));
    format!(
        "{shown} is a symbolic link (to {target}), and a release's path may not lead through one; name its real path"
    )
}

/// An owner's words, for people.
fn on_one_line(owner: &[u8]) -> String {
    let words_of = owner.strip_prefix(b"tiding 1\n").unwrap_or(owner).trim_ascii_end();
    words_of.split(|byte| *byte == b'\n').map(words::name).collect::<Vec<_>>().join(", ")
}
