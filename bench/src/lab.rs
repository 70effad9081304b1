//! A publisher and one store on the real disk, without a network: the jobs of a deploy in the order in which an engine gives
//! them, each part timed by itself.

use crate::process;
use anyhow::{Context, Result, bail, ensure};
use content::release::Instructions;
use content::{AppName, ContentSpec, Digest, FleetId, PayloadKind, PieceNo, Release, Signed, UnixTime};
use engine::door::{Job, JobDone, JobError};
use node::disk::RealDisk;
use node::hands::Threads;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::disk::Name;
use store::import::{Found, Source};
use store::{Options, Store};

/// A store of its own below a directory, and the path that its releases go to.
pub(crate) struct Lab {
    store: Store<RealDisk>,
    path: PathBuf,
    hands: Threads,
}

/// How long each part took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Read, cut and hash.
    pub(crate) import: Cost,
    /// Verify and write every piece, sync, name.
    pub(crate) keep: Cost,
    /// Lay out and sync.
    pub(crate) layout: Cost,
    /// Accept and switch.
    pub(crate) switch: Cost,
}

/// What a part cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// By the clock.
    pub(crate) wall: Duration,
    /// Of all processors together: other work on the machine changes it less.
    pub(crate) cpu: Duration,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// What something costs that this process does.
pub(crate) fn cost<T>(act: impl FnOnce() -> Result<T>) -> Result<(Cost, T)> {
    let cpu = || Duration::from_secs_f64(process::cpu_seconds(std::process::id()).unwrap_or(0.0));
    let (begun, before) = (Instant::now(), cpu());
    let done = act()?;
    Ok((Cost { wall: begun.elapsed(), cpu: cpu().saturating_sub(before) }, done))
}

impl Lab {
    /// An empty store below `dir`, which is made, and so many threads to work with.
    pub(crate) fn new(dir: &Path, hands: Threads) -> Result<Self> {
        let (home, path) = (dir.join("store"), dir.join("srv/app"));
        fs::create_dir_all(&home)?;
        fs::create_dir_all(dir.join("srv"))?;
        let disk = RealDisk::new();
        let (home, root) = (disk.open_path(&home)?, disk.open_path(Path::new("/"))?);
        let options = Options { reserve: 0, home: "the lab".to_owned(), hands: Arc::new(hands), ..Options::default() };
        let (store, _) = Store::open(Arc::new(disk), home, root, "bench", options)?;
        Ok(Self { store, path: path.canonicalize().unwrap_or(path), hands })
    }

    /// Publishes `source`, takes it in, lays it out and makes it live, as the release `version`.
    pub(crate) fn deploy(&mut self, source: &Path, version: usize) -> Result<Took> {
        let hands = self.hands;
        let (import, (found, pieces)) = cost(|| import(source, &hands))?;
        let (keep, ()) = cost(|| {
            [found.content, found.attributes].into_iter().try_for_each(|content| self.fetch(&pieces, content))
        })?;
        let release = self.release(&found, version);
        let id = content::ReleaseId(release.payload_digest());
        let (layout, _) = cost(|| self.job(&Job::Assemble { release }))?;
        let app = app()?;
        let (switch, _) = cost(|| self.job(&Job::Switch { app: app.clone(), release: id }))?;
        self.job(&Job::Confirm { app: app.clone(), release: id })?;
        self.check(&app)?;
        Ok(Took { import, keep, layout, switch })
    }

    /// Forgets every release and content that is not live.
    pub(crate) fn collect(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.job(&Job::Collect { contents: Vec::new(), releases: Vec::new() })?;
        Ok(begun.elapsed())
    }

    /// A figure for a tree that is not what was published would be worth nothing.
    fn check(&mut self, app: &AppName) -> Result<()> {
        match self.job(&Job::Verify { app: app.clone() })? {
            JobDone::Verified { differing: 0, .. } => Ok(()),
            other => bail!("what is live differs: {other:?}"),
        }
    }

    fn fetch(&mut self, source: &Source<RealDisk>, spec: ContentSpec) -> Result<()> {
        let content = spec.id();
        let JobDone::Opened { have, complete, .. } = self.job(&Job::Open { content: spec })? else {
            bail!("not opened")
        };
        if complete {
            return Ok(());
        }
        for page in (0..spec.pages()).map(PieceNo).filter(|page| !have.contains(*page)) {
            self.give(source, content, page)?;
        }
        let JobDone::Indexed { have } = self.job(&Job::Index { content })? else { bail!("not indexed") };
        for piece in (spec.pages()..spec.total()).map(PieceNo).filter(|piece| !have.contains(*piece)) {
            self.give(source, content, piece)?;
        }
        self.job(&Job::Complete { content }).map(drop)
    }

    fn give(&mut self, source: &Source<RealDisk>, content: content::ContentId, piece: PieceNo) -> Result<()> {
        let payload = source.read_digested(content, piece)?;
        let pieces = self.store.pieces();
        pieces.write(content, piece, &payload).map_err(words)?;
        if pieces.checkpoint_due() {
            ensure!(self.store.checkpoint().map_err(words)?.is_empty(), "pieces were lost");
        }
        Ok(())
    }

    fn release(&self, found: &Found, version: usize) -> Signed {
        let release = Release {
            fleet: FleetId(Digest::of(b"bench")),
            app: app().expect("a good name"),
            version: version.to_string(),
            created: UnixTime(1),
            content: found.content,
            attributes: Some(found.attributes),
            entries: found.entries,
            size: found.size,
            instructions: Instructions::plain(self.path.as_os_str().as_encoded_bytes(), 0, 2),
        };
        Signed { kind: PayloadKind::Release, payload: release.encode(), signatures: Vec::new() }
    }

    fn job(&mut self, job: &Job) -> Result<JobDone> {
        self.store.run(job).map_err(words)
    }
}

fn app() -> Result<AppName> {
    Ok(AppName::new("bench")?)
}

fn words(error: JobError) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

/// Reads, cuts and hashes `path`, as a publisher does.
pub(crate) fn import(path: &Path, hands: &Threads) -> Result<(Found, Source<RealDisk>)> {
    let disk = RealDisk::new();
    let parent = disk.open_path(path.parent().context("the path has a parent")?)?;
    let name = Name::new(path.file_name().context("the path has a name")?.as_encoded_bytes())?;
    Ok(store::import::import_by(hands, &Default::default(), Arc::new(disk), parent, &name, &mut |_| ())?)
}
