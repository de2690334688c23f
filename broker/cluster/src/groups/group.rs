//! A group of any kind: what it is asked whatever its members speak.

use protocol::error_code::ErrorCode;
use protocol::messages::OffsetCommitRequest;

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::consumer_protocol::PROTOCOL_TYPE;
use super::offsets::{OffsetView, Offsets, commit};
use super::record::GroupRecord;
use super::turn::{Name, Turn};

/// A group and what it has committed. The offsets stay when the group changes its kind.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) offsets: Offsets,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Also a group without members that only commits.
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
}

/// From when on an offset's retention counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retention {
    /// Nothing expires now.
    Never,
    SinceCommit,
    /// The group has been empty since then.
    Since(i64),
}

impl Group {
    pub(super) fn new(id: &Name) -> Self {
        Self { offsets: Offsets::default(), kind: Kind::Classic(Box::new(ClassicGroup::new(id))) }
    }

    pub(super) fn classic(&self) -> Option<&ClassicGroup> {
        match &self.kind {
            Kind::Classic(group) => Some(group),
            Kind::Consumer(_) => None,
        }
    }

    /// As ListGroups names it.
    pub(super) fn state_name(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(group) => group.state().name(),
            Kind::Consumer(group) => group.state_name(),
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(_) => "classic",
            Kind::Consumer(_) => "consumer",
        }
    }

    pub(super) fn protocol_type(&self) -> &str {
        match &self.kind {
            Kind::Classic(group) => group.protocol_type().unwrap_or_default(),
            Kind::Consumer(_) => PROTOCOL_TYPE,
        }
    }

    /// It has no members and may be deleted.
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Classic(group) => group.is_empty(),
            Kind::Consumer(group) => group.is_empty(),
        }
    }

    /// It is empty and nobody is about to join it.
    pub(super) fn is_abandoned(&self) -> bool {
        match &self.kind {
            Kind::Classic(group) => group.is_empty() && !group.is_expecting(),
            Kind::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether who commits may. A member that commits is heard of.
    pub(super) fn admit_commit(
        &mut self,
        request: &OffsetCommitRequest,
        version: i16,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        match &mut self.kind {
            Kind::Classic(group) => group.admit_commit(request, turn),
            Kind::Consumer(group) => {
                let will_be_kept = |metadata: Option<&str>| commit::is_kept(metadata, turn.settings);
                group.admit_commit(request, version, &turn.image.topics, will_be_kept)
            }
        }
    }

    /// Whether who fetches offsets may.
    pub(super) fn admit_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match &self.kind {
            Kind::Classic(_) => Ok(()),
            Kind::Consumer(group) => group.admit_fetch(member, epoch),
        }
    }

    /// Whether offsets can be deleted one by one while the group is as it is.
    pub(super) fn admit_offset_delete(&self) -> Result<(), ErrorCode> {
        match &self.kind {
            Kind::Classic(group) if group.is_empty() || group.is_of_consumers() => Ok(()),
            Kind::Classic(_) => Err(ErrorCode::NON_EMPTY_GROUP),
            Kind::Consumer(_) => Ok(()),
        }
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.kind {
            Kind::Classic(group) => group.is_subscribed_to(topic),
            Kind::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    pub(super) fn retention(&self) -> Retention {
        match &self.kind {
            Kind::Classic(group) => group.retention(),
            Kind::Consumer(_) => Retention::SinceCommit,
        }
    }

    /// The records that end the group. Its offsets end by their own.
    pub(super) fn gone(&self, records: &mut Vec<GroupRecord>) {
        match &self.kind {
            Kind::Classic(group) => records.push(group.gone()),
            Kind::Consumer(group) => group.gone(records),
        }
    }
}

impl Retention {
    pub(super) fn has_passed(self, offset: OffsetView<'_>, retention_ms: i64, now: i64) -> bool {
        let since = match self {
            Self::Never => return false,
            Self::SinceCommit => offset.commit_timestamp(),
            Self::Since(timestamp) => timestamp,
        };
        match offset.expire_timestamp() {
            Some(at) => now >= at,
            None => now.saturating_sub(since) >= retention_ms,
        }
    }
}
