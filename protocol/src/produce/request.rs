//! A Produce request where it lies.

use std::ops::Range;

use bytes::Bytes;

use super::{FLEXIBLE_FROM, TOPIC_IDS_FROM, VERSIONS};
use crate::primitives::{DecodeError, Reader};
use crate::topic_key::TopicKey;

/// Smallest encodings of any version. They bound the counts before anything is walked.
const TOPIC_BYTES_MIN: usize = 3;
const PARTITION_BYTES_MIN: usize = 6;

/// Topics and partitions of one request. Each costs its reader far more than the few bytes it may take here; clients
/// that produce to a hundredth of this at once are not known.
const ENTRIES_MAX: usize = 500_000;

const CHECKED: &str = "the request was checked as a whole when the view was made";

/// The body of a request, checked from end to end. Walking it cannot fail.
#[derive(Clone, Debug)]
pub struct ProduceRequestView<'a> {
    /// UTF-8 only by contract.
    pub transactional_id: Option<&'a [u8]>,
    pub acks: i16,
    pub timeout_ms: i32,
    /// Over all topics, as listed: a partition listed twice counts twice.
    pub partition_count: usize,
    /// Of all partitions together.
    pub records_bytes: usize,
    topics: ProduceTopics<'a>,
}

impl<'a> ProduceRequestView<'a> {
    /// Kafka: bytes after the body are no error.
    pub fn parse(body: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        if !VERSIONS.contains(&version) {
            return Err(DecodeError::Version);
        }
        let shape = Shape { body_bytes: body.len(), version };
        let flexible = shape.is_flexible();
        let mut r = Reader::with_budget(body, ENTRIES_MAX);
        let transactional_id = r.string_bytes(flexible)?;
        let acks = r.i16()?;
        let timeout_ms = r.i32()?;
        let topic_count = r.array_len(flexible, TOPIC_BYTES_MIN)?.ok_or(DecodeError::Null)?;
        r.charge(topic_count)?;
        let topics = ProduceTopics { r: r.clone(), left: topic_count, shape };
        let (mut partition_count, mut records_bytes) = (0, 0);
        for _ in 0..topic_count {
            let (_, partitions) = shape.read_topic(&mut r)?;
            r.charge(partitions)?;
            for _ in 0..partitions {
                let partition = shape.read_partition(&mut r)?;
                records_bytes += partition.records.map_or(0, <[u8]>::len);
            }
            shape.skip_tags(&mut r)?;
            partition_count += partitions;
        }
        shape.skip_tags(&mut r)?;
        Ok(Self { transactional_id, acks, timeout_ms, partition_count, records_bytes, topics })
    }

    pub fn topics(&self) -> ProduceTopics<'a> {
        self.topics.clone()
    }
}

#[derive(Clone, Debug)]
pub struct ProduceTopics<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl<'a> Iterator for ProduceTopics<'a> {
    type Item = ProduceTopic<'a>;

    fn next(&mut self) -> Option<ProduceTopic<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (key, left) = self.shape.read_topic(&mut self.r).expect(CHECKED);
        let partitions = ProducePartitions { r: self.r.clone(), left, shape: self.shape };
        for _ in 0..left {
            self.shape.read_partition(&mut self.r).expect(CHECKED);
        }
        self.shape.skip_tags(&mut self.r).expect(CHECKED);
        Some(ProduceTopic { key, partitions })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ProduceTopics<'_> {}

#[derive(Clone, Debug)]
pub struct ProduceTopic<'a> {
    pub key: TopicKey<'a>,
    pub partitions: ProducePartitions<'a>,
}

#[derive(Clone, Debug)]
pub struct ProducePartitions<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl<'a> Iterator for ProducePartitions<'a> {
    type Item = ProducePartition<'a>;

    fn next(&mut self) -> Option<ProducePartition<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.shape.read_partition(&mut self.r).expect(CHECKED))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ProducePartitions<'_> {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    pub index: i32,
    pub records: Option<&'a [u8]>,
    /// Where the records lie in the body.
    pub records_at: Range<usize>,
}

impl ProducePartition<'_> {
    /// The records without a copy, out of the body that the view was made of.
    pub fn slice_of(&self, body: &Bytes) -> Option<Bytes> {
        self.records.map(|_| body.slice(self.records_at.clone()))
    }
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    body_bytes: usize,
    version: i16,
}

impl Shape {
    #[inline]
    fn is_flexible(self) -> bool {
        self.version >= FLEXIBLE_FROM
    }

    #[inline]
    fn read_topic<'a>(self, r: &mut Reader<'a>) -> Result<(TopicKey<'a>, usize), DecodeError> {
        let flexible = self.is_flexible();
        let key = TopicKey::read(r, self.version >= TOPIC_IDS_FROM, flexible)?;
        let partitions = r.array_len(flexible, PARTITION_BYTES_MIN)?.ok_or(DecodeError::Null)?;
        Ok((key, partitions))
    }

    #[inline]
    fn read_partition<'a>(self, r: &mut Reader<'a>) -> Result<ProducePartition<'a>, DecodeError> {
        let index = r.i32()?;
        let records = r.bytes_in_place(self.is_flexible())?;
        let end = self.body_bytes - r.remaining();
        let records_at = end - records.map_or(0, <[u8]>::len)..end;
        self.skip_tags(r)?;
        Ok(ProducePartition { index, records, records_at })
    }

    #[inline]
    fn skip_tags(self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        if self.is_flexible() { r.skip_tags() } else { Ok(()) }
    }
}
