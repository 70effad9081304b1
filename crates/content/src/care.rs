//! What a node runs when it switches to a release, and how it finds out whether the release is well.
//!
//! All of it stands in the signed release: nobody who only moves bytes or opens waves can say what a node runs.

use crate::encoding::{Decoder, Encode, Encoder, Malformed, check_text, require};

/// A command that a node runs, by `/bin/sh -c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The line for the shell; 1 to 4,096 bytes of UTF-8 without control characters.
    pub line: String,
    /// As whom; `None` is whoever the agent runs as. At most 32 bytes.
    pub user: Option<String>,
    /// After so many milliseconds it is killed, and has failed; 1 to an hour.
    pub timeout_ms: u32,
}

/// The commands of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// Before the path is swung: when it fails, nothing changes.
    pub before: Option<Hook>,
    /// After it was swung: when it fails, the node goes back.
    pub after: Option<Hook>,
    /// After it was swung back. When it fails that is said, and nothing else is done.
    pub back: Option<Hook>,
    /// After the machine was started anew, when this is what was confirmed last. When it fails that is said, and nothing else is done.
    pub boot: Option<Hook>,
}

/// What is asked whether a release is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A command that ends with 0.
    Command(Hook),
    /// A TCP port that accepts, at this host.
    Tcp {
        /// A name or an address; 1 to 253 bytes.
        host: String,
        /// The port.
        port: u16,
        /// After so many milliseconds it has failed.
        timeout_ms: u32,
    },
    /// An HTTP resource that answers a GET with a status from 200 to 399.
    Http {
        /// A name or an address; 1 to 253 bytes.
        host: String,
        /// The port.
        port: u16,
        /// The path, with its query; begins with `/`; at most 1,024 bytes.
        path: String,
        /// After so many milliseconds it has failed.
        timeout_ms: u32,
    },
    /// A systemd unit that is active; its name.
    Unit(String),
}

/// How often probes are made, and when a node is well: when of the last `of` rounds `need` went well, all probes of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The probes of a round; none means that whoever has switched is well.
    pub probes: Vec<Probe>,
    /// From one round to the next, in milliseconds; 10 to an hour.
    pub every_ms: u32,
    /// So many rounds must go well.
    pub need: u8,
    /// Of the last so many; 1 to 100.
    pub of: u8,
}

impl Default for Health {
    fn default() -> Self {
        Self { probes: Vec::new(), every_ms: 1000, need: 2, of: 3 }
    }
}

impl Hook {
    /// The longest line, in bytes.
    pub const MAX_LINE: usize = 4096;
    /// The longest time, in milliseconds.
    pub const MAX_TIMEOUT_MS: u32 = 60 * 60 * 1000;
    const MAX_USER: usize = 32;

    fn check(&self) -> Result<(), Malformed> {
        plain("a command", &self.line, Self::MAX_LINE)?;
        self.user.as_ref().map_or(Ok(()), |user| plain("a user", user, Self::MAX_USER))?;
        check_timeout(self.timeout_ms)
    }
}

fn plain(what: &'static str, text: &str, most: usize) -> Result<(), Malformed> {
    check_text(Hook::WHAT, what, text, most)?;
    require(!text.is_empty(), Hook::WHAT, &format!("{what} is empty"))
}

fn check_timeout(timeout_ms: u32) -> Result<(), Malformed> {
    let fine = (1..=Hook::MAX_TIMEOUT_MS).contains(&timeout_ms);
    require(fine, Hook::WHAT, "a timeout is nothing, or longer than an hour")
}

impl Hooks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn check(&self) -> Result<(), Malformed> {
        [&self.before, &self.after, &self.back, &self.boot].into_iter().flatten().try_for_each(Hook::check)
    }
}

impl Probe {
    const MAX_HOST: usize = 253;
    const MAX_PATH: usize = 1024;

    fn check(&self) -> Result<(), Malformed> {
        match self {
            Self::Command(hook) => hook.check(),
            Self::Tcp { host, timeout_ms, .. } => {
                plain("a host", host, Self::MAX_HOST)?;
                check_timeout(*timeout_ms)
            }
            Self::Http { host, path, timeout_ms, .. } => {
                plain("a host", host, Self::MAX_HOST)?;
                plain("a path", path, Self::MAX_PATH)?;
                let fine = path.starts_with('/') && !path.contains(' ');
                require(fine, Self::WHAT, "a path does not begin with `/`, or has a space")?;
                check_timeout(*timeout_ms)
            }
            Self::Unit(name) => {
                plain("a unit", name, Self::MAX_HOST)?;
                require(!name.starts_with('-'), Self::WHAT, "a unit's name begins with `-`")
            }
        }
    }
}

impl Health {
    /// The most probes of a round.
    pub const MAX_PROBES: usize = 16;
    const EVERY_MS: std::ops::RangeInclusive<u32> = 10..=60 * 60 * 1000;

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Self::WHAT, why);
        rule(self.probes.len() <= Self::MAX_PROBES, "there are more than 16 probes")?;
        rule(Self::EVERY_MS.contains(&self.every_ms), "probes are made more than 100 times a second, or hardly ever")?;
        rule((1..=100).contains(&self.of), "it looks at no rounds, or at more than 100")?;
        rule((1..=self.of).contains(&self.need), "it needs no round to go well, or more than it looks at")?;
        self.probes.iter().try_for_each(Probe::check)
    }
}

impl Encode for Hook {
    const WHAT: &'static str = "command";

    fn put(&self, to: &mut Encoder) {
        to.text(&self.line).text(self.user.as_deref().unwrap_or("")).number(self.timeout_ms);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let line = from.text("a command", Self::MAX_LINE)?;
        let user = Some(from.text("a user", Self::MAX_USER)?).filter(|user| !user.is_empty());
        Ok(Self { line, user, timeout_ms: from.number32("a timeout")? })
    }
}

impl Encode for Hooks {
    const WHAT: &'static str = "hooks";

    fn put(&self, to: &mut Encoder) {
        to.option(self.before.as_ref()).option(self.after.as_ref()).option(self.back.as_ref());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        // The command of a start of the machine came later, and stands at the release's end.
        Ok(Self { before: from.option()?, after: from.option()?, back: from.option()?, boot: None })
    }
}

impl Encode for Probe {
    const WHAT: &'static str = "probe";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Command(hook) => to.byte(1).value(hook),
            Self::Tcp { host, port, timeout_ms } => to.byte(2).text(host).number(*port).number(*timeout_ms),
            Self::Http { host, port, path, timeout_ms } => {
                to.byte(3).text(host).number(*port).text(path).number(*timeout_ms)
            }
            Self::Unit(name) => to.byte(4).text(name),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let host = |from: &mut Decoder<'_>| from.text("a host", Self::MAX_HOST);
        let port = |from: &mut Decoder<'_>| from.within("a port", 0..=u16::MAX.into()).map(|port| port as u16);
        Ok(match from.byte()? {
            1 => Self::Command(from.value()?),
            2 => Self::Tcp { host: host(from)?, port: port(from)?, timeout_ms: from.number32("a timeout")? },
            3 => Self::Http {
                host: host(from)?,
                port: port(from)?,
                path: from.text("a path", Self::MAX_PATH)?,
                timeout_ms: from.number32("a timeout")?,
            },
            4 => Self::Unit(from.text("a unit", Self::MAX_HOST)?),
            other => return Err(from.wrong(format!("there is no sort of probe {other}"))),
        })
    }
}

impl Encode for Health {
    const WHAT: &'static str = "health";

    fn put(&self, to: &mut Encoder) {
        to.list(self.probes.iter()).number(self.every_ms).byte(self.need).byte(self.of);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            probes: from.list("the number of probes", Self::MAX_PROBES, 2)?,
            every_ms: from.number32("the time between probes")?,
            need: from.byte()?,
            of: from.byte()?,
        })
    }
}
