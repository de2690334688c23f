use super::*;

const WORKLOAD: &str = "#\n# A licence.\n#\n\nname: 1 topic / 16 partitions # said shortly\n\ntopics: 2\npartitionsPerTopic: 16\n\
    messageSize: 1024\npayloadFile: \"payload/payload-1Kb.data\"\nsubscriptionsPerTopic: 3\n\
    consumerPerSubscription: 1\nproducersPerTopic: 4\nproducerRate: 50000\nconsumerBacklogSizeGB: 0\n\
    testDurationMinutes: 15\n";
const DRIVER: &str = "name : Kafka\ndriverClass: io.openmessaging.benchmark.driver.kafka.KafkaBenchmarkDriver\n\n\
    replicationFactor: 3\n\ntopicConfig: |\n  min.insync.replicas=2\n  flush.messages=1\n\n\
    commonConfig: |\n    bootstrap.servers=localhost:9092\n\nproducerConfig: |\n    acks=all\n    linger.ms=1\n    \
    batch.size=131072\n    compression.type=lz4\n    buffer.memory=1\n\nconsumerConfig: |\n    \
    auto.offset.reset=earliest\n    fetch.min.bytes=7\n";

fn converted(text: &str) -> Converted {
    convert("w.yaml", text).unwrap()
}

fn refused(text: &str) -> String {
    convert("w.yaml", text).unwrap_err().to_string()
}

#[test]
fn a_workload_keeps_its_meaning() {
    let Converted { workload, notes } = converted(WORKLOAD);
    assert_eq!(workload.name, "1 topic / 16 partitions");
    assert_eq!((workload.topics.count, workload.topics.partitions), (2, 16));
    assert_eq!((workload.duration_s, workload.warm_up_s), (900.0, 60.0));
    assert_eq!((workload.produce.producers, workload.produce.rate), (8, Some(50_000.0)));
    assert_eq!(workload.produce.arrivals, Arrivals::Fixed);
    assert_eq!((workload.consume.consumers, workload.consume.from), (3, From::End));
    assert_eq!(workload.records, Records { bytes: 1024, keys: Keys::None, randomness: 1.0 });
    assert_eq!(notes, ["payloadFile payload/payload-1Kb.data is not read: values are random bytes"]);
    assert_eq!(workload.check(), []);
}

#[test]
fn what_changes_its_meaning_is_said() {
    let text = WORKLOAD
        .replace("producerRate: 50000", "producerRate: 0")
        .replace("messageSize: 1024", "messageSize: 20\nkeyDistributor: KEY_ROUND_ROBIN\nlogHistograms: true")
        .replace("GB: 0", "GB: 1")
        .replace("consumerPerSubscription: 1", "consumerPerSubscription: 4")
        .replace(
            "payloadFile: \"payload/payload-1Kb.data\"",
            "useRandomizedPayloads: true\nrandomBytesRatio: 0.25",
        );
    let Converted { workload, notes } = converted(&text);
    assert_eq!((workload.produce.arrivals, workload.produce.rate), (Arrivals::Max, None));
    assert_eq!(
        workload.records,
        Records { bytes: 36, keys: Keys::Uniform { count: 10_000 }, randomness: 0.25 }
    );
    assert_eq!((workload.consume.from, workload.consume.backlog_records), (From::Beginning, (1 << 30) / 36));
    assert_eq!(workload.check(), []);
    let said = |words: &str| notes.iter().any(|note| note.contains(words));
    for words in [
        "logHistograms",
        "messageSize 20",
        "KEY_ROUND_ROBIN",
        "\"max\"",
        "consumerPerSubscription 4",
        "BacklogSizeGB 1",
    ] {
        assert!(said(words), "{words}: {notes:?}");
    }
}

#[test]
fn a_driver_adds_what_its_client_does() {
    let mut both = converted(WORKLOAD);
    driver::apply("d.yaml", DRIVER, &mut both).unwrap();
    let Converted { workload, notes } = &both;
    let produce = &workload.produce;
    assert_eq!((produce.acks, produce.linger_ms, produce.batch_bytes), (-1, 1.0, 131_072));
    assert_eq!((produce.codec.as_str(), produce.idempotent, produce.in_flight), ("lz4", true, 5));
    assert_eq!((workload.topics.replication_factor, workload.consume.min_bytes), (3, 7));
    let config: Vec<_> = workload.topics.config.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(config, [("flush.messages", "1"), ("min.insync.replicas", "2")]);
    assert!(notes.contains(&"producerConfig: `buffer.memory=1` is left out".to_owned()), "{notes:?}");
    assert!(
        notes.contains(&"bootstrap.servers localhost:9092: give it with --bootstrap".to_owned()),
        "{notes:?}"
    );

    let one = DRIVER.replace("acks=all", "acks=1");
    let mut both = converted(WORKLOAD);
    driver::apply("d.yaml", &one, &mut both).unwrap();
    assert_eq!((both.workload.produce.acks, both.workload.produce.idempotent), (1, false));
}

#[test]
fn what_is_written_can_be_read_again() {
    let mut both = converted(WORKLOAD);
    driver::apply("d.yaml", DRIVER, &mut both).unwrap();
    let text = to_toml(&both).unwrap();
    assert!(text.starts_with("# payloadFile"), "{text}");
    assert_eq!(crate::workload::file::parse("w.toml", &text).unwrap(), both.workload);
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    let check = |from: &str, to: &str, expected: &str| {
        let found = refused(&WORKLOAD.replace(from, to));
        assert_eq!(found, expected, "{to}");
    };
    check("topics: 2", "topics: two", "w.yaml:7:1: `topics`: `two` is not a number that fits");
    check("topics: 2", "topic: 2", "w.yaml:7:1: unknown setting `topic`; did you mean `topics`?");
    check("topics: 2", "topics: 2\ntopics: 3", "w.yaml:8:1: `topics` is given twice");
    check("topics: 2", "topics: [2]", "w.yaml:7:1: lists, mappings, anchors and tags are not read");
    check("topics: 2", "topics:\n  - 2", "w.yaml:8:1: indented lines belong to a block text (`key: |`) only");
    check("topics: 2", "topics", "w.yaml:7:1: `topics` is not `key: value`");
    check("testDurationMinutes: 15", "", "w.yaml:1:1: `testDurationMinutes` is missing");
    assert_eq!(refused(DRIVER), "w.yaml:2:1: this is a driver's file: give it with --driver");
    let pulsar = DRIVER.replace("driver.kafka.Kafka", "driver.pulsar.Pulsar");
    let error = driver::apply("d.yaml", &pulsar, &mut converted(WORKLOAD)).unwrap_err().to_string();
    assert!(error.starts_with("d.yaml:2:1: ") && error.ends_with("is not a Kafka driver"), "{error}");
    let acks = DRIVER.replace("acks=all", "acks=some");
    let error = driver::apply("d.yaml", &acks, &mut converted(WORKLOAD)).unwrap_err().to_string();
    assert_eq!(error, "d.yaml:13:1: `acks`: `some` is not understood");
}

#[test]
fn yaml_of_one_level_is_read_as_it_is_meant() {
    let check = |text: &str, expected: &[(&str, &str)]| {
        let entries = yaml::parse("f", text).unwrap();
        let found: Vec<_> = entries.iter().map(|it| (it.key.as_str(), it.value.as_str())).collect();
        assert_eq!(found, expected, "{text:?}");
    };
    check("---\na: 1\r\nb : 'x # y' # z\n", &[("a", "1"), ("b", "x # y")]);
    check("a: http://host:9/x#y", &[("a", "http://host:9/x#y")]);
    check("a: |\n  x=1\n\n    y=2\nb: 2", &[("a", "x=1\n\n  y=2"), ("b", "2")]);
    check("a: >-\n  x\n  y\n", &[("a", "x y")]);
    check("a:\nb: ~\nc: # none\n", &[("a", ""), ("b", ""), ("c", "")]);
    for text in ["a: \"x", "- a", "a: {b: 1}", "a: |2\n  x", "\ta: 1", "a: 'it''s'"] {
        assert!(yaml::parse("f", text).is_err(), "{text:?}");
    }
}
