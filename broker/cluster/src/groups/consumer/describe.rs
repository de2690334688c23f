//! ConsumerGroupDescribe.

use std::collections::BTreeMap;

use protocol::ids::Uuid;
use protocol::messages::consumer_group_describe_response::{
    Assignment as Described, DescribedGroup, Member as DescribedMember, TopicPartitions,
};

use super::ConsumerGroup;
use super::member::Member;
use super::target::preferred_assignor;
use crate::groups::settings::GroupSettings;
use crate::metadata::{Image, Topics};

/// Kafka: of the classic protocol or the consumer protocol.
const TYPES: [i8; 2] = [0, 1];

impl ConsumerGroup {
    pub(in crate::groups) fn described(&self, image: &Image, settings: &GroupSettings) -> DescribedGroup {
        let members: Vec<&Member> = self.members.values().collect();
        DescribedGroup {
            group_id: self.id.as_ref().to_owned(),
            group_state: self.state_name().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.target.epoch,
            assignor_name: preferred_assignor(&members, settings).name().to_owned(),
            members: members.iter().map(|member| self.described_member(member, &image.topics)).collect(),
            ..Default::default()
        }
    }

    fn described_member(&self, member: &Member, topics: &Topics) -> DescribedMember {
        let metadata = &member.metadata;
        let mut has: BTreeMap<Uuid, Vec<i32>> = member.assigned.topics().collect();
        for (topic, partitions) in member.revoking.topics() {
            has.entry(topic).or_default().extend(partitions);
        }
        let target = self.target.members.get(&member.id);
        let target = target.into_iter().flat_map(|it| it.iter().map(|(id, list)| (id, list.to_vec())));
        DescribedMember {
            member_id: member.id.as_ref().to_owned(),
            instance_id: metadata.instance_id.clone(),
            rack_id: metadata.rack_id.clone(),
            member_epoch: member.epoch,
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            subscribed_topic_names: metadata.subscribed_topic_names.clone(),
            subscribed_topic_regex: metadata.subscribed_topic_regex.clone(),
            assignment: described(has.into_iter(), topics),
            target_assignment: described(target, topics),
            member_type: TYPES[usize::from(!member.is_classic())],
        }
    }
}

/// Topics that are gone are left out.
fn described(parts: impl Iterator<Item = (Uuid, Vec<i32>)>, topics: &Topics) -> Described {
    let named = parts.filter_map(|(topic_id, partitions)| {
        let topic_name = topics.by_id(topic_id)?.name.to_string();
        Some(TopicPartitions { topic_id, topic_name, partitions })
    });
    Described { topic_partitions: named.collect() }
}
