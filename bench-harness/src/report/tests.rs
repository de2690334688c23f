use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use super::*;

mod loads;

use crate::machine::{Cpu, Facts};
use crate::result::{
    Accounts, BrokerCost, FORMAT, Latencies, Outcome, PartitionAccounts, Percentiles, RunResult, Second,
    TargetFacts,
};

/// `count` records of which the n-th took n times `step_us`.
fn percentiles(count: u64, step_us: u64) -> Percentiles {
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    for n in 1..=count {
        histogram.record(n * step_us * 1000).unwrap();
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Percentiles {
        count,
        min_us: us(0.0),
        mean_us: histogram.mean() / 1000.0,
        p50_us: us(0.5),
        p90_us: us(0.9),
        p99_us: us(0.99),
        p99_9_us: us(0.999),
        p99_99_us: us(0.9999),
        max_us: us(1.0),
        histogram: STANDARD.encode(bytes),
    }
}

fn machine(model: &str) -> serde_json::Value {
    let cpu = Cpu { model: Some(model.to_owned()), logical: 8, cores: 8, ..Cpu::default() };
    serde_json::to_value(Facts { kernel: Some("6.12".into()), cpu, ..Facts::default() }).unwrap()
}

fn result(target: &str, rate: f64, step_us: u64) -> RunResult {
    let mut workload = crate::workload::file::load("paced-1k").unwrap();
    workload.produce.rate = Some(rate);
    let second = |at: u32| Second {
        at_s: f64::from(at),
        acked: rate as u64,
        ack_p50_us: 500.0,
        ack_p99_us: 990.0 * step_us as f64,
        ack_max_us: 1000.0 * step_us as f64,
        ..Second::default()
    };
    RunResult {
        format: FORMAT,
        harness: "0.1.0".into(),
        command: vec!["millstream-bench".into(), "run".into()],
        began_ms: 1_700_000_000_000,
        outcome: Outcome::Valid,
        target: TargetFacts {
            name: target.into(),
            fsync: Some("every-ack".into()),
            ..TargetFacts::default()
        },
        workload,
        machine: machine("A CPU"),
        records: Accounts { sent: 1000, acked: 1000, acked_per_s: rate, ..Accounts::default() },
        latency: Some(Latencies { ack: percentiles(1000, step_us), end_to_end: None }),
        seconds: (0..10).map(second).collect(),
        generator: Default::default(),
        all_cpus: None,
        broker: Some(BrokerCost {
            user_s: 3.0,
            system_s: 1.0,
            cpu_us_per_record: 4.0,
            ..BrokerCost::default()
        }),
    }
}

fn report(results: Vec<RunResult>) -> Report {
    let texts: Vec<(String, String)> = results
        .into_iter()
        .enumerate()
        .map(|(at, result)| (format!("folder/{at}.json"), serde_json::to_string(&result).unwrap()))
        .collect();
    let report = Report::of(&texts);
    assert_eq!(report.left_out, [""; 0]);
    report
}

/// Rounds of two targets, the first twice as fast.
fn rounds() -> Vec<RunResult> {
    [10, 11, 12].iter().flat_map(|step| [result("a", 1000.0, *step), result("b", 1000.0, step * 2)]).collect()
}

fn only_section(report: &Report) -> &section::Section {
    assert_eq!((report.machines.len(), report.machines[0].sections.len()), (1, 1));
    &report.machines[0].sections[0]
}

fn comparison(report: &Report) -> Vec<(String, Vec<String>)> {
    let section = only_section(report);
    let table = summary::comparison(section, &report.machines[0], section.compared().rate().unwrap());
    let name = |cells: &[String]| format!("{} {}", cells[0], cells[1]);
    table.rows.into_iter().map(|row| (name(&row.cells), row.cells[2..].to_vec())).collect()
}

fn cells<'a>(table: &'a [(String, Vec<String>)], name: &str) -> &'a [String] {
    &table.iter().find(|(it, _)| it == name).unwrap_or_else(|| panic!("no {name} in {table:?}")).1
}

fn plot_of(report: &Report, id: &str) -> plot::Plot {
    let section = only_section(report);
    let plots = html::plots(section, &report.machines[0].targets, "x");
    plots.into_iter().find(|plot| plot.id == format!("x-{id}")).unwrap_or_else(|| panic!("no plot {id}"))
}

#[test]
fn medians_spreads_and_ratios_come_from_the_runs() {
    let table = comparison(&report(rounds()));
    let p99 = cells(&table, "ack p99 µs");
    assert!(p99[0].starts_with("10,") && p99[0].contains(" [9,9") && p99[0].contains(" … 11,8"), "{p99:?}");
    assert_eq!(p99[2], "2.00×");
    assert_eq!(cells(&table, "acknowledged records/s")[2], "noise (1.00×)");
    assert_eq!(cells(&table, "broker CPU µs/record")[0], "4.00");
    let two = comparison(&report(rounds().into_iter().take(4).collect()));
    assert_eq!(cells(&two, "ack p99 µs")[2], "2.00× ?", "two rounds say nothing about noise");
}

#[test]
fn plots_have_a_mark_for_every_point() {
    let report = report(rounds());
    // Of 1000 records: three nines in tenths, and the beginning.
    assert_eq!(plot_of(&report, "ack").marks(), 2 * 31);
    assert_eq!(plot_of(&report, "ack").series.len(), 6);
    assert_eq!(plot_of(&report, "time").marks(), 2 * 2 * 10);
    assert_eq!(plot_of(&report, "rate").marks(), 2 * 10);
    let plot = plot_of(&report, "ack");
    let (nines, us) = *plot.series[0].parts[0].last().unwrap();
    assert!(
        (nines - 3.0).abs() < 1e-9 && (us - 10_000.0).abs() < 10.0,
        "the last is the greatest: {nines} {us}"
    );
}

#[test]
fn what_may_not_be_used_is_marked_and_in_no_median_and_no_plot() {
    let before = report(rounds());
    let mut results = rounds();
    let mut invalid = result("a", 1000.0, 9999);
    invalid.outcome = Outcome::Invalid { why: "the generator was 30 ms late".into() };
    let mut incomplete = result("b", 1000.0, 9999);
    incomplete.outcome = Outcome::Incomplete { why: "the broker died".into() };
    let mut lossy = result("b", 1000.0, 9999);
    lossy.records.lost = 7;
    lossy.latency = None;
    lossy.records.by_partition =
        vec![PartitionAccounts { topic: "t".into(), partition: 3, lost: 7, ..Default::default() }];
    let mut corrupted = result("a", 1000.0, 9999);
    corrupted.records.corrupted = 1;
    let mut changed = result("a", 1000.0, 9999);
    changed.latency.as_mut().unwrap().ack.p99_us = 1.0;
    let mut cut = result("a", 1000.0, 9999);
    cut.latency.as_mut().unwrap().ack.histogram.truncate(30);
    results.extend([invalid, incomplete, lossy, corrupted, changed, cut]);
    let report = report(results);
    assert_eq!(comparison(&report), comparison(&before));
    for id in ["ack", "time", "rate"] {
        assert_eq!(plot_of(&report, id).svg(), plot_of(&before, id).svg(), "{id}");
    }
    let page = html::page(&report);
    for words in [
        "6 of 12 runs may not be used",
        "INVALID</strong> a, fsync: every-ack (6.json): the generator was 30 ms late",
        "INCOMPLETE</strong> b",
        "LOST</strong> b, fsync: every-ack (8.json): 7 records lost: no latency",
        "CORRUPTED</strong>",
        "BROKEN</strong> a, fsync: every-ack (10.json): its p99 is 1 µs",
        "BROKEN</strong> a, fsync: every-ack (11.json): its histogram",
        "<th scope=\"row\">8.json</th><td>t-3</td><td class=\"n\">7</td>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(page.matches("<tr class=\"bad\">").count(), 6 + 1);
    let text = markdown::page(&report);
    assert!(text.contains("- **LOST**: b, fsync: every-ack (8.json): 7 records lost"), "{text}");
}

#[test]
fn machines_and_workloads_never_share_a_plot_and_many_machines_are_said() {
    let mut other = result("b", 1000.0, 10);
    other.machine = machine("Another CPU");
    let mut unknown = result("c", 1000.0, 10);
    unknown.machine = serde_json::Value::Null;
    let mut larger = result("a", 1000.0, 10);
    larger.workload.records.bytes = 2048;
    let mut seeded = result("a", 1000.0, 10);
    seeded.workload.seed = 99;
    let report = report(vec![result("a", 1000.0, 10), other, unknown, larger, seeded]);
    let sections: Vec<Vec<usize>> = report
        .machines
        .iter()
        .map(|machine| machine.sections.iter().map(|section| section.runs.len()).collect())
        .collect();
    assert_eq!(sections, [vec![2, 1], vec![1], vec![1]]);
    let page = html::page(&report);
    assert!(page.contains("These results come from 3 machines."));
    assert!(page.contains("do not say which machine"));
    assert_eq!(page.matches("id=\"m0w0-ack\"").count(), 1);
}

#[test]
fn a_sweep_is_drawn_by_rate_with_gaps_and_crosses() {
    let mut results = Vec::new();
    for (rate, step) in [(1000.0, 10), (2000.0, 20), (3000.0, 30), (4000.0, 90)] {
        results.push(result("a", rate, step));
        let mut run = result("b", rate, step * 2);
        if rate == 2000.0 || rate == 4000.0 {
            run.outcome = Outcome::Invalid { why: "late".into() };
        }
        results.push(run);
    }
    let report = report(results);
    let both_hold = section::Compared::At(3000.0);
    assert_eq!(only_section(&report).compared(), both_hold, "the highest that both hold");
    let page = html::page(&report);
    assert!(page.contains("<td class=\"n\">0 of 1</td>"), "b at 2000 has no run that may be used");
    let knee = plot_of(&report, "knee");
    let shape: Vec<Vec<usize>> =
        knee.series.iter().map(|series| series.parts.iter().map(Vec::len).collect()).collect();
    assert_eq!(shape, [vec![4], vec![1, 1]], "no line over the rate that b did not hold");
    let through = plot_of(&report, "throughput");
    let crosses: Vec<usize> = through
        .series
        .iter()
        .filter(|series| series.kind == plot::Kind::Bad)
        .map(|series| series.parts[0].len())
        .collect();
    assert_eq!((crosses, through.marks()), (vec![2], 4 + 2 + 2));
}

#[test]
fn long_runs_keep_their_worst_second_and_stalls_stay_gaps() {
    let mut long = result("a", 1000.0, 10);
    let mut second = long.seconds[0].clone();
    long.seconds = (0..6000_u32)
        .map(|at| {
            second.at_s = f64::from(at);
            second.ack_max_us = if at == 3333 { 5e6 } else { 100.0 };
            second.acked = if (4000..4100).contains(&at) { 0 } else { 1000 };
            second.clone()
        })
        .collect();
    let report = report(vec![long]);
    let plot = plot_of(&report, "time");
    let max = plot.series.iter().find(|series| series.kind == plot::Kind::Dotted).unwrap();
    assert_eq!(max.parts.iter().map(Vec::len).collect::<Vec<_>>(), [400, 190]);
    assert!(max.parts[0].iter().any(|(_, us)| *us == 5e6), "a stall of one second in 6000 is on the plot");
    let rates = &plot_of(&report, "rate").series[0].parts[0];
    assert_eq!((rates.len(), rates[400].1), (600, 0.0));
}

#[test]
fn the_page_needs_nothing_else_and_takes_no_text_for_markup() {
    let mut results = rounds();
    results[0].target.name = "<script>alert('x')</script>&\"".into();
    results[0].command = vec!["<b>".into()];
    let page = html::page(&report(results));
    for word in ["<script", "http://", "https://", "src=", "@import", "url(", "<b>", "NaN", "inf "] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    assert!(page.contains("prefers-color-scheme: dark"));
    let opened =
        |tag: &str| page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
    for tag in ["table", "tr", "td", "section", "svg", "g", "figure", "details", "ul", "li", "text"] {
        assert_eq!(opened(tag), page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn a_picture_is_the_first_plot_with_its_names_and_needs_nothing_else() {
    let mut results = rounds();
    results[0].target.name = "<a>".into();
    let report = report(results);
    let picture = html::picture(&report).expect("rounds make plots");
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" "));
    assert!(picture.contains("Latency to acknowledgement by percentile") && picture.contains("dark"));
    for target in ["&lt;a&gt;", "b"] {
        assert!(picture.contains(&format!(">{target}, fsync: every-ack</text>")), "{target}: {picture}");
    }
    let count = |what: &str| picture.matches(what).count();
    assert_eq!(count("class=\"pt\""), plot_of(&report, "ack").marks());
    for tag in ["svg", "g", "text", "title", "style"] {
        assert_eq!(
            count(&format!("<{tag}>")) + count(&format!("<{tag} ")),
            count(&format!("</{tag}>")),
            "{tag}"
        );
    }
    assert_eq!(count("http") + count("url(") + count("NaN"), 1, "the name of SVG itself");
    assert!(html::picture(&Report::default()).is_none());
}

#[test]
fn csv_has_one_line_a_run_and_units_in_its_names() {
    let mut results = rounds();
    results[1].target.name = "b, \"c\"".into();
    results[2].target.name = "=1+1".into();
    let text = csv::table(&report(results));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7);
    assert!(lines[0].contains("ack_p99_us") && lines[0].contains("acked_mib_per_s"), "{}", lines[0]);
    assert_eq!(
        lines[1].matches(',').count(),
        lines[0].matches(',').count() + 3,
        "the machine's name has commas"
    );
    assert!(lines[2].contains("\"b, \"\"c\"\"\"") && lines[3].contains("'=1+1"), "{text}");
}

#[test]
fn markdown_tables_are_whole() {
    let mut results = rounds();
    results[0].target.name = "a|b".into();
    let text = markdown::page(&report(results));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 12, "{text}");
    let mut width = 0;
    for (at, row) in rows.iter().enumerate() {
        let own = row.replace("\\|", "").matches('|').count();
        let is_heading = rows.get(at + 1).is_some_and(|next| next.starts_with("| ---"));
        assert!(is_heading || own == width, "{row}");
        width = own;
    }
}

#[test]
fn files_that_are_no_results_are_left_out_with_a_reason() {
    let good = serde_json::to_string(&result("a", 1.0, 1)).unwrap();
    let newer = good.replacen(&format!("\"format\":{FORMAT}"), "\"format\":99", 1);
    let texts = [
        ("a.json", good.as_str()),
        ("b.json", "{"),
        ("c.json", "{\"format\":1}"),
        ("d.json", &newer),
        ("e.json", &good[..good.len() / 2]),
        ("f.json", "[]"),
    ];
    let texts: Vec<(String, String)> =
        texts.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
    let report = Report::of(&texts);
    assert_eq!((report.runs().count(), report.left_out.len()), (1, 5));
    assert!(report.left_out[1].starts_with("c.json: not the result of a run"), "{:?}", report.left_out);
    assert!(report.left_out[2].starts_with("d.json: format 99; this program reads"), "{:?}", report.left_out);
    assert!(html::page(&report).contains("<li>c.json: not the result of a run</li>"));
}

#[test]
fn brokers_are_held_against_what_the_same_machine_gives_without_one() {
    let case = |bytes: u64, dsync: bool, p50: f64, mib: f64| {
        serde_json::json!({
            "bytes": bytes, "depth": 1, "dsync": dsync, "prewritten": true, "count": 9, "p50_us": p50, "p99_us": p50,
            "p99_9_us": p50, "max_us": p50, "per_s": 1.0, "mib_per_s": mib, "cpu_us": 1.0,
        })
    };
    let rows = [
        case(512, true, 40.0, 1.0),
        case(4096, true, 50.0, 2.0),
        case(16_384, true, 60.0, 8.0),
        case(4096, false, 9.0, 100.0),
    ];
    let probe = |machine| serde_json::json!({"format": FORMAT, "kind": "raw-disk", "harness": "0", "command": [], "machine": machine, "rows": rows});
    let mut texts: Vec<(String, String)> = rounds()
        .into_iter()
        .enumerate()
        .map(|(at, mut result)| {
            result.records.acked_mib_per_s = 25.0;
            (format!("{at}.json"), serde_json::to_string(&result).unwrap())
        })
        .collect();
    texts.push(("disk.json".into(), probe(machine("A CPU")).to_string()));
    texts.push(("far.json".into(), probe(machine("Another CPU")).to_string()));
    texts.push(("comparison.json".into(), "{\"kind\": \"comparison\", \"format\": 1}".into()));
    texts.push(("sweep.json".into(), "{\"kind\": \"sweep\", \"format\": 1}".into()));
    let report = Report::of(&texts);
    assert_eq!(report.left_out, ["far.json: a probe of a machine that has no runs here"]);
    let table = comparison(&report);
    let p50: f64 = cells(&table, "ack p50 / raw durable write of 4096 bytes ×")[0].parse().unwrap();
    assert!((p50 - 11.0 * 500.0 / 50.0).abs() < 1.0, "{p50}");
    assert_eq!(cells(&table, "acknowledged bytes / most the raw disk took %")[..2], ["25.0", "25.0"]);
    assert!(html::page(&report).contains("What the disk gives to a bare io_uring loop"));
}

#[test]
fn targets_that_met_at_no_rate_are_shown_by_rate_only() {
    let report = report(vec![
        result("a", 1000.0, 10),
        result("a", 2000.0, 20),
        result("b", 1500.0, 10),
        result("b", 3000.0, 20),
    ]);
    assert_eq!(only_section(&report).compared(), section::Compared::Nowhere);
    let page = html::page(&report);
    assert!(page.contains("id=\"m0w0-knee\"") && !page.contains("id=\"m0w0-ack\""));
    assert!(page.contains("By the rate asked") && !page.contains(" / first"));
}

#[test]
fn recoveries_stand_in_a_table_of_their_machine_and_losses_are_marked() {
    let round = |killed: f64, lost: u64| {
        serde_json::json!({
            "empty_answer_ms": 5.0, "empty_first_ack_ms": 7.0, "filled_bytes": 1_u64 << 31, "fill_mib_per_s": 1.0,
            "killed_answer_ms": killed, "killed_first_ack_ms": killed, "killed_all_ack_ms": killed, "lost": lost,
        })
    };
    let document = |name: &str, model: &str, lost| {
        serde_json::json!({
            "format": FORMAT, "kind": "recovery", "harness": "0", "command": [], "began_ms": 0, "machine": machine(model),
            "target": {"name": name, "bootstrap": ""}, "gib": 2.0, "partitions": 8, "cold": false,
            "rounds": [round(100.0, 0), round(300.0, lost), round(200.0, 0)], "troubles": [],
        })
        .to_string()
    };
    let texts = [
        ("a.json", serde_json::to_string(&result("a", 1000.0, 10)).unwrap()),
        ("b.json", document("good", "A CPU", 0)),
        ("c.json", document("lossy", "A CPU", 3)),
        ("d.json", document("far", "Another CPU", 0)),
    ];
    let report = Report::of(&texts.map(|(path, text)| (path.to_owned(), text)));
    assert_eq!(report.left_out, ["d.json: of a machine that has no runs here"]);
    let page = html::page(&report);
    assert!(page.contains("<td class=\"n\">200 [100 … 300]</td>"));
    assert!(page.contains("<tr class=\"bad\"><th scope=\"row\">lossy, fsync: unknown</th>"), "{page}");
    assert!(markdown::page(&report).contains("| good, fsync: unknown | warm | 2.00 | 8 | 3 | 5.00 | 7.00 |"));
}

#[test]
fn consumers_that_read_nothing_in_time_have_no_latency_and_spoil_nothing() {
    let mut run = result("a", 1000.0, 10);
    run.latency.as_mut().unwrap().end_to_end = Some(percentiles(0, 1));
    let report = report(vec![run]);
    assert!(report.runs().all(Run::is_good));
    let table = comparison(&report);
    assert!(table.iter().all(|(name, _)| !name.starts_with("end to end")), "{table:?}");
}

#[test]
fn a_target_that_did_not_keep_up_is_named_so_and_one_without_a_name_by_its_address() {
    let mut slow = result("", 1000.0, 10);
    slow.target.bootstrap = "host:9092".into();
    slow.records.acked_per_s = 714.0;
    let page = html::page(&report(vec![slow]));
    assert!(page.contains("did not keep up: 71 % of the rate asked was acknowledged in time"));
    assert!(page.contains("<td>host:9092, fsync: every-ack</td>"), "{page}");
}
