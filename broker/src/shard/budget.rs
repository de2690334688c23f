//! How many bytes of requests under way a core holds in all. Beyond it readers wait; one connection at
//! a time may always go on, so that the frames that fill the budget can be completed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Frames smaller than this never wait: they are what other clients live on.
const FREE_BYTES: usize = 64 << 10;

/// Bytes of frames that are not whole yet, over all connections of a core.
pub(crate) struct ReadBudget {
    bytes_max: usize,
    held: Cell<usize>,
    privileged: Cell<Option<u64>>,
    waiting: RefCell<VecDeque<Waker>>,
}

impl ReadBudget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Cell::new(0), privileged: Cell::new(None), waiting: RefCell::default() }
    }

    /// Starts counting for one connection.
    pub(crate) fn share(&self, connection: u64) -> Share<'_> {
        Share { budget: self, connection, held: Cell::new(0) }
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
            if self.budget.may_read(self.connection, self.held.get()) {
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
}
