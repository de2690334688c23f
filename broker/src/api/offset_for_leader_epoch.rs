//! OffsetForLeaderEpoch (23), versions 2-4.
//!
//! Where an epoch ended here: how a consumer notices that history changed under it (KIP-320).
//! An epoch that is not known answers -1 and -1, without an error.

use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use storage::disk::LocalFuture;

use super::{Caller, Reply, Request};
use crate::partition::{Partition, error_code};
use crate::shard::{PartitionId, Shard};

pub(crate) fn handle(
    shard: &Rc<Shard>,
    _caller: &Caller,
    request: Request<OffsetForLeaderEpochRequest>,
) -> Reply {
    let (header, asked) = (request.header, request.body);
    if let Some(refused) = super::too_many(asked.topics.iter().map(|topic| topic.partitions.len())) {
        return refused;
    }
    let mut answer = OffsetForLeaderEpochResponse::default();
    let (mut works, mut places) = (Vec::new(), Vec::new());
    for (topic_at, topic) in asked.topics.into_iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (at, partition) in topic.partitions.into_iter().enumerate() {
            let mut result = refused(partition.partition, ErrorCode::NONE);
            match shard.partition_id(&topic.topic, partition.partition) {
                Ok(id) => {
                    works.push((id, partition));
                    places.push((topic_at, at));
                }
                Err(error) => result.error_code = error.0,
            }
            partitions.push(result);
        }
        answer.topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
    }
    let looking = shard.scatter(works, look_up);
    Reply::Later(Box::pin(async move {
        for ((topic, at), found) in places.into_iter().zip(looking.await) {
            answer.topics[topic].partitions[at] = found;
        }
        header.reply(&answer)
    }))
}

fn refused(partition: i32, error: ErrorCode) -> EpochEndOffset {
    EpochEndOffset { error_code: error.0, partition, leader_epoch: -1, end_offset: -1 }
}

fn look_up(
    shard: &Rc<Shard>,
    id: PartitionId,
    asked: OffsetForLeaderPartition,
) -> LocalFuture<'static, EpochEndOffset> {
    let partition = shard.partition(id);
    Box::pin(async move {
        let found = match partition {
            Ok(partition) => find(&partition, &asked).await,
            Err(error) => Err(error),
        };
        found.unwrap_or_else(|error| refused(asked.partition, error))
    })
}

async fn find(
    partition: &Rc<Partition>,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let log = partition.opened().await.map_err(|error| error_code(&error))?;
    partition.check_leader_epoch(asked.current_leader_epoch)?;
    let (leader_epoch, end_offset) = match log.end_offset_for_epoch(asked.leader_epoch) {
        // The current epoch goes on: what is visible of it so far.
        Some((epoch, end)) => (epoch, end.min(Partition::high_watermark(&log))),
        None => (-1, -1),
    };
    Ok(EpochEndOffset { error_code: 0, partition: asked.partition, leader_epoch, end_offset })
}
