//! The state file: redb on the disk, opened, made, moved aside when it is damaged, and written one commit at a time.
//!
//! It never decides what is true of contents: their names do (`blobs/`), so all of this can be lost and made again.
//!
//! Invariant: `state.redb` is a whole state from its first moment (it is made under another name), a commit is all or
//! nothing, and after a failed sync the file is copied to a new one before anything in it is believed again. A commit that
//! was reported failed is taken back before the next begins: its header may have reached the page cache all the same.

use crate::backend::{Backend, Fault};
use crate::disk::{Disk, Name};
use crate::ground::{if_there, ours};
use crate::record::{Change, ROOT, Records, STAMP, entry, placed};
use content::fact::{Entry, JournalName, Position};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

type ReadOnlyTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("tiding");
/// What is noted beside facts: software of before does not open it, and goes on with what it knows.
const STAMPS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("tiding stamps");
/// The trust roots after the first, in a table that older software does not open either.
const ROOTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("tiding roots");
/// Memory for redb's cache, in bytes: its default is larger than an agent should be.
const CACHE: usize = 1 << 20;
/// A commit that has begun is rewritten from a copy in parts of this length, in bytes.
const COPY: usize = 64 * 1024;

/// The state file, open.
pub(crate) struct State<D: Disk> {
    disk: Arc<D>,
    home: D::Dir,
    /// `None` after an error, until the file was opened again.
    database: Option<Database>,
    fault: Arc<Mutex<Fault>>,
    /// What takes back a commit that failed, and may stand in the file all the same.
    undo: Vec<Change>,
}

/// What stands where the state file should.
pub(crate) enum Found<D: Disk> {
    /// A state, and what it holds.
    Whole(State<D>, Box<Records>),
    /// Nothing.
    Nothing,
    /// Something that is no state; why.
    Damaged(String),
}

fn file() -> Name {
    ours("state.redb")
}

fn draft() -> Name {
    ours("state.redb.new")
}

impl<D: Disk> State<D> {
    /// Looks for the state file and reads all of it. An error of the disk, also of opening the file (too many are open,
    /// say), says nothing of what is in it, so it is an error; only what redb or its records deny is damage.
    pub(crate) fn open(disk: &Arc<D>, home: &D::Dir) -> io::Result<Found<D>> {
        if if_there(disk.metadata(home, &file()))?.is_none() {
            return Ok(Found::Nothing);
        }
        let (disk, home, fault) = (disk.clone(), home.clone(), Arc::default());
        let mut state = Self { disk, home, database: None, fault, undo: Vec::new() };
        let opened = state.disk.open_write(&state.home, &file())?;
        // redb asserts what a damaged file can break.
        let read = catch_unwind(AssertUnwindSafe(|| state.read_all(opened)));
        match read {
            Ok(Ok(records)) => Ok(Found::Whole(state, Box::new(records))),
            Ok(Err(error)) => match state.disk_error() {
                Some(disk) => Err(disk),
                None => Ok(Found::Damaged(error.to_string())),
            },
            Err(_) => state.disk_error().map_or(Ok(Found::Damaged("it makes no sense to its reader".to_owned())), Err),
        }
    }

    /// Makes a state that holds `changes`, under another name first.
    pub(crate) fn create(disk: &Arc<D>, home: &D::Dir, changes: &[Change]) -> io::Result<Self> {
        if_there(disk.remove_file(home, &draft()))?;
        let new = disk.create(home, &draft(), 0o600)?;
        let fault: Arc<Mutex<Fault>> = Arc::default();
        let mut whole = changes.to_vec();
        whole.push(Change::ready());
        let database = open_database(Backend { disk: disk.clone(), file: new, fault: fault.clone() }, &fault)?;
        write(&database, &whole).map_err(|(error, _)| plain(&error, &fault))?;
        // Dropping redb writes the last of it; what it says of that is lost, so the sync that counts comes after.
        drop(database);
        if let Some((kind, words)) = taken(&fault).error {
            return Err(io::Error::new(kind, words));
        }
        disk.sync(&disk.open_write(home, &draft())?)?;
        disk.rename(home, &draft(), home, &file())?;
        disk.sync_dir(home)?;
        let mut state =
            Self { disk: disk.clone(), home: home.clone(), database: None, fault: Arc::default(), undo: Vec::new() };
        state.reopen()?;
        Ok(state)
    }

    /// A free name for a state file that is damaged.
    pub(crate) fn name_aside(disk: &D, home: &D::Dir) -> io::Result<String> {
        let mut free = 1;
        while if_there(disk.metadata(home, &ours(&format!("state.redb.damaged-{free}"))))?.is_some() {
            free += 1;
        }
        Ok(format!("state.redb.damaged-{free}"))
    }

    /// Moves what stands where the state file should out of the way.
    pub(crate) fn move_aside(disk: &D, home: &D::Dir, aside: &str) -> io::Result<()> {
        disk.rename(home, &file(), home, &ours(aside))?;
        disk.sync_dir(home)
    }

    /// Makes changes durable, all or nothing: after an error, what stood before stands, as soon as the disk lets it.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> io::Result<()> {
        let database = self.believed()?;
        let Err((error, undo)) = write(database, changes) else { return Ok(()) };
        let error = plain(&error, &self.fault);
        // redb trusts nothing after an error, and neither do we: the file is opened again.
        (self.database, self.undo) = (None, undo);
        // Now, so that a restart does not find what was reported failed; if the disk will not have it, before the next
        // commit.
        self.believed().map(drop).unwrap_or_default();
        Err(error)
    }

    /// Facts of a journal in their order, at most so many from a position on.
    pub(crate) fn entries(&mut self, journal: &JournalName, from: Position, most: u32) -> io::Result<Vec<Entry>> {
        let fault = self.fault.clone();
        let database = self.believed()?;
        read_entries(database, journal, from, most).map_err(|error| match error {
            Unreadable::Database(error) => plain(&error, &fault),
            other => io::Error::other(other.to_string()),
        })
    }

    /// The database, once it holds what was reported to stand, and nothing else.
    fn believed(&mut self) -> io::Result<&Database> {
        if self.database.is_none() {
            self.reopen()?;
        }
        if !self.undo.is_empty() {
            let database = self.database.as_ref().expect("it was just opened");
            if let Err((error, _)) = write(database, &self.undo) {
                self.database = None;
                return Err(plain(&error, &self.fault));
            }
            self.undo.clear();
        }
        Ok(self.database.as_ref().expect("it was just opened"))
    }

    fn read_all(&mut self, opened: D::File) -> Result<Records, Unreadable> {
        let mut database = self.open_file(opened)?;
        database.check_integrity().map_err(redb::Error::from)?;
        let mut records = Records::default();
        let mut ready = false;
        let table = database.begin_read().map_err(redb::Error::from)?.open_table(TABLE).map_err(redb::Error::from)?;
        for entry in table.iter().map_err(redb::Error::from)? {
            let (key, value) = entry.map_err(redb::Error::from)?;
            ready |= key.value() == b"V";
            records.add(key.value(), value.value())?;
        }
        drop(table);
        for table in [STAMPS, ROOTS] {
            let Some(beside) = open_beside(&database, table)? else { continue };
            for record in beside.iter().map_err(redb::Error::from)? {
                let (key, value) = record.map_err(redb::Error::from)?;
                records.add(key.value(), value.value())?;
            }
        }
        self.database = Some(database);
        if ready { Ok(records) } else { Err(Unreadable::Unfinished) }
    }

    fn open_file(&self, file: D::File) -> io::Result<Database> {
        open_database(Backend { disk: self.disk.clone(), file, fault: self.fault.clone() }, &self.fault)
    }

    fn reopen(&mut self) -> io::Result<()> {
        if self.lock_fault().sync {
            self.renew()?;
        }
        *self.lock_fault() = Fault::default();
        let opened = self.disk.open_write(&self.home, &file())?;
        self.database = Some(self.open_file(opened)?);
        Ok(())
    }

    /// Copies the file to a new one, whose syncs can be believed.
    fn renew(&self) -> io::Result<()> {
        let old = self.disk.open(&self.home, &file())?;
        if_there(self.disk.remove_file(&self.home, &draft()))?;
        let new = self.disk.create(&self.home, &draft(), 0o600)?;
        let (mut buffer, mut offset) = (vec![0; COPY], 0);
        loop {
            match self.disk.read_at(&old, &mut buffer, offset)? {
                0 => break,
                read => self.disk.write_at(&new, &buffer[..read], offset)?,
            }
            offset += COPY as u64;
        }
        self.disk.set_len(&new, self.disk.file_metadata(&old)?.len)?;
        self.disk.sync(&new)?;
        self.disk.rename(&self.home, &draft(), &self.home, &file())?;
        self.disk.sync_dir(&self.home)
    }

    fn lock_fault(&self) -> std::sync::MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk_error(&self) -> Option<io::Error> {
        self.lock_fault().error.take().map(|(kind, words)| io::Error::new(kind, words))
    }
}

/// Why a state file cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("{0}")]
    Database(#[from] redb::Error),
    #[error("{0}")]
    Record(#[from] content::encoding::Malformed),
    #[error("it was never finished")]
    Unfinished,
}

fn open_database<D: Disk>(backend: Backend<D>, fault: &Mutex<Fault>) -> io::Result<Database> {
    let opened = Database::builder().set_cache_size(CACHE).create_with_backend(backend);
    opened.map_err(|error| plain(&error.into(), fault))
}

/// A table that software of before did not make, where there is one.
fn open_beside(
    database: &Database,
    table: TableDefinition<'static, &'static [u8], &'static [u8]>,
) -> Result<Option<ReadOnlyTable>, redb::Error> {
    match database.begin_read()?.open_table(table) {
        Ok(stamps) => Ok(Some(stamps)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_entries(
    database: &Database,
    journal: &JournalName,
    from: Position,
    most: u32,
) -> Result<Vec<Entry>, Unreadable> {
    let last = Position { generation: u64::MAX, index: u64::MAX };
    let (first, last) = (placed(b'f', journal, from), placed(b'f', journal, last));
    let table = database.begin_read().map_err(redb::Error::from)?.open_table(TABLE).map_err(redb::Error::from)?;
    let stamps = open_beside(database, STAMPS)?;
    let facts = table.range(first.as_slice()..=last.as_slice()).map_err(redb::Error::from)?;
    let mut entries = Vec::new();
    for found in facts.take(most as usize) {
        let (key, fact) = found.map_err(redb::Error::from)?;
        let mut beside = key.value().to_vec();
        beside[0] = STAMP;
        let stamp =
            stamps.as_ref().map(|stamps| stamps.get(beside.as_slice())).transpose().map_err(redb::Error::from)?;
        let stamp = stamp.flatten();
        entries.push(entry(key.value(), fact.value(), stamp.as_ref().map(|stamp| stamp.value()))?);
    }
    Ok(entries)
}

/// Writes changes as one commit. Whoever is told that it failed is told what takes it back, too.
fn write(database: &Database, changes: &[Change]) -> Result<(), (redb::Error, Vec<Change>)> {
    let (batch, undo) = begin(database, changes).map_err(|error| (error, Vec::new()))?;
    batch.commit().map_err(|error| (error.into(), undo))
}

/// A commit that is all but made, and what would take it back.
fn begin(database: &Database, changes: &[Change]) -> Result<(WriteTransaction, Vec<Change>), redb::Error> {
    let batch = database.begin_write()?;
    let mut undo = Vec::with_capacity(changes.len());
    {
        let (mut table, mut stamps) = (batch.open_table(TABLE)?, batch.open_table(STAMPS)?);
        let mut roots = batch.open_table(ROOTS)?;
        for Change { key, value } in changes {
            let table = match key.first() {
                Some(&STAMP) => &mut stamps,
                Some(&ROOT) => &mut roots,
                _ => &mut table,
            };
            let before = match value {
                Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                None => table.remove(key.as_slice())?,
            };
            undo.push(Change { key: key.clone(), value: before.map(|before| before.value().to_vec()) });
        }
    }
    // A key that was changed twice ends as it was before the first.
    undo.reverse();
    Ok((batch, undo))
}

/// The error of the disk that stands behind one of redb's, if there is one.
fn plain(error: &redb::Error, fault: &Mutex<Fault>) -> io::Error {
    let fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
    match &fault.error {
        Some((kind, words)) => io::Error::new(*kind, words.clone()),
        None => io::Error::other(error.to_string()),
    }
}

fn taken(fault: &Mutex<Fault>) -> Fault {
    std::mem::take(&mut *fault.lock().unwrap_or_else(PoisonError::into_inner))
}
