//! Who waits for which offset to become durable, in the order of offsets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Log;
use crate::Error;

#[derive(Default)]
pub(super) struct Waiting {
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    next_id: u64,
    /// By offset, then by age.
    waiters: VecDeque<Waiter>,
    /// Those whose wait ended badly and who do not know it yet.
    failed: Vec<(u64, Error)>,
    /// Those who wait for running work to end.
    idle: Vec<Waker>,
}

struct Waiter {
    offset: i64,
    id: u64,
    /// What it waits for was in the log when it began to wait.
    is_appended: bool,
    waker: Option<Waker>,
}

impl Inner {
    fn find(&self, offset: i64, id: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&(offset, id), |waiter| (waiter.offset, waiter.id)).ok()
    }

    fn pop_durable(&mut self, durable_offset: i64) -> Option<Waiter> {
        if self.waiters.front()?.offset > durable_offset {
            return None;
        }
        self.waiters.pop_front()
    }
}

impl Waiting {
    pub(super) fn register(&self, offset: i64, is_appended: bool) -> u64 {
        let mut inner = self.inner.borrow_mut();
        let id = inner.next_id;
        inner.next_id += 1;
        let at = inner.waiters.partition_point(|waiter| (waiter.offset, waiter.id) < (offset, id));
        inner.waiters.insert(at, Waiter { offset, id, is_appended, waker: None });
        id
    }

    /// Everything below `durable_offset` is durable.
    pub(super) fn advance(&self, durable_offset: i64) {
        loop {
            // Order: no borrow while somebody else's code runs.
            let next = self.inner.borrow_mut().pop_durable(durable_offset);
            let Some(waiter) = next else { return };
            if let Some(waker) = waiter.waker {
                waker.wake();
            }
        }
    }

    /// Nothing above `durable_offset` becomes durable: of what was appended, or ever if `for_good`.
    pub(super) fn fail(&self, durable_offset: i64, for_good: bool, error: &Error) {
        let wakers: Vec<Waker> = {
            let mut inner = self.inner.borrow_mut();
            let all = std::mem::take(&mut inner.waiters);
            let fails = |waiter: &Waiter| waiter.offset > durable_offset && (for_good || waiter.is_appended);
            let (failed, kept): (VecDeque<Waiter>, VecDeque<Waiter>) = all.into_iter().partition(fails);
            inner.waiters = kept;
            inner.failed.extend(failed.iter().map(|waiter| (waiter.id, error.clone())));
            failed.into_iter().filter_map(|waiter| waiter.waker).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Resolves once `is_so` holds; asked again whenever running work ends.
    pub(super) async fn until(&self, is_so: impl Fn() -> bool) {
        poll_fn(|context| {
            if is_so() {
                return Poll::Ready(());
            }
            let idle = &mut self.inner.borrow_mut().idle;
            if !idle.iter().any(|known| known.will_wake(context.waker())) {
                idle.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub(super) fn wake_idle(&self) {
        let wakers = std::mem::take(&mut self.inner.borrow_mut().idle);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, offset: i64, id: u64, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut inner = self.inner.borrow_mut();
        if let Some(at) = inner.find(offset, id) {
            let slot = &mut inner.waiters[at].waker;
            if slot.as_ref().is_none_or(|known| !known.will_wake(waker)) {
                *slot = Some(waker.clone());
            }
            return Poll::Pending;
        }
        let failed = inner.failed.iter().position(|(failed, _)| *failed == id);
        Poll::Ready(failed.map_or(Ok(()), |at| Err(inner.failed.swap_remove(at).1)))
    }

    fn leave(&self, offset: i64, id: u64) {
        let mut inner = self.inner.borrow_mut();
        if let Some(at) = inner.find(offset, id) {
            inner.waiters.remove(at);
        }
        inner.failed.retain(|(failed, _)| *failed != id);
    }
}

/// A wait for an offset; registered when made, not when first polled.
pub(super) struct Durable {
    log: Rc<Log>,
    offset: i64,
    id: u64,
    is_done: bool,
}

impl Durable {
    pub(super) fn new(log: Rc<Log>, offset: i64, id: u64) -> Self {
        Self { log, offset, id, is_done: false }
    }
}

impl Future for Durable {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.log.waiting.poll(self.offset, self.id, context.waker());
        self.is_done = polled.is_ready();
        polled
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if !self.is_done {
            self.log.waiting.leave(self.offset, self.id);
        }
    }
}
