//! A torn end is cut at the last whole batch; damage below what was flushed is reported and never cut.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]

#[path = "logs/world.rs"]
mod world;

use storage::Error;
use storage::catalogue::Entry;
use storage::disk::memory::MemoryDisk;
use storage::log::LogConfig;
use world::{World, batch, stamped};

const LOG: &str = "topic-3/00000000000000000000.log";

/// Consecutive batches as they lie in a segment.
fn content(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().enumerate().map(|(at, bytes)| stamped(&batch(1, *bytes, at as i64), at as i64)).collect()
}

fn world_with(file: &[u8]) -> World {
    let disk = MemoryDisk::new(1).immediate();
    disk.put(LOG, file);
    World::on(disk, 1, LogConfig::default())
}

/// Opens the file and says how many batches it holds; what follows them must never come back.
fn recovered(file: &[u8], batches: &[Vec<u8>], known: Option<Entry>) -> Result<usize, Error> {
    let world = world_with(file);
    let log = world.try_open(known)?;
    let count = usize::try_from(log.end_offset()).unwrap();
    assert_eq!(world.read_all(&log, 1 << 20).unwrap(), batches[..count]);
    let kept: usize = batches[..count].iter().map(Vec::len).sum();
    assert_eq!(world.disk.contents(LOG).unwrap().len(), kept);
    // The next batch goes right behind, and after another crash the log is the same.
    let next = batch(1, 10, 0);
    world.append(&log, &next);
    let world = world.crashed(2);
    let log = world.open(None);
    let mut expected = batches[..count].to_vec();
    expected.push(stamped(&next, log.end_offset() - 1));
    assert_eq!(world.read_all(&log, 1 << 20).unwrap(), expected);
    Ok(count)
}

#[test]
fn file_cut_anywhere_keeps_the_whole_batches() {
    let batches = content(&[100, 700, 1]);
    let file = batches.concat();
    for len in 0..=file.len() {
        let mut end = 0;
        let whole = batches.iter().take_while(|batch| {
            end += batch.len();
            end <= len
        });
        assert_eq!(recovered(&file[..len], &batches, None).unwrap(), whole.count(), "{len} bytes");
    }
}

#[test]
fn zeros_behind_the_content_are_no_damage() {
    let batches = content(&[100, 700, 1]);
    for zeros in [1, 60, 61, 5000, 70_000] {
        let mut file = batches.concat();
        file.resize(file.len() + zeros, 0);
        assert_eq!(recovered(&file, &batches, None).unwrap(), 3);
    }
}

#[test]
fn sectors_that_did_not_arrive_end_the_log_before_their_batch() {
    let batches = content(&[100, 3000, 20, 5000, 20]);
    let whole = batches.concat();
    for sector in 0..whole.len().div_ceil(512) {
        let mut file = whole.clone();
        let range = sector * 512..((sector + 1) * 512).min(whole.len());
        file[range.clone()].fill(0);
        let mut end = 0;
        let before = batches.iter().take_while(|batch| {
            end += batch.len();
            end <= range.start
        });
        assert_eq!(recovered(&file, &batches, None).unwrap(), before.count(), "sector {sector}");
    }
}

#[test]
fn byte_that_changed_in_a_written_batch_is_damage_even_at_the_end() {
    let batches = content(&[100, 3000, 20]);
    let whole = batches.concat();
    let begin = batches[0].len();
    // Beyond the length, whose damage looks like a batch that was to be longer.
    for position in (begin + 16..begin + batches[1].len()).step_by(97) {
        let mut file = whole.clone();
        file[position] ^= 4;
        match recovered(&file, &batches, None) {
            Err(Error::Corrupt { path, position, .. }) => {
                assert_eq!((path.as_str(), position), (LOG, begin as u64))
            }
            other => panic!("{other:?} with byte {position} changed"),
        }
    }
}

#[test]
fn nothing_is_cut_below_the_recovery_point() {
    let batches = content(&[100, 3000, 20, 40]);
    let file = batches.concat();
    let known = {
        let world = world_with(&file);
        world.open(None).checkpoint()
    };
    assert_eq!((known.recovery.offset, known.recovery.position as usize), (4, file.len()));
    assert_eq!(recovered(&file, &batches, Some(known.clone())).unwrap(), 4);
    let begin = batches[0].len();
    let torn = |range: std::ops::Range<usize>| {
        let mut file = file.clone();
        file[range].fill(0);
        file
    };
    for damaged in [&file[..file.len() - 1], &file[..0], &torn(512..1024), &torn(begin..file.len())] {
        let world = world_with(damaged);
        let outcome = world.try_open(Some(known.clone())).and_then(|log| {
            assert_eq!(log.end_offset(), 4);
            world.read_all(&log, 1 << 20)
        });
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{} bytes", damaged.len());
        assert_eq!(world.disk.contents(LOG).unwrap(), damaged, "it was not touched");
    }
}

#[test]
fn batch_far_behind_a_gap_proves_that_the_gap_is_damage() {
    let config = LogConfig { segment_bytes: 8 << 20, ..LogConfig::default() };
    let batches = content(&[1_000_000; 16]);
    let mut file = batches.concat();
    file[3000 * 512..3200 * 512].fill(0);
    let world = World { config, ..world_with(&file) };
    match world.try_open(None) {
        Err(Error::Corrupt { found, .. }) => assert!(found.contains("a later batch"), "{found}"),
        other => panic!("{:?}", other.map(|log| log.end_offset())),
    }
    // Within one flight it may have been torn.
    let near: Vec<u8> = file[..4_000_000].to_vec();
    let config = world.config.clone();
    let world = World { config, ..world_with(&near) };
    assert_eq!(world.open(None).end_offset(), 1);
}

#[test]
fn only_the_last_segment_may_be_torn() {
    let batches = content(&[100, 700, 50]);
    let first = batches[..2].concat();
    let second = &batches[2];
    let open = |first: &[u8], second: &[u8]| {
        let world = world_with(first);
        world.disk.put("topic-3/00000000000000000002.log", second);
        world.try_open(None).map(|log| {
            let all = world.read_all(&log, 1 << 20).unwrap();
            (log.end_offset(), all.len())
        })
    };
    assert_eq!(open(&first, second).unwrap(), (3, 3));
    assert_eq!(open(&first, &second[..70]).unwrap(), (2, 2));
    let padded = [first.clone(), vec![0; 9000]].concat();
    assert_eq!(open(&padded, second).unwrap(), (3, 3), "zeros ahead of the content were not yet cut");
    let torn = &first[..first.len() - 1];
    assert!(matches!(open(torn, second), Err(Error::Corrupt { .. })));
    let dirty = [first, vec![0; 100], vec![1]].concat();
    assert!(matches!(open(&dirty, second), Err(Error::Corrupt { .. })));
}
