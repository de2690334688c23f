//! One core's own io_uring: readiness of sockets, direct reads and writes. Lives on one core.
//!
//! Operations are queued by tasks and handed to the kernel by the pump, which also reaps and waits: the
//! ring is the one place where a core sleeps.
//!
//! Why this is sound: memory that the kernel may touch belongs to a [`Transfer`], and a transfer stays
//! in the slab from before its entry is queued until its last completion has been reaped, whatever
//! becomes of the future that waits for it. The driver does not go away before that either: a transfer
//! holds its file, and a file holds the driver.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use slab::Slab;
use storage::buffer::Buffer;
use storage::disk::Class;

use super::arena::{Arena, Fresh};
use super::slots::Slots;
use super::transfer::{Progress, Transfer};

pub(super) struct Driver {
    ring: RefCell<IoUring>,
    state: RefCell<State>,
    arena: RefCell<Arena>,
    slots: Slots,
    /// What other threads wake this core with.
    bell: OwnedFd,
    /// The ring watches the bell.
    hears: Cell<bool>,
}

#[derive(Default)]
struct State {
    ops: Slab<Op>,
    /// Entries that found the submission queue full.
    overflow: VecDeque<Entry>,
    lanes: [Lane; 3],
    /// Transfers in the slab, waiting or under way.
    transfers: usize,
}

/// Transfers of one class.
#[derive(Default)]
struct Lane {
    under_way: usize,
    waiting: VecDeque<usize>,
}

struct Op {
    body: Body,
    waker: Option<Waker>,
    /// Nobody waits any more.
    dropped: bool,
}

enum Body {
    Poll,
    Transfer(Box<Transfer>),
    Finished(i32, Option<Box<Transfer>>),
}

impl Driver {
    /// Must be called on the thread of its core.
    pub(super) fn new(bell: OwnedFd, registered_bytes: usize) -> io::Result<Rc<Self>> {
        let ring = build()?;
        let submitter = ring.submitter();
        let slots = Slots::new(&submitter);
        let arena = Arena::new(registered_bytes)?;
        let chunks = u32::try_from(arena.chunks_max()).expect("bounded by CHUNKS_MAX");
        // Where this is refused (old kernel), so is each chunk, and memory goes unregistered.
        let _ = submitter.register_buffers_sparse(chunks);
        Ok(Rc::new(Self {
            ring: RefCell::new(ring),
            state: RefCell::default(),
            arena: RefCell::new(arena),
            slots,
            bell,
            hears: Cell::new(false),
        }))
    }

    pub(super) fn buffer(&self, bytes: usize) -> Buffer {
        self.arena.borrow_mut().buffer(bytes, |fresh| self.register(&fresh))
    }

    fn register(&self, fresh: &Fresh) -> bool {
        let index = u32::try_from(fresh.index).expect("bounded by CHUNKS_MAX");
        let ring = self.ring.borrow();
        // SAFETY: the chunk stays mapped as long as any buffer of it is in use, and only such buffers are
        // named in entries; the ring itself only pins the pages.
        let result = unsafe { ring.submitter().register_buffers_update(index, &[fresh.memory], None) };
        if let Err(error) = &result {
            tracing::debug!(%error, "memory for direct I/O stays unregistered");
        }
        result.is_ok()
    }

    /// Gives back memory that nobody needs any more; to be called now and then.
    pub(super) fn look_for_spare_memory(&self) {
        self.arena.borrow_mut().look(|index| self.unregister(index));
    }

    fn unregister(&self, index: usize) -> bool {
        let index = u32::try_from(index).expect("bounded by CHUNKS_MAX");
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: no buffer of the chunk is lent, so no entry names it.
        unsafe { self.ring.borrow().submitter().register_buffers_update(index, &[nothing], None) }.is_ok()
    }

    /// The registered buffer that holds this memory, if any does.
    pub(super) fn registered(&self, memory: &[u8]) -> Option<u16> {
        self.arena.borrow().registered(memory)
    }

    /// A place for a file in the ring's table, if there is one.
    pub(super) fn enter(&self, file: &File) -> Option<u32> {
        self.slots.enter(&self.ring.borrow().submitter(), file.as_raw_fd())
    }

    /// Takes a file that nothing uses any more.
    pub(super) fn leave(&self, slot: Option<u32>, file: Arc<File>) {
        self.slots.leave(slot, file);
    }

    /// Waits until a descriptor is ready for `events`, once.
    pub(super) fn ready(self: &Rc<Self>, fd: RawFd, events: u32) -> Pending {
        let key = self.insert(Body::Poll);
        self.queue(opcode::PollAdd::new(io_uring::types::Fd(fd), events).build().user_data(key as u64));
        Pending { driver: self.clone(), key, cancel: true }
    }

    /// Starts a transfer, or queues it behind others of its class. It goes on if the future is dropped.
    pub(super) fn transfer(self: &Rc<Self>, transfer: Transfer) -> Pending {
        let lane = lane(transfer.class());
        let key = self.insert(Body::Transfer(Box::new(transfer)));
        let mut state = self.state.borrow_mut();
        state.transfers += 1;
        if state.lanes[lane].under_way < DEPTHS[lane] {
            state.lanes[lane].under_way += 1;
            drop(state);
            self.start(key);
        } else {
            state.lanes[lane].waiting.push_back(key);
        }
        Pending { driver: self.clone(), key, cancel: false }
    }

    /// Transfers under way, and waiting for their turn.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.state.borrow();
        let waiting = state.lanes.iter().map(|lane| lane.waiting.len()).sum();
        (state.transfers - waiting, waiting)
    }

    fn insert(&self, body: Body) -> usize {
        self.state.borrow_mut().ops.insert(Op { body, waker: None, dropped: false })
    }

    fn start(&self, key: usize) {
        let mut state = self.state.borrow_mut();
        let Body::Transfer(transfer) = &mut state.ops[key].body else {
            unreachable!("only transfers wait in a lane")
        };
        let entry = transfer.entry(|memory| self.registered(memory)).user_data(key as u64);
        drop(state);
        self.queue(entry);
    }

    fn queue(&self, entry: Entry) {
        if !self.push(&entry) {
            self.state.borrow_mut().overflow.push_back(entry);
        }
    }

    /// False if the submission queue is full.
    fn push(&self, entry: &Entry) -> bool {
        let mut ring = self.ring.borrow_mut();
        // SAFETY: what the entry points to is owned by a transfer in the slab until the completion has
        // been reaped (see the top of this file); entries of other kinds point to nothing.
        unsafe { ring.submission().push(entry) }.is_ok()
    }

    /// Files to close where closing may block.
    pub(super) fn take_left(&self) -> Vec<Arc<File>> {
        self.slots.take_left()
    }

    /// Hands what is queued to the kernel.
    pub(super) fn turn(&self) -> io::Result<()> {
        self.prepare();
        self.submit()
    }

    /// Reaps what is done, without a system call.
    pub(super) fn reap(&self) {
        loop {
            let next = self.ring.borrow_mut().completion().next();
            let Some(completion) = next else { return };
            match completion.user_data() {
                NOBODY => {}
                BELL => self.hears.set(io_uring::cqueue::more(completion.flags())),
                key => {
                    let key = usize::try_from(key).expect("a slab key");
                    self.complete(key, completion.result());
                }
            }
        }
    }

    /// Hands what is queued to the kernel, and waits on the thread itself until something is to be reaped
    /// (the bell counts) or the time is over.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.prepare();
        if !self.state.borrow().overflow.is_empty() {
            return self.submit();
        }
        let timespec = timeout.map(Timespec::from);
        let arguments = match &timespec {
            Some(timespec) => SubmitArgs::new().timespec(timespec),
            None => SubmitArgs::new(),
        };
        match self.ring.borrow().submitter().submit_with_args(1, &arguments) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) || is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn prepare(&self) {
        self.slots.release(&self.ring.borrow().submitter());
        self.hear();
    }

    /// Watches the bell. Nobody reads its counter: every ring is an event of its own.
    fn hear(&self) {
        if !self.hears.get() {
            let fd = io_uring::types::Fd(self.bell.as_raw_fd());
            let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true).build().user_data(BELL);
            self.hears.set(self.push(&entry));
        }
    }

    fn submit(&self) -> io::Result<()> {
        loop {
            let mut ring = self.ring.borrow_mut();
            let queue = ring.submission();
            let idle = queue.is_empty() && !queue.taskrun() && !queue.cq_overflow();
            drop(queue);
            if idle {
                return Ok(());
            }
            match ring.submit() {
                Ok(_) => {}
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            drop(ring);
            if !self.refill() {
                return Ok(());
            }
        }
    }

    /// Moves entries that had found no room; true if there were any.
    fn refill(&self) -> bool {
        let mut moved = false;
        loop {
            let Some(entry) = self.state.borrow_mut().overflow.pop_front() else { return moved };
            if !self.push(&entry) {
                self.state.borrow_mut().overflow.push_front(entry);
                return moved;
            }
            moved = true;
        }
    }

    fn complete(&self, key: usize, result: i32) {
        let mut state = self.state.borrow_mut();
        let op = &mut state.ops[key];
        let result = match &mut op.body {
            Body::Poll => result,
            Body::Transfer(transfer) => match transfer.completed(result) {
                Progress::Again => {
                    drop(state);
                    return self.start(key);
                }
                Progress::Done => 0,
                Progress::Failed(errno) => -errno,
            },
            Body::Finished(..) => unreachable!("completed twice"),
        };
        let transfer = match std::mem::replace(&mut op.body, Body::Finished(result, None)) {
            Body::Transfer(transfer) => Some(transfer),
            _ => None,
        };
        let next = transfer.as_ref().and_then(|transfer| state.next_of(lane(transfer.class())));
        state.finish(key, result, transfer);
        if let Some(next) = next {
            self.start(next);
        }
    }

    /// Waits, on the thread itself, until no transfer is under way.
    pub(super) fn outwait_transfers(&self) -> io::Result<()> {
        while self.state.borrow().transfers > 0 {
            self.refill();
            match self.ring.borrow().submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
            self.reap();
        }
        Ok(())
    }
}

impl State {
    /// A transfer of this lane has ended: the one to start in its place.
    fn next_of(&mut self, lane: usize) -> Option<usize> {
        self.transfers -= 1;
        let lane = &mut self.lanes[lane];
        let next = lane.waiting.pop_front();
        lane.under_way -= usize::from(next.is_none());
        next
    }
}

trait Finish {
    fn finish(self, key: usize, result: i32, transfer: Option<Box<Transfer>>);
}

impl Finish for RefMut<'_, State> {
    /// Gives a result to whoever waits. Ends the borrow first: a waker, or memory given back, runs code
    /// that comes here again.
    fn finish(mut self, key: usize, result: i32, transfer: Option<Box<Transfer>>) {
        if self.ops[key].dropped {
            let op = self.ops.remove(key);
            drop(self);
            drop((op, transfer));
            return;
        }
        let op = &mut self.ops[key];
        op.body = Body::Finished(result, transfer);
        let waker = op.waker.take();
        drop(self);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The result of an operation: what the kernel said, and the transfer's memory.
pub(super) struct Pending {
    driver: Rc<Driver>,
    key: usize,
    /// Whether the operation ends with the future.
    cancel: bool,
}

impl Future for Pending {
    type Output = (i32, Option<Box<Transfer>>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.driver.state.borrow_mut();
        let op = &mut state.ops[self.key];
        if !matches!(op.body, Body::Finished(..)) {
            if op.waker.as_ref().is_none_or(|known| !known.will_wake(context.waker())) {
                op.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        let Body::Finished(result, transfer) = state.ops.remove(self.key).body else {
            unreachable!("just looked at")
        };
        drop(state);
        self.key = usize::MAX;
        Poll::Ready((result, transfer))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.key == usize::MAX {
            return;
        }
        let mut state = self.driver.state.borrow_mut();
        if matches!(state.ops[self.key].body, Body::Finished(..)) {
            let op = state.ops.remove(self.key);
            drop(state);
            drop(op);
            return;
        }
        let op = &mut state.ops[self.key];
        op.dropped = true;
        let waker = op.waker.take();
        drop(state);
        drop(waker);
        if self.cancel {
            self.driver.queue(opcode::AsyncCancel::new(self.key as u64).build().user_data(NOBODY));
        }
    }
}

/// The ring, with as many of the useful flags as this kernel knows.
fn build() -> io::Result<IoUring> {
    let attempts: [fn(&mut io_uring::Builder); 4] = [
        |builder| {
            // Completions are worked on when the core asks for them, not in the middle of something.
            builder.setup_defer_taskrun().setup_taskrun_flag().setup_single_issuer();
        },
        |builder| {
            builder.setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
        },
        |builder| {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        },
        |_| {},
    ];
    let mut refusal = None;
    for set_flags in attempts {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_cqsize(COMPLETIONS);
        set_flags(&mut builder);
        match builder.build(SUBMISSIONS) {
            Ok(ring) => return Ok(ring),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refusal.expect("attempts were made"))
}

/// Errors of entering the kernel that go by themselves: a signal, or completions waiting to be reaped.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

fn lane(class: Class) -> usize {
    match class {
        Class::Append => 0,
        Class::Read => 1,
        Class::Background => 2,
    }
}

/// Transfers of each class that may be under way at once: background work leaves the device to appends.
const DEPTHS: [usize; 3] = [128, 32, 4];
const SUBMISSIONS: u32 = 256;
/// More than these wait in the kernel. Small, since from Linux 6.14 on the rings of an ordinary user
/// count as locked memory.
const COMPLETIONS: u32 = 1024;
/// Completions that nobody waits for. No slab grows this far.
const NOBODY: u64 = u64::MAX;
/// Events of the bell.
const BELL: u64 = u64::MAX - 1;
