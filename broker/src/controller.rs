//! Runs the metadata machine over its log: decide, append, wait until durable, apply. On core 0.
//!
//! The log is Kafka's own `__cluster_metadata-0`. Commands are decided one after the other, each on the
//! state that the one before it left.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use cluster::controller::{Command, Controller as Metadata, Refused, Reply};
use cluster::machine::{Machine, Timestamp};
use cluster::metadata::bootstrap;
use cluster::metadata::features::FEATURES;
use cluster::metadata::{ApplyError, MetadataRecord};
use protocol::ids::Uuid;
use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;
use reactor::host;
use storage::catalogue;
use storage::log::{AppendError, Log, LogConfig, LogDir, Offsets, Stamp};

use crate::partition::home::Home;
use crate::partition::records::ReadError;
use crate::promise::{Promise, promise};

mod node;
mod replay;

pub(crate) use node::Node;

/// Kafka's id of the metadata topic.
pub(crate) const METADATA_TOPIC: Uuid = Uuid::from_u64_pair(0, 1);
pub(crate) const METADATA_NAME: &str = "__cluster_metadata";

/// Records that are durable, each with its offset.
#[derive(Clone)]
pub(crate) struct Decided {
    pub(crate) records: Arc<[(i64, MetadataRecord)]>,
}

impl Decided {
    /// Ids of the topics that were removed, by their names.
    pub(crate) fn removed_topics(&self) -> HashMap<String, Vec<Uuid>> {
        let (mut names, mut removed) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for (_, record) in self.records.iter() {
            match record {
                MetadataRecord::Topic(topic) => _ = names.insert(topic.topic_id, topic.name.clone()),
                MetadataRecord::RemoveTopic(gone) => {
                    if let Some(name) = names.remove(&gone.topic_id) {
                        removed.entry(name).or_default().push(gone.topic_id);
                    }
                }
                _ => {}
            }
        }
        removed
    }
}

/// The metadata machine and its log.
pub(crate) struct Controller {
    log: Rc<Log>,
    machine: RefCell<Metadata>,
    deciding: Cell<bool>,
    waiting: RefCell<VecDeque<Promise<()>>>,
}

/// As long as it lives, no other command is decided.
pub(crate) struct Turn(Rc<Controller>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.deciding.set(false);
        let next = self.0.waiting.borrow_mut().pop_front();
        if let Some(next) = next {
            next.fulfil(());
        }
    }
}

/// The metadata log cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ControllerError {
    #[error("{0}")]
    Log(#[from] storage::Error),
    #[error("record at offset {offset}: {why}")]
    Record { offset: i64, why: String },
    #[error("the broker stops")]
    Closed,
    #[error("{} {}", .0.code.name(), .0.message.as_deref().unwrap_or(""))]
    Refused(Refused),
}

impl From<Refused> for ControllerError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<ReadError> for ControllerError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Log(error) => Self::Log(error),
            ReadError::Batch { offset, why } => Self::Record { offset, why },
        }
    }
}

impl From<ApplyError> for ControllerError {
    fn from(error: ApplyError) -> Self {
        Self::Record { offset: error.offset, why: error.reason }
    }
}

impl Controller {
    /// Opens the log and replays it. A new cluster's log begins as Kafka's does.
    pub(crate) async fn open(home: &Home, node: &Node) -> Result<(Rc<Self>, Decided), ControllerError> {
        let dir = LogDir { topic: METADATA_NAME.to_owned(), partition: 0, topic_id: METADATA_TOPIC };
        let known = home.known.borrow().get(&dir.folder()).cloned();
        let log = Log::open(
            home.disk.clone(),
            dir,
            LogConfig::default(),
            known,
            home.cache.clone(),
            host().wall_ms(),
        )
        .await?;
        let controller = Self {
            log,
            machine: RefCell::new(Metadata::new(node.cluster_id.as_str(), node.settings.clone())),
            deciding: Cell::new(false),
            waiting: RefCell::default(),
        };
        if controller.log.end_offset() == 0 {
            controller.append_batch(&node.head_of_log(host().wall_ms()))?;
            controller.append(&bootstrap::records(FEATURES)).await?;
        }
        let replayed = replay::replay(&controller.log).await?;
        for (at, record) in replayed.records.iter() {
            controller.machine.borrow_mut().replay(record, *at)?;
        }
        Ok((Rc::new(controller), replayed))
    }

    pub(crate) fn checkpoint(&self) -> catalogue::Entry {
        self.log.checkpoint()
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.log.end_offset()
    }

    /// Decides a command, and once its records are durable applies them. The records are for every core. Whoever
    /// asks has the turn, and must not give up half-way.
    pub(crate) async fn decide(&self, command: Command) -> Result<(Reply, Option<Decided>), ControllerError> {
        let now = Timestamp(host().wall_ms());
        let decision = self.machine.borrow().decide(command, now);
        if decision.records.is_empty() {
            return Ok((decision.reply, None));
        }
        let first_offset = self.append(&decision.records).await?;
        let records: Arc<[_]> = (first_offset..).zip(decision.records).collect();
        let mut machine = self.machine.borrow_mut();
        for (at, record) in records.iter() {
            machine.apply(record, *at);
        }
        Ok((decision.reply, Some(Decided { records })))
    }

    /// Waits until no other command is being decided, or made known.
    pub(crate) async fn turn(self: &Rc<Self>) -> Turn {
        while self.deciding.get() {
            let (promise, promised) = promise();
            self.waiting.borrow_mut().push_back(promise);
            promised.await;
        }
        self.deciding.set(true);
        Turn(self.clone())
    }

    /// Appends records as one batch and waits until they are durable.
    async fn append(&self, records: &[MetadataRecord]) -> Result<i64, ControllerError> {
        let now_ms = host().wall_ms();
        let mut batch = BatchBuilder::new(BatchHeader::default());
        let too_large = "a request's records fit into a batch";
        for record in records {
            batch.append(now_ms, None, Some(&record.to_bytes()), &[]).expect(too_large);
        }
        let base_offset = self.append_batch(&batch.build().expect(too_large))?;
        let log = self.log.clone();
        while log.needs_flush() {
            log.flush().await;
        }
        log.durable(base_offset + records.len() as i64).await?;
        Ok(base_offset)
    }

    fn append_batch(&self, batch: &[u8]) -> Result<i64, ControllerError> {
        let stamp = Stamp { leader_epoch: 1, log_append_time: None, offsets: Offsets::Assign };
        let appended = self.log.append(batch, stamp, host().wall_ms());
        match appended {
            Ok(appended) => Ok(appended.base_offset),
            Err(AppendError::Storage(error)) => Err(error.into()),
            Err(other) => unreachable!("metadata has no idempotent producers: {other:?}"),
        }
    }

    /// Leaves the log so that the next start reads next to nothing.
    pub(crate) async fn close(&self) -> Result<catalogue::Entry, ControllerError> {
        Ok(self.log.close().await?)
    }
}
