//! Routing of patches at an origin: who runs what, which links they have, what the host makes, and who is told of it.

use super::origin::OriginSide;
use crate::catalog::Proposal;
use crate::door::{Effort, Event, Job, JobDone, JobError, MAX_OFFERS, MAX_STEPS, Message, Step, Time, Wish};
use crate::limits::{cap, lowest};
use crate::patches::{BASES, Base, Came, USUAL, deadline};
use crate::{Alarm, Engine, Errand, Side};
use content::fact::Offer;
use content::{AppName, ContentId, ContentSpec, Fact, Labels, NodeId, OrderId, Rate, ReleaseId, Role, Scope, Signed};
use std::collections::{BTreeMap, BTreeSet};

impl Engine {
    /// A publisher says whether what it submits next is worth patches.
    pub(super) fn wishes(&mut self, publisher: NodeId, order: OrderId, wish: Wish) {
        if let Some(origin) = self.origin() {
            origin.wishes.insert(publisher, (order, wish));
        }
    }

    /// A node says which formats of patches it applies.
    pub(super) fn says_what_it_reads(&mut self, node: NodeId, formats: BTreeSet<u8>) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.reads = formats;
        }
    }

    /// A release is being brought: whoever runs what a patch of it is made from is told to wait for that, before it hears of the release.
    pub(super) fn plan_patches(&mut self, now: Time, app: &AppName, publisher: NodeId) {
        let Some(format) = self.config.reads.last().copied() else { return };
        let Side::Origin(origin) = &mut self.side else { return };
        let Some(spread) = origin.spreads.get(app) else { return };
        let (order, target) = (spread.order.id, spread.release.release.content);
        if origin.patches.target(app) == Some(target.id()) {
            return;
        }
        let told = origin.wishes.get(&publisher).filter(|(of, _)| *of == order);
        let wish = told.map_or(Wish::default(), |(_, wish)| *wish);
        let bases = self.bases_of(app, target.id(), |node, known| known && self.reads(node, format));
        let nodes: BTreeSet<NodeId> = bases.iter().flat_map(|base| base.nodes.iter().copied()).collect();
        let rate = self.slowest_link(&nodes);
        // Whoever waits for the release before it would not hear any more how that ends.
        self.end_patches(now, app);
        let Some(origin) = self.origin() else { return };
        let waiting = origin.patches.plan(now, app, target, (wish, rate), bases);
        self.say_why(app);
        waiting.into_iter().for_each(|node| self.tell_offers(node, target.id()));
    }

    /// How a release came to nodes says how fast their links are.
    fn look_how_it_came(&mut self, now: Time, app: &AppName) {
        let Some(OriginSide { patches, nodes, catalog, .. }) = self.origin() else { return };
        patches.came(now, app, |content| {
            let came = nodes.iter().filter_map(|(node, known)| Some((*node, known.came(app)?)));
            let of = |release| catalog.release(release).filter(|of| of.release.content.id() == content);
            came.filter_map(|(node, (release, bytes, took))| {
                let spec = of(release)?.release.content;
                Some((node, Came { bytes, of: spec.bytes + spec.blob.len, took }))
            })
            .collect()
        });
    }

    fn say_why(&mut self, app: &AppName) {
        if let Some((target, why)) = self.origin().and_then(|origin| origin.patches.why(app)) {
            self.event(Event::Road { target, why });
        }
    }

    /// The contents that most nodes run of an application, of those that are whole here; of nodes as they are wanted, when told whether
    /// each is connected.
    fn bases_of(&self, app: &AppName, target: ContentId, is_wanted: impl Fn(NodeId, bool) -> bool) -> Vec<Base> {
        let Side::Origin(origin) = &self.side else { return Vec::new() };
        let mut by_release: BTreeMap<ReleaseId, BTreeSet<NodeId>> = BTreeMap::new();
        let agents = origin.nodes.iter().filter(|(_, known)| known.role == Role::Agent);
        for (node, known) in agents.filter(|(node, known)| origin.is_for(app, **node) && is_wanted(**node, known.is_up))
        {
            if let Some(live) = known.live(app) {
                by_release.entry(live).or_default().insert(*node);
            }
        }
        let mut bases: BTreeMap<ContentId, Base> = BTreeMap::new();
        for (id, nodes) in by_release {
            let Some(published) = origin.catalog.release(id) else { continue };
            let content = published.release.content.id();
            if content != target && self.swarm.is_complete(content) {
                let name = published.release.version.clone();
                let base = bases.entry(content).or_insert_with(|| Base::new(content, name, BTreeSet::new()));
                base.nodes.extend(nodes);
            }
        }
        let mut bases: Vec<Base> = bases.into_values().collect();
        bases.sort_by_key(|base| std::cmp::Reverse(base.nodes.len()));
        bases.truncate(BASES);
        bases
    }

    /// The least that any limit leaves for pieces on their way to these nodes.
    fn slowest_link(&self, nodes: &BTreeSet<NodeId>) -> Rate {
        let Side::Origin(origin) = &self.side else { return USUAL };
        let limits = origin.catalog.limits();
        let of_node = |node: &NodeId| {
            let known = origin.nodes.get(node)?;
            lowest(cap(limits, *node, &known.labels), known.own_limit)
        };
        let own = lowest(self.config.limit, cap(limits, self.me, &Labels::new()));
        let total = limits.get(&Scope::Total).copied();
        nodes.iter().map(of_node).chain([own, total]).flatten().min().unwrap_or(USUAL).min(USUAL)
    }

    fn reads(&self, node: NodeId, format: u8) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.reads.contains(&format))
    }

    /// Tells a node which patches there are of a content, as far as it can read them, and whether one is being made for it.
    pub(super) fn tell_offers(&mut self, node: NodeId, target: ContentId) {
        let Side::Origin(origin) = &self.side else { return };
        let Some(peer) = self.peers.get(&node).filter(|peer| !peer.reads.is_empty()) else { return };
        let readable = origin.patches.offers_of(target).filter(|offer| peer.reads.contains(&offer.format));
        let whole = readable.filter(|offer| self.swarm.is_complete(offer.patch.id()));
        let offers: Vec<Offer> = whole.take(MAX_OFFERS).copied().collect();
        let is_awaited = origin.patches.awaits(target, node);
        let steps = self.steps(&offers, &peer.reads);
        if !steps.is_empty() {
            self.send(node, Message::Steps { target, steps });
        }
        self.send(node, Message::Offers { target, offers, is_awaited });
    }

    /// The releases that lie between those of which there is a patch to a content, and others that none of these offers is for.
    fn steps(&self, offers: &[Offer], reads: &BTreeSet<u8>) -> Vec<Step> {
        let Side::Origin(origin) = &self.side else { return Vec::new() };
        let is_of_use = |first: &&Offer| {
            let is_known = offers.iter().any(|offer| offer.base == first.base || offer.target == first.base);
            !is_known && reads.contains(&first.format) && self.swarm.is_complete(first.patch.id())
        };
        let firsts = offers.iter().flat_map(|then| origin.patches.offers_of(then.base)).filter(is_of_use);
        let of = |first: &Offer| {
            let release = origin.catalog.release_with(first.target)?;
            Some(Step { release: release.signed.clone(), patch: *first })
        };
        firsts.filter_map(of).take(MAX_STEPS).collect()
    }

    /// Tells a node of the patches for the content of a release that it hears of now, if there are any.
    pub(super) fn tell_standing_offers(&mut self, node: NodeId, release: &Signed) {
        let Side::Origin(origin) = &self.side else { return };
        if origin.patches.is_empty() {
            return;
        }
        let Some(target) = crate::release_of(release).map(|(_, release)| release.content.id()) else { return };
        if origin.patches.offers_of(target).next().is_some() || origin.patches.awaits(target, node) {
            self.tell_offers(node, target);
        }
    }

    /// A content is whole here: patches of it can be made.
    pub(super) fn make_patches_of(&mut self, now: Time, target: ContentId) {
        let Some(progress) = self.swarm.progress(target) else { return };
        // What was made here of a patch says nothing of what its base lacks without one.
        let is_made = self.origin().is_some_and(|origin| origin.roads.moved(target) != (0, 0));
        let lacked = if is_made { progress.bytes } else { progress.bytes.saturating_sub(progress.had) };
        let Some((app, gone, patience)) = self.origin().and_then(|origin| origin.patches.ready(now, target, lacked))
        else {
            return;
        };
        if !gone.is_empty() {
            self.say_why(&app);
        }
        gone.into_iter().for_each(|node| self.tell_offers(node, target));
        self.time_waves(now, &app);
        self.alarms.set(Alarm::Patches(app), deadline(now, patience));
        self.make_next_patch(now);
    }

    /// A publisher says which patches it brings of what it is about to submit. What another one is bringing is none of its business.
    pub(super) fn brought(&mut self, now: Time, publisher: NodeId, target: ContentId, offers: Vec<Offer>) {
        let Side::Origin(origin) = &self.side else { return };
        let mut of_it = origin.spreads.values().filter(|spread| spread.release.release.content.id() == target);
        if of_it.all(|spread| spread.publisher.is_none_or(|known| known == publisher)) {
            self.offered(now, target, offers, false);
        }
    }

    /// A release was made here of a patch that was brought: nodes that run its base get that one, if patches are of use to them, and no other
    /// is made of it.
    pub(super) fn take_brought(&mut self, offer: Offer) {
        if self.origin().is_some_and(|origin| origin.patches.takes(offer.target, offer.base)) {
            self.swarm.set_aside(offer.patch.id());
            self.propose(Proposal::Progress { fact: Fact::Offered(offer) });
        }
    }

    fn make_next_patch(&mut self, now: Time) {
        if let Some(making) = self.origin().and_then(|origin| origin.patches.next(now)) {
            let (base, target) = (making.base, making.target);
            let (effort, below): (Effort, u64) = (making.effort, making.below);
            self.job(Errand::Diff { base, target }, Job::Diff { base, target, effort, below });
        }
    }

    /// The host has made a patch, or there is none.
    pub(crate) fn diffed(&mut self, now: Time, base: ContentId, target: ContentId, result: Result<JobDone, JobError>) {
        if let (Ok(JobDone::Diffed { .. }), Some(origin)) = (&result, self.origin()) {
            origin.patches.worked(now, target, base);
        }
        let outcome = match result {
            Ok(JobDone::Diffed { patch: Some(patch) }) if patch.pieces == 0 => Ok(patch),
            Ok(JobDone::Diffed { patch: None }) => Err("no patch is shorter than what is lacking".to_owned()),
            Ok(_) => Err("the host did something else".to_owned()),
            Err(error) => Err(error.words().unwrap_or("a release that it is made from is damaged here").to_owned()),
        };
        match (outcome, self.config.reads.last().copied()) {
            (Ok(patch), Some(format)) => {
                self.swarm.hold_aside(now, patch);
                self.propose(Proposal::Progress { fact: Fact::Offered(Offer { base, target, patch, format }) });
            }
            (Ok(_), None) => {}
            (Err(why), _) => self.has_no_patch(now, base, target, why),
        }
    }

    /// An offer stands in the journal, or could not be written: whoever waits for it goes on.
    pub(super) fn patch_offered(&mut self, now: Time, offer: Offer, is_done: bool) {
        if !is_done {
            return self.has_no_patch(now, offer.base, offer.target, "the journal cannot be written".to_owned());
        }
        let Offer { base, target, patch, .. } = offer;
        let bytes = patch.blob.len;
        let Some(origin) = self.origin() else { return };
        origin.patches.made(target, base, Ok(bytes));
        let whole = self.swarm.progress(target).map_or(0, |progress| progress.bytes);
        self.event(Event::PatchMade { base, target, bytes, whole });
        // Whoever has this base and came lately may not have said so yet.
        let agents = self.origin().map(|origin| origin.agents_up()).unwrap_or_default();
        agents.into_iter().for_each(|node| self.tell_offers(node, target));
        self.go_on_with_patches(now);
    }

    fn go_on_with_patches(&mut self, now: Time) {
        let apps: Vec<AppName> =
            self.origin().map(|origin| origin.rollouts.keys().cloned().collect()).unwrap_or_default();
        apps.iter().for_each(|app| self.time_waves(now, app));
        self.make_next_patch(now);
        if self.origin().is_some_and(|origin| origin.collects_later) {
            self.collect_at_origin(now);
        }
    }

    fn has_no_patch(&mut self, now: Time, base: ContentId, target: ContentId, why: String) {
        self.event(Event::PatchFailed { target, why: why.clone() });
        let Some(origin) = self.origin() else { return };
        let waited = origin.patches.made(target, base, Err(why));
        waited.into_iter().for_each(|node| self.tell_offers(node, target));
        self.go_on_with_patches(now);
    }

    /// Whoever waits for patches has waited long enough.
    pub(crate) fn patches_are_late(&mut self, now: Time, app: &AppName) {
        let Some(origin) = self.origin() else { return };
        let (waited, target) = (origin.patches.late(app), origin.patches.target(app));
        if !waited.is_empty() {
            self.say_why(app);
        }
        waited.into_iter().for_each(|node| target.into_iter().for_each(|target| self.tell_offers(node, target)));
        self.time_waves(now, app);
    }

    /// What was to be brought is not brought: nobody waits for patches of it.
    pub(super) fn end_patches(&mut self, now: Time, app: &AppName) {
        let Some(origin) = self.origin() else { return };
        let target = origin.patches.target(app);
        let waited = origin.patches.end(app);
        self.alarms.clear(&Alarm::Patches(app.clone()));
        waited.into_iter().for_each(|node| target.into_iter().for_each(|target| self.tell_offers(node, target)));
        self.time_waves(now, app);
    }

    /// For whom patches are being made: what that takes is not taken from the time of the waves of an application.
    pub(super) fn time_waves(&mut self, now: Time, app: &AppName) {
        let Some(OriginSide { rollouts, patches, catalog, .. }) = self.origin() else { return };
        let Some(rollout) = rollouts.get_mut(app) else { return };
        let newest = catalog.newest(app).filter(|newest| newest.id == rollout.id());
        let release = newest.and_then(|newest| catalog.release(newest.order.release));
        let target = release.map(|published| published.release.content.id());
        rollout.delays(now, target.map_or_else(BTreeSet::new, |target| patches.waiting(app, target)));
    }

    /// A rollout is over: it is known how it came, and patches are made for those who still run something else.
    pub(super) fn patch_for_stragglers(&mut self, now: Time, app: &AppName) {
        if self.config.reads.is_empty() {
            return;
        }
        let Some(target) = self.origin().and_then(|origin| origin.patches.target(app)) else { return };
        self.look_how_it_came(now, app);
        let bases = self.bases_of(app, target, |_, _| true);
        if let Some(origin) = self.origin() {
            origin.patches.for_stragglers(app, bases);
        }
        self.make_next_patch(now);
    }

    /// Forgets offers for what is not kept, and gives the patches of the others.
    pub(super) fn kept_patches(&mut self, kept: &[ContentSpec]) -> Vec<ContentId> {
        let Side::Origin(origin) = &mut self.side else { return Vec::new() };
        let kept: BTreeSet<ContentId> = kept.iter().map(ContentSpec::id).collect();
        let swarm = &self.swarm;
        origin.patches.keep(|offer| kept.contains(&offer.target) && swarm.is_complete(offer.patch.id()));
        origin.patches.offers().map(|offer| offer.patch.id()).collect()
    }
}
