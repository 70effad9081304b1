//! What others named must not steer who reads it: control characters, and characters that turn the direction of text, are
//! shown as what they are, on a terminal and on a page.

/// Text for people, on one line.
pub fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if is_steering(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Text for people that may have several lines.
pub fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

/// Whether a character steers a terminal, or the eye of whoever reads it.
pub fn is_steering(c: char) -> bool {
    let direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unseen =
        matches!(c, '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || direction || unseen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f19_terminal_escapes_and_turned_text_are_shown_as_what_they_are() {
        assert_eq!(escape("a\x1b[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(escape("evil\u{202e}txt.exe"), "evil\\u{202e}txt.exe");
        assert_eq!(escape("näme 世界"), "näme 世界");
        assert_eq!(escape_lines("a\nb\x07"), "a\nb\\u{7}");
    }
}
