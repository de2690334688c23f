//! A Fetch request where it lies.

use super::{
    DIRECTORY_IDS_FROM, FLEXIBLE_FROM, HIGH_WATERMARK_FROM, LEADER_EPOCH_FROM, LOG_START_OFFSET_FROM,
    RACKS_FROM, REPLICA_STATE_FROM, SESSIONS_FROM, TOPIC_IDS_FROM, VERSIONS,
};
use crate::ids::Uuid;
use crate::primitives::{DecodeError, Reader};
use crate::topic_key::TopicKey;

/// Smallest encodings of any version. They bound the counts before anything is walked.
const TOPIC_BYTES_MIN: usize = 3;
const PARTITION_BYTES_MIN: usize = 16;

/// Topics and partitions of one request. Each costs its reader far more than the few bytes it may take here; a broker
/// with so many partitions in all is rare.
const ENTRIES_MAX: usize = 500_000;

const CHECKED: &str = "the request was checked as a whole when the view was made";

/// The body of a request, checked from end to end. Walking it cannot fail. What a version lacks has Kafka's default.
#[derive(Clone, Debug)]
pub struct FetchRequestView<'a> {
    /// UTF-8 only by contract.
    pub cluster_id: Option<&'a [u8]>,
    /// -1 is a consumer.
    pub replica_id: i32,
    pub replica_epoch: i64,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub isolation_level: i8,
    pub session_id: i32,
    pub session_epoch: i32,
    /// UTF-8 only by contract; empty if the client has none.
    pub rack_id: &'a [u8],
    /// Over all topics, as listed: a partition listed twice counts twice.
    pub partition_count: usize,
    pub forgotten_partition_count: usize,
    topics: FetchTopics<'a>,
    forgotten: ForgottenTopics<'a>,
}

impl<'a> FetchRequestView<'a> {
    /// Kafka: bytes after the body are no error.
    pub fn parse(body: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        if !VERSIONS.contains(&version) {
            return Err(DecodeError::Version);
        }
        let shape = Shape(version);
        let mut r = Reader::with_budget(body, ENTRIES_MAX);
        let mut it = Self {
            cluster_id: None,
            replica_id: if version < REPLICA_STATE_FROM { r.i32()? } else { -1 },
            replica_epoch: -1,
            max_wait_ms: r.i32()?,
            min_bytes: r.i32()?,
            max_bytes: r.i32()?,
            isolation_level: r.i8()?,
            session_id: if version >= SESSIONS_FROM { r.i32()? } else { 0 },
            session_epoch: if version >= SESSIONS_FROM { r.i32()? } else { -1 },
            rack_id: &[],
            partition_count: 0,
            forgotten_partition_count: 0,
            topics: FetchTopics { r: r.clone(), left: 0, shape },
            forgotten: ForgottenTopics { r: r.clone(), left: 0, shape },
        };
        it.check_topics(&mut r, shape)?;
        if version >= SESSIONS_FROM {
            it.check_forgotten(&mut r, shape)?;
        }
        if version >= RACKS_FROM {
            it.rack_id = r.string_bytes(shape.is_flexible())?.ok_or(DecodeError::Null)?;
        }
        if shape.is_flexible() {
            it.read_tags(&mut r, version)?;
        }
        Ok(it)
    }

    fn check_topics(&mut self, r: &mut Reader<'a>, shape: Shape) -> Result<(), DecodeError> {
        let left = r.array_len(shape.is_flexible(), TOPIC_BYTES_MIN)?.ok_or(DecodeError::Null)?;
        r.charge(left)?;
        self.topics = FetchTopics { r: r.clone(), left, shape };
        for _ in 0..left {
            let (_, partitions) = shape.read_topic(r, PARTITION_BYTES_MIN)?;
            r.charge(partitions)?;
            for _ in 0..partitions {
                shape.read_partition(r)?;
            }
            shape.skip_tags(r)?;
            self.partition_count += partitions;
        }
        Ok(())
    }

    fn check_forgotten(&mut self, r: &mut Reader<'a>, shape: Shape) -> Result<(), DecodeError> {
        let left = r.array_len(shape.is_flexible(), TOPIC_BYTES_MIN)?.ok_or(DecodeError::Null)?;
        r.charge(left)?;
        self.forgotten = ForgottenTopics { r: r.clone(), left, shape };
        for _ in 0..left {
            let (_, partitions) = shape.read_forgotten(r)?;
            r.charge(partitions.len())?;
            self.forgotten_partition_count += partitions.len();
        }
        Ok(())
    }

    fn read_tags(&mut self, r: &mut Reader<'a>, version: i16) -> Result<(), DecodeError> {
        for _ in 0..r.tag_count()? {
            match r.tag()? {
                (0, _) => self.cluster_id = r.string_bytes(true)?,
                (1, _) if version >= REPLICA_STATE_FROM => {
                    self.replica_id = r.i32()?;
                    self.replica_epoch = r.i64()?;
                    r.skip_tags()?;
                }
                (_, bytes) => r.skip(bytes)?,
            }
        }
        Ok(())
    }

    pub fn topics(&self) -> FetchTopics<'a> {
        self.topics.clone()
    }

    /// What an incremental fetch takes out of its session.
    pub fn forgotten_topics(&self) -> ForgottenTopics<'a> {
        self.forgotten.clone()
    }
}

#[derive(Clone, Debug)]
pub struct FetchTopics<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl<'a> Iterator for FetchTopics<'a> {
    type Item = FetchTopic<'a>;

    fn next(&mut self) -> Option<FetchTopic<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (key, left) = self.shape.read_topic(&mut self.r, PARTITION_BYTES_MIN).expect(CHECKED);
        let partitions = FetchPartitions { r: self.r.clone(), left, shape: self.shape };
        for _ in 0..left {
            self.shape.read_partition(&mut self.r).expect(CHECKED);
        }
        self.shape.skip_tags(&mut self.r).expect(CHECKED);
        Some(FetchTopic { key, partitions })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for FetchTopics<'_> {}

#[derive(Clone, Debug)]
pub struct FetchTopic<'a> {
    pub key: TopicKey<'a>,
    pub partitions: FetchPartitions<'a>,
}

#[derive(Clone, Debug)]
pub struct FetchPartitions<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl Iterator for FetchPartitions<'_> {
    type Item = FetchPartition;

    fn next(&mut self) -> Option<FetchPartition> {
        self.left = self.left.checked_sub(1)?;
        Some(self.shape.read_partition(&mut self.r).expect(CHECKED))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for FetchPartitions<'_> {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub index: i32,
    /// -1: not known, and not to be checked.
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// -1: the fetcher has nothing, or does not compare histories.
    pub last_fetched_epoch: i32,
    /// Where a follower's log begins; -1 for consumers.
    pub log_start_offset: i64,
    pub max_bytes: i32,
    pub replica_directory_id: Uuid,
    /// What a follower knows of the high watermark; `i64::MAX` for those that do not tell.
    pub high_watermark: i64,
}

#[derive(Clone, Debug)]
pub struct ForgottenTopics<'a> {
    r: Reader<'a>,
    left: usize,
    shape: Shape,
}

impl<'a> Iterator for ForgottenTopics<'a> {
    type Item = ForgottenTopic<'a>;

    fn next(&mut self) -> Option<ForgottenTopic<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (key, partitions) = self.shape.read_forgotten(&mut self.r).expect(CHECKED);
        Some(ForgottenTopic { key, partitions })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ForgottenTopics<'_> {}

#[derive(Clone, Debug)]
pub struct ForgottenTopic<'a> {
    pub key: TopicKey<'a>,
    pub partitions: ForgottenPartitions<'a>,
}

/// Partition indexes.
#[derive(Clone, Debug)]
pub struct ForgottenPartitions<'a>(&'a [[u8; 4]]);

impl Iterator for ForgottenPartitions<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let (index, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for ForgottenPartitions<'_> {}

/// What the version says about the layout.
#[derive(Clone, Copy, Debug)]
struct Shape(i16);

impl Shape {
    #[inline]
    fn is_flexible(self) -> bool {
        self.0 >= FLEXIBLE_FROM
    }

    #[inline]
    fn read_topic<'a>(
        self,
        r: &mut Reader<'a>,
        partition_bytes_min: usize,
    ) -> Result<(TopicKey<'a>, usize), DecodeError> {
        let key = TopicKey::read(r, self.0 >= TOPIC_IDS_FROM, self.is_flexible())?;
        let partitions = r.array_len(self.is_flexible(), partition_bytes_min)?.ok_or(DecodeError::Null)?;
        Ok((key, partitions))
    }

    #[inline]
    fn read_partition(self, r: &mut Reader<'_>) -> Result<FetchPartition, DecodeError> {
        let mut it = if self.is_flexible() { read_fixed(r)? } else { self.read_fixed_old(r)? };
        if self.is_flexible() {
            for _ in 0..r.tag_count()? {
                match r.tag()? {
                    (0, _) if self.0 >= DIRECTORY_IDS_FROM => it.replica_directory_id = r.uuid()?,
                    (1, _) if self.0 >= HIGH_WATERMARK_FROM => it.high_watermark = r.i64()?,
                    (_, bytes) => r.skip(bytes)?,
                }
            }
        }
        Ok(it)
    }

    fn read_fixed_old(self, r: &mut Reader<'_>) -> Result<FetchPartition, DecodeError> {
        Ok(FetchPartition {
            index: r.i32()?,
            current_leader_epoch: if self.0 >= LEADER_EPOCH_FROM { r.i32()? } else { -1 },
            fetch_offset: r.i64()?,
            last_fetched_epoch: -1,
            log_start_offset: if self.0 >= LOG_START_OFFSET_FROM { r.i64()? } else { -1 },
            max_bytes: r.i32()?,
            replica_directory_id: Uuid::ZERO,
            high_watermark: i64::MAX,
        })
    }

    fn read_forgotten<'a>(
        self,
        r: &mut Reader<'a>,
    ) -> Result<(TopicKey<'a>, ForgottenPartitions<'a>), DecodeError> {
        let (key, count) = self.read_topic(r, size_of::<i32>())?;
        let (indexes, _) = r.take(count * size_of::<i32>())?.as_chunks();
        self.skip_tags(r)?;
        Ok((key, ForgottenPartitions(indexes)))
    }

    #[inline]
    fn skip_tags(self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        if self.is_flexible() { r.skip_tags() } else { Ok(()) }
    }
}

/// The fields before the tags, in the versions of today: all there or not, in one look. A wide fetch has a thousand of them.
#[inline]
fn read_fixed(r: &mut Reader<'_>) -> Result<FetchPartition, DecodeError> {
    const BYTES: usize = 32;
    let bytes: &[u8; BYTES] = r.take(BYTES)?.try_into().expect("as many as were taken");
    let i32_at = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let i64_at = |at: usize| i64::from(i32_at(at)) << 32 | i64::from(i32_at(at + 4) as u32);
    Ok(FetchPartition {
        index: i32_at(0),
        current_leader_epoch: i32_at(4),
        fetch_offset: i64_at(8),
        last_fetched_epoch: i32_at(16),
        log_start_offset: i64_at(20),
        max_bytes: i32_at(28),
        replica_directory_id: Uuid::ZERO,
        high_watermark: i64::MAX,
    })
}
