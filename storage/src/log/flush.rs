//! Flush: everything that has gathered becomes durable, one flight after the other.
//!
//! Rules that recovery relies on:
//! - A flight begins when the one before it is over. So whatever follows a flight in the file proves that all
//!   of the flight was durable.
//! - A segment's file is created when everything before it is durable, and its name is durable before its
//!   first flight.
//! - Beyond the content the file holds zeros, or ends: nothing is ever written there but a flight.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;

use super::{Durability, Log, State};
use crate::Error;
use crate::commit_log::Guest;
use crate::disk::{Class, File, LocalFuture, Sync};
use crate::format::SegmentFile;
use crate::segment::Mark;
use crate::segment::writer::Flight;

/// What one flight carried: nothing, if it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    pub batches: u32,
    /// Whole blocks, as they were written.
    pub bytes: u64,
}

impl Log {
    /// Whether something was appended that no running flush will write. If so, spawn [`Self::flush`].
    pub fn needs_flush(&self) -> bool {
        let state = self.state.borrow();
        !state.is_flushing && state.fence.is_none() && state.first_dirty().is_some()
    }

    /// Writes until everything appended is durable. What is appended while a write is in flight joins the
    /// next one. At most one runs; a second returns at once. Run it to its end: dropped half-way, nobody
    /// could say what is on disk, and the log is fenced.
    pub fn flush(self: &Rc<Self>) -> LocalFuture<'static, ()> {
        let log = Rc::clone(self);
        Box::pin(async move {
            while log.needs_flush() {
                log.write_once().await;
            }
        })
    }

    /// The first step of [`Self::flush`] and, repeated while [`Self::needs_flush`], all of it: one flight, and
    /// what it carried. For whoever wants to know how long each took.
    pub fn flush_once(self: &Rc<Self>) -> LocalFuture<'static, Flushed> {
        let log = Rc::clone(self);
        Box::pin(async move { if log.needs_flush() { log.write_once().await } else { Flushed::default() } })
    }

    async fn write_once(&self) -> Flushed {
        let turn = Turn::begin(self);
        let mut flushed = Flushed::default();
        if let Some(base_offset) = self.next_to_write() {
            match self.write_segment(base_offset).await {
                Ok(written) => flushed = written,
                Err(error) if error.is_full() => self.take_back().await,
                Err(error) => self.fence(&error),
            }
        }
        turn.end();
        flushed
    }

    fn next_to_write(&self) -> Option<i64> {
        let state = self.state.borrow();
        if state.fence.is_some() { None } else { state.first_dirty() }
    }

    async fn write_segment(&self, base_offset: i64) -> Result<Flushed, Error> {
        let file = self.file_to_write(base_offset).await?;
        loop {
            self.waiting.until(|| !self.state.borrow().is_zeroing_ahead(base_offset)).await;
            if let Some(boarded) = self.board(base_offset) {
                return self.commit(base_offset, boarded).await;
            }
            if !self.has_unsettled() {
                break;
            }
            // Order: what a commit log has of this log lies before the flight, some of it in the same block.
            self.settle().await?;
        }
        // Order: taken off at the last moment, so that all who came meanwhile are on board.
        let flight = self.state.borrow_mut().take_off(base_offset);
        let Some(flight) = flight else { return Ok(Flushed::default()) };
        let bytes = flight.writes.iter().map(|(_, data)| data.len() as u64).sum();
        let flushed = Flushed { batches: flight.batches, bytes };
        let sync = match self.config().durability {
            Durability::Synced => Sync::Durable,
            Durability::Written => Sync::Later,
        };
        let written = write_together(&*file, &flight.writes, sync).await;
        written.map_err(|error| Error::io(&self.path(base_offset, SegmentFile::Log), error))?;
        self.land(base_offset, flight, sync == Sync::Durable);
        Ok(flushed)
    }

    /// All of a flight is written: readers may see it, and those who wait are told.
    pub(super) fn land(&self, base_offset: i64, flight: Flight, is_synced: bool) {
        let durable_offset = flight.end.offset;
        {
            let mut state = self.state.borrow_mut();
            if state.fence.is_some() {
                return;
            }
            if let Some(segment) = state.segment_mut(base_offset) {
                segment.landed(flight.end, flight.latest, is_synced);
            }
            state.durable_offset = durable_offset;
            state.upkeep_refused = false;
            state.removal_refused = false;
            if is_synced {
                state.forget_undo(durable_offset);
            }
        }
        if self.config().keeps_tail {
            for chunk in flight.chunks {
                self.cache.keep_tail(&self.tails, chunk);
            }
        }
        self.waiting.advance(durable_offset);
    }

    /// There was no room. The appends that are not durable never happened: those who wait for them hear so,
    /// and the next append gets their offsets.
    async fn take_back(&self) {
        let (durable_offset, cut) = {
            let mut state = self.state.borrow_mut();
            state.roll_back();
            let active = state.active();
            let file = active.open.as_ref().and_then(|open| open.on_disk.file());
            (state.durable_offset, file.map(|file| (file, active.base_offset, active.bytes)))
        };
        self.waiting.fail(durable_offset, false, &Error::Full);
        let Some((file, base_offset, bytes)) = cut else { return };
        // Order: what part of the flight did reach the disk goes before anything else is written there, or
        // a crash could find it behind what comes next.
        if let Err(error) = self.cut_to(&*file, bytes).await {
            self.fence(&Error::io(&self.path(base_offset, SegmentFile::Log), error));
        }
    }

    /// Makes what was written so far survive a power cut by this log's own files: with [`Durability::Written`], and of what
    /// only a commit log holds. Otherwise nothing to do.
    pub fn sync(self: &Rc<Self>) -> LocalFuture<'static, Result<(), Error>> {
        let log = Rc::clone(self);
        Box::pin(async move { log.sync_written().await })
    }

    pub(super) async fn sync_written(&self) -> Result<(), Error> {
        self.settle().await?;
        loop {
            let doomed = {
                let state = self.state.borrow();
                let doomed = state.doomed_unsynced.iter().find(|doomed| doomed.writes.is_empty());
                doomed.map(|doomed| (doomed.base_offset, Rc::clone(&doomed.file)))
            };
            let Some((base_offset, file)) = doomed else { break };
            self.synced(base_offset, self.flush_file(&*file).await)?;
            self.state.borrow_mut().doomed_unsynced.retain(|doomed| doomed.base_offset != base_offset);
        }
        loop {
            let next = self.state.borrow().first_unsynced();
            let Some((base_offset, file, mark)) = next else { return Ok(()) };
            self.synced(base_offset, self.flush_file(&*file).await)?;
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_mut(base_offset) else { continue };
            // A segment that was sealed meanwhile is synced anyway.
            if let Some(open) = &mut segment.open {
                open.synced = mark;
            }
            state.forget_undo(mark.end.offset);
        }
    }
}

impl Log {
    /// Cuts a file, for good.
    pub(super) async fn cut_to(&self, file: &dyn File, bytes: u32) -> io::Result<()> {
        file.truncate(u64::from(bytes)).await?;
        self.flush_file(file).await
    }

    /// One at a time: of two that overlap, one may fail for what the other then takes for done. A flush that
    /// fails is never mere lack of room, whatever it says: the next one would not tell what was lost.
    pub(super) async fn flush_file(&self, file: &dyn File) -> io::Result<()> {
        let _turn = self.begin_syncing().await.map_err(io::Error::other)?;
        let flushed = file.sync().await;
        flushed.map_err(|error| {
            let error = io::Error::other(format!("flush failed: {error}"));
            // Order: fenced before the next one gets its turn.
            self.fence(&Error::io(&self.dir.folder(), io::Error::other(error.to_string())));
            error
        })
    }

    pub(super) async fn begin_syncing(&self) -> Result<Syncing<'_>, Error> {
        self.waiting.until(|| !self.state.borrow().is_syncing).await;
        if let Some(fence) = self.fenced() {
            return Err(fence);
        }
        self.state.borrow_mut().is_syncing = true;
        Ok(Syncing { log: self })
    }

    /// A flush of what was written that fails fences the log.
    fn synced(&self, base_offset: i64, result: io::Result<()>) -> Result<(), Error> {
        if let Err(error) = result {
            let error = Error::io(&self.path(base_offset, SegmentFile::Log), error);
            self.fence(&error);
            return Err(error);
        }
        self.fenced().map_or(Ok(()), Err)
    }
}

impl State {
    fn take_off(&mut self, base_offset: i64) -> Option<Flight> {
        if self.fence.is_some() {
            return None;
        }
        self.segment_mut(base_offset)?.open.as_mut()?.tail.take_off()
    }

    /// Zeros are on their way to where the next flight goes.
    fn is_zeroing_ahead(&self, base_offset: i64) -> bool {
        let Some(open) = self.segment(base_offset).and_then(|segment| segment.open.as_ref()) else {
            return false;
        };
        let dirty = open.tail.dirty_range();
        open.room
            .zeroing
            .as_ref()
            .is_some_and(|zeroing| zeroing.start < dirty.end && dirty.start < zeroing.end)
    }

    /// Back to what is durable, as if nothing had been appended since.
    fn roll_back(&mut self) {
        let durable_offset = self.durable_offset;
        while self.segments.len() > 1 && self.active().base_offset > durable_offset {
            self.segments.pop();
        }
        self.first_open = self.first_open.min(self.segments.len() - 1);
        self.active_mut().roll_back();
        while self.undo.back().is_some_and(|undo| undo.last_offset >= durable_offset) {
            let undo = self.undo.pop_back().expect("just seen");
            self.producers.take_back(undo.producer_id, undo.before);
        }
        let epoch = self.epochs.latest();
        self.epochs_changed |= self.epochs.truncate_end(durable_offset);
        if let Some(epoch) = epoch {
            // The leader is still the same one.
            self.epochs_changed |= self.epochs.assign(epoch, durable_offset);
        }
        self.end_offset = durable_offset;
    }

    pub(super) fn forget_undo(&mut self, offset: i64) {
        while self.undo.front().is_some_and(|undo| undo.last_offset < offset) {
            self.undo.pop_front();
        }
    }

    /// The first segment that was written since it was last synced. Not one of which a commit log has the rest: that is
    /// not written.
    fn first_unsynced(&self) -> Option<(i64, Rc<dyn File>, Mark)> {
        self.open_segments().find_map(|segment| {
            let open = segment.open.as_ref()?;
            let is_unsynced = open.synced != open.durable && open.unsettled.is_empty();
            let file = open.on_disk.file().filter(|_| is_unsynced)?;
            Some((segment.base_offset, file, open.durable))
        })
    }
}

/// All writes of a flight at once. Returns when the last one is over, whatever became of the others; a
/// failure that is more than lack of room counts most.
pub(super) async fn write_together(file: &dyn File, writes: &[(u64, Bytes)], sync: Sync) -> io::Result<()> {
    if let [(position, data)] = writes {
        return file.write_at(*position, data.clone(), sync, Class::Append).await;
    }
    let begin = |(position, data): &(u64, Bytes)| file.write_at(*position, data.clone(), sync, Class::Append);
    let mut running: Vec<_> = writes.iter().map(begin).collect();
    let mut result = Ok(());
    poll_fn(|context| {
        running.retain_mut(|write| match write.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => {
                if result
                    .as_ref()
                    .err()
                    .is_none_or(|known: &io::Error| known.kind() == io::ErrorKind::StorageFull)
                {
                    result = Err(error);
                }
                false
            }
        });
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    result
}

/// The one flush that runs.
struct Turn<'a> {
    log: &'a Log,
    is_over: bool,
}

impl<'a> Turn<'a> {
    fn begin(log: &'a Log) -> Self {
        log.state.borrow_mut().is_flushing = true;
        Self { log, is_over: false }
    }

    fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.log.state.borrow_mut().is_flushing = false;
        if !self.is_over {
            self.log.fence(&Error::Fenced("a flush was abandoned".to_owned()));
        }
        self.log.waiting.wake_idle();
    }
}

/// The one flush of a file that runs.
pub(super) struct Syncing<'a> {
    log: &'a Log,
}

impl Drop for Syncing<'_> {
    fn drop(&mut self) {
        self.log.state.borrow_mut().is_syncing = false;
        self.log.waiting.wake_idle();
    }
}
