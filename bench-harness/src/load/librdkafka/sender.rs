//! A thread that hands records to librdkafka's producers.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, channel};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use super::producer_config;
use crate::accounts::{Numbers, Stream};
use crate::client::batch::Identity;
use crate::clock::{self, NS_PER_MS};
use crate::keyspace::KEY_BYTES;
use crate::load::plan::Plan;
use crate::load::sender::SenderReport;
use crate::load::sender::producer::Producer;
use crate::load::signals::Signals;
use crate::load::source::Source;
use crate::load::tally::{Side, Tally, Tick};
use crate::payload::Stamp;
use crate::schedule::Schedule;
use crate::workload::Arrivals;

/// However quiet it is, so often the thread looks up.
const LOOK_UP_NS: i64 = NS_PER_MS;
/// Waiting for less costs more than looking again.
const SPIN_NS: i64 = 30_000;
/// Of a load without a schedule: so many records under way keep librdkafka busy.
const UNDER_WAY_MAX: u64 = 100_000;
const UNDER_WAY_BYTES_MAX: usize = 256 << 20;

pub(in crate::load) struct Sender {
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    source: Source,
    hands: Vec<Hand>,
    turn: usize,
    value: Vec<u8>,
    settled: Receiver<Settled>,
    outstanding: u64,
    refused: u64,
    tally: Tally,
    now_ns: i64,
}

/// One producer.
struct Hand {
    /// Chooses partitions as our own client does.
    picker: Producer,
    producer: ThreadedProducer<Courier>,
    /// By slot.
    next_sequences: Vec<u64>,
    acked: Vec<Numbers>,
    under_way: u64,
}

/// A record on its way.
struct Parcel {
    slot: u32,
    sequence: u64,
    intended_ns: i64,
}

/// What became of one.
struct Settled {
    hand: usize,
    parcel: Parcel,
    at_ns: i64,
    error: Option<KafkaError>,
}

/// Called on librdkafka's thread.
struct Courier {
    hand: usize,
    out: mpsc::Sender<Settled>,
}

impl ClientContext for Courier {}

impl ProducerContext for Courier {
    type DeliveryOpaque = Box<Parcel>;

    fn delivery(&self, result: &DeliveryResult<'_>, parcel: Box<Parcel>) {
        let error = result.as_ref().err().map(|(error, _)| error.clone());
        let settled = Settled { hand: self.hand, parcel: *parcel, at_ns: clock::now_ns(), error };
        // The other end is gone only when the run is.
        let _ = self.out.send(settled);
    }
}

impl Sender {
    pub(in crate::load) fn new(
        plan: Arc<Plan>,
        signals: Arc<Signals>,
        index: u32,
        ticks: mpsc::Sender<Tick>,
    ) -> std::io::Result<Self> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let (out, settled) = channel();
        let config = producer_config(&plan);
        let slots = plan.topics.slots();
        let ids = (0..plan.workload.produce.producers).filter(|id| id % plan.sender_threads == index);
        let hands = ids.enumerate().map(|(hand, id)| {
            let courier = Courier { hand, out: out.clone() };
            let producer = ThreadedProducer::from_config_and_context(&config, courier);
            Ok(Hand {
                picker: Producer::new(id, Identity::NONE, slots),
                producer: producer.map_err(std::io::Error::other)?,
                next_sequences: vec![0; slots as usize],
                acked: vec![Numbers::default(); slots as usize],
                under_way: 0,
            })
        });
        let hands: Vec<Hand> = hands.collect::<std::io::Result<_>>()?;
        Ok(Self {
            source: Source::new(&plan, index, hands.len()),
            hands,
            turn: 0,
            value: Vec::new(),
            settled,
            outstanding: 0,
            refused: 0,
            tally: Tally::new(index as usize, Side::Sender, Arc::clone(&signals), Some(ticks)),
            now_ns: clock::now_ns(),
            plan,
            signals,
        })
    }

    pub(in crate::load) fn run(mut self, backlog: u64) -> SenderReport {
        self.write_backlog(backlog);
        self.signals.report_ready();
        while !self.is_over() && self.signals.times().is_none() {
            self.rest(LOOK_UP_NS);
        }
        if let Some(times) = self.signals.times() {
            self.source.begin(times.begin_ns);
            while !self.is_over() && clock::now_ns() < times.begin_ns {
                self.rest(LOOK_UP_NS);
            }
            while !self.is_over() && self.now_ns < self.signals.until_ns() {
                self.admit();
                self.rest(self.next_due_ns() - clock::now_ns());
            }
            self.source.give_up_schedule(self.signals.until_ns(), self.now_ns, &mut self.tally);
        }
        while self.outstanding + self.source.held.len() as u64 > 0 && !self.is_over() {
            self.release_held();
            self.rest(LOOK_UP_NS);
        }
        self.report()
    }

    fn write_backlog(&mut self, mut left: u64) {
        while (left > 0 || self.outstanding > 0) && !self.is_over() {
            while left > 0 && self.has_room() {
                self.hand_over_to_next(self.now_ns);
                left -= 1;
            }
            self.rest(LOOK_UP_NS);
        }
    }

    fn is_over(&self) -> bool {
        self.now_ns >= self.signals.deadline_ns()
    }

    fn has_room(&self) -> bool {
        self.outstanding < UNDER_WAY_MAX
            && self.outstanding as usize * self.plan.record_bytes() < UNDER_WAY_BYTES_MAX
    }

    fn next_due_ns(&self) -> i64 {
        let due_ns = self.source.schedule.as_ref().map_or(i64::MAX, Schedule::next_ns);
        due_ns.min(self.signals.until_ns())
    }

    /// Waits for so long, unless something is settled before.
    fn rest(&mut self, ns: i64) {
        let mut settled = self.settled.try_recv().ok();
        if settled.is_none() && ns > SPIN_NS {
            let wait = Duration::from_nanos(ns.min(LOOK_UP_NS) as u64);
            settled = self.settled.recv_timeout(wait).ok();
        }
        self.now_ns = clock::now_ns();
        self.tally.turn(self.now_ns);
        while let Some(it) = settled {
            self.settle(&it);
            settled = self.settled.try_recv().ok();
        }
    }

    fn admit(&mut self) {
        match self.plan.workload.produce.arrivals {
            Arrivals::Fixed | Arrivals::Poisson => self.admit_due(),
            Arrivals::Max => {
                while self.has_room() && clock::now_ns() - self.now_ns < NS_PER_MS {
                    self.tally.sent(self.now_ns, self.now_ns);
                    self.hand_over_to_next(self.now_ns);
                }
            }
            Arrivals::Closed => {
                for at in 0..self.hands.len() {
                    if self.hands[at].under_way == 0 {
                        let now_ns = clock::now_ns();
                        self.tally.sent(now_ns, now_ns);
                        self.hand_over(at, now_ns);
                    }
                }
            }
        }
    }

    fn admit_due(&mut self) {
        self.release_held();
        let until_ns = self.signals.until_ns();
        loop {
            let now_ns = clock::now_ns();
            // Whatever is due, what was settled has to be counted.
            if now_ns - self.now_ns > NS_PER_MS {
                return;
            }
            let Some(due_ns) = self.source.take_due(now_ns, until_ns) else { return };
            self.tally.sent(due_ns, now_ns);
            if self.source.held.is_empty() && self.has_memory() {
                self.hand_over_to_next(due_ns);
            } else {
                self.source.held.push_back(due_ns);
            }
        }
    }

    fn has_memory(&self) -> bool {
        (self.outstanding as usize) * self.plan.record_bytes() < UNDER_WAY_BYTES_MAX
    }

    fn release_held(&mut self) {
        while self.has_memory()
            && let Some(due_ns) = self.source.held.pop_front()
        {
            self.hand_over_to_next(due_ns);
        }
    }

    fn hand_over_to_next(&mut self, intended_ns: i64) {
        let at = self.turn;
        self.turn = if at + 1 < self.hands.len() { at + 1 } else { 0 };
        self.hand_over(at, intended_ns);
    }

    fn hand_over(&mut self, at: usize, intended_ns: i64) {
        let key: Option<[u8; KEY_BYTES]> = self.source.keys.next();
        let hand = &mut self.hands[at];
        let slot = hand.picker.pick(&self.plan.topics, key.as_ref());
        let sequence = hand.next_sequences[slot as usize];
        let stamp = Stamp { run: self.plan.run, producer: hand.picker.id, slot, sequence, intended_ns };
        let body = self.source.bodies.next();
        self.value.clear();
        self.value.extend_from_slice(&stamp.head(body));
        self.value.extend_from_slice(body.bytes);
        let parcel = Box::new(Parcel { slot, sequence, intended_ns });
        let mut record: BaseRecord<'_, [u8], [u8], Box<Parcel>> =
            BaseRecord::with_opaque_to(self.plan.topics.name(slot), parcel)
                .partition(self.plan.topics.partition(slot))
                .payload(&self.value);
        if let Some(key) = &key {
            record = record.key(key);
        }
        match hand.producer.send(record) {
            Ok(()) => {
                hand.next_sequences[slot as usize] += 1;
                hand.under_way += 1;
                self.outstanding += 1;
            }
            Err((error, _)) => {
                self.signals.refuse(|| error.to_string());
                self.refused += 1;
            }
        }
    }

    fn settle(&mut self, settled: &Settled) {
        let Settled { hand, parcel, at_ns, error } = settled;
        let hand = &mut self.hands[*hand];
        hand.under_way -= 1;
        self.outstanding -= 1;
        match error {
            None => {
                hand.acked[parcel.slot as usize].insert(parcel.sequence);
                self.tally.acked(&[parcel.intended_ns], self.plan.record_bytes() as u64, *at_ns);
            }
            Some(error) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut) {
                    let (bootstrap, limit) = (&self.plan.bootstrap, self.plan.patience.as_secs());
                    self.signals.fail(|| format!("no answer from {bootstrap} for {limit} s"));
                }
                self.signals.refuse(|| error.to_string());
                self.refused += 1;
            }
        }
    }

    fn report(mut self) -> SenderReport {
        self.tally.finish();
        let unanswered = self.outstanding + self.source.held.len() as u64;
        let of_hand = |hand: Hand| {
            let producer = hand.picker.id;
            let acked = hand.acked.into_iter().enumerate().filter(|(_, numbers)| !numbers.is_empty());
            acked.map(move |(slot, numbers)| (Stream { slot: slot as u32, producer }, numbers))
        };
        SenderReport {
            acknowledged: self.hands.into_iter().flat_map(of_hand).collect(),
            totals: self.tally.totals,
            measured: self.tally.measured,
            refused: self.refused,
            unsent: self.source.unsent,
            // It sends again without a word.
            retried: 0,
            nice: 0,
            unanswered,
        }
    }
}
