//! The harness itself is measured: by a broker whose delays and faults are known.
#![allow(clippy::disallowed_methods, reason = "an ordinary program is tested over ordinary sockets")]
#![allow(clippy::unwrap_used, reason = "a test may stop at anything that is not as it should be")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use broker::{Behaviour, FakeBroker};

#[path = "truth/broker.rs"]
mod broker;

/// Who measures time has the machine for itself, as far as these tests go.
static MACHINE: RwLock<()> = RwLock::new(());

/// One run in a folder of its own.
#[derive(Debug)]
struct Run {
    output: Output,
    result: Value,
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("millstream-bench-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(name: &str, bootstrap: &str, workload: &str, arguments: &[&str]) -> Run {
    run_and(name, bootstrap, workload, arguments, |_| {})
}

/// Does something to a run while it runs.
fn run_and(name: &str, bootstrap: &str, workload: &str, arguments: &[&str], act: impl FnOnce(Pid)) -> Run {
    let folder = folder(name);
    let (workload_file, result_file) = (folder.join("workload.toml"), folder.join("result.json"));
    fs::write(&workload_file, format!("name = \"{name}\"\n{workload}")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_millstream-bench"))
        .arg("run")
        .arg(&workload_file)
        .args(["--bootstrap", bootstrap, "--output"])
        .arg(&result_file)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    act(Pid::from_child(&child));
    let output = child.wait_with_output().unwrap();
    let result = fs::read(&result_file).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
    fs::remove_dir_all(&folder).unwrap();
    Run { output, result }
}

impl Run {
    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn count(&self, of: &str) -> u64 {
        self.result["records"][of].as_u64().unwrap_or_else(|| panic!("no {of}: {}", self.errors()))
    }

    fn outcome(&self) -> &str {
        self.result["outcome"]["kind"].as_str().unwrap_or_else(|| panic!("{}", self.errors()))
    }

    fn is_valid(&self) -> Result<(), String> {
        self.expect_sound();
        if self.outcome() == "valid" { Ok(()) } else { Err(self.result["outcome"].to_string()) }
    }

    /// For what is not about time: every record is there, even if a busy machine made the generator late.
    fn expect_sound(&self) {
        let why = self.result["outcome"]["why"].as_str().unwrap_or("the generator");
        assert!(why.split("; ").all(|why| why.starts_with("the generator")), "{why}");
        assert_eq!(self.count("sent"), self.count("acked"));
        for fault in ["failed", "lost", "corrupted"] {
            assert_eq!(self.count(fault), 0, "{fault}: {}", self.result["records"]);
        }
    }

    fn ack(&self, percentile: &str) -> f64 {
        self.result["latency"]["ack"][percentile].as_f64().unwrap()
    }

    fn histogram(&self, of: &str) -> Histogram<u64> {
        let text = self.result["latency"][of]["histogram"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        Deserializer::new().deserialize(&mut &bytes[..]).unwrap()
    }
}

fn within_a_hundredth(what: &str, found_us: f64, true_ns: i64) -> Result<(), String> {
    let true_us = true_ns as f64 / 1e3;
    let is_within = (found_us / true_us - 1.0).abs() <= 0.01;
    is_within.then_some(()).ok_or_else(|| format!("{what}: {found_us} µs, and the broker saw {true_us} µs"))
}

/// Of values that rise.
fn quantile(values: &[i64], quantile: f64) -> i64 {
    values[((quantile * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1]
}

/// A machine that is busy with other things may wake a client late, now and then; a harness that is wrong always is.
fn in_a_quiet_moment(measure: impl Fn() -> Result<(), String>) {
    let _machine = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    try_again(measure);
}

fn try_again(measure: impl Fn() -> Result<(), String>) {
    const TRIES: usize = 4;
    let failures: Vec<String> = (0..TRIES).map_while(|_| measure().err()).collect();
    assert!(failures.len() < TRIES, "{failures:?}");
}

fn unless(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// A hundred producers, each on a connection whose answers take a time of their own: 80 of them 400 ms, 18 of them 1 s and 2 of
/// them 2 s, so that every percentile is known; and the broker notes when it really answered, so that nothing but the harness is
/// judged.
#[test]
fn percentiles_are_those_that_were_injected() {
    let delays = [(80, 400), (18, 1_000), (2, 2_000)];
    let delays: Vec<Duration> =
        delays.iter().flat_map(|(count, ms)| vec![Duration::from_millis(*ms); *count]).collect();
    let workload = "duration_s = 3\nwarm_up_s = 2.5\n[topics]\npartitions = 4\n[records]\nbytes = 100\n\
                    [produce]\nproducers = 100\nrate = 1000\nin_flight = 1000\n[consume]\nconsumers = 1\n";
    in_a_quiet_moment(|| {
        let broker =
            FakeBroker::start(Behaviour { delays: delays.clone(), notes: true, ..Default::default() });
        let run = run("percentiles", &broker.address.to_string(), workload, &["--threads", "1"]);
        run.is_valid()?;
        assert_eq!(run.result["latency"]["ack"]["count"], 3_000);
        let truth = broker.latencies(3_000);
        for (percentile, share, injected_ms) in [
            ("min_us", 0.0, 400),
            ("p50_us", 0.5, 400),
            ("p90_us", 0.9, 1_000),
            ("p99_us", 0.99, 2_000),
            ("max_us", 1.0, 2_000),
        ] {
            let true_ns = quantile(&truth, share);
            assert!(true_ns >= injected_ms * 1_000_000, "{percentile}: the broker answered early");
            within_a_hundredth(percentile, run.ack(percentile), true_ns)?;
        }
        within_a_hundredth("mean", run.ack("mean_us"), truth.iter().sum::<i64>() / 3_000)?;
        // Delivered long before they were acknowledged: consumers of this broker see records at once.
        let delivered = run.histogram("end_to_end");
        assert_eq!(delivered.len(), 3_000);
        let p50_ns = delivered.value_at_quantile(0.5);
        unless(p50_ns < 100_000_000, || format!("delivered after {p50_ns} ns"))
    });
}

/// Whoever waits for an answer before asking again sees one late answer here. There are 10,000.
#[test]
fn a_pause_of_a_second_is_ten_thousand_late_records() {
    let pause = Some((Duration::from_secs(2), Duration::from_secs(1)));
    let workload = "duration_s = 4\nwarm_up_s = 0.5\n[topics]\npartitions = 2\n[records]\nbytes = 100\n\
                    [produce]\nproducers = 2\nrate = 10000\n[consume]\nconsumers = 0\n";
    in_a_quiet_moment(|| {
        let broker = FakeBroker::start(Behaviour { pause, notes: true, ..Default::default() });
        let run = run("pause", &broker.address.to_string(), workload, &["--threads", "1"]);
        run.is_valid()?;
        let (found, truth) = (run.histogram("ack"), broker.latencies(40_000));
        assert_eq!(found.len(), 40_000);
        within_a_hundredth("max", run.ack("max_us"), quantile(&truth, 1.0))?;
        // A record that was due when so much of the pause was left is late by as much.
        for late_ms in [100, 250, 500, 750, 900] {
            let late = found.count_between(late_ms * 1_000_000, u64::MAX);
            let expected = truth.iter().filter(|ns| **ns >= late_ms as i64 * 1_000_000).count() as u64;
            assert!(expected + 100 >= (1_000 - late_ms) * 10, "the broker paused for a second: {expected}");
            unless(late.abs_diff(expected) <= 100, || {
                format!("{late} records later than {late_ms} ms, and the broker saw {expected}")
            })?;
        }
        let worst = run.result["seconds"].as_array().unwrap().iter().map(|second| &second["ack_max_us"]);
        assert!(worst.filter(|us| us.as_f64().unwrap() > 900_000.0).count() >= 1, "the second shows it too");
        Ok(())
    });
}

#[test]
fn planted_faults_are_found_through_the_wire() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    try_again(|| planted_faults_are_found(&[]).and_then(|()| planted_faults_are_found(&["--verify"])));
}

fn planted_faults_are_found(verify: &[&str]) -> Result<(), String> {
    let broker = FakeBroker::start(Behaviour {
        loses: vec![10, 55],
        doubles: vec![20, 60, 61],
        swaps: vec![30],
        corrupts: vec![40, 70],
        ..Default::default()
    });
    let workload = "duration_s = 2\nwarm_up_s = 0\n[topics]\npartitions = 2\n[records]\nbytes = 64\n\
                    [produce]\nrate = 200\n[consume]\nconsumers = 1\n";
    let run = run("planted", &broker.address.to_string(), workload, verify);
    let planted = broker.planted();
    // A generator that is woken late sends fewer and larger batches.
    unless(planted.lost >= 4 && planted.corrupted >= 4, || {
        format!("hardly anything was planted: {planted:?}")
    })?;
    assert_eq!(run.outcome(), "invalid");
    assert_eq!(run.output.status.code(), Some(1));
    assert_eq!(run.result["latency"], Value::Null, "what was lost has no latency");
    for (of, planted) in [
        ("lost", planted.lost),
        ("duplicated", planted.duplicated),
        ("reordered", planted.reordered),
        ("corrupted", planted.corrupted),
    ] {
        assert_eq!(run.count(of), planted, "{of}: {}", run.result["records"]);
    }
    let by_partition = run.result["records"]["by_partition"].as_array().unwrap();
    assert_eq!(by_partition.len(), 2);
    assert_eq!(run.errors().contains("are gone"), !verify.is_empty(), "{}", run.errors());
    Ok(())
}

#[test]
fn every_codec_key_and_arrival_comes_through() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    for (name, codec, keys, produce) in [
        ("gzip", "gzip", "{ kind = \"uniform\", count = 1000 }", "rate = 2000\nlinger_ms = 5"),
        ("snappy", "snappy", "{ kind = \"none\" }", "rate = 2000\narrivals = \"poisson\"\nproducers = 3"),
        ("lz4", "lz4", "{ kind = \"zipf\", count = 50, exponent = 1.1 }", "rate = 2000\nacks = 1"),
        ("zstd", "zstd", "{ kind = \"none\" }", "arrivals = \"closed\"\nproducers = 4"),
        ("max", "none", "{ kind = \"none\" }", "arrivals = \"max\"\nproducers = 2\nbatch_bytes = 16384"),
        ("max-keyed", "none", "{ kind = \"uniform\", count = 9 }", "arrivals = \"max\"\nidempotent = true"),
        ("burst", "none", "{ kind = \"none\" }", "rate = 2000\nburst = { every_s = 0.5, lasts_s = 0.1 }"),
    ] {
        let broker = FakeBroker::start(Behaviour::default());
        let workload = format!(
            "duration_s = 1\nwarm_up_s = 0.2\n[topics]\ncount = 2\npartitions = 3\n\
             [records]\nbytes = 200\nrandomness = 0.5\nkeys = {keys}\n\
             [produce]\ncodec = \"{codec}\"\n{produce}\n[consume]\nconsumers = 2\n"
        );
        let run = run(name, &broker.address.to_string(), &workload, &["--threads", "2", "--verify"]);
        run.expect_sound();
        assert_eq!(run.count("delivered"), 2 * run.count("sent"), "{name}");
        // A third burst begins 1 s after the beginning, and is over when the 1.2 s are.
        let expected = if name == "burst" { 3_000 } else { 2_400 };
        if produce.contains("rate") {
            assert!(run.count("acked").abs_diff(expected) < 250, "{name}: {}", run.count("acked"));
        }
    }
}

#[test]
fn a_backlog_is_read_while_the_load_goes_on() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let broker = FakeBroker::start(Behaviour::default());
    let workload = "duration_s = 1\nwarm_up_s = 0.2\n[topics]\npartitions = 3\n[records]\nbytes = 100\n\
                    [produce]\nrate = 1000\n\
                    [consume]\nconsumers = 1\nfrom = \"beginning\"\nbacklog_records = 50000\n";
    let run = run("backlog", &broker.address.to_string(), workload, &[]);
    run.expect_sound();
    assert_eq!(run.count("delivered"), run.count("sent"));
    assert_eq!(run.count("sent"), 51_200);
    assert_eq!(run.result["latency"]["end_to_end"]["count"], 1_000);
}

#[test]
fn a_broken_connection_loses_nothing() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let hangs_up_after = Some(Duration::from_secs(1));
    let broker = FakeBroker::start(Behaviour { hangs_up_after, ..Default::default() });
    let workload = "duration_s = 2\nwarm_up_s = 0.2\n[topics]\npartitions = 3\n[records]\nbytes = 100\n\
                    [produce]\nrate = 3000\nproducers = 3\n[consume]\nconsumers = 2\n";
    let run = run("hang-up", &broker.address.to_string(), workload, &["--verify"]);
    run.expect_sound();
    assert_eq!(run.count("delivered"), 2 * run.count("sent"));
}

#[test]
fn what_a_restart_forgets_was_acknowledged_and_is_gone() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    try_again(|| what_is_forgotten_is_gone(0).and_then(|()| what_is_forgotten_is_gone(1)));
}

fn what_is_forgotten_is_gone(consumers: u64) -> Result<(), String> {
    let hangs_up_after = Some(Duration::from_secs(1));
    let broker = FakeBroker::start(Behaviour { hangs_up_after, forgets: 60, ..Default::default() });
    let workload = format!(
        "duration_s = 2\nwarm_up_s = 0.2\n[topics]\npartitions = 2\n[records]\nbytes = 100\n\
         [produce]\nrate = 200\n[consume]\nconsumers = {consumers}\n"
    );
    let run = run("forgets", &broker.address.to_string(), &workload, &["--verify"]);
    let forgotten = broker.planted().lost;
    unless(forgotten >= 100, || format!("only {forgotten} were there to forget"))?;
    assert_eq!(run.outcome(), "invalid");
    assert_eq!((run.count("failed"), run.count("sent")), (0, run.count("acked")));
    let gone: u64 = run
        .errors()
        .lines()
        .filter_map(|line| {
            line.split_once("]: ")?.1.split_once(" acknowledged records")?.0.parse::<u64>().ok()
        })
        .sum();
    assert!(gone <= forgotten, "{gone} of {forgotten}: {}", run.errors());
    // Answers to the last of them may have been lost with the connection; those records were sent again.
    unless(gone + 10 >= forgotten, || format!("{gone} of {forgotten}: {}", run.errors()))?;
    // A consumer whose place is gone goes on at the end, and may leave out what came meanwhile.
    assert!(run.count("lost") >= gone, "{gone} are gone");
    assert!(consumers > 0 || run.count("lost") == gone);
    Ok(())
}

#[test]
fn a_broker_that_dies_leaves_an_incomplete_result() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let dies_after = Some(Duration::from_secs(2));
    let broker = FakeBroker::start(Behaviour { dies_after, ..Default::default() });
    let workload =
        "duration_s = 60\nwarm_up_s = 0.2\n[topics]\n[records]\nbytes = 100\n[produce]\nrate = 1000\n";
    let began = Instant::now();
    let run = run("death", &broker.address.to_string(), workload, &["--patience", "1s"]);
    assert!(began.elapsed() < Duration::from_secs(20), "it gave up after {:?}", began.elapsed());
    assert_eq!(run.outcome(), "incomplete");
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.errors().contains("no answer from"), "{}", run.errors());
    assert!(run.count("acked") > 1_000, "what was measured is kept");
    assert!(!run.result["seconds"].as_array().unwrap().is_empty());
}

#[test]
fn a_generator_that_cannot_keep_up_says_so() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let broker = FakeBroker::start(Behaviour::default());
    let workload = "duration_s = 1\nwarm_up_s = 0\n[topics]\n[records]\nbytes = 36\n\
                    [produce]\nrate = 30000000\nbatch_bytes = 100000\n[consume]\nconsumers = 0\n";
    let run = run("behind", &broker.address.to_string(), workload, &["--threads", "1"]);
    assert_eq!(run.outcome(), "invalid");
    assert!(run.errors().contains("generator"), "{}", run.errors());
}

#[test]
fn whoever_is_told_to_stop_keeps_what_there_is() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    for signal in [Signal::INT, Signal::TERM] {
        let broker = FakeBroker::start(Behaviour::default());
        let workload =
            "duration_s = 60\nwarm_up_s = 0\n[topics]\n[records]\nbytes = 100\n[produce]\nrate = 1000\n";
        let address = broker.address.to_string();
        let run = run_and("stopped", &address, workload, &[], |pid| {
            broker.wait_for_batches(2_000);
            kill_process(pid, signal).unwrap();
        });
        assert_eq!(run.outcome(), "incomplete", "{run:?}");
        assert_eq!(run.output.status.code(), Some(1));
        assert!(run.errors().contains("stopped early"), "{}", run.errors());
        assert!(run.count("acked") >= 1_000 && !run.result["seconds"].as_array().unwrap().is_empty());
        assert_eq!((run.count("lost"), run.count("sent")), (0, run.count("acked")));
    }
}

#[test]
fn a_generator_that_was_stopped_for_a_while_says_so() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let broker = FakeBroker::start(Behaviour::default());
    let workload =
        "duration_s = 2\nwarm_up_s = 0\n[topics]\n[records]\nbytes = 100\n[produce]\nrate = 1000\n";
    let run = run_and("held-up", &broker.address.to_string(), workload, &[], |pid| {
        broker.wait_for_batches(200);
        kill_process(pid, Signal::STOP).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        kill_process(pid, Signal::CONT).unwrap();
    });
    assert_eq!(run.outcome(), "invalid");
    assert!(run.errors().contains("the generator"), "{}", run.errors());
    assert!(run.result["generator"]["lag"]["max_us"].as_f64().unwrap() >= 450_000.0);
    assert_eq!((run.count("lost"), run.count("sent")), (0, run.count("acked")));
}

/// The batch that is refused comes after those that were under way with it, unless it travels alone.
#[test]
fn what_is_sent_again_without_idempotence_is_out_of_order_and_that_is_said() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    try_again(|| [5, 1].into_iter().try_for_each(what_is_sent_again_is_out_of_order));
}

fn what_is_sent_again_is_out_of_order(in_flight: u32) -> Result<(), String> {
    let delays = vec![Duration::from_millis(50)];
    let broker = FakeBroker::start(Behaviour { delays, refuses: vec![8], ..Default::default() });
    let workload = format!(
        "duration_s = 2\nwarm_up_s = 0\n[topics]\n[records]\nbytes = 100\n\
         [produce]\nrate = 500\nin_flight = {in_flight}\n[consume]\nconsumers = 1\n"
    );
    let run = run("refused", &broker.address.to_string(), &workload, &[]);
    run.expect_sound();
    assert!(run.count("retried") > 0, "{}", run.result["records"]);
    assert_eq!(run.count("duplicated"), 0);
    let said = String::from_utf8_lossy(&run.output.stdout).contains("not idempotent");
    assert_eq!(said, run.count("reordered") > 0);
    assert!(in_flight > 1 || !said, "{}", run.result["records"]);
    // Unless the generator was not woken until it heard of the refusal.
    unless(said || in_flight == 1, || "nothing was out of order".to_owned())
}

#[test]
fn what_is_deleted_on_purpose_is_not_lost_but_is_not_read_either() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let config = "config = { \"retention.bytes\" = \"1000\" }";
    for (deletes, verify) in [(config, &[][..]), (config, &["--verify"]), ("", &[])] {
        let broker = FakeBroker::start(Behaviour { keeps: Some(3), ..Default::default() });
        let workload = format!(
            "duration_s = 1\nwarm_up_s = 0\n[topics]\npartitions = 2\n{deletes}\n[records]\nbytes = 100\n\
             [produce]\nrate = 200\nbatch_bytes = 1000\n\
             [consume]\nconsumers = 1\nfrom = \"beginning\"\nbacklog_records = 1000\n"
        );
        let run = run("deleted", &broker.address.to_string(), &workload, verify);
        assert_eq!(run.outcome(), "invalid");
        assert_eq!(run.count("lost") == 0, !deletes.is_empty(), "{}", run.result["records"]);
        let said = run.errors().contains("2 partitions were deleted before consumers had read them");
        assert_eq!(said, !deletes.is_empty(), "{}", run.errors());
        assert!(!run.errors().contains("are gone"), "{}", run.errors());
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let nowhere = "127.0.0.1:1";
    for (name, workload, arguments, code, why) in [
        ("no-rate", "[topics]\n[records]\n[produce]\n", &[][..], 2, "rate"),
        ("small", "[topics]\n[records]\nbytes = 10\n[produce]\nrate = 1\n", &[], 2, "36"),
        ("unknown-key", "[topics]\n[records]\n[produce]\nspeed = 1\n", &[], 2, "speed"),
        ("group", "[topics]\n[records]\n[produce]\nrate = 1\n[consume]\ngroup = \"g\"\n", &[], 2, "classic"),
        ("nowhere", "[topics]\n[records]\n[produce]\nrate = 1\n", &[], 1, "cannot reach 127.0.0.1:1"),
    ] {
        let run = run(name, nowhere, workload, arguments);
        assert_eq!(run.output.status.code(), Some(code), "{name}: {}", run.errors());
        assert!(run.errors().contains(why), "{name}: {}", run.errors());
        assert_eq!(run.result, Value::Null);
    }
    let run = run("tls", "ssl://broker:9093", "[topics]\n[records]\n[produce]\nrate = 1\n", &[]);
    assert_eq!(run.output.status.code(), Some(2));
    assert!(run.errors().contains("TLS"), "{}", run.errors());
}
