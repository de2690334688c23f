//! ListGroups (16), versions 0-5.
//!
//! Every group of every core. 4: by state (KIP-518). 5: by type (KIP-848).

use std::rc::Rc;

use cluster::groups::{Asked, Command, Reply as GroupReply};
use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::{Asker, Caller, Reply, Request};
use crate::coordinator::{Answered, Question};
use crate::shard::Shard;

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<ListGroupsRequest>) -> Reply {
    let Asker { version, client } = Asker::of(caller, &request);
    let (header, request) = (request.header, request.body);
    let question = move || -> Question {
        let (client, request) = (client.clone(), request.clone());
        Box::new(move |ticket| {
            Command::ListGroups(Asked { ticket, version, client, fresh_id: Uuid::ZERO, request })
        })
    };
    let asking = shard.ask_every_group(question);
    Reply::Later(Box::pin(async move { header.reply(&answer(asking.await)) }))
}

/// Kafka: all groups of those partitions that could be asked, and the first error of the others.
fn answer(asked: Vec<Answered>) -> ListGroupsResponse {
    let mut answer = ListGroupsResponse::default();
    for listed in asked {
        match listed {
            Ok(GroupReply::ListGroups(groups)) => answer.groups.extend::<Vec<ListedGroup>>(groups),
            Ok(other) => unreachable!("groups were to be listed, the answer is {other:?}"),
            Err(error) if answer.error_code == ErrorCode::NONE.0 => answer.error_code = error.0,
            Err(_) => {}
        }
    }
    answer
}
