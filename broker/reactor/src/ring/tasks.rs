//! Tasks that are counted while they are due, so that the pump knows when the core may wait: glommio
//! does not tell.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

use crate::mailbox::Mailbox;
use crate::seat::Guarded;

/// The tasks of one core that have been woken and not been polled since.
pub(super) struct Due {
    count: AtomicUsize,
    thread: ThreadId,
    mailbox: Arc<Mailbox>,
}

impl Due {
    /// Must be called on the thread of its core.
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), thread: thread::current().id(), mailbox })
    }

    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    // Atomics only because wakers have to be `Sync`: one thread writes them.
    fn add(&self) {
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn subtract(&self) {
        self.count.store(self.count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }
}

/// A task as it is given to glommio.
pub(super) struct Counted {
    task: Guarded,
    turn: Arc<Turn>,
    waker: Waker,
}

/// Whether a task is due; its waker.
struct Turn {
    due: Arc<Due>,
    is_due: AtomicBool,
    ended: AtomicBool,
    /// glommio's. Known from the first poll on.
    waker: OnceLock<Waker>,
}

impl Counted {
    /// A task that is given to glommio at once, which makes it due.
    pub(super) fn new(task: Guarded, due: &Arc<Due>) -> Self {
        due.add();
        let turn = Arc::new(Turn {
            due: due.clone(),
            is_due: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            waker: OnceLock::new(),
        });
        Self { task, waker: Waker::from(turn.clone()), turn }
    }
}

impl Future for Counted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.turn.begin();
        this.turn.waker.get_or_init(|| context.waker().clone());
        let polled = Pin::new(&mut this.task).poll(&mut Context::from_waker(&this.waker));
        if polled.is_ready() {
            this.turn.end();
        }
        polled
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.turn.end();
    }
}

impl Turn {
    fn begin(&self) {
        if self.is_due.swap(false, Ordering::Relaxed) {
            self.due.subtract();
        }
    }

    /// Wakers may outlive their task; from now on they do nothing.
    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.begin();
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if thread::current().id() != self.due.thread {
            let turn = self.clone();
            self.due.mailbox.post(Box::new(move || turn.wake()));
            return;
        }
        if self.ended.load(Ordering::Relaxed) || self.is_due.swap(true, Ordering::Relaxed) {
            return;
        }
        self.due.add();
        // Before the first poll a task is due, so that it does not come this far.
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, poll_fn};
    use std::rc::Rc;

    use super::*;
    use crate::machine::CorePlan;
    use crate::mailbox::Bell;
    use crate::seat::{Seat, Shared};

    struct Silent;

    impl Bell for Silent {
        fn ring(&self) {}
    }

    fn seat() -> Seat {
        let mailbox = Arc::new(Mailbox::new(Box::new(Silent)));
        Seat::new(0, None, CorePlan::default(), Arc::new(Shared::new(vec![mailbox], Vec::new(), Vec::new())))
    }

    fn poll(task: &mut Counted) -> Poll<()> {
        Pin::new(task).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_task_is_due_from_wake_to_poll_however_often_it_is_woken() {
        let seat = seat();
        let due = Due::new(seat.mailbox().clone());
        let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
        let keep = kept.clone();
        let waiting = poll_fn(move |context| {
            *keep.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        });
        let mut task = Counted::new(seat.guard(Box::pin(waiting)), &due);
        assert!(due.any(), "a new task is due");
        assert!(poll(&mut task).is_pending());
        assert!(!due.any());
        let waker = kept.borrow().clone().expect("the task was polled");
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(due.any());
        assert!(poll(&mut task).is_pending());
        assert!(!due.any());
        waker.wake_by_ref();
        drop(task);
        assert!(!due.any(), "who is gone is not due");
        waker.wake();
        assert!(!due.any(), "a waker outlives its task and does nothing");
    }

    #[test]
    fn a_wake_from_another_thread_comes_by_the_mailbox() {
        let seat = seat();
        let due = Due::new(seat.mailbox().clone());
        let mut task = Counted::new(seat.guard(Box::pin(pending())), &due);
        assert!(poll(&mut task).is_pending());
        let waker = task.waker.clone();
        thread::spawn(move || waker.wake()).join().unwrap();
        assert!(!due.any(), "only its own thread counts");
        assert!(!seat.mailbox().run_some());
        assert!(due.any());
    }
}
