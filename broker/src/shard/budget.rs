//! How many bytes of requests under way a core holds in all. Beyond it readers wait; one connection at
//! a time may always go on, so that the frames that fill the budget can be completed. Who fills the
//! budget and sends nothing is in everybody's way, and cut off.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Frames smaller than this never wait: they are what other clients live on.
const FREE_BYTES: usize = 64 << 10;

/// While the budget is exceeded, a larger frame must grow by `FREE_BYTES` within this time.
const STALL_MAX: Duration = Duration::from_secs(5);

/// Bytes of frames that are not whole yet, over all connections of a core.
pub(crate) struct ReadBudget {
    bytes_max: usize,
    held: Cell<usize>,
    /// What each connection holds, if it is not little.
    large: RefCell<BTreeMap<u64, Large>>,
    privileged: Cell<Option<u64>>,
    waiting: RefCell<VecDeque<Waker>>,
}

/// An unfinished frame of `FREE_BYTES` or more.
#[derive(Default)]
struct Large {
    bytes: usize,
    /// It is we who do not read.
    waits: bool,
    /// When it was last seen to have grown, and how large it was then.
    grown: Option<(u64, usize)>,
}

impl ReadBudget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            held: Cell::new(0),
            large: RefCell::default(),
            privileged: Cell::new(None),
            waiting: RefCell::default(),
        }
    }

    /// Starts counting for one connection.
    pub(crate) fn share(&self, connection: u64) -> Share<'_> {
        Share { budget: self, connection, held: Cell::new(0) }
    }

    /// The connections to cut off. To be asked every second or so: it compares with what it saw before.
    pub(crate) fn stalled(&self, now_ns: u64) -> Vec<u64> {
        let is_exceeded = self.held.get() >= self.bytes_max;
        let mut large = self.large.borrow_mut();
        let stalled = large.iter_mut().filter_map(|(connection, frame)| {
            if !is_exceeded || frame.waits {
                frame.grown = None;
                return None;
            }
            let (since_ns, bytes) = *frame.grown.get_or_insert((now_ns, frame.bytes));
            if frame.bytes.abs_diff(bytes) >= FREE_BYTES {
                frame.grown = Some((now_ns, frame.bytes));
                return None;
            }
            (now_ns - since_ns >= STALL_MAX.as_nanos() as u64).then_some(*connection)
        });
        stalled.collect()
    }

    fn may_read(&self, connection: u64, held: usize) -> bool {
        if held < FREE_BYTES || self.held.get() < self.bytes_max {
            return true;
        }
        if self.privileged.get().is_none() {
            self.privileged.set(Some(connection));
        }
        self.privileged.get() == Some(connection)
    }

    fn note(&self, connection: u64, bytes: usize, waits: bool) {
        let mut large = self.large.borrow_mut();
        if bytes < FREE_BYTES {
            large.remove(&connection);
        } else {
            let frame = large.entry(connection).or_default();
            (frame.bytes, frame.waits) = (bytes, waits);
        }
    }

    fn wake(&self) {
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

/// One connection's part of the budget; given back when dropped.
pub(crate) struct Share<'a> {
    budget: &'a ReadBudget,
    connection: u64,
    held: Cell<usize>,
}

impl Share<'_> {
    /// Waits until this connection, holding `bytes` of an unfinished frame, may read on.
    pub(crate) async fn room(&self, bytes: usize) {
        self.hold(bytes);
        poll_fn(|context| {
            let may_read = self.budget.may_read(self.connection, bytes);
            self.budget.note(self.connection, bytes, !may_read);
            if may_read {
                return Poll::Ready(());
            }
            self.budget.waiting.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn hold(&self, bytes: usize) {
        let before = self.held.replace(bytes);
        let budget = self.budget;
        budget.held.set(budget.held.get() + bytes - before);
        if bytes < before {
            if budget.privileged.get() == Some(self.connection) {
                budget.privileged.set(None);
            }
            budget.wake();
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.hold(0);
        self.budget.note(self.connection, 0, false);
        if self.budget.privileged.get() == Some(self.connection) {
            self.budget.privileged.set(None);
        }
        self.budget.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_budget_small_frames_and_one_large_one_go_on() {
        let budget = ReadBudget::new(1 << 20);
        let (first, second, small) = (budget.share(1), budget.share(2), budget.share(3));
        first.hold(900 << 10);
        second.hold(200 << 10);
        small.hold(100);
        assert!(budget.may_read(1, 900 << 10), "the first to ask is privileged");
        assert!(!budget.may_read(2, 200 << 10), "others wait");
        assert!(budget.may_read(3, 100), "small frames never wait");
        drop(first);
        assert!(budget.may_read(2, 200 << 10));
    }

    #[test]
    fn over_the_budget_who_sends_nothing_is_cut_off() {
        const SECOND: u64 = 1_000_000_000;
        let budget = ReadBudget::new(1 << 20);
        let shares: Vec<_> = (0..4).map(|connection| budget.share(connection)).collect();
        let hold = |connection: usize, kib: usize, waits: bool| {
            shares[connection].hold(kib << 10);
            budget.note(connection as u64, kib << 10, waits);
        };
        hold(0, 500, false);
        for second in 0..20 {
            assert!(budget.stalled(second * SECOND).is_empty(), "there is room");
        }
        hold(1, 500, false);
        hold(2, 500, true);
        hold(3, 1, false);
        assert!(budget.stalled(20 * SECOND).is_empty());
        hold(1, 563, false);
        assert!(budget.stalled(24 * SECOND).is_empty());
        hold(1, 564, false);
        assert_eq!(budget.stalled(25 * SECOND), [0], "who waits, is small or goes on is left alone");
        assert_eq!(budget.stalled(30 * SECOND), [0, 1]);
    }
}
