//! A group changes its protocol while its members live: with the first member that speaks the consumer protocol it becomes a
//! consumer group, with the last one's leaving a classic group again.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use protocol::messages::consumer_protocol_assignment::TopicPartition;
use protocol::messages::group_metadata_value::MemberMetadata;
use protocol::messages::{
    ConsumerGroupMemberMetadataValue, ConsumerProtocolAssignment, GroupMetadataKey, GroupMetadataValue,
};
use protocol::primitives::DecodeError;

use super::member::{Member, Owned, State};
use super::watch::Wait;
use super::{ConsumerGroup, Refusal, records};
use crate::groups::assignment::Assignment;
use crate::groups::classic::{self, ClassicGroup};
use crate::groups::consumer_protocol::{
    PROTOCOL_TYPE, assignment_bytes, parse_assignment, parse_subscription, version_of,
};
use crate::groups::record::Said;
use crate::groups::settings::GroupSettings;
use crate::groups::timers::Timer;
use crate::groups::turn::{Name, Turn};
use crate::metadata::Topics;

/// The consumer group that a classic group becomes, as its records will make it.
pub(super) fn upgraded(
    classic: &mut ClassicGroup,
    id: &Name,
    turn: &mut Turn<'_>,
) -> Result<ConsumerGroup, Refusal> {
    let cannot = |why: &str| {
        let text = format!("Cannot upgrade classic group {id} to consumer group because {why}.");
        Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, text)
    };
    if !turn.settings.consumer_migration_policy.allows_upgrade() {
        return Err(cannot("online upgrade is disabled"));
    }
    if !classic.is_of_consumers() {
        return Err(cannot("the group does not use the consumer embedded protocol"));
    }
    let max = usize::try_from(turn.settings.consumer_max_size).unwrap_or(0);
    if classic.members().len() > max {
        return Err(cannot("the group size exceeds the consumer group maximum size"));
    }
    let members = classic.members().map(|member| member_of(classic, member, &turn.image.topics));
    let members = members.collect::<Result<Vec<_>, _>>().map_err(|obstacle| match obstacle {
        Obstacle::Malformed => cannot("the embedded consumer protocol is malformed"),
        Obstacle::CustomAssignor => cannot(
            "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor \
             before re-attempting the upgrade",
        ),
    })?;
    // Who waits for the others of its generation would wait for ever.
    classic.answer_all(ErrorCode::REBALANCE_IN_PROGRESS, turn);
    turn.record(classic.gone());
    let from = turn.records.len();
    write(id, classic.generation(), &members, turn);
    let mut group = ConsumerGroup::new(id);
    turn.records[from..].iter().for_each(|record| group.apply(record));
    for (member, _) in &members {
        let due = turn.after(member.session_timeout_ms().unwrap_or_default());
        turn.watch.set((id, &member.id), Wait::Session, due, turn.timers);
    }
    Ok(group)
}

fn write(id: &Name, generation: i32, members: &[(Member, Assignment)], turn: &mut Turn<'_>) {
    let mut topics: Vec<&str> =
        members.iter().flat_map(|(member, _)| member.topics().iter().map(String::as_str)).collect();
    topics.sort_unstable();
    topics.dedup();
    let hash = turn.watch.metadata_hash(topics.into_iter(), turn.image);
    turn.records.extend(members.iter().map(|(member, _)| records::member(id, member)));
    turn.record(records::epoch(id, generation, hash));
    turn.records.extend(members.iter().map(|(member, target)| records::target(id, &member.id, target)));
    // The first target of its own need not wait.
    turn.record(records::target_epoch(id, generation, 0));
    turn.records.extend(members.iter().map(|(member, _)| records::assigned(id, member)));
}

enum Obstacle {
    Malformed,
    /// What it told its consumers would be lost.
    CustomAssignor,
}

impl From<DecodeError> for Obstacle {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

fn member_of(
    group: &ClassicGroup,
    classic: &classic::Member,
    topics: &Topics,
) -> Result<(Member, Assignment), Obstacle> {
    let target = assignment_of(&classic.assignment, topics)?;
    // A group that has not chosen yet has nothing but what its members offer.
    let first = || classic.protocols.iter().next().map_or(Default::default(), |(_, it)| it.clone());
    let subscription =
        parse_subscription(&group.protocol().map_or_else(first, |name| classic.protocols.metadata(name)))?;
    let mut names = subscription.topics;
    names.sort_unstable();
    names.dedup();
    let protocol = |(name, metadata): &(Box<str>, _)| ClassicProtocol {
        name: name.to_string(),
        metadata: bytes::Bytes::clone(metadata),
    };
    let metadata = ConsumerGroupMemberMetadataValue {
        instance_id: classic.instance.as_deref().map(str::to_owned),
        rack_id: subscription.rack_id.filter(|rack| !rack.is_empty()),
        client_id: classic.client.id.clone(),
        client_host: classic.client.host.clone(),
        subscribed_topic_names: names,
        subscribed_topic_regex: Some(String::new()),
        rebalance_timeout_ms: classic.rebalance_timeout_ms,
        server_assignor: None,
        classic_member_metadata: Some(ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic.protocols.iter().map(protocol).collect(),
        }),
    };
    let epoch = group.generation();
    let has = target.iter().flat_map(|(topic, list)| list.iter().map(move |it| (topic, *it, epoch)));
    let member = Member {
        metadata: metadata.into(),
        epoch,
        previous_epoch: epoch,
        state: State::Stable,
        assigned: has.collect::<Owned>().into(),
        ..Member::new(classic.id.clone())
    };
    Ok((member, target))
}

fn assignment_of(bytes: &[u8], topics: &Topics) -> Result<Assignment, Obstacle> {
    if bytes.is_empty() {
        return Ok(Assignment::default());
    }
    let assignment = parse_assignment(bytes)?;
    if assignment.user_data.is_some_and(|data| !data.is_empty()) {
        return Err(Obstacle::CustomAssignor);
    }
    let known = assignment.assigned_partitions.into_iter().filter_map(|it| {
        let topic = topics.by_name(&it.topic)?;
        Some((topic.id, it.partitions))
    });
    Ok(known.collect())
}

/// As members of the classic protocol read it; topics that are gone are left out.
pub(super) fn embedded<'a>(
    parts: impl Iterator<Item = (protocol::ids::Uuid, Vec<i32>)> + 'a,
    version: i16,
    topics: &Topics,
) -> bytes::Bytes {
    let named = parts.filter_map(|(topic, partitions)| {
        Some(TopicPartition { topic: topics.by_id(topic)?.name.to_string(), partitions })
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None };
    assignment_bytes(&assignment, version)
}

impl ConsumerGroup {
    pub(super) fn can_downgrade_without(&self, gone: &[&Member], settings: &GroupSettings) -> bool {
        let left = self.members.len() - gone.len();
        let classic = self.classic_members - gone.iter().filter(|member| member.is_classic()).count();
        left > 0 && classic == left && allows_downgrade(left, settings)
    }

    /// A static member of the classic protocol takes the place of the last that spoke the consumer protocol.
    pub(super) fn can_downgrade_replacing(&self, replaced: &Member, settings: &GroupSettings) -> bool {
        let is_last = !replaced.is_classic() && self.classic_members == self.members.len() - 1;
        is_last && allows_downgrade(self.members.len(), settings)
    }

    /// Writes the group as a classic group with who is left, and with `joining` in the place of its instance's member.
    pub(super) fn downgrade(
        &self,
        gone: &[&Member],
        joining: Option<&Member>,
        rebalance: bool,
        turn: &mut Turn<'_>,
    ) {
        let replaced = joining.and_then(|it| self.instances.get(it.instance()?));
        // The one that was replaced has ended already.
        let now = |id| if Some(id) == replaced { joining.map_or(id, |joining| &joining.id) } else { id };
        let ending: Vec<&Name> = self.members.keys().map(now).collect();
        self.gone_with(&ending, &mut turn.records);
        let stays =
            |member: &&Member| Some(&member.id) != replaced && !gone.iter().any(|gone| gone.id == member.id);
        let members: Vec<&Member> = self.members.values().filter(stays).chain(joining).collect();
        let key = GroupMetadataKey { group: self.id.as_ref().to_owned() };
        let value = self.classic_value(&members, turn);
        turn.record(Said::now(key, value));
        turn.watch.forget_group(&self.id);
        turn.timers.push(turn.now, Timer::Downgraded { group: self.id.clone(), rebalance });
    }

    fn classic_value(&self, members: &[&Member], turn: &Turn<'_>) -> GroupMetadataValue {
        let protocol = common_protocol(members);
        let member = |member: &&Member| {
            let offered = member.protocols().iter().find(|it| it.name == protocol);
            let subscription = offered.map_or_else(Default::default, |it| it.metadata.clone());
            let target = self.target_of(member).into_iter().flat_map(|it| it.iter());
            let target = target.map(|(topic, list)| (topic, list.to_vec()));
            let version = version_of(&subscription).unwrap_or_default();
            MemberMetadata {
                member_id: member.id.as_ref().to_owned(),
                group_instance_id: member.metadata.instance_id.clone(),
                client_id: member.metadata.client_id.clone(),
                client_host: member.metadata.client_host.clone(),
                rebalance_timeout: member.metadata.rebalance_timeout_ms,
                session_timeout: member.session_timeout_ms().unwrap_or_default(),
                assignment: embedded(target, version, &turn.image.topics),
                subscription,
            }
        };
        GroupMetadataValue {
            protocol_type: PROTOCOL_TYPE.to_owned(),
            generation: self.epoch,
            leader: members.first().map(|member| member.id.as_ref().to_owned()),
            current_state_timestamp: turn.wall.0,
            members: members.iter().map(member).collect(),
            protocol: Some(protocol),
        }
    }
}

fn allows_downgrade(members: usize, settings: &GroupSettings) -> bool {
    let has_room = i32::try_from(members).is_ok_and(|members| members <= settings.max_size);
    settings.consumer_migration_policy.allows_downgrade() && has_room
}

/// What all can do and most like best.
fn common_protocol(members: &[&Member]) -> String {
    let can = |member: &&Member, name: &str| member.protocols().iter().any(|it| it.name == name);
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members {
        let names = member.protocols().iter().map(|it| &*it.name);
        let best = names.into_iter().find(|name| members.iter().all(|member| can(member, name)));
        *votes.entry(best.unwrap_or_default()).or_default() += 1;
    }
    let chosen = votes.into_iter().max_by_key(|(_, votes)| *votes);
    chosen.map(|(name, _)| name.to_owned()).unwrap_or_default()
}
