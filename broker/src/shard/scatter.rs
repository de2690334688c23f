//! One piece of work per partition, each on the core that owns it; one message per core and request.

use std::rc::Rc;

use storage::disk::LocalFuture;

use super::{PartitionId, Shard};

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
        let mut by_core: Vec<Vec<(usize, PartitionId, W)>> = Vec::new();
        by_core.resize_with(self.cores, Vec::new);
        for (at, (id, work)) in asked.into_iter().enumerate() {
            by_core[self.owner(id)].push((at, id, work));
        }
        let parts = by_core.into_iter().enumerate().filter(|(_, works)| !works.is_empty());
        let begun = parts.map(|(core, works)| self.on(core, move |shard| run_all(shard, works, run)));
        Box::pin(gather(count, begun.collect()))
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
