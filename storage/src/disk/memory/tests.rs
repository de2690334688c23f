use super::*;

const DIRECT: Class = Class::Append;

fn block(byte: u8) -> Bytes {
    let mut buffer = Buffer::heap(BLOCK_BYTES);
    buffer.extend(&[byte; BLOCK_BYTES]);
    buffer.freeze()
}

async fn create(disk: &MemoryDisk, path: &str) -> Rc<dyn File> {
    disk.open(path, Mode::DirectCreate).await.expect("a new file")
}

#[test]
fn durable_write_survives_power_loss_when_its_name_does() {
    for seed in 0..100 {
        let disk = MemoryDisk::new(seed);
        Executor::new(seed).block_on(async {
            let file = create(&disk, "log").await;
            file.write_at(0, block(1), Sync::Durable, DIRECT).await.unwrap();
            disk.sync_dir("").await.unwrap();
        });
        assert!(disk.is_durable("log"));
        assert_eq!(disk.crash(seed).contents("log"), Some(vec![1; BLOCK_BYTES]));
    }
}

#[test]
fn name_that_was_not_synced_may_be_gone_and_may_be_there() {
    let survivors = (0..100)
        .filter(|seed| {
            let disk = MemoryDisk::new(*seed);
            Executor::new(*seed).block_on(create(&disk, "log"));
            disk.crash(*seed).contents("log").is_some()
        })
        .count();
    assert!((20..80).contains(&survivors), "{survivors}");
}

#[test]
fn replaced_file_is_the_old_or_the_new_one() {
    for seed in 0..100 {
        let disk = MemoryDisk::new(seed);
        disk.put("dir/facts", b"old");
        Executor::new(seed).block_on(async {
            let file = disk.open("dir/facts.tmp", Mode::BufferedCreate).await.unwrap();
            file.write_at(0, Bytes::from_static(b"new one"), Sync::Later, Class::Background).await.unwrap();
            file.sync().await.unwrap();
            disk.rename("dir/facts.tmp", "dir/facts").await.unwrap();
        });
        let found = disk.crash(seed).contents("dir/facts").expect("never gone");
        assert!(found == b"old" || found == b"new one", "seed {seed}: {found:?}");
    }
}

#[test]
fn write_goes_on_when_its_future_is_dropped() {
    let disk = MemoryDisk::new(1);
    Executor::new(1).block_on(async {
        let file = create(&disk, "log").await;
        drop(file.write_at(0, block(4), Sync::Durable, DIRECT));
        for _ in 0..100 {
            file.len().await.unwrap();
        }
        assert_eq!(file.read_at(0, 4, DIRECT).await.unwrap(), vec![4; 4]);
    });
}

#[test]
fn faults_strike_where_and_when_planned() {
    let disk = MemoryDisk::new(1).immediate();
    disk.fail(Fault::on(Operation::Write).path("log").after(1));
    disk.fail(Fault::on(Operation::Sync).sticky());
    Executor::new(1).block_on(async {
        let file = create(&disk, "log").await;
        assert!(file.write_at(0, block(1), Sync::Later, DIRECT).await.is_ok());
        let error = file.write_at(0, block(2), Sync::Later, DIRECT).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EIO));
        assert!(file.write_at(0, block(3), Sync::Later, DIRECT).await.is_ok());
        assert!(file.sync().await.is_err());
        assert!(file.sync().await.is_err());
    });
    assert_eq!(disk.counters().of(Operation::Write), 3);
    assert_eq!(disk.counters().bytes_written, 2 * BLOCK_BYTES as u64);
}

#[test]
fn full_disk_refuses_growth_and_takes_what_was_allocated() {
    let disk = MemoryDisk::new(1).immediate();
    disk.set_capacity(2 * BLOCK_BYTES as u64);
    Executor::new(1).block_on(async {
        let file = create(&disk, "log").await;
        file.allocate(0, 2 * BLOCK_BYTES as u64).await.unwrap();
        assert_eq!(disk.space().unwrap().free_bytes, 0);
        file.write_at(4096, block(1), Sync::Durable, DIRECT).await.unwrap();
        let error = file.write_at(8192, block(1), Sync::Durable, DIRECT).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        drop(file);
        disk.remove("log").await.unwrap();
        assert_eq!(disk.space().unwrap().free_bytes, 2 * BLOCK_BYTES as u64);
    });
}

#[test]
#[should_panic(expected = "direct write at 1")]
fn unaligned_direct_write_is_a_bug() {
    let disk = MemoryDisk::new(1);
    Executor::new(1).block_on(async {
        let file = create(&disk, "log").await;
        drop(file.write_at(1, block(1), Sync::Later, DIRECT));
    });
}

#[test]
fn killed_process_loses_no_completed_write() {
    let disk = MemoryDisk::new(9);
    Executor::new(9).block_on(async {
        let file = create(&disk, "log").await;
        file.write_at(0, block(1), Sync::Later, DIRECT).await.unwrap();
    });
    let after = disk.kill(9);
    assert_eq!(after.contents("log"), Some(vec![1; BLOCK_BYTES]));
    assert!(!after.is_durable("log"), "a power cut may still take it");
}

#[test]
fn crash_in_the_middle_of_a_write_tears_only_that_write() {
    for seed in 0..200 {
        let disk = MemoryDisk::new(seed);
        let executor = Executor::new(seed);
        let theirs = disk.clone();
        let file = executor.block_on(async {
            let file = create(&disk, "log").await;
            file.write_at(0, block(1), Sync::Durable, DIRECT).await.unwrap();
            disk.sync_dir("").await.unwrap();
            file
        });
        executor.spawn(async move {
            file.write_at(4096, block(2), Sync::Durable, DIRECT).await.unwrap();
            drop(theirs);
        });
        executor.run_for(seed % 5);
        let found = disk.crash(seed).contents("log").unwrap();
        assert_eq!(found[..4096], [1; 4096]);
        assert!(found[4096..].iter().all(|byte| *byte == 0 || *byte == 2));
    }
}

#[test]
fn folders_nest_rename_and_refuse_to_vanish_full() {
    let disk = MemoryDisk::new(2).immediate();
    disk.put("a-0/1.log", b"x");
    Executor::new(2).block_on(async {
        assert_eq!(disk.remove("a-0").await.unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        disk.rename("a-0", "b-0").await.unwrap();
        let entries = disk.list("b-0").await.unwrap();
        assert_eq!(entries, [Entry { name: "1.log".into(), is_dir: false, bytes: 1, modified_ms: 0 }]);
        assert_eq!(
            disk.open("a-0/1.log", Mode::Buffered).await.err().unwrap().kind(),
            io::ErrorKind::NotFound
        );
        assert!(disk.open("../secret", Mode::Buffered).await.is_err());
    });
    assert_eq!(disk.paths(), ["b-0", "b-0/1.log"]);
}
