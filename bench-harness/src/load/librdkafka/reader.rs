//! A thread that reads with one of librdkafka's consumers, which is given all partitions.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::consumer_config;
use crate::accounts::{Delivery, Ledger};
use crate::clock::{self, NS_PER_MS};
use crate::load::plan::Plan;
use crate::load::reader::{Begin, ReaderReport};
use crate::load::signals::Signals;
use crate::load::tally::{Side, Tally, Tick};
use crate::payload::Stamp;

const LOOK_UP: Duration = Duration::from_millis(20);
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

pub(in crate::load) struct Reader {
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    begin: Begin,
    consumer: BaseConsumer,
    ledger: Ledger,
    offsets: Vec<i64>,
    tally: Tally,
}

impl Reader {
    pub(in crate::load) fn new(
        plan: Arc<Plan>,
        signals: Arc<Signals>,
        begin: Begin,
        thread: usize,
        ticks: mpsc::Sender<Tick>,
    ) -> std::io::Result<Self> {
        let consumer: BaseConsumer = consumer_config(&plan).create().map_err(std::io::Error::other)?;
        let slots = plan.topics.slots();
        Ok(Self {
            consumer,
            begin,
            ledger: Ledger::new(plan.run, slots),
            offsets: vec![0; slots as usize],
            tally: Tally::new(thread, Side::Reader, Arc::clone(&signals), Some(ticks)),
            plan,
            signals,
        })
    }

    pub(in crate::load) fn run(mut self) -> ReaderReport {
        if let Err(error) = self.consumer.fetch_metadata(Some(self.plan.topics.name(0)), METADATA_TIMEOUT) {
            self.signals.fail(|| error.to_string());
        }
        if self.begin == Begin::AtOnce {
            self.assign();
        }
        self.signals.report_ready();
        while !self.is_over() {
            self.tally.turn(clock::now_ns());
            if self.begin == Begin::WhenMeasuring
                && self.signals.times().is_some_and(|times| clock::now_ns() >= times.measure_ns)
            {
                self.begin = Begin::AtOnce;
                self.assign();
            }
            let left_ns =
                (self.tally.turns_at_ns() - clock::now_ns()).clamp(NS_PER_MS, LOOK_UP.as_nanos() as i64);
            self.take(Duration::from_nanos(left_ns as u64));
        }
        self.tally.finish();
        ReaderReport {
            is_complete: self.is_at_end(),
            ledgers: vec![(None, self.ledger)],
            totals: self.tally.totals,
            measured: self.tally.measured,
        }
    }

    fn assign(&self) {
        let mut all = TopicPartitionList::new();
        for slot in 0..self.plan.topics.slots() {
            let (topic, partition) = (self.plan.topics.name(slot), self.plan.topics.partition(slot));
            let added = all.add_partition_offset(topic, partition, Offset::Beginning);
            added.expect("a beginning is an offset that can be assigned");
        }
        if let Err(error) = self.consumer.assign(&all) {
            self.signals.fail(|| error.to_string());
        }
    }

    /// The next record, and all that are there already.
    fn take(&mut self, patience: Duration) {
        let mut next = self.consumer.poll(patience);
        while let Some(came) = next {
            let now_ns = clock::now_ns();
            self.tally.turn(now_ns);
            match came {
                Ok(message) => {
                    let place = self.plan.topics.names.iter().position(|name| name == message.topic());
                    let slot = place.and_then(|place| self.plan.topics.slot(place, message.partition()));
                    let Some(slot) = slot else { return };
                    self.offsets[slot] = message.offset() + 1;
                    let stamp = message.payload().and_then(Stamp::read);
                    let delivery = self.ledger.deliver(slot as u32, stamp.as_ref());
                    if let (Delivery::First, Some(stamp)) = (delivery, stamp) {
                        self.tally.delivered(stamp.intended_ns, now_ns, None);
                    }
                }
                Err(error) => self.signals.refuse(|| error.to_string()),
            }
            next = self.consumer.poll(Duration::ZERO);
        }
    }

    fn is_at_end(&self) -> bool {
        let ends = self.signals.ends().unwrap_or(&[i64::MAX]);
        self.offsets.iter().zip(ends).all(|(offset, end)| offset >= end)
    }

    fn is_over(&self) -> bool {
        self.signals.ends().is_some() && self.is_at_end() || clock::now_ns() >= self.signals.deadline_ns()
    }
}
