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
    asked: Cell<Asked>,
}

/// Whose work was asked for since this was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    #[default]
    Nobody,
    /// One other core, which had been waiting for something to do.
    Woken(usize),
    /// This core, a core that was awake, or several.
    Others,
}

impl Asked {
    fn and(self, core: usize, woken: bool) -> Self {
        match self {
            Self::Nobody if woken => Self::Woken(core),
            Self::Woken(before) if before == core => self,
            _ => Self::Others,
        }
    }
}

impl Mailbox {
    fn expect(&self) -> (u64, Promised<Answer>) {
        let number = self.next.get();
        self.next.set(number + 1);
        let (promise, promised) = promise();
        self.waiting.borrow_mut().insert(number, promise);
        (number, promised)
    }

    pub(crate) fn take_asked(&self) -> Asked {
        self.asked.take()
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
            self.mailbox.asked.set(Asked::Others);
            return work(self);
        }
        let (number, promised) = self.mailbox.expect();
        let from = self.core;
        self.metrics.hops.add(1);
        let woken = host().send(
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
        self.mailbox.asked.set(self.mailbox.asked.get().and(core, woken));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_that_had_to_be_woken_is_told_from_all_else() {
        assert_eq!(Asked::Nobody.and(1, true), Asked::Woken(1));
        assert_eq!(Asked::Woken(1).and(1, false), Asked::Woken(1), "more for a core that was just woken");
        assert_eq!(Asked::Woken(1).and(2, true), Asked::Others);
        assert_eq!(Asked::Nobody.and(1, false), Asked::Others, "it was awake");
        assert_eq!(Asked::Others.and(1, true), Asked::Others);
    }
}
