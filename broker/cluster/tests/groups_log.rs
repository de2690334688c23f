//! Groups that Apache Kafka left in its log are groups here.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cluster::groups::{GroupRecord, GroupSettings, Groups, KeyValue, Moment, Uptime};
use cluster::machine::Timestamp;
use cluster::metadata::Image;

fn records() -> Vec<KeyValue> {
    let bytes = |hex: &str| -> Bytes {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let line = |line: &str| {
        let (key, value) = line.split_once(' ').unwrap();
        KeyValue { key: bytes(key), value: (value != "-").then(|| bytes(value)) }
    };
    include_str!("kafka_groups_log.txt").lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

#[test]
fn records_are_written_byte_by_byte_as_kafka_writes_them() {
    let mut kinds: BTreeMap<u8, usize> = BTreeMap::new();
    for record in records() {
        let read = GroupRecord::from_bytes(&record.key, record.value.as_deref()).unwrap();
        assert_eq!(read.to_bytes().unwrap(), record, "{read:?}");
        *kinds.entry(record.key[1]).or_default() += 1;
    }
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 16]);
}

#[test]
fn a_log_of_kafkas_can_be_read_to_any_place() {
    let records = records();
    let image = Image::new("c");
    for end in 0..=records.len() {
        let mut groups = Groups::new(Arc::new(GroupSettings::default()));
        for record in &records[..end] {
            let record = GroupRecord::from_bytes(&record.key, record.value.as_deref()).unwrap();
            groups.apply(&record);
        }
        groups.loaded(&image, Moment { wall: Timestamp(0), uptime: Uptime(0) });
        if end == records.len() {
            // As Kafka lists them: the others have ended.
            let counts = groups.counts();
            let left: Vec<_> = counts.groups.into_iter().collect();
            assert_eq!(left, [(("consumer", "Empty"), 1)]);
            assert_eq!((counts.members, counts.offsets), (0, 1));
        }
    }
}
