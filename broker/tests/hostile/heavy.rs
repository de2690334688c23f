//! Requests up to socket.request.max.bytes made of the smallest elements there are: little to send, much
//! to decode and to answer, if one lets it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::MIB;
use crate::process::Server;
use crate::tiny_elements::{Heavy, TOPIC, all};
use crate::wire::{Heard, Wire};

/// A frame of 100 MiB, or several smaller ones with what becomes of them: each weighs up to some 200 MiB.
pub(crate) const PEAK_BYTES_MAX: u64 = 1024 * MIB;

/// Answered or closed by then.
const PATIENCE: Duration = Duration::from_secs(20);
/// socket.request.max.bytes
const FRAME_BYTES_MAX: usize = 104_857_600;
const AT_ONCE: usize = 4;
const PARTITIONS: i32 = 200;

pub(crate) fn check(server: &mut Server) {
    let address = server.address();
    Wire::connect(address).create_topic(TOPIC, PARTITIONS);
    for heavy in all() {
        for bytes in [64 << 10, 2 << 20, 16 << 20, FRAME_BYTES_MAX] {
            check_one(server, address, &heavy, bytes, 1);
        }
    }
    for heavy in all().iter().step_by(3) {
        check_one(server, address, heavy, 16 << 20, AT_ONCE);
    }
}

fn check_one(server: &mut Server, address: SocketAddr, heavy: &Heavy, bytes: usize, at_once: usize) {
    let frame = heavy.frame(bytes);
    server.forget_peak();
    let began = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let senders: Vec<_> = (0..at_once).map(|_| scope.spawn(|| outcome(address, &frame))).collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender that finished")).collect()
    });
    server.assert_alive();
    let peak = server.peak_bytes();
    let name = format!("{} {} of {}, {} KiB", heavy.key.name(), heavy.version, heavy.name, bytes >> 10);
    println!("  {name}: {outcomes:?} after {:?}, memory at most {} MiB", began.elapsed(), peak / MIB);
    assert!(peak <= PEAK_BYTES_MAX, "{name}: {} MiB of memory", peak / MIB);
}

/// Bytes of the answer, or none if the connection was closed.
fn outcome(address: SocketAddr, frame: &[u8]) -> Option<usize> {
    let mut wire = Wire::connect(address);
    // The broker may close while we still write.
    let _ = wire.send_frame(frame);
    match wire.hear(PATIENCE) {
        Heard::Frame(answer) => Some(answer.len()),
        Heard::Closed => None,
        Heard::Silence => panic!("neither answered nor closed in {PATIENCE:?}"),
    }
}
