//! Clients that mean harm, or are broken. Whatever they send: the broker lives, its memory stays within a
//! budget, every request is answered or its connection closed, and other clients do not notice.
//!
//! One broker per test and one test at a time: memory and waiting times are measured.
#![allow(clippy::disallowed_methods, reason = "real processes, sockets, threads and time")]

#[path = "hostile/bodies.rs"]
mod bodies;
#[path = "hostile/crowds.rs"]
mod crowds;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "server/healthy.rs"]
mod healthy;
#[path = "hostile/heavy.rs"]
mod heavy;
#[path = "server/process.rs"]
mod process;
#[path = "hostile/records.rs"]
mod records;
#[path = "hostile/tiny_elements.rs"]
mod tiny_elements;
#[path = "hostile/topics.rs"]
mod topics;
#[path = "server/wire.rs"]
mod wire;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use healthy::Healthy;
use process::Server;

const MIB: u64 = 1 << 20;

/// What the broker holds in any case, plus what a few ordinary clients need.
const QUIET_BYTES_MAX: u64 = 160 * MIB;

/// The longest that a well-behaved client's produce and fetch may take together. Generous: tests run on busy
/// machines.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Runs an attack on a broker of its own while a healthy client works. `peak_bytes_max` bounds the broker's
/// memory meanwhile.
fn under_attack(name: &str, peak_bytes_max: u64, attack: impl FnOnce(&mut Server)) {
    under_attack_with(name, &[], peak_bytes_max, attack);
}

/// As `under_attack`, with settings.
fn under_attack_with(name: &str, settings: &[&str], peak_bytes_max: u64, attack: impl FnOnce(&mut Server)) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A test that failed says so itself; the next one may run.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = Server::start(&format!("hostile-{name}"), &[&["--shards", "2"], settings].concat());
    let healthy = Healthy::start(server.address());
    let before = server.resident_bytes();
    server.forget_peak();
    let began = Instant::now();
    attack(&mut server);
    let took = began.elapsed();
    server.assert_alive();
    let peak = server.peak_bytes();
    println!("{name}: {took:?}, memory {} MiB before, at most {} MiB", before / MIB, peak / MIB);
    let waited = healthy.stop(WAIT_MAX);
    println!(
        "{name}: the healthy client had {} rounds, mean {:?}, longest {:?}",
        waited.rounds, waited.mean, waited.longest
    );
    assert!(peak <= peak_bytes_max, "{name}: {} MiB, {} MiB allowed", peak / MIB, peak_bytes_max / MIB);
    let status = server.stop();
    assert!(status.success(), "{name}: an orderly stop afterwards: {status}");
}

#[test]
fn malformed_frames_are_closed_and_odd_ones_answered() {
    under_attack("frames", QUIET_BYTES_MAX, |server| frames::check(server.address()));
}

#[test]
fn bodies_of_every_api_are_answered_or_closed() {
    under_attack("bodies", QUIET_BYTES_MAX + 128 * MIB, bodies::check);
}

#[test]
fn requests_of_tiny_elements_stay_within_the_budget() {
    under_attack("heavy", heavy::PEAK_BYTES_MAX, heavy::check);
}

#[test]
fn bad_batches_are_refused_with_kafkas_codes() {
    under_attack("records", QUIET_BYTES_MAX + 64 * MIB, |server| records::bad_batches(server.address()));
}

#[test]
fn bombs_do_not_unpack() {
    under_attack("bombs", QUIET_BYTES_MAX + 256 * MIB, |server| records::bombs(server.address()));
}

#[test]
fn topics_do_not_appear_without_limit() {
    under_attack("topics", QUIET_BYTES_MAX + 128 * MIB, |server| topics::check(server.address()));
}

#[test]
fn idle_connections_cost_little() {
    // They all come at once: with Kafka's 50 the kernel turns most away, and they come again a second later.
    let backlog = ["--set", "socket.listen.backlog.size=4096"];
    under_attack_with("idle", &backlog, QUIET_BYTES_MAX + crowds::IDLE_BYTES_MAX, crowds::idle);
}

#[test]
fn who_does_not_read_is_not_served() {
    under_attack("deaf", crowds::DEAF_PEAK_BYTES_MAX, crowds::deaf);
}

#[test]
fn announced_bytes_cost_nothing() {
    under_attack("announced", QUIET_BYTES_MAX, crowds::announced);
}

#[test]
fn stalled_frames_are_cut_off() {
    under_attack("stalled", crowds::STALLED_PEAK_BYTES_MAX, crowds::stalled);
}
