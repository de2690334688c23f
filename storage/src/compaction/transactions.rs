//! Follows transactions through a log, batch after batch: whose records were aborted, and which marker still has
//! something to say.

use std::collections::{BTreeMap, BTreeSet};

use protocol::records::batch::BatchView;

use crate::segment::aborted_index::AbortedTransaction;

/// Batches are shown in the order of their offsets.
pub(crate) struct Transactions {
    /// Aborted ones that no batch has come to yet; the first at the end.
    ahead: Vec<AbortedTransaction>,
    /// Aborted ones by producer, until their marker comes.
    aborted: BTreeMap<i64, Aborted>,
    /// Producers with a batch of a transaction that was not aborted.
    committed: BTreeSet<i64>,
}

struct Aborted {
    transaction: AbortedTransaction,
    /// A batch of it is still in the log.
    is_there: bool,
}

/// What became of a transaction, when its marker is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// None of its batches is left: the marker says nothing any more.
    Gone,
    /// A batch of it was met.
    There,
    /// The same, and readers of committed records have to leave it out.
    ThereAborted(AbortedTransaction),
}

impl Transactions {
    /// With the aborted ones that touch what will be shown.
    pub(crate) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { ahead: aborted, aborted: BTreeMap::new(), committed: BTreeSet::new() }
    }

    /// Whether a batch of records belongs to an aborted transaction.
    pub(crate) fn is_aborted(&mut self, batch: &BatchView<'_>) -> bool {
        self.come_to(batch.last_offset());
        if !batch.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&batch.producer_id()) {
            Some(aborted) => {
                aborted.is_there = true;
                true
            }
            None => {
                self.committed.insert(batch.producer_id());
                false
            }
        }
    }

    /// A marker of this producer.
    pub(crate) fn end(&mut self, batch: &BatchView<'_>, is_commit: bool) -> Ended {
        self.come_to(batch.last_offset());
        let producer_id = batch.producer_id();
        if is_commit {
            return if self.committed.remove(&producer_id) { Ended::There } else { Ended::Gone };
        }
        match self.aborted.remove(&producer_id) {
            Some(Aborted { transaction, is_there: true }) => Ended::ThereAborted(transaction),
            _ => Ended::Gone,
        }
    }

    fn come_to(&mut self, offset: i64) {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= offset) {
            let aborted = Aborted { transaction: next, is_there: false };
            self.aborted.entry(next.producer_id).or_insert(aborted);
        }
    }
}
