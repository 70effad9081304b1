//! Sizes, times, rates and directives in words for people.

use content::directive::Verb;
use std::time::Duration;
use time::OffsetDateTime;

/// Bytes: `17 B`, `1.5 kB`, `128 MB`; powers of a thousand.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Bytes per second.
pub(crate) fn rate(bytes: u64, over: Duration) -> String {
    format!("{}/s", size((bytes as f64 / over.as_secs_f64().max(0.001)) as u64))
}

/// A limit, in bits as links are measured: `50 Mbit/s`; powers of a thousand.
pub(crate) fn bits(bytes_per_second: u64) -> String {
    const UNITS: [&str; 5] = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"];
    let (mut value, mut unit) = (bytes_per_second as f64 * 8.0, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(value < 99.95 && value.fract() >= 0.05 && value.fract() < 0.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A duration: `85 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..100 => format!("{:.1} s", duration.as_secs_f64()),
        100..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A wall-clock time in seconds since 1970, in UTC: `2026-11-22 08:06:28`.
pub(crate) fn moment(seconds: u64) -> String {
    let known = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    known.map_or_else(
        || "-".to_owned(),
        |at| {
            let (date, time) = (at.date(), at.time());
            let (month, day) = (u8::from(date.month()), date.day());
            format!(
                "{:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
                date.year(),
                time.hour(),
                time.minute(),
                time.second()
            )
        },
    )
}

/// Microseconds as milliseconds with one digit, or a dash.
pub(crate) fn millis(micros: Option<u64>) -> String {
    micros.map_or_else(|| "-".to_owned(), |micros| format!("{:.1}", micros as f64 / 1000.0))
}

/// A count with its noun: `1 node`, `2 nodes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The first characters of a digest, enough for people.
pub(crate) fn short(digest: &str) -> String {
    node::escape::escape(&digest.chars().take(10).collect::<String>())
}

/// How names with numbers are sorted: `node-2` before `node-10`.
pub(crate) fn by_number(name: &str) -> (String, u64, String) {
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (head, number) = name.split_at(digits);
    (head.to_owned(), number.parse().unwrap_or(0), name.to_owned())
}

/// What a directive is called before it is done, and after.
pub(crate) fn directed(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Pause => ("pause", "is paused"),
        Verb::Resume => ("resume", "goes on"),
        Verb::Promote => ("promote", "opens its next wave"),
        Verb::Abort => ("abort", "is aborted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits() {
        let shown: Vec<String> = [0, 999, 1000, 1550, 99_960, 999_700, 128_000_000].map(size).into();
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.6 kB", "100 kB", "1.0 MB", "128 MB"]);
    }

    #[test]
    fn limits_are_shown_in_bits() {
        let shown: Vec<String> = [1000, 6_250_000, 312_500_000, 17_857_142].map(bits).into();
        assert_eq!(shown, ["8 kbit/s", "50 Mbit/s", "2.5 Gbit/s", "143 Mbit/s"]);
    }

    #[test]
    fn durations_read_like_a_clock() {
        let shown = [85, 1200, 185_000, 7_800_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["85 ms", "1.2 s", "3 min 5 s", "2 h 10 min"]);
    }

    #[test]
    fn names_sort_by_their_number() {
        let mut names = ["node-10", "node-2", "db-3", "node"];
        names.sort_by_key(|name| by_number(name));
        assert_eq!(names, ["db-3", "node", "node-2", "node-10"]);
    }

    #[test]
    fn nouns_agree() {
        assert_eq!([count(1, "node"), count(2, "node")], ["1 node", "2 nodes"]);
    }
}
