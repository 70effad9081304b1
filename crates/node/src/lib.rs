//! Hangs the real world on the doors: sockets and TLS, files, timers, the control API.
//!
//! Nothing is decided here. The engine decides, the store remembers; this crate carries bytes between them, the network and
//! the disk, and says who is on the other end of a connection.
//!
//! * [`founding`] makes a fleet, [`join`] makes a machine part of one, [`daemon`] runs a node.
//! * [`client`] asks an origin, [`publish`] brings it something new, [`gate`] says by a command whether its next wave opens, [`people`] makes and removes operators, [`moving`] brings their keys elsewhere; [`api`] holds the words they exchange, [`audit`] reads its journals, [`backup`] keeps
//!   what it takes to be that origin again.
//! * [`page`] and [`metrics`] show a fleet and a node to whoever looks; `standing` and `pace` are what they, and the terminal, say of nodes.
//! * [`vitals`] tells a supervisor how a node does, in the words of [`notify`].
//! * [`halves`] makes two processes of a node, of which only one is root and only the other one talks.
//! * [`disk`] is the real file system, [`hands`] are threads for the store; inside, `identity` holds keys and certificates, `tls` who may talk through which door,
//!   and `driver` the one task that owns an engine.

mod accounts;
pub mod api;
pub mod audit;
pub mod backup;
mod boot;
pub mod client;
mod clock;
pub mod daemon;
mod desk;
pub mod difference;
pub mod disk;
mod driver;
pub mod escape;
mod exchange;
pub mod founding;
pub mod freshness;
pub mod gate;
mod gulp;
pub mod halves;
pub mod hands;
mod histogram;
mod home;
mod http;
mod identity;
pub mod join;
mod kernel;
pub mod leaving;
mod life;
mod limits;
pub mod metrics;
pub mod moving;
pub mod notify;
pub mod own;
pub mod pace;
pub mod page;
pub mod people;
pub mod publish;
pub mod reach;
pub mod renewal;
pub mod rotation;
mod runner;
pub mod scratch;
pub mod selection;
mod shares;
pub mod standing;
#[cfg(test)]
mod testing;
mod tls;
pub mod traces;
pub mod trees;
pub mod vitals;
pub mod vouching;
mod warden;
pub mod watching;
pub mod webhooks;
