//! Who may commit offsets in the name of a classic group.

use protocol::error_code::ErrorCode;
use protocol::messages::OffsetCommitRequest;

use super::{ClassicGroup, State};
use crate::groups::turn::Turn;

impl ClassicGroup {
    pub(in crate::groups) fn admit_commit(
        &mut self,
        request: &OffsetCommitRequest,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        let instance = request.group_instance_id.as_deref();
        // Without a generation: an administrator, or a consumer that assigns its partitions itself.
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if generation < 0 && request.member_id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.known(&request.member_id, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        // It has joined, but may not yet own what it commits.
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.heard_of(&request.member_id, turn);
        Ok(())
    }

    /// Whether that is a member now, and the one that its instance's name stands for.
    pub(super) fn known(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if **current != *member => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => (),
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }
}
