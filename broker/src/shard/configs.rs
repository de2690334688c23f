//! Settings that change while the broker runs: asked of the controller, and followed by what this core owns.

use std::collections::BTreeSet;
use std::rc::Rc;

use cluster::controller::{AlterConfigs, Command, Reply};
use cluster::metadata::{MetadataRecord, ResourceKind};
use protocol::error_code::ErrorCode;
use storage::disk::LocalFuture;

use super::{PartitionId, Shard};

/// What became of one resource.
pub(crate) struct Altered {
    pub(crate) resource_type: i8,
    pub(crate) resource_name: String,
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
}

/// Whose settings some records changed.
#[derive(Default)]
pub(super) struct Changed {
    topics: BTreeSet<String>,
    /// A broker's, which are defaults of every topic's, too.
    brokers: bool,
}

impl Changed {
    pub(super) fn note(&mut self, record: &MetadataRecord) {
        let MetadataRecord::Config(record) = record else { return };
        match ResourceKind::from_code(record.resource_type) {
            Some(ResourceKind::Topic) => _ = self.topics.insert(record.resource_name.clone()),
            Some(ResourceKind::Broker) => self.brokers = true,
            _ => {}
        }
    }
}

impl Shard {
    /// Has settings changed. The outcomes, in the order asked, come when every core has followed.
    pub(crate) fn alter_configs(
        self: &Rc<Self>,
        command: AlterConfigs,
    ) -> LocalFuture<'static, Vec<Altered>> {
        let asked: Vec<(i8, String)> =
            command.resources.iter().map(|resource| (resource.kind, resource.name.clone())).collect();
        let deciding = self.decide(Command::AlterConfigs(command));
        Box::pin(async move {
            let outcomes = match deciding.await {
                Ok(Reply::AlterConfigs(outcomes)) => outcomes,
                Ok(other) => unreachable!("settings were to be changed, the answer is {other:?}"),
                Err(error) => {
                    tracing::error!(%error, "settings cannot be changed");
                    let altered = asked.into_iter().map(|asked| {
                        Altered::of(asked, ErrorCode::KAFKA_STORAGE_ERROR, Some(error.to_string()))
                    });
                    return altered.collect();
                }
            };
            let altered = asked.into_iter().zip(outcomes).map(|(asked, outcome)| match outcome {
                Ok(()) => Altered::of(asked, ErrorCode::NONE, None),
                Err(refused) => Altered::of(asked, refused.code, refused.message),
            });
            altered.collect()
        })
    }

    /// This core acts on what holds now. What groups go by they find in the image.
    pub(super) fn follow(&self, changed: &Changed) {
        let image = self.image.borrow();
        if changed.brokers {
            self.cleaning.follow(self.config.log_cleaner_now(&image));
            self.topic_settings.borrow_mut().clear();
            for (id, partition) in self.partitions.borrow().iter() {
                partition.apply_settings(self.settings_of(&image, id.topic, &partition.topic));
            }
            return;
        }
        let partitions = self.partitions.borrow();
        for topic in changed.topics.iter().filter_map(|name| image.topics.by_name(name)) {
            self.topic_settings.borrow_mut().remove(&topic.id);
            for registered in topic.partitions() {
                if let Some(partition) =
                    partitions.get(&PartitionId { topic: topic.id, index: registered.index })
                {
                    partition.apply_settings(self.settings_of(&image, topic.id, &topic.name));
                }
            }
        }
    }
}

impl Altered {
    fn of(asked: (i8, String), error: ErrorCode, message: Option<String>) -> Self {
        let (resource_type, resource_name) = asked;
        Self { resource_type, resource_name, error, message }
    }
}
