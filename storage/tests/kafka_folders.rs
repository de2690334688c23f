//! Logs that Apache Kafka 4.3.1 wrote, stopped in order, killed, or recovered, hold the same records here.
//!
//! A few folders lie among the fixtures. Whole data directories, with what Kafka's own tool says of them, are looked for
//! beside the checkout, in `shared/kafka/disk`.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by what it unwraps")]
#![allow(clippy::disallowed_methods, reason = "fixtures lie in the source tree, not in a data directory")]

#[path = "compaction/cleaning.rs"]
mod cleaning;
#[path = "logs/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::rc::Rc;

use protocol::records::batch::BatchView;
use protocol::records::compression::{Codec, decompress};
use storage::cache::TailCache;
use storage::catalogue::{Entry, RecoveryPoint};
use storage::checkpoint::parse_offsets;
use storage::compaction::Task;
use storage::data_dir::{FolderState, parse_folder_name};
use storage::disk::memory::MemoryDisk;
use storage::log::{Log, LogConfig, LogDir};
use storage::producers::Producers;
use storage::segment::aborted_index::AbortedIndex;
use world::{NOW_MS, World};

type Files = BTreeMap<String, Vec<u8>>;

/// One batch, in the words of Kafka's dump tool.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    base_offset: i64,
    last_offset: i64,
    count: i32,
    leader_epoch: i32,
    producer_id: i64,
    base_sequence: i32,
    crc: u32,
    size: usize,
}

impl Told {
    fn of(batch: &BatchView<'_>) -> Self {
        Self {
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            count: batch.count(),
            leader_epoch: batch.leader_epoch(),
            producer_id: batch.producer_id(),
            base_sequence: batch.base_sequence(),
            crc: batch.crc(),
            size: batch.batch_len(),
        }
    }

    /// `baseOffset: 0 lastOffset: 2 count: 3 ...`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |name: &str| {
            words.windows(2).find(|pair| pair[0].strip_suffix(':') == Some(name)).map(|pair| pair[1])
        };
        Some(Self {
            base_offset: field("baseOffset")?.parse().ok()?,
            last_offset: field("lastOffset")?.parse().ok()?,
            count: field("count")?.parse().ok()?,
            leader_epoch: field("partitionLeaderEpoch")?.parse().ok()?,
            producer_id: field("producerId")?.parse().ok()?,
            base_sequence: field("baseSequence")?.parse().ok()?,
            crc: field("crc")?.parse().ok()?,
            size: field("size")?.parse().ok()?,
        })
    }
}

/// What the tool says of each folder's segments, in the order of their offsets.
fn told(listing: &str) -> BTreeMap<String, Vec<Told>> {
    let mut all: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    let mut folder = None;
    for line in listing.lines() {
        if let Some(path) = line.strip_prefix("Dumping ./") {
            folder = path.ends_with(".log").then(|| path.split('/').next().unwrap().to_owned());
        } else if let (Some(folder), Some(batch)) = (&folder, Told::parse(line)) {
            all.entry(folder.clone()).or_default().push(batch);
        }
    }
    all
}

/// Files of an archive, by their paths below its one folder.
fn unpack(archive: &[u8]) -> Files {
    const BLOCK: usize = 512;
    let text = |field: &[u8]| String::from_utf8_lossy(field).trim_end_matches('\0').trim().to_owned();
    let mut files = Files::new();
    let (mut at, mut long_name) = (0, None);
    while at + BLOCK <= archive.len() && archive[at] != 0 {
        let header = &archive[at..at + BLOCK];
        let bytes = usize::from_str_radix(&text(&header[124..136]), 8).unwrap();
        let content = &archive[at + BLOCK..at + BLOCK + bytes];
        at += BLOCK + bytes.next_multiple_of(BLOCK);
        if header[156] == b'L' {
            long_name = Some(text(content));
            continue;
        }
        let short_name = [text(&header[345..500]), text(&header[..100])].join("/");
        let name = long_name.take().unwrap_or(short_name);
        let name = name.trim_start_matches(['.', '/']);
        if let Some((_, below)) = name.split_once('/').filter(|_| matches!(header[156], b'0' | 0)) {
            files.insert(below.to_owned(), content.to_vec());
        }
    }
    files
}

fn fixtures(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            fixtures(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

fn partitions(files: &Files) -> BTreeSet<String> {
    let folders = files.keys().filter_map(|path| Some(path.split_once('/')?.0.to_owned()));
    let is_ours = |folder: &String| {
        parse_folder_name(folder).is_some_and(|folder| folder.state == FolderState::InUse)
            && folder != "__cluster_metadata-0"
            && files.keys().any(|path| path.starts_with(&format!("{folder}/")) && path.ends_with(".log"))
    };
    folders.filter(is_ours).collect()
}

/// What Kafka's checkpoint files say of one partition.
fn checkpoints(files: &Files, topic: &str, partition: i32) -> Entry {
    let read = |name: &str| {
        let lines = files.get(name).map_or_else(Vec::new, |bytes| parse_offsets(bytes).unwrap());
        let line = lines.into_iter().find(|line| line.topic == topic && line.partition == partition);
        line.map_or(0, |line| line.offset)
    };
    Entry {
        topic: topic.to_owned(),
        partition,
        log_start_offset: read("log-start-offset-checkpoint"),
        recovery: RecoveryPoint {
            offset: read("recovery-point-offset-checkpoint"),
            ..RecoveryPoint::default()
        },
        ..Entry::default()
    }
}

fn is_compacted(folder: &str) -> bool {
    ["compacted", "__"].iter().any(|prefix| folder.starts_with(prefix))
}

struct Opened {
    world: World,
    log: Rc<Log>,
    batches: Vec<Told>,
}

fn open(files: &Files, folder: &str, knows_checkpoints: bool) -> Opened {
    let place = parse_folder_name(folder).unwrap();
    let disk = MemoryDisk::new(1);
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with(&format!("{folder}/"))) {
        disk.put(path, bytes);
    }
    let config =
        LogConfig { is_compacted: is_compacted(folder), segment_index_bytes: 65_536, ..LogConfig::default() };
    let mut world = World::on(disk, 1, config);
    world.cache = Rc::new(TailCache::new(1 << 20));
    let known = knows_checkpoints.then(|| checkpoints(files, &place.topic, place.partition));
    let dir = LogDir { topic: place.topic, partition: place.partition, topic_id: Default::default() };
    let opening = Log::open(
        Rc::new(world.disk.clone()),
        dir,
        world.config.clone(),
        known,
        Rc::clone(&world.cache),
        NOW_MS,
    );
    let log = world.executor.block_on(opening).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let batches = world.read_all(&log, 100_000).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let batches = batches.iter().map(|batch| Told::of(&BatchView::parse(batch).unwrap())).collect();
    Opened { world, log, batches }
}

/// Opened, closed, and opened again by every way there is, it stays the same.
fn check_it_stays(opened: Opened, folder: &str) {
    let Opened { world, log, batches } = opened;
    let (start, end, segments) = (log.start_offset(), log.end_offset(), log.segments());
    let entry = world.executor.block_on(log.close()).unwrap();
    let unclean = Entry { is_clean: false, ..entry.clone() };
    for known in [Some(entry), Some(unclean), None] {
        let has_entry = known.is_some();
        let opening = Log::open(
            Rc::new(world.disk.clone()),
            log.dir().clone(),
            world.config.clone(),
            known,
            Rc::clone(&world.cache),
            NOW_MS,
        );
        let log = world.executor.block_on(opening).unwrap();
        assert_eq!(log.end_offset(), end);
        if has_entry {
            assert_eq!((log.start_offset(), log.segments()), (start, segments.clone()), "{folder}");
            let again = world.read_all(&log, 5000).unwrap();
            let again: Vec<Told> =
                again.iter().map(|batch| Told::of(&BatchView::parse(batch).unwrap())).collect();
            assert_eq!(again, batches);
        }
    }
}

/// The batches that a reader can reach: those from the one that holds the log's start on.
fn from_start(told: &[Told], start: i64) -> &[Told] {
    &told[told.partition_point(|batch| batch.last_offset < start)..]
}

#[test]
fn fixtures_hold_what_their_files_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3");
    for kind in ["clean", "recovered"] {
        let mut files = Files::new();
        fixtures(&root.join(kind), "", &mut files);
        let folders = partitions(&files);
        assert!(folders.len() >= 4);
        for folder in folders {
            let logs = files.iter().filter(|(path, _)| path.starts_with(&folder) && path.ends_with(".log"));
            let content: Vec<u8> = logs.flat_map(|(_, bytes)| bytes.clone()).collect();
            let mut told = Vec::new();
            for batch in protocol::records::batch::batches(&content) {
                told.push(Told::of(&batch.unwrap()));
            }
            for knows_checkpoints in [false, true] {
                let opened = open(&files, &folder, knows_checkpoints);
                let start = opened.log.start_offset();
                assert_eq!(opened.batches, from_start(&told, start), "{kind}/{folder}");
                assert_eq!(start == 0, !knows_checkpoints || folder != "trimmed-0");
                check_producers_and_transactions(&files, &folder, &opened);
                check_it_stays(opened, &folder);
            }
            if is_compacted(&folder) {
                check_compaction(&files, &folder);
            }
        }
    }
}

/// What Kafka's cleaner has left ours goes on with: the newest of each key stays, as it is.
fn check_compaction(files: &Files, folder: &str) {
    let Opened { world, log, .. } = open(files, folder, true);
    log.replicated_up_to(log.durable_offset());
    // The last segment is never touched: one more record, that rolls.
    let tiny = LogConfig { segment_bytes: 300, ..world.config.clone() };
    log.set_config(tiny);
    world.append(&log, &cleaning::keyed(Default::default(), NOW_MS, &[(Some(b"other".to_vec()), None)]));
    log.set_config(world.config.clone());
    let newest = |records: Vec<cleaning::Kept>| -> BTreeMap<_, _> {
        records.into_iter().filter(|one| one.key.is_some()).map(|one| (one.key.clone(), one)).collect()
    };
    let before = newest(world.committed(&log));
    let task = Task { delete_retention_ms: 1 << 50, ..cleaning::task(&log, 0, NOW_MS) };
    let end = task.cleanable.end;
    assert!(end > 0 && task.cleanable.is_any(), "{folder}");
    world.compact(&log, task).unwrap();
    assert_eq!(newest(world.committed(&log)), before, "{folder}");
    let mut keys = BTreeSet::new();
    for record in world.records(&log).into_iter().filter(|one| one.offset < end) {
        assert!(keys.insert(record.key), "{folder}: twice, at {}", record.offset);
    }
    check_it_stays(open_again(world, &log), folder);
}

fn open_again(world: World, log: &Rc<Log>) -> Opened {
    let batches = world.read_all(log, 100_000).unwrap();
    let batches = batches.iter().map(|batch| Told::of(&BatchView::parse(batch).unwrap())).collect();
    Opened { world, log: Rc::clone(log), batches }
}

/// After an orderly stop the newest snapshot and the transaction index say what replaying would.
fn check_producers_and_transactions(files: &Files, folder: &str, opened: &Opened) {
    let in_folder = |end: &str| {
        let mut ours =
            files.iter().filter(|(path, _)| path.starts_with(&format!("{folder}/")) && path.ends_with(end));
        ours.next_back().map(|(_, bytes)| bytes.clone())
    };
    if let Some(snapshot) = in_folder(".snapshot") {
        let entries = storage::producers::decode_snapshot(&snapshot).unwrap();
        let expected = Producers::from_snapshot(&entries, NOW_MS, i64::MAX);
        assert_eq!(opened.log.producers().to_snapshot(), expected.to_snapshot());
    }
    let expected = in_folder(".txnindex")
        .map_or_else(AbortedIndex::default, |bytes| AbortedIndex::decode(&bytes).unwrap());
    let found = opened.log.aborted_transactions(0, i64::MAX);
    assert_eq!(opened.world.executor.block_on(found).unwrap(), expected.entries());
}

#[test]
fn whole_directories_hold_what_kafka_says_they_hold() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kafka/disk");
    for kind in ["clean", "killed", "recovered"] {
        let (Ok(archive), Ok(listing)) = (
            fs::read(shared.join(format!("{kind}.tar.zst"))),
            fs::read_to_string(shared.join(format!("{kind}.txt"))),
        ) else {
            eprintln!("no {kind} directory beside the checkout: left out");
            continue;
        };
        let files = unpack(&decompress(Codec::Zstd, &archive, 1 << 30).unwrap());
        let told = told(&listing);
        let folders = partitions(&files);
        assert!(folders.len() >= 10);
        for folder in folders {
            for knows_checkpoints in [false, true] {
                let opened = open(&files, &folder, knows_checkpoints);
                let told = told.get(&folder).map_or(&[][..], |told| told);
                assert_eq!(opened.batches, from_start(told, opened.log.start_offset()), "{kind}/{folder}");
                if kind != "killed" {
                    check_producers_and_transactions(&files, &folder, &opened);
                }
                check_it_stays(opened, &folder);
            }
            if is_compacted(&folder) {
                check_compaction(&files, &folder);
            }
        }
    }
}
