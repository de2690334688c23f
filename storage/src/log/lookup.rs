//! Offsets by timestamp, and the transactions that a reader of committed records must leave out.

use std::rc::Rc;

use bytes::Bytes;
use protocol::records::batch::{BatchView, NO_TIMESTAMP};
use protocol::records::compression::Decompressor;

use super::read::{Checked, SegmentPlace};
use super::{Log, is_time, read_aborted};
use crate::Error;
use crate::disk::LocalFuture;
use crate::format::{Damage, SegmentFile};
use crate::segment::aborted_index::AbortedTransaction;
use crate::segment::reader::Step;

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamped {
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

/// Which record of a segment is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    /// The first as late as this.
    AsLateAs(i64),
    /// The first with exactly this.
    At(i64),
}

impl Log {
    /// The first durable record whose timestamp is not before this one.
    pub fn offset_for_timestamp(
        self: &Rc<Self>,
        timestamp: i64,
    ) -> LocalFuture<'static, Result<Option<Timestamped>, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            // It is looked for in the files.
            log.settle().await?;
            log.steadily(async || log.find_as_late_as(timestamp).await).await
        })
    }

    async fn find_as_late_as(&self, timestamp: i64) -> Result<Option<Timestamped>, Error> {
        let mut from = self.start_offset();
        while let Some(place) = self.next_with(from, |latest| latest >= timestamp) {
            let offset = self.offset_before(place, timestamp).await?.max(self.start_offset());
            if let Some(found) = self.search(place, offset, Wanted::AsLateAs(timestamp)).await? {
                return Ok(Some(found));
            }
            // What made the segment look late enough lies below the log's start.
            let Some(next) = place.next else { break };
            from = next;
        }
        Ok(None)
    }

    /// The first durable record with the largest timestamp; None if no record has one.
    pub fn max_timestamp(self: &Rc<Self>) -> LocalFuture<'static, Result<Option<Timestamped>, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            log.settle().await?;
            log.steadily(async || log.find_latest().await).await
        })
    }

    async fn find_latest(&self) -> Result<Option<Timestamped>, Error> {
        let start = self.start_offset();
        let Some((place, largest)) = self.largest_from(start) else { return Ok(None) };
        let offset = self.offset_before(place, largest).await?.max(start);
        if let Some(found) = self.search(place, offset, Wanted::At(largest)).await? {
            return Ok(Some(found));
        }
        // It was that of a record below the log's start; only the start's segment can hold such.
        let kept = self.largest_in(place, start).await?;
        let later = place.next.and_then(|next| self.largest_from(next));
        let later = later.filter(|(_, largest)| kept.is_none_or(|kept| kept.timestamp < *largest));
        let Some((place, largest)) = later else { return Ok(kept) };
        let offset = self.offset_before(place, largest).await?;
        self.search(place, offset, Wanted::At(largest)).await
    }

    /// Aborted transactions that touch `[from, before)`. Their markers may lie behind it.
    pub fn aborted_transactions(
        self: &Rc<Self>,
        from: i64,
        before: i64,
    ) -> LocalFuture<'static, Result<Vec<AbortedTransaction>, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move { log.steadily(async || log.find_aborted(from, before).await).await })
    }

    async fn find_aborted(&self, from: i64, before: i64) -> Result<Vec<AbortedTransaction>, Error> {
        let mut found = Vec::new();
        let mut next = Some(from.max(self.start_offset()));
        while let Some(place) = next.map(|offset| self.place_of(offset)).transpose()?.flatten() {
            if self.collect_aborted(place.base_offset, from, before, &mut found).await? {
                break;
            }
            next = place.next;
        }
        Ok(found)
    }

    /// Returns true if no later segment can hold another.
    async fn collect_aborted(
        &self,
        base_offset: i64,
        from: i64,
        before: i64,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, Error> {
        if self.is_open(base_offset) {
            if self.is_untouched(base_offset) {
                self.open_file(base_offset).await?;
            }
            let state = self.state.borrow();
            if let Some(open) = state.segment(base_offset).and_then(|segment| segment.open.as_ref()) {
                return Ok(open.indexes.aborted.collect(from, before, found));
            }
        }
        let known = self.state.borrow().segment(base_offset).and_then(|segment| segment.aborted.clone());
        let aborted = match known {
            Some(aborted) => aborted,
            None => {
                let read = read_aborted(&*self.disk, &self.dir.folder(), base_offset).await;
                let aborted = Rc::new(read.map_err(|error| self.blame(error, from))?);
                if let Some(segment) = self.state.borrow_mut().segment_mut(base_offset) {
                    segment.aborted = Some(Rc::clone(&aborted));
                }
                aborted
            }
        };
        Ok(aborted.collect(from, before, found))
    }

    /// Segments with their largest durable timestamps, oldest first.
    fn durable_latest(&self) -> Vec<(i64, i64, Option<i64>)> {
        let state = self.state.borrow();
        let nexts = state.segments.iter().skip(1).map(|next| Some(next.base_offset)).chain([None]);
        let latest = |segment: &crate::segment::Segment| match &segment.open {
            Some(open) => open.durable.latest.timestamp,
            None => segment.latest.timestamp,
        };
        state
            .segments
            .iter()
            .zip(nexts)
            .map(|(segment, next)| (segment.base_offset, latest(segment), next))
            .collect()
    }

    /// The first segment from the one of `from` on whose largest timestamp will do.
    fn next_with(&self, from: i64, will_do: impl Fn(i64) -> bool) -> Option<SegmentPlace> {
        let ahead =
            self.durable_latest().into_iter().filter(|(_, _, next)| next.is_none_or(|next| next > from));
        let (base_offset, _, _) = ahead.into_iter().find(|(_, latest, _)| will_do(*latest))?;
        let state = self.state.borrow();
        state.segment_place(base_offset)
    }

    /// The largest timestamp noted of the segments from that of `from` on, and the first to have it.
    fn largest_from(&self, from: i64) -> Option<(SegmentPlace, i64)> {
        let ahead =
            self.durable_latest().into_iter().filter(|(_, _, next)| next.is_none_or(|next| next > from));
        let largest = ahead.map(|(_, latest, _)| latest).max().filter(|latest| is_time(*latest))?;
        Some((self.next_with(from, |latest| latest == largest)?, largest))
    }

    /// An offset in the segment before which all records are earlier.
    async fn offset_before(&self, place: SegmentPlace, timestamp: i64) -> Result<i64, Error> {
        if self.is_open(place.base_offset) {
            self.open_file(place.base_offset).await?;
            let state = self.state.borrow();
            if let Some(open) = state.segment(place.base_offset).and_then(|segment| segment.open.as_ref()) {
                return Ok(open.indexes.times.lookup(timestamp));
            }
        }
        Ok(self.times(place.base_offset).await?.lookup(timestamp))
    }

    /// Goes through the records of a segment, from the batch that holds `from` on.
    async fn search(
        &self,
        place: SegmentPlace,
        from: i64,
        wanted: Wanted,
    ) -> Result<Option<Timestamped>, Error> {
        let path = self.path(place.base_offset, SegmentFile::Log);
        let mut walk = self.walk_to(place, from, SEARCH_BYTES).await?;
        let mut checked = Checked { path: &path, expected: place.base_offset, next: place.next };
        let mut decompressor = Decompressor::new();
        loop {
            let step = walk.next().await.map_err(|error| Error::io(&path, error))?;
            let bytes = if let Step::Batch { bytes, .. } = &step { bytes.clone() } else { Bytes::new() };
            let Some((position, batch)) = checked.batch(step)? else { return Ok(None) };
            if batch.last_offset < from || !wanted.may_be_in(batch.max_timestamp) {
                continue;
            }
            let found = record_in(&bytes, from, wanted, &mut decompressor);
            match found.map_err(|found| Damage::new(position as usize, found).at(&path))? {
                Some(found) => return Ok(Some(found)),
                // Its largest timestamp is that of a record below the log's start, or was never right.
                None => continue,
            }
        }
    }
}

/// The segment's batches that may hold its largest timestamp, by what they say of themselves.
#[derive(Default)]
struct Largest {
    /// The one that `from` is in the middle of: what it says may be of a record before.
    cut: Bytes,
    whole: Bytes,
    timestamp: Option<i64>,
}

impl Log {
    /// The first of the records with the largest timestamp among those from `from` on, wherever in the segment.
    async fn largest_in(&self, place: SegmentPlace, from: i64) -> Result<Option<Timestamped>, Error> {
        let path = self.path(place.base_offset, SegmentFile::Log);
        let mut walk = self.walk_to(place, from, SEARCH_BYTES).await?;
        let mut checked = Checked { path: &path, expected: place.base_offset, next: place.next };
        let mut largest = Largest::default();
        loop {
            let step = walk.next().await.map_err(|error| Error::io(&path, error))?;
            let bytes = if let Step::Batch { bytes, .. } = &step { bytes.clone() } else { Bytes::new() };
            let Some((_, batch)) = checked.batch(step)? else { break };
            if batch.last_offset < from {
                continue;
            }
            if batch.base_offset < from {
                largest.cut = bytes;
            } else if is_time(batch.max_timestamp) && largest.timestamp < Some(batch.max_timestamp) {
                (largest.whole, largest.timestamp) = (bytes, Some(batch.max_timestamp));
            }
        }
        largest.record(from).map_err(|found| Damage::new(0, found).at(&path))
    }
}

impl Largest {
    fn record(&self, from: i64) -> Result<Option<Timestamped>, String> {
        let mut decompressor = Decompressor::new();
        let mut best = None;
        if !self.cut.is_empty() {
            let latest = latest_in(&self.cut, from, &mut decompressor)?;
            best = record_in(&self.cut, from, Wanted::At(latest), &mut decompressor)?;
        }
        let whole = self.timestamp.filter(|whole| best.is_none_or(|best| best.timestamp < *whole));
        match whole {
            Some(whole) => record_in(&self.whole, from, Wanted::At(whole), &mut decompressor),
            None => Ok(best.filter(|best| is_time(best.timestamp))),
        }
    }
}

impl Wanted {
    fn may_be_in(self, max_timestamp: i64) -> bool {
        match self {
            Self::AsLateAs(timestamp) | Self::At(timestamp) => max_timestamp >= timestamp,
        }
    }

    fn is(self, timestamp: i64) -> bool {
        match self {
            Self::AsLateAs(wanted) => timestamp >= wanted,
            Self::At(wanted) => timestamp == wanted,
        }
    }
}

fn record_in(
    bytes: &[u8],
    from: i64,
    wanted: Wanted,
    decompressor: &mut Decompressor,
) -> Result<Option<Timestamped>, String> {
    let batch = BatchView::parse(bytes).map_err(|error| error.to_string())?;
    let leader_epoch = batch.leader_epoch();
    if batch.has_log_append_time() {
        let (timestamp, offset) = (batch.max_timestamp(), batch.base_offset().max(from));
        return Ok(Some(Timestamped { timestamp, offset, leader_epoch }).filter(|_| wanted.is(timestamp)));
    }
    for record in batch.records(decompressor, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let (timestamp, offset) = (batch.timestamp_of(&record), batch.offset_of(&record));
        if offset >= from && wanted.is(timestamp) {
            return Ok(Some(Timestamped { timestamp, offset, leader_epoch }));
        }
    }
    Ok(None)
}

/// The largest timestamp of a batch's records from `from` on.
fn latest_in(bytes: &[u8], from: i64, decompressor: &mut Decompressor) -> Result<i64, String> {
    let batch = BatchView::parse(bytes).map_err(|error| error.to_string())?;
    if batch.has_log_append_time() {
        return Ok(batch.max_timestamp());
    }
    let mut latest = NO_TIMESTAMP;
    for record in batch.records(decompressor, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        if batch.offset_of(&record) >= from {
            latest = latest.max(batch.timestamp_of(&record));
        }
    }
    Ok(latest)
}

/// Read at once where the index has led close to the record.
const SEARCH_BYTES: usize = 64 << 10;
/// A batch that unpacks to more is not searched.
const UNPACKED_BYTES_MAX: usize = 256 << 20;
