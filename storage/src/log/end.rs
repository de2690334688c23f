//! How a log, or the older part of it, comes to an end: the start moves on, a checkpoint is taken, the log is
//! closed or deleted.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use protocol::ids::Uuid;

use super::remove::{Doomed, DoomedUnsynced};
use super::{Log, State};
use crate::Error;
use crate::catalogue::{self, Entry, RecoveryPoint};
use crate::checkpoint::{EpochStart, print_epochs, write_atomically};
use crate::data_dir::{FolderState, folder_name_aside};
use crate::disk::{Disk, LocalFuture};
use crate::format::{LEADER_EPOCHS, SegmentFile};
use crate::producers::Producers;
use crate::segment::{Latest, OnDisk, Segment};

impl Log {
    /// The log now starts at `offset`, which has to be durable: DeleteRecords and retention. Segments wholly below
    /// it leave the log at once and the disk with the next upkeep. Returns the new start, which is the old one
    /// if that is higher.
    pub fn delete_before(&self, offset: i64, now_ms: i64) -> Result<i64, Error> {
        let config = self.config();
        let mut state = self.state.borrow_mut();
        let (start, end) = (state.start_offset, state.durable_offset);
        if offset > end {
            return Err(Error::OutOfRange { offset, start, end });
        }
        if offset <= start {
            return Ok(start);
        }
        state.start_offset = offset;
        state.epochs_changed |= state.epochs.truncate_start(offset);
        if offset == state.end_offset && state.active().bytes > 0 {
            // Kafka: the active segment goes too, and an empty one says where the log goes on.
            state.roll(offset, &config, now_ms);
        }
        state.doom_segments(now_ms);
        Ok(offset)
    }

    /// What a catalogue should say of this log, as of what is on stable storage now. Not clean: a crash may follow.
    pub fn checkpoint(&self) -> Entry {
        self.entry(false)
    }

    /// Makes everything durable and leaves the files as Kafka would: cut to size, with indexes, epochs and a
    /// snapshot of producers. The log takes nothing more. The entry it returns is clean.
    pub fn close(self: &Rc<Self>) -> LocalFuture<'static, Result<Entry, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            log.state.borrow_mut().is_ending = true;
            log.waiting.wake_idle();
            let is_at_rest = |state: &State| !state.is_in_upkeep && !state.is_compacting;
            log.waiting.until(|| is_at_rest(&log.state.borrow())).await;
            log.flush().await;
            log.waiting.until(|| !log.state.borrow().is_flushing).await;
            if let Some(fence) = log.fenced() {
                return Err(fence);
            }
            log.settle().await?;
            log.remove_all_doomed().await.inspect_err(|error| log.fence(error))?;
            log.leave_in_order().await.inspect_err(|error| log.fence(error))?;
            let entry = log.entry(true);
            log.fence(&Error::Fenced("the log was closed".to_owned()));
            Ok(entry)
        })
    }

    async fn leave_in_order(&self) -> Result<(), Error> {
        if !self.state.borrow().is_on_disk() {
            return Ok(());
        }
        let open: Vec<i64> = {
            let state = self.state.borrow();
            state.open_segments().map(|segment| segment.base_offset).collect()
        };
        let active = self.state.borrow().active().base_offset;
        for base_offset in open {
            self.save_snapshot(base_offset).await?;
            if base_offset != active {
                self.seal(base_offset).await?;
            } else if !self.is_untouched(active) {
                self.leave_active(active).await?;
            }
        }
        self.save_last_snapshot().await?;
        if self.state.borrow().epochs_changed {
            let epochs = print_epochs(self.state.borrow().epochs.entries());
            write_atomically(&*self.disk, &format!("{}/{LEADER_EPOCHS}", self.dir.folder()), epochs).await?;
        }
        Ok(())
    }

    /// As sealing, but the segment goes on when the log is opened again.
    async fn leave_active(&self, base_offset: i64) -> Result<(), Error> {
        self.fill_indexes(base_offset).await?;
        let (file, bytes) = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_mut(base_offset) else { return Ok(()) };
            let (latest, bytes) = (segment.latest, segment.bytes);
            let Some(open) = &mut segment.open else { return Ok(()) };
            open.indexes.times.append_last(latest.timestamp, latest.offset);
            (open.on_disk.file(), bytes)
        };
        let Some(file) = file else { return Ok(()) };
        let cut = self.cut_to(&*file, bytes).await;
        cut.map_err(|error| Error::io(&self.path(base_offset, SegmentFile::Log), error))?;
        if let Some(open) =
            self.state.borrow_mut().segment_mut(base_offset).and_then(|segment| segment.open.as_mut())
        {
            open.synced = open.durable;
        }
        self.write_indexes(base_offset, i64::MAX).await
    }

    /// Kafka: a snapshot at the log's end, so that the next start replays nothing.
    async fn save_last_snapshot(&self) -> Result<(), Error> {
        let (end_offset, snapshot, stray) = {
            let state = self.state.borrow();
            (state.end_offset, state.producers.to_snapshot(), state.stray_snapshot)
        };
        write_atomically(&*self.disk, &self.path(end_offset, SegmentFile::Snapshot), snapshot).await?;
        let Some(stray) = stray.filter(|stray| *stray != end_offset) else { return Ok(()) };
        if self.state.borrow().segment(stray).is_some() {
            return Ok(());
        }
        let path = self.path(stray, SegmentFile::Snapshot);
        match self.disk.remove(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&path, error)),
            _ => Ok(()),
        }
    }

    pub(super) fn is_untouched(&self, base_offset: i64) -> bool {
        let state = self.state.borrow();
        let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
        open.is_some_and(|open| matches!(open.on_disk, OnDisk::Untouched))
    }

    /// Takes the log out of use: its folder is renamed away, durably, and is then no partition any more. `id` makes
    /// the name unique. What is left to do is to step through the [`Removal`], now or after a restart.
    pub fn delete(self: &Rc<Self>, id: Uuid) -> LocalFuture<'static, Result<Removal, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            log.state.borrow_mut().is_ending = true;
            log.fence(&Error::Fenced("the log was deleted".to_owned()));
            log.state.borrow_mut().forget_unsettled();
            let is_idle = |state: &State| !state.is_flushing && !state.is_in_upkeep && !state.is_compacting;
            log.waiting.until(|| is_idle(&log.state.borrow())).await;
            let (topic, partition) = (&log.dir.topic, log.dir.partition);
            let aside = folder_name_aside(topic, partition, FolderState::Deleted, id);
            let folder = log.dir.folder();
            match log.disk.rename(&folder, &aside).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&folder, error)),
            }
            log.disk.sync_dir("").await.map_err(|error| Error::io("", error))?;
            log.cache.forget(&log.tails, &log.windows);
            Ok(Removal::of(Rc::clone(&log.disk), aside))
        })
    }

    fn entry(&self, is_clean: bool) -> Entry {
        let state = self.state.borrow();
        let mut entry = Entry {
            topic: self.dir.topic.clone(),
            partition: self.dir.partition,
            topic_id: self.dir.topic_id.0,
            log_start_offset: state.start_offset,
            is_clean,
            ..Entry::default()
        };
        if !state.is_on_disk() {
            if state.doomed_unsynced.is_empty() {
                entry.recovery.offset = state.start_offset;
            } else {
                // Nothing of it is known to last.
                entry.log_start_offset = 0;
            }
            entry.set_epochs(state.epochs.entries());
            return entry;
        }
        state.describe_segments(&mut entry);
        let offset = entry.recovery.offset;
        // The start may be ahead of what a power cut leaves.
        entry.log_start_offset = state.start_offset.min(offset);
        let epochs: Vec<EpochStart> =
            state.epochs.entries().iter().filter(|epoch| epoch.start_offset <= offset).copied().collect();
        entry.set_epochs(&epochs);
        match state.producers_before(offset) {
            Some(producers) => entry.set_producers(&producers),
            None => entry.set_producers(&state.producers),
        }
        entry
    }
}

impl State {
    /// Takes segments wholly below the start out of the log, unless compaction is just replacing some: then it does
    /// that afterwards.
    pub(super) fn doom_segments(&mut self, now_ms: i64) {
        if self.is_replacing {
            return;
        }
        let start_offset = self.start_offset;
        let count = self.segments.windows(2).take_while(|pair| pair[1].base_offset <= start_offset).count();
        self.first_open = self.first_open.saturating_sub(count);
        for segment in self.segments.drain(..count) {
            let has_file = segment.open.as_ref().is_none_or(|open| !matches!(open.on_disk, OnDisk::Nothing));
            if has_file {
                self.doomed.push_back(Doomed { base_offset: segment.base_offset, since_ms: now_ms });
            }
            let base_offset = segment.base_offset;
            let unsynced = segment.open.filter(|open| open.synced != open.durable);
            if let Some((open, file)) = unsynced.and_then(|open| open.on_disk.file().map(|file| (open, file)))
            {
                let (writes, mark) = (open.unsettled.writes(), open.durable);
                self.doomed_unsynced.push(DoomedUnsynced { base_offset, file, writes, mark });
            }
        }
    }

    /// It went with its log.
    fn forget_unsettled(&mut self) {
        self.doomed_unsynced.clear();
        for open in self.segments.iter_mut().filter_map(|segment| segment.open.as_mut()) {
            open.unsettled.clear();
        }
    }

    /// Lists segments up to the one that is not yet all on stable storage, and that one as far as it is.
    fn describe_segments(&self, entry: &mut Entry) {
        let unsynced = self.segments.iter().position(|segment| {
            segment.open.as_ref().is_some_and(|open| open.synced.end.position < segment.bytes)
        });
        let last = unsynced.unwrap_or(self.segments.len() - 1);
        // A segment without a file is none yet, unless nothing else says where the log goes on.
        let is_there = |segment: &Segment| {
            segment.open.as_ref().is_none_or(|open| !matches!(open.on_disk, OnDisk::Nothing))
        };
        let last = (0..=last).rev().find(|at| is_there(&self.segments[*at])).unwrap_or(0);
        for (at, segment) in self.segments[..=last].iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.base_offset);
            entry.segments.push(segment.describe(next));
        }
        let recovery = &self.segments[last];
        let described = &entry.segments[last];
        entry.recovery = RecoveryPoint {
            offset: described.next_offset,
            position: described.bytes,
            max_timestamp: described.max_timestamp,
        };
        entry.physical_bytes =
            recovery.open.as_ref().map_or(0, |open| open.room.prepared).max(described.bytes.into());
    }

    /// Producers without the batches from `offset` on; None if there are none such.
    fn producers_before(&self, offset: i64) -> Option<Producers> {
        let mut later = self.undo.iter().rev().take_while(|undo| undo.last_offset >= offset).peekable();
        later.peek()?;
        let mut producers = self.producers.clone();
        for undo in later {
            producers.take_back(undo.producer_id, undo.before.clone());
        }
        Some(producers)
    }
}

impl Segment {
    fn describe(&self, next: Option<i64>) -> catalogue::Segment {
        let described = |bytes: u32, next_offset: i64, latest: Latest| catalogue::Segment {
            base_offset: self.base_offset,
            bytes,
            next_offset,
            max_timestamp: latest.timestamp,
            offset_of_max_timestamp: latest.offset,
            ..catalogue::Segment::default()
        };
        let Some(open) = &self.open else {
            return described(self.bytes, next.unwrap_or(self.base_offset), self.latest);
        };
        let mark = open.synced;
        let aborted =
            open.indexes.aborted.entries().partition_point(|entry| entry.last_offset < mark.end.offset);
        let count = |entries: usize| u32::try_from(entries).expect("fewer than a segment's bytes");
        catalogue::Segment {
            first_timestamp: open.first_timestamp,
            offset_index_entries: count(open.indexes.offsets.len()),
            time_index_entries: count(open.indexes.times.len()),
            aborted_index_entries: count(aborted),
            ..described(mark.end.position, mark.end.offset, mark.latest)
        }
    }
}

/// A deleted log's folder, removed step by step.
pub struct Removal {
    disk: Rc<dyn Disk>,
    folder: String,
    /// None before the folder was looked into.
    files: Option<VecDeque<String>>,
}

impl Removal {
    /// For a folder with a name that ends in `-delete`: what a restart finds of an unfinished removal.
    pub fn of(disk: Rc<dyn Disk>, folder: String) -> Self {
        Self { disk, folder, files: None }
    }

    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Removes one file, or at last the folder. Returns true when there is nothing left.
    pub async fn step(&mut self) -> Result<bool, Error> {
        let failed = |error| Error::io(&self.folder, error);
        let files = match &mut self.files {
            Some(files) => files,
            none => match self.disk.list(&self.folder).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
                listed => {
                    let names = listed.map_err(failed)?.into_iter().map(|entry| entry.name);
                    none.insert(names.collect())
                }
            },
        };
        let path = match files.pop_front() {
            Some(name) => format!("{}/{name}", self.folder),
            None => self.folder.clone(),
        };
        match self.disk.remove(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&path, error)),
            _ => {}
        }
        if path != self.folder {
            return Ok(false);
        }
        self.disk.sync_dir("").await.map_err(failed)?;
        Ok(true)
    }
}
