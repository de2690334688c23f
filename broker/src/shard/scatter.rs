//! One piece of work per partition, each on the core that owns it; one message per core and request.

use std::rc::Rc;

use storage::disk::LocalFuture;

use super::{PartitionId, Shard};
use crate::partition::read::Found;

/// What one piece of work runs. Its synchronous part is the ordered part.
pub(crate) type Work<W, R> = fn(&Rc<Shard>, PartitionId, W) -> LocalFuture<'static, R>;

impl Shard {
    /// Runs `run` for each partition on its owner. Results come in the order asked. Everything has
    /// begun, in order, when this returns.
    pub(crate) fn scatter<W, R>(
        self: &Rc<Self>,
        asked: Vec<(PartitionId, W)>,
        run: Work<W, R>,
    ) -> LocalFuture<'static, Vec<R>>
    where
        W: Send + 'static,
        R: Send + 'static,
    {
        let count = asked.len();
        let begun = self.begin(asked, move |shard, works| run_all(shard, works, run));
        Box::pin(gather(count, begun))
    }

    /// Sends each core its part.
    fn begin<W, R>(
        self: &Rc<Self>,
        asked: Vec<(PartitionId, W)>,
        run: impl FnOnce(&Rc<Self>, Vec<(usize, PartitionId, W)>) -> Running<R> + Copy + Send + 'static,
    ) -> Vec<Running<R>>
    where
        W: Send + 'static,
        R: Send + 'static,
    {
        let mut by_core: Vec<Vec<(usize, PartitionId, W)>> = Vec::new();
        by_core.resize_with(self.cores, Vec::new);
        for (at, (id, work)) in asked.into_iter().enumerate() {
            by_core[self.owner(id)].push((at, id, work));
        }
        let parts = by_core.into_iter().enumerate().filter(|(_, works)| !works.is_empty());
        parts.map(|(core, works)| self.on(core, move |shard| run(shard, works))).collect()
    }
}

/// One core's results with their places among those asked.
type Running<R> = LocalFuture<'static, Vec<(usize, R)>>;

async fn gather<R>(count: usize, begun: Vec<Running<R>>) -> Vec<R> {
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(count, || None);
    for core in begun {
        for (at, result) in core.await {
            results[at] = Some(result);
        }
    }
    results.into_iter().map(|result| result.expect("each piece of work has run")).collect()
}

fn run_all<W, R: 'static>(
    shard: &Rc<Shard>,
    works: Vec<(usize, PartitionId, W)>,
    run: Work<W, R>,
) -> LocalFuture<'static, Vec<(usize, R)>> {
    let running: Vec<_> = works.into_iter().map(|(at, id, work)| (at, run(shard, id, work))).collect();
    Box::pin(async move {
        let mut results = Vec::with_capacity(running.len());
        for (at, result) in running {
            results.push((at, result.await));
        }
        results
    })
}

/// As [`Work`], told how many bytes this core may still read and whether nothing has been read yet.
pub(crate) type Read<W> = fn(&Rc<Shard>, PartitionId, W, usize, bool) -> LocalFuture<'static, Found>;

impl Shard {
    /// As [`Shard::scatter`], one partition after the other on each core, within a budget of bytes per
    /// core: how a fetch fills its answer.
    pub(crate) fn scatter_reads<W: Send + 'static>(
        self: &Rc<Self>,
        asked: Vec<(PartitionId, W)>,
        bytes_max: usize,
        run: Read<W>,
    ) -> LocalFuture<'static, Vec<Found>> {
        let count = asked.len();
        let begun = self.begin(asked, move |shard, works| run_in_turn(shard, works, bytes_max, run));
        Box::pin(gather(count, begun))
    }
}

fn run_in_turn<W: 'static>(
    shard: &Rc<Shard>,
    works: Vec<(usize, PartitionId, W)>,
    bytes_max: usize,
    run: Read<W>,
) -> Running<Found> {
    let shard = shard.clone();
    Box::pin(async move {
        let mut results = Vec::with_capacity(works.len());
        let mut left = bytes_max;
        for (at, id, work) in works {
            let result = run(&shard, id, work, left, left == bytes_max).await;
            left = left.saturating_sub(result.bytes);
            results.push((at, result));
        }
        results
    })
}
