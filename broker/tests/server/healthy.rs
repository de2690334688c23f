//! A client that minds its own business while others misbehave: produces, fetches what it produced, and
//! remembers how long it had to wait.
#![allow(clippy::disallowed_methods, reason = "real threads and time")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use protocol::records::batch::batches;
use protocol::records::compression::Codec;

use crate::wire::{Wire, batch_of};

const TOPIC: &str = "healthy";
/// Enough that every core has one.
const PARTITIONS: i32 = 4;
/// Rounds on one connection; a new one then, for newcomers must be served too.
const ROUNDS_A_CONNECTION: usize = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// A running client.
pub(crate) struct Healthy {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Waited>,
}

/// How it fared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited {
    pub(crate) rounds: usize,
    pub(crate) longest: Duration,
    pub(crate) mean: Duration,
}

impl Healthy {
    pub(crate) fn start(address: SocketAddr) -> Self {
        Wire::connect(address).create_topic(TOPIC, PARTITIONS);
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = stopping.clone();
        Self { stopping, thread: thread::spawn(move || run(address, &flag)) }
    }

    /// # Panics
    /// If it got a wrong answer, or none, or waited longer than `wait_max` for one.
    pub(crate) fn stop(self, wait_max: Duration) -> Waited {
        self.stopping.store(true, Ordering::Relaxed);
        let waited = self.thread.join().expect("the healthy client got right answers");
        assert!(waited.rounds > 0, "the healthy client never got an answer");
        assert!(waited.longest <= wait_max, "the healthy client noticed: {waited:?}, allowed {wait_max:?}");
        waited
    }
}

fn run(address: SocketAddr, stopping: &AtomicBool) -> Waited {
    let (mut rounds, mut longest, mut all) = (0, Duration::ZERO, Duration::ZERO);
    let mut wire = None;
    while !stopping.load(Ordering::Relaxed) {
        let began = Instant::now();
        if rounds % ROUNDS_A_CONNECTION == 0 {
            wire = None;
        }
        let wire = wire.get_or_insert_with(|| Wire::connect(address));
        round(wire, rounds);
        let took = began.elapsed();
        rounds += 1;
        longest = longest.max(took);
        all += took;
        thread::sleep(PAUSE);
    }
    Waited { rounds, longest, mean: all / rounds.max(1) as u32 }
}

/// Produces one record and fetches it back.
fn round(wire: &mut Wire, number: usize) {
    let index = number as i32 % PARTITIONS;
    let batch = batch_of(Codec::None, format!("round {number} is well").as_bytes());
    let produced = wire.produce(TOPIC, index, &batch);
    assert_eq!(produced.error_code, 0, "the healthy client's batch: {:?}", produced.error_message);
    let fetched = wire.fetch(TOPIC, index, produced.base_offset, 1 << 20);
    assert_eq!(fetched.error_code, 0);
    let records = fetched.records.unwrap_or_default();
    let back = batches(&records).next().expect("what was acknowledged can be fetched").expect("a batch");
    assert_eq!(back.base_offset(), produced.base_offset);
    assert_eq!(back.records_bytes(), &batch[61..], "what comes back is what was sent");
}
