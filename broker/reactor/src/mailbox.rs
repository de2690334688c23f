//! Work sent to a core from other cores and from foreign threads.
//!
//! One queue per receiving core; jobs of one sender keep their order. A sender rings the receiver's
//! bell only when the receiver has said that it is about to wait, so a burst costs one wake-up.

use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::SegQueue;

use crate::host::Job;

/// Wakes the task of a core that drains its mailbox. Called from any thread.
pub(crate) trait Bell: Send + Sync {
    fn ring(&self);
}

pub(crate) struct Mailbox {
    jobs: SegQueue<Job>,
    waiting: AtomicBool,
    bell: Box<dyn Bell>,
}

impl Mailbox {
    pub(crate) fn new(bell: Box<dyn Bell>) -> Self {
        Self { jobs: SegQueue::new(), waiting: AtomicBool::new(false), bell }
    }

    /// True if the receiver had to be woken.
    pub(crate) fn post(&self, job: Job) -> bool {
        self.jobs.push(job);
        // Order: the job is visible before `waiting` is looked at; `begin_wait` does the reverse. One
        // of the two sees the other.
        fence(Ordering::SeqCst);
        let rings = self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::AcqRel);
        if rings {
            self.bell.ring();
        }
        rings
    }

    /// Runs what has come, up to a limit. True if there may be more.
    pub(crate) fn run_some(&self) -> bool {
        for _ in 0..JOBS_PER_TURN {
            match self.jobs.pop() {
                Some(job) => job(),
                None => return false,
            }
        }
        true
    }

    /// Jobs that have not run.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The receiver is awake for another reason: nobody need ring.
    pub(crate) fn end_wait(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Says that the receiver will now wait for its bell; false if something came meanwhile.
    pub(crate) fn begin_wait(&self) -> bool {
        self.waiting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.jobs.is_empty() {
            return true;
        }
        self.waiting.store(false, Ordering::Relaxed);
        false
    }
}

/// Jobs run before other tasks of the core get their turn.
const JOBS_PER_TURN: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Count(Arc<AtomicUsize>);

    impl Bell for Count {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_burst_rings_once_and_only_if_the_receiver_waits() {
        let rings = Arc::new(AtomicUsize::new(0));
        let mailbox = Mailbox::new(Box::new(Count(rings.clone())));
        assert!(!mailbox.post(Box::new(|| {})));
        assert_eq!(rings.load(Ordering::Relaxed), 0);
        assert!(!mailbox.begin_wait(), "a job is there");
        assert!(!mailbox.run_some());
        assert!(mailbox.begin_wait());
        let woke = (0..10).filter(|_| mailbox.post(Box::new(|| {}))).count();
        assert_eq!(woke, 1);
        assert_eq!(rings.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_flood_does_not_keep_the_core_from_its_other_tasks() {
        let mailbox = Mailbox::new(Box::new(Count(Arc::default())));
        for _ in 0..=JOBS_PER_TURN {
            mailbox.post(Box::new(|| {}));
        }
        assert!(mailbox.run_some());
        assert!(!mailbox.run_some());
    }
}
