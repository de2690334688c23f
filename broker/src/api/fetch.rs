//! Fetch (1), versions 4-18.
//!
//! Consumer reads. 7: sessions (KIP-227, `fetch_sessions.rs`). 9: leader epochs are checked (KIP-320). 12: flexible,
//! diverging epochs (KIP-595). 13: topics by id (KIP-516). 16: node endpoints (KIP-951). 18: the
//! follower's high watermark.
//! Left out: followers and preferred read replicas, until there are other replicas; with no open
//! transactions the last stable offset is the high watermark and nothing is aborted.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cluster::metadata::Image;
use protocol::error_code::ErrorCode;
use protocol::fetch::{EpochEndOffset, FetchAnswer, FetchRequestView};
use protocol::leader_hint::{CurrentLeader, NodeEndpoint};
use protocol::primitives::EncodeError;
use reactor::host;
use storage::disk::LocalFuture;

use super::{Caller, Header, Reason, Reply, Request, Response};
use crate::partition::read::{Ask, Found, keep};
use crate::shard::Shard;
use crate::shard::fetch_sessions::{self, Asked, Key, Plan, Said, Told, TopicRef, Wanted};
use crate::shard::reads::{Goal, LeftWaiting, Read};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<Bytes>) -> Reply {
    let (header, body) = (request.header, request.body);
    let asked = match FetchRequestView::parse(&body, header.version) {
        Ok(asked) => asked,
        Err(error) => return Reply::Close(Reason::Undecodable(error)),
    };
    let limits = Limits::of(&asked, shard.config.fetch_max_bytes);
    let planned = plan(shard, wanted(&asked, header.version));
    let (shard, caller) = (shard.clone(), caller.clone());
    Reply::Later(Box::pin(async move {
        let planned = match planned {
            Planned::Here(planned) => planned,
            Planned::Elsewhere(planned) => planned.await,
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(error) => return refused(&shard, &header, error),
        };
        // Kafka: the whole request is refused, unless none of it can be read anyway.
        if !limits.isolation_is_known && plan.partitions.iter().any(|(key, _)| is_there(&shard, key)) {
            return refused_whole(&shard, &header, &body);
        }
        let found = fetch(&shard, &caller.left_waiting, &plan, &limits).await;
        let caller = Some(&caller).filter(|_| !limits.as_follower);
        answer(&shard, caller, &header, plan, found).await
    }))
}

enum Planned {
    Here(Result<Plan, ErrorCode>),
    /// The session lives on another core.
    Elsewhere(LocalFuture<'static, Result<Plan, ErrorCode>>),
}

fn plan(shard: &Rc<Shard>, asked: Asked) -> Planned {
    let (id, now_ms) = (asked.session_id, host().wall_ms());
    let home = fetch_sessions::home(id, shard.cores);
    if home != shard.core && asked.continues() {
        return Planned::Elsewhere(shard.on(home, move |home| {
            let planned = home.sessions.borrow_mut().plan(asked, now_ms);
            Box::pin(std::future::ready(planned))
        }));
    }
    if home != shard.core && id != 0 {
        host().send(home, Box::new(move || crate::shard::here().sessions.borrow_mut().close(id)));
    }
    Planned::Here(shard.sessions.borrow_mut().plan(asked, now_ms))
}

fn is_there(shard: &Shard, key: &Key) -> bool {
    shard.find(key.topic.key(), key.partition).is_ok()
}

struct Limits {
    isolation_is_known: bool,
    committed: bool,
    as_follower: bool,
    bytes_min: usize,
    /// None: less than nothing. Kafka then refuses the first partition and goes on with 0.
    bytes_max: Option<usize>,
    patience: Duration,
}

impl Limits {
    fn of(asked: &FetchRequestView<'_>, bytes_max: i32) -> Self {
        Self {
            isolation_is_known: matches!(asked.isolation_level, 0 | 1),
            committed: asked.isolation_level == 1,
            as_follower: asked.replica_id >= 0,
            bytes_min: usize::try_from(asked.min_bytes).unwrap_or(0),
            bytes_max: usize::try_from(asked.max_bytes.min(bytes_max)).ok(),
            patience: Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0)),
        }
    }
}

/// The session cannot serve the request: an error and no partitions.
fn refused(shard: &Shard, header: &Header, error: ErrorCode) -> Reply {
    let mut writer = shard.fetch_writer.borrow_mut();
    let mut parts = Vec::new();
    let written = writer
        .begin(header.version, header.correlation_id, 0, error, 0, 0)
        .and_then(|()| writer.finish(&[], &mut parts));
    written.map_or_else(|error| header.unanswerable(&error), |()| Reply::Now(Response { parts }))
}

/// The request makes no sense: an error for all of it, and before version 13 for each partition as it was asked.
fn refused_whole(shard: &Shard, header: &Header, body: &[u8]) -> Reply {
    let asked = FetchRequestView::parse(body, header.version).expect("parsed before");
    let error = ErrorCode::UNKNOWN_SERVER_ERROR;
    let mut writer = shard.fetch_writer.borrow_mut();
    let mut write = || {
        let topic_count = if header.version < 13 { asked.topics().count() } else { 0 };
        let (version, correlation_id) = (header.version, header.correlation_id);
        writer.begin(version, correlation_id, 0, error, asked.session_id, topic_count)?;
        for topic in asked.topics().take(topic_count) {
            writer.topic(topic.key, topic.partitions.clone().count())?;
            for partition in topic.partitions {
                writer.partition(&FetchAnswer::error(partition.index, error), Vec::new())?;
            }
        }
        let mut parts = Vec::new();
        writer.finish(&[], &mut parts)?;
        Ok(parts)
    };
    write().map_or_else(|error| header.unanswerable(&error), |parts| Reply::Now(Response { parts }))
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
async fn fetch(shard: &Rc<Shard>, left: &LeftWaiting, plan: &Plan, limits: &Limits) -> Vec<Found> {
    let deadline_ns = host().now_ns() + limits.patience.as_nanos() as u64;
    let (mut found, mut reads, places) = prepare(shard, plan, limits);
    // Refusals are something to say.
    let is_urgent = reads.is_empty() || reads.len() < found.len();
    let bytes_max = limits.bytes_max.unwrap_or(0);
    let goal =
        Goal { bytes_min: limits.bytes_min, bytes_max, deadline_ns: if is_urgent { 0 } else { deadline_ns } };
    loop {
        let read = shard.read_or_wait(&reads, goal, left).await;
        for ((read, at), one) in reads.iter_mut().zip(&places).zip(read) {
            read.seen = one.high_watermark;
            found[*at] = one;
        }
        keep_within(&mut found, bytes_max);
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
fn prepare(shard: &Shard, plan: &Plan, limits: &Limits) -> (Vec<Found>, Vec<Read>, Vec<usize>) {
    let mut found = Vec::with_capacity(plan.partitions.len());
    let (mut reads, mut places) = (Vec::new(), Vec::new());
    for (at, (key, wanted)) in plan.partitions.iter().enumerate() {
        found.push(match shard.find(key.topic.key(), key.partition) {
            Ok(id) => {
                let ask = Ask {
                    offset: wanted.offset,
                    leader_epoch: wanted.leader_epoch.max(-1),
                    last_fetched_epoch: wanted.last_fetched_epoch,
                    as_follower: limits.as_follower,
                    committed: limits.committed,
                };
                let is_refused = limits.bytes_max.is_none() && reads.is_empty();
                let bytes_max = usize::try_from(wanted.bytes_max).ok().filter(|_| !is_refused);
                reads.push(Read { id, ask, bytes_max, seen: -1 });
                places.push(at);
                Found::refused(ErrorCode::NONE)
            }
            Err(error) => Found { lists_aborted: true, ..Found::refused(error) },
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
            one.bytes = keep(&mut one.parts, left);
        }
        any |= one.bytes > 0;
        left = left.saturating_sub(one.bytes);
    }
}

/// A `caller` is told where to find the leaders of what is not led here; Kafka tells consumers only.
async fn answer(
    shard: &Rc<Shard>,
    caller: Option<&Caller>,
    header: &Header,
    plan: Plan,
    found: Vec<Found>,
) -> Reply {
    let (plan, told) = tell(shard, plan, found.iter().map(said).collect()).await;
    let mut kept = Vec::with_capacity(found.len());
    for (((key, _), mut found), error) in plan.partitions.iter().zip(found).zip(told.errors) {
        if let Some(error) = error {
            found.error = error;
            kept.push((key, found));
        }
    }
    let bytes: usize = kept.iter().map(|(_, found)| found.bytes).sum();
    shard.metrics.fetched_bytes.add(bytes as u64);
    match write_answer(shard, caller, header, told.session_id, kept) {
        Ok(parts) => Reply::Now(Response { parts }),
        Err(error) => header.unanswerable(&error),
    }
}

/// Has the session remember what is said, wherever it lives.
async fn tell(shard: &Rc<Shard>, plan: Plan, said: Vec<Said>) -> (Plan, Told) {
    let home = plan.session().map_or(shard.core, |id| fetch_sessions::home(id, shard.cores));
    let note = move |shard: &Rc<Shard>| {
        let new_id = || (host().random() >> 33) as i32;
        let told = shard.sessions.borrow_mut().answer(&plan, &said, new_id, host().wall_ms());
        (plan, told)
    };
    if home == shard.core {
        return note(shard);
    }
    shard.on(home, move |home| Box::pin(std::future::ready(note(home)))).await
}

fn write_answer(
    shard: &Shard,
    caller: Option<&Caller>,
    header: &Header,
    session_id: i32,
    kept: Vec<(&Key, Found)>,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut writer = shard.fetch_writer.borrow_mut();
    let image = shard.image.borrow();
    let topics = kept.chunk_by(|(one, _), (next, _)| one.topic == next.topic).map(<[_]>::len);
    let topics: Vec<_> = topics.collect();
    writer.begin(header.version, header.correlation_id, 0, ErrorCode::NONE, session_id, topics.len())?;
    let mut kept = kept.into_iter();
    let mut nodes = BTreeMap::new();
    for count in topics {
        for (at, (key, found)) in kept.by_ref().take(count).enumerate() {
            if at == 0 {
                writer.topic(key.topic.key(), count)?;
            }
            let leads = leads_elsewhere(found.error).then(|| leader_of(&image, key)).flatten();
            let leader = leads.filter(|_| header.version >= LEADERS_FROM);
            if let (Some(leader), Some(caller)) = (leader, caller) {
                nodes.extend(endpoint(&image, caller, leader.leader_id).map(|node| (node.node_id, node)));
            }
            let said = FetchAnswer { current_leader: leader, ..partition_answer(key.partition, &found) };
            writer.partition(&said, found.parts)?;
        }
    }
    let nodes: Vec<_> = nodes.into_values().collect();
    let mut parts = Vec::new();
    writer.finish(&nodes, &mut parts)?;
    Ok(parts)
}

/// The first version that tells who leads instead (KIP-951).
const LEADERS_FROM: i16 = 16;

fn leads_elsewhere(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH)
}

fn leader_of(image: &Image, key: &Key) -> Option<CurrentLeader> {
    let topic = match &key.topic {
        TopicRef::Name(name) => image.topics.by_name(name),
        TopicRef::Id(id) => image.topics.by_id(*id),
    };
    let partition = topic?.partition(key.partition)?;
    Some(CurrentLeader { leader_id: partition.leader, leader_epoch: partition.leader_epoch })
}

fn endpoint<'a>(image: &'a Image, caller: &Caller, id: i32) -> Option<NodeEndpoint<'a>> {
    let broker = image.brokers.get(&id).filter(|broker| !broker.is_fenced)?;
    let endpoint = broker.endpoint(&caller.listener)?;
    Some(NodeEndpoint {
        node_id: id,
        host: &endpoint.host,
        port: endpoint.port.into(),
        rack: broker.rack.as_deref(),
    })
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
        // Kafka: an empty list where nothing was to be read, null where the log itself refused.
        aborted_transactions: found.lists_aborted.then_some(&[]),
        ..FetchAnswer::error(index, found.error)
    }
}
