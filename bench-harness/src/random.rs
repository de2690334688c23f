//! Numbers that look random and are the same for the same seed, on every machine and in every version.

use protocol::ids::Uuid;
use rustix::rand::{GetRandomFlags, getrandom};

/// SplitMix64: one addition and a mix; passes what statistics ask of a load's arrivals, keys and contents.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// One of many streams of a seed that have nothing to do with each other.
    pub(crate) fn stream(seed: u64, stream: u64) -> Self {
        let mut first = Self::new(seed);
        Self { state: first.bits() ^ Self::new(stream.wrapping_mul(0xd1b5_4a32_d192_ed03)).bits() }
    }

    #[inline]
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Greater than 0 and at most 1, so that it has a logarithm.
    #[inline]
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Less than `bound`, which is not 0.
    #[inline]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias of the product is at most bound / 2^64.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let bits = self.bits().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }
}

/// An id that nobody else has. This one is different each time.
pub(crate) fn new_id() -> Uuid {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty()).expect("the kernel has random bytes");
    Uuid::from_random(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_streams_differ() {
        let take = |mut random: Random| -> Vec<u64> { (0..8).map(|_| random.bits()).collect() };
        assert_eq!(take(Random::stream(7, 1)), take(Random::stream(7, 1)));
        assert_ne!(take(Random::stream(7, 1)), take(Random::stream(7, 2)));
        assert_ne!(take(Random::stream(7, 1)), take(Random::stream(8, 1)));
    }

    #[test]
    fn numbers_are_spread_evenly() {
        let mut random = Random::new(1);
        let mut hits = [0u32; 10];
        let mut sum = 0.0;
        for _ in 0..100_000 {
            hits[random.below(10) as usize] += 1;
            let unit = random.unit();
            assert!(unit > 0.0 && unit <= 1.0);
            sum += unit;
        }
        assert!(hits.iter().all(|hits| (9_500..10_500).contains(hits)), "{hits:?}");
        assert!((sum / 100_000.0 - 0.5).abs() < 0.01);
    }
}
