//! Idempotence and transactions of one partition: what each producer wrote last.
//!
//! Kafka's rules: a window of five batches per producer answers retries; a known producer goes on where it
//! stopped; an unknown one may start anywhere. State follows from the log alone, so replaying batches
//! through [`Producers::apply`] rebuilds it.

mod sequences;
mod snapshot;

use std::collections::BTreeMap;

pub use self::sequences::{Sequence, decrement, increment};
pub use self::snapshot::{SnapshotEntry, decode_snapshot, encode_snapshot};

/// Batches remembered per producer: as many as an idempotent client may have in flight.
pub const WINDOW: usize = 5;
/// Producers remembered per partition. Beyond it the longest silent ones are forgotten, as if they had expired.
pub const PRODUCERS_MAX: usize = 100_000;

const NO_SEQUENCE: i32 = -1;
const NO_EPOCH: i16 = -1;
const NO_COORDINATOR: i32 = -1;

/// What idempotence needs to know of one data batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub producer_id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
    pub last_offset_delta: i32,
    pub is_transactional: bool,
}

impl Batch {
    /// Sequences go on at 0 after the largest number.
    pub fn last_sequence(&self) -> i32 {
        increment(self.base_sequence, self.last_offset_delta)
    }
}

/// Whether a batch may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Append,
    /// It is in the log already: answer with where it is.
    Duplicate {
        base_offset: i64,
        last_offset: i64,
        timestamp: i64,
    },
    OutOfOrder,
    /// The producer was replaced by a newer incarnation.
    InvalidEpoch,
    /// Not transactional in the middle of the producer's transaction.
    InvalidTransactionState,
}

/// A commit or abort marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub producer_id: i64,
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub is_commit: bool,
}

/// A transaction that a marker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the marker.
    pub last_offset: i64,
    pub is_aborted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckMarker {
    Append,
    InvalidEpoch,
    /// A newer coordinator has spoken.
    CoordinatorFenced,
}

/// One producer's state, as kept in memory, saved and described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    /// The open transaction's first offset.
    pub transaction_start: Option<i64>,
    window: Window,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    batches: [Sequence; WINDOW],
    len: u8,
}

/// All producers of one partition. Empty, it owns no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    /// Ordered, so that whatever is derived from it is the same in every run. Boxed to keep nodes small.
    entries: BTreeMap<i64, Box<Producer>>,
    /// Open transactions: first offset -> producer.
    open: BTreeMap<i64, i64>,
    /// Ended ones whose marker is not yet below the high watermark: first offset -> marker's offset.
    unreplicated: BTreeMap<i64, i64>,
}

impl Producers {
    /// Whether a client's batch may be appended. Changes nothing.
    pub fn check(&self, batch: &Batch) -> Check {
        // Kafka: a producer id without an epoch is never right.
        if batch.epoch < 0 {
            return Check::InvalidEpoch;
        }
        let Some(producer) = self.entries.get(&batch.producer_id) else { return Check::Append };
        if let Some(sequence) = producer.find(batch) {
            return Check::Duplicate {
                base_offset: sequence.base_offset(),
                last_offset: sequence.last_offset,
                timestamp: sequence.timestamp,
            };
        }
        if batch.epoch < producer.epoch {
            return Check::InvalidEpoch;
        }
        if !producer.is_next(batch) {
            return Check::OutOfOrder;
        }
        if producer.transaction_start.is_some() && !batch.is_transactional {
            return Check::InvalidTransactionState;
        }
        Check::Append
    }

    /// The batch is in the log at `base_offset`. Checks nothing: on replay the log is right.
    pub fn apply(&mut self, batch: &Batch, base_offset: i64, timestamp: i64) {
        let is_known = self.entries.contains_key(&batch.producer_id);
        if !is_known && self.entries.len() >= PRODUCERS_MAX {
            self.forget_longest_silent();
        }
        let producer = self.entries.entry(batch.producer_id).or_default();
        producer.take_epoch(batch.epoch);
        producer.window.push(Sequence {
            last_sequence: batch.last_sequence(),
            offset_delta: batch.last_offset_delta,
            last_offset: base_offset.saturating_add(i64::from(batch.last_offset_delta)),
            timestamp,
        });
        producer.last_timestamp = timestamp;
        if batch.is_transactional && producer.transaction_start.is_none() {
            producer.transaction_start = Some(base_offset);
            self.open.insert(base_offset, batch.producer_id);
        }
    }

    pub fn check_marker(&self, marker: &Marker) -> CheckMarker {
        let Some(producer) = self.entries.get(&marker.producer_id) else { return CheckMarker::Append };
        if marker.epoch < producer.epoch {
            CheckMarker::InvalidEpoch
        } else if marker.coordinator_epoch < producer.coordinator_epoch {
            CheckMarker::CoordinatorFenced
        } else {
            CheckMarker::Append
        }
    }

    /// The marker is in the log at `offset`. Returns the transaction it ended, if one was open.
    pub fn apply_marker(&mut self, marker: &Marker, offset: i64, timestamp: i64) -> Option<Completed> {
        let producer = self.entries.entry(marker.producer_id).or_default();
        producer.take_epoch(marker.epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = timestamp;
        let first_offset = producer.transaction_start.take()?;
        self.open.remove(&first_offset);
        self.unreplicated.insert(first_offset, offset);
        Some(Completed {
            producer_id: marker.producer_id,
            first_offset,
            last_offset: offset,
            is_aborted: !marker.is_commit,
        })
    }

    /// Below it everything is decided, and known to be: readers of committed records stop here.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let first = |transactions: &BTreeMap<i64, i64>| transactions.keys().next().copied();
        first(&self.open).into_iter().chain(first(&self.unreplicated)).min()
    }

    /// What the last stable offset is once `completed` counts: for the index of aborted transactions.
    pub fn last_stable_offset_after(&self, completed: &Completed) -> i64 {
        let others = self.open.iter().find(|(_, producer_id)| **producer_id != completed.producer_id);
        others.map_or(completed.last_offset.saturating_add(1), |(first_offset, _)| *first_offset)
    }

    /// Markers below the high watermark can no longer be lost.
    pub fn replicated_up_to(&mut self, high_watermark: i64) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    /// Forgets producers that were silent for `expiry_ms` and have no transaction open.
    pub fn expire(&mut self, now_ms: i64, expiry_ms: i64) {
        self.entries.retain(|_, producer| !producer.is_expired(now_ms, expiry_ms));
    }

    /// Starts over: before a replay.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.entries.get(&producer_id).map(Box::as_ref)
    }

    /// By producer id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.entries.iter().map(|(id, producer)| (*id, producer.as_ref()))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes in one producer as it was saved. A saved state comes from below the high watermark.
    pub fn restore(&mut self, producer_id: i64, producer: Producer) {
        if let Some(first_offset) = producer.transaction_start {
            self.open.insert(first_offset, producer_id);
        }
        self.entries.insert(producer_id, Box::new(producer));
    }

    /// Takes back what was applied last for a producer: an append that did not last. `before` is what was
    /// known of it until then.
    pub fn take_back(&mut self, producer_id: i64, before: Option<Producer>) {
        if let Some(now) = self.entries.remove(&producer_id)
            && let Some(first_offset) = now.transaction_start
        {
            self.open.remove(&first_offset);
        }
        let Some(before) = before else { return };
        if let Some(first_offset) = before.transaction_start {
            // If it was a marker that ended the transaction, it is open again.
            self.unreplicated.remove(&first_offset);
        }
        self.restore(producer_id, before);
    }

    /// State from a snapshot file. Expired producers are left out, as Kafka does.
    pub fn from_snapshot(entries: &[SnapshotEntry], now_ms: i64, expiry_ms: i64) -> Self {
        let mut producers = Self::default();
        for entry in entries {
            let producer = Producer::from(entry);
            if !producer.is_expired(now_ms, expiry_ms) {
                producers.restore(entry.producer_id, producer);
            }
        }
        producers
    }

    /// The content of a snapshot file. It holds only each producer's last batch, as Kafka's does.
    pub fn to_snapshot(&self) -> Vec<u8> {
        let entries: Vec<SnapshotEntry> =
            self.iter().map(|(id, producer)| SnapshotEntry::of(id, producer)).collect();
        encode_snapshot(&entries)
    }

    /// Makes room for many at once, so that the search for the oldest is paid once in a while.
    fn forget_longest_silent(&mut self) {
        let mut idle: Vec<(i64, i64)> = self
            .iter()
            .filter(|(_, producer)| producer.transaction_start.is_none())
            .map(|(id, producer)| (producer.last_timestamp, id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(PRODUCERS_MAX / 16) {
            self.entries.remove(&id);
        }
    }
}

impl Default for Producer {
    fn default() -> Self {
        Self {
            epoch: NO_EPOCH,
            coordinator_epoch: NO_COORDINATOR,
            last_timestamp: -1,
            transaction_start: None,
            window: Window::default(),
        }
    }
}

impl Producer {
    /// A state as saved; of more than five batches the last count.
    pub fn saved(
        epoch: i16,
        coordinator_epoch: i32,
        last_timestamp: i64,
        transaction_start: Option<i64>,
        batches: impl IntoIterator<Item = Sequence>,
    ) -> Self {
        let mut window = Window::default();
        batches.into_iter().for_each(|batch| window.push(batch));
        Self { epoch, coordinator_epoch, last_timestamp, transaction_start, window }
    }

    /// The last batches, oldest first.
    pub fn batches(&self) -> &[Sequence] {
        &self.window.batches[..usize::from(self.window.len)]
    }

    pub fn last_batch(&self) -> Option<&Sequence> {
        self.batches().last()
    }

    fn find(&self, batch: &Batch) -> Option<&Sequence> {
        let is_same = |held: &&Sequence| {
            held.base_sequence() == batch.base_sequence && held.last_sequence == batch.last_sequence()
        };
        if batch.epoch == self.epoch { self.batches().iter().find(is_same) } else { None }
    }

    fn is_next(&self, batch: &Batch) -> bool {
        if self.epoch == NO_EPOCH {
            return true;
        }
        if batch.epoch != self.epoch {
            return batch.base_sequence == 0;
        }
        // Kafka: after a marker that raised the epoch there is no batch, and the next starts at 0.
        let last = self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence);
        batch.base_sequence == increment(last, 1)
    }

    /// Batches of another epoch are no longer this producer's.
    fn take_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.window = Window::default();
        }
    }

    fn is_expired(&self, now_ms: i64, expiry_ms: i64) -> bool {
        self.transaction_start.is_none() && now_ms.saturating_sub(self.last_timestamp) >= expiry_ms
    }
}

impl Window {
    fn push(&mut self, batch: Sequence) {
        if usize::from(self.len) == WINDOW {
            self.batches.rotate_left(1);
        } else {
            self.len += 1;
        }
        self.batches[usize::from(self.len) - 1] = batch;
    }
}

#[cfg(test)]
mod tests;
