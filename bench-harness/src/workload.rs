//! What is asked of a broker: a workload as its TOML file says it.
//!
//! The fields are the file's keys. What is left out has the default named here; an unknown key is refused.

pub(crate) mod check;
pub(crate) mod file;
pub(crate) mod list;

use serde::{Deserialize, Serialize};

use crate::client::group::Protocol;
pub(crate) use file::load;

/// One workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) about: String,
    /// What is measured lasts so long, after the warm-up.
    #[serde(default = "seconds_30")]
    pub(crate) duration_s: f64,
    #[serde(default = "seconds_5")]
    pub(crate) warm_up_s: f64,
    /// Of arrivals, keys and contents.
    #[serde(default)]
    pub(crate) seed: u64,
    pub(crate) topics: Topics,
    pub(crate) records: Records,
    pub(crate) produce: Produce,
    #[serde(default)]
    pub(crate) consume: Consume,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Topics {
    pub(crate) count: u32,
    pub(crate) partitions: u32,
    pub(crate) replication_factor: i16,
    /// Topic settings by Kafka's names.
    pub(crate) config: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Records {
    /// Of a record's value. At least what accounting for each record needs.
    pub(crate) bytes: u32,
    pub(crate) keys: Keys,
    /// The share of a value that a codec finds nothing to save in, 0 to 1.
    pub(crate) randomness: f64,
}

/// Which keys records have, and so which partition they go to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Keys {
    /// No keys: partitions in turn.
    None,
    /// All keys as often; partitioned as the Java client does.
    Uniform { count: u64 },
    /// The n-th most frequent key comes 1/n^exponent as often as the first.
    Zipf { count: u64, exponent: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Produce {
    pub(crate) producers: u32,
    pub(crate) arrivals: Arrivals,
    /// Records a second over all producers; none if `arrivals` has no rate.
    pub(crate) rate: Option<f64>,
    /// None: the rate is even.
    pub(crate) burst: Option<Burst>,
    /// -1 is all.
    pub(crate) acks: i16,
    pub(crate) idempotent: bool,
    pub(crate) codec: String,
    pub(crate) linger_ms: f64,
    pub(crate) batch_bytes: u32,
    /// Requests of one connection that are not answered yet.
    pub(crate) in_flight: u32,
}

/// A rate that comes and goes: what is due in `every_s` seconds comes in the first `lasts_s` of them. The rate stays
/// the mean over all time, so that an instant of the even schedule, `t`, becomes
/// `floor(t / every) * every + (t mod every) * lasts / every`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Burst {
    pub(crate) every_s: f64,
    pub(crate) lasts_s: f64,
}

/// When records are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arrivals {
    /// At equal distances, whatever the broker does (open loop).
    Fixed,
    /// At random with the rate as the mean, whatever the broker does (open loop).
    Poisson,
    /// The next when the one before it is acknowledged: latency of a lone caller, not of a service.
    Closed,
    /// As fast as they are taken: throughput; latency then says how deep the queues are.
    Max,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Consume {
    /// Each reads all partitions if not in a group; 0 for a workload that only writes.
    pub(crate) consumers: u32,
    /// How consumers share the partitions. None: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<Protocol>,
    /// Consumers are members of so many groups, in turns; each group reads everything.
    pub(crate) groups: u32,
    pub(crate) commit_interval_ms: f64,
    pub(crate) from: From,
    /// Written before consumers begin and before anything is measured, as fast as they are taken: what a consumer from
    /// the beginning has to catch up with. They are accounted for, but have no latency.
    pub(crate) backlog_records: u64,
    pub(crate) min_bytes: i32,
    pub(crate) max_wait_ms: i32,
}

/// Where consumers begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    /// With what comes from now on.
    End,
    /// With all there is: cold reads beside the load.
    Beginning,
}

impl Default for Topics {
    fn default() -> Self {
        Self { count: 1, partitions: 1, replication_factor: 1, config: Default::default() }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self { bytes: 1024, keys: Keys::None, randomness: 1.0 }
    }
}

impl Default for Produce {
    fn default() -> Self {
        Self {
            producers: 1,
            arrivals: Arrivals::Fixed,
            rate: None,
            burst: None,
            acks: -1,
            idempotent: false,
            codec: "none".into(),
            linger_ms: 0.0,
            batch_bytes: 1 << 20,
            in_flight: 5,
        }
    }
}

impl Default for Consume {
    fn default() -> Self {
        Self {
            consumers: 1,
            group: None,
            groups: 1,
            commit_interval_ms: 5_000.0,
            from: From::End,
            backlog_records: 0,
            min_bytes: 1,
            max_wait_ms: 500,
        }
    }
}

fn seconds_30() -> f64 {
    30.0
}

fn seconds_5() -> f64 {
    5.0
}

#[cfg(test)]
mod tests;
