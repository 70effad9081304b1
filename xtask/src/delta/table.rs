//! The tables: patch bytes with what was promised, what ours takes beside its limits, and what each tool took.

use super::measured::Spent;
use super::pairs::{Bounds, Pair, Set};
use super::records::{Outcome, Record};
use super::tools::{ALL, BEST, BSDIFF, FAST, HDIFFPATCH, ZSTD};
use anyhow::{Context, Result};
use std::path::Path;

/// What the tables have in them.
const HEAD: &str = "\
Patch bytes; every patch was applied by another process that had only it and the old file, and compared byte by byte. A star: measured once, not in this run.
Ratio: ours (best) by the smallest of the generic tools (all but Zucchini, which knows programs, too). Trees are given to the others as canonical tars.
";

/// Below what ratio each limit must be, where a limit has one figure only.
const DIFF_CPU: Bounds = Bounds { must: 2.0, aim: 2.0 };
const DIFF_MEMORY: Bounds = Bounds { must: 12.0, aim: 12.0 };
const APPLY_CPU: Bounds = Bounds { must: 3.0, aim: 1.2 };
const APPLY_MEMORY: Bounds = Bounds { must: 3.0, aim: 1.5 };
/// Fast patches by those of HDiffPatch with its recommended settings.
const FAST_BYTES: Bounds = Bounds { must: 1.1, aim: 1.1 };
/// Megabytes of new in a processor second; these must be reached.
const FAST_DIFF: Bounds = Bounds { must: 10.0, aim: 30.0 };
const FAST_APPLY: Bounds = Bounds { must: 250.0, aim: 250.0 };
/// By how much the best patch may be longer than zstd's, in bytes.
const SLACK: u64 = 256;

/// All tables of what was measured, as Markdown.
pub(crate) fn all(pairs: &[Pair], records: &[Record]) -> String {
    let rows: Vec<Row<'_>> = pairs.iter().filter_map(|pair| Row::of(pair, records)).collect();
    format!("{HEAD}\n{}\n{}\n{}", bytes(&rows), limits(&rows), costs(&rows))
}

/// Writes the tables: between the lines of their set, where the file has such, else as the whole file.
pub(crate) fn write(file: &Path, set: Set, text: &str) -> Result<()> {
    let before = std::fs::read_to_string(file).unwrap_or_default();
    let text = between(&before, set, text).unwrap_or_else(|| text.to_owned());
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn between(page: &str, set: Set, text: &str) -> Option<String> {
    let start = format!("<!-- bench delta: {} -->\n", set.name());
    let from = page.find(&start)? + start.len();
    let to = from + page[from..].find("<!-- end -->")?;
    Some(format!("{}{text}{}", &page[..from], &page[to..]))
}

/// What was measured on one pair.
struct Row<'a> {
    pair: &'a Pair,
    new_len: u64,
    /// The memory of a tiding that does nothing.
    itself: u64,
    /// For each of [`ALL`].
    cells: Vec<Option<Cell>>,
}

/// What came of a tool's runs on a pair: the median of each figure.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Done { bytes: u64, diff: Spent, apply: Spent },
    NotBuilt,
    Failed,
}

impl<'a> Row<'a> {
    fn of(pair: &'a Pair, records: &[Record]) -> Option<Self> {
        let of_tool = |tool: &&str| {
            let outcomes: Vec<_> =
                records.iter().filter(|record| record.is_of(&pair.name, tool)).map(Record::outcome).collect();
            Cell::of(&outcomes)
        };
        let first = records.iter().find(|record| ALL.iter().any(|tool| record.is_of(&pair.name, tool)))?;
        let cells = ALL.iter().map(of_tool).collect();
        Some(Self { pair, new_len: first.new_len(), itself: first.itself(), cells })
    }

    fn done(&self, tool: &str) -> Option<(u64, Spent, Spent)> {
        let at = ALL.iter().position(|name| *name == tool)?;
        match self.cells[at] {
            Some(Cell::Done { bytes, diff, apply }) => Some((bytes, diff, apply)),
            _ => None,
        }
    }

    fn bytes(&self, tool: &str) -> Option<u64> {
        self.done(tool).map(|done| done.0)
    }

    /// The smallest patch of a generic tool, measured in this run or once.
    fn best_peer(&self) -> Option<u64> {
        let measured = ALL.iter().filter(|tool| **tool != BEST && **tool != FAST).filter_map(|tool| self.bytes(tool));
        measured.chain(self.pair.recorded.hdiffpatch).min()
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.bytes(BEST)? as f64 / self.best_peer()? as f64)
    }

    fn field(&self, tool: usize) -> String {
        match &self.cells[tool] {
            Some(Cell::Done { bytes, .. }) => grouped(*bytes),
            Some(Cell::NotBuilt) => "not built".into(),
            Some(Cell::Failed) => "**FAILED**".into(),
            None if ALL[tool] == HDIFFPATCH => {
                self.pair.recorded.hdiffpatch.map_or(String::new(), |bytes| grouped(bytes) + "*")
            }
            None => String::new(),
        }
    }
}

impl Cell {
    fn of(outcomes: &[Outcome]) -> Option<Self> {
        let done: Vec<(u64, Spent, Spent)> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Done { bytes, diff, apply } => Some((*bytes, *diff, *apply)),
                Outcome::NotBuilt | Outcome::Failed(_) => None,
            })
            .collect();
        match outcomes.first()? {
            _ if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_))) => Some(Self::Failed),
            Outcome::NotBuilt => Some(Self::NotBuilt),
            _ => {
                let bytes = done.iter().map(|done| done.0).max()?;
                let spent = |of: fn(&(u64, Spent, Spent)) -> Spent| typical(&done.iter().map(of).collect::<Vec<_>>());
                Some(Self::Done { bytes, diff: spent(|done| done.1), apply: spent(|done| done.2) })
            }
        }
    }
}

/// The median time and the most memory.
fn typical(runs: &[Spent]) -> Spent {
    let mut times: Vec<f64> = runs.iter().map(|run| run.cpu).collect();
    times.sort_by(f64::total_cmp);
    let cpu = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    let most = |of: fn(&Spent) -> u64| runs.iter().map(of).max().unwrap_or(0);
    Spent { cpu, memory: most(|run| run.memory), anonymous: most(|run| run.anonymous) }
}

fn bytes(rows: &[Row<'_>]) -> String {
    let mut columns = vec!["pair", "new"];
    columns.extend(ALL);
    columns.extend(["Zucchini*", "ratio", "must / aim", "kept"]);
    let mut lines = head(&columns, 1);
    for row in rows {
        let mut fields = vec![row.pair.name.clone(), grouped(row.new_len)];
        fields.extend((0..ALL.len()).map(|tool| row.field(tool)));
        fields.push(row.pair.recorded.zucchini.map_or(String::new(), grouped));
        fields.extend(judged(row.ratio(), Some(row.pair.bounds)));
        lines.push(line(&fields));
    }
    lines.push(mean(rows));
    lines.join("\n") + "\n"
}

/// The geometric mean over the executables, held against its bounds when all of them are there.
fn mean(rows: &[Row<'_>]) -> String {
    let executables: Vec<&Row<'_>> = rows.iter().filter(|row| !row.pair.is_tree).collect();
    let ratios: Vec<f64> = executables.iter().filter_map(|row| row.ratio()).collect();
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let bounds = executables.first().map(|row| row.pair.set.bounds());
    let mut fields = vec![format!("geometric mean of {} executables", ratios.len())];
    fields.extend(vec![String::new(); ALL.len() + 2]);
    fields.extend(judged(Some(mean).filter(|_| !ratios.is_empty()), bounds));
    line(&fields)
}

/// A ratio, its bounds, and which of them it keeps.
fn judged(ratio: Option<f64>, bounds: Option<Bounds>) -> [String; 3] {
    let said = bounds.map_or(String::new(), |bounds| format!("{} / {}", bounds.must, bounds.aim));
    let kept = match (ratio, bounds) {
        (Some(ratio), Some(bounds)) if ratio <= bounds.aim => "aim",
        (Some(ratio), Some(bounds)) if ratio <= bounds.must => "must",
        (Some(_), Some(_)) => "**MISSED**",
        _ => "",
    };
    [ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")), said, kept.to_owned()]
}

fn limits(rows: &[Row<'_>]) -> String {
    let columns = [
        "what ours takes",
        "diff CPU / bsdiff's (2)",
        "diff memory / new (12)",
        "apply CPU / bspatch's (3, aim 1.2)",
        "apply anonymous memory / new (3, aim 1.5)",
        "best - zstd, bytes (256)",
        "fast bytes / HDiffPatch recommended* (1.1)",
        "fast diff, MB/s (10, aim 30)",
        "fast apply, MB/s (250)",
    ];
    let mut lines = vec!["What must be kept stands in brackets. The memory of diff is resident, old and new with it, less what a tiding takes that does nothing; that of apply is what is of no file, and resident in the table below.\n".to_owned()];
    lines.extend(head(&columns, 1));
    lines.extend(rows.iter().map(limits_of));
    lines.join("\n") + "\n"
}

fn limits_of(row: &Row<'_>) -> String {
    let (best, fast, bsdiff) = (row.done(BEST), row.done(FAST), row.done(BSDIFF));
    let new = row.new_len as f64;
    let memory = |spent: Spent| spent.memory.saturating_sub(row.itself) as f64 / new;
    let speed = |spent: Spent| new / 1e6 / spent.cpu.max(1e-6);
    let under = |ratio: Option<f64>, bounds: Bounds| marked(ratio, |ratio| ratio <= bounds.must);
    let over = |speed: Option<f64>, bounds: Bounds| marked(speed, |speed| speed >= bounds.must);
    let both = best.zip(bsdiff);
    let longer = best.zip(row.bytes(ZSTD)).map(|(best, zstd)| best.0 as i64 - zstd as i64);
    let recommended = fast.zip(row.pair.recorded.recommended);
    line(&[
        row.pair.name.clone(),
        under(both.map(|(ours, theirs)| ours.1.cpu / theirs.1.cpu), DIFF_CPU),
        under(best.map(|best| memory(best.1)), DIFF_MEMORY),
        under(both.map(|(ours, theirs)| ours.2.cpu / theirs.2.cpu), APPLY_CPU),
        under(best.map(|best| best.2.anonymous as f64 / new), APPLY_MEMORY),
        longer.map_or(String::new(), |more| format!("{more}{}", mark(more <= SLACK as i64))),
        under(recommended.map(|(fast, theirs)| fast.0 as f64 / theirs as f64), FAST_BYTES),
        over(fast.map(|fast| speed(fast.1)), FAST_DIFF),
        over(fast.map(|fast| speed(fast.2)), FAST_APPLY),
    ])
}

fn marked(figure: Option<f64>, is_kept: impl Fn(f64) -> bool) -> String {
    figure.map_or(String::new(), |figure| {
        let digits = if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") };
        digits + mark(is_kept(figure))
    })
}

fn mark(is_kept: bool) -> &'static str {
    if is_kept { "" } else { " **MISSED**" }
}

fn costs(rows: &[Row<'_>]) -> String {
    let columns = ["pair", "tool", "diff CPU s", "MB/s", "diff MiB", "apply CPU s", "MB/s", "apply MiB"];
    let mut lines = head(&columns, 2);
    for row in rows {
        for tool in ALL {
            let Some((_, diff, apply)) = row.done(tool) else { continue };
            let mut fields = vec![row.pair.name.clone(), tool.to_owned()];
            for spent in [diff, apply] {
                fields.push(format!("{:.2}", spent.cpu));
                fields.push(format!("{:.1}", row.new_len as f64 / 1e6 / spent.cpu.max(1e-6)));
                fields.push((spent.memory >> 20).to_string());
            }
            lines.push(line(&fields));
        }
    }
    lines.join("\n") + "\n"
}

/// The two lines that a table begins with; so many columns are words.
fn head(columns: &[&str], words: usize) -> Vec<String> {
    let rule: Vec<String> = (0..columns.len()).map(|at| if at < words { "---" } else { "--:" }.to_owned()).collect();
    vec![line(&columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>()), line(&rule)]
}

fn line(fields: &[String]) -> String {
    format!("| {} |", fields.join(" | "))
}

/// A number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut said = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pairs::named;
    use crate::delta::records::read_all;

    fn done(tool: &str, bytes: u64, apply: f64) -> String {
        format!(
            r#"{{"pair":"esbuild-x64","tool":"{tool}","new":10000000,"itself":1000000,"bytes":{bytes},"diff_cpu_s":2.0,"diff_memory":41000000,"diff_anonymous":40000000,"apply_cpu_s":{apply},"apply_memory":41000000,"apply_anonymous":40000000}}"#
        ) + "\n"
    }

    fn tables(lines: &[String]) -> String {
        let pairs = named(Set::Dev, &["esbuild-x64"]).expect("it is there");
        all(&pairs, &read_all(&lines.concat()).expect("they are records"))
    }

    #[test]
    fn a_row_has_bytes_a_ratio_and_whether_it_is_kept() {
        let text = tables(&[done(BEST, 100_000, 0.3), done(BSDIFF, 500_000, 0.1)]);
        let row = "| esbuild-x64 | 10,000,000 | 100,000 |  | 500,000 |  |  | 450,845* | 284,736 | 0.222 | 0.39 / 0.15 | must |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| 0.222 | 0.28 / 0.17 | must |"), "the mean: {text}");
        assert!(text.contains("| esbuild-x64 | 1.00 | 4.00 | 3.00 | 4.00 **MISSED** |"), "{text}");
        assert!(text.contains("| esbuild-x64 | bsdiff | 2.00 | 5.0 | 39 | 0.10 | 100.0 | 39 |"), "{text}");
    }

    #[test]
    fn what_is_missed_or_fails_is_marked() {
        let text = tables(&[done(BEST, 400_000, 0.5), done(BSDIFF, 500_000, 0.1), done(ZSTD, 399_000, 0.1)]);
        assert!(text.contains("| 1.003 | 0.39 / 0.15 | **MISSED** |"), "{text}");
        assert!(text.contains("| 5.00 **MISSED** |") && text.contains("| 1000 **MISSED** |"), "{text}");
        let lame = |how: &str| tables(&[format!(r#"{{"pair":"esbuild-x64","tool":"tiding best","new":5,{how}}}"#)]);
        assert!(lame(r#""not built":true"#).contains("| not built |"));
        assert!(lame(r#""failed":"x""#).contains("| **FAILED** |"));
    }

    #[test]
    fn the_median_of_the_times_counts() {
        let text = tables(&[done(BSDIFF, 5, 9.0), done(BSDIFF, 5, 1.0), done(BSDIFF, 5, 2.0)]);
        assert!(text.contains("| 2.00 | 5.0 | 39 |"), "{text}");
    }

    #[test]
    fn a_page_keeps_what_stands_around_the_tables() {
        let page = "# A\n<!-- bench delta: dev -->\nold\n<!-- end -->\nafter\n";
        let made = between(page, Set::Dev, "new\n").expect("it has the lines");
        assert_eq!(made, "# A\n<!-- bench delta: dev -->\nnew\n<!-- end -->\nafter\n");
        assert_eq!(between(page, Set::HeldOut, "new\n"), None);
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
