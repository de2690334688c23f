//! What may be believed of a run, and the document that says so.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::tally::{Counts, Interval, Measured};
use super::{Client, Options};
use crate::accounts::Verdict;
use crate::clock::{self, CpuTime, NS_PER_MS};
use crate::latency::{self, Histogram};
use crate::machine::Busy;
use crate::result::{Accounts, FORMAT, Generator, Latencies, Outcome, PartitionAccounts, RunResult, Second};

/// A generator later than this is not believed, unless the broker was later by far.
const LAG_P99_MAX_NS: u64 = NS_PER_MS as u64;
/// One late moment is one of the machine's, up to this.
const LAG_MAX_NS: u64 = 100 * NS_PER_MS as u64;
/// So much of a latency may be the generator's own.
const OWN_SHARE: u64 = 10;

/// All that is known when a run is over.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) began_ms: i64,
    pub(super) measured_ns: i64,
    pub(super) totals: Counts,
    pub(super) measured: Measured,
    /// Refused, or nobody knows, or not even sent.
    pub(super) failed: u64,
    /// Of those, what the generator itself did not come to.
    pub(super) unsent: u64,
    pub(super) retried: u64,
    /// Of threads that produce.
    pub(super) nice: i32,
    pub(super) refusal: Option<String>,
    pub(super) incomplete: Option<String>,
    /// Consumers came to the end of every partition.
    pub(super) is_read: bool,
    /// Partitions, counted for each consumer, of which something was deleted on purpose before it was read.
    pub(super) overtaken: usize,
    pub(super) verdicts: BTreeMap<u32, Verdict>,
    pub(super) total: Interval,
    pub(super) seconds: Vec<Second>,
    /// Seconds that readers could not cope with.
    pub(super) overrun_s: u64,
    pub(super) cpu: CpuTime,
    pub(super) all_cpus: Option<Busy>,
}

pub(super) fn result(plan: &Plan, options: &Options, findings: Findings) -> RunResult {
    let records = accounts(plan, &findings);
    let outcome = judge(plan, &findings, &records);
    let has_latency = records.lost == 0 && records.corrupted == 0;
    let consumes = plan.workload.consume.consumers > 0;
    let latency = has_latency.then(|| Latencies {
        ack: latency::percentiles(&findings.total.ack),
        end_to_end: consumes.then(|| latency::percentiles(&findings.total.end_to_end)),
    });
    let is_scheduled = plan.workload.produce.rate.is_some();
    let handled = findings.measured.acked + findings.measured.delivered;
    let cpu = findings.cpu;
    let mut target = options.target.clone();
    target.bootstrap.clone_from(&plan.bootstrap);
    RunResult {
        format: FORMAT,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        command: options.command.clone(),
        began_ms: findings.began_ms,
        outcome,
        target,
        workload: plan.workload.clone(),
        machine: serde_json::Value::Null,
        records,
        latency,
        seconds: findings.seconds,
        generator: Generator {
            client: client_name(plan.client),
            threads: plan.sender_threads + plan.reader_threads,
            user_s: cpu.user_s,
            system_s: cpu.system_s,
            records_per_cpu_s: if cpu.total_s() > 0.0 { handled as f64 / cpu.total_s() } else { 0.0 },
            lag: is_scheduled.then(|| latency::percentiles(&findings.total.lag)),
            reading_lag: (consumes && plan.client == Client::Own)
                .then(|| latency::percentiles(&findings.total.reading_lag)),
            overrun_s: findings.overrun_s,
            nice: findings.nice,
        },
        all_cpus: findings.all_cpus,
        broker: None,
    }
}

fn client_name(client: Client) -> String {
    match client {
        #[cfg(feature = "librdkafka")]
        Client::Librdkafka => super::librdkafka::name(),
        _ => "millstream-bench".to_owned(),
    }
}

fn accounts(plan: &Plan, findings: &Findings) -> Accounts {
    let sum = |of: fn(&Verdict) -> u64| findings.verdicts.values().map(of).sum::<u64>();
    let seconds = clock::seconds(findings.measured_ns);
    let per_s = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let measured = &findings.measured;
    let by_partition = findings.verdicts.iter().map(|(slot, verdict)| PartitionAccounts {
        topic: plan.topics.name(*slot).to_owned(),
        partition: plan.topics.partition(*slot),
        lost: verdict.lost,
        duplicated: verdict.duplicated,
        reordered: verdict.reordered,
        corrupted: verdict.corrupted,
    });
    Accounts {
        sent: findings.totals.sent,
        acked: findings.totals.acked,
        failed: findings.failed,
        retried: findings.retried,
        delivered: findings.totals.delivered,
        lost: sum(|verdict| verdict.lost),
        duplicated: sum(|verdict| verdict.duplicated),
        reordered: sum(|verdict| verdict.reordered),
        corrupted: sum(|verdict| verdict.corrupted),
        acked_per_s: per_s(measured.acked),
        acked_mib_per_s: per_s(measured.acked_bytes) / f64::from(1 << 20),
        delivered_per_s: per_s(measured.delivered),
        measured_acked: measured.acked,
        measured_acked_bytes: measured.acked_bytes,
        measured_delivered: measured.delivered,
        by_partition: by_partition.collect(),
    }
}

fn judge(plan: &Plan, findings: &Findings, records: &Accounts) -> Outcome {
    if let Some(why) = &findings.incomplete {
        return Outcome::Incomplete { why: why.clone() };
    }
    let refusal = || findings.refusal.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let faults = [
        (records.lost > 0).then(|| format!("{} records were acknowledged and are lost", records.lost)),
        (records.corrupted > 0).then(|| format!("{} records came back changed", records.corrupted)),
        (plan.workload.produce.idempotent && records.reordered > 0).then(|| {
            format!("{} records came out of order, and their producers are idempotent", records.reordered)
        }),
        (findings.unsent > 0)
            .then(|| format!("the generator did not come to {} records that were due", findings.unsent)),
        (records.failed > findings.unsent).then(|| {
            let failed = records.failed - findings.unsent;
            format!("{failed} records were refused or not acknowledged in time{}", refusal())
        }),
        (!findings.is_read).then(|| {
            let limit = plan.drain.as_secs();
            format!("consumers did not come to the end within {limit} s after it{}", refusal())
        }),
        (records.measured_acked == 0).then(|| "nothing was acknowledged".to_owned()),
        (findings.overtaken > 0).then(|| {
            format!(
                "records of {} partitions were deleted before consumers had read them",
                findings.overtaken
            )
        }),
    ];
    // Without a schedule there is nothing to be late for: what such a load finds is how fast both sides together are.
    let own = if plan.workload.produce.rate.is_some() {
        own_faults(&findings.total, findings.overrun_s, findings.seconds.len() as u64)
    } else {
        Vec::new()
    };
    let why: Vec<String> = faults.into_iter().flatten().chain(own).collect();
    if why.is_empty() { Outcome::Valid } else { Outcome::Invalid { why: why.join("; ") } }
}

/// Where the generator itself was too slow.
fn own_faults(total: &Interval, overrun_s: u64, all_s: u64) -> Vec<String> {
    let Interval { ack, end_to_end, lag, reading_lag, .. } = total;
    let faults = [
        fell_behind(lag, ack).map(|(own, whole)| match own {
            Own::Usual => format!("the generator fell behind its schedule: {whole} of acknowledgements"),
            Own::Worst => format!("the generator stood still for {whole}"),
        }),
        fell_behind(reading_lag, end_to_end).map(|(own, whole)| match own {
            Own::Usual => format!("the generator fell behind in reading: {whole} from end to end"),
            Own::Worst => format!("the generator read nothing for {whole}"),
        }),
        (overrun_s * OWN_SHARE > all_s).then(|| {
            format!("the generator had no time left to read more in {overrun_s} of {all_s} seconds")
        }),
    ];
    faults.into_iter().flatten().collect()
}

/// In which way the generator was late.
enum Own {
    Usual,
    Worst,
}

/// Whether what was measured may be the generator's own slowness.
fn fell_behind(lag: &Histogram, whole: &Histogram) -> Option<(Own, String)> {
    let (lag_p99, whole_p99) = (lag.value_at_quantile(0.99), whole.value_at_quantile(0.99));
    let told = |ns: u64| clock::in_words(ns as i64);
    if lag_p99 > LAG_P99_MAX_NS && lag_p99 > whole_p99 / OWN_SHARE {
        let compared = format!("p99 of its own lag is {}, {}", told(lag_p99), told(whole_p99));
        return Some((Own::Usual, compared));
    }
    let is_worst = lag.max() > LAG_MAX_NS && lag.max() > whole.max() / 2;
    is_worst.then(|| (Own::Worst, format!("{} of a worst case of {}", told(lag.max()), told(whole.max()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values_ms: &[(i64, usize)]) -> Histogram {
        let mut histogram = latency::histogram();
        for (ms, count) in values_ms {
            (0..*count).for_each(|_| latency::record(&mut histogram, ms * NS_PER_MS));
        }
        histogram
    }

    #[test]
    fn a_generator_that_is_late_by_itself_is_not_believed() {
        assert!(fell_behind(&of(&[(0, 1_000)]), &of(&[(1, 1_000)])).is_none());
        assert!(fell_behind(&of(&[(5, 1_000)]), &of(&[(6, 1_000)])).is_some());
        // Late, but the broker is what is seen.
        assert!(fell_behind(&of(&[(5, 1_000)]), &of(&[(500, 1_000)])).is_none());
        // A hiccup that nobody would see.
        assert!(fell_behind(&of(&[(0, 10_000), (50, 1)]), &of(&[(1, 10_000)])).is_none());
        // One that is the whole of the worst case.
        assert!(fell_behind(&of(&[(0, 10_000), (400, 1)]), &of(&[(1, 9_999), (401, 1)])).is_some());
        assert!(fell_behind(&of(&[(0, 10_000), (200, 1)]), &of(&[(1, 9_999), (1_000, 1)])).is_none());
    }
    #[test]
    fn a_generator_that_reads_too_slowly_is_not_believed() {
        let of = |own: &[(i64, usize)], end_to_end: &[(i64, usize)]| Interval {
            reading_lag: of(own),
            end_to_end: of(end_to_end),
            ..Interval::new()
        };
        let quick = of(&[(0, 1_000)], &[(1, 1_000)]);
        assert_eq!(own_faults(&quick, 3, 30), [""; 0]);
        // After a stall of the broker there is much to be read: that is not the generator's fault.
        assert_eq!(own_faults(&of(&[(0, 980), (90, 20)], &[(0, 980), (2_000, 20)]), 1, 30), [""; 0]);
        let [why] = &own_faults(&of(&[(4, 1_000)], &[(8, 1_000)]), 0, 30)[..] else { panic!("one fault") };
        assert!(why.contains("fell behind in reading"), "{why}");
        let [why] = &own_faults(&quick, 4, 30)[..] else { panic!("one fault") };
        assert!(why.contains("no time left to read more in 4 of 30 seconds"), "{why}");
    }
}
