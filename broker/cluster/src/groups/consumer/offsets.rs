//! Whether who commits and fetches offsets of a consumer group may.

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::OffsetCommitRequest;

use super::ConsumerGroup;
use super::member::Member;
use crate::metadata::Topics;

/// Before this version a commit names a generation, which is no epoch of a member.
const FIRST_VERSION_WITH_EPOCHS: i16 = 9;

impl ConsumerGroup {
    /// `will_be_kept` says whether a partition's metadata is short enough: of the others nothing is asked here.
    pub(in crate::groups) fn admit_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        topics: &Topics,
        will_be_kept: impl Fn(Option<&str>) -> bool,
    ) -> Result<(), ErrorCode> {
        let epoch = request.generation_id_or_member_epoch;
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&*request.member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if !member.is_classic() && version < FIRST_VERSION_WITH_EPOCHS {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        if epoch == member.epoch {
            return Ok(());
        }
        let stale = stale(member);
        if epoch > member.epoch {
            return Err(stale);
        }
        // An older epoch commits what the member had then and still has.
        let had = |topic: Uuid, partition: i32| {
            let since = member.assigned.epoch_of(topic, partition);
            since.or_else(|| member.revoking.epoch_of(topic, partition)).is_some_and(|since| epoch >= since)
        };
        for topic in &request.topics {
            let known = || topics.by_name(&topic.name).map_or(Uuid::ZERO, |topic| topic.id);
            let id = if topic.topic_id.is_zero() { known() } else { topic.topic_id };
            let mut kept =
                topic.partitions.iter().filter(|it| will_be_kept(it.committed_metadata.as_deref()));
            if !kept.all(|partition| had(id, partition.partition_index)) {
                return Err(stale);
            }
        }
        Ok(())
    }

    /// Who names no member may always.
    pub(in crate::groups) fn admit_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member.and_then(|id| self.members.get(id)).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if epoch == member.epoch { Ok(()) } else { Err(stale(member)) }
    }
}

fn stale(member: &Member) -> ErrorCode {
    if member.is_classic() { ErrorCode::ILLEGAL_GENERATION } else { ErrorCode::STALE_MEMBER_EPOCH }
}
