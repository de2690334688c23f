//! What of a topic's and the broker's settings a log acts on.

/// When an append counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once the device has it on stable storage.
    #[default]
    Synced,
    /// Once the device has it. A power cut may take what [`crate::log::Log::sync`] did not cover.
    Written,
}

/// What of a topic's settings a log acts on, under Kafka's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    /// `cleanup.policy` contains `compact`: offsets may be missing between batches.
    pub is_compacted: bool,
    pub durability: Durability,
    pub producer_expiry_ms: i64,
    /// How long files of a removed segment stay under another name.
    pub file_delete_delay_ms: i64,
    /// What is appended stays in memory for readers, as long as the cache has room.
    pub keeps_tail: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            is_compacted: false,
            durability: Durability::Synced,
            producer_expiry_ms: 24 * 3_600_000,
            file_delete_delay_ms: 60_000,
            keeps_tail: true,
        }
    }
}
