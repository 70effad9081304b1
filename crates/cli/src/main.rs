//! The single binary `tiding`.
fn main() {}
