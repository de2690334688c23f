//! One core's timers. glommio has its own, but looks at them only when it goes to sleep, which here it
//! never does: see `pump`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Default)]
pub(super) struct Timers {
    /// By deadline in nanoseconds of the machine's clock, and a number that makes it unique.
    waiting: RefCell<BTreeMap<(u64, u64), Waker>>,
    numbers: Cell<u64>,
}

impl Timers {
    /// Ends when the clock has reached `deadline_ns` and the pump has seen it.
    pub(super) fn until(self: &Rc<Self>, deadline_ns: u64) -> Sleep {
        let number = self.numbers.replace(self.numbers.get() + 1);
        Sleep { timers: self.clone(), key: (deadline_ns, number), state: State::New }
    }

    /// The next deadline.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.waiting.borrow().first_key_value().map(|(key, _)| key.0)
    }

    /// Wakes whoever's deadline has come.
    pub(super) fn fire(&self, now_ns: u64) {
        while let Some(waker) = self.take_due(now_ns) {
            waker.wake();
        }
    }

    fn take_due(&self, now_ns: u64) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.first_entry()?;
        (first.key().0 <= now_ns).then(|| first.remove())
    }
}

pub(super) struct Sleep {
    timers: Rc<Timers>,
    key: (u64, u64),
    state: State,
}

#[derive(PartialEq)]
enum State {
    New,
    Waiting,
    Over,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.timers.waiting.borrow_mut();
        let known = waiting.get_mut(&self.key);
        let state = match (&self.state, known) {
            (State::New, _) => {
                waiting.insert(self.key, context.waker().clone());
                State::Waiting
            }
            (State::Waiting, Some(waker)) => {
                waker.clone_from(context.waker());
                State::Waiting
            }
            (State::Waiting | State::Over, _) => State::Over,
        };
        drop(waiting);
        let polled = if state == State::Over { Poll::Ready(()) } else { Poll::Pending };
        self.state = state;
        polled
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.state == State::Waiting {
            // Order: a waker, when dropped, may run code that comes here again.
            let waker = self.timers.waiting.borrow_mut().remove(&self.key);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(sleep: &mut Sleep) -> bool {
        Pin::new(sleep).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn sleeps_end_in_the_order_of_their_deadlines() {
        let timers = Rc::new(Timers::default());
        let mut late = timers.until(30);
        let mut early = timers.until(10);
        assert!(!poll(&mut late) && !poll(&mut early));
        assert_eq!(timers.next_ns(), Some(10));
        timers.fire(9);
        assert!(!poll(&mut early));
        timers.fire(10);
        assert!(poll(&mut early) && !poll(&mut late));
        assert_eq!(timers.next_ns(), Some(30));
        timers.fire(31);
        assert!(poll(&mut late));
        assert_eq!(timers.next_ns(), None);
    }

    #[test]
    fn a_sleep_that_nobody_waits_for_any_more_is_forgotten() {
        let timers = Rc::new(Timers::default());
        let mut sleep = timers.until(10);
        assert!(!poll(&mut sleep));
        drop(sleep);
        assert_eq!(timers.next_ns(), None);
    }
}
