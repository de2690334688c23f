//! What a thread counts, second by second, and how the seconds of all threads become one.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::signals::Signals;
use crate::clock::{self, NS_PER_S};
use crate::latency::{self, Histogram};
use crate::result::Second;

/// Counts of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
}

/// What happened within the measured time, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) acked: u64,
    pub(crate) acked_bytes: u64,
    pub(crate) delivered: u64,
}

/// One second of one thread.
#[derive(Debug)]
pub(crate) struct Tick {
    pub(crate) thread: usize,
    /// Since measuring began.
    pub(crate) second: i64,
    /// Nothing more comes from this thread for seconds before this one.
    pub(crate) next: i64,
    pub(crate) counts: Counts,
    pub(crate) ack: Option<Histogram>,
    pub(crate) end_to_end: Option<Histogram>,
    /// Of whom the tick is: of sending or of reading.
    pub(crate) lag: Option<Histogram>,
    pub(crate) side: Side,
    /// A reader had no time left, and left records behind at the broker.
    pub(crate) is_overrun: bool,
}

/// Whose tally it is, and so what is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Reader,
}

#[derive(Debug)]
pub(crate) struct Tally {
    thread: usize,
    side: Side,
    signals: Arc<Signals>,
    out: Option<Sender<Tick>>,
    measure_ns: i64,
    until_ns: i64,
    /// Before measuring begins there are no seconds, and nothing is timed.
    second: i64,
    counts: Counts,
    latency: Histogram,
    lag: Histogram,
    /// Of this second, without anything to do.
    idle_ns: i64,
    /// Records that consumers know of and did not take in yet.
    pub(crate) left_behind: i64,
    pub(crate) totals: Counts,
    pub(crate) measured: Measured,
}

const NOT_YET: i64 = i64::MIN;
/// A reader that rests for less of a second has no time left.
const IDLE_NS_MIN: i64 = NS_PER_S / 20;

impl Tally {
    /// Without `out` nothing is timed.
    pub(crate) fn new(thread: usize, side: Side, signals: Arc<Signals>, out: Option<Sender<Tick>>) -> Self {
        Self {
            thread,
            side,
            signals,
            out,
            measure_ns: i64::MAX,
            until_ns: i64::MAX,
            second: NOT_YET,
            counts: Counts::default(),
            latency: latency::histogram(),
            lag: latency::histogram(),
            idle_ns: 0,
            left_behind: 0,
            totals: Counts::default(),
            measured: Measured::default(),
        }
    }

    /// Closes the second that is over. To be called before anything is counted at this time.
    pub(crate) fn turn(&mut self, now_ns: i64) {
        self.until_ns = self.signals.until_ns();
        if self.measure_ns == i64::MAX {
            let Some(times) = self.signals.times() else { return };
            self.measure_ns = times.measure_ns;
        }
        let second = (now_ns - self.measure_ns).div_euclid(NS_PER_S);
        if second != self.second && now_ns >= self.measure_ns {
            self.ship(second);
            self.second = second;
        }
    }

    /// When the next second begins.
    pub(crate) fn turns_at_ns(&self) -> i64 {
        match self.second {
            NOT_YET => self.measure_ns,
            second => self.measure_ns + (second + 1) * NS_PER_S,
        }
    }

    /// So long there was nothing to do.
    pub(crate) fn rested(&mut self, ns: i64) {
        self.idle_ns += ns;
    }

    fn ship(&mut self, next: i64) {
        let counts = mem::take(&mut self.counts);
        let idle_ns = mem::take(&mut self.idle_ns);
        self.totals.sent += counts.sent;
        self.totals.acked += counts.acked;
        self.totals.delivered += counts.delivered;
        if self.second == NOT_YET {
            return;
        }
        let Some(out) = &self.out else { return };
        let taken = |histogram: &mut Histogram| {
            (!histogram.is_empty()).then(|| mem::replace(histogram, latency::histogram()))
        };
        let latency = taken(&mut self.latency);
        let (ack, end_to_end) = if self.side == Side::Sender { (latency, None) } else { (None, latency) };
        let lag = taken(&mut self.lag);
        let is_overrun = self.side == Side::Reader && idle_ns < IDLE_NS_MIN && self.left_behind > 0;
        let (thread, second, side) = (self.thread, self.second, self.side);
        let tick = Tick { thread, second, next, counts, ack, end_to_end, lag, side, is_overrun };
        // The other end is gone only when the run is.
        let _ = out.send(tick);
    }

    pub(crate) fn finish(&mut self) {
        self.ship(i64::MAX);
    }

    /// Whether a record that was due then has its latency counted.
    #[inline]
    fn is_measured(&self, intended_ns: i64) -> bool {
        self.measure_ns <= intended_ns && intended_ns < self.until_ns
    }

    /// A record was due and the client was given it.
    #[inline]
    pub(crate) fn sent(&mut self, intended_ns: i64, now_ns: i64) {
        self.counts.sent += 1;
        if self.is_measured(intended_ns) {
            latency::record(&mut self.lag, now_ns - intended_ns);
        }
    }

    pub(crate) fn acked(&mut self, intended_ns: &[i64], bytes: u64, now_ns: i64) {
        self.counts.acked += intended_ns.len() as u64;
        if self.is_measured(now_ns) {
            self.measured.acked += intended_ns.len() as u64;
            self.measured.acked_bytes += bytes;
        }
        for intended in intended_ns {
            if self.is_measured(*intended) {
                latency::record(&mut self.latency, now_ns - intended);
            }
        }
    }

    /// `kept_ns`: so long at most it waited for its reader, where that is known.
    #[inline]
    pub(crate) fn delivered(&mut self, intended_ns: i64, now_ns: i64, kept_ns: Option<i64>) {
        self.counts.delivered += 1;
        self.measured.delivered += u64::from(self.is_measured(now_ns));
        if self.is_measured(intended_ns) {
            latency::record(&mut self.latency, now_ns - intended_ns);
            if let Some(kept_ns) = kept_ns {
                latency::record(&mut self.lag, kept_ns);
            }
        }
    }
}

/// One second of all threads.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) counts: Counts,
    pub(crate) ack: Histogram,
    pub(crate) end_to_end: Histogram,
    pub(crate) lag: Histogram,
    pub(crate) reading_lag: Histogram,
    pub(crate) is_overrun: bool,
}

impl Interval {
    pub(crate) fn new() -> Self {
        let empty = latency::histogram;
        Self {
            counts: Counts::default(),
            ack: empty(),
            end_to_end: empty(),
            lag: empty(),
            reading_lag: empty(),
            is_overrun: false,
        }
    }

    fn add(&mut self, tick: &Tick) {
        self.counts.sent += tick.counts.sent;
        self.counts.acked += tick.counts.acked;
        self.counts.delivered += tick.counts.delivered;
        self.is_overrun |= tick.is_overrun;
        let lag = if tick.side == Side::Sender { &mut self.lag } else { &mut self.reading_lag };
        let pairs = [(&mut self.ack, &tick.ack), (&mut self.end_to_end, &tick.end_to_end), (lag, &tick.lag)];
        for (all, one) in pairs {
            if let Some(one) = one {
                latency::merge(all, one);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.sent += other.counts.sent;
        self.counts.acked += other.counts.acked;
        self.counts.delivered += other.counts.delivered;
        latency::merge(&mut self.ack, &other.ack);
        latency::merge(&mut self.end_to_end, &other.end_to_end);
        latency::merge(&mut self.lag, &other.lag);
        latency::merge(&mut self.reading_lag, &other.reading_lag);
    }

    pub(crate) fn second(&self, at: i64) -> Second {
        let us = |histogram: &Histogram, quantile: f64| {
            latency::microseconds(histogram.value_at_quantile(quantile))
        };
        Second {
            at_s: clock::seconds(at * NS_PER_S),
            sent: self.counts.sent,
            acked: self.counts.acked,
            delivered: self.counts.delivered,
            ack_p50_us: us(&self.ack, 0.5),
            ack_p99_us: us(&self.ack, 0.99),
            ack_max_us: latency::microseconds(self.ack.max()),
            end_to_end_p50_us: us(&self.end_to_end, 0.5),
            end_to_end_p99_us: us(&self.end_to_end, 0.99),
            end_to_end_max_us: latency::microseconds(self.end_to_end.max()),
            lag_max_us: latency::microseconds(self.lag.max().max(self.reading_lag.max())),
        }
    }
}

/// Puts the threads' seconds together, and gives each when all threads are past it.
#[derive(Debug)]
pub(crate) struct Assembly {
    open: BTreeMap<i64, Interval>,
    /// The first second that a thread may still add to.
    nexts: Vec<i64>,
}

impl Assembly {
    pub(crate) fn new(threads: usize) -> Self {
        Self { open: BTreeMap::new(), nexts: vec![0; threads] }
    }

    pub(crate) fn add(&mut self, tick: &Tick) {
        self.open.entry(tick.second).or_insert_with(Interval::new).add(tick);
        self.nexts[tick.thread] = tick.next;
    }

    /// The next second that is complete.
    pub(crate) fn next_complete(&mut self) -> Option<(i64, Interval)> {
        let all = self.nexts.iter().copied().min().unwrap_or(i64::MAX);
        let first = self.open.first_entry()?;
        (*first.key() < all).then(|| first.remove_entry())
    }

    /// The rest, complete or not.
    pub(crate) fn into_rest(self) -> impl Iterator<Item = (i64, Interval)> {
        self.open.into_iter()
    }
}
