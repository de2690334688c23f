//! Which leader epoch began at which offset: where the histories of two replicas part.

use crate::checkpoint::EpochStart;

/// Asks for no epoch. Any other that is too low is answered with itself, as Kafka does.
const NO_EPOCH: i32 = -1;

/// The epochs of one log. Usually one or two; empty, it owns no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    /// Invariant: epochs and start offsets both increase strictly.
    entries: Vec<EpochStart>,
}

impl LeaderEpochs {
    /// From a file. Entries that contradict later ones are dropped, as on assignment.
    pub fn new(entries: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            epochs.assign(entry.epoch, entry.start_offset);
        }
        epochs
    }

    /// A batch of this epoch is in the log at `offset`. Returns true if that changed something that
    /// has to be saved.
    pub fn assign(&mut self, epoch: i32, offset: i64) -> bool {
        if epoch < 0 || offset < 0 {
            return false;
        }
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start_offset <= offset) {
            return false;
        }
        let kept = self
            .entries
            .iter()
            .position(|entry| entry.epoch >= epoch || entry.start_offset >= offset)
            .unwrap_or(self.entries.len());
        self.entries.truncate(kept);
        self.entries.push(EpochStart { epoch, start_offset: offset });
        true
    }

    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The largest epoch of this log that is not above `epoch`, and where it ends. None if `epoch`
    /// is above all that is known, or nothing is known.
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch == NO_EPOCH {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let higher = self.entries.get(after)?;
        // Kafka: an epoch below the first known one is answered with itself and the first start.
        let floor = after.checked_sub(1).map_or(epoch, |at| self.entries[at].epoch);
        Some((floor, higher.start_offset))
    }

    /// The epoch of the batch at `offset`.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// The log now ends at `end_offset`. Returns true if that changed something.
    pub fn truncate_end(&mut self, end_offset: i64) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let is_changed = kept < self.entries.len();
        self.entries.truncate(kept);
        is_changed
    }

    /// The log now starts at `start_offset`; the epoch that reigns there starts there too. Returns
    /// true if that changed something.
    pub fn truncate_start(&mut self, start_offset: i64) -> bool {
        let after = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(reigning) = after.checked_sub(1) else { return false };
        let is_changed = reigning > 0 || self.entries[reigning].start_offset < start_offset;
        self.entries.drain(..reigning);
        self.entries[0].start_offset = start_offset;
        is_changed
    }

    pub fn clear(&mut self) {
        self.entries = Vec::new();
    }

    /// Oldest first: what the checkpoint holds.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs_of(starts: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs::new(
            starts
                .iter()
                .map(|(epoch, start_offset)| EpochStart { epoch: *epoch, start_offset: *start_offset }),
        )
    }

    fn starts(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.epoch, entry.start_offset)).collect()
    }

    #[test]
    fn only_the_first_batch_of_an_epoch_changes_anything() {
        let mut epochs = LeaderEpochs::default();
        assert!(epochs.assign(0, 0));
        assert!(!epochs.assign(0, 5) && !epochs.assign(-1, 6));
        assert!(epochs.assign(2, 10));
        assert_eq!(starts(&epochs), [(0, 0), (2, 10)]);
    }

    #[test]
    fn later_assignment_wins_over_what_contradicts_it() {
        assert_eq!(starts(&epochs_of(&[(0, 0), (2, 10), (1, 20)])), [(0, 0), (1, 20)]);
        assert_eq!(starts(&epochs_of(&[(0, 0), (2, 10), (3, 5)])), [(0, 0), (3, 5)]);
        assert_eq!(starts(&epochs_of(&[(2, 10), (2, 5)])), [(2, 5)]);
    }

    #[test]
    fn end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = epochs_of(&[(2, 10), (4, 20), (7, 30)]);
        let check = |epoch, answer| assert_eq!(epochs.end_offset_for(epoch, 50), answer, "epoch {epoch}");
        check(-1, None);
        check(-2, Some((-2, 10)));
        check(0, Some((0, 10)));
        check(2, Some((2, 20)));
        check(3, Some((2, 20)));
        check(4, Some((4, 30)));
        check(6, Some((4, 30)));
        check(7, Some((7, 50)));
        check(8, None);
        assert_eq!(LeaderEpochs::default().end_offset_for(0, 50), None);
        assert_eq!((epochs.epoch_at(9), epochs.epoch_at(10), epochs.epoch_at(99)), (None, Some(2), Some(7)));
    }

    #[test]
    fn truncation_keeps_what_reigns_within_the_log() {
        let mut epochs = epochs_of(&[(2, 10), (4, 20), (7, 30)]);
        assert!(!epochs.truncate_end(31) && epochs.truncate_end(30));
        assert_eq!(starts(&epochs), [(2, 10), (4, 20)]);
        assert!(!epochs.truncate_start(9) && !epochs.truncate_start(10) && epochs.truncate_start(25));
        assert_eq!(starts(&epochs), [(4, 25)]);
        assert!(epochs.truncate_end(0));
        assert_eq!(epochs.latest(), None);
    }
}
