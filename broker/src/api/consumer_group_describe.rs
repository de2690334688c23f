//! ConsumerGroupDescribe (69), versions 0-1.
//!
//! Consumer groups (KIP-848). 1: which protocol each member speaks (KIP-1099).

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_describe_response::DescribedGroup;
use protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use super::{Asker, Caller, GROUP_OPERATIONS, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<String, Result<DescribedGroup, ErrorCode>> = GroupQuestion {
    command: Command::DescribeConsumerGroup,
    answer: |reply| match reply {
        GroupReply::DescribeConsumerGroup(answer) => Some(Ok(answer)),
        _ => None,
    },
    refused: Err,
};

pub(crate) fn handle(
    shard: &Rc<Shard>,
    caller: &Caller,
    request: Request<ConsumerGroupDescribeRequest>,
) -> Reply {
    let asker = Asker::of(caller, &request);
    let (header, asked) = (request.header, request.body);
    if let Some(refused) = super::too_many_groups(asked.group_ids.len()) {
        return refused;
    }
    let include_operations = asked.include_authorized_operations;
    let asking: Vec<_> = asked
        .group_ids
        .into_iter()
        .map(|group| (group.clone(), QUESTION.ask(shard, asker.clone(), &group.clone(), group)))
        .collect();
    Reply::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(asking.len());
        for (group_id, described) in asking {
            let mut group = described.await.and_then(named).unwrap_or_else(|error| DescribedGroup {
                group_id,
                error_code: error.0,
                ..DescribedGroup::default()
            });
            if include_operations && group.error_code == ErrorCode::NONE.0 {
                group.authorized_operations = GROUP_OPERATIONS;
            }
            groups.push(group);
        }
        header.reply(&ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() })
    }))
}

/// Kafka: a group without a name is none of these, though it may have committed.
fn named(group: DescribedGroup) -> Result<DescribedGroup, ErrorCode> {
    if group.group_id.is_empty() { Err(ErrorCode::INVALID_GROUP_ID) } else { Ok(group) }
}
