//! What runs come to: medians with their spread, and ratios that call noise noise.

use super::probe::Limit;
use super::run::{Run, Standing};
use super::section::{Machine, Section};
use super::table::{Column, Row, Table};
use crate::figure::{Figure, ROUNDS_MIN};
use crate::number;
use crate::quantity::{QUANTITIES, Quantity};
use crate::result::Percentiles;

fn ack(run: &Run) -> Option<&Percentiles> {
    run.result.latency.as_ref().map(|latency| &latency.ack).filter(|it| it.count > 0)
}

fn end_to_end(run: &Run) -> Option<&Percentiles> {
    run.result.latency.as_ref()?.end_to_end.as_ref().filter(|it| it.count > 0)
}

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
    let quantities =
        || BY_RATE.iter().filter_map(|column| QUANTITIES.iter().find(|quantity| quantity.column == *column));
    let mut columns =
        vec![Column::text("target"), Column::number("asked", "records/s"), Column::number("runs", "")];
    columns.extend(quantities().map(|quantity| Column::number(quantity.name, quantity.unit)));
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
            cells.extend(quantities().map(|quantity| {
                let figure = Figure::of(good.iter().filter_map(|run| (quantity.of)(&run.result)));
                figure.map_or_else(|| "–".to_owned(), |figure| number::plain(figure.median))
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
    let columns = side_by_side(&present);
    let figures = |quantity: &Quantity| -> Vec<Option<Figure>> {
        let of = |target: &&String| {
            let runs = section.good_at(rate).filter(|run| run.target() == **target);
            Figure::of(runs.filter_map(|run| (quantity.of)(&run.result)))
        };
        present.iter().map(of).collect()
    };
    let mut rows = Vec::new();
    for quantity in QUANTITIES {
        rows.extend(compared(quantity.name, quantity.unit, &figures(quantity)));
    }
    let record_bytes = section.runs.first().map_or(0, |run| run.result.workload.records.bytes);
    let limits = machine.probes.iter().flat_map(|probe| probe.limits(u64::from(record_bytes)));
    for Limit { name, unit, of, divisor } in limits {
        let Some(quantity) = QUANTITIES.iter().find(|quantity| quantity.column == of) else { continue };
        let mut cells = vec![name, unit.to_owned()];
        let shown =
            |it: Option<Figure>| it.map_or_else(|| "–".to_owned(), |it| number::plain(it.median / divisor));
        cells.extend(figures(quantity).into_iter().map(shown));
        cells.resize(columns.len(), String::new());
        rows.push(Row { cells, is_bad: false });
    }
    let at = rate.map(|rate| format!(" at {} records/s", number::plain(rate))).unwrap_or_default();
    Table { caption: format!("Medians{at}, {}", how_to_read("runs")), columns, rows }
}

/// Columns for figures down and targets across.
pub(super) fn side_by_side(targets: &[&String]) -> Vec<Column> {
    let mut columns = vec![Column::text("figure"), Column::text("unit")];
    columns.extend(targets.iter().map(|target| Column::number((*target).clone(), "")));
    columns.extend(targets.iter().skip(1).map(|target| Column::number(format!("{target} / first"), "")));
    columns
}

/// The row of one figure, by target; None if no target has it.
pub(super) fn compared(name: &str, unit: &str, figures: &[Option<Figure>]) -> Option<Row> {
    if figures.iter().all(Option::is_none) {
        return None;
    }
    let mut cells = vec![name.to_owned(), unit.to_owned()];
    let none = || "–".to_owned();
    cells.extend(figures.iter().map(|it| it.as_ref().map_or_else(none, Figure::shown)));
    cells.extend(figures.iter().skip(1).map(|it| match (it, &figures[0]) {
        (Some(it), Some(first)) => it.ratio_to(first).shown(),
        _ => none(),
    }));
    Some(Row { cells, is_bad: false })
}

/// The end of a caption.
pub(super) fn how_to_read(runs: &str) -> String {
    format!(
        "[least … greatest] of several {runs}. A ratio is noise where the two ranges overlap, and has a ? where fewer \
         than {ROUNDS_MIN} {runs} of each may be used."
    )
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
    columns.push(Column::number("reading lag p99", "µs"));
    columns.push(Column::number("all CPUs busy", "%"));
    columns.push(Column::number("stolen", "%"));
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
    cells.push(shown(run.result.generator.reading_lag.as_ref().map(|it| it.p99_us)));
    cells.push(shown(run.result.all_cpus.map(|it| it.busy * 100.0)));
    cells.push(shown(run.result.all_cpus.map(|it| it.steal * 100.0)));
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
