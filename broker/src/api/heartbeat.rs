//! Heartbeat (12), versions 0-4.
//!
//! A member of a classic group says that it is there, and learns whether the group is being rebalanced. 3: static members
//! (KIP-345).

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<HeartbeatRequest, HeartbeatResponse> = GroupQuestion {
    command: Command::Heartbeat,
    answer: |reply| match reply {
        GroupReply::Heartbeat(answer) => Some(answer),
        _ => None,
    },
    refused,
};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<HeartbeatRequest>) -> Reply {
    if request.body.group_id.is_empty() {
        return request.header.reply(&refused(ErrorCode::INVALID_GROUP_ID));
    }
    let (asker, group) = (Asker::of(caller, &request), request.body.group_id.clone());
    let asking = QUESTION.ask(shard, asker, &group, request.body);
    Reply::Later(Box::pin(async move { request.header.reply(&asking.await) }))
}

fn refused(error: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: error.0, ..HeartbeatResponse::default() }
}
