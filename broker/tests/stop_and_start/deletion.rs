//! Topics that are deleted, and what is left of them when the broker dies meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use protocol::records::compression::Codec;

use crate::graceful::check_numbers;
use crate::process::Server;
use crate::wire::{Wire, batch_of, frame};

/// Removal runs in the background.
const REMOVED_MAX: Duration = Duration::from_secs(10);

fn produce_numbers(wire: &mut Wire, topic: &str, index: i32, count: u64) {
    for number in 0..count {
        let produced = wire.produce(topic, index, &batch_of(Codec::None, &number.to_be_bytes()));
        assert_eq!(produced.error_code, 0, "{topic}-{index}: {:?}", produced.error_message);
        assert_eq!(produced.base_offset, number as i64, "{topic}-{index} begins empty");
    }
}

fn delete_request(topic: &str) -> DeleteTopicsRequest {
    DeleteTopicsRequest { topic_names: vec![topic.to_owned()], timeout_ms: 10_000, ..Default::default() }
}

fn delete(wire: &mut Wire, topic: &str) {
    let answer: DeleteTopicsResponse = wire.ask(5, &delete_request(topic));
    assert_eq!(answer.responses[0].error_code, 0, "{topic} is deleted");
}

/// Folders of partitions, whatever became of them.
fn folders(data: &Path, topic: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(data).expect("the data directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("{topic}-"))).collect()
}

fn until_folders_are(server: &Server, topic: &str, expected: &[&str]) {
    let began = Instant::now();
    loop {
        let found = folders(&server.data(), topic);
        if found.iter().eq(expected) {
            return;
        }
        assert!(began.elapsed() < REMOVED_MAX, "{found:?} are left, {expected:?} expected");
        thread::sleep(Duration::from_millis(20));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// As a crash leaves them: one folder that was not renamed yet, and one that was not emptied yet.
pub(crate) fn leftovers(mut server: Server) {
    let mut wire = Wire::connect(server.address());
    wire.create_topic("gone", 2);
    produce_numbers(&mut wire, "gone", 0, 3);
    produce_numbers(&mut wire, "gone", 1, 3);
    server.kill();
    let data = server.data();
    let kept = data.join("kept");
    fs::create_dir(&kept).expect("a new folder");
    for index in 0..2 {
        copy(&data.join(format!("gone-{index}")), &kept.join(index.to_string()));
    }
    server.start_again();
    delete(&mut Wire::connect(server.address()), "gone");
    until_folders_are(&server, "gone", &[]);
    server.kill();
    fs::rename(kept.join("0"), data.join("gone-0")).expect("put back");
    let aside = "gone-1.00000000000000000000000000000001-delete";
    fs::rename(kept.join("1"), data.join(aside)).expect("put back");
    server.start_again();
    let mut wire = Wire::connect(server.address());
    wire.create_topic("gone", 1);
    produce_numbers(&mut wire, "gone", 0, 5);
    until_folders_are(&server, "gone", &["gone-0"]);
    server.kill();
    server.start_again();
    check_numbers(&mut Wire::connect(server.address()), "gone", 0, 5);
}

/// Again and again, with no time in between: the old folder is on its way out when the new one comes.
pub(crate) fn made_again(mut server: Server) {
    const PARTITIONS: i32 = 4;
    let mut wire = Wire::connect(server.address());
    for round in 0..30 {
        wire.create_topic("again", PARTITIONS);
        let count = 1 + round % 3;
        for index in 0..PARTITIONS {
            produce_numbers(&mut wire, "again", index, count);
        }
        if round % 10 == 9 {
            // What an earlier deletion still does must not touch this.
            thread::sleep(Duration::from_millis(300));
            for index in 0..PARTITIONS {
                check_numbers(&mut wire, "again", index, count);
            }
            server.kill();
            server.start_again();
            wire = Wire::connect(server.address());
            for index in 0..PARTITIONS {
                check_numbers(&mut wire, "again", index, count);
            }
        }
        delete(&mut wire, "again");
    }
    until_folders_are(&server, "again", &[]);
}

/// A start opens no log before somebody asks for it.
pub(crate) fn never_opened(mut server: Server) {
    let mut wire = Wire::connect(server.address());
    wire.create_topic("asleep", 3);
    for index in 0..3 {
        produce_numbers(&mut wire, "asleep", index, 2);
    }
    assert!(server.stop().success());
    server.start_again();
    delete(&mut Wire::connect(server.address()), "asleep");
    until_folders_are(&server, "asleep", &[]);
}

/// At any moment of it.
pub(crate) fn killed(mut server: Server) {
    for round in 0..8 {
        let mut wire = Wire::connect(server.address());
        wire.create_topic("doomed", 4);
        for index in 0..4 {
            produce_numbers(&mut wire, "doomed", index, 1);
        }
        wire.send(&frame(5, 1, &delete_request("doomed"))).expect("sent");
        thread::sleep(Duration::from_micros(300 * round * round));
        server.kill();
        server.start_again();
        let mut wire = Wire::connect(server.address());
        // Whether the deletion was decided is seen in whether the name is free.
        let answer: DeleteTopicsResponse = wire.ask(5, &delete_request("doomed"));
        println!("round {round}: deleted again with {}", answer.responses[0].error_code);
    }
    until_folders_are(&server, "doomed", &[]);
}
