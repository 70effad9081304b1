//! From complete contents to a laid-out release: checked, laid out in private, synced once, named, recorded.
//!
//! Invariant: the name of a laid-out release in its directory implies that all of it was durable when it got the name.

use crate::alike::Live;
use crate::disk::{Disk, Name};
use crate::ground::{Ground, Need, if_there, ours};
use crate::keep::{decode_release, no_manifest, refused, unread};
use crate::kept::check_links;
use crate::layout::Layout;
use crate::plan::Plan;
use crate::record::Change;
use crate::render::Rendered;
use crate::target::{Target, Way, without_side};
use crate::verify::Check;
use crate::{Store, tree};
use content::attributes::Attributes;
use content::manifest::{Extent, Kind, Outline};
use content::{Release, ReleaseId, Signed};
use engine::door::{JobDone, JobError};

impl<D: Disk> Store<D> {
    /// Lays a release out beside its path, durably, not live, and remembers it.
    pub(crate) fn assemble(&mut self, signed: &Signed) -> Result<JobDone, JobError> {
        let id = ReleaseId(signed.payload_digest());
        let release = decode_release(signed)?;
        let mut plan = self.plan(id, &release)?;
        plan.attributes = plan.attributes.take().map(|all| self.owned(all, &release)).transpose()?;
        check_links(&plan.manifest, &release.instructions.kept)?;
        self.refuse_vanished(&release.instructions.path)?;
        let target = Target::find(&self.shelves.disk, &self.targets, &release.instructions.path, Way::Make)?;
        let target = target.expect("what lacked was made");
        // Nothing is made beside what must stay as it is.
        target.before(&release)?;
        let side = target.claim(&release, self.uid)?;
        let live = self.ready_beside((&target, &side), (id, &release))?.release();
        if !self.stands_already(&side, live, id, &plan)? {
            self.lay_out(&side, id, &plan, self.live(live, &side, &plan))?;
        }
        self.commit(&[Change::release(signed)])?;
        self.releases.insert(id, signed.clone());
        Ok(JobDone::Assembled)
    }

    /// Fails while releases are recorded at a path and not even the directory that held them is there: most likely its
    /// file system is not mounted (yet), and what was laid out now would be hidden as soon as it is. It is tried again
    /// like any failure of the disk. Whoever removed all of it on purpose makes the empty directory again, as the words
    /// say, or deploys to another path.
    fn refuse_vanished(&self, path: &[u8]) -> Result<(), JobError> {
        let mut recorded = self.releases.values().filter_map(|signed| decode_release(signed).ok());
        if !recorded.any(|release| release.instructions.path == path) {
            return Ok(());
        }
        match Target::find(&self.shelves.disk, &self.targets, path, Way::Find)? {
            Some(target) => target.refuse_without_side(),
            None => Err(without_side(path)),
        }
    }

    /// Reads what is to be laid out, and holds it against what the release declares.
    pub(crate) fn plan(&mut self, id: ReleaseId, release: &Release) -> Result<Plan<D>, JobError> {
        let holding = self.complete(&release.content)?;
        let manifest = self.shelves.outline(&holding).map_err(|why| no_manifest(&holding, why))?;
        let totals = manifest.totals();
        if manifest.spec(release.content.blob) != release.content {
            return Err(refused("the manifest names other pieces than the release declares"));
        }
        if (totals.entries, totals.size) != (release.entries, release.size) {
            return Err(refused("the manifest has other entries or sizes than the release declares"));
        }
        let attributes = self.attributes(release)?;
        let places = self.shelves.places(&holding).map_err(|why| no_manifest(&holding, why))?;
        let plan = Plan { holding, manifest, places, attributes, rendered: Rendered::new() };
        let rendered = self.render(&plan, id, release)?;
        Ok(Plan { rendered, ..plan })
    }

    fn attributes(&mut self, release: &Release) -> Result<Option<Attributes>, JobError> {
        let Some(spec) = release.attributes else { return Ok(None) };
        let holding = self.complete(&spec)?;
        let bytes = self.shelves.read_blob(&holding).map_err(|why| unread(&holding, why))?;
        let attributes = Attributes::decode(&bytes).map_err(|why| refused(why.to_string()))?;
        match attributes.0.len() == release.entries as usize {
            true => Ok(Some(attributes)),
            false => Err(refused("the release has times and owners for other entries than it has")),
        }
    }

    /// Whether this release is laid out here already. One that nobody recorded (the state was lost) is believed when it is
    /// what it should be, or when it is live, where programs may have written into it; else it is removed.
    fn stands_already(
        &mut self,
        side: &Ground<D>,
        live: Option<ReleaseId>,
        id: ReleaseId,
        plan: &Plan<D>,
    ) -> Result<bool, JobError> {
        let (disk, name) = (self.shelves.disk.clone(), ours(&id.to_string()));
        let there = if_there(disk.metadata(side.dir(), &name)).map_err(side.failed("looking for it", 0))?;
        if there.is_none() {
            return Ok(false);
        }
        if self.releases.contains_key(&id) || live == Some(id) {
            return Ok(true);
        }
        let check = Check::new(&self.shelves, plan, side.dir().clone(), name.clone());
        if check.run()?.differing == 0 {
            return Ok(true);
        }
        discard(&*disk, side, &name).map_err(side.failed("removing a tree that is not what it should be", 0))?;
        Ok(false)
    }

    fn lay_out(
        &self,
        side: &Ground<D>,
        id: ReleaseId,
        plan: &Plan<D>,
        live: Option<Live<'_, D>>,
    ) -> Result<(), JobError> {
        let disk = &self.shelves.disk;
        side.room(need(&plan.manifest), self.shelves.options.reserve)?;
        let staging = ours(&format!("staging-{}", id.0.short()));
        let clear = || tree::remove(&**disk, side.dir(), &staging);
        clear().map_err(side.failed("clearing what an interrupted layout left", 0))?;
        let laid_out = Layout::new(&self.shelves, plan, side, staging.clone(), live).run().and_then(|()| {
            let named = disk
                .sync_all(side.dir())
                .and_then(|()| disk.rename(side.dir(), &staging, side.dir(), &ours(&id.to_string())))
                .and_then(|()| disk.sync_dir(side.dir()));
            named.map_err(side.failed("making a release durable", 0))
        });
        if laid_out.is_err() {
            // What cannot be cleared now is cleared at the next start, or before the next layout.
            clear().unwrap_or_default();
        }
        laid_out
    }
}

/// Takes a laid-out tree out of use in one step, and then removes it.
pub(crate) fn discard<D: Disk>(disk: &D, side: &Ground<D>, name: &Name) -> std::io::Result<u64> {
    let removing = Name::new([b"removing-", name.as_bytes()].concat()).map_err(std::io::Error::other)?;
    tree::remove(disk, side.dir(), &removing)?;
    if if_there(disk.rename(side.dir(), name, side.dir(), &removing))?.is_none() {
        return Ok(0);
    }
    disk.sync_dir(side.dir())?;
    tree::remove(disk, side.dir(), &removing)
}

/// What laying a manifest out takes.
fn need(manifest: &Outline) -> Need {
    const BLOCK: u64 = 4096;
    let mut need = Need::default();
    for entry in &manifest.entries {
        need.inodes += u64::from(!matches!(entry.kind, Kind::HardLink { .. }));
        if let Kind::File { len, extents, .. } = &entry.kind {
            let hole = |extent: &Extent| if let Extent::Hole { len } = extent { *len } else { 0 };
            let holes: u64 = extents.iter().map(hole).sum();
            need.bytes += len.saturating_sub(holes).next_multiple_of(BLOCK);
        }
    }
    need
}
