//! What every fuzz target asserts about the bytes that it is given.
//!
//! The crates' own tests include these files to replay the corpus; so they use nothing but the crate that they are about.

pub mod content;
pub mod decoder;
pub mod executable;
pub mod patch;
pub mod wire;
