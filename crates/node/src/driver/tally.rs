//! What went in and out of an engine's doors, counted: the figures behind the metrics.
//!
//! It looks at every input and output of the engine and at nothing else, so what is counted is what happened. It decides nothing,
//! and holds no more than the engine does: one entry for each peer, each job that runs and each application.

use crate::histogram::Histogram;
use content::{AppName, NodeId, OrderId, Role};
use engine::door::{
    Answer, ClientId, Event, Input, Job, JobDone, JobError, JobId, Message, Misbehaviour, Moment, Output, Phase,
    Request, Submitted, Time,
};
use std::collections::{BTreeMap, BTreeSet};

/// Steps for what a machine does by itself: commands and probes.
const ACTING: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];
/// Steps for what a fleet does.
const REACHING: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0];
/// Submissions whose end is waited for at most.
const SUBMITTING: usize = 64;

/// Pieces that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    pub(crate) pieces: u64,
    pub(crate) bytes: u64,
}

impl Moved {
    fn add(&mut self, bytes: u32) {
        self.pieces += 1;
        self.bytes += u64::from(bytes);
    }
}

/// How often something was done, how long it took, and how often it failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Acted {
    pub(crate) took: Histogram,
    pub(crate) failures: u64,
}

/// All that is counted.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    roles: BTreeMap<NodeId, Role>,
    acting: BTreeMap<JobId, (Time, Kind)>,
    enrolling: BTreeSet<ClientId>,
    submitting: BTreeMap<OrderId, Time>,
    pub(crate) received: BTreeMap<Role, Moved>,
    pub(crate) sent: BTreeMap<Role, Moved>,
    pub(crate) corrupt: u64,
    pub(crate) convictions: BTreeMap<Misbehaviour, u64>,
    pub(crate) late: u64,
    pub(crate) quarantined: u64,
    pub(crate) plain_roads: u64,
    /// Patches that were made, applied, and that could not be; and the bytes that need not come because of those that were.
    pub(crate) patches_made: u64,
    pub(crate) patches_applied: u64,
    pub(crate) patches_failed: u64,
    pub(crate) patches_saved: u64,
    pub(crate) distrusted: u64,
    pub(crate) failed_jobs: u64,
    /// When an origin was last heard, or was at least connected.
    pub(crate) heard_origin: Option<Time>,
    /// When each application was last confirmed, in this life.
    pub(crate) confirmed: BTreeMap<AppName, Time>,
    pub(crate) switches: Acted,
    pub(crate) hooks: BTreeMap<Moment, Acted>,
    pub(crate) probes: Acted,
    pub(crate) given_up: u64,
    pub(crate) joins: u64,
    pub(crate) refused_joins: u64,
    pub(crate) submissions: Acted,
    /// How long nodes took to each phase, as they say.
    pub(crate) reached: BTreeMap<Phase, Histogram>,
    pub(crate) node_failures: u64,
}

/// A job whose time is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Switch,
    Hook(Moment),
    Probe,
    Confirm(AppName),
}

impl Default for Acted {
    fn default() -> Self {
        Self { took: Histogram::new(ACTING), failures: 0 }
    }
}

impl Default for Tally {
    fn default() -> Self {
        let moved = || Self::ROLES.map(|role| (role, Moved::default())).into();
        Self {
            roles: BTreeMap::new(),
            acting: BTreeMap::new(),
            enrolling: BTreeSet::new(),
            submitting: BTreeMap::new(),
            received: moved(),
            sent: moved(),
            corrupt: 0,
            convictions: Self::MISBEHAVIOURS.map(|of| (of, 0)).into(),
            late: 0,
            quarantined: 0,
            plain_roads: 0,
            patches_made: 0,
            patches_applied: 0,
            patches_failed: 0,
            patches_saved: 0,
            distrusted: 0,
            failed_jobs: 0,
            heard_origin: None,
            confirmed: BTreeMap::new(),
            switches: Acted::default(),
            hooks: [Moment::Before, Moment::After, Moment::Back].map(|moment| (moment, Acted::default())).into(),
            probes: Acted::default(),
            given_up: 0,
            joins: 0,
            refused_joins: 0,
            submissions: Acted { took: Histogram::new(REACHING), failures: 0 },
            reached: [Phase::Live, Phase::Confirmed].map(|phase| (phase, Histogram::new(REACHING))).into(),
            node_failures: 0,
        }
    }
}

impl Tally {
    /// Whom one may have to do with.
    pub(crate) const ROLES: [Role; 3] = [Role::Origin, Role::Agent, Role::Operator];

    const MISBEHAVIOURS: [Misbehaviour; 8] = [
        Misbehaviour::CorruptPiece,
        Misbehaviour::WrongLength,
        Misbehaviour::UnaskedPieces,
        Misbehaviour::NoSuchPiece,
        Misbehaviour::FalseHaves,
        Misbehaviour::NotItsRole,
        Misbehaviour::BadSignature,
        Misbehaviour::Flood,
    ];

    /// How many peers of a role are connected.
    pub(crate) fn peers(&self, role: Role) -> usize {
        self.roles.values().filter(|of| **of == role).count()
    }

    /// Looks at what goes in.
    pub(crate) fn came(&mut self, now: Time, input: &Input) {
        match input {
            Input::PeerUp { peer, role, .. } => {
                self.roles.insert(*peer, *role);
                self.heard(now, *peer);
            }
            Input::PeerDown { peer, .. } => {
                self.heard(now, *peer);
                self.roles.remove(peer);
            }
            Input::Message { from, message } => {
                self.heard(now, *from);
                self.submitted(now, message);
            }
            Input::Piece { from, len, .. } => {
                self.heard(now, *from);
                moved(&mut self.received, self.roles.get(from), *len);
            }
            Input::Sent { to, bytes, .. } if *bytes > 0 => moved(&mut self.sent, self.roles.get(to), *bytes),
            Input::Done { job, result } => self.done(now, *job, result),
            Input::Request { client, request: Request::Enrol { .. }, .. } => drop(self.enrolling.insert(*client)),
            _ => {}
        }
    }

    /// Looks at what goes out.
    pub(crate) fn went(&mut self, now: Time, output: &Output) {
        match output {
            Output::Job { id, job } => {
                if let Some(kind) = kind(job) {
                    self.acting.insert(*id, (now, kind));
                }
            }
            Output::Answer { client, answer } if self.enrolling.remove(client) => match answer {
                Answer::Enrolled { .. } => self.joins += 1,
                _ => self.refused_joins += 1,
            },
            Output::Send { message: Message::Verdict { order, outcome }, .. } => {
                self.settled(now, *order, outcome.as_ref().ok())
            }
            Output::Event(event) => self.happened(event),
            _ => {}
        }
    }

    fn heard(&mut self, now: Time, peer: NodeId) {
        if self.roles.get(&peer) == Some(&Role::Origin) {
            self.heard_origin = Some(now);
        }
    }

    fn submitted(&mut self, now: Time, message: &Message) {
        let Message::Submit { order, .. } = message else { return };
        if self.submitting.len() == SUBMITTING {
            // Whoever brought that one has gone without a verdict.
            let oldest = self.submitting.iter().min_by_key(|(_, since)| **since).map(|(order, _)| *order);
            oldest.map(|order| self.submitting.remove(&order));
        }
        self.submitting.entry(OrderId(order.payload_digest())).or_insert(now);
    }

    /// A submission was answered: taken for now, ordered, or refused.
    fn settled(&mut self, now: Time, order: OrderId, outcome: Option<&Submitted>) {
        if outcome == Some(&Submitted::Spreading) {
            return;
        }
        let Some(since) = self.submitting.remove(&order) else { return };
        match outcome {
            Some(_) => self.submissions.took.note(now.since(since)),
            None => self.submissions.failures += 1,
        }
    }

    fn done(&mut self, now: Time, job: JobId, result: &Result<JobDone, JobError>) {
        match result {
            Err(JobError::Corrupt) => self.corrupt += 1,
            Ok(JobDone::GivenUp) => self.given_up += 1,
            _ => {}
        }
        let Some((since, kind)) = self.acting.remove(&job) else { return };
        let acted = match kind {
            Kind::Confirm(app) => {
                if result.is_ok() {
                    self.confirmed.insert(app, now);
                }
                return;
            }
            Kind::Switch => &mut self.switches,
            Kind::Hook(moment) => self.hooks.entry(moment).or_default(),
            Kind::Probe => &mut self.probes,
        };
        acted.took.note(now.since(since));
        acted.failures += u64::from(result.is_err());
    }

    fn happened(&mut self, event: &Event) {
        match event {
            Event::Convicted { of, .. } => *self.convictions.entry(*of).or_default() += 1,
            Event::Late { .. } => self.late += 1,
            Event::Quarantined { .. } => self.quarantined += 1,
            Event::PlainRoad { .. } => self.plain_roads += 1,
            Event::PatchMade { .. } => self.patches_made += 1,
            Event::PatchFailed { .. } => self.patches_failed += 1,
            Event::Patched { saved, .. } => {
                self.patches_applied += 1;
                self.patches_saved += saved;
            }
            Event::Distrusted { .. } | Event::StaleOrder { .. } => self.distrusted += 1,
            Event::JobFailed { .. } => self.failed_jobs += 1,
            Event::Reached { phase: Phase::Failed | Phase::FellBack, .. } => self.node_failures += 1,
            Event::Reached { phase, after: Some(after), .. } => {
                if let Some(histogram) = self.reached.get_mut(phase) {
                    histogram.note(*after);
                }
            }
            _ => {}
        }
    }
}

fn moved(by_role: &mut BTreeMap<Role, Moved>, role: Option<&Role>, bytes: u32) {
    // Its connection may be gone before the last of it is counted; then it is nobody's.
    if let Some(moved) = role.and_then(|role| by_role.get_mut(role)) {
        moved.add(bytes);
    }
}

/// What is to be counted of a job.
fn kind(job: &Job) -> Option<Kind> {
    match job {
        Job::Switch { .. } => Some(Kind::Switch),
        Job::Hook { moment, .. } => Some(Kind::Hook(*moment)),
        Job::Probe { .. } => Some(Kind::Probe),
        Job::Confirm { app, .. } => Some(Kind::Confirm(app.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{ContentId, Digest, PieceNo, ReleaseId};
    use engine::door::{BufferId, DownReason};
    use std::time::Duration;

    fn node(name: &[u8]) -> NodeId {
        NodeId(Digest::of(name))
    }

    fn second(at: u64) -> Time {
        Time(0).after(Duration::from_secs(at))
    }

    fn app() -> AppName {
        AppName::new("web").expect("a plain name")
    }

    fn up(peer: NodeId, role: Role) -> Input {
        Input::PeerUp { peer, role, seen: [127, 0, 0, 1].into(), dialled: None }
    }

    fn piece(from: NodeId, len: u32) -> Input {
        Input::Piece { from, content: ContentId(Digest::of(b"c")), piece: PieceNo(0), buffer: BufferId(0), len }
    }

    #[test]
    fn pieces_are_counted_by_who_sends_them() {
        let mut tally = Tally::default();
        let inputs = [
            up(node(b"a"), Role::Origin),
            up(node(b"b"), Role::Agent),
            piece(node(b"a"), 100),
            piece(node(b"b"), 7),
            piece(node(b"b"), 8),
        ];
        inputs.iter().for_each(|input| tally.came(second(1), input));
        let to = |bytes| Input::Sent {
            to: node(b"b"),
            content: ContentId(Digest::of(b"c")),
            piece: PieceNo(0),
            bytes,
            took: Duration::ZERO,
        };
        [to(5), to(0)].iter().for_each(|input| tally.came(second(2), input));
        assert_eq!(tally.received[&Role::Origin], Moved { pieces: 1, bytes: 100 });
        assert_eq!(tally.received[&Role::Agent], Moved { pieces: 2, bytes: 15 });
        assert_eq!(tally.sent[&Role::Agent], Moved { pieces: 1, bytes: 5 }, "what could not be sent was not sent");
        assert_eq!((tally.peers(Role::Origin), tally.peers(Role::Agent), tally.heard_origin), (1, 1, Some(second(1))));
        tally.came(second(9), &Input::PeerDown { peer: node(b"a"), why: DownReason::Closed });
        assert_eq!((tally.peers(Role::Origin), tally.heard_origin), (0, Some(second(9))));
        tally.came(second(11), &piece(node(b"a"), 100));
        assert_eq!((tally.received[&Role::Origin].pieces, tally.heard_origin), (1, Some(second(9))));
    }

    #[test]
    fn jobs_take_from_when_they_are_given_until_they_are_done() {
        let (mut tally, release) = (Tally::default(), ReleaseId(Digest::of(b"r")));
        let refused = || Err(JobError::Refused { why: "no".to_owned() });
        let jobs = [
            (Job::Switch { app: app(), release }, Ok(JobDone::Switched { previous: None })),
            (Job::Switch { app: app(), release }, refused()),
            (Job::Confirm { app: app(), release }, refused()),
            (Job::Confirm { app: app(), release }, Ok(JobDone::Confirmed)),
            (Job::Verify { app: app() }, Err(JobError::Corrupt)),
        ];
        for (at, (job, result)) in jobs.into_iter().enumerate() {
            let (id, at) = (JobId(at as u64), at as u64 * 10);
            tally.went(second(at), &Output::Job { id, job });
            tally.came(second(at + 2), &Input::Done { job: id, result });
        }
        assert_eq!((tally.switches.took.count(), tally.switches.took.sum, tally.switches.failures), (2, 4.0, 1));
        assert_eq!((tally.confirmed.get(&app()), tally.corrupt), (Some(&second(32)), 1));
        assert!(tally.acting.is_empty(), "nothing is kept of what is done");
    }

    #[test]
    fn a_submission_is_timed_until_it_is_ordered() {
        let mut tally = Tally::default();
        let (order, _) = crate::testing::signed_root();
        let id = OrderId(order.payload_digest());
        let submit = Input::Message { from: node(b"a"), message: Message::Submit { release: order.clone(), order } };
        let verdict = |outcome| Output::Send { to: node(b"a"), message: Message::Verdict { order: id, outcome } };
        // Somebody who lost the connection says the same once more.
        [1, 2].into_iter().for_each(|at| tally.came(second(at), &submit));
        tally.went(second(3), &verdict(Ok(Submitted::Spreading)));
        tally.went(second(5), &verdict(Ok(Submitted::Ordered)));
        tally.went(second(6), &verdict(Ok(Submitted::Ordered)));
        assert_eq!((tally.submissions.took.count(), tally.submissions.took.sum), (1, 4.0));
        assert!(tally.submitting.is_empty());
    }

    #[test]
    fn what_nodes_say_is_counted_once_for_each_phase() {
        let mut tally = Tally::default();
        let reached = |phase, after| Event::Reached { node: node(b"a"), app: app(), phase, after };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for event in [
            reached(Phase::Staged, seconds(1)),
            reached(Phase::Live, seconds(2)),
            reached(Phase::Confirmed, seconds(3)),
            reached(Phase::Confirmed, None),
            reached(Phase::Failed, None),
        ] {
            tally.went(second(0), &Output::Event(event));
        }
        assert_eq!((tally.reached[&Phase::Live].sum, tally.reached[&Phase::Confirmed].sum), (2.0, 3.0));
        assert_eq!(tally.node_failures, 1);
    }
}
