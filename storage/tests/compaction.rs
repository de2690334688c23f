//! Of each key the newest record stays, at its offset; all else about a log is as it was, whatever happens meanwhile.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

#[path = "compaction/cleaning.rs"]
mod cleaning;
#[path = "logs/world.rs"]
mod world;

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use cleaning::{CODECS, KeyValue, keyed, means, one, records_of, task, tombstone};
use protocol::records::batch::{BatchHeader, BatchView};
use protocol::records::compression::Codec;
use protocol::records::control::end_transaction;
use storage::catalogue::Entry;
use storage::compaction::{Cleanable, Means, Task};
use storage::disk::LocalFuture;
use storage::disk::memory::{ENOSPC, Fault, Operation, pause};
use storage::log::{Log, LogConfig, ReadOutcome};
use world::{NOW_MS, World, stamp};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1200, index_interval_bytes: 200, is_compacted: true, ..LogConfig::default() }
}

/// A log of small segments, the last of which is left with one record.
fn filled(world: &World, batches: &[Vec<u8>]) -> Rc<Log> {
    let log = world.open(None);
    for batch in batches {
        world.append(&log, batch);
    }
    seal(world, &log);
    log
}

/// Has the segments roll, so that all before can be compacted.
fn seal(world: &World, log: &Rc<Log>) {
    let count = log.segments().len();
    while log.segments().len() == count {
        world.append(log, &one("last", &"x".repeat(300)));
    }
    world.settle(log);
}

fn found(world: &World, log: &Rc<Log>) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let found = world.records(log).into_iter().filter(|record| record.key.as_deref() != Some(b"last"));
    found.map(|record| (record.offset, text(record.key.unwrap()), record.value.map(text))).collect()
}

fn kept(records: &[(i64, &str, Option<&str>)]) -> Vec<(i64, String, Option<String>)> {
    records
        .iter()
        .map(|(offset, key, value)| (*offset, (*key).to_owned(), value.map(str::to_owned)))
        .collect()
}

#[test]
fn newest_record_of_each_key_stays_at_its_offset() {
    let world = World::with(1, config());
    let batches: Vec<Vec<u8>> =
        (0..60).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
    let log = filled(&world, &batches);
    let (before, end) = (log.segments(), log.end_offset());
    let compacted = world.compact_all(&log, NOW_MS);
    assert_eq!(compacted.first_dirty, before.last().unwrap().base_offset);
    assert!(compacted.bytes_after < compacted.bytes_before / 4);
    let offsets: Vec<i64> = found(&world, &log).iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(offsets, [53, 54, 55, 56, 57, 58, 59]);
    assert_eq!((log.start_offset(), log.end_offset()), (0, end));
    assert_eq!(log.segments().last(), before.last(), "the active segment is not touched");
    // As Kafka does: neighbours become one by the size they had.
    world.compact_all(&log, NOW_MS);
    assert!(log.segments().len() <= 3);
    assert_eq!(found(&world, &log).len(), 7);
    // What is there is found from everywhere.
    for from in 0..53 {
        assert_eq!(world.read(&log, from, 1).unwrap().first_offset, 53);
    }
}

#[test]
fn batch_keeps_offsets_sequence_times_and_codec() {
    for codec in CODECS {
        for log_append_time in [false, true] {
            let world = World::with(1, LogConfig { segment_bytes: 4000, ..config() });
            let log = world.open(None);
            let header = BatchHeader {
                codec,
                producer_id: 7,
                producer_epoch: 2,
                base_sequence: 40,
                ..BatchHeader::default()
            };
            let record = |key: &str| (Some(key.into()), Some(vec![b'v'; 30]));
            let records: Vec<KeyValue> = ["a", "b", "c", "a", "d", "c"].map(record).into();
            let stamp = storage::log::Stamp { log_append_time: log_append_time.then_some(777), ..stamp() };
            log.append(&keyed(header, 1000, &records), stamp, NOW_MS).unwrap();
            world.settle(&log);
            world.append(&log, &one("d", "later"));
            seal(&world, &log);
            let before = world.read(&log, 0, 1).unwrap().parts.concat();
            world.compact_all(&log, NOW_MS);
            let after = world.read(&log, 0, 1).unwrap().parts.concat();
            let (before, after) = (BatchView::parse(&before).unwrap(), BatchView::parse(&after).unwrap());
            let facts = |batch: &BatchView<'_>| {
                let sequence = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
                let offsets = (batch.base_offset(), batch.last_offset(), batch.last_sequence());
                (sequence, offsets, batch.codec(), batch.has_log_append_time(), batch.leader_epoch())
            };
            assert_eq!(facts(&after), facts(&before));
            assert_eq!(after.count(), 3);
            let records = world.records(&log);
            let times: Vec<(i64, i64)> =
                records.iter().map(|one| (one.offset, one.timestamp)).take(3).collect();
            let time = |offset| if log_append_time { 777 } else { 1000 + offset };
            assert_eq!(times, [1, 3, 5].map(|offset| (offset, time(offset))));
        }
    }
}

#[test]
fn tombstones_go_once_their_horizon_has_passed() {
    let world = World::with(1, config());
    let log = filled(&world, &[one("a", "1"), one("b", "1"), tombstone("a")]);
    let compact = |now_ms| {
        let task = Task { delete_retention_ms: 500, ..task(&log, 0, now_ms) };
        world.compact(&log, task).unwrap();
    };
    compact(10_000);
    assert_eq!(found(&world, &log), kept(&[(1, "b", Some("1")), (2, "a", None)]));
    let bytes = world.read(&log, 2, 1).unwrap().parts.concat();
    let batch = BatchView::parse(&bytes).unwrap();
    assert_eq!(batch.delete_horizon_ms(), Some(10_500));
    assert_eq!(world.records(&log)[1].timestamp, 1000, "the record keeps its time");
    compact(10_499);
    assert_eq!(found(&world, &log).len(), 2);
    compact(10_500);
    assert_eq!(found(&world, &log), kept(&[(1, "b", Some("1"))]));
}

fn transactional(producer_id: i64, base_sequence: i32, records: &[(&str, &str)]) -> Vec<u8> {
    let header = BatchHeader {
        transactional: true,
        producer_id,
        producer_epoch: 0,
        base_sequence,
        ..BatchHeader::default()
    };
    let records: Vec<KeyValue> =
        records.iter().map(|(key, value)| (Some((*key).into()), Some((*value).into()))).collect();
    keyed(header, 1000, &records)
}

fn marker(producer_id: i64, commit: bool) -> Vec<u8> {
    let header = BatchHeader { producer_id, producer_epoch: 0, ..BatchHeader::default() };
    end_transaction(header, 1000, commit, 0)
}

#[test]
fn aborted_records_go_and_markers_follow_when_nothing_is_left_of_them() {
    let world = World::with(1, config());
    let log = filled(
        &world,
        &[
            one("a", "old"),
            transactional(1, 0, &[("a", "aborted")]),
            marker(1, false),
            transactional(2, 0, &[("b", "committed")]),
            marker(2, true),
            transactional(1, 1, &[("c", "later")]),
            marker(1, true),
        ],
    );
    let offsets = |log| -> Vec<i64> {
        let all = world.read_all(log, 1000).unwrap();
        all.iter().map(|bytes| world::base_offset(bytes)).filter(|offset| *offset < 7).collect()
    };
    let aborted = |log: &Rc<Log>| world.executor.block_on(log.aborted_transactions(0, 100)).unwrap().len();
    log.replicated_up_to(100);
    let compact = |now_ms| world.compact(&log, Task { delete_retention_ms: 500, ..task(&log, 0, now_ms) });
    compact(10_000).unwrap();
    // The aborted batch goes at once. Its marker stays: it was needed until now.
    assert_eq!(offsets(&log), [0, 2, 3, 4, 5, 6]);
    assert_eq!(aborted(&log), 1);
    compact(10_100).unwrap();
    assert_eq!(offsets(&log), [0, 2, 3, 4, 5, 6]);
    assert_eq!(aborted(&log), 0);
    compact(10_599).unwrap();
    assert_eq!(offsets(&log), [0, 2, 3, 4, 5, 6]);
    compact(10_600).unwrap();
    assert_eq!(offsets(&log), [0, 3, 4, 5, 6]);
    assert_eq!(found(&world, &log)[0], (0, "a".to_owned(), Some("old".to_owned())));
    // Committed batches keep their markers.
    world.append(&log, &one("b", "new"));
    world.append(&log, &one("c", "new"));
    seal(&world, &log);
    compact(20_000).unwrap();
    assert_eq!(offsets(&log), [0, 3, 4, 5, 6], "the last of each producer stays, empty");
}

#[test]
fn nothing_undecided_is_touched() {
    let world = World::with(1, config());
    let log = world.open(None);
    for batch in [one("a", "1"), one("a", "2")] {
        world.append(&log, &batch);
    }
    seal(&world, &log);
    let decided = log.segments().last().unwrap().base_offset;
    world.append(&log, &transactional(1, 0, &[("a", "3")]));
    seal(&world, &log);
    seal(&world, &log);
    world.compact_all(&log, NOW_MS);
    let facts = log.compaction_facts();
    assert!(Cleanable::of(&facts, 0, 0, NOW_MS).end <= decided);
    assert!(found(&world, &log).iter().any(|(_, key, value)| key == "a" && value.as_deref() == Some("2")));
}

#[test]
fn last_batch_of_each_producer_survives_empty() {
    let world = World::with(1, config());
    let log = world.open(None);
    let of = |producer_id, base_sequence, key: &str| {
        let header = BatchHeader { producer_id, producer_epoch: 3, base_sequence, ..BatchHeader::default() };
        keyed(header, 1000, &[(Some(key.into()), Some(b"v".to_vec()))])
    };
    for batch in [of(1, 0, "a"), of(1, 1, "b"), of(2, 9, "a"), one("a", "new"), one("b", "new")] {
        world.append(&log, &batch);
    }
    seal(&world, &log);
    world.compact_all(&log, NOW_MS);
    let all = world.read_all(&log, 1000).unwrap();
    let empty: Vec<(i64, i64, i32)> = all
        .iter()
        .map(|bytes| BatchView::parse(bytes).unwrap())
        .filter(|batch| batch.count() == 0)
        .map(|batch| (batch.base_offset(), batch.producer_id(), batch.base_sequence()))
        .collect();
    assert_eq!(empty, [(1, 1, 1), (2, 2, 9)]);
    // Also to one who knows nothing but the log.
    let world = world.crashed(1);
    for path in world.disk.paths().into_iter().filter(|path| path.ends_with(".snapshot")) {
        world.executor.block_on(storage::disk::Disk::remove(&world.disk, &path)).unwrap();
    }
    let log = world.open(None);
    assert!(log.append(&of(1, 1, "b"), stamp(), NOW_MS).unwrap().duplicate);
    assert!(log.append(&of(2, 11, "b"), stamp(), NOW_MS).is_err());
    assert!(!log.append(&of(2, 10, "b"), stamp(), NOW_MS).unwrap().duplicate);
}

#[test]
fn records_without_a_key_go() {
    let world = World::with(1, config());
    let keyless = keyed(BatchHeader::default(), 1000, &[(None, Some(b"x".to_vec()))]);
    let log = filled(&world, &[keyless, one("a", "1")]);
    world.compact_all(&log, NOW_MS);
    assert_eq!(found(&world, &log), kept(&[(1, "a", Some("1"))]));
}

#[test]
fn little_memory_takes_several_passes() {
    let world = World::with(1, config());
    let batches: Vec<Vec<u8>> = (0..600).map(|at| one(&format!("k{}", at % 200), &format!("{at}"))).collect();
    let log = filled(&world, &batches);
    let mut first_dirty = 0;
    let mut passes = 0;
    loop {
        let task = Task { key_bytes_max: 2000, ..task(&log, first_dirty, NOW_MS) };
        if !task.cleanable.is_any() {
            break;
        }
        let compacted = world.compact(&log, task).unwrap();
        assert!(compacted.first_dirty > first_dirty, "each pass gets on");
        first_dirty = compacted.first_dirty;
        passes += 1;
    }
    assert!(passes > 3);
    let mut found: Vec<i64> = found(&world, &log).iter().map(|(offset, ..)| *offset).collect();
    found.retain(|offset| *offset < first_dirty);
    assert!(found.iter().all(|offset| *offset >= 400) && found.len() <= 200, "{found:?}");
}

#[test]
fn log_that_holds_nothing_twice_is_left_as_it_is() {
    let world = World::with(1, config());
    let batches: Vec<Vec<u8>> = (0..30).map(|at| one(&format!("k{at}"), &"v".repeat(500))).collect();
    let log = filled(&world, &batches);
    let before = world.read_all(&log, 1000).unwrap();
    world.disk.reset_counters();
    world.compact_all(&log, NOW_MS);
    assert_eq!(world.disk.counters().of(Operation::Rename), 0);
    assert_eq!(world.read_all(&log, 1000).unwrap(), before);
    assert!(world.disk.paths().iter().all(|path| !path.ends_with(".cleaned")));
}

#[test]
fn readers_in_the_middle_go_on_unharmed() {
    for seed in 0..150 {
        let mut world = World::with(seed, config());
        world.cache = Rc::new(storage::cache::TailCache::new(0));
        let batches: Vec<Vec<u8>> =
            (0..40).map(|at| one(&format!("k{}", at % 9), &format!("{at}{}", "v".repeat(90)))).collect();
        let log = filled(&world, &batches);
        world.executor.spawn({
            let compacting = log.compact(task(&log, 0, NOW_MS), means());
            async move { compacting.await.map(drop).unwrap() }
        });
        let mut seen = Vec::new();
        let mut from = 0;
        while from < log.durable_offset() {
            world.executor.run_for(seed % 13);
            let slices = match log.read(from, 300, i64::MAX, true) {
                ReadOutcome::Now(read) => read,
                ReadOutcome::Later(read) => world.executor.block_on(read),
            };
            let slices = slices.unwrap();
            assert!(slices.next_offset > from);
            from = slices.next_offset;
            seen.extend(slices.parts.iter().flat_map(|part| world::split_bytes(part)).flat_map(|batch| {
                records_of(&batch).into_iter().map(|record| (record.offset, record.key.unwrap()))
            }));
        }
        world.executor.run();
        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "seed {seed}");
        for offset in 31..40 {
            assert!(seen.iter().any(|(found, _)| *found == offset), "seed {seed}: {offset}");
        }
    }
}

#[test]
fn crash_at_any_step_leaves_the_old_or_the_new() {
    for seed in 0..600 {
        let world = World::with(seed, config());
        let batches: Vec<Vec<u8>> =
            (0..50).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
        let log = filled(&world, &batches);
        let stale = log.checkpoint();
        world.executor.spawn({
            let compacting = log.compact(task(&log, 0, NOW_MS), means());
            async move { compacting.await.map(drop).unwrap() }
        });
        world.executor.run_for(seed * 2);
        let fresh = log.checkpoint();
        let world = if seed % 5 == 0 {
            world.executor.kill();
            World::on(world.disk.kill(seed), seed, world.config)
        } else {
            world.crashed(seed)
        };
        for known in [Some(fresh), Some(stale), None] {
            check_all_keys(&world, known, seed);
        }
        assert!(
            !world
                .disk
                .paths()
                .iter()
                .any(|path| [".cleaned", ".swap"].iter().any(|end| path.ends_with(end)))
        );
    }
}

fn check_all_keys(world: &World, known: Option<Entry>, seed: u64) {
    let has_entry = known.is_some();
    let log = world.try_open(known).unwrap_or_else(|error| panic!("seed {seed}, {has_entry}: {error}"));
    let offsets: Vec<i64> = found(world, &log).iter().map(|(offset, ..)| *offset).collect();
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
    for offset in 43..50 {
        assert!(offsets.contains(&offset), "seed {seed}: {offsets:?}");
    }
    world.compact_all(&log, NOW_MS);
    assert_eq!(found(world, &log).len(), 7, "seed {seed}");
}

#[test]
fn full_disk_costs_nothing_but_the_compaction() {
    for after in 0..12 {
        let world = World::with(1, config());
        let batches: Vec<Vec<u8>> =
            (0..50).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
        let log = filled(&world, &batches);
        let operation = [Operation::Write, Operation::Open][after as usize % 2];
        world.disk.fail(Fault::on(operation).path("0.").errno(ENOSPC).after(after / 2));
        let compacted = world.compact(&log, task(&log, 0, NOW_MS));
        assert!(log.fenced().is_none(), "{after}: {compacted:?}");
        world.disk.heal();
        world.compact_all(&log, NOW_MS);
        assert_eq!(found(&world, &log).len(), 7);
    }
}

#[test]
fn segments_that_leave_meanwhile_do_no_harm() {
    for seed in 0..200 {
        let world = World::with(seed, config());
        let batches: Vec<Vec<u8>> =
            (0..50).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
        let log = filled(&world, &batches);
        world.executor.spawn({
            let compacting = log.compact(task(&log, 0, NOW_MS), means());
            async move { _ = compacting.await }
        });
        world.executor.run_for(seed * 3);
        let start = 1 + (seed % 45) as i64;
        log.delete_before(start, NOW_MS).unwrap();
        world.executor.spawn(log.upkeep());
        world.executor.run();
        world.settle(&log);
        assert!(log.fenced().is_none(), "seed {seed}");
        let known = log.checkpoint();
        let world = world.crashed(seed);
        let log = world.open(Some(known));
        assert_eq!(log.start_offset(), start);
        let offsets: Vec<i64> = found(&world, &log).iter().map(|(offset, ..)| *offset).collect();
        for offset in 43.max(start)..50 {
            assert!(offsets.contains(&offset), "seed {seed}: {offsets:?}");
        }
    }
}

#[test]
fn log_can_be_closed_or_deleted_in_the_middle() {
    for seed in 0..200 {
        let world = World::with(seed, config());
        let batches: Vec<Vec<u8>> =
            (0..50).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
        let log = filled(&world, &batches);
        world.executor.spawn({
            let compacting = log.compact(task(&log, 0, NOW_MS), means());
            async move { _ = compacting.await }
        });
        world.executor.run_for(seed * 3);
        if seed % 4 == 0 {
            world.executor.block_on(log.delete(protocol::ids::Uuid([1; 16]))).map(drop).unwrap();
            continue;
        }
        let entry = world.executor.block_on(log.close()).unwrap();
        assert!(!world.disk.paths().iter().any(|path| path.ends_with(".cleaned") || path.ends_with(".swap")));
        let log = world.open(Some(entry));
        let offsets: Vec<i64> = found(&world, &log).iter().map(|(offset, ..)| *offset).collect();
        assert!((43..50).all(|offset| offsets.contains(&offset)), "seed {seed}: {offsets:?}");
    }
}

/// Pauses as `pause` says of so many bytes.
fn pausing(pause: impl Fn(u64) -> LocalFuture<'static, ()> + 'static) -> Means {
    Means { pause: Rc::new(pause), ..means() }
}

#[test]
fn every_byte_read_and_written_is_told() {
    let world = World::with(1, config());
    let batches: Vec<Vec<u8>> =
        (0..50).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
    let log = filled(&world, &batches);
    let told = Rc::new(Cell::new(0));
    let counting = pausing({
        let told = told.clone();
        move |bytes| {
            told.set(told.get() + bytes);
            Box::pin(pause(1))
        }
    });
    let done = world.executor.block_on(log.compact(task(&log, 0, NOW_MS), counting)).unwrap();
    assert_eq!(told.get(), done.read_bytes + done.written_bytes);
    assert_eq!(done.read_bytes, 2 * done.bytes_before, "once for the keys, once to be written anew");
    assert!(done.written_bytes >= done.bytes_after && done.bytes_after > 0);
}

#[test]
fn nothing_that_it_wrote_is_left_for_an_append_to_flush() {
    let world = World::with(1, config());
    let batches: Vec<Vec<u8>> =
        (0..50).map(|at| one(&format!("k{at}"), &format!("{at}{}", "v".repeat(90)))).collect();
    let log = filled(&world, &[batches.clone(), batches].concat());
    let seen = Rc::new(Cell::new(0));
    let looking = pausing({
        let (disk, seen) = (world.disk.clone(), seen.clone());
        move |_| {
            for path in disk.paths().iter().filter(|path| path.ends_with(".log.cleaned")) {
                assert!(disk.is_flushed(path), "{path}");
                seen.set(seen.get() + disk.contents(path).map_or(0, |bytes| bytes.len()));
            }
            Box::pin(pause(1))
        }
    });
    world.executor.block_on(log.compact(task(&log, 0, NOW_MS), looking)).unwrap();
    assert!(seen.get() > 0, "there was something to look at");
}

/// However few bytes a second it may move.
#[test]
fn pause_without_an_end_holds_up_nobody() {
    for pauses in 0..16 {
        for is_deleted in [false, true] {
            let world = World::with(pauses, config());
            let batches: Vec<Vec<u8>> =
                (0..50).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
            let log = filled(&world, &batches);
            let left = Cell::new(pauses);
            let halting = pausing(move |_| match left.get().checked_sub(1) {
                Some(fewer) => {
                    left.set(fewer);
                    Box::pin(pause(1))
                }
                None => Box::pin(pending()),
            });
            let has_ended = Rc::new(Cell::new(false));
            world.executor.spawn({
                let (compacting, has_ended) =
                    (log.compact(task(&log, 0, NOW_MS), halting), has_ended.clone());
                async move {
                    compacting.await.map(drop).unwrap_err();
                    has_ended.set(true);
                }
            });
            world.executor.run();
            assert!(!has_ended.get(), "{pauses}");
            if is_deleted {
                world.executor.block_on(log.delete(protocol::ids::Uuid([1; 16]))).map(drop).unwrap();
            } else {
                let entry = world.executor.block_on(log.close()).unwrap();
                check_all_keys(&world, Some(entry), pauses);
            }
            assert!(has_ended.get());
        }
    }
}

/// What Kafka's own cleaner leaves when it is killed between its steps.
#[test]
fn swaps_that_kafka_did_not_finish_are_finished() {
    let world = World::with(1, config());
    let batches: Vec<Vec<u8>> =
        (0..50).map(|at| one(&format!("k{}", at % 7), &format!("{at}{}", "v".repeat(90)))).collect();
    let log = filled(&world, &batches);
    world.executor.block_on(log.close()).unwrap();
    let old: Vec<(String, Vec<u8>)> = world
        .disk
        .paths()
        .into_iter()
        .filter_map(|path| Some((path.clone(), world.disk.contents(&path)?)))
        .collect();
    let world = World::on(world.disk, 1, LogConfig { segment_bytes: 1 << 20, ..config() });
    let log = world.open(None);
    world.compact_all(&log, NOW_MS);
    assert_eq!(log.segments().len(), 2);
    world.executor.block_on(log.close()).unwrap();
    let base = "topic-3/00000000000000000000";
    let disk = storage::disk::memory::MemoryDisk::new(2);
    for (path, bytes) in old.iter().filter(|(path, _)| !path.ends_with("millstream-compacted")) {
        disk.put(path, bytes);
    }
    for suffix in ["log", "index", "timeindex"] {
        disk.put(
            &format!("{base}.{suffix}.swap"),
            &world.disk.contents(&format!("{base}.{suffix}")).unwrap(),
        );
    }
    let expected = World::on(world.disk, 1, config());
    let expected = found(&expected, &expected.open(None));
    let world = World::on(disk, 2, config());
    let log = world.open(None);
    let recovered = found(&world, &log);
    assert_eq!(recovered.iter().filter(|record| !expected.contains(record)).count(), 0);
    assert_eq!(recovered, expected);
    // One that was still being written is worth nothing.
    let disk = storage::disk::memory::MemoryDisk::new(2);
    for (path, bytes) in &old {
        disk.put(path, bytes);
    }
    disk.put(&format!("{base}.log.cleaned"), b"half");
    let world = World::on(disk, 2, config());
    assert_eq!(found(&world, &world.open(None)).len(), 50);
}

#[test]
fn compressed_batch_without_records_is_one_nobody_stumbles_over() {
    let world = World::with(1, config());
    let header = BatchHeader {
        codec: Codec::Zstd,
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: 0,
        ..BatchHeader::default()
    };
    let log = filled(&world, &[keyed(header, 1000, &[(Some(b"a".to_vec()), None)]), one("a", "new")]);
    for _ in 0..3 {
        world.compact_all(&log, NOW_MS);
        assert_eq!(found(&world, &log), kept(&[(1, "a", Some("new"))]));
    }
}
