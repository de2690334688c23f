//! A thread that reads: several consumers on one loop. Each reads all partitions, with one fetch under way to each broker.
//!
//! `lines` asks for records and hears what came, `intake` looks at every one of them, `membership` is a consumer's place in a group.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;

use protocol::primitives::Writer;
use protocol::records::compression::Decompressor;

use self::lines::Line;
use self::membership::Membership;
use super::contact::{Contact, Tidings};
use super::group::Group;
use super::plan::Plan;
use super::signals::Signals;
use super::tally::{Counts, Measured, Side, Tally, Tick};
use super::wire::place;
use crate::accounts::Ledger;
use crate::client::poller::{Poller, Readiness};
use crate::clock::{self, NS_PER_MS};

mod intake;
mod lines;
mod membership;

/// In place of a line's number, for the connection to a group's coordinator.
const GROUP_LINE: usize = u32::MAX as usize;
const LOOK_UP_NS: i64 = 50 * NS_PER_MS;
/// So long the kernel takes to wake a thread that had nothing to do.
const REST_NS_MIN: i64 = 20_000;

/// When the first fetch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    AtOnce,
    /// Consumers of what is there already: their reading is what is measured.
    WhenMeasuring,
}

pub(crate) struct Reader {
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    begin: Begin,
    consumers: Vec<Consumer>,
    contact: Contact,
    poller: Poller,
    redials: VecDeque<(i64, u64)>,
    decompressor: Decompressor,
    scratch: Writer,
    tally: Tally,
    is_reported: bool,
    since_ns: i64,
    /// What is ready now came no earlier.
    came_ns: i64,
    now_ns: i64,
}

struct Consumer {
    ledger: Ledger,
    /// None: it reads everything.
    membership: Option<Membership>,
    /// Where each slot is read next.
    offsets: Vec<i64>,
    /// How many records of each slot the broker had left when it last answered.
    behind: Vec<i64>,
    lines: Vec<Line>,
    is_done: bool,
}

#[derive(Debug)]
pub(crate) struct ReaderReport {
    /// With the number of the group, for one of many in a group.
    pub(crate) ledgers: Vec<(Option<usize>, Ledger)>,
    pub(crate) totals: Counts,
    pub(crate) measured: Measured,
    /// All was read up to the ends.
    pub(crate) is_complete: bool,
}

impl Reader {
    /// `thread` is counted over senders and readers; without `ticks` nothing is timed.
    pub(crate) fn new(
        plan: Arc<Plan>,
        signals: Arc<Signals>,
        consumers: Vec<Option<Arc<Group>>>,
        begin: Begin,
        thread: usize,
        ticks: Option<mpsc::Sender<Tick>>,
    ) -> std::io::Result<Self> {
        let slots = plan.topics.slots();
        let now_ns = clock::now_ns();
        let consumer = |group: Option<Arc<Group>>| Consumer {
            ledger: Ledger::new(plan.run, slots),
            membership: group.map(|group| Membership::new(group, now_ns)),
            offsets: vec![0; slots as usize],
            behind: vec![0; slots as usize],
            lines: Vec::new(),
            is_done: false,
        };
        Ok(Self {
            consumers: consumers.into_iter().map(consumer).collect(),
            begin,
            contact: Contact::new(&plan, &signals),
            poller: Poller::new()?,
            redials: VecDeque::new(),
            decompressor: Decompressor::new(),
            scratch: Writer::new(),
            tally: Tally::new(thread, Side::Reader, Arc::clone(&signals), ticks),
            is_reported: false,
            since_ns: now_ns,
            came_ns: now_ns,
            now_ns,
            plan,
            signals,
        })
    }

    pub(crate) fn run(mut self) -> ReaderReport {
        let mut ready: Vec<Readiness> = Vec::new();
        while !self.is_over() {
            self.tell_time();
            self.take_news();
            self.look_after_members();
            self.fetch_all();
            if let Err(error) = self.rest(&mut ready) {
                self.signals.fail(|| format!("the generator cannot wait for its sockets: {error}"));
                break;
            }
            for readiness in &ready {
                let (at, line) = place(readiness.token);
                if line == GROUP_LINE {
                    self.hear_coordinator(at);
                    continue;
                }
                if readiness.can_write {
                    self.flush(at, line);
                }
                if readiness.can_read {
                    self.receive(at, line);
                }
            }
        }
        self.leave_groups();
        self.tally.finish();
        ReaderReport {
            is_complete: self.consumers.iter().all(|consumer| consumer.is_done),
            ledgers: self.consumers.into_iter().map(Consumer::into_ledger).collect(),
            totals: self.tally.totals,
            measured: self.tally.measured,
        }
    }

    /// Waits until there is something to do, and learns since when there may have been.
    fn rest(&mut self, ready: &mut Vec<Readiness>) -> std::io::Result<()> {
        let (looked_ns, from_ns) = (self.now_ns, clock::now_ns());
        self.poller.wait(self.next_wake_ns(), ready)?;
        self.tell_time();
        let rested_ns = self.now_ns - from_ns;
        let has_rested = rested_ns >= REST_NS_MIN;
        self.came_ns = if has_rested { self.now_ns } else { looked_ns };
        if has_rested {
            self.tally.rested(rested_ns);
        }
        Ok(())
    }

    fn tell_time(&mut self) {
        self.now_ns = clock::now_ns();
        self.tally.turn(self.now_ns);
    }

    fn is_over(&mut self) -> bool {
        if let Some(ends) = self.signals.ends() {
            for consumer in self.consumers.iter_mut().filter(|consumer| !consumer.is_done) {
                consumer.is_done = consumer.has_read_up_to(ends);
            }
            if self.consumers.iter().all(|consumer| consumer.is_done) {
                return true;
            }
        }
        self.now_ns >= self.signals.deadline_ns()
    }

    fn may_begin(&self) -> bool {
        match self.begin {
            Begin::AtOnce => true,
            Begin::WhenMeasuring => self.signals.times().is_some_and(|times| self.now_ns >= times.measure_ns),
        }
    }

    fn next_wake_ns(&self) -> i64 {
        let look_up_ns = (self.now_ns + LOOK_UP_NS).min(self.contact.next_look_ns(self.now_ns));
        let redial_ns = self.redials.front().map_or(i64::MAX, |first| first.0);
        look_up_ns.min(self.tally.turns_at_ns()).min(redial_ns).min(self.members_due_ns())
    }

    fn take_news(&mut self) {
        self.contact.ask_if_due(self.now_ns);
        while let Some(tidings) = self.contact.tidings(self.now_ns) {
            self.hear(tidings);
        }
        while let Some((at_ns, ticket)) = self.redials.front().copied()
            && at_ns <= self.now_ns
        {
            self.redials.pop_front();
            self.dial(ticket);
        }
        let is_connected = self.is_connected();
        self.contact.judge_patience(is_connected, self.now_ns);
        if is_connected && !self.is_reported && self.are_members_ready() {
            self.is_reported = true;
            self.signals.report_ready();
        }
    }

    fn is_connected(&self) -> bool {
        let mut lines = self.consumers.iter().flat_map(|consumer| &consumer.lines);
        let mut members = self.consumers.iter().filter_map(|consumer| consumer.membership.as_ref());
        members.all(Membership::is_up) && self.contact.knows_all_leaders() && lines.all(Line::is_connected)
    }

    fn hear(&mut self, tidings: Tidings) {
        match tidings {
            Tidings::Moved => self.follow_leaders(),
            Tidings::Dialed { ticket, call } => match place(ticket) {
                (at, GROUP_LINE) => self.connect_member(at, call),
                _ => self.connect(ticket, call),
            },
            Tidings::Bounds { ticket, bounds } => self.come_back(ticket, bounds),
        }
    }
}

impl Consumer {
    /// Whoever of the group did it.
    fn has_read_up_to(&self, ends: &[i64]) -> bool {
        match &self.membership {
            Some(membership) => membership.group.has_read_up_to(ends),
            None => self.offsets.iter().zip(ends).all(|(offset, end)| offset >= end),
        }
    }

    fn into_ledger(self) -> (Option<usize>, Ledger) {
        (self.membership.map(|membership| membership.group.number), self.ledger)
    }
}
