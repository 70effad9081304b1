//! Counts of how long things took, in fixed steps, as metrics want them.

use std::time::Duration;

/// How often something took how long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    /// The steps' upper ends, in seconds, ascending.
    pub(crate) ends: &'static [f64],
    /// How often it took at most so long, and longer than the step before; the last is for what is above all steps.
    pub(crate) counts: Vec<u64>,
    /// Everything together, in seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    /// Nothing yet, in these steps.
    pub(crate) fn new(ends: &'static [f64]) -> Self {
        Self { ends, counts: vec![0; ends.len() + 1], sum: 0.0 }
    }

    /// It took so long once more.
    pub(crate) fn note(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[self.ends.partition_point(|end| *end < seconds)] += 1;
        self.sum += seconds;
    }

    /// How often it was noted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_exactly_as_long_as_a_step_is_in_it() {
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        [250, 500, 501, 1000, 9000].into_iter().for_each(|ms| histogram.note(Duration::from_millis(ms)));
        assert_eq!((histogram.counts.as_slice(), histogram.count(), histogram.sum), (&[2, 2, 1][..], 5, 11.251));
    }
}
