//! The tables: a row for each cell, a column for each tool, and beside them what was promised and what was foretold.

use super::cells::{Bounds, Cell};
use super::foretold::Foretold;
use super::records::{Ending, Record, Spent};

/// The tool whose figures are held against promises and predictions.
const OURS: &str = "tiding";
/// How far a prediction may be from what is measured, either way.
const CLOSE: f64 = 0.10;
/// The longest reason of a failure that a table shows, in characters.
const REASON: usize = 80;

/// What the tables have in them.
const HEAD: &str = "\
Median (low - high) of the runs. F: the file; R: the rate of a link; B = F / R: one unicast without any overhead.
Kept: which bound the median of tiding keeps, the one it must keep or the one it aims at. Model: the simulator's median.
";

/// Something that is measured in every cell.
struct Measure {
    title: &'static str,
    of: fn(&Cell, &Spent) -> f64,
    bounds: fn(&Cell) -> Option<Bounds>,
    /// What the simulator calls it, in cells with a rate and in cells without.
    foretold: (&'static str, &'static str),
}

const MEASURES: [Measure; 6] = [
    Measure {
        title: "Last receiver, verified, by B (in milliseconds where links have no limit)",
        of: |cell, spent| cell.unicast().map_or(spent.last * 1000.0, |unicast| spent.last / unicast),
        bounds: |cell| cell.last,
        foretold: ("last / B", "publish to last, ms"),
    },
    Measure {
        title: "Sent by the source, by F",
        of: |cell, spent| spent.source / cell.bytes as f64,
        bounds: |cell| cell.source,
        foretold: ("sent by the origin / F", "sent by the origin / F"),
    },
    Measure {
        title: "Sent by all for each receiver, by F",
        of: |cell, spent| spent.all / cell.receivers() / cell.bytes as f64,
        bounds: |cell| cell.each,
        foretold: ("received by each / F", "received by each / F"),
    },
    Measure {
        title: "Processor seconds for each GiB delivered, all hosts, less what a hypervisor took",
        of: |_, spent| spent.cpu,
        bounds: |cell| cell.cpu,
        foretold: ("CPU s / GiB", "CPU s / GiB"),
    },
    Measure {
        title: "Milliseconds until the last receiver had its first piece, as the tool says",
        of: |_, spent| spent.first,
        bounds: |_| None,
        foretold: ("", ""),
    },
    Measure {
        title: "Per cent of the processors that a hypervisor took meanwhile: above a few, times are not to be believed",
        of: |_, spent| spent.stolen,
        bounds: |_| None,
        foretold: ("", ""),
    },
];

/// All tables of what was measured, as Markdown.
pub(crate) fn all(cells: &[Cell], tools: &[String], records: &[Record], foretold: &Foretold) -> String {
    let cells: Vec<&Cell> =
        cells.iter().filter(|cell| tools.iter().any(|tool| records.iter().any(|r| r.is_of(cell.name, tool)))).collect();
    let one = |measure: &Measure| format!("\n{}", table(measure, &cells, tools, records, foretold));
    let models = foretold.models().iter().map(|model| format!("\nModel of {model}\n")).collect::<String>();
    HEAD.to_owned() + &MEASURES.iter().map(one).collect::<String>() + &models
}

fn table(measure: &Measure, cells: &[&Cell], tools: &[String], records: &[Record], foretold: &Foretold) -> String {
    let mut columns = vec!["cell".to_owned(), "must / aim".to_owned()];
    columns.extend(tools.iter().cloned());
    columns.push("kept".to_owned());
    columns.extend(["model", "model / lab", "within 10 %"].map(String::from));
    let rule = columns.iter().enumerate().map(|(index, _)| if index == 0 { "---" } else { "--:" }.to_owned());
    let mut lines = vec![format!("**{}**\n", measure.title), row(&columns), row(&rule.collect::<Vec<_>>())];
    for cell in cells {
        let endings = |tool: &str| -> Vec<Ending> {
            records.iter().filter(|record| record.is_of(cell.name, tool)).map(Record::ending).collect()
        };
        let bounds = (measure.bounds)(cell);
        let mut fields = vec![format!("{}: {}", cell.name, cell.about()), bounds.map_or("".into(), both)];
        fields.extend(tools.iter().map(|tool| field(measure, cell, &endings(tool))));
        let ours = Spread::of(figures(measure, cell, &endings(OURS)));
        fields.push(kept(bounds, ours.as_ref(), &endings(OURS)).to_owned());
        fields.extend(beside(measure, cell, ours.as_ref(), foretold));
        lines.push(row(&fields));
    }
    lines.join("\n") + "\n"
}

fn row(fields: &[String]) -> String {
    format!("| {} |", fields.join(" | "))
}

fn both(bounds: Bounds) -> String {
    format!("{} / {}", bounds.must, bounds.aim)
}

/// Whether our median keeps what was promised. A run without an end breaks any promise.
fn kept(bounds: Option<Bounds>, ours: Option<&Spread>, endings: &[Ending]) -> &'static str {
    let Some(bounds) = bounds.filter(|_| !endings.is_empty()) else { return "" };
    let has_ended = endings.iter().all(|ending| matches!(ending, Ending::Done(_)));
    match ours.filter(|_| has_ended) {
        Some(ours) if ours.median <= bounds.aim => "aim",
        Some(ours) if ours.median <= bounds.must => "must",
        _ => "NO",
    }
}

/// What was foretold, by what was measured, and whether that is close.
fn beside(measure: &Measure, cell: &Cell, ours: Option<&Spread>, foretold: &Foretold) -> Vec<String> {
    let (with_rate, without_rate) = measure.foretold;
    let what = if cell.mbit.is_some() { with_rate } else { without_rate };
    let model = cell.scenario.and_then(|scenario| foretold.median(scenario, what));
    let ratio = model.zip(ours).map(|(model, ours)| model / ours.median);
    let is_close = |ratio: f64| if (ratio - 1.0).abs() <= CLOSE { "yes" } else { "**no**" };
    vec![
        model.map_or(String::new(), show),
        ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        ratio.map_or(String::new(), |ratio| is_close(ratio).to_owned()),
    ]
}

/// What a tool's runs came to.
fn field(measure: &Measure, cell: &Cell, endings: &[Ending]) -> String {
    let never = endings.iter().filter(|ending| **ending == Ending::Never).count();
    let why = endings.iter().find_map(|ending| if let Ending::Failed(why) = ending { Some(why) } else { None });
    let failed = endings.iter().filter(|ending| matches!(ending, Ending::Failed(_))).count();
    let of = endings.len();
    let spread = Spread::of(figures(measure, cell, endings));
    let mut parts: Vec<String> = spread.map(|spread| spread.to_string()).into_iter().collect();
    match never {
        0 => {}
        _ if never == of => parts.push("never ends".into()),
        _ => parts.push(format!("{never} of {of} never ended")),
    }
    if let Some(why) = why {
        let short: String = why.replace(['|', '\n'], " ").chars().take(REASON).collect();
        parts.push(format!("{failed} of {of} failed: {short}"));
    }
    parts.join("; ")
}

fn figures(measure: &Measure, cell: &Cell, endings: &[Ending]) -> Vec<f64> {
    let figure = |ending: &Ending| match ending {
        Ending::Done(spent) => Some((measure.of)(cell, spent)),
        Ending::Never | Ending::Failed(_) => None,
    };
    endings.iter().filter_map(figure).filter(|figure| figure.is_finite()).collect()
}

/// Some figures, lowest to highest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
    is_single: bool,
}

impl Spread {
    fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (low, high) = (*figures.first()?, *figures.last()?);
        let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { low, median: (below + above) / 2.0, high, is_single: figures.len() == 1 })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_single {
            true => write!(f, "{}", show(self.median)),
            false => write!(f, "{} ({} - {})", show(self.median), show(self.low), show(self.high)),
        }
    }
}

/// Three digits, or two decimals.
fn show(figure: f64) -> String {
    match figure.abs() {
        f if f >= 100.0 => format!("{figure:.0}"),
        f if f >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::cells::named;
    use crate::swarm::records::read_all;

    /// A broadcast to 16 hosts at 50 Mbit/s that took so many unicasts.
    fn done(tool: &str, unicasts: f64) -> String {
        let last = unicasts * (32 << 20) as f64 * 8.0 / 50e6;
        let (source, all) = ((32 << 20) as f64 * 1.1, (32 << 20) as f64 * 15.0 * 1.01);
        format!(
            r#"{{"cell": "16-50", "tool": "{tool}", "outcome": "done", "last_s": {last}, "sent_by_source": {source},
                "sent_by_all": {all}, "cpu_s_per_gib": 20.0}}"#
        )
        .replace('\n', " ")
            + "\n"
    }

    fn ended(tool: &str, outcome: &str, why: &str) -> String {
        format!(r#"{{"cell": "16-50", "tool": "{tool}", "outcome": "{outcome}", "why": "{why}"}}"#) + "\n"
    }

    fn tables(lines: &[String]) -> String {
        let tools = ["tiding", "chain"].map(String::from);
        let foretold = Foretold::from_lines("lab-16-50\tlast / B\t1.18\nlab-16-50\tsent by the origin / F\t1.4\n");
        let records = read_all(&lines.concat()).expect("they are records");
        all(&[named("16-50").expect("it is there")], &tools, &records, &foretold)
    }

    #[test]
    fn a_row_has_medians_spreads_promises_and_what_was_foretold() {
        let text = tables(&[done("tiding", 1.3), done("chain", 1.06), done("tiding", 1.12), done("tiding", 1.16)]);
        let row =
            "| 16-50: 16 hosts, 50 Mbit/s, 32 MiB | 1.15 / 1.07 | 1.16 (1.12 - 1.30) | 1.06 | NO | 1.18 | 1.02 | yes |";
        assert!(text.contains(row), "{text}");
        let source = "| 1.2 / 1.05 | 1.10 (1.10 - 1.10) | 1.10 | must | 1.40 | 1.27 | **no** |";
        assert!(text.contains(source), "{text}");
        assert!(text.contains("| 1.05 / 1.02 | 1.01 (1.01 - 1.01) | 1.01 | aim |"), "{text}");
    }

    #[test]
    fn what_never_ends_or_fails_is_said_in_its_place() {
        let never = ended("chain", "never ended", "");
        let text = tables(&[never.clone(), never, done("tiding", 1.0), ended("tiding", "failed", "a|b")]);
        assert!(text.contains("| 1.00; 1 of 2 failed: a b | never ends | NO |"), "{text}");
    }

    #[test]
    fn a_median_of_two_lies_between_them() {
        let spread = Spread::of(vec![3.0, 1.0]).expect("there are figures");
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn cells_that_were_not_measured_have_no_row() {
        assert!(!tables(&[]).contains("16-50"));
    }
}
