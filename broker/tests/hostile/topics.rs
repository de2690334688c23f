//! Topics: too many, too large, misnamed.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse,
};

use crate::wire::{Wire, frame};

const ASKED_FOR: usize = 100_000;
/// Clients that go away before they are answered.
const GONE: u64 = 100;
/// However many a request names, it has no more created than this; the next one may have more.
const CREATED_MAX: usize = 1_000;

pub(crate) fn check(address: SocketAddr) {
    let mut wire = Wire::connect(address);
    metadata_creates_few(&mut wire);
    partitions_are_limited(&mut wire);
    names_are_checked(&mut wire);
    who_goes_away_holds_nobody_up(address);
}

fn ids_request() -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() }
}

/// The next in line must get its turn whether or not the one before it waits for its answer.
fn who_goes_away_holds_nobody_up(address: SocketAddr) {
    for round in 0..GONE {
        let mut wire = Wire::connect(address);
        let create = |at: usize| CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: format!("abandoned-{round}-{at}"),
                num_partitions: 1,
                replication_factor: 1,
                ..CreatableTopic::default()
            }],
            timeout_ms: 10_000,
            ..CreateTopicsRequest::default()
        };
        let requests = [
            frame(9, 1, &MetadataRequest { topics: None, ..MetadataRequest::default() }),
            frame(5, 2, &create(0)),
            frame(4, 3, &ids_request()),
            frame(5, 4, &create(1)),
        ];
        wire.send(&requests.concat()).expect("sent");
        thread::sleep(Duration::from_micros(50 * (round % 10)));
        wire.reset();
    }
    for at in 0..4 {
        let mut wire = Wire::connect(address);
        wire.create_topic(&format!("at-last-{at}"), 1);
        let given: InitProducerIdResponse = wire.ask(4, &ids_request());
        assert_eq!(given.error_code, 0);
    }
}

fn metadata_creates_few(wire: &mut Wire) {
    let before = count(wire);
    let topic = |at| MetadataRequestTopic { name: Some(format!("wanted-{at}")), ..Default::default() };
    let request = MetadataRequest { topics: Some((0..ASKED_FOR).map(topic).collect()), ..Default::default() };
    for _ in 0..3 {
        let answer: MetadataResponse = wire.ask(9, &request);
        assert_eq!(answer.topics.len(), ASKED_FOR, "each is answered");
    }
    let created = count(wire) - before;
    assert!(created <= 3 * CREATED_MAX, "{created} topics were created by asking for them");
    let forbidden = MetadataRequest { allow_auto_topic_creation: false, ..request };
    let before = count(wire);
    let answer: MetadataResponse = wire.ask(9, &forbidden);
    let last = answer.topics.last().expect("each is answered");
    assert_eq!(last.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    // What was asked for earlier may still be under way.
    assert!(count(wire) - before <= CREATED_MAX, "who declines has nothing created");
}

fn count(wire: &mut Wire) -> usize {
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    wire.ask::<_, MetadataResponse>(9, &all).topics.len()
}

fn partitions_are_limited(wire: &mut Wire) {
    let topic = |name: String, num_partitions| CreatableTopic {
        name,
        num_partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let requests = [
        vec![topic("vast".to_owned(), 1_000_000)],
        vec![topic("vaster".to_owned(), i32::MAX)],
        (0..1000).map(|at| topic(format!("vast-{at}"), 1_000)).collect(),
        (0..ASKED_FOR).map(|at| topic(format!("one-of-many-{at}"), 1)).collect(),
        vec![topic("none".to_owned(), 0)],
        vec![topic("less".to_owned(), i32::MIN)],
    ];
    for topics in requests {
        let count = topics.len();
        let request = CreateTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
        let answer: CreateTopicsResponse = wire.ask(5, &request);
        assert_eq!(answer.topics.len(), count);
        assert!(answer.topics.iter().all(|topic| topic.error_code != 0), "{:?}", answer.topics[0]);
    }
    wire.create_topic("grows", 1);
    let topic = CreatePartitionsTopic { name: "grows".to_owned(), count: 1_000_000, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let answer: CreatePartitionsResponse = wire.ask(2, &request);
    assert_ne!(answer.results[0].error_code, 0, "a million partitions at once");
}

fn names_are_checked(wire: &mut Wire) {
    let long = "x".repeat(250);
    let names = ["", ".", "..", "a/b", "../../etc/passwd", "a\0b", "a b", "ü", "a\n", &long];
    for name in names {
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let answer: CreateTopicsResponse = wire.ask(5, &request);
        assert_eq!(answer.topics[0].error_code, ErrorCode::INVALID_TOPIC_EXCEPTION.0, "{name:?}");
        let topic = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let answer: MetadataResponse = wire.ask(9, &request);
        assert_ne!(answer.topics[0].error_code, 0, "{name:?} is not created by asking for it either");
    }
    let all: MetadataResponse = wire.ask(9, &MetadataRequest { topics: None, ..MetadataRequest::default() });
    assert!(!all.topics.iter().any(|topic| names.contains(&topic.name.as_deref().unwrap_or(""))));
}
