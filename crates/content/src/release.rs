//! A release: what an application is in one version, and how it is put live; signed where it is made.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::manifest;
use crate::{AppName, ContentSpec, FleetId, UnixTime};

/// The payload of a signed release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The fleet it is for; any other refuses it.
    pub fleet: FleetId,
    /// The application.
    pub app: AppName,
    /// What people call this version; 1 to 64 bytes of UTF-8 without control characters.
    pub version: String,
    /// When it was made.
    pub created: UnixTime,
    /// The content: a manifest and its pieces.
    pub content: ContentSpec,
    /// Modification times and owners, beside the content: a plain blob ([`crate::attributes`]).
    pub attributes: Option<ContentSpec>,
    /// How many entries the manifest has, and the sum of its files' lengths in bytes: bounds for whoever lays it out.
    pub entries: u32,
    /// The sum of the lengths of all regular files, in bytes.
    pub size: u64,
    /// How it is put live.
    pub instructions: Instructions,
}

/// How a release is put live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instructions {
    /// The absolute path of the symlink that is swung, bytes as on disk: normal components only, at most 1,024 bytes.
    pub path: Vec<u8>,
    /// How long a node must stay healthy after the switch before it is confirmed, in milliseconds; a day at most.
    pub health_window_ms: u32,
    /// How many laid-out releases a node keeps besides the live one; 100 at most.
    pub keep: u8,
}

impl Release {
    /// The longest version text, in bytes.
    pub const MAX_VERSION: usize = 64;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }

    /// Refuses a release that no one may make; whoever makes one asks before signing, decoding asks by itself.
    pub fn check(&self) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Self::WHAT, why);
        check_text(Self::WHAT, "the version", &self.version, Self::MAX_VERSION)?;
        rule(!self.version.is_empty(), "the version is empty")?;
        rule(self.content.is_plausible(), "its pieces and bytes contradict each other")?;
        rule(
            manifest::can_name(self.content.blob.len, self.content.pieces),
            "no manifest of that length has such pieces",
        )?;
        rule((1..=manifest::MAX_ENTRIES).contains(&self.entries), "it has no entries, or too many")?;
        rule(self.size <= manifest::MAX_SIZE, "its files are too long")?;
        let plain = |spec: &ContentSpec| spec.is_plausible() && spec.pieces == 0;
        rule(self.attributes.as_ref().is_none_or(plain), "its attributes are not a plain blob")?;
        self.instructions.check()
    }
}

impl Instructions {
    /// The longest target path, in bytes.
    pub const MAX_PATH: usize = 1024;
    /// The longest health window, in milliseconds: a day.
    pub const MAX_HEALTH_WINDOW_MS: u32 = 24 * 60 * 60 * 1000;
    /// The most releases that are kept.
    pub const MAX_KEEP: u8 = 100;

    fn check(&self) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Release::WHAT, why);
        check_target_path(&self.path)
            .map_err(|bad| Malformed::new(Release::WHAT, format!("the target path: {bad}")))?;
        rule(self.health_window_ms <= Self::MAX_HEALTH_WINDOW_MS, "the health window is longer than a day")?;
        rule(self.keep <= Self::MAX_KEEP, "more than 100 releases are to be kept")
    }
}

/// Why a path cannot be the target of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It does not begin with `/`.
    #[error("it is not absolute")]
    Relative,
    /// It is `/` itself.
    #[error("it is the root directory, which cannot be a symlink")]
    RootDirectory,
    /// Empty component, `.` or `..`.
    #[error("it has an empty, `.` or `..` component")]
    Climbs,
    /// A NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
    /// A component over 255 bytes, or all of it over 1,024 bytes.
    #[error("it is too long")]
    TooLong,
}

/// Checks the absolute path of a release's symlink: normal components only.
pub fn check_target_path(path: &[u8]) -> Result<(), BadTarget> {
    let relative = path.strip_prefix(b"/").ok_or(BadTarget::Relative)?;
    if relative.is_empty() {
        return Err(BadTarget::RootDirectory);
    }
    if path.contains(&0) {
        return Err(BadTarget::Nul);
    }
    if path.len() > Instructions::MAX_PATH || relative.split(|&c| c == b'/').any(|name| name.len() > manifest::MAX_NAME)
    {
        return Err(BadTarget::TooLong);
    }
    match relative.split(|&c| c == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
        true => Err(BadTarget::Climbs),
        false => Ok(()),
    }
}

impl Encode for Instructions {
    const WHAT: &'static str = "deploy instructions";

    fn put(&self, to: &mut Encoder) {
        to.bytes(&self.path).number(self.health_window_ms).byte(self.keep);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            path: from.bytes("the target path", Self::MAX_PATH)?.to_vec(),
            health_window_ms: from.number32("the health window")?,
            keep: from.byte()?,
        })
    }
}

impl Encode for Release {
    const WHAT: &'static str = "release";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Release).value(&self.fleet).value(&self.app).text(&self.version).value(&self.created);
        to.value(&self.content).option(self.attributes.as_ref()).number(self.entries).number(self.size);
        to.value(&self.instructions);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Release)?;
        let release = Self {
            fleet: from.value()?,
            app: from.value()?,
            version: from.text("the version", Self::MAX_VERSION)?,
            created: from.value()?,
            content: from.value()?,
            attributes: from.option()?,
            entries: from.number32("the number of entries")?,
            size: from.number()?,
            instructions: from.value()?,
        };
        release.check()?;
        Ok(release)
    }
}
