use super::file::{SHIPPED, WorkloadError, load, parse};
use super::*;

const LEAST: &str = "name = 'x'\n[topics]\n[records]\n[produce]\nrate = 10.0\n";

fn refused(text: &str) -> String {
    parse("w.toml", text).unwrap_err().to_string()
}

#[test]
fn every_shipped_workload_can_be_run_and_says_what_it_is_for() {
    for (name, _) in SHIPPED {
        let workload = load(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(workload.name, *name);
        assert!(workload.about.len() > 40, "{name} does not say what it is for");
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".toml").to_owned())
        .collect();
    files.sort();
    let mut names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(files, names, "each file is shipped");
}

#[test]
fn what_is_asked_of_the_shipped_ones() {
    let paced = load("paced-1k").unwrap();
    assert_eq!((paced.produce.rate, paced.records.bytes), (Some(100_000.0), 1024));
    assert!(paced.topics.count * paced.topics.partitions >= 100);
    let single = load("durable-single").unwrap();
    assert_eq!((single.produce.arrivals, single.produce.in_flight), (Arrivals::Closed, 1));
    assert_eq!(load("many-clients").unwrap().produce.producers, 1000);
    assert_eq!(load("fan-out").unwrap().consume.consumers, 20);
    assert!(load("catch-up").unwrap().consume.backlog_records > 0);
    assert!(load("burst").unwrap().produce.burst.is_some());
    let many = load("many-partitions-10k").unwrap();
    assert_eq!(many.topics.count * many.topics.partitions, 10_000);
}

#[test]
fn an_unknown_name_says_which_there_are() {
    let error = load("paced-2k").unwrap_err().to_string();
    assert!(
        error.starts_with("no shipped workload is called `paced-2k`; did you mean `paced-1k`?"),
        "{error}"
    );
    assert!(error.contains("durable-single"), "{error}");
    let error = load("./not-there.toml").unwrap_err();
    assert!(matches!(error, WorkloadError::Unreadable { .. }), "{error}");
}

#[test]
fn unknown_keys_are_refused_where_they_stand() {
    let check = |text: &str, expected: &str| {
        let found = refused(text);
        assert!(found.starts_with(expected), "{text:?}\n  expected {expected}\n  found    {found}");
    };
    check(&format!("{LEAST}partitons = 3"), "w.toml:6:1: unknown field `partitons`");
    check(&LEAST.replace("[topics]", "[topics]\npartitons = 3"), "w.toml:3:1: unknown field `partitons`");
    check(&format!("durations_s = 3\n{LEAST}"), "w.toml:1:1: unknown field `durations_s`");
    check(&LEAST.replace("[records]", "[records]\nkeys = { kind = 'zipff' }"), "w.toml:4:");
    check(&LEAST.replace("[records]", "[records]\nkeys = { kind = 'uniform', cnt = 3 }"), "w.toml:4:");
    let stray = LEAST.replace("[records]", "[records]\nkeys = { kind = 'none', count = 3 }");
    assert_eq!(refused(&stray), "w.toml:4:17: keys of kind `none` have no other settings");
    let text = LEAST.replace("[topics]", "[topics]\npartitons = 3");
    assert!(refused(&text).ends_with("; did you mean `partitions`?"), "{}", refused(&text));
    check("name = 'x'\n[topics\n", "w.toml:2:");
    check("name = 'x'", "w.toml:1:1: missing field `topics`");
    check(&LEAST.replace("10.0", "'fast'"), "w.toml:5:8: invalid type");
}

#[test]
fn values_that_will_not_do_are_all_told() {
    let check = |text: &str, expected: &str| assert_eq!(refused(text), expected, "{text}");
    check(
        &LEAST.replace("rate = 10.0", ""),
        "w.toml:4:2: arrivals = \"fixed\" follow a schedule: `rate`, in records a second, is needed",
    );
    check(
        &format!("{LEAST}arrivals = 'max'"),
        "w.toml:5:8: arrivals = \"max\" have no rate; leave it out, or take \"fixed\" or \"poisson\"",
    );
    check(
        &LEAST.replace("[records]", "[records]\nbytes = 10"),
        "w.toml:4:9: 10 bytes is too small: a value holds its number, its time and a checksum, 36 bytes",
    );
    check(
        &format!("{LEAST}codec = 'lz'"),
        "w.toml:6:9: unknown codec `lz`; did you mean `lz4`? (none, gzip, snappy, lz4, zstd)",
    );
    check(
        &format!("{LEAST}acks = 0"),
        "w.toml:6:8: acks = 0 lets the broker acknowledge nothing: there would be nothing to measure",
    );
    check(
        &format!("{LEAST}burst = {{ every_s = 1.0, lasts_s = 2.0 }}"),
        "w.toml:6:36: a burst of 2 s every 1 s: more than 0 s, and no longer than its period",
    );
    check(
        &format!("duration_s = 0.5\n{LEAST}idempotent = true\nin_flight = 9\n"),
        "w.toml:1:14: 0.5 s: what is measured lasts from 1 second to 30 days\n\
         w.toml:8:13: 9 in flight: an idempotent producer has 5 at most",
    );
    check(
        &format!("{LEAST}[consume]\nbacklog_records = 5"),
        "w.toml:7:19: a backlog is for consumers from the beginning: from = \"beginning\", and at least one consumer",
    );
}

#[test]
fn numbers_that_are_none_are_refused() {
    for text in ["duration_s = nan", "duration_s = inf", "warm_up_s = nan", "warm_up_s = -1.0"] {
        refused(&format!("{text}\n{LEAST}"));
    }
    for rate in ["nan", "inf", "0.0", "-5.0"] {
        refused(&LEAST.replace("10.0", rate));
    }
}

#[test]
fn a_workload_is_written_as_it_is_read() {
    for (name, _) in SHIPPED {
        let workload = load(name).unwrap();
        let text = toml::to_string(&workload).unwrap();
        assert_eq!(parse("again.toml", &text).unwrap(), workload, "{text}");
    }
}
