//! DeleteGroups (42), versions 0-2.
//!
//! Deletes groups that nobody is in, with their offsets (KIP-229).

use std::collections::HashSet;
use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<String, ErrorCode> = GroupQuestion {
    command: Command::DeleteGroup,
    answer: |reply| match reply {
        GroupReply::DeleteGroup(error) => Some(error),
        _ => None,
    },
    refused: |error| error,
};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<DeleteGroupsRequest>) -> Reply {
    let asker = Asker::of(caller, &request);
    let (header, asked) = (request.header, request.body);
    if let Some(refused) = super::too_many_groups(asked.groups_names.len()) {
        return refused;
    }
    let mut seen = HashSet::new();
    let once = asked.groups_names.into_iter().filter(|group| seen.insert(group.clone()));
    let asking: Vec<_> = once
        .map(|group| (group.clone(), QUESTION.ask(shard, asker.clone(), &group.clone(), group)))
        .collect();
    Reply::Later(Box::pin(async move {
        let mut results = Vec::with_capacity(asking.len());
        for (group_id, deleted) in asking {
            results.push(DeletableGroupResult { group_id, error_code: deleted.await.0 });
        }
        header.reply(&DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() })
    }))
}
