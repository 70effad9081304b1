//! Users and groups of this machine, as everything that it is told of them says: files, LDAP, whatever `nsswitch.conf` names.
//!
//! They are asked for by `getent`, which is where the C library is and needs no unsafe code; where it is not, `/etc/passwd` and `/etc/group`
//! are read. Nothing is remembered: a user who was made a moment ago is known.

use std::io;
use std::process::{Command, Stdio};
use store::owners::Accounts;

/// How long `getent` may take, in seconds.
const PATIENCE: &str = "10";
/// How it ends when it has found somebody, and when there is nobody of that name (getent(1)).
const FOUND: i32 = 0;
const UNKNOWN: i32 = 2;
/// How `timeout` ends when there is no `getent` (timeout(1)).
const NO_SUCH_PROGRAM: i32 = 127;

/// Whom this machine knows.
#[derive(Debug)]
pub(crate) struct Machine;

impl Accounts for Machine {
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        let Some(line) = entry("passwd", name)? else { return Ok(None) };
        number(&line, 2).zip(number(&line, 3)).map(Some).ok_or_else(|| garbled(&line))
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        let Some(line) = entry("group", name)? else { return Ok(None) };
        number(&line, 2).map(Some).ok_or_else(|| garbled(&line))
    }
}

/// The line of a database that begins with a name.
fn entry(database: &str, name: &str) -> io::Result<Option<String>> {
    // A directory service that does not answer must not hold up everything else that a store has to do.
    let mut command = Command::new("timeout");
    command.args(["-k", "1", PATIENCE, "getent", database, name]).env("LC_ALL", "C");
    let said = match command.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(asked) => match asked.status.code() {
            Some(FOUND) => asked.stdout,
            Some(UNKNOWN) => return Ok(None),
            Some(NO_SUCH_PROGRAM) => std::fs::read(format!("/etc/{database}"))?,
            _ => return Err(io::Error::other(format!("getent {database} ended with {}", asked.status))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::read(format!("/etc/{database}"))?,
        Err(error) => return Err(error),
    };
    Ok(line_of(&String::from_utf8_lossy(&said), name))
}

fn line_of(lines: &str, name: &str) -> Option<String> {
    lines.lines().find(|line| line.split(':').next() == Some(name)).map(str::to_owned)
}

fn number(line: &str, field: usize) -> Option<u32> {
    line.split(':').nth(field)?.parse().ok()
}

fn garbled(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{line}` is no line of users or groups"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_this_machine_knows_is_found_by_name_and_nobody_else_is() {
        assert_eq!(Machine.user("root").expect("it can be asked"), Some((0, 0)));
        assert_eq!(Machine.group("root").expect("it can be asked"), Some(0));
        assert_eq!(Machine.user("no-such-user-here").expect("it can be asked"), None);
        assert_eq!(Machine.group("no-such-group-here").expect("it can be asked"), None);
    }

    #[test]
    fn a_line_is_one_of_the_name_and_not_of_one_that_begins_like_it() {
        let passwd = "apple:x:1:2::/:/bin/sh\napp:x:1001:1002::/:/bin/sh\n";
        let line = line_of(passwd, "app").expect("it is there");
        assert_eq!((number(&line, 2), number(&line, 3)), (Some(1001), Some(1002)));
        assert_eq!(line_of(passwd, "ap"), None);
    }
}
