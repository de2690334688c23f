//! Retention: every `log.retention.check.interval.ms` each log of this core is held against its topic's limits.
//!
//! A log that nobody has opened is judged by what the catalogue says of it, and opened only if something has to go.
//! The rules are `storage::retention`'s.

use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use protocol::ids::Uuid;
use reactor::host;
use storage::catalogue::Entry;
use storage::data_dir::list_partitions;
use storage::disk::Class;
use storage::log::SegmentInfo;
use storage::retention::due;

use super::{PartitionId, Shard};
use crate::partition::home::Home;

/// Logs judged before others get their turn.
const LOGS_AT_ONCE: usize = 16;

pub(super) fn start(shard: &Rc<Shard>) {
    let shard = shard.clone();
    host().spawn(
        Class::Background,
        Box::pin(async move {
            host().sleep(Duration::from_millis(shard.config.log_initial_task_delay_ms)).await;
            for home in shard.homes.iter().filter(|home| !home.knows_all.get()) {
                open_unknown(&shard, home).await;
            }
            while !shard.is_closing() {
                for home in &shard.homes {
                    check(&shard, home).await;
                }
                host().sleep(Duration::from_millis(shard.config.log_retention_check_interval_ms)).await;
            }
        }),
    );
}

/// Goes through the logs of a directory in the order of their folders.
async fn check(shard: &Rc<Shard>, home: &Rc<Home>) {
    let mut folder = None;
    loop {
        let (overdue, last) = overdue_after(shard, home, folder.as_deref());
        for id in overdue {
            let Ok(partition) = shard.partition(id) else { continue };
            partition.expire().await;
        }
        if last.is_none() || shard.is_closing() {
            return;
        }
        folder = last;
        host().breathe().await;
    }
}

/// Which of the next few logs have something to let go, and the last folder that was looked at.
fn overdue_after(shard: &Shard, home: &Home, folder: Option<&str>) -> (Vec<PartitionId>, Option<String>) {
    let known = home.known.borrow();
    let from = folder.map_or(Bound::Unbounded, Bound::Excluded);
    let (mut overdue, mut last) = (Vec::new(), None);
    for (folder, entry) in known.range::<str, _>((from, Bound::Unbounded)).take(LOGS_AT_ONCE) {
        let id = PartitionId { topic: Uuid(entry.topic_id), index: entry.partition };
        if is_overdue(shard, id, entry) {
            overdue.push(id);
        }
        last = Some(folder);
    }
    (overdue, last.cloned())
}

fn is_overdue(shard: &Shard, id: PartitionId, entry: &Entry) -> bool {
    let Some(settings) = shard.topic_settings(id.topic) else { return false };
    let log = shard.partitions.borrow().get(&id).and_then(|partition| partition.log());
    let (segments, start_offset, durable_offset) = match log {
        Some(log) => (log.segments(), log.start_offset(), log.durable_offset()),
        None => {
            let segments: Vec<SegmentInfo> = entry.segment_infos().collect();
            (segments, entry.log_start_offset, entry.recovery.offset)
        }
    };
    due(&segments, start_offset, durable_offset, &settings.limits(), host().wall_ms()).segments > 0
}

/// After a stop that was not clean, a log may lie there that no catalogue tells of. Once it is open, one will.
async fn open_unknown(shard: &Rc<Shard>, home: &Rc<Home>) {
    let folders = match list_partitions(&*home.disk).await {
        Ok(listing) => listing.partitions,
        Err(error) => return tracing::warn!(%error, "data directory cannot be listed"),
    };
    for (name, folder) in folders {
        if home.known.borrow().contains_key(&name) {
            continue;
        }
        let Ok(id) = shard.partition_id(&folder.topic, folder.partition) else { continue };
        if shard.owner(id) != shard.core {
            continue;
        }
        if let Ok(partition) = shard.partition(id)
            && partition.is_at(home)
        {
            // If it cannot be opened, that was said.
            let _ = partition.opened().await;
            host().breathe().await;
        }
    }
}
