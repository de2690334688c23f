//! A failed write or flush fences the log; a full disk does not.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

#[path = "logs/world.rs"]
mod world;

use std::cell::Cell;
use std::rc::Rc;

use protocol::records::batch::BatchHeader;
use storage::Error;
use storage::disk::Disk;
use storage::disk::memory::{ENOSPC, Fault, Operation};
use storage::log::{AppendError, Durability, LogConfig};
use world::{NOW_MS, World, batch, of_producer, stamp, stamped};

fn idempotent(base_sequence: i32, bytes: usize) -> Vec<u8> {
    let header = BatchHeader { producer_id: 9, producer_epoch: 0, base_sequence, ..BatchHeader::default() };
    of_producer(header, 1, bytes, 0)
}

#[test]
fn failed_write_fences_the_log_for_good() {
    let world = World::new(1);
    let log = world.open(None);
    let first = batch(1, 100, 0);
    world.append(&log, &first);
    world.disk.fail(Fault::on(Operation::Write));
    let appended = log.append(&batch(1, 100, 0), stamp(), NOW_MS).unwrap();
    let (waiting, later) = (log.durable(appended.last_offset + 1), log.durable(100));
    world.settle(&log);
    assert!(matches!(world.executor.block_on(waiting), Err(Error::Fenced(_))));
    assert!(matches!(world.executor.block_on(later), Err(Error::Fenced(_))));
    for _ in 0..3 {
        let refused = log.append(&batch(1, 100, 0), stamp(), NOW_MS);
        assert!(matches!(refused, Err(AppendError::Storage(Error::Fenced(_)))));
    }
    assert!(!log.needs_flush() && !log.wants_upkeep());
    assert_eq!(log.durable_offset(), 1);
    assert_eq!(world.read_all(&log, 1000).unwrap(), [stamped(&first, 0)], "what is durable is still read");
    assert!(world.executor.block_on(log.close()).is_err());
    // Opened anew it goes on.
    let log = world.open(Some(log.checkpoint()));
    assert!(log.end_offset() >= 1);
    world.append(&log, &batch(1, 100, 0));
}

#[test]
fn failed_flush_of_a_new_name_is_never_acknowledged() {
    for operation in
        [Operation::CreateDir, Operation::Open, Operation::SyncDir, Operation::Sync, Operation::Rename]
    {
        let world = World::new(1);
        let log = world.open(None);
        world.disk.fail(Fault::on(operation));
        let appended = log.append(&batch(1, 100, 0), stamp(), NOW_MS).unwrap();
        let waiting = log.durable(appended.last_offset + 1);
        world.settle(&log);
        assert!(matches!(world.executor.block_on(waiting), Err(Error::Fenced(_))), "{operation:?}");
        assert_eq!(log.durable_offset(), 0);
    }
}

#[test]
fn full_disk_takes_appends_back_and_heals() {
    let world = World::new(1);
    let log = world.open(None);
    world.append(&log, &idempotent(0, 100));
    let space = world.disk.space().unwrap();
    world.disk.set_capacity(space.total_bytes - space.free_bytes);
    let lost = log.append(&idempotent(1, 20_000), stamp(), NOW_MS).unwrap();
    assert_eq!((lost.base_offset, log.end_offset()), (1, 2));
    let (waiting, grown) = (log.durable(2), log.durable(3));
    world.settle(&log);
    assert!(matches!(world.executor.block_on(waiting), Err(Error::Full)));
    assert!(log.fenced().is_none());
    assert_eq!((log.end_offset(), log.durable_offset()), (1, 1), "as if it had never been");
    assert_eq!(world.read_all(&log, 1 << 20).unwrap().len(), 1);
    // The producer's state went back too: what comes next is the same batch again.
    let refused = log.append(&idempotent(2, 10), stamp(), NOW_MS);
    assert!(matches!(refused, Err(AppendError::OutOfOrderSequence)));
    world.disk.set_capacity(1 << 30);
    let again = world.append(&log, &idempotent(1, 20_000));
    assert_eq!((again.base_offset, again.duplicate), (1, false));
    world.append(&log, &idempotent(2, 10));
    world.executor.block_on(grown).unwrap();
    let world = world.crashed(7);
    let log = world.open(None);
    assert_eq!(world.read_all(&log, 1 << 20).unwrap().len(), 3);
    assert!(log.append(&idempotent(2, 10), stamp(), NOW_MS).unwrap().duplicate);
}

#[test]
fn no_room_for_the_first_file_is_no_fault_either() {
    for (operation, after) in
        [(Operation::CreateDir, 0), (Operation::Open, 0), (Operation::Open, 1), (Operation::SyncDir, 1)]
    {
        let world = World::new(1);
        let log = world.open(None);
        world.disk.fail(Fault::on(operation).after(after).errno(ENOSPC));
        let appended = log.append(&batch(1, 100, 0), stamp(), NOW_MS).unwrap();
        let waiting = log.durable(appended.last_offset + 1);
        world.settle(&log);
        assert!(matches!(world.executor.block_on(waiting), Err(Error::Full)), "{operation:?} {after}");
        world.append(&log, &batch(1, 100, 0));
        assert_eq!(world.read_all(&log, 1000).unwrap().len(), 1);
    }
}

#[test]
fn reserve_refuses_appends_at_once_and_nothing_else() {
    let world = World::new(1);
    let log = world.open(None);
    world.append(&log, &batch(1, 100, 0));
    let is_full = Rc::new(Cell::new(true));
    log.watch_room(Rc::clone(&is_full));
    assert!(matches!(log.append(&batch(1, 1, 0), stamp(), NOW_MS), Err(AppendError::Storage(Error::Full))));
    assert_eq!(world.read_all(&log, 1000).unwrap().len(), 1);
    assert_eq!(log.delete_before(1, NOW_MS).unwrap(), 1);
    is_full.set(false);
    world.append(&log, &batch(1, 100, 0));
}

#[test]
fn segments_are_removed_from_a_full_disk() {
    let config = LogConfig { segment_bytes: 2000, ..LogConfig::default() };
    let world = World::with(1, config);
    let log = world.open(None);
    for _ in 0..40 {
        world.append(&log, &batch(1, 900, 0));
    }
    let space = world.disk.space().unwrap();
    world.disk.set_capacity(space.total_bytes - space.free_bytes);
    log.append(&batch(1, 900, 0), stamp(), NOW_MS).unwrap();
    world.settle(&log);
    assert_eq!(log.end_offset(), 40);
    log.delete_before(30, NOW_MS).unwrap();
    world.settle(&log);
    world.executor.block_on(log.sweep(i64::MAX)).unwrap();
    assert!(world.disk.space().unwrap().free_bytes > 0);
    world.append(&log, &batch(1, 900, 0));
}

#[test]
fn failed_upkeep_loses_nothing_that_was_acknowledged() {
    let config = LogConfig { segment_bytes: 2000, ..LogConfig::default() };
    for operation in [Operation::Truncate, Operation::Rename, Operation::Sync, Operation::Remove] {
        for after in 0..4 {
            let world = World::with(1, config.clone());
            let log = world.open(None);
            world.append(&log, &batch(1, 900, 0));
            world.disk.fail(Fault::on(operation).after(after));
            let mut acked = 1;
            for _ in 0..10 {
                let Ok(appended) = log.append(&batch(1, 900, 0), stamp(), NOW_MS) else { break };
                let waiting = log.durable(appended.last_offset + 1);
                world.settle(&log);
                match world.executor.block_on(waiting) {
                    Ok(()) => acked = appended.last_offset + 1,
                    Err(error) => assert!(matches!(error, Error::Fenced(_))),
                }
            }
            let world = world.crashed(after);
            let log = world.open(None);
            assert!(log.end_offset() >= acked);
            assert_eq!(world.read_all(&log, 1000).unwrap().len() as i64, log.end_offset());
        }
    }
}

#[test]
fn less_durability_waits_for_no_flush_and_says_what_would_last() {
    let config = LogConfig { durability: Durability::Written, ..LogConfig::default() };
    let world = World::with(1, config);
    let log = world.open(None);
    world.append(&log, &batch(1, 100, 0));
    assert_eq!(world.disk.counters().durable_writes, 0);
    assert_eq!(log.durable_offset(), 1);
    assert_eq!(log.checkpoint().recovery.offset, 0);
    world.executor.block_on(log.sync()).unwrap();
    assert_eq!(log.checkpoint().recovery.offset, 1);
    let world = world.crashed(3);
    assert_eq!(world.open(None).end_offset(), 1);
}
