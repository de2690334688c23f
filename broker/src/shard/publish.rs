//! What core 0 decides becomes known to every core: each applies the same records, in the same order,
//! to its own image. A command is answered when all have.

use std::rc::Rc;

use cluster::controller::{Command, Reply};
use protocol::ids::Uuid;
use reactor::host;
use storage::disk::LocalFuture;

use super::Shard;
use crate::controller::{Controller, ControllerError, Decided, Node};

impl Shard {
    /// Makes this core 0's controller, tells every core what it replayed, and registers this broker.
    pub(crate) async fn take_office(
        self: &Rc<Self>,
        controller: Rc<Controller>,
        replayed: Decided,
        node: &Node,
    ) -> Result<(), ControllerError> {
        let end_offset = controller.end_offset();
        *self.controller.borrow_mut() = Some(controller);
        self.publish(replayed).await;
        let incarnation = Uuid::from_u64_pair(host().random(), host().random());
        let registering = Command::RegisterBroker(node.registration(incarnation, end_offset));
        let Reply::RegisterBroker(registered) = self.decide(registering).await? else {
            unreachable!("a registration answers a registration")
        };
        let unfencing = Command::UnfenceBroker(node.unfence(registered?));
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

    /// Has a command decided. Callable on any core; the answer comes when every core knows.
    pub(crate) fn decide(
        self: &Rc<Self>,
        command: Command,
    ) -> LocalFuture<'static, Result<Reply, ControllerError>> {
        self.on(0, move |shard| {
            let shard = shard.clone();
            Box::pin(async move {
                let controller = shard.controller.borrow().clone().expect("core 0 has taken office");
                let (reply, decided) = controller.submit(command).await?;
                if let Some(decided) = decided {
                    shard.publish(decided).await;
                }
                Ok(reply)
            })
        })
    }

    async fn publish(self: &Rc<Self>, decided: Decided) {
        self.on_every_core(move |shard| {
            shard.apply(&decided);
            Box::pin(std::future::ready(()))
        })
        .await;
    }

    /// Applies records to this core's image, and what they mean for its partitions.
    fn apply(self: &Rc<Self>, decided: &Decided) {
        for (at, record) in decided.records.iter() {
            if let Err(error) = self.image.borrow_mut().apply(record, *at) {
                // The controller applied the same record to the same image: this cannot go on.
                panic!("metadata record at offset {}: {}", error.offset, error.reason);
            }
            self.follow(record);
        }
    }
}
