//! ListConfigResources (74), versions 0-1.
//!
//! What can be configured: every topic and broker, and the groups that have settings of their own. 0: client metrics
//! only, which are not served, so there are none. 1: any kinds, all of them if none is named (KIP-1142).

use std::rc::Rc;

use cluster::metadata::{Image, ResourceKind};
use protocol::error_code::ErrorCode;
use protocol::messages::list_config_resources_response::ConfigResource;
use protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::{Caller, Reply, Request};
use crate::shard::Shard;

pub(crate) fn handle(
    shard: &Rc<Shard>,
    _caller: &Caller,
    request: Request<ListConfigResourcesRequest>,
) -> Reply {
    let (header, asked) = (request.header, request.body);
    let Some(kinds) = kinds(header.version, &asked.resource_types) else {
        let error_code = ErrorCode::UNSUPPORTED_VERSION.0;
        return header.reply(&ListConfigResourcesResponse { error_code, ..Default::default() });
    };
    let image = shard.image.borrow();
    let config_resources = kinds.into_iter().flat_map(|kind| resources(&image, kind)).collect();
    header.reply(&ListConfigResourcesResponse { config_resources, ..Default::default() })
}

/// Each kind once; `None` if one is unknown.
fn kinds(version: i16, asked: &[i8]) -> Option<Vec<ResourceKind>> {
    if version == 0 {
        return Some(vec![ResourceKind::ClientMetrics]);
    }
    if asked.is_empty() {
        return Some(ResourceKind::ALL.to_vec());
    }
    let mut kinds = Vec::new();
    for code in asked {
        let kind = ResourceKind::from_code(*code)?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Some(kinds)
}

fn resources(image: &Image, kind: ResourceKind) -> Vec<ConfigResource> {
    let resource = |resource_name: String| ConfigResource { resource_name, resource_type: kind.code() };
    match kind {
        ResourceKind::Topic => image.topics.iter().map(|topic| resource(topic.name.to_string())).collect(),
        ResourceKind::Broker => image.brokers.keys().map(|id| resource(id.to_string())).collect(),
        ResourceKind::Group => image.configs.names(kind).map(|name| resource(name.to_owned())).collect(),
        ResourceKind::BrokerLogger | ResourceKind::ClientMetrics => Vec::new(),
    }
}
