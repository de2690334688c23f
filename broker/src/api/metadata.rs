//! Metadata (3), versions 0-13.
//!
//! 1: null asks for all topics, an empty list for none. 4: auto-creation can be declined. 8: authorised
//! operations (KIP-430). 10: topic ids (KIP-516). 12: topics can be asked by id. 13: top-level error.
//! The answer that has a topic created is always UNKNOWN_TOPIC_OR_PARTITION: clients ask again. Where any topic
//! is asked by id, names count for nothing, as in Kafka.

use std::collections::HashSet;
use std::rc::Rc;

use cluster::controller::{Command, CreateTopics, invalid_topic_name, is_internal_topic};
use cluster::metadata::{Image, NO_LEADER, Partition, Topic};
use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{MetadataRequest, MetadataResponse};
use reactor::host;
use storage::disk::{Class, LocalFuture};

use super::{Caller, Reply, Request};
use crate::config::groups::OFFSETS_TOPIC;
use crate::controller::ControllerError;
use crate::shard::Shard;

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<MetadataRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    if let Some(error) = nonsense(&asked, header.version) {
        return header.reply(&refused(&asked, error));
    }
    let image = shard.image.borrow();
    let mut create = Vec::new();
    let topics = match &asked.topics {
        None => image.topics.iter().map(|topic| known(&image, caller, topic)).collect(),
        // Version 0 has no null: an empty list asks for all.
        Some(names) if names.is_empty() && header.version == 0 => {
            image.topics.iter().map(|topic| known(&image, caller, topic)).collect()
        }
        Some(topics) => {
            let topics = one_of_each(topics).into_iter();
            topics.map(|topic| one(&image, caller, topic, &mut create)).collect()
        }
    };
    let listener = &*caller.listener;
    let brokers = image.brokers.values().filter(|broker| !broker.is_fenced);
    let mut answer = MetadataResponse {
        brokers: brokers
            .filter_map(|broker| {
                let endpoint = broker.endpoint(listener)?;
                Some(MetadataResponseBroker {
                    node_id: broker.id,
                    host: endpoint.host.clone(),
                    port: i32::from(endpoint.port),
                    rack: broker.rack.clone(),
                })
            })
            .collect(),
        cluster_id: Some(image.cluster_id.clone()),
        controller_id: shard.config.node_id,
        topics,
        ..MetadataResponse::default()
    };
    if header.version >= 8 && asked.include_topic_authorized_operations {
        answer
            .topics
            .iter_mut()
            .for_each(|topic| topic.topic_authorized_operations = super::TOPIC_OPERATIONS);
    }
    if (8..=10).contains(&header.version) && asked.include_cluster_authorized_operations {
        answer.cluster_authorized_operations = super::CLUSTER_OPERATIONS;
    }
    drop(image);
    if shard.config.auto_create_topics_enable && asked.allow_auto_topic_creation {
        auto_create(shard, create);
    }
    header.reply(&answer)
}

/// Ids before version 12, or neither an id nor a name.
fn nonsense(asked: &MetadataRequest, version: i16) -> Option<ErrorCode> {
    let topics = asked.topics.as_deref().unwrap_or_default();
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_zero());
    let is_nameless = topics.iter().any(|topic| topic.name.is_none());
    match version {
        ..12 => (by_id || is_nameless).then_some(ErrorCode::INVALID_REQUEST),
        _ => (is_nameless && !by_id).then_some(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}

fn refused(asked: &MetadataRequest, error: ErrorCode) -> MetadataResponse {
    let topics = asked.topics.iter().flatten().map(|topic| MetadataResponseTopic {
        error_code: error.0,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    });
    MetadataResponse { topics: topics.collect(), error_code: error.0, ..MetadataResponse::default() }
}

/// What is named twice counts once. Else a small request had a huge answer.
fn one_of_each(topics: &[MetadataRequestTopic]) -> Vec<&MetadataRequestTopic> {
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_zero());
    let mut seen = HashSet::with_capacity(topics.len());
    let called = |topic: &MetadataRequestTopic| match by_id {
        true => (topic.topic_id, None),
        false => (Uuid::default(), topic.name.clone()),
    };
    let topics = topics.iter().filter(|topic| !by_id || !topic.topic_id.is_zero());
    topics.filter(|topic| seen.insert(called(topic))).collect()
}

/// One topic asked for by name or id.
fn one(
    image: &Image,
    caller: &Caller,
    asked: &MetadataRequestTopic,
    create: &mut Vec<String>,
) -> MetadataResponseTopic {
    let unknown = |error: ErrorCode, name: Option<String>| MetadataResponseTopic {
        error_code: error.0,
        name,
        topic_id: asked.topic_id,
        ..MetadataResponseTopic::default()
    };
    // Java's clients name a topic asked by id with an empty text, not null.
    let Some(name) = asked.name.as_ref().filter(|_| asked.topic_id.is_zero()) else {
        return match image.topics.by_id(asked.topic_id) {
            Some(topic) => known(image, caller, topic),
            None => unknown(ErrorCode::UNKNOWN_TOPIC_ID, None),
        };
    };
    if let Some(topic) = image.topics.by_name(name) {
        return known(image, caller, topic);
    }
    let mut missing = unknown(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(name.clone()));
    if invalid_topic_name(name).is_none() {
        create.push(name.clone());
    } else {
        missing.error_code = ErrorCode::INVALID_TOPIC_EXCEPTION.0;
    }
    missing
}

fn known(image: &Image, caller: &Caller, topic: &Topic) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::NONE.0,
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: topic.partitions().iter().map(|partition| described(image, caller, partition)).collect(),
        ..MetadataResponseTopic::default()
    }
}

fn described(image: &Image, caller: &Caller, partition: &Partition) -> MetadataResponsePartition {
    let leader = image.brokers.get(&partition.leader).filter(|broker| !broker.is_fenced);
    let error = match leader {
        None => ErrorCode::LEADER_NOT_AVAILABLE,
        Some(leader) if leader.endpoint(&caller.listener).is_none() => ErrorCode::LISTENER_NOT_FOUND,
        Some(_) => ErrorCode::NONE,
    };
    let alive = |id: &&i32| image.brokers.get(*id).is_some_and(|broker| !broker.is_fenced);
    MetadataResponsePartition {
        error_code: error.0,
        partition_index: partition.index,
        leader_id: if error.is_none() { partition.leader } else { NO_LEADER },
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.to_vec(),
        isr_nodes: partition.isr.to_vec(),
        offline_replicas: partition.replicas.iter().filter(|id| !alive(id)).copied().collect(),
    }
}

/// In the background, as Kafka: the client asks again. One command for all, and not for more than a little:
/// what is left is created when it is asked for again.
fn auto_create(shard: &Rc<Shard>, mut names: Vec<String>) {
    let partitions = usize::try_from(shard.config.num_partitions).unwrap_or(1).max(1);
    names.truncate((CREATED_PARTITIONS_MAX / partitions).max(1));
    if names.iter().any(|name| name == OFFSETS_TOPIC) {
        in_background(shard.create_offsets_topic());
    }
    names.retain(|name| !is_internal_topic(name));
    if names.is_empty() {
        return;
    }
    let ids = super::random_ids(names.len());
    let command = CreateTopics::with_defaults(names, ids, host().random());
    in_background(shard.decide(Command::CreateTopics(command)));
}

fn in_background<T: 'static>(creating: LocalFuture<'static, Result<T, ControllerError>>) {
    host().spawn(
        Class::Append,
        Box::pin(async move {
            if let Err(error) = creating.await {
                tracing::warn!(%error, "automatic creation failed");
            }
        }),
    );
}

/// Partitions that one request may have created by asking for topics that do not exist.
const CREATED_PARTITIONS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8, name: Option<&str>) -> MetadataRequestTopic {
        MetadataRequestTopic { topic_id: Uuid([id; 16]), name: name.map(str::to_owned) }
    }

    fn asked(topics: &[MetadataRequestTopic]) -> MetadataRequest {
        MetadataRequest { topics: Some(topics.to_vec()), ..MetadataRequest::default() }
    }

    #[test]
    fn each_topic_is_answered_once() {
        let names = [topic(0, Some("a")), topic(0, Some("b")), topic(0, Some("a"))];
        assert_eq!(one_of_each(&names), [&names[0], &names[1]]);
        let mixed = [topic(1, None), topic(0, Some("a")), topic(2, Some("")), topic(1, Some("b"))];
        assert_eq!(one_of_each(&mixed), [&mixed[0], &mixed[2]], "names count for nothing beside ids");
    }

    #[test]
    fn requests_that_name_topics_wrongly_are_refused_whole() {
        let by_id = asked(&[topic(1, None)]);
        let nameless = asked(&[topic(0, Some("a")), topic(0, None)]);
        for version in [10, 11] {
            assert_eq!(nonsense(&by_id, version), Some(ErrorCode::INVALID_REQUEST));
            assert_eq!(nonsense(&nameless, version), Some(ErrorCode::INVALID_REQUEST));
        }
        assert_eq!(nonsense(&by_id, 12), None);
        assert_eq!(nonsense(&nameless, 12), Some(ErrorCode::UNKNOWN_SERVER_ERROR));
        assert_eq!(nonsense(&asked(&[topic(0, Some(""))]), 9), None);
        let answer = refused(&nameless, ErrorCode::INVALID_REQUEST);
        assert_eq!((answer.topics.len(), answer.brokers.len(), answer.error_code), (2, 0, 42));
    }
}
