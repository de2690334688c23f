//! One fetch's reads, on every core that owns some of its partitions. A core that has too little for the
//! fetch waits there for more, so that a fetch costs each core one message, however long it waits; and it
//! goes on waiting for the client's next fetch when another core had enough first (`asked.rs`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use reactor::host;
use storage::disk::LocalFuture;

use self::asked::AskedPart;
use super::{PartitionId, Shard};
use crate::partition::read::{Ask, Found};
use crate::promise::{Promise, Promised, promise};

mod asked;

pub(crate) use asked::LeftWaiting;

/// One partition to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A part of a fetch, by the core that asks and a number of its own.
type Part = (usize, u64);

/// The parts that wait on this core, for this and other cores, and can be called off.
#[derive(Default)]
pub(crate) struct Waiting {
    next: Cell<u64>,
    parts: RefCell<HashMap<Part, Promise<()>>>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.parts.borrow().len()
    }

    /// For a part that this core asks for.
    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }
}

/// A part as it is known on its core, for as long as it lives; it may be given up with the connection that asked.
struct Entry {
    shard: Rc<Shard>,
    part: Part,
    called_off: Promised<()>,
}

impl Entry {
    fn new(shard: &Rc<Shard>, part: Part) -> Self {
        let (promise, called_off) = promise();
        shard.reads.parts.borrow_mut().insert(part, promise);
        Self { shard: shard.clone(), part, called_off }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shard.reads.parts.borrow_mut().remove(&self.part);
    }
}

/// What a part found of each partition it was asked for, and whether that is worth an answer.
struct PartFound {
    found: Vec<Found>,
    is_enough: bool,
}

impl Shard {
    /// What each partition has as soon as one core's part is enough, or else at the deadline. The first
    /// partition with records gives its first batch whole. All together may be more than `bytes_max`:
    /// each core keeps to it alone.
    ///
    /// No partition is named twice.
    pub(crate) async fn read_or_wait(
        self: &Rc<Self>,
        reads: &[Read],
        goal: Goal,
        left: &LeftWaiting,
    ) -> Vec<Found> {
        if reads.is_empty() {
            return Vec::new();
        }
        let mut by_core: Vec<(Vec<usize>, Vec<Read>)> = vec![(Vec::new(), Vec::new()); self.cores];
        for (at, read) in reads.iter().enumerate() {
            let (places, reads) = &mut by_core[self.owner(read.id)];
            places.push(at);
            reads.push(*read);
        }
        let involved = by_core.iter().filter(|(places, _)| !places.is_empty()).count();
        // No core knows what the others have: each says so as soon as it has anything.
        let bytes_min = if involved > 1 { goal.bytes_min.min(1) } else { goal.bytes_min };
        let goal = Goal { bytes_min, ..goal };
        let mut before = left.take();
        let mut places = Vec::with_capacity(involved);
        let mut asked = Asking(Vec::with_capacity(involved));
        for (core, (at, reads)) in by_core.into_iter().enumerate().filter(|(_, (at, _))| !at.is_empty()) {
            places.push(at);
            asked.0.push(AskedPart::begin(self, core, reads, goal, before.remove(&core)));
        }
        // Of cores that the client asks no more.
        before.into_values().for_each(AskedPart::stop);
        let found = gather(self, &mut asked.0, goal, left).await;
        let mut asked = std::mem::take(&mut asked.0);
        asked.retain(|part| part.is_elsewhere());
        left.leave(asked, host().now_ns());
        let mut results = vec![None; reads.len()];
        for (at, found) in places.into_iter().flatten().zip(found.into_iter().flatten()) {
            results[at] = Some(found);
        }
        results.into_iter().map(|found| found.expect("each part answers for all it was asked")).collect()
    }

    /// This core's part of a fetch. It can be called off from now on, by the very next message.
    fn read_part(
        self: &Rc<Self>,
        part: Part,
        reads: Vec<Read>,
        goal: Goal,
    ) -> LocalFuture<'static, PartFound> {
        let entry = Entry::new(self, part);
        Box::pin(self.clone().read_entered(entry, reads, goal))
    }

    async fn read_entered(self: Rc<Self>, mut entry: Entry, reads: Vec<Read>, goal: Goal) -> PartFound {
        let mut is_last = false;
        loop {
            let found = self.read_in_turn(&reads, goal.bytes_max).await;
            let is_enough = is_enough(&reads, &found, goal.bytes_min);
            let left_ns = goal.deadline_ns.saturating_sub(host().now_ns());
            if is_enough || is_last || left_ns == 0 || self.is_closing() {
                return PartFound { found, is_enough };
            }
            // What is called off is looked at once more: what came meanwhile is answered too.
            is_last = !self.grown(&found, &reads, &mut entry.called_off, Duration::from_nanos(left_ns)).await;
        }
    }

    /// One partition after the other, within the budget of bytes.
    async fn read_in_turn(self: &Rc<Self>, reads: &[Read], bytes_max: usize) -> Vec<Found> {
        let mut left = bytes_max;
        let mut found = Vec::with_capacity(reads.len());
        for read in reads {
            let one = match self.partition(read.id) {
                Ok(partition) => {
                    let limit = read.bytes_max.map(|bytes| bytes.min(left));
                    partition.read(read.ask, limit, left == bytes_max).await
                }
                Err(error) => Found::refused(error),
            };
            left = left.saturating_sub(one.bytes);
            found.push(one);
        }
        found
    }

    /// Waits until any of the partitions has more than was found; false if called off, or too late.
    async fn grown(
        self: &Rc<Self>,
        found: &[Found],
        reads: &[Read],
        called_off: &mut Promised<()>,
        patience: Duration,
    ) -> bool {
        let mut growing: Vec<LocalFuture<'static, ()>> = Vec::with_capacity(reads.len());
        for (read, found) in reads.iter().zip(found) {
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

/// The parts of a fetch under way. A fetch may be given up with its connection; then so are they, since how long they
/// would wait is the client's to say.
struct Asking(Vec<AskedPart>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.iter().for_each(AskedPart::call_off);
    }
}

/// Whether a part has something to answer: an error, or records enough, of which some are new.
fn is_enough(reads: &[Read], found: &[Found], bytes_min: usize) -> bool {
    let says_more = |found: &Found| found.error.is_err() || found.diverging.is_some();
    if found.iter().any(says_more) {
        return true;
    }
    let bytes: usize = found.iter().map(|found| found.bytes).sum();
    bytes >= bytes_min && reads.iter().zip(found).any(|(read, found)| found.high_watermark > read.seen)
}

/// What each part found, as soon as one has enough or the time is over. Of the others those on other cores go
/// on waiting if it is known that there was nothing; the rest is called off and looked at once more.
async fn gather(
    shard: &Rc<Shard>,
    asked: &mut [AskedPart],
    goal: Goal,
    left: &LeftWaiting,
) -> Vec<Vec<Found>> {
    let mut found: Vec<Option<Vec<Found>>> = vec![None; asked.len()];
    let mut has_waited = false;
    while let Some((at, answered)) = first(asked, &mut has_waited, left).await {
        let is_over = answered.is_enough || host().now_ns() >= goal.deadline_ns || shard.is_closing();
        if is_over {
            found[at] = Some(answered.found);
            break;
        }
        // It had begun to wait for an earlier fetch, whose time is over.
        asked[at].ask(shard, goal);
    }
    for (part, found) in asked.iter_mut().zip(&mut found).filter(|(_, found)| found.is_none()) {
        *found = match poll_once(part).await {
            Some(answered) => Some(answered.found),
            None => part.nothing_new(has_waited),
        };
        if found.is_none() {
            part.call_off();
        }
    }
    let mut all = Vec::with_capacity(found.len());
    for (part, found) in asked.iter_mut().zip(found) {
        all.push(match found {
            Some(found) => found,
            None => poll_fn(|context| part.poll(context)).await.found,
        });
    }
    all
}

/// What has come already.
async fn poll_once(part: &mut AskedPart) -> Option<PartFound> {
    poll_fn(|context| match part.poll(context) {
        Poll::Ready(found) => Poll::Ready(Some(found)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The first part that has ended, and its place; notes if it had to be waited for. None: the client is gone.
async fn first(
    asked: &mut [AskedPart],
    has_waited: &mut bool,
    left: &LeftWaiting,
) -> Option<(usize, PartFound)> {
    poll_fn(|context| {
        for (at, part) in asked.iter_mut().enumerate() {
            if let Poll::Ready(found) = part.poll(context) {
                return Poll::Ready(Some((at, found)));
            }
        }
        if left.poll_gone(context) {
            return Poll::Ready(None);
        }
        *has_waited = true;
        Poll::Pending
    })
    .await
}
