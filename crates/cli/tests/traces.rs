//! `--traces` with the real binary: a collector on this machine hears of a rollout, and a build that cannot tell says so.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::Lab;
use said::{deploy, expect};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

/// Reads one post, and takes it.
fn take(stream: TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.to_lowercase().strip_prefix("content-length: ") {
            Some(said) => length = said.trim().parse().ok()?,
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    Some(body)
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

#[test]
fn a_collector_hears_of_a_rollout_or_is_refused_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    if !cfg!(feature = "otel") {
        let refused = Lab::new().operator_less(&["run", "--traces", &url]);
        return expect(&refused, 2, "built without traces");
    }
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(tell.send(take(stream)))));
    let lab = Lab::listening("127.0.0.1:0", &["--traces", &url]);
    let _agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    fs::create_dir(&source).expect("a directory can be made");
    fs::write(source.join("file"), "bytes").expect("a file can be written");
    expect(&deploy(&lab, &source, &["-m", "spans are wanted"]), 0, "confirmed on 1 of 1 node");
    let posts = told.iter().flatten().find(|post| holds(post, "rollout")).expect("it is told");
    assert!(holds(&posts, "spans are wanted") && holds(&posts, "tiding.release"));
    expect(&lab.operator_less(&["run", "--traces", "https://collector"]), 2, "plain HTTP");
}
