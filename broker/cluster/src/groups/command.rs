//! What the groups of a partition can be asked, and what they answer.

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use protocol::messages::describe_groups_response::DescribedGroup;
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use protocol::messages::*;

/// Names a request until it is answered. Whoever runs the machine gives the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who asks, as a group remembers its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// client.id; Kafka: empty if the client gave none
    pub id: String,
    /// Its address as Kafka writes it: `/10.0.0.1`.
    pub host: String,
}

/// A request that is answered once, perhaps later.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked<Request> {
    pub ticket: Ticket,
    pub version: i16,
    pub client: Client,
    /// Random; for the member id of one who joins without.
    pub fresh_id: Uuid,
    pub request: Request,
}

/// One thing asked of the groups of a partition. A request over several groups comes as one command for each.
///
/// Names of topics are filled in and unknown topics taken out before; so is whatever the caller may not see.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    JoinGroup(Asked<JoinGroupRequest>),
    SyncGroup(Asked<SyncGroupRequest>),
    Heartbeat(Asked<HeartbeatRequest>),
    LeaveGroup(Asked<LeaveGroupRequest>),
    ConsumerGroupHeartbeat(Asked<ConsumerGroupHeartbeatRequest>),
    OffsetCommit(Asked<OffsetCommitRequest>),
    OffsetFetch(Asked<FetchOffsets>),
    OffsetDelete(Asked<OffsetDeleteRequest>),
    /// All groups that pass the filters of the request, none named: all.
    ListGroups(Asked<ListGroupsRequest>),
    DescribeGroup(Asked<String>),
    DescribeConsumerGroup(Asked<String>),
    DeleteGroup(Asked<String>),
    /// Topics that are gone, with all that was committed for them.
    TopicsDeleted(Vec<(String, Uuid)>),
    /// The time of [`Groups::deadline`](super::Groups::deadline) has come.
    Tick,
}

impl Command {
    /// The one group that it is about.
    pub(super) fn group(&self) -> Option<&str> {
        let group = match self {
            Self::JoinGroup(asked) => &asked.request.group_id,
            Self::SyncGroup(asked) => &asked.request.group_id,
            Self::Heartbeat(asked) => &asked.request.group_id,
            Self::LeaveGroup(asked) => &asked.request.group_id,
            Self::ConsumerGroupHeartbeat(asked) => &asked.request.group_id,
            Self::OffsetCommit(asked) => &asked.request.group_id,
            Self::OffsetFetch(asked) => &asked.request.group.group_id,
            Self::OffsetDelete(asked) => &asked.request.group_id,
            Self::DescribeGroup(asked) | Self::DescribeConsumerGroup(asked) | Self::DeleteGroup(asked) => {
                &asked.request
            }
            Self::ListGroups(_) | Self::TopicsDeleted(_) | Self::Tick => return None,
        };
        Some(group)
    }
}

/// A group's part of an OffsetFetch.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchOffsets {
    pub group: OffsetFetchRequestGroup,
    pub require_stable: bool,
}

/// The answer to the command of the same name. Errors are inside, as the API has them.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    OffsetCommit(OffsetCommitResponse),
    OffsetFetch(OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    ListGroups(Vec<ListedGroup>),
    DescribeGroup(DescribedGroup),
    DescribeConsumerGroup(DescribedConsumerGroup),
    DeleteGroup(ErrorCode),
}

/// An answer and the request that it is for: perhaps one that was asked long before.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub ticket: Ticket,
    pub reply: Reply,
}
