//! SyncGroup (14), versions 0-5.
//!
//! The leader of a classic group brings every member's assignment; each member is answered with its own when that is
//! stored. 3: static members (KIP-345). 5: protocol type and name are compared (KIP-559).

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<SyncGroupRequest, SyncGroupResponse> = GroupQuestion {
    command: Command::SyncGroup,
    answer: |reply| match reply {
        GroupReply::SyncGroup(answer) => Some(answer),
        _ => None,
    },
    refused,
};

/// Protocol type and name are not optional any more.
const PROTOCOLS_FROM: i16 = 5;

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<SyncGroupRequest>) -> Reply {
    let is_named = request.body.protocol_type.is_some() && request.body.protocol_name.is_some();
    if request.header.version >= PROTOCOLS_FROM && !is_named {
        return request.header.reply(&refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
    }
    if request.body.group_id.is_empty() {
        return request.header.reply(&refused(ErrorCode::INVALID_GROUP_ID));
    }
    let (asker, group) = (Asker::of(caller, &request), request.body.group_id.clone());
    let asking = QUESTION.ask(shard, asker, &group, request.body);
    Reply::Later(Box::pin(async move { request.header.reply(&asking.await) }))
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.0, ..SyncGroupResponse::default() }
}
