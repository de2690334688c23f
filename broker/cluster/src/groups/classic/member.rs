//! A member of a classic group.

use bytes::Bytes;
use protocol::messages::group_metadata_value::MemberMetadata;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;

use crate::groups::timers::Alarm;
use crate::groups::turn::Name;
use crate::groups::{Client, Ticket};

#[derive(Debug)]
pub(in crate::groups) struct Member {
    pub(in crate::groups) id: Name,
    /// A static member's name, which outlives its ids.
    pub(in crate::groups) instance: Option<Box<str>>,
    pub(in crate::groups) client: Client,
    pub(in crate::groups) rebalance_timeout_ms: i32,
    pub(in crate::groups) session_timeout_ms: i32,
    pub(in crate::groups) protocols: Protocols,
    pub(in crate::groups) assignment: Bytes,
    pub(super) session: Alarm,
    /// Its JoinGroup waits for the others.
    pub(super) joining: Option<Parked>,
    /// Its SyncGroup waits for the leader.
    pub(super) syncing: Option<Ticket>,
    /// It joined this generation and has not asked for its assignment.
    pub(super) owes_sync: bool,
    /// It has never been told its id: it cannot send heartbeats.
    pub(super) is_new: bool,
}

/// A JoinGroup that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Parked {
    pub(super) ticket: Ticket,
    pub(super) version: i16,
}

/// What a member can do, best liked first.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::groups) struct Protocols(Box<[(Box<str>, Bytes)]>);

impl Protocols {
    /// One that is named twice counts once, as first named.
    pub(super) fn new(asked: &[JoinGroupRequestProtocol]) -> Self {
        let mut protocols: Vec<(Box<str>, Bytes)> = Vec::with_capacity(asked.len());
        for protocol in asked {
            if !protocols.iter().any(|(name, _)| **name == *protocol.name) {
                protocols.push((protocol.name.as_str().into(), protocol.metadata.clone()));
            }
        }
        Self(protocols.into())
    }

    pub(in crate::groups) fn iter(&self) -> impl Iterator<Item = &(Box<str>, Bytes)> {
        self.0.iter()
    }

    pub(in crate::groups) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| &**known == name)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(name, metadata)| name.len() + metadata.len()).sum()
    }

    /// Empty if it is none of them.
    pub(in crate::groups) fn metadata(&self, name: &str) -> Bytes {
        self.0.iter().find(|(known, _)| &**known == name).map_or(Bytes::new(), |(_, it)| it.clone())
    }
}

impl Member {
    /// As the log remembers it: with the one protocol that the group had settled on.
    pub(super) fn restored(it: &MemberMetadata, protocol: &str) -> Self {
        // Kafka: version 0 of the record had no rebalance timeout.
        let rebalance_timeout_ms = match it.rebalance_timeout {
            -1 => it.session_timeout,
            timeout_ms => timeout_ms,
        };
        let protocols = Protocols([(protocol.into(), it.subscription.clone())].into());
        Self {
            instance: it.group_instance_id.as_deref().map(Into::into),
            client: Client { id: it.client_id.clone(), host: it.client_host.clone() },
            rebalance_timeout_ms,
            session_timeout_ms: it.session_timeout,
            assignment: it.assignment.clone(),
            ..Self::new(it.member_id.as_str().into(), protocols)
        }
    }

    pub(super) fn new(id: Name, protocols: Protocols) -> Self {
        Self {
            id,
            instance: None,
            client: Client::default(),
            rebalance_timeout_ms: 0,
            session_timeout_ms: 0,
            protocols,
            assignment: Bytes::new(),
            session: Alarm::default(),
            joining: None,
            syncing: None,
            owes_sync: false,
            is_new: false,
        }
    }
}
