//! Producer ids: the controller gives out blocks, each core its ids one by one from its own.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use cluster::controller::{AllocateProducerIds, Command, Reply};
use reactor::host;
use storage::disk::Class;

use super::Shard;
use crate::controller::ControllerError;
use crate::promise::{Promise, promise};

/// One core's block; empty at first.
#[derive(Default)]
pub(crate) struct ProducerIds {
    block: RefCell<Range<i64>>,
    asking: Cell<bool>,
    waiting: RefCell<Vec<Promise<Result<(), ControllerError>>>>,
}

impl Shard {
    fn asking_broker(&self) -> AllocateProducerIds {
        let broker_id = self.config.node_id;
        let broker_epoch = self.image.borrow().brokers.get(&broker_id).map_or(-1, |broker| broker.epoch);
        AllocateProducerIds { broker_id, broker_epoch }
    }

    /// An id that no producer has had.
    pub(crate) async fn next_producer_id(self: &Rc<Self>) -> Result<i64, ControllerError> {
        loop {
            if let Some(id) = self.producer_ids.block.borrow_mut().next() {
                return Ok(id);
            }
            let (promise, promised) = promise();
            self.producer_ids.waiting.borrow_mut().push(promise);
            if !self.producer_ids.asking.replace(true) {
                // A task of its own: the client that asked first may go away.
                let shard = self.clone();
                host().spawn(Class::Append, Box::pin(async move { shard.ask_for_ids().await }));
            }
            promised.await?;
        }
    }

    async fn ask_for_ids(self: Rc<Self>) {
        let given = self.decide(Command::AllocateProducerIds(self.asking_broker())).await;
        let outcome = given.and_then(|reply| match reply {
            Reply::AllocateProducerIds(Ok(block)) => {
                *self.producer_ids.block.borrow_mut() = block;
                Ok(())
            }
            Reply::AllocateProducerIds(Err(refused)) => Err(refused.into()),
            other => unreachable!("ids were asked for, the answer is {other:?}"),
        });
        self.producer_ids.asking.set(false);
        for waiting in self.producer_ids.waiting.take() {
            waiting.fulfil(outcome.clone());
        }
    }
}
