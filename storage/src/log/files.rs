//! Files of a log as they are needed: created with the first flush, opened with the first use.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::{Log, LogConfig};
use crate::Error;
use crate::checkpoint::{print_partition_metadata, read_whole, write_atomically};
use crate::disk::{Class, Disk, File, Mode};
use crate::format::{
    Damage, OFFSET_INDEX_ENTRY_BYTES, PARTITION_METADATA, SegmentFile, number, segment_file_name,
};
use crate::recovery::scan::{first_timestamp, index_segment};
use crate::segment::aborted_index::AbortedIndex;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::segment::{Indexes, OnDisk, Segment};

/// A sealed segment that somebody reads.
pub(super) struct Reader {
    pub(super) base_offset: i64,
    pub(super) file: Rc<dyn File>,
    /// With entries far apart: what is read at once is large, and such segments are many.
    pub(super) offsets: OffsetIndex,
}

impl Reader {
    fn new(base_offset: i64, file: Rc<dyn File>, offsets: &OffsetIndex) -> Self {
        let mut next = 0;
        let mut is_far = |entry: &&[u8]| {
            let position = u32::from_be_bytes(number(entry, 4));
            let is_far = position >= next;
            if is_far {
                next = position.saturating_add(READER_INTERVAL_BYTES);
            }
            is_far
        };
        let encoded = offsets.encode();
        let kept: Vec<&[u8]> =
            encoded.chunks_exact(OFFSET_INDEX_ENTRY_BYTES).filter(|entry| is_far(entry)).collect();
        let offsets = OffsetIndex::decode(base_offset, encoded.len(), &kept.concat());
        Self { base_offset, file, offsets: offsets.unwrap_or_else(|_| OffsetIndex::new(base_offset, 0)) }
    }
}

/// Those used last, the latest at the back.
#[derive(Default)]
pub(super) struct Readers {
    slots: VecDeque<Rc<Reader>>,
}

impl Readers {
    fn get(&mut self, base_offset: i64) -> Option<Rc<Reader>> {
        let at = self.slots.iter().position(|reader| reader.base_offset == base_offset)?;
        let reader = self.slots.remove(at)?;
        self.slots.push_back(Rc::clone(&reader));
        Some(reader)
    }

    fn put(&mut self, reader: Rc<Reader>) {
        self.forget(reader.base_offset);
        if self.slots.len() >= READERS_MAX {
            self.slots.pop_front();
        }
        self.slots.push_back(reader);
    }

    pub(super) fn forget(&mut self, base_offset: i64) {
        self.slots.retain(|reader| reader.base_offset != base_offset);
    }
}

impl Log {
    /// The file of a segment that has something to write, ready for it: its last block is in memory.
    pub(super) async fn file_to_write(&self, base_offset: i64) -> Result<Rc<dyn File>, Error> {
        let is_new = {
            let state = self.state.borrow();
            let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
            open.is_some_and(|open| matches!(open.on_disk, OnDisk::Nothing))
        };
        let file = if is_new { self.create(base_offset).await? } else { self.open_file(base_offset).await? };
        let missing = {
            let state = self.state.borrow();
            let open = state.segment(base_offset).and_then(|segment| segment.open.as_ref());
            open.and_then(|open| open.tail.missing())
        };
        if let Some(missing) = missing {
            let bytes = (missing.end - missing.start) as usize;
            let path = self.path(base_offset, SegmentFile::Log);
            let read = file.read_at(u64::from(missing.start), bytes, Class::Append).await;
            let read = read.map_err(|error| Error::io(&path, error))?;
            if read.len() < bytes {
                return Err(Damage::new(missing.start as usize + read.len(), "the file ends here").at(&path));
            }
            let mut state = self.state.borrow_mut();
            if let Some(open) = state.segment_mut(base_offset).and_then(|segment| segment.open.as_mut()) {
                open.tail.fill(&read);
            }
        }
        Ok(file)
    }

    /// Creates a segment's file, and the log's folder if it is the first.
    pub(super) async fn create(&self, base_offset: i64) -> Result<Rc<dyn File>, Error> {
        // Two that create the same file would cut what the other wrote.
        let _turn = self.take_turn().await;
        match self.ready_file(base_offset)? {
            Some(file) => Ok(file),
            None => self.create_alone(base_offset).await,
        }
    }

    /// One at a time makes a file ready.
    async fn take_turn(&self) -> Turn<'_> {
        self.waiting.until(|| !self.state.borrow().is_preparing).await;
        self.state.borrow_mut().is_preparing = true;
        Turn { log: self }
    }

    fn ready_file(&self, base_offset: i64) -> Result<Option<Rc<dyn File>>, Error> {
        let state = self.state.borrow();
        let segment = state.segment(base_offset).ok_or_else(|| gone(base_offset))?;
        Ok(segment.open.as_ref().and_then(|open| open.on_disk.file()))
    }

    async fn create_alone(&self, base_offset: i64) -> Result<Rc<dyn File>, Error> {
        // Order: a segment's existence says that everything before it is on stable storage.
        self.sync_written().await?;
        let folder = self.dir.folder();
        self.create_folder(&folder).await?;
        let path = self.path(base_offset, SegmentFile::Log);
        let failed = |error| Error::io(&path, error);
        let file = self.disk.open(&path, Mode::DirectCreate).await.map_err(failed)?;
        if file.len().await.map_err(failed)? > 0 {
            // Left over from an append that was taken back.
            self.cut_to(&*file, 0).await.map_err(failed)?;
        }
        self.disk.sync_dir(&folder).await.map_err(failed)?;
        let mut state = self.state.borrow_mut();
        if let Some(open) = state.segment_mut(base_offset).and_then(|segment| segment.open.as_mut()) {
            open.on_disk = OnDisk::Ready(Rc::clone(&file));
        }
        Ok(file)
    }

    async fn create_folder(&self, folder: &str) -> Result<(), Error> {
        if self.state.borrow().has_folder {
            return Ok(());
        }
        let failed = |error| Error::io(folder, error);
        self.disk.create_dir(folder).await.map_err(failed)?;
        self.disk.sync_dir("").await.map_err(failed)?;
        if !self.dir.topic_id.is_zero() {
            let path = format!("{folder}/{PARTITION_METADATA}");
            write_atomically(&*self.disk, &path, print_partition_metadata(self.dir.topic_id)).await?;
        }
        self.state.borrow_mut().has_folder = true;
        Ok(())
    }

    /// The file of an open segment that has one. The first time, what the disk holds is compared with
    /// what the catalogue said.
    pub(super) async fn open_file(&self, base_offset: i64) -> Result<Rc<dyn File>, Error> {
        if let Some(file) = self.ready_file(base_offset)? {
            return Ok(file);
        }
        // One who comes second would take what the first has written meanwhile for damage.
        let _turn = self.take_turn().await;
        if let Some(file) = self.ready_file(base_offset)? {
            return Ok(file);
        }
        let bytes = {
            let state = self.state.borrow();
            state.segment(base_offset).ok_or_else(|| gone(base_offset))?.durable_bytes()
        };
        let path = self.path(base_offset, SegmentFile::Log);
        let file = self.disk.open(&path, Mode::Direct).await.map_err(|error| Error::io(&path, error))?;
        let len = file.len().await.map_err(|error| Error::io(&path, error))?;
        if len != u64::from(bytes) {
            let position = usize::try_from(len.min(u64::from(bytes))).expect("a position in a segment");
            let found = format!("{len} bytes where a clean end left {bytes}");
            return Err(Damage::new(position, found).at(&path));
        }
        let config = self.config();
        let loaded = self.indexes(&file, &path, base_offset, bytes).await?;
        let first_timestamp = first_timestamp(&*file, &path).await?;
        let mut state = self.state.borrow_mut();
        let segment = state.segment_mut(base_offset).ok_or_else(|| gone(base_offset))?;
        Ok(segment.take_in(file, loaded, first_timestamp, &config))
    }

    /// A segment's indexes from their files, or made anew from its content.
    async fn indexes(
        &self,
        file: &Rc<dyn File>,
        path: &str,
        base_offset: i64,
        bytes: u32,
    ) -> Result<Indexes, Error> {
        let (config, folder) = (self.config(), self.dir.folder());
        if let Some(indexes) = read_indexes(&*self.disk, &folder, base_offset, &config).await? {
            return Ok(indexes);
        }
        let aborted = read_aborted(&*self.disk, &folder, base_offset).await?;
        let made = index_segment(file, path, base_offset, bytes, &config).await?;
        Ok(Indexes { aborted, ..made })
    }

    /// The files of an index were whole and yet wrong: their entries are taken from the content instead.
    pub(super) async fn remake_indexes(&self, base_offset: i64) -> Result<(), Error> {
        let swaps = self.state.borrow().swaps;
        let (file, is_open) = match self.is_open(base_offset) {
            true => (self.open_file(base_offset).await?, true),
            false => (Rc::clone(&self.reader(base_offset).await?.file), false),
        };
        let Some(place) = self.state.borrow().segment_place(base_offset) else { return Ok(()) };
        let path = self.path(base_offset, SegmentFile::Log);
        let made = index_segment(&file, &path, base_offset, place.bytes, &self.config()).await?;
        let mut state = self.state.borrow_mut();
        if !is_open {
            if state.swaps == swaps {
                state.readers.put(Rc::new(Reader::new(base_offset, file, &made.offsets)));
            }
        } else if let Some(open) = state.segment_mut(base_offset).and_then(|segment| segment.open.as_mut()) {
            // What was appended meanwhile is not in there. An index may lack entries.
            open.indexes.offsets = made.offsets;
        }
        Ok(())
    }

    /// A sealed segment's timestamps. Seldom asked for, so not kept.
    pub(super) async fn times(&self, base_offset: i64) -> Result<TimeIndex, Error> {
        let reader = self.reader(base_offset).await?;
        let place = self.state.borrow().segment_place(base_offset).ok_or_else(|| gone(base_offset))?;
        let path = self.path(base_offset, SegmentFile::Log);
        Ok(self.indexes(&reader.file, &path, base_offset, place.bytes).await?.times)
    }

    /// A sealed segment's file and where to look in it.
    pub(super) async fn reader(&self, base_offset: i64) -> Result<Rc<Reader>, Error> {
        let (known, bytes, swaps) = {
            let mut state = self.state.borrow_mut();
            let bytes = state.segment(base_offset).map(|segment| segment.bytes);
            (state.readers.get(base_offset), bytes.ok_or_else(|| gone(base_offset))?, state.swaps)
        };
        if let Some(reader) = known {
            return Ok(reader);
        }
        let path = self.path(base_offset, SegmentFile::Log);
        let file = self.disk.open(&path, Mode::Direct).await.map_err(|error| Error::io(&path, error))?;
        let indexes = self.indexes(&file, &path, base_offset, bytes).await?;
        let reader = Rc::new(Reader::new(base_offset, file, &indexes.offsets));
        let mut state = self.state.borrow_mut();
        // What was opened while names changed is for nobody else.
        if state.segment(base_offset).is_some() && state.swaps == swaps && !state.is_swapping {
            state.readers.put(Rc::clone(&reader));
        }
        Ok(reader)
    }
}

/// The right to make a file ready.
struct Turn<'a> {
    log: &'a Log,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.log.state.borrow_mut().is_preparing = false;
        self.log.waiting.wake_idle();
    }
}

impl Segment {
    /// Puts what was on disk in front of what was appended since the log was opened.
    fn take_in(
        &mut self,
        file: Rc<dyn File>,
        loaded: Indexes,
        first_timestamp: i64,
        config: &LogConfig,
    ) -> Rc<dyn File> {
        let Some(open) = self.open.as_mut() else { return file };
        open.indexes.go_on_from(loaded, self.base_offset, config);
        open.first_timestamp = first_timestamp;
        open.on_disk = OnDisk::Ready(Rc::clone(&file));
        file
    }
}

/// A segment's index files; None if one is missing or damaged, for then they are made anew.
pub(crate) async fn read_indexes(
    disk: &dyn Disk,
    folder: &str,
    base_offset: i64,
    config: &LogConfig,
) -> Result<Option<Indexes>, Error> {
    let path = |file| format!("{folder}/{}", segment_file_name(base_offset, file));
    let index_bytes = config.segment_index_bytes as usize;
    let bytes_max = index_bytes.max(INDEX_BYTES_MAX);
    let Some(bytes) = readable(read_whole(disk, &path(SegmentFile::OffsetIndex), bytes_max).await)? else {
        return Ok(None);
    };
    let Ok(offsets) = OffsetIndex::decode(base_offset, index_bytes, &bytes) else { return Ok(None) };
    let Some(bytes) = readable(read_whole(disk, &path(SegmentFile::TimeIndex), bytes_max).await)? else {
        return Ok(None);
    };
    let Ok(times) = TimeIndex::decode(base_offset, index_bytes, &bytes) else { return Ok(None) };
    let aborted = read_aborted(disk, folder, base_offset).await?;
    Ok(Some(Indexes { offsets, times, aborted, ..Indexes::new(base_offset, config) }))
}

/// A segment's aborted transactions; most have none and no file. A damaged file is not made anew: that takes
/// what was known of producers when the segment began.
pub(crate) async fn read_aborted(
    disk: &dyn Disk,
    folder: &str,
    base_offset: i64,
) -> Result<AbortedIndex, Error> {
    let path = format!("{folder}/{}", segment_file_name(base_offset, SegmentFile::AbortedIndex));
    let bytes = read_whole(disk, &path, INDEX_BYTES_MAX).await?.unwrap_or_default();
    AbortedIndex::decode(&bytes).map_err(|damage| damage.at(&path))
}

fn readable<T>(read: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(Error::Corrupt { .. }) => Ok(None),
        read => read,
    }
}

fn gone(base_offset: i64) -> Error {
    Error::io(&segment_file_name(base_offset, SegmentFile::Log), io::ErrorKind::NotFound.into())
}

/// Content between two index entries of a sealed segment, in memory.
const READER_INTERVAL_BYTES: u32 = 64 << 10;
/// Files and indexes of sealed segments that one log keeps open.
const READERS_MAX: usize = 4;
/// No index is larger; a longer file is damaged.
const INDEX_BYTES_MAX: usize = 256 << 20;
