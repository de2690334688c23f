//! Waiting for partitions to grow, wherever they live: what a fetch without enough data does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use reactor::host;
use storage::disk::LocalFuture;

use super::{PartitionId, Shard};
use crate::promise::{Promise, promise};

/// A watch, by the core that wants it and a number of its own.
type Watch = (usize, u64);

/// Watches set on this core, for this and other cores, that can be called off.
#[derive(Default)]
pub(crate) struct Watches {
    next: Cell<u64>,
    set: RefCell<HashMap<Watch, Promise<()>>>,
}

impl Shard {
    /// Waits until the high watermark of any of the partitions is past its offset, at most `patience`.
    pub(crate) async fn wait_for_growth(
        self: &Rc<Self>,
        offsets: Vec<(PartitionId, i64)>,
        patience: Duration,
    ) {
        let number = self.watches.next.get();
        self.watches.next.set(number + 1);
        let watch = (self.core, number);
        let mut by_core: Vec<Vec<(PartitionId, i64)>> = vec![Vec::new(); self.cores];
        for (id, offset) in offsets {
            by_core[self.owner(id)].push((id, offset));
        }
        let mut asked = Vec::new();
        let mut waiting = vec![host().sleep(patience)];
        for (core, offsets) in by_core.into_iter().enumerate().filter(|(_, offsets)| !offsets.is_empty()) {
            asked.push(core);
            waiting.push(self.on(core, move |shard| shard.watch(watch, &offsets, patience)));
        }
        any(waiting).await;
        for core in asked.into_iter().filter(|core| *core != self.core) {
            host().send(core, Box::new(move || super::here().call_off(watch)));
        }
    }

    fn watch(
        self: &Rc<Self>,
        watch: Watch,
        offsets: &[(PartitionId, i64)],
        patience: Duration,
    ) -> LocalFuture<'static, ()> {
        let mut waiting: Vec<LocalFuture<'static, ()>> = Vec::with_capacity(offsets.len() + 2);
        for (id, offset) in offsets {
            match self.partition(*id) {
                Ok(partition) => waiting.push(partition.grown_past(*offset)),
                // Gone meanwhile: the fetch has something to say.
                Err(_) => return Box::pin(std::future::ready(())),
            }
        }
        if watch.0 == self.core {
            return Box::pin(any(waiting));
        }
        let (promise, called_off) = promise();
        self.watches.set.borrow_mut().insert(watch, promise);
        waiting.push(Box::pin(called_off));
        waiting.push(host().sleep(patience));
        let shard = self.clone();
        Box::pin(async move {
            any(waiting).await;
            shard.watches.set.borrow_mut().remove(&watch);
        })
    }

    fn call_off(&self, watch: Watch) {
        let set = self.watches.set.borrow_mut().remove(&watch);
        if let Some(promise) = set {
            promise.fulfil(());
        }
    }
}

/// Resolves with the first of them.
async fn any(mut waiting: Vec<LocalFuture<'static, ()>>) {
    poll_fn(|context| {
        let ready = waiting.iter_mut().any(|one| one.as_mut().poll(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
