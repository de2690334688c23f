//! Durable 4 KiB appends one at a time, through a core's log and through a bare io_uring loop, in turns.
//!
//! `cargo bench -p reactor --bench durable_append -- [DIRECTORY [ROUNDS]]`     ends with the median ratio
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench may")]

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use protocol::ids::Uuid;
use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;
use reactor::machine::Main;
use reactor::{Kind, Plan, host, start};
use storage::cache::TailCache;
use storage::disk::Class;
use storage::log::{Log, LogConfig, LogDir, Offsets, Stamp};

#[path = "raw/disk.rs"]
mod disk;

use disk::Took;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()));
    let rounds: usize = arguments.next().map_or(7, |rounds| rounds.parse().unwrap());
    println!("{}", disk::TITLE);
    let path = folder.join("durable_append.probe");
    let file = disk::written(&path);
    let mut ratios = Vec::new();
    for _round in 0..rounds {
        let raw = disk::run(&file, BATCH_BYTES, 1, true, TIME);
        raw.print("raw 4 KiB, depth 1, durable");
        let log = through_log(&folder);
        log.print("log 4 KiB, one at a time, durable");
        ratios.push(log.per_second() / raw.per_second());
    }
    std::fs::remove_file(path).unwrap();
    ratios.sort_by(f64::total_cmp);
    println!("log / raw, appends per second: median {:.2} of {ratios:.2?}", ratios[ratios.len() / 2]);
}

/// A new log on a core of its own.
fn through_log(folder: &Path) -> Took {
    let folder = folder.join("durable_append.log");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let took = Arc::new(Mutex::new(None));
    let result = took.clone();
    let main: Main = Arc::new(move || {
        let result = result.clone();
        Box::pin(async move { *result.lock().unwrap() = Some(append_for(TIME).await) })
    });
    let plan = Plan { kind: Kind::Ring, ..Plan::new(1, vec![folder.clone()]) };
    start(plan, main).unwrap().join().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    took.lock().unwrap().take().unwrap()
}

async fn append_for(time: Duration) -> Took {
    let disk = host().disks().remove(0);
    let dir = LogDir { topic: "probe".to_owned(), partition: 0, topic_id: Uuid([1; 16]) };
    let cache = Rc::new(TailCache::new(16 << 20));
    let log = Log::open(disk, dir, LogConfig::default(), None, cache, host().wall_ms()).await.unwrap();
    let batch = batch();
    // The raw loop writes into a file that is there, of blocks that have been written.
    for _ in 0..WARM_APPENDS {
        append(&log, &batch).await;
    }
    let mut times = Histogram::new(3).unwrap();
    let (start, cpu) = (Instant::now(), disk::cpu_us());
    while start.elapsed() < time {
        let began = Instant::now();
        append(&log, &batch).await;
        times.record(began.elapsed().as_nanos() as u64).unwrap();
    }
    Took { times, elapsed: start.elapsed(), cpu_us: disk::cpu_us() - cpu }
}

async fn append(log: &Rc<Log>, batch: &[u8]) {
    let stamp = Stamp { leader_epoch: 0, log_append_time: None, offsets: Offsets::Assign };
    let appended = log.append(batch, stamp, host().wall_ms()).unwrap();
    log.flush().await;
    log.durable(appended.last_offset + 1).await.unwrap();
    if log.wants_upkeep() {
        host().spawn(Class::Background, log.upkeep());
    }
}

/// One batch of exactly a block.
fn batch() -> Vec<u8> {
    let of = |bytes: usize| {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        builder.append(0, None, Some(&vec![b'x'; bytes]), &[]).unwrap();
        builder.build().unwrap()
    };
    let frame = of(BATCH_BYTES - 200).len() - (BATCH_BYTES - 200);
    let batch = of(BATCH_BYTES - frame);
    assert_eq!(batch.len(), BATCH_BYTES);
    batch.to_vec()
}

const BATCH_BYTES: usize = 4096;
const TIME: Duration = Duration::from_secs(2);
const WARM_APPENDS: usize = 512;
