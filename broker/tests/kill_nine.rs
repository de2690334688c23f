//! The broker is killed with SIGKILL, again and again, under producers at full speed that go on as if
//! nothing had happened. In the end every acknowledged record is there, once, in order.
//!
//! KILL_NINE_ROUNDS and KILL_NINE_SEED repeat or prolong a run. The seed decides when, not what the
//! kernel and the disk then do.
#![allow(clippy::disallowed_methods, reason = "real processes, threads and time")]

#[path = "kill_nine/ledger.rs"]
mod ledger;
#[path = "server/process.rs"]
mod process;
#[path = "kill_nine/random.rs"]
mod random;
#[path = "server/wire.rs"]
mod wire;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::records::batch::batches;
use protocol::records::compression::Decompressor;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use ledger::{Ledger, Payload};
use process::Server;
use random::Random;
use wire::Wire;

const TOPIC: &str = "endures";
const PARTITIONS: i32 = 8;
const CODECS: [&str; 4] = ["none", "lz4", "zstd", "snappy"];
const ROUNDS: u64 = 20;

/// From the start of the process to the first acknowledgement that any producer hears: of most restarts, and of
/// each. Generous: the build is not an optimised one, and this machine may have other work.
const RESTART_MEDIAN_MAX: Duration = Duration::from_secs(5);
const RESTART_MAX: Duration = Duration::from_secs(20);
/// A broker that acknowledges nothing for so long has failed.
const ACK_PATIENCE: Duration = Duration::from_secs(30);
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);
const FETCH_BYTES: i32 = 8 << 20;

#[test]
fn acknowledged_records_survive_kills_on_the_portable_reactor() {
    let server = Server::start("kill-nine-portable", &["--shards", "2", "--set", "reactor=portable"]);
    acknowledged_records_survive_kills(server);
}

#[test]
fn acknowledged_records_survive_kills_on_the_reactor_of_this_machine() {
    let server = Server::start("kill-nine-auto", &["--shards", "2"]);
    if server.said().contains("portable") {
        println!("skipped: the portable reactor is all there is on this machine, and it has its own test");
        return;
    }
    acknowledged_records_survive_kills(server);
}

fn acknowledged_records_survive_kills(mut server: Server) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A test that failed says so itself; the other may run.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds = from_environment("KILL_NINE_ROUNDS").unwrap_or(ROUNDS);
    let seed = from_environment("KILL_NINE_SEED").unwrap_or_else(seed_of_now);
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random::new(seed);
    Wire::connect(server.address()).create_topic(TOPIC, PARTITIONS);

    let acked = Arc::new(AtomicU64::new(0));
    let stopping = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = CODECS
        .iter()
        .enumerate()
        .map(|(number, codec)| {
            let producer = Producing {
                number: number as u32,
                codec,
                bootstrap: server.bootstrap(),
                random: Random::new(random.next()),
                acked: acked.clone(),
                stopping: stopping.clone(),
            };
            thread::spawn(move || producer.run())
        })
        .collect();

    until_acked(&mut server, &acked, 0);
    let mut restarts: Vec<_> = (0..rounds).map(|_| round(&mut server, &acked, &mut random)).collect();
    stopping.store(true, Ordering::Relaxed);
    let ledgers = finished(producers);

    let found = check(&server, &ledgers);
    restarts.sort_unstable();
    let (median, longest) = (restarts[restarts.len() / 2], restarts[restarts.len() - 1]);
    let acked: u64 = ledgers.iter().map(Ledger::acked).sum();
    println!(
        "{acked} records acknowledged, {found} found; restart to first acknowledgement: median {median:?}, longest {longest:?}"
    );
    assert!(acked > 1000, "the producers hardly produced: {acked}");
    assert!(
        median <= RESTART_MEDIAN_MAX && longest <= RESTART_MAX,
        "acknowledging again took {median:?} in most rounds and {longest:?} in one (seed {seed})"
    );
}

/// Lets it work, kills it, starts it again; how long it then took until something was acknowledged.
fn round(server: &mut Server, acked: &AtomicU64, random: &mut Random) -> Duration {
    thread::sleep(random.duration_ms(50, 800));
    server.assert_alive();
    server.kill();
    // What was acknowledged before is heard meanwhile.
    thread::sleep(random.duration_ms(50, 200));
    if random.one_in(4) {
        // In the middle of a recovery, or of the start.
        server.spawn();
        thread::sleep(random.duration_ms(0, 150));
        server.kill();
    }
    let before = acked.load(Ordering::Relaxed);
    let began = Instant::now();
    server.spawn();
    until_acked(server, acked, before);
    began.elapsed()
}

fn until_acked(server: &mut Server, acked: &AtomicU64, before: u64) {
    let began = Instant::now();
    while acked.load(Ordering::Relaxed) == before {
        server.assert_alive();
        assert!(began.elapsed() < ACK_PATIENCE, "nothing is acknowledged any more");
        thread::sleep(Duration::from_millis(1));
    }
}

/// One producer on a thread of its own.
struct Producing {
    number: u32,
    codec: &'static str,
    bootstrap: String,
    random: Random,
    acked: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
}

impl Producing {
    fn run(mut self) -> Ledger {
        let ledger = Ledger::new(self.number, PARTITIONS, self.acked.clone());
        let producer: BaseProducer<Ledger> = self.config().create_with_context(ledger).expect("a producer");
        let mut bytes = Vec::new();
        while !self.stopping.load(Ordering::Relaxed) {
            let index = self.random.below(PARTITIONS as u64) as i32;
            let ledger = producer.client().context();
            let sequence = ledger.next(index);
            Payload { producer: self.number, index, sequence }.write(&mut self.random, &mut bytes);
            loop {
                let place = Ledger::place(index, sequence);
                let record: BaseRecord<'_, (), [u8], usize> =
                    BaseRecord::with_opaque_to(TOPIC, place).partition(index).payload(&bytes);
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        producer.poll(Duration::from_millis(1));
                    }
                    Err((error, _)) => panic!("producer {}: {error}", self.number),
                }
            }
            ledger.sent(index);
            producer.poll(Duration::ZERO);
        }
        producer.flush(FLUSH_PATIENCE).expect("everything sent is answered in the end");
        let fatal = producer.client().fatal_error();
        assert!(fatal.is_none(), "producer {} gave up: {fatal:?}", self.number);
        producer.client().context().take()
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", self.codec)
            .set("linger.ms", "2")
            .set("queue.buffering.max.messages", "4000")
            .set("queue.buffering.max.kbytes", "16384")
            .set("message.timeout.ms", "120000")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "50")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "50");
        config
    }
}

fn finished(producers: Vec<JoinHandle<Ledger>>) -> Vec<Ledger> {
    producers.into_iter().map(|producer| producer.join().expect("a producer that finished")).collect()
}

/// Reads everything and compares it with what the producers were told. How many records there are.
fn check(server: &Server, ledgers: &[Ledger]) -> u64 {
    let mut wire = Wire::connect(server.address());
    let mut decompressor = Decompressor::new();
    let mut found = 0;
    for index in 0..PARTITIONS {
        let mut next_sequences = vec![0; ledgers.len()];
        let mut next_offset = 0;
        loop {
            let answer = wire.fetch(TOPIC, index, next_offset, FETCH_BYTES);
            assert_eq!(answer.error_code, 0, "fetch of {TOPIC}-{index} at {next_offset}");
            if next_offset == answer.high_watermark {
                break;
            }
            for batch in batches(&answer.records.expect("there is more")) {
                let batch = batch.expect("a batch that reads");
                batch.verify_crc().expect("a batch as it was sent");
                assert_eq!(batch.base_offset(), next_offset, "offsets of {TOPIC}-{index} have no gaps");
                next_offset = batch.next_offset();
                for record in batch.records(&mut decompressor, usize::MAX).expect("records that unpack") {
                    let payload = Payload::read(record.expect("a record that reads").value.expect("a value"));
                    assert_eq!(payload.index, index, "in the partition it was sent to");
                    let ledger = &ledgers[payload.producer as usize];
                    ledger.check_found(payload, &mut next_sequences[payload.producer as usize]);
                    found += 1;
                }
            }
        }
        for (ledger, next) in ledgers.iter().zip(next_sequences) {
            ledger.check_end(index, next);
        }
    }
    found
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

fn seed_of_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64 % 1_000_000_007
}
