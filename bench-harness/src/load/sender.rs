//! A thread that sends: several producers on one loop that never waits for a broker.
//!
//! `flow` turns due records into batches, `lines` batches into requests and answers into acknowledgements.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;

use protocol::primitives::Writer;
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;

use self::producer::Producer;
use super::contact::Contact;
use super::plan::Plan;
use super::signals::Signals;
use super::source::Source;
use super::tally::{Counts, Measured, Side, Tally, Tick};
use super::wire::place;
use crate::accounts::{Numbers, Stream};
use crate::client::batch::{BatchPool, Identity};
use crate::client::poller::{Poller, Readiness};
use crate::clock::{self, NS_PER_MS, NS_PER_S};

mod flow;
mod lines;
pub(crate) mod producer;

/// Records due closer together than this are looked after together: waking for each would cost more than sending it.
const COALESCE_NS: i64 = 40_000;
/// However quiet it is, so often the thread looks up.
const LOOK_UP_NS: i64 = 100 * NS_PER_MS;
/// What all batches of a thread may take; then records that are due wait as instants only.
const BUFFER_BYTES_MAX: usize = 256 << 20;

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
    source: Source,
    producers: Vec<Producer>,
    /// Whose turn it is to be given a record.
    turn: usize,
    contact: Contact,
    poller: Poller,
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
    /// When to look for requests that nobody answers.
    look_for_silent_at_ns: i64,
    /// Records that were handed over and are not settled.
    outstanding: u64,
    refused: u64,
    /// Records that went out once more.
    retried: u64,
    tally: Tally,
    now_ns: i64,
    wall_ms: i64,
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
    /// Of this thread.
    pub(crate) nice: i32,
    /// Handed over, and nobody knows what became of them.
    pub(crate) unanswered: u64,
}

/// Who keeps a schedule goes before others on this thread's CPU, if the kernel lets it: a generator that waits for its
/// broker to leave the CPU is late, and measures that wait.
fn go_first() {
    let _ = setpriority_process(Some(gettid()), NICE_MIN);
}

fn nice() -> i32 {
    getpriority_process(Some(gettid())).unwrap_or(0)
}

const NICE_MIN: i32 = -20;

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
        let left = plan.backlog_of(index);
        let source = Source::new(&plan, index, producers.len());
        if source.schedule.is_some() {
            go_first();
        }
        Ok(Self {
            phase: Phase::Backlog { left },
            source,
            producers,
            turn: 0,
            contact: Contact::new(&plan, &signals),
            poller: if plan.spin { Poller::spinning()? } else { Poller::new()? },
            scratch: Writer::new(),
            pool: BatchPool::default(),
            lingering: VecDeque::new(),
            paused: VecDeque::new(),
            dirty: Vec::new(),
            redials: VecDeque::new(),
            look_for_silent_at_ns: 0,
            outstanding: 0,
            refused: 0,
            retried: 0,
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
            let (at, line) = place(readiness.token);
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
                self.source.begin(times.begin_ns);
                self.phase = Phase::Running;
                self.go_on();
            }
            Phase::Running => {
                self.admit();
                if self.now_ns >= self.signals.until_ns() {
                    self.source.give_up_schedule(self.signals.until_ns(), self.now_ns, &mut self.tally);
                    self.phase = Phase::Ending;
                    self.ready_everything();
                }
            }
            Phase::Ending => self.release_held(),
        }
    }

    fn is_over(&self) -> bool {
        if self.phase == Phase::Ending && self.outstanding == 0 && self.source.held.is_empty() {
            return true;
        }
        // Also while the start is still waited for: a run may be given up before it began.
        self.now_ns >= self.signals.deadline_ns()
    }

    fn next_wake_ns(&mut self) -> i64 {
        if !self.dirty.is_empty() {
            return self.now_ns;
        }
        let look_up_ns = (self.now_ns + LOOK_UP_NS).min(self.contact.next_look_ns(self.now_ns));
        let mut wake_ns = look_up_ns.min(self.tally.turns_at_ns());
        match (self.phase, &self.source.schedule) {
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
        self.contact.ask_if_due(self.now_ns);
        while let Some(tidings) = self.contact.tidings(self.now_ns) {
            self.hear(tidings);
        }
        if self.now_ns >= self.look_for_silent_at_ns {
            self.look_for_silent_at_ns = self.now_ns + NS_PER_S;
            self.look_for_silent();
            let is_connected = self.is_connected();
            self.contact.judge_patience(is_connected, self.now_ns);
        }
    }

    fn is_connected(&self) -> bool {
        let lines = || self.producers.iter().flat_map(|producer| &producer.lines);
        self.contact.knows_all_leaders()
            && self.producers.iter().all(|producer| !producer.lines.is_empty())
            && lines().all(|line| line.wire.is_up() || !line.is_needed)
    }

    fn report(mut self) -> SenderReport {
        self.tally.finish();
        let unanswered = self.outstanding + self.source.held.len() as u64;
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
            unsent: self.source.unsent,
            retried: self.retried,
            nice: nice(),
            unanswered,
        }
    }
}
