//! Every setting that Apache Kafka 4.3 has for a broker, and what this one makes of it.
//!
//! Facts (types, defaults, bounds, what can change while running) are Kafka's. What a setting does here is said by its
//! [`Standing`]: a setting that would do nothing is either accepted for a reason that can be read, or refused.

mod groups;
mod log;
mod network;
mod node;
mod operation;
mod remote;
mod replication;
mod security;
mod topics;
mod transactions;

use cluster::live_settings::LIVE_SETTINGS;
use cluster::setting::Default::{self, Null, Required, Text};
use cluster::setting::Importance::{self, High, Low, Medium};
use cluster::setting::Kind::{self, Boolean, Class, Double, Int, List, Long, Password, Short, String};
use cluster::setting::Standing::{self, Accepted, Honoured, NotYet};
use cluster::setting::Valid::{
    self, Any, AtLeast, Between, Elements, ElementsOneOf, GzipLevel, NonEmptyString, OneOf, OneOfAnyCase,
    UpTo,
};
use cluster::setting::{Setting, Value};
use cluster::topic_settings::TOPIC_SETTINGS;

use self::Update::{ClusterWide, PerBroker, ReadOnly};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokerSetting {
    pub(crate) setting: Setting,
    pub(crate) update: Update,
    /// Kafka: never shown, for tests and tuning.
    pub(crate) is_internal: bool,
}

/// Who can change a setting while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// Nobody.
    ReadOnly,
    /// Each broker for itself.
    PerBroker,
    /// Each broker for itself, or the cluster for all.
    ClusterWide,
}

impl Update {
    #[cfg(test)]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// Settings by area, each with what the area is about.
pub(crate) const AREAS: &[(&str, &[BrokerSetting])] = &[
    ("The node and its controller", node::SETTINGS),
    ("Listeners, connections and requests", network::SETTINGS),
    ("Topics", topics::SETTINGS),
    ("Logs", log::SETTINGS),
    ("Replication", replication::SETTINGS),
    ("Groups", groups::SETTINGS),
    ("Transactions", transactions::SETTINGS),
    ("Tiered storage", remote::SETTINGS),
    ("Security", security::SETTINGS),
    ("Metrics and configuration", operation::SETTINGS),
];

/// All settings, area after area.
pub(crate) fn all() -> impl Iterator<Item = &'static BrokerSetting> {
    AREAS.iter().flat_map(|(_, settings)| settings.iter())
}

pub(crate) fn find(name: &str) -> Option<&'static BrokerSetting> {
    all().find(|row| row.setting.name == name)
}

impl BrokerSetting {
    /// The names under which DescribeConfigs looks for a value, the strongest first. Kafka: several units of one time
    /// stand for each other.
    pub(crate) fn synonyms(&'static self) -> &'static [&'static str] {
        match self.setting.name {
            "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
            "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
                &["log.roll.jitter.ms", "log.roll.jitter.hours"]
            }
            "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
            "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
                &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
            }
            _ => std::slice::from_ref(&self.setting.name),
        }
    }

    /// The topic setting it is the default of.
    #[cfg(test)]
    pub(crate) fn topic_setting(&self) -> Option<&'static str> {
        let inherits = |synonyms: &[cluster::topic_settings::Synonym]| {
            synonyms.iter().any(|synonym| synonym.name == self.setting.name)
        };
        TOPIC_SETTINGS.iter().find(|topic| inherits(topic.synonyms)).map(|topic| topic.setting.name)
    }

    /// Why a value must not be given, although it is valid.
    pub(crate) fn is_refused(&self, value: &Value) -> bool {
        self.setting.standing == NotYet
            && self.setting.default_value().as_ref() != Some(value)
            && SINGLE_NODE.iter().all(|(name, text)| {
                *name != self.setting.name || self.setting.parse(text).as_ref() != Ok(value)
            })
    }
}

/// What a cluster of one node has instead of Kafka's defaults: nothing can have three replicas there, and there is only
/// one thing to be.
pub(crate) const SINGLE_NODE: &[(&str, &str)] = &[
    ("node.id", "1"),
    ("process.roles", "broker,controller"),
    ("controller.listener.names", "CONTROLLER"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// Names that Kafka leaves to its authorizer, and what the names of listeners' own settings begin with.
pub(crate) const NOT_IN_THE_TABLE: &[&str] = &["super.users", "allow.everyone.if.no.acl.found"];
pub(crate) const LISTENER_PREFIX: &str = "listener.name.";

// Why a setting has no effect here.
const SAME_AS_NODE_ID: &str = "it is node.id";
const EMBEDDED: &str = "the controller is part of this process and alone";
const ONE_REPLICA: &str = "nothing is replicated yet";
const CORES: &str = "cores take the place of thread pools and their queues";
const KERNEL: &str = "the kernel sizes the buffers of sockets";
const WAITING: &str = "what waits is not gathered in a purgatory";
const JMX: &str = "metrics are served over HTTP, and always all of them";
const CATALOGUE: &str = "a catalogue of all logs is kept up to date instead";
const DIRECT: &str = "reads are sized by the storage itself";
const LAZY: &str = "a forgotten producer is recognised when it is met";

#[allow(clippy::too_many_arguments, reason = "the columns of a table")]
const fn row(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    importance: Importance,
    update: Update,
    standing: Standing,
    doc: &'static str,
) -> BrokerSetting {
    let setting = Setting { name, kind, default, valid, importance, standing, doc };
    BrokerSetting { setting, update, is_internal: false }
}

#[allow(clippy::too_many_arguments, reason = "the columns of a table")]
const fn internal(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    importance: Importance,
    update: Update,
    standing: Standing,
    doc: &'static str,
) -> BrokerSetting {
    let row = row(name, kind, default, valid, importance, update, standing, doc);
    BrokerSetting { is_internal: true, ..row }
}

/// One that can change while the broker runs, and is no topic's default.
const fn live(name: &str) -> BrokerSetting {
    let mut at = 0;
    while at < LIVE_SETTINGS.len() {
        if same(LIVE_SETTINGS[at].name, name) {
            return BrokerSetting { setting: LIVE_SETTINGS[at], update: ClusterWide, is_internal: false };
        }
        at += 1;
    }
    panic!("no setting of that name changes while the broker runs")
}

/// A topic's default stands as the topic's setting does.
const fn as_topic(name: &str) -> Standing {
    let mut at = 0;
    while at < TOPIC_SETTINGS.len() {
        let synonyms = TOPIC_SETTINGS[at].synonyms;
        let mut synonym = 0;
        while synonym < synonyms.len() {
            if same(synonyms[synonym].name, name) {
                return TOPIC_SETTINGS[at].setting.standing;
            }
            synonym += 1;
        }
        at += 1;
    }
    panic!("no topic setting takes its default from this")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
