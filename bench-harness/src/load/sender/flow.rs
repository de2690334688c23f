//! From instants to batches: which records are due, who sends them, and when a batch is to go.

use std::collections::VecDeque;

use super::Sender;
use super::producer::Queue;
use crate::clock;
use crate::payload::Stamp;
use crate::workload::Arrivals;

/// The clock is read once for so many records that are handed over.
const RECORDS_A_LOOK: u32 = 8;
/// Of records that are larger, fewer.
const BYTES_A_LOOK: usize = 16 << 10;
/// With keys a request holds a little for each of many partitions; so much of it together is enough.
const KEYED_BATCHES: usize = 4;

impl Sender {
    /// Hands over what is due.
    pub(super) fn admit(&mut self) {
        self.wall_ms = clock::wall_ms();
        match self.plan.workload.produce.arrivals {
            Arrivals::Fixed | Arrivals::Poisson => self.admit_due(),
            Arrivals::Closed => self.admit_closed(),
            Arrivals::Max => {
                if self.is_sending_time() {
                    self.fill(u64::MAX);
                }
            }
        }
    }

    fn is_sending_time(&self) -> bool {
        let begun = self.signals.times().is_some_and(|times| self.now_ns >= times.begin_ns);
        begun && self.now_ns < self.signals.until_ns()
    }

    fn admit_due(&mut self) {
        self.release_held();
        let until_ns = self.signals.until_ns();
        let per_look = (BYTES_A_LOOK / self.plan.record_bytes()).clamp(1, RECORDS_A_LOOK as usize);
        let mut now_ns = self.now_ns;
        let mut left = per_look;
        loop {
            let Some(due_ns) = self.source.take_due(now_ns, until_ns) else { return };
            self.tally.sent(due_ns, now_ns);
            if self.source.held.is_empty() && self.has_memory() {
                self.hand_over_to_next(due_ns);
            } else {
                self.source.held.push_back(due_ns);
            }
            left -= 1;
            if left == 0 {
                left = per_look;
                now_ns = clock::now_ns();
                // Whatever is due, what is sent must go out and what comes in be read.
                if now_ns - self.now_ns > super::NS_PER_MS {
                    return;
                }
            }
        }
    }

    fn has_memory(&self) -> bool {
        self.pool.used_bytes < super::BUFFER_BYTES_MAX
    }

    pub(super) fn release_held(&mut self) {
        while self.has_memory()
            && let Some(due_ns) = self.source.held.pop_front()
        {
            self.hand_over_to_next(due_ns);
        }
    }

    fn hand_over_to_next(&mut self, intended_ns: i64) {
        let at = self.turn;
        self.turn = if at + 1 < self.producers.len() { at + 1 } else { 0 };
        self.hand_over(at, intended_ns);
    }

    /// One record of each producer that has none under way.
    fn admit_closed(&mut self) {
        if !self.is_sending_time() || self.outstanding == self.producers.len() as u64 {
            return;
        }
        for at in 0..self.producers.len() {
            let idle = |queue: &Option<Box<Queue>>| queue.as_ref().is_none_or(|queue| queue.is_empty());
            let producer = &self.producers[at];
            let lines_idle = producer.lines.iter().all(|line| line.waiting.is_empty());
            if lines_idle && !producer.is_broken && producer.queues.iter().all(idle) {
                self.next_of_closed(at);
            }
        }
    }

    /// The record before it was settled.
    pub(super) fn next_of_closed(&mut self, at: usize) {
        if self.plan.workload.produce.arrivals == Arrivals::Closed
            && self.phase == super::Phase::Running
            && self.is_sending_time()
        {
            self.tally.sent(self.now_ns, self.now_ns);
            self.hand_over(at, self.now_ns);
        }
    }

    pub(super) fn hand_over(&mut self, at: usize, intended_ns: i64) {
        let key = self.source.keys.next();
        let slot = self.producers[at].pick(&self.plan.topics, key.as_ref());
        self.put(at, slot, key.as_ref().map(|key| &key[..]), intended_ns);
    }

    /// Adds a record to what a producer has for a slot.
    fn put(&mut self, at: usize, slot: u32, key: Option<&[u8]>, intended_ns: i64) {
        let producer = &mut self.producers[at];
        if producer.is_broken {
            self.refused += 1;
            return;
        }
        let (id, identity) = (producer.id, producer.identity);
        let queue = producer.queue(slot);
        let record_bytes = self.plan.record_bytes();
        let batch_bytes = self.plan.batch_bytes();
        let mut filled = false;
        if let Some(mut full) = queue.open.take_if(|open| !open.has_room(record_bytes, batch_bytes)) {
            full.seal(self.plan.codec, queue.claim(identity, full.count()));
            queue.sealed.push_back(full);
            filled = true;
        }
        let is_new = queue.open.is_none();
        let (sequence, now_ns, wall_ms) = (queue.next_sequence, self.now_ns, self.wall_ms);
        let open = queue.open.get_or_insert_with(|| self.pool.open(sequence, now_ns, wall_ms));
        let stamp = Stamp { run: self.plan.run, producer: id, slot, sequence, intended_ns };
        open.push(&stamp, key, self.source.bodies.next(), self.wall_ms);
        queue.next_sequence += 1;
        self.outstanding += 1;
        self.pool.used_bytes += record_bytes;
        let lingers = self.plan.linger_ns > 0;
        if is_new && lingers {
            self.lingering.push_back((self.now_ns + self.plan.linger_ns, at as u32, slot));
        }
        if filled || (is_new && !lingers) {
            self.make_ready(at, slot);
        }
    }

    /// As much as all producers can get rid of now, `quota` at most. Returns how many records that was.
    pub(super) fn fill(&mut self, quota: u64) -> u64 {
        let mut left = quota;
        for at in 0..self.producers.len() {
            // A batch for each place that is free on the producer's lines.
            let tries = self.plan.topics.slots().min(64) * self.plan.workload.produce.in_flight.min(64);
            for _ in 0..tries {
                if left == 0 || !self.has_memory() || !self.has_free_line(at) {
                    break;
                }
                left -= if self.plan.workload.records.keys == crate::workload::Keys::None {
                    self.fill_one(at, left)
                } else {
                    self.fill_keyed(at, left)
                };
                self.send_dirty();
            }
        }
        quota - left
    }

    fn has_free_line(&self, at: usize) -> bool {
        let in_flight = self.plan.workload.produce.in_flight as usize;
        let producer = &self.producers[at];
        !producer.is_broken
            && self.contact.knows_all_leaders()
            && producer.lines.iter().any(|line| line.takes_more(in_flight))
    }

    /// One batch for one partition, then it is another's turn: full batches, however many partitions there are.
    fn fill_one(&mut self, at: usize, quota: u64) -> u64 {
        let slot = self.producers[at].turn;
        self.producers[at].advance(&self.plan.topics);
        let in_flight = self.plan.workload.produce.in_flight as usize;
        let line = self.line_of(at, slot);
        if !line.is_some_and(|line| self.producers[at].lines[line].takes_more(in_flight)) {
            return 0;
        }
        let (record_bytes, batch_bytes) = (self.plan.record_bytes(), self.plan.batch_bytes());
        let mut count = 0;
        while count < quota {
            let open = self.producers[at].queue(slot).open.as_ref();
            if open.is_some_and(|open| !open.has_room(record_bytes, batch_bytes)) {
                break;
            }
            self.tally.sent(self.now_ns, self.now_ns);
            self.put(at, slot, None, self.now_ns);
            count += 1;
        }
        self.seal_open(at, slot);
        count
    }

    fn fill_keyed(&mut self, at: usize, quota: u64) -> u64 {
        let batch_records = (self.plan.batch_bytes() / self.plan.record_bytes()).max(1);
        let slots = self.plan.topics.slots() as usize;
        let count = ((batch_records * slots.min(KEYED_BATCHES)) as u64).min(quota);
        for _ in 0..count {
            self.tally.sent(self.now_ns, self.now_ns);
            self.hand_over(at, self.now_ns);
        }
        for slot in 0..slots as u32 {
            self.seal_open(at, slot);
        }
        count
    }

    /// Closes what there is, however little.
    fn seal_open(&mut self, at: usize, slot: u32) {
        let producer = &mut self.producers[at];
        let identity = producer.identity;
        let Some(queue) = &mut producer.queues[slot as usize] else { return };
        if let Some(mut open) = queue.open.take() {
            open.seal(self.plan.codec, queue.claim(identity, open.count()));
            queue.sealed.push_back(open);
            self.make_ready(at, slot);
        }
    }

    /// Wakes batches that lingered long enough, queues that paused and lines to be opened.
    pub(super) fn wake_those_due(&mut self) {
        let now_ns = self.now_ns;
        while let Some((at, slot)) = take_due(&mut self.lingering, now_ns) {
            self.make_ready(at, slot);
        }
        while let Some((at, slot)) = take_due(&mut self.paused, now_ns) {
            self.make_ready(at, slot);
        }
        while let Some((at, line)) = take_due(&mut self.redials, now_ns) {
            self.dial(at, line as usize);
        }
    }

    pub(super) fn ready_everything(&mut self) {
        for at in 0..self.producers.len() {
            for slot in 0..self.plan.topics.slots() {
                self.make_ready(at, slot);
            }
        }
    }
}

fn take_due(queue: &mut VecDeque<(i64, u32, u32)>, now_ns: i64) -> Option<(usize, u32)> {
    let (at_ns, at, which) = *queue.front()?;
    if at_ns > now_ns {
        return None;
    }
    queue.pop_front();
    Some((at as usize, which))
}
