//! A node as two processes: a network half that talks, and a root half that acts, and believes nothing that it is told.
//!
//! [`start`] runs the root half: it listens on one socket, on which one user may speak. `far` is the network half's side of it. In between stand
//! `words` and their `frames`. What the root half may do is for its `guard` to say, from what operators have signed; its `keeper` owns
//! the store and does it; `session` is a network half that is connected, and `alone` what happens while none is. `pinned` is what was
//! told once, `confine` how the network half gives away what it does not need.
//!
//! Invariant: nothing outside of the root half's home is changed but what a signed release that the guard allowed says.

mod alarm;
mod alone;
pub mod confine;
pub(crate) mod far;
mod frames;
mod guard;
mod keeper;
mod pinned;
mod session;
#[doc(hidden)]
pub mod words;

use alarm::{Alarm, Voice};
use keeper::{Keeper, Places};
use pinned::Pinned;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How to run a root half.
#[derive(Debug, Clone)]
pub struct HandsOptions {
    /// Where it keeps what it remembers.
    pub home: PathBuf,
    /// The network half's home: its contents are read there, and once who the node is.
    pub other: PathBuf,
    /// The directory inside which the paths of releases are resolved; `/` outside of tests.
    pub targets: PathBuf,
    /// The socket on which the network half speaks.
    pub socket: PathBuf,
    /// The user as whom it must run.
    pub user: u32,
    /// As whom commands of releases run, and as nobody else; as the releases say, if there is nobody.
    pub hooks_user: Option<String>,
}

/// Why a root half cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HandsError {
    /// Its store cannot be opened.
    #[error("the root half's store: {0}")]
    Store(store::OpenError),
    /// The socket cannot be made.
    #[error("{path}: {source}; give another place with --socket")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in one of the homes cannot be read or written, or makes no sense.
    #[error("{0}")]
    Home(String),
}

impl HandsError {
    fn home(why: impl std::fmt::Display) -> Self {
        Self::Home(why.to_string())
    }
}

/// A root half that runs. Dropping it stops it.
pub struct Hands {
    serving: JoinHandle<()>,
    failed: watch::Receiver<Option<String>>,
    socket: PathBuf,
    /// Held for as long as this half listens.
    _lock: File,
}

/// Starts a root half: from now on a network half may connect.
pub async fn start(options: HandsOptions) -> Result<Hands, HandsError> {
    let (broke, failed) = watch::channel(None);
    crate::home::private_dirs(&options.home).map_err(HandsError::home)?;
    let places = Places {
        home: options.home.clone(),
        other: options.other.clone(),
        targets: options.targets.clone(),
        hooks_user: options.hooks_user.clone(),
    };
    let mut door = Door {
        places,
        user: options.user,
        open: None,
        has_started_again: false,
        broke,
        alarm: Alarm::default(),
        comings: Alarm::default(),
    };
    door.keeper()?;
    let at_socket = |source| HandsError::Socket { path: options.socket.clone(), source };
    let lock = lock(&options.socket).map_err(at_socket)?;
    let listener = listen(&options.socket, options.user).map_err(at_socket)?;
    let serving = tokio::spawn(door.serve(listener));
    Ok(Hands { serving, failed, socket: options.socket, _lock: lock })
}

impl Hands {
    /// Stops: what was begun is begun anew by the next.
    pub async fn stop(mut self) {
        self.serving.abort();
        // It was told to end.
        drop((&mut self.serving).await);
        // Everyone who could say more has gone: the store is closed.
        while self.failed.changed().await.is_ok() {}
        fs::remove_file(&self.socket).ok();
    }

    /// Resolves with the reason when it cannot go on; never otherwise.
    pub async fn failed(&mut self) -> String {
        match self.failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "it has stopped".to_owned(),
        }
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whoever has this has the socket: only then is one that stands there a dead one's.
fn lock(socket: &Path) -> io::Result<File> {
    let at = socket.with_extension("lock");
    let lock = File::options().create(true).write(true).truncate(false).mode(0o600).open(at)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another root half listens there, maybe of another node"))
        }
    }
}

/// Makes the socket for one user alone; one that stands there is a dead one's.
fn listen(path: &Path, user: u32) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what stands there is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Under another name until it is nobody else's.
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
    if rustix::process::geteuid().as_raw() != user {
        chown(&draft, Some(user), None)?;
    }
    fs::rename(&draft, path)?;
    Ok(listener)
}

/// What stands behind the socket.
struct Door {
    places: Places,
    user: u32,
    /// Once it is known who the node is.
    open: Option<Keeper>,
    /// Whether what a new start of the machine starts again was started.
    has_started_again: bool,
    broke: watch::Sender<Option<String>>,
    alarm: Alarm,
    /// Who comes and goes may do so without end.
    comings: Alarm,
}

impl Door {
    /// The keeper, if the machine belongs to a fleet by now.
    fn keeper(&mut self) -> Result<Option<Keeper>, HandsError> {
        if self.open.is_none()
            && let Some(pinned) = Pinned::load(&self.places.home, &self.places.other)?
        {
            self.open = Some(Keeper::start(&self.places, pinned, self.broke.clone())?);
        }
        Ok(self.open.clone())
    }

    /// Serves whoever came last, and goes on alone while nobody is there.
    async fn serve(mut self, listener: UnixListener) {
        let mut present: Option<UnixStream> = None;
        loop {
            let keeper = self.keeper();
            if let Ok(Some(keeper)) = &keeper
                && !std::mem::replace(&mut self.has_started_again, true)
            {
                keeper.start_again(&self.places.home).await;
            }
            let voice = if present.is_some() { self.comings.voice() } else { Voice::Silent };
            let next = self.arrival(&listener);
            present = match (keeper, present) {
                (Ok(Some(keeper)), Some(stream)) => tokio::select! {
                    biased;
                    next = next => Some(next),
                    ended = session::serve(stream, &keeper, voice) => {
                        said_goodbye(ended, voice);
                        None
                    }
                },
                (Ok(Some(keeper)), None) => tokio::select! {
                    biased;
                    next = next => Some(next),
                    () = alone::go_on(&keeper) => None,
                },
                (Ok(None), None) | (Err(_), None) => Some(next.await),
                (Ok(None), Some(stream)) => {
                    drop(next);
                    session::turn_away(stream, "this machine has joined no fleet yet".to_owned()).await;
                    None
                }
                (Err(error), Some(stream)) => {
                    drop(next);
                    self.alarm.refused("the network half", &error);
                    session::turn_away(stream, error.to_string()).await;
                    None
                }
            };
        }
    }

    /// The next connection of the user who may connect.
    async fn arrival(&mut self, listener: &UnixListener) -> UnixStream {
        loop {
            match listener.accept().await.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream))) {
                Ok((peer, stream)) if peer.uid() == self.user => return stream,
                Ok((peer, _)) => {
                    self.alarm.refused(format!("a connection of user {}", peer.uid()), "it is not its user")
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted now; it is tried again and again");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
}

/// How long to wait when the machine is out of descriptors: whoever waits in the queue is offered again at once.
const BREATH: std::time::Duration = std::time::Duration::from_millis(50);

fn said_goodbye(ended: io::Result<()>, voice: Voice) {
    match (ended, voice) {
        (_, Voice::Silent) => {}
        (Ok(()), Voice::Aloud) => tracing::info!("the network half has gone"),
        (Err(error), Voice::Aloud) => tracing::warn!(%error, "the network half has gone"),
    }
}
