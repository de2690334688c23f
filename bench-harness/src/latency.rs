//! Latencies: recorded in nanoseconds to three digits, merged without loss, exported in HdrHistogram's own formats.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use crate::clock::{self, NS_PER_MS, NS_PER_S};
use crate::result::Percentiles;

pub(crate) type Histogram = hdrhistogram::Histogram<u64>;

const DIGITS: u8 = 3;
/// What takes longer counts as this.
const HIGHEST_NS: u64 = 3_600 * NS_PER_S as u64;

pub(crate) fn histogram() -> Histogram {
    Histogram::new_with_max(HIGHEST_NS, DIGITS).expect("the bounds are good ones")
}

pub(crate) fn record(histogram: &mut Histogram, ns: i64) {
    histogram.saturating_record(ns.max(0) as u64);
}

/// All histograms here have the same bounds, so this is exact.
pub(crate) fn merge(into: &mut Histogram, other: &Histogram) {
    into.add(other).expect("all histograms have the same bounds");
}

pub(crate) fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1e3
}

pub(crate) fn percentiles(histogram: &Histogram) -> Percentiles {
    let at = |quantile: f64| microseconds(histogram.value_at_quantile(quantile));
    Percentiles {
        count: histogram.len(),
        min_us: microseconds(histogram.min()),
        mean_us: histogram.mean() / 1e3,
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p99_9_us: at(0.999),
        p99_99_us: at(0.9999),
        max_us: microseconds(histogram.max()),
        histogram: encode(histogram),
    }
}

/// V2, deflated, base64.
pub(crate) fn encode(histogram: &Histogram) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a vector takes all that is written");
    STANDARD.encode(bytes)
}

/// An HdrHistogram log: intervals as `HistogramLogProcessor`, `HistogramLogAnalyzer` and the like read them.
#[derive(Debug)]
pub(crate) struct IntervalLog<W: Write> {
    out: W,
}

impl<W: Write> IntervalLog<W> {
    pub(crate) fn begin(mut out: W, began_ms: i64) -> io::Result<Self> {
        let began = began_ms as f64 / 1e3;
        writeln!(out, "#[millstream-bench {}: nanoseconds]", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "#[Histogram log format version 1.3]")?;
        writeln!(out, "#[StartTime: {began:.3} (seconds since epoch)]")?;
        writeln!(out, "#[BaseTime: {began:.3} (seconds since epoch)]")?;
        writeln!(
            out,
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
        )?;
        Ok(Self { out })
    }

    /// One interval, from so long after the beginning. The greatest value is in milliseconds, for people.
    pub(crate) fn interval(
        &mut self,
        tag: &str,
        from_ns: i64,
        length_ns: i64,
        histogram: &Histogram,
    ) -> io::Result<()> {
        let (from, length) = (clock::seconds(from_ns), clock::seconds(length_ns));
        let max_ms = histogram.max() as f64 / NS_PER_MS as f64;
        writeln!(self.out, "Tag={tag},{from:.3},{length:.3},{max_ms:.3},{}", encode(histogram))
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latencies = histogram();
        for us in 1..=100_000i64 {
            record(&mut latencies, us * 1_000);
        }
        record(&mut latencies, -5);
        let found = percentiles(&latencies);
        assert_eq!(found.count, 100_001);
        for (found, exact) in [
            (found.p50_us, 50_000.0),
            (found.p90_us, 90_000.0),
            (found.p99_us, 99_000.0),
            (found.p99_9_us, 99_900.0),
            (found.max_us, 100_000.0),
            (found.mean_us, 50_000.0),
        ] {
            assert!((found / exact - 1.0).abs() < 0.001_1, "{found} for {exact}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_left_out() {
        let mut latencies = histogram();
        record(&mut latencies, i64::MAX);
        assert_eq!(latencies.len(), 1);
        assert!(latencies.max() >= HIGHEST_NS);
    }

    #[test]
    fn merging_loses_nothing() {
        let (mut one, mut other, mut all) = (histogram(), histogram(), histogram());
        for ns in (1..5_000_000).step_by(37) {
            record(if ns % 2 == 0 { &mut one } else { &mut other }, ns);
            record(&mut all, ns);
        }
        merge(&mut one, &other);
        assert_eq!(one, all);
    }

    #[test]
    fn the_log_is_read_by_others() {
        let mut latencies = histogram();
        record(&mut latencies, 1_500_000);
        record(&mut latencies, 250_000_000);
        let mut out = Vec::new();
        let mut log = IntervalLog::begin(&mut out, 1_700_000_000_123).unwrap();
        log.interval("ack", 3 * NS_PER_S, NS_PER_S, &latencies).unwrap();
        log.finish().unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&out)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        let [interval] = &intervals[..] else { panic!("{intervals:?}") };
        assert_eq!(interval.tag().map(|tag| tag.as_str()), Some("ack"));
        assert_eq!(interval.start_timestamp().as_secs(), 3);
        assert!((interval.max() - 250.0).abs() < 0.3);
        let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
        let read: Histogram = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!((read.len(), read.max()), (latencies.len(), latencies.max()));
    }
}
