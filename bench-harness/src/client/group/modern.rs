//! ConsumerGroupHeartbeat (68), KIP-848: one question that joins, beats, acknowledges and leaves.

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::consumer_group_heartbeat_response::Assignment;
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, Message};
use protocol::primitives::DecodeError;

use super::{Ask, Heard, REBALANCE_TIMEOUT_MS, RETRY_NS, Standing, Terms};
use crate::clock::NS_PER_MS;

const JOINS: i32 = 0;
const LEAVES: i32 = -1;

#[derive(Debug, Default)]
pub(super) struct Modern {
    /// The broker was told since of what it gave.
    has_told: bool,
}

impl Modern {
    pub(super) fn ask(&mut self, terms: &Terms, standing: &mut Standing, _now_ns: i64) -> Ask {
        standing.beat_after(standing.due_ns);
        let joins = standing.epoch == JOINS;
        let tells = joins || !self.has_told;
        self.has_told = true;
        Ask::ConsumerHeartbeat(ConsumerGroupHeartbeatRequest {
            group_id: terms.group.clone(),
            member_id: standing.id.clone(),
            member_epoch: if standing.wants_to_leave { LEAVES } else { standing.epoch },
            rebalance_timeout_ms: if joins { REBALANCE_TIMEOUT_MS } else { -1 },
            subscribed_topic_names: joins.then(|| terms.topics.names.clone()),
            topic_partitions: (tells && !standing.wants_to_leave).then(|| owned(terms, &standing.slots)),
            ..Default::default()
        })
    }

    pub(super) fn hear(
        &mut self,
        terms: &Terms,
        standing: &mut Standing,
        version: i16,
        answer: &[u8],
        now_ns: i64,
    ) -> Result<Heard, DecodeError> {
        let answer = ConsumerGroupHeartbeatResponse::from_bytes(answer, version)?;
        let code = ErrorCode(answer.error_code);
        if standing.wants_to_leave {
            let left = standing.left();
            return Ok(if code.is_err() { Heard::Refused(code) } else { left });
        }
        if code.is_err() {
            return Ok(self.heed(code, standing, now_ns));
        }
        if let Some(id) = answer.member_id {
            standing.id = id;
        }
        standing.epoch = answer.member_epoch;
        standing.heartbeat_ns = i64::from(answer.heartbeat_interval_ms.max(1)) * NS_PER_MS;
        // What was due while the answer was waited for stays due.
        let due_ns = standing.due_ns.min(now_ns.saturating_add(standing.heartbeat_ns.min(standing.hurry_ns)));
        let Some(assignment) = answer.assignment else {
            standing.due_ns = due_ns;
            return Ok(Heard::Fine);
        };
        let slots = assigned(terms, &assignment);
        standing.settle(slots, now_ns);
        // What is given up and what is taken are told at once, as clients do.
        (self.has_told, standing.due_ns) = (false, now_ns);
        Ok(Heard::Assigned)
    }

    fn heed(&mut self, code: ErrorCode, standing: &mut Standing, now_ns: i64) -> Heard {
        match code {
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => {
                (standing.epoch, self.has_told) = (JOINS, false);
                standing.rejoin(now_ns);
                Heard::Again(code)
            }
            code if code.is_retriable() => {
                (self.has_told, standing.due_ns) = (false, now_ns + RETRY_NS);
                Heard::Again(code)
            }
            code => Heard::Refused(code),
        }
    }
}

fn owned(terms: &Terms, slots: &[u32]) -> Vec<TopicPartitions> {
    let topic_of = |slot: u32| (slot / terms.topics.partitions) as usize;
    let by_topic = slots.chunk_by(|one, next| topic_of(*one) == topic_of(*next));
    let topic = |slots: &[u32]| TopicPartitions {
        topic_id: terms.topic_ids[topic_of(slots[0])],
        partitions: slots.iter().map(|slot| terms.topics.partition(*slot)).collect(),
    };
    by_topic.map(topic).collect()
}

fn assigned(terms: &Terms, assignment: &Assignment) -> Vec<u32> {
    let slots = assignment.topic_partitions.iter().flat_map(|topic| {
        let place = terms.topic_ids.iter().position(|id| *id == topic.topic_id);
        let slots = topic.partitions.iter().filter_map(move |at| terms.topics.slot(place?, *at));
        slots.map(|slot| slot as u32)
    });
    slots.collect()
}
