//! What a log, its segments and recovery need to know of a batch, on append and on replay alike.

use protocol::records::batch::BatchView;

use crate::producers::{Batch, Marker, Producers};
use crate::segment::aborted_index::{AbortedIndex, AbortedTransaction};

/// What the log needs to know of a batch, apart from its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) bytes: u32,
    pub(crate) writer: Writer,
}

/// Whose state a batch changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writer {
    Nobody,
    Producer(Batch),
    Coordinator(Marker),
}

impl Facts {
    /// None if its offsets contradict themselves.
    pub(crate) fn of(batch: &BatchView<'_>) -> Option<Self> {
        let last_offset = batch.base_offset().checked_add(i64::from(batch.last_offset_delta()))?;
        let is_sound =
            batch.base_offset() >= 0 && last_offset >= batch.base_offset() && last_offset < i64::MAX;
        is_sound.then(|| Self {
            base_offset: batch.base_offset(),
            last_offset,
            max_timestamp: batch.max_timestamp(),
            leader_epoch: batch.leader_epoch(),
            bytes: u32::try_from(batch.batch_len()).expect("lengths are 32-bit"),
            writer: Writer::of(batch),
        })
    }

    /// Whether a segment that begins there can hold it.
    pub(crate) fn fits(&self, base_offset: i64) -> bool {
        self.last_offset.saturating_sub(base_offset) <= i64::from(i32::MAX)
    }

    /// What the batch means for producers and aborted transactions: on append and on replay alike.
    pub(crate) fn apply(&self, producers: &mut Producers, aborted: &mut AbortedIndex) {
        match &self.writer {
            Writer::Nobody => {}
            Writer::Producer(batch) => producers.apply(batch, self.base_offset, self.max_timestamp),
            Writer::Coordinator(marker) => {
                let completed = producers.apply_marker(marker, self.last_offset, self.max_timestamp);
                if let Some(completed) = completed.filter(|completed| completed.is_aborted) {
                    aborted.append(AbortedTransaction {
                        producer_id: completed.producer_id,
                        first_offset: completed.first_offset,
                        last_offset: completed.last_offset,
                        last_stable_offset: producers.last_stable_offset_after(&completed),
                    });
                }
            }
        }
    }
}

impl Writer {
    pub(crate) fn producer_id(&self) -> Option<i64> {
        match self {
            Self::Nobody => None,
            Self::Producer(batch) => Some(batch.producer_id),
            Self::Coordinator(marker) => Some(marker.producer_id),
        }
    }

    fn of(batch: &BatchView<'_>) -> Self {
        if !batch.has_producer_id() {
            return Self::Nobody;
        }
        if batch.is_control() {
            return marker(batch).map_or(Self::Nobody, Self::Coordinator);
        }
        Self::Producer(Batch {
            producer_id: batch.producer_id(),
            epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
            last_offset_delta: batch.last_offset_delta(),
            is_transactional: batch.is_transactional(),
        })
    }
}

/// The one record of a transaction's marker: key `version, type`, value `version, coordinator epoch`.
fn marker(batch: &BatchView<'_>) -> Option<Marker> {
    let record = protocol::records::record::records(batch.records_bytes(), batch.count()).next()?.ok()?;
    let kind: [u8; 2] = record.key?.get(2..4)?.try_into().ok()?;
    let is_commit = match i16::from_be_bytes(kind) {
        0 => false,
        1 => true,
        _ => return None,
    };
    let coordinator_epoch: [u8; 4] = record.value?.get(2..6)?.try_into().ok()?;
    Some(Marker {
        producer_id: batch.producer_id(),
        epoch: batch.producer_epoch(),
        coordinator_epoch: i32::from_be_bytes(coordinator_epoch),
        is_commit,
    })
}
