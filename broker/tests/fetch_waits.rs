//! Consumers that wait for partitions of several cores: they get what comes and nothing else, and cores are told
//! no more than they need.
#![allow(clippy::disallowed_methods, reason = "a test of processes needs processes, files, ports and time")]

#[path = "start/started.rs"]
mod started;
#[path = "server/wire.rs"]
mod wire;

use std::thread;
use std::time::{Duration, Instant};

use protocol::error_code::ErrorCode;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, FetchResponse};
use protocol::records::batch::batches;
use protocol::records::compression::Codec;
use started::{Folder, Started};
use wire::{Heard, Wire, answer, batch_of, fetch_request, frame};

/// Neighbouring partitions live on different cores. Connections stay on theirs.
const TWO_CORES: &str = "
listeners = 'PLAINTEXT://127.0.0.1:0'
listener.security.protocol.map = 'PLAINTEXT:PLAINTEXT,FIRST:PLAINTEXT,SECOND:PLAINTEXT'
http_listen = '127.0.0.1:0'
[[core]]
listener = 'FIRST://127.0.0.1:0'
[[core]]
listener = 'SECOND://127.0.0.1:0'
";
const TOPIC: &str = "t";
const VERSION: i16 = 12;
const PATIENCE: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(10);

/// Asks for both partitions again and again, on core 1.
struct Consumer {
    wire: Wire,
    offsets: [i64; 2],
}

impl Consumer {
    fn ask(&mut self) {
        let mut request = fetch_request(TOPIC, 0, self.offsets[0], 1 << 20);
        let mut second = request.topics[0].partitions[0].clone();
        (second.partition, second.fetch_offset) = (1, self.offsets[1]);
        request.topics[0].partitions.push(second);
        (request.min_bytes, request.max_wait_ms) = (1, WAIT.as_millis() as i32);
        self.wire.send(&frame(VERSION, 1, &request)).expect("sent");
    }

    /// What comes of both, in the order of their numbers.
    fn hear(&mut self) -> Vec<PartitionData> {
        let began = Instant::now();
        let Heard::Frame(body) = self.wire.hear(PATIENCE) else { panic!("no answer") };
        assert!(began.elapsed() < WAIT / 2, "answered when its time was over, not when there was something");
        let (_, answer) = answer::<FetchResponse>(&body, VERSION);
        let mut partitions = answer.responses.into_iter().next().expect("one topic").partitions;
        partitions.sort_by_key(|partition| partition.partition_index);
        assert_eq!(partitions.len(), 2, "without a session all is told of");
        for (partition, offset) in partitions.iter().zip(&mut self.offsets) {
            *offset += count(partition);
        }
        partitions
    }
}

fn count(partition: &PartitionData) -> i64 {
    let records = partition.records.clone().unwrap_or_default();
    batches(&records).map(|batch| i64::from(batch.expect("a batch").count())).sum()
}

fn start(folder: &Folder) -> (Started, Wire, Consumer) {
    let broker = Started::on(folder, TWO_CORES);
    let mut producer = Wire::connect(broker.listening()[1]);
    let consumer = Wire::connect(broker.listening()[2]);
    producer.create_topic(TOPIC, 2);
    assert_eq!(broker.connections(), [1, 1]);
    (broker, producer, Consumer { wire: consumer, offsets: [0; 2] })
}

fn core_hops(broker: &Started) -> u64 {
    sum(broker, "millstream_core_hops_total{")
}

/// Over all cores.
fn sum(broker: &Started, series: &str) -> u64 {
    let (_, body) = broker.metrics();
    let lines = body.lines().filter(|line| line.starts_with(series));
    lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<u64>().expect("a count")).sum()
}

#[test]
fn a_waiting_consumer_gets_each_record_once_from_whichever_core() {
    const ROUNDS: i64 = 60;
    let folder = Folder::new("fetch-waits");
    let (_broker, mut producer, mut consumer) = start(&folder);
    let mut written = [0; 2];
    for round in 0..ROUNDS {
        // In runs of one, two and three.
        let index = [0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1][round as usize % 12];
        consumer.ask();
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(3));
        }
        assert_eq!(producer.produce(TOPIC, index, &batch_of(Codec::None, b"x")).error_code, 0);
        written[index as usize] += 1;
        let heard = consumer.hear();
        let [one, other] = [index as usize, 1 - index as usize];
        assert_eq!((heard[one].error_code, heard[other].error_code), (0, 0));
        assert_eq!((count(&heard[one]), count(&heard[other])), (1, 0), "round {round}");
        assert_eq!((heard[one].high_watermark, heard[other].high_watermark), (written[one], written[other]));
    }
    assert_eq!(consumer.offsets, [written[0], written[1]]);
    assert_eq!(written[0] + written[1], ROUNDS);
}

#[test]
fn a_fetch_is_answered_with_what_was_there_on_every_core() {
    let folder = Folder::new("fetch-both");
    let (_broker, mut producer, mut consumer) = start(&folder);
    for round in 1..=20 {
        for index in [0, 1] {
            assert_eq!(producer.produce(TOPIC, index, &batch_of(Codec::None, b"x")).error_code, 0);
        }
        consumer.ask();
        let heard = consumer.hear();
        assert_eq!((count(&heard[0]), count(&heard[1])), (1, 1), "round {round}");
        assert_eq!((heard[0].high_watermark, heard[1].high_watermark), (round, round));
    }
}

#[test]
fn who_waits_on_two_cores_costs_the_silent_one_nothing() {
    const ROUNDS: u64 = 40;
    let folder = Folder::new("fetch-costs");
    let (broker, mut producer, mut consumer) = start(&folder);
    let mut round = |index| {
        consumer.ask();
        assert_eq!(producer.produce(TOPIC, index, &batch_of(Codec::None, b"x")).error_code, 0);
        assert_eq!(count(&consumer.hear()[index as usize]), 1);
    };
    let hops = |index, round: &mut dyn FnMut(i32)| {
        round(index);
        let before = core_hops(&broker);
        (0..ROUNDS).for_each(|_| round(index));
        core_hops(&broker) - before
    };
    // One of the two lives on the consumer's core and not on the producer's, the other the other way round: a
    // hop a round for producing, and a hop a round for fetching.
    let (first, second) = (hops(0, &mut round), hops(1, &mut round));
    for hops in [first, second] {
        assert!((ROUNDS..=ROUNDS + 4).contains(&hops), "{first} and {second} hops in {ROUNDS} rounds each");
    }
}

#[test]
fn what_was_found_before_a_deletion_is_not_given_after_it() {
    let folder = Folder::new("fetch-deleted");
    let (_broker, mut producer, mut consumer) = start(&folder);
    for deleted in [0, 1] {
        let other = 1 - deleted;
        consumer.ask();
        assert_eq!(producer.produce(TOPIC, other, &batch_of(Codec::None, b"x")).error_code, 0);
        assert_eq!(count(&consumer.hear()[other as usize]), 1);
        // The other part of that fetch may still wait, and find this.
        let produced = producer.produce(TOPIC, deleted, &batch_of(Codec::None, b"x"));
        let partition = DeleteRecordsPartition { partition_index: deleted, offset: produced.base_offset + 1 };
        let topic = DeleteRecordsTopic { name: TOPIC.to_owned(), partitions: vec![partition] };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 };
        let answer: DeleteRecordsResponse = producer.ask(2, &request);
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        consumer.ask();
        let heard = consumer.hear();
        assert_eq!(heard[deleted as usize].error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
        consumer.offsets[deleted as usize] = produced.base_offset + 1;
    }
}

#[test]
fn nobody_waits_for_a_client_that_is_gone() {
    let folder = Folder::new("fetch-gone");
    let (broker, _producer, mut consumer) = start(&folder);
    let until = |count| {
        let began = Instant::now();
        while sum(&broker, "millstream_fetches_waiting{") != count {
            assert!(began.elapsed() < WAIT / 2, "not {count} parts wait, and they would for {WAIT:?}");
            thread::sleep(Duration::from_millis(10));
        }
    };
    consumer.ask();
    until(2);
    drop(consumer);
    until(0);
}

#[test]
fn a_wait_ends_with_nothing_when_its_time_is_over() {
    let folder = Folder::new("fetch-over");
    let (_broker, mut producer, mut consumer) = start(&folder);
    assert_eq!(producer.produce(TOPIC, 0, &batch_of(Codec::None, b"x")).error_code, 0);
    consumer.offsets = [1, 0];
    for _ in 0..3 {
        let mut request = fetch_request(TOPIC, 0, 1, 1 << 20);
        let mut second = request.topics[0].partitions[0].clone();
        (second.partition, second.fetch_offset) = (1, 0);
        request.topics[0].partitions.push(second);
        (request.min_bytes, request.max_wait_ms) = (1, 200);
        let began = Instant::now();
        consumer.wire.send(&frame(VERSION, 1, &request)).expect("sent");
        let heard = consumer.hear();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(195) && took < Duration::from_secs(2), "{took:?}");
        assert_eq!(heard.iter().map(count).sum::<i64>(), 0);
        assert_eq!((heard[0].high_watermark, heard[1].high_watermark), (1, 0));
    }
}
