//! What the controlling thread and the loading threads tell each other.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// When the phases of a run begin and end. CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) begin_ns: i64,
    pub(crate) measure_ns: i64,
}

#[derive(Debug)]
pub(crate) struct Signals {
    /// Threads that are connected and have written their part of the backlog.
    ready: AtomicUsize,
    times: OnceLock<Times>,
    /// From when on nothing more is sent.
    until_ns: AtomicI64,
    /// From when on nothing more is waited for.
    deadline_ns: AtomicI64,
    /// How far consumers have to read, by slot.
    ends: OnceLock<Vec<i64>>,
    /// Why the run cannot go on.
    failure: Mutex<Option<String>>,
    /// The first refusal of a record, for the result.
    refusal: Mutex<Option<String>>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            ready: AtomicUsize::new(0),
            times: OnceLock::new(),
            until_ns: AtomicI64::new(i64::MAX),
            deadline_ns: AtomicI64::new(i64::MAX),
            ends: OnceLock::new(),
            failure: Mutex::new(None),
            refusal: Mutex::new(None),
        }
    }

    pub(crate) fn report_ready(&self) {
        self.ready.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn ready(&self) -> usize {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn start(&self, times: Times, until_ns: i64, deadline_ns: i64) {
        self.until_ns.store(until_ns, Ordering::Relaxed);
        self.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        self.times.set(times).expect("a run starts once");
    }

    pub(crate) fn times(&self) -> Option<Times> {
        self.times.get().copied()
    }

    pub(crate) fn until_ns(&self) -> i64 {
        self.until_ns.load(Ordering::Relaxed)
    }

    pub(crate) fn deadline_ns(&self) -> i64 {
        self.deadline_ns.load(Ordering::Relaxed)
    }

    /// Ends the sending now and the waiting at the deadline.
    pub(crate) fn cut_short(&self, now_ns: i64, deadline_ns: i64) {
        self.until_ns.fetch_min(now_ns, Ordering::Relaxed);
        self.deadline_ns.fetch_min(deadline_ns, Ordering::Relaxed);
    }

    pub(crate) fn set_ends(&self, ends: Vec<i64>) {
        self.ends.set(ends).expect("ends are set once");
    }

    pub(crate) fn ends(&self) -> Option<&[i64]> {
        self.ends.get().map(Vec::as_slice)
    }

    /// The first failure is the one that is told.
    pub(crate) fn fail(&self, why: impl FnOnce() -> String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(why);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn refuse(&self, why: impl FnOnce() -> String) {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(why);
    }

    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
