//! A fetch's part on one core, seen from the core of its connection.
//!
//! Who waits for new records asks for the same again and again, and what comes is mostly on one core at a time.
//! So the parts that had nothing are left waiting where they are, and the connection's next fetch takes them up
//! if it asks for the same: no message is needed to call them off, and none to ask again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use protocol::error_code::ErrorCode;
use reactor::host;
use storage::disk::LocalFuture;

use super::{Goal, Part, PartFound, Read};
use crate::partition::read::{Ask, Found};
use crate::shard::{PartitionId, Shard, here};

/// A connection's own: what its last fetch asked of other cores.
#[derive(Default)]
pub(crate) struct LeftWaiting {
    left: RefCell<Left>,
    is_gone: Cell<bool>,
    /// Of the fetch that waits; a connection's answers are worked on one after the other.
    fetch: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Left {
    /// By core.
    parts: HashMap<usize, AskedPart>,
    at_ns: u64,
}

/// A client that still waits has come back by then; what it left may hold records.
const LEFT_MAX: Duration = Duration::from_secs(1);

impl LeftWaiting {
    pub(super) fn take(&self) -> HashMap<usize, AskedPart> {
        self.left.take().parts
    }

    pub(super) fn leave(&self, asked: Vec<AskedPart>, now_ns: u64) {
        let parts = asked.into_iter().map(|part| (part.core, part)).collect();
        self.left.replace(Left { parts, at_ns: now_ns }).stop();
    }

    /// The client sends no more: how long it would wait is its own word, so nobody waits for it from here on.
    pub(crate) fn client_is_gone(&self) {
        self.is_gone.set(true);
        self.forget();
        let fetch = self.fetch.take();
        if let Some(fetch) = fetch {
            fetch.wake();
        }
    }

    /// Whether it is; if not, the fetch is woken when it is.
    pub(super) fn poll_gone(&self, context: &Context<'_>) -> bool {
        let mut fetch = self.fetch.borrow_mut();
        if !fetch.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *fetch = Some(context.waker().clone());
        }
        self.is_gone.get()
    }

    /// Lets go of everything.
    pub(crate) fn forget(&self) {
        self.left.take().stop();
    }

    /// Lets go of what nobody came back for.
    pub(crate) fn forget_old(&self, now_ns: u64) {
        if now_ns.saturating_sub(self.left.borrow().at_ns) >= LEFT_MAX.as_nanos() as u64 {
            self.forget();
        }
    }
}

impl Left {
    fn stop(self) {
        self.parts.into_values().for_each(AskedPart::stop);
    }
}

/// What is asked of one core, and what that core is known to have.
pub(super) struct AskedPart {
    core: usize,
    reads: Vec<Read>,
    goal: Goal,
    part: Part,
    /// Asked by this very fetch, not taken up from an earlier one.
    is_fresh: bool,
    /// None: it has answered.
    running: Option<LocalFuture<'static, PartFound>>,
    heard: HashMap<PartitionId, Heard>,
}

/// What a core last said of a partition, and to which question.
struct Heard {
    ask: Ask,
    high_watermark: i64,
    log_start_offset: i64,
}

impl AskedPart {
    /// Takes up what was left there `before` if that waits for the same.
    pub(super) fn begin(
        shard: &Rc<Shard>,
        core: usize,
        reads: Vec<Read>,
        goal: Goal,
        before: Option<Self>,
    ) -> Self {
        let heard = match before {
            Some(before) if before.waits_for(&reads, goal) => return Self { is_fresh: false, ..before },
            Some(mut before) => {
                let heard = std::mem::take(&mut before.heard);
                before.stop();
                heard
            }
            None => HashMap::new(),
        };
        let part = (shard.core, 0);
        let mut part = Self { core, reads, goal, part, is_fresh: true, running: None, heard };
        part.ask(shard, goal);
        part
    }

    fn waits_for(&self, reads: &[Read], goal: Goal) -> bool {
        let is_enough = |goal: Goal| (goal.bytes_min, goal.bytes_max);
        self.running.is_some() && self.reads == reads && is_enough(self.goal) == is_enough(goal)
    }

    /// Asks the core, once more if need be.
    pub(super) fn ask(&mut self, shard: &Rc<Shard>, goal: Goal) {
        let (part, reads) = ((shard.core, shard.reads.number()), self.reads.clone());
        (self.part, self.goal, self.is_fresh) = (part, goal, true);
        self.running = Some(shard.on(self.core, move |shard| shard.read_part(part, reads, goal)));
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        self.core != self.part.0
    }

    /// The core's answer, once.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<PartFound> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let answered = ready!(running.as_mut().poll(context));
        self.running = None;
        // This very core can be asked at any time.
        if self.is_elsewhere() {
            self.hear(&answered.found);
        }
        Poll::Ready(answered)
    }

    fn hear(&mut self, found: &[Found]) {
        for (read, found) in self.reads.iter().zip(found) {
            let Found { high_watermark, log_start_offset, .. } = *found;
            // Epochs that diverge are for that core to find.
            if found.error.is_err() || read.ask.last_fetched_epoch >= 0 {
                self.heard.remove(&read.id);
            } else {
                self.heard.insert(read.id, Heard { ask: read.ask, high_watermark, log_start_offset });
            }
        }
    }

    /// The answer to give while the core has none: nothing, where the client was told of all it had. A core that
    /// was asked just now may not have looked yet; once the fetch has waited, it has, or is so busy that the next
    /// fetch is told.
    pub(super) fn nothing_new(&self, has_waited: bool) -> Option<Vec<Found>> {
        if self.is_fresh && !has_waited {
            return None;
        }
        let nothing = |read: &Read| {
            let heard = self.heard.get(&read.id)?;
            let all = Ask { offset: heard.high_watermark, ..heard.ask };
            (read.ask == all).then(|| Found {
                high_watermark: heard.high_watermark,
                log_start_offset: heard.log_start_offset,
                lists_aborted: read.ask.committed,
                ..Found::refused(ErrorCode::NONE)
            })
        };
        self.reads.iter().map(nothing).collect()
    }

    /// Has the core answer now.
    pub(super) fn call_off(&self) {
        if self.running.is_some() {
            let part = self.part;
            host().send(self.core, Box::new(move || here().call_off(part)));
        }
    }

    pub(super) fn stop(self) {
        self.call_off();
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::Uuid;

    use super::*;

    fn read(index: i32, offset: i64) -> Read {
        let ask =
            Ask { offset, leader_epoch: 0, last_fetched_epoch: -1, as_follower: false, committed: true };
        Read { id: PartitionId { topic: Uuid([1; 16]), index }, ask, bytes_max: Some(1 << 20), seen: -1 }
    }

    fn part(reads: Vec<Read>) -> AskedPart {
        let goal = Goal { bytes_min: 1, bytes_max: 1 << 20, deadline_ns: 0 };
        AskedPart { core: 1, reads, goal, part: (0, 7), is_fresh: true, running: None, heard: HashMap::new() }
    }

    fn found(high_watermark: i64) -> Found {
        Found { high_watermark, log_start_offset: 3, ..Found::refused(ErrorCode::NONE) }
    }

    #[test]
    fn only_who_has_read_all_there_was_is_told_of_nothing_new() {
        let mut asked = part(vec![read(0, 10), read(1, 20)]);
        assert!(asked.nothing_new(true).is_none(), "nothing was heard");
        asked.hear(&[found(12), found(20)]);
        assert!(asked.nothing_new(true).is_none(), "0 has records");
        asked.reads = vec![read(1, 20), read(0, 12)];
        assert!(asked.nothing_new(false).is_none(), "it may not have looked yet");
        asked.is_fresh = false;
        assert!(asked.nothing_new(false).is_some(), "it waits since an earlier fetch");
        let nothing = asked.nothing_new(true).expect("both were read to the end");
        let told = nothing.iter().map(|found| (found.high_watermark, found.log_start_offset, found.bytes));
        assert_eq!(told.collect::<Vec<_>>(), [(20, 3, 0), (12, 3, 0)]);
        assert!(nothing.iter().all(|found| found.lists_aborted), "as the core itself says it");
        asked.reads[0].ask.leader_epoch = 1;
        assert!(asked.nothing_new(true).is_none(), "that is for the core to check");
        asked.reads = vec![read(2, 0)];
        assert!(asked.nothing_new(true).is_none(), "nobody asked for 2 before");
    }

    #[test]
    fn errors_and_epochs_to_compare_are_asked_for_again() {
        let mut asked = part(vec![read(0, 10), read(1, 20)]);
        asked.hear(&[found(10), found(20)]);
        assert!(asked.nothing_new(true).is_some());
        asked.hear(&[found(10), Found::refused(ErrorCode::OFFSET_OUT_OF_RANGE)]);
        assert!(asked.nothing_new(true).is_none());
        asked.reads[0].ask.last_fetched_epoch = 4;
        asked.reads.truncate(1);
        asked.hear(&[found(10)]);
        assert!(asked.nothing_new(true).is_none());
    }
}
