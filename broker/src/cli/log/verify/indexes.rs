//! The indexes of a segment, walked along with its batches: an entry must lead to where a reader finds what it looks for.

use std::collections::VecDeque;
use std::path::Path;

use protocol::records::batch::BatchView;
use protocol::records::control::{ControlRecord, only_record};
use storage::format::{ABORTED_INDEX_ENTRY_BYTES, Damage, OFFSET_INDEX_ENTRY_BYTES, TIME_INDEX_ENTRY_BYTES};
use storage::segment::aborted_index::AbortedIndex;
use storage::segment::offset_index::OffsetIndex;
use storage::segment::time_index::TimeIndex;

use super::segment::{Segment, Walk};
use super::{Findings, Severity};
use crate::cli::failure::Failure;
use crate::cli::log::read;

/// Entries that no batch was found for yet, each with its place in the file.
pub(super) struct Indexes<'a> {
    segment: &'a Segment<'a>,
    /// An index above the recovery point may be torn; the next start makes it anew.
    severity: Severity,
    /// Offset and position.
    offsets: VecDeque<(u64, i64, u64)>,
    /// Timestamp and offset.
    times: VecDeque<(u64, i64, i64)>,
    /// Offsets of abort markers.
    aborted: VecDeque<(u64, i64)>,
    max_timestamp: i64,
}

impl<'a> Indexes<'a> {
    pub(super) fn open(
        segment: &'a Segment<'a>,
        walk: &Walk,
        findings: &mut Findings<'_>,
    ) -> Result<Self, Failure> {
        let severity = match segment.next_base_offset {
            Some(end) => walk.settled.severity(end),
            None if walk.settled.is_clean => Severity::Damage,
            None => Severity::Note,
        };
        let base_offset = segment.base_offset;
        let offsets = decoded(segment.offset_index, severity, findings, |bytes| offsets(base_offset, bytes))?;
        let times = decoded(segment.time_index, severity, findings, |bytes| times(base_offset, bytes))?;
        let aborted = decoded(segment.aborted_index, severity, findings, aborted)?;
        for (file, kind) in [(segment.offset_index, "offset"), (segment.time_index, "time")] {
            if file.is_none() && segment.next_base_offset.is_some() {
                findings.note(
                    segment.log,
                    None,
                    &format!("has no {kind} index; the next start makes one"),
                )?;
            }
        }
        Ok(Self { segment, severity, offsets, times, aborted, max_timestamp: i64::MIN })
    }

    /// The next batch of the segment.
    pub(super) fn pass(
        &mut self,
        position: u64,
        batch: &BatchView<'_>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Failure> {
        while let Some((at, offset, _)) = next_if(&mut self.offsets, |(.., target)| *target < position) {
            let what = format!("the entry for offset {offset} leads to where no batch begins");
            self.found(self.segment.offset_index, at, &what, findings)?;
        }
        while let Some((at, offset, _)) = next_if(&mut self.offsets, |(.., target)| *target == position) {
            // A reader goes on from here to find this offset or a later one.
            if !(batch.base_offset()..=batch.last_offset()).contains(&offset) {
                let (first, last) = (batch.base_offset(), batch.last_offset());
                let what = format!("the entry for offset {offset} leads to a batch with {first} to {last}");
                self.found(self.segment.offset_index, at, &what, findings)?;
            }
        }
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp());
        while let Some((at, timestamp, offset)) =
            next_if(&mut self.times, |(.., offset)| *offset <= batch.last_offset())
        {
            if self.max_timestamp > timestamp {
                let latest = self.max_timestamp;
                let what = format!(
                    "the entry says that nothing up to offset {offset} is later than {timestamp}, but {latest} is"
                );
                self.found(self.segment.time_index, at, &what, findings)?;
            }
        }
        while let Some((at, offset)) =
            next_if(&mut self.aborted, |(_, offset)| *offset <= batch.last_offset())
        {
            if offset < batch.base_offset() || !is_abort(batch) {
                let what = format!("at offset {offset} no transaction was aborted");
                self.found(self.segment.aborted_index, at, &what, findings)?;
            }
        }
        Ok(())
    }

    /// The segment ended at this position.
    pub(super) fn finish(self, end: u64, findings: &mut Findings<'_>) -> Result<(), Failure> {
        let beyond = |file: Option<&Path>, at: Option<u64>, findings: &mut Findings<'_>| match (file, at) {
            (Some(file), Some(at)) => findings.found(
                self.severity,
                file,
                Some(at),
                &format!("entries for what lies beyond the segment's {end} bytes"),
            ),
            _ => Ok(()),
        };
        beyond(self.segment.offset_index, self.offsets.front().map(|entry| entry.0), findings)?;
        beyond(self.segment.time_index, self.times.front().map(|entry| entry.0), findings)?;
        beyond(self.segment.aborted_index, self.aborted.front().map(|entry| entry.0), findings)
    }

    fn found(
        &self,
        file: Option<&Path>,
        at: u64,
        what: &str,
        findings: &mut Findings<'_>,
    ) -> Result<(), Failure> {
        findings.found(self.severity, file.expect("only a file has entries"), Some(at), what)
    }
}

fn next_if<T: Copy>(entries: &mut VecDeque<T>, is_due: impl Fn(&T) -> bool) -> Option<T> {
    let next = entries.front().copied().filter(is_due)?;
    entries.pop_front();
    Some(next)
}

/// The entries of a file; none if it is not there or damaged.
fn decoded<T>(
    file: Option<&Path>,
    severity: Severity,
    findings: &mut Findings<'_>,
    decode: impl FnOnce(&[u8]) -> Result<VecDeque<T>, Damage>,
) -> Result<VecDeque<T>, Failure> {
    let Some(file) = file else { return Ok(VecDeque::new()) };
    match decode(&read(file)?) {
        Ok(entries) => Ok(entries),
        Err(damage) => {
            findings.found(severity, file, Some(damage.position), &damage.found)?;
            Ok(VecDeque::new())
        }
    }
}

fn offsets(base_offset: i64, bytes: &[u8]) -> Result<VecDeque<(u64, i64, u64)>, Damage> {
    let index = OffsetIndex::decode(base_offset, bytes.len(), bytes)?;
    let places = (0..).step_by(OFFSET_INDEX_ENTRY_BYTES);
    let entries = places.zip(index.entries());
    Ok(entries.map(|(at, (offset, position))| (at, offset, u64::from(position))).collect())
}

fn times(base_offset: i64, bytes: &[u8]) -> Result<VecDeque<(u64, i64, i64)>, Damage> {
    let index = TimeIndex::decode(base_offset, bytes.len(), bytes)?;
    let places = (0..).step_by(TIME_INDEX_ENTRY_BYTES);
    Ok(places.zip(index.entries()).map(|(at, (timestamp, offset))| (at, timestamp, offset)).collect())
}

fn aborted(bytes: &[u8]) -> Result<VecDeque<(u64, i64)>, Damage> {
    let index = AbortedIndex::decode(bytes)?;
    let places = (0..).step_by(ABORTED_INDEX_ENTRY_BYTES);
    Ok(places.zip(index.entries()).map(|(at, entry)| (at, entry.last_offset)).collect())
}

fn is_abort(batch: &BatchView<'_>) -> bool {
    matches!(only_record(batch), Some(Ok(ControlRecord::Abort { .. })))
}
