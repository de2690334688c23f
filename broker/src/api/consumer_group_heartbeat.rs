//! ConsumerGroupHeartbeat (68), versions 0-1.
//!
//! The one request of a member of a consumer group (KIP-848): joins, says what it owns, learns what it is assigned, leaves.
//! 1: regular expressions, and member ids are the client's own.

use std::rc::Rc;

use cluster::groups::{Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const QUESTION: GroupQuestion<ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse> =
    GroupQuestion {
        command: Command::ConsumerGroupHeartbeat,
        answer: |reply| match reply {
            GroupReply::ConsumerGroupHeartbeat(answer) => Some(answer),
            _ => None,
        },
        refused,
    };

pub(crate) fn handle(
    shard: &Rc<Shard>,
    caller: &Caller,
    request: Request<ConsumerGroupHeartbeatRequest>,
) -> Reply {
    let (asker, group) = (Asker::of(caller, &request), request.body.group_id.clone());
    let asking = QUESTION.ask(shard, asker, &group, request.body);
    Reply::Later(Box::pin(async move { request.header.reply(&asking.await) }))
}

fn refused(error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: error.0, ..ConsumerGroupHeartbeatResponse::default() }
}
