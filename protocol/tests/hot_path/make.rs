//! Random Produce and Fetch messages of any version.

use bytes::Bytes;
use protocol::ids::Uuid;
use protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, fetch_request, fetch_response,
    produce_request, produce_response,
};

use super::mutations::Dice;

impl Dice {
    fn i32(&mut self) -> i32 {
        self.next() as i32
    }

    fn i64(&mut self) -> i64 {
        self.next() as i64 - (1 << 52)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn text(&mut self) -> String {
        // Now and then longer than one byte of a compact length can say.
        let longest = if self.one_in(20) { 300 } else { 12 };
        let len = self.below(longest);
        (0..len).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(3) { None } else { Some(value(self)) }
    }

    fn many<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let most = if self.one_in(50) { 150 } else { most };
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }

    fn records(&mut self) -> Bytes {
        let longest = if self.one_in(10) { 20_000 } else { 100 };
        let len = self.below(longest);
        (0..len).map(|_| self.next() as u8).collect()
    }
}

pub(crate) fn produce_request(dice: &mut Dice, version: i16) -> ProduceRequest {
    ProduceRequest {
        transactional_id: dice.maybe(Dice::text),
        acks: dice.below(3) as i16 - 1,
        timeout_ms: dice.i32(),
        topic_data: dice.many(4, |dice| produce_request::TopicProduceData {
            name: if version < 13 { dice.text() } else { String::new() },
            topic_id: if version < 13 { Uuid::ZERO } else { dice.uuid() },
            partition_data: dice.many(4, |dice| produce_request::PartitionProduceData {
                index: dice.i32(),
                records: dice.maybe(Dice::records),
            }),
        }),
    }
}

pub(crate) fn produce_response(dice: &mut Dice, version: i16) -> ProduceResponse {
    let partition = |dice: &mut Dice| produce_response::PartitionProduceResponse {
        index: dice.i32(),
        error_code: dice.i32() as i16,
        base_offset: dice.i64(),
        log_append_time_ms: dice.i64(),
        log_start_offset: dice.i64(),
        record_errors: dice.many(3, |dice| produce_response::BatchIndexAndErrorMessage {
            batch_index: dice.i32(),
            batch_index_error_message: dice.maybe(Dice::text),
        }),
        error_message: dice.maybe(Dice::text),
        current_leader: match version {
            10.. if dice.one_in(2) => {
                produce_response::LeaderIdAndEpoch { leader_id: dice.i32(), leader_epoch: dice.i32() }
            }
            _ => Default::default(),
        },
    };
    ProduceResponse {
        responses: dice.many(4, |dice| produce_response::TopicProduceResponse {
            name: if version < 13 { dice.text() } else { String::new() },
            topic_id: if version < 13 { Uuid::ZERO } else { dice.uuid() },
            partition_responses: dice.many(4, partition),
        }),
        throttle_time_ms: dice.i32(),
        node_endpoints: if version < 10 {
            Vec::new()
        } else {
            dice.many(2, |dice| produce_response::NodeEndpoint {
                node_id: dice.i32(),
                host: dice.text(),
                port: dice.i32(),
                rack: dice.maybe(Dice::text),
            })
        },
    }
}

pub(crate) fn fetch_request(dice: &mut Dice, version: i16) -> FetchRequest {
    let partition = |dice: &mut Dice| fetch_request::FetchPartition {
        partition: dice.i32(),
        current_leader_epoch: dice.i32(),
        fetch_offset: dice.i64(),
        last_fetched_epoch: if version < 12 { -1 } else { dice.i32() },
        log_start_offset: dice.i64(),
        partition_max_bytes: dice.i32(),
        replica_directory_id: if dice.one_in(2) { Uuid::ZERO } else { dice.uuid() },
        high_watermark: if dice.one_in(2) { i64::MAX } else { dice.i64() },
    };
    let defaults = FetchRequest::default();
    FetchRequest {
        cluster_id: dice.maybe(Dice::text),
        replica_id: if version < 15 { dice.i32() } else { -1 },
        replica_state: match version {
            15.. if dice.one_in(2) => {
                fetch_request::ReplicaState { replica_id: dice.i32(), replica_epoch: dice.i64() }
            }
            _ => defaults.replica_state,
        },
        max_wait_ms: dice.i32(),
        min_bytes: dice.i32(),
        max_bytes: dice.i32(),
        isolation_level: dice.below(3) as i8,
        session_id: dice.i32(),
        session_epoch: dice.i32(),
        topics: dice.many(4, |dice| fetch_request::FetchTopic {
            topic: if version < 13 { dice.text() } else { String::new() },
            topic_id: if version < 13 { Uuid::ZERO } else { dice.uuid() },
            partitions: dice.many(4, partition),
        }),
        forgotten_topics_data: if version < 7 {
            Vec::new()
        } else {
            dice.many(3, |dice| fetch_request::ForgottenTopic {
                topic: if version < 13 { dice.text() } else { String::new() },
                topic_id: if version < 13 { Uuid::ZERO } else { dice.uuid() },
                partitions: dice.many(4, Dice::i32),
            })
        },
        rack_id: dice.text(),
    }
}

pub(crate) fn fetch_response(dice: &mut Dice, version: i16) -> FetchResponse {
    FetchResponse {
        throttle_time_ms: dice.i32(),
        error_code: dice.i32() as i16,
        session_id: if version < 7 { 0 } else { dice.i32() },
        responses: dice.many(4, |dice| fetch_response::FetchableTopicResponse {
            topic: if version < 13 { dice.text() } else { String::new() },
            topic_id: if version < 13 { Uuid::ZERO } else { dice.uuid() },
            partitions: dice.many(4, |dice| fetched(dice, version)),
        }),
        node_endpoints: if version < 16 {
            Vec::new()
        } else {
            dice.many(2, |dice| fetch_response::NodeEndpoint {
                node_id: dice.i32(),
                host: dice.text(),
                port: dice.i32(),
                rack: dice.maybe(Dice::text),
            })
        },
    }
}

fn fetched(dice: &mut Dice, version: i16) -> fetch_response::PartitionData {
    let mut partition = fetch_response::PartitionData {
        partition_index: dice.i32(),
        error_code: dice.i32() as i16,
        high_watermark: dice.i64(),
        last_stable_offset: dice.i64(),
        log_start_offset: dice.i64(),
        aborted_transactions: dice.maybe(|dice| {
            dice.many(3, |dice| fetch_response::AbortedTransaction {
                producer_id: dice.i64(),
                first_offset: dice.i64(),
            })
        }),
        preferred_read_replica: if version < 11 { -1 } else { dice.i32() },
        records: Some(dice.records()),
        ..Default::default()
    };
    if version >= 12 && dice.one_in(2) {
        partition.diverging_epoch =
            fetch_response::EpochEndOffset { epoch: dice.i32(), end_offset: dice.i64() };
    }
    if version >= 12 && dice.one_in(2) {
        partition.current_leader =
            fetch_response::LeaderIdAndEpoch { leader_id: dice.i32(), leader_epoch: dice.i32() };
    }
    if version >= 12 && dice.one_in(2) {
        partition.snapshot_id = fetch_response::SnapshotId { end_offset: dice.i64(), epoch: dice.i32() };
    }
    partition
}
