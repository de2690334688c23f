//! Reads partitions from their leaders, in rounds: one fetch to each leader, then what came.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;

use protocol::error_code::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::records::batch::{BatchView, batches};
use protocol::records::compression::Decompressor;
use protocol::records::record::Record;

use super::transactions::Aborted;
use crate::cli::UNPACKED_BYTES_MAX;
use crate::cli::bounds::{Bounds, Range};
use crate::cli::client::{Client, ClientError, EARLIEST, Isolation, LATEST, Missing, Patience, Topic};
use crate::cli::failure::Failure;

/// A record and where it came from.
pub(super) struct Consumed<'a> {
    pub(super) partition: i32,
    pub(super) leader: i32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) is_log_append_time: bool,
    pub(super) record: &'a Record<'a>,
}

/// Takes a record and says whether to go on.
pub(super) type Taker<'t> = dyn FnMut(&Consumed<'_>) -> Result<ControlFlow<()>, Failure> + 't;

pub(super) struct Reader {
    client: Client,
    topic: Topic,
    isolation: Isolation,
    ranges: BTreeMap<i32, Range>,
    decompressor: Decompressor,
    /// Since the last round that worked.
    patience: Patience,
}

const WAIT_MS: i32 = 500;
const FETCH_BYTES_MAX: i32 = 32 << 20;
const PARTITION_BYTES_MAX: i32 = 4 << 20;
/// From this version on Fetch names topics by id.
const FETCH_IDS_FROM: i16 = 13;
/// No fetch session: every request says everything.
const NO_SESSION_EPOCH: i32 = -1;

impl Reader {
    pub(super) fn open(
        mut client: Client,
        topic: Topic,
        partitions: &[i32],
        bounds: &Bounds,
        isolation: Isolation,
    ) -> Result<Self, Failure> {
        let name = topic.name.clone();
        let (topic, ranges) = client.retry(|client| {
            let topic = client.topic(&name, Missing::Fails)?;
            let ranges = bounds.resolve(client, &topic, partitions, isolation)?;
            Ok((topic, ranges))
        })?;
        for (index, range) in &ranges {
            if let Some(asked) = bounds.exact().filter(|asked| *asked != range.next) {
                let why = if asked < range.next { "is gone" } else { "is beyond the end" };
                note(&format!("{name} [{index}]: offset {asked} {why}; beginning at {}", range.next));
            }
        }
        let patience = Patience::new(client.timeout());
        Ok(Self { client, topic, isolation, ranges, decompressor: Decompressor::new(), patience })
    }

    /// Whether there may be more to come.
    pub(super) fn is_open(&self) -> bool {
        self.ranges.values().any(is_wanted)
    }

    /// How many offsets lie before the place to stop; `None` if there is none.
    pub(super) fn offsets_left(&self) -> Option<u64> {
        let left = |range: &Range| Some(u64::try_from(range.stop? - range.next).unwrap_or(0));
        self.ranges.values().map(left).sum()
    }

    /// Asks every leader once. Waits up to half a second if nothing is there.
    pub(super) fn round(&mut self, taker: &mut Taker<'_>) -> Result<(), Failure> {
        match self.try_round(taker)? {
            Ok(()) => {
                self.patience = Patience::new(self.client.timeout());
                Ok(())
            }
            Err(error) if error.is_retriable() && self.patience.wait() => {
                match self.client.topic(&self.topic.name, Missing::Fails) {
                    Ok(topic) => self.topic = topic,
                    Err(error) if error.is_retriable() => {}
                    Err(error) => return Err(error.into()),
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The outer error ends everything, the inner one may pass.
    fn try_round(&mut self, taker: &mut Taker<'_>) -> Result<Result<(), ClientError>, Failure> {
        let mut failed = Ok(());
        let mut asked = Vec::new();
        for (leader, partitions) in self.by_leader(&mut failed) {
            let request = self.request(&partitions);
            match self.client.send(leader, &request, self.topic.version_max(FETCH_IDS_FROM)) {
                Ok(pending) => asked.push((leader, pending)),
                Err(error) => failed = Err(error),
            }
        }
        for (leader, pending) in asked {
            let answer: FetchResponse = match self.client.receive(leader, &pending) {
                Ok(answer) => answer,
                Err(error) => {
                    failed = Err(error);
                    continue;
                }
            };
            let what = || format!("cannot consume from node {leader}");
            failed = failed.and(ClientError::check(answer.error_code, None, what));
            for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
                match self.take(leader, &partition, taker)? {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return Ok(Ok(())),
                    Err(error) => failed = Err(error),
                }
            }
        }
        Ok(failed)
    }

    fn by_leader(&self, failed: &mut Result<(), ClientError>) -> BTreeMap<i32, Vec<FetchPartition>> {
        let mut by_leader: BTreeMap<i32, Vec<FetchPartition>> = BTreeMap::new();
        for (index, range) in self.ranges.iter().filter(|(_, range)| is_wanted(range)) {
            match self.topic.leader(*index) {
                Ok(leader) => by_leader.entry(leader).or_default().push(FetchPartition {
                    partition: *index,
                    fetch_offset: range.next,
                    partition_max_bytes: PARTITION_BYTES_MAX,
                    ..Default::default()
                }),
                Err(error) => *failed = Err(error),
            }
        }
        by_leader
    }

    fn request(&self, partitions: &[FetchPartition]) -> FetchRequest {
        FetchRequest {
            max_wait_ms: WAIT_MS,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            isolation_level: self.isolation.level(),
            session_epoch: NO_SESSION_EPOCH,
            topics: vec![FetchTopic {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partitions: partitions.to_vec(),
            }],
            ..Default::default()
        }
    }

    fn take(
        &mut self,
        leader: i32,
        answer: &PartitionData,
        taker: &mut Taker<'_>,
    ) -> Result<Result<ControlFlow<()>, ClientError>, Failure> {
        let index = answer.partition_index;
        if ErrorCode(answer.error_code) == ErrorCode::OFFSET_OUT_OF_RANGE {
            return Ok(self.find_again(index).map(ControlFlow::Continue));
        }
        let what = || format!("cannot consume {} [{index}]", self.topic.name);
        if let Err(error) = ClientError::check(answer.error_code, None, what) {
            return Ok(Err(error));
        }
        let Some(mut range) = self.ranges.get(&index).copied() else {
            return Ok(Ok(ControlFlow::Continue(())));
        };
        let records = answer.records.as_deref().unwrap_or_default();
        let mut aborted = Aborted::new(answer.aborted_transactions.as_deref().unwrap_or_default());
        let before = range.next;
        for batch in batches(records) {
            let batch = batch.map_err(|error| self.damaged(index, range.next, &error))?;
            let flow = self.take_batch(leader, index, &mut range, &batch, &mut aborted, taker)?;
            if flow.is_break() {
                return Ok(Ok(flow));
            }
        }
        self.ranges.insert(index, range);
        if !records.is_empty() && range.next == before {
            return Err(self.damaged(index, before, &"the broker sends no whole batch"));
        }
        Ok(Ok(ControlFlow::Continue(())))
    }

    fn take_batch(
        &mut self,
        leader: i32,
        partition: i32,
        range: &mut Range,
        batch: &BatchView<'_>,
        aborted: &mut Aborted,
        taker: &mut Taker<'_>,
    ) -> Result<ControlFlow<()>, Failure> {
        let is_hidden = match self.isolation {
            Isolation::ReadCommitted => aborted.drops(batch),
            Isolation::ReadUncommitted => batch.is_control(),
        };
        // A fetch begins with the batch that holds the offset, and so with offsets before it.
        if batch.last_offset() < range.next {
            return Ok(ControlFlow::Continue(()));
        }
        let (name, from) = (&self.topic.name, range.next);
        batch.verify_crc().map_err(|error| damage(name, partition, from, &error))?;
        if !is_hidden {
            let records = batch.records(&mut self.decompressor, UNPACKED_BYTES_MAX);
            for record in records.map_err(|error| damage(name, partition, from, &error))? {
                let record = record.map_err(|error| damage(name, partition, from, &error))?;
                let offset = batch.offset_of(&record);
                if offset < range.next || range.stop.is_some_and(|stop| offset >= stop) {
                    continue;
                }
                let flow = taker(&Consumed {
                    partition,
                    leader,
                    offset,
                    timestamp: batch.timestamp_of(&record),
                    is_log_append_time: batch.has_log_append_time(),
                    record: &record,
                })?;
                if flow.is_break() {
                    return Ok(flow);
                }
            }
        }
        range.next = batch.next_offset();
        Ok(ControlFlow::Continue(()))
    }

    /// The offset that was to be read next is not there: retention took it, or a new leader never had it.
    fn find_again(&mut self, index: i32) -> Result<(), ClientError> {
        let end = |client: &mut Client, topic: &Topic, end| {
            let mut found = client.offsets(topic, &[(index, end)], Isolation::ReadUncommitted);
            found.remove(&index).expect("every partition asked for is answered")
        };
        let earliest = end(&mut self.client, &self.topic, EARLIEST)?;
        let latest = end(&mut self.client, &self.topic, LATEST)?;
        let Some(range) = self.ranges.get_mut(&index) else { return Ok(()) };
        let lost = range.next;
        range.next = lost.clamp(earliest, latest.max(earliest));
        let why = if lost < earliest { "was deleted meanwhile" } else { "is beyond the end" };
        note(&format!("{} [{index}]: offset {lost} {why}; going on at {}", self.topic.name, range.next));
        Ok(())
    }

    fn damaged(&self, partition: i32, offset: i64, why: &dyn std::fmt::Display) -> Failure {
        damage(&self.topic.name, partition, offset, why)
    }
}

fn is_wanted(range: &Range) -> bool {
    range.stop.is_none_or(|stop| range.next < stop)
}

fn damage(topic: &str, partition: i32, offset: i64, why: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("{topic} [{partition}] from offset {offset}: {why}")).next(
        "`millstream log verify DATA_DIR` on the broker's machine tells whether the disk has it wrong, too",
    )
}

/// On standard error: the records go on.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "millstream: {text}");
}
