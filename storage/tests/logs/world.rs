//! A log on a memory disk, and batches to put into it: shared by the tests of the log.
#![allow(dead_code, reason = "every test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "part of tests")]

use std::rc::Rc;

use bytes::Bytes;
use protocol::ids::Uuid;
use protocol::records::batch::{BatchHeader, BatchView, batches};
use protocol::records::builder::BatchBuilder;
use storage::Error;
use storage::cache::TailCache;
use storage::catalogue::Entry;
use storage::disk::memory::{Executor, MemoryDisk};
use storage::log::{Appended, Log, LogConfig, LogDir, Offsets, ReadOutcome, Slices, Stamp};

pub(crate) const NOW_MS: i64 = 1_000_000;
pub(crate) const TOPIC_ID: Uuid = Uuid([7; 16]);

pub(crate) struct World {
    pub(crate) disk: MemoryDisk,
    pub(crate) executor: Executor,
    pub(crate) config: LogConfig,
    pub(crate) cache: Rc<TailCache>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::on(MemoryDisk::new(seed), seed, LogConfig::default())
    }

    pub(crate) fn with(seed: u64, config: LogConfig) -> Self {
        Self::on(MemoryDisk::new(seed), seed, config)
    }

    pub(crate) fn on(disk: MemoryDisk, seed: u64, config: LogConfig) -> Self {
        Self { disk, executor: Executor::new(seed), config, cache: Rc::new(TailCache::new(64 << 20)) }
    }

    /// The same log after a power cut.
    pub(crate) fn crashed(self, seed: u64) -> Self {
        self.executor.kill();
        Self::on(self.disk.crash(seed), seed, self.config)
    }

    pub(crate) fn try_open(&self, known: Option<Entry>) -> Result<Rc<Log>, Error> {
        let disk = Rc::new(self.disk.clone());
        let (config, cache) = (self.config.clone(), Rc::clone(&self.cache));
        self.executor.block_on(Log::open(disk, dir(), config, known, cache, NOW_MS))
    }

    pub(crate) fn open(&self, known: Option<Entry>) -> Rc<Log> {
        self.try_open(known).unwrap()
    }

    /// Runs flush and upkeep until nothing is left to do.
    pub(crate) fn settle(&self, log: &Rc<Log>) {
        loop {
            if log.needs_flush() {
                self.executor.block_on(log.flush());
            } else if log.wants_upkeep() {
                self.executor.block_on(log.upkeep());
            } else {
                return;
            }
        }
    }

    /// Appends and waits until it is durable.
    pub(crate) fn append(&self, log: &Rc<Log>, batch: &[u8]) -> Appended {
        let appended = log.append(batch, stamp(), NOW_MS).unwrap();
        self.settle(log);
        self.executor.block_on(log.durable(appended.last_offset + 1)).unwrap();
        appended
    }

    pub(crate) fn read(&self, log: &Rc<Log>, from: i64, bytes_max: usize) -> Result<Slices, Error> {
        self.read_before(log, from, bytes_max, i64::MAX, true)
    }

    pub(crate) fn read_before(
        &self,
        log: &Rc<Log>,
        from: i64,
        bytes_max: usize,
        before: i64,
        at_least_one: bool,
    ) -> Result<Slices, Error> {
        match log.read(from, bytes_max, before, at_least_one) {
            ReadOutcome::Now(read) => read,
            ReadOutcome::Later(read) => self.executor.block_on(read),
        }
    }

    /// Every batch from the log's start to its end, in reads of at most so many bytes.
    pub(crate) fn read_all(&self, log: &Rc<Log>, bytes_max: usize) -> Result<Vec<Bytes>, Error> {
        let mut all = Vec::new();
        let mut from = log.start_offset();
        while from < log.durable_offset() {
            let slices = self.read(log, from, bytes_max)?;
            assert!(slices.next_offset > from, "a read gets on");
            assert_eq!(slices.bytes, slices.parts.iter().map(Bytes::len).sum::<usize>());
            all.extend(split(&slices));
            from = slices.next_offset;
        }
        Ok(all)
    }
}

pub(crate) fn dir() -> LogDir {
    LogDir { topic: "topic".to_owned(), partition: 3, topic_id: TOPIC_ID }
}

pub(crate) fn stamp() -> Stamp {
    Stamp { leader_epoch: 5, log_append_time: None, offsets: Offsets::Assign }
}

/// Whole batches and nothing else.
pub(crate) fn split(slices: &Slices) -> Vec<Bytes> {
    slices.parts.iter().flat_map(|part| split_bytes(part)).collect()
}

pub(crate) fn split_bytes(part: &[u8]) -> Vec<Bytes> {
    let mut split = Vec::new();
    let mut walk = batches(part);
    for batch in walk.by_ref() {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        split.push(Bytes::copy_from_slice(batch.bytes()));
    }
    assert!(walk.rest().is_empty(), "only whole batches are served");
    split
}

/// A batch of `count` records whose values have `bytes` bytes each, with timestamps from `timestamp` on.
pub(crate) fn batch(count: usize, bytes: usize, timestamp: i64) -> Vec<u8> {
    of_producer(BatchHeader::default(), count, bytes, timestamp)
}

pub(crate) fn of_producer(header: BatchHeader, count: usize, bytes: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(header);
    for at in 0..count {
        let value: Vec<u8> = (0..bytes).map(|byte| (byte * 31 + at * 7 + 1) as u8 | 1).collect();
        builder.append(timestamp + at as i64, None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// As a leader stamps it.
pub(crate) fn stamped(batch: &[u8], base_offset: i64) -> Vec<u8> {
    let mut batch = batch.to_vec();
    protocol::records::batch::stamp(&mut batch, base_offset, stamp().leader_epoch, None);
    batch
}

pub(crate) fn base_offset(batch: &[u8]) -> i64 {
    BatchView::parse(batch).unwrap().base_offset()
}
