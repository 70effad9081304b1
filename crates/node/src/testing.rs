//! What the tests of several modules share: a fleet's identities in memory, a port, an engine that is asked by hand.

use crate::api::FleetStatus;
use crate::desk::Desk;
use crate::driver::{Handle, Incoming, Tally};
use crate::founding;
use crate::home;
use crate::identity::{Authority, Identity, new_key, pin_of, wall_clock};
use crate::tls::{Accepted, Tls, TlsError};
use crate::vouching::Authorities;
use content::{Digest, FleetId, Role, Signed};
use engine::door::{Answer, Request, Time};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};

/// A fleet that exists in memory only.
pub(crate) struct Fleet {
    pub(crate) authority: Authority,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::create().expect("a CA") }
    }

    /// The digest that a join line would pin.
    pub(crate) fn pin(&self) -> Digest {
        pin_of(self.authority.certificate())
    }

    /// A new member's side of TLS.
    pub(crate) fn tls(&self, role: Role) -> Arc<Tls> {
        let (key, temp) = (new_key(), tempfile::tempdir().expect("a temporary directory"));
        let leaf = self.authority.issue_own(&key, role, wall_clock()).expect("a certificate");
        let files = Identity::to_files(&key, &leaf, self.authority.certificate());
        home::write_set(&temp.path().join("me"), &files).expect("written");
        Arc::new(Tls::new(&Identity::load(&temp.path().join("me")).expect("read")).expect("it fits"))
    }
}

/// A signed root of some fleet.
pub(crate) fn signed_root() -> (Signed, FleetId) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let options = founding::FoundOptions {
        home: temp.path().join("home"),
        operator_home: temp.path().join("operator"),
        listen: ([127, 0, 0, 1], 1).into(),
        advertise: Vec::new(),
        name: "first".to_owned(),
        datacenter: "here".to_owned(),
        operator: "alice".to_owned(),
    };
    founding::found(&options).expect("founded");
    let (signed, fleet, _) = founding::read_root(&options.operator_home).expect("a root");
    (signed, fleet)
}

/// A port behind which somebody sits.
pub(crate) struct Guest {
    tls: Arc<Tls>,
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Guest {
    pub(crate) async fn listen(tls: Arc<Tls>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        Self { tls, listener, address }
    }

    pub(crate) async fn accept(&self) -> (Result<Accepted, TlsError>, SocketAddr) {
        let (tcp, from) = self.listener.accept().await.expect("a connection");
        (self.tls.accept(tcp, from).await, from)
    }
}

/// An engine whose answers are a function; `touch` says that something changed.
pub(crate) fn answering(mut answer: impl FnMut(Request) -> Answer + Send + 'static) -> (Handle, watch::Sender<u64>) {
    let (inbox, mut asked) = mpsc::channel(8);
    let (touch, changed) = watch::channel(0);
    tokio::spawn(async move {
        while let Some(incoming) = asked.recv().await {
            match incoming {
                Incoming::Ask { request, answer: to, .. } => drop(to.send(answer(request))),
                Incoming::Tally(to) => drop(to.send((Tally::default(), Time(0)))),
                _ => {}
            }
        }
    });
    (Handle { inbox, changed, events: broadcast::channel(8).0, sent: Arc::default(), by: None }, touch)
}

/// A desk before such an engine.
pub(crate) fn desk(handle: Handle) -> Desk {
    Desk {
        handle,
        me: FleetStatus::default(),
        role: Role::Origin,
        tls: Fleet::new().tls(Role::Origin),
        fleet: FleetId(Digest::of(b"fleet")),
        addresses: vec![([127, 0, 0, 1], 1).into()],
        authorities: Some(Arc::new(Authorities::of(Fleet::new().authority))),
    }
}
