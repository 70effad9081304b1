//! In a world without faults the origin sends each piece about once, and nobody is sent much twice.

use crate::net::Nr;
use crate::truth::Truth;
use content::ContentId;
use content::cut::Grain;
use std::collections::BTreeMap;

/// Payload bytes by content: what the origin sent, and what came to each node.
#[derive(Debug, Default)]
pub(crate) struct SentOnce {
    sent: BTreeMap<ContentId, u64>,
    came: BTreeMap<(Nr, ContentId), u64>,
}

/// Pieces beyond 1.3 copies that a small content may be sent: with a dozen pieces, two repeats are a sixth of it.
const SLACK: u64 = 2;

impl SentOnce {
    /// The origin sent a piece.
    pub(crate) fn sent(&mut self, content: ContentId, bytes: u64) {
        *self.sent.entry(content).or_default() += bytes;
    }

    /// A piece came to a node.
    pub(crate) fn came(&mut self, nr: Nr, content: ContentId, bytes: u64) {
        *self.came.entry((nr, content)).or_default() += bytes;
    }

    /// The first content that was sent too often, in words.
    pub(crate) fn wrong(&self, truth: &Truth) -> Option<String> {
        let sent = self.sent.iter().find_map(|(content, sent)| {
            let whole = too_much(truth, *content, *sent)?;
            Some(format!("the origin sent {sent} bytes of {content:?}, which has {whole}"))
        });
        sent.or_else(|| {
            self.came.iter().find_map(|((nr, content), came)| {
                let whole = too_much(truth, *content, *came)?;
                Some(format!("{came} bytes of {content:?}, which has {whole}, came to node {nr}"))
            })
        })
    }
}

/// The length of a content, if these bytes of it are too many.
fn too_much(truth: &Truth, content: ContentId, bytes: u64) -> Option<u64> {
    let mut specs = truth.releases.values().map(|known| known.release.content);
    let spec = specs.find(|spec| spec.id() == content)?;
    let whole = spec.bytes + spec.blob.len;
    let slack = SLACK * Grain::of(spec.bytes).max() as u64;
    (bytes > whole + whole * 3 / 10 + slack).then_some(whole)
}
