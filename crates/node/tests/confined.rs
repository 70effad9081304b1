//! What a network half cannot do to its machine once it has given that away, whoever owns it and whatever its user may.

use tiding_node as node;

use node::halves::confine::{self, Confined};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// Something to try, and in words what it is.
type Try<'a> = (&'a str, Box<dyn Fn() -> io::Result<()> + 'a>);

/// What must fail: writing, reading and looking outside, and executing anything.
fn forbidden<'a>(home: &'a Path, outside: &'a Path) -> Vec<Try<'a>> {
    let (secret, fresh, own) = (outside.join("secret"), outside.join("fresh"), home.join("own"));
    let at = |path: &Path| path.to_owned();
    // Harmless, should it be allowed after all.
    let open_to_write = |path: &str| fs::File::options().append(true).open(path).map(drop);
    let run = |program: &str| Command::new(program).arg("--list").stdin(Stdio::null()).status().map(drop);
    let (one, two, three, four, five, six) = (at(&fresh), at(&fresh), at(&fresh), at(&fresh), at(&fresh), at(&fresh));
    let (read, open, cut, gone, moved, linked) =
        (at(&secret), at(&secret), at(&secret), at(&secret), at(&secret), at(&secret));
    let (from, away, copy) = (at(&own), at(&own), home.join("copy-of-true"));
    vec![
        ("writing a new file", Box::new(move || fs::write(&one, "x"))),
        ("making a directory", Box::new(move || fs::create_dir(&two))),
        ("making a link", Box::new(move || symlink("/etc/passwd", &three))),
        ("linking a file of its own to the outside", Box::new(move || fs::hard_link(&from, &four))),
        ("moving a file of its own to the outside", Box::new(move || fs::rename(&away, &five))),
        ("binding a socket", Box::new(move || UnixListener::bind(&six).map(drop))),
        ("reading", Box::new(move || fs::read(&read).map(drop))),
        ("opening to write", Box::new(move || fs::File::options().append(true).open(&open).map(drop))),
        ("truncating", Box::new(move || fs::File::create(&cut).map(drop))),
        ("removing", Box::new(move || fs::remove_file(&gone))),
        ("moving it in", Box::new(move || fs::rename(&moved, home.join("taken")))),
        ("linking it in", Box::new(move || fs::hard_link(&linked, home.join("taken")))),
        ("listing", Box::new(move || fs::read_dir(outside).map(drop))),
        ("removing a directory", Box::new(move || fs::remove_dir(outside.join("empty")))),
        ("changing one of the system's programs", Box::new(move || open_to_write("/usr/bin/env"))),
        ("changing who is who", Box::new(move || open_to_write("/etc/passwd"))),
        ("speaking with a device", Box::new(move || open_to_write("/dev/null"))),
        ("changing what the kernel does", Box::new(move || open_to_write("/proc/sys/kernel/hostname"))),
        ("running a shell", Box::new(move || run("/bin/sh"))),
        ("running itself", Box::new(move || run("/proc/self/exe"))),
        ("running what it has written itself", Box::new(move || Command::new(&copy).status().map(drop))),
    ]
}

/// What a network half needs.
fn needed<'a>(home: &'a Path, socket: &'a Path, port: u16) -> Vec<Try<'a>> {
    vec![
        ("writing at home", Box::new(move || fs::write(home.join("note"), "x"))),
        ("reading at home", Box::new(move || fs::read(home.join("own")).map(drop))),
        ("removing at home", Box::new(move || fs::remove_file(home.join("note")))),
        ("moving between directories at home", Box::new(move || fs::rename(home.join("a/x"), home.join("b/x")))),
        ("looking names up", Box::new(move || fs::read("/etc/passwd").map(drop))),
        ("speaking with the root half", Box::new(move || UnixStream::connect(socket).map(drop))),
        ("speaking with other machines", Box::new(move || TcpStream::connect(("127.0.0.1", port)).map(drop))),
    ]
}

#[test]
fn h14_what_a_network_half_gave_away_it_does_not_get_back() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let (home, outside) = (temp.path().join("home"), temp.path().join("outside"));
    for made in ["home/a", "home/b", "outside/empty"] {
        fs::create_dir_all(temp.path().join(made)).expect("made");
    }
    for (file, text) in [("home/own", "own"), ("home/a/x", "x"), ("outside/secret", "secret")] {
        fs::write(temp.path().join(file), text).expect("written");
    }
    fs::copy("/bin/true", home.join("copy-of-true")).expect("copied");
    fs::set_permissions(home.join("copy-of-true"), fs::Permissions::from_mode(0o755)).expect("ours");
    let socket = temp.path().join("outside/socket");
    let _root_half = UnixListener::bind(&socket).expect("bound");
    let others = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let port = others.local_addr().expect("it is bound").port();
    // What is given away is a thread's: the other tests of this process keep theirs.
    let (confined, outcomes) = std::thread::scope(|scope| {
        let tried = || {
            let confined = confine::network_half(&home);
            if matches!(confined, Confined::Not(_)) {
                return (confined, Default::default());
            }
            let of = |tries: Vec<Try<'_>>| tries.into_iter().map(|(what, act)| (what.to_owned(), act())).collect();
            let outcomes: [Vec<(String, io::Result<()>)>; 2] =
                [of(forbidden(&home, &outside)), of(needed(&home, &socket, port))];
            (confined, outcomes)
        };
        scope.spawn(tried).join().expect("nothing of it panics")
    });
    if let Confined::Not(why) = &confined {
        return eprintln!("!!! SKIPPED h14_what_a_network_half_gave_away...: {why}");
    }
    let [forbidden, needed] = outcomes;
    for (what, outcome) in forbidden {
        let kind = outcome.map_err(|error| error.kind());
        let is_refused = matches!(kind, Err(ErrorKind::PermissionDenied | ErrorKind::CrossesDevices));
        assert!(is_refused, "{what}: {kind:?}, {confined:?}");
    }
    for (what, outcome) in needed {
        outcome.unwrap_or_else(|error| panic!("{what}: {error}, {confined:?}"));
    }
    assert_eq!(fs::read(outside.join("secret")).expect("it is there"), b"secret");
}
