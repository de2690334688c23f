use std::collections::{BTreeMap, BTreeSet};

use storage::log::Flushed;

use super::*;
use crate::metrics::{Metrics, Value};

/// A family's kind, and its samples by name and labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    help: bool,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads the text as the OpenMetrics 1.0 specification demands, and fails where it does not obey.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with("\n# EOF\n"), "ends with its end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut series = BTreeSet::new();
    for line in text.strip_suffix("# EOF\n").unwrap().lines() {
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (word, name, rest) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            if word == "TYPE" {
                assert!(!families.contains_key(name), "{name} begins twice");
                assert!(!name.ends_with("_total"), "a counter's family is named without its suffix");
                name.clone_into(&mut current);
                families.entry(current.clone()).or_default().kind = rest.to_owned();
            }
            assert_eq!(name, current, "a family's lines are together");
            let family = families.get_mut(name).unwrap();
            assert!(family.samples.is_empty(), "what is said of {name} comes before its samples");
            match word {
                "TYPE" => assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}"),
                "UNIT" => {
                    assert!(name.ends_with(&format!("_{rest}")), "{line}");
                    assert!(family.unit.replace(rest.to_owned()).is_none(), "{line}");
                }
                "HELP" => assert!(!std::mem::replace(&mut family.help, true) && !rest.is_empty(), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, labels, value) = sample(line);
        assert!(series.insert((name.clone(), labels.clone())), "{line} is there twice");
        let family = families.get_mut(&current).expect("a family begins with its type");
        let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is not of {current}"));
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            _ => &["_bucket", "_count", "_sum"],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        assert_eq!(labels.contains_key("le"), suffix == "_bucket", "{line}");
        assert!(value >= 0.0, "{line}");
        family.samples.push((suffix.to_owned(), labels, value));
    }
    families.values().filter(|family| family.kind == "histogram").for_each(check_histogram);
    families
}

/// `name{label="value",...} number`
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let is_name = |name: &str| {
        name.bytes()
            .enumerate()
            .all(|(at, byte)| byte.is_ascii_alphabetic() || byte == b'_' || (at > 0 && byte.is_ascii_digit()))
            && !name.is_empty()
    };
    let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("{line}"));
    let (inside, value) = rest.split_once("} ").unwrap_or_else(|| panic!("{line}"));
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    for label in inside.split(',') {
        let (key, quoted) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
        let text = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap();
        let unescaped = text.replace(r"\\", "").replace(r#"\""#, "").replace(r"\n", "");
        assert!(is_name(key) && !unescaped.contains(['"', '\\', '\n']), "{line}");
        assert!(labels.insert(key.to_owned(), text.to_owned()).is_none(), "{line}");
    }
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    (name.to_owned(), labels, value)
}

/// Bounds grow, counts do not fall, the last bucket holds all.
fn check_histogram(family: &Family) {
    let mut at = 0;
    let samples = &family.samples;
    while at < samples.len() {
        let without_le = |labels: &BTreeMap<String, String>| {
            let mut labels = labels.clone();
            labels.remove("le");
            labels
        };
        let labels = without_le(&samples[at].1);
        let (mut bound, mut count) = (f64::NEG_INFINITY, 0.0);
        while samples[at].0 == "_bucket" {
            let (_, of, value) = &samples[at];
            let le = &of["le"];
            assert!(le.contains('.') || le == "+Inf", "a bound is written as a float: {le}");
            let next = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
            assert!(next > bound && *value >= count && without_le(of) == labels, "{:?}", samples[at]);
            (bound, count) = (next, *value);
            at += 1;
        }
        assert_eq!(bound, f64::INFINITY, "there is a bucket for all");
        assert_eq!((samples[at].0.as_str(), samples[at].2), ("_count", count));
        assert_eq!(samples[at + 1].0, "_sum");
        assert_eq!((&samples[at].1, &samples[at + 1].1), (&labels, &labels));
        at += 2;
    }
}

/// A core that has seen requests that exist, and some that do not.
fn busy() -> Snapshot {
    let metrics = Metrics::default();
    for key in [0, 1, 1, 18, -7, 9999, 32_000] {
        let frame = i16::to_be_bytes(key);
        let timing = metrics.request_began(&frame, 1_000);
        metrics.request_ended(&timing, 100, 1_000 + 90_000 * u64::from(key.unsigned_abs()));
    }
    metrics.request_ended(&metrics.request_began(&[], 5), 1, 10);
    metrics.became_durable(123_456);
    metrics.flushed(Flushed { batches: 3, bytes: 8192 }, 700_000);
    metrics.flushed(Flushed { batches: 1, bytes: 4096 }, 400_000);
    metrics.flushed(Flushed::default(), 1);
    metrics.received_bytes.add(77);
    let mut snapshot = metrics.snapshot();
    snapshot.values.push(Value::gauge("log_bytes", "Bytes", 5));
    snapshot
}

#[test]
fn the_text_is_open_metrics_to_the_letter() {
    let mut with_groups = busy();
    with_groups.groups.groups.insert(("consumer", "Stable"), 3);
    let committed =
        |partition| Committed { group: "a \"g\"".into(), topic: "t".into(), partition, offset: 7 };
    with_groups.groups.committed = vec![committed(0), committed(1)];
    let ends = Ends::from([(("t".into(), 0), 10)]);
    let families = parse(&text(&[Some(busy()), None, Some(with_groups)], &ends));
    assert!(families.values().all(|family| family.help && !family.samples.is_empty()), "{families:?}");
    let of = |name: &str, suffix: &str, labels: &[(&str, &str)]| {
        let wanted: BTreeMap<_, _> =
            labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let mut found = families[name].samples.iter().filter(|(at, of, _)| at == suffix && *of == wanted);
        let value = found.next().unwrap_or_else(|| panic!("no {name}{suffix} {labels:?} in {families:?}")).2;
        assert!(found.next().is_none());
        value
    };
    assert_eq!(of("millstream_requests", "_total", &[("core", "2"), ("request", "Fetch")]), 2.0);
    assert_eq!(of("millstream_requests", "_total", &[("core", "0"), ("request", "unknown")]), 4.0);
    assert_eq!(of("millstream_received_bytes", "_total", &[("core", "0")]), 77.0);
    assert_eq!(of("millstream_log_bytes", "", &[("core", "0")]), 5.0);
    let core = ("core", "0");
    assert_eq!(of("millstream_flush_batches", "_bucket", &[core, ("le", "1.0")]), 1.0);
    assert_eq!(of("millstream_flush_batches", "_sum", &[core]), 4.0);
    assert_eq!(of("millstream_flush_bytes", "_bucket", &[core, ("le", "8191.0")]), 1.0);
    assert_eq!(of("millstream_flush_bytes", "_bucket", &[core, ("le", "16383.0")]), 2.0);
    assert_eq!(of("millstream_flush_seconds", "_count", &[core]), 2.0);
    assert_eq!(of("millstream_durable_seconds", "_sum", &[core]), 0.000_123_456);
    assert_eq!(families["millstream_flush_seconds"].unit.as_deref(), Some("seconds"));
    assert_eq!(of("millstream_groups", "", &[("core", "2"), ("type", "consumer"), ("state", "Stable")]), 3.0);
    let place = [("group", "a \\\"g\\\""), ("topic", "t"), ("partition", "0")];
    assert_eq!(of("millstream_group_lag", "", &place), 3.0);
    assert_eq!(of("millstream_group_committed_offset", "", &place), 7.0);
    assert_eq!(families["millstream_group_lag"].samples.len(), 1, "nobody knows the other's end");
    let mut samples = families.values().flat_map(|family| &family.samples);
    assert!(samples.all(|(_, labels, _)| labels.get("core").is_none_or(|core| core != "1")));
}

#[test]
fn a_broker_that_says_nothing_says_so() {
    assert_eq!(text(&[None], &Ends::new()).lines().last(), Some("# EOF"));
}
