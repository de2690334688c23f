//! What this core's logs look like, kept beside them so that a start reads one file per core and not
//! every folder. Read once at start, written by a chore while running and sealed at a clean stop.

use std::rc::Rc;

use protocol::ids::Uuid;
use storage::Error;
use storage::catalogue::{self, Frame, Header, Seal};
use storage::checkpoint::{
    PartitionOffset, parse_clean_shutdown, print_clean_shutdown, print_offsets, read_whole, write_atomically,
};
use storage::disk::Disk;
use storage::format::{CLEAN_SHUTDOWN, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS};

use super::{PartitionId, Shard, unsynced};
use crate::controller::METADATA_TOPIC;
use crate::partition::home::Home;

/// Kafka's checkpoint files are far smaller for any number of partitions that fits a broker.
const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

/// Where a closed log ends, for Kafka's own checkpoint files.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    /// Index of its data directory.
    pub(crate) home: usize,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
}

/// What the last stop left in one data directory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastStop {
    seal: Option<Seal>,
}

impl LastStop {
    /// Reads the marker of a clean stop and takes it away, durably: from here on a crash is a crash.
    pub(crate) async fn take(disk: &dyn Disk) -> Result<Self, Error> {
        let Some(marker) = read_whole(disk, CLEAN_SHUTDOWN, CHECKPOINT_BYTES_MAX).await? else {
            return Ok(Self::default());
        };
        let points = read_whole(disk, RECOVERY_POINTS, CHECKPOINT_BYTES_MAX).await?;
        let seal =
            parse_clean_shutdown(&marker).map(|broker_epoch| seal(broker_epoch, &points.unwrap_or_default()));
        disk.remove(CLEAN_SHUTDOWN).await.map_err(|error| Error::io(CLEAN_SHUTDOWN, error))?;
        disk.sync_dir("").await.map_err(|error| Error::io("", error))?;
        Ok(Self { seal })
    }
}

fn closed(home: usize, entry: &catalogue::Entry) -> Closed {
    Closed {
        home,
        topic: entry.topic.clone(),
        partition: entry.partition,
        start_offset: entry.log_start_offset,
        end_offset: entry.recovery.offset,
    }
}

fn seal(broker_epoch: i64, recovery_points: &[u8]) -> Seal {
    Seal { broker_epoch, recovery_points_crc: protocol::crc32c::crc32c(recovery_points) }
}

impl Shard {
    /// Takes what the catalogues say of this core's partitions. Something unusable costs time, not data.
    pub(crate) async fn load_catalogues(self: &Rc<Self>, stops: Vec<LastStop>) -> Result<(), Error> {
        for (home, stop) in self.homes.iter().zip(stops) {
            let known = catalogue::read_all(&*home.disk, home.directory_id).await?;
            for (file, damage) in &known.unusable {
                tracing::warn!(file, %damage, "catalogue is rebuilt");
            }
            let is_clean = stop.seal.is_some() && known.seal == stop.seal;
            home.sequence.set(known.next_sequence);
            home.knows_all.set(is_clean);
            self.load_cleaner_offsets(home).await?;
            let moved = known.cores.iter().any(|core| *core as usize >= self.cores);
            for mut entry in known.entries.into_values() {
                entry.is_clean &= is_clean;
                if self.keeps(&entry) {
                    home.know(entry);
                }
            }
            if moved {
                self.write_catalogue(home, None).await?;
            }
        }
        Ok(())
    }

    fn keeps(&self, entry: &catalogue::Entry) -> bool {
        let topic = Uuid(entry.topic_id);
        if topic == METADATA_TOPIC {
            return self.core == 0;
        }
        self.owner(PartitionId { topic, index: entry.partition }) == self.core
    }

    /// Removes the files of cores that there no longer are, once all others are written.
    pub(crate) async fn remove_stale_catalogues(&self) -> Result<(), Error> {
        for home in &self.homes {
            for entry in home.disk.list("").await.map_err(|error| Error::io("", error))? {
                if catalogue::parse_file_name(&entry.name).is_some_and(|core| core as usize >= self.cores) {
                    home.disk.remove(&entry.name).await.map_err(|error| Error::io(&entry.name, error))?;
                }
            }
        }
        Ok(())
    }

    /// Writes what changed since the last time. Failing costs the next start time, nothing else.
    pub(crate) async fn checkpoint(self: &Rc<Self>) {
        for home in &self.homes {
            if !self.collect(home) {
                continue;
            }
            if let Err(error) = self.write_catalogue(home, None).await {
                tracing::warn!(%error, "catalogue cannot be written");
            }
        }
    }

    /// Takes new entries of the open logs of a directory; false if nothing changed.
    fn collect(&self, home: &Rc<Home>) -> bool {
        let mut changed = home.changed.replace(false);
        for partition in self.partitions.borrow().values() {
            if partition.is_at(home)
                && let Some(log) = partition.log()
            {
                changed |= home.know(log.checkpoint());
            }
        }
        if self.core == 0
            && let Some(controller) = &*self.controller.borrow()
            && Rc::ptr_eq(home, &self.homes[0])
        {
            changed |= home.know(controller.checkpoint());
        }
        changed
    }

    async fn write_catalogue(&self, home: &Home, seal: Option<Seal>) -> Result<(), Error> {
        let sequence = home.sequence.get();
        home.sequence.set(sequence + 1);
        let header = Header { core: self.core as u32, sequence, directory_id: home.directory_id, seal };
        let frames: Vec<_> = home.known.borrow().values().map(Frame::new).collect();
        catalogue::write(&*home.disk, &header, &frames).await
    }

    /// Closes every log of this core.
    pub(crate) async fn close_partitions(self: &Rc<Self>) -> Vec<Closed> {
        let partitions: Vec<_> = self.partitions.borrow().values().cloned().collect();
        for partition in partitions {
            match partition.close().await {
                Ok(Some(entry)) => _ = partition.home().know(entry),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(topic = &*partition.topic, partition = partition.index, %error, "log cannot be closed; the next start recovers it");
                }
            }
        }
        self.close_commit_logs().await;
        let mut all = Vec::new();
        for (at, home) in self.homes.iter().enumerate() {
            all.extend(
                home.known.borrow().values().filter(|entry| entry.is_clean).map(|entry| closed(at, entry)),
            );
        }
        all
    }

    /// The metadata log, for the same files.
    pub(crate) fn closed_metadata(&self) -> Option<Closed> {
        let known = self.homes[0].known.borrow();
        let entry = known.values().find(|entry| Uuid(entry.topic_id) == METADATA_TOPIC && entry.is_clean)?;
        Some(closed(0, entry))
    }

    /// Core 0, when every log is closed: Kafka's checkpoint files, every core's sealed catalogue, and
    /// last the marker that makes the stop a clean one.
    pub(crate) async fn seal(self: &Rc<Self>, closed: &[Closed], broker_epoch: i64) -> Result<(), Error> {
        self.save_cleaner_offsets().await?;
        let mut seals = Vec::new();
        for (at, home) in self.homes.iter().enumerate() {
            let of = |offset: fn(&Closed) -> i64| -> Vec<u8> {
                let mine = closed.iter().filter(|one| one.home == at);
                let entries: Vec<_> = mine
                    .map(|one| PartitionOffset {
                        topic: one.topic.clone(),
                        partition: one.partition,
                        offset: offset(one),
                    })
                    .collect();
                print_offsets(&entries)
            };
            let points = of(|one| one.end_offset);
            seals.push(seal(broker_epoch, &points));
            write_atomically(&*home.disk, RECOVERY_POINTS, points.clone()).await?;
            write_atomically(&*home.disk, HIGH_WATERMARKS, points).await?;
            write_atomically(&*home.disk, LOG_STARTS, of(|one| one.start_offset)).await?;
        }
        let sealing = self.on_every_core(move |shard| {
            let (shard, seals) = (shard.clone(), seals.clone());
            Box::pin(async move {
                for (home, seal) in shard.homes.iter().zip(seals) {
                    shard.write_catalogue(home, Some(seal)).await?;
                }
                Ok::<(), Error>(())
            })
        });
        for sealed in sealing.await {
            sealed?;
        }
        unsynced::end(&*self.homes[0].disk).await?;
        for home in &self.homes {
            write_atomically(&*home.disk, CLEAN_SHUTDOWN, print_clean_shutdown(broker_epoch)).await?;
        }
        Ok(())
    }
}
