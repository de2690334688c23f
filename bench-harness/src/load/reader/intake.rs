//! From fetched bytes to accounts: what each record says, whether it is whole, and how long it may have waited for its reader.

use protocol::records::batch::{BatchView, batches};
use protocol::records::compression::Decompressor;
use protocol::records::record::records;

use crate::accounts::{Delivery, Ledger};
use crate::load::tally::Tally;
use crate::payload::Stamp;

/// In place of when an answer came, where it was not the reader who took its time.
pub(super) const NOBODY_WAITED: i64 = i64::MAX;
/// What a batch may unpack to. Far more than this load packs.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// When an answer was taken in, and what went before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// The answer before it came; or [`NOBODY_WAITED`].
    pub(super) answered_ns: i64,
    pub(super) asked_ns: i64,
    /// At the earliest.
    pub(super) came_ns: i64,
    pub(super) now_ns: i64,
}

impl Taken {
    /// How long a record that was due then may have waited for its reader: at the broker, until it was asked for, and in the
    /// socket, until it was taken out.
    fn kept_ns(self, intended_ns: i64) -> i64 {
        let at_the_broker = self.asked_ns - self.answered_ns.max(intended_ns);
        let in_the_socket = self.now_ns - self.came_ns.max(intended_ns);
        at_the_broker.max(0) + in_the_socket.max(0)
    }
}

/// What a partition's records go through.
pub(super) struct Intake<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) tally: &'a mut Tally,
    pub(super) slot: u32,
    pub(super) offset: &'a mut i64,
    pub(super) taken: Taken,
}

impl Intake<'_> {
    pub(super) fn take(&mut self, bytes: &[u8], decompressor: &mut Decompressor) {
        for batch in batches(bytes) {
            match batch {
                Ok(batch) if batch.next_offset() <= *self.offset => {}
                Ok(batch) => self.take_batch(&batch, decompressor),
                Err(_) => {
                    // Where the next one would begin is unknown: one offset on, and asked again.
                    self.ledger.corrupted(self.slot, 1);
                    *self.offset += 1;
                    return;
                }
            }
        }
    }

    fn take_batch(&mut self, batch: &BatchView<'_>, decompressor: &mut Decompressor) {
        let from = *self.offset;
        *self.offset = batch.next_offset();
        if batch.is_control() {
            return;
        }
        let plain = match (batch.verify_crc(), batch.codec()) {
            (Ok(()), Some(codec)) => {
                decompressor.decompress(codec, batch.records_bytes(), UNPACKED_BYTES_MAX).ok()
            }
            _ => None,
        };
        let Some(plain) = plain else {
            return self.ledger.corrupted(self.slot, batch.count().max(1) as u64);
        };
        let base = batch.base_offset();
        for record in records(plain, batch.count()) {
            match record {
                // Brokers give whole batches, also from before what was asked for.
                Ok(record) if base + i64::from(record.offset_delta) < from => {}
                Ok(record) => {
                    let stamp = record.value.and_then(Stamp::read);
                    let delivery = self.ledger.deliver(self.slot, stamp.as_ref());
                    if let (Delivery::First, Some(stamp)) = (delivery, stamp) {
                        let kept_ns = self.taken.kept_ns(stamp.intended_ns);
                        self.tally.delivered(stamp.intended_ns, self.taken.now_ns, Some(kept_ns));
                    }
                }
                Err(_) => self.ledger.corrupted(self.slot, 1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_waits_for_its_reader_until_it_is_asked_for_and_until_it_is_taken() {
        let taken = Taken { answered_ns: 100, asked_ns: 130, came_ns: 200, now_ns: 205 };
        for (intended_ns, kept_ns) in [(0, 35), (100, 35), (120, 15), (130, 5), (190, 5), (203, 2), (205, 0)]
        {
            assert_eq!(taken.kept_ns(intended_ns), kept_ns, "{intended_ns}");
        }
        let first = Taken { answered_ns: NOBODY_WAITED, ..taken };
        assert_eq!(first.kept_ns(0), 5);
    }
}
