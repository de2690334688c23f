//! Small flights go by way of the core's [commit log](crate::commit_log). Their log's own file gets them later.

use std::rc::{Rc, Weak};

use bytes::Bytes;
use protocol::records::batch::{BatchView, batches};

use super::flush::{Flushed, write_together};
use super::remove::DoomedUnsynced;
use super::{AppendError, Durability, Log, Offsets, Stamp, State};
use crate::Error;
use crate::commit_log::{Berth, CommitLog, Frame, Guest, SMALL_BYTES_MAX};
use crate::disk::{File, LocalFuture, Sync};
use crate::format::{Damage, SegmentFile};
use crate::segment::writer::Flight;
use crate::segment::{Mark, Segment};

/// A flight that is on board of a round.
pub(super) struct Boarded {
    flight: Flight,
    round: u64,
    commit_log: Rc<CommitLog>,
}

/// What is to be written into one segment's file.
struct ToSettle {
    base_offset: i64,
    file: Rc<dyn File>,
    writes: Vec<(u64, Bytes)>,
    /// Up to where the file holds everything then.
    mark: Mark,
}

impl Log {
    /// From now on small flushes go by way of this commit log. Only a log whose topic has an id, and that flushes at all.
    pub fn commit_with(self: &Rc<Self>, commit_log: Rc<CommitLog>) {
        if !self.dir.topic_id.is_zero() && self.config().durability == Durability::Synced {
            // A log keeps the first that it was given.
            let log: Weak<Self> = Rc::downgrade(self);
            let _ = self.berth.set(Box::new(Berth::new(commit_log, log)));
        }
    }

    /// The next flight, if it is small, if there is room for it in the segment's file, and if the commit log takes it.
    pub(super) fn board(&self, base_offset: i64) -> Option<Boarded> {
        let berth = self.berth.get()?;
        let mut state = self.state.borrow_mut();
        if state.fence.is_some() {
            return None;
        }
        let open = state.segment_mut(base_offset)?.open.as_mut()?;
        let from = open.durable.end;
        let bytes = (open.tail.end().position - from.position) as usize;
        let unsettled = (from.position - open.synced.end.position) as usize;
        if bytes == 0
            || bytes > SMALL_BYTES_MAX
            || open.tail.pace_bytes() > PACE_BYTES_MAX
            || unsettled > UNSETTLED_BYTES_MAX
            || open.room.prepared < open.tail.dirty_range().end
        {
            return None;
        }
        let parts = open.tail.pending_from(from.position);
        let commit_log = Rc::clone(&berth.commit_log);
        let id = (self.dir.topic_id, self.dir.partition);
        let round = commit_log.board(berth, id, from.offset, &parts)?;
        let flight = open.tail.take_off().expect("it has bytes");
        berth.boarded_offset.set(flight.end.offset);
        Some(Boarded { flight, round, commit_log })
    }

    /// Waits for the round; then readers may see what the flight carried, and those who wait are told.
    pub(super) async fn commit(&self, base_offset: i64, boarded: Boarded) -> Result<Flushed, Error> {
        let Boarded { flight, round, commit_log } = boarded;
        // Not as lack of room, whatever it is: what is on board may be on disk, and must not be taken back.
        commit_log.landed(round).await.map_err(|error| Error::Fenced(error.to_string()))?;
        let bytes = flight.writes.iter().map(|(_, data)| data.len() as u64).sum();
        let flushed = Flushed { batches: flight.batches, bytes };
        if self.fenced().is_none() {
            self.state.borrow_mut().hold(base_offset, &flight);
            self.land(base_offset, flight, false);
        }
        Ok(flushed)
    }

    /// Writes to the log's own files what only the commit log holds now.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        let before = self.durable_offset();
        while self.has_unsettled() {
            let _turn = self.begin_syncing().await?;
            // Order: looked up in the turn in which it is written; who had the turn before has written some of it.
            let next = self.state.borrow().next_to_settle(before);
            let Some(next) = next else { return Ok(()) };
            let written = write_together(&*next.file, &next.writes, Sync::Durable).await;
            if let Err(error) = written {
                // It has its place on disk already: lack of room is a fault like any other.
                let error = Error::io(&self.path(next.base_offset, SegmentFile::Log), error);
                self.fence(&error);
                return Err(error);
            }
            self.state.borrow_mut().settled(&next);
        }
        Ok(())
    }

    /// A log that was just opened takes what commit logs hold beyond its end, and has it in its own file when this
    /// returns. `frames` in any order; nothing else may be appended before.
    pub async fn replay(self: &Rc<Self>, mut frames: Vec<Frame>, now_ms: i64) -> Result<(), Error> {
        frames.sort_by_key(|frame| frame.follows);
        for frame in &frames {
            for batch in batches(&frame.bytes) {
                let batch = batch.map_err(|error| self.odd(&error.to_string()))?;
                self.replay_batch(frame, &batch, now_ms)?;
            }
        }
        let end_offset = self.end_offset();
        self.flush().await;
        if self.durable_offset() < end_offset {
            return Err(self.fenced().unwrap_or(Error::Full));
        }
        // Also where appends do not wait for that: nothing else has it from now on.
        self.sync_written().await
    }

    fn replay_batch(&self, frame: &Frame, batch: &BatchView<'_>, now_ms: i64) -> Result<(), Error> {
        let end_offset = self.end_offset();
        if batch.last_offset() < end_offset {
            return Ok(());
        }
        if batch.base_offset() < end_offset || frame.follows > end_offset {
            let (base, last) = (batch.base_offset(), batch.last_offset());
            return Err(self.odd(&format!(
                "the commit log has offsets {base} to {last} behind offset {}, and the log ends at {end_offset}",
                frame.follows
            )));
        }
        batch.verify_crc().map_err(|error| self.odd(&error.to_string()))?;
        let stamp = Stamp { leader_epoch: -1, log_append_time: None, offsets: Offsets::Keep };
        self.append(batch.bytes(), stamp, now_ms).map(drop).map_err(AppendError::into_storage)
    }

    fn odd(&self, found: &str) -> Error {
        Damage::new(0, found.to_owned()).at(&self.dir.folder())
    }
}

impl Guest for Log {
    fn settle_all(&self) -> LocalFuture<'_, Result<(), Error>> {
        let boarded_offset = self.berth.get().map_or(0, |berth| berth.boarded_offset.get());
        Box::pin(async move {
            let has_landed = |state: &State| boarded_offset <= state.durable_offset || state.fence.is_some();
            self.waiting.until(|| has_landed(&self.state.borrow())).await;
            self.settle().await
        })
    }

    fn has_unsettled(&self) -> bool {
        let state = self.state.borrow();
        let has_some =
            |segment: &Segment| segment.open.as_ref().is_some_and(|open| !open.unsettled.is_empty());
        state.open_segments().any(has_some)
            || state.doomed_unsynced.iter().any(|doomed| !doomed.writes.is_empty())
    }
}

impl State {
    /// What a flight carried is in the commit log, and not in the segment's file.
    fn hold(&mut self, base_offset: i64, flight: &Flight) {
        let Some(open) = self.segment_mut(base_offset).and_then(|segment| segment.open.as_mut()) else {
            return;
        };
        for (chunk, (_, blocks)) in flight.chunks.iter().zip(&flight.writes) {
            open.unsettled.push(chunk.clone(), blocks.clone());
        }
    }

    /// What lies below `before`. Segments that left the log first: another one's name must not follow theirs before they are whole.
    fn next_to_settle(&self, before: i64) -> Option<ToSettle> {
        let doomed =
            self.doomed_unsynced.iter().find(|doomed| !doomed.writes.is_empty()).map(|doomed| ToSettle {
                base_offset: doomed.base_offset,
                file: Rc::clone(&doomed.file),
                writes: doomed.writes.clone(),
                mark: doomed.mark,
            });
        doomed.or_else(|| {
            self.open_segments().find_map(|segment| {
                let open = segment.open.as_deref()?;
                if open.unsettled.is_empty() || open.synced.end.offset >= before {
                    return None;
                }
                let (base_offset, file) = (segment.base_offset, open.on_disk.file()?);
                Some(ToSettle { base_offset, file, writes: open.unsettled.writes(), mark: open.durable })
            })
        })
    }

    fn settled(&mut self, done: &ToSettle) {
        // Either of the two, or neither if its name is gone already.
        let is_done = |doomed: &DoomedUnsynced| {
            doomed.base_offset == done.base_offset && doomed.mark.end.offset <= done.mark.end.offset
        };
        self.doomed_unsynced.retain(|doomed| !is_done(doomed));
        if let Some(open) = self.segment_mut(done.base_offset).and_then(|segment| segment.open.as_mut()) {
            open.unsettled.settled(done.mark.end.offset);
            open.synced = done.mark;
        }
        self.forget_undo(done.mark.end.offset);
    }
}

/// A log whose flights are large but for a few is better off without: before each large one its file would have to be given the
/// small ones.
const PACE_BYTES_MAX: usize = 2 * SMALL_BYTES_MAX;
/// Of a segment. With more, the next flight waits until its file has them.
const UNSETTLED_BYTES_MAX: usize = 256 << 10;
