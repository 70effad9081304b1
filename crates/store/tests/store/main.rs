//! The store on a disk in memory: whole trips, every crash, every failure, hostile content, publishing.

extern crate tiding_store as store;

mod adopt;
mod ailing;
mod crash;
mod faults;
mod hands;
mod hostile;
mod kept;
mod lent;
mod memory;
mod owners;
mod patching;
mod publish;
mod render;
mod repair;
mod trees;
mod trips;
mod world;
