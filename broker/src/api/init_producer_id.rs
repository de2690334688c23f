//! InitProducerId (22), versions 0-5.
//!
//! Gives an idempotent producer its id, with epoch 0. 3: a producer may name the id it had (KIP-360);
//! without a transactional id it gets a new one all the same.
//! Left out: transactional ids; no coordinator serves them yet, and FindCoordinator is not advertised.

use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::{Caller, Reply, Request};
use crate::shard::Shard;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<InitProducerIdRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    let refused = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.0,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if (asked.producer_id == -1) != (asked.producer_epoch == -1) {
        return header.reply(&refused(ErrorCode::INVALID_REQUEST));
    }
    match asked.transactional_id.as_deref() {
        None => {}
        Some("") => return header.reply(&refused(ErrorCode::INVALID_REQUEST)),
        Some(_) => return header.reply(&refused(ErrorCode::COORDINATOR_NOT_AVAILABLE)),
    }
    let shard = shard.clone();
    Reply::Later(Box::pin(async move {
        let answer = match shard.next_producer_id().await {
            Ok(producer_id) => InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() },
            Err(error) => {
                tracing::error!(%error, "producer ids cannot be allocated");
                refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
            }
        };
        header.reply(&answer)
    }))
}
