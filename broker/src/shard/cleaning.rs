//! Compaction: one log of this core after the other, the one with the largest dirty share first.
//!
//! `log.cleaner.*` say how much memory, how many bytes a second and how long a rest; they are shared out among the
//! cores. They may change at any time: a rest ends then, and a compaction that is under way goes on at the new pace,
//! with the memory that it began with. A log that nobody has opened is judged by what the catalogue says of it. The rules are
//! `storage::compaction`'s.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::ops::Bound;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use protocol::ids::Uuid;
use reactor::host;
use storage::Error;
use storage::catalogue::Entry;
use storage::checkpoint::{PartitionOffset, parse_offsets, print_offsets, read_whole, write_atomically};
use storage::compaction::{Cleanable, Compacted, Means, Task};
use storage::disk::Class;
use storage::format::CLEANER_OFFSETS;
use storage::log::LogDir;

use super::{PartitionId, Shard};
use crate::config::LogCleaner;
use crate::metrics::Value;
use crate::partition::Partition;
use crate::partition::home::Home;
use crate::partition::settings::TopicSettings;
use crate::promise::{Promise, promise};

/// Logs judged before others get their turn.
const LOGS_AT_ONCE: usize = 16;
/// How soon after a compaction the checkpoint files say so.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// A line a partition.
const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

/// What a core knows of its own compactions.
pub(crate) struct Cleaning {
    /// What holds now.
    settings: Cell<LogCleaner>,
    /// The one who compacts, where he rests or goes slowly.
    resting: RefCell<Option<Promise<()>>>,
    /// Logs that could not be compacted. Not tried again before the next start.
    failed: RefCell<BTreeSet<PartitionId>>,
    /// Of the dirtiest log, as of the last look.
    dirty_ratio_max: Cell<f64>,
    /// Core 0: some core has compacted something since the checkpoint files were written.
    is_ahead: Cell<bool>,
}

impl Cleaning {
    pub(super) fn new(settings: LogCleaner) -> Self {
        Self {
            settings: Cell::new(settings),
            resting: RefCell::default(),
            failed: RefCell::default(),
            dirty_ratio_max: Cell::default(),
            is_ahead: Cell::default(),
        }
    }

    /// From now on these hold.
    pub(super) fn follow(&self, settings: LogCleaner) {
        if self.settings.replace(settings) != settings {
            self.stir();
        }
    }

    /// Ends a rest.
    pub(super) fn stir(&self) {
        let resting = self.resting.borrow_mut().take();
        if let Some(resting) = resting {
            resting.fulfil(());
        }
    }

    /// Waits that long, or until there is something to look at. One at a time.
    async fn rest(&self, duration: Duration) {
        let (promise, promised) = promise();
        *self.resting.borrow_mut() = Some(promise);
        let (mut stirred, mut over) = (pin!(promised), host().sleep(duration));
        poll_fn(|context| {
            let ended = stirred.as_mut().poll(context).is_ready() || over.as_mut().poll(context).is_ready();
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    pub(super) fn measure(&self) -> [Value; 2] {
        let failed = self.failed.borrow().len() as u64;
        let percent = (self.dirty_ratio_max.get() * 100.0) as u64;
        [
            Value::gauge("cleaner_failed_logs", "Logs that could not be compacted", failed),
            Value::gauge("cleaner_dirty_percent_max", "Dirty share of the dirtiest compacted log", percent),
        ]
    }
}

/// A log to compact, and how much there is to do.
struct Dirty {
    id: PartitionId,
    cleanable: Cleanable,
    is_due: bool,
}

pub(super) fn start(shard: &Rc<Shard>) {
    if shard.core == 0 {
        host().spawn(Class::Background, Box::pin(keep_checkpoints(shard.clone())));
    }
    if shard.config.log_cleaner.enable {
        host().spawn(Class::Background, Box::pin(clean_for_ever(shard.clone())));
    }
}

async fn clean_for_ever(shard: Rc<Shard>) {
    while !shard.is_closing() {
        let has_got_on = match dirtiest(&shard).await {
            Some(dirty) => clean(&shard, dirty).await,
            None => false,
        };
        if !has_got_on {
            let backoff_ms = shard.cleaning.settings.get().backoff_ms;
            shard.cleaning.rest(Duration::from_millis(backoff_ms)).await;
        }
    }
}

/// The log with the largest dirty share of those that are worth it.
async fn dirtiest(shard: &Rc<Shard>) -> Option<Dirty> {
    let (mut dirtiest, mut ratio_max) = (None::<Dirty>, 0.0_f64);
    for home in &shard.homes {
        let mut folder = None;
        loop {
            let (candidates, last) = candidates_after(shard, home, folder.as_deref());
            for mut candidate in candidates {
                ratio_max = ratio_max.max(candidate.cleanable.dirty_ratio());
                candidate.is_due = candidate.is_due || is_overdue(shard, &candidate).await;
                let is_dirtier =
                    |other: &Dirty| candidate.cleanable.dirty_ratio() > other.cleanable.dirty_ratio();
                if candidate.is_due && dirtiest.as_ref().is_none_or(is_dirtier) {
                    dirtiest = Some(candidate);
                }
            }
            if last.is_none() || shard.is_closing() {
                break;
            }
            folder = last;
            host().breathe().await;
        }
    }
    shard.cleaning.dirty_ratio_max.set(ratio_max);
    dirtiest
}

/// Which of the next few logs have something to compact, and the last folder that was looked at.
fn candidates_after(shard: &Shard, home: &Home, folder: Option<&str>) -> (Vec<Dirty>, Option<String>) {
    let known = home.known.borrow();
    let from = folder.map_or(Bound::Unbounded, Bound::Excluded);
    let (mut candidates, mut last) = (Vec::new(), None);
    for (folder, entry) in known.range::<str, _>((from, Bound::Unbounded)).take(LOGS_AT_ONCE) {
        candidates.extend(candidate(shard, home, folder, entry));
        last = Some(folder);
    }
    (candidates, last.cloned())
}

fn candidate(shard: &Shard, home: &Home, folder: &str, entry: &Entry) -> Option<Dirty> {
    let id = PartitionId { topic: Uuid(entry.topic_id), index: entry.partition };
    let settings = shard.topic_settings(id.topic)?;
    if !settings.config.cleanup_compact || shard.cleaning.failed.borrow().contains(&id) {
        return None;
    }
    let log = shard.partitions.borrow().get(&id).and_then(|partition| partition.log());
    let facts = match log {
        Some(log) => {
            log.replicated_up_to(Partition::high_watermark(&log));
            log.compaction_facts()
        }
        None => entry.compaction_facts(),
    };
    let checkpoint = home.cleaned.borrow().get(folder).copied().unwrap_or(0);
    let min_lag_ms = settings.config.min_compaction_lag_ms;
    let cleanable = Cleanable::of(&facts, checkpoint, min_lag_ms, host().wall_ms());
    let is_due = cleanable.dirty_ratio() > settings.config.min_cleanable_dirty_ratio;
    cleanable.is_any().then_some(Dirty { id, cleanable, is_due })
}

/// Whether some record has waited for `max.compaction.lag.ms`.
async fn is_overdue(shard: &Rc<Shard>, dirty: &Dirty) -> bool {
    let Some(settings) = shard.topic_settings(dirty.id.topic) else { return false };
    let lag_max_ms = settings.config.max_compaction_lag_ms;
    if lag_max_ms == i64::MAX {
        return false;
    }
    let Ok(partition) = shard.partition(dirty.id) else { return false };
    let Ok(log) = partition.opened().await else { return false };
    let first = log.first_timestamp(dirty.cleanable.first_dirty, dirty.cleanable.end).await;
    first.is_ok_and(|first| first.is_some_and(|first| first < host().wall_ms().saturating_sub(lag_max_ms)))
}

/// True if it got on: there may be more to do.
async fn clean(shard: &Rc<Shard>, dirty: Dirty) -> bool {
    let Dirty { id, cleanable, .. } = dirty;
    let Ok(partition) = shard.partition(id) else { return false };
    let settings = partition.settings.borrow().clone();
    let began_ns = host().now_ns();
    match clean_partition(shard, &partition, &settings, cleanable).await {
        Ok(done) => {
            let took_ms = (host().now_ns() - began_ns) / 1_000_000;
            tell(&partition, &done, took_ms);
            note(shard, &partition, done.first_dirty).await;
            done.first_dirty > cleanable.first_dirty
        }
        // The log is closed or deleted under it, or there is no room: nothing is wrong with the log.
        Err(_) if shard.is_closing() || shard.partition(id).is_err() => false,
        Err(error) if error.is_full() => false,
        Err(error) => {
            let (topic, partition) = (&*partition.topic, partition.index);
            tracing::error!(topic, partition, %error, "log cannot be compacted; not tried again before the next start");
            shard.cleaning.failed.borrow_mut().insert(id);
            true
        }
    }
}

async fn clean_partition(
    shard: &Rc<Shard>,
    partition: &Rc<Partition>,
    settings: &TopicSettings,
    cleanable: Cleanable,
) -> Result<Compacted, Error> {
    let log = partition.opened().await?;
    let cleaner = shard.cleaning.settings.get();
    let task = Task {
        cleanable,
        delete_retention_ms: settings.config.delete_retention_ms,
        now_ms: host().wall_ms(),
        key_bytes_max: cleaner.dedupe_buffer_size / shard.cores,
        key_load: cleaner.io_buffer_load_factor,
        secret: [host().random(), host().random()],
    };
    let done = log.compact(task, means(shard)).await?;
    partition.upkeep(&log);
    Ok(done)
}

/// Computes on a helper thread of low priority, and moves at most so many bytes a second.
fn means(shard: &Rc<Shard>) -> Means {
    let (shard, pace) = (shard.clone(), Rc::new(Cell::new(Pace::new(host().now_ns()))));
    Means {
        offload: Rc::new(|job| host().offload(job)),
        pause: Rc::new(move |bytes| Box::pin(keep_pace(shard.clone(), pace.clone(), bytes))),
    }
}

/// Others get their turn; and it takes as long as so many bytes have to.
async fn keep_pace(shard: Rc<Shard>, pace: Rc<Cell<Pace>>, bytes: u64) {
    host().breathe().await;
    let bytes_per_second = || shard.cleaning.settings.get().io_max_bytes_per_second / shard.cores as f64;
    let rate = bytes_per_second();
    let mut owed = pace.get();
    owed.moved(bytes, rate);
    while let Some(ahead) = owed.ahead(host().now_ns()) {
        shard.cleaning.rest(ahead).await;
        if shard.is_closing() || bytes_per_second() != rate {
            // What was moved at another pace is forgiven.
            owed = Pace::new(host().now_ns());
        }
    }
    owed.settle(host().now_ns());
    pace.set(owed);
}

/// How a limit of bytes a second is kept: when all that was moved is paid for.
#[derive(Clone, Copy, Debug)]
struct Pace {
    paid_ns: f64,
}

/// What is owed for less is not worth a timer.
const OWED_NS_MIN: f64 = 1e6;

impl Pace {
    fn new(now_ns: u64) -> Self {
        Self { paid_ns: now_ns as f64 }
    }

    fn moved(&mut self, bytes: u64, bytes_per_second: f64) {
        self.paid_ns += bytes as f64 / bytes_per_second * 1e9;
    }

    /// How much longer it has to take.
    fn ahead(&self, now_ns: u64) -> Option<Duration> {
        let ahead_ns = self.paid_ns - now_ns as f64;
        (ahead_ns >= OWED_NS_MIN).then(|| Duration::from_nanos(ahead_ns as u64))
    }

    /// Time in which nothing was moved is not saved up.
    fn settle(&mut self, now_ns: u64) {
        self.paid_ns = self.paid_ns.max(now_ns as f64);
    }
}

fn tell(partition: &Partition, done: &Compacted, took_ms: u64) {
    let metrics = &partition.home().metrics;
    metrics.cleaner_runs.add(1);
    metrics.cleaner_read_bytes.add(done.read_bytes);
    metrics.cleaner_written_bytes.add(done.written_bytes);
    metrics.cleaner_removed_bytes.add(done.bytes_before.saturating_sub(done.bytes_after));
    tracing::info!(
        topic = &*partition.topic,
        partition = partition.index,
        first_dirty_offset = done.first_dirty,
        bytes_before = done.bytes_before,
        bytes_after = done.bytes_after,
        records_before = done.records_read,
        records_after = done.records_kept,
        took_ms,
        "log is compacted"
    );
}

/// Where the clean part ends now. Core 0 writes it down.
async fn note(shard: &Rc<Shard>, partition: &Partition, first_dirty: i64) {
    partition.home().cleaned.borrow_mut().insert(partition.dir().folder(), first_dirty);
    let is_ahead = |shard: &Rc<Shard>| -> storage::disk::LocalFuture<'static, ()> {
        shard.cleaning.is_ahead.set(true);
        Box::pin(std::future::ready(()))
    };
    shard.on(0, is_ahead).await;
}

async fn keep_checkpoints(shard: Rc<Shard>) {
    while !shard.is_closing() {
        host().sleep(CHECKPOINT_EVERY).await;
        if shard.cleaning.is_ahead.replace(false)
            && let Err(error) = shard.save_cleaner_offsets().await
        {
            tracing::warn!(%error, "cleaner-offset-checkpoint cannot be written");
        }
    }
}

impl Shard {
    /// Where clean parts end, as the last run wrote it down. What cannot be read costs another compaction.
    pub(super) async fn load_cleaner_offsets(&self, home: &Home) -> Result<(), Error> {
        let Some(bytes) = read_whole(&*home.disk, CLEANER_OFFSETS, CHECKPOINT_BYTES_MAX).await? else {
            return Ok(());
        };
        let lines = parse_offsets(&bytes).unwrap_or_else(|damage| {
            tracing::warn!(%damage, "cleaner-offset-checkpoint cannot be read");
            Vec::new()
        });
        let folder = |line: &PartitionOffset| {
            LogDir { topic: line.topic.clone(), partition: line.partition, topic_id: Uuid::ZERO }.folder()
        };
        home.cleaned.borrow_mut().extend(lines.into_iter().map(|line| (folder(&line), line.offset)));
        Ok(())
    }

    /// Core 0: Kafka's checkpoint files, one a directory, from what all cores know.
    pub(super) async fn save_cleaner_offsets(self: &Rc<Self>) -> Result<(), Error> {
        let told = self
            .on_every_core(|shard| {
                let lines: Vec<_> = shard.homes.iter().map(|home| shard.cleaned_in(home)).collect();
                Box::pin(std::future::ready(lines))
            })
            .await;
        for (at, home) in self.homes.iter().enumerate() {
            let lines: Vec<PartitionOffset> = told.iter().flat_map(|core| core[at].clone()).collect();
            write_atomically(&*home.disk, CLEANER_OFFSETS, print_offsets(&lines)).await?;
        }
        Ok(())
    }

    /// Of the partitions that are this core's.
    fn cleaned_in(&self, home: &Home) -> Vec<PartitionOffset> {
        let (known, cleaned) = (home.known.borrow(), home.cleaned.borrow());
        let line = |(folder, offset): (&String, &i64)| {
            let entry = known.get(folder)?;
            Some(PartitionOffset { topic: entry.topic.clone(), partition: entry.partition, offset: *offset })
        };
        cleaned.iter().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn moving_takes_as_long_as_the_limit_demands() {
        let mut pace = Pace::new(5 * SECOND_NS);
        pace.moved(500, 1000.0);
        assert_eq!(pace.ahead(5 * SECOND_NS), Some(Duration::from_millis(500)));
        // The time that passes meanwhile counts.
        assert_eq!(pace.ahead(5 * SECOND_NS + SECOND_NS / 4), Some(Duration::from_millis(250)));
        assert_eq!(pace.ahead(6 * SECOND_NS), None);
        // Not in which nothing was moved.
        pace.settle(9 * SECOND_NS);
        pace.moved(1000, 1000.0);
        assert_eq!(pace.ahead(9 * SECOND_NS), Some(Duration::from_secs(1)));
    }

    #[test]
    fn little_debts_add_up_and_no_limit_is_none() {
        let mut pace = Pace::new(0);
        for _ in 0..4 {
            pace.moved(1, 4000.0);
        }
        assert_eq!(pace.ahead(0), Some(Duration::from_millis(1)));
        assert_eq!(pace.ahead(1), None);
        let mut pace = Pace::new(0);
        pace.moved(u64::MAX, f64::INFINITY);
        assert_eq!(pace.ahead(0), None);
        // The slowest there is: hundreds of years fit.
        pace.moved(u64::MAX, 1.0);
        assert!(pace.ahead(0).is_some_and(|ahead| ahead > Duration::from_secs(1 << 32)));
    }
}
