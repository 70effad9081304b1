//! Names and sizes in words: the one place where bytes that others chose become text that people see.

use std::fmt::Write;

/// A name, path or link target as people may safely see it: control characters, characters that steer the direction of
/// text or cannot be seen, bytes that are not UTF-8 and backslashes are escaped.
pub fn name(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(&mut shown, c));
        chunk.invalid().iter().for_each(|byte| push_escape(&mut shown, format_args!("\\x{byte:02x}")));
    }
    shown
}

fn push(shown: &mut String, c: char) {
    match c {
        '\\' => shown.push_str("\\\\"),
        c if c.is_control() || is_unseen(c) => push_escape(shown, format_args!("\\u{{{:x}}}", u32::from(c))),
        c => shown.push(c),
    }
}

fn push_escape(shown: &mut String, escape: std::fmt::Arguments<'_>) {
    shown.write_fmt(escape).expect("writing to a string cannot fail");
}

/// Characters without a shape of their own: they reorder, join or hide what stands beside them.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A number of bytes in words, with a decimal where it matters: `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = |nth: usize| 1u64 << (10 * (nth + 1));
    match (0..UNITS.len()).rev().find(|&nth| bytes >= unit(nth)) {
        None => format!("{bytes} bytes"),
        Some(nth) => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit(nth));
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[nth])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_fool_a_terminal_or_a_reader_is_escaped() {
        assert_eq!(name("naïve/文.txt".as_bytes()), "naïve/文.txt");
        assert_eq!(name(b"a\x1b[31mb\n\\"), "a\\u{1b}[31mb\\u{a}\\\\");
        assert_eq!(name(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(name("exe\u{202e}txt".as_bytes()), "exe\\u{202e}txt");
    }

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16383.9 PiB");
    }
}
