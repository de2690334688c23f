//! librdkafka, the client under most languages' clients.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::said::{ByPartition, Said, assert_same, varied};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn what_is_produced_is_consumed(bootstrap: &str, codec: &str) {
    let topic = format!("round-trip-{codec}");
    create(bootstrap, &topic, 4, &[]);
    let all = varied(4, 250);
    produce(bootstrap, &topic, codec, &all);
    assert_same(&consume(bootstrap, &topic, &all), &all);
}

pub(crate) fn offsets_by_place_and_time(bootstrap: &str) {
    create(bootstrap, "places", 1, &[]);
    let all = varied(1, 100);
    for part in all[0].chunks(10) {
        produce(bootstrap, "places", "none", &vec![part.to_vec()]);
    }
    let (low, high) = consumer(bootstrap).fetch_watermarks("places", 0, PATIENCE).expect("watermarks");
    assert_eq!((low, high), (0, 100));
    assert_eq!(consume_from(bootstrap, "places", 0, Offset::Offset(37)), all[0][37..]);
    assert_eq!(consume_from(bootstrap, "places", 0, Offset::OffsetTail(5)), all[0][95..]);
    assert_eq!(consume_from(bootstrap, "places", 0, Offset::End), []);

    let mut asked = TopicPartitionList::new();
    let between = all[0][41].timestamp_ms - 3;
    asked.add_partition_offset("places", 0, Offset::Offset(between)).expect("an offset");
    let found = consumer(bootstrap).offsets_for_times(asked, PATIENCE).expect("offsets for times");
    let offset = found.elements()[0].offset();
    assert_eq!(offset, Offset::Offset(41), "the first record at or after a time");
    assert_eq!(consume_from(bootstrap, "places", 0, offset), all[0][41..]);

    new_records_reach_a_waiting_consumer(bootstrap);
}

fn new_records_reach_a_waiting_consumer(bootstrap: &str) {
    let waiting = consumer(bootstrap);
    waiting.assign(&at("places", 0, Offset::End)).expect("an assignment");
    let end = waiting.poll(PATIENCE);
    assert!(matches!(end, Some(Err(KafkaError::PartitionEOF(0)))), "nothing new yet");
    let new = vec![Said { value: Some(b"news".to_vec()), ..varied(1, 1)[0][0].clone() }];
    produce(bootstrap, "places", "none", &vec![new.clone()]);
    let message = waiting.poll(PATIENCE).expect("the news comes").expect("without an error");
    assert_eq!(heard(&message), new[0]);
}

pub(crate) fn large_records_pass(bootstrap: &str) {
    create(bootstrap, "large", 2, &[("max.message.bytes", "4194304")]);
    for codec in ["none", "zstd"] {
        let one = |fill: u8| {
            let noise = varied(1, 150)[0][149].value.clone().unwrap_or_default();
            let mut value: Vec<u8> = noise.iter().copied().cycle().take(1 << 20).collect();
            value[..1024].fill(fill);
            Said { value: Some(value), ..varied(1, 4)[0][3].clone() }
        };
        let all = vec![(0..3).map(one).collect(), (3..5).map(one).collect()];
        let before: Vec<i64> = (0..2)
            .map(|index| consumer(bootstrap).fetch_watermarks("large", index, PATIENCE).expect("known").1)
            .collect();
        produce(bootstrap, "large", codec, &all);
        for (index, expected) in all.iter().enumerate() {
            let found = consume_from(bootstrap, "large", index as i32, Offset::Offset(before[index]));
            assert_same(&vec![found], &vec![expected.clone()]);
        }
    }
    let refused = try_produce(
        bootstrap,
        "large",
        "none",
        &vec![vec![Said { value: Some(vec![7; 5 << 20]), ..varied(1, 1)[0][0].clone() }]],
    );
    assert!(refused[0].contains("MessageSizeTooLarge"), "over max.message.bytes: {refused:?}");
}

pub(crate) fn many_partitions_fill_evenly(bootstrap: &str) {
    create(bootstrap, "many", 100, &[]);
    let all = varied(100, 20);
    produce(bootstrap, "many", "lz4", &all);
    assert_same(&consume(bootstrap, "many", &all), &all);
}

pub(crate) fn deleted_topics_are_gone(bootstrap: &str) {
    create(bootstrap, "short-lived", 3, &[]);
    produce(bootstrap, "short-lived", "none", &varied(3, 10));
    let deleted =
        block_on(admin(bootstrap).delete_topics(&["short-lived", "never-was"], &AdminOptions::new()));
    let deleted = deleted.expect("an answer");
    assert_eq!(deleted[0].as_ref().map_err(|error| error.1.to_string()).expect("deleted"), "short-lived");
    assert!(deleted[1].is_err(), "a topic that never was cannot be deleted");
    let listed = consumer(bootstrap).fetch_metadata(None, PATIENCE).expect("metadata");
    assert!(listed.topics().iter().all(|topic| topic.name() != "short-lived"));

    // The name can be used again, and nothing of the past is left in it.
    create(bootstrap, "short-lived", 1, &[]);
    let (low, high) = consumer(bootstrap).fetch_watermarks("short-lived", 0, PATIENCE).expect("watermarks");
    assert_eq!((low, high), (0, 0));
}

pub(crate) fn create(bootstrap: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let created = block_on(admin(bootstrap).create_topics([&new], &AdminOptions::new())).expect("an answer");
    created[0].as_ref().map_err(|(topic, error)| format!("{topic}: {error}")).expect("created");
}

/// Idempotently, with acks=all.
///
/// # Panics
/// If any record is not acknowledged.
pub(crate) fn produce(bootstrap: &str, topic: &str, codec: &str, all: &ByPartition) {
    let refused = try_produce(bootstrap, topic, codec, all);
    assert!(refused.is_empty(), "{codec} to {topic}: {} not acknowledged: {}", refused.len(), refused[0]);
}

/// The errors of those that were not acknowledged.
fn try_produce(bootstrap: &str, topic: &str, codec: &str, all: &ByPartition) -> Vec<String> {
    let producer: ThreadedProducer<Reports> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", codec)
        .set("message.max.bytes", "20000000")
        .set("linger.ms", "5")
        .create_with_context(Reports::default())
        .expect("a producer");
    let longest = all.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..longest {
        for (index, said) in all.iter().enumerate().filter_map(|(index, part)| Some((index, part.get(at)?))) {
            producer
                .send(record(topic, index as i32, said))
                .map_err(|(error, _)| error)
                .expect("room in the queue");
        }
    }
    producer.flush(PATIENCE).expect("everything is answered");
    let refused = producer.client().context().refused.lock();
    refused.expect("no report panicked").clone()
}

/// What the producer was told of records that were not acknowledged.
#[derive(Default)]
struct Reports {
    refused: std::sync::Mutex<Vec<String>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.refused.lock().expect("no report panicked").push(format!("{error:?}"));
        }
    }
}

fn record<'a>(topic: &'a str, index: i32, said: &'a Said) -> BaseRecord<'a, [u8], [u8]> {
    let headers = said.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    let mut record = BaseRecord::to(topic).partition(index).timestamp(said.timestamp_ms).headers(headers);
    if let Some(key) = &said.key {
        record = record.key(key.as_slice());
    }
    if let Some(value) = &said.value {
        record = record.payload(value.as_slice());
    }
    record
}

/// All partitions of as many as expected, from the beginning to the end.
pub(crate) fn consume(bootstrap: &str, topic: &str, expected: &ByPartition) -> ByPartition {
    let mut assignment = TopicPartitionList::new();
    for index in 0..expected.len() {
        assignment.add_partition_offset(topic, index as i32, Offset::Beginning).expect("an offset");
    }
    consume_assigned(bootstrap, &assignment)
}

/// One partition from an offset to the end.
fn consume_from(bootstrap: &str, topic: &str, index: i32, offset: Offset) -> Vec<Said> {
    consume_assigned(bootstrap, &at(topic, index, offset)).remove(0)
}

/// Until the end of each has been reached.
fn consume_assigned(bootstrap: &str, assignment: &TopicPartitionList) -> ByPartition {
    let consumer = consumer(bootstrap);
    consumer.assign(assignment).expect("an assignment");
    let mut indexes: Vec<_> = assignment.elements().iter().map(|one| one.partition()).collect();
    let place =
        |index| assignment.elements().iter().position(|one| one.partition() == index).expect("assigned");
    let mut found = vec![Vec::new(); indexes.len()];
    let mut next = vec![None; indexes.len()];
    while !indexes.is_empty() {
        match consumer.poll(PATIENCE).expect("records, or the end") {
            Ok(message) => {
                let place = place(message.partition());
                let expected = next[place].unwrap_or(message.offset());
                assert_eq!(
                    message.offset(),
                    expected,
                    "offsets of partition {} have no gaps",
                    message.partition()
                );
                next[place] = Some(expected + 1);
                found[place].push(heard(&message));
            }
            Err(KafkaError::PartitionEOF(index)) => indexes.retain(|left| *left != index),
            Err(error) => panic!("{error}"),
        }
    }
    found
}

fn at(topic: &str, index: i32, offset: Offset) -> TopicPartitionList {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, index, offset).expect("an offset");
    assignment
}

fn heard(message: &BorrowedMessage<'_>) -> Said {
    let headers = message.headers().map(|headers| {
        let pairs =
            headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or(b"null").to_vec()));
        pairs.collect()
    });
    Said {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
        timestamp_ms: message.timestamp().to_millis().expect("a timestamp"),
    }
}

pub(crate) fn consumer(bootstrap: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "assigned-by-hand")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.message.max.bytes", "8000000")
        .create()
        .expect("a consumer")
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("an admin client")
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
