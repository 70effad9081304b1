//! A flock: real engines by the thousand on a network and hosts that only cost time, to see how fast a broadcast is.
//!
//! Where [`crate::sweep`] rehearses what goes wrong on disks and in crashes, a flock measures. There are no payload bytes and
//! no stores: jobs are answered by a model of their cost, so that a hundred thousand engines fit into one machine. Time is
//! virtual and everything follows from a [`Plan`] and a seed. The model is stated in [`model`], and printed with every figure.
//!
//! What is not modelled: how a scheduler shares a machine among processes (their work is done in the order in which it comes),
//! switches that reorder, and TCP's search for its share where several senders meet in one link (they are served in turn, whole
//! pieces at a time).

mod agenda;
mod cores;
mod diary;
pub mod figures;
mod member;
pub mod model;
mod outcome;
mod papers;
mod pipes;
mod plan;
mod run;
pub mod scenario;
mod steered;

pub use diary::{Arrivals, Diary, Stretch};
pub use member::Manner;
pub use model::{Model, Shared};
pub use outcome::Outcome;
pub use plan::{Mishap, Plan};
pub use run::{Progress, run, run_telling};
pub use steered::{Said, Steered};
