//! Opening a log that was not closed: what is on disk is made whole again, and nothing acknowledged is lost.
//!
//! What is known beforehand is the *recovery point*: everything below it was on stable storage when the catalogue
//! was written. Below it nothing is cut; bytes there that are not what was written are an error. Beyond it every
//! batch is read and verified, and the first that is not whole ends the log, if it can be the end:
//!
//! - Only the last segment can have a torn end. A segment's file is created after everything before it was
//!   durable, so in any other one a bad batch is damage, and only zeros may follow the last good one.
//! - In the last segment, what a crash can tear is one flight: the next one begins when it is over. What was
//!   acknowledged was of an earlier flight. The file holds zeros where nothing was written yet (it is cut when an
//!   append is taken back or a torn end is found, and a file that grows reads as zeros), the device writes
//!   sectors whole, and a block that is written again keeps its old bytes. So:
//!   1. A bad batch of which every sector holds something was written whole and changed later: damage. If a
//!      sector of it is blank, or the file ends in it, its flight may have been torn.
//!   2. A whole batch that lies further behind than a flight is long was written when the bad one had been
//!      durable already: damage. (Not with [`Durability::Written`](crate::log::Durability), where flights do not
//!      wait for each other.)
//!   3. Otherwise the flight is taken as torn, and the file is cut there. This is wrong only if a device lost
//!      whole sectors that it had reported as flushed since the last checkpoint; nothing on disk could tell.
//! - A right checksum does not save a batch with the wrong offset, which the checksum leaves out: it is a bad one.
//!
//! Whatever is kept is flushed before the log is used: a process that was killed may have left it in flight.
//!
//! A compaction that was under way counts or does not: `swaps.rs` sees to that before anything else is read.
//!
//! Producers come from the catalogue, or the newest snapshot, and the batches behind that; indexes from their files
//! as far as the content confirms them. With a catalogue nothing below the recovery point is read: what an index
//! lacks there is made up for later. Without a catalogue (a folder that Apache Kafka wrote, or a lost one)
//! the last segment is read whole, as Kafka does, and of each other one what its index does not cover. An entry
//! that lists no segments but has a recovery offset is Kafka's own recovery checkpoint.

mod listing;
pub(crate) mod scan;
mod segments;
mod swaps;
mod tail;

pub use self::tail::{Verdict, judge};
pub use crate::segment::writer::Place;

use std::collections::{BTreeSet, VecDeque};

use self::listing::Listing;
use crate::Error;
use crate::catalogue::{self, Entry};
use crate::checkpoint::{parse_epochs, parse_partition_metadata, read_whole};
use crate::disk::Disk;
use crate::format::{Damage, LEADER_EPOCHS, PARTITION_METADATA, SegmentFile, segment_file_name};
use crate::leader_epochs::LeaderEpochs;
use crate::log::{LogConfig, LogDir, read_aborted};
use crate::producers::{Producers, decode_snapshot};
use crate::segment::Segment;

/// A log made whole.
pub(crate) struct Recovered {
    /// Never empty; the last is open.
    pub(crate) segments: Vec<Segment>,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) producers: Producers,
    pub(crate) epochs: LeaderEpochs,
    /// Segments wholly below the start: still to be removed.
    pub(crate) doomed: VecDeque<i64>,
}

/// The log in this folder; None if there is none.
pub(crate) async fn recover(
    disk: &dyn Disk,
    dir: &LogDir,
    config: &LogConfig,
    known: Option<&Entry>,
    now_ms: i64,
) -> Result<Option<Recovered>, Error> {
    let folder = dir.folder();
    let Some(listing) = Listing::read(disk, &folder, known).await? else { return Ok(None) };
    check_identity(disk, dir, &folder).await?;
    let known = listing.known.as_deref();
    let mut recovery = Recovery {
        disk,
        folder,
        config,
        known,
        now_ms,
        producers: Producers::default(),
        epochs: LeaderEpochs::default(),
        replay_from: 0,
        segments: Vec::new(),
        is_described: known.is_some_and(|known| !known.segments.is_empty()),
    };
    recovery.check_aborted().await?;
    recovery.load_epochs().await?;
    let mut snapshots = listing.snapshots.clone();
    loop {
        let snapshot = recovery.load_producers(&mut snapshots, &listing).await?;
        recovery.read_segments(&listing).await?;
        if snapshot.is_none_or(|offset| offset <= recovery.end_offset()) {
            return recovery.finish(&listing).await.map(Some);
        }
        // It tells of what is no longer there: an older one then.
    }
}

async fn check_identity(disk: &dyn Disk, dir: &LogDir, folder: &str) -> Result<(), Error> {
    let path = format!("{folder}/{PARTITION_METADATA}");
    let Some(bytes) = read_whole(disk, &path, TEXT_BYTES_MAX).await? else { return Ok(()) };
    let found = parse_partition_metadata(&bytes).map_err(|damage| damage.at(&path))?;
    if dir.topic_id.is_zero() || found == dir.topic_id {
        return Ok(());
    }
    Err(Damage::new(0, format!("topic id {found} where {} belongs", dir.topic_id)).at(&path))
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    folder: String,
    config: &'a LogConfig,
    known: Option<&'a Entry>,
    now_ms: i64,
    producers: Producers,
    epochs: LeaderEpochs,
    /// Batches from here on are not yet in `producers`.
    replay_from: i64,
    segments: Vec<Segment>,
    /// The catalogue's list of segments is of use.
    is_described: bool,
}

impl Recovery<'_> {
    fn path(&self, base_offset: i64, file: SegmentFile) -> String {
        format!("{}/{}", self.folder, segment_file_name(base_offset, file))
    }

    /// The segments that the catalogue lists.
    fn described(&self) -> &[catalogue::Segment] {
        self.known.filter(|_| self.is_described).map_or(&[], |known| &known.segments)
    }

    /// Below this offset everything was on stable storage; 0 if nothing is known.
    fn recovery_offset(&self) -> i64 {
        self.known.map_or(0, |known| known.recovery.offset)
    }

    fn end_offset(&self) -> i64 {
        let open = self.segments.last().and_then(|segment| segment.open.as_ref());
        open.map_or(0, |open| open.durable.end.offset)
    }

    /// Aborted transactions follow from producers as they were before. If the file lacks some that the catalogue
    /// counted, the producers of the catalogue are too late, and a snapshot has to do.
    async fn check_aborted(&mut self) -> Result<(), Error> {
        for segment in self.described().iter().filter(|segment| segment.aborted_index_entries > 0) {
            let aborted = read_aborted(self.disk, &self.folder, segment.base_offset).await?;
            if aborted.entries().len() < segment.aborted_index_entries as usize {
                self.is_described = false;
                return Ok(());
            }
        }
        Ok(())
    }

    async fn load_epochs(&mut self) -> Result<(), Error> {
        if let Some(known) = self.known.filter(|_| self.is_described) {
            self.epochs = LeaderEpochs::new(known.epochs());
            return Ok(());
        }
        let path = format!("{}/{LEADER_EPOCHS}", self.folder);
        let Some(bytes) = read_whole(self.disk, &path, TEXT_BYTES_MAX).await? else { return Ok(()) };
        self.epochs = LeaderEpochs::new(parse_epochs(&bytes).map_err(|damage| damage.at(&path))?);
        Ok(())
    }

    /// The newest state of producers that is left to try. Says which snapshot it is from, if from one.
    async fn load_producers(
        &mut self,
        snapshots: &mut BTreeSet<i64>,
        listing: &Listing<'_>,
    ) -> Result<Option<i64>, Error> {
        if let Some(known) = self.known.filter(|_| self.is_described) {
            self.producers = known.producers();
            self.replay_from = known.recovery.offset;
            return Ok(None);
        }
        while let Some(offset) = snapshots.pop_last() {
            let path = self.path(offset, SegmentFile::Snapshot);
            let bytes = match read_whole(self.disk, &path, SNAPSHOT_BYTES_MAX).await {
                Err(Error::Corrupt { .. }) => continue,
                read => read?.unwrap_or_default(),
            };
            // A damaged one is as good as none: an older one only takes longer.
            let Ok(entries) = decode_snapshot(&bytes) else { continue };
            self.producers = Producers::from_snapshot(&entries, self.now_ms, self.config.producer_expiry_ms);
            self.replay_from = offset;
            return Ok(Some(offset));
        }
        self.producers.clear();
        self.replay_from = listing.logs.keys().next().copied().unwrap_or(0);
        Ok(None)
    }

    async fn finish(mut self, listing: &Listing<'_>) -> Result<Recovered, Error> {
        let end_offset = self.end_offset();
        let first = self.segments.first().map_or(end_offset, |segment| segment.base_offset);
        let start_offset = self.known.map_or(first, |known| known.log_start_offset.max(first));
        if start_offset > end_offset {
            let found = format!("the log ends at offset {end_offset} and should start at {start_offset}");
            return Err(Damage::new(0, found).at(&self.folder));
        }
        self.epochs.truncate_end(end_offset);
        self.epochs.truncate_start(start_offset);
        self.remove_strays(&listing.snapshots, end_offset).await?;
        // Order: names that a killed process left in flight are made durable before anything builds on them.
        for folder in [self.folder.as_str(), ""] {
            self.disk.sync_dir(folder).await.map_err(|error| Error::io(folder, error))?;
        }
        Ok(Recovered {
            segments: self.segments,
            start_offset,
            end_offset,
            producers: self.producers,
            epochs: self.epochs,
            doomed: listing.doomed.clone(),
        })
    }

    /// Kafka: of snapshots that belong to no segment, only the newest is of use.
    async fn remove_strays(&self, snapshots: &BTreeSet<i64>, end_offset: i64) -> Result<(), Error> {
        let newest = snapshots.range(..=end_offset).next_back();
        for offset in snapshots {
            let has_segment = self.segments.iter().any(|segment| segment.base_offset == *offset);
            if has_segment || Some(offset) == newest {
                continue;
            }
            let path = self.path(*offset, SegmentFile::Snapshot);
            self.disk.remove(&path).await.map_err(|error| Error::io(&path, error))?;
        }
        Ok(())
    }
}

/// Checkpoints of one partition: an epoch a line.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Far above the producers that a partition remembers.
const SNAPSHOT_BYTES_MAX: usize = 64 << 20;
