//! What a patch between two trees says, however either is kept: its head, the patch of the manifest, and the tree patch.
//!
//! Nothing of it is believed: the new manifest must have the digest that the head names, and who takes the files compares what they
//! are made of.

use super::TreesError;
use super::known::Sameness;
use crate::hands::Hands;
use content::{ContentId, Digest, Manifest, blob};
use delta::tree::{Files, Made, Stop, TreeError, apply_tree_in, diff_tree_by, tree_budget, tree_copies};
use delta::{Budget, Declared, Effort, Malformed, Room};

const MAGIC: &[u8; 4] = b"tdgd";
pub(super) const VERSION: u8 = 1;

/// Formats of patches that are applied here, by number, the newest last, which is also the one that is made. A number names versions of
/// three formats: of what stands around a patch, of tree patches in it, and of the patches in those.
///
/// | number | around | tree patch | patches |
/// |---|---|---|---|
/// | 1 | 1 | 1 | 1 and 2 |
pub const READS: &[u8] = &[1];

// Whoever changes one of the versions gives their company a new number.
const _: () = assert!(VERSION == 1 && delta::TREE_FORMAT_VERSION == 1 && delta::FORMAT_VERSION == 2);

/// Whether a file begins like the patch of a directory.
pub fn is_tree_patch(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// One of two trees.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) content: ContentId,
    pub(crate) manifest: &'a Manifest,
    pub(crate) encoded: &'a [u8],
    /// In the order of the manifest.
    pub(crate) files: &'a dyn Files,
}

/// A patch from one tree to another, and which files are the same; nothing if one cannot be read.
pub(crate) fn write(
    hands: &dyn Hands,
    (old, new): (Side<'_>, Side<'_>),
    effort: Effort,
    memory: u64,
) -> Result<Option<(Vec<u8>, Sameness)>, Malformed> {
    let sameness = Sameness::of(old.manifest, new.manifest);
    let tree = diff_tree_by(&Working(hands), old.files, new.files, &sameness.wanted, effort, memory);
    let Some(tree) = tree else { return Ok(None) };
    let copies = tree_copies(old.files, &sameness.lens(), &tree)?;
    let manifest = delta::diff(old.encoded, new.encoded, Effort::Best);
    let mut patch = [MAGIC.as_slice(), &[VERSION], old.content.0.as_bytes(), new.content.0.as_bytes()].concat();
    patch.extend((manifest.len() as u64).to_le_bytes());
    patch.extend([manifest, tree].concat());
    Ok(Some((patch, sameness.with(copies))))
}

/// What stands before the tree patch.
pub(crate) struct Head<'a> {
    pub(crate) old: ContentId,
    pub(crate) new: ContentId,
    manifest: &'a [u8],
    pub(crate) tree: &'a [u8],
}

impl<'a> Head<'a> {
    pub(crate) fn read(patch: &'a [u8]) -> Result<Self, TreesError> {
        let rest = patch.strip_prefix(MAGIC).ok_or(Malformed::Magic)?;
        let (&version, rest) = rest.split_first().ok_or(Malformed::Length)?;
        if version != VERSION {
            return Err(TreesError::Version(version));
        }
        let (old, rest) = rest.split_first_chunk().ok_or(Malformed::Length)?;
        let (new, rest) = rest.split_first_chunk().ok_or(Malformed::Length)?;
        let (old, new) = (ContentId(Digest::from_bytes(*old)), ContentId(Digest::from_bytes(*new)));
        let (len, rest) = rest.split_first_chunk().ok_or(Malformed::Length)?;
        let len = u64::from_le_bytes(*len);
        let len = usize::try_from(len).map_err(|_| Malformed::Length)?;
        let (manifest, tree) = rest.split_at_checked(len).ok_or(Malformed::Length)?;
        Ok(Self { old, new, manifest, tree })
    }

    /// Refuses what was made from another tree.
    pub(crate) fn check_base(&self, found: ContentId) -> Result<(), TreesError> {
        if self.old == found { Ok(()) } else { Err(TreesError::WrongBase { wanted: self.old, found }) }
    }

    /// The new manifest, and its encoded bytes: it is what it should be, and not longer than this, before it is read.
    pub(crate) fn manifest(&self, old: &[u8], at_most: u64) -> Result<(Manifest, Vec<u8>), TreesError> {
        let len = Declared::of(self.manifest)?.new_len;
        let most = at_most.min(content::manifest::MAX_ENCODED);
        let encoded = delta::apply(old, self.manifest, Budget { output: most, ..Budget::for_output(len.min(most)) })?;
        let found = ContentId(blob::build(&encoded).0.root);
        if found != self.new {
            return Err(TreesError::Differs { wanted: self.new, found });
        }
        let manifest = Manifest::decode(&encoded).map_err(|why| TreesError::Manifest(why.to_string()))?;
        Ok((manifest, encoded))
    }
}

/// The making of the files that a tree patch brings.
pub(crate) struct Making<'a> {
    pub(crate) sameness: Sameness,
    old: Side<'a>,
    tree: &'a [u8],
    lens: Vec<u64>,
    budget: Budget,
}

/// Why they were not all made.
pub(crate) enum Unmade<E> {
    /// The patch is to blame.
    Patch(TreesError),
    /// An old file cannot be read.
    Unread,
    /// Whoever takes the files failed.
    Taking(E),
}

impl<'a> Making<'a> {
    /// With as much of this budget as the patch needs.
    pub(crate) fn begin(old: Side<'a>, new: &Manifest, tree: &'a [u8], most: Budget) -> Result<Self, TreesError> {
        let sameness = Sameness::of(old.manifest, new);
        let lens = sameness.lens();
        let needed = tree_budget(old.files, &lens, tree)?;
        let budget = Budget { memory: needed.memory.min(most.memory), output: most.output };
        Ok(Self { sameness, old, tree, lens, budget })
    }

    /// Gives each file to `take`, with its entry in the new manifest. What is large comes from this room.
    pub(crate) fn run<E>(
        &self,
        room: &dyn Room,
        take: &mut dyn FnMut(usize, Made<'_>) -> Result<(), E>,
    ) -> Result<(), Unmade<E>> {
        let mut failed = None;
        let mut sink = |file: u32, made: Made<'_>| {
            take(self.sameness.entry(file), made).map_err(|error| {
                failed = Some(error);
                Stop
            })
        };
        let Self { old, lens, sameness, tree, budget } = self;
        let made = apply_tree_in(room, old.files, lens, &sameness.wanted, tree, *budget, &mut sink);
        match (made, failed) {
            (_, Some(error)) => Err(Unmade::Taking(error)),
            (Err(TreeError::Apply(error)), _) => Err(Unmade::Patch(error.into())),
            (Err(TreeError::Unread(_) | TreeError::Stopped), _) => Err(Unmade::Unread),
            (Ok(()), None) => Ok(()),
        }
    }

    /// What is the same, with what the tree patch says of it.
    pub(crate) fn into_sameness(self) -> Result<Sameness, TreesError> {
        let copies = tree_copies(self.old.files, &self.lens, self.tree)?;
        Ok(self.sameness.with(copies))
    }
}

/// The store's hands, at work for `delta`.
struct Working<'a>(&'a dyn Hands);

impl delta::tree::Hands for Working<'_> {
    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync)) {
        self.0.share(jobs, work);
    }
}
