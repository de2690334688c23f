//! A metadata log that Apache Kafka wrote is read, applied and written again, byte for byte.

// Outside #[test] functions clippy does not see that these are tests.
#![allow(clippy::unwrap_used)]

use cluster::metadata::bootstrap;
use cluster::metadata::features::FEATURES;
use cluster::metadata::{Image, MetadataRecord, RecordError, ResourceKind};

const LOG: &str = include_str!("kafka_metadata_log.txt");

fn log() -> Vec<(i64, Vec<u8>)> {
    let line = |line: &'static str| {
        let (offset, hex) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (offset.parse().unwrap(), (0..hex.len()).step_by(2).map(byte).collect())
    };
    LOG.lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

fn image_up_to(end: i64) -> Image {
    let mut image = Image::new("zmE1gFuzQd-CdiCFOypd2w");
    for (offset, bytes) in log() {
        if offset < end {
            image.apply(&MetadataRecord::from_bytes(&bytes).unwrap(), offset).unwrap();
        }
    }
    image
}

#[test]
fn every_record_comes_back_byte_for_byte() {
    for (offset, bytes) in log() {
        let record = MetadataRecord::from_bytes(&bytes).unwrap();
        assert_eq!(record.to_bytes(), bytes, "{offset}: {record:?}");
    }
}

#[test]
fn fresh_cluster_begins_with_kafkas_records() {
    let ours: Vec<Vec<u8>> = bootstrap::records(FEATURES).iter().map(|it| it.to_bytes().to_vec()).collect();
    let theirs: Vec<Vec<u8>> = log().into_iter().take(ours.len()).map(|(_, bytes)| bytes).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn image_says_what_the_log_says() {
    // Just before the first stop.
    let image = image_up_to(172);
    assert_eq!((image.offset, image.next_producer_id), (115, 1000));
    assert_eq!(image.feature("metadata.version"), 30);
    assert_eq!(image.feature("transaction.version"), 2);
    assert_eq!(image.feature("kraft.version"), 0);
    let broker = &image.brokers[&1];
    assert!(broker.is_active() && broker.epoch == 14);
    assert_eq!(broker.endpoint("PLAINTEXT").unwrap().port, 9500);
    let names: Vec<&str> = image.topics.iter().map(|topic| &*topic.name).collect();
    assert_eq!(
        names,
        [
            "__consumer_offsets",
            "__share_group_state",
            "__transaction_state",
            "append-time",
            "codecs",
            "compacted",
            "plain",
            "trimmed",
            "two-parts",
            "txn",
        ]
    );
    let topic = image.topics.by_name("two-parts").unwrap();
    assert_eq!(topic.partitions().len(), 3);
    assert_eq!(image.topics.by_id(topic.id), Some(topic));
    let partition = topic.partition(2).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch, &partition.isr[..]), (1, 0, &[1][..]));
    assert_eq!(partition.directory_of(1), Some(broker.log_dirs[0]));
    assert_eq!((partition.directory_of(2), topic.partition(3)), (None, None));
    let share = image.configs.of(ResourceKind::Group, "g-share").unwrap();
    assert_eq!(share.get("share.auto.offset.reset"), Some("earliest"));
    assert_eq!(image.configs.of(ResourceKind::Topic, "to-be-deleted"), None);
    let config = image.topic_config("compacted", 1, &Default::default());
    assert!(config.cleanup_compact && !config.cleanup_delete);
    assert_eq!((config.segment_ms, config.min_insync_replicas), (1500, 1));
    assert_eq!(image.security.acls.len(), 1);
    assert_eq!(image.security.quotas.len(), 1);
    assert_eq!(image.security.scram.keys().map(|(user, _)| &**user).collect::<Vec<_>>(), ["alice"]);
}

#[test]
fn leaderless_partitions_keep_their_eligible_leaders() {
    // Between the stop and the start after it.
    let image = image_up_to(194);
    assert!(image.brokers[&1].is_fenced);
    let partition = image.topics.by_name("plain").unwrap().partition(0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (-1, 1, 1));
    assert_eq!(
        (&partition.isr[..], partition.elr(), partition.last_known_elr()),
        (&[][..], &[1][..], &[1][..])
    );
    let again = image_up_to(211);
    let partition = again.topics.by_name("plain").unwrap().partition(0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (1, 2, 2));
    assert_eq!(
        (&partition.isr[..], partition.elr(), partition.last_known_elr()),
        (&[1][..], &[][..], &[][..])
    );
}

#[test]
fn snapshot_builds_the_same_image() {
    for end in [12, 50, 172, 194, i64::MAX] {
        let image = image_up_to(end);
        let mut copy = Image::new(image.cluster_id.clone());
        for record in image.records() {
            copy.apply(&record, image.offset).unwrap();
        }
        assert_eq!(copy, image, "up to {end}");
    }
}

#[test]
fn transaction_counts_when_it_ends_and_not_if_it_is_aborted() {
    let mut image = Image::new("c");
    let records = bootstrap::records(FEATURES);
    let (end, begun) = records.split_last().unwrap();
    for (offset, record) in begun.iter().enumerate() {
        image.apply(record, offset as i64).unwrap();
        assert!(image.features.is_empty());
    }
    let mut aborted = image.clone();
    let abort = MetadataRecord::AbortTransaction(Default::default());
    aborted.apply(&abort, 9).unwrap();
    assert!(aborted.features.is_empty() && aborted.configs.iter().next().is_none());
    image.apply(end, 9).unwrap();
    assert_eq!(image.features.len(), FEATURES.len());
    assert!(image.apply(end, 10).is_err());
}

#[test]
fn contradictions_are_refused_with_their_offset() {
    let bytes = log();
    let record_at = |at: i64| {
        let (_, bytes) = bytes.iter().find(|(offset, _)| *offset == at).unwrap();
        MetadataRecord::from_bytes(bytes).unwrap()
    };
    // A topic twice, a partition of no topic, an unfenced stranger, producer ids that go back.
    let full = image_up_to(172);
    for (mut image, at) in [(full.clone(), 76), (Image::new("c"), 83), (Image::new("c"), 194), (full, 57)] {
        let before = image.clone();
        let error = image.apply(&record_at(at), 1000).unwrap_err();
        assert_eq!(error.offset, 1000);
        assert_eq!(image, before, "{error}");
    }
}

#[test]
fn foreign_bytes_are_refused() {
    let check = |bytes: &[u8], error| assert_eq!(MetadataRecord::from_bytes(bytes), Err(error));
    check(&[2, 20, 0, 0], RecordError::Frame(2));
    check(&[1, 99, 0, 0], RecordError::Kind(99));
    check(&[1, 20, 0, 0, 0], RecordError::Garbage(1));
    for len in 0..4 {
        assert!(MetadataRecord::from_bytes(&[1, 20, 0, 0][..len]).is_err());
    }
    // Whatever is cut or changed, it is an error or another record, never a panic.
    for (_, bytes) in log() {
        for at in 0..bytes.len() {
            let _ = MetadataRecord::from_bytes(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            let _ = MetadataRecord::from_bytes(&changed);
        }
    }
}
