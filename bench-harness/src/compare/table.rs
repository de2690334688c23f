//! Medians, spreads and ratios of runs of several targets.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figure::Figure;
use crate::number;
use crate::result::{Outcome, RunResult};

/// Figures of all targets; ratios are to the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Table {
    labels: Vec<String>,
    /// Of each target.
    runs: Vec<Runs>,
    rows: Vec<Row>,
}

/// How many runs of a target there are, and what became of their records.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Runs {
    all: usize,
    counted: usize,
    failed: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    name: &'static str,
    unit: &'static str,
    /// None: neither is.
    lower_is_better: Option<bool>,
    /// Of each target. None if no counted run has it.
    figures: Vec<Option<Figure>>,
    /// Of each target but the first.
    ratios: Vec<Option<Ratio>>,
}

/// Of a target's median to that of the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ratio {
    /// None if the first is 0.
    ratio: Option<f64>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Higher,
    Lower,
    /// The spreads meet: another time it may be the other way round.
    Noise,
    /// One run has no spread, so nothing can be said.
    Unknown,
}

struct Metric {
    name: &'static str,
    unit: &'static str,
    lower_is_better: Option<bool>,
    of: fn(&RunResult) -> Option<f64>,
}

impl Table {
    /// Results with the place of their target in `labels`.
    pub(crate) fn of(labels: &[String], results: &[(usize, &RunResult)]) -> Self {
        let runs = (0..labels.len()).map(|target| Runs::of(target, results)).collect();
        let counted: Vec<(usize, &RunResult)> =
            results.iter().filter(|(_, result)| is_counted(result)).copied().collect();
        let rows = METRICS.iter().map(|metric| Row::of(metric, labels.len(), &counted));
        let rows = rows.filter(|row| row.figures.iter().any(Option::is_some)).collect();
        Self { labels: labels.to_vec(), runs, rows }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = "| | |".to_owned();
        for label in &self.labels {
            let _ = write!(text, " {label} |");
        }
        for label in self.labels.iter().skip(1) {
            let _ = write!(text, " {label} / {} |", self.labels[0]);
        }
        text += "\n|--|--|";
        text += &"--:|".repeat(self.labels.len() * 2 - 1);
        for row in &self.rows {
            let _ = write!(text, "\n| {} | {} |", row.name, row.unit);
            for figure in &row.figures {
                let shown = figure.as_ref().map_or_else(|| "-".to_owned(), Figure::shown);
                let _ = write!(text, " {shown} |");
            }
            for ratio in &row.ratios {
                let shown = ratio.as_ref().map_or_else(|| "-".to_owned(), Ratio::shown);
                let _ = write!(text, " {shown} |");
            }
        }
        self.accounts(&mut text);
        text += "\n\nMedian (least - greatest) of the counted runs. *noise*: the spreads meet, so the difference may be \
                 chance.\n";
        text
    }

    fn accounts(&self, text: &mut String) {
        type Count = fn(&Runs) -> String;
        let rows: [(&str, Count); 6] = [
            ("runs counted", |runs| format!("{} of {}", runs.counted, runs.all)),
            ("failed", |runs| number::whole(runs.failed)),
            ("lost", |runs| number::whole(runs.lost)),
            ("duplicated", |runs| number::whole(runs.duplicated)),
            ("reordered", |runs| number::whole(runs.reordered)),
            ("corrupted", |runs| number::whole(runs.corrupted)),
        ];
        for (name, count) in rows {
            let unit = if name == "runs counted" { "" } else { "records, all runs" };
            let _ = write!(text, "\n| {name} | {unit} |");
            for runs in &self.runs {
                let _ = write!(text, " {} |", count(runs));
            }
            *text += &" |".repeat(self.labels.len() - 1);
        }
    }
}

/// What is wrong is shown, but has no part in any median.
fn is_counted(result: &RunResult) -> bool {
    result.outcome == Outcome::Valid && result.records.lost == 0 && result.records.corrupted == 0
}

impl Runs {
    fn of(target: usize, results: &[(usize, &RunResult)]) -> Self {
        let mut runs = Self::default();
        for (_, result) in results.iter().filter(|(of, _)| *of == target) {
            let records = &result.records;
            runs.all += 1;
            runs.counted += usize::from(is_counted(result));
            runs.failed += records.failed;
            runs.lost += records.lost;
            runs.duplicated += records.duplicated;
            runs.reordered += records.reordered;
            runs.corrupted += records.corrupted;
        }
        runs
    }
}

impl Row {
    fn of(metric: &Metric, targets: usize, counted: &[(usize, &RunResult)]) -> Self {
        let figures: Vec<Option<Figure>> = (0..targets)
            .map(|target| {
                let results = counted.iter().filter(|(of, _)| *of == target);
                Figure::of(results.filter_map(|(_, result)| (metric.of)(result)).collect())
            })
            .collect();
        let first = figures.first().cloned().flatten();
        let ratio = |other: &Option<Figure>| Some(Ratio::of(other.as_ref()?, first.as_ref()?));
        let ratios = figures.iter().skip(1).map(ratio).collect();
        let Metric { name, unit, lower_is_better, .. } = *metric;
        Self { name, unit, lower_is_better, figures, ratios }
    }
}

impl Ratio {
    fn of(other: &Figure, first: &Figure) -> Self {
        let verdict = if other.values.len() < 2 || first.values.len() < 2 {
            Verdict::Unknown
        } else if other.min > first.max {
            Verdict::Higher
        } else if other.max < first.min {
            Verdict::Lower
        } else {
            Verdict::Noise
        };
        Self { ratio: (first.median != 0.0).then(|| other.median / first.median), verdict }
    }

    fn shown(&self) -> String {
        let Some(ratio) = self.ratio.map(number::plain) else { return "-".into() };
        match self.verdict {
            Verdict::Noise => format!("{ratio} *noise*"),
            Verdict::Unknown => format!("{ratio} *one run*"),
            Verdict::Higher | Verdict::Lower => ratio,
        }
    }
}

const fn metric(
    name: &'static str,
    unit: &'static str,
    lower_is_better: Option<bool>,
    of: fn(&RunResult) -> Option<f64>,
) -> Metric {
    Metric { name, unit, lower_is_better, of }
}

const LESS: Option<bool> = Some(true);
const MORE: Option<bool> = Some(false);
const MIB: f64 = 1_048_576.0;

/// In the order of the table.
const METRICS: &[Metric] = &[
    metric("acknowledged", "records/s", MORE, |r| Some(r.records.acked_per_s)),
    metric("acknowledged", "MiB/s", MORE, |r| Some(r.records.acked_mib_per_s)),
    metric("delivered", "records/s", MORE, |r| {
        Some(r.records.delivered_per_s).filter(|_| r.workload.consume.consumers > 0)
    }),
    metric("to acknowledgement, p50", "ms", LESS, |r| Some(r.latency.as_ref()?.ack.p50_us / 1e3)),
    metric("to acknowledgement, p99", "ms", LESS, |r| Some(r.latency.as_ref()?.ack.p99_us / 1e3)),
    metric("to acknowledgement, p99.9", "ms", LESS, |r| Some(r.latency.as_ref()?.ack.p99_9_us / 1e3)),
    metric("to acknowledgement, most", "ms", LESS, |r| Some(r.latency.as_ref()?.ack.max_us / 1e3)),
    metric("end to end, p50", "ms", LESS, |r| Some(r.latency.as_ref()?.end_to_end.as_ref()?.p50_us / 1e3)),
    metric("end to end, p99", "ms", LESS, |r| Some(r.latency.as_ref()?.end_to_end.as_ref()?.p99_us / 1e3)),
    metric("end to end, p99.9", "ms", LESS, |r| {
        Some(r.latency.as_ref()?.end_to_end.as_ref()?.p99_9_us / 1e3)
    }),
    metric("end to end, most", "ms", LESS, |r| Some(r.latency.as_ref()?.end_to_end.as_ref()?.max_us / 1e3)),
    metric("broker's CPU", "us/record", LESS, |r| Some(r.broker.as_ref()?.cpu_us_per_record)),
    metric("broker's CPU", "s/GiB", LESS, |r| Some(r.broker.as_ref()?.cpu_s_per_gib)),
    metric("broker's CPU, user", "s", LESS, |r| Some(r.broker.as_ref()?.user_s)),
    metric("broker's CPU, system", "s", LESS, |r| Some(r.broker.as_ref()?.system_s)),
    metric("context switches", "1/record", LESS, |r| {
        let switches = r.broker.as_ref()?.context_switches as f64;
        (r.records.measured_acked > 0).then(|| switches / r.records.measured_acked as f64)
    }),
    metric("resident memory", "MiB", LESS, |r| Some(r.broker.as_ref()?.resident_bytes as f64 / MIB)),
    metric("resident memory, peak", "MiB", LESS, |r| {
        Some(r.broker.as_ref()?.peak_resident_bytes as f64 / MIB)
    }),
    metric("written by the process", "bytes/byte", LESS, |r| r.broker.as_ref()?.write_amplification),
    metric("written to the disk", "bytes/byte", LESS, |r| r.broker.as_ref()?.disk_write_amplification),
    metric("start-up", "ms", LESS, |r| Some(r.target.start_up_us? as f64 / 1e3)),
    metric("generator, for a second of its CPU", "records", None, |r| {
        Some(r.generator.records_per_cpu_s).filter(|rate| *rate > 0.0)
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64]) -> Figure {
        Figure::of(values.to_vec()).unwrap()
    }

    #[test]
    fn what_lies_inside_the_spread_is_noise() {
        let verdict = |other: &[f64], first: &[f64]| Ratio::of(&figure(other), &figure(first)).verdict;
        assert_eq!(verdict(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), Verdict::Higher);
        assert_eq!(verdict(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), Verdict::Lower);
        assert_eq!(verdict(&[3.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), Verdict::Noise);
        assert_eq!(verdict(&[2.0, 2.0, 2.0], &[1.0, 2.0, 3.0]), Verdict::Noise);
        assert_eq!(verdict(&[5.0], &[1.0, 2.0]), Verdict::Unknown);
        assert_eq!(Ratio::of(&figure(&[5.0, 5.0]), &figure(&[2.0, 2.0])).shown(), "2.50");
        assert_eq!(Ratio::of(&figure(&[5.0, 5.0]), &figure(&[0.0, 0.0])).ratio, None);
    }
}
