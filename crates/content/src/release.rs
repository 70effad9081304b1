//! A release: what an application is in one version, and how it is put live; signed where it is made.

use crate::care::{Health, Hooks};
use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::kept::{self, KeptPath};
use crate::manifest;
use crate::owner::Owner;
use crate::template;
use crate::{AppName, ContentSpec, FleetId, SoftwareVersion, UnixTime};

/// The version that has no hooks and no probes, which the oldest programs read; the one that has those; the one that has paths to keep and
/// files with values as well; and the newest, which may take the place of a directory, belong to one owner, have a command for when a
/// machine was started anew, or say which agents are too old for it.
const PLAIN: u8 = 1;
const CAREFUL: u8 = 2;
const KEEPING: u8 = 3;
const NEWEST: u8 = 4;

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
    /// What a node runs when it switches.
    pub hooks: Hooks,
    /// How it finds out whether the release is well.
    pub health: Health,
    /// What outlives the release, rising by path: each a link in its tree.
    pub kept: Vec<KeptPath>,
    /// Files of its tree into which each node puts its own values, rising by path ([`template`]).
    pub templates: Vec<Vec<u8>>,
    /// Whether it may take the place of a directory that stands at its path and that nobody laid out: that one is moved beside the
    /// releases, and is what a node goes back to.
    pub adopts: bool,
    /// To whom all of it belongs on each node, instead of to whom it belonged where it was published.
    pub owner: Option<Owner>,
    /// The oldest version of this program that may lay it out: an agent that is older refuses it.
    pub min_agent: Option<SoftwareVersion>,
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
        let has_owner = self.instructions.owner.is_some();
        rule(!has_owner || self.attributes.is_some(), "it is to have one owner, and has no attributes")?;
        self.instructions.check()
    }
}

impl Instructions {
    /// The longest target path, in bytes.
    pub const MAX_PATH: usize = 1024;
    /// A path and nothing else: no hooks, no probes, nothing that outlives it, no values; owners as they were, and nobody's place taken.
    pub fn plain(path: &[u8], health_window_ms: u32, keep: u8) -> Self {
        let (hooks, health, kept, templates) = (Hooks::default(), Health::default(), Vec::new(), Vec::new());
        let path = path.to_vec();
        Self {
            path,
            health_window_ms,
            keep,
            hooks,
            health,
            kept,
            templates,
            adopts: false,
            owner: None,
            min_agent: None,
        }
    }

    /// The longest health window, in milliseconds: a day.
    pub const MAX_HEALTH_WINDOW_MS: u32 = 24 * 60 * 60 * 1000;
    /// The most releases that are kept.
    pub const MAX_KEEP: u8 = 100;

    /// Refuses instructions that no release may carry.
    pub fn check(&self) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Release::WHAT, why);
        check_target_path(&self.path)
            .map_err(|bad| Malformed::new(Release::WHAT, format!("the target path: {bad}")))?;
        rule(self.health_window_ms <= Self::MAX_HEALTH_WINDOW_MS, "the health window is longer than a day")?;
        rule(self.keep <= Self::MAX_KEEP, "more than 100 releases are to be kept")?;
        self.hooks.check()?;
        self.health.check()?;
        kept::check(&self.kept)?;
        self.owner.as_ref().map_or(Ok(()), Owner::check)?;
        template::check_paths(&self.templates)
    }

    /// The first version of a release's encoding that can say all of it.
    pub fn version(&self) -> u8 {
        if self.adopts || self.owner.is_some() || self.hooks.boot.is_some() || self.min_agent.is_some() {
            return NEWEST;
        }
        let is_careful = !self.hooks.is_empty() || !self.health.is_empty();
        match (is_careful, self.kept.is_empty() && self.templates.is_empty()) {
            (false, true) => PLAIN,
            (true, true) => CAREFUL,
            (_, false) => KEEPING,
        }
    }

    fn put(&self, to: &mut Encoder) {
        to.bytes(&self.path).number(self.health_window_ms).byte(self.keep);
        let version = self.version();
        if version >= CAREFUL {
            to.value(&self.hooks).value(&self.health);
        }
        if version >= KEEPING {
            to.list(self.kept.iter()).count(self.templates.len());
            self.templates.iter().fold(&mut *to, |to, path| to.bytes(path));
        }
        if version >= NEWEST {
            to.byte(self.adopts.into()).option(self.owner.as_ref()).option(self.hooks.boot.as_ref());
            to.option(self.min_agent.as_ref());
        }
    }

    fn take(from: &mut Decoder<'_>, version: u8) -> Result<Self, Malformed> {
        let mut read = Self {
            path: from.bytes("the target path", Self::MAX_PATH)?.to_vec(),
            health_window_ms: from.number32("the health window")?,
            keep: from.byte()?,
            hooks: Hooks::default(),
            health: Health::default(),
            kept: Vec::new(),
            templates: Vec::new(),
            adopts: false,
            owner: None,
            min_agent: None,
        };
        if version >= CAREFUL {
            (read.hooks, read.health) = (from.value()?, from.value()?);
        }
        if version >= KEEPING {
            read.kept = from.list("the number of paths to keep", KeptPath::MOST, 3)?;
            let files = from.count("the number of files with values", template::MOST, 2)?;
            for _ in 0..files {
                read.templates.push(from.bytes("a path of a file with values", template::MAX_PATH)?.to_vec());
            }
        }
        if version >= NEWEST {
            read.adopts = from.within("whether it takes a directory's place", 0..=1)? == 1;
            read.owner = from.option()?;
            read.hooks.boot = from.option()?;
            read.min_agent = from.option()?;
        }
        // One release has one encoding.
        let is_shortest = version == read.version();
        require(is_shortest, Release::WHAT, "it says no more than an older version can, and is in a newer one")?;
        Ok(read)
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

impl Encode for Release {
    const WHAT: &'static str = "release";

    fn put(&self, to: &mut Encoder) {
        to.header_in(Document::Release, self.instructions.version());
        to.value(&self.fleet).value(&self.app).text(&self.version).value(&self.created);
        to.value(&self.content).option(self.attributes.as_ref()).number(self.entries).number(self.size);
        self.instructions.put(to);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let version = from.header_up_to(Document::Release, NEWEST)?;
        let release = Self {
            fleet: from.value()?,
            app: from.value()?,
            version: from.text("the version", Self::MAX_VERSION)?,
            created: from.value()?,
            content: from.value()?,
            attributes: from.option()?,
            entries: from.number32("the number of entries")?,
            size: from.number()?,
            instructions: Instructions::take(from, version)?,
        };
        release.check()?;
        Ok(release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Header, PIECE_LEN};
    use crate::{BlobRef, Digest, PayloadKind, SigningKey};

    fn release() -> Release {
        let blob = |len| BlobRef { root: Digest::of(b"root"), len };
        Release {
            fleet: FleetId(Digest::of(b"fleet")),
            app: AppName::new("web").expect("a plain name"),
            version: "1.2.3+déjà".to_owned(),
            created: UnixTime(1_700_000_000),
            content: ContentSpec { blob: blob(1000), pieces: 2, bytes: 100_000 },
            attributes: Some(ContentSpec { blob: blob(50), pieces: 0, bytes: 0 }),
            entries: 3,
            size: 120_000,
            instructions: Instructions::plain(b"/srv/\xffapp", 5000, 3),
        }
    }

    #[test]
    fn a_release_round_trips() {
        assert_eq!(Release::decode(&release().encode()), Ok(release()));
        let bare = Release { attributes: None, ..release() };
        assert_eq!(Release::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn what_no_release_may_say_is_refused() {
        let refused = |why: &str, change: &dyn Fn(&mut Release)| {
            let mut bad = release();
            change(&mut bad);
            let error = Release::decode(&bad.encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
            assert!(bad.check().is_err(), "{why}: refused before signing, too");
        };
        refused("the version", &|r| r.version = "v".repeat(65));
        refused("the version is empty", &|r| r.version.clear());
        refused("U+000A", &|r| r.version = "1\n2".to_owned());
        refused("contradict", &|r| r.content.bytes = 1);
        refused("contradict", &|r| r.content.bytes = 2 * 128 * 1024 + 1);
        refused("no manifest of that length", &|r| r.content.blob.len = (Header::LEN + 2 * PIECE_LEN) as u64 - 1);
        refused("no manifest of that length", &|r| r.content.blob.len = manifest::MAX_ENCODED + 1);
        refused("no entries", &|r| r.entries = 0);
        refused("no entries, or too many", &|r| r.entries = manifest::MAX_ENTRIES + 1);
        refused("too long", &|r| r.size = manifest::MAX_SIZE + 1);
        refused("not a plain blob", &|r| r.attributes = Some(r.content));
        refused("not absolute", &|r| r.instructions.path = b"srv/app".to_vec());
        refused("longer than a day", &|r| r.instructions.health_window_ms = 86_400_001);
        refused("more than 100", &|r| r.instructions.keep = 101);
    }

    #[test]
    fn d20_what_says_no_more_is_encoded_as_before_and_what_does_is_of_a_newer_version() {
        use crate::kept::KeptKind;
        let version = |release: &Release| release.encode()[Document::HEADER_LEN - 1];
        let mut changed = release();
        assert_eq!(version(&changed), 1);
        changed.instructions.kept = vec![KeptPath {
            path: b"up/loads".to_vec(),
            kind: KeptKind::Directory { mode: 0o750, owner: Some((1, 2)) },
        }];
        assert_eq!(version(&changed), 3);
        assert_eq!(Release::decode(&changed.encode()), Ok(changed.clone()));
        // It must be in no newer version than it needs.
        let mut padded = changed.encode();
        let count_and_path = 1 + changed.instructions.kept[0].encode().len();
        padded.truncate(padded.len() - count_and_path - 1);
        padded.extend([0, 0]);
        assert!(Release::decode(&padded).expect_err("nothing is kept").to_string().contains("older version"));
        let newer = |version| {
            let mut bytes = changed.encode();
            bytes[Document::HEADER_LEN - 1] = version;
            Release::decode(&bytes).expect_err("of another version")
        };
        assert!(newer(NEWEST + 1).is_newer && !newer(1).is_newer);
        changed.instructions.templates = vec![b"conf/app.conf".to_vec(), b"motd".to_vec()];
        assert_eq!(Release::decode(&changed.encode()), Ok(changed.clone()));
        let mut booting = changed.clone();
        booting.instructions.hooks.boot =
            Some(crate::care::Hook { line: "systemctl start web".to_owned(), user: None, timeout_ms: 1000 });
        assert_eq!((version(&changed), version(&booting)), (3, 4));
        assert_eq!(Release::decode(&booting.encode()), Ok(booting.clone()));
        booting.instructions.hooks.boot.as_mut().expect("it is there").line.clear();
        assert!(booting.check().is_err() && Release::decode(&booting.encode()).is_err());
        changed.instructions.kept[0].path = b"../x".to_vec();
        assert!(changed.check().is_err() && Release::decode(&changed.encode()).is_err());
    }

    #[test]
    fn d20_what_takes_a_directorys_place_or_has_one_owner_is_of_version_4_and_nothing_else_is() {
        let version = |release: &Release| release.encode()[Document::HEADER_LEN - 1];
        let owner = |text: &str| Some(text.parse::<Owner>().expect("an owner"));
        for (adopts, owner) in [(true, None), (false, owner("app")), (true, owner("app:www-data"))] {
            let mut changed = release();
            (changed.instructions.adopts, changed.instructions.owner) = (adopts, owner);
            assert_eq!(version(&changed), 4);
            assert_eq!(Release::decode(&changed.encode()), Ok(changed.clone()));
        }
        let mut padded = release();
        padded.instructions.adopts = true;
        let mut padded = padded.encode();
        let adopts = padded.len() - 4;
        padded[adopts] = 0;
        assert!(Release::decode(&padded).expect_err("neither").to_string().contains("older version"));
        padded[adopts] = 2;
        assert!(Release::decode(&padded).is_err(), "yes and no have one form each");
    }

    #[test]
    fn f1_a_target_path_is_absolute_and_has_only_normal_components() {
        let long = [b"/".as_slice(), &[b'x'; 256]].concat();
        let longer = b"/abc".repeat(257);
        let cases: &[(&[u8], BadTarget)] = &[
            (b"", BadTarget::Relative),
            (b"srv", BadTarget::Relative),
            (b"../srv", BadTarget::Relative),
            (b"/", BadTarget::RootDirectory),
            (b"//", BadTarget::Climbs),
            (b"//srv", BadTarget::Climbs),
            (b"/srv/", BadTarget::Climbs),
            (b"/srv//app", BadTarget::Climbs),
            (b"/srv/./app", BadTarget::Climbs),
            (b"/srv/../etc", BadTarget::Climbs),
            (b"/srv/..", BadTarget::Climbs),
            (b"/srv\0", BadTarget::Nul),
            (&long, BadTarget::TooLong),
            (&longer, BadTarget::TooLong),
        ];
        for (path, bad) in cases {
            assert_eq!(check_target_path(path), Err(bad.clone()), "{}", path.escape_ascii());
        }
        for good in [&b"/srv/app"[..], b"/a", b"/srv/..app/...", b"/srv/\xff", &longer[..1024]] {
            assert_eq!(check_target_path(good), Ok(()), "{}", good.escape_ascii());
        }
    }

    #[test]
    fn g15_a_release_is_not_an_order() {
        assert!(crate::Order::decode(&release().encode()).is_err());
        let signed = SigningKey::from_secret(&[1; 32]).sign(PayloadKind::Release, release().encode());
        assert!(Release::decode(&signed.encode()).is_err(), "nor is a signed one a bare one");
    }
}
