//! What of a log may go: Kafka's rules. Pure: the segments' facts, limits and the time come in, the offset where the
//! log is to start goes out.

use crate::log::SegmentInfo;

/// How much of a log is kept. None: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// A segment goes once its largest timestamp is older than this.
    pub ms: Option<i64>,
    /// The oldest segments go as long as the others still hold this much.
    pub bytes: Option<u64>,
}

/// What goes: whole segments, from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub segments: usize,
    pub bytes: u64,
    /// Where the log starts without them.
    pub start_offset: i64,
}

/// Which segments may go. The last one may, too; an empty one then says where the log goes on. Nothing goes that is
/// not durable.
pub fn due(
    segments: &[SegmentInfo],
    start_offset: i64,
    durable_offset: i64,
    limits: &Limits,
    now_ms: i64,
) -> Due {
    let is_removable = |segment: &SegmentInfo| {
        segment.next_offset <= durable_offset && !(segment.is_active && segment.bytes == 0)
    };
    let removable = segments.iter().take_while(|segment| is_removable(segment)).count();
    // Kafka: one rule after the other, each on what the one before has left.
    let mut count = below_start(&segments[..removable], start_offset);
    count += beyond_size(&segments[count..], removable - count, limits.bytes);
    count += expired(&segments[count..removable], limits.ms, now_ms);
    let gone = &segments[..count];
    Due {
        segments: count,
        bytes: gone.iter().map(|segment| u64::from(segment.bytes)).sum(),
        start_offset: gone.last().map_or(start_offset, |last| last.next_offset.max(start_offset)),
    }
}

/// DeleteRecords, or another core's word, has moved the start beyond them.
fn below_start(segments: &[SegmentInfo], start_offset: i64) -> usize {
    segments.iter().take_while(|segment| !segment.is_active && segment.next_offset <= start_offset).count()
}

fn beyond_size(segments: &[SegmentInfo], removable: usize, bytes_max: Option<u64>) -> usize {
    let Some(bytes_max) = bytes_max else { return 0 };
    let bytes: u64 = segments.iter().map(|segment| u64::from(segment.bytes)).sum();
    let mut surplus = bytes.saturating_sub(bytes_max);
    // Kafka: a log that is as large as it may be has no surplus, not even of segments without a byte.
    if surplus == 0 && bytes < bytes_max {
        return 0;
    }
    let goes = |segment: &&SegmentInfo| match surplus.checked_sub(segment.bytes.into()) {
        Some(left) => {
            surplus = left;
            true
        }
        None => false,
    };
    segments[..removable].iter().take_while(goes).count()
}

/// A timestamp in the future keeps its segment, and all that follow, until it has passed.
fn expired(segments: &[SegmentInfo], ms_max: Option<i64>, now_ms: i64) -> usize {
    let Some(ms_max) = ms_max else { return 0 };
    let is_old = |segment: &&SegmentInfo| now_ms.saturating_sub(segment.max_timestamp) > ms_max;
    segments.iter().take_while(is_old).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of ten offsets, given as bytes and largest timestamp; the last is active.
    fn segments(facts: &[(u32, i64)]) -> Vec<SegmentInfo> {
        let info = |(at, (bytes, max_timestamp)): (usize, &(u32, i64))| SegmentInfo {
            base_offset: at as i64 * 10,
            next_offset: at as i64 * 10 + 10,
            bytes: *bytes,
            max_timestamp: *max_timestamp,
            is_active: at + 1 == facts.len(),
        };
        facts.iter().enumerate().map(info).collect()
    }

    fn start(facts: &[(u32, i64)], limits: Limits, now_ms: i64) -> i64 {
        due(&segments(facts), 0, i64::MAX, &limits, now_ms).start_offset
    }

    const FOREVER: Limits = Limits { ms: None, bytes: None };

    #[test]
    fn segments_go_by_their_largest_timestamp_and_in_order() {
        let limits = Limits { ms: Some(100), ..FOREVER };
        let facts = [(1, 1000), (1, 1050), (1, 900), (1, 2000)];
        assert_eq!(start(&facts, limits, 1100), 0);
        assert_eq!(start(&facts, limits, 1101), 10);
        assert_eq!(start(&facts, limits, 1151), 30, "one that is older goes with it");
        assert_eq!(start(&facts, limits, 2101), 40, "the last one, too");
        assert_eq!(start(&facts, FOREVER, i64::MAX), 0);
        assert_eq!(start(&facts, Limits { ms: Some(0), ..FOREVER }, 1001), 10);
    }

    #[test]
    fn timestamp_in_the_future_keeps_what_follows() {
        let limits = Limits { ms: Some(100), ..FOREVER };
        assert_eq!(start(&[(1, 1000), (1, 9000), (1, 1000)], limits, 2000), 10);
    }

    #[test]
    fn size_counts_whole_segments_and_never_leaves_too_little() {
        let limits = |bytes| Limits { bytes: Some(bytes), ..FOREVER };
        let facts = [(100, 0), (100, 0), (100, 0), (50, 0)];
        for (bytes, expected) in
            [(1000, 0), (350, 0), (251, 0), (250, 10), (150, 20), (50, 30), (49, 30), (0, 40)]
        {
            assert_eq!(start(&facts, limits(bytes), 0), expected, "{bytes}");
        }
    }

    #[test]
    fn time_looks_at_what_size_has_left() {
        let limits = Limits { ms: Some(10), bytes: Some(200) };
        let facts = [(100, 5000), (100, 0), (100, 5000)];
        assert_eq!(start(&facts, limits, 1000), 20);
    }

    #[test]
    fn empty_active_segment_and_what_is_not_durable_stay() {
        let limits = Limits { ms: Some(0), bytes: Some(0) };
        assert_eq!(start(&[(100, 0), (0, -1)], limits, 1000), 10);
        let facts = segments(&[(100, 0), (100, 0), (100, 0)]);
        assert_eq!(due(&facts, 0, 19, &limits, 1000), Due { segments: 1, bytes: 100, start_offset: 10 });
        assert_eq!(due(&facts, 0, 9, &limits, 1000), Due { segments: 0, bytes: 0, start_offset: 0 });
    }

    #[test]
    fn segments_below_the_start_go_whatever_the_limits() {
        let facts = segments(&[(100, 0), (100, 0), (100, 0)]);
        assert_eq!(due(&facts, 25, 30, &FOREVER, 0), Due { segments: 2, bytes: 200, start_offset: 25 });
        assert_eq!(due(&facts, 30, 30, &FOREVER, 0).segments, 2, "the active one is for the other rules");
    }
}
