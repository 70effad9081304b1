//! Putting a node's own values into the files of a release that ask for them.
//!
//! What comes of it is not kept anywhere but in the laid-out tree: it follows from the release and from who the node is, so whoever verifies
//! the tree makes it again. Nothing is written here.

use crate::Store;
use crate::disk::Disk;
use crate::keep::{refused, unread};
use crate::plan::{Pack, Plan};
use crate::words;
use content::manifest::{Extent, Kind, compare_paths};
use content::template::{self, Values};
use content::{Release, ReleaseId};
use engine::door::JobError;
use std::collections::BTreeMap;

/// The bytes of files with values, by path.
pub(crate) type Rendered = BTreeMap<Vec<u8>, Vec<u8>>;

impl<D: Disk> Store<D> {
    /// Puts the values into every file of a release that asks for them; a file that is none, or asks for what is not known here, is refused.
    pub(crate) fn render(&self, plan: &Plan<D>, id: ReleaseId, release: &Release) -> Result<Rendered, JobError> {
        let options = &self.shelves.options;
        let values = Values {
            node: &options.node,
            labels: &options.labels,
            app: &release.app,
            version: &release.version,
            release: id,
        };
        let one = |path: &Vec<u8>| {
            let bytes = self.template(plan, path)?;
            let rendered = template::render(&bytes, &values);
            let rendered = rendered.map_err(|bad| refused(format!("{}: {bad}", words::name(path))))?;
            Ok((path.clone(), rendered))
        };
        release.instructions.templates.iter().map(one).collect()
    }

    /// The bytes of a file as it was published.
    fn template(&self, plan: &Plan<D>, path: &[u8]) -> Result<Vec<u8>, JobError> {
        let found = plan.manifest.entries.binary_search_by(|entry| compare_paths(&entry.path, path)).ok();
        let Some(Kind::File { len, extents, .. }) = found.map(|index| &plan.manifest.entries[index].kind) else {
            return Err(refused(format!("{} is to be given values, and is no file of the release", words::name(path))));
        };
        if *len > template::MAX_LEN as u64 {
            return Err(refused(format!("{} is to be given values, and is too long for it", words::name(path))));
        }
        let (mut bytes, mut pack) = (Vec::new(), Pack::default());
        for extent in extents {
            match *extent {
                Extent::Pieces { first, count } => {
                    for index in first..first + count {
                        let piece = self.shelves.read_piece(&plan.holding, index);
                        bytes.extend(piece.map_err(|why| unread(&plan.holding, why))?);
                    }
                }
                Extent::Part { piece, offset, len } => {
                    bytes.extend_from_slice(pack.part(&self.shelves, &plan.holding, (piece, offset, len))?);
                }
                Extent::Hole { len } => bytes.resize(bytes.len() + len as usize, 0),
            }
        }
        Ok(bytes)
    }
}
