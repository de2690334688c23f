//! What a load of groups found, as its file has it, and the figures that every table of it shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client::group::Protocol;
use crate::machine::Busy;
use crate::number;
use crate::result::{BrokerCost, Percentiles, TargetFacts};

/// What was asked, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// The broker under load.
    pub(crate) target: TargetFacts,
    pub(crate) load: Kind,
    pub(crate) protocol: Protocol,
    pub(crate) groups: u32,
    /// Of each group.
    pub(crate) members: u32,
    pub(crate) partitions: u32,
    pub(crate) connections: usize,
    /// Of `rebalance`.
    #[serde(default)]
    pub(crate) leavers: Option<Leavers>,
    /// Why not everything asked for was measured; None if it was.
    pub(crate) why_incomplete: Option<String>,
    /// Until all groups had formed.
    pub(crate) forming_s: f64,
    /// Measured.
    pub(crate) seconds: f64,
    pub(crate) heartbeats: Option<Rate>,
    pub(crate) commits: Option<Rate>,
    /// Answers in the measured time that asked for another try, by their error.
    pub(crate) again: BTreeMap<String, u64>,
    pub(crate) rounds: Vec<Round>,
    pub(crate) generator: Own,
    pub(crate) all_cpus: Option<Busy>,
    pub(crate) broker: Option<Broker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Steady,
    Commits,
    Rebalance,
}

/// Who goes at once and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leavers {
    pub(crate) count: u32,
    /// They hang up instead of leaving.
    pub(crate) crash: bool,
    pub(crate) session_timeout_s: f64,
}

/// What came again and again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) count: u64,
    pub(crate) per_s: f64,
    pub(crate) latency: Percentiles,
    /// How late the generator itself was.
    pub(crate) lag: Option<Percentiles>,
}

/// A group's changes, from when the first member did something to when all had their partitions.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) formed_ms: f64,
    pub(crate) without_ms: f64,
    pub(crate) again_ms: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Own {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Broker {
    /// Before the first member came.
    pub(crate) resident_before_bytes: u64,
    /// `cpu_us_per_record` is for a heartbeat or a commit.
    #[serde(flatten)]
    pub(crate) cost: BrokerCost,
}

/// One figure of a load.
pub(crate) struct Quantity {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// As a column of a CSV file: the unit is in the name.
    pub(crate) column: &'static str,
    /// One for each round, or one, or none.
    pub(crate) of: fn(&Findings) -> Vec<f64>,
}

const fn quantity(
    name: &'static str,
    unit: &'static str,
    column: &'static str,
    of: fn(&Findings) -> Vec<f64>,
) -> Quantity {
    Quantity { name, unit, column, of }
}

/// In the order of the tables.
pub(crate) const QUANTITIES: &[Quantity] = &[
    quantity("all groups formed, members in a hurry", "s", "forming_s", |it| {
        one(Some(it.forming_s).filter(|s| it.load != Kind::Rebalance && *s > 0.0))
    }),
    quantity("heartbeats", "1/s", "heartbeats_per_s", |it| rate(&it.heartbeats, |it| it.per_s)),
    quantity("heartbeats, p50", "ms", "heartbeat_p50_ms", |it| ms(&it.heartbeats, |it| it.p50_us)),
    quantity("heartbeats, p99", "ms", "heartbeat_p99_ms", |it| ms(&it.heartbeats, |it| it.p99_us)),
    quantity("heartbeats, max", "ms", "heartbeat_max_ms", |it| ms(&it.heartbeats, |it| it.max_us)),
    quantity("heartbeats, the generator's own lag, p99", "ms", "generator_lag_p99_ms", |it| {
        one(it.lag_p99_us().map(|us| us / 1e3))
    }),
    quantity("commits", "1/s", "commits_per_s", |it| rate(&it.commits, |it| it.per_s)),
    quantity("commits, p50", "ms", "commit_p50_ms", |it| ms(&it.commits, |it| it.p50_us)),
    quantity("commits, p99", "ms", "commit_p99_ms", |it| ms(&it.commits, |it| it.p99_us)),
    quantity("commits, max", "ms", "commit_max_ms", |it| ms(&it.commits, |it| it.max_us)),
    quantity("formed", "ms", "formed_ms", |it| it.times(|round| round.formed_ms)),
    quantity("formed again without those who went", "ms", "formed_without_ms", |it| {
        it.times(|round| round.without_ms)
    }),
    quantity("formed again with them back", "ms", "formed_again_ms", |it| it.times(|round| round.again_ms)),
    quantity("broker CPU", "µs/heartbeat", "cpu_us_per_heartbeat", |it| it.cpu_us_each(Kind::Steady)),
    quantity("broker CPU", "µs/commit", "cpu_us_per_commit", |it| it.cpu_us_each(Kind::Commits)),
    quantity("broker CPU", "% of one", "broker_cpu_percent", |it| {
        one(it.broker.as_ref().and_then(|broker| it.percent(broker.cost.user_s + broker.cost.system_s)))
    }),
    quantity("broker memory before", "MiB", "resident_before_mib", |it| it.mib(|it| Some(it.before()))),
    quantity("broker memory after", "MiB", "resident_after_mib", |it| it.mib(Broker::after)),
    quantity("broker memory, growth", "MiB", "resident_growth_mib", |it| it.mib(Broker::growth)),
    quantity("broker memory, growth", "KiB/member", "resident_growth_kib_per_member", |it| {
        let members = f64::from(it.groups) * f64::from(it.members);
        let broker = it.broker.as_ref().filter(|_| it.load != Kind::Rebalance && members > 0.0);
        one(broker.and_then(Broker::growth).map(|bytes| bytes / KIB / members))
    }),
    quantity("generator CPU", "% of one", "generator_cpu_percent", |it| {
        // Of what changes groups it is not counted.
        one(it.percent(it.generator.user_s + it.generator.system_s).filter(|share| *share > 0.0))
    }),
    quantity("all CPUs busy", "%", "all_cpus_busy_percent", |it| one(it.all_cpus.map(|it| it.busy * 100.0))),
    quantity("CPU time stolen", "%", "all_cpus_stolen_percent", |it| {
        one(it.all_cpus.map(|it| it.steal * 100.0))
    }),
];

const KIB: f64 = 1024.0;
const MIB: f64 = 1_048_576.0;

fn one(value: Option<f64>) -> Vec<f64> {
    value.into_iter().collect()
}

fn rate(rate: &Option<Rate>, of: fn(&Rate) -> f64) -> Vec<f64> {
    one(rate.as_ref().map(of))
}

fn ms(rate: &Option<Rate>, of: fn(&Percentiles) -> f64) -> Vec<f64> {
    one(rate.as_ref().filter(|rate| rate.latency.count > 0).map(|rate| of(&rate.latency) / 1e3))
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Commits => "commits",
            Self::Rebalance => "rebalance",
        }
    }
}

impl Findings {
    /// The load in a few words.
    pub(crate) fn asked(&self) -> String {
        let protocol = self.protocol.name();
        let connections = u32::try_from(self.connections).unwrap_or(u32::MAX);
        let mut asked = format!(
            "{} of {}, protocol {protocol}, {}, {}",
            number::of(self.groups, "group"),
            number::of(self.members, "member"),
            number::of(self.partitions, "partition"),
            number::of(connections, "connection")
        );
        if let Some(Leavers { count, crash, session_timeout_s }) = self.leavers {
            let how = if crash { "hang up" } else { "leave" };
            asked += &format!("; {count} of them {how} at once, sessions of {session_timeout_s} s");
        }
        asked
    }

    /// Whether another broker had to do the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let work = |it: &Self| {
            let shape = (it.groups, it.members, it.partitions, it.connections);
            (it.load, it.protocol, shape, it.leavers)
        };
        work(self) == work(other)
    }

    pub(crate) fn lag_p99_us(&self) -> Option<f64> {
        self.heartbeats.as_ref()?.lag.as_ref().filter(|lag| lag.count > 0).map(|lag| lag.p99_us)
    }

    fn times(&self, of: fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(of).collect()
    }

    fn cpu_us_each(&self, load: Kind) -> Vec<f64> {
        let broker = self.broker.as_ref().filter(|_| self.load == load);
        one(broker.map(|broker| broker.cost.cpu_us_per_record))
    }

    /// Of one CPU, over the measured time.
    fn percent(&self, cpu_s: f64) -> Option<f64> {
        (self.seconds > 0.0).then(|| cpu_s / self.seconds * 100.0)
    }

    fn mib(&self, of: fn(&Broker) -> Option<f64>) -> Vec<f64> {
        one(self.broker.as_ref().and_then(of).map(|bytes| bytes / MIB))
    }
}

/// In bytes.
impl Broker {
    fn before(&self) -> f64 {
        self.resident_before_bytes as f64
    }

    /// None of a process that had ended: it has no memory, which is not little.
    fn after(&self) -> Option<f64> {
        Some(self.cost.resident_bytes as f64).filter(|bytes| *bytes > 0.0)
    }

    fn growth(&self) -> Option<f64> {
        self.after().map(|after| after - self.before())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_has_ended_did_not_shrink() {
        let cost = BrokerCost { resident_bytes: 30, ..BrokerCost::default() };
        let mut broker = Broker { resident_before_bytes: 10, cost };
        assert_eq!((broker.before(), broker.after(), broker.growth()), (10.0, Some(30.0), Some(20.0)));
        broker.cost.resident_bytes = 0;
        assert_eq!((broker.after(), broker.growth()), (None, None));
    }
}
