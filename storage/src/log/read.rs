//! Read: whole batches, from memory without a copy where they are still there, else from disk.

use std::rc::Rc;

use bytes::Bytes;
use protocol::records::batch::BatchView;

use super::{Log, State};
use crate::Error;
use crate::cache::Chunk;
use crate::disk::{Class, File, LocalFuture};
use crate::facts::Facts;
use crate::format::{Damage, SegmentFile};
use crate::segment::reader::{Step, Walk};

/// Batches as they lie in the log, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    pub parts: Vec<Bytes>,
    /// Of all parts.
    pub bytes: usize,
    /// Of the first batch, which may begin before the offset asked for. That offset, if there is no batch.
    pub first_offset: i64,
    /// One past the last batch.
    pub next_offset: i64,
}

/// An answer, or the way to it.
pub enum ReadOutcome {
    Now(Result<Slices, Error>),
    Later(LocalFuture<'static, Result<Slices, Error>>),
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Ask {
    from: i64,
    bytes_max: usize,
    /// No batch that reaches it.
    before: i64,
    at_least_one: bool,
}

impl Log {
    /// Batches from the one that holds `from` on, as many as fit into `bytes_max`, all below `before` and all
    /// durable. With `at_least_one` the first comes whole, however large. May stop early, but not before it
    /// found something, if there is something.
    pub fn read(
        self: &Rc<Self>,
        from: i64,
        bytes_max: usize,
        before: i64,
        at_least_one: bool,
    ) -> ReadOutcome {
        let (start, end, before) = {
            let state = self.state.borrow();
            (state.start_offset, state.end_offset, before.min(state.durable_offset))
        };
        if from < start || from > end {
            return ReadOutcome::Now(Err(Error::OutOfRange { offset: from, start, end }));
        }
        let ask = Ask { from, bytes_max, before, at_least_one };
        let mut slices = Slices { first_offset: from, next_offset: from, ..Slices::default() };
        if from >= before || (bytes_max == 0 && !at_least_one) {
            return ReadOutcome::Now(Ok(slices));
        }
        if let Some(chunk) = self.in_memory(from) {
            self.gather(chunk, &ask, &mut slices);
            return ReadOutcome::Now(Ok(slices));
        }
        if let Some(chunk) = self.windows.find_any(from) {
            self.gather_window(chunk, &ask, &mut slices);
            return ReadOutcome::Now(Ok(slices));
        }
        let log = Rc::clone(self);
        ReadOutcome::Later(Box::pin(async move { log.steadily(async || log.read_disk(ask).await).await }))
    }

    /// As [`Self::gather`], for one who reads old records: he will go on where he ends.
    fn gather_window(&self, chunk: Chunk, ask: &Ask, slices: &mut Slices) {
        let next = chunk.next_offset;
        self.ahead.reached(ask.from);
        self.gather(chunk, ask, slices);
        self.expect_reader_at(next, window_bytes(ask.bytes_max));
    }

    /// Takes what is asked for from a chunk that holds `ask.from`, and from those that follow it in memory.
    fn gather(&self, chunk: Chunk, ask: &Ask, slices: &mut Slices) {
        let mut chunk = chunk;
        loop {
            let is_complete = take(&chunk, self.hint(&chunk, slices.next_offset), ask, slices);
            if !is_complete || slices.next_offset >= ask.before {
                return;
            }
            match self.in_memory(slices.next_offset) {
                Some(next) => chunk = next,
                None => return,
            }
        }
    }

    /// A batch border in the chunk, not beyond the batch that holds `offset`.
    fn hint(&self, chunk: &Chunk, offset: i64) -> u32 {
        let state = self.state.borrow();
        let open = state.segment(chunk.segment).and_then(|segment| segment.open.as_ref());
        let indexed = open.map_or(0, |open| open.indexes.offsets.lookup(offset));
        if indexed < chunk.end() { indexed.max(chunk.first_position) } else { chunk.first_position }
    }

    async fn read_disk(&self, ask: Ask) -> Result<Slices, Error> {
        let mut slices = Slices { first_offset: ask.from, next_offset: ask.from, ..Slices::default() };
        self.ahead.wait(ask.from).await;
        if let Some(chunk) = self.windows.find_any(ask.from) {
            self.gather_window(chunk, &ask, &mut slices);
            return Ok(slices);
        }
        self.ahead.reached(ask.from);
        let reads_in_order = self.windows.find_any(ask.from - 1).is_some();
        let mut from = ask.from;
        let swaps = self.state.borrow().swaps;
        while from < ask.before {
            if let Some(chunk) = self.in_memory(from) {
                self.gather(chunk, &Ask { from, ..ask }, &mut slices);
                break;
            }
            let Some(place) = self.place_of(from)? else { break };
            match self.read_segment(place, from, ask.bytes_max).await {
                Ok(Some(chunk)) => {
                    let next = chunk.next_offset;
                    self.keep_window(chunk.clone(), swaps);
                    self.gather(chunk, &Ask { from, ..ask }, &mut slices);
                    if reads_in_order {
                        self.expect_reader_at(next, window_bytes(ask.bytes_max));
                    }
                    break;
                }
                // Compaction took what was left of the segment.
                Ok(None) => match place.next {
                    Some(next) => from = next,
                    None => break,
                },
                Err(error) => return Err(self.blame(error, from)),
            }
        }
        Ok(slices)
    }

    /// Unless compaction has put others in the place of what it was read from.
    pub(super) fn keep_window(&self, chunk: Chunk, swaps: u64) {
        if self.state.borrow().swaps == swaps {
            self.cache.keep_window(&self.windows, chunk);
        }
    }

    /// A window of the segment from the batch that holds `from`, or the next one, on.
    pub(super) async fn read_segment(
        &self,
        place: SegmentPlace,
        from: i64,
        bytes: usize,
    ) -> Result<Option<Chunk>, Error> {
        let path = self.path(place.base_offset, SegmentFile::Log);
        let mut walk = self.walk_to(place, from, window_bytes(bytes)).await?;
        let mut checked = Checked { path: &path, expected: place.base_offset, next: place.next };
        loop {
            let step = walk.next().await.map_err(|error| Error::io(&path, error))?;
            let Some((position, batch)) = checked.batch(step)? else { return Ok(None) };
            if batch.last_offset < from {
                continue;
            }
            let (start, data) = walk.window();
            let mut end = position + batch.bytes;
            let mut next_offset = batch.last_offset + 1;
            while let Some(step) = walk.next_at_hand() {
                // What is good comes first; who goes on from there meets the damage.
                let Ok(Some((position, batch))) = checked.batch(step) else { break };
                end = position + batch.bytes;
                next_offset = batch.last_offset + 1;
            }
            return Ok(Some(Chunk {
                segment: place.base_offset,
                start,
                first_position: position,
                first_offset: batch.base_offset,
                next_offset,
                memory_bytes: data.len(),
                data: data.slice(..(end - start) as usize),
            }));
        }
    }

    /// A walk through a segment that does not begin beyond the batch that holds `offset`. An index that leads
    /// anywhere else is made anew.
    pub(super) async fn walk_to(
        &self,
        place: SegmentPlace,
        offset: i64,
        read_bytes: usize,
    ) -> Result<Walk, Error> {
        let base_offset = place.base_offset;
        let (file, position) = self.locate(base_offset, offset).await?;
        let mut walk = Walk::new(file, position, place.bytes, read_bytes, Class::Read);
        if position == 0 {
            return Ok(walk);
        }
        let failed = |error| Error::io(&self.path(base_offset, SegmentFile::Log), error);
        if leads_to_batch_below(&walk.next().await.map_err(failed)?, offset) {
            walk.rewind(position);
            return Ok(walk);
        }
        self.remake_indexes(base_offset).await?;
        let (file, position) = self.locate(base_offset, offset).await?;
        Ok(Walk::new(file, position, place.bytes, read_bytes, Class::Read))
    }

    /// Where to look for an offset in a segment, if its index is right.
    async fn locate(&self, base_offset: i64, offset: i64) -> Result<(Rc<dyn File>, u32), Error> {
        if self.is_open(base_offset) {
            let file = self.open_file(base_offset).await?;
            let state = self.state.borrow();
            let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
            if let Some(open) = open {
                return Ok((file, open.indexes.offsets.lookup(offset)));
            }
        }
        let reader = self.reader(base_offset).await?;
        Ok((Rc::clone(&reader.file), reader.offsets.lookup(offset)))
    }

    pub(super) fn is_open(&self, base_offset: i64) -> bool {
        self.state.borrow().segment(base_offset).is_some_and(|segment| segment.open.is_some())
    }

    /// The segment that holds `offset` or would.
    pub(super) fn place_of(&self, offset: i64) -> Result<Option<SegmentPlace>, Error> {
        let state = self.state.borrow();
        let (start, end) = (state.start_offset, state.end_offset);
        if offset < start {
            return Err(Error::OutOfRange { offset, start, end });
        }
        Ok(state.segment_of(offset).map(|at| state.place_at(at)))
    }

    /// A file that is gone because the log's start moved on is no fault.
    pub(super) fn blame(&self, error: Error, offset: i64) -> Error {
        match self.place_of(offset) {
            Err(out_of_range) => out_of_range,
            Ok(_) => error,
        }
    }
}

impl State {
    fn place_at(&self, at: usize) -> SegmentPlace {
        SegmentPlace {
            base_offset: self.segments[at].base_offset,
            bytes: self.segments[at].written_bytes(),
            next: self.segments.get(at + 1).map(|next| next.base_offset),
        }
    }

    pub(super) fn segment_place(&self, base_offset: i64) -> Option<SegmentPlace> {
        let at = self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset).ok()?;
        Some(self.place_at(at))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentPlace {
    pub(super) base_offset: i64,
    pub(super) bytes: u32,
    pub(super) next: Option<i64>,
}

/// Batches from disk are believed when they are whole, right and in order.
pub(super) struct Checked<'a> {
    pub(super) path: &'a str,
    /// No batch begins earlier.
    pub(super) expected: i64,
    pub(super) next: Option<i64>,
}

impl Checked<'_> {
    /// None at the end of the content.
    pub(super) fn batch(&mut self, step: Step) -> Result<Option<(u32, Facts)>, Error> {
        let (position, bytes) = match step {
            Step::End => return Ok(None),
            Step::Bad { position, found } => return Err(Damage::new(position as usize, found).at(self.path)),
            Step::Batch { position, bytes } => (position, bytes),
        };
        let damaged = |found: String| Damage::new(position as usize, found).at(self.path);
        let batch = BatchView::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        batch.verify_crc().map_err(|error| damaged(error.to_string()))?;
        let facts = Facts::of(&batch).ok_or_else(|| damaged("offsets out of range".to_owned()))?;
        if facts.base_offset < self.expected || self.next.is_some_and(|next| facts.last_offset >= next) {
            let (first, last) = (facts.base_offset, facts.last_offset);
            return Err(damaged(format!("offsets {first} to {last} where {} is next", self.expected)));
        }
        self.expected = facts.last_offset + 1;
        Ok(Some((position, facts)))
    }
}

/// What an index entry has to lead to: a batch that ends at or before the offset looked for.
fn leads_to_batch_below(step: &Step, offset: i64) -> bool {
    let Step::Batch { bytes, .. } = step else { return false };
    let Ok(batch) = BatchView::parse(bytes) else { return false };
    batch.verify_crc().is_ok() && batch.last_offset() <= offset
}

/// Appends batches of the chunk to `slices`, from the one that holds its next offset on; `hint` should be the place of
/// a batch not beyond that one. Returns true if all of the rest was taken.
fn take(chunk: &Chunk, hint: u32, ask: &Ask, slices: &mut Slices) -> bool {
    let from = slices.next_offset;
    // An index may be wrong.
    let is_good = |batch: BatchView<'_>| (chunk.first_offset..=from).contains(&batch.base_offset());
    let mut begin = if batch_at(chunk, hint).is_some_and(is_good) { hint } else { chunk.first_position };
    let first = loop {
        let Some(batch) = batch_at(chunk, begin) else { return false };
        if batch.last_offset() >= from {
            break batch;
        }
        begin += size(&batch);
    };
    let first_offset = first.base_offset();
    let left = ask.bytes_max.saturating_sub(slices.bytes);
    let (mut end, mut next_offset) = (begin, from);
    if chunk.next_offset <= ask.before && (chunk.end() - begin) as usize <= left {
        (end, next_offset) = (chunk.end(), chunk.next_offset);
    } else {
        while let Some(batch) = batch_at(chunk, end) {
            let bytes = (end - begin + size(&batch)) as usize;
            let is_forced = ask.at_least_one && slices.bytes == 0 && end == begin;
            if batch.next_offset() > ask.before || (bytes > left && !is_forced) {
                break;
            }
            end += size(&batch);
            next_offset = batch.next_offset();
        }
    }
    if end > begin {
        let part = chunk.data.slice((begin - chunk.start) as usize..(end - chunk.start) as usize);
        if slices.bytes == 0 {
            slices.first_offset = first_offset;
        }
        slices.bytes += part.len();
        slices.next_offset = next_offset;
        slices.parts.push(part);
    }
    end == chunk.end()
}

fn batch_at(chunk: &Chunk, position: u32) -> Option<BatchView<'_>> {
    let rest = chunk.data.get((position - chunk.start) as usize..)?;
    BatchView::parse(rest).ok()
}

fn size(batch: &BatchView<'_>) -> u32 {
    u32::try_from(batch.batch_len()).expect("lengths are 32-bit")
}

fn window_bytes(bytes_max: usize) -> usize {
    bytes_max.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
}

/// Read at once for one who catches up: a device is slow to begin and fast to go on.
const WINDOW_BYTES_MIN: usize = 128 << 10;
const WINDOW_BYTES_MAX: usize = 1 << 20;
