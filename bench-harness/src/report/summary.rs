//! What runs come to: medians with their spread, and ratios that call noise noise.

use super::probe::Limit;
use super::run::{Run, Standing};
use super::section::{Machine, Section};
use super::table::{Column, Row, Table};
use crate::number;
use crate::result::Percentiles;

/// One figure of a run.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// As a column of a CSV file: the unit is in the name.
    pub(super) column: &'static str,
    pub(super) of: fn(&Run) -> Option<f64>,
}

const fn figure(
    name: &'static str,
    unit: &'static str,
    column: &'static str,
    of: fn(&Run) -> Option<f64>,
) -> Figure {
    Figure { name, unit, column, of }
}

fn ack(run: &Run) -> Option<&Percentiles> {
    run.result.latency.as_ref().map(|latency| &latency.ack).filter(|it| it.count > 0)
}

fn end_to_end(run: &Run) -> Option<&Percentiles> {
    run.result.latency.as_ref().and_then(|latency| latency.end_to_end.as_ref()).filter(|it| it.count > 0)
}

const MIB: f64 = 1_048_576.0;

/// Those that a comparison is made of.
pub(super) const FIGURES: &[Figure] = &[
    figure("acknowledged", "records/s", "acked_per_s", |run| Some(run.result.records.acked_per_s)),
    figure("acknowledged", "MiB/s", "acked_mib_per_s", |run| Some(run.result.records.acked_mib_per_s)),
    figure("delivered", "records/s", "delivered_per_s", |run| Some(run.result.records.delivered_per_s)),
    figure("ack p50", "µs", "ack_p50_us", |run| ack(run).map(|it| it.p50_us)),
    figure("ack p90", "µs", "ack_p90_us", |run| ack(run).map(|it| it.p90_us)),
    figure("ack p99", "µs", "ack_p99_us", |run| ack(run).map(|it| it.p99_us)),
    figure("ack p99.9", "µs", "ack_p99_9_us", |run| ack(run).map(|it| it.p99_9_us)),
    figure("ack p99.99", "µs", "ack_p99_99_us", |run| ack(run).map(|it| it.p99_99_us)),
    figure("ack max", "µs", "ack_max_us", |run| ack(run).map(|it| it.max_us)),
    figure("end to end p50", "µs", "end_to_end_p50_us", |run| end_to_end(run).map(|it| it.p50_us)),
    figure("end to end p99", "µs", "end_to_end_p99_us", |run| end_to_end(run).map(|it| it.p99_us)),
    figure("end to end p99.9", "µs", "end_to_end_p99_9_us", |run| end_to_end(run).map(|it| it.p99_9_us)),
    figure("end to end max", "µs", "end_to_end_max_us", |run| end_to_end(run).map(|it| it.max_us)),
    figure("broker CPU", "µs/record", "cpu_us_per_record", |run| {
        run.result.broker.as_ref().map(|it| it.cpu_us_per_record)
    }),
    figure("broker CPU", "s/GiB", "cpu_s_per_gib", |run| {
        run.result.broker.as_ref().map(|it| it.cpu_s_per_gib)
    }),
    figure("context switches", "per record", "context_switches_per_record", |run| {
        let acked = run.result.records.measured_acked as f64;
        run.result.broker.as_ref().filter(|_| acked > 0.0).map(|it| it.context_switches as f64 / acked)
    }),
    figure("peak memory", "MiB", "peak_resident_mib", |run| {
        run.result.broker.as_ref().map(|it| it.peak_resident_bytes as f64 / MIB)
    }),
    figure("written by process", "bytes/byte acked", "write_amplification", |run| {
        run.result.broker.as_ref().and_then(|it| it.write_amplification)
    }),
    figure("written to disk", "bytes/byte acked", "disk_write_amplification", |run| {
        run.result.broker.as_ref().and_then(|it| it.disk_write_amplification)
    }),
    figure("start-up", "ms", "start_up_ms", |run| run.result.target.start_up_us.map(|us| us as f64 / 1000.0)),
];

/// Of several runs: the middle, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
    pub(super) runs: usize,
}

impl Spread {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|it| it.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { median, least, greatest, runs: values.len() })
    }

    pub(super) fn shown(&self) -> String {
        match self.runs {
            1 => number::plain(self.median),
            _ => format!(
                "{} [{} … {}]",
                number::plain(self.median),
                number::plain(self.least),
                number::plain(self.greatest)
            ),
        }
    }

    /// `self` for each of `first`. Fewer rounds than these say nothing about noise.
    fn ratio_to(&self, first: &Self) -> String {
        if first.median == 0.0 {
            return "–".to_owned();
        }
        let ratio = format!("{}×", number::plain(self.median / first.median));
        if self.runs.min(first.runs) < ROUNDS_MIN {
            return format!("{ratio} ?");
        }
        let apart = self.least > first.greatest || self.greatest < first.least;
        if apart { ratio } else { format!("noise ({ratio})") }
    }
}

const ROUNDS_MIN: usize = 3;

/// What is to be seen first of a section.
pub(super) fn tables(section: &Section, machine: &Machine) -> Vec<Table> {
    let mut tables = Vec::new();
    tables.extend(section.compared().rate().map(|rate| comparison(section, machine, rate)));
    if section.rates().len() > 1 {
        tables.push(by_rate(section, &machine.targets));
    }
    tables
}

/// Columns of the table by rate.
const BY_RATE: &[&str] = &[
    "acked_per_s",
    "ack_p50_us",
    "ack_p99_us",
    "ack_p99_9_us",
    "ack_max_us",
    "end_to_end_p99_us",
    "cpu_us_per_record",
];

fn by_rate(section: &Section, targets: &[String]) -> Table {
    let figures =
        || BY_RATE.iter().filter_map(|column| FIGURES.iter().find(|figure| figure.column == *column));
    let mut columns =
        vec![Column::text("target"), Column::number("asked", "records/s"), Column::number("runs", "")];
    columns.extend(figures().map(|figure| Column::number(figure.name, figure.unit)));
    let mut rows = Vec::new();
    for target in targets {
        for rate in section.rates() {
            let is_one = |run: &&Run| run.target() == *target;
            let all = section.runs.iter().filter(|run| run.rate() == Some(rate)).filter(is_one).count();
            let good: Vec<&Run> = section.good_at(Some(rate)).filter(is_one).collect();
            if all == 0 {
                continue;
            }
            let count = if good.len() == all { all.to_string() } else { format!("{} of {all}", good.len()) };
            let mut cells = vec![target.clone(), number::plain(rate), count];
            cells.extend(figures().map(|figure| {
                let spread = Spread::of(good.iter().filter_map(|run| (figure.of)(run)));
                spread.map_or_else(|| "–".to_owned(), |spread| number::plain(spread.median))
            }));
            rows.push(Row { cells, is_bad: good.is_empty() });
        }
    }
    let caption = "By the rate asked: medians of the runs that may be used.".to_owned();
    Table { caption, columns, rows }
}

/// Figures down, targets across; the first target is what others are measured by.
pub(super) fn comparison(section: &Section, machine: &Machine, rate: Option<f64>) -> Table {
    let has_runs = |target: &&String| section.runs.iter().any(|run| run.target() == **target);
    let present: Vec<&String> = machine.targets.iter().filter(has_runs).collect();
    let mut columns = vec![Column::text("figure"), Column::text("unit")];
    columns.extend(present.iter().map(|target| Column::number((*target).clone(), "")));
    columns.extend(present.iter().skip(1).map(|target| Column::number(format!("{target} / first"), "")));
    let spreads = |figure: &Figure| -> Vec<Option<Spread>> {
        let of = |target: &&String| {
            Spread::of(section.good_at(rate).filter(|run| run.target() == **target).filter_map(figure.of))
        };
        present.iter().map(of).collect()
    };
    let mut rows = Vec::new();
    for figure in FIGURES {
        let spreads = spreads(figure);
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let mut cells = vec![figure.name.to_owned(), figure.unit.to_owned()];
        cells.extend(spreads.iter().map(|it| it.map_or_else(|| "–".to_owned(), |it| it.shown())));
        cells.extend(spreads.iter().skip(1).map(|it| match (it, &spreads[0]) {
            (Some(it), Some(first)) => it.ratio_to(first),
            _ => "–".to_owned(),
        }));
        rows.push(Row { cells, is_bad: false });
    }
    let record_bytes = section.runs.first().map_or(0, |run| run.result.workload.records.bytes);
    let limits = machine.probes.iter().flat_map(|probe| probe.limits(u64::from(record_bytes)));
    for Limit { name, unit, of, divisor } in limits {
        let Some(figure) = FIGURES.iter().find(|figure| figure.column == of) else { continue };
        let mut cells = vec![name, unit.to_owned()];
        let shown =
            |it: Option<Spread>| it.map_or_else(|| "–".to_owned(), |it| number::plain(it.median / divisor));
        cells.extend(spreads(figure).into_iter().map(shown));
        cells.resize(columns.len(), String::new());
        rows.push(Row { cells, is_bad: false });
    }
    let at = rate.map(|rate| format!(" at {} records/s", number::plain(rate))).unwrap_or_default();
    let caption = format!(
        "Medians{at}, [least … greatest] of several runs. A ratio is noise where the two ranges overlap, and has a ? \
         where fewer than {ROUNDS_MIN} runs of each may be used."
    );
    Table { caption, columns, rows }
}

/// Every run, whether it may be used or not.
pub(super) fn all_runs(section: &Section) -> Table {
    let mut columns = vec![
        Column::text("file"),
        Column::text("target"),
        Column::text("standing"),
        Column::number("asked", "records/s"),
        Column::number("acked", "records/s"),
        Column::number("ack p50", "µs"),
        Column::number("p99", "µs"),
        Column::number("p99.9", "µs"),
        Column::number("max", "µs"),
        Column::number("end to end p50", "µs"),
        Column::number("p99", "µs"),
        Column::number("max", "µs"),
    ];
    columns.extend(
        ["sent", "acked", "failed", "delivered", "lost", "duplicated", "reordered", "corrupted"]
            .map(|it| Column::number(it, "records")),
    );
    columns.push(Column::number("broker CPU", "µs/record"));
    columns.push(Column::number("generator lag p99", "µs"));
    columns.push(Column::text("remarks"));
    let rows = section.runs.iter().map(run_row).collect();
    let caption =
        "Every run. Latency counts from when a record was due. What is marked may not be used, and is in no \
                   median and no plot."
            .to_owned();
    Table { caption, columns, rows }
}

fn run_row(run: &Run) -> Row {
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number::plain);
    let records = &run.result.records;
    let of = |percentiles: Option<&Percentiles>, of: fn(&Percentiles) -> f64| shown(percentiles.map(of));
    let (standing, mut remarks) = match &run.standing {
        Standing::Good => ("valid".to_owned(), Vec::new()),
        Standing::Bad { mark, why } => ((*mark).to_owned(), vec![why.clone()]),
    };
    remarks.extend(run.remarks());
    let mut cells = vec![
        run.file.clone(),
        run.target(),
        standing,
        shown(run.rate()),
        shown(Some(records.acked_per_s)),
        of(ack(run), |it| it.p50_us),
        of(ack(run), |it| it.p99_us),
        of(ack(run), |it| it.p99_9_us),
        of(ack(run), |it| it.max_us),
        of(end_to_end(run), |it| it.p50_us),
        of(end_to_end(run), |it| it.p99_us),
        of(end_to_end(run), |it| it.max_us),
    ];
    let counts = [
        records.sent,
        records.acked,
        records.failed,
        records.delivered,
        records.lost,
        records.duplicated,
        records.reordered,
        records.corrupted,
    ];
    cells.extend(counts.map(number::whole));
    cells.push(shown(run.result.broker.as_ref().map(|it| it.cpu_us_per_record)));
    cells.push(shown(run.result.generator.lag.as_ref().map(|it| it.p99_us)));
    cells.push(remarks.join("; "));
    Row { cells, is_bad: !run.is_good() }
}

/// Where records went missing, twice or astray.
pub(super) fn partitions(section: &Section) -> Option<Table> {
    let mut columns = vec![Column::text("file"), Column::text("partition")];
    columns.extend(["lost", "duplicated", "reordered", "corrupted"].map(|it| Column::number(it, "records")));
    let mut rows = Vec::new();
    let mut left = 0;
    for run in &section.runs {
        let all = &run.result.records.by_partition;
        left += all.len().saturating_sub(PARTITIONS_SHOWN);
        for partition in all.iter().take(PARTITIONS_SHOWN) {
            let counts = [partition.lost, partition.duplicated, partition.reordered, partition.corrupted];
            let mut cells = vec![run.file.clone(), format!("{}-{}", partition.topic, partition.partition)];
            cells.extend(counts.map(number::whole));
            rows.push(Row { cells, is_bad: partition.lost + partition.corrupted > 0 });
        }
    }
    let more = if left > 0 { format!(" {left} more partitions are in the files.") } else { String::new() };
    let caption = format!("Partitions where a record was lost, doubled, reordered or corrupted.{more}");
    (!rows.is_empty()).then_some(Table { caption, columns, rows })
}

const PARTITIONS_SHOWN: usize = 20;
