//! Answers of one connection, in the order of its requests, and how much of them may wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use storage::disk::LocalFuture;

use crate::api::{Reason, Reply, Response};
use crate::metrics::Timing;

/// Requests of one connection that may be under way at once.
const PIPELINE_MAX: usize = 128;
/// Request bytes held and answer bytes not yet written, per connection.
const QUEUED_BYTES_MAX: usize = 64 << 20;
/// One gather write takes at most so many pieces and about so many bytes.
const WRITE_PARTS_MAX: usize = 256;
const WRITE_BYTES_MAX: usize = 1 << 20;

enum Entry {
    Ready(Response),
    Waiting(LocalFuture<'static, Reply>),
}

struct Queued {
    entry: Entry,
    held_bytes: usize,
    timing: Timing,
}

/// Between reading requests and writing answers. Writing is polled whenever reading was, and so is not woken by it.
#[derive(Default)]
pub(crate) struct Replies {
    queue: RefCell<VecDeque<Queued>>,
    /// Bytes of requests whose answer is not out yet, and of answers that are ready.
    held_bytes: Cell<usize>,
    ended: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

/// What the writing side does next.
pub(crate) enum Next {
    Write(Batch),
    /// Nothing more will come.
    Done(Option<Reason>),
}

/// Answers that go out with one write.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) timings: Vec<(Timing, usize)>,
    held_bytes: usize,
}

impl Batch {
    pub(crate) fn bytes(&self) -> usize {
        self.timings.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Replies {
    /// Waits until another request may be handled: back-pressure instead of growth. False if none will be.
    pub(crate) async fn has_room(&self) -> bool {
        poll_fn(|context| {
            let full = self.queue.borrow().len() >= PIPELINE_MAX || self.held_bytes.get() >= QUEUED_BYTES_MAX;
            if !full || self.ended.get() {
                return Poll::Ready(!self.ended.get());
            }
            *self.reader.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// False if the connection is to be closed: nothing after this request is handled.
    pub(crate) fn push(&self, reply: Reply, request_bytes: usize, timing: Timing) -> bool {
        let closes = matches!(reply, Reply::Close(_));
        let (entry, held_bytes) = match reply {
            Reply::Nothing => return true,
            Reply::Now(response) => {
                let bytes = response.bytes();
                (Entry::Ready(response), bytes)
            }
            Reply::Later(waiting) => (Entry::Waiting(waiting), request_bytes),
            // Answers before this one still go out.
            Reply::Close(reason) => (Entry::Waiting(Box::pin(async move { Reply::Close(reason) })), 0),
        };
        self.held_bytes.set(self.held_bytes.get() + held_bytes);
        self.queue.borrow_mut().push_back(Queued { entry, held_bytes, timing });
        !closes
    }

    /// Requests whose answer is not out yet.
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// The reading side is done; the writing one finishes what is queued.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        wake(&self.reader);
    }

    /// Waits until every answer is out, or writing has ended.
    pub(crate) async fn all_out(&self) {
        poll_fn(|context| {
            if self.ended.get() || (self.queue.borrow().is_empty() && self.held_bytes.get() == 0) {
                return Poll::Ready(());
            }
            *self.reader.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) async fn next(&self) -> Next {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.parts.len() < WRITE_PARTS_MAX && bytes < WRITE_BYTES_MAX {
            // Taken out while it is polled: a handler's future may come back to this queue.
            let Some(queued) = self.queue.borrow_mut().pop_front() else { break };
            let Queued { entry, held_bytes, timing } = queued;
            let response = match entry {
                Entry::Ready(response) => response,
                Entry::Waiting(mut waiting) => match waiting.as_mut().poll(context) {
                    Poll::Pending => {
                        let entry = Entry::Waiting(waiting);
                        self.queue.borrow_mut().push_front(Queued { entry, held_bytes, timing });
                        break;
                    }
                    Poll::Ready(Reply::Now(response)) => response,
                    Poll::Ready(Reply::Close(reason)) if batch.parts.is_empty() => {
                        return Poll::Ready(Next::Done(Some(reason)));
                    }
                    Poll::Ready(Reply::Close(reason)) => {
                        let entry = Entry::Waiting(Box::pin(async move { Reply::Close(reason) }));
                        self.queue.borrow_mut().push_front(Queued { entry, held_bytes, timing });
                        break;
                    }
                    Poll::Ready(Reply::Nothing) => {
                        self.released(held_bytes);
                        continue;
                    }
                    Poll::Ready(Reply::Later(_)) => unreachable!("a waiting part resolves to an answer"),
                },
            };
            let answer_bytes = response.bytes();
            bytes += answer_bytes;
            batch.held_bytes += held_bytes;
            batch.parts.extend(response.parts);
            batch.timings.push((timing, answer_bytes));
        }
        if !batch.parts.is_empty() {
            return Poll::Ready(Next::Write(batch));
        }
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            if self.ended.get() {
                return Poll::Ready(Next::Done(None));
            }
            // Most connections are quiet most of the time.
            *queue = VecDeque::new();
        }
        Poll::Pending
    }

    /// The batch is out: its memory counts no more.
    pub(crate) fn written(&self, batch: &Batch) {
        self.released(batch.held_bytes);
    }

    fn released(&self, bytes: usize) {
        self.held_bytes.set(self.held_bytes.get() - bytes);
        wake(&self.reader);
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    let waker = slot.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}
