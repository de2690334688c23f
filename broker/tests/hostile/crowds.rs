//! Many connections that each do little: idle ones, ones that never read, ones that announce much, ones that
//! stall in the middle.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use protocol::records::compression::Codec;
use rustix::process::{Resource, getrlimit};

use crate::process::Server;
use crate::wire::{Heard, Wire, batch_of, fetch_request, frame, produce_request};
use crate::{MIB, QUIET_BYTES_MAX};

const IDLE: usize = 10_000;
/// Files that the broker and this process have open besides.
const OTHER_FILES: usize = 500;
const IDLE_BYTES_EACH: u64 = 8 << 10;
pub(crate) const IDLE_BYTES_MAX: u64 = IDLE as u64 * IDLE_BYTES_EACH;

/// socket.request.max.bytes
const FRAME_BYTES_MAX: usize = 104_857_600;
/// queued.max.request.bytes, in its default.
const QUEUED_BYTES_MAX: u64 = 512 * MIB;

pub(crate) fn idle(server: &mut Server) {
    let address = server.address();
    let before = server.resident_bytes();
    let open_files_max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) as usize;
    let count = IDLE.min(open_files_max.saturating_sub(OTHER_FILES));
    if count < IDLE {
        println!("idle: no more than {open_files_max} files may be open (ulimit -n)");
    }
    let mut connections: Vec<_> = (0..count).map(|_| Wire::connect(address)).collect();
    // A third has once asked something, a third is in the middle of a frame.
    for (at, wire) in connections.iter_mut().enumerate() {
        match at % 3 {
            0 => drop(wire.ask::<_, ApiVersionsResponse>(0, &ApiVersionsRequest::default())),
            1 => wire.send(&[0, 0, 1]).expect("sent"),
            _ => {}
        }
    }
    // Accepted in order: when the last one is answered, all are there.
    let _: ApiVersionsResponse = Wire::connect(address).ask(0, &ApiVersionsRequest::default());
    let each = server.resident_bytes().saturating_sub(before) / count as u64;
    println!("idle: {count} connections, {each} bytes each");
    assert!(each <= IDLE_BYTES_EACH, "an idle connection holds {each} bytes");
    for wire in connections.iter_mut().step_by(997) {
        if let Heard::Frame(answer) = wire.hear(Duration::from_millis(1)) {
            panic!("nobody asked for this: {answer:?}");
        }
    }
    drop(connections);
    thread::sleep(Duration::from_millis(500));
    let _: ApiVersionsResponse = Wire::connect(address).ask(0, &ApiVersionsRequest::default());
}

const DEAF: usize = 40;
/// What is ready for those who do not read, over all connections.
pub(crate) const DEAF_PEAK_BYTES_MAX: u64 = QUIET_BYTES_MAX + QUEUED_BYTES_MAX + 256 * MIB;
const LOUD_TOPIC: &str = "loud";
const LOUD_BATCHES: usize = 60;

/// Asks for much more than the sockets hold, thousands of times, and reads nothing.
pub(crate) fn deaf(server: &mut Server) {
    let address = server.address();
    let mut wire = Wire::connect(address);
    wire.create_topic(LOUD_TOPIC, 1);
    let batch = batch_of(Codec::None, &vec![7; 1_000_000]);
    for _ in 0..LOUD_BATCHES {
        assert_eq!(wire.produce(LOUD_TOPIC, 0, &batch).error_code, 0);
    }
    server.forget_peak();
    let small = frame(9, 1, &MetadataRequest { topics: None, ..MetadataRequest::default() });
    let large = frame(12, 1, &fetch_request(LOUD_TOPIC, 0, 0, i32::MAX));
    let deaf: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..DEAF)
            .map(|at| {
                let request = if at % 2 == 0 { &small } else { &large };
                scope.spawn(move || ask_without_reading(address, request))
            })
            .collect();
        asking.into_iter().map(|asking| asking.join().expect("an asker that finished")).collect()
    });
    let accepted: Vec<_> = deaf.iter().map(|(_, bytes)| bytes).collect();
    println!("deaf: the broker took {accepted:?} bytes of requests");
    assert!(
        accepted.iter().all(|bytes| **bytes < 16 << 20),
        "the broker stops reading from who does not read"
    );
    // Who starts to read after all gets answers, or a closed connection: nothing hangs.
    for (mut wire, _) in deaf.into_iter().step_by(7) {
        let heard = wire.hear(Duration::from_secs(10));
        assert!(!matches!(heard, Heard::Silence), "a connection that hangs");
    }
}

/// The connection, and how many bytes of requests the broker and the kernel took.
fn ask_without_reading(address: SocketAddr, request: &[u8]) -> (Wire, usize) {
    let mut wire = Wire::connect(address);
    wire.set_write_patience(Duration::from_secs(1));
    let many = request.repeat((64 << 10) / request.len() + 1);
    let mut bytes = 0;
    while bytes < 32 << 20 && wire.send(&many).is_ok() {
        bytes += many.len();
    }
    (wire, bytes)
}

const STALLING: usize = 20;
const STALLED_AFTER: usize = 30 << 20;
/// Enough that every core has one.
const LARGE: usize = 4;
/// Requests under way up to the budget, as much again while they move into larger buffers, and on every core
/// one more that may always go on.
pub(crate) const STALLED_PEAK_BYTES_MAX: u64 = QUIET_BYTES_MAX + 2 * QUEUED_BYTES_MAX + 200 * MIB;
/// Until enough of those who stall are cut off: some are, one after the other, each after five seconds.
const CUT_OFF_MAX: Duration = Duration::from_secs(30);

/// Announces the largest frame and sends little of it: costs what was sent.
pub(crate) fn announced(server: &mut Server) {
    let address = server.address();
    let before = server.resident_bytes();
    let mut connections: Vec<_> = (0..STALLING)
        .map(|_| {
            let mut wire = Wire::connect(address);
            wire.send(&(FRAME_BYTES_MAX as i32).to_be_bytes()).expect("sent");
            wire.send(&[0; 1000]).expect("sent");
            wire
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let grown = server.resident_bytes().saturating_sub(before);
    println!("announced: {grown} bytes more");
    assert!(grown < 8 * MIB, "announced bytes cost {grown} bytes");
    assert!(connections.iter_mut().all(|wire| matches!(wire.hear(Duration::from_millis(1)), Heard::Silence)));
}

/// Sends a third of the largest frame on each of many connections, then stalls: more than the budget. They are
/// cut off until the rest is in nobody's way; others with large requests get through.
pub(crate) fn stalled(server: &mut Server) {
    let address = server.address();
    let stalling: Vec<_> = (0..STALLING).map(|_| thread::spawn(move || stall(address))).collect();
    thread::sleep(Duration::from_secs(1));
    Wire::connect(address).create_topic("large", 1);
    let large: Vec<_> = (0..LARGE).map(|_| thread::spawn(move || produce_large(address))).collect();
    for large in large {
        let took = large.join().expect("a large request that is answered");
        println!("stalled: a request of a megabyte took {took:?}");
        assert!(took < CUT_OFF_MAX, "a large request waited {took:?}");
    }
    let stalled = stalling.into_iter().map(|stalling| stalling.join().expect("a client that stalled"));
    let still_open = stalled.flatten().filter_map(is_open).count();
    println!("stalled: {still_open} of {STALLING} are still open");
    assert!(still_open < STALLING, "nobody was cut off");
}

/// The connection, if it was not closed before all was sent.
fn stall(address: SocketAddr) -> Option<Wire> {
    let mut wire = Wire::connect(address);
    wire.set_write_patience(CUT_OFF_MAX);
    let mut bytes = vec![0; STALLED_AFTER];
    bytes[..4].copy_from_slice(&(FRAME_BYTES_MAX as i32).to_be_bytes());
    wire.send(&bytes).ok().map(|()| wire)
}

fn is_open(mut wire: Wire) -> Option<Wire> {
    matches!(wire.hear(Duration::from_millis(1)), Heard::Silence).then_some(wire)
}

fn produce_large(address: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut wire = Wire::connect(address);
    let batch = batch_of(Codec::None, &vec![7; 1_000_000]);
    let frame = frame(9, 1, &produce_request("large", 0, Some(&batch), -1));
    wire.set_write_patience(CUT_OFF_MAX);
    wire.send(&frame).expect("taken in the end");
    let heard = wire.hear(CUT_OFF_MAX);
    assert!(matches!(heard, Heard::Frame(_)), "{heard:?} instead of an answer");
    began.elapsed()
}
