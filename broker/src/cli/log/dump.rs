//! `millstream log dump`: what is in the files, in the words of Kafka's own dump tool.

use std::fs;
use std::path::{Path, PathBuf};

use cluster::metadata::MetadataRecord;
use protocol::primitives::DecodeError;
use protocol::records::batch::{BatchView, NO_SEQUENCE, sequence_after};
use protocol::records::compression::Decompressor;
use protocol::records::control::ControlRecord;
use protocol::records::record::Record;
use storage::format::{self, SegmentFile, parse_segment_file_name};

use super::batches::{BatchFile, Next};
use super::{listed, name, unreadable};
use crate::cli::UNPACKED_BYTES_MAX;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Unit};

mod small_files;

#[derive(clap::Args)]
#[command(
    after_help = "Folders are searched for segments (.log), indexes (.index, .timeindex, .txnindex), producer \
snapshots (.snapshot), metadata snapshots (.checkpoint), leader epochs and the other small files Kafka keeps there. \
Ends with 1 if a file is damaged.

Examples:
  millstream log dump data/orders-0 --print-data-log
  millstream log dump data/__cluster_metadata-0 --cluster-metadata-decoder
  millstream log dump --deep data/orders-0/00000000000000000000.log
  millstream log dump data/orders-0/leader-epoch-checkpoint"
)]
pub(crate) struct Arguments {
    /// Files or folders
    #[arg(required = true, value_name = "DIR_OR_FILE")]
    paths: Vec<PathBuf>,
    /// Print each record with key and payload
    #[arg(long)]
    print_data_log: bool,
    /// Print each record without key and payload
    #[arg(long, visible_alias = "deep-iteration")]
    deep: bool,
    /// Print what the records of the metadata log say
    #[arg(long, conflicts_with = "print_data_log")]
    cluster_metadata_decoder: bool,
}

/// How much of a record is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Batch,
    Record,
    Payload,
    Metadata,
}

impl Arguments {
    fn depth(&self) -> Depth {
        match () {
            () if self.cluster_metadata_decoder => Depth::Metadata,
            () if self.print_data_log => Depth::Payload,
            () if self.deep => Depth::Record,
            () => Depth::Batch,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut output = Output::stdout();
    let damaged = dump_all(arguments, &mut output)?;
    output.flush()?;
    match damaged {
        0 => Ok(()),
        1 => Err(Failure::failed("one file is damaged")),
        many => Err(Failure::failed(format!("{many} files are damaged"))),
    }
}

/// Returns how many files are damaged.
fn dump_all(arguments: &Arguments, output: &mut Output<'_>) -> Result<u32, Failure> {
    let mut files = Vec::new();
    for path in &arguments.paths {
        if path.is_dir() {
            find(path, &mut files)?;
        } else if kind(path).is_some() {
            files.push(path.clone());
        } else {
            let what = if path.exists() { "is no file of a log" } else { "does not exist" };
            return Err(Failure::failed(format!("{} {what}", path.display())));
        }
    }
    if files.is_empty() {
        return Err(Failure::failed("no file of a log is there"));
    }
    let mut progress = Progress::beside_output(Unit::Bytes);
    let bytes = |path: &PathBuf| fs::metadata(path).map_or(0, |facts| facts.len());
    progress.expect(files.iter().filter(|path| kind(path) == Some(Kind::Batches)).map(bytes).sum());
    let mut damaged = 0;
    for path in files {
        output.line(&format!("Dumping {}", path.display()))?;
        let found = match kind(&path) {
            Some(Kind::Batches) => batches(&path, arguments.depth(), &mut progress, output)?,
            Some(Kind::Small(file)) => small_files::dump(&path, file, output)?,
            None => None,
        };
        if let Some(found) = found {
            output.line(&format!("Damaged {} {found}", path.display()))?;
            damaged += 1;
        }
    }
    progress.finish();
    Ok(damaged)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for path in listed(folder)? {
        if path.is_dir() {
            find(&path, files)?;
        } else if kind(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Batches,
    Small(small_files::Kind),
}

/// By the file's name; files that compaction or deletion set aside are named like those they were.
fn kind(path: &Path) -> Option<Kind> {
    use small_files::Kind as Small;
    let name = name(path);
    if let Some((base_offset, file, _)) = parse_segment_file_name(name) {
        return Some(match file {
            SegmentFile::Log => Kind::Batches,
            SegmentFile::OffsetIndex => Kind::Small(Small::OffsetIndex(base_offset)),
            SegmentFile::TimeIndex => Kind::Small(Small::TimeIndex(base_offset)),
            SegmentFile::AbortedIndex => Kind::Small(Small::AbortedIndex),
            SegmentFile::Snapshot => Kind::Small(Small::Producers),
        });
    }
    match name {
        format::LEADER_EPOCHS
        | format::PARTITION_METADATA
        | format::META_PROPERTIES
        | format::CLEAN_SHUTDOWN => Some(Kind::Small(Small::Text)),
        format::RECOVERY_POINTS | format::LOG_STARTS | format::HIGH_WATERMARKS | format::CLEANER_OFFSETS => {
            Some(Kind::Small(Small::Text))
        }
        _ => metadata_snapshot(name).map(|_| Kind::Batches),
    }
}

/// End offset and epoch in the name of a metadata snapshot.
fn metadata_snapshot(name: &str) -> Option<(i64, i32)> {
    let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    Some((offset.parse().ok()?, epoch.parse().ok()?))
}

/// Returns what is wrong, if something is.
fn batches(
    path: &Path,
    depth: Depth,
    progress: &mut Progress,
    output: &mut Output<'_>,
) -> Result<Option<String>, Failure> {
    let failed = |error| unreadable(path, &error);
    if let Some((end_offset, epoch)) = metadata_snapshot(name(path)) {
        output.line(&format!("Snapshot end offset: {end_offset}, epoch: {epoch}"))?;
    } else if let Some((base_offset, ..)) = parse_segment_file_name(name(path)) {
        output.line(&format!("Log starting offset: {base_offset}"))?;
    }
    let mut file = BatchFile::open(path).map_err(failed)?;
    let mut decompressor = Decompressor::new();
    let mut damage = None;
    loop {
        match file.next().map_err(failed)? {
            Next::Batch(position, batch) => {
                progress.advance(batch.batch_len() as u64);
                let is_valid = batch.verify_crc();
                output.line(&batch_line(&batch, position, is_valid.is_ok()))?;
                if let Err(error) = is_valid {
                    damage = damage.or_else(|| Some(format!("at byte {position}: {error}")));
                } else if depth != Depth::Batch {
                    let walked = records(&batch, depth, &mut decompressor, output)?;
                    damage = damage.or_else(|| walked.map(|why| format!("at byte {position}: {why}")));
                }
            }
            Next::End => return Ok(damage),
            Next::Stopped(stopped) => {
                progress.advance(stopped.bytes_left);
                let (bytes, position) = (stopped.bytes_left, stopped.position);
                if stopped.is_zero {
                    output
                        .line(&format!("{bytes} bytes of room from byte {position} on are not used yet"))?;
                    return Ok(damage);
                }
                let here = format!("at byte {position}: {}; {bytes} bytes are left", stopped.why);
                return Ok(damage.or(Some(here)));
            }
        }
    }
}

fn batch_line(batch: &BatchView<'_>, position: u64, is_valid: bool) -> String {
    let codec =
        batch.codec().map_or_else(|| (batch.attributes() & 7).to_string(), |codec| codec.name().to_owned());
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {} position: {position} {}: {} \
         size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {is_valid}",
        batch.base_offset(),
        batch.last_offset(),
        batch.count(),
        batch.base_sequence(),
        batch.last_sequence(),
        batch.producer_id(),
        batch.producer_epoch(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
        optional(batch.delete_horizon_ms()),
        time_name(batch),
        batch.max_timestamp(),
        batch.batch_len(),
        batch.magic(),
        batch.crc(),
    )
}

/// Returns what is wrong, if something is.
fn records(
    batch: &BatchView<'_>,
    depth: Depth,
    decompressor: &mut Decompressor,
    output: &mut Output<'_>,
) -> Result<Option<String>, Failure> {
    let records = match batch.records(decompressor, UNPACKED_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => return Ok(Some(error.to_string())),
    };
    for record in records {
        match record {
            Ok(record) => output.line(&record_line(batch, &record, depth))?,
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    Ok(None)
}

fn record_line(batch: &BatchView<'_>, record: &Record<'_>, depth: Depth) -> String {
    let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let sequence = match batch.base_sequence() {
        NO_SEQUENCE => NO_SEQUENCE,
        base => sequence_after(base, record.offset_delta),
    };
    let header_keys: Vec<String> = record.headers().map(|header| header.key_text().into_owned()).collect();
    let line = format!(
        "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        batch.offset_of(record),
        time_name(batch),
        batch.timestamp_of(record),
        len(record.key),
        len(record.value),
        header_keys.join(","),
    );
    if batch.is_control() {
        return line + &control(&ControlRecord::decode(record));
    }
    match depth {
        Depth::Batch | Depth::Record => line,
        Depth::Payload => line + &text("key", record.key) + &text("payload", record.value),
        Depth::Metadata => line + &metadata(record.value.unwrap_or_default()),
    }
}

fn text(name: &str, bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(" {name}: {}", String::from_utf8_lossy(bytes)))
}

fn metadata(payload: &[u8]) -> String {
    match MetadataRecord::from_bytes(payload) {
        Ok(record) => format!(" payload: {record:?}"),
        Err(error) => format!(" payload: unreadable ({error})"),
    }
}

fn control(record: &Result<ControlRecord, DecodeError>) -> String {
    match record {
        Ok(ControlRecord::Abort { coordinator_epoch }) => {
            format!(" endTxnMarker: ABORT coordinatorEpoch: {coordinator_epoch}")
        }
        Ok(ControlRecord::Commit { coordinator_epoch }) => {
            format!(" endTxnMarker: COMMIT coordinatorEpoch: {coordinator_epoch}")
        }
        Ok(ControlRecord::LeaderChange(message)) => format!(" LeaderChange: {message:?}"),
        Ok(ControlRecord::SnapshotHeader(message)) => format!(" SnapshotHeader {message:?}"),
        Ok(ControlRecord::SnapshotFooter(message)) => format!(" SnapshotFooter {message:?}"),
        Ok(ControlRecord::KRaftVersion(message)) => format!(" KRaftVersion {message:?}"),
        Ok(ControlRecord::KRaftVoters(message)) => format!(" KRaftVoters {message:?}"),
        Ok(ControlRecord::Unknown(kind)) => format!(" controlType: {kind}"),
        Err(error) => format!(" controlType: unreadable ({error})"),
    }
}

fn time_name(batch: &BatchView<'_>) -> &'static str {
    if batch.has_log_append_time() { "LogAppendTime" } else { "CreateTime" }
}

/// As Java prints it.
fn optional(number: Option<i64>) -> String {
    number.map_or_else(|| "OptionalLong.empty".to_owned(), |number| format!("OptionalLong[{number}]"))
}

#[cfg(test)]
mod tests;
