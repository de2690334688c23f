//! Reads the segments in order, as far as they need reading, and makes each of them whole.

use std::rc::Rc;

use super::Recovery;
use super::listing::Listing;
use super::scan::{Expected, Scanned, Start, first_timestamp, scan};
use super::tail::{Verdict, judge};
use crate::Error;
use crate::catalogue;
use crate::disk::{BLOCK_BYTES, Class, File, Mode, Sync};
use crate::format::{Damage, SEGMENT_BYTES_MAX, SegmentFile};
use crate::log::{LogConfig, read_aborted, read_indexes};
use crate::segment::reader::SCAN_BYTES;
use crate::segment::writer::{FLIGHT_BYTES_MAX, Place, Tail};
use crate::segment::{Indexes, Latest, Mark, OnDisk, Segment};

/// A segment's file as it was found.
#[derive(Clone, Copy)]
struct Found {
    base_offset: i64,
    len: u64,
    /// Where the next segment begins; None for the last.
    next: Option<i64>,
}

impl Recovery<'_> {
    pub(super) async fn read_segments(&mut self, listing: &Listing<'_>) -> Result<(), Error> {
        self.segments.clear();
        let nexts = listing.logs.keys().skip(1).copied().map(Some).chain([None]);
        for ((base_offset, len), next) in listing.logs.iter().zip(nexts) {
            let found = Found { base_offset: *base_offset, len: *len, next };
            let described = self.described();
            let at = described.iter().position(|segment| segment.base_offset == *base_offset);
            match at.filter(|at| at + 1 < described.len()) {
                Some(at) => {
                    let is_indexed = listing.indexed.contains(base_offset);
                    self.take_described(described[at], found, is_indexed).await?;
                }
                None => self.read_segment(found).await?,
            }
        }
        Ok(())
    }

    /// All of this segment is below the recovery point: what the catalogue says is not asked again.
    async fn take_described(
        &mut self,
        segment: catalogue::Segment,
        found: Found,
        is_indexed: bool,
    ) -> Result<(), Error> {
        let path = self.path(found.base_offset, SegmentFile::Log);
        let bytes = segment.bytes;
        check_length(found, bytes, &path)?;
        let latest = Latest { timestamp: segment.max_timestamp, offset: segment.offset_of_max_timestamp };
        if is_indexed && found.len == u64::from(bytes) {
            self.segments.push(Segment::sealed(found.base_offset, bytes, latest));
            return Ok(());
        }
        // It was not yet sealed when the catalogue was written.
        let file = self.open(&path).await?;
        cut(&*file, &path, bytes).await?;
        let indexes = self.known_indexes(found.base_offset, segment.next_offset).await?;
        let end = Place { position: bytes, offset: segment.next_offset };
        let scanned = Scanned { end, latest, indexes, stop: None };
        let mut segment = self.opened(found, scanned, segment.first_timestamp, file);
        segment.open.as_mut().expect("just opened").gap = Some(end);
        self.segments.push(segment);
        Ok(())
    }

    async fn read_segment(&mut self, found: Found) -> Result<(), Error> {
        let path = self.path(found.base_offset, SegmentFile::Log);
        let len = u32::try_from(found.len).ok().filter(|len| u64::from(*len) <= SEGMENT_BYTES_MAX + 1);
        let len =
            len.ok_or_else(|| Damage::new(0, format!("{} bytes are no segment", found.len)).at(&path))?;
        let file = self.open(&path).await?;
        // As producers are before the first batch of this segment, if they are known.
        let is_known = !self.segments.is_empty() && found.base_offset >= self.replay_from;
        let snapshot = is_known.then(|| self.producers.to_snapshot());
        let (scanned, indexed) = self.scan(&file, &path, found, len).await?;
        self.check_flushed(&scanned, &path, found)?;
        match found.next {
            Some(next) => self.check_end(&*file, &path, &scanned, found, next).await?,
            None => self.check_tail(&file, &path, &scanned, len).await?,
        }
        let is_cut = scanned.end.position < len;
        if found.next.is_none() || is_cut {
            cut(&*file, &path, scanned.end.position).await?;
        } else {
            file.sync().await.map_err(|error| Error::io(&path, error))?;
        }
        if found.next.is_none() {
            self.write_last_flight_again(&*file, &path, scanned.end.position, found).await?;
        }
        let is_sealed = found.next.is_some() && !is_cut && indexed == Some(scanned.indexes.offsets.len());
        if is_sealed {
            self.segments.push(Segment::sealed(found.base_offset, scanned.end.position, scanned.latest));
            return Ok(());
        }
        let first_timestamp = first_timestamp(&*file, &path).await?;
        let gap =
            self.last_described(found).map(|last| Place { position: last.bytes, offset: last.next_offset });
        let mut segment = self.opened(found, scanned, first_timestamp, file);
        let open = segment.open.as_mut().expect("just opened");
        open.snapshot = snapshot;
        open.gap = gap.filter(|gap| gap.position > 0);
        self.segments.push(segment);
        Ok(())
    }

    fn opened(&self, found: Found, scanned: Scanned, first_timestamp: i64, file: Rc<dyn File>) -> Segment {
        let mut segment = Segment::fresh(found.base_offset, self.config, self.now_ms);
        segment.bytes = scanned.end.position;
        segment.latest = scanned.latest;
        let open = segment.open.as_mut().expect("a fresh one is open");
        open.tail = Tail::new(found.base_offset, scanned.end);
        open.durable = Mark { end: scanned.end, latest: scanned.latest };
        open.synced = open.durable;
        open.indexes = scanned.indexes;
        open.first_timestamp = first_timestamp;
        open.on_disk = OnDisk::Ready(file);
        segment
    }

    /// The segment in which the recovery point lies, if it is this one.
    fn last_described(&self, found: Found) -> Option<catalogue::Segment> {
        self.described().last().filter(|last| last.base_offset == found.base_offset).copied()
    }

    /// What index files say of what lies below an offset.
    async fn known_indexes(&self, base_offset: i64, below: i64) -> Result<Indexes, Error> {
        let mut indexes = match read_indexes(self.disk, &self.folder, base_offset, self.config).await? {
            Some(indexes) => indexes,
            None => {
                let aborted = read_aborted(self.disk, &self.folder, base_offset).await?;
                Indexes { aborted, ..Indexes::new(base_offset, self.config) }
            }
        };
        indexes.truncate(below);
        Ok(indexes)
    }

    /// Reads the segment from where nothing vouches for it. Also says how many index entries were on disk,
    /// if they were used.
    async fn scan(
        &mut self,
        file: &Rc<dyn File>,
        path: &str,
        found: Found,
        len: u32,
    ) -> Result<(Scanned, Option<usize>), Error> {
        if let Some(last) = self.last_described(found) {
            check_length(found, last.bytes, path)?;
            let latest = Latest { timestamp: last.max_timestamp, offset: last.offset_of_max_timestamp };
            let indexes = self.known_indexes(found.base_offset, last.next_offset).await?;
            let expected = Expected::next(last.next_offset, &self.rules(found));
            let start = Start { position: last.bytes, expected, latest, indexes };
            return Ok((self.scan_from(file, path, found, len, start).await?, None));
        }
        let offset = self.vouched_offset(found).min(self.replay_from);
        let indexes = read_indexes(self.disk, &self.folder, found.base_offset, self.config).await?;
        let indexed = indexes.as_ref().map(|indexes| indexes.offsets.len());
        let start = indexes.and_then(|indexes| Start::in_the_index(indexes, offset));
        if let Some(mut start) = start.filter(|start| start.position < len) {
            start.indexes.aborted.truncate(self.replay_from);
            let begun = start.position;
            let scanned = self.scan_from(file, path, found, len, start).await?;
            if scanned.end.position > begun {
                return Ok((scanned, indexed));
            }
            // The index does not fit the content; the content counts.
        }
        let mut start = Start::at_the_beginning(found.base_offset, &self.rules(found));
        start.indexes.aborted = read_aborted(self.disk, &self.folder, found.base_offset).await?;
        start.indexes.aborted.truncate(self.replay_from);
        Ok((self.scan_from(file, path, found, len, start).await?, None))
    }

    async fn scan_from(
        &mut self,
        file: &Rc<dyn File>,
        path: &str,
        found: Found,
        len: u32,
        start: Start,
    ) -> Result<Scanned, Error> {
        let rules = self.rules(found);
        let (producers, epochs, replay_from) = (&mut self.producers, &mut self.epochs, self.replay_from);
        let scanned = scan(Rc::clone(file), found.base_offset, start, len, &rules, |batch, aborted| {
            if batch.base_offset >= replay_from {
                batch.apply(producers, aborted);
            }
            if epochs.latest().is_none_or(|latest| latest < batch.leader_epoch) {
                epochs.assign(batch.leader_epoch, batch.base_offset);
            }
        });
        scanned.await.map_err(|error| Error::io(path, error))
    }

    /// Everything of this segment below the offset is known to be good.
    fn vouched_offset(&self, found: Found) -> i64 {
        let recovery_offset = self.recovery_offset();
        let is_below = found.next.is_some_and(|next| next <= recovery_offset);
        if is_below || (self.known.is_none() && found.next.is_some()) { i64::MAX } else { recovery_offset }
    }

    /// Where nobody says that all batches are here, some may have been compacted.
    fn rules(&self, found: Found) -> LogConfig {
        let is_compacted = self.config.is_compacted || (found.next.is_some() && self.described().is_empty());
        LogConfig { is_compacted, ..self.config.clone() }
    }

    /// Below the recovery point nothing is missing.
    fn check_flushed(&self, scanned: &Scanned, path: &str, found: Found) -> Result<(), Error> {
        let (end, offset) = (scanned.end, self.recovery_offset());
        if found.next.is_some() || end.offset >= offset {
            return Ok(());
        }
        let why = scanned.stop.as_deref().unwrap_or("the file ends here");
        Err(Damage::new(end.position as usize, format!("{why}; up to offset {offset} all was flushed"))
            .at(path))
    }

    /// A segment that another one follows was durable to its last byte.
    async fn check_end(
        &self,
        file: &dyn File,
        path: &str,
        scanned: &Scanned,
        found: Found,
        next: i64,
    ) -> Result<(), Error> {
        let end = scanned.end;
        if let Some(stop) = &scanned.stop
            && !is_blank(file, path, end.position).await?
        {
            return Err(Damage::new(end.position as usize, stop.clone()).at(path));
        }
        let is_gap = next > end.offset && !self.rules(found).is_compacted;
        let is_jump = next.saturating_sub(end.offset) > i64::from(i32::MAX);
        if next < end.offset || (is_gap && !is_jump) {
            let found = format!("it ends with offset {} and the next segment begins with {next}", end.offset);
            return Err(Damage::new(end.position as usize, found).at(path));
        }
        Ok(())
    }

    async fn check_tail(
        &self,
        file: &Rc<dyn File>,
        path: &str,
        scanned: &Scanned,
        len: u32,
    ) -> Result<(), Error> {
        let Some(stop) = &scanned.stop else { return Ok(()) };
        let verdict = judge(file, scanned.end, len, stop, self.config).await;
        match verdict.map_err(|error| Error::io(path, error))? {
            Verdict::Torn => Ok(()),
            Verdict::Damaged(found) => Err(Damage::new(scanned.end.position as usize, found).at(path)),
        }
    }

    /// A flush alone does not make sure of what was read: after one that failed, a later one may report success
    /// for what is lost. Only the last flight can be in that state.
    async fn write_last_flight_again(
        &self,
        file: &dyn File,
        path: &str,
        end: u32,
        found: Found,
    ) -> Result<(), Error> {
        let failed = |error| Error::io(path, error);
        let flushed = self.last_described(found).map_or(0, |last| last.bytes);
        let mut from = flushed.max(end.saturating_sub(FLIGHT_BYTES_MAX as u32));
        from -= from % BLOCK_BYTES as u32;
        while from < end {
            let bytes = ((end - from) as usize).min(SCAN_BYTES);
            let read = file.read_at(u64::from(from), bytes, Class::Background).await.map_err(failed)?;
            let mut buffer = self.disk.buffer(bytes);
            buffer.extend(&read);
            buffer.pad_to_block();
            let data = buffer.freeze();
            file.write_at(u64::from(from), data, Sync::Durable, Class::Background).await.map_err(failed)?;
            from += bytes as u32;
        }
        // The last block is whole now; its zeros go again.
        cut(file, path, end).await
    }

    async fn open(&self, path: &str) -> Result<Rc<dyn File>, Error> {
        self.disk.open(path, Mode::Direct).await.map_err(|error| Error::io(path, error))
    }
}

fn check_length(found: Found, bytes: u32, path: &str) -> Result<(), Error> {
    if found.len >= u64::from(bytes) {
        return Ok(());
    }
    let len = usize::try_from(found.len).expect("shorter than a segment");
    Err(Damage::new(len, format!("the file ends where {bytes} bytes were flushed")).at(path))
}

/// From here to its end the file holds zeros.
async fn is_blank(file: &dyn File, path: &str, position: u32) -> Result<bool, Error> {
    let mut position = u64::from(position);
    loop {
        let read = file.read_at(position, SCAN_BYTES, Class::Background).await;
        let bytes = read.map_err(|error| Error::io(path, error))?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        position += bytes.len() as u64;
    }
}

/// Cuts the file to its content, for good: what lay behind must not come back when it grows.
async fn cut(file: &dyn File, path: &str, bytes: u32) -> Result<(), Error> {
    let failed = |error| Error::io(path, error);
    file.truncate(u64::from(bytes)).await.map_err(failed)?;
    file.sync().await.map_err(failed)
}
