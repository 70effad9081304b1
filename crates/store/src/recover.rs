//! Opening a store: lock, format, state, contents, paths; and what to do when they do not agree.
//!
//! Names decide. What stands in `blobs/` is complete, whatever the state says; where a path's symlink points is live. A state
//! file that is missing or damaged is moved aside and made again from what the names and a fresh reading of all bytes say.

use crate::disk::{Disk, Meta, Name};
use crate::ground::{Ground, if_there, make_dir, ours, read_short, write_short};
use crate::holding::{Holding, Part};
use crate::record::{AppState, Change, ContentRecord, Records};
use crate::shelves::{Held, Shelves, file_name};
use crate::state::{Found, State};
use crate::target::{Standing, Target, Way};
use crate::{OpenError, Options, Store, adopt, journal, keep, tree, words};
use content::blob::Shape;
use content::{AppName, Bitmap, BlobRef, ContentId, ContentSpec, PieceNo, Release, ReleaseId, UnixTime};
use engine::door::Recovered;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// What the file `format` says in this version.
const FORMAT: &str = "tiding store 1\n";
/// The file that says that a state was lost, until someone has dealt with it.
const LOSS: &str = "state.lost";

fn failed(doing: &str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Disk { doing: doing.to_owned(), source }
}

impl<D: Disk> Store<D> {
    pub(crate) fn recover(
        disk: Arc<D>,
        home: D::Dir,
        targets: D::Dir,
        process: &str,
        options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        let lock = lock(&*disk, &home, process)?;
        check_format(&*disk, &home)?;
        let dirs = make_dirs(&*disk, &home).map_err(failed("making the store's directories"))?;
        let here = disk.dir_metadata(&home).map_err(failed("looking at the store's directory"))?;
        check_whole(&*disk, here, &dirs)?;
        let ground = Ground::new(disk.clone(), home, options.home.clone());
        let shelves = Arc::new(Shelves::new(disk, options, ground, dirs, lock));
        let mut notes = Vec::new();
        let (state, records) = open_state(&shelves, &mut notes).map_err(failed("opening the state file"))?;
        let lost = notes.first().cloned();
        let chains = journal::chains(&records);
        let written = journal::written(&records);
        let Records { root, roots, contents, apps, releases, positions, facts, shunned, stamps: _ } = records;
        let uid = here.uid;
        let mut store =
            Self { shelves, state, targets, uid, apps, releases, positions, chains, notes, lost, lender: None };
        store.settle_contents(contents).map_err(failed("looking at the contents"))?;
        store.settle_paths();
        let (apps, held) = (store.app_records(), store.held_contents());
        // What time it is knows whoever has a clock.
        let recovered =
            Recovered { root, roots, apps, held, facts, written, shunned, clock: UnixTime(0), offers: Vec::new() };
        Ok((store, recovered))
    }

    /// Brings records and files into agreement; files that no record names are what a removal left.
    fn settle_contents(&mut self, records: Vec<ContentRecord>) -> io::Result<()> {
        let known: BTreeSet<ContentId> = records.iter().map(|record| record.spec.id()).collect();
        for record in records {
            let holding = find_files(&self.shelves, record)?;
            self.shelves.add(holding);
        }
        for dir in [&self.shelves.staging, &self.shelves.blobs] {
            for name in self.shelves.disk.list(dir)? {
                if content_of(&name).is_none_or(|(content, _)| !known.contains(&content)) {
                    tree::remove(&*self.shelves.disk, dir, &name)?;
                }
            }
        }
        Ok(())
    }

    /// Brings what is remembered of applications into agreement with their paths. A path that cannot be looked at now is
    /// believed to be as remembered.
    fn settle_paths(&mut self) {
        let laid_out: Vec<(ReleaseId, Release)> =
            self.releases.iter().filter_map(|(id, signed)| Some((*id, keep::decode_release(signed).ok()?))).collect();
        let paths: BTreeSet<&[u8]> = laid_out.iter().map(|(_, release)| release.instructions.path.as_slice()).collect();
        let mut standing = BTreeMap::new();
        for path in paths {
            match self.look_at(path) {
                Ok(found) => {
                    standing.insert(path.to_vec(), found);
                }
                Err(why) => self.notes.push(why),
            }
        }
        self.forget_vanished(&laid_out, &standing);
        self.settle_live(&laid_out, &standing);
    }

    /// What stands at a path and beside it; removes what interrupted steps left there. Where releases were laid out and
    /// not even their directory is, nothing can be told: most likely a file system is not mounted yet.
    fn look_at(&self, path: &[u8]) -> Result<(Standing, BTreeSet<Name>), String> {
        let shown = words::name(path);
        let found = Target::find(&self.shelves.disk, &self.targets, path, Way::Find);
        let target = found.map_err(|error| format!("{shown} cannot be looked at: {error:?}"))?;
        let Some(target) = target else { return Err(vanished(&shown, "the directory of the path")) };
        let look = || {
            let standing = target.standing()?;
            let Some(side) = target.side()? else { return Ok(None) };
            let names = self.shelves.disk.list(&side)?;
            for name in names.iter().filter(|name| is_left_over(name)) {
                tree::remove(&*self.shelves.disk, &side, name)?;
            }
            Ok(Some((standing, names.into_iter().collect())))
        };
        let found = look().map_err(|error: io::Error| format!("{shown} cannot be looked at: {error}"))?;
        found.ok_or_else(|| vanished(&shown, &target.side_path()))
    }

    fn forget_vanished(&mut self, laid_out: &[(ReleaseId, Release)], standing: &Paths) {
        for (id, release) in laid_out {
            let path = &release.instructions.path;
            let gone = standing.get(path).is_some_and(|(_, names)| !names.contains(&ours(&id.to_string())));
            if gone {
                let shown = words::name(path);
                self.notes.push(format!(
                    "release {} of {} is not laid out at {shown} any more",
                    id.0.short(),
                    release.app
                ));
                if self.commit(&[Change::no_release(*id)]).is_ok() {
                    self.releases.remove(id);
                }
            }
        }
    }

    fn settle_live(&mut self, laid_out: &[(ReleaseId, Release)], standing: &Paths) {
        let path_of = |id: ReleaseId| Some(&laid_out.iter().find(|(other, _)| *other == id)?.1.instructions.path);
        let apps: Vec<(AppName, AppState)> =
            self.apps.iter().map(|(app, state)| (app.clone(), state.clone())).collect();
        for (app, state) in apps {
            let Some(path) = state.intent.or(state.live).and_then(path_of) else { continue };
            let Some((found, names)) = standing.get(path) else { continue };
            let live = if let Standing::Ours(release) = found { Some(*release) } else { None };
            if live != state.live {
                let was_put_back = |by: ReleaseId| names.iter().any(|name| adopt::is_adopted(name, by));
                if *found == Standing::Directory && state.live.is_some_and(was_put_back) {
                    let put_back =
                        |state: &mut AppState| (state.confirmed, state.intent, state.begun) = (None, None, 0);
                    self.update(&app, put_back).unwrap_or_default();
                } else if live != state.intent {
                    let shown = words::name(path);
                    self.notes
                        .push(format!("{shown} does not point to the release of {app} that was live; it was changed"));
                }
                self.update(&app, |state| state.live = live).unwrap_or_default();
            }
        }
    }

    pub(crate) fn app_records(&self) -> Vec<engine::door::AppRecord> {
        let mut apps: BTreeMap<AppName, (AppState, Vec<content::Signed>)> = BTreeMap::new();
        for (app, state) in &self.apps {
            apps.insert(app.clone(), (state.clone(), Vec::new()));
        }
        for signed in self.releases.values() {
            if let Ok(release) = keep::decode_release(signed) {
                apps.entry(release.app).or_insert((AppState::NONE, Vec::new())).1.push(signed.clone());
            }
        }
        apps.into_iter().map(|(app, (state, laid_out))| state.record(app, laid_out)).collect()
    }

    fn held_contents(&self) -> Vec<engine::door::Held> {
        let held = |holding: Arc<Held<D>>| {
            let inner = holding.lock();
            engine::door::Held { content: holding.spec, have: inner.have.clone(), complete: inner.complete }
        };
        self.shelves.all().into_iter().map(held).collect()
    }
}

fn vanished(path: &str, what: &str) -> String {
    format!("{path} cannot be looked at: {what} is not there (is a file system not mounted?); the record is believed")
}

/// What stands at each path, and the names beside it.
type Paths = BTreeMap<Vec<u8>, (Standing, BTreeSet<Name>)>;

fn is_left_over(name: &Name) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"staging-") || name.starts_with(b"removing-") || name == b"next" || name == b"owner.new"
}

/// Takes the lock and says who has it.
fn lock<D: Disk>(disk: &D, home: &D::Dir, process: &str) -> Result<D::File, OpenError> {
    let name = ours("lock");
    let open = || match if_there(disk.open_write(home, &name))? {
        Some(file) => Ok(file),
        None => disk.create(home, &name, 0o644).or_else(|_| disk.open_write(home, &name)),
    };
    let file = open().map_err(failed("opening the lock"))?;
    match disk.lock(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let holder = read_short(disk, home, &name).unwrap_or_default();
            return Err(OpenError::Locked { pid: words::name(holder.trim_ascii()) });
        }
        Err(error) => return Err(failed("locking the store")(error)),
    }
    let say = || disk.set_len(&file, 0).and_then(|()| disk.write_at(&file, process.as_bytes(), 0));
    say().map_err(failed("writing the lock"))?;
    Ok(file)
}

fn check_format<D: Disk>(disk: &D, home: &D::Dir) -> Result<(), OpenError> {
    let name = ours("format");
    match if_there(read_short(disk, home, &name)).map_err(failed("reading the store's format"))? {
        Some(found) if found == FORMAT.as_bytes() => Ok(()),
        Some(found) => Err(OpenError::Format { found: words::name(found.trim_ascii()), readable: FORMAT.trim_ascii() }),
        None => write_short(disk, home, &name, FORMAT.as_bytes()).map_err(failed("writing the store's format")),
    }
}

/// Refuses a store of which a part is on another file system: nothing can be renamed from one to the other, and no content would
/// ever be complete.
fn check_whole<D: Disk>(disk: &D, home: Meta, (staging, blobs): &(D::Dir, D::Dir)) -> Result<(), OpenError> {
    for (dir, name) in [(staging, "staging"), (blobs, "blobs")] {
        let meta = disk.dir_metadata(dir).map_err(failed("looking at the store's directories"))?;
        if meta.inode.0 != home.inode.0 {
            return Err(OpenError::Apart { name });
        }
    }
    Ok(())
}

fn make_dirs<D: Disk>(disk: &D, home: &D::Dir) -> io::Result<(D::Dir, D::Dir)> {
    let staging = make_dir(disk, home, &ours("staging"), 0o700)?;
    let blobs = make_dir(disk, home, &ours("blobs"), 0o700)?;
    disk.sync_dir(home)?;
    Ok((staging, blobs))
}

/// The content and the part that a file in staging or blobs is named after.
fn content_of(name: &Name) -> Option<(ContentId, Part)> {
    let (id, extension) = std::str::from_utf8(name.as_bytes()).ok()?.split_once('.')?;
    let part = Part::ALL.into_iter().find(|part| part.extension() == extension)?;
    Some((id.parse().ok()?, part))
}

fn open_state<D: Disk>(shelves: &Shelves<D>, notes: &mut Vec<String>) -> io::Result<(State<D>, Records)> {
    let (disk, home) = (&shelves.disk, shelves.home.dir());
    match State::open(disk, home)? {
        Found::Whole(mut state, mut records) => {
            let ghosts = records.forget_ghosts();
            if !ghosts.is_empty() {
                state.commit(&ghosts)?;
            }
            notes.extend(told_loss(shelves)?);
            return Ok((state, *records));
        }
        Found::Nothing => {}
        Found::Damaged(why) => {
            let aside = State::<D>::name_aside(disk, home)?;
            // The word first: whatever is cut here, the next start still knows that something was lost.
            tell_loss(shelves, &format!("THE STATE FILE WAS DAMAGED ({why}) and is kept as {aside}: {TOLD}"))?;
            State::<D>::move_aside(disk, home, &aside)?;
        }
    }
    let contents = find_contents(shelves)?;
    if !contents.is_empty() && told_loss(shelves)?.is_none() {
        tell_loss(shelves, &format!("THE STATE FILE WAS MISSING: {TOLD}"))?;
    }
    notes.extend(told_loss(shelves)?);
    let changes: Vec<Change> = contents.iter().map(Change::content).collect();
    Ok((State::create(disk, home, &changes)?, Records { contents, ..Records::default() }))
}

/// What follows from a lost state.
const TOLD: &str = "contents are found again by reading them all; orders, journals and what was live must be told again by \
                    the origin (and the origin's own journals by an operator)";

/// Remembers, in a file of its own that outlives this process, that a state was lost.
fn tell_loss<D: Disk>(shelves: &Shelves<D>, words: &str) -> io::Result<()> {
    write_short(&*shelves.disk, shelves.home.dir(), &ours(LOSS), words.as_bytes())
}

/// What is remembered of a lost state, for people.
fn told_loss<D: Disk>(shelves: &Shelves<D>) -> io::Result<Option<String>> {
    let told = if_there(read_short(&*shelves.disk, shelves.home.dir(), &ours(LOSS)))?;
    Ok(told.map(|told| words::name(&told)))
}

/// Nobody needs to be told of a lost state any more.
pub(crate) fn forget_loss<D: Disk>(shelves: &Shelves<D>) -> io::Result<()> {
    if_there(shelves.disk.remove_file(shelves.home.dir(), &ours(LOSS)))?;
    shelves.disk.sync_dir(shelves.home.dir())
}

/// The contents that the files themselves prove, every byte read. What stands in `blobs/` and is damaged leaves it.
fn find_contents<D: Disk>(shelves: &Shelves<D>) -> io::Result<Vec<ContentRecord>> {
    let mut seen = Vec::new();
    for dir in [&shelves.blobs, &shelves.staging] {
        for name in shelves.disk.list(dir)? {
            if let Some((content, Part::Pages)) = content_of(&name) {
                let len = shelves.disk.metadata(dir, &name)?.len;
                seen.extend(blob_len(len).map(|len| BlobRef { root: content.0, len }));
            }
        }
    }
    let mut found = Vec::new();
    for record in seen.into_iter().filter_map(|blob| read_again(shelves, blob)) {
        if record.have.is_some() {
            for part in Part::ALL {
                let name = file_name(record.spec.id(), part);
                if_there(shelves.disk.rename(&shelves.blobs, &name, &shelves.staging, &name))?;
            }
        }
        found.push(record);
    }
    Ok(found)
}

/// What of a content can be proven without its declaration: nothing, unless its whole manifest is here.
fn read_again<D: Disk>(shelves: &Shelves<D>, blob: BlobRef) -> Option<ContentRecord> {
    let plain = ContentSpec { blob, pieces: 0, bytes: 0 };
    let pages = believed(plain);
    (0..plain.total()).for_each(|page| drop(shelves.read_page(&pages, page)));
    let has_pieces = shelves.file(&pages, Part::Pieces).is_ok();
    let whole = pages.lock().have.is_full();
    let record = match (has_pieces, whole) {
        (false, _) => Some(proven(shelves, &pages)),
        (true, false) => None,
        (true, true) => read_pieces(shelves, &pages),
    };
    shelves.forget(ContentId(blob.root));
    record
}

fn read_pieces<D: Disk>(shelves: &Shelves<D>, pages: &Held<D>) -> Option<ContentRecord> {
    let manifest = shelves.outline(pages).ok()?;
    let all = believed(manifest.spec(pages.spec.blob));
    (0..all.spec.pieces).for_each(|index| drop(shelves.read_piece(&all, index)));
    Some(proven(shelves, &all))
}

/// The record of a content that was read: complete when all of it stands under its name in `blobs/` and is whole.
fn proven<D: Disk>(shelves: &Shelves<D>, holding: &Held<D>) -> ContentRecord {
    let named = |part| shelves.disk.metadata(&shelves.blobs, &file_name(holding.id(), part)).is_ok();
    let have = holding.lock().have.clone();
    let complete = have.is_full() && keep::parts(holding).into_iter().all(named);
    keep::record(holding, (!complete).then_some(have))
}

/// A content of which every piece is believed to be here until it is read.
fn believed<F>(spec: ContentSpec) -> Holding<F> {
    Holding::new(spec, Bitmap::full(spec.total()), true, false)
}

/// The length of the blob whose pages take `len` bytes in all; `None` when no blob's do.
fn blob_len(len: u64) -> Option<u64> {
    let taken = |blob: u64| Shape::of(blob).offset(u32::MAX);
    let (mut low, mut high) = (0, len.min(BlobRef::MAX_LEN));
    while low < high {
        let middle = low + (high - low) / 2;
        if taken(middle) < len { low = middle + 1 } else { high = middle }
    }
    (taken(low) == len).then_some(low)
}

/// Where the files of a recorded content are decides what of it is here.
fn find_files<D: Disk>(shelves: &Shelves<D>, record: ContentRecord) -> io::Result<Held<D>> {
    let ContentRecord { spec, mut indexed, have } = record;
    let parts: &[Part] = if spec.pieces > 0 { &Part::ALL } else { &[Part::Pages] };
    let there = |dir: &D::Dir, part| Ok(if_there(shelves.disk.metadata(dir, &file_name(spec.id(), part)))?.is_some());
    let named: Vec<bool> = parts.iter().map(|&part| there(&shelves.blobs, part)).collect::<io::Result<_>>()?;
    if named.iter().all(|named| *named) {
        // What was forgotten and begun anew may stand in staging too, when the removal of the first was forgotten.
        for &part in parts {
            if_there(shelves.disk.remove_file(&shelves.staging, &file_name(spec.id(), part)))?;
        }
        return Ok(Holding::new(spec, Bitmap::full(spec.total()), true, true));
    }
    let mut have = have.unwrap_or_else(|| Bitmap::full(spec.total()));
    let empty = Holding::new(spec, Bitmap::empty(spec.total()), false, false);
    for &part in parts {
        let name = file_name(spec.id(), part);
        if_there(shelves.disk.rename(&shelves.blobs, &name, &shelves.staging, &name))?;
        if !there(&shelves.staging, part)? {
            empty.numbers(part).for_each(|number| {
                have.remove(PieceNo(number));
            });
            match part {
                Part::Pieces => indexed = false,
                Part::Pages => shelves.make_file(&empty, part, empty.pages_len())?,
            }
        }
    }
    Ok(Holding::new(spec, have, indexed, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_length_of_a_blob_is_found_from_the_length_of_its_pages(len in 0..=BlobRef::MAX_LEN) {
            prop_assert_eq!(blob_len(Shape::of(len).offset(u32::MAX)), Some(len));
        }

        #[test]
        fn whatever_the_length_of_a_file_looking_for_a_blob_ends(len: u64) {
            let found = blob_len(len);
            prop_assert!(found.is_none_or(|blob| Shape::of(blob).offset(u32::MAX) == len));
        }
    }

    #[test]
    fn only_names_that_the_store_makes_are_contents() {
        let id = "ab".repeat(32);
        let content = |text: &str| content_of(&ours(text)).map(|(content, part)| (content.to_string(), part));
        assert_eq!(content(&format!("{id}.pages")), Some((id.clone(), Part::Pages)));
        assert_eq!(content(&format!("{id}.pieces")), Some((id.clone(), Part::Pieces)));
        for other in [format!("{id}.page"), id.clone(), format!("x{id}.pages"), "lost+found".to_owned()] {
            assert_eq!(content(&other), None, "{other}");
        }
    }
}
