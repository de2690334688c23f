//! A thread that sends: several producers on one loop that never waits for a broker.
//!
//! `flow` turns due records into batches, `lines` batches into requests and answers into acknowledgements.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;

use protocol::primitives::Writer;
use protocol::records::compression::Codec;

use self::producer::Producer;
use super::plan::Plan;
use super::signals::Signals;
use super::tally::{Counts, Measured, Side, Tally, Tick};
use crate::accounts::{Numbers, Stream};
use crate::client::batch::{BatchPool, Identity};
use crate::client::poller::{Poller, Readiness};
use crate::client::scout::{Errand, Scout};
use crate::clock::{self, NS_PER_MS, NS_PER_S};
use crate::keyspace::Keyspace;
use crate::payload::Bodies;
use crate::random::Random;
use crate::schedule::{Part, Schedule};

mod flow;
mod lines;
pub(crate) mod producer;

/// Records due closer together than this are looked after together: waking for each would cost more than sending it.
const COALESCE_NS: i64 = 40_000;
/// However quiet it is, so often the thread looks up.
const LOOK_UP_NS: i64 = 100 * NS_PER_MS;
/// With a scout out there may be news at any time.
const NEWS_NS: i64 = 2 * NS_PER_MS;
/// What all batches of a thread may take; then records that are due wait as instants only.
const BUFFER_BYTES_MAX: usize = 256 << 20;
const STREAM_KEYS: u64 = 1 << 40;
const STREAM_BODIES: u64 = 2 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connects, then writes so many records as fast as they are taken.
    Backlog {
        left: u64,
    },
    /// All is set, and the start is waited for.
    Ready,
    Running,
    /// Nothing more is due; what was handed over is seen through.
    Ending,
}

pub(crate) struct Sender {
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    phase: Phase,
    schedule: Option<Schedule>,
    producers: Vec<Producer>,
    /// Whose turn it is to be given a record.
    turn: usize,
    keys: Keyspace,
    bodies: Bodies,
    /// By slot.
    leaders: Vec<Option<i32>>,
    poller: Poller,
    scout: Scout,
    is_asking_for_leaders: bool,
    scratch: Writer,
    pool: BatchPool,
    /// Open batches and when they may wait no longer: producer and slot.
    lingering: VecDeque<(i64, u32, u32)>,
    /// Queues that were refused and when they go on.
    paused: VecDeque<(i64, u32, u32)>,
    /// Lines to look at: producer and line.
    dirty: Vec<(u32, u32)>,
    /// Lines to open, and when.
    redials: VecDeque<(i64, u32, u32)>,
    /// When to ask for leaders again.
    ask_leaders_at_ns: i64,
    /// When to look for requests that nobody answers.
    look_for_silent_at_ns: i64,
    /// Records that are due, for which there is no memory.
    held: VecDeque<i64>,
    /// Records that were handed over and are not settled.
    outstanding: u64,
    refused: u64,
    /// Due in time and never handed over.
    unsent: u64,
    /// Records that went out once more.
    retried: u64,
    /// Since when not every line is up.
    down_since_ns: Option<i64>,
    tally: Tally,
    now_ns: i64,
    wall_ms: i64,
}

/// When a thread's records are due, and what they are made of; whatever client sends them.
pub(crate) struct Source {
    pub(crate) schedule: Option<Schedule>,
    pub(crate) keys: Keyspace,
    pub(crate) bodies: Bodies,
}

impl Source {
    /// For a thread that has so many of the producers.
    pub(crate) fn new(plan: &Plan, index: u32, producers: usize) -> Self {
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
        }
    }
}

/// What a thread has to say in the end.
#[derive(Debug)]
pub(crate) struct SenderReport {
    pub(crate) acknowledged: Vec<(Stream, Numbers)>,
    pub(crate) totals: Counts,
    pub(crate) measured: Measured,
    /// For good.
    pub(crate) refused: u64,
    /// Due, and not handed over in time: the generator's own fault.
    pub(crate) unsent: u64,
    pub(crate) retried: u64,
    /// Handed over, and nobody knows what became of them.
    pub(crate) unanswered: u64,
}

impl Sender {
    pub(crate) fn new(
        plan: Arc<Plan>,
        signals: Arc<Signals>,
        index: u32,
        ticks: mpsc::Sender<Tick>,
    ) -> std::io::Result<Self> {
        let slots = plan.topics.slots();
        let identity = |id: u32| plan.identities.get(id as usize).copied().unwrap_or(Identity::NONE);
        let producers: Vec<Producer> = (0..plan.workload.produce.producers)
            .filter(|id| id % plan.sender_threads == index)
            .map(|id| Producer::new(id, identity(id), slots))
            .collect();
        let source = Source::new(&plan, index, producers.len());
        let left = plan.backlog_of(index);
        Ok(Self {
            phase: Phase::Backlog { left },
            schedule: source.schedule,
            producers,
            turn: 0,
            keys: source.keys,
            bodies: source.bodies,
            leaders: vec![None; slots as usize],
            poller: if plan.spin { Poller::spinning()? } else { Poller::new()? },
            scout: Scout::send_out(&plan.bootstrap, plan.topics.clone()),
            is_asking_for_leaders: false,
            scratch: Writer::new(),
            pool: BatchPool::default(),
            lingering: VecDeque::new(),
            paused: VecDeque::new(),
            dirty: Vec::new(),
            redials: VecDeque::new(),
            ask_leaders_at_ns: 0,
            look_for_silent_at_ns: 0,
            held: VecDeque::new(),
            outstanding: 0,
            refused: 0,
            unsent: 0,
            retried: 0,
            down_since_ns: None,
            tally: Tally::new(index as usize, Side::Sender, Arc::clone(&signals), Some(ticks)),
            now_ns: clock::now_ns(),
            wall_ms: clock::wall_ms(),
            plan,
            signals,
        })
    }

    pub(crate) fn run(mut self) -> SenderReport {
        let mut ready = Vec::new();
        while !self.is_over() {
            self.tell_time();
            self.take_news();
            self.wake_those_due();
            self.go_on();
            self.send_dirty();
            let until_ns = self.next_wake_ns();
            if let Err(error) = self.poller.wait(until_ns, &mut ready) {
                self.signals.fail(|| format!("the generator cannot wait for its sockets: {error}"));
                break;
            }
            self.tell_time();
            self.attend(&ready);
        }
        self.report()
    }

    fn tell_time(&mut self) {
        self.now_ns = clock::now_ns();
        self.tally.turn(self.now_ns);
    }

    fn attend(&mut self, ready: &[Readiness]) {
        for readiness in ready {
            let (at, line) = ((readiness.token >> 32) as usize, readiness.token as u32 as usize);
            if readiness.can_write {
                self.flush(at, line);
            }
            if readiness.can_read {
                self.receive(at, line);
            }
        }
    }

    /// Does what the phase is about, and goes on to the next when it is done.
    fn go_on(&mut self) {
        match self.phase {
            Phase::Backlog { left } => {
                self.wall_ms = clock::wall_ms();
                let left = left - self.fill(left);
                self.phase = Phase::Backlog { left };
                if left == 0 && self.outstanding == 0 && self.is_connected() {
                    self.signals.report_ready();
                    self.phase = Phase::Ready;
                }
            }
            Phase::Ready => {
                let Some(times) = self.signals.times() else { return };
                if let Some(schedule) = &mut self.schedule {
                    schedule.begin(times.begin_ns);
                }
                self.phase = Phase::Running;
                self.go_on();
            }
            Phase::Running => {
                self.admit();
                if self.now_ns >= self.signals.until_ns() {
                    self.give_up_schedule();
                    self.phase = Phase::Ending;
                    self.ready_everything();
                }
            }
            Phase::Ending => self.release_held(),
        }
    }

    fn is_over(&self) -> bool {
        if self.phase == Phase::Ending && self.outstanding == 0 && self.held.is_empty() {
            return true;
        }
        // Also while the start is still waited for: a run may be given up before it began.
        self.now_ns >= self.signals.deadline_ns()
    }

    fn next_wake_ns(&mut self) -> i64 {
        if !self.dirty.is_empty() {
            return self.now_ns;
        }
        let mut wake_ns = (self.now_ns + LOOK_UP_NS).min(self.tally.turns_at_ns());
        if self.scout.out > 0 {
            wake_ns = wake_ns.min(self.now_ns + NEWS_NS);
        }
        match (self.phase, &self.schedule) {
            (Phase::Ready, _) => wake_ns = wake_ns.min(self.now_ns + NS_PER_MS),
            (Phase::Running, Some(schedule)) => {
                if schedule.next_ns() <= self.now_ns {
                    return self.now_ns;
                }
                let due_ns = schedule.next_ns().max(self.now_ns + COALESCE_NS);
                wake_ns = wake_ns.min(due_ns).min(self.signals.until_ns());
            }
            (Phase::Running, None) => {
                let begin_ns = self.signals.times().map_or(i64::MAX, |times| times.begin_ns);
                let begin_ns = if begin_ns > self.now_ns { begin_ns } else { i64::MAX };
                wake_ns = wake_ns.min(self.signals.until_ns()).min(begin_ns);
            }
            _ => {}
        }
        let queues = [&self.lingering, &self.paused, &self.redials];
        let firsts = queues.into_iter().filter_map(|queue| queue.front()).map(|first| first.0);
        firsts.fold(wake_ns, i64::min)
    }

    fn take_news(&mut self) {
        if self.now_ns >= self.ask_leaders_at_ns {
            self.ask_leaders_at_ns = i64::MAX;
            if !self.is_asking_for_leaders {
                self.is_asking_for_leaders = true;
                self.scout.ask(Errand::Leaders);
            }
        }
        while let Some(news) = self.scout.news() {
            self.hear(news);
        }
        if self.now_ns >= self.look_for_silent_at_ns {
            self.look_for_silent_at_ns = self.now_ns + NS_PER_S;
            self.look_for_silent();
            self.judge_patience();
        }
    }

    fn judge_patience(&mut self) {
        if self.is_connected() {
            self.down_since_ns = None;
            return;
        }
        let since_ns = *self.down_since_ns.get_or_insert(self.now_ns);
        let patience = self.plan.patience;
        if self.now_ns - since_ns > patience.as_nanos() as i64 {
            let bootstrap = &self.plan.bootstrap;
            self.signals.fail(|| format!("no answer from {bootstrap} for {} s", patience.as_secs()));
        }
    }

    fn is_connected(&self) -> bool {
        let lines = || self.producers.iter().flat_map(|producer| &producer.lines);
        self.leaders.iter().all(Option::is_some)
            && self.producers.iter().all(|producer| !producer.lines.is_empty())
            && lines().all(|line| line.is_up() || !line.is_needed)
    }

    fn report(mut self) -> SenderReport {
        self.tally.finish();
        let unanswered = self.outstanding + self.held.len() as u64;
        let mut acknowledged = Vec::new();
        for producer in self.producers {
            for (slot, queue) in producer.queues.into_iter().enumerate() {
                if let Some(queue) = queue.filter(|queue| !queue.acked.is_empty()) {
                    let stream = Stream { slot: slot as u32, producer: producer.id };
                    acknowledged.push((stream, queue.acked));
                }
            }
        }
        SenderReport {
            acknowledged,
            totals: self.tally.totals,
            measured: self.tally.measured,
            refused: self.refused,
            unsent: self.unsent,
            retried: self.retried,
            unanswered,
        }
    }
}
