//! What reaches an engine's driver, from sockets, jobs and clients. Words only.

use super::tally::Tally;
use crate::tls::{Peer, Stream};
use content::{ContentId, Digested, NodeId, PieceNo};
use engine::door::{Answer, DownReason, Input, Message, Request, Time};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::ReadError;
use tokio::sync::{mpsc, oneshot};

/// The way in. It is bounded: whoever reads from a socket waits here when the engine is behind.
pub(crate) type Inbox = mpsc::Sender<Incoming>;

/// How many things may wait in an inbox; each may hold a payload, so this bounds memory too.
pub(crate) const INBOX: usize = 256;

/// The bytes of a piece, shared between the write job and those who send it on.
pub(crate) type Payload = Arc<Vec<u8>>;

/// A pair of connections: never used twice, so that late words of an old pair are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// What comes in.
pub(crate) enum Incoming {
    /// Something that needs nothing but to be told.
    Input(Box<Input>),
    /// Several of them, told together.
    Inputs(Vec<Input>),
    /// Both connections to a peer are there.
    Linked(Box<NewLink>),
    /// Something from a pair of connections.
    From {
        /// Which pair.
        link: LinkId,
        /// Whose it is.
        peer: NodeId,
        /// What.
        what: FromLink,
    },
    /// A client asks.
    Ask {
        /// What.
        request: Request,
        /// Whose certificate asks, if anyone's.
        by: Option<NodeId>,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// A client wants to read a page or a piece.
    Read {
        /// Of which content.
        content: ContentId,
        /// Which.
        piece: PieceNo,
        /// Where it goes.
        bytes: oneshot::Sender<Result<Payload, ReadError>>,
    },
    /// Somebody wants to see that the driver turns.
    Turn {
        /// Told when it was this one's turn, and with whom it is connected then.
        turned: oneshot::Sender<Connected>,
    },
    /// Somebody wants to know what was counted.
    Tally(oneshot::Sender<(Tally, Time)>),
    /// Close everything, in order.
    Stop,
}

impl Incoming {
    /// Something that needs nothing but to be told.
    pub(crate) fn input(input: Input) -> Self {
        Self::Input(Box::new(input))
    }
}

/// With whom a node is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Connected {
    /// Origins.
    pub(crate) origins: usize,
    /// Everyone else.
    pub(crate) others: usize,
}

/// What comes from a pair of connections.
pub(crate) enum FromLink {
    /// A control message.
    Message(Box<Message>),
    /// A payload.
    Payload {
        /// Of which content.
        content: ContentId,
        /// Which piece.
        piece: PieceNo,
        /// Its bytes and their digest, which is not compared with anything yet.
        bytes: Digested,
    },
    /// A payload has left, or (0 bytes) could not.
    Sent {
        /// Of which content.
        content: ContentId,
        /// Which piece.
        piece: PieceNo,
        /// How many bytes.
        bytes: u32,
        /// How long it took since it was first in line.
        took: Duration,
    },
    /// The pair is gone.
    Down(DownReason),
}

/// A pair of connections that was just made.
pub(crate) struct NewLink {
    /// Who is on the other side.
    pub(crate) peer: Peer,
    /// From where it is seen.
    pub(crate) seen: IpAddr,
    /// The address that was dialled; `None` when it dialled us.
    pub(crate) dialled: Option<SocketAddr>,
    /// The connection for messages.
    pub(crate) control: Stream,
    /// The connection for payloads.
    pub(crate) bulk: Stream,
}
