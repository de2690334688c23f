//! A topic's settings as values, for those who act on them.

use super::configs::Layers;
use crate::setting::Value;
use crate::topic_settings::{self, TopicSetting};

/// Every setting that holds for a topic. Names are Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub segment_bytes: i32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: i32,
    pub flush_messages: i64,
    pub flush_ms: i64,
    /// -1: no limit.
    pub retention_bytes: i64,
    /// -1: no limit.
    pub retention_ms: i64,
    pub max_message_bytes: i32,
    pub index_interval_bytes: i32,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub file_delete_delay_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    /// Neither this nor the next: kept for ever.
    pub cleanup_delete: bool,
    pub cleanup_compact: bool,
    pub unclean_leader_election_enable: bool,
    pub min_insync_replicas: i32,
    pub compression_type: CompressionType,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub preallocate: bool,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
}

/// The codec of stored batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// Whatever the producer chose.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

impl TopicConfig {
    pub fn resolve(layers: &Layers<'_>) -> Self {
        let read = Read(layers);
        let cleanup = read.value("cleanup.policy");
        let cleanup_has =
            |policy: &str| cleanup.as_list().is_some_and(|list| list.iter().any(|one| one == policy));
        Self {
            segment_bytes: read.int_if_set("internal.segment.bytes").unwrap_or(read.int("segment.bytes")),
            segment_ms: read.long("segment.ms"),
            segment_jitter_ms: read.long("segment.jitter.ms"),
            segment_index_bytes: read.int("segment.index.bytes"),
            flush_messages: read.long("flush.messages"),
            flush_ms: read.long("flush.ms"),
            retention_bytes: read.long("retention.bytes"),
            retention_ms: read.long("retention.ms"),
            max_message_bytes: read.int("max.message.bytes"),
            index_interval_bytes: read.int("index.interval.bytes"),
            delete_retention_ms: read.long("delete.retention.ms"),
            min_compaction_lag_ms: read.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: read.long("max.compaction.lag.ms"),
            file_delete_delay_ms: read.long("file.delete.delay.ms"),
            min_cleanable_dirty_ratio: read.double("min.cleanable.dirty.ratio"),
            cleanup_delete: cleanup_has("delete"),
            cleanup_compact: cleanup_has("compact"),
            unclean_leader_election_enable: read.boolean("unclean.leader.election.enable"),
            min_insync_replicas: read.int("min.insync.replicas"),
            compression_type: read.compression_type(),
            compression_gzip_level: read.int("compression.gzip.level"),
            compression_lz4_level: read.int("compression.lz4.level"),
            compression_zstd_level: read.int("compression.zstd.level"),
            preallocate: read.boolean("preallocate"),
            message_timestamp_type: read.timestamp_type(),
            message_timestamp_before_max_ms: read.long("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: read.long("message.timestamp.after.max.ms"),
        }
    }
}

/// Values of the right type, because texts are checked before they are recorded. One that a later version wrote and this
/// one cannot read counts as not set.
struct Read<'a>(&'a Layers<'a>);

impl Read<'_> {
    fn value(&self, name: &str) -> Value {
        self.value_if_set(name).expect("every setting but an internal one has a default")
    }

    fn value_if_set(&self, name: &str) -> Option<Value> {
        let topic: &TopicSetting = topic_settings::find(name).expect("named in the table of topic settings");
        let set = self.0.resolve(topic).0.and_then(|text| topic.setting.parse(&text).ok());
        set.or_else(|| topic.setting.default_value())
    }

    fn long(&self, name: &str) -> i64 {
        self.value(name).as_i64().expect("a whole number in the table")
    }

    fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("an int in the table")
    }

    fn int_if_set(&self, name: &str) -> Option<i32> {
        let value = self.value_if_set(name)?.as_i64().expect("a whole number in the table");
        Some(i32::try_from(value).expect("an int in the table"))
    }

    fn double(&self, name: &str) -> f64 {
        self.value(name).as_f64().expect("a double in the table")
    }

    fn boolean(&self, name: &str) -> bool {
        self.value(name).as_bool().expect("a boolean in the table")
    }

    fn compression_type(&self) -> CompressionType {
        match self.value("compression.type").as_text() {
            Some("uncompressed") => CompressionType::Uncompressed,
            Some("gzip") => CompressionType::Gzip,
            Some("snappy") => CompressionType::Snappy,
            Some("lz4") => CompressionType::Lz4,
            Some("zstd") => CompressionType::Zstd,
            _ => CompressionType::Producer,
        }
    }

    fn timestamp_type(&self) -> TimestampType {
        match self.value("message.timestamp.type").as_text() {
            Some("LogAppendTime") => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::configs::{Overrides, Source};

    #[test]
    fn nearest_layer_wins_and_units_are_converted() {
        let topic = Overrides::from_iter([("retention.ms", "1000"), ("cleanup.policy", "compact, delete")]);
        let all = Overrides::from_iter([("log.segment.bytes", "2097152"), ("min.insync.replicas", "2")]);
        let statics = Overrides::from_iter([("log.segment.bytes", "4194304"), ("log.roll.hours", "2")]);
        let layers = Layers {
            own: Some(&topic),
            own_source: Source::Topic,
            broker: None,
            all_brokers: Some(&all),
            statics: &statics,
        };
        let config = TopicConfig::resolve(&layers);
        assert_eq!(config.retention_ms, 1000);
        assert!(config.cleanup_compact && config.cleanup_delete);
        assert_eq!(config.segment_bytes, 2_097_152);
        assert_eq!(config.min_insync_replicas, 2);
        assert_eq!(config.segment_ms, 2 * 3_600_000);
        assert_eq!(config.flush_ms, i64::MAX);
        assert_eq!(config.compression_type, CompressionType::Producer);
        assert_eq!(config.message_timestamp_type, TimestampType::CreateTime);
    }

    #[test]
    fn unlimited_hours_mean_no_limit_and_small_internal_segments_win() {
        let topic = Overrides::from_iter([("internal.segment.bytes", "100")]);
        let statics = Overrides::from_iter([("log.retention.hours", "-1")]);
        let layers = Layers {
            own: Some(&topic),
            own_source: Source::Topic,
            broker: None,
            all_brokers: None,
            statics: &statics,
        };
        let config = TopicConfig::resolve(&layers);
        assert_eq!((config.retention_ms, config.segment_bytes), (-1, 100));
    }

    #[test]
    fn described_as_kafka_describes_it() {
        let topic =
            Overrides::from_iter([("retention.ms", " 1000000"), ("min.cleanable.dirty.ratio", "1e-1")]);
        let all = Overrides::from_iter([("log.retention.ms", "2000000"), ("min.insync.replicas", "1")]);
        let statics = Overrides::default();
        let layers = Layers {
            own: Some(&topic),
            own_source: Source::Topic,
            broker: None,
            all_brokers: Some(&all),
            statics: &statics,
        };
        let lines = layers.describe_topic();
        assert_eq!(lines.len(), 33);
        let shown = |name: &str| {
            let line = lines.iter().find(|line| line.name == name).unwrap();
            let synonyms: Vec<String> = line
                .synonyms
                .iter()
                .map(|one| {
                    format!("{}:{}={}", one.source.code(), one.name, one.value.as_deref().unwrap_or("null"))
                })
                .collect();
            (line.value.clone().unwrap(), line.source, synonyms.join(" "))
        };
        let is = |value: &str, source, synonyms: &str| (value.to_owned(), source, synonyms.to_owned());
        let retention = "1:retention.ms=1000000 3:log.retention.ms=2000000 5:log.retention.hours=168";
        assert_eq!(shown("retention.ms"), is("1000000", Source::Topic, retention));
        let insync = "3:min.insync.replicas=1 5:min.insync.replicas=1";
        assert_eq!(shown("min.insync.replicas"), is("1", Source::DynamicDefault, insync));
        assert_eq!(shown("segment.ms"), is("604800000", Source::Default, ""));
        let ratio = "1:min.cleanable.dirty.ratio=0.1 5:log.cleaner.min.cleanable.ratio=0.5";
        assert_eq!(shown("min.cleanable.dirty.ratio"), is("0.1", Source::Topic, ratio));
    }
}
