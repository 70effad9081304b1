//! Accepting orders, swinging a path to a release, and confirming it.
//!
//! A switch is a durable intent, a rename of a symlink over the path, a sync of the directory, and a durable word. It can
//! be cut anywhere and done again: readers see the old release or the new one, and where the symlink points is the truth.
//! Done again means renamed again: a sync that failed once says nothing when it succeeds later, only a new rename does.

use crate::Store;
use crate::adopt::Before;
use crate::disk::Disk;
use crate::ground::{Ground, if_there, ours};
use crate::keep::{decode_release, refused};
use crate::record::{AppState, Change, GivenUp};
use crate::target::{Target, Way, without_side};
use content::{AppName, Order, OrderId, PayloadKind, Release, ReleaseId, Signed};
use engine::door::{JobDone, JobError};
use std::io;

impl<D: Disk> Store<D> {
    /// Remembers an order, durably; one below the floor is refused even if the engine let it through.
    pub(crate) fn accept(&mut self, signed: &Signed) -> Result<JobDone, JobError> {
        let order = decode_order(signed)?;
        let known = self.apps.get(&order.app).and_then(|state| state.order.as_ref()).map(decode_order).transpose()?;
        if let Some(known) = known.filter(|known| known.epoch > order.epoch) {
            return Err(refused(format!(
                "order {} of {} has epoch {}, and epoch {} was accepted here",
                signed.payload_digest().short(),
                order.app,
                order.epoch,
                known.epoch
            )));
        }
        let id = OrderId(signed.payload_digest());
        self.update(&order.app, |state| {
            // What failed under an earlier order is tried anew under this one.
            state.given_up = state.given_up.take().filter(|given_up| given_up.order == id);
            state.order = Some(signed.clone());
        })?;
        Ok(JobDone::Accepted)
    }

    /// Swings the path of an application to a laid-out release.
    pub(crate) fn switch(&mut self, app: &AppName, release: ReleaseId) -> Result<JobDone, JobError> {
        let (target, laid_out) = self.target_of(app, release)?;
        // What outlives releases may have been removed, or replaced, since this one was laid out.
        let side = target.beside()?;
        let before = self.ready_beside((&target, &side), (release, &laid_out))?;
        self.update(app, |state| {
            let is_again = state.intent == Some(release);
            (state.intent, state.begun) = (Some(release), if is_again { state.begun.saturating_add(1) } else { 1 });
        })?;
        // Also when the path points there already: whoever swung it may not have lived, or not been able, to make it durable.
        match before {
            Before::Directory => self.adopt((&target, &side), (release, &laid_out))?,
            Before::Nothing | Before::Release(_) => {
                let swung = self.swing(&target, release);
                swung.map_err(target.parent.failed(format_args!("switching {}", target.path), 4096))?;
            }
        }
        self.settle_adoptions(&side, (release, &laid_out))?;
        self.update(app, |state| state.live = Some(release))?;
        Ok(JobDone::Switched { previous: before.release() })
    }

    /// Makes what lacks beside a path for a release, and refuses what is not as it should be; what it takes the place of.
    pub(crate) fn ready_beside(
        &self,
        (target, side): (&Target<D>, &Ground<D>),
        (id, release): (ReleaseId, &Release),
    ) -> Result<Before, JobError> {
        self.settle_adoptions(side, (id, release))?;
        let before = target.before(release)?;
        if before == Before::Directory {
            self.check_adoption((target, side), (id, release))?;
            let kept = self.kept_but_moved((target, side), (id, release))?;
            kept.into_iter().try_for_each(|kept| self.ready(side, kept))?;
        } else {
            release.instructions.kept.iter().try_for_each(|kept| self.ready(side, kept))?;
        }
        Ok(before)
    }

    fn swing(&self, target: &Target<D>, release: ReleaseId) -> io::Result<()> {
        let disk = &self.shelves.disk;
        let side = target.side()?.ok_or(io::ErrorKind::NotFound)?;
        disk.metadata(&side, &ours(&release.to_string()))?;
        let next = ours("next");
        if_there(disk.remove_file(&side, &next))?;
        disk.symlink(&side, &next, &target.link_to(release))?;
        disk.rename(&side, &next, target.parent.dir(), &target.name)?;
        disk.sync_dir(target.parent.dir())?;
        disk.sync_dir(&side)
    }

    pub(crate) fn target_of(&self, app: &AppName, release: ReleaseId) -> Result<(Target<D>, Release), JobError> {
        let laid_out = self.releases.get(&release).map(decode_release).transpose()?.filter(|found| found.app == *app);
        let laid_out = laid_out.ok_or_else(|| refused(format!("release {release} of {app} is not laid out here")))?;
        let target = Target::find(&self.shelves.disk, &self.targets, &laid_out.instructions.path, Way::Find)?;
        let target = target.ok_or_else(|| without_side(&laid_out.instructions.path))?;
        target.refuse_without_side()?;
        Ok((target, laid_out))
    }

    /// Remembers that the live release is healthy, durably, and ends the intent.
    pub(crate) fn confirm(&mut self, app: &AppName, release: ReleaseId) -> Result<JobDone, JobError> {
        let live = self.apps.get(app).and_then(|state| state.live);
        if live != Some(release) {
            return Err(refused(format!("release {release} of {app} is not live here, so it cannot be confirmed")));
        }
        self.update(app, |state| (state.confirmed, state.intent, state.begun) = (Some(release), None, 0))?;
        Ok(JobDone::Confirmed)
    }

    /// Remembers that an order has failed here, durably; that there is nothing to go on with.
    pub(crate) fn give_up(&mut self, app: &AppName, order: OrderId, why: &str) -> Result<JobDone, JobError> {
        let why: String = why.chars().filter(|c| !c.is_control()).take(GivenUp::MAX_WHY / 4).collect();
        self.update(app, |state| {
            (state.given_up, state.intent, state.begun) = (Some(GivenUp { order, why }), None, 0)
        })?;
        Ok(JobDone::GivenUp)
    }

    /// Changes what is remembered of an application: on disk first.
    pub(crate) fn update(&mut self, app: &AppName, change: impl FnOnce(&mut AppState)) -> Result<(), JobError> {
        let mut state = self.apps.get(app).cloned().unwrap_or(AppState::NONE);
        change(&mut state);
        if self.apps.get(app) != Some(&state) {
            self.commit(&[Change::app(app, &state)])?;
            self.apps.insert(app.clone(), state);
        }
        Ok(())
    }
}

fn decode_order(signed: &Signed) -> Result<Order, JobError> {
    match signed.kind {
        PayloadKind::Order => Order::decode(&signed.payload).map_err(|why| refused(why.to_string())),
        _ => Err(refused("what was to be accepted is no order")),
    }
}
