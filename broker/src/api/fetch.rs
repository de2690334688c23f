//! Fetch (1), versions 4-18.
//!
//! Consumer reads. 7: sessions (KIP-227, `session.rs`). 9: leader epochs are checked (KIP-320). 12: flexible,
//! diverging epochs (KIP-595). 13: topics by id (KIP-516). 16: node endpoints (KIP-951). 18: the
//! follower's high watermark.
//! Left out: followers and preferred read replicas, until there are other replicas; with no open
//! transactions the last stable offset is the high watermark and nothing is aborted.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::fetch::{EpochEndOffset, FetchAnswer, FetchRequestView};
use protocol::primitives::EncodeError;
use reactor::host;

use super::{Caller, Header, Reason, Reply, Request, Response};
use crate::partition::read::{Ask, Found};
use crate::shard::Shard;
use crate::shard::fetch_sessions::{Asked, Key, Plan, Said, TopicRef, Wanted};
use crate::shard::reads::{Goal, Read};

pub(crate) fn handle(shard: &Rc<Shard>, _caller: &Caller, request: Request<Bytes>) -> Reply {
    let (header, body) = (request.header, request.body);
    let asked = match FetchRequestView::parse(&body, header.version) {
        Ok(asked) => asked,
        Err(error) => return Reply::Close(Reason::Undecodable(error)),
    };
    let limits = Limits {
        // Kafka: nonsense is refused partition by partition.
        make_sense: asked.max_bytes >= 0 && matches!(asked.isolation_level, 0 | 1),
        bytes_min: usize::try_from(asked.min_bytes).unwrap_or(0),
        bytes_max: asked.max_bytes.min(shard.config.fetch_max_bytes).max(0) as usize,
        patience: Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0)),
    };
    let planned = shard.sessions.borrow_mut().plan(wanted(&asked, header.version), host().wall_ms());
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => return refused(shard, &header, error),
    };
    let shard = shard.clone();
    Reply::Later(Box::pin(async move {
        let found = fetch(&shard, &plan, &limits).await;
        answer(&shard, &header, &plan, found)
    }))
}

struct Limits {
    make_sense: bool,
    bytes_min: usize,
    bytes_max: usize,
    patience: Duration,
}

/// The whole request is refused: an error and no partitions.
fn refused(shard: &Shard, header: &Header, error: ErrorCode) -> Reply {
    let mut writer = shard.fetch_writer.borrow_mut();
    let mut parts = Vec::new();
    let written = writer
        .begin(header.version, header.correlation_id, 0, error, 0, 0)
        .and_then(|()| writer.finish(&[], &mut parts));
    written.map_or_else(|error| header.unanswerable(&error), |()| Reply::Now(Response { parts }))
}

fn wanted(asked: &FetchRequestView<'_>, version: i16) -> Asked {
    let mut partitions = Vec::with_capacity(asked.partition_count);
    for topic in asked.topics() {
        let topic_ref = TopicRef::of(topic.key);
        partitions.extend(topic.partitions.map(|one| {
            let wanted = Wanted {
                offset: one.fetch_offset,
                bytes_max: one.max_bytes,
                leader_epoch: one.current_leader_epoch,
                last_fetched_epoch: one.last_fetched_epoch,
                log_start_offset: one.log_start_offset,
            };
            (Key { topic: topic_ref.clone(), partition: one.index }, wanted)
        }));
    }
    let mut forgotten = Vec::with_capacity(asked.forgotten_partition_count);
    for topic in asked.forgotten_topics() {
        let topic_ref = TopicRef::of(topic.key);
        forgotten.extend(topic.partitions.map(|partition| Key { topic: topic_ref.clone(), partition }));
    }
    let (session_id, epoch) = (asked.session_id, asked.session_epoch);
    Asked { session_id, epoch, uses_ids: version >= 13, partitions, forgotten }
}

/// Reads until there is enough to say, or patience ends.
async fn fetch(shard: &Rc<Shard>, plan: &Plan, limits: &Limits) -> Vec<Found> {
    if !limits.make_sense {
        return vec![Found::refused(ErrorCode::UNKNOWN_SERVER_ERROR); plan.partitions.len()];
    }
    let deadline_ns = host().now_ns() + limits.patience.as_nanos() as u64;
    let (mut found, mut reads, places) = prepare(shard, plan);
    // Refusals are something to say.
    let is_urgent = reads.is_empty() || reads.len() < found.len();
    let goal = Goal {
        bytes_min: limits.bytes_min,
        bytes_max: limits.bytes_max,
        deadline_ns: if is_urgent { 0 } else { deadline_ns },
    };
    loop {
        let read = shard.read_or_wait(reads.clone(), goal).await;
        for ((read, at), one) in reads.iter_mut().zip(&places).zip(read) {
            read.seen = one.high_watermark;
            found[*at] = one;
        }
        keep_within(&mut found, limits.bytes_max);
        if has_enough(&found, limits) || host().now_ns() >= goal.deadline_ns || shard.is_closing() {
            return found;
        }
    }
}

fn has_enough(found: &[Found], limits: &Limits) -> bool {
    let bytes: usize = found.iter().map(|one| one.bytes).sum();
    bytes >= limits.bytes_min || found.iter().any(|one| one.error.is_err() || one.diverging.is_some())
}

/// A place for each partition of the plan, filled with its refusal if it is not served here; what is to
/// be read of the others, and their places.
fn prepare(shard: &Shard, plan: &Plan) -> (Vec<Found>, Vec<Read>, Vec<usize>) {
    let mut found = Vec::with_capacity(plan.partitions.len());
    let (mut reads, mut places) = (Vec::new(), Vec::new());
    for (at, (key, wanted)) in plan.partitions.iter().enumerate() {
        found.push(match shard.find(key.topic.key(), key.partition) {
            Ok(_) if wanted.bytes_max < 0 => Found::refused(ErrorCode::UNKNOWN_SERVER_ERROR),
            Ok(id) => {
                let ask = Ask {
                    offset: wanted.offset,
                    leader_epoch: wanted.leader_epoch,
                    last_fetched_epoch: wanted.last_fetched_epoch,
                };
                reads.push(Read {
                    id,
                    ask,
                    bytes_max: usize::try_from(wanted.bytes_max).unwrap_or(0),
                    seen: -1,
                });
                places.push(at);
                Found::refused(ErrorCode::NONE)
            }
            Err(error) => Found::refused(error),
        });
    }
    (found, reads, places)
}

/// Each core kept to the limit on its own: together they may have read more than may be said.
fn keep_within(found: &mut [Found], bytes_max: usize) {
    let mut left = bytes_max;
    let mut any = false;
    for one in found {
        if one.bytes > left && any {
            one.parts = Vec::new();
            one.bytes = 0;
        }
        any |= one.bytes > 0;
        left = left.saturating_sub(one.bytes);
    }
}

fn answer(shard: &Rc<Shard>, header: &Header, plan: &Plan, found: Vec<Found>) -> Reply {
    let said: Vec<_> = found.iter().map(said).collect();
    let new_id = || (host().random() >> 33) as i32;
    let (session_id, kept) = shard.sessions.borrow_mut().answer(plan, &said, new_id, host().wall_ms());
    let found = plan.partitions.iter().zip(found).zip(kept);
    let kept: Vec<_> = found.filter(|(_, kept)| *kept).map(|(((key, _), found), _)| (key, found)).collect();
    let bytes: usize = kept.iter().map(|(_, found)| found.bytes).sum();
    shard.metrics.fetched_bytes.add(bytes as u64);
    match write_answer(shard, header, session_id, kept) {
        Ok(parts) => Reply::Now(Response { parts }),
        Err(error) => header.unanswerable(&error),
    }
}

fn write_answer(
    shard: &Shard,
    header: &Header,
    session_id: i32,
    kept: Vec<(&Key, Found)>,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut writer = shard.fetch_writer.borrow_mut();
    let topics = kept.chunk_by(|(one, _), (next, _)| one.topic == next.topic).map(<[_]>::len);
    let topics: Vec<_> = topics.collect();
    writer.begin(header.version, header.correlation_id, 0, ErrorCode::NONE, session_id, topics.len())?;
    let mut kept = kept.into_iter();
    for count in topics {
        for (at, (key, found)) in kept.by_ref().take(count).enumerate() {
            if at == 0 {
                writer.topic(key.topic.key(), count)?;
            }
            writer.partition(&partition_answer(key.partition, &found), found.parts)?;
        }
    }
    let mut parts = Vec::new();
    writer.finish(&[], &mut parts)?;
    Ok(parts)
}

fn said(found: &Found) -> Said {
    Said {
        error: found.error,
        has_records: found.bytes > 0,
        diverges: found.diverging.is_some(),
        high_watermark: found.high_watermark,
        log_start_offset: found.log_start_offset,
    }
}

fn partition_answer(index: i32, found: &Found) -> FetchAnswer<'static> {
    FetchAnswer {
        error_code: found.error,
        high_watermark: found.high_watermark,
        last_stable_offset: found.high_watermark,
        log_start_offset: found.log_start_offset,
        diverging_epoch: found
            .diverging
            .map(|it| EpochEndOffset { epoch: it.epoch, end_offset: it.end_offset }),
        // Kafka: an empty list with an error, null where read_uncommitted was served.
        aborted_transactions: found.error.is_err().then_some(&[]),
        ..FetchAnswer::error(index, found.error)
    }
}
