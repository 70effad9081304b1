//! Walking a tree by handles: from a manifest's path to the open directory it stands in, and removing whole trees.
//!
//! No path is ever given to the disk, only single names relative to open directories, so nothing here can leave its root.

use crate::disk::{Disk, FileKind, Name};
use crate::ground::if_there;
use std::io;
use std::sync::Arc;

/// A tree at `root` in `base`, with the directories open that the last path led through.
pub(crate) struct Tree<D: Disk> {
    disk: Arc<D>,
    base: D::Dir,
    root: Name,
    /// Open directories by path, outermost first; each stands in the one before it.
    open: Vec<(Vec<u8>, D::Dir)>,
}

impl<D: Disk> Tree<D> {
    pub(crate) fn new(disk: Arc<D>, base: D::Dir, root: Name) -> Self {
        Self { disk, base, root, open: Vec::new() }
    }

    /// The directory that a path stands in, and its name there. Neighbouring paths cost little.
    pub(crate) fn place(&mut self, path: &[u8]) -> io::Result<(D::Dir, Name)> {
        if path.is_empty() {
            return Ok((self.base.clone(), self.root.clone()));
        }
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        Ok((self.directory(parent)?, one_name(name)?))
    }

    /// The directory at a path.
    pub(crate) fn directory(&mut self, path: &[u8]) -> io::Result<D::Dir> {
        while self.open.last().is_some_and(|(above, _)| !holds(above, path)) {
            self.open.pop();
        }
        if self.open.is_empty() {
            self.open.push((Vec::new(), self.disk.open_dir(&self.base, &self.root)?));
        }
        while let Some((above, dir)) = self.open.last()
            && above.len() < path.len()
        {
            let begin = if above.is_empty() { 0 } else { above.len() + 1 };
            let end = path[begin..].iter().position(|&byte| byte == b'/').map_or(path.len(), |slash| begin + slash);
            let next = self.disk.open_dir(dir, &one_name(&path[begin..end])?)?;
            self.open.push((path[..end].to_vec(), next));
        }
        Ok(self.open.last().expect("the root stands there").1.clone())
    }
}

/// Whether `path` is `above` or stands below it.
pub(crate) fn holds(above: &[u8], path: &[u8]) -> bool {
    match path.strip_prefix(above) {
        Some(rest) => above.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

fn one_name(bytes: &[u8]) -> io::Result<Name> {
    Name::new(bytes).map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad.to_string()))
}

/// A directory that is being emptied.
struct Level<D: Disk> {
    parent: D::Dir,
    name: Name,
    dir: D::Dir,
    left: Vec<Name>,
}

fn enter<D: Disk>(disk: &D, parent: &D::Dir, name: Name) -> io::Result<Level<D>> {
    // Its own mode may forbid us to empty it.
    disk.set_mode(parent, &name, 0o700)?;
    let dir = disk.open_dir(parent, &name)?;
    Ok(Level { parent: parent.clone(), left: disk.list(&dir)?, name, dir })
}

/// Removes whatever stands at a name, directories with all that is in them; returns how many bytes of files that frees.
/// It can be interrupted anywhere and begun again. Its memory is bounded by the depth of the tree and its widest
/// directories, not by the stack.
pub(crate) fn remove<D: Disk>(disk: &D, at: &D::Dir, name: &Name) -> io::Result<u64> {
    let mut freed = 0;
    let mut levels: Vec<Level<D>> = Vec::new();
    let mut next = Some((at.clone(), name.clone()));
    loop {
        if let Some((at, name)) = next.take() {
            match if_there(disk.metadata(&at, &name))? {
                None => {}
                Some(meta) if meta.kind == FileKind::Directory => levels.push(enter(disk, &at, name)?),
                Some(meta) => {
                    disk.remove_file(&at, &name)?;
                    freed += if meta.kind == FileKind::File && meta.links <= 1 { meta.len } else { 0 };
                }
            }
        }
        let Some(level) = levels.last_mut() else { return Ok(freed) };
        next = level.left.pop().map(|name| (level.dir.clone(), name));
        if next.is_none() {
            disk.remove_dir(&level.parent, &level.name)?;
            levels.pop();
        }
    }
}
