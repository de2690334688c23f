//! Settings that change while the broker runs: they hold for the next request on every core, and after a crash.
#![allow(clippy::disallowed_methods, reason = "real processes, files and time")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use process::Server;
use protocol::error_code::ErrorCode;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, CreateTopicsRequest, CreateTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::Codec;
use wire::{Wire, batch_of};

#[path = "server/process.rs"]
mod process;
#[path = "server/wire.rs"]
mod wire;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
/// Enough for some on each core.
const PARTITIONS: i32 = 8;
/// For what happens in the background. Generous: the machine may have other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// A change of each of these; without a value it goes back to its default.
fn try_alter(wire: &mut Wire, kind: i8, name: &str, changes: &[(&str, Option<&str>)]) -> ErrorCode {
    let change = |(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: if value.is_some() { 0 } else { 1 },
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: changes.iter().map(change).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer: IncrementalAlterConfigsResponse = wire.ask(1, &request);
    assert_eq!((answer.responses.len(), answer.responses[0].resource_name.as_str()), (1, name));
    ErrorCode(answer.responses[0].error_code)
}

#[track_caller]
fn alter(wire: &mut Wire, kind: i8, name: &str, changes: &[(&str, Option<&str>)]) {
    assert_eq!(try_alter(wire, kind, name, changes), ErrorCode::NONE, "{changes:?}");
}

fn value(wire: &mut Wire, kind: i8, name: &str, setting: &str) -> String {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: Some(vec![setting.to_owned()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer: DescribeConfigsResponse = wire.ask(4, &request);
    answer.results[0].configs[0].value.clone().expect("a value")
}

/// What becomes of a batch in each partition: the same everywhere.
#[track_caller]
fn produced(wire: &mut Wire, value: &[u8]) -> (ErrorCode, bool) {
    let batch = batch_of(Codec::None, value);
    let mut outcomes: Vec<(ErrorCode, bool)> = (0..PARTITIONS)
        .map(|index| wire.produce("t", index, &batch))
        .map(|it| (ErrorCode(it.error_code), it.log_append_time_ms >= 0))
        .collect();
    outcomes.dedup();
    assert_eq!(outcomes.len(), 1, "partitions differ: {outcomes:?}");
    outcomes[0]
}

const STORED: (ErrorCode, bool) = (ErrorCode::NONE, false);
const STAMPED: (ErrorCode, bool) = (ErrorCode::NONE, true);
const TOO_LARGE: (ErrorCode, bool) = (ErrorCode::MESSAGE_TOO_LARGE, false);

#[test]
fn changed_settings_hold_for_the_next_request_on_every_core() {
    let server = Server::start("settings-change", &["--shards", "2"]);
    let wire = &mut Wire::connect(server.address());
    wire.create_topic("t", PARTITIONS);
    let big = vec![b'v'; 3000];
    // Before any log is open, and after.
    alter(wire, TOPIC, "t", &[("max.message.bytes", Some("1000"))]);
    assert_eq!(produced(wire, &big), TOO_LARGE);
    alter(wire, TOPIC, "t", &[("max.message.bytes", None)]);
    assert_eq!(produced(wire, &big), STORED);
    alter(wire, TOPIC, "t", &[("max.message.bytes", Some("1000"))]);
    assert_eq!(produced(wire, &big), TOO_LARGE);
    alter(
        wire,
        TOPIC,
        "t",
        &[("max.message.bytes", Some("5000")), ("message.timestamp.type", Some("LogAppendTime"))],
    );
    assert_eq!(produced(wire, &big), STAMPED);
    alter(wire, TOPIC, "t", &[("message.timestamp.type", None), ("cleanup.policy", Some("compact"))]);
    assert_eq!(produced(wire, b"keyless").0, ErrorCode::INVALID_RECORD);
    alter(wire, TOPIC, "t", &[("cleanup.policy", None)]);
    assert_eq!(produced(wire, b"keyless"), STORED);
    // A refused change changes nothing.
    let bad = [("max.message.bytes", Some("1")), ("segment.ms", Some("x"))];
    assert_eq!(try_alter(wire, TOPIC, "t", &bad), ErrorCode::INVALID_CONFIG);
    assert_eq!(produced(wire, &big), STORED);
}

#[test]
fn smaller_segments_begin_with_the_next_batch() {
    let server = Server::start("settings-segments", &["--shards", "2"]);
    let wire = &mut Wire::connect(server.address());
    wire.create_topic("t", PARTITIONS);
    let segments = || {
        let folders = (0..PARTITIONS).map(|index| server.data().join(format!("t-{index}")));
        let files = folders.map(|folder| fs::read_dir(folder).expect("a partition's folder").count());
        files.collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(produced(wire, b"small"), STORED);
    }
    let before = segments();
    alter(wire, TOPIC, "t", &[("internal.segment.bytes", Some("100"))]);
    for _ in 0..3 {
        assert_eq!(produced(wire, b"small"), STORED);
    }
    let after = segments();
    assert!(before.iter().zip(&after).all(|(before, after)| after > before), "{before:?} {after:?}");
}

#[test]
fn a_brokers_setting_is_the_default_of_every_topic() {
    let server = Server::start("settings-default", &["--shards", "2", "--set", "message.max.bytes=2000"]);
    let wire = &mut Wire::connect(server.address());
    wire.create_topic("t", PARTITIONS);
    let big = vec![b'v'; 3000];
    assert_eq!(produced(wire, &big), TOO_LARGE);
    alter(wire, BROKER, "", &[("message.max.bytes", Some("5000"))]);
    assert_eq!(produced(wire, &big), STORED);
    alter(wire, BROKER, "1", &[("message.max.bytes", Some("1000"))]);
    assert_eq!(produced(wire, &big), TOO_LARGE);
    alter(wire, TOPIC, "t", &[("max.message.bytes", Some("4000"))]);
    assert_eq!(produced(wire, &big), STORED);
    alter(wire, TOPIC, "t", &[("max.message.bytes", None)]);
    assert_eq!(produced(wire, &big), TOO_LARGE);
    alter(wire, BROKER, "1", &[("message.max.bytes", None)]);
    assert_eq!(produced(wire, &big), STORED);
    assert_eq!(value(wire, TOPIC, "t", "max.message.bytes"), "5000");
    let elsewhere = [("num.io.threads", Some("9"))];
    assert_eq!(try_alter(wire, BROKER, "", &elsewhere), ErrorCode::INVALID_REQUEST);
}

#[test]
fn what_was_answered_is_still_set_after_a_crash() {
    let mut server = Server::start("settings-crash", &["--shards", "2"]);
    let wire = &mut Wire::connect(server.address());
    wire.create_topic("t", PARTITIONS);
    let big = vec![b'v'; 3000];
    assert_eq!(produced(wire, &big), STORED);
    alter(wire, TOPIC, "t", &[("max.message.bytes", Some("1000"))]);
    alter(wire, GROUP, "g", &[("consumer.session.timeout.ms", Some("50000"))]);
    alter(wire, BROKER, "", &[("log.segment.bytes", Some("2000000"))]);
    server.kill();
    server.start_again();
    let wire = &mut Wire::connect(server.address());
    assert_eq!(produced(wire, &big), TOO_LARGE);
    assert_eq!(value(wire, GROUP, "g", "consumer.session.timeout.ms"), "50000");
    assert_eq!(value(wire, TOPIC, "t", "segment.bytes"), "2000000");
    alter(wire, TOPIC, "t", &[("max.message.bytes", None)]);
    assert_eq!(produced(wire, &big), STORED);
}

/// Compacted as soon as some of it is dirty.
fn create_compacted(wire: &mut Wire, name: &str) {
    let config = |(name, value): (&str, &str)| CreatableTopicConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let configs = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "2000"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        configs: configs.map(config).into(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let answer: CreateTopicsResponse = wire.ask(5, &request);
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
}

/// Some segments of one key's records to each partition.
fn fill(wire: &mut Wire, name: &str) {
    for index in 0..PARTITIONS {
        for _ in 0..12 {
            let mut batch = BatchBuilder::new(BatchHeader::default());
            batch.append(-1, Some(b"key"), Some(&[b'v'; 500]), &[]).expect("one record fits");
            let answer = wire.produce(name, index, &batch.build().expect("one record fits"));
            assert_eq!(answer.error_code, 0);
        }
    }
}

/// Offsets of the first records that are left.
fn first_offsets(wire: &mut Wire, name: &str) -> Vec<i64> {
    let first = |index| {
        let records = wire.fetch(name, index, 0, 1 << 20).records.unwrap_or_default();
        i64::from_be_bytes(records[..8].try_into().expect("a batch begins with its offset"))
    };
    (0..PARTITIONS).map(first).collect()
}

fn until_compacted(wire: &mut Wire, name: &str, beyond: i64) {
    let began = Instant::now();
    while !first_offsets(wire, name).iter().all(|first| *first > beyond) {
        assert!(began.elapsed() < PATIENCE, "{:?}", first_offsets(wire, name));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn compaction_that_rests_hears_of_a_shorter_rest_on_every_core_and_after_a_crash() {
    let arguments = ["--shards", "2", "--set", "log.cleaner.backoff.ms=3600000"];
    let mut server = Server::start("settings-cleaner", &arguments);
    let wire = &mut Wire::connect(server.address());
    create_compacted(wire, "c");
    fill(wire, "c");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(first_offsets(wire, "c"), [0; PARTITIONS as usize], "it rests for an hour");
    alter(wire, BROKER, "", &[("log.cleaner.backoff.ms", Some("50"))]);
    until_compacted(wire, "c", 0);
    server.kill();
    server.start_again();
    let wire = &mut Wire::connect(server.address());
    assert_eq!(value(wire, BROKER, "1", "log.cleaner.backoff.ms"), "50");
    fill(wire, "c");
    until_compacted(wire, "c", 12);
    // One broker's wins over all brokers'.
    alter(wire, BROKER, "1", &[("log.cleaner.backoff.ms", Some("3600000"))]);
    thread::sleep(Duration::from_millis(500));
    let before = first_offsets(wire, "c");
    fill(wire, "c");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(first_offsets(wire, "c"), before);
    alter(wire, BROKER, "1", &[("log.cleaner.backoff.ms", None)]);
    until_compacted(wire, "c", 24);
}

/// The partitions that a member of group `g` shall have, and its epoch.
fn beat(wire: &mut Wire, member: &str, epoch: i32) -> (i32, usize) {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        // It says all, and so it is told all.
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let answer: ConsumerGroupHeartbeatResponse = wire.ask(1, &request);
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    let topics = answer.assignment.expect("the request says all").topic_partitions;
    (answer.member_epoch, topics.iter().map(|topic| topic.partitions.len()).sum())
}

#[test]
fn group_that_waits_for_its_next_assignment_hears_that_it_need_not() {
    let arguments = ["--shards", "2", "--set", "group.consumer.assignment.interval.ms=15000"];
    let mut server = Server::start("settings-groups", &arguments);
    let wire = &mut Wire::connect(server.address());
    wire.create_topic("t", PARTITIONS);
    let request = FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() };
    let found: FindCoordinatorResponse = wire.ask(3, &request);
    assert_eq!(found.error_code, 0, "the answer comes when the topic of groups is there");
    let (first, count) = beat(wire, "first", 0);
    assert_eq!(count, 8);
    let (second, count) = beat(wire, "second", 0);
    assert_eq!(count, 0);
    assert_eq!(beat(wire, "first", first), (first, 8));
    let interval = "group.consumer.assignment.interval.ms";
    assert_eq!(try_alter(wire, BROKER, "", &[(interval, Some("15001"))]), ErrorCode::INVALID_REQUEST);
    assert_eq!(beat(wire, "first", first), (first, 8));
    alter(wire, BROKER, "", &[(interval, Some("0"))]);
    let (_, count) = beat(wire, "second", second);
    assert!(count <= 4, "what the other has is not given away");
    assert_eq!(beat(wire, "first", first).1, 4);
    // It holds for groups that say nothing themselves, and after a crash.
    assert_eq!(value(wire, GROUP, "g", "consumer.assignment.interval.ms"), "0");
    alter(wire, GROUP, "g", &[("consumer.assignment.interval.ms", Some("14000"))]);
    assert_eq!(value(wire, GROUP, "g", "consumer.assignment.interval.ms"), "14000");
    server.kill();
    server.start_again();
    let wire = &mut Wire::connect(server.address());
    assert_eq!(value(wire, GROUP, "other", "consumer.assignment.interval.ms"), "0");
}

#[test]
fn what_would_do_nothing_before_the_next_start_is_refused() {
    let server = Server::start("settings-refused", &[]);
    let wire = &mut Wire::connect(server.address());
    for (name, value) in [
        ("log.cleaner.threads", "1"),
        ("log.cleaner.io.buffer.size", "600000"),
        ("log.cleaner.enable", "true"),
        ("group.consumer.session.timeout.ms", "50000"),
        ("log.cleaner.dedupe.buffer.size", "1048576"),
        ("log.cleaner.backoff.ms", "-1"),
    ] {
        assert_eq!(try_alter(wire, BROKER, "", &[(name, Some(value))]), ErrorCode::INVALID_REQUEST, "{name}");
    }
    alter(wire, BROKER, "", &[("log.cleaner.dedupe.buffer.size", Some("1048577"))]);
    alter(wire, BROKER, "1", &[("log.cleaner.io.buffer.load.factor", Some("0.5"))]);
}
