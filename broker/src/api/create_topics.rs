//! CreateTopics (19), versions 2-7.
//!
//! Decided by the cluster's controller; answered when every core knows the topics. 4: defaults by -1
//! (KIP-464). 5: the topic's configs in the answer (KIP-525). 7: its id (KIP-516).

use std::rc::Rc;

use cluster::controller::{Command, CreateTopics, Reply as Decided};
use protocol::error_code::ErrorCode;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use reactor::host;

use super::{Caller, Reply, Request, random_ids};
use crate::shard::Shard;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<CreateTopicsRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    let names: Vec<_> = asked.topics.iter().map(|topic| topic.name.clone()).collect();
    let topic_ids = random_ids(names.len());
    let command = CreateTopics { request: asked, topic_ids, random: host().random() };
    let deciding = shard.decide(Command::CreateTopics(command));
    Reply::Later(Box::pin(async move {
        match deciding.await {
            Ok(Decided::CreateTopics(answer)) => header.reply(&answer),
            Ok(other) => unreachable!("topics were to be created, the answer is {other:?}"),
            Err(error) => {
                tracing::error!(%error, "topics cannot be created");
                header.reply(&failed(names))
            }
        }
    }))
}

fn failed(names: Vec<String>) -> CreateTopicsResponse {
    let error_code = ErrorCode::KAFKA_STORAGE_ERROR.0;
    let topic = |name| CreatableTopicResult { name, error_code, ..CreatableTopicResult::default() };
    CreateTopicsResponse { topics: names.into_iter().map(topic).collect(), ..CreateTopicsResponse::default() }
}
