//! Sequence numbers: 0 to 2^31 - 1, then 0 again.

/// One batch of a producer, as its window and its snapshot hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    pub last_sequence: i32,
    pub offset_delta: i32,
    pub last_offset: i64,
    /// The largest in the batch.
    pub timestamp: i64,
}

impl Sequence {
    pub fn base_sequence(&self) -> i32 {
        decrement(self.last_sequence, self.offset_delta)
    }

    pub fn base_offset(&self) -> i64 {
        self.last_offset.saturating_sub(i64::from(self.offset_delta))
    }
}

/// The sequence `by` records later; `by` is not negative.
pub fn increment(sequence: i32, by: i32) -> i32 {
    // In 64 bits nothing overflows, whatever a damaged file says.
    wrap(i64::from(sequence) + i64::from(by))
}

/// The sequence `by` records earlier; `by` is not negative.
pub fn decrement(sequence: i32, by: i32) -> i32 {
    wrap(i64::from(sequence) - i64::from(by))
}

fn wrap(sequence: i64) -> i32 {
    const COUNT: i64 = 1 << 31;
    i32::try_from(sequence.rem_euclid(COUNT)).expect("below 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_follows_the_largest_sequence() {
        assert_eq!(increment(i32::MAX, 1), 0);
        assert_eq!(increment(i32::MAX - 1, 3), 1);
        assert_eq!(increment(-1, 1), 0);
        assert_eq!(decrement(0, 1), i32::MAX);
        assert_eq!(decrement(1, 3), i32::MAX - 1);
        assert_eq!(decrement(7, 2), 5);
    }
}
