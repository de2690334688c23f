//! Aborted transactions of a segment, for readers of committed records. Kafka's `.txnindex`, 34-byte entries.

use crate::format::{ABORTED_INDEX_ENTRY_BYTES as ENTRY_BYTES, ABORTED_INDEX_VERSION, Damage, number};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the abort marker.
    pub last_offset: i64,
    /// The last stable offset once the marker was written: nothing below it was undecided.
    pub last_stable_offset: i64,
}

/// In the order in which the transactions ended. Empty, it owns no memory: most segments have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortedIndex {
    /// Invariant: last offsets increase strictly.
    entries: Vec<AbortedTransaction>,
}

impl AbortedIndex {
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        if !bytes.len().is_multiple_of(ENTRY_BYTES) {
            let whole = bytes.len() - bytes.len() % ENTRY_BYTES;
            return Err(Damage::new(whole, "a part of an aborted transaction"));
        }
        let mut index = Self { entries: Vec::with_capacity(bytes.len() / ENTRY_BYTES) };
        for (count, entry) in bytes.chunks_exact(ENTRY_BYTES).enumerate() {
            let version = i16::from_be_bytes(number(entry, 0));
            if version != ABORTED_INDEX_VERSION {
                return Err(Damage::new(
                    count * ENTRY_BYTES,
                    format!("version {version} of an aborted transaction"),
                ));
            }
            let field = |at| i64::from_be_bytes(number(entry, at));
            let transaction = AbortedTransaction {
                producer_id: field(2),
                first_offset: field(10),
                last_offset: field(18),
                last_stable_offset: field(26),
            };
            if !index.append(transaction) {
                let found = format!("{transaction:?} does not follow the one before");
                return Err(Damage::new(count * ENTRY_BYTES, found));
            }
        }
        Ok(index)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            out.extend(ABORTED_INDEX_VERSION.to_be_bytes());
            for field in [entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset]
            {
                out.extend(field.to_be_bytes());
            }
        }
        out
    }

    /// Returns false, and notes nothing, if it does not end after the last one.
    pub fn append(&mut self, transaction: AbortedTransaction) -> bool {
        let follows = self.entries.last().is_none_or(|last| transaction.last_offset > last.last_offset);
        let is_accepted = follows && (0..=transaction.last_offset).contains(&transaction.first_offset);
        if is_accepted {
            self.entries.push(transaction);
        }
        is_accepted
    }

    /// Adds the transactions that touch `[from, before)` to `found`. Returns true if no later
    /// segment can hold another.
    pub fn collect(&self, from: i64, before: i64, found: &mut Vec<AbortedTransaction>) -> bool {
        for entry in &self.entries {
            if entry.last_offset >= from && entry.first_offset < before {
                found.push(*entry);
            }
            if entry.last_stable_offset >= before {
                return true;
            }
        }
        false
    }

    /// Forgets transactions that ended at `offset` or above.
    pub fn truncate(&mut self, offset: i64) {
        let kept = self.entries.partition_point(|entry| entry.last_offset < offset);
        self.entries.truncate(kept);
    }

    pub fn entries(&self) -> &[AbortedTransaction] {
        &self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id: 7, first_offset, last_offset, last_stable_offset }
    }

    fn index_of(transactions: &[AbortedTransaction]) -> AbortedIndex {
        let mut index = AbortedIndex::default();
        for transaction in transactions {
            assert!(index.append(*transaction));
        }
        index
    }

    #[test]
    fn transactions_that_touch_the_range_are_found() {
        let index = index_of(&[aborted(0, 10, 11), aborted(5, 20, 12), aborted(30, 40, 41)]);
        let find = |from, before| {
            let mut found = Vec::new();
            let is_complete = index.collect(from, before, &mut found);
            (found.iter().map(|transaction| transaction.last_offset).collect::<Vec<_>>(), is_complete)
        };
        assert_eq!(find(0, 12), (vec![10, 20], true));
        assert_eq!(find(11, 31), (vec![20, 40], true));
        assert_eq!(find(21, 30), (vec![], true));
        assert_eq!(find(35, 100), (vec![40], false));
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let index = index_of(&[aborted(0, 10, 11), aborted(5, 20, 12)]);
        assert_eq!(AbortedIndex::decode(&index.encode()), Ok(index));
    }

    #[test]
    fn damaged_bytes_are_refused_with_the_place() {
        let bytes = index_of(&[aborted(0, 10, 11), aborted(5, 20, 12)]).encode();
        assert_eq!(AbortedIndex::decode(&bytes[..67]).unwrap_err().position, 34);
        let swapped = [&bytes[34..], &bytes[..34]].concat();
        assert_eq!(AbortedIndex::decode(&swapped).unwrap_err().position, 34);
        let mut version = bytes.clone();
        version[1] = 9;
        assert_eq!(AbortedIndex::decode(&version).unwrap_err().position, 0);
    }

    #[test]
    fn truncation_forgets_markers_that_are_cut_off() {
        let mut index = index_of(&[aborted(0, 10, 11), aborted(5, 20, 12)]);
        index.truncate(20);
        assert_eq!(index.entries().len(), 1);
    }
}
