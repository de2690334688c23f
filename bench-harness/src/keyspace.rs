//! Which keys records have.

use crate::random::Random;
use crate::workload::Keys;

pub(crate) const KEY_BYTES: usize = 12;
/// As many as have a number of [`KEY_BYTES`] digits.
pub(crate) const KEYS_MAX: u64 = 1_000_000_000_000;

/// A key for each record, or none for any.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    choice: Choice,
    random: Random,
}

#[derive(Clone, Debug)]
enum Choice {
    None,
    Uniform { count: u64 },
    Zipf(Zipf),
}

impl Keyspace {
    pub(crate) fn new(keys: &Keys, random: Random) -> Self {
        let choice = match *keys {
            Keys::None => Choice::None,
            Keys::Uniform { count } => Choice::Uniform { count },
            Keys::Zipf { count, exponent } => Choice::Zipf(Zipf::new(count, exponent)),
        };
        Self { choice, random }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Option<[u8; KEY_BYTES]> {
        let number = match &self.choice {
            Choice::None => return None,
            Choice::Uniform { count } => self.random.below(*count),
            Choice::Zipf(zipf) => zipf.rank(&mut self.random) - 1,
        };
        Some(digits(number))
    }
}

fn digits(mut number: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'0'; KEY_BYTES];
    for digit in key.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    key
}

/// Ranks by rejection-inversion (Hörmann and Derflinger, 1996): no table, whatever the count, and little more than one
/// random number a rank.
#[derive(Clone, Debug)]
struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral of the hat at the left and right end, and how close to a rank needs no second look.
    left: f64,
    right: f64,
    squeeze: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut it = Self { count: count as f64, exponent, left: 0.0, right: 0.0, squeeze: 0.0 };
        it.left = it.integral(1.5) - 1.0;
        it.right = it.integral(it.count + 0.5);
        it.squeeze = 2.0 - it.inverse(it.integral(2.5) - it.weight(2.0));
        it
    }

    fn weight(&self, x: f64) -> f64 {
        x.powf(-self.exponent)
    }

    fn integral(&self, x: f64) -> f64 {
        let flat = 1.0 - self.exponent;
        // Near exponent 1 the power form loses all its digits.
        if flat.abs() < 1e-9 { x.ln() } else { (x.powf(flat) - 1.0) / flat }
    }

    fn inverse(&self, y: f64) -> f64 {
        let flat = 1.0 - self.exponent;
        if flat.abs() < 1e-9 { y.exp() } else { (1.0 + y * flat).max(0.0).powf(1.0 / flat) }
    }

    /// 1 is the most frequent.
    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let y = self.right + random.unit() * (self.left - self.right);
            let x = self.inverse(y);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.squeeze || y >= self.integral(rank + 0.5) - self.weight(rank) {
                return rank as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_ranks_come_as_often_as_they_should() {
        for (count, exponent) in [(10, 0.8), (1_000, 1.0), (100, 1.3)] {
            let zipf = Zipf::new(count, exponent);
            let mut random = Random::new(3);
            let mut hits = vec![0u64; count as usize + 1];
            const DRAWS: u64 = 400_000;
            for _ in 0..DRAWS {
                hits[zipf.rank(&mut random) as usize] += 1;
            }
            assert_eq!(hits[0], 0);
            let total: f64 = (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum();
            for (rank, hits) in hits.iter().enumerate().skip(1).take(5) {
                let expected = (rank as f64).powf(-exponent) / total * DRAWS as f64;
                let off = (*hits as f64 - expected).abs();
                // Five standard deviations.
                assert!(off < 5.0 * expected.sqrt(), "rank {rank} of {count}: {hits} for {expected}");
            }
        }
        let one = Zipf::new(1, 1.1);
        assert_eq!(one.rank(&mut Random::new(1)), 1);
    }

    #[test]
    fn uniform_keys_all_come() {
        let mut keys = Keyspace::new(&Keys::Uniform { count: 50 }, Random::new(1));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            seen.insert(keys.next().unwrap());
        }
        assert_eq!(seen.len(), 50);
        assert_eq!(seen.first(), Some(b"000000000000"));
        assert_eq!(seen.last(), Some(b"000000000049"));
        assert_eq!(Keyspace::new(&Keys::None, Random::new(1)).next(), None);
    }
}
