//! In a world without faults the origin sends each piece about once.

use crate::truth::Truth;
use content::ContentId;
use std::collections::BTreeMap;

/// Bytes that the origin sent, by content.
#[derive(Debug, Default)]
pub(crate) struct SentOnce(BTreeMap<ContentId, u64>);

/// Pieces that a small content may be sent beyond 1.3 copies: with a dozen pieces, two repeats are a sixth of it.
const SLACK_BYTES: u64 = 2 * 128 * 1024;

impl SentOnce {
    /// The origin sent a piece.
    pub(crate) fn sent(&mut self, content: ContentId, bytes: u64) {
        *self.0.entry(content).or_default() += bytes;
    }

    /// The first content that was sent too often, in words.
    pub(crate) fn wrong(&self, truth: &Truth) -> Option<String> {
        self.0.iter().find_map(|(content, sent)| {
            let spec = truth.releases.values().map(|known| known.release.content).find(|spec| spec.id() == *content)?;
            let whole = spec.bytes + spec.blob.len;
            let too_much = *sent > whole + whole * 3 / 10 + SLACK_BYTES;
            too_much.then(|| format!("the origin sent {sent} bytes of {content:?}, which has {whole}"))
        })
    }
}
