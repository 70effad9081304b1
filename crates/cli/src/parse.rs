//! Values of flags that clap does not know: durations, labels, names made from paths.

use content::Label;
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

/// A label: `key=value`.
pub(crate) fn label(text: &str) -> Result<(Label, Label), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value, for example zone=a")?;
    let part = |part| Label::new(part).map_err(|bad| bad.to_string());
    Ok((part(key)?, part(value)?))
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
