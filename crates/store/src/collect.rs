//! Forgetting what nobody needs: contents, and laid-out releases.
//!
//! Invariant: whatever the caller says, what is live, confirmed or intended stays, with its contents, and so does a content while it is
//! pinned.

use crate::assemble::discard;
use crate::disk::Disk;
use crate::ground::Ground;
use crate::keep::decode_release;
use crate::record::Change;
use crate::target::{Standing, Target, Way};
use crate::{Store, words};
use content::{ContentId, Release, ReleaseId, Signed};
use engine::door::{JobDone, JobError};
use std::collections::BTreeSet;

impl<D: Disk> Store<D> {
    /// Forgets every content and laid-out release that is not among these and not in use.
    pub(crate) fn collect(&mut self, contents: &[ContentId], releases: &[ReleaseId]) -> Result<JobDone, JobError> {
        let mut keep: BTreeSet<ReleaseId> = releases.iter().copied().collect();
        keep.extend(self.apps.values().flat_map(|state| state.kept()));
        let mut freed = self.collect_releases(&keep)?;
        let mut roots: BTreeSet<ContentId> = contents.iter().copied().collect();
        roots.extend(self.releases.values().flat_map(contents_of));
        let is_unneeded = |id: &ContentId| !roots.contains(id) && !self.shelves.pins.hold(*id);
        let unneeded: Vec<ContentId> =
            self.shelves.all().iter().map(|holding| holding.id()).filter(is_unneeded).collect();
        if !unneeded.is_empty() {
            freed += self.drop_contents(&unneeded)?;
        }
        Ok(JobDone::Collected { freed })
    }

    fn collect_releases(&mut self, keep: &BTreeSet<ReleaseId>) -> Result<u64, JobError> {
        let paths: BTreeSet<Vec<u8>> =
            self.releases.values().filter_map(|signed| decode_release(signed).ok()).map(path_of).collect();
        let unneeded: Vec<ReleaseId> = self.releases.keys().copied().filter(|id| !keep.contains(id)).collect();
        if !unneeded.is_empty() {
            let changes: Vec<Change> = unneeded.iter().map(|id| Change::no_release(*id)).collect();
            self.commit(&changes)?;
            self.releases.retain(|id, _| keep.contains(id));
        }
        let mut freed = 0;
        for path in paths {
            freed += self.clear_side(&path)?;
        }
        Ok(freed)
    }

    /// Removes the laid-out trees of a path that no record names and that are not live.
    fn clear_side(&self, path: &[u8]) -> Result<u64, JobError> {
        let Some(target) = Target::find(&self.shelves.disk, &self.targets, path, Way::Find)? else { return Ok(0) };
        let failed = || target.parent.failed(format!("clearing old releases of {}", words::name(path)), 0);
        let standing = target.standing().map_err(failed())?;
        let Some(side) = target.side().map_err(failed())? else { return Ok(0) };
        let side = Ground::new(self.shelves.disk.clone(), side, target.path.clone());
        let mut freed = 0;
        for name in self.shelves.disk.list(side.dir()).map_err(failed())? {
            let id = std::str::from_utf8(name.as_bytes()).ok().and_then(|text| text.parse().ok());
            let unneeded = id.is_some_and(|id| !self.releases.contains_key(&id) && standing != Standing::Ours(id));
            if unneeded {
                freed += discard(&*self.shelves.disk, &side, &name).map_err(failed())?;
            }
        }
        Ok(freed)
    }
}

fn path_of(release: Release) -> Vec<u8> {
    release.instructions.path
}

/// The contents of a release that is laid out: its manifest says what it must be.
fn contents_of(signed: &Signed) -> Vec<ContentId> {
    let Ok(release) = decode_release(signed) else { return Vec::new() };
    [Some(release.content), release.attributes].into_iter().flatten().map(|spec| spec.id()).collect()
}
