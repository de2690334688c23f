//! What of a topic's settings its partitions act on.

use cluster::controller::is_internal_topic;
use cluster::metadata::{CompressionType, Image, TimestampType, TopicConfig};
use protocol::records::compression::Codec;
use protocol::records::produced::Rules;
use storage::log::LogConfig;
use storage::retention::Limits;

use super::home::Home;
use crate::config::Config;

/// A batch of good records unpacks to far less than this many times the largest batch allowed.
const UNPACK_FACTOR: usize = 64;

/// A topic's settings as its partitions use them; replaced as a whole when one changes.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    pub(crate) config: TopicConfig,
    /// Internal topics are read when the broker starts, not as they grow: their tails would only be in the way of others'.
    is_internal: bool,
    /// What a produced batch is held against.
    pub(crate) rules: Rules,
}

impl TopicSettings {
    pub(crate) fn of(image: &Image, config: &Config, topic: &str) -> Self {
        let config = image.topic_config(topic, config.node_id, &config.statics);
        let rules = rules(&config);
        Self { config, is_internal: is_internal_topic(topic), rules }
    }

    pub(crate) fn log_config(&self, home: &Home) -> LogConfig {
        LogConfig {
            segment_bytes: self.config.segment_bytes as u32,
            segment_ms: self.segment_ms(),
            segment_jitter_ms: self.config.segment_jitter_ms,
            segment_index_bytes: self.config.segment_index_bytes as u32,
            index_interval_bytes: self.config.index_interval_bytes as u32,
            is_compacted: self.config.cleanup_compact,
            durability: home.durability,
            producer_expiry_ms: home.producer_expiry_ms,
            file_delete_delay_ms: self.config.file_delete_delay_ms,
            keeps_tail: !self.is_internal,
        }
    }

    /// Kafka: the last segment is never compacted, so it must not last longer than a record may wait for it.
    fn segment_ms(&self) -> i64 {
        let TopicConfig { segment_ms, max_compaction_lag_ms, cleanup_compact, .. } = self.config;
        if cleanup_compact && max_compaction_lag_ms > 0 {
            segment_ms.min(max_compaction_lag_ms)
        } else {
            segment_ms
        }
    }

    /// How much of a log is kept.
    pub(crate) fn limits(&self) -> Limits {
        if !self.config.cleanup_delete {
            return Limits::default();
        }
        // Kafka: what is negative is no limit.
        Limits {
            ms: Some(self.config.retention_ms).filter(|ms| *ms >= 0),
            bytes: u64::try_from(self.config.retention_bytes).ok(),
        }
    }
}

fn rules(config: &TopicConfig) -> Rules {
    let (codec, level) = match config.compression_type {
        CompressionType::Producer => (None, None),
        CompressionType::Uncompressed => (Some(Codec::None), None),
        CompressionType::Gzip => (Some(Codec::Gzip), Some(config.compression_gzip_level)),
        CompressionType::Snappy => (Some(Codec::Snappy), None),
        CompressionType::Lz4 => (Some(Codec::Lz4), Some(config.compression_lz4_level)),
        CompressionType::Zstd => (Some(Codec::Zstd), Some(config.compression_zstd_level)),
    };
    let message_bytes_max = config.max_message_bytes.max(0) as usize;
    Rules {
        log_append_time: config.message_timestamp_type == TimestampType::LogAppendTime,
        compacted: config.cleanup_compact,
        message_bytes_max,
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        codec,
        level,
        unpacked_bytes_max: message_bytes_max.saturating_mul(UNPACK_FACTOR),
    }
}
