//! Every operation of a store, cut at every call of the disk: the same checkers as in whole worlds, without an engine.
//!
//! A node's whole story (open, pages, index, pieces, complete, lay out, accept, switch, confirm) is told to a store whose
//! power goes in the n-th call, for every n until the story gets through untouched; after each cut the story begins again.

use crate::check::bytes;
use crate::check::durability::Durability;
use crate::check::orders::Orders;
use crate::dice::Dice;
use crate::disk::{Platter, SimDir, SimDisk};
use crate::plan::Illness;
use crate::tree::Tree;
use crate::truth::{TARGET, Truth, Wish};
use content::release::Instructions;
use content::{ContentId, ContentSpec, PieceNo, ReleaseId, Signed};
use engine::door::{Job, JobDone, Recovered};
use std::rc::Rc;
use std::sync::Arc;
use store::disk::{Disk, Name};
use store::import::{Source, import};
use store::{Options, PieceSource, Store};

fn name(text: &str) -> Name {
    Name::new(text).expect("a plain name")
}

/// One publisher, one node, one release, one order, and who watches them.
struct Story {
    truth: Truth,
    source: Source<SimDisk>,
    specs: [ContentSpec; 2],
    release: Signed,
    order: Signed,
    platter: Platter,
    durability: Durability,
    orders: Orders,
}

/// The power went.
struct Cut;

impl Story {
    fn new(seed: u64) -> Self {
        let mut truth = Truth::new(seed);
        let tree = Rc::new(Tree::draw(&mut Dice::new(seed), 150_000));
        let publisher = Platter::new(seed, 1 << 26, false);
        let (disk, root) = publisher.boot();
        tree.plant(&disk, &root, &name("build")).expect("planted");
        let (found, source) = import(Arc::new(disk), root, &name("build"), &mut |_| ()).expect("imported");
        let specs = [found.attributes, found.content];
        specs.iter().for_each(|spec| truth.learn_pieces(spec, &source));
        let release = truth.publish("v1", &found, tree, (Instructions::plain(TARGET, 0, 2), Illness::Well));
        let id = ReleaseId(release.payload_digest());
        let wish = Wish {
            epoch: 1,
            release: id,
            fallback: None,
            selector: content::Selector::default(),
            waves: vec![content::order::Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            message: "m".into(),
        };
        let order = truth.order(&wish);
        let platter = Platter::new(seed, 1 << 26, seed.is_multiple_of(2));
        let (disk, root) = platter.boot();
        for dir in ["home", "srv"] {
            disk.create_dir(&root, &name(dir), 0o755).expect("made");
        }
        disk.sync_all(&root).expect("synced");
        let (durability, orders) = (Durability::default(), Orders::default());
        Self { truth, source, specs, release, order, platter, durability, orders }
    }

    /// Starts the store and holds what it finds against what it said.
    fn open(&mut self, disk: SimDisk, root: SimDir) -> Result<(Store<SimDisk>, Recovered), Cut> {
        let home = disk.open_dir(&root, &name("home")).map_err(|_| Cut)?;
        let options = Options { reserve: 0, ..Options::default() };
        let opened = Store::open(Arc::new(disk), home, root, "1", options);
        let (store, recovered) = opened.map_err(|why| self.cut_or(&why.to_string()))?;
        let app = recovered.apps.first();
        let (order, live) = (app.and_then(|app| app.order.as_ref()), app.and_then(|app| app.live));
        assert_eq!(self.orders.started(&self.truth, 0, order, live), None);
        let wrong = self.durability.started(&self.truth, 0, &recovered, Some(&store.pieces()));
        if self.platter.is_on() {
            assert_eq!(wrong, Vec::<String>::new());
            self.look();
        }
        Ok((store, recovered))
    }

    fn look(&self) {
        let live = self.durability.live(0);
        let expected = live.and_then(|id| self.truth.releases.get_key_value(&id));
        assert_eq!(bytes::wrong(&self.platter, expected), None);
    }

    fn cut_or(&self, why: &str) -> Cut {
        assert!(!self.platter.is_on(), "failed with the power on: {why}");
        Cut
    }

    fn run(&mut self, store: &mut Store<SimDisk>, job: Job) -> Result<JobDone, Cut> {
        self.durability.begins(0, &job);
        let result = store.run(&job);
        if !self.platter.is_on() {
            return Err(Cut);
        }
        assert_eq!(self.durability.ended(0, &job, &result), None);
        if let (Job::Accept { order }, Ok(_)) = (&job, &result) {
            assert_eq!(self.orders.accepted(&self.truth, 0, order), None);
        }
        result.map_err(|why| self.cut_or(&format!("{job:?}: {why:?}")))
    }

    fn tell(&mut self, store: &mut Store<SimDisk>) -> Result<(), Cut> {
        for spec in self.specs {
            self.bring(store, spec)?;
        }
        let (app, release) = (self.truth.app.clone(), ReleaseId(self.release.payload_digest()));
        self.run(store, Job::Assemble { release: self.release.clone() })?;
        self.run(store, Job::Accept { order: self.order.clone() })?;
        self.run(store, Job::Switch { app: app.clone(), release })?;
        self.look();
        self.run(store, Job::Confirm { app, release }).map(drop)
    }

    fn bring(&mut self, store: &mut Store<SimDisk>, spec: ContentSpec) -> Result<(), Cut> {
        let content = spec.id();
        let JobDone::Opened { have, complete, .. } = self.run(store, Job::Open { content: spec })? else {
            panic!("opening is answered by opened");
        };
        if complete {
            return Ok(());
        }
        let mut wanted: Vec<PieceNo> = (0..spec.total()).map(PieceNo).filter(|piece| !have.contains(*piece)).collect();
        let pages: Vec<PieceNo> = wanted.extract_if(.., |piece| piece.0 < spec.pages()).collect();
        self.write(store, content, &pages)?;
        self.run(store, Job::Index { content })?;
        self.write(store, content, &wanted)?;
        self.run(store, Job::Complete { content }).map(drop)
    }

    fn write(&self, store: &Store<SimDisk>, content: ContentId, pieces: &[PieceNo]) -> Result<(), Cut> {
        for piece in pieces {
            let payload = self.source.read(content, *piece).expect("the publisher has it");
            let written = store.pieces().write(content, *piece, &content::Digested::new(payload));
            written.map_err(|why| self.cut_or(&format!("{piece:?}: {why:?}")))?;
        }
        Ok(())
    }

    /// Tells the story with the power going in the n-th call; whether it got through.
    fn tell_until(&mut self, call: u64) -> bool {
        let (disk, root) = self.platter.boot();
        self.platter.crash_after(call);
        let told = self.open(disk, root).and_then(|(mut store, _)| self.tell(&mut store));
        told.is_ok()
    }
}

/// How many calls of the disk the story takes when nothing is cut.
fn calls_of(seed: u64) -> u64 {
    let mut story = Story::new(seed);
    let (disk, root) = story.platter.boot();
    story.platter.take_cost();
    let (mut store, _) = story.open(disk, root).unwrap_or_else(|Cut| panic!("nothing is cut"));
    assert!(story.tell(&mut store).is_ok());
    story.platter.take_cost().calls
}

/// Tells the story with cuts, each a little later after the start than the one before, until it is told; then looks.
fn tell_with_cuts(seed: u64, first: u64, step: u64) {
    let mut story = Story::new(seed);
    assert!((0..).any(|again| story.tell_until(first + again * step)));
    story.platter.power_off();
    let (disk, root) = story.platter.boot();
    assert!(story.open(disk, root).is_ok(), "seed {seed}: it is all there at the end");
    assert!(story.durability.confirmed(0).is_some());
}

#[test]
fn every_operation_of_a_store_may_be_cut_at_every_call() {
    let calls = calls_of(1);
    assert!(calls > 100, "a story of only {calls} calls");
    (1..calls).for_each(|cut| tell_with_cuts(1, cut, calls / 2));
}
