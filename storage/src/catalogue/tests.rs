use super::*;
use crate::disk::memory::{Executor, MemoryDisk, Random};
use crate::producers::{Batch, Producers};
use protocol::crc32c::crc32c;

const DIRECTORY: Uuid = Uuid([3; 16]);

fn header(core: u32, sequence: u64) -> Header {
    Header { core, sequence, directory_id: DIRECTORY, seal: None }
}

fn entry(topic: &str, partition: i32, end: i64) -> Entry {
    let segment = |base_offset, next_offset| Segment {
        base_offset,
        bytes: 1000,
        next_offset,
        max_timestamp: 5000 + next_offset,
        offset_of_max_timestamp: next_offset - 1,
        first_timestamp: 5000,
        offset_index_entries: 3,
        time_index_entries: 2,
        aborted_index_entries: 0,
    };
    let mut producers = Producers::default();
    for sequence in 0..7 {
        let batch = Batch {
            producer_id: 9,
            epoch: 1,
            base_sequence: sequence,
            last_offset_delta: 0,
            is_transactional: sequence == 6,
        };
        producers.apply(&batch, i64::from(sequence), 5000);
    }
    let mut entry = Entry {
        topic: topic.to_owned(),
        partition,
        topic_id: [8; 16],
        log_start_offset: 2,
        recovery: RecoveryPoint { offset: end, position: 1000, max_timestamp: 5000 + end },
        is_clean: true,
        segments: vec![segment(0, 50), segment(50, end)],
        physical_bytes: 1 << 20,
        ..Entry::default()
    };
    entry.set_epochs(&[crate::checkpoint::EpochStart { epoch: 0, start_offset: 0 }]);
    entry.set_producers(&producers);
    entry
}

fn file_of(header: &Header, entries: &[Entry]) -> Vec<u8> {
    let frames: Vec<Frame> = entries.iter().map(Frame::new).collect();
    let mut bytes = encode(header, &frames);
    frames.iter().for_each(|frame| bytes.extend_from_slice(frame.as_bytes()));
    bytes
}

fn some_entries() -> Vec<Entry> {
    vec![
        entry("a", 0, 100),
        entry("a-longer-topic-name", 12, 70),
        Entry { topic: "b".into(), ..Entry::default() },
    ]
}

#[test]
fn entries_come_back_as_they_were() {
    let seal = Some(Seal { broker_epoch: 14, recovery_points_crc: 77 });
    let header = Header { seal, ..header(3, 42) };
    let decoded = decode(&file_of(&header, &some_entries()), DIRECTORY).unwrap();
    assert_eq!((decoded.header, decoded.entries, decoded.damage), (header, some_entries(), None));
}

#[test]
fn producers_and_epochs_survive_with_their_whole_window() {
    let entry = entry("a", 0, 100);
    let producers = entry.producers();
    assert_eq!(producers.get(9).unwrap().batches().len(), 5);
    assert_eq!(producers.first_unstable_offset(), Some(6));
    assert_eq!(entry.epochs().count(), 1);
}

#[test]
fn catalogue_of_another_directory_or_version_is_not_used() {
    let bytes = file_of(&header(0, 1), &some_entries());
    assert!(decode(&bytes, Uuid([4; 16])).unwrap_err().found.contains("directory"));
    let mut other = bytes.clone();
    other[8] += 1;
    assert!(decode(&other, DIRECTORY).unwrap_err().found.contains("version"));
    assert!(decode(b"", DIRECTORY).is_err() && decode(&[0; 4096], DIRECTORY).is_err());
}

#[test]
fn damaged_frame_costs_only_what_follows() {
    let bytes = file_of(&header(0, 1), &some_entries());
    let first = Frame::new(&some_entries()[0]).as_bytes().len();
    let mut damaged = bytes.clone();
    damaged[80 + first + 40] ^= 1;
    let decoded = decode(&damaged, DIRECTORY).unwrap();
    assert_eq!(decoded.entries, some_entries()[..1]);
    assert_eq!(decoded.damage.unwrap().position, 80 + first as u64);

    let torn = decode(&bytes[..80 + first], DIRECTORY).unwrap();
    assert_eq!(torn.entries.len(), 1);
    assert!(torn.damage.unwrap().found.contains("announced"));
}

#[test]
fn entry_that_contradicts_itself_is_not_used() {
    let check = |change: fn(&mut Entry), what: &str| {
        let mut wrong = entry("a", 0, 100);
        change(&mut wrong);
        let decoded = decode(&file_of(&header(0, 1), &[wrong]), DIRECTORY).unwrap();
        assert!(decoded.entries.is_empty() && decoded.damage.unwrap().found.contains(what), "{what}");
    };
    check(|entry| entry.partition = -1, "name");
    check(|entry| entry.topic = "../x".into(), "name");
    check(|entry| entry.segments.swap(0, 1), "follow");
    check(|entry| entry.segments[1].bytes = u32::MAX, "follow");
    check(|entry| entry.log_start_offset = 101, "log start");
    check(|entry| entry.recovery.offset = 49, "recovery point");
    check(|entry| entry.recovery.position = 1001, "recovery position");
}

#[test]
fn later_file_wins_when_partitions_changed_cores() {
    let decoded = |header: &Header, entries: &[Entry]| decode(&file_of(header, entries), DIRECTORY);
    let old = header(3, 8);
    let new = header(1, 9);
    let known = Known::merge([
        (file_name(1), decoded(&new, &[entry("a", 0, 100)])),
        (file_name(3), decoded(&old, &[entry("a", 0, 60), entry("b", 0, 60)])),
        (file_name(2), decode(b"junk", DIRECTORY)),
    ]);
    assert_eq!(known.entries[&("a".to_owned(), 0)].recovery.offset, 100);
    assert_eq!(known.entries[&("b".to_owned(), 0)].recovery.offset, 60);
    assert_eq!((known.next_sequence, known.cores), (10, vec![1, 2, 3]));
    assert_eq!(known.unusable.len(), 1);
}

#[test]
fn seal_counts_only_if_all_files_bear_it() {
    let seal = |broker_epoch| Some(Seal { broker_epoch, recovery_points_crc: 5 });
    let merged = |seals: [Option<Seal>; 2]| {
        let file = |core: usize| Header { seal: seals[core], ..header(core as u32, 1) };
        Known::merge(
            [0, 1].map(|core| (file_name(core as u32), decode(&file_of(&file(core), &[]), DIRECTORY))),
        )
        .seal
    };
    assert_eq!(merged([seal(4), seal(4)]), seal(4));
    assert_eq!(merged([seal(4), seal(5)]), None);
    assert_eq!(merged([seal(4), None]), None);
}

#[test]
fn written_files_are_read_back_and_others_are_left_alone() {
    let disk = MemoryDisk::new(5);
    disk.put("millstream-catalogue-07", b"not ours");
    disk.put("millstream-catalogue-9", b"torn");
    // More than one piece.
    let many: Vec<Entry> = (0..2000).map(|partition| entry("topic", partition, 100)).collect();
    let frames: Vec<Frame> = many.iter().map(Frame::new).collect();
    let known = Executor::new(5)
        .block_on(async {
            write(&disk, &header(2, 7), &frames).await?;
            write(&disk, &header(0, 7), &[]).await?;
            read_all(&disk, DIRECTORY).await
        })
        .unwrap();
    assert_eq!(known.entries.len(), 2000);
    assert_eq!(known.entries[&("topic".to_owned(), 1999)], many[1999]);
    assert_eq!((known.cores, known.next_sequence), (vec![0, 2, 9], 8));
    assert_eq!(known.unusable.len(), 1);
    assert!(disk.is_durable(&file_name(2)));
}

#[test]
fn power_loss_leaves_the_old_or_the_new_catalogue() {
    for seed in 0..100 {
        let disk = MemoryDisk::new(seed);
        disk.put(&file_name(0), &file_of(&header(0, 1), &[entry("a", 0, 60)]));
        let executor = Executor::new(seed);
        let theirs = disk.clone();
        executor.spawn(async move {
            write(&theirs, &header(0, 2), &[Frame::new(&entry("a", 0, 100))]).await.unwrap();
        });
        executor.run_for(seed % 30);
        let after = disk.crash(seed);
        let known = Executor::new(seed).block_on(read_all(&after, DIRECTORY)).unwrap();
        assert!(known.unusable.is_empty());
        let offset = known.entries[&("a".to_owned(), 0)].recovery.offset;
        assert!(offset == 60 || offset == 100);
    }
}

/// Damage that the checksums would catch is hidden from them, so that what lies behind is tried too.
#[test]
fn arbitrary_damage_behind_a_right_checksum_does_no_harm() {
    let clean = Frame::new(&entry("a", 0, 100));
    let head = encode(&header(0, 1), std::slice::from_ref(&clean));
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        let mut frame = clean.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = 16 + random.below(frame.len() as u64 - 16) as usize;
            frame[at] = if random.one_in(2) { random.any() as u8 } else { 0xff };
        }
        let len = u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
        let crc = crc32c(&frame[16..16 + len]) ^ crc32c(&frame[..4]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        let bytes = [head.clone(), frame].concat();
        let decoded = decode(&bytes, DIRECTORY).unwrap();
        let held: usize = decoded
            .entries
            .iter()
            .map(|entry| {
                entry.topic.len()
                    + entry.segments.len() * 64
                    + entry.producers.len() * 64
                    + entry.epochs.len() * 16
            })
            .sum();
        assert!(held <= 8 * bytes.len(), "{held} bytes from {}", bytes.len());
    }
}
