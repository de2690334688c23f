//! The one task per core that brings the outside in: it runs the mailbox, hands operations to the ring
//! and reaps them, and lets background work have its turn. From other threads and from the kernel it is
//! woken in one way, by an eventfd that glommio reads.
//!
//! glommio looks at its own rings and timers only when no task is runnable, so a busy core would starve
//! them. Its preempt timer is meant against that, but if it fires before the first task of a round
//! has run, glommio goes to sleep on runnable tasks; with a short timer on a loaded machine that is a
//! matter of minutes. So the timer is off (see [`super::PREEMPT`]), and the pump pauses instead.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::io::BufferedFile;
use rustix::event::{EventfdFlags, eventfd};
use storage::disk::LocalFuture;

use super::driver::Driver;
use crate::machine::Shares;
use crate::mailbox::Bell;
use crate::seat::Seat;

/// In blocking mode: io_uring then waits for it instead of answering EAGAIN.
pub(super) struct Eventfd(OwnedFd);

impl Eventfd {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC)?))
    }

    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }
}

impl Bell for Eventfd {
    fn ring(&self) {
        // It fails only when the counter is full, and then the bell has been rung.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// Runs until the machine stops.
pub(super) async fn pump(seat: &Seat, driver: &Rc<Driver>, breaths: &Breaths, eventfd: OwnedFd) {
    // SAFETY: the descriptor is owned and given away here; glommio closes it.
    let bell = unsafe { BufferedFile::from_raw_fd(eventfd.into_raw_fd()) };
    let mut rung = Box::pin(bell.read_at(0, 8));
    let mailbox = seat.mailbox();
    let mut paused_ns = 0;
    loop {
        driver.set_pump(None);
        let more = mailbox.run_some();
        // Order: after the jobs, since the one that told of the stop may have been among them.
        if seat.shared.is_stopping() {
            return;
        }
        let did = driver.turn().expect("the kernel takes what it took before");
        for file in driver.take_left() {
            seat.shared.files.spawn(Box::new(move || drop(file)));
        }
        let now_ns = seat.shared.clock.now_ns();
        let busy = more || did || driver.has_completions();
        if breaths.release(busy, now_ns) || busy {
            if now_ns - paused_ns > PAUSE_EVERY_NS {
                glommio::timer::sleep(PAUSE).await;
                paused_ns = now_ns;
            } else {
                // What was woken runs now and most likely queues something: cheaper than a bell.
                yield_now().await;
            }
        } else if mailbox.begin_wait() {
            let mut kicked = false;
            poll_fn(|context| {
                if rung.as_mut().poll(context).is_ready() {
                    rung.set(bell.read_at(0, 8));
                    return Poll::Ready(());
                }
                if std::mem::replace(&mut kicked, true) {
                    return Poll::Ready(());
                }
                driver.set_pump(Some(context.waker()));
                Poll::Pending
            })
            .await;
            mailbox.end_wait();
        }
    }
}

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
    pub(super) fn breathe(self: &Rc<Self>, driver: &Rc<Driver>) -> LocalFuture<'static, ()> {
        let breath = Rc::new(Breath::default());
        let (breaths, driver) = (self.clone(), driver.clone());
        let mut queued = false;
        Box::pin(poll_fn(move |context: &mut Context<'_>| {
            if breath.released.get() {
                return Poll::Ready(());
            }
            *breath.waker.borrow_mut() = Some(context.waker().clone());
            if !std::mem::replace(&mut queued, true) {
                breaths.waiting.borrow_mut().push_back(breath.clone());
                driver.kick();
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

/// How long a busy core may leave glommio's timers alone, and the shortest sleep that makes it look.
const PAUSE_EVERY_NS: u64 = 250_000;
const PAUSE: Duration = Duration::from_micros(1);
/// What a background task may do between two breaths.
const CHUNK_NS: u64 = 50_000;
