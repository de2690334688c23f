//! What is beyond its limits leaves the log at once, its names soon and its room after the delay, and never comes back.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

#[path = "logs/world.rs"]
mod world;

use std::rc::Rc;

use protocol::records::batch::BatchHeader;
use storage::disk::memory::{ENOSPC, Fault, Operation};
use storage::log::{Log, LogConfig};
use storage::retention::Limits;
use world::{World, batch, of_producer};

const DELAY_MS: i64 = 60_000;

/// Three batches a segment.
fn config() -> LogConfig {
    LogConfig { segment_bytes: 2500, file_delete_delay_ms: DELAY_MS, ..LogConfig::default() }
}

/// A batch every ten milliseconds.
fn filled(world: &World, count: i64) -> Rc<Log> {
    let log = world.open(None);
    for at in 0..count {
        world.append(&log, &batch(1, 700, at * 10));
    }
    log
}

fn expire(world: &World, log: &Rc<Log>, limits: Limits, now_ms: i64) -> i64 {
    let due = world.executor.block_on(log.expire(limits, now_ms)).unwrap();
    assert_eq!(due.start_offset, log.start_offset());
    world.settle(log);
    due.start_offset
}

fn files(world: &World, end: &str) -> Vec<String> {
    world.disk.paths().into_iter().filter(|path| path.ends_with(end)).collect()
}

#[test]
fn old_segments_go_and_readers_are_told_where_the_log_starts() {
    let world = World::with(1, config());
    let log = filled(&world, 10);
    let limits = Limits { ms: Some(100), bytes: None };
    assert_eq!(expire(&world, &log, limits, 120), 0);
    assert_eq!(expire(&world, &log, limits, 121), 3);
    assert_eq!(expire(&world, &log, limits, 180), 6);
    assert!(world.read(&log, 5, 1000).is_err());
    assert_eq!(world.read_all(&log, 1000).unwrap().len(), 4);
    assert_eq!(log.segments().len(), 2);
}

#[test]
fn size_is_kept_to_by_whole_segments() {
    let world = World::with(1, config());
    let log = filled(&world, 10);
    let bytes = log.size_bytes();
    let limits = |bytes| Limits { ms: None, bytes: Some(bytes) };
    assert_eq!(expire(&world, &log, limits(bytes - 1), 0), 0);
    assert_eq!(expire(&world, &log, limits(bytes / 2), 0), 3);
    assert!(log.size_bytes() >= bytes / 2);
}

#[test]
fn last_segment_goes_too_and_the_log_goes_on_behind_it() {
    let world = World::with(1, config());
    let log = filled(&world, 5);
    assert_eq!(expire(&world, &log, Limits { ms: Some(0), bytes: None }, 1000), 5);
    assert_eq!((log.start_offset(), log.end_offset(), log.size_bytes()), (5, 5, 0));
    assert_eq!(files(&world, ".log"), ["topic-3/00000000000000000005.log"]);
    assert_eq!(world.append(&log, &batch(1, 10, 0)).base_offset, 5);
    let known = log.checkpoint();
    let world = world.crashed(1);
    let log = world.open(Some(known));
    assert_eq!((log.start_offset(), log.end_offset()), (5, 6));
}

#[test]
fn room_is_given_back_after_the_delay() {
    let world = World::with(1, config());
    let log = filled(&world, 10);
    assert_eq!(log.next_sweep_ms(), None);
    expire(&world, &log, Limits { ms: Some(100), bytes: None }, 1000);
    assert_eq!(files(&world, ".log").len(), 1);
    assert_eq!(files(&world, ".log.deleted").len(), 4);
    assert_eq!(log.next_sweep_ms(), Some(1000 + DELAY_MS));
    world.executor.block_on(log.sweep(999 + DELAY_MS)).unwrap();
    assert_eq!(files(&world, ".log.deleted").len(), 4);
    world.executor.block_on(log.sweep(1000 + DELAY_MS)).unwrap();
    assert_eq!(files(&world, ".deleted"), [""; 0]);
    assert_eq!(log.next_sweep_ms(), None);
}

#[test]
fn clean_end_and_recovery_leave_nothing_behind() {
    for crashes in [false, true] {
        let world = World::with(1, config());
        let log = filled(&world, 10);
        expire(&world, &log, Limits { ms: Some(100), bytes: None }, 150);
        assert!(!files(&world, ".deleted").is_empty());
        let world = if crashes {
            let known = log.checkpoint();
            let world = world.crashed(1);
            assert_eq!(world.open(Some(known)).start_offset(), 3);
            world
        } else {
            world.executor.block_on(log.close()).unwrap();
            world
        };
        assert_eq!(files(&world, ".deleted"), [""; 0]);
    }
}

#[test]
fn records_without_a_time_go_by_the_time_of_their_file() {
    let world = World::with(1, config());
    let log = world.open(None);
    for _ in 0..10 {
        world.append(&log, &of_producer(BatchHeader::default(), 1, 700, -1));
    }
    world.disk.set_modified_ms(5000);
    let limits = Limits { ms: Some(100), bytes: None };
    assert_eq!(expire(&world, &log, limits, 5100), 0);
    assert_eq!(expire(&world, &log, limits, 5101), 10);
}

#[test]
fn crash_at_any_step_leaves_no_hole() {
    for seed in 0..200 {
        let world = World::with(seed, config());
        let log = filled(&world, 30);
        let stale = log.checkpoint();
        let due = world.executor.block_on(log.expire(Limits { ms: Some(100), bytes: None }, 250)).unwrap();
        let fresh = log.checkpoint();
        world.executor.spawn(log.upkeep());
        world.executor.run_for(seed * 2);
        if seed % 3 == 0 {
            world.executor.spawn(async move { log.sweep(i64::MAX).await.unwrap() });
            world.executor.run_for(seed);
        }
        let world = world.crashed(seed);
        for known in [Some(fresh), Some(stale), None] {
            let log = world.open(known);
            assert!(log.start_offset() <= due.start_offset && log.end_offset() == 30);
            let batches = world.read_all(&log, 3000).unwrap();
            assert_eq!(batches.len() as i64, 30 - log.start_offset());
        }
    }
}

#[test]
fn full_disk_holds_up_no_removal_for_ever() {
    let world = World::with(1, config());
    let log = filled(&world, 10);
    world.disk.fail(Fault::on(Operation::Rename).path(".log").errno(ENOSPC));
    expire(&world, &log, Limits { ms: Some(100), bytes: None }, 1000);
    assert!(log.fenced().is_none());
    log.retry_upkeep();
    world.settle(&log);
    assert_eq!(files(&world, ".log").len(), 1);
}

#[test]
fn many_segments_go_with_few_flushes() {
    let world = World::with(1, config());
    let log = filled(&world, 900);
    world.disk.reset_counters();
    expire(&world, &log, Limits { ms: Some(0), bytes: None }, 100_000);
    assert!(world.disk.counters().of(Operation::SyncDir) < 20);
    assert_eq!(files(&world, ".log.deleted").len(), 300);
}

#[test]
fn delay_is_not_waited_for_when_room_is_short() {
    let world = World::with(1, config());
    let log = filled(&world, 10);
    expire(&world, &log, Limits { ms: Some(100), bytes: None }, 1000);
    let is_full = Rc::new(std::cell::Cell::new(false));
    log.watch_room(is_full.clone());
    assert_eq!(log.next_sweep_ms(), Some(1000 + DELAY_MS));
    is_full.set(true);
    assert_eq!(log.next_sweep_ms(), Some(i64::MIN));
    world.executor.block_on(log.sweep(1000)).unwrap();
    assert_eq!(files(&world, ".deleted"), [""; 0]);
}
