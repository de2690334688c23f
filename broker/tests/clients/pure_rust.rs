//! rskafka: shares no code with librdkafka, so that an agreement of the two is worth something.

use std::collections::BTreeMap;

use rskafka::chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};

use crate::librdkafka;
use crate::said::{ByPartition, Said, assert_same, varied};

const PARTITIONS: usize = 2;
const BATCH_RECORDS: usize = 30;
const FETCH_BYTES: i32 = 5_000_000;

const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::NoCompression),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

pub(crate) fn what_is_produced_is_consumed_by_both(bootstrap: &str) {
    let all = varied(PARTITIONS, 120);
    for (name, codec) in CODECS {
        let topic = format!("pure-{name}");
        run(produce_and_fetch(bootstrap, &topic, codec, &all));
        assert_same(&librdkafka::consume(bootstrap, &topic, &all), &all);
        run(delete(bootstrap, &topic));

        // And the other way round.
        let crossed = format!("crossed-{name}");
        librdkafka::create(bootstrap, &crossed, PARTITIONS as i32, &[]);
        librdkafka::produce(bootstrap, &crossed, name, &all);
        run(fetch_and_compare(bootstrap, &crossed, &all));
    }
}

async fn produce_and_fetch(bootstrap: &str, topic: &str, codec: Compression, all: &ByPartition) {
    let client = connect(bootstrap).await;
    create(&client, topic, PARTITIONS).await;
    for (index, records) in all.iter().enumerate() {
        let partition = partition(&client, topic, index).await;
        for part in records.chunks(BATCH_RECORDS) {
            partition.produce(part.iter().map(record).collect(), codec).await.expect("acknowledged");
        }
    }
    fetch_and_compare(bootstrap, topic, all).await;
}

async fn fetch_and_compare(bootstrap: &str, topic: &str, all: &ByPartition) {
    let client = connect(bootstrap).await;
    let mut found = Vec::new();
    for index in 0..all.len() {
        found.push(fetch_all(&partition(&client, topic, index).await, 0).await);
    }
    assert_same(&found, all);
}

async fn delete(bootstrap: &str, topic: &str) {
    let client = connect(bootstrap).await;
    let controller = client.controller_client().expect("a controller");
    controller.delete_topic(topic, 10_000).await.expect("deleted");
    let listed = client.list_topics().await.expect("topics");
    assert!(listed.iter().all(|listed| listed.name != topic), "{topic} is deleted");
}

pub(crate) fn records_are_deleted_up_to_an_offset(bootstrap: &str) {
    run(async {
        let client = connect(bootstrap).await;
        create(&client, "shortened", 1).await;
        let partition = partition(&client, "shortened", 0).await;
        let all = varied(1, 90);
        for part in all[0].chunks(BATCH_RECORDS) {
            let records = part.iter().map(record).collect();
            partition.produce(records, Compression::NoCompression).await.expect("acknowledged");
        }
        partition.delete_records(40, 10_000).await.expect("deleted");
        assert_eq!(partition.get_offset(OffsetAt::Earliest).await.expect("the start"), 40);
        assert_eq!(partition.get_offset(OffsetAt::Latest).await.expect("the end"), 90);
        let time = DateTime::<Utc>::from_timestamp_millis(all[0][60].timestamp_ms).expect("a time");
        assert_eq!(partition.get_offset(OffsetAt::Timestamp(time)).await.expect("an offset"), 60);
        assert_eq!(fetch_all(&partition, 40).await, all[0][40..]);
        let refused = partition.fetch_records(39, 1..FETCH_BYTES, 100).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("OffsetOutOfRange")), "39 is no more");
    });
}

fn run(check: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(check);
}

async fn connect(bootstrap: &str) -> Client {
    ClientBuilder::new(vec![bootstrap.to_owned()]).build().await.expect("a connection")
}

async fn create(client: &Client, topic: &str, partitions: usize) {
    let controller = client.controller_client().expect("a controller");
    controller.create_topic(topic, partitions as i32, 1, 10_000).await.expect("created");
}

async fn partition(client: &Client, topic: &str, index: usize) -> PartitionClient {
    let client = client.partition_client(topic, index as i32, UnknownTopicHandling::Retry).await;
    client.expect("a partition with a leader")
}

/// From an offset to the end, with no gap.
async fn fetch_all(partition: &PartitionClient, from: i64) -> Vec<Said> {
    let mut found = Vec::new();
    loop {
        let next = from + found.len() as i64;
        let (records, high_watermark) =
            partition.fetch_records(next, 1..FETCH_BYTES, 500).await.expect("records");
        for RecordAndOffset { record, offset } in records {
            assert_eq!(offset, from + found.len() as i64, "offsets have no gaps");
            found.push(heard(record));
        }
        if from + found.len() as i64 >= high_watermark {
            return found;
        }
    }
}

fn record(said: &Said) -> Record {
    Record {
        key: said.key.clone(),
        value: said.value.clone(),
        headers: said.headers.iter().cloned().collect(),
        timestamp: DateTime::from_timestamp_millis(said.timestamp_ms).expect("a time"),
    }
}

fn heard(record: Record) -> Said {
    let headers: BTreeMap<_, _> = record.headers;
    Said {
        key: record.key,
        value: record.value,
        headers: headers.into_iter().collect(),
        timestamp_ms: record.timestamp.timestamp_millis(),
    }
}
