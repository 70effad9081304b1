//! What is told: spans of rollouts, from facts of the journal, and of a node's part in them, from its phases.
//!
//! It has no clock and sends nothing. Invariants: a span is told when it has ended, and once; all spans of an order are of one trace.

use content::{AppName, Digest, Fact, NodeId, Order, OrderId, ReleaseId};
use engine::door::{AppStatus, Phase, Timeline};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Something that took a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace: [u8; 16],
    pub(super) id: [u8; 8],
    /// In what it happened; of the same trace.
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: &'static str,
    pub(super) begin: SystemTime,
    pub(super) end: SystemTime,
    pub(super) said: Vec<(&'static str, Said)>,
    /// Why it did not go well, in words.
    pub(super) trouble: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Text(String),
    Number(i64),
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Said {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

fn cut<const N: usize>(digest: &Digest, from: usize) -> [u8; N] {
    let bytes = digest.as_bytes();
    std::array::from_fn(|at| bytes[from + at])
}

fn trace(order: OrderId) -> [u8; 16] {
    cut(&order.0, 0)
}

/// The number of a rollout's own span, which everyone knows who has the order.
fn rollout(order: OrderId) -> [u8; 8] {
    cut(&order.0, 16)
}

/// The number of another span of its trace.
fn inner(order: OrderId, what: &[&[u8]]) -> [u8; 8] {
    let mut bytes = order.0.as_bytes().to_vec();
    for part in what {
        bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(part);
    }
    cut(&Digest::of(&bytes), 0)
}

// At an origin.

#[derive(Debug)]
struct Rollout {
    order: OrderId,
    begin: SystemTime,
    said: Vec<(&'static str, Said)>,
    /// Which wave is open, and since when.
    wave: Option<(u8, SystemTime)>,
    trouble: Option<String>,
}

/// The rollouts that have begun since this origin runs.
#[derive(Debug, Default)]
pub(super) struct Rollouts(BTreeMap<AppName, Rollout>);

impl Rollouts {
    /// A fact was written: what has ended with it.
    pub(super) fn fact(&mut self, now: SystemTime, fact: &Fact) -> Vec<Span> {
        match fact {
            Fact::Ordered { order: signed } => {
                let Ok(order) = Order::decode(&signed.payload) else { return Vec::new() };
                let before = self.end(now, &order.app, Some("another order came"));
                let id = OrderId(signed.payload_digest());
                self.0.insert(order.app.clone(), Rollout::new(now, id, &order));
                before
            }
            Fact::WaveOpened { app, order, wave } => match self.open(app, *order) {
                Some(rollout) => rollout.wave_ends(now, None, Some(*wave)).into_iter().collect(),
                None => Vec::new(),
            },
            Fact::Halted { app, order, why } => match self.open(app, *order) {
                Some(rollout) => {
                    rollout.trouble = Some(why.clone());
                    rollout.wave_ends(now, Some(why), None).into_iter().collect()
                }
                None => Vec::new(),
            },
            Fact::FellBack { app, order, .. } if self.open(app, *order).is_some() => {
                self.end(now, app, Some("it fell back"))
            }
            Fact::Finished { app, order } => match self.open(app, *order) {
                Some(rollout) => {
                    rollout.trouble = None;
                    self.end(now, app, None)
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn open(&mut self, app: &AppName, order: OrderId) -> Option<&mut Rollout> {
        self.0.get_mut(app).filter(|rollout| rollout.order == order)
    }

    fn end(&mut self, now: SystemTime, app: &AppName, trouble: Option<&str>) -> Vec<Span> {
        let Some(mut rollout) = self.0.remove(app) else { return Vec::new() };
        let trouble = rollout.trouble.take().or_else(|| trouble.map(str::to_owned));
        let wave = rollout.wave_ends(now, trouble.as_deref(), None);
        let Rollout { order, begin, said, .. } = rollout;
        let (trace, id) = (trace(order), self::rollout(order));
        let whole = Span { trace, id, parent: None, name: "rollout", begin, end: now, said, trouble };
        wave.into_iter().chain([whole]).collect()
    }
}

impl Rollout {
    fn new(now: SystemTime, id: OrderId, order: &Order) -> Self {
        let said = vec![
            ("tiding.app", order.app.as_str().to_owned().into()),
            ("tiding.order", id.to_string().into()),
            ("tiding.epoch", order.epoch.into()),
            ("tiding.release", order.release.to_string().into()),
            ("tiding.message", order.message.clone().into()),
        ];
        Self { order: id, begin: now, said, wave: None, trouble: None }
    }

    /// The open wave, if one is, ends; and another one opens.
    fn wave_ends(&mut self, now: SystemTime, trouble: Option<&str>, next: Option<u8>) -> Option<Span> {
        let ended = std::mem::replace(&mut self.wave, next.map(|wave| (wave, now)));
        let (wave, begin) = ended?;
        Some(Span {
            trace: trace(self.order),
            id: inner(self.order, &[b"wave", &[wave]]),
            parent: Some(rollout(self.order)),
            name: "wave",
            begin,
            end: now,
            said: vec![("tiding.wave", (u64::from(wave) + 1).into())],
            trouble: trouble.map(str::to_owned),
        })
    }
}

// At an agent.

/// What a node works on, and since when.
#[derive(Debug, Default)]
pub(super) struct Works(BTreeMap<AppName, (ReleaseId, SystemTime)>);

impl Works {
    /// A phase has begun; whether a node's part in a rollout ends with it, and when it began.
    pub(super) fn phase(
        &mut self,
        now: SystemTime,
        (app, release, phase): (&AppName, ReleaseId, Phase),
    ) -> Option<SystemTime> {
        match phase {
            Phase::Told | Phase::Fetching | Phase::Complete | Phase::Staged | Phase::Live => {
                let work = self.0.entry(app.clone()).or_insert((release, now));
                if work.0 != release {
                    *work = (release, now);
                }
                None
            }
            // Falling back is what becomes of another release than the one that was worked on.
            Phase::Confirmed | Phase::Failed | Phase::FellBack => self.0.remove(app).map(|(_, begin)| begin),
        }
    }
}

/// A node's steps in the order in which they are taken, each until its moment.
fn steps(timeline: &Timeline) -> [(&'static str, Option<Duration>); 4] {
    [
        ("fetch", timeline.complete),
        ("lay out", timeline.staged),
        ("wait for its wave", timeline.live),
        ("watch its health", timeline.confirmed),
    ]
}

/// A node's part in a rollout, which has ended.
pub(super) fn part(node: NodeId, app: &AppStatus, (begin, end): (SystemTime, SystemTime)) -> Vec<Span> {
    let Some(order) = app.order else { return Vec::new() };
    let id = |step: &str| inner(order, &[b"node", node.0.as_bytes(), step.as_bytes()]);
    let has_failed = app.phase != Phase::Confirmed;
    let trouble = has_failed.then(|| app.trouble.clone().unwrap_or_else(|| "it fell back".to_owned()));
    let mut spans = vec![Span {
        trace: trace(order),
        id: id(""),
        parent: Some(rollout(order)),
        name: "node",
        begin,
        end,
        said: vec![
            ("tiding.app", app.app.as_str().to_owned().into()),
            ("tiding.release", app.release.to_string().into()),
            ("tiding.bytes.from_origin", app.from_origin.into()),
            ("tiding.bytes.from_peers", app.from_peers.into()),
            ("tiding.bytes.had", app.had.into()),
        ],
        trouble: trouble.clone(),
    }];
    let mut from = begin;
    for (name, until) in steps(&app.timeline) {
        // What has not come to its end is what failed.
        let to = until.map_or(end, |until| begin + until).clamp(from, end.max(from));
        let (said, parent) = (Vec::new(), Some(spans[0].id));
        let trouble = trouble.clone().filter(|_| until.is_none());
        spans.push(Span { trace: trace(order), id: id(name), parent, name, begin: from, end: to, said, trouble });
        if until.is_none() {
            break;
        }
        from = to;
    }
    spans
}
