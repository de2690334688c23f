//! What must hold whatever is asked.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use cluster::controller::{AlterConfigs, Altered, Change, Command, Controller, Refused, UnfenceBroker};
use cluster::machine::{Machine, Timestamp};
use cluster::metadata::{Image, MetadataRecord};
use cluster_under_test::{ClusterUnderTest, settings};

#[path = "scripts/cluster_under_test.rs"]
mod cluster_under_test;

/// A small random number generator: the tests say which seed failed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A command that may make sense.
fn random_command(random: &mut Random) -> String {
    let names = ["a", "b.c", "b_c", "d", "e", "x/y", ""];
    let name = random.pick(&names);
    let number = random.below(4) as i64 - 1;
    let broker = random.below(4);
    match random.below(16) {
        0..=3 => {
            let config = random.pick(&["", " retention.ms=5", " min.insync.replicas=2", " nope=1"]);
            let manual = random.pick(&["", "", " a=0:1,2;1:2,1"]);
            let counts =
                if manual.is_empty() { format!(" p={number} r={}", random.below(4)) } else { String::new() };
            format!("create {name}{counts}{manual}{config} | other{}", random.below(3))
        }
        4 => format!("delete {name} #other{}", random.below(3)),
        5 | 6 => format!("grow {}={} other1=2", random.pick(&["a", "d", "e"]), random.below(6)),
        7 | 8 => format!(
            "broker {broker} incarnation={} rack={} dir={}",
            random.below(3),
            random.pick(&["x", "y"]),
            broker + 1
        ),
        9 => format!("unfence {broker}{}", random.pick(&["", " new-epochs"])),
        10 => format!("ids {broker} {}", random.below(20)),
        11..=14 => random_change(random, name),
        _ => "ids 1 9".to_owned(),
    }
}

fn random_change(random: &mut Random, topic: &str) -> String {
    let verb = random.pick(&["alter", "alter", "replace"]);
    let topics =
        ["retention.ms=7", "cleanup.policy=compact", "min.insync.replicas=2", "segment.ms=8", "nope=1"];
    let lists =
        ["cleanup.policy+=delete", "cleanup.policy-=compact", "-retention.ms", "-min.insync.replicas"];
    let resources = [
        ("topic", if topic.is_empty() { "a" } else { topic }, random.pick(&topics), random.pick(&lists)),
        ("group", "g", "consumer.session.timeout.ms=50000", "-consumer.heartbeat.interval.ms"),
        ("group", "h", "-consumer.session.timeout.ms", "consumer.heartbeat.interval.ms=6000"),
        ("broker", "1", "message.max.bytes=5", "-log.segment.bytes"),
        (
            "broker",
            "\"\"",
            "min.insync.replicas=1",
            random.pick(&["-message.max.bytes", "message.max.bytes=9"]),
        ),
    ];
    let (kind, name, one, other) = resources[random.below(resources.len() as u64) as usize];
    match verb {
        "replace" => format!("replace {kind} {name} {}", one.replace("-consumer.session.timeout.ms", "")),
        verb => format!("{verb} {kind} {name} {one} {other} | group i consumer.session.timeout.ms=45001"),
    }
    .trim_end()
    .to_owned()
}

#[test]
fn replay_gives_the_state_that_deciding_did() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut cluster = ClusterUnderTest::new();
        cluster.command("broker 1");
        cluster.command("unfence 1");
        for _ in 0..60 {
            cluster.command(&random_command(&mut random));
        }
        assert!(cluster.history.len() > 20, "seed {seed} does nothing");
        let decided = cluster.controller.image();
        let mut replayed = Controller::new(decided.cluster_id.clone(), settings());
        for (offset, record) in (0..).zip(&cluster.history) {
            let record = MetadataRecord::from_bytes(&record.to_bytes()).unwrap();
            replayed.replay(&record, offset).unwrap();
        }
        assert_eq!(replayed.image(), decided, "seed {seed}");
        assert_eq!(format!("{replayed:?}"), format!("{:?}", cluster.controller), "seed {seed}");
        let mut loaded = Image::new(decided.cluster_id.clone());
        for record in decided.records() {
            loaded.apply(&record, decided.offset).unwrap();
        }
        assert_eq!(&loaded, decided, "seed {seed}");
        check_topics(decided, seed);
    }
}

fn check_topics(image: &Image, seed: u64) {
    for topic in image.topics.iter() {
        assert_eq!(image.topics.by_id(topic.id).unwrap().name, topic.name, "seed {seed}");
        assert!(!topic.partitions().is_empty(), "seed {seed}");
        for (index, partition) in (0..).zip(topic.partitions()) {
            assert_eq!(partition.index, index, "seed {seed}");
            let replicas: BTreeSet<&i32> = partition.replicas.iter().collect();
            assert_eq!(replicas.len(), partition.replicas.len(), "seed {seed}");
            assert!(partition.isr.iter().all(|id| replicas.contains(id)), "seed {seed}");
            assert!(partition.isr.contains(&partition.leader), "seed {seed}");
            assert_eq!(partition.directories.len(), partition.replicas.len(), "seed {seed}");
        }
    }
    let partitions: usize = image.topics.iter().map(|topic| topic.partitions().len()).sum();
    assert_eq!(image.topics.partition_count(), partitions, "seed {seed}");
}

/// A Kafka broker stopped cleanly and starts again: the elections are those that Kafka wrote.
#[test]
fn leaders_come_back_as_in_kafkas_own_log() {
    const UNFENCED: i64 = 194;
    const LAST_ELECTION: i64 = 209;
    let log = include_str!("kafka_metadata_log.txt");
    let mut controller = Controller::new("c", settings());
    let mut expected = Vec::new();
    for line in log.lines().filter(|line| !line.starts_with('#')) {
        let (offset, hex) = line.split_once(' ').unwrap();
        let offset: i64 = offset.parse().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let record = MetadataRecord::from_bytes(&bytes).unwrap();
        match offset {
            ..UNFENCED => controller.replay(&record, offset).unwrap(),
            UNFENCED..=LAST_ELECTION => expected.push(format!("{record:?}")),
            _ => break,
        }
    }
    let unfence = UnfenceBroker { broker_id: 1, broker_epoch: 192, new_leader_epochs: true };
    let decision = controller.decide(Command::UnfenceBroker(unfence), Timestamp(0));
    let mut decided: Vec<String> = decision.records.iter().map(|record| format!("{record:?}")).collect();
    // Kafka goes through topics in the order of their ids' hashes.
    decided.sort();
    expected.sort();
    assert_eq!(decided, expected);
}

#[test]
fn one_request_changes_so_many_settings_and_no_more() {
    let cluster = ClusterUnderTest::new();
    let alter = |groups: usize, value: &str| {
        let change = |name: &str| Change { name: name.into(), operation: 0, value: Some(value.to_owned()) };
        let group = |at: usize| Altered {
            kind: 32,
            name: format!("group-{at}"),
            changes: vec![change("consumer.session.timeout.ms"), change("share.session.timeout.ms")],
            replaces_all: false,
        };
        let mut resources: Vec<Altered> = (0..groups).map(group).collect();
        resources.push(Altered { kind: 99, name: String::new(), changes: Vec::new(), replaces_all: false });
        let decided = cluster.controller.alter_configs(&AlterConfigs { resources, validate_only: true });
        assert!(decided.records.is_empty(), "only checked");
        let code = |outcome: &Result<(), Refused>| outcome.as_ref().map_err(|refused| refused.code.0).err();
        let codes: BTreeSet<Option<i16>> = decided.reply.iter().map(code).collect();
        (decided.reply.len(), codes)
    };
    assert_eq!(alter(5_000, "45000"), (5_001, BTreeSet::from([None, Some(42)])));
    // Those that are refused anyway keep their reason.
    assert_eq!(alter(5_001, "45000"), (5_002, BTreeSet::from([Some(42), Some(44)])));
    let long = " ".repeat(30_000) + "45000";
    assert_eq!(alter(200, &long), (201, BTreeSet::from([Some(42), Some(44)])));
}
