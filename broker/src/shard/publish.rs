//! What core 0 decides becomes known to every core: each applies the same records, in the same order,
//! to its own image. A command is answered when all have.

use std::rc::Rc;

use cluster::controller::{Command, Reply};
use cluster::metadata::MetadataRecord;
use protocol::ids::Uuid;
use reactor::host;
use storage::disk::{Class, LocalFuture};

use super::Shard;
use super::configs::Changed;
use crate::controller::{Controller, ControllerError, Decided, Node};
use crate::partition::Partition;
use crate::promise::{Promised, promise};

impl Shard {
    /// Makes this core 0's controller, tells every core what it replayed, and registers this broker.
    pub(crate) async fn take_office(
        self: &Rc<Self>,
        controller: Rc<Controller>,
        replayed: Decided,
        node: &Node,
        new_leader_epochs: bool,
    ) -> Result<(), ControllerError> {
        let end_offset = controller.end_offset();
        *self.controller.borrow_mut() = Some(controller);
        self.publish_replayed(replayed).await;
        let incarnation = Uuid::from_u64_pair(host().random(), host().random());
        let registering = Command::RegisterBroker(node.registration(incarnation, end_offset));
        let Reply::RegisterBroker(registered) = self.decide(registering).await? else {
            unreachable!("a registration answers a registration")
        };
        let unfencing = Command::UnfenceBroker(node.unfence(registered?, new_leader_epochs));
        let Reply::UnfenceBroker(unfenced) = self.decide(unfencing).await? else {
            unreachable!("unfencing answers unfencing")
        };
        Ok(unfenced?)
    }

    /// Closes the metadata log.
    pub(crate) async fn leave_office(&self) {
        let controller = self.controller.borrow_mut().take();
        let Some(controller) = controller else { return };
        match controller.close().await {
            Ok(entry) => _ = self.homes[0].know(entry),
            Err(error) => {
                tracing::error!(%error, "the metadata log cannot be closed; the next start recovers it")
            }
        }
    }

    /// Has a command decided. Callable on any core; the answer comes when every core knows, and what a removed topic
    /// had is out of the way of a new one.
    pub(crate) fn decide(
        self: &Rc<Self>,
        command: Command,
    ) -> LocalFuture<'static, Result<Reply, ControllerError>> {
        self.on(0, move |shard| {
            let (shard, (promise, promised)) = (shard.clone(), promise());
            // A task of its own: whoever asked may go away or stand still, and the next command waits for this one.
            host().spawn(
                Class::Append,
                Box::pin(async move { promise.fulfil(shard.decide_in_turn(command).await) }),
            );
            Box::pin(promised)
        })
    }

    async fn decide_in_turn(self: Rc<Self>, command: Command) -> Result<Reply, ControllerError> {
        let controller = self.controller.borrow().clone().ok_or(ControllerError::Closed)?;
        // Until all cores have followed: a topic made again must not meet folders that are on their way out.
        let _turn = controller.turn().await;
        let (reply, decided) = controller.decide(command).await?;
        if let Some(decided) = decided {
            self.publish(decided).await;
        }
        Ok(reply)
    }

    async fn publish(self: &Rc<Self>, decided: Decided) {
        self.on_every_core(move |shard| {
            let removed = shard.apply(&decided);
            Box::pin(async move {
                for removed in removed {
                    removed.await;
                }
            })
        })
        .await;
    }

    /// As `publish`, of what an earlier run decided and did.
    async fn publish_replayed(self: &Rc<Self>, replayed: Decided) {
        self.on_every_core(move |shard| {
            let mut changed = Changed::default();
            for (at, record) in replayed.records.iter() {
                shard.apply_one(record, *at);
                changed.note(record);
            }
            shard.follow(&changed);
            Box::pin(std::future::ready(()))
        })
        .await;
    }

    /// Applies records to this core's image, and what they mean for its partitions. What to wait for until the folders
    /// of removed ones are out of the way.
    fn apply(self: &Rc<Self>, decided: &Decided) -> Vec<Promised<()>> {
        let (mut gone, mut changed) = (Vec::new(), Changed::default());
        for (at, record) in decided.records.iter() {
            gone.extend(self.apply_one(record, *at));
            changed.note(record);
        }
        self.follow(&changed);
        gone.into_iter().map(|partition| self.delete(partition)).collect()
    }

    /// The partitions that are no more.
    fn apply_one(self: &Rc<Self>, record: &MetadataRecord, at: i64) -> Vec<Rc<Partition>> {
        // While the image still knows them.
        let gone = match record {
            MetadataRecord::RemoveTopic(removed) => {
                let name = self.image.borrow().topics.by_id(removed.topic_id).map(|topic| topic.name.clone());
                if let Some(name) = name {
                    self.groups_lose_topic(&name, removed.topic_id);
                }
                self.take_out(removed.topic_id)
            }
            _ => Vec::new(),
        };
        if let Err(error) = self.image.borrow_mut().apply(record, at) {
            // The controller applied the same record to the same image: this cannot go on.
            panic!("metadata record at offset {}: {}", error.offset, error.reason);
        }
        gone
    }
}
