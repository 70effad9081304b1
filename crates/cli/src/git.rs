//! `tiding deploy git:REV`: a revision of the repository here, without a checkout of it.

use crate::failure::{Failure, Kind};
use content::Release;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What a source begins with that is a revision.
const PREFIX: &str = "git:";
/// What to do when it cannot be written.
const ROOM: &str = "TMPDIR names a directory with room for it";
/// The longest message that is made from a commit, in characters.
const SUBJECT: usize = 200;

/// A revision, written out where nobody else looks; it goes when this goes.
#[derive(Debug)]
pub(crate) struct Revision {
    held: TempDir,
    /// What people call it: a tag, or a tag and how far it is from it, or the beginning of its id.
    pub(crate) version: String,
    /// The first line of its message.
    pub(crate) subject: String,
    /// What is in the revision and not in this tree.
    pub(crate) notes: Vec<String>,
}

/// The revision that a source names, if it names one; a file or directory of that name is one all the same.
pub(crate) fn revision_of(source: &Path) -> Option<String> {
    let text = source.to_str()?.strip_prefix(PREFIX)?;
    (!source.exists()).then(|| text.to_owned())
}

impl Revision {
    /// Writes a revision of the repository that this directory is in.
    pub(crate) fn write(repository: &Path, revision: &str) -> Result<Self, Failure> {
        let git = |words: &[&str]| git(repository, words);
        // Whatever it begins with, it is no option to any command of git.
        let commit = git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")])
            .map_err(|failure| match failure.why.as_deref() {
                Some("") => unknown(revision),
                _ => failure,
            })?;
        let no_room = |error: io::Error| {
            Failure::new(Kind::Failed, format!("cannot write {PREFIX}{revision}")).because(error).next(ROOM)
        };
        let held = tempfile::tempdir().map_err(no_room)?;
        let (tree, index) = (held.path().join("tree"), held.path().join("index"));
        fs::create_dir(&tree).map_err(no_room)?;
        // All of the tree, from wherever in the repository this is called, and nothing of what lies in a checkout of it: neither its index
        // nor its attributes. A bare repository does as well.
        let repository = git(&["rev-parse", "--absolute-git-dir"])?;
        let apart = |words: &[&str]| {
            let mut command = Command::new("git");
            command.arg("--git-dir").arg(&repository).arg("--work-tree").arg(&tree).args(words);
            printed(command.env("GIT_INDEX_FILE", &index).current_dir(&tree), words)
        };
        apart(&["read-tree", &commit])?;
        apart(&["checkout-index", "--all", "--quiet"]).map_err(|failure| failure.next(ROOM))?;
        usual_modes(&tree).map_err(no_room)?;
        let submodules = apart(&["ls-files", "--stage"])?.lines().filter(|line| line.starts_with("160000 ")).count();
        let notes = (submodules > 0).then(|| format!("{submodules} submodules: deploy a checkout that has them"));
        let subject = git(&["log", "-1", "--format=%s", &commit])?;
        let described = git(&["describe", "--tags", "--always", "--abbrev=12", &commit])?;
        Ok(Self {
            // Cut off, two commits could be called the same.
            version: if described.len() <= Release::MAX_VERSION {
                described
            } else {
                commit.chars().take(12).collect()
            },
            subject: subject.chars().filter(|c| !c.is_control()).take(SUBJECT).collect(),
            notes: notes.into_iter().collect(),
            held,
        })
    }

    /// Where it was written.
    pub(crate) fn tree(&self) -> PathBuf {
        self.held.path().join("tree")
    }
}

fn unknown(revision: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot deploy {PREFIX}{revision}"))
        .because("the repository here has no such commit")
        .next("`git log --oneline` lists commits, `git tag` tags; `git fetch` brings those of others")
}

/// What may be executed may be by everyone, and all may be read: whoever calls this, one revision is one content.
fn usual_modes(tree: &Path) -> io::Result<()> {
    let mut waiting = vec![tree.to_owned()];
    while let Some(at) = waiting.pop() {
        let meta = fs::symlink_metadata(&at)?;
        if meta.is_symlink() {
            continue;
        }
        let mode = if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        fs::set_permissions(&at, Permissions::from_mode(mode))?;
        if meta.is_dir() {
            for entry in fs::read_dir(&at)? {
                waiting.push(entry?.path());
            }
        }
    }
    Ok(())
}

/// Runs git in a repository; what it printed.
fn git(repository: &Path, words: &[&str]) -> Result<String, Failure> {
    printed(Command::new("git").arg("-C").arg(repository).args(words), words)
}

fn printed(command: &mut Command, words: &[&str]) -> Result<String, Failure> {
    let failed = || Failure::new(Kind::Failed, format!("`git {}` failed", words.first().unwrap_or(&"")));
    let output = command.output().map_err(|error| {
        failed().because(format!("git cannot be run: {error}")).next("install git, or deploy a directory")
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(failed()
            .because(String::from_utf8_lossy(&output.stderr).trim())
            .next("call it inside the repository, or deploy a directory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> TempDir {
        let held = tempfile::tempdir().expect("a temporary directory");
        let run = |words: &[&str]| {
            let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
            let done = Command::new("git").arg("-C").arg(held.path()).args(who).args(words).output().expect("git runs");
            assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run(&["init", "-q", "-b", "main"]);
        std::fs::create_dir(held.path().join("inner")).expect("a directory");
        std::fs::write(held.path().join("inner/file"), "one").expect("a file");
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "the first\n\nand more"]);
        run(&["tag", "v1"]);
        std::fs::write(held.path().join("inner/file"), "two").expect("a file");
        run(&["commit", "-q", "-a", "-m", "the second"]);
        std::fs::write(held.path().join("inner/file"), "not committed").expect("a file");
        held
    }

    #[test]
    fn a_revision_is_what_was_committed_whatever_lies_there() {
        let repository = repository();
        let first = Revision::write(&repository.path().join("inner"), "v1").expect("it is there");
        assert_eq!((first.version.as_str(), first.subject.as_str()), ("v1", "the first"));
        assert_eq!(std::fs::read(first.tree().join("inner/file")).expect("all of the tree"), b"one");
        let second = Revision::write(repository.path(), "HEAD").expect("it is there");
        assert_eq!(std::fs::read(second.tree().join("inner/file")).expect("it was written"), b"two");
        assert!(second.version.starts_with("v1-1-g"), "{}", second.version);
        assert_eq!(std::fs::read(repository.path().join("inner/file")).expect("as before"), b"not committed");
        let mode = |path: &str| {
            let meta = fs::symlink_metadata(second.tree().join(path)).expect("it was written");
            meta.permissions().mode() & 0o777
        };
        assert_eq!((mode("inner"), mode("inner/file")), (0o755, 0o644), "whatever the umask");
        // Nothing that only lies in the checkout says how it is written; and a bare repository does as well.
        std::fs::write(repository.path().join(".gitattributes"), "* text eol=crlf\n").expect("a file");
        let bare = Revision::write(&repository.path().join(".git"), "HEAD").expect("it needs no checkout");
        assert_eq!(std::fs::read(bare.tree().join("inner/file")).expect("it was written"), b"two");
        assert!(!bare.tree().join(".gitattributes").exists());
        let tree = second.tree();
        drop(second);
        assert!(!tree.exists(), "nothing is left");
    }

    #[test]
    fn what_is_no_revision_is_refused_and_is_no_option() {
        let repository = repository();
        for wrong in ["v2", "--all", "", "HEAD:inner"] {
            let failure = Revision::write(repository.path(), wrong).expect_err(wrong);
            assert!(failure.next.is_some(), "{failure:?}");
        }
        let outside = tempfile::tempdir().expect("a temporary directory");
        let failure = Revision::write(outside.path(), "HEAD").expect_err("no repository");
        assert!(failure.why.is_some_and(|why| why.contains("not a git repository")));
    }

    #[test]
    fn only_what_begins_with_git_and_is_no_file_is_a_revision() {
        assert_eq!(revision_of(Path::new("git:v1")).as_deref(), Some("v1"));
        assert_eq!(revision_of(Path::new("./git")), None);
        assert_eq!(revision_of(Path::new("/tmp")), None);
    }
}
