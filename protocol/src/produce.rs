//! Produce (0), versions 3-13, without an allocation for a topic or partition.
//!
//! A request is checked once, as a whole, and then walked where it lies; the record bytes of a partition are a range of the body.
//! 5: log start offset.  7: zstd.  8: errors of single records (KIP-467).  9: flexible.  10: where the leader is (KIP-951).
//! 13: topic ids.

mod request;
mod response;

pub use request::{ProducePartition, ProducePartitions, ProduceRequestView, ProduceTopic, ProduceTopics};
pub use response::{ProduceAnswer, ProduceResponseWriter, RecordErrorAnswer};

use std::ops::RangeInclusive;

pub const VERSIONS: RangeInclusive<i16> = 3..=13;

const LOG_START_OFFSET_FROM: i16 = 5;
const RECORD_ERRORS_FROM: i16 = 8;
const FLEXIBLE_FROM: i16 = 9;
const CURRENT_LEADER_FROM: i16 = 10;
const TOPIC_IDS_FROM: i16 = 13;
