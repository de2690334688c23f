//! What is known of one partition. These types are the file's format: a change needs a new
//! [`CATALOGUE_VERSION`](crate::format::CATALOGUE_VERSION).

use rkyv::{Archive, Deserialize, Serialize};

use crate::checkpoint::EpochStart;
use crate::compaction::Facts;
use crate::format::SEGMENT_BYTES_MAX;
use crate::log::SegmentInfo;
use crate::producers::{Producer, Producers, Sequence};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub topic: String,
    pub partition: i32,
    pub topic_id: [u8; 16],
    pub log_start_offset: i64,
    pub recovery: RecoveryPoint,
    /// Closed in order: nothing lies beyond the recovery point.
    pub is_clean: bool,
    /// By base offset; the last is the active one. None: nothing was ever appended.
    pub segments: Vec<Segment>,
    /// Of the active segment's file, which may be allocated ahead.
    pub physical_bytes: u64,
    pub epochs: Vec<Epoch>,
    /// As of the recovery point, so that nothing below it has to be read.
    pub producers: Vec<ProducerState>,
}

/// Up to here the log is on stable storage and described by the rest of the entry.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryPoint {
    pub offset: i64,
    /// In the active segment.
    pub position: u32,
    /// The largest in the active segment below the position; -1 if there is none.
    pub max_timestamp: i64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub base_offset: i64,
    /// Of batches, without what is allocated ahead.
    pub bytes: u32,
    /// One past the last offset.
    pub next_offset: i64,
    pub max_timestamp: i64,
    pub offset_of_max_timestamp: i64,
    pub first_timestamp: i64,
    pub offset_index_entries: u32,
    pub time_index_entries: u32,
    pub aborted_index_entries: u32,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub epoch: i32,
    pub start_offset: i64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub producer_id: i64,
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    pub transaction_start: Option<i64>,
    pub batches: Vec<SavedBatch>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedBatch {
    pub last_sequence: i32,
    pub offset_delta: i32,
    pub last_offset: i64,
    pub timestamp: i64,
}

impl Entry {
    /// What contradicts itself. The checksum keeps damage out; this keeps our own mistakes out.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let follows = |pair: &[Segment]| pair[0].next_offset <= pair[1].base_offset;
        let is_sound = |segment: &Segment| {
            segment.base_offset >= 0
                && segment.next_offset >= segment.base_offset
                && u64::from(segment.bytes) <= SEGMENT_BYTES_MAX
        };
        let active = self.segments.last();
        let (first, end) =
            (active.map_or(0, |active| active.base_offset), active.map(|active| active.next_offset));
        if self.partition < 0 || self.topic.is_empty() || self.topic.contains('/') {
            Some("a name that no partition has")
        } else if !self.segments.iter().all(is_sound) || !self.segments.windows(2).all(follows) {
            Some("segments that do not follow each other")
        } else if self.log_start_offset < 0 || end.is_some_and(|end| self.log_start_offset > end) {
            Some("a log start outside the log")
        } else if end.is_some_and(|end| !(first..=end).contains(&self.recovery.offset)) {
            Some("a recovery point outside the active segment")
        } else if self.recovery.position > active.map_or(0, |active| active.bytes) {
            Some("a recovery position beyond the active segment")
        } else {
            None
        }
    }

    /// Its segments as [`crate::log::Log::segments`] would tell them.
    pub fn segment_infos(&self) -> impl Iterator<Item = SegmentInfo> {
        let last = self.segments.len().saturating_sub(1);
        self.segments.iter().enumerate().map(move |(at, segment)| SegmentInfo {
            base_offset: segment.base_offset,
            next_offset: segment.next_offset,
            bytes: segment.bytes,
            max_timestamp: segment.max_timestamp,
            is_active: at == last,
        })
    }

    /// What its log would say to whoever decides about compaction.
    pub fn compaction_facts(&self) -> Facts {
        let undecided = self.producers.iter().filter_map(|producer| producer.transaction_start).min();
        Facts {
            segments: self.segment_infos().collect(),
            start_offset: self.log_start_offset,
            stable_offset: undecided.unwrap_or(i64::MAX).min(self.recovery.offset),
        }
    }

    pub fn set_epochs(&mut self, epochs: &[EpochStart]) {
        let saved = |epoch: &EpochStart| Epoch { epoch: epoch.epoch, start_offset: epoch.start_offset };
        self.epochs = epochs.iter().map(saved).collect();
    }

    pub fn epochs(&self) -> impl Iterator<Item = EpochStart> {
        self.epochs.iter().map(|saved| EpochStart { epoch: saved.epoch, start_offset: saved.start_offset })
    }

    pub fn set_producers(&mut self, producers: &Producers) {
        self.producers = producers.iter().map(|(id, producer)| ProducerState::of(id, producer)).collect();
    }

    pub fn producers(&self) -> Producers {
        let mut producers = Producers::default();
        for saved in &self.producers {
            producers.restore(saved.producer_id, saved.producer());
        }
        producers
    }
}

impl ProducerState {
    fn of(producer_id: i64, producer: &Producer) -> Self {
        let saved = |batch: &Sequence| SavedBatch {
            last_sequence: batch.last_sequence,
            offset_delta: batch.offset_delta,
            last_offset: batch.last_offset,
            timestamp: batch.timestamp,
        };
        Self {
            producer_id,
            epoch: producer.epoch,
            coordinator_epoch: producer.coordinator_epoch,
            last_timestamp: producer.last_timestamp,
            transaction_start: producer.transaction_start,
            batches: producer.batches().iter().map(saved).collect(),
        }
    }

    fn producer(&self) -> Producer {
        let batches = self.batches.iter().map(|saved| Sequence {
            last_sequence: saved.last_sequence,
            offset_delta: saved.offset_delta,
            last_offset: saved.last_offset,
            timestamp: saved.timestamp,
        });
        Producer::saved(
            self.epoch,
            self.coordinator_epoch,
            self.last_timestamp,
            self.transaction_start,
            batches,
        )
    }
}
