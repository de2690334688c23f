//! What was acknowledged from a commit log is there after a kill, and the file goes when the logs have it themselves.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use protocol::records::batch::batches;
use protocol::records::compression::Codec;

use crate::process::Server;
use crate::wire::{Wire, batch_of};

const TOPIC: &str = "small";
const PARTITIONS: i32 = 12;
/// Far more than it takes until there is a commit log.
const ROUNDS: usize = 40;

pub(super) fn killed(mut server: Server) {
    let mut acked: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
    Wire::connect(server.address()).create_topic(TOPIC, PARTITIONS);
    for kill in 0..3 {
        produce(&server, kill, &mut acked);
        assert!(!files(&server).is_empty(), "so many small appends make a commit log");
        server.kill();
        let left = files(&server);
        server.start_again();
        check(&server, &acked);
        until("the logs have what was left", || left.iter().all(|name| !files(&server).contains(name)));
    }
    produce(&server, 3, &mut acked);
    assert!(server.stop().success());
    assert!(files(&server).is_empty(), "{:?} after a clean stop", files(&server));
    server.start_again();
    check(&server, &acked);
}

fn produce(server: &Server, kill: usize, acked: &mut BTreeMap<i32, Vec<Vec<u8>>>) {
    let mut wire = Wire::connect(server.address());
    for round in 0..ROUNDS {
        for index in 0..PARTITIONS {
            let value = format!("{kill} {round} {index}").into_bytes();
            let answer = wire.produce(TOPIC, index, &batch_of(Codec::None, &value));
            assert_eq!(answer.error_code, 0);
            let values = acked.entry(index).or_default();
            assert_eq!(answer.base_offset, values.len() as i64);
            values.push(value);
        }
    }
}

fn check(server: &Server, acked: &BTreeMap<i32, Vec<Vec<u8>>>) {
    let mut wire = Wire::connect(server.address());
    for (index, values) in acked {
        let mut offset = 0;
        while offset < values.len() {
            let read = wire.fetch(TOPIC, *index, offset as i64, 1 << 20);
            assert_eq!(read.error_code, 0);
            let records = read.records.expect("records");
            let before = offset;
            for batch in batches(&records) {
                let batch = batch.expect("whole batches");
                assert_eq!(batch.base_offset(), offset as i64);
                let value = &values[offset];
                assert!(batch.bytes().windows(value.len()).any(|bytes| bytes == value), "offset {offset}");
                offset += 1;
            }
            assert!(offset > before, "partition {index} ends at offset {offset} of {}", values.len());
        }
    }
}

/// Commit logs in the data directory.
fn files(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(server.data()).expect("a data directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    names.filter(|name| name.starts_with("millstream-commit-")).collect()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < patience, "not so: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
