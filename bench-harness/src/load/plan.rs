//! A workload turned into what threads can do, or refused with a reason.

use std::sync::Arc;
use std::time::Duration;

use protocol::ids::Uuid;
use protocol::records::compression::Codec;

use super::group::Group;
use super::{Client, LoadError, Options};
use crate::client::admin::TopicSet;
use crate::client::batch::Identity;
use crate::client::group::{Protocol, SESSION_TIMEOUT_MS, Terms};
use crate::clock;
use crate::keyspace::KEY_BYTES;
use crate::random::Random;
use crate::workload::{Keys, Workload};

/// How long a broker may be out of reach before a run is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// With `verify`, which is there to outlast restarts.
const PATIENCE_VERIFYING: Duration = Duration::from_secs(120);
/// How long after the end answers and deliveries are waited for.
const DRAIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) bootstrap: String,
    pub(crate) client: Client,
    /// In every payload and in topic names.
    pub(crate) run: u32,
    pub(crate) topics: TopicSet,
    pub(crate) codec: Codec,
    pub(crate) linger_ns: i64,
    pub(crate) sender_threads: u32,
    pub(crate) spin: bool,
    pub(crate) reader_threads: u32,
    /// That consumers are members of, in turns; none if each reads everything.
    pub(crate) groups: Vec<Arc<Group>>,
    pub(crate) commit_interval_ns: i64,
    /// For each producer, if they are idempotent.
    pub(crate) identities: Vec<Identity>,
    pub(crate) patience: Duration,
    pub(crate) drain: Duration,
    pub(crate) verify: bool,
}

impl Plan {
    pub(crate) fn new(workload: &Workload, options: &Options) -> Result<Self, LoadError> {
        // Asked here too: a command line, or a sweep, may have changed what a file said.
        if let Some(wrong) = workload.check().into_iter().next() {
            return Err(LoadError::Workload(format!("{}: {}", wrong.keys.join("."), wrong.message)));
        }
        if options.client == Client::Librdkafka {
            if !cfg!(feature = "librdkafka") {
                let why = "this program was built without librdkafka: cargo build --features librdkafka";
                return Err(LoadError::Workload(why.to_owned()));
            }
            if options.spin {
                return Err(LoadError::Workload("--spin: not with --client librdkafka".to_owned()));
            }
            if workload.consume.group.is_some() {
                return Err(LoadError::Workload("consume.group: not with --client librdkafka".to_owned()));
            }
        }
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
            client: options.client,
            run,
            topics: TopicSet { names, partitions: workload.topics.partitions },
            codec,
            linger_ns: clock::from_seconds(workload.produce.linger_ms / 1e3),
            sender_threads: threads.min(workload.produce.producers),
            spin: options.spin,
            reader_threads: match options.client {
                Client::Own => threads.min(workload.consume.consumers),
                // It has no way to wait for several.
                Client::Librdkafka => workload.consume.consumers,
            },
            groups: Vec::new(),
            commit_interval_ns: clock::from_seconds(workload.consume.commit_interval_ms / 1e3),
            identities: Vec::new(),
            patience: options.patience.unwrap_or(if options.verify { PATIENCE_VERIFYING } else { PATIENCE }),
            drain: if options.verify { PATIENCE_VERIFYING } else { DRAIN },
            verify: options.verify,
        })
    }

    /// Makes the groups of the workload, of which each has as many members as any other, or one less.
    pub(crate) fn make_groups(&mut self, protocol: Protocol, topic_ids: &[Uuid]) {
        let (consumers, groups) = (self.workload.consume.consumers, self.workload.consume.groups);
        let group = |number: u32| {
            let terms = Terms {
                group: format!("bench-{:08x}-{number}", self.run),
                protocol,
                topics: self.topics.clone(),
                topic_ids: topic_ids.to_vec(),
                session_timeout_ms: SESSION_TIMEOUT_MS,
            };
            let size = (0..consumers).filter(|id| id % groups == number).count();
            Arc::new(Group::new(number as usize, terms, size))
        };
        self.groups = (0..groups).map(group).collect();
    }

    /// What a sending thread writes before the load begins. The first ones write one more where it does not come out even.
    pub(crate) fn backlog_of(&self, thread: u32) -> u64 {
        let (backlog, threads) = (self.workload.consume.backlog_records, u64::from(self.sender_threads));
        backlog / threads + u64::from(u64::from(thread) < backlog % threads)
    }

    pub(crate) fn group_of(&self, consumer: u32) -> Option<Arc<Group>> {
        let number = consumer.checked_rem(self.groups.len() as u32)?;
        Some(Arc::clone(&self.groups[number as usize]))
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

    /// Records are deleted on purpose, the oldest first.
    pub(crate) fn deletes(&self) -> bool {
        let config = &self.workload.topics.config;
        ["retention.bytes", "retention.ms"].iter().any(|name| config.get(*name).is_some_and(|it| it != "-1"))
    }

    /// Records vanish on purpose.
    pub(crate) fn is_compacted(&self) -> bool {
        self.workload.topics.config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact"))
    }
}
