//! This broker as the controller knows it.

use cluster::controller::{RegisterBroker, Settings, UnfenceBroker};
use cluster::metadata::Endpoint;
use cluster::metadata::control::{Voter, head_of_log};
use cluster::metadata::features::FEATURES;
use protocol::ids::Uuid;
use protocol::messages::BrokerRegistrationRequest;
use protocol::messages::broker_registration_request::{Feature, Listener};
use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;

use crate::config::Config;

/// Who this broker is and where it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) cluster_id: String,
    pub(crate) settings: Settings,
    endpoints: Vec<Endpoint>,
    rack: Option<String>,
    directory_ids: Vec<Uuid>,
}

impl Node {
    /// `ports`: what each listener is bound to.
    pub(crate) fn of(config: &Config, ports: &[u16], cluster_id: &str, directory_ids: &[Uuid]) -> Self {
        let endpoint = |(listener, port): (&crate::config::Listener, &u16)| Endpoint {
            listener: listener.name.clone(),
            host: listener.advertised_host.clone(),
            port: if listener.advertised_port == 0 { *port } else { listener.advertised_port },
            protocol: listener.protocol,
        };
        Self {
            cluster_id: cluster_id.to_owned(),
            settings: config.controller_settings(),
            endpoints: config.listeners.iter().zip(ports).map(endpoint).collect(),
            rack: config.rack.clone(),
            directory_ids: directory_ids.to_vec(),
        }
    }

    /// The control batch that a lone voter's log begins with.
    pub(super) fn head_of_log(&self, now_ms: i64) -> Vec<u8> {
        let voter = Voter {
            id: self.settings.node_id,
            directory_id: self.directory_ids[0],
            endpoints: self.endpoints.clone(),
        };
        let mut batch = BatchBuilder::new(BatchHeader { control: true, ..BatchHeader::default() });
        let small = "three small records fit into a batch";
        for record in head_of_log(&voter) {
            batch.append(now_ms, Some(&record.key), Some(&record.value), &[]).expect(small);
        }
        batch.build().expect(small)
    }

    /// `epoch`: the offset the registration will have.
    pub(crate) fn registration(&self, incarnation_id: Uuid, epoch: i64) -> RegisterBroker {
        let listener = |endpoint: &Endpoint| Listener {
            name: endpoint.listener.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            security_protocol: endpoint.protocol.code(),
        };
        let feature = |feature: &cluster::metadata::features::Feature| Feature {
            name: feature.name.to_owned(),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        };
        let request = BrokerRegistrationRequest {
            broker_id: self.settings.node_id,
            cluster_id: self.cluster_id.clone(),
            incarnation_id,
            listeners: self.endpoints.iter().map(listener).collect(),
            features: FEATURES.iter().map(feature).collect(),
            rack: self.rack.clone(),
            log_dirs: self.directory_ids.clone(),
            ..BrokerRegistrationRequest::default()
        };
        RegisterBroker { request, epoch, session_is_valid: false }
    }

    /// Leader epochs stay, since nothing that anybody saw is lost by a stop; unless the last run had promised less.
    pub(crate) fn unfence(&self, broker_epoch: i64, new_leader_epochs: bool) -> UnfenceBroker {
        UnfenceBroker { broker_id: self.settings.node_id, broker_epoch, new_leader_epochs }
    }
}
