//! Judges what a client sent to be appended: Kafka's checks in Kafka's order, so that a batch with two faults is refused for the same one.
//!
//! First `only_batch`, when the request is read; then `accept`, when the log's turn comes. Producer state is not looked at here.

use std::borrow::Cow;
use std::fmt;

use super::batch::{self, BatchError, BatchHeader, BatchView, NO_TIMESTAMP, next_len};
use super::builder::{BatchBuilder, BatchFull};
use super::compression::{Codec, Decompressor};
use super::record::{Record, RecordError};
use crate::error_code::ErrorCode;

/// First version of Produce that may carry zstd.
const ZSTD_FROM: i16 = 7;
/// More are not told one by one. Clients then say of a record that it was part of a bad batch.
const RECORD_REFUSALS_MAX: usize = 1_000;

/// What a topic asks of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `message.timestamp.type`
    pub log_append_time: bool,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// `max.message.bytes`
    pub message_bytes_max: usize,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` keeps what the producer chose.
    pub codec: Option<Codec>,
    /// `compression.*.level` of that codec.
    pub level: Option<i32>,
    /// No batch may unpack to more.
    pub unpacked_bytes_max: usize,
}

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Batch(BatchError),
    MoreThanOneBatch,
    /// The version of the request is older than zstd.
    ZstdTooEarly,
    UnknownCodec,
    BaseOffset(i64),
    TooLarge {
        bytes: usize,
        bytes_max: usize,
    },
    Count {
        count: i32,
        last_offset_delta: i32,
    },
    Control,
    /// A producer id, and a sequence that is none.
    Sequence(i32),
    /// The records do not read as the batch announces them.
    Malformed(RecordError),
    /// Some of the records are not welcome here.
    Records(Vec<RecordRefusal>),
}

/// Why one record is not appended, and the batch with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRefusal {
    /// Its place in the batch.
    pub index: i32,
    pub reason: RecordFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    NoKey,
    Timestamp(i64),
    /// Only a broker may say that a time is that of the append.
    LogAppendTime,
}

impl Refusal {
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Batch(BatchError::TooShort | BatchError::BadMagic(0 | 1)) => ErrorCode::INVALID_RECORD,
            Self::Batch(_) => ErrorCode::CORRUPT_MESSAGE,
            // Kafka: for a codec that does not exist the answer is UNKNOWN_SERVER_ERROR.
            Self::ZstdTooEarly | Self::UnknownCodec => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            Self::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            Self::Records(all) if all.iter().any(|one| one.reason != RecordFault::NoKey) => {
                ErrorCode::INVALID_TIMESTAMP
            }
            _ => ErrorCode::INVALID_RECORD,
        }
    }

    /// The records to blame, if it was records.
    pub fn records(&self) -> &[RecordRefusal] {
        match self {
            Self::Records(all) => all,
            _ => &[],
        }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        Self::Malformed(error)
    }
}

/// The one batch that a partition of a request may hold. A second one that is not all there is not seen.
pub fn only_batch(records: &[u8], request_version: i16) -> Result<BatchView<'_>, Refusal> {
    let batch = BatchView::parse(records)?;
    if request_version < ZSTD_FROM && batch.codec() == Some(Codec::Zstd) {
        return Err(Refusal::ZstdTooEarly);
    }
    match next_len(&records[batch.batch_len()..])? {
        None => Ok(batch),
        Some(_) => Err(Refusal::MoreThanOneBatch),
    }
}

/// The batch as it is to be appended: as it was sent, unless its codec is not the topic's, or its offsets or its greatest timestamp are
/// not what its records say. What a leader stamps is left to do.
pub fn accept<'a>(
    batch: BatchView<'a>,
    rules: &Rules,
    now_ms: i64,
    decompressor: &mut Decompressor,
) -> Result<Cow<'a, [u8]>, Refusal> {
    check_header(&batch, rules)?;
    let header = BatchHeader::of(&batch).ok_or(Refusal::UnknownCodec)?;
    let seen = walk(&batch, rules, now_ms, decompressor)?;
    let codec = rules.codec.unwrap_or(header.codec);
    if codec != header.codec || !seen.offsets_are_dense {
        let made = rewrite(&batch, BatchHeader { codec, ..header }, rules, decompressor)?;
        return match made.len() {
            bytes if bytes > rules.message_bytes_max => {
                Err(Refusal::TooLarge { bytes, bytes_max: rules.message_bytes_max })
            }
            _ => Ok(made.into()),
        };
    }
    if rules.log_append_time || seen.max_timestamp == batch.max_timestamp() {
        return Ok(batch.bytes().into());
    }
    let mut bytes = batch.bytes().to_vec();
    batch::set_max_timestamp(&mut bytes, seen.max_timestamp);
    Ok(bytes.into())
}

fn check_header(batch: &BatchView<'_>, rules: &Rules) -> Result<(), Refusal> {
    let (bytes, bytes_max) = (batch.batch_len(), rules.message_bytes_max);
    let (count, last_offset_delta) = (batch.count(), batch.last_offset_delta());
    if batch.base_offset() != 0 {
        return Err(Refusal::BaseOffset(batch.base_offset()));
    }
    if bytes > bytes_max {
        return Err(Refusal::TooLarge { bytes, bytes_max });
    }
    batch.verify_crc()?;
    if count <= 0 || i64::from(last_offset_delta) + 1 != i64::from(count) {
        return Err(Refusal::Count { count, last_offset_delta });
    }
    if batch.is_control() {
        return Err(Refusal::Control);
    }
    if batch.has_producer_id() && batch.base_sequence() < 0 {
        return Err(Refusal::Sequence(batch.base_sequence()));
    }
    Ok(())
}

struct Seen {
    max_timestamp: i64,
    offsets_are_dense: bool,
}

fn walk(
    batch: &BatchView<'_>,
    rules: &Rules,
    now_ms: i64,
    decompressor: &mut Decompressor,
) -> Result<Seen, Refusal> {
    let mut seen = Seen { max_timestamp: NO_TIMESTAMP, offsets_are_dense: true };
    let mut refused = Vec::new();
    for (index, record) in (0..).zip(batch.records(decompressor, rules.unpacked_bytes_max)?) {
        let record = record?;
        seen.offsets_are_dense &= record.offset_delta == index;
        seen.max_timestamp = seen.max_timestamp.max(batch.timestamp_of(&record));
        if let Err(reason) = check_record(batch, &record, rules, now_ms)
            && refused.len() < RECORD_REFUSALS_MAX
        {
            refused.push(RecordRefusal { index, reason });
        }
    }
    if refused.is_empty() { Ok(seen) } else { Err(Refusal::Records(refused)) }
}

fn check_record(
    batch: &BatchView<'_>,
    record: &Record<'_>,
    rules: &Rules,
    now_ms: i64,
) -> Result<(), RecordFault> {
    if rules.compacted && record.key.is_none() {
        return Err(RecordFault::NoKey);
    }
    let timestamp = batch.timestamp_of(record);
    if !rules.log_append_time && timestamp != NO_TIMESTAMP {
        let age_ms = now_ms.saturating_sub(timestamp);
        if age_ms > rules.timestamp_before_max_ms || age_ms.saturating_neg() > rules.timestamp_after_max_ms {
            return Err(RecordFault::Timestamp(timestamp));
        }
    } else if batch.has_log_append_time() {
        return Err(RecordFault::LogAppendTime);
    }
    Ok(())
}

fn rewrite(
    batch: &BatchView<'_>,
    header: BatchHeader,
    rules: &Rules,
    decompressor: &mut Decompressor,
) -> Result<Vec<u8>, Refusal> {
    let too_large =
        |BatchFull| Refusal::TooLarge { bytes: i32::MAX as usize, bytes_max: rules.message_bytes_max };
    // The times of the records become their own, also where the producer said that they are those of the append.
    let mut builder =
        BatchBuilder::new(BatchHeader { log_append_time: false, ..header }).with_level(rules.level);
    for (index, record) in (0..).zip(batch.records(decompressor, rules.unpacked_bytes_max)?) {
        let record = record?;
        builder.append_record(&record, index, batch.timestamp_of(&record)).map_err(too_large)?;
    }
    builder.build().map_err(too_large)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(error) => error.fmt(f),
            Self::MoreThanOneBatch => f.write_str("a partition of a request holds one batch, not more"),
            Self::ZstdTooEarly => write!(f, "zstd needs version {ZSTD_FROM} of Produce"),
            Self::UnknownCodec => f.write_str("the batch is compressed by no known codec"),
            Self::BaseOffset(offset) => write!(f, "the batch begins at offset {offset} instead of 0"),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the batch has {bytes} bytes, the topic allows {bytes_max}")
            }
            Self::Count { count, last_offset_delta } => {
                write!(
                    f,
                    "the batch counts {count} records, and its last offset delta is {last_offset_delta}"
                )
            }
            Self::Control => f.write_str("clients do not write control batches"),
            Self::Sequence(sequence) => write!(f, "the batch has a producer id and sequence {sequence}"),
            Self::Malformed(error) => error.fmt(f),
            Self::Records(all) => {
                let first = all.first().map(|one| one.reason);
                write!(f, "{} records are refused", all.len())?;
                first.map_or(Ok(()), |reason| write!(f, ", the first because {reason}"))
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("a compacted topic takes no record without a key"),
            Self::Timestamp(timestamp) => {
                write!(f, "timestamp {timestamp} is too far from the broker's clock")
            }
            Self::LogAppendTime => f.write_str("the time of the append is the broker's to say"),
        }
    }
}
