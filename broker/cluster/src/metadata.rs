//! The image: all that every broker knows of the cluster. Each core has its own and applies the same records to it.

pub mod bootstrap;
pub mod brokers;
pub mod configs;
pub mod control;
pub mod features;
pub mod record;
pub mod security;
pub mod topic_config;
pub mod topics;

use std::collections::BTreeMap;
use std::fmt;

use protocol::messages::{
    ConfigRecord, FeatureLevelRecord, ProducerIdsRecord, RegisterBrokerRecord, RegisterControllerRecord,
    TopicRecord,
};

pub use brokers::{Broker, Endpoint, SecurityProtocol};
pub use configs::{Configs, Described, Layers, Overrides, ResourceKind, Source};
pub use record::{MetadataRecord, RecordError};
pub use security::Security;
pub use topic_config::{CompressionType, TimestampType, TopicConfig};
pub use topics::{Brokers, NO_LEADER, Partition, Topic, Topics};

/// The cluster as of one offset of the metadata log.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub cluster_id: String,
    /// The offset of the last record applied; -1 at first.
    pub offset: i64,
    /// Finalised levels. An absent feature is at level 0.
    pub features: BTreeMap<String, i16>,
    pub brokers: BTreeMap<i32, Broker>,
    pub controllers: BTreeMap<i32, RegisterControllerRecord>,
    pub topics: Topics,
    pub configs: Configs,
    /// The first producer id that was not given out.
    pub next_producer_id: i64,
    pub security: Security,
    /// Records of a metadata transaction that has begun and not ended.
    pending: Option<Vec<(MetadataRecord, i64)>>,
}

/// A record that contradicts what the image holds: the log is damaged or written by something that this version does not
/// understand. The image must not be used further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError {
    pub offset: i64,
    pub reason: String,
}

/// The newest metadata version that this version can read. It writes no other.
pub const METADATA_VERSION_MAX: i16 = 30;

impl Image {
    pub fn new(cluster_id: impl Into<String>) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            offset: -1,
            features: BTreeMap::new(),
            brokers: BTreeMap::new(),
            controllers: BTreeMap::new(),
            topics: Topics::default(),
            configs: Configs::default(),
            next_producer_id: 0,
            security: Security::default(),
            pending: None,
        }
    }

    /// Takes in the record at `offset`. The records of a metadata transaction count when it ends.
    pub fn apply(&mut self, record: &MetadataRecord, offset: i64) -> Result<(), ApplyError> {
        let refused = |reason| ApplyError { offset, reason };
        match (record, self.pending.take()) {
            (MetadataRecord::BeginTransaction(_), None) => self.pending = Some(Vec::new()),
            (MetadataRecord::BeginTransaction(_), Some(_)) => {
                return Err(refused("a metadata transaction begins inside another".to_owned()));
            }
            (MetadataRecord::EndTransaction(_), Some(records)) => {
                for (record, offset) in &records {
                    self.change(record).map_err(|reason| ApplyError { offset: *offset, reason })?;
                }
            }
            (MetadataRecord::AbortTransaction(_), Some(_)) => (),
            (MetadataRecord::EndTransaction(_) | MetadataRecord::AbortTransaction(_), None) => {
                return Err(refused("a metadata transaction ends that never began".to_owned()));
            }
            (record, Some(mut records)) => {
                records.push((record.clone(), offset));
                self.pending = Some(records);
            }
            (record, None) => self.change(record).map_err(refused)?,
        }
        self.offset = offset;
        Ok(())
    }

    /// A feature's finalised level; 0 if it was never raised.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Where a topic's settings may have been set, as seen by one broker with what it was started with.
    pub fn topic_layers<'a>(&'a self, topic: &str, node_id: i32, statics: &'a Overrides) -> Layers<'a> {
        Layers {
            own: self.configs.of(ResourceKind::Topic, topic),
            own_source: Source::Topic,
            broker: self.configs.of(ResourceKind::Broker, &node_id.to_string()),
            all_brokers: self.configs.of(ResourceKind::Broker, ""),
            statics,
        }
    }

    /// As [`Image::topic_layers`] of a group, which need not exist.
    pub fn group_layers<'a>(&'a self, group: &str, node_id: i32, statics: &'a Overrides) -> Layers<'a> {
        Layers {
            own: self.configs.of(ResourceKind::Group, group),
            own_source: Source::Group,
            ..self.topic_layers("", node_id, statics)
        }
    }

    /// The settings that hold for a topic.
    pub fn topic_config(&self, topic: &str, node_id: i32, statics: &Overrides) -> TopicConfig {
        TopicConfig::resolve(&self.topic_layers(topic, node_id, statics))
    }

    /// Records that build this image from nothing, in Kafka's order: what a snapshot holds.
    pub fn records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        // First of all, because it says how to read the rest.
        let version = self.features.get_key_value(features::METADATA_VERSION);
        let others = self.features.iter().filter(|(name, _)| *name != features::METADATA_VERSION);
        records.extend(
            version.into_iter().chain(others).map(|(name, &level)| features::level_record(name, level)),
        );
        records.extend(self.brokers.values().map(|it| MetadataRecord::RegisterBroker(it.to_record())));
        records.extend(self.controllers.values().cloned().map(MetadataRecord::RegisterController));
        for topic in self.topics.iter() {
            let name = topic.name.to_string();
            records.push(MetadataRecord::Topic(TopicRecord { name, topic_id: topic.id }));
            let partition = |it: &Partition| MetadataRecord::Partition(it.to_record(topic.id));
            records.extend(topic.partitions().iter().map(partition));
        }
        for (kind, resource, set) in self.configs.iter() {
            records.extend(set.iter().map(|(name, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource_type: kind.code(),
                    resource_name: resource.to_owned(),
                    name: name.to_owned(),
                    value: Some(value.to_owned()),
                })
            }));
        }
        self.security.quota_records(&mut records);
        if self.next_producer_id > 0 {
            records.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: self.next_producer_id,
            }));
        }
        self.security.other_records(&mut records);
        records
    }

    fn change(&mut self, record: &MetadataRecord) -> Result<(), String> {
        use MetadataRecord as R;
        match record {
            R::RegisterBroker(it) => self.register_broker(it),
            R::UnregisterBroker(it) => {
                self.registered(it.broker_id, it.broker_epoch)?;
                self.brokers.remove(&it.broker_id);
                Ok(())
            }
            R::BrokerRegistrationChange(it) => {
                let makes_sense = self.registered(it.broker_id, it.broker_epoch)?.change(it);
                fine_if(makes_sense, || format!("no such change of a registration: {it:?}"))
            }
            R::FenceBroker(it) => self.registered(it.id, it.epoch).map(|broker| broker.is_fenced = true),
            R::UnfenceBroker(it) => self.registered(it.id, it.epoch).map(|broker| broker.is_fenced = false),
            R::RegisterController(it) => {
                self.controllers.insert(it.controller_id, it.clone());
                Ok(())
            }
            R::Topic(it) => fine_if(self.topics.add(&it.name, it.topic_id), || {
                format!("there is a topic of the name {} or the id {}", it.name, it.topic_id)
            }),
            R::Partition(it) => fine_if(self.topics.set_partition(it), || {
                format!("partition {} of the unknown topic {}", it.partition_id, it.topic_id)
            }),
            R::PartitionChange(it) => fine_if(self.topics.change_partition(it), || {
                format!(
                    "change of partition {} of the topic {}, which is unknown",
                    it.partition_id, it.topic_id
                )
            }),
            R::RemoveTopic(it) => match self.topics.remove(it.topic_id) {
                Some(topic) => {
                    self.configs.forget(ResourceKind::Topic, &topic.name);
                    Ok(())
                }
                None => Err(format!("removal of the unknown topic {}", it.topic_id)),
            },
            R::ClearElr(it) => fine_if(self.topics.clear_elr(&it.topic_name), || {
                format!("eligible leaders of the unknown topic {}", it.topic_name)
            }),
            R::Config(it) => self.configure(it),
            R::FeatureLevel(it) => self.finalise(it),
            R::ProducerIds(it) => self.allocate(it),
            R::NoOp(_) | R::ZkMigrationState(_) => Ok(()),
            R::BeginTransaction(_) | R::EndTransaction(_) | R::AbortTransaction(_) => {
                unreachable!("apply() keeps these to itself")
            }
            R::DelegationToken(_)
            | R::RemoveDelegationToken(_)
            | R::UserScramCredential(_)
            | R::RemoveUserScramCredential(_)
            | R::ClientQuota(_)
            | R::AccessControlEntry(_)
            | R::RemoveAccessControlEntry(_) => self.security.change(record),
        }
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) -> Result<(), String> {
        let broker = Broker::from_record(record)
            .ok_or_else(|| format!("broker {} with a listener of unknown kind", record.broker_id))?;
        self.brokers.insert(broker.id, broker);
        Ok(())
    }

    fn registered(&mut self, id: i32, epoch: i64) -> Result<&mut Broker, String> {
        match self.brokers.get_mut(&id) {
            Some(broker) if broker.epoch == epoch => Ok(broker),
            Some(broker) => Err(format!("broker {id} has epoch {}, not {epoch}", broker.epoch)),
            None => Err(format!("broker {id} is not registered")),
        }
    }

    fn configure(&mut self, record: &ConfigRecord) -> Result<(), String> {
        let kind = ResourceKind::from_code(record.resource_type)
            .ok_or_else(|| format!("setting of a resource of unknown kind {}", record.resource_type))?;
        self.configs.set(kind, &record.resource_name, &record.name, record.value.as_deref());
        Ok(())
    }

    fn finalise(&mut self, record: &FeatureLevelRecord) -> Result<(), String> {
        let FeatureLevelRecord { name, feature_level } = record;
        if name == features::METADATA_VERSION && *feature_level > METADATA_VERSION_MAX {
            return Err(format!("metadata version {feature_level} is newer than {METADATA_VERSION_MAX}"));
        }
        match feature_level {
            0 => self.features.remove(name),
            level => self.features.insert(name.clone(), *level),
        };
        Ok(())
    }

    fn allocate(&mut self, record: &ProducerIdsRecord) -> Result<(), String> {
        // Going back would give an id to two producers.
        if record.next_producer_id <= self.next_producer_id {
            let (next, now) = (record.next_producer_id, self.next_producer_id);
            return Err(format!("next producer id {next} is not above {now}"));
        }
        self.next_producer_id = record.next_producer_id;
        Ok(())
    }
}

fn fine_if(is_fine: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if is_fine { Ok(()) } else { Err(reason()) }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata record at offset {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for ApplyError {}
