//! When a thread's records are due, and what they are made of; whatever client sends them.

use std::collections::VecDeque;

use protocol::records::compression::Codec;

use super::plan::Plan;
use super::tally::Tally;
use crate::keyspace::Keyspace;
use crate::payload::Bodies;
use crate::random::Random;
use crate::schedule::{Part, Schedule};

const STREAM_KEYS: u64 = 1 << 40;
const STREAM_BODIES: u64 = 2 << 40;

pub(super) struct Source {
    /// None: the broker sets the pace.
    pub(super) schedule: Option<Schedule>,
    pub(super) keys: Keyspace,
    pub(super) bodies: Bodies,
    /// Records that are due, for which there is no memory.
    pub(super) held: VecDeque<i64>,
    /// Due in time and never handed over.
    pub(super) unsent: u64,
}

impl Source {
    /// For a thread that has so many of the producers.
    pub(super) fn new(plan: &Plan, index: u32, producers: usize) -> Self {
        let workload = &plan.workload;
        let produce = &workload.produce;
        let share = producers as f64 / f64::from(produce.producers);
        let part = Part {
            rate: produce.rate.unwrap_or(0.0) * share,
            index: index.into(),
            parts: plan.sender_threads.into(),
        };
        let random = |stream: u64| Random::stream(workload.seed, stream + u64::from(index));
        let is_fresh = plan.codec != Codec::None;
        let randomness = workload.records.randomness;
        Self {
            schedule: Schedule::new(produce.arrivals, part, produce.burst, workload.seed),
            keys: Keyspace::new(&workload.records.keys, random(STREAM_KEYS)),
            bodies: Bodies::new(plan.value_bytes(), randomness, is_fresh, random(STREAM_BODIES)),
            held: VecDeque::new(),
            unsent: 0,
        }
    }

    pub(super) fn begin(&mut self, at_ns: i64) {
        if let Some(schedule) = &mut self.schedule {
            schedule.begin(at_ns);
        }
    }

    /// When the next record was due, if that is by now and before the end.
    #[inline]
    pub(super) fn take_due(&mut self, now_ns: i64, until_ns: i64) -> Option<i64> {
        let schedule = self.schedule.as_mut()?;
        let due_ns = schedule.next_ns();
        if due_ns > now_ns || due_ns >= until_ns {
            return None;
        }
        schedule.advance();
        Some(due_ns)
    }

    /// What was due in time and not handed over in time was not sent, and that is the thread's own fault.
    pub(super) fn give_up_schedule(&mut self, until_ns: i64, now_ns: i64, tally: &mut Tally) {
        while let Some(due_ns) = self.take_due(i64::MAX, until_ns) {
            tally.sent(due_ns, now_ns);
            self.unsent += 1;
        }
    }
}
