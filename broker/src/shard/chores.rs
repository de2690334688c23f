//! What a core does on its own: closes idle connections, watches the disk's room, expires producers,
//! writes checkpoints. Each in small steps, at low priority.

use std::rc::Rc;
use std::time::Duration;

use reactor::host;
use storage::disk::Class;

use super::Shard;
use crate::metrics::{Snapshot, Value};

const SPACE_EVERY: Duration = Duration::from_millis(500);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// How soon after a recovery, so that what was read then is not read at the next start too.
const RECOVERED_EVERY: Duration = Duration::from_millis(200);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
const IDLE_EVERY: Duration = Duration::from_secs(1);
const STALLED_EVERY: Duration = Duration::from_millis(500);

/// Starts them; they end with the shard.
pub(crate) fn start(shard: &Rc<Shard>) {
    watch_space(shard);
    every(shard, SPACE_EVERY, |shard| Box::pin(async move { watch_space(&shard) }));
    every(shard, EXPIRE_EVERY, |shard| Box::pin(async move { expire_producers(&shard) }));
    every(shard, IDLE_EVERY, |shard| Box::pin(async move { close_idle(&shard) }));
    every(shard, STALLED_EVERY, |shard| Box::pin(async move { close_stalled(&shard) }));
    super::retention::start(shard);
    super::cleaning::start(shard);
    every(shard, RECOVERED_EVERY, |shard| Box::pin(async move { checkpoint(&shard).await }));
}

fn every(
    shard: &Rc<Shard>,
    period: Duration,
    chore: fn(Rc<Shard>) -> storage::disk::LocalFuture<'static, ()>,
) {
    let shard = shard.clone();
    host().spawn(
        Class::Background,
        Box::pin(async move {
            while !shard.is_closing() {
                host().sleep(period).await;
                chore(shard.clone()).await;
            }
        }),
    );
}

/// One at a time: two would write the same file.
async fn checkpoint(shard: &Rc<Shard>) {
    let now_ns = host().now_ns();
    let is_due = now_ns - shard.checkpointed_ns.get() >= CHECKPOINT_EVERY.as_nanos() as u64;
    let mut has_recovered = false;
    for home in &shard.homes {
        has_recovered |= home.recovered.take();
    }
    if is_due || has_recovered {
        shard.checkpointed_ns.set(now_ns);
        shard.checkpoint().await;
    }
}

/// Keeps a reserve: under it produce is refused with a retriable error, all else goes on.
fn watch_space(shard: &Shard) {
    for home in &shard.homes {
        match home.disk.space() {
            Ok(space) => {
                let is_full = space.free_bytes < shard.config.reserve_bytes;
                if home.is_full.replace(is_full) != is_full {
                    tracing::warn!(
                        free_bytes = space.free_bytes,
                        is_full,
                        "room on the data directory's disk"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "free space cannot be asked for"),
        }
    }
}

/// Forgets idempotent producers that were silent for producer.id.expiration.ms.
fn expire_producers(shard: &Shard) {
    let now_ms = host().wall_ms();
    for log in shard.partitions.borrow().values().filter_map(|partition| partition.log()) {
        log.expire_producers(now_ms);
    }
}

fn close_idle(shard: &Shard) {
    let idle_max_ns = shard.config.connections_max_idle_ms.max(0) as u64 * 1_000_000;
    let now_ns = host().now_ns();
    if idle_max_ns > 0 && now_ns > idle_max_ns {
        shard.connections.close_idle(now_ns - idle_max_ns);
    }
}

fn close_stalled(shard: &Shard) {
    shard.connections.forget_left_waiting(host().now_ns());
    let stalled = shard.read_budget.stalled(host().now_ns());
    if !stalled.is_empty() {
        tracing::warn!(
            connections = stalled.len(),
            "closed: their unfinished requests fill queued.max.request.bytes"
        );
        shard.connections.close(&stalled);
    }
}

/// A core's metrics, with what is counted at the moment of asking.
pub(crate) fn measure(shard: &Shard) -> Snapshot {
    let mut snapshot = shard.metrics.snapshot();
    let open = shard.partitions.borrow().values().filter_map(|partition| partition.log()).collect::<Vec<_>>();
    let log_bytes = open.iter().map(|log| log.size_bytes()).sum();
    let load = host().load();
    let groups = shard.measure_groups();
    let committed: Vec<_> =
        shard.homes.iter().filter_map(|home| Some(home.commit_log.borrow().as_ref()?.written())).collect();
    snapshot.values.extend([
        Value::gauge("group_members", "Members of groups that live on this core", groups.members as u64),
        Value::gauge("group_offsets", "Offsets that groups have committed", groups.offsets as u64),
        Value::count("group_rebalances", "Rebalances of groups", groups.rebalances),
        Value::count(
            "group_offsets_expired",
            "Committed offsets that were kept long enough",
            groups.offsets_expired,
        ),
        Value::gauge(
            "group_requests_parked",
            "Requests that wait for other members of their group",
            groups.parked as u64,
        ),
        Value::gauge(
            "group_partitions_loading",
            "Partitions of __consumer_offsets that are being read",
            groups.loading as u64,
        ),
        Value::count(
            "commit_log_writes",
            "Durable writes to commit logs",
            committed.iter().map(|written| written.rounds).sum(),
        ),
        Value::count(
            "commit_log_flushes",
            "Flushes of logs that went with those writes",
            committed.iter().map(|written| written.frames).sum(),
        ),
        Value::count(
            "commit_log_written_bytes",
            "Bytes written to commit logs, in whole blocks",
            committed.iter().map(|written| written.bytes).sum(),
        ),
        Value::gauge("mailbox_jobs", "Jobs sent to this core that have not run", load.mailbox as u64),
        Value::gauge("disk_transfers", "File reads and writes under way", load.transfers as u64),
        Value::gauge(
            "disk_transfers_waiting",
            "File reads and writes that wait for their turn",
            load.transfers_waiting as u64,
        ),
        Value::gauge(
            "fetches_waiting",
            "Fetches, by cores asked, that wait for records",
            shard.reads.len() as u64,
        ),
        Value::gauge("connections", "Open connections", shard.connections.len() as u64),
        Value::gauge("open_logs", "Logs that are open", open.len() as u64),
        Value::gauge("log_bytes", "Bytes of the open logs", log_bytes),
        Value::gauge(
            "disk_full",
            "1 while appends are refused for want of room",
            u64::from(shard.homes.iter().any(|home| home.is_full.get())),
        ),
    ]);
    snapshot.groups = groups;
    snapshot.values.extend(shard.cleaning.measure());
    snapshot
}
