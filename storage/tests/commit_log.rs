//! Several logs with one commit log: what it takes for them together is as safe as what each writes for itself.
#![allow(clippy::unwrap_used, reason = "part of tests")]

#[path = "logs/world.rs"]
mod world;

use std::cell::RefCell;
use std::rc::Rc;

use protocol::ids::Uuid;
use storage::Error;
use storage::cache::TailCache;
use storage::commit_log::{CommitLog, Left, parse_file_name};
use storage::disk::Disk;
use storage::disk::memory::{Executor, Fault, MemoryDisk, Operation, Random};
use storage::log::{Log, LogConfig, LogDir, ReadOutcome};

use world::{NOW_MS, batch, split, stamp, stamped};

const LOGS: usize = 6;

/// Logs of one core, with what was appended to each and how much of that was acknowledged.
struct Core {
    random: Random,
    disk: MemoryDisk,
    executor: Executor,
    config: LogConfig,
    commit_log_bytes: u64,
    commit_log: Rc<CommitLog>,
    logs: Vec<Rc<Log>>,
    appended: Vec<Vec<Vec<u8>>>,
    acked: Rc<RefCell<[i64; LOGS]>>,
    runs: u64,
    has_fault: bool,
}

impl Core {
    fn new(seed: u64, commit_log_bytes: u64) -> Self {
        let (disk, executor) = (MemoryDisk::new(seed), Executor::new(seed));
        let commit_log = CommitLog::new(Rc::new(disk.clone()), 0, 1, 99, commit_log_bytes);
        let mut random = Random::new(seed);
        // Some roll often, so that what is unsettled lies in two segments.
        let segment_bytes = if random.one_in(2) { 6000 } else { 1 << 20 };
        let mut core = Self {
            random,
            disk,
            executor,
            config: LogConfig { segment_bytes, ..LogConfig::default() },
            commit_log_bytes,
            commit_log,
            logs: Vec::new(),
            appended: vec![Vec::new(); LOGS],
            acked: Rc::default(),
            runs: 0,
            has_fault: false,
        };
        core.open().unwrap();
        core
    }

    /// All logs, with what the last run's commit log had of them.
    fn open(&mut self) -> Result<(), Error> {
        self.runs += 1;
        let disk: Rc<dyn Disk> = Rc::new(self.disk.clone());
        let (left, config, shared) = (self.left()?, self.config.clone(), Rc::clone(&disk));
        let logs = self.executor.block_on(async move {
            let cache = Rc::new(TailCache::new(8000));
            let mut logs = Vec::new();
            for at in 0..LOGS {
                let (disk, config, cache) = (Rc::clone(&shared), config.clone(), Rc::clone(&cache));
                let log = Log::open(disk, dir(at), config, None, cache, NOW_MS).await?;
                let mut frames = left.frames.clone();
                frames.retain(|frame| frame.topic_id == log.dir().topic_id);
                log.replay(frames, NOW_MS).await?;
                logs.push(log);
            }
            Ok::<_, Error>(logs)
        });
        self.logs = logs?;
        for name in self.names() {
            self.executor.block_on(self.disk.remove(&name)).unwrap();
        }
        self.commit_log = CommitLog::new(disk, 0, self.runs + 1, 99, self.commit_log_bytes);
        self.executor.block_on(self.commit_log.prepare()).unwrap();
        for log in &self.logs {
            log.commit_with(Rc::clone(&self.commit_log));
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let entries = self.executor.block_on(self.disk.list("")).unwrap();
        let names = entries.into_iter().map(|entry| entry.name);
        names.filter(|name| parse_file_name(name).is_some()).collect()
    }

    fn left(&self) -> Result<Left, Error> {
        let mut all = Left::default();
        for name in self.names() {
            let disk = self.disk.clone();
            all.frames.extend(self.executor.block_on(async move { Left::read(&disk, &name).await })?.frames);
        }
        Ok(all)
    }

    fn append(&mut self, at: usize, bytes: usize) {
        let log = &self.logs[at];
        let plain = batch(1, bytes, NOW_MS);
        let Ok(appended) = log.append(&plain, stamp(), NOW_MS) else { return };
        self.appended[at].truncate(usize::try_from(appended.base_offset).unwrap());
        self.appended[at].push(stamped(&plain, appended.base_offset));
        let (waiting, acked) = (log.durable(appended.last_offset + 1), Rc::clone(&self.acked));
        let next_offset = appended.last_offset + 1;
        self.executor.spawn(async move {
            if waiting.await.is_ok() {
                let mut acked = acked.borrow_mut();
                acked[at] = acked[at].max(next_offset);
            }
        });
        self.work(at);
    }

    fn work(&mut self, at: usize) {
        let log = &self.logs[at];
        if log.needs_flush() {
            self.executor.spawn(log.flush());
        }
        if log.wants_upkeep() {
            self.executor.spawn(log.upkeep());
        }
        if self.commit_log.wants_upkeep() && self.random.one_in(3) {
            let upkeep = self.commit_log.upkeep();
            self.executor.spawn(async move { drop(upkeep.await) });
        }
    }

    fn run_all(&mut self) {
        self.executor.run();
        while self.commit_log.wants_upkeep()
            || self.logs.iter().any(|log| log.needs_flush() || log.wants_upkeep())
        {
            for at in 0..LOGS {
                self.work(at);
            }
            self.executor.run();
        }
    }

    /// Appends that make every log's file ready for more: the first go there directly.
    fn warm_up(&mut self) {
        for round in 0..4 {
            for at in 0..LOGS {
                self.append(at, 40 + round);
            }
            self.run_all();
        }
    }

    fn some_steps(&mut self, count: u64) {
        for _ in 0..count {
            let at = self.random.below(LOGS as u64) as usize;
            match self.random.below(30) {
                0 => self.append(at, 20_000),
                1 => self.run_all(),
                2 => self.read(at),
                3..8 => {
                    let steps = self.random.below(30);
                    self.executor.run_for(steps);
                    self.work(at);
                }
                _ => {
                    let bytes = self.random.below(900) as usize;
                    self.append(at, bytes);
                }
            }
        }
    }

    /// All that readers may see is what was appended.
    fn read(&self, at: usize) {
        let log = &self.logs[at];
        let mut from = log.start_offset();
        while from < log.durable_offset() {
            let slices = match log.read(from, 3000, i64::MAX, true) {
                ReadOutcome::Now(read) => read.unwrap(),
                ReadOutcome::Later(read) => match self.executor.block_on(read) {
                    Err(Error::Io { .. }) if self.has_fault => return,
                    read => read.unwrap(),
                },
            };
            assert!(slices.next_offset > from, "a read gets on");
            for found in split(&slices) {
                assert_eq!(
                    found,
                    self.appended[at][usize::try_from(from).unwrap()],
                    "log {at}, offset {from}"
                );
                from += 1;
            }
        }
    }

    fn crash(&mut self, loses_power: bool) {
        let seed = self.random.any();
        let acked =
            self.logs.iter().enumerate().map(|(at, log)| self.acked.borrow()[at].max(log.durable_offset()));
        let acked: Vec<i64> = acked.collect();
        self.executor.kill();
        self.disk = if loses_power { self.disk.crash(seed) } else { self.disk.kill(seed) };
        self.has_fault = false;
        self.open().unwrap();
        for (at, acked) in acked.iter().enumerate() {
            let end = self.logs[at].end_offset();
            assert!(end >= *acked, "log {at}: acknowledged up to {acked}, there up to {end}");
            assert_eq!(end, self.logs[at].durable_offset());
            self.appended[at].truncate(usize::try_from(end).unwrap());
            self.read(at);
        }
        *self.acked.borrow_mut() = std::array::from_fn(|at| self.logs[at].end_offset());
    }
}

fn dir(at: usize) -> LogDir {
    LogDir { topic: format!("topic-{at}"), partition: at as i32, topic_id: Uuid([at as u8 + 1; 16]) }
}

fn path(at: usize) -> String {
    format!("topic-{at}-{at}/00000000000000000000.log")
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_power_goes() {
    for seed in 0..1500 {
        let bytes = [40 << 10, 80 << 10, 1 << 20][seed as usize % 3];
        let mut core = Core::new(seed, bytes);
        core.warm_up();
        for _ in 0..4 {
            let steps = 10 + core.random.below(150);
            core.some_steps(steps);
            let loses_power = !core.random.one_in(4);
            core.crash(loses_power);
        }
    }
}

#[test]
fn appends_of_many_logs_go_together() {
    let mut core = Core::new(1, 1 << 20);
    core.warm_up();
    core.warm_up();
    let before = (core.commit_log.written(), core.disk.counters());
    for at in 0..LOGS {
        core.append(at, 100);
    }
    core.executor.run();
    let after = (core.commit_log.written(), core.disk.counters());
    let rounds = after.0.rounds - before.0.rounds;
    // Whoever comes when the first round is on its way goes with the second.
    assert!(rounds <= 2, "{rounds}");
    assert_eq!(after.0.frames - before.0.frames, LOGS as u64);
    assert_eq!(after.1.durable_writes - before.1.durable_writes, rounds);
    assert!(core.logs.iter().all(|log| log.durable_offset() == log.end_offset()));
    (0..LOGS).for_each(|at| core.read(at));
}

#[test]
fn closing_leaves_everything_in_the_logs_own_files() {
    let mut core = Core::new(2, 1 << 20);
    core.warm_up();
    core.some_steps(100);
    core.run_all();
    assert!(core.commit_log.written().frames > 0);
    for log in &core.logs {
        assert!(core.executor.block_on(log.close()).unwrap().is_clean);
    }
    assert!(core.executor.block_on(core.commit_log.remove()).unwrap());
    assert!(core.names().is_empty());
    for (at, appended) in core.appended.iter().enumerate() {
        if core.config.segment_bytes > 1 << 19 {
            assert_eq!(core.disk.contents(&path(at)).unwrap(), appended.concat());
        }
    }
}

#[test]
fn full_half_is_used_again_and_its_logs_have_it_all() {
    let mut core = Core::new(3, 64 << 10);
    core.warm_up();
    for _ in 0..400 {
        (0..LOGS).for_each(|at| core.append(at, 200));
        core.run_all();
    }
    let written = core.commit_log.written();
    assert!(written.bytes > 20 * (64 << 10), "{written:?}");
    core.crash(true);
}

#[test]
fn round_that_fails_fences_those_on_board_and_nobody_else() {
    let mut core = Core::new(4, 1 << 20);
    core.warm_up();
    core.warm_up();
    core.disk.fail(Fault::on(Operation::Write));
    core.has_fault = true;
    core.append(0, 100);
    core.append(1, 100);
    core.executor.run();
    core.disk.heal();
    let fenced: Vec<bool> = core.logs.iter().map(|log| log.fenced().is_some()).collect();
    assert_eq!(fenced, [true, true, false, false, false, false]);
    core.append(2, 100);
    core.run_all();
    assert_eq!(core.logs[2].durable_offset(), core.logs[2].end_offset(), "it flushes for itself");
    core.crash(true);
}

/// The first log has something in the commit log, up to the offset told, and could not write its own file.
fn core_with_a_stuck_log(seed: u64) -> (Core, i64) {
    let mut core = Core::new(seed, 64 << 10);
    core.warm_up();
    core.warm_up();
    core.append(0, 100);
    core.executor.run();
    let end = core.logs[0].durable_offset();
    core.disk.fail(Fault::on(Operation::Write));
    core.has_fault = true;
    let log = Rc::clone(&core.logs[0]);
    assert!(core.executor.block_on(log.sync()).is_err());
    core.disk.heal();
    (core, end)
}

#[test]
fn log_that_cannot_write_its_own_file_loses_nothing() {
    let (mut core, end) = core_with_a_stuck_log(5);
    assert!(core.logs[0].fenced().is_some());
    core.read(0);
    for _ in 0..400 {
        (1..LOGS).for_each(|at| core.append(at, 200));
        core.run_all();
    }
    assert!(!core.executor.block_on(core.commit_log.remove()).unwrap(), "it holds what nothing else does");
    core.crash(true);
    assert_eq!(core.logs[0].end_offset(), end);
}

#[test]
fn file_stays_if_a_log_needs_it_while_others_write_their_own() {
    (0..20).for_each(file_stays_after);
}

fn file_stays_after(steps: u64) {
    let (mut core, end) = core_with_a_stuck_log(8 + steps);
    while !core.commit_log.wants_upkeep() {
        for at in 1..LOGS {
            let plain = batch(1, 200, NOW_MS);
            let appended = core.logs[at].append(&plain, stamp(), NOW_MS).unwrap();
            core.appended[at].push(stamped(&plain, appended.base_offset));
            core.executor.spawn(core.logs[at].flush());
        }
        core.executor.run();
    }
    let upkeep = core.commit_log.upkeep();
    core.executor.spawn(async move { drop(upkeep.await) });
    core.executor.run_for(steps);
    assert!(!core.executor.block_on(core.commit_log.remove()).unwrap(), "it holds what nothing else does");
    core.crash(true);
    assert_eq!(core.logs[0].end_offset(), end);
}

#[test]
fn damage_in_the_middle_is_told_and_a_torn_end_is_not_damage() {
    let mut core = Core::new(6, 1 << 20);
    core.warm_up();
    core.warm_up();
    for _ in 0..5 {
        (0..LOGS).for_each(|at| core.append(at, 100));
        core.executor.run();
    }
    let name = core.names().remove(0);
    let frames = core.left().unwrap().frames.len();
    let round = core.disk.contents(&name).unwrap();
    let starts: Vec<usize> =
        (0..round.len()).step_by(4096).filter(|at| round[*at..].starts_with(b"MSTRMCMT")).collect();
    let (middle, last) = (starts[starts.len() - 3], starts[starts.len() - 1]);
    core.disk.flip_bit(&name, last as u64 + 50, 1);
    assert!(core.left().unwrap().frames.len() < frames, "the last one counts as torn");
    core.disk.flip_bit(&name, last as u64 + 50, 1);
    core.disk.flip_bit(&name, middle as u64 + 50, 1);
    match core.left() {
        Err(Error::Corrupt { path, position, .. }) => assert_eq!((path, position), (name, middle as u64)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn file_that_was_not_finished_holds_nothing() {
    let core = Core::new(7, 1 << 20);
    let name = core.names().remove(0);
    let whole = core.disk.contents(&name).unwrap();
    for len in [0, 100, 4096, whole.len()] {
        core.disk.put(&name, &vec![0; len]);
        assert!(core.left().unwrap().frames.is_empty());
    }
    core.disk.put(&name, b"something else");
    assert!(matches!(core.left(), Err(Error::Corrupt { .. })));
}
