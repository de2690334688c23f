//! JoinGroup (11), SyncGroup (14), Heartbeat (12), LeaveGroup (13): eager rebalances, as Java's consumer with the range assignor.

use bytes::Bytes;
use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::consumer_protocol_assignment::TopicPartition;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, Message, SyncGroupRequest,
    SyncGroupResponse,
};
use protocol::primitives::{DecodeError, Reader, Writer};

use super::{Ask, Heard, REBALANCE_TIMEOUT_MS, RETRY_NS, Standing, Terms, range};
use crate::client::admin::TopicSet;

const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";
/// Of what members tell each other, in front of it.
const FORMAT: i16 = 1;

#[derive(Debug, Default)]
pub(super) struct Classic {
    step: Step,
}

#[derive(Debug, Default, PartialEq)]
enum Step {
    #[default]
    Join,
    /// The leader knows all members and shares out the partitions.
    Sync {
        members: Vec<String>,
    },
    Beat,
}

impl Classic {
    pub(super) fn ask(&mut self, terms: &Terms, standing: &mut Standing, now_ns: i64) -> Ask {
        let due_ns = standing.due_ns;
        // Asked at once again only if the answer says so.
        standing.due_ns = now_ns;
        let (group_id, member_id) = (terms.group.clone(), standing.id.clone());
        if standing.wants_to_leave {
            let member = MemberIdentity { member_id, ..Default::default() };
            return Ask::Leave(LeaveGroupRequest { group_id, members: vec![member], ..Default::default() });
        }
        match &self.step {
            Step::Join => Ask::Join(JoinGroupRequest {
                group_id,
                session_timeout_ms: terms.session_timeout_ms,
                rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
                member_id,
                protocol_type: PROTOCOL_TYPE.to_owned(),
                protocols: vec![JoinGroupRequestProtocol {
                    name: ASSIGNOR.to_owned(),
                    metadata: subscription(&terms.topics),
                }],
                ..Default::default()
            }),
            Step::Sync { members } => Ask::Sync(SyncGroupRequest {
                group_id,
                generation_id: standing.epoch,
                member_id,
                protocol_type: Some(PROTOCOL_TYPE.to_owned()),
                protocol_name: Some(ASSIGNOR.to_owned()),
                assignments: assignments(&terms.topics, members),
                ..Default::default()
            }),
            Step::Beat => {
                standing.beat_after(due_ns);
                let generation_id = standing.epoch;
                Ask::Heartbeat(HeartbeatRequest { group_id, generation_id, member_id, ..Default::default() })
            }
        }
    }

    pub(super) fn hear(
        &mut self,
        terms: &Terms,
        standing: &mut Standing,
        api: ApiKey,
        version: i16,
        answer: &[u8],
        now_ns: i64,
    ) -> Result<Heard, DecodeError> {
        match api {
            ApiKey::JoinGroup => {
                let answer = JoinGroupResponse::from_bytes(answer, version)?;
                let code = ErrorCode(answer.error_code);
                if code.is_err() {
                    if code == ErrorCode::MEMBER_ID_REQUIRED {
                        standing.id = answer.member_id;
                    }
                    return Ok(self.heed(code, standing, now_ns));
                }
                let is_leader = answer.leader == answer.member_id;
                let mut members: Vec<String> =
                    answer.members.into_iter().map(|member| member.member_id).collect();
                members.sort_unstable();
                (standing.id, standing.epoch) = (answer.member_id, answer.generation_id);
                self.step = Step::Sync { members: if is_leader { members } else { Vec::new() } };
                Ok(Heard::Fine)
            }
            ApiKey::SyncGroup => {
                let answer = SyncGroupResponse::from_bytes(answer, version)?;
                let code = ErrorCode(answer.error_code);
                if code.is_err() {
                    return Ok(self.heed(code, standing, now_ns));
                }
                self.step = Step::Beat;
                standing.settle(assigned(&terms.topics, &answer.assignment)?, now_ns);
                Ok(Heard::Assigned)
            }
            ApiKey::LeaveGroup => {
                let answer = LeaveGroupResponse::from_bytes(answer, version)?;
                self.step = Step::Join;
                let code = ErrorCode(answer.error_code);
                let left = standing.left();
                Ok(if code.is_err() { Heard::Refused(code) } else { left })
            }
            _ => {
                let answer = HeartbeatResponse::from_bytes(answer, version)?;
                let code = ErrorCode(answer.error_code);
                Ok(if code.is_err() { self.heed(code, standing, now_ns) } else { Heard::Fine })
            }
        }
    }

    fn heed(&mut self, code: ErrorCode, standing: &mut Standing, now_ns: i64) -> Heard {
        match code {
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::MEMBER_ID_REQUIRED => standing.rejoin(now_ns),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                standing.id.clear();
                standing.rejoin(now_ns);
            }
            code if code.is_retriable() => {
                standing.due_ns = now_ns + RETRY_NS;
                return Heard::Again(code);
            }
            code => return Heard::Refused(code),
        }
        self.step = Step::Join;
        Heard::Again(code)
    }
}

fn subscription(topics: &TopicSet) -> Bytes {
    let it = ConsumerProtocolSubscription { topics: topics.names.clone(), ..Default::default() };
    told(&it)
}

fn assignments(topics: &TopicSet, members: &[String]) -> Vec<SyncGroupRequestAssignment> {
    if members.is_empty() {
        return Vec::new();
    }
    let each = members.iter().zip(range::assign(topics, members.len()));
    let assignment = |(member, slots): (&String, Vec<u32>)| {
        let by_topic = slots.chunk_by(|one, next| topics.name(*one) == topics.name(*next));
        let topic = |slots: &[u32]| TopicPartition {
            topic: topics.name(slots[0]).to_owned(),
            partitions: slots.iter().map(|slot| topics.partition(*slot)).collect(),
        };
        let it = ConsumerProtocolAssignment {
            assigned_partitions: by_topic.map(topic).collect(),
            ..Default::default()
        };
        SyncGroupRequestAssignment { member_id: member.clone(), assignment: told(&it) }
    };
    each.map(assignment).collect()
}

fn told<M: Message>(it: &M) -> Bytes {
    let mut w = Writer::new();
    w.i16(FORMAT);
    it.encode(&mut w, FORMAT).expect("what every version has can be written in any");
    w.into_bytes()
}

fn assigned(topics: &TopicSet, assignment: &[u8]) -> Result<Vec<u32>, DecodeError> {
    // Kafka: a member that was given nothing is told nothing at all.
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(assignment);
    let version = r.i16()?.clamp(0, FORMAT);
    let it = ConsumerProtocolAssignment::decode(&mut r, version)?;
    let slots = it.assigned_partitions.iter().flat_map(|topic| {
        let place = topics.names.iter().position(|name| *name == topic.topic);
        let slots = topic.partitions.iter().filter_map(move |partition| topics.slot(place?, *partition));
        slots.map(|slot| slot as u32)
    });
    Ok(slots.collect())
}
