//! Hangs a pretend world on the doors: virtual time, network, disks, faults, checkers, all from one seed.
//!
//! It implements [`store::Disk`] ([`disk::SimDisk`]) and the network, and nothing else: the engines and stores that run in
//! it are the real ones, driven as the real driver drives them. A seed decides the machines, the operators' script, what
//! goes wrong and when; [`Outcome::hash`] covers every input and output of every engine, so two runs of a seed can be
//! compared.
//!
//! [`flock`] is another kind of world: engines by the thousand and no stores, to measure and not to break.
//!
//! What is *not* simulated: certificates (who is connected is who it says it is), the wall clock, owners of files, and
//! programs that run from the live tree.

mod boot;
mod check;
#[cfg(test)]
mod cut;
pub mod dice;
pub mod disk;
mod drive;
pub mod flock;
mod host;
mod net;
mod plan;
mod strikes;
mod sweep;
mod tree;
mod truth;
mod world;

pub use check::{Broken, Promise};
pub use plan::{Kind, Plan};
pub use strikes::{Strike, Strikes};
pub use sweep::{Report, replay, run_seed, sweep};
pub use world::Outcome;
