//! SIGTERM, once and twice.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use protocol::messages::ProduceResponse;
use protocol::records::batch::batches;
use protocol::records::compression::{Codec, Decompressor};

use crate::process::Server;
use crate::wire::{Heard, Wire, answer, batch_of, fetch_request, frame, produce_request};

const TOPIC: &str = "stops";
const PRODUCERS: i32 = 4;
/// Requests that a producer has under way.
const AHEAD: usize = 5;
const CLEAN_MARKER: &str = ".kafka_cleanshutdown";
const PATIENCE: Duration = Duration::from_secs(20);

/// Producers go on until they are cut off. What they were told is there after the restart, and the stop is a
/// clean one.
pub(crate) fn under_load(mut server: Server) {
    let address = server.address();
    Wire::connect(address).create_topic(TOPIC, PRODUCERS);
    let producers: Vec<_> =
        (0..PRODUCERS).map(|index| thread::spawn(move || produce_until_closed(address, index))).collect();
    thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    let status = server.stop();
    println!("stopped after {:?}", began.elapsed());
    assert!(status.success(), "an asked-for stop is no failure: {status}");
    let acknowledged: Vec<_> =
        producers.into_iter().map(|producer| producer.join().expect("a producer that was cut off")).collect();
    assert!(acknowledged.iter().all(|count| *count > 0), "something was acknowledged: {acknowledged:?}");
    for file in [CLEAN_MARKER, "recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        assert!(server.data().join(file).exists(), "{file} is left by a clean stop");
    }
    server.start_again();
    assert!(!server.data().join(CLEAN_MARKER).exists(), "from now on a crash is a crash");
    let mut wire = Wire::connect(address);
    for (index, count) in acknowledged.into_iter().enumerate() {
        check_numbers(&mut wire, TOPIC, index as i32, count);
    }
}

/// How many of its batches, each of one number more, were acknowledged. They are, in order, or the connection
/// is closed; none is refused.
fn produce_until_closed(address: SocketAddr, index: i32) -> u64 {
    let mut wire = Wire::connect(address);
    let (mut sent, mut acknowledged) = (0u64, 0);
    loop {
        while sent < acknowledged + AHEAD as u64 {
            let batch = batch_of(Codec::None, &sent.to_be_bytes());
            let request = frame(9, sent as i32, &produce_request(TOPIC, index, Some(&batch), -1));
            if wire.send(&request).is_err() {
                break;
            }
            sent += 1;
        }
        let Heard::Frame(body) = wire.hear(PATIENCE) else { return acknowledged };
        let (correlation_id, answer) = answer::<ProduceResponse>(&body, 9);
        assert_eq!(correlation_id, acknowledged as i32);
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
        acknowledged += 1;
    }
}

/// The partition holds the numbers from 0 to at least `acknowledged`, each once.
pub(crate) fn check_numbers(wire: &mut Wire, topic: &str, index: i32, acknowledged: u64) {
    let mut decompressor = Decompressor::new();
    let mut next = 0u64;
    loop {
        let fetched = wire.fetch(topic, index, next as i64, 1 << 20);
        assert_eq!(fetched.error_code, 0);
        if fetched.high_watermark == next as i64 {
            break;
        }
        for batch in batches(&fetched.records.expect("there is more")) {
            for record in batch.expect("a batch").records(&mut decompressor, 1 << 20).expect("records") {
                let value = record.expect("a record").value.expect("a value").to_vec();
                assert_eq!(value, next.to_be_bytes(), "{topic}-{index}: once and in order");
                next += 1;
            }
        }
    }
    assert!(next >= acknowledged, "{topic}-{index}: {next} found, {acknowledged} acknowledged");
}

pub(crate) fn with_a_waiting_consumer(mut server: Server) {
    let mut wire = Wire::connect(server.address());
    wire.create_topic(TOPIC, 1);
    let mut waiting = fetch_request(TOPIC, 0, 0, 1 << 20);
    (waiting.max_wait_ms, waiting.min_bytes) = (60_000, 1);
    wire.send(&frame(12, 1, &waiting)).expect("sent");
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    let status = server.stop();
    let took = began.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "a waiting consumer held up the stop for {took:?}");
}

/// What holds up the first is a client that does not take its answer.
pub(crate) fn twice(mut server: Server) {
    let mut wire = Wire::connect(server.address());
    wire.create_topic(TOPIC, 1);
    let batch = batch_of(Codec::None, &vec![7; 1_000_000]);
    for _ in 0..20 {
        assert_eq!(wire.produce(TOPIC, 0, &batch).error_code, 0);
    }
    let mut deaf = Wire::connect(server.address());
    // Of the newest, which are answered at once and all together: more than the sockets take.
    let request = fetch_request(TOPIC, 0, 8, i32::MAX);
    deaf.send(&frame(12, 1, &request)).expect("sent");
    thread::sleep(Duration::from_millis(200));
    server.ask_to_stop();
    thread::sleep(Duration::from_millis(500));
    server.assert_alive();
    let began = Instant::now();
    let status = server.stop();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "the second signal took {took:?}");
    assert_eq!((status.code(), status.signal()), (Some(143), None), "as a shell reports SIGTERM");
    server.start_again();
    let fetched = Wire::connect(server.address()).fetch(TOPIC, 0, 0, 1);
    assert_eq!(fetched.high_watermark, 20, "what was acknowledged is there all the same");
}
