//! Brokers that registered.

use std::collections::BTreeMap;

use protocol::ids::Uuid;
use protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use protocol::messages::{BrokerRegistrationChangeRecord, RegisterBrokerRecord};

/// A broker, alive or not: it stays registered until somebody removes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    pub id: i32,
    /// The offset of the record that registered this incarnation.
    pub epoch: i64,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    /// Ranges of levels it can run with, by feature.
    pub features: BTreeMap<String, (i16, i16)>,
    pub rack: Option<String>,
    /// Not to be given any leadership; clients are not told of it.
    pub is_fenced: bool,
    pub is_in_controlled_shutdown: bool,
    pub log_dirs: Vec<Uuid>,
    /// Directories that get no new replicas. `None`: never said.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

/// Where a listener can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
    pub protocol: SecurityProtocol,
}

/// How a connection is secured, with the number Kafka gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    Plaintext = 0,
    Ssl = 1,
    SaslPlaintext = 2,
    SaslSsl = 3,
}

impl Broker {
    /// Able to lead: neither fenced nor on its way out.
    pub fn is_active(&self) -> bool {
        !self.is_fenced && !self.is_in_controlled_shutdown
    }

    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// Some directory takes new replicas.
    pub fn has_uncordoned_dir(&self) -> bool {
        match &self.cordoned_log_dirs {
            None => true,
            Some(cordoned) => self.log_dirs.iter().any(|dir| !cordoned.contains(dir)),
        }
    }

    pub(super) fn from_record(record: &RegisterBrokerRecord) -> Option<Self> {
        let endpoints = record.end_points.iter().map(Endpoint::from_record).collect::<Option<_>>()?;
        let range =
            |it: &BrokerFeature| (it.name.clone(), (it.min_supported_version, it.max_supported_version));
        Some(Self {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints,
            features: record.features.iter().map(range).collect(),
            rack: record.rack.clone(),
            is_fenced: record.fenced,
            is_in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
        })
    }

    /// The record that says all of this.
    pub fn to_record(&self) -> RegisterBrokerRecord {
        let endpoint = |it: &Endpoint| BrokerEndpoint {
            name: it.listener.clone(),
            host: it.host.clone(),
            port: it.port,
            security_protocol: it.protocol.code(),
        };
        let feature = |(name, &(min, max)): (&String, &(i16, i16))| BrokerFeature {
            name: name.clone(),
            min_supported_version: min,
            max_supported_version: max,
        };
        RegisterBrokerRecord {
            broker_id: self.id,
            is_migrating_zk_broker: false,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self.endpoints.iter().map(endpoint).collect(),
            features: self.features.iter().map(feature).collect(),
            rack: self.rack.clone(),
            fenced: self.is_fenced,
            in_controlled_shutdown: self.is_in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
            cordoned_log_dirs: self.cordoned_log_dirs.clone(),
        }
    }

    /// False if the record makes no sense.
    pub(super) fn change(&mut self, record: &BrokerRegistrationChangeRecord) -> bool {
        match record.fenced {
            0 => (),
            1 => self.is_fenced = true,
            -1 => self.is_fenced = false,
            _ => return false,
        }
        // Kafka: there is no way back from a controlled shutdown but to register again.
        match record.in_controlled_shutdown {
            0 => (),
            1 => self.is_in_controlled_shutdown = true,
            _ => return false,
        }
        if !record.log_dirs.is_empty() {
            self.log_dirs.clone_from(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            self.cordoned_log_dirs = Some(cordoned.clone());
        }
        true
    }
}

impl Endpoint {
    fn from_record(record: &BrokerEndpoint) -> Option<Self> {
        Some(Self {
            listener: record.name.clone(),
            host: record.host.clone(),
            port: record.port,
            protocol: SecurityProtocol::from_code(record.security_protocol)?,
        })
    }
}

impl SecurityProtocol {
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    pub const fn code(self) -> i16 {
        self as i16
    }

    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.code() == code)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// By name, in either case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}
