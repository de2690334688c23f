//! Apache Kafka's own files, whole and with damage of every kind.

use std::fs;

use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;

use super::*;
use crate::cli::scratch::Folder;

/// What was found, and how many places are damaged.
fn verified(dir: &Path) -> (Vec<String>, u64) {
    let mut bytes = Vec::new();
    let mut findings = Findings::new(Output::to(&mut bytes, false));
    verify(&Arguments { dirs: vec![dir.to_owned()], deep: true }, &mut findings).unwrap();
    let damaged = findings.damaged;
    drop(findings);
    (String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect(), damaged)
}

/// The one place that is damaged.
fn damage(dir: &Path) -> String {
    let (mut lines, damaged) = verified(dir);
    assert_eq!((lines.len(), damaged), (1, 1), "{lines:?}");
    lines.pop().unwrap()
}

/// Kafka's directory without the partition whose segments were left out for their size.
fn directory(state: &str) -> Folder {
    let folder = Folder::of_kafka(state);
    fs::remove_dir_all(folder.path().join("plain-0")).unwrap();
    folder
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

const CODECS: &str = "codecs-0/00000000000000000000.log";

#[test]
fn what_kafka_wrote_is_sound() {
    for state in ["clean", "recovered"] {
        let folder = directory(state);
        assert_eq!(verified(folder.path()), (vec![], 0), "{state}");
        assert_eq!(verified(&folder.path().join("txn-0")), (vec![], 0), "a folder by itself");
    }
}

#[test]
fn flipped_bit_is_found_with_its_place() {
    let folder = directory("clean");
    edit(&folder.path().join(CODECS), |bytes| bytes[1013 + 100] ^= 4);
    let found = damage(folder.path());
    assert!(found.contains(CODECS) && found.contains(" at byte 1013: the checksum is"), "{found}");
}

#[test]
fn bad_length_ends_a_segment_and_is_told_once() {
    let folder = directory("clean");
    edit(&folder.path().join(CODECS), |bytes| bytes[526 + 8] = 0x7f);
    let (lines, damaged) = verified(folder.path());
    assert!(
        lines[0].contains(" at byte 526: a batch of 2130") && lines[0].contains("720 bytes cannot be read"),
        "{lines:?}"
    );
    assert_eq!(damaged, 2, "and the time index speaks of what is beyond: {lines:?}");
}

#[test]
fn missing_and_repeated_offsets_are_found() {
    let folder = directory("clean");
    let log = folder.path().join("trimmed-0/00000000000000000000.log");
    edit(&log, |bytes| drop(bytes.drain(3 * 72..4 * 72)));
    let found = damage(folder.path());
    assert!(found.contains(" at byte 216: offsets 3 to 3 are missing"), "{found}");
    edit(&log, |bytes| bytes.extend_from_within(..72));
    let (lines, _) = verified(folder.path());
    assert!(lines[1].contains(" at byte 648: offset 0 where 10 comes next"), "{lines:?}");
}

#[test]
fn records_that_compaction_took_are_not_missing() {
    let folder = directory("clean");
    edit(&folder.path().join("compacted-0/00000000000000000000.log"), |bytes| drop(bytes.drain(..61)));
    assert_eq!(verified(folder.path()), (vec![], 0));
    fs::remove_file(folder.path().join("cleaner-offset-checkpoint")).unwrap();
    assert!(
        damage(folder.path()).contains("offsets 0 to 19 are missing; normal only where compaction once ran")
    );
}

#[test]
fn indexes_that_disagree_are_found() {
    let folder = directory("clean");
    let time_index = folder.path().join("codecs-0/00000000000000000000.timeindex");
    edit(&time_index, |bytes| bytes[7] -= 50);
    assert!(damage(folder.path()).contains("nothing up to offset 25 is later than"));
    edit(&time_index, |bytes| bytes[11] = 200);
    assert!(damage(folder.path()).contains("beyond the segment's 1246 bytes"));
    edit(&time_index, |bytes| bytes.truncate(11));
    assert!(damage(folder.path()).contains(".timeindex at byte "));
    fs::remove_file(&time_index).unwrap();

    let offset_index = folder.path().join("codecs-0/00000000000000000000.index");
    let entry = |offset: u32, position: u32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
    fs::write(&offset_index, entry(9, 526)).unwrap();
    assert_eq!(verified(folder.path()), (vec![], 0));
    fs::write(&offset_index, entry(10, 526)).unwrap();
    assert!(damage(folder.path()).contains("offset 10 leads to a batch with 5 to 9"));
    fs::write(&offset_index, entry(9, 527)).unwrap();
    assert!(damage(folder.path()).contains("offset 9 leads to where no batch begins"));
    fs::write(&offset_index, b"").unwrap();

    edit(&folder.path().join("txn-0/00000000000000000000.txnindex"), |bytes| bytes[25] = 6);
    assert!(damage(folder.path()).contains("at offset 6 no transaction was aborted"));
}

#[test]
fn epochs_and_checkpoints_are_checked() {
    let folder = directory("clean");
    fs::write(folder.path().join("codecs-0/leader-epoch-checkpoint"), "0\n2\n0 0\n3 20\n").unwrap();
    let (lines, damaged) = verified(folder.path());
    assert_eq!(damaged, 2, "{lines:?}");
    assert!(lines[0].contains(" at byte 1013: leader epoch 0 where the checkpoint says 3"), "{lines:?}");
    fs::write(folder.path().join("codecs-0/leader-epoch-checkpoint"), "0\n1\n0 0\n").unwrap();

    edit(&folder.path().join("txn-0/00000000000000000011.snapshot"), |bytes| bytes[12] ^= 1);
    assert!(damage(folder.path()).contains(".snapshot at byte 2: checksum"));
    fs::remove_file(folder.path().join("txn-0/00000000000000000011.snapshot")).unwrap();
    fs::write(folder.path().join("recovery-point-offset-checkpoint"), "0\n7\n").unwrap();
    assert!(damage(folder.path()).contains("recovery-point-offset-checkpoint"));
}

#[test]
fn unfinished_append_after_an_unclean_stop_is_no_damage() {
    let folder = directory("clean");
    fs::remove_file(folder.path().join(".kafka_cleanshutdown")).unwrap();
    let log = folder.path().join(CODECS);
    let whole = fs::read(&log).unwrap();
    fs::write(&log, [&whole[..], &[0; 8192]].concat()).unwrap();
    assert_eq!(verified(folder.path()), (vec![], 0), "room");
    fs::write(&log, [&whole[..], &whole[..100]].concat()).unwrap();
    let (lines, damaged) = verified(folder.path());
    assert_eq!((lines.len(), damaged), (1, 0));
    assert!(
        lines[0].starts_with("note: ")
            && lines[0].contains(" at byte 1246: a batch of 526 bytes where 100 are left")
    );
    // Below the recovery point nothing may be cut off.
    fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    let (lines, damaged) = verified(folder.path());
    assert_eq!(damaged, 1, "{lines:?}");
    assert!(lines[0].starts_with("damaged: ") && lines[0].contains(" at byte 1163"), "{lines:?}");
    fs::write(&log, &whole[..1163]).unwrap();
    let (lines, damaged) = verified(folder.path());
    assert_eq!(damaged, 1, "{lines:?}");
    assert!(lines[1].contains("ends at offset 25, but 25 was on stable storage"), "{lines:?}");
}

#[test]
fn batch_of_a_torn_flight_is_judged_as_the_broker_does() {
    let folder = directory("clean");
    fs::remove_file(folder.path().join(".kafka_cleanshutdown")).unwrap();
    // A batch behind the recovery point, written in part: a sector of it is still blank.
    let log = folder.path().join(CODECS);
    let whole = fs::read(&log).unwrap();
    let mut builder =
        BatchBuilder::new(BatchHeader { base_offset: 26, leader_epoch: 0, ..BatchHeader::default() });
    builder.append(0, None, Some(&[b'x'; 4096]), &[]).unwrap();
    let batch = builder.build().unwrap();
    fs::write(&log, [&whole[..], &batch].concat()).unwrap();
    assert_eq!(verified(folder.path()), (vec![], 0));
    edit(&log, |bytes| bytes[2048..2560].fill(0));
    let (lines, damaged) = verified(folder.path());
    assert_eq!((lines.len(), damaged), (1, 0), "{lines:?}");
    assert!(
        lines[0].starts_with("note: ") && lines[0].contains(" at byte 1246: the checksum is"),
        "{lines:?}"
    );
    // All of it was written, and so it was changed later.
    edit(&log, |bytes| bytes[2048..2560].fill(b'y'));
    assert!(damage(folder.path()).contains(" at byte 1246: the checksum is"));
}

#[test]
fn a_part_of_a_directory_is_verified_and_an_empty_one_refused() {
    let folder = directory("clean");
    let refused = |dir: &Path| {
        let mut bytes = Vec::new();
        let mut findings = Findings::new(Output::to(&mut bytes, false));
        verify(&Arguments { dirs: vec![dir.to_owned()], deep: false }, &mut findings).is_err()
    };
    assert!(!refused(folder.path()));
    assert!(!refused(&folder.path().join("txn-0")));
    assert!(refused(&folder.path().join("nothing")));
    assert!(refused(Folder::new("empty").path()));
}
