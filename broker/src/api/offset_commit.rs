//! OffsetCommit (8), versions 2-10.
//!
//! Where a group will go on reading; answered when it is on stable storage. 6: leader epochs (KIP-320). 7: static members
//! (KIP-345). 9: members of consumer groups with their epoch (KIP-848). 10: topics by id.

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use cluster::metadata::Image;
use protocol::error_code::ErrorCode;
use protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const TOPIC_IDS_FROM: i16 = 10;

type Asking = OffsetCommitRequest;

const QUESTION: GroupQuestion<Asking, Result<OffsetCommitResponse, ErrorCode>> = GroupQuestion {
    command: Command::OffsetCommit,
    answer: |reply| match reply {
        GroupReply::OffsetCommit(answer) => Some(Ok(answer)),
        _ => None,
    },
    refused: Err,
};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<OffsetCommitRequest>) -> Reply {
    let partitions = request.body.topics.iter().map(|topic| topic.partitions.len());
    if let Some(refused) = super::too_many(partitions) {
        return refused;
    }
    let asker = Asker::of(caller, &request);
    let (header, mut asked) = (request.header, request.body);
    let by_id = header.version >= TOPIC_IDS_FROM;
    let mut answer = OffsetCommitResponse::default();
    {
        let image = shard.image.borrow();
        let topics = std::mem::take(&mut asked.topics);
        let known = topics.into_iter().filter_map(|topic| known(&image, topic, by_id, &mut answer.topics));
        asked.topics = known.collect();
    }
    if asked.topics.is_empty() {
        return header.reply(&answer);
    }
    let (group, failed) = (asked.group_id.clone(), asked.topics.clone());
    let asking = QUESTION.ask(shard, asker, &group, asked);
    Reply::Later(Box::pin(async move {
        let topics = match asking.await {
            Ok(committed) => committed.topics,
            Err(error) => failed.into_iter().map(|topic| refused(topic, error)).collect(),
        };
        merge(&mut answer.topics, topics);
        header.reply(&answer)
    }))
}

/// What of a topic the group is asked to keep; what is unknown is answered here.
fn known(
    image: &Image,
    mut topic: OffsetCommitRequestTopic,
    by_id: bool,
    answers: &mut Vec<OffsetCommitResponseTopic>,
) -> Option<OffsetCommitRequestTopic> {
    let found = if by_id { image.topics.by_id(topic.topic_id) } else { image.topics.by_name(&topic.name) };
    let Some(found) = found else {
        let error = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        answers.push(refused(topic, error));
        return None;
    };
    (topic.name, topic.topic_id) = (found.name.to_string(), found.id);
    let partitions = std::mem::take(&mut topic.partitions);
    let (there, missing): (Vec<_>, Vec<_>) =
        partitions.into_iter().partition(|partition| found.partition(partition.partition_index).is_some());
    if !missing.is_empty() {
        let unknown = OffsetCommitRequestTopic { partitions: missing, ..topic.clone() };
        answers.push(refused(unknown, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }
    topic.partitions = there;
    (!topic.partitions.is_empty()).then_some(topic)
}

fn refused(topic: OffsetCommitRequestTopic, error: ErrorCode) -> OffsetCommitResponseTopic {
    let partition = |index| OffsetCommitResponsePartition { partition_index: index, error_code: error.0 };
    OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|it| partition(it.partition_index)).collect(),
    }
}

/// A topic that is there already gets the partitions too.
fn merge(into: &mut Vec<OffsetCommitResponseTopic>, topics: Vec<OffsetCommitResponseTopic>) {
    let refused = into.len();
    for topic in topics {
        match into[..refused].iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => into.push(topic),
        }
    }
}
