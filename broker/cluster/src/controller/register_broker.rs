//! BrokerRegistration: a broker introduces an incarnation of itself and gets an epoch. It starts fenced.
//!
//! Left out: Kafka takes a broker that did not shut down cleanly out of the sets it may have lost records of. Ours
//! acknowledges nothing that it could lose, so every shutdown counts as clean.

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;
use protocol::messages::BrokerRegistrationRequest;
use protocol::messages::RegisterBrokerRecord;
use protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};

use super::{Controller, Refused, refuse};
use crate::machine::Decision;
use crate::metadata::features::METADATA_VERSION;
use crate::metadata::topics::directory;
use crate::metadata::{Broker, MetadataRecord, SecurityProtocol};

/// A broker starts.
#[derive(Clone, Debug)]
pub struct RegisterBroker {
    pub request: BrokerRegistrationRequest,
    /// The offset that the next record of the log will have: the broker's epoch.
    pub epoch: i64,
    /// The registered incarnation was heard of lately. A broker's id is not taken over from the living.
    pub session_is_valid: bool,
}

impl Controller {
    pub fn register_broker(
        &self,
        command: &RegisterBroker,
    ) -> Decision<MetadataRecord, Result<i64, Refused>> {
        let request = &command.request;
        if let Err(refused) = self.check_registration(command) {
            return refuse(refused);
        }
        let existing = self.image.brokers.get(&request.broker_id);
        let is_same = existing.is_some_and(|broker| broker.incarnation_id == request.incarnation_id);
        let epoch = match existing {
            Some(broker) if is_same => broker.epoch,
            _ => command.epoch,
        };
        // Kafka: one that amends its own registration stays as fenced as it is.
        let is_fenced = !is_same || existing.is_none_or(|broker| broker.is_fenced);
        let record = MetadataRecord::RegisterBroker(registration(request, epoch, is_fenced));
        Decision { records: vec![record], reply: Ok(epoch) }
    }

    fn check_registration(&self, command: &RegisterBroker) -> Result<(), Refused> {
        let request = &command.request;
        if request.cluster_id != self.image.cluster_id {
            let (ours, theirs) = (&self.image.cluster_id, &request.cluster_id);
            let message = format!("Expected cluster ID {ours}, but got cluster ID {theirs}");
            return Err(Refused::new(ErrorCode::INCONSISTENT_CLUSTER_ID, message));
        }
        if let Some(existing) = self.image.brokers.get(&request.broker_id) {
            check_takeover(existing, command)?;
        }
        self.check_directories(request)?;
        if let Some(odd) =
            request.listeners.iter().find(|it| SecurityProtocol::from_code(it.security_protocol).is_none())
        {
            let message =
                format!("Unknown security protocol {} of listener {}", odd.security_protocol, odd.name);
            return Err(Refused::new(ErrorCode::INVALID_REGISTRATION, message));
        }
        self.check_features(request)
    }

    fn check_directories(&self, request: &BrokerRegistrationRequest) -> Result<(), Refused> {
        let invalid = |message: String| Err(Refused::new(ErrorCode::INVALID_REGISTRATION, message));
        if request.log_dirs.is_empty() {
            return invalid("No directories specified in request".to_owned());
        }
        if request.log_dirs.iter().any(|&dir| directory::is_reserved(dir)) {
            return invalid("Reserved directory ID in request".to_owned());
        }
        let mut seen = BTreeSet::new();
        if !request.log_dirs.iter().all(|dir| seen.insert(dir)) {
            return invalid("Duplicate directory ID in request".to_owned());
        }
        let others = self.image.brokers.values().filter(|broker| broker.id != request.broker_id);
        for broker in others {
            if let Some(dir) = broker.log_dirs.iter().find(|dir| request.log_dirs.contains(dir)) {
                return invalid(format!("Broker {} is already registered with directory {dir}", broker.id));
            }
        }
        Ok(())
    }

    /// The broker must be able to run with everything that is finalised.
    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<(), Refused> {
        if !request.features.iter().any(|feature| feature.name == METADATA_VERSION) {
            let message = "Request features do not contain 'metadata.version'";
            return Err(Refused::new(ErrorCode::INVALID_REGISTRATION, message));
        }
        for (name, &level) in &self.image.features {
            let range = request.features.iter().find(|feature| feature.name == *name);
            let (min, max) = range.map_or((0, 0), |it| (it.min_supported_version, it.max_supported_version));
            if !(min..=max).contains(&level) {
                let message = format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. The \
                     broker wants a version between {min} and {max}, inclusive."
                );
                return Err(Refused::new(ErrorCode::UNSUPPORTED_VERSION, message));
            }
        }
        Ok(())
    }
}

fn check_takeover(existing: &Broker, command: &RegisterBroker) -> Result<(), Refused> {
    let is_same = existing.incarnation_id == command.request.incarnation_id;
    if is_same || !command.session_is_valid || existing.is_in_controlled_shutdown {
        return Ok(());
    }
    let message = "Another broker is registered with that broker id. If the broker was recently restarted this should \
                   self-resolve once the heartbeat manager expires the broker's session.";
    Err(Refused::new(ErrorCode::DUPLICATE_BROKER_REGISTRATION, message))
}

fn registration(request: &BrokerRegistrationRequest, epoch: i64, is_fenced: bool) -> RegisterBrokerRecord {
    let endpoints = request.listeners.iter().map(|it| BrokerEndpoint {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
        security_protocol: it.security_protocol,
    });
    let features = request.features.iter().map(|it| BrokerFeature {
        name: it.name.clone(),
        min_supported_version: it.min_supported_version,
        max_supported_version: it.max_supported_version,
    });
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        is_migrating_zk_broker: false,
        incarnation_id: request.incarnation_id,
        broker_epoch: epoch,
        end_points: endpoints.collect(),
        features: features.collect(),
        rack: request.rack.clone(),
        fenced: is_fenced,
        in_controlled_shutdown: false,
        log_dirs: request.log_dirs.clone(),
        cordoned_log_dirs: None,
    }
}
