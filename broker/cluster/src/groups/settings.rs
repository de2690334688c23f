//! What groups are run by: the broker's settings, and what a group may have of its own.

use crate::metadata::{Image, ResourceKind};

/// The broker's settings, under Kafka's names with `_` for `.` and without the word `group`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
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
    pub assignment_interval_ms: i32,
    pub heartbeat_interval_ms: i32,
    pub session_timeout_ms: i32,
}

impl GroupSettings {
    /// A group's own settings are brought into the bounds, which may have changed since they were set.
    pub fn consumer_times(&self, group: &str, image: &Image) -> ConsumerTimes {
        let own = image.configs.of(ResourceKind::Group, group);
        let choose = |name: &str, (low, high): (i32, i32), broker: i32| {
            let own = own.and_then(|set| set.get(name)).and_then(|text| text.trim().parse::<i32>().ok());
            own.map_or(broker, |own| own.max(low).min(high))
        };
        let bounds = &self.consumer_bounds;
        ConsumerTimes {
            assignment_interval_ms: choose(
                "consumer.assignment.interval.ms",
                bounds.assignment_interval_ms,
                self.consumer_assignment_interval_ms,
            ),
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
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
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
