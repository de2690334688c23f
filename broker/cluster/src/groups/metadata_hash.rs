//! One number for all that a group's assignment depends on: its topics, their partitions, and the racks these are in.
//! Kept in the group's record, so that a new coordinator knows whether anything changed.

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use crate::metadata::{Broker, Topic};

// Kafka: the numbers stand in records, so each byte that is hashed is Kafka's: XXH3 of little-endian integers, and of texts
// as UTF-16 followed by their length.
const TOPIC_HASH_VERSION: u8 = 0;

/// The hash of the topics whose hashes come here in the order of their names.
pub fn of_hashes(hashes: impl Iterator<Item = u64>) -> u64 {
    let hashed: Vec<u8> = hashes.flat_map(u64::to_le_bytes).collect();
    if hashed.is_empty() { 0 } else { XxHash3_64::oneshot(&hashed) }
}

/// The hash of one topic.
pub fn of_topic(topic: &Topic, brokers: &BTreeMap<i32, Broker>) -> u64 {
    let mut hashed = Vec::new();
    hashed.push(TOPIC_HASH_VERSION);
    let (high, low) = topic.id.0.split_at(8);
    for half in [high, low] {
        hashed.extend(half.iter().rev());
    }
    write_text(&mut hashed, &topic.name);
    write_count(&mut hashed, topic.partitions().len());
    for partition in topic.partitions() {
        hashed.extend(partition.index.to_le_bytes());
        let rack = |id: &i32| brokers.get(id)?.rack.as_deref();
        let mut racks: Vec<&str> = partition.replicas.iter().filter_map(rack).collect();
        racks.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        for rack in racks {
            write_count(&mut hashed, rack.encode_utf16().count());
            write_text(&mut hashed, rack);
        }
    }
    XxHash3_64::oneshot(&hashed)
}

fn write_text(hashed: &mut Vec<u8>, text: &str) {
    let mut units = 0;
    for unit in text.encode_utf16() {
        hashed.extend(unit.to_le_bytes());
        units += 1;
    }
    write_count(hashed, units);
}

fn write_count(hashed: &mut Vec<u8>, count: usize) {
    hashed.extend(i32::try_from(count).unwrap_or(i32::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use protocol::ids::Uuid;
    use protocol::messages::{PartitionRecord, RegisterBrokerRecord, TopicRecord};

    use super::*;
    use crate::metadata::{Image, MetadataRecord};

    /// The numbers are of Apache Kafka's own hash library.
    #[test]
    fn the_hash_is_kafkas() {
        let mut image = Image::new("c");
        let topic_id = Uuid::from_u64_pair(0x0102_0304_0506_0708, 0x1112_1314_1516_1718);
        let mut records = vec![MetadataRecord::Topic(TopicRecord { name: "topic".to_owned(), topic_id })];
        for (broker_id, rack) in [(1, Some("rack-ü")), (2, Some("a")), (3, None)] {
            let rack = rack.map(str::to_owned);
            let register = RegisterBrokerRecord { broker_id, rack, ..Default::default() };
            records.push(MetadataRecord::RegisterBroker(register));
        }
        for (partition_id, replicas) in [(0, vec![1, 2]), (1, vec![3])] {
            let partition = PartitionRecord { partition_id, topic_id, replicas, ..Default::default() };
            records.push(MetadataRecord::Partition(partition));
        }
        for (offset, record) in (0..).zip(&records) {
            image.apply(record, offset).unwrap();
        }
        let of_topic = of_topic(image.topics.by_name("topic").unwrap(), &image.brokers);
        assert_eq!(of_topic as i64, 7032517926696317679);
        assert_eq!(of_hashes([of_topic].into_iter()) as i64, 5684124841399442763);
        assert_eq!(of_hashes([of_topic, 5].into_iter()) as i64, 2741269017960477099);
        assert_eq!(of_hashes([].into_iter()), 0);
    }
}
