//! OffsetDelete, and the end of all offsets of a group.

use protocol::error_code::ErrorCode;
use protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use protocol::messages::{OffsetCommitKey, OffsetDeleteRequest, OffsetDeleteResponse};

use crate::groups::group::Group;
use crate::groups::limits;
use crate::groups::record::{GroupRecord, Said};
use crate::groups::turn::Turn;

pub(in crate::groups) fn refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.0, ..Default::default() }
}

/// Those of topics that a member is subscribed to stay.
pub(in crate::groups) fn deleted(
    group: &Group,
    request: &OffsetDeleteRequest,
    turn: &mut Turn<'_>,
) -> OffsetDeleteResponse {
    let partitions = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if !limits::is_one_batch(partitions, request.group_id.len() + group.offsets.longest_name()) {
        return refused(ErrorCode::UNKNOWN_SERVER_ERROR);
    }
    let topics = request.topics.iter().map(|topic| {
        let is_subscribed = group.is_subscribed_to(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let error = if is_subscribed {
                ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC
            } else {
                let offsets = &group.offsets;
                if offsets.get(&topic.name, index).is_some() || offsets.is_pending(&topic.name, index) {
                    turn.record(gone(&request.group_id, &topic.name, index));
                    turn.tally.offsets_deleted += 1;
                }
                ErrorCode::NONE
            };
            OffsetDeleteResponsePartition { partition_index: index, error_code: error.0 }
        });
        OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}

pub(in crate::groups) fn gone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    Said::gone(OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }).into()
}
