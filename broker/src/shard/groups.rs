//! Groups and the cores they live on: a group lives where its partition of `__consumer_offsets` does.

use std::rc::Rc;

use cluster::controller::{Command as Decide, CreateTopics};
use cluster::groups::Command;
use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::CreateTopicsRequest;
use protocol::partitioner::partition_of_coordinator;
use reactor::host;
use storage::disk::LocalFuture;

use super::{PartitionId, Shard};
use crate::config::groups::OFFSETS_TOPIC;
use crate::controller::ControllerError;
use crate::coordinator::{Answered, Coordinator, Question};
use crate::metrics::groups::GroupMetrics;

/// How long the creation of the topic may take, in the controller's eyes.
const CREATE_TIMEOUT_MS: i32 = 5_000;

impl Shard {
    /// The partition that keeps a group, if the topic is there.
    pub(crate) fn partition_of_group(&self, group: &str) -> Option<PartitionId> {
        let image = self.image.borrow();
        let topic = image.topics.by_name(OFFSETS_TOPIC)?;
        let count = i32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)?;
        Some(PartitionId { topic: topic.id, index: partition_of_coordinator(group, count) })
    }

    /// Asks a group something, on its core. Questions of one core are decided in the order asked.
    pub(crate) fn ask_group(
        self: &Rc<Self>,
        group: &str,
        question: Question,
    ) -> LocalFuture<'static, Answered> {
        let Some(id) = self.partition_of_group(group) else {
            return Box::pin(std::future::ready(Err(ErrorCode::NOT_COORDINATOR)));
        };
        self.on(self.owner(id), move |shard| match shard.coordinator(id) {
            Some(coordinator) => coordinator.ask(question),
            None => Box::pin(std::future::ready(Err(ErrorCode::NOT_COORDINATOR))),
        })
    }

    /// Asks all groups of all cores the same.
    pub(crate) fn ask_every_group(
        self: &Rc<Self>,
        question: impl Fn() -> Question + Clone + Send + 'static,
    ) -> LocalFuture<'static, Vec<Answered>> {
        let shard = self.clone();
        Box::pin(async move {
            let asked = shard.on_every_core(move |shard| {
                let coordinators = shard.own_coordinators();
                let asked: Vec<_> =
                    coordinators.iter().map(|coordinator| coordinator.ask(question())).collect();
                Box::pin(async move {
                    let mut answers = Vec::with_capacity(asked.len());
                    for answer in asked {
                        answers.push(answer.await);
                    }
                    answers
                })
            });
            asked.await.into_iter().flatten().collect()
        })
    }

    /// Creates the topic that keeps groups, as Kafka does when somebody first asks for a coordinator.
    pub(crate) fn create_offsets_topic(self: &Rc<Self>) -> LocalFuture<'static, Result<(), ControllerError>> {
        let topic_id = Uuid::from_random(Uuid::from_u64_pair(host().random(), host().random()).0);
        let request = CreateTopicsRequest {
            topics: vec![self.config.offsets_topic.clone()],
            timeout_ms: CREATE_TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let command = CreateTopics { request, topic_ids: vec![topic_id], random: host().random() };
        let creating = self.decide(Decide::CreateTopics(command));
        Box::pin(async move { creating.await.map(|_| ()) })
    }

    /// Begins to read the groups of this core, before somebody asks: their sessions and offsets expire.
    pub(crate) fn load_groups(self: &Rc<Self>) {
        self.own_coordinators();
    }

    /// A coordinator of this core, made when first asked for.
    fn coordinator(self: &Rc<Self>, id: PartitionId) -> Option<Rc<Coordinator>> {
        if let Some(coordinator) = self.coordinators.borrow().get(&id) {
            return Some(coordinator.clone());
        }
        if self.is_closing() {
            return None;
        }
        let partition = self.partition(id).ok()?;
        let coordinator = Coordinator::new(partition, self.group_settings.clone(), self.image.clone());
        self.coordinators.borrow_mut().insert(id, coordinator.clone());
        Some(coordinator)
    }

    /// All of this core, in the order of their partitions.
    pub(super) fn own_coordinators(self: &Rc<Self>) -> Vec<Rc<Coordinator>> {
        let ids: Vec<PartitionId> = {
            let image = self.image.borrow();
            let Some(topic) = image.topics.by_name(OFFSETS_TOPIC) else { return Vec::new() };
            let id = |index| PartitionId { topic: topic.id, index };
            let ids = topic.partitions().iter().map(|partition| id(partition.index));
            ids.filter(|id| self.owner(*id) == self.core).collect()
        };
        ids.into_iter().filter_map(|id| self.coordinator(id)).collect()
    }

    /// A topic is gone: so is what groups have committed for it, or if it kept the groups, these.
    pub(super) fn groups_lose_topic(self: &Rc<Self>, name: &str, id: Uuid) {
        let coordinators: Vec<_> = self.coordinators.borrow().values().cloned().collect();
        if name != OFFSETS_TOPIC {
            let gone = || Command::TopicsDeleted(vec![(name.to_owned(), id)]);
            return coordinators.iter().for_each(|coordinator| coordinator.tell(gone()));
        }
        coordinators.iter().for_each(|coordinator| coordinator.close());
        self.coordinators.borrow_mut().clear();
    }

    pub(crate) fn measure_groups(&self) -> GroupMetrics {
        let mut metrics = GroupMetrics::default();
        for coordinator in self.coordinators.borrow().values() {
            coordinator.measure(&mut metrics);
        }
        metrics
    }

    /// The ends of those of the partitions that this core owns.
    pub(crate) fn ends_of(&self, partitions: &[(Box<str>, i32)]) -> Vec<(Box<str>, i32, i64)> {
        let end = |(topic, index): &(Box<str>, i32)| {
            let id = self.partition_id(topic, *index).ok().filter(|id| self.owner(*id) == self.core)?;
            let end_offset = self.partition(id).ok()?.known_end_offset()?;
            Some((topic.clone(), *index, end_offset))
        };
        partitions.iter().filter_map(end).collect()
    }

    /// Whoever waits for a group is sent away: the core closes.
    pub(super) fn close_groups(&self) {
        let coordinators: Vec<_> = self.coordinators.borrow().values().cloned().collect();
        coordinators.iter().for_each(|coordinator| coordinator.close());
    }
}
