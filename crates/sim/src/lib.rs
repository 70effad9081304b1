//! Hangs a pretend world on the doors: virtual time, network, disks, faults, checkers, all from one seed.

pub mod dice;
pub mod disk;
