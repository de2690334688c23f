//! A registered broker is ready: it may lead, and partitions without a leader get one.

use protocol::error_code::ErrorCode;
use protocol::messages::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

use super::{Controller, Refused, refuse};
use crate::machine::Decision;
use crate::metadata::topics::NO_LEADER_CHANGE;
use crate::metadata::{MetadataRecord, NO_LEADER, Partition, Topic};

/// A broker has everything that the metadata says it has.
#[derive(Clone, Copy, Debug)]
pub struct UnfenceBroker {
    pub broker_id: i32,
    pub broker_epoch: i64,
    /// Start a new leader epoch wherever the broker leads already: after a stop that may have cost records that somebody
    /// saw, so that clients notice.
    pub new_leader_epochs: bool,
}

impl Controller {
    pub fn unfence_broker(&self, command: &UnfenceBroker) -> Decision<MetadataRecord, Result<(), Refused>> {
        let UnfenceBroker { broker_id, broker_epoch, new_leader_epochs } = *command;
        if let Err(refused) = self.check_broker_epoch(broker_id, broker_epoch) {
            return refuse(refused);
        }
        if self.image.brokers[&broker_id].is_in_controlled_shutdown {
            let message = "A broker in controlled shutdown has to register again.";
            return refuse(Refused::new(ErrorCode::INVALID_REQUEST, message));
        }
        let mut records = Vec::new();
        if self.image.brokers[&broker_id].is_fenced {
            const UNFENCE: i8 = -1;
            records.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                broker_id,
                broker_epoch,
                fenced: UNFENCE,
                ..BrokerRegistrationChangeRecord::default()
            }));
        }
        for topic in self.image.topics.iter() {
            let change = |partition: &Partition| match partition.leader {
                NO_LEADER => self.elect(topic, partition, broker_id),
                leader if leader == broker_id && new_leader_epochs => {
                    Some(PartitionChangeRecord { leader, ..change_of(topic, partition) })
                }
                _ => None,
            };
            records.extend(topic.partitions().iter().filter_map(change).map(MetadataRecord::PartitionChange));
        }
        Decision { records, reply: Ok(()) }
    }

    /// Makes the first replica lead that has everything acknowledged and is active, or is `ready` now. Without one in
    /// sync, an eligible one will do: it left the in-sync set with everything acknowledged.
    fn elect(&self, topic: &Topic, partition: &Partition, ready: i32) -> Option<PartitionChangeRecord> {
        let is_active = |id: i32| {
            id == ready || self.image.brokers.get(&id).is_some_and(crate::metadata::Broker::is_active)
        };
        let first_of =
            |set: &[i32]| partition.replicas.iter().copied().find(|&id| set.contains(&id) && is_active(id));
        if let Some(leader) = first_of(&partition.isr) {
            return Some(PartitionChangeRecord { leader, ..change_of(topic, partition) });
        }
        let leader = first_of(partition.elr())?;
        let mut change =
            PartitionChangeRecord { leader, isr: Some(vec![leader]), ..change_of(topic, partition) };
        let config = self.image.topic_config(&topic.name, self.settings.node_id, &self.settings.statics);
        let enough = usize::try_from(config.min_insync_replicas).unwrap_or(1).min(partition.replicas.len());
        if enough <= 1 {
            change.eligible_leader_replicas = Some(Vec::new());
            change.last_known_elr = Some(Vec::new());
        } else {
            let others = |set: &[i32]| set.iter().copied().filter(|&id| id != leader).collect::<Vec<_>>();
            let eligible = others(partition.elr());
            let known = others(partition.last_known_elr());
            change.last_known_elr = Some(known.into_iter().filter(|id| !eligible.contains(id)).collect());
            change.eligible_leader_replicas = Some(eligible);
        }
        Some(change)
    }
}

fn change_of(topic: &Topic, partition: &Partition) -> PartitionChangeRecord {
    PartitionChangeRecord {
        partition_id: partition.index,
        topic_id: topic.id,
        leader: NO_LEADER_CHANGE,
        ..PartitionChangeRecord::default()
    }
}
