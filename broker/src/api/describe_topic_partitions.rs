//! DescribeTopicPartitions (75), version 0.
//!
//! As Metadata, but in pages: a cursor says where the next one begins (KIP-966). Topics come by name;
//! an answer holds no more partitions than asked for and than max.request.partition.size.limit.

use std::collections::BTreeSet;
use std::rc::Rc;

use cluster::controller::{invalid_topic_name, is_internal_topic};
use cluster::metadata::{Image, NO_LEADER, Partition, Topic};
use protocol::error_code::ErrorCode;
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use super::{Caller, Reply, Request, TOPIC_OPERATIONS};
use crate::shard::Shard;

pub(crate) fn handle(
    shard: &Rc<Shard>,
    caller: &Caller,
    request: Request<DescribeTopicPartitionsRequest>,
) -> Reply {
    let (header, asked) = (request.header, request.body);
    let limit = asked.response_partition_limit.min(shard.config.max_request_partition_size_limit).max(1);
    let from =
        asked.cursor.as_ref().map_or(("", 0), |cursor| (cursor.topic_name.as_str(), cursor.partition_index));
    let image = shard.image.borrow();
    // Kafka: where topics are named, the cursor's is one of them.
    let is_asked = asked.topics.is_empty() || asked.topics.iter().any(|topic| topic.name == from.0);
    if asked.cursor.is_some() && (from.1 < 0 || !is_asked) {
        return header.reply(&refused(&asked, ErrorCode::INVALID_REQUEST));
    }
    if asked.topics.is_empty() {
        let names = image.topics.from(from.0).map(|topic| topic.name.to_string());
        let names: Vec<_> = names.collect();
        return header.reply(&page(&image, caller, names.into_iter(), from, limit as usize));
    }
    let names: BTreeSet<_> = asked.topics.iter().map(|topic| topic.name.clone()).collect();
    let names: Vec<_> = names.into_iter().filter(|name| name.as_str() >= from.0).collect();
    header.reply(&page(&image, caller, names.into_iter(), from, limit as usize))
}

fn refused(asked: &DescribeTopicPartitionsRequest, error: ErrorCode) -> DescribeTopicPartitionsResponse {
    let topics = asked.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: error.0,
        name: Some(topic.name.clone()),
        ..DescribeTopicPartitionsResponseTopic::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), next_cursor: None, ..Default::default() }
}

fn page(
    image: &Image,
    caller: &Caller,
    names: impl Iterator<Item = String>,
    from: (&str, i32),
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let mut answer = DescribeTopicPartitionsResponse { next_cursor: None, ..Default::default() };
    let mut left = limit;
    for name in names {
        let first = if name == from.0 { from.1 as usize } else { 0 };
        if left == 0 {
            answer.next_cursor = Some(Cursor { topic_name: name, partition_index: first as i32 });
            break;
        }
        let Some(topic) = image.topics.by_name(&name) else {
            answer.topics.push(unknown(name));
            continue;
        };
        let partitions = topic.partitions().iter().skip(first).take(left);
        let partitions: Vec<_> = partitions.map(|partition| described(image, caller, partition)).collect();
        left -= partitions.len();
        let next = first + partitions.len();
        answer.topics.push(known(topic, partitions));
        if next < topic.partitions().len() {
            answer.next_cursor = Some(Cursor { topic_name: name, partition_index: next as i32 });
            break;
        }
    }
    answer
}

fn unknown(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match invalid_topic_name(&name) {
        Some(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.0,
        is_internal: is_internal_topic(&name),
        name: Some(name),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn known(
    topic: &Topic,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::NONE.0,
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions,
        topic_authorized_operations: TOPIC_OPERATIONS,
    }
}

fn described(
    image: &Image,
    caller: &Caller,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let alive = |id: &i32| image.brokers.get(id).is_some_and(|broker| !broker.is_fenced);
    let error = match image.brokers.get(&partition.leader).filter(|broker| !broker.is_fenced) {
        None => ErrorCode::LEADER_NOT_AVAILABLE,
        Some(leader) if leader.endpoint(&caller.listener).is_none() => ErrorCode::LISTENER_NOT_FOUND,
        Some(_) => ErrorCode::NONE,
    };
    DescribeTopicPartitionsResponsePartition {
        error_code: error.0,
        partition_index: partition.index,
        leader_id: if error.is_none() { partition.leader } else { NO_LEADER },
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.to_vec(),
        isr_nodes: partition.isr.to_vec(),
        eligible_leader_replicas: Some(partition.elr().to_vec()),
        last_known_elr: Some(partition.last_known_elr().to_vec()),
        offline_replicas: partition.replicas.iter().filter(|id| !alive(id)).copied().collect(),
    }
}
