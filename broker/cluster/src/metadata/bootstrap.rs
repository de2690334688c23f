//! What a fresh cluster's metadata begins with, and who writes it.

use protocol::ids::Uuid;
use protocol::messages::register_controller_record::{ControllerEndpoint, ControllerFeature};
use protocol::messages::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, RegisterControllerRecord,
};

use super::brokers::Endpoint;
use super::configs::ResourceKind;
use super::features::{ELIGIBLE_LEADER_REPLICAS, Feature, level_record, supported};
use super::record::MetadataRecord;

/// The first records of a cluster, in one transaction as Kafka writes them. `features` with their initial levels:
/// [`FEATURES`](super::features::FEATURES), or fewer if some of them must not be offered. Level 0 means absent.
pub fn records(features: &[Feature]) -> Vec<MetadataRecord> {
    let name = Some("Bootstrap records".to_owned());
    let mut records = vec![MetadataRecord::BeginTransaction(BeginTransactionRecord { name })];
    let present = features.iter().filter(|feature| feature.initial > 0);
    records.extend(present.clone().map(|feature| level_record(feature.name, feature.initial)));
    // Kafka: with eligible leader replicas the cluster must have a say about min.insync.replicas.
    if present.clone().any(|feature| feature.name == ELIGIBLE_LEADER_REPLICAS) {
        records.push(MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceKind::Broker.code(),
            resource_name: String::new(),
            name: "min.insync.replicas".to_owned(),
            value: Some("1".to_owned()),
        }));
    }
    records.push(MetadataRecord::EndTransaction(EndTransactionRecord {}));
    records
}

/// A controller's introduction, written when it starts to lead.
pub fn register_controller(id: i32, incarnation_id: Uuid, endpoints: &[Endpoint]) -> MetadataRecord {
    let endpoint = |it: &Endpoint| ControllerEndpoint {
        name: it.listener.clone(),
        host: it.host.clone(),
        port: it.port,
        security_protocol: it.protocol.code(),
    };
    let range = |feature: &Feature| ControllerFeature {
        name: feature.name.to_owned(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    };
    MetadataRecord::RegisterController(RegisterControllerRecord {
        controller_id: id,
        incarnation_id,
        zk_migration_ready: false,
        end_points: endpoints.iter().map(endpoint).collect(),
        features: supported().map(range).collect(),
    })
}
