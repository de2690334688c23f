//! One segment of a log: its files, their indexes, and while it is not sealed its unwritten end.
//!
//! A segment is *open* from its first batch until all of it is durable, its indexes are written and its
//! file is cut to size; then it is *sealed* and never changes again. Only the last segment takes batches.

pub mod aborted_index;
pub mod offset_index;
pub(crate) mod reader;
pub mod time_index;
mod unsettled;
pub(crate) mod writer;

use std::ops::Range;
use std::rc::Rc;

use protocol::records::batch::NO_TIMESTAMP;

use self::aborted_index::AbortedIndex;
use self::offset_index::OffsetIndex;
use self::time_index::TimeIndex;
use self::unsettled::Unsettled;
use self::writer::{Place, Tail};
use crate::config::LogConfig;
use crate::disk::{BLOCK_BYTES, File};
use crate::facts::Facts;
use crate::format::{OFFSET_INDEX_ENTRY_BYTES, SEGMENT_BYTES_MAX, TIME_INDEX_ENTRY_BYTES, number};

pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    /// Content, written or not. The file may be longer while the segment is open.
    pub(crate) bytes: u32,
    pub(crate) latest: Latest,
    /// Of a sealed segment, once somebody asked.
    pub(crate) aborted: Option<Rc<AbortedIndex>>,
    /// None once sealed.
    pub(crate) open: Option<Box<Open>>,
}

impl Segment {
    pub(crate) fn sealed(base_offset: i64, bytes: u32, latest: Latest) -> Self {
        Self { base_offset, bytes, latest, aborted: None, open: None }
    }
}

/// The largest timestamp and the last offset of the first batch that has it. Kafka's indexes hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latest {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

impl Latest {
    pub(crate) const NONE: Self = Self { timestamp: NO_TIMESTAMP, offset: -1 };

    pub(crate) fn see(&mut self, batch: &Facts) {
        if batch.max_timestamp > self.timestamp {
            *self = Self { timestamp: batch.max_timestamp, offset: batch.last_offset };
        }
    }
}

/// What only a segment that still changes needs.
pub(crate) struct Open {
    pub(crate) tail: Tail,
    pub(crate) indexes: Indexes,
    /// What readers may see, and where a failed append goes back to.
    pub(crate) durable: Mark,
    /// What a power cut leaves in the file. Behind `durable` if appends do not wait for the device's flush, or if a commit
    /// log has the rest.
    pub(crate) synced: Mark,
    /// What lies between the two, if it is in a commit log.
    pub(crate) unsettled: Unsettled,
    /// The first batch's, for rolling by time; -1 before it is known.
    pub(crate) first_timestamp: i64,
    pub(crate) created_ms: i64,
    pub(crate) on_disk: OnDisk,
    pub(crate) room: Room,
    /// The snapshot file that belongs to the base offset; written when the segment before is sealed.
    pub(crate) snapshot: Option<Vec<u8>>,
    /// Content that the index files on disk cover.
    pub(crate) indexed_bytes: u32,
    /// Aborted transactions that are in their file.
    pub(crate) aborted_saved: usize,
    /// The indexes may lack entries before this place: it was not read when the log was recovered.
    pub(crate) gap: Option<Place>,
}

/// How much of what the disk holds is in use.
pub(crate) enum OnDisk {
    /// No file yet.
    Nothing,
    /// A file that was not touched since the log was opened.
    Untouched,
    /// Its file is open; its last block and its indexes are in memory.
    Ready(Rc<dyn File>),
}

impl OnDisk {
    pub(crate) fn file(&self) -> Option<Rc<dyn File>> {
        match self {
            Self::Ready(file) => Some(Rc::clone(file)),
            _ => None,
        }
    }
}

/// A point in the segment up to which everything is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) end: Place,
    pub(crate) latest: Latest,
}

/// How much of the file was written with zeros ahead of its content, and what is being done about it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Zeros are durable from the content to here.
    pub(crate) prepared: u64,
    /// How much to add next. Doubles each time.
    pub(crate) step: u64,
    /// Blocks being zeroed right now: no flight may touch them meanwhile.
    pub(crate) zeroing: Option<Range<u64>>,
    /// The filesystem refused; not asked again before something was written.
    pub(crate) is_refused: bool,
    pub(crate) flights: u32,
}

#[derive(Clone)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    pub(crate) aborted: AbortedIndex,
    pub(crate) interval_bytes: u32,
    /// Content since the last entry.
    pub(crate) unindexed: u32,
}

impl Indexes {
    pub(crate) fn new(base_offset: i64, config: &LogConfig) -> Self {
        let bytes = config.segment_index_bytes as usize;
        Self {
            offsets: OffsetIndex::new(base_offset, bytes),
            times: TimeIndex::new(base_offset, bytes),
            aborted: AbortedIndex::default(),
            interval_bytes: config.index_interval_bytes,
            unindexed: 0,
        }
    }

    /// Notes the batch at `position`. `latest` has seen it already, as in Kafka.
    pub(crate) fn see(&mut self, batch: &Facts, position: u32, latest: Latest) {
        if self.unindexed > self.interval_bytes {
            self.offsets.append(batch.last_offset, position);
            self.times.append(latest.timestamp, latest.offset);
            self.unindexed = 0;
        }
        self.unindexed = self.unindexed.saturating_add(batch.bytes);
    }

    /// Takes over what is on disk, and puts behind it what was noted meanwhile.
    pub(crate) fn go_on_from(&mut self, mut loaded: Self, base_offset: i64, config: &LogConfig) {
        let bytes = config.segment_index_bytes as usize;
        let offsets = [loaded.offsets.encode(), self.offsets.encode()].concat();
        let times = [loaded.times.encode(), self.times.encode()].concat();
        // Entries that do not follow are left out: an index that lacks some makes reads slower, never wrong.
        if let Ok(offsets) = OffsetIndex::decode(base_offset, bytes, &offsets) {
            loaded.offsets = offsets;
        }
        if let Ok(times) = TimeIndex::decode(base_offset, bytes, &times) {
            loaded.times = times;
        }
        for transaction in self.aborted.entries() {
            loaded.aborted.append(*transaction);
        }
        *self = Self { unindexed: self.unindexed, ..loaded };
    }

    /// The same, without what lies before `place`.
    pub(crate) fn from(&self, place: Place, base_offset: i64, config: &LogConfig) -> Self {
        let bytes = config.segment_index_bytes as usize;
        let relative = place.offset - base_offset;
        let field = |entry: &[u8], at| i64::from(u32::from_be_bytes(number(entry, at)));
        let offsets = kept(&self.offsets.encode(), OFFSET_INDEX_ENTRY_BYTES, |entry| {
            field(entry, 4) >= i64::from(place.position)
        });
        let times = kept(&self.times.encode(), TIME_INDEX_ENTRY_BYTES, |entry| field(entry, 8) >= relative);
        let mut rest = Self::new(base_offset, config);
        // A part of an index is one.
        rest.offsets = OffsetIndex::decode(base_offset, bytes, &offsets).unwrap_or(rest.offsets);
        rest.times = TimeIndex::decode(base_offset, bytes, &times).unwrap_or(rest.times);
        rest.unindexed = self.unindexed;
        rest
    }

    pub(crate) fn are_full(&self) -> bool {
        self.offsets.is_full() || self.times.is_full()
    }

    pub(crate) fn truncate(&mut self, offset: i64) {
        self.offsets.truncate(offset);
        self.times.truncate(offset);
        self.aborted.truncate(offset);
    }
}

impl Segment {
    /// A segment without a batch or a file.
    pub(crate) fn fresh(base_offset: i64, config: &LogConfig, now_ms: i64) -> Self {
        let begin = Place { position: 0, offset: base_offset };
        let open = Open {
            tail: Tail::new(base_offset, begin),
            indexes: Indexes::new(base_offset, config),
            durable: Mark { end: begin, latest: Latest::NONE },
            synced: Mark { end: begin, latest: Latest::NONE },
            unsettled: Unsettled::default(),
            first_timestamp: NO_TIMESTAMP,
            created_ms: now_ms,
            on_disk: OnDisk::Nothing,
            room: Room::default(),
            snapshot: None,
            indexed_bytes: 0,
            aborted_saved: 0,
            gap: None,
        };
        Self { open: Some(Box::new(open)), ..Self::sealed(base_offset, 0, Latest::NONE) }
    }

    /// Content that readers may see.
    pub(crate) fn durable_bytes(&self) -> u32 {
        self.open.as_ref().map_or(self.bytes, |open| open.durable.end.position)
    }

    /// Content that is in the file, and that readers may see.
    pub(crate) fn written_bytes(&self) -> u32 {
        self.open.as_ref().map_or(self.bytes, |open| match open.unsettled.is_empty() {
            true => open.durable.end.position,
            false => open.synced.end.position,
        })
    }

    /// Takes in a batch that was just put at `position`.
    pub(crate) fn see(&mut self, batch: &Facts, position: u32) {
        self.latest.see(batch);
        self.bytes = position + batch.bytes;
        if let Some(open) = &mut self.open {
            if open.first_timestamp == NO_TIMESTAMP {
                open.first_timestamp = batch.max_timestamp;
            }
            open.indexes.see(batch, position, self.latest);
            open.tail.set_latest(self.latest);
        }
    }

    /// Everything up to `end` was written, and if `is_synced` it is on stable storage.
    pub(crate) fn landed(&mut self, end: Place, latest: Latest, is_synced: bool) {
        if let Some(open) = &mut self.open {
            open.durable = Mark { end, latest };
            if is_synced {
                open.synced = open.durable;
            }
            open.room.flights = open.room.flights.saturating_add(1);
            open.room.is_refused = false;
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.tail.is_dirty())
    }

    /// Gives back the memory of what will never be written.
    pub(crate) fn drop_pending(&mut self) {
        if let Some(open) = &mut self.open {
            open.tail.roll_back(open.durable.end);
        }
    }

    /// Forgets what is not durable.
    pub(crate) fn roll_back(&mut self) {
        let Some(open) = &mut self.open else { return };
        let mark = open.durable;
        open.tail.roll_back(mark.end);
        open.indexes.truncate(mark.end.offset);
        if mark.end.position == 0 {
            open.first_timestamp = NO_TIMESTAMP;
        }
        // The file is cut there, and zeros ahead of it are gone too.
        open.room.prepared = 0;
        self.bytes = mark.end.position;
        self.latest = mark.latest;
    }

    /// Whether zeros should be written ahead of the content.
    pub(crate) fn wants_room(&self, config: &LogConfig) -> bool {
        let Some(open) = &self.open else { return false };
        let room = &open.room;
        let is_used = room.flights >= FLIGHTS_BEFORE_ROOM && matches!(open.on_disk, OnDisk::Ready(_));
        let step = room.step.max(ROOM_BYTES_MIN);
        is_used
            && !room.is_refused
            && room.prepared < room_max(config)
            && u64::from(self.bytes) + step / 2 > room.prepared
    }
}

fn kept(encoded: &[u8], entry_bytes: usize, is_kept: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    encoded.chunks_exact(entry_bytes).filter(|entry| is_kept(entry)).flatten().copied().collect()
}

/// No zeros beyond what the segment may hold before it rolls.
pub(crate) fn room_max(config: &LogConfig) -> u64 {
    u64::from(config.segment_bytes).min(SEGMENT_BYTES_MAX).next_multiple_of(BLOCK_BYTES as u64)
}

pub(crate) const ROOM_BYTES_MIN: u64 = 64 << 10;
pub(crate) const ROOM_BYTES_MAX: u64 = 8 << 20;
/// A log that was written to once or twice may never be again.
const FLIGHTS_BEFORE_ROOM: u32 = 2;
