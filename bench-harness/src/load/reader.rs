//! A thread that reads: several consumers on one loop. Each reads all partitions, with one fetch under way to each broker.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::fetch::FetchResponseView;
use protocol::primitives::{Reader as WireReader, Writer};
use protocol::records::batch::{BatchView, batches};
use protocol::records::compression::Decompressor;
use protocol::records::record::records;

use self::membership::Membership;
use super::group::Group;
use super::plan::Plan;
use super::signals::Signals;
use super::tally::{Counts, Measured, Side, Tally, Tick};
use crate::accounts::{Delivery, Ledger};
use crate::client::error::ClientError;
use crate::client::fetch::{self, Form, Session};
use crate::client::link::Link;
use crate::client::poller::{Poller, Readiness};
use crate::client::scout::{Call, Errand, News, Scout};
use crate::clock::{self, NS_PER_MS, NS_PER_S};
use crate::payload::Stamp;

mod membership;

/// In place of a line's number, for the connection to a group's coordinator.
const GROUP_LINE: usize = u32::MAX as usize;
const LOOK_UP_NS: i64 = 50 * NS_PER_MS;
const NEWS_NS: i64 = 2 * NS_PER_MS;
const PAUSE_NS: i64 = 100 * NS_PER_MS;
/// So long the kernel takes to wake a thread that had nothing to do.
const REST_NS_MIN: i64 = 20_000;
const NOBODY_WAITED: i64 = i64::MAX;
const ANSWER_TIMEOUT_NS: i64 = 30 * NS_PER_S;
const FETCH_BYTES: i32 = 8 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// What a batch may unpack to. Far more than this load packs.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

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
    /// By slot.
    leaders: Vec<Option<i32>>,
    poller: Poller,
    scout: Scout,
    is_asking_for_leaders: bool,
    ask_leaders_at_ns: i64,
    redials: VecDeque<(i64, u64)>,
    decompressor: Decompressor,
    scratch: Writer,
    tally: Tally,
    is_reported: bool,
    down_since_ns: Option<i64>,
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

struct Line {
    node: i32,
    state: State,
    version: i16,
    session: Session,
    /// All that its broker leads.
    slots: Vec<u32>,
    /// Read further since the broker was told.
    changed: Vec<u32>,
    /// The fetch that is under way, and since when.
    asked: Option<(i32, i64)>,
    /// When the answer before it came. [`NOBODY_WAITED`] where it was not the reader who took its time.
    answered_ns: i64,
    /// After an error it pauses until then.
    resumes_ns: i64,
    /// Read out of the log's range. Their bounds are asked for, and nothing is read meanwhile.
    strayed: Vec<u32>,
    correlation_id: i32,
    watches_writes: bool,
}

enum State {
    Down,
    Dialing,
    Up(Link),
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
            leaders: vec![None; slots as usize],
            poller: Poller::new()?,
            scout: Scout::send_out(&plan.bootstrap, plan.topics.clone()),
            is_asking_for_leaders: false,
            ask_leaders_at_ns: 0,
            redials: VecDeque::new(),
            decompressor: Decompressor::new(),
            scratch: Writer::new(),
            tally: Tally::new(thread, Side::Reader, Arc::clone(&signals), ticks),
            is_reported: false,
            down_since_ns: None,
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
        let look_up_ns = if self.scout.out > 0 { NEWS_NS } else { LOOK_UP_NS };
        let wake_ns = (self.now_ns + look_up_ns).min(self.tally.turns_at_ns());
        let redial_ns = self.redials.front().map_or(i64::MAX, |first| first.0);
        wake_ns.min(redial_ns).min(self.members_due_ns())
    }

    fn take_news(&mut self) {
        if self.now_ns >= self.ask_leaders_at_ns && !self.is_asking_for_leaders {
            self.ask_leaders_at_ns = i64::MAX;
            self.is_asking_for_leaders = true;
            self.scout.ask(Errand::Leaders);
        }
        while let Some(news) = self.scout.news() {
            self.hear(news);
        }
        while let Some((at_ns, ticket)) = self.redials.front().copied()
            && at_ns <= self.now_ns
        {
            self.redials.pop_front();
            let (at, line) = place(ticket);
            let it = &mut self.consumers[at].lines[line];
            if matches!(it.state, State::Down) && !it.slots.is_empty() {
                it.state = State::Dialing;
                self.scout.ask(Errand::Dial { ticket, node: it.node });
            }
        }
        if self.is_connected() {
            self.down_since_ns = None;
            if !self.is_reported && self.are_members_ready() {
                self.is_reported = true;
                self.signals.report_ready();
            }
        } else {
            let since_ns = *self.down_since_ns.get_or_insert(self.now_ns);
            let patience = self.plan.patience;
            if self.now_ns - since_ns > patience.as_nanos() as i64 {
                let bootstrap = &self.plan.bootstrap;
                self.signals.fail(|| format!("no answer from {bootstrap} for {} s", patience.as_secs()));
            }
        }
    }

    fn is_connected(&self) -> bool {
        let mut lines = self.consumers.iter().flat_map(|consumer| &consumer.lines);
        let mut members = self.consumers.iter().filter_map(|consumer| consumer.membership.as_ref());
        members.all(Membership::is_up)
            && self.leaders.iter().all(Option::is_some)
            && lines.all(|line| matches!(line.state, State::Up(_)) || line.slots.is_empty())
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Leaders(leaders) => {
                self.is_asking_for_leaders = false;
                if leaders.iter().any(Option::is_none) {
                    self.ask_leaders_at_ns = self.now_ns + PAUSE_NS;
                }
                if leaders != self.leaders {
                    self.follow(leaders);
                }
            }
            News::NoLeaders(error) => {
                self.is_asking_for_leaders = false;
                self.ask_leaders_at_ns = self.now_ns + PAUSE_NS;
                if !error.is_retriable() {
                    self.signals.fail(|| error.to_string());
                }
            }
            News::Dialed { ticket, call } => {
                let (at, line) = place(ticket);
                if line == GROUP_LINE {
                    self.connect_member(at, call);
                } else if self.connect(at, line, call).is_err() {
                    self.consumers[at].lines[line].state = State::Down;
                    self.redials.push_back((self.now_ns + PAUSE_NS, ticket));
                }
            }
            News::Bounds { ticket, bounds } => self.come_back(ticket, bounds.ok()),
        }
    }

    /// Goes on within the log, or asks again in a moment. What lay before or behind is gone, and the accounts will say so.
    fn come_back(&mut self, ticket: u64, bounds: Option<(Vec<i64>, Vec<i64>)>) {
        let (at, line) = place(ticket);
        let Consumer { ledger, offsets, lines, .. } = &mut self.consumers[at];
        let it = &mut lines[line];
        it.resumes_ns = if bounds.is_some() { self.now_ns } else { self.now_ns + PAUSE_NS };
        let strayed = mem::take(&mut it.strayed);
        let Some((earliest, latest)) = bounds else { return };
        for slot in strayed {
            let (offset, earliest) = (&mut offsets[slot as usize], earliest[slot as usize]);
            if *offset < earliest && self.plan.deletes() {
                ledger.excuse(slot);
            }
            *offset = (*offset).clamp(earliest, latest[slot as usize].max(earliest));
        }
    }

    /// Partitions have other leaders.
    fn follow(&mut self, leaders: Vec<Option<i32>>) {
        self.leaders = leaders;
        (0..self.consumers.len()).for_each(|at| self.share_out(at));
    }

    /// Which connection of a consumer reads which slots.
    fn share_out(&mut self, at: usize) {
        let Consumer { membership, lines, .. } = &mut self.consumers[at];
        for line in &mut *lines {
            line.slots.clear();
            line.changed.clear();
            line.strayed.clear();
            line.resumes_ns = self.now_ns;
            line.session = Session::NEW;
        }
        for (slot, leader) in self.leaders.iter().enumerate() {
            let Some(node) = *leader else { continue };
            if membership.as_ref().is_some_and(|it| !it.reads(slot as u32)) {
                continue;
            }
            let known = lines.iter().position(|line| line.node == node);
            let line = known.unwrap_or_else(|| {
                lines.push(Line::new(node));
                lines.len() - 1
            });
            lines[line].slots.push(slot as u32);
        }
        for (place, line) in lines.iter().enumerate() {
            if matches!(line.state, State::Down) {
                self.redials.push_front((self.now_ns, token(at, place)));
            }
        }
    }

    fn connect(&mut self, at: usize, line: usize, call: Result<Call, ClientError>) -> std::io::Result<()> {
        let call = call.map_err(|error| {
            if !error.is_retriable() {
                self.signals.fail(|| error.to_string());
            }
            std::io::Error::other(error.to_string())
        })?;
        let Some(version) = call.served.version(ApiKey::Fetch, fetch::VERSION_MAX) else {
            self.signals.fail(|| "the broker serves no version of Fetch that is known here".to_owned());
            return Err(std::io::ErrorKind::Unsupported.into());
        };
        let link = Link::new(call.stream)?;
        self.poller.add(&link, token(at, line))?;
        let it = &mut self.consumers[at].lines[line];
        it.state = State::Up(link);
        it.version = version;
        it.session = Session::NEW;
        it.asked = None;
        it.answered_ns = NOBODY_WAITED;
        it.watches_writes = false;
        // As long as connections are made, one after the other, the broker answers.
        self.down_since_ns = None;
        Ok(())
    }

    fn fetch_all(&mut self) {
        if !self.may_begin() {
            return;
        }
        for at in 0..self.consumers.len() {
            for line in 0..self.consumers[at].lines.len() {
                self.fetch(at, line);
            }
        }
    }

    /// Asks for more, unless that was done.
    fn fetch(&mut self, at: usize, line: usize) {
        let Consumer { offsets, lines, is_done, .. } = &mut self.consumers[at];
        let it = &mut lines[line];
        let State::Up(link) = &mut it.state else { return };
        if let Some((_, since_ns)) = it.asked {
            if self.now_ns - since_ns > ANSWER_TIMEOUT_NS {
                self.lose(at, line);
            }
            return;
        }
        if *is_done || it.slots.is_empty() || it.resumes_ns > self.now_ns {
            return;
        }
        let consume = &self.plan.workload.consume;
        let form = Form {
            version: it.version,
            session: it.session,
            max_wait_ms: consume.max_wait_ms,
            min_bytes: consume.min_bytes,
            max_bytes: FETCH_BYTES,
            partition_max_bytes: PARTITION_BYTES,
        };
        it.correlation_id = it.correlation_id.wrapping_add(1);
        it.changed.sort_unstable();
        it.changed.dedup();
        let slots = if it.session.is_full() { &it.slots } else { &it.changed };
        let sent =
            fetch::send(link, &mut self.scratch, form, it.correlation_id, &self.plan.topics, slots, offsets);
        it.changed.clear();
        it.asked = Some((it.correlation_id, clock::now_ns()));
        match sent {
            Ok(()) => self.watch_writes(at, line),
            Err(_) => self.lose(at, line),
        }
    }

    fn watch_writes(&mut self, at: usize, line: usize) {
        let it = &mut self.consumers[at].lines[line];
        let State::Up(link) = &it.state else { return };
        let watch = link.has_output();
        if watch != it.watches_writes {
            it.watches_writes = watch;
            if self.poller.watch_writes(link, token(at, line), watch).is_err() {
                self.lose(at, line);
            }
        }
    }

    fn flush(&mut self, at: usize, line: usize) {
        let State::Up(link) = &mut self.consumers[at].lines[line].state else { return };
        match link.flush() {
            Ok(()) => self.watch_writes(at, line),
            Err(_) => self.lose(at, line),
        }
    }

    fn receive(&mut self, at: usize, line: usize) {
        let State::Up(link) = &mut self.consumers[at].lines[line].state else { return };
        if link.fill().is_err() {
            return self.lose(at, line);
        }
        loop {
            match self.absorb_next(at, line) {
                Ok(false) => return,
                // The next question at once, before anything else is read.
                Ok(true) => self.fetch(at, line),
                Err(why) => {
                    self.signals.refuse(|| format!("no proper answer to Fetch: {why}"));
                    return self.lose(at, line);
                }
            }
        }
    }

    /// Takes in the next answer, if all of it is there.
    fn absorb_next(&mut self, at: usize, line: usize) -> Result<bool, String> {
        let Consumer { ledger, membership, offsets, behind, lines, .. } = &mut self.consumers[at];
        let it = &mut lines[line];
        let State::Up(link) = &mut it.state else { return Ok(false) };
        let Some(frame) = link.next_frame().map_err(|error| error.to_string())? else { return Ok(false) };
        // When it was there, not when it was unpacked.
        let now_ns = clock::now_ns();
        let mut r = WireReader::new(link.bytes(frame));
        let correlation_id = fetch::correlation(&mut r, it.version).map_err(|error| error.to_string())?;
        let Some((_, asked_ns)) = it.asked.take_if(|(asked, _)| *asked == correlation_id) else {
            return Err(format!("it answers request {correlation_id}, which was not asked"));
        };
        let taken = Taken { answered_ns: it.answered_ns, asked_ns, came_ns: self.came_ns, now_ns };
        it.answered_ns = self.came_ns;
        let answer = FetchResponseView::parse(r.rest(), it.version).map_err(|error| error.to_string())?;
        if answer.error_code.is_err() {
            // The session is gone, or the broker is not itself: from the beginning.
            it.session = Session::NEW;
            it.resumes_ns = self.now_ns + PAUSE_NS / 10;
            it.answered_ns = NOBODY_WAITED;
            return Ok(true);
        }
        it.session = it.session.after(answer.session_id);
        let mut is_led_elsewhere = false;
        for topic in answer.topics() {
            let name = topic.key.name().unwrap_or_default();
            let Some(place) = self.plan.topics.names.iter().position(|known| *known == name) else {
                continue;
            };
            let first = place as u32 * self.plan.topics.partitions;
            for partition in topic.partitions {
                if !(0..self.plan.topics.partitions as i32).contains(&partition.index) {
                    continue;
                }
                let slot = first + partition.index as u32;
                // It may be another's since it was asked for.
                if it.slots.binary_search(&slot).is_err() {
                    continue;
                }
                match partition.error_code {
                    ErrorCode::NONE => {}
                    ErrorCode::OFFSET_OUT_OF_RANGE => it.strayed.push(slot),
                    _ => is_led_elsewhere = true,
                }
                let offset = &mut offsets[slot as usize];
                let before = *offset;
                let mut intake = Intake { ledger, tally: &mut self.tally, slot, offset, taken };
                intake.take(partition.records.unwrap_or_default(), &mut self.decompressor);
                if *offset != before {
                    it.changed.push(slot);
                    if let Some(membership) = membership {
                        membership.group.has_read(slot, *offset);
                    }
                }
                let left = (partition.high_watermark - *offset).max(0);
                self.tally.left_behind += left - mem::replace(&mut behind[slot as usize], left);
            }
        }
        if is_led_elsewhere || !it.strayed.is_empty() {
            it.resumes_ns = self.now_ns + PAUSE_NS;
            it.answered_ns = NOBODY_WAITED;
            // What failed is asked for again only by name.
            it.session = Session::NEW;
        }
        if is_led_elsewhere {
            self.ask_leaders_at_ns = self.ask_leaders_at_ns.min(self.now_ns);
        }
        if !it.strayed.is_empty() {
            it.resumes_ns = i64::MAX;
            self.scout.ask(Errand::Bounds { ticket: token(at, line) });
        }
        Ok(true)
    }

    fn lose(&mut self, at: usize, line: usize) {
        let it = &mut self.consumers[at].lines[line];
        it.state = State::Down;
        it.asked = None;
        self.redials.push_back((self.now_ns + PAUSE_NS, token(at, line)));
        self.ask_leaders_at_ns = self.ask_leaders_at_ns.min(self.now_ns);
    }
}

/// When an answer was taken in, and what went before.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// The answer before it came; or [`NOBODY_WAITED`].
    answered_ns: i64,
    asked_ns: i64,
    /// At the earliest.
    came_ns: i64,
    now_ns: i64,
}

impl Taken {
    /// How long a record that was due then may have waited for its reader: at the broker, until it was asked for, and in the
    /// socket, until it was taken out.
    fn kept_ns(self, intended_ns: i64) -> i64 {
        let at_the_broker = self.asked_ns - self.answered_ns.max(intended_ns);
        let in_the_socket = self.now_ns - self.came_ns.max(intended_ns);
        at_the_broker.max(0) + in_the_socket.max(0)
    }
}

/// What a partition's records go through.
struct Intake<'a> {
    ledger: &'a mut Ledger,
    tally: &'a mut Tally,
    slot: u32,
    offset: &'a mut i64,
    taken: Taken,
}

impl Intake<'_> {
    fn take(&mut self, bytes: &[u8], decompressor: &mut Decompressor) {
        for batch in batches(bytes) {
            match batch {
                Ok(batch) if batch.next_offset() <= *self.offset => {}
                Ok(batch) => self.take_batch(&batch, decompressor),
                Err(_) => {
                    // Where the next one would begin is unknown: one offset on, and asked again.
                    self.ledger.corrupted(self.slot, 1);
                    *self.offset += 1;
                    return;
                }
            }
        }
    }

    fn take_batch(&mut self, batch: &BatchView<'_>, decompressor: &mut Decompressor) {
        let from = *self.offset;
        *self.offset = batch.next_offset();
        if batch.is_control() {
            return;
        }
        let plain = match (batch.verify_crc(), batch.codec()) {
            (Ok(()), Some(codec)) => {
                decompressor.decompress(codec, batch.records_bytes(), UNPACKED_BYTES_MAX).ok()
            }
            _ => None,
        };
        let Some(plain) = plain else {
            return self.ledger.corrupted(self.slot, batch.count().max(1) as u64);
        };
        let base = batch.base_offset();
        for record in records(plain, batch.count()) {
            match record {
                // Brokers give whole batches, also from before what was asked for.
                Ok(record) if base + i64::from(record.offset_delta) < from => {}
                Ok(record) => {
                    let stamp = record.value.and_then(Stamp::read);
                    let delivery = self.ledger.deliver(self.slot, stamp.as_ref());
                    if let (Delivery::First, Some(stamp)) = (delivery, stamp) {
                        let kept_ns = self.taken.kept_ns(stamp.intended_ns);
                        self.tally.delivered(stamp.intended_ns, self.taken.now_ns, Some(kept_ns));
                    }
                }
                Err(_) => self.ledger.corrupted(self.slot, 1),
            }
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

impl Line {
    fn new(node: i32) -> Self {
        Self {
            node,
            state: State::Down,
            version: 0,
            session: Session::NEW,
            slots: Vec::new(),
            changed: Vec::new(),
            asked: None,
            answered_ns: NOBODY_WAITED,
            resumes_ns: 0,
            strayed: Vec::new(),
            correlation_id: 0,
            watches_writes: false,
        }
    }
}

fn token(at: usize, line: usize) -> u64 {
    (at as u64) << 32 | line as u64
}

fn place(token: u64) -> (usize, usize) {
    ((token >> 32) as usize, token as u32 as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_waits_for_its_reader_until_it_is_asked_for_and_until_it_is_taken() {
        let taken = Taken { answered_ns: 100, asked_ns: 130, came_ns: 200, now_ns: 205 };
        for (intended_ns, kept_ns) in [(0, 35), (100, 35), (120, 15), (130, 5), (190, 5), (203, 2), (205, 0)]
        {
            assert_eq!(taken.kept_ns(intended_ns), kept_ns, "{intended_ns}");
        }
        let first = Taken { answered_ns: NOBODY_WAITED, ..taken };
        assert_eq!(first.kept_ns(0), 5);
    }
}
