//! What a core's groups are like, and what they have committed.

use std::collections::BTreeMap;

use cluster::groups::{Counts, Groups};

/// So many committed offsets of a core are shown with their lag; who keeps more asks for them by API.
const SHOWN_MAX: usize = 10_000;

/// One core's groups at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupMetrics {
    /// By type and state, as ListGroups names them.
    pub(crate) groups: BTreeMap<(&'static str, &'static str), usize>,
    pub(crate) members: usize,
    pub(crate) offsets: usize,
    pub(crate) rebalances: u64,
    pub(crate) offsets_expired: u64,
    pub(crate) committed: Vec<Committed>,
    /// Partitions of groups that are still read.
    pub(crate) loading: usize,
    /// Requests that wait for other members, or for the clock.
    pub(crate) parked: usize,
}

/// Where a group goes on reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) group: Box<str>,
    pub(crate) topic: Box<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl GroupMetrics {
    /// Adds those of one coordinator.
    pub(crate) fn add(&mut self, groups: &Groups) {
        let Counts { groups: by_state, members, offsets, tally } = groups.counts();
        for (kind, count) in by_state {
            *self.groups.entry(kind).or_default() += count;
        }
        self.members += members;
        self.offsets += offsets;
        self.rebalances += tally.classic_rebalances + tally.consumer_rebalances;
        self.offsets_expired += tally.offsets_expired;
        let room = SHOWN_MAX - self.committed.len();
        self.committed.extend(groups.committed().take(room).map(|it| Committed {
            group: it.group.into(),
            topic: it.topic.into(),
            partition: it.partition,
            offset: it.offset,
        }));
    }
}
