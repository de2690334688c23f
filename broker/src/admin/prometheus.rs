//! The cores' metrics in the text format of Prometheus: one series per core, so that an uneven load
//! shows; sums are the scraper's business.

use std::fmt::Write;

use protocol::api_key::ApiKey;

use crate::metrics::Snapshot;
use crate::metrics::histogram::Histogram;

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

pub(crate) fn text(cores: &[Option<Snapshot>]) -> String {
    let mut out = String::new();
    requests(&mut out, cores);
    values(&mut out, cores);
    let name = "millstream_durable_seconds";
    family(&mut out, name, "histogram", "From a batch's append until it is on stable storage");
    for (core, snapshot) in answered(cores) {
        let labels = format!("core=\"{core}\"");
        histogram(&mut out, name, &labels, &snapshot.durable_ns, &LATENCY_BOUNDS_NS, NS_PER_SECOND);
    }
    out.push_str("# EOF\n");
    out
}

fn answered(cores: &[Option<Snapshot>]) -> impl Iterator<Item = (usize, &Snapshot)> {
    cores.iter().enumerate().filter_map(|(core, snapshot)| snapshot.as_ref().map(|snapshot| (core, snapshot)))
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}");
}

fn requests(out: &mut String, cores: &[Option<Snapshot>]) {
    let name = "millstream_request_bytes";
    family(out, name, "counter", "Bytes of requests, by API");
    each_api(out, cores, |out, labels, api| {
        let _ = writeln!(out, "{name}_total{{{labels}}} {}", api.request_bytes);
    });
    let name = "millstream_response_bytes";
    family(out, name, "counter", "Bytes of answers, by API");
    each_api(out, cores, |out, labels, api| {
        let _ = writeln!(out, "{name}_total{{{labels}}} {}", api.response_bytes);
    });
    let name = "millstream_request_latency_seconds";
    family(out, name, "histogram", "From the whole request read to its answer written, by API");
    each_api(out, cores, |out, labels, api| {
        histogram(out, name, labels, &api.latency_ns, &LATENCY_BOUNDS_NS, NS_PER_SECOND);
    });
}

fn each_api(
    out: &mut String,
    cores: &[Option<Snapshot>],
    mut line: impl FnMut(&mut String, &str, &crate::metrics::ApiMetrics),
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

fn histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram, bounds: &[u64], unit: f64) {
    for bound in bounds {
        let _ = writeln!(
            out,
            "{name}_bucket{{{labels},le=\"{}\"}} {}",
            *bound as f64 / unit,
            histogram.at_most(*bound)
        );
    }
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", histogram.count());
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", histogram.sum() as f64 / unit);
    let _ = writeln!(out, "{name}_count{{{labels}}} {}", histogram.count());
}
