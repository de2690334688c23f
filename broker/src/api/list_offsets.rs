//! ListOffsets (2), versions 1-11.
//!
//! -1 latest, -2 earliest, -3 greatest timestamp (7, KIP-734), -4 earliest local (8, KIP-405), -5 latest
//! tiered (9), -6 earliest pending upload (11); from 0 on the first offset whose timestamp is no less.
//! Nothing is tiered here: -5 and -6 answer -1. 2: isolation level. 4: leader epochs.

use std::collections::HashSet;
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

const LEADER_EPOCHS_FROM: i16 = 4;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<ListOffsetsRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    let version = header.version;
    let twice = named_twice(&asked);
    let mut answer = ListOffsetsResponse::default();
    let (mut works, mut places) = (Vec::new(), Vec::new());
    for (topic_at, topic) in asked.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (at, partition) in topic.partitions.iter().enumerate() {
            let error = if twice.contains(&(topic.name.clone(), partition.partition_index)) {
                ErrorCode::INVALID_REQUEST
            } else if !is_known(partition.timestamp, version) {
                ErrorCode::UNSUPPORTED_VERSION
            } else {
                match shard.partition_id(&topic.name, partition.partition_index) {
                    Ok(id) => {
                        works.push((id, partition.clone()));
                        places.push((topic_at, at));
                        ErrorCode::NONE
                    }
                    Err(error) => error,
                }
            };
            partitions.push(refused(partition.partition_index, error));
        }
        answer.topics.push(ListOffsetsTopicResponse { name: topic.name.clone(), partitions });
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

fn named_twice(asked: &ListOffsetsRequest) -> HashSet<(String, i32)> {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &asked.topics {
        for partition in &topic.partitions {
            let name = (topic.name.clone(), partition.partition_index);
            if !seen.insert(name.clone()) {
                twice.insert(name);
            }
        }
    }
    twice
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

fn earliest(log: &Log, latest_epoch: i32) -> (i64, i64, i32) {
    let start = log.start_offset();
    (-1, start, log.epoch_at(start).unwrap_or(latest_epoch))
}
