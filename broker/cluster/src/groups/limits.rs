//! What a group may ask of the log: a text, a record and a batch are only so large. Kafka finds that out when it appends;
//! here it is known before anything is decided.

use protocol::error_code::ErrorCode;
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupRequest, OffsetCommitRequest,
};

use super::classic::join;
use super::offsets::commit;
use super::turn::Turn;
use super::{Asked, Command, Reply};

/// A record's texts have lengths of 16 bits. Those of a request do too, but what is no UTF-8 in them has grown while they were read,
/// and ids that are given out are longer than what they begin with.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;
/// What is put behind a client's id or an instance's name to make a member's id.
const ID_BYTES: usize = 37;

/// What the members of a group say of themselves, and what its leader assigns.
pub(super) const GROUP_BYTES_MAX: usize = 16 << 20;
/// Ids that are given out and not yet used, in one group.
pub(super) const EXPECTED_MAX: usize = 10_000;
/// One command's records.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// What a record takes beside the texts in it, at most.
pub(super) const RECORD_BYTES: usize = 64;

/// Whether so many records with so much text in each can be appended together.
pub(super) fn is_one_batch(records: usize, text_bytes: usize) -> bool {
    records.saturating_mul(text_bytes.saturating_add(RECORD_BYTES)) <= BATCH_BYTES_MAX
}

/// Answers a command whose texts no record can hold.
pub(super) fn refuse_long_texts(command: &Command, turn: &mut Turn<'_>) -> bool {
    let refused = match command {
        Command::JoinGroup(asked) => !joins_in_short(asked),
        Command::ConsumerGroupHeartbeat(asked) => !beats_in_short(asked),
        Command::OffsetCommit(asked) => !commits_in_short(&asked.request),
        _ => false,
    };
    if refused {
        refuse(command, turn);
    }
    refused
}

fn fits(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX
}

fn all_fit<'a>(texts: impl IntoIterator<Item = &'a String>) -> bool {
    texts.into_iter().all(|text| fits(text))
}

fn joins_in_short(asked: &Asked<JoinGroupRequest>) -> bool {
    let (request, client) = (&asked.request, &asked.client);
    let begins = request.group_instance_id.as_ref().unwrap_or(&client.id);
    all_fit([&request.group_id, &request.protocol_type, &client.id, &client.host])
        && all_fit(request.protocols.iter().map(|protocol| &protocol.name))
        && begins.len() + ID_BYTES <= TEXT_BYTES_MAX
}

fn beats_in_short(asked: &Asked<ConsumerGroupHeartbeatRequest>) -> bool {
    let (request, client) = (&asked.request, &asked.client);
    let chosen =
        [&request.instance_id, &request.rack_id, &request.subscribed_topic_regex, &request.server_assignor];
    all_fit([&request.group_id, &request.member_id, &client.id, &client.host])
        && all_fit(chosen.into_iter().flatten())
        && all_fit(request.subscribed_topic_names.iter().flatten())
}

fn commits_in_short(request: &OffsetCommitRequest) -> bool {
    let metadata = |topic: &'_ _| commit::longest_metadata(topic) <= TEXT_BYTES_MAX;
    fits(&request.group_id)
        && all_fit(request.topics.iter().map(|topic| &topic.name))
        && request.topics.iter().all(metadata)
}

fn refuse(command: &Command, turn: &mut Turn<'_>) {
    let error = ErrorCode::INVALID_REQUEST;
    match command {
        Command::JoinGroup(asked) => join::refuse(asked, "", error, turn),
        Command::ConsumerGroupHeartbeat(asked) => {
            let response = ConsumerGroupHeartbeatResponse { error_code: error.0, ..Default::default() };
            turn.answer(asked.ticket, Reply::ConsumerGroupHeartbeat(response));
        }
        Command::OffsetCommit(asked) => {
            turn.answer(asked.ticket, Reply::OffsetCommit(commit::refused(&asked.request, error)));
        }
        _ => (),
    }
}
