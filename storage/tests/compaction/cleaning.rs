//! Keyed records, and the compaction of a log on a memory disk: shared by the tests of compaction.
#![allow(dead_code, reason = "every test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "part of tests")]

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use protocol::records::batch::{BatchHeader, BatchView};
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::{Codec, Decompressor};
use protocol::records::control::{ControlRecord, only_record};
use storage::Error;
use storage::compaction::{Cleanable, Compacted, Means, Task};
use storage::disk::memory::pause;
use storage::log::Log;

use super::world::World;

pub(crate) type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

pub(crate) fn keyed(header: BatchHeader, timestamp: i64, records: &[KeyValue]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(header);
    for (at, (key, value)) in records.iter().enumerate() {
        builder.append(timestamp + at as i64, key.as_deref(), value.as_deref(), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn one(key: &str, value: &str) -> Vec<u8> {
    keyed(BatchHeader::default(), 1000, &[(Some(key.into()), Some(value.into()))])
}

pub(crate) fn tombstone(key: &str) -> Vec<u8> {
    keyed(BatchHeader::default(), 1000, &[(Some(key.into()), None)])
}

/// Jobs run on the spot, a few turns late.
pub(crate) fn means() -> Means {
    Means {
        offload: Rc::new(|job| {
            Box::pin(async move {
                pause(1).await;
                job();
            })
        }),
        pause: Rc::new(|_| Box::pin(pause(1))),
    }
}

pub(crate) fn task(log: &Rc<Log>, checkpoint: i64, now_ms: i64) -> Task {
    Task {
        cleanable: Cleanable::of(&log.compaction_facts(), checkpoint, 0, now_ms),
        delete_retention_ms: 0,
        now_ms,
        key_bytes_max: 1 << 20,
        key_load: 0.9,
        secret: [3, 4],
    }
}

impl World {
    pub(crate) fn compact(&self, log: &Rc<Log>, task: Task) -> Result<Compacted, Error> {
        self.executor.block_on(log.compact(task, means()))
    }

    /// From the start, with all memory it takes.
    pub(crate) fn compact_all(&self, log: &Rc<Log>, now_ms: i64) -> Compacted {
        let compacted = self.compact(log, task(log, 0, now_ms)).unwrap();
        self.settle(log);
        compacted
    }

    pub(crate) fn records(&self, log: &Rc<Log>) -> Vec<Kept> {
        self.read_all(log, 5000).unwrap().iter().flat_map(records_of).collect()
    }

    /// What a reader of committed records is given, by the client's rules.
    pub(crate) fn committed(&self, log: &Rc<Log>) -> Vec<Kept> {
        let aborted = log.aborted_transactions(log.start_offset(), log.durable_offset());
        let mut aborted = self.executor.block_on(aborted).unwrap();
        aborted.sort_by_key(|transaction| transaction.first_offset);
        let mut aborted = aborted.into_iter().peekable();
        let (mut open, mut found) = (BTreeSet::new(), Vec::new());
        for bytes in self.read_all(log, 5000).unwrap() {
            let batch = BatchView::parse(&bytes).unwrap();
            while let Some(next) = aborted.next_if(|next| next.first_offset <= batch.last_offset()) {
                open.insert(next.producer_id);
            }
            if batch.is_control() {
                if let Some(Ok(ControlRecord::Abort { .. })) = only_record(&batch) {
                    open.remove(&batch.producer_id());
                }
            } else if !(batch.is_transactional() && open.contains(&batch.producer_id())) {
                found.extend(records_of(&bytes));
            }
        }
        found
    }
}

/// Records of clients.
pub(crate) fn records_of(bytes: &Bytes) -> Vec<Kept> {
    let batch = BatchView::parse(bytes).unwrap();
    batch.verify_crc().unwrap();
    if batch.is_control() {
        return Vec::new();
    }
    let mut decompressor = Decompressor::new();
    let records = batch.records(&mut decompressor, 1 << 24).unwrap();
    let kept = |record: protocol::records::record::Record<'_>| Kept {
        offset: batch.offset_of(&record),
        timestamp: batch.timestamp_of(&record),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
    };
    records.map(|record| kept(record.unwrap())).collect()
}

pub(crate) const CODECS: [Codec; 5] = Codec::ALL;
