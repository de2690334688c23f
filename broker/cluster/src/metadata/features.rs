//! Features: what this version can run with, and what a fresh cluster starts at.

use super::control;
use super::record::MetadataRecord;
use protocol::messages::FeatureLevelRecord;

/// A feature's name, the levels that this version can run at, and the one a fresh cluster begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    pub initial: i16,
}

pub const METADATA_VERSION: &str = "metadata.version";
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";

/// Kafka 4.3's features but for `kraft.version`, which is no record of the metadata but a control record of its log.
/// In the order in which Kafka writes them.
pub const FEATURES: &[Feature] = &[
    Feature { name: METADATA_VERSION, min: 7, max: 30, initial: 30 },
    Feature { name: ELIGIBLE_LEADER_REPLICAS, min: 0, max: 1, initial: 1 },
    Feature { name: "group.version", min: 0, max: 1, initial: 1 },
    Feature { name: "share.version", min: 0, max: 1, initial: 1 },
    Feature { name: "streams.version", min: 0, max: 1, initial: 1 },
    Feature { name: "transaction.version", min: 0, max: 2, initial: 2 },
];

/// The quorum's own rules, as a feature: what brokers and controllers register with and ApiVersions lists.
pub const KRAFT_VERSION: Feature =
    Feature { name: "kraft.version", min: 0, max: control::KRAFT_VERSION, initial: control::KRAFT_VERSION };

/// All features with the levels that this version can run at.
pub fn supported() -> impl Iterator<Item = &'static Feature> {
    std::iter::once(&KRAFT_VERSION).chain(FEATURES)
}

pub fn level_record(name: &str, level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level: level })
}
