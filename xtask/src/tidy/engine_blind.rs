//! The engine decides without knowing where anything is: no paths, files, sockets, URLs, formats, threads or clocks.

use super::Finding;
use super::source::Tree;

/// What it must not name. Addresses are told, compared and passed on, so `SocketAddr` is no socket.
const WORDS: [&str; 20] = [
    "std::path",
    "PathBuf",
    "OsStr",
    "OsString",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "std::time::Instant",
    "SystemTime",
    "serde",
    "async",
    "Mutex",
    "http",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.of_crate("engine");
    files
        .flat_map(|(file, _)| file.mentions(file.product(), &WORDS, "the engine has no I/O and knows no paths"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_or_a_socket_is_found() {
        let tree = Tree::of(&[(
            "crates/engine/src/a.rs",
            "use std::net::SocketAddr;\nuse std::path::Path;\nfn f(s: std::net::TcpStream) {}\n// std::fs is fine in words\n",
        )]);
        assert_eq!(check(&tree).len(), 2);
    }
}
