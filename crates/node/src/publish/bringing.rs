//! What a publisher may bring beside a tree: a patch from what was deployed before. An origin that has that release makes the new one of both, and
//! what spreads from there are pieces, or the same patch to nodes that run its base. Whoever has no use for it fetches pieces.
//!
//! Nothing depends on it: the origin compares each piece that it makes with its digest, and a patch that does not do costs its bytes.

use super::{DeployError, DeployOptions, standing};
use crate::hands::Threads;
use crate::trees::MEMORY;
use content::fact::Offer;
use engine::door::Wish;
use std::path::Path;
use store::Patch;
use store::import::{Found, Terms};
use store::trees::{Effort, READS};

/// A patch from `base` to what was found in `source`, both read as the options say; none when it would be no shorter than that.
pub(crate) async fn patch(
    base: &Path,
    source: &Path,
    found: &Found,
    options: &DeployOptions,
) -> Result<Option<(Offer, Patch)>, DeployError> {
    let of_base = |error| DeployError::Base { path: base.to_owned(), source: error };
    let (disk, old, mapping) = standing(base, &options.mapping)?;
    let (_, new, _) = standing(source, &options.mapping)?;
    let (patterns, kept) = (options.patterns, options.kept.clone());
    let effort = if options.wish == Wish::Patches(engine::door::Effort::Best) { Effort::Best } else { Effort::Fast };
    let working = tokio::task::spawn_blocking(move || {
        let terms = Terms { patterns, kept: &kept, mapping: Some(&mapping) };
        store::trees::between(&Threads::all(), &terms, &disk, (&old, &new), effort, MEMORY)
    });
    let broken = |broken| DeployError::Invalid(format!("the patch broke off: {broken}"));
    let made = working.await.map_err(broken)?.map_err(of_base)?;
    let target = found.content;
    if made.new != target.id() || made.old == made.new || made.patch.len() as u64 >= target.bytes {
        return Ok(None);
    }
    let patch = Patch::of(&made.patch);
    let format = READS.last().copied().unwrap_or_default();
    Ok(Some((Offer { base: made.old, target: target.id(), patch: patch.spec(), format }, patch)))
}
