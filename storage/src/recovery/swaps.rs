//! Compactions that a crash interrupted: those that count are finished, the others leave nothing behind.
//!
//! Ours say in [`COMPACTED`] that they count before any name changes. Apache Kafka's count once their log has the
//! suffix `.swap`.

use std::borrow::Cow;
use std::ops::Range;

use crate::Error;
use crate::catalogue::{self, Entry};
use crate::checkpoint::{CompactedSegment, parse_compacted, print_compacted, read_whole, write_atomically};
use crate::disk::{self, Disk, Mode};
use crate::format::{
    COMPACTED, COMPACTED_BYTES_MAX, Damage, Fate, SegmentFile, parse_segment_file_name, segment_file_name,
};
use crate::segment::reader::{Step, Walk};

/// A segment's file by its name.
#[derive(Clone, Copy)]
struct Named<'a> {
    base_offset: i64,
    file: SegmentFile,
    fate: Fate,
    name: &'a str,
    bytes: u64,
}

pub(super) struct Settled {
    /// Segments that compaction has made, as they are.
    pub(super) compacted: Vec<CompactedSegment>,
    /// Files have other names now, or are gone.
    pub(super) has_changed: bool,
}

pub(super) async fn settle(disk: &dyn Disk, folder: &str, entries: &[disk::Entry]) -> Result<Settled, Error> {
    let swaps = Swaps { disk, folder, files: entries.iter().filter_map(Named::of).collect() };
    if !entries.iter().any(|entry| entry.name == COMPACTED) {
        return Ok(Settled { compacted: Vec::new(), has_changed: swaps.finish_kafkas().await? });
    }
    let path = format!("{folder}/{COMPACTED}");
    let bytes = read_whole(disk, &path, COMPACTED_BYTES_MAX).await?.unwrap_or_default();
    let mut compacted = parse_compacted(&bytes).map_err(|damage| damage.at(&path))?;
    let has_changed = swaps.finish_ours(&mut compacted, &path).await?;
    Ok(Settled { compacted, has_changed })
}

struct Swaps<'a> {
    disk: &'a dyn Disk,
    folder: &'a str,
    files: Vec<Named<'a>>,
}

impl Swaps<'_> {
    async fn finish_ours(&self, compacted: &mut [CompactedSegment], path: &str) -> Result<bool, Error> {
        let mut is_any = false;
        for line in compacted.iter_mut().filter(|line| line.is_pending) {
            let replaced = line.base_offset + 1..line.next_offset;
            self.put_in_place(line.base_offset, replaced).await?;
            line.is_pending = false;
            is_any = true;
        }
        if is_any {
            // Order: names before the word that they are there.
            self.sync().await?;
            write_atomically(self.disk, path, print_compacted(compacted)).await?;
        }
        Ok(is_any)
    }

    async fn finish_kafkas(&self) -> Result<bool, Error> {
        let with = |fate: Fate| self.files.iter().filter(move |file| file.fate == fate);
        if with(Fate::Swap).next().is_none() {
            return Ok(false);
        }
        // Kafka: from the first one that was not finished on, the work was in vain.
        let first_unfinished = with(Fate::Cleaned).map(|file| file.base_offset).min().unwrap_or(i64::MAX);
        for file in with(Fate::Swap) {
            if file.base_offset >= first_unfinished {
                self.remove(file.name).await?;
            } else if file.file == SegmentFile::Log {
                let replaced = file.base_offset..self.next_offset(file).await?;
                self.put_in_place(file.base_offset, replaced).await?;
            } else if !with(Fate::Swap).any(|log| log.is_log_of(file)) {
                self.rename(file).await?;
            }
        }
        self.sync().await?;
        Ok(true)
    }

    /// Removes the segments that it replaces and gives its files their names. May be done again.
    async fn put_in_place(&self, base_offset: i64, replaced: Range<i64>) -> Result<(), Error> {
        let is_old = |file: &&Named<'_>| {
            file.fate == Fate::InUse
                && file.file != SegmentFile::Snapshot
                && replaced.contains(&file.base_offset)
        };
        for old in self.files.iter().filter(is_old) {
            self.remove(old.name).await?;
        }
        let is_new = |file: &&Named<'_>| {
            file.base_offset == base_offset && matches!(file.fate, Fate::Cleaned | Fate::Swap)
        };
        let (logs, indexes): (Vec<_>, Vec<_>) =
            self.files.iter().filter(is_new).partition(|file| file.file == SegmentFile::Log);
        for file in indexes.into_iter().chain(logs) {
            self.rename(file).await?;
        }
        Ok(())
    }

    async fn rename(&self, file: &Named<'_>) -> Result<(), Error> {
        let (from, to) = (self.path(file.name), self.path(&segment_file_name(file.base_offset, file.file)));
        self.disk.rename(&from, &to).await.map_err(|error| Error::io(&from, error))
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        self.disk.remove(&path).await.map_err(|error| Error::io(&path, error))
    }

    async fn sync(&self) -> Result<(), Error> {
        self.disk.sync_dir(self.folder).await.map_err(|error| Error::io(self.folder, error))
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Where a log ends that Kafka has finished writing.
    async fn next_offset(&self, file: &Named<'_>) -> Result<i64, Error> {
        let path = self.path(file.name);
        let failed = |error| Error::io(&path, error);
        let opened = self.disk.open(&path, Mode::Direct).await.map_err(failed)?;
        let len = u32::try_from(file.bytes)
            .map_err(|_| Damage::new(0, format!("{} bytes are no segment", file.bytes)).at(&path))?;
        let mut walk = Walk::scan(opened, 0, len);
        let mut next_offset = file.base_offset;
        loop {
            match walk.next().await.map_err(failed)? {
                Step::End => return Ok(next_offset),
                Step::Bad { position, found } => return Err(Damage::new(position as usize, found).at(&path)),
                Step::Batch { bytes, .. } => {
                    let batch = protocol::records::batch::BatchView::parse(&bytes);
                    next_offset = batch.map_or(next_offset, |batch| batch.next_offset());
                }
            }
        }
    }
}

impl<'a> Named<'a> {
    fn of(entry: &'a disk::Entry) -> Option<Self> {
        let (base_offset, file, fate) = parse_segment_file_name(&entry.name)?;
        Some(Self { base_offset, file, fate, name: &entry.name, bytes: entry.bytes })
    }

    fn is_log_of(&self, other: &Self) -> bool {
        self.file == SegmentFile::Log && self.base_offset == other.base_offset
    }
}

/// What a catalogue says, with the segments that compaction has made since it was written.
pub(super) fn adopt<'a>(known: &'a Entry, compacted: &[CompactedSegment]) -> Cow<'a, Entry> {
    let (Some(first), Some(last)) = (known.segments.first(), known.segments.last()) else {
        return Cow::Borrowed(known);
    };
    let (first, last) = (first.base_offset, last.base_offset);
    let mut adopted = Cow::Borrowed(known);
    for line in compacted.iter().filter(|line| line.next_offset > first) {
        if line.next_offset > last {
            // The recovery point lies in what was compacted: what was said of the segment around it is void.
            return Cow::Owned(Entry { segments: Vec::new(), ..known.clone() });
        }
        let segment = line.describe();
        if adopted.segments.contains(&segment) {
            continue;
        }
        let segments = &mut adopted.to_mut().segments;
        segments.retain(|old| !(line.base_offset..line.next_offset).contains(&old.base_offset));
        let at = segments.partition_point(|old| old.base_offset < line.base_offset);
        segments.insert(at, segment);
    }
    adopted
}

impl CompactedSegment {
    fn describe(&self) -> catalogue::Segment {
        catalogue::Segment {
            base_offset: self.base_offset,
            bytes: self.bytes,
            next_offset: self.next_offset,
            max_timestamp: self.max_timestamp,
            offset_of_max_timestamp: self.offset_of_max_timestamp,
            ..catalogue::Segment::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bounds: &[(i64, i64)]) -> Entry {
        let segment = |(base_offset, next_offset): &(i64, i64)| catalogue::Segment {
            base_offset: *base_offset,
            next_offset: *next_offset,
            bytes: 100,
            ..catalogue::Segment::default()
        };
        Entry { segments: bounds.iter().map(segment).collect(), ..Entry::default() }
    }

    fn line(base_offset: i64, next_offset: i64) -> CompactedSegment {
        CompactedSegment {
            base_offset,
            next_offset,
            bytes: 70,
            max_timestamp: 5,
            offset_of_max_timestamp: 6,
            is_pending: false,
        }
    }

    fn adopted(bounds: &[(i64, i64)], lines: &[CompactedSegment]) -> Vec<(i64, i64, u32)> {
        let entry = entry(bounds);
        let adopted = adopt(&entry, lines);
        adopted.segments.iter().map(|one| (one.base_offset, one.next_offset, one.bytes)).collect()
    }

    #[test]
    fn segments_made_since_take_the_place_of_the_old_ones() {
        let bounds = [(0, 10), (10, 20), (20, 30), (30, 35)];
        assert_eq!(adopted(&bounds, &[line(0, 20)]), [(0, 20, 70), (20, 30, 100), (30, 35, 100)]);
        assert_eq!(
            adopted(&bounds, &[line(0, 10), line(10, 30)]),
            [(0, 10, 70), (10, 30, 70), (30, 35, 100)]
        );
    }

    #[test]
    fn recovery_point_in_a_segment_made_since_is_all_that_stays() {
        assert_eq!(adopted(&[(0, 10), (10, 15)], &[line(0, 20)]), []);
        assert_eq!(adopted(&[], &[line(0, 20)]), []);
    }

    #[test]
    fn what_was_made_and_deleted_before_is_passed_over() {
        assert_eq!(adopted(&[(20, 30), (30, 35)], &[line(0, 20)]), [(20, 30, 100), (30, 35, 100)]);
    }
}
