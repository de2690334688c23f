//! Snapshot files: Kafka's producer state, version 1, with a checksum over the entries.

use protocol::crc32c::crc32c;

use super::{Producer, Sequence};
use crate::format::{Damage, SNAPSHOT_ENTRY_BYTES, SNAPSHOT_HEADER_BYTES, SNAPSHOT_VERSION, number};

/// One producer in a snapshot file. -1 stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    pub producer_id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
    pub coordinator_epoch: i32,
    pub transaction_start: i64,
}

impl SnapshotEntry {
    pub(super) fn of(producer_id: i64, producer: &Producer) -> Self {
        let none = Sequence { last_sequence: -1, offset_delta: 0, last_offset: -1, timestamp: -1 };
        let last = producer.last_batch().copied().unwrap_or(none);
        Self {
            producer_id,
            epoch: producer.epoch,
            last_sequence: last.last_sequence,
            last_offset: last.last_offset,
            offset_delta: last.offset_delta,
            timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: producer.transaction_start.unwrap_or(-1),
        }
    }
}

impl From<&SnapshotEntry> for Producer {
    fn from(entry: &SnapshotEntry) -> Self {
        let batch = (entry.last_offset >= 0).then_some(Sequence {
            last_sequence: entry.last_sequence,
            offset_delta: entry.offset_delta,
            last_offset: entry.last_offset,
            timestamp: entry.timestamp,
        });
        let transaction_start = (entry.transaction_start >= 0).then_some(entry.transaction_start);
        Self::saved(entry.epoch, entry.coordinator_epoch, entry.timestamp, transaction_start, batch)
    }
}

pub fn encode_snapshot(entries: &[SnapshotEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SNAPSHOT_HEADER_BYTES + entries.len() * SNAPSHOT_ENTRY_BYTES);
    out.extend(SNAPSHOT_VERSION.to_be_bytes());
    out.extend([0; 4]);
    let count = i32::try_from(entries.len()).expect("far fewer producers");
    out.extend(count.to_be_bytes());
    for entry in entries {
        out.extend(entry.producer_id.to_be_bytes());
        out.extend(entry.epoch.to_be_bytes());
        out.extend(entry.last_sequence.to_be_bytes());
        out.extend(entry.last_offset.to_be_bytes());
        out.extend(entry.offset_delta.to_be_bytes());
        out.extend(entry.timestamp.to_be_bytes());
        out.extend(entry.coordinator_epoch.to_be_bytes());
        out.extend(entry.transaction_start.to_be_bytes());
    }
    let crc = crc32c(&out[CHECKED_FROM..]);
    out[2..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
    out
}

pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<SnapshotEntry>, Damage> {
    if bytes.len() < SNAPSHOT_HEADER_BYTES {
        return Err(Damage::new(bytes.len(), "a snapshot cut short"));
    }
    let version = i16::from_be_bytes(number(bytes, 0));
    if version != SNAPSHOT_VERSION {
        return Err(Damage::new(0, format!("snapshot version {version}, known is {SNAPSHOT_VERSION}")));
    }
    let (stored, computed) = (u32::from_be_bytes(number(bytes, 2)), crc32c(&bytes[CHECKED_FROM..]));
    if stored != computed {
        return Err(Damage::new(2, format!("checksum {stored:08x} where the bytes give {computed:08x}")));
    }
    let count = i32::from_be_bytes(number(bytes, CHECKED_FROM));
    let entries = &bytes[SNAPSHOT_HEADER_BYTES..];
    if usize::try_from(count).ok().and_then(|count| count.checked_mul(SNAPSHOT_ENTRY_BYTES))
        != Some(entries.len())
    {
        return Err(Damage::new(CHECKED_FROM, format!("{count} entries in {} bytes", entries.len())));
    }
    Ok(entries.chunks_exact(SNAPSHOT_ENTRY_BYTES).map(decode_entry).collect())
}

fn decode_entry(bytes: &[u8]) -> SnapshotEntry {
    SnapshotEntry {
        producer_id: i64::from_be_bytes(number(bytes, 0)),
        epoch: i16::from_be_bytes(number(bytes, 8)),
        last_sequence: i32::from_be_bytes(number(bytes, 10)),
        last_offset: i64::from_be_bytes(number(bytes, 14)),
        offset_delta: i32::from_be_bytes(number(bytes, 22)),
        timestamp: i64::from_be_bytes(number(bytes, 26)),
        coordinator_epoch: i32::from_be_bytes(number(bytes, 34)),
        transaction_start: i64::from_be_bytes(number(bytes, 38)),
    }
}

/// After version and checksum.
const CHECKED_FROM: usize = 6;
