//! Offset -> position in the segment, sparse: an entry every `index.interval.bytes` or so.
//!
//! An index that lacks entries makes reads slower, never wrong. On disk: Kafka's 8-byte entries.

use crate::format::{Damage, OFFSET_INDEX_ENTRY_BYTES as ENTRY_BYTES, number};

/// A batch: its last offset relative to the segment's base, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    relative_offset: u32,
    position: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: i64,
    entries_max: usize,
    /// Invariant: offsets and positions both increase strictly.
    entries: Vec<Entry>,
}

impl OffsetIndex {
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
                relative_offset: u32::from_be_bytes(number(entry, 0)),
                position: u32::from_be_bytes(number(entry, 4)),
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
            out.extend(entry.relative_offset.to_be_bytes());
            out.extend(entry.position.to_be_bytes());
        }
        out
    }

    /// Notes that the batch that ends with `last_offset` begins at `position`. Returns false, and
    /// notes nothing, if the index is full or the entry does not follow the last.
    pub fn append(&mut self, last_offset: i64, position: u32) -> bool {
        let Some(relative_offset) = relative(self.base_offset, last_offset) else { return false };
        let entry = Entry { relative_offset, position };
        let is_accepted = !self.is_full() && self.may_follow(entry);
        if is_accepted {
            self.entries.push(entry);
        }
        is_accepted
    }

    /// The segment has to roll before the next entry.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.entries_max
    }

    /// Where to start looking for `offset`: no batch that begins earlier holds it.
    pub fn lookup(&self, offset: i64) -> u32 {
        let target = offset.saturating_sub(self.base_offset);
        let after = self.entries.partition_point(|entry| i64::from(entry.relative_offset) <= target);
        after.checked_sub(1).map_or(0, |at| self.entries[at].position)
    }

    /// Where a batch begins that lies at least `bytes` beyond `position`, if one is known: how far
    /// to read to be sure of that many bytes.
    pub fn position_beyond(&self, position: u32, bytes: u32) -> Option<u32> {
        let wanted = position.saturating_add(bytes);
        let at = self.entries.partition_point(|entry| entry.position < wanted);
        self.entries.get(at).map(|entry| entry.position)
    }

    /// Offset and position of each entry.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (i64, u32)> {
        self.entries.iter().map(|entry| (self.base_offset + i64::from(entry.relative_offset), entry.position))
    }

    /// The last entry's offset and position.
    pub fn last(&self) -> Option<(i64, u32)> {
        let entry = self.entries.last()?;
        Some((self.base_offset + i64::from(entry.relative_offset), entry.position))
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

    fn may_follow(&self, entry: Entry) -> bool {
        let is_signed = entry.relative_offset <= i32::MAX as u32 && entry.position <= i32::MAX as u32;
        let is_offset = self.base_offset.checked_add(i64::from(entry.relative_offset)).is_some();
        is_signed
            && is_offset
            && self.entries.last().is_none_or(|last| {
                entry.relative_offset > last.relative_offset && entry.position > last.position
            })
    }
}

/// An offset as Kafka's indexes hold it; None if the segment cannot hold it.
pub(super) fn relative(base_offset: i64, offset: i64) -> Option<u32> {
    let relative = i32::try_from(offset.checked_sub(base_offset)?).ok()?;
    u32::try_from(relative).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(entries: &[(i64, u32)]) -> OffsetIndex {
        let mut index = OffsetIndex::new(100, 1024);
        for (offset, position) in entries {
            assert!(index.append(*offset, *position));
        }
        index
    }

    #[test]
    fn lookup_never_skips_the_batch_that_holds_the_offset() {
        let index = index_of(&[(110, 4096), (120, 9000)]);
        for (offset, position) in
            [(0, 0), (100, 0), (109, 0), (110, 4096), (119, 4096), (120, 9000), (i64::MAX, 9000)]
        {
            assert_eq!(index.lookup(offset), position, "{offset}");
        }
        assert_eq!(index.position_beyond(0, 4097), Some(9000));
        assert_eq!(index.position_beyond(9000, 1), None);
    }

    #[test]
    fn entries_that_do_not_follow_are_left_out() {
        let mut index = index_of(&[(110, 4096)]);
        assert!(!index.append(110, 5000) && !index.append(111, 4096) && !index.append(99, 6000));
        assert!(!index.append(101 + i64::from(i32::MAX), 6000) && !index.append(i64::MIN, 6000));
        assert!(index.append(111, 4097));
    }

    #[test]
    fn full_index_takes_no_more() {
        let mut index = OffsetIndex::new(0, 17);
        assert!(index.append(1, 1) && index.append(2, 2));
        assert!(index.is_full() && !index.append(3, 3));
    }

    #[test]
    fn truncation_forgets_the_offset_and_what_follows() {
        let mut index = index_of(&[(110, 4096), (120, 9000), (130, 9999)]);
        index.truncate(120);
        assert_eq!(index.last(), Some((110, 4096)));
        index.truncate(0);
        assert!(index.is_empty());
    }

    #[test]
    fn bytes_come_back_as_they_were_and_padding_is_left_out() {
        let index = index_of(&[(110, 4096), (120, 1 << 16)]);
        let mut bytes = index.encode();
        assert_eq!(OffsetIndex::decode(100, 1024, &bytes), Ok(index.clone()));
        bytes.resize(65536, 0);
        assert_eq!(OffsetIndex::decode(100, 1024, &bytes), Ok(index));
        assert_eq!(OffsetIndex::decode(0, 8, &[0; 80]).unwrap().len(), 0);
    }

    #[test]
    fn damaged_bytes_are_refused_with_the_place() {
        let bytes = index_of(&[(110, 4096), (120, 9000)]).encode();
        assert_eq!(OffsetIndex::decode(100, 1024, &bytes[..15]).unwrap_err().position, 15);
        let swapped = [&bytes[8..], &bytes[..8]].concat();
        assert_eq!(OffsetIndex::decode(100, 1024, &swapped).unwrap_err().position, 8);
        assert!(OffsetIndex::decode(100, 1024, &[0xff; 8]).is_err());
    }
}
