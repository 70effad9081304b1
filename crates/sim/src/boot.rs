//! The lives of machines: made, started, crashed, started again, made anew, retired.

use crate::check::Promise;
use crate::check::bounds::WINDOW_BYTES;
use crate::check::liveness::Wanted;
use crate::disk::{Platter, SimDir, SimDisk};
use crate::host::{Host, Run};
use crate::net::Nr;
use crate::plan::ORIGIN;
use crate::strikes::Strike;
use crate::world::{Happening, World, nanos};
use content::fact::{JournalName, Noted, Offer, Position};
use content::{Bitmap, ContentId, ContentSpec, Digest, Fact, Labels, NodeId, OrderId, Role, UnixTime};
use engine::Engine;
use engine::door::{Config, DownReason, Held, Input, Recovered, Time};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use store::disk::{Disk, Name};
use store::hands::OneHand;
use store::import::{Terms, import};
use store::trees::{self, Place};
use store::{Bringing, OpenError, Options, Patch, PieceSource, Store};

use crate::truth::{THEIRS, label};

/// Bytes on a disk that is not made small on purpose.
const DISK_BYTES: u64 = 1 << 30;
/// What a store leaves free.
const RESERVE: u64 = 64 * 1024;
/// How many payload bytes may be lost to a kill: small, so that small worlds have checkpoints too.
const CHECKPOINT: u64 = 256 * 1024;
/// How long the goodbye of a machine takes that goes in order.
const GOODBYE: Duration = Duration::from_millis(100);
/// How long a machine waits that could not start.
const START_AGAIN: Duration = Duration::from_millis(500);

fn name(text: &str) -> Name {
    Name::new(text).expect("a plain name")
}

/// The patch from what was deployed before, where a publisher has that.
fn patch_of(disk: &Arc<SimDisk>, root: &SimDir, target: ContentId) -> Option<(Offer, Patch)> {
    let place = |at| Place { parent: *root, name: name(at) };
    disk.metadata(root, &name("before")).ok()?;
    let (old, new) = (place("before"), place("build"));
    let made = trees::between(&OneHand, &Terms::default(), disk, (&old, &new), trees::Effort::Fast, 1 << 26).ok()?;
    let patch = Patch::of(&made.patch);
    let offer = Offer { base: made.old, target, patch: patch.spec(), format: trees::READS[0] };
    (made.new == target).then_some((offer, patch))
}

impl World {
    /// Makes all machines, enrols them, and starts those that are always there.
    pub(crate) fn furnish(&mut self) {
        let nodes = self.blueprint.links.len();
        for nr in 0..nodes {
            let role = match nr {
                ORIGIN => Role::Origin,
                _ if nr <= self.blueprint.agents => Role::Agent,
                _ => Role::Operator,
            };
            let host = self.make_host(nr, role);
            self.by_id.insert(host.id, nr);
            self.hosts.push(host);
        }
        let prepared = (0..=self.blueprint.agents).try_for_each(|nr| self.prepare_disk(nr));
        if let Err(why) = prepared {
            return self.breaks(Promise::Durability, format!("a disk could not be prepared: {why}"));
        }
        (0..=self.blueprint.agents).for_each(|nr| self.after(Duration::ZERO, Happening::Boot(nr)));
    }

    fn make_host(&mut self, nr: Nr, role: Role) -> Host {
        let rack = if nr.is_multiple_of(2) { "a" } else { "b" };
        Host {
            id: self.identity(nr, 0),
            name: format!("node-{nr}"),
            role,
            labels: Labels::from([(label("rack"), label(rack))]),
            address: Host::address(nr),
            platter: Platter::new(self.dice.next_u64(), DISK_BYTES, self.blueprint.reflinks),
            slowness: 1,
            evil: self.blueprint.evil.get(&nr).copied(),
            starts: 0,
            lives: 0,
            publishes: None,
            retired: false,
            run: None,
        }
    }

    fn identity(&self, nr: Nr, life: u64) -> NodeId {
        NodeId(Digest::of(format!("node {nr} of world {} in its life {life}", self.seed).as_bytes()))
    }

    /// The directories that exist before tiding comes, and the trust root, as joining leaves them.
    fn prepare_disk(&mut self, nr: Nr) -> io::Result<()> {
        let (disk, root) = self.hosts[nr].platter.boot();
        // One of them may be there: the disk was full the last time.
        for (dir, mode) in [("home", 0o700), ("srv", 0o755)] {
            let made = disk.create_dir(&root, &name(dir), mode);
            made.or_else(|why| if why.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(why) })?;
        }
        if self.blueprint.occupied == Some(nr) {
            let theirs = disk.create(&disk.open_dir(&root, &name("srv"))?, &name("app"), 0o644)?;
            disk.write_at(&theirs, THEIRS, 0)?;
        }
        disk.sync_all(&root)?;
        let (mut store, _) = open_store(disk, root).map_err(io::Error::other)?;
        store.set_root(&self.truth.root).map_err(|why| io::Error::other(format!("{why:?}")))?;
        if nr == ORIGIN {
            self.prepare_journals(&mut store)?;
        }
        Ok(())
    }

    fn prepare_journals(&mut self, store: &mut Store<SimDisk>) -> io::Result<()> {
        let enrolled = |host: &Host| (host.id, host.name.clone(), host.role, host.labels.clone());
        let nodes: Vec<_> = self.hosts.iter().map(enrolled).collect();
        for (journal, facts) in [self.truth.fleet_facts(), self.truth.datacenter_facts(&nodes)] {
            self.append_first(store, &journal, &facts)?;
        }
        Ok(())
    }

    fn append_first(&mut self, store: &mut Store<SimDisk>, journal: &JournalName, facts: &[Fact]) -> io::Result<()> {
        let first = Position { generation: 1, index: 0 };
        store.append(journal, first, facts, Noted::NOTHING).map_err(|why| io::Error::other(format!("{why:?}")))?;
        self.durability.appends(ORIGIN, journal, facts);
        self.durability.appended(ORIGIN, journal, facts, true);
        Ok(())
    }

    /// Starts a machine, if it is down and shall run.
    pub(crate) fn boot(&mut self, nr: Nr) {
        if self.hosts[nr].run.is_some() || self.hosts[nr].retired {
            return;
        }
        self.hosts[nr].starts += 1;
        self.break_old_connections(nr);
        match self.hosts[nr].role {
            Role::Operator => self.boot_publisher(nr),
            Role::Agent | Role::Origin => self.boot_node(nr),
        }
    }

    /// A kernel that starts knows no old connections. It says so to those who send on them, and nobody need do that for long.
    fn break_old_connections(&mut self, nr: Nr) {
        for peer in self.net.peers(nr) {
            match self.dice.chance(1, 2) {
                true => self.break_connection(nr, peer, "reset by a machine that was started again"),
                false => drop(self.net.disconnect(nr, peer)),
            }
        }
    }

    fn boot_node(&mut self, nr: Nr) {
        let (disk, root) = self.hosts[nr].platter.boot();
        if self.hosts[nr].starts > 1 && !self.is_calm_now() && self.dice.chance(1, 8) {
            let calls = self.dice.within(1..60);
            self.hosts[nr].platter.crash_after(calls);
        }
        match open_store(disk, root) {
            Ok((store, recovered)) => self.start_node(nr, store, recovered),
            Err(why) => self.could_not_open(nr, &why),
        }
    }

    fn could_not_open(&mut self, nr: Nr, why: &OpenError) {
        if !self.hosts[nr].platter.is_on() {
            self.strikes.add(Strike::CrashInRecovery);
        } else if self.is_calm_now() {
            return self.breaks(Promise::Durability, format!("node {nr} cannot open its store: {why}"));
        }
        self.after(START_AGAIN, Happening::Boot(nr));
    }

    pub(crate) fn is_calm_now(&self) -> bool {
        self.now >= nanos(self.blueprint.calm_at)
    }

    fn start_node(&mut self, nr: Nr, store: Store<SimDisk>, recovered: Recovered) {
        let pieces = store.pieces();
        self.judge_start(nr, &recovered, &pieces, store.notes());
        if !self.hosts[nr].platter.is_on() {
            drop((store, pieces));
            return self.after(START_AGAIN, Happening::Boot(nr));
        }
        let engine = self.make_engine(nr, recovered);
        self.hosts[nr].run = Some(Run::new(engine, Some(store), Some(pieces.clone()), Arc::new(pieces)));
        self.hosts[nr].took();
        self.drain(nr);
    }

    /// Holds what a start found against what was said before, and against what the disk shows.
    fn judge_start(&mut self, nr: Nr, recovered: &Recovered, pieces: &dyn PieceSource, notes: &[String]) {
        if !self.hosts[nr].platter.is_on() {
            // The power went before all was looked at; the next start is judged.
            return;
        }
        let app = recovered.apps.iter().find(|record| record.app == self.truth.app);
        let (order, live) = (app.and_then(|app| app.order.as_ref()), app.and_then(|app| app.live));
        if app.is_some_and(|app| app.intent.is_some()) {
            self.strikes.add(Strike::CrashBetweenIntentAndConfirm);
        }
        if nr == ORIGIN {
            self.read_journal_again(recovered);
        }
        if let Some(order) = order {
            self.rollouts.follows(nr, OrderId(order.payload_digest()));
        }
        if let Some((order, _)) = app.and_then(|app| app.given_up.as_ref()) {
            self.rollouts.gave_up(nr, *order);
        }
        let stray = self.orders.started(&self.truth, nr, order, live);
        self.judge(Promise::Orders, stray);
        let forgotten = self.convictions.started(nr, &recovered.shunned);
        self.judge(Promise::Convictions, forgotten);
        let wrong = self.durability.started(&self.truth, nr, recovered, Some(pieces));
        if !self.hosts[nr].platter.is_on() {
            // The power went while the checker read; the next start is judged.
            return;
        }
        let noted = if notes.is_empty() { String::new() } else { format!(" (its store notes: {})", notes.join("; ")) };
        wrong.into_iter().for_each(|words| self.breaks(Promise::Durability, format!("{words}{noted}")));
        self.look_at_path(nr);
    }

    /// What was being appended when the power went may stand in the journal or not: the journal says what is wanted.
    fn read_journal_again(&mut self, recovered: &Recovered) {
        self.wanted = Wanted::default();
        self.orders.begin_journal();
        for (_, _, fact) in &recovered.facts {
            self.wanted.noted(&self.truth, fact);
            let wrong = self.orders.noted(&self.truth, fact);
            self.judge(Promise::Orders, wrong);
            if let Fact::Awaited { order, wave, .. } = fact {
                self.gate_waits(*order, *wave);
            }
        }
    }

    fn make_engine(&mut self, nr: Nr, recovered: Recovered) -> Engine {
        let host = &self.hosts[nr];
        let config = Config {
            fleet: self.truth.fleet,
            role: host.role,
            name: host.name.clone(),
            labels: host.labels.clone(),
            datacenter: self.truth.datacenter.clone(),
            listen: (host.role != Role::Operator).then_some(host.address),
            software: "sim".to_owned(),
            origins: if nr == ORIGIN { Vec::new() } else { vec![Host::address(ORIGIN)] },
            neighbours: 16,
            window_bytes: WINDOW_BYTES,
            patience: Duration::from_secs(1),
            redial: Duration::from_millis(50),
            given_order: true,
            speaks: engine::wire::PROTOCOL,
            reads: self.blueprint.wish.map_or_else(Vec::new, |_| store::trees::READS.to_vec()),
            limit: None,
        };
        let recovered = Recovered { clock: UnixTime(self.now / 1_000_000_000), ..recovered };
        self.net.limit_up(nr, None);
        Engine::new(host.id, config, recovered, self.dice.next_u64(), Time(self.now))
    }

    /// A publisher reads its tree anew whenever it starts, and hands in what it hands in.
    fn boot_publisher(&mut self, nr: Nr) {
        let (disk, root) = self.hosts[nr].platter.boot();
        let disk = Arc::new(disk);
        let (found, tree) = match import(disk.clone(), root, &name("build"), &mut |_| ()) {
            Ok(imported) => imported,
            Err(why) => return self.breaks(Promise::Liveness, format!("publisher {nr} cannot read its tree: {why}")),
        };
        let (offer, patch) = patch_of(&disk, &root, found.content.id()).unzip();
        let (source, offers) = (Bringing::new(tree, patch), Vec::from_iter(offer));
        let specs: Vec<ContentSpec> =
            [found.content, found.attributes].into_iter().chain(offers.iter().map(|offer| offer.patch)).collect();
        specs.iter().for_each(|spec| self.truth.learn_pieces(spec, &source));
        let held = specs.into_iter().map(whole).collect();
        let recovered = Recovered { root: Some(self.truth.root.clone()), held, offers, ..Recovered::default() };
        let engine = self.make_engine(nr, recovered);
        self.hosts[nr].run = Some(Run::new(engine, None, None, Arc::new(source)));
        self.hosts[nr].took();
        self.drain(nr);
        self.hand_in(nr, &found);
    }

    /// The power goes.
    pub(crate) fn crash(&mut self, nr: Nr) {
        if self.hosts[nr].run.is_none() {
            return;
        }
        self.strikes.add(match self.hosts[nr].role {
            Role::Origin => Strike::OriginCrash,
            Role::Agent => Strike::AgentCrash,
            Role::Operator => Strike::PublisherCrash,
        });
        if nr == ORIGIN && self.script.unanswered().is_some() {
            self.strikes.add(Strike::OriginCrashMidDeploy);
        }
        self.stop(nr);
        let wait = Duration::from_millis(*self.dice.pick(&[5, 100, 1000]) + self.dice.below(500));
        self.after(wait, Happening::Boot(nr));
    }

    /// Ends a life without a word to anyone; half of the time the kernel lives on and resets the connections, else the others
    /// find out for themselves.
    pub(crate) fn stop(&mut self, nr: Nr) {
        self.hosts[nr].platter.power_off();
        self.hosts[nr].run = None;
        let resets = self.dice.chance(1, 2);
        for peer in self.net.peers(nr) {
            if resets {
                self.break_connection(nr, peer, "reset by peer");
            }
        }
    }

    /// Whether the power went in what a machine just did; then everything it was is gone.
    pub(crate) fn crashed_in_call(&mut self, nr: Nr) -> bool {
        let crashed = !self.hosts[nr].platter.is_on();
        if crashed {
            self.crash(nr);
        }
        crashed
    }

    /// Store and identity are deleted; the machine asks to join again.
    pub(crate) fn wipe(&mut self, nr: Nr) {
        self.stop(nr);
        self.strikes.add(Strike::Wiped);
        let host = &mut self.hosts[nr];
        host.lives += 1;
        host.platter = Platter::new(self.dice.next_u64(), DISK_BYTES, self.blueprint.reflinks);
        self.by_id.remove(&self.hosts[nr].id);
        self.hosts[nr].id = self.identity(nr, self.hosts[nr].lives);
        self.by_id.insert(self.hosts[nr].id, nr);
        self.durability.wiped(nr);
        self.orders.wiped(nr);
        self.convictions.wiped(nr);
        self.rollouts.wiped(nr);
        // What it said was said by another identity, whose connections end with it.
        self.memory.retain(|(from, to), _| *from != nr && *to != nr);
        self.hosts[nr].starts += 1;
        self.ask_to_join(nr);
    }

    /// A machine that was enrolled begins its life.
    pub(crate) fn joined(&mut self, nr: Nr) {
        let full = self.hosts[nr].platter.struck().full;
        match self.prepare_disk(nr) {
            // There was no room: it is tried again in a while.
            Err(_) if self.hosts[nr].platter.struck().full > full => return,
            Err(why) => return self.breaks(Promise::Durability, format!("a disk could not be prepared: {why}")),
            Ok(()) => {}
        }
        self.hosts[nr].retired = false;
        self.boot(nr);
    }

    /// A machine goes for good, in order.
    pub(crate) fn retire(&mut self, nr: Nr) {
        self.hosts[nr].retired = true;
        for peer in self.net.peers(nr) {
            if self.net.disconnect(nr, peer) {
                let input = Box::new(Input::PeerDown { peer: self.hosts[nr].id, why: DownReason::Closed });
                let start = self.hosts[peer].starts;
                self.after(GOODBYE, Happening::Down { nr: peer, start, peer: nr, input });
            }
        }
        self.hosts[nr].run = None;
        self.hosts[nr].platter.power_off();
    }

    /// The power goes for the last time, and what was said is looked for.
    pub(crate) fn final_crash(&mut self, nr: Nr) {
        if self.hosts[nr].role == Role::Operator || self.hosts[nr].retired {
            return;
        }
        self.hosts[nr].run = None;
        let (disk, root) = self.hosts[nr].platter.boot();
        match open_store(disk, root) {
            Ok((store, recovered)) => {
                self.judge_start(nr, &recovered, &store.pieces(), store.notes());
                if nr == ORIGIN {
                    let missing = self.script.missing_from(&recovered.facts);
                    self.judge(Promise::Durability, missing);
                }
            }
            Err(why) => self.breaks(Promise::Durability, format!("node {nr} cannot open its store at the end: {why}")),
        }
    }
}

fn whole(content: ContentSpec) -> Held {
    Held { content, have: Bitmap::full(content.total()), complete: true }
}

fn open_store(disk: SimDisk, root: SimDir) -> Result<(Store<SimDisk>, Recovered), OpenError> {
    let home = disk.open_dir(&root, &name("home"));
    let home = home.map_err(|source| OpenError::Disk { doing: "opening the home".to_owned(), source })?;
    let options = Options { reserve: RESERVE, checkpoint: CHECKPOINT, home: "home".to_owned(), ..Options::default() };
    Store::open(Arc::new(disk), home, root, "1", options)
}
