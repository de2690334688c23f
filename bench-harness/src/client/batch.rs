//! Records of one producer for one partition, written as they come, and sent as often as it takes.

use protocol::primitives::Writer;
use protocol::records::batch::{self, BatchHeader, HEADER_BYTES};
use protocol::records::compression::{self, Codec};

use crate::payload::{Body, HEAD_BYTES, Stamp};

/// What a record takes beside its key and value, at most: lengths and deltas.
const RECORD_OVERHEAD_BYTES: usize = 36;

#[derive(Debug)]
pub(crate) struct Batch {
    /// Room for the header, then records.
    records: Writer,
    /// What is sent, where a codec made it of the records.
    packed: Vec<u8>,
    /// Of each record.
    intended_ns: Vec<i64>,
    base_timestamp: i64,
    max_timestamp: i64,
    /// In the payload, of the first record.
    pub(crate) first_sequence: u64,
    /// Of keys and values.
    pub(crate) payload_bytes: u64,
    /// When its first record was handed over.
    pub(crate) opened_ns: i64,
    is_sealed: bool,
}

/// Who sends a batch, for the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) base_sequence: i32,
}

impl Identity {
    pub(crate) const NONE: Self = Self {
        producer_id: batch::NO_PRODUCER_ID,
        epoch: batch::NO_PRODUCER_EPOCH,
        base_sequence: batch::NO_SEQUENCE,
    };
}

impl Batch {
    fn new() -> Self {
        Self {
            records: Writer::new(),
            packed: Vec::new(),
            intended_ns: Vec::new(),
            base_timestamp: 0,
            max_timestamp: 0,
            first_sequence: 0,
            payload_bytes: 0,
            opened_ns: 0,
            is_sealed: false,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.intended_ns.len()
    }

    pub(crate) fn intended_ns(&self) -> &[i64] {
        &self.intended_ns
    }

    /// The number after the last record's.
    pub(crate) fn end_sequence(&self) -> u64 {
        self.first_sequence + self.count() as u64
    }

    /// Before it is packed.
    pub(crate) fn bytes_used(&self) -> usize {
        self.records.len()
    }

    /// Whether one more record of this size stays within the limit. The first always does.
    pub(crate) fn has_room(&self, record_bytes: usize, batch_bytes: usize) -> bool {
        self.intended_ns.is_empty()
            || self.records.len() + record_bytes + RECORD_OVERHEAD_BYTES <= batch_bytes
    }

    #[inline]
    pub(crate) fn push(&mut self, stamp: &Stamp, key: Option<&[u8]>, body: Body<'_>, timestamp_ms: i64) {
        debug_assert_eq!(stamp.sequence, self.end_sequence());
        // Wall clocks go back; a batch keeps to what it began with.
        let timestamp = timestamp_ms.max(self.base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp - self.base_timestamp;
        let offset_delta = self.intended_ns.len() as i32;
        let value_bytes = HEAD_BYTES + body.bytes.len();
        let key_bytes = key.map_or(1, |key| varint_bytes(key.len() as i64) + key.len());
        // Attributes and the count of headers are a byte each.
        let bytes = 2
            + varint_bytes(timestamp_delta)
            + varint_bytes(offset_delta.into())
            + key_bytes
            + varint_bytes(value_bytes as i64)
            + value_bytes;
        let w = &mut self.records;
        w.varint(bytes as i32);
        w.i8(0);
        w.varlong(timestamp_delta);
        w.varint(offset_delta);
        w.varint(key.map_or(-1, |key| key.len() as i32));
        w.raw(key.unwrap_or_default());
        w.varint(value_bytes as i32);
        w.raw(&stamp.head(body));
        w.raw(body.bytes);
        w.varint(0);
        self.payload_bytes += (value_bytes + key.map_or(0, <[u8]>::len)) as u64;
        self.intended_ns.push(stamp.intended_ns);
    }

    /// Packs, signs and closes it.
    pub(crate) fn seal(&mut self, codec: Codec, identity: Identity) {
        debug_assert!(!self.is_sealed && self.count() > 0);
        let header = BatchHeader {
            codec,
            last_offset_delta: self.count() as i32 - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: identity.producer_id,
            producer_epoch: identity.epoch,
            base_sequence: identity.base_sequence,
            count: self.count() as i32,
            ..BatchHeader::default()
        };
        if codec == Codec::None {
            header.write(self.records.written_mut());
        } else {
            self.packed.clear();
            self.packed.resize(HEADER_BYTES, 0);
            compression::compress(codec, None, &self.records.written()[HEADER_BYTES..], &mut self.packed);
            header.write(&mut self.packed);
        }
        self.is_sealed = true;
    }

    /// As it goes over the wire.
    pub(crate) fn wire(&self) -> &[u8] {
        debug_assert!(self.is_sealed);
        if self.packed.is_empty() { self.records.written() } else { &self.packed }
    }
}

fn varint_bytes(value: i64) -> usize {
    let zigzag = (value << 1 ^ value >> 63) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// Batches that were sent and wait to be filled again, with the memory they have.
#[derive(Debug, Default)]
pub(crate) struct BatchPool {
    idle: Vec<Batch>,
    idle_bytes: usize,
    /// Of all batches that are in use, as far as they are filled.
    pub(crate) used_bytes: usize,
}

const IDLE_BYTES_MAX: usize = 64 << 20;

impl BatchPool {
    pub(crate) fn open(&mut self, first_sequence: u64, now_ns: i64, timestamp_ms: i64) -> Batch {
        let mut batch = self.idle.pop().unwrap_or_else(Batch::new);
        self.idle_bytes = self.idle_bytes.saturating_sub(batch.bytes_used());
        batch.records.clear();
        batch.records.raw(&[0; HEADER_BYTES]);
        batch.packed.clear();
        batch.intended_ns.clear();
        batch.base_timestamp = timestamp_ms;
        batch.max_timestamp = timestamp_ms;
        batch.first_sequence = first_sequence;
        batch.payload_bytes = 0;
        batch.opened_ns = now_ns;
        batch.is_sealed = false;
        batch
    }

    pub(crate) fn give_back(&mut self, batch: Batch) {
        if self.idle_bytes + batch.bytes_used() <= IDLE_BYTES_MAX {
            self.idle_bytes += batch.bytes_used();
            self.idle.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::batch::BatchView;
    use protocol::records::record::records;

    use super::*;
    use crate::payload::Bodies;
    use crate::random::Random;

    #[test]
    fn batches_are_what_kafka_reads_in_every_codec() {
        let mut pool = BatchPool::default();
        let mut bodies = Bodies::new(200, 0.5, false, Random::new(1));
        for codec in Codec::ALL.into_iter().chain(Codec::ALL) {
            let mut batch = pool.open(1_000, 5, 77_000);
            for at in 0..300u64 {
                let stamp =
                    Stamp { run: 1, producer: 2, slot: 3, sequence: 1_000 + at, intended_ns: at as i64 * 10 };
                let key = (at % 3 == 0).then_some(&b"000000000007"[..]);
                batch.push(&stamp, key, bodies.next(), 77_000 + at as i64);
            }
            assert_eq!((batch.count(), batch.end_sequence()), (300, 1_300));
            assert_eq!(batch.payload_bytes, 300 * 200 + 100 * 12);
            batch.seal(codec, Identity { producer_id: 9, epoch: 1, base_sequence: 40 });
            let view = BatchView::parse(batch.wire()).unwrap();
            assert_eq!(view.batch_len(), batch.wire().len());
            view.verify_crc().unwrap();
            assert_eq!((view.codec(), view.count(), view.last_offset_delta()), (Some(codec), 300, 299));
            assert_eq!((view.producer_id(), view.producer_epoch(), view.base_sequence()), (9, 1, 40));
            assert_eq!((view.base_timestamp(), view.max_timestamp()), (77_000, 77_299));
            let plain = compression::decompress(codec, view.records_bytes(), 1 << 20).unwrap();
            for (at, record) in records(&plain, view.count()).enumerate() {
                let record = record.unwrap();
                assert_eq!((record.offset_delta, record.timestamp_delta), (at as i32, at as i64));
                assert_eq!(record.key.is_some(), at % 3 == 0);
                let stamp = Stamp::read(record.value.unwrap()).unwrap();
                assert_eq!((stamp.sequence, stamp.intended_ns), (1_000 + at as u64, at as i64 * 10));
            }
            pool.give_back(batch);
        }
    }

    #[test]
    fn a_batch_keeps_to_its_limit_but_takes_one_record_of_any_size() {
        let mut pool = BatchPool::default();
        let mut bodies = Bodies::new(1_000, 1.0, false, Random::new(1));
        let mut batch = pool.open(0, 0, 0);
        assert!(batch.has_room(1_000, 10));
        let mut sequence = 0;
        while batch.has_room(1_000, 16_384) {
            let stamp = Stamp { run: 1, producer: 2, slot: 3, sequence, intended_ns: 0 };
            batch.push(&stamp, None, bodies.next(), 0);
            sequence += 1;
        }
        batch.seal(Codec::None, Identity::NONE);
        assert!((15_000..=16_384).contains(&batch.wire().len()), "{}", batch.wire().len());
    }
}
