//! What a run found: the result file, one JSON document a run. Units are in the names.
//!
//! A reader takes documents of its own `format` and refuses others; a new field that may be missing is no new
//! format.

use serde::{Deserialize, Serialize};

use crate::workload::Workload;

pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    pub format: u32,
    /// The harness's own version.
    pub harness: String,
    pub command: Vec<String>,
    /// Wall clock, UTC.
    pub began_ms: i64,
    pub outcome: Outcome,
    pub target: TargetFacts,
    pub workload: Workload,
    pub machine: serde_json::Value,
    pub records: Accounts,
    /// None if records were lost: what was not delivered has no latency.
    pub latency: Option<Latencies>,
    pub seconds: Vec<Second>,
    pub generator: Generator,
    /// None if the broker's process is not on this machine or not known.
    pub broker: Option<BrokerCost>,
}

/// Whether the figures may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    Valid,
    /// The generator fell behind its own schedule, or the like.
    Invalid { why: String },
    /// It ended early; what there is was kept.
    Incomplete { why: String },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    pub name: String,
    pub bootstrap: String,
    #[serde(default)]
    pub version: Option<String>,
    /// `every-ack`, `os`, or unknown.
    #[serde(default)]
    pub fsync: Option<String>,
    #[serde(default)]
    pub pid: Option<u32>,
    /// From the start of its process to its first answer.
    #[serde(default)]
    pub start_up_us: Option<u64>,
    /// What it may use of the machine.
    #[serde(default)]
    pub limits: Vec<Limit>,
}

/// One limit, as asked for, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// `cpus`, `memory`, `open-files`.
    pub of: String,
    pub asked: String,
    /// How it is enforced; None if it is not.
    pub applied: Option<String>,
}

/// Each record is accounted for: counts are of the whole run, warm-up and backlog included, and so that
/// `sent = acked + failed`. What is divided by measured time is counted apart, by when it happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accounts {
    pub sent: u64,
    pub acked: u64,
    /// Refused or timed out for good.
    pub failed: u64,
    /// First deliveries, by all consumers.
    pub delivered: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    /// Over the measured time, warm-up not counted.
    pub acked_per_s: f64,
    pub acked_mib_per_s: f64,
    pub delivered_per_s: f64,
    /// Acknowledged within the measured time.
    #[serde(default)]
    pub measured_acked: u64,
    /// Of keys and values acknowledged within the measured time.
    #[serde(default)]
    pub measured_acked_bytes: u64,
    /// First deliveries within the measured time.
    #[serde(default)]
    pub measured_delivered: u64,
    /// Where something went wrong.
    #[serde(default)]
    pub by_partition: Vec<PartitionAccounts>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionAccounts {
    pub topic: String,
    pub partition: i32,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
}

/// Counted from when a record should have been sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    pub ack: Percentiles,
    /// None without consumers.
    pub end_to_end: Option<Percentiles>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub p99_99_us: f64,
    pub max_us: f64,
    /// All of it: an HdrHistogram in nanoseconds, V2 deflated, base64, as in a line of an .hlog file.
    pub histogram: String,
}

/// One second of the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    pub at_s: f64,
    pub sent: u64,
    pub acked: u64,
    pub delivered: u64,
    pub ack_p50_us: f64,
    pub ack_p99_us: f64,
    pub ack_max_us: f64,
    pub end_to_end_p50_us: f64,
    pub end_to_end_p99_us: f64,
    pub end_to_end_max_us: f64,
    /// How late the generator itself was, at worst.
    pub lag_max_us: f64,
}

/// What the load cost its generator, and how well it kept its schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    pub client: String,
    pub threads: u32,
    pub user_s: f64,
    pub system_s: f64,
    pub records_per_cpu_s: f64,
    /// From when a record should have been handed to the client to when it was.
    pub lag: Option<Percentiles>,
}

/// What the load cost the broker's process, from /proc, over the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerCost {
    pub user_s: f64,
    pub system_s: f64,
    pub cpu_us_per_record: f64,
    pub cpu_s_per_gib: f64,
    pub context_switches: u64,
    pub resident_bytes: u64,
    pub peak_resident_bytes: u64,
    /// Handed to the device by the process; None where the kernel does not say.
    pub device_written_bytes: Option<u64>,
    /// `device_written_bytes` for each byte acknowledged.
    pub write_amplification: Option<f64>,
    /// What the disk under the data directory was given from before the load until all of it was synced, warm-up
    /// included, by whomever: with the file system's journal, without what was never written back.
    #[serde(default)]
    pub disk_written_bytes: Option<u64>,
    /// `disk_written_bytes` for each byte acknowledged in that time.
    #[serde(default)]
    pub disk_write_amplification: Option<f64>,
}
