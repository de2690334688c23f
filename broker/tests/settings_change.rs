//! Settings that change while the broker runs: they hold for the next request on every core, and after a crash.
#![allow(clippy::disallowed_methods, reason = "real processes, files and time")]

use std::fs;

use process::Server;
use protocol::error_code::ErrorCode;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
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
