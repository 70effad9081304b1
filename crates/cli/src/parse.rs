//! Values of flags that clap does not know: durations, rates, labels, names made from paths.

use content::order::{AtOnce, Wave};
use content::{Label, Rate};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("write a number and ms, s, m, h or d: 500ms, 30s, 10m, 1h, 2d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "there is no number before the unit".to_owned())?;
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

/// Where figures are shown: an address of this machine alone, or any other behind the word `public`.
pub(crate) fn metrics(text: &str) -> Result<SocketAddr, String> {
    let (is_public, address) = text.strip_prefix("public:").map_or((false, text), |address| (true, address));
    let address: SocketAddr = address
        .parse()
        .map_err(|_| format!("`{text}` is no address; write an IP address and a port: 127.0.0.1:9723"))?;
    match is_public || address.ip().is_loopback() {
        true => Ok(address),
        false => Err(format!(
            "others can reach {address}, and the figures tell names of applications to whoever asks; write public:{address} \
             if a firewall sees to it who may"
        )),
    }
}

/// A limit as somebody said it; `none` is a limit that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Rate>);

/// A rate, or `none`.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" { Ok(Limit(None)) } else { rate(text).map(|rate| Limit(Some(rate))) }
}

const RATES: &str = "write bits as kbit, Mbit, Gbit and bytes as kB, MB, GB, each per second: 50Mbit, 2.5Gbit, 6MB";

/// A rate: a number with a point at most, and a unit that says whether it counts bits or bytes, powers of a thousand.
fn rate(text: &str) -> Result<Rate, String> {
    let plain = text.strip_suffix("/s").unwrap_or(text);
    let digits = plain.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = plain.split_at(digits);
    let bits: u64 = match unit.trim_start() {
        "kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        "kB" => 8_000,
        "MB" => 8_000_000,
        "GB" => 8_000_000_000,
        "" => return Err(format!("a number alone may be bits or bytes; {RATES}")),
        other => return Err(format!("`{other}` is no unit of a rate here; {RATES}")),
    };
    let bits = scaled(number, bits).ok_or_else(|| format!("`{number}` is no number that can be used; {RATES}"))?;
    match Rate(bits / 8) {
        rate if rate < Rate::LEAST => Err("less than 8kbit moves nothing in time; give more, or none".to_owned()),
        rate => Ok(rate),
    }
}

const SIZES: &str = "write bytes as 64MiB, 1GiB, 64MB, or a number alone";

/// A number of bytes, with a unit or none.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let bytes = match unit.trim_start() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("`{other}` is no unit of a size here; {SIZES}")),
    };
    scaled(number, bytes).ok_or_else(|| format!("`{number}` is no number that can be used; {SIZES}"))
}

/// A decimal number times a unit, without what a float would lose.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let part = match part {
        None => 0,
        Some(part) if part.is_empty() || part.len() > 9 => return None,
        Some(part) => {
            let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
            u64::try_from(u128::from(part.parse::<u64>().ok()?) * u128::from(unit) / scale).ok()?
        }
    };
    whole.checked_add(part)
}

/// A label: `key=value`.
pub(crate) fn label(text: &str) -> Result<(Label, Label), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value, for example zone=a")?;
    let part = |part| Label::new(part).map_err(|bad| bad.to_string());
    Ok((part(key)?, part(value)?))
}

/// What is asked, before it is known how long an answer may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Shell(String),
    Tcp { host: String, port: u16 },
    Http { host: String, port: u16, path: String },
    Unit(String),
}

const PROBES: &str = "write http://HOST:PORT/PATH, tcp://HOST:PORT, unit:NAME or sh:LINE";

/// Something that says whether a release is well.
pub(crate) fn probe(text: &str) -> Result<Asked, String> {
    let (sort, rest) = text.split_once(':').ok_or(PROBES)?;
    match (sort, rest.strip_prefix("//")) {
        ("http", Some(rest)) => {
            let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
            let (host, port) = host_and_port(place, Some(80))?;
            Ok(Asked::Http { host, port, path: path.to_owned() })
        }
        ("https", _) => Err("a node asks itself, over plain http; for anything else use sh:curl …".to_owned()),
        ("tcp", Some(place)) => {
            let (host, port) = host_and_port(place, None)?;
            Ok(Asked::Tcp { host, port })
        }
        ("unit", None) if !rest.is_empty() => Ok(Asked::Unit(rest.to_owned())),
        ("sh", None) if !rest.trim().is_empty() => Ok(Asked::Shell(rest.to_owned())),
        _ => Err(PROBES.to_owned()),
    }
}

/// `HOST:PORT`; an IPv6 address stands in brackets.
fn host_and_port(text: &str, usual: Option<u16>) -> Result<(String, u16), String> {
    let no_port = || usual.ok_or_else(|| format!("`{text}` has no port; {PROBES}"));
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, no_port()?),
        Some((host, port)) => (host, port_of(port.strip_prefix(':').unwrap_or(port))?),
        None => match text.split_once(':') {
            Some((host, port)) => (host, port_of(port)?),
            None => (text, no_port()?),
        },
    };
    if host.is_empty() { Err(format!("`{text}` names no host; {PROBES}")) } else { Ok((host.to_owned(), port)) }
}

fn port_of(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("`{text}` is no port"))
}

/// So many of so many: `2/3`.
pub(crate) fn share(text: &str) -> Result<(u8, u8), String> {
    let parts = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((k, n)) if 1 <= k && k <= n && n <= 100 => Ok((k, n)),
        _ => Err("write how many of how many, for example 2/3; at most of 100".to_owned()),
    }
}

/// A wave: so many nodes, or such a share of them.
pub(crate) fn wave(text: &str) -> Result<Wave, String> {
    const WAVES: &str = "write numbers of nodes and shares of all of them, for example 1,10%,50%,100%";
    let text = text.trim();
    let wave = match text.strip_suffix('%') {
        Some(share) => scaled(share, 10).filter(|share| *share <= 1000).map(|share| Wave::PerMille(share as u16)),
        None => text.parse().ok().map(Wave::Count),
    };
    wave.filter(|wave| !matches!(wave, Wave::Count(0) | Wave::PerMille(0))).ok_or_else(|| WAVES.to_owned())
}

/// After which wave a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// After every one but the last.
    All,
    /// After this one, counted from 1.
    After(u8),
}

/// A gate: the number of a wave, or `all`.
pub(crate) fn gate(text: &str) -> Result<Gate, String> {
    const GATES: &str = "write the numbers of waves, the first being 1, for example 1,2; or all";
    match text.trim() {
        "all" => Ok(Gate::All),
        text => text.parse().ok().filter(|wave| *wave > 0).map(Gate::After).ok_or_else(|| GATES.to_owned()),
    }
}

/// How many at once: a count or a share, of all or of those with the same label.
pub(crate) fn at_once(text: &str) -> Result<AtOnce, String> {
    const LIMITS: &str = "write how many, of all or by a label, for example 50, 10% or rack=1";
    let (by, most) = match text.split_once('=') {
        Some((key, most)) => (Some(Label::new(key.trim()).map_err(|bad| format!("{bad}; {LIMITS}"))?), most),
        None => (None, text),
    };
    wave(most).map(|most| AtOnce { by, most }).map_err(|_| LIMITS.to_owned())
}

/// The name of an application from the last part of a path: lower case, and a dash for what a name may not hold.
pub(crate) fn name_from(path: &Path) -> Option<String> {
    let last = path.file_name()?.to_string_lossy().to_lowercase();
    let fitting = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let name: String = last.chars().map(|c| if fitting(c) { c } else { '-' }).take(64).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    if name.is_empty() { None } else { Some(name.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        assert!(duration("90").is_err() && duration("s").is_err() && duration("-1s").is_err());
        assert!(duration("99999999999999999d").is_err());
    }

    #[test]
    fn a_rate_says_whether_it_counts_bits_or_bytes() {
        let of = |text| limit(text).map(|limit| limit.0.map(|rate| rate.0));
        let rates = [
            ("200Mbit", 25_000_000),
            ("2.5Gbit", 312_500_000),
            ("6MB", 6_000_000),
            ("6 MB", 6_000_000),
            ("50Mbit/s", 6_250_000),
            ("8kbit", 1000),
            ("0.5GB", 500_000_000),
        ];
        for (text, bytes) in rates {
            assert_eq!(of(text), Ok(Some(bytes)), "{text}");
        }
        assert_eq!(of("none"), Ok(None));
    }

    #[test]
    fn sizes_are_bytes_and_an_unclear_one_is_refused() {
        for (text, bytes) in [("7", 7), ("64MiB", 64 << 20), ("1.5GiB", 3 << 29), ("2 kB", 2000), ("3B", 3)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for unclear in ["", "MiB", "64M", "64Mib", "-1", "1e3", "99999999999GiB"] {
            let why = size(unclear).expect_err(unclear);
            assert!(why.contains("64MiB"), "{unclear}: {why}");
        }
    }

    #[test]
    fn an_unclear_rate_is_refused_and_what_is_clear_is_said() {
        for unclear in ["50", "50M", "50Mb", "50mb", "50Mbps", "50MiB", "Mbit", "-5MB", "1e3MB", "5.MB", "1.2.3MB", ""]
        {
            let why = limit(unclear).expect_err(unclear);
            assert!(why.contains("50Mbit, 2.5Gbit, 6MB"), "{unclear}: {why}");
        }
        for much in ["99999999999999999999MB", "9999999999999GB", "0.0000000001GB"] {
            assert!(limit(much).is_err(), "{much}");
        }
        assert!(limit("7kbit").is_err() && limit("0MB").is_err());
    }

    #[test]
    fn a_probe_says_what_is_asked_and_where() {
        let http = |host: &str, port, path: &str| Asked::Http { host: host.to_owned(), port, path: path.to_owned() };
        assert_eq!(probe("http://127.0.0.1:8080/up?x=1"), Ok(http("127.0.0.1", 8080, "/up?x=1")));
        assert_eq!(probe("http://localhost"), Ok(http("localhost", 80, "/")));
        assert_eq!(probe("http://[::1]:81/"), Ok(http("::1", 81, "/")));
        assert_eq!(probe("tcp://db:5432"), Ok(Asked::Tcp { host: "db".to_owned(), port: 5432 }));
        assert_eq!(probe("unit:web.service"), Ok(Asked::Unit("web.service".to_owned())));
        assert_eq!(probe("sh:test -e /x"), Ok(Asked::Shell("test -e /x".to_owned())));
        for unclear in ["tcp://db", "http:/x", "web", "unit:", "sh: ", "http://:80/", "tcp://db:0", "https://x/"] {
            assert!(probe(unclear).is_err(), "{unclear}");
        }
    }

    #[test]
    fn waves_are_counts_and_shares() {
        assert_eq!(wave("1"), Ok(Wave::Count(1)));
        assert_eq!(wave(" 12.5%"), Ok(Wave::PerMille(125)));
        assert_eq!(wave("100%"), Ok(Wave::PerMille(1000)));
        assert!(["0", "0%", "101%", "-1", "ten", "5 %x", ""].iter().all(|unclear| wave(unclear).is_err()));
        assert_eq!(share("2/3"), Ok((2, 3)));
        assert!(["3/2", "0/3", "2", "2/300"].iter().all(|unclear| share(unclear).is_err()));
    }

    #[test]
    fn labels_have_a_key_and_a_value() {
        assert!(label("zone=a").is_ok());
        assert!(label("zone").is_err() && label("=a").is_err() && label("zone=A B").is_err());
    }

    #[test]
    fn names_are_made_from_paths() {
        assert_eq!(name_from(Path::new("/srv/My App")).as_deref(), Some("my-app"));
        assert_eq!(name_from(Path::new("./.git")).as_deref(), Some("git"));
        assert_eq!(name_from(Path::new("/")), None);
    }
}
