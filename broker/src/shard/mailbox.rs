//! Work for another core's partition is a message: `shard.on(owner, ...)`.
//!
//! The work's synchronous part runs on the owner in the order sent (per pair of cores); its future is
//! finished there, and the answer comes back as another message.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use reactor::host;
use storage::disk::{Class, LocalFuture};

use super::{Shard, here};
use crate::promise::{Promise, Promised, promise};

type Answer = Box<dyn Any + Send>;

/// Answers this core still waits for, by the number it sent along.
#[derive(Default)]
pub(crate) struct Mailbox {
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Promise<Answer>>>,
}

impl Mailbox {
    fn expect(&self) -> (u64, Promised<Answer>) {
        let number = self.next.get();
        self.next.set(number + 1);
        let (promise, promised) = promise();
        self.waiting.borrow_mut().insert(number, promise);
        (number, promised)
    }

    fn deliver(&self, number: u64, answer: Answer) {
        let promise = self.waiting.borrow_mut().remove(&number);
        promise.expect("each answer is awaited once").fulfil(answer);
    }
}

impl Shard {
    /// Runs `work` on `core` and resolves to what it gives. On this very core it starts at once.
    pub(crate) fn on<R, F>(self: &Rc<Self>, core: usize, work: F) -> LocalFuture<'static, R>
    where
        R: Send + 'static,
        F: FnOnce(&Rc<Self>) -> LocalFuture<'static, R> + Send + 'static,
    {
        if core == self.core {
            return work(self);
        }
        let (number, promised) = self.mailbox.expect();
        let from = self.core;
        self.metrics.hops.add(1);
        host().send(
            core,
            Box::new(move || {
                let running = work(&here());
                host().spawn(
                    Class::Append,
                    Box::pin(async move {
                        let answer: Answer = Box::new(running.await);
                        host().send(from, Box::new(move || here().mailbox.deliver(number, answer)));
                    }),
                );
            }),
        );
        Box::pin(async move { *promised.await.downcast::<R>().expect("the work's own answer") })
    }

    /// Runs `work` on every core and waits until all have.
    pub(crate) async fn on_every_core<R, F>(self: &Rc<Self>, work: F) -> Vec<R>
    where
        R: Send + 'static,
        F: Fn(&Rc<Self>) -> LocalFuture<'static, R> + Clone + Send + 'static,
    {
        let running: Vec<_> = (0..self.cores).map(|core| self.on(core, work.clone())).collect();
        let mut answers = Vec::with_capacity(running.len());
        for answer in running {
            answers.push(answer.await);
        }
        answers
    }
}
