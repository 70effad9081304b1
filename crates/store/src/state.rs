//! The state file: redb on the disk, opened, made, moved aside when it is damaged, and written one commit at a time.
//!
//! It never decides what is true of contents: their names do (`blobs/`), so all of this can be lost and made again.
//!
//! Invariant: `state.redb` is a whole state from its first moment (it is made under another name), a commit is all or
//! nothing, and after a failed sync the file is copied to a new one before anything in it is believed again.

use crate::backend::{Backend, Fault};
use crate::disk::{Disk, Name};
use crate::ground::{if_there, ours};
use crate::record::{Change, Records};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("tiding");
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
}

/// What stands where the state file should.
pub(crate) enum Found<D: Disk> {
    /// A state, and what it holds.
    Whole(State<D>, Records),
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
    /// Looks for the state file and reads all of it. Only an error of the disk itself is an error.
    pub(crate) fn open(disk: &Arc<D>, home: &D::Dir) -> io::Result<Found<D>> {
        if if_there(disk.metadata(home, &file()))?.is_none() {
            return Ok(Found::Nothing);
        }
        let (disk, home, fault) = (disk.clone(), home.clone(), Arc::default());
        let mut state = Self { disk, home, database: None, fault };
        // redb asserts what a damaged file can break.
        let read = catch_unwind(AssertUnwindSafe(|| state.read_all()));
        match read {
            Ok(Ok(records)) => Ok(Found::Whole(state, records)),
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
        write(&database, &whole).map_err(|error| plain(&error, &fault))?;
        // Dropping redb writes the last of it; what it says of that is lost, so the sync that counts comes after.
        drop(database);
        if let Some((kind, words)) = taken(&fault).error {
            return Err(io::Error::new(kind, words));
        }
        disk.sync(&disk.open_write(home, &draft())?)?;
        disk.rename(home, &draft(), home, &file())?;
        disk.sync_dir(home)?;
        let mut state = Self { disk: disk.clone(), home: home.clone(), database: None, fault: Arc::default() };
        state.reopen()?;
        Ok(state)
    }

    /// Moves what stands where the state file should out of the way; returns where to.
    pub(crate) fn move_aside(disk: &D, home: &D::Dir) -> io::Result<String> {
        let mut free = 1;
        while if_there(disk.metadata(home, &ours(&format!("state.redb.damaged-{free}"))))?.is_some() {
            free += 1;
        }
        let aside = format!("state.redb.damaged-{free}");
        disk.rename(home, &file(), home, &ours(&aside))?;
        disk.sync_dir(home)?;
        Ok(aside)
    }

    /// Makes changes durable, all or nothing.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> io::Result<()> {
        if self.database.is_none() {
            self.reopen()?;
        }
        let database = self.database.as_ref().expect("it was just opened");
        let written = write(database, changes).map_err(|error| plain(&error, &self.fault));
        if written.is_err() {
            // redb trusts nothing after an error, and neither do we: the next commit opens the file again.
            self.database = None;
        }
        written
    }

    fn read_all(&mut self) -> Result<Records, Unreadable> {
        let mut database = self.open_file()?;
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
        self.database = Some(database);
        if ready { Ok(records) } else { Err(Unreadable::Unfinished) }
    }

    fn open_file(&self) -> io::Result<Database> {
        let file = self.disk.open_write(&self.home, &file())?;
        open_database(Backend { disk: self.disk.clone(), file, fault: self.fault.clone() }, &self.fault)
    }

    fn reopen(&mut self) -> io::Result<()> {
        if self.lock_fault().sync {
            self.renew()?;
        }
        *self.lock_fault() = Fault::default();
        self.database = Some(self.open_file()?);
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

fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let batch = database.begin_write()?;
    {
        let mut table = batch.open_table(TABLE)?;
        for change in changes {
            match &change.value {
                Some(value) => table.insert(change.key.as_slice(), value.as_slice())?,
                None => table.remove(change.key.as_slice())?,
            };
        }
    }
    batch.commit()?;
    Ok(())
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
