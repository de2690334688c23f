//! The records of consumer groups.

use protocol::messages::consumer_group_target_assignment_member_value::TopicPartition;
use protocol::messages::*;

use super::member::Member;
use crate::groups::assignment::Assignment;
use crate::groups::record::{GroupRecord, Said};

pub(super) fn epoch(group: &str, epoch: i32, metadata_hash: i64) -> GroupRecord {
    let value = ConsumerGroupMetadataValue { epoch, metadata_hash };
    Said::now(ConsumerGroupMetadataKey { group_id: group.to_owned() }, value).into()
}

pub(super) fn no_epoch(group: &str) -> GroupRecord {
    let key = ConsumerGroupMetadataKey { group_id: group.to_owned() };
    Said::<_, ConsumerGroupMetadataValue>::gone(key).into()
}

/// Older versions kept the topics' partitions themselves.
pub(super) fn no_partition_metadata(group: &str) -> GroupRecord {
    let key = ConsumerGroupPartitionMetadataKey { group_id: group.to_owned() };
    Said::<_, ConsumerGroupPartitionMetadataValue>::gone(key).into()
}

pub(super) fn member(group: &str, member: &Member) -> GroupRecord {
    Said::now(member_key(group, &member.id), (*member.metadata).clone()).into()
}

pub(super) fn no_member(group: &str, member: &str) -> GroupRecord {
    Said::<_, ConsumerGroupMemberMetadataValue>::gone(member_key(group, member)).into()
}

fn member_key(group: &str, member: &str) -> ConsumerGroupMemberMetadataKey {
    ConsumerGroupMemberMetadataKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn target_epoch(group: &str, assignment_epoch: i32, assignment_timestamp: i64) -> GroupRecord {
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: group.to_owned() };
    let value = ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch, assignment_timestamp };
    Said::now(key, value).into()
}

pub(super) fn no_target_epoch(group: &str) -> GroupRecord {
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: group.to_owned() };
    Said::<_, ConsumerGroupTargetAssignmentMetadataValue>::gone(key).into()
}

pub(super) fn target(group: &str, member: &str, assignment: &Assignment) -> GroupRecord {
    let topics = assignment
        .iter()
        .map(|(topic_id, partitions)| TopicPartition { topic_id, partitions: partitions.to_vec() });
    let value = ConsumerGroupTargetAssignmentMemberValue { topic_partitions: topics.collect() };
    Said::now(target_key(group, member), value).into()
}

pub(super) fn no_target(group: &str, member: &str) -> GroupRecord {
    Said::<_, ConsumerGroupTargetAssignmentMemberValue>::gone(target_key(group, member)).into()
}

fn target_key(group: &str, member: &str) -> ConsumerGroupTargetAssignmentMemberKey {
    ConsumerGroupTargetAssignmentMemberKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn assigned(group: &str, member: &Member) -> GroupRecord {
    Said::now(assigned_key(group, &member.id), member.assignment_value()).into()
}

pub(super) fn nothing_assigned(group: &str, member: &str) -> GroupRecord {
    Said::<_, ConsumerGroupCurrentMemberAssignmentValue>::gone(assigned_key(group, member)).into()
}

fn assigned_key(group: &str, member: &str) -> ConsumerGroupCurrentMemberAssignmentKey {
    ConsumerGroupCurrentMemberAssignmentKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn pattern(
    group: &str,
    pattern: &str,
    topics: Vec<String>,
    version: i64,
    timestamp: i64,
) -> GroupRecord {
    let value = ConsumerGroupRegularExpressionValue { topics, version, timestamp };
    Said::now(pattern_key(group, pattern), value).into()
}

pub(super) fn no_pattern(group: &str, pattern: &str) -> GroupRecord {
    Said::<_, ConsumerGroupRegularExpressionValue>::gone(pattern_key(group, pattern)).into()
}

fn pattern_key(group: &str, pattern: &str) -> ConsumerGroupRegularExpressionKey {
    ConsumerGroupRegularExpressionKey { group_id: group.to_owned(), regular_expression: pattern.to_owned() }
}

/// A member is no more: its records, in the order that a reader of them needs.
pub(super) fn no_such_member(group: &str, member: &str) -> [GroupRecord; 3] {
    [nothing_assigned(group, member), no_target(group, member), no_member(group, member)]
}
