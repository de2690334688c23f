//! Loads of groups, which move no records.

use super::*;
use crate::client::group::Protocol;
use crate::groups::findings::{Broker, Findings, Kind, Leavers, Own, Rate, Round};
use crate::machine::Disk;

const MIB: u64 = 1 << 20;

/// Each heartbeat or commit cost the broker so much.
fn findings(target: &str, load: Kind, cpu_us: f64) -> Findings {
    let rate = |lag| Rate { count: 1000, per_s: 50.0, latency: percentiles(1000, 2), lag };
    Findings {
        target: TargetFacts { name: target.into(), fsync: Some("os".into()), ..TargetFacts::default() },
        load,
        protocol: Protocol::Consumer,
        groups: 10,
        members: 4,
        partitions: 4,
        connections: 40,
        leavers: None,
        why_incomplete: None,
        forming_s: 1.5,
        seconds: 20.0,
        heartbeats: Some(rate(Some(percentiles(1000, 1)))),
        commits: (load == Kind::Commits).then(|| rate(None)),
        again: Default::default(),
        rounds: Vec::new(),
        generator: Own { user_s: 1.0, system_s: 1.0 },
        all_cpus: None,
        broker: Some(Broker {
            resident_before_bytes: 100 * MIB,
            cost: BrokerCost {
                user_s: 3.0,
                system_s: 1.0,
                cpu_us_per_record: cpu_us,
                resident_bytes: 110 * MIB,
                ..BrokerCost::default()
            },
        }),
    }
}

/// As `groups` writes it.
fn document(findings: &Findings, machine: serde_json::Value) -> String {
    let mut document = serde_json::to_value(findings).unwrap();
    let heading = serde_json::json!({
        "format": FORMAT, "kind": "groups", "harness": "0", "command": ["millstream-bench", "groups"],
        "began_ms": 1_700_000_000_000_i64, "machine": machine,
    });
    document.as_object_mut().unwrap().extend(heading.as_object().unwrap().clone());
    document.to_string()
}

fn named(texts: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    texts.into_iter().enumerate().map(|(at, text)| (format!("folder/g{at:02}.json"), text)).collect()
}

fn report(all: &[Findings]) -> Report {
    let report = Report::of(&named(all.iter().map(|it| document(it, machine("A CPU")))));
    assert_eq!(report.left_out, [""; 0]);
    report
}

fn comparison(report: &Report, at: usize) -> Vec<(String, Vec<String>)> {
    assert_eq!(report.machines.len(), 1);
    let table = groups::loads(&report.machines[0])[at].comparison();
    let name = |cells: &[String]| format!("{} {}", cells[0], cells[1]);
    table.rows.into_iter().map(|row| (name(&row.cells), row.cells[2..].to_vec())).collect()
}

#[test]
fn the_same_load_on_several_brokers_stands_side_by_side() {
    let mut all = Vec::new();
    for more in [0.0, 1.0, 2.0] {
        all.push(findings("a", Kind::Steady, 10.0 + more));
        all.push(findings("b", Kind::Steady, 30.0 + 3.0 * more));
    }
    all.push(findings("a", Kind::Commits, 7.0));
    let report = report(&all);
    let table = comparison(&report, 0);
    assert_eq!(
        cells(&table, "broker CPU µs/heartbeat"),
        ["11.0 [10.0 … 12.0]", "33.0 [30.0 … 36.0]", "3.00×"]
    );
    assert_eq!(cells(&table, "broker CPU % of one"), ["20.0", "20.0", "noise (1.00×)"]);
    assert_eq!(cells(&table, "heartbeats 1/s")[..2], ["50.0", "50.0"]);
    assert!(cells(&table, "heartbeats, p99 ms")[0].starts_with("1.98"), "{table:?}");
    assert_eq!(cells(&table, "broker memory before MiB")[0], "100");
    assert_eq!(cells(&table, "broker memory after MiB")[0], "110");
    assert_eq!(cells(&table, "broker memory, growth MiB")[0], "10.0");
    assert_eq!(cells(&table, "broker memory, growth KiB/member")[0], "256");
    assert_eq!(cells(&table, "all groups formed, members in a hurry s")[0], "1.50");
    assert!(table.iter().all(|(name, _)| !name.contains("commit")), "{table:?}");
    let commits = comparison(&report, 1);
    assert_eq!(cells(&commits, "broker CPU µs/commit"), ["7.00"], "one broker is compared with none");
    assert_eq!(cells(&commits, "commits 1/s"), ["50.0"]);

    let page = html::page(&report);
    for words in [
        "<h3>Groups without records: steady</h3>",
        "10 groups of 4 members, protocol consumer, 4 partitions, 40 connections.",
        "<th scope=\"col\" class=\"n\">b, fsync: os / first</th>",
        "<th scope=\"row\">broker CPU</th><td>µs/heartbeat</td><td class=\"n\">11.0 [10.0 … 12.0]</td>",
        "<h3>Groups without records: commits</h3>",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
    let text = markdown::page(&report);
    assert!(text.contains("### Groups without records: steady\n"), "{text}");
    assert!(text.contains("| broker CPU | µs/commit | 7.00 |"), "{text}");
}

#[test]
fn brokers_come_in_the_order_of_the_runs_beside_them() {
    let mut texts: Vec<(String, String)> = [result("b", 1000.0, 10), result("a", 1000.0, 10)]
        .iter()
        .enumerate()
        .map(|(at, result)| (format!("{at}.json"), serde_json::to_string(result).unwrap()))
        .collect();
    let mut found = [findings("a", Kind::Steady, 1.0), findings("b", Kind::Steady, 2.0)];
    found.iter_mut().for_each(|it| it.target.fsync = Some("every-ack".into()));
    texts.extend(named(found.iter().map(|it| document(it, machine("A CPU")))));
    let report = Report::of(&texts);
    assert_eq!(cells(&comparison(&report, 0), "broker CPU µs/heartbeat"), ["2.00", "1.00", "0.500× ?"]);
    assert_eq!(report.machines[0].targets.len(), 2);
}

#[test]
fn a_load_that_may_not_be_used_is_marked_and_in_no_median() {
    let mut stopped = findings("a", Kind::Steady, 999.0);
    stopped.why_incomplete = Some("a <broker> died".into());
    let mut changed = findings("a", Kind::Steady, 999.0);
    changed.heartbeats.as_mut().unwrap().latency.p99_us = 1.0;
    let mut late = findings("a", Kind::Steady, 10.0);
    late.heartbeats.as_mut().unwrap().lag = Some(percentiles(1000, 2));
    let report = report(&[findings("a", Kind::Steady, 10.0), stopped, changed, late]);
    assert_eq!(cells(&comparison(&report, 0), "broker CPU µs/heartbeat"), ["10.0"]);
    let page = html::page(&report);
    for words in [
        "2 of 4 runs may not be used",
        "INCOMPLETE</strong> a, fsync: os (g01.json): a &lt;broker&gt; died",
        "BROKEN</strong> a, fsync: os (g02.json): heartbeats: its p99 is 1 µs",
        "the generator was late itself (p99 2.0 ms)",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
    assert_eq!(page.matches("<tr class=\"bad\">").count(), 2);
    let text = markdown::page(&report);
    assert!(text.contains("- **INCOMPLETE**: a, fsync: os (g01.json)"), "{text}");
}

#[test]
fn changes_of_groups_are_medians_of_rounds_and_other_changes_have_a_table_of_their_own() {
    let round = |ms: f64| Round { formed_ms: ms, without_ms: 10.0 * ms, again_ms: 100.0 * ms };
    let change = |target: &str, times: [f64; 3], count: u32| {
        let mut found = findings(target, Kind::Rebalance, 1.0);
        found.heartbeats = None;
        found.forming_s = 0.0;
        found.generator = Own::default();
        found.leavers = Some(Leavers { count, crash: true, session_timeout_s: 45.0 });
        found.rounds = times.map(round).to_vec();
        found.again.insert("REBALANCE_IN_PROGRESS".into(), u64::from(count));
        found
    };
    let report = report(&[
        change("a", [1.0, 2.0, 3.0], 5),
        change("b", [4.0, 5.0, 6.0], 5),
        change("a", [1.0, 2.0, 3.0], 9),
    ]);
    let table = comparison(&report, 0);
    assert_eq!(cells(&table, "formed ms"), ["2.00 [1.00 … 3.00]", "5.00 [4.00 … 6.00]", "2.50×"]);
    assert_eq!(cells(&table, "formed again without those who went ms")[0], "20.0 [10.0 … 30.0]");
    assert_eq!(cells(&table, "formed again with them back ms")[1], "500 [400 … 600]");
    assert_eq!(cells(&table, "asked again: REBALANCE_IN_PROGRESS answers")[..2], ["5.00", "5.00"]);
    assert_eq!(groups::loads(&report.machines[0]).len(), 2);
    let page = html::page(&report);
    assert!(page.contains("; 9 of them hang up at once, sessions of 45 s."), "{page}");
}

#[test]
fn loads_stand_with_their_machine_whether_its_disk_is_known_or_not() {
    let cpu = Cpu { model: Some("A CPU".into()), logical: 8, cores: 8, ..Cpu::default() };
    let disk = Some(Disk { filesystem: "ext4".into(), ..Disk::default() });
    let with_disk = Facts { kernel: Some("6.12".into()), cpu, disk, ..Facts::default() };
    let found = findings("a", Kind::Steady, 1.0);
    let texts = named([
        document(&found, machine("A CPU")),
        document(&found, serde_json::to_value(with_disk).unwrap()),
        document(&found, machine("Another CPU")),
        document(&found, serde_json::Value::Null),
    ]);
    let report = Report::of(&texts);
    let counts: Vec<usize> = report.machines.iter().map(|machine| machine.groups.len()).collect();
    assert_eq!(counts, [2, 1]);
    assert!(
        report.left_out[0].starts_with("folder/g03.json: not a result of groups"),
        "{:?}",
        report.left_out
    );
    let newer = document(&found, machine("A CPU")).replacen("\"format\":1", "\"format\":99", 1);
    assert!(Report::of(&named([newer])).left_out[0].contains("format 99; this program reads"));
}

#[test]
fn in_csv_a_load_is_a_line_with_columns_of_its_own_behind_those_of_runs() {
    let mut shrunk = findings("", Kind::Commits, 3.0);
    shrunk.target.bootstrap = "host:9092".into();
    shrunk.broker.as_mut().unwrap().resident_before_bytes = 111 * MIB;
    let run = serde_json::to_string(&result("a", 1000.0, 10)).unwrap();
    let alone = csv::table(&Report::of(&named([run.clone()])));
    let text = csv::table(&Report::of(&named([run, document(&shrunk, machine("A CPU"))])));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    // The machine's name has three commas.
    assert_eq!((lines[0].len() + 3, lines.len()), (lines[1].len(), 3));
    assert_eq!(lines[1].len(), lines[2].len());
    assert!(text.starts_with(alone.lines().next().unwrap()), "what runs have comes first: {text}");
    let cell = |line: usize, name: &str| {
        let at = lines[0].iter().position(|it| *it == name).unwrap_or_else(|| panic!("no {name} in {text}"));
        lines[line][if at > 2 { at + 3 } else { at }]
    };
    assert_eq!((cell(2, "workload"), cell(2, "target")), ("groups-commits", "host:9092"));
    assert_eq!((cell(2, "protocol"), cell(2, "members"), cell(1, "members")), ("consumer", "4", ""));
    assert_eq!((cell(2, "cpu_us_per_commit"), cell(2, "cpu_us_per_heartbeat")), ("3", ""));
    assert_eq!((cell(2, "resident_growth_mib"), cell(2, "sent")), ("-1", ""));
}
