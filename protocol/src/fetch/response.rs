//! A Fetch response as a list of slices, written as its parts become known.

use bytes::Bytes;

use super::{
    FLEXIBLE_FROM, LOG_START_OFFSET_FROM, NODE_ENDPOINTS_FROM, RACKS_FROM, SESSIONS_FROM, TOPIC_IDS_FROM,
    VERSIONS,
};
use crate::api_key::ApiKey;
use crate::error_code::ErrorCode;
use crate::frame::{FrameStart, begin_frame, encode_response_head, end_frame};
use crate::leader_hint::{CurrentLeader, NodeEndpoint, write_node_endpoints};
use crate::primitives::{EncodeError, Writer};
use crate::topic_key::TopicKey;

/// All of one partition's answer but the records. What a version has no place for is left out.
#[derive(Clone, Copy, Debug)]
pub struct FetchAnswer<'a> {
    pub index: i32,
    pub error_code: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// `None` is null: the reader did not ask for committed records only.
    pub aborted_transactions: Option<&'a [AbortedTransaction]>,
    pub preferred_read_replica: i32,
    pub diverging_epoch: Option<EpochEndOffset>,
    pub current_leader: Option<CurrentLeader>,
    pub snapshot_id: Option<SnapshotId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// Where a follower's history and ours part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    pub epoch: i32,
    pub end_offset: i64,
}

/// What to fetch instead of a log whose beginning is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId {
    pub end_offset: i64,
    pub epoch: i32,
}

impl FetchAnswer<'_> {
    /// With Kafka's "unknown" in every other field.
    pub fn error(index: i32, error_code: ErrorCode) -> Self {
        Self {
            index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: Some(&[]),
            preferred_read_replica: -1,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
        }
    }
}

/// Writes one response frame after the other; one per core is enough. Topics and partitions come in the order of the calls, as many
/// as were announced. A response costs two allocations, however many partitions it has.
#[derive(Debug, Default)]
pub struct FetchResponseWriter {
    w: Writer,
    /// Records, and the place in `w` where they belong.
    records: Vec<(usize, Bytes)>,
    records_bytes: usize,
    version: i16,
    frame: Option<FrameStart>,
    topics_left: usize,
    partitions_left: usize,
    /// What the last response took beside its records: the next one will be like it.
    bytes_expected: usize,
}

impl FetchResponseWriter {
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a frame, and forgets one that was begun and not finished.
    pub fn begin(
        &mut self,
        version: i16,
        correlation_id: i32,
        throttle_time_ms: i32,
        error_code: ErrorCode,
        session_id: i32,
        topic_count: usize,
    ) -> Result<(), EncodeError> {
        if !VERSIONS.contains(&version) {
            return Err(EncodeError::Version { message: "FetchResponse", version });
        }
        let mut w = Writer::with_capacity(self.bytes_expected);
        self.frame = Some(begin_frame(&mut w));
        encode_response_head(&mut w, ApiKey::Fetch, version, correlation_id);
        w.i32(throttle_time_ms);
        if version >= SESSIONS_FROM {
            w.i16(error_code.0);
            w.i32(session_id);
        }
        w.array_len(Some(topic_count), version >= FLEXIBLE_FROM)?;
        self.w = w;
        self.records.clear();
        self.records_bytes = 0;
        self.version = version;
        self.topics_left = topic_count;
        self.partitions_left = 0;
        Ok(())
    }

    pub fn topic(&mut self, key: TopicKey<'_>, partition_count: usize) -> Result<(), EncodeError> {
        assert!(self.topics_left > 0 && self.partitions_left == 0, "topics and partitions come as announced");
        let flexible = self.is_flexible();
        key.write(&mut self.w, self.version >= TOPIC_IDS_FROM, flexible);
        self.w.array_len(Some(partition_count), flexible)?;
        self.topics_left -= 1;
        self.partitions_left = partition_count;
        self.close_topic();
        Ok(())
    }

    /// Adds a partition whose records are the given slices, one after the other.
    pub fn partition(
        &mut self,
        answer: &FetchAnswer<'_>,
        records: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), EncodeError> {
        assert!(self.partitions_left > 0, "partitions come as announced");
        self.fixed_fields(answer)?;
        let first = self.records.len();
        self.records.extend(records.into_iter().filter(|part| !part.is_empty()).map(|part| (0, part)));
        let records_bytes = self.records[first..].iter().map(|(_, part)| part.len()).sum();
        self.w.array_len(Some(records_bytes), self.is_flexible())?;
        let place = self.w.len();
        self.records[first..].iter_mut().for_each(|(at, _)| *at = place);
        self.records_bytes += records_bytes;
        if self.is_flexible() {
            self.tagged_fields(answer)?;
        }
        self.partitions_left -= 1;
        self.close_topic();
        Ok(())
    }

    fn fixed_fields(&mut self, answer: &FetchAnswer<'_>) -> Result<(), EncodeError> {
        let (version, flexible) = (self.version, self.is_flexible());
        let w = &mut self.w;
        // In one piece: an answer may have a thousand partitions.
        let mut fixed = [0; 30];
        fixed[..4].copy_from_slice(&answer.index.to_be_bytes());
        fixed[4..6].copy_from_slice(&answer.error_code.0.to_be_bytes());
        fixed[6..14].copy_from_slice(&answer.high_watermark.to_be_bytes());
        fixed[14..22].copy_from_slice(&answer.last_stable_offset.to_be_bytes());
        fixed[22..].copy_from_slice(&answer.log_start_offset.to_be_bytes());
        w.raw(if version >= LOG_START_OFFSET_FROM { &fixed } else { &fixed[..22] });
        w.array_len(answer.aborted_transactions.map(<[_]>::len), flexible)?;
        for transaction in answer.aborted_transactions.unwrap_or_default() {
            w.i64(transaction.producer_id);
            w.i64(transaction.first_offset);
            if flexible {
                w.no_tags();
            }
        }
        if version >= RACKS_FROM {
            w.i32(answer.preferred_read_replica);
        }
        Ok(())
    }

    fn tagged_fields(&mut self, answer: &FetchAnswer<'_>) -> Result<(), EncodeError> {
        let set =
            [answer.diverging_epoch.is_some(), answer.current_leader.is_some(), answer.snapshot_id.is_some()];
        let w = &mut self.w;
        w.unsigned_varint(set.iter().filter(|is_set| **is_set).count() as u32);
        if let Some(diverging) = answer.diverging_epoch {
            let start = w.begin_tag(0);
            w.i32(diverging.epoch);
            w.i64(diverging.end_offset);
            w.no_tags();
            w.end_tag(start)?;
        }
        if let Some(leader) = answer.current_leader {
            let start = w.begin_tag(1);
            leader.write(w);
            w.end_tag(start)?;
        }
        if let Some(snapshot) = answer.snapshot_id {
            let start = w.begin_tag(2);
            w.i64(snapshot.end_offset);
            w.i32(snapshot.epoch);
            w.no_tags();
            w.end_tag(start)?;
        }
        Ok(())
    }

    /// Records in the frame so far.
    pub fn records_bytes(&self) -> usize {
        self.records_bytes
    }

    /// Ends the frame and appends its slices, length prefix first, to `out`.
    pub fn finish(
        &mut self,
        node_endpoints: &[NodeEndpoint<'_>],
        out: &mut Vec<Bytes>,
    ) -> Result<(), EncodeError> {
        assert!(
            self.topics_left == 0 && self.partitions_left == 0,
            "topics and partitions come as announced"
        );
        let frame = self.frame.take().expect("a frame was begun");
        if self.version >= NODE_ENDPOINTS_FROM {
            write_node_endpoints(&mut self.w, node_endpoints)?;
        } else if self.is_flexible() {
            self.w.no_tags();
        }
        end_frame(&mut self.w, frame, self.records_bytes)?;
        self.bytes_expected = self.w.len();
        let mut rest = std::mem::take(&mut self.w).into_bytes();
        let mut written = 0;
        for (at, records) in self.records.drain(..) {
            if at > written {
                out.push(rest.split_to(at - written));
                written = at;
            }
            out.push(records);
        }
        if !rest.is_empty() {
            out.push(rest);
        }
        Ok(())
    }

    fn close_topic(&mut self) {
        if self.partitions_left == 0 && self.is_flexible() {
            self.w.no_tags();
        }
    }

    fn is_flexible(&self) -> bool {
        self.version >= FLEXIBLE_FROM
    }
}
