//! A running node: an engine, a store and a port.
//!
//! Starting reads the home, opens the store, takes the port and sets the driver going, in an order in which any failure
//! leaves nothing behind. What the node then does is the engine's to decide.

use crate::accounts::Machine;
use crate::api::{self, FleetStatus};
use crate::boot;
use crate::desk::Desk;
use crate::disk::{Dir, RealDisk};
pub use crate::driver::Broken;
use crate::driver::{Deeds, Driver, Handle, Host, INBOX, Incoming, Pairing, Parts, Shelf, StoreHost};
use crate::freshness::{Contact, Watcher};
use crate::halves::far::RootHalf;
use crate::hands::Threads;
use crate::home::{self, NodeFile};
use crate::identity::{Authority, Identity, pin_of, wall_clock};
use crate::join::{JoinLine, JoinTerms, Porter};
use crate::life::{self, Life};
use crate::renewal::{self, Keeper};
use crate::runner::Runner;
use crate::tls::{Accepted, Door, Tls, TlsError};
use crate::traces::Collector;
use crate::vitals::Vitals;
use crate::vouching::{Authorities, Follower};
use crate::webhooks::{Teller, Webhook};
use crate::{founding, http, limits, metrics, reach};
use content::fact::{JournalName, Noted, Position};
use content::{Fact, FleetId, Label, Labels, NodeId, Rate, Role, Root, Signed, UnixTime};
use engine::door::{Config, Event, Recovered};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{PieceSource, Store};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// How to run a node.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it keeps everything.
    pub home: PathBuf,
    /// The directory inside which the paths of releases are resolved; `/` outside of tests and playgrounds.
    pub targets: PathBuf,
    /// Where it accepts connections; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// How many bytes of pieces it sends, and receives, in a second at most, whatever operators say.
    pub limit: Option<Rate>,
    /// What its machine's configuration says besides.
    pub policy: Policy,
}

/// What a machine's configuration says that no operator changes from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// As whom commands of releases run, and as nobody else; as the releases say, if there is nobody.
    pub hooks_user: Option<String>,
    /// Whom an origin tells what happens.
    pub webhooks: Vec<Webhook>,
    /// Whom spans are told, in builds that can.
    pub traces: Option<Collector>,
    /// The oldest and the newest version of the protocol that it speaks, if not those of this program: for tests of mixed fleets.
    pub speaks: Option<(u16, u16)>,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home belongs to no fleet.
    #[error("{0} belongs to no fleet yet; make one with `tiding up`, or join one with `tiding join LINE`")]
    NotFounded(PathBuf),
    /// The port cannot be taken.
    #[error("cannot listen on {address}: {source}; give another address with --listen")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("the store in {home}: {source}")]
    Store {
        /// Where.
        home: PathBuf,
        /// Why.
        source: store::OpenError,
    },
    /// A file of the home cannot be read or makes no sense.
    #[error("{0}")]
    Home(String),
    /// It is to be a network half, and has no root half.
    #[error("{0}")]
    Alone(String),
}

/// Why a join line cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] crate::api::Refusal),
    /// The node is stopping, or cannot issue lines.
    #[error("{0}")]
    Failed(String),
}

/// Connections that came to a node's port.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Came {
    connections: AtomicU64,
    turned_away: AtomicU64,
}

impl Came {
    /// All of them.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Those that were not let in, or broke before they were served.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }
}

/// A running node. Dropping it stops it without order; [`Running::stop`] does it in order.
pub struct Running {
    address: SocketAddr,
    node: NodeId,
    name: String,
    desk: Arc<Desk>,
    came: Arc<Came>,
    /// Until it has ended and somebody has heard of it.
    engine: Option<JoinHandle<()>>,
    listener: JoinHandle<()>,
    /// What goes on beside them, and may end at any moment: renewing, looking.
    chores: JoinSet<()>,
    failed: watch::Receiver<Option<Broken>>,
    /// How it was started, with the address that it got.
    options: Options,
    vitals: Option<Vitals>,
    started: UnixTime,
    metrics: Option<(SocketAddr, JoinHandle<()>)>,
    /// Why its root half has gone, if it has one and that has.
    left: watch::Receiver<Option<String>>,
}

impl Running {
    /// The address it accepts connections on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where others reach it; empty when it does not know.
    pub fn reached(&self) -> &[SocketAddr] {
        &self.desk.addresses
    }

    /// Its id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shows its figures at a door, until it stops.
    pub fn serve_metrics(&mut self, door: metrics::Door) {
        let came = self.came.clone();
        let observed = metrics::Observed {
            desk: self.desk.clone(),
            home: self.options.home.clone(),
            started: self.started,
            came: Box::new(move || (came.connections(), came.turned_away())),
        };
        self.metrics = Some((door.address(), tokio::spawn(door.serve(observed))));
    }

    /// Where its figures are shown, if anywhere.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(address, _)| *address)
    }

    /// Stops in order: connections close, jobs that run end, the store closes.
    pub async fn stop(mut self) {
        self.chores.abort_all();
        self.listener.abort();
        // An engine that is gone has nothing left to stop.
        self.desk.handle.inbox.send(Incoming::Stop).await.ok();
        if let Some(engine) = self.engine.take()
            && engine.await.is_err()
        {
            tracing::error!("the engine did not end in order");
        }
    }

    /// Stops, and starts again from its home, on the same port: what a lost store is answered with.
    pub async fn again(mut self) -> Result<Self, StartError> {
        let options = self.options.clone();
        let shown = self.metrics.take();
        self.stop().await;
        let mut running = start(options).await?;
        if let Some((address, old)) = shown {
            old.abort();
            // It ends before its port is free.
            old.await.ok();
            match metrics::Door::open(address).await {
                Ok(door) => running.serve_metrics(door),
                Err(error) => tracing::warn!(%address, %error, "figures are shown no more; start the node again"),
            }
        }
        Ok(running)
    }

    /// Resolves with the reason when the engine or the store dies; never otherwise.
    pub async fn failed(&mut self) -> Broken {
        let Some(engine) = &mut self.engine else { return Broken::Off("the engine has stopped".to_owned()) };
        let ended = tokio::select! {
            ended = engine => ended,
            Ok(why) = self.left.wait_for(Option::is_some) => return Broken::Off(why.clone().unwrap_or_default()),
            // The sender lives in the store's thread; when it ends without a word, the engine's end says why.
            Ok(why) = self.failed.wait_for(Option::is_some) => return why.clone().expect("it was just seen to be there"),
        };
        self.engine = None;
        Broken::Off(match ended {
            Ok(()) => "the engine has stopped".to_owned(),
            Err(broken) => format!("the engine broke off: {broken}"),
        })
    }

    /// What tells a supervisor how it does, from its start on; once.
    pub fn vitals(&mut self) -> Option<Vitals> {
        self.vitals.take()
    }

    /// Whether it is a network half whose root half has gone: started again, it waits for the next.
    pub fn has_lost_its_root_half(&self) -> bool {
        self.left.borrow().is_some()
    }

    /// How many came to its port since it started: for whoever measures.
    #[doc(hidden)]
    pub fn came(&self) -> &Came {
        &self.came
    }

    /// What happens in its engine from now on.
    #[doc(hidden)]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.desk.handle.events.subscribe()
    }

    /// Makes a join line; origins only.
    pub async fn issue_join_line(&self, terms: JoinTerms) -> Result<JoinLine, IssueError> {
        Ok(self.desk.issue(&terms).await?)
    }

    /// Where everything stands, as this node knows it.
    pub async fn status(&self) -> Result<FleetStatus, IssueError> {
        Ok(self.desk.status().await?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.listener.abort();
        if let Some((_, metrics)) = &self.metrics {
            metrics.abort();
        }
        if let Some(engine) = &self.engine {
            engine.abort();
        }
    }
}

/// What a node's home says.
struct Home {
    identity: Identity,
    node: NodeFile,
    root: Signed,
    fleet: FleetId,
    authorities: Option<Arc<Authorities>>,
}

/// Starts a node.
pub async fn start(options: Options) -> Result<Running, StartError> {
    start_with(options, Shelf::new, None).await
}

/// Starts a node that is a network half: what changes the machine is done by the root half behind this socket.
pub async fn start_with_hands(options: Options, socket: &Path) -> Result<Running, StartError> {
    start_with(options, Shelf::new, Some(socket)).await
}

/// Starts a node that serves what `between` makes of its store, and nothing from memory: for tests that need a peer which
/// lies. What such a node writes to its own disk is as true as anyone's.
#[doc(hidden)]
pub async fn start_serving(
    options: Options,
    between: impl FnOnce(Arc<dyn PieceSource>) -> Arc<dyn PieceSource>,
) -> Result<Running, StartError> {
    start_with(options, |source| Shelf::without_memory(between(source)), None).await
}

async fn start_with(
    options: Options,
    shelf: impl FnOnce(Arc<dyn PieceSource>) -> Shelf,
    hands: Option<&Path>,
) -> Result<Running, StartError> {
    let home = read_home(&options.home)?;
    if hands.is_some() && home.authorities.is_some() {
        return Err(StartError::Alone(
            "an origin lays nothing out and runs nothing, so it has no root half; run it without --hands".to_owned(),
        ));
    }
    limits::raise_descriptors();
    let tls = Arc::new(Tls::new(&home.identity).map_err(bad_home)?);
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.map_err(|source| StartError::Listen { address: options.listen, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: options.listen, source })?;
    let (store, recovered) = open_store(&options, &home, hands.is_some()).await?;
    let mut recovered = Recovered { clock: wall_clock(), ..recovered };
    let follower = Follower {
        directory: home::identity(&options.home),
        tls: tls.clone(),
        authorities: home.authorities.clone(),
        changed: Arc::default(),
    };
    // It was killed before it had done what the root says.
    let named = recovered.root.as_ref().and_then(|root| Root::decode(&root.payload).ok()).map(|root| root.authorities);
    let named = named.unwrap_or_default();
    follower.follow(&named).map_err(bad_home)?;
    let (rooted, in_force) = watch::channel(named);
    let (gone, left) = watch::channel(None);
    let config = engine_config(&home, address, (options.limit, options.policy.speaks))?;
    let (to_inbox, inbox) = mpsc::channel(INBOX);
    let (broke, failed) = watch::channel(None);
    let shelf = shelf(Arc::new(store.pieces()));
    let contact = Arc::new(Contact::default());
    let (node, targets) = (home.node.name.clone(), options.targets.clone());
    let hooks_user = options.policy.hooks_user.clone();
    let deeds = match hands {
        None => {
            let runner = Runner { node, labels: config.labels.clone(), targets, hooks_user, warden: Arc::default() };
            boot::start_again(&options.home, &recovered, &runner).await;
            Deeds::Here(runner)
        }
        Some(socket) => {
            let (half, records) =
                RootHalf::connect(socket, gone).await.map_err(|why| StartError::Alone(why.to_string()))?;
            recovered.apps = records;
            Deeds::There(half)
        }
    };
    let host = StoreHost::start(store, shelf.clone(), to_inbox.clone(), deeds, broke).map_err(bad_home)?;
    let (driver, handle) = Driver::new(Parts {
        me: home.identity.node,
        config,
        recovered,
        tls: tls.clone(),
        shelf,
        host: Host::Store(Box::new(host)),
        inbox: (to_inbox, inbox),
        contact: contact.clone(),
        rooted,
    });
    let mut chores = chores(&options, &home, (&tls, follower.changed.clone()), contact, &handle)?;
    chores.spawn(follower.run(in_force));
    let (node, name) = (home.identity.node, home.node.name.clone());
    let desk = Arc::new(desk_of(&home, address, tls.clone(), handle.clone()));
    let porter = porter_of(home, desk.addresses.clone(), handle)?;
    let came = Arc::new(Came::default());
    let doors = Arc::new(Doors { tls, desk: desk.clone(), porter, pairing: Pairing::default(), came: came.clone() });
    let vitals = Some(Vitals::of(&name, desk.role, &desk.handle));
    let engine = Some(tokio::spawn(driver.run()));
    let listener = tokio::spawn(listen(listener, doors));
    let (started, metrics) = (wall_clock(), None);
    let options = Options { listen: address, ..options };
    Ok(Running {
        address,
        node,
        name,
        desk,
        came,
        engine,
        listener,
        chores,
        failed,
        options,
        vitals,
        started,
        metrics,
        left,
    })
}

/// What a node does beside its work.
fn chores(
    options: &Options,
    home: &Home,
    (tls, changed): (&Arc<Tls>, Arc<Notify>),
    contact: Arc<Contact>,
    handle: &Handle,
) -> Result<JoinSet<()>, StartError> {
    let mut chores = JoinSet::new();
    let keeper = Keeper {
        directory: home::identity(&options.home),
        tls: tls.clone(),
        origins: home.node.origins.clone(),
        authorities: home.authorities.clone(),
        changed,
    };
    chores.spawn(keeper.run());
    if home.identity.role == Role::Agent {
        chores.spawn(Watcher::new(&options.home, contact, tls.clone()).run());
    }
    #[cfg(feature = "otel")]
    if let Some(collector) = &options.policy.traces {
        let role = home.identity.role;
        let journals = match role {
            Role::Origin => {
                let datacenter = Label::new(&home.node.datacenter).map_err(bad_home)?;
                vec![JournalName::Fleet, JournalName::Datacenter(datacenter)]
            }
            _ => Vec::new(),
        };
        let who = (home.identity.node, home.node.name.as_str(), role);
        let teller = crate::traces::Teller::new(collector, handle.clone(), who, journals);
        chores.spawn(teller.map_err(|why| bad_home(format!("the collector {collector}: {why}")))?.run());
    }
    for hook in options.policy.webhooks.iter().filter(|_| home.identity.role == Role::Origin) {
        let datacenter = Label::new(&home.node.datacenter).map_err(bad_home)?;
        let names = (home.fleet.to_string(), home.node.name.clone(), datacenter);
        let teller = Teller::new(hook.clone(), &options.home, handle.clone(), names);
        chores.spawn(teller.map_err(|why| bad_home(format!("the webhook {}: {why}", hook.name)))?.run());
    }
    Ok(chores)
}

fn bad_home(why: impl std::fmt::Display) -> StartError {
    StartError::Home(why.to_string())
}

fn read_home(home: &Path) -> Result<Home, StartError> {
    if !founding::is_founded(home) {
        return Err(StartError::NotFounded(home.to_owned()));
    }
    let directory = home::identity(home);
    let mut identity = Identity::load(&directory).map_err(bad_home)?;
    let node = home::read_json(&directory.join(home::NODE)).map_err(bad_home)?;
    let (root, fleet, _) = founding::read_root(&directory).map_err(bad_home)?;
    let authorities = match identity.role {
        Role::Origin => Some(Arc::new(Authorities::load(home, identity.newest()))),
        Role::Agent => None,
        Role::Operator => return Err(bad_home("an operator's certificate does not run a node")),
    };
    if let Some(authorities) = &authorities {
        match authorities.with_pin(pin_of(identity.ca())) {
            Some(authority) if renewed(&directory, &authority) => {
                identity = Identity::load(&directory).map_err(bad_home)?;
            }
            _ => {}
        }
        if let Err(why) = authorities.require_issuing() {
            tracing::warn!("{why}");
        }
    }
    warn_of_the_end(&identity);
    Ok(Home { identity, node, root, fleet, authorities })
}

/// Renews the origin's own certificate when it is old. An origin that cannot is no worse off than before, and runs.
fn renewed(directory: &Path, authority: &Authority) -> bool {
    match life::renew(directory, authority, wall_clock()) {
        Ok(true) => {
            tracing::info!("this origin's certificate is renewed");
            true
        }
        Ok(false) => false,
        Err(error) => {
            tracing::warn!(%error, "this origin's certificate cannot be renewed");
            false
        }
    }
}

fn warn_of_the_end(identity: &Identity) {
    if let Some(notice) = Life::of(&identity.chain[0]).ok().and_then(|life| life.notice(wall_clock())) {
        tracing::warn!(
            "this node's certificate {notice}; it is renewed as soon as an origin answers, for 90 days after its end. After that nobody \
             talks to it any more: stop it, move `identity` in its home away, and join again with a new line from `tiding token`"
        );
    }
}

type OpenStore = (Store<RealDisk>, Recovered);

/// Opens the store, and tells it what founding or joining has settled if it does not know it (any more).
async fn open_store(options: &Options, home: &Home, is_half: bool) -> Result<OpenStore, StartError> {
    let directory = home::store(&options.home);
    let first_facts = first_facts(home)?;
    // A network half lays nothing out; it may not even see where releases go.
    let targets = if is_half { options.home.clone() } else { options.targets.clone() };
    let (root, at) = (home.root.clone(), options.home.clone());
    let role = home.identity.role;
    let who = (home.node.name.clone(), api::labels_from_text(&home.node.labels).map_err(bad_home)?);
    let open = move || {
        let is_new = bear_removal(&at, role)?;
        let opened = open_directories(&directory, &targets)?;
        let (mut store, recovered) = open_once(&opened, &at, &who)?;
        bear_loss(&mut store, role, &directory)?;
        if is_new {
            home::replace(&at.join(home::STORE_MADE), STORE_MADE.as_bytes()).map_err(bad_home)?;
        }
        let rootless = recovered.root.is_none();
        let is_empty = |journal| recovered.facts.iter().all(|(other, ..)| other != journal);
        let missing: Vec<_> = first_facts.iter().filter(|(journal, _)| is_empty(journal)).collect();
        if !rootless && missing.is_empty() {
            return Ok((store, recovered));
        }
        if rootless {
            store.set_root(&root).map_err(|error| bad_home(format!("{error:?}")))?;
        }
        let noted = Noted { written: wall_clock(), by: None };
        for (journal, facts) in missing {
            let begin = Position { generation: 1, index: 0 };
            store.append(journal, begin, facts, noted).map_err(|error| bad_home(format!("{error:?}")))?;
        }
        store.notes().iter().for_each(|note| tracing::warn!(note, "the store"));
        drop(store);
        open_once(&opened, &at, &who)
    };
    tokio::task::spawn_blocking(open).await.map_err(bad_home)?
}

/// What stands in the file that says that a store was made.
const STORE_MADE: &str =
    "the store beside this file was made; whoever finds this and no store knows that it was removed\n";

/// Whether this home has no store yet. One that was there and is not any more is made anew for an agent, which is told all of it again;
/// an origin has forgotten who is in the fleet and which epochs are used up, and must not begin as if there had never been any.
fn bear_removal(home: &Path, role: Role) -> Result<bool, StartError> {
    let made = home.join(home::STORE_MADE);
    if !made.exists() {
        return Ok(true);
    }
    let state = home::store(home).join("state.redb");
    match state.try_exists().map_err(|error| bad_home(format!("{}: {error}", state.display())))? {
        true => {}
        false if role == Role::Origin => {
            return Err(bad_home(format!(
                "this origin has lost its journals: {} is not there, and it was; is its file system not mounted? If it is gone, \
                 `tiding restore` makes the origin anew from a backup; or remove {} to begin with empty journals: then every \
                 machine must join again",
                state.display(),
                made.display()
            )));
        }
        false => tracing::warn!(
            state = %state.display(),
            "THE STORE WAS REMOVED and is made anew: contents are fetched again, the origin says again what was ordered; \
             what is live stays as it is"
        ),
    }
    Ok(false)
}

/// What a lost state means: an agent is told all of it again; an origin that began anew without a word would have forgotten
/// who is in the fleet, what was ordered, and which epochs are used up.
fn bear_loss(store: &mut Store<RealDisk>, role: Role, directory: &Path) -> Result<(), StartError> {
    let Some(lost) = store.lost().map(str::to_owned) else { return Ok(()) };
    if role == Role::Origin {
        let at = directory.display();
        return Err(bad_home(format!(
            "this origin has lost its journals: {lost}; put a backup of state.redb into {at} and remove {at}/state.lost, or \
             remove {at}/state.lost alone to begin with empty journals: then every machine must join again"
        )));
    }
    tracing::warn!(lost, "the store; its origin says again what was ordered");
    store.forget_loss().map_err(|error| bad_home(format!("{error:?}")))
}

struct Opened {
    disk: Arc<RealDisk>,
    home: Dir,
    targets: Dir,
}

/// Opens an empty store in a home that is being made.
pub(crate) fn new_store(home: &Path) -> Result<Store<RealDisk>, StartError> {
    let opened = open_directories(&home::store(home), Path::new("/"))?;
    Ok(open_once(&opened, home, &(String::new(), Labels::new()))?.0)
}

fn open_directories(home: &Path, targets: &Path) -> Result<Opened, StartError> {
    let disk = Arc::new(RealDisk::new());
    let named = |path: &Path, error: std::io::Error| bad_home(format!("{}: {error}", path.display()));
    home::private_dirs(home).map_err(|error| named(home, error))?;
    let opened = disk.open_path(home).map_err(|error| named(home, error))?;
    let targets = disk.open_path(targets).map_err(|error| {
        bad_home(format!("{}: {error}; make that directory, or give another with --root", targets.display()))
    })?;
    Ok(Opened { disk, home: opened, targets })
}

fn open_once(opened: &Opened, home: &Path, (node, labels): &(String, Labels)) -> Result<OpenStore, StartError> {
    let Opened { disk, home: directory, targets } = opened;
    let process = std::process::id().to_string();
    let options = store::Options {
        apply_owners: rustix::process::geteuid().is_root(),
        home: home::store(home).display().to_string(),
        hands: Arc::new(Threads::few()),
        node: node.clone(),
        labels: labels.clone(),
        accounts: Arc::new(Machine),
        ..store::Options::default()
    };
    Store::open(disk.clone(), directory.clone(), targets.clone(), &process, options)
        .map_err(|source| StartError::Store { home: home.to_owned(), source })
}

/// What the journals of a new fleet begin with: the root, the origin that founded it, and the first operator.
fn first_facts(home: &Home) -> Result<Vec<(JournalName, Vec<Fact>)>, StartError> {
    let Some(operator) = home.node.operator.as_ref().filter(|_| home.authorities.is_some()) else {
        return Ok(Vec::new());
    };
    let operator: NodeId = operator.parse().map_err(bad_home)?;
    let datacenter = Label::new(&home.node.datacenter).map_err(bad_home)?;
    let enrolled = |node, name: &str, role| Fact::Enrolled {
        node,
        name: name.to_owned(),
        role,
        labels: Default::default(),
        token: None,
    };
    let members = vec![
        enrolled(home.identity.node, &home.node.name, Role::Origin),
        enrolled(operator, first_operator(&home.root).as_deref().unwrap_or("operator"), Role::Operator),
    ];
    let rooted = Fact::Rooted { root: home.root.clone() };
    Ok(vec![(JournalName::Fleet, vec![rooted]), (JournalName::Datacenter(datacenter), members)])
}

/// The first operator, as the root names them.
fn first_operator(root: &Signed) -> Option<String> {
    let root = Root::decode(&root.payload).ok()?;
    root.operators.into_iter().next().map(|operator| operator.name)
}

fn engine_config(
    home: &Home,
    address: SocketAddr,
    (limit, speaks): (Option<Rate>, Option<(u16, u16)>),
) -> Result<Config, StartError> {
    Ok(Config {
        fleet: home.fleet,
        role: home.identity.role,
        name: home.node.name.clone(),
        labels: api::labels_from_text(&home.node.labels).map_err(bad_home)?,
        datacenter: Label::new(&home.node.datacenter).map_err(bad_home)?,
        listen: Some(address),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        origins: home.node.origins.clone(),
        neighbours: 16,
        window_bytes: 8 << 20,
        patience: Duration::from_secs(1),
        redial: Duration::from_millis(50),
        given_order: true,
        speaks: speaks.unwrap_or(engine::wire::PROTOCOL),
        reads: store::trees::READS.to_vec(),
        limit,
    })
}

fn desk_of(home: &Home, address: SocketAddr, tls: Arc<Tls>, handle: Handle) -> Desk {
    let addresses = reach::addresses(&home.node.advertise, address);
    let me = FleetStatus {
        fleet: home.fleet.to_string(),
        origin: home.identity.node.to_string(),
        origin_name: home.node.name.clone(),
        datacenter: home.node.datacenter.clone(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        ..FleetStatus::default()
    };
    Desk {
        handle,
        me,
        role: home.identity.role,
        tls,
        fleet: home.fleet,
        addresses,
        authorities: home.authorities.clone(),
    }
}

fn porter_of(home: Home, origins: Vec<SocketAddr>, handle: Handle) -> Result<Option<Porter>, StartError> {
    let datacenter = Label::new(&home.node.datacenter).map_err(bad_home)?;
    let (turns, patience, root) = (Porter::turns(), Porter::PATIENCE, home.root);
    let porter = |authorities| Porter { authorities, handle, root, origins, datacenter, turns, patience };
    Ok(home.authorities.map(porter))
}

/// What stands behind the port.
struct Doors {
    tls: Arc<Tls>,
    desk: Arc<Desk>,
    porter: Option<Porter>,
    pairing: Pairing,
    came: Arc<Came>,
}

/// How long to wait when the machine is out of descriptors or memory for another connection: the one that waits in the queue
/// is offered again at once, so that without a pause one would spin, and log as fast.
const BREATH: Duration = Duration::from_millis(50);

async fn listen(listener: TcpListener, doors: Arc<Doors>) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            // The lowest number that is free is the one that is given, so it tells how many are in use.
            Ok((tcp, _)) if limits::is_reserved(tcp.as_raw_fd()) => {
                doors.came.connections.fetch_add(1, Ordering::Relaxed);
                doors.came.turned_away.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        "too many files are open: connections are turned away; the rest are for what is under way here"
                    );
                }
            }
            Ok((tcp, from)) => {
                failing = false;
                let doors = doors.clone();
                doors.came.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    if let Err(error) = doors.open(tcp, from).await {
                        doors.came.turned_away.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(%from, %error, "a connection was not let in");
                    }
                });
            }
            Err(error) => {
                // Said once until it works again.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "no connection can be accepted now; it is tried again and again");
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

impl Doors {
    async fn open(&self, tcp: TcpStream, from: SocketAddr) -> Result<(), TlsError> {
        let Accepted { door, peer, stream, visit: _until_the_end } = self.tls.accept(tcp, from).await?;
        match (door, peer, &self.porter) {
            (Door::Join, _, Some(porter)) => Ok(porter.serve(stream, from.ip()).await?),
            (Door::Renew, Some(peer), _) => Ok(renewal::serve(&self.desk, peer, stream).await?),
            (Door::Api, Some(peer), _) => {
                // Who watches is not let in once and for all.
                tokio::select! {
                    () = http::serve(self.desk.clone(), peer, stream) => {}
                    () = self.tls.given_up(peer.ca) => {}
                }
                Ok(())
            }
            (Door::Control | Door::Bulk, Some(peer), _) => {
                if let Some(pair) = self.pairing.take(door, peer, from, stream).await? {
                    // A driver that is gone takes no peers.
                    self.desk.handle.inbox.send(Incoming::Linked(Box::new(pair))).await.ok();
                }
                Ok(())
            }
            // An agent lets nobody join; without a certificate there is nothing else to do here.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::new_key;

    /// Puts a certificate that was made long ago into a home.
    fn grown_old(directory: &Path, authority: &Authority, role: Role) -> Vec<u8> {
        let (key, made) = (new_key(), UnixTime(wall_clock().0 - 300 * 24 * 3600));
        let leaf = authority.issue_own(&key, role, made).expect("a certificate");
        for (name, bytes) in Identity::to_files(&key, &leaf, authority.certificate()) {
            home::replace(&directory.join(name), &bytes).expect("written");
        }
        std::fs::read(directory.join(home::CERTIFICATE)).expect("readable")
    }

    /// A certificate for the key that is there, made so many days ago, in place of the one that is.
    fn aged(directory: &Path, authority: &Authority, role: Role, days: u64) {
        let identity = Identity::load(directory).expect("an identity");
        let key = life::key_of(directory, &identity).expect("its key");
        let made = UnixTime(wall_clock().0 - days * 24 * 3600);
        let leaf = authority.issue_own(&key, role, made).expect("a certificate");
        life::keep(directory, &key, &leaf, authority.certificate()).expect("kept");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn h6_an_agent_that_was_away_until_its_certificate_had_ended_comes_back_by_itself() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (origin_home, agent_home) = (temp.path().join("origin"), temp.path().join("agent"));
        let listen: SocketAddr = ([127, 0, 0, 1], 0).into();
        let found = founding::FoundOptions {
            home: origin_home.clone(),
            operator_home: temp.path().join("operator"),
            listen,
            advertise: Vec::new(),
            name: "first".to_owned(),
            datacenter: "here".to_owned(),
            operator: "alice".to_owned(),
        };
        founding::found(&found).expect("founded");
        let options = |home: &Path| {
            let (targets, policy) = (temp.path().to_owned(), Policy::default());
            Options { home: home.to_owned(), targets, listen, limit: None, policy }
        };
        let origin = start(options(&origin_home)).await.expect("started");
        let line = origin.issue_join_line(JoinTerms::default()).await.expect("a line");
        crate::join::join(&line, &agent_home, Some("web-1")).await.expect("joined");
        let authority = Authority::load(&home::authority(&origin_home)).expect("a CA");
        aged(&home::identity(&agent_home), &authority, Role::Agent, 397 + 30);
        let mut events = origin.events();
        let agent = start(options(&agent_home)).await.expect("started");
        let came =
            async { while !matches!(events.recv().await, Ok(Event::PeerUp { peer }) if peer == agent.node()) {} };
        tokio::time::timeout(Duration::from_secs(120), came).await.expect("it comes back");
        let ends = renewal::of_node(&agent_home).expect("a certificate");
        assert!(ends.notice.is_none() && ends.at < wall_clock().0 + 91 * 24 * 3600, "{ends:?}");
        agent.stop().await;
        origin.stop().await;
    }

    #[tokio::test]
    async fn an_origin_renews_its_own_certificate_at_start_and_an_operators_when_asked() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (at, operator_home) = (temp.path().join("home"), temp.path().join("operator"));
        let options = founding::FoundOptions {
            home: at.clone(),
            operator_home: operator_home.clone(),
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: Vec::new(),
            name: "first".to_owned(),
            datacenter: "here".to_owned(),
            operator: "alice".to_owned(),
        };
        founding::found(&options).expect("founded");
        let authority = Authority::load(&home::authority(&at)).expect("a CA");
        assert!(!founding::renew_operator(&operator_home, &at).expect("it is young"));
        let old = grown_old(&operator_home, &authority, Role::Operator);
        assert!(founding::renew_operator(&operator_home, &at).expect("it can be renewed"));
        assert_ne!(std::fs::read(operator_home.join(home::CERTIFICATE)).expect("readable"), old);

        let old = grown_old(&home::identity(&at), &authority, Role::Origin);
        let (targets, listen) = (temp.path().to_owned(), ([127, 0, 0, 1], 0).into());
        let options = Options { home: at.clone(), targets, listen, limit: None, policy: Policy::default() };
        let running = start(options).await.expect("started");
        assert_ne!(std::fs::read(home::identity(&at).join(home::CERTIFICATE)).expect("readable"), old);
        running.stop().await;
    }
}
