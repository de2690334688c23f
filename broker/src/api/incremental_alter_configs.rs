//! IncrementalAlterConfigs (44), versions 0-1.
//!
//! Single settings of topics, groups and brokers. Decided by the
//! cluster's controller; answered when every core has followed. Left out: log levels, client metrics. 1: flexible.

use std::rc::Rc;

use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::{Caller, Reply, Request};
use crate::shard::Shard;
use crate::shard::configs::Altered;

pub(crate) fn handle(
    shard: &Rc<Shard>,
    _caller: &Caller,
    request: Request<IncrementalAlterConfigsRequest>,
) -> Reply {
    let (header, asked) = (request.header, request.body);
    let altering = shard.alter_configs(asked.into());
    Reply::Later(Box::pin(async move {
        let responses = altering.await.into_iter().map(said).collect();
        header.reply(&IncrementalAlterConfigsResponse {
            responses,
            ..IncrementalAlterConfigsResponse::default()
        })
    }))
}

fn said(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error.0,
        error_message: altered.message,
        resource_type: altered.resource_type,
        resource_name: altered.resource_name,
    }
}
