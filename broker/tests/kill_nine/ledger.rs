//! What one producer sent and was told, and what it then found.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::crc32c::crc32c;
use rdkafka::ClientContext;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::random::Random;

/// Who wrote a record, and as which of its records in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) producer: u32,
    pub(crate) index: i32,
    pub(crate) sequence: u64,
}

const CRC_BYTES: usize = 4;
const HEAD_BYTES: usize = CRC_BYTES + 16;

impl Payload {
    /// Mostly small, some large, half of it hard to compress; the checksum covers all of it.
    pub(crate) fn write(self, random: &mut Random, out: &mut Vec<u8>) {
        let bytes = match random.below(100) {
            0..70 => 20 + random.below(200),
            70..97 => 200 + random.below(4_000),
            97..99 => 4_000 + random.below(6_000),
            _ => 10_000 + random.below(100_000),
        } as usize;
        out.clear();
        out.extend_from_slice(&[0; CRC_BYTES]);
        out.extend_from_slice(&self.producer.to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        while out.len() < bytes {
            out.extend_from_slice(&random.next().to_be_bytes());
            out.extend_from_slice(b"the same");
        }
        let crc = crc32c(&out[CRC_BYTES..]);
        out[..CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= HEAD_BYTES, "a record of {} bytes is none of ours", bytes.len());
        let (crc, body) = bytes.split_first_chunk().expect("long enough");
        assert_eq!(u32::from_be_bytes(*crc), crc32c(body), "a record's bytes are those that were sent");
        let field = |at: usize| -> [u8; 4] { body[at..at + 4].try_into().expect("four bytes") };
        let sequence = u64::from_be_bytes(body[8..16].try_into().expect("eight bytes"));
        Self { producer: u32::from_be_bytes(field(0)), index: i32::from_be_bytes(field(4)), sequence }
    }
}

/// What became of a record, as far as the producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Acked,
    /// Reported as failed: it may be there or not, but not twice and not out of order.
    Failed,
}

/// One producer's records by partition.
pub(crate) struct Ledger {
    producer: u32,
    fates: Mutex<Vec<Vec<Fate>>>,
    acked_by_all: Arc<AtomicU64>,
}

impl Ledger {
    pub(crate) fn new(producer: u32, partitions: i32, acked_by_all: Arc<AtomicU64>) -> Self {
        Self { producer, fates: Mutex::new(vec![Vec::new(); partitions as usize]), acked_by_all }
    }

    /// The sequence that the partition's next record gets.
    pub(crate) fn next(&self, index: i32) -> u64 {
        self.fates.lock().expect("no panic inside")[index as usize].len() as u64
    }

    /// That record is on its way. Reports come from the same thread, when it polls, so never before.
    pub(crate) fn sent(&self, index: i32) {
        self.fates.lock().expect("no panic inside")[index as usize].push(Fate::Unknown);
    }

    /// A record's place as one number, to travel with it and come back with its report.
    pub(crate) fn place(index: i32, sequence: u64) -> usize {
        ((index as usize) << 48) | sequence as usize
    }

    /// The ledger out of a producer that is done.
    pub(crate) fn take(&self) -> Self {
        let fates = std::mem::take(&mut *self.fates.lock().expect("no panic inside"));
        Self { producer: self.producer, fates: Mutex::new(fates), acked_by_all: self.acked_by_all.clone() }
    }

    pub(crate) fn acked(&self) -> u64 {
        let fates = self.fates.lock().expect("no panic inside");
        fates.iter().flatten().filter(|fate| **fate == Fate::Acked).count() as u64
    }

    /// A record was found; `next` is the lowest sequence that may come now. Only records that were not
    /// acknowledged may have been left out before it.
    pub(crate) fn check_found(&self, found: Payload, next: &mut u64) {
        let at = format!("producer {} in partition {}", found.producer, found.index);
        assert!(
            found.sequence >= *next,
            "{at}: {} comes again or out of order, after {}",
            found.sequence,
            *next - 1
        );
        self.check_left_out(found.index, *next, found.sequence);
        *next = found.sequence + 1;
    }

    /// Nothing more was found.
    pub(crate) fn check_end(&self, index: i32, next: u64) {
        let sent = self.next(index);
        assert!(next <= sent, "producer {} never sent {next} to partition {index}", self.producer);
        self.check_left_out(index, next, sent);
    }

    fn check_left_out(&self, index: i32, from: u64, to: u64) {
        let fates = &self.fates.lock().expect("no panic inside")[index as usize];
        for (sequence, fate) in (from..to).zip(&fates[from as usize..to as usize]) {
            assert_ne!(
                *fate,
                Fate::Acked,
                "producer {} in partition {index}: {sequence} was acknowledged and is lost",
                self.producer
            );
        }
    }
}

impl ClientContext for Ledger {}

impl ProducerContext for Ledger {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let (index, sequence) = (place >> 48, place & ((1 << 48) - 1));
        let fate = &mut self.fates.lock().expect("no panic inside")[index][sequence];
        assert_eq!(*fate, Fate::Unknown, "a record is reported once");
        *fate = match result {
            Ok(_) => {
                self.acked_by_all.fetch_add(1, Ordering::Relaxed);
                Fate::Acked
            }
            Err(_) => Fate::Failed,
        };
    }
}
