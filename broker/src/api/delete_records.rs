//! DeleteRecords (21), versions 0-2.
//!
//! Moves the log start offset (KIP-107); -1 stands for the high watermark. Compacted topics refuse.

use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::delete_records_request::DeleteRecordsPartition;
use protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use reactor::host;
use storage::disk::LocalFuture;

use super::{Caller, Reply, Request};
use crate::partition::{Partition, error_code};
use crate::shard::{PartitionId, Shard};

/// Stands for the high watermark.
const TO_HIGH_WATERMARK: i64 = -1;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<DeleteRecordsRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    if let Some(refused) = super::too_many(asked.topics.iter().map(|topic| topic.partitions.len())) {
        return refused;
    }
    let mut answer = DeleteRecordsResponse::default();
    let (mut works, mut places) = (Vec::new(), Vec::new());
    for (topic_at, (name, topic)) in last_of_each(asked).into_iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.len());
        for (at, partition) in topic.into_values().enumerate() {
            let mut result = refused(partition.partition_index, ErrorCode::NONE);
            match shard.partition_id(&name, partition.partition_index) {
                Ok(id) => {
                    works.push((id, partition));
                    places.push((topic_at, at));
                }
                Err(error) => result.error_code = error.0,
            }
            partitions.push(result);
        }
        answer.topics.push(DeleteRecordsTopicResult { name, partitions });
    }
    let deleting = shard.scatter(works, delete);
    let shard = shard.clone();
    Reply::Later(Box::pin(async move {
        for ((topic, at), result) in places.into_iter().zip(deleting.await) {
            answer.topics[topic].partitions[at] = result;
        }
        forget_what_was_read_before(&shard).await;
        header.reply(&answer)
    }))
}

/// Whoever fetches once the deletion is acknowledged is not given what was deleted.
async fn forget_what_was_read_before(shard: &Rc<Shard>) {
    let forget = |shard: &Rc<Shard>| -> LocalFuture<'static, ()> {
        shard.connections.forget_all_left_waiting();
        Box::pin(std::future::ready(()))
    };
    shard.on_every_core(forget).await;
}

/// Kafka: a topic named twice is answered once, and a partition named twice counts as named last.
fn last_of_each(asked: DeleteRecordsRequest) -> BTreeMap<String, BTreeMap<i32, DeleteRecordsPartition>> {
    let mut topics: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for topic in asked.topics {
        let partitions = topic.partitions.into_iter().map(|partition| (partition.partition_index, partition));
        topics.entry(topic.name).or_default().extend(partitions);
    }
    topics
}

fn refused(partition_index: i32, error: ErrorCode) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult { partition_index, low_watermark: -1, error_code: error.0 }
}

fn delete(
    shard: &Rc<Shard>,
    id: PartitionId,
    asked: DeleteRecordsPartition,
) -> LocalFuture<'static, DeleteRecordsPartitionResult> {
    let partition = shard.partition(id);
    Box::pin(async move {
        let done = match partition {
            Ok(partition) => delete_before(&partition, asked.offset).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(low_watermark) => DeleteRecordsPartitionResult {
                partition_index: asked.partition_index,
                low_watermark,
                error_code: 0,
            },
            Err(error) => refused(asked.partition_index, error),
        }
    })
}

/// The new log start offset.
async fn delete_before(partition: &Rc<Partition>, offset: i64) -> Result<i64, ErrorCode> {
    if !partition.settings.borrow().config.cleanup_delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let log = partition.opened().await.map_err(|error| error_code(&error))?;
    let high_watermark = Partition::high_watermark(&log);
    let offset = if offset == TO_HIGH_WATERMARK { high_watermark } else { offset };
    if offset < 0 || offset > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let start_offset = log.delete_before(offset, host().wall_ms()).map_err(|error| error_code(&error))?;
    partition.upkeep(&log);
    Ok(start_offset)
}
