//! Compaction: of each key the newest record stays, offsets and order stay, and what is left fills fewer segments.
//!
//! Pure here: whether a log is worth it and how far it may go (this file), the newest offset of each key
//! (`key_offsets.rs`), what became of transactions (`transactions.rs`), what is left of a batch (`rewrite.rs`), and a
//! segment in the making (`made.rs`). `log/compact.rs` reads, writes and puts the new segments in place of the old.
//!
//! A log has a clean part, which earlier compactions went through, and a dirty one behind it. One compaction gathers
//! the keys of the dirty part, or as much of it as the memory for keys takes, and then goes through all of the log up
//! to there.

pub(crate) mod key_offsets;
pub(crate) mod made;
pub(crate) mod rewrite;
pub(crate) mod transactions;

use std::ops::Range;
use std::rc::Rc;

use crate::disk::LocalFuture;
use crate::log::SegmentInfo;

/// What a log says of itself to whoever decides whether to compact it.
#[derive(Clone, Debug)]
pub struct Facts {
    pub segments: Vec<SegmentInfo>,
    pub start_offset: i64,
    /// Transactions are decided, and all is durable, below it.
    pub stable_offset: i64,
}

/// What there is to do in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleanable {
    /// Where the dirty part begins.
    pub first_dirty: i64,
    /// Nothing from here on is touched. The beginning of a segment.
    pub end: i64,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
}

impl Cleanable {
    /// `checkpoint` is where the last compaction ended.
    pub fn of(facts: &Facts, checkpoint: i64, min_lag_ms: i64, now_ms: i64) -> Self {
        let Some(first) = facts.segments.first() else { return Self::default() };
        let log_end = facts.segments.last().map_or(0, |last| last.next_offset);
        // Kafka: a checkpoint of what is no longer there counts for nothing.
        let is_usable = (facts.start_offset..=log_end).contains(&checkpoint);
        let first_dirty = if is_usable { checkpoint } else { facts.start_offset.max(first.base_offset) };
        let is_too_young = |segment: &SegmentInfo| {
            min_lag_ms > 0
                && segment.next_offset > first_dirty
                && segment.max_timestamp > now_ms.saturating_sub(min_lag_ms)
        };
        let is_out_of_reach = |segment: &&SegmentInfo| {
            segment.is_active || segment.next_offset > facts.stable_offset || is_too_young(segment)
        };
        let end = facts.segments.iter().find(is_out_of_reach).map_or(log_end, |segment| segment.base_offset);
        let bytes = |offsets: Range<i64>| {
            let inside = facts.segments.iter().filter(|segment| offsets.contains(&segment.base_offset));
            inside.map(|segment| u64::from(segment.bytes)).sum()
        };
        // The segment in which the clean part ends counts as dirty.
        let border = facts.segments.iter().rfind(|segment| segment.base_offset <= first_dirty);
        let border = border.map_or(first.base_offset, |segment| segment.base_offset);
        Self {
            first_dirty,
            end,
            clean_bytes: bytes(i64::MIN..border),
            dirty_bytes: bytes(border..end.max(border)),
        }
    }

    pub fn is_any(&self) -> bool {
        self.dirty_bytes > 0 && self.end > self.first_dirty
    }

    /// The dirty part's share of what could be cleaned.
    pub fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            all => self.dirty_bytes as f64 / all as f64,
        }
    }
}

/// One compaction of one log.
#[derive(Clone, Debug)]
pub struct Task {
    pub cleanable: Cleanable,
    pub delete_retention_ms: i64,
    pub now_ms: i64,
    /// Memory for keys, and how full it may become.
    pub key_bytes_max: usize,
    pub key_load: f64,
    /// Of this run of the process, and known to nobody else.
    pub secret: [u64; 2],
}

/// Computing that takes long.
pub type Job = Box<dyn FnOnce() + Send>;

/// What compaction needs of its caller, so as not to be in anybody's way.
#[derive(Clone)]
pub struct Means {
    /// Does a job of up to some milliseconds where it holds up nobody.
    pub offload: Rc<dyn Fn(Job) -> LocalFuture<'static, ()>>,
    /// Called after so many bytes were read or written: others get their turn, and a limit of bytes a second is kept.
    pub pause: Rc<dyn Fn(u64) -> LocalFuture<'static, ()>>,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Where the dirty part begins now.
    pub first_dirty: i64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub records_read: u64,
    pub records_kept: u64,
    /// What the cleaned segments were, and are.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) base_offset: i64,
    pub(crate) bytes: u32,
    pub(crate) next_offset: i64,
}

/// Neighbours that become one segment: no larger than a segment may be, and within reach of its index.
pub(crate) fn groups(sources: &[Source], segment_bytes: u32) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, source) in sources.iter().enumerate() {
        let joins = groups.last().is_some_and(|group| {
            bytes + u64::from(source.bytes) <= u64::from(segment_bytes)
                && source.next_offset - 1 - sources[group.start].base_offset <= i64::from(i32::MAX)
        });
        match groups.last_mut().filter(|_| joins) {
            Some(group) => {
                group.end = at + 1;
                bytes += u64::from(source.bytes);
            }
            None => {
                groups.push(at..at + 1);
                bytes = source.bytes.into();
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of a hundred offsets and bytes, the last one active.
    fn facts(max_timestamps: &[i64]) -> Facts {
        let info = |(at, max_timestamp): (usize, &i64)| SegmentInfo {
            base_offset: at as i64 * 100,
            next_offset: at as i64 * 100 + 100,
            bytes: 100,
            max_timestamp: *max_timestamp,
            is_active: at + 1 == max_timestamps.len(),
        };
        let segments: Vec<SegmentInfo> = max_timestamps.iter().enumerate().map(info).collect();
        Facts { segments, start_offset: 0, stable_offset: i64::MAX }
    }

    fn cleanable(facts: &Facts, checkpoint: i64, min_lag_ms: i64) -> (i64, i64, u64, u64) {
        let Cleanable { first_dirty, end, clean_bytes, dirty_bytes } =
            Cleanable::of(facts, checkpoint, min_lag_ms, 1000);
        (first_dirty, end, clean_bytes, dirty_bytes)
    }

    #[test]
    fn active_segment_and_what_is_undecided_are_out_of_reach() {
        let mut log = facts(&[0, 0, 0, 0]);
        assert_eq!(cleanable(&log, 0, 0), (0, 300, 0, 300));
        assert_eq!(cleanable(&log, 200, 0), (200, 300, 200, 100));
        log.stable_offset = 250;
        assert_eq!(cleanable(&log, 100, 0), (100, 200, 100, 100));
        log.stable_offset = 20;
        assert!(!Cleanable::of(&log, 0, 0, 0).is_any());
        assert_eq!(cleanable(&log, 200, 0), (200, 0, 200, 0));
    }

    #[test]
    fn segment_in_which_the_clean_part_ends_is_dirty() {
        assert_eq!(cleanable(&facts(&[0, 0, 0, 0]), 150, 0), (150, 300, 100, 200));
        assert_eq!(Cleanable::of(&facts(&[0, 0, 0, 0]), 150, 0, 0).dirty_ratio(), 2.0 / 3.0);
    }

    #[test]
    fn checkpoint_outside_the_log_counts_for_nothing() {
        let mut log = facts(&[0, 0, 0]);
        assert_eq!(cleanable(&log, 301, 0).0, 0);
        log.start_offset = 120;
        assert_eq!(cleanable(&log, 100, 0), (120, 200, 100, 100));
    }

    #[test]
    fn young_segments_wait_once_they_are_dirty() {
        let log = facts(&[100, 990, 100, 0]);
        assert_eq!(cleanable(&log, 0, 10).1, 300);
        assert_eq!(cleanable(&log, 0, 11).1, 100);
        assert_eq!(cleanable(&log, 200, 11).1, 300);
        assert_eq!(Cleanable::of(&Facts { segments: Vec::new(), ..log }, 7, 0, 0), Cleanable::default());
    }

    #[test]
    fn neighbours_share_a_segment_while_they_fit() {
        let bounds = |sources: &[Source], bytes| -> Vec<(usize, usize)> {
            groups(sources, bytes).into_iter().map(|group| (group.start, group.end)).collect()
        };
        let source = |base_offset, bytes, next_offset| Source { base_offset, bytes, next_offset };
        let sources = [source(0, 40, 10), source(10, 40, 20), source(20, 40, 30), source(30, 200, 40)];
        assert_eq!(bounds(&sources, 100), [(0, 2), (2, 3), (3, 4)]);
        assert_eq!(bounds(&sources, 1000), [(0, 4)]);
        let distant = [source(0, 1, 10), source(10, 1, 1 << 31), source(1 << 31, 1, 1 << 32)];
        assert_eq!(bounds(&distant, 100), [(0, 2), (2, 3)]);
        assert_eq!(bounds(&[], 100), []);
    }
}
