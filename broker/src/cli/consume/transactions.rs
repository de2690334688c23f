//! Leaves out what a transaction took back. The broker names the aborted transactions that a fetch touches; which batches that
//! concerns is the reader's to find out.

use std::collections::{BTreeSet, VecDeque};

use protocol::messages::fetch_response::AbortedTransaction;
use protocol::records::batch::BatchView;
use protocol::records::control::{ControlRecord, only_record};

pub(super) struct Aborted {
    /// By first offset; not begun yet.
    ahead: VecDeque<(i64, i64)>,
    /// Producers within an aborted transaction.
    open: BTreeSet<i64>,
}

impl Aborted {
    pub(super) fn new(transactions: &[AbortedTransaction]) -> Self {
        let mut ahead: Vec<(i64, i64)> = transactions
            .iter()
            .map(|transaction| (transaction.first_offset, transaction.producer_id))
            .collect();
        ahead.sort_unstable();
        Self { ahead: ahead.into(), open: BTreeSet::new() }
    }

    /// Whether the records of this batch are none that a reader should see. To be asked for every batch, in order.
    pub(super) fn drops(&mut self, batch: &BatchView<'_>) -> bool {
        while let Some((_, producer_id)) =
            self.ahead.front().filter(|(first, _)| *first <= batch.last_offset())
        {
            self.open.insert(*producer_id);
            self.ahead.pop_front();
        }
        if batch.is_control() {
            if is_abort(batch) {
                self.open.remove(&batch.producer_id());
            }
            return true;
        }
        batch.is_transactional() && self.open.contains(&batch.producer_id())
    }
}

fn is_abort(batch: &BatchView<'_>) -> bool {
    matches!(only_record(batch), Some(Ok(ControlRecord::Abort { .. })))
}

#[cfg(test)]
mod tests {
    use protocol::records::batch::BatchHeader;
    use protocol::records::builder::BatchBuilder;

    use super::*;

    fn batch(base_offset: i64, producer_id: i64, control: Option<ControlRecord>) -> Vec<u8> {
        let header = BatchHeader {
            base_offset,
            producer_id,
            transactional: producer_id >= 0,
            control: control.is_some(),
            ..BatchHeader::default()
        };
        let mut builder = BatchBuilder::new(header);
        let (key, value) = control.map_or((b"k".to_vec(), b"v".to_vec()), |control| {
            (control.key().to_vec(), control.value().unwrap())
        });
        builder.append(0, Some(&key), Some(&value), &[]).unwrap();
        builder.build().unwrap()
    }

    #[test]
    fn only_what_lies_between_begin_and_abort_is_left_out() {
        let transaction = |producer_id, first_offset| AbortedTransaction { producer_id, first_offset };
        let mut aborted = Aborted::new(&[transaction(7, 10), transaction(8, 2)]);
        let abort = || Some(ControlRecord::Abort { coordinator_epoch: 0 });
        let commit = || Some(ControlRecord::Commit { coordinator_epoch: 0 });
        let log = [
            (batch(0, 7, None), false),
            (batch(1, 7, commit()), true),
            (batch(2, 8, None), true),
            (batch(3, -1, None), false),
            (batch(4, 7, None), false),
            (batch(5, 8, abort()), true),
            (batch(6, 8, None), false),
            (batch(7, 7, commit()), true),
            (batch(10, 7, None), true),
            (batch(11, 8, commit()), true),
            (batch(12, 7, None), true),
            (batch(13, 7, abort()), true),
            (batch(14, 7, None), false),
        ];
        for (bytes, dropped) in &log {
            let view = BatchView::parse(bytes).unwrap();
            assert_eq!(aborted.drops(&view), *dropped, "offset {}", view.base_offset());
        }
    }
}
