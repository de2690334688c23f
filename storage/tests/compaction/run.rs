//! One run: a compacted log and its model, a list of all records there ever were, and a seed that says what happens.
#![allow(clippy::unwrap_used, reason = "part of tests")]
#![allow(clippy::disallowed_methods, reason = "files are left for another program")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use protocol::records::batch::{BatchHeader, BatchView};
use protocol::records::control::end_transaction;
use storage::Error;
use storage::cache::TailCache;
use storage::catalogue::Entry;
use storage::compaction::{Cleanable, Task};
use storage::disk::memory::{Fault, Operation, Random};
use storage::log::{Log, LogConfig};

use super::cleaning::{CODECS, Kept, KeyValue, keyed, means};
use super::world::{NOW_MS, World};

/// A record in the log, and whether it counts.
struct Appended {
    record: Kept,
    /// The transaction it is in, by the offset of its first batch and its producer.
    transaction: Option<(i64, i64)>,
}

#[derive(Default)]
struct Model {
    records: Vec<Appended>,
    /// By the transaction's first offset and producer; None: open.
    outcomes: BTreeMap<(i64, i64), Option<bool>>,
    /// By producer: next sequence, open transaction.
    producers: BTreeMap<i64, (i32, Option<(i64, i64)>)>,
    start: i64,
    /// A catalogue may tell of any start that there once was.
    start_max: i64,
}

pub(crate) struct Run {
    seed: u64,
    random: Random,
    world: World,
    log: Rc<Log>,
    model: Model,
    checkpoints: Vec<Entry>,
    first_dirty: i64,
    now_ms: i64,
    delete_retention_ms: i64,
    keys: u64,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut pick = |from: &[u64]| from[usize::try_from(random.below(from.len() as u64)).unwrap()];
        let config = LogConfig {
            segment_bytes: pick(&[1500, 4000, 20_000]) as u32,
            index_interval_bytes: pick(&[0, 300, 4096]) as u32,
            is_compacted: true,
            ..LogConfig::default()
        };
        let mut world = World::with(seed, config);
        world.cache = Rc::new(TailCache::new(pick(&[0, 8000, 1 << 20]) as usize));
        let (keys, delete_retention_ms) = (pick(&[3, 20, 200]), pick(&[0, 100, 1 << 40]) as i64);
        let log = world.open(None);
        Self {
            seed,
            random: random.fork(),
            world,
            log,
            model: Model::default(),
            checkpoints: Vec::new(),
            first_dirty: 0,
            now_ms: NOW_MS,
            delete_retention_ms,
            keys,
        }
    }

    pub(crate) fn run_to_end(mut self) {
        let steps = 20 + self.random.below(80);
        for _ in 0..steps {
            self.step();
        }
        self.check();
        self.end_all_transactions();
        self.roll();
        self.compact_whole();
        self.check();
        self.check_that_nothing_is_there_twice();
        self.crash(None);
        self.check();
        self.world.executor.block_on(self.log.close()).unwrap();
        self.leave_for_kafkas_tool();
    }

    /// Where the environment says: what it has to say of the files is no part of this test.
    fn leave_for_kafkas_tool(&self) {
        let Ok(folder) = std::env::var("MILLSTREAM_LEAVE_IN") else { return };
        for path in self.world.disk.paths() {
            let Some(bytes) = self.world.disk.contents(&path) else { continue };
            let path = std::path::Path::new(&folder).join(self.seed.to_string()).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn step(&mut self) {
        self.now_ms += self.random.below(60) as i64;
        match self.random.below(100) {
            0..40 => self.append_plain(),
            40..60 => self.append_as_producer(),
            60..68 => self.end_a_transaction(),
            68..80 => self.compact(),
            80..86 => self.compact_and_crash(),
            86..89 => self.check(),
            89..91 => self.checkpoints.push(self.log.checkpoint()),
            91 => self.close(),
            92..94 => self.move_start(),
            94 => self.fail_while_compacting(),
            _ => {
                let known = self.any_checkpoint();
                self.crash(known);
            }
        }
    }

    fn records(&mut self) -> Vec<KeyValue> {
        let count = 1 + self.random.below(4);
        (0..count)
            .map(|_| {
                let key = self.random.below(self.keys).to_string().into_bytes();
                let bytes = self.random.below(80) as usize;
                let fill = b'a' + self.random.below(26) as u8;
                let value = (!self.random.one_in(5)).then(|| vec![fill; bytes]);
                ((!self.random.one_in(30)).then_some(key), value)
            })
            .collect()
    }

    fn append_plain(&mut self) {
        self.append(BatchHeader::default(), None);
    }

    fn append_as_producer(&mut self) {
        let producer_id = 1 + self.random.below(4) as i64;
        let (base_sequence, open) = self.model.producers.get(&producer_id).copied().unwrap_or((0, None));
        let transactional = open.is_some() || self.random.one_in(2);
        let header = BatchHeader {
            producer_id,
            producer_epoch: 0,
            base_sequence,
            transactional,
            ..BatchHeader::default()
        };
        self.append(header, Some(producer_id));
    }

    fn append(&mut self, header: BatchHeader, producer_id: Option<i64>) {
        let records = self.records();
        let codec = CODECS[self.random.below(5) as usize];
        let timestamp = self.now_ms;
        let batch = keyed(BatchHeader { codec, ..header }, timestamp, &records);
        let appended = self.world.append(&self.log, &batch);
        let mut transaction = None;
        if let Some(id) = producer_id {
            let producer = self.model.producers.entry(id).or_default();
            producer.0 += records.len() as i32;
            if header.transactional {
                transaction = Some(*producer.1.get_or_insert((appended.base_offset, id)));
                self.model.outcomes.entry(transaction.unwrap()).or_default();
            }
        }
        for (at, (key, value)) in records.into_iter().enumerate() {
            let offset = appended.base_offset + at as i64;
            let record = Kept { offset, timestamp: timestamp + at as i64, key, value };
            self.model.records.push(Appended { record, transaction });
        }
    }

    fn end_a_transaction(&mut self) {
        let open = self.model.producers.iter().filter(|(_, producer)| producer.1.is_some());
        let open: Vec<i64> = open.map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let id = open[self.random.below(open.len() as u64) as usize];
        self.end_transaction_of(id);
    }

    fn end_transaction_of(&mut self, producer_id: i64) {
        let commit = self.random.one_in(2);
        let header = BatchHeader { producer_id, producer_epoch: 0, ..BatchHeader::default() };
        self.world.append(&self.log, &end_transaction(header, self.now_ms, commit, 0));
        let transaction = self.model.producers.get_mut(&producer_id).unwrap().1.take().unwrap();
        self.model.outcomes.insert(transaction, Some(commit));
        self.log.replicated_up_to(self.log.durable_offset());
    }

    fn end_all_transactions(&mut self) {
        let open = self.model.producers.iter().filter(|(_, producer)| producer.1.is_some());
        for id in open.map(|(id, _)| *id).collect::<Vec<i64>>() {
            self.end_transaction_of(id);
        }
    }

    fn roll(&mut self) {
        let count = self.log.segments().len();
        while self.log.segments().len() == count {
            self.append_plain();
        }
        self.world.settle(&self.log);
    }

    // Compaction

    fn task(&mut self) -> Task {
        let facts = self.log.compaction_facts();
        let min_lag_ms = if self.random.one_in(4) { 100 } else { 0 };
        Task {
            cleanable: Cleanable::of(&facts, self.first_dirty, min_lag_ms, self.now_ms),
            delete_retention_ms: self.delete_retention_ms,
            now_ms: self.now_ms,
            key_bytes_max: if self.random.one_in(3) { 0 } else { 1 << 20 },
            key_load: 0.9,
            secret: [self.random.any(), self.random.any()],
        }
    }

    fn compact(&mut self) {
        let task = self.task();
        let compacted = self.world.compact(&self.log, task).unwrap();
        self.first_dirty = compacted.first_dirty;
        if self.random.one_in(2) {
            self.world.settle(&self.log);
        }
    }

    fn compact_whole(&mut self) {
        self.first_dirty = 0;
        let facts = self.log.compaction_facts();
        let cleanable = Cleanable::of(&facts, 0, 0, self.now_ms);
        let task = Task { cleanable, key_bytes_max: 1 << 24, ..self.task() };
        self.first_dirty = self.world.compact(&self.log, task).unwrap().first_dirty;
        assert_eq!(self.first_dirty, cleanable.end.max(cleanable.first_dirty));
    }

    fn spawn_compaction(&mut self) {
        let task = self.task();
        let compacting = self.log.compact(task, means());
        self.world.executor.spawn(async move {
            _ = compacting.await;
        });
    }

    fn compact_and_crash(&mut self) {
        if self.random.one_in(2) {
            self.checkpoints.push(self.log.checkpoint());
        }
        self.spawn_compaction();
        let steps = self.random.below(900);
        self.world.executor.run_for(steps);
        if self.random.one_in(2) {
            self.checkpoints.push(self.log.checkpoint());
        }
        let known = self.any_checkpoint();
        self.crash(known);
    }

    fn fail_while_compacting(&mut self) {
        const OPERATIONS: [Operation; 7] = [
            Operation::Write,
            Operation::Sync,
            Operation::SyncDir,
            Operation::Open,
            Operation::Rename,
            Operation::Truncate,
            Operation::Read,
        ];
        let operation = OPERATIONS[self.random.below(7) as usize];
        let after = self.random.below(12);
        self.world.disk.fail(Fault::on(operation).after(after));
        self.spawn_compaction();
        self.world.executor.run();
        let known = self.any_checkpoint();
        self.crash(known);
    }

    // Ends and beginnings

    fn any_checkpoint(&mut self) -> Option<Entry> {
        match self.random.below(4) {
            0 => None,
            1 if !self.checkpoints.is_empty() => {
                let at = self.random.below(self.checkpoints.len() as u64) as usize;
                Some(self.checkpoints[at].clone())
            }
            _ => self.checkpoints.last().cloned(),
        }
    }

    fn crash(&mut self, known: Option<Entry>) {
        self.world.executor.kill();
        let seed = self.random.any();
        let loses_power = !self.random.one_in(3);
        self.world.disk = if loses_power { self.world.disk.crash(seed) } else { self.world.disk.kill(seed) };
        while self.random.one_in(4) {
            let opening = self.opening(known.clone());
            self.world.executor.spawn(async move {
                let _ = opening.await;
            });
            let steps = self.random.below(200);
            self.world.executor.run_for(steps);
            self.world.executor.kill();
            self.world.disk = self.world.disk.crash(self.random.any());
        }
        self.world.cache = Rc::new(TailCache::new(self.random.below(20_000) as usize));
        let opened = self.world.executor.block_on(self.opening(known.clone()));
        self.log = opened.unwrap_or_else(|error| panic!("{error}; known: {known:?}"));
        self.log.replicated_up_to(self.log.durable_offset());
        self.take_over();
    }

    fn opening(&self, known: Option<Entry>) -> storage::disk::LocalFuture<'static, Result<Rc<Log>, Error>> {
        let disk = Rc::new(self.world.disk.clone());
        let (config, cache) = (self.world.config.clone(), Rc::clone(&self.world.cache));
        Log::open(disk, super::world::dir(), config, known, cache, NOW_MS)
    }

    fn close(&mut self) {
        let entry = self.world.executor.block_on(self.log.close()).unwrap();
        self.log = self.world.open(Some(entry));
        self.take_over();
    }

    fn move_start(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.durable_offset());
        let offset = start + self.random.below((end - start) as u64 / 4 + 1) as i64;
        self.model.start = self.log.delete_before(offset, NOW_MS).unwrap();
        self.model.start_max = self.model.start_max.max(offset);
    }

    /// A crash may bring back what was deleted a moment ago. Everything else is as it was.
    fn take_over(&mut self) {
        assert!(self.log.start_offset() <= self.model.start_max);
        self.model.start = self.log.start_offset();
        for (id, (next_sequence, open)) in &self.model.producers {
            let producers = self.log.producers();
            let Some(producer) = producers.get(*id) else {
                // All it wrote may lie below the start.
                assert!(open.is_none_or(|(first, _)| first < self.model.start) && self.model.start > 0);
                continue;
            };
            if let Some(last) = producer.last_batch() {
                assert_eq!(last.last_sequence + 1, *next_sequence, "producer {id}");
            }
            assert_eq!(producer.transaction_start.is_some(), open.is_some(), "producer {id}");
        }
        let known: Vec<i64> = self.log.producers().iter().map(|(id, _)| id).collect();
        self.model.producers.retain(|id, _| known.contains(id));
    }

    // Checks

    fn check(&mut self) {
        self.world.settle(&self.log);
        let all = self.world.records(&self.log);
        let by_offset: BTreeMap<i64, &Appended> =
            self.model.records.iter().map(|one| (one.record.offset, one)).collect();
        assert!(all.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets rise");
        for record in &all {
            assert_eq!(record, &by_offset[&record.offset].record, "a record is what it was");
        }
        let found: BTreeSet<i64> = all.iter().map(|record| record.offset).collect();
        let (start, first_dirty) = (self.model.start, self.first_dirty);
        let dirty = by_offset.range(first_dirty.max(start)..).map(|(offset, _)| offset);
        let stable = self.log.compaction_facts().segments.last().unwrap().base_offset;
        for offset in dirty.filter(|offset| **offset >= stable) {
            assert!(found.contains(offset), "{offset} lies in the active segment");
        }
        self.check_committed();
        self.check_batches();
    }

    /// Whoever reads committed records from the start and remembers the newest of each key has what the model has.
    fn check_committed(&self) {
        let stable = self.log.producers().first_unstable_offset().unwrap_or(i64::MAX);
        let mut expected: BTreeMap<&[u8], &Kept> = BTreeMap::new();
        let (mut tombstones, mut lost) = (BTreeSet::new(), BTreeSet::new());
        for Appended { record, transaction } in &self.model.records {
            let is_committed = transaction.is_none_or(|one| self.model.outcomes[&one] == Some(true));
            let Some(key) = record.key.as_deref().filter(|_| is_committed && record.offset < stable) else {
                continue;
            };
            if record.value.is_none() {
                expected.remove(key);
                tombstones.insert(key);
            } else if record.offset >= self.model.start {
                expected.insert(key, record);
                lost.remove(key);
            } else {
                // Deleted by the start; an older one may not come back.
                expected.remove(key);
                lost.insert(key);
            }
        }
        let committed = self.world.committed(&self.log);
        let mut found: BTreeMap<&[u8], &Kept> = BTreeMap::new();
        for record in committed.iter().filter(|one| one.offset < stable && one.offset >= self.model.start) {
            let by_offset = self.model.records.iter().find(|one| one.record.offset == record.offset).unwrap();
            let outcome = by_offset.transaction.map(|one| self.model.outcomes[&one]);
            assert_ne!(outcome, Some(Some(false)), "an aborted record is shown: {record:?}");
            match (&record.key, &record.value) {
                (Some(key), Some(_)) => _ = found.insert(key, record),
                (Some(key), None) => _ = found.remove(key.as_slice()),
                (None, _) => {}
            }
        }
        assert_eq!(found, expected);
        if self.delete_retention_ms == 1 << 40 {
            self.check_tombstones(&committed, stable);
        }
    }

    /// None of them may go yet, if it is the newest of its key.
    fn check_tombstones(&self, committed: &[Kept], stable: i64) {
        let mut newest: BTreeMap<&[u8], &Kept> = BTreeMap::new();
        for Appended { record, transaction } in &self.model.records {
            let is_committed = transaction.is_none_or(|one| self.model.outcomes[&one] == Some(true));
            if let Some(key) = record.key.as_deref().filter(|_| is_committed && record.offset < stable) {
                newest.insert(key, record);
            }
        }
        for record in newest.values().filter(|record| record.offset >= self.model.start) {
            assert!(committed.contains(record), "{record:?} is gone");
        }
    }

    fn check_batches(&self) {
        let mut next = 0;
        for bytes in self.world.read_all(&self.log, 7000).unwrap() {
            let batch = BatchView::parse(&bytes).unwrap();
            assert!(batch.base_offset() >= next && batch.last_offset() >= batch.base_offset());
            next = batch.next_offset();
        }
        assert!(next <= self.log.end_offset());
    }

    fn check_that_nothing_is_there_twice(&self) {
        let mut seen = BTreeSet::new();
        for record in self.world.records(&self.log).into_iter().filter(|one| one.offset < self.first_dirty) {
            let key = record.key.expect("records without a key are gone");
            assert!(seen.insert(key), "twice: {:?}", record.offset);
        }
    }
}
