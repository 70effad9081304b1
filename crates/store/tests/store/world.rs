//! A publisher and a node without an engine: the jobs of a deploy in the order in which an engine gives them.

use crate::memory::{Dir, Memory, name};
use content::fact::Noted;
use content::kept::KeptPath;
use content::release::Instructions;
use content::{
    AppName, ContentSpec, Digest, Digested, FleetId, Order, OrderId, PayloadKind, PieceNo, Release, ReleaseId, Signed,
    UnixTime, order,
};
use engine::door::{Job, JobDone, JobError, Recovered};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::disk::{Disk, FileKind};
use store::hands::OneHand;
use store::import::{Found, Source, Terms, import_by};
use store::{OpenError, Options, PieceSource, Pieces, Store};

/// A tree somewhere: by path, what stands there.
pub(crate) type Listing = BTreeMap<String, String>;

/// What is noted beside facts where nobody cares.
pub(crate) const NOTED: Noted = Noted { written: UnixTime(1000), by: None };

pub(crate) fn app() -> AppName {
    AppName::new("shop").expect("a good name")
}

fn fleet() -> FleetId {
    FleetId(Digest::of(b"fleet"))
}

/// A release, and where its pieces come from.
pub(crate) struct Published {
    pub(crate) found: Found,
    pub(crate) source: Source<Memory>,
    pub(crate) signed: Signed,
    pub(crate) listing: Listing,
}

impl Published {
    pub(crate) fn id(&self) -> ReleaseId {
        ReleaseId(self.signed.payload_digest())
    }

    pub(crate) fn release(&self) -> Release {
        Release::decode(&self.signed.payload).expect("it was just made")
    }

    pub(crate) fn contents(&self) -> [ContentSpec; 2] {
        [self.found.content, self.found.attributes]
    }
}

/// Publishes what `fill` puts into a directory, as a release for `path`.
pub(crate) fn publish_to(path: &str, version: &str, fill: impl FnOnce(&Memory, &Dir)) -> Published {
    let disk = Memory::new();
    let parent = disk.root();
    let tree = disk.dir("tree");
    fill(&disk, &tree);
    publish_from(&disk, &parent, path, version)
}

pub(crate) fn publish(version: &str, fill: impl FnOnce(&Memory, &Dir)) -> Published {
    publish_to("/srv/app", version, fill)
}

pub(crate) fn publish_from(disk: &Memory, parent: &Dir, path: &str, version: &str) -> Published {
    publish_keeping(disk, parent, (path, version), &[])
}

/// The same with paths that outlive it.
pub(crate) fn publish_keeping(
    disk: &Memory,
    parent: &Dir,
    (path, version): (&str, &str),
    kept: &[KeptPath],
) -> Published {
    let instructions = Instructions { kept: kept.to_vec(), ..Instructions::plain(path.as_bytes(), 0, 2) };
    publish_as(disk, parent, version, instructions)
}

/// The same with all that it says of itself.
pub(crate) fn publish_as(disk: &Memory, parent: &Dir, version: &str, instructions: Instructions) -> Published {
    let kept = &instructions.kept;
    let listing = list(disk, parent, "tree");
    let terms = Terms { kept, ..Terms::default() };
    let (found, source) =
        import_by(&OneHand, &terms, Arc::new(disk.clone()), parent.clone(), &name("tree"), &mut |_| {})
            .expect("a good tree");
    let release = Release {
        fleet: fleet(),
        app: app(),
        version: version.to_owned(),
        created: UnixTime(1),
        content: found.content,
        attributes: Some(found.attributes),
        entries: found.entries,
        size: found.size,
        instructions,
    };
    release.check().expect("a good release");
    let signed = Signed { kind: PayloadKind::Release, payload: release.encode(), signatures: Vec::new() };
    Published { found, source, signed, listing }
}

pub(crate) fn order_for(release: ReleaseId, epoch: u64) -> (OrderId, Signed) {
    let order = Order {
        fleet: fleet(),
        app: app(),
        epoch,
        release,
        fallback: None,
        selector: content::Selector::default(),
        unreachable: content::order::Unreachable::Skip,
        waves: vec![order::Wave::PerMille(1000)],
        budget: 0,
        restraint: content::order::Restraint::default(),
        created: UnixTime(1),
        message: String::new(),
    };
    let signed = Signed { kind: PayloadKind::Order, payload: order.encode(), signatures: Vec::new() };
    (OrderId(signed.payload_digest()), signed)
}

/// Pseudo-random bytes, always the same for a seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    let mut nth = 0u64;
    while bytes.len() < len {
        bytes.extend_from_slice(Digest::of(&[seed.to_le_bytes(), nth.to_le_bytes()].concat()).as_bytes());
        nth += 1;
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn options() -> Options {
    Options { reserve: 0, checkpoint: 200_000, home: "/var/lib/tiding".to_owned(), ..Options::default() }
}

pub(crate) fn open(disk: &Memory) -> Result<(Store<Memory>, Recovered), OpenError> {
    let (home, root) = (disk.dir("home"), disk.dir("root"));
    Store::open(Arc::new(disk.clone()), home, root, "pid 1", options())
}

pub(crate) fn opened(disk: &Memory) -> Store<Memory> {
    open(disk).expect("the store opens").0
}

/// A node's disk with an empty store's directory and the directory of the release's path.
pub(crate) fn new_disk() -> Memory {
    let disk = Memory::new();
    disk.dir("home");
    disk.dir("root/srv");
    disk
}

/// Fetches what is not here, as an engine would; how many pieces that were.
pub(crate) fn fetch(store: &mut Store<Memory>, source: &dyn PieceSource, spec: ContentSpec) -> Result<u32, JobError> {
    let content = spec.id();
    let JobDone::Opened { have, complete, .. } = store.run(&Job::Open { content: spec })? else { panic!("not opened") };
    if complete {
        return Ok(0);
    }
    let pieces = store.pieces();
    let mut fetched = 0;
    for page in (0..spec.pages()).map(PieceNo).filter(|page| !have.contains(*page)) {
        fetched += give(store, &pieces, source, spec, page)?;
    }
    let JobDone::Indexed { have } = store.run(&Job::Index { content })? else { panic!("not indexed") };
    for piece in (spec.pages()..spec.total()).map(PieceNo).filter(|piece| !have.contains(*piece)) {
        fetched += give(store, &pieces, source, spec, piece)?;
    }
    store.run(&Job::Complete { content })?;
    Ok(fetched)
}

fn give(
    store: &mut Store<Memory>,
    pieces: &Pieces<Memory>,
    source: &dyn PieceSource,
    spec: ContentSpec,
    piece: PieceNo,
) -> Result<u32, JobError> {
    let payload = source.read(spec.id(), piece).expect("the publisher has it");
    pieces.write(spec.id(), piece, &Digested::new(payload))?;
    if pieces.checkpoint_due() {
        store.checkpoint()?;
    }
    Ok(1)
}

pub(crate) fn fetch_all(store: &mut Store<Memory>, published: &Published) -> Result<u32, JobError> {
    published.contents().into_iter().try_fold(0, |sum, spec| Ok(sum + fetch(store, &published.source, spec)?))
}

/// Everything from the first byte to the confirmation.
pub(crate) fn deploy(store: &mut Store<Memory>, published: &Published, epoch: u64) -> Result<(), JobError> {
    fetch_all(store, published)?;
    store.run(&Job::Assemble { release: published.signed.clone() })?;
    store.run(&Job::Accept { order: order_for(published.id(), epoch).1 })?;
    store.run(&Job::Switch { app: app(), release: published.id() })?;
    store.run(&Job::Confirm { app: app(), release: published.id() })?;
    Ok(())
}

/// What stands at `root/srv/app`, through its symlink; `None` when nothing does.
pub(crate) fn live(disk: &Memory) -> Option<Listing> {
    let srv = disk.dir("root/srv");
    let target = disk.read_link(&srv, &name("app")).ok()?;
    let target = String::from_utf8(target).expect("ours");
    let (side, release) = target.split_once('/').expect("ours");
    let side = disk.open_dir(&srv, &name(side)).expect("the side directory is there");
    Some(list(disk, &side, release))
}

/// Everything at a name, with what publishing carries.
pub(crate) fn list(disk: &Memory, at: &Dir, root: &str) -> Listing {
    let mut listing = Listing::new();
    let mut inodes = BTreeMap::new();
    add(disk, at, name(root).as_bytes(), ".", &mut listing, &mut inodes);
    listing
}

fn add(
    disk: &Memory,
    at: &Dir,
    entry: &[u8],
    path: &str,
    listing: &mut Listing,
    inodes: &mut BTreeMap<(u64, u64), String>,
) {
    let entry = name(entry);
    let meta = disk.metadata(at, &entry).expect("it was listed");
    let what = match meta.kind {
        FileKind::Directory => "directory".to_owned(),
        FileKind::Symlink => format!("-> {:?}", disk.read_link(at, &entry).expect("it was listed")),
        FileKind::File => match inodes.get(&meta.inode) {
            Some(first) => format!("= {first}"),
            None => {
                inodes.insert(meta.inode, path.to_owned());
                format!("{} bytes {}", meta.len, Digest::of(&disk.read_file(at, &entry)))
            }
        },
        FileKind::Other(what) => what.to_owned(),
    };
    let mode = if meta.kind == FileKind::Symlink { 0 } else { meta.mode };
    listing.insert(path.to_owned(), format!("{what} {mode:o} {}.{}", meta.mtime, meta.mtime_nanos));
    if meta.kind == FileKind::Directory {
        let dir = disk.open_dir(at, &entry).expect("it was listed");
        for child in disk.list(&dir).expect("it is open") {
            let below = format!("{path}/{}", child.as_bytes().escape_ascii());
            add(disk, &dir, child.as_bytes(), &below, listing, inodes);
        }
    }
}

/// Every name in `blobs/` must hash right, whatever the state says.
pub(crate) fn check_blobs(disk: &Memory) {
    let blobs = disk.dir("home/blobs");
    for file in disk.list(&blobs).expect("a test's disk") {
        let text = String::from_utf8(file.as_bytes().to_vec()).expect("ours");
        let Some(id) = text.strip_suffix(".pages") else { continue };
        let pages = disk.read_file(&blobs, &file);
        let bytes = check_pages(&pages, id);
        if let Ok(manifest) = content::Manifest::decode(&bytes)
            && !manifest.pieces.is_empty()
            && let Ok(handle) = disk.open(&blobs, &name(format!("{id}.pieces")))
        {
            let len = disk.file_metadata(&handle).expect("a test's disk").len;
            let mut all = vec![0; len as usize];
            disk.read_at(&handle, &mut all, 0).expect("a test's disk");
            check_pieces(&manifest, &all, id);
        }
    }
}

/// The pages follow one another by number and hash to the name; returns the blob.
fn check_pages(pages: &[u8], id: &str) -> Vec<u8> {
    let fits = |len: &u64| content::blob::Shape::of(*len).offset(u32::MAX) == pages.len() as u64;
    let len = (pages.len() as u64 / 2..=pages.len() as u64).find(fits).expect("a length of a blob");
    let leaves = content::blob::Shape::of(len).leaves();
    let bytes = pages[content::blob::Shape::of(len).offset(leaves.start) as usize..].to_vec();
    let (blob, built) = content::blob::build(&bytes);
    assert_eq!(blob.root.to_string(), id, "a name in blobs/ lies");
    assert_eq!(built.concat(), pages, "pages of {id}");
    bytes
}

fn check_pieces(manifest: &content::Manifest, all: &[u8], id: &str) {
    let mut at = 0;
    for piece in &manifest.pieces {
        let read = |at: usize| all.get(at..at + piece.len as usize).map(Digest::of);
        if read(at) != Some(piece.digest) {
            at = at.next_multiple_of(4096);
        }
        assert_eq!(read(at), Some(piece.digest), "a piece of {id} lies");
        at += piece.len as usize;
    }
}

/// A tree with one of everything.
pub(crate) fn rich(disk: &Memory, tree: &Dir, seed: u64) {
    let sub = |at: &Dir, text: &str, mode| {
        disk.create_dir(at, &name(text), mode).expect("a test's disk");
        disk.open_dir(at, &name(text)).expect("a test's disk")
    };
    let bin = sub(tree, "bin", 0o755);
    disk.write_file(&bin, &name("server"), 0o755, &noise(seed, 180_000));
    disk.link(&bin, &name("server"), &bin, &name("server-again")).expect("a test's disk");
    disk.write_file(&bin, &name("tool"), 0o555, &noise(99, 90_000));
    let etc = sub(tree, "etc", 0o750);
    for nth in 0..12 {
        disk.write_file(&etc, &name(format!("conf-{nth}")), 0o640, &noise(1000 + nth, 300 + 700 * nth as usize));
    }
    disk.write_file(&etc, &name(b"latin-\xe9\xff"), 0o600, b"name that is not UTF-8");
    disk.symlink(&etc, &name("outside"), b"/etc/passwd").expect("a test's disk");
    disk.symlink(tree, &name("current"), b"bin/server").expect("a test's disk");
    sub(tree, "empty", 0o700);
    disk.write_file(tree, &name("nothing"), 0o644, b"");
    disk.write_file(tree, &name("zeros"), 0o644, &[0; 5000]);
    let sparse = disk.create(tree, &name("sparse"), 0o644).expect("a test's disk");
    disk.write_at(&sparse, &noise(seed + 1, 50_000), 400_000).expect("a test's disk");
    disk.set_len(&sparse, 700_001).expect("a test's disk");
    let closed = sub(tree, "closed", 0o755);
    disk.write_file(&closed, &name("inside"), 0o444, b"read only");
    disk.set_mode(tree, &name("closed"), 0o555).expect("a test's disk");
    disk.set_mtime(&closed, &name("inside"), 12_345, 678).expect("a test's disk");
    disk.set_mtime(tree, &name("closed"), -5, 9).expect("a test's disk");
}
