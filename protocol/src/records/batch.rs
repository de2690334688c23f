//! A view over the bytes of one batch, and the few places where a leader writes into them.

use std::fmt;

use super::compression::Codec;
use crate::crc32c::crc32c;

pub const HEADER_BYTES: usize = 61;
pub const MAGIC: i8 = 2;
/// What the length field does not count: base offset and length itself.
pub const LENGTH_OVERHEAD_BYTES: usize = 12;
/// "No producer id": the batch is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;
pub const NO_TIMESTAMP: i64 = -1;

/// The smallest length field of any version, that of magic 0.
const LENGTH_MIN: i32 = 14;
/// Up to and with the magic: without it the version of a batch is unknown.
const UP_TO_MAGIC_BYTES: usize = 17;

const BASE_OFFSET_AT: usize = 0;
const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes end before the batch does.
    TooShort,
    /// No batch has this length.
    BadLength(i32),
    /// Magic 0 and 1 are formats that nobody writes any more; others were never defined.
    BadMagic(i8),
    /// The bytes are not those that were sent.
    BadCrc { stored: u32, computed: u32 },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the bytes end before the batch does"),
            Self::BadLength(length) => write!(f, "no batch has length {length}"),
            Self::BadMagic(magic) => write!(f, "magic {magic} is not supported"),
            Self::BadCrc { stored, computed } => {
                write!(f, "the checksum is {computed:08x} and should be {stored:08x}")
            }
        }
    }
}

impl std::error::Error for BatchError {}

/// How many bytes the batch at the start of `bytes` takes, whatever its version; `None` if they end before it does.
/// Kafka: the length is judged before the magic, the magic before it is known whether all bytes are there.
pub fn next_len(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some(length) = bytes.get(LENGTH_AT..LENGTH_AT + 4) else { return Ok(None) };
    let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
    if length < LENGTH_MIN {
        return Err(BatchError::BadLength(length));
    }
    if bytes.len() < UP_TO_MAGIC_BYTES {
        return Ok(None);
    }
    let magic = bytes[MAGIC_AT] as i8;
    if !(0..=MAGIC).contains(&magic) {
        return Err(BatchError::BadMagic(magic));
    }
    let whole = LENGTH_OVERHEAD_BYTES + length as usize;
    Ok((bytes.len() >= whole).then_some(whole))
}

/// One whole batch of magic 2 where it lies. Its lengths are checked; checksum, counts and records are not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BatchView<'a> {
    // Invariant: at least HEADER_BYTES long, and exactly as long as the length field says.
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`. More may follow it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let whole = next_len(bytes)?.ok_or(BatchError::TooShort)?;
        let magic = bytes[MAGIC_AT] as i8;
        if magic != MAGIC {
            return Err(BatchError::BadMagic(magic));
        }
        if whole < HEADER_BYTES {
            return Err(BatchError::BadLength((whole - LENGTH_OVERHEAD_BYTES) as i32));
        }
        Ok(Self { bytes: &bytes[..whole] })
    }

    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.crc(), crc(self.bytes));
        if stored == computed { Ok(()) } else { Err(BatchError::BadCrc { stored, computed }) }
    }

    /// The batch and nothing after it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn batch_len(&self) -> usize {
        self.bytes.len()
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.bytes[at..].first_chunk().expect("a batch holds its header")
    }

    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.field(BASE_OFFSET_AT))
    }

    pub fn leader_epoch(&self) -> i32 {
        i32::from_be_bytes(self.field(LEADER_EPOCH_AT))
    }

    pub fn magic(&self) -> i8 {
        i8::from_be_bytes(self.field(MAGIC_AT))
    }

    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(self.field(CRC_AT))
    }

    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.field(ATTRIBUTES_AT))
    }

    /// `None` for the three numbers that name no codec.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_attributes(self.attributes() & CODEC_MASK)
    }

    pub fn has_log_append_time(&self) -> bool {
        self.attributes() & LOG_APPEND_TIME != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    pub fn has_delete_horizon(&self) -> bool {
        self.attributes() & DELETE_HORIZON != 0
    }

    /// From when on compaction may drop the tombstones and markers in here.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.has_delete_horizon().then(|| self.base_timestamp())
    }

    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(self.field(LAST_OFFSET_DELTA_AT))
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset().wrapping_add(self.last_offset_delta().into())
    }

    /// Where the next batch begins.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    pub fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(BASE_TIMESTAMP_AT))
    }

    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(MAX_TIMESTAMP_AT))
    }

    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(self.field(PRODUCER_ID_AT))
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id() > NO_PRODUCER_ID
    }

    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(self.field(PRODUCER_EPOCH_AT))
    }

    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(self.field(BASE_SEQUENCE_AT))
    }

    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence() {
            NO_SEQUENCE => NO_SEQUENCE,
            base => sequence_after(base, self.last_offset_delta()),
        }
    }

    pub fn count(&self) -> i32 {
        i32::from_be_bytes(self.field(COUNT_AT))
    }

    /// All records, compressed as the codec says.
    pub fn records_bytes(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }
}

impl fmt::Debug for BatchView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchView")
            .field("base_offset", &self.base_offset())
            .field("last_offset_delta", &self.last_offset_delta())
            .field("leader_epoch", &self.leader_epoch())
            .field("attributes", &self.attributes())
            .field("max_timestamp", &self.max_timestamp())
            .field("producer_id", &self.producer_id())
            .field("producer_epoch", &self.producer_epoch())
            .field("base_sequence", &self.base_sequence())
            .field("count", &self.count())
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// The sequence number `delta` after `base`. After `i32::MAX` comes 0.
pub fn sequence_after(base: i32, delta: i32) -> i32 {
    base.wrapping_add(delta) & i32::MAX
}

/// One batch after the other. Ends where no whole batch is left, or after the first error.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes, failed: false }
}

#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Batches<'a> {
    /// What was not yet walked: after the end the bytes of a batch that is not all there, after an error those of the bad one.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match BatchView::parse(self.rest) {
            Ok(batch) => {
                self.rest = &self.rest[batch.batch_len()..];
                Some(Ok(batch))
            }
            Err(BatchError::TooShort) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// The checksum of a batch, as it should be.
pub fn crc(batch: &[u8]) -> u32 {
    crc32c(&batch[ATTRIBUTES_AT..])
}

/// Gives a whole batch its place in the log. With a log append time that becomes the time of all its records, and without one
/// the batch says that its producer chose the times. Returns whether the checksum had to be written anew.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32, log_append_time: Option<i64>) -> bool {
    batch[BASE_OFFSET_AT..LENGTH_AT].copy_from_slice(&base_offset.to_be_bytes());
    batch[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&leader_epoch.to_be_bytes());
    match log_append_time {
        Some(time) => set_times(batch, true, time),
        None => {
            let max_timestamp = view(batch).max_timestamp();
            set_times(batch, false, max_timestamp)
        }
    }
}

/// Writes the greatest timestamp of the records, where the producer got it wrong. Returns whether it did.
pub fn set_max_timestamp(batch: &mut [u8], max_timestamp: i64) -> bool {
    let log_append_time = view(batch).has_log_append_time();
    set_times(batch, log_append_time, max_timestamp)
}

fn set_times(batch: &mut [u8], log_append_time: bool, max_timestamp: i64) -> bool {
    let old = view(batch);
    let attributes = if log_append_time {
        old.attributes() | LOG_APPEND_TIME
    } else {
        old.attributes() & !LOG_APPEND_TIME
    };
    if attributes == old.attributes() && max_timestamp == old.max_timestamp() {
        return false;
    }
    batch[ATTRIBUTES_AT..LAST_OFFSET_DELTA_AT].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..PRODUCER_ID_AT].copy_from_slice(&max_timestamp.to_be_bytes());
    // Cheaper than combining checksums, for every batch that a producer may send.
    let crc = crc(batch);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    true
}

fn view(batch: &[u8]) -> BatchView<'_> {
    let view = BatchView { bytes: batch };
    assert!(
        batch.len() >= HEADER_BYTES && view.length_field() == batch.len() - LENGTH_OVERHEAD_BYTES,
        "only a whole batch is stamped"
    );
    view
}

impl BatchView<'_> {
    fn length_field(&self) -> usize {
        i32::from_be_bytes(self.field(LENGTH_AT)) as usize
    }
}

/// All fields of a header, to be written before records. `Default` is an empty batch of no producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub codec: Codec,
    pub log_append_time: bool,
    pub transactional: bool,
    pub control: bool,
    pub delete_horizon: bool,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl Default for BatchHeader {
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            codec: Codec::None,
            log_append_time: false,
            transactional: false,
            control: false,
            delete_horizon: false,
            last_offset_delta: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            count: 0,
        }
    }
}

impl BatchHeader {
    /// All that `batch` says, unless its codec has no name.
    pub fn of(batch: &BatchView<'_>) -> Option<Self> {
        Some(Self {
            base_offset: batch.base_offset(),
            leader_epoch: batch.leader_epoch(),
            codec: batch.codec()?,
            log_append_time: batch.has_log_append_time(),
            transactional: batch.is_transactional(),
            control: batch.is_control(),
            delete_horizon: batch.has_delete_horizon(),
            last_offset_delta: batch.last_offset_delta(),
            base_timestamp: batch.base_timestamp(),
            max_timestamp: batch.max_timestamp(),
            producer_id: batch.producer_id(),
            producer_epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
            count: batch.count(),
        })
    }

    fn attributes(&self) -> i16 {
        let flags = [
            (self.log_append_time, LOG_APPEND_TIME),
            (self.transactional, TRANSACTIONAL),
            (self.control, CONTROL),
            (self.delete_horizon, DELETE_HORIZON),
        ];
        flags.iter().filter(|(set, _)| *set).fold(self.codec as i16, |all, (_, bit)| all | bit)
    }

    /// Writes this header, with length and checksum, into the first bytes of a batch whose records are in place.
    pub fn write(&self, batch: &mut [u8]) {
        let length =
            i32::try_from(batch.len() - LENGTH_OVERHEAD_BYTES).expect("a batch is smaller than 2 GiB");
        let mut put = |at: usize, field: &[u8]| batch[at..at + field.len()].copy_from_slice(field);
        put(BASE_OFFSET_AT, &self.base_offset.to_be_bytes());
        put(LENGTH_AT, &length.to_be_bytes());
        put(LEADER_EPOCH_AT, &self.leader_epoch.to_be_bytes());
        put(MAGIC_AT, &MAGIC.to_be_bytes());
        put(ATTRIBUTES_AT, &self.attributes().to_be_bytes());
        put(LAST_OFFSET_DELTA_AT, &self.last_offset_delta.to_be_bytes());
        put(BASE_TIMESTAMP_AT, &self.base_timestamp.to_be_bytes());
        put(MAX_TIMESTAMP_AT, &self.max_timestamp.to_be_bytes());
        put(PRODUCER_ID_AT, &self.producer_id.to_be_bytes());
        put(PRODUCER_EPOCH_AT, &self.producer_epoch.to_be_bytes());
        put(BASE_SEQUENCE_AT, &self.base_sequence.to_be_bytes());
        put(COUNT_AT, &self.count.to_be_bytes());
        let crc = crc(batch);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::builder::BatchBuilder;
    use super::*;

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        builder.append(1_000, Some(b"k"), Some(b"v"), &[]).unwrap();
        builder.append(1_005, Some(b"k"), Some(b"w"), &[]).unwrap();
        builder.build().unwrap()
    }

    #[test]
    fn offset_and_epoch_are_stamped_without_a_new_checksum() {
        let mut bytes = batch();
        let before = view(&bytes).crc();
        assert!(!stamp(&mut bytes, 1 << 40, 7, None));
        let view = BatchView::parse(&bytes).unwrap();
        assert_eq!(
            (view.base_offset(), view.last_offset(), view.leader_epoch()),
            (1 << 40, (1 << 40) + 1, 7)
        );
        assert_eq!(view.crc(), before);
        view.verify_crc().unwrap();
    }

    #[test]
    fn log_append_time_is_stamped_and_taken_away_with_a_new_checksum() {
        let mut bytes = batch();
        let sent = bytes.clone();
        assert!(stamp(&mut bytes, 0, -1, Some(9_999)));
        let view = BatchView::parse(&bytes).unwrap();
        assert!(view.has_log_append_time());
        assert_eq!((view.base_timestamp(), view.max_timestamp()), (1_000, 9_999));
        view.verify_crc().unwrap();
        assert!(stamp(&mut bytes, 0, -1, None));
        assert!(set_max_timestamp(&mut bytes, 1_005));
        assert_eq!(bytes, sent);
        assert!(!set_max_timestamp(&mut bytes, 1_005));
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let good = batch();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            BatchView::parse(&bytes).map(|_| ())
        };
        for len in 0..good.len() {
            assert_eq!(BatchView::parse(&good[..len]), Err(BatchError::TooShort), "{len} bytes");
        }
        assert_eq!(with(&|b| b[11] += 1), Err(BatchError::TooShort));
        assert_eq!(with(&|b| b[8] = 0x80), Err(BatchError::BadLength(i32::MIN + good.len() as i32 - 12)));
        assert_eq!(with(&|b| b[11] = 13), Err(BatchError::BadLength(13)));
        assert_eq!(with(&|b| b[11] = 48), Err(BatchError::BadLength(48)));
        for magic in [-1, 0, 1, 3, 127] {
            assert_eq!(with(&|b| b[16] = magic as u8), Err(BatchError::BadMagic(magic)));
        }
        let mut bytes = good.clone();
        bytes[70] ^= 1;
        assert!(matches!(BatchView::parse(&bytes).unwrap().verify_crc(), Err(BatchError::BadCrc { .. })));
    }

    #[test]
    fn batches_end_at_a_partial_one_and_stop_at_a_bad_one() {
        let one = batch();
        let two = [one.clone(), one.clone()].concat();
        let mut walk = batches(&two[..two.len() - 1]);
        assert_eq!(walk.next().unwrap().unwrap().bytes(), one);
        assert!(walk.next().is_none());
        assert_eq!(walk.rest(), &one[..one.len() - 1]);
        let mut bad = two.clone();
        bad[one.len() + 16] = 9;
        let mut walk = batches(&bad);
        assert!(walk.next().unwrap().is_ok());
        assert_eq!(walk.next(), Some(Err(BatchError::BadMagic(9))));
        assert!(walk.next().is_none());
        assert_eq!(walk.rest().len(), one.len());
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX - 1, 2), 0);
        assert_eq!(sequence_after(i32::MAX, 5), 4);
        assert_eq!(sequence_after(0, 0), 0);
    }
}
