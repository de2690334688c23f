//! From batches to requests, and from answers to acknowledgements; what happens when a broker or a connection fails.

use std::mem;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::primitives::Reader;

use super::producer::{Line, Request};
use super::{Phase, Sender};
use crate::client::batch::Batch;
use crate::client::error::ClientError;
use crate::client::produce::{self, Form, Parcel};
use crate::client::scout::Call;
use crate::clock::NS_PER_S;
use crate::load::contact::{PAUSE_NS, Tidings};
use crate::load::wire::{place, token};

/// A request that was answered, and what was said about each of its parcels.
type Settled = (Request, Vec<Option<ErrorCode>>);

/// Of one request, its first batch aside.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const REQUEST_PARCELS_MAX: usize = 500;
const REQUEST_TIMEOUT_MS: i32 = 30_000;

impl Sender {
    /// Which of a producer's lines leads to a slot.
    pub(super) fn line_of(&self, at: usize, slot: u32) -> Option<usize> {
        self.producers[at].line_to(self.contact.leaders[slot as usize]?)
    }

    /// Enlists a queue that has something to send.
    pub(super) fn make_ready(&mut self, at: usize, slot: u32) {
        let Some(line) = self.line_of(at, slot) else { return };
        let now_ns = self.now_ns;
        let producer = &mut self.producers[at];
        let Some(queue) = &mut producer.queues[slot as usize] else { return };
        if !queue.is_ready && !queue.is_empty() && queue.resumes_ns <= now_ns {
            queue.is_ready = true;
            producer.lines[line].ready.push_back(slot);
        }
        self.make_dirty(at, line);
    }

    fn make_dirty(&mut self, at: usize, line: usize) {
        let line_state = &mut self.producers[at].lines[line];
        if !line_state.is_dirty && !line_state.ready.is_empty() {
            line_state.is_dirty = true;
            self.dirty.push((at as u32, line as u32));
        }
    }

    pub(super) fn send_dirty(&mut self) {
        let mut dirty = mem::take(&mut self.dirty);
        for (at, line) in dirty.drain(..) {
            let (at, line) = (at as usize, line as usize);
            self.producers[at].lines[line].is_dirty = false;
            self.send(at, line);
        }
        // Its memory is kept; what was found dirty meanwhile is not lost.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    /// Sends as many requests as a line takes.
    fn send(&mut self, at: usize, line: usize) {
        let in_flight = self.plan.workload.produce.in_flight as usize;
        let acks = self.plan.workload.produce.acks;
        while self.producers[at].lines[line].takes_more(in_flight) {
            let parcels = self.collect(at, line);
            if parcels.is_empty() {
                return;
            }
            let it = &mut self.producers[at].lines[line];
            it.correlation_id = it.correlation_id.wrapping_add(1);
            let form = Form { version: it.wire.version, acks, timeout_ms: REQUEST_TIMEOUT_MS };
            let correlation_id = it.correlation_id;
            let link = it.wire.link().expect("only a line that is up takes more");
            let sent =
                produce::send(link, &mut self.scratch, form, correlation_id, &self.plan.topics, &parcels);
            let request = Request { correlation_id, sent_ns: self.now_ns, parcels };
            let is_answered = acks != 0;
            if sent.is_err() || is_answered {
                it.waiting.push_back(request);
            } else {
                // Nobody will say more than that it left.
                request.parcels.into_iter().for_each(|parcel| self.acknowledge(at, parcel));
            }
            match sent {
                Ok(()) => self.watch_writes(at, line),
                Err(_) => return self.lose(at, line),
            }
        }
    }

    /// What goes into the next request: a batch of each queue that is ready, as far as there is room.
    fn collect(&mut self, at: usize, line: usize) -> Vec<Parcel> {
        let (now_ns, linger_ns, is_ending) = (self.now_ns, self.plan.linger_ns, self.phase == Phase::Ending);
        let producer = &mut self.producers[at];
        let ready = &mut producer.lines[line].ready;
        let mut parcels = Vec::with_capacity(ready.len().min(REQUEST_PARCELS_MAX));
        let mut bytes = 0;
        for _ in 0..ready.len().min(REQUEST_PARCELS_MAX) {
            let Some(slot) = ready.pop_front() else { break };
            let queue = producer.queues[slot as usize].as_mut().expect("what is ready was used");
            let is_due = |open: &mut Batch| is_ending || now_ns >= open.opened_ns + linger_ns;
            let paused = queue.resumes_ns > now_ns;
            let batch = if paused {
                None
            } else {
                queue.sealed.pop_front().or_else(|| {
                    let mut open = queue.open.take_if(is_due)?;
                    open.seal(self.plan.codec, queue.claim(producer.identity, open.count()));
                    Some(open)
                })
            };
            let Some(batch) = batch else {
                queue.is_ready = false;
                continue;
            };
            if !parcels.is_empty() && bytes + batch.wire().len() > REQUEST_BYTES_MAX {
                queue.sealed.push_front(batch);
                ready.push_front(slot);
                break;
            }
            bytes += batch.wire().len();
            parcels.push(Parcel { slot, batch });
            queue.is_ready = !queue.sealed.is_empty() || queue.open.as_mut().is_some_and(is_due);
            if queue.is_ready {
                ready.push_back(slot);
            }
        }
        parcels.sort_unstable_by_key(|parcel| parcel.slot);
        parcels
    }

    fn watch_writes(&mut self, at: usize, line: usize) {
        let wire = &mut self.producers[at].lines[line].wire;
        if wire.watch_writes(&self.poller, token(at, line)).is_err() {
            self.lose(at, line);
        }
    }

    pub(super) fn flush(&mut self, at: usize, line: usize) {
        let wire = &mut self.producers[at].lines[line].wire;
        match wire.flush(&self.poller, token(at, line)) {
            Ok(()) => self.make_dirty(at, line),
            Err(_) => self.lose(at, line),
        }
    }

    pub(super) fn receive(&mut self, at: usize, line: usize) {
        let Some(link) = self.producers[at].lines[line].wire.link() else { return };
        if link.fill().is_err() {
            return self.lose(at, line);
        }
        loop {
            match self.next_answer(at, line) {
                Ok(Some((request, verdicts))) => self.settle(at, request, &verdicts),
                Ok(None) => break,
                Err(why) => {
                    self.signals.refuse(|| format!("no proper answer to Produce: {why}"));
                    return self.lose(at, line);
                }
            }
        }
        self.make_dirty(at, line);
    }

    /// The request that was answered, and the answer for each of its parcels.
    fn next_answer(&mut self, at: usize, line: usize) -> Result<Option<Settled>, String> {
        let Line { wire, waiting, .. } = &mut self.producers[at].lines[line];
        let version = wire.version;
        let Some(link) = wire.link() else { return Ok(None) };
        let Some(frame) = link.next_frame().map_err(|error| error.to_string())? else { return Ok(None) };
        let mut r = Reader::new(link.bytes(frame));
        let correlation_id = produce::correlation(&mut r, version).map_err(|error| error.to_string())?;
        if waiting.front().is_none_or(|request| request.correlation_id != correlation_id) {
            return Err(format!("it answers request {correlation_id}, which is not the next"));
        }
        let parcels = &waiting.front().expect("looked at a moment ago").parcels;
        let mut verdicts = vec![None; parcels.len()];
        let mut next = 0;
        let topics = &self.plan.topics;
        produce::answers(&mut r, version, |answer| {
            let is_it = |parcel: &Parcel| {
                topics.partition(parcel.slot) == answer.partition
                    && topics.name(parcel.slot).as_bytes() == answer.topic
            };
            // Brokers answer in the order of the request, mostly.
            if !parcels.get(next).is_some_and(is_it) {
                next = parcels.iter().position(is_it).unwrap_or(next);
            }
            if parcels.get(next).is_some_and(is_it) {
                verdicts[next] = Some(answer.error);
                next += 1;
            }
        })
        .map_err(|error| error.to_string())?;
        let request = waiting.pop_front().expect("looked at a moment ago");
        Ok(Some((request, verdicts)))
    }

    fn settle(&mut self, at: usize, request: Request, verdicts: &[Option<ErrorCode>]) {
        for (parcel, verdict) in request.parcels.into_iter().zip(verdicts) {
            match verdict {
                Some(ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER) => self.acknowledge(at, parcel),
                Some(error) if self.may_retry(at, &parcel, *error) => self.retry(at, parcel, true),
                // It was not answered for: nobody knows.
                None => self.retry(at, parcel, true),
                Some(error) => self.refuse(at, parcel, *error),
            }
        }
    }

    fn may_retry(&self, at: usize, parcel: &Parcel, error: ErrorCode) -> bool {
        // Kafka: after a refused batch those behind it are out of order, until it was sent again.
        let is_behind_another = || {
            let queue = self.producers[at].queues[parcel.slot as usize].as_ref();
            let first = queue.and_then(|queue| queue.sealed.front());
            first.is_some_and(|first| first.first_sequence < parcel.batch.first_sequence)
        };
        error.is_retriable() || (error == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && is_behind_another())
    }

    fn acknowledge(&mut self, at: usize, parcel: Parcel) {
        let Parcel { slot, batch } = parcel;
        self.tally.acked(batch.intended_ns(), batch.payload_bytes, self.now_ns);
        let queue = self.producers[at].queue(slot);
        queue.acked.insert_range(batch.first_sequence, batch.end_sequence());
        self.dismiss(at, batch);
    }

    fn refuse(&mut self, at: usize, parcel: Parcel, error: ErrorCode) {
        let Parcel { slot, batch } = parcel;
        let (topic, partition) = (self.plan.topics.name(slot), self.plan.topics.partition(slot));
        self.signals.refuse(|| format!("{topic} [{partition}] refused records: {error}"));
        self.refused += batch.count() as u64;
        self.dismiss(at, batch);
        if self.plan.workload.produce.idempotent && !self.producers[at].is_broken {
            self.producers[at].is_broken = true;
            self.drop_all(at);
        }
    }

    /// All that a broken producer still has.
    fn drop_all(&mut self, at: usize) {
        for slot in 0..self.producers[at].queues.len() {
            let Some(queue) = &mut self.producers[at].queues[slot] else { continue };
            let batches: Vec<Batch> = queue.sealed.drain(..).chain(queue.open.take()).collect();
            for batch in batches {
                self.refused += batch.count() as u64;
                self.dismiss(at, batch);
            }
        }
    }

    /// A batch that is settled.
    fn dismiss(&mut self, at: usize, batch: Batch) {
        let bytes = batch.count() * self.plan.record_bytes();
        self.pool.used_bytes = self.pool.used_bytes.saturating_sub(bytes);
        self.outstanding -= batch.count() as u64;
        self.pool.give_back(batch);
        self.next_of_closed(at);
    }

    fn retry(&mut self, at: usize, parcel: Parcel, pauses: bool) {
        let Parcel { slot, batch } = parcel;
        if self.producers[at].is_broken {
            self.refused += batch.count() as u64;
            return self.dismiss(at, batch);
        }
        let resumes_ns = self.now_ns + PAUSE_NS;
        self.retried += batch.count() as u64;
        let queue = self.producers[at].queue(slot);
        queue.put_back(batch);
        if pauses {
            queue.resumes_ns = resumes_ns;
            self.paused.push_back((resumes_ns, at as u32, slot));
            self.contact.doubt_leaders(self.now_ns);
        }
    }

    /// A connection is gone, and with it all that was not answered.
    pub(super) fn lose(&mut self, at: usize, line: usize) {
        let it = &mut self.producers[at].lines[line];
        it.wire.hang_up();
        let slots = mem::take(&mut it.ready);
        let waiting = mem::take(&mut it.waiting);
        for slot in slots {
            self.producers[at].queue(slot).is_ready = false;
        }
        for parcel in waiting.into_iter().flat_map(|request| request.parcels) {
            self.retry(at, parcel, false);
        }
        self.redials.push_back((self.now_ns + PAUSE_NS, at as u32, line as u32));
        self.contact.lost(self.now_ns);
    }

    pub(super) fn dial(&mut self, at: usize, line: usize) {
        let it = &mut self.producers[at].lines[line];
        if it.is_needed {
            self.contact.dial(&mut it.wire, token(at, line), it.node);
        }
    }

    pub(super) fn hear(&mut self, tidings: Tidings) {
        match tidings {
            Tidings::Moved => self.follow_leaders(),
            Tidings::Dialed { ticket, call } => self.connect(ticket, call),
            // Only readers ask for them.
            Tidings::Bounds { .. } => {}
        }
    }

    /// Partitions have other leaders.
    fn follow_leaders(&mut self) {
        let mut nodes: Vec<i32> = self.contact.leaders.iter().copied().flatten().collect();
        nodes.sort_unstable();
        nodes.dedup();
        for at in 0..self.producers.len() {
            let producer = &mut self.producers[at];
            for (place, line) in producer.lines.iter_mut().enumerate() {
                line.ready.clear();
                let is_needed = nodes.binary_search(&line.node).is_ok();
                if is_needed && !line.is_needed && line.wire.is_down() {
                    self.redials.push_back((self.now_ns, at as u32, place as u32));
                }
                line.is_needed = is_needed;
            }
            for queue in producer.queues.iter_mut().flatten() {
                queue.is_ready = false;
            }
            for node in &nodes {
                if producer.line_to(*node).is_none() {
                    producer.lines.push(Line::new(*node));
                    let line = producer.lines.len() - 1;
                    self.redials.push_back((self.now_ns, at as u32, line as u32));
                }
            }
        }
        self.redials.make_contiguous().sort_unstable();
        self.ready_everything();
        self.wake_those_due();
    }

    fn connect(&mut self, ticket: u64, call: Result<Call, ClientError>) {
        let (at, line) = place(ticket);
        let it = &mut self.producers[at].lines[line];
        let produce = (ApiKey::Produce, produce::VERSION_MAX);
        if self.contact.connect(&mut it.wire, call, produce, &self.poller, ticket).is_err() {
            self.redials.push_back((self.now_ns + PAUSE_NS, at as u32, line as u32));
            return;
        }
        let node = it.node;
        for slot in 0..self.plan.topics.slots() {
            if self.contact.leaders[slot as usize] == Some(node) {
                self.make_ready(at, slot);
            }
        }
    }

    /// Hangs up where a request is not answered.
    pub(super) fn look_for_silent(&mut self) {
        let oldest_ns = self.now_ns - i64::from(REQUEST_TIMEOUT_MS) / 1_000 * NS_PER_S;
        for at in 0..self.producers.len() {
            for line in 0..self.producers[at].lines.len() {
                let first = self.producers[at].lines[line].waiting.front();
                if first.is_some_and(|request| request.sent_ns < oldest_ns) {
                    self.lose(at, line);
                }
            }
        }
    }
}
