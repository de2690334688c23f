//! The page: one file that needs no network, no script and no font of its own.

use std::fmt::Write as _;

use super::Report;
use super::plot::{Axis, Bar, Kind, Plot, Series, bars};
use super::run::{Run, Standing};
use super::section::{Machine, Section};
use super::summary;
use super::table::escaped;
use super::{groups, recovery};
use crate::doctor;
use crate::figure::Figure;
use crate::machine::Facts;
use crate::number;
use crate::result::Second;
use crate::workload::{Arrivals, From, Keys};

const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>millstream-bench report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>millstream-bench report</h1>\n"
    );
    intro(report, &mut out);
    for (at, machine) in report.machines.iter().enumerate() {
        one_machine(machine, at, &mut out);
    }
    let _ = writeln!(
        out,
        "</main>\n<footer>Made by millstream-bench {}. Method and limits: docs/benchmarking.md.</footer>\n\
         </body>\n</html>",
        env!("CARGO_PKG_VERSION")
    );
    out
}

/// The first plot alone, as SVG; None if what is reported makes none.
pub(super) fn picture(report: &Report) -> Option<String> {
    let machines = report.machines.iter();
    let mut plots = machines.flat_map(|machine| {
        machine.sections.iter().flat_map(|section| plots(section, &machine.targets, "plot"))
    });
    plots.next().map(|plot| plot.file(STYLE))
}

/// What a reader must know before any figure.
pub(super) fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    if report.machines.len() > 1 {
        warnings.push(format!(
            "These results come from {} machines. Each has its own part below; figures of different machines do not \
             compare.",
            report.machines.len()
        ));
    }
    if report.machines.iter().any(|machine| machine.facts.is_none()) {
        warnings.push(
            "Some results do not say which machine they were made on; they may come from different ones."
                .to_owned(),
        );
    }
    let standings =
        || report.runs().map(|run| &run.standing).chain(report.groups().map(|groups| &groups.standing));
    let (bad, all) = (standings().filter(|it| **it != Standing::Good).count(), standings().count());
    if bad > 0 {
        warnings.push(format!(
            "{bad} of {all} runs may not be used: they are marked, and are in no median and no plot."
        ));
    }
    warnings
}

fn intro(report: &Report, out: &mut String) {
    for warning in warnings(report) {
        let _ = writeln!(out, "<p class=\"warning\" role=\"note\">{}</p>", escaped(&warning));
    }
    out.push_str(
        "<p>Latency counts from the moment a record was due, not from when it was sent: a stall of the broker shows \
         on every record that waited for it. A run in which the generator itself was late, or in which a record was \
         lost, is marked and not used.</p>\n",
    );
    if !report.left_out.is_empty() {
        out.push_str("<p>Files that were left out:</p>\n<ul>\n");
        for line in &report.left_out {
            let _ = writeln!(out, "<li>{}</li>", escaped(line));
        }
        out.push_str("</ul>\n");
    }
}

pub(super) fn machine_title(machine: &Machine) -> String {
    machine.facts.as_ref().map_or_else(|| "A machine that was not written down".to_owned(), Facts::title)
}

/// What was wrong with the machine while it measured, as `doctor` would say it.
pub(super) fn spoilers(facts: &Facts) -> Vec<String> {
    let findings = doctor::examine(facts, None, &[]);
    let bad = findings.into_iter().filter(|finding| finding.level != doctor::Level::Good);
    bad.map(|finding| format!("{}: {}", finding.what, finding.found)).collect()
}

fn one_machine(machine: &Machine, at: usize, out: &mut String) {
    let _ = writeln!(out, "<section class=\"machine\">\n<h2>{}</h2>", escaped(&machine_title(machine)));
    if let Some(facts) = &machine.facts {
        out.push_str("<details><summary>The machine</summary>\n<dl>\n");
        for (name, value) in facts.lines() {
            let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(&value));
        }
        out.push_str("</dl>\n</details>\n");
        let spoilers = spoilers(facts);
        if !spoilers.is_empty() {
            out.push_str("<p>What on this machine makes figures worse or less steady:</p>\n<ul>\n");
            for line in spoilers {
                let _ = writeln!(out, "<li>{}</li>", escaped(&line));
            }
            out.push_str("</ul>\n");
        }
    }
    for (place, section) in machine.sections.iter().enumerate() {
        one_section(section, machine, &format!("m{at}w{place}"), out);
    }
    for load in groups::loads(machine) {
        load.html(out);
    }
    if let Some(table) = recovery::table(&machine.recoveries) {
        let _ = write!(out, "<h3>Start-up and recovery</h3>\n{}", table.html());
    }
    if !machine.probes.is_empty() {
        out.push_str("<details><summary>The limit: this machine without a broker</summary>\n");
        for probe in &machine.probes {
            out.push_str(&probe.table().html());
        }
        out.push_str("</details>\n");
    }
    out.push_str("</section>\n");
}

/// Of a run that may not be used.
pub(super) fn warn(standing: &Standing, target: &str, file: &str, out: &mut String) {
    if let Standing::Bad { mark, why } = standing {
        let _ = writeln!(
            out,
            "<p class=\"warning\"><strong class=\"mark\">{mark}</strong> {} ({}): {}</p>",
            escaped(target),
            escaped(file),
            escaped(why)
        );
    }
}

fn one_section(section: &Section, machine: &Machine, id: &str, out: &mut String) {
    let Some(first) = section.runs.first() else { return };
    let targets = &machine.targets;
    let workload = &first.result.workload;
    let _ = writeln!(
        out,
        "<section class=\"workload\">\n<h3>{}</h3>\n<p>{}</p>\n<p class=\"asked\">{}</p>",
        escaped(&workload.name),
        escaped(&workload.about),
        escaped(&what_was_asked(first))
    );
    for run in section.bad() {
        warn(&run.standing, &run.target(), &run.file, out);
    }
    for table in summary::tables(section, machine) {
        out.push_str(&table.html());
    }
    for plot in plots(section, targets, id) {
        out.push_str(&plot.svg());
    }
    if let Some(rate) = section.compared().rate() {
        cpu_bars(section, targets, rate, id, out);
    }
    out.push_str("<details><summary>Every run</summary>\n");
    out.push_str(&summary::all_runs(section).html());
    if let Some(table) = summary::partitions(section) {
        out.push_str(&table.html());
    }
    out.push_str("</details>\n<details><summary>How it was run</summary>\n<ul class=\"commands\">\n");
    for run in &section.runs {
        let _ = writeln!(
            out,
            "<li>{}, seed {}: <code>{}</code></li>",
            number::date(run.result.began_ms),
            run.result.workload.seed,
            escaped(&run.result.command.join(" "))
        );
    }
    out.push_str("</ul>\n</details>\n</section>\n");
}

/// The load in one sentence, with what its kind of arrivals means for the figures.
pub(super) fn what_was_asked(run: &Run) -> String {
    let workload = &run.result.workload;
    let (topics, records, produce) = (&workload.topics, &workload.records, &workload.produce);
    let arrivals = match produce.arrivals {
        Arrivals::Fixed => "open loop at an even pace",
        Arrivals::Poisson => "open loop with random (Poisson) arrivals",
        Arrivals::Closed => "closed loop: the latency of a lone caller that waits, not of a service",
        Arrivals::Max => "as fast as records are taken: throughput; latency says how deep queues are",
    };
    let keys = match records.keys {
        Keys::None => "no keys".to_owned(),
        Keys::Uniform { count } => format!("{count} keys"),
        Keys::Zipf { count, exponent } => format!("{count} keys, zipf {exponent}"),
    };
    let from = if workload.consume.from == From::Beginning { " from the beginning" } else { "" };
    let burst = produce.burst.map_or_else(String::new, |burst| {
        format!(", in bursts of {} s every {} s", burst.lasts_s, burst.every_s)
    });
    let acks = if produce.acks == -1 { "all".to_owned() } else { produce.acks.to_string() };
    let idempotent = if produce.idempotent { ", idempotent" } else { "" };
    format!(
        "{arrivals}{burst}; {}, acks {acks}, linger {} ms, batches of up to {} bytes, codec {}{idempotent}; values of \
         {} bytes, {keys}; {} of {}; {}{from}; {} s measured after {} s of warm-up.",
        number::of(produce.producers, "producer"),
        produce.linger_ms,
        number::whole(produce.batch_bytes.into()),
        produce.codec,
        number::whole(records.bytes.into()),
        number::of(topics.count, "topic"),
        number::of(topics.partitions, "partition"),
        number::of(workload.consume.consumers, "consumer"),
        workload.duration_s,
        workload.warm_up_s
    )
}

/// All plots of a section that have something to show.
pub(super) fn plots(section: &Section, targets: &[String], id: &str) -> Vec<Plot> {
    let mut plots = Vec::new();
    if let Some(rate) = section.compared().rate() {
        plots.extend(percentiles(section, targets, rate, id, "ack", "acknowledgement", |run| {
            run.ack.as_ref()
        }));
        plots.extend(percentiles(section, targets, rate, id, "e2e", "delivery", |run| {
            run.end_to_end.as_ref()
        }));
        plots.extend(over_time(section, targets, rate, id));
        plots.extend(rate_over_time(section, targets, rate, id));
    }
    if section.rates().len() > 1 {
        plots.extend(latency_by_rate(section, targets, id));
        plots.extend(throughput_by_rate(section, targets, id));
    }
    plots
}

fn at_rate(rate: Option<f64>) -> String {
    rate.map(|rate| format!(" at {} records/s", number::plain(rate))).unwrap_or_default()
}

fn percentiles(
    section: &Section,
    targets: &[String],
    rate: Option<f64>,
    id: &str,
    short: &str,
    until: &str,
    curve: fn(&Run) -> Option<&super::histogram::Curve>,
) -> Option<Plot> {
    let mut series = Vec::new();
    for (colour, target) in targets.iter().enumerate() {
        let Some(middle) = section.middle(target, rate) else { continue };
        for run in section.good_at(rate).filter(|run| run.target() == *target) {
            let Some(points) = curve(run) else { continue };
            let kind = if std::ptr::eq(run, middle) { Kind::Main } else { Kind::Faint };
            series.push(Series { label: target.clone(), colour, kind, parts: vec![points.0.clone()] });
        }
    }
    if series.is_empty() {
        return None;
    }
    let values = || series.iter().flat_map(|it| it.parts.iter().flatten());
    let end = values().map(|(x, _)| *x).fold(0.0, f64::max);
    Some(Plot {
        id: format!("{id}-{short}"),
        title: format!("Latency to {until} by percentile{}", at_rate(rate)),
        about: "Strong lines are the runs with the middle p99, thin ones the others. The last point is the greatest \
                value of all. The tables have the figures."
            .to_owned(),
        x: Axis::nines(end),
        y: Axis::log("latency", values().map(|(_, y)| *y), number::time),
        series,
    })
}

/// Long runs are cut into so many spans.
const SPANS: usize = 600;

fn spans(seconds: &[Second]) -> impl Iterator<Item = &[Second]> {
    seconds.chunks(seconds.len().div_ceil(SPANS).max(1))
}

fn span_note(seconds: usize, what: &str) -> String {
    match seconds.div_ceil(SPANS) {
        0 | 1 => String::new(),
        each => format!(" Each point is the {what} of {each} seconds."),
    }
}

fn over_time(section: &Section, targets: &[String], rate: Option<f64>, id: &str) -> Option<Plot> {
    let mut series = Vec::new();
    let mut seconds = 0;
    for (colour, target) in targets.iter().enumerate() {
        let Some(run) = section.middle(target, rate) else { continue };
        seconds = seconds.max(run.result.seconds.len());
        let worst = |of: fn(&Second) -> f64| parts(&run.result.seconds, of);
        let label = |what: &str| format!("{target}: {what}");
        let line = |what: &str, kind, parts| Series { label: label(what), colour, kind, parts };
        series.push(line("p99", Kind::Main, worst(|it| it.ack_p99_us)));
        series.push(line("max", Kind::Dotted, worst(|it| it.ack_max_us)));
    }
    let values = || series.iter().flat_map(|it| it.parts.iter().flatten());
    values().next()?;
    Some(Plot {
        id: format!("{id}-time"),
        title: format!("Latency to acknowledgement over time{}", at_rate(rate)),
        about: format!(
            "Of each target the run with the middle p99. Seconds in which nothing was acknowledged have no point.{}",
            span_note(seconds, "worst")
        ),
        x: Axis::linear("seconds", values().map(|(x, _)| *x).fold(0.0, f64::max), number::count),
        y: Axis::log("latency of a second's records", values().map(|(_, y)| *y), number::time),
        series,
    })
}

/// The worst of each span; a span without an acknowledged record ends a part.
fn parts(seconds: &[Second], of: fn(&Second) -> f64) -> Vec<Vec<(f64, f64)>> {
    let mut parts = vec![Vec::new()];
    for span in spans(seconds) {
        let worst = span.iter().filter(|it| it.acked > 0).map(of).fold(0.0, f64::max);
        match parts.last_mut() {
            Some(part) if worst > 0.0 => part.push((span[0].at_s, worst)),
            Some(part) if !part.is_empty() => parts.push(Vec::new()),
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn rate_over_time(section: &Section, targets: &[String], rate: Option<f64>, id: &str) -> Option<Plot> {
    let mut series = Vec::new();
    let mut seconds = 0;
    for (colour, target) in targets.iter().enumerate() {
        let Some(run) = section.middle(target, rate) else { continue };
        seconds = seconds.max(run.result.seconds.len());
        let points: Vec<(f64, f64)> = spans(&run.result.seconds)
            .map(|span| (span[0].at_s, span.iter().map(|it| it.acked as f64).fold(f64::INFINITY, f64::min)))
            .collect();
        if !points.is_empty() {
            series.push(Series { label: target.clone(), colour, kind: Kind::Main, parts: vec![points] });
        }
    }
    let values = || series.iter().flat_map(|it| it.parts.iter().flatten());
    values().next()?;
    Some(Plot {
        id: format!("{id}-rate"),
        title: format!("Records acknowledged over time{}", at_rate(rate)),
        about: format!("Of each target the run with the middle p99.{}", span_note(seconds, "least")),
        x: Axis::linear("seconds", values().map(|(x, _)| *x).fold(0.0, f64::max), number::count),
        y: Axis::linear("records a second", values().map(|(_, y)| *y).fold(0.0, f64::max), number::count),
        series,
    })
}

fn latency_by_rate(section: &Section, targets: &[String], id: &str) -> Option<Plot> {
    let series = by_rate(section, targets, |run| run.ack_p99_us());
    let values = || series.iter().flat_map(|it| it.parts.iter().flatten());
    values().next()?;
    Some(Plot {
        id: format!("{id}-knee"),
        title: "p99 to acknowledgement by the rate asked".to_owned(),
        about: "Medians of the runs that may be used. A rate without such a run has no point, and no line is drawn \
                across it."
            .to_owned(),
        x: Axis::linear("records a second, asked", section.rates().into_iter().fold(0.0, f64::max), number::count),
        y: Axis::log("p99", values().map(|(_, y)| *y), number::time),
        series,
    })
}

fn throughput_by_rate(section: &Section, targets: &[String], id: &str) -> Option<Plot> {
    let mut series = by_rate(section, targets, |run| Some(run.result.records.acked_per_s));
    let greatest = section.rates().into_iter().fold(0.0, f64::max);
    for (colour, target) in targets.iter().enumerate() {
        let crosses: Vec<(f64, f64)> = section
            .bad()
            .filter(|run| run.target() == *target)
            .filter_map(|run| Some((run.rate()?, run.result.records.acked_per_s)))
            .collect();
        if !crosses.is_empty() {
            let label = format!("{target}: may not be used");
            series.push(Series { label, colour, kind: Kind::Bad, parts: vec![crosses] });
        }
    }
    let top =
        series.iter().flat_map(|it| it.parts.iter().flatten()).map(|(_, y)| *y).fold(greatest, f64::max);
    series.push(Series {
        label: "as much as was asked".to_owned(),
        colour: 0,
        kind: Kind::Guide,
        parts: vec![vec![(0.0, 0.0), (greatest, greatest)]],
    });
    Some(Plot {
        id: format!("{id}-throughput"),
        title: "Records acknowledged by the rate asked".to_owned(),
        about: "Medians of the runs that may be used; crosses are runs that may not.".to_owned(),
        x: Axis::linear("records a second, asked", greatest, number::count),
        y: Axis::linear("records a second, acknowledged", top, number::count),
        series,
    })
}

/// A rate at which a target has no run that may be used ends a part.
fn by_rate(section: &Section, targets: &[String], of: fn(&Run) -> Option<f64>) -> Vec<Series> {
    let mut series = Vec::new();
    for (colour, target) in targets.iter().enumerate() {
        let mut parts = vec![Vec::new()];
        let is_asked =
            |rate: f64| section.runs.iter().any(|run| run.target() == *target && run.rate() == Some(rate));
        for rate in section.rates() {
            let runs = section.good_at(Some(rate)).filter(|run| run.target() == *target);
            match (Figure::of(runs.filter_map(of)), parts.last_mut()) {
                (Some(spread), Some(part)) => part.push((rate, spread.median)),
                (None, Some(part)) if is_asked(rate) && !part.is_empty() => parts.push(Vec::new()),
                _ => {}
            }
        }
        parts.retain(|part| !part.is_empty());
        if !parts.is_empty() {
            series.push(Series { label: target.clone(), colour, kind: Kind::Main, parts });
        }
    }
    series
}

fn cpu_bars(section: &Section, targets: &[String], rate: Option<f64>, id: &str, out: &mut String) {
    let mut all = Vec::new();
    for (colour, target) in targets.iter().enumerate() {
        let runs = || section.good_at(rate).filter(|run| run.target() == *target);
        let spread =
            Figure::of(runs().filter_map(|run| run.result.broker.as_ref().map(|it| it.cpu_us_per_record)));
        let user = Figure::of(runs().filter_map(|run| {
            let cost = run.result.broker.as_ref()?;
            let total = cost.user_s + cost.system_s;
            (total > 0.0).then(|| cost.user_s / total)
        }));
        let (Some(spread), Some(user)) = (spread, user) else { continue };
        let parts = [("user", spread.median * user.median), ("system", spread.median * (1.0 - user.median))];
        all.push(Bar { label: target.clone(), colour, parts, range: (spread.min, spread.max) });
    }
    if !all.is_empty() {
        let title = format!("CPU time of the broker for each record{}", at_rate(rate));
        let about = "Strong: user, pale: system; medians, with the least and the greatest run.";
        out.push_str(&bars(&format!("{id}-cpu"), &title, about, "µs of CPU time a record", &all));
    }
}
