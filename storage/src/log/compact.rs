//! Compact: goes through sealed segments, writes what is left of them into new ones, and puts those in their place.
//!
//! New files are written as `.cleaned`. Once they are on stable storage, [`COMPACTED`] says so, and from then on the new
//! ones count, whatever happens: they are renamed to `.swap`, the old ones lose their names, and `.swap` becomes the
//! final name. A start goes on where a crash has interrupted this (`recovery/swaps.rs`).
//!
//! Whoever reads an old file goes on reading it. Nobody opens one while names change, and who looked meanwhile looks
//! again.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use protocol::records::batch::{BatchError, BatchView, HEADER_BYTES, LENGTH_OVERHEAD_BYTES};
use protocol::records::compression::Decompressor;

use super::remove::{Aside, FILES};
use super::upkeep::Turn;
use super::{Log, State, read_aborted};
use crate::Error;
use crate::checkpoint::{CompactedSegment, parse_compacted, print_compacted, read_whole, write_atomically};
use crate::compaction::key_offsets::KeyOffsets;
use crate::compaction::made::{EncodedIndexes, Made};
use crate::compaction::rewrite::{Gather, Rewrite, last_written};
use crate::compaction::transactions::Transactions;
use crate::compaction::{Compacted, Facts, Job, Means, Source, Task, groups};
use crate::disk::{BLOCK_BYTES, Class, File, LocalFuture, Mode, Sync};
use crate::format::{CLEANED, COMPACTED, COMPACTED_BYTES_MAX, Damage, SWAP, SegmentFile};
use crate::recovery::scan::first_timestamp;
use crate::segment::aborted_index::AbortedTransaction;
use crate::segment::{Latest, Segment};

impl Log {
    /// What whoever decides about compaction has to know.
    pub fn compaction_facts(&self) -> Facts {
        let (start_offset, stable_offset) = {
            let state = self.state.borrow();
            let undecided = state.producers.first_unstable_offset().unwrap_or(i64::MAX);
            (state.start_offset, undecided.min(state.durable_offset).min(state.sealed_end()))
        };
        Facts { segments: self.segments(), start_offset, stable_offset }
    }

    /// The earliest of the first timestamps of sealed segments that hold offsets of `[from, end)`.
    pub fn first_timestamp(
        self: &Rc<Self>,
        from: i64,
        end: i64,
    ) -> LocalFuture<'static, Result<Option<i64>, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            let mut first = None;
            let sources = log.state.borrow().sources(end);
            for source in sources.into_iter().filter(|source| source.next_offset > from) {
                let path = log.path(source.base_offset, SegmentFile::Log);
                let file =
                    log.disk.open(&path, Mode::Direct).await.map_err(|error| Error::io(&path, error))?;
                let found = first_timestamp(&*file, &path).await?;
                // Kafka: what has no time is not overdue.
                first = first.into_iter().chain((found > 0).then_some(found)).min();
            }
            Ok(first)
        })
    }

    /// Goes through the log up to the end of what the task says, or as far as the memory for keys reaches. One at a
    /// time. What it wrote in vain, if it fails or the log ends, is removed.
    pub fn compact(
        self: &Rc<Self>,
        task: Task,
        means: Means,
    ) -> LocalFuture<'static, Result<Compacted, Error>> {
        let log = Rc::clone(self);
        Box::pin(async move {
            log.may_compact()?;
            if std::mem::replace(&mut log.state.borrow_mut().is_compacting, true) {
                return Err(Error::Fenced("a compaction is under way".to_owned()));
            }
            let _turn = Compacting { log: &log };
            let mut compaction = Compaction { log: &log, task, means, done: Compacted::default() };
            compaction.run().await?;
            Ok(compaction.done)
        })
    }

    fn may_compact(&self) -> Result<(), Error> {
        let state = self.state.borrow();
        match &state.fence {
            Some(fence) => Err(fence.clone()),
            None if state.is_ending => Err(Error::Fenced("the log is being closed".to_owned())),
            None => Ok(()),
        }
    }

    /// Somebody looks into segments that compaction may replace meanwhile: then he looks again.
    pub(super) async fn steadily<T>(&self, look: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        loop {
            self.waiting.until(|| !self.state.borrow().is_swapping).await;
            let swaps = self.state.borrow().swaps;
            let found = look().await;
            if self.state.borrow().swaps == swaps {
                return found;
            }
        }
    }
}

/// The one compaction that runs.
struct Compacting<'a> {
    log: &'a Log,
}

impl Drop for Compacting<'_> {
    fn drop(&mut self) {
        self.log.state.borrow_mut().is_compacting = false;
        self.log.waiting.wake_idle();
    }
}

struct Compaction<'a> {
    log: &'a Rc<Log>,
    task: Task,
    means: Means,
    done: Compacted,
}

impl Compaction<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        let cleanable = self.task.cleanable;
        self.done.first_dirty = cleanable.first_dirty;
        let sources = self.log.state.borrow().sources(cleanable.end);
        if sources.is_empty() || cleanable.end <= cleanable.first_dirty {
            return Ok(());
        }
        self.finish_journal().await?;
        let keys = self.gather(&sources).await?;
        let next_offset = keys.next_offset();
        let count = sources.partition_point(|source| source.base_offset < next_offset);
        let sources = &sources[..count];
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else { return Ok(()) };
        let mut rewrite = Rewrite {
            keys,
            transactions: Transactions::new(self.aborted(first.base_offset, last.next_offset).await?),
            last_written: last_written(&self.log.producers()),
            end: next_offset.max(last.next_offset),
            now_ms: self.task.now_ms,
            delete_retention_ms: self.task.delete_retention_ms,
            decompressor: Decompressor::new(),
            records_read: 0,
            records_kept: 0,
        };
        for group in groups(sources, self.log.config().segment_bytes) {
            let cleaned = self.clean(&sources[group.clone()], rewrite).await;
            if cleaned.is_err() && self.log.fenced().is_none() {
                self.remove_cleaned(sources[group.start].base_offset).await;
            }
            rewrite = match cleaned {
                // The log's start moved on meanwhile; that work was in vain.
                Err(_) if self.log.state.borrow().segment(sources[group.start].base_offset).is_none() => {
                    return Ok(());
                }
                cleaned => cleaned?,
            };
        }
        self.done.first_dirty = next_offset;
        self.done.records_read = rewrite.records_read;
        self.done.records_kept = rewrite.records_kept;
        // Giving back much memory takes long, too.
        self.offload(move || drop(rewrite)).await;
        Ok(())
    }

    async fn aborted(&self, from: i64, before: i64) -> Result<Vec<AbortedTransaction>, Error> {
        self.log.aborted_transactions(from, before).await
    }

    /// The newest offsets of the keys of the dirty part, or of as much of it as there is memory for.
    async fn gather(&mut self, sources: &[Source]) -> Result<KeyOffsets, Error> {
        let (from, end) = (self.task.cleanable.first_dirty, self.task.cleanable.end);
        let dirty = &sources[sources.partition_point(|source| source.next_offset <= from)..];
        let begin = dirty.first().map_or(from, |first| first.base_offset);
        let (bytes_max, load) = (self.task.key_bytes_max, self.task.key_load);
        let mut gather = Gather {
            keys: KeyOffsets::new(self.task.secret, from, end, bytes_max, load),
            transactions: Transactions::new(self.aborted(begin, end).await?),
            from,
            decompressor: Decompressor::new(),
        };
        for source in dirty {
            let mut windows = Windows::open(self.log, *source).await?;
            while let Some(window) = windows.next().await? {
                let bytes = window.len() as u64;
                let expected = windows.expected;
                let walked;
                (gather, walked) = self
                    .offload(move || {
                        let walked = walk(&window, expected, |batch| gather.take_in(batch));
                        (gather, walked)
                    })
                    .await;
                windows.advance(&walked)?;
                self.read(bytes).await?;
                if walked.is_stopped {
                    return Ok(gather.keys);
                }
            }
            // Nothing lies between its last batch and the next segment.
            gather.keys.reached(source.next_offset);
        }
        Ok(gather.keys)
    }
}

impl Compaction<'_> {
    /// Writes what is left of neighbouring segments into one, and puts it in their place.
    async fn clean(&mut self, group: &[Source], mut rewrite: Rewrite) -> Result<Rewrite, Error> {
        let config = self.log.config();
        let base_offset = group[0].base_offset;
        let mut made = Made::new(base_offset, &config);
        let mut target = Target::create(self.log, base_offset).await?;
        for source in group {
            let mut windows = Windows::open(self.log, *source).await?;
            while let Some(window) = windows.next().await? {
                let bytes = window.len() as u64;
                let expected = windows.expected;
                let walked;
                (made, rewrite, walked) = self
                    .offload(move || {
                        let walked = walk(&window, expected, |batch| {
                            made.take_in(batch, &mut rewrite).map(|()| false)
                        });
                        (made, rewrite, walked)
                    })
                    .await;
                windows.advance(&walked)?;
                self.read(bytes).await?;
                for data in made.take_full() {
                    self.write(&mut target, data).await?;
                }
            }
        }
        self.write(&mut target, made.take_rest()).await?;
        let before: u64 = group.iter().map(|source| u64::from(source.bytes)).sum();
        self.done.bytes_before += before;
        self.done.bytes_after += u64::from(made.bytes);
        if group.len() == 1 && !made.is_changed {
            // It would be what it is.
            self.remove_cleaned(base_offset).await;
            return Ok(rewrite);
        }
        target.finish(made.bytes).await?;
        let (bytes, latest) = (made.bytes, made.latest);
        let encoded = self.offload(move || made.encode_indexes()).await;
        self.write_indexes(base_offset, encoded).await?;
        self.log.put_in_place(group, bytes, latest, self.task.now_ms).await?;
        Ok(rewrite)
    }

    /// The segment's indexes, beside its log. The one of aborted transactions also where it has become empty.
    async fn write_indexes(&self, base_offset: i64, encoded: EncodedIndexes) -> Result<(), Error> {
        let folder = self.log.dir.folder();
        let had_aborted = !read_aborted(&*self.log.disk, &folder, base_offset).await?.is_empty();
        if had_aborted || !encoded.aborted.is_empty() {
            self.write_cleaned(base_offset, SegmentFile::AbortedIndex, encoded.aborted).await?;
        }
        self.write_cleaned(base_offset, SegmentFile::TimeIndex, encoded.times).await?;
        self.write_cleaned(base_offset, SegmentFile::OffsetIndex, encoded.offsets).await?;
        self.log.disk.sync_dir(&folder).await.map_err(|error| Error::io(&folder, error))
    }

    async fn write_cleaned(&self, base_offset: i64, file: SegmentFile, bytes: Vec<u8>) -> Result<(), Error> {
        let path = format!("{}{CLEANED}", self.log.path(base_offset, file));
        let failed = |error| Error::io(&path, error);
        let file = self.log.disk.open(&path, Mode::BufferedCreate).await.map_err(failed)?;
        file.write_at(0, Bytes::from(bytes), Sync::Later, Class::Background).await.map_err(failed)?;
        file.sync().await.map_err(failed)
    }

    /// Best effort: what stays is removed by the next opening.
    async fn remove_cleaned(&self, base_offset: i64) {
        for file in FILES {
            let _ = self.log.disk.remove(&format!("{}{CLEANED}", self.log.path(base_offset, file))).await;
        }
    }

    /// What an earlier run has put in place: only then may there be other files of that name.
    async fn finish_journal(&self) -> Result<(), Error> {
        let mut lines = self.log.read_journal().await?;
        if lines.iter().any(|line| line.is_pending) {
            lines.iter_mut().for_each(|line| line.is_pending = false);
            self.log.write_journal(&lines).await?;
        }
        Ok(())
    }

    async fn read(&mut self, bytes: u64) -> Result<(), Error> {
        self.done.read_bytes += bytes;
        self.pause(bytes).await
    }

    async fn write(&mut self, target: &mut Target, data: Bytes) -> Result<(), Error> {
        let bytes = target.write(data).await?;
        self.done.written_bytes += bytes;
        self.pause(bytes).await
    }

    /// So many bytes more were moved: others get their turn. Ends what is no longer wanted, however long the pause.
    async fn pause(&self, bytes: u64) -> Result<(), Error> {
        let mut pausing = (self.means.pause)(bytes);
        let mut ended = pin!(self.log.waiting.until(|| self.log.may_compact().is_err()));
        poll_fn(|context| {
            let is_over =
                pausing.as_mut().poll(context).is_ready() || ended.as_mut().poll(context).is_ready();
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.log.may_compact()
    }

    /// Computes elsewhere.
    async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let slot = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&slot);
        let job: Job = Box::new(move || {
            let result = work();
            *theirs.lock().expect("held only to put the result there") = Some(result);
        });
        (self.means.offload)(job).await;
        let result = slot.lock().expect("held only to put the result there").take();
        result.expect("the job was done")
    }
}

impl Log {
    /// The new segment takes the place of the old ones. What fails before it is known to count leaves the old ones;
    /// what fails later fences the log, and the next opening goes on from there.
    async fn put_in_place(
        &self,
        group: &[Source],
        bytes: u32,
        latest: Latest,
        now_ms: i64,
    ) -> Result<(), Error> {
        let is_free = || !self.state.borrow().is_in_upkeep || self.may_compact().is_err();
        self.waiting.until(is_free).await;
        self.may_compact()?;
        let _turn = Turn::begin(self);
        self.state.borrow_mut().begin_replacing(group)?;
        let replacing = Replacing { log: self };
        let new = Segment::sealed(group[0].base_offset, bytes, latest);
        let lines = self.journal_with(group, &new).await?;
        if let Err(error) = self.write_journal(&lines).await {
            // Whether it counts nobody knows, unless nothing has changed.
            if self.read_journal().await.is_ok_and(|found| found != lines) && error.is_full() {
                return Err(error);
            }
            self.fence(&error);
            return Err(error);
        }
        let swapped = self.swap(group, new, now_ms).await;
        swapped.inspect_err(|error| self.fence(error))?;
        drop(replacing);
        self.state.borrow_mut().doom_segments(now_ms);
        let done: Vec<CompactedSegment> =
            lines.iter().map(|line| CompactedSegment { is_pending: false, ..*line }).collect();
        self.write_journal(&done).await
    }

    /// Names first, then what readers see.
    async fn swap(&self, group: &[Source], new: Segment, now_ms: i64) -> Result<(), Error> {
        let base_offset = group[0].base_offset;
        let _gate = Gate::close(self);
        self.rename_all(base_offset, CLEANED, SWAP).await?;
        for old in &group[1..] {
            self.take_names_of(old.base_offset).await?;
        }
        self.rename_all(base_offset, SWAP, "").await?;
        let folder = self.dir.folder();
        self.disk.sync_dir(&folder).await.map_err(|error| Error::io(&folder, error))?;
        let due_ms = now_ms.saturating_add(self.config().file_delete_delay_ms);
        let mut state = self.state.borrow_mut();
        state.replace(group, new);
        state.aside.extend(group[1..].iter().map(|old| Aside { base_offset: old.base_offset, due_ms }));
        let end = group[group.len() - 1].next_offset;
        self.cache.forget_before(&self.tails, &self.windows, end);
        Ok(())
    }

    /// The log comes last: as long as it is not there, there is nothing.
    async fn rename_all(&self, base_offset: i64, from: &str, to: &str) -> Result<(), Error> {
        for file in
            [SegmentFile::AbortedIndex, SegmentFile::TimeIndex, SegmentFile::OffsetIndex, SegmentFile::Log]
        {
            let path = self.path(base_offset, file);
            match self.disk.rename(&format!("{path}{from}"), &format!("{path}{to}")).await {
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound && file == SegmentFile::AbortedIndex => {}
                renamed => renamed.map_err(|error| Error::io(&path, error))?,
            }
        }
        Ok(())
    }

    /// Lines of segments that are still there, and the new one.
    async fn journal_with(&self, group: &[Source], new: &Segment) -> Result<Vec<CompactedSegment>, Error> {
        let (base_offset, next_offset) = (group[0].base_offset, group[group.len() - 1].next_offset);
        let mut lines = self.read_journal().await?;
        let state = self.state.borrow();
        lines.retain(|line| {
            let is_replaced = (base_offset..next_offset).contains(&line.base_offset);
            !is_replaced && state.segment(line.base_offset).is_some()
        });
        lines.push(CompactedSegment {
            base_offset,
            next_offset,
            bytes: new.bytes,
            max_timestamp: new.latest.timestamp,
            offset_of_max_timestamp: new.latest.offset,
            is_pending: true,
        });
        lines.sort_unstable_by_key(|line| line.base_offset);
        Ok(lines)
    }

    async fn read_journal(&self) -> Result<Vec<CompactedSegment>, Error> {
        let path = format!("{}/{COMPACTED}", self.dir.folder());
        let Some(bytes) = read_whole(&*self.disk, &path, COMPACTED_BYTES_MAX).await? else {
            return Ok(Vec::new());
        };
        parse_compacted(&bytes).map_err(|damage| damage.at(&path))
    }

    async fn write_journal(&self, lines: &[CompactedSegment]) -> Result<(), Error> {
        let path = format!("{}/{COMPACTED}", self.dir.folder());
        write_atomically(&*self.disk, &path, print_compacted(lines)).await
    }
}

impl State {
    /// Where the first segment begins that still changes.
    fn sealed_end(&self) -> i64 {
        let open = self.segments.iter().find(|segment| segment.open.is_some());
        open.map_or(self.end_offset, |open| open.base_offset)
    }

    /// Sealed segments up to `end`.
    fn sources(&self, end: i64) -> Vec<Source> {
        let end = end.min(self.sealed_end());
        let pairs = self.segments.windows(2).take_while(|pair| pair[1].base_offset <= end);
        let source = |pair: &[Segment]| Source {
            base_offset: pair[0].base_offset,
            bytes: pair[0].bytes,
            next_offset: pair[1].base_offset,
        };
        pairs.map(source).collect()
    }

    /// From now on none of these leaves the log on its own. Fails if one has.
    fn begin_replacing(&mut self, group: &[Source]) -> Result<(), Error> {
        if let Some(gone) = group.iter().find(|source| self.segment(source.base_offset).is_none()) {
            let (start, end) = (self.start_offset, self.end_offset);
            return Err(Error::OutOfRange { offset: gone.base_offset, start, end });
        }
        self.is_replacing = true;
        Ok(())
    }

    fn replace(&mut self, group: &[Source], new: Segment) {
        let from = self.segments.partition_point(|segment| segment.base_offset < group[0].base_offset);
        let to = from + group.len();
        assert!(
            self.segments[from..to]
                .iter()
                .zip(group)
                .all(|(segment, old)| segment.base_offset == old.base_offset),
            "nothing leaves the log while it is replaced"
        );
        for old in group {
            self.readers.forget(old.base_offset);
        }
        self.segments.splice(from..to, [new]);
        self.first_open -= group.len() - 1;
    }
}

/// While it is there, no segment leaves the log.
struct Replacing<'a> {
    log: &'a Log,
}

impl Drop for Replacing<'_> {
    fn drop(&mut self) {
        self.log.state.borrow_mut().is_replacing = false;
    }
}

/// While it is closed, nobody opens a sealed segment; who did before notices.
struct Gate<'a> {
    log: &'a Log,
}

impl<'a> Gate<'a> {
    fn close(log: &'a Log) -> Self {
        let mut state = log.state.borrow_mut();
        state.is_swapping = true;
        state.swaps += 1;
        Self { log }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.log.state.borrow_mut();
            state.is_swapping = false;
            state.swaps += 1;
        }
        self.log.waiting.wake_idle();
    }
}

/// An old segment, read from front to back.
struct Windows {
    file: Rc<dyn File>,
    path: String,
    position: u32,
    end: u32,
    /// No batch begins earlier.
    expected: i64,
    next_offset: i64,
    read_bytes: usize,
}

impl Windows {
    async fn open(log: &Log, source: Source) -> Result<Self, Error> {
        let path = log.path(source.base_offset, SegmentFile::Log);
        let file = log.disk.open(&path, Mode::Direct).await.map_err(|error| Error::io(&path, error))?;
        Ok(Self {
            file,
            path,
            position: 0,
            end: source.bytes,
            expected: source.base_offset,
            next_offset: source.next_offset,
            read_bytes: READ_BYTES,
        })
    }

    /// Begins with a batch, and holds at least one whole. None: that was all.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.position >= self.end {
            return Ok(None);
        }
        let head = self.position % BLOCK_BYTES as u32;
        let wanted = self.read_bytes.min((self.end - self.position) as usize) + head as usize;
        let start = u64::from(self.position - head);
        let read = self.file.read_at(start, wanted, Class::Background).await;
        let read = read.map_err(|error| Error::io(&self.path, error))?;
        if read.len() < wanted {
            let found = format!("the file ends where {} bytes were flushed", self.end);
            return Err(Damage::new(start as usize + read.len(), found).at(&self.path));
        }
        Ok(Some(read.slice(head as usize..wanted)))
    }

    fn advance(&mut self, walked: &Walked) -> Result<(), Error> {
        self.position += u32::try_from(walked.bytes).expect("a part of a segment");
        self.expected = walked.next_offset;
        self.read_bytes = READ_BYTES.max(walked.wanted);
        let left = (self.end - self.position) as usize;
        let found = match &walked.found {
            Some(found) => Some(found.clone()),
            None if walked.wanted > left => {
                Some(format!("a batch of {} bytes where {left} are left", walked.wanted))
            }
            None if walked.next_offset > self.next_offset => {
                Some(format!("offsets up to {} where {} is next", walked.next_offset, self.next_offset))
            }
            None => None,
        };
        found.map_or(Ok(()), |found| Err(Damage::new(self.position as usize, found).at(&self.path)))
    }
}

/// How far a window was gone through.
struct Walked {
    /// Of whole batches.
    bytes: usize,
    /// What has to be read at once to have the next batch whole; 0: all was whole.
    wanted: usize,
    next_offset: i64,
    /// Enough was seen.
    is_stopped: bool,
    found: Option<String>,
}

/// Shows whole and sound batches to `each`, until it returns true.
fn walk(
    window: &[u8],
    expected: i64,
    mut each: impl FnMut(&BatchView<'_>) -> Result<bool, String>,
) -> Walked {
    let mut walked = Walked { bytes: 0, wanted: 0, next_offset: expected, is_stopped: false, found: None };
    while walked.bytes < window.len() && !walked.is_stopped {
        let rest = &window[walked.bytes..];
        match BatchView::parse(rest) {
            Ok(batch) => match check(&batch, walked.next_offset).and_then(|()| each(&batch)) {
                Ok(is_enough) => {
                    walked.is_stopped = is_enough;
                    walked.bytes += batch.batch_len();
                    walked.next_offset = batch.next_offset();
                }
                Err(found) => {
                    walked.found = Some(found);
                    break;
                }
            },
            Err(BatchError::TooShort) => {
                walked.wanted = whole_bytes(rest);
                break;
            }
            Err(error) => {
                walked.found = Some(error.to_string());
                break;
            }
        }
    }
    walked
}

fn check(batch: &BatchView<'_>, expected: i64) -> Result<(), String> {
    batch.verify_crc().map_err(|error| error.to_string())?;
    if batch.base_offset() < expected || batch.last_offset() < batch.base_offset() {
        return Err(format!("offset {} where {expected} is next", batch.base_offset()));
    }
    Ok(())
}

/// How long the batch here is, if enough of it is there to say.
fn whole_bytes(rest: &[u8]) -> usize {
    let length = rest.get(LENGTH_OVERHEAD_BYTES - 4..LENGTH_OVERHEAD_BYTES);
    let length = length.map_or(0, |length| i32::from_be_bytes(length.try_into().expect("four bytes")));
    (LENGTH_OVERHEAD_BYTES + usize::try_from(length).unwrap_or(0)).max(HEADER_BYTES)
}

/// A new segment's file.
struct Target {
    file: Rc<dyn File>,
    path: String,
    position: u64,
}

impl Target {
    async fn create(log: &Log, base_offset: i64) -> Result<Self, Error> {
        let path = format!("{}{CLEANED}", log.path(base_offset, SegmentFile::Log));
        let file = log.disk.open(&path, Mode::DirectCreate).await.map_err(|error| Error::io(&path, error))?;
        // One that was given up may lie there.
        file.truncate(0).await.map_err(|error| Error::io(&path, error))?;
        Ok(Self { file, path, position: 0 })
    }

    async fn write(&mut self, data: Bytes) -> Result<u64, Error> {
        let bytes = data.len() as u64;
        if bytes > 0 {
            // A device that is to flush one write flushes all it was given: what had gathered here would be waited for by
            // whoever appends.
            let written = self.file.write_at(self.position, data, Sync::Durable, Class::Background).await;
            written.map_err(|error| Error::io(&self.path, error))?;
            self.position += bytes;
        }
        Ok(bytes)
    }

    /// Cuts it to its content, on stable storage.
    async fn finish(self, bytes: u32) -> Result<(), Error> {
        let failed = |error| Error::io(&self.path, error);
        self.file.truncate(bytes.into()).await.map_err(failed)?;
        self.file.sync().await.map_err(failed)
    }
}

/// Bytes per read: some milliseconds of work.
const READ_BYTES: usize = 1 << 20;
