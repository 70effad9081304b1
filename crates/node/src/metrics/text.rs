//! The text format of Prometheus (version 0.0.4): a head for each metric, a line for each of its values.
//!
//! It is some sixty lines. A library for it would keep values of its own beside those that the engine has already, and be longer.

use super::families::{Family, Kind};
use crate::escape::escape;
use crate::histogram::Histogram;
use std::fmt::{Display, Write};

/// A text that grows.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    /// A metric without labels.
    pub(crate) fn one(&mut self, family: &Family, value: impl Display) {
        self.each(family, [([], value)]);
    }

    /// A metric without labels that is not always known.
    pub(crate) fn maybe(&mut self, family: &Family, value: Option<impl Display>) {
        self.each(family, value.map(|value| ([], value)));
    }

    /// A metric with its values, each under its labels.
    pub(crate) fn each<'a, const N: usize, V: Display>(
        &mut self,
        family: &Family,
        values: impl IntoIterator<Item = ([&'a str; N], V)>,
    ) {
        debug_assert!(N == family.labels.len() && family.kind != Kind::Histogram, "{}", family.name);
        self.head(family);
        for (labels, value) in values {
            self.line(family.name, "", &labelled(family, &labels), &value);
        }
    }

    /// A histogram under each of its labels.
    pub(crate) fn timed<'a, const N: usize>(
        &mut self,
        family: &Family,
        values: impl IntoIterator<Item = ([&'a str; N], &'a Histogram)>,
    ) {
        debug_assert!(N == family.labels.len() && family.kind == Kind::Histogram, "{}", family.name);
        self.head(family);
        for (labels, histogram) in values {
            self.steps(family.name, &labelled(family, &labels), histogram);
        }
    }

    /// The whole text.
    pub(crate) fn end(self) -> String {
        self.0
    }

    fn steps(&mut self, name: &str, labels: &[String], histogram: &Histogram) {
        let mut below = 0;
        let ends = histogram.ends.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (end, count) in ends.zip(&histogram.counts) {
            below += count;
            let labels = [labels, &[format!("le=\"{end}\"")]].concat();
            self.line(name, "_bucket", &labels, &below);
        }
        self.line(name, "_sum", labels, &histogram.sum);
        self.line(name, "_count", labels, &histogram.count());
    }

    fn head(&mut self, Family { name, kind, help, .. }: &Family) {
        let text = help.replace('\\', "\\\\");
        self.write(format_args!("# HELP {name} {text}\n# TYPE {name} {}\n", kind.word()));
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &[String], value: &dyn Display) {
        match labels.is_empty() {
            true => self.write(format_args!("{name}{suffix} {value}\n")),
            false => self.write(format_args!("{name}{suffix}{{{}}} {value}\n", labels.join(","))),
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes everything");
    }
}

/// Labels as they stand in a line. What others named may steer nobody, and ends no line.
fn labelled(family: &Family, values: &[&str]) -> Vec<String> {
    let quoted = |value: &str| escape(value).replace('\\', "\\\\").replace('"', "\\\"");
    family.labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{}\"", quoted(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::families::Who;
    use super::*;
    use std::time::Duration;

    const fn family(kind: Kind, labels: &'static [&'static str]) -> Family {
        Family { name: "x", kind, who: Who::Node, labels, help: "Some \\ thing" }
    }

    #[test]
    fn values_stand_under_their_head() {
        let mut text = Text::default();
        text.one(&family(Kind::Gauge, &[]), 0.25);
        text.maybe(&family(Kind::Gauge, &[]), None::<u64>);
        text.each(&family(Kind::Counter, &["a", "b"]), [(["1", "2"], 7_u64)]);
        let head = "# HELP x Some \\\\ thing\n# TYPE x ";
        assert_eq!(text.end(), format!("{head}gauge\nx 0.25\n{head}gauge\n{head}counter\nx{{a=\"1\",b=\"2\"}} 7\n"));
    }

    #[test]
    fn steps_of_a_histogram_hold_those_below() {
        let (mut text, mut histogram) = (Text::default(), Histogram::new(&[0.5, 1.0]));
        [400, 900, 5000].into_iter().for_each(|ms| histogram.note(Duration::from_millis(ms)));
        text.timed(&family(Kind::Histogram, &["m"]), [(["after"], &histogram)]);
        let lines = text.end();
        let lines: Vec<&str> = lines.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "x_bucket{m=\"after\",le=\"0.5\"} 1",
                "x_bucket{m=\"after\",le=\"1\"} 2",
                "x_bucket{m=\"after\",le=\"+Inf\"} 3",
                "x_sum{m=\"after\"} 6.3",
                "x_count{m=\"after\"} 3",
            ]
        );
    }

    #[test]
    fn w6_what_others_named_ends_no_line_and_no_quote() {
        let mut text = Text::default();
        text.each(&family(Kind::Gauge, &["app"]), [(["a\"} 1\ny 2 \\\u{1b}[2J"], 1)]);
        let text = text.end();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with("x{app=\"a\\\"} 1\\\\u{a}y 2 \\\\\\\\u{1b}[2J\"} 1\n"), "{text}");
    }
}
