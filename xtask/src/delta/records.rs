//! Records of runs: a line of JSON each.

use super::measured::Spent;
use super::pairs::Pair;
use super::tools::Tool;
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One run of one tool on one pair.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    json: Value,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The patch came back exactly.
    Done { bytes: u64, diff: Spent, apply: Spent },
    /// The tool does not make patches of such a pair.
    NotBuilt,
    /// There was no patch, or it did not come back.
    Failed(String),
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
    /// What came of a run. `itself` is the memory of a tiding that does nothing.
    pub(crate) fn new(pair: &Pair, tool: &Tool, new_len: u64, itself: u64, outcome: Outcome) -> Self {
        let mut json = json!({"pair": pair.name, "tool": tool.name, "new": new_len, "itself": itself});
        let mut put = |step: &str, spent: Spent| {
            json[format!("{step}_cpu_s")] = spent.cpu.into();
            json[format!("{step}_memory")] = spent.memory.into();
            json[format!("{step}_anonymous")] = spent.anonymous.into();
        };
        match outcome {
            Outcome::Done { bytes, diff, apply } => {
                put("diff", diff);
                put("apply", apply);
                json["bytes"] = bytes.into();
            }
            Outcome::NotBuilt => json["not built"] = true.into(),
            Outcome::Failed(why) => json["failed"] = why.into(),
        }
        Self { json }
    }

    /// As it is kept.
    pub(crate) fn line(&self) -> String {
        self.json.to_string()
    }

    /// Whether it is one of that tool on that pair.
    pub(crate) fn is_of(&self, pair: &str, tool: &str) -> bool {
        self.json["pair"] == pair && self.json["tool"] == tool
    }

    /// The length of the new file.
    pub(crate) fn new_len(&self) -> u64 {
        self.json["new"].as_u64().unwrap_or(0)
    }

    /// The memory of a tiding that does nothing.
    pub(crate) fn itself(&self) -> u64 {
        self.json["itself"].as_u64().unwrap_or(0)
    }

    /// How the run ended.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.json["not built"] == true {
            return Outcome::NotBuilt;
        }
        let spent = |step: &str| {
            let cpu = self.json[format!("{step}_cpu_s")].as_f64()?;
            let bytes = |what: &str| self.json[format!("{step}_{what}")].as_u64();
            Some(Spent { cpu, memory: bytes("memory")?, anonymous: bytes("anonymous")? })
        };
        match (self.json["bytes"].as_u64(), spent("diff"), spent("apply")) {
            (Some(bytes), Some(diff), Some(apply)) => Outcome::Done { bytes, diff, apply },
            _ => Outcome::Failed(self.json["failed"].as_str().unwrap_or("the record lacks a figure").to_owned()),
        }
    }

    /// What went wrong, if something did.
    pub(crate) fn failure(&self) -> Option<String> {
        match self.outcome() {
            Outcome::Failed(why) => Some(format!("{}: {why}", self.of_what())),
            Outcome::Done { .. } | Outcome::NotBuilt => None,
        }
    }

    /// For whoever waits.
    pub(crate) fn in_short(&self) -> String {
        match self.outcome() {
            Outcome::Done { bytes, diff, apply } => {
                format!("{}: {bytes} bytes, {:.2} s to make, {:.2} s to apply", self.of_what(), diff.cpu, apply.cpu)
            }
            Outcome::NotBuilt => format!("{}: not built", self.of_what()),
            Outcome::Failed(why) => format!("{}: FAILED: {why}", self.of_what()),
        }
    }

    fn of_what(&self) -> String {
        let word = |name: &str| self.json[name].as_str().unwrap_or("?").to_owned();
        format!("{} by {}", word("pair"), word("tool"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart_and_kept() {
        let done = r#"{"pair":"p","tool":"t","new":9,"bytes":3,"diff_cpu_s":1.5,"diff_memory":7,"diff_anonymous":5,"apply_cpu_s":0.5,"apply_memory":6,"apply_anonymous":4}"#;
        let records = read_all(&format!("{done}\n\n{{\"not built\": true}}\n{{}}\n")).expect("they are records");
        let spent = |cpu, memory| Spent { cpu, memory, anonymous: memory - 2 };
        assert_eq!(records[0].outcome(), Outcome::Done { bytes: 3, diff: spent(1.5, 7), apply: spent(0.5, 6) });
        assert!(records[0].is_of("p", "t") && !records[0].is_of("p", "u"));
        assert_eq!(records[1].outcome(), Outcome::NotBuilt);
        assert!(records[2].failure().is_some());
        let again = read_all(&records[0].line()).expect("it was kept");
        assert_eq!(again[0], records[0]);
        assert!(read_all("{}\nnothing\n").expect_err("it is no record").to_string().contains("line 2"));
    }
}
