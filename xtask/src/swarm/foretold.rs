//! What the simulator foretells for cells of the laboratory: medians over a few seeds, in virtual time.

use super::cells::Cell;
use crate::{sim, step};
use anyhow::Result;
use std::collections::BTreeMap;

/// Seeds of a prediction.
const SEEDS: &str = "5";

/// Medians by scenario and measure; the measures are named as the simulator names them.
#[derive(Debug, Default)]
pub(crate) struct Foretold {
    medians: BTreeMap<(String, String), f64>,
    /// What was modelled, in the simulator's words.
    models: Vec<String>,
}

impl Foretold {
    /// Runs the scenarios of those cells.
    pub(crate) fn of(cells: &[Cell]) -> Result<Self> {
        let scenarios: Vec<&str> = cells.iter().filter_map(|cell| cell.scenario).collect();
        if scenarios.is_empty() {
            return Ok(Self::default());
        }
        let mut command = sim::example("flock");
        command.args(&scenarios).args(["--expect", "--seeds", SEEDS]);
        Ok(Self::read(&step::output("simulator", command)?))
    }

    /// Reads lines of scenario, measure and median, with tabs between.
    fn read(text: &str) -> Self {
        let figure = |line: &str| {
            let mut fields = line.split('\t');
            let (scenario, what, median) = (fields.next()?, fields.next()?, fields.next()?);
            Some(((scenario.to_owned(), what.to_owned()), median.parse().ok()?))
        };
        let models = text.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains(": delay "));
        Self { medians: text.lines().filter_map(figure).collect(), models: models.map(str::to_owned).collect() }
    }

    /// What was modelled, a line for each model.
    pub(crate) fn models(&self) -> &[String] {
        &self.models
    }

    /// The median of a measure in a scenario.
    pub(crate) fn median(&self, scenario: &str, what: &str) -> Option<f64> {
        self.medians.get(&(scenario.to_owned(), what.to_owned())).copied()
    }

    #[cfg(test)]
    pub(super) fn from_lines(text: &str) -> Self {
        Self::read(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::cells;

    #[test]
    fn lines_of_the_simulator_are_read() {
        let foretold = Foretold::from_lines("# of five seeds\nlab-16-50\tlast / B\t1.1804\n");
        assert_eq!(foretold.median("lab-16-50", "last / B"), Some(1.1804));
        assert_eq!(foretold.median("lab-16-50", "sent"), None);
    }

    #[test]
    fn every_scenario_of_a_cell_is_one_of_the_simulators() {
        let expected = Foretold::from_lines(include_str!("../../../crates/sim/expected.txt"));
        for scenario in cells::usual().iter().filter_map(|cell| cell.scenario) {
            assert!(expected.medians.keys().any(|(name, _)| name == scenario), "{scenario}");
        }
    }
}
