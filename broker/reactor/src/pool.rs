//! Helper threads for what blocks or computes for long. One pool serves all cores of a machine.
//!
//! Threads are started when work has to wait and leave after idle time. A result comes back through
//! the mailbox of the core that asked, so a core has one way of being woken.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::host::Job;
use crate::mailbox::Mailbox;

#[derive(Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    threads_max: usize,
    /// Where its threads run; empty: wherever the one that starts them does.
    cpus: Vec<usize>,
    /// Its threads run where nobody else wants to.
    is_nice: bool,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    pub(crate) fn new(name: &'static str, threads_max: usize, cpus: Vec<usize>) -> Self {
        let (state, work) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { name, threads_max, cpus, is_nice: false, state, work }) }
    }

    /// The same pool, not used yet, with threads that give way to all others.
    pub(crate) fn in_nobodys_way(self) -> Self {
        let mut shared = Arc::into_inner(self.shared).expect("nobody uses it yet");
        shared.is_nice = true;
        Self { shared: Arc::new(shared) }
    }

    /// Runs `work` on a helper thread and gives its result to the core of `mailbox`. The work is done
    /// even if the future is dropped. If the work panics, so does the future.
    pub(crate) fn run<T, W>(&self, mailbox: &Arc<Mailbox>, work: W) -> impl Future<Output = T> + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let slot: Arc<Mutex<Slot<T>>> = Arc::new(Mutex::new(Slot { result: None, waker: None }));
        let (theirs, mailbox) = (slot.clone(), mailbox.clone());
        self.spawn(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            let waker = {
                let mut slot = lock(&theirs);
                slot.result = Some(result);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                mailbox.post(Box::new(move || waker.wake()));
            }
        }));
        poll_fn(move |context| {
            let mut slot = lock(&slot);
            match slot.result.take() {
                Some(Ok(result)) => Poll::Ready(result),
                Some(Err(panic)) => {
                    drop(slot);
                    std::panic::resume_unwind(panic)
                }
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    /// Jobs under way, and waiting.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = lock(&self.shared.state);
        (state.threads - state.idle, state.queue.len())
    }

    /// Runs `job`, which must not panic, on a helper thread.
    pub(crate) fn spawn(&self, job: Job) {
        let mut state = lock(&self.shared.state);
        state.queue.push_back(job);
        if state.idle >= state.queue.len() {
            self.shared.work.notify_one();
        } else if state.threads < self.shared.threads_max {
            match self.start_thread() {
                Ok(()) => state.threads += 1,
                // The work waits for a thread that is there.
                Err(error) if state.threads > 0 => {
                    tracing::warn!(%error, pool = self.shared.name, "cannot start another helper thread");
                }
                Err(error) => panic!("cannot start any helper thread: {error}"),
            }
        }
    }

    fn start_thread(&self) -> io::Result<()> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name(shared.name.into());
        let started = thread.spawn(move || {
            // A mask that is refused, say by a sandbox, costs time and nothing else.
            let _ = run_on(&shared.cpus);
            if shared.is_nice {
                // Of this thread alone: the kernel has no other way to count.
                let _ = setpriority_process(None, NICEST);
            }
            shared.serve();
        });
        started.map(drop)
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                job();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let (back, wait) = self.work.wait_timeout(state, IDLE).expect("no holder of this lock panics");
            state = back;
            state.idle -= 1;
            if wait.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

/// Gives the thread its mask.
fn run_on(cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut mask = CpuSet::new();
    cpus.iter().for_each(|cpu| mask.set(*cpu));
    Ok(sched_setaffinity(None, &mask)?)
}

struct Slot<T> {
    result: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// The lowest of the kernel's priorities.
const NICEST: i32 = 19;
/// How long a helper thread without work stays.
const IDLE: Duration = Duration::from_secs(10);
