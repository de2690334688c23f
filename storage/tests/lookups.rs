//! Offsets are found by time, aborted transactions by offset, before and after restarts of every kind.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

#[path = "logs/world.rs"]
mod world;

use std::rc::Rc;

use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::Codec;
use storage::catalogue::Entry;
use storage::log::{AppendError, Log, LogConfig, Stamp};
use storage::segment::aborted_index::AbortedTransaction;
use world::{NOW_MS, World, batch, of_producer, stamp};

fn at_times(codec: Codec, times: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchHeader { codec, ..BatchHeader::default() });
    for time in times {
        builder.append(*time, None, Some(b"value"), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn offset_at(world: &World, log: &Rc<Log>, timestamp: i64) -> Option<(i64, i64)> {
    let found = world.executor.block_on(log.offset_for_timestamp(timestamp)).unwrap();
    found.map(|found| (found.offset, found.timestamp))
}

fn latest(world: &World, log: &Rc<Log>) -> Option<(i64, i64)> {
    let found = world.executor.block_on(log.max_timestamp()).unwrap();
    found.map(|found| (found.offset, found.timestamp))
}

#[test]
fn first_record_that_is_late_enough_is_found_in_every_codec() {
    for codec in Codec::ALL {
        let world =
            World::with(1, LogConfig { segment_bytes: 400, index_interval_bytes: 0, ..LogConfig::default() });
        let log = world.open(None);
        // Times go back and forth, within batches and between them.
        for times in [&[100, 90, 120][..], &[110], &[300, 200], &[250], &[300], &[10]] {
            world.append(&log, &at_times(codec, times));
        }
        for (timestamp, found) in [
            (0, Some((0, 100))),
            (100, Some((0, 100))),
            (101, Some((2, 120))),
            (121, Some((4, 300))),
            (300, Some((4, 300))),
            (301, None),
        ] {
            assert_eq!(offset_at(&world, &log, timestamp), found, "{codec:?} {timestamp}");
        }
        assert_eq!(latest(&world, &log), Some((4, 300)));
        // Below the log's start nothing is found.
        log.delete_before(5, NOW_MS).unwrap();
        assert_eq!(offset_at(&world, &log, 0), Some((5, 200)));
        assert_eq!(offset_at(&world, &log, 260), Some((7, 300)));
    }
}

#[test]
fn largest_time_is_that_of_a_record_still_there() {
    for segment_bytes in [200, 400, 1 << 20] {
        let config = LogConfig { segment_bytes, index_interval_bytes: 0, ..LogConfig::default() };
        let world = World::with(1, config);
        let log = world.open(None);
        for times in [&[900][..], &[700, 850, 500], &[800], &[600, 800], &[650], &[-1]] {
            world.append(&log, &at_times(Codec::None, times));
        }
        for (start, found) in [
            (0, Some((0, 900))),
            (1, Some((2, 850))),
            (2, Some((2, 850))),
            (3, Some((4, 800))),
            (5, Some((6, 800))),
            (6, Some((6, 800))),
            (7, Some((7, 650))),
            (8, None),
        ] {
            log.delete_before(start, NOW_MS).unwrap();
            assert_eq!(latest(&world, &log), found, "segments of {segment_bytes}, from {start}");
        }
    }
}

#[test]
fn what_is_not_durable_is_not_found_by_time() {
    let world = World::new(1);
    let log = world.open(None);
    assert_eq!((offset_at(&world, &log, 0), latest(&world, &log)), (None, None));
    world.append(&log, &at_times(Codec::None, &[100]));
    log.append(&at_times(Codec::None, &[200]), stamp(), NOW_MS).unwrap();
    assert_eq!((offset_at(&world, &log, 150), latest(&world, &log)), (None, Some((0, 100))));
    world.settle(&log);
    assert_eq!((offset_at(&world, &log, 150), latest(&world, &log)), (Some((1, 200)), Some((1, 200))));
}

#[test]
fn time_of_append_is_that_of_all_records() {
    let world = World::new(1);
    let log = world.open(None);
    let stamped = Stamp { log_append_time: Some(5000), ..stamp() };
    let appended = log.append(&at_times(Codec::None, &[1, 2, 3]), stamped, NOW_MS).unwrap();
    assert_eq!(appended.log_append_time, 5000);
    world.settle(&log);
    assert_eq!(offset_at(&world, &log, 4000), Some((0, 5000)));
    let found = world.executor.block_on(log.offset_for_timestamp(1)).unwrap().unwrap();
    assert_eq!(found.leader_epoch, stamp().leader_epoch);
}

#[test]
fn times_are_found_after_a_restart() {
    let config = LogConfig { segment_bytes: 3000, index_interval_bytes: 200, ..LogConfig::default() };
    let world = World::with(1, config);
    let log = world.open(None);
    for at in 0..100 {
        world.append(&log, &batch(2, 80, 1000 + at * 10));
    }
    let check = |world: &World, log: &Rc<Log>| {
        for timestamp in (995_i64..1991).step_by(7) {
            let at = (timestamp - 1000 + 8).div_euclid(10).clamp(0, 99);
            let first = (at * 2, 1000 + at * 10);
            let expected = if first.1 >= timestamp { first } else { (first.0 + 1, first.1 + 1) };
            assert_eq!(offset_at(world, log, timestamp), Some(expected), "{timestamp}");
        }
        assert_eq!(latest(world, log), Some((199, 1991)));
    };
    check(&world, &log);
    let checkpoint = log.checkpoint();
    let entry = world.executor.block_on(log.close()).unwrap();
    for known in [Some(entry), Some(checkpoint), None] {
        let log = world.open(known);
        check(&world, &log);
    }
}

const PRODUCER: i64 = 7;

fn sent(base_sequence: i32) -> Vec<u8> {
    let header = BatchHeader {
        producer_id: PRODUCER,
        producer_epoch: 0,
        base_sequence,
        transactional: true,
        ..BatchHeader::default()
    };
    of_producer(header, 1, 20, 0)
}

fn marker(is_commit: bool, coordinator_epoch: i32) -> Vec<u8> {
    let header = BatchHeader {
        producer_id: PRODUCER,
        producer_epoch: 0,
        transactional: true,
        control: true,
        ..BatchHeader::default()
    };
    let mut builder = BatchBuilder::new(header);
    let key = [0, 0, 0, u8::from(is_commit)];
    let value = [&[0, 0][..], &coordinator_epoch.to_be_bytes()].concat();
    builder.append(0, Some(&key), Some(&value), &[]).unwrap();
    builder.build().unwrap()
}

fn aborted(first_offset: i64, last_offset: i64) -> AbortedTransaction {
    let last_stable_offset = last_offset + 1;
    AbortedTransaction { producer_id: PRODUCER, first_offset, last_offset, last_stable_offset }
}

fn aborted_in(world: &World, log: &Rc<Log>, from: i64, before: i64) -> Vec<AbortedTransaction> {
    world.executor.block_on(log.aborted_transactions(from, before)).unwrap()
}

#[test]
fn aborted_transactions_survive_restarts_of_every_kind() {
    // Small segments, so that transactions end in other ones than they began in; and a large one.
    for segment_bytes in [300, 1 << 20] {
        let config = LogConfig { segment_bytes, ..LogConfig::default() };
        let world = World::with(1, config);
        let log = world.open(None);
        let mut expected = Vec::new();
        let mut checkpoints: Vec<Entry> = Vec::new();
        let mut sequence = 0;
        for round in 0..12 {
            let begin = log.end_offset();
            for _ in 0..3 {
                world.append(&log, &sent(sequence));
                sequence += 1;
                assert_eq!(log.producers().first_unstable_offset(), Some(begin));
            }
            checkpoints.push(log.checkpoint());
            let is_commit = round % 3 == 0;
            let end = world.append(&log, &marker(is_commit, 0));
            if !is_commit {
                expected.push(aborted(begin, end.base_offset));
            }
            log.replicated_up_to(log.durable_offset());
            assert_eq!(log.producers().first_unstable_offset(), None);
            checkpoints.push(log.checkpoint());
        }
        let check = |world: &World, log: &Rc<Log>, how: &str| {
            assert_eq!(aborted_in(world, log, 0, i64::MAX), expected, "{how}");
            let one = expected[3];
            assert_eq!(aborted_in(world, log, one.first_offset + 1, one.first_offset + 2), [one], "{how}");
            assert_eq!(aborted_in(world, log, 0, 4), [], "{how}");
            log.replicated_up_to(log.durable_offset());
            assert_eq!(log.producers().first_unstable_offset(), None, "{how}");
        };
        check(&world, &log, "before");
        let mut world = world;
        let mut seed = 0;
        for known in checkpoints.into_iter().map(Some).chain([None]) {
            seed += 1;
            world = world.crashed(seed);
            let how = format!("{:?}", known.as_ref().map(|known| known.recovery));
            let log = world.open(known);
            check(&world, &log, &how);
            if seed % 2 == 0 {
                world.settle(&log);
                check(&world, &log, &how);
            }
        }
        let log = world.open(None);
        let entry = world.executor.block_on(log.close()).unwrap();
        let log = world.open(Some(entry));
        check(&world, &log, "closed");
    }
}

#[test]
fn marker_of_a_replaced_coordinator_is_refused() {
    let world = World::new(1);
    let log = world.open(None);
    world.append(&log, &sent(0));
    let plain =
        BatchHeader { producer_id: PRODUCER, producer_epoch: 0, base_sequence: 1, ..BatchHeader::default() };
    let refused = log.append(&of_producer(plain, 1, 5, 0), stamp(), NOW_MS);
    assert!(matches!(refused, Err(AppendError::InvalidTransactionState)));
    world.append(&log, &marker(false, 3));
    assert!(matches!(log.append(&marker(false, 2), stamp(), NOW_MS), Err(AppendError::CoordinatorFenced)));
}
