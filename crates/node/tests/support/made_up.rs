//! A fleet that was made up: nodes in zones and racks that fetch, switch, fail and go away, and an operator who steers it.
//!
//! It lives by steps and draws from a seed: the same steps are the same fleet. For tests of the page and for whoever designs it.

#![allow(dead_code, unreachable_pub, reason = "each file uses its part of it")]

use crate::node;
use node::api::{
    AppStatus, FleetStatus, NodeStatus, Phase, ReleaseStatus, Restraint, Role, RolloutState, RolloutStatus, Timeline,
    WaveStatus,
};
use node::audit::Told;
use node::page::{Act, Acting, Deed, Operator, Recalling, Trouble};
use node::watching::Seen;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Pieces of a release.
const PIECES: u32 = 1_700;
/// The waves of every order, as shares of a thousand.
const WAVES: [usize; 4] = [1, 100, 500, 1000];

/// One made-up fleet.
pub struct MadeUp {
    pub status: FleetStatus,
    drawn: u64,
    /// How far each agent is, and its place among the waves.
    lives: Vec<Life>,
    epoch: u64,
    rest: u32,
}

#[derive(Clone)]
struct Life {
    part: u32,
    phase: Phase,
    place: usize,
    slow: bool,
    clock: u64,
    timeline: Timeline,
}

/// An id that looks like one.
fn id(word: &str) -> String {
    content::Digest::of(word.as_bytes()).to_string()
}

fn release_id(epoch: u64) -> String {
    id(&format!("release {epoch}"))
}

impl MadeUp {
    /// A fleet of so many agents, all well, at the beginning of a rollout.
    pub fn new(agents: usize) -> Self {
        let origin = NodeStatus { role: Role::Origin, name: "origin-1".into(), ..node(usize::MAX) };
        let status = FleetStatus {
            fleet: id("fleet"),
            origin: origin.node.clone(),
            origin_name: origin.name.clone(),
            datacenter: "fra".into(),
            software: "0.1.0".into(),
            nodes: (0..agents).map(node).chain([origin]).collect(),
            ..FleetStatus::default()
        };
        let mut made = Self { status, drawn: 88_172_645_463_325_252, lives: Vec::new(), epoch: 40, rest: 0 };
        made.order(wall());
        made
    }

    /// The next number of the seed's.
    fn draw(&mut self, below: usize) -> usize {
        self.drawn ^= self.drawn << 13;
        self.drawn ^= self.drawn >> 7;
        self.drawn ^= self.drawn << 17;
        (self.drawn % below.max(1) as u64) as usize
    }

    fn agents(&self) -> usize {
        self.status.nodes.len() - 1
    }

    /// A new release begins everywhere.
    pub fn order(&mut self, created: u64) {
        self.epoch += 1;
        let agents = self.agents();
        let mut places: Vec<usize> = (0..agents).collect();
        (1..agents).for_each(|last| {
            let with = self.draw(last + 1);
            places.swap(last, with);
        });
        // A fifth of them is at the end of a slow link, and comes last.
        let slow = |at: usize| agents >= 100 && at * 5 / agents == 4;
        let mut turns: Vec<usize> = (0..agents).collect();
        turns.sort_by_key(|at| (slow(*at), places[*at]));
        turns.into_iter().enumerate().for_each(|(place, at)| places[at] = place);
        self.lives = (0..agents)
            .map(|at| Life {
                part: 0,
                phase: Phase::Told,
                place: places[at],
                slow: slow(at),
                clock: 1_000,
                timeline: Timeline::default(),
            })
            .collect();
        let other = rollout("agentd", 12, RolloutState::Finished, created - 86_400 * 3);
        let web = rollout("web", self.epoch, RolloutState::Rolling { wave: 0 }, created);
        self.status.apps = vec![other, web];
        (0..agents).for_each(|at| self.write(at));
        self.count();
    }

    /// The rollout that lives.
    pub fn web(&mut self) -> &mut RolloutStatus {
        &mut self.status.apps[1]
    }

    /// So many nodes get a little further.
    pub fn step(&mut self, moves: usize) {
        let open = match self.web().state {
            RolloutState::Rolling { wave } => self.reached(wave),
            _ => 0,
        };
        for _ in 0..moves {
            let at = self.draw(self.agents());
            let luck = self.draw(20_000);
            self.advance(at, open, luck);
        }
        self.count();
        self.conduct();
    }

    /// How many nodes the waves up to this one have.
    fn reached(&self, wave: u8) -> usize {
        (self.agents() * WAVES[usize::from(wave)]).div_ceil(1000)
    }

    fn advance(&mut self, at: usize, open: usize, luck: usize) {
        if luck == 7 {
            self.status.nodes[at].up ^= true;
            self.status.nodes[at].since_us = 0;
        }
        if !self.status.nodes[at].up {
            return;
        }
        let life = &mut self.lives[at];
        life.clock += 150_000 + luck as u64 * 17;
        let now = Some(life.clock);
        match life.phase {
            Phase::Told => (life.phase, life.timeline.first_byte_us) = (Phase::Fetching, now),
            Phase::Fetching if life.part < PIECES => {
                life.part = PIECES
                    .min(life.part + if life.slow { 8 } else { 150 } + luck as u32 % if life.slow { 20 } else { 90 });
            }
            Phase::Fetching => {
                (life.phase, life.timeline.last_byte_us, life.timeline.complete_us) =
                    (Phase::Complete, now, now.map(|at| at + 40_000));
            }
            Phase::Complete => (life.phase, life.timeline.staged_us) = (Phase::Staged, now),
            Phase::Staged if life.place < open => (life.phase, life.timeline.live_us) = (Phase::Live, now),
            Phase::Live if luck % 400 == 3 => life.phase = Phase::FellBack,
            Phase::Live if luck % 700 == 5 => life.phase = Phase::Failed,
            Phase::Live if luck.is_multiple_of(3) => (life.phase, life.timeline.confirmed_us) = (Phase::Confirmed, now),
            _ => return,
        }
        self.write(at);
    }

    /// Says of a node what its life is.
    fn write(&mut self, at: usize) {
        let (life, epoch) = (self.lives[at].clone(), self.epoch);
        let runs = matches!(life.phase, Phase::Live | Phase::Confirmed);
        let trouble = match life.phase {
            Phase::Failed => Some("restart: exit status 3: cannot bind 0.0.0.0:8080, address already in use"),
            Phase::FellBack => Some("http://127.0.0.1:8080/health: 500 Internal Server Error, 3 of 3 rounds"),
            _ => None,
        };
        let bytes = u64::from(life.part) * 61_440;
        let web = AppStatus {
            app: "web".into(),
            release: release_id(epoch),
            order: Some(id(&format!("order {epoch}"))),
            phase: life.phase,
            have: life.part,
            total: PIECES,
            from_origin: bytes / 50,
            from_peers: bytes - bytes / 50,
            had: 1_440_000,
            timeline: life.timeline,
            live: Some(release_id(if runs { epoch } else { epoch - 1 })),
            confirmed: Some(release_id(if life.phase == Phase::Confirmed { epoch } else { epoch - 1 })),
            trouble: trouble.map(str::to_owned),
        };
        let other = AppStatus {
            app: "agentd".into(),
            release: release_id(12),
            order: Some(id("order 12")),
            phase: Phase::Confirmed,
            live: Some(release_id(12)),
            confirmed: Some(release_id(12)),
            trouble: None,
            have: PIECES,
            ..web.clone()
        };
        self.status.nodes[at].apps = vec![other, web];
    }

    fn count(&mut self) {
        let mut waves = vec![WaveStatus::default(); WAVES.len()];
        for life in &self.lives {
            let wave = (0..WAVES.len()).find(|wave| life.place < self.reached(*wave as u8)).unwrap_or(WAVES.len() - 1);
            waves[wave].nodes += 1;
            let wave = &mut waves[wave];
            match life.phase {
                Phase::Confirmed => wave.confirmed += 1,
                Phase::Failed | Phase::FellBack => wave.failed += 1,
                Phase::Live => wave.live += 1,
                Phase::Staged => wave.staged += 1,
                Phase::Fetching | Phase::Complete => wave.fetching += 1,
                Phase::Told => {}
            }
        }
        self.web().waves = waves;
        self.web().budget = 50;
        let nodes = self.agents() as u32;
        self.status.apps[0].waves = vec![WaveStatus { nodes, confirmed: nodes, ..WaveStatus::default() }];
    }

    /// Opens the next wave when the one before is done, and begins anew a while after the last.
    fn conduct(&mut self) {
        let state = self.web().state.clone();
        if let RolloutState::Rolling { wave } = state {
            let reached = self.reached(wave);
            let away = |at: usize| !self.status.nodes[at].up;
            let settled = |life: &Life| matches!(life.phase, Phase::Confirmed | Phase::Failed | Phase::FellBack);
            let mut these = self.lives.iter().enumerate().filter(|(_, life)| life.place < reached);
            if these.all(|(at, life)| settled(life) || away(at)) {
                let is_last = usize::from(wave) + 1 == WAVES.len();
                self.web().state =
                    if is_last { RolloutState::Finished } else { RolloutState::Rolling { wave: wave + 1 } };
            }
        }
        self.rest = if state == RolloutState::Finished { self.rest + 1 } else { 0 };
        if self.rest > 100 {
            self.order(wall());
        }
    }

    /// A picture with something of everything: the third wave is open, a few failed, some are away, one zone still fetches.
    pub fn midway(agents: usize) -> Self {
        let mut made = Self::new(agents);
        for at in (0..agents).filter(|at| at % 431 == 97) {
            made.status.nodes[at].up = false;
            made.status.nodes[at].since_us = (at as u64 + 90) * 1_000_000;
        }
        let is_midway = |made: &mut Self| made.web().waves[2].confirmed * 5 > made.web().waves[2].nodes * 2;
        while !is_midway(&mut made) {
            made.step(agents.div_ceil(50));
        }
        made.web().created = wall() - 754;
        made
    }
}

/// Seconds since 1970.
pub fn wall() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn node(at: usize) -> NodeStatus {
    // Five zones of a thousand and racks of fifty, in a fleet of five thousand.
    let (zone, rack) = ((at / 1000) % 26, (at / 50) % 20);
    let labels = [
        ("zone", format!("fra-{}", char::from(b'a' + zone as u8))),
        ("rack", format!("r{:02}", rack + 1)),
        ("role", if at.is_multiple_of(7) { "db" } else { "web" }.to_owned()),
    ];
    NodeStatus {
        node: id(&format!("node {at}")),
        name: format!("web-{at}"),
        role: Role::Agent,
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        up: true,
        since_us: 86_400_000_000 * 9,
        software: "0.1.0".into(),
        limit: None,
        obeys_limits: true,
        speaks: 6,
        apps: Vec::new(),
    }
}

fn rollout(app: &str, epoch: u64, state: RolloutState, created: u64) -> RolloutStatus {
    let release = |epoch: u64| ReleaseStatus {
        release: release_id(epoch),
        version: format!("2.{epoch}.0"),
        created,
        runs: true,
        proven: true,
    };
    RolloutStatus {
        app: app.into(),
        order: Some(id(&format!("order {epoch}"))),
        epoch,
        release: release_id(epoch),
        version: format!("2.{epoch}.0"),
        by: "alice".into(),
        message: "the login page answers in half the time".into(),
        state,
        origin_have: PIECES,
        origin_total: PIECES,
        content_bytes: u64::from(PIECES) * 61_440,
        origin_sent: u64::from(PIECES) * 62_900,
        selector: String::new(),
        releases: vec![release(epoch - 1), release(epoch)],
        created,
        fallback: Some(release_id(epoch - 1)),
        budget: 0,
        waves: Vec::new(),
        restraint: Restraint::default(),
        since_us: None,
        roads: Vec::new(),
    }
}

/// A fleet, whoever looks at it, and an operator whose words it obeys.
pub struct Stage {
    pub fleet: Mutex<MadeUp>,
    pub tell: watch::Sender<Seen>,
    pub deeds: Mutex<Vec<Deed>>,
    /// What the operator is answered instead, if anything.
    pub trouble: Mutex<Option<Trouble>>,
}

impl Stage {
    pub fn new(fleet: MadeUp) -> Arc<Self> {
        let (tell, _) = watch::channel(Seen::now(fleet.status.clone()));
        Arc::new(Self { fleet: Mutex::new(fleet), tell, deeds: Mutex::default(), trouble: Mutex::default() })
    }

    /// Changes the fleet, and tells.
    pub fn change(&self, change: impl FnOnce(&mut MadeUp)) {
        let mut fleet = self.fleet.lock().expect("nothing panics with it");
        change(&mut fleet);
        self.tell.send_replace(Seen::now(fleet.status.clone()));
    }

    fn obey(&self, deed: &Deed) -> Result<String, Trouble> {
        if let Some(trouble) = self.trouble.lock().expect("nothing panics with it").clone() {
            return Err(trouble);
        }
        use content::directive::Verb;
        self.deeds.lock().expect("nothing panics with it").push(deed.clone());
        let why = deed.message.clone();
        self.change(|fleet| match &deed.act {
            Act::Direct(Verb::Pause) => {
                let wave = if let RolloutState::Rolling { wave } = fleet.web().state { Some(wave) } else { None };
                fleet.web().state = RolloutState::Paused { wave, by: "bob".into(), why };
            }
            Act::Direct(Verb::Resume) => {
                let wave = if let RolloutState::Paused { wave, .. } = fleet.web().state { wave } else { None };
                fleet.web().state = RolloutState::Rolling { wave: wave.unwrap_or(0) };
            }
            Act::Direct(Verb::Promote) => {
                fleet.web().state = RolloutState::Rolling { wave: deed.sight.wave.unwrap_or(0) + 1 };
            }
            Act::Direct(Verb::Abort) => fleet.web().state = RolloutState::Halted { why: format!("bob: {why}") },
            Act::Rollback { .. } => fleet.order(wall()),
        });
        Ok("done".to_owned())
    }
}

/// The operator of a stage.
pub struct Pretender(pub Arc<Stage>);

impl Operator for Pretender {
    fn act(&self, deed: Deed) -> Acting {
        let stage = self.0.clone();
        Box::pin(async move { stage.obey(&deed) })
    }

    fn history(&self) -> Recalling {
        let now = wall();
        let line = move |(ago, who, what, why): (u64, &str, &str, &str)| Told {
            time: Some(now - ago),
            who: (!who.is_empty()).then(|| who.to_owned()),
            app: Some("web".into()),
            kind: "ordered".into(),
            what: what.into(),
            why: Some(why.into()),
            journal: "fleet".into(),
            generation: 1,
            index: 0,
        };
        let told = [
            (172_800, "bob", "2.39.0 ordered (epoch 39)", "the tuesday build"),
            (171_000, "", "2.39.0 (epoch 39) halts", "51 nodes failed, and the order allows 50"),
            (170_990, "", "2.39.0 (epoch 39) falls back to 2.38.0", ""),
            (90_000, "carol", "2.40.0 ordered (epoch 40)", "the tuesday build, with the port it had"),
            (86_000, "", "2.40.0 (epoch 40) is confirmed", ""),
            (760, "alice", "2.41.0 published", ""),
            (754, "alice", "2.41.0 ordered (epoch 41)", "the login page answers in half the time"),
            (751, "", "wave 1 of 2.41.0 (epoch 41) opens", ""),
            (690, "", "wave 2 of 2.41.0 (epoch 41) opens", ""),
            (402, "bob", "2.41.0 (epoch 41) paused", "looking at the error rate"),
            (350, "bob", "2.41.0 (epoch 41) resumed", "it was the other service"),
            (204, "", "wave 3 of 2.41.0 (epoch 41) opens", ""),
        ];
        Box::pin(async move { Ok(told.map(line).into()) })
    }
}
