//! LeaveGroup.

use protocol::error_code::ErrorCode;
use protocol::messages::leave_group_request::MemberIdentity;

use super::{ClassicGroup, State};
use crate::groups::turn::Turn;

impl ClassicGroup {
    /// What comes of it for each.
    pub(in crate::groups) fn leave(
        &mut self,
        leaving: &[MemberIdentity],
        turn: &mut Turn<'_>,
    ) -> Vec<Result<(), ErrorCode>> {
        let left: Vec<_> = leaving.iter().map(|member| self.leave_one(member, turn)).collect();
        if left.iter().any(Result::is_ok) && self.state != State::Empty {
            self.rebalance(turn);
        }
        left
    }

    fn leave_one(&mut self, leaving: &MemberIdentity, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let instance = leaving.group_instance_id.as_deref();
        if leaving.member_id.is_empty() {
            // An administrator takes out an instance, whoever it is now.
            let current = instance.and_then(|instance| self.instances.get(instance)).cloned();
            let current = current.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            self.expel(&current, turn);
        } else {
            if !self.expected.contains_key(&*leaving.member_id) {
                self.known(&leaving.member_id, instance)?;
            }
            self.expel(&leaving.member_id, turn);
        }
        Ok(())
    }
}
