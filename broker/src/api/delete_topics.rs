//! DeleteTopics (20), versions 1-6.
//!
//! Decided by the cluster's controller. 6: topics by id (KIP-516).

use std::rc::Rc;

use cluster::controller::{Command, DeleteTopics, Reply as Decided};
use protocol::error_code::ErrorCode;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::{Caller, Reply, Request};
use crate::shard::Shard;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<DeleteTopicsRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    let refused = failed(&asked, header.version);
    let deciding =
        shard.decide(Command::DeleteTopics(DeleteTopics { request: asked, version: header.version }));
    Reply::Later(Box::pin(async move {
        match deciding.await {
            Ok(Decided::DeleteTopics(answer)) => header.reply(&answer),
            Ok(other) => unreachable!("topics were to be deleted, the answer is {other:?}"),
            Err(error) => {
                tracing::error!(%error, "topics cannot be deleted");
                header.reply(&refused)
            }
        }
    }))
}

/// Every topic asked for, when the decision could not be made durable.
fn failed(asked: &DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let error_code = ErrorCode::KAFKA_STORAGE_ERROR.0;
    let by_name = asked.topic_names.iter().map(|name| (Some(name.clone()), Default::default()));
    let by_id = asked.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
    let all: Vec<_> = if version >= 6 { by_id.collect() } else { by_name.collect() };
    let topic = |(name, topic_id)| DeletableTopicResult { name, topic_id, error_code, ..Default::default() };
    DeleteTopicsResponse {
        responses: all.into_iter().map(topic).collect(),
        ..DeleteTopicsResponse::default()
    }
}
