//! What a heartbeat may say, whatever the group is like.

use protocol::error_code::ErrorCode;
use protocol::messages::ConsumerGroupHeartbeatRequest;

use super::Refusal;
use super::member::epoch;
use crate::groups::settings::GroupSettings;

pub(super) fn check(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    settings: &GroupSettings,
) -> Result<(), Refusal> {
    if version >= 1 || request.member_epoch > 0 || request.member_epoch == epoch::LEAVE {
        not_blank(Some(&request.member_id), "MemberId can't be empty.")?;
    }
    not_blank(Some(&request.group_id), "GroupId can't be empty.")?;
    not_blank(request.instance_id.as_deref(), "InstanceId can't be empty.")?;
    not_blank(request.rack_id.as_deref(), "RackId can't be empty.")?;
    match request.member_epoch {
        epoch::JOIN => check_join(request)?,
        epoch::LEAVE_STATIC if request.instance_id.is_none() => {
            return Err(invalid("InstanceId can't be null."));
        }
        ..epoch::LEAVE_STATIC => return Err(invalid("MemberEpoch is invalid.")),
        _ => (),
    }
    let supported = &settings.consumer_assignors;
    match &request.server_assignor {
        Some(assignor) if !supported.contains(assignor) => {
            let supported = supported.join(", ");
            let text =
                format!("ServerAssignor {assignor} is not supported. Supported assignors: {supported}.");
            Err(Refusal::new(ErrorCode::UNSUPPORTED_ASSIGNOR, text))
        }
        _ => Ok(()),
    }
}

fn check_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    if request.rebalance_timeout_ms == -1 {
        return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
    }
    if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
        return Err(invalid("TopicPartitions must be empty when (re-)joining."));
    }
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        let text = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
        return Err(invalid(text));
    }
    Ok(())
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_REQUEST, text)
}

// Kafka: blank are characters up to the space.
fn not_blank(value: Option<&str>, refusal: &str) -> Result<(), Refusal> {
    match value {
        Some(value) if value.chars().all(|char| char <= ' ') => Err(invalid(refusal)),
        _ => Ok(()),
    }
}
