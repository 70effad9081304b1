//! The files that a browser loads, inside the binary: plain HTML, style and modules, as they stand in `web/`.

/// A file and what it is.
pub(crate) struct Asset {
    pub(crate) kind: &'static str,
    pub(crate) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The file at a path.
pub(crate) fn asset(path: &str) -> Option<Asset> {
    let (kind, text) = match path {
        "/" => (HTML, include_str!("web/page.html")),
        "/page.css" => (STYLE, include_str!("web/page.css")),
        "/page.js" => (SCRIPT, include_str!("web/page.js")),
        "/fleet.js" => (SCRIPT, include_str!("web/fleet.js")),
        "/flock.js" => (SCRIPT, include_str!("web/flock.js")),
        "/marks.js" => (SCRIPT, include_str!("web/marks.js")),
        "/rollout.js" => (SCRIPT, include_str!("web/rollout.js")),
        "/nodes.js" => (SCRIPT, include_str!("web/nodes.js")),
        "/words.js" => (SCRIPT, include_str!("web/words.js")),
        _ => return None,
    };
    Some(Asset { kind, text })
}

/// What is said to someone whose token was just exchanged: the page is elsewhere, and the token in no address any more.
pub(crate) const WELCOME: Asset = Asset { kind: HTML, text: include_str!("web/welcome.html") };

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Every file that a browser loads.
    const ALL: [&str; 9] =
        ["/", "/page.css", "/page.js", "/fleet.js", "/flock.js", "/marks.js", "/rollout.js", "/nodes.js", "/words.js"];

    /// The colours of a scheme: the first list is the light one, the second the dark one.
    fn colours(scheme: usize) -> BTreeMap<&'static str, f64> {
        let list = asset("/page.css").expect("it is there").text.split(":root {").nth(scheme + 1).expect("a list");
        let pairs = list.split('}').next().unwrap_or_default().split("--").filter_map(|pair| pair.split_once(": #"));
        pairs.map(|(name, colour)| (name, luminance(&colour[..6]))).collect()
    }

    /// As WCAG 2.2 defines it.
    fn luminance(hex: &str) -> f64 {
        let part = |at: usize| {
            let part = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    }

    fn contrast(a: f64, b: f64) -> f64 {
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn words_and_marks_stand_out_enough_in_light_and_dark() {
        for scheme in [0, 1] {
            let of = colours(scheme);
            assert!(of.len() > 18, "the list of colours is understood");
            let words =
                [("text", "panel"), ("muted", "panel"), ("muted", "ground"), ("accent", "panel"), ("danger", "panel")];
            let more =
                [("good", "panel"), ("warn", "panel"), ("warn", "warn-ground"), ("ink", "accent"), ("ink", "danger")];
            let letters = ["confirmed", "live", "failed", "fell-back"].map(|is| ("ink", format!("mark-{is}")));
            let letters = letters.iter().map(|(ink, mark)| (*ink, &**mark));
            for (above, below) in words.into_iter().chain(more).chain(letters) {
                let found = contrast(of[above], of[below]);
                assert!(found >= 4.5, "{above} on {below} in scheme {scheme}: {found:.2}");
            }
            for (mark, colour) in of.iter().filter(|(name, _)| name.starts_with("mark-") || **name == "focus") {
                let found = contrast(*colour, of["panel"]);
                assert!(found >= 3.0, "{mark} in scheme {scheme}: {found:.2}");
            }
        }
    }

    #[test]
    fn h12_w4_nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup() {
        for path in ALL {
            let text = asset(path).expect("it is there").text;
            assert!(text.len() > 100, "{path}");
            let addresses =
                text.match_indices("://").map(|(at, _)| &text[at.saturating_sub(5)..(at + 20).min(text.len())]);
            let named: Vec<&str> = addresses.filter(|address| !address.contains("www.w3.org")).collect();
            assert!(named.is_empty(), "{path} names {named:?}");
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=\"", "onclick=\""]
            {
                assert!(!text.contains(word), "{path}: {word}");
            }
        }
    }

    #[test]
    fn every_module_that_is_imported_is_there() {
        for path in ALL.iter().filter(|path| path.ends_with(".js")) {
            let text = asset(path).expect("it is there").text;
            for import in text.lines().filter_map(|line| line.split_once(" from \"./")) {
                let file = import.1.split('"').next().unwrap_or_default();
                assert!(asset(&format!("/{file}")).is_some(), "{path} imports {file}");
            }
        }
    }
}
