//! One file's bytes: what readers see, what is on stable storage, and the changes between the two.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use super::random::Random;
use crate::disk::BLOCK_BYTES;

/// What a device writes in one piece, whatever happens.
pub(super) const SECTOR_BYTES: usize = 512;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Sparse bytes; what was never written reads as zeros.
#[derive(Clone, Default)]
pub(super) struct Image {
    blocks: BTreeMap<u64, Rc<[u8; BLOCK_BYTES]>>,
    pub(super) len: u64,
}

impl Image {
    pub(super) fn read(&self, position: u64, bytes: usize) -> Vec<u8> {
        let end = position.saturating_add(bytes as u64).min(self.len);
        let mut out = vec![0; index(end.saturating_sub(position))];
        for (block, within, at) in pieces(position, out.len()) {
            if let Some(held) = self.blocks.get(&block) {
                out[at..at + within.len()].copy_from_slice(&held[within]);
            }
        }
        out
    }

    /// Stores bytes; the length stays as it is.
    fn store(&mut self, position: u64, data: &[u8]) {
        for (block, within, at) in pieces(position, data.len()) {
            let held = self.blocks.entry(block).or_insert_with(|| Rc::new([0; BLOCK_BYTES]));
            Rc::make_mut(held)[within.clone()].copy_from_slice(&data[at..at + within.len()]);
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            drop(self.blocks.split_off(&len.div_ceil(BLOCK)));
            if let Some(last) = self.blocks.get_mut(&(len / BLOCK)) {
                Rc::make_mut(last)[index(len % BLOCK)..].fill(0);
            }
        }
        self.len = len;
    }

    pub(super) fn flip_bit(&mut self, position: u64, bit: u8) {
        let mut byte = self.read(position, 1);
        if let Some(byte) = byte.first_mut() {
            *byte ^= 1 << (bit % 8);
        }
        self.store(position, &byte);
    }
}

#[derive(Clone)]
enum What {
    Write { position: u64, data: Bytes },
    Len(u64),
}

#[derive(Clone)]
struct Change {
    sequence: u64,
    what: What,
    /// A flush that covered it failed: no later one makes it durable.
    given_up: bool,
}

#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) seen: Image,
    pub(super) durable: Image,
    /// In the order made. Invariant: durable + changes = seen, given-up ones aside.
    changes: Vec<Change>,
    next_sequence: u64,
    /// Blocks that cost space, as sorted disjoint ranges.
    allocated: Vec<Range<u64>>,
}

impl Content {
    pub(super) fn stable(data: &[u8]) -> Self {
        let mut image = Image { len: data.len() as u64, ..Image::default() };
        image.store(0, data);
        let mut content = Self { durable: image.clone(), seen: image, ..Self::default() };
        content.occupy(0, data.len() as u64);
        content
    }

    /// Marks what a flush that starts now will cover.
    pub(super) fn flush_mark(&self) -> u64 {
        self.next_sequence
    }

    pub(super) fn write(&mut self, position: u64, data: &Bytes, is_durable: bool) {
        let end = position + data.len() as u64;
        self.occupy(position, data.len() as u64);
        self.seen.store(position, data);
        if !is_durable {
            self.push(What::Write { position, data: data.clone() });
        }
        if end > self.seen.len {
            self.set_len(end);
        }
        if is_durable {
            // Order: lengths first, because a cut among them empties what lies beyond it.
            if self.shortest_pending().min(self.durable.len) < end {
                self.settle_lengths();
            }
            self.supersede(position..end);
            self.durable.store(position, data);
        }
    }

    /// A write that was cut short: each sector made it to the device or did not.
    pub(super) fn write_some(&mut self, position: u64, data: &Bytes, random: &mut Random) {
        for piece in sectors(position, data) {
            if random.one_in(2) {
                self.write(piece.0, &piece.1, false);
            }
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.seen.set_len(len);
        self.allocated.retain(|range| range.start < len.div_ceil(BLOCK));
        if let Some(last) = self.allocated.last_mut() {
            last.end = last.end.min(len.div_ceil(BLOCK));
        }
        self.push(What::Len(len));
    }

    pub(super) fn allocate(&mut self, position: u64, bytes: u64) {
        self.occupy(position, bytes);
        if position + bytes > self.seen.len {
            self.set_len(position + bytes);
        }
    }

    /// Everything before the mark is on stable storage.
    pub(super) fn flush(&mut self, mark: u64) {
        let later = self.changes.iter().position(|change| change.sequence >= mark);
        let later = self.changes.split_off(later.unwrap_or(self.changes.len()));
        for change in std::mem::replace(&mut self.changes, later) {
            if !change.given_up {
                make(&mut self.durable, &change.what);
            }
        }
    }

    /// A flush failed: of what it covered, some is lost for good though readers still see it.
    pub(super) fn fail_flush(&mut self, mark: u64, random: &mut Random) {
        for change in self.changes.iter_mut().filter(|change| change.sequence < mark) {
            change.given_up |= random.one_in(2);
        }
    }

    /// What a power cut leaves: lengths up to some point in their order, any subset of the sectors.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let lengths = self.changes.iter().filter(|change| matches!(change.what, What::Len(_))).count();
        let mut lengths_left = random.below(lengths as u64 + 1);
        let mut image = self.durable.clone();
        for change in self.changes.iter().filter(|change| !change.given_up) {
            match &change.what {
                What::Len(_) if lengths_left > 0 => {
                    lengths_left -= 1;
                    make(&mut image, &change.what);
                }
                What::Len(_) => {}
                What::Write { position, data } => keep_some(&mut image, *position, data, random),
            }
        }
        Self::from_image(image)
    }

    /// What is left when only the process dies: all that readers saw.
    pub(super) fn after_kill(&self) -> Self {
        self.clone()
    }

    /// A cut-short write as found after a power cut, on top of what else is left.
    pub(super) fn after_torn_write(&mut self, position: u64, data: &Bytes, random: &mut Random) {
        let mut image = std::mem::take(&mut self.seen);
        keep_some(&mut image, position, data, random);
        let end = position + data.len() as u64;
        if end > image.len && random.one_in(2) {
            image.set_len(end);
        }
        *self = Self::from_image(image);
    }

    pub(super) fn allocated_blocks(&self) -> u64 {
        self.allocated.iter().map(|range| range.end - range.start).sum()
    }

    /// Blocks that a write or an allocation of this range would newly take.
    pub(super) fn blocks_wanted(&self, position: u64, bytes: u64) -> u64 {
        let wanted = blocks(position, bytes);
        let held: u64 = self
            .allocated
            .iter()
            .map(|range| range.end.min(wanted.end).saturating_sub(range.start.max(wanted.start)))
            .sum();
        wanted.end - wanted.start - held
    }

    pub(super) fn is_durable(&self) -> bool {
        self.changes.is_empty()
    }

    /// What is read now would be read after a power cut, too.
    pub(super) fn is_flushed(&self) -> bool {
        let bytes = usize::try_from(self.seen.len).expect("it is in memory");
        self.durable.len >= self.seen.len && self.durable.read(0, bytes) == self.seen.read(0, bytes)
    }

    fn from_image(mut image: Image) -> Self {
        // What lies beyond the end was never reachable; it must not come back when the file grows.
        let len = image.len;
        image.len = u64::MAX;
        image.set_len(len);
        let mut content = Self { durable: image.clone(), seen: image, ..Self::default() };
        content.occupy(0, len);
        content
    }

    fn push(&mut self, what: What) {
        self.changes.push(Change { sequence: self.next_sequence, what, given_up: false });
        self.next_sequence += 1;
    }

    /// Earlier unflushed writes to this range can no longer come back over what is durable now.
    fn supersede(&mut self, range: Range<u64>) {
        let mut kept = Vec::with_capacity(self.changes.len());
        for change in self.changes.drain(..) {
            let What::Write { position, data } = &change.what else {
                kept.push(change);
                continue;
            };
            let end = position + data.len() as u64;
            let before = index(range.start.clamp(*position, end) - position);
            let after = index(range.end.clamp(*position, end) - position);
            if before >= after {
                kept.push(change);
                continue;
            }
            for piece in [0..before, after..data.len()] {
                if !piece.is_empty() {
                    let what = What::Write {
                        position: position + piece.start as u64,
                        data: data.slice(piece.clone()),
                    };
                    kept.push(Change { what, ..change });
                }
            }
        }
        self.changes = kept;
    }

    fn shortest_pending(&self) -> u64 {
        let lengths = self.changes.iter().filter_map(|change| match change.what {
            What::Len(len) => Some(len),
            What::Write { .. } => None,
        });
        lengths.min().unwrap_or(u64::MAX)
    }

    /// The file's length and all that led to it are on stable storage; written data is not.
    fn settle_lengths(&mut self) {
        let mut kept: Vec<Change> = Vec::with_capacity(self.changes.len());
        for change in self.changes.drain(..) {
            let What::Len(len) = change.what else {
                kept.push(change);
                continue;
            };
            // What was written before a cut, and cut, must not come back.
            kept.retain_mut(|earlier| {
                let What::Write { position, data } = &mut earlier.what else { return true };
                data.truncate(index(len.saturating_sub(*position)).min(data.len()));
                !data.is_empty()
            });
            self.durable.set_len(len);
        }
        self.changes = kept;
    }

    fn occupy(&mut self, position: u64, bytes: u64) {
        let mut wanted = blocks(position, bytes);
        if wanted.is_empty() {
            return;
        }
        self.allocated.retain(|range| {
            let touches = range.start <= wanted.end && wanted.start <= range.end;
            if touches {
                wanted = range.start.min(wanted.start)..range.end.max(wanted.end);
            }
            !touches
        });
        let at = self.allocated.partition_point(|range| range.start < wanted.start);
        self.allocated.insert(at, wanted);
    }
}

fn make(image: &mut Image, what: &What) {
    match what {
        What::Write { position, data } => image.store(*position, data),
        What::Len(len) => image.set_len(*len),
    }
}

/// Applies a write wholly, not at all, or torn at sector borders.
fn keep_some(image: &mut Image, position: u64, data: &Bytes, random: &mut Random) {
    match random.below(3) {
        0 => {}
        1 => image.store(position, data),
        _ => {
            for (at, piece) in sectors(position, data) {
                if random.one_in(2) {
                    image.store(at, &piece);
                }
            }
        }
    }
}

/// The parts of a write that stand or fall on their own.
fn sectors(position: u64, data: &Bytes) -> Vec<(u64, Bytes)> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let start = position + at as u64;
        let room = SECTOR_BYTES - index(start % SECTOR_BYTES as u64);
        let end = (at + room).min(data.len());
        parts.push((start, data.slice(at..end)));
        at = end;
    }
    parts
}

/// Block number, range within it, and where that range starts in the whole.
fn pieces(position: u64, bytes: usize) -> impl Iterator<Item = (u64, Range<usize>, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = position + at as u64;
        let from = index(start % BLOCK);
        let len = (BLOCK_BYTES - from).min(bytes - at);
        let piece = (start / BLOCK, from..from + len, at);
        at += len;
        (len > 0).then_some(piece)
    })
}

fn blocks(position: u64, bytes: u64) -> Range<u64> {
    position / BLOCK..(position + bytes).div_ceil(BLOCK)
}

fn index(value: u64) -> usize {
    usize::try_from(value).expect("memory files are small")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(byte: u8, bytes: usize) -> Bytes {
        Bytes::from(vec![byte; bytes])
    }

    #[test]
    fn durable_bytes_survive_whatever_was_written_to_their_block_before() {
        for seed in 0..200 {
            let mut content = Content::default();
            content.write(0, &filled(1, 8192), false);
            content.write(4096, &filled(2, 4096), true);
            let left = content.after_power_cut(&mut Random::new(seed));
            assert_eq!(left.seen.len, 8192);
            assert_eq!(left.seen.read(4096, 4096), vec![2; 4096], "seed {seed}");
        }
    }

    #[test]
    fn unsynced_writes_are_lost_kept_or_torn_at_sectors() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let mut content = Content::default();
            content.allocate(0, 4096);
            content.flush(content.flush_mark());
            content.write(0, &filled(1, 4096), false);
            let left = content.after_power_cut(&mut Random::new(seed)).seen.read(0, 4096);
            for sector in left.chunks(SECTOR_BYTES) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "torn inside a sector");
            }
            outcomes.insert(left.iter().filter(|byte| **byte == 1).count() / SECTOR_BYTES);
        }
        assert!(outcomes.contains(&0) && outcomes.contains(&8) && outcomes.len() > 4, "{outcomes:?}");
    }

    #[test]
    fn flush_covers_what_was_written_before_it_began_and_no_more() {
        let mut content = Content::default();
        content.write(0, &filled(1, 512), false);
        let mark = content.flush_mark();
        content.write(512, &filled(2, 512), false);
        content.flush(mark);
        assert_eq!((content.durable.len, content.seen.len), (512, 1024));
        assert!(!content.is_durable());
    }

    #[test]
    fn bytes_cut_off_read_as_zeros_when_the_file_grows_again() {
        let mut content = Content::default();
        content.write(0, &filled(7, 6000), false);
        content.set_len(100);
        content.set_len(6000);
        assert_eq!(content.seen.read(0, 100), vec![7; 100]);
        assert_eq!(content.seen.read(100, 9000), vec![0; 5900]);
        content.write(0, &filled(3, 1), true);
        for seed in 0..50 {
            let left = content.after_power_cut(&mut Random::new(seed)).seen;
            assert!(left.len >= 1 && left.read(0, 1) == [3], "seed {seed}");
        }
    }

    #[test]
    fn durable_bytes_survive_a_cut_that_was_not_synced_before_them() {
        for seed in 0..50 {
            let mut content = Content::stable(&[5; 8192]);
            content.set_len(0);
            content.write(0, &filled(6, 4096), true);
            let left = content.after_power_cut(&mut Random::new(seed)).seen;
            assert_eq!(left.read(0, 8192), vec![6; 4096], "seed {seed}");
        }
    }

    #[test]
    fn failed_flush_leaves_writes_that_no_later_flush_saves() {
        let mut content = Content::default();
        for block in 0..32 {
            content.write(block * 4096, &filled(9, 4096), false);
        }
        content.fail_flush(content.flush_mark(), &mut Random::new(5));
        content.flush(content.flush_mark());
        assert_ne!(content.durable.read(0, 32 * 4096), content.seen.read(0, 32 * 4096));
    }

    #[test]
    fn space_is_counted_once_per_block() {
        let mut content = Content::default();
        content.allocate(0, 10 * 4096);
        assert_eq!((content.allocated_blocks(), content.blocks_wanted(4096, 4096)), (10, 0));
        assert_eq!(content.blocks_wanted(9 * 4096, 3 * 4096), 2);
        content.set_len(4097);
        assert_eq!(content.allocated_blocks(), 2);
    }
}
