//! Decides everything a node decides, through its doors, without I/O.
//!
//! The engine is one state machine. Something comes in through a door ([`door::Input`]), something goes out
//! ([`door::Output`]), nothing else happens. After every [`Engine::handle`] the driver drains [`Engine::poll`], and calls
//! again at the latest at [`Engine::deadline`].

mod chance;
pub mod door;
pub mod wire;

use door::{Config, Input, Output, Recovered, Time};

/// Everything a node decides.
pub struct Engine {}

impl Engine {
    /// An engine that remembers what was recovered. `seed` breaks ties; the same inputs and seed give the same outputs.
    pub fn new(_me: content::NodeId, _config: Config, _recovered: Recovered, _seed: u64, _now: Time) -> Self {
        todo!()
    }

    /// Takes one input.
    pub fn handle(&mut self, _now: Time, _input: Input) {
        todo!()
    }

    /// Gives the next output, if there is one.
    pub fn poll(&mut self) -> Option<Output> {
        todo!()
    }

    /// When to come back with [`Input::Tick`] at the latest, if nothing else comes in.
    pub fn deadline(&self) -> Option<Time> {
        todo!()
    }
}
