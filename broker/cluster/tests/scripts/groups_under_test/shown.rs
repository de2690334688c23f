//! Records and answers as lines of text.

use cluster::groups::{GroupRecord, Reply};
use protocol::messages::describe_groups_response::DescribedGroup;
use protocol::messages::group_metadata_value::MemberMetadata;
use protocol::messages::*;
use protocol::primitives::{Reader, Writer};

use super::error_name;

/// `a-1` for an id that was given out, and the other way round.
const UUID_OF_ZEROS: &str = "-00000000-0000-0000-0000-";

fn short(id: &str) -> String {
    match id.split_once(UUID_OF_ZEROS) {
        Some((prefix, number)) => format!("{prefix}-{}", u64::from_str_radix(number, 16).unwrap()),
        None => id.to_owned(),
    }
}

pub(super) fn whole_id(short: &str) -> String {
    match short.rsplit_once('-').and_then(|(prefix, number)| Some((prefix, number.parse::<u64>().ok()?))) {
        Some((prefix, number)) => format!("{prefix}{UUID_OF_ZEROS}{number:012x}"),
        None => short.to_owned(),
    }
}

fn bytes(raw: &[u8]) -> String {
    let mut r = Reader::new(raw);
    match r.i16().and_then(|_| ConsumerProtocolSubscription::decode(&mut r, 0)) {
        Ok(subscription) if raw.starts_with(&[0, 0]) => format!("[{}]", subscription.topics.join(",")),
        _ => String::from_utf8_lossy(raw).into_owned(),
    }
}

fn instance(instance: Option<&str>) -> String {
    instance.map_or(String::new(), |it| format!("@{it}"))
}

fn seconds(ms: i64) -> String {
    if ms < 0 { "-".to_owned() } else { format!("{}", ms as f64 / 1_000.0) }
}

pub(super) fn record(record: &GroupRecord) -> String {
    match record {
        GroupRecord::OffsetCommit(said) => {
            let at = format!("{} {}-{}", said.key.group, said.key.topic, said.key.partition);
            let Some(value) = &said.value else { return format!("offset {at} gone") };
            let mut line = format!("offset {at} = {} at {}", value.offset, seconds(value.commit_timestamp));
            if !value.metadata.is_empty() {
                line += &format!(" '{}'", value.metadata);
            }
            if value.expire_timestamp >= 0 {
                line += &format!(" until {}", seconds(value.expire_timestamp));
            }
            if !value.topic_id.is_zero() {
                line += &format!(" id {}", value.topic_id.0[15]);
            }
            line
        }
        GroupRecord::GroupMetadata(said) => {
            let Some(value) = &said.value else { return format!("group {} gone", said.key.group) };
            let members: Vec<String> = value.members.iter().map(member).collect();
            format!(
                "group {} gen={} type={} protocol={} leader={} since={} [{}]",
                said.key.group,
                value.generation,
                value.protocol_type,
                value.protocol.as_deref().unwrap_or("-"),
                value.leader.as_deref().map_or("-".to_owned(), short),
                seconds(value.current_state_timestamp),
                members.join(", ")
            )
        }
        other => format!("{other:?}"),
    }
}

fn member(it: &MemberMetadata) -> String {
    format!(
        "{}{} {}{} {}/{} {} = {}",
        short(&it.member_id),
        instance(it.group_instance_id.as_deref()),
        it.client_id,
        it.client_host,
        seconds(it.session_timeout.into()),
        seconds(it.rebalance_timeout.into()),
        bytes(&it.subscription),
        bytes(&it.assignment)
    )
}

/// Each answer must fit the version that it was asked in.
fn check(message: &impl Message, version: i16) {
    message.encode(&mut Writer::new(), version).unwrap();
}

pub(super) fn reply(reply: &Reply, version: i16) -> Vec<String> {
    match reply {
        Reply::JoinGroup(it) => {
            check(it, version);
            vec![joined(it, version)]
        }
        Reply::SyncGroup(it) => {
            check(it, version);
            if it.error_code != 0 {
                return vec![format!("not synced: {}", error_name(it.error_code))];
            }
            let name = |it: &Option<String>| it.clone().filter(|_| version >= 5).unwrap_or("-".to_owned());
            let protocol = format!("{} {}", name(&it.protocol_type), name(&it.protocol_name));
            vec![format!("synced: {protocol} = {}", bytes(&it.assignment))]
        }
        Reply::Heartbeat(it) => {
            check(it, version);
            vec![format!("heard: {}", error_name(it.error_code))]
        }
        Reply::LeaveGroup(it) => {
            check(it, version);
            let members = it.members.iter().map(|member| {
                let name = instance(member.group_instance_id.as_deref());
                format!("{}{name} {}", short(&member.member_id), error_name(member.error_code))
            });
            let members: Vec<String> = members.collect();
            vec![format!("left: {} [{}]", error_name(it.error_code), members.join(", "))]
        }
        Reply::OffsetCommit(it) => {
            check(it, version);
            let partitions = it.topics.iter().flat_map(|topic| {
                let partition = |p: &offset_commit_response::OffsetCommitResponsePartition| {
                    format!("{}-{} {}", topic.name, p.partition_index, error_name(p.error_code))
                };
                topic.partitions.iter().map(partition).collect::<Vec<_>>()
            });
            vec![format!("committed: {}", partitions.collect::<Vec<_>>().join(", "))]
        }
        Reply::OffsetFetch(it) => vec![fetched(it)],
        Reply::OffsetDelete(it) => {
            check(it, version);
            let partitions = it.topics.iter().flat_map(|topic| {
                let partition = |p: &offset_delete_response::OffsetDeleteResponsePartition| {
                    format!(", {}-{} {}", topic.name, p.partition_index, error_name(p.error_code))
                };
                topic.partitions.iter().map(partition).collect::<Vec<_>>()
            });
            vec![format!("forgot: {}{}", error_name(it.error_code), partitions.collect::<String>())]
        }
        Reply::ListGroups(groups) => {
            let group = |it: &list_groups_response::ListedGroup| {
                format!("lists {} {} {} {}", it.group_id, it.group_type, it.protocol_type, it.group_state)
            };
            groups.iter().map(group).collect()
        }
        Reply::DescribeGroup(it) => described(it),
        Reply::DeleteGroup(error) => vec![format!("deleted: {}", error.name())],
        other => vec![format!("{other:?}")],
    }
}

fn joined(it: &JoinGroupResponse, version: i16) -> String {
    if it.error_code != 0 {
        let id = if it.member_id.is_empty() { "-".to_owned() } else { short(&it.member_id) };
        return format!("not joined: {} as {id}", error_name(it.error_code));
    }
    let member = |member: &join_group_response::JoinGroupResponseMember| {
        let name = instance(member.group_instance_id.as_deref().filter(|_| version >= 5));
        format!("{}{name} {}", short(&member.member_id), bytes(&member.metadata))
    };
    format!(
        "joined as {} gen={} {} {} leader={}{} [{}]",
        short(&it.member_id),
        it.generation_id,
        it.protocol_type.as_deref().filter(|_| version >= 7).unwrap_or("-"),
        it.protocol_name.as_deref().unwrap_or("-"),
        short(&it.leader),
        if it.skip_assignment { " skip" } else { "" },
        it.members.iter().map(member).collect::<Vec<_>>().join(", ")
    )
}

fn fetched(it: &offset_fetch_response::OffsetFetchResponseGroup) -> String {
    let partitions = it.topics.iter().flat_map(|topic| {
        let partition = |p: &offset_fetch_response::OffsetFetchResponsePartitions| {
            let error =
                if p.error_code == 0 { String::new() } else { format!(" {}", error_name(p.error_code)) };
            let said = p.metadata.as_deref().filter(|it| !it.is_empty());
            let said = said.map_or(String::new(), |said| format!(" '{said}'"));
            format!("{}-{} = {}{said}{error}", topic.name, p.partition_index, p.committed_offset)
        };
        topic.partitions.iter().map(partition).collect::<Vec<_>>()
    });
    let partitions: Vec<String> = partitions.collect();
    format!("fetched: {} [{}]", error_name(it.error_code), partitions.join(", "))
}

fn described(it: &DescribedGroup) -> Vec<String> {
    let mut lines = vec![format!(
        "describes {}: {} {} type={} protocol={} {}",
        it.group_id,
        error_name(it.error_code),
        it.group_state,
        it.protocol_type,
        it.protocol_data,
        it.error_message.as_deref().unwrap_or("-")
    )];
    lines.extend(it.members.iter().map(|member| {
        format!(
            "  {}{} {}{} {} = {}",
            short(&member.member_id),
            instance(member.group_instance_id.as_deref()),
            member.client_id,
            member.client_host,
            bytes(&member.member_metadata),
            bytes(&member.member_assignment)
        )
    }));
    lines
}
