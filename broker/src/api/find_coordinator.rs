//! FindCoordinator (10), versions 0-6.
//!
//! Which broker a group lives on. The topic that keeps the groups is created when somebody first asks, and the answer comes
//! when it is there. 1: kinds of keys. 4: several keys (KIP-699). 6: share groups.
//! Left out: coordinators of transactions and share groups; no broker serves them yet.

use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::{Caller, Header, Reply, Request};
use crate::config::groups::OFFSETS_TOPIC;
use crate::shard::Shard;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

const SEVERAL_KEYS_FROM: i16 = 4;

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<FindCoordinatorRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    if let Some(refused) = super::too_many_groups(asked.coordinator_keys.len()) {
        return refused;
    }
    let keys = if header.version < SEVERAL_KEYS_FROM { vec![asked.key] } else { asked.coordinator_keys };
    let refusal = match asked.key_type {
        GROUP => None,
        TRANSACTION | SHARE => Some("Coordinators of transactions and share groups are not served yet."),
        _ => Some("Unknown coordinator type."),
    };
    if let Some(message) = refusal {
        return answer(&header, keys, &refused(ErrorCode::INVALID_REQUEST, Some(message.to_owned())));
    }
    let found = here(shard, caller);
    if shard.image.borrow().topics.by_name(OFFSETS_TOPIC).is_some() {
        return answer(&header, keys, &found);
    }
    let creating = shard.create_offsets_topic();
    let shard = shard.clone();
    Reply::Later(Box::pin(async move {
        if let Err(error) = creating.await {
            tracing::error!(%error, "{OFFSETS_TOPIC} cannot be created");
        }
        let is_there = shard.image.borrow().topics.by_name(OFFSETS_TOPIC).is_some();
        let missing = refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, None);
        answer(&header, keys, if is_there { &found } else { &missing })
    }))
}

/// This broker as the caller reaches it: it coordinates every group.
fn here(shard: &Shard, caller: &Caller) -> Coordinator {
    let image = shard.image.borrow();
    let broker = image.brokers.get(&shard.config.node_id).filter(|broker| !broker.is_fenced);
    match broker.and_then(|broker| broker.endpoint(&caller.listener)) {
        Some(endpoint) => Coordinator {
            node_id: shard.config.node_id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Coordinator::default()
        },
        None => refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, None),
    }
}

fn refused(error: ErrorCode, message: Option<String>) -> Coordinator {
    Coordinator {
        node_id: -1,
        port: -1,
        error_code: error.0,
        error_message: message,
        ..Coordinator::default()
    }
}

/// The same for each key.
fn answer(header: &Header, keys: Vec<String>, found: &Coordinator) -> Reply {
    if header.version < SEVERAL_KEYS_FROM {
        return header.reply(&FindCoordinatorResponse {
            error_code: found.error_code,
            // Kafka: spells out that there is no error, where there is one field for all keys.
            error_message: if found.error_code == 0 {
                Some("NONE".to_owned())
            } else {
                found.error_message.clone()
            },
            node_id: found.node_id,
            host: found.host.clone(),
            port: found.port,
            ..FindCoordinatorResponse::default()
        });
    }
    let coordinators = keys.into_iter().map(|key| Coordinator { key, ..found.clone() }).collect();
    header.reply(&FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() })
}
