//! Timestamp -> offset, sparse: from which offset on a timestamp that large was seen.
//!
//! On disk: Kafka's 12-byte entries, timestamps strictly increasing. The last entry of a sealed segment is its largest timestamp.

use super::offset_index::relative;
use crate::format::{Damage, TIME_INDEX_ENTRY_BYTES as ENTRY_BYTES, number};

/// The largest timestamp so far and the offset of the batch that had it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    timestamp: i64,
    relative_offset: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: i64,
    entries_max: usize,
    /// Invariant: timestamps increase strictly, offsets do not decrease.
    entries: Vec<Entry>,
}

impl TimeIndex {
    /// An empty index of at most `segment_index_bytes` on disk.
    pub fn new(base_offset: i64, segment_index_bytes: usize) -> Self {
        Self { base_offset, entries_max: segment_index_bytes / ENTRY_BYTES, entries: Vec::new() }
    }

    /// Reads Kafka's form. The zeros of a preallocated file that was never trimmed are left out.
    pub fn decode(base_offset: i64, segment_index_bytes: usize, bytes: &[u8]) -> Result<Self, Damage> {
        let mut index = Self::new(base_offset, segment_index_bytes);
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[..used.next_multiple_of(ENTRY_BYTES).min(bytes.len())];
        if !bytes.len().is_multiple_of(ENTRY_BYTES) {
            return Err(Damage::new(bytes.len(), "a part of an index entry"));
        }
        index.entries.reserve_exact(bytes.len() / ENTRY_BYTES);
        for (count, entry) in bytes.chunks_exact(ENTRY_BYTES).enumerate() {
            let entry = Entry {
                timestamp: i64::from_be_bytes(number(entry, 0)),
                relative_offset: u32::from_be_bytes(number(entry, 8)),
            };
            if !index.may_follow(entry) {
                let found = format!("index entry {entry:?} does not follow the one before");
                return Err(Damage::new(count * ENTRY_BYTES, found));
            }
            index.entries.push(entry);
        }
        Ok(index)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            out.extend(entry.timestamp.to_be_bytes());
            out.extend(entry.relative_offset.to_be_bytes());
        }
        out
    }

    /// Notes the largest timestamp so far, together with an entry of the offset index. Returns
    /// false, and notes nothing, if it is not larger than the last or the index is full.
    pub fn append(&mut self, timestamp: i64, offset: i64) -> bool {
        !self.is_full() && self.append_last(timestamp, offset)
    }

    /// As [`Self::append`], when the segment is sealed: there is always room for this one.
    pub fn append_last(&mut self, timestamp: i64, offset: i64) -> bool {
        let Some(relative_offset) = relative(self.base_offset, offset) else { return false };
        let entry = Entry { timestamp, relative_offset };
        let is_accepted = self.entries.len() < self.entries_max && self.may_follow(entry);
        if is_accepted {
            self.entries.push(entry);
        }
        is_accepted
    }

    /// The segment has to roll before the next entry. One place is kept for the last.
    pub fn is_full(&self) -> bool {
        self.entries.len() + 1 >= self.entries_max
    }

    /// The offset from which to look for the first record as late as `timestamp`: all before it are
    /// earlier.
    pub fn lookup(&self, timestamp: i64) -> i64 {
        // Only a strictly smaller maximum proves that nothing up to its entry is late enough.
        let after = self.entries.partition_point(|entry| entry.timestamp < timestamp);
        after.checked_sub(1).map_or(self.base_offset, |at| self.offset(self.entries[at]))
    }

    /// Timestamp and offset of each entry.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (i64, i64)> {
        self.entries.iter().map(|entry| (entry.timestamp, self.offset(*entry)))
    }

    /// The last entry's timestamp and offset: the segment's largest timestamp once it is sealed.
    pub fn last(&self) -> Option<(i64, i64)> {
        let entry = self.entries.last()?;
        Some((entry.timestamp, self.offset(*entry)))
    }

    /// Forgets entries at `offset` and above.
    pub fn truncate(&mut self, offset: i64) {
        let target = offset.saturating_sub(self.base_offset);
        let kept = self.entries.partition_point(|entry| i64::from(entry.relative_offset) < target);
        self.entries.truncate(kept);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives back spare memory: when the segment is sealed.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    fn offset(&self, entry: Entry) -> i64 {
        self.base_offset + i64::from(entry.relative_offset)
    }

    fn may_follow(&self, entry: Entry) -> bool {
        // Kafka: -1 stands for "no timestamp" and is never an entry.
        let last =
            self.entries.last().map_or((NO_TIMESTAMP, 0), |last| (last.timestamp, last.relative_offset));
        entry.timestamp > last.0
            && entry.relative_offset >= last.1
            && entry.relative_offset <= i32::MAX as u32
            && self.base_offset.checked_add(i64::from(entry.relative_offset)).is_some()
    }
}

const NO_TIMESTAMP: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(entries: &[(i64, i64)]) -> TimeIndex {
        let mut index = TimeIndex::new(100, 1024);
        for (timestamp, offset) in entries {
            assert!(index.append(*timestamp, *offset));
        }
        index
    }

    #[test]
    fn lookup_never_skips_a_record_that_is_late_enough() {
        let index = index_of(&[(1000, 110), (2000, 110), (3000, 130)]);
        for (timestamp, offset) in [(0, 100), (1000, 100), (1001, 110), (2000, 110), (2001, 110), (3001, 130)]
        {
            assert_eq!(index.lookup(timestamp), offset, "{timestamp}");
        }
    }

    #[test]
    fn only_larger_timestamps_are_noted() {
        let mut index = index_of(&[(1000, 110)]);
        assert!(!index.append(1000, 120) && !index.append(999, 120) && !index.append(1001, 109));
        assert!(!TimeIndex::new(0, 1024).append(-1, 5), "no timestamp");
        assert!(index.append(1001, 110));
    }

    #[test]
    fn one_place_is_kept_for_the_last_entry() {
        let mut index = TimeIndex::new(0, 3 * 12 + 5);
        assert!(index.append(1, 1) && index.append(2, 2));
        assert!(index.is_full() && !index.append(3, 3));
        assert!(index.append_last(3, 3) && !index.append_last(4, 4));
        assert_eq!(index.last(), Some((3, 3)));
    }

    #[test]
    fn truncation_forgets_the_offset_and_what_follows() {
        let mut index = index_of(&[(1000, 110), (2000, 110), (3000, 130)]);
        index.truncate(130);
        assert_eq!(index.last(), Some((2000, 110)));
        index.truncate(110);
        assert!(index.is_empty());
    }

    #[test]
    fn bytes_come_back_as_they_were_and_padding_is_left_out() {
        let index = index_of(&[(1000, 110), (2000, 0x100 + 100)]);
        let mut bytes = index.encode();
        assert_eq!(TimeIndex::decode(100, 1024, &bytes), Ok(index.clone()));
        bytes.resize(65532, 0);
        assert_eq!(TimeIndex::decode(100, 1024, &bytes), Ok(index));
    }

    #[test]
    fn damaged_bytes_are_refused_with_the_place() {
        let bytes = index_of(&[(1000, 110), (2000, 120)]).encode();
        assert_eq!(TimeIndex::decode(100, 1024, &bytes[..23]).unwrap_err().position, 23);
        let swapped = [&bytes[12..], &bytes[..12]].concat();
        assert_eq!(TimeIndex::decode(100, 1024, &swapped).unwrap_err().position, 12);
        assert!(TimeIndex::decode(100, 1024, &[0xff; 12]).is_err());
    }
}
