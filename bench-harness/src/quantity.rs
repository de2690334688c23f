//! What runs are compared by: one list for every table.

use crate::result::{Percentiles, RunResult};

/// One figure of a run.
pub(crate) struct Quantity {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// As a column of a CSV file: the unit is in the name.
    pub(crate) column: &'static str,
    /// None: neither is.
    pub(crate) lower_is_better: Option<bool>,
    pub(crate) of: fn(&RunResult) -> Option<f64>,
}

const fn quantity(
    name: &'static str,
    unit: &'static str,
    column: &'static str,
    lower_is_better: Option<bool>,
    of: fn(&RunResult) -> Option<f64>,
) -> Quantity {
    Quantity { name, unit, column, lower_is_better, of }
}

const LESS: Option<bool> = Some(true);
const MORE: Option<bool> = Some(false);
const MIB: f64 = 1_048_576.0;

/// In the order of the tables.
pub(crate) const QUANTITIES: &[Quantity] = &[
    quantity("acknowledged", "records/s", "acked_per_s", MORE, |r| Some(r.records.acked_per_s)),
    quantity("acknowledged", "MiB/s", "acked_mib_per_s", MORE, |r| Some(r.records.acked_mib_per_s)),
    quantity("delivered", "records/s", "delivered_per_s", MORE, |r| {
        Some(r.records.delivered_per_s).filter(|_| r.workload.consume.consumers > 0)
    }),
    quantity("ack p50", "µs", "ack_p50_us", LESS, |r| ack(r).map(|it| it.p50_us)),
    quantity("ack p90", "µs", "ack_p90_us", LESS, |r| ack(r).map(|it| it.p90_us)),
    quantity("ack p99", "µs", "ack_p99_us", LESS, |r| ack(r).map(|it| it.p99_us)),
    quantity("ack p99.9", "µs", "ack_p99_9_us", LESS, |r| ack(r).map(|it| it.p99_9_us)),
    quantity("ack p99.99", "µs", "ack_p99_99_us", LESS, |r| ack(r).map(|it| it.p99_99_us)),
    quantity("ack max", "µs", "ack_max_us", LESS, |r| ack(r).map(|it| it.max_us)),
    quantity("end to end p50", "µs", "end_to_end_p50_us", LESS, |r| end_to_end(r).map(|it| it.p50_us)),
    quantity("end to end p99", "µs", "end_to_end_p99_us", LESS, |r| end_to_end(r).map(|it| it.p99_us)),
    quantity("end to end p99.9", "µs", "end_to_end_p99_9_us", LESS, |r| end_to_end(r).map(|it| it.p99_9_us)),
    quantity("end to end max", "µs", "end_to_end_max_us", LESS, |r| end_to_end(r).map(|it| it.max_us)),
    quantity("broker CPU", "µs/record", "cpu_us_per_record", LESS, |r| {
        r.broker.as_ref().map(|it| it.cpu_us_per_record)
    }),
    quantity("broker CPU", "s/GiB", "cpu_s_per_gib", LESS, |r| r.broker.as_ref().map(|it| it.cpu_s_per_gib)),
    quantity("broker CPU, user", "s", "cpu_user_s", LESS, |r| r.broker.as_ref().map(|it| it.user_s)),
    quantity("broker CPU, system", "s", "cpu_system_s", LESS, |r| r.broker.as_ref().map(|it| it.system_s)),
    quantity("context switches", "per record", "context_switches_per_record", LESS, |r| {
        let acked = r.records.measured_acked as f64;
        r.broker.as_ref().filter(|_| acked > 0.0).map(|it| it.context_switches as f64 / acked)
    }),
    quantity("memory", "MiB", "resident_mib", LESS, |r| {
        r.broker.as_ref().map(|it| it.resident_bytes as f64 / MIB)
    }),
    quantity("peak memory", "MiB", "peak_resident_mib", LESS, |r| {
        r.broker.as_ref().map(|it| it.peak_resident_bytes as f64 / MIB)
    }),
    quantity("written by process", "bytes/byte acked", "write_amplification", LESS, |r| {
        r.broker.as_ref().and_then(|it| it.write_amplification)
    }),
    quantity("written to disk", "bytes/byte acked", "disk_write_amplification", LESS, |r| {
        r.broker.as_ref().and_then(|it| it.disk_write_amplification)
    }),
    quantity("start-up", "ms", "start_up_ms", LESS, |r| r.target.start_up_us.map(|us| us as f64 / 1e3)),
    quantity("generator, for a second of its CPU", "records", "generator_records_per_cpu_s", None, |r| {
        Some(r.generator.records_per_cpu_s).filter(|rate| *rate > 0.0)
    }),
    quantity("all CPUs busy", "%", "all_cpus_busy_percent", None, |r| r.all_cpus.map(|it| it.busy * 100.0)),
    quantity("CPU time stolen", "%", "all_cpus_stolen_percent", None, |r| {
        r.all_cpus.map(|it| it.steal * 100.0)
    }),
];

fn ack(result: &RunResult) -> Option<&Percentiles> {
    result.latency.as_ref().map(|latency| &latency.ack).filter(|it| it.count > 0)
}

fn end_to_end(result: &RunResult) -> Option<&Percentiles> {
    result.latency.as_ref()?.end_to_end.as_ref().filter(|it| it.count > 0)
}
