//! A group of the classic protocol: its members agree on a leader, and the leader says who gets what.
//!
//! Its log holds where it stood when it was last settled: the assignments of a generation, or that nobody is left. A rebalance
//! is in no log. So deciding moves the group on, and the record says where it came to; applied to the group that it is
//! about, it changes nothing.

mod commit;
mod heartbeat;
pub(super) mod join;
mod leave;
mod member;
mod rebalance;
pub(super) mod sync;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::group_metadata_value::MemberMetadata;
use protocol::messages::{ConsumerProtocolSubscription, GroupMetadataKey, GroupMetadataValue, Message};
use protocol::primitives::{DecodeError, Reader};

use super::Reply;
use super::consumer_protocol;
use super::group::Retention;
use super::record::{GroupRecord, Said};
use super::timers::{Alarm, Timer, Timers, Uptime};
use super::turn::{Name, Turn};
pub(super) use member::Member;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// They have joined; the leader's assignment is awaited.
    CompletingRebalance,
    Stable,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Debug)]
pub(super) struct ClassicGroup {
    id: Name,
    state: State,
    /// When it came into this state; -1 if it never changed it.
    since: i64,
    generation: i32,
    protocol_type: Option<Box<str>>,
    protocol: Option<Box<str>>,
    leader: Option<Name>,
    members: BTreeMap<Name, Member>,
    /// Static members: their instances' names and who they are now.
    instances: BTreeMap<Box<str>, Name>,
    /// Ids that were given out and nobody joined with yet.
    expected: BTreeMap<Name, Alarm>,
    /// What the members consume, if that can be told.
    subscribed: Option<BTreeSet<Box<str>>>,
    joining: Alarm,
    /// The first rebalance of an empty group waits for more members.
    forming: Option<Forming>,
    syncing: Alarm,
}

#[derive(Clone, Copy, Debug)]
struct Forming {
    waited_ms: i32,
    remaining_ms: i32,
    has_newcomer: bool,
}

impl ClassicGroup {
    pub(super) fn new(id: &Name) -> Self {
        Self {
            id: id.clone(),
            state: State::Empty,
            since: -1,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            expected: BTreeMap::new(),
            subscribed: None,
            joining: Alarm::default(),
            forming: None,
            syncing: Alarm::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub(super) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Someone was given an id to join with.
    pub(super) fn is_expecting(&self) -> bool {
        !self.expected.is_empty()
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type() == Some(consumer_protocol::PROTOCOL_TYPE)
    }

    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// A group of consumers whose subscriptions cannot be read is taken to be subscribed to everything.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or(self.is_of_consumers(), |topics| topics.contains(topic))
    }

    pub(super) fn retention(&self) -> Retention {
        match self.state {
            _ if self.protocol_type.is_none() => Retention::SinceCommit,
            State::Empty if self.since < 0 => Retention::SinceCommit,
            State::Empty => Retention::Since(self.since),
            State::Stable if self.is_of_consumers() && self.subscribed.is_some() => Retention::SinceCommit,
            _ => Retention::Never,
        }
    }

    /// Somebody wants to join it: it was not there before.
    pub(super) fn begin(&mut self, turn: &Turn<'_>) {
        self.since = turn.wall.0;
    }

    fn transition(&mut self, to: State, turn: &Turn<'_>) {
        self.state = to;
        self.since = turn.wall.0;
    }

    /// Whether it holds what a log could hold of it: a group that rebalances does not.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Empty | State::Stable)
    }

    /// Where it came to.
    fn settled(&self) -> GroupRecord {
        Said::now(self.key(), self.to_value()).into()
    }

    /// That it exists: nobody has joined yet, or those who have are not settled.
    pub(super) fn founded(&self) -> GroupRecord {
        let value = GroupMetadataValue { current_state_timestamp: self.since, ..EMPTY };
        Said::now(self.key(), value).into()
    }

    pub(super) fn gone(&self) -> GroupRecord {
        Said::<_, GroupMetadataValue>::gone(self.key()).into()
    }

    fn key(&self) -> GroupMetadataKey {
        GroupMetadataKey { group: self.id.as_ref().to_owned() }
    }

    pub(super) fn to_value(&self) -> GroupMetadataValue {
        let member = |member: &Member| MemberMetadata {
            member_id: member.id.as_ref().to_owned(),
            group_instance_id: member.instance.as_deref().map(str::to_owned),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: self.protocol.as_deref().map_or(Bytes::new(), |it| member.protocols.metadata(it)),
            assignment: member.assignment.clone(),
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.as_deref().unwrap_or_default().to_owned(),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(str::to_owned),
            leader: self.leader.as_deref().map(str::to_owned),
            current_state_timestamp: self.since,
            members: self.members.values().map(member).collect(),
        }
    }

    /// The log says where the group came to.
    pub(super) fn apply(&mut self, value: &GroupMetadataValue) {
        // The record that a group exists at all comes when its first members are already joining.
        if !self.is_settled() || self.to_value() == *value {
            return;
        }
        let expected = std::mem::take(&mut self.expected);
        *self = Self::new(&self.id);
        self.expected = expected;
        self.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        self.since = value.current_state_timestamp;
        self.generation = value.generation;
        self.protocol_type = Some(&*value.protocol_type).filter(|it| !it.is_empty()).map(Into::into);
        self.protocol = value.protocol.as_deref().map(Into::into);
        for it in &value.members {
            let member = Member::restored(it, self.protocol.as_deref().unwrap_or_default());
            self.add(member);
        }
        self.leader = value.leader.as_deref().map(Into::into).or(self.leader.take());
        self.subscribed = self.subscriptions();
    }

    /// Its log is read to the end: the members that it had may be alive.
    pub(super) fn loaded(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<Name> = self.members.keys().cloned().collect();
        for id in &ids {
            self.heard_of(id, turn);
        }
        // The limit was lowered since: all join again, so that everyone can commit before some are turned away.
        if i32::try_from(ids.len()).map_or(true, |count| count > turn.settings.max_size) {
            self.prepare(turn);
        }
    }

    /// The group ends as it is: who waits for an answer gets this one.
    pub(super) fn answer_all(&mut self, error: ErrorCode, turn: &mut Turn<'_>) {
        for member in self.members.values_mut() {
            if let Some(parked) = member.joining.take() {
                turn.answer(parked.ticket, Reply::JoinGroup(join::refusal(&member.id, error)));
            }
            sync::refuse_parked(member, error, turn);
        }
    }

    /// It was a consumer group until now. Who left may have left something to be shared out.
    pub(super) fn takes_over(&mut self, rebalance: bool, turn: &mut Turn<'_>) {
        self.loaded(turn);
        if rebalance && self.state == State::Stable {
            self.prepare(turn);
        }
    }

    fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.expected.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// The member's session begins anew.
    fn heard_of(&mut self, id: &str, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get_mut(id) {
            let due = turn.after(member.session_timeout_ms);
            Self::watch(&self.id, &member.id, &mut member.session, due, turn.timers);
        }
    }

    fn watch(group: &Name, member: &Name, alarm: &mut Alarm, due: Uptime, timers: &mut Timers) {
        alarm.set(due, timers, || Timer::Session { group: group.clone(), member: member.clone() });
    }

    /// The topics that its consumers named; `None` if that cannot be told.
    fn subscriptions(&self) -> Option<BTreeSet<Box<str>>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut all = BTreeSet::new();
        if self.members.is_empty() {
            return Some(all);
        }
        let protocol = self.protocol.as_deref()?;
        for member in self.members.values() {
            let topics = subscribed_topics(&member.protocols.metadata(protocol)).ok()?;
            all.extend(topics.into_iter().map(String::into_boxed_str));
        }
        Some(all)
    }
}

const EMPTY: GroupMetadataValue = GroupMetadataValue {
    protocol_type: String::new(),
    generation: 0,
    protocol: None,
    leader: None,
    current_state_timestamp: -1,
    members: Vec::new(),
};

/// Kafka: version 0 is how all versions begin, and nothing after it is looked at.
fn subscribed_topics(subscription: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut r = Reader::new(subscription);
    r.i16()?;
    Ok(ConsumerProtocolSubscription::decode(&mut r, 0)?.topics)
}
