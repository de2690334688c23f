//! A value that one task of this core waits for and another provides, once.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The providing end. Dropping it unfulfilled leaves the waiting end pending for ever: keep it.
pub(crate) struct Promise<T>(Rc<RefCell<Slot<T>>>);

/// The waiting end.
pub(crate) struct Promised<T>(Rc<RefCell<Slot<T>>>);

pub(crate) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, waker: None }));
    (Promise(slot.clone()), Promised(slot))
}

impl<T> Promise<T> {
    pub(crate) fn fulfil(self, value: T) {
        let waker = {
            let mut slot = self.0.borrow_mut();
            slot.value = Some(value);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Promised<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
