//! The metadata machine: commands become metadata records.
//!
//! One command per file below. Answers, error codes and messages are Apache Kafka 4.3.1's.

mod allocate_producer_ids;
mod alter_configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod placement;
mod register_broker;
mod topic_name;
mod unfence_broker;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::{
    CreatePartitionsResponse, CreateTopicsResponse, DeleteTopicsResponse, PartitionRecord,
};

use crate::machine::{Decision, Machine, Timestamp};
use crate::metadata::topics::directory;
use crate::metadata::{ApplyError, Image, MetadataRecord, Overrides};
pub use allocate_producer_ids::{AllocateProducerIds, PRODUCER_IDS_PER_BLOCK};
pub use alter_configs::{AlterConfigs, Altered, Change, Outcomes, operation};
pub use create_partitions::CreatePartitions;
pub use create_topics::CreateTopics;
pub use delete_topics::DeleteTopics;
pub use register_broker::RegisterBroker;
pub use topic_name::{invalid_topic_name, is_internal_topic};
pub use unfence_broker::UnfenceBroker;

/// The metadata machine of a cluster.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    image: Image,
    /// Existing names that hold `.` or `_`, by what they would be if both were the same character.
    look_alikes: BTreeMap<Box<str>, Vec<Arc<str>>>,
}

/// What the controller's own broker was started with and decisions depend on.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node_id: i32,
    /// num.partitions
    pub num_partitions: i32,
    /// default.replication.factor
    pub default_replication_factor: i16,
    /// delete.topic.enable
    pub delete_topic_enable: bool,
    /// All that was set, for the settings that topics inherit.
    pub statics: Overrides,
}

/// What the controller can be asked.
#[derive(Clone, Debug)]
pub enum Command {
    CreateTopics(CreateTopics),
    DeleteTopics(DeleteTopics),
    CreatePartitions(CreatePartitions),
    RegisterBroker(RegisterBroker),
    UnfenceBroker(UnfenceBroker),
    AllocateProducerIds(AllocateProducerIds),
    AlterConfigs(AlterConfigs),
}

/// The answer to the command of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    CreateTopics(CreateTopicsResponse),
    DeleteTopics(DeleteTopicsResponse),
    CreatePartitions(CreatePartitionsResponse),
    /// The broker's epoch.
    RegisterBroker(Result<i64, Refused>),
    UnfenceBroker(Result<(), Refused>),
    /// A block of ids that nobody else gets.
    AllocateProducerIds(Result<Range<i64>, Refused>),
    /// For each resource, in order.
    AlterConfigs(Outcomes),
}

/// An error as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: ErrorCode,
    pub message: Option<String>,
}

/// Kafka: no single request may lead to more records than this.
pub const RECORDS_MAX: usize = 10_000;
const MESSAGE_BYTES_MAX: usize = 4096;
const TOO_MANY_RECORDS: &str = "Unable to perform excessively large batch operation.";

impl Controller {
    /// A controller of an empty history.
    pub fn new(cluster_id: impl Into<String>, settings: Settings) -> Self {
        Self { settings, image: Image::new(cluster_id), look_alikes: BTreeMap::new() }
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Takes in a record of the log; the machine's `apply` for those who can do something about a damaged log.
    pub fn replay(&mut self, record: &MetadataRecord, offset: i64) -> Result<(), ApplyError> {
        if let MetadataRecord::RemoveTopic(removed) = record
            && let Some(topic) = self.image.topics.by_id(removed.topic_id)
        {
            let name = topic.name.clone();
            self.forget_look_alike(&name);
        }
        self.image.apply(record, offset)?;
        if let MetadataRecord::Topic(added) = record
            && let Some(topic) = self.image.topics.by_id(added.topic_id)
            && let Some(unified) = topic_name::unified(&topic.name)
        {
            self.look_alikes.entry(unified.into()).or_default().push(topic.name.clone());
        }
        Ok(())
    }

    fn forget_look_alike(&mut self, name: &Arc<str>) {
        let Some(unified) = topic_name::unified(name) else { return };
        if let Some(names) = self.look_alikes.get_mut(&*unified) {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.look_alikes.remove(&*unified);
            }
        }
    }

    /// The record of a new partition: its first active replica leads.
    fn new_partition(&self, index: i32, topic_id: Uuid, replicas: &[i32]) -> Option<MetadataRecord> {
        let is_active = |id: &i32| self.image.brokers.get(id).is_some_and(crate::metadata::Broker::is_active);
        let isr: Vec<i32> = replicas.iter().copied().filter(is_active).collect();
        Some(MetadataRecord::Partition(PartitionRecord {
            partition_id: index,
            topic_id,
            replicas: replicas.to_vec(),
            leader: *isr.first()?,
            isr,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: replicas.iter().map(|&id| self.default_directory(id)).collect(),
            ..PartitionRecord::default()
        }))
    }

    /// Where a broker puts a new replica, if there is no choice.
    fn default_directory(&self, broker: i32) -> Uuid {
        match self.image.brokers.get(&broker).map(|broker| &broker.log_dirs[..]) {
            Some([only]) => *only,
            Some([]) | None => directory::MIGRATING,
            Some(_) => directory::UNASSIGNED,
        }
    }
}

impl Machine for Controller {
    type Command = Command;
    type Record = MetadataRecord;
    type Reply = Reply;

    fn decide(&self, command: Command, _now: Timestamp) -> Decision<MetadataRecord, Reply> {
        match command {
            Command::CreateTopics(it) => self.create_topics(&it).map(Reply::CreateTopics),
            Command::DeleteTopics(it) => self.delete_topics(&it).map(Reply::DeleteTopics),
            Command::CreatePartitions(it) => self.create_partitions(&it).map(Reply::CreatePartitions),
            Command::RegisterBroker(it) => self.register_broker(&it).map(Reply::RegisterBroker),
            Command::UnfenceBroker(it) => self.unfence_broker(&it).map(Reply::UnfenceBroker),
            Command::AllocateProducerIds(it) => {
                self.allocate_producer_ids(&it).map(Reply::AllocateProducerIds)
            }
            Command::AlterConfigs(it) => self.alter_configs(&it).map(Reply::AlterConfigs),
        }
    }

    /// # Panics
    /// If the record contradicts the image. Records that were decided here never do; those of a log that was not
    /// written here go through [`Controller::replay`].
    fn apply(&mut self, record: &MetadataRecord, offset: i64) {
        self.replay(record, offset).expect("decided on this very image");
    }

    fn deadline(&self) -> Option<Timestamp> {
        None
    }
}

impl Refused {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        // Names and values are as long as a client likes, and an answer's strings have their limit.
        if let Some((end, _)) =
            message.char_indices().find(|(at, one)| at + one.len_utf8() > MESSAGE_BYTES_MAX)
        {
            message.truncate(end);
        }
        Self { code, message: Some(message) }
    }

    fn plain(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

/// A decision that is a refusal, and nothing else.
fn refuse<T>(refused: Refused) -> Decision<MetadataRecord, Result<T, Refused>> {
    Decision::answer(Err(refused))
}
