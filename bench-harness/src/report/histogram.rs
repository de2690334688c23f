//! What a result file keeps of its latencies: the whole histogram, from which plots are drawn.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::result::Percentiles;

/// Each nine of the percentile axis is cut in so many steps.
const STEPS: f64 = 10.0;
const NS_PER_US: f64 = 1000.0;
/// Named figures and the histogram beside them come from the same values: they may differ by its buckets only.
const TOLERANCE: f64 = 0.01;

/// Latency by percentile: how many nines in, and microseconds. It ends where one record is left, with the greatest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve(pub(super) Vec<(f64, f64)>);

/// None if nothing was timed.
pub(super) fn curve(percentiles: &Percentiles) -> Result<Option<Curve>, String> {
    if percentiles.count == 0 {
        return Ok(None);
    }
    let histogram = decode(&percentiles.histogram)?;
    agrees(percentiles, &histogram)?;
    let end = (histogram.len() as f64).log10();
    let steps = (end * STEPS + 1e-9).floor() as u32;
    let mut points: Vec<(f64, f64)> = (0..=steps)
        .map(|step| f64::from(step) / STEPS)
        .map(|nines| (nines, histogram.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64 / NS_PER_US))
        .collect();
    let last = (end, histogram.max() as f64 / NS_PER_US);
    match points.last_mut() {
        Some(point) if end - point.0 < 1e-9 => *point = last,
        _ => points.push(last),
    }
    Ok(Some(Curve(points)))
}

fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes =
        STANDARD.decode(text.trim()).map_err(|error| format!("its histogram is not base64: {error}"))?;
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("its histogram cannot be read: {error}"))?;
    if histogram.is_empty() { Err("its histogram is empty".to_owned()) } else { Ok(histogram) }
}

/// A file in which the figures are not those of the histogram was changed by hand, or made by something broken.
fn agrees(percentiles: &Percentiles, histogram: &Histogram<u64>) -> Result<(), String> {
    if histogram.len() != percentiles.count {
        return Err(format!("its histogram holds {} records, not {}", histogram.len(), percentiles.count));
    }
    let named = [
        ("p50", 0.5, percentiles.p50_us),
        ("p99", 0.99, percentiles.p99_us),
        ("p99.9", 0.999, percentiles.p99_9_us),
        ("max", 1.0, percentiles.max_us),
    ];
    for (name, quantile, figure) in named {
        let us = histogram.value_at_quantile(quantile) as f64 / NS_PER_US;
        if (us - figure).abs() > TOLERANCE * us.max(1.0) {
            return Err(format!("its {name} is {figure} µs, but {us} µs in its histogram"));
        }
    }
    Ok(())
}
