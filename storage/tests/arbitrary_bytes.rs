//! No parser of files is harmed by what it reads: whatever the bytes, an answer or an error.
#![allow(clippy::disallowed_methods, reason = "fixtures lie in the source tree, not in a data directory")]

use std::fs;
use std::path::Path;

use protocol::ids::Uuid;
use storage::disk::memory::Random;
use storage::format;
use storage::leader_epochs::LeaderEpochs;
use storage::producers::{Producers, decode_snapshot, encode_snapshot};
use storage::segment::aborted_index::AbortedIndex;
use storage::segment::offset_index::OffsetIndex;
use storage::segment::time_index::TimeIndex;
use storage::{catalogue, checkpoint, data_dir};

const ROUNDS: u64 = 20_000;

/// Gives `parse` many damaged versions of a file.
fn torment(fixture: &str, parse: impl Fn(&[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3").join(fixture);
    torment_bytes(&fs::read(path).expect("a fixture"), parse);
}

fn torment_bytes(clean: &[u8], parse: impl Fn(&[u8])) {
    for seed in 0..ROUNDS {
        parse(&damaged(clean, &mut Random::new(seed)));
    }
}

fn damaged(clean: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = clean.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let any = random.any().to_le_bytes();
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(&any),
            2 => bytes.splice(at..at, any[..3].iter().copied()).for_each(drop),
            3 => bytes.extend_from_within(at..),
            4 => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
            5 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            6 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0),
            _ => bytes[at..].iter_mut().take(1).for_each(|byte| *byte = any[0]),
        }
    }
    bytes
}

#[test]
fn damaged_offset_index_does_no_harm() {
    torment("clean/plain-0/00000000000000000252.index", |bytes| {
        for base_offset in [0, 252, i64::MAX - 9] {
            if let Ok(mut index) = OffsetIndex::decode(base_offset, 65_536, bytes) {
                assert!(index.len() <= bytes.len() / 8);
                for offset in [i64::MIN, 0, 260, i64::MAX] {
                    index.lookup(offset);
                    index.append(offset, 7);
                }
                index.position_beyond(u32::MAX, u32::MAX);
                index.truncate(260);
            }
        }
    });
}

#[test]
fn damaged_time_index_does_no_harm() {
    torment("clean/plain-0/00000000000000000126.timeindex", |bytes| {
        for base_offset in [0, 126, i64::MAX - 9] {
            if let Ok(mut index) = TimeIndex::decode(base_offset, 65_536, bytes) {
                assert!(index.len() <= bytes.len() / 12);
                for timestamp in [i64::MIN, 0, i64::MAX] {
                    index.lookup(timestamp);
                    index.append_last(timestamp, timestamp);
                }
                index.last();
                index.truncate(200);
            }
        }
    });
}

#[test]
fn damaged_aborted_index_does_no_harm() {
    torment("recovered/txn-0/00000000000000000000.txnindex", |bytes| {
        if let Ok(mut index) = AbortedIndex::decode(bytes) {
            index.collect(0, i64::MAX, &mut Vec::new());
            index.truncate(7);
        }
    });
}

/// The checksum is put right again half of the time, so that what lies behind it is tried too.
#[test]
fn damaged_snapshot_does_no_harm() {
    torment("recovered/codecs-0/00000000000000000052.snapshot", |bytes| {
        let mut bytes = bytes.to_vec();
        if bytes.len() >= 6 && bytes[0] == 0 {
            let crc = protocol::crc32c::crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        if let Ok(entries) = decode_snapshot(&bytes) {
            assert_eq!(encode_snapshot(&entries), bytes);
            let mut producers = Producers::from_snapshot(&entries, 1_795_247_364_000, 86_400_000);
            for entry in &entries {
                let batch = storage::producers::Batch {
                    producer_id: entry.producer_id,
                    epoch: entry.epoch,
                    base_sequence: entry.last_sequence,
                    last_offset_delta: i32::MAX,
                    is_transactional: true,
                };
                producers.check(&batch);
                producers.apply(&batch, 7, -1);
            }
            producers.expire(i64::MAX, 1);
            producers.to_snapshot();
        }
    });
}

#[test]
fn damaged_checkpoints_do_no_harm() {
    torment("clean/recovery-point-offset-checkpoint", |bytes| {
        if let Ok(entries) = checkpoint::parse_offsets(bytes) {
            assert_eq!(checkpoint::parse_offsets(&checkpoint::print_offsets(&entries)), Ok(entries));
        }
    });
    torment("recovered/txn-0/leader-epoch-checkpoint", |bytes| {
        if let Ok(entries) = checkpoint::parse_epochs(bytes) {
            let mut epochs = LeaderEpochs::new(entries);
            epochs.end_offset_for(3, 100);
            epochs.truncate_start(12);
            epochs.truncate_end(20);
        }
    });
}

#[test]
fn damaged_facts_do_no_harm() {
    torment("clean/meta.properties", |bytes| drop(checkpoint::parse_meta_properties(bytes)));
    torment("clean/.kafka_cleanshutdown", |bytes| {
        checkpoint::parse_clean_shutdown(bytes);
    });
    torment("clean/txn-0/partition.metadata", |bytes| drop(checkpoint::parse_partition_metadata(bytes)));
}

#[test]
fn odd_names_do_no_harm() {
    for name in [
        "two-parts-1",
        "to-be-deleted-0.fff1961972b1451dbbad90ad5fe762e0-delete",
        "00000000000000000252.timeindex.deleted",
        "millstream-catalogue-12",
    ] {
        torment_bytes(name.as_bytes(), |bytes| {
            let name = String::from_utf8_lossy(bytes);
            data_dir::parse_folder_name(&name);
            format::parse_segment_file_name(&name);
            catalogue::parse_file_name(&name);
        });
    }
}

#[test]
fn damaged_catalogue_does_no_harm() {
    let entry = |topic: &str| catalogue::Entry {
        topic: topic.to_owned(),
        recovery: catalogue::RecoveryPoint { offset: 10, position: 5, max_timestamp: 9 },
        segments: vec![catalogue::Segment { bytes: 100, next_offset: 10, ..Default::default() }],
        epochs: vec![catalogue::Epoch { epoch: 1, start_offset: 0 }],
        ..Default::default()
    };
    let directory_id = Uuid([1; 16]);
    let header = catalogue::Header { core: 0, sequence: 1, directory_id, seal: None };
    let frames = ["a", "a-topic-with-a-long-name"].map(|topic| catalogue::Frame::new(&entry(topic)));
    let mut bytes = catalogue::encode(&header, &frames);
    frames.iter().for_each(|frame| bytes.extend_from_slice(frame.as_bytes()));
    torment_bytes(&bytes, |bytes| {
        if let Ok(decoded) = catalogue::decode(bytes, directory_id) {
            // A checksum of 32 bits is good enough that none of these came through changed.
            for found in decoded.entries {
                assert_eq!(found, entry(&found.topic));
            }
        }
    });
}
