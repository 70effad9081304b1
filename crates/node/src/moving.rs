//! Moving an operator's keys away from where they are: to a stick, or to a directory that is brought to another machine.
//!
//! First a copy that is on disk for good and was read again, then a note of where it is, then what was here is overwritten and removed.
//! Whatever is interrupted between two of these steps, there is a whole set at one place or at both, and the same command again ends
//! what it began. Nothing that lies at the destination is ever replaced.
//!
//! What a file system, a snapshot, a backup or a flash chip keeps of what was overwritten is beyond any program's knowledge.

use crate::client::ClientError;
use crate::founding;
use crate::home::{self, FileError, MovedFile};
use crate::identity::{Identity, IdentityError, node_of_key, random};
use content::Digest;
use rcgen::KeyPair;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The whole operator's home.
    Everything,
    /// The fleet's root key alone; the operator works on without it.
    RootKey,
}

impl What {
    /// The files that hold secrets: overwritten before they are removed.
    fn secrets(self) -> &'static [&'static str] {
        match self {
            Self::Everything => &[home::ROOT_KEY, home::OPERATOR_KEY, home::KEY],
            Self::RootKey => &[home::ROOT_KEY],
        }
    }

    /// The files that go along and hold none; the last ones to leave.
    fn papers(self) -> &'static [&'static str] {
        match self {
            Self::Everything => &[
                home::CERTIFICATE,
                home::AUTHORITIES,
                home::AUDIT,
                home::ROOTS,
                home::ROOT_MOVED,
                home::FLEET,
                home::ROOT,
            ],
            Self::RootKey => &[],
        }
    }

    /// What is only copied, so that it can be told of which fleet the copy is.
    fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Everything => &[],
            Self::RootKey => &[home::ROOT],
        }
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        self.secrets().iter().chain(self.papers()).chain(self.labels()).copied()
    }

    /// The name of the note that stays behind.
    fn note(self) -> &'static str {
        match self {
            Self::Everything => home::MOVED,
            Self::RootKey => home::ROOT_MOVED,
        }
    }
}

/// Why keys were not moved, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is nothing to move.
    #[error("{0}")]
    Nothing(String),
    /// It would replace something, or is not a place.
    #[error("{0}")]
    Refused(String),
    /// What was copied is not what is here, or does not work. Nothing was removed.
    #[error("{0}; nothing was removed here")]
    Useless(String),
    /// The origin answers, and refuses these keys. Nothing was removed.
    #[error("with the keys from there the origin says: {0}; nothing was removed here")]
    NotTaken(ClientError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<FileError> for MoveError {
    fn from(error: FileError) -> Self {
        Self::Disk { path: error.path, source: error.source }
    }
}

impl From<IdentityError> for MoveError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::File(error) => error.into(),
            IdentityError::Malformed(why) => Self::Useless(why),
        }
    }
}

/// Keys that are at both places: the copy was read again and is what is here.
#[derive(Debug)]
pub struct Copied {
    from: PathBuf,
    to: PathBuf,
    what: What,
    files: BTreeMap<String, String>,
}

/// Where the keys are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The new place.
    pub to: PathBuf,
    /// What was removed here.
    pub removed: Vec<String>,
    /// Whether the new place is on the file system where the keys were: a stick is not.
    pub is_same_disk: bool,
    /// Whether others can read the keys there, as on a file system without modes.
    pub is_open: bool,
}

/// Said between two steps; a test cuts there.
type Between<'a> = &'a mut dyn FnMut() -> Result<(), MoveError>;

/// Copies the keys in `from` into the directory `to`, which is made, and makes sure that the copy works. Nothing is removed.
pub fn copy(from: &Path, to: &Path, what: What) -> Result<Copied, MoveError> {
    copy_in_steps(from, to, what, &mut || Ok(()))
}

impl Copied {
    /// Removes what was copied, from where it was.
    pub fn remove(self) -> Result<Moved, MoveError> {
        self.remove_in_steps(&mut || Ok(()))
    }

    /// Where the copy is.
    pub fn to(&self) -> &Path {
        &self.to
    }

    fn remove_in_steps(self, between: Between<'_>) -> Result<Moved, MoveError> {
        self.require_apart()?;
        let note = MovedFile { to: self.to.clone(), files: self.files.clone() };
        home::replace(&self.from.join(self.what.note()), &home::to_json(&note))?;
        between()?;
        let mut removed = Vec::new();
        for name in self.what.secrets() {
            let path = self.from.join(name);
            require_two_files(&path, &self.to.join(name))?;
            if overwrite(&path)? {
                between()?;
                home::at(&path, fs::remove_file(&path))?;
                removed.push((*name).to_owned());
                between()?;
            }
        }
        for path in self.what.papers().iter().map(|name| self.from.join(name)) {
            if is_there(&path)? {
                home::at(&path, fs::remove_file(&path))?;
                between()?;
            }
        }
        home::at(&self.from, fs::File::open(&self.from).and_then(|directory| directory.sync_all()))?;
        Ok(Moved {
            is_same_disk: device(&self.to) == device(&self.from),
            is_open: self.what.secrets().iter().any(|name| is_open(&self.to.join(name))),
            to: self.to,
            removed,
        })
    }
}

fn copy_in_steps(from: &Path, to: &Path, what: What, between: Between<'_>) -> Result<Copied, MoveError> {
    if let Some(begun) = begun(from, what)? {
        return go_on(from, to, what, begun);
    }
    let files = files_of(from, what)?;
    require_place(from, to)?;
    let digests: BTreeMap<String, String> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), Digest::of(bytes).to_string())).collect();
    // What the same command has copied before it was interrupted is as good.
    let is_fresh = !holds(to, &digests)?;
    if is_fresh {
        home::write_set(to, &files)?;
        between()?;
    }
    let copied = Copied { from: from.to_owned(), to: to.to_owned(), what, files: digests };
    if is_fresh {
        copied.require_same(|_| true)?;
    }
    copied.check()?;
    Ok(copied)
}

/// A move that was interrupted after its note: what is here may be overwritten already, so only the copy counts.
fn go_on(from: &Path, to: &Path, what: What, begun: MovedFile) -> Result<Copied, MoveError> {
    let at = begun.to.display();
    let all = what.secrets().iter().chain(what.papers());
    let is_left = all.map(|name| is_there(&from.join(name))).collect::<Result<Vec<_>, _>>()?;
    if !is_left.contains(&true) {
        return Err(MoveError::Nothing(format!("the keys were moved to {at} before; say --operator-home {at}")));
    }
    if begun.to != to {
        let why = format!("a move to {at} was interrupted; end it with `tiding key move {at}`");
        return Err(MoveError::Refused(why));
    }
    let copied = Copied { from: from.to_owned(), to: to.to_owned(), what, files: begun.files };
    copied.check()?;
    Ok(copied)
}

impl Copied {
    /// Whether the copy has the secrets that were here, byte for byte, in files of its own, and its keys are keys. Its papers need only be
    /// good: whoever has worked with the copy since may have other ones, such as a renewed certificate.
    fn check(&self) -> Result<(), MoveError> {
        let at = self.to.display();
        self.require_apart()?;
        self.require_same(is_secret)?;
        founding::read_signing_key(&self.to.join(self.what.secrets()[0])).map(drop).or_else(|error| {
            // An operator may have been made without the root key.
            if self.files.contains_key(home::ROOT_KEY) { Err(error) } else { Ok(()) }
        })?;
        if self.what == What::Everything {
            founding::read_signing_key(&self.to.join(home::OPERATOR_KEY))?;
            let identity = Identity::load(&self.to)?;
            let path = self.to.join(home::KEY);
            let text = home::at(&path, fs::read_to_string(&path))?;
            let is_its = KeyPair::from_pem(&text).is_ok_and(|key| node_of_key(&key) == identity.node);
            if !is_its {
                return Err(MoveError::Useless(format!("the key in {at} does not belong to the certificate there")));
            }
        }
        Ok(())
    }
}

impl Copied {
    /// Whether the files with these names are what was here, and all others can be read.
    fn require_same(&self, is_compared: impl Fn(&str) -> bool) -> Result<(), MoveError> {
        for (name, digest) in &self.files {
            let path = self.to.join(name);
            let found = home::at(&path, fs::read(&path))?;
            if is_compared(name) && Digest::of(&found).to_string() != *digest {
                return Err(MoveError::Useless(format!("{} is not what was here", path.display())));
            }
        }
        Ok(())
    }

    /// Whether the directories, and all secrets in them, are two.
    fn require_apart(&self) -> Result<(), MoveError> {
        require_two_files(&self.from, &self.to)?;
        let mut secrets = self.what.secrets().iter();
        secrets.try_for_each(|name| require_two_files(&self.from.join(name), &self.to.join(name)))
    }
}

fn begun(from: &Path, what: What) -> Result<Option<MovedFile>, MoveError> {
    let path = from.join(what.note());
    Ok(if is_there(&path)? { Some(home::read_json(&path)?) } else { None })
}

fn files_of(from: &Path, what: What) -> Result<Vec<(&'static str, Vec<u8>)>, MoveError> {
    let at = from.display();
    let needed = match what {
        What::Everything => home::OPERATOR_KEY,
        What::RootKey => home::ROOT_KEY,
    };
    if !is_there(&from.join(needed))? {
        return Err(MoveError::Nothing(format!("there is no {needed} in {at}; say where it is with --operator-home")));
    }
    let mut files = Vec::new();
    for name in what.names() {
        let path = from.join(name);
        if is_there(&path)? {
            files.push((name, home::at(&path, fs::read(&path))?));
        }
    }
    Ok(files)
}

/// Refuses what is no place for keys: inside where they are, not mounted, a mount itself, or in use.
fn require_place(from: &Path, to: &Path) -> Result<(), MoveError> {
    let refused = |why: String| Err(MoveError::Refused(why));
    let parent = to.parent().unwrap_or(Path::new("/"));
    let Ok(real) = fs::canonicalize(parent) else {
        return refused(format!("{} is not there; mount it, or make it first", parent.display()));
    };
    let here = home::at(from, fs::canonicalize(from))?;
    // A link leads elsewhere than its name says, and a bind mount is the same directory under a name that nothing leads from.
    let there = fs::canonicalize(to).unwrap_or_else(|_| real.join(to.file_name().unwrap_or_default()));
    let is_inside = there.starts_with(&here) || there.ancestors().any(|above| is_same(above, &here));
    if is_inside || is_same(to, from) {
        return refused(format!("{} is where the keys are; name another place", to.display()));
    }
    if to.is_dir() && device(to) != device(&real) {
        let inside = to.join("tiding");
        return refused(format!("{} is a mount itself; name a directory in it: {}", to.display(), inside.display()));
    }
    let mut staging = to.file_name().unwrap_or_default().to_owned();
    staging.push(".new");
    for taken in [to.to_owned(), real.join(staging)] {
        if let Some(other) = stranger_in(&taken)? {
            return refused(format!("{} holds {other}; name a directory that is not there yet", taken.display()));
        }
    }
    Ok(())
}

/// Anything in a directory that no move of keys has put there.
fn stranger_in(directory: &Path) -> Result<Option<String>, MoveError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(MoveError::Disk { path: directory.to_owned(), source }),
    };
    for entry in entries {
        let name = home::at(directory, entry)?.file_name().to_string_lossy().into_owned();
        if !What::Everything.names().any(|known| known == name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether a directory holds these files, of which secrets must be the same; one that holds others is not to be replaced.
fn holds(directory: &Path, files: &BTreeMap<String, String>) -> Result<bool, MoveError> {
    let mut found = BTreeMap::new();
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(MoveError::Disk { path: directory.to_owned(), source }),
        Ok(entries) => {
            for entry in entries {
                let path = home::at(directory, entry)?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.insert(name, Digest::of(&home::at(&path, fs::read(&path))?).to_string());
            }
        }
    }
    let secrets = |set: &BTreeMap<String, String>| {
        set.iter()
            .filter(|(name, _)| is_secret(name))
            .map(|(name, digest)| (name.clone(), digest.clone()))
            .collect::<Vec<_>>()
    };
    let is_whole = secrets(&found) == secrets(files) && files.keys().all(|name| found.contains_key(name));
    match found.is_empty() {
        true => Ok(false),
        false if is_whole => Ok(true),
        false => Err(MoveError::Refused(format!(
            "{} holds other keys; name a directory that is not there yet",
            directory.display()
        ))),
    }
}

fn is_secret(name: &str) -> bool {
    What::Everything.secrets().contains(&name)
}

/// Refuses a source and a copy that are one and the same under two names: to destroy one would be to destroy both.
fn require_two_files(here: &Path, there: &Path) -> Result<(), MoveError> {
    match is_same(here, there) {
        false => Ok(()),
        true => Err(MoveError::Refused(format!(
            "{} and {} are the same thing under two names; name another place",
            here.display(),
            there.display()
        ))),
    }
}

/// Whether two paths lead to the same file or directory, by links or mounts.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Writes random bytes over a file, and has them written through; false when it is not there.
fn overwrite(path: &Path) -> Result<bool, MoveError> {
    let mut file = match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(MoveError::Disk { path: path.to_owned(), source }),
    };
    let len = home::at(path, file.metadata())?.len();
    for _ in 0..len.div_ceil(64) {
        home::at(path, file.write_all(&random::<64>()))?;
    }
    home::at(path, file.sync_all())?;
    Ok(true)
}

fn is_there(path: &Path) -> Result<bool, MoveError> {
    Ok(home::at(path, path.try_exists())?)
}

fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.dev())
}

fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0)
}

/// Where an operator's keys lie, seen from a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Whether the signing key lies on the disk of the fleet's origin.
    pub signs_at_origin: bool,
    /// Whether the root key does.
    pub root_at_origin: bool,
    /// Where they were moved to from here.
    pub moved: Option<PathBuf>,
    /// Where the root key was moved to from here.
    pub root_moved: Option<PathBuf>,
}

impl Placement {
    /// Looks at an operator's home and a node's home on this machine.
    pub fn look(operator_home: &Path, home: &Path) -> Self {
        let is_at_origin = is_origin_of(operator_home, home) && device(operator_home) == device(home);
        let went = |what: What| {
            let is_left = what.secrets().iter().any(|name| operator_home.join(name).exists());
            let note = home::read_json::<MovedFile>(&operator_home.join(what.note())).ok();
            note.filter(|_| !is_left).map(|note| note.to)
        };
        Self {
            signs_at_origin: is_at_origin && operator_home.join(home::OPERATOR_KEY).exists(),
            root_at_origin: is_at_origin && operator_home.join(home::ROOT_KEY).exists(),
            moved: went(What::Everything),
            root_moved: went(What::RootKey),
        }
    }

    /// What to say as long as the keys lie at the origin, and what to do.
    pub fn notice(&self) -> Option<[&'static str; 2]> {
        match (self.signs_at_origin, self.root_at_origin) {
            (true, _) => Some([
                "the operator's keys lie on the origin's machine: who takes it over can order what runs",
                "`tiding key move DIR` brings them to a stick, or to a directory that you then bring to a machine of yours",
            ]),
            (false, true) => Some([
                "the fleet's root key lies on the origin's machine: who takes it over can make operators",
                "`tiding key move DIR --root` brings it to a stick, which can lie in a drawer",
            ]),
            (false, false) => None,
        }
    }
}

/// Whether a node's home is that of an origin of the fleet that these keys are for.
fn is_origin_of(operator_home: &Path, home: &Path) -> bool {
    let root = |directory: &Path| fs::read(directory.join(home::ROOT)).ok();
    home::authority(home).is_dir()
        && root(operator_home).is_some_and(|theirs| root(&home::identity(home)) == Some(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::OperatorKeys;
    use crate::founding::FoundOptions;
    use crate::identity::{Authority, new_key, wall_clock};
    use crate::life;

    fn founded(at: &Path) -> FoundOptions {
        let options = FoundOptions {
            home: at.join("home"),
            operator_home: at.join("operator"),
            listen: ([127, 0, 0, 1], 7443).into(),
            advertise: Vec::new(),
            name: "first".to_owned(),
            datacenter: "here".to_owned(),
            operator: "alice".to_owned(),
        };
        founding::found(&options).expect("founded");
        options
    }

    /// Whether all that an operator needs is at a place.
    fn is_whole(at: &Path) -> bool {
        let keys = [home::OPERATOR_KEY, home::ROOT_KEY].map(|name| founding::read_signing_key(&at.join(name)).is_ok());
        OperatorKeys::read(at).is_ok() && keys == [true, true]
    }

    /// Fails at the step with this number.
    fn cut(at: usize) -> impl FnMut() -> Result<(), MoveError> {
        let mut step = 0;
        move || {
            step += 1;
            if step == at { Err(MoveError::Nothing("cut".to_owned())) } else { Ok(()) }
        }
    }

    fn all(from: &Path, to: &Path, what: What, at: usize) -> Result<Moved, MoveError> {
        let mut between = cut(at);
        copy_in_steps(from, to, what, &mut between)?.remove_in_steps(&mut between)
    }

    #[test]
    fn g12_keys_are_whole_at_one_place_at_least_wherever_a_move_of_them_is_cut() {
        for steps in 0..40 {
            let temp = tempfile::tempdir().expect("a temporary directory");
            let (from, to) = (founded(temp.path()).operator_home, temp.path().join("stick"));
            let before = OperatorKeys::read(&from).expect("keys").node;
            let outcome = all(&from, &to, What::Everything, steps + 1);
            assert!(is_whole(&from) || is_whole(&to), "cut after step {steps}");
            if let Err(MoveError::Nothing(_)) = &outcome {
                match all(&from, &to, What::Everything, 0) {
                    Ok(_) => {}
                    // It was the last step.
                    Err(MoveError::Nothing(why)) => assert!(why.contains("were moved to"), "{why}"),
                    Err(other) => panic!("after step {steps}: {other}"),
                }
            }
            assert!(is_whole(&to));
            assert_eq!(OperatorKeys::read(&to).expect("keys").node, before);
            let left: Vec<_> = fs::read_dir(&from).expect("it is there").flatten().map(|e| e.file_name()).collect();
            assert_eq!(left, [home::MOVED], "only the note stays");
            if let Ok(moved) = outcome {
                assert!(moved.removed.len() == 3 && moved.is_same_disk && !moved.is_open && steps > 10, "{moved:?}");
                return;
            }
        }
        panic!("it never ran through");
    }

    #[test]
    fn what_is_no_place_is_refused_and_nothing_is_replaced() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let from = founded(temp.path()).operator_home;
        let refused = |to: PathBuf| copy(&from, &to, What::Everything).map(drop).expect_err("refused").to_string();
        assert!(refused(from.clone()).contains("where the keys are"));
        assert!(refused(from.join("in")).contains("where the keys are"));
        assert!(refused(temp.path().join("not/mounted")).contains("mount it"));
        assert!(refused("/proc".into()).contains("mount itself"));
        let used = temp.path().join("used");
        fs::create_dir(&used).expect("a directory");
        fs::write(used.join("diary"), "mine").expect("a file");
        assert!(refused(used.clone()).contains("diary"));
        // The name under which the copy is made may be somebody's as well.
        assert!(fs::rename(&used, temp.path().join("stick.new")).is_ok());
        assert!(refused(temp.path().join("stick")).contains("diary"));
        let other = tempfile::tempdir().expect("a temporary directory");
        let theirs = founded(other.path()).operator_home;
        assert!(refused(theirs.clone()).contains("other keys"));
        assert!(is_whole(&theirs) && is_whole(&from) && temp.path().join("stick.new/diary").exists());
    }

    #[test]
    fn a_copy_that_is_not_what_is_here_removes_nothing() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (founded(temp.path()).operator_home, temp.path().join("stick"));
        let copied = copy(&from, &to, What::Everything).expect("copied");
        let fleet = fs::read(to.join(home::FLEET)).expect("readable");
        fs::remove_file(to.join(home::FLEET)).expect("removed");
        let why = copy(&from, &to, What::Everything).map(drop).expect_err("a paper is missing").to_string();
        assert!(copied.check().is_err() && why.contains("other keys"), "{why}");
        fs::write(to.join(home::FLEET), fleet).expect("written");
        copied.check().expect("whole again");
        fs::write(to.join(home::OPERATOR_KEY), "00").expect("it rots");
        assert!(copied.check().is_err() && copy(&from, &to, What::Everything).is_err() && is_whole(&from));
    }

    #[test]
    fn g12_a_place_that_is_the_home_under_another_name_is_refused_and_nothing_is_destroyed() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let from = founded(temp.path()).operator_home;
        let refused = |from: &Path, to: PathBuf| {
            let why = all(from, &to, What::Everything, 0).expect_err("refused").to_string();
            assert!(is_whole(from), "{why}");
            why
        };
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&from, &link).expect("a link");
        assert!(refused(&from, link.clone()).contains("where the keys are"));
        assert!(refused(&from, link.join("in")).contains("where the keys are"));
        assert!(refused(&link, from.clone()).contains("where the keys are"));
        assert!(refused(&link, from.join("in")).contains("where the keys are"));
        // Nor a directory of its own, in which are the same files, or only one of them.
        let twins = temp.path().join("twins");
        fs::create_dir(&twins).expect("a directory");
        for file in fs::read_dir(&from).expect("it is there").flatten() {
            fs::hard_link(file.path(), twins.join(file.file_name())).expect("a hard link");
        }
        assert!(refused(&from, twins.clone()).contains("under two names"));
        let stick = temp.path().join("stick");
        let copied = copy(&from, &stick, What::Everything).expect("copied");
        fs::remove_file(stick.join(home::KEY)).expect("removed");
        fs::hard_link(from.join(home::KEY), stick.join(home::KEY)).expect("a hard link");
        assert!(copied.remove().is_err_and(|why| why.to_string().contains("under two names")) && is_whole(&from));
        // A copy that became a link to the home after the move was begun.
        fs::remove_dir_all(&stick).expect("removed");
        assert!(all(&from, &stick, What::Everything, 2).is_err() && from.join(home::MOVED).exists());
        fs::rename(&stick, temp.path().join("away")).expect("renamed");
        std::os::unix::fs::symlink(&from, &stick).expect("a link");
        assert!(refused(&from, stick).contains("under two names"));
    }

    #[test]
    fn g12_a_secret_that_has_become_one_with_its_copy_is_not_destroyed() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (founded(temp.path()).operator_home, temp.path().join("stick"));
        let [here, there] = [&from, &to].map(|at| at.join(home::KEY));
        let key = fs::read(&here).expect("a key");
        let copied = copy(&from, &to, What::Everything).expect("copied");
        let removed = copied.remove_in_steps(&mut || {
            fs::remove_file(&there).and_then(|()| fs::hard_link(&here, &there)).expect("linked");
            Ok(())
        });
        assert!(removed.is_err_and(|why| why.to_string().contains("under two names")));
        assert_eq!(fs::read(&here).expect("it is there"), key);
    }

    #[test]
    fn g12_an_interrupted_move_ends_though_the_certificate_of_the_copy_was_renewed() {
        // Before its note, and after it.
        for step in [1, 2, 3] {
            let temp = tempfile::tempdir().expect("a temporary directory");
            let (options, to) = (founded(temp.path()), temp.path().join("stick"));
            let from = options.operator_home;
            all(&from, &to, What::Everything, step).expect_err("cut");
            let (identity, authority) = (Identity::load(&to), Authority::load(&home::authority(&options.home)));
            let (identity, authority) = (identity.expect("a certificate"), authority.expect("a CA"));
            let key = life::key_of(&to, &identity).expect("its key");
            let leaf = authority.issue_own(&key, identity.role, wall_clock()).expect("a certificate");
            life::keep(&to, &key, &leaf, authority.certificate()).expect("kept");
            fs::write(to.join(home::AUDIT), "{}").expect("it has moved on");
            let renewed = fs::read(to.join(home::CERTIFICATE)).expect("readable");
            // One that does not fit the key is no certificate.
            let stranger = new_key();
            let other = authority.issue_own(&stranger, identity.role, wall_clock()).expect("a certificate");
            life::keep(&to, &stranger, &other, authority.certificate()).expect("kept");
            assert!(copy(&from, &to, What::Everything).is_err());
            fs::write(to.join(home::CERTIFICATE), &renewed).expect("written");
            all(&from, &to, What::Everything, 0).expect("it ends");
            assert!(is_whole(&to) && fs::read(to.join(home::CERTIFICATE)).expect("readable") == renewed);
        }
    }

    #[test]
    fn the_root_key_goes_alone_and_the_operator_works_on() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let options = founded(temp.path());
        let (from, to, home) = (options.operator_home, temp.path().join("drawer"), options.home);
        let said = || Placement::look(&from, &home).notice().map(|[what, _]| what.contains("root key"));
        assert_eq!(said(), Some(false), "all keys are there");
        let moved = all(&from, &to, What::RootKey, 0).expect("moved");
        assert_eq!(moved.removed, [home::ROOT_KEY]);
        assert!(OperatorKeys::read(&from).is_ok() && founding::read_signing_key(&to.join(home::ROOT_KEY)).is_ok());
        let placed = Placement::look(&from, &home);
        assert!(placed.signs_at_origin && !placed.root_at_origin && placed.root_moved == Some(to.clone()));
        assert!(matches!(copy(&from, &to, What::RootKey), Err(MoveError::Nothing(why)) if why.contains("before")));
        // On another machine nobody nags.
        let elsewhere = temp.path().join("no-origin");
        assert_eq!(Placement::look(&from, &elsewhere).notice(), None);
        all(&from, &temp.path().join("stick"), What::Everything, 0).expect("moved");
        let placed = Placement::look(&from, &home);
        assert_eq!((placed.notice(), placed.moved), (None, Some(temp.path().join("stick"))));
        let why = OperatorKeys::read(&from).map(drop).expect_err("empty").to_string();
        assert!(why.contains("were moved to"), "{why}");
    }
}
