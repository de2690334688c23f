//! What was acknowledged is there after a crash, whatever the catalogue says, and little is read to find out.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

#[path = "logs/world.rs"]
mod world;

use std::rc::Rc;

use protocol::records::batch::BatchHeader;
use storage::Error;
use storage::catalogue::Entry;
use storage::log::{Log, LogConfig, LogDir};
use world::{NOW_MS, World, batch, dir, of_producer, stamp, stamped};

fn filled(world: &World, count: i64) -> (Rc<Log>, Vec<Vec<u8>>) {
    let log = world.open(None);
    let mut expected = Vec::new();
    for at in 0..count {
        let batch = batch(1, 700, at);
        world.append(&log, &batch);
        expected.push(stamped(&batch, at));
    }
    (log, expected)
}

#[test]
fn acknowledged_batches_survive_a_power_cut_with_any_catalogue() {
    let config = LogConfig { segment_bytes: 5000, index_interval_bytes: 500, ..LogConfig::default() };
    for seed in 0..20 {
        let world = World::with(seed, config.clone());
        let (log, mut expected) = filled(&world, 10);
        let stale = log.checkpoint();
        for at in 10..33 {
            let batch = batch(1, 700, at);
            world.append(&log, &batch);
            expected.push(stamped(&batch, at));
        }
        let good = log.checkpoint();
        // One more is on its way.
        let unsure = batch(1, 700, 33);
        log.append(&unsure, stamp(), NOW_MS).unwrap();
        world.executor.spawn(log.flush());
        world.executor.run_for(seed);
        let known = [Some(good), Some(stale), None][seed as usize % 3].clone();
        let world = world.crashed(seed);
        let log = world.open(known);
        let found = world.read_all(&log, 3000).unwrap();
        assert_eq!(found[..33], expected);
        if found.len() > 33 {
            assert_eq!(found[33..], [stamped(&unsure, 33)]);
        }
        world.append(&log, &batch(1, 700, 99));
    }
}

#[test]
fn recovery_reads_what_lies_behind_the_checkpoint_and_no_more() {
    let world = World::new(1);
    let (log, _) = filled(&world, 3000);
    let known = log.checkpoint();
    for at in 0..20 {
        world.append(&log, &batch(1, 700, at));
    }
    let world = world.crashed(1);
    world.disk.reset_counters();
    let log = world.open(Some(known));
    assert_eq!(log.end_offset(), 3020);
    let read = world.disk.counters().bytes_read;
    assert!(read < 250_000, "{read} bytes were read of {}", log.size_bytes());
    // What the index lacks is made up for, so that reads find their way at once.
    assert!(log.wants_upkeep());
    world.settle(&log);
    world.disk.reset_counters();
    assert_eq!(world.read(&log, 2900, 1000).unwrap().first_offset, 2900);
    assert!(world.disk.counters().bytes_read < 200_000);
}

#[test]
fn process_that_is_killed_loses_nothing_later_either() {
    // What recovery read may have been in flight: only once it is flushed may more be built on it.
    for seed in 0..30 {
        let world = World::new(seed);
        let log = world.open(None);
        world.append(&log, &batch(1, 5000, 0));
        log.append(&batch(1, 5000, 1), stamp(), NOW_MS).unwrap();
        world.executor.spawn(log.flush());
        world.executor.run_for(seed % 7);
        world.executor.kill();
        let killed = World::on(world.disk.kill(seed), seed, world.config.clone());
        let log = killed.open(None);
        let end = log.end_offset();
        assert!(end >= 1);
        let last = killed.append(&log, &batch(1, 100, 2));
        let world = killed.crashed(seed);
        let log = world.open(None);
        assert_eq!(log.end_offset(), last.last_offset + 1);
        assert_eq!(world.read_all(&log, 1 << 20).unwrap().len() as i64, end + 1);
    }
}

#[test]
fn producers_are_known_again_after_a_crash() {
    let sent = |base_sequence: i32| {
        let header =
            BatchHeader { producer_id: 4, producer_epoch: 1, base_sequence, ..BatchHeader::default() };
        of_producer(header, 2, 300, 0)
    };
    let config = LogConfig { segment_bytes: 3000, ..LogConfig::default() };
    for known in [true, false] {
        let world = World::with(1, config.clone());
        let log = world.open(None);
        let mut checkpoint = None;
        for at in 0..20 {
            world.append(&log, &sent(at * 2));
            if at == 11 {
                checkpoint = Some(log.checkpoint());
            }
        }
        let world = world.crashed(1);
        let log = world.open(checkpoint.filter(|_| known));
        let again = log.append(&sent(38), stamp(), NOW_MS).unwrap();
        assert_eq!((again.duplicate, again.base_offset), (true, 38));
        assert!(log.append(&sent(44), stamp(), NOW_MS).is_err());
        assert!(!log.append(&sent(40), stamp(), NOW_MS).unwrap().duplicate);
    }
}

#[test]
fn epochs_are_known_again_after_a_crash() {
    let world = World::new(1);
    let log = world.open(None);
    let of_epoch = |leader_epoch| storage::log::Stamp { leader_epoch, ..stamp() };
    for leader_epoch in [0, 0, 3, 3, 9] {
        log.append(&batch(1, 10, 0), of_epoch(leader_epoch), NOW_MS).unwrap();
        world.settle(&log);
    }
    let world = world.crashed(1);
    for known in [None, Some(log.checkpoint())] {
        let log = world.open(known);
        let ends: Vec<_> = [0, 1, 3, 8, 9, 10].map(|epoch| log.end_offset_for_epoch(epoch)).into();
        assert_eq!(ends, [Some((0, 2)), Some((0, 2)), Some((3, 4)), Some((3, 4)), Some((9, 5)), None]);
    }
}

#[test]
fn entry_of_another_topic_of_that_name_is_not_believed() {
    let world = World::new(1);
    let (log, _) = filled(&world, 3);
    let entry = world.executor.block_on(log.close()).unwrap();
    let disk = Rc::new(world.disk.clone());
    let other = LogDir { topic_id: protocol::ids::Uuid([8; 16]), ..dir() };
    let opening = |dir: LogDir, known: Option<Entry>| {
        let (config, cache) = (world.config.clone(), Rc::clone(&world.cache));
        world.executor.block_on(Log::open(disk.clone(), dir, config, known, cache, NOW_MS))
    };
    let outcome = opening(other.clone(), Some(entry));
    assert!(matches!(outcome, Err(Error::Corrupt { path, .. }) if path.ends_with("partition.metadata")));
    let other = LogDir { topic: "another".to_owned(), ..other };
    assert_eq!(opening(other, None).unwrap().end_offset(), 0);
}

#[test]
fn stale_clean_entry_is_found_out_before_anything_is_overwritten() {
    let world = World::new(1);
    let (log, _) = filled(&world, 3);
    let entry = world.executor.block_on(log.close()).unwrap();
    let log = world.open(Some(entry.clone()));
    world.append(&log, &batch(1, 10, 0));
    let world = world.crashed(1);
    let before = world.disk.contents("topic-3/00000000000000000000.log");
    let log = world.open(Some(entry));
    let appended = log.append(&batch(1, 10, 0), stamp(), NOW_MS).unwrap();
    let waiting = log.durable(appended.last_offset + 1);
    world.settle(&log);
    assert!(matches!(world.executor.block_on(waiting), Err(Error::Fenced(_))));
    assert_eq!(world.disk.contents("topic-3/00000000000000000000.log"), before);
}
