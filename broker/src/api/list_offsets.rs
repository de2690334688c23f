//! ListOffsets (2), versions 1-11.
//!
//! -1 latest, -2 earliest, -3 greatest timestamp (7, KIP-734), -4 earliest local (8, KIP-405), -5 latest
//! tiered (9), -6 earliest pending upload (11); from 0 on the first offset whose timestamp is no less.
//! Nothing is tiered here: -5 and -6 answer -1. 2: isolation level. 4: leader epochs.

use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::list_offsets_request::ListOffsetsPartition;
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use storage::disk::LocalFuture;
use storage::log::Log;

use super::{Caller, Reply, Request};
use crate::partition::{Partition, error_code};
use crate::shard::{PartitionId, Shard};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A consumer asks, and not a broker.
const CONSUMER: i32 = -1;

const LEADER_EPOCHS_FROM: i16 = 4;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<ListOffsetsRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    let version = header.version;
    if asked.replica_id == CONSUMER && !matches!(asked.isolation_level, 0 | 1) {
        return header.reply(&refused_whole(&asked));
    }
    let mut answer = ListOffsetsResponse::default();
    let (mut works, mut places) = (Vec::new(), Vec::new());
    for (topic_at, (name, topic)) in one_of_each(asked).into_iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.len());
        for (at, (index, partition)) in topic.into_iter().enumerate() {
            let found = match partition {
                None => Err(ErrorCode::INVALID_REQUEST),
                Some(partition) if !is_known(partition.timestamp, version) => {
                    Err(ErrorCode::UNSUPPORTED_VERSION)
                }
                Some(partition) => shard.partition_id(&name, index).map(|id| (id, partition)),
            };
            let error = found.map(|work| {
                works.push(work);
                places.push((topic_at, at));
            });
            partitions.push(refused(index, error.err().unwrap_or(ErrorCode::NONE)));
        }
        answer.topics.push(ListOffsetsTopicResponse { name, partitions });
    }
    let looking = shard.scatter(works, look_up);
    let has_epochs = version >= LEADER_EPOCHS_FROM;
    Reply::Later(Box::pin(async move {
        for ((topic, at), found) in places.into_iter().zip(looking.await) {
            let leader_epoch = if has_epochs { found.leader_epoch } else { -1 };
            answer.topics[topic].partitions[at] = ListOffsetsPartitionResponse { leader_epoch, ..found };
        }
        header.reply(&answer)
    }))
}

/// Kafka: an isolation level that does not exist is refused partition by partition, as they were asked.
fn refused_whole(asked: &ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = asked.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| refused(partition.partition_index, ErrorCode::UNKNOWN_SERVER_ERROR))
            .collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

/// Each topic and each partition of it once; None for a partition that was asked for twice.
type Once = BTreeMap<String, BTreeMap<i32, Option<ListOffsetsPartition>>>;

fn one_of_each(asked: ListOffsetsRequest) -> Once {
    let mut topics = Once::new();
    for topic in asked.topics {
        let seen = topics.entry(topic.name).or_default();
        for partition in topic.partitions {
            let index = partition.partition_index;
            seen.entry(index).and_modify(|twice| *twice = None).or_insert(Some(partition));
        }
    }
    topics
}

fn is_known(timestamp: i64, version: i16) -> bool {
    match timestamp {
        EARLIEST_PENDING_UPLOAD => version >= 11,
        LATEST_TIERED => version >= 9,
        EARLIEST_LOCAL => version >= 8,
        MAX_TIMESTAMP => version >= 7,
        other => other >= EARLIEST,
    }
}

fn refused(partition_index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code: error.0, ..Default::default() }
}

fn look_up(
    shard: &Rc<Shard>,
    id: PartitionId,
    asked: ListOffsetsPartition,
) -> LocalFuture<'static, ListOffsetsPartitionResponse> {
    let partition = shard.partition(id);
    Box::pin(async move {
        let found = match partition {
            Ok(partition) => find(&partition, &asked).await,
            Err(error) => Err(error),
        };
        found.unwrap_or_else(|error| refused(asked.partition_index, error))
    })
}

async fn find(
    partition: &Rc<Partition>,
    asked: &ListOffsetsPartition,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let log = partition.opened().await.map_err(|error| error_code(&error))?;
    partition.check_leader_epoch(asked.current_leader_epoch)?;
    let latest_epoch = log.latest_epoch().unwrap_or(partition.leader_epoch.get());
    let (timestamp, offset, leader_epoch) = match asked.timestamp {
        LATEST => (-1, Partition::high_watermark(&log), latest_epoch),
        EARLIEST | EARLIEST_LOCAL => earliest(&log, latest_epoch),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => (-1, -1, -1),
        timestamp => {
            let found = match timestamp {
                MAX_TIMESTAMP => log.max_timestamp().await,
                _ => log.offset_for_timestamp(timestamp).await,
            };
            match found.map_err(|error| error_code(&error))? {
                // Kafka: where no record has a time, the first is the one with the greatest.
                None if asked.timestamp == MAX_TIMESTAMP && !is_empty(&log) => earliest(&log, latest_epoch),
                Some(found) if found.offset < Partition::high_watermark(&log) => {
                    (found.timestamp, found.offset, found.leader_epoch)
                }
                _ => (-1, -1, -1),
            }
        }
    };
    let partition_index = asked.partition_index;
    Ok(ListOffsetsPartitionResponse { partition_index, error_code: 0, timestamp, offset, leader_epoch })
}

fn is_empty(log: &Log) -> bool {
    log.start_offset() >= Partition::high_watermark(log)
}

fn earliest(log: &Log, latest_epoch: i32) -> (i64, i64, i32) {
    let start = log.start_offset();
    (-1, start, log.epoch_at(start).unwrap_or(latest_epoch))
}
