//! ListGroups, DescribeGroups, DeleteGroups.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use protocol::messages::ListGroupsRequest;
use protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use protocol::messages::list_groups_response::ListedGroup;

use super::classic::{ClassicGroup, Member, State};
use super::group::Group;
use super::turn::Name;

/// One group of a list, if it passes the filters.
pub(super) fn listed(id: &str, group: &Group, request: &ListGroupsRequest) -> Option<ListedGroup> {
    let (state, kind) = (group.state_name(), group.type_name());
    let passes = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    (passes(&request.states_filter, state) && passes(&request.types_filter, kind)).then(|| ListedGroup {
        group_id: id.to_owned(),
        protocol_type: group.protocol_type().to_owned(),
        group_state: state.to_owned(),
        group_type: kind.to_owned(),
    })
}

/// Kafka: before version 6 a group that is not there is told as one that is dead.
pub(super) fn described(id: &str, group: Option<&Group>, version: i16) -> DescribedGroup {
    if let Some(group) = group.and_then(Group::classic) {
        return described_classic(id, group);
    }
    let message = match group {
        None => format!("Group {id} not found."),
        Some(_) => format!("Group {id} is not a classic group."),
    };
    let is_told = version >= 6;
    DescribedGroup {
        group_id: id.to_owned(),
        group_state: "Dead".to_owned(),
        error_code: if is_told { ErrorCode::GROUP_ID_NOT_FOUND.0 } else { ErrorCode::NONE.0 },
        error_message: is_told.then_some(message),
        ..Default::default()
    }
}

fn described_classic(id: &str, group: &ClassicGroup) -> DescribedGroup {
    let is_stable = group.state() == State::Stable;
    let protocol = group.protocol().filter(|_| is_stable).unwrap_or_default();
    let member = |member: &Member| {
        let mut described = DescribedGroupMember {
            member_id: member.id.as_ref().to_owned(),
            group_instance_id: member.instance.as_deref().map(str::to_owned),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            member_assignment: member.assignment.clone(),
            ..Default::default()
        };
        if is_stable {
            described.member_metadata = member.protocols.metadata(protocol);
        }
        described
    };
    DescribedGroup {
        group_id: id.to_owned(),
        group_state: group.state().name().to_owned(),
        protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
        protocol_data: protocol.to_owned(),
        members: group.members().map(member).collect(),
        ..Default::default()
    }
}

/// Of a group that is no consumer group, or none at all.
pub(super) fn not_described_consumer(id: &str, group: Option<&Group>) -> DescribedConsumerGroup {
    let message = match group {
        None => format!("Group {id} not found."),
        Some(_) => format!("Group {id} is not a consumer group."),
    };
    DescribedConsumerGroup {
        group_id: id.to_owned(),
        error_code: ErrorCode::GROUP_ID_NOT_FOUND.0,
        error_message: Some(message),
        ..Default::default()
    }
}

/// Whether a group may be deleted.
pub(super) fn admit_delete<'a>(
    groups: &'a BTreeMap<Name, Group>,
    id: &str,
) -> Result<(&'a Name, &'a Group), ErrorCode> {
    match groups.get_key_value(id) {
        None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
        Some((name, group)) if group.is_empty() => Ok((name, group)),
        Some(_) => Err(ErrorCode::NON_EMPTY_GROUP),
    }
}
