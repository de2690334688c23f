//! What every record's value says about itself, so that whoever reads it can judge it alone: whose it is, its number, when
//! it should have been sent, and a checksum that no broker has a hand in.
//!
//! `magic u32, run u32, producer u32, slot u32, sequence u64, intended i64, checksum u32`, big-endian, then the body. The
//! checksum is of the 32 bytes before it and of the body's own checksum: bodies are made once and sent often, so that a
//! producer sums up 36 bytes a record, whatever its size.

use protocol::crc32c::crc32c;

use crate::random::Random;

pub(crate) const HEAD_BYTES: usize = 36;
const MAGIC: u32 = 0x6d73_6231;
const CHECKSUM_AT: usize = 32;

/// Who a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which run, so that records of another are not taken for this one's.
    pub(crate) run: u32,
    pub(crate) producer: u32,
    /// The partition it was sent to, counted over all topics of the run.
    pub(crate) slot: u32,
    /// Counted by producer and slot, from 0, without gaps.
    pub(crate) sequence: u64,
    /// CLOCK_MONOTONIC.
    pub(crate) intended_ns: i64,
}

impl Stamp {
    #[inline]
    pub(crate) fn head(&self, body: Body<'_>) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&MAGIC.to_be_bytes());
        head[4..8].copy_from_slice(&self.run.to_be_bytes());
        head[8..12].copy_from_slice(&self.producer.to_be_bytes());
        head[12..16].copy_from_slice(&self.slot.to_be_bytes());
        head[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        head[24..32].copy_from_slice(&self.intended_ns.to_be_bytes());
        head[CHECKSUM_AT..].copy_from_slice(&body.crc.to_be_bytes());
        let checksum = crc32c(&head);
        head[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
        head
    }

    /// None for a value that is not, byte by byte, one that was sent.
    #[inline]
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (head, body) = value.split_first_chunk::<HEAD_BYTES>()?;
        let mut summed = *head;
        summed[CHECKSUM_AT..].copy_from_slice(&crc32c(body).to_be_bytes());
        let u32_at = |at: usize| u32::from_be_bytes(*head[at..].first_chunk().expect("inside the head"));
        let u64_at = |at: usize| u64::from_be_bytes(*head[at..].first_chunk().expect("inside the head"));
        if u32_at(0) != MAGIC || u32_at(CHECKSUM_AT) != crc32c(&summed) {
            return None;
        }
        Some(Self {
            run: u32_at(4),
            producer: u32_at(8),
            slot: u32_at(12),
            sequence: u64_at(16),
            intended_ns: u64_at(24) as i64,
        })
    }
}

/// What follows the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) crc: u32,
}

/// The bodies that a thread sends in turn.
#[derive(Debug)]
pub(crate) struct Bodies {
    bodies: Vec<(Vec<u8>, u32)>,
    next: usize,
    /// How much of a body is made anew for each record, and from what.
    fresh: Option<(usize, Random)>,
}

const BODIES_MAX: usize = 64;
const BODIES_BYTES_MAX: usize = 8 << 20;

impl Bodies {
    /// For values of `value_bytes`. `randomness` is the share that has no pattern. Where a codec packs several records
    /// together it would find the body of one in another: `is_fresh` makes each body anew.
    pub(crate) fn new(value_bytes: usize, randomness: f64, is_fresh: bool, mut random: Random) -> Self {
        let bytes = value_bytes.saturating_sub(HEAD_BYTES);
        let random_bytes = ((value_bytes as f64 * randomness) as usize).min(bytes);
        let count = if is_fresh { 1 } else { (BODIES_BYTES_MAX / bytes.max(1)).clamp(1, BODIES_MAX) };
        let mut make = || {
            let mut body = vec![b'.'; bytes];
            random.fill(&mut body[..random_bytes]);
            let crc = crc32c(&body);
            (body, crc)
        };
        let bodies = (0..count).map(|_| make()).collect();
        Self { bodies, next: 0, fresh: is_fresh.then_some((random_bytes, random)) }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Body<'_> {
        if let Some((random_bytes, random)) = &mut self.fresh {
            let (body, crc) = &mut self.bodies[0];
            random.fill(&mut body[..*random_bytes]);
            *crc = crc32c(body);
            return Body { bytes: body, crc: *crc };
        }
        self.next = if self.next + 1 < self.bodies.len() { self.next + 1 } else { 0 };
        let (body, crc) = &self.bodies[self.next];
        Body { bytes: body, crc: *crc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(stamp: Stamp, bodies: &mut Bodies) -> Vec<u8> {
        let body = bodies.next();
        [&stamp.head(body)[..], body.bytes].concat()
    }

    const STAMP: Stamp = Stamp { run: 7, producer: 3, slot: 12, sequence: 1 << 40, intended_ns: 123_456_789 };

    #[test]
    fn a_value_says_who_it_is() {
        for bytes in [HEAD_BYTES, 100, 1024] {
            for is_fresh in [false, true] {
                let mut bodies = Bodies::new(bytes, 1.0, is_fresh, Random::new(5));
                for sequence in 0..200 {
                    let stamp = Stamp { sequence, ..STAMP };
                    let value = value(stamp, &mut bodies);
                    assert_eq!(value.len(), bytes);
                    assert_eq!(Stamp::read(&value), Some(stamp));
                }
            }
        }
    }

    #[test]
    fn a_workload_may_not_ask_for_less() {
        assert_eq!(HEAD_BYTES, crate::workload::check::VALUE_BYTES_MIN as usize);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen_and_so_is_a_cut() {
        let value = value(STAMP, &mut Bodies::new(100, 0.5, false, Random::new(5)));
        for at in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(Stamp::read(&flipped), None, "bit {at}");
        }
        for len in 0..value.len() {
            assert_eq!(Stamp::read(&value[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn randomness_is_what_a_codec_cannot_save() {
        for (randomness, least, most) in [(0.0, 0.0, 0.2), (0.5, 0.45, 0.65), (1.0, 0.95, 1.1)] {
            let mut bodies = Bodies::new(1024, randomness, true, Random::new(1));
            let mut records = Vec::new();
            for sequence in 0..100 {
                records.extend(value(Stamp { sequence, ..STAMP }, &mut bodies));
            }
            let mut packed = Vec::new();
            let codec = protocol::records::compression::Codec::Zstd;
            protocol::records::compression::compress(codec, None, &records, &mut packed);
            let share = packed.len() as f64 / records.len() as f64;
            assert!((least..most).contains(&share), "{randomness}: {share}");
        }
    }
}
