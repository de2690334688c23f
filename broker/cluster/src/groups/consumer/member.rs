//! A member of a consumer group, as its records say.

use std::rc::Rc;

use protocol::ids::Uuid;
use protocol::messages::consumer_group_current_member_assignment_value::TopicPartitions;
use protocol::messages::consumer_group_member_metadata_value::ClassicProtocol;
use protocol::messages::{ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue};

use crate::groups::turn::Name;

/// How far a member is on its way to what it shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::groups) enum State {
    /// It is where its epoch says.
    Stable,
    /// It has to give something up first.
    UnrevokedPartitions,
    /// Others have to give something up first.
    UnreleasedPartitions,
    /// Written by a later version.
    Unknown,
}

/// The epochs that are none.
pub(in crate::groups) mod epoch {
    /// It joins.
    pub(in crate::groups) const JOIN: i32 = 0;
    /// It leaves for good, or is not known to have been anywhere.
    pub(in crate::groups) const LEAVE: i32 = -1;
    /// A static member that leaves and will be back.
    pub(in crate::groups) const LEAVE_STATIC: i32 = -2;
}

/// Cheap to copy: what is large is shared.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::groups) struct Member {
    pub(super) id: Name,
    /// What it said of itself. Topics' names are ascending and unique.
    pub(super) metadata: Rc<ConsumerGroupMemberMetadataValue>,
    pub(super) epoch: i32,
    /// The epoch before: its last answer may have been lost.
    pub(super) previous_epoch: i32,
    pub(super) state: State,
    pub(super) assigned: Rc<Owned>,
    pub(super) revoking: Rc<Owned>,
}

/// Partitions and since which epoch of the group the member has them; by topic, both ascending; no topic without
/// partitions. Each member has such lists, mostly short ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::groups) struct Owned(Vec<(Uuid, Vec<(i32, i32)>)>);

impl Member {
    pub(super) fn new(id: Name) -> Self {
        // Kafka: nothing said is the empty text here and null there.
        let metadata = ConsumerGroupMemberMetadataValue {
            instance_id: None,
            rack_id: None,
            subscribed_topic_regex: Some(String::new()),
            rebalance_timeout_ms: -1,
            server_assignor: None,
            classic_member_metadata: None,
            ..Default::default()
        };
        Self {
            id,
            metadata: Rc::new(metadata),
            epoch: epoch::JOIN,
            previous_epoch: -1,
            state: State::Stable,
            assigned: Rc::default(),
            revoking: Rc::default(),
        }
    }

    pub(super) fn instance(&self) -> Option<&str> {
        self.metadata.instance_id.as_deref()
    }

    /// The pattern it is subscribed to.
    pub(super) fn pattern(&self) -> Option<&str> {
        self.metadata.subscribed_topic_regex.as_deref().filter(|pattern| !pattern.is_empty())
    }

    pub(super) fn topics(&self) -> &[String] {
        &self.metadata.subscribed_topic_names
    }

    pub(super) fn is_classic(&self) -> bool {
        self.metadata.classic_member_metadata.is_some()
    }

    /// What a member of the classic protocol can do, best liked first; of others nothing.
    pub(super) fn protocols(&self) -> &[ClassicProtocol] {
        self.metadata.classic_member_metadata.as_ref().map_or(&[], |classic| &classic.supported_protocols)
    }

    /// Of the classic protocol.
    pub(super) fn session_timeout_ms(&self) -> Option<i32> {
        self.metadata.classic_member_metadata.as_ref().map(|classic| classic.session_timeout_ms)
    }

    /// It has all that it shall have as of that epoch, and nothing else.
    pub(super) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == State::Stable && self.epoch == target_epoch
    }

    pub(super) fn apply_assignment(&mut self, value: &ConsumerGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = State::from_code(value.state);
        self.assigned = Rc::new(Owned::from_record(&value.assigned_partitions, value.member_epoch));
        self.revoking = Rc::new(Owned::from_record(&value.partitions_pending_revocation, value.member_epoch));
    }

    pub(super) fn assignment_value(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned_partitions: self.assigned.to_record(),
            partitions_pending_revocation: self.revoking.to_record(),
        }
    }
}

impl State {
    fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

impl Owned {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn epoch_of(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let of = &self.0[self.place_of(topic).ok()?].1;
        let at = of.binary_search_by_key(&partition, |(partition, _)| *partition).ok()?;
        Some(of[at].1)
    }

    pub(super) fn has_topic(&self, topic: Uuid) -> bool {
        self.place_of(topic).is_ok()
    }

    pub(super) fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.epoch_of(topic, partition).is_some()
    }

    pub(super) fn insert(&mut self, topic: Uuid, partition: i32, since: i32) {
        let at = self.place_of(topic).unwrap_or_else(|at| {
            self.0.insert(at, (topic, Vec::with_capacity(1)));
            at
        });
        let of = &mut self.0[at].1;
        match of.binary_search_by_key(&partition, |(partition, _)| *partition) {
            Ok(at) => of[at].1 = since,
            Err(at) => of.insert(at, (partition, since)),
        }
    }

    /// Topic, partition and since when.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Uuid, i32, i32)> {
        let topics = self.0.iter();
        topics.flat_map(|(topic, of)| of.iter().map(|(partition, since)| (*topic, *partition, *since)))
    }

    /// Topics and their partitions.
    pub(super) fn topics(&self) -> impl ExactSizeIterator<Item = (Uuid, Vec<i32>)> {
        self.0.iter().map(|(topic, of)| (*topic, of.iter().map(|(partition, _)| *partition).collect()))
    }

    /// Takes out the topics that are not wanted.
    pub(super) fn split_off_topics(&mut self, is_wanted: impl Fn(Uuid) -> bool) -> Self {
        let (wanted, unwanted) =
            std::mem::take(&mut self.0).into_iter().partition(|(topic, _)| is_wanted(*topic));
        self.0 = wanted;
        Self(unwanted)
    }

    pub(super) fn extend(&mut self, other: Self) {
        other.iter().for_each(|(topic, partition, since)| self.insert(topic, partition, since));
    }

    fn place_of(&self, topic: Uuid) -> Result<usize, usize> {
        self.0.binary_search_by_key(&topic, |(topic, _)| *topic)
    }

    /// The same partitions, as if had from the first epoch on.
    pub(super) fn since_ever(&self) -> Self {
        self.iter().map(|(topic, partition, _)| (topic, partition, 0)).collect()
    }

    fn from_record(topics: &[TopicPartitions], member_epoch: i32) -> Self {
        let mut owned = Self::default();
        for topic in topics {
            // Older versions wrote no epochs.
            let epochs = topic.assignment_epochs.as_deref().filter(|it| it.len() == topic.partitions.len());
            for (at, partition) in topic.partitions.iter().enumerate() {
                let since = epochs.map_or(member_epoch.max(0), |epochs| epochs[at]);
                owned.insert(topic.topic_id, *partition, since);
            }
        }
        owned
    }

    fn to_record(&self) -> Vec<TopicPartitions> {
        let topic = |(topic_id, of): &(Uuid, Vec<(i32, i32)>)| TopicPartitions {
            topic_id: *topic_id,
            partitions: of.iter().map(|(partition, _)| *partition).collect(),
            assignment_epochs: Some(of.iter().map(|(_, since)| *since).collect()),
        };
        self.0.iter().map(topic).collect()
    }
}

impl FromIterator<(Uuid, i32, i32)> for Owned {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32, i32)>>(parts: I) -> Self {
        let mut owned = Self::default();
        parts.into_iter().for_each(|(topic, partition, since)| owned.insert(topic, partition, since));
        owned
    }
}
