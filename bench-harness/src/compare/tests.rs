//! Comparing, with a broker and a generator made of nothing.

use super::*;
use crate::load::Observer;
use crate::result::{Accounts, Generator, Latencies, Outcome, Percentiles};
use crate::stop::Stop;
use crate::target::tests::{SERVE, fake, scratch};

fn workload() -> Workload {
    toml::from_str("name = \"w\"\n[topics]\n[records]\n[produce]\nrate = 100.0\n").unwrap()
}

fn percentiles(p99_us: f64) -> Percentiles {
    Percentiles { count: 100, p50_us: p99_us / 2.0, p99_us, max_us: p99_us * 2.0, ..Percentiles::default() }
}

fn result(p99_us: f64) -> RunResult {
    RunResult {
        format: crate::result::FORMAT,
        harness: "0".into(),
        command: vec![],
        began_ms: 0,
        outcome: Outcome::Valid,
        target: TargetFacts::default(),
        workload: workload(),
        machine: serde_json::Value::Null,
        records: Accounts {
            sent: 100,
            acked: 100,
            acked_per_s: 100.0,
            delivered: 100,
            ..Accounts::default()
        },
        latency: Some(Latencies { ack: percentiles(p99_us), end_to_end: Some(percentiles(p99_us * 2.0)) }),
        seconds: vec![],
        generator: Generator::default(),
        all_cpus: None,
        broker: None,
    }
}

fn labels() -> Vec<String> {
    vec!["a".into(), "b".into()]
}

#[test]
fn medians_and_ratios_are_of_what_is_valid_and_complete() {
    let a: Vec<RunResult> = [1000.0, 3000.0, 2000.0].map(result).into();
    let b: Vec<RunResult> = [8000.0, 9000.0, 10_000.0].map(result).into();
    let invalid = RunResult { outcome: Outcome::Invalid { why: "late".into() }, ..result(1e9) };
    let lossy = RunResult { latency: None, ..result(1.0) };
    let lossy = RunResult { records: Accounts { lost: 7, ..lossy.records.clone() }, ..lossy };
    let results = a.iter().map(|r| (0, r)).chain(b.iter().map(|r| (1, r)));
    let results: Vec<(usize, &RunResult)> = results.chain([(1, &invalid), (1, &lossy)]).collect();
    let text = Table::of(&labels(), &results).markdown();
    assert!(
        text.contains("| ack p99 | µs | 2,000 [1,000 … 3,000] | 9,000 [8,000 … 10,000] | 4.50× |"),
        "{text}"
    );
    assert!(text.contains("| acknowledged | records/s | 100 | 100 | noise (1.00×) |"), "{text}");
    assert!(text.contains("| runs counted |  | 3 of 3 | 3 of 5 | |"), "{text}");
    assert!(text.contains("| lost | records, all runs | 0 | 7 | |"), "{text}");
    // Nobody has measured these.
    assert!(!text.contains("memory"), "{text}");
}

#[test]
fn targets_take_turns_and_everything_is_kept() {
    let output = scratch("compare");
    let session = Session::of_test(&output);
    let mut targets = vec![fake(SERVE, ""), fake(SERVE, "")];
    (targets[0].label, targets[1].label) = ("a".into(), "b".into());
    let mut order = Vec::new();
    let mut load = |_: &Workload, facts: &TargetFacts, _: &Stop, observer: &mut dyn Observer| {
        order.push(facts.name.clone());
        observer.measuring();
        observer.measured();
        Ok(result(if facts.name == "a" { 1000.0 } else { 5000.0 }))
    };
    let comparison = run(&session, &targets, &Limits::default(), &workload(), 2, &mut load).unwrap();
    assert_eq!(order, ["a", "b", "a", "b"]);
    assert_eq!(comparison.judge(), Ok(()));
    assert!(comparison.markdown().contains("| 5.00× ? |"), "{}", comparison.markdown());
    for name in ["1-a", "1-b", "2-a", "2-b"] {
        let text = fs::read_to_string(output.join(format!("{name}.json"))).unwrap();
        let kept: RunResult = serde_json::from_str(&text).unwrap();
        assert_eq!(kept.target.name, name[2..]);
        assert!(kept.broker.is_some() && kept.target.start_up_us.is_some() && kept.target.pid.is_some());
        assert!(output.join(format!("{name}.log")).exists());
    }
    let kept: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(output.join("comparison.json")).unwrap()).unwrap();
    assert_eq!((&kept["complete"], &kept["runs"][3]["file"]), (&true.into(), &"2-b.json".into()));
    assert_eq!(fs::read_dir(output.join("scratch")).unwrap().count(), 0);
    fs::remove_dir_all(output).unwrap();
}

#[test]
fn a_target_that_dies_leaves_what_there_is_marked_incomplete() {
    let output = scratch("dies");
    let session = Session::of_test(&output);
    let mut targets = vec![fake(SERVE, ""), fake(SERVE, "")];
    (targets[0].label, targets[1].label) = ("a".into(), "b".into());
    let mut load = |_: &Workload, facts: &TargetFacts, _: &Stop, _: &mut dyn Observer| {
        if facts.name == "b" {
            let pid =
                i32::try_from(facts.pid.unwrap()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            // It is dead before the load has an end.
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        Ok(result(1000.0))
    };
    let comparison = run(&session, &targets, &Limits::default(), &workload(), 1, &mut load).unwrap();
    assert!(comparison.judge().is_err());
    let text = fs::read_to_string(output.join("1-b.json")).unwrap();
    let kept: RunResult = serde_json::from_str(&text).unwrap();
    let Outcome::Incomplete { why } = kept.outcome else { panic!("{text}") };
    assert!(why.contains("b was ended by signal 9"), "{why}");
    assert!(comparison.markdown().contains("Not counted: round 1 of b"), "{}", comparison.markdown());
    assert!(comparison.markdown().contains("| runs counted |  | 1 of 1 | 0 of 1 |"));
    fs::remove_dir_all(output).unwrap();
}

#[test]
fn limits_have_to_be_the_same() {
    let (one, mut other) = (fake(SERVE, ""), fake(SERVE, ""));
    other.file.limits.cpus = Some("0".into());
    let targets = [one, other];
    assert!(matches!(same_limits(&targets, &Limits::default()), Err(Failure::Usage(_))));
    let said = Limits { cpus: Some("0".into()), ..Limits::default() };
    assert_eq!(same_limits(&targets, &said).unwrap(), said);
}
