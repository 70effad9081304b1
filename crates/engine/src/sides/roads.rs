//! Routing of patches to where they are applied: what is offered (to an agent by its origin, to an origin by who brings a release), the
//! patch, the host's work with it, and the next road when one fails.

use crate::door::{Event, Job, JobDone, JobError, Step, Time};
use crate::roads::{Choice, Middle, Road, Roads, again};
use crate::{Alarm, Engine, Errand, Side, swarm};
use content::fact::Offer;
use content::{ContentId, ContentSpec};

/// Of a content of which more than one part in so many is here, pieces go on coming when a patch of it turns up.
const BEGUN: u32 = 8;

/// The roads of whoever applies patches.
fn of_side(side: &Side) -> Option<&Roads> {
    match side {
        Side::Agent(agent) => Some(&agent.roads),
        Side::Origin(origin) => Some(&origin.roads),
        Side::Publisher(_) => None,
    }
}

fn of_side_mut(side: &mut Side) -> Option<&mut Roads> {
    match side {
        Side::Agent(agent) => Some(&mut agent.roads),
        Side::Origin(origin) => Some(&mut origin.roads),
        Side::Publisher(_) => None,
    }
}

impl Engine {
    fn roads(&mut self) -> Option<&mut Roads> {
        of_side_mut(&mut self.side)
    }

    /// A content is to be here: by the best road that is known.
    pub(super) fn take_road(&mut self, now: Time, target: ContentSpec) {
        let id = target.id();
        let Some(roads) = of_side_mut(&mut self.side) else { return };
        if self.swarm.is_complete(id) {
            roads.end(id);
            return self.swarm.want(now, target);
        }
        if matches!(roads.road(id), Some((_, Road::Fetches { .. } | Road::Applies { .. } | Road::InARow { .. }))) {
            return;
        }
        let is_whole = |content| self.swarm.is_complete(content);
        match roads.choose(&target, is_whole, |content| self.swarm.progress(content).is_some()) {
            Choice::Patch(offer) => self.take_patch(now, target, offer),
            Choice::InARow { first, then } => {
                roads.take(target, Road::InARow { middle: first.content.id(), then });
                self.swarm.want_held_back(now, target);
                self.take_patch(now, first.content, first.patch);
                self.swarm.want_aside(now, then.patch);
            }
            Choice::Wait => {
                roads.take(target, Road::Waits);
                self.swarm.want_held_back(now, target);
            }
            Choice::Whole => {
                roads.end(id);
                self.alarms.clear(&Alarm::Road(id));
                self.swarm.hold_back_no_more(now, id);
                self.swarm.want(now, target);
            }
        }
    }

    fn take_patch(&mut self, now: Time, target: ContentSpec, offer: Offer) {
        self.roads().into_iter().for_each(|roads| roads.take(target, Road::Fetches { offer, had: 0 }));
        self.alarms.set(Alarm::Road(target.id()), again(now));
        self.swarm.want_held_back(now, target);
        self.swarm.want_aside(now, offer.patch);
    }

    /// The origin says which releases lie on the way to a content. What no operator has signed is not made.
    pub(super) fn told_steps(&mut self, target: ContentId, steps: Vec<Step>) {
        let of = |step: Step| {
            let release = self.trust.release(&step.release).ok()?.release;
            Some(Middle { content: release.content, patch: step.patch })
        };
        let middles: Vec<Middle> = steps.into_iter().filter_map(of).collect();
        if let Some(roads) = self.roads() {
            roads.told_middles(target, middles);
        }
    }

    /// The origin says which patches make a content.
    pub(super) fn offered(&mut self, now: Time, target: ContentId, offers: Vec<Offer>, is_awaited: bool) {
        let Some(roads) = self.roads() else { return };
        let is_of_use = is_awaited || !offers.is_empty();
        roads.told(target, offers, is_awaited);
        match roads.road(target) {
            Some((spec, Road::Waits)) => self.take_road(now, spec),
            Some(_) => {}
            // It comes piece by piece, since a neighbour said first that it exists, or since there was no patch then: what has hardly
            // begun may as well come by one.
            None => {
                let progress = self.swarm.progress(target);
                let has_begun = |have: u32, total: u32| have > total / BEGUN;
                if let Some(spec) = self.swarm.wanted_spec(target).filter(|_| is_of_use)
                    && progress.is_some_and(|progress| !has_begun(progress.have, progress.total))
                {
                    self.take_road(now, spec);
                }
            }
        }
    }

    /// There is no origin that could say how what is being made ends.
    pub(super) fn wait_for_no_patch(&mut self, now: Time) {
        let waiting = self.roads().map(Roads::awaits_nothing).unwrap_or_default();
        waiting.into_iter().for_each(|target| self.take_road(now, target));
    }

    /// Something is complete: it may be a patch, or what did not wait for one, or what the next patch is for.
    pub(super) fn has_come(&mut self, now: Time, content: ContentId) {
        let Some(roads) = self.roads() else { return };
        let (target, after) = (roads.target_of(content), roads.after(content));
        if roads.road(content).is_some() {
            roads.end(content);
            self.alarms.clear(&Alarm::Road(content));
        }
        for (spec, _) in after {
            self.has_cost(spec.id(), content);
            self.roads().into_iter().for_each(|roads| roads.end(spec.id()));
            self.take_road(now, spec);
        }
        if let Some(target) = target {
            self.apply_patch(now, target);
        }
    }

    /// Has a content made, once its patch is here and the host has room for it.
    pub(crate) fn apply_patch(&mut self, _now: Time, target: ContentId) {
        let Some(roads) = of_side_mut(&mut self.side) else { return };
        let Some((spec, Road::Fetches { offer, .. })) = roads.road(target) else { return };
        let patch = offer.patch.id();
        if !self.swarm.is_complete(patch) || !self.swarm.awaits(target) {
            return;
        }
        let moved = self.swarm.progress(patch).map(|of| (of.from_origin, of.from_peers)).unwrap_or_default();
        roads.came(target, moved);
        roads.take(spec, Road::Applies { offer });
        self.alarms.clear(&Alarm::Road(target));
        self.job(Errand::Patch(target), Job::Patch { base: offer.base, target, patch });
    }

    /// The host has made it, or could not.
    pub(crate) fn patched(&mut self, now: Time, target: ContentId, result: Result<JobDone, JobError>) {
        self.made_by_patch(now, target, result);
        if self.origin().is_some_and(|origin| origin.collects_later) {
            self.collect_at_origin(now);
        }
    }

    fn made_by_patch(&mut self, now: Time, target: ContentId, result: Result<JobDone, JobError>) {
        let Some((spec, Road::Applies { offer })) = self.roads().and_then(|roads| roads.road(target)) else { return };
        let why = match result {
            Ok(JobDone::Patched { have })
                if have.len() == spec.total() && (have.is_full() || !self.is_step(target)) =>
            {
                let (bytes, all) = (offer.patch.blob.len, spec.bytes + spec.blob.len);
                let made = all / u64::from(spec.total()) * u64::from(have.count());
                // Nobody wanted what only lies on the way.
                let saved = if self.is_step(target) { 0 } else { made.min(all).saturating_sub(bytes) };
                self.event(Event::Patched { base: offer.base, target, bytes, saved });
                self.roads().into_iter().for_each(|roads| roads.end(target));
                self.take_brought(offer);
                return self.swarm.made(now, target, have);
            }
            Ok(_) => "the host did something else".to_owned(),
            Err(JobError::Missing { content, pieces }) => {
                self.missing(now, content, &pieces);
                "what it is made from was damaged on disk".to_owned()
            }
            Err(error) => error.words().unwrap_or("the patch does not do").to_owned(),
        };
        self.road_fails(now, (spec, offer), why);
    }

    /// A patch can never be had here, or what it makes for another.
    pub(super) fn patch_refused(&mut self, now: Time, content: ContentId, why: &str) {
        let is_step = self.is_step(content);
        let Some(roads) = self.roads() else { return };
        let target = roads.target_of(content).or(is_step.then_some(content));
        if let Some((spec, Road::Fetches { offer, .. })) = target.and_then(|target| roads.road(target)) {
            self.road_fails(now, (spec, offer), why.to_owned());
        }
    }

    /// Whether something is made only since another content is made of it.
    fn is_step(&mut self, content: ContentId) -> bool {
        self.roads().is_some_and(|roads| !roads.after(content).is_empty())
    }

    /// What was moved for what lies on its way was moved for a content.
    fn has_cost(&mut self, target: ContentId, middle: ContentId) {
        if let Some(roads) = self.roads() {
            let moved = roads.moved(middle);
            roads.came(target, moved);
        }
    }

    /// Looks whether a patch still comes.
    pub(crate) fn look_at_road(&mut self, now: Time, target: ContentId) {
        let Some((spec, Road::Fetches { offer, .. })) = self.roads().and_then(|roads| roads.road(target)) else {
            return;
        };
        let have = self.swarm.progress(offer.patch.id()).map_or(0, |progress| progress.have);
        match self.roads().is_some_and(|roads| roads.goes_on(target, have)) {
            true => self.alarms.set(Alarm::Road(target), again(now)),
            false => self.road_fails(now, (spec, offer), "the patch does not come".to_owned()),
        }
    }

    /// Bytes of patches that have come for a content, from origins and from peers.
    pub(super) fn moved_for(&self, target: ContentId) -> (u64, u64) {
        let Some(roads) = of_side(&self.side) else { return (0, 0) };
        let of = |patch: &Offer| self.swarm.progress(patch.patch.id()).unwrap_or_default();
        let (coming, before) = match roads.road(target) {
            Some((_, Road::Fetches { offer, .. })) => (of(&offer), (0, 0)),
            Some((_, Road::InARow { middle, then })) => (of(&then), self.moved_for(middle)),
            _ => (swarm::Progress::default(), (0, 0)),
        };
        let (from_origin, from_peers) = roads.moved(target);
        (from_origin + before.0 + coming.from_origin, from_peers + before.1 + coming.from_peers)
    }

    /// The next road is taken at once.
    fn road_fails(&mut self, now: Time, (spec, offer): (ContentSpec, Offer), why: String) {
        let (target, patch) = (spec.id(), offer.patch.id());
        let coming = self.moved_for(target);
        if let Some(roads) = self.roads() {
            let before = roads.moved(target);
            roads.came(target, (coming.0 - before.0, coming.1 - before.1));
            roads.failed(target, patch);
        }
        self.swarm.forget(now, patch);
        let after = of_side(&self.side).map(|roads| roads.after(target)).unwrap_or_default();
        let is_wanted = self.follower().is_some_and(|follower| follower.roots().0.contains(&target));
        for (spec, then) in &after {
            self.has_cost(spec.id(), target);
            self.roads().into_iter().for_each(|roads| roads.failed(spec.id(), patch));
            self.swarm.forget(now, then.patch.id());
            self.event(Event::PatchFailed { target: spec.id(), why: why.clone() });
        }
        // What only lay on the way is not gone for piece by piece.
        match after.is_empty() || is_wanted {
            true => {
                self.event(Event::PatchFailed { target, why });
                self.take_road(now, spec);
            }
            false => {
                self.alarms.clear(&Alarm::Road(target));
                self.swarm.forget(now, target);
            }
        }
        after.into_iter().for_each(|(spec, _)| self.take_road(now, spec));
    }
}
