//! What is appended is read back, byte for byte, as soon as it is durable and not before.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

#[path = "logs/world.rs"]
mod world;

use std::rc::Rc;

use storage::disk::memory::{MemoryDisk, Operation};
use storage::log::{AppendError, Flushed, Log, LogConfig, Offsets, ReadOutcome, Stamp};
use storage::{Error, cache::TailCache};
use world::{NOW_MS, World, batch, stamp, stamped};

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 20_000, index_interval_bytes: 500, ..LogConfig::default() }
}

#[test]
fn appended_batches_are_read_back_as_they_were() {
    let world = World::new(1);
    let log = world.open(None);
    let mut expected = Vec::new();
    for (count, bytes) in [(1, 10), (3, 100), (1, 5000), (10, 1), (1, 300_000), (2, 2000)] {
        let batch = batch(count, bytes, 5);
        let appended = world.append(&log, &batch);
        expected.push(stamped(&batch, appended.base_offset));
        assert_eq!(appended.last_offset + 1, log.end_offset());
    }
    assert_eq!((log.start_offset(), log.end_offset(), log.durable_offset()), (0, 18, 18));
    for bytes_max in [1, 1000, 10_000, 1 << 20] {
        assert_eq!(world.read_all(&log, bytes_max).unwrap(), expected);
    }
    let content: usize = expected.iter().map(Vec::len).sum();
    assert_eq!(log.size_bytes(), content as u64);
}

#[test]
fn nothing_is_seen_before_it_is_durable() {
    let world = World::new(1);
    let log = world.open(None);
    let appended = log.append(&batch(2, 10, 0), stamp(), NOW_MS).unwrap();
    assert_eq!((appended.base_offset, appended.last_offset, log.end_offset()), (0, 1, 2));
    assert_eq!(log.durable_offset(), 0);
    assert_eq!(world.read(&log, 0, 1000).unwrap().bytes, 0);
    assert!(log.needs_flush());
    let waiting = log.durable(2);
    world.executor.spawn({
        let log = Rc::clone(&log);
        async move { log.flush().await }
    });
    world.executor.block_on(waiting).unwrap();
    assert_eq!(log.durable_offset(), 2);
    assert!(world.disk.is_durable("topic-3/00000000000000000000.log"));
    assert_eq!(world.read(&log, 0, 1000).unwrap().next_offset, 2);
}

#[test]
fn a_flush_tells_what_it_carried() {
    let world = World::new(1);
    let log = world.open(None);
    let flush_once = |log: &Rc<Log>| world.executor.block_on(log.flush_once());
    assert_eq!(flush_once(&log), Flushed::default());
    // The second finds no room in the first one's buffer and takes its place.
    for bytes in [10, 5000, 10] {
        log.append(&batch(1, bytes, 0), stamp(), NOW_MS).unwrap();
    }
    assert_eq!(flush_once(&log), Flushed { batches: 3, bytes: 8192 });
    assert!(!log.needs_flush());
    log.append(&batch(1, 10, 0), stamp(), NOW_MS).unwrap();
    // The block that was begun is written again.
    assert_eq!(flush_once(&log), Flushed { batches: 1, bytes: 4096 });
    assert_eq!(log.durable_offset(), 4);
}

#[test]
fn log_without_an_append_leaves_no_trace() {
    let world = World::new(1);
    let log = world.open(None);
    assert!(!log.needs_flush() && !log.wants_upkeep());
    let entry = world.executor.block_on(log.close()).unwrap();
    assert!(entry.is_clean && entry.segments.is_empty());
    assert_eq!(world.disk.paths(), Vec::<String>::new());
    let counters = world.disk.counters().total();
    world.open(Some(entry));
    assert_eq!(world.disk.counters().total(), counters);
}

#[test]
fn appends_during_a_write_join_the_next_one() {
    let world = World::new(1);
    let log = world.open(None);
    world.append(&log, &batch(1, 10, 0));
    let before = world.disk.counters().durable_writes;
    log.append(&batch(1, 10, 0), stamp(), NOW_MS).unwrap();
    let flush = log.flush();
    world.executor.spawn(flush);
    world.executor.run_for(1);
    for _ in 0..50 {
        log.append(&batch(1, 10, 0), stamp(), NOW_MS).unwrap();
        assert!(!log.needs_flush(), "the flush that runs takes them along");
    }
    world.executor.run();
    assert_eq!(log.durable_offset(), 52);
    assert_eq!(world.disk.counters().durable_writes - before, 2);
}

#[test]
fn limits_of_a_read_are_kept() {
    let world = World::new(1);
    let log = world.open(None);
    let one = batch(2, 100, 0);
    for _ in 0..10 {
        world.append(&log, &one);
    }
    let bytes = one.len();
    for is_cached in [true, false] {
        if !is_cached {
            world.cache.keep_nothing();
        }
        let read = |from, bytes_max, before, at_least_one| {
            let slices = world.read_before(&log, from, bytes_max, before, at_least_one).unwrap();
            (slices.first_offset, slices.next_offset, slices.bytes)
        };
        assert_eq!(read(0, 3 * bytes, i64::MAX, false), (0, 6, 3 * bytes));
        assert_eq!(read(0, 3 * bytes - 1, i64::MAX, false), (0, 4, 2 * bytes));
        assert_eq!(read(0, 10 * bytes, 7, false), (0, 6, 3 * bytes));
        assert_eq!(read(5, 10 * bytes, 8, false), (4, 8, 2 * bytes), "from the batch that holds the offset");
        assert_eq!(read(18, 1, i64::MAX, true), (18, 20, bytes), "the first comes whole");
        assert_eq!(read(18, 1, i64::MAX, false), (18, 18, 0));
        assert_eq!(read(20, 1000, i64::MAX, true), (20, 20, 0));
        assert_eq!(read(3, 1000, 3, true), (3, 3, 0));
    }
    for offset in [-1, 21] {
        assert!(matches!(world.read(&log, offset, 1000), Err(Error::OutOfRange { start: 0, end: 20, .. })));
    }
}

#[test]
fn a_log_that_keeps_no_tail_is_read_from_disk_and_holds_no_memory() {
    let world = World::with(1, LogConfig { keeps_tail: false, ..small_segments() });
    let log = world.open(None);
    let mut expected = Vec::new();
    for at in 0..50 {
        let batch = batch(1, 50 + (at * 37) % 900, at as i64);
        let appended = world.append(&log, &batch);
        expected.push(stamped(&batch, appended.base_offset));
    }
    assert_eq!(world.cache.held_bytes(), 0);
    assert!(matches!(log.read(49, 1000, i64::MAX, true), ReadOutcome::Later(_)));
    assert_eq!(world.read_all(&log, 2000).unwrap(), expected);
}

#[test]
fn old_batches_come_from_disk_and_recent_ones_do_not() {
    let mut world = World::with(1, small_segments());
    world.cache = Rc::new(TailCache::new(40_000));
    let log = world.open(None);
    let mut expected = Vec::new();
    for at in 0..200 {
        let batch = batch(1, 50 + (at * 37) % 900, at as i64);
        let appended = world.append(&log, &batch);
        expected.push(stamped(&batch, appended.base_offset));
    }
    assert!(log.segments().len() >= 4);
    assert!(matches!(log.read(199, 1000, i64::MAX, true), ReadOutcome::Now(Ok(_))));
    assert!(matches!(log.read(0, 1000, i64::MAX, true), ReadOutcome::Later(_)));
    for bytes_max in [1, 2000, 100_000] {
        assert_eq!(world.read_all(&log, bytes_max).unwrap(), expected);
    }
    assert!(world.cache.held_bytes() <= 40_000);
    assert!(
        matches!(log.read(199, 1000, i64::MAX, true), ReadOutcome::Now(Ok(_))),
        "reads of old data push out nothing"
    );
}

#[test]
fn one_who_catches_up_reads_the_disk_in_large_pieces() {
    let world = World::new(1);
    let log = world.open(None);
    for _ in 0..300 {
        log.append(&batch(1, 1000, 0), stamp(), NOW_MS).unwrap();
    }
    world.settle(&log);
    world.cache.keep_nothing();
    let cache = Rc::new(TailCache::new(8 << 20));
    let world = World { cache, ..world };
    let entry = world.executor.block_on(log.close()).unwrap();
    let log = world.open(Some(entry));
    world.disk.reset_counters();
    assert_eq!(world.read_all(&log, 5000).unwrap().len(), 300);
    assert!(world.disk.counters().of(Operation::Read) < 20, "{:?}", world.disk.counters());
}

/// A log of 300 batches of about 1,000 bytes, none of them in memory.
fn cold(world: World) -> (World, Rc<Log>) {
    let log = world.open(None);
    for _ in 0..300 {
        log.append(&batch(1, 1000, 0), stamp(), NOW_MS).unwrap();
    }
    world.settle(&log);
    world.cache.keep_nothing();
    let entry = world.executor.block_on(log.close()).unwrap();
    let world = World { cache: Rc::new(TailCache::new(8 << 20)), ..world };
    let log = world.open(Some(entry));
    world.disk.reset_counters();
    (world, log)
}

/// What comes from an offset on, and whether it was in memory.
fn read_next(world: &World, log: &Rc<Log>, from: &mut i64) -> bool {
    let (slices, in_memory) = match log.read(*from, 128 << 10, i64::MAX, true) {
        ReadOutcome::Now(slices) => (slices.unwrap(), true),
        ReadOutcome::Later(read) => (world.executor.block_on(read).unwrap(), false),
    };
    assert_eq!(slices.first_offset, *from);
    *from = slices.next_offset;
    in_memory
}

#[test]
fn one_who_reads_in_order_finds_the_next_window_in_memory() {
    let (world, log) = cold(World::new(1));
    let mut from = 0;
    assert!(!read_next(&world, &log, &mut from));
    assert!(log.read_ahead().is_none(), "one read is no order");
    assert!(!read_next(&world, &log, &mut from));
    world.executor.block_on(log.read_ahead().expect("two are"));
    assert!(read_next(&world, &log, &mut from));
    assert_eq!(from, log.end_offset());
    assert!(log.read_ahead().is_none(), "that was all");
    from = 150;
    read_next(&world, &log, &mut from);
    assert!(log.read_ahead().is_none(), "what follows is in memory");
}

#[test]
fn one_who_comes_while_his_window_is_read_ahead_waits_for_it() {
    let (world, log) = cold(World::new(1));
    let mut from = 0;
    read_next(&world, &log, &mut from);
    read_next(&world, &log, &mut from);
    let before = world.disk.counters().of(Operation::Read);
    let ahead = log.read_ahead().expect("two reads are an order");
    let ReadOutcome::Later(read) = log.read(from, 128 << 10, i64::MAX, true) else {
        panic!("it is not there yet");
    };
    world.executor.spawn(ahead);
    let slices = world.executor.block_on(read).unwrap();
    assert_eq!((slices.first_offset, slices.next_offset), (from, log.end_offset()));
    let reads = world.disk.counters().of(Operation::Read) - before;
    assert!(reads <= 2, "{reads} reads: of the index's place, and of the window, once");
}

#[test]
fn reading_ahead_for_many_logs_keeps_to_half_of_the_windows() {
    let (world, first) = cold(World::new(1));
    let world = World { cache: Rc::new(TailCache::new(2 << 20)), ..world };
    let entry = world.executor.block_on(first.close()).unwrap();
    // Half of the windows' quarter is room for two of 128 KiB.
    let logs = [(); 3].map(|()| world.open(Some(entry.clone())));
    let begun = logs.each_ref().map(|log| {
        let mut from = 0;
        read_next(&world, log, &mut from);
        read_next(&world, log, &mut from);
        log.read_ahead()
    });
    assert_eq!(begun.each_ref().map(Option::is_some), [true, true, false]);
    drop(begun);
    drop(logs);
    let log = world.open(Some(entry));
    let mut from = 0;
    read_next(&world, &log, &mut from);
    read_next(&world, &log, &mut from);
    assert!(log.read_ahead().is_some(), "logs that are gone give their room back");
}

#[test]
fn log_closed_in_order_opens_without_touching_the_disk() {
    let world = World::with(1, small_segments());
    let log = world.open(None);
    let mut expected = Vec::new();
    let mut append = |log: &Rc<Log>, count: usize| {
        for at in 0..count {
            let batch = batch(2, 300 + at, at as i64);
            let appended = world.append(log, &batch);
            expected.push(stamped(&batch, appended.base_offset));
        }
        expected.clone()
    };
    append(&log, 50);
    let entry = world.executor.block_on(log.close()).unwrap();
    assert!(entry.is_clean);
    assert!(matches!(
        log.append(&batch(1, 1, 0), stamp(), NOW_MS),
        Err(AppendError::Storage(Error::Fenced(_)))
    ));
    let before = world.disk.counters().total();
    let log = world.open(Some(entry));
    assert_eq!(world.disk.counters().total(), before);
    assert_eq!(log.durable_offset(), 100);
    let expected = append(&log, 50);
    assert_eq!(world.read_all(&log, 10_000).unwrap(), expected);
    let entry = world.executor.block_on(log.close()).unwrap();
    let log = world.open(Some(entry));
    assert_eq!(world.read_all(&log, 10_000).unwrap(), expected);
}

#[test]
fn files_of_a_closed_log_are_cut_to_their_content() {
    let world = World::with(1, small_segments());
    let log = world.open(None);
    for at in 0..60 {
        world.append(&log, &batch(1, 900, at));
    }
    world.executor.block_on(log.close()).unwrap();
    let segments = log.segments();
    assert!(segments.len() >= 3);
    for segment in &segments {
        let path = |suffix: &str| format!("topic-3/{:020}.{suffix}", segment.base_offset);
        assert_eq!(world.disk.contents(&path("log")).unwrap().len(), segment.bytes as usize);
        for suffix in ["index", "timeindex"] {
            assert!(!world.disk.contents(&path(suffix)).unwrap().is_empty(), "{suffix}");
        }
        let has_snapshot = world.disk.contents(&path("snapshot")).is_some();
        assert_eq!(has_snapshot, segment.base_offset > 0);
    }
    assert!(world.disk.contents("topic-3/00000000000000000060.snapshot").is_some());
    for file in ["leader-epoch-checkpoint", "partition.metadata"] {
        assert!(world.disk.contents(&format!("topic-3/{file}")).is_some(), "{file}");
    }
    for path in world.disk.paths() {
        assert!(world.disk.is_durable(&path), "{path}");
    }
}

#[test]
fn segments_roll_by_size_time_and_offsets() {
    let config = LogConfig { segment_bytes: 1000, segment_ms: 5000, ..LogConfig::default() };
    let world = World::with(1, config);
    let log = world.open(None);
    let bases = |log: &Log| log.segments().iter().map(|s| s.base_offset).collect::<Vec<_>>();
    world.append(&log, &batch(1, 400, 10));
    world.append(&log, &batch(1, 400, 5010));
    assert_eq!(bases(&log), [0], "neither too large nor too old");
    world.append(&log, &batch(1, 400, 5010));
    assert_eq!(bases(&log), [0, 2], "too large");
    world.append(&log, &batch(1, 10, 10_011));
    assert_eq!(bases(&log), [0, 2, 3], "too old");
    let keep = Stamp { offsets: Offsets::Keep, ..stamp() };
    let far = stamped(&batch(1, 10, 10_011), 4 + i64::from(i32::MAX));
    log.append(&far, keep, NOW_MS).unwrap();
    assert_eq!(bases(&log).len(), 4, "too far from the base offset");
    let too_large = log.append(&batch(1, 2000, 0), stamp(), NOW_MS);
    assert!(matches!(too_large, Err(AppendError::TooLarge { segment_bytes: 1000, .. })));
}

#[test]
fn kept_offsets_and_epochs_are_those_of_the_leader() {
    let world = World::new(1);
    let log = world.open(None);
    let keep = Stamp { leader_epoch: 99, log_append_time: None, offsets: Offsets::Keep };
    let mut first = batch(2, 10, 0);
    protocol::records::batch::stamp(&mut first, 10, 3, None);
    let mut second = batch(1, 10, 0);
    protocol::records::batch::stamp(&mut second, 12, 4, None);
    log.append(&first, keep, NOW_MS).unwrap();
    log.append(&second, keep, NOW_MS).unwrap();
    assert!(matches!(
        log.append(&first, keep, NOW_MS),
        Err(AppendError::NotNext { base_offset: 10, end_offset: 13 })
    ));
    world.settle(&log);
    assert_eq!(world.read_all(&log, 1000).unwrap(), [first, second]);
    assert_eq!((log.latest_epoch(), log.end_offset_for_epoch(3)), (Some(4), Some((3, 12))));
}

#[test]
fn bytes_that_are_not_one_batch_are_refused() {
    let world = World::new(1);
    let log = world.open(None);
    let one = batch(1, 10, 0);
    for bytes in [&one[..one.len() - 1], &[one.clone(), one.clone()].concat(), &[]] {
        assert!(matches!(log.append(bytes, stamp(), NOW_MS), Err(AppendError::NotABatch(_))));
    }
    assert_eq!(log.end_offset(), 0);
}

#[test]
fn start_moves_on_and_old_segments_go() {
    let world = World::with(1, small_segments());
    let log = world.open(None);
    for at in 0..100 {
        world.append(&log, &batch(1, 900, at));
    }
    let bases: Vec<i64> = log.segments().iter().map(|segment| segment.base_offset).collect();
    assert!(matches!(log.delete_before(101, NOW_MS), Err(Error::OutOfRange { .. })));
    assert_eq!(log.delete_before(bases[2] + 1, NOW_MS).unwrap(), bases[2] + 1);
    assert_eq!(log.delete_before(3, NOW_MS).unwrap(), bases[2] + 1, "it never moves back");
    assert_eq!(log.segments()[0].base_offset, bases[2]);
    assert!(matches!(world.read(&log, bases[2], 1000), Err(Error::OutOfRange { .. })));
    let slices = world.read(&log, bases[2] + 1, 1).unwrap();
    assert_eq!(slices.first_offset, bases[2] + 1);
    world.settle(&log);
    world.executor.block_on(log.sweep(i64::MAX)).unwrap();
    let is_gone = |base: i64| !world.disk.paths().iter().any(|path| path.contains(&format!("{base:020}.")));
    assert!(is_gone(bases[0]) && is_gone(bases[1]) && !is_gone(bases[2]));
    // All of it: an empty segment says where the log goes on.
    assert_eq!(log.delete_before(100, NOW_MS).unwrap(), 100);
    world.settle(&log);
    let logs: Vec<String> = world.disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
    assert_eq!(logs, ["topic-3/00000000000000000100.log"]);
    let log = world.open(None);
    assert_eq!((log.start_offset(), log.end_offset()), (100, 100));
    assert_eq!(world.append(&log, &batch(1, 10, 0)).base_offset, 100);
}

#[test]
fn deleted_log_is_gone_at_once_and_its_files_step_by_step() {
    let world = World::new(1);
    let log = world.open(None);
    world.append(&log, &batch(1, 900, 0));
    let mut removal = world.executor.block_on(log.delete(protocol::ids::Uuid([0xab; 16]))).unwrap();
    assert_eq!(removal.folder(), format!("topic-3.{}-delete", "ab".repeat(16)));
    assert!(world.disk.paths().iter().all(|path| path.starts_with(removal.folder())));
    assert!(world.disk.is_durable(removal.folder()));
    assert_eq!(world.cache.held_bytes(), 0);
    let log = world.open(None);
    assert_eq!(log.end_offset(), 0);
    let mut steps = 0;
    while !world.executor.block_on(removal.step()).unwrap() {
        steps += 1;
    }
    assert!(steps >= 2);
    assert_eq!(world.disk.paths(), Vec::<String>::new());
}

#[test]
fn appends_hit_space_that_was_written_before() {
    let world = World::new(1);
    let log = world.open(None);
    let mut beyond = 0;
    for at in 0..2000 {
        let len = world.disk.contents("topic-3/00000000000000000000.log").map_or(0, |bytes| bytes.len());
        let before = log.size_bytes();
        world.append(&log, &batch(1, 1000, at));
        beyond += usize::from(len < usize::try_from(before).unwrap() + 1100);
    }
    assert!(beyond <= 4, "{beyond} appends extended the file");
}

#[test]
fn idle_log_takes_little_memory() {
    let size = size_of::<Log>();
    assert!(size <= 700, "{size} bytes");
    let disk = MemoryDisk::new(1);
    assert_eq!(disk.paths().len(), 0);
}
