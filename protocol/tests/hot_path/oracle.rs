//! Produce and Fetch said twice: by the generated messages, which are compared with Kafka's own bytes elsewhere, and by hand.

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::fetch::{
    AbortedTransaction, EpochEndOffset, FetchAnswer, FetchRequestView, FetchResponseView,
    FetchResponseWriter, SnapshotId,
};
use protocol::leader_hint::{CurrentLeader, NodeEndpoint};
use protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, fetch_request, fetch_response,
    produce_request,
};
use protocol::primitives::{EncodeError, Writer};
use protocol::produce::{ProduceAnswer, ProduceRequestView, ProduceResponseWriter, RecordErrorAnswer};
use protocol::topic_key::TopicKey;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All that the view says, as the generated message.
pub(crate) fn produce_request(view: &ProduceRequestView<'_>, body: &[u8]) -> ProduceRequest {
    let body = Bytes::copy_from_slice(body);
    let topic_data = view.topics().map(|topic| produce_request::TopicProduceData {
        name: topic.key.name().unwrap_or_default().into_owned(),
        topic_id: topic.key.id().unwrap_or_default(),
        partition_data: topic
            .partitions
            .map(|partition| {
                let records = partition.slice_of(&body);
                assert_eq!(records.as_deref(), partition.records);
                produce_request::PartitionProduceData { index: partition.index, records }
            })
            .collect(),
    });
    let request = ProduceRequest {
        transactional_id: view.transactional_id.map(text),
        acks: view.acks,
        timeout_ms: view.timeout_ms,
        topic_data: topic_data.collect(),
    };
    let partitions = || request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    assert_eq!(view.partition_count, partitions().count());
    assert_eq!(
        view.records_bytes,
        partitions().flat_map(|partition| &partition.records).map(Bytes::len).sum::<usize>()
    );
    request
}

pub(crate) fn fetch_request(view: &FetchRequestView<'_>, version: i16) -> FetchRequest {
    let partition = |partition: protocol::fetch::FetchPartition| fetch_request::FetchPartition {
        partition: partition.index,
        current_leader_epoch: partition.current_leader_epoch,
        fetch_offset: partition.fetch_offset,
        last_fetched_epoch: partition.last_fetched_epoch,
        log_start_offset: partition.log_start_offset,
        partition_max_bytes: partition.max_bytes,
        replica_directory_id: partition.replica_directory_id,
        high_watermark: partition.high_watermark,
    };
    let topics = view.topics().map(|topic| fetch_request::FetchTopic {
        topic: topic.key.name().unwrap_or_default().into_owned(),
        topic_id: topic.key.id().unwrap_or_default(),
        partitions: topic.partitions.map(partition).collect(),
    });
    let forgotten = view.forgotten_topics().map(|topic| fetch_request::ForgottenTopic {
        topic: topic.key.name().unwrap_or_default().into_owned(),
        topic_id: topic.key.id().unwrap_or_default(),
        partitions: topic.partitions.collect(),
    });
    let replica_state =
        fetch_request::ReplicaState { replica_id: view.replica_id, replica_epoch: view.replica_epoch };
    let request = FetchRequest {
        cluster_id: view.cluster_id.map(text),
        replica_id: if version < 15 { view.replica_id } else { -1 },
        replica_state: if version < 15 { fetch_request::ReplicaState::default() } else { replica_state },
        max_wait_ms: view.max_wait_ms,
        min_bytes: view.min_bytes,
        max_bytes: view.max_bytes,
        isolation_level: view.isolation_level,
        session_id: view.session_id,
        session_epoch: view.session_epoch,
        topics: topics.collect(),
        forgotten_topics_data: forgotten.collect(),
        rack_id: text(view.rack_id),
    };
    let forgotten = || request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions);
    assert_eq!(view.partition_count, request.topics.iter().flat_map(|topic| &topic.partitions).count());
    assert_eq!(view.forgotten_partition_count, forgotten().count());
    request
}

pub(crate) fn fetch_response(view: &FetchResponseView<'_>, body: &[u8]) -> FetchResponse {
    let body = Bytes::copy_from_slice(body);
    let partition = |it: protocol::fetch::FetchedPartition<'_>| {
        let records = it.slice_of(&body);
        assert_eq!(records.as_deref(), it.records);
        let mut same = fetch_response::PartitionData {
            partition_index: it.index,
            error_code: it.error_code.0,
            high_watermark: it.high_watermark,
            last_stable_offset: it.last_stable_offset,
            log_start_offset: it.log_start_offset,
            preferred_read_replica: it.preferred_read_replica,
            records,
            ..Default::default()
        };
        let one = |it: AbortedTransaction| fetch_response::AbortedTransaction {
            producer_id: it.producer_id,
            first_offset: it.first_offset,
        };
        same.aborted_transactions = it.aborted_transactions.map(|all| all.map(one).collect());
        if let Some(EpochEndOffset { epoch, end_offset }) = it.diverging_epoch {
            same.diverging_epoch = fetch_response::EpochEndOffset { epoch, end_offset };
        }
        if let Some(CurrentLeader { leader_id, leader_epoch }) = it.current_leader {
            same.current_leader = fetch_response::LeaderIdAndEpoch { leader_id, leader_epoch };
        }
        if let Some(SnapshotId { end_offset, epoch }) = it.snapshot_id {
            same.snapshot_id = fetch_response::SnapshotId { end_offset, epoch };
        }
        same
    };
    let topics = view.topics().map(|topic| fetch_response::FetchableTopicResponse {
        topic: topic.key.name().unwrap_or_default().into_owned(),
        topic_id: topic.key.id().unwrap_or_default(),
        partitions: topic.partitions.map(partition).collect(),
    });
    let response = FetchResponse {
        throttle_time_ms: view.throttle_time_ms,
        error_code: view.error_code.0,
        session_id: view.session_id,
        responses: topics.collect(),
        node_endpoints: view.node_endpoints.clone(),
    };
    let partitions = || response.responses.iter().flat_map(|topic| &topic.partitions);
    assert_eq!(view.partition_count, partitions().count());
    let bytes = partitions().flat_map(|partition| &partition.records).map(Bytes::len).sum::<usize>();
    assert_eq!(view.records_bytes, bytes);
    response
}

fn key<'a>(version: i16, name: &'a str, id: protocol::ids::Uuid) -> TopicKey<'a> {
    if version >= 13 { id.into() } else { name.into() }
}

pub(crate) fn write_produce_response(
    w: &mut Writer,
    response: &ProduceResponse,
    version: i16,
) -> Result<(), EncodeError> {
    let mut writer = ProduceResponseWriter::begin(w, version, response.responses.len())?;
    for topic in &response.responses {
        writer.topic(key(version, &topic.name, topic.topic_id), topic.partition_responses.len())?;
        for partition in &topic.partition_responses {
            let record_errors: Vec<RecordErrorAnswer<'_>> = partition
                .record_errors
                .iter()
                .map(|error| RecordErrorAnswer {
                    batch_index: error.batch_index,
                    message: error.batch_index_error_message.as_deref(),
                })
                .collect();
            let leader = &partition.current_leader;
            writer.partition(&ProduceAnswer {
                index: partition.index,
                error_code: ErrorCode(partition.error_code),
                base_offset: partition.base_offset,
                log_append_time_ms: partition.log_append_time_ms,
                log_start_offset: partition.log_start_offset,
                record_errors: &record_errors,
                error_message: partition.error_message.as_deref(),
                current_leader: (*leader != Default::default()).then_some(CurrentLeader {
                    leader_id: leader.leader_id,
                    leader_epoch: leader.leader_epoch,
                }),
            })?;
        }
    }
    let endpoints: Vec<NodeEndpoint<'_>> = response
        .node_endpoints
        .iter()
        .map(|it| NodeEndpoint {
            node_id: it.node_id,
            host: &it.host,
            port: it.port,
            rack: it.rack.as_deref(),
        })
        .collect();
    writer.finish(response.throttle_time_ms, &endpoints)
}

/// The slices of a frame that says `response`, with the records of every partition in pieces of at most `piece_bytes`.
pub(crate) fn gather_fetch_response(
    writer: &mut FetchResponseWriter,
    response: &FetchResponse,
    version: i16,
    piece_bytes: usize,
) -> Result<Vec<Bytes>, EncodeError> {
    let error_code = ErrorCode(response.error_code);
    let topics = &response.responses;
    writer.begin(version, 77, response.throttle_time_ms, error_code, response.session_id, topics.len())?;
    for topic in topics {
        writer.topic(key(version, &topic.topic, topic.topic_id), topic.partitions.len())?;
        for partition in &topic.partitions {
            fetch_partition(writer, partition, piece_bytes)?;
        }
    }
    let endpoints: Vec<NodeEndpoint<'_>> = response
        .node_endpoints
        .iter()
        .map(|it| NodeEndpoint {
            node_id: it.node_id,
            host: &it.host,
            port: it.port,
            rack: it.rack.as_deref(),
        })
        .collect();
    let mut out = Vec::new();
    writer.finish(&endpoints, &mut out)?;
    Ok(out)
}

fn fetch_partition(
    writer: &mut FetchResponseWriter,
    partition: &fetch_response::PartitionData,
    piece_bytes: usize,
) -> Result<(), EncodeError> {
    let aborted: Option<Vec<AbortedTransaction>> = partition.aborted_transactions.as_ref().map(|all| {
        let one = |it: &fetch_response::AbortedTransaction| AbortedTransaction {
            producer_id: it.producer_id,
            first_offset: it.first_offset,
        };
        all.iter().map(one).collect()
    });
    let (diverging, leader, snapshot) =
        (&partition.diverging_epoch, &partition.current_leader, &partition.snapshot_id);
    let answer = FetchAnswer {
        index: partition.partition_index,
        error_code: ErrorCode(partition.error_code),
        high_watermark: partition.high_watermark,
        last_stable_offset: partition.last_stable_offset,
        log_start_offset: partition.log_start_offset,
        aborted_transactions: aborted.as_deref(),
        preferred_read_replica: partition.preferred_read_replica,
        diverging_epoch: (*diverging != Default::default())
            .then_some(EpochEndOffset { epoch: diverging.epoch, end_offset: diverging.end_offset }),
        current_leader: (*leader != Default::default())
            .then_some(CurrentLeader { leader_id: leader.leader_id, leader_epoch: leader.leader_epoch }),
        snapshot_id: (*snapshot != Default::default())
            .then_some(SnapshotId { end_offset: snapshot.end_offset, epoch: snapshot.epoch }),
    };
    let mut records = partition.records.clone().expect("a broker never answers with null records");
    let pieces = std::iter::from_fn(move || {
        (!records.is_empty()).then(|| records.split_to(records.len().min(piece_bytes)))
    });
    writer.partition(&answer, pieces)
}
