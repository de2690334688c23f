//! The end of a segment that is not yet written: batches copied into aligned buffers, taken off as whole blocks.
//!
//! A batch never lies in two buffers. A buffer that follows another begins with a copy of the block the
//! other ends in, so a write always covers whole blocks, the last block of the file is written again
//! when it has grown, and buffers of one flight do not overlap on disk.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::Latest;
use crate::buffer::Buffer;
use crate::cache::Chunk;
use crate::disk::{BLOCK_BYTES, Disk};

/// Most bytes written at once, and so the most that a crash can leave torn. A larger batch goes alone.
pub(crate) const FLIGHT_BYTES_MAX: usize = 4 << 20;

const BUFFER_BYTES_MAX: usize = 1 << 20;
/// A partial block that would keep more memory than this alive is copied.
const KEEP_ALIVE_BYTES_MAX: usize = 16 << 10;
const BLOCK: u32 = BLOCK_BYTES as u32;

/// Where a batch begins, and its first offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub position: u32,
    pub offset: i64,
}

pub(crate) struct Tail {
    segment: i64,
    /// Consecutive; all but the first begin with a copy of their predecessor's last, partial block.
    pending: VecDeque<Pending>,
    /// Where the next batch goes.
    end: Place,
    /// What the file's last block holds below the first pending byte.
    partial: Partial,
    /// The first batch that begins in the block of `end`, or `end` if none does.
    block_first: Place,
    /// Bytes of recent flights: how large the next buffer should be.
    pace_bytes: usize,
}

enum Partial {
    Known(Bytes),
    /// On disk, not read since the log was opened.
    OnDisk,
}

struct Pending {
    buffer: Buffer,
    /// Position of its first byte, a block border.
    start: u32,
    /// The first batch that begins in it.
    first: Place,
    /// What follows its last batch.
    next_offset: i64,
    batches: u32,
    /// The segment's, up to there.
    latest: Latest,
}

/// What one flush writes.
pub(crate) struct Flight {
    /// Disjoint whole blocks with their positions.
    pub(crate) writes: Vec<(u64, Bytes)>,
    /// The same bytes for readers, once written.
    pub(crate) chunks: Vec<Chunk>,
    /// Where the file's content ends when all of it is written.
    pub(crate) end: Place,
    pub(crate) latest: Latest,
    pub(crate) batches: u32,
}

impl Tail {
    /// Goes on at `end`. If that is inside a block, the block's start must come from disk first.
    pub(crate) fn new(segment: i64, end: Place) -> Self {
        let partial =
            if end.position.is_multiple_of(BLOCK) { Partial::Known(Bytes::new()) } else { Partial::OnDisk };
        Self { segment, pending: VecDeque::new(), end, partial, block_first: end, pace_bytes: 0 }
    }

    /// Where the next batch goes, and its offset.
    pub(crate) fn end(&self) -> Place {
        self.end
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What the next flight at most covers in the file.
    pub(crate) fn dirty_range(&self) -> Range<u64> {
        let start = self.pending.front().map_or(self.end.position, |pending| pending.start);
        u64::from(start)..u64::from(self.end.position).next_multiple_of(BLOCK_BYTES as u64)
    }

    /// Copies a batch behind the others; the next one has `next_offset`. Returns where it now lies.
    pub(crate) fn push(&mut self, disk: &dyn Disk, batch: &[u8], next_offset: i64) -> &mut [u8] {
        if self.pending.back().is_none_or(|pending| pending.buffer.room() < batch.len()) {
            self.add_buffer(disk, batch.len());
        }
        let pending = self.pending.back_mut().expect("just made room");
        pending.buffer.extend(batch);
        pending.next_offset = next_offset;
        pending.batches += 1;
        let begin = self.end;
        let bytes = u32::try_from(batch.len()).expect("a batch fits its segment");
        self.end = Place { position: begin.position + bytes, offset: next_offset };
        let block = block_of(self.end.position);
        if block > begin.position {
            self.block_first = self.end;
        }
        let from = (begin.position - pending.start) as usize;
        &mut pending.buffer.as_mut()[from..]
    }

    /// The segment's largest timestamp, now that the batch just pushed counts.
    pub(crate) fn set_latest(&mut self, latest: Latest) {
        if let Some(pending) = self.pending.back_mut() {
            pending.latest = latest;
        }
    }

    fn add_buffer(&mut self, disk: &dyn Disk, batch_bytes: usize) {
        let start = block_of(self.end.position);
        let head = (self.end.position - start) as usize;
        let mut buffer = disk.buffer((head + batch_bytes).max(self.buffer_bytes()));
        let mut first = self.block_first;
        let mut batches = 0;
        match (self.pending.back(), &self.partial) {
            (Some(last), _) => {
                buffer.extend(&last.buffer.as_ref()[(start - last.start) as usize..]);
                if last.start == start {
                    // It filled no whole block: there is nothing of it that the new one does not hold.
                    first = last.first;
                    batches = last.batches;
                    self.pending.pop_back();
                }
            }
            (None, Partial::Known(bytes)) => buffer.extend(bytes),
            (None, Partial::OnDisk) => {
                buffer.whole()[..head].fill(0);
                buffer.set_len(head);
            }
        }
        assert_eq!(buffer.len(), head, "a buffer goes on where the last one ended");
        self.pending.push_back(Pending {
            buffer,
            start,
            first,
            next_offset: self.end.offset,
            batches,
            latest: Latest::NONE,
        });
    }

    fn buffer_bytes(&self) -> usize {
        let waiting: usize = self.pending.iter().map(|pending| pending.buffer.len()).sum();
        (2 * waiting).max(self.pace_bytes).next_power_of_two().clamp(BLOCK_BYTES, BUFFER_BYTES_MAX)
    }

    /// What has to be read from the file before the next flight: its last, partial block.
    pub(crate) fn missing(&self) -> Option<Range<u32>> {
        let end = self.pending.front().map_or(self.end.position, |pending| pending.start + self.head_bytes());
        matches!(self.partial, Partial::OnDisk).then(|| block_of(end)..end)
    }

    /// Bytes of the first pending buffer that were in the file before. Only asked while they are on disk.
    fn head_bytes(&self) -> u32 {
        self.pending.front().map_or(0, |pending| pending.first.position - pending.start)
    }

    /// Takes in the bytes of [`Self::missing`].
    pub(crate) fn fill(&mut self, bytes: &Bytes) {
        if !matches!(self.partial, Partial::OnDisk) {
            return;
        }
        if let Some(pending) = self.pending.front_mut() {
            pending.buffer.whole()[..bytes.len()].copy_from_slice(bytes);
        }
        self.partial = Partial::Known(bytes.clone());
    }

    /// Whole blocks of recent flights, the latest counting most.
    pub(crate) fn pace_bytes(&self) -> usize {
        self.pace_bytes
    }

    /// What is pending from a position in the file on, in parts.
    pub(crate) fn pending_from(&self, position: u32) -> Vec<&[u8]> {
        let mut from = position;
        let mut parts = Vec::new();
        for pending in &self.pending {
            let end = pending.start + self::position(pending.buffer.len());
            if end > from {
                parts.push(&pending.buffer.as_ref()[(from - pending.start) as usize..]);
                from = end;
            }
        }
        parts
    }

    /// Freezes what is pending, up to a flight's worth.
    pub(crate) fn take_off(&mut self) -> Option<Flight> {
        assert!(matches!(self.partial, Partial::Known(_)) || !self.is_dirty(), "the block is whole");
        let mut bytes = 0;
        let fits = |pending: &&Pending| {
            bytes += pending.buffer.len();
            bytes <= FLIGHT_BYTES_MAX
        };
        let count = self.pending.iter().take_while(fits).count().max(1);
        let taken: Vec<Pending> = self.pending.drain(..count.min(self.pending.len())).collect();
        let last = taken.last()?;
        let end_position = last.start + position(last.buffer.len());
        let end = Place { position: end_position, offset: last.next_offset };
        let latest = last.latest;
        let (writes, chunks) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
        let batches = taken.iter().map(|pending| pending.batches).sum();
        let mut flight = Flight { writes, chunks, end, latest, batches };
        let last = taken.len() - 1;
        for (at, pending) in taken.into_iter().enumerate() {
            self.freeze(pending, at == last, &mut flight);
        }
        let written: usize = flight.writes.iter().map(|(_, data)| data.len()).sum();
        self.pace_bytes = written.max(self.pace_bytes / 2);
        self.keep_partial(&flight);
        Some(flight)
    }

    fn freeze(&self, pending: Pending, is_last: bool, flight: &mut Flight) {
        let Pending { mut buffer, start, first, next_offset, .. } = pending;
        let (len, memory_bytes) = (buffer.len(), buffer.capacity());
        // Order: a block that goes on in the next buffer is written from there, and only once.
        let written = if is_last { len.next_multiple_of(BLOCK_BYTES) } else { len - len % BLOCK_BYTES };
        buffer.pad_to_block();
        let data = buffer.freeze();
        flight.writes.push((u64::from(start), data.slice(..written)));
        let data = data.slice(..len);
        let (segment, first_position, first_offset) = (self.segment, first.position, first.offset);
        flight.chunks.push(Chunk {
            segment,
            start,
            first_position,
            first_offset,
            next_offset,
            data,
            memory_bytes,
        });
    }

    fn keep_partial(&mut self, flight: &Flight) {
        let last = flight.chunks.last().expect("a flight has a chunk");
        let partial = last.data.slice(last.data.len() - last.data.len() % BLOCK_BYTES..);
        let is_cheap = last.memory_bytes <= KEEP_ALIVE_BYTES_MAX || partial.is_empty();
        self.partial = Partial::Known(if is_cheap { partial } else { Bytes::copy_from_slice(&partial) });
    }

    /// Forgets what is not written; the content ends at `end` again.
    pub(crate) fn roll_back(&mut self, end: Place) {
        *self = Self { pace_bytes: self.pace_bytes, ..Self::new(self.segment, end) };
    }
}

fn block_of(position: u32) -> u32 {
    position - position % BLOCK
}

fn position(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("positions are 32-bit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    fn batch(bytes: usize, fill: u8) -> Vec<u8> {
        vec![fill; bytes]
    }

    /// Writes a flight into `file`; the same block is never written twice.
    fn land(file: &mut Vec<u8>, flight: &Flight) {
        let mut written_to = 0;
        for (position, data) in &flight.writes {
            let from = usize::try_from(*position).unwrap();
            assert!(
                from >= written_to
                    && from.is_multiple_of(BLOCK_BYTES)
                    && data.len().is_multiple_of(BLOCK_BYTES)
            );
            written_to = from + data.len();
            file.resize(file.len().max(written_to), 0);
            file[from..written_to].copy_from_slice(data);
        }
        for chunk in &flight.chunks {
            let from = chunk.start as usize;
            assert_eq!(chunk.data, file[from..from + chunk.data.len()]);
        }
    }

    #[test]
    fn file_is_what_was_appended_whatever_the_sizes() {
        let disk = MemoryDisk::new(1);
        for sizes in [&[100; 200][..], &[5000, 1, 4095, 70_000, 3], &[4096, 4096, 8192], &[90, 2_000_000, 10]]
        {
            for flights in [1, 2, 7] {
                let mut tail = Tail::new(0, Place { position: 0, offset: 0 });
                let (mut file, mut expected) = (Vec::new(), Vec::new());
                for (at, size) in sizes.iter().enumerate() {
                    let batch = batch(*size, at as u8 + 1);
                    assert_eq!(tail.push(&disk, &batch, at as i64 + 1), batch);
                    expected.extend(batch);
                    if at % flights == 0 {
                        land(&mut file, &tail.take_off().unwrap());
                    }
                }
                while let Some(flight) = tail.take_off() {
                    land(&mut file, &flight);
                }
                assert_eq!(file[..expected.len()], expected);
                assert!(file[expected.len()..].iter().all(|byte| *byte == 0));
                assert!(file.len() < expected.len() + BLOCK_BYTES);
            }
        }
    }

    #[test]
    fn flight_is_limited_and_the_next_goes_on_in_its_last_block() {
        let disk = MemoryDisk::new(1);
        let mut tail = Tail::new(0, Place { position: 0, offset: 0 });
        for at in 0..60 {
            tail.push(&disk, &batch(100_001, at), i64::from(at) + 1);
        }
        let mut file = Vec::new();
        let mut flights = 0;
        while let Some(flight) = tail.take_off() {
            let bytes: usize = flight.writes.iter().map(|(_, data)| data.len()).sum();
            assert!(bytes <= FLIGHT_BYTES_MAX + BLOCK_BYTES);
            land(&mut file, &flight);
            flights += 1;
        }
        assert!(flights >= 2);
        assert_eq!(tail.end(), Place { position: 6_000_060, offset: 60 });
    }

    #[test]
    fn block_that_was_on_disk_is_written_back_with_its_old_bytes() {
        let disk = MemoryDisk::new(1);
        let mut tail = Tail::new(0, Place { position: 5000, offset: 7 });
        assert_eq!(tail.missing(), Some(4096..5000));
        tail.push(&disk, &batch(100, 2), 8);
        tail.push(&disk, &batch(9000, 3), 9);
        assert_eq!(tail.missing(), Some(4096..5000));
        tail.fill(&Bytes::from(batch(904, 1)));
        assert_eq!(tail.missing(), None);
        let mut file = batch(8192, 1);
        file[5000..].fill(0);
        let flight = tail.take_off().unwrap();
        land(&mut file, &flight);
        assert_eq!(flight.chunks[0].first_position, 5000);
        assert_eq!((file[4999], file[5000], file[5100], file[14_099]), (1, 2, 3, 3));
    }

    #[test]
    fn chunk_knows_the_first_batch_that_begins_in_it() {
        let disk = MemoryDisk::new(1);
        let mut tail = Tail::new(0, Place { position: 0, offset: 0 });
        tail.push(&disk, &batch(3000, 1), 1);
        tail.push(&disk, &batch(3000, 2), 2);
        tail.push(&disk, &batch(50, 2), 3);
        tail.take_off().unwrap();
        tail.push(&disk, &batch(50, 2), 4);
        let chunk = tail.take_off().unwrap().chunks.remove(0);
        // The second batch ends in this block; the third is the first that begins here.
        assert_eq!((chunk.start, chunk.first_position, chunk.first_offset), (4096, 6000, 2));
        assert_eq!((chunk.end(), chunk.next_offset), (6100, 4));
    }

    #[test]
    fn small_flights_take_small_buffers() {
        let disk = MemoryDisk::new(1);
        let mut tail = Tail::new(0, Place { position: 0, offset: 0 });
        for at in 0..100 {
            tail.push(&disk, &batch(100, 1), at + 1);
            let flight = tail.take_off().unwrap();
            assert!(flight.chunks[0].memory_bytes <= 2 * BLOCK_BYTES);
        }
    }
}
