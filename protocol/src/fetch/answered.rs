//! A Fetch response where it lies: what a follower or a consumer gets, with the records left in the frame.

use std::ops::Range;

use bytes::Bytes;

use super::response::{AbortedTransaction, EpochEndOffset, SnapshotId};
use super::{
    FLEXIBLE_FROM, LOG_START_OFFSET_FROM, NODE_ENDPOINTS_FROM, RACKS_FROM, SESSIONS_FROM, TOPIC_IDS_FROM,
    VERSIONS,
};
use crate::error_code::ErrorCode;
use crate::leader_hint::CurrentLeader;
use crate::messages::fetch_response::NodeEndpoint;
use crate::primitives::{DecodeError, Reader};
use crate::topic_key::TopicKey;

/// Smallest encodings of any version. They bound the counts before anything is walked.
const TOPIC_BYTES_MIN: usize = 3;
const PARTITION_BYTES_MIN: usize = 30;
const ABORTED_BYTES_MIN: usize = 16;
const NODE_BYTES_MIN: usize = 11;

const CHECKED: &str = "the response was checked as a whole when the view was made";

/// The body of a response, checked from end to end. Walking it cannot fail. What a version lacks has Kafka's default.
#[derive(Clone, Debug)]
pub struct FetchResponseView<'a> {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub session_id: i32,
    pub partition_count: usize,
    /// Of all partitions together.
    pub records_bytes: usize,
    /// Of the leaders that are elsewhere.
    pub node_endpoints: Vec<NodeEndpoint>,
    topics: FetchedTopics<'a>,
}

impl<'a> FetchResponseView<'a> {
    pub fn parse(body: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        if !VERSIONS.contains(&version) {
            return Err(DecodeError::Version);
        }
        let shape = Shape { body_bytes: body.len(), version };
        let mut r = Reader::new(body);
        let throttle_time_ms = r.i32()?;
        let (error_code, session_id) = if version >= SESSIONS_FROM { (r.i16()?, r.i32()?) } else { (0, 0) };
        let left = r.array_len(shape.is_flexible(), TOPIC_BYTES_MIN)?.ok_or(DecodeError::Null)?;
        let mut it = Self {
            throttle_time_ms,
            error_code: ErrorCode(error_code),
            session_id,
            partition_count: 0,
            records_bytes: 0,
            node_endpoints: Vec::new(),
            topics: FetchedTopics { r: r.clone(), left, shape },
        };
        for _ in 0..left {
            let (_, partitions) = shape.read_topic(&mut r)?;
            for _ in 0..partitions {
                it.records_bytes += shape.read_partition(&mut r)?.records_at.len();
            }
            shape.skip_tags(&mut r)?;
            it.partition_count += partitions;
        }
        if shape.is_flexible() {
            it.read_tags(&mut r, version)?;
        }
        Ok(it)
    }

    fn read_tags(&mut self, r: &mut Reader<'a>, version: i16) -> Result<(), DecodeError> {
        for _ in 0..r.tag_count()? {
            match r.tag()? {
                (0, _) if version >= NODE_ENDPOINTS_FROM => {
                    self.node_endpoints = r.array(true, NODE_BYTES_MIN, node_endpoint)?;
                }
                (_, bytes) => r.skip(bytes)?,
            }
        }
        Ok(())
    }

    pub fn topics(&self) -> FetchedTopics<'a> {
        self.topics.clone()
    }
}

fn node_endpoint(r: &mut Reader<'_>) -> Result<NodeEndpoint, DecodeError> {
    let (node_id, host, port) = (r.i32()?, r.string(true)?, r.i32()?);
    let rack = r.nullable_string(true)?;
    r.skip_tags()?;
    Ok(NodeEndpoint { node_id, host, port, rack })
}

#[derive(Clone, Debug)]
pub struct FetchedTopics<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl<'a> Iterator for FetchedTopics<'a> {
    type Item = FetchedTopic<'a>;

    fn next(&mut self) -> Option<FetchedTopic<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (key, left) = self.shape.read_topic(&mut self.r).expect(CHECKED);
        let partitions = FetchedPartitions { r: self.r.clone(), left, shape: self.shape };
        for _ in 0..left {
            self.shape.read_partition(&mut self.r).expect(CHECKED);
        }
        self.shape.skip_tags(&mut self.r).expect(CHECKED);
        Some(FetchedTopic { key, partitions })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for FetchedTopics<'_> {}

#[derive(Clone, Debug)]
pub struct FetchedTopic<'a> {
    pub key: TopicKey<'a>,
    pub partitions: FetchedPartitions<'a>,
}

#[derive(Clone, Debug)]
pub struct FetchedPartitions<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl<'a> Iterator for FetchedPartitions<'a> {
    type Item = FetchedPartition<'a>;

    fn next(&mut self) -> Option<FetchedPartition<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.shape.read_partition(&mut self.r).expect(CHECKED))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for FetchedPartitions<'_> {}

#[derive(Clone, Debug)]
pub struct FetchedPartition<'a> {
    pub index: i32,
    pub error_code: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// `None` is null: committed records only were not asked for.
    pub aborted_transactions: Option<AbortedTransactions<'a>>,
    pub preferred_read_replica: i32,
    /// Batches; the last one may be cut short.
    pub records: Option<&'a [u8]>,
    /// Where the records lie in the body.
    pub records_at: Range<usize>,
    pub diverging_epoch: Option<EpochEndOffset>,
    pub current_leader: Option<CurrentLeader>,
    pub snapshot_id: Option<SnapshotId>,
}

impl FetchedPartition<'_> {
    /// The records without a copy, out of the body that the view was made of.
    pub fn slice_of(&self, body: &Bytes) -> Option<Bytes> {
        self.records.map(|_| body.slice(self.records_at.clone()))
    }
}

#[derive(Clone, Debug)]
pub struct AbortedTransactions<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl Iterator for AbortedTransactions<'_> {
    type Item = AbortedTransaction;

    fn next(&mut self) -> Option<AbortedTransaction> {
        self.left = self.left.checked_sub(1)?;
        Some(self.shape.read_aborted(&mut self.r).expect(CHECKED))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for AbortedTransactions<'_> {}

#[derive(Clone, Copy, Debug)]
struct Shape {
    body_bytes: usize,
    version: i16,
}

impl Shape {
    fn is_flexible(self) -> bool {
        self.version >= FLEXIBLE_FROM
    }

    fn read_topic<'a>(self, r: &mut Reader<'a>) -> Result<(TopicKey<'a>, usize), DecodeError> {
        let key = TopicKey::read(r, self.version >= TOPIC_IDS_FROM, self.is_flexible())?;
        let partitions = r.array_len(self.is_flexible(), PARTITION_BYTES_MIN)?.ok_or(DecodeError::Null)?;
        Ok((key, partitions))
    }

    fn read_partition<'a>(self, r: &mut Reader<'a>) -> Result<FetchedPartition<'a>, DecodeError> {
        let flexible = self.is_flexible();
        let mut it = FetchedPartition {
            index: r.i32()?,
            error_code: ErrorCode(r.i16()?),
            high_watermark: r.i64()?,
            last_stable_offset: r.i64()?,
            log_start_offset: if self.version >= LOG_START_OFFSET_FROM { r.i64()? } else { -1 },
            aborted_transactions: self.read_all_aborted(r)?,
            preferred_read_replica: if self.version >= RACKS_FROM { r.i32()? } else { -1 },
            records: r.bytes_in_place(flexible)?,
            records_at: 0..0,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
        };
        let end = self.body_bytes - r.remaining();
        it.records_at = end - it.records.map_or(0, <[u8]>::len)..end;
        if flexible {
            it.read_tags(r)?;
        }
        Ok(it)
    }

    fn read_all_aborted<'a>(
        self,
        r: &mut Reader<'a>,
    ) -> Result<Option<AbortedTransactions<'a>>, DecodeError> {
        let Some(left) = r.array_len(self.is_flexible(), ABORTED_BYTES_MIN)? else { return Ok(None) };
        let all = AbortedTransactions { r: r.clone(), left, shape: self };
        for _ in 0..left {
            self.read_aborted(r)?;
        }
        Ok(Some(all))
    }

    fn read_aborted(self, r: &mut Reader<'_>) -> Result<AbortedTransaction, DecodeError> {
        let aborted = AbortedTransaction { producer_id: r.i64()?, first_offset: r.i64()? };
        self.skip_tags(r)?;
        Ok(aborted)
    }

    fn skip_tags(self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        if self.is_flexible() { r.skip_tags() } else { Ok(()) }
    }
}

impl FetchedPartition<'_> {
    fn read_tags(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        for _ in 0..r.tag_count()? {
            match r.tag()? {
                (0, _) => {
                    self.diverging_epoch = Some(EpochEndOffset { epoch: r.i32()?, end_offset: r.i64()? });
                    r.skip_tags()?;
                }
                (1, _) => {
                    let leader = CurrentLeader { leader_id: r.i32()?, leader_epoch: r.i32()? };
                    self.current_leader = Some(leader);
                    r.skip_tags()?;
                }
                (2, _) => {
                    self.snapshot_id = Some(SnapshotId { end_offset: r.i64()?, epoch: r.i32()? });
                    r.skip_tags()?;
                }
                (_, bytes) => r.skip(bytes)?,
            }
        }
        Ok(())
    }
}
