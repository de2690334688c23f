//! How segments leave: out of the log at once, their names with the next upkeep, their room after
//! `file.delete.delay.ms`.
//!
//! A name is taken by putting `.deleted` behind it. Files so named belong to nothing; a start removes them.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::{Log, State, is_time};
use crate::Error;
use crate::disk::{File, LocalFuture};
use crate::format::{DELETED, Fate, SegmentFile, parse_segment_file_name};
use crate::retention::{Due, Limits, due};
use crate::segment::Mark;

/// A segment that is no longer part of the log, and still has its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doomed {
    pub(super) base_offset: i64,
    pub(super) since_ms: i64,
}

impl Doomed {
    /// An earlier run's.
    pub(super) fn long_since(base_offset: i64) -> Self {
        Self { base_offset, since_ms: i64::MIN }
    }
}

/// One of them of which not all is on stable storage in its own file.
pub(super) struct DoomedUnsynced {
    pub(super) base_offset: i64,
    pub(super) file: Rc<dyn File>,
    /// What only a commit log has of it.
    pub(super) writes: Vec<(u64, Bytes)>,
    pub(super) mark: Mark,
}

/// A segment whose files have lost their names.
pub(super) struct Aside {
    pub(super) base_offset: i64,
    /// When their room may be given back.
    pub(super) due_ms: i64,
}

impl Log {
    /// Lets go what is beyond the limits, and what lies below the log's start. Segments leave the log at once; what is
    /// left to do is upkeep, and [`Self::sweep`] later.
    pub fn expire(self: &Rc<Self>, limits: Limits, now_ms: i64) -> LocalFuture<'static, Result<Due, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            let times = log.times_of_files(&limits).await?;
            let mut segments = log.segments();
            for segment in segments.iter_mut().filter(|segment| !is_time(segment.max_timestamp)) {
                // Kafka: where no record has a time, that of the file counts.
                segment.max_timestamp = times.get(&segment.base_offset).copied().unwrap_or(now_ms);
            }
            let due = due(&segments, log.start_offset(), log.durable_offset(), &limits, now_ms);
            if due.segments > 0 {
                log.delete_before(due.start_offset, now_ms)?;
            }
            Ok(due)
        })
    }

    /// When the files of segments were last written to, if somebody has to know.
    async fn times_of_files(&self, limits: &Limits) -> Result<BTreeMap<i64, i64>, Error> {
        let is_timeless = {
            let state = self.state.borrow();
            state.segments.iter().any(|segment| segment.bytes > 0 && !is_time(segment.latest.timestamp))
        };
        if limits.ms.is_none() || !is_timeless {
            return Ok(BTreeMap::new());
        }
        let folder = self.dir.folder();
        let entries = match self.disk.list(&folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|error| Error::io(&folder, error))?,
        };
        let time = |entry: crate::disk::Entry| match parse_segment_file_name(&entry.name)? {
            (base_offset, SegmentFile::Log, Fate::InUse) => Some((base_offset, entry.modified_ms)),
            _ => None,
        };
        Ok(entries.into_iter().filter_map(time).collect())
    }

    /// When [`Self::sweep`] has something to do; None if not before another segment leaves.
    pub fn next_sweep_ms(&self) -> Option<i64> {
        let due_ms = self.state.borrow().aside.front()?.due_ms;
        Some(if self.lacks_room() { i64::MIN } else { due_ms })
    }

    /// Then nothing waits for a delay.
    fn lacks_room(&self) -> bool {
        self.is_full.borrow().as_ref().is_some_and(|is_full| is_full.get())
    }

    /// Gives back the room of files whose time has come.
    pub fn sweep(self: &Rc<Self>, now_ms: i64) -> LocalFuture<'static, Result<(), Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            loop {
                let now_ms = if log.lacks_room() { i64::MAX } else { now_ms };
                let due = log.state.borrow_mut().take_aside(now_ms);
                let Some(base_offset) = due else { return Ok(()) };
                log.remove_files(base_offset).await?;
            }
        })
    }

    async fn remove_files(&self, base_offset: i64) -> Result<(), Error> {
        for file in FILES {
            let path = format!("{}{DELETED}", self.path(base_offset, file));
            match self.disk.remove(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&path, error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the names of files of segments that are no longer part of the log, oldest first.
    pub(super) async fn take_names(&self) -> Result<(), Error> {
        self.keep_a_segment_on_disk().await?;
        let doomed: Vec<Doomed> = self.state.borrow().doomed.iter().take(SEGMENTS_AT_ONCE).copied().collect();
        let delay_ms = self.config().file_delete_delay_ms;
        for segment in &doomed {
            // Order: names of a folder last in the order in which they were changed. So a crash leaves no hole.
            self.take_names_of(segment.base_offset).await?;
        }
        let folder = self.dir.folder();
        self.disk.sync_dir(&folder).await.map_err(|error| Error::io(&folder, error))?;
        let mut state = self.state.borrow_mut();
        for segment in &doomed {
            let base_offset = segment.base_offset;
            assert_eq!(state.doomed.pop_front().map(|first| first.base_offset), Some(base_offset));
            state.doomed_unsynced.retain(|doomed| doomed.base_offset != base_offset);
            state.readers.forget(base_offset);
            state.aside.push_back(Aside { base_offset, due_ms: segment.since_ms.saturating_add(delay_ms) });
        }
        Ok(())
    }

    pub(super) async fn take_names_of(&self, base_offset: i64) -> Result<(), Error> {
        for file in FILES {
            let path = self.path(base_offset, file);
            match self.disk.rename(&path, &format!("{path}{DELETED}")).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&path, error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Without a delay: a clean entry does not tell of them.
    pub(super) async fn remove_all_doomed(&self) -> Result<(), Error> {
        while !self.state.borrow().doomed.is_empty() {
            self.take_names().await?;
        }
        loop {
            let next = self.state.borrow_mut().take_aside(i64::MAX);
            let Some(base_offset) = next else { return Ok(()) };
            self.remove_files(base_offset).await?;
        }
    }

    /// Where the log goes on must be on disk before the last segment that tells it goes. Everything before its
    /// first segment is durable, as the creation of a file has to say.
    async fn keep_a_segment_on_disk(&self) -> Result<(), Error> {
        loop {
            let to_create = {
                let state = self.state.borrow();
                if state.is_on_disk() { None } else { state.segments.first().map(|first| first.base_offset) }
            };
            let Some(base_offset) = to_create else { return Ok(()) };
            match self.create(base_offset).await {
                // The log's start moved on meanwhile: another segment is the first.
                Err(_) if self.state.borrow().segment(base_offset).is_none() => {}
                created => return created.map(drop),
            }
        }
    }
}

impl State {
    /// The next segment whose time has come.
    fn take_aside(&mut self, now_ms: i64) -> Option<i64> {
        let first = self.aside.front().filter(|first| first.due_ms <= now_ms)?.base_offset;
        self.aside.pop_front();
        Some(first)
    }
}

/// The one without which the others are nothing comes first.
pub(super) const FILES: [SegmentFile; 5] = [
    SegmentFile::Log,
    SegmentFile::OffsetIndex,
    SegmentFile::TimeIndex,
    SegmentFile::AbortedIndex,
    SegmentFile::Snapshot,
];

/// Segments whose names go with one flush of the folder.
const SEGMENTS_AT_ONCE: usize = 32;
