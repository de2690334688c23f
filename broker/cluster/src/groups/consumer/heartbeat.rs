//! ConsumerGroupHeartbeat (KIP-848): a member joins, says what changed, what it has, or only that it is alive.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions as Assigned};
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ConsumerGroupMemberMetadataValue,
};

use super::member::{Member, State, epoch};
use super::patterns::Change;
use super::reconcile::{Lost, Step};
use super::watch::Wait;
use super::{ConsumerGroup, Refusal, conversion, leave, records, request};
use crate::groups::group::{Group, Kind};
use crate::groups::turn::{Name, Turn};
use crate::groups::{Asked, Client};
use crate::machine::Timestamp;

pub(in crate::groups) fn decide(
    groups: &mut BTreeMap<Name, Group>,
    asked: &Asked<ConsumerGroupHeartbeatRequest>,
    turn: &mut Turn<'_>,
) -> ConsumerGroupHeartbeatResponse {
    let before = turn.records.len();
    let request = &asked.request;
    let decided =
        request::check(request, asked.version, turn.settings).and_then(|()| match request.member_epoch {
            epoch::LEAVE | epoch::LEAVE_STATIC => leave::leave(groups, request, turn),
            epoch => beat_in_group(groups, asked, epoch == epoch::JOIN, turn),
        });
    decided.unwrap_or_else(|refusal| {
        turn.records.truncate(before);
        ConsumerGroupHeartbeatResponse {
            error_code: refusal.error.0,
            error_message: Some(refusal.text),
            ..Default::default()
        }
    })
}

fn beat_in_group(
    groups: &mut BTreeMap<Name, Group>,
    asked: &Asked<ConsumerGroupHeartbeatRequest>,
    joins: bool,
    turn: &mut Turn<'_>,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let id = &*asked.request.group_id;
    let not_found = |text: String| Err(Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, text));
    let founded = match groups.get_mut(id) {
        Some(Group { kind: Kind::Consumer(group), .. }) => return beat(group, asked, turn),
        None if !joins => return not_found(format!("Consumer group {id} not found.")),
        Some(_) if !joins => return not_found(format!("Group {id} is not a consumer group.")),
        None => ConsumerGroup::new(&id.into()),
        Some(Group { kind: Kind::Classic(group), .. }) => {
            if group.is_empty() {
                turn.record(group.gone());
                ConsumerGroup::new(&id.into())
            } else {
                conversion::upgraded(group, &id.into(), turn)?
            }
        }
    };
    beat(&founded, asked, turn)
}

fn beat(
    group: &ConsumerGroup,
    asked: &Asked<ConsumerGroupHeartbeatRequest>,
    turn: &mut Turn<'_>,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let request = &asked.request;
    group.check_room(&request.member_id, turn)?;
    let id = match &*request.member_id {
        "" => asked.fresh_id.to_string(),
        id => id.to_owned(),
    };
    let owns = request.topic_partitions.as_deref();
    let joins = request.member_epoch == epoch::JOIN;
    let old = match request.instance_id.as_deref() {
        None => group.dynamic_member(&id, joins)?,
        Some(instance) => group.static_member(&id, instance, joins, false, turn)?,
    };
    check_epoch(&old, request.member_epoch, owns)?;
    let metadata = said(request, &asked.client, &old);
    let mut member = Member { metadata, ..old.clone().into_owned() };
    let has_other_topics = group.record_metadata(&old, &member, turn);
    let pattern = group.change_pattern(&old, &member, turn)?;
    let has_subscription_changed = has_other_topics || pattern != Change::None;
    let is_new_epoch = has_other_topics || pattern == Change::Resolved;
    let group_epoch = group.next_epoch(is_new_epoch, (&old, &member), turn);
    let (target_epoch, target) = group.next_target(group_epoch, &member, turn);
    let way = Way { target_epoch, target: &target, has_subscription_changed, owns };
    member = group.reconcile(member, &way, turn)?;
    let times = turn.settings.consumer_times(&group.id, turn.image);
    let due = turn.after(times.session_timeout_ms);
    turn.watch.set((&group.id, &member.id), Wait::Session, due, turn.timers);
    let heard = turn.watch.heard(&group.id, &member.id, turn.wall);
    let shows_assignment = joins
        || is_full(request)
        || old.assigned != member.assigned
        || may_have_missed(heard, times.heartbeat_interval_ms, turn.wall);
    Ok(ConsumerGroupHeartbeatResponse {
        member_id: Some(member.id.as_ref().to_owned()),
        member_epoch: member.epoch,
        heartbeat_interval_ms: times.heartbeat_interval_ms,
        assignment: shows_assignment.then(|| assignment(&member)),
        ..Default::default()
    })
}

/// A request that says all: its sender has forgotten what it was told, or lost an answer.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    let is_subscribed = request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    request.rebalance_timeout_ms != -1 && is_subscribed && request.topic_partitions.is_some()
}

/// A client gives up an answer that is late, and not all then say everything again, as they ought to: without the
/// assignment that was in it they would keep what they shall give up, and never get what is theirs.
/// By the wall's clock: the members' stands still while answers are late.
fn may_have_missed(heard: Option<Timestamp>, heartbeat_interval_ms: i32, now: Timestamp) -> bool {
    let waits_ms = i64::from(heartbeat_interval_ms) * 3 / 2;
    heard.is_none_or(|heard| !(0..=waits_ms).contains(&now.0.saturating_sub(heard.0)))
}

fn assignment(member: &Member) -> Assignment {
    let topic = |(topic_id, partitions)| Assigned { topic_id, partitions };
    Assignment { topic_partitions: member.assigned.topics().map(topic).collect() }
}

/// What the member says of itself, with what it leaves out as it was. The same if nothing changed.
fn said(
    request: &ConsumerGroupHeartbeatRequest,
    client: &Client,
    old: &Member,
) -> Rc<ConsumerGroupMemberMetadataValue> {
    let was = &*old.metadata;
    let stays = |new: &Option<String>, old: &Option<String>| new.is_none() || new == old;
    let topics = request.subscribed_topic_names.as_ref().map(|names| {
        let mut names = names.clone();
        names.sort_unstable();
        names.dedup();
        names
    });
    let is_same = stays(&request.instance_id, &was.instance_id)
        && stays(&request.rack_id, &was.rack_id)
        && stays(&request.subscribed_topic_regex, &was.subscribed_topic_regex)
        && stays(&request.server_assignor, &was.server_assignor)
        && [-1, was.rebalance_timeout_ms].contains(&request.rebalance_timeout_ms)
        && topics.as_ref().is_none_or(|topics| *topics == was.subscribed_topic_names)
        && (&client.id, &client.host) == (&was.client_id, &was.client_host)
        && was.classic_member_metadata.is_none();
    if is_same {
        return old.metadata.clone();
    }
    let or_was = |new: &Option<String>, old: &Option<String>| new.as_ref().or(old.as_ref()).cloned();
    Rc::new(ConsumerGroupMemberMetadataValue {
        instance_id: or_was(&request.instance_id, &was.instance_id),
        rack_id: or_was(&request.rack_id, &was.rack_id),
        client_id: client.id.clone(),
        client_host: client.host.clone(),
        subscribed_topic_names: topics.unwrap_or_else(|| was.subscribed_topic_names.clone()),
        subscribed_topic_regex: or_was(&request.subscribed_topic_regex, &was.subscribed_topic_regex),
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => was.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        server_assignor: or_was(&request.server_assignor, &was.server_assignor),
        classic_member_metadata: None,
    })
}

fn check_epoch(member: &Member, received: i32, owns: Option<&[TopicPartitions]>) -> Result<(), Refusal> {
    let known = member.epoch;
    let fenced = |compared: &str| {
        let text = format!(
            "The consumer group member has a {compared} member epoch ({received}) than the one known by the group \
             coordinator ({known}). The member must abandon all its partitions and rejoin."
        );
        Err(Refusal::new(ErrorCode::FENCED_MEMBER_EPOCH, text))
    };
    // It may not have got the answer that told it of its epoch; then it has no more than it was given.
    let has_missed_one = || {
        let has_only_its_own = |owns: &[TopicPartitions]| {
            owns.iter().all(|topic| {
                let is_known = member.assigned.has_topic(topic.topic_id);
                is_known && topic.partitions.iter().all(|it| member.assigned.contains(topic.topic_id, *it))
            })
        };
        received == member.previous_epoch && owns.is_some_and(has_only_its_own)
    };
    match received {
        epoch::JOIN => Ok(()),
        received if received > known => fenced("greater"),
        received if received < known && !has_missed_one() => fenced("smaller"),
        _ => Ok(()),
    }
}

/// Where a member is to go.
pub(super) struct Way<'a> {
    pub(super) target_epoch: i32,
    pub(super) target: &'a crate::groups::assignment::Assignment,
    pub(super) has_subscription_changed: bool,
    pub(super) owns: Option<&'a [TopicPartitions]>,
}

impl ConsumerGroup {
    pub(super) fn check_room(&self, member: &str, turn: &Turn<'_>) -> Result<(), Refusal> {
        let max = turn.settings.consumer_max_size;
        let is_full = i32::try_from(self.members.len()).is_ok_and(|members| members >= max);
        if is_full && !self.members.contains_key(member) {
            let text = format!("The consumer group has reached its maximum capacity of {max} members.");
            return Err(Refusal::new(ErrorCode::GROUP_MAX_SIZE_REACHED, text));
        }
        Ok(())
    }

    pub(super) fn dynamic_member(&self, id: &str, joins: bool) -> Result<Cow<'_, Member>, Refusal> {
        match self.members.get(id) {
            Some(member) => Ok(Cow::Borrowed(member)),
            None if joins => Ok(Cow::Owned(Member::new(id.into()))),
            None => {
                let text = format!("Member {id} is not a member of group {}.", self.id);
                Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, text))
            }
        }
    }

    /// The member of an instance. Who joins takes the place of the member that left it.
    pub(super) fn static_member(
        &self,
        id: &str,
        instance: &str,
        joins: bool,
        is_classic: bool,
        turn: &mut Turn<'_>,
    ) -> Result<Cow<'_, Member>, Refusal> {
        let current = self.instance(instance);
        if !joins {
            return self.current_member(id, instance).map(Cow::Borrowed);
        }
        let Some(current) = current else {
            return self.dynamic_member(id, true);
        };
        if !is_classic && !current.is_classic() && current.epoch != epoch::LEAVE_STATIC {
            let text = format!(
                "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by \
                 {} member.",
                current.id
            );
            return Err(Refusal::new(ErrorCode::UNRELEASED_INSTANCE_ID, text));
        }
        let member =
            Member { id: id.into(), epoch: epoch::JOIN, previous_epoch: epoch::JOIN, ..current.clone() };
        turn.records.extend(records::no_such_member(&self.id, &current.id));
        turn.record(records::member(&self.id, &member));
        let target = self.target.members.get(&current.id).cloned().unwrap_or_default();
        turn.record(records::target(&self.id, &member.id, &target));
        turn.record(records::assigned(&self.id, &member));
        Ok(Cow::Owned(member))
    }

    /// The member of an instance, if that is who asks.
    pub(super) fn current_member(&self, id: &str, instance: &str) -> Result<&Member, Refusal> {
        let Some(current) = self.instance(instance) else {
            let text = format!("Instance id {instance} is unknown.");
            return Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, text));
        };
        if *current.id != *id {
            let text = format!(
                "Static member {id} with instance id {instance} was fenced by member {}.",
                current.id
            );
            return Err(Refusal::new(ErrorCode::FENCED_INSTANCE_ID, text));
        }
        Ok(current)
    }

    /// True if it names other topics than before.
    pub(super) fn record_metadata(&self, old: &Member, new: &Member, turn: &mut Turn<'_>) -> bool {
        if old.metadata != new.metadata {
            turn.record(records::member(&self.id, new));
        }
        old.topics() != new.topics()
    }

    /// Moves the member on towards its target.
    pub(super) fn reconcile(
        &self,
        member: Member,
        way: &Way<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Member, Refusal> {
        if !way.has_subscription_changed && member.is_reconciled_to(way.target_epoch) {
            return Ok(member);
        }
        let subscribed = self.subscribed_topics(&member, &turn.image.topics);
        let step = Step {
            target_epoch: way.target_epoch,
            target: way.target,
            subscribed: &subscribed,
            has_subscription_changed: way.has_subscription_changed,
            owns: way.owns,
            is_owned: &|topic, partition| self.is_owned(topic, partition),
        };
        let moved = step.of(&member).map_err(|Lost| {
            let text = "The consumer group member is in a unknown state. The member must abandon all its partitions and \
                        rejoin.";
            Refusal::new(ErrorCode::FENCED_MEMBER_EPOCH, text)
        })?;
        if moved == member {
            return Ok(member);
        }
        turn.record(records::assigned(&self.id, &moved));
        if moved.is_classic() {
            return Ok(moved);
        }
        if moved.state == State::UnrevokedPartitions {
            self.watch_revoking(&moved, turn);
        } else {
            turn.watch.stop(&self.id, &moved.id, Wait::Revoke);
        }
        Ok(moved)
    }

    pub(super) fn watch_revoking(&self, member: &Member, turn: &mut Turn<'_>) {
        let due = turn.after(member.metadata.rebalance_timeout_ms);
        turn.watch.set_revoke_epoch(&self.id, &member.id, member.epoch);
        turn.watch.set((&self.id, &member.id), Wait::Revoke, due, turn.timers);
    }
}
