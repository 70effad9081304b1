//! Records of runs: a line of JSON each, as the laboratory wrote it, with the cell and the number of the run.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One run of one tool in one cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    json: Value,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    /// Everyone has the file.
    Done(Spent),
    /// Somebody had not when the time was over.
    Never,
    /// It could not be measured.
    Failed(String),
}

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spent {
    /// Seconds until the last receiver had the file and knew that it is right.
    pub(crate) last: f64,
    /// Bytes that the source sent.
    pub(crate) source: f64,
    /// Bytes that all hosts sent.
    pub(crate) all: f64,
    /// Processor seconds for each GiB delivered, without those that a hypervisor took meanwhile.
    pub(crate) cpu: f64,
    /// Which part of the processors a hypervisor took meanwhile, in percent; not a number where that is not known.
    pub(crate) stolen: f64,
    /// Milliseconds from the order to the last receiver's first piece, as the tool itself says; not a number where that is not known.
    pub(crate) first: f64,
}

/// The records of a file.
pub(crate) fn read_all(text: &str) -> Result<Vec<Record>> {
    let read = |(index, line)| {
        let json = serde_json::from_str(line).with_context(|| format!("line {} is no record", index + 1))?;
        Ok(Record { json })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(read).collect()
}

impl Record {
    /// What the laboratory wrote for a run; a record of a failure when that is no record.
    pub(crate) fn from_laboratory(cell: &str, tool: &str, run: usize, text: &str, status: &str) -> Self {
        let written = serde_json::from_str(text).ok().filter(Value::is_object);
        let mut json = written
            .unwrap_or_else(|| json!({"outcome": "failed", "why": format!("the laboratory ended with {status}")}));
        json["cell"] = cell.into();
        json["tool"] = tool.into();
        json["run"] = run.into();
        Self { json }
    }

    /// As it is kept.
    pub(crate) fn line(&self) -> String {
        self.json.to_string()
    }

    /// Whether it is one of that tool in that cell.
    pub(crate) fn is_of(&self, cell: &str, tool: &str) -> bool {
        self.json["cell"] == cell && self.json["tool"] == tool
    }

    /// Whether it could not be measured.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.ending(), Ending::Failed(_))
    }

    /// How it ended.
    pub(crate) fn ending(&self) -> Ending {
        match self.json["outcome"].as_str() {
            Some("done") => {
                self.spent().map_or_else(|| Ending::Failed("the record lacks a figure".into()), Ending::Done)
            }
            Some("never ended") => Ending::Never,
            _ => Ending::Failed(self.json["why"].as_str().unwrap_or("nobody knows why").to_owned()),
        }
    }

    fn spent(&self) -> Option<Spent> {
        let figure = |name: &str| self.json[name].as_f64();
        Some(Spent {
            last: figure("last_s")?,
            source: figure("sent_by_source")?,
            all: figure("sent_by_all")?,
            cpu: figure("cpu_s_per_gib_got").or(figure("cpu_s_per_gib"))?,
            stolen: figure("machine_stolen").map_or(f64::NAN, |part| part * 100.0),
            first: self.json["report"]["first_byte_ms"].as_f64().unwrap_or(f64::NAN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str =
        r#"{"outcome": "done", "last_s": 5.9, "sent_by_source": 35e6, "sent_by_all": 5e8, "cpu_s_per_gib": 20.5}"#;

    fn record(text: &str) -> Record {
        Record::from_laboratory("16-50", "tiding", 1, text, "exit status: 1")
    }

    #[test]
    fn a_record_is_the_same_after_it_was_kept() {
        let records = [record(DONE), record(r#"{"outcome": "never ended", "why": "2 of 14 hosts"}"#)];
        let file: String = records.iter().map(|record| record.line() + "\n").collect();
        assert_eq!(read_all(&file).expect("they are records"), records);
        assert!(read_all("{}\nnothing\n").expect_err("it is no record").to_string().contains("line 2"));
    }

    #[test]
    fn endings_are_told_apart() {
        let Ending::Done(spent) = record(DONE).ending() else { panic!("it is done") };
        assert_eq!((spent.last, spent.cpu, spent.stolen.is_nan()), (5.9, 20.5, true));
        let robbed = DONE.replace('}', r#", "cpu_s_per_gib_got": 16.0, "machine_stolen": 0.22}"#);
        let Ending::Done(spent) = record(&robbed).ending() else { panic!("it is done") };
        assert_eq!((spent.cpu, spent.stolen), (16.0, 22.0));
        assert_eq!(record(r#"{"outcome": "never ended"}"#).ending(), Ending::Never);
        assert_eq!(record(r#"{"outcome": "failed", "why": "x"}"#).ending(), Ending::Failed("x".into()));
        assert_eq!(record("").ending(), Ending::Failed("the laboratory ended with exit status: 1".into()));
        assert!(record(r#"{"outcome": "done"}"#).has_failed());
    }

    #[test]
    fn a_record_belongs_to_its_cell_and_tool() {
        assert!(record(DONE).is_of("16-50", "tiding"));
        assert!(!record(DONE).is_of("16-50", "chain"));
    }
}
