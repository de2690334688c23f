//! A group of the consumer protocol (KIP-848): its members say what they want and have, the broker says what they shall have.
//!
//! Three epochs. The group's own grows with whatever changes what its members shall have. The target's is the group's as
//! of which that was worked out. A member's is the target's that it has come to. All of it stands in the log, and only
//! applying records changes it.
//!
//! Invariant: no partition is had by two members. Who shall have it gets it when who had it said that it gave it up.

mod classic_members;
mod conversion;
mod describe;
mod epochs;
mod heartbeat;
mod leave;
mod member;
mod offsets;
mod patterns;
#[cfg(test)]
mod properties;
mod reconcile;
mod records;
mod request;
mod target;
mod watch;

use std::cell::Cell;
use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::{ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMetadataValue};

use super::assignment::Assignment;
use super::record::GroupRecord;
use super::turn::Name;
pub(super) use heartbeat::decide as heartbeat;
use member::{Member, Owned, epoch};
pub(super) use watch::{Wait, Watch};

#[derive(Debug)]
pub(super) struct ConsumerGroup {
    id: Name,
    epoch: i32,
    /// Of the metadata that the target depends on, as of the group's epoch.
    metadata_hash: i64,
    members: BTreeMap<Name, Member>,
    /// Static members: their instances' names and who they are now.
    instances: BTreeMap<Box<str>, Name>,
    target: Target,
    /// Patterns and the topics that they stood for when last looked up.
    resolved: BTreeMap<Box<str>, Resolved>,
    /// Older versions wrote a record that nobody needs any more.
    has_partition_metadata: bool,
    /// How often each topic is subscribed to: the members' names and the patterns that stand for it.
    topics: BTreeMap<Box<str>, usize>,
    /// How many members have each pattern.
    patterns: BTreeMap<Box<str>, usize>,
    /// By how many members a partition is had: never more than one.
    owned: BTreeMap<(Uuid, i32), usize>,
    classic_members: usize,
    /// In no log: as of which image the hash was last looked at, and the epoch that came of it.
    looked_at: Cell<(i64, i32)>,
}

#[derive(Debug)]
struct Target {
    epoch: i32,
    timestamp: i64,
    members: BTreeMap<Name, Assignment>,
}

#[derive(Debug, PartialEq)]
struct Resolved {
    topics: Vec<String>,
    /// As of which image.
    version: i64,
    timestamp: i64,
}

/// Why a member is refused, and the words that it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    error: ErrorCode,
    text: String,
}

impl Refusal {
    fn new(error: ErrorCode, text: impl Into<String>) -> Self {
        Self { error, text: text.into() }
    }
}

/// The first epoch: a member's 0 means that it joins.
const FIRST_EPOCH: i32 = 1;
const NEVER: (i64, i32) = (i64::MIN, 0);

impl ConsumerGroup {
    pub(super) fn new(id: &Name) -> Self {
        Self {
            id: id.clone(),
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            target: Target { epoch: FIRST_EPOCH, timestamp: 0, members: BTreeMap::new() },
            resolved: BTreeMap::new(),
            has_partition_metadata: false,
            topics: BTreeMap::new(),
            patterns: BTreeMap::new(),
            owned: BTreeMap::new(),
            classic_members: 0,
            looked_at: Cell::new(NEVER),
        }
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target.epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target.epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The records that end the group. Its offsets end by their own.
    pub(super) fn gone(&self, records: &mut Vec<GroupRecord>) {
        let members: Vec<&Name> = self.members.keys().collect();
        self.gone_with(&members, records);
    }

    fn gone_with(&self, members: &[&Name], records: &mut Vec<GroupRecord>) {
        let id = &self.id;
        records.extend(members.iter().map(|member| records::nothing_assigned(id, member)));
        records.extend(members.iter().map(|member| records::no_target(id, member)));
        records.push(records::no_target_epoch(id));
        records.extend(members.iter().map(|member| records::no_member(id, member)));
        records.extend(self.resolved.keys().map(|pattern| records::no_pattern(id, pattern)));
        records.push(records::no_partition_metadata(id));
        records.push(records::no_epoch(id));
    }

    fn instance(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.instances.get(instance)?)
    }

    /// What a member shall have; a static one what its instance shall have.
    fn target_of(&self, member: &Member) -> Option<&Assignment> {
        match member.instance() {
            None => self.target.members.get(&member.id),
            Some(instance) => self.target.members.get(self.instances.get(instance)?),
        }
    }

    fn is_owned(&self, topic: Uuid, partition: i32) -> bool {
        self.owned.contains_key(&(topic, partition))
    }

    // What the log says.

    pub(super) fn apply(&mut self, record: &GroupRecord) {
        use GroupRecord as R;
        match record {
            R::ConsumerGroupMetadata(said) => {
                if let Some(value) = &said.value {
                    self.epoch = value.epoch;
                    self.metadata_hash = value.metadata_hash;
                }
            }
            R::ConsumerGroupPartitionMetadata(said) => self.has_partition_metadata = said.value.is_some(),
            R::ConsumerGroupMember(said) => match &said.value {
                Some(value) => {
                    let value = std::rc::Rc::new(value.clone());
                    self.change(&said.key.member_id, |member| member.metadata = value);
                }
                None => self.forget(&said.key.member_id),
            },
            R::TargetAssignmentEpoch(said) => self.apply_target_epoch(said.value.as_ref()),
            R::TargetAssignment(said) => {
                let id = Name::from(&*said.key.member_id);
                match &said.value {
                    Some(value) => {
                        let topics = value.topic_partitions.iter();
                        let assignment = topics.map(|it| (it.topic_id, it.partitions.clone())).collect();
                        self.target.members.insert(id, assignment);
                    }
                    None => drop(self.target.members.remove(&id)),
                }
            }
            R::CurrentAssignment(said) => self.apply_current(&said.key.member_id, said.value.as_ref()),
            R::RegularExpression(said) => {
                self.apply_pattern(&said.key.regular_expression, said.value.as_ref());
            }
            R::OffsetCommit(_) | R::GroupMetadata(_) => (),
        }
    }

    fn apply_target_epoch(&mut self, value: Option<&ConsumerGroupTargetAssignmentMetadataValue>) {
        (self.target.epoch, self.target.timestamp) =
            value.map_or((-1, 0), |value| (value.assignment_epoch, value.assignment_timestamp));
    }

    fn apply_current(
        &mut self,
        member: &str,
        value: Option<&protocol::messages::ConsumerGroupCurrentMemberAssignmentValue>,
    ) {
        match value {
            Some(value) => self.change(member, |member| member.apply_assignment(value)),
            None if self.members.contains_key(member) => self.change(member, |member| {
                (member.epoch, member.previous_epoch) = (epoch::LEAVE, epoch::LEAVE);
                (member.assigned, member.revoking) = Default::default();
            }),
            None => (),
        }
    }

    fn apply_pattern(&mut self, pattern: &str, value: Option<&ConsumerGroupRegularExpressionValue>) {
        if let Some(old) = self.resolved.remove(pattern) {
            old.topics.iter().for_each(|topic| count_down(&mut self.topics, topic));
        }
        if let Some(value) = value {
            let mut topics = value.topics.clone();
            topics.sort_unstable();
            topics.dedup();
            topics.iter().for_each(|topic| count_up(&mut self.topics, topic));
            let resolved = Resolved { topics, version: value.version, timestamp: value.timestamp };
            self.resolved.insert(pattern.into(), resolved);
        }
    }

    /// Changes a member, or one that is new.
    fn change(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let mut member = match self.members.remove(id) {
            Some(member) => {
                self.discount(&member);
                member
            }
            None => Member::new(id.into()),
        };
        change(&mut member);
        self.count(&member);
        self.members.insert(member.id.clone(), member);
    }

    fn forget(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        self.discount(&member);
        // Its successor may have taken its place.
        if let Some(instance) = member.instance()
            && self.instances.get(instance).is_some_and(|current| **current == *id)
        {
            self.instances.remove(instance);
        }
    }

    fn count(&mut self, member: &Member) {
        member.topics().iter().for_each(|topic| count_up(&mut self.topics, topic));
        member.pattern().into_iter().for_each(|pattern| count_up(&mut self.patterns, pattern));
        for (topic, partition) in had(member) {
            *self.owned.entry((topic, partition)).or_default() += 1;
        }
        self.classic_members += usize::from(member.is_classic());
        if let Some(instance) = member.instance() {
            self.instances.insert(instance.into(), member.id.clone());
        }
    }

    fn discount(&mut self, member: &Member) {
        member.topics().iter().for_each(|topic| count_down(&mut self.topics, topic));
        member.pattern().into_iter().for_each(|pattern| count_down(&mut self.patterns, pattern));
        for part in had(member) {
            if let Some(count) = self.owned.get_mut(&part) {
                *count -= 1;
                if *count == 0 {
                    self.owned.remove(&part);
                }
            }
        }
        self.classic_members -= usize::from(member.is_classic());
    }
}

/// The group that a record of a consumer group is about, and whether the record says anything or takes back what was said.
pub(super) fn subject(record: &GroupRecord) -> Option<(&str, bool)> {
    use GroupRecord as R;
    Some(match record {
        R::ConsumerGroupMetadata(said) => (&said.key.group_id, said.value.is_some()),
        R::ConsumerGroupPartitionMetadata(said) => (&said.key.group_id, said.value.is_some()),
        R::ConsumerGroupMember(said) => (&said.key.group_id, said.value.is_some()),
        R::TargetAssignmentEpoch(said) => (&said.key.group_id, said.value.is_some()),
        R::TargetAssignment(said) => (&said.key.group_id, said.value.is_some()),
        R::CurrentAssignment(said) => (&said.key.group_id, said.value.is_some()),
        R::RegularExpression(said) => (&said.key.group_id, said.value.is_some()),
        R::OffsetCommit(_) | R::GroupMetadata(_) => return None,
    })
}

/// What a member has, also what it is about to give up.
fn had(member: &Member) -> impl Iterator<Item = (Uuid, i32)> {
    let parts =
        |owned: &'_ Owned| -> Vec<(Uuid, i32)> { owned.iter().map(|(topic, it, _)| (topic, it)).collect() };
    parts(&member.assigned).into_iter().chain(parts(&member.revoking))
}

fn count_up(counts: &mut BTreeMap<Box<str>, usize>, of: &str) {
    match counts.get_mut(of) {
        Some(count) => *count += 1,
        None => drop(counts.insert(of.into(), 1)),
    }
}

fn count_down(counts: &mut BTreeMap<Box<str>, usize>, of: &str) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}
