//! Control records: what brokers and controllers write into a log between the records of clients. A batch is all control or all data.
//!
//! The key says the type; the value is a message that begins with its own version.

use super::batch::{BatchHeader, BatchView};
use super::builder::{BatchBuilder, BatchFull};
use super::record::{Record, records};
use crate::messages::{
    EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, Message, SnapshotFooterRecord,
    SnapshotHeaderRecord, VotersRecord,
};
use crate::primitives::{DecodeError, EncodeError, Reader, Writer};

const KEY_VERSION: i16 = 0;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
const LEADER_CHANGE: i16 = 2;
const SNAPSHOT_HEADER: i16 = 3;
const SNAPSHOT_FOOTER: i16 = 4;
const KRAFT_VERSION: i16 = 5;
const KRAFT_VOTERS: i16 = 6;

#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// The end of a transaction, by the coordinator of this epoch.
    Abort {
        coordinator_epoch: i32,
    },
    Commit {
        coordinator_epoch: i32,
    },
    LeaderChange(LeaderChangeMessage),
    SnapshotHeader(SnapshotHeaderRecord),
    SnapshotFooter(SnapshotFooterRecord),
    KRaftVersion(KRaftVersionRecord),
    KRaftVoters(VotersRecord),
    /// Of a later Kafka. Readers skip it.
    Unknown(i16),
}

impl ControlRecord {
    pub fn decode(record: &Record<'_>) -> Result<Self, DecodeError> {
        let mut key = Reader::new(record.key.ok_or(DecodeError::Null)?);
        // Kafka: a later version of the key begins with the same type.
        let (_, kind) = (key.i16()?, key.i16()?);
        let value = || record.value.ok_or(DecodeError::Null);
        Ok(match kind {
            ABORT => Self::Abort { coordinator_epoch: coordinator_epoch(value()?)? },
            COMMIT => Self::Commit { coordinator_epoch: coordinator_epoch(value()?)? },
            LEADER_CHANGE => Self::LeaderChange(versioned(value()?)?),
            SNAPSHOT_HEADER => Self::SnapshotHeader(versioned(value()?)?),
            SNAPSHOT_FOOTER => Self::SnapshotFooter(versioned(value()?)?),
            KRAFT_VERSION => Self::KRaftVersion(versioned(value()?)?),
            KRAFT_VOTERS => Self::KRaftVoters(versioned(value()?)?),
            kind => Self::Unknown(kind),
        })
    }

    /// The type, as the key says it.
    pub fn kind(&self) -> i16 {
        match self {
            Self::Abort { .. } => ABORT,
            Self::Commit { .. } => COMMIT,
            Self::LeaderChange(_) => LEADER_CHANGE,
            Self::SnapshotHeader(_) => SNAPSHOT_HEADER,
            Self::SnapshotFooter(_) => SNAPSHOT_FOOTER,
            Self::KRaftVersion(_) => KRAFT_VERSION,
            Self::KRaftVoters(_) => KRAFT_VOTERS,
            Self::Unknown(kind) => *kind,
        }
    }

    pub fn key(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (KEY_VERSION.to_be_bytes(), self.kind().to_be_bytes());
        [a, b, c, d]
    }

    /// Empty for a type that is unknown.
    pub fn value(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        match self {
            Self::Abort { coordinator_epoch } | Self::Commit { coordinator_epoch } => {
                w.i16(*EndTxnMarker::VERSIONS.end());
                w.i32(*coordinator_epoch);
            }
            Self::LeaderChange(message) => message.encode(&mut w, message.version)?,
            Self::SnapshotHeader(message) => message.encode(&mut w, message.version)?,
            Self::SnapshotFooter(message) => message.encode(&mut w, message.version)?,
            Self::KRaftVersion(message) => message.encode(&mut w, message.version)?,
            Self::KRaftVoters(message) => message.encode(&mut w, message.version)?,
            Self::Unknown(_) => {}
        }
        Ok(w.into_vec())
    }
}

/// Kafka: of a later version only what the oldest one says is read.
fn coordinator_epoch(value: &[u8]) -> Result<i32, DecodeError> {
    let mut r = Reader::new(value);
    if r.i16()? < 0 {
        return Err(DecodeError::Version);
    }
    Ok(EndTxnMarker::decode(&mut r, 0)?.coordinator_epoch)
}

/// A message that begins with its version; of a later one the part that is known is read.
fn versioned<M: Message>(value: &[u8]) -> Result<M, DecodeError> {
    let version = Reader::new(value).i16()?;
    M::from_bytes(value, version.min(*M::VERSIONS.end()))
}

/// The control record of a batch that holds one, as those that end transactions do; `None` for any other batch.
pub fn only_record(batch: &BatchView<'_>) -> Option<Result<ControlRecord, DecodeError>> {
    if !batch.is_control() || batch.count() != 1 {
        return None;
    }
    let record = records(batch.records_bytes(), 1).next()?;
    Some(record.map_err(|_| DecodeError::Short).and_then(|record| ControlRecord::decode(&record)))
}

/// The batch that ends a producer's transaction in one partition.
pub fn end_transaction(header: BatchHeader, timestamp: i64, commit: bool, coordinator_epoch: i32) -> Vec<u8> {
    let marker = match commit {
        true => ControlRecord::Commit { coordinator_epoch },
        false => ControlRecord::Abort { coordinator_epoch },
    };
    let header = BatchHeader { transactional: true, ..header };
    control_batch(header, timestamp, &[marker]).expect("a marker is a few bytes")
}

/// A batch of control records, all of one time. The header says where it goes and, for a marker, whose transaction it ends.
pub fn control_batch(
    header: BatchHeader,
    timestamp: i64,
    control_records: &[ControlRecord],
) -> Result<Vec<u8>, EncodeError> {
    let too_long = |BatchFull| EncodeError::TooLong;
    let mut builder = BatchBuilder::new(BatchHeader { control: true, ..header });
    for control in control_records {
        let value = control.value()?;
        builder.append(timestamp, Some(&control.key()), Some(&value), &[]).map_err(too_long)?;
    }
    builder.build().map_err(too_long)
}
