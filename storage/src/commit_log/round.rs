//! What the file of a commit log holds: a head, then rounds, each written at once, and in them one frame per log.
//!
//! ```text
//! head    magic 8, version 4, checksum 4 (of the salt), salt 8, padding to a whole block
//! round   magic 8, version 4, checksum 4 (of the salt and all that follows, without padding), generation 8, sequence 4, bytes of all
//!         frames 4, frames, padding to a whole block
//! frame   topic id 16, partition 4, bytes 4, follows 8 (the log's end before them), whole batches as they are in the log
//! ```
//! All numbers are little-endian. The salt is a random number that no client knows: nothing that one sends can pass for a round.
//! What follows the head are two halves. A half's rounds have one generation and the sequences 0, 1, 2, ...
//! from its beginning on; what follows the last of them is an older generation's, or zeros.

use bytes::Bytes;
use protocol::crc32c::crc32c;
use protocol::ids::Uuid;

use crate::disk::BLOCK_BYTES;
use crate::format::{COMMIT_LOG_MAGIC, COMMIT_LOG_VERSION, number};

/// Batches of one log that were appended together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub topic_id: Uuid,
    pub partition: i32,
    /// The log's end before them.
    pub follows: i64,
    pub bytes: Bytes,
}

/// Frames on their way into one write.
#[derive(Default)]
pub(super) struct Gathering {
    frames: Vec<u8>,
}

impl Gathering {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Of the round with so many more bytes in one more frame, as it lies in the file.
    pub(super) fn round_bytes_with(&self, bytes: usize) -> usize {
        (ROUND_HEAD_BYTES + self.frames.len() + FRAME_HEAD_BYTES + bytes).next_multiple_of(BLOCK_BYTES)
    }

    pub(super) fn push(&mut self, topic_id: Uuid, partition: i32, follows: i64, parts: &[&[u8]]) {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.frames.extend_from_slice(&topic_id.0);
        self.frames.extend_from_slice(&partition.to_le_bytes());
        self.frames.extend_from_slice(&u32::try_from(bytes).expect("a small append").to_le_bytes());
        self.frames.extend_from_slice(&follows.to_le_bytes());
        parts.iter().for_each(|part| self.frames.extend_from_slice(part));
    }

    /// The round's head. What follows it in the file is [`Self::frames`].
    pub(super) fn head(&self, salt: u64, generation: u64, sequence: u32) -> [u8; ROUND_HEAD_BYTES] {
        let mut head = [0; ROUND_HEAD_BYTES];
        head[..8].copy_from_slice(&COMMIT_LOG_MAGIC);
        head[8..12].copy_from_slice(&COMMIT_LOG_VERSION.to_le_bytes());
        head[16..24].copy_from_slice(&generation.to_le_bytes());
        head[24..28].copy_from_slice(&sequence.to_le_bytes());
        let bytes = u32::try_from(self.frames.len()).expect("rounds are small");
        head[28..].copy_from_slice(&bytes.to_le_bytes());
        let checksum = checksum(salt, &head[16..], &self.frames);
        head[12..16].copy_from_slice(&checksum.to_le_bytes());
        head
    }

    pub(super) fn frames(&self) -> &[u8] {
        &self.frames
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        // One large round does not keep its memory for ever.
        self.frames.shrink_to(KEPT_BYTES);
    }
}

/// A round as it was read.
pub(super) struct Round {
    pub(super) generation: u64,
    pub(super) sequence: u32,
    /// With its padding.
    pub(super) bytes: usize,
    frames: Bytes,
}

impl Round {
    /// The round that begins here; None if none does, or not all of it is there.
    pub(super) fn parse(salt: u64, bytes: &Bytes) -> Option<Self> {
        let head = bytes.get(..ROUND_HEAD_BYTES)?;
        if head[..8] != COMMIT_LOG_MAGIC || u32::from_le_bytes(number(head, 8)) != COMMIT_LOG_VERSION {
            return None;
        }
        let len = u32::from_le_bytes(number(head, 28)) as usize;
        let end = ROUND_HEAD_BYTES.checked_add(len).filter(|end| *end <= bytes.len())?;
        if checksum(salt, &head[16..], &bytes[ROUND_HEAD_BYTES..end]) != u32::from_le_bytes(number(head, 12))
        {
            return None;
        }
        Some(Self {
            generation: u64::from_le_bytes(number(head, 16)),
            sequence: u32::from_le_bytes(number(head, 24)),
            bytes: end.next_multiple_of(BLOCK_BYTES),
            frames: bytes.slice(ROUND_HEAD_BYTES..end),
        })
    }

    /// Ends early only if a writer was wrong: the checksum has been compared.
    pub(super) fn frames(&self) -> impl Iterator<Item = Frame> {
        let mut rest = self.frames.clone();
        std::iter::from_fn(move || {
            let head = rest.get(..FRAME_HEAD_BYTES)?;
            let len = u32::from_le_bytes(number(head, 20)) as usize;
            let topic_id = Uuid(number(head, 0));
            let partition = i32::from_le_bytes(number(head, 16));
            let follows = i64::from_le_bytes(number(head, 24));
            let end = FRAME_HEAD_BYTES.checked_add(len).filter(|end| *end <= rest.len())?;
            let bytes = rest.slice(FRAME_HEAD_BYTES..end);
            rest = rest.slice(end..);
            Some(Frame { topic_id, partition, follows, bytes })
        })
    }
}

fn checksum(salt: u64, head: &[u8], frames: &[u8]) -> u32 {
    // The frames are many times as long: their checksum, and then one over it and the rest.
    let mut all = [0; 8 + ROUND_HEAD_BYTES - 16 + 4];
    all[..8].copy_from_slice(&salt.to_le_bytes());
    all[8..8 + head.len()].copy_from_slice(head);
    all[8 + head.len()..].copy_from_slice(&crc32c(frames).to_le_bytes());
    crc32c(&all)
}

/// The head of a file.
pub(super) fn file_head(salt: u64) -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    head[..8].copy_from_slice(&COMMIT_LOG_MAGIC);
    head[8..12].copy_from_slice(&COMMIT_LOG_VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&crc32c(&salt.to_le_bytes()).to_le_bytes());
    head[16..].copy_from_slice(&salt.to_le_bytes());
    head
}

/// The salt, if this is a head.
pub(super) fn parse_file_head(bytes: &[u8]) -> Option<u64> {
    let salt = u64::from_le_bytes(number(bytes.get(..FILE_HEAD_BYTES)?, 16));
    (bytes[..FILE_HEAD_BYTES] == file_head(salt)).then_some(salt)
}

const FILE_HEAD_BYTES: usize = 24;
const ROUND_HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 32;
const KEPT_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 99;

    fn encoded(gathering: &Gathering) -> Vec<u8> {
        let mut bytes = gathering.head(SALT, 7, 3).to_vec();
        bytes.extend_from_slice(gathering.frames());
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }

    fn two_frames() -> Gathering {
        let mut gathering = Gathering::default();
        gathering.push(Uuid([1; 16]), 5, 40, &[b"one", b" more"]);
        gathering.push(Uuid([2; 16]), 0, 0, &[b"two"]);
        gathering
    }

    #[test]
    fn a_round_is_read_as_it_was_gathered() {
        let bytes = Bytes::from(encoded(&two_frames()));
        let round = Round::parse(SALT, &bytes).unwrap();
        assert_eq!((round.generation, round.sequence, round.bytes), (7, 3, BLOCK_BYTES));
        let frames: Vec<Frame> = round.frames().collect();
        let frame = |id, partition, follows, bytes: &'static [u8]| Frame {
            topic_id: Uuid([id; 16]),
            partition,
            follows,
            bytes: Bytes::from_static(bytes),
        };
        assert_eq!(frames, [frame(1, 5, 40, b"one more"), frame(2, 0, 0, b"two")]);
    }

    #[test]
    fn a_head_says_its_salt() {
        let head = file_head(SALT);
        assert_eq!(parse_file_head(&head), Some(SALT));
        assert_eq!(parse_file_head(&head[..23]), None);
        for at in 0..head.len() {
            let mut changed = head;
            changed[at] ^= 4;
            assert_eq!(parse_file_head(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn a_round_with_any_bit_changed_or_any_byte_missing_is_none() {
        let whole = encoded(&two_frames());
        let len = ROUND_HEAD_BYTES + two_frames().frames().len();
        for at in 0..len {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(Round::parse(SALT, &Bytes::from(changed)).is_none(), "bit {} of byte {at}", at % 8);
            assert!(Round::parse(SALT, &Bytes::copy_from_slice(&whole[..at])).is_none(), "{at} bytes");
        }
        assert!(Round::parse(SALT + 1, &Bytes::from(whole)).is_none(), "of another file");
    }
}
