//! A workload turned into what threads can do, or refused with a reason.

use std::time::Duration;

use protocol::records::compression::Codec;

use super::{LoadError, Options};
use crate::client::admin::TopicSet;
use crate::client::batch::Identity;
use crate::clock;
use crate::keyspace::{KEY_BYTES, KEYS_MAX};
use crate::payload::HEAD_BYTES;
use crate::random::Random;
use crate::workload::{Arrivals, From, Keys, Workload};

/// How long a broker may be out of reach before a run is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// With `verify`, which is there to outlast restarts.
const PATIENCE_VERIFYING: Duration = Duration::from_secs(120);
/// How long after the end answers and deliveries are waited for.
const DRAIN: Duration = Duration::from_secs(30);
const PRODUCERS_MAX: u32 = 100_000;
const SLOTS_MAX: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) bootstrap: String,
    /// In every payload and in topic names.
    pub(crate) run: u32,
    pub(crate) topics: TopicSet,
    pub(crate) codec: Codec,
    pub(crate) linger_ns: i64,
    pub(crate) sender_threads: u32,
    pub(crate) reader_threads: u32,
    /// For each producer, if they are idempotent.
    pub(crate) identities: Vec<Identity>,
    pub(crate) patience: Duration,
    pub(crate) drain: Duration,
    pub(crate) verify: bool,
}

impl Plan {
    pub(crate) fn new(workload: &Workload, options: &Options) -> Result<Self, LoadError> {
        check(workload).map_err(LoadError::Workload)?;
        if options.bootstrap.contains("://") {
            let why = format!("{}: TLS and SASL are not supported yet, give HOST:PORT", options.bootstrap);
            return Err(LoadError::Workload(why));
        }
        let codec = Codec::from_name(&workload.produce.codec).expect("checked a moment ago");
        let run = Random::new(clock::wall_ms() as u64 ^ u64::from(std::process::id()) << 40).bits() as u32;
        let names = (0..workload.topics.count).map(|at| format!("bench-{run:08x}-{at}")).collect();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        // Half of the machine for each side of the load; a broker beside it needs the same cores.
        let threads = options.threads.map_or((cores / 2).max(1), |threads| threads.max(1) as u32);
        Ok(Self {
            workload: workload.clone(),
            bootstrap: options.bootstrap.clone(),
            run,
            topics: TopicSet { names, partitions: workload.topics.partitions },
            codec,
            linger_ns: clock::from_seconds(workload.produce.linger_ms / 1e3),
            sender_threads: threads.min(workload.produce.producers),
            reader_threads: threads.min(workload.consume.consumers),
            identities: Vec::new(),
            patience: options.patience.unwrap_or(if options.verify { PATIENCE_VERIFYING } else { PATIENCE }),
            drain: if options.verify { PATIENCE_VERIFYING } else { DRAIN },
            verify: options.verify,
        })
    }

    pub(crate) fn value_bytes(&self) -> usize {
        self.workload.records.bytes as usize
    }

    /// Of a record's key and value.
    pub(crate) fn record_bytes(&self) -> usize {
        let key_bytes = if self.workload.records.keys == Keys::None { 0 } else { KEY_BYTES };
        self.value_bytes() + key_bytes
    }

    pub(crate) fn batch_bytes(&self) -> usize {
        self.workload.produce.batch_bytes as usize
    }

    /// Records vanish on purpose.
    pub(crate) fn is_compacted(&self) -> bool {
        self.workload.topics.config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact"))
    }
}

fn check(workload: &Workload) -> Result<(), String> {
    let Workload { topics, records, produce, consume, .. } = workload;
    let all = [
        (workload.duration_s > 0.0, "duration_s must be more than 0".to_owned()),
        (workload.warm_up_s >= 0.0, "warm_up_s must not be negative".to_owned()),
        (topics.count >= 1 && topics.partitions >= 1, "there must be a topic and a partition".to_owned()),
        (
            u64::from(topics.count) * u64::from(topics.partitions) <= SLOTS_MAX,
            format!("more than {SLOTS_MAX} partitions"),
        ),
        (
            records.bytes as usize >= HEAD_BYTES,
            format!(
                "records.bytes must be {HEAD_BYTES} at least: each record says in so many bytes who it is"
            ),
        ),
        ((0.0..=1.0).contains(&records.randomness), "records.randomness must be from 0 to 1".to_owned()),
        (
            (1..=PRODUCERS_MAX).contains(&produce.producers),
            format!("produce.producers must be from 1 to {PRODUCERS_MAX}"),
        ),
        (produce.in_flight >= 1, "produce.in_flight must be 1 at least".to_owned()),
        (produce.batch_bytes >= 1, "produce.batch_bytes must be 1 at least".to_owned()),
        (produce.linger_ms >= 0.0, "produce.linger_ms must not be negative".to_owned()),
        ((-1..=1).contains(&produce.acks), "produce.acks must be -1, 0 or 1".to_owned()),
        (
            Codec::from_name(&produce.codec).is_some(),
            format!("produce.codec is {:?}, not none, gzip, snappy, lz4 or zstd", produce.codec),
        ),
        (
            !produce.idempotent || (produce.acks == -1 && produce.in_flight <= 5),
            "produce.idempotent needs acks = -1 and in_flight of 5 at most".to_owned(),
        ),
        (
            consume.backlog_records == 0 || consume.from == From::Beginning,
            "consume.backlog_records is for consumers from the beginning".to_owned(),
        ),
    ];
    if let Some((_, why)) = all.into_iter().find(|(holds, _)| !holds) {
        return Err(why);
    }
    match &records.keys {
        Keys::Uniform { count } | Keys::Zipf { count, .. } if !(1..=KEYS_MAX).contains(count) => {
            return Err(format!("records.keys.count must be from 1 to {KEYS_MAX}"));
        }
        Keys::Zipf { exponent, .. } if !(exponent.is_finite() && *exponent > 0.0) => {
            return Err("records.keys.exponent must be more than 0".to_owned());
        }
        _ => {}
    }
    check_rate(workload)
}

fn check_rate(workload: &Workload) -> Result<(), String> {
    let produce = &workload.produce;
    match (produce.arrivals, produce.rate) {
        (Arrivals::Fixed | Arrivals::Poisson, Some(rate)) if rate.is_finite() && rate > 0.0 => {}
        (Arrivals::Fixed | Arrivals::Poisson, _) => {
            return Err("produce.rate must be more than 0: a schedule needs one".to_owned());
        }
        (Arrivals::Closed | Arrivals::Max, Some(_)) => {
            return Err("produce.rate is for arrivals that have one: fixed or poisson".to_owned());
        }
        (Arrivals::Closed | Arrivals::Max, None) => {}
    }
    match produce.burst {
        Some(burst) if !(burst.every_s > 0.0 && burst.lasts_s > 0.0 && burst.lasts_s <= burst.every_s) => {
            Err("produce.burst must last more than 0 s and no longer than its period".to_owned())
        }
        Some(_) if produce.rate.is_none() => Err("produce.burst needs a rate".to_owned()),
        _ => Ok(()),
    }
}
