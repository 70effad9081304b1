//! The lengths of many pieces, four bytes each, and where in a row of them each begins.

/// After how many pieces a sum is kept.
const STEP: usize = 32;

/// How long each piece of a manifest is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lengths {
    lens: Vec<u32>,
    /// The sum of the lengths before every [`STEP`]th.
    sums: Vec<u64>,
    total: u64,
}

impl Lengths {
    pub(super) fn push(&mut self, len: u32) {
        if self.lens.len().is_multiple_of(STEP) {
            self.sums.push(self.total);
        }
        self.lens.push(len);
        self.total += u64::from(len);
    }

    /// How many pieces there are.
    pub fn count(&self) -> u32 {
        self.lens.len() as u32
    }

    /// The length of a piece, in bytes.
    pub fn get(&self, index: u32) -> Option<u32> {
        self.lens.get(index as usize).copied()
    }

    /// The sum of the lengths of all pieces before that one, in bytes; of all when there are no more.
    pub fn before(&self, index: u32) -> u64 {
        let step = index as usize / STEP;
        match self.sums.get(step) {
            Some(sum) => {
                let end = self.lens.len().min(index as usize);
                sum + self.lens[step * STEP..end].iter().map(|len| u64::from(*len)).sum::<u64>()
            }
            None => self.total,
        }
    }
}

impl FromIterator<u32> for Lengths {
    fn from_iter<I: IntoIterator<Item = u32>>(lens: I) -> Self {
        let mut lengths = Self::default();
        lens.into_iter().for_each(|len| lengths.push(len));
        lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_all_before() {
        for count in [0, 1, STEP - 1, STEP, STEP + 1, 5 * STEP + 3] {
            let lengths: Lengths = (0..count as u32).map(|len| len * len + 1).collect();
            let mut sum = 0;
            for index in 0..count as u32 {
                assert_eq!(lengths.before(index), sum);
                sum += u64::from(lengths.get(index).expect("it is there"));
            }
            for beyond in [count as u32, count as u32 + 1, u32::MAX] {
                assert_eq!((lengths.before(beyond), lengths.get(beyond)), (sum, None));
            }
            assert_eq!(lengths.count() as usize, count);
        }
    }
}
