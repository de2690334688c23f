//! OffsetFetch: one group's part.

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};

use super::{OffsetView, Offsets};
use crate::groups::FetchOffsets;
use crate::metadata::Image;

/// What the group has committed, `None` if there is no such group: nothing is committed then, which is no error.
pub(in crate::groups) fn fetched(
    offsets: Option<&Offsets>,
    asked: &FetchOffsets,
    image: &Image,
) -> OffsetFetchResponseGroup {
    let topics = match (&asked.group.topics, offsets) {
        (Some(topics), _) => topics.iter().map(|topic| named(offsets, topic, asked.require_stable)).collect(),
        (None, Some(offsets)) => offsets
            .topics()
            .map(|topic| OffsetFetchResponseTopics {
                name: topic.to_owned(),
                topic_id: image.topics.by_name(topic).map_or(Uuid::ZERO, |topic| topic.id),
                partitions: offsets
                    .of(topic)
                    .map(|it| partition(offsets, topic, it.partition(), Some(it), asked.require_stable))
                    .collect(),
            })
            .collect(),
        (None, None) => Vec::new(),
    };
    OffsetFetchResponseGroup { group_id: asked.group.group_id.clone(), topics, ..Default::default() }
}

/// Refused as a whole.
pub(in crate::groups) fn refused(asked: &FetchOffsets, error: ErrorCode) -> OffsetFetchResponseGroup {
    let group_id = asked.group.group_id.clone();
    OffsetFetchResponseGroup { group_id, error_code: error.0, ..Default::default() }
}

fn named(
    offsets: Option<&Offsets>,
    topic: &OffsetFetchRequestTopics,
    require_stable: bool,
) -> OffsetFetchResponseTopics {
    let of_this_topic = |it: &OffsetView<'_>| {
        it.topic_id().is_zero() || topic.topic_id.is_zero() || it.topic_id() == topic.topic_id
    };
    let partitions = topic.partition_indexes.iter().map(|&index| match offsets {
        None => none_committed(index),
        Some(offsets) => {
            let committed = offsets.get(&topic.name, index).filter(of_this_topic);
            partition(offsets, &topic.name, index, committed, require_stable)
        }
    });
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}

fn partition(
    offsets: &Offsets,
    topic: &str,
    index: i32,
    committed: Option<OffsetView<'_>>,
    require_stable: bool,
) -> OffsetFetchResponsePartitions {
    if require_stable && offsets.is_pending(topic, index) {
        let error_code = ErrorCode::UNSTABLE_OFFSET_COMMIT.0;
        return OffsetFetchResponsePartitions { error_code, ..none_committed(index) };
    }
    committed.map_or_else(
        || none_committed(index),
        |it| OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: it.offset(),
            committed_leader_epoch: it.leader_epoch(),
            metadata: Some(it.metadata().to_owned()),
            error_code: ErrorCode::NONE.0,
        },
    )
}

fn none_committed(index: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code: ErrorCode::NONE.0,
    }
}
