//! Files written by Apache Kafka 4.3.1 are understood, and written back byte for byte.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]
#![allow(clippy::disallowed_methods, reason = "fixtures lie in the source tree, not in a data directory")]

use std::fs;
use std::path::{Path, PathBuf};

use protocol::ids::Uuid;
use storage::checkpoint::{self, EpochStart, PartitionOffset};
use storage::data_dir::{self, FolderState};
use storage::disk::memory::{Executor, MemoryDisk};
use storage::format::{self, SegmentFile};
use storage::leader_epochs::LeaderEpochs;
use storage::producers::{Batch, Check, Producers, SnapshotEntry, decode_snapshot, encode_snapshot};
use storage::segment::aborted_index::{AbortedIndex, AbortedTransaction};
use storage::segment::offset_index::OffsetIndex;
use storage::segment::time_index::TimeIndex;

/// `log.index.size.max.bytes` of the broker that wrote them.
const INDEX_BYTES: usize = 65_536;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3")
}

fn bytes_of(path: &str) -> Vec<u8> {
    fs::read(root().join(path)).expect("a fixture")
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of fixtures") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

/// Decodes and encodes again. None for a file whose bytes are not ours to make.
fn written_back(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    if let Some((base_offset, file, _)) = format::parse_segment_file_name(name) {
        return match file {
            SegmentFile::Log => None,
            SegmentFile::OffsetIndex => {
                Some(OffsetIndex::decode(base_offset, INDEX_BYTES, bytes).expect(name).encode())
            }
            SegmentFile::TimeIndex => {
                Some(TimeIndex::decode(base_offset, INDEX_BYTES, bytes).expect(name).encode())
            }
            SegmentFile::AbortedIndex => Some(AbortedIndex::decode(bytes).expect(name).encode()),
            SegmentFile::Snapshot => Some(encode_snapshot(&decode_snapshot(bytes).expect(name))),
        };
    }
    match name {
        format::LEADER_EPOCHS => {
            let epochs = LeaderEpochs::new(checkpoint::parse_epochs(bytes).expect(name));
            Some(checkpoint::print_epochs(epochs.entries()))
        }
        format::RECOVERY_POINTS | format::LOG_STARTS | format::HIGH_WATERMARKS | format::CLEANER_OFFSETS => {
            Some(checkpoint::print_offsets(&checkpoint::parse_offsets(bytes).expect(name)))
        }
        format::PARTITION_METADATA => Some(checkpoint::print_partition_metadata(
            checkpoint::parse_partition_metadata(bytes).expect(name),
        )),
        format::CLEAN_SHUTDOWN => {
            Some(checkpoint::print_clean_shutdown(checkpoint::parse_clean_shutdown(bytes).expect(name)))
        }
        _ => None,
    }
}

#[test]
fn every_file_is_written_back_byte_for_byte() {
    let mut files = Vec::new();
    files_below(&root(), &mut files);
    let mut compared = 0;
    for path in files {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let bytes = fs::read(&path).expect("a fixture");
        if let Some(again) = written_back(name, &bytes) {
            assert_eq!(again, bytes, "{}", path.display());
            compared += 1;
        }
    }
    assert!(compared >= 60, "only {compared} fixtures found");
}

#[test]
fn indexes_say_what_kafkas_dump_tool_says() {
    let index =
        OffsetIndex::decode(0, INDEX_BYTES, &bytes_of("clean/plain-0/00000000000000000000.index")).unwrap();
    assert_eq!(index.len(), 125);
    assert_eq!((index.lookup(0), index.lookup(1), index.lookup(6)), (0, 8269, 49_614));
    let index =
        OffsetIndex::decode(252, INDEX_BYTES, &bytes_of("clean/plain-0/00000000000000000252.index")).unwrap();
    assert_eq!((index.lookup(252), index.lookup(253), index.lookup(258)), (0, 8271, 49_626));
    let index =
        TimeIndex::decode(252, INDEX_BYTES, &bytes_of("clean/plain-0/00000000000000000252.timeindex"))
            .unwrap();
    assert_eq!(index.last(), Some((1_795_247_354_263, 289)));
    assert_eq!(index.lookup(1_795_247_354_262), 259);
}

#[test]
fn aborted_transactions_are_those_kafka_noted() {
    let index = AbortedIndex::decode(&bytes_of("recovered/txn-0/00000000000000000000.txnindex")).unwrap();
    let aborted = |first_offset, last_offset, last_stable_offset| AbortedTransaction {
        producer_id: 10,
        first_offset,
        last_offset,
        last_stable_offset,
    };
    assert_eq!(index.entries(), [aborted(4, 7, 8), aborted(15, 18, 10)]);
}

#[test]
fn producers_go_on_where_kafka_left_them() {
    let entries = decode_snapshot(&bytes_of("clean/txn-0/00000000000000000011.snapshot")).unwrap();
    let open = SnapshotEntry {
        producer_id: 11,
        epoch: 0,
        last_sequence: 0,
        last_offset: 10,
        offset_delta: 0,
        timestamp: 1_795_247_370_466,
        coordinator_epoch: -1,
        transaction_start: 10,
    };
    assert_eq!(entries.iter().find(|entry| entry.producer_id == 11), Some(&open));
    let producers = Producers::from_snapshot(&entries, open.timestamp, 86_400_000);
    assert_eq!(producers.first_unstable_offset(), Some(10));

    let entries = decode_snapshot(&bytes_of("clean/plain-0/00000000000000000300.snapshot")).unwrap();
    let producers = Producers::from_snapshot(&entries, entries[0].timestamp, 86_400_000);
    let batch = |base_sequence| Batch {
        producer_id: 0,
        epoch: 0,
        base_sequence,
        last_offset_delta: 0,
        is_transactional: false,
    };
    let retried = Check::Duplicate { base_offset: 299, last_offset: 299, timestamp: 1_795_247_354_263 };
    assert_eq!(producers.check(&batch(299)), retried);
    assert_eq!(producers.check(&batch(300)), Check::Append);
    assert_eq!(producers.check(&batch(301)), Check::OutOfOrder);
}

#[test]
fn checkpoints_and_identity_are_read() {
    let offsets = checkpoint::parse_offsets(&bytes_of("clean/recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(offsets.len(), 15);
    assert!(offsets.contains(&PartitionOffset { topic: "plain".into(), partition: 0, offset: 300 }));
    let epochs = checkpoint::parse_epochs(&bytes_of("recovered/txn-0/leader-epoch-checkpoint")).unwrap();
    assert_eq!(epochs.last(), Some(&EpochStart { epoch: 4, start_offset: 22 }));
    assert_eq!(LeaderEpochs::new(epochs).end_offset_for(1, 22), Some((0, 11)));
    let facts = checkpoint::parse_meta_properties(&bytes_of("clean/meta.properties")).unwrap();
    assert_eq!((facts.cluster_id.as_str(), facts.node_id), ("zmE1gFuzQd-CdiCFOypd2w", 1));
    assert_eq!(facts.directory_id.map(|id| id.to_string()).as_deref(), Some("IafTKGUCTOyelOMqok-1Pg"));
    assert_eq!(checkpoint::parse_meta_properties(&checkpoint::print_meta_properties(&facts)), Ok(facts));
    assert_eq!(checkpoint::parse_clean_shutdown(&bytes_of("clean/.kafka_cleanshutdown")), Some(14));
}

#[test]
fn directory_is_taken_over_as_it_is() {
    let disk = MemoryDisk::new(1);
    let mut files = Vec::new();
    files_below(&root().join("clean"), &mut files);
    for path in files {
        let name = path.strip_prefix(root().join("clean")).expect("below it").to_str().expect("a name");
        disk.put(name, &fs::read(&path).expect("a fixture"));
    }
    disk.put("to-be-deleted-0.fff1961972b1451dbbad90ad5fe762e0-delete/partition.metadata", b"");
    let (listing, facts) = Executor::new(1).block_on(async {
        let listing = data_dir::list_partitions(&disk).await.unwrap();
        (listing, data_dir::identify(&disk, "zmE1gFuzQd-CdiCFOypd2w", 1, Uuid([1; 16])).await.unwrap())
    });
    let names: Vec<&str> = listing.partitions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["codecs-0", "compacted-0", "plain-0", "trimmed-0", "txn-0"]);
    assert_eq!(listing.set_aside[0].1.state, FolderState::Deleted);
    assert_eq!(disk.contents("meta.properties"), Some(bytes_of("clean/meta.properties")), "{facts:?}");
}
