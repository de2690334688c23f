//! A connection goes to the core that it works for, and nothing on it is lost or changes its order.
#![allow(clippy::disallowed_methods, reason = "a test of processes needs processes, files, ports and time")]

#[path = "start/started.rs"]
mod started;
#[path = "server/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use protocol::records::compression::Codec;
use started::{Folder, Started};
use wire::{Wire, batch_of, frame, produce_request};

/// Neighbouring partitions live on different cores.
const TWO_CORES: &str = "
listeners = 'PLAINTEXT://127.0.0.1:0'
listener.security.protocol.map = 'PLAINTEXT:PLAINTEXT,OWN:PLAINTEXT'
http_listen = '127.0.0.1:0'
[[core]]
[[core]]
listener = 'OWN://127.0.0.1:0'
";
const TOPIC: &str = "t";
const VERSION: i16 = 12;
const PATIENCE: Duration = Duration::from_secs(30);

fn start(folder: &Folder, listener: usize) -> (Started, Wire) {
    let broker = Started::on(folder, TWO_CORES);
    let mut producer = Wire::connect(broker.listening()[listener]);
    producer.create_topic(TOPIC, 2);
    (broker, producer)
}

/// Over all cores.
fn sum(broker: &Started, series: &str) -> u64 {
    let (_, body) = broker.metrics();
    let lines = body.lines().filter(|line| line.starts_with(series));
    lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<u64>().expect("a count")).sum()
}

fn core_hops(broker: &Started) -> u64 {
    sum(broker, "millstream_core_hops_total{")
}

fn moves(broker: &Started) -> u64 {
    sum(broker, "millstream_connections_moved_total{")
}

/// One after the other, each answered in turn.
fn produce(producer: &mut Wire, index: i32, next: &mut i64, times: usize) {
    for _ in 0..times {
        let answer = producer.produce(TOPIC, index, &batch_of(Codec::None, b"x"));
        assert_eq!((answer.error_code, answer.base_offset), (0, *next));
        *next += 1;
    }
}

#[test]
fn a_producer_that_waits_for_each_answer_is_served_by_the_core_of_its_partition() {
    let folder = Folder::new("follow");
    let (broker, mut producer) = start(&folder, 0);
    let mut next = [0; 2];
    for index in [0, 1, 0] {
        let began = Instant::now();
        loop {
            let before = core_hops(&broker);
            produce(&mut producer, index, &mut next[index as usize], 8);
            if core_hops(&broker) == before {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "partition {index}: requests still cross cores");
        }
        assert_eq!(broker.connections().iter().sum::<u64>(), 1);
    }
    assert!((2..=3).contains(&moves(&broker)), "to one core, to the other, and back: {}", moves(&broker));
    producer.finish();
    let began = Instant::now();
    while broker.connections() != [0, 0] {
        assert!(began.elapsed() < PATIENCE, "the end of a connection that moved is not noticed");
    }
}

#[test]
fn a_connection_to_a_cores_own_listener_stays_there() {
    let folder = Folder::new("follow-not");
    let (broker, mut producer) = start(&folder, 1);
    for index in [0, 1] {
        produce(&mut producer, index, &mut 0, 40);
    }
    assert_eq!((moves(&broker), broker.connections()), (0, vec![0, 1]));
    assert!(core_hops(&broker) >= 40, "one of the partitions is the other core's");
}

#[test]
fn requests_in_a_row_and_at_once_keep_their_order_wherever_the_connection_is() {
    const RUNS: usize = 60;
    let folder = Folder::new("follow-order");
    let (_broker, mut producer) = start(&folder, 0);
    let mut next = [0; 2];
    for run in 0..RUNS {
        let index = run % 2;
        produce(&mut producer, index as i32, &mut next[index], 1 + run % 20);
        // Then some that do not wait for each other, while the connection may be about to leave.
        let burst = 1 + run % 5;
        let batch = batch_of(Codec::None, b"x");
        let frames: Vec<u8> = (0..burst)
            .flat_map(|_| frame(VERSION, 1, &produce_request(TOPIC, index as i32, Some(&batch), -1)))
            .collect();
        producer.send(&frames).expect("sent");
        for _ in 0..burst {
            assert_eq!(hear_base_offset(&mut producer), next[index], "run {run}");
            next[index] += 1;
        }
    }
}

fn hear_base_offset(producer: &mut Wire) -> i64 {
    let wire::Heard::Frame(body) = producer.hear(PATIENCE) else { panic!("no answer") };
    let (_, answer) = wire::answer::<protocol::messages::ProduceResponse>(&body, VERSION);
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0);
    partition.base_offset
}
