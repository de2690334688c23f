//! Who joins, stays and leaves by the classic protocol: the group is found, and asked.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::leave_group_response::MemberResponse;
use protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest,
};

use super::classic::{ClassicGroup, join, sync};
use super::group::{Group, Kind};
use super::turn::{Name, Turn};
use super::{Asked, Reply};

type Groups = BTreeMap<Name, Group>;

pub(super) fn join(groups: &mut Groups, asked: &Asked<JoinGroupRequest>, turn: &mut Turn<'_>) {
    let request = &asked.request;
    let is_new_member = request.member_id.is_empty();
    let sessions = turn.settings.min_session_timeout_ms..=turn.settings.max_session_timeout_ms;
    let known = groups.get(&*request.group_id).map(|group| &group.kind);
    // Without members a group speaks what the next one speaks.
    let is_left = matches!(known, Some(Kind::Consumer(group)) if group.is_empty());
    let is_new_group = is_left || known.is_none();
    let refusal = if request.group_id.is_empty() {
        Some(ErrorCode::INVALID_GROUP_ID)
    } else if !sessions.contains(&request.session_timeout_ms) {
        Some(ErrorCode::INVALID_SESSION_TIMEOUT)
    } else if is_new_group && !is_new_member {
        Some(ErrorCode::UNKNOWN_MEMBER_ID)
    } else {
        None
    };
    if let Some(error) = refusal {
        return join::refuse(asked, &request.member_id, error, turn);
    }
    let group = super::entry(groups, &request.group_id);
    if is_left {
        group.gone(&mut turn.records);
        group.kind = Kind::Classic(Box::new(ClassicGroup::new(&(&*request.group_id).into())));
    }
    let before = turn.records.len();
    match &mut group.kind {
        Kind::Consumer(group) => {
            let response = group.join(asked, turn);
            turn.answer(asked.ticket, Reply::JoinGroup(response));
        }
        Kind::Classic(group) => {
            if is_new_group {
                group.begin(turn);
            }
            group.join(asked, turn);
            // Kafka: a group is in the log from the first attempt to join it, even a refused one.
            if is_new_group && turn.records.len() == before {
                turn.record(group.founded());
            }
        }
    }
}

pub(super) fn sync(groups: &mut Groups, asked: &Asked<SyncGroupRequest>, turn: &mut Turn<'_>) {
    let request = &asked.request;
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    match groups.get_mut(&*request.group_id).map(|group| &mut group.kind) {
        // Kafka: from version 5 on both must be named.
        _ if asked.version >= 5 && !names_protocol => {
            sync::refuse(asked, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, turn);
        }
        _ if request.group_id.is_empty() => sync::refuse(asked, ErrorCode::INVALID_GROUP_ID, turn),
        None => sync::refuse(asked, ErrorCode::UNKNOWN_MEMBER_ID, turn),
        Some(Kind::Classic(group)) => group.sync(asked, turn),
        Some(Kind::Consumer(group)) => {
            let response = group.sync(request, turn);
            turn.answer(asked.ticket, Reply::SyncGroup(response));
        }
    }
}

pub(super) fn heartbeat(groups: &mut Groups, asked: &Asked<HeartbeatRequest>, turn: &mut Turn<'_>) {
    let request = &asked.request;
    let heard = match groups.get_mut(&*request.group_id).map(|group| &mut group.kind) {
        _ if request.group_id.is_empty() => Err(ErrorCode::INVALID_GROUP_ID),
        None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        Some(Kind::Classic(group)) => group.heartbeat(request, turn),
        Some(Kind::Consumer(group)) => group.heartbeat(request, turn),
    };
    let error_code = heard.err().unwrap_or(ErrorCode::NONE).0;
    turn.answer(asked.ticket, Reply::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }));
}

pub(super) fn leave(groups: &mut Groups, asked: &Asked<LeaveGroupRequest>, turn: &mut Turn<'_>) {
    let request = &asked.request;
    // Kafka: before version 3 one member leaves, and its error is the answer's.
    let is_single = asked.version < 3;
    let only = [MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
    let leaving = if is_single { &only[..] } else { &request.members };
    let mut response = LeaveGroupResponse::default();
    let left = match groups.get_mut(&*request.group_id).map(|group| &mut group.kind) {
        _ if request.group_id.is_empty() => {
            response.error_code = ErrorCode::INVALID_GROUP_ID.0;
            Vec::new()
        }
        None => vec![Err(ErrorCode::UNKNOWN_MEMBER_ID); leaving.len()],
        Some(Kind::Classic(group)) => group.leave(leaving, turn),
        Some(Kind::Consumer(group)) => group.leave(leaving, turn),
    };
    let errors = left.iter().map(|left| left.err().unwrap_or(ErrorCode::NONE).0);
    if is_single {
        response.error_code = errors.chain([response.error_code]).find(|&error| error != 0).unwrap_or(0);
    } else {
        let member = |(member, error_code): (&MemberIdentity, i16)| MemberResponse {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            error_code,
        };
        response.members = leaving.iter().zip(errors).map(member).collect();
    }
    turn.answer(asked.ticket, Reply::LeaveGroup(response));
}
