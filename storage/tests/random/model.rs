//! What the log should hold.
#![allow(clippy::unwrap_used, reason = "part of tests")]

use std::collections::BTreeMap;

/// A batch that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    pub(crate) next_offset: i64,
    /// As the leader stamped it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) timestamp: i64,
    pub(crate) producer: Option<Sent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
}

#[derive(Default)]
pub(crate) struct Model {
    /// All there ever was and still counts, from offset 0 on, without gaps.
    pub(crate) batches: Vec<Batch>,
    /// Everything below was acknowledged, or seen by a reader.
    pub(crate) acked: i64,
    pub(crate) start: i64,
    /// Appended, never acknowledged, and no longer counted on; a crash may bring it back.
    pub(crate) lost: Vec<Batch>,
}

impl Model {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.next_offset)
    }

    /// The log took back what it had no room for.
    pub(crate) fn shrink_to(&mut self, end: i64) {
        while self.end() > end {
            let batch = self.batches.pop().expect("there is one");
            assert!(batch.base_offset >= self.acked, "acknowledged, and taken back: {batch:?}");
            self.lost.push(batch);
        }
        assert_eq!(self.end(), end);
    }

    /// What a log holds that was just recovered; `found` begins at its start.
    pub(crate) fn adopt(&mut self, start: i64, found: &[(i64, Vec<u8>)], end: i64) {
        assert!(end >= self.acked, "acknowledged up to {}, recovered up to {end}", self.acked);
        assert!(start <= self.start.max(end), "the start moved on by itself");
        let known: BTreeMap<i64, Vec<&Batch>> = self.batches.iter().chain(&self.lost).fold(
            BTreeMap::new(),
            |mut known: BTreeMap<i64, Vec<&Batch>>, batch| {
                known.entry(batch.base_offset).or_default().push(batch);
                known
            },
        );
        let below = self.batches.partition_point(|batch| batch.next_offset <= start);
        let mut batches: Vec<Batch> = self.batches[..below].to_vec();
        let mut next = batches.last().map_or(0, |batch| batch.next_offset);
        for (base_offset, bytes) in found {
            assert_eq!(*base_offset, next, "a gap");
            let candidates = known.get(base_offset).map_or(&[][..], |known| known);
            let batch = candidates.iter().find(|batch| batch.bytes == *bytes);
            let batch = batch.unwrap_or_else(|| panic!("nobody appended what is at {base_offset}"));
            if *base_offset < self.acked {
                let acked = self.batches.iter().find(|batch| batch.base_offset == *base_offset);
                assert_eq!(acked.map(|acked| &acked.bytes), Some(bytes), "another batch was acknowledged");
            }
            next = batch.next_offset;
            batches.push((*batch).clone());
        }
        assert_eq!(next, end, "what is there is readable");
        self.batches = batches;
        self.lost.clear();
        self.acked = end;
        self.start = start;
    }

    pub(crate) fn last_of(&self, producer_id: i64) -> Option<&Batch> {
        self.batches.iter().rev().find(|batch| batch.producer.is_some_and(|sent| sent.id == producer_id))
    }

    /// The first durable record as late as `timestamp`: records are a millisecond apart within a batch.
    pub(crate) fn first_as_late_as(&self, timestamp: i64, end: i64) -> Option<(i64, i64)> {
        let live = self.batches.iter().filter(|batch| batch.next_offset <= end);
        live.flat_map(|batch| {
            (batch.base_offset..batch.next_offset)
                .map(|offset| (batch.timestamp + offset - batch.base_offset, offset))
        })
        .find(|(time, offset)| *offset >= self.start && *time >= timestamp)
    }
}
