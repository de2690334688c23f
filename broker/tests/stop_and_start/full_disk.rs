//! A disk of a few megabytes, in a mount namespace of the broker's own.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use protocol::error_code::ErrorCode;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use protocol::records::compression::Codec;

use crate::process::{Server, own_disk};
use crate::wire::{Wire, batch_of};

const DISK_MIB: u64 = 256;
const BATCH_BYTES: usize = 500_000;
/// Cores look by themselves how much room there is, each so often.
const LOOKED_MAX: Duration = Duration::from_secs(3);
const HEALED_MAX: Duration = Duration::from_secs(10);

pub(crate) fn check() {
    let mut try_it = Command::new("unshare");
    let outcome = try_it.args(["-Urm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"]).output();
    match outcome {
        Ok(done) if done.status.success() => {}
        Ok(done) => {
            let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return println!("skipped: no mount namespace of our own here: {why}");
        }
        Err(error) => return println!("skipped: unshare cannot be run: {error}"),
    }
    let reserve = format!("reserve_bytes={}", 64 << 20);
    let mut server = Server::start_on("full", &own_disk(DISK_MIB), &["--shards", "2", "--set", &reserve]);
    let mut wire = Wire::connect(server.address());
    wire.create_topic("fills", 2);
    wire.create_topic("other", 2);
    let batch = batch_of(Codec::None, &vec![7; BATCH_BYTES]);
    let mut taken = 0;
    let error = loop {
        let answer = wire.produce("fills", 0, &batch);
        if answer.error_code != 0 {
            break ErrorCode(answer.error_code);
        }
        taken += 1;
        assert!(taken * BATCH_BYTES < (DISK_MIB as usize) << 20, "the disk does not get full");
    };
    println!("full after {taken} batches");
    assert_eq!(error, ErrorCode::KAFKA_STORAGE_ERROR, "one that clients try again after");
    let began = Instant::now();
    while wire.produce("other", 1, &batch).error_code != error.0 {
        assert!(began.elapsed() < LOOKED_MAX, "room is kept from all alike, once each core has looked");
        thread::sleep(Duration::from_millis(50));
    }
    server.assert_alive();
    assert_eq!(wire.fetch("fills", 0, 0, 1).high_watermark, taken as i64, "reading goes on");
    let request = DeleteTopicsRequest {
        topic_names: vec!["fills".to_owned()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer: DeleteTopicsResponse = wire.ask(5, &request);
    assert_eq!(answer.responses[0].error_code, 0, "deleting goes on");
    let began = Instant::now();
    while wire.produce("other", 0, &batch).error_code != 0 {
        assert!(began.elapsed() < HEALED_MAX, "there is room again, and nothing is taken");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(wire.fetch("other", 0, 0, 1).high_watermark, 1);
    assert!(server.stop().success());
}
