//! Indexes, producer snapshots and text files: all that is read as a whole.

use std::path::Path;

use storage::checkpoint;
use storage::format::{self, Damage};
use storage::producers::{SnapshotEntry, decode_snapshot, decrement};
use storage::segment::aborted_index::AbortedIndex;
use storage::segment::offset_index::OffsetIndex;
use storage::segment::time_index::TimeIndex;

use super::optional;
use crate::cli::failure::Failure;
use crate::cli::log::{name, read};
use crate::cli::output::Output;

/// With the base offset where the content is relative to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    OffsetIndex(i64),
    TimeIndex(i64),
    AbortedIndex,
    Producers,
    Text,
}

/// Returns what is wrong, if something is.
pub(super) fn dump(path: &Path, kind: Kind, output: &mut Output<'_>) -> Result<Option<String>, Failure> {
    let bytes = read(path)?;
    let lines = match kind {
        Kind::OffsetIndex(base_offset) => offset_index(base_offset, &bytes),
        Kind::TimeIndex(base_offset) => time_index(base_offset, &bytes),
        Kind::AbortedIndex => aborted_index(&bytes),
        Kind::Producers => producers(&bytes),
        Kind::Text => text(name(path), &bytes),
    };
    match lines {
        Ok(lines) => {
            for line in lines {
                output.line(&line)?;
            }
            Ok(None)
        }
        Err(damage) => Ok(Some(damage.to_string())),
    }
}

fn offset_index(base_offset: i64, bytes: &[u8]) -> Result<Vec<String>, Damage> {
    let index = OffsetIndex::decode(base_offset, bytes.len(), bytes)?;
    Ok(index.entries().map(|(offset, position)| format!("offset: {offset} position: {position}")).collect())
}

fn time_index(base_offset: i64, bytes: &[u8]) -> Result<Vec<String>, Damage> {
    let index = TimeIndex::decode(base_offset, bytes.len(), bytes)?;
    Ok(index
        .entries()
        .map(|(timestamp, offset)| format!("timestamp: {timestamp} offset: {offset}"))
        .collect())
}

fn aborted_index(bytes: &[u8]) -> Result<Vec<String>, Damage> {
    let index = AbortedIndex::decode(bytes)?;
    let lines = index.entries().iter().map(|entry| {
        format!(
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            format::ABORTED_INDEX_VERSION,
            entry.producer_id,
            entry.first_offset,
            entry.last_offset,
            entry.last_stable_offset,
        )
    });
    Ok(lines.collect())
}

fn producers(bytes: &[u8]) -> Result<Vec<String>, Damage> {
    Ok(decode_snapshot(bytes)?.iter().map(producer).collect())
}

fn producer(entry: &SnapshotEntry) -> String {
    let transaction_start = (entry.transaction_start >= 0).then_some(entry.transaction_start);
    let line = format!(
        "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {} ",
        entry.producer_id,
        entry.epoch,
        entry.coordinator_epoch,
        optional(transaction_start),
        entry.timestamp,
    );
    if entry.last_offset < 0 {
        return line;
    }
    line + &format!(
        "firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
        decrement(entry.last_sequence, entry.offset_delta),
        entry.last_sequence,
        entry.last_offset,
        entry.offset_delta,
        entry.timestamp,
    )
}

/// As it is, once it was understood.
fn text(name: &str, bytes: &[u8]) -> Result<Vec<String>, Damage> {
    match name {
        format::LEADER_EPOCHS => checkpoint::parse_epochs(bytes).map(|_| ())?,
        format::PARTITION_METADATA => checkpoint::parse_partition_metadata(bytes).map(|_| ())?,
        format::META_PROPERTIES => checkpoint::parse_meta_properties(bytes).map(|_| ())?,
        format::CLEAN_SHUTDOWN => {}
        _ => checkpoint::parse_offsets(bytes).map(|_| ())?,
    }
    Ok(String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect())
}
