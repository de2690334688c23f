//! Members of the classic protocol in a consumer group: their generation is the member's epoch, and whenever there is
//! something to give up or to get they are told that a rebalance is under way, to which they answer by joining again.

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::{
    ConsumerGroupMemberMetadataValue, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::conversion::embedded;
use super::heartbeat::Way;
use super::member::{Member, State};
use super::patterns::Change;
use super::watch::Wait;
use super::{ConsumerGroup, Refusal};
use crate::groups::Asked;
use crate::groups::classic::join::rebalance_timeout_ms;
use crate::groups::consumer_protocol::{PROTOCOL_TYPE, parse_subscription, version_of};
use crate::groups::settings::MigrationPolicy;
use crate::groups::turn::Turn;
use crate::metadata::Topics;

impl ConsumerGroup {
    pub(in crate::groups) fn join(
        &self,
        asked: &Asked<JoinGroupRequest>,
        turn: &mut Turn<'_>,
    ) -> JoinGroupResponse {
        let before = turn.records.len();
        self.joined(asked, turn).unwrap_or_else(|refusal| {
            turn.records.truncate(before);
            JoinGroupResponse { error_code: refusal.error.0, ..Default::default() }
        })
    }

    fn joined(
        &self,
        asked: &Asked<JoinGroupRequest>,
        turn: &mut Turn<'_>,
    ) -> Result<JoinGroupResponse, Refusal> {
        let request = &asked.request;
        if turn.settings.consumer_migration_policy == MigrationPolicy::Disabled {
            return Err(Refusal::new(
                ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
                "the group migration is disabled",
            ));
        }
        let is_unknown = request.member_id.is_empty();
        let id = if is_unknown { asked.fresh_id.to_string() } else { request.member_id.clone() };
        self.check_room(&id, turn)?;
        self.check_protocols(request)?;
        let instance = request.group_instance_id.as_deref();
        if is_unknown && instance.is_none() && asked.version >= FIRST_VERSION_WITH_KNOWN_IDS {
            let error_code = ErrorCode::MEMBER_ID_REQUIRED.0;
            return Ok(JoinGroupResponse { error_code, member_id: id, ..Default::default() });
        }
        let subscription = subscription(request)?;
        let old = match instance {
            None => self.dynamic_member(&id, true)?,
            Some(instance) => self.static_member(&id, instance, is_unknown, true, turn)?,
        };
        let replaced = instance.and_then(|instance| self.instance(instance));
        let downgrades = replaced.is_some_and(|it| self.can_downgrade_replacing(it, turn.settings));
        let metadata = said(asked, &subscription, &old);
        let mut member = Member { metadata: metadata.into(), ..old.clone().into_owned() };
        let has_other_topics = self.record_metadata(&old, &member, turn);
        let is_new = has_other_topics | (self.change_pattern(&old, &member, turn)? != Change::None);
        let epoch = self.next_epoch(is_new, (&old, &member), turn);
        let owns = owned(&subscription, &turn.image.topics);
        let way = |target_epoch, target| Way {
            target_epoch,
            target,
            has_subscription_changed: is_new,
            owns: Some(&owns),
        };
        if downgrades {
            let rebalance = self.target.epoch < epoch;
            if !rebalance {
                let nothing = Default::default();
                let target = self.target_of(&member).unwrap_or(&nothing);
                member = self.reconcile(member, &way(self.target.epoch, target), turn)?;
            }
            self.downgrade(&[], Some(&member), rebalance, turn);
        } else {
            let (target_epoch, target) = self.next_target(epoch, &member, turn);
            member = self.reconcile(member, &way(target_epoch, &target), turn)?;
            self.watch_joined(&member, request.session_timeout_ms, turn);
        }
        Ok(JoinGroupResponse {
            generation_id: member.epoch,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(first_protocol(&member).to_owned()),
            member_id: member.id.as_ref().to_owned(),
            ..Default::default()
        })
    }

    fn watch_joined(&self, member: &Member, session_timeout_ms: i32, turn: &mut Turn<'_>) {
        turn.watch.stop(&self.id, &member.id, Wait::Join);
        let waits = [(Wait::Session, session_timeout_ms), (Wait::Sync, member.metadata.rebalance_timeout_ms)];
        for (wait, timeout_ms) in waits {
            let due = turn.after(timeout_ms);
            turn.watch.set((&self.id, &member.id), wait, due, turn.timers);
        }
    }

    /// It must be able to do something that all the others of its kind can.
    fn check_protocols(&self, request: &JoinGroupRequest) -> Result<(), Refusal> {
        let mut others = self.members.values().filter(|member| member.is_classic());
        let is_common =
            |name: &str| others.clone().all(|other| other.protocols().iter().any(|it| it.name == name));
        let fits = request.protocols.iter().any(|protocol| is_common(&protocol.name));
        let is_empty = others.next().is_none() && request.protocols.is_empty();
        if request.protocol_type == PROTOCOL_TYPE && fits && !is_empty {
            return Ok(());
        }
        let text = format!("Member {}'s protocols are not supported.", request.member_id);
        Err(Refusal::new(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, text))
    }

    pub(in crate::groups) fn sync(
        &self,
        request: &SyncGroupRequest,
        turn: &mut Turn<'_>,
    ) -> SyncGroupResponse {
        self.synced(request, turn)
            .unwrap_or_else(|error| SyncGroupResponse { error_code: error.0, ..Default::default() })
    }

    fn synced(
        &self,
        request: &SyncGroupRequest,
        turn: &mut Turn<'_>,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let member = self.classic_member(&request.member_id, request.group_instance_id.as_deref())?;
        if member.epoch != request.generation_id {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let is_other =
            |asked: &Option<String>, known: &str| asked.as_deref().is_some_and(|asked| asked != known);
        if is_other(&request.protocol_type, PROTOCOL_TYPE)
            || is_other(&request.protocol_name, first_protocol(member))
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.target.epoch > member.epoch && member.state != State::UnrevokedPartitions {
            self.expect_join(member, turn);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        turn.watch.stop(&self.id, &member.id, Wait::Sync);
        self.heard_of(member, turn);
        let version = member.protocols().first().and_then(|it| version_of(&it.metadata).ok());
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment: embedded(member.assigned.topics(), version.unwrap_or_default(), &turn.image.topics),
            ..Default::default()
        })
    }

    pub(in crate::groups) fn heartbeat(
        &self,
        request: &HeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let member = self.classic_member(&request.member_id, request.group_instance_id.as_deref())?;
        if member.epoch != request.generation_id {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        self.heard_of(member, turn);
        if self.must_rejoin(member) {
            self.expect_join(member, turn);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    fn must_rejoin(&self, member: &Member) -> bool {
        member.epoch < self.target.epoch
            || match member.state {
                State::UnrevokedPartitions => true,
                State::UnreleasedPartitions => !self.waits_for_others(member),
                State::Stable | State::Unknown => false,
            }
    }

    /// Something that it shall have is still another's.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.target.members.get(&member.id).into_iter().flat_map(|target| target.iter());
        target.into_iter().any(|(topic, partitions)| {
            partitions.iter().any(|&it| !member.assigned.contains(topic, it) && self.is_owned(topic, it))
        })
    }

    /// What comes of it for each.
    pub(in crate::groups) fn leave(
        &self,
        leaving: &[MemberIdentity],
        turn: &mut Turn<'_>,
    ) -> Vec<Result<(), ErrorCode>> {
        let mut gone: Vec<&Member> = Vec::new();
        let mut left = Vec::with_capacity(leaving.len());
        for identity in leaving {
            let found = match identity.group_instance_id.as_deref() {
                None => self.known_member(&identity.member_id),
                // An administrator knows the instance and not its member.
                Some(instance) if identity.member_id.is_empty() => {
                    self.instance(instance).ok_or_else(|| Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, ""))
                }
                Some(instance) => self.current_member(&identity.member_id, instance),
            };
            gone.extend(
                found
                    .iter()
                    .filter(|member| gone.iter().all(|it| it.id != member.id))
                    .copied()
                    .collect::<Vec<_>>(),
            );
            left.push(found.map(|_| ()).map_err(|refusal| refusal.error));
        }
        self.fence(&gone, turn);
        left
    }

    fn classic_member(&self, id: &str, instance: Option<&str>) -> Result<&Member, ErrorCode> {
        let member = match instance {
            None => self.known_member(id),
            Some(instance) => self.current_member(id, instance),
        };
        let member = member.map_err(|refusal| refusal.error)?;
        if member.is_classic() { Ok(member) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    fn heard_of(&self, member: &Member, turn: &mut Turn<'_>) {
        let due = turn.after(member.session_timeout_ms().unwrap_or_default());
        turn.watch.set((&self.id, &member.id), Wait::Session, due, turn.timers);
    }

    fn expect_join(&self, member: &Member, turn: &mut Turn<'_>) {
        let due = turn.after(member.metadata.rebalance_timeout_ms);
        turn.watch.set_if_absent((&self.id, &member.id), Wait::Join, due, turn.timers);
    }
}

const FIRST_VERSION_WITH_KNOWN_IDS: i16 = 4;

fn first_protocol(member: &Member) -> &str {
    member.protocols().first().map_or("", |protocol| &protocol.name)
}

fn subscription(request: &JoinGroupRequest) -> Result<ConsumerProtocolSubscription, Refusal> {
    let first = request.protocols.first().map(|protocol| parse_subscription(&protocol.metadata));
    // Kafka answers nothing at all.
    first.and_then(Result::ok).ok_or_else(|| {
        Refusal::new(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "the embedded consumer protocol is malformed")
    })
}

fn said(
    asked: &Asked<JoinGroupRequest>,
    subscription: &ConsumerProtocolSubscription,
    old: &Member,
) -> ConsumerGroupMemberMetadataValue {
    let (request, client) = (&asked.request, &asked.client);
    let was = &*old.metadata;
    let mut names = subscription.topics.clone();
    names.sort_unstable();
    names.dedup();
    let protocol = |it: &protocol::messages::join_group_request::JoinGroupRequestProtocol| ClassicProtocol {
        name: it.name.clone(),
        metadata: it.metadata.clone(),
    };
    ConsumerGroupMemberMetadataValue {
        instance_id: request.group_instance_id.clone().or_else(|| was.instance_id.clone()),
        rack_id: subscription.rack_id.clone().filter(|it| !it.is_empty()).or_else(|| was.rack_id.clone()),
        client_id: client.id.clone(),
        client_host: client.host.clone(),
        subscribed_topic_names: names,
        subscribed_topic_regex: Some(String::new()),
        rebalance_timeout_ms: match rebalance_timeout_ms(asked) {
            -1 => was.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        server_assignor: was.server_assignor.clone(),
        classic_member_metadata: Some(ClassicMemberMetadata {
            session_timeout_ms: request.session_timeout_ms,
            supported_protocols: request.protocols.iter().map(protocol).collect(),
        }),
    }
}

/// What the member says to have, of topics that there are.
fn owned(subscription: &ConsumerProtocolSubscription, topics: &Topics) -> Vec<TopicPartitions> {
    let known = subscription.owned_partitions.iter().filter_map(|it| {
        let topic_id = topics.by_name(&it.topic)?.id;
        Some(TopicPartitions { topic_id, partitions: it.partitions.clone() })
    });
    known.collect()
}
