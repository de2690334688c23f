//! Records and answers as lines of text.

use cluster::groups::consumer_protocol::parse_assignment;
use cluster::groups::{GroupRecord, Reply};
use cluster::metadata::Image;
use protocol::ids::Uuid;
use protocol::messages::consumer_group_current_member_assignment_value::TopicPartitions as Had;
use protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup as DescribedConsumerGroup, Member as DescribedMember,
};
use protocol::messages::describe_groups_response::DescribedGroup;
use protocol::messages::group_metadata_value::MemberMetadata;
use protocol::messages::*;
use protocol::primitives::{Reader, Writer};

use super::{START, error_name, fresh_id};

/// Ids that the classic protocol gives out end in a UUID of this many characters.
const UUID_CHARS: usize = 36;

/// `a-1` for an id that was given out, and the other way round.
fn short(id: &str) -> String {
    let number = |uuid: &str| u64::from_str_radix(uuid.rsplit_once('-')?.1, 16).ok();
    let cut = id.len().checked_sub(UUID_CHARS).filter(|cut| *cut > 0 && id.is_char_boundary(*cut));
    let parts = cut.map(|cut| id.split_at(cut));
    match parts.and_then(|(prefix, uuid)| Some((prefix.strip_suffix('-')?, number(uuid)?))) {
        Some((prefix, number)) => format!("{prefix}-{number}"),
        None => id.to_owned(),
    }
}

pub(super) fn whole_id(short: &str) -> String {
    match short.rsplit_once('-').and_then(|(prefix, number)| Some((prefix, number.parse::<u64>().ok()?))) {
        Some((prefix, number)) => {
            let hex: String = fresh_id(prefix, number).0.iter().map(|byte| format!("{byte:02x}")).collect();
            let cuts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            format!("{prefix}-{}", cuts.join("-"))
        }
        None => short.to_owned(),
    }
}

fn subscription(raw: &[u8]) -> String {
    let mut r = Reader::new(raw);
    let version = r.i16().ok().filter(|version| (0..=1).contains(version));
    let read = version
        .and_then(|version| Some((version, ConsumerProtocolSubscription::decode(&mut r, version).ok()?)));
    match read {
        Some((0, it)) => format!("[{}]", it.topics.join(",")),
        Some((_, it)) => {
            let owned = it.owned_partitions.iter().map(|it| (it.topic.clone(), &it.partitions[..]));
            format!("[{}|{}]", it.topics.join(","), named_parts(owned))
        }
        None => String::from_utf8_lossy(raw).into_owned(),
    }
}

fn assignment(raw: &[u8]) -> String {
    match parse_assignment(raw) {
        Ok(it) if raw.starts_with(&[0]) => {
            let parts = it.assigned_partitions.iter().map(|it| (it.topic.clone(), &it.partitions[..]));
            format!("({})", named_parts(parts))
        }
        _ => String::from_utf8_lossy(raw).into_owned(),
    }
}

fn named_parts<'a>(parts: impl Iterator<Item = (String, &'a [i32])>) -> String {
    let topic = |(topic, list): (String, &[i32])| {
        let list: Vec<String> = list.iter().map(i32::to_string).collect();
        format!("{topic}:{}", list.join(","))
    };
    parts.map(topic).collect::<Vec<_>>().join(";")
}

fn topic_name(id: Uuid, image: &Image) -> String {
    image.topics.by_id(id).map_or_else(|| id.to_string(), |topic| topic.name.to_string())
}

fn parts<'a>(parts: impl Iterator<Item = (Uuid, &'a [i32])>, image: &Image) -> String {
    let told = named_parts(parts.map(|(id, list)| (topic_name(id, image), list)));
    if told.is_empty() { "-".to_owned() } else { told }
}

fn instance(instance: Option<&str>) -> String {
    instance.map_or(String::new(), |it| format!("@{it}"))
}

fn seconds(ms: i64) -> String {
    if ms < 0 { "-".to_owned() } else { format!("{}", ms as f64 / 1_000.0) }
}

/// A point in time.
pub(super) fn at(ms: i64) -> String {
    seconds(if ms > 0 { ms - START } else { -1 })
}

fn gone_or<Value>(
    kind: &str,
    key: &[&str],
    value: Option<&Value>,
    tell: impl Fn(&Value) -> String,
) -> String {
    format!("{kind} {} {}", key.join("/"), value.map_or_else(|| "gone".to_owned(), tell))
        .trim_end()
        .to_owned()
}

pub(super) fn record(record: &GroupRecord, image: &Image) -> String {
    use GroupRecord as R;
    match record {
        GroupRecord::OffsetCommit(said) => {
            let of = format!("{} {}-{}", said.key.group, said.key.topic, said.key.partition);
            let Some(value) = &said.value else { return format!("offset {of} gone") };
            let mut line = format!("offset {of} = {} at {}", value.offset, at(value.commit_timestamp));
            if !value.metadata.is_empty() {
                line += &format!(" '{}'", value.metadata);
            }
            if value.expire_timestamp >= 0 {
                line += &format!(" until {}", at(value.expire_timestamp));
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
                at(value.current_state_timestamp),
                members.join(", ")
            )
        }
        R::ConsumerGroupMetadata(it) => gone_or("epoch", &[&it.key.group_id], it.value.as_ref(), |it| {
            format!("{} hash={}", it.epoch, if it.metadata_hash == 0 { "none" } else { "some" })
        }),
        R::ConsumerGroupPartitionMetadata(it) => {
            gone_or("partition-metadata", &[&it.key.group_id], it.value.as_ref(), |_| String::new())
        }
        R::ConsumerGroupMember(it) => gone_or(
            "member",
            &[&it.key.group_id, &short(&it.key.member_id)],
            it.value.as_ref(),
            consumer_member,
        ),
        R::TargetAssignmentEpoch(it) => gone_or("target", &[&it.key.group_id], it.value.as_ref(), |it| {
            format!("epoch={} at {}", it.assignment_epoch, at(it.assignment_timestamp))
        }),
        R::TargetAssignment(it) => {
            gone_or("target", &[&it.key.group_id, &short(&it.key.member_id)], it.value.as_ref(), |it| {
                parts(it.topic_partitions.iter().map(|it| (it.topic_id, &it.partitions[..])), image)
            })
        }
        R::CurrentAssignment(it) => {
            gone_or("has", &[&it.key.group_id, &short(&it.key.member_id)], it.value.as_ref(), |it| {
                had(it, image)
            })
        }
        R::RegularExpression(it) => {
            gone_or("pattern", &[&it.key.group_id, &it.key.regular_expression], it.value.as_ref(), |it| {
                format!("topics={} image={} at {}", it.topics.join(","), it.version, at(it.timestamp))
            })
        }
    }
}

fn consumer_member(it: &ConsumerGroupMemberMetadataValue) -> String {
    let mut text = format!(
        "{}{} topics={} timeout={}",
        it.client_id,
        it.client_host,
        it.subscribed_topic_names.join(","),
        seconds(it.rebalance_timeout_ms.into())
    );
    let named = [
        ("regex", it.subscribed_topic_regex.as_ref().filter(|it| !it.is_empty())),
        ("instance", it.instance_id.as_ref()),
        ("rack", it.rack_id.as_ref()),
        ("assignor", it.server_assignor.as_ref()),
    ];
    for (name, value) in named {
        text += &value.map_or_else(String::new, |value| format!(" {name}={value}"));
    }
    if let Some(classic) = &it.classic_member_metadata {
        let names: Vec<&str> = classic.supported_protocols.iter().map(|it| &*it.name).collect();
        text +=
            &format!(" classic={} session={}", names.join(","), seconds(classic.session_timeout_ms.into()));
    }
    text
}

fn had(it: &ConsumerGroupCurrentMemberAssignmentValue, image: &Image) -> String {
    let topic = |it: &Had| {
        let epochs = it.assignment_epochs.iter().flatten();
        let list = it.partitions.iter().zip(epochs).map(|(it, since)| format!("{it}@{since}"));
        format!("{}:{}", topic_name(it.topic_id, image), list.collect::<Vec<_>>().join(","))
    };
    let state = ["stable", "unrevoked", "unreleased"].get(it.state as usize).unwrap_or(&"unknown");
    let mut text = format!("epoch={} before={} {state}", it.member_epoch, it.previous_member_epoch);
    for (name, list) in [("", &it.assigned_partitions), (" revoking", &it.partitions_pending_revocation)] {
        if !list.is_empty() {
            let list: Vec<String> = list.iter().map(topic).collect();
            text += &format!("{name} {}", list.join(";"));
        }
    }
    text
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
        subscription(&it.subscription),
        assignment(&it.assignment)
    )
}

/// Each answer must fit the version that it was asked in.
fn check(message: &impl Message, version: i16) {
    message.encode(&mut Writer::new(), version).unwrap();
}

pub(super) fn reply(reply: &Reply, version: i16, who: &str, image: &Image) -> Vec<String> {
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
            vec![format!("synced: {protocol} = {}", assignment(&it.assignment))]
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
        Reply::ConsumerGroupHeartbeat(it) => {
            check(it, version);
            vec![stays(it, who, image)]
        }
        Reply::DescribeConsumerGroup(it) => described_consumer(it, image),
    }
}

fn stays(it: &ConsumerGroupHeartbeatResponse, who: &str, image: &Image) -> String {
    if it.error_code != 0 {
        let message = it.error_message.as_deref().unwrap_or("-");
        return format!("refused: {} {message}", error_name(it.error_code));
    }
    let id = it.member_id.as_deref().filter(|id| *id != who).map(short);
    let id = id.map_or_else(String::new, |id| format!(" as {id}"));
    let interval = match it.heartbeat_interval_ms {
        5_000 => String::new(),
        ms => format!(" every {}", seconds(ms.into())),
    };
    let has = it.assignment.as_ref().map_or_else(String::new, |it| {
        let topics = it.topic_partitions.iter().map(|it| (it.topic_id, &it.partitions[..]));
        format!(" has {}", parts(topics, image))
    });
    format!("in {}{id}{interval}{has}", it.member_epoch)
}

fn joined(it: &JoinGroupResponse, version: i16) -> String {
    if it.error_code != 0 {
        let id = if it.member_id.is_empty() { "-".to_owned() } else { short(&it.member_id) };
        return format!("not joined: {} as {id}", error_name(it.error_code));
    }
    let member = |member: &join_group_response::JoinGroupResponseMember| {
        let name = instance(member.group_instance_id.as_deref().filter(|_| version >= 5));
        format!("{}{name} {}", short(&member.member_id), subscription(&member.metadata))
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
            subscription(&member.member_metadata),
            assignment(&member.member_assignment)
        )
    }));
    lines
}

fn described_consumer(it: &DescribedConsumerGroup, image: &Image) -> Vec<String> {
    if it.error_code != 0 {
        let message = it.error_message.as_deref().unwrap_or("-");
        return vec![format!("describes {}: {} {message}", it.group_id, error_name(it.error_code))];
    }
    let has = |it: &Assignment| {
        parts(it.topic_partitions.iter().map(|it| (it.topic_id, &it.partitions[..])), image)
    };
    let mut lines = vec![format!(
        "describes {}: {} epoch={} target={} by {}",
        it.group_id, it.group_state, it.group_epoch, it.assignment_epoch, it.assignor_name
    )];
    lines.extend(it.members.iter().map(|it: &DescribedMember| {
        format!(
            "  {} {}{} {}{} in {} has {} shall have {} subscribed {:?} {:?} rack={:?}",
            if it.member_type == 1 { "consumer" } else { "classic" },
            short(&it.member_id),
            instance(it.instance_id.as_deref()),
            it.client_id,
            it.client_host,
            it.member_epoch,
            has(&it.assignment),
            has(&it.target_assignment),
            it.subscribed_topic_names,
            it.subscribed_topic_regex,
            it.rack_id,
        )
    }));
    lines
}
