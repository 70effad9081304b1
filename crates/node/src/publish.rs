//! Publishing: a tree is cut, hashed and signed where it is, and served until the origin holds it durably.
//!
//! A publisher is a node of its own for a short while: the same engine and driver, with the tree itself as the source of its
//! pieces and no store. Whatever happens to it before the order stands in the journal, nothing has been deployed.

mod bringing;

use crate::api::{FleetStatus, Refusal, ReleaseStatus, RolloutState, RolloutStatus};
use crate::client::{Client, ClientError, OperatorKeys, Reader};
use crate::difference::{self, Changes, Pieces};
use crate::disk::RealDisk;
use crate::driver::{Driver, Handle, Host, INBOX, Incoming, Parts, Shelf};
use crate::founding;
use crate::hands::Threads;
use crate::home::{self, FleetFile};
use crate::identity::wall_clock;
use crate::selection::{BadSelection, Demands, Selection, WhenAway, check_readers, lacking};
use content::care::{Health, Hooks};
use content::directive::Verb;
use content::encoding::Malformed;
use content::fact::Offer;
use content::kept::KeptPath;
use content::order::{Restraint, Unreachable, Wave};
use content::owner::Owner;
use content::release::Instructions;
use content::{
    Act, AppName, Bitmap, ContentId, ContentSpec, Directive, FleetId, Label, Order, OrderId, PayloadKind, PieceNo,
    Rate, Release, ReleaseId, Role, Selector, Signed, SigningKey, SoftwareVersion, UnixTime,
};
use engine::door::{Answer, Config, Held, Recovered, Request};
pub use engine::door::{Effort, Wish};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::disk::Name;
use store::import::{Found, Source, Terms};
pub use store::import::{ImportError, Kinds, LeftOut, Mapping, ModeChange, Patterns};
use store::trees::Place;
use store::{Bringing, Patch, PieceSource};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// What to deploy where, and how carefully.
#[derive(Debug, Clone)]
pub struct DeployOptions {
    /// The application's name.
    pub app: String,
    /// The absolute path of the symlink that is swung on every node.
    pub path: PathBuf,
    /// What people call this version; made from the clock and the content when absent.
    pub version: Option<String>,
    /// Why, in the operator's words.
    pub message: String,
    /// How long a node must stay healthy before it is confirmed.
    pub health_window: Duration,
    /// How many nodes may fail before the rollout halts.
    pub budget: u32,
    /// What else holds its waves back, and for how long at most.
    pub restraint: Restraint,
    /// Whether whoever deploys will say something about the rollout later, and must be allowed to.
    pub steers: Steers,
    /// How many laid-out releases a node keeps besides the live one.
    pub keep: u8,
    /// The waves; the last is everyone.
    pub waves: Vec<Wave>,
    /// What a node runs when it switches.
    pub hooks: Hooks,
    /// How it finds out whether the release is well.
    pub health: Health,
    /// Which nodes.
    pub selector: Selector,
    /// What is done about those of them that are away.
    pub when_away: WhenAway,
    /// Whether it is meant although it goes to many more nodes than before.
    pub is_sure: bool,
    /// Whether it is meant although it is of quite another size than the release before.
    pub is_resized: bool,
    /// How many bytes of pieces are sent in a second at most.
    pub limit: Option<Rate>,
    /// Whether it is worth patches from what nodes run.
    pub wish: Wish,
    /// What was deployed before: a patch from it is brought to an origin that has that release.
    pub base: Option<PathBuf>,
    /// Whether the tree's own patterns are honoured.
    pub patterns: Patterns,
    /// What outlives releases, rising by path.
    pub kept: Vec<KeptPath>,
    /// Files into which each node puts its own values, rising by path.
    pub templates: Vec<Vec<u8>>,
    /// Whether it may take the place of a directory that stands at the path.
    pub adopts: bool,
    /// To whom all of it belongs on each node.
    pub owner: Option<Owner>,
    /// What owners and modes of the tree become.
    pub mapping: Mapping,
    /// The oldest version of this program whose agents may lay it out.
    pub min_agent: Option<SoftwareVersion>,
}

/// Whether whoever deploys will steer the rollout as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Steers {
    /// It only deploys.
    #[default]
    No,
    /// It promotes and aborts, by a command that it has given.
    ByCommand,
}

impl DeployOptions {
    /// The usual: one wave, a short health window, two releases kept.
    pub fn new(app: &str, path: &Path) -> Self {
        Self {
            app: app.to_owned(),
            path: path.to_owned(),
            version: None,
            message: String::new(),
            health_window: Duration::from_secs(1),
            budget: 0,
            restraint: Restraint::default(),
            steers: Steers::No,
            keep: 2,
            waves: vec![Wave::PerMille(1000)],
            hooks: Hooks::default(),
            health: Health::default(),
            selector: Selector::default(),
            when_away: WhenAway::Skip,
            is_sure: false,
            is_resized: false,
            limit: None,
            wish: Wish::default(),
            base: None,
            patterns: Patterns::Honoured,
            kept: Vec::new(),
            templates: Vec::new(),
            adopts: false,
            owner: None,
            mapping: Mapping::default(),
            min_agent: None,
        }
    }
}

impl DeployOptions {
    /// Refuses what no release and no order may say, before anything is read.
    pub fn check(&self) -> Result<(), Malformed> {
        self.instructions().check()?;
        content::order::check_waves(&self.waves)?;
        self.restraint.check(self.waves.len())
    }

    fn instructions(&self) -> Instructions {
        Instructions {
            path: self.path.as_os_str().as_bytes().to_vec(),
            health_window_ms: u32::try_from(self.health_window.as_millis()).unwrap_or(u32::MAX),
            keep: self.keep,
            hooks: self.hooks.clone(),
            health: self.health.clone(),
            kept: self.kept.clone(),
            templates: self.templates.clone(),
            adopts: self.adopts,
            owner: self.owner.clone(),
            min_agent: self.min_agent,
        }
    }

    /// How long a node may be at its switch without a word: its commands, and its window.
    pub fn longest_switch(&self) -> Duration {
        let commands = [&self.hooks.before, &self.hooks.after, &self.hooks.back].into_iter().flatten();
        let commands: u64 = commands.map(|hook| u64::from(hook.timeout_ms)).sum();
        self.health_window + Duration::from_millis(commands)
    }
}

/// How far a deploy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The tree is being read.
    Reading {
        /// Bytes read so far.
        bytes: u64,
    },
    /// Whom it is for, before anything is sent.
    Selected(Selection),
    /// The tree was read; nothing was sent yet.
    Found {
        /// Entries of the manifest.
        entries: u32,
        /// The sum of the files' lengths.
        bytes: u64,
        /// Things of the tree that people may want to know: what is not carried, names that some disks do not tell apart.
        notes: Vec<String>,
        /// What the tree's own patterns left out.
        left_out: Vec<LeftOut>,
    },
    /// A patch from what was deployed before is being made.
    Patching,
    /// There is one, which an origin takes that has that; none if it would be no shorter.
    Patch {
        /// Its bytes.
        bytes: Option<u64>,
    },
    /// Signed; the origin is being dialled.
    Submitted {
        /// The release.
        release: ReleaseId,
        /// Its version.
        version: String,
    },
    /// The origin takes it, and agents stage it.
    Spreading {
        /// Payload bytes that this publisher has sent.
        sent: u64,
        /// Bytes of the content in all.
        total: u64,
    },
    /// The order stands in the journal: the publisher may go.
    Ordered {
        /// The order's epoch.
        epoch: u64,
        /// The order.
        order: OrderId,
        /// Payload bytes that this publisher has sent.
        sent: u64,
    },
}

/// What was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The application.
    pub app: String,
    /// The release.
    pub release: ReleaseId,
    /// What people call it.
    pub version: String,
    /// The order.
    pub order: OrderId,
    /// Its epoch.
    pub epoch: u64,
    /// Which agents it selects.
    pub selector: Selector,
}

/// Why a deploy did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The options make no sense.
    #[error("{0}")]
    Invalid(String),
    /// The tree cannot be published.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The origin could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It would go to nobody, or to more than was surely meant, or to someone who is away.
    #[error(transparent)]
    Selection(#[from] BadSelection),
    /// It is far smaller or larger than the release before, as an empty build directory is.
    #[error("it has {now} bytes, and the release before has {before}")]
    Unusual {
        /// How many bytes it has.
        now: u64,
        /// How many the release of the newest order has.
        before: u64,
    },
    /// A command was given as a gate, and this key may not say what it comes to.
    #[error("a command as a gate says `promote` and `abort`, which takes the power steer, and {who} may do: {powers}")]
    Powerless {
        /// Who.
        who: String,
        /// What that operator may do, in words.
        powers: String,
    },
    /// Another deploy from this operator's home is under way.
    #[error("another deploy with these keys is under way: {0}; wait for it, or stop it")]
    Busy(String),
    /// There is no patch from what was deployed before.
    #[error("a patch from {path}: {source}")]
    Base {
        /// What should be that.
        path: PathBuf,
        /// Why.
        source: store::trees::TreesError,
    },
    /// The source cannot be opened.
    #[error("{path}: {source}")]
    Source {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl DeployError {
    /// Whether the same may go well in a while: no origin answered, or it could not write.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Client(ClientError::Refused(refusal)) => matches!(refusal, Refusal::Failed { .. }),
            Self::Client(ClientError::Unreachable(_)) => true,
            _ => false,
        }
    }
}

/// How long ago it may have been asked where everything stands.
const FRESH: Duration = Duration::from_secs(1);
/// How often progress is told while pieces are sent.
const TELL: Duration = Duration::from_millis(100);
/// The file by which one operator's home publishes one thing at a time.
const LOCK: &str = "publish.lock";

/// Reads `source` (a directory or a file), signs it, and serves it until its order stands in the fleet's journal.
pub async fn deploy(
    operator_home: &Path,
    source: &Path,
    options: &DeployOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Deployed, DeployError> {
    let app = checked(options)?;
    let (keys, client) = (OperatorKeys::read(operator_home)?, Client::open(operator_home)?);
    let _alone = lock(operator_home, &app, &keys.fleet.operator)?;
    let began = Instant::now();
    may_steer((operator_home, &client, &keys), &app, options).await?;
    let (status, selection, found, tree) = look(&client, source, &app, options, &mut progress).await?;
    let (entries, bytes, notes, left_out) = (found.entries, found.size, found.notes.clone(), found.left_out.clone());
    progress(Progress::Selected(selection));
    progress(Progress::Found { entries, bytes, notes, left_out });
    let patch = match &options.base {
        Some(base) => {
            progress(Progress::Patching);
            Some(bringing::patch(base, source, &found, options).await?)
        }
        None => None,
    };
    if let Some(patch) = &patch {
        progress(Progress::Patch { bytes: patch.as_ref().map(|(offer, _)| offer.patch.blob.len) });
    }
    // What was ordered since then would make this order a stale one, which the origin says; the longer ago, the likelier. And who is
    // there may have changed as well.
    let status = match began.elapsed() < FRESH {
        true => status,
        false => {
            let status = client.status().await?;
            make_sense(&status, &app, options, &found)?;
            status
        }
    };
    let standing = standing_of(&status, &app)?;
    let signing = signing_key(operator_home)?;
    let papers = Papers::sign(&signing, keys.id, &app, &found, options, &standing)?;
    progress(Progress::Submitted { release: papers.release_id(), version: papers.version.clone() });
    let brought = (found, tree, patch.flatten());
    let (order, epoch, sent) =
        serve_until_ordered((keys, options.limit, options.wish), brought, &papers, &mut progress).await?;
    progress(Progress::Ordered { epoch, order, sent });
    let (release, version) = (papers.release_id(), papers.version);
    Ok(Deployed { app: options.app.clone(), release, version, order, epoch, selector: options.selector.clone() })
}

/// What a deploy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// Whom it would go to.
    pub selection: Selection,
    /// Entries of the manifest.
    pub entries: u32,
    /// The sum of the files' lengths.
    pub bytes: u64,
    /// Things of the tree that people may want to know.
    pub notes: Vec<String>,
    /// What the tree's own patterns left out.
    pub left_out: Vec<LeftOut>,
    /// What the origin would refuse it for now.
    pub busy: Option<String>,
    /// For how many agents each wave opens, those of earlier waves included.
    pub waves: Vec<usize>,
    /// The version that agents would go back to.
    pub fallback: Option<String>,
    /// What it would change of the release that is ordered now; why that is not known, otherwise.
    pub changes: Result<Changes, String>,
}

/// Finds out what a deploy would do, with all that it refuses, and does nothing of it.
pub async fn rehearse(
    operator_home: &Path,
    source: &Path,
    options: &DeployOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Rehearsal, DeployError> {
    let app = checked(options)?;
    let client = Client::open(operator_home)?;
    may_steer((operator_home, &client, &OperatorKeys::read(operator_home)?), &app, options).await?;
    let (status, selection, found, mut tree) = look(&client, source, &app, options, &mut progress).await?;
    let standing = standing_of(&status, &app)?;
    // Signed as it would be, so that what no order may say is found now, and dropped.
    let keys = OperatorKeys::read(operator_home)?;
    Papers::sign(&signing_key(operator_home)?, keys.id, &app, &found, options, &standing)?;
    let is_busy = rollout_of(&status, &app).is_some_and(|rollout| rollout.state == RolloutState::Spreading);
    let busy = is_busy.then(|| "another deploy of it is under way, and would have to end before".to_owned());
    let fallback = standing.fallback.map(|release| release.to_string());
    let known = rollout_of(&status, &app).map(|rollout| rollout.releases.as_slice()).unwrap_or_default();
    let version = |id: String| known.iter().find(|of| of.release == id).map_or(id.clone(), |of| of.version.clone());
    let chosen = selection.chosen;
    let changes = match rollout_of(&status, &app).map(ordered) {
        Some(Ok(release)) => match Old::ask(&client, &keys, release).await {
            Ok(mut old) => old.changes(&found, &mut tree).await.map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        },
        Some(Err(why)) => Err(why.to_string()),
        None => Err(format!("nothing of {app} was deployed before")),
    };
    Ok(Rehearsal {
        changes,
        entries: found.entries,
        bytes: found.size,
        notes: found.notes,
        left_out: found.left_out,
        busy,
        waves: options.waves.iter().map(|wave| wave.of(chosen).min(chosen)).collect(),
        fallback: fallback.map(version),
        selection,
    })
}

/// What to compare a tree with.
#[derive(Debug, Clone)]
pub struct DiffOptions {
    /// The application.
    pub app: String,
    /// A version or a release id; the one that is ordered now when absent.
    pub release: Option<String>,
    /// Whether the tree's own patterns are honoured.
    pub patterns: Patterns,
    /// What owners and modes of the tree become, as in the deploy.
    pub mapping: Mapping,
}

/// Finds out what a deploy of `source` would change, and does nothing of it.
pub async fn diff(operator_home: &Path, source: &Path, options: &DiffOptions) -> Result<Changes, DeployError> {
    let app = AppName::new(&options.app)
        .map_err(|bad| DeployError::Invalid(format!("{bad}; `tiding status` lists what there is")))?;
    let (keys, client) = (OperatorKeys::read(operator_home)?, Client::open(operator_home)?);
    let status = client.status().await?;
    let rollout = rollout_of(&status, &app).ok_or_else(|| unknown(format!("no application {app} was deployed")))?;
    let release = match &options.release {
        Some(asked) => choose(rollout, Some(asked))?,
        None => ordered(rollout)?,
    };
    let mut old = Old::ask(&client, &keys, release).await?;
    // Nobody has said that this one should keep anything else than that release does.
    let kept = old.release.instructions.kept.clone();
    let (found, mut tree) = read_tree(source, (options.patterns, &kept, &options.mapping), &mut |_| {}).await?;
    Ok(old.changes(&found, &mut tree).await?)
}

/// The release that is ordered now.
fn ordered(rollout: &RolloutStatus) -> Result<&ReleaseStatus, ClientError> {
    let is_it =
        |release: &&ReleaseStatus| release.release == rollout.release && rollout.state != RolloutState::Spreading;
    rollout.releases.iter().find(is_it).ok_or_else(|| {
        let why = "a deploy is under way that is not ordered yet; wait for it, or name a release";
        ClientError::Refused(Refusal::Failed { why: why.to_owned() })
    })
}

/// A release that an origin holds, and the way to its pieces.
struct Old {
    id: ReleaseId,
    release: Release,
    reader: Reader,
}

impl Old {
    async fn ask(client: &Client, keys: &OperatorKeys, release: &ReleaseStatus) -> Result<Self, ClientError> {
        let fleet = keys.id;
        let roots = client.journals().await?.roots(fleet).map_err(|bad| ClientError::Protocol(bad.to_string()))?;
        let root = roots.last().ok_or_else(|| ClientError::Protocol("its journal has no trust root".to_owned()))?;
        let (id, mut reader): (ReleaseId, Reader) = (parsed(&release.release)?, client.reader().await?);
        let release = difference::signed_release(&mut reader, (root, fleet), id).await?;
        Ok(Self { id, release, reader })
    }

    /// What a tree that was read would change of it.
    async fn changes(&mut self, found: &Found, tree: &mut Tree) -> Result<Changes, ClientError> {
        let Self { id, release, reader } = self;
        let before = difference::known(reader, &release.content, release.attributes.as_ref()).await?;
        let after = difference::known(tree, &found.content, Some(&found.attributes)).await?;
        let (changes, would_send) = difference::compare((&before, reader), (&after, tree)).await?;
        let bytes = found.content.bytes + found.content.blob.len + found.attributes.blob.len;
        Ok(Changes { release: *id, version: release.version.clone(), changes, would_send, bytes })
    }
}

/// The tree itself gives its pieces as a publisher serves them.
impl Pieces for Tree {
    async fn read(&mut self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ClientError> {
        let changed = |_| ClientError::Protocol("the tree changed while it was compared; try again".to_owned());
        PieceSource::read(self, content, piece).map_err(changed)
    }
}

/// Reads the tree, asks the origin meanwhile, so that one that is away is known at once, and looks whether all of it makes sense together.
/// Whether the origin is busy is its to say: a release that still spreads may be one whose publisher is gone for ever.
async fn look(
    client: &Client,
    source: &Path,
    app: &AppName,
    options: &DeployOptions,
    progress: &mut impl FnMut(Progress),
) -> Result<(FleetStatus, Selection, Found, Tree), DeployError> {
    let (status, (found, mut tree)) = tokio::try_join!(
        async { client.status().await.map_err(DeployError::from) },
        read_tree(source, (options.patterns, &options.kept, &options.mapping), progress)
    )?;
    check_templates(&found, &mut tree, (options, &status)).await?;
    let selection = make_sense(&status, app, options, &found)?;
    Ok((status, selection, found, tree))
}

/// Refuses a command as a gate of whose outcome this key could not say anything.
async fn may_steer(
    (home, client, keys): (&Path, &Client, &OperatorKeys),
    app: &AppName,
    options: &DeployOptions,
) -> Result<(), DeployError> {
    if options.steers == Steers::No {
        return Ok(());
    }
    let journals = client.journals().await?;
    let roots = journals.roots(keys.id).map_err(|bad| ClientError::Protocol(bad.to_string()))?;
    let key = signing_key(home)?.public();
    let newest = roots.last().map(|root| root.operators.as_slice()).unwrap_or_default();
    let Some(me) = newest.iter().find(|operator| operator.key == key) else { return Ok(()) };
    match me.powers.cover(Act::Steer, app, Some(&options.selector)) {
        true => Ok(()),
        false => Err(DeployError::Powerless { who: me.name.clone(), powers: me.powers.to_string() }),
    }
}

/// Refuses files into which no node can put values, or not all that are selected; all of them named.
async fn check_templates(
    found: &Found,
    tree: &mut Tree,
    (options, status): (&DeployOptions, &FleetStatus),
) -> Result<(), DeployError> {
    if options.templates.is_empty() {
        return Ok(());
    }
    let known = difference::known(tree, &found.content, None).await?;
    let mut refused = Vec::new();
    for path in &options.templates {
        let why = match difference::file(&known, tree, path).await? {
            None => Some("is to be given values, and is no file of the tree, or too long for it".to_owned()),
            Some(bytes) => match content::template::labels(&bytes) {
                Ok(labels) => labels.iter().find_map(|label| lacking(status, &options.selector, label)),
                Err(bad) => Some(bad.to_string()),
            },
        };
        refused.extend(why.map(|why| format!("{}: {why}", store::words::name(path))));
    }
    if refused.is_empty() { Ok(()) } else { Err(ImportError::Refused(refused).into()) }
}

/// Whom it is for, if that and what was read are what was surely meant.
fn make_sense(
    status: &FleetStatus,
    app: &AppName,
    options: &DeployOptions,
    found: &Found,
) -> Result<Selection, DeployError> {
    let selection = Selection::of(status, app.as_str(), &options.selector);
    selection.check(status, options.when_away, options.is_sure)?;
    let (selector, restraint, instructions) = (&options.selector, &options.restraint, &options.instructions());
    check_readers(status, Demands { selector, restraint, instructions })?;
    let size = found.content.bytes + found.content.blob.len;
    check_size(status, app.as_str(), size, options.is_resized)?;
    Ok(selection)
}

/// The application, if its name and path can be published.
fn checked(options: &DeployOptions) -> Result<AppName, DeployError> {
    let app = AppName::new(&options.app)
        .map_err(|bad| DeployError::Invalid(format!("{bad}; give another name with --app")))?;
    content::release::check_target_path(options.path.as_os_str().as_bytes())
        .map_err(|bad| DeployError::Invalid(format!("{}: {bad}", options.path.display())))?;
    Ok(app)
}

/// Orders an application back to a release that was published before: `to` is a version or a release id, or the one before
/// the present one when absent.
pub async fn rollback(
    operator_home: &Path,
    app: &str,
    to: Option<&str>,
    message: &str,
) -> Result<Deployed, DeployError> {
    let name = named(app)?;
    let (keys, client) = (OperatorKeys::read(operator_home)?, Client::open(operator_home)?);
    let status = client.status().await?;
    let rollout = rollout_of(&status, &name).ok_or_else(|| unknown(format!("no application {name} was deployed")))?;
    let epoch = status.epoch_of(name.as_str());
    order_back(operator_home, (&keys, &client), (name, rollout, epoch), choose(rollout, to)?, message).await
}

/// Orders an application back to that release, if its newest order is still the one that was seen.
pub async fn rollback_from(
    operator_home: &Path,
    sight: &Sight,
    to: &str,
    message: &str,
) -> Result<Deployed, DeployError> {
    let name = named(&sight.app)?;
    let (keys, client) = (OperatorKeys::read(operator_home)?, Client::open(operator_home)?);
    let status = client.status().await?;
    let rollout = rollout_of(&status, &name).ok_or_else(|| unknown(format!("no application {name} was deployed")))?;
    if rollout.order.as_ref() != Some(&sight.order) {
        let what = format!("epoch {} of {name} was ordered since, and this is about the order before", rollout.epoch);
        let refusal = Refusal::Conflict { epoch: rollout.epoch, by: rollout.by.clone(), what };
        return Err(ClientError::Refused(refusal).into());
    }
    let epoch = status.epoch_of(name.as_str());
    order_back(operator_home, (&keys, &client), (name, rollout, epoch), choose(rollout, Some(to))?, message).await
}

async fn order_back(
    operator_home: &Path,
    (keys, client): (&OperatorKeys, &Client),
    (app, rollout, epoch): (AppName, &RolloutStatus, u64),
    target: &ReleaseStatus,
    message: &str,
) -> Result<Deployed, DeployError> {
    let (release, selector): (ReleaseId, Selector) = (parsed(&target.release)?, parsed(&rollout.selector)?);
    let order = Order {
        fleet: keys.id,
        app: app.clone(),
        epoch: epoch + 1,
        release,
        fallback: None,
        // It goes back where it went, and nowhere else.
        selector: selector.clone(),
        unreachable: Unreachable::Skip,
        waves: vec![Wave::PerMille(1000)],
        // Whoever goes back wants everyone back who can go: one node that cannot must not keep the others.
        budget: u32::MAX,
        // All at once: whoever goes back wants it now.
        restraint: Restraint::default(),
        created: wall_clock(),
        message: message.to_owned(),
    };
    order.check().map_err(|bad| DeployError::Invalid(bad.to_string()))?;
    let signed = signing_key(operator_home)?.sign(PayloadKind::Order, order.encode());
    let ordered = client.order(&signed).await?;
    let order = OrderId(signed.payload_digest());
    let (app, version) = (app.to_string(), target.version.clone());
    Ok(Deployed { app, release, version, order, epoch: ordered.epoch, selector })
}

/// The rollout that somebody looks at who says what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The application.
    pub app: String,
    /// Its newest order; a directive about another one is refused by the origin.
    pub order: String,
    /// The wave that is open, from 0, while it rolls; what opens the next one is refused when another has opened since.
    pub wave: Option<u8>,
}

/// Says what is to be done with the rollout of an application's newest order.
pub async fn direct(operator_home: &Path, app: &str, verb: Verb, message: &str) -> Result<RolloutStatus, DeployError> {
    let (name, client) = (named(app)?, Client::open(operator_home)?);
    let status = client.status().await?;
    let rollout = rollout_of(&status, &name).ok_or_else(|| unknown(format!("no application {name} was deployed")))?;
    let spreading = || DeployError::Invalid(format!("{name} is not ordered yet; interrupt its deploy instead"));
    direct_seen(operator_home, &Sight::of(rollout).ok_or_else(spreading)?, verb, message).await?;
    Ok(rollout.clone())
}

/// Says what is to be done with a rollout as it was seen.
pub async fn direct_seen(operator_home: &Path, sight: &Sight, verb: Verb, message: &str) -> Result<(), DeployError> {
    let (keys, client) = (OperatorKeys::read(operator_home)?, Client::open(operator_home)?);
    let directive = Directive {
        fleet: keys.id,
        app: named(&sight.app)?,
        order: parsed(&sight.order)?,
        verb,
        wave: sight.wave,
        created: wall_clock(),
        message: message.to_owned(),
    };
    directive.check().map_err(|bad| DeployError::Invalid(bad.to_string()))?;
    client.direct(&signing_key(operator_home)?.sign(PayloadKind::Directive, directive.encode())).await?;
    Ok(())
}

impl Sight {
    /// What can be steered of a rollout; nothing before it is ordered.
    pub fn of(rollout: &RolloutStatus) -> Option<Self> {
        let is_spreading = rollout.state == RolloutState::Spreading;
        let order = rollout.order.clone().filter(|_| !is_spreading)?;
        let wave = if let RolloutState::Rolling { wave } = rollout.state { Some(wave) } else { None };
        Some(Self { app: rollout.app.clone(), order, wave })
    }
}

fn named(app: &str) -> Result<AppName, DeployError> {
    AppName::new(app).map_err(|bad| DeployError::Invalid(format!("{bad}; `tiding status` lists what there is")))
}

/// So many times smaller or larger than the release before is unusual; so few bytes are not looked at, nor does growth to less than this matter.
const UNUSUAL: u64 = 10;
const FEW: u64 = 64 << 10;
const MUCH: u64 = 1 << 30;

/// Refuses a release that has lost, or gained, nearly everything, unless that is meant.
fn check_size(status: &FleetStatus, app: &str, now: u64, is_resized: bool) -> Result<(), DeployError> {
    // What still spreads was not ordered, and may be the mistake that this one mends.
    let ordered = |rollout: &&RolloutStatus| rollout.app == app && rollout.state != RolloutState::Spreading;
    let rollout = status.apps.iter().find(ordered);
    let before = rollout.map_or(0, |rollout| rollout.content_bytes);
    let shrunk = before > FEW && now < before / UNUSUAL;
    let grown = before > 0 && now > MUCH && now / UNUSUAL > before;
    if (shrunk || grown) && !is_resized { Err(DeployError::Unusual { now, before }) } else { Ok(()) }
}

fn unknown(why: String) -> ClientError {
    ClientError::Refused(Refusal::Unknown { why })
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ClientError> {
    text.parse().map_err(|error: T::Err| ClientError::Protocol(error.to_string()))
}

/// The release to go back to: the one that was asked for, or the newest that was made before the present one.
pub(crate) fn choose<'a>(rollout: &'a RolloutStatus, to: Option<&str>) -> Result<&'a ReleaseStatus, ClientError> {
    let asked = |release: &&ReleaseStatus| match to {
        Some(to) => release.version == to || (to.len() >= 8 && release.release.starts_with(to)),
        None => release.release != rollout.release,
    };
    // While another one spreads, which is not ordered yet and may never be, the present one is what runs.
    let ordered = rollout.releases.iter().position(|release| release.release == rollout.release);
    let present = ordered.or_else(|| rollout.releases.iter().rposition(|release| release.runs));
    let before = match to {
        Some(_) => &rollout.releases[..],
        None => &rollout.releases[..present.unwrap_or(rollout.releases.len())],
    };
    // Back means to what did well, not to a release that was tried in between and failed.
    let proven = before.iter().rfind(|release| to.is_none() && release.proven && asked(release));
    proven.or_else(|| before.iter().rfind(asked)).ok_or_else(|| {
        let known: Vec<&str> = rollout.releases.iter().map(|release| release.version.as_str()).collect();
        let what = to.map_or("a release before the present one".to_owned(), |to| format!("the release {to}"));
        unknown(format!("{what} is not known; there are: {}", known.join(", ")))
    })
}

/// Where the application stands before a deploy.
struct Standing {
    epoch: u64,
    fallback: Option<ReleaseId>,
}

fn rollout_of<'a>(status: &'a FleetStatus, app: &AppName) -> Option<&'a RolloutStatus> {
    status.apps.iter().find(|rollout| rollout.app == app.as_str())
}

/// The newest epoch, and the release that most nodes have confirmed: what a failing rollout goes back to.
fn standing_of(status: &FleetStatus, app: &AppName) -> Result<Standing, ClientError> {
    let epoch = status.epoch_of(app.as_str());
    let Some(rollout) = rollout_of(status, app) else { return Ok(Standing { epoch, fallback: None }) };
    let mut confirmed: BTreeMap<&str, usize> = BTreeMap::new();
    let of_app = status.nodes.iter().flat_map(|node| &node.apps).filter(|on| on.app == app.as_str());
    for release in of_app.filter_map(|on| on.confirmed.as_deref()) {
        *confirmed.entry(release).or_default() += 1;
    }
    let named = |release: &str| rollout.releases.iter().any(|known| known.release == release);
    let most = confirmed.into_iter().filter(|(release, _)| named(release)).max_by_key(|(_, nodes)| *nodes);
    let fallback = most.map(|(release, _)| parsed(release)).transpose()?;
    Ok(Standing { epoch, fallback })
}

fn signing_key(home: &Path) -> Result<SigningKey, DeployError> {
    let path = home.join(home::OPERATOR_KEY);
    founding::read_signing_key(&path).map_err(|error| ClientError::Home(error.to_string()).into())
}

/// One operator's home publishes one thing at a time: both would answer to the same name.
fn lock(home: &Path, app: &AppName, operator: &str) -> Result<File, DeployError> {
    let path = home.join(LOCK);
    let bad = |source| DeployError::Source { path: path.clone(), source };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(bad)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0).map_err(bad)?;
            let who = format!("{app} by {operator} (process {})", std::process::id());
            file.write_all(who.as_bytes()).map_err(bad)?;
            Ok(file)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let other = std::fs::read_to_string(&path).unwrap_or_default();
            Err(DeployError::Busy(other.chars().filter(|c| !c.is_control()).take(100).collect()))
        }
        Err(errno) => Err(bad(errno.into())),
    }
}

type Tree = Source<RealDisk>;

/// Where a directory or a file is that is published, the disk that reads it so, and what owners and modes become.
pub(crate) fn standing(
    source: &Path,
    mapping: &Mapping,
) -> Result<(Arc<RealDisk>, Place<RealDisk>, Mapping), DeployError> {
    let bad = |error| DeployError::Source { path: source.to_owned(), source: error };
    let path = std::fs::canonicalize(source).map_err(bad)?;
    let whole = || DeployError::Invalid("the root directory cannot be published as a whole".to_owned());
    let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(whole)?;
    let effective = rustix::process::geteuid().as_raw();
    // Whoever says what numbers become has seen those of this machine.
    let mapping = Mapping { others_are_root: effective != 0, ..mapping.clone() };
    let disk = Arc::new(if mapping.has_owners() { RealDisk::new() } else { RealDisk::to_publish(effective) });
    let parent = disk.open_path(parent).map_err(bad)?;
    let name = Name::new(name.as_bytes()).map_err(|error| DeployError::Invalid(error.to_string()))?;
    Ok((disk, Place { parent, name }, mapping))
}

/// Reads, cuts and hashes on threads of their own.
async fn read_tree(
    source: &Path,
    (patterns, kept, mapping): (Patterns, &[KeptPath], &Mapping),
    progress: &mut impl FnMut(Progress),
) -> Result<(Found, Tree), DeployError> {
    let (disk, Place { parent, name }, mapping) = standing(source, mapping)?;
    let (tell, mut told) = watch::channel(0);
    let kept = kept.to_vec();
    let reading = tokio::task::spawn_blocking(move || {
        let terms = Terms { patterns, kept: &kept, mapping: Some(&mapping) };
        store::import::import_by(&Threads::all(), &terms, disk, parent, &name, &mut |bytes| {
            tell.send_replace(bytes);
        })
    });
    while told.changed().await.is_ok() {
        let bytes = *told.borrow_and_update();
        progress(Progress::Reading { bytes });
    }
    Ok(reading.await.map_err(|broken| DeployError::Invalid(format!("reading broke off: {broken}")))??)
}

/// A signed release and the signed order for it.
struct Papers {
    version: String,
    release: Signed,
    order: Signed,
}

impl Papers {
    fn sign(
        key: &SigningKey,
        fleet: FleetId,
        app: &AppName,
        found: &Found,
        options: &DeployOptions,
        standing: &Standing,
    ) -> Result<Self, DeployError> {
        let invalid = |bad: content::encoding::Malformed| DeployError::Invalid(bad.to_string());
        let created = wall_clock();
        let version = options.version.clone().unwrap_or_else(|| version_of(created, found));
        let release = Release {
            fleet,
            app: app.clone(),
            version: version.clone(),
            created,
            content: found.content,
            attributes: Some(found.attributes),
            entries: found.entries,
            size: found.size,
            instructions: options.instructions(),
        };
        release.check().map_err(invalid)?;
        let release = key.sign(PayloadKind::Release, release.encode());
        let order = Order {
            fleet,
            app: app.clone(),
            epoch: standing.epoch + 1,
            release: ReleaseId(release.payload_digest()),
            fallback: standing.fallback,
            selector: options.selector.clone(),
            unreachable: match options.when_away {
                WhenAway::Wait => Unreachable::Wait,
                WhenAway::Skip | WhenAway::Fail => Unreachable::Skip,
            },
            waves: options.waves.clone(),
            budget: options.budget,
            restraint: options.restraint.clone(),
            created,
            message: options.message.clone(),
        };
        order.check().map_err(invalid)?;
        Ok(Self { version, release, order: key.sign(PayloadKind::Order, order.encode()) })
    }

    fn release_id(&self) -> ReleaseId {
        ReleaseId(self.release.payload_digest())
    }
}

/// A version that sorts by time and tells contents apart.
fn version_of(now: UnixTime, found: &Found) -> String {
    let at = time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(now.0);
    let (date, clock) = (at.date(), at.time());
    let content = &found.content.id().0.short()[..6];
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = clock.as_hms();
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}-{content}")
}

/// A publisher's node. It ends with whoever waits for it.
struct Publisher(JoinHandle<()>);

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a publisher's node until the order stands, or is refused.
async fn serve_until_ordered(
    (keys, limit, wish): (OperatorKeys, Option<Rate>, Wish),
    (found, tree, patch): (Found, Tree, Option<(Offer, Patch)>),
    papers: &Papers,
    progress: &mut impl FnMut(Progress),
) -> Result<(OrderId, u64, u64), DeployError> {
    let inbox = mpsc::channel(INBOX);
    let datacenter = Label::new(&keys.fleet.datacenter).map_err(|bad| ClientError::Home(bad.to_string()))?;
    let held = |content: ContentSpec| Held { content, have: Bitmap::full(content.total()), complete: true };
    let (offer, patch) = patch.unzip();
    let offers = Vec::from_iter(offer);
    let contents = [found.content, found.attributes].into_iter().chain(offers.iter().map(|offer| offer.patch));
    let recovered =
        Recovered { root: Some(keys.root), held: contents.map(held).collect(), offers, ..Recovered::default() };
    let config = Config { limit, ..publisher_config(keys.id, &keys.fleet, datacenter) };
    let host = Host::Publisher(inbox.0.clone());
    let shelf = Shelf::new(Arc::new(Bringing::new(tree, patch)));
    let (driver, handle) = Driver::new(Parts {
        me: keys.node,
        config,
        recovered,
        tls: keys.tls,
        shelf,
        host,
        inbox,
        contact: Arc::default(),
        rooted: watch::channel(Vec::new()).0,
    });
    let mut running = Publisher(tokio::spawn(driver.run()));
    let deploy = Request::Deploy { release: papers.release.clone(), order: papers.order.clone(), wish };
    let total = found.content.bytes + found.content.blob.len + found.attributes.blob.len;
    let answer = told_while(handle.ask(deploy), &handle, total, progress).await;
    // A driver that is gone has stopped already.
    handle.inbox.send(Incoming::Stop).await.ok();
    (&mut running.0).await.ok();
    match answer {
        Ok(Answer::Ordered { order, epoch }) => Ok((order, epoch, handle.sent.load(Ordering::Relaxed))),
        Ok(Answer::Refused(refusal)) => Err(ClientError::Refused(refusal.into()).into()),
        Ok(_) => Err(ClientError::Protocol("the engine gave an answer to another question".to_owned()).into()),
        Err(gone) => Err(ClientError::Protocol(gone.to_string()).into()),
    }
}

/// Waits, and tells how much has been sent whenever that changed.
async fn told_while<T>(
    waiting: impl Future<Output = T>,
    handle: &Handle,
    total: u64,
    progress: &mut impl FnMut(Progress),
) -> T {
    let mut waiting = std::pin::pin!(waiting);
    let (mut told, mut tick) = (0, tokio::time::interval(TELL));
    loop {
        tokio::select! {
            done = &mut waiting => return done,
            _ = tick.tick() => {
                let sent = handle.sent.load(Ordering::Relaxed);
                if sent != told {
                    told = sent;
                    progress(Progress::Spreading { sent, total });
                }
            }
        }
    }
}

fn publisher_config(fleet: FleetId, file: &FleetFile, datacenter: Label) -> Config {
    Config {
        fleet,
        role: Role::Operator,
        name: file.operator.clone(),
        labels: Default::default(),
        datacenter,
        listen: None,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        origins: file.origins.clone(),
        neighbours: 16,
        window_bytes: 8 << 20,
        patience: Duration::from_secs(1),
        redial: Duration::from_millis(50),
        given_order: true,
        speaks: engine::wire::PROTOCOL,
        reads: Vec::new(),
        limit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AppStatus, NodeStatus, Phase, RolloutState, Timeline};

    fn release(id: &str, version: &str) -> ReleaseStatus {
        ReleaseStatus { release: id.repeat(64), version: version.to_owned(), created: 0, runs: false, proven: false }
    }

    fn rollout(present: &str) -> RolloutStatus {
        RolloutStatus {
            app: "app".to_owned(),
            order: None,
            epoch: 7,
            release: present.repeat(64),
            version: "?".to_owned(),
            by: "alice".to_owned(),
            message: String::new(),
            state: RolloutState::Finished,
            origin_have: 0,
            origin_total: 0,
            content_bytes: 0,
            selector: String::new(),
            origin_sent: 0,
            releases: vec![release("a", "one"), release("b", "two"), release("c", "three")],
            created: 0,
            fallback: None,
            budget: 0,
            waves: Vec::new(),
            restraint: crate::api::Restraint::default(),
            since_us: None,
            roads: Vec::new(),
        }
    }

    fn node_with(confirmed: &str) -> NodeStatus {
        NodeStatus {
            node: "n".to_owned(),
            name: "web".to_owned(),
            role: crate::api::Role::Agent,
            labels: BTreeMap::new(),
            up: true,
            since_us: 0,
            software: String::new(),
            limit: None,
            obeys_limits: true,
            speaks: 6,
            apps: vec![AppStatus {
                app: "app".to_owned(),
                release: confirmed.repeat(64),
                order: None,
                phase: Phase::Confirmed,
                have: 0,
                total: 0,
                from_origin: 0,
                from_peers: 0,
                had: 0,
                timeline: Timeline::default(),
                live: None,
                confirmed: Some(confirmed.repeat(64)),
                trouble: None,
            }],
        }
    }

    #[test]
    fn d9_back_means_the_one_before_and_an_unknown_one_is_refused_with_the_list() {
        let chosen = |present, to| choose(&rollout(present), to).map(|found| found.version.clone());
        assert_eq!(chosen("c", None).ok().as_deref(), Some("two"));
        assert_eq!(chosen("b", None).ok().as_deref(), Some("one"));
        assert_eq!(chosen("c", Some("one")).ok().as_deref(), Some("one"));
        assert_eq!(chosen("c", Some("bbbbbbbb")).ok().as_deref(), Some("two"));
        assert!(chosen("a", None).is_err(), "nothing was before the first");
        let mut tried = rollout("c");
        tried.releases[0].proven = true;
        let back = choose(&tried, None).map(|found| found.version.clone());
        assert_eq!(back.ok().as_deref(), Some("one"), "the second failed");
        let mut spreading = rollout("d");
        spreading.releases[2].runs = true;
        (0..3).for_each(|nth| spreading.releases[nth].proven = true);
        let back = choose(&spreading, None).map(|found| found.version.clone());
        assert_eq!(back.ok().as_deref(), Some("two"), "what spreads and is not ordered is not what runs");
        let why = chosen("c", Some("four")).expect_err("unknown").to_string();
        assert!(why.contains("four") && why.contains("one, two, three"), "{why}");
    }

    #[test]
    fn the_fallback_is_what_most_nodes_have_confirmed() {
        let nodes = vec![node_with("b"), node_with("a"), node_with("b"), node_with("f")];
        let status = FleetStatus { apps: vec![rollout("c")], nodes, ..FleetStatus::default() };
        let app = AppName::new("app").expect("a name");
        let standing = standing_of(&status, &app).expect("it makes sense");
        assert_eq!((standing.epoch, standing.fallback), (7, "b".repeat(64).parse().ok()));
        let other = standing_of(&status, &AppName::new("new").expect("a name")).expect("it makes sense");
        assert_eq!((other.epoch, other.fallback), (0, None));
    }

    #[test]
    fn d5_a_second_deploy_with_the_same_keys_is_told_who_and_what() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let app = AppName::new("app").expect("a name");
        let first = lock(temp.path(), &app, "alice").expect("nobody else");
        let why = lock(temp.path(), &app, "alice").expect_err("busy").to_string();
        assert!(why.contains(&format!("app by alice (process {})", std::process::id())), "{why}");
        drop(first);
        lock(temp.path(), &app, "alice").expect("nobody any more");
    }
}
