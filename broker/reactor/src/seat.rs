//! What a core has whatever it runs on: its number, its mailbox, helper threads, time.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;

use bytes::BytesMut;
use storage::disk::LocalFuture;

use crate::clock::{Clock, Random};
use crate::host::Job;
use crate::machine::{CorePlan, DataDir};
use crate::mailbox::Mailbox;
use crate::pool::Pool;
use crate::sys;

/// Shared by all cores of a machine and by its handles.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// File work that blocks.
    pub(crate) files: Pool,
    /// Long computing.
    pub(crate) workers: Pool,
    pub(crate) dirs: Vec<DataDir>,
    running: AtomicUsize,
    stopping: AtomicBool,
    /// 1 + the core whose task panicked.
    panicked: AtomicUsize,
}

impl Shared {
    /// `helpers`: the CPUs for threads that are no core, if cores are pinned.
    pub(crate) fn new(mailboxes: Vec<Arc<Mailbox>>, dirs: Vec<DataDir>, helpers: Vec<usize>) -> Self {
        let cores = mailboxes.len();
        Self {
            clock: Clock::new(),
            mailboxes,
            files: Pool::new("files", FILE_THREADS_MAX, helpers.clone()),
            workers: Pool::new("worker", cores.max(2), helpers).in_nobodys_way(),
            dirs,
            running: AtomicUsize::new(cores),
            stopping: AtomicBool::new(false),
            panicked: AtomicUsize::new(0),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A core's main has returned; with the last one the machine stops.
    fn main_returned(&self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop();
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for mailbox in &self.mailboxes {
            mailbox.post(Box::new(|| {}));
        }
    }

    /// The core on which a task panicked, if one did.
    pub(crate) fn panicked(&self) -> Option<usize> {
        self.panicked.load(Ordering::Acquire).checked_sub(1)
    }
}

/// One core's own view.
pub(crate) struct Seat {
    pub(crate) core: usize,
    /// The CPU to stay on, if pinned.
    pub(crate) cpu: Option<usize>,
    pub(crate) plan: CorePlan,
    pub(crate) shared: Arc<Shared>,
    pub(crate) random: Random,
    scratch: RefCell<Box<[u8]>>,
}

impl Seat {
    pub(crate) fn new(core: usize, cpu: Option<usize>, plan: CorePlan, shared: Arc<Shared>) -> Self {
        let scratch = RefCell::new(vec![0; SCRATCH_BYTES].into());
        Self { core, cpu, plan, shared, random: Random::default(), scratch }
    }

    /// Receives without waiting; true if the socket had no more than was taken. A caller without room
    /// gets just what came, by way of the core's scratch memory.
    pub(crate) fn receive(&self, stream: &impl AsFd, into: &mut BytesMut) -> io::Result<(usize, bool)> {
        let room = into.spare_capacity_mut().len();
        if room > 0 {
            let n = sys::receive(stream, into)?;
            return Ok((n, n < room));
        }
        let mut scratch = self.scratch.borrow_mut();
        let n = sys::receive_slice(stream, &mut scratch)?;
        into.extend_from_slice(&scratch[..n]);
        Ok((n, n < SCRATCH_BYTES))
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.shared.mailboxes[self.core]
    }

    pub(crate) fn send(&self, core: usize, job: Job) -> bool {
        self.shared.mailboxes[core].post(job)
    }

    pub(crate) fn offload(&self, work: Job) -> LocalFuture<'static, ()> {
        Box::pin(self.shared.workers.run(self.mailbox(), work))
    }

    /// Runs blocking file work on a helper thread.
    pub(crate) fn blocking<T, W>(&self, work: W) -> impl Future<Output = T> + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        self.shared.files.run(self.mailbox(), work)
    }

    /// A task whose panic stops the machine: a shard that has lost a task is in an unknown state.
    pub(crate) fn guard(&self, task: LocalFuture<'static, ()>) -> Guarded {
        Guarded { task, core: self.core, shared: self.shared.clone() }
    }

    /// Stops the machine if it is dropped by a panic of this thread.
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm { core: self.core, shared: self.shared.clone() }
    }

    /// The task that is a core's main.
    pub(crate) fn main(&self, main: LocalFuture<'static, ()>) -> Guarded {
        let shared = self.shared.clone();
        self.guard(Box::pin(async move {
            main.await;
            shared.main_returned();
        }))
    }
}

pub(crate) struct Guarded {
    task: LocalFuture<'static, ()>,
    core: usize,
    shared: Arc<Shared>,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let _alarm = Alarm { core: self.core, shared: self.shared.clone() };
        self.task.as_mut().poll(context)
    }
}

pub(crate) struct Alarm {
    core: usize,
    shared: Arc<Shared>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.panicked.store(1 + self.core, Ordering::Release);
            self.shared.stop();
        }
    }
}

/// Enough for the durable writes of the portable machine to overlap.
const FILE_THREADS_MAX: usize = 16;

/// What one receive may take for a caller that brought no room.
const SCRATCH_BYTES: usize = 64 * 1024;
