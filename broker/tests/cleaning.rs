//! Old records go and compacted topics stay small, in a real process that is killed meanwhile.
#![allow(clippy::disallowed_methods, reason = "real processes, files, threads and time")]

#[path = "server/process.rs"]
mod process;
#[path = "start/started.rs"]
mod started;
#[path = "server/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use protocol::records::batch::{BatchHeader, batches};
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::{Codec, Decompressor};

use process::Server;
use started::{Folder, Started};
use wire::Wire;

/// For what happens in the background. Generous: the machine may have other work.
const PATIENCE: Duration = Duration::from_secs(60);

const SETTINGS: [&str; 10] = [
    "--shards",
    "2",
    "--set",
    "log.retention.check.interval.ms=100",
    "--set",
    "log.initial.task.delay.ms=50",
    "--set",
    "log.cleaner.backoff.ms=50",
    "--set",
    "log.segment.delete.delay.ms=100",
];

fn create(server: &Server, topic: &str, configs: &[(&str, &str)]) {
    create_by(&mut Wire::connect(server.address()), topic, configs);
}

fn create_by(wire: &mut Wire, topic: &str, configs: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let topic = CreatableTopic {
        name: topic.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let answer: CreateTopicsResponse = wire.ask(5, &request);
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn set(wire: &mut Wire, kind: i8, name: &str, setting: &str, value: &str) {
    let change =
        AlterableConfig { name: setting.to_owned(), config_operation: 0, value: Some(value.to_owned()) };
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.to_owned(), configs: vec![change] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer: IncrementalAlterConfigsResponse = wire.ask(1, &request);
    assert_eq!(answer.responses[0].error_code, 0, "{:?}", answer.responses[0].error_message);
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

fn record(codec: Codec, timestamp: i64, key: Option<&str>, value: Option<&str>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchHeader { codec, ..BatchHeader::default() });
    builder.append(timestamp, key.map(str::as_bytes), value.map(str::as_bytes), &[]).expect("it fits");
    builder.build().expect("it fits")
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn files(server: &Server, folder: &str, end: &str) -> Vec<(String, u64)> {
    let entries = fs::read_dir(server.data().join(folder)).expect("the partition's folder");
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, entry.metadata().ok()?.len()))
    };
    entries.filter_map(|entry| file(entry.ok()?)).filter(|(name, _)| name.ends_with(end)).collect()
}

/// The newest value of each key, as a consumer that reads all finds them; and how many records that took.
fn read_all(server: &Server, topic: &str) -> (BTreeMap<String, Option<String>>, usize) {
    let mut wire = Wire::connect(server.address());
    let (mut newest, mut count, mut offset) = (BTreeMap::new(), 0, 0);
    loop {
        let found = wire.fetch(topic, 0, offset, 1 << 20);
        assert_eq!(found.error_code, 0, "at offset {offset}");
        let bytes = found.records.unwrap_or_default();
        if offset >= found.high_watermark {
            return (newest, count);
        }
        let mut decompressor = Decompressor::new();
        for batch in batches(&bytes) {
            let batch = batch.expect("whole batches");
            for record in batch.records(&mut decompressor, 1 << 20).expect("records") {
                let record = record.expect("a record");
                assert!(batch.offset_of(&record) >= offset || count == 0, "offsets rise");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                newest.insert(record.key.map(text).expect("a key"), record.value.map(text));
                count += 1;
            }
            offset = batch.next_offset();
        }
        if bytes.is_empty() {
            // Nothing is left up to the high watermark.
            return (newest, count);
        }
    }
}

#[test]
fn old_records_go_and_what_is_new_stays() {
    let mut arguments = SETTINGS.to_vec();
    arguments.extend(["--set", "log.retention.hours=1"]);
    let mut server = Server::start("retention", &arguments);
    create(&server, "fading", &[("retention.ms", "3600000"), ("internal.segment.bytes", "2000")]);
    let mut wire = Wire::connect(server.address());
    let old = now_ms() - 3_600_000 + 5_000;
    for at in 0..20 {
        wire.produce("fading", 0, &record(Codec::None, old, None, Some(&format!("{at:0300}"))));
    }
    // Also of a log that nobody has opened since the start.
    assert!(server.stop().success());
    server.start_again();
    let start = |server: &Server| {
        let found = Wire::connect(server.address()).fetch("fading", 0, 20, 1000);
        found.log_start_offset
    };
    eventually("old records go", || files(&server, "fading-0", ".log").len() == 1);
    eventually("their room is free", || files(&server, "fading-0", ".deleted").is_empty());
    assert_eq!(start(&server), 20);
    assert_eq!(Wire::connect(server.address()).fetch("fading", 0, 3, 1000).error_code, 1);
    let mut wire = Wire::connect(server.address());
    let answer = wire.produce("fading", 0, &record(Codec::None, now_ms(), None, Some("new")));
    assert_eq!((answer.error_code, answer.base_offset), (0, 20));
    server.kill();
    server.start_again();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(start(&server), 20);
    let found = Wire::connect(server.address()).fetch("fading", 0, 20, 1000);
    assert!(!found.records.unwrap_or_default().is_empty(), "what is new stays");
}

#[test]
fn compacted_topic_stays_small_whenever_the_broker_is_killed() {
    let mut server = Server::start("compaction", &SETTINGS);
    let configs = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "20000"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("delete.retention.ms", "0"),
    ];
    create(&server, "table", &configs);
    let refused =
        Wire::connect(server.address()).produce("table", 0, &record(Codec::None, 1, None, Some("x")));
    assert_eq!(refused.error_code, 87, "records need a key");
    let mut expected: BTreeMap<String, Option<String>> = BTreeMap::new();
    let codecs = [Codec::None, Codec::Lz4, Codec::Zstd];
    for round in 0..6 {
        let mut wire = Wire::connect(server.address());
        for at in 0..400 {
            let key = format!("key-{}", at % 37);
            let value = (at % 41 != 7).then(|| format!("{round}-{at}-{}", "v".repeat(200)));
            let batch = record(codecs[at % 3], now_ms(), Some(&key), value.as_deref());
            assert_eq!(wire.produce("table", 0, &batch).error_code, 0);
            expected.insert(key, value);
        }
        if round % 2 == 1 {
            server.kill();
            server.start_again();
        }
    }
    let mut wire = Wire::connect(server.address());
    // So that the last segment with them is no longer the active one.
    for at in 0..100 {
        let batch = record(Codec::None, now_ms(), Some("filler"), Some(&format!("{at:0300}")));
        assert_eq!(wire.produce("table", 0, &batch).error_code, 0);
    }
    expected.insert("filler".to_owned(), Some(format!("{:0300}", 99)));
    expected.retain(|_, value| value.is_some());
    let newest = |server: &Server| {
        let (mut newest, count) = read_all(server, "table");
        newest.retain(|_, value| value.is_some());
        (newest, count)
    };
    eventually("the topic is compacted", || newest(&server).1 < 300);
    assert_eq!(newest(&server).0, expected);
    let bytes: u64 = files(&server, "table-0", ".log").iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes < 200_000, "{bytes} bytes of about 600,000 are left");
    assert!(server.stop().success());
    let checkpoint =
        fs::read_to_string(server.data().join("cleaner-offset-checkpoint")).expect("written at a stop");
    assert!(checkpoint.contains("table 0 "), "{checkpoint}");
    server.start_again();
    assert_eq!(newest(&server).0, expected);
}

#[test]
fn overdue_records_are_compacted_however_clean_the_log() {
    const LAG_MS: i64 = 3_600_000;
    let server = Server::start("compaction-lag", &SETTINGS);
    let lag = LAG_MS.to_string();
    // A share that no log exceeds.
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "1"),
        ("max.compaction.lag.ms", lag.as_str()),
    ];
    let small = ("internal.segment.bytes", "2000");
    create(&server, "young", &[configs[0], configs[1], configs[2], small]);
    create(&server, "ageing", &[configs[0], configs[1], configs[2], small]);
    create(&server, "rolled", &configs);
    create(&server, "timeless", &[configs[0], configs[1], configs[2], small]);
    let mut wire = Wire::connect(server.address());
    let mut fill = |topic: &str, timestamp: i64, count: usize| {
        for at in 0..count {
            let batch = record(Codec::None, timestamp, Some("key"), Some(&format!("{at:0300}")));
            assert_eq!(wire.produce(topic, 0, &batch).error_code, 0);
        }
    };
    fill("young", now_ms(), 20);
    // The time counts that a producer says.
    fill("timeless", -1, 20);
    let due_ms = now_ms() + 3_000;
    fill("ageing", due_ms - LAG_MS, 20);
    // The last segment is never compacted, but it ends when its first record is as old as that.
    fill("rolled", now_ms() - LAG_MS - 1_000, 20);
    fill("rolled", now_ms(), 1);
    eventually("what was in the last segment is compacted", || read_all(&server, "rolled").1 == 2);
    eventually("the first dirty record is old", || read_all(&server, "ageing").1 < 20);
    assert!(now_ms() > due_ms, "not before it is older than that");
    assert_eq!(read_all(&server, "young").1, 20);
    assert_eq!(read_all(&server, "timeless").1, 20);
    set(&mut wire, TOPIC, "young", "max.compaction.lag.ms", "1");
    eventually("a shorter time holds at once", || read_all(&server, "young").1 < 20);
}

/// Over all cores.
fn sum(broker: &Started, series: &str) -> u64 {
    let (_, body) = broker.metrics();
    let lines = body.lines().filter(|line| line.starts_with(&format!("{series}{{")));
    lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<u64>().expect("a count")).sum()
}

/// About 600 KB of ten keys, not to be compacted until somebody says so.
fn fill_slowly(wire: &mut Wire, topic: &str) {
    create_by(wire, topic, &[("internal.segment.bytes", "100000"), ("min.cleanable.dirty.ratio", "0.01")]);
    for _ in 0..60 {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        for key in 0..10_u8 {
            builder.append(now_ms(), Some(&[key]), Some(&[b'v'; 1000]), &[]).expect("it fits");
        }
        let answer = wire.produce(topic, 0, &builder.build().expect("it fits"));
        assert_eq!(answer.error_code, 0);
    }
}

#[test]
fn compaction_keeps_to_its_bytes_a_second_and_to_others_as_soon_as_they_are_set() {
    const RATE: &str = "log.cleaner.io.max.bytes.per.second";
    const BYTES_PER_SECOND: u64 = 400_000;
    let folder = Folder::new("compaction-rate");
    let settings = format!(
        "listeners = 'PLAINTEXT://127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\ncores = 1\n\
         log.cleaner.backoff.ms = 20\nlog.cleaner.io.max.bytes.per.second = {BYTES_PER_SECOND}\n"
    );
    let broker = Started::on(&folder, &settings);
    let mut wire = Wire::connect(broker.listening()[0]);
    let runs = |broker: &Started| sum(broker, "millstream_cleaner_runs_total");
    fill_slowly(&mut wire, "paced");
    let began = Instant::now();
    set(&mut wire, TOPIC, "paced", "cleanup.policy", "compact");
    eventually("it is compacted", || runs(&broker) == 1);
    let took = began.elapsed();
    let read = sum(&broker, "millstream_cleaner_read_bytes_total");
    let moved = read + sum(&broker, "millstream_cleaner_written_bytes_total");
    assert!(read > 1_000_000, "all but the last segment is read twice: {read}");
    let least = Duration::from_secs_f64(moved as f64 / BYTES_PER_SECOND as f64);
    assert!(took >= least.mul_f64(0.95), "{moved} bytes in {took:?}");
    assert!(took < least * 2 + Duration::from_secs(10), "{moved} bytes in {took:?}");
    // Two weeks' work, until somebody changes his mind.
    set(&mut wire, BROKER, "", RATE, "1");
    fill_slowly(&mut wire, "slow");
    set(&mut wire, TOPIC, "slow", "cleanup.policy", "compact");
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(runs(&broker), 1);
    set(&mut wire, BROKER, "1", RATE, "1e9");
    eventually("it is compacted at the new pace", || runs(&broker) == 2);
    // Neither a deletion nor a stop waits for what goes slowly.
    set(&mut wire, BROKER, "1", RATE, "1");
    for topic in ["gone", "left"] {
        fill_slowly(&mut wire, topic);
        set(&mut wire, TOPIC, topic, "cleanup.policy", "compact");
        thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        if topic == "gone" {
            let named = DeleteTopicState { name: Some(topic.to_owned()), ..Default::default() };
            let request =
                DeleteTopicsRequest { topics: vec![named], timeout_ms: 30_000, ..Default::default() };
            let answer: DeleteTopicsResponse = wire.ask(6, &request);
            assert_eq!(answer.responses[0].error_code, 0);
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        }
    }
    assert_eq!(runs(&broker), 2);
    let began = Instant::now();
    broker.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
