//! When records are to be sent. Decided before anything is sent and without looking at the broker: that is what keeps
//! a slow answer from making the next question late (coordinated omission).

use crate::clock::NS_PER_S;
use crate::random::Random;
use crate::workload::{Arrivals, Burst};

/// One thread's part of the arrivals of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Records a second of this part.
    pub(crate) rate: f64,
    /// Which part, of how many: parts of a fixed rate interleave, so that together they are a fixed rate again.
    pub(crate) index: u64,
    pub(crate) parts: u64,
}

/// An endless, rising sequence of instants.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    burst: Option<Burst>,
    rate: f64,
    begin_ns: i64,
    next_ns: i64,
}

#[derive(Clone, Debug)]
enum Pace {
    Even { sent: u64, phase: f64 },
    Poisson { random: Random, at_s: f64 },
}

impl Schedule {
    /// None where records have no schedule: the broker sets the pace.
    pub(crate) fn new(arrivals: Arrivals, part: Part, burst: Option<Burst>, seed: u64) -> Option<Self> {
        let pace = match arrivals {
            Arrivals::Fixed => Pace::Even { sent: 0, phase: part.index as f64 / part.parts as f64 },
            // Independent Poisson processes together are one.
            Arrivals::Poisson => Pace::Poisson { random: Random::stream(seed, part.index), at_s: 0.0 },
            Arrivals::Closed | Arrivals::Max => return None,
        };
        Some(Self { pace, burst, rate: part.rate, begin_ns: 0, next_ns: i64::MAX })
    }

    pub(crate) fn begin(&mut self, at_ns: i64) {
        self.begin_ns = at_ns;
        self.next_ns = self.step();
    }

    /// When the next record is due; never before `begin`.
    #[inline]
    pub(crate) fn next_ns(&self) -> i64 {
        self.next_ns
    }

    /// Goes on to the one after it.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.next_ns = self.step();
    }

    fn step(&mut self) -> i64 {
        let offset_s = match &mut self.pace {
            // From the count, not from the last instant: no error adds up.
            Pace::Even { sent, phase } => {
                let offset_s = (*sent as f64 + *phase) / self.rate;
                *sent += 1;
                offset_s
            }
            Pace::Poisson { random, at_s } => {
                *at_s -= random.unit().ln() / self.rate;
                *at_s
            }
        };
        let offset_s = self.burst.map_or(offset_s, |burst| squeezed(offset_s, burst));
        self.begin_ns.saturating_add((offset_s * NS_PER_S as f64) as i64)
    }
}

/// Where an instant of the even schedule lies in one with bursts.
fn squeezed(at_s: f64, burst: Burst) -> f64 {
    let period = (at_s / burst.every_s).floor() * burst.every_s;
    period + (at_s - period) * burst.lasts_s / burst.every_s
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(arrivals: Arrivals, part: Part, burst: Option<Burst>, seed: u64, count: usize) -> Vec<i64> {
        let mut schedule = Schedule::new(arrivals, part, burst, seed).unwrap();
        schedule.begin(1_000);
        let mut step = || {
            let at = schedule.next_ns();
            schedule.advance();
            at
        };
        (0..count).map(|_| step()).collect()
    }

    #[test]
    fn parts_of_a_fixed_rate_interleave_to_the_whole_without_drift() {
        let mut all: Vec<i64> = (0..4)
            .flat_map(|index| {
                take(Arrivals::Fixed, Part { rate: 25_000.0, index, parts: 4 }, None, 0, 250_000)
            })
            .collect();
        all.sort_unstable();
        for (at, intended) in all.iter().enumerate() {
            assert!((intended - 1_000 - at as i64 * 10_000).abs() <= 1, "record {at} at {intended}");
        }
    }

    #[test]
    fn poisson_has_the_mean_and_the_spread_of_its_kind_and_follows_its_seed() {
        let part = Part { rate: 1_000.0, index: 0, parts: 1 };
        let all = take(Arrivals::Poisson, part, None, 42, 200_000);
        assert_eq!(all[..100], take(Arrivals::Poisson, part, None, 42, 100)[..]);
        assert_ne!(all[..100], take(Arrivals::Poisson, part, None, 43, 100)[..]);
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.01, "mean gap {mean} ns");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "an exponential's deviation is its mean");
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn bursts_keep_the_mean_rate_and_leave_the_rest_of_each_period_empty() {
        let burst = Burst { every_s: 1.0, lasts_s: 0.1 };
        let part = Part { rate: 1_000.0, index: 0, parts: 1 };
        let all = take(Arrivals::Fixed, part, Some(burst), 0, 5_000);
        for (at, intended) in all.iter().enumerate() {
            let offset = intended - 1_000;
            assert_eq!(offset / NS_PER_S, at as i64 / 1_000);
            assert!(offset % NS_PER_S < NS_PER_S / 10);
        }
        assert!(all.is_sorted());
    }

    #[test]
    fn what_the_broker_paces_has_no_schedule() {
        let part = Part { rate: 1.0, index: 0, parts: 1 };
        for arrivals in [Arrivals::Closed, Arrivals::Max] {
            assert!(Schedule::new(arrivals, part, None, 0).is_none());
        }
    }
}
