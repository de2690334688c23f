//! The clock that members are timed by. It stands still while the log does.
//!
//! An answer goes out when all is durable that it rests on. While the disk takes its time, members that were heard of get
//! no answer, and those who wait for one to go on (for a place in the group, for an assignment) cannot be heard of; once
//! they could, their sessions would be over. So the time of a stall is no time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use cluster::groups::Uptime;

/// So long an answer may wait for the disk before time stands still. Sessions last seconds, flushes milliseconds.
const STALL_MS: i64 = 1_000;
/// Answers that begin to wait this soon after another are counted as one.
const TOGETHER_MS: i64 = 100;

#[derive(Debug, Default)]
pub(super) struct MemberClock {
    /// Oldest first.
    waits: RefCell<VecDeque<Wait>>,
    next: Cell<u64>,
    stood_still_ms: Cell<i64>,
    counted_until_ms: Cell<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    number: u64,
    answers: usize,
    end_offset: i64,
    since_ms: i64,
}

impl MemberClock {
    /// An answer waits until the log is durable up to there. Whoever gives it looks at the clock and then says so, and
    /// says so too if it is not to be given any more.
    pub(super) fn begin_wait(&self, end_offset: i64, now_ms: i64) -> u64 {
        let mut waits = self.waits.borrow_mut();
        if let Some(last) = waits.back_mut().filter(|last| now_ms - last.since_ms < TOGETHER_MS) {
            last.end_offset = last.end_offset.max(end_offset);
            last.answers += 1;
            return last.number;
        }
        let number = self.next.get();
        self.next.set(number + 1);
        waits.push_back(Wait { number, answers: 1, end_offset, since_ms: now_ms });
        number
    }

    pub(super) fn end_wait(&self, number: u64) {
        let mut waits = self.waits.borrow_mut();
        let Some(at) = waits.iter().position(|wait| wait.number == number) else { return };
        waits[at].answers -= 1;
        if waits[at].answers == 0 {
            waits.remove(at);
        }
    }

    /// `now_ms` ascends.
    pub(super) fn at(&self, now_ms: i64, durable_offset: i64) -> Uptime {
        let mut waits = self.waits.borrow_mut();
        if let Some(oldest) = waits.front() {
            let stalls_since_ms = self.counted_until_ms.get().max(oldest.since_ms + STALL_MS);
            if stalls_since_ms < now_ms {
                self.stood_still_ms.set(self.stood_still_ms.get() + now_ms - stalls_since_ms);
                self.counted_until_ms.set(now_ms);
            }
        }
        while waits.front().is_some_and(|oldest| oldest.end_offset <= durable_offset) {
            waits.pop_front();
        }
        Uptime(now_ms - self.stood_still_ms.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_while_the_log_keeps_up() {
        let clock = MemberClock::default();
        for now_ms in 0..5_000 {
            clock.begin_wait(now_ms + 1, now_ms);
            // Durable half a second later.
            assert_eq!(clock.at(now_ms, now_ms - 500), Uptime(now_ms));
        }
        assert_eq!(clock.at(60_000, 5_000), Uptime(5_000 + STALL_MS - 500 - TOGETHER_MS));
        assert_eq!(clock.at(70_000, 5_000), Uptime(15_400));
    }

    #[test]
    fn the_time_of_a_stall_is_no_time() {
        let clock = MemberClock::default();
        clock.begin_wait(10, 100);
        clock.begin_wait(11, 2_000);
        // Whether it is looked at meanwhile makes no difference.
        assert_eq!(clock.at(900, 9), Uptime(900));
        assert_eq!(clock.at(4_000, 9), Uptime(1_100));
        assert_eq!(clock.at(13_100, 11), Uptime(1_100));
        assert_eq!(clock.at(20_100, 11), Uptime(8_100));
    }

    #[test]
    fn of_two_who_wait_the_younger_stalls_later() {
        let clock = MemberClock::default();
        clock.begin_wait(10, 0);
        clock.begin_wait(11, 3_000);
        assert_eq!(clock.at(3_500, 10), Uptime(1_000));
        assert_eq!(clock.at(3_900, 10), Uptime(1_400));
        assert_eq!(clock.at(6_000, 11), Uptime(1_500));
        assert_eq!(clock.at(9_000, 11), Uptime(4_500));
    }

    #[test]
    fn an_answer_that_is_not_to_be_given_any_more_stops_no_clock() {
        let clock = MemberClock::default();
        let (one, same) = (clock.begin_wait(10, 0), clock.begin_wait(11, 50));
        let other = clock.begin_wait(12, 700);
        clock.end_wait(one);
        clock.end_wait(same);
        assert_eq!(clock.at(1_600, 0), Uptime(1_600));
        assert_eq!(clock.at(2_000, 0), Uptime(1_700));
        clock.end_wait(other);
        assert_eq!(clock.at(9_000, 0), Uptime(8_700));
    }
}
