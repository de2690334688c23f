//! Upkeep: what makes appends fast and openings short, and may wait: zeros ahead of the content, sealing what
//! was rolled, index files, epochs, removing what was deleted.

use std::ops::Range;
use std::rc::Rc;

use super::{Durability, Log, LogConfig, State};
use crate::Error;
use crate::checkpoint::{print_epochs, write_atomically};
use crate::disk::{BLOCK_BYTES, Class, LocalFuture, Sync};
use crate::format::{LEADER_EPOCHS, SegmentFile};
use crate::recovery::scan::complete_indexes;
use crate::segment::aborted_index::AbortedIndex;
use crate::segment::writer::Place;
use crate::segment::{Indexes, OnDisk, Open, ROOM_BYTES_MAX, ROOM_BYTES_MIN, Segment, room_max};

/// One piece of work.
enum Job {
    MakeRoom(i64),
    SaveEpochs,
    SaveSnapshot(i64),
    FillIndexes(i64),
    SaveAborted(i64),
    Seal(i64),
    SaveIndexes(i64),
    /// Of segments that are no longer part of the log.
    TakeNames,
    Sync,
}

impl Job {
    /// The segment without which there is nothing to do.
    fn segment(&self) -> Option<i64> {
        match self {
            Self::MakeRoom(base_offset)
            | Self::SaveSnapshot(base_offset)
            | Self::FillIndexes(base_offset)
            | Self::SaveAborted(base_offset)
            | Self::Seal(base_offset)
            | Self::SaveIndexes(base_offset) => Some(*base_offset),
            Self::SaveEpochs | Self::TakeNames | Self::Sync => None,
        }
    }
}

impl Log {
    /// Whether there is work for [`Self::upkeep`]. Cheap: ask after each flush.
    pub fn wants_upkeep(&self) -> bool {
        let state = self.state.borrow();
        !state.is_in_upkeep && state.next_job(&self.config()).is_some()
    }

    /// Does the work that can wait. At most one runs; a second returns at once. Spawn it in the background
    /// class: it never holds up an append for longer than one write of zeros takes.
    pub fn upkeep(self: &Rc<Self>) -> LocalFuture<'static, ()> {
        let log = Rc::clone(self);
        Box::pin(async move {
            if !log.state.borrow().is_in_upkeep {
                log.do_all_jobs().await;
            }
        })
    }

    /// The disk has room again: upkeep that was refused for lack of it is due. An append that goes well
    /// says so too.
    pub fn retry_upkeep(&self) {
        let mut state = self.state.borrow_mut();
        state.upkeep_refused = false;
        state.removal_refused = false;
    }

    async fn do_all_jobs(&self) {
        let _turn = Turn::begin(self);
        loop {
            let job = self.state.borrow().next_job(&self.config());
            let Some(job) = job else { return };
            let (segment, takes_room) = (job.segment(), !matches!(job, Job::TakeNames));
            let Err(error) = self.do_job(job).await else { continue };
            if segment.is_some_and(|base_offset| self.state.borrow().segment(base_offset).is_none()) {
                // The log's start moved on meanwhile; that work was in vain.
                continue;
            }
            if !error.is_full() {
                self.fence(&error);
                return;
            }
            // Nothing is lost, only late.
            let mut state = self.state.borrow_mut();
            if takes_room { state.upkeep_refused = true } else { state.removal_refused = true }
        }
    }

    async fn do_job(&self, job: Job) -> Result<(), Error> {
        match job {
            Job::MakeRoom(base_offset) => self.make_room(base_offset).await,
            Job::SaveEpochs => self.save_epochs().await,
            Job::SaveSnapshot(base_offset) => self.save_snapshot(base_offset).await,
            Job::FillIndexes(base_offset) => self.fill_indexes(base_offset).await,
            Job::SaveAborted(base_offset) => self.save_aborted(base_offset).await,
            Job::Seal(base_offset) => self.seal(base_offset).await,
            Job::SaveIndexes(base_offset) => self.save_indexes(base_offset).await,
            Job::TakeNames => self.take_names().await,
            Job::Sync => self.sync_written().await,
        }
    }

    /// Writes zeros ahead of the content, so that appends neither extend the file nor convert extents.
    async fn make_room(&self, base_offset: i64) -> Result<(), Error> {
        let file = self.open_file(base_offset).await?;
        let path = self.path(base_offset, SegmentFile::Log);
        let failed = |error| Error::io(&path, error);
        let Some(wanted) = self.state.borrow_mut().plan_room(base_offset, &self.config()) else {
            return Ok(());
        };
        if file.allocate(wanted.start, wanted.end - wanted.start).await.is_err() {
            // No room, or a filesystem that cannot: appends go on without.
            self.refuse_room(base_offset);
            return Ok(());
        }
        let mut zeros = self.disk.buffer(ZEROS_BYTES);
        zeros.whole()[..ZEROS_BYTES].fill(0);
        zeros.set_len(ZEROS_BYTES);
        let zeros = zeros.freeze();
        let mut from = wanted.start;
        loop {
            let next = self.state.borrow_mut().begin_zeroing(base_offset, from, wanted.end);
            let Some(range) = next else { break };
            let bytes = usize::try_from(range.end - range.start).expect("a small part");
            let written =
                file.write_at(range.start, zeros.slice(..bytes), Sync::Later, Class::Background).await;
            self.end_zeroing(base_offset);
            if let Err(error) = written {
                let error = failed(error);
                self.refuse_room(base_offset);
                return if error.is_full() { Ok(()) } else { Err(error) };
            }
            from = range.end;
        }
        self.flush_file(&*file).await.map_err(failed)?;
        if let Some(open) =
            self.state.borrow_mut().segment_mut(base_offset).and_then(|segment| segment.open.as_mut())
        {
            open.room.prepared = wanted.end;
            open.room.step = (2 * (wanted.end - wanted.start)).clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX);
        }
        Ok(())
    }

    fn end_zeroing(&self, base_offset: i64) {
        if let Some(open) =
            self.state.borrow_mut().segment_mut(base_offset).and_then(|segment| segment.open.as_mut())
        {
            open.room.zeroing = None;
        }
        self.waiting.wake_idle();
    }

    fn refuse_room(&self, base_offset: i64) {
        if let Some(open) =
            self.state.borrow_mut().segment_mut(base_offset).and_then(|segment| segment.open.as_mut())
        {
            open.room.is_refused = true;
        }
    }

    async fn save_epochs(&self) -> Result<(), Error> {
        let entries = {
            let mut state = self.state.borrow_mut();
            state.epochs_changed = false;
            print_epochs(state.epochs.entries())
        };
        let path = format!("{}/{LEADER_EPOCHS}", self.dir.folder());
        let saved = write_atomically(&*self.disk, &path, entries).await;
        self.state.borrow_mut().epochs_changed |= saved.is_err();
        saved
    }

    /// The snapshot of producers that belongs to where a segment begins.
    pub(super) async fn save_snapshot(&self, base_offset: i64) -> Result<(), Error> {
        let snapshot = {
            let state = self.state.borrow();
            let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
            open.and_then(|open| open.snapshot.clone())
        };
        let Some(snapshot) = snapshot else { return Ok(()) };
        write_atomically(&*self.disk, &self.path(base_offset, SegmentFile::Snapshot), snapshot).await?;
        if let Some(open) =
            self.state.borrow_mut().segment_mut(base_offset).and_then(|segment| segment.open.as_mut())
        {
            open.snapshot = None;
        }
        Ok(())
    }

    /// Makes up for index entries of what recovery did not read. Damage met here is left to whoever reads it.
    pub(super) async fn fill_indexes(&self, base_offset: i64) -> Result<(), Error> {
        let config = self.config();
        let path = self.path(base_offset, SegmentFile::Log);
        let plan = {
            let state = self.state.borrow();
            let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
            open.and_then(|open| Some((open.on_disk.file()?, open.gap?, open.indexes.clone())))
        };
        let Some((file, gap, indexes)) = plan else { return Ok(()) };
        let made = complete_indexes(&file, &path, base_offset, gap, indexes, &config).await;
        let made = match made {
            Err(Error::Corrupt { .. }) => None,
            made => Some(made?),
        };
        let mut state = self.state.borrow_mut();
        let open = state.segment_mut(base_offset).and_then(|segment| segment.open.as_mut());
        let Some(open) = open else { return Ok(()) };
        open.gap = None;
        if let Some(made) = made {
            let mut rest = open.indexes.from(gap, base_offset, &config);
            let aborted = std::mem::take(&mut open.indexes.aborted);
            rest.go_on_from(made, base_offset, &config);
            open.indexes = Indexes { aborted, ..rest };
        }
        Ok(())
    }

    /// Aborted transactions cannot be made anew from what lies behind the recovery point: they are saved at once.
    async fn save_aborted(&self, base_offset: i64) -> Result<(), Error> {
        let saved = {
            let state = self.state.borrow();
            let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
            open.map(|open| open.durable_aborted())
        };
        let Some(saved) = saved else { return Ok(()) };
        write_atomically(&*self.disk, &self.path(base_offset, SegmentFile::AbortedIndex), saved.encode())
            .await?;
        if let Some(open) =
            self.state.borrow_mut().segment_mut(base_offset).and_then(|segment| segment.open.as_mut())
        {
            open.aborted_saved = saved.entries().len();
        }
        Ok(())
    }

    /// A segment that takes no more is cut to its content and gets its index files.
    pub(super) async fn seal(&self, base_offset: i64) -> Result<(), Error> {
        let file = self.open_file(base_offset).await?;
        self.fill_indexes(base_offset).await?;
        let Some(bytes) = self.state.borrow().segment(base_offset).map(|segment| segment.bytes) else {
            return Ok(());
        };
        let cut = self.cut_to(&*file, bytes).await;
        cut.map_err(|error| Error::io(&self.path(base_offset, SegmentFile::Log), error))?;
        {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_mut(base_offset) else { return Ok(()) };
            let latest = segment.latest;
            if let Some(open) = &mut segment.open {
                open.indexes.times.append_last(latest.timestamp, latest.offset);
                // The cut's flush covered the content too.
                open.synced = open.durable;
            }
        }
        self.write_indexes(base_offset, i64::MAX).await?;
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.segment_mut(base_offset) {
            segment.open = None;
        }
        state.skip_sealed();
        Ok(())
    }

    /// Index files of a segment that goes on growing, so that less has to be read after a crash.
    async fn save_indexes(&self, base_offset: i64) -> Result<(), Error> {
        let Some(end) = self.state.borrow().segment(base_offset).and_then(Segment::synced_end) else {
            return Ok(());
        };
        self.write_indexes(base_offset, end.offset).await?;
        if let Some(open) =
            self.state.borrow_mut().segment_mut(base_offset).and_then(|segment| segment.open.as_mut())
        {
            open.indexed_bytes = end.position;
        }
        Ok(())
    }

    /// Entries below `before`. The offset index comes last: with it, the others count.
    pub(super) async fn write_indexes(&self, base_offset: i64, before: i64) -> Result<(), Error> {
        let encoded = {
            let state = self.state.borrow();
            let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
            open.map(|open| open.indexes.encode_before(before))
        };
        let Some([aborted, times, offsets]) = encoded else { return Ok(()) };
        let path = |file| self.path(base_offset, file);
        if !aborted.is_empty() {
            write_atomically(&*self.disk, &path(SegmentFile::AbortedIndex), aborted).await?;
        }
        write_atomically(&*self.disk, &path(SegmentFile::TimeIndex), times).await?;
        write_atomically(&*self.disk, &path(SegmentFile::OffsetIndex), offsets).await
    }
}

impl State {
    fn next_job(&self, config: &LogConfig) -> Option<Job> {
        if self.fence.is_some() || self.is_ending {
            return None;
        }
        let takes_room = if self.upkeep_refused { None } else { self.next_job_that_takes_room(config) };
        let has_doomed = !self.doomed.is_empty() && !self.removal_refused;
        takes_room.or_else(|| has_doomed.then_some(Job::TakeNames))
    }

    fn next_job_that_takes_room(&self, config: &LogConfig) -> Option<Job> {
        let open = || self.open_segments();
        let active = self.active();
        if active.wants_room(config) {
            return Some(Job::MakeRoom(active.base_offset));
        }
        let unsynced_bytes_max = match config.durability {
            Durability::Written => UNSYNCED_BYTES_MAX,
            Durability::Synced => UNSETTLED_BYTES_MAX,
        };
        let is_unsettled =
            |segment: &Segment| segment.open.as_ref().is_some_and(|open| !open.unsettled.is_empty());
        let has_rolled =
            open().any(|segment| segment.base_offset != active.base_offset && is_unsettled(segment));
        if has_rolled || self.unsynced_bytes() >= unsynced_bytes_max {
            return Some(Job::Sync);
        }
        if self.epochs_changed && self.is_on_disk() {
            return Some(Job::SaveEpochs);
        }
        let has_snapshot = |segment: &&Segment| {
            let open = segment.open.as_ref();
            open.is_some_and(|open| open.snapshot.is_some()) && segment.base_offset <= self.durable_offset
        };
        if let Some(segment) = open().find(has_snapshot).filter(|_| self.is_on_disk()) {
            return Some(Job::SaveSnapshot(segment.base_offset));
        }
        let has_gap = |segment: &&Segment| segment.open.as_ref().is_some_and(|open| open.gap.is_some());
        if let Some(segment) = open().find(has_gap) {
            return Some(Job::FillIndexes(segment.base_offset));
        }
        if let Some(segment) = open().find(|segment| segment.aborted_unsaved() > 0) {
            return Some(Job::SaveAborted(segment.base_offset));
        }
        let is_rolled =
            |segment: &&Segment| segment.base_offset != active.base_offset && segment.is_settled();
        if let Some(segment) = open().find(is_rolled) {
            return Some(Job::Seal(segment.base_offset));
        }
        active.wants_index_files().then_some(Job::SaveIndexes(active.base_offset))
    }

    fn unsynced_bytes(&self) -> u64 {
        let unsynced = |segment: &Segment| {
            let open = segment.open.as_ref();
            open.map_or(0, |open| u64::from(open.durable.end.position - open.synced.end.position))
        };
        self.open_segments().map(unsynced).sum()
    }

    /// The blocks to fill with zeros next.
    fn plan_room(&mut self, base_offset: i64, config: &LogConfig) -> Option<Range<u64>> {
        let open = self.segment_mut(base_offset)?.open.as_mut()?;
        let start = open.room.prepared.max(open.tail.dirty_range().end);
        let step = open.room.step.max(ROOM_BYTES_MIN);
        let end = (start + step).min(room_max(config));
        if start >= end {
            // As much as there may be; not asked again.
            open.room.prepared = open.room.prepared.max(room_max(config));
            return None;
        }
        Some(start..end)
    }

    /// The next blocks to fill, none of which anything was appended to. None: enough, or all in vain.
    fn begin_zeroing(&mut self, base_offset: i64, from: u64, end: u64) -> Option<Range<u64>> {
        if self.fence.is_some() || self.is_ending || self.active().base_offset != base_offset {
            return None;
        }
        let open = self.segment_mut(base_offset)?.open.as_mut()?;
        let start = from.max(open.tail.dirty_range().end);
        let range = start..(start + ZEROS_BYTES as u64).min(end);
        if range.is_empty() {
            return None;
        }
        open.room.zeroing = Some(range.clone());
        Some(range)
    }
}

impl Segment {
    /// All of it is durable, so that it can be sealed.
    fn is_settled(&self) -> bool {
        let is_there = |open: &Open| !matches!(open.on_disk, OnDisk::Nothing);
        let is_written = |open: &Open| open.durable.end.position == self.bytes && open.unsettled.is_empty();
        self.open.as_deref().is_some_and(|open| is_written(open) && is_there(open))
    }

    fn synced_end(&self) -> Option<Place> {
        self.open.as_ref().map(|open| open.synced.end)
    }

    fn aborted_unsaved(&self) -> usize {
        let Some(open) = self.open.as_ref().filter(|open| matches!(open.on_disk, OnDisk::Ready(_))) else {
            return 0;
        };
        let durable = open.durable.end.offset;
        let entries = open.indexes.aborted.entries();
        entries.partition_point(|entry| entry.last_offset < durable).saturating_sub(open.aborted_saved)
    }

    fn wants_index_files(&self) -> bool {
        let Some(open) = &self.open else { return false };
        let grown = open.synced.end.position.saturating_sub(open.indexed_bytes);
        matches!(open.on_disk, OnDisk::Ready(_)) && grown >= (open.indexed_bytes / 8).max(UNINDEXED_BYTES_MAX)
    }
}

impl Open {
    fn durable_aborted(&self) -> AbortedIndex {
        let mut aborted = self.indexes.aborted.clone();
        aborted.truncate(self.durable.end.offset);
        aborted
    }
}

impl Indexes {
    /// Aborted transactions, times and offsets below `before`, as their files hold them.
    fn encode_before(&self, before: i64) -> [Vec<u8>; 3] {
        let (mut aborted, mut times, mut offsets) =
            (self.aborted.clone(), self.times.clone(), self.offsets.clone());
        aborted.truncate(before);
        times.truncate(before);
        offsets.truncate(before);
        [aborted.encode(), times.encode(), offsets.encode()]
    }
}

/// The one upkeep that runs, or what must not run beside it.
pub(super) struct Turn<'a> {
    log: &'a Log,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(log: &'a Log) -> Self {
        log.state.borrow_mut().is_in_upkeep = true;
        Self { log }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let is_zeroing = {
            let mut state = self.log.state.borrow_mut();
            state.is_in_upkeep = false;
            let open = state.active().open.as_ref();
            open.is_some_and(|open| open.room.zeroing.is_some())
        };
        if is_zeroing {
            // Nobody would hear when those zeros have landed.
            self.log.fence(&Error::Fenced("an upkeep was abandoned".to_owned()));
        }
        self.log.waiting.wake_idle();
    }
}

/// Zeros per write: what an append may have to wait for, if it has caught up with them.
const ZEROS_BYTES: usize = 256 << 10;
/// With [`Durability::Written`], what may pile up before a flush comes unasked.
const UNSYNCED_BYTES_MAX: u64 = 8 << 20;
/// What may gather in a commit log before the log's own file gets it unasked.
const UNSETTLED_BYTES_MAX: u64 = 64 << 10;
/// Content without index files, and at least an eighth of it all: what is read again after a crash.
const UNINDEXED_BYTES_MAX: u32 = 4 << 20;
const _: () = assert!(ZEROS_BYTES.is_multiple_of(BLOCK_BYTES));
