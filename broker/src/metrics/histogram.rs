//! A log-linear histogram: four steps for each power of two, so within 25 % of the truth, in 2 KiB.

const STEPS: usize = 4;
const BUCKETS: usize = 64 * STEPS;

/// Counts by magnitude. Allocates with its first value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// How many values are at most `bound`, counting a bucket when all of it is.
    pub(crate) fn at_most(&self, bound: u64) -> u64 {
        self.counts
            .iter()
            .enumerate()
            .take_while(|(at, _)| highest(*at) <= bound)
            .map(|(_, count)| count)
            .sum()
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let power = value.ilog2() as usize;
    let step = (value >> (power - 2)) as usize - STEPS;
    (power - 1) * STEPS + step
}

/// The highest value that falls into a bucket.
fn highest(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (power, step) = (bucket / STEPS + 1, (bucket % STEPS) as u128);
    let next = (STEPS as u128 + step + 1) << (power - 2);
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_the_bucket_that_ends_at_or_above_it() {
        for value in (0..10_000).chain([1 << 20, (1 << 33) + 12345, u64::MAX]) {
            let at = bucket(value);
            assert!(highest(at) >= value, "{value}");
            assert!(at == 0 || highest(at - 1) < value, "{value}");
        }
    }

    #[test]
    fn counts_and_sums_are_kept() {
        let mut values = Histogram::default();
        (0..100).for_each(|value| values.record(value));
        values.record(1_000_000);
        assert_eq!((values.count(), values.sum()), (101, 4950 + 1_000_000));
        assert_eq!(values.at_most(999), 100);
        assert_eq!(values.at_most(u64::MAX), 101);
    }
}
