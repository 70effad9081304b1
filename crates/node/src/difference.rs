//! What a deploy would change: the tree that was read here against a release that an origin holds.
//!
//! An operator's machine keeps no releases. The old side is asked for: the release as it was signed, and the pages of its manifest, each
//! verified against the one above it before it is believed. Where the manifests cannot tell whether a small file is the same,
//! the old pack that it stands in is asked for, too, so what comes over the network grows with what has changed.

use crate::client::{ClientError, Reader};
use content::attributes::Attributes;
use content::compare::{self, Aspect, Difference, Side, Stretch};
use content::encoding::Malformed;
use content::manifest::{Entry, Kind, compare_paths};
use content::{ContentId, ContentSpec, Digest, FleetId, Manifest, PieceNo, Release, ReleaseId, Root, blob};
use std::collections::BTreeSet;
use store::words;

/// Longer files are not read to find out whether they are the same: none that the manifests are unsure of is so long.
const LONGEST: u64 = 4 << 20;

/// What is different, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The release that it was compared with.
    pub release: ReleaseId,
    /// What people call that.
    pub version: String,
    /// Every entry that is not the same, in path order.
    pub changes: Vec<Change>,
    /// How many bytes of the content are not in that release: about what would be sent to a fleet that has it.
    pub would_send: u64,
    /// How many bytes the content has in all.
    pub bytes: u64,
}

/// An entry that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path, escaped; `.` for the tree itself.
    pub path: String,
    /// How.
    pub how: How,
    /// The length of the file that it was.
    pub before: Option<u64>,
    /// The length of the file that it would be.
    pub after: Option<u64>,
}

/// How an entry is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one, in these respects.
    Changed(Vec<Aspect>),
}

/// A manifest, what belongs to it, and the digests of all that is sent of it.
pub(crate) struct Known {
    content: ContentId,
    pages: u32,
    manifest: Manifest,
    attributes: Option<Attributes>,
    parts: Vec<(Digest, u64)>,
}

/// Something that gives pieces, believed or not.
pub(crate) trait Pieces {
    /// The bytes that are said to be a page or piece.
    fn read(&mut self, content: ContentId, piece: PieceNo)
    -> impl Future<Output = Result<Vec<u8>, ClientError>> + Send;
}

impl Pieces for Reader {
    async fn read(&mut self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ClientError> {
        Ok(self.piece(content, piece).await?.to_vec())
    }
}

/// Asks for a release, and believes it if an operator of this fleet has signed it.
pub(crate) async fn signed_release(
    reader: &mut Reader,
    (root, fleet): (&Root, FleetId),
    release: ReleaseId,
) -> Result<Release, ClientError> {
    let signed = reader.release(release).await?;
    if ReleaseId(signed.payload_digest()) != release {
        return Err(ClientError::Protocol(format!("another release came than {release}")));
    }
    root.verify_release(fleet, &signed).map_err(|why| ClientError::Protocol(format!("release {release}: {why}")))
}

/// Everything that a release's tree is, verified.
pub(crate) async fn known(
    from: &mut impl Pieces,
    content: &ContentSpec,
    attributes: Option<&ContentSpec>,
) -> Result<Known, ClientError> {
    let mut parts = Vec::new();
    let bytes = read_blob(from, content, &mut parts).await?;
    let malformed = |error: Malformed| ClientError::Protocol(error.to_string());
    let manifest = Manifest::decode(&bytes).map_err(malformed)?;
    parts.extend(manifest.pieces.iter().map(|piece| (piece.digest, u64::from(piece.len))));
    let attributes = match attributes {
        Some(spec) => Some(Attributes::decode(&read_blob(from, spec, &mut parts).await?).map_err(malformed)?),
        None => None,
    };
    Ok(Known { content: content.id(), pages: content.blob.shape().pages(), manifest, attributes, parts })
}

/// Reads a blob from its root page down, each page verified against the one above it; notes what its pages are.
async fn read_blob(
    from: &mut impl Pieces,
    spec: &ContentSpec,
    parts: &mut Vec<(Digest, u64)>,
) -> Result<Vec<u8>, ClientError> {
    let shape = spec.blob.shape();
    let (mut above, mut bytes): (Vec<Vec<u8>>, Vec<u8>) = (Vec::new(), Vec::new());
    for number in 0..shape.pages() {
        let digest = match shape.parent(number) {
            None => Some(spec.blob.root),
            Some(parent) => above.get(parent.page as usize).and_then(|page| blob::digest_at(page, parent.slot)),
        };
        let digest = digest.ok_or_else(|| ClientError::Protocol("a page of digests is too short".to_owned()))?;
        let page = from.read(spec.id(), PieceNo(number)).await?;
        blob::check_page(&shape, number, &page, digest)
            .map_err(|bad| ClientError::Protocol(format!("page {number} is not what the release says: {bad}")))?;
        parts.push((digest, page.len() as u64));
        match shape.leaves().contains(&number) {
            true => bytes.extend_from_slice(&page),
            false => above.push(page),
        }
    }
    Ok(bytes)
}

/// Compares two trees; bytes are read where the manifests cannot tell.
pub(crate) async fn compare(
    (old, from): (&Known, &mut impl Pieces),
    (new, here): (&Known, &mut impl Pieces),
) -> Result<(Vec<Change>, u64), ClientError> {
    let differences = compare::compare(old.side(), new.side());
    let (mut before, mut after) = (Open::new(old, from), Open::new(new, here));
    let mut changes = Vec::new();
    for mut difference in differences {
        if let (true, Some(one), Some(other)) = (difference.is_unsure, difference.old, difference.new)
            && before.file(one).await? != after.file(other).await?
        {
            difference
                .aspects
                .insert(difference.aspects.partition_point(|aspect| *aspect < Aspect::Content), Aspect::Content);
        }
        changes.extend(change(&old.manifest, &new.manifest, difference));
    }
    let there: BTreeSet<Digest> = old.parts.iter().map(|(digest, _)| *digest).collect();
    let would_send = new.parts.iter().filter(|(digest, _)| !there.contains(digest)).map(|(_, len)| len).sum();
    Ok((changes, would_send))
}

/// In words, unless there is nothing to say.
fn change(old: &Manifest, new: &Manifest, difference: Difference) -> Option<Change> {
    let entry = |manifest: &Manifest, index: Option<u32>| manifest.entries.get(index? as usize).cloned();
    let (before, after) = (entry(old, difference.old), entry(new, difference.new));
    let how = match (&before, &after) {
        (Some(_), None) => How::Removed,
        (None, _) => How::Added,
        (Some(_), Some(_)) if difference.aspects.is_empty() => return None,
        (Some(_), Some(_)) => How::Changed(difference.aspects),
    };
    let len = |entry: &Entry| if let Kind::File { len, .. } = entry.kind { Some(len) } else { None };
    let path = after.as_ref().or(before.as_ref()).map(|entry| entry.path.as_slice()).unwrap_or_default();
    let path = if path.is_empty() { ".".to_owned() } else { words::name(path) };
    Some(Change { path, how, before: before.as_ref().and_then(len), after: after.as_ref().and_then(len) })
}

/// The bytes of a file; `None` where there is no file, or a very long one.
pub(crate) async fn file(known: &Known, from: &mut impl Pieces, path: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
    let entries = &known.manifest.entries;
    let found = entries.binary_search_by(|entry| compare_paths(&entry.path, path)).ok();
    match found.filter(|index| matches!(entries[*index].kind, Kind::File { .. })) {
        Some(index) => Open::new(known, from).file(index as u32).await,
        None => Ok(None),
    }
}

impl Known {
    fn side(&self) -> Side<'_> {
        Side { manifest: &self.manifest, attributes: self.attributes.as_ref() }
    }
}

/// A tree whose files are read, and the piece that was read last.
struct Open<'a, P> {
    known: &'a Known,
    from: &'a mut P,
    last: Option<(u32, Vec<u8>)>,
}

impl<'a, P: Pieces> Open<'a, P> {
    fn new(known: &'a Known, from: &'a mut P) -> Self {
        Self { known, from, last: None }
    }

    /// The bytes of a file; nothing of one that is too long, which is then not the same as any.
    async fn file(&mut self, index: u32) -> Result<Option<Vec<u8>>, ClientError> {
        let stretches = self.known.manifest.stretches(index);
        let mut bytes = Vec::new();
        if stretches.iter().map(|stretch| stretch.len).sum::<u64>() > LONGEST {
            return Ok(None);
        }
        for Stretch { piece, offset, len } in stretches {
            match piece {
                None => bytes.resize(bytes.len() + len as usize, 0),
                Some(piece) => {
                    let all = self.piece(piece).await?;
                    bytes.extend_from_slice(&all[offset as usize..][..len as usize]);
                }
            }
        }
        Ok(Some(bytes))
    }

    async fn piece(&mut self, index: u32) -> Result<&[u8], ClientError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != index) {
            let expected = self.known.manifest.pieces[index as usize];
            let bytes = self.from.read(self.known.content, Manifest::piece_no(self.known.pages, index)).await?;
            if bytes.len() != expected.len as usize || Digest::of(&bytes) != expected.digest {
                return Err(ClientError::Protocol(format!("piece {index} is not what the manifest says")));
            }
            self.last = Some((index, bytes));
        }
        Ok(self.last.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use store::PieceSource;

    /// A content in memory; some of it may be forged.
    #[derive(Default)]
    struct Held(BTreeMap<(ContentId, PieceNo), Vec<u8>>);

    impl Pieces for Held {
        async fn read(&mut self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ClientError> {
            self.0.get(&(content, piece)).cloned().ok_or_else(|| ClientError::Protocol("not here".to_owned()))
        }
    }

    /// Reads a tree as a publisher does.
    fn read(fill: impl FnOnce(&std::path::Path)) -> (Held, ContentSpec, ContentSpec) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        fill(temp.path());
        let disk = std::sync::Arc::new(crate::disk::RealDisk::to_publish(0));
        let parent = disk.open_path(temp.path().parent().expect("it has one")).expect("a directory");
        let name = store::disk::Name::new(temp.path().file_name().expect("a name").as_encoded_bytes()).expect("a name");
        let (found, source) = store::import::import(disk, parent, &name, &mut |_| {}).expect("a good tree");
        let mut held = Held::default();
        for spec in [found.content, found.attributes] {
            for number in 0..spec.total() {
                let bytes = source.read(spec.id(), PieceNo(number)).expect("it is there");
                held.0.insert((spec.id(), PieceNo(number)), bytes);
            }
        }
        (held, found.content, found.attributes)
    }

    fn small(change: &'static str) -> impl FnOnce(&std::path::Path) {
        move |at| {
            for number in 0..30 {
                let text = if number == 7 { change } else { "as ever" };
                std::fs::write(at.join(format!("file-{number:02}")), format!("{number} {text}")).expect("a file");
            }
        }
    }

    async fn between(
        (mut old, old_content, old_attributes): (Held, ContentSpec, ContentSpec),
        (mut new, new_content, new_attributes): (Held, ContentSpec, ContentSpec),
    ) -> Result<(Vec<Change>, u64), ClientError> {
        let before = known(&mut old, &old_content, Some(&old_attributes)).await?;
        let after = known(&mut new, &new_content, Some(&new_attributes)).await?;
        compare((&before, &mut old), (&after, &mut new)).await
    }

    #[tokio::test]
    async fn of_many_small_files_in_a_pack_only_the_one_that_changed_is_named() {
        let (changes, would_send) = between(read(small("before")), read(small("after!"))).await.expect("verified");
        let [change] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((change.path.as_str(), &change.how), ("file-07", &How::Changed(vec![Aspect::Content])));
        assert_eq!((change.before, change.after), (Some(8), Some(8)));
        assert!(would_send > 0);
        let (same, _) = between(read(small("x")), read(small("x"))).await.expect("verified");
        assert!(same.is_empty(), "{same:?}");
    }

    #[tokio::test]
    async fn c1_a_page_or_pack_that_an_origin_forged_is_not_believed() {
        let original = read(small("before"));
        for key in original.0.0.keys().copied().collect::<Vec<_>>() {
            let (mut forged, content, attributes) = read(small("before"));
            let bytes = forged.0.get_mut(&(original.1.id(), key.1)).filter(|_| key.0 == original.1.id());
            let Some(byte) = bytes.and_then(|bytes| bytes.last_mut()) else { continue };
            *byte ^= 1;
            let why =
                between((forged, content, attributes), read(small("after!"))).await.expect_err("forged").to_string();
            assert!(why.contains("is not what the"), "{why}");
        }
    }
}
