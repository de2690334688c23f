//! A Produce response, written as its parts become known.

use super::{
    CURRENT_LEADER_FROM, FLEXIBLE_FROM, LOG_START_OFFSET_FROM, RECORD_ERRORS_FROM, TOPIC_IDS_FROM, VERSIONS,
};
use crate::error_code::ErrorCode;
use crate::leader_hint::{CurrentLeader, NodeEndpoint, write_node_endpoints};
use crate::primitives::{EncodeError, Writer};
use crate::topic_key::TopicKey;

/// What became of one partition's batch. What a version has no place for is left out.
#[derive(Clone, Copy, Debug)]
pub struct ProduceAnswer<'a> {
    pub index: i32,
    pub error_code: ErrorCode,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub record_errors: &'a [RecordErrorAnswer<'a>],
    pub error_message: Option<&'a str>,
    pub current_leader: Option<CurrentLeader>,
}

/// Why the record at this place in the batch was refused.
#[derive(Clone, Copy, Debug)]
pub struct RecordErrorAnswer<'a> {
    pub batch_index: i32,
    pub message: Option<&'a str>,
}

impl ProduceAnswer<'_> {
    /// With Kafka's "unknown" in every other field.
    pub fn error(index: i32, error_code: ErrorCode) -> Self {
        Self {
            index,
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: &[],
            error_message: None,
            current_leader: None,
        }
    }
}

/// Writes a response after what `w` holds. Topics and partitions come in the order of the calls, as many as were announced.
#[derive(Debug)]
#[must_use = "a response is complete with finish"]
pub struct ProduceResponseWriter<'w> {
    w: &'w mut Writer,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
}

impl<'w> ProduceResponseWriter<'w> {
    pub fn begin(w: &'w mut Writer, version: i16, topic_count: usize) -> Result<Self, EncodeError> {
        if !VERSIONS.contains(&version) {
            return Err(EncodeError::Version { message: "ProduceResponse", version });
        }
        w.array_len(Some(topic_count), version >= FLEXIBLE_FROM)?;
        Ok(Self { w, version, topics_left: topic_count, partitions_left: 0 })
    }

    pub fn topic(&mut self, key: TopicKey<'_>, partition_count: usize) -> Result<(), EncodeError> {
        assert!(self.topics_left > 0 && self.partitions_left == 0, "topics and partitions come as announced");
        let flexible = self.is_flexible();
        key.write(self.w, self.version >= TOPIC_IDS_FROM, flexible);
        self.w.array_len(Some(partition_count), flexible)?;
        self.topics_left -= 1;
        self.partitions_left = partition_count;
        self.close_topic();
        Ok(())
    }

    pub fn partition(&mut self, answer: &ProduceAnswer<'_>) -> Result<(), EncodeError> {
        assert!(self.partitions_left > 0, "partitions come as announced");
        let (version, flexible) = (self.version, self.is_flexible());
        let w = &mut *self.w;
        w.i32(answer.index);
        w.i16(answer.error_code.0);
        w.i64(answer.base_offset);
        w.i64(answer.log_append_time_ms);
        if version >= LOG_START_OFFSET_FROM {
            w.i64(answer.log_start_offset);
        }
        if version >= RECORD_ERRORS_FROM {
            w.array_len(Some(answer.record_errors.len()), flexible)?;
            for error in answer.record_errors {
                w.i32(error.batch_index);
                w.nullable_string(error.message, flexible)?;
                if flexible {
                    w.no_tags();
                }
            }
            w.nullable_string(answer.error_message, flexible)?;
        }
        match answer.current_leader {
            Some(leader) if version >= CURRENT_LEADER_FROM => {
                w.unsigned_varint(1);
                let start = w.begin_tag(0);
                leader.write(w);
                w.end_tag(start)?;
            }
            _ if flexible => w.no_tags(),
            _ => {}
        }
        self.partitions_left -= 1;
        self.close_topic();
        Ok(())
    }

    pub fn finish(
        self,
        throttle_time_ms: i32,
        node_endpoints: &[NodeEndpoint<'_>],
    ) -> Result<(), EncodeError> {
        assert!(
            self.topics_left == 0 && self.partitions_left == 0,
            "topics and partitions come as announced"
        );
        self.w.i32(throttle_time_ms);
        if self.version >= CURRENT_LEADER_FROM {
            write_node_endpoints(self.w, node_endpoints)?;
        } else if self.is_flexible() {
            self.w.no_tags();
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
