//! CreatePartitions (37), versions 0-3.
//!
//! Decided by the cluster's controller; answered when every core knows the partitions.

use std::rc::Rc;

use cluster::controller::{Command, CreatePartitions, Reply as Decided};
use protocol::error_code::ErrorCode;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use reactor::host;

use super::{Caller, Reply, Request};
use crate::shard::Shard;

pub(crate) fn handle(
    shard: &Rc<Shard>,
    _caller: &Caller,
    request: Request<CreatePartitionsRequest>,
) -> Reply {
    let (header, asked) = (request.header, request.body);
    let names: Vec<_> = asked.topics.iter().map(|topic| topic.name.clone()).collect();
    let deciding =
        shard.decide(Command::CreatePartitions(CreatePartitions { request: asked, random: host().random() }));
    Reply::Later(Box::pin(async move {
        match deciding.await {
            Ok(Decided::CreatePartitions(answer)) => header.reply(&answer),
            Ok(other) => unreachable!("partitions were to be created, the answer is {other:?}"),
            Err(error) => {
                tracing::error!(%error, "partitions cannot be created");
                header.reply(&failed(names))
            }
        }
    }))
}

fn failed(names: Vec<String>) -> CreatePartitionsResponse {
    let error_code = ErrorCode::KAFKA_STORAGE_ERROR.0;
    let topic = |name| CreatePartitionsTopicResult { name, error_code, ..Default::default() };
    CreatePartitionsResponse { results: names.into_iter().map(topic).collect(), ..Default::default() }
}
