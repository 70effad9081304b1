//! What an agent does with releases and orders: stage what is announced, switch when the gate opens, confirm, go back.
//!
//! All that follows from an order waits until the order is durable here, and a switch and the acceptance of an order never
//! overlap. What a node shows as its phase is derived from what is true, never remembered beside it.
//!
//! It does not check signatures and moves no bytes: it is told what was believed and which contents are whole.

mod trial;

use crate::alarm::Alarms;
use crate::door::{AppRecord, Gate, JobError, Moment, Phase, Time, Timeline};
use content::{AppName, ContentId, ContentSpec, Order, OrderId, PieceNo, Release, ReleaseId, Signed};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use trial::{Next, Trial};

/// What an agent wants done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Want(ContentSpec),
    Accept(AppName, Signed),
    Assemble(AppName, ReleaseId, Signed),
    Switch(AppName, ReleaseId),
    /// Put back what a release took the place of.
    Restore(AppName, ReleaseId),
    Confirm(AppName, ReleaseId),
    /// Run a command of a release; the other release of the switch.
    Hook(AppName, ReleaseId, Moment, Signed, Option<ReleaseId>),
    /// Make one round of probes.
    Probe(AppName, ReleaseId, Signed),
    /// Remember that an order has failed here.
    GiveUp(AppName, OrderId, String),
    /// These pieces of a content are not here after all.
    Missing(ContentId, Vec<PieceNo>),
    /// A job failed, in words.
    Failed(String),
    /// The phase of a release changed.
    Phase(AppName, ReleaseId, Phase),
    /// What is not needed any more can go.
    Collect,
}

/// A release that this node works on or keeps.
#[derive(Debug)]
struct Work {
    signed: Signed,
    release: Release,
    stage: Stage,
    tries: u32,
    failed: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Contents are awaited.
    Fetching,
    /// The host lays it out.
    Assembling,
    /// It is laid out.
    Staged,
}

/// An order that was believed.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    pub(crate) id: OrderId,
    pub(crate) signed: Signed,
    pub(crate) order: Order,
}

/// One application.
#[derive(Debug)]
struct App {
    order: Option<Ordered>,
    gate: Gate,
    /// An order that is not durable yet.
    pending: Option<(Ordered, Gate)>,
    /// The order that is being made durable.
    accepting: Option<(Ordered, Gate)>,
    /// When an order may be tried again that could not be made durable.
    not_before: Time,
    works: BTreeMap<ReleaseId, Work>,
    /// Releases that are laid out, newest last.
    laid_out: Vec<ReleaseId>,
    live: Option<ReleaseId>,
    confirmed: Option<ReleaseId>,
    intent: Option<ReleaseId>,
    /// A step of a switch is under way: only one at a time.
    is_busy: bool,
    /// The release before whose switch its command has run.
    prepared: Option<ReleaseId>,
    /// How what was switched to does.
    trial: Option<Trial>,
    /// Why it is to be given up.
    lost: Option<String>,
    /// What stood at the path before this release stands there again; its command for that is still to run.
    put_back: Option<ReleaseId>,
    /// The release that took nobody's place here.
    was_first: Option<ReleaseId>,
    /// How often the switch that is intended was begun before this process.
    begun: u32,
    /// The order that was given up here, and why.
    given_up: Option<(OrderId, String)>,
    /// The release that the status is about.
    focus: Option<ReleaseId>,
    /// The newest that was announced; it is fetched even while the status is about another.
    announced: Option<ReleaseId>,
    /// Announced before, newest last, and not worked on any more. An origin says a release once, and what two of them say can cross
    /// on the way: the order of one of these may still come.
    set_aside: VecDeque<(ReleaseId, Work)>,
    phase: Option<Phase>,
    told: Time,
    timeline: Timeline,
    trouble: Option<String>,
    tries: u32,
}

/// What has its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Again(AppName);

/// Everything an agent deploys.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    apps: BTreeMap<AppName, Box<App>>,
    /// Contents that are durable here.
    whole: BTreeSet<ContentId>,
    /// Contents of which something has come.
    begun: BTreeSet<ContentId>,
    alarms: Alarms<Again>,
    /// What is in the way of everything here.
    degraded: Option<String>,
    out: VecDeque<Action>,
}

/// What a status says of an application, as far as it is known here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) release: ReleaseId,
    pub(crate) content: Option<ContentId>,
    pub(crate) order: Option<OrderId>,
    pub(crate) phase: Phase,
    pub(crate) timeline: Timeline,
    pub(crate) live: Option<ReleaseId>,
    pub(crate) confirmed: Option<ReleaseId>,
    pub(crate) trouble: Option<String>,
}

impl Follower {
    /// Takes over what the store remembered of an application. The order was believed when it was accepted.
    pub(crate) fn recover(
        &mut self,
        now: Time,
        record: &AppRecord,
        order: Option<Ordered>,
        laid_out: Vec<(ReleaseId, Release)>,
    ) {
        let mut app = App::new(now);
        let mut laid_out: Vec<_> = laid_out.into_iter().zip(&record.laid_out).collect();
        // The store knows them by name; which are the last ones is told by when they were made.
        laid_out.sort_by_key(|((id, release), _)| (release.created, *id));
        for ((id, release), signed) in laid_out {
            let work = Work { signed: signed.clone(), release, stage: Stage::Staged, tries: 0, failed: None };
            app.laid_out.push(id);
            app.works.insert(id, work);
        }
        (app.live, app.confirmed, app.intent) = (record.live, record.confirmed, record.intent);
        (app.begun, app.given_up) = (record.begun, record.given_up.clone());
        app.focus = order.as_ref().map(|order| order.order.release).or(record.live);
        app.order = order;
        self.apps.insert(record.app.clone(), Box::new(app));
        self.step(now, &record.app.clone());
    }

    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.alarms.next()
    }

    pub(crate) fn tick(&mut self, now: Time) {
        while let Some(Again(app)) = self.alarms.due(now) {
            self.step(now, &app);
        }
    }

    // What is said.

    /// A release is to be staged.
    pub(crate) fn announced(&mut self, now: Time, id: ReleaseId, signed: Signed, release: Release) {
        let name = release.app.clone();
        let app = self.apps.entry(name.clone()).or_insert_with(|| Box::new(App::new(now)));
        let is_ordered = app.orders().any(|order| order.release == id);
        let is_fallback = app.orders().any(|order| order.fallback == Some(id));
        let work = Work { signed, release, stage: Stage::Fetching, tries: 0, failed: None };
        self.out.extend(app.work_on(id, work));
        // What is laid out already is an old release: news of it that came late, or again, changes no plans.
        let is_old = app.laid_out.contains(&id);
        if is_ordered || !(is_fallback || is_old) {
            app.announced = Some(id);
            // An origin that waits for a release which it ordered must hear of that one, whatever is announced meanwhile: it may
            // never be ordered. Its own order brings it into focus.
            let ordered = app.order.as_ref().map(|known| known.order.release);
            let is_settled =
                ordered.is_none_or(|ordered| is_final(app.derive_phase(ordered, &self.whole, &self.begun)));
            if app.focus != Some(id) && (is_ordered || is_settled) {
                app.focus_on(now, id);
            }
        }
        app.drop_stale_works();
        self.step(now, &name);
    }

    /// An order that was believed and comes next, or the newest one again, and what it may do now.
    pub(crate) fn commanded(&mut self, now: Time, ordered: Ordered, gate: Gate) {
        let name = ordered.order.app.clone();
        let app = self.apps.entry(name.clone()).or_insert_with(|| Box::new(App::new(now)));
        app.hear(ordered, gate);
        self.out.extend(app.take_up_again());
        self.step(now, &name);
    }

    /// A content is durable here.
    pub(crate) fn whole(&mut self, now: Time, content: ContentId) {
        self.whole.insert(content);
        for name in self.apps_needing(content) {
            if let Some(app) = self.apps.get_mut(&name) {
                app.trouble = None;
            }
            self.step(now, &name);
        }
    }

    /// A content is not whole any more.
    pub(crate) fn broken(&mut self, content: ContentId) {
        self.whole.remove(&content);
    }

    /// The first byte of a content came, or the last.
    pub(crate) fn first_byte(&mut self, now: Time, content: ContentId) {
        self.begun.insert(content);
        for name in self.apps_with(content) {
            if let Some(app) = self.apps.get_mut(&name) {
                let since = now.since(app.told);
                app.timeline.first_byte.get_or_insert(since);
            }
            self.step(now, &name);
        }
    }

    pub(crate) fn last_byte(&mut self, now: Time, content: ContentId) {
        for name in self.apps_with(content) {
            if let Some(app) = self.apps.get_mut(&name) {
                app.timeline.last_byte = Some(now.since(app.told));
            }
        }
    }

    /// What is in the way of a content, or that nothing is; whose status that changes.
    pub(crate) fn trouble(&mut self, content: ContentId, why: Option<&String>) -> Vec<AppName> {
        let names = self.apps_with(content);
        for name in &names {
            if let Some(app) = self.apps.get_mut(name) {
                app.trouble = why.cloned();
            }
        }
        names
    }

    /// What is in the way of everything here, or that nothing is any more; whether that is news.
    pub(crate) fn degraded(&mut self, why: Option<String>) -> bool {
        let why = why.map(|why| format!("DEGRADED: {why}"));
        std::mem::replace(&mut self.degraded, why) != self.degraded
    }

    /// A content can never be had here.
    pub(crate) fn refused(&mut self, now: Time, content: ContentId, why: &str) {
        for name in self.apps_needing(content) {
            let Some(app) = self.apps.get_mut(&name) else { continue };
            for work in app.works.values_mut().filter(|work| work.needs(content)) {
                work.failed = Some(why.to_owned());
            }
            self.step(now, &name);
        }
    }

    /// The applications of which any release that is worked on needs a content.
    fn apps_needing(&self, content: ContentId) -> Vec<AppName> {
        let needs = |app: &App| app.works.values().any(|work| work.needs(content));
        self.apps.iter().filter(|(_, app)| needs(app)).map(|(name, _)| name.clone()).collect()
    }

    /// The applications whose focus needs a content.
    pub(crate) fn apps_with(&self, content: ContentId) -> Vec<AppName> {
        let needs = |app: &App| app.focus.and_then(|id| app.works.get(&id)).is_some_and(|work| work.needs(content));
        self.apps.iter().filter(|(_, app)| needs(app)).map(|(name, _)| name.clone()).collect()
    }

    // What the host says.

    pub(crate) fn accepted(&mut self, now: Time, name: &AppName, result: Result<(), JobError>) -> Option<Ordered> {
        let app = self.apps.get_mut(name)?;
        let (ordered, gate) = app.accepting.take()?;
        let accepted = match result {
            Ok(()) => {
                // What had failed before is tried anew, from its contents on.
                if let Some(work) = app.works.get_mut(&ordered.order.release)
                    && work.failed.take().is_some()
                    && work.stage == Stage::Fetching
                {
                    self.out.extend(work.contents().map(Action::Want));
                }
                Some(app.take_order(now, ordered, gate))
            }
            Err(error) => {
                if !matches!(error, JobError::Refused { .. }) {
                    app.pending.get_or_insert((ordered, gate));
                }
                self.hold_up(now, name, error, None);
                None
            }
        };
        self.step(now, name);
        accepted
    }

    pub(crate) fn assembled(&mut self, now: Time, name: &AppName, id: ReleaseId, result: Result<(), JobError>) {
        let Some(app) = self.apps.get_mut(name) else { return };
        let Some(work) = app.works.get_mut(&id) else { return };
        match result {
            Ok(()) => {
                (work.stage, work.tries) = (Stage::Staged, 0);
                app.laid_out.retain(|other| *other != id);
                app.laid_out.push(id);
                app.trouble = None;
            }
            Err(error) => {
                work.stage = Stage::Fetching;
                if let JobError::Missing { content, pieces } = &error {
                    self.whole.remove(content);
                    self.out.push_back(Action::Missing(*content, pieces.clone()));
                    app.trouble = Some("pieces were damaged on disk and are fetched again".to_owned());
                } else {
                    self.hold_up(now, name, error, Some(id));
                    return self.show(now, name);
                }
            }
        }
        self.step(now, name);
    }

    pub(crate) fn switched(&mut self, now: Time, name: &AppName, id: ReleaseId, result: Result<(), JobError>) {
        let Some(app) = self.apps.get_mut(name) else { return };
        app.is_busy = false;
        match result {
            Ok(()) => {
                let left = app.live.filter(|left| *left != id);
                (app.live, app.intent, app.tries, app.trouble) = (Some(id), Some(id), 0, None);
                app.trial = app.trial_of(now, id, left);
                app.prepared = None;
                self.step(now, name);
            }
            Err(error) => {
                self.hold_up(now, name, error, Some(id));
                self.show(now, name);
            }
        }
    }

    /// What stood at the path before any release stands there again, or nothing did.
    pub(crate) fn restored(&mut self, now: Time, name: &AppName, id: ReleaseId, result: Result<(), JobError>) {
        let Some(app) = self.apps.get_mut(name) else { return };
        app.is_busy = false;
        match result {
            Ok(()) => {
                let has_command = app.works.get(&id).is_some_and(|work| work.release.instructions.hooks.back.is_some());
                (app.live, app.confirmed, app.intent, app.trial) = (None, None, None, None);
                (app.put_back, app.trouble, app.tries) = (has_command.then_some(id), None, 0);
                self.step(now, name);
            }
            Err(JobError::Refused { .. }) => {
                app.was_first = Some(id);
                self.step(now, name);
            }
            Err(error) => {
                self.hold_up(now, name, error, Some(id));
                self.show(now, name);
            }
        }
    }

    pub(crate) fn confirmed(&mut self, now: Time, name: &AppName, id: ReleaseId, result: Result<(), JobError>) {
        let Some(app) = self.apps.get_mut(name) else { return };
        app.is_busy = false;
        match result {
            Ok(()) => {
                (app.confirmed, app.intent, app.trial, app.begun) = (Some(id), None, None, 0);
                (app.trouble, app.tries) = (None, 0);
                self.step(now, name);
                self.out.push_back(Action::Collect);
            }
            Err(error) => {
                self.hold_up(now, name, error, Some(id));
                self.show(now, name);
            }
        }
    }

    /// A command of a release has ended.
    pub(crate) fn hooked(
        &mut self,
        now: Time,
        name: &AppName,
        (id, moment): (ReleaseId, Moment),
        result: Result<(), JobError>,
    ) {
        let Some(app) = self.apps.get_mut(name) else { return };
        app.is_busy = false;
        let outcome = result.map_err(|error| error.words().unwrap_or("it could not be run").to_owned());
        app.put_back = None;
        if let Some(trial) = app.trial.as_mut().filter(|_| moment != Moment::Before) {
            trial.ran(now);
        }
        match (moment, outcome) {
            (Moment::Before, Ok(())) => app.prepared = Some(id),
            (Moment::Before, Err(why)) => {
                let why = format!("the command before the switch: {why}");
                self.hold_up(now, name, JobError::Refused { why }, Some(id));
                return self.show(now, name);
            }
            (Moment::After, Err(why)) if app.is_forward(id) => {
                app.lost = Some(format!("the command after the switch: {why}"))
            }
            (_, Err(why)) => app.trouble = Some(format!("the command after going back: {why}")),
            (_, Ok(())) => {}
        }
        self.step(now, name);
    }

    /// A round of probes has ended.
    pub(crate) fn probed(&mut self, now: Time, name: &AppName, id: ReleaseId, result: Result<(), JobError>) {
        let Some(app) = self.apps.get_mut(name) else { return };
        app.is_busy = false;
        let outcome = result.map_err(|error| error.words().unwrap_or("it could not be asked").to_owned());
        app.trouble = outcome.as_ref().err().map(|why| format!("not healthy yet: {why}"));
        if let Some(trial) = app.trial.as_mut().filter(|trial| trial.release == id) {
            trial.probed(now, outcome);
        }
        self.step(now, name);
    }

    /// That an order has failed here is durable.
    pub(crate) fn gave_up(&mut self, now: Time, name: &AppName, order: OrderId, result: Result<(), JobError>) {
        let Some(app) = self.apps.get_mut(name) else { return };
        app.is_busy = false;
        match result {
            Ok(()) => {
                let why = app.lost.take().unwrap_or_else(|| "it was not healthy".to_owned());
                (app.given_up, app.intent, app.trial, app.begun) = (Some((order, why)), None, None, 0);
                app.put_last();
                (app.trouble, app.tries) = (None, 0);
                self.step(now, name);
            }
            Err(error) => {
                self.hold_up(now, name, error, None);
                self.show(now, name);
            }
        }
    }

    /// A job failed: tries again later when that can help, else the release has failed here.
    fn hold_up(&mut self, now: Time, name: &AppName, error: JobError, release: Option<ReleaseId>) {
        let Some(app) = self.apps.get_mut(name) else { return };
        app.tries += 1;
        let (why, wait) = match error {
            JobError::NoSpace { why } | JobError::Stuck { why } => {
                (why, Some(Duration::from_secs(3 * u64::from(app.tries)).min(LONGEST)))
            }
            JobError::Disk { why } if app.tries <= TRIES => (why, Some(Duration::from_millis(200 << app.tries))),
            JobError::Disk { why } | JobError::Refused { why } => (why, None),
            JobError::Corrupt | JobError::Missing { .. } => {
                ("something on disk is not as it was".to_owned(), Some(LONGEST))
            }
        };
        app.trouble = Some(why.clone());
        match (wait, release.and_then(|id| app.works.get_mut(&id))) {
            (Some(wait), None) => {
                app.not_before = now.after(wait);
                self.alarms.set(Again(name.clone()), now.after(wait));
            }
            (Some(wait), Some(_)) => self.alarms.set(Again(name.clone()), now.after(wait)),
            (None, Some(work)) => work.failed = Some(why.clone()),
            (None, None) => {
                app.not_before = now.after(LONGEST);
                self.alarms.set(Again(name.clone()), now.after(LONGEST));
            }
        }
        self.out.push_back(Action::Failed(why));
    }

    // What to do next.

    /// Does whatever can be done for an application now. Called after every change; it may find nothing to do.
    fn step(&mut self, now: Time, name: &AppName) {
        let Some(app) = self.apps.get_mut(name) else { return };
        if app.accepting.is_none()
            && !app.is_busy
            && app.not_before <= now
            && let Some(next) = app.pending.take()
        {
            self.out.push_back(Action::Accept(name.clone(), next.0.signed.clone()));
            app.accepting = Some(next);
        }
        for (id, work) in app.works.iter_mut().filter(|(_, work)| work.is_ready(&self.whole)) {
            work.stage = Stage::Assembling;
            self.out.push_back(Action::Assemble(name.clone(), *id, work.signed.clone()));
        }
        match app.next_move(now) {
            Some(Move::Switch(id)) => {
                app.is_busy = true;
                self.out.push_back(Action::Switch(name.clone(), id));
            }
            Some(Move::Restore(id)) => {
                app.is_busy = true;
                self.out.push_back(Action::Restore(name.clone(), id));
            }
            Some(Move::Confirm(id)) => {
                app.is_busy = true;
                self.out.push_back(Action::Confirm(name.clone(), id));
            }
            Some(Move::Hook(id, moment)) => {
                // The release whose command it is may be the one that is left.
                let other = [app.order.as_ref().map(|order| order.order.release), app.live, app.confirmed];
                let other = other.into_iter().flatten().find(|other| *other != id);
                if let Some(work) = app.works.get(&id) {
                    app.is_busy = true;
                    self.out.push_back(Action::Hook(name.clone(), id, moment, work.signed.clone(), other));
                }
            }
            Some(Move::Probe(id)) => {
                if let Some(work) = app.works.get(&id) {
                    app.is_busy = true;
                    self.out.push_back(Action::Probe(name.clone(), id, work.signed.clone()));
                }
            }
            Some(Move::GiveUp(order, why)) => {
                app.is_busy = true;
                app.lost = Some(why.clone());
                self.out.push_back(Action::GiveUp(name.clone(), order, why));
            }
            Some(Move::Wait(until)) => self.alarms.set(Again(name.clone()), until),
            None => {}
        }
        self.show(now, name);
    }

    /// Tells of the phase, if it is another one now.
    fn show(&mut self, now: Time, name: &AppName) {
        let Some(app) = self.apps.get_mut(name) else { return };
        let Some(focus) = app.focus else { return };
        let phase = app.derive_phase(focus, &self.whole, &self.begun);
        if app.phase == Some(phase) {
            return;
        }
        app.phase = Some(phase);
        app.stamp(now.since(app.told), phase);
        self.out.push_back(Action::Phase(name.clone(), focus, phase));
    }

    // What is known.

    pub(crate) fn apps(&self) -> impl Iterator<Item = &AppName> {
        self.apps.keys()
    }

    pub(crate) fn live(&self, app: &AppName) -> Option<ReleaseId> {
        self.apps.get(app)?.live
    }

    pub(crate) fn standing(&self, name: &AppName) -> Option<Standing> {
        let app = self.apps.get(name)?;
        let release = app.focus?;
        let work = app.works.get(&release);
        Some(Standing {
            release,
            content: work.map(|work| work.release.content.id()),
            order: app.order.as_ref().map(|order| order.id),
            phase: app.phase?,
            timeline: app.timeline,
            live: app.live,
            confirmed: app.confirmed,
            trouble: (self.degraded.clone())
                .or_else(|| work.and_then(|work| work.failed.clone()))
                .or_else(|| app.failure())
                .or_else(|| app.trouble.clone()),
        })
    }

    /// Contents and releases that are needed; the others are forgotten here.
    pub(crate) fn roots(&mut self) -> (Vec<ContentId>, Vec<ReleaseId>) {
        let (mut contents, mut releases) = (BTreeSet::new(), BTreeSet::new());
        for app in self.apps.values_mut() {
            let kept = app.kept();
            app.works.retain(|id, _| kept.contains(id));
            app.laid_out.retain(|id| kept.contains(id));
            contents.extend(app.works.values().flat_map(Work::contents).map(|content| content.id()));
            releases.extend(app.laid_out.iter().copied().chain(kept));
        }
        self.whole.retain(|content| contents.contains(content));
        self.begun.retain(|content| contents.contains(content));
        (contents.into_iter().collect(), releases.into_iter().collect())
    }
}

/// How often a disk may fail before a release has failed.
const TRIES: u32 = 5;
/// The longest wait for room on a disk.
const LONGEST: Duration = Duration::from_secs(30);

/// How many releases that were announced and then others in their place are still known if their order comes.
const SET_ASIDE: usize = 4;

enum Move {
    Switch(ReleaseId),
    Restore(ReleaseId),
    Confirm(ReleaseId),
    Hook(ReleaseId, Moment),
    Probe(ReleaseId),
    GiveUp(OrderId, String),
    Wait(Time),
}

/// How often a switch is begun: a release that takes its machine down with it is left at last.
const BEGUN: u32 = 4;

impl Work {
    fn contents(&self) -> impl Iterator<Item = ContentSpec> + use<> {
        [Some(self.release.content), self.release.attributes].into_iter().flatten()
    }

    fn needs(&self, content: ContentId) -> bool {
        self.contents().any(|spec| spec.id() == content)
    }

    fn is_whole(&self, whole: &BTreeSet<ContentId>) -> bool {
        self.contents().all(|spec| whole.contains(&spec.id()))
    }

    fn is_ready(&self, whole: &BTreeSet<ContentId>) -> bool {
        self.stage == Stage::Fetching && self.failed.is_none() && self.is_whole(whole)
    }
}

/// Whether nothing more is to be expected of a release.
fn is_final(phase: Phase) -> bool {
    matches!(phase, Phase::Confirmed | Phase::Failed | Phase::FellBack)
}

impl App {
    fn new(now: Time) -> Self {
        Self {
            order: None,
            gate: Gate::Hold,
            pending: None,
            accepting: None,
            not_before: now,
            works: BTreeMap::new(),
            laid_out: Vec::new(),
            live: None,
            confirmed: None,
            intent: None,
            is_busy: false,
            prepared: None,
            trial: None,
            lost: None,
            put_back: None,
            was_first: None,
            begun: 0,
            given_up: None,
            focus: None,
            announced: None,
            set_aside: VecDeque::new(),
            phase: None,
            told: now,
            timeline: Timeline::default(),
            trouble: None,
            tries: 0,
        }
    }

    /// Begins with a release, unless it is worked on already.
    fn work_on(&mut self, id: ReleaseId, work: Work) -> Vec<Action> {
        self.set_aside.retain(|(other, _)| *other != id);
        let Entry::Vacant(vacant) = self.works.entry(id) else { return Vec::new() };
        vacant.insert(work).contents().map(Action::Want).collect()
    }

    /// Begins again with what had been set aside and is ordered after all.
    fn take_up_again(&mut self) -> Vec<Action> {
        let ordered: BTreeSet<ReleaseId> = self.ordered().collect();
        let all = std::mem::take(&mut self.set_aside);
        let (again, rest): (VecDeque<_>, _) = all.into_iter().partition(|(id, _)| ordered.contains(id));
        self.set_aside = rest;
        again.into_iter().flat_map(|(id, work)| self.work_on(id, work)).collect()
    }

    fn focus_on(&mut self, now: Time, id: ReleaseId) {
        (self.focus, self.phase) = (Some(id), None);
        (self.told, self.timeline, self.trouble, self.tries) = (now, Timeline::default(), None, 0);
    }

    /// Hears an order and its gate: the one that is followed, the one that becomes durable, or a newer one.
    fn hear(&mut self, ordered: Ordered, gate: Gate) {
        let newest = self.pending.as_ref().or(self.accepting.as_ref()).map_or(0, |(next, _)| next.order.epoch);
        // Whoever is to fall back from an order never goes forward with it again: a word that says so is late, or came twice.
        let then = |known: Gate| if known == Gate::FallBack { known } else { gate };
        if self.order.as_ref().is_some_and(|known| known.id == ordered.id) {
            self.gate = then(self.gate);
        } else if let Some(next) =
            [&mut self.pending, &mut self.accepting].into_iter().flatten().find(|(next, _)| next.id == ordered.id)
        {
            next.1 = then(next.1);
        } else if ordered.order.epoch > newest {
            self.pending = Some((ordered, gate));
        }
    }

    /// An order is durable: it is the order now.
    fn take_order(&mut self, now: Time, ordered: Ordered, gate: Gate) -> Ordered {
        let release = ordered.order.release;
        if self.focus != Some(release) {
            self.focus_on(now, release);
        }
        (self.order, self.gate, self.phase, self.tries) = (Some(ordered.clone()), gate, None, 0);
        (self.lost, self.prepared) = (None, None);
        // What is live is still seen to its end.
        self.trial = self.trial.take().filter(|trial| self.live == Some(trial.release));
        ordered
    }

    /// The order that is followed, and the one that is about to be.
    fn orders(&self) -> impl Iterator<Item = &Order> {
        let next = [&self.accepting, &self.pending].into_iter().flatten().map(|(ordered, _)| &ordered.order);
        self.order.as_ref().map(|ordered| &ordered.order).into_iter().chain(next)
    }

    /// The releases that are ordered, and those to go back to.
    fn ordered(&self) -> impl Iterator<Item = ReleaseId> {
        self.orders().flat_map(|order| [Some(order.release), order.fallback]).flatten()
    }

    /// Of releases that are not laid out, only the newest announced and the ordered ones are worked on.
    fn drop_stale_works(&mut self) {
        let needed: BTreeSet<ReleaseId> = self.ordered().chain(self.focus).chain(self.announced).collect();
        let stale = self.works.extract_if(.., |id, work| !needed.contains(id) && work.stage == Stage::Fetching);
        self.set_aside.extend(stale.map(|(id, work)| (id, Work { tries: 0, failed: None, ..work })));
        let too_many = self.set_aside.len().saturating_sub(SET_ASIDE);
        self.set_aside.drain(..too_many);
    }

    /// What has failed is the first to make room: it takes no place from what did well.
    fn put_last(&mut self) {
        let failed = self.order.as_ref().map(|order| order.order.release);
        self.laid_out.sort_by_key(|id| Some(*id) != failed);
    }

    /// Whether the order that is followed has failed here.
    fn has_given_up(&self) -> bool {
        let order = self.order.as_ref().map(|order| order.id);
        self.given_up.as_ref().is_some_and(|(failed, _)| Some(*failed) == order)
    }

    /// Why the order that is followed has failed here.
    fn failure(&self) -> Option<String> {
        let given_up = self.given_up.as_ref().filter(|_| self.has_given_up()).map(|(_, why)| why);
        self.lost.as_ref().or(given_up).cloned()
    }

    /// Whether the order that is followed is not to run here any more.
    fn goes_back(&self) -> bool {
        self.has_given_up() || self.gate == Gate::FallBack
    }

    /// The release to go back to when the order's fails here, without asking anyone: the order's fallback if it is laid out, else the
    /// one that did well here last.
    fn way_back(&self) -> Option<ReleaseId> {
        let order = &self.order.as_ref()?.order;
        [order.fallback, self.confirmed].into_iter().flatten().find(|id| *id != order.release && self.is_there(id))
    }

    /// Whether a release is laid out, so that a node can go to it by itself.
    fn is_there(&self, id: &ReleaseId) -> bool {
        self.works.get(id).is_some_and(|work| work.stage == Stage::Staged && work.failed.is_none())
    }

    /// Whether a release is what the order wants, and not one to which a node goes back.
    fn is_forward(&self, id: ReleaseId) -> bool {
        !self.goes_back() && self.order.as_ref().is_some_and(|order| order.order.release == id)
    }

    /// The release that may run now, if the order and its gate name one.
    fn allowed(&self) -> Option<ReleaseId> {
        let order = &self.order.as_ref()?.order;
        match self.gate {
            Gate::FallBack if order.fallback.is_some() => order.fallback,
            _ if self.has_given_up() => self.way_back(),
            Gate::FallBack => None,
            Gate::Open => Some(order.release),
            Gate::Hold => self.intent.filter(|id| *id == order.release || Some(*id) == order.fallback),
        }
    }

    /// The release of the order that is to go, took somebody's place, and leaves no other to go to.
    fn to_put_back(&self) -> Option<ReleaseId> {
        let release = self.order.as_ref()?.order.release;
        let work = self.works.get(&release).filter(|work| work.release.instructions.adopts && work.failed.is_none());
        let is_left = self.goes_back() && self.live == Some(release) && self.allowed().is_none();
        work.filter(|_| is_left && self.was_first != Some(release)).map(|_| release)
    }

    /// What is to be found out after a switch to a release from another: nothing of one to which it went back.
    fn trial_of(&self, now: Time, id: ReleaseId, left: Option<ReleaseId>) -> Option<Trial> {
        let instructions = &self.works.get(&id)?.release.instructions;
        let has_after = instructions.hooks.after.is_some();
        if self.is_forward(id) {
            let window = Duration::from_millis(instructions.health_window_ms.into());
            let trial = Trial::new(now, id, &instructions.health, window);
            return Some(if has_after { trial.after(id, Moment::After) } else { trial });
        }
        let trial = Trial::none(now, id);
        let failed = left.or(self.order.as_ref().map(|order| order.order.release)).filter(|left| *left != id);
        let of_failed = failed.and_then(|left| self.works.get(&left).map(|work| (left, work)));
        Some(match of_failed.filter(|(_, work)| work.release.instructions.hooks.back.is_some()) {
            Some((left, _)) => trial.after(left, Moment::Back),
            None if has_after => trial.after(id, Moment::After),
            None => trial,
        })
    }

    fn next_move(&self, now: Time) -> Option<Move> {
        if self.is_busy || self.accepting.is_some() || self.pending.is_some() {
            return None;
        }
        let order = self.order.as_ref()?;
        if let Some(why) = &self.lost {
            return Some(Move::GiveUp(order.id, why.clone()));
        }
        if let Some(id) = self.put_back {
            return Some(Move::Hook(id, Moment::Back));
        }
        if let Some(id) = self.to_put_back() {
            return Some(Move::Restore(id));
        }
        let ready = self.allowed().filter(|wanted| self.is_there(wanted));
        // What is live is seen to its end as long as nothing takes its place.
        if let Some(trial) = self.trial.as_ref().filter(|trial| self.live == Some(trial.release))
            && ready.is_none_or(|wanted| wanted == trial.release)
        {
            return match trial.next(now) {
                Next::Run(of, moment) => Some(Move::Hook(of, moment)),
                Next::Probe => Some(Move::Probe(trial.release)),
                Next::Wait(until) => Some(Move::Wait(until)),
                // What everyone falls back from is not confirmed while what to go back to is still on its way.
                Next::Confirm if self.goes_back() && trial.release == order.order.release => None,
                Next::Confirm => Some(Move::Confirm(trial.release)),
                Next::GiveUp(why) if trial.release == order.order.release => Some(Move::GiveUp(order.id, why)),
                // Of an earlier order, which nobody follows any more: that one is not to blame the present one's release for.
                Next::GiveUp(_) => {
                    self.confirmed.filter(|id| *id != trial.release && self.is_there(id)).map(Move::Switch)
                }
            };
        }
        let wanted = ready?;
        let instructions = &self.works.get(&wanted)?.release.instructions;
        let is_live = self.live == Some(wanted);
        if is_live && self.confirmed == Some(wanted) && self.intent.is_none() {
            return None;
        }
        let is_forward = self.is_forward(wanted);
        if is_forward && self.intent == Some(wanted) && self.begun >= BEGUN {
            let why = format!("this machine, or its agent, stopped {} times before it was confirmed", self.begun);
            return Some(Move::GiveUp(order.id, why));
        }
        // Before the path is swung, and only then: where it is swung already nothing is undone by its failure.
        let needs_before = is_forward && !is_live && instructions.hooks.before.is_some();
        match needs_before && self.prepared != Some(wanted) {
            true => Some(Move::Hook(wanted, Moment::Before)),
            false => Some(Move::Switch(wanted)),
        }
    }

    fn derive_phase(&self, focus: ReleaseId, whole: &BTreeSet<ContentId>, begun: &BTreeSet<ContentId>) -> Phase {
        let work = self.works.get(&focus);
        let order = self.order.as_ref().map(|order| &order.order).filter(|order| order.release == focus);
        let falls_back = order.is_some() && self.goes_back();
        // What has failed and has nothing to go back to is what runs.
        let is_stuck = self.has_given_up() && self.allowed().is_none() && self.live == Some(focus);
        if order.is_some() && (self.lost.is_some() || is_stuck) {
            return Phase::Failed;
        }
        if falls_back && self.live != Some(focus) && self.intent.is_none() && self.live == self.confirmed {
            return Phase::FellBack;
        }
        if order.is_some() && self.has_given_up() {
            // On its way back it is no nearer to the order than it was when it failed.
            return Phase::Failed;
        }
        // What runs here because there was nothing to go back to from it, and is ordered again, waits for its turn as others do: nobody
        // looks whether it does well before that, and the origin would wait for its word.
        let is_untried =
            self.confirmed != Some(focus) && self.intent.is_none() && self.trial.is_none() && !self.is_busy;
        let is_held = order.is_some() && self.gate == Gate::Hold && is_untried;
        match work {
            Some(work) if work.failed.is_some() => Phase::Failed,
            _ if self.live == Some(focus) && self.confirmed == Some(focus) && self.intent.is_none() => Phase::Confirmed,
            _ if self.live == Some(focus) && !is_held => Phase::Live,
            Some(work) if work.stage == Stage::Staged => Phase::Staged,
            Some(work) if work.is_whole(whole) => Phase::Complete,
            Some(work) if work.contents().any(|content| begun.contains(&content.id())) => Phase::Fetching,
            _ => Phase::Told,
        }
    }

    /// Notes when a phase was reached first.
    fn stamp(&mut self, after: Duration, phase: Phase) {
        let moment = match phase {
            Phase::Complete => &mut self.timeline.complete,
            Phase::Staged => &mut self.timeline.staged,
            Phase::Live => &mut self.timeline.live,
            Phase::Confirmed => &mut self.timeline.confirmed,
            Phase::Told | Phase::Fetching | Phase::Failed | Phase::FellBack => return,
        };
        moment.get_or_insert(after);
    }

    /// The releases that must stay.
    fn kept(&self) -> BTreeSet<ReleaseId> {
        let keep = self.focus.and_then(|id| self.works.get(&id)).map_or(2, |work| work.release.instructions.keep);
        let under_way = self.works.iter().filter(|(_, work)| work.stage == Stage::Assembling).map(|(id, _)| *id);
        let last = self.laid_out.iter().rev().take(usize::from(keep) + 1).copied();
        let named = [self.live, self.confirmed, self.intent, self.focus, self.announced].into_iter().flatten();
        named.chain(self.ordered()).chain(under_way).chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::order::Wave;
    use content::release::Instructions;
    use content::{BlobRef, Digest, FleetId, PayloadKind, UnixTime};

    const NOW: Time = Time(1_000_000_000);

    fn spec(name: &str) -> ContentSpec {
        let blob = BlobRef { root: Digest::of(name.as_bytes()), len: 600 };
        ContentSpec { blob, pieces: 3, bytes: 190_000 }
    }

    fn app() -> AppName {
        AppName::new("web").expect("it is a name")
    }

    fn signed(kind: PayloadKind) -> Signed {
        Signed { kind, payload: Vec::new(), signatures: Vec::new() }
    }

    fn release(name: &str) -> Release {
        Release {
            fleet: FleetId(Digest::of(b"fleet")),
            app: app(),
            version: name.to_owned(),
            created: UnixTime(2),
            content: spec(name),
            attributes: None,
            entries: 3,
            size: 190_000,
            instructions: Instructions::plain(b"/srv/web", 20, 2),
        }
    }

    /// Announces a release; who it is.
    fn announce(follower: &mut Follower, name: &str) -> ReleaseId {
        let id = ReleaseId(Digest::of(name.as_bytes()));
        follower.announced(NOW, id, signed(PayloadKind::Release), release(name));
        id
    }

    fn ordered(release: ReleaseId, fallback: Option<ReleaseId>) -> Ordered {
        let order = Order {
            fleet: FleetId(Digest::of(b"fleet")),
            app: app(),
            epoch: 1,
            release,
            fallback,
            selector: content::Selector::default(),
            unreachable: content::order::Unreachable::Skip,
            waves: vec![Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            created: UnixTime(3),
            message: String::new(),
        };
        Ordered { id: OrderId(Digest::of(b"order")), signed: signed(PayloadKind::Order), order }
    }

    fn order(follower: &mut Follower, release: ReleaseId) {
        follower.commanded(NOW, ordered(release, None), Gate::Hold);
        follower.accepted(NOW, &app(), Ok(()));
    }

    fn phases(follower: &mut Follower) -> Vec<(ReleaseId, Phase)> {
        let phase = |action| if let Action::Phase(_, release, phase) = action { Some((release, phase)) } else { None };
        std::iter::from_fn(|| follower.poll()).filter_map(phase).collect()
    }

    #[test]
    fn what_is_ordered_is_not_hidden_by_what_is_only_announced() {
        let mut follower = Follower::default();
        let ordered = announce(&mut follower, "ordered");
        order(&mut follower, ordered);
        let announced = announce(&mut follower, "announced");
        phases(&mut follower);
        follower.whole(NOW, spec("announced").id());
        follower.assembled(NOW, &app(), announced, Ok(()));
        follower.whole(NOW, spec("ordered").id());
        follower.assembled(NOW, &app(), ordered, Ok(()));
        assert_eq!(phases(&mut follower), [(ordered, Phase::Complete), (ordered, Phase::Staged)]);
    }

    #[test]
    fn what_is_announced_after_all_is_done_comes_into_focus_and_is_fetched() {
        let mut follower = Follower::default();
        let first = announce(&mut follower, "first");
        phases(&mut follower);
        let second = announce(&mut follower, "second");
        assert_eq!(phases(&mut follower), [(second, Phase::Told)], "nothing was ordered");
        assert_ne!(first, second);
    }

    #[test]
    fn what_another_announcement_replaced_is_fetched_when_its_order_comes() {
        let mut follower = Follower::default();
        let ordered = announce(&mut follower, "ordered");
        for late in ["late 1", "late 2", "late 3"] {
            announce(&mut follower, late);
        }
        follower.roots();
        let _before: Vec<Action> = std::iter::from_fn(|| follower.poll()).collect();
        order(&mut follower, ordered);
        let after: Vec<Action> = std::iter::from_fn(|| follower.poll()).collect();
        assert!(after.contains(&Action::Want(spec("ordered"))), "{after:?}");
        follower.whole(NOW, spec("ordered").id());
        follower.assembled(NOW, &app(), ordered, Ok(()));
        assert_eq!(phases(&mut follower), [(ordered, Phase::Complete), (ordered, Phase::Staged)]);
    }

    #[test]
    fn b13_a_word_that_comes_late_does_not_undo_a_fall_back() {
        let mut follower = Follower::default();
        let [back, bad] = ["back", "bad"].map(|name| {
            let id = announce(&mut follower, name);
            follower.whole(NOW, spec(name).id());
            follower.assembled(NOW, &app(), id, Ok(()));
            id
        });
        let ordered = ordered(bad, Some(back));
        let hear = |follower: &mut Follower, gate| follower.commanded(NOW, ordered.clone(), gate);
        hear(&mut follower, Gate::Hold);
        follower.accepted(NOW, &app(), Ok(()));
        for gate in [Gate::FallBack, Gate::Open, Gate::Hold] {
            hear(&mut follower, gate);
        }
        let actions: Vec<Action> = std::iter::from_fn(|| follower.poll()).collect();
        let switches: Vec<&Action> = actions.iter().filter(|action| matches!(action, Action::Switch(..))).collect();
        assert_eq!(switches, [&Action::Switch(app(), back)], "{actions:?}");
        follower.switched(NOW, &app(), back, Ok(()));
        follower.confirmed(NOW, &app(), back, Ok(()));
        hear(&mut follower, Gate::Open);
        assert!(!std::iter::from_fn(|| follower.poll()).any(|action| matches!(action, Action::Switch(..))));
    }

    #[test]
    fn a6_a16_what_somebody_else_must_mend_fails_no_release() {
        let mut follower = Follower::default();
        let id = announce(&mut follower, "ordered");
        order(&mut follower, id);
        follower.whole(NOW, spec("ordered").id());
        let mut now = NOW;
        for _ in 0..50 {
            follower.assembled(now, &app(), id, Err(JobError::Stuck { why: "read-only".to_owned() }));
            let standing = follower.standing(&app()).expect("it is known");
            assert_eq!((standing.phase, standing.trouble.as_deref()), (Phase::Complete, Some("read-only")));
            now = now.after(Duration::from_secs(31));
            follower.tick(now);
            let again = std::iter::from_fn(|| follower.poll()).any(|action| matches!(action, Action::Assemble(..)));
            assert!(again, "it is not tried again");
        }
        follower.degraded(Some("read-only".to_owned()));
        let trouble = follower.standing(&app()).and_then(|standing| standing.trouble);
        assert_eq!(trouble.as_deref(), Some("DEGRADED: read-only"));
        follower.degraded(None);
        follower.assembled(now, &app(), id, Ok(()));
        assert_eq!(follower.standing(&app()).expect("it is known").trouble, None);
    }

    #[test]
    fn the_last_ones_are_kept_after_a_restart_too() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let release = |nth: usize| Release { created: UnixTime(nth as u64), ..release(names[nth]) };
        let id = |nth: usize| ReleaseId(Digest::of(names[nth].as_bytes()));
        // As a store lists them.
        let mut listed: Vec<usize> = (0..names.len()).collect();
        listed.sort_by_key(|nth| id(*nth));
        let laid_out = listed.iter().map(|_| signed(PayloadKind::Release)).collect();
        let live = Some(id(6));
        let record = AppRecord {
            app: app(),
            order: None,
            laid_out,
            live,
            confirmed: live,
            intent: None,
            begun: 0,
            given_up: None,
        };
        let mut follower = Follower::default();
        follower.recover(NOW, &record, None, listed.into_iter().map(|nth| (id(nth), release(nth))).collect());
        let (_, kept) = follower.roots();
        assert_eq!(BTreeSet::from_iter(kept), BTreeSet::from([id(4), id(5), id(6)]), "two besides the live one");
    }

    /// A follower that runs a first release which may take a directory's place, and has been told to leave it.
    fn leaves_the_first() -> (Follower, ReleaseId) {
        let mut follower = Follower::default();
        let id = ReleaseId(Digest::of(b"first"));
        let mut first = release("first");
        first.instructions.adopts = true;
        first.instructions.hooks.back =
            Some(content::care::Hook { line: "true".to_owned(), user: None, timeout_ms: 1000 });
        follower.announced(NOW, id, signed(PayloadKind::Release), first);
        follower.whole(NOW, spec("first").id());
        follower.assembled(NOW, &app(), id, Ok(()));
        let order = ordered(id, None);
        follower.commanded(NOW, order.clone(), Gate::Open);
        follower.accepted(NOW, &app(), Ok(()));
        follower.switched(NOW, &app(), id, Ok(()));
        follower.commanded(NOW, order, Gate::FallBack);
        (follower, id)
    }

    #[test]
    fn what_took_a_directorys_place_gives_it_back_once_and_its_command_runs_then() {
        let (mut follower, first) = leaves_the_first();
        let restore = Action::Restore(app(), first);
        let actions: Vec<Action> = std::iter::from_fn(|| follower.poll()).collect();
        assert_eq!(actions.iter().filter(|action| **action == restore).count(), 1, "{actions:?}");
        follower.restored(NOW, &app(), first, Ok(()));
        let actions: Vec<Action> = std::iter::from_fn(|| follower.poll()).collect();
        assert!(actions.iter().any(|action| matches!(action, Action::Hook(_, _, Moment::Back, ..))), "{actions:?}");
        follower.hooked(NOW, &app(), (first, Moment::Back), Ok(()));
        assert_eq!(std::iter::from_fn(|| follower.poll()).next(), None, "nothing is left to do");
        assert_eq!(
            follower.standing(&app()).map(|standing| (standing.phase, standing.live)),
            Some((Phase::FellBack, None))
        );
    }

    #[test]
    fn what_took_nobodys_place_stays_and_is_asked_once() {
        let (mut follower, first) = leaves_the_first();
        while follower.poll().is_some() {}
        follower.restored(NOW, &app(), first, Err(JobError::Refused { why: "nothing stood there".to_owned() }));
        let actions: Vec<Action> = std::iter::from_fn(|| follower.poll()).collect();
        assert!(!actions.contains(&Action::Restore(app(), first)), "{actions:?}");
        assert_eq!(follower.live(&app()), Some(first));
    }

    #[test]
    fn what_is_announced_while_another_is_confirmed_is_kept() {
        let mut follower = Follower::default();
        let ordered = announce(&mut follower, "ordered");
        order(&mut follower, ordered);
        let announced = announce(&mut follower, "announced");
        let (contents, releases) = follower.roots();
        assert!(
            contents.contains(&spec("announced").id()) && releases.contains(&announced),
            "its order may be on its way"
        );
        assert!(contents.contains(&spec("ordered").id()) && releases.contains(&ordered));
    }
}
