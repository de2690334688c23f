//! OffsetDelete (47), version 0.
//!
//! Forgets what a group has committed for topics that it no longer reads (KIP-496).

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<OffsetDeleteRequest, OffsetDeleteResponse> = GroupQuestion {
    command: Command::OffsetDelete,
    answer: |reply| match reply {
        GroupReply::OffsetDelete(answer) => Some(answer),
        _ => None,
    },
    refused: |error| OffsetDeleteResponse { error_code: error.0, ..OffsetDeleteResponse::default() },
};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<OffsetDeleteRequest>) -> Reply {
    let partitions = request.body.topics.iter().map(|topic| topic.partitions.len());
    if let Some(refused) = super::too_many(partitions) {
        return refused;
    }
    let asker = Asker::of(caller, &request);
    let (header, mut asked) = (request.header, request.body);
    if asked.group_id.is_empty() {
        return header.reply(&(QUESTION.refused)(ErrorCode::INVALID_GROUP_ID));
    }
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for topic in std::mem::take(&mut asked.topics) {
        let (there, missing) = split(shard, topic);
        known.extend(there);
        unknown.extend(missing.map(refused));
    }
    if known.is_empty() {
        return header.reply(&OffsetDeleteResponse { topics: unknown, ..OffsetDeleteResponse::default() });
    }
    asked.topics = known;
    let group = asked.group_id.clone();
    let asking = QUESTION.ask(shard, asker, &group, asked);
    Reply::Later(Box::pin(async move {
        let mut answer = asking.await;
        if answer.error_code == ErrorCode::NONE.0 {
            for refused in unknown {
                match answer.topics.iter_mut().find(|topic| topic.name == refused.name) {
                    Some(topic) => topic.partitions.extend(refused.partitions),
                    None => answer.topics.push(refused),
                }
            }
        }
        header.reply(&answer)
    }))
}

/// What is there of a topic, and what is not.
fn split(
    shard: &Shard,
    topic: OffsetDeleteRequestTopic,
) -> (Option<OffsetDeleteRequestTopic>, Option<OffsetDeleteRequestTopic>) {
    let name = topic.name;
    let is_there = |index: i32| shard.partition_id(&name, index).is_ok();
    let (there, missing): (Vec<_>, Vec<_>) =
        topic.partitions.into_iter().partition(|partition| is_there(partition.partition_index));
    let part = |partitions: Vec<_>| {
        (!partitions.is_empty()).then(|| OffsetDeleteRequestTopic { name: name.clone(), partitions })
    };
    (part(there), part(missing))
}

fn refused(topic: OffsetDeleteRequestTopic) -> OffsetDeleteResponseTopic {
    let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    let partition = |index| OffsetDeleteResponsePartition { partition_index: index, error_code };
    OffsetDeleteResponseTopic {
        name: topic.name,
        partitions: topic.partitions.iter().map(|it| partition(it.partition_index)).collect(),
    }
}
