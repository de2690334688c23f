//! Offsets committed inside transactions that are not over. They count for nothing until then, but whoever asks for stable
//! offsets is told to wait.

use std::collections::BTreeMap;

use protocol::messages::OffsetCommitValue;

use super::Offsets;

/// By producer.
pub(super) type Pending = BTreeMap<i64, BTreeMap<(Box<str>, i32), Waiting>>;

#[derive(Debug, PartialEq)]
pub(super) struct Waiting {
    value: OffsetCommitValue,
    /// Something was committed since, and that is the newer.
    is_overtaken: bool,
}

impl Offsets {
    pub(in crate::groups) fn set_pending(
        &mut self,
        producer_id: i64,
        topic: &str,
        partition: i32,
        value: OffsetCommitValue,
    ) {
        let pending = self.pending.get_or_insert_default().entry(producer_id).or_default();
        pending.insert((topic.into(), partition), Waiting { value, is_overtaken: false });
    }

    /// The transaction is over; what it committed counts, if it did.
    pub(in crate::groups) fn end_transaction(&mut self, producer_id: i64, is_committed: bool) {
        let Some(pending) = &mut self.pending else { return };
        let ended = pending.remove(&producer_id).unwrap_or_default();
        if pending.is_empty() {
            self.pending = None;
        }
        for ((topic, partition), waiting) in ended {
            if is_committed && !waiting.is_overtaken {
                self.set(&topic, partition, &waiting.value);
            }
        }
    }

    pub(in crate::groups) fn is_pending(&self, topic: &str, partition: i32) -> bool {
        self.has_pending() && self.waiting().any(|(key, _)| &*key.0 == topic && key.1 == partition)
    }

    pub(in crate::groups) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn overtake(&mut self, topic: &str, partition: i32) {
        for pending in self.pending.iter_mut().flat_map(|pending| pending.values_mut()) {
            for (_, waiting) in pending.iter_mut().filter(|(key, _)| &*key.0 == topic && key.1 == partition) {
                waiting.is_overtaken = true;
            }
        }
    }

    pub(super) fn forget_pending(&mut self, topic: &str, partition: i32) {
        let Some(pending) = &mut self.pending else { return };
        pending.retain(|_, of_producer| {
            of_producer.retain(|key, _| !(&*key.0 == topic && key.1 == partition));
            !of_producer.is_empty()
        });
        if pending.is_empty() {
            self.pending = None;
        }
    }

    fn waiting(&self) -> impl Iterator<Item = (&(Box<str>, i32), &Waiting)> {
        self.pending.iter().flat_map(|pending| pending.values().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(offset: i64) -> OffsetCommitValue {
        OffsetCommitValue { offset, ..Default::default() }
    }

    fn committed(offsets: &Offsets) -> Vec<i64> {
        offsets.iter().map(|(_, it)| it.offset()).collect()
    }

    #[test]
    fn pending_offsets_count_when_their_transaction_commits() {
        let mut offsets = Offsets::default();
        offsets.set("t", 0, &value(1));
        offsets.set_pending(7, "t", 0, value(2));
        offsets.set_pending(8, "t", 1, value(3));
        assert!(offsets.is_pending("t", 0) && offsets.is_pending("t", 1) && !offsets.is_pending("t", 2));
        assert_eq!(committed(&offsets), [1]);
        offsets.end_transaction(7, true);
        offsets.end_transaction(8, false);
        assert_eq!(committed(&offsets), [2]);
        assert!(!offsets.has_pending());
    }

    #[test]
    fn a_commit_that_came_later_is_not_undone_by_the_end_of_a_transaction() {
        let mut offsets = Offsets::default();
        offsets.set_pending(7, "t", 0, value(2));
        offsets.set("t", 0, &value(5));
        offsets.set_pending(7, "t", 1, value(3));
        offsets.remove("t", 1);
        offsets.end_transaction(7, true);
        assert_eq!(committed(&offsets), [5]);
    }
}
