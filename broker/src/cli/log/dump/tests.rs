//! Apache Kafka's own files, and what its own tool says of them.

use std::fs;

use super::*;
use crate::cli::scratch::{Folder, kafka_files};

fn of(path: &Path) -> Arguments {
    let paths = vec![path.to_owned()];
    Arguments { paths, print_data_log: false, deep: false, cluster_metadata_decoder: false }
}

fn dumped(path: &Path, print_data_log: bool, deep: bool) -> (Vec<String>, u32) {
    let mut bytes = Vec::new();
    let mut output = Output::to(&mut bytes, false);
    let arguments = Arguments { print_data_log, deep, ..of(path) };
    let damaged = dump_all(&arguments, &mut output).unwrap();
    output.flush().unwrap();
    drop(output);
    let text = String::from_utf8(bytes).unwrap();
    (text.lines().filter(|line| !line.starts_with("Dumping ")).map(str::to_owned).collect(), damaged)
}

fn says(file: &str, expected: &[&str]) {
    let (lines, damaged) = dumped(&kafka_files().join(file), true, false);
    assert_eq!(damaged, 0, "{file}");
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "{file}: no line\n{line}\nin\n{}", lines.join("\n"));
    }
}

#[test]
fn batches_and_records_are_told_in_kafkas_words() {
    says(
        "clean/codecs-0/00000000000000000000.log",
        &[
            "Log starting offset: 0",
            "baseOffset: 20 lastOffset: 24 count: 5 baseSequence: 0 lastSequence: 4 producerId: 5 producerEpoch: 0 partitionLeaderEpoch: 0 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 1013 CreateTime: 1795247355686 size: 150 magic: 2 compresscodec: zstd crc: 786434071 isvalid: true",
            "| offset: 22 CreateTime: 1795247355686 keySize: 2 valueSize: 65 sequence: 2 headerKeys: [codec,none] key: k2 payload: zstd-value value value value value value value value value value ",
            "| offset: 25 CreateTime: 1795247355758 keySize: 14 valueSize: 1 sequence: -1 headerKeys: [] key: not idempotent payload: v",
        ],
    );
    says(
        "clean/txn-0/00000000000000000000.log",
        &[
            "| offset: 7 CreateTime: 1795247363788 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 0",
        ],
    );
    says(
        "clean/compacted-0/00000000000000000000.log",
        &[
            "baseOffset: 40 lastOffset: 59 count: 10 baseSequence: 0 lastSequence: 19 producerId: 8 producerEpoch: 0 partitionLeaderEpoch: 0 isTransactional: false isControl: false deleteHorizonMs: OptionalLong[1795333761986] position: 122 CreateTime: 1795247359886 size: 301 magic: 2 compresscodec: none crc: 3044140667 isvalid: true",
            "| offset: 53 CreateTime: 1795247359886 keySize: 5 valueSize: -1 sequence: 13 headerKeys: [] key: key-3",
        ],
    );
}

#[test]
fn small_files_are_told_in_kafkas_words() {
    says(
        "clean/plain-0/00000000000000000252.index",
        &["offset: 253 position: 8271", "offset: 299 position: 388737"],
    );
    says("clean/plain-0/00000000000000000252.timeindex", &["timestamp: 1795247354260 offset: 252"]);
    says(
        "clean/txn-0/00000000000000000000.txnindex",
        &["version: 0 producerId: 10 firstOffset: 4 lastOffset: 7 lastStableOffset: 8"],
    );
    says(
        "clean/txn-0/00000000000000000011.snapshot",
        &[
            "producerId: 10 producerEpoch: 3 coordinatorEpoch: 0 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 1795247364421 ",
            "producerId: 11 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[10] lastTimestamp: 1795247370466 firstSequence: 0 lastSequence: 0 lastOffset: 10 offsetDelta: 0 timestamp: 1795247370466",
        ],
    );
    says("clean/txn-0/leader-epoch-checkpoint", &["0 0"]);
}

#[test]
fn records_are_printed_as_deep_as_asked_for() {
    let file = kafka_files().join("clean/codecs-0/00000000000000000000.log");
    let records = |print_data_log, deep| {
        let (lines, _) = dumped(&file, print_data_log, deep);
        lines.into_iter().filter(|line| line.starts_with("| ")).collect::<Vec<_>>()
    };
    assert!(records(false, false).is_empty());
    let shallow = records(false, true);
    assert_eq!(shallow.len(), 26);
    assert!(shallow[25].ends_with("headerKeys: []"), "{}", shallow[25]);
    assert_eq!(records(true, false).len(), 26);
}

#[test]
fn metadata_records_are_told_as_what_they_say() {
    let record = MetadataRecord::NoOp(protocol::messages::NoOpRecord {});
    assert_eq!(metadata(&record.to_bytes()), " payload: NoOp(NoOpRecord)");
    assert_eq!(metadata(b"\x07"), " payload: unreadable (metadata frame of unknown version 7)");
}

#[test]
fn folders_are_searched_and_everything_in_them_is_sound() {
    for state in ["clean", "recovered"] {
        let (lines, damaged) = dumped(&kafka_files().join(state), true, true);
        assert_eq!(damaged, 0, "{state}");
        assert!(lines.len() > 200, "{} lines", lines.len());
    }
}

#[test]
fn damage_is_told_with_its_place_and_the_rest_is_still_shown() {
    let folder = Folder::new("dump");
    let path = folder.path().join("00000000000000000000.log");
    let mut bytes = fs::read(kafka_files().join("clean/trimmed-0/00000000000000000000.log")).unwrap();
    bytes[72 + 65] ^= 1;
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (lines, damaged) = dumped(&path, false, false);
    assert_eq!(damaged, 1);
    assert_eq!(lines.iter().filter(|line| line.ends_with("isvalid: true")).count(), 8);
    assert_eq!(lines.iter().filter(|line| line.ends_with("isvalid: false")).count(), 1);
    assert!(lines.last().unwrap().contains(" at byte 72: the checksum is"), "{lines:?}");

    fs::write(&path, [&bytes[..72], &[0; 4096]].concat()).unwrap();
    let (lines, damaged) = dumped(&path, false, false);
    assert_eq!((damaged, lines.len()), (0, 3));
    assert!(lines[2].starts_with("4096 bytes of room from byte 72"));
}

#[test]
fn files_of_something_else_are_refused() {
    let refused = |path: PathBuf| {
        let mut bytes = Vec::new();
        dump_all(&of(&path), &mut Output::to(&mut bytes, false)).is_err()
    };
    assert!(refused(kafka_files().join("README.md")) && refused(kafka_files().join("nothing")));
    assert_eq!(metadata_snapshot("00000000000000000190-0000000001.checkpoint"), Some((190, 1)));
}
