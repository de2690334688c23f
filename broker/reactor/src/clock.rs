//! Time and randomness of a core.

use std::cell::RefCell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};

/// Monotonic and wall time. All cores of one machine count from the same instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a machine runs for less than 584 years")
    }
}

/// Milliseconds since the epoch; negative before 1970.
pub(crate) fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// The kernel's random bytes, fetched a page of words at a time: good enough for secrets, and one
/// system call in 64.
#[derive(Debug, Default)]
pub(crate) struct Random {
    words: RefCell<Vec<u64>>,
}

impl Random {
    pub(crate) fn next(&self) -> u64 {
        let mut words = self.words.borrow_mut();
        if words.is_empty() {
            refill(&mut words);
        }
        words.pop().expect("just filled")
    }
}

fn refill(words: &mut Vec<u64>) {
    let mut bytes = [0_u8; 8 * WORDS];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
    words.extend(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)));
}

const WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_words_do_not_repeat() {
        let random = Random::default();
        let mut seen: Vec<u64> = (0..1000).map(|_| random.next()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn time_moves_forward() {
        let clock = Clock::new();
        let first = clock.now_ns();
        assert!(clock.now_ns() >= first);
        assert!(wall_ms() > 1_600_000_000_000);
    }
}
