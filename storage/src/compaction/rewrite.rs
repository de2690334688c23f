//! What compaction leaves of each batch. Kafka's rules:
//!
//! - A record stays if no later one has its key. Beyond what the keys were gathered from, all stay. Records without a
//!   key go: such a topic was not always compacted.
//! - Records of aborted transactions go.
//! - A batch keeps its offsets, sequence, codec and times, whatever is left in it.
//! - A batch of which nothing is left goes, unless a producer that is still remembered wrote it last: its sequence must
//!   survive. The last batch of what is cleaned stays too, so that offsets are not forgotten.
//! - Tombstones, and markers whose transaction has nothing left, get a *delete horizon* when they are met first, and go
//!   once it has passed (KIP-534).

use std::collections::BTreeMap;

use protocol::records::batch::{BatchHeader, BatchView, NO_TIMESTAMP};
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::{Codec, Decompressor};
use protocol::records::record::Record;

use super::key_offsets::{Full, KeyOffsets};
use super::transactions::{Ended, Transactions};
use crate::facts::{Facts, Writer};
use crate::producers::Producers;
use crate::segment::aborted_index::AbortedTransaction;

/// What a producer that is still remembered wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastWritten {
    pub(crate) epoch: i16,
    /// Of its last batch of records; None if only a marker is known of it.
    pub(crate) last_offset: Option<i64>,
}

/// The producers whose last word must survive.
pub(crate) fn last_written(producers: &Producers) -> BTreeMap<i64, LastWritten> {
    let last = |producer: &crate::producers::Producer| LastWritten {
        epoch: producer.epoch,
        last_offset: producer.last_batch().map(|batch| batch.last_offset),
    };
    producers.iter().map(|(id, producer)| (id, last(producer))).collect()
}

/// First pass: gathers the newest offset of each key.
pub(crate) struct Gather {
    pub(crate) keys: KeyOffsets,
    pub(crate) transactions: Transactions,
    /// Records before it were looked at by an earlier compaction.
    pub(crate) from: i64,
    pub(crate) decompressor: Decompressor,
}

impl Gather {
    /// True if there is no room for more keys.
    pub(crate) fn take_in(&mut self, batch: &BatchView<'_>) -> Result<bool, String> {
        if batch.is_control() {
            if let Some(is_commit) = marker_of(batch) {
                self.transactions.end(batch, is_commit);
            }
        } else if !self.transactions.is_aborted(batch) {
            let records = batch.records(&mut self.decompressor, UNPACKED_BYTES_MAX);
            for record in records.map_err(|error| error.to_string())? {
                let record = record.map_err(|error| error.to_string())?;
                let offset = batch.offset_of(&record);
                let Some(key) = record.key.filter(|_| offset >= self.from) else { continue };
                if self.keys.put(key, offset) == Err(Full) {
                    // What precedes it in this batch was taken in.
                    self.keys.reached(offset);
                    return Ok(true);
                }
            }
        }
        self.keys.reached(batch.next_offset());
        Ok(false)
    }
}

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    All,
    Some(Vec<u8>),
    Nothing,
}

/// Second pass: decides of every batch.
pub(crate) struct Rewrite {
    pub(crate) keys: KeyOffsets,
    pub(crate) transactions: Transactions,
    pub(crate) last_written: BTreeMap<i64, LastWritten>,
    /// Where what may be cleaned ends.
    pub(crate) end: i64,
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
    pub(crate) decompressor: Decompressor,
    pub(crate) records_read: u64,
    pub(crate) records_kept: u64,
}

impl Rewrite {
    /// Also says which aborted transaction is still in the log, if this is its marker.
    pub(crate) fn decide(
        &mut self,
        batch: &BatchView<'_>,
    ) -> Result<(Left, Option<AbortedTransaction>), String> {
        self.records_read += u64::try_from(batch.count()).unwrap_or(0);
        if !batch.is_control() {
            let goes = self.transactions.is_aborted(batch);
            let left = if goes { self.emptied(batch)? } else { self.filtered(batch)? };
            return Ok((left, None));
        }
        let ended = match marker_of(batch) {
            Some(is_commit) => self.transactions.end(batch, is_commit),
            // An empty one was cleaned before; another kind of control record is none of ours.
            None if batch.count() == 0 => Ended::Gone,
            None => Ended::There,
        };
        let left = match ended {
            Ended::Gone if batch.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms) => {
                self.emptied(batch)?
            }
            Ended::Gone if batch.count() == 0 => self.emptied(batch)?,
            Ended::Gone if !batch.has_delete_horizon() => self.with_horizon(batch)?,
            _ => self.all(batch),
        };
        let aborted = if let Ended::ThereAborted(aborted) = ended { Some(aborted) } else { None };
        Ok((left, aborted))
    }

    fn filtered(&mut self, batch: &BatchView<'_>) -> Result<Left, String> {
        let (mut kept, mut has_tombstone) = (0, false);
        let mut unpacker = std::mem::take(&mut self.decompressor);
        let unpacked = batch.records(&mut unpacker, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())?;
        // Which stay, so that keys are looked up once.
        let mut stays =
            Vec::with_capacity(usize::try_from(batch.count()).unwrap_or(0).min(batch.batch_len()));
        for record in unpacked.clone() {
            let record = record.map_err(|error| error.to_string())?;
            let stay = self.stays(batch, &record);
            kept += i32::from(stay);
            has_tombstone |= stay && record.value.is_none();
            stays.push(stay);
        }
        let needs_horizon = has_tombstone && !batch.has_delete_horizon();
        let left = if kept == 0 {
            self.emptied(batch)
        } else if kept == batch.count() && !needs_horizon {
            Ok(Left::All)
        } else {
            let stays = unpacked.zip(&stays).filter(|(_, stay)| **stay).map(|(record, _)| record);
            let records = stays.map(|record| record.expect("read a moment ago"));
            self.rewritten(batch, records, needs_horizon)
        };
        self.records_kept += u64::try_from(kept).unwrap_or(0);
        self.decompressor = unpacker;
        left
    }

    fn stays(&self, batch: &BatchView<'_>, record: &Record<'_>) -> bool {
        let offset = batch.offset_of(record);
        if offset >= self.keys.next_offset() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_expired = || batch.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let is_newest = self.keys.get(key).is_none_or(|newest| offset >= newest);
        is_newest && (record.value.is_some() || !is_expired())
    }

    fn all(&mut self, batch: &BatchView<'_>) -> Left {
        self.records_kept += u64::try_from(batch.count()).unwrap_or(0);
        Left::All
    }

    /// A marker of which only the horizon is new.
    fn with_horizon(&mut self, batch: &BatchView<'_>) -> Result<Left, String> {
        let mut records = Vec::new();
        let mut unpacker = std::mem::take(&mut self.decompressor);
        for record in batch.records(&mut unpacker, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())? {
            records.push(record.map_err(|error| error.to_string())?);
        }
        self.records_kept += records.len() as u64;
        let left = self.rewritten(batch, records.into_iter(), true);
        self.decompressor = unpacker;
        left
    }

    fn rewritten<'r>(
        &self,
        batch: &BatchView<'_>,
        records: impl Iterator<Item = Record<'r>>,
        needs_horizon: bool,
    ) -> Result<Left, String> {
        let mut header = BatchHeader::of(batch).ok_or("a codec that does not exist")?;
        if needs_horizon {
            header.delete_horizon = true;
            header.base_timestamp = self.now_ms.saturating_add(self.delete_retention_ms);
        }
        let mut builder = BatchBuilder::new(header);
        for record in records {
            builder
                .append_record(&record, record.offset_delta, batch.timestamp_of(&record))
                .map_err(|full| full.to_string())?;
        }
        Ok(Left::Some(builder.build().map_err(|full| full.to_string())?))
    }

    /// None of its records stay; perhaps the batch does.
    fn emptied(&self, batch: &BatchView<'_>) -> Result<Left, String> {
        if batch.next_offset() != self.end && !self.is_last_of_producer(batch) {
            return Ok(Left::Nothing);
        }
        if batch.count() == 0 {
            return Ok(Left::All);
        }
        let header = BatchHeader::of(batch).ok_or("a codec that does not exist")?;
        let header =
            BatchHeader { codec: Codec::None, base_timestamp: NO_TIMESTAMP, delete_horizon: false, ..header };
        Ok(Left::Some(BatchBuilder::new(header).build().map_err(|full| full.to_string())?))
    }

    fn is_last_of_producer(&self, batch: &BatchView<'_>) -> bool {
        let last = self.last_written.get(&batch.producer_id()).filter(|_| batch.has_producer_id());
        last.is_some_and(|last| match last.last_offset {
            Some(last_offset) => batch.last_offset() == last_offset,
            None => batch.is_control() && batch.producer_epoch() == last.epoch,
        })
    }
}

/// Whether a marker commits; None if it is none, or was emptied.
fn marker_of(batch: &BatchView<'_>) -> Option<bool> {
    match Facts::of(batch)?.writer {
        Writer::Coordinator(marker) => Some(marker.is_commit),
        _ => None,
    }
}

/// A batch that unpacks to more is not looked into.
const UNPACKED_BYTES_MAX: usize = 256 << 20;
