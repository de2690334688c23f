//! OffsetCommit.

use protocol::error_code::ErrorCode;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use protocol::messages::{OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue};

use crate::groups::limits;
use crate::groups::record::Said;
use crate::groups::settings::GroupSettings;
use crate::groups::turn::Turn;

/// Every partition of the request is refused for one reason.
pub(in crate::groups) fn refused(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    respond(request, |_, _| error)
}

/// The group takes them; what is left to refuse is a partition's own fault.
pub(in crate::groups) fn committed(
    request: &OffsetCommitRequest,
    turn: &mut Turn<'_>,
) -> OffsetCommitResponse {
    let partitions = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let longest = request.topics.iter().map(|topic| topic.name.len() + longest_metadata(topic)).max();
    if !limits::is_one_batch(partitions, request.group_id.len() + longest.unwrap_or(0)) {
        return refused(request, ErrorCode::INVALID_COMMIT_OFFSET_SIZE);
    }
    let commit_timestamp = turn.wall.0;
    // Asked for up to version 4.
    let expire_timestamp = match request.retention_time_ms {
        -1 => -1,
        retention_ms => commit_timestamp.saturating_add(retention_ms),
    };
    respond(request, |topic, partition| {
        let metadata = partition.committed_metadata.as_deref();
        if !is_kept(metadata, turn.settings) {
            return ErrorCode::OFFSET_METADATA_TOO_LARGE;
        }
        let key = OffsetCommitKey {
            group: request.group_id.clone(),
            topic: topic.name.clone(),
            partition: partition.partition_index,
        };
        let value = OffsetCommitValue {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: metadata.unwrap_or_default().to_owned(),
            commit_timestamp,
            expire_timestamp,
            topic_id: topic.topic_id,
        };
        turn.record(Said::now(key, value));
        ErrorCode::NONE
    })
}

// Kafka: the limit is called bytes, yet what it counts are UTF-16 units.
pub(in crate::groups) fn is_kept(metadata: Option<&str>, settings: &GroupSettings) -> bool {
    let max = usize::try_from(settings.offset_metadata_max).unwrap_or(0);
    metadata.is_none_or(|metadata| metadata.len() <= max || metadata.encode_utf16().count() <= max)
}

/// In bytes.
pub(in crate::groups) fn longest_metadata(topic: &OffsetCommitRequestTopic) -> usize {
    let metadata = topic.partitions.iter().filter_map(|partition| partition.committed_metadata.as_deref());
    metadata.map(str::len).max().unwrap_or(0)
}

fn respond(
    request: &OffsetCommitRequest,
    mut error: impl FnMut(&OffsetCommitRequestTopic, &OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: (topic.partitions.iter())
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error(topic, partition).0,
            })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
