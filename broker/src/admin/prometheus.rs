//! The cores' metrics in the text format of OpenMetrics 1.0: one series per core, so that an uneven load
//! shows; sums are the scraper's business.

use std::collections::BTreeMap;
use std::fmt::Write;

use protocol::api_key::ApiKey;

use crate::metrics::groups::Committed;
use crate::metrics::histogram::Histogram;
use crate::metrics::{ApiMetrics, Snapshot};

/// Upper bounds in nanoseconds: 50 us to 5 s.
const LATENCY_BOUNDS_NS: [u64; 14] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];
const NS_PER_SECOND: f64 = 1e9;
/// Where buckets end, so that a bound counts exactly those at or below it.
const BATCHES_BOUNDS: [u64; 10] = [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023];
/// As above: a write of 4 KiB is at most 8191 bytes, one of 8 KiB at most 16383.
const BYTES_BOUNDS: [u64; 11] =
    [8191, 16_383, 32_767, 65_535, 131_071, 262_143, 524_287, 1_048_575, 2_097_151, 4_194_303, 8_388_607];

/// Where partitions end, by topic and index.
pub(crate) type Ends = BTreeMap<(Box<str>, i32), i64>;

pub(crate) fn text(cores: &[Option<Snapshot>], ends: &Ends) -> String {
    let mut out = String::new();
    requests(&mut out, cores);
    values(&mut out, cores);
    groups(&mut out, cores);
    committed(&mut out, cores, ends);
    for histogram in &HISTOGRAMS {
        family(&mut out, histogram.name, "histogram", histogram.help);
        for (core, snapshot) in answered(cores) {
            let labels = format!("core=\"{core}\"");
            let Shown { name, of, bounds, unit, .. } = histogram;
            series(&mut out, name, &labels, of(snapshot), bounds, *unit);
        }
    }
    out.push_str("# EOF\n");
    out
}

/// A histogram of a core.
struct Shown {
    name: &'static str,
    help: &'static str,
    of: fn(&Snapshot) -> &Histogram,
    bounds: &'static [u64],
    /// How many of what is counted make one of what is shown.
    unit: f64,
}

const HISTOGRAMS: [Shown; 4] = [
    Shown {
        name: "millstream_durable_seconds",
        help: "From a batch's append until it is on stable storage",
        of: |snapshot| &snapshot.durable_ns,
        bounds: &LATENCY_BOUNDS_NS,
        unit: NS_PER_SECOND,
    },
    Shown {
        name: "millstream_flush_seconds",
        help: "How long a write to a log took until it was on stable storage",
        of: |snapshot| &snapshot.flushes.took_ns,
        bounds: &LATENCY_BOUNDS_NS,
        unit: NS_PER_SECOND,
    },
    Shown {
        name: "millstream_flush_batches",
        help: "Batches that went to stable storage together",
        of: |snapshot| &snapshot.flushes.batches,
        bounds: &BATCHES_BOUNDS,
        unit: 1.0,
    },
    Shown {
        name: "millstream_flush_bytes",
        help: "Bytes that went to stable storage together, in whole blocks",
        of: |snapshot| &snapshot.flushes.bytes,
        bounds: &BYTES_BOUNDS,
        unit: 1.0,
    },
];

fn answered(cores: &[Option<Snapshot>]) -> impl Iterator<Item = (usize, &Snapshot)> {
    cores.iter().enumerate().filter_map(|(core, snapshot)| snapshot.as_ref().map(|snapshot| (core, snapshot)))
}

/// What comes before a family's samples. A name that ends with a unit has it.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
    if let Some(unit) = ["seconds", "bytes"].iter().find(|unit| name.ends_with(&format!("_{unit}"))) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    let _ = writeln!(out, "# HELP {name} {help}");
}

type Count = fn(&ApiMetrics) -> u64;

fn requests(out: &mut String, cores: &[Option<Snapshot>]) {
    let counters: [(&str, &str, Count); 3] = [
        ("millstream_requests", "Requests answered, by API", |api| api.requests),
        ("millstream_request_bytes", "Bytes of requests, by API", |api| api.request_bytes),
        ("millstream_response_bytes", "Bytes of answers, by API", |api| api.response_bytes),
    ];
    for (name, help, count) in counters {
        family(out, name, "counter", help);
        each_api(out, cores, |out, labels, api| {
            let _ = writeln!(out, "{name}_total{{{labels}}} {}", count(api));
        });
    }
    let name = "millstream_request_latency_seconds";
    family(out, name, "histogram", "From the whole request read to its answer written, by API");
    each_api(out, cores, |out, labels, api| {
        series(out, name, labels, &api.latency_ns, &LATENCY_BOUNDS_NS, NS_PER_SECOND);
    });
}

fn each_api(
    out: &mut String,
    cores: &[Option<Snapshot>],
    mut line: impl FnMut(&mut String, &str, &ApiMetrics),
) {
    for (core, snapshot) in answered(cores) {
        for (key, api) in &snapshot.apis {
            let name = ApiKey::from_i16(*key).map_or("unknown", ApiKey::name);
            line(out, &format!("core=\"{core}\",request=\"{name}\""), api);
        }
    }
}

fn values(out: &mut String, cores: &[Option<Snapshot>]) {
    let Some((_, first)) = answered(cores).next() else { return };
    for (at, value) in first.values.iter().enumerate() {
        let (kind, suffix) = if value.grows { ("counter", "_total") } else { ("gauge", "") };
        family(out, &format!("millstream_{}", value.name), kind, value.help);
        for (core, snapshot) in answered(cores) {
            let _ = writeln!(
                out,
                "millstream_{}{suffix}{{core=\"{core}\"}} {}",
                value.name, snapshot.values[at].value
            );
        }
    }
}

fn groups(out: &mut String, cores: &[Option<Snapshot>]) {
    family(out, "millstream_groups", "gauge", "Groups that live on the core, by type and state");
    for (core, snapshot) in answered(cores) {
        for ((kind, state), count) in &snapshot.groups.groups {
            let labels = format!("core=\"{core}\",type=\"{kind}\",state=\"{state}\"");
            let _ = writeln!(out, "millstream_groups{{{labels}}} {count}");
        }
    }
}

/// What groups have committed, and how far behind the end that is. Not by core: a group and what it reads live on several.
fn committed(out: &mut String, cores: &[Option<Snapshot>], ends: &Ends) {
    let all = || answered(cores).flat_map(|(_, snapshot)| &snapshot.groups.committed);
    let labels = |it: &Committed| {
        let (group, topic) = (escaped(&it.group), escaped(&it.topic));
        format!("group=\"{group}\",topic=\"{topic}\",partition=\"{}\"", it.partition)
    };
    family(out, "millstream_group_committed_offset", "gauge", "Where a group goes on reading");
    for it in all() {
        let _ = writeln!(out, "millstream_group_committed_offset{{{}}} {}", labels(it), it.offset);
    }
    family(out, "millstream_group_lag", "gauge", "Records between where a group goes on reading and the end");
    for it in all() {
        if let Some(end_offset) = ends.get(&(it.topic.clone(), it.partition)) {
            let lag = end_offset.saturating_sub(it.offset).max(0);
            let _ = writeln!(out, "millstream_group_lag{{{}}} {lag}", labels(it));
        }
    }
}

/// Names of groups are the clients' own.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn series(out: &mut String, name: &str, labels: &str, histogram: &Histogram, bounds: &[u64], unit: f64) {
    for bound in bounds {
        let le = number(*bound as f64 / unit);
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {}", histogram.at_most(*bound));
    }
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", histogram.count());
    let _ = writeln!(out, "{name}_count{{{labels}}} {}", histogram.count());
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", number(histogram.sum() as f64 / unit));
}

/// As OpenMetrics wants a bound: `1.0`, never `1`.
fn number(value: f64) -> String {
    let text = value.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

#[cfg(test)]
mod tests;
