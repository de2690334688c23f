//! JoinGroup (11), versions 0-9.
//!
//! Answered when the members are together. 1: rebalance timeout. 4: who joins without a member id is given one to join with
//! (KIP-394). 5: static members (KIP-345). 7: protocol type (KIP-559). 8: with a reason (KIP-800). 9: a leader may be told
//! to leave the assignment as it is (KIP-814).

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<JoinGroupRequest, JoinGroupResponse> = GroupQuestion {
    command: Command::JoinGroup,
    answer: |reply| match reply {
        GroupReply::JoinGroup(answer) => Some(answer),
        _ => None,
    },
    refused,
};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<JoinGroupRequest>) -> Reply {
    if request.body.group_id.is_empty() {
        let protocol_name = no_protocol(request.header.version);
        let refused = JoinGroupResponse { protocol_name, ..refused(ErrorCode::INVALID_GROUP_ID) };
        return request.header.reply(&refused);
    }
    let (asker, group) = (Asker::of(caller, &request), request.body.group_id.clone());
    let asking = QUESTION.ask(shard, asker, &group, request.body);
    Reply::Later(Box::pin(async move {
        let mut answer = asking.await;
        if answer.error_code != ErrorCode::NONE.0 {
            answer.protocol_name = no_protocol(request.header.version);
        }
        request.header.reply(&answer)
    }))
}

/// Version 7 brought null.
fn no_protocol(version: i16) -> Option<String> {
    (version < 7).then(String::new)
}

fn refused(error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse { error_code: error.0, generation_id: -1, ..JoinGroupResponse::default() }
}
