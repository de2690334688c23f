//! What lies in a log's folder, after what a crash left over was removed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use super::swaps;
use crate::Error;
use crate::catalogue::{self, Entry};
use crate::disk::{self, Disk};
use crate::format::{ASIDE, Damage, Fate, SegmentFile, parse_segment_file_name, segment_file_name};

pub(super) struct Listing<'a> {
    /// What the catalogue says, if there is one and as far as it still holds.
    pub(super) known: Option<Cow<'a, Entry>>,
    /// Segments with the length of their files.
    pub(super) logs: BTreeMap<i64, u64>,
    /// Those with an offset index.
    pub(super) indexed: BTreeSet<i64>,
    pub(super) snapshots: BTreeSet<i64>,
    /// Segments wholly below the log's start: still to be removed.
    pub(super) doomed: VecDeque<i64>,
}

impl<'a> Listing<'a> {
    /// None if there is no segment, as there should not be.
    pub(super) async fn read(
        disk: &dyn Disk,
        folder: &str,
        known: Option<&'a Entry>,
    ) -> Result<Option<Self>, Error> {
        let mut entries = list(disk, folder).await?;
        let settled = swaps::settle(disk, folder, &entries).await?;
        if settled.has_changed {
            entries = list(disk, folder).await?;
        }
        let (mut logs, mut snapshots, mut indexed) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (mut leftovers, mut indexes) = (Vec::new(), Vec::new());
        for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
            match parse_segment_file_name(&entry.name) {
                Some((base_offset, SegmentFile::Log, Fate::InUse)) => {
                    logs.insert(base_offset, entry.bytes);
                }
                Some((offset, SegmentFile::Snapshot, Fate::InUse)) => {
                    snapshots.insert(offset);
                }
                Some((base_offset, file, Fate::InUse)) => {
                    if file == SegmentFile::OffsetIndex {
                        indexed.insert(base_offset);
                    }
                    indexes.push((base_offset, entry.name));
                }
                Some((_, _, Fate::Deleted | Fate::Cleaned | Fate::Swap)) => leftovers.push(entry.name),
                None if entry.name.ends_with(ASIDE) => leftovers.push(entry.name),
                None => {}
            }
        }
        let orphans = indexes.into_iter().filter(|(base_offset, _)| !logs.contains_key(base_offset));
        leftovers.extend(orphans.map(|(_, name)| name));
        for name in leftovers {
            let path = format!("{folder}/{name}");
            disk.remove(&path).await.map_err(|error| Error::io(&path, error))?;
        }
        let known = known.map(|known| swaps::adopt(known, &settled.compacted));
        let mut listing = Self { known, logs, indexed, snapshots, doomed: VecDeque::new() };
        listing.set_doomed_aside();
        listing.compare_with_known(folder)?;
        Ok((!listing.logs.is_empty()).then_some(listing))
    }

    /// A removal that a crash interrupted goes on later.
    fn set_doomed_aside(&mut self) {
        let Some(known) = &self.known else { return };
        let start_offset = known.log_start_offset;
        let first_known = known.segments.first().map_or(0, |first| first.base_offset);
        let bases: Vec<i64> = self.logs.keys().copied().collect();
        for pair in bases.windows(2) {
            if pair[0] < first_known || pair[1] <= start_offset {
                self.logs.remove(&pair[0]);
                self.doomed.push_back(pair[0]);
            }
        }
    }

    /// Segments may be missing at the front, where they are removed, and nowhere else.
    fn compare_with_known(&self, folder: &str) -> Result<(), Error> {
        let Some(known) = &self.known else { return Ok(()) };
        let Some(last) = known.segments.last() else { return Ok(()) };
        let first = self.logs.keys().next().copied();
        let is_missing = |segment: &&catalogue::Segment| match first {
            // All that was known may have been removed, once something else followed it.
            Some(first) if first > last.base_offset => first < known.recovery.offset,
            Some(first) => segment.base_offset >= first && !self.logs.contains_key(&segment.base_offset),
            None => true,
        };
        match known.segments.iter().find(is_missing) {
            Some(segment) => {
                let path = format!("{folder}/{}", segment_file_name(segment.base_offset, SegmentFile::Log));
                Err(Damage::new(0, "the file is missing").at(&path))
            }
            None => Ok(()),
        }
    }
}

async fn list(disk: &dyn Disk, folder: &str) -> Result<Vec<disk::Entry>, Error> {
    match disk.list(folder).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| Error::io(folder, error)),
    }
}
