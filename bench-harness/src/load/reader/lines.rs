//! Fetches on the connections of a consumer, one to each broker: who reads what over which, what is asked for, what an answer
//! brings, and what happens when a log ends before or begins behind the place that was asked for.

use std::mem;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::fetch::FetchResponseView;
use protocol::primitives::Reader as WireReader;

use super::intake::{Intake, NOBODY_WAITED, Taken};
use super::{Consumer, Reader};
use crate::client::error::ClientError;
use crate::client::fetch::{self, Form, Session};
use crate::client::scout::{Call, Errand};
use crate::clock::{self, NS_PER_S};
use crate::load::contact::PAUSE_NS;
use crate::load::wire::{Wire, place, token};

const ANSWER_TIMEOUT_NS: i64 = 30 * NS_PER_S;
const FETCH_BYTES: i32 = 8 << 20;
const PARTITION_BYTES: i32 = 1 << 20;

pub(super) struct Line {
    node: i32,
    wire: Wire,
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
}

impl Reader {
    /// Goes on within the log, or asks again in a moment. What lay before or behind is gone, and the accounts will say so.
    pub(super) fn come_back(&mut self, ticket: u64, bounds: Option<(Vec<i64>, Vec<i64>)>) {
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
    pub(super) fn follow_leaders(&mut self) {
        (0..self.consumers.len()).for_each(|at| self.share_out(at));
    }

    /// Which connection of a consumer reads which slots.
    pub(super) fn share_out(&mut self, at: usize) {
        let Consumer { membership, lines, .. } = &mut self.consumers[at];
        for line in &mut *lines {
            line.slots.clear();
            line.changed.clear();
            line.strayed.clear();
            line.resumes_ns = self.now_ns;
            line.session = Session::NEW;
        }
        for (slot, leader) in self.contact.leaders.iter().enumerate() {
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
            if line.wire.is_down() {
                self.redials.push_front((self.now_ns, token(at, place)));
            }
        }
    }

    /// Opens a connection of a consumer that has something to read over it.
    pub(super) fn dial(&mut self, ticket: u64) {
        let (at, line) = place(ticket);
        let it = &mut self.consumers[at].lines[line];
        if !it.slots.is_empty() {
            self.contact.dial(&mut it.wire, ticket, it.node);
        }
    }

    pub(super) fn connect(&mut self, ticket: u64, call: Result<Call, ClientError>) {
        let (at, line) = place(ticket);
        let it = &mut self.consumers[at].lines[line];
        let fetch = (ApiKey::Fetch, fetch::VERSION_MAX);
        if self.contact.connect(&mut it.wire, call, fetch, &self.poller, ticket).is_err() {
            self.redials.push_back((self.now_ns + PAUSE_NS, ticket));
            return;
        }
        it.session = Session::NEW;
        it.asked = None;
        it.answered_ns = NOBODY_WAITED;
    }

    pub(super) fn fetch_all(&mut self) {
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
        if !it.wire.is_up() {
            return;
        }
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
            version: it.wire.version,
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
        let Some(link) = it.wire.link() else { return };
        let sent =
            fetch::send(link, &mut self.scratch, form, it.correlation_id, &self.plan.topics, slots, offsets);
        it.changed.clear();
        it.asked = Some((it.correlation_id, clock::now_ns()));
        if sent.and_then(|()| it.wire.watch_writes(&self.poller, token(at, line))).is_err() {
            self.lose(at, line);
        }
    }

    pub(super) fn flush(&mut self, at: usize, line: usize) {
        let wire = &mut self.consumers[at].lines[line].wire;
        if wire.flush(&self.poller, token(at, line)).is_err() {
            self.lose(at, line);
        }
    }

    pub(super) fn receive(&mut self, at: usize, line: usize) {
        let Some(link) = self.consumers[at].lines[line].wire.link() else { return };
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
        let version = it.wire.version;
        let Some(link) = it.wire.link() else { return Ok(false) };
        let Some(frame) = link.next_frame().map_err(|error| error.to_string())? else { return Ok(false) };
        // When it was there, not when it was unpacked.
        let now_ns = clock::now_ns();
        let mut r = WireReader::new(link.bytes(frame));
        let correlation_id = fetch::correlation(&mut r, version).map_err(|error| error.to_string())?;
        let Some((_, asked_ns)) = it.asked.take_if(|(asked, _)| *asked == correlation_id) else {
            return Err(format!("it answers request {correlation_id}, which was not asked"));
        };
        let taken = Taken { answered_ns: it.answered_ns, asked_ns, came_ns: self.came_ns, now_ns };
        it.answered_ns = self.came_ns;
        let answer = FetchResponseView::parse(r.rest(), version).map_err(|error| error.to_string())?;
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
            for partition in topic.partitions {
                let Some(slot) = self.plan.topics.slot(place, partition.index) else { continue };
                let slot = slot as u32;
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
            self.contact.doubt_leaders(self.now_ns);
        }
        if !it.strayed.is_empty() {
            it.resumes_ns = i64::MAX;
            self.contact.scout.ask(Errand::Bounds { ticket: token(at, line) });
        }
        Ok(true)
    }

    fn lose(&mut self, at: usize, line: usize) {
        let it = &mut self.consumers[at].lines[line];
        it.wire.hang_up();
        it.asked = None;
        self.redials.push_back((self.now_ns + PAUSE_NS, token(at, line)));
        self.contact.lost(self.now_ns);
    }
}

impl Line {
    fn new(node: i32) -> Self {
        Self {
            node,
            wire: Wire::default(),
            session: Session::NEW,
            slots: Vec::new(),
            changed: Vec::new(),
            asked: None,
            answered_ns: NOBODY_WAITED,
            resumes_ns: 0,
            strayed: Vec::new(),
            correlation_id: 0,
        }
    }

    /// Or it is not needed.
    pub(super) fn is_connected(&self) -> bool {
        self.wire.is_up() || self.slots.is_empty()
    }
}
