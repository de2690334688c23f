//! One run: a log, its model, and a seed that says what happens next.
#![allow(clippy::unwrap_used, reason = "part of tests")]

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use protocol::records::batch::BatchHeader;
use storage::Error;
use storage::cache::TailCache;
use storage::catalogue::Entry;
use storage::commit_log::{CommitLog, Left, parse_file_name};
use storage::disk::Disk;
use storage::disk::memory::{ENOSPC, Fault, Operation, Random};
use storage::log::{AppendError, Durability, Log, LogConfig, ReadOutcome, Slices};
use storage::retention::Limits;

use super::model::{Batch, Model, Sent};
use super::world::{NOW_MS, World, base_offset, dir, of_producer, split, stamp, stamped};

type Ended = (i64, Result<(), Error>);

pub(crate) struct Run {
    random: Random,
    world: World,
    log: Rc<Log>,
    model: Model,
    /// What became of waits: the offset waited for, and how it ended.
    ended: Rc<RefCell<Vec<Ended>>>,
    /// What catalogues said, oldest first. Any of them may be what a crash left.
    checkpoints: Vec<Entry>,
    /// Producer ids in use.
    producers: Vec<i64>,
    next_producer: i64,
    clock: i64,
    has_fault: bool,
    /// Of its half; zero for none.
    commit_log_bytes: u64,
    commit_log: Option<Rc<CommitLog>>,
    commit_logs: u64,
}

const ROOMY: u64 = 1 << 30;

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut pick = |from: &[u64]| from[usize::try_from(random.below(from.len() as u64)).unwrap()];
        let config = LogConfig {
            segment_bytes: pick(&[1500, 6000, 30_000, 1 << 20]) as u32,
            index_interval_bytes: pick(&[0, 300, 4096]) as u32,
            segment_index_bytes: pick(&[120, 10 << 20]) as u32,
            durability: if pick(&[0, 0, 0, 1]) == 1 { Durability::Written } else { Durability::Synced },
            ..LogConfig::default()
        };
        let mut world = World::with(seed, config);
        world.cache = Rc::new(TailCache::new(pick(&[0, 20_000, 1 << 20]) as usize));
        world.disk.set_capacity(ROOMY);
        let commit_log_bytes = pick(&[0, 16, 64, 512]) << 10;
        let log = world.open(None);
        let mut run = Self {
            random: random.fork(),
            world,
            log,
            model: Model::default(),
            ended: Rc::default(),
            checkpoints: Vec::new(),
            producers: vec![1, 2, 3],
            next_producer: 4,
            clock: 0,
            has_fault: false,
            commit_log_bytes,
            commit_log: None,
            commit_logs: 0,
        };
        run.use_commit_log();
        run
    }

    /// A new one, of which the log takes the next flushes.
    fn use_commit_log(&mut self) {
        if self.commit_log_bytes == 0 {
            return;
        }
        self.commit_logs += 1;
        let disk: Rc<dyn Disk> = Rc::new(self.world.disk.clone());
        let commit_log = CommitLog::new(disk, 0, self.commit_logs, 99, 2 * self.commit_log_bytes);
        self.log.commit_with(Rc::clone(&commit_log));
        let preparing = commit_log.prepare();
        self.world.executor.spawn(async move {
            // Without it the log flushes for itself.
            let _ = preparing.await;
        });
        self.commit_log = Some(commit_log);
    }

    pub(crate) fn run_to_end(mut self) {
        let steps = 20 + self.random.below(120);
        for _ in 0..steps {
            self.step();
        }
        self.heal();
        self.settle();
        if self.log.fenced().is_some() {
            self.reopen(true);
        }
        self.append_plain();
        self.settle();
        assert_eq!(self.model.acked, self.model.end(), "with a good disk everything is acknowledged");
        self.check_everything();
        self.close();
        self.check_everything();
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.append_plain(),
            30..48 => self.append_idempotent(),
            48..52 => self.retry(),
            52..70 => self.run_a_while(),
            70..78 => self.read_somewhere(),
            78..80 => self.look_up_a_time(),
            80 => self.expire(),
            81..83 => self.move_start(),
            83..86 => self.take_checkpoint(),
            86 => self.settle(),
            87 => self.world.cache.keep_nothing(),
            88 => self.close(),
            89..91 => self.break_something(),
            91..93 => self.run_out_of_room(),
            93 => self.damage_below_the_recovery_point(),
            94 => self.heal(),
            95..=97 => self.reopen(true),
            98 => self.world.executor.spawn(sync(Rc::clone(&self.log))),
            _ => self.reopen(false),
        }
        self.collect();
    }

    // Appending

    fn size(&mut self) -> (usize, usize) {
        let count = 1 + self.random.below(4) as usize;
        let bytes = match self.random.below(20) {
            0 => self.random.below(12_000),
            1..4 => self.random.below(2000),
            _ => self.random.below(120),
        } as usize;
        let bytes_max = (self.world.config.segment_bytes as usize - 200) / count - 100;
        (count, bytes.min(bytes_max))
    }

    fn append_plain(&mut self) {
        let (count, bytes) = self.size();
        self.clock += self.random.below(50) as i64;
        let batch = of_producer(BatchHeader::default(), count, bytes, self.clock);
        self.append(&batch, count, None);
    }

    fn append_idempotent(&mut self) {
        let (count, bytes) = self.size();
        let id = self.any_producer();
        let last = self.model.last_of(id).and_then(|batch| batch.producer);
        let (mut epoch, mut base_sequence) =
            last.map_or((0, 0), |last| (last.epoch, last.base_sequence + last.count));
        if last.is_some() && self.random.one_in(10) {
            (epoch, base_sequence) = (epoch + 1, 0);
        }
        if last.is_some() && self.random.one_in(10) {
            let gap = self.sent_batch(id, epoch, base_sequence + 7, count, bytes);
            match self.log.append(&gap, stamp(), NOW_MS) {
                Err(AppendError::OutOfOrderSequence | AppendError::Storage(_)) => {}
                other => panic!("a gap was taken in: {other:?}"),
            }
            return;
        }
        let batch = self.sent_batch(id, epoch, base_sequence, count, bytes);
        let sent = Sent { id, epoch, base_sequence, count: count as i32 };
        self.append(&batch, count, Some(sent));
    }

    fn any_producer(&mut self) -> i64 {
        let at = self.random.below(self.producers.len() as u64) as usize;
        self.producers[at]
    }

    fn sent_batch(&mut self, id: i64, epoch: i16, base_sequence: i32, count: usize, bytes: usize) -> Vec<u8> {
        self.clock += self.random.below(50) as i64;
        let header =
            BatchHeader { producer_id: id, producer_epoch: epoch, base_sequence, ..BatchHeader::default() };
        of_producer(header, count, bytes, self.clock)
    }

    fn append(&mut self, batch: &[u8], count: usize, producer: Option<Sent>) {
        self.collect();
        let appended = match self.log.append(batch, stamp(), NOW_MS) {
            Ok(appended) => appended,
            Err(AppendError::Storage(Error::Fenced(_))) if self.log.fenced().is_some() => return,
            Err(error) => panic!("{error}"),
        };
        assert!(!appended.duplicate);
        let (base_offset, next_offset) = (appended.base_offset, appended.last_offset + 1);
        assert_eq!((base_offset, next_offset), (self.model.end(), self.model.end() + count as i64));
        let bytes = stamped(batch, base_offset);
        let timestamp = self.clock;
        self.model.batches.push(Batch { base_offset, next_offset, bytes, timestamp, producer });
        self.wait_for(next_offset);
        self.spawn_work();
    }

    fn wait_for(&self, next_offset: i64) {
        let (waiting, ended) = (self.log.durable(next_offset), Rc::clone(&self.ended));
        self.world.executor.spawn(async move {
            let result = waiting.await;
            ended.borrow_mut().push((next_offset, result));
        });
    }

    /// What a broker does after each append and each flush.
    fn spawn_work(&mut self) {
        if self.log.needs_flush() {
            self.world.executor.spawn(self.log.flush());
        }
        if self.log.wants_upkeep() && self.random.one_in(2) {
            self.world.executor.spawn(self.log.upkeep());
        }
        if let Some(commit_log) = self.commit_log.as_ref().filter(|it| it.wants_upkeep())
            && self.random.one_in(3)
        {
            let upkeep = commit_log.upkeep();
            self.world.executor.spawn(async move { drop(upkeep.await) });
        }
    }

    /// A producer that heard nothing sends its last batch again.
    fn retry(&mut self) {
        let id = self.any_producer();
        let Some(last) = self.model.last_of(id).cloned() else { return };
        self.collect();
        match self.log.append(&last.bytes, stamp(), NOW_MS) {
            Ok(again) => {
                assert!(again.duplicate, "{last:?} is in the log twice");
                assert_eq!((again.base_offset, again.last_offset + 1), (last.base_offset, last.next_offset));
                self.wait_for(last.next_offset);
            }
            Err(AppendError::Storage(Error::Fenced(_))) => {}
            Err(error) => panic!("a retry was refused: {error}"),
        }
    }

    // Running

    fn run_a_while(&mut self) {
        for _ in 0..=self.random.below(3) {
            self.spawn_work();
            let steps = self.random.below(40);
            self.world.executor.run_for(steps);
        }
        self.collect();
    }

    fn settle(&mut self) {
        loop {
            self.world.executor.run();
            self.collect();
            if self.log.needs_flush() {
                self.world.executor.spawn(self.log.flush());
            } else if self.log.wants_upkeep() {
                self.world.executor.spawn(self.log.upkeep());
            } else if let Some(commit_log) = self.commit_log.as_ref().filter(|it| it.wants_upkeep()) {
                let upkeep = commit_log.upkeep();
                self.world.executor.spawn(async move { drop(upkeep.await) });
            } else {
                return;
            }
        }
    }

    /// Takes note of what was acknowledged and what was taken back.
    fn collect(&mut self) {
        let end = self.log.end_offset();
        for (next_offset, result) in self.ended.take() {
            match result {
                Ok(()) => {
                    assert!(self.log.durable_offset() >= next_offset);
                    self.model.acked = self.model.acked.max(next_offset);
                }
                Err(Error::Full) => assert!(self.has_fault, "there was room"),
                Err(Error::Fenced(_)) => assert!(self.log.fenced().is_some()),
                Err(error) => panic!("{error}"),
            }
        }
        if end < self.model.end() {
            assert!(self.has_fault, "nothing failed, and something was taken back");
            self.model.shrink_to(end);
        }
        // A reader may have seen it.
        self.model.acked = self.model.acked.max(self.log.durable_offset());
        assert!(self.has_fault || self.log.fenced().is_none(), "{:?}", self.log.fenced());
    }

    // Reading

    fn read(&self, from: i64, bytes_max: usize, before: i64, at_least_one: bool) -> Result<Slices, Error> {
        match self.log.read(from, bytes_max, before, at_least_one) {
            ReadOutcome::Now(read) => read,
            ReadOutcome::Later(read) => {
                let read = self.world.executor.block_on(read);
                // While whatever is done next is done.
                if let Some(ahead) = self.log.read_ahead() {
                    self.world.executor.spawn(ahead);
                }
                read
            }
        }
    }

    fn read_somewhere(&mut self) {
        self.collect();
        let (start, durable) = (self.log.start_offset(), self.log.durable_offset());
        assert_eq!(start, self.model.start);
        let from = start + self.random.below((durable - start) as u64 + 1) as i64;
        let before = from + self.random.below((durable - from) as u64 + 3) as i64;
        let bytes_max = self.random.below(20_000) as usize;
        let at_least_one = self.random.one_in(2);
        let slices = match self.read(from, bytes_max, before, at_least_one) {
            Ok(slices) => slices,
            Err(Error::Io { .. }) if self.has_fault => return,
            Err(error) => panic!("{error}"),
        };
        let found = split(&slices);
        let first = self.model.batches.partition_point(|batch| batch.next_offset <= from);
        for (found, expected) in found.iter().zip(&self.model.batches[first..]) {
            assert_eq!(found, &expected.bytes, "at {}", expected.base_offset);
            assert!(expected.next_offset <= before.min(self.log.durable_offset()));
        }
        let bytes: usize = found.iter().map(Bytes::len).sum();
        assert_eq!(bytes, slices.bytes);
        assert!(bytes <= bytes_max || (at_least_one && found.len() == 1));
        let reachable =
            self.model.batches.get(first).is_some_and(|batch| batch.next_offset <= before.min(durable));
        assert!(!(reachable && at_least_one && found.is_empty()), "nothing found at {from}");
        self.collect();
    }

    fn look_up_a_time(&mut self) {
        self.collect();
        let timestamp = self.random.below(self.clock as u64 + 10) as i64;
        let lookup = self.log.offset_for_timestamp(timestamp);
        let before = self.model.first_as_late_as(timestamp, self.log.durable_offset());
        match self.world.executor.block_on(lookup) {
            Ok(found) => {
                let found = found.map(|found| (found.timestamp, found.offset));
                // What became durable meanwhile may be found too.
                let after = self.model.first_as_late_as(timestamp, self.log.durable_offset());
                assert!(found == before || found == after, "{found:?} instead of {before:?}");
            }
            // Fenced, with something that is only in the commit log: it is read, but not searched.
            Err(Error::Io { .. } | Error::Fenced(_)) if self.has_fault => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn check_everything(&mut self) {
        let found = self.all_batches().unwrap();
        let first = self.model.batches.partition_point(|batch| batch.next_offset <= self.model.start);
        let expected: Vec<(i64, Vec<u8>)> = self.model.batches[first..]
            .iter()
            .map(|batch| (batch.base_offset, batch.bytes.clone()))
            .collect();
        assert_eq!(found.len(), expected.len());
        assert!(found == expected);
    }

    fn all_batches(&mut self) -> Result<Vec<(i64, Vec<u8>)>, Error> {
        let bytes_max = 1 + self.random.below(30_000) as usize;
        let all = self.world.read_all(&self.log, bytes_max)?;
        Ok(all.iter().map(|bytes| (base_offset(bytes), bytes.to_vec())).collect())
    }

    // Ends and beginnings

    fn move_start(&mut self) {
        self.collect();
        if self.log.fenced().is_some() {
            return;
        }
        let (start, durable) = (self.log.start_offset(), self.log.durable_offset());
        let offset = start + self.random.below((durable - start) as u64 + 1) as i64;
        self.model.start = self.log.delete_before(offset, NOW_MS).unwrap();
    }

    /// Retention, with any limits.
    fn expire(&mut self) {
        self.collect();
        if self.log.fenced().is_some() {
            return;
        }
        let limits = Limits {
            ms: self.random.one_in(2).then(|| self.random.below(200) as i64),
            bytes: self.random.one_in(2).then(|| self.random.below(60_000)),
        };
        let now_ms = self.clock + self.random.below(100) as i64;
        match self.world.executor.block_on(self.log.expire(limits, now_ms)) {
            Ok(due) => {
                assert_eq!(self.log.start_offset(), due.start_offset);
                assert!(
                    due.start_offset >= self.model.start && due.start_offset <= self.log.durable_offset()
                );
                self.model.start = due.start_offset;
            }
            Err(Error::Io { .. } | Error::Fenced(_)) if self.has_fault => {}
            Err(error) => panic!("{error}"),
        }
        if let Some(sweep) = self.log.next_sweep_ms() {
            let (log, now_ms) = (Rc::clone(&self.log), sweep - self.random.below(2) as i64);
            self.world.executor.spawn(async move {
                // What is left is removed by the next opening.
                let _ = log.sweep(now_ms).await;
            });
        }
        self.collect();
    }

    fn take_checkpoint(&mut self) {
        self.checkpoints.push(self.log.checkpoint());
    }

    /// What the catalogue says after a crash: the newest, an old one, or nothing.
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

    fn close(&mut self) {
        self.collect();
        let closed = self.world.executor.block_on(self.log.close());
        // Waits that the last flush ended.
        let (end, durable) = (self.log.end_offset(), self.log.durable_offset());
        self.world.executor.run();
        for (next_offset, result) in self.ended.take() {
            assert!(result.is_err() || next_offset <= durable);
        }
        self.model.acked = self.model.acked.max(durable);
        match closed {
            Ok(entry) => {
                assert!(entry.is_clean && (end, durable) == (self.model.end().min(end), end));
                self.model.shrink_to(end);
                let stale = Entry { is_clean: false, ..entry.clone() };
                self.checkpoints.push(stale);
                if let Some(commit_log) = self.commit_log.take() {
                    match self.world.executor.block_on(commit_log.remove()) {
                        Ok(removed) => assert!(removed, "a log that was closed in order needs nothing more"),
                        Err(error) => assert!(self.has_fault, "{error}"),
                    }
                }
                self.log = self.world.open(Some(entry));
                self.use_commit_log();
                assert_eq!(self.log.start_offset(), self.model.start);
                assert_eq!(self.log.durable_offset(), self.model.end());
            }
            Err(_) => {
                assert!(self.has_fault);
                self.reopen(true);
            }
        }
    }

    /// The process or the power fails, wherever things are; then the log is opened, perhaps with another
    /// crash half-way.
    fn reopen(&mut self, loses_power: bool) {
        self.collect();
        self.model.acked = self.model.acked.max(self.log.durable_offset());
        self.crash(loses_power);
        while self.random.one_in(4) {
            let known = self.any_checkpoint();
            let opening = self.opening(known);
            self.world.executor.spawn(async move {
                let _ = opening.await;
            });
            let steps = self.random.below(200);
            self.world.executor.run_for(steps);
            let loses_power = self.random.one_in(2);
            self.crash(loses_power);
        }
        if self.random.one_in(8) {
            self.spoil_what_can_be_made_anew();
        }
        let known = self.any_checkpoint();
        let opened = self.world.executor.block_on(self.opening(known.clone()));
        self.log = opened.unwrap_or_else(|error| panic!("{error}; known: {known:?}"));
        self.take_over();
        self.use_commit_log();
    }

    /// What a crash of this kind has to leave.
    fn lower_promise(&mut self, loses_power: bool) {
        if loses_power && self.world.config.durability == Durability::Written {
            self.model.acked = self.model.acked.min(self.log.checkpoint().recovery.offset);
        }
    }

    fn crash(&mut self, loses_power: bool) {
        self.lower_promise(loses_power);
        self.world.executor.kill();
        self.ended.take();
        let seed = self.random.any();
        self.world.disk = if loses_power { self.world.disk.crash(seed) } else { self.world.disk.kill(seed) };
        self.world.disk.set_capacity(ROOMY);
        self.has_fault = false;
        self.world.cache = Rc::new(TailCache::new(self.random.below(100_000) as usize));
    }

    fn opening(&self, known: Option<Entry>) -> storage::disk::LocalFuture<'static, Result<Rc<Log>, Error>> {
        let disk: Rc<dyn Disk> = Rc::new(self.world.disk.clone());
        let (config, cache) = (self.world.config.clone(), Rc::clone(&self.world.cache));
        Box::pin(async move {
            let log = Log::open(Rc::clone(&disk), dir(), config, known, cache, NOW_MS).await?;
            replay_left(&*disk, &log).await?;
            Ok(log)
        })
    }

    /// The model follows what was recovered, once that was found to be right.
    fn take_over(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        assert_eq!(self.log.durable_offset(), end);
        let found = self.all_batches().unwrap();
        self.model.adopt(start, &found, end);
        // Whose batches are all below the start may be forgotten.
        let model = &self.model;
        let is_known = |id: &i64| model.last_of(*id).is_none_or(|last| last.base_offset >= start);
        self.producers.retain(is_known);
        while self.producers.len() < 3 {
            self.producers.push(self.next_producer);
            self.next_producer += 1;
        }
        for id in self.producers.clone() {
            let Some(last) = self.model.last_of(id) else { continue };
            let again = self.log.append(&last.bytes, stamp(), NOW_MS).unwrap();
            assert!(again.duplicate && again.base_offset == last.base_offset, "{again:?}, {last:?}");
        }
    }

    /// Indexes and snapshots follow from the batches: losing them costs time only.
    fn spoil_what_can_be_made_anew(&mut self) {
        let is_derived =
            |path: &String| [".index", ".timeindex", ".snapshot"].iter().any(|end| path.ends_with(end));
        let paths: Vec<String> = self.world.disk.paths().into_iter().filter(is_derived).collect();
        for path in paths {
            let bytes = self.world.disk.contents(&path).unwrap_or_default();
            match self.random.below(4) {
                0 => self.world.executor.block_on(self.world.disk.remove(&path)).unwrap(),
                1 if !path.ends_with(".timeindex") && !bytes.is_empty() => {
                    let position = self.random.below(bytes.len() as u64);
                    let bit = self.random.below(8) as u8;
                    self.world.disk.flip_bit(&path, position, bit);
                }
                _ => {}
            }
        }
    }

    // Faults

    fn break_something(&mut self) {
        const OPERATIONS: [Operation; 7] = [
            Operation::Write,
            Operation::Write,
            Operation::Sync,
            Operation::Open,
            Operation::Rename,
            Operation::Truncate,
            Operation::Read,
        ];
        let operation = OPERATIONS[self.random.below(7) as usize];
        let after = self.random.below(6);
        let mut fault = Fault::on(operation).after(after);
        if self.random.one_in(3) {
            fault = fault.errno(ENOSPC);
        }
        self.world.disk.fail(fault);
        self.has_fault = true;
    }

    fn run_out_of_room(&mut self) {
        let space = self.world.disk.space().unwrap();
        let used = space.total_bytes - space.free_bytes;
        self.world.disk.set_capacity(used + self.random.below(6) * 4096);
        self.has_fault = true;
    }

    /// The disk is well again. What a fault did to the log stays: a fence goes with the next opening.
    fn heal(&mut self) {
        self.world.disk.heal();
        self.world.disk.set_capacity(ROOMY);
    }

    /// A bit flips in what was flushed. It is reported, by whoever meets it, and nothing is cut.
    fn damage_below_the_recovery_point(&mut self) {
        self.reopen(true);
        self.settle();
        let known = self.log.checkpoint();
        let Some(segment) =
            known.segments.get(self.random.below(known.segments.len() as u64) as usize).copied()
        else {
            return;
        };
        if segment.bytes == 0 {
            return;
        }
        let path = format!("{}/{:020}.log", dir().folder(), segment.base_offset);
        let mut position = self.random.below(segment.bytes.into());
        let content = self.world.disk.contents(&path).unwrap();
        if !is_checked(&content[..segment.bytes as usize], position) {
            position = 17;
        }
        let end = self.log.end_offset();
        self.crash(true);
        self.world.disk.flip_bit(&path, position, 3);
        let outcome = self.world.executor.block_on(self.opening(Some(known.clone())));
        let found = outcome.and_then(|log| {
            self.log = log;
            assert_eq!(self.log.end_offset(), end, "cut below the recovery point");
            self.all_batches()
        });
        let start = self.model.start;
        match found {
            Err(Error::Corrupt { path: blamed, .. }) => assert_eq!(blamed, path),
            Err(error) => panic!("{error}"),
            // It lies below the log's start, where nobody reads.
            Ok(_) => assert!(segment.base_offset < start, "nobody noticed: {path} at {position}"),
        }
        self.crash(false);
        self.world.disk.flip_bit(&path, position, 3);
        self.log = self.world.executor.block_on(self.opening(Some(known))).unwrap();
        self.take_over();
        self.use_commit_log();
    }
}

/// What earlier runs left in their commit logs, which are of no more use then.
async fn replay_left(disk: &dyn Disk, log: &Rc<Log>) -> Result<(), Error> {
    let mut names: Vec<String> = disk.list("").await.unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| parse_file_name(name).is_some());
    let mut frames = Vec::new();
    for name in &names {
        frames.extend(Left::read(disk, name).await?.frames);
    }
    log.replay(frames, NOW_MS).await?;
    for name in &names {
        disk.remove(name).await.map_err(|error| Error::io(name, error))?;
    }
    Ok(())
}

async fn sync(log: Rc<Log>) {
    // A failure fences the log, and is met there.
    let _ = log.sync().await;
}

/// Kafka's checksum leaves out a batch's base offset and leader epoch.
fn is_checked(content: &[u8], position: u64) -> bool {
    let mut begin = 0;
    for batch in protocol::records::batch::batches(content) {
        let len = batch.unwrap().batch_len() as u64;
        if position < begin + len {
            return !matches!(position - begin, 0..8 | 12..16);
        }
        begin += len;
    }
    panic!("the position is in a batch")
}
