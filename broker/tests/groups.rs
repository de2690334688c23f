//! Groups in the real process: what is left of them when their topics go, how many one request may name, and the one without a name.
#![allow(clippy::disallowed_methods, reason = "a test of processes needs processes, files, ports and time")]

#[path = "start/started.rs"]
mod started;
#[path = "server/wire.rs"]
mod wire;

use std::thread;
use std::time::{Duration, Instant};

use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::*;
use started::{Folder, Started};
use wire::{Heard, Wire};

const SETTINGS: &str = "listeners = 'PLAINTEXT://127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\n";
const PATIENCE: Duration = Duration::from_secs(20);

fn start(folder: &Folder) -> (Started, Wire) {
    let broker = Started::on(folder, SETTINGS);
    let mut wire = Wire::connect(broker.listening()[0]);
    let request = FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() };
    let found: FindCoordinatorResponse = wire.ask(3, &request);
    assert_eq!(found.error_code, 0, "the answer comes when the topic of groups is there");
    (broker, wire)
}

/// Over all cores.
fn sum(broker: &Started, series: &str) -> u64 {
    let (_, body) = broker.metrics();
    let lines = body.lines().filter(|line| line.starts_with(&format!("{series}{{")));
    lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<u64>().expect("a count")).sum()
}

fn commit(wire: &mut Wire, topic: &str) {
    let partition = OffsetCommitRequestPartition { committed_offset: 5, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let answer: OffsetCommitResponse = wire.ask(8, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

#[test]
fn a_topic_that_goes_takes_its_offsets_along_and_leaves_nobody_waiting() {
    let folder = Folder::new("groups-topic-gone");
    let (broker, mut wire) = start(&folder);
    wire.create_topic("t", 1);
    commit(&mut wire, "t");
    assert_eq!(sum(&broker, "millstream_group_offsets"), 1);
    let gone = DeleteTopicState { name: Some("t".to_owned()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![gone], timeout_ms: 10_000, ..Default::default() };
    let answer: DeleteTopicsResponse = wire.ask(6, &request);
    assert_eq!(answer.responses[0].error_code, 0);
    let began = Instant::now();
    while sum(&broker, "millstream_group_offsets") > 0 {
        assert!(began.elapsed() < PATIENCE, "the offset is kept");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(sum(&broker, "millstream_group_requests_parked"), 0);
}

#[test]
fn a_group_with_more_offsets_than_go_at_once_is_deleted_whole_and_for_good() {
    const PARTITIONS: i32 = 9_000;
    let folder = Folder::new("groups-large");
    let (broker, mut wire) = start(&folder);
    for name in ["t", "u", "v"] {
        wire.create_topic(name, PARTITIONS);
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: 5,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: "g".to_owned(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let answer: OffsetCommitResponse = wire.ask(8, &request);
        assert!(answer.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
    }
    assert_eq!(sum(&broker, "millstream_group_offsets"), 27_000);
    let request = DeleteGroupsRequest { groups_names: vec!["g".to_owned()] };
    let answer: DeleteGroupsResponse = wire.ask(2, &request);
    assert_eq!(answer.results[0].error_code, 0);
    let nothing_is_left = |broker: &Started| {
        assert_eq!(sum(broker, "millstream_group_offsets"), 0);
        assert_eq!(sum(broker, "millstream_groups"), 0);
    };
    nothing_is_left(&broker);
    // Killed.
    drop(broker);
    let (broker, mut wire) = start(&folder);
    let answer: DeleteGroupsResponse = wire.ask(2, &request);
    assert_eq!(answer.results[0].error_code, 69, "there is no such group");
    nothing_is_left(&broker);
}

#[test]
fn a_request_names_no_more_groups_than_can_be_asked() {
    let folder = Folder::new("groups-many-names");
    let (broker, mut wire) = start(&folder);
    let named =
        |count| DescribeGroupsRequest { groups: vec!["a group".to_owned(); count], ..Default::default() };
    let answer: DescribeGroupsResponse = wire.ask(5, &named(25_000));
    assert_eq!(answer.groups.len(), 25_000);
    let refused = wire.try_ask::<_, DescribeGroupsResponse>(5, &named(25_001));
    assert!(matches!(refused, Err(Heard::Closed)));
    let mut again = Wire::connect(broker.listening()[0]);
    let answer: DescribeGroupsResponse = again.ask(5, &named(1));
    assert_eq!(answer.groups.len(), 1);
}

#[test]
fn a_consumer_group_has_a_name() {
    let folder = Folder::new("groups-no-name");
    let (_broker, mut wire) = start(&folder);
    let entering = ConsumerGroupHeartbeatRequest { member_id: "m".to_owned(), ..Default::default() };
    let answer: ConsumerGroupHeartbeatResponse = wire.ask(1, &entering);
    assert_eq!((answer.error_code, answer.error_message.as_deref()), (42, Some("GroupId can't be empty.")));
    let request = ConsumerGroupDescribeRequest { group_ids: vec![String::new()], ..Default::default() };
    let answer: ConsumerGroupDescribeResponse = wire.ask(1, &request);
    assert_eq!((answer.groups[0].error_code, &answer.groups[0].error_message), (24, &None));
}
