//! Makes a batch, record by record.

use std::fmt;

use super::batch::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use super::compression::{self, Codec};
use super::record::{Header, Record};
use crate::primitives::Writer;

/// Kafka: a record's length is a positive 32-bit number, and so is that of a batch.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// The batch would be larger than 2 GiB, or its offsets further apart than 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFull;

impl fmt::Display for BatchFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no batch can be so large")
    }
}

impl std::error::Error for BatchFull {}

/// Collects records under a header. Count, last offset delta, base and max timestamp of that header follow from the records, with three
/// exceptions: a last offset delta or, for an empty batch, a max timestamp that was given stays if it is greater (compaction keeps the offsets
/// and the time of what it removed); with a delete horizon the base timestamp stays; with log append time the max timestamp stays.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    level: Option<i32>,
    records: Writer,
    max_timestamp: i64,
    next_offset_delta: i32,
}

impl BatchBuilder {
    pub fn new(header: BatchHeader) -> Self {
        let header = BatchHeader { count: 0, ..header };
        // Uncompressed records are written where they stay, behind the room for the header.
        let mut records = Writer::new();
        if header.codec == Codec::None {
            records.raw(&[0; HEADER_BYTES]);
        }
        Self { header, level: None, records, max_timestamp: NO_TIMESTAMP, next_offset_delta: 0 }
    }

    /// `compression.*.level`.
    #[must_use]
    pub fn with_level(mut self, level: Option<i32>) -> Self {
        self.level = level;
        self
    }

    pub fn count(&self) -> i32 {
        self.header.count
    }

    pub fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// Bytes of the batch as it is now, before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        let header = if self.header.codec == Codec::None { 0 } else { HEADER_BYTES };
        header + self.records.len()
    }

    /// Adds a record after the last one and returns its offset delta.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<i32, BatchFull> {
        let offset_delta = self.next_offset_delta;
        self.append_at(offset_delta, timestamp, key, value, headers.iter().copied())?;
        Ok(offset_delta)
    }

    /// Adds a record with an offset of its own. Offsets rise, in a sound log; there may be gaps.
    pub fn append_at<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
    ) -> Result<(), BatchFull> {
        let next_offset_delta = offset_delta.checked_add(1).ok_or(BatchFull)?.max(self.next_offset_delta);
        if self.header.count == 0 && !self.header.delete_horizon {
            self.header.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        self.write(0, timestamp_delta, offset_delta, key, value, headers)?;
        self.header.count += 1;
        self.header.last_offset_delta = self.header.last_offset_delta.max(offset_delta);
        self.next_offset_delta = next_offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    /// Adds a record of another batch as it is, at an offset and a time of this one.
    pub fn append_record(
        &mut self,
        record: &Record<'_>,
        offset_delta: i32,
        timestamp: i64,
    ) -> Result<(), BatchFull> {
        self.append_at(offset_delta, timestamp, record.key, record.value, record.headers())
    }

    fn write<'h>(
        &mut self,
        attributes: i8,
        timestamp_delta: i64,
        offset_delta: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
    ) -> Result<(), BatchFull> {
        let headers_len: usize =
            headers.clone().map(|header| bytes_len(Some(header.key)) + bytes_len(header.value)).sum();
        let len = 1
            + varlong_len(timestamp_delta)
            + varlong_len(offset_delta.into())
            + bytes_len(key)
            + bytes_len(value)
            + varlong_len(headers.len() as i64)
            + headers_len;
        if self.records.len() + len > BATCH_BYTES_MAX - HEADER_BYTES - 5 || self.header.count == i32::MAX {
            return Err(BatchFull);
        }
        let w = &mut self.records;
        w.varint(len as i32);
        w.i8(attributes);
        w.varlong(timestamp_delta);
        w.varint(offset_delta);
        put_bytes(w, key);
        put_bytes(w, value);
        w.varint(headers.len() as i32);
        for header in headers {
            put_bytes(w, Some(header.key));
            put_bytes(w, header.value);
        }
        Ok(())
    }

    /// The batch, compressed and with its checksum.
    pub fn build(self) -> Result<Vec<u8>, BatchFull> {
        let mut header = self.header;
        if !header.log_append_time && header.count > 0 {
            header.max_timestamp = self.max_timestamp;
        }
        let mut batch = self.records.into_vec();
        if header.codec != Codec::None {
            let records = batch;
            batch = vec![0; HEADER_BYTES];
            if header.count == 0 {
                // Kafka: an empty batch names no codec and holds not even its empty frame.
                header.codec = Codec::None;
            } else {
                compression::compress(header.codec, self.level, &records, &mut batch);
            }
        }
        if batch.len() > BATCH_BYTES_MAX {
            return Err(BatchFull);
        }
        header.write(&mut batch);
        Ok(batch)
    }
}

fn put_bytes(w: &mut Writer, bytes: Option<&[u8]>) {
    w.varint(bytes.map_or(-1, |bytes| bytes.len() as i32));
    w.raw(bytes.unwrap_or_default());
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_len(bytes.len() as i64) + bytes.len())
}

fn varlong_len(value: i64) -> usize {
    let zigzag = (value << 1 ^ value >> 63) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}
