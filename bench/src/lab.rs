//! A publisher and one store on the real disk, without a network: the jobs of a deploy in the order in which an engine gives
//! them, on one thread, each part timed by itself.

use anyhow::{Context, Result, bail, ensure};
use content::release::Instructions;
use content::{AppName, ContentSpec, Digest, Digested, FleetId, PayloadKind, PieceNo, Release, Signed, UnixTime};
use engine::door::{Job, JobDone, JobError};
use node::disk::RealDisk;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::disk::Name;
use store::import::{Found, Source};
use store::{Options, PieceSource, Store};

/// A store of its own below a directory, and the path that its releases go to.
pub(crate) struct Lab {
    store: Store<RealDisk>,
    path: PathBuf,
}

/// How long each part took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Read, cut and hash.
    pub(crate) import: Duration,
    /// Verify and write every piece, sync, name.
    pub(crate) keep: Duration,
    /// Lay out and sync.
    pub(crate) layout: Duration,
    /// Accept and switch.
    pub(crate) switch: Duration,
}

impl Lab {
    /// An empty store below `dir`, which is made.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let (home, path) = (dir.join("store"), dir.join("srv/app"));
        fs::create_dir_all(&home)?;
        fs::create_dir_all(dir.join("srv"))?;
        let disk = RealDisk::new();
        let (home, root) = (disk.open_path(&home)?, disk.open_path(Path::new("/"))?);
        let options = Options { reserve: 0, home: "the lab".to_owned(), ..Options::default() };
        let (store, _) = Store::open(Arc::new(disk), home, root, "bench", options)?;
        Ok(Self { store, path: path.canonicalize().unwrap_or(path) })
    }

    /// Publishes `source`, takes it in, lays it out and makes it live, as the release `version`.
    pub(crate) fn deploy(&mut self, source: &Path, version: usize) -> Result<Took> {
        let begun = Instant::now();
        let (found, pieces) = import(source)?;
        let import = begun.elapsed();
        for content in [found.content, found.attributes] {
            self.fetch(&pieces, content)?;
        }
        let keep = begun.elapsed() - import;
        let release = self.release(&found, version);
        let id = content::ReleaseId(release.payload_digest());
        self.job(&Job::Assemble { release })?;
        let layout = begun.elapsed() - import - keep;
        let app = app()?;
        self.job(&Job::Switch { app: app.clone(), release: id })?;
        let switch = begun.elapsed() - import - keep - layout;
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
        let payload = Digested::new(source.read(content, piece)?);
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
            instructions: Instructions {
                path: self.path.as_os_str().as_encoded_bytes().to_vec(),
                health_window_ms: 0,
                keep: 2,
            },
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
pub(crate) fn import(path: &Path) -> Result<(Found, Source<RealDisk>)> {
    let disk = RealDisk::new();
    let parent = disk.open_path(path.parent().context("the path has a parent")?)?;
    let name = Name::new(path.file_name().context("the path has a name")?.as_encoded_bytes())?;
    Ok(store::import::import(Arc::new(disk), parent, &name, &mut |_| ())?)
}
