//! Time and processor time, as the kernel counts them.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

pub(crate) const NS_PER_S: i64 = 1_000_000_000;
pub(crate) const NS_PER_MS: i64 = 1_000_000;

/// CLOCK_MONOTONIC: the same for all threads and processes of a machine until it is started anew.
#[inline]
pub(crate) fn now_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

pub(crate) fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

pub(crate) fn seconds(ns: i64) -> f64 {
    ns as f64 / NS_PER_S as f64
}

/// Nothing that lasts longer is meant: a number this large would only overflow later.
pub(crate) fn from_seconds(s: f64) -> i64 {
    (s * NS_PER_S as f64) as i64
}

/// How long until then, for a call that waits.
pub(crate) fn timespec(ns: i64) -> Timespec {
    Timespec { tv_sec: ns / NS_PER_S, tv_nsec: ns % NS_PER_S }
}

/// For messages: 0.5 s rather than 500000000.
pub(crate) fn in_words(ns: i64) -> String {
    match seconds(ns) {
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.0} µs", s * 1e6),
    }
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * NS_PER_S + time.tv_nsec
}

/// What this process has used of the processors, all its threads together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

impl CpuTime {
    pub(crate) fn now() -> Self {
        let total_s = seconds(nanoseconds(clock_gettime(ClockId::ProcessCPUTime)));
        // The total is exact; ticks only say how it is shared out.
        let (user, system) = ticks().unwrap_or((1, 0));
        let user_share = user as f64 / (user + system).max(1) as f64;
        Self { user_s: total_s * user_share, system_s: total_s * (1.0 - user_share) }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user_s: (self.user_s - before.user_s).max(0.0),
            system_s: (self.system_s - before.system_s).max(0.0),
        }
    }

    pub(crate) fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }
}

fn ticks() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of a process may hold anything, even a parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_with_work() {
        let before = CpuTime::now();
        let began = now_ns();
        let mut sum = 0u64;
        while now_ns() - began < 30 * NS_PER_MS {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = CpuTime::now().since(before);
        assert!(used.total_s() > 0.001, "{used:?} after {sum} steps");
        assert!(ticks().is_some());
    }
}
