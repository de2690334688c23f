//! Fetch (1), versions 4-18, without an allocation for a topic or partition and without a copy of records.
//!
//! A request is checked once, as a whole, and then walked where it lies. A response is a list of byte slices: what this module wrote,
//! cut where the records of a partition belong, and between the cuts the records as the log holds them.
//! Followers and consumers walk a response as brokers walk a request.
//! 5: log start offset.  7: sessions (KIP-227).  9: current leader epoch.  11: racks (KIP-392).  12: flexible, diverging epochs.
//! 13: topic ids (KIP-516).  15: replica state (KIP-903).  16: where the leader is (KIP-951).  17: directory ids.
//! 18: the follower's high watermark (KIP-1166).

mod answered;
mod request;
mod response;

pub use answered::{
    AbortedTransactions, FetchResponseView, FetchedPartition, FetchedPartitions, FetchedTopic, FetchedTopics,
};
pub use request::{
    FetchPartition, FetchPartitions, FetchRequestView, FetchTopic, FetchTopics, ForgottenPartitions,
    ForgottenTopic, ForgottenTopics,
};
pub use response::{AbortedTransaction, EpochEndOffset, FetchAnswer, FetchResponseWriter, SnapshotId};

use std::ops::RangeInclusive;

pub const VERSIONS: RangeInclusive<i16> = 4..=18;

const LOG_START_OFFSET_FROM: i16 = 5;
const SESSIONS_FROM: i16 = 7;
const LEADER_EPOCH_FROM: i16 = 9;
const RACKS_FROM: i16 = 11;
const FLEXIBLE_FROM: i16 = 12;
const TOPIC_IDS_FROM: i16 = 13;
const REPLICA_STATE_FROM: i16 = 15;
const NODE_ENDPOINTS_FROM: i16 = 16;
const DIRECTORY_IDS_FROM: i16 = 17;
const HIGH_WATERMARK_FROM: i16 = 18;
