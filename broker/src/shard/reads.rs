//! One fetch's reads, on every core that owns some of its partitions. A core that has too little for the
//! fetch waits there for more, so that a fetch costs each core one message, however long it waits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use reactor::host;
use storage::disk::LocalFuture;

use super::{PartitionId, Shard, here};
use crate::partition::read::{Ask, Found};
use crate::promise::{Promise, Promised, promise};

/// One partition to read.
#[derive(Clone, Copy)]
pub(crate) struct Read {
    pub(crate) id: PartitionId,
    pub(crate) ask: Ask,
    /// None: less than nothing is asked for, which is refused where there is something to read.
    pub(crate) bytes_max: Option<usize>,
    /// The high watermark up to which the fetch knows that there is too little; -1 at first.
    pub(crate) seen: i64,
}

/// When a fetch has enough.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) bytes_min: usize,
    pub(crate) bytes_max: usize,
    pub(crate) deadline_ns: u64,
}

/// A part of a fetch, by the core that asks and a number of the fetch's own.
type Part = (usize, u64);

/// The parts that wait on this core, for this and other cores, and can be called off.
#[derive(Default)]
pub(crate) struct Waiting {
    next: Cell<u64>,
    parts: RefCell<HashMap<Part, Promise<()>>>,
}

/// What a part found, each with its place among those asked, and whether that is worth an answer.
struct PartFound {
    found: Vec<(usize, Found)>,
    is_enough: bool,
}

impl Shard {
    /// What each partition has as soon as one core's part is enough, or else at the deadline. The first
    /// partition with records gives its first batch whole. All together may be more than `bytes_max`:
    /// each core keeps to it alone.
    pub(crate) async fn read_or_wait(self: &Rc<Self>, reads: Vec<Read>, goal: Goal) -> Vec<Found> {
        let number = self.reads.next.get();
        self.reads.next.set(number + 1);
        let count = reads.len();
        let mut by_core: Vec<Vec<(usize, Read)>> = vec![Vec::new(); self.cores];
        for (at, read) in reads.into_iter().enumerate() {
            by_core[self.owner(read.id)].push((at, read));
        }
        let parts = by_core.into_iter().enumerate().filter(|(_, reads)| !reads.is_empty());
        let parts: Vec<_> = parts.collect();
        // No core knows what the others have: each says so as soon as it has anything.
        let bytes_min = if parts.len() > 1 { goal.bytes_min.min(1) } else { goal.bytes_min };
        let (goal, part) = (Goal { bytes_min, ..goal }, (self.core, number));
        let asked = parts.into_iter().map(|(core, reads)| {
            (core, self.on(core, move |shard| Box::pin(shard.clone().read_part(part, reads, goal))))
        });
        gather(count, part, asked.collect()).await
    }

    /// This core's part of a fetch.
    async fn read_part(self: Rc<Self>, part: Part, reads: Vec<(usize, Read)>, goal: Goal) -> PartFound {
        let (promise, mut called_off) = promise();
        self.reads.parts.borrow_mut().insert(part, promise);
        let mut is_last = false;
        let found = loop {
            let found = self.read_in_turn(&reads, goal.bytes_max).await;
            let is_enough = is_enough(&reads, &found, goal.bytes_min);
            let left_ns = goal.deadline_ns.saturating_sub(host().now_ns());
            if is_enough || is_last || left_ns == 0 || self.is_closing() {
                break PartFound { found, is_enough };
            }
            // What is called off is looked at once more: what came meanwhile is answered too.
            is_last = !self.grown(&found, &reads, &mut called_off, Duration::from_nanos(left_ns)).await;
        };
        self.reads.parts.borrow_mut().remove(&part);
        found
    }

    /// One partition after the other, within the budget of bytes.
    async fn read_in_turn(self: &Rc<Self>, reads: &[(usize, Read)], bytes_max: usize) -> Vec<(usize, Found)> {
        let mut left = bytes_max;
        let mut found = Vec::with_capacity(reads.len());
        for (at, read) in reads {
            let one = match self.partition(read.id) {
                Ok(partition) => {
                    let limit = read.bytes_max.map(|bytes| bytes.min(left));
                    partition.read(read.ask, limit, left == bytes_max).await
                }
                Err(error) => Found::refused(error),
            };
            left = left.saturating_sub(one.bytes);
            found.push((*at, one));
        }
        found
    }

    /// Waits until any of the partitions has more than was found; false if called off, or too late.
    async fn grown(
        self: &Rc<Self>,
        found: &[(usize, Found)],
        reads: &[(usize, Read)],
        called_off: &mut Promised<()>,
        patience: Duration,
    ) -> bool {
        let mut growing: Vec<LocalFuture<'static, ()>> = Vec::with_capacity(reads.len());
        for ((_, read), (_, found)) in reads.iter().zip(found) {
            match self.partition(read.id) {
                Ok(partition) => growing.push(partition.grown_past(found.high_watermark.max(read.seen))),
                // Gone meanwhile: the fetch has something to say.
                Err(_) => return true,
            }
        }
        let mut over = host().sleep(patience);
        poll_fn(|context| {
            if growing.iter_mut().any(|one| one.as_mut().poll(context).is_ready()) {
                return Poll::Ready(true);
            }
            let ended =
                Pin::new(&mut *called_off).poll(context).is_ready() || over.as_mut().poll(context).is_ready();
            if ended { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }

    /// The core closes: who waits is answered with what there is.
    pub(super) fn call_off_all(&self) {
        for (_, promise) in self.reads.parts.take() {
            promise.fulfil(());
        }
    }

    fn call_off(&self, part: Part) {
        let waiting = self.reads.parts.borrow_mut().remove(&part);
        if let Some(promise) = waiting {
            promise.fulfil(());
        }
    }
}

/// Whether a part has something to answer: an error, or records enough, of which some are new.
fn is_enough(reads: &[(usize, Read)], found: &[(usize, Found)], bytes_min: usize) -> bool {
    let says_more = |found: &Found| found.error.is_err() || found.diverging.is_some();
    if found.iter().any(|(_, found)| says_more(found)) {
        return true;
    }
    let bytes: usize = found.iter().map(|(_, found)| found.bytes).sum();
    let mut both = reads.iter().zip(found);
    bytes >= bytes_min && both.any(|((_, read), (_, found))| found.high_watermark > read.seen)
}

/// Waits for all parts; the first that is enough calls the others off.
async fn gather(
    count: usize,
    part: Part,
    mut asked: Vec<(usize, LocalFuture<'static, PartFound>)>,
) -> Vec<Found> {
    let mut results = vec![None; count];
    while !asked.is_empty() {
        let (at, answered) = first(&mut asked).await;
        drop(asked.swap_remove(at));
        for (place, found) in answered.found {
            results[place] = Some(found);
        }
        if answered.is_enough {
            for (core, _) in &asked {
                host().send(*core, Box::new(move || here().call_off(part)));
            }
        }
    }
    results.into_iter().map(|found| found.expect("each part answers for all it was asked")).collect()
}

/// The first part that has ended, and its place.
async fn first(asked: &mut [(usize, LocalFuture<'static, PartFound>)]) -> (usize, PartFound) {
    poll_fn(|context| {
        for (at, (_, part)) in asked.iter_mut().enumerate() {
            if let Poll::Ready(found) = part.as_mut().poll(context) {
                return Poll::Ready((at, found));
            }
        }
        Poll::Pending
    })
    .await
}
