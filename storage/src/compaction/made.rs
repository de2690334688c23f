//! A segment in the making: batches go in; whole blocks to write, and its indexes, come out.

use bytes::Bytes;
use protocol::records::batch::BatchView;

use super::rewrite::{Left, Rewrite};
use crate::buffer::Buffer;
use crate::config::LogConfig;
use crate::facts::Facts;
use crate::format::SEGMENT_BYTES_MAX;
use crate::segment::{Indexes, Latest};

pub(crate) struct Made {
    pub(crate) bytes: u32,
    pub(crate) latest: Latest,
    pub(crate) indexes: Indexes,
    /// Something is not as it was.
    pub(crate) is_changed: bool,
    filling: Buffer,
    full: Vec<Bytes>,
}

impl Made {
    pub(crate) fn new(base_offset: i64, config: &LogConfig) -> Self {
        Self {
            bytes: 0,
            latest: Latest::NONE,
            indexes: Indexes::new(base_offset, config),
            is_changed: false,
            filling: Buffer::heap(WRITE_BYTES),
            full: Vec::new(),
        }
    }

    /// Takes in what is left of a batch of the old segments.
    pub(crate) fn take_in(&mut self, batch: &BatchView<'_>, rewrite: &mut Rewrite) -> Result<(), String> {
        let (left, aborted) = rewrite.decide(batch)?;
        if let Some(aborted) = aborted {
            self.indexes.aborted.append(aborted);
        }
        self.is_changed |= left != Left::All;
        match left {
            Left::All => self.push(batch),
            Left::Some(bytes) => self.push(&BatchView::parse(&bytes).map_err(|error| error.to_string())?),
            Left::Nothing => Ok(()),
        }
    }

    fn push(&mut self, batch: &BatchView<'_>) -> Result<(), String> {
        let facts = Facts::of(batch).ok_or("offsets out of range")?;
        let end = u64::from(self.bytes) + u64::from(facts.bytes);
        if end > SEGMENT_BYTES_MAX {
            return Err("what is left fits into no segment".to_owned());
        }
        self.latest.see(&facts);
        self.indexes.see(&facts, self.bytes, self.latest);
        self.bytes += facts.bytes;
        let mut rest = batch.bytes();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.filling.room()));
            self.filling.extend(now);
            rest = later;
            if self.filling.room() == 0 {
                self.full.push(std::mem::replace(&mut self.filling, Buffer::heap(WRITE_BYTES)).freeze());
            }
        }
        Ok(())
    }

    /// What can be written, in order.
    pub(crate) fn take_full(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.full)
    }

    /// The rest, up to a block's border.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        let mut last = std::mem::replace(&mut self.filling, Buffer::heap(1));
        last.pad_to_block();
        last.freeze()
    }

    /// What the index files hold. Kafka: the last time is the largest.
    pub(crate) fn encode_indexes(mut self) -> EncodedIndexes {
        self.indexes.times.append_last(self.latest.timestamp, self.latest.offset);
        EncodedIndexes {
            offsets: self.indexes.offsets.encode(),
            times: self.indexes.times.encode(),
            aborted: self.indexes.aborted.encode(),
        }
    }
}

/// The bytes of a segment's index files.
pub(crate) struct EncodedIndexes {
    pub(crate) offsets: Vec<u8>,
    pub(crate) times: Vec<u8>,
    pub(crate) aborted: Vec<u8>,
}

/// Bytes per write.
const WRITE_BYTES: usize = 1 << 20;
