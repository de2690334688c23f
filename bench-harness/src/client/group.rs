//! A member of a group, without sockets and clocks: what it has to ask next, and what it makes of the answer.
//!
//! `classic` has JoinGroup, SyncGroup and Heartbeat, with partitions shared out by one of the members (`range`); `modern` has
//! KIP-848's one heartbeat, with partitions shared out by the broker. A member has one question under way at most.

use std::sync::Arc;

use bytes::Bytes;
use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame::RequestHead;
use protocol::ids::Uuid;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, Message,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
};
use protocol::primitives::{DecodeError, EncodeError};
use serde::{Deserialize, Serialize};

use self::classic::Classic;
use self::modern::Modern;
use super::CLIENT_ID;
use super::admin::TopicSet;
use super::connection::Served;
use crate::clock::NS_PER_MS;
use crate::random;

mod classic;
mod modern;
mod range;

/// How groups are coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// Members share out the partitions: JoinGroup, SyncGroup, Heartbeat
    Classic,
    /// The broker does: KIP-848
    Consumer,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// What all members of a group have in common.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) group: String,
    pub(crate) protocol: Protocol,
    pub(crate) topics: TopicSet,
    /// Beside `topics.names`.
    pub(crate) topic_ids: Vec<Uuid>,
    /// Without a sign of life for so long a member of a classic group is out. Modern groups leave that to the broker.
    pub(crate) session_timeout_ms: i32,
}

/// Kafka's defaults for consumers. How often members of a modern group have to be heard of their broker says.
pub(crate) const SESSION_TIMEOUT_MS: i32 = 45_000;
const HEARTBEAT_NS: i64 = 3_000 * NS_PER_MS;
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
const RETRY_NS: i64 = 100 * NS_PER_MS;

#[derive(Debug)]
pub(crate) struct Member {
    terms: Arc<Terms>,
    part: Part,
    standing: Standing,
}

#[derive(Debug)]
enum Part {
    Classic(Classic),
    Modern(Modern),
}

/// What both protocols know of a member.
#[derive(Debug)]
struct Standing {
    id: String,
    /// Or generation.
    epoch: i32,
    /// Rising.
    slots: Vec<u32>,
    is_settled: bool,
    /// A question is under way.
    is_waiting: bool,
    /// When there is something to ask; `i64::MAX` before it joins and after it has left.
    due_ns: i64,
    heartbeat_ns: i64,
    /// Heartbeats come this often at least, however rarely the broker wants to hear of it.
    hurry_ns: i64,
    wants_to_leave: bool,
}

/// What a member asks.
#[derive(Debug)]
pub(crate) enum Ask {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    Leave(LeaveGroupRequest),
    Commit(OffsetCommitRequest),
    Find(OffsetFetchRequest),
}

/// What an answer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Fine,
    /// It was given other partitions, or the same ones anew.
    Assigned,
    /// It has to join again, or ask again in a moment.
    Again(ErrorCode),
    Left,
    /// It cannot go on.
    Refused(ErrorCode),
}

impl Member {
    /// It does nothing until it is told to join.
    pub(crate) fn new(terms: Arc<Terms>) -> Self {
        let (part, id) = match terms.protocol {
            Protocol::Classic => (Part::Classic(Classic::default()), String::new()),
            Protocol::Consumer => (Part::Modern(Modern::default()), random::new_id().to_string()),
        };
        let standing = Standing {
            id,
            epoch: 0,
            slots: Vec::new(),
            is_settled: false,
            is_waiting: false,
            due_ns: i64::MAX,
            heartbeat_ns: HEARTBEAT_NS,
            hurry_ns: i64::MAX,
            wants_to_leave: false,
        };
        Self { terms, part, standing }
    }

    pub(crate) fn join(&mut self, now_ns: i64) {
        self.standing.due_ns = now_ns;
        self.standing.wants_to_leave = false;
    }

    pub(crate) fn leave(&mut self, now_ns: i64) {
        self.standing.wants_to_leave = true;
        self.standing.due_ns = now_ns;
    }

    /// Until told otherwise it is heard of this often; None: as often as it has to.
    pub(crate) fn hurry(&mut self, every_ns: Option<i64>, now_ns: i64) {
        let it = &mut self.standing;
        it.hurry_ns = every_ns.unwrap_or(i64::MAX);
        if it.due_ns != i64::MAX {
            it.due_ns = it.due_ns.min(now_ns.saturating_add(it.hurry_ns));
        }
    }

    /// The first heartbeat after this comes then: those of many members are spread in time.
    pub(crate) fn beat_at(&mut self, due_ns: i64) {
        if self.standing.is_settled {
            self.standing.due_ns = due_ns;
        }
    }

    /// When it has something to ask; never while an answer is waited for.
    pub(crate) fn due_ns(&self) -> i64 {
        if self.standing.is_waiting { i64::MAX } else { self.standing.due_ns }
    }

    /// It has its partitions, as far as it knows.
    pub(crate) fn is_settled(&self) -> bool {
        self.standing.is_settled
    }

    /// What it is to read. Rising.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.standing.slots
    }

    pub(crate) fn heartbeat_ns(&self) -> i64 {
        self.standing.heartbeat_ns
    }

    /// What is to be asked now, if anything.
    pub(crate) fn ask(&mut self, now_ns: i64) -> Option<Ask> {
        if now_ns < self.due_ns() {
            return None;
        }
        let (terms, standing) = (&*self.terms, &mut self.standing);
        standing.is_waiting = true;
        Some(match &mut self.part {
            Part::Classic(classic) => classic.ask(terms, standing, now_ns),
            Part::Modern(modern) => modern.ask(terms, standing, now_ns),
        })
    }

    /// The answer to what was asked last.
    pub(crate) fn hear(
        &mut self,
        api: ApiKey,
        version: i16,
        answer: &[u8],
        now_ns: i64,
    ) -> Result<Heard, DecodeError> {
        let (terms, standing) = (&*self.terms, &mut self.standing);
        standing.is_waiting = false;
        match &mut self.part {
            Part::Classic(classic) => classic.hear(terms, standing, api, version, answer, now_ns),
            Part::Modern(modern) => modern.hear(terms, standing, version, answer, now_ns),
        }
    }

    /// Its connection is gone, and with it the answer.
    pub(crate) fn hang_up(&mut self) {
        self.standing.is_waiting = false;
    }

    /// A commit for `slots`, which rise, of the offsets that all slots have.
    pub(crate) fn commit(&self, slots: &[u32], offsets: &[i64]) -> Ask {
        let topics = &self.terms.topics;
        let partition = |slot: &u32| OffsetCommitRequestPartition {
            partition_index: topics.partition(*slot),
            committed_offset: offsets[*slot as usize],
            ..Default::default()
        };
        let by_topic = slots.chunk_by(|one, next| topics.name(*one) == topics.name(*next));
        let topic = |slots: &[u32]| OffsetCommitRequestTopic {
            name: topics.name(slots[0]).to_owned(),
            partitions: slots.iter().map(partition).collect(),
            ..Default::default()
        };
        Ask::Commit(OffsetCommitRequest {
            group_id: self.terms.group.clone(),
            generation_id_or_member_epoch: self.standing.epoch,
            member_id: self.standing.id.clone(),
            topics: by_topic.map(topic).collect(),
            ..Default::default()
        })
    }

    /// Asks how far the group has read `slots`, which rise.
    pub(crate) fn find(&self, slots: &[u32]) -> Ask {
        let topics = &self.terms.topics;
        let by_topic = slots.chunk_by(|one, next| topics.name(*one) == topics.name(*next));
        let topic = |slots: &[u32]| OffsetFetchRequestTopics {
            name: topics.name(slots[0]).to_owned(),
            partition_indexes: slots.iter().map(|slot| topics.partition(*slot)).collect(),
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: self.terms.group.clone(),
            topics: Some(by_topic.map(topic).collect()),
            ..Default::default()
        };
        Ask::Find(OffsetFetchRequest { groups: vec![group], ..Default::default() })
    }

    /// Slots and committed offsets, -1 where there is none. What has an error is left out.
    pub(crate) fn found(&self, version: i16, answer: &[u8]) -> Result<Vec<(u32, i64)>, DecodeError> {
        let topics = &self.terms.topics;
        let answer = OffsetFetchResponse::from_bytes(answer, version)?;
        let found = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| {
            let place = topics.names.iter().position(|name| *name == topic.name);
            let rows = topic.partitions.iter().filter(|row| row.error_code == ErrorCode::NONE.0);
            rows.filter_map(move |row| {
                let slot = topics.slot(place?, row.partition_index)?;
                Some((slot as u32, row.committed_offset))
            })
        });
        Ok(found.collect())
    }
}

/// The first error of an answer to a commit.
pub(crate) fn committed(version: i16, answer: &[u8]) -> Result<ErrorCode, DecodeError> {
    let answer = OffsetCommitResponse::from_bytes(answer, version)?;
    let codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(codes.map(|row| ErrorCode(row.error_code)).find(|code| code.is_err()).unwrap_or(ErrorCode::NONE))
}

impl Standing {
    /// Out of the group, and on the way back.
    fn rejoin(&mut self, now_ns: i64) {
        self.slots.clear();
        self.is_settled = false;
        self.due_ns = now_ns;
    }

    /// The next heartbeat after one that was due then.
    fn beat_after(&mut self, due_ns: i64) {
        self.due_ns = due_ns.saturating_add(self.heartbeat_ns.min(self.hurry_ns));
    }

    fn settle(&mut self, slots: Vec<u32>, now_ns: i64) {
        self.slots = slots;
        self.slots.sort_unstable();
        self.is_settled = true;
        self.beat_after(now_ns);
    }

    fn left(&mut self) -> Heard {
        self.slots.clear();
        (self.is_settled, self.epoch, self.due_ns) = (false, 0, i64::MAX);
        Heard::Left
    }
}

/// Of commits, and of asking for them: from 10 on topics go by id. Questions about groups in the plural begin with 8.
const OFFSETS_MAX: i16 = 9;

impl Ask {
    pub(crate) fn api(&self) -> ApiKey {
        match self {
            Self::Join(_) => ApiKey::JoinGroup,
            Self::Sync(_) => ApiKey::SyncGroup,
            Self::Heartbeat(_) => ApiKey::Heartbeat,
            Self::ConsumerHeartbeat(_) => ApiKey::ConsumerGroupHeartbeat,
            Self::Leave(_) => ApiKey::LeaveGroup,
            Self::Commit(_) => ApiKey::OffsetCommit,
            Self::Find(_) => ApiKey::OffsetFetch,
        }
    }

    /// The highest version that both sides know.
    pub(crate) fn version(&self, served: &Served) -> Option<i16> {
        let version_max = match self {
            Self::Commit(_) | Self::Find(_) => OFFSETS_MAX,
            _ => i16::MAX,
        };
        served.version(self.api(), version_max)
    }

    pub(crate) fn frame(&self, version: i16, correlation_id: i32) -> Result<Bytes, EncodeError> {
        let head =
            RequestHead { key: self.api(), version, correlation_id, client_id: Some(CLIENT_ID.into()) };
        match self {
            Self::Join(request) => head.frame(request),
            Self::Sync(request) => head.frame(request),
            Self::Heartbeat(request) => head.frame(request),
            Self::ConsumerHeartbeat(request) => head.frame(request),
            Self::Leave(request) => head.frame(request),
            Self::Commit(request) => head.frame(request),
            Self::Find(request) => head.frame(request),
        }
    }
}

#[cfg(test)]
mod tests;
