//! DescribeConfigs (32), versions 1-4.
//!
//! Topics, brokers (an empty broker name: the settings of all) and groups, which need not exist. 3: types and documentation
//! (KIP-569). 4: flexible.

use std::collections::HashSet;
use std::rc::Rc;

use cluster::controller::invalid_topic_name;
use cluster::metadata::{Described, ResourceKind};
use protocol::error_code::ErrorCode;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{Caller, Reply, Request};
use crate::config::describe;
use crate::shard::Shard;

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<DescribeConfigsRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    // Kafka answers a resource as often as it is asked for; once is enough, for a small request would have a
    // huge answer else.
    let mut seen = HashSet::new();
    let first = asked.resources.iter().filter(|resource| seen.insert(identity(resource)));
    let results = first.map(|resource| match describe(shard, resource) {
        Ok(lines) => answer(&asked, resource, lines),
        Err((error, message)) => DescribeConfigsResult {
            error_code: error.0,
            error_message: Some(message),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: Vec::new(),
        },
    });
    header
        .reply(&DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() })
}

/// What tells resources apart: brokers may spell their number in many ways.
fn identity(resource: &DescribeConfigsResource) -> (i8, Result<i32, &str>) {
    let name = resource.resource_name.as_str();
    let is_broker = ResourceKind::from_code(resource.resource_type) == Some(ResourceKind::Broker);
    (resource.resource_type, if is_broker { name.parse().map_err(|_| name) } else { Err(name) })
}

fn describe(
    shard: &Shard,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    let image = shard.image.borrow();
    let (config, name) = (&shard.config, resource.resource_name.as_str());
    match ResourceKind::from_code(resource.resource_type) {
        Some(ResourceKind::Topic) => {
            if let Some(reason) = invalid_topic_name(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, reason));
            }
            if image.topics.by_name(name).is_none() {
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new()));
            }
            Ok(image.topic_layers(name, config.node_id, &config.statics).describe_topic())
        }
        Some(ResourceKind::Broker) if name.is_empty() => Ok(describe::all_brokers(&image)),
        Some(ResourceKind::Broker) => match name.parse::<i32>() {
            Ok(id) if id == config.node_id => Ok(describe::broker(&config.values, config.node_id, &image)),
            Ok(_) => {
                let id = config.node_id;
                let text =
                    format!("Unexpected broker id, expected {id} or empty string, but received {name}");
                Err((ErrorCode::INVALID_REQUEST, text))
            }
            Err(_) => {
                let text = format!("Broker id must be an integer, but it is: {name}");
                Err((ErrorCode::INVALID_REQUEST, text))
            }
        },
        Some(ResourceKind::Group) if name.is_empty() => {
            Err((ErrorCode::INVALID_REQUEST, "Group name must not be empty".to_owned()))
        }
        Some(ResourceKind::Group) => {
            Ok(image.group_layers(name, config.node_id, &config.statics).describe_group())
        }
        _ => Err((
            ErrorCode::INVALID_REQUEST,
            format!("Unsupported resource type: {}", resource.resource_type),
        )),
    }
}

fn answer(
    asked: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    lines: Vec<Described>,
) -> DescribeConfigsResult {
    // Kafka: no key means every key.
    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
    let wanted = |line: &Described| keys.is_empty() || keys.contains(&line.name);
    DescribeConfigsResult {
        error_code: ErrorCode::NONE.0,
        // Kafka: an empty text where all is well, and not null.
        error_message: Some(String::new()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: lines.into_iter().filter(wanted).map(|line| said(asked, line)).collect(),
    }
}

fn said(asked: &DescribeConfigsRequest, line: Described) -> DescribeConfigsResourceResult {
    let synonym = |it: cluster::metadata::configs::DescribedSynonym| DescribeConfigsSynonym {
        name: it.name,
        value: it.value,
        source: it.source.code(),
    };
    let synonyms = line.synonyms.into_iter().filter(|_| asked.include_synonyms);
    DescribeConfigsResourceResult {
        name: line.name,
        value: line.value,
        read_only: line.is_read_only,
        config_source: line.source.code(),
        is_sensitive: line.is_sensitive,
        synonyms: synonyms.map(synonym).collect(),
        config_type: line.kind.map_or(0, cluster::setting::Kind::code),
        documentation: Some(line.doc.to_owned()).filter(|_| asked.include_documentation),
    }
}
