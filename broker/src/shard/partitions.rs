//! The partitions this core leads: made when first asked for, dropped when their topic is deleted.

use std::rc::Rc;

use cluster::controller::is_internal_topic;
use cluster::metadata::Image;
use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::topic_key::TopicKey;
use reactor::host;
use storage::disk::Class;
use storage::log::LogDir;

use super::{PartitionId, Shard};
use crate::partition::Partition;
use crate::partition::settings::TopicSettings;
use crate::promise::{Promised, promise};

impl Shard {
    /// The core that owns a partition.
    pub(crate) fn owner(&self, id: PartitionId) -> usize {
        super::placement::owner(id, self.cores)
    }

    /// A partition by name, on whatever core.
    pub(crate) fn partition_id(&self, topic: &str, index: i32) -> Result<PartitionId, ErrorCode> {
        let image = self.image.borrow();
        let found = image.topics.by_name(topic).filter(|topic| topic.partition(index).is_some());
        found.map_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), |topic| {
            Ok(PartitionId { topic: topic.id, index })
        })
    }

    /// A produced or fetched partition, as the request calls its topic.
    pub(crate) fn find(&self, topic: TopicKey<'_>, index: i32) -> Result<PartitionId, ErrorCode> {
        match topic {
            TopicKey::Name(name) => match std::str::from_utf8(name) {
                Ok(name) => self.partition_id(name, index),
                Err(_) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            },
            TopicKey::Id(id) => {
                let image = self.image.borrow();
                let topic = image.topics.by_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
                let found = topic.partition(index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                found.map(|_| PartitionId { topic: id, index })
            }
        }
    }

    /// Whether only brokers write to a topic.
    pub(crate) fn is_internal(&self, topic: TopicKey<'_>) -> bool {
        match topic {
            TopicKey::Name(name) => {
                name.starts_with(b"__") && std::str::from_utf8(name).is_ok_and(is_internal_topic)
            }
            TopicKey::Id(id) => {
                let image = self.image.borrow();
                image.topics.by_id(id).is_some_and(|topic| is_internal_topic(&topic.name))
            }
        }
    }

    /// A partition that this core owns, if the image has it.
    pub(crate) fn partition(&self, id: PartitionId) -> Result<Rc<Partition>, ErrorCode> {
        assert_eq!(self.owner(id), self.core, "asked on the core that owns it");
        if let Some(partition) = self.partitions.borrow().get(&id) {
            return Ok(partition.clone());
        }
        let partition = Rc::new(self.make(id)?);
        self.partitions.borrow_mut().insert(id, partition.clone());
        Ok(partition)
    }

    fn make(&self, id: PartitionId) -> Result<Partition, ErrorCode> {
        let image = self.image.borrow();
        let topic = image.topics.by_id(id.topic).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        let registered = topic.partition(id.index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let dir = LogDir { topic: topic.name.to_string(), partition: id.index, topic_id: id.topic };
        let settings = self.settings_of(&image, id.topic, &topic.name);
        let home = self.home_of(&dir);
        let known = home.known.borrow().get(&dir.folder()).cloned();
        Ok(Partition::new(dir, registered.leader_epoch, settings, known, home))
    }

    /// The same for all partitions of a topic.
    pub(super) fn settings_of(&self, image: &Image, id: Uuid, name: &str) -> Rc<TopicSettings> {
        let mut known = self.topic_settings.borrow_mut();
        known.entry(id).or_insert_with(|| Rc::new(TopicSettings::of(image, &self.config, name))).clone()
    }

    /// A topic's settings, if the image has it.
    pub(crate) fn topic_settings(&self, id: Uuid) -> Option<Rc<TopicSettings>> {
        let image = self.image.borrow();
        let topic = image.topics.by_id(id)?;
        Some(self.settings_of(&image, id, &topic.name))
    }

    /// Where a partition's log is: where the catalogue or a folder says, else spread by its index.
    fn home_of(&self, dir: &LogDir) -> Rc<crate::partition::home::Home> {
        let folder = dir.folder();
        let has_it = self.homes.iter().find(|home| home.known.borrow().contains_key(&folder));
        let spread = dir.partition.unsigned_abs() as usize % self.homes.len();
        has_it.unwrap_or(&self.homes[spread]).clone()
    }

    /// The partitions of a topic that is about to be removed, opened or not: none of them is asked for any more.
    pub(super) fn take_out(self: &Rc<Self>, topic: Uuid) -> Vec<Rc<Partition>> {
        let indexes: Vec<i32> = match self.image.borrow().topics.by_id(topic) {
            Some(topic) => topic.partitions().iter().map(|partition| partition.index).collect(),
            None => return Vec::new(),
        };
        let ids = indexes.into_iter().map(|index| PartitionId { topic, index });
        let mine = ids.filter(|id| self.owner(*id) == self.core);
        let taken = mine.filter_map(|id| {
            let partition = self.partition(id).ok()?;
            self.partitions.borrow_mut().remove(&id);
            partition.forget();
            Some(partition)
        });
        let taken = taken.collect();
        self.topic_settings.borrow_mut().remove(&topic);
        taken
    }

    /// Deletes a partition that was taken out. Resolves when its folder is out of the way.
    pub(super) fn delete(&self, partition: Rc<Partition>) -> Promised<()> {
        let (promise, promised) = promise();
        host().spawn(
            Class::Append,
            Box::pin(async move {
                partition.delete().await;
                promise.fulfil(());
            }),
        );
        promised
    }
}
