//! DescribeCluster (60), versions 0-2.
//!
//! 1: brokers or controllers can be asked for (KIP-919); this listener knows brokers. 2: fenced brokers
//! on demand.

use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::{CLUSTER_OPERATIONS, Caller, Reply, Request};
use crate::shard::Shard;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<DescribeClusterRequest>) -> Reply {
    let (header, asked) = (request.header, request.body);
    if asked.endpoint_type != BROKERS {
        return header.reply(&wrong_endpoint(asked.endpoint_type));
    }
    let image = shard.image.borrow();
    let listed = image.brokers.values().filter(|broker| asked.include_fenced_brokers || !broker.is_fenced);
    let brokers = listed.filter_map(|broker| {
        let endpoint = broker.endpoint(&caller.listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            is_fenced: broker.is_fenced,
        })
    });
    let mut answer = DescribeClusterResponse {
        cluster_id: image.cluster_id.clone(),
        controller_id: shard.config.node_id,
        brokers: brokers.collect(),
        error_message: None,
        ..DescribeClusterResponse::default()
    };
    if asked.include_cluster_authorized_operations {
        answer.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    header.reply(&answer)
}

fn wrong_endpoint(endpoint_type: i8) -> DescribeClusterResponse {
    let (error, message) = match endpoint_type {
        CONTROLLERS => (
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".to_owned(),
        ),
        _ => (ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {endpoint_type}")),
    };
    DescribeClusterResponse { error_code: error.0, error_message: Some(message), ..Default::default() }
}
