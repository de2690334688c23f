//! What groups are run by: the broker's settings, and what a group may have of its own.

use crate::live_settings::ASSIGNMENT_INTERVAL_MS;
use crate::metadata::{Image, Overrides, ResourceKind};

/// The broker's settings, under Kafka's names with `_` for `.` and without the word `group`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// Of this broker: what is set for it, or for all, while it runs wins.
    pub node_id: i32,
    /// group.coordinator.rebalance.protocols names `consumer`
    pub serves_consumer_protocol: bool,
    pub initial_rebalance_delay_ms: i32,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub max_size: i32,
    /// The first is used by members that name none.
    pub consumer_assignors: Vec<String>,
    pub consumer_assignment_interval_ms: i32,
    pub consumer_heartbeat_interval_ms: i32,
    pub consumer_session_timeout_ms: i32,
    pub consumer_max_size: i32,
    pub consumer_migration_policy: MigrationPolicy,
    pub consumer_regex_refresh_interval_ms: i32,
    /// offsets.retention.minutes, in ms
    pub offsets_retention_ms: i64,
    /// offsets.retention.check.interval.ms
    pub offsets_retention_check_interval_ms: i64,
    /// offset.metadata.max.bytes; Kafka compares it with characters
    pub offset_metadata_max: i32,
    pub consumer_bounds: Bounds,
}

/// Between these a group may choose for itself: group.consumer.{min,max}.*
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub assignment_interval_ms: (i32, i32),
    pub heartbeat_interval_ms: (i32, i32),
    pub session_timeout_ms: (i32, i32),
}

/// group.consumer.migration.policy
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    Disabled,
    Upgrade,
    Downgrade,
    Bidirectional,
}

impl MigrationPolicy {
    pub fn allows_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub fn allows_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// What holds for one consumer group: its own setting within the bounds, else the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerTimes {
    pub heartbeat_interval_ms: i32,
    pub session_timeout_ms: i32,
}

impl GroupSettings {
    /// A group's own settings are brought into the bounds, which may have changed since they were set.
    pub fn consumer_times(&self, group: &str, image: &Image) -> ConsumerTimes {
        let own = image.configs.of(ResourceKind::Group, group);
        let choose = |name: &str, bounds, broker| number(own, name, bounds).unwrap_or(broker);
        let bounds = &self.consumer_bounds;
        ConsumerTimes {
            heartbeat_interval_ms: choose(
                "consumer.heartbeat.interval.ms",
                bounds.heartbeat_interval_ms,
                self.consumer_heartbeat_interval_ms,
            ),
            session_timeout_ms: choose(
                "consumer.session.timeout.ms",
                bounds.session_timeout_ms,
                self.consumer_session_timeout_ms,
            ),
        }
    }

    /// How long a group waits between two assignments: as [`Self::consumer_times`], but the broker's may change while it
    /// runs.
    pub fn assignment_interval_ms(&self, group: &str, image: &Image) -> i32 {
        let bounds = self.consumer_bounds.assignment_interval_ms;
        let said = |kind, of: &str, name| number(image.configs.of(kind, of), name, bounds);
        said(ResourceKind::Group, group, "consumer.assignment.interval.ms")
            .or_else(|| said(ResourceKind::Broker, &self.node_id.to_string(), ASSIGNMENT_INTERVAL_MS))
            .or_else(|| said(ResourceKind::Broker, "", ASSIGNMENT_INTERVAL_MS))
            .unwrap_or(self.consumer_assignment_interval_ms)
    }
}

/// What was set, brought into the bounds.
fn number(set: Option<&Overrides>, name: &str, (low, high): (i32, i32)) -> Option<i32> {
    let number = set?.get(name)?.trim().parse::<i32>().ok()?;
    Some(number.max(low).min(high))
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            node_id: 1,
            serves_consumer_protocol: true,
            initial_rebalance_delay_ms: 3_000,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            max_size: i32::MAX,
            consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
            consumer_assignment_interval_ms: 1_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_session_timeout_ms: 45_000,
            consumer_max_size: i32::MAX,
            consumer_migration_policy: MigrationPolicy::Bidirectional,
            consumer_regex_refresh_interval_ms: 600_000,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_retention_check_interval_ms: 600_000,
            offset_metadata_max: 4_096,
            consumer_bounds: Bounds {
                assignment_interval_ms: (0, 15_000),
                heartbeat_interval_ms: (5_000, 15_000),
                session_timeout_ms: (45_000, 60_000),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::messages::ConfigRecord;

    use super::*;
    use crate::metadata::MetadataRecord;

    #[test]
    fn wait_between_assignments_is_the_nearest_that_was_said() {
        let settings =
            GroupSettings { node_id: 3, consumer_assignment_interval_ms: 700, ..Default::default() };
        let mut image = Image::new("c");
        let mut offset = 0;
        let mut say = |kind: ResourceKind, name: &str, key: &str, value: Option<&str>| {
            let record = ConfigRecord {
                resource_type: kind.code(),
                resource_name: name.to_owned(),
                name: key.to_owned(),
                value: value.map(str::to_owned),
            };
            image.apply(&MetadataRecord::Config(record), offset).unwrap();
            offset += 1;
            settings.assignment_interval_ms("g", &image)
        };
        let own = "consumer.assignment.interval.ms";
        assert_eq!(say(ResourceKind::Group, "other", own, Some("5")), 700);
        assert_eq!(say(ResourceKind::Broker, "", ASSIGNMENT_INTERVAL_MS, Some("600")), 600);
        assert_eq!(say(ResourceKind::Broker, "4", ASSIGNMENT_INTERVAL_MS, Some("5")), 600);
        assert_eq!(say(ResourceKind::Broker, "3", ASSIGNMENT_INTERVAL_MS, Some(" 500 ")), 500);
        assert_eq!(say(ResourceKind::Group, "g", own, Some("400")), 400);
        assert_eq!(say(ResourceKind::Group, "g", own, Some("400000")), 15_000, "within the bounds");
        assert_eq!(say(ResourceKind::Group, "g", own, None), 500);
        assert_eq!(say(ResourceKind::Broker, "3", ASSIGNMENT_INTERVAL_MS, None), 600);
        assert_eq!(say(ResourceKind::Broker, "", ASSIGNMENT_INTERVAL_MS, None), 700);
    }
}
