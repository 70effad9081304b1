//! Bytes at rest are known to `content::encoding`, message bytes to `engine::wire`; beside them nobody takes numbers apart.

use super::Finding;
use super::source::Tree;

/// How numbers become bytes and back.
const WORDS: [&str; 9] = [
    "to_le_bytes",
    "to_be_bytes",
    "to_ne_bytes",
    "from_le_bytes",
    "from_be_bytes",
    "from_ne_bytes",
    "byteorder",
    "serde",
    "bincode",
];

/// The crates that have an encoding, and where it is.
const HOMES: [(&str, &str); 2] = [("content", "encoding"), ("engine", "wire")];

/// Tables that stay packed in memory, and look up single rows of what the encoding has checked.
const PACKED: [&str; 2] = ["crates/content/src/manifest/table.rs", "crates/content/src/spec.rs"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    HOMES.iter().flat_map(|(name, home)| of_crate(tree, name, home)).collect()
}

fn of_crate(tree: &Tree, name: &str, home: &str) -> Vec<Finding> {
    let elsewhere = tree.of_crate(name).filter(|(file, path)| {
        *path != format!("{home}.rs") && !path.starts_with(&format!("{home}/")) && !PACKED.contains(&file.path.as_str())
    });
    let why = format!("only {name}::{home} makes bytes of values");
    elsewhere.flat_map(|(file, _)| file.mentions(file.product(), &WORDS, &why)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_encoding_is_found() {
        let number = "fn f(x: u32) -> [u8; 4] { x.to_le_bytes() }\n";
        let tree = Tree::of(&[("crates/content/src/encoding.rs", number), ("crates/content/src/cut.rs", number)]);
        assert_eq!(check(&tree)[0].place, "crates/content/src/cut.rs:1");
        let tree = Tree::of(&[("crates/engine/src/wire/message.rs", number), ("crates/engine/src/swarm.rs", number)]);
        assert_eq!(check(&tree).len(), 1);
    }
}
