//! Filled by its own commit.
fn main() {}
