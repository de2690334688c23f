//! Produce (0), versions 3-13; 0-2 are advertised and refused, as Kafka does for librdkafka's sake.
//!
//! 7: zstd allowed (KIP-110). 8: record errors (KIP-467). 9: flexible. 10: the current leader in the
//! answer (KIP-951). 11, 12: transactions' newer rules (KIP-890). 13: topics by id (KIP-516).
//! Left out: transactions. acks=1 waits for stable storage like acks=-1: with one replica nothing less
//! survives a kill.

use std::rc::Rc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::primitives::EncodeError;
use protocol::produce::{ProduceAnswer, ProduceRequestView, ProduceResponseWriter, RecordErrorAnswer};
use protocol::records::batch::BatchView;
use storage::disk::LocalFuture;

use super::{Caller, Header, Reason, Reply, Request, finish};
use crate::partition::append::Outcome;
use crate::shard::{PartitionId, Shard};

/// Kafka: who calls itself so may write what only brokers write otherwise.
const ADMIN_CLIENT: &[u8] = b"__admin_client";

/// What one partition's owner needs.
struct Append {
    records: Bytes,
    version: i16,
}

/// A part of the answer, in the order asked.
enum Part {
    Refused(Outcome),
    /// The next of the appended ones.
    Appended,
}

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<Bytes>) -> Reply {
    let (header, body) = (request.header, request.body);
    let asked = match ProduceRequestView::parse(&body, header.version) {
        Ok(asked) => asked,
        Err(error) => return Reply::Close(Reason::Undecodable(error)),
    };
    let acks = asked.acks;
    // Kafka: transactional records in a request that names no transaction.
    let is_nameless = asked.transactional_id.is_none() && has_transactional_records(&asked);
    let mut parts = Vec::with_capacity(asked.partition_count);
    let mut works = Vec::with_capacity(asked.partition_count);
    for topic in asked.topics() {
        for partition in topic.partitions {
            let found = if is_nameless {
                Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            } else if !matches!(acks, -1..=1) {
                Err(ErrorCode::INVALID_REQUIRED_ACKS)
            } else if shard.is_internal(topic.key) && request.client_id != ADMIN_CLIENT {
                Err(ErrorCode::INVALID_TOPIC_EXCEPTION)
            } else {
                shard.find(topic.key, partition.index)
            };
            match found {
                Ok(id) => {
                    let records = partition.slice_of(&body).unwrap_or_default();
                    works.push((id, Append { records, version: header.version }));
                    parts.push(Part::Appended);
                }
                Err(error) => parts.push(Part::Refused(Outcome::refused(error))),
            }
        }
    }
    let appending = shard.scatter(works, append);
    Reply::Later(Box::pin(async move {
        let mut appended = appending.await.into_iter();
        let outcomes = parts.into_iter().map(|part| match part {
            Part::Refused(outcome) => outcome,
            Part::Appended => appended.next().expect("one for each piece of work"),
        });
        conclude(&header, acks, &body, outcomes.collect())
    }))
}

fn has_transactional_records(asked: &ProduceRequestView<'_>) -> bool {
    let mut records =
        asked.topics().flat_map(|topic| topic.partitions).filter_map(|partition| partition.records);
    records.any(|records| BatchView::parse(records).is_ok_and(|batch| batch.is_transactional()))
}

/// The ordered part runs here, on the partition's owner.
fn append(shard: &Rc<Shard>, id: PartitionId, asked: Append) -> LocalFuture<'static, Outcome> {
    match shard.partition(id) {
        Ok(partition) => {
            shard.metrics.produced_batches.add(1);
            shard.metrics.produced_bytes.add(asked.records.len() as u64);
            partition.append(asked.records, asked.version)
        }
        Err(error) => Box::pin(std::future::ready(Outcome::refused(error))),
    }
}

/// Kafka: with acks=0 there is no answer, and an error closes the connection.
fn conclude(header: &Header, acks: i16, body: &[u8], outcomes: Vec<Outcome>) -> Reply {
    if acks == 0 {
        let failed = outcomes.iter().any(|outcome| outcome.error.is_err());
        return if failed { Reply::Close(Reason::ProduceFailed) } else { Reply::Nothing };
    }
    let mut writer = header.begin(64 * outcomes.len());
    match write_answer(header, body, &outcomes, &mut writer) {
        Ok(()) => Reply::Now(finish(writer)),
        Err(error) => header.unanswerable(&error),
    }
}

fn write_answer(
    header: &Header,
    body: &[u8],
    outcomes: &[Outcome],
    writer: &mut protocol::primitives::Writer,
) -> Result<(), EncodeError> {
    let asked = ProduceRequestView::parse(body, header.version).expect("parsed before");
    // Kafka: a topic of which nothing was asked is not in the answer.
    let topics = asked.topics().filter(|topic| topic.partitions.clone().next().is_some());
    let mut answer = ProduceResponseWriter::begin(writer, header.version, topics.clone().count())?;
    let mut outcomes = outcomes.iter();
    for topic in topics {
        answer.topic(topic.key, topic.partitions.clone().count())?;
        for (partition, outcome) in topic.partitions.zip(&mut outcomes) {
            let record_errors: Vec<_> = outcome.record_errors.iter().map(record_error).collect();
            answer.partition(&ProduceAnswer {
                index: partition.index,
                error_code: outcome.error,
                base_offset: outcome.base_offset,
                log_append_time_ms: outcome.log_append_time_ms,
                log_start_offset: outcome.log_start_offset,
                record_errors: &record_errors,
                error_message: outcome.message.as_deref(),
                current_leader: None,
            })?;
        }
    }
    answer.finish(0, &[])
}

fn record_error((batch_index, message): &(i32, String)) -> RecordErrorAnswer<'_> {
    RecordErrorAnswer { batch_index: *batch_index, message: Some(message) }
}
