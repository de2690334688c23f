//! The one task per core that brings the outside in: it runs the mailbox, hands operations to the ring
//! and reaps them, fires timers, and lets background work have its turn. When nothing is due it waits in
//! the ring, and with it the whole core.
//!
//! So glommio never goes to sleep. Each of its naps costs it a dozen system calls on three rings, for
//! timers of its own among others, and it looks at none of them while any task is due. Its preempt timer
//! is meant against that, but if it fires before the first task of a round has run, glommio sleeps on
//! tasks that are due; it is off (see [`super::PREEMPT`]).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::executor;
use rustix::event::{EventfdFlags, eventfd};
use storage::disk::LocalFuture;

use super::driver::Driver;
use super::tasks::Due;
use super::timers::Timers;
use crate::machine::Shares;
use crate::mailbox::Bell;
use crate::seat::Seat;

pub(super) struct Eventfd(OwnedFd);

impl Eventfd {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }
}

impl Bell for Eventfd {
    fn ring(&self) {
        // It fails only when the counter is full, after more rings than there can be.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// Runs until the machine stops.
pub(super) async fn pump(seat: &Seat, driver: &Driver, timers: &Timers, breaths: &Breaths, due: &Due) {
    let mailbox = seat.mailbox();
    let mut now_ns = seat.shared.clock.now_ns();
    let mut turned_ns = now_ns;
    let mut looked_ns = now_ns;
    loop {
        let more = mailbox.run_some();
        // Order: after the jobs, since the one that told of the stop may have been among them.
        if seat.shared.is_stopping() {
            return;
        }
        driver.reap();
        timers.fire(now_ns);
        for file in driver.take_left() {
            seat.shared.files.spawn(Box::new(move || drop(file)));
        }
        let busy = more || due.any();
        if breaths.release(busy, now_ns) || busy {
            if now_ns - turned_ns >= TURN_NS {
                driver.turn().expect(KERNEL);
                turned_ns = now_ns;
            }
            executor().yield_task_queue_now().await;
        } else if mailbox.begin_wait() {
            if now_ns - looked_ns >= LOOK_NS {
                driver.look_for_spare_memory();
                looked_ns = now_ns;
            }
            let timeout = timers.next_ns().map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(now_ns)));
            driver.wait(timeout).expect(KERNEL);
            mailbox.end_wait();
            turned_ns = seat.shared.clock.now_ns();
        }
        now_ns = seat.shared.clock.now_ns();
    }
}

/// How long what is queued for the kernel may wait for more while tasks are due: one system call and one
/// word to the device then start all of it.
const TURN_NS: u64 = 50_000;

/// How often a core looks, when nothing is due, for memory that it does not need any more.
const LOOK_NS: u64 = 1_000_000_000;

const KERNEL: &str = "the kernel takes what it took before";

/// Background tasks between two chunks of work.
pub(super) struct Breaths {
    waiting: RefCell<VecDeque<Rc<Breath>>>,
    released_ns: Cell<u64>,
    /// How long a busy core may keep background work waiting.
    gap_ns: u64,
}

#[derive(Default)]
struct Breath {
    released: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Breaths {
    pub(super) fn new(shares: Shares) -> Self {
        let all = shares.append + shares.read + shares.background;
        let gap_ns = CHUNK_NS.saturating_mul(all as u64) / shares.background.max(1) as u64;
        Self { waiting: RefCell::default(), released_ns: Cell::new(0), gap_ns }
    }

    /// Waits until nothing else is to be done on this core, or for the share that is due anyway.
    pub(super) fn breathe(self: &Rc<Self>) -> LocalFuture<'static, ()> {
        let breath = Rc::new(Breath::default());
        let breaths = self.clone();
        let mut queued = false;
        Box::pin(poll_fn(move |context: &mut Context<'_>| {
            if breath.released.get() {
                return Poll::Ready(());
            }
            *breath.waker.borrow_mut() = Some(context.waker().clone());
            if !std::mem::replace(&mut queued, true) {
                breaths.waiting.borrow_mut().push_back(breath.clone());
            }
            Poll::Pending
        }))
    }

    /// Lets one task go on; false if none did.
    fn release(&self, busy: bool, now_ns: u64) -> bool {
        if busy && now_ns - self.released_ns.get() < self.gap_ns {
            return false;
        }
        let Some(breath) = self.waiting.borrow_mut().pop_front() else { return false };
        self.released_ns.set(now_ns);
        breath.released.set(true);
        let waker = breath.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// Lets the tasks that are due run first.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a background task may do between two breaths.
const CHUNK_NS: u64 = 50_000;
