//! LeaveGroup (13), versions 0-5.
//!
//! 3: several members at once, static ones by their instance id (KIP-345). 5: with a reason (KIP-800).

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<LeaveGroupRequest, LeaveGroupResponse> = GroupQuestion {
    command: Command::LeaveGroup,
    answer: |reply| match reply {
        GroupReply::LeaveGroup(answer) => Some(answer),
        _ => None,
    },
    refused,
};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<LeaveGroupRequest>) -> Reply {
    if request.body.group_id.is_empty() {
        return request.header.reply(&refused(ErrorCode::INVALID_GROUP_ID));
    }
    let (asker, group) = (Asker::of(caller, &request), request.body.group_id.clone());
    let asking = QUESTION.ask(shard, asker, &group, request.body);
    Reply::Later(Box::pin(async move { request.header.reply(&asking.await) }))
}

fn refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.0, ..LeaveGroupResponse::default() }
}
