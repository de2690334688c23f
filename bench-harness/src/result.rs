//! What a run found: the result file, one JSON document a run. Units are in the names.
//!
//! A reader takes documents of its own `format` and refuses others; a new field that may be missing is no new
//! format.

use serde::{Deserialize, Serialize};

use crate::machine::Busy;
use crate::workload::Workload;

pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunResult {
    pub(crate) format: u32,
    /// The harness's own version.
    pub(crate) harness: String,
    pub(crate) command: Vec<String>,
    /// Wall clock, UTC.
    pub(crate) began_ms: i64,
    pub(crate) outcome: Outcome,
    pub(crate) target: TargetFacts,
    pub(crate) workload: Workload,
    pub(crate) machine: serde_json::Value,
    pub(crate) records: Accounts,
    /// None if records were lost: what was not delivered has no latency.
    pub(crate) latency: Option<Latencies>,
    pub(crate) seconds: Vec<Second>,
    pub(crate) generator: Generator,
    /// What all CPUs of the generator's machine did over the measured time. None where the kernel does not say.
    #[serde(default)]
    pub(crate) all_cpus: Option<Busy>,
    /// None if the broker's process is not on this machine or not known.
    pub(crate) broker: Option<BrokerCost>,
}

/// Whether the figures may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Valid,
    /// The generator fell behind its own schedule, or the like.
    Invalid {
        why: String,
    },
    /// It ended early; what there is was kept.
    Incomplete {
        why: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetFacts {
    pub(crate) name: String,
    pub(crate) bootstrap: String,
    #[serde(default)]
    pub(crate) version: Option<String>,
    /// `every-ack`, `os`, or unknown.
    #[serde(default)]
    pub(crate) fsync: Option<String>,
    #[serde(default)]
    pub(crate) pid: Option<u32>,
    /// From the start of its process to its first answer.
    #[serde(default)]
    pub(crate) start_up_us: Option<u64>,
    /// What it may use of the machine.
    #[serde(default)]
    pub(crate) limits: Vec<Limit>,
}

impl TargetFacts {
    /// In enough words that two of the same name differ.
    pub(crate) fn title(&self) -> String {
        let version = self.version.as_deref().map(|it| format!(" {it}")).unwrap_or_default();
        let fsync = self.fsync.as_deref().unwrap_or("unknown");
        format!("{}{version}, fsync: {fsync}", self.name())
    }

    /// By its address, if nobody gave it a name.
    pub(crate) fn name(&self) -> &str {
        if self.name.is_empty() { &self.bootstrap } else { &self.name }
    }
}

/// One limit, as asked for, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// `cpus`, `memory`, `open-files`.
    pub(crate) of: String,
    pub(crate) asked: String,
    /// How it is enforced; None if it is not.
    pub(crate) applied: Option<String>,
}

/// Each record is accounted for: counts are of the whole run, warm-up and backlog included, and so that
/// `sent = acked + failed`. What is divided by measured time is counted apart, by when it happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accounts {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    /// Refused or timed out for good.
    pub(crate) failed: u64,
    /// Sent more than once: the answer was an error that passes, or none.
    #[serde(default)]
    pub(crate) retried: u64,
    /// First deliveries, by all consumers.
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
    /// Over the measured time, warm-up not counted.
    pub(crate) acked_per_s: f64,
    pub(crate) acked_mib_per_s: f64,
    pub(crate) delivered_per_s: f64,
    /// Acknowledged within the measured time.
    #[serde(default)]
    pub(crate) measured_acked: u64,
    /// Of keys and values acknowledged within the measured time.
    #[serde(default)]
    pub(crate) measured_acked_bytes: u64,
    /// First deliveries within the measured time.
    #[serde(default)]
    pub(crate) measured_delivered: u64,
    /// Where something went wrong.
    #[serde(default)]
    pub(crate) by_partition: Vec<PartitionAccounts>,
}

impl RunResult {
    /// Why records may have come out of order, if that is known: without idempotence a record that has to be sent again comes
    /// after those that were under way with it. Kafka's own producer does the same.
    pub(crate) fn why_reordered(&self) -> &'static str {
        let produce = &self.workload.produce;
        let may_overtake = !produce.idempotent && produce.in_flight > 1 && self.records.retried > 0;
        if self.records.reordered > 0 && may_overtake {
            " (sent again, after those that were under way with them: what producers do that are not idempotent)"
        } else {
            ""
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionAccounts {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
}

/// Counted from when a record should have been sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) ack: Percentiles,
    /// None without consumers.
    pub(crate) end_to_end: Option<Percentiles>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) min_us: f64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) p99_99_us: f64,
    pub(crate) max_us: f64,
    /// All of it: an HdrHistogram in nanoseconds, V2 deflated, base64, as in a line of an .hlog file.
    pub(crate) histogram: String,
}

/// One second of the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    pub(crate) at_s: f64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) ack_p50_us: f64,
    pub(crate) ack_p99_us: f64,
    pub(crate) ack_max_us: f64,
    pub(crate) end_to_end_p50_us: f64,
    pub(crate) end_to_end_p99_us: f64,
    pub(crate) end_to_end_max_us: f64,
    /// How late the generator itself was, at worst.
    pub(crate) lag_max_us: f64,
}

/// What the load cost its generator, and how well it kept its schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    pub(crate) client: String,
    pub(crate) threads: u32,
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    pub(crate) records_per_cpu_s: f64,
    /// From when a record should have been handed to the client to when it was.
    pub(crate) lag: Option<Percentiles>,
    /// So long at most may consumers have kept a record waiting: until they asked for it, and until they took it in.
    #[serde(default)]
    pub(crate) reading_lag: Option<Percentiles>,
    /// Seconds of the measured time in which consumers had no time left, and left records behind at the broker.
    #[serde(default)]
    pub(crate) overrun_s: u64,
    /// Of producing threads that keep a schedule: they go before the broker on a CPU that both want, where they may.
    #[serde(default)]
    pub(crate) nice: i32,
}

/// What the load cost the broker's process, from /proc, over the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BrokerCost {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    pub(crate) cpu_us_per_record: f64,
    pub(crate) cpu_s_per_gib: f64,
    pub(crate) context_switches: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) peak_resident_bytes: u64,
    /// Handed to the device by the process; None where the kernel does not say.
    pub(crate) device_written_bytes: Option<u64>,
    /// `device_written_bytes` for each byte acknowledged.
    pub(crate) write_amplification: Option<f64>,
    /// What the disk under the data directory was given from before the load until all of it was synced, warm-up
    /// included, by whomever: with the file system's journal, without what was never written back.
    #[serde(default)]
    pub(crate) disk_written_bytes: Option<u64>,
    /// `disk_written_bytes` for each byte acknowledged in that time.
    #[serde(default)]
    pub(crate) disk_write_amplification: Option<f64>,
}
