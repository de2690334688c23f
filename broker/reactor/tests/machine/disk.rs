use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::poll_once;
use reactor::{Kind, Load, host};
use storage::buffer::Buffer;
use storage::disk::{BLOCK_BYTES, Class, File, Mode, Sync};

use super::{check, disk, kinds, run, sleep_ms};

/// Blocks each of which holds its number.
fn numbered(first: u8, blocks: usize) -> Buffer {
    let mut buffer = disk().buffer(blocks * BLOCK_BYTES);
    for block in 0..blocks {
        buffer.extend(&[first.wrapping_add(block as u8); BLOCK_BYTES]);
    }
    buffer
}

async fn create(path: &str) -> Rc<dyn File> {
    disk().open(path, Mode::DirectCreate).await.unwrap()
}

#[test]
fn a_durable_write_reads_back_from_any_position() {
    check(1, || async {
        let file = create("log").await;
        file.allocate(0, 1 << 20).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20);
        for (at, sync) in [(0, Sync::Durable), (4, Sync::Later), (8, Sync::Durable)] {
            let data = numbered(at, 4).freeze();
            file.write_at(u64::from(at) * 4096, data, sync, Class::Append).await.unwrap();
        }
        file.sync().await.unwrap();
        let whole = file.read_at(0, 12 * BLOCK_BYTES, Class::Read).await.unwrap();
        assert!(
            (0..12).all(|block| whole[block * BLOCK_BYTES..][..BLOCK_BYTES] == [block as u8; BLOCK_BYTES])
        );
        for (position, bytes) in [(0, 1), (4095, 2), (5000, 9000), (1, 4095), (8191, 1), (12_288, 4096)] {
            let read = file.read_at(position, bytes, Class::Read).await.unwrap();
            assert_eq!(read, whole[position as usize..][..bytes], "{bytes} at {position}");
        }
        assert!(file.read_at(77, 0, Class::Read).await.unwrap().is_empty());
    });
}

#[test]
fn what_waits_is_counted() {
    for kind in kinds() {
        let main = move || async move {
            let file = create("log").await;
            let data = numbered(1, 1).freeze();
            let begin = |at: u64| file.write_at(at * 4096, data.clone(), Sync::Durable, Class::Append);
            let mut under_way = Vec::new();
            for mut write in (0..200).map(begin) {
                if poll_once(&mut write).await.is_none() {
                    under_way.push(write);
                }
            }
            // Helper threads go on by themselves; a ring's results wait for the core.
            if kind == Kind::Ring {
                assert_eq!((host().load().transfers, host().load().transfers_waiting), (128, 72));
            }
            for write in under_way {
                write.await.unwrap();
            }
            while host().load().transfers > 0 {
                sleep_ms(1).await;
            }
            assert_eq!(host().load(), Load::default());
            for _ in 0..3 {
                host().send(0, Box::new(|| {}));
            }
            assert_eq!(host().load().mailbox, 3);
        };
        run(kind, 1, Arc::new(move || Box::pin(main()))).unwrap();
    }
}

#[test]
fn a_read_is_short_only_at_the_end_of_the_file() {
    check(1, || async {
        let file = create("log").await;
        file.write_at(0, numbered(1, 3).freeze(), Sync::Later, Class::Append).await.unwrap();
        file.truncate(10_000).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 10_000);
        assert_eq!(file.read_at(8000, 50_000, Class::Read).await.unwrap().len(), 2000);
        assert_eq!(file.read_at(0, 10_000, Class::Read).await.unwrap().len(), 10_000);
        assert_eq!(file.read_at(9_990, 20, Class::Read).await.unwrap(), [3_u8; 10][..]);
        assert!(file.read_at(10_000, 1, Class::Read).await.unwrap().is_empty());
        assert!(file.read_at(90_000, 10, Class::Read).await.unwrap().is_empty());
    });
}

#[test]
fn large_transfers_in_every_class_arrive_whole() {
    check(1, || async {
        let file = create("log").await;
        for (class, megabytes) in [(Class::Append, 3), (Class::Background, 5), (Class::Read, 9)] {
            let data = numbered(megabytes, usize::from(megabytes) << 8).freeze();
            file.write_at(0, data.clone(), Sync::Later, class).await.unwrap();
            let read = file.read_at(0, data.len(), class).await.unwrap();
            assert!(read == data, "{class:?}");
        }
    });
}

#[test]
fn many_writes_at_once_land_each_in_its_place() {
    check(1, || async {
        let file = create("log").await;
        let blocks = 500;
        file.allocate(0, blocks as u64 * 4096).await.unwrap();
        let done = Rc::new(tokio::sync::Semaphore::new(0));
        for block in 0..blocks {
            let (file, done) = (file.clone(), done.clone());
            let class = [Class::Append, Class::Read, Class::Background][block % 3];
            let task = async move {
                let data = numbered(block as u8, 1).freeze();
                let sync = if block % 50 == 0 { Sync::Durable } else { Sync::Later };
                file.write_at(block as u64 * 4096, data, sync, class).await.unwrap();
                done.add_permits(1);
            };
            host().spawn(class, Box::pin(task));
        }
        done.acquire_many(blocks as u32).await.unwrap().forget();
        let read = file.read_at(0, blocks * BLOCK_BYTES, Class::Read).await.unwrap();
        assert!(
            (0..blocks).all(|block| read[block * BLOCK_BYTES..][..BLOCK_BYTES] == [block as u8; BLOCK_BYTES])
        );
    });
}

#[test]
fn a_write_goes_on_when_its_future_is_dropped() {
    check(1, || async {
        let file = create("log").await;
        for round in 0..50 {
            let data = numbered(round, 16).freeze();
            let mut writing = file.write_at(u64::from(round) * 65_536, data, Sync::Durable, Class::Append);
            poll_once(&mut writing).await;
            drop(writing);
        }
        // Reused at once if the machine did not hold on to what the kernel still reads.
        let _others: Vec<Buffer> = (0..50).map(|_| numbered(255, 16)).collect();
        let mut waited = 0;
        for round in 0..50_u8 {
            let expected = numbered(round, 16).freeze();
            while file.read_at(u64::from(round) * 65_536, 65_536, Class::Read).await.unwrap() != expected {
                sleep_ms(5).await;
                waited += 1;
                assert!(waited < 1000, "round {round} was lost");
            }
        }
    });
}

#[test]
fn a_dropped_read_does_not_write_into_anybodys_memory() {
    check(1, || async {
        let file = create("log").await;
        file.write_at(0, numbered(9, 64).freeze(), Sync::Durable, Class::Append).await.unwrap();
        for _ in 0..50 {
            let mut reading = file.read_at(0, 64 * BLOCK_BYTES, Class::Read);
            poll_once(&mut reading).await;
            drop(reading);
            let mut mine = disk().buffer(64 * BLOCK_BYTES);
            mine.whole().fill(1);
            host().sleep(Duration::from_micros(200)).await;
            assert!(mine.whole().iter().all(|byte| *byte == 1));
        }
    });
}

#[test]
fn a_file_keeps_its_length_and_content_when_it_is_renamed_or_removed() {
    check(1, || async {
        let disk = disk();
        disk.create_dir("t-0").await.unwrap();
        disk.create_dir("t-0").await.unwrap();
        let file = create("t-0/1.log").await;
        file.write_at(0, numbered(5, 2).freeze(), Sync::Later, Class::Append).await.unwrap();
        disk.sync_dir("t-0").await.unwrap();
        disk.rename("t-0/1.log", "t-0/1.log.deleted").await.unwrap();
        assert_eq!(file.len().await.unwrap(), 8192);
        // Another file under the old name is not this one.
        let other = create("t-0/1.log").await;
        assert_eq!((file.len().await.unwrap(), other.len().await.unwrap()), (8192, 0));
        let entries = disk.list("t-0").await.unwrap();
        let names: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.bytes)).collect();
        assert_eq!(names, [("1.log", 0), ("1.log.deleted", 8192)]);
        disk.remove("t-0/1.log.deleted").await.unwrap();
        assert_eq!(file.len().await.unwrap(), 8192);
        assert_eq!(file.read_at(4096, 10, Class::Read).await.unwrap(), [6_u8; 10][..]);
        assert_eq!(disk.remove("t-0").await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        disk.remove("t-0/1.log").await.unwrap();
        disk.remove("t-0").await.unwrap();
        assert!(disk.list("").await.unwrap().is_empty());
    });
}

#[test]
fn opening_what_is_not_there_says_so() {
    check(1, || async {
        for mode in [Mode::Direct, Mode::Buffered] {
            assert_eq!(disk().open("none", mode).await.err().unwrap().kind(), ErrorKind::NotFound);
        }
        assert_eq!(disk().list("none").await.err().unwrap().kind(), ErrorKind::NotFound);
        let outside = disk().open("../escape", Mode::DirectCreate).await.err().unwrap();
        assert_eq!(outside.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn buffered_files_take_any_position_and_length() {
    check(1, || async {
        let file = disk().open("index", Mode::BufferedCreate).await.unwrap();
        file.write_at(3, Bytes::from_static(b"abcdef"), Sync::Durable, Class::Append).await.unwrap();
        assert_eq!(file.read_at(2, 100, Class::Read).await.unwrap(), b"\0abcdef"[..]);
        let again = disk().open("index", Mode::Buffered).await.unwrap();
        assert_eq!(again.read_at(4, 2, Class::Read).await.unwrap(), b"bc"[..]);
        let empty = disk().open("index", Mode::BufferedCreate).await.unwrap();
        assert_eq!(empty.len().await.unwrap(), 0);
    });
}

#[test]
fn an_unaligned_direct_write_is_refused_and_harms_nothing() {
    check(1, || async {
        let file = create("log").await;
        file.write_at(0, numbered(1, 1).freeze(), Sync::Durable, Class::Append).await.unwrap();
        for (position, data) in [(1, numbered(2, 1).freeze()), (0, numbered(2, 1).freeze().slice(..100))] {
            let refused = file.write_at(position, data, Sync::Durable, Class::Append).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(file.read_at(0, 4096, Class::Read).await.unwrap(), [1_u8; 4096][..]);
    });
}

#[test]
fn buffers_are_given_back_by_any_thread() {
    check(1, || async {
        let disk = disk();
        for round in 0..200 {
            let mut buffers: Vec<Buffer> = (0..8).map(|step| disk.buffer(4096 << step)).collect();
            for (step, buffer) in buffers.iter_mut().enumerate() {
                assert!(buffer.capacity() >= 4096 << step);
                assert_eq!(buffer.whole().as_ptr() as usize % BLOCK_BYTES, 0);
                buffer.whole().fill(step as u8);
            }
            for (step, buffer) in buffers.iter_mut().enumerate() {
                assert!(buffer.whole().iter().all(|byte| *byte == step as u8), "two buffers overlap");
            }
            if round % 2 == 0 {
                let frozen: Vec<Bytes> = buffers.into_iter().map(Buffer::freeze).collect();
                thread::spawn(move || drop(frozen)).join().unwrap();
            }
        }
    });
}

#[test]
fn space_is_that_of_the_filesystem() {
    check(1, || async {
        let space = disk().space().unwrap();
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes);
    });
}
