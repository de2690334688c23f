//! One partition's log: an ordered list of segments, of which the last takes appends. Lives on one core.
//!
//! The life of a batch: [`Log::append`] gives it its offset and copies it into an aligned buffer, at once;
//! [`Log::flush`] writes all that has gathered; [`Log::durable`] resolves; from then on, and not before,
//! [`Log::read`] finds it. What is not urgent (zeros ahead of the content, sealing what was rolled, removing
//! what was deleted) is [`Log::upkeep`]. Whoever calls says when each of them runs; there is no clock and no
//! task in here.
//!
//! After a failed write or flush the log is fenced: what is durable is still read, nothing is accepted until
//! the log is opened anew. A full disk is no failure: what had no room is taken back and may be tried again.

mod ahead;
mod append;
mod commit;
mod compact;
mod end;
mod files;
mod flush;
mod lookup;
mod open;
mod read;
mod remove;
mod upkeep;
mod waiting;

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use protocol::ids::Uuid;
use protocol::records::batch::NO_TIMESTAMP;

use self::ahead::Ahead;
pub use self::append::{AppendError, Appended, Offsets, Stamp};
pub use self::end::Removal;
pub(crate) use self::files::{read_aborted, read_indexes};
pub use self::flush::Flushed;
pub use self::lookup::Timestamped;
pub use self::read::{ReadOutcome, Slices};
use self::remove::{Aside, Doomed, DoomedUnsynced};
use self::waiting::Waiting;
use crate::Error;
use crate::cache::{Chunk, Shelf, TailCache};
use crate::commit_log::{Berth, Guest};
pub use crate::config::{Durability, LogConfig};
use crate::data_dir::folder_name;
use crate::disk::{Disk, LocalFuture};
use crate::format::{SegmentFile, segment_file_name};
use crate::leader_epochs::LeaderEpochs;
use crate::producers::{Producer, Producers};
use crate::segment::{OnDisk, Segment};

/// Which partition a log is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    pub topic: String,
    pub partition: i32,
    /// Zero: not known; then no identity file is written and none is compared.
    pub topic_id: Uuid,
}

impl LogDir {
    /// `<topic>-<partition>`, below the data directory.
    pub fn folder(&self) -> String {
        folder_name(&self.topic, self.partition)
    }
}

impl fmt::Display for LogDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder())
    }
}

/// A segment, as retention and `DescribeLogDirs` see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub base_offset: i64,
    /// One past its last offset.
    pub next_offset: i64,
    pub bytes: u32,
    /// -1 if no batch has a timestamp.
    pub max_timestamp: i64,
    pub is_active: bool,
}

pub struct Log {
    disk: Rc<dyn Disk>,
    cache: Rc<TailCache>,
    tails: Rc<Shelf>,
    windows: Rc<Shelf>,
    ahead: Ahead,
    dir: LogDir,
    config: RefCell<Rc<LogConfig>>,
    /// Shared by all logs of a data directory.
    is_full: RefCell<Option<Rc<Cell<bool>>>>,
    state: RefCell<State>,
    waiting: Waiting,
    /// In the core's commit log, if it has one.
    berth: OnceCell<Box<Berth>>,
}

/// Never borrowed across an await.
struct State {
    /// By base offset; never empty. The last one is open, and so are those not yet sealed before it.
    segments: Vec<Segment>,
    /// No segment before this one is open.
    first_open: usize,
    start_offset: i64,
    end_offset: i64,
    durable_offset: i64,
    producers: Producers,
    epochs: LeaderEpochs,
    /// The epochs' file is behind.
    epochs_changed: bool,
    /// What each producer was before its batches that are not yet durable, oldest first.
    undo: VecDeque<Undo>,
    fence: Option<Error>,
    has_folder: bool,
    is_flushing: bool,
    is_in_upkeep: bool,
    is_preparing: bool,
    is_syncing: bool,
    is_compacting: bool,
    /// Compaction is about to put a segment in the place of others: none leaves the log on its own.
    is_replacing: bool,
    /// Names of sealed segments change: nobody opens one.
    is_swapping: bool,
    /// How often that began or ended.
    swaps: u64,
    /// Being closed or deleted: work that can wait is not begun.
    is_ending: bool,
    /// Segments that are no longer part of the log, oldest first.
    doomed: VecDeque<Doomed>,
    /// Those of them that a power cut could still shorten: until they are synced or gone, their names must not
    /// be followed by another.
    doomed_unsynced: Vec<DoomedUnsynced>,
    /// Files that have lost their names, oldest first, until their time has come.
    aside: VecDeque<Aside>,
    /// Upkeep met a full disk; not tried again before something was written.
    upkeep_refused: bool,
    /// Even a removal had no room: for the file that must be there before the last one goes.
    removal_refused: bool,
    readers: files::Readers,
    /// The snapshot of the last clean end. Of no use once there is a newer one.
    stray_snapshot: Option<i64>,
}

struct Undo {
    last_offset: i64,
    producer_id: i64,
    before: Option<Producer>,
}

impl Log {
    /// The first offset that may be read.
    pub fn start_offset(&self) -> i64 {
        self.state.borrow().start_offset
    }

    /// The offset the next batch gets: Kafka's log end offset.
    pub fn end_offset(&self) -> i64 {
        self.state.borrow().end_offset
    }

    /// Everything below is as durable as the log's [`Durability`] asks, and may be read.
    pub fn durable_offset(&self) -> i64 {
        self.state.borrow().durable_offset
    }

    /// Content of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.state.borrow().segments.iter().map(|segment| u64::from(segment.bytes)).sum()
    }

    pub fn dir(&self) -> &LogDir {
        &self.dir
    }

    /// Oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.state.borrow();
        let ends = state.segments.iter().skip(1).map(|next| next.base_offset).chain([state.end_offset]);
        let last = state.segments.len() - 1;
        let info = |(at, (segment, next_offset)): (usize, (&Segment, i64))| SegmentInfo {
            base_offset: segment.base_offset,
            next_offset,
            bytes: segment.bytes,
            max_timestamp: segment.latest.timestamp,
            is_active: at == last,
        };
        state.segments.iter().zip(ends).enumerate().map(info).collect()
    }

    /// State of idempotent and transactional producers, up to the log's end. Not to be held across an await.
    pub fn producers(&self) -> Ref<'_, Producers> {
        Ref::map(self.state.borrow(), |state| &state.producers)
    }

    /// Markers below the high watermark can no longer be lost; see [`Producers::replicated_up_to`].
    pub fn replicated_up_to(&self, high_watermark: i64) {
        self.state.borrow_mut().producers.replicated_up_to(high_watermark);
    }

    /// Forgets producers that were silent for too long.
    pub fn expire_producers(&self, now_ms: i64) {
        let expiry_ms = self.config().producer_expiry_ms;
        self.state.borrow_mut().producers.expire(now_ms, expiry_ms);
    }

    /// The epoch of the last batch, or the one assigned since.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.state.borrow().epochs.latest()
    }

    /// The largest epoch not above `epoch` and where it ends. None if nothing is known of it.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let state = self.state.borrow();
        state.epochs.end_offset_for(epoch, state.end_offset)
    }

    /// The epoch of the batch at an offset.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.state.borrow().epochs.epoch_at(offset)
    }

    /// A new leader's epoch begins at the log's end, also if it never writes a batch.
    pub fn assign_epoch(&self, epoch: i32) {
        let mut state = self.state.borrow_mut();
        let end_offset = state.end_offset;
        state.epochs_changed |= state.epochs.assign(epoch, end_offset);
    }

    /// Takes effect with the next append.
    pub fn set_config(&self, config: impl Into<Rc<LogConfig>>) {
        *self.config.borrow_mut() = config.into();
    }

    /// While the flag is set, appends are refused with [`Error::Full`]. One flag serves all logs of a disk;
    /// whoever owns it compares the free space with the reserve, now and then.
    pub fn watch_room(&self, is_full: Rc<Cell<bool>>) {
        *self.is_full.borrow_mut() = Some(is_full);
    }

    /// Why nothing is accepted any more, if so.
    pub fn fenced(&self) -> Option<Error> {
        self.state.borrow().fence.clone()
    }

    /// Resolves when everything below `next_offset` is durable, or is known never to be. If that has been
    /// appended, ask in the same turn: an append that found no room is taken back, and its offsets are given
    /// to others. If it has not, this waits for the log to grow.
    pub fn durable(self: &Rc<Self>, next_offset: i64) -> LocalFuture<'static, Result<(), Error>> {
        let state = self.state.borrow();
        if next_offset <= state.durable_offset {
            return Box::pin(std::future::ready(Ok(())));
        }
        if let Some(fence) = &state.fence {
            return Box::pin(std::future::ready(Err(fence.clone())));
        }
        let is_appended = next_offset <= state.end_offset;
        let id = self.waiting.register(next_offset, is_appended);
        Box::pin(waiting::Durable::new(Rc::clone(self), next_offset, id))
    }

    fn config(&self) -> Rc<LogConfig> {
        Rc::clone(&self.config.borrow())
    }

    /// What is in memory of the newest, with the batch that holds `offset`.
    fn in_memory(&self, offset: i64) -> Option<Chunk> {
        self.tails.find(offset).or_else(|| {
            let state = self.state.borrow();
            state.open_segments().find_map(|segment| segment.open.as_ref()?.unsettled.find(offset))
        })
    }

    fn path(&self, base_offset: i64, file: SegmentFile) -> String {
        format!("{}/{}", self.dir.folder(), segment_file_name(base_offset, file))
    }

    /// Nothing more is accepted. The first reason stays.
    fn fence(&self, reason: &Error) {
        let fence = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            if state.fence.is_none() {
                state.fence = Some(Error::Fenced(reason.to_string()));
            }
            for segment in &mut state.segments {
                // What was not written never will be; its memory is of no use.
                segment.drop_pending();
            }
            state.fence.clone()
        };
        if let Some(fence) = fence {
            self.waiting.fail(i64::MIN, true, &fence);
        }
        self.waiting.wake_idle();
    }
}

impl State {
    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    /// The segment that would hold `offset`.
    fn segment_of(&self, offset: i64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base_offset <= offset).checked_sub(1)
    }

    fn segment_mut(&mut self, base_offset: i64) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset).ok()?;
        Some(&mut self.segments[at])
    }

    fn segment(&self, base_offset: i64) -> Option<&Segment> {
        let at = self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset).ok()?;
        Some(&self.segments[at])
    }

    /// Those that still change, oldest first. However many segments there are, these are few.
    fn open_segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments[self.first_open..].iter().filter(|segment| segment.open.is_some())
    }

    fn skip_sealed(&mut self) {
        let open = self.segments.iter().skip(self.first_open).position(|segment| segment.open.is_some());
        self.first_open += open.unwrap_or(0);
    }

    /// The first segment with something to write.
    fn first_dirty(&self) -> Option<i64> {
        self.open_segments().find(|segment| segment.is_dirty()).map(|segment| segment.base_offset)
    }

    /// Whether anything is on disk, or is about to be.
    fn is_on_disk(&self) -> bool {
        let is_there = |segment: &Segment| {
            segment.open.as_ref().is_none_or(|open| !matches!(open.on_disk, OnDisk::Nothing))
        };
        self.segments.iter().any(is_there)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.cache.forget(&self.tails, &self.windows);
        if let Some(berth) = self.berth.take()
            && self.has_unsettled()
        {
            berth.commit_log.keep_all();
        }
    }
}

/// Timestamps below 0 mean "none".
fn is_time(timestamp: i64) -> bool {
    timestamp > NO_TIMESTAMP
}
