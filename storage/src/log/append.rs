//! Append: the producer's sequence is checked, the batch gets its offsets and goes into the tail buffer. All at once.

use protocol::records::batch::{self, BatchError, BatchView};

use super::{Log, State, Undo, is_time};
use crate::Error;
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::facts::{Facts, Writer};
use crate::format::SEGMENT_BYTES_MAX;
use crate::producers::{Check, CheckMarker};
use crate::segment::{OnDisk, Segment};

/// What the log writes into a batch that it takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Not used with [`Offsets::Keep`].
    pub leader_epoch: i32,
    /// The time of all records, where the topic asks for it. Not used with [`Offsets::Keep`].
    pub log_append_time: Option<i64>,
    pub offsets: Offsets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// The batch gets the next offsets: a leader's append. Sequences are checked.
    Assign,
    /// The batch keeps offsets, epoch and time, byte for byte: a follower's append. Nothing is checked
    /// but that it lies behind all others.
    Keep,
}

/// Where a batch is in the log now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    /// -1 where the producer's times count. Kafka: of a duplicate, the batch's largest timestamp either way.
    pub log_append_time: i64,
    pub log_start_offset: i64,
    /// It was there already; nothing was appended. It may not be durable yet.
    pub duplicate: bool,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the sequence number does not follow the last one")]
    OutOfOrderSequence,
    #[error("the producer was replaced by a newer one")]
    InvalidProducerEpoch,
    #[error("not transactional while the producer's transaction is open")]
    InvalidTransactionState,
    #[error("a marker of a coordinator that was replaced")]
    CoordinatorFenced,
    #[error("a batch of {bytes} bytes is larger than a segment of {segment_bytes}")]
    TooLarge { bytes: usize, segment_bytes: u32 },
    #[error("offset {base_offset} lies before the log's end {end_offset}")]
    NotNext { base_offset: i64, end_offset: i64 },
    #[error("not one whole batch: {0}")]
    NotABatch(&'static str),
    #[error(transparent)]
    Storage(#[from] Error),
}

impl AppendError {
    /// The medium's part, for callers whose own batches are never wrong.
    pub fn into_storage(self) -> Error {
        match self {
            Self::Storage(error) => error,
            refused => Error::Fenced(refused.to_string()),
        }
    }
}

impl Log {
    /// Takes in one batch, whose structure and checksum the caller has verified. When this returns, it has its
    /// offsets and its place in the order; it is neither durable nor visible. Follow up with
    /// [`Self::needs_flush`] and [`Self::durable`] in the same turn.
    pub fn append(&self, batch: &[u8], stamp: Stamp, now_ms: i64) -> Result<Appended, AppendError> {
        self.accepts()?;
        let config = self.config();
        let mut facts = Facts::of_whole(batch)?;
        let mut state = self.state.borrow_mut();
        match stamp.offsets {
            Offsets::Assign => {
                if let Some(duplicate) = state.check(&facts)? {
                    return Ok(duplicate);
                }
                facts.stamp(state.end_offset, &stamp)?;
            }
            Offsets::Keep if facts.base_offset < state.end_offset => {
                let (base_offset, end_offset) = (facts.base_offset, state.end_offset);
                return Err(AppendError::NotNext { base_offset, end_offset });
            }
            Offsets::Keep => {}
        }
        if facts.bytes > config.segment_bytes {
            return Err(AppendError::TooLarge { bytes: batch.len(), segment_bytes: config.segment_bytes });
        }
        if self.must_roll(state.active(), &facts, &config, now_ms) {
            state.roll_for(&facts, &config, now_ms);
        }
        state.put(&*self.disk, batch, &facts, &stamp);
        Ok(Appended {
            base_offset: facts.base_offset,
            last_offset: facts.last_offset,
            log_append_time: stamp.log_append_time.unwrap_or(batch::NO_TIMESTAMP),
            log_start_offset: state.start_offset,
            duplicate: false,
        })
    }

    fn accepts(&self) -> Result<(), Error> {
        if let Some(fence) = &self.state.borrow().fence {
            return Err(fence.clone());
        }
        match &*self.is_full.borrow() {
            Some(is_full) if is_full.get() => Err(Error::Full),
            _ => Ok(()),
        }
    }

    /// Kafka's conditions, in its order.
    fn must_roll(&self, active: &Segment, facts: &Facts, config: &LogConfig, now_ms: i64) -> bool {
        let open = active.open.as_ref().expect("the active segment is open");
        let is_distant = !facts.fits(active.base_offset);
        if active.bytes == 0 {
            return is_distant;
        }
        let waited_ms = if is_time(open.first_timestamp) && is_time(facts.max_timestamp) {
            facts.max_timestamp.saturating_sub(open.first_timestamp)
        } else {
            now_ms.saturating_sub(open.created_ms)
        };
        u64::from(active.bytes) + u64::from(facts.bytes)
            > u64::from(config.segment_bytes).min(SEGMENT_BYTES_MAX)
            || waited_ms > config.segment_ms.saturating_sub(self.jitter_ms(active.base_offset, config))
            || open.indexes.are_full()
            || is_distant
    }

    /// Spreads the rolls of many logs that began together; the same in every run.
    fn jitter_ms(&self, base_offset: i64, config: &LogConfig) -> i64 {
        let most = config.segment_jitter_ms.min(config.segment_ms);
        if most <= 0 {
            return 0;
        }
        let name =
            self.dir.topic.bytes().chain(self.dir.partition.to_be_bytes()).chain(base_offset.to_be_bytes());
        let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        i64::try_from((hash >> 1) % most.unsigned_abs()).expect("below an i64")
    }
}

impl State {
    /// Kafka's checks of idempotence. Some: it is in the log already.
    fn check(&self, facts: &Facts) -> Result<Option<Appended>, AppendError> {
        match &facts.writer {
            Writer::Nobody => Ok(None),
            Writer::Coordinator(marker) => match self.producers.check_marker(marker) {
                CheckMarker::Append => Ok(None),
                CheckMarker::InvalidEpoch => Err(AppendError::InvalidProducerEpoch),
                CheckMarker::CoordinatorFenced => Err(AppendError::CoordinatorFenced),
            },
            Writer::Producer(batch) => match self.producers.check(batch) {
                Check::Append => Ok(None),
                Check::OutOfOrder => Err(AppendError::OutOfOrderSequence),
                Check::InvalidEpoch => Err(AppendError::InvalidProducerEpoch),
                Check::InvalidTransactionState => Err(AppendError::InvalidTransactionState),
                Check::Duplicate { base_offset, last_offset, timestamp } => Ok(Some(Appended {
                    base_offset,
                    last_offset,
                    log_append_time: timestamp,
                    log_start_offset: self.start_offset,
                    duplicate: true,
                })),
            },
        }
    }

    fn roll_for(&mut self, facts: &Facts, config: &LogConfig, now_ms: i64) {
        let base_offset = if facts.fits(self.end_offset) { self.end_offset } else { facts.base_offset };
        self.roll(base_offset, config, now_ms);
    }

    /// The active segment takes no more; a new one follows it. It has no file before its first flush.
    pub(super) fn roll(&mut self, base_offset: i64, config: &LogConfig, now_ms: i64) {
        let is_unused = |open: &crate::segment::Open| matches!(open.on_disk, OnDisk::Nothing);
        if self.active().bytes == 0 && self.active().open.as_deref().is_some_and(is_unused) {
            self.segments.pop();
        }
        self.first_open = self.first_open.min(self.segments.len());
        let mut segment = Segment::fresh(base_offset, config, now_ms);
        // The file that says what every producer wrote last before this offset. Taken now: it goes on changing.
        segment.open.as_mut().expect("just made").snapshot = Some(self.producers.to_snapshot());
        self.segments.push(segment);
    }

    fn put(&mut self, disk: &dyn Disk, batch: &[u8], facts: &Facts, stamp: &Stamp) {
        if let Some(producer_id) = facts.writer.producer_id() {
            let before = self.producers.get(producer_id).cloned();
            self.undo.push_back(Undo { last_offset: facts.last_offset, producer_id, before });
        }
        let segment = self.segments.last_mut().expect("a log has a segment");
        let open = segment.open.as_mut().expect("the active segment is open");
        let end = open.tail.end();
        assert_eq!(end.position, segment.bytes, "content is where the tail says");
        let slot = open.tail.push(disk, batch, facts.last_offset + 1);
        if stamp.offsets == Offsets::Assign {
            batch::stamp(slot, facts.base_offset, stamp.leader_epoch, stamp.log_append_time);
        }
        facts.apply(&mut self.producers, &mut open.indexes.aborted);
        self.epochs_changed |= self.epochs.assign(facts.leader_epoch, facts.base_offset);
        segment.see(facts, end.position);
        self.end_offset = facts.last_offset + 1;
    }
}

impl Facts {
    fn of_whole(bytes: &[u8]) -> Result<Self, AppendError> {
        let batch = BatchView::parse(bytes).map_err(|error| AppendError::NotABatch(reason(&error)))?;
        if batch.batch_len() != bytes.len() {
            return Err(AppendError::NotABatch("bytes follow it"));
        }
        Self::of(&batch).ok_or(AppendError::NotABatch("its offsets are out of range"))
    }

    fn stamp(&mut self, end_offset: i64, stamp: &Stamp) -> Result<(), AppendError> {
        let delta = self.last_offset - self.base_offset;
        self.base_offset = end_offset;
        let last_offset = end_offset.checked_add(delta).filter(|last| *last < i64::MAX);
        self.last_offset = last_offset.ok_or(AppendError::NotABatch("no offsets are left"))?;
        self.leader_epoch = stamp.leader_epoch;
        self.max_timestamp = stamp.log_append_time.unwrap_or(self.max_timestamp);
        Ok(())
    }
}

fn reason(error: &BatchError) -> &'static str {
    match error {
        BatchError::TooShort => "it ends too early",
        BatchError::BadLength(_) => "no batch has this length",
        BatchError::BadMagic(_) => "its magic is not 2",
        BatchError::BadCrc { .. } => "its checksum is wrong",
    }
}
