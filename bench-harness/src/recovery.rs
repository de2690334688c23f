//! How long until a broker serves: with nothing on disk, and after it was killed under load with much on disk.
//!
//! A kill ends the process, not the machine: what the broker has handed to the operating system is still there. What
//! was acknowledged must be, too, and is counted.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;
use serde::Serialize;

use crate::clock;
use crate::failure::Failure;
use crate::figure::Figure;
use crate::heading::Heading;
use crate::result::TargetFacts;
use crate::session::{Grounds, Session};
use crate::target::wire::Wire;
use crate::target::{Limits, Running, Target};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  millstream-bench recovery --target millstream --target kafka
  millstream-bench recovery --target kafka --gib 10 --partitions 100 --cold --scratch /mnt/nvme")]
pub(crate) struct Args {
    /// What to measure, as in `compare`; may be given several times
    #[arg(long = "target", short, required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// What is on disk when the broker is killed
    #[arg(long, default_value_t = 1.0, value_name = "GIB")]
    gib: f64,
    /// That it is spread over
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Times that each target is started, filled, killed and started again
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Empty the page cache before the start after the kill, as after a reboot (needs root)
    #[arg(long)]
    cold: bool,
    #[command(flatten)]
    grounds: Grounds,
}

pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    let targets = Target::parse_all(&args.targets)?;
    if !(args.gib > 0.0 && args.gib <= 16_384.0) {
        return Err(Failure::usage("--gib: more than 0 and at most 16384 is asked"));
    }
    if let Some(target) = targets.iter().find(|target| target.file.start.is_none()) {
        return Err(Failure::usage(format!("{}: what was not started here is not killed", target.label)));
    }
    targets.iter().try_for_each(Target::check_installed)?;
    let session = args.grounds.session("recovery")?;
    let mut documents: Vec<Document> =
        targets.iter().map(|target| Document::new(target, args, &session)).collect();
    for round in 1..=args.rounds {
        for (target, document) in targets.iter().zip(&mut documents) {
            eprintln!("round {round} of {}: {}", args.rounds, target.label);
            let limits = target.limits(&args.grounds.site.limits);
            let name = format!("{round}-{}", target.label);
            match measure(&session, target, &limits, args, &name) {
                Ok((facts, times)) => {
                    document.target = facts;
                    document.rounds.push(times);
                }
                Err(failure) => {
                    eprintln!("  {failure}");
                    document.troubles.push(format!("round {round}: {failure}"));
                }
            }
            session.write(&format!("recovery-{}.json", target.label), &document)?;
        }
    }
    let markdown = markdown(&documents);
    println!("{markdown}");
    let written = fs::write(session.output.join("recovery.md"), &markdown);
    written.map_err(|error| Failure::failed(format!("recovery.md: {error}")))?;
    eprintln!("results are in {}", session.output.display());
    session.close();
    judge(&documents)
}

/// What `recovery-TARGET.json` has.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    heading: Heading,
    target: TargetFacts,
    gib: f64,
    partitions: i32,
    cold: bool,
    rounds: Vec<Times>,
    /// Rounds that could not be finished.
    troubles: Vec<String>,
}

/// One round. Times are from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Times {
    empty_answer_ms: f64,
    empty_first_ack_ms: f64,
    filled_bytes: u64,
    fill_mib_per_s: f64,
    killed_answer_ms: f64,
    /// One of the partitions takes records again.
    killed_first_ack_ms: f64,
    /// All of them do.
    killed_all_ack_ms: f64,
    /// Records that had been acknowledged and are not there any more.
    lost: u64,
}

impl Document {
    fn new(target: &Target, args: &Args, session: &Session) -> Self {
        Self {
            heading: Heading::of("recovery", session.machine().clone()),
            target: TargetFacts { name: target.label.clone(), ..TargetFacts::default() },
            gib: args.gib,
            partitions: args.partitions,
            cold: args.cold,
            rounds: Vec::new(),
            troubles: Vec::new(),
        }
    }
}

fn measure(
    session: &Session,
    target: &Target,
    limits: &Limits,
    args: &Args,
    name: &str,
) -> Result<(TargetFacts, Times), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("{}: {error}", target.label));
    let mut running = session.start(target, limits, name)?;
    let facts = running.facts().clone();
    let mut times = Times { empty_answer_ms: start_up_ms(&running), ..Times::default() };
    let answered = Instant::now();
    let mut wire = Wire::connect(&facts.bootstrap, PATIENCE).map_err(failed)?;
    wire.create_topic(TOPIC, args.partitions).map_err(failed)?;
    first_acks(&facts.bootstrap, 1, |_, _| {}).map_err(failed)?;
    times.empty_first_ack_ms = times.empty_answer_ms + answered.elapsed().as_secs_f64() * 1e3;
    first_acks(&facts.bootstrap, args.partitions, |_, _| {}).map_err(failed)?;

    let load = Filler::start(&facts.bootstrap, args.partitions).map_err(failed)?;
    let began = Instant::now();
    times.filled_bytes = load.wait_for((args.gib * GIB) as u64).map_err(failed)?;
    times.fill_mib_per_s = times.filled_bytes as f64 / began.elapsed().as_secs_f64() / MIB;
    // Under load: the filler goes on until its connection is gone.
    running.kill()?;
    let ends = load.acknowledged_ends();
    if args.cold {
        drop_caches()
            .map_err(|error| Failure::failed(format!("--cold: /proc/sys/vm/drop_caches: {error}")))?;
    }

    let began = Instant::now();
    running.start_again(limits)?;
    times.killed_answer_ms = start_up_ms(&running);
    let all = first_acks(&facts.bootstrap, args.partitions, |partition, base_offset| {
        if times.killed_first_ack_ms == 0.0 {
            times.killed_first_ack_ms = began.elapsed().as_secs_f64() * 1e3;
        }
        // What is appended now comes after all that survived.
        times.lost += u64::try_from(ends[partition as usize] - base_offset).unwrap_or(0);
    });
    all.map_err(failed)?;
    times.killed_all_ack_ms = began.elapsed().as_secs_f64() * 1e3;
    if let Err(failure) = running.stop() {
        eprintln!("warning: {failure}");
    }
    eprintln!("  first acknowledged {:.0} ms after the kill", times.killed_first_ack_ms);
    Ok((facts, times))
}

fn start_up_ms(running: &Running) -> f64 {
    running.facts().start_up_us.unwrap_or(0) as f64 / 1e3
}

/// Appends a record to each partition, again and again until it is taken, and says where it is.
fn first_acks(bootstrap: &str, partitions: i32, mut taken: impl FnMut(i32, i64)) -> io::Result<()> {
    let batch = batch(1)?;
    let began = Instant::now();
    let mut waiting: Vec<i32> = (0..partitions).collect();
    let mut wire = Wire::connect(bootstrap, PATIENCE)?;
    loop {
        let mut left = Vec::new();
        let mut last = None;
        for partition in waiting {
            match wire.produce(TOPIC, partition, batch.clone()).and_then(|()| wire.acknowledged()) {
                Ok((_, base_offset)) => taken(partition, base_offset),
                Err(error) => {
                    last = Some(error);
                    left.push(partition);
                    // Answers that are still to come are another connection's now.
                    wire = Wire::connect(bootstrap, PATIENCE)?;
                }
            }
        }
        let Some(error) = last else { return Ok(()) };
        if began.elapsed() >= PATIENCE {
            return Err(error);
        }
        waiting = left;
        thread::sleep(Duration::from_millis(1));
    }
}

/// Writes as fast as it is taken until its connection ends.
struct Filler {
    bytes: Arc<AtomicU64>,
    thread: thread::JoinHandle<Filled>,
}

struct Filled {
    /// The offset after the last acknowledged record, by partition.
    ends: Vec<i64>,
    why: io::Error,
}

impl Filler {
    fn start(bootstrap: &str, partitions: i32) -> io::Result<Self> {
        let batch = batch(BATCH_RECORDS)?;
        let mut wire = Wire::connect(bootstrap, PATIENCE)?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = bytes.clone();
        let thread = thread::Builder::new().name("filler".into()).spawn(move || {
            let mut ends = vec![0; partitions as usize];
            let mut partition = 0;
            let mut under_way = 0;
            let why = loop {
                let step = if under_way < IN_FLIGHT {
                    under_way += 1;
                    partition = (partition + 1) % partitions;
                    wire.produce(TOPIC, partition, batch.clone())
                } else {
                    under_way -= 1;
                    wire.acknowledged().map(|(partition, base_offset)| {
                        ends[partition as usize] = base_offset + i64::from(BATCH_RECORDS);
                        counted.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    })
                };
                if let Err(why) = step {
                    break why;
                }
            };
            Filled { ends, why }
        })?;
        Ok(Self { bytes, thread })
    }

    /// Until so much is acknowledged. Says how much it was.
    fn wait_for(&self, bytes: u64) -> io::Result<u64> {
        let (mut last, mut last_at) = (0, Instant::now());
        loop {
            let now = self.bytes.load(Ordering::Relaxed);
            if now >= bytes {
                return Ok(now);
            }
            if now > last {
                (last, last_at) = (now, Instant::now());
            }
            if self.thread.is_finished() || last_at.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("filling it ended after {now} bytes of {bytes}")));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn acknowledged_ends(self) -> Vec<i64> {
        let filled = self.thread.join().expect("the filler does not panic");
        eprintln!("  the load has ended: {}", filled.why);
        filled.ends
    }
}

/// So many records of a KiB, of what no codec could make smaller.
fn batch(records: i32) -> io::Result<Bytes> {
    let mut batch = BatchBuilder::new(BatchHeader::default());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = [0; RECORD_BYTES];
    for _ in 0..records {
        for word in value.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        batch.append(clock::wall_ms(), None, Some(&value), &[]).map_err(io::Error::other)?;
    }
    batch.build().map(Bytes::from).map_err(io::Error::other)
}

fn drop_caches() -> io::Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3")
}

fn markdown(documents: &[Document]) -> String {
    type Of = fn(&Times) -> f64;
    let rows: [(&str, &str, Of); 7] = [
        ("empty: first answer", "ms", |times| times.empty_answer_ms),
        ("empty: first record acknowledged", "ms", |times| times.empty_first_ack_ms),
        ("filled at", "MiB/s", |times| times.fill_mib_per_s),
        ("killed: first answer", "ms", |times| times.killed_answer_ms),
        ("killed: first record acknowledged", "ms", |times| times.killed_first_ack_ms),
        ("killed: a record acknowledged in each partition", "ms", |times| times.killed_all_ack_ms),
        ("acknowledged and lost, at most", "records", |times| times.lost as f64),
    ];
    let mut text = "| | |".to_owned();
    for document in documents {
        let _ = write!(text, " {} |", document.target.name);
    }
    text += "\n|--|--|";
    text += &"--:|".repeat(documents.len());
    for (name, unit, of) in rows {
        let _ = write!(text, "\n| {name} | {unit} |");
        for document in documents {
            let figure = Figure::of(document.rounds.iter().map(of));
            let _ = write!(text, " {} |", figure.map_or_else(|| "-".to_owned(), |figure| figure.shown()));
        }
    }
    if let Some(document) = documents.first() {
        let cold = if document.cold { ", page cache emptied after the kill" } else { "" };
        let (gib, partitions) = (document.gib, document.partitions);
        let _ = write!(text, "\n\nMedian [least … greatest]; {gib} GiB in {partitions} partitions{cold}.\n");
    }
    for document in documents {
        for trouble in &document.troubles {
            let _ = write!(text, "\nNot counted: {}, {trouble}\n", document.target.name);
        }
    }
    text
}

fn judge(documents: &[Document]) -> Result<(), Failure> {
    let unfinished: usize = documents.iter().map(|document| document.troubles.len()).sum();
    let lost: u64 = documents.iter().flat_map(|document| &document.rounds).map(|times| times.lost).sum();
    match (unfinished, lost) {
        (0, 0) => Ok(()),
        (0, lost) => Err(Failure::failed(format!("recovery: {lost} acknowledged records are lost"))),
        (unfinished, _) => Err(Failure::failed(format!("recovery: incomplete: {unfinished} rounds failed"))),
    }
}

const TOPIC: &str = "millstream-bench-recovery";
const RECORD_BYTES: usize = 1024;
/// Below a MiB, which is the most that brokers take in one batch unless told otherwise.
const BATCH_RECORDS: i32 = 512;
const IN_FLIGHT: u32 = 8;
/// Also that of a broker that goes through its logs before it takes records.
const PATIENCE: Duration = Duration::from_secs(600);
const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::batch::BatchView;

    fn document(rounds: Vec<Times>, troubles: Vec<String>) -> Document {
        Document {
            heading: Heading::of("recovery", serde_json::Value::Null),
            target: TargetFacts { name: "a".into(), ..TargetFacts::default() },
            gib: 1.0,
            partitions: 8,
            cold: false,
            rounds,
            troubles,
        }
    }

    #[test]
    fn batches_are_what_brokers_take() {
        let bytes = batch(BATCH_RECORDS).unwrap();
        assert!(bytes.len() < 1 << 20);
        let view = BatchView::parse(&bytes).unwrap();
        assert!(view.verify_crc().is_ok() && view.count() == BATCH_RECORDS);
    }

    #[test]
    fn what_is_lost_or_unfinished_is_a_failure() {
        let round = |lost| Times { killed_first_ack_ms: 40.0, lost, ..Times::default() };
        assert_eq!(judge(&[document(vec![round(0)], vec![])]), Ok(()));
        let lossy = document(vec![round(0), round(3)], vec![]);
        assert!(judge(&[lossy]).unwrap_err().to_string().contains("3 acknowledged"));
        let unfinished = document(vec![], vec!["round 1: it died".into()]);
        let text = markdown(std::slice::from_ref(&unfinished));
        assert!(text.contains("Not counted: a, round 1: it died"), "{text}");
        assert!(judge(&[unfinished]).is_err());
        let text = markdown(&[document(vec![round(0), round(2), round(0)], vec![])]);
        assert!(text.contains("| killed: first record acknowledged | ms | 40.0 |"), "{text}");
        assert!(text.contains("| acknowledged and lost, at most | records | 0 [0 … 2.00] |"), "{text}");
    }
}
