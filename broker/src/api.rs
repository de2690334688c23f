//! The table of APIs: one line each. ApiVersions, the dispatcher and docs/protocol-support.md read it.

use std::rc::Rc;

use bytes::Bytes;
use cluster::groups::{Asked, Client, Command, Reply as GroupReply};
use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::Message;
use protocol::primitives::{DecodeError, EncodeError, Reader, Writer};
use reactor::host;
use storage::disk::LocalFuture;

use crate::shard::Shard;
use crate::shard::connections::Caller;

mod alter_configs;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_topic_partitions;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;

/// One API that this broker serves completely.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    handle: fn(&Rc<Shard>, &Caller, Request<Bytes>) -> Reply,
}

/// Every API served; nothing else is advertised.
pub(crate) const APIS: &[Api] = &[
    Api { key: ApiKey::Produce, handle: produce::handle },
    Api { key: ApiKey::Fetch, handle: fetch::handle },
    Api { key: ApiKey::ListOffsets, handle: |s, c, r| decoded(s, c, r, list_offsets::handle) },
    Api { key: ApiKey::Metadata, handle: |s, c, r| decoded(s, c, r, metadata::handle) },
    Api { key: ApiKey::OffsetCommit, handle: |s, c, r| decoded(s, c, r, offset_commit::handle) },
    Api { key: ApiKey::OffsetFetch, handle: |s, c, r| decoded(s, c, r, offset_fetch::handle) },
    Api { key: ApiKey::FindCoordinator, handle: |s, c, r| decoded(s, c, r, find_coordinator::handle) },
    Api { key: ApiKey::JoinGroup, handle: |s, c, r| decoded(s, c, r, join_group::handle) },
    Api { key: ApiKey::Heartbeat, handle: |s, c, r| decoded(s, c, r, heartbeat::handle) },
    Api { key: ApiKey::LeaveGroup, handle: |s, c, r| decoded(s, c, r, leave_group::handle) },
    Api { key: ApiKey::SyncGroup, handle: |s, c, r| decoded(s, c, r, sync_group::handle) },
    Api { key: ApiKey::DescribeGroups, handle: |s, c, r| decoded(s, c, r, describe_groups::handle) },
    Api { key: ApiKey::ListGroups, handle: |s, c, r| decoded(s, c, r, list_groups::handle) },
    Api { key: ApiKey::ApiVersions, handle: api_versions::handle },
    Api { key: ApiKey::CreateTopics, handle: |s, c, r| decoded(s, c, r, create_topics::handle) },
    Api { key: ApiKey::DeleteTopics, handle: |s, c, r| decoded(s, c, r, delete_topics::handle) },
    Api { key: ApiKey::DeleteRecords, handle: |s, c, r| decoded(s, c, r, delete_records::handle) },
    Api { key: ApiKey::InitProducerId, handle: |s, c, r| decoded(s, c, r, init_producer_id::handle) },
    Api {
        key: ApiKey::OffsetForLeaderEpoch,
        handle: |s, c, r| decoded(s, c, r, offset_for_leader_epoch::handle),
    },
    Api { key: ApiKey::CreatePartitions, handle: |s, c, r| decoded(s, c, r, create_partitions::handle) },
    Api { key: ApiKey::DescribeConfigs, handle: |s, c, r| decoded(s, c, r, describe_configs::handle) },
    Api { key: ApiKey::AlterConfigs, handle: |s, c, r| decoded(s, c, r, alter_configs::handle) },
    Api {
        key: ApiKey::IncrementalAlterConfigs,
        handle: |s, c, r| decoded(s, c, r, incremental_alter_configs::handle),
    },
    Api { key: ApiKey::DeleteGroups, handle: |s, c, r| decoded(s, c, r, delete_groups::handle) },
    Api { key: ApiKey::OffsetDelete, handle: |s, c, r| decoded(s, c, r, offset_delete::handle) },
    Api { key: ApiKey::DescribeCluster, handle: |s, c, r| decoded(s, c, r, describe_cluster::handle) },
    Api {
        key: ApiKey::DescribeTopicPartitions,
        handle: |s, c, r| decoded(s, c, r, describe_topic_partitions::handle),
    },
    Api {
        key: ApiKey::ListConfigResources,
        handle: |s, c, r| decoded(s, c, r, list_config_resources::handle),
    },
    Api {
        key: ApiKey::ConsumerGroupHeartbeat,
        handle: |s, c, r| decoded(s, c, r, consumer_group_heartbeat::handle),
    },
    Api {
        key: ApiKey::ConsumerGroupDescribe,
        handle: |s, c, r| decoded(s, c, r, consumer_group_describe::handle),
    },
];

/// A request's header; kept until its answer is written.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

/// A request: undecoded (`Bytes`) or decoded.
#[derive(Clone, Debug)]
pub(crate) struct Request<Body> {
    pub(crate) header: Header,
    /// client.id as it came; empty if there was none.
    pub(crate) client_id: Bytes,
    pub(crate) body: Body,
}

/// What a handler gives back. All it does before returning is the ordered part: the next request of
/// the connection is handled only after that. Answers are written in the order of the requests.
pub(crate) enum Reply {
    Now(Response),
    /// The waiting part; it must not resolve to another `Later`.
    Later(LocalFuture<'static, Self>),
    /// Produce with acks=0.
    Nothing,
    Close(Reason),
}

/// Why a connection is closed from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Undecodable(DecodeError),
    UnknownApi,
    UnsupportedVersion,
    /// An error on a produce with acks=0 has no other way to be told.
    ProduceFailed,
    /// A message of ours that cannot be said in the version asked.
    Unanswerable,
}

/// Partitions that one request has looked up or changed. Each costs the broker ten times the bytes of its name here.
const PARTITIONS_MAX: usize = 250_000;

/// Why a request over these partitions, by topic, is not served; None if it is.
fn too_many(partitions: impl Iterator<Item = usize>) -> Option<Reply> {
    (partitions.sum::<usize>() > PARTITIONS_MAX)
        .then_some(Reply::Close(Reason::Undecodable(DecodeError::TooHeavy)))
}

/// Groups that one request may name: each is a question to a core, and an answer.
const GROUPS_MAX: usize = 25_000;

/// Why a request over so many groups is not served; None if it is.
fn too_many_groups(count: usize) -> Option<Reply> {
    (count > GROUPS_MAX).then_some(Reply::Close(Reason::Undecodable(DecodeError::TooHeavy)))
}

/// A framed answer as a gather list; record bytes are never copied into it.
pub(crate) struct Response {
    pub(crate) parts: Vec<Bytes>,
}

impl Response {
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

impl Header {
    /// Starts a frame: length still zero, correlation id, tags of a flexible header.
    pub(crate) fn begin(&self, capacity: usize) -> Writer {
        let mut writer = Writer::with_capacity(capacity + 16);
        writer.i32(0);
        writer.i32(self.correlation_id);
        if self.key.response_header_version(self.version) >= 1 {
            writer.no_tags();
        }
        writer
    }

    /// The framed answer, or a closed connection if it cannot be said in this version.
    pub(crate) fn reply<M: Message>(&self, message: &M) -> Reply {
        self.reply_in(message, self.version)
    }

    /// As [`Header::reply`] with the body in another version than the request's.
    pub(crate) fn reply_in<M: Message>(&self, message: &M, version: i16) -> Reply {
        let mut writer = self.begin(256);
        match message.encode(&mut writer, version) {
            Ok(()) => Reply::Now(finish(writer)),
            Err(error) => self.unanswerable(&error),
        }
    }

    /// What we have to say cannot be said in the version asked: our mistake.
    fn unanswerable(&self, error: &EncodeError) -> Reply {
        tracing::error!(api = self.key.name(), version = self.version, %error, "answer cannot be encoded");
        Reply::Close(Reason::Unanswerable)
    }
}

/// Fills in the frame's length.
pub(crate) fn finish(mut writer: Writer) -> Response {
    let length = i32::try_from(writer.len() - 4).expect("an answer under 2 GiB");
    writer.written_mut()[..4].copy_from_slice(&length.to_be_bytes());
    Response { parts: vec![writer.into_bytes()] }
}

/// One whole frame, without its length, to the handler of its API.
pub(crate) fn dispatch(shard: &Rc<Shard>, caller: &Caller, frame: Bytes) -> Reply {
    let request = match parse(frame) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    let key = request.header.key;
    match APIS.iter().find(|api| api.key == key) {
        Some(api) => (api.handle)(shard, caller, request),
        None => Reply::Close(Reason::UnknownApi),
    }
}

/// What a caller may do with a topic, as bits: read, write, create, delete, alter, describe, describe and
/// alter configs. Without an authorizer, all of it.
const TOPIC_OPERATIONS: i32 = 3576;

/// As above with the cluster.
const CLUSTER_OPERATIONS: i32 = 8096;

/// Fresh random ids for topics.
fn random_ids(count: usize) -> Vec<Uuid> {
    let host = host();
    let id = || {
        let (high, low) = (host.random().to_be_bytes(), host.random().to_be_bytes());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high);
        bytes[8..].copy_from_slice(&low);
        Uuid::from_random(bytes)
    };
    (0..count).map(|_| id()).collect()
}

/// The highest version whose request header has no tags, by API; ApiVersions of an unknown version is
/// let through, since it is answered and not closed.
fn parse(frame: Bytes) -> Result<Request<Bytes>, Reply> {
    let mut reader = Reader::new(&frame);
    let undecodable = |error| Reply::Close(Reason::Undecodable(error));
    let key = reader.i16().map_err(undecodable)?;
    let version = reader.i16().map_err(undecodable)?;
    let correlation_id = reader.i32().map_err(undecodable)?;
    let Some(key) = ApiKey::from_i16(key) else { return Err(Reply::Close(Reason::UnknownApi)) };
    let (min, max) = key.versions();
    if !(min..=max).contains(&version) && key != ApiKey::ApiVersions {
        return Err(Reply::Close(Reason::UnsupportedVersion));
    }
    let client_id = reader.string_bytes(false).map_err(undecodable)?;
    if key.request_header_version(version) >= 2 {
        reader.skip_tags().map_err(undecodable)?;
    }
    let start = frame.len() - reader.remaining();
    let header = Header { key, version, correlation_id };
    let client_id = client_id.map_or_else(Bytes::new, |id| frame.slice_ref(id));
    Ok(Request { header, client_id, body: frame.slice(start..) })
}

/// What is asked of a group, and how its answer becomes the API's.
struct GroupQuestion<Asking, Answer> {
    command: fn(Asked<Asking>) -> Command,
    /// None: the answer to another command.
    answer: fn(GroupReply) -> Option<Answer>,
    refused: fn(ErrorCode) -> Answer,
}

impl<Asking: Send + 'static, Answer: 'static> GroupQuestion<Asking, Answer> {
    /// Asks the group on its core. What is asked has its place among what is asked of that core when this returns.
    fn ask(
        &self,
        shard: &Rc<Shard>,
        asker: Asker,
        group: &str,
        request: Asking,
    ) -> LocalFuture<'static, Answer> {
        let (command, answer, refused) = (self.command, self.answer, self.refused);
        let Asker { version, client } = asker;
        let fresh_id = random_ids(1)[0];
        let asking = shard.ask_group(
            group,
            Box::new(move |ticket| command(Asked { ticket, version, client, fresh_id, request })),
        );
        Box::pin(async move {
            match asking.await {
                Ok(reply) => answer(reply).expect("a group answers what it was asked"),
                Err(error) => refused(error),
            }
        })
    }
}

/// Who asks a group, and in which version of the API.
#[derive(Clone)]
struct Asker {
    version: i16,
    client: Client,
}

impl Asker {
    fn of<Body>(caller: &Caller, request: &Request<Body>) -> Self {
        let id = String::from_utf8_lossy(&request.client_id).into_owned();
        // Kafka: an address as Java writes it, after the host's name that it does not know.
        let host = format!("/{}", caller.peer.ip());
        Self { version: request.header.version, client: Client { id, host } }
    }
}

/// What a caller may do with a group, as bits: read, delete, describe, describe and alter configs.
const GROUP_OPERATIONS: i32 = 3400;

/// Decodes the body for a handler of a generated message.
fn decoded<M: Message>(
    shard: &Rc<Shard>,
    caller: &Caller,
    request: Request<Bytes>,
    handle: fn(&Rc<Shard>, &Caller, Request<M>) -> Reply,
) -> Reply {
    let budget = shard.config.request_weight_max(request.body.len());
    match M::decode(&mut Reader::with_budget(&request.body, budget), request.header.version) {
        Ok(body) => {
            handle(shard, caller, Request { header: request.header, client_id: request.client_id, body })
        }
        Err(error) => Reply::Close(Reason::Undecodable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/protocol-support.md, from the table.
    fn support() -> String {
        let mut text = String::from(
            "# Protocol support\n\nWhat ApiVersions advertises, which is exactly what is served. Generated from the table in\n\
             `broker/src/api.rs`; `UPDATE_DOCS=1 cargo test -p broker` writes it anew.\n\n\
             | API | key | versions | Apache Kafka 4.3 |\n|--|--|--|--|\n",
        );
        for key in ApiKey::all().filter(|key| key.is_for_broker()) {
            let served = APIS.iter().any(|api| api.key == key);
            let (min, max) = key.versions();
            let (low, high) = key.advertised_versions();
            let ours = if served { format!("{low}-{high}") } else { "not yet".to_owned() };
            let theirs = format!("{min}-{max}");
            text.push_str(&format!("| {} | {} | {ours} | {theirs} |\n", key.name(), key as i16));
        }
        text.push_str(
            "\nProduce is advertised from 0 and answers from 3, as Apache Kafka does: some clients compress only where 0 is offered.\n",
        );
        text
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test of a file in the source tree")]
    fn protocol_support_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol-support.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, support()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), support());
    }
}
