//! What groups are run by, and the topic that keeps them.

use cluster::groups::{Bounds, GroupSettings, MigrationPolicy};
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};

use super::values::{Problem, Values};

/// The topic whose partitions keep groups and their offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

pub(super) fn settings(values: &Values) -> GroupSettings {
    let names = |name| values.list(name).unwrap_or_default();
    let between = |low, high| (values.int(low), values.int(high));
    GroupSettings {
        node_id: values.int("node.id"),
        serves_consumer_protocol: names("group.coordinator.rebalance.protocols")
            .iter()
            .any(|protocol| protocol == "consumer"),
        initial_rebalance_delay_ms: values.int("group.initial.rebalance.delay.ms"),
        min_session_timeout_ms: values.int("group.min.session.timeout.ms"),
        max_session_timeout_ms: values.int("group.max.session.timeout.ms"),
        max_size: values.int("group.max.size"),
        consumer_assignors: names("group.consumer.assignors"),
        consumer_assignment_interval_ms: values.int("group.consumer.assignment.interval.ms"),
        consumer_heartbeat_interval_ms: values.int("group.consumer.heartbeat.interval.ms"),
        consumer_session_timeout_ms: values.int("group.consumer.session.timeout.ms"),
        consumer_max_size: values.int("group.consumer.max.size"),
        consumer_migration_policy: migration_policy(values.text("group.consumer.migration.policy")),
        consumer_regex_refresh_interval_ms: values.int("group.consumer.regex.refresh.interval.ms"),
        offsets_retention_ms: i64::from(values.int("offsets.retention.minutes")) * 60_000,
        offsets_retention_check_interval_ms: values.long("offsets.retention.check.interval.ms"),
        offset_metadata_max: values.int("offset.metadata.max.bytes"),
        consumer_bounds: Bounds {
            assignment_interval_ms: between(
                "group.consumer.min.assignment.interval.ms",
                "group.consumer.max.assignment.interval.ms",
            ),
            heartbeat_interval_ms: between(
                "group.consumer.min.heartbeat.interval.ms",
                "group.consumer.max.heartbeat.interval.ms",
            ),
            session_timeout_ms: between(
                "group.consumer.min.session.timeout.ms",
                "group.consumer.max.session.timeout.ms",
            ),
        },
    }
}

/// What the settings of consumer groups must keep to among each other, as Kafka demands at its start.
pub(super) fn check(values: &Values) -> Vec<Problem> {
    let mut problems = Vec::new();
    for what in ["assignment.interval.ms", "heartbeat.interval.ms", "session.timeout.ms"] {
        let [name, min, max] = ["", "min.", "max."].map(|bound| format!("group.consumer.{bound}{what}"));
        let (low, high, chosen) = (values.int(&min), values.int(&max), values.int(&name));
        if low > high {
            problems.push(values.problem(&max, format!("`{max}` is {high}, less than `{min}`, {low}")));
        } else if !(low..=high).contains(&chosen) {
            let message = format!("`{name}` is {chosen}, not from `{min}`, {low}, to `{max}`, {high}");
            problems.push(values.problem(&name, message));
        }
    }
    let (heartbeat, session) = ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms");
    let (interval_ms, timeout_ms) = (values.int(heartbeat), values.int(session));
    if interval_ms >= timeout_ms {
        let message = format!("`{heartbeat}` is {interval_ms}, not less than `{session}`, {timeout_ms}");
        problems.push(values.problem(heartbeat, message));
    }
    let assignors = "group.consumer.assignors";
    for name in values.list(assignors).unwrap_or_default() {
        if !ASSIGNORS.contains(&name.as_str()) {
            problems
                .push(values.problem(assignors, format!("there is no assignor `{name}`: uniform and range")));
        }
    }
    problems
}

/// Those in the broker.
const ASSIGNORS: [&str; 2] = ["uniform", "range"];

/// The topic as Kafka creates it when somebody first asks for a coordinator.
pub(super) fn offsets_topic(values: &Values) -> CreatableTopic {
    let config =
        |name: &str, value: String| CreatableTopicConfig { name: name.to_owned(), value: Some(value) };
    CreatableTopic {
        name: OFFSETS_TOPIC.to_owned(),
        num_partitions: values.int("offsets.topic.num.partitions"),
        replication_factor: i16::try_from(values.int("offsets.topic.replication.factor")).unwrap_or(i16::MAX),
        configs: vec![
            config("cleanup.policy", "compact".to_owned()),
            config("compression.type", "producer".to_owned()),
            config("segment.bytes", values.int("offsets.topic.segment.bytes").to_string()),
        ],
        ..CreatableTopic::default()
    }
}

fn migration_policy(text: Option<String>) -> MigrationPolicy {
    match text.map(|text| text.to_ascii_uppercase()).as_deref() {
        Some("DISABLED") => MigrationPolicy::Disabled,
        Some("UPGRADE") => MigrationPolicy::Upgrade,
        Some("DOWNGRADE") => MigrationPolicy::Downgrade,
        _ => MigrationPolicy::Bidirectional,
    }
}
