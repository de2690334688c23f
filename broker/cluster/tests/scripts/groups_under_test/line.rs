//! The words of a command, and the request that they make.

use std::collections::BTreeMap;

use bytes::Bytes;
use cluster::groups::FetchOffsets;
use cluster::groups::consumer_protocol::assignment_bytes;
use cluster::metadata::Image;
use protocol::ids::Uuid;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use protocol::messages::consumer_protocol_subscription::TopicPartition as Owned;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;
use protocol::primitives::Writer;

use super::shown::whole_id;

/// The words of a command: options have `=`, the first of the others is the group.
pub(super) struct Line<'a> {
    options: Vec<(&'a str, &'a str)>,
    pub(super) plain: Vec<&'a str>,
    ids: &'a BTreeMap<String, String>,
}

const OPTIONS: &[&str] = &[
    "as",
    "instance",
    "session",
    "rebalance",
    "type",
    "protocol",
    "gen",
    "v",
    "retention",
    "state",
    "topics",
    "regex",
    "rack",
    "assignor",
    "timeout",
    "owns",
];

impl<'a> Line<'a> {
    pub(super) fn new(words: &[&'a str], ids: &'a BTreeMap<String, String>) -> Self {
        let option = |word: &&'a str| word.split_once('=').filter(|(name, _)| OPTIONS.contains(name));
        let options = words.iter().filter_map(option).collect();
        let plain = words.iter().copied().filter(|word| option(word).is_none()).collect();
        Self { options, plain, ids }
    }

    pub(super) fn option(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str, default: i32) -> i32 {
        self.option(name).map_or(default, |value| value.parse().unwrap())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.option(name).map(text)
    }

    pub(super) fn group(&self) -> String {
        text(self.plain[0])
    }

    fn member(&self) -> String {
        self.option("as").map_or(String::new(), |id| self.whole_id(id))
    }

    fn whole_id(&self, short: &str) -> String {
        let known = self.ids.iter().find(|(_, known)| *known == short);
        known.map_or_else(|| whole_id(&text(short)), |(whole, _)| whole.clone())
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.plain[1..].iter().map(|word| word.split_once(':').unwrap())
    }

    pub(super) fn join(&self) -> JoinGroupRequest {
        let protocols = self.pairs().map(|(name, metadata)| JoinGroupRequestProtocol {
            name: name.to_owned(),
            metadata: subscription(metadata),
        });
        JoinGroupRequest {
            group_id: self.group(),
            session_timeout_ms: self.number("session", 10) * 1_000,
            rebalance_timeout_ms: self.number("rebalance", 60) * 1_000,
            member_id: self.member(),
            group_instance_id: self.text("instance"),
            protocol_type: self.text("type").unwrap_or("consumer".to_owned()),
            protocols: protocols.collect(),
            reason: None,
        }
    }

    pub(super) fn sync(&self) -> SyncGroupRequest {
        let assignments = self.pairs().map(|(member, assignment)| SyncGroupRequestAssignment {
            member_id: self.whole_id(member),
            assignment: assignment_of(assignment),
        });
        SyncGroupRequest {
            group_id: self.group(),
            generation_id: self.number("gen", -1),
            member_id: self.member(),
            group_instance_id: self.text("instance"),
            protocol_type: self.text("type"),
            protocol_name: self.text("protocol"),
            assignments: assignments.collect(),
        }
    }

    pub(super) fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: self.group(),
            generation_id: self.number("gen", -1),
            member_id: self.member(),
            group_instance_id: self.text("instance"),
        }
    }

    pub(super) fn leave(&self, version: i16) -> LeaveGroupRequest {
        let member = |word: &&str| {
            let (id, instance) = word.split_once('@').map_or((*word, None), |(id, it)| (id, Some(it)));
            let group_instance_id = instance.map(str::to_owned);
            MemberIdentity { member_id: self.whole_id(id), group_instance_id, reason: None }
        };
        let members: Vec<MemberIdentity> = self.plain[1..].iter().map(member).collect();
        match version {
            0..3 => {
                let member_id = members[0].member_id.clone();
                LeaveGroupRequest { group_id: self.group(), member_id, members: Vec::new() }
            }
            _ => LeaveGroupRequest { group_id: self.group(), members, ..Default::default() },
        }
    }

    pub(super) fn consumer_heartbeat(
        &self,
        who: &str,
        member_epoch: i32,
        enters: bool,
        image: &Image,
    ) -> ConsumerGroupHeartbeatRequest {
        let known = |name: &str| image.topics.by_name(name).map(|topic| topic.id);
        let topic = |(topic, partitions): (&str, Vec<i32>)| TopicPartitions {
            topic_id: known(topic).unwrap_or(Uuid::from_u64_pair(8, topic.len() as u64)),
            partitions,
        };
        let owns = self.option("owns").or(enters.then_some("-"));
        let timeout = self.option("timeout").or(enters.then_some("60"));
        ConsumerGroupHeartbeatRequest {
            group_id: self.group(),
            member_id: self.option("as").map_or(who.to_owned(), |id| self.whole_id(id)),
            member_epoch,
            instance_id: self.text("instance"),
            rack_id: self.text("rack"),
            rebalance_timeout_ms: match timeout.unwrap_or("none") {
                "none" => -1,
                seconds => seconds.parse::<i32>().unwrap() * 1_000,
            },
            subscribed_topic_names: self.option("topics").map(list),
            subscribed_topic_regex: self.text("regex"),
            server_assignor: self.text("assignor"),
            topic_partitions: owns.map(|owns| parts(owns).map(topic).collect()),
        }
    }

    pub(super) fn commit(&self) -> OffsetCommitRequest {
        OffsetCommitRequest {
            group_id: self.group(),
            generation_id_or_member_epoch: self.number("gen", -1),
            member_id: self.member(),
            group_instance_id: self.text("instance"),
            retention_time_ms: self.option("retention").map_or(-1, |it| it.parse::<i64>().unwrap() * 1_000),
            topics: offsets(&self.plain[1..]),
        }
    }

    pub(super) fn fetch(&self) -> FetchOffsets {
        let require_stable = self.plain.contains(&"stable");
        let named = self.plain[1..].iter().filter(|word| **word != "stable").map(|word| {
            let (name, partition) = partition(word);
            let (name, topic_id) = topic(name);
            OffsetFetchRequestTopics { name, topic_id, partition_indexes: vec![partition] }
        });
        let topics: Vec<OffsetFetchRequestTopics> = named.collect();
        let topics = if topics.is_empty() { None } else { Some(topics) };
        let group = OffsetFetchRequestGroup {
            group_id: self.group(),
            member_id: self.option("as").map(|id| self.whole_id(id)),
            member_epoch: self.number("gen", -1),
            topics,
        };
        FetchOffsets { group, require_stable }
    }

    pub(super) fn forget(&self) -> OffsetDeleteRequest {
        let topics = self.plain[1..].iter().map(|word| {
            let (name, partition_index) = partition(word);
            let partitions = vec![OffsetDeleteRequestPartition { partition_index }];
            OffsetDeleteRequestTopic { name: name.to_owned(), partitions }
        });
        OffsetDeleteRequest { group_id: self.group(), topics: topics.collect() }
    }
}

fn partition(word: &str) -> (&str, i32) {
    let (topic, partition) = word.rsplit_once('-').unwrap();
    (topic, partition.parse().unwrap())
}

pub(super) fn topic(word: &str) -> (String, Uuid) {
    let (name, id) = word.split_once('#').unwrap_or((word, "0"));
    (name.to_owned(), Uuid::from_u64_pair(0, id.parse().unwrap()))
}

pub(super) fn offsets(words: &[&str]) -> Vec<OffsetCommitRequestTopic> {
    let topic = |word: &&str| {
        let (at, offset) = word.split_once('=').unwrap();
        let (offset, metadata) = offset.split_once('/').map_or((offset, None), |(it, said)| (it, Some(said)));
        let (name, partition_index) = partition(at);
        let (name, topic_id) = topic(name);
        let partition = OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset.parse().unwrap(),
            committed_leader_epoch: -1,
            committed_metadata: metadata.map(str::to_owned),
        };
        OffsetCommitRequestTopic { name, topic_id, partitions: vec![partition] }
    };
    words.iter().map(topic).collect()
}

fn subscription(word: &str) -> Bytes {
    let Some(said) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) else {
        return Bytes::copy_from_slice(word.as_bytes());
    };
    let (topics, owned) = said.split_once('|').map_or((said, None), |(topics, owned)| (topics, Some(owned)));
    let version = i16::from(owned.is_some());
    let owned = parts(owned.unwrap_or_default());
    let subscription = ConsumerProtocolSubscription {
        topics: topics.split(',').filter(|topic| !topic.is_empty()).map(str::to_owned).collect(),
        owned_partitions: owned
            .map(|(topic, partitions)| Owned { topic: topic.to_owned(), partitions })
            .collect(),
        ..Default::default()
    };
    let mut w = Writer::new();
    w.i16(version);
    subscription.encode(&mut w, version).unwrap();
    w.into_bytes()
}

fn assignment_of(word: &str) -> Bytes {
    let Some(said) = word.strip_prefix('(').and_then(|word| word.strip_suffix(')')) else {
        return Bytes::copy_from_slice(word.as_bytes());
    };
    let topic = |(topic, partitions): (&str, _)| Assigned { topic: topic.to_owned(), partitions };
    let assigned_partitions = parts(said).map(topic).collect();
    assignment_bytes(&ConsumerProtocolAssignment { assigned_partitions, user_data: None }, 1)
}

/// `t:0,1;u:2`
fn parts(word: &str) -> impl Iterator<Item = (&str, Vec<i32>)> {
    let word = if word == "-" { "" } else { word };
    word.split(';').filter(|it| !it.is_empty()).map(|part| {
        let (topic, list) = part.split_once(':').unwrap();
        (topic, list.split(',').map(|it| it.parse().unwrap()).collect())
    })
}

pub(super) fn list(word: &str) -> Vec<String> {
    if word == "-" { Vec::new() } else { word.split(',').map(str::to_owned).collect() }
}

fn text(word: &str) -> String {
    if word == "-" || word == "\"\"" { String::new() } else { word.replace('_', " ") }
}
