//! Groups as their coordinators tell of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::*;
use protocol::primitives::Reader;

use super::{Client, ClientError, To};

/// One group among others.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// `classic`, `consumer` ...; empty where the broker is too old to tell.
    pub(crate) kind: String,
    pub(crate) protocol_type: String,
    pub(crate) state: String,
    pub(crate) coordinator: i32,
}

/// A group with its members.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) kind: &'static str,
    pub(crate) state: String,
    /// The protocol that its members agreed on, or its assignor.
    pub(crate) assignor: String,
    pub(crate) coordinator: i32,
    pub(crate) members: Vec<Member>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    /// None: not what consumers are assigned.
    pub(crate) partitions: Option<Places>,
}

/// Partitions by topic.
pub(crate) type Places = BTreeMap<String, Vec<i32>>;

/// What a group has committed, by topic and partition.
pub(crate) type Committed = BTreeMap<String, BTreeMap<i32, i64>>;

/// The newest versions that name one group, and topics by their names.
const FIND_ONE_MAX: i16 = 3;
const FETCH_ONE_MAX: i16 = 7;
const COMMIT_BY_NAME_MAX: i16 = 9;

/// Who commits from outside: no member, so the group must be empty.
const NO_GENERATION: i32 = -1;

impl Client {
    /// The node that a group lives on.
    pub(crate) fn coordinator(&mut self, group: &str) -> Result<i32, ClientError> {
        let request = FindCoordinatorRequest { key: group.to_owned(), ..Default::default() };
        let found: FindCoordinatorResponse = self.ask(To::Any, &request, FIND_ONE_MAX)?;
        let what = || format!("coordinator of group {group}");
        ClientError::check(found.error_code, found.error_message.as_deref(), what)?;
        self.brokers.insert(found.node_id, super::address_of(&found.host, found.port));
        Ok(found.node_id)
    }

    /// All groups of all brokers, by name.
    pub(crate) fn groups(&mut self) -> Result<Vec<Listed>, ClientError> {
        // For the brokers.
        self.topics()?;
        let nodes: Vec<i32> = self.brokers.keys().copied().collect();
        let mut groups = Vec::new();
        for node in nodes {
            let answer: ListGroupsResponse =
                self.ask(To::Node(node), &ListGroupsRequest::default(), i16::MAX)?;
            ClientError::check(answer.error_code, None, || format!("groups of node {node}"))?;
            groups.extend(answer.groups.into_iter().map(|group| Listed {
                name: group.group_id,
                kind: group.group_type.to_lowercase(),
                protocol_type: group.protocol_type,
                state: group.group_state,
                coordinator: node,
            }));
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    /// A group of either protocol; None if there is none of that name.
    pub(crate) fn group(&mut self, name: &str) -> Result<Option<Group>, ClientError> {
        let coordinator = self.coordinator(name)?;
        match self.consumer_group(name, coordinator) {
            Ok(Some(group)) => Ok(Some(group)),
            Ok(None) | Err(ClientError::Unserved { .. }) => self.classic_group(name, coordinator),
            Err(error) => Err(error),
        }
    }

    fn consumer_group(&mut self, name: &str, coordinator: i32) -> Result<Option<Group>, ClientError> {
        let request = ConsumerGroupDescribeRequest { group_ids: vec![name.to_owned()], ..Default::default() };
        let answer: ConsumerGroupDescribeResponse = self.ask(To::Node(coordinator), &request, i16::MAX)?;
        let Some(group) = answer.groups.into_iter().next() else { return Ok(None) };
        if ErrorCode(group.error_code) == ErrorCode::GROUP_ID_NOT_FOUND {
            return Ok(None);
        }
        let what = || format!("group {name}");
        ClientError::check(group.error_code, group.error_message.as_deref(), what)?;
        let member = |member: consumer_group_describe_response::Member| Member {
            id: member.member_id,
            instance: member.instance_id,
            client_id: member.client_id,
            host: member.client_host,
            partitions: Some(
                member
                    .assignment
                    .topic_partitions
                    .into_iter()
                    .map(|it| (it.topic_name, it.partitions))
                    .collect(),
            ),
        };
        Ok(Some(Group {
            kind: "consumer",
            state: group.group_state,
            assignor: group.assignor_name,
            coordinator,
            members: group.members.into_iter().map(member).collect(),
        }))
    }

    fn classic_group(&mut self, name: &str, coordinator: i32) -> Result<Option<Group>, ClientError> {
        let request = DescribeGroupsRequest { groups: vec![name.to_owned()], ..Default::default() };
        let answer: DescribeGroupsResponse = self.ask(To::Node(coordinator), &request, i16::MAX)?;
        let Some(group) = answer.groups.into_iter().next() else { return Ok(None) };
        // Before version 6 a group that is not there is described as dead.
        if ErrorCode(group.error_code) == ErrorCode::GROUP_ID_NOT_FOUND || group.group_state == "Dead" {
            return Ok(None);
        }
        let what = || format!("group {name}");
        ClientError::check(group.error_code, group.error_message.as_deref(), what)?;
        let is_of_consumers = group.protocol_type == "consumer";
        let member = |member: describe_groups_response::DescribedGroupMember| Member {
            id: member.member_id,
            instance: member.group_instance_id,
            client_id: member.client_id,
            host: member.client_host,
            partitions: if is_of_consumers { assigned(&member.member_assignment) } else { None },
        };
        Ok(Some(Group {
            kind: "classic",
            state: group.group_state,
            assignor: group.protocol_data,
            coordinator,
            members: group.members.into_iter().map(member).collect(),
        }))
    }

    /// All that a group has committed.
    pub(crate) fn committed(&mut self, group: &str) -> Result<Committed, ClientError> {
        let coordinator = self.coordinator(group)?;
        let request = OffsetFetchRequest { group_id: group.to_owned(), topics: None, ..Default::default() };
        let answer: OffsetFetchResponse = self.ask(To::Node(coordinator), &request, FETCH_ONE_MAX)?;
        let what = || format!("offsets of group {group}");
        ClientError::check(answer.error_code, None, what)?;
        let mut committed = Committed::new();
        for topic in answer.topics {
            let of_topic: &mut BTreeMap<i32, i64> = committed.entry(topic.name).or_default();
            for partition in topic.partitions {
                ClientError::check(partition.error_code, None, what)?;
                of_topic.insert(partition.partition_index, partition.committed_offset);
            }
        }
        Ok(committed)
    }

    /// Commits from outside, for a group that nobody is in.
    pub(crate) fn commit(&mut self, group: &str, offsets: &Committed) -> Result<(), ClientError> {
        let coordinator = self.coordinator(group)?;
        let partition = |(index, offset): (&i32, &i64)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_metadata: Some(String::new()),
            ..Default::default()
        };
        let topics = offsets.iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name: name.clone(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        });
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: NO_GENERATION,
            topics: topics.collect(),
            ..Default::default()
        };
        let answer: OffsetCommitResponse = self.ask(To::Node(coordinator), &request, COMMIT_BY_NAME_MAX)?;
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let what =
                    || format!("offset of group {group} for {} [{}]", topic.name, partition.partition_index);
                ClientError::check(partition.error_code, None, what)?;
            }
        }
        Ok(())
    }

    /// Deletes a group that nobody is in, with its offsets.
    pub(crate) fn delete_group(&mut self, group: &str) -> Result<(), ClientError> {
        let coordinator = self.coordinator(group)?;
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        let answer: DeleteGroupsResponse = self.ask(To::Node(coordinator), &request, i16::MAX)?;
        let what = || format!("cannot delete group {group}");
        answer.results.iter().try_for_each(|result| ClientError::check(result.error_code, None, what))
    }
}

/// What a leader has assigned to a member, if it is what leaders of consumers write.
fn assigned(assignment: &Bytes) -> Option<Places> {
    if assignment.is_empty() {
        return Some(Places::new());
    }
    let mut r = Reader::new(assignment);
    let version = r.i16().ok()?;
    let newest = *ConsumerProtocolAssignment::VERSIONS.end();
    let assignment = ConsumerProtocolAssignment::decode(&mut r, version.clamp(0, newest)).ok()?;
    Some(assignment.assigned_partitions.into_iter().map(|topic| (topic.topic, topic.partitions)).collect())
}
